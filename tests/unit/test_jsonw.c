/* jsonw: escaping byte by byte and in bulk, the writer's punctuation, and memory running out. */
#include "boxd/jsonw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boxd/utf8.h"
#include "proto_oom.h"

/* The buffer must hold exactly this. */
static void assert_holds(const struct buf *b, const char *want)
{
	if (buf_len(b) != strlen(want) || memcmp(buf_data(b), want, strlen(want)) != 0)
		fail_msg("\n got %.*s\nwant %s", (int)buf_len(b), (const char *)buf_data(b), want);
}

static void escapes_what_json_and_line_iterators_need(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		const char *out;
	} rows[] = {
		{"plain", 5, "plain"},
		{"a\"b\\c/d", 7, "a\\\"b\\\\c/d"},
		{"\b\t\n\f\r", 5, "\\b\\t\\n\\f\\r"},
		{"\0\x01\x1b\x1f\x7f", 5, "\\u0000\\u0001\\u001b\\u001f\x7f"},
		{"\xc2\x85", 2, "\\u0085"},
		{"\xc2\x84\xc2\x86", 4, "\xc2\x84\xc2\x86"},
		{"\xe2\x80\xa8\xe2\x80\xa9", 6, "\\u2028\\u2029"},
		{"\xe2\x80\xa7\xe2\x80\xaa", 6, "\xe2\x80\xa7\xe2\x80\xaa"},
		{"h\xc3\xa9llo \xf0\x9f\x98\x80", 11, "h\xc3\xa9llo \xf0\x9f\x98\x80"},
		{"\xff", 1, "\xef\xbf\xbd"},
		{"\xc3", 1, "\xef\xbf\xbd"},
		{"\xe2\x82", 2, "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xc3(", 2, "\xef\xbf\xbd("},
		{"\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
		{"12345678\x01", 9, "12345678\\u0001"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = {0};
		uint8_t *exact = malloc(rows[i].n);

		assert_non_null(exact);
		memcpy(exact, rows[i].in, rows[i].n);
		assert_int_equal(jsonw_escape(&b, exact, rows[i].n), 0);
		assert_holds(&b, rows[i].out);
		free(exact);
		buf_fini(&b);
	}
}

/* The same by the definition, without words and blocks. */
static size_t naive_escape(const uint8_t *p, size_t n, char *out)
{
	size_t o = 0;

	for (size_t i = 0; i < n;) {
		size_t len = utf8_sequence(p + i, n - i);
		static const char named[] = "\"\"\\\\\bb\tt\nn\ff\rr";
		const char *short_form = NULL;

		for (size_t k = 0; k < sizeof(named) - 1; k += 2) {
			if ((uint8_t)named[k] == p[i])
				short_form = &named[k + 1];
		}
		if (len == 0)
			o += (size_t)sprintf(out + o, "\xef\xbf\xbd");
		else if (short_form != NULL)
			o += (size_t)sprintf(out + o, "\\%c", *short_form);
		else if (p[i] < 0x20)
			o += (size_t)sprintf(out + o, "\\u%04x", p[i]);
		else if (len == 2 && memcmp(p + i, "\xc2\x85", 2) == 0)
			o += (size_t)sprintf(out + o, "\\u0085");
		else if (len == 3 && memcmp(p + i, "\xe2\x80\xa8", 3) == 0)
			o += (size_t)sprintf(out + o, "\\u2028");
		else if (len == 3 && memcmp(p + i, "\xe2\x80\xa9", 3) == 0)
			o += (size_t)sprintf(out + o, "\\u2029");
		else
			o += (size_t)sprintf(out + o, "%.*s", (int)len, (const char *)p + i);
		i += len == 0 ? 1 : len;
	}
	return o;
}

static void agrees_with_the_definition_at_every_offset_and_length(void **state)
{
	static const char *const pieces[] = {"a", "bcdefghij", "\"", "\\", "\n", "\x1b", "\x7f",
		"\xc2\x85", "\xc3\xa9", "\xe2\x80\xa8", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff",
		"\xe2\x82", "plain text that is longer than a word or two"};
	enum { SIZE = 3000 };
	uint8_t *in = malloc(SIZE);
	char *want = malloc(SIZE * 6 + 1);
	unsigned seed = 7;

	(void)state;
	assert_non_null(in);
	assert_non_null(want);
	for (int round = 0; round < 2000; round++) {
		size_t n = 0, limit = (size_t)round % 40 == 0 ? SIZE : (size_t)round % 64 + 1;
		struct buf b = {0};
		size_t want_n;
		uint8_t *exact;

		while (n < limit) {
			const char *piece;
			size_t len;

			seed = seed * 1103515245u + 12345u;
			piece = pieces[(seed >> 16) % (sizeof(pieces) / sizeof(pieces[0]))];
			len = strlen(piece) < limit - n ? strlen(piece) : limit - n;
			memcpy(in + n, piece, len);
			n += len;
		}
		exact = malloc(n);
		assert_non_null(exact);
		memcpy(exact, in, n);
		want_n = naive_escape(exact, n, want);
		assert_int_equal(jsonw_escape(&b, exact, n), 0);
		if (buf_len(&b) != want_n || memcmp(buf_data(&b), want, want_n) != 0)
			fail_msg("round %d", round);
		free(exact);
		buf_fini(&b);
	}
	free(in);
	free(want);
}

static void punctuates_nested_values(void **state)
{
	struct buf b = {0};
	struct jsonw w;

	(void)state;
	jsonw_begin(&w, &b);
	jsonw_object(&w);
	jsonw_key(&w, "a");
	jsonw_int(&w, 1);
	jsonw_key(&w, "b");
	jsonw_array(&w);
	jsonw_array(&w);
	jsonw_array_end(&w);
	jsonw_object(&w);
	jsonw_object_end(&w);
	jsonw_bool(&w, true);
	jsonw_bool(&w, false);
	jsonw_null(&w);
	jsonw_str(&w, NULL);
	jsonw_str(&w, "x\n");
	jsonw_str_n(&w, NULL, 0);
	jsonw_array_end(&w);
	jsonw_key_n(&w, "k\"\xff", 3);
	jsonw_str_n(&w, "\0z", 2);
	jsonw_object_end(&w);
	assert_int_equal(jsonw_end(&w), 0);
	assert_holds(&b, "{\"a\":1,\"b\":[[],{},true,false,null,null,\"x\\n\",\"\"],"
			 "\"k\\\"\xef\xbf\xbd\":\"\\u0000z\"}");
	buf_fini(&b);
}

static void writes_every_integer(void **state)
{
	static const int64_t rows[] = {
		0, 1, -1, 9, 10, 99, 100, 1234567890123, INT64_MAX, INT64_MIN};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = {0};
		struct jsonw w;
		char want[32];

		snprintf(want, sizeof(want), "%lld", (long long)rows[i]);
		jsonw_begin(&w, &b);
		jsonw_int(&w, rows[i]);
		assert_int_equal(jsonw_end(&w), 0);
		assert_holds(&b, want);
		buf_fini(&b);
	}
}

static void remembers_that_memory_ran_out(void **state)
{
	static const uint8_t text[2000];

	(void)state;
	for (int granted = 0; granted < 4; granted++) {
		struct buf b = {0};
		struct jsonw w;

		jsonw_begin(&w, &b);
		oom_after = granted;
		jsonw_object(&w);
		jsonw_key(&w, "text");
		jsonw_str_n(&w, text, sizeof(text));
		jsonw_key(&w, "n");
		jsonw_int(&w, 1);
		oom_after = -1;
		/* Memory for later calls does not make the hole good. */
		jsonw_object_end(&w);
		assert_int_equal(jsonw_end(&w), granted < 3 ? -1 : 0);
		buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_what_json_and_line_iterators_need),
		cmocka_unit_test(agrees_with_the_definition_at_every_offset_and_length),
		cmocka_unit_test(punctuates_nested_values),
		cmocka_unit_test(writes_every_integer),
		cmocka_unit_test(remembers_that_memory_ran_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
