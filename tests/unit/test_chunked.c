/* chunked: the grammar of RFC 9112 7.1 row by row, under every cut of the input. */
#include "boxd/chunked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define META_MAX 64

#define EXT_56     ";eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
#define TRAILER_60 "x: vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n"

static const struct row {
	const char *in;
	enum chunked_result end;
	const char *body;
	size_t after; /* bytes of the input that follow the body, with CHUNKED_DONE */
} rows[] = {
	{"0\r\n\r\n", CHUNKED_DONE, "", 0},
	{"5\r\nhello\r\n0\r\n\r\n", CHUNKED_DONE, "hello", 0},
	{"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET", CHUNKED_DONE, "hello world", 3},
	{"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", CHUNKED_DONE, "01234567890123456789",
		0},
	{"0005\r\nhello\r\n000\r\n\r\n", CHUNKED_DONE, "hello", 0},
	{"0000000000000001\r\nx\r\n0\r\n\r\n", CHUNKED_DONE, "x", 0},
	{"00000000000000001\r\nx\r\n0\r\n\r\n", CHUNKED_BAD, "", 0},
	{"10000000000000000\r\nx", CHUNKED_BAD, "", 0},
	{"ffffffffffffffff\r\nabc", CHUNKED_MORE, "abc", 0},
	{"2\r\n\r\n\r\n0\r\n\r\n", CHUNKED_DONE, "\r\n", 0},
	/* sizes that other programs read in other ways */
	{"\r\n", CHUNKED_BAD, "", 0},
	{" 5\r\nhello", CHUNKED_BAD, "", 0},
	{"5 \r\nhello", CHUNKED_BAD, "", 0},
	{"+5\r\nhello", CHUNKED_BAD, "", 0},
	{"-5\r\nhello", CHUNKED_BAD, "", 0},
	{"0x5\r\nhello", CHUNKED_BAD, "", 0},
	{"5h\r\nhello", CHUNKED_BAD, "", 0},
	{"1_0\r\nhello", CHUNKED_BAD, "", 0},
	{"g\r\n", CHUNKED_BAD, "", 0},
	{";x\r\n", CHUNKED_BAD, "", 0},
	/* line ends */
	{"5\nhello", CHUNKED_BAD, "", 0},
	{"5\rhello", CHUNKED_BAD, "", 0},
	{"5\r\nhello0\r\n\r\n", CHUNKED_BAD, "hello", 0},
	{"5\r\nhello\n0\r\n\r\n", CHUNKED_BAD, "hello", 0},
	{"5\r\nhello\rx", CHUNKED_BAD, "hello", 0},
	{"0\r\n\n", CHUNKED_BAD, "", 0},
	{"0\r\n\rx", CHUNKED_BAD, "", 0},
	/* extensions */
	{"1;a\r\nx\r\n0\r\n\r\n", CHUNKED_DONE, "x", 0},
	{"1;a=b;c=\"d e\\\"\"\r\nx\r\n0;z\r\n\r\n", CHUNKED_DONE, "x", 0},
	{"1 ; a = b \t; c = \"\" ; d\r\nx\r\n0\r\n\r\n", CHUNKED_DONE, "x", 0},
	{"1;a=\"\xc3\xa9;\t\";b\r\nx\r\n0\r\n\r\n", CHUNKED_DONE, "x", 0},
	{"1;\r\nx", CHUNKED_BAD, "", 0},
	{"1;a;\r\nx", CHUNKED_BAD, "", 0},
	{"1;=b\r\nx", CHUNKED_BAD, "", 0},
	{"1;a=\r\nx", CHUNKED_BAD, "", 0},
	{"1;a b\r\nx", CHUNKED_BAD, "", 0},
	{"1;a \r\nx", CHUNKED_BAD, "", 0},
	{"1;a=b \r\nx", CHUNKED_BAD, "", 0},
	{"1;a=\"b\r\nx", CHUNKED_BAD, "", 0},
	{"1;a=\"\\\r\nx", CHUNKED_BAD, "", 0},
	{"1;a=\"\\\x01\"\r\nx", CHUNKED_BAD, "", 0},
	{"1;a=\"b\"c\r\nx", CHUNKED_BAD, "", 0},
	{"1;a\nx", CHUNKED_BAD, "", 0},
	{"1" EXT_56 "eeeee\r\nx\r\n0\r\n\r\n", CHUNKED_DONE, "x", 0}, /* 64 with its CRLF */
	{"1" EXT_56 "eeeeee\r\nx\r\n0\r\n\r\n", CHUNKED_BAD, "", 0},  /* 65 */
	/* trailers */
	{"0\r\nx: y\r\n\r\n", CHUNKED_DONE, "", 0},
	{"0\r\nx:\r\ny: a\tb \xff\r\n\r\nrest", CHUNKED_DONE, "", 4},
	{"0\r\nx : y\r\n\r\n", CHUNKED_BAD, "", 0},
	{"0\r\n: y\r\n\r\n", CHUNKED_BAD, "", 0},
	{"0\r\nxy\r\n\r\n", CHUNKED_BAD, "", 0},
	{"0\r\nx: y\r\n z\r\n\r\n", CHUNKED_BAD, "", 0},
	{"0\r\nx: y\n\r\n", CHUNKED_BAD, "", 0},
	{"0\r\nx: y\rz\r\n\r\n", CHUNKED_BAD, "", 0},
	{"0\r\nx: \x01\r\n\r\n", CHUNKED_BAD, "", 0},
	{"0\r\nx: \x7f\r\n\r\n", CHUNKED_BAD, "", 0},
	{"0\r\n" TRAILER_60 "\r\n", CHUNKED_DONE, "", 0},
	{"0\r\n" TRAILER_60 "z:\r\n\r\n", CHUNKED_TRAILERS_TOO_LARGE, "", 0},
	/* not at an end yet */
	{"", CHUNKED_MORE, "", 0},
	{"5", CHUNKED_MORE, "", 0},
	{"5\r\nhel", CHUNKED_MORE, "hel", 0},
	{"5\r\nhello\r\n0\r\n", CHUNKED_MORE, "hello", 0},
};

/* What one feeding of the decoder did. */
struct outcome {
	char body[256];
	size_t body_n, taken;
	enum chunked_result end;
};

static void feed(struct chunked *c, struct outcome *o, const char *data, size_t n)
{
	uint8_t *exact = malloc(n > 0 ? n : 1);
	const uint8_t *in = exact, *run;
	size_t left = n, run_n;

	assert_non_null(exact);
	memcpy(exact, data, n);
	while ((o->end = chunked_next(c, &in, &left, &run, &run_n)) == CHUNKED_DATA) {
		assert_true(run_n > 0 && run >= exact && run + run_n <= in);
		assert_true(o->body_n + run_n <= sizeof(o->body));
		memcpy(o->body + o->body_n, run, run_n);
		o->body_n += run_n;
	}
	if (o->end == CHUNKED_MORE)
		assert_int_equal(left, 0);
	o->taken += n - left;
	free(exact);
}

static void check(const struct row *r, const struct outcome *o, size_t cut)
{
	size_t n = strlen(r->in);

	if (o->end != r->end || o->body_n != strlen(r->body) ||
		memcmp(o->body, r->body, o->body_n) != 0 ||
		(o->end == CHUNKED_DONE && n - o->taken != r->after))
		fail_msg("%s\ncut at %zu: ends %d, took %zu, body %.*s", r->in, cut, o->end,
			o->taken, (int)o->body_n, o->body);
}

static void reads_the_grammar_however_the_input_is_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = strlen(rows[i].in);

		for (size_t cut = 0; cut <= n; cut++) {
			struct outcome o = {0};
			struct chunked c;

			chunked_init(&c, META_MAX);
			feed(&c, &o, rows[i].in, cut);
			if (o.end == CHUNKED_MORE)
				feed(&c, &o, rows[i].in + cut, n - cut);
			check(&rows[i], &o, cut);
		}
	}
}

static void reads_the_grammar_byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct outcome o = {0};
		struct chunked c;

		chunked_init(&c, META_MAX);
		o.end = CHUNKED_MORE;
		for (const char *p = rows[i].in; *p != '\0' && o.end == CHUNKED_MORE; p++)
			feed(&c, &o, p, 1);
		check(&rows[i], &o, 1);
	}
}

static void an_end_is_final(void **state)
{
	static const struct {
		const char *in;
		enum chunked_result end;
	} ends[] = {
		{"0\r\n\r\n", CHUNKED_DONE},
		{"z", CHUNKED_BAD},
		{"0\r\n" TRAILER_60 TRAILER_60, CHUNKED_TRAILERS_TOO_LARGE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct outcome o = {0};
		struct chunked c;

		chunked_init(&c, META_MAX);
		feed(&c, &o, ends[i].in, strlen(ends[i].in));
		assert_int_equal(o.end, ends[i].end);
		o.taken = 0;
		feed(&c, &o, "5\r\nhello\r\n", 10);
		assert_int_equal(o.end, ends[i].end);
		assert_int_equal(o.taken, 0);
	}
}

static void each_size_line_has_the_whole_allowance(void **state)
{
	struct outcome o = {0};
	struct chunked c;

	(void)state;
	chunked_init(&c, META_MAX);
	for (int i = 0; i < 20; i++)
		feed(&c, &o, "1" EXT_56 "\r\nx\r\n", strlen("1" EXT_56 "\r\nx\r\n"));
	feed(&c, &o, "0" EXT_56 "\r\n" TRAILER_60 "\r\n",
		strlen("0" EXT_56 "\r\n" TRAILER_60 "\r\n"));
	assert_int_equal(o.end, CHUNKED_DONE);
	assert_int_equal(o.body_n, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_grammar_however_the_input_is_cut),
		cmocka_unit_test(reads_the_grammar_byte_by_byte),
		cmocka_unit_test(an_end_is_final),
		cmocka_unit_test(each_size_line_has_the_whole_allowance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
