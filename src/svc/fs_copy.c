/*
 * fs_copy: the same thing again in another filesystem, for moving it there.
 *
 * The source is walked by fs_descend.c; beside it runs a chain of the directories that have been
 * made. A directory is private (0700) until all it holds is there, and gets its owner, attributes,
 * mode and times when it is left. What cannot be copied is an error, because the source will be
 * removed: a copy that lacks something must not count as one.
 *
 * Files with several names inside the tree keep them: the place of the first copy is remembered by
 * its path below the copy. Such a path is used once more, so what it leads to is checked to be that
 * first copy.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "fs_internal.h"

/* The first copy of a file that has more names than one. */
struct fs_copied {
	struct fs_id source, copy;
	size_t path; /* where it begins in paths, plus one; 0: free */
};

struct fs_tree_copy {
	const struct fs *fs;
	const atomic_bool *cancelled;
	int base; /* the directory that the copy is made in */
	const char *name;
	struct fs_chain made; /* directories, from the copy down to where the walk is */
	char path[PATH_MAX];  /* of the top one of them, from base on */
	size_t path_len;      /* also counted where it no longer fits */
	struct fs_id top;     /* the copy, once it is a directory */
	dev_t source_dev;
	struct fs_copied *copied; /* a hash table: copied_cap is a power of two or 0 */
	size_t ncopied, copied_cap;
	char *paths;
	size_t paths_len, paths_cap;
};

/* ---- metadata ---- */

/*
 * Owner, attributes, mode and times, in this order: each undoes something of those after it.
 * Without the rights to give it away the copy is its maker's, and has no special bits.
 */
static int fs_copy_meta(int from, int to, const struct stat *st, struct err *e)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	mode_t mode = st->st_mode & 07777;

	if (fs_chown_fd(to, st->st_uid, st->st_gid) < 0) {
		if (errno != EPERM && errno != EINVAL)
			return err_file(e, "cannot change the owner of the copy");
		(void)!fs_chown_fd(to, (uid_t)-1, st->st_gid);
		mode &= 0777;
	}
	if (from >= 0 && fs_xattr_copy(from, to, FS_XATTR_ALL) == FS_XATTR_NO_ACL)
		mode &= ~(mode_t)0070;
	if (fs_chmod_fd(to, mode) < 0)
		return err_file(e, "cannot change the mode of the copy");
	if (from >= 0 && futimens(to, times) < 0)
		return err_file(e, "cannot set the times of the copy");
	return 0;
}

/*
 * The same for a copy that was made by name: a link, or what cannot be opened. Between the making
 * and this somebody may have put another file there, which must not get a new owner.
 */
static int fs_copy_name_meta(int dir, const char *name, const struct stat *st, struct err *e)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	CLEANUP_FD int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat copy;

	if (fd < 0 || fstat(fd, &copy) < 0)
		return err_file(e, "cannot open the copy of %s", name);
	if (((copy.st_mode ^ st->st_mode) & S_IFMT) != 0 || copy.st_nlink != 1)
		return err_set(e, &ERR_RUNTIME, "the copy of %s was replaced meanwhile", name);
	if (!S_ISLNK(st->st_mode)) {
		if (fs_copy_meta(-1, fd, st, e) < 0)
			return -1;
	} else if (fs_chown_fd(fd, st->st_uid, st->st_gid) < 0 && errno != EPERM &&
		   errno != EINVAL) {
		return err_file(e, "cannot change the owner of %s", name);
	}
	if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_file(e, "cannot set the times of %s", name);
	return 0;
}

/* ---- files with several names ---- */

static struct fs_copied *fs_copied_slot(const struct fs_tree_copy *t, const struct stat *st)
{
	uint64_t h = (st->st_ino ^ (uint64_t)st->st_dev << 32) * 0x9e3779b97f4a7c15u;
	size_t i = (size_t)(h >> 20) & (t->copied_cap - 1);

	while (t->copied[i].path != 0 &&
		(t->copied[i].source.dev != st->st_dev || t->copied[i].source.ino != st->st_ino))
		i = (i + 1) & (t->copied_cap - 1);
	return &t->copied[i];
}

static int fs_copied_grow(struct fs_tree_copy *t)
{
	struct fs_copied *old = t->copied;
	size_t old_cap = t->copied_cap, cap = old_cap == 0 ? 64 : 2 * old_cap;

	t->copied = calloc(cap, sizeof(*t->copied));
	if (t->copied == NULL) {
		t->copied = old;
		return -1;
	}
	t->copied_cap = cap;
	for (size_t i = 0; i < old_cap; i++) {
		const struct stat st = {.st_dev = old[i].source.dev, .st_ino = old[i].source.ino};

		if (old[i].path != 0)
			*fs_copied_slot(t, &st) = old[i];
	}
	free(old);
	return 0;
}

/* "name/a/b/file" at the end of paths; its start plus one, or 0 when there is no room for it. */
static size_t fs_copied_path(struct fs_tree_copy *t, const char *name)
{
	size_t len = strlen(name), start = t->paths_len;
	size_t need = t->path_len + 1 + len + 1;

	if (need > PATH_MAX)
		return 0;
	while (t->paths_cap - start < need) {
		size_t cap = t->paths_cap == 0 ? 8192 : 2 * t->paths_cap;
		char *paths = cap > limit_size(LIMIT_FS_DIRECTORY_BYTES) ? NULL
									 : realloc(t->paths, cap);

		if (paths == NULL)
			return 0;
		t->paths = paths;
		t->paths_cap = cap;
	}
	memcpy(t->paths + start, t->path, t->path_len);
	t->paths[start + t->path_len] = '/';
	memcpy(t->paths + start + t->path_len + 1, name, len + 1);
	t->paths_len += need;
	return start + 1;
}

/* Where memory ends, further names become files of their own. */
static void fs_copied_remember(
	struct fs_tree_copy *t, const struct stat *source, int copy, const char *name)
{
	struct stat st;
	size_t path;

	if (2 * (t->ncopied + 1) > t->copied_cap && fs_copied_grow(t) < 0)
		return;
	if (fstat(copy, &st) < 0 || (path = fs_copied_path(t, name)) == 0)
		return;
	*fs_copied_slot(t, source) = (struct fs_copied){
		{source->st_dev, source->st_ino}, {st.st_dev, st.st_ino}, path};
	t->ncopied++;
}

/* True when the name is made, as one more of the file that was copied before. */
static bool fs_copied_link(
	const struct fs_tree_copy *t, const struct stat *source, int dir, const char *name)
{
	const struct fs_copied *c;
	struct stat st;

	if (t->copied_cap == 0)
		return false;
	c = fs_copied_slot(t, source);
	if (c->path == 0 || linkat(t->base, t->paths + c->path - 1, dir, name, 0) < 0)
		return false;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == c->copy.dev &&
		st.st_ino == c->copy.ino)
		return true;
	/* Not what was put there: somebody is playing with the copy. */
	unlinkat(dir, name, 0);
	return false;
}

/* ---- one object ---- */

static int fs_copy_file(struct fs_tree_copy *t, int from_dir, const char *from, int to_dir,
	const char *to, struct err *e)
{
	CLEANUP_FD int in = openat(
		from_dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	CLEANUP_FD int out = -1;
	struct stat st;

	if (in < 0 || fstat(in, &st) < 0)
		return err_file(e, "cannot open %s", from);
	if (!S_ISREG(st.st_mode))
		return err_set(e, &ERR_RUNTIME, "%s was replaced meanwhile", from);
	if (st.st_nlink > 1 && fs_copied_link(t, &st, to_dir, to))
		return 0;
	out = openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return err_file(e, "cannot make a copy of %s", from);
	if (fs_copy_data(in, out, (uint64_t)st.st_size, FS_COPY_FRESH, t->cancelled, e) < 0 ||
		fs_copy_meta(in, out, &st, e) < 0)
		return -1;
	if (st.st_nlink > 1)
		fs_copied_remember(t, &st, out, to);
	return 0;
}

static int fs_copy_symlink(
	int from_dir, const char *from, int to_dir, const char *to, struct err *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from_dir, from, target, sizeof(target));

	if (n < 0)
		return err_file(e, "cannot read the link %s", from);
	if ((size_t)n == sizeof(target))
		return err_set(e, &ERR_BAD_PATH, "the link %s is too long", from);
	target[n] = '\0';
	if (symlinkat(target, to_dir, to) < 0)
		return err_file(e, "cannot make a copy of %s", from);
	return 0;
}

/* Anything but a directory. */
static int fs_copy_object(struct fs_tree_copy *t, int from_dir, const char *from, int to_dir,
	const char *to, const struct stat *st, struct err *e)
{
	if (S_ISREG(st->st_mode))
		return fs_copy_file(t, from_dir, from, to_dir, to, e);
	if (S_ISLNK(st->st_mode)) {
		if (fs_copy_symlink(from_dir, from, to_dir, to, e) < 0)
			return -1;
	} else if (mknodat(to_dir, to, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0) {
		return err_file(e, "cannot make a copy of %s", from);
	}
	return fs_copy_name_meta(to_dir, to, st, e);
}

/* ---- the tree ---- */

static int fs_copy_entry(void *arg, int dir, const char *name, unsigned char type, struct err *e)
{
	struct fs_tree_copy *t = arg;
	struct stat st;

	(void)type;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_file(e, "cannot look at %s", name);
	if (S_ISDIR(st.st_mode))
		return 1;
	return fs_copy_object(t, dir, name, fs_chain_top(&t->made), name, &st, e);
}

/* May this directory be part of it? */
static int fs_copy_allowed(
	const struct fs_tree_copy *t, const struct stat *st, const char *name, struct err *e)
{
	if (fs_is_held(t->fs, st))
		return err_set(e, &ERR_PATH_FORBIDDEN, "a root cannot be moved");
	if (t->made.n == 0)
		return 0;
	if (st->st_dev == t->top.dev && st->st_ino == t->top.ino)
		return err_set(e, &ERR_BAD_BODY, "a directory cannot be moved into itself");
	if (st->st_dev != t->source_dev) {
		/* It could be copied but not removed. */
		errno = EBUSY;
		return err_file(e, "%s is a mount point", name);
	}
	return 0;
}

static void fs_copy_path_down(struct fs_tree_copy *t, const char *name)
{
	size_t n = strlen(name);

	if (t->path_len + 1 + n < sizeof(t->path)) {
		t->path[t->path_len] = '/';
		memcpy(t->path + t->path_len + 1, name, n);
	}
	t->path_len += 1 + n;
}

static int fs_copy_enter(void *arg, int parent, const char *name, int dir, struct err *e)
{
	struct fs_tree_copy *t = arg;
	bool first = t->made.n == 0;
	int above = first ? t->base : fs_chain_top(&t->made);
	const char *to = first ? t->name : name;
	struct stat st;
	int fd;

	(void)parent;
	if (fstat(dir, &st) < 0)
		return err_file(e, "cannot look at %s", name);
	if (fs_copy_allowed(t, &st, name, e) < 0)
		return -1;
	if (mkdirat(above, to, 0700) < 0)
		return err_file(e, "cannot make a copy of %s", name);
	fd = confine_open_dir(above, to, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_file(e, "cannot open the copy of %s", name);
	if (fs_chain_push(&t->made, fd, e) < 0)
		return -1;
	if (first) {
		t->source_dev = st.st_dev;
		t->top = t->made.links[0].id;
		t->path_len = strlen(to);
		memcpy(t->path, to, t->path_len);
	} else {
		fs_copy_path_down(t, name);
	}
	return 0;
}

static int fs_copy_closed(void *arg, int parent, const char *name, struct err *e)
{
	(void)arg;
	(void)parent;
	return errno == ENOENT ? 0 : err_file(e, "cannot open %s", name);
}

static int fs_copy_leave(void *arg, int parent, const char *name, int dir, struct err *e)
{
	struct fs_tree_copy *t = arg;
	struct stat st;

	(void)parent;
	if (fstat(dir, &st) < 0)
		return err_file(e, "cannot look at %s", name);
	/* Before the way up: ".." of a directory needs its x bit. */
	if (t->made.n > 1 && fs_chain_parent(&t->made, e) < 0)
		return -1;
	if (fs_copy_meta(dir, fs_chain_top(&t->made), &st, e) < 0)
		return -1;
	t->path_len -= t->made.n > 1 ? 1 + strlen(name) : t->path_len;
	fs_chain_pop(&t->made);
	return 0;
}

int fs_copy_tree(const struct fs *fs, int from_dir, const char *from, int to_dir, const char *to,
	const atomic_bool *cancelled, struct err *e)
{
	struct fs_tree_copy *t;
	struct fs_visitor v = {
		.entry = fs_copy_entry,
		.enter = fs_copy_enter,
		.closed = fs_copy_closed,
		.leave = fs_copy_leave,
		.cancelled = cancelled,
	};
	struct stat st;
	int r;

	if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_file(e, "cannot look at %s", from);
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	t->fs = fs;
	t->cancelled = cancelled;
	t->base = to_dir;
	t->name = to;
	v.arg = t;
	if (S_ISDIR(st.st_mode))
		r = fs_descend(&v, from_dir, from, e);
	else
		r = fs_copy_object(t, from_dir, from, to_dir, to, &st, e);
	fs_chain_fini(&t->made);
	free(t->copied);
	free(t->paths);
	free(t);
	return r;
}
