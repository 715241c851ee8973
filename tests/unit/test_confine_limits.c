/* The bounds of a path, each at its limit and one past it, and the making of missing directories.
 */
#include "boxd/confine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "boxd/limits.h"
#include "confine_fixture.h"
#include "os_helpers.h"

static struct confine *confine;
static size_t fds_before;

/* @/ws and @/tmp read-write, @/ro and @/ws/nest read-only, @/out outside. */
static int make_roots(void **state)
{
	struct err e = {0};

	(void)state;
	fds_before = test_fds(0, NULL, 0);
	make_base();
	make_dir("@/ws");
	make_dir("@/ws/d");
	make_dir("@/ws/nest");
	make_dir("@/tmp");
	make_dir("@/ro");
	make_dir("@/out");
	make_file("@/ws/f", "inside");
	make_file("@/out/f", "outside");
	const struct confine_root roots[] = {
		{at("@/ws"), false},
		{at("@/tmp"), false},
		{at("@/ro"), true},
		{at("@/ws/nest"), true},
	};
	confine = confine_new(roots, sizeof(roots) / sizeof(roots[0]), &e);
	assert_non_null(confine);
	return 0;
}

static int remove_roots(void **state)
{
	(void)state;
	confine_free(confine);
	remove_base();
	for (size_t i = 0; i < LIMIT_COUNT_; i++)
		assert_true(limit_set((enum limit)i, limit_rows[i].def));
	assert_int_equal(test_fds(0, NULL, 0), fds_before);
	return 0;
}

static void expect_found(const char *path, unsigned int how, const char *expected)
{
	const char *is = found(confine, path, how);

	if (strcmp(is, expected) != 0)
		fail_msg("find %.200s: %.200s, not %.200s", path, is, expected);
}

static void expect_opened(const char *path, int flags, const char *expected)
{
	const char *is = opened(confine, path, flags, 0);

	if (strcmp(is, expected) != 0)
		fail_msg("open %.200s: %.200s, not %.200s", path, is, expected);
}

/* prefix, then n times c. */
static const char *filled(const char *prefix, char c, size_t n)
{
	static char text[2 * PATH_MAX];
	size_t len = strlen(at(prefix));

	memcpy(text, at(prefix), len);
	memset(text + len, c, n);
	text[len + n] = '\0';
	return text;
}

static size_t parts_of(const char *path)
{
	size_t n = 0;

	for (const char *p = path; *p != '\0'; p++)
		n += *p == '/' ? 1 : 0;
	return n;
}

/* prefix, then "/a" until the path has n names. */
static const char *deep(const char *prefix, size_t n)
{
	static char text[2 * PATH_MAX];
	size_t len;

	snprintf(text, PATH_MAX, "%s", at(prefix));
	len = strlen(text);
	for (size_t parts = parts_of(text); parts < n; parts++) {
		memcpy(text + len, "/a", 3);
		len += 2;
	}
	return text;
}

/* ---- bounds ---- */

static void a_name_may_have_255_bytes(void **state)
{
	char name[300];

	(void)state;
	expect_opened(filled("@/ws/", 'n', NAME_MAX), O_RDONLY, "NO_FILE");
	close(open(filled("@/ws/", 'n', NAME_MAX), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	snprintf(name, sizeof(name), "@/ws/%s", filled("", 'n', NAME_MAX));
	expect_opened(name, O_RDONLY, name);
	snprintf(name, sizeof(name), "@/ws %s", filled("", 'n', NAME_MAX));
	expect_found(filled("@/ws/", 'n', NAME_MAX), CONFINE_FOLLOW, name);
	expect_found(filled("@/ws/", 'n', NAME_MAX + 1), 0, "BAD_PATH");
	expect_opened(filled("@/ws/", 'n', NAME_MAX + 1), O_RDONLY, "BAD_PATH");
	make_link("@/ws/long", filled("", 'n', NAME_MAX));
	make_link("@/ws/longer", filled("", 'n', NAME_MAX + 1));
	make_link("@/ws/longer_abs", filled("@/ws/", 'n', NAME_MAX + 1));
	expect_found("@/ws/long", CONFINE_FOLLOW, name);
	expect_found("@/ws/longer", CONFINE_FOLLOW, "BAD_PATH");
	expect_found("@/ws/longer_abs", CONFINE_FOLLOW, "BAD_PATH");
	expect_found("@/ws/longer/x", CONFINE_PARENTS, "BAD_PATH");
	/* Also where the name lies on the way, and outside. */
	snprintf(name, sizeof(name), "@/ws/%s/x", filled("", 'n', NAME_MAX + 1));
	expect_found(name, 0, "BAD_PATH");
	expect_found(filled("/", 'n', NAME_MAX + 1), 0, "BAD_PATH");
}

static void a_path_may_have_4095_bytes(void **state)
{
	const char *path;
	char text[2 * PATH_MAX];

	(void)state;
	assert_true(limit_set(LIMIT_FS_PATH_PARTS, 2048));
	path = filled("@/ws/", 'n', PATH_MAX);
	snprintf(text, sizeof(text), "%s", path);
	for (size_t i = strlen(at("@/ws/")) + 100; i < PATH_MAX - 2; i += 100)
		text[i] = '/';
	text[PATH_MAX - 1] = '\0';
	expect_found(text, 0, "NO_FILE");
	text[PATH_MAX - 1] = 'n';
	text[PATH_MAX] = '\0';
	expect_found(text, 0, "BAD_PATH");
	expect_opened(text, O_RDONLY, "BAD_PATH");
}

/* With 4000 bytes behind each link's name there is room for two at a time, not for three. */
static void links_do_not_make_a_text_without_bound(void **state)
{
	char target[PATH_MAX];
	char path[64];

	(void)state;
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "@/ws/l%d", i);
		snprintf(target, sizeof(target), "l%d", i + 1);
		for (size_t k = 2; k < 4000; k += 2)
			memcpy(target + k, "/.", 3);
		make_link(path, target);
	}
	make_link("@/ws/l3", ".");
	expect_opened("@/ws/l2", O_RDONLY, "@/ws");
	expect_opened("@/ws/l1", O_RDONLY, "@/ws");
	expect_opened("@/ws/l0", O_RDONLY, "BAD_PATH");
	expect_found("@/ws/l0/x", 0, "BAD_PATH");
}

static void a_path_may_have_512_names(void **state)
{
	char text[2 * PATH_MAX];
	size_t max = limit_size(LIMIT_FS_PATH_PARTS);
	int dir = open(at("@/ws"), O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_int_equal(max, 512);
	for (size_t i = parts_of(at("@/ws")); i < max + 1; i++) {
		int next;

		assert_int_equal(mkdirat(dir, "a", 0777), 0);
		next = openat(dir, "a", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(dir);
		dir = next;
		assert_true(dir >= 0);
	}
	close(dir);
	snprintf(text, sizeof(text), "@%s", deep("@/ws", max) + strlen(base));
	expect_opened(deep("@/ws", max), O_RDONLY, text);
	*strrchr(text, '/') = ' ';
	expect_found(deep("@/ws", max), CONFINE_FOLLOW, text);
	expect_opened(deep("@/ws", max + 1), O_RDONLY, "BAD_PATH");
	expect_found(deep("@/ws", max + 1), 0, "BAD_PATH");
	/* Outside is known before the path is found too long, or not: there is nothing to learn. */
	expect_found(deep("@/out", max + 1), 0, "BAD_PATH");
	expect_found(deep("@/out", max), 0, "PATH_FORBIDDEN");
}

static void links_do_not_lead_deeper_than_a_path_may(void **state)
{
	(void)state;
	assert_true(limit_set(LIMIT_FS_PATH_PARTS, 16));
	expect_found("@/ws/a/a/a/x", CONFINE_PARENTS, "@/ws/a/a/a x");
	make_link("@/ws/a/a/a/back", at("@/ws"));
	make_link("@/ws/a4", "a/a/a/b");
	make_link("@/ws/a/a/a/b", "b1/b2/b3/b4/b5/b6/b7/b8/b9/b10/b11/b12");
	expect_found("@/ws/a4/x", CONFINE_PARENTS,
		"@/ws/a/a/a/b1/b2/b3/b4/b5/b6/b7/b8/b9/b10/b11/b12 x");
	expect_found("@/ws/a4/c/x", CONFINE_PARENTS, "BAD_PATH");
	expect_found(
		"@/ws/a4/x", CONFINE_FOLLOW, "@/ws/a/a/a/b1/b2/b3/b4/b5/b6/b7/b8/b9/b10/b11/b12 x");
	/* Coming back to a root begins anew. */
	expect_found("@/ws/a/a/a/back/f", 0, "@/ws f");
}

/* l0 is the file f, l1 leads to l0, and so on: the first `n` exist. */
static void make_chain(int n, const char *prefix)
{
	char path[64], target[64];

	for (int i = 1; i <= n; i++) {
		snprintf(path, sizeof(path), "@/ws/%c%d", prefix[strlen(prefix) - 1], i);
		if (i == 1)
			snprintf(target, sizeof(target), "f");
		else
			snprintf(target, sizeof(target), "%s%d", prefix, i - 1);
		make_link(path, target);
	}
}

static void a_path_may_lead_over_40_links(void **state)
{
	(void)state;
	make_chain(257, "r");
	make_chain(42, "@/ws/s");
	expect_opened("@/ws/r40", O_RDONLY, "@/ws/f");
	expect_opened("@/ws/r41", O_RDONLY, "BAD_PATH");
	expect_found("@/ws/r40", CONFINE_FOLLOW, "@/ws f");
	expect_found("@/ws/r41", CONFINE_FOLLOW, "BAD_PATH");
	expect_opened("@/ws/s40", O_RDONLY, "@/ws/f");
	expect_opened("@/ws/s41", O_RDONLY, "BAD_PATH");
	/* The limit is ours, not the kernel's. */
	assert_true(limit_set(LIMIT_FS_LINKS, 1));
	expect_opened("@/ws/r1", O_RDONLY, "@/ws/f");
	expect_opened("@/ws/r2", O_RDONLY, "BAD_PATH");
	assert_true(limit_set(LIMIT_FS_LINKS, 256));
	expect_opened("@/ws/r256", O_RDONLY, "@/ws/f");
	expect_opened("@/ws/r257", O_RDONLY, "BAD_PATH");
}

static void going_up_and_down_has_an_end(void **state)
{
	char target[PATH_MAX] = "";

	(void)state;
	assert_true(limit_set(LIMIT_FS_PATH_PARTS, 16));
	assert_true(limit_set(LIMIT_FS_LINKS, 1));
	/* The link, 23 times down and up, and the file: 48 steps. */
	for (size_t i = 0; i < 23; i++)
		memcpy(target + 5 * i, "d/../", 6);
	memcpy(target + 5 * 23, "f", 2);
	make_link("@/ws/zigzag23", target);
	memcpy(target + 5 * 23, "./f", 4);
	make_link("@/ws/zigzag23_and_one", target);
	memcpy(target + 5 * 23, "d/../f", 7);
	make_link("@/ws/zigzag24", target);
	expect_opened("@/ws/zigzag23", O_RDONLY, "@/ws/f");
	expect_opened("@/ws/zigzag23_and_one", O_RDONLY, "BAD_PATH");
	expect_opened("@/ws/zigzag24", O_RDONLY, "BAD_PATH");
}

/* ---- missing directories ---- */

static void missing_parents_are_made(void **state)
{
	struct stat st;
	mode_t mask = umask(027);

	(void)state;
	expect_found("@/ws/p/q/r", CONFINE_PARENTS | CONFINE_WRITE, "@/ws/p/q r");
	umask(mask);
	assert_int_equal(stat(at("@/ws/p/q"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(stat(at("@/ws/p/q/r"), &st), -1);
	expect_found("@/ws/p/q/r", CONFINE_PARENTS, "@/ws/p/q r");
	expect_found("@/ws/p/q/r/s", CONFINE_PARENTS, "@/ws/p/q/r s");
	expect_found("@/ws/f/x/y", CONFINE_PARENTS, "NO_FILE");
	/* Nobody asked. */
	expect_found("@/ws/m/x", 0, "NO_FILE");
	expect_opened("@/ws/m/x", O_RDONLY, "NO_FILE");
	assert_int_equal(stat(at("@/ws/m"), &st), -1);
}

static void parents_are_made_where_links_lead(void **state)
{
	(void)state;
	make_link("@/ws/ld", "d");
	make_link("@/ws/to_tmp", at("@/tmp"));
	make_link("@/ws/dangling", "none");
	make_link("@/ws/dangling_abs", at("@/tmp/none"));
	make_link("@/ws/d/up", "../u1/u2");
	make_link("@/ro/to_ws", at("@/ws"));
	expect_found("@/ws/ld/p/x", CONFINE_PARENTS, "@/ws/d/p x");
	expect_found("@/ws/to_tmp/p/x", CONFINE_PARENTS, "@/tmp/p x");
	expect_found("@/ws/dangling/p/x", CONFINE_PARENTS, "@/ws/none/p x");
	expect_found("@/ws/dangling_abs/x", CONFINE_PARENTS, "@/tmp/none x");
	expect_found("@/ws/d/up/x", CONFINE_PARENTS, "@/ws/u1/u2 x");
	expect_found("@/ro/to_ws/w/x", CONFINE_PARENTS, "@/ws/w x");
}

static void nothing_is_made_outside_or_where_nothing_may_be(void **state)
{
	struct stat st;

	(void)state;
	make_link("@/ws/out", at("@/out"));
	make_link("@/ws/out_rel", "../out/p");
	make_link("@/ws/to_ro", at("@/ro"));
	make_link("@/ws/to_nest", "nest");
	expect_found("@/out/p/x", CONFINE_PARENTS, "PATH_FORBIDDEN");
	expect_found("@/ws/out/p/x", CONFINE_PARENTS, "PATH_FORBIDDEN");
	expect_found("@/ws/out_rel/x", CONFINE_PARENTS, "PATH_FORBIDDEN");
	expect_found("@/ws/out_rel", CONFINE_PARENTS | CONFINE_FOLLOW, "PATH_FORBIDDEN");
	expect_found("@/ro/p/x", CONFINE_PARENTS, "READ_ONLY");
	expect_found("@/ws/nest/p/x", CONFINE_PARENTS, "READ_ONLY");
	expect_found("@/ws/to_ro/p/x", CONFINE_PARENTS, "READ_ONLY");
	expect_found("@/ws/to_nest/p/x", CONFINE_PARENTS, "READ_ONLY");
	assert_int_equal(stat(at("@/out/p"), &st), -1);
	assert_int_equal(stat(at("@/ro/p"), &st), -1);
	assert_int_equal(stat(at("@/ws/nest/p"), &st), -1);
	/* What is there needs no making. */
	expect_found("@/ro/x", CONFINE_PARENTS, "@/ro x ro");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_roots, remove_roots)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_name_may_have_255_bytes),
		TEST(a_path_may_have_4095_bytes),
		TEST(links_do_not_make_a_text_without_bound),
		TEST(a_path_may_have_512_names),
		TEST(links_do_not_lead_deeper_than_a_path_may),
		TEST(a_path_may_lead_over_40_links),
		TEST(going_up_and_down_has_an_end),
		TEST(missing_parents_are_made),
		TEST(parents_are_made_where_links_lead),
		TEST(nothing_is_made_outside_or_where_nothing_may_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
