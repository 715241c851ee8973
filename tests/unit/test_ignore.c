/*
 * ignore: what git says of the same patterns and paths, written down, and what is ours: .ignore
 * files, and what may not be read.
 */
#include "boxd/ignore.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DIR_NAME "ignore-test"
#define FILES    3

struct file {
	const char *name, *text;
};

/* ---- a tree ---- */

static void in_shell(const char *command)
{
	assert_int_equal(system(command), 0);
}

/* All directories of a path that ends in a name. */
static void make_parents(char *path)
{
	for (char *p = strchr(path, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		*p = '/';
	}
}

static void write_file(const char *name, const void *data, size_t n)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", DIR_NAME, name);
	make_parents(path);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	(void)state;
	in_shell("rm -rf " DIR_NAME);
	return mkdir(DIR_NAME, 0755);
}

static int teardown(void **state)
{
	(void)state;
	return system("rm -rf " DIR_NAME);
}

/*
 * As a walk does it: from the root down, each directory is tested before it is entered. What is at
 * the path is made up; its directories exist when something was written there.
 */
static bool left_out(const char *path)
{
	struct ignore *sets[16];
	size_t n = 0, at = 0, len = strlen(path);
	bool out = false;
	int dir = open(DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(dir >= 0);
	sets[n++] = ignore_enter(NULL, dir, (struct str){path, 0});
	while (!out && at < len) {
		const char *slash = memchr(path + at, '/', len - at);
		size_t end = slash == NULL ? len : (size_t)(slash - path);
		char name[256];
		int below;

		out = ignore_match(sets[n - 1], (struct str){path, end}, slash != NULL);
		snprintf(name, sizeof(name), "%.*s", (int)(end - at), path + at);
		at = end + 1;
		if (out || at >= len)
			break;
		below = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir >= 0)
			close(dir);
		dir = below;
		assert_true(n < 16);
		sets[n] = ignore_enter(sets[n - 1], dir, (struct str){path, end});
		n++;
	}
	if (dir >= 0)
		close(dir);
	/* Also from the outside in: a set keeps what it refers to. */
	for (size_t i = 0; i < n; i++)
		ignore_leave(sets[i]);
	return out;
}

/* ---- what git says ---- */

static const struct {
	const char *text; /* of .gitignore at the root */
	const char *path; /* with a slash at the end: a directory */
	bool out;
} rows[] = {
	{"foo\\ ", "foo ", true},
	{"foo\\ \\ ", "foo  ", true},
	{"foo\\ \\ ", "foo ", false},
	{"a{*", "a{b", true},
	{"a{*", "ab", false},
	{"{a,b}*", "{a,b}c", true},
	{"{a,b}*", "a", false},
	{"{a,b}*", "ac", false},
	{"a!*", "a!b", true},
	{"a!*", "ab", false},
	{"*!b", "a!b", true},
	{"*!b", "ab", false},
	{"!(x)*", "(x)y", false},
	{"!(x)*", "y", false},
	{"a!(*)", "a!(b)", true},
	{"a!(*)", "ac", false},
	{"*,b", "a,b", true},
	{"*,b", "ab", false},
	{"{a,b}/*", "{a,b}/c", true},
	{"{a,b}/*", "a/c", false},
	{"[!/]x", "ax", true},
	{"[!/]x", "x", false},
	{"[/]x", "x", false},
	{"*a]", "xa]", true},
	{"*a]", "xa", false},
	{"?}", "a}", true},
	{"?}", "a", false},
	{"foo", "foo", true},
	{"foo/", "foo", false},
	{"foo/", "foo/", true},
	{"foo/", "sub/foo/", true},
	{"foo/", "sub/foo", false},
	{"foo/", "foo/x", true},
	{"/foo", "foo", true},
	{"/foo", "sub/foo", false},
	{"/foo", "foo/", true},
	{"/foo", "foo/x", true},
	{"a/b", "a/b", true},
	{"a/b", "x/a/b", false},
	{"a/b", "a/b/", true},
	{"a/b", "a/b/c", true},
	{"a/b", "a/bc", false},
	{"/a/b", "a/b", true},
	{"/a/b", "x/a/b", false},
	{"a/b/", "a/b", false},
	{"a/b/", "a/b/", true},
	{"*.o", "x.o", true},
	{"*.o", "sub/x.o", true},
	{"*.o", ".o", true},
	{"*.o", "x.oo", false},
	{"*.o", "xo", false},
	{"*.o", "x.o/", true},
	{"*.o/", "x.o", false},
	{"*.o/", "x.o/", true},
	{"/*.o", "x.o", true},
	{"/*.o", "sub/x.o", false},
	{"*", "a", true},
	{"*", "a/", true},
	{"*", ".a", true},
	{"!foo", "foo", false},
	{"*.c\n!main.c", "x.c", true},
	{"*.c\n!main.c", "main.c", false},
	{"*.c\n!main.c", "sub/main.c", false},
	{"!main.c\n*.c", "main.c", true},
	{"*.c\n!main.c\nmain.*", "main.c", true},
	{"*.c\n!main.c\nmain.*", "main.h", true},
	{"build\n!build/keep", "build/", true},
	{"build\n!build/keep", "build/keep", true},
	{"build/*\n!build/keep", "build/", false},
	{"build/*\n!build/keep", "build/keep", false},
	{"build/*\n!build/keep", "build/x", true},
	{"# foo", "# foo", false},
	{"# foo", "foo", false},
	{"\\#foo", "#foo", true},
	{"\\!foo", "!foo", true},
	{"\\!foo", "foo", false},
	{"foo   ", "foo", true},
	{"foo\\ ", "foo", false},
	{"foo\\ \\ ", "foo", false},
	{"foo\\  ", "foo", false},
	{"foo bar", "foo bar", true},
	{" foo", "foo", false},
	{"foo\t", "foo", false},
	{"foo\r\nbar\r", "foo", true},
	{"foo\r\nbar\r", "bar", true},
	{"\xef\xbb\xbf"
	 "foo",
		"foo", true},
	{"**/foo", "foo", true},
	{"**/foo", "a/foo", true},
	{"**/foo", "a/b/foo", true},
	{"**/foo", "xfoo", false},
	{"**/foo/bar", "foo/bar", true},
	{"**/foo/bar", "a/foo/bar", true},
	{"**/foo/bar", "foo/x/bar", false},
	{"a/**", "a/", false},
	{"a/**", "a/b", true},
	{"a/**", "a/b/c", true},
	{"a/**", "b/a/c", false},
	{"a/**/b", "a/b", true},
	{"a/**/b", "a/x/b", true},
	{"a/**/b", "a/x/y/b", true},
	{"a/**/b", "a/xb", false},
	{"a/**/b", "ab", false},
	{"a/**/", "a/", false},
	{"a/**/", "a/b", false},
	{"a/**/", "a/b/", true},
	{"a/**/", "a/b/c/", true},
	{"/**", "a", true},
	{"/**", "a/b", true},
	{"/**", "a/", true},
	{"**", "a", true},
	{"**", "a/b", true},
	{"**/", "a", false},
	{"**/", "a/", true},
	{"a**b", "ab", true},
	{"a**b", "axb", true},
	{"a**b", "axxb", true},
	{"a**b", "a/b", false},
	{"a/**b", "a/b", true},
	{"a/**b", "a/xb", true},
	{"a/**b", "a/x/b", false},
	{"a/b**", "a/b", true},
	{"a/b**", "a/bx", true},
	{"a/b**", "a/bx/y", true},
	{"a/b**/c", "a/bx/c", true},
	{"a/b**/c", "a/b/c", true},
	{"***/foo", "foo", true},
	{"***/foo", "a/foo", true},
	{"a/***/b", "a/b", true},
	{"a/***/b", "a/x/b", true},
	{"a/*/b", "a/b", false},
	{"a/*/b", "a/x/b", true},
	{"a/*/b", "a/x/y/b", false},
	{"*/b", "b", false},
	{"*/b", "a/b", true},
	{"*/b", "x/a/b", false},
	{"a/*", "a/b", true},
	{"a/*", "a/b/c", true},
	{"a/*", "a/", false},
	{"a/*", "x/a/b", false},
	{"?oo", "foo", true},
	{"?oo", "oo", false},
	{"?oo", "fooo", false},
	{"a?b", "axb", true},
	{"a?b", "a/b", false},
	{"a?b", "ab", false},
	{"a/?", "a/b", true},
	{"a/?", "a/bc", false},
	{"[abc]x", "ax", true},
	{"[abc]x", "dx", false},
	{"[a-c]x", "ax", true},
	{"[a-c]x", "cx", true},
	{"[a-c]x", "dx", false},
	{"[a-c]x", "-x", false},
	{"[!a-c]x", "ax", false},
	{"[!a-c]x", "dx", true},
	{"[^a]x", "ax", false},
	{"[^a]x", "bx", true},
	{"[]a]x", "]x", true},
	{"[]a]x", "ax", true},
	{"[]a]x", "bx", false},
	{"[!]a]x", "]x", false},
	{"[!]a]x", "bx", true},
	{"[a-]x", "ax", true},
	{"[a-]x", "-x", true},
	{"[a-]x", "bx", false},
	{"[-a]x", "ax", true},
	{"[-a]x", "-x", true},
	{"[a\\]b]x", "]x", true},
	{"[a\\]b]x", "ax", true},
	{"[a\\]b]x", "\\x", false},
	{"[\\\\a]x", "\\x", true},
	{"[\\\\a]x", "ax", true},
	{"[[:digit:]]x", "1x", true},
	{"[[:digit:]]x", "ax", false},
	{"[![:digit:]]x", "1x", false},
	{"[![:digit:]]x", "ax", true},
	{"[[:foo:]]x", "fx", false},
	{"[[:alpha:]_-]x", "ax", true},
	{"[[:alpha:]_-]x", "_x", true},
	{"[[:alpha:]_-]x", "-x", true},
	{"[[:alpha:]_-]x", "1x", false},
	{"[[x]y", "[y", true},
	{"[[x]y", "xy", true},
	{"[[:x]y", "[y", true},
	{"[[:x]y", ":y", true},
	{"[[:x]y", "xy", true},
	{"[a", "a", false},
	{"[a", "[a", false},
	{"[a-c", "a", false},
	{"a[", "a[", false},
	{"foo\\", "foo", false},
	{"f\\oo", "foo", true},
	{"f\\*o", "f*o", true},
	{"f\\*o", "fxo", false},
	{"f\\?o", "f?o", true},
	{"f\\?o", "fxo", false},
	{"\\[a]", "[a]", true},
	{"\\[a]", "a", false},
	{"{a,b}", "{a,b}", true},
	{"{a,b}", "a", false},
	{"a{b", "a{b", true},
	{"a}b", "a}b", true},
	{"!(x)", "!(x)", false},
	{"!(x)", "(x)", false},
	{"!(x)", "y", false},
	{"a!b", "a!b", true},
	{"a(b)", "a(b)", true},
	{"a(b)", "ab", false},
	{"a,b", "a,b", true},
	{"+(a)", "+(a)", true},
	{"+(a)", "a", false},
	{"@(a)", "@(a)", true},
	{"@(a)", "a", false},
	{"/", "a", false},
	{"/", "a/", false},
	{"//foo", "foo", false},
	{"foo//", "foo", false},
	{"foo//", "foo/", false},
	{"foo//bar", "foo/bar", false},
	{"./foo", "foo", false},
	{"../foo", "foo", false},
	{".", "a", false},
	{"!", "a", false},
	{".*", ".a", true},
	{".*", "a", false},
	{".*", "sub/.a", true},
	{"*.*", "a", false},
	{"*.*", "a.b", true},
	{"*.*", ".a", true},
	{"[a-c-e]x", "ax", true},
	{"[a-c-e]x", "-x", true},
	{"[a-c-e]x", "dx", false},
	{"[a-c-e]x", "ex", true},
	{"[c-a]x", "ax", false},
	{"[c-a]x", "bx", false},
	{"[c-a]x", "cx", true},
	{"[c-ab]x", "bx", true},
	{"[c-ab]x", "cx", true},
	{"[!c-a]x", "ax", true},
	{"[+--]x", "+x", true},
	{"[+--]x", ",x", true},
	{"[+--]x", "-x", true},
	{"[+--]x", ".x", false},
	{"[\\--0]x", "-x", true},
	{"[\\--0]x", "0x", true},
	{"[a/b]x", "ax", true},
	{"x[/]y", "x/y", false},
	{"a[!b]c", "a/c", false},
	{"a[!b]c", "axc", true},
	{"\\a", "a", true},
	{"*foo", "foo", true},
	{"*foo", "xfoo", true},
	{"*foo", "sub/xfoo", true},
	{"*foo*bar", "foobar", true},
	{"*foo*bar", "xfooybar", true},
	{"*foo*bar", "foo", false},
	{"a*b*c", "abc", true},
	{"a*b*c", "axbxc", true},
	{"a*b*c", "ab", false},
	{"dir/*.txt", "dir/a.txt", true},
	{"dir/*.txt", "dir/sub/a.txt", false},
	{"**/*.txt", "a.txt", true},
	{"**/*.txt", "d/a.txt", true},
	{"*/*", "a", false},
	{"*/*", "a/b", true},
	{"*/*", "a/b/c", true},
	{"\xc3\xa9*", "\xc3\xa9t\xc3\xa9", true},
	{"caf\xc3\xa9", "caf\xc3\xa9", true},
};

static void one_file_means_what_it_means_to_git(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_file(".gitignore", rows[i].text, strlen(rows[i].text));
		if (left_out(rows[i].path) != rows[i].out)
			fail_msg("row %zu: \"%s\" and %s: expected %d", i, rows[i].text,
				rows[i].path, rows[i].out);
	}
}

static const struct {
	struct file files[FILES];
	const char *path;
	bool out;
} nested[] = {
	{{{".gitignore", "*.o\n"}, {"sub/.gitignore", "!x.o\n"}}, "x.o", true},
	{{{".gitignore", "*.o\n"}, {"sub/.gitignore", "!x.o\n"}}, "sub/x.o", false},
	{{{".gitignore", "*.o\n"}, {"sub/.gitignore", "!x.o\n"}}, "sub/y.o", true},
	{{{".gitignore", "*.o\n"}, {"sub/.gitignore", "!x.o\n"}}, "sub/deep/x.o", false},
	{{{".gitignore", "!x.o\n"}, {"sub/.gitignore", "*.o\n"}}, "x.o", false},
	{{{".gitignore", "!x.o\n"}, {"sub/.gitignore", "*.o\n"}}, "sub/x.o", true},
	{{{"sub/.gitignore", "/a\nb/c\n**/d\ne/**\n"}}, "a", false},
	{{{"sub/.gitignore", "/a\nb/c\n**/d\ne/**\n"}}, "sub/a", true},
	{{{"sub/.gitignore", "/a\nb/c\n**/d\ne/**\n"}}, "sub/x/a", false},
	{{{"sub/.gitignore", "/a\nb/c\n**/d\ne/**\n"}}, "sub/b/c", true},
	{{{"sub/.gitignore", "/a\nb/c\n**/d\ne/**\n"}}, "b/c", false},
	{{{"sub/.gitignore", "/a\nb/c\n**/d\ne/**\n"}}, "sub/x/b/c", false},
	{{{"sub/.gitignore", "/a\nb/c\n**/d\ne/**\n"}}, "sub/d", true},
	{{{"sub/.gitignore", "/a\nb/c\n**/d\ne/**\n"}}, "sub/x/y/d", true},
	{{{"sub/.gitignore", "/a\nb/c\n**/d\ne/**\n"}}, "sub/e/", false},
	{{{"sub/.gitignore", "/a\nb/c\n**/d\ne/**\n"}}, "sub/e/f", true},
	{{{".gitignore", "sub/*\n!sub/deep\n"}, {"sub/deep/.gitignore", "*\n!keep\n"}}, "sub/x",
		true},
	{{{".gitignore", "sub/*\n!sub/deep\n"}, {"sub/deep/.gitignore", "*\n!keep\n"}}, "sub/deep/",
		false},
	{{{".gitignore", "sub/*\n!sub/deep\n"}, {"sub/deep/.gitignore", "*\n!keep\n"}},
		"sub/deep/x", true},
	{{{".gitignore", "sub/*\n!sub/deep\n"}, {"sub/deep/.gitignore", "*\n!keep\n"}},
		"sub/deep/keep", false},
	{{{".git/info/exclude", "*.log\n"}, {".gitignore", "!a.log\n"}}, "a.log", false},
	{{{".git/info/exclude", "*.log\n"}, {".gitignore", "!a.log\n"}}, "b.log", true},
	{{{".git/info/exclude", "*.log\n"}, {".gitignore", "!a.log\n"}}, "sub/b.log", true},
	/* .ignore, which git does not know: it counts more, wherever it stands */
	{{{".ignore", "*.o\n"}}, "x.o", true},
	{{{".ignore", "*.o\n"}, {".gitignore", "!x.o\n"}}, "x.o", true},
	{{{".ignore", "!x.o\n"}, {".gitignore", "*.o\n"}}, "x.o", false},
	{{{".ignore", "*.o\n"}, {"sub/.gitignore", "!x.o\n"}}, "sub/x.o", true},
	{{{".ignore", "*.o\n"}, {"sub/.ignore", "!x.o\n"}}, "sub/x.o", false},
	{{{".ignore", "a\n"}, {".gitignore", "b\n"}, {".git/info/exclude", "c\n"}}, "a", true},
	{{{".ignore", "a\n"}, {".gitignore", "b\n"}, {".git/info/exclude", "c\n"}}, "b", true},
	{{{".ignore", "a\n"}, {".gitignore", "b\n"}, {".git/info/exclude", "c\n"}}, "c", true},
	{{{".ignore", "a\n"}, {".gitignore", "b\n"}, {".git/info/exclude", "c\n"}}, "d", false},
	/* only the root has a .git that counts */
	{{{"sub/.git/info/exclude", "*.log\n"}}, "sub/a.log", false},
	/* .git itself */
	{{{"x", ""}}, ".git/", true},
	{{{"x", ""}}, ".git", true},
	{{{"x", ""}}, "sub/.git", true},
	{{{"x", ""}}, "sub.git", false},
	{{{".gitignore", "!.git\n"}}, ".git/", true},
	/* a name of the directory itself is no prefix of what is in it */
	{{{"ab/.gitignore", "/x\n"}}, "ab/x", true},
	{{{"ab/.gitignore", "/x\n"}}, "ab/ab/x", false},
};

static void files_in_several_directories_are_weighed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(nested) / sizeof(nested[0]); i++) {
		setup(NULL);
		for (size_t k = 0; k < FILES && nested[i].files[k].name != NULL; k++)
			write_file(nested[i].files[k].name, nested[i].files[k].text,
				strlen(nested[i].files[k].text));
		if (left_out(nested[i].path) != nested[i].out)
			fail_msg("row %zu: %s and %s: expected %d", i, nested[i].files[0].name,
				nested[i].path, nested[i].out);
	}
}

/* ---- files that do not count ---- */

static void what_is_no_regular_file_is_passed_over(void **state)
{
	(void)state;
	write_file("outside", "*\n", 2);
	in_shell("ln -s outside " DIR_NAME "/.gitignore");
	assert_false(left_out("a"));
	in_shell("rm " DIR_NAME "/.gitignore; mkfifo " DIR_NAME "/.gitignore");
	assert_false(left_out("a"));
	in_shell("rm " DIR_NAME "/.gitignore; mkdir " DIR_NAME "/.gitignore");
	assert_false(left_out("a"));
	in_shell("mkdir -p " DIR_NAME "/real/info; echo '*' >" DIR_NAME
		 "/real/info/exclude; ln -s real " DIR_NAME "/.git");
	assert_false(left_out("a"));
	in_shell("rm " DIR_NAME "/.git; mkdir " DIR_NAME "/.git; ln -s ../real/info " DIR_NAME
		 "/.git/info");
	assert_false(left_out("a"));
	in_shell("rm -r " DIR_NAME "/.git; mv " DIR_NAME "/real " DIR_NAME "/.git");
	assert_true(left_out("a"));
}

static void what_a_directory_and_those_above_it_may_say_is_bounded(void **state)
{
	const size_t max = (size_t)1 << 20;
	char *text = malloc(max + 1);

	(void)state;
	assert_non_null(text);
	memset(text, '\n', max + 1);
	memcpy(text, "a\n", 2);
	write_file(".gitignore", text, max + 1);
	assert_false(left_out("a"));
	write_file(".gitignore", text, max);
	assert_true(left_out("a"));
	/* There is no room for this one, and there is when the other is shorter. */
	write_file("sub/.gitignore", "b\n", 2);
	assert_false(left_out("sub/b"));
	assert_true(left_out("sub/a"));
	write_file(".gitignore", text, max - 1);
	assert_false(left_out("sub/b"));
	write_file(".gitignore", text, max - 2);
	assert_true(left_out("sub/b"));
	free(text);
}

static void a_directory_without_files_has_its_parents_set(void **state)
{
	struct ignore *root, *sub;
	int dir = open(DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_true(dir >= 0);
	assert_null(ignore_enter(NULL, dir, STR("")));
	assert_null(ignore_enter(NULL, dir, STR("sub")));
	write_file(".gitignore", "a\n", 2);
	root = ignore_enter(NULL, dir, STR(""));
	assert_non_null(root);
	in_shell("rm " DIR_NAME "/.gitignore");
	sub = ignore_enter(root, dir, STR("sub"));
	assert_ptr_equal(sub, root);
	ignore_leave(root);
	assert_true(ignore_match(sub, STR("sub/a"), false));
	ignore_leave(sub);
	ignore_leave(NULL);
	close(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			one_file_means_what_it_means_to_git, setup, teardown),
		cmocka_unit_test_setup_teardown(
			files_in_several_directories_are_weighed, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_is_no_regular_file_is_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_a_directory_and_those_above_it_may_say_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_directory_without_files_has_its_parents_set, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
