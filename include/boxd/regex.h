/*
 * Regular expressions: PCRE2 with its JIT, bounded in steps and memory, the only file that sees
 * PCRE2. A compiled pattern does not change: any thread may use it, each with its own struct
 * regex_match.
 */
#ifndef BOXD_REGEX_H
#define BOXD_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "boxd/err.h"
#include "boxd/str.h"

struct regex;
struct regex_match;

#define REGEX_LITERAL     1u /* the pattern is text, not a pattern */
#define REGEX_IGNORE_CASE 2u
/*
 * The subject is one line or a block of lines, each ended by LF but perhaps the last, and it is
 * searched as if each line, without its LF, were a subject of its own: no match has a LF in it or
 * looks across one, ^ and $ match at the ends of lines. Blocks are much faster than single lines.
 * A CR before the LF belongs to the line.
 */
#define REGEX_LINES 4u

/*
 * Patterns are bytes. UTF mode is used when one is UTF-8 with letters beyond ASCII (and not plain
 * case-sensitive text), or speaks of characters by \p \P \X \x{} \o{} or \N{}; invalid sequences in
 * the subject are allowed then. At most LIMIT_GREP_PATTERN_BYTES. NULL with e set: ERR_BAD_PATTERN
 * (PCRE2's words and the offset) or ERR_UNAVAILABLE.
 */
struct regex *regex_new(struct str pattern, unsigned int flags, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void regex_free(struct regex *re); /* NULL is fine */

/* What one thread needs to match. NULL: out of memory. */
struct regex_match *regex_match_new(const struct regex *re)
	__attribute__((warn_unused_result, nonnull));
void regex_match_free(struct regex_match *m); /* NULL is fine */

/*
 * Optional: asked from time to time in a search that takes long. When it says true the search ends
 * with REGEX_GAVE_UP. A pattern can stay under LIMIT_GREP_STEPS at every place and still need
 * minutes for a long line.
 */
void regex_match_set_stop(struct regex_match *m, bool (*stop)(const void *arg), const void *arg)
	__attribute__((nonnull(1)));

enum regex_result {
	REGEX_FOUND,
	REGEX_NOTHING,
	REGEX_GAVE_UP /* LIMIT_GREP_STEPS at one place, or memory, or stop() */
};

/* The first match in subject at or behind `from`: [*start, *end). */
enum regex_result regex_find(const struct regex *re, struct regex_match *m, struct str subject,
	size_t from, size_t *start, size_t *end) __attribute__((warn_unused_result, nonnull));

/* Groups of the last REGEX_FOUND, 0 being the whole; false: no such group. An unset one is empty.
 */
bool regex_group(const struct regex_match *m, unsigned int i, size_t *start, size_t *end)
	__attribute__((nonnull));
/* The number of a named group, or -1. */
int regex_group_named(const struct regex *re, struct str name) __attribute__((nonnull));

/*
 * A byte string that every match contains: the longest that is found in the pattern without
 * guessing. Empty when there is none, or when case is ignored. regex_find() makes use of it by
 * itself.
 */
struct str regex_required(const struct regex *re) __attribute__((nonnull));

#endif
