/*
 * confine: the roots, and the fast way below them.
 *
 * A path is matched against the roots as text, component by component, and the longest prefix that
 * is a root wins. What is left goes to openat2(2), from that root's descriptor, with
 * RESOLVE_NO_SYMLINKS: most paths hold no link, and where none is followed the place that is found
 * is the place that is written, so its text also says which root decides whether it may be changed,
 * and whether another root lies inside. The first link sends everything to the walk
 * (confine_walk.c), which alone has rules for links. That is also why the two ways cannot disagree:
 * where there are links, there is one way.
 *
 * Outside is decided by text alone. Nothing out there is ever looked at, so no answer, and no time
 * that an answer takes, depends on what is there.
 */
#include "boxd/confine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/sysc.h"
#include "confine_internal.h"

/* ---- text ---- */

/* Is the path a, of n bytes, the path b or above it? */
static bool confine_covers(const char *a, size_t n, const char *b)
{
	if (n == 1)
		return true; /* "/" */
	return strncmp(a, b, n) == 0 && (b[n] == '/' || b[n] == '\0');
}

const struct confine_entry *confine_root_at(const struct confine *c, const char *text)
{
	for (size_t k = 0; k < CONFINE_NAMES; k++) {
		for (size_t i = 0; i < c->n; i++) {
			const char *name = c->roots[i].names[k];

			if (name != NULL && strcmp(name, text) == 0)
				return &c->roots[i];
		}
	}
	return NULL;
}

/* Is a root at or below this path, among their first `kinds` names? */
static bool confine_leads_on(const struct confine *c, const char *text, size_t kinds)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < c->n; i++) {
		for (size_t k = 0; k < kinds; k++) {
			const char *name = c->roots[i].names[k];

			if (name != NULL && confine_covers(text, n, name))
				return true;
		}
	}
	return false;
}

/* Is one strictly below it? */
static bool confine_holds_root(const struct confine *c, const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < c->n; i++) {
		for (size_t k = 0; k < CONFINE_NAMES; k++) {
			const char *name = c->roots[i].names[k];

			if (name != NULL && strcmp(name, text) != 0 &&
				confine_covers(text, n, name))
				return true;
		}
	}
	return false;
}

bool confine_append(char text[static CONFINE_TEXT], size_t *n, const char *name, size_t len)
{
	size_t at = *n == 1 ? 0 : *n;

	if (CONFINE_TEXT - at < len + 2)
		return false;
	text[at] = '/';
	memcpy(text + at + 1, name, len);
	*n = at + 1 + len;
	text[*n] = '\0';
	return true;
}

/* Cuts the last component off; "/" stays. */
static void confine_pop(char *text, size_t *n)
{
	while (*n > 1 && text[*n - 1] != '/')
		(*n)--;
	if (*n > 1)
		(*n)--;
	text[*n] = '\0';
}

/*
 * `at` is the text up to p as far as it is known: parts of roots' names only. It can go up by ".."
 * while it is a part of a real path, in which nothing is a link; below a root the walk does that.
 */
const struct confine_entry *confine_locate(
	const struct confine *c, const char *text, const char **rest)
{
	char at[CONFINE_TEXT];
	size_t n = 1;
	const struct confine_entry *best;
	const char *p = text + strspn(text, "/");

	memcpy(at, "/", 2);
	best = confine_root_at(c, at);
	*rest = p;
	while (*p != '\0') {
		size_t len = strcspn(p, "/");
		const char *next = p + len + strspn(p + len, "/");

		if (len == 2 && memcmp(p, "..", 2) == 0) {
			if (best != NULL || !confine_leads_on(c, at, 1))
				break;
			confine_pop(at, &n);
		} else if (len != 1 || *p != '.') {
			const struct confine_entry *r;

			if (!confine_append(at, &n, p, len))
				break;
			r = confine_root_at(c, at);
			if (r != NULL) {
				best = r;
				*rest = next;
				n = strlen(r->names[0]);
				memcpy(at, r->names[0], n + 1);
			} else if (!confine_leads_on(c, at, CONFINE_NAMES)) {
				break;
			}
		}
		p = next;
	}
	return best;
}

/* ---- the roots ---- */

/* Without empty and "." components. NULL with errno: no memory, or EINVAL for a ".." */
static char *confine_clean(const char *path)
{
	size_t n = 0;
	char *out = malloc(strlen(path) + 2);

	if (out == NULL)
		return NULL;
	for (const char *p = path + strspn(path, "/"); *p != '\0'; p += strspn(p, "/")) {
		size_t len = strcspn(p, "/");

		if (len == 2 && memcmp(p, "..", 2) == 0) {
			free(out);
			errno = EINVAL;
			return NULL;
		}
		if (len != 1 || *p != '.') {
			out[n++] = '/';
			memcpy(out + n, p, len);
			n += len;
		}
		p += len;
	}
	if (n == 0)
		out[n++] = '/';
	out[n] = '\0';
	return out;
}

/* A clean path with all but its last component resolved. NULL with errno. */
static char *confine_resolve_parent(const char *clean)
{
	const char *name = strrchr(clean, '/') + 1;
	CLEANUP_FREE char *parent = strndup(clean, (size_t)(name - clean));
	CLEANUP_FREE char *real = parent != NULL ? realpath(parent, NULL) : NULL;
	char *out;
	size_t n, len = strlen(name);

	if (real == NULL)
		return NULL;
	n = strlen(real);
	out = malloc(n + len + 2);
	if (out == NULL)
		return NULL;
	memcpy(out, real, n);
	if (n > 1)
		out[n++] = '/';
	memcpy(out + n, name, len + 1);
	return out;
}

/* -1 with errno; the entry is then released with the others. */
static int confine_entry_open(struct confine_entry *r, const char *path)
{
	if (path[0] != '/')
		errno = EINVAL;
	else
		r->names[0] = realpath(path, NULL);
	if (r->names[0] == NULL)
		return -1;
	r->names[2] = confine_clean(path);
	if (r->names[2] != NULL)
		r->names[1] = confine_resolve_parent(r->names[2]);
	if ((r->names[2] == NULL && errno != EINVAL) ||
		(r->names[2] != NULL && r->names[1] == NULL))
		return -1;
	r->fd = open(r->names[0], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return r->fd < 0 ? -1 : 0;
}

static void confine_entry_fini(struct confine_entry *r)
{
	for (size_t k = 0; k < CONFINE_NAMES; k++)
		free(r->names[k]);
	if (r->fd >= 0)
		close(r->fd);
	*r = (struct confine_entry){.fd = -1};
}

/*
 * One that cannot be used is left out, unless something that was to be protected would then be
 * open to changes: a read-only root inside one that is not.
 */
static int confine_leave_out(
	const struct confine *c, const struct confine_root *root, int why, struct err *e)
{
	char shown[ERR_MSG_MAX];
	CLEANUP_FREE char *clean = confine_clean(root->path);
	CLEANUP_FREE char *real = clean != NULL ? confine_resolve_parent(clean) : NULL;
	const char *at = real != NULL ? real : clean != NULL ? clean : root->path;
	const char *rest;
	const struct confine_entry *around = confine_locate(c, at, &rest);

	log_escape(shown, sizeof(shown), root->path, strlen(root->path));
	errno = why;
	if (why == ENOMEM || (root->read_only && around != NULL && !around->read_only))
		return err_file(e, "cannot protect the read-only directory %s", shown);
	log_warn("confine", "left out path=\"%s\" why=\"%s\"", shown, err_strerror(why));
	return 0;
}

/* A directory that is given twice is one root, and the careful one of two modes holds. */
static void confine_settle_modes(struct confine *c)
{
	for (size_t i = 0; i < c->n; i++) {
		for (size_t k = 0; k < c->n; k++) {
			const struct confine_entry *a = &c->roots[i], *b = &c->roots[k];

			if (b->fd >= 0 && b->read_only && a->fd >= 0 &&
				strcmp(a->names[0], b->names[0]) == 0)
				c->roots[i].read_only = true;
		}
	}
}

static int confine_fill(struct confine *c, const struct confine_root *roots, struct err *e)
{
	for (size_t i = 0; i < c->n; i++) {
		struct confine_entry *r = &c->roots[i];
		int why;

		r->read_only = roots[i].read_only;
		if (confine_entry_open(r, roots[i].path) == 0)
			continue;
		why = errno;
		confine_entry_fini(r);
		r->why = why;
		errno = why;
		if (i == 0)
			return err_file(e, "cannot open the workspace");
	}
	for (size_t i = 0; i < c->n; i++) {
		if (c->roots[i].fd < 0 && confine_leave_out(c, &roots[i], c->roots[i].why, e) < 0)
			return -1;
	}
	confine_settle_modes(c);
	return 0;
}

static int confine_openat2(int dir, const char *path, int flags)
{
	const struct sysc_open_how how = {
		.flags = (uint64_t)(unsigned int)flags,
		.resolve = SYSC_RESOLVE_BENEATH | SYSC_RESOLVE_NO_SYMLINKS |
			   SYSC_RESOLVE_NO_MAGICLINKS,
	};

	return sysc_openat2(dir, path, &how);
}

/* EACCES comes from a call that is there: the root may be closed to the daemon. */
static bool confine_ask_openat2(int dir)
{
	CLEANUP_FD int fd = confine_openat2(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 || errno == EACCES;
}

/* Are links of strangers to be left alone? Without an answer, yes. */
static bool confine_ask_guard(void)
{
	CLEANUP_FD int fd = open("/proc/sys/fs/protected_symlinks", O_RDONLY | O_CLOEXEC);
	char value = '1';

	return fd < 0 || read(fd, &value, 1) != 1 || value != '0';
}

struct confine *confine_new(const struct confine_root *roots, size_t n, struct err *e)
{
	struct confine *c = calloc(1, sizeof(*c) + n * sizeof(c->roots[0]));

	assert(n > 0);
	if (c == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	c->n = n;
	for (size_t i = 0; i < n; i++)
		c->roots[i].fd = -1;
	if (confine_fill(c, roots, e) < 0) {
		confine_free(c);
		return NULL;
	}
	c->openat2 = confine_ask_openat2(c->roots[0].fd);
	c->guard_links = confine_ask_guard();
	return c;
}

void confine_free(struct confine *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n; i++)
		confine_entry_fini(&c->roots[i]);
	free(c);
}

bool confine_has_openat2(const struct confine *c)
{
	return c->openat2;
}

/* ---- places ---- */

void confine_place_set(struct confine_place *out, const struct confine *c,
	const struct confine_entry *root, int dir, const char *text, const char *name)
{
	char at[CONFINE_TEXT];
	size_t n = strlen(text), len = strlen(name);

	memcpy(at, text, n + 1);
	out->dir = dir;
	out->is_root = false;
	out->writable = !root->read_only;
	out->holds_root = confine_append(at, &n, name, len) && confine_holds_root(c, at);
	memcpy(out->name, name, len + 1);
}

int confine_place_set_root(
	struct confine_place *out, const struct confine *c, const struct confine_entry *root)
{
	int dir = fcntl(root->fd, F_DUPFD_CLOEXEC, 3);

	if (dir < 0)
		return -1;
	*out = (struct confine_place){.dir = dir, .is_root = true, .name = "."};
	out->writable = !root->read_only;
	out->holds_root = confine_holds_root(c, root->names[0]);
	return 0;
}

void confine_place_fini(struct confine_place *p)
{
	if (p->dir >= 0)
		close(p->dir);
	p->dir = -1;
}

/* ---- the fast way ---- */

/*
 * All of the ways below answer -1 with errno; here ELOOP is "there is a link, or something else for
 * the walk". Whatever else the kernel says is what the walk would say as well.
 */
static int confine_fast(const struct confine *c, int dir, const char *path, int flags)
{
	int fd;

	if (!c->openat2) {
		errno = ELOOP;
		return -1;
	}
	fd = confine_openat2(dir, *path != '\0' ? path : ".", flags);
	if (fd < 0 && (errno == EXDEV || errno == EAGAIN))
		errno = ELOOP;
	return fd;
}

/* Does the name not lead elsewhere? -1 with ELOOP when it is a link. */
static int confine_no_link(int dir, const char *name)
{
	char ignored;

	if (readlinkat(dir, name, &ignored, 1) >= 0)
		errno = ELOOP;
	else if (errno == EINVAL || errno == ENOENT)
		return 0;
	return -1;
}

static int confine_fast_find(const struct confine *c, const struct confine_entry *root,
	const char *rest, unsigned int how, struct confine_place *out)
{
	char text[CONFINE_TEXT];
	char parent[PATH_MAX];
	const char *name = strrchr(rest, '/');
	size_t n = strlen(root->names[0]), len = name != NULL ? (size_t)(name - rest) : 0;
	CLEANUP_FD int fd = -1;

	name = name != NULL ? name + 1 : rest;
	memcpy(parent, rest, len);
	parent[len] = '\0';
	fd = confine_fast(c, root->fd, parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if ((how & CONFINE_FOLLOW) != 0 && confine_no_link(fd, name) < 0)
		return -1;
	memcpy(text, root->names[0], n + 1);
	if (len > 0 && !confine_append(text, &n, parent, len)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	confine_place_set(out, c, root, steal_fd(&fd), text, name);
	return 0;
}

/* ---- the way in ---- */

/* What can be said of a path without looking at any file. */
static int confine_check(const char *path)
{
	size_t parts = 0;

	if (path[0] != '/' || strlen(path) >= PATH_MAX) {
		errno = path[0] != '/' ? EINVAL : ENAMETOOLONG;
		return -1;
	}
	for (const char *p = path + 1; path[1] != '\0';) {
		size_t len = strcspn(p, "/");

		if (len == 0 || (len == 1 && *p == '.') || (len == 2 && memcmp(p, "..", 2) == 0)) {
			errno = EINVAL;
			return -1;
		}
		if (len > NAME_MAX || ++parts > limit_size(LIMIT_FS_PATH_PARTS)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		if (p[len] == '\0')
			return 0;
		p += len + 1;
	}
	return 0; /* "/" */
}

static int confine_fail(struct err *e, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL && slash[1] != '\0' ? slash + 1 : "path";

	if (errno == EXDEV) {
		err_set(e, &ERR_PATH_FORBIDDEN, "path is outside the allowed directories");
		e->sys = EXDEV;
		return -1;
	}
	/* Some filesystems have names that they do not take. */
	if (errno == EINVAL)
		return err_sys(e, &ERR_BAD_PATH, "%s", name);
	return err_file(e, "%s", name);
}

/* The root that the path lies in, and the rest below it. NULL with errno; EXDEV: in none. */
static const struct confine_entry *confine_root_of(
	const struct confine *c, const char *path, const char **rest)
{
	const struct confine_entry *root;

	if (confine_check(path) < 0)
		return NULL;
	root = confine_locate(c, path, rest);
	if (root == NULL)
		errno = EXDEV;
	return root;
}

static int confine_find_place(
	const struct confine *c, const char *path, unsigned int how, struct confine_place *out)
{
	const char *rest;
	const struct confine_entry *root;
	int rc;

	root = confine_root_of(c, path, &rest);
	if (root == NULL)
		return -1;
	if (*rest == '\0')
		rc = confine_place_set_root(out, c, root);
	else
		rc = confine_fast_find(c, root, rest, how, out);
	if (rc < 0 && (errno == ELOOP || (errno == ENOENT && (how & CONFINE_PARENTS) != 0)))
		rc = confine_walk_find(c, path, how, out);
	if (rc == 0 && (how & CONFINE_WRITE) != 0 && !out->writable) {
		confine_place_fini(out);
		errno = EROFS;
		rc = -1;
	}
	return rc;
}

int confine_find(const struct confine *c, const char *path, unsigned int how,
	struct confine_place *out, struct err *e)
{
	out->dir = -1;
	return confine_find_place(c, path, how, out) < 0 ? confine_fail(e, path) : 0;
}

static int confine_open_fd(const struct confine *c, const char *path, int flags, unsigned int how)
{
	const char *rest;
	const struct confine_entry *root;
	int fd;

	root = confine_root_of(c, path, &rest);
	if (root == NULL)
		return -1;
	/* A link may lead out of a read-only root, and opening may already change (O_TRUNC). */
	if ((how & CONFINE_WRITE) != 0 && root->read_only)
		return confine_walk_open(c, path, flags, how);
	fd = confine_fast(c, root->fd, rest, flags);
	return fd < 0 && errno == ELOOP ? confine_walk_open(c, path, flags, how) : fd;
}

int confine_open(
	const struct confine *c, const char *path, int flags, unsigned int how, struct err *e)
{
	int fd;

	assert((flags & O_CREAT) == 0 && (flags & O_TMPFILE) != O_TMPFILE);
	flags |= O_CLOEXEC;
	if ((flags & O_PATH) == 0)
		flags |= O_NOCTTY | O_NONBLOCK;
	fd = confine_open_fd(c, path, flags, how);
	return fd < 0 ? confine_fail(e, path) : fd;
}
