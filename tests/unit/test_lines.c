/* lines: what comes out of a file, under every cut of the input and every size of the output. */
#include "boxd/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ALL   UINT64_MAX
#define FIVE  "line1\nline2\nline3\nline4\nline5"
#define COUNT sizeof(rows) / sizeof(rows[0])

static const struct row {
	const char *in;
	uint64_t offset, limit;
	const char *out;
	bool done; /* known before the end of the input */
} rows[] = {
	{FIVE, 2, 2, "line2\nline3", true},
	{FIVE, 4, ALL, "line4\nline5", false},
	{FIVE, 1, 2, "line1\nline2", true},
	{FIVE, 2, 100, "line2\nline3\nline4\nline5", false},
	{FIVE, 1, ALL, FIVE, false},
	{FIVE, 1, 5, FIVE, false},
	{FIVE "\n", 1, 5, FIVE, true},
	{FIVE "\n", 1, ALL, FIVE, false},
	{FIVE, 5, 1, "line5", false},
	{FIVE, 6, 1, "", false},
	{FIVE, 5000000000, ALL, "", false},
	{FIVE, ALL, ALL, "", false},
	{FIVE, 0, 1, "line1", true},
	{FIVE, 1, 0, "", true},
	{FIVE, 3, 0, "", true},
	/* nothing, and lines with nothing in them */
	{"", 1, ALL, "", false},
	{"\n", 1, ALL, "", false},
	{"\n", 1, 1, "", true},
	{"\n", 2, ALL, "", false},
	{"\n\n", 1, ALL, "\n", false},
	{"\n\n\n", 1, ALL, "\n\n", false},
	{"\n\n\n", 1, 2, "\n", true},
	{"a\n\nb\n", 1, ALL, "a\n\nb", false},
	{"a\n\nb\n", 2, 1, "", true},
	{"a\n\nb\n", 2, ALL, "\nb", false},
	{"a\n\n", 1, ALL, "a\n", false},
	/* CRs at the end of a line, and elsewhere */
	{"a\r\nb\r\n", 1, ALL, "a\nb", false},
	{"a\r\r\r\nb", 1, ALL, "a\nb", false},
	{"a\rb\r\nc\r", 1, ALL, "a\rb\nc", false},
	{"a\r\r", 1, ALL, "a", false},
	{"\ra", 1, ALL, "\ra", false},
	{"\r\r\ra", 1, ALL, "\r\r\ra", false},
	{"\r", 1, ALL, "", false},
	{"\r\n", 1, ALL, "", false},
	{"\r\n\r\n\r\n", 1, ALL, "\n\n", false},
	{"a\n\r", 1, ALL, "a\n", false}, /* a second line, and nothing in it */
	{"a\r\r\rb\r\rc\r\nd", 1, ALL, "a\r\r\rb\r\rc\nd", false},
	{"a\r\nb\r\nc", 2, 1, "b", true},
	{"a\r\n\rb\r\nc", 2, 1, "\rb", true},
	{"a\n\r\nb", 2, 2, "\nb", false},
	/* other bytes */
	{"\xff\x80\n\xc3\xa9\n", 1, ALL, "\xff\x80\n\xc3\xa9", false},
	{"\x0b\x8a\x09\x0a\x0b\x0a\x8a", 2, 2, "\x0b\n\x8a", false},
};

struct outcome {
	char out[128];
	size_t out_n, taken;
	enum lines_result end;
};

/* Feeds a piece; the output is emptied whenever it is full, after at most `room` bytes. */
static void feed(struct lines *l, struct outcome *o, const char *data, size_t n, size_t room)
{
	uint8_t *exact = malloc(n > 0 ? n : 1);
	const uint8_t *in = exact;
	struct buf out = {0};
	size_t left = n;

	assert_non_null(exact);
	memcpy(exact, data, n);
	do {
		o->end = lines_feed(l, &in, &left, &out, room);
		assert_true(in == exact + n - left);
		assert_true(o->end != LINES_NO_MEM && buf_len(&out) <= room);
		assert_true(o->end != LINES_FULL || buf_len(&out) == room);
		assert_true(o->out_n + buf_len(&out) <= sizeof(o->out));
		if (buf_len(&out) > 0)
			memcpy(o->out + o->out_n, buf_data(&out), buf_len(&out));
		o->out_n += buf_len(&out);
		buf_clear(&out);
	} while (o->end == LINES_FULL);
	assert_true(o->end == LINES_DONE || left == 0);
	o->taken += n - left;
	buf_fini(&out);
	free(exact);
}

static void check(const struct row *r, const struct outcome *o, size_t cut, size_t room)
{
	if (o->end != (r->done ? LINES_DONE : LINES_MORE) || o->out_n != strlen(r->out) ||
		memcmp(o->out, r->out, o->out_n) != 0)
		fail_msg("row %d, cut at %zu, room %zu: ends %d, \"%.*s\"", (int)(r - rows), cut,
			room, o->end, (int)o->out_n, o->out);
}

static void gives_the_lines_however_the_input_is_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		size_t n = strlen(rows[i].in);

		for (size_t cut = 0; cut <= n; cut++) {
			for (size_t room = 1; room < 9; room++) {
				struct outcome o = {0};
				struct lines l;

				lines_init(&l, rows[i].offset, rows[i].limit);
				feed(&l, &o, rows[i].in, cut, room);
				feed(&l, &o, rows[i].in + cut, n - cut, room);
				check(&rows[i], &o, cut, room);
			}
		}
	}
}

static void gives_the_lines_byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		struct outcome o = {.end = LINES_MORE};
		struct lines l;

		lines_init(&l, rows[i].offset, rows[i].limit);
		for (const char *p = rows[i].in; *p != '\0'; p++)
			feed(&l, &o, p, 1, 64);
		feed(&l, &o, "", 0, 64);
		check(&rows[i], &o, 1, 64);
	}
}

static void the_end_is_final_and_leaves_the_rest(void **state)
{
	struct outcome o = {0};
	struct lines l;

	(void)state;
	lines_init(&l, 2, 1);
	feed(&l, &o, "a\nb\nc\nd\n", 8, 64);
	assert_int_equal(o.end, LINES_DONE);
	assert_int_equal(o.taken, 4);
	feed(&l, &o, "e\nf\n", 4, 64);
	assert_int_equal(o.end, LINES_DONE);
	assert_int_equal(o.taken, 4);
	assert_int_equal(o.out_n, 1);
}

static void a_full_output_stops_it_and_skipping_needs_none(void **state)
{
	static const uint8_t text[] = "a\nb\r\nc";
	const uint8_t *in = text;
	size_t n = sizeof(text) - 1;
	struct buf out = {0};
	struct lines l;

	(void)state;
	lines_init(&l, 2, ALL);
	assert_int_equal(lines_feed(&l, &in, &n, &out, 0), LINES_FULL);
	assert_int_equal(n, 4);
	assert_int_equal(lines_feed(&l, &in, &n, &out, 0), LINES_FULL);
	assert_int_equal(n, 4);
	/* What is in the output counts; the line's end needs no room, the next line does. */
	assert_int_equal(lines_feed(&l, &in, &n, &out, 1), LINES_FULL);
	assert_int_equal(n, 1);
	assert_int_equal(lines_feed(&l, &in, &n, &out, 2), LINES_FULL);
	assert_int_equal(n, 1);
	assert_int_equal(lines_feed(&l, &in, &n, &out, 3), LINES_MORE);
	assert_int_equal(buf_len(&out), 3);
	assert_memory_equal(buf_data(&out), "b\nc", 3);
	buf_fini(&out);
}

/* More CRs than any output holds are a number, until they turn out to be text. */
static void held_crs_take_no_memory(void **state)
{
	enum { CRS = 1 << 20, ROOM = 4096 };
	uint8_t *text = malloc(CRS);
	const uint8_t *in = text;
	struct buf out = {0};
	struct lines l;
	size_t n = CRS, seen = 0;

	(void)state;
	assert_non_null(text);
	memset(text, '\r', CRS);
	lines_init(&l, 1, ALL);
	assert_int_equal(lines_feed(&l, &in, &n, &out, ROOM), LINES_MORE);
	assert_int_equal(buf_len(&out), 0);
	assert_null(out.mem);
	in = (const uint8_t *)"x";
	n = 1;
	while (lines_feed(&l, &in, &n, &out, ROOM) == LINES_FULL) {
		assert_int_equal(buf_len(&out), ROOM);
		seen += buf_len(&out);
		buf_clear(&out);
	}
	assert_int_equal(n, 0);
	assert_int_equal(seen + buf_len(&out), CRS + 1);
	assert_int_equal(buf_data(&out)[buf_len(&out) - 1], 'x');
	buf_fini(&out);
	free(text);
}

/* Every length around the words and blocks in which lines are counted, with LFs everywhere. */
static void counts_lines_in_blocks_of_any_size(void **state)
{
	enum { SIZE = 5000 };
	uint8_t *text = malloc(SIZE);
	uint32_t seed = 1;

	(void)state;
	assert_non_null(text);
	for (size_t size = 1; size <= SIZE; size += size < 40 ? 1 : size / 7) {
		uint64_t lfs = 0;

		for (size_t i = 0; i < size; i++) {
			/* Bytes that differ from LF in one bit, and LFs beside each other. */
			static const uint8_t bytes[] = {
				'\n', '\n', 0x0b, 0x8a, 0x8b, 0x09, 0x00, 0xff};

			seed = seed * 1664525u + 1013904223u;
			text[i] = bytes[seed >> 29];
			lfs += text[i] == '\n';
		}
		for (uint64_t skip = 0; skip <= lfs + 1; skip += 1 + lfs / 9) {
			const uint8_t *in = text;
			struct buf out = {0};
			size_t n = size, at = 0;
			uint64_t left = skip;
			struct lines l;

			lines_init(&l, skip + 1, 1);
			/* A room of 0: it stops at the first byte of the line. */
			if (lines_feed(&l, &in, &n, &out, 0) == LINES_NO_MEM)
				fail();
			for (; left > 0 && at < size; at++)
				left -= text[at] == '\n';
			while (left == 0 && at < size && text[at] == '\r')
				at++;
			if (left == 0 && at < size && text[at] == '\n')
				at++; /* an empty line is done without room */
			assert_int_equal(in - text, at);
			buf_fini(&out);
		}
	}
	free(text);
}

/* Nothing but LFs fill every counter to its brim. */
static void counts_lines_that_are_empty(void **state)
{
	enum { SIZE = 5000 };
	uint8_t *text = malloc(SIZE);
	struct buf out = {0};
	struct lines l;

	(void)state;
	assert_non_null(text);
	memset(text, '\n', SIZE);
	for (uint64_t beyond = 0; beyond < 2; beyond++) {
		const uint8_t *in = text;
		size_t n = SIZE;

		lines_init(&l, SIZE + 1 + beyond, 1);
		assert_int_equal(lines_feed(&l, &in, &n, &out, 9), LINES_MORE);
		assert_int_equal(l.skip, beyond);
	}
	lines_init(&l, 1, SIZE + 1000);
	for (int i = 0; i < 2; i++) {
		const uint8_t *in = text;
		size_t n = SIZE;

		assert_int_equal(
			lines_feed(&l, &in, &n, &out, SIZE_MAX), i == 0 ? LINES_MORE : LINES_DONE);
		assert_int_equal(n, i == 0 ? 0 : SIZE - 1000);
	}
	assert_int_equal(buf_len(&out), SIZE + 999);
	buf_fini(&out);
	free(text);
}

/* A buffer that says it is as large as any can be: the next byte fails, and can be fed again. */
static void running_out_of_memory_loses_nothing(void **state)
{
	static const char *const texts[] = {"ab", "\rb", "\nb"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		uint8_t byte;
		struct buf full = {.mem = &byte, .tail = SIZE_MAX / 2, .cap = SIZE_MAX / 2};
		struct buf out = {0};
		const uint8_t *in = (const uint8_t *)texts[i];
		struct lines l;
		size_t n = 2;

		lines_init(&l, 1, ALL);
		assert_int_equal(lines_feed(&l, &in, &n, &full, SIZE_MAX), LINES_NO_MEM);
		assert_int_equal(lines_feed(&l, &in, &n, &out, 64), LINES_MORE);
		assert_int_equal(buf_len(&out), 2);
		assert_memory_equal(buf_data(&out), texts[i], 2);
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_the_lines_however_the_input_is_cut),
		cmocka_unit_test(gives_the_lines_byte_by_byte),
		cmocka_unit_test(the_end_is_final_and_leaves_the_rest),
		cmocka_unit_test(a_full_output_stops_it_and_skipping_needs_none),
		cmocka_unit_test(held_crs_take_no_memory),
		cmocka_unit_test(counts_lines_in_blocks_of_any_size),
		cmocka_unit_test(counts_lines_that_are_empty),
		cmocka_unit_test(running_out_of_memory_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
