/*
 * Replacing text in a file of any size with bounded memory (contract 1.13): the file is read in
 * windows, what is found goes through a writer (writer.h), so the change is atomic and keeps mode,
 * owner and xattrs; a file without a match is not written at all. Synchronous, for disk threads.
 */
#ifndef BOXD_REPLACE_H
#define BOXD_REPLACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "boxd/cond.h"
#include "boxd/fs.h"
#include "boxd/str.h"

struct replace_spec {
	const char *path; /* cleaned; links are followed */
	struct str old;   /* not empty: literal bytes, or with regex a PCRE2 pattern */
	/*
	 * With regex, $1, ${1}, $name and ${name} are what a group matched ($0: all of it; a group
	 * without a part in the match is empty), and $$ is a dollar. Otherwise literal.
	 */
	struct str new_text;
	/*
	 * A match lies within one line, so memory is bounded by a line; one over
	 * LIMIT_FS_REPLACE_LINE_BYTES is ERR_BAD_PATTERN. ^ and $ match at the ends of lines; a
	 * line end is never replaced, but the CR of a CRLF belongs to its line. An empty match
	 * counts unless another match ends there.
	 */
	bool regex;
	bool ignore_case;             /* with regex */
	const struct cond *cond;      /* may be NULL; ERR_PRECONDITION */
	const atomic_bool *cancelled; /* may be NULL */
};

/*
 * Non-overlapping occurrences, left to right. *count is set on success. The file is read to its
 * end, wherever that is by then. When the file that was read is not the one that is there at the
 * end, it all begins again, so changes made meanwhile are not lost.
 *
 * Errors of fs_open_read() first. ERR_BAD_BODY: old is empty; ERR_BAD_PATTERN: the pattern, or what
 * it would be replaced with, is malformed (an unknown group is), or a line needs more than
 * LIMIT_GREP_STEPS; ERR_READ_ONLY, also when nothing would be found; ERR_PRECONDITION; those of
 * writer.h; ERR_UNAVAILABLE: memory, cancelled, or the file changes again and again.
 */
int replace_in_file(const struct fs *fs, const struct replace_spec *spec, uint64_t *count,
	struct err *e) __attribute__((warn_unused_result, nonnull));

#endif
