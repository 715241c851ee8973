/*
 * The only code that turns a client's path into a descriptor (DESIGN 3.5). A path is resolved
 * against the roots with openat2(2) from the root's own descriptor, beneath it and without links.
 * Where a symbolic link is met, and where the kernel or the container's profile has no openat2, a
 * walk by component with O_PATH|O_NOFOLLOW takes over, which reads the links itself and goes back
 * to the roots with them: a link that leads from one root into another works, one that leads out of
 * all of them is refused. Both ways give the same answers.
 *
 * What comes back is a descriptor, or a directory's descriptor and one name in it. Nobody uses the
 * path a second time: what a name means may have changed since, what a descriptor means has not.
 * Operations on a whole tree do not come back here for what is below their place: they must look at
 * holds_root, because another root down there may have another mode.
 *
 * A root is the directory that was there at the start, wherever it is moved, and whatever takes its
 * name later. A struct confine does not change after confine_new(): any thread may use it, and
 * permissions are those of the thread (asuser.h).
 */
#ifndef BOXD_CONFINE_H
#define BOXD_CONFINE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "boxd/err.h"

struct confine;

struct confine_root {
	const char *path; /* absolute */
	bool read_only;
};

/*
 * Opens the roots. One that cannot be opened is left out (it is then outside) and logged, with two
 * exceptions: the first, which is the workspace, and a read-only one inside one that is not, which
 * would then be open to changes. A root given through symbolic links is reached by both spellings.
 * Among nested roots the innermost decides; one that is given twice is read-only if either says
 * so. A root of "/" confines nothing. n > 0. NULL with e set.
 */
struct confine *confine_new(const struct confine_root *roots, size_t n, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void confine_free(struct confine *c); /* NULL is fine */

/* Does it use openat2? Found out once, by trying it. */
bool confine_has_openat2(const struct confine *c) __attribute__((nonnull));

#define CONFINE_WRITE   1u /* the place must lie in a read-write root: ERR_READ_ONLY */
#define CONFINE_FOLLOW  2u /* a symbolic link in last place is followed; its end need not exist */
#define CONFINE_PARENTS 4u /* missing directories on the way are made: 0777 less the umask */

/*
 * All paths here are absolute, cleaned (no "." or "..", no empty component, no slash at the end but
 * of "/": otherwise ERR_BAD_PATH) and NUL-terminated; all of that is understood in the targets of
 * links, unless they go up from a place outside.
 *
 * Errors, with e set: ERR_PATH_FORBIDDEN (outside every root, or a magic link of /proc: always
 * the same text, whether something is there or not), ERR_BAD_PATH (longer than PATH_MAX, a name
 * over NAME_MAX, more than LIMIT_FS_PATH_PARTS components, more than LIMIT_FS_LINKS links, a loop,
 * a name that the filesystem does not take), ERR_NO_FILE (ENOENT, ENOTDIR), ERR_PERMISSION (also
 * for what fs.protected_symlinks forbids), ERR_READ_ONLY, or what err_kind_of() says. e->sys is
 * the errno. The message never holds more of the path than its last name.
 */

/* A name in a directory: what lstat, unlink, rename, mkdir and the making of files work on. */
struct confine_place {
	int dir; /* a directory, opened with O_PATH; owned by the place */
	/*
	 * A root itself: `dir` is the root and name is "."; whoever removes, moves or replaces
	 * things must refuse.
	 */
	bool is_root;
	bool writable; /* in a read-write root */
	/*
	 * A directory with another root somewhere below it: as a whole it must be neither removed,
	 * moved nor replaced, because that would change the other root whatever its mode.
	 */
	bool holds_root;
	char name[NAME_MAX + 1];
};

/*
 * Finds the place. The last name need not exist; with CONFINE_FOLLOW it is, at that moment, not
 * a symbolic link. 0, or -1 with e set and nothing to release.
 */
int confine_find(const struct confine *c, const char *path, unsigned int how,
	struct confine_place *out, struct err *e) __attribute__((warn_unused_result, nonnull));
/* Closes; also for a place of {.dir = -1}. */
void confine_place_fini(struct confine_place *p) __attribute__((nonnull));

/*
 * Opens what exists: flags as for open(2) without O_CREAT and O_TMPFILE (openat2 refuses those that
 * mean nothing together); O_CLOEXEC, O_NOCTTY and O_NONBLOCK are added (not to O_PATH). The last
 * link is followed unless flags has O_NOFOLLOW; then, and without O_PATH, it is ERR_BAD_PATH with
 * ELOOP. CONFINE_WRITE checks the root that the object lies in, before it is opened; no other
 * CONFINE_ flag means anything here. Never waits for the other end of a FIFO: one that nobody
 * reads is ENXIO for writing. A descriptor, or -1 with e set.
 */
int confine_open(const struct confine *c, const char *path, int flags, unsigned int how,
	struct err *e) __attribute__((warn_unused_result, nonnull));

/*
 * Opens the directory that is the entry `name` of dir, never through a link: flags as for open(2),
 * O_DIRECTORY and O_NOFOLLOW are implied. For everybody who goes down a tree by himself, because
 * there are kernels (gVisor) that follow a link when asked for both. A descriptor, or -1 with
 * errno; ENOTDIR for a link.
 */
int confine_open_dir(int dir, const char *name, int flags)
	__attribute__((warn_unused_result, nonnull));

#endif
