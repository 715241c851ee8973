/* What the replace*.c files share, and the sizes that tests make small. */
#ifndef BOXD_SVC_REPLACE_INTERNAL_H
#define BOXD_SVC_REPLACE_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/cond.h"
#include "boxd/err.h"
#include "boxd/fs.h"
#include "boxd/regex.h"
#include "boxd/replace.h"
#include "boxd/writer.h"

struct replace_sizes {
	size_t window;   /* what is read at once, unless a longer text is looked for */
	size_t line_max; /* with a pattern: the longest line; not below window */
	size_t out;      /* output collected before it is written */
};

/* replace_in_file() with other sizes. */
int replace_with_sizes(const struct fs *fs, const struct replace_spec *spec,
	const struct replace_sizes *sizes, uint64_t *count, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* ---- replace_out.c ---- */

struct replace_out {
	const struct fs *fs;
	const char *path;
	int in; /* the file as it was; borrowed */
	const struct cond *cond;
	const atomic_bool *cancelled;
	size_t cap;

	struct writer *w; /* NULL until something was found */
	uint8_t *mem;
	size_t used;
};

/* From here on there is a new file. It begins with the first `prefix` bytes of the old one. */
int replace_out_open(struct replace_out *o, uint64_t prefix, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* Appends. */
int replace_out_put(struct replace_out *o, const void *data, size_t n, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 4)));
/* Writes what is left, and gives the new file the old one's name. */
int replace_out_commit(struct replace_out *o, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* What was not committed is gone. */
void replace_out_fini(struct replace_out *o) __attribute__((nonnull));

/* ---- replace_regex.c ---- */

struct replace_regex {
	struct regex *re;
	struct regex_match *m;
	const struct replace_spec *spec;
	bool verbatim; /* the replacement mentions no group and escapes nothing */
};

struct replace_job;

/* Compiles the pattern and checks what it is replaced with. replace_regex_fini() in any case. */
int replace_regex_init(struct replace_regex *rx, const struct replace_spec *spec, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void replace_regex_fini(struct replace_regex *rx) __attribute__((nonnull));
/* Replaces what matches in the first n bytes of the window, which are whole lines. */
int replace_regex_scan(struct replace_job *j, size_t n, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* ---- replace.c ---- */

struct replace_job {
	const struct replace_spec *spec;
	const struct replace_sizes *sizes;
	int in;
	char etag[FS_ETAG_MAX]; /* of the file that is read */
	struct cond same;       /* it is still that one */
	uint8_t *mem;           /* the window: `have` bytes of the file, from offset `base` on */
	size_t have, cap;
	uint64_t base;
	bool eof;    /* the file ends where the window does */
	size_t done; /* bytes of the window that the output has, once it is open */
	uint64_t count;
	struct replace_regex rx;
	struct replace_out out;
};

/* [start, end) of the window is to be replaced: brings the output there. The new text comes next.
 */
int replace_found(struct replace_job *j, size_t start, size_t end, struct err *e)
	__attribute__((warn_unused_result, nonnull));

#endif
