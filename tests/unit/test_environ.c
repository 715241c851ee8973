/* The environment of a child: sets, the env file, path expansion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/clock.h"
#include "boxd/environ.h"
#include "boxd/limits.h"
#include "boxd/log.h"

#define ENV_FILE "environ_test.env"

static char *const base[] = {"HOME=/home/me", "PATH=/bin", "A=1", "EMPTY=", "_x9=under",
	"BOXD_TOKEN=t", "BOXD_LOG_LEVEL=debug", "EXECD_ACCESS_TOKEN=t", "JUPYTER_TOKEN=t",
	"EXECD_ENVS=/envs", "TILDE=~", "DUP=first", "DUP=second", "noequals", "=odd", NULL};

static void put(struct environ_set *s, const char *name, const char *value)
{
	assert_int_equal(environ_put(s, name, value), 0);
}

static void write_file(const char *text, size_t n)
{
	FILE *f = fopen(ENV_FILE, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

/* ---- sets ---- */

static void keeps_the_daemons_secrets_from_children(void **state)
{
	static const char *const hidden[] = {"BOXD_TOKEN", "BOXD_LOG_LEVEL", "EXECD_ACCESS_TOKEN",
		"JUPYTER_TOKEN", "noequals", ""};
	struct environ_set *s = environ_new(base);
	char **vars = environ_array(s);
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
		assert_null(environ_get(s, hidden[i]));
	for (; vars[n] != NULL; n++)
		assert_null(strstr(vars[n], "TOKEN"));
	assert_int_equal(n, 8);
	assert_string_equal(environ_get(s, "EXECD_ENVS"), "/envs");
	assert_string_equal(environ_get(s, "EMPTY"), "");
	environ_free(s);
}

static void the_last_of_equal_names_wins(void **state)
{
	struct environ_set *s = environ_new(base);
	size_t dups = 0;

	(void)state;
	assert_string_equal(environ_get(s, "DUP"), "second");
	put(s, "DUP", "third");
	put(s, "DUPE", "other");
	assert_string_equal(environ_get(s, "DUP"), "third");
	for (char **v = environ_array(s); *v != NULL; v++)
		dups += strncmp(*v, "DUP=", 4) == 0;
	assert_int_equal(dups, 1);
	environ_free(s);
}

static void holds_any_number_of_variables(void **state)
{
	struct environ_set *s = environ_new(NULL);
	char name[16], value[16];
	int64_t before = clock_mono_us();
	size_t n = 0;

	(void)state;
	assert_null(environ_array(s)[0]);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 20000; i++) {
			snprintf(name, sizeof(name), "N%d", i);
			snprintf(value, sizeof(value), "%d", i * (round + 1));
			put(s, name, value);
		}
	}
	for (; environ_array(s)[n] != NULL; n++)
		;
	assert_int_equal(n, 20000);
	assert_string_equal(environ_get(s, "N0"), "0");
	assert_string_equal(environ_get(s, "N777"), "1554");
	assert_string_equal(environ_get(s, "N19999"), "39998");
	assert_null(environ_get(s, "N20000"));
	/* A linear search would take minutes under a sanitizer. */
	assert_true(clock_mono_us() - before < 5000000);
	environ_free(s);
}

static void a_long_value_has_its_own_place(void **state)
{
	struct environ_set *s = environ_new(base);
	char *big = malloc(100001);

	(void)state;
	memset(big, 'x', 100000);
	big[100000] = '\0';
	put(s, "BIG", big);
	put(s, "AFTER", "small");
	assert_string_equal(environ_get(s, "BIG"), big);
	assert_string_equal(environ_get(s, "AFTER"), "small");
	environ_free(s);
	free(big);
}

static void names_are_valid_unless_empty_or_with_an_equals_sign(void **state)
{
	(void)state;
	assert_true(environ_valid_name("A"));
	assert_true(environ_valid_name("odd name!"));
	assert_false(environ_valid_name(""));
	assert_false(environ_valid_name("A=B"));
	assert_false(environ_valid_name("="));
}

/* ---- paths ---- */

static void expands_paths_by_the_grammar_of_the_contract(void **state)
{
	static const struct {
		const char *in, *out, *undefined;
	} rows[] = {
		{"", "", NULL},
		{"/plain/path", "/plain/path", NULL},
		{"$A", "1", NULL},
		{"${A}", "1", NULL},
		{"/x/$A/y", "/x/1/y", NULL},
		{"$A$A${A}", "111", NULL},
		{"$_x9", "under", NULL},
		{"${A}B", "1B", NULL},
		{"$A.b", "1.b", NULL},
		{"[$EMPTY]", "[]", NULL},
		{"$1a", "a", NULL},
		{"$10", "0", NULL},
		{"a$*b$#c$$d$@e$!f$?g$-h", "abcdefgh", NULL},
		{"${1}${*}x", "x", NULL},
		{"a${}b", "ab", NULL},
		{"$", "$", NULL},
		{"a$", "a$", NULL},
		{"$/x", "$/x", NULL},
		{"$ A", "$ A", NULL},
		{"$.$A", "$.1", NULL},
		{"${", "${", NULL},
		{"${A", "${A", NULL},
		{"${A B}", "${A B}", NULL},
		{"$\xc3\xa4", "$\xc3\xa4", NULL},
		{"~", "/home/me", NULL},
		{"~/x", "/home/me/x", NULL},
		{"~\\x", "/home/me\\x", NULL},
		{"~user", "~user", NULL},
		{"x~", "x~", NULL},
		{"/~", "/~", NULL},
		{"~~", "~~", NULL},
		{"$TILDE", "/home/me", NULL},
		{"$TILDE/x", "/home/me/x", NULL},
		{"$EMPTY~/x", "/home/me/x", NULL},
		{"$1~", "/home/me", NULL},
		{"${NOPE}", NULL, "NOPE"},
		{"$Z/$A/$B/${Y}/$B", NULL, "B,Y,Z"},
		{"$AB$A$ABC", NULL, "AB,ABC"},
		{"~/$NOPE", NULL, "NOPE"},
		{"$BOXD_TOKEN", NULL, "BOXD_TOKEN"},
	};
	struct environ_set *s = environ_new(base);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = {0};
		char *got = environ_expand_path(s, rows[i].in, &e);
		const char *list = strstr(e.msg, ": ");

		if (rows[i].out != NULL && (got == NULL || strcmp(got, rows[i].out) != 0))
			fail_msg("%s: got %s (%s)", rows[i].in, got ? got : "NULL", e.msg);
		if (rows[i].undefined != NULL &&
			(got != NULL || list == NULL || strcmp(list + 2, rows[i].undefined) != 0 ||
				e.kind != &ERR_BAD_BODY))
			fail_msg("%s: got %s (%s)", rows[i].in, got ? got : "NULL", e.msg);
		free(got);
	}
	environ_free(s);
}

static void a_tilde_needs_a_home(void **state)
{
	static const char *const homes[] = {NULL, ""};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct environ_set *s = environ_new(NULL);
		struct err e = {0};

		if (homes[i] != NULL)
			put(s, "HOME", homes[i]);
		assert_null(environ_expand_path(s, "~/x", &e));
		assert_ptr_equal(e.kind, &ERR_BAD_BODY);
		environ_free(s);
	}
}

static void no_path_grows_beyond_what_the_kernel_takes(void **state)
{
	struct environ_set *s = environ_new(base);
	char path[PATH_MAX + 8];

	(void)state;
	for (size_t n = PATH_MAX - 2; n <= PATH_MAX + 1; n++) {
		struct err e = {0};

		/* "${A}" gives one byte. */
		memset(path, 'p', n + 3);
		memcpy(path, "${A}", 4);
		path[n + 3] = '\0';
		char *got = environ_expand_path(s, path, &e);
		assert_int_equal(got != NULL, n < PATH_MAX);
		if (got != NULL)
			assert_int_equal(strlen(got), n);
		free(got);
	}
	put(s, "HOME", "/a/long/way/home");
	memset(path, 'p', PATH_MAX - 2);
	memcpy(path, "~/", 2);
	path[PATH_MAX - 2] = '\0';
	struct err e = {0};
	assert_null(environ_expand_path(s, path, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	environ_free(s);
}

static void names_of_hundreds_of_undefined_variables_are_cut(void **state)
{
	struct environ_set *s = environ_new(base);
	struct err e = {0};
	char path[4000] = "";

	(void)state;
	for (int i = 0; i < 300; i++)
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "$U%03d", i);
	assert_null(environ_expand_path(s, path, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	assert_non_null(strstr(e.msg, ": U000,U001,"));
	environ_free(s);
}

/* ---- the file ---- */

static void overlays_the_file(void **state)
{
	static const char text[] = "# comment\n"
				   "\n"
				   "  A=2  \n"
				   "NEW=$A and ${NEW2}$UNDEFINED.\n"
				   "NEW2=later\n"
				   "QUOTED=\"as is\"\r\n"
				   "no equals sign\n"
				   "=no name\n"
				   "SPACE =kept\n"
				   "EQ=a=b\n"
				   "TWICE=1\nTWICE=2\n"
				   "NOTHING=\n"
				   "nul=a\0b\n"
				   "MONEY=$ 5\n"
				   "LAST=unterminated";
	static const struct {
		const char *name, *value;
	} rows[] = {{"A", "2"}, {"NEW", "1 and ."}, {"NEW2", "later"}, {"QUOTED", "\"as is\""},
		{"SPACE ", "kept"}, {"EQ", "a=b"}, {"TWICE", "2"}, {"NOTHING", ""}, {"nul", NULL},
		{"MONEY", "$ 5"}, {"LAST", "unterminated"}, {"HOME", "/home/me"},
		{"no equals sign", NULL}, {"# comment", NULL}};
	struct environ_set *s = environ_new(base);

	(void)state;
	write_file(text, sizeof(text) - 1);
	assert_int_equal(environ_overlay_file(s, ENV_FILE), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *got = environ_get(s, rows[i].name);

		if ((got == NULL) != (rows[i].value == NULL) ||
			(got != NULL && strcmp(got, rows[i].value) != 0))
			fail_msg("%s: got %s", rows[i].name, got ? got : "NULL");
	}
	/* Read afresh each time. */
	write_file("A=3\n", 4);
	assert_int_equal(environ_overlay_file(s, ENV_FILE), 0);
	assert_string_equal(environ_get(s, "A"), "3");
	environ_free(s);
}

static void the_path_of_the_file_is_expanded(void **state)
{
	struct environ_set *s = environ_new(base);
	char cwd[PATH_MAX];

	(void)state;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	put(s, "HOME", cwd);
	put(s, "WHERE", cwd);
	write_file("A=tilde\n", 8);
	assert_int_equal(environ_overlay_file(s, "~/" ENV_FILE), 0);
	assert_string_equal(environ_get(s, "A"), "tilde");
	write_file("A=var\n", 6);
	assert_int_equal(environ_overlay_file(s, "$WHERE/" ENV_FILE), 0);
	assert_string_equal(environ_get(s, "A"), "var");
	environ_free(s);
}

static void a_file_that_cannot_be_read_changes_nothing(void **state)
{
	static const char *const paths[] = {
		"environ_missing.env", ".", "/dev/zero", "environ_fifo", "$UNDEFINED/x", ""};
	struct environ_set *s = environ_new(base);
	char taken[16];

	(void)state;
	unlink("environ_fifo");
	assert_int_equal(mkfifo("environ_fifo", 0600), 0);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		assert_int_equal(environ_overlay_file(s, paths[i]), 0);
		assert_string_equal(environ_get(s, "A"), "1");
	}
	/* Nor is anything taken out of what is no file, even when it is there for the taking. */
	int fifo = open("environ_fifo", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(write(fifo, "A=fifo\n", 7), 7);
	assert_int_equal(environ_overlay_file(s, "environ_fifo"), 0);
	assert_string_equal(environ_get(s, "A"), "1");
	assert_int_equal(read(fifo, taken, sizeof(taken)), 7);
	close(fifo);
	unlink("environ_fifo");
	write_file("", 0);
	assert_int_equal(environ_overlay_file(s, ENV_FILE), 0);
	environ_free(s);
}

static void the_file_is_bounded_before_and_after_expansion(void **state)
{
	struct environ_set *s = environ_new(base);
	char text[8192], value[2001];
	size_t n = 0;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_ENV_FILE_BYTES, 4096));
	memset(text, '#', sizeof(text));
	memcpy(text, "A=9\n", 4);
	write_file(text, 4096);
	assert_int_equal(environ_overlay_file(s, ENV_FILE), 0);
	assert_string_equal(environ_get(s, "A"), "9");
	memcpy(text, "A=8\n", 4);
	write_file(text, 4097);
	assert_int_equal(environ_overlay_file(s, ENV_FILE), 0);
	assert_string_equal(environ_get(s, "A"), "9");

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	put(s, "V", value);
	for (int i = 0; i < 100; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "B%d=$V\n", i);
	write_file(text, n);
	assert_int_equal(environ_overlay_file(s, ENV_FILE), 0);
	assert_string_equal(environ_get(s, "B1"), value);
	assert_null(environ_get(s, "B2"));
	assert_true(limit_set(LIMIT_PROC_ENV_FILE_BYTES, 1048576));
	environ_free(s);
}

static int quiet(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	return 0;
}

static int tidy(void **state)
{
	(void)state;
	unlink(ENV_FILE);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_the_daemons_secrets_from_children),
		cmocka_unit_test(the_last_of_equal_names_wins),
		cmocka_unit_test(holds_any_number_of_variables),
		cmocka_unit_test(a_long_value_has_its_own_place),
		cmocka_unit_test(names_are_valid_unless_empty_or_with_an_equals_sign),
		cmocka_unit_test(expands_paths_by_the_grammar_of_the_contract),
		cmocka_unit_test(a_tilde_needs_a_home),
		cmocka_unit_test(no_path_grows_beyond_what_the_kernel_takes),
		cmocka_unit_test(names_of_hundreds_of_undefined_variables_are_cut),
		cmocka_unit_test(overlays_the_file),
		cmocka_unit_test(the_path_of_the_file_is_expanded),
		cmocka_unit_test(a_file_that_cannot_be_read_changes_nothing),
		cmocka_unit_test(the_file_is_bounded_before_and_after_expansion),
	};

	return cmocka_run_group_tests(tests, quiet, tidy);
}
