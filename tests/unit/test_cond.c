/* cond: dates against the C library, lists of tags, and the order in which the fields count. */
#include "boxd/cond.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "boxd/clock.h"

#define NOV_6    784111777           /* Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110 */
#define NOW      1795179900          /* Fri, 20 Nov 2026 13:05:00 GMT */
#define NOW_2080 INT64_C(3500000000) /* Fri, 28 Nov 2080 22:13:20 GMT */
#define NOW_1971 INT64_C(50000000)
#define NO_DATE  INT64_MIN
#define ETAG     "\"1-2-3\""
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define ABSENT   ((struct str){NULL, 0})

/* ---- dates ---- */

/* Text without anything behind it, so that a sanitizer sees a read too far. */
static bool date_of(const char *text, int64_t *out)
{
	size_t n = strlen(text);
	char *exact = malloc(n > 0 ? n : 1);
	bool ok;

	assert_non_null(exact);
	memcpy(exact, text, n);
	ok = cond_date((struct str){exact, n}, out);
	free(exact);
	return ok;
}

static void reads_the_three_forms_of_a_date(void **state)
{
	static const struct {
		const char *text;
		int64_t expected;
	} rows[] = {
		{"Sun, 06 Nov 1994 08:49:37 GMT", NOV_6},
		{"Sunday, 06-Nov-94 08:49:37 GMT", NOV_6},
		{"Sun Nov  6 08:49:37 1994", NOV_6},
		{"Sun Nov 06 08:49:37 1994", NOV_6},
		{"Wed Nov 16 08:49:37 1994", NOV_6 + 10 * 86400},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
		{"Wed, 31 Dec 1969 23:59:59 GMT", -1},
		{"Sat, 01 Jan 0000 00:00:00 GMT", -62167219200},
		{"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
		{"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
		{"Thu, 29 Feb 2024 12:00:00 GMT", 1709208000},
		{"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800}, /* a leap second */
		{"Tue, 06 Nov 1994 08:49:37 GMT", NOV_6},      /* the weekday is wrong */
		/* not in the calendar or not on the clock */
		{"Wed, 29 Feb 2023 00:00:00 GMT", NO_DATE},
		{"Thu, 29 Feb 1900 00:00:00 GMT", NO_DATE},
		{"Sun, 00 Nov 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 31 Nov 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 32 Dec 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 31 Apr 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 31 Jun 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 31 Sep 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 06 Nov 1994 24:00:00 GMT", NO_DATE},
		{"Sun, 06 Nov 1994 08:60:00 GMT", NO_DATE},
		{"Sun, 06 Nov 1994 08:49:60 GMT", NO_DATE},
		{"Sun, 06 Nov 1994 23:49:60 GMT", NO_DATE},
		{"Sun, 06 Nov 1994 22:59:60 GMT", NO_DATE},
		{"Sun, 06 Nov 1994 23:59:61 GMT", NO_DATE},
		{"Sunday, 00-Nov-94 08:49:37 GMT", NO_DATE},
		/* not in the grammar */
		{"", NO_DATE},
		{"0", NO_DATE},
		{"784111777", NO_DATE},
		{"Sun", NO_DATE},
		{"Sun, 06 Nov 1994 08:49:37 GM", NO_DATE},
		{"Sun, 06 Nov 1994 08:49:37 GMT ", NO_DATE},
		{" Sun, 06 Nov 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 06 Nov 1994 08:49:37 UTC", NO_DATE},
		{"Sun, 06 Nov 1994 08:49:37 gmt", NO_DATE},
		{"Sun, 06 Nov 1994 08:49:37 +0000", NO_DATE},
		{"sun, 06 Nov 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 06 nov 1994 08:49:37 GMT", NO_DATE},
		{"Sux, 06 Nov 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 06 Nox 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 6 Nov 1994 08:49:37 GMT", NO_DATE},
		{"Sun,  6 Nov 1994 08:49:37 GMT", NO_DATE},
		{"Sun 06 Nov 1994 08:49:37 GMT", NO_DATE},
		{"Sun, 06 Nov 94 08:49:37 GMT", NO_DATE},
		{"Sun, 06 Nov 1994 8:49:37 GMT", NO_DATE},
		{"Sun, 06 Nov 1994 08:49 GMT", NO_DATE},
		{"Sun, 06 Nov -994 08:49:37 GMT", NO_DATE},
		{"Sunday, 06-Nov-1994 08:49:37 GMT", NO_DATE},
		{"Sunday, 06 Nov 94 08:49:37 GMT", NO_DATE},
		{"Sun, 06-Nov-94 08:49:37 GMT", NO_DATE},
		{"Sunday 06-Nov-94 08:49:37 GMT", NO_DATE},
		{"Sonday, 06-Nov-94 08:49:37 GMT", NO_DATE},
		{"Sun Nov 6 08:49:37 1994", NO_DATE},
		{"Sun Nov  6 08:49:37 1994 GMT", NO_DATE},
		{"Sun Nov  6 08:49:37 94", NO_DATE},
		{"Sun Nov   08:49:37 1994", NO_DATE},
		{"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", NO_DATE},
	};

	(void)state;
	clock_fake(-1, NOW * INT64_C(1000));
	for (size_t i = 0; i < COUNT(rows); i++) {
		int64_t got = NO_DATE;
		bool ok = date_of(rows[i].text, &got);

		if (ok != (rows[i].expected != NO_DATE) || got != rows[i].expected)
			fail_msg("%s: %d, %lld", rows[i].text, ok, (long long)got);
	}
	clock_fake(-1, -1);
}

static void a_year_of_two_digits_is_at_most_fifty_years_ahead(void **state)
{
	static const struct {
		int64_t now;
		const char *text, *means;
	} rows[] = {
		{NOW, "Friday, 20-Nov-26 13:05:00 GMT", "Fri, 20 Nov 2026 13:05:00 GMT"},
		{NOW, "Monday, 01-Jan-00 00:00:00 GMT", "Mon, 01 Jan 2000 00:00:00 GMT"},
		{NOW, "Monday, 01-Jan-70 00:00:00 GMT", "Mon, 01 Jan 2070 00:00:00 GMT"},
		{NOW, "Monday, 19-Nov-76 00:00:00 GMT", "Mon, 19 Nov 2076 00:00:00 GMT"},
		{NOW, "Monday, 22-Nov-76 00:00:00 GMT", "Mon, 22 Nov 1976 00:00:00 GMT"},
		{NOW, "Monday, 01-Jan-77 00:00:00 GMT", "Mon, 01 Jan 1977 00:00:00 GMT"},
		{NOW, "Monday, 31-Dec-99 23:59:59 GMT", "Mon, 31 Dec 1999 23:59:59 GMT"},
		{NOW, "Tuesday, 29-Feb-00 00:00:00 GMT", "Tue, 29 Feb 2000 00:00:00 GMT"},
		{NOW_2080, "Monday, 01-Jan-10 00:00:00 GMT", "Mon, 01 Jan 2110 00:00:00 GMT"},
		{NOW_2080, "Monday, 01-Jan-31 00:00:00 GMT", "Mon, 01 Jan 2031 00:00:00 GMT"},
		{NOW_2080, "Tuesday, 29-Feb-00 00:00:00 GMT", NULL}, /* 2100 */
		{NOW_1971, "Monday, 01-Jan-71 00:00:00 GMT", "Mon, 01 Jan 1971 00:00:00 GMT"},
		{NOW_1971, "Monday, 01-Jan-22 00:00:00 GMT", "Mon, 01 Jan 1922 00:00:00 GMT"},
		/* a clock that is far off */
		{INT64_MAX / 1000, "Monday, 01-Jan-22 00:00:00 GMT",
			"Mon, 01 Jan 9922 00:00:00 GMT"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		int64_t got = NO_DATE, expected = NO_DATE;

		clock_fake(-1, rows[i].now * 1000);
		if (rows[i].means != NULL)
			assert_true(cond_date(str_of(rows[i].means), &expected));
		if (date_of(rows[i].text, &got) != (rows[i].means != NULL) || got != expected)
			fail_msg("%s: %lld, expected %lld", rows[i].text, (long long)got,
				(long long)expected);
	}
	clock_fake(-1, -1);
}

/* Every day of 10000 years, in the form that boxd writes itself, and as asctime(3) does. */
static void every_day_comes_back(void **state)
{
	(void)state;
	for (int64_t t = -62167219200 + 4711; t < 253402300800; t += 86399) {
		char text[CLOCK_HTTP_DATE_LEN + 1];
		int64_t got = NO_DATE;

		clock_http_date(t * 1000, text);
		if (!cond_date(str_of(text), &got) || got != t)
			fail_msg("%s: %lld, expected %lld", text, (long long)got, (long long)t);
	}
	for (time_t t = 0; t < 253402300800; t += 86399 * 37) {
		char text[64];
		struct tm tm;
		int64_t got = NO_DATE;

		assert_non_null(gmtime_r(&t, &tm));
		assert_non_null(asctime_r(&tm, text));
		if (!cond_date((struct str){text, strlen(text) - 1}, &got) || got != t)
			fail_msg("%s: %lld", text, (long long)got);
	}
}

/* ---- conditions ---- */

static struct str field(const char *value)
{
	return value != NULL ? str_of(value) : ABSENT;
}

static void lists_of_tags_match_by_the_grammar(void **state)
{
	/* Of the tag ETAG: what If-Match and If-None-Match find in the list. */
	static const struct {
		const char *list;
		bool strong, weak;
	} rows[] = {
		{"\"1-2-3\"", true, true},
		{"W/\"1-2-3\"", false, true},
		{"\"x\", \"1-2-3\"", true, true},
		{"\"1-2-3\",\"x\"", true, true},
		{"\"x\" ,\t W/\"1-2-3\" , \"y\"", false, true},
		{"W/\"1-2-3\", \"1-2-3\"", true, true},
		{", ,\"x\",,\"1-2-3\",, ", true, true},
		{"\"a,b\", \"1-2-3\"", true, true},
		{"\"a\\\", \"1-2-3\"", true, true}, /* a backslash is no escape */
		{"\"\", \"1-2-3\"", true, true},
		{"\"\xc3\xa9\", \"1-2-3\"", true, true},
		{"\"!#~\", \"1-2-3\"", true, true},
		{"*", true, true},
		/* another tag */
		{"\"1-2-4\"", false, false},
		{"\"1-2-3 \"", false, false},
		{"\"\"", false, false},
		{"\"1-2-\"", false, false},
		{"\"1-2-33\"", false, false},
		{"W/\"1-2-4\"", false, false},
		/* malformed: nothing matches, also not what is right about it */
		{"", false, false},
		{",", false, false},
		{"1-2-3", false, false},
		{"\"1-2-3", false, false},
		{"1-2-3\"", false, false},
		{"\"1-2-3\" \"x\"", false, false},
		{"\"1-2-3\"\"x\"", false, false},
		{"\"1-2-3\", x", false, false},
		{"\"1-2-3\", *", false, false},
		{"*, \"1-2-3\"", false, false},
		{"**", false, false},
		{"w/\"1-2-3\"", false, false},
		{"W\"1-2-3\"", false, false},
		{"W/ \"1-2-3\"", false, false},
		{"W\"\"1-2-3\"", false, false},
		{"\"a\x7f, \"1-2-3\"", false, false},
		{"W/", false, false},
		{"W", false, false},
		{"\"1-2-3\", W/", false, false},
		{"\"1-2-3\", \"a b\"", false, false},
		{"\"1-2-3\", \"a\x7f\"", false, false},
		{"\"1-2-3\", \"", false, false},
		{"'1-2-3'", false, false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct cond match = {.if_match = str_of(rows[i].list)};
		struct cond none = {.if_none_match = str_of(rows[i].list)};
		bool strong = cond_check(&match, ETAG, 5, true) == COND_GO;
		bool weak = cond_check(&none, ETAG, 5, true) != COND_GO;

		if (strong != rows[i].strong || weak != rows[i].weak)
			fail_msg("%s: strong %d, weak %d", rows[i].list, strong, weak);
		/* Without a file nothing matches at all. */
		assert_int_equal(cond_check(&match, NULL, 0, false), COND_FAILED);
		assert_int_equal(cond_check(&none, NULL, 0, false), COND_GO);
	}
}

/* The file: tag ETAG, last changed at NOV_6. */
#define SAME   "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER  "Sun, 06 Nov 1994 08:49:38 GMT"
#define OTHER  "\"other\""

static void the_fields_count_in_their_order(void **state)
{
	enum { GO = COND_GO, NM = COND_NOT_MODIFIED, NO = COND_FAILED };
	static const struct {
		const char *match, *unmodified, *none_match, *modified;
		int reading, writing, no_file; /* no_file: when writing */
	} rows[] = {
		{NULL, NULL, NULL, NULL, GO, GO, GO},
		/* alone */
		{ETAG, NULL, NULL, NULL, GO, GO, NO},
		{OTHER, NULL, NULL, NULL, NO, NO, NO},
		{"*", NULL, NULL, NULL, GO, GO, NO},
		{NULL, SAME, NULL, NULL, GO, GO, GO},
		{NULL, AFTER, NULL, NULL, GO, GO, GO},
		{NULL, BEFORE, NULL, NULL, NO, NO, GO},
		{NULL, "yesterday", NULL, NULL, GO, GO, GO},
		{NULL, "", NULL, NULL, GO, GO, GO},
		{NULL, NULL, ETAG, NULL, NM, NO, GO},
		{NULL, NULL, OTHER, NULL, GO, GO, GO},
		{NULL, NULL, "*", NULL, NM, NO, GO},
		{NULL, NULL, "W/" ETAG, NULL, NM, NO, GO},
		{NULL, NULL, NULL, SAME, NM, GO, GO},
		{NULL, NULL, NULL, AFTER, NM, GO, GO},
		{NULL, NULL, NULL, BEFORE, GO, GO, GO},
		{NULL, NULL, NULL, "yesterday", GO, GO, GO},
		/* If-Match hides If-Unmodified-Since */
		{ETAG, BEFORE, NULL, NULL, GO, GO, NO},
		{OTHER, AFTER, NULL, NULL, NO, NO, NO},
		{"", AFTER, NULL, NULL, NO, NO, NO},
		/* If-None-Match hides If-Modified-Since */
		{NULL, NULL, OTHER, AFTER, GO, GO, GO},
		{NULL, NULL, ETAG, BEFORE, NM, NO, GO},
		{NULL, NULL, "junk", AFTER, GO, GO, GO},
		/* the first pair comes before the second */
		{OTHER, NULL, ETAG, NULL, NO, NO, NO},
		{ETAG, NULL, ETAG, NULL, NM, NO, NO},
		{ETAG, NULL, NULL, SAME, NM, GO, NO},
		{NULL, BEFORE, NULL, AFTER, NO, NO, GO},
		{NULL, AFTER, NULL, AFTER, NM, GO, GO},
		{NULL, AFTER, ETAG, NULL, NM, NO, GO},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct cond c = {.if_match = field(rows[i].match),
			.if_unmodified_since = field(rows[i].unmodified),
			.if_none_match = field(rows[i].none_match),
			.if_modified_since = field(rows[i].modified)};
		int reading = (int)cond_check(&c, ETAG, NOV_6, true);
		int writing = (int)cond_check(&c, ETAG, NOV_6, false);
		int no_file = (int)cond_check(&c, NULL, NOV_6, false);

		if (reading != rows[i].reading || writing != rows[i].writing ||
			no_file != rows[i].no_file)
			fail_msg("row %zu: reading %d, writing %d, without a file %d", i, reading,
				writing, no_file);
	}
}

static void if_range_wants_the_very_same_file(void **state)
{
	static const struct {
		const char *value;
		bool holds;
	} rows[] = {
		{NULL, true}, {ETAG, true}, {"W/" ETAG, false}, {OTHER, false},
		{ETAG ", " OTHER, false}, {ETAG " ", false}, {"*", false}, {"", false},
		{"\"1-2-3", false}, {SAME, true}, {"Sunday, 06-Nov-94 08:49:37 GMT", true},
		{"Sun Nov  6 08:49:37 1994", true}, {BEFORE, false}, {AFTER, false},
		{"yesterday", false},
		{"Wed, 16 Nov 1994 08:49:37 GMT", false}, /* begins as a weak tag does */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct cond c = {.if_range = field(rows[i].value)};

		if (cond_range_holds(&c, ETAG, NOV_6) != rows[i].holds)
			fail_msg("%s", rows[i].value);
		/* It says nothing about the request as a whole. */
		assert_int_equal(cond_check(&c, ETAG, NOV_6, true), COND_GO);
	}
}

static void three_of_the_fields_guard_a_write(void **state)
{
	const struct str v = STR("x");

	(void)state;
	assert_false(cond_guards_write(&(struct cond){0}));
	assert_true(cond_guards_write(&(struct cond){.if_match = v}));
	assert_true(cond_guards_write(&(struct cond){.if_none_match = v}));
	assert_true(cond_guards_write(&(struct cond){.if_unmodified_since = v}));
	assert_false(cond_guards_write(&(struct cond){.if_modified_since = v, .if_range = v}));
	/* Empty is not absent. */
	assert_true(cond_guards_write(&(struct cond){.if_match = STR("")}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_three_forms_of_a_date),
		cmocka_unit_test(a_year_of_two_digits_is_at_most_fifty_years_ahead),
		cmocka_unit_test(every_day_comes_back),
		cmocka_unit_test(lists_of_tags_match_by_the_grammar),
		cmocka_unit_test(the_fields_count_in_their_order),
		cmocka_unit_test(if_range_wants_the_very_same_file),
		cmocka_unit_test(three_of_the_fields_guard_a_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
