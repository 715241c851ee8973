/* str: numbers and lists as they come in header fields and queries. */
#include "boxd/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static void a_number_is_digits_that_fit(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t value;
	} rows[] = {
		{"0", true, 0},
		{"7", true, 7},
		{"007", true, 7},
		{"18446744073709551615", true, UINT64_MAX},
		{"018446744073709551615", true, UINT64_MAX},
		{"18446744073709551616", false, 0},
		{"18446744073709551620", false, 0},
		{"99999999999999999999999", false, 0},
		{"", false, 0},
		{"-1", false, 0},
		{"+1", false, 0},
		{" 1", false, 0},
		{"1 ", false, 0},
		{"1.0", false, 0},
		{"0x10", false, 0},
		{"1e3", false, 0},
		{"\xb2", false, 0},
		{"/", false, 0},
		{":", false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t value = 42;

		print_message("\"%s\"\n", rows[i].text);
		assert_int_equal(str_u64(str_of(rows[i].text), &value), rows[i].ok);
		assert_true(value == (rows[i].ok ? rows[i].value : 42));
	}
	assert_false(str_u64((struct str){NULL, 0}, &(uint64_t){0}));
}

static void a_number_ends_where_its_run_of_bytes_ends(void **state)
{
	char *exact = malloc(2);
	uint64_t value;

	(void)state;
	assert_non_null(exact);
	memcpy(exact, "12", 2);
	assert_true(str_u64((struct str){exact, 2}, &value));
	assert_int_equal(value, 12);
	assert_true(str_u64((struct str){exact, 1}, &value));
	assert_int_equal(value, 1);
	free(exact);
}

static void a_copy_ends_in_nul_and_keeps_every_byte(void **state)
{
	char *copy = str_dup((struct str){"a\0b", 3});
	char *empty = str_dup((struct str){NULL, 0});

	(void)state;
	assert_non_null(copy);
	assert_memory_equal(copy, "a\0b", 4);
	assert_non_null(empty);
	assert_string_equal(empty, "");
	free(copy);
	free(empty);
}

static void comparing_looks_at_length_and_bytes(void **state)
{
	(void)state;
	assert_true(str_eq(STR("ab"), STR("ab")));
	assert_false(str_eq(STR("ab"), STR("AB")));
	assert_false(str_eq(STR("ab"), STR("abc")));
	assert_true(str_eq((struct str){NULL, 0}, STR("")));
	assert_true(str_ieq(STR("Content-Type"), STR("content-type")));
	assert_false(str_ieq(STR("a"), STR("b")));
	assert_true(str_ieq((struct str){NULL, 0}, STR("")));
}

static void a_list_gives_its_elements_without_space(void **state)
{
	static const struct {
		const char *field;
		const char *joined; /* the elements, each followed by | */
	} rows[] = {
		{"", ""},
		{"a", "a|"},
		{"a,b", "a|b|"},
		{" a , b ", "a|b|"},
		{"\ta\t,\tb\t", "a|b|"},
		{",,a,,b,,", "a|b|"},
		{" , ,", ""},
		{"a b , c", "a b|c|"},
		{"x=\"1,2\", y", "x=\"1,2\"|y|"},
		{"x=\"1\\\",2\", y", "x=\"1\\\",2\"|y|"},
		{"\"open, b", "\"open, b|"},
		{"\"open\\", "\"open\\|"},
		{"text/html;q=0.8, */*", "text/html;q=0.8|*/*|"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t n = strlen(rows[i].field);
		char *exact = malloc(n + (n == 0));
		struct str rest = {exact, n};
		struct str element;
		char joined[64];
		size_t used = 0;

		print_message("\"%s\"\n", rows[i].field);
		assert_non_null(exact);
		memcpy(exact, rows[i].field, n);
		while (str_list_next(&rest, &element)) {
			assert_true(element.n > 0 && used + element.n + 1 < sizeof(joined));
			memcpy(joined + used, element.p, element.n);
			used += element.n;
			joined[used++] = '|';
		}
		joined[used] = '\0';
		assert_string_equal(joined, rows[i].joined);
		assert_int_equal(rest.n, 0);
		free(exact);
	}
}

static void a_hexadecimal_digit_has_a_value_and_no_other_byte_has(void **state)
{
	static const char digits[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";

	(void)state;
	for (int c = -1; c < 256; c++) {
		const char *low = c > 0 ? strchr(digits, c) : NULL;
		const char *up = c > 0 ? strchr(upper, c) : NULL;
		int want = low != NULL ? (int)(low - digits) : up != NULL ? (int)(up - upper) : -1;

		assert_int_equal(str_hex_digit(c), want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_is_digits_that_fit),
		cmocka_unit_test(a_number_ends_where_its_run_of_bytes_ends),
		cmocka_unit_test(a_copy_ends_in_nul_and_keeps_every_byte),
		cmocka_unit_test(comparing_looks_at_length_and_bytes),
		cmocka_unit_test(a_list_gives_its_elements_without_space),
		cmocka_unit_test(a_hexadecimal_digit_has_a_value_and_no_other_byte_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
