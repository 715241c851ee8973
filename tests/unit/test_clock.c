/* clock: dates against the C library, and the seam. */
#include "boxd/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define YEAR_0    INT64_C(-62167219200000)
#define YEAR_9999 INT64_C(253402300799999)

static void known_instants_have_their_known_text(void **state)
{
	static const struct {
		int64_t ms;
		const char *rfc3339, *http;
	} rows[] = {
		{0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
		{-1, "1969-12-31T23:59:59.999Z", "Wed, 31 Dec 1969 23:59:59 GMT"},
		{784111777000, "1994-11-06T08:49:37.000Z", "Sun, 06 Nov 1994 08:49:37 GMT"},
		{951782400001, "2000-02-29T00:00:00.001Z", "Tue, 29 Feb 2000 00:00:00 GMT"},
		{1795179900123, "2026-11-20T13:05:00.123Z", "Fri, 20 Nov 2026 13:05:00 GMT"},
		{4107542400000, "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 GMT"},
		{YEAR_0, "0000-01-01T00:00:00.000Z", "Sat, 01 Jan 0000 00:00:00 GMT"},
		{YEAR_9999, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT"},
		{YEAR_0 - 1, "0000-01-01T00:00:00.000Z", "Sat, 01 Jan 0000 00:00:00 GMT"},
		{YEAR_9999 + 1, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT"},
		{INT64_MIN, "0000-01-01T00:00:00.000Z", "Sat, 01 Jan 0000 00:00:00 GMT"},
		{INT64_MAX, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char rfc3339[CLOCK_RFC3339_LEN + 1];
		char http[CLOCK_HTTP_DATE_LEN + 1];

		clock_rfc3339(rows[i].ms, rfc3339);
		clock_http_date(rows[i].ms, http);
		assert_string_equal(rfc3339, rows[i].rfc3339);
		assert_string_equal(http, rows[i].http);
	}
}

/* Both texts of one instant, compared with gmtime_r(3). */
static void check_instant(int64_t ms)
{
	char got[CLOCK_RFC3339_LEN + 1], http[CLOCK_HTTP_DATE_LEN + 1];
	char want[64], text[128];
	time_t seconds = (time_t)(ms / 1000 - (ms % 1000 < 0));
	struct tm tm;

	assert_non_null(gmtime_r(&seconds, &tm));
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
		tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		(int)(ms - (int64_t)seconds * 1000));
	clock_rfc3339(ms, got);
	assert_string_equal(got, text);
	strftime(want, sizeof(want), "%a, %d %b ", &tm);
	snprintf(text, sizeof(text), "%s%04d %02d:%02d:%02d GMT", want, tm.tm_year + 1900,
		tm.tm_hour, tm.tm_min, tm.tm_sec);
	clock_http_date(ms, http);
	assert_string_equal(http, text);
}

static void every_day_agrees_with_the_c_library(void **state)
{
	(void)state;
	for (int64_t day = 0; day < (YEAR_9999 - YEAR_0) / 86400000; day += 13)
		check_instant(YEAR_0 + day * 86400000 + day * 7654321 % 86400000);
	/* Day by day over the turns of the leap year rules. */
	for (int64_t day = -2300; day < 2300; day++) {
		check_instant(INT64_C(951782400000) + day * 86400000);      /* 2000 */
		check_instant(INT64_C(4107456000000) + day * 86400000 - 1); /* 2100 */
	}
}

static void times_of_files_have_nanoseconds(void **state)
{
	static const struct {
		int64_t s;
		uint32_t ns;
		const char *text;
	} cases[] = {
		{0, 0, "1970-01-01T00:00:00.000000000Z"},
		{1795179900, 123456789, "2026-11-20T13:05:00.123456789Z"},
		{-1, 999999999, "1969-12-31T23:59:59.999999999Z"},
		{253402300799, 1, "9999-12-31T23:59:59.000000001Z"},
		{INT64_MAX, 5, "9999-12-31T23:59:59.000000005Z"},
		{INT64_MIN, 0, "0000-01-01T00:00:00.000000000Z"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[CLOCK_RFC3339_NS_LEN + 1];

		clock_rfc3339_ns(cases[i].s, cases[i].ns, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void the_real_clocks_move_forward(void **state)
{
	int64_t us = clock_mono_us();

	(void)state;
	assert_true(us > 0);
	assert_true(clock_mono_us() >= us);
	assert_true(clock_mono_ms() >= us / 1000);
	assert_true(clock_real_ms() / 1000 - (int64_t)time(NULL) <= 1);
	assert_true((int64_t)time(NULL) - clock_real_ms() / 1000 <= 1);
}

static void a_fake_clock_stands_still_until_it_is_taken_away(void **state)
{
	(void)state;
	clock_fake(5000123, 1795179900123);
	assert_int_equal(clock_mono_us(), 5000123);
	assert_int_equal(clock_mono_ms(), 5000);
	assert_int_equal(clock_real_ms(), 1795179900123);
	clock_fake(0, -1);
	assert_int_equal(clock_mono_ms(), 0);
	assert_true(clock_real_ms() != 1795179900123);
	clock_fake(-1, -1);
	assert_true(clock_mono_us() > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_instants_have_their_known_text),
		cmocka_unit_test(every_day_agrees_with_the_c_library),
		cmocka_unit_test(times_of_files_have_nanoseconds),
		cmocka_unit_test(the_real_clocks_move_forward),
		cmocka_unit_test(a_fake_clock_stands_still_until_it_is_taken_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
