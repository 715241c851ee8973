/*
 * confine_walk: the way by component, for paths with links and for kernels without openat2(2).
 *
 * The walk has a directory, the text of where that is (`done`: a root's real path and names below
 * it, none of them a link), and the text that is still to go (`todo`). It takes one name at a time,
 * opens it with O_PATH|O_NOFOLLOW and looks at what it has got. A directory becomes the next place
 * to stand on. A link is never followed by the kernel: its target is put in front of `todo`, and
 * when it is absolute the walk goes back to the roots with it.
 *
 * Why it cannot leave the roots, whatever is renamed or exchanged meanwhile: it starts at a root's
 * descriptor, and each step takes one name, without a slash, not "..", in the directory it stands
 * on, without following. So each directory it stands on was, when it stepped there, an entry of the
 * one before. ".." is never given to the kernel, for which it is wherever the directory has been
 * moved to; it takes a name off `done`, and the walk starts again from a root with that text. Where
 * `done` is out of date by then, the second walk finds what is there now, by the same rules.
 *
 * A directory that somebody moves out of a root after the walk stepped into it is still that
 * directory: what it holds was inside when it was found.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "confine_internal.h"

/* linux/magic.h, which not every C library comes with. */
#define CONFINE_PROC_MAGIC 0x9fa0

struct confine_walk {
	const struct confine *c;
	unsigned int how;
	int flags; /* of open(2) */
	const struct confine_entry *root;
	int dir;      /* where it stands; the root's own descriptor, or the walk's */
	size_t depth; /* names from the root to dir */
	size_t links, steps;
	size_t done_n, todo_at;
	char done[CONFINE_TEXT]; /* the path of dir */
	char todo[CONFINE_TEXT]; /* todo[todo_at] and on: the end of the buffer is the end of it */
};

enum confine_step {
	CONFINE_FAILED = -1,
	CONFINE_ON,   /* there is more to do */
	CONFINE_HERE, /* at the end, which is the directory it stands on */
	CONFINE_NAME, /* at the end, which is a name in it */
};

/* ---- standing and starting ---- */

static void confine_walk_stand(struct confine_walk *w, const struct confine_entry *root, int dir)
{
	if (w->root != NULL && w->dir != w->root->fd)
		close(w->dir);
	w->root = root;
	w->dir = dir;
}

static void confine_walk_at_root(struct confine_walk *w, const struct confine_entry *root)
{
	confine_walk_stand(w, root, root->fd);
	w->depth = 0;
	w->done_n = strlen(root->names[0]);
	memcpy(w->done, root->names[0], w->done_n + 1);
}

/* Puts n bytes in front of what is to be done, with a slash between. */
static int confine_walk_prepend(struct confine_walk *w, const char *text, size_t n)
{
	if (n + 1 > w->todo_at) {
		errno = ENAMETOOLONG;
		return -1;
	}
	w->todo[--w->todo_at] = '/';
	w->todo_at -= n;
	memcpy(w->todo + w->todo_at, text, n);
	return 0;
}

/* From the root that todo, as an absolute path, leads into. */
static int confine_walk_restart(struct confine_walk *w)
{
	const char *rest;
	const struct confine_entry *root = confine_locate(w->c, w->todo + w->todo_at, &rest);

	if (root == NULL) {
		errno = EXDEV;
		return -1;
	}
	w->todo_at = (size_t)(rest - w->todo);
	confine_walk_at_root(w, root);
	return 0;
}

/* ---- steps ---- */

static bool confine_walk_done(const struct confine_walk *w)
{
	return w->todo[w->todo_at] == '\0';
}

/* Takes the next name off todo. */
static int confine_walk_take(struct confine_walk *w, char name[static NAME_MAX + 1])
{
	const char *p = w->todo + w->todo_at;
	size_t skip = strspn(p, "/"), len = strcspn(p + skip, "/");

	if (len > NAME_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(name, p + skip, len);
	name[len] = '\0';
	w->todo_at += skip + len;
	w->todo_at += strspn(w->todo + w->todo_at, "/");
	return 0;
}

/* Takes fd, the directory `name` below the one it stands on. */
static enum confine_step confine_walk_descend(struct confine_walk *w, int *fd, const char *name)
{
	if (!confine_append(w->done, &w->done_n, name, strlen(name))) {
		errno = ENAMETOOLONG;
		return CONFINE_FAILED;
	}
	w->depth++;
	confine_walk_stand(w, w->root, steal_fd(fd));
	return CONFINE_ON;
}

static enum confine_step confine_walk_up(struct confine_walk *w)
{
	char *slash = strrchr(w->done, '/');

	slash[slash == w->done ? 1 : 0] = '\0';
	if (confine_walk_prepend(w, w->done, strlen(w->done)) < 0)
		return CONFINE_FAILED;
	return confine_walk_restart(w) < 0 ? CONFINE_FAILED : CONFINE_ON;
}

/* ---- links ---- */

/*
 * The links of procfs that stand for an object (of a process: its directory, root, program, files
 * and namespaces) have texts that only look like a path: the file may be deleted, or in another
 * mount. What is left are the relative ones, like /proc/self.
 */
static bool confine_walk_is_magic(const char *target)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_./";

	return target[0] == '/' || target[strspn(target, plain)] != '\0';
}

/* What the kernel does for fs.protected_symlinks, when the link is the last thing in a path. */
static bool confine_walk_is_strangers(const struct confine_walk *w, const struct stat *link)
{
	struct stat dir;

	if (!w->c->guard_links || link->st_uid == geteuid())
		return false;
	if (fstat(w->dir, &dir) < 0)
		return true;
	return (dir.st_mode & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH) &&
	       dir.st_uid != link->st_uid;
}

/* The text of the link, at most cap - 1 bytes. -1 with errno. */
static ssize_t confine_walk_read_link(int link, char *target, size_t cap)
{
	struct statfs fs;
	ssize_t n;
	bool proc;

	if (fstatfs(link, &fs) < 0)
		return -1;
	proc = (unsigned long)fs.f_type == CONFINE_PROC_MAGIC;
	n = readlinkat(link, "", target, cap);
	/* Those of other processes cannot even be read, and are magic all the same. */
	if (n < 0 && proc && errno == EACCES)
		errno = EXDEV;
	if (n < 0)
		return -1;
	if (n == 0 || (size_t)n == cap) {
		errno = n == 0 ? ENOENT : ENAMETOOLONG;
		return -1;
	}
	target[n] = '\0';
	if (proc && confine_walk_is_magic(target)) {
		errno = EXDEV;
		return -1;
	}
	return n;
}

static enum confine_step confine_walk_link(struct confine_walk *w, int link, const struct stat *st)
{
	char target[PATH_MAX + 1];
	ssize_t n;

	if (++w->links > limit_size(LIMIT_FS_LINKS)) {
		errno = ELOOP;
		return CONFINE_FAILED;
	}
	if (confine_walk_done(w) && confine_walk_is_strangers(w, st)) {
		errno = EACCES;
		return CONFINE_FAILED;
	}
	n = confine_walk_read_link(link, target, sizeof(target));
	if (n < 0)
		return CONFINE_FAILED;
	/* "name/" has to be a directory, which "name/." says in so many words. */
	if (confine_walk_done(w) && target[n - 1] == '/' && confine_walk_prepend(w, ".", 1) < 0)
		return CONFINE_FAILED;
	if (confine_walk_prepend(w, target, (size_t)n) < 0)
		return CONFINE_FAILED;
	if (target[0] == '/' && confine_walk_restart(w) < 0)
		return CONFINE_FAILED;
	return CONFINE_ON;
}

/* ---- the walk ---- */

/* There is no such name, says errno. */
static enum confine_step confine_walk_missing(struct confine_walk *w, const char *name)
{
	if (errno != ENOENT)
		return CONFINE_FAILED;
	if (confine_walk_done(w))
		return CONFINE_NAME;
	if ((w->how & CONFINE_PARENTS) == 0)
		return CONFINE_FAILED;
	if (w->root->read_only) {
		errno = EROFS;
		return CONFINE_FAILED;
	}
	/* Somebody else may have made it first, and anything: it is looked at again. */
	if (mkdirat(w->dir, name, 0777) < 0 && errno != EEXIST)
		return CONFINE_FAILED;
	if (confine_walk_prepend(w, name, strlen(name)) < 0)
		return CONFINE_FAILED;
	return CONFINE_ON;
}

static enum confine_step confine_walk_enter(struct confine_walk *w, const char *name)
{
	CLEANUP_FD int fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return confine_walk_missing(w, name);
	if (fstat(fd, &st) < 0)
		return CONFINE_FAILED;
	if (S_ISLNK(st.st_mode))
		return confine_walk_link(w, fd, &st);
	if (confine_walk_done(w))
		return CONFINE_NAME;
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return CONFINE_FAILED;
	}
	return confine_walk_descend(w, &fd, name);
}

/* The root, not this one, that is the entry `name` of the directory it stands on, or NULL. */
static const struct confine_entry *confine_walk_other_root(struct confine_walk *w, const char *name)
{
	size_t n = w->done_n;
	const struct confine_entry *r = NULL;

	if (confine_append(w->done, &n, name, strlen(name)))
		r = confine_root_at(w->c, w->done);
	w->done[w->done_n] = '\0';
	return r;
}

static enum confine_step confine_walk_step(
	struct confine_walk *w, bool follow, char name[static NAME_MAX + 1])
{
	const struct confine_entry *other;

	if (confine_walk_done(w))
		return CONFINE_HERE;
	/* What the longest path needs if each directory is made and each link makes it start again.
	 */
	if (++w->steps > limit_size(LIMIT_FS_PATH_PARTS) * (limit_size(LIMIT_FS_LINKS) + 2)) {
		errno = ELOOP;
		return CONFINE_FAILED;
	}
	if (confine_walk_take(w, name) < 0)
		return CONFINE_FAILED;
	if (strcmp(name, ".") == 0)
		return CONFINE_ON;
	if (strcmp(name, "..") == 0)
		return confine_walk_up(w);
	other = confine_walk_other_root(w, name);
	if (other != NULL) {
		confine_walk_at_root(w, other);
		return CONFINE_ON;
	}
	if (w->depth >= limit_size(LIMIT_FS_PATH_PARTS)) {
		errno = ENAMETOOLONG;
		return CONFINE_FAILED;
	}
	if (confine_walk_done(w) && !follow)
		return CONFINE_NAME;
	return confine_walk_enter(w, name);
}

/* Goes on until it is somewhere: CONFINE_HERE, CONFINE_NAME or CONFINE_FAILED. */
static enum confine_step confine_walk_run(
	struct confine_walk *w, bool follow, char name[static NAME_MAX + 1])
{
	enum confine_step s;

	do
		s = confine_walk_step(w, follow, name);
	while (s == CONFINE_ON);
	return s;
}

static int confine_walk_begin(struct confine_walk *w, const struct confine *c, const char *path)
{
	w->c = c;
	w->root = NULL;
	w->dir = -1;
	w->depth = 0;
	w->links = 0;
	w->steps = 0;
	w->done_n = 0;
	w->done[0] = '\0';
	w->todo_at = sizeof(w->todo) - 1;
	w->todo[w->todo_at] = '\0';
	if (confine_walk_prepend(w, path, strlen(path)) < 0)
		return -1;
	return confine_walk_restart(w);
}

static void confine_walk_end(struct confine_walk *w)
{
	int saved = errno;

	confine_walk_stand(w, NULL, -1);
	errno = saved;
}

/* The directory it stands on, for the caller to own. */
static int confine_walk_take_dir(struct confine_walk *w)
{
	int dir = w->dir;

	if (dir == w->root->fd)
		return fcntl(dir, F_DUPFD_CLOEXEC, 3);
	w->root = NULL;
	w->dir = -1;
	return dir;
}

static int confine_walk_find_on(struct confine_walk *w, bool follow, struct confine_place *out)
{
	char name[NAME_MAX + 1] = "";
	enum confine_step s;

	while ((s = confine_walk_run(w, follow, name)) == CONFINE_HERE) {
		if (w->dir == w->root->fd)
			return confine_place_set_root(out, w->c, w->root);
		/* A link that ends in "." or ".." led here: this directory's name is asked for. */
		if (confine_walk_prepend(w, w->done, w->done_n) < 0 || confine_walk_restart(w) < 0)
			return -1;
	}
	if (s == CONFINE_FAILED)
		return -1;
	const struct confine_entry *root = w->root;
	int dir = confine_walk_take_dir(w);

	if (dir < 0)
		return -1;
	confine_place_set(out, w->c, root, dir, w->done, name);
	return 0;
}

int confine_walk_find(
	const struct confine *c, const char *path, unsigned int how, struct confine_place *out)
{
	struct confine_walk w;
	int rc;

	w.how = how;
	rc = confine_walk_begin(&w, c, path);
	if (rc == 0)
		rc = confine_walk_find_on(&w, (how & CONFINE_FOLLOW) != 0, out);
	confine_walk_end(&w);
	return rc;
}

/* ---- opening ---- */

/*
 * The directory is held first, and known to be one; then it opens itself. Where it may be read but
 * not entered it cannot, and its name is opened without asking for a directory.
 */
int confine_open_dir_by_hand(int dir, const char *name, int flags)
{
	CLEANUP_FD int held = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_FD int fd = -1;
	struct stat st;

	flags &= ~(O_DIRECTORY | O_NOFOLLOW);
	if (held < 0 || fstat(held, &st) < 0)
		return -1;
	if (S_ISDIR(st.st_mode) && (flags & O_PATH) != 0)
		return steal_fd(&held);
	if (S_ISDIR(st.st_mode)) {
		fd = openat(held, ".", flags | O_DIRECTORY);
		if (fd < 0 && errno == EACCES)
			fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0 || fstat(fd, &st) < 0)
			return -1;
	}
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return -1;
	}
	return steal_fd(&fd);
}

static pthread_once_t confine_once = PTHREAD_ONCE_INIT;
static bool confine_refuses_links;

/* /proc/self is a link to a directory. Without it nothing is known, and nothing trusted. */
static void confine_try_link(void)
{
	CLEANUP_FD int fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	confine_refuses_links = fd < 0 && (errno == ENOTDIR || errno == ELOOP);
}

int confine_open_dir(int dir, const char *name, int flags)
{
	pthread_once(&confine_once, confine_try_link);
	if (!confine_refuses_links)
		return confine_open_dir_by_hand(dir, name, flags);
	return openat(dir, name, flags | O_DIRECTORY | O_NOFOLLOW);
}

/*
 * Has the name become something else since it was looked at? It was no link then, and a directory
 * where one is asked for.
 */
static bool confine_walk_raced(const struct confine_walk *w, const char *name, int fd)
{
	int saved = errno;
	struct stat st;
	bool raced;

	if (fd >= 0)
		return (w->flags & O_PATH) != 0 && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);
	/* Of a link that it does not follow, open(2) can also say that it is not a directory. */
	raced = saved == ELOOP ||
		(saved == ENOTDIR && fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			(S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode)));
	errno = saved;
	return raced;
}

/* -1 with EROFS, or what is wrong with the name itself. */
static int confine_walk_may_open(const struct confine_walk *w, const char *name)
{
	struct stat st;

	if ((w->how & CONFINE_WRITE) == 0 || !w->root->read_only)
		return 0;
	if (fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		errno = EROFS;
	return -1;
}

static int confine_walk_open_on(struct confine_walk *w)
{
	bool follow = (w->flags & O_NOFOLLOW) == 0;

	for (;;) {
		char name[NAME_MAX + 1] = "";
		enum confine_step s = confine_walk_run(w, follow, name);
		CLEANUP_FD int fd = -1;

		if (s == CONFINE_FAILED)
			return -1;
		if (s == CONFINE_HERE)
			memcpy(name, ".", 2);
		if (confine_walk_may_open(w, name) < 0)
			return -1;
		fd = (w->flags & O_DIRECTORY) != 0 ? confine_open_dir(w->dir, name, w->flags)
						   : openat(w->dir, name, w->flags | O_NOFOLLOW);
		if (!follow || s == CONFINE_HERE || !confine_walk_raced(w, name, fd))
			return steal_fd(&fd);
		if (confine_walk_prepend(w, name, strlen(name)) < 0)
			return -1;
	}
}

int confine_walk_open(const struct confine *c, const char *path, int flags, unsigned int how)
{
	struct confine_walk w;
	int fd;

	w.how = how & ~CONFINE_PARENTS;
	w.flags = flags;
	fd = confine_walk_begin(&w, c, path);
	if (fd == 0)
		fd = confine_walk_open_on(&w);
	confine_walk_end(&w);
	return fd;
}
