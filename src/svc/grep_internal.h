/* Inside grep: what a search is (grep.c), and how one file is searched (grep_file.c). */
#ifndef BOXD_SVC_GREP_INTERNAL_H
#define BOXD_SVC_GREP_INTERNAL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/grep.h"
#include "boxd/regex.h"

struct grep_glob {
	struct glob *glob;
	bool path;      /* of the path below the root, not of the name */
	bool directory; /* of directories only */
};

struct grep_globs {
	struct grep_glob *list;
	size_t n;
};

/* What one thread has to itself, on cache lines of its own. Made when its slot is first used. */
struct grep_worker {
	alignas(64) struct grep_totals totals;
	struct regex_match *match;
	char *buf;
	size_t cap;
	struct grep_line *lines; /* the context of a match: before it, and behind it */
};

struct grep {
	struct regex *re;
	struct grep_globs include, exclude;
	bool hidden, respect_gitignore;
	size_t context;
	uint64_t max_results, max_per_file, max_file_bytes;
	int (*format)(void *arg, const struct grep_match *m, struct buf *out);
	void *arg;
	atomic_uint_fast64_t claimed; /* matches that were to be sent, one too many at the end */
	atomic_bool full;             /* max_results are found, and there are more */
	struct grep_worker *workers;
	size_t nworkers;
};

/* The size of a window, and how far it grows for a long line; tests make them small. */
extern size_t grep_window_bytes, grep_line_bytes;

/* Searches one file. w is NULL in tests. -1: out of memory. */
int grep_file(struct grep *g, struct walk *w, const struct walk_entry *entry, struct buf *out)
	__attribute__((warn_unused_result, nonnull(1, 3, 4)));

/* How many LF there are. */
uint64_t grep_count_lines(const char *p, size_t n);

#endif
