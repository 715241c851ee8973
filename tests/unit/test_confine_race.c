/*
 * Paths that change while they are walked: one thread exchanges directories for links that lead
 * outside, moves directories away and back, and puts links where files were, as fast as it can; the
 * others open, find and make. Whatever they get must be inside. Each thing inside is known by its
 * inode, and outside nothing may ever appear or change.
 */
#include "boxd/confine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

#include "confine_fixture.h"
#include "os_helpers.h"

#define EXCHANGES 200000
#define READERS   2

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

static struct confine *confine;
static size_t fds_before;
static atomic_bool stop;

/* What a thread of readers saw. Asserting is for the main thread alone. */
struct tally {
	unsigned long good, refused;
	unsigned long wrong;
	char what[512];
};

static void tally_wrong(struct tally *t, const char *what, const char *detail)
{
	if (t->wrong++ == 0)
		snprintf(t->what, sizeof(t->what), "%s: %s", what, detail);
}

static int exchange(const char *a, const char *b)
{
	return (int)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

static ino_t inode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(at(path), &st), 0);
	return st.st_ino;
}

/*
 * @/ws/swap      is exchanged with @/ws/link, which leads to @/out/tree: the same names, outside
 * @/ws/file      is exchanged with @/ws/flink, which leads to @/out/secret
 * @/ws/m/deep    is moved out of the roots and back
 */
static int make_tree(void **state)
{
	struct err e = {0};

	(void)state;
	fds_before = test_fds(0, NULL, 0);
	make_base();
	for (const char *const *d = (const char *const[]){"@/ws", "@/ws/swap", "@/ws/swap/sub",
		     "@/ws/m", "@/ws/m/deep", "@/ws/m/deep/er", "@/ws/ro", "@/out", "@/out/tree",
		     "@/out/tree/sub", NULL};
		*d != NULL; d++)
		make_dir(*d);
	make_file("@/ws/swap/sub/file", "inside");
	make_file("@/ws/file", "inside");
	make_file("@/ws/ro/file", "inside");
	make_file("@/ws/m/target", "inside");
	make_file("@/out/target", "outside");
	make_file("@/out/tree/sub/file", "outside");
	make_file("@/out/secret", "outside");
	make_link("@/ws/link", at("@/out/tree"));
	make_link("@/ws/rolink", "ro");
	make_link("@/ws/flink", "../out/secret");
	make_link("@/ws/m/deep/er/up", "../../target");
	const struct confine_root roots[] = {{at("@/ws"), false}, {at("@/ws/ro"), true}};
	confine = confine_new(roots, 2, &e);
	assert_non_null(confine);
	atomic_store(&stop, false);
	return 0;
}

static void check_outside(const char *path, const char *text)
{
	char is[64] = "";
	int fd = open(at(path), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(read(fd, is, sizeof(is) - 1) >= 0);
	close(fd);
	assert_string_equal(is, text);
}

static size_t entries_of(const char *path)
{
	size_t n = 0;
	DIR *d = opendir(at(path));

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2;
}

static int remove_all(void **state)
{
	(void)state;
	check_outside("@/out/secret", "outside");
	check_outside("@/out/target", "outside");
	check_outside("@/out/tree/sub/file", "outside");
	assert_int_equal(entries_of("@/out"), 3);
	assert_int_equal(entries_of("@/out/tree"), 1);
	assert_int_equal(entries_of("@/out/tree/sub"), 1);
	confine_free(confine);
	remove_base();
	assert_int_equal(test_fds(0, NULL, 0), fds_before);
	return 0;
}

/* ---- what the readers do ---- */

static char path_sub_file[PATH_MAX], path_sub_new[PATH_MAX], path_swap[PATH_MAX];
static char path_file[PATH_MAX], path_up[PATH_MAX], path_flink[PATH_MAX];
static ino_t ino_sub, ino_sub_file, ino_file, ino_target, ino_ws, ino_m;

static void remember(void)
{
	snprintf(path_sub_file, PATH_MAX, "%s", at("@/ws/swap/sub/file"));
	snprintf(path_sub_new, PATH_MAX, "%s", at("@/ws/swap/sub/new"));
	snprintf(path_swap, PATH_MAX, "%s", at("@/ws/swap"));
	snprintf(path_file, PATH_MAX, "%s", at("@/ws/file"));
	snprintf(path_flink, PATH_MAX, "%s", at("@/ws/flink"));
	snprintf(path_up, PATH_MAX, "%s", at("@/ws/m/deep/er/up"));
	ino_sub = inode_of("@/ws/swap/sub");
	ino_sub_file = inode_of("@/ws/swap/sub/file");
	ino_file = inode_of("@/ws/file");
	ino_target = inode_of("@/ws/m/target");
	ino_ws = inode_of("@/ws");
	ino_m = inode_of("@/ws/m");
}

/* Opens; what comes must be this inode, if one is given, and no link. */
static void open_one(struct tally *t, const char *path, int flags, ino_t expected)
{
	struct err e = {0};
	struct stat st;
	int fd = confine_open(confine, path, flags, CONFINE_WRITE, &e);

	if (fd < 0) {
		if (e.kind != &ERR_PATH_FORBIDDEN && e.kind != &ERR_NO_FILE &&
			e.kind != &ERR_READ_ONLY)
			tally_wrong(t, path, e.msg);
		t->refused++;
		return;
	}
	if (fstat(fd, &st) < 0 || S_ISLNK(st.st_mode) || (expected != 0 && st.st_ino != expected))
		tally_wrong(t, path, place_of(fd));
	close(fd);
	t->good++;
}

/* Finds; the directory must be this inode, if one is given. */
static void find_one(struct tally *t, const char *path, unsigned int how, ino_t expected)
{
	struct err e = {0};
	struct stat st;
	struct confine_place p;

	if (confine_find(confine, path, how | CONFINE_WRITE, &p, &e) < 0) {
		if (e.kind != &ERR_PATH_FORBIDDEN && e.kind != &ERR_NO_FILE &&
			e.kind != &ERR_READ_ONLY)
			tally_wrong(t, path, e.msg);
		t->refused++;
		return;
	}
	if (fstat(p.dir, &st) < 0 || (expected != 0 && st.st_ino != expected))
		tally_wrong(t, path, place_of(p.dir));
	confine_place_fini(&p);
	t->good++;
}

static void *open_in_swap(void *arg)
{
	while (!atomic_load(&stop)) {
		open_one(arg, path_sub_file, O_RDWR, ino_sub_file);
		open_one(arg, path_sub_file, O_PATH, ino_sub_file);
		find_one(arg, path_sub_new, 0, ino_sub);
		find_one(arg, path_sub_new, CONFINE_FOLLOW, ino_sub);
	}
	return NULL;
}

/* What is made stays, wherever it is: outside is counted in the end. */
static void *make_in_swap(void *arg)
{
	char path[PATH_MAX];

	for (unsigned int i = 0; !atomic_load(&stop); i++) {
		snprintf(path, sizeof(path), "%.2000s/made%u/made/x", path_swap, i);
		find_one(arg, path, CONFINE_PARENTS, 0);
	}
	return NULL;
}

/* Where the last name is the one that changes. O_TRUNC would show outside. */
static void *open_last(void *arg)
{
	while (!atomic_load(&stop)) {
		open_one(arg, path_file, O_WRONLY | O_TRUNC, ino_file);
		open_one(arg, path_flink, O_WRONLY | O_TRUNC, ino_file);
		open_one(arg, path_file, O_PATH, ino_file);
		find_one(arg, path_file, CONFINE_FOLLOW, ino_ws);
	}
	return NULL;
}

/* A link with ".." in a directory that is somewhere else by now: outside it would be another. */
static void *open_up(void *arg)
{
	while (!atomic_load(&stop)) {
		open_one(arg, path_up, O_RDONLY, ino_target);
		find_one(arg, path_up, CONFINE_FOLLOW, ino_m);
	}
	return NULL;
}

/* What is a directory or a link to one is always there. */
static void *open_always(void *arg)
{
	while (!atomic_load(&stop)) {
		open_one(arg, path_swap, O_RDONLY | O_DIRECTORY, 0);
		open_one(arg, path_swap, O_PATH | O_DIRECTORY, 0);
		open_one(arg, path_swap, O_PATH, 0);
		find_one(arg, path_sub_new, CONFINE_FOLLOW, 0);
	}
	return NULL;
}

/* ---- races ---- */

struct race {
	pthread_t threads[READERS];
	struct tally tallies[READERS];
};

static void race_start(struct race *r, void *(*a)(void *), void *(*b)(void *))
{
	remember();
	memset(r, 0, sizeof(*r));
	assert_int_equal(pthread_create(&r->threads[0], NULL, a, &r->tallies[0]), 0);
	assert_int_equal(pthread_create(&r->threads[1], NULL, b, &r->tallies[1]), 0);
}

static void race_end(struct race *r, bool refusals)
{
	atomic_store(&stop, true);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(r->threads[i], NULL), 0);
	for (size_t i = 0; i < READERS; i++) {
		const struct tally *t = &r->tallies[i];

		print_message("thread %zu: %lu inside, %lu refused\n", i, t->good, t->refused);
		if (t->wrong > 0)
			fail_msg("%lu times wrong, first %s", t->wrong, t->what);
		assert_true(t->good > 0 && (t->refused > 0) == refusals);
	}
}

/* A slow machine makes fewer exchanges, not a failure. */
static bool race_over(unsigned int i)
{
	static time_t begun;

	if (i == 0)
		begun = time(NULL);
	return i >= EXCHANGES || (i % 64 == 0 && time(NULL) - begun > 8);
}

static void race_exchanging(
	const char *a, const char *b, void *(*one)(void *), void *(*two)(void *), bool refusals)
{
	static char from[PATH_MAX], to[PATH_MAX];
	struct race r;

	snprintf(from, sizeof(from), "%s", at(a));
	snprintf(to, sizeof(to), "%s", at(b));
	if (exchange(from, to) < 0) {
		print_message("SKIPPED: no RENAME_EXCHANGE here\n");
		skip();
	}
	assert_int_equal(exchange(from, to), 0);
	race_start(&r, one, two);
	for (unsigned int i = 0; !race_over(i); i++)
		(void)!exchange(from, to);
	race_end(&r, refusals);
}

static void a_directory_exchanged_for_a_link_out(void **state)
{
	(void)state;
	race_exchanging("@/ws/swap", "@/ws/link", open_in_swap, open_in_swap, true);
}

static void directories_made_where_a_link_out_may_be(void **state)
{
	(void)state;
	race_exchanging("@/ws/swap", "@/ws/link", make_in_swap, open_in_swap, true);
}

static void a_file_exchanged_for_a_link_out(void **state)
{
	(void)state;
	race_exchanging("@/ws/file", "@/ws/flink", open_last, open_last, true);
}

static void a_directory_exchanged_for_a_link_to_a_read_only_root(void **state)
{
	(void)state;
	assert_int_equal(mkdir(at("@/ws/ro/sub"), 0777), 0);
	make_file("@/ws/ro/sub/file", "inside");
	race_exchanging("@/ws/swap", "@/ws/rolink", open_in_swap, open_in_swap, true);
}

static void a_directory_exchanged_for_a_link_inside(void **state)
{
	(void)state;
	make_dir("@/ws/m/sub");
	make_link("@/ws/inlink", "m");
	race_exchanging("@/ws/swap", "@/ws/inlink", open_always, open_always, false);
}

static void a_directory_moved_out_and_back(void **state)
{
	static char home[PATH_MAX], away[PATH_MAX];
	struct race r;

	(void)state;
	snprintf(home, sizeof(home), "%s", at("@/ws/m/deep"));
	snprintf(away, sizeof(away), "%s", at("@/out/deep"));
	race_start(&r, open_up, open_up);
	for (unsigned int i = 0; !race_over(i); i++) {
		assert_int_equal(rename(home, away), 0);
		assert_int_equal(rename(away, home), 0);
	}
	race_end(&r, true);
}

/* ---- two at the same work ---- */

#define MADE  60
#define DEPTH 100

static pthread_barrier_t barrier;

/*
 * Both make the same directories. To step into one is quicker than to make it, so who is behind
 * catches up, and they meet many times on the way.
 */
static void *make_the_same(void *arg)
{
	char path[PATH_MAX];

	for (unsigned int i = 0; i < MADE; i++) {
		int n = snprintf(path, sizeof(path), "%.2000s/a%u", path_swap, i);

		for (unsigned int k = 0; k < DEPTH; k++)
			n += snprintf(path + n, sizeof(path) - (size_t)n, "/a");
		pthread_barrier_wait(&barrier);
		find_one(arg, path, CONFINE_PARENTS, 0);
	}
	return NULL;
}

static void directories_that_somebody_else_makes_too(void **state)
{
	struct race r;

	(void)state;
	assert_int_equal(pthread_barrier_init(&barrier, NULL, READERS), 0);
	race_start(&r, make_the_same, make_the_same);
	for (size_t i = 0; i < READERS; i++) {
		assert_int_equal(pthread_join(r.threads[i], NULL), 0);
		assert_int_equal(r.tallies[i].wrong, 0);
		assert_int_equal(r.tallies[i].good, MADE);
	}
	pthread_barrier_destroy(&barrier);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_tree, remove_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_directory_exchanged_for_a_link_out),
		TEST(directories_made_where_a_link_out_may_be),
		TEST(a_file_exchanged_for_a_link_out),
		TEST(a_directory_exchanged_for_a_link_to_a_read_only_root),
		TEST(a_directory_exchanged_for_a_link_inside),
		TEST(a_directory_moved_out_and_back),
		TEST(directories_that_somebody_else_makes_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
