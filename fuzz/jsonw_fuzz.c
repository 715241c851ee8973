/*
 * Fuzzes the writing of JSON strings and of text events. The oracle is a JSON string reader and a
 * UTF-8 check of its own: what was written reads back as the input with U+FFFD for each byte that
 * is not UTF-8, is itself UTF-8, and holds no byte and no character that a line iterator of any
 * client takes for a line end.
 */
#include <stdbool.h>
#include <string.h>

#include "boxd/jsonw.h"
#include "boxd/sse.h"
#include "fuzz.h"

/* Length of a well-formed sequence, 0 when there is none, by decoding it. */
static size_t sequence(const uint8_t *p, size_t n, uint32_t *cp)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = p[0] < 0x80             ? 1
		     : (p[0] & 0xe0) == 0xc0 ? 2
		     : (p[0] & 0xf0) == 0xe0 ? 3
		     : (p[0] & 0xf8) == 0xf0 ? 4
					     : 0;

	if (len == 0 || len > n)
		return 0;
	*cp = len == 1 ? p[0] : p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (p[i] & 0x3fu);
	}
	if (*cp < lowest[len] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff))
		return 0;
	return len;
}

static void put_bytes(struct buf *b, const void *data, size_t n)
{
	FUZZ_CHECK(buf_add(b, data, n) == 0);
}

static void repair(const uint8_t *data, size_t size, struct buf *out)
{
	for (size_t i = 0; i < size;) {
		uint32_t cp;
		size_t len = sequence(data + i, size - i, &cp);

		put_bytes(out, len == 0 ? (const void *)"\xef\xbf\xbd" : data + i,
			len == 0 ? 3 : len);
		i += len == 0 ? 1 : len;
	}
}

/* Reads one escape behind its backslash. Returns its length. */
static size_t read_escape(const uint8_t *p, size_t n, struct buf *out)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *name;
	uint8_t utf8[3];
	unsigned cp = 0;

	FUZZ_CHECK(n > 0 && p[0] != 0);
	name = strchr(names, p[0]);
	if (name != NULL) {
		put_bytes(out, &values[name - names], 1);
		return 1;
	}
	FUZZ_CHECK(p[0] == 'u' && n >= 5);
	for (size_t i = 1; i < 5; i++) {
		const char *hex = "0123456789abcdef", *digit = strchr(hex, p[i]);

		FUZZ_CHECK(p[i] != 0 && digit != NULL);
		cp = cp * 16 + (unsigned)(digit - hex);
	}
	FUZZ_CHECK(cp < 0x20 || cp == 0x85 || cp == 0x2028 || cp == 0x2029);
	if (cp < 0x80) {
		utf8[0] = (uint8_t)cp;
		put_bytes(out, utf8, 1);
	} else if (cp < 0x800) {
		utf8[0] = (uint8_t)(0xc0 | cp >> 6);
		utf8[1] = (uint8_t)(0x80 | (cp & 0x3f));
		put_bytes(out, utf8, 2);
	} else {
		utf8[0] = (uint8_t)(0xe0 | cp >> 12);
		utf8[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
		utf8[2] = (uint8_t)(0x80 | (cp & 0x3f));
		put_bytes(out, utf8, 3);
	}
	return 5;
}

static void read_string(const uint8_t *p, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		size_t len = sequence(p + i, n - i, &cp);

		FUZZ_CHECK(len > 0 && cp >= 0x20 && cp != '"');
		FUZZ_CHECK(cp != 0x85 && cp != 0x2028 && cp != 0x2029);
		if (cp == '\\')
			len += read_escape(p + i + 1, n - i - 1, out);
		else
			put_bytes(out, p + i, len);
		i += len;
	}
}

static bool same(const struct buf *a, const struct buf *b)
{
	return buf_len(a) == buf_len(b) &&
	       (buf_len(a) == 0 || memcmp(buf_data(a), buf_data(b), buf_len(a)) == 0);
}

/* A text event is its fixed parts around the same string. */
static void check_event(const uint8_t *data, size_t size, const struct buf *escaped)
{
	struct buf event = {0}, want = {0};

	FUZZ_CHECK(sse_text(&event, SSE_STANDARD, size, "stdout", data, size, 12345) == 0);
	FUZZ_CHECK(buf_printf(&want, "id: %zu\ndata: {\"type\":\"stdout\",\"text\":\"", size) == 0);
	if (buf_len(escaped) > 0)
		put_bytes(&want, buf_data(escaped), buf_len(escaped));
	FUZZ_CHECK(buf_add_str(&want, "\",\"timestamp\":12345}\n\n") == 0);
	FUZZ_CHECK(same(&event, &want));
	buf_fini(&event);
	buf_fini(&want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf escaped = {0}, back = {0}, want = {0};

	FUZZ_CHECK(jsonw_escape(&escaped, data, size) == 0);
	if (buf_len(&escaped) > 0)
		read_string(buf_data(&escaped), buf_len(&escaped), &back);
	repair(data, size, &want);
	FUZZ_CHECK(same(&back, &want));
	check_event(data, size, &escaped);
	buf_fini(&escaped);
	buf_fini(&back);
	buf_fini(&want);
	return 0;
}
