/* range: the grammar of RFC 9110 14.2 row by row, and what makes a server send the whole file. */
#include "boxd/range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RANGES_MAX 4

#define HUGE_SIZE UINT64_MAX
#define LAST_BYTE (UINT64_MAX - 1)

static const struct row {
	const char *value;
	uint64_t size;
	enum range_result result;
	size_t n;
	struct range ranges[RANGES_MAX];
} rows[] = {
	/* one range */
	{"bytes=0-9", 100, RANGE_SOME, 1, {{0, 9}}},
	{"bytes=0-0", 100, RANGE_SOME, 1, {{0, 0}}},
	{"bytes=99-99", 100, RANGE_SOME, 1, {{99, 99}}},
	{"bytes=0-99", 100, RANGE_SOME, 1, {{0, 99}}},
	{"bytes=0-100", 100, RANGE_SOME, 1, {{0, 99}}},
	{"bytes=10-", 100, RANGE_SOME, 1, {{10, 99}}},
	{"bytes=99-", 100, RANGE_SOME, 1, {{99, 99}}},
	{"bytes=0-", 1, RANGE_SOME, 1, {{0, 0}}},
	{"bytes=-1", 100, RANGE_SOME, 1, {{99, 99}}},
	{"bytes=-99", 100, RANGE_SOME, 1, {{1, 99}}},
	{"bytes=-100", 100, RANGE_SOME, 1, {{0, 99}}},
	{"bytes=-101", 100, RANGE_SOME, 1, {{0, 99}}},
	{"bytes=00000000000000000000000000000001-0000000000000000000000000000003", 100, RANGE_SOME,
		1, {{1, 3}}},
	{"BYTES=5-6", 100, RANGE_SOME, 1, {{5, 6}}},
	/* several */
	{"bytes=0-1,4-5", 100, RANGE_SOME, 2, {{0, 1}, {4, 5}}},
	{"bytes=4-5,0-1", 100, RANGE_SOME, 2, {{4, 5}, {0, 1}}},
	{"bytes=0-1 ,\t4-5, -2", 100, RANGE_SOME, 3, {{0, 1}, {4, 5}, {98, 99}}},
	{"bytes=,0-1,, ,4-5,", 100, RANGE_SOME, 2, {{0, 1}, {4, 5}}},
	{"bytes=0-0,0-0", 100, RANGE_SOME, 2, {{0, 0}, {0, 0}}},
	{"bytes=200-300,4-5", 100, RANGE_SOME, 1, {{4, 5}}},
	{"bytes=4-5,-0,100-", 100, RANGE_SOME, 1, {{4, 5}}},
	{"bytes=0-0,1-1,2-2,3-3", 100, RANGE_SOME, 4, {{0, 0}, {1, 1}, {2, 2}, {3, 3}}},
	/* together as long as the file, and a byte longer */
	{"bytes=0-49,50-99", 100, RANGE_SOME, 2, {{0, 49}, {50, 99}}},
	{"bytes=0-49,49-99", 100, RANGE_WHOLE, 0, {{0}}},
	{"bytes=0-,-1", 100, RANGE_WHOLE, 0, {{0}}},
	{"bytes=0-,0-", 100, RANGE_WHOLE, 0, {{0}}},
	{"bytes=0-,0-", HUGE_SIZE, RANGE_WHOLE, 0, {{0}}},
	{"bytes=0-9223372036854775807,-9223372036854775807", HUGE_SIZE, RANGE_SOME, 2,
		{{0, INT64_MAX}, {INT64_MAX + UINT64_C(1), LAST_BYTE}}},
	{"bytes=0-9223372036854775807,-9223372036854775808", HUGE_SIZE, RANGE_WHOLE, 0, {{0}}},
	/* too many; those outside the file count too */
	{"bytes=0-0,1-1,2-2,3-3,4-4", 100, RANGE_WHOLE, 0, {{0}}},
	{"bytes=0-0,1-1,2-2,3-3,200-", 100, RANGE_WHOLE, 0, {{0}}},
	{"bytes=200-,200-,200-,200-,200-", 100, RANGE_WHOLE, 0, {{0}}},
	{"bytes=200-,200-,200-,200-", 100, RANGE_NONE, 0, {{0}}},
	/* an empty file */
	{"bytes=0-", 0, RANGE_WHOLE, 0, {{0}}},
	{"bytes=-1", 0, RANGE_WHOLE, 0, {{0}}},
	{"bytes=-0", 0, RANGE_WHOLE, 0, {{0}}},
	{"bytes=5-9", 0, RANGE_WHOLE, 0, {{0}}},
	{"bytes=9-5", 0, RANGE_BAD, 0, {{0}}},
	/* nothing of it is there */
	{"bytes=100-", 100, RANGE_NONE, 0, {{0}}},
	{"bytes=100-200", 100, RANGE_NONE, 0, {{0}}},
	{"bytes=-0", 100, RANGE_NONE, 0, {{0}}},
	{"bytes=100-,-0,555-556", 100, RANGE_NONE, 0, {{0}}},
	/* numbers beyond 64 bits */
	{"bytes=0-18446744073709551615", 100, RANGE_SOME, 1, {{0, 99}}},
	{"bytes=0-18446744073709551616", 100, RANGE_SOME, 1, {{0, 99}}},
	{"bytes=0-18446744073709551626", 5, RANGE_SOME, 1, {{0, 4}}},
	{"bytes=18446744073709551616-", 100, RANGE_NONE, 0, {{0}}},
	{"bytes=18446744073709551617-18446744073709551618", HUGE_SIZE, RANGE_NONE, 0, {{0}}},
	{"bytes=18446744073709551614-", HUGE_SIZE, RANGE_SOME, 1, {{LAST_BYTE, LAST_BYTE}}},
	{"bytes=18446744073709551615-", HUGE_SIZE, RANGE_NONE, 0, {{0}}},
	{"bytes=-99999999999999999999999999999999", 100, RANGE_SOME, 1, {{0, 99}}},
	{"bytes=99999999999999999999-5", 100, RANGE_BAD, 0, {{0}}},
	/* not a field about bytes */
	{"", 100, RANGE_WHOLE, 0, {{0}}},
	{"bytes", 100, RANGE_WHOLE, 0, {{0}}},
	{"bytes 0-9", 100, RANGE_WHOLE, 0, {{0}}},
	{"byte=0-9", 100, RANGE_WHOLE, 0, {{0}}},
	{"bytess=0-9", 100, RANGE_WHOLE, 0, {{0}}},
	{"lines=0-9", 100, RANGE_WHOLE, 0, {{0}}},
	{"0-9", 100, RANGE_WHOLE, 0, {{0}}},
	/* malformed */
	{"bytes=", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=,", 100, RANGE_BAD, 0, {{0}}},
	{"bytes= , ,", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=-", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=5", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=5-4", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=abc", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0-9x", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=x0-9", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0x0-9", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=+0-9", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0-+9", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=--9", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0--9", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0-9-", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0 - 9", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0-9 10-19", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0-9;10-19", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0-1,bytes=2-3", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=\"0-1\"", 100, RANGE_BAD, 0, {{0}}},
	/* a mistake behind anything else */
	{"bytes=0-1,5-4", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=200-,x", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0-,0-,x", 100, RANGE_BAD, 0, {{0}}},
	{"bytes=0-0,1-1,2-2,3-3,4-4,x", 100, RANGE_BAD, 0, {{0}}},
};

static void check(const struct row *r)
{
	size_t len = strlen(r->value), n = 99;
	char *exact = malloc(len > 0 ? len : 1);
	struct range *out = malloc(RANGES_MAX * sizeof(*out));
	enum range_result result;

	assert_non_null(exact);
	assert_non_null(out);
	memcpy(exact, r->value, len);
	result = range_parse((struct str){exact, len}, r->size, out, RANGES_MAX, &n);
	if (result != r->result || n != r->n || memcmp(out, r->ranges, n * sizeof(*out)) != 0)
		fail_msg("%s of %llu: %d, %zu ranges, the first %llu-%llu", r->value,
			(unsigned long long)r->size, result, n,
			n > 0 ? (unsigned long long)out[0].first : 0,
			n > 0 ? (unsigned long long)out[0].last : 0);
	free(exact);
	free(out);
}

static void reads_the_field_and_fits_it_to_the_file(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(&rows[i]);
}

static void the_callers_maximum_counts(void **state)
{
	struct range out[1];
	size_t n;

	(void)state;
	assert_int_equal(range_parse(STR("bytes=0-0,1-1"), 9, out, 1, &n), RANGE_WHOLE);
	assert_int_equal(n, 0);
	assert_int_equal(range_parse(STR("bytes=1-1"), 9, out, 1, &n), RANGE_SOME);
	assert_int_equal(n, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_field_and_fits_it_to_the_file),
		cmocka_unit_test(the_callers_maximum_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
