/*
 * Inside regex: what can be told from the text of a pattern (regex_scan.c), and searching for the
 * bytes that were found there (regex_needle.c).
 */
#ifndef BOXD_SVC_REGEX_INTERNAL_H
#define BOXD_SVC_REGEX_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"
#include "boxd/str.h"

/* ---- regex_scan.c ---- */

struct regex_scan {
	struct buf literal; /* bytes that every match contains; empty: none are known */
	bool exact;         /* what matches is the literal and nothing else, and has no groups */
	/*
	 * The pattern written so that nothing in it matches LF, which makes the end of a line a
	 * wall as the end of the subject is: with it a block is searched as its lines would be.
	 * Only when by_block; where it is the same as the pattern it is there all the same.
	 */
	struct buf lines;
	bool by_block;
};

/*
 * Reads a pattern that PCRE2 has accepted. What is not understood means less is known, never
 * something wrong. -1: out of memory. regex_scan_fini() in any case.
 */
int regex_scan(struct str pattern, bool utf, struct regex_scan *out)
	__attribute__((warn_unused_result, nonnull));
void regex_scan_fini(struct regex_scan *s) __attribute__((nonnull));

/* ---- regex_needle.c ---- */

#define REGEX_NOWHERE SIZE_MAX

struct regex_needle {
	uint8_t *bytes; /* small letters where case is folded */
	size_t n;
	bool fold;           /* ASCII letters in either case */
	size_t at[2];        /* two places in it whose bytes are rare in text */
	uint8_t byte[2];     /* what is there */
	uint8_t case_bit[2]; /* 0x20 where the case of that byte does not matter */
};

/* -1: out of memory. A zeroed needle is the empty one. */
int regex_needle_init(struct regex_needle *nd, struct str bytes, bool fold)
	__attribute__((warn_unused_result, nonnull));
void regex_needle_fini(struct regex_needle *nd) __attribute__((nonnull));

/* Where it stands first at or behind `from`, or REGEX_NOWHERE. */
size_t regex_needle_find(const struct regex_needle *nd, struct str subject, size_t from)
	__attribute__((nonnull));

/* Is it so rare in text that few lines have it? */
bool regex_needle_selective(const struct regex_needle *nd) __attribute__((nonnull));

#endif
