/*
 * Writing a file as a whole: into a file without a name (O_TMPFILE, or a temporary name where the
 * filesystem has none) in the directory it is for, and at the end, in one step, under its name.
 * Until then the old file is there, untouched; after a failure nothing is left. A file that is
 * replaced hands its mode, owner and extended attributes down, but not its file capabilities; other
 * hard links to it keep the old content. Where the name cannot be replaced (a file that is a mount
 * point of its own: EBUSY) the content is written into the file itself, and a failure in the middle
 * of that leaves a mixture. Synchronous, for disk threads; one thread at a time uses a writer.
 */
#ifndef BOXD_WRITER_H
#define BOXD_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/cond.h"
#include "boxd/fs.h"

struct writer;

struct writer_spec {
	const char *path; /* cleaned; its parents are made, links at its end are followed */
	struct fs_perm
		perm;    /* asked for; what is not asked for is kept, or new_mode for a new file */
	mode_t new_mode; /* of a file that did not exist, less the umask */
	bool sync;       /* fsync(2) file and directory before commit returns */
	const struct cond *cond; /* borrowed until commit; may be NULL */
};

/*
 * Looks at what is there and opens the new file. cond is checked now, so that a client need not
 * send all of a file for nothing, and again in writer_commit(). Errors of confine.h;
 * ERR_WRONG_TYPE: the path is a directory or no file; ERR_BAD_BODY: no such owner;
 * ERR_PRECONDITION. NULL with e set. The paths are not used after it returns.
 */
struct writer *writer_open(const struct fs *fs, const struct writer_spec *spec, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* Where the content goes, from offset 0 on, written or spliced by the caller. Borrowed. */
int writer_fd(const struct writer *w) __attribute__((nonnull));

/* Appends all of it. */
int writer_put(struct writer *w, const void *data, size_t n, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 4)));

/*
 * Gives the file its metadata and its name. Two conditional commits to one name cannot both
 * succeed: check and rename are one step as far as boxd is concerned (what commands do in between
 * is not covered). out and created may be NULL. The writer is gone afterwards, in either case. With
 * spec.sync a directory that cannot be synced is an error although the file is in place.
 */
int writer_commit(struct writer *w, struct fs_stat *out, bool *created, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 4)));

/* Throws the content away. NULL is fine. */
void writer_abort(struct writer *w);

#endif
