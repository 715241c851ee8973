/*
 * query: values out of a raw query string.
 *
 * Nothing is decoded but the value that was asked for: keys are compared while they are decoded,
 * so looking for a parameter costs one pass over the query and no memory.
 */
#include "boxd/query.h"

#include <string.h>

/* What one step of decoding finds. */
enum query_char {
	QUERY_CHAR_END = -1,
	QUERY_CHAR_BAD = -2 /* a broken escape, or NUL in any spelling */
};

/* The next decoded byte of *s, which advances; or an enum query_char. */
static int query_char(struct str *s, bool plus_is_space)
{
	size_t taken = 1;
	int c;

	if (s->n == 0)
		return QUERY_CHAR_END;
	c = (unsigned char)s->p[0];
	if (c == '+' && plus_is_space) {
		c = ' ';
	} else if (c == '%') {
		int high = s->n < 3 ? -1 : str_hex_digit(s->p[1]);
		int low = s->n < 3 ? -1 : str_hex_digit(s->p[2]);

		if (high < 0 || low < 0)
			return QUERY_CHAR_BAD;
		c = high * 16 + low;
		taken = 3;
	}
	if (c == 0)
		return QUERY_CHAR_BAD;
	s->p += taken;
	s->n -= taken;
	return c;
}

static enum query_result query_decode(struct str raw, bool plus_is_space, struct buf *out)
{
	uint8_t *start, *at;
	int c;

	buf_clear(out);
	if (raw.n == 0)
		return QUERY_FOUND;
	start = at = buf_reserve(out, raw.n);
	if (start == NULL)
		return QUERY_NO_MEM;
	while ((c = query_char(&raw, plus_is_space)) >= 0)
		*at++ = (uint8_t)c;
	if (c == QUERY_CHAR_BAD)
		return QUERY_BAD;
	buf_commit(out, (size_t)(at - start));
	return QUERY_FOUND;
}

static bool query_key_is(struct str raw, const char *key)
{
	int c;

	while ((c = query_char(&raw, true)) >= 0) {
		if (c != (unsigned char)*key) /* also where key ends: c is never 0 */
			return false;
		key++;
	}
	return c == QUERY_CHAR_END && *key == '\0';
}

/* Cuts *s at the first c: what stands before it, *s keeps what follows. False: there was none. */
static bool query_cut(struct str *s, char c, struct str *before)
{
	const char *at = s->n == 0 ? NULL : memchr(s->p, c, s->n);

	*before = *s;
	if (at == NULL) {
		*s = (struct str){NULL, 0};
		return false;
	}
	before->n = (size_t)(at - s->p);
	s->p += before->n + 1;
	s->n -= before->n + 1;
	return true;
}

/* The raw value of the next pair with this key. */
static bool query_find(struct str *rest, const char *key, struct str *value)
{
	while (rest->n > 0) {
		struct str pair, name;

		query_cut(rest, '&', &pair);
		if (pair.n == 0 || memchr(pair.p, ';', pair.n) != NULL)
			continue;
		query_cut(&pair, '=', &name);
		if (query_key_is(name, key)) {
			*value = pair;
			return true;
		}
	}
	return false;
}

enum query_result query_next(struct str *rest, const char *key, struct buf *out)
{
	struct str value;

	buf_clear(out);
	if (!query_find(rest, key, &value))
		return QUERY_ABSENT;
	return query_decode(value, true, out);
}

enum query_result query_get(struct str raw, const char *key, size_t nth, struct buf *out)
{
	struct str value;

	buf_clear(out);
	do {
		if (!query_find(&raw, key, &value))
			return QUERY_ABSENT;
	} while (nth-- > 0);
	return query_decode(value, true, out);
}

enum query_result query_decode_segment(struct str raw, struct buf *out)
{
	return query_decode(raw, false, out);
}
