/*
 * Users and groups of the box, read from its own /etc/passwd and /etc/group with fgetpwent(3) on an
 * opened file: getpw*() could run the image's NSS modules inside the daemon (FACTS A). Read afresh
 * each time, because a command may add users.
 */
#ifndef BOXD_USERS_H
#define BOXD_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define USERS_GROUPS_MAX 256

struct user {
	uid_t uid;
	gid_t gid;  /* primary group */
	bool known; /* has a passwd entry; name and home are set then */
	char name[64];
	char home[256];
	gid_t groups[USERS_GROUPS_MAX]; /* supplementary, the primary included */
	size_t ngroups;
};

/*
 * Fills *u for this uid. Without a passwd entry (or file): known false, gid = uid, the only group
 * that gid (contract 4.1 REC: never group 0 by accident).
 * `etc` is the directory the files are in: "/etc" but in tests.
 */
void users_by_uid(const char *etc, uid_t uid, struct user *u) __attribute__((nonnull));

#endif
