/* Finding a program along PATH. */
#include "boxd/spawn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Below it: a/tool not executable, b/tool and c/tool good, d/tool a directory. */
static char here[256], dir[300];

static void tool_path(char sub, char *out, size_t cap)
{
	snprintf(out, cap, "%s/%c/tool", dir, sub);
}

static int make_tools(void **state)
{
	const char *sub;
	char path[400];

	(void)state;
	if (getcwd(here, sizeof(here)) == NULL)
		return -1;
	snprintf(dir, sizeof(dir), "%s/spawn_find_XXXXXX", here);
	if (mkdtemp(dir) == NULL || chdir(dir) != 0)
		return -1;
	for (sub = "abcd"; *sub != '\0'; sub++) {
		FILE *f;

		snprintf(path, sizeof(path), "%s/%c", dir, *sub);
		if (mkdir(path, 0700) != 0)
			return -1;
		tool_path(*sub, path, sizeof(path));
		if (*sub == 'd') {
			if (mkdir(path, 0700) != 0)
				return -1;
			continue;
		}
		f = fopen(path, "we");
		if (f == NULL)
			return -1;
		fclose(f);
		if (chmod(path, *sub == 'a' ? 0600 : 0700) != 0)
			return -1;
	}
	return 0;
}

static int remove_tools(void **state)
{
	const char *sub;
	char path[400];

	(void)state;
	if (chdir(here) != 0)
		return -1;
	for (sub = "abcd"; *sub != '\0'; sub++) {
		tool_path(*sub, path, sizeof(path));
		remove(path);
		snprintf(path, sizeof(path), "%s/%c", dir, *sub);
		rmdir(path);
	}
	return rmdir(dir);
}

/* Replaces each '@' by the directory. */
static const char *expand(const char *text, char *out, size_t cap)
{
	size_t n = 0;

	if (text == NULL)
		return NULL;
	for (; *text != '\0'; text++) {
		if (*text == '@')
			n += (size_t)snprintf(out + n, cap - n, "%s", dir);
		else
			out[n++] = *text;
	}
	out[n] = '\0';
	return out;
}

static const struct row {
	const char *name, *path, *expected;
} rows[] = {
	{"tool", "@/b", "@/b/tool"},
	{"tool", "@/a:@/b", "@/b/tool"},
	{"tool", "@/d:@/b", "@/b/tool"},
	{"tool", "/nonexistent:@/b:@/c", "@/b/tool"},
	{"tool", "@/c:@/b", "@/c/tool"},
	{"tool", "@/b/:", "@/b//tool"},
	{"tool", "::@/b", "@/b/tool"},
	{"tool", "@/a", NULL},
	{"tool", "@", NULL},
	{"tool", "", NULL},
	{"tool", ":", NULL},
	{"tool", "b:./b", NULL}, /* would be another directory when the program starts */
	{"", "@/b", NULL},
	{"no-such-tool", NULL, NULL},
	{"/nonexistent/tool", "@/b", "/nonexistent/tool"},
	{"./tool", NULL, "./tool"},
};

static void a_program_is_found_as_in_a_shell(void **state)
{
	char path[1024], expected[512];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *want = expand(rows[i].expected, expected, sizeof(expected));
		const char *where = expand(rows[i].path, path, sizeof(path));
		char *found = spawn_find(rows[i].name, where);

		if ((found == NULL) != (want == NULL) ||
			(found != NULL && strcmp(found, want) != 0))
			print_error("row %zu: '%s' in '%s'\n", i, rows[i].name, where);
		if (want == NULL)
			assert_null(found);
		else
			assert_non_null(found);
		if (want != NULL && found != NULL)
			assert_string_equal(found, want);
		free(found);
	}
}

static void without_a_path_the_usual_places_are_searched(void **state)
{
	char *found = spawn_find("sh", NULL);

	(void)state;
	assert_non_null(found);
	assert_int_equal(access(found, X_OK), 0);
	assert_int_equal(found[0], '/');
	free(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_program_is_found_as_in_a_shell),
		cmocka_unit_test(without_a_path_the_usual_places_are_searched),
	};

	return cmocka_run_group_tests(tests, make_tools, remove_tools);
}
