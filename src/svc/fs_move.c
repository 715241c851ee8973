/*
 * fs_move: a new name for what there is.
 *
 * Within a filesystem that is rename(2), with RENAME_NOREPLACE unless the client wants to
 * overwrite. Into another one the thing is copied, under a hidden name beside its destination. Then
 * two renames, under the locks of both names: the source goes to a hidden name beside itself, which
 * proves that it may be taken away, and the copy gets its name. Until then every failure leaves the
 * source as it was; what remains after that is to remove the hidden source.
 */
#include "boxd/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "boxd/sysc.h"
#include "fs_internal.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* Copies of a file that is written to meanwhile, before it is given up. */
#define FS_MOVE_TRIES 3

struct fs_moving {
	const struct fs *fs;
	struct confine_place src, dest;
	struct stat st; /* of the source, when it was looked at last */
	bool overwrite;
	const struct cond *cond;
	const atomic_bool *cancelled;
};

/* ---- a rename that replaces nothing ---- */

/*
 * Where the kernel or the filesystem has no RENAME_NOREPLACE. What is no directory gets a second
 * name, which is as safe. A directory, and what can have no second name, is renamed after a
 * look: an empty directory (or a file) that appears in between is replaced.
 */
static int fs_rename_looking(int from_dir, const char *from, int to_dir, const char *to)
{
	struct stat st;

	if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	if (!S_ISDIR(st.st_mode)) {
		if (linkat(from_dir, from, to_dir, to, 0) == 0) {
			if (unlinkat(from_dir, from, 0) == 0)
				return 0;
			int saved = errno;
			unlinkat(to_dir, to, 0);
			errno = saved;
			return -1;
		}
		if (errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK)
			return -1;
	}
	if (fstatat(to_dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	return errno == ENOENT ? renameat(from_dir, from, to_dir, to) : -1;
}

int fs_rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
	if (syscall(SYS_renameat2, from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (!sysc_missing(errno) && errno != EINVAL)
		return -1;
	return fs_rename_looking(from_dir, from, to_dir, to);
}

/* ---- what may not be ---- */

/* Is path below the directory? Both are clean. */
static bool fs_move_is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

static int fs_move_look(struct fs_moving *m, struct err *e)
{
	if (fstatat(m->src.dir, m->src.name, &m->st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_file(e, "cannot look at %s", m->src.name);
	if (S_ISDIR(m->st.st_mode) && fs_is_held(m->fs, &m->st))
		return err_set(e, &ERR_PATH_FORBIDDEN,
			"%s is a root or holds one: it cannot be moved", m->src.name);
	return fs_check_cond(m->cond, &m->st, e);
}

/* The errno of a rename, as what it means to somebody who moves things. */
static int fs_move_failed(const struct fs_moving *m, struct err *e)
{
	switch (errno) {
	case EINVAL: return err_sys(e, &ERR_BAD_BODY, "%s cannot be moved there", m->src.name);
	case EEXIST:
		if (m->overwrite)
			return err_sys(e, &ERR_NOT_EMPTY, "cannot replace %s", m->dest.name);
		return err_sys(e, &ERR_EXISTS, "cannot move to %s", m->dest.name);
	case EISDIR:
	case ENOTDIR: return err_sys(e, &ERR_WRONG_TYPE, "cannot replace %s", m->dest.name);
	default: return err_file(e, "cannot move %s", m->src.name);
	}
}

/* Renames to the destination. -1 with errno. */
static int fs_move_rename(const struct fs_moving *m, int from_dir, const char *from)
{
	if (m->overwrite)
		return renameat(from_dir, from, m->dest.dir, m->dest.name);
	return fs_rename_new(from_dir, from, m->dest.dir, m->dest.name);
}

/* ---- into another filesystem ---- */

static void fs_move_drop_copy(const struct fs_moving *m, const char *copy)
{
	struct err ignored = {0}; /* the first error is the one to tell */

	(void)!fs_remove_tree(m->fs, m->dest.dir, copy, NULL, &ignored);
}

static bool fs_move_changed(const struct stat *before, const struct stat *now)
{
	return S_ISREG(now->st_mode) &&
	       (before->st_ino != now->st_ino || before->st_size != now->st_size ||
		       before->st_ctim.tv_sec != now->st_ctim.tv_sec ||
		       before->st_ctim.tv_nsec != now->st_ctim.tv_nsec);
}

/*
 * Under the locks: takes the source away and puts the copy in its place. aside: where the source
 * is afterwards; its own name where it cannot be renamed, as some directories of an overlay. 1: the
 * source has changed since it was copied.
 */
static int fs_move_switch(
	struct fs_moving *m, const char *copy, char aside[static FS_TEMP_MAX], struct err *e)
{
	const struct stat before = m->st;
	int dir = m->src.dir;

	if (fs_move_look(m, e) < 0)
		return -1;
	if (fs_move_changed(&before, &m->st))
		return 1;
	if (fs_temp_name(aside, e) < 0)
		return -1;
	if (fs_rename_new(dir, m->src.name, dir, aside) < 0) {
		if (errno != EXDEV)
			return fs_move_failed(m, e);
		aside[0] = '\0';
	}
	if (fs_move_rename(m, m->dest.dir, copy) == 0)
		return 0;
	fs_move_failed(m, e);
	if (aside[0] != '\0')
		(void)!fs_rename_new(dir, aside, dir, m->src.name);
	return -1;
}

/* Not cancelled any more: the move has happened. */
static int fs_move_remove_source(const struct fs_moving *m, const char *aside, struct err *e)
{
	const char *name = aside[0] == '\0' ? m->src.name : aside;

	if (fs_remove_tree(m->fs, m->src.dir, name, NULL, e) == 0)
		return 0;
	/* What is left of it must not stay hidden. */
	if (aside[0] != '\0')
		(void)!fs_rename_new(m->src.dir, aside, m->src.dir, m->src.name);
	return err_wrap(e, "copied, but the source is not removed");
}

/* The kernel says EXDEV before it looks: what must fail in the end should not be copied first. */
static int fs_move_check_dest(const struct fs_moving *m, struct err *e)
{
	struct stat st;

	if (fstatat(m->dest.dir, m->dest.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fs_move_failed(m, e);
	errno = 0;
	if (!m->overwrite)
		errno = EEXIST;
	else if (S_ISDIR(st.st_mode) != S_ISDIR(m->st.st_mode))
		errno = ENOTDIR;
	return errno == 0 ? 0 : fs_move_failed(m, e);
}

static int fs_move_across(struct fs_moving *m, struct err *e)
{
	char copy[FS_TEMP_MAX], aside[FS_TEMP_MAX];

	if (fs_move_check_dest(m, e) < 0)
		return -1;
	for (int i = 0; i < FS_MOVE_TRIES; i++) {
		int r;

		if (fs_temp_name(copy, e) < 0)
			return -1;
		r = fs_copy_tree(
			m->fs, m->src.dir, m->src.name, m->dest.dir, copy, m->cancelled, e);
		if (r == 0) {
			fs_lock_pair(m->fs, m->src.name, m->dest.name);
			r = fs_move_switch(m, copy, aside, e);
			fs_unlock_pair(m->fs, m->src.name, m->dest.name);
		}
		if (r == 0)
			return fs_move_remove_source(m, aside, e);
		fs_move_drop_copy(m, copy);
		if (r < 0)
			return -1;
	}
	return err_set(e, &ERR_RUNTIME, "%s changes while it is being copied", m->src.name);
}

/* ---- all of it ---- */

/* One step where it can be; 1: the destination is in another filesystem. */
static int fs_move_within(struct fs_moving *m, struct err *e)
{
	int r;

	fs_lock_pair(m->fs, m->src.name, m->dest.name);
	r = fs_move_look(m, e);
	if (r == 0 && fs_move_rename(m, m->src.dir, m->src.name) < 0)
		r = errno == EXDEV ? 1 : fs_move_failed(m, e);
	fs_unlock_pair(m->fs, m->src.name, m->dest.name);
	return r;
}

static int fs_move_to(struct fs_moving *m, const char *dest, struct err *e)
{
	int r = -1;

	if (confine_find(m->fs->confine, dest, CONFINE_WRITE | CONFINE_PARENTS, &m->dest, e) < 0)
		return -1;
	if (m->dest.is_root || m->dest.holds_root)
		err_set(e, &ERR_PATH_FORBIDDEN, "a root cannot be replaced");
	else
		r = fs_move_within(m, e);
	if (r > 0)
		r = fs_move_across(m, e);
	confine_place_fini(&m->dest);
	return r;
}

int fs_move(const struct fs *fs, const char *src, const char *dest, bool overwrite,
	const struct cond *cond, const atomic_bool *cancelled, struct err *e)
{
	struct fs_moving m = {
		.fs = fs,
		.overwrite = overwrite,
		.cond = cond,
		.cancelled = cancelled,
	};
	int r = -1;

	if (confine_find(fs->confine, src, CONFINE_WRITE, &m.src, e) < 0)
		return -1;
	if (m.src.is_root || m.src.holds_root) {
		err_set(e, &ERR_PATH_FORBIDDEN, "a root cannot be moved");
	} else if (fs_move_look(&m, e) == 0) {
		if (S_ISDIR(m.st.st_mode) && fs_move_is_below(dest, src))
			err_set(e, &ERR_BAD_BODY, "a directory cannot be moved into itself");
		else
			r = fs_move_to(&m, dest, e);
	}
	confine_place_fini(&m.src);
	return r;
}
