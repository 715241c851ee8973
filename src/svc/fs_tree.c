/*
 * fs_tree: making and removing directories, and removing whatever else has a name.
 *
 * Removing works on descriptors all the way down (fs_descend.c), each opened without following a
 * link: a directory that is swapped for a link while it is being emptied makes boxd remove
 * the link. The roots, and the directories above them, are known by device and inode from the
 * start, so they are refused whatever they are called now.
 */
#include "boxd/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "fs_internal.h"

/* Directories that others fill while they are being emptied: visited so often in one removal. */
#define FS_REMOVE_AGAIN 64

/* ---- making ---- */

/* Makes the directory of a place and gives it what was asked for, or leaves none. */
static int fs_mkdir_new(
	const struct confine_place *p, const struct fs_owner *owner, int32_t mode, struct err *e)
{
	CLEANUP_FD int fd = -1;
	struct stat st;

	if (mkdirat(p->dir, p->name, mode < 0 ? 0777 : (mode_t)mode & 0777) < 0) {
		if (errno != EEXIST)
			return err_file(e, "cannot make %s", p->name);
		/* Made by somebody else just now: as good. */
		if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
			return 0;
		return err_set(e, &ERR_EXISTS, "%s exists and is no directory", p->name);
	}
	if (owner->uid == (uid_t)-1 && owner->gid == (gid_t)-1 && mode < 0)
		return 0;
	fd = openat(p->dir, p->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		err_file(e, "cannot open %s", p->name);
	else if (fs_apply_perm(fd, owner, mode, e) == 0)
		return 0;
	unlinkat(p->dir, p->name, AT_REMOVEDIR);
	return -1;
}

int fs_mkdir(const struct fs *fs, const char *path, const struct fs_perm *perm, struct err *e)
{
	static const struct fs_perm nothing = {.mode = -1};
	struct confine_place place;
	struct fs_owner owner;
	struct err missing = {0};
	int fd, r;

	if (perm == NULL)
		perm = &nothing;
	if (fs_owner_of(fs, perm, &owner, e) < 0)
		return -1;
	/* First, because one that exists is success in a read-only root, too. */
	fd = confine_open(fs->confine, path, O_PATH | O_DIRECTORY, 0, &missing);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (missing.kind != &ERR_NO_FILE) {
		*e = missing;
		return -1;
	}
	if (confine_find(fs->confine, path, CONFINE_WRITE | CONFINE_PARENTS, &place, e) < 0)
		return -1;
	r = fs_mkdir_new(&place, &owner, perm->mode, e);
	confine_place_fini(&place);
	return r;
}

/* ---- removing a tree ---- */

struct fs_removal {
	const struct fs *fs;
	struct err first; /* of the failures: what is told at the end */
	unsigned int again;
};

/* Keeps a failure, errno says which; the rest is still attempted. */
static void fs_removal_failed(struct fs_removal *r, const char *name)
{
	if (r->first.kind == NULL)
		err_file(&r->first, "cannot remove %s", name);
}

static int fs_removal_entry(void *arg, int dir, const char *name, unsigned char type, struct err *e)
{
	struct stat st;

	(void)e;
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno == EISDIR)
		return 1;
	if (errno == EPERM && type == DT_UNKNOWN &&
		fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st.st_mode))
			return 1;
		errno = EPERM;
	}
	fs_removal_failed(arg, name);
	return 0;
}

static int fs_removal_enter(void *arg, int parent, const char *name, int dir, struct err *e)
{
	struct fs_removal *r = arg;
	struct stat st;

	(void)parent;
	(void)e;
	if (fstat(dir, &st) < 0) {
		fs_removal_failed(r, name);
		return 1;
	}
	if (!fs_is_held(r->fs, &st))
		return 0;
	if (r->first.kind == NULL)
		err_set(&r->first, &ERR_PATH_FORBIDDEN, "a root cannot be removed");
	return 1;
}

/* One that may not be read may still be empty; one that became something else goes as that. */
static int fs_removal_closed(void *arg, int parent, const char *name, struct err *e)
{
	int why = errno;
	int flags = why == ENOTDIR || why == ELOOP ? 0 : AT_REMOVEDIR;

	(void)e;
	if (why == ENOENT || unlinkat(parent, name, flags) == 0 || errno == ENOENT)
		return 0;
	if (flags != 0) /* what keeps it from being emptied, not that it is not empty */
		errno = why;
	fs_removal_failed(arg, name);
	return 0;
}

static int fs_removal_leave(void *arg, int parent, const char *name, int dir, struct err *e)
{
	struct fs_removal *r = arg;

	(void)dir;
	(void)e;
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	/* Swapped for something else while it was being emptied: the name goes all the same. */
	if (errno == ENOTDIR && (unlinkat(parent, name, 0) == 0 || errno == ENOENT))
		return 0;
	/* After a failure it is clear why it is not empty; else somebody has put something in. */
	if ((errno == ENOTEMPTY || errno == EEXIST) && r->first.kind == NULL &&
		r->again++ < FS_REMOVE_AGAIN)
		return 1;
	fs_removal_failed(r, name);
	return 0;
}

int fs_remove_tree(
	const struct fs *fs, int dir, const char *name, const atomic_bool *cancelled, struct err *e)
{
	struct fs_removal r = {.fs = fs};
	struct fs_visitor v = {
		.entry = fs_removal_entry,
		.enter = fs_removal_enter,
		.closed = fs_removal_closed,
		.leave = fs_removal_leave,
		.arg = &r,
		.cancelled = cancelled,
	};

	if (fs_descend(&v, dir, name, e) < 0)
		return -1;
	if (r.first.kind == NULL)
		return 0;
	*e = r.first;
	return -1;
}

/* ---- removing a name ---- */

static int fs_remove_missing(unsigned int flags, const struct cond *cond, struct err *e)
{
	if (fs_check_cond(cond, NULL, e) < 0)
		return -1;
	return (flags & FS_MISSING_OK) != 0 ? 0 : err_set(e, &ERR_NO_FILE, "there is no such file");
}

/*
 * What is one step of the kernel, under the lock of the name. 1: a directory that is to be emptied
 * first.
 */
static int fs_remove_locked(const struct fs *fs, const struct confine_place *p, unsigned int flags,
	const struct cond *cond, struct err *e)
{
	struct stat st;

	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? fs_remove_missing(flags, cond, e)
				       : err_file(e, "cannot look at %s", p->name);
	if (fs_check_cond(cond, &st, e) < 0)
		return -1;
	if (S_ISDIR(st.st_mode)) {
		if (fs_is_held(fs, &st))
			return err_set(e, &ERR_PATH_FORBIDDEN,
				"%s is a root or holds one: it cannot be removed", p->name);
		if ((flags & (FS_DIRECTORY_OK | FS_RECURSIVE)) == 0)
			return err_set(e, &ERR_WRONG_TYPE, "%s is a directory", p->name);
		if ((flags & FS_RECURSIVE) != 0)
			return 1;
	}
	if (unlinkat(p->dir, p->name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0)
		return 0;
	if (errno == ENOENT)
		return fs_remove_missing(flags, cond, e);
	return err_file(e, "cannot remove %s", p->name);
}

int fs_remove(const struct fs *fs, const char *path, unsigned int flags, const struct cond *cond,
	const atomic_bool *cancelled, struct err *e)
{
	struct confine_place place;
	struct err missing = {0};
	int r;

	if (confine_find(fs->confine, path, CONFINE_WRITE, &place, &missing) < 0) {
		if (missing.kind == &ERR_NO_FILE)
			return fs_remove_missing(flags, cond, e);
		*e = missing;
		return -1;
	}
	if (place.is_root || place.holds_root) {
		r = err_set(e, &ERR_PATH_FORBIDDEN, "a root cannot be removed");
	} else {
		fs_lock(fs, place.name);
		r = fs_remove_locked(fs, &place, flags, cond, e);
		fs_unlock(fs, place.name);
		if (r > 0)
			r = fs_remove_tree(fs, place.dir, place.name, cancelled, e);
	}
	confine_place_fini(&place);
	return r;
}
