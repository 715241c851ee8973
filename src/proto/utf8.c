/*
 * utf8: what counts as a character.
 *
 * Well-formed is what RFC 3629 section 4 lists. Overlong forms, surrogates and values above
 * U+10FFFF are all decided by the second byte: it has its own range behind four of the lead bytes,
 * and every other continuation byte is 80..BF.
 */
#include "boxd/utf8.h"

#include "swar_internal.h"

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

/* The lowest and highest second byte: the others would be overlong, surrogates or past U+10FFFF. */
static uint8_t utf8_second_low(uint8_t lead)
{
	if (lead == 0xe0)
		return 0xa0;
	return lead == 0xf0 ? 0x90 : 0x80;
}

static uint8_t utf8_second_high(uint8_t lead)
{
	if (lead == 0xed)
		return 0x9f;
	return lead == 0xf4 ? 0x8f : 0xbf;
}

static bool utf8_second_ok(uint8_t lead, uint8_t second)
{
	return second >= utf8_second_low(lead) && second <= utf8_second_high(lead);
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

/* The first byte that is not ASCII, or end. */
static const uint8_t *utf8_skip_ascii(const uint8_t *p, const uint8_t *end)
{
	while ((size_t)(end - p) >= SWAR_BYTES && (swar_load(p) & SWAR_HIGH) == 0)
		p += SWAR_BYTES;
	while (p < end && *p < 0x80)
		p++;
	return p;
}

bool utf8_check(struct utf8_check *c, const uint8_t *p, size_t n)
{
	const uint8_t *end = n > 0 ? p + n : p;

	while (p < end) {
		if (c->need == 0) {
			size_t len;

			p = utf8_skip_ascii(p, end);
			if (p == end)
				break;
			/* Most characters are whole: faster than byte by byte. */
			len = utf8_sequence(p, (size_t)(end - p));
			if (len > 0) {
				p += len;
				continue;
			}
			len = utf8_length(*p);
			if (len == 0)
				return false;
			c->need = (uint8_t)(len - 1);
			c->low = utf8_second_low(*p);
			c->high = utf8_second_high(*p);
		} else {
			if (*p < c->low || *p > c->high)
				return false;
			c->need--;
			c->low = 0x80;
			c->high = 0xbf;
		}
		p++;
	}
	return true;
}
