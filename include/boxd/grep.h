/*
 * Searching the content of files with PCRE2's JIT, over walk.h. Files are read into a buffer of
 * the worker, in windows that end at a line, so that memory does not depend on the size of files; a
 * window is searched as a block of lines (REGEX_LINES). A file with a NUL in its first 256 KiB is
 * binary and passed over; a line of more than 64 MiB ends the search of its file. Lines end with
 * LF; a CR before it is not part of a line's text, but a pattern sees it.
 */
#ifndef BOXD_GREP_H
#define BOXD_GREP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"
#include "boxd/err.h"
#include "boxd/str.h"
#include "boxd/walk.h"

struct grep;

struct grep_line {
	struct str
		text; /* without its line end; cut at LIMIT_GREP_LINE_BYTES, between characters */
	bool cut;
};

struct grep_match {
	struct str path;
	uint64_t line;   /* from 1 */
	uint64_t column; /* from 1, in bytes */
	uint64_t length; /* of what matched, in bytes, without a CR that ends the line */
	struct grep_line text;
	const struct grep_line *before, *after;
	size_t nbefore, nafter;
};

struct grep_spec {
	struct str pattern;
	bool literal;
	bool ignore_case; /* ASCII, and with a pattern of other letters Unicode */
	/*
	 * Globs, of names or, with a slash that is not at the end, of paths below the root (a slash
	 * in front is not needed). A file has to match one of include, if there are any, and none
	 * of exclude, nor has a directory that it is in. With a slash at its end one of exclude
	 * means directories only. The root itself is always searched.
	 */
	const struct str *include, *exclude;
	size_t ninclude, nexclude;
	bool hidden; /* also names that begin with a dot */
	bool respect_gitignore;
	unsigned int context;    /* lines on either side, at most LIMIT_GREP_CONTEXT */
	uint64_t max_results;    /* 0, or more: LIMIT_GREP_RESULTS */
	uint64_t max_per_file;   /* 0: no such limit */
	uint64_t max_file_bytes; /* 0, or more: LIMIT_GREP_FILE_BYTES */
	size_t workers;          /* work_parallel() */
	/*
	 * On disk threads: appends what is to be sent for a match (one matching line is one match,
	 * as in grep(1): the first place in it). -1: out of memory.
	 */
	int (*format)(void *arg, const struct grep_match *m, struct buf *out);
	void *arg;
};

/* Everything is copied. NULL with e set: ERR_BAD_PATTERN (with PCRE2's words and the offset),
 * ERR_BAD_BODY, ERR_UNAVAILABLE. */
struct grep *grep_new(const struct grep_spec *spec, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void grep_free(struct grep *g); /* NULL is fine; not while a walk uses it */

/* What to give to a walk of WALK_ROOT_ANY. */
struct walk_visitor grep_visitor(struct grep *g) __attribute__((nonnull));

struct grep_totals {
	uint64_t files; /* searched */
	uint64_t matched_files;
	uint64_t matches;
	uint64_t bytes;
	uint64_t binary; /* files passed over because of a NUL */
	uint64_t too_large;
	uint64_t unreadable;  /* files */
	uint64_t gave_up;     /* files in which the pattern needed too many steps */
	bool max_results_hit; /* and there would have been more */
};

/* Once the walk has ended. */
struct grep_totals grep_totals(const struct grep *g) __attribute__((nonnull));

#endif
