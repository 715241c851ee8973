/*
 * Fuzzes the line cutter. The first byte of an input chooses the limit, the second the cuts. The
 * oracle is contract 2.4 written down without any cleverness: a line is collected whole and split
 * afterwards. Beside that: however the input is cut the texts are the same, no text passes the
 * limit, no character is cut by a split, and no byte but terminators is lost.
 */
#include <stdbool.h>
#include <string.h>

#include "boxd/linecut.h"
#include "boxd/utf8.h"
#include "fuzz.h"

/* A list of texts, each with its length in front. */
static void put_text(struct buf *list, const uint8_t *text, size_t n)
{
	FUZZ_CHECK(n > 0);
	FUZZ_CHECK(buf_add(list, &n, sizeof(n)) == 0 && buf_add(list, text, n) == 0);
}

static void put_line(struct buf *list, const uint8_t *line, size_t n, size_t max)
{
	while (n > max) {
		size_t take = max - utf8_incomplete_tail(line, max);

		put_text(list, line, take);
		line += take;
		n -= take;
	}
	put_text(list, line, n);
}

static void reference(const uint8_t *data, size_t size, size_t max, struct buf *list)
{
	size_t start = 0;

	for (size_t i = 0; i < size; i++) {
		if (data[i] != '\n' && data[i] != '\r')
			continue;
		if (i > start)
			put_line(list, data + start, i - start, max);
		else
			put_text(list, (const uint8_t *)"\n", 1);
		if (data[i] == '\r' && i + 1 < size && data[i + 1] == '\n')
			i++;
		start = i + 1;
	}
	if (start < size)
		put_line(list, data + start, size - start, max);
}

static void cut(const uint8_t *data, size_t size, size_t max, uint32_t seed, struct buf *list)
{
	const uint8_t *text;
	struct linecut c;
	size_t text_n;

	linecut_init(&c, max);
	for (size_t at = 0; at < size;) {
		size_t n = fuzz_step(&seed, size - at);
		const uint8_t *in = data + at;

		at += n;
		while (linecut_next(&c, &in, &n, &text, &text_n) == LINECUT_TEXT)
			put_text(list, text, text_n);
		FUZZ_CHECK(n == 0 && in == data + at);
		FUZZ_CHECK(linecut_pending(&c) <= max);
	}
	if (linecut_flush(&c, &text, &text_n))
		put_text(list, text, text_n);
	linecut_fini(&c);
}

/* All at once: every text lies in the input, so that splits can be looked at where they are. */
static void cut_in_place(const uint8_t *data, size_t size, size_t max, struct buf *list)
{
	const uint8_t *in = data, *end = data + size, *text;
	struct linecut c;
	size_t text_n;

	linecut_init(&c, max);
	while (linecut_next(&c, &in, &size, &text, &text_n) == LINECUT_TEXT) {
		bool inside = text >= data && text < end;

		put_text(list, text, text_n);
		FUZZ_CHECK(text_n <= max);
		FUZZ_CHECK(inside || (text_n == 1 && *text == '\n'));
		if (!inside || in != text + text_n)
			continue;
		for (size_t back = 1; back <= 3 && back <= text_n; back++)
			FUZZ_CHECK(utf8_sequence(in - back, (size_t)(end - in) + back) <= back);
	}
	if (linecut_flush(&c, &text, &text_n))
		put_text(list, text, text_n);
	linecut_fini(&c);
}

static void check_same(const struct buf *a, const struct buf *b)
{
	FUZZ_CHECK(buf_len(a) == buf_len(b));
	FUZZ_CHECK(buf_len(a) == 0 || memcmp(buf_data(a), buf_data(b), buf_len(a)) == 0);
}

/* The texts but blank ones, in a row, are the input without its terminators. */
static void check_bytes(const uint8_t *data, size_t size, const struct buf *list)
{
	size_t at = 0, n;

	for (size_t i = 0; i < buf_len(list); i += sizeof(n) + n) {
		const uint8_t *text = buf_data(list) + i + sizeof(n);

		memcpy(&n, buf_data(list) + i, sizeof(n));
		if (n == 1 && *text == '\n')
			continue;
		for (size_t k = 0; k < n; k++, at++) {
			while (at < size && (data[at] == '\n' || data[at] == '\r'))
				at++;
			FUZZ_CHECK(at < size && data[at] == text[k]);
		}
	}
	while (at < size && (data[at] == '\n' || data[at] == '\r'))
		at++;
	FUZZ_CHECK(at == size);
}

static void check_last_end(const uint8_t *data, size_t size)
{
	size_t at = size;

	while (at > 0 && data[at - 1] != '\n' && data[at - 1] != '\r')
		at--;
	FUZZ_CHECK(linecut_last_end(data, size) == at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf want = {0}, whole = {0}, cuts = {0};
	size_t max;

	if (size < 2)
		return 0;
	max = 4 + (size_t)(data[0] & 63);
	reference(data + 2, size - 2, max, &want);
	cut_in_place(data + 2, size - 2, max, &whole);
	cut(data + 2, size - 2, max, data[1], &cuts);
	check_same(&whole, &want);
	check_same(&cuts, &want);
	check_bytes(data + 2, size - 2, &want);
	check_last_end(data + 2, size - 2);
	buf_fini(&want);
	buf_fini(&whole);
	buf_fini(&cuts);
	return 0;
}
