/*
 * regex: patterns row by row, then random ones against PCRE2 itself, called plainly, one line at a
 * time and without its JIT.
 */
#include "boxd/regex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "boxd/limits.h"
#include "seed.h"

#define L  REGEX_LINES
#define I  REGEX_IGNORE_CASE
#define T  REGEX_LITERAL
#define NO SIZE_MAX

static struct regex *compile(const char *pattern, unsigned int flags)
{
	struct err e = {0};
	struct regex *re = regex_new(str_of(pattern), flags, &e);

	if (re == NULL)
		print_error("pattern %s: %s\n", pattern, e.msg);
	assert_non_null(re);
	return re;
}

/* An exact copy on the heap: a byte read beside it is seen. */
static char *exact(const char *text, size_t n)
{
	char *copy = malloc(n > 0 ? n : 1);

	assert_non_null(copy);
	memcpy(copy, text, n);
	return copy;
}

/* ---- rows ---- */

static const struct row {
	const char *pattern;
	unsigned int flags;
	const char *subject;
	size_t from, start, end; /* NO: nothing is found */
} rows[] = {
	/* whole subjects */
	{"b+", 0, "abbb", 0, 1, 4},
	{"b+", 0, "abbb", 2, 2, 4},
	{"b+", 0, "abbb", 4, NO, 0},
	{"b+", 0, "abbb", 5, NO, 0},
	{"", 0, "ab", 2, 2, 2},
	{"", 0, "", 0, 0, 0},
	{"^b", 0, "a\nb", 0, NO, 0},
	{"a$", 0, "a\n", 0, 0, 1},
	{"a.b", 0, "a\nb", 0, NO, 0},
	{"a\\sb", 0, "a\nb", 0, 0, 3},
	{"a[^x]b", 0, "a\nb", 0, 0, 3},
	{"set_(time|date)", 0, "x set_date", 0, 2, 10},
	{"set_(time|date)", 0, "x set_data", 0, NO, 0},
	{"needle", 0, "a needle", 0, 2, 8},
	{"needle", 0, "a needle", 3, NO, 0},
	/* plain text */
	{"a.c", T, "abc a.c", 0, 4, 7},
	{"a.c", T | I, "abc A.C", 0, 4, 7},
	{"", T, "abc", 1, 1, 1},
	{"\\E(*UTF)", T, "x\\E(*UTF)", 0, 1, 9},
	{"a\nb", T, "a\nb", 0, 0, 3},
	{"a\nb", T | L, "a\nb", 0, NO, 0},
	{"\xc3\x84", T | I, "x\xc3\xa4", 0, 1, 3},
	{"\xc3\x84", T | I | L, "x\n\xc3\xa4", 0, 2, 4},
	{"\xc3\x84\n", T | I | L, "x\n\xc3\xa4\ny", 0, NO, 0},
	{"\xc3\x84", T, "\xc3\xa4\xc3\x84", 0, 2, 4},
	{"\xc3", T | I, "x\xe3\xc3", 0, 2, 3},
	/* case */
	{"hello", I, "say HeLLo", 0, 4, 9},
	{"h[e]llo", I, "say HeLLo", 0, 4, 9},
	{"[@`{]x", I, "`X", 0, 0, 2},
	{"a@b", I, "A`B A@B", 0, 4, 7},
	{"\xc3\xa9t\xc3\xa9", I, "\xc3\x89T\xc3\x89", 0, 0, 5},
	{"k\xc3\xa9", I, "\xe2\x84\xaa\xc3\x89", 0, 0, 5}, /* the Kelvin sign is a k */
	{"k", I, "\xe2\x84\xaa", 0, NO, 0},
	/* characters, and bytes that are none */
	{"\xc3\xa9.", 0, "\xc3\xa9\xe2\x82\xac", 0, 0, 5},
	{"\xc3\xa9", 0, "\xff\xfe\xc3\xa9\xff", 0, 2, 4},
	{"^\xc3\xa9?.\xc3\xa9", 0, "\xff\xc3\xa9", 0, NO, 0},
	{"a.b", 0,
		"a\xff"
		"b",
		0, 0, 3},
	{"\\x{e9}", 0, "\xe9 \xc3\xa9", 0, 2, 4},
	{"\\p{Lu}\\w", 0, "\xc3\x84g", 0, 0, 3},
	{"\\x{1F600}", L, "a\n\xf0\x9f\x98\x80", 0, 2, 6},
	{"\xe9", 0, "\xc3\xa9 \xe9", 0, 3, 4}, /* Latin-1: bytes */
	{"\xc3\xa9\\S\\D\\W", 0, "\xc3\xa9\xc3\xa8\xc3\xa8\xc3\xa8", 0, 0, 8},
	{"\xc3\xa9\\S\\D\\W", L, "x\n\xc3\xa9\xc3\xa8\xc3\xa8\xc3\xa8", 0, 2, 10},
	{"[\\S]\xc3\xa9[\\S]", L, "\xc3\xa9\xc3\xa9\xc3\xa9", 0, 0, 6},
	/* lines */
	{"^b$", L, "a\nb\nc", 0, 2, 3},
	{"^$", L, "a\n\nb\n", 0, 2, 2},
	{"^$", L, "a\nb\n", 0, NO, 0},
	{"^$", L, "\n", 0, 0, 0},
	{"^$", L, "", 0, 0, 0},
	{"$", L, "a\n", 1, 1, 1},
	{"$", L, "a\n", 2, NO, 0},
	{"x*", L, "a\nb\n", 1, 1, 1},
	{"x*", L, "a\nb\n", 2, 2, 2},
	{"a\\s*b", L, "a\nb\na b", 0, 4, 7},
	{"a\\s+", L, "a\n", 0, NO, 0},
	{"[^b]+", L, "a\nb", 0, 0, 1},
	{"[^]b]+", L, "]\na-\n", 0, 2, 4},
	{"[^-b]+", L, "b-\na-\n", 0, 3, 4},
	{"b[^a]c", L, "b\nc", 0, NO, 0},
	{"a[\\s,]+b", L, "a\n,b a, b", 0, 5, 9},
	{"a[,\\n]b", L, "a\nb a,b", 0, 4, 7},
	{"a\\W+b", L, "a\n\nb a--b", 0, 5, 9},
	{"(?s)a.b", L, "a\nb axb", 0, 4, 7},
	{"\\Aa", L, "b\na", 0, 2, 3},
	{"a\\z", L, "a\nb", 0, 0, 1},
	{"a\\Z", L, "ab\na\nb", 0, 3, 4},
	{"a(?!\\s*b)", L, "a\nb", 0, 0, 1},
	{"(?<=a\\n)b", L, "a\nb", 0, NO, 0},
	{"(?<![^x])b", L, "a\nb", 0, 2, 3},
	{"a[^x]*+$", L, "ab\nx", 0, 0, 2},
	{"a\\R?b", L, "a\nb", 0, NO, 0},
	{"a\\nb", L, "a\nb", 0, NO, 0},
	{"a\\x0ab", L, "a\nb", 0, NO, 0},
	{"a\\012b", L, "a\nb", 0, NO, 0},
	{"a\\12b", L, "a\nb", 0, NO, 0},
	{"(*NO_JIT)^b", L, "a\nb\nc", 0, 2, 3},
	{"(*CRLF)a.b", L, "a\nb axb", 0, 4, 7},
	{"(?-m)^b", L, "a\nb", 0, 2, 3},
	{"b$", L, "ab\r\nb\n", 0, 4, 5},
	{"b\\r$", L, "ab\r\nb\n", 0, 1, 3},
	{"(?x) a # comment\n b", L, "a\nab", 0, 2, 4},
	{"\\Gb", L, "ab\nb", 1, 1, 2},
	{"\\Gb", L, "ab\nb", 0, 3, 4},
	{"foo\\Kbar", L, "bar foobar", 0, 7, 10},
	{"timer", L, "x\ntimer\n", 0, 2, 7},
	{"timer", L | I, "x\nTIMER\n", 0, 2, 7},
	{"[a-z]+_timer\\(", L, "_timer(\nx_timer(", 0, 8, 16},
	{"timer(?=;)", L, "timer\ntimer;", 0, 6, 11},
	{"^timer", L, "a timer\ntimer", 0, 8, 13},
	{"(?<=a )timer", L, "timer\na timer", 7, 8, 13},
};

static void a_pattern_is_found_where_it_stands(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		size_t n = strlen(r->subject), start = 77, end = 77;
		char *subject = exact(r->subject, n);
		struct regex *re = compile(r->pattern, r->flags);
		struct regex_match *m = regex_match_new(re);
		enum regex_result rc;

		assert_non_null(m);
		rc = regex_find(re, m, (struct str){subject, n}, r->from, &start, &end);
		if (rc != (r->start == NO ? REGEX_NOTHING : REGEX_FOUND) ||
			(r->start != NO && (start != r->start || end != r->end)))
			fail_msg("row %zu, %s flags %u: result %d, %zu to %zu", i, r->pattern,
				r->flags, (int)rc, start, end);
		regex_match_free(m);
		regex_free(re);
		free(subject);
	}
}

static const struct {
	const char *pattern;
	unsigned int flags;
	const char *message;
} bad[] = {
	{"a(b", 0, "pattern: missing closing parenthesis at byte 3"},
	{"a)b", L, "pattern: unmatched closing parenthesis at byte 1"},
	{"[z-a]", 0, "pattern: range out of order in character class at byte 3"},
	{"\\C", 0, "pattern: using \\C is disabled by the application at byte 2"},
	{"(*UTF)a", 0, "pattern: using UTF is disabled by the application at byte 6"},
	{"(?<=a+)b", L, "pattern: lookbehind assertion is not fixed length at byte 0"},
	{"a**", 0, "pattern: quantifier does not follow a repeatable item at byte 2"},
};

static void a_bad_pattern_is_told_in_words_and_with_its_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = {0};

		if (regex_new(str_of(bad[i].pattern), bad[i].flags, &e) != NULL)
			fail_msg("%s is accepted", bad[i].pattern);
		assert_ptr_equal(e.kind, &ERR_BAD_PATTERN);
		/* a** is possessive in no version, but some count its place differently */
		if (i + 1 < sizeof(bad) / sizeof(bad[0]))
			assert_string_equal(e.msg, bad[i].message);
	}
}

static void a_pattern_may_be_as_long_as_the_limit_and_no_longer(void **state)
{
	int64_t before = limit(LIMIT_GREP_PATTERN_BYTES);
	struct err e = {0};
	struct regex *re;

	(void)state;
	assert_true(limit_set(LIMIT_GREP_PATTERN_BYTES, 16));
	re = compile("aaaaaaaaaaaaaaaa", 0);
	regex_free(re);
	assert_null(regex_new(STR("aaaaaaaaaaaaaaaaa"), 0, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_PATTERN);
	assert_string_equal(e.msg, "pattern: longer than 16 bytes");
	assert_true(limit_set(LIMIT_GREP_PATTERN_BYTES, before));
}

static void text_may_be_longer_than_a_pattern_that_pcre2_compiles(void **state)
{
	size_t n = 65536, start, end;
	char *text = malloc(n + 3);
	struct err e = {0};
	struct regex *re;
	struct regex_match *m;

	(void)state;
	assert_non_null(text);
	memset(text, 'a', n + 3);
	text[2] = 'b';
	re = regex_new((struct str){text + 3, n}, T, &e);
	assert_non_null(re);
	m = regex_match_new(re);
	assert_non_null(m);
	assert_int_equal(
		regex_find(re, m, (struct str){text, n + 3}, 0, &start, &end), REGEX_FOUND);
	assert_int_equal(start, 3);
	assert_int_equal(end, n + 3);
	regex_match_free(m);
	regex_free(re);
	free(text);
}

/* A str that is empty may have no memory. */
static void nothing_is_found_in_nothing(void **state)
{
	static const unsigned int flags[] = {0, L, T, T | L, I | L};
	const struct str none = {NULL, 0};

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		static const char *const patterns[] = {"^\\s*$", "(*COMMIT)", "abc", "(?:abc)?"};
		struct err e = {0};
		struct regex *re = regex_new(none, flags[i], &e);
		struct regex_match *m;
		size_t start = 9, end = 9;

		assert_non_null(re);
		m = regex_match_new(re);
		assert_non_null(m);
		assert_int_equal(regex_find(re, m, none, 0, &start, &end), REGEX_FOUND);
		assert_int_equal(start, 0);
		assert_int_equal(end, 0);
		assert_int_equal(regex_find(re, m, none, 1, &start, &end), REGEX_NOTHING);
		regex_match_free(m);
		regex_free(re);
		for (size_t k = 0; k < sizeof(patterns) / sizeof(patterns[0]); k++) {
			bool found = (flags[i] & T) == 0 && k != 2;

			re = compile(patterns[k], flags[i]);
			m = regex_match_new(re);
			assert_non_null(m);
			assert_int_equal(regex_find(re, m, none, 0, &start, &end),
				found ? REGEX_FOUND : REGEX_NOTHING);
			regex_match_free(m);
			regex_free(re);
		}
	}
}

/* ---- groups ---- */

static void groups_are_found_by_number_and_name(void **state)
{
	struct regex *re = compile("(?<key>k\\w*)=(?:(\\d+)|(?<text>\\w+))", L);
	struct regex_match *m = regex_match_new(re);
	struct str subject = STR("xx\na kilo=gram\n");
	size_t start, end;

	(void)state;
	assert_non_null(m);
	assert_int_equal(regex_group_named(re, STR("key")), 1);
	assert_int_equal(regex_group_named(re, STR("text")), 3);
	assert_int_equal(regex_group_named(re, STR("nothing")), -1);
	assert_int_equal(regex_group_named(re, STR("")), -1);
	assert_int_equal(regex_group_named(re, STR("key\0")), -1);
	assert_int_equal(regex_find(re, m, subject, 0, &start, &end), REGEX_FOUND);
	assert_int_equal(start, 5);
	assert_int_equal(end, 14);
	assert_true(regex_group(m, 0, &start, &end));
	assert_int_equal(start, 5);
	assert_int_equal(end, 14);
	assert_true(regex_group(m, 1, &start, &end));
	assert_int_equal(start, 5);
	assert_int_equal(end, 9);
	assert_true(regex_group(m, 2, &start, &end));
	assert_int_equal(start, end);
	assert_true(regex_group(m, 3, &start, &end));
	assert_int_equal(start, 10);
	assert_int_equal(end, 14);
	assert_false(regex_group(m, 4, &start, &end));
	regex_match_free(m);
	regex_free(re);

	/* There is no PCRE2 behind this one. */
	re = compile("plain", 0);
	m = regex_match_new(re);
	assert_non_null(m);
	assert_int_equal(regex_group_named(re, STR("plain")), -1);
	assert_int_equal(regex_find(re, m, STR("a plain"), 0, &start, &end), REGEX_FOUND);
	assert_true(regex_group(m, 0, &start, &end));
	assert_int_equal(start, 2);
	assert_int_equal(end, 7);
	assert_false(regex_group(m, 1, &start, &end));
	regex_match_free(m);
	regex_free(re);
}

/* ---- the literal ---- */

static const struct {
	const char *pattern;
	unsigned int flags;
	const char *literal;
} literals[] = {
	{"", 0, ""},
	{"set_timeout", 0, "set_timeout"},
	{"[a-z_]+_timeout\\(", 0, "_timeout("},
	{"a|b", 0, ""},
	{"(foo|bar)_x", 0, "_x"},
	{"abc?d", 0, "ab"},
	{"abc*de", 0, "ab"},
	{"abc{0,3}def", 0, "def"},
	{"abc{1}d", 0, "abcd"},
	{"abc+de", 0, "abc"},
	{"ab+cde", 0, "bcde"},
	{"ab{2,}cde", 0, "bcde"},
	{"a{b", 0, "a{b"},
	{"abc{,3}", 0, ""}, /* depends on the version of PCRE2 */
	{"a(?:bc)d", 0, "abcd"},
	{"a(bc)d", 0, "bc"},
	{"(?:bcd)?ef", 0, "ef"},
	{"(?:bcd)+ef", 0, "bcd"},
	{"(?:b|c)defg", 0, "defg"},
	{"(?:a(?:b(?:cd)))e", 0, "abcde"},
	{"(?<name>abc)d", 0, "abc"},
	{"(?>abc)d", 0, "abc"},
	{"(?i)abc", 0, ""},
	{"a(?i:b)c", 0, ""},
	{"foo(?=barbar)", 0, "foo"},
	{"(?<=barbar)foo", 0, "foo"},
	{"(?!barbar)foo", 0, "foo"},
	{"foo\\bbar", 0, "foobar"},
	{"^foo$", L, "foo"},
	{"\\Qa.b\\E.c", 0, "a.b"},
	{"\\Qab*\\E*c", 0, "ab"},
	{"\\Qab\\E?cd", 0, "cd"},
	{"ab\\E*cd", 0, "cd"},
	{"\\x41\\tb", 0, "A\tb"},
	{"a.b.cc", 0, "cc"},
	{"(abc)(?1)d", 0, "abc"},
	{"(*COMMIT)abc", 0, ""},
	{"(?x)a b c", 0, ""},
	{"(a)?(?(1)bcd|e)", 0, ""},
	{"a(?#x)*bc", 0, ""},
	{"\\101bc", 0, "bc"},
	{"abc", I, ""},
	{"abc", I | T, ""},
	{"a.c", T, "a.c"},
	{"\xc3\xa9t\xc3\xa9+", 0, "\xc3\xa9t\xc3\xa9"},
	{"\xc3\xa9?t", 0, "t"},
	{"\xe9?t", 0, "t"},
	{"\\xe9t\xc3\xa9", 0, "t\xc3\xa9"},
	{"[[:<:]]foo[[:>:]]{2}", 0, "foo"},
	{"a[]b]c[^]]dd", 0, "dd"},
	{"a[[:alpha:]]]bb", 0, "]bb"},
};

static void the_longest_literal_that_is_certain_is_taken(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(literals) / sizeof(literals[0]); i++) {
		struct regex *re = compile(literals[i].pattern, literals[i].flags);
		struct str got = regex_required(re);

		if (!str_eq(got, str_of(literals[i].literal)))
			fail_msg("%s: \"%.*s\" instead of \"%s\"", literals[i].pattern, (int)got.n,
				got.p, literals[i].literal);
		regex_free(re);
	}
}

/* ---- limits ---- */

static bool stop_at_once(const void *arg)
{
	unsigned int *asked = *(unsigned int *const *)arg;

	return ++*asked >= 3;
}

static enum regex_result find_in(const char *pattern, unsigned int flags, struct str subject,
	bool (*stop)(const void *), const void *arg, size_t *start)
{
	struct regex *re = compile(pattern, flags);
	struct regex_match *m = regex_match_new(re);
	enum regex_result rc;
	size_t end;

	assert_non_null(m);
	regex_match_set_stop(m, stop, arg);
	rc = regex_find(re, m, subject, 0, start, &end);
	regex_match_free(m);
	regex_free(re);
	return rc;
}

/* 2^n ways to try at the first place of n letters, the end of which can never be reached. */
static const char *const explosive[] = {"(?:a|a)*[xy]", "(*NO_JIT)(?:a|a)*[xy]"};

static void a_pattern_that_needs_too_many_steps_is_given_up(void **state)
{
	int64_t before = limit(LIMIT_GREP_STEPS);
	struct str few = STR("aaaaaaaax"), many = STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
	size_t start;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		for (unsigned int flags = 0; flags <= L; flags += L) {
			assert_true(limit_set(LIMIT_GREP_STEPS, 100000));
			assert_int_equal(find_in(explosive[i], flags, many, NULL, NULL, &start),
				REGEX_GAVE_UP);
			assert_int_equal(
				find_in(explosive[i], flags, few, NULL, NULL, &start), REGEX_FOUND);
		}
	}
	/* 2^14 ways are more than the first try has steps for, and less than the limit. */
	assert_true(limit_set(LIMIT_GREP_STEPS, 10000000));
	for (size_t i = 0; i < 2; i++) {
		struct str some = STR("aaaaaaaaaaaaaaaaab aax");

		assert_int_equal(find_in(explosive[i], L, some, NULL, NULL, &start), REGEX_FOUND);
		assert_int_equal(start, 19);
	}
	assert_true(limit_set(LIMIT_GREP_STEPS, 2000));
	assert_int_equal(
		find_in(explosive[0], 0, STR("aaaaaaaaaaaaaaaaab aax"), NULL, NULL, &start),
		REGEX_GAVE_UP);
	assert_true(limit_set(LIMIT_GREP_STEPS, before));
}

static void a_long_search_asks_whether_to_go_on(void **state)
{
	static const char *const patterns[] = {
		"[ab]{3}c",            /* one block in slices */
		"(*COMMIT)(*F)|[ab]c", /* not understood: line by line */
		"ab+[xy]",             /* with a literal that each line has */
	};
	size_t n = (size_t)1 << 20, start;
	char *text = malloc(n);

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		text[i] = "abba\n"[i % 5];
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		unsigned int asked = 0, *arg = &asked;

		assert_int_equal(
			find_in(patterns[i], L, (struct str){text, n}, stop_at_once, &arg, &start),
			REGEX_GAVE_UP);
		assert_int_equal(asked, 3);
	}
	free(text);
}

static void few_places_are_tried_between_two_questions_when_each_takes_long(void **state)
{
	size_t n = 1500, start;
	char *text = malloc(n);
	unsigned int asked = 0, *arg = &asked;
	struct timespec from, to;

	(void)state;
	assert_non_null(text);
	memset(text, 'a', n);
	clock_gettime(CLOCK_MONOTONIC, &from);
	/* About n^2 / 2 steps at each of n places. */
	assert_int_equal(
		find_in("a*b?a*b?a*[xy]", L, (struct str){text, n}, stop_at_once, &arg, &start),
		REGEX_GAVE_UP);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_int_equal(asked, 3);
	assert_true(to.tv_sec - from.tv_sec < 10);
	free(text);
}

/* What needs more stack than there is gives up, and ends nothing but the search. */
static void a_deep_match_finds_or_gives_up(void **state)
{
	static const char *const patterns[] = {"(?:(a)|b)*c", "(*NO_JIT)(?:(a)|b)*c"};
	size_t n = (size_t)8 << 20;
	char *text = malloc(n);

	(void)state;
	assert_non_null(text);
	memset(text, 'a', n);
	text[n - 1] = 'c';
	for (size_t i = 0; i < 2; i++) {
		size_t start, small = 5000;

		assert_int_equal(find_in(patterns[i], 0, (struct str){text, n}, NULL, NULL, &start),
			REGEX_GAVE_UP);
		assert_int_equal(find_in(patterns[i], 0, (struct str){text + n - small, small},
					 NULL, NULL, &start),
			REGEX_FOUND);
	}
	free(text);
}

/* Where many steps are needed the slices are small. */
static void a_match_is_found_at_every_place_behind_one_that_is_hard(void **state)
{
	char text[128];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		for (size_t k = 0; k < 60; k++) {
			size_t start = 0;

			memset(text, 'a', 18);
			memset(text + 18, 'b', k);
			text[18 + k] = 'x';
			assert_int_equal(find_in(explosive[i], L, (struct str){text, 19 + k}, NULL,
						 NULL, &start),
				REGEX_FOUND);
			assert_int_equal(start, k == 0 ? 0 : 18 + k);
		}
	}
}

static void where_a_search_begins_does_not_move(void **state)
{
	size_t n = 100000, start;
	char *text = malloc(n);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', n);
	text[0] = 'a';
	assert_int_equal(
		find_in("\\Gx", L, (struct str){text, n}, NULL, NULL, &start), REGEX_NOTHING);
	free(text);
}

/* Slices of a long subject must not be seen in what is found. */
static void a_match_is_found_at_every_place_of_a_long_line(void **state)
{
	static const struct {
		const char *pattern, *text;
		size_t back; /* the match begins so many bytes into text */
	} needles[] = {
		{"[xy]{4}", "xyxy", 0},
		{"(?<=ab)[xy]+\\b", "abxy", 2},
		{"^.*[xy]z", "xz", NO},
		{"(?:a|a)*[xy]", "aaaaaaaaaaaaaaax", 0},
		{"[\xc3\xa9\xc3\xa8]{2}", "\xc3\xa9\xc3\xa8", 0},
		{"(?<=\xc3\xa9)[\xc3\xa9\xc3\xa8]", "\xc3\xa9\xc3\xa8", 2},
		{"\\b[xy]+$", "xy", 0},
		{"(?!.)(?:\xc3\xa9)?", "\xc3\xa9", 2},
	};
	static const size_t ends[] = {16384, 16400, 32768};
	char *text = malloc(40000);

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < sizeof(needles) / sizeof(needles[0]); i++) {
		struct regex *re = compile(needles[i].pattern, L);
		struct regex_match *m = regex_match_new(re);
		size_t len = strlen(needles[i].text);

		assert_non_null(m);
		for (size_t k = 0; k < 3 * 40; k++) {
			size_t at = ends[k / 40] - 20 + k % 40, start = 0, end = 0;
			size_t expected = needles[i].back == NO ? 0 : at + needles[i].back;

			memset(text, '-', at);
			memcpy(text + at, needles[i].text, len);
			assert_int_equal(
				regex_find(re, m, (struct str){text, at + len}, 0, &start, &end),
				REGEX_FOUND);
			if (start != expected || end != at + len)
				fail_msg("%s at %zu: %zu to %zu", needles[i].pattern, at, start,
					end);
		}
		regex_match_free(m);
		regex_free(re);
	}
	free(text);
}

/* ---- random patterns ---- */

static uint32_t random_state;

static size_t roll(size_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % n;
}

/* Every kind of syntax; most of what is put together from it does not compile, the rest is odd. */
static const char *const pieces[] = {"a", "b", "c", "ab", "bca", "d", "a", "b", "(", "(",
	"(?:", "(?:", ")", ")", ")", "|", "*", "+", "?", "??", "*+", "++", "{0}", "{1}", "{2}",
	"{0,1}", "{1,}", "{", "}", ".", "^", "$", "\\b", "\\B", "\\s", "\\S", "\\W", "\\w", "\\d",
	"\\D", "\\h", "\\H", "\\v", "\\V", "\\N", "\\R", "\\n", "\\t", "\\x0a", "\\x61", "\\012",
	"\\141", "\\cJ", "\\.", "\\\\", "[ab]", "[^a]", "[^a]", "[^-a]", "[^]a]", "[]a]", "[\\s,]",
	"[\\sa-c]", "[\\S\\s]", "[\\Wa]", "[\\D]", "[^\\S]", "[\\n-a]", "[\\t-b]", "[\\t]",
	"[\\x00-\\x20]", "[\\x61-\\x62]", "[[:space:]]", "[[:alpha:]a]", "[[:^alpha:]]", "[[:<:]]",
	"[[:>:]]", "[[:a]", "[\\]\\-]", "[a\\Qb]\\E]", "[\\b]", "\\Q", "\\E", "\\Qa\\E", "\\A",
	"\\z", "\\Z", "\\G", "\\K", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?|", "(?i)",
	"(?i:", "(?s)", "(?s-m:", "(?-m)", "(?-i)", "(?x)", "(?U)", "(?^)", "(?n)", "\\1", "\\2",
	"(?1)", "(?R)", "(?-1)", "(?<n>", "(?P<m>", "(?'o'", "\\k<n>", "(?P=n)", "(?&n)", "\\g1",
	"\\g{-1}", "\\g<n>", "(?#a)", "#", " ", ",", "-", "\n", "(*COMMIT)", "(*ACCEPT)", "(*F)",
	"(*PRUNE)", "(*pla:", "(?(1)", "(?<*a)", "\\pL", "\\P{L}", "\\p{^L}", "\\X", "\xc3\xa9",
	"\xe9", "[\xc3\xa9]", "[^\xc3\xa9]", "\\xe9", "\\x{e9}", "(*UCP)"};

/*
 * The first match at or behind from, one line after the other, by PCRE2 alone. What is UTF-8 here
 * is valid, and is not to be checked: to check it, the interpreter of 10.42 begins at the character
 * that the longest lookbehind reaches, and then takes that for the beginning of the subject, which
 * a \B in the lookbehind sees. The JIT that boxd uses does not.
 */
static int reference(pcre2_code *code, pcre2_match_data *data, pcre2_match_context *context,
	struct str block, bool lines, bool utf, size_t from, size_t *start, size_t *end)
{
	size_t at = 0;

	if (lines && block.n > 0 && block.p[block.n - 1] == '\n')
		block.n--;
	if (from > block.n)
		return PCRE2_ERROR_NOMATCH;
	for (;;) {
		const char *lf = lines ? memchr(block.p + at, '\n', block.n - at) : NULL;
		size_t n = lf == NULL ? block.n - at : (size_t)(lf - block.p) - at;
		int rc;

		if (at + n >= from) {
			char *line = exact(block.p + at, n);

			rc = pcre2_match(code, (PCRE2_SPTR)line, n, from > at ? from - at : 0,
				PCRE2_NO_JIT | (utf ? PCRE2_NO_UTF_CHECK : 0), data, context);
			free(line);
			if (rc >= 0) {
				*start = at + pcre2_get_ovector_pointer(data)[0];
				*end = at + pcre2_get_ovector_pointer(data)[1];
			}
			if (rc != PCRE2_ERROR_NOMATCH)
				return rc;
		}
		at += n + 1;
		if (lf == NULL)
			return PCRE2_ERROR_NOMATCH;
	}
}

static bool beyond_ascii(const char *pattern)
{
	bool found = false;

	for (const uint8_t *p = (const uint8_t *)pattern; *p != '\0'; p++) {
		if (*p == 0xc3 && p[1] == 0xa9) {
			found = true;
			p++;
		} else if (*p >= 0x80) {
			return false;
		}
	}
	return found || strstr(pattern, "\\p") != NULL || strstr(pattern, "\\P") != NULL ||
	       strstr(pattern, "\\X") != NULL || strstr(pattern, "\\x{") != NULL ||
	       strstr(pattern, "\\N{") != NULL;
}

/*
 * Perhaps without end, and then it depends on the order of checks whether that is noticed; and
 * where a group calls itself the JIT goes back into the call, which the interpreter does not.
 */
static bool recurses(const char *pattern)
{
	static const char *const calls[] = {"(?R)", "(?1)", "(?-1)", "(?&n)", "\\g"};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strstr(pattern, calls[i]) != NULL)
			return true;
	}
	return false;
}

/* The JIT of PCRE2 10.42 does not find [[:<:]]? where there is no beginning of a word. */
static bool jit_fails(const char *pattern)
{
	for (const char *p = pattern; (p = strstr(p, ":]]")) != NULL; p++) {
		if ((p[-1] == '<' || p[-1] == '>') && p[3] != '\0' && strchr("?*{", p[3]) != NULL)
			return true;
	}
	return false;
}

static pcre2_code *compile_plainly(const char *pattern, unsigned int flags)
{
	bool utf = beyond_ascii(pattern);
	bool latin = false;
	size_t offset;
	int error;

	for (const uint8_t *p = (const uint8_t *)pattern; *p != '\0'; p++)
		latin |= *p == 0xe9;
	return pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
		PCRE2_NEVER_BACKSLASH_C | ((flags & I) != 0 ? PCRE2_CASELESS : 0) |
			((flags & L) != 0 ? PCRE2_MULTILINE : 0) |
			(utf && !latin ? PCRE2_UTF : PCRE2_NEVER_UTF),
		&error, &offset, NULL);
}

/* With utf there are only whole characters: of others PCRE2's interpreter and its JIT do not think
 * alike, \z for one. */
static size_t random_subject(char *out, bool utf)
{
	static const char *const parts[] = {"a", "b", "c", "ab", "bca", "d", "\n", "\n", " ", "A",
		"B", ",", "-", "]", ".", "\t", "\r\n", "\xc3\xa9", "\xe9", "\\", "12", "\n\n",
		"aaaa", "ab ab", "{", "}"};
	size_t n = 0;

	for (size_t i = roll(24); i > 0; i--) {
		const char *part = parts[roll(sizeof(parts) / sizeof(parts[0]))];

		if (utf && *part == '\xe9')
			continue;
		memcpy(out + n, part, strlen(part));
		n += strlen(part);
	}
	return n;
}

/* Where the reference reached its limits, anything will do. */
static bool agrees(enum regex_result rc, int want, bool same_place)
{
	if (want == PCRE2_ERROR_NOMATCH)
		return rc == REGEX_NOTHING;
	return want < 0 || (rc == REGEX_FOUND && same_place);
}

static void check_random(const char *pattern, unsigned int flags, pcre2_code *code,
	pcre2_match_data *data, pcre2_match_context *context)
{
	struct regex *re = compile(pattern, flags);
	struct regex_match *m = regex_match_new(re);
	struct str literal = regex_required(re);

	assert_non_null(m);
	for (int i = 0; i < 12; i++) {
		char text[256];
		bool utf = beyond_ascii(pattern);
		size_t n = random_subject(text, utf), from = roll(n + 2);
		size_t start = 0, end = 0, want_start = 0, want_end = 0;
		struct str subject = {exact(text, n), n};
		enum regex_result rc;
		int want;

		while (utf && from < n && ((uint8_t)text[from] & 0xc0) == 0x80)
			from++;
		want = reference(code, data, context, subject, (flags & L) != 0, utf, from,
			&want_start, &want_end);

		rc = regex_find(re, m, subject, from, &start, &end);
		if (!recurses(pattern) && !agrees(rc, want, start == want_start && end == want_end))
			fail_msg("pattern \"%s\" flags %u from %zu in \"%.*s\": %d, %zu to %zu; "
				 "expected %d, %zu to %zu",
				pattern, flags, from, (int)n, text, (int)rc, start, end, want,
				want_start, want_end);
		/* \K moves the beginning, so it may stand in front of the match: but in its line */
		if (rc == REGEX_FOUND && literal.n > 0 &&
			memmem(text + (strstr(pattern, "\\K") != NULL ? 0 : start),
				end - (strstr(pattern, "\\K") != NULL ? 0 : start), literal.p,
				literal.n) == NULL)
			fail_msg("pattern \"%s\": \"%.*s\" is not in the match", pattern,
				(int)literal.n, literal.p);
		free((char *)subject.p);
	}
	regex_match_free(m);
	regex_free(re);
}

static void random_patterns_find_what_pcre2_finds_line_by_line(void **state)
{
	pcre2_match_context *context = pcre2_match_context_create(NULL);
	const char *rounds = getenv("BOXD_TEST_ROUNDS");
	size_t wanted = rounds != NULL ? strtoul(rounds, NULL, 10) : 4000;
	uint32_t seed = test_seed();
	size_t compiled = 0;

	(void)state;
	random_state = seed;
	print_message("seed %u\n", seed);
	pcre2_set_match_limit(context, 20000);
	pcre2_set_depth_limit(context, 5000);
	while (compiled < wanted) {
		static const unsigned int modes[] = {L, L, L, 0, L | I};
		unsigned int flags = modes[roll(5)];
		char pattern[128] = "";
		pcre2_code *code;
		pcre2_match_data *data;

		for (size_t i = 1 + roll(8); i > 0; i--)
			strncat(pattern, pieces[roll(sizeof(pieces) / sizeof(pieces[0]))], 15);
		code = jit_fails(pattern) ? NULL : compile_plainly(pattern, flags);
		if (code == NULL)
			continue;
		compiled++;
		data = pcre2_match_data_create_from_pattern(code, NULL);
		assert_non_null(data);
		check_random(pattern, flags, code, data, context);
		pcre2_match_data_free(data);
		pcre2_code_free(code);
	}
	pcre2_match_context_free(context);
}

/* ---- plain text, long ---- */

static void text_is_found_wherever_it_stands_in_a_long_subject(void **state)
{
	(void)state;
	random_state = 4711;
	for (int i = 0; i < 3000; i++) {
		static const char letters[] = "abAB@`-\n";
		size_t n = roll(300), len = 1 + roll(6), start = 0, end = 0, want = NO;
		unsigned int flags = roll(2) == 0 ? T : T | I;
		char *text = malloc(n + 1), needle[8] = "";
		struct regex *re;
		struct regex_match *m;
		enum regex_result rc;

		assert_non_null(text);
		for (size_t k = 0; k < n; k++)
			text[k] = letters[roll(sizeof(letters) - 1) % (roll(4) == 0 ? 8 : 1)];
		for (size_t k = 0; k < len; k++)
			needle[k] = letters[roll(sizeof(letters) - 1)];
		if (n > len + 1 && roll(3) != 0)
			memcpy(text + roll(n - len), needle, len);
		for (size_t k = 0; want == NO && k + len <= n; k++) {
			if ((flags & I) != 0 ? strncasecmp(text + k, needle, len) == 0
					     : memcmp(text + k, needle, len) == 0)
				want = k;
		}
		re = compile(needle, flags);
		m = regex_match_new(re);
		assert_non_null(m);
		text = realloc(text, n > 0 ? n : 1);
		rc = regex_find(re, m, (struct str){text, n}, 0, &start, &end);
		if (rc != (want == NO ? REGEX_NOTHING : REGEX_FOUND) ||
			(want != NO && (start != want || end != want + len)))
			fail_msg("\"%s\" in \"%.*s\": %d at %zu, expected %zu", needle, (int)n,
				text, (int)rc, start, want);
		regex_match_free(m);
		regex_free(re);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pattern_is_found_where_it_stands),
		cmocka_unit_test(a_bad_pattern_is_told_in_words_and_with_its_place),
		cmocka_unit_test(a_pattern_may_be_as_long_as_the_limit_and_no_longer),
		cmocka_unit_test(text_may_be_longer_than_a_pattern_that_pcre2_compiles),
		cmocka_unit_test(nothing_is_found_in_nothing),
		cmocka_unit_test(groups_are_found_by_number_and_name),
		cmocka_unit_test(the_longest_literal_that_is_certain_is_taken),
		cmocka_unit_test(a_pattern_that_needs_too_many_steps_is_given_up),
		cmocka_unit_test(a_long_search_asks_whether_to_go_on),
		cmocka_unit_test(few_places_are_tried_between_two_questions_when_each_takes_long),
		cmocka_unit_test(a_deep_match_finds_or_gives_up),
		cmocka_unit_test(a_match_is_found_at_every_place_behind_one_that_is_hard),
		cmocka_unit_test(where_a_search_begins_does_not_move),
		cmocka_unit_test(a_match_is_found_at_every_place_of_a_long_line),
		cmocka_unit_test(random_patterns_find_what_pcre2_finds_line_by_line),
		cmocka_unit_test(text_is_found_wherever_it_stands_in_a_long_subject),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
