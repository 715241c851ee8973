/*
 * utf8: what counts as a character.
 *
 * Well-formed is what RFC 3629 section 4 lists. Overlong forms, surrogates and values above
 * U+10FFFF are all decided by the second byte: it has its own range behind four of the lead bytes,
 * and every other continuation byte is 80..BF.
 */
#include "boxd/utf8.h"

#include <stdbool.h>

/* How long a sequence with this lead byte is; 0 for a byte that leads none. */
static size_t utf8_length(uint8_t lead)
{
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2)
		return 0;
	if (lead < 0xe0)
		return 2;
	if (lead < 0xf0)
		return 3;
	return lead < 0xf5 ? 4 : 0;
}

static bool utf8_second_ok(uint8_t lead, uint8_t second)
{
	switch (lead) {
	case 0xe0: return second >= 0xa0 && second <= 0xbf; /* overlong below */
	case 0xed: return second >= 0x80 && second <= 0x9f; /* surrogates above */
	case 0xf0: return second >= 0x90 && second <= 0xbf; /* overlong below */
	case 0xf4: return second >= 0x80 && second <= 0x8f; /* past U+10FFFF above */
	default: return second >= 0x80 && second <= 0xbf;
	}
}

size_t utf8_sequence(const uint8_t *p, size_t n)
{
	size_t len = utf8_length(p[0]);

	if (len == 1)
		return 1;
	if (len == 0 || len > n || !utf8_second_ok(p[0], p[1]))
		return 0;
	for (size_t i = 2; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

size_t utf8_incomplete_tail(const uint8_t *data, size_t n)
{
	/* The lead byte of an unfinished sequence is among the last three bytes. */
	for (size_t have = 1; have <= 3 && have <= n; have++) {
		const uint8_t *p = data + n - have;

		if ((*p & 0xc0) == 0x80)
			continue;
		if (utf8_length(*p) <= have)
			return 0;
		return have == 1 || utf8_second_ok(p[0], p[1]) ? have : 0;
	}
	return 0;
}
