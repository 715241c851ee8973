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

/*
 * All names at once, for listings: both files are read when it is made and never again, so any
 * thread may ask. The first entry of a number, or name, counts. NULL: out of memory; files that
 * are missing or damaged have no entries.
 */
struct users_names;
struct users_names *users_names_new(const char *etc) __attribute__((warn_unused_result, nonnull));
void users_names_free(struct users_names *n); /* NULL is fine */

/* NULL when the id has no name. Valid as long as n. */
const char *users_name_of_uid(const struct users_names *n, uid_t uid) __attribute__((nonnull));
const char *users_name_of_gid(const struct users_names *n, gid_t gid) __attribute__((nonnull));

/* By name; a decimal number that is no name is taken as the id itself. False: neither. */
bool users_uid_of_name(const struct users_names *n, const char *name, uid_t *uid)
	__attribute__((warn_unused_result, nonnull));
bool users_gid_of_name(const struct users_names *n, const char *name, gid_t *gid)
	__attribute__((warn_unused_result, nonnull));

#endif
