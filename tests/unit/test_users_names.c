/* All names of the box at once: from ids to names and back, from files in any state. */
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
	snprintf(etc, sizeof(etc), "users_names_XXXXXX");
	return mkdtemp(etc) == NULL ? -1 : 0;
}

static int remove_etc(void **state)
{
	(void)state;
	put("passwd", NULL);
	put("group", NULL);
	return rmdir(etc);
}

#define CHARS_63 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
#define CHARS_64 CHARS_63 "n"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "\n"
			     "ann:x:1000:100:Ann:/home/ann:/bin/sh\n"
			     "bob:x:1000:100:the same number:/home/bob:\n"
			     "ann:x:1001:100:the same name:/home/ann2:\n"
			     "zoe:x:5:5::/z:\n"
			     "nogid:x:6::/n:\n"
			     "badid:x:7x:7::/b:\n"
			     ":x:8:8:no name:/n:\n"
			     "42:x:9:9:a name that looks like a number:/n:\n"
			     "none:x:4294967295:1:no id:/n:\n"
			     "high:x:4294967294:1::/n:\n"
			     "short:x:10\n"
			     "shorter:x\n"
			     "#ann:x:12\n" CHARS_63 ":x:20:20::/n:\n" CHARS_64 ":x:21:21::/n:\n"
			     "bär:x:30:30::/n:\n"
			     "last:x:31:31::/n:";

static const char group[] = "root:x:0:\n"
			    "users:x:100:ann,bob\n"
			    "staff:x:100:\n"
			    "x:x:1:\n"
			    "short:x:2\n"
			    "bad:x::\n"
			    "7:x:8:\n";

static const struct {
	uid_t uid;
	const char *user;
	gid_t gid;
	const char *group;
} ids[] = {
	{0, "root", 0, "root"},
	{1000, "ann", 100, "users"},
	{1001, "ann", 1, "x"},
	{5, "zoe", 2, "short"},
	{6, NULL, 3, NULL},
	{7, NULL, 8, "7"},
	{8, NULL, 7, NULL},
	{9, "42", 9, NULL},
	{10, NULL, 4294967295U, NULL},
	{11, NULL, 99, NULL},
	{12, NULL, 101, NULL},
	{20, CHARS_63, 20, NULL},
	{21, NULL, 21, NULL},
	{30, "bär", 30, NULL},
	{31, "last", 31, NULL},
	{4294967294U, "high", 4294967294U, NULL},
	{4294967295U, NULL, 5, NULL},
};

/* -1: neither a name nor a number. */
static const struct {
	const char *name;
	int64_t uid, gid;
} names[] = {
	{"root", 0, 0},
	{"ann", 1000, -1},
	{"bob", 1000, -1},
	{"zoe", 5, -1},
	{"users", -1, 100},
	{"staff", -1, 100},
	{"x", -1, 1},
	{"42", 9, 42},
	{"7", 7, 8},
	{"9", 9, 9},
	{"0", 0, 0},
	{"007", 7, 7},
	{"4294967294", 4294967294, 4294967294},
	{"4294967295", -1, -1},
	{"4294967296", -1, -1},
	{"99999999999999999999", -1, -1},
	{"", -1, -1},
	{"-1", -1, -1},
	{"+1", -1, -1},
	{" 1", -1, -1},
	{"1 ", -1, -1},
	{"1x", -1, -1},
	{"0x1", -1, -1},
	{"an", -1, -1},
	{"anna", -1, -1},
	{"Ann", -1, -1},
	{"nogid", -1, -1},
	{"badid", -1, -1},
	{"none", -1, -1},
	{"short", -1, 2},
	{"#ann", -1, -1},
	{CHARS_63, 20, -1},
	{CHARS_64, -1, -1},
	{"bär", 30, -1},
	{"last", 31, -1},
	{"ann:x:1000", -1, -1},
};

static void expect_name(const char *what, uint32_t id, const char *is, const char *expected)
{
	if ((is == NULL) != (expected == NULL) || (is != NULL && strcmp(is, expected) != 0))
		fail_msg("%s %u: %s, not %s", what, id, is != NULL ? is : "none",
			expected != NULL ? expected : "none");
}

static void every_id_has_the_name_of_its_first_entry(void **state)
{
	struct users_names *n;

	(void)state;
	put("passwd", passwd);
	put("group", group);
	n = users_names_new(etc);
	assert_non_null(n);
	/* What is changed later is not seen. */
	put("passwd", "mallory:x:0:0::/:\n");
	put("group", NULL);
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		expect_name("uid", ids[i].uid, users_name_of_uid(n, ids[i].uid), ids[i].user);
		expect_name("gid", ids[i].gid, users_name_of_gid(n, ids[i].gid), ids[i].group);
	}
	users_names_free(n);
}

static void every_name_has_an_id_or_is_one(void **state)
{
	struct users_names *n;

	(void)state;
	put("passwd", passwd);
	put("group", group);
	n = users_names_new(etc);
	assert_non_null(n);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		uid_t uid = 77;
		gid_t gid = 77;
		bool user = users_uid_of_name(n, names[i].name, &uid);
		bool grp = users_gid_of_name(n, names[i].name, &gid);

		if ((user ? (int64_t)uid : -1) != names[i].uid ||
			(grp ? (int64_t)gid : -1) != names[i].gid)
			fail_msg("%s: %d %u, %d %u", names[i].name, user, (unsigned int)uid, grp,
				(unsigned int)gid);
	}
	users_names_free(n);
}

/* A command's own user and a listing say the same. */
static void listings_agree_with_the_single_question(void **state)
{
	static struct user u;
	struct users_names *n;

	(void)state;
	put("passwd", passwd);
	put("group", group);
	n = users_names_new(etc);
	assert_non_null(n);
	for (uid_t uid = 0; uid < 1100; uid++) {
		users_by_uid(etc, uid, &u);
		expect_name("uid", uid, users_name_of_uid(n, uid), u.known ? u.name : NULL);
	}
	users_names_free(n);
}

static void missing_files_have_no_entries(void **state)
{
	struct users_names *n;
	uid_t uid;

	(void)state;
	put("passwd", NULL);
	put("group", NULL);
	n = users_names_new(etc);
	assert_non_null(n);
	assert_null(users_name_of_uid(n, 0));
	assert_null(users_name_of_gid(n, 0));
	assert_false(users_uid_of_name(n, "root", &uid));
	assert_true(users_uid_of_name(n, "5", &uid));
	assert_int_equal(uid, 5);
	users_names_free(n);
	put("passwd", "");
	put("group", "\n\n:::\n");
	n = users_names_new(etc);
	assert_non_null(n);
	assert_null(users_name_of_gid(n, 0));
	users_names_free(n);
	users_names_free(NULL);
}

static void one_line_without_an_end_is_an_entry(void **state)
{
	struct users_names *n;

	(void)state;
	put("passwd", "one:x:1:1::/:");
	put("group", "two:x:2:");
	n = users_names_new(etc);
	assert_non_null(n);
	assert_string_equal(users_name_of_uid(n, 1), "one");
	assert_string_equal(users_name_of_gid(n, 2), "two");
	users_names_free(n);
}

static void a_name_with_a_zero_byte_is_no_name(void **state)
{
	static const char text[] = "a\0b:x:5:5::/:\nc\0:x:6:6::/:\nd:x:7:7::/:\n";
	char path[128];
	struct users_names *n;
	FILE *f;

	(void)state;
	put("passwd", "");
	put("group", NULL);
	snprintf(path, sizeof(path), "%s/passwd", etc);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, sizeof(text) - 1, f), sizeof(text) - 1);
	fclose(f);
	n = users_names_new(etc);
	assert_non_null(n);
	assert_null(users_name_of_uid(n, 5));
	assert_null(users_name_of_uid(n, 6));
	assert_string_equal(users_name_of_uid(n, 7), "d");
	users_names_free(n);
}

/* Numbers and names in an order that is neither's, many of them twice. */
static void thousands_of_entries_are_found(void **state)
{
	enum { ENTRIES = 5000 };
	char *text = malloc(ENTRIES * 64), *p = text;
	struct users_names *n;
	char name[32];
	uid_t uid;

	(void)state;
	assert_non_null(text);
	for (unsigned int i = 0; i < ENTRIES; i++)
		p += snprintf(p, 64, "u%u:x:%u:1::/:\n", i * 7919 % ENTRIES, i * 104729 % 3001);
	put("passwd", text);
	free(text);
	n = users_names_new(etc);
	assert_non_null(n);
	for (unsigned int i = 0; i < ENTRIES; i++) {
		snprintf(name, sizeof(name), "u%u", i * 7919 % ENTRIES);
		assert_true(users_uid_of_name(n, name, &uid));
		assert_int_equal(uid, i * 104729 % 3001);
		if (i < 3001)
			assert_string_equal(users_name_of_uid(n, uid), name);
	}
	users_names_free(n);
}

static void entries_stop_at_their_bound(void **state)
{
	enum { ENTRIES = 100001 };
	char *text = malloc(ENTRIES * 32), *p = text;
	struct users_names *n;

	(void)state;
	assert_non_null(text);
	for (unsigned int i = 0; i < ENTRIES; i++)
		p += snprintf(p, 32, "u%u:x:%u:1::/:\n", i, i);
	put("passwd", text);
	free(text);
	n = users_names_new(etc);
	assert_non_null(n);
	assert_string_equal(users_name_of_uid(n, ENTRIES - 2), "u99999");
	assert_null(users_name_of_uid(n, ENTRIES - 1));
	users_names_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_id_has_the_name_of_its_first_entry),
		cmocka_unit_test(every_name_has_an_id_or_is_one),
		cmocka_unit_test(listings_agree_with_the_single_question),
		cmocka_unit_test(missing_files_have_no_entries),
		cmocka_unit_test(one_line_without_an_end_is_an_entry),
		cmocka_unit_test(a_name_with_a_zero_byte_is_no_name),
		cmocka_unit_test(thousands_of_entries_are_found),
		cmocka_unit_test(entries_stop_at_their_bound),
	};

	return cmocka_run_group_tests(tests, make_etc, remove_etc);
}
