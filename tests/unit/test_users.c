/* The box's passwd and group files, in every state that an image or a command may leave them. */
#include "boxd/users.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char etc[64];

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", etc, name);
	unlink(path);
	if (text == NULL)
		return;
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int make_etc(void **state)
{
	(void)state;
	snprintf(etc, sizeof(etc), "users_etc_XXXXXX");
	return mkdtemp(etc) == NULL ? -1 : 0;
}

static int remove_etc(void **state)
{
	(void)state;
	put("passwd", NULL);
	put("group", NULL);
	return rmdir(etc);
}

/* "known gid name home groups" in one line, for the tables. */
static void describe(uid_t uid, char *out, size_t cap)
{
	static struct user u;
	size_t i;
	size_t len;

	memset(&u, 0xa5, sizeof(u));
	users_by_uid(etc, uid, &u);
	assert_int_equal(u.uid, uid);
	len = (size_t)snprintf(out, cap, "%s %u '%s' '%s'", u.known ? "known" : "unknown",
		(unsigned int)u.gid, u.name, u.home);
	for (i = 0; i < u.ngroups && len < cap; i++)
		len += (size_t)snprintf(out + len, cap - len, " %u", (unsigned int)u.groups[i]);
}

#define CHARS_63  "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
#define CHARS_64  CHARS_63 "n"
#define CHARS_254 CHARS_64 CHARS_64 CHARS_63 CHARS_63

static const struct row {
	const char *what;
	const char *passwd, *group; /* NULL: no such file */
	uid_t uid;
	const char *expected;
} rows[] = {
	{"no files", NULL, NULL, 1000, "unknown 1000 '' '' 1000"},
	{"no files, root", NULL, NULL, 0, "unknown 0 '' '' 0"},
	{"empty files", "", "", 1000, "unknown 1000 '' '' 1000"},
	{"no entry", "root:x:0:0:root:/root:/bin/sh\n", "root:x:0:\n", 1000,
		"unknown 1000 '' '' 1000"},
	{"no groups of strangers", NULL, "g:x:5:,\nh:x:6:\n", 1000, "unknown 1000 '' '' 1000"},
	{"plain", "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann,,,:/home/ann:/bin/sh\n",
		"users:x:100:\naudio:x:29:bob,ann\nsudo:x:27:ann\nx:x:7:annex,joann\n", 1000,
		"known 100 'ann' '/home/ann' 100 29 27"},
	{"no group file", "ann:x:1000:100::/h:\n", NULL, 1000, "known 100 'ann' '/h' 100"},
	{"no newline at the end", "ann:x:1000:100::/h", "a:x:9:ann", 1000,
		"known 100 'ann' '/h' 100 9"},
	{"no shell, no home", "ann:x:1000:100", NULL, 1000, "known 100 'ann' '/' 100"},
	{"relative home", "ann:x:1000:100::home:\n", NULL, 1000, "known 100 'ann' '/' 100"},
	{"the first entry counts", "ann:x:7:1::/a:\nbob:x:7:2::/b:\n", "g:x:3:bob\n", 7,
		"known 1 'ann' '/a' 1"},
	{"duplicate groups", "ann:x:7:1::/a:\n", "a:x:3:ann\nb:x:3:ann,ann\nc:x:1:ann\n", 7,
		"known 1 'ann' '/a' 1 3"},
	{"malformed lines before it",
		"\n:::::\nann\n#ann:x:7\n:x:7:5::/e:\nann:x:7a:5::/c:\nann:x:-7:5::/c:\n"
		"ann:x:7:+5::/c:\nann:x:7:::/c:\nann:x: 7:5::/c:\nann:x:7:4294967295::/d:\n"
		"ann:x:7:99999999999999999999::/d:\n+::::::\nann:x:7:6::/good:\n",
		"x\n:x:8:ann\ng:x::ann\ng:x:1x:ann\ng:x:4294967295:ann\nh:x:9:ann\n", 7,
		"known 6 'ann' '/good' 6 9"},
	{"a name that just fits", CHARS_63 ":x:7:5::/a:\n", "g:x:9:" CHARS_63 "\n", 7,
		"known 5 '" CHARS_63 "' '/a' 5 9"},
	{"a name too long is no user", CHARS_64 ":x:7:5::/a:\nann:x:7:6::/b:\n", NULL, 7,
		"known 6 'ann' '/b' 6"},
	{"a home that just fits", "ann:x:7:6::/" CHARS_254 ":\n", NULL, 7,
		"known 6 'ann' '/" CHARS_254 "' 6"},
	{"a home too long is the root", "ann:x:7:6::/" CHARS_254 "n:\n", NULL, 7,
		"known 6 'ann' '/' 6"},
	{"the highest ids", "ann:x:4294967294:4294967294::/a:\n", NULL, 4294967294U,
		"known 4294967294 'ann' '/a' 4294967294"},
};

static void every_state_of_the_files_has_an_answer(void **state)
{
	char text[512];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put("passwd", rows[i].passwd);
		put("group", rows[i].group);
		describe(rows[i].uid, text, sizeof(text));
		if (strcmp(text, rows[i].expected) != 0)
			print_error("%s\n", rows[i].what);
		assert_string_equal(text, rows[i].expected);
	}
}

static char *repeat(char *p, char c, size_t n)
{
	memset(p, c, n);
	return p + n;
}

static void lines_of_a_megabyte_are_passed_over(void **state)
{
	char *text = malloc(3 << 20);
	char *p = text;
	char line[256];

	(void)state;
	assert_non_null(text);
	p = repeat(p, 'j', 1 << 20);
	p += sprintf(p, ":x:7:5::/j:\nann:x:7:6::/a:\n");
	put("passwd", text);
	p = text + sprintf(text, "big:x:8:");
	p = repeat(p, ',', 1 << 20);
	sprintf(p, "ann\n");
	put("group", text);
	free(text);
	describe(7, line, sizeof(line));
	assert_string_equal(line, "known 6 'ann' '/a' 6 8");
}

static void a_file_is_not_read_beyond_its_bound(void **state)
{
	char path[128];
	char line[256];

	(void)state;
	put("passwd", "ann:x:7:6::/a:\n");
	put("group", NULL);
	snprintf(path, sizeof(path), "%s/passwd", etc);
	assert_int_equal(truncate(path, (off_t)1 << 40), 0);
	describe(7, line, sizeof(line));
	assert_string_equal(line, "known 6 'ann' '/a' 6");
}

static void groups_stop_at_the_limit(void **state)
{
	static struct user u;
	char *text = malloc(64 * 1024);
	char *p = text;
	int i;

	(void)state;
	assert_non_null(text);
	put("passwd", "ann:x:7:6::/a:\n");
	for (i = 0; i < USERS_GROUPS_MAX + 50; i++)
		p += sprintf(p, "g%d:x:%d:ann\n", i, 1000 + i);
	put("group", text);
	free(text);
	users_by_uid(etc, 7, &u);
	assert_int_equal(u.ngroups, USERS_GROUPS_MAX);
	assert_int_equal(u.groups[0], 6);
	assert_int_equal(u.groups[USERS_GROUPS_MAX - 1], 1000 + USERS_GROUPS_MAX - 2);
}

static void a_fifo_in_its_place_blocks_nobody(void **state)
{
	char path[128];
	char line[256];

	(void)state;
	put("passwd", NULL);
	put("group", NULL);
	snprintf(path, sizeof(path), "%s/passwd", etc);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(10);
	describe(7, line, sizeof(line));
	alarm(0);
	assert_string_equal(line, "unknown 7 '' '' 7");
}

static void a_directory_in_its_place_is_no_file(void **state)
{
	char path[128];
	char line[256];

	(void)state;
	put("passwd", NULL);
	snprintf(path, sizeof(path), "%s/passwd", etc);
	assert_int_equal(mkdir(path, 0700), 0);
	describe(7, line, sizeof(line));
	assert_int_equal(rmdir(path), 0);
	assert_string_equal(line, "unknown 7 '' '' 7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_of_the_files_has_an_answer),
		cmocka_unit_test(lines_of_a_megabyte_are_passed_over),
		cmocka_unit_test(a_file_is_not_read_beyond_its_bound),
		cmocka_unit_test(groups_stop_at_the_limit),
		cmocka_unit_test(a_fifo_in_its_place_blocks_nobody),
		cmocka_unit_test(a_directory_in_its_place_is_no_file),
	};

	return cmocka_run_group_tests(tests, make_etc, remove_etc);
}
