/* What confine.c (the roots, and the fast way) and confine_walk.c (the sure way) share. */
#ifndef BOXD_CONFINE_INTERNAL_H
#define BOXD_CONFINE_INTERNAL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "boxd/confine.h"

/* Texts are put together from a root's real path and what a client or a link says. */
#define CONFINE_TEXT (2 * PATH_MAX)

/*
 * A root has up to three names: its real path, without any link when the daemon started; where the
 * link lies that was given for it (a real directory and the link's name); and what was given.
 */
#define CONFINE_NAMES 3

struct confine_entry {
	char *names[CONFINE_NAMES]; /* the real path first; NULL where there is no such name */
	int fd;                     /* O_PATH|O_DIRECTORY; -1, and no names: left out */
	int why;                    /* the errno for which it is left out */
	bool read_only;
};

struct confine {
	bool openat2;
	/*
	 * The walk reads links itself, so it also has to do what fs.protected_symlinks asks of the
	 * kernel: not to follow, in a directory like /tmp, what a stranger has put there.
	 */
	bool guard_links;
	size_t n;
	struct confine_entry roots[];
};

/*
 * Finds the root that an absolute text leads into, by its longest prefix that is one, and the rest
 * below it (no slash in front, "" for the root itself; points into text). The text may hold ".",
 * ".." and empty components. NULL: outside.
 */
const struct confine_entry *confine_locate(
	const struct confine *c, const char *text, const char **rest) __attribute__((nonnull));

/* The root that has exactly this name, or NULL. */
const struct confine_entry *confine_root_at(const struct confine *c, const char *text)
	__attribute__((nonnull));

/*
 * Appends a component to a path without a slash at its end (but "/"), *n bytes long. False when it
 * does not fit.
 */
bool confine_append(char text[static CONFINE_TEXT], size_t *n, const char *name, size_t len)
	__attribute__((warn_unused_result, nonnull));

/* Fills a place: `name` in the directory dir, which it takes, whose path without links is text. */
void confine_place_set(struct confine_place *out, const struct confine *c,
	const struct confine_entry *root, int dir, const char *text, const char *name)
	__attribute__((nonnull));
/* The place that is a root. -1 with errno. */
int confine_place_set_root(struct confine_place *out, const struct confine *c,
	const struct confine_entry *root) __attribute__((warn_unused_result, nonnull));

/* What confine_open_dir() does on a kernel that cannot be trusted with it. */
int confine_open_dir_by_hand(int dir, const char *name, int flags)
	__attribute__((warn_unused_result, nonnull));

/* The walk by component. -1 with errno; EXDEV: outside, ELOOP: too many links or steps. */
int confine_walk_find(const struct confine *c, const char *path, unsigned int how,
	struct confine_place *out) __attribute__((warn_unused_result, nonnull));
int confine_walk_open(const struct confine *c, const char *path, int flags, unsigned int how)
	__attribute__((warn_unused_result, nonnull));

#endif
