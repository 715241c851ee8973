/*
 * replace_regex: what patterns match and what is put in its place, in windows of every size,
 * against a search of each line by itself.
 */
#include "replace_fixture.h"
#include "seed.h"

static const struct text_row regex_rows[] = {
	{"abc abd", "ab.", "<$0>", "<abc> <abd>", 2},
	{"key=value", "(\\w+)=(\\w+)", "$2=$1", "value=key", 1},
	{"key=value", "(?<k>\\w+)=(?<v>\\w+)", "${v}=$k", "value=key", 1},
	{"ab", "(a)(b)", "${2}0$1", "b0a", 1},
	{"ab", "(a)(b)", "$2x$1_y", "bxa_y", 1},
	{"ab AB", "ab", "x", "x AB", 1},
	{"a", "a", "$$1 $$$$", "$1 $$", 1},
	{"a", "a", "[$0${0}]", "[aa]", 1},
	{"ac", "a(b)?c", "[$1]", "[]", 1},
	{"abcdefghijk", "(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", "$11-$1", "k-a", 1},
	{"one\ntwo\n", "^", "> ", "> one\n> two\n", 2},
	{"one\ntwo", "$", ";", "one;\ntwo;", 2},
	{"one\ntwo\n", "$", ";", "one;\ntwo;\n", 2},
	{"one\n\ntwo\n", "^$", "-", "one\n-\ntwo\n", 1},
	{"one\r\ntwo\r\n", "\\r$", "", "one\ntwo\n", 2},
	{"one\r\n", "one$", "x", "one\r\n", 0},
	{"a  \nb\t\n\nc", "\\s+$", "", "a\nb\n\nc", 2},
	{"a\nb\n", "a\\nb", "x", "a\nb\n", 0},
	{"a\nb\n", "a[^x]*", "x", "x\nb\n", 1},
	{"a\nb\n", "(?s)a.*", "x", "x\nb\n", 1},
	{"a\nb\n", "a(?!\\n)", "x", "x\nb\n", 1},
	{"ab\ncd", "(?<=b)", "|", "ab|\ncd", 1},
	{"abxc", "x*", "-", "-a-b-c-", 4},
	{"abc\n", "(?:)", "-", "-a-b-c-\n", 4},
	{"", "x*", "-", "", 0},
	{"\n", "x*", "-", "-\n", 1},
	{"\n\n", "x*", "-", "-\n-\n", 2},
	{"aa", "a\\K", "-", "a-a-", 2},
	{"\xc3\xa9\xff"
	 "a",
		"x*", "-", "-\xc3\xa9-\xff-a-", 4},
	{"\xc3\xa9\xc3\xa8", "[\xc3\xa9\xc3\xa8]", "e", "ee", 2},
	{"aaa", "a", "aa", "aaaaaa", 3},
	{"aaa", "^a", "", "aa", 1},
	{"foobar foobaz", "foo(?=baz)", "x", "foobar xbaz", 1},
	{"no end of line", "line\\z", "x", "no end of x", 1},
};

static void replaces_what_a_pattern_matches(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(regex_rows); i++) {
		const struct text_row *r = &regex_rows[i];

		for (size_t window = 1; window < 20; window++) {
			struct replace_sizes sizes = {window, 19, 1 + window % 7};
			struct replace_spec spec = regex_spec(r->old, r->new_text);

			store(path, r->before, strlen(r->before));
			uint64_t count = must_work(&spec, &sizes);
			if (count != r->count || !holds(path, r->after, strlen(r->after)))
				fail_msg("row %zu (%s), window %zu: %d", i, r->old, window,
					(int)count);
		}
	}
}

static void case_is_ignored_when_asked(void **state)
{
	struct replace_spec spec = regex_spec("ab", "x");

	(void)state;
	store(path, "ab AB aB", 8);
	spec.ignore_case = true;
	assert_int_equal(must_work(&spec, &plain_sizes), 3);
	assert_true(holds(path, "x x x", 5));
}

/* Each line a subject of its own, matches without a block around them; counts all. */
static uint64_t naive_regex(
	const struct regex *re, struct regex_match *m, const char *text, size_t n, struct buf *out)
{
	uint64_t count = 0;

	for (size_t at = 0; at < n; at++) {
		const char *lf = memchr(text + at, '\n', n - at);
		struct str line = {text + at, lf != NULL ? (size_t)(lf - text) - at : n - at};
		size_t from = 0, copied = 0, start, end;
		bool any = false;

		while (from <= line.n &&
			regex_find(re, m, line, from, &start, &end) == REGEX_FOUND) {
			if (any && start == end && start == copied) {
				from++;
				continue;
			}
			assert_int_equal(buf_add(out, line.p + copied, start - copied), 0);
			assert_int_equal(
				buf_printf(out, "<%.*s>", (int)(end - start), line.p + start), 0);
			copied = from = end;
			any = true;
			count++;
		}
		assert_int_equal(buf_add(out, line.p + copied, line.n - copied), 0);
		at += line.n;
		if (lf != NULL)
			assert_int_equal(buf_add_str(out, "\n"), 0);
	}
	return count;
}

static void agrees_with_a_pattern_line_by_line(void **state)
{
	static const char *const patterns[] = {"a", "ab", "a*", "b+$", "^a", "^", "$", "(a|b)(a)?",
		"[^a]", "[^a]+b", "a\\b", "(?<!a)b", "b(?!a)", "^.?$", "\\s", "(?=b)", "a.*b|b"};
	char text[400];

	(void)state;
	seed = test_seed();
	print_message("seed %u\n", seed);
	for (int round = 0; round < 600; round++) {
		uint32_t first = seed;
		const char *pattern = patterns[random_below(COUNT(patterns))];
		size_t n = random_text(text, random_below(8) > 0 ? 30 : 400, 5, "ab\n\ra");
		struct replace_sizes sizes = {1 + random_below(40), 400, 1 + random_below(50)};
		struct replace_spec spec = regex_spec(pattern, "<$0>");
		struct buf expected = {0};
		struct err e = {0};
		struct regex *re = regex_new(str_of(pattern), 0, &e);
		struct regex_match *m = re != NULL ? regex_match_new(re) : NULL;

		assert_non_null(m);
		store(path, text, n);
		uint64_t count = naive_regex(re, m, text, n, &expected);
		if (must_work(&spec, &sizes) != count ||
			!holds(path, buf_data(&expected), buf_len(&expected)))
			fail_msg("seed %u: %s in %.*s", first, pattern, (int)n, text);
		regex_match_free(m);
		regex_free(re);
		buf_fini(&expected);
	}
}

static void a_line_has_a_longest_length(void **state)
{
	char text[64];
	struct replace_spec spec = regex_spec("x", "y");

	(void)state;
	for (size_t window = 1; window <= 20; window++) {
		struct replace_sizes sizes = {window, 20, 64};

		for (int end = 0; end < 3; end++) {
			struct err e = {0};
			uint64_t count;

			/* In front of it, at the end of the file, and with a line behind it. */
			memset(text, 'x', sizeof(text));
			memcpy(text, "ab\n", 3);
			text[23] = '\n';
			store(path, text, end == 0 ? 23 : end == 1 ? 24 : 30);
			assert_int_equal(must_work(&spec, &sizes), end < 2 ? 20 : 26);
			memset(text, 'x', sizeof(text));
			memcpy(text, "ab\n", 3);
			text[24] = '\n';
			store(path, text, end == 0 ? 24 : end == 1 ? 25 : 30);
			assert_int_equal(replace_with_sizes(fs, &spec, &sizes, &count, &e), -1);
			assert_ptr_equal(e.kind, &ERR_BAD_PATTERN);
			assert_int_equal(names_beside(path), 1);
		}
	}
}

static void refuses_a_bad_pattern_or_replacement(void **state)
{
	static const char *const rows[][2] = {
		{"(", ""},
		{"[a", ""},
		{"a{2,1}", ""},
		{"a", "$"},
		{"a", "x$"},
		{"a", "$ x"},
		{"a", "$-"},
		{"a", "${"},
		{"a", "${}"},
		{"a", "${1"},
		{"a", "$1"},
		{"(a)", "$2"},
		{"(a)", "$10"},
		{"(a)", "${1x}"},
		{"(a)", "${x1}"},
		{"(a)", "$x"},
		{"(?<x>a)", "$xy"},
		{"(?<x>a)", "${ x}"},
		{"(a)", "$99999999999999999999"},
		{"(a)", "$4294967297"},
		{"(a)", "$1$$$"},
		{"(a)", "\xc3\xa9${\xc3\xa9}"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct replace_spec spec = regex_spec(rows[i][0], rows[i][1]);

		/* Whether it would match or not. */
		store(path, "a", 1);
		must_fail(&spec, &ERR_BAD_PATTERN);
		assert_true(holds(path, "a", 1));
		store(path, "b", 1);
		must_fail(&spec, &ERR_BAD_PATTERN);
	}
}

static void a_pattern_that_takes_too_long_is_refused(void **state)
{
	struct replace_spec spec = regex_spec("(x+x+)+[yz]", "z");
	char text[64];

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "xxy\n", 4);
	store(path, text, sizeof(text));
	must_fail(&spec, &ERR_BAD_PATTERN);
	assert_true(holds(path, text, sizeof(text)));
	assert_int_equal(names_beside(path), 1);
}

static void a_match_that_begins_in_the_last_one_is_refused(void **state)
{
	struct replace_spec spec = regex_spec("(?:(?<g>\\K)){0}(?<=(?&g)aa)", "z");

	(void)state;
	store(path, "aaa", 3);
	must_fail(&spec, &ERR_BAD_PATTERN);
	assert_true(holds(path, "aaa", 3));
	assert_int_equal(names_beside(path), 1);
}

static atomic_bool cancelled;

static void cancel(void)
{
	atomic_store(&cancelled, true);
}

/* A search with all the steps there are ends before it has made them. */
static void a_search_can_be_cancelled(void **state)
{
	struct replace_spec spec = regex_spec("(x+x+)+[yz]", "z");
	int64_t steps = limit(LIMIT_GREP_STEPS);
	clock_t begin = clock();
	char text[64];

	(void)state;
	memset(text, 'x', sizeof(text));
	store(path, text, sizeof(text));
	assert_true(limit_set(LIMIT_GREP_STEPS, limit_rows[LIMIT_GREP_STEPS].max));
	spec.cancelled = &cancelled;
	reading.at = 0;
	reading.before = cancel;
	must_fail(&spec, &ERR_UNAVAILABLE);
	assert_true(clock() - begin < 2 * CLOCKS_PER_SEC);
	assert_true(limit_set(LIMIT_GREP_STEPS, steps));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(replaces_what_a_pattern_matches),
		TEST(case_is_ignored_when_asked),
		TEST(agrees_with_a_pattern_line_by_line),
		TEST(a_line_has_a_longest_length),
		TEST(refuses_a_bad_pattern_or_replacement),
		TEST(a_pattern_that_takes_too_long_is_refused),
		TEST(a_match_that_begins_in_the_last_one_is_refused),
		TEST(a_search_can_be_cancelled),
	};

	return cmocka_run_group_tests(tests, make_box, remove_box);
}
