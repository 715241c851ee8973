/*
 * Globs: a table of patterns and texts, the errors, the limits, and random patterns that are
 * compared with a slow reference and with the automaton behind the short cuts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/proto/glob_internal.h"
#include "boxd/glob.h"
#include "glob_reference.h"
#include "proto_oom.h"
#include "seed.h"

#define STATES 8192

static struct glob *compile(const char *pattern)
{
	const char *why;
	struct glob *g = glob_new(str_of(pattern), STATES, &why);

	if (g == NULL)
		fail_msg("%s: %s", pattern, why != NULL ? why : "no memory");
	return g;
}

/* ---- the table ---- */

#define MOST 12

static const struct {
	const char *pattern;
	const char *yes[MOST], *no[MOST];
} rows[] = {
	/* plain text */
	{"", {""}, {"a", "/"}},
	{"abc", {"abc"}, {"", "ab", "abcd", "aBc", "ab/"}},
	{"a/b", {"a/b"}, {"a", "a//b", "/a/b", "a/b/"}},
	{"a/", {"a/"}, {"a", "a//"}},
	{"a-b^c]d(e)f,g", {"a-b^c]d(e)f,g"}, {"a"}},
	{"\xd0\xb6*\xf0\x9f\x98\x80", {"\xd0\xb6\xf0\x9f\x98\x80"}, {"\xd0\xb6"}},
	{"\xe4\xb8\xad\xc3\xa9", {"\xe4\xb8\xad\xc3\xa9"}, {"\xe4\xb8\xad", "\xe4\xb8"}},
	/* one star */
	{"*", {"", "a", "abc", ".hidden", "\xc3\xa9", "\xff"}, {"/", "a/b", "a/"}},
	{"*.py", {".py", "a.py", "a.b.py", "..py"}, {"py", "a.pyc", "a.py/", "d/a.py", "A.PY"}},
	{"a*", {"a", "ab", "a.b"}, {"", "ba", "a/", "a/b"}},
	{"a*b", {"ab", "aab", "axxb"}, {"a", "b", "aba", "a/b", "aa/b", "a/bb"}},
	{"a*a", {"aa", "aaa"}, {"a"}},
	{"*ab*", {"ab", "xabx", "abab"}, {"a", "b", "axb", "x/ab"}},
	{"a*b*c*d*e*/f", {"axbxcxdxe/f", "abcde/f", "axbxcxdxexxx/f"},
		{"axbxcxdxe/xxx/f", "axbxcxdxexxx/fff"}},
	{"a*b?c*x", {"abxbbxdbxebxczzx"}, {"abxbbxdbxebxczzy"}},
	{"*/*", {"/", "a/b", "/b", "a/"}, {"a", "a/b/c", "//"}},
	{"***", {"", "abc"}, {"/", "a/b"}},
	{"a**", {"a", "abc"}, {"a/b", "a/"}},
	{"**a", {"a", "ba"}, {"b/a", "/a"}},
	{"a/***", {"a/", "a/b"}, {"a", "a/b/c"}},
	/* one character */
	{"?", {"a", "?", ".", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xff", "\xc3", "\x80"},
		{"", "/", "ab", "\xc3\xa9x", "\xff\xff", "\xc3\xc3", "\xe4\xb8", "\xed\xa0\x80"}},
	{"a?b",
		{"a.b", "a\xe2\x98\xba"
			"b"},
		{"a/b", "ab",
			"a\xe2\x98"
			"b"}},
	{"a???b",
		{"a123b", "a\xe2\x98\xff"
			  "b"},
		{"a\xe2\x98\xba"
		 "b"}},
	{"???",
		{"\xe2\x98\xba\xe2\x98\xba\xe2\x98\xba", "\xc0\x80"
							 "a"},
		{"\xe2\x98\xba"}},
	/* classes */
	{"[abc]", {"a", "b", "c"}, {"", "d", "ab", "[abc]"}},
	{"ab[b-d]", {"abb", "abc", "abd"}, {"aba", "abe", "ab-"}},
	{"ab[^b-d]", {"aba", "abe", "ab-", "ab\xc3\xa9", "ab\xff"}, {"abb", "abd", "ab", "ab/"}},
	{"[!a]", {"b", "!"}, {"a", "", "/"}},
	{"[a!^]", {"a", "!", "^"}, {"b"}},
	{"[^^]", {"a"}, {"^"}},
	{"[a-b-d]", {"a", "b", "-", "d"}, {"c"}},
	{"[-x]", {"-", "x"}, {"a"}},
	{"[x-]", {"-", "x"}, {"a", "y"}},
	{"[-]", {"-"}, {"a"}},
	{"[+--]", {"+", ",", "-"}, {"*", "."}},
	{"[--0]", {"-", ".", "0"}, {",", "1", "/"}},
	{"[\\]a]", {"]", "a"}, {"\\", "b"}},
	{"[a\\-c]", {"a", "-", "c"}, {"b", "\\"}},
	{"[\\a-\\c]", {"a", "b", "c"}, {"\\", "-"}},
	{"[[-\\]]", {"[", "\\", "]"}, {"a", "-"}},
	{"[\\\\]", {"\\"}, {"]"}},
	{"[c-a]", {"c"}, {"a", "b"}},
	{"[^c-a]", {"a", "b"}, {"c"}},
	{"[*?{!,(]", {"*", "?", "{", "!", ",", "("}, {"a", "}"}},
	{"[a/]", {"a"}, {"/"}},
	{"[.-0]", {".", "0"}, {"/"}},
	{"[^a]", {"b"}, {"/", "a"}},
	{"[\xce\xb1-\xcf\x89]*", {"\xce\xb2", "\xcf\x89x"}, {"a", "\xc3\xa9", "\xce"}},
	{"[a-\xce\xb6]", {"a", "z", "\xce\xb1", "\xc3\xa9"}, {"A", "\xcf\x89", "\xff"}},
	{"[\x80-\xff]", {"\x80", "\xff", "\xc3"}, {"a", "\xc3\xa9", "\x80\x80"}},
	{"[\xf0\x9f\x98\x80-\xff]", {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x81", "\xfe"}, {"\xc3\xa9"}},
	{"[\xe9\xbe\x98]", {"\xe9\xbe\x98"}, {"\xe1\xbe\x98", "\xe9\xbe\x99"}},
	{"[a-cb-ex-zd]", {"a", "c", "e", "y", "d"}, {"f", "w"}},
	/* escapes */
	{"\\*", {"*"}, {"", "a", "\\*"}},
	{"a\\*b", {"a*b"}, {"ab", "axb"}},
	{"\\a\\b", {"ab"}, {"\\a\\b"}},
	{"\\\\", {"\\"}, {"\\\\"}},
	{"\\[a\\]", {"[a]"}, {"a"}},
	{"\\{a,b\\}", {"{a,b}"}, {"a"}},
	{"{a\\,b,c\\}}", {"a,b", "c}"}, {"a", "c"}},
	{"\\!(a)", {"!(a)"}, {"b"}},
	{"*\\}", {"}", "a}"}, {"a"}},
	{"\\\xc3\xa9", {"\xc3\xa9"}, {"\xc3"}},
	{"a\\/b", {"a/b"}, {"ab"}},
	{"**\\/b", {"b", "a/b"}, {"ab"}},
	{"a/\\**", {"a/*", "a/*b"}, {"a/b", "a/b/c", "a"}},
	{"a/*\\*", {"a/*", "a/b*"}, {"a/b", "a"}},
	/* bytes that are no characters */
	{"\xff", {"\xff"}, {"\xfe", "\xc3\xbf"}},
	{"\xff*",
		{"\xff", "\xff"
			 "a"},
		{"a\xff"}},
	{"\xc3*",
		{"\xc3", "\xc3"
			 "a"},
		{"\xc3\xa9"}},
	{"*\xa9", {"\xa9", "a\xa9", "\xa9\xa9"}, {"\xc3\xa9"}},
	{"\xc3\\\xa9", {NULL}, {"\xc3\xa9", "\xc3", "\xc3\\\xa9"}},
	/* braces */
	{"ab{c,d}", {"abc", "abd"}, {"ab", "abcd", "abe"}},
	{"ab{c,d,*}", {"ab", "abcde"}, {"a", "ab/"}},
	{"a{,bc}", {"a", "abc"}, {"ab", "abcbc"}},
	{"{,a}{,a}{,a}", {"", "a", "aa", "aaa"}, {"aaaa"}},
	{"{}", {""}, {"{}", "a"}},
	{"a{}b{c}", {"abc"}, {"ab", "a{}bc"}},
	{"{a}*", {"a", "ab"}, {"ba"}},
	{"{,}", {""}, {","}},
	{"{a,{b,{c,d}e}f}g", {"ag", "bfg", "cefg", "defg"}, {"bg", "cfg", "g"}},
	{"{{a,b},{c,d}}", {"a", "b", "c", "d"}, {"", "ac"}},
	{"a/{b/c,c/b}", {"a/b/c", "a/c/b"}, {"a/b", "a/b/b"}},
	{"{a/{b,c},abc}", {"a/b", "a/c", "abc"}, {"a/b/c", "a"}},
	{"*.{c,h,cc}", {"a.c", "b.h", ".cc", "a.c.h"}, {"a.ch", "a.", "c", "d/a.c"}},
	{"*{b,ab}*", {"b", "ab", "xabx"}, {"a", "x/b"}},
	{"{*a,b*}{*c,d*}", {"ac", "bc", "bd", "xaxc", "bxdx"}, {"a", "xc", "b/c"}},
	{"{a?,[bc]}d", {"axd", "bd", "cd"}, {"ad", "d"}},
	{"{[,],a}", {",", "a"}, {"[", "]"}},
	{"{[{}],a}", {"{", "}", "a"}, {"["}},
	/* two stars */
	{"**", {"", "a", "a/b", "/", "a//b/"}, {NULL}},
	{"**/c", {"c", "a/c", "a/b/c", "/c", "a//c"}, {"abcd", "a/abc", "c/", "ac"}},
	{"**/*.py", {"a.py", "x/a.py", "x/y/.py"}, {"a.pyc", "a.py/b"}},
	{"**/a*", {"a", "ab", "x/ab", "x/y/a"}, {"xa", "a/b", "a/"}},
	{"**/", {"", "a/", "a/b/", "/"}, {"a", "a/b"}},
	{"**/**", {"", "a", "a/b"}, {NULL}},
	{"**/**/a", {"a", "b/a", "b/c/a"}, {"ba"}},
	{"**/?", {"a", "x/\xc3\xa9"}, {"", "ab", "x/ab"}},
	{"**/a/*", {"a/b", "x/a/b", "a/"}, {"a", "a/b/c", "xa/b"}},
	{"a/**", {"a", "a/", "a/b", "a/b/c"}, {"", "ab", "b/a", "aa/b"}},
	{"a/**/b", {"a/b", "a/x/b", "a/x/y/b", "a//b"}, {"ab", "a/xb", "a/b/c", "a"}},
	{"a/**/", {"a/", "a/b/"}, {"a", "a/b"}},
	{"a/**/**", {"a/", "a/b", "a/b/c"}, {"a", "ab"}},
	{"*/**", {"a", "", "a/b/c"}, {NULL}},
	{"/**", {"", "/", "/a/b"}, {"a", "a/b"}},
	{"a**/b", {"a/b", "axx/b"}, {"a/x/b", "ab"}},
	{"a/**b", {"a/b", "a/xb"}, {"a/x/b", "a"}},
	{"**{/b,}", {"", "a", "b", "a/b", "/b", "a/c"}, {NULL}},
	{"{a,b}/**", {"a", "b/c"}, {"", "c/a"}},
	{"{a/**,b}", {"a", "a/b/c", "b"}, {"b/c", ""}},
	{"{a/**,b}/c", {"a/c", "a/x/y/c", "b/c"}, {"b/x/c", "a"}},
	{"{**/a,b}", {"a", "x/y/a", "b"}, {"x/b", "xa"}},
	{"x{**/a,b}", {"xa/a", "x/a", "xb"}, {"xa", "x/y/a"}},
	{"{**/,}a", {"a", "x/a", "x/y/a"}, {"xa"}},
	{"{a/,b}**", {"a/", "a/x/y", "a", "b", "bx"}, {"b/x", "ax"}},
	{"{*,a}*", {"", "ab", "a/b", "/"}, {NULL}},
	{"{*,*}*/x", {"x", "a/x", "a/b/x"}, {"ax", "a"}},
	{"x{*,a}*", {"x", "xab"}, {"x/", "xa/b"}},
	{"{,x}**/b", {"b", "a/b", "x/b", "xy/b"}, {"ab"}},
	{"a/{**,b}", {"a", "a/b", "a/c/d"}, {"b"}},
	{"a/**{,/b}", {"a", "a/b", "a/x/y"}, {"ab"}},
	{"**/{a,b/c}", {"a", "x/a", "b/c", "x/b/c"}, {"c", "ba"}},
	/* negation */
	{"!(a)", {"", "b", "aa", "a/b"}, {"a"}},
	{"!(a)b", {"", "b", "bb", "abb"}, {"ab"}},
	{"!()", {"a"}, {""}},
	{"!()*", {"a/b"}, {"", "a"}},
	{"a!(b)", {"a", "ac", "abb"}, {"ab", "", "b", "ba"}},
	{"*.!(js)", {"a.ts", "a.", "a.js.map"}, {"a.js", "a.b.js", "a", ""}},
	{"!(*.js)", {"a.ts", "js", "d/a.js"}, {"a.js", ".js"}},
	{"!(**/*.js)", {"a.ts", "d/b"}, {"a.js", "d/a.js"}},
	{"a/!(.cache)/**", {"a/x/y", "a/x", "a/", "a/.cachex"},
		{"a/.cache/x", "a/.cache", "b/x", "a"}},
	{"!({a,b})c", {"", "c", "abc"}, {"ac", "bc"}},
	{"!(a,b)", {"a", "b"}, {"a,b"}},
	{"!(a (1))", {"a 1", "a (1"}, {"a (1)"}},
	{"!(a\\))", {"a"}, {"a)"}},
	{"!(a))", {"a", "b"}, {"a)"}},
	{"!({a),b})", {"a"}, {"a)", "b"}},
	{"!([)])", {"a"}, {")"}},
	{"!(!(a))", {"a"}, {"", "b"}},
	{"!(a!(b))", {"ab", "", "b"}, {"a", "ac"}},
	{"!(a)!(b)", {"ab", "", "b", "c"}, {"a", "ac"}},
	{"a!(b)!(c)", {"abc", "ax"}, {"b"}},
	{"{a,ab}!(c)", {"abc", "ab", "ax"}, {"ac", "b", ""}},
	{"{!(a),a}", {"a", "b", ""}, {NULL}},
	{"{x!(a),y}z", {"yz", "x", "xz", "xbz"}, {"xaz", "az"}},
	{"x{,y}!(z){1,2}", {"x", "xz", "xyz1", "xy"}, {"z", ""}},
	{"**!(/b)", {"", "a", "a/c", "/bb"}, {"b", "a/b", "/b"}},
	{"a/**!()", {NULL}, {"a", "a/b", "b"}},
	{"!(?)", {"", "ab"}, {"a", "\xc3\xa9"}},
	{"!([a-c])*", {"", "d"}, {"a", "b1"}},
};

static void check_row(const char *pattern, const char *const *texts, bool expect)
{
	struct glob *g = compile(pattern);

	for (size_t k = 0; k < MOST && texts[k] != NULL; k++) {
		size_t n = strlen(texts[k]);
		char *exact = malloc(n > 0 ? n : 1);

		assert_non_null(exact);
		memcpy(exact, texts[k], n);
		bool matches = glob_match(g, (struct str){exact, n});
		free(exact);
		if (matches != expect)
			fail_msg(
				"%s %s %s", pattern, matches ? "takes" : "does not take", texts[k]);
		enum ref_answer ref = ref_match(str_of(pattern), str_of(texts[k]), 1000000);
		if (ref != (expect ? REF_YES : REF_NO))
			fail_msg("%s, %s: the reference says %d", pattern, texts[k], ref);
	}
	glob_free(g);
}

static void takes_what_the_table_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		check_row(rows[i].pattern, rows[i].yes, true);
		check_row(rows[i].pattern, rows[i].no, false);
	}
}

static void nul_is_a_character(void **state)
{
	const char *why;
	struct glob *g = glob_new(STR("a\0*[\0-\1]"), STATES, &why);

	(void)state;
	assert_non_null(g);
	assert_true(glob_match(g, STR("a\0b\0")));
	assert_false(glob_match(g, STR("a\0b\2")));
	assert_false(glob_match(g, STR("a")));
	glob_free(g);
}

static void an_empty_text_may_have_no_memory(void **state)
{
	const char *why;
	struct glob *empty = glob_new((struct str){NULL, 0}, STATES, &why), *star = compile("*?*");

	(void)state;
	assert_non_null(empty);
	assert_true(glob_match(empty, (struct str){NULL, 0}));
	assert_false(glob_match(star, (struct str){NULL, 0}));
	glob_free(empty);
	glob_free(star);
	glob_free(NULL);
}

/* ---- errors ---- */

static const struct {
	const char *pattern, *why;
} errors[] = {
	{"[", "the pattern has a [ without its ]"},
	{"[^", "the pattern has a [ without its ]"},
	{"[a", "the pattern has a [ without its ]"},
	{"[a-", "the pattern has a [ without its ]"},
	{"[a-b", "the pattern has a [ without its ]"},
	{"[a\\", "the pattern has a [ without its ]"},
	{"[a\\]", "the pattern has a [ without its ]"},
	{"[a-\\", "the pattern has a [ without its ]"},
	{"a[b{c]d}[", "the pattern has a } without its {"},
	{"[]", "the pattern has an empty class []"},
	{"[]a]", "the pattern has an empty class []"},
	{"[^]a]", "the pattern has an empty class []"},
	{"[!]", "the pattern has an empty class []"},
	{"{", "the pattern has a { without its }"},
	{"a{b,c", "the pattern has a { without its }"},
	{"{a,{b}", "the pattern has a { without its }"},
	{"{a\\}", "the pattern has a { without its }"},
	{"{[}]", "the pattern has a { without its }"},
	{"}", "the pattern has a } without its {"},
	{"{a}}", "the pattern has a } without its {"},
	{"!(a}", "the pattern has a } without its {"},
	{"{!(a})", "the pattern has a } without its {"},
	{"\\", "the pattern ends with a backslash"},
	{"a\\\\\\", "the pattern ends with a backslash"},
	{"!", "the pattern has a ! without (: escape it"},
	{"a!b", "the pattern has a ! without (: escape it"},
	{"!{(a)}", "the pattern has a ! without (: escape it"},
	{"!\\(a)", "the pattern has a ! without (: escape it"},
	{"!(", "the pattern has a !( without its )"},
	{"!(a", "the pattern has a !( without its )"},
	{"!((a)", "the pattern has a !( without its )"},
	{"!(a\\)", "the pattern has a !( without its )"},
	{"!({a)}", "the pattern has a !( without its )"},
};

static void says_what_is_wrong_with_a_pattern(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		const char *why = NULL;
		struct glob *g = glob_new(str_of(errors[i].pattern), STATES, &why);

		if (g != NULL || why == NULL || strcmp(why, errors[i].why) != 0)
			fail_msg("%s: %s", errors[i].pattern, why != NULL ? why : "compiles");
		assert_false(ref_valid(str_of(errors[i].pattern)));
	}
}

static void knows_whether_a_pattern_is_for_paths(void **state)
{
	static const struct {
		const char *pattern;
		bool slash;
	} slashes[] = {{"a", false}, {"*[/]\\?", false}, {"a/b", true}, {"**/x", true},
		{"{a,b/}", true}, {"!(a/)", true}, {"a\\/", true}, {"**", false}, {"", false}};

	(void)state;
	for (size_t i = 0; i < sizeof(slashes) / sizeof(slashes[0]); i++) {
		struct glob *g = compile(slashes[i].pattern);

		if (glob_has_slash(g) != slashes[i].slash)
			fail_msg("%s", slashes[i].pattern);
		glob_free(g);
	}
}

/* ---- limits ---- */

static void check_states(const char *pattern, size_t states)
{
	const char *why = NULL;
	struct glob *g = glob_new(str_of(pattern), states, &why);

	if (g == NULL)
		fail_msg("%s: not with %zu states: %s", pattern, states, why);
	glob_free(g);
	g = glob_new(str_of(pattern), states - 1, &why);
	if (g != NULL || why == NULL || strcmp(why, "the pattern is too complex") != 0)
		fail_msg("%s: also with %zu states: %s", pattern, states - 1, why);
}

static void states_are_counted(void **state)
{
	static const struct {
		const char *pattern;
		size_t states;
	} costs[] = {
		{"", 1}, {"abc", 4}, {"a*[bc]?", 5}, {"**/a", 5}, {"{a,b}c", 7}, /* kept together */
		{"{a}{}c", 3},                 /* no group at all */
		{"!(ab)", 1 + 3},              /* before it, and without it */
		{"a!(b)c!(d)", 2 + 4 + 5},     /* twice before, once without */
		{"{a,bc}!(d)", 2 + 3 + 3 + 4}, /* each alternative */
		{"{a/,b}**", 9 + 5 + 4},       /* tried, then each alternative */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++)
		check_states(costs[i].pattern, costs[i].states);
}

static void a_pattern_has_so_many_bytes(void **state)
{
	size_t n = GLOB_BYTES_MAX;
	char *text = malloc(n + 1);
	const char *why = NULL;

	(void)state;
	assert_non_null(text);
	memset(text, 'a', n + 1);
	text[n / 2] = '?';
	struct glob *g = glob_new((struct str){text, n}, n + 1, &why);
	assert_non_null(g);
	assert_true(glob_match(g, (struct str){text, n}));
	assert_false(glob_match(g, (struct str){text, n - 1}));
	text[n - 1] = 'b';
	assert_false(glob_match(g, (struct str){text, n}));
	glob_free(g);
	assert_null(glob_new((struct str){text, n + 1}, 2 * n, &why));
	assert_string_equal(why, "the pattern is too long");
	free(text);
}

/* The same piece again and again. */
static char *repeat(const char *piece, size_t times, const char *end)
{
	size_t n = strlen(piece), end_n = strlen(end);
	char *out = malloc(times * n + end_n + 1);

	assert_non_null(out);
	for (size_t i = 0; i < times; i++)
		memcpy(out + i * n, piece, n);
	memcpy(out + times * n, end, end_n + 1);
	return out;
}

/* Deep and wide patterns: no recursion, and nothing that explodes. */
static void large_patterns_are_matched_or_refused(void **state)
{
	static const struct {
		const char *piece, *end;
		size_t times;
		const char *why; /* or it matches the text */
		const char *text_piece, *text_end;
		size_t text_times;
	} large[] = {
		{"a*", "b", 1000, NULL, "a", "b", 5000},
		{"*?", "", 1000, NULL, "a", "", 5000},
		{"{a,b}", "", 1000, NULL, "ab", "", 500},
		{"{,a}", "c", 1000, NULL, "a", "c", 1000},
		{"**/", "x", 1000, NULL, "y/", "x", 2000},
		{"!(a)", "", 1000, "the pattern is too complex", NULL, NULL, 0},
		{"!()", "", 1000, NULL, "", "", 1},
		{"{a,b}", "!(c)", 20, "the pattern is too complex", NULL, NULL, 0},
		{"{a,b/}", "**", 20, "the pattern is too complex", NULL, NULL, 0},
		{"{a,", "", 1000, "the pattern has a { without its }", NULL, NULL, 0},
		{"!(", "", 1000, "the pattern has a !( without its )", NULL, NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		char *pattern = repeat(large[i].piece, large[i].times, large[i].end);
		const char *why = NULL;
		struct glob *g = glob_new(str_of(pattern), STATES, &why);

		if (large[i].why != NULL) {
			assert_null(g);
			assert_string_equal(why, large[i].why);
		} else {
			assert_non_null(g);
			char *text = repeat(
				large[i].text_piece, large[i].text_times, large[i].text_end);
			if (!glob_match(g, str_of(text)))
				fail_msg("%s... does not match", large[i].piece);
			free(text);
		}
		glob_free(g);
		free(pattern);
	}
}

static void braces_nest_deeply(void **state)
{
	char *open = repeat("{a,", 1300, ""), *pattern = malloc(1300 * 4 + 2);

	(void)state;
	assert_non_null(pattern);
	memcpy(pattern, open, 1300 * 3);
	pattern[1300 * 3] = 'b';
	memset(pattern + 1300 * 3 + 1, '}', 1300);
	pattern[1300 * 4 + 1] = '\0';
	struct glob *g = compile(pattern);
	assert_true(glob_match(g, STR("a")));
	assert_true(glob_match(g, STR("b")));
	assert_false(glob_match(g, STR("ab")));
	assert_false(glob_match(g, STR("")));
	glob_free(g);
	free(open);
	free(pattern);
}

/* An automaton of many words: bits must carry from one to the next. */
static void long_patterns_match(void **state)
{
	(void)state;
	for (size_t n = 60; n <= 260; n++) {
		char *pattern = repeat("{a,?}", n / 4, "*[b]**"), *text = repeat("a", n, "b");
		char *name = repeat("?", n, "");
		struct glob *g = compile(pattern), *h = compile(name);

		assert_true(glob_match(g, str_of(text)));
		assert_false(glob_match(g, (struct str){text, n}));
		assert_true(glob_match(h, (struct str){text, n}));
		assert_false(glob_match(h, str_of(text)));
		assert_false(glob_match(h, (struct str){text, n - 1}));
		glob_free(g);
		glob_free(h);
		free(pattern);
		free(text);
		free(name);
	}
}

/* ---- short cuts ---- */

static void common_patterns_are_comparisons(void **state)
{
	static const struct {
		const char *pattern;
		enum glob_shape shape;
		bool base;
	} shapes[] = {
		{"Makefile", GLOB_LITERAL, false},
		{"a/b\\*", GLOB_LITERAL, false},
		{"*.py", GLOB_AROUND, false},
		{"test_*", GLOB_AROUND, false},
		{"test_*.\xc3\xa9", GLOB_AROUND, false},
		{"*", GLOB_AROUND, false},
		{"a**", GLOB_AROUND, false},
		{"src/*.c", GLOB_AROUND, false},
		{"**", GLOB_ALL, false},
		{"**/*.py", GLOB_AROUND, true},
		{"**/**/a", GLOB_LITERAL, true},
		{"**/a?", GLOB_AUTOMATON, true},
		{"**/{a,b}", GLOB_AUTOMATON, true},
		{"**/a/b", GLOB_AUTOMATON, false},
		{"**/**", GLOB_AUTOMATON, false},
		{"*a*", GLOB_AUTOMATON, false},
		{"\xff*", GLOB_AUTOMATON, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct glob *g = compile(shapes[i].pattern);

		assert_int_equal(g->n, 1);
		if (g->questions[0].shape != shapes[i].shape ||
			g->questions[0].base != shapes[i].base)
			fail_msg("%s: shape %d, base %d", shapes[i].pattern, g->questions[0].shape,
				g->questions[0].base);
		glob_free(g);
	}
}

/* ---- random patterns ---- */

static uint32_t random_next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static struct str random_text(
	uint32_t *seed, const char *const *pieces, size_t n, size_t most, char *out)
{
	size_t count = random_next(seed) % (most + 1);
	struct str s = {out, 0};

	for (size_t i = 0; i < count; i++) {
		const char *piece = pieces[random_next(seed) % n];

		memcpy(out + s.n, piece, strlen(piece));
		s.n += strlen(piece);
	}
	return s;
}

/* A valid pattern must give the reference's answer on both ways; an invalid one none. */
static bool check_random(uint32_t start, struct str pattern, uint32_t *seed)
{
	static const char *const letters[] = {
		"a", "a", "b", "/", "/", "-", "\xc3\xa9", "\xc3", "\xa9", "c"};
	const char *why;
	struct glob *g = glob_new(pattern, 100000, &why);
	struct glob *general = glob_new_as(pattern, 100000, true, &why);
	bool valid = ref_valid(pattern);

	if ((g != NULL) != valid || (general != NULL) != valid)
		fail_msg("seed %u: %.*s: %s", start, (int)pattern.n, pattern.p,
			g != NULL ? "compiles" : why);
	for (int k = 0; valid && k < 24; k++) {
		char memory[64];
		struct str text = random_text(seed, letters, 10, 7, memory);
		enum ref_answer ref = ref_match(pattern, text, 20000);

		if (glob_match(g, text) != glob_match(general, text))
			fail_msg("seed %u: %.*s takes a short cut at %.*s", start, (int)pattern.n,
				pattern.p, (int)text.n, text.p);
		if (ref != REF_UNKNOWN && glob_match(g, text) != (ref == REF_YES))
			fail_msg("seed %u: %.*s, %.*s: should be %d", start, (int)pattern.n,
				pattern.p, (int)text.n, text.p, ref);
	}
	glob_free(g);
	glob_free(general);
	return valid;
}

static void run_random(const char *const *pieces, size_t n, size_t most, int rounds)
{
	uint32_t start = test_seed(), seed = start;
	int valid = 0;

	print_message("seed %u\n", start);
	for (int round = 0; round < rounds; round++) {
		char memory[128];
		struct str pattern = random_text(&seed, pieces, n, most, memory);

		valid += check_random(start, pattern, &seed) ? 1 : 0;
	}
	assert_true(valid > rounds / 20);
}

static void random_patterns_match_as_defined(void **state)
{
	static const char *const pieces[] = {"a", "a", "b", "/", "/", "*", "*", "**", "**/", "/**",
		"?", "[ab]", "[^a]", "{", "{", ",", ",", "}", "}", "!(", ")", "\\", "\xc3\xa9",
		"\xc3", "\xa9", "-", "[a-c]", "["};

	(void)state;
	run_random(pieces, sizeof(pieces) / sizeof(pieces[0]), 9, 30000);
}

static void random_braces_and_stars_match_as_defined(void **state)
{
	static const char *const pieces[] = {"a", "/", "/", "*", "*", "**", "**", "{a,b}", "{,a}",
		"{/,a}", "{**,a}", "{*,", "{a/,", "{**/,", ",", "}", "}"};

	(void)state;
	run_random(pieces, sizeof(pieces) / sizeof(pieces[0]), 7, 20000);
}

static void random_negations_match_as_defined(void **state)
{
	static const char *const pieces[] = {"a", "b", "/", "*", "*", "**/", "!(", "!(", "!(a)",
		")", ")", "(", "{", ",", "}", "?"};

	(void)state;
	run_random(pieces, sizeof(pieces) / sizeof(pieces[0]), 9, 20000);
}

/* ---- memory ---- */

static void says_when_memory_is_out(void **state)
{
	static const char *const patterns[] = {"*.py", "a?[b-d]", "{x!(a),!(b!(c))}{1,2}",
		"{a/,b}**", "{a,b}{c,d}{e,f}!(g)", "!(a)!(b)!(c)!(d)!(e)!(f)"};

	(void)state;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		struct glob *g = NULL;
		int granted = 0;

		for (; g == NULL; granted++) {
			const char *why = "not set";

			oom_after = granted;
			g = glob_new(str_of(patterns[i]), STATES, &why);
			oom_after = -1;
			assert_null(why);
		}
		assert_true(granted > 5);
		glob_free(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_the_table_says),
		cmocka_unit_test(nul_is_a_character),
		cmocka_unit_test(an_empty_text_may_have_no_memory),
		cmocka_unit_test(says_what_is_wrong_with_a_pattern),
		cmocka_unit_test(knows_whether_a_pattern_is_for_paths),
		cmocka_unit_test(states_are_counted),
		cmocka_unit_test(a_pattern_has_so_many_bytes),
		cmocka_unit_test(large_patterns_are_matched_or_refused),
		cmocka_unit_test(braces_nest_deeply),
		cmocka_unit_test(long_patterns_match),
		cmocka_unit_test(common_patterns_are_comparisons),
		cmocka_unit_test(random_patterns_match_as_defined),
		cmocka_unit_test(random_braces_and_stars_match_as_defined),
		cmocka_unit_test(random_negations_match_as_defined),
		cmocka_unit_test(says_when_memory_is_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
