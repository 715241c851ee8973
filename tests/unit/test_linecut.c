/* linecut: the vectors of contract 2.4 under every cut of the input, limits, memory, in-place. */
#include "boxd/linecut.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto_oom.h"

/* Texts joined with '|', so that a table row is one literal. */
static void join(struct buf *all, const uint8_t *text, size_t n)
{
	assert_true(n > 0);
	assert_int_equal(buf_add(all, text, n), 0);
	assert_int_equal(buf_add(all, "|", 1), 0);
}

/* Feeds one exactly sized copy of a run of input. */
static void feed(struct linecut *c, const char *data, size_t n, struct buf *all)
{
	uint8_t *copy = malloc(n + 1); /* one more byte, which must never be read as input */
	const uint8_t *in = copy, *text;
	size_t text_n;

	assert_non_null(copy);
	memcpy(copy, data, n);
	copy[n] = '\n';
	while (linecut_next(c, &in, &n, &text, &text_n) == LINECUT_TEXT)
		join(all, text, text_n);
	assert_int_equal(n, 0);
	free(copy);
}

static void flush(struct linecut *c, struct buf *all)
{
	const uint8_t *text;
	size_t n;

	if (linecut_flush(c, &text, &n))
		join(all, text, n);
	assert_int_equal(linecut_pending(c), 0);
	assert_false(linecut_flush(c, &text, &n));
}

static void assert_texts(const struct buf *all, const char *want, const char *what, size_t where)
{
	size_t n = strlen(want);

	if (buf_len(all) != n || (n > 0 && memcmp(buf_data(all), want, n) != 0))
		fail_msg("%s, cut at %zu:\n got %.*s\nwant %s", what, where, (int)buf_len(all),
			(const char *)buf_data(all), want);
}

static const struct row {
	const char *name, *in, *texts;
	size_t max;
} rows[] = {
	{"blank lines", "a\n\nb\n\n\nc\n", "a|\n|b|\n|\n|c|", 64},
	{"blank CRLF lines", "a\n\nb\n\n\nc\n\r\nd\n", "a|\n|b|\n|\n|c|\n|d|", 64},
	{"progress", "line1\nprog 10%\rprog 20%\rprog 30%\nlast\n",
		"line1|prog 10%|prog 20%|prog 30%|last|", 64},
	{"CRLF", "tail1\r\ntail2\n", "tail1|tail2|", 64},
	{"CRLF then text", "a\r\nb\n", "a|b|", 64},
	{"a lone CRLF", "\r\n", "\n|", 64},
	{"two CRLF", "\r\n\r\n", "\n|\n|", 64},
	{"CR CR LF", "a\r\r\nb", "a|\n|b|", 64},
	{"LF CR", "a\n\rb", "a|\n|b|", 64},
	{"no final newline", "tail", "tail|", 64},
	{"nothing", "", "", 64},
	{"a line of the limit", "12345678\nx\n", "12345678|x|", 8},
	{"one byte over", "123456789\nx\n", "12345678|9|x|", 8},
	{"twice the limit", "1234567812345678\n", "12345678|12345678|", 8},
	{"twice the limit, then blank", "1234567812345678\n\n", "12345678|12345678|\n|", 8},
	{"the limit without end", "12345678", "12345678|", 8},
	{"over the limit without end", "123456789abcdefghi", "12345678|9abcdefg|hi|", 8},
	{"over the limit, CRLF", "1234567812\r\n\r\n", "12345678|12|\n|", 8},
	{"a character at the split", "1234567\xc3\xa9\n", "1234567|\xc3\xa9|", 8},
	{"four bytes at the split", "12345\xf0\x9f\x98\x80z\n", "12345|\xf0\x9f\x98\x80z|", 8},
	{"a character that ends there", "123456\xc3\xa9z\n", "123456\xc3\xa9|z|", 8},
	{"a line of characters", "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\n",
		"\xe2\x82\xac|\xe2\x82\xac|\xe2\x82\xac|\xe2\x82\xac|", 4},
	{"no character at the limit", "1234567\xff\xff\xff\n", "1234567\xff|\xff\xff|", 8},
	{"a broken one at the limit", "1234567\xc3\n", "1234567\xc3|", 8},
	{"stray continuations", "\x80\x80\x80\x80\x80\x80\n", "\x80\x80\x80\x80|\x80\x80|", 4},
};

static void gives_the_texts_of_the_contract_however_the_input_is_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *in = rows[i].in;
		size_t n = strlen(in);

		for (size_t cut = 0; cut <= n; cut++) {
			for (size_t cut2 = cut; cut2 <= n; cut2++) {
				struct buf all = {0};
				struct linecut c;

				linecut_init(&c, rows[i].max);
				feed(&c, in, cut, &all);
				feed(&c, in + cut, cut2 - cut, &all);
				feed(&c, in + cut2, n - cut2, &all);
				flush(&c, &all);
				assert_texts(&all, rows[i].texts, rows[i].name, cut);
				linecut_fini(&c);
				buf_fini(&all);
			}
		}
	}
}

static void gives_the_same_texts_byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf all = {0};
		struct linecut c;

		linecut_init(&c, rows[i].max);
		for (const char *p = rows[i].in; *p != '\0'; p++)
			feed(&c, p, 1, &all);
		flush(&c, &all);
		assert_texts(&all, rows[i].texts, rows[i].name, 1);
		linecut_fini(&c);
		buf_fini(&all);
	}
}

static void keeps_a_line_of_256_kib_whole(void **state)
{
	enum { SIZE = 256 * 1024 };
	uint8_t *data = malloc(SIZE + 1);
	const uint8_t *in = data, *text;
	size_t n = SIZE + 1, text_n;
	struct linecut c;

	(void)state;
	assert_non_null(data);
	memset(data, 'x', SIZE);
	data[SIZE] = '\n';
	linecut_init(&c, 512 * 1024);
	for (size_t at = 0; at < SIZE; at += 65536) {
		in = data + at;
		n = 65536;
		assert_int_equal(linecut_next(&c, &in, &n, &text, &text_n), LINECUT_MORE);
		assert_int_equal(linecut_pending(&c), at + 65536);
	}
	in = data + SIZE;
	n = 1;
	assert_int_equal(linecut_next(&c, &in, &n, &text, &text_n), LINECUT_TEXT);
	assert_int_equal(text_n, SIZE);
	assert_memory_equal(text, data, SIZE);
	assert_int_equal(linecut_pending(&c), 0);
	assert_int_equal(linecut_next(&c, &in, &n, &text, &text_n), LINECUT_MORE);
	assert_int_equal(c.pending.cap, 0); /* the large buffer is not kept for small lines */
	linecut_fini(&c);
	free(data);
}

static void hands_out_complete_lines_in_place(void **state)
{
	static const uint8_t data[] = "one\ntwo\r\nthree";
	const uint8_t *in = data, *text;
	size_t n = sizeof(data) - 1, text_n;
	struct linecut c;

	(void)state;
	linecut_init(&c, 64);
	oom_after = 0;
	assert_int_equal(linecut_next(&c, &in, &n, &text, &text_n), LINECUT_TEXT);
	assert_ptr_equal(text, data);
	assert_ptr_equal(in, data + 4);
	assert_int_equal(linecut_next(&c, &in, &n, &text, &text_n), LINECUT_TEXT);
	assert_ptr_equal(text, data + 4);
	/* After the CR, wherever the LF is: the end of a text does not depend on the cut. */
	assert_ptr_equal(in, data + 8);
	oom_after = -1;
	linecut_fini(&c);
}

static void loses_nothing_when_memory_is_out(void **state)
{
	static const char first[] = "12345", second[] = "6789abc\nx\n";
	const uint8_t *in = (const uint8_t *)first, *text;
	size_t n = strlen(first), text_n;
	struct buf all = {0};
	struct linecut c;

	(void)state;
	linecut_init(&c, 100);
	oom_after = 0;
	assert_int_equal(linecut_next(&c, &in, &n, &text, &text_n), LINECUT_NO_MEM);
	assert_int_equal(n, 5);
	assert_int_equal(linecut_pending(&c), 0);
	oom_after = -1;
	assert_int_equal(linecut_next(&c, &in, &n, &text, &text_n), LINECUT_MORE);
	buf_trim(&c.pending); /* no room is left to append to */
	in = (const uint8_t *)second;
	n = strlen(second);
	oom_after = 0;
	assert_int_equal(linecut_next(&c, &in, &n, &text, &text_n), LINECUT_NO_MEM);
	assert_int_equal(n, strlen(second));
	assert_int_equal(linecut_pending(&c), 5);
	oom_after = -1;
	while (linecut_next(&c, &in, &n, &text, &text_n) == LINECUT_TEXT)
		join(&all, text, text_n);
	assert_texts(&all, "123456789abc|x|", "after memory came back", 0);
	linecut_fini(&c);
	buf_fini(&all);
}

static void flush_begins_a_new_stream(void **state)
{
	struct buf all = {0};
	struct linecut c;

	(void)state;
	linecut_init(&c, 4);
	feed(&c, "a\r", 2, &all);
	flush(&c, &all);
	feed(&c, "\n12345", 6, &all);
	flush(&c, &all);
	feed(&c, "\n", 1, &all);
	assert_texts(&all, "a|\n|1234|5|\n|", "flush", 0);
	linecut_fini(&c);
	buf_fini(&all);
}

static void finds_where_the_partial_line_begins(void **state)
{
	char data[41];

	(void)state;
	assert_int_equal(linecut_last_end(NULL, 0), 0);
	for (size_t n = 0; n < sizeof(data); n++) {
		memset(data, 'x', sizeof(data));
		assert_int_equal(linecut_last_end((uint8_t *)data, n), 0);
		for (size_t at = 0; at < n; at++) {
			data[at] = at % 2 == 0 ? '\n' : '\r';
			assert_int_equal(linecut_last_end((uint8_t *)data, n), at + 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_the_texts_of_the_contract_however_the_input_is_cut),
		cmocka_unit_test(gives_the_same_texts_byte_by_byte),
		cmocka_unit_test(keeps_a_line_of_256_kib_whole),
		cmocka_unit_test(hands_out_complete_lines_in_place),
		cmocka_unit_test(loses_nothing_when_memory_is_out),
		cmocka_unit_test(flush_begins_a_new_stream),
		cmocka_unit_test(finds_where_the_partial_line_begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
