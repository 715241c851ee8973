/*
 * chunked: the chunked transfer coding as a machine with one state per place in the grammar.
 *
 * Body bytes are handed out as runs that lie in the input; everything between them is taken byte by
 * byte. White space is allowed only where the grammar of chunk extensions has it, because a
 * place where two implementations read different sizes is where requests are smuggled.
 */
#include "boxd/chunked.h"

#include "boxd/str.h"

#include <stdbool.h>

#include "http1_internal.h"

#define CHUNKED_DIGITS_MAX 16 /* of a 64-bit size: no overflow is possible */

enum chunked_state {
	CHUNKED_SIZE,      /* hex digits */
	CHUNKED_EXT_SPACE, /* white space after the size or a value: only `;` may follow */
	CHUNKED_EXT_START, /* after `;`, before a name */
	CHUNKED_EXT_NAME,
	CHUNKED_EXT_NAME_SPACE, /* after a name: `=` or `;` */
	CHUNKED_EXT_EQUALS,     /* after `=`, before a value */
	CHUNKED_EXT_TOKEN,
	CHUNKED_EXT_QUOTED,
	CHUNKED_EXT_ESCAPE, /* after a backslash in a quoted value */
	CHUNKED_EXT_QUOTED_END,
	CHUNKED_SIZE_LF,
	CHUNKED_BODY,
	CHUNKED_BODY_CR,
	CHUNKED_BODY_LF,
	CHUNKED_TRAILER_START, /* at the start of a trailer line */
	CHUNKED_TRAILER_NAME,
	CHUNKED_TRAILER_VALUE,
	CHUNKED_TRAILER_LF,
	CHUNKED_END_LF, /* the LF of the empty line at the very end */
	CHUNKED_STATE_DONE,
	CHUNKED_STATE_BAD,
	CHUNKED_STATE_TOO_LARGE
};

void chunked_init(struct chunked *c, size_t meta_max)
{
	*c = (struct chunked){.meta_max = meta_max, .state = CHUNKED_SIZE};
}

static bool chunked_is_space(uint8_t b)
{
	return b == ' ' || b == '\t';
}

static enum chunked_state chunked_size(struct chunked *c, uint8_t b)
{
	int digit = str_hex_digit(b);

	if (digit >= 0) {
		if (c->digits == CHUNKED_DIGITS_MAX)
			return CHUNKED_STATE_BAD;
		c->digits++;
		c->left = c->left * 16 + (uint64_t)digit;
		return CHUNKED_SIZE;
	}
	if (c->digits == 0)
		return CHUNKED_STATE_BAD;
	if (b == '\r')
		return CHUNKED_SIZE_LF;
	if (b == ';')
		return CHUNKED_EXT_START;
	return chunked_is_space(b) ? CHUNKED_EXT_SPACE : CHUNKED_STATE_BAD;
}

/* What may follow a complete name or value, white space apart. */
static enum chunked_state chunked_ext_next(uint8_t b)
{
	if (b == ';')
		return CHUNKED_EXT_START;
	return b == '\r' ? CHUNKED_SIZE_LF : CHUNKED_STATE_BAD;
}

/* One byte of `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) CRLF`. */
static enum chunked_state chunked_ext(enum chunked_state s, uint8_t b)
{
	bool space = chunked_is_space(b);

	switch (s) {
	case CHUNKED_EXT_SPACE:
		if (space)
			return s;
		return b == ';' ? CHUNKED_EXT_START : CHUNKED_STATE_BAD;
	case CHUNKED_EXT_START:
		if (space)
			return s;
		return http1_is_token(b) ? CHUNKED_EXT_NAME : CHUNKED_STATE_BAD;
	case CHUNKED_EXT_NAME:
		if (http1_is_token(b))
			return s;
		if (b == '=')
			return CHUNKED_EXT_EQUALS;
		return space ? CHUNKED_EXT_NAME_SPACE : chunked_ext_next(b);
	case CHUNKED_EXT_NAME_SPACE:
		if (space)
			return s;
		if (b == '=')
			return CHUNKED_EXT_EQUALS;
		return b == ';' ? CHUNKED_EXT_START : CHUNKED_STATE_BAD;
	case CHUNKED_EXT_EQUALS:
		if (space)
			return s;
		if (b == '"')
			return CHUNKED_EXT_QUOTED;
		return http1_is_token(b) ? CHUNKED_EXT_TOKEN : CHUNKED_STATE_BAD;
	case CHUNKED_EXT_TOKEN:
		if (http1_is_token(b))
			return s;
		return space ? CHUNKED_EXT_SPACE : chunked_ext_next(b);
	case CHUNKED_EXT_QUOTED:
		if (b == '"')
			return CHUNKED_EXT_QUOTED_END;
		if (b == '\\')
			return CHUNKED_EXT_ESCAPE;
		return http1_is_value(b) ? s : CHUNKED_STATE_BAD;
	case CHUNKED_EXT_ESCAPE: return http1_is_value(b) ? CHUNKED_EXT_QUOTED : CHUNKED_STATE_BAD;
	case CHUNKED_EXT_QUOTED_END:
	default: return space ? CHUNKED_EXT_SPACE : chunked_ext_next(b);
	}
}

static enum chunked_state chunked_trailer(enum chunked_state s, uint8_t b)
{
	switch (s) {
	case CHUNKED_TRAILER_START:
		if (b == '\r')
			return CHUNKED_END_LF;
		return http1_is_token(b) ? CHUNKED_TRAILER_NAME : CHUNKED_STATE_BAD;
	case CHUNKED_TRAILER_NAME:
		if (b == ':')
			return CHUNKED_TRAILER_VALUE;
		return http1_is_token(b) ? s : CHUNKED_STATE_BAD;
	case CHUNKED_TRAILER_VALUE:
		if (b == '\r')
			return CHUNKED_TRAILER_LF;
		return http1_is_value(b) ? s : CHUNKED_STATE_BAD;
	case CHUNKED_TRAILER_LF: return b == '\n' ? CHUNKED_TRAILER_START : CHUNKED_STATE_BAD;
	case CHUNKED_END_LF:
	default: return b == '\n' ? CHUNKED_STATE_DONE : CHUNKED_STATE_BAD;
	}
}

/* The size line is complete: what it announces. The count starts anew for the next thing. */
static enum chunked_state chunked_size_end(struct chunked *c, uint8_t b)
{
	if (b != '\n')
		return CHUNKED_STATE_BAD;
	c->meta = 0;
	c->digits = 0;
	return c->left > 0 ? CHUNKED_BODY : CHUNKED_TRAILER_START;
}

/* One byte that is not body. */
static enum chunked_state chunked_step(struct chunked *c, uint8_t b)
{
	enum chunked_state s = c->state;

	if (s == CHUNKED_BODY_CR)
		return b == '\r' ? CHUNKED_BODY_LF : CHUNKED_STATE_BAD;
	if (s == CHUNKED_BODY_LF)
		return b == '\n' ? CHUNKED_SIZE : CHUNKED_STATE_BAD;
	if (c->meta == c->meta_max)
		return s < CHUNKED_TRAILER_START ? CHUNKED_STATE_BAD : CHUNKED_STATE_TOO_LARGE;
	c->meta++;
	if (s == CHUNKED_SIZE)
		return chunked_size(c, b);
	if (s == CHUNKED_SIZE_LF)
		return chunked_size_end(c, b);
	return s >= CHUNKED_TRAILER_START ? chunked_trailer(s, b) : chunked_ext(s, b);
}

static enum chunked_result chunked_give(
	struct chunked *c, const uint8_t **in, size_t *n, const uint8_t **data, size_t *data_n)
{
	size_t take = c->left < *n ? (size_t)c->left : *n;

	*data = *in;
	*data_n = take;
	*in += take;
	*n -= take;
	c->left -= take;
	if (c->left == 0)
		c->state = CHUNKED_BODY_CR;
	return CHUNKED_DATA;
}

enum chunked_result chunked_next(
	struct chunked *c, const uint8_t **in, size_t *n, const uint8_t **data, size_t *data_n)
{
	for (;;) {
		switch (c->state) {
		case CHUNKED_STATE_DONE: return CHUNKED_DONE;
		case CHUNKED_STATE_BAD: return CHUNKED_BAD;
		case CHUNKED_STATE_TOO_LARGE: return CHUNKED_TRAILERS_TOO_LARGE;
		default: break;
		}
		if (*n == 0)
			return CHUNKED_MORE;
		if (c->state == CHUNKED_BODY)
			return chunked_give(c, in, n, data, data_n);
		c->state = (uint8_t)chunked_step(c, **in);
		*in += 1;
		*n -= 1;
	}
}
