/* UTF-8 (RFC 3629): validation and repair of bytes that claim to be text. */
#ifndef BOXD_UTF8_H
#define BOXD_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Length of the well-formed sequence at p (1..4), or 0 when the bytes there are not well-formed
 * (overlong, surrogate, above U+10FFFF, stray or missing continuation). n > 0.
 */
size_t utf8_sequence(const uint8_t *p, size_t n) __attribute__((nonnull));

/*
 * How many bytes at the end of data are the beginning of a sequence that is not complete yet
 * (0..3). What a reader holds back while more may come.
 */
size_t utf8_incomplete_tail(const uint8_t *data, size_t n);

/*
 * Text that comes piece by piece, whose pieces may end inside a character. Zeroed: nothing has
 * come.
 */
struct utf8_check {
	uint8_t need;      /* bytes that the last character still lacks */
	uint8_t low, high; /* what the next of them may be */
};

/* False at the first byte that cannot be UTF-8 whatever follows; c is of no use then. */
bool utf8_check(struct utf8_check *c, const uint8_t *p, size_t n)
	__attribute__((warn_unused_result, nonnull(1)));

/* May the text end here? */
static inline bool utf8_check_whole(const struct utf8_check *c)
{
	return c->need == 0;
}

#endif
