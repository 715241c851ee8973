/*
 * Names of users and groups, for those who show files or are told whom they shall belong to. The
 * tables are read once and shared: asking again costs a look at the two files, and only when one
 * of them is another than it was are they read anew. Who still has the old snapshot keeps it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/users.h"
#include "fs_internal.h"

/* By what a file is known to be the same. All zero: there is none. */
struct fs_names_stamp {
	uint64_t dev, ino, size;
	struct timespec mtime, ctime;
};

enum { FS_NAMES_PASSWD, FS_NAMES_GROUP, FS_NAMES_FILES };

struct fs_names {
	struct users_names *table;
	struct fs_names_stamp stamps[FS_NAMES_FILES];
	atomic_uint refs;
};

static void fs_names_look(const struct fs *fs, struct fs_names_stamp stamps[FS_NAMES_FILES])
{
	static const char *const files[] = {"passwd", "group"};

	memset(stamps, 0, FS_NAMES_FILES * sizeof(stamps[0]));
	for (int i = 0; i < FS_NAMES_FILES; i++) {
		char path[PATH_MAX];
		struct stat st;
		int n = snprintf(path, sizeof(path), "%s/%s", fs->etc, files[i]);

		if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &st) < 0)
			continue;
		stamps[i].dev = st.st_dev;
		stamps[i].ino = st.st_ino;
		stamps[i].size = (uint64_t)st.st_size;
		stamps[i].mtime = st.st_mtim;
		stamps[i].ctime = st.st_ctim;
	}
}

/* Before it is read: what changes meanwhile is seen the next time. */
static struct fs_names *fs_names_read(
	const struct fs *fs, const struct fs_names_stamp stamps[FS_NAMES_FILES])
{
	struct fs_names *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	atomic_init(&n->refs, 1);
	memcpy(n->stamps, stamps, sizeof(n->stamps));
	n->table = users_names_new(fs->etc);
	if (n->table == NULL) {
		free(n);
		return NULL;
	}
	return n;
}

struct fs_names *fs_names(const struct fs *fs, struct err *e)
{
	struct fs_locks *shared = fs->locks;
	struct fs_names_stamp now[FS_NAMES_FILES];
	struct fs_names *n, *old = NULL;

	fs_names_look(fs, now);
	pthread_mutex_lock(&shared->names);
	n = shared->known;
	if (n == NULL || memcmp(n->stamps, now, sizeof(now)) != 0) {
		n = fs_names_read(fs, now);
		/* Of files that this thread's user may not read nobody else shall see the lack. */
		if (n != NULL && geteuid() == getuid()) {
			old = shared->known;
			shared->known = n;
			atomic_fetch_add(&n->refs, 1);
		}
	} else {
		atomic_fetch_add(&n->refs, 1);
	}
	pthread_mutex_unlock(&shared->names);
	fs_names_free(old);
	if (n == NULL)
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
	return n;
}

void fs_names_free(struct fs_names *n)
{
	if (n == NULL || atomic_fetch_sub(&n->refs, 1) > 1)
		return;
	users_names_free(n->table);
	free(n);
}

const struct users_names *fs_names_table(const struct fs_names *n)
{
	return n->table;
}

const char *fs_user_name(const struct fs_names *n, uid_t uid)
{
	return users_name_of_uid(n->table, uid);
}

const char *fs_group_name(const struct fs_names *n, gid_t gid)
{
	return users_name_of_gid(n->table, gid);
}
