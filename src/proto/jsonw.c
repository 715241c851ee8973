/*
 * jsonw: JSON written as it is produced, with no tree in between.
 *
 * Strings are the hot part: every byte a command prints passes through jsonw_escape(). It works in
 * blocks, each with room for the worst case (six bytes for one), so that nothing inside a block
 * checks for space. Plain ASCII is copied a word at a time: the word is stored before it is looked
 * at, and when it holds something special only the bytes in front of that are counted.
 */
#include "boxd/jsonw.h"

#include <string.h>

#include "boxd/utf8.h"
#include "jsonw_internal.h"
#include "swar_internal.h"

#define JSONW_BLOCK  1024u /* input bytes per reservation: a compromise between calls and slack */
#define JSONW_EXPAND 6u    /* longest output for one input byte: \u001b */

uint8_t *jsonw_put_u64(uint8_t *at, uint64_t v)
{
	uint8_t digits[JSONW_INT_MAX];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (uint8_t)('0' + v % 10);
		v /= 10;
	} while (v != 0);
	memcpy(at, digits + i, sizeof(digits) - i);
	return at + (sizeof(digits) - i);
}

uint8_t *jsonw_put_i64(uint8_t *at, int64_t v)
{
	if (v >= 0)
		return jsonw_put_u64(at, (uint64_t)v);
	*at = '-';
	return jsonw_put_u64(at + 1, 0 - (uint64_t)v);
}

/* ---- strings ---- */

/* Control characters, the quote, the backslash, and whatever is not ASCII. */
static inline uint64_t jsonw_special_mask(uint64_t w)
{
	return swar_below(w, 0x20) | swar_equal(w, '"') | swar_equal(w, '\\') | (w & SWAR_HIGH);
}

static inline bool jsonw_is_special(uint8_t b)
{
	return b < 0x20 || b >= 0x80 || b == '"' || b == '\\';
}

/* Copies plain bytes up to the first special one or the end. May store 7 bytes too many. */
static uint8_t *jsonw_copy_plain(uint8_t *at, const uint8_t **in, const uint8_t *end)
{
	const uint8_t *p = *in;

	while ((size_t)(end - p) >= SWAR_BYTES) {
		uint64_t special = jsonw_special_mask(swar_load(p));
		size_t plain = special == 0 ? SWAR_BYTES : swar_first(special);

		memcpy(at, p, SWAR_BYTES);
		at += plain;
		p += plain;
		if (special != 0) {
			*in = p;
			return at;
		}
	}
	while (p < end && !jsonw_is_special(*p))
		*at++ = *p++;
	*in = p;
	return at;
}

static uint8_t *jsonw_put_u16_escape(uint8_t *at, unsigned code)
{
	static const char hex[] = "0123456789abcdef";

	*at++ = '\\';
	*at++ = 'u';
	for (int shift = 12; shift >= 0; shift -= 4)
		*at++ = (uint8_t)hex[(code >> shift) & 15];
	return at;
}

static uint8_t *jsonw_put_ascii_escape(uint8_t *at, uint8_t b)
{
	static const char letters[0x20] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
	uint8_t letter = b < 0x20 ? (uint8_t)letters[b] : b;

	if (letter == 0)
		return jsonw_put_u16_escape(at, b);
	*at++ = '\\';
	*at++ = letter;
	return at;
}

/* One character that is not plain; `end` is where the data ends, not the block. */
static uint8_t *jsonw_put_special(uint8_t *at, const uint8_t **in, const uint8_t *end)
{
	const uint8_t *p = *in;
	size_t len;

	if (*p < 0x80) {
		*in = p + 1;
		return jsonw_put_ascii_escape(at, *p);
	}
	len = utf8_sequence(p, (size_t)(end - p));
	if (len == 0) {
		*in = p + 1;
		memcpy(at, "\xef\xbf\xbd", 3);
		return at + 3;
	}
	*in = p + len;
	if (len == 2 && p[0] == 0xc2 && p[1] == 0x85)
		return jsonw_put_u16_escape(at, 0x85);
	if (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
		return jsonw_put_u16_escape(at, 0x2000u | (p[2] & 0x3fu));
	memcpy(at, p, len);
	return at + len;
}

int jsonw_escape(struct buf *out, const uint8_t *data, size_t n)
{
	const uint8_t *p = data;
	size_t left = n;

	while (left > 0) {
		size_t block = left < JSONW_BLOCK ? left : JSONW_BLOCK;
		const uint8_t *block_end = p + block;
		uint8_t *start = buf_reserve(out, block * JSONW_EXPAND + SWAR_BYTES);
		uint8_t *at = start;

		if (start == NULL)
			return -1;
		/* The last character of a block may end in the next one: p then passes block_end.
		 */
		while (p < block_end) {
			at = jsonw_copy_plain(at, &p, block_end);
			if (p < block_end)
				at = jsonw_put_special(at, &p, data + n);
		}
		buf_commit(out, (size_t)(at - start));
		left = n - (size_t)(p - data);
	}
	return 0;
}

/* ---- the writer ---- */

/* Appends bytes as they are. */
static void jsonw_raw(struct jsonw *w, const char *s, size_t n)
{
	if (!w->failed && buf_add(w->out, s, n) < 0)
		w->failed = true;
}

/* Before each key and each value that follows no key. */
static void jsonw_separate(struct jsonw *w)
{
	if (w->comma)
		jsonw_raw(w, ",", 1);
}

static void jsonw_value(struct jsonw *w, const char *s, size_t n)
{
	jsonw_separate(w);
	jsonw_raw(w, s, n);
	w->comma = true;
}

static void jsonw_open(struct jsonw *w, const char *bracket)
{
	jsonw_value(w, bracket, 1);
	w->comma = false;
}

static void jsonw_close(struct jsonw *w, const char *bracket)
{
	jsonw_raw(w, bracket, 1);
	w->comma = true;
}

static void jsonw_quoted(struct jsonw *w, const void *data, size_t n)
{
	jsonw_raw(w, "\"", 1);
	if (!w->failed && jsonw_escape(w->out, data, n) < 0)
		w->failed = true;
	jsonw_raw(w, "\"", 1);
}

void jsonw_begin(struct jsonw *w, struct buf *out)
{
	*w = (struct jsonw){.out = out};
}

void jsonw_object(struct jsonw *w)
{
	jsonw_open(w, "{");
}

void jsonw_object_end(struct jsonw *w)
{
	jsonw_close(w, "}");
}

void jsonw_array(struct jsonw *w)
{
	jsonw_open(w, "[");
}

void jsonw_array_end(struct jsonw *w)
{
	jsonw_close(w, "]");
}

void jsonw_key(struct jsonw *w, const char *key)
{
	jsonw_separate(w);
	jsonw_raw(w, "\"", 1);
	jsonw_raw(w, key, strlen(key));
	jsonw_raw(w, "\":", 2);
	w->comma = false;
}

void jsonw_key_n(struct jsonw *w, const char *key, size_t n)
{
	jsonw_separate(w);
	jsonw_quoted(w, key, n);
	jsonw_raw(w, ":", 1);
	w->comma = false;
}

void jsonw_str(struct jsonw *w, const char *s)
{
	if (s == NULL)
		jsonw_null(w);
	else
		jsonw_str_n(w, s, strlen(s));
}

void jsonw_str_n(struct jsonw *w, const void *data, size_t n)
{
	jsonw_separate(w);
	jsonw_quoted(w, data, n);
	w->comma = true;
}

void jsonw_int(struct jsonw *w, int64_t v)
{
	uint8_t digits[JSONW_INT_MAX];
	uint8_t *end = jsonw_put_i64(digits, v);

	jsonw_value(w, (const char *)digits, (size_t)(end - digits));
}

void jsonw_bool(struct jsonw *w, bool v)
{
	if (v)
		jsonw_value(w, "true", 4);
	else
		jsonw_value(w, "false", 5);
}

void jsonw_null(struct jsonw *w)
{
	jsonw_value(w, "null", 4);
}

int jsonw_end(struct jsonw *w)
{
	return w->failed ? -1 : 0;
}
