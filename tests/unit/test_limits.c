/* limits: every row of the table, at its bounds and one past them. */
#include "boxd/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <string.h>

static void every_row_starts_with_its_default(void **state)
{
	(void)state;
	for (int l = 0; l < LIMIT_COUNT_; l++) {
		const struct limit_row *row = &limit_rows[l];

		print_message("%s\n", row->name);
		assert_true(limit((enum limit)l) == row->def);
		assert_true(row->min >= 0 && row->min <= row->def && row->def <= row->max);
		/* What a JSON number holds exactly, and what limit_size() can return. */
		assert_true(row->max < INT64_C(1) << 53);
	}
}

static void every_row_takes_its_bounds_and_nothing_beyond(void **state)
{
	(void)state;
	for (int l = 0; l < LIMIT_COUNT_; l++) {
		const struct limit_row *row = &limit_rows[l];

		print_message("%s\n", row->name);
		assert_true(limit_set((enum limit)l, row->min));
		assert_true(limit((enum limit)l) == row->min);
		assert_false(limit_set((enum limit)l, row->min - 1));
		assert_true(limit((enum limit)l) == row->min);
		assert_true(limit_set((enum limit)l, row->max));
		assert_true(limit_size((enum limit)l) == (size_t)row->max);
		assert_false(limit_set((enum limit)l, row->max + 1));
		assert_true(limit((enum limit)l) == row->max);
		assert_true(limit_set((enum limit)l, row->def));
	}
}

static void a_row_is_found_by_its_name_in_any_case(void **state)
{
	(void)state;
	for (int l = 0; l < LIMIT_COUNT_; l++) {
		char lower[64] = "";

		for (size_t i = 0; limit_rows[l].name[i] != '\0'; i++)
			lower[i] = (char)tolower((unsigned char)limit_rows[l].name[i]);
		assert_int_equal(limit_find(limit_rows[l].name), l);
		assert_int_equal(limit_find(lower), l);
	}
	assert_int_equal(limit_find(""), LIMIT_COUNT_);
	assert_int_equal(limit_find("HTTP"), LIMIT_COUNT_);
	assert_int_equal(limit_find("HTTP_FIELDS "), LIMIT_COUNT_);
}

static void every_row_says_what_it_is_for_in_plain_table_cells(void **state)
{
	(void)state;
	for (int l = 0; l < LIMIT_COUNT_; l++) {
		assert_true(strlen(limit_rows[l].why) > 10);
		assert_null(strchr(limit_rows[l].why, '|'));
		assert_true(strlen(limit_rows[l].unit) > 0);
		assert_true(strlen(limit_rows[l].name) < 32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_starts_with_its_default),
		cmocka_unit_test(every_row_takes_its_bounds_and_nothing_beyond),
		cmocka_unit_test(a_row_is_found_by_its_name_in_any_case),
		cmocka_unit_test(every_row_says_what_it_is_for_in_plain_table_cells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
