/* json: what is a body, what is refused, and what a handler gets. */
#include "boxd/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/buf.h"
#include "boxd/limits.h"

/* Parses from an exactly sized heap copy: the sanitizer sees a look past the end. */
static struct json *parse_n(const char *text, size_t n, struct err *e)
{
	uint8_t *exact = malloc(n + (n == 0));
	struct json *root;

	assert_non_null(exact);
	memcpy(exact, text, n);
	memset(e, 0, sizeof(*e));
	root = json_parse(exact, n, e);
	free(exact);
	assert_true((root == NULL) == (e->kind != NULL));
	return root;
}

static struct json *parse(const char *text)
{
	struct err e;
	struct json *root = parse_n(text, strlen(text), &e);

	if (root == NULL)
		print_error("%s\n", e.msg);
	assert_non_null(root);
	return root;
}

#define ROW(text, message)                          \
	{                                           \
		(text), sizeof(text) - 1, (message) \
	}

static void refuses_what_is_not_json_and_says_why(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		const char *message;
	} rows[] = {
		ROW("", "the body is empty"),
		ROW(" \t\r\n", "the body is empty"),
		ROW("{", "the end inside a value at byte 1"),
		ROW("[1, ", "the end inside a value at byte 4"),
		ROW("{\"a\"", "the end inside a value at byte 4"),
		ROW("{\"a\":", "the end inside a value at byte 5"),
		ROW("\"abc", "the end inside a string at byte 4"),
		ROW("\"abc\\", "an unknown escape at byte 4"),
		ROW("\"\\u12", "a broken \\u escape at byte 1"),
		ROW("\"\\u12g4\"", "a broken \\u escape at byte 1"),
		ROW("\"\\x41\"", "an unknown escape at byte 1"),
		ROW("\"\\\0\"", "an unknown escape at byte 1"),
		ROW("\"a\0b\"", "a NUL in a string at byte 2"),
		ROW("{\"a\0b\":1}", "a NUL in a string at byte 3"),
		ROW("\"a\\u0000b\"", "a NUL in a string at byte 2"),
		ROW("\"a\nb\"", "a raw control character in a string at byte 2"),
		ROW("\"\x1f\"", "a raw control character in a string at byte 1"),
		ROW("tru", "an unknown word at byte 0"),
		ROW("nulL", "an unknown word at byte 0"),
		ROW("True", "an unexpected character at byte 0"),
		ROW("NaN", "an unexpected character at byte 0"),
		ROW("'a'", "an unexpected character at byte 0"),
		ROW("\xef\xbb\xbf{}", "an unexpected character at byte 0"),
		ROW("\0", "an unexpected character at byte 0"),
		ROW("\v1", "an unexpected character at byte 0"),
		ROW("-", "a broken number at byte 1"),
		ROW("+1", "an unexpected character at byte 0"),
		ROW(".5", "an unexpected character at byte 0"),
		ROW("1.", "a broken number at byte 2"),
		ROW("1e", "a broken number at byte 2"),
		ROW("1e+", "a broken number at byte 3"),
		ROW("-x", "a broken number at byte 1"),
		ROW("[01]", "an unexpected character at byte 2"),
		ROW("[1 2]", "an unexpected character at byte 3"),
		ROW("[1,]", "an unexpected character at byte 3"),
		ROW("[,1]", "an unexpected character at byte 1"),
		ROW("[1}", "an unexpected character at byte 2"),
		ROW("{\"a\":1]", "an unexpected character at byte 6"),
		ROW("{\"a\":1,}", "something else than a key at byte 7"),
		ROW("{a:1}", "something else than a key at byte 1"),
		ROW("{1:1}", "something else than a key at byte 1"),
		ROW("{\"a\" 1}", "something else than a colon at byte 5"),
		ROW("{\"a\":}", "an unexpected character at byte 5"),
		ROW("/* */ 1", "an unexpected character at byte 0"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct err e;

		print_message("%s\n", rows[i].text);
		assert_null(parse_n(rows[i].text, rows[i].n, &e));
		assert_ptr_equal(e.kind, &ERR_BAD_BODY);
		assert_non_null(strstr(e.msg, rows[i].message));
	}
}

static void no_prefix_of_a_document_is_a_document(void **state)
{
	static const char text[] = " {\"a\": [1, -2.5e+3, true, false, null, "
				   "\"x\\\"\\u00e9\\ud83d\\ude00\"], \"b\": {}}";
	struct err e;

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++)
		assert_null(parse_n(text, n, &e));
	json_free(parse(text));
}

static void a_bare_value_may_end_where_the_bytes_end(void **state)
{
	static const char *const rows[] = {"0", "-0", "7", "123456", "1.5", "1e5", "true", "false",
		"null", "\"\"", "\"x\"", "[]", "{}", "[1]"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		print_message("%s\n", rows[i]);
		json_free(parse(rows[i]));
	}
}

static void bytes_after_the_first_value_are_not_looked_at(void **state)
{
	struct json *root = parse("{\"a\":\"b\"} garbage \"\\u0000");
	const char *text = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(json_get_str(root, "a", &text, &e), 0);
	assert_string_equal(text, "b");
	json_free(root);
	json_free(parse("[] ]"));
	json_free(parse("\"a\"\"b\""));
}

static void a_whole_document_has_only_white_space_after_it(void **state)
{
	static const struct {
		const char *text;
		bool ok;
	} rows[] = {{"{} \r\n\t", true}, {"{}", true}, {" 1 ", true}, {"{}x", false},
		{"{} {}", false}, {"1,", false}, {"", false}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct err e = {0};
		struct json *root = json_parse_whole(
			(const uint8_t *)rows[i].text, strlen(rows[i].text), &e);

		print_message("%s\n", rows[i].text);
		assert_int_equal(root != NULL, rows[i].ok);
		json_free(root);
	}
}

static void strings_come_decoded(void **state)
{
	static const struct {
		const char *text, *value;
	} rows[] = {
		{"\"\"", ""},
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
		{"\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac"},
		{"\"\\uD83D\\uDE00\"", "\xf0\x9f\x98\x80"},
		{"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
		{"\"\x7f\xff\xc3\xa9\"", "\x7f\xff\xc3\xa9"},
		{"\"\\u0001\\u001f\"", "\x01\x1f"},
		{"\"\\\\u0000\"", "\\u0000"},
		/* Halves of surrogate pairs. */
		{"\"a\\ud83db\"", "a\xef\xbf\xbd"
				  "b"},
		{"\"\\ude00\"", "\xef\xbf\xbd"},
		{"\"\\ud83d\"", "\xef\xbf\xbd"},
		{"\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
				       "A"},
		{"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
		{"\"\\ude00\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\"\\ud83d\\n\"", "\xef\xbf\xbd\n"},
		{"\"\\ud83d\\\\ude00\"", "\xef\xbf\xbd\\ude00"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct json *root;

		print_message("%s\n", rows[i].text);
		root = parse(rows[i].text);
		assert_string_equal(json_str(root), rows[i].value);
		json_free(root);
	}
}

static void replacing_a_surrogate_does_not_touch_the_callers_bytes(void **state)
{
	const char text[] = "[\"\\ud83d\"]";
	uint8_t bytes[sizeof(text)];
	struct err e = {0};
	struct json *root;

	(void)state;
	memcpy(bytes, text, sizeof(text));
	root = json_parse(bytes, sizeof(text) - 1, &e);
	assert_non_null(root);
	assert_memory_equal(bytes, text, sizeof(text));
	json_free(root);
}

static struct json *nested(size_t depth, bool objects, struct err *e)
{
	struct buf b = {0};
	struct json *root;

	for (size_t i = 0; i < depth; i++)
		assert_int_equal(buf_add_str(&b, objects ? "{\"k\":" : "["), 0);
	if (objects)
		assert_int_equal(buf_add_str(&b, "1"), 0);
	for (size_t i = 0; i < depth; i++)
		assert_int_equal(buf_add_str(&b, objects ? "}" : "]"), 0);
	root = parse_n((const char *)buf_data(&b), buf_len(&b), e);
	buf_fini(&b);
	return root;
}

static void nesting_stops_at_the_limit(void **state)
{
	const struct limit_row *row = &limit_rows[LIMIT_JSON_DEPTH];
	const int64_t depths[] = {row->min, row->def, row->max};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		size_t depth = (size_t)depths[i];

		assert_true(limit_set(LIMIT_JSON_DEPTH, depths[i]));
		for (int objects = 0; objects < 2; objects++) {
			struct err e;
			struct json *root = nested(depth, objects == 1, &e);

			assert_non_null(root);
			json_free(root);
			assert_null(nested(depth + 1, objects == 1, &e));
			assert_ptr_equal(e.kind, &ERR_BAD_BODY);
			assert_non_null(strstr(e.msg, "nested deeper"));
			assert_null(nested(depth + 100000, objects == 1, &e));
		}
	}
	assert_true(limit_set(LIMIT_JSON_DEPTH, row->def));
}

static void siblings_do_not_count_as_depth(void **state)
{
	struct buf b = {0};
	struct err e;
	struct json *root;

	(void)state;
	assert_int_equal(buf_add_str(&b, "[0"), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_add_str(&b, ",[{}],{\"a\":[]}"), 0);
	assert_int_equal(buf_add_str(&b, "]"), 0);
	root = parse_n((const char *)buf_data(&b), buf_len(&b), &e);
	assert_non_null(root);
	json_free(root);
	buf_fini(&b);
}

static void the_number_of_values_stops_at_the_limit(void **state)
{
	struct json *root;
	struct buf b = {0};
	struct err e;

	(void)state;
	assert_true(limit_set(LIMIT_JSON_VALUES, 100));
	assert_int_equal(buf_add_str(&b, "[0"), 0); /* the array and 99 elements */
	for (int i = 0; i < 98; i++)
		assert_int_equal(buf_add_str(&b, ",0"), 0);
	assert_int_equal(buf_add_str(&b, "]"), 0);
	root = parse_n((const char *)buf_data(&b), buf_len(&b), &e);
	assert_non_null(root);
	json_free(root);

	b.tail--;
	assert_int_equal(buf_add_str(&b, ",0]"), 0);
	assert_null(parse_n((const char *)buf_data(&b), buf_len(&b), &e));
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	assert_non_null(strstr(e.msg, "more than 100 values"));
	buf_fini(&b);
	assert_true(limit_set(LIMIT_JSON_VALUES, limit_rows[LIMIT_JSON_VALUES].def));
}

static void a_number_has_at_most_63_characters(void **state)
{
	char text[70];
	struct json *root;
	struct err e;

	(void)state;
	for (size_t n = 60; n <= 63; n++) {
		memset(text, '7', n);
		root = parse_n(text, n, &e);
		assert_non_null(root);
		json_free(root);
	}
	memset(text, '7', 64);
	assert_null(parse_n(text, 64, &e));
	assert_non_null(strstr(e.msg, "too many digits"));
}

static void keys_match_without_case_and_the_last_one_wins(void **state)
{
	struct json *root = parse("{\"Cwd\":\"a\",\"x\":1,\"CWD\":\"b\",\"cwd2\":\"c\"}");
	const char *text = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(json_get_str(root, "cwd", &text, &e), 0);
	assert_string_equal(text, "b");
	assert_null(json_get(root, "cw"));
	json_free(root);
	root = parse("{\"a\":\"x\",\"a\":null}");
	assert_null(json_get(root, "a"));
	json_free(root);
}

static void null_and_absent_leave_the_default(void **state)
{
	struct json *root = parse("{\"s\":null,\"b\":null,\"i\":null}");
	const char *text = "default";
	bool flag = true;
	int64_t number = 42;
	struct err e = {0};

	(void)state;
	assert_int_equal(json_get_str(root, "s", &text, &e), 0);
	assert_int_equal(json_get_str(root, "t", &text, &e), 0);
	assert_int_equal(json_get_bool(root, "b", &flag, &e), 0);
	assert_int_equal(json_get_int(root, "i", 0, 9, &number, &e), 0);
	assert_string_equal(text, "default");
	assert_true(flag);
	assert_int_equal(number, 42);
	assert_null(e.kind);
	json_free(root);

	root = parse("null"); /* a body that is null has no members */
	assert_true(json_is_null(root));
	assert_int_equal(json_get_str(root, "s", &text, &e), 0);
	assert_string_equal(text, "default");
	json_free(root);
}

static void a_member_of_the_wrong_type_is_named_and_not_repeated(void **state)
{
	static const char *const values[] = {"\"hush\"", "7.5", "true", "[]", "{}"};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		const char *s = "kept";
		bool b = true;
		int64_t n = 42;
		struct err es = {0}, eb = {0}, en = {0};
		char text[64];
		struct json *root;

		snprintf(text, sizeof(text), "{\"Field\":%s}", values[i]);
		print_message("%s\n", text);
		root = parse(text);
		if (i != 0) {
			assert_int_equal(json_get_str(root, "field", &s, &es), -1);
			assert_string_equal(es.msg, "field must be a string");
			assert_ptr_equal(es.kind, &ERR_BAD_BODY);
		}
		if (i != 2) {
			assert_int_equal(json_get_bool(root, "field", &b, &eb), -1);
			assert_string_equal(eb.msg, "field must be true or false");
			assert_ptr_equal(eb.kind, &ERR_BAD_BODY);
		}
		assert_int_equal(json_get_int(root, "field", 0, 9, &n, &en), -1);
		assert_string_equal(en.msg, "field must be an integer from 0 to 9");
		assert_ptr_equal(en.kind, &ERR_BAD_BODY);
		assert_string_equal(s, "kept");
		assert_true(b);
		assert_int_equal(n, 42);
		json_free(root);
	}
}

static void integers_are_exact_or_refused(void **state)
{
	static const struct {
		const char *text;
		int64_t min, max;
		bool ok;
		int64_t value;
	} rows[] = {
		{"0", 0, 9, true, 0},
		{"-0", 0, 9, true, 0},
		{"9", 0, 9, true, 9},
		{"10", 0, 9, false, 0},
		{"-1", 0, 9, false, 0},
		{"-1", -1, 9, true, -1},
		{"1e3", 0, 1000, true, 1000},
		{"1000.0", 0, 1000, true, 1000},
		{"1.5", 0, 9, false, 0},
		{"0.1", 0, 9, false, 0},
		{"1e999", 0, INT64_MAX, false, 0},
		{"-1e999", INT64_MIN, 0, false, 0},
		{"9007199254740991", 0, INT64_MAX, true, 9007199254740991},
		{"9007199254740992", 0, INT64_MAX, false, 0},
		{"9007199254740993", 0, INT64_MAX, false, 0},
		{"-9007199254740991", INT64_MIN, 0, true, -9007199254740991},
		{"-9007199254740993", INT64_MIN, 0, false, 0},
		{"9223372036854775807", 0, INT64_MAX, false, 0},
		{"4294967295", 0, UINT32_MAX, true, UINT32_MAX},
		{"4294967296", 0, UINT32_MAX, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct err e = {0};
		struct json *root;
		int64_t value = 42;
		char text[64];
		int rc;

		snprintf(text, sizeof(text), "{\"n\":%s}", rows[i].text);
		print_message("%s\n", text);
		root = parse(text);
		rc = json_get_int(root, "n", rows[i].min, rows[i].max, &value, &e);
		assert_int_equal(rc, rows[i].ok ? 0 : -1);
		assert_true(value == (rows[i].ok ? rows[i].value : 42));
		json_free(root);
	}
}

static void children_come_in_order_with_their_keys(void **state)
{
	struct json *root = parse("{\"a\":[\"x\",\"y\"],\"b\":{},\"c\":[]}");
	const struct json *v = json_first(root);
	const struct json *item;

	(void)state;
	assert_true(json_is_object(root));
	assert_false(json_is_array(root));
	assert_null(json_key(root));
	assert_string_equal(json_key(v), "a");
	assert_true(json_is_array(v));
	item = json_first(v);
	assert_null(json_key(item));
	assert_string_equal(json_str(item), "x");
	item = json_next(item);
	assert_string_equal(json_str(item), "y");
	assert_null(json_next(item));
	v = json_next(v);
	assert_string_equal(json_key(v), "b");
	assert_null(json_first(v));
	v = json_next(v);
	assert_null(json_first(v));
	assert_null(json_next(v));
	json_free(root);
}

static void questions_about_the_wrong_kind_of_value_answer_no(void **state)
{
	struct json *root = parse("\"text\"");

	(void)state;
	assert_false(json_is_object(NULL));
	assert_false(json_is_array(NULL));
	assert_false(json_is_null(NULL));
	assert_null(json_str(NULL));
	assert_null(json_get(root, "a"));
	assert_null(json_first(root));
	assert_null(json_next(root));
	json_free(root);
	json_free(NULL);
}

static void children_are_counted(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} cases[] = {{"[]", 0}, {"{}", 0}, {"[1,[2,3],null]", 3}, {"{\"a\":1,\"b\":{}}", 2},
		{"\"text\"", 0}, {"7", 0}, {"null", 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err e = {0};
		struct json *root = json_parse(
			(const uint8_t *)cases[i].text, strlen(cases[i].text), &e);

		assert_non_null(root);
		assert_int_equal(json_count(root), cases[i].n);
		json_free(root);
	}
	assert_int_equal(json_count(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(children_are_counted),
		cmocka_unit_test(refuses_what_is_not_json_and_says_why),
		cmocka_unit_test(no_prefix_of_a_document_is_a_document),
		cmocka_unit_test(a_bare_value_may_end_where_the_bytes_end),
		cmocka_unit_test(bytes_after_the_first_value_are_not_looked_at),
		cmocka_unit_test(a_whole_document_has_only_white_space_after_it),
		cmocka_unit_test(strings_come_decoded),
		cmocka_unit_test(replacing_a_surrogate_does_not_touch_the_callers_bytes),
		cmocka_unit_test(nesting_stops_at_the_limit),
		cmocka_unit_test(siblings_do_not_count_as_depth),
		cmocka_unit_test(the_number_of_values_stops_at_the_limit),
		cmocka_unit_test(a_number_has_at_most_63_characters),
		cmocka_unit_test(keys_match_without_case_and_the_last_one_wins),
		cmocka_unit_test(null_and_absent_leave_the_default),
		cmocka_unit_test(a_member_of_the_wrong_type_is_named_and_not_repeated),
		cmocka_unit_test(integers_are_exact_or_refused),
		cmocka_unit_test(children_come_in_order_with_their_keys),
		cmocka_unit_test(questions_about_the_wrong_kind_of_value_answer_no),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
