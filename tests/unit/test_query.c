/* query: form-style decoding, which occurrence counts, what one broken pair spoils. */
#include "boxd/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto_oom.h"

static void finds_the_value_that_was_asked_for(void **state)
{
	static const struct {
		const char *raw, *key;
		size_t nth;
		enum query_result result;
		const char *value;
	} rows[] = {
		{"path=/tmp/a", "path", 0, QUERY_FOUND, "/tmp/a"},
		{"a=1&path=/x&b=2", "path", 0, QUERY_FOUND, "/x"},
		{"path=a+b%20c", "path", 0, QUERY_FOUND, "a b c"},
		{"path=a%2Bb%2bc", "path", 0, QUERY_FOUND, "a+b+c"},
		{"path=%C3%A9", "path", 0, QUERY_FOUND, "\xc3\xa9"},
		{"path=%ff", "path", 0, QUERY_FOUND, "\xff"},
		{"path=a=b=c", "path", 0, QUERY_FOUND, "a=b=c"},
		{"path=", "path", 0, QUERY_FOUND, ""},
		{"path", "path", 0, QUERY_FOUND, ""},
		{"p%61th=x", "path", 0, QUERY_FOUND, "x"},
		{"a+b=x", "a b", 0, QUERY_FOUND, "x"},
		{"path=1&path=2&path=3", "path", 0, QUERY_FOUND, "1"},
		{"path=1&path=2&path=3", "path", 2, QUERY_FOUND, "3"},
		{"path=1&path=2&path=3", "path", 3, QUERY_ABSENT, ""},
		{"path=1;2&path=3", "path", 0, QUERY_FOUND, "3"},
		{"path=a%3Bb", "path", 0, QUERY_FOUND, "a;b"},
		{"&&path=1&&", "path", 0, QUERY_FOUND, "1"},
		{"=x", "path", 0, QUERY_ABSENT, ""},
		{"", "path", 0, QUERY_ABSENT, ""},
		{"Path=1", "path", 0, QUERY_ABSENT, ""},
		{"pat=1&paths=2", "path", 0, QUERY_ABSENT, ""},
		{"path=%", "path", 0, QUERY_BAD, ""},
		{"path=%4", "path", 0, QUERY_BAD, ""},
		{"path=%4g", "path", 0, QUERY_BAD, ""},
		{"path=%+4", "path", 0, QUERY_BAD, ""},
		{"path=ab%00", "path", 0, QUERY_BAD, ""},
		{"path=%&path=2", "path", 1, QUERY_FOUND, "2"},
		{"x=%zz&path=2", "path", 0, QUERY_FOUND, "2"},
		{"pa%zzth=1&path=2", "path", 0, QUERY_FOUND, "2"},
		{"path%00=1", "path", 0, QUERY_ABSENT, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = {0};
		size_t n = strlen(rows[i].raw), want_n = strlen(rows[i].value);
		char *exact = malloc(n > 0 ? n : 1);
		enum query_result r;

		assert_non_null(exact);
		memcpy(exact, rows[i].raw, n);
		assert_int_equal(buf_add_str(&out, "what was there before"), 0);
		r = query_get((struct str){exact, n}, rows[i].key, rows[i].nth, &out);
		if (r != rows[i].result || buf_len(&out) != want_n ||
			memcmp(buf_data(&out), rows[i].value, want_n) != 0)
			fail_msg("row %zu, %s: %d, %.*s", i, rows[i].raw, r, (int)buf_len(&out),
				(const char *)buf_data(&out));
		free(exact);
		buf_fini(&out);
	}
}

static void an_absent_query_holds_nothing(void **state)
{
	struct buf out = {0};

	(void)state;
	assert_int_equal(query_get((struct str){NULL, 0}, "path", 0, &out), QUERY_ABSENT);
	assert_int_equal(query_decode_segment((struct str){NULL, 0}, &out), QUERY_FOUND);
	assert_int_equal(buf_len(&out), 0);
}

static void walks_repeated_keys_in_order(void **state)
{
	struct str rest = STR("path=a&x=1&path=%&path=b;c&path=d");
	struct buf out = {0};

	(void)state;
	assert_int_equal(query_next(&rest, "path", &out), QUERY_FOUND);
	assert_memory_equal(buf_data(&out), "a", 1);
	assert_int_equal(query_next(&rest, "path", &out), QUERY_BAD);
	assert_int_equal(buf_len(&out), 0);
	assert_int_equal(query_next(&rest, "path", &out), QUERY_FOUND);
	assert_memory_equal(buf_data(&out), "d", 1);
	assert_int_equal(query_next(&rest, "path", &out), QUERY_ABSENT);
	assert_int_equal(query_next(&rest, "path", &out), QUERY_ABSENT);
	buf_fini(&out);
}

static void decodes_path_segments_without_the_plus_rule(void **state)
{
	static const struct {
		const char *raw;
		enum query_result result;
		const char *value;
	} rows[] = {
		{"abc", QUERY_FOUND, "abc"},
		{"a+b", QUERY_FOUND, "a+b"},
		{"a%20b%2Fc", QUERY_FOUND, "a b/c"},
		{"a;b&c=d", QUERY_FOUND, "a;b&c=d"},
		{"%00", QUERY_BAD, ""},
		{"%1", QUERY_BAD, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = {0};

		assert_int_equal(query_decode_segment(str_of(rows[i].raw), &out), rows[i].result);
		assert_int_equal(buf_len(&out), strlen(rows[i].value));
		assert_memory_equal(buf_data(&out), rows[i].value, strlen(rows[i].value));
		buf_fini(&out);
	}
}

static void says_when_memory_is_out(void **state)
{
	struct str rest = STR("path=abc");
	struct buf out = {0};

	(void)state;
	oom_after = 0;
	assert_int_equal(query_get(rest, "path", 0, &out), QUERY_NO_MEM);
	assert_int_equal(query_next(&rest, "path", &out), QUERY_NO_MEM);
	assert_int_equal(query_decode_segment(STR("abc"), &out), QUERY_NO_MEM);
	oom_after = -1;
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_value_that_was_asked_for),
		cmocka_unit_test(an_absent_query_holds_nothing),
		cmocka_unit_test(walks_repeated_keys_in_order),
		cmocka_unit_test(decodes_path_segments_without_the_plus_rule),
		cmocka_unit_test(says_when_memory_is_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
