/*
 * What the roots may be, what is refused at the start, and what depends on who asks: permissions,
 * links of strangers, the magic links of procfs, the texts of errors.
 */
#include "boxd/confine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sys/syscall.h>

#include "../../src/os/confine_internal.h"
#include "boxd/asuser.h"
#include "confine_fixture.h"
#include "os_helpers.h"

#define NOBODY 65534

static struct confine *confine;
static size_t fds_before;

static int make_tree(void **state)
{
	(void)state;
	fds_before = test_fds(0, NULL, 0);
	make_base();
	make_dir("@/ws");
	make_dir("@/ws/d");
	make_dir("@/ws/ro");
	make_dir("@/out");
	make_file("@/ws/f", "f");
	make_file("@/ws/d/f", "f");
	make_file("@/ws/ro/f", "f");
	make_file("@/out/f", "f");
	return 0;
}

static int remove_all(void **state)
{
	(void)state;
	confine_free(confine);
	confine = NULL;
	remove_base();
	assert_int_equal(test_fds(0, NULL, 0), fds_before);
	return 0;
}

/* Up to three roots; a '!' before the path makes it read-only. The kind of the error, or "none". */
static const char *start(const char *first, const char *second, const char *third)
{
	const char *given[] = {first, second, third};
	struct confine_root roots[3];
	struct err e = {0};
	size_t n = 0;

	confine_free(confine);
	for (; n < 3 && given[n] != NULL; n++) {
		roots[n].read_only = given[n][0] == '!';
		roots[n].path = at(given[n] + (given[n][0] == '!' ? 1 : 0));
	}
	confine = confine_new(roots, n, &e);
	assert_int_equal(confine == NULL, e.kind != NULL);
	return kind_name(e.kind);
}

static void expect_found(const char *path, unsigned int how, const char *expected)
{
	const char *is = found(confine, path, how);

	if (strcmp(is, expected) != 0)
		fail_msg("find %s: %s, not %s", path, is, expected);
}

static void expect_opened(const char *path, int flags, const char *expected)
{
	const char *is = opened(confine, path, flags, 0);

	if (strcmp(is, expected) != 0)
		fail_msg("open %s: %s, not %s", path, is, expected);
}

/* ---- roots ---- */

static void the_workspace_must_be_there(void **state)
{
	(void)state;
	assert_string_equal(start("@/gone", "@/ws", NULL), "NO_FILE");
	assert_string_equal(start("@/ws/f", "@/ws", NULL), "NO_FILE");
	assert_string_equal(start("@/ws", NULL, NULL), "none");
	make_link("@/loop", "loop");
	assert_string_equal(start("@/loop", NULL, NULL), "BAD_PATH");
	make_link("@/dangling", "gone");
	assert_string_equal(start("@/dangling", NULL, NULL), "NO_FILE");
}

static void other_roots_may_be_missing(void **state)
{
	(void)state;
	assert_string_equal(start("@/ws", "@/gone", "@/ws/f"), "none");
	expect_found("@/ws/f", CONFINE_WRITE, "@/ws f");
	expect_found("@/gone/x", CONFINE_PARENTS, "PATH_FORBIDDEN");
	assert_string_equal(start("@/ws", "!@/gone", "@/gone/gone"), "none");
	/* It stays outside when it is made later. */
	make_dir("@/gone");
	expect_found("@/gone/x", 0, "PATH_FORBIDDEN");
}

static void what_was_to_be_read_only_is_not_left_open(void **state)
{
	(void)state;
	assert_string_equal(start("@/ws", "!@/ws/gone", NULL), "NO_FILE");
	assert_string_equal(start("@/ws", "!@/ws/d/gone", NULL), "NO_FILE");
	assert_string_equal(start("@/ws", "!@/ws/f", NULL), "NO_FILE");
	assert_string_equal(start("@/ws", "!@/ws/gone/gone", NULL), "NO_FILE");
	make_link("@/alias", "ws");
	assert_string_equal(start("@/ws", "!@/alias/gone", NULL), "NO_FILE");
	assert_string_equal(start("!@/ws", "!@/ws/gone", NULL), "none");
	assert_string_equal(start("!@/ws", "@/ws/gone", NULL), "none");
}

static void of_two_modes_the_careful_one_holds(void **state)
{
	(void)state;
	make_link("@/alias", "ws");
	assert_string_equal(start("@/ws", "!@/ws/", NULL), "none");
	expect_found("@/ws/f", CONFINE_WRITE, "READ_ONLY");
	assert_string_equal(start("!@/alias", "@/ws", NULL), "none");
	expect_found("@/ws/f", CONFINE_WRITE, "READ_ONLY");
	expect_found("@/alias/f", CONFINE_WRITE, "READ_ONLY");
	expect_found("@/ws", 0, "@/ws . root ro");
}

static void roots_may_be_spelled_in_many_ways(void **state)
{
	static const char *const spellings[] = {"@/ws", "@/ws/", "@//ws//", "@/./ws/.", "@/alias",
		"@/alias/", "@/abs", "@/deep/alias", "@/out/../ws", "@/ws/d/.."};
	char path[128], holds[256];

	(void)state;
	make_link("@/alias", "ws");
	make_link("@/abs", at("@/ws"));
	make_link("@/deep", "out");
	make_link("@/out/alias", "../abs");
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		assert_string_equal(start(spellings[i], "!@/ws/ro", NULL), "none");
		expect_found("@/ws/d/f", 0, "@/ws/d f");
		expect_found("@/ws/ro/f", CONFINE_WRITE, "READ_ONLY");
		expect_found("@/ws", 0, "@/ws . root holds");
		expect_found("@/out/f", 0, "PATH_FORBIDDEN");
	}
	/* Through the spelling that was given, too. */
	assert_string_equal(start("@/deep/alias", "!@/abs/ro", NULL), "none");
	for (const char *const *s =
			(const char *const[]){"@/ws", "@/deep/alias", "@/out/alias", NULL};
		*s != NULL; s++) {
		snprintf(path, sizeof(path), "%s/d/f", *s);
		expect_found(path, 0, "@/ws/d f");
		snprintf(path, sizeof(path), "%s/ro/f", *s);
		expect_found(path, 0, "@/ws/ro f ro");
		snprintf(path, sizeof(path), "%s/ro", *s);
		expect_found(path, 0, "@/ws/ro . root ro");
		snprintf(holds, sizeof(holds), "@/ws . root holds");
		expect_found(*s, 0, holds);
	}
	/* One that nobody named is no way in. */
	expect_found("@/alias/d", 0, "PATH_FORBIDDEN");
}

static void a_link_goes_up_from_where_a_spelling_leads(void **state)
{
	(void)state;
	make_dir("@/out/s");
	make_link("@/far", "out/s");
	make_link("@/out/s/alias", "../../ws");
	make_link("@/ws/by_text", at("@/far/../ws/f"));
	make_link("@/ws/by_root", at("@/far/alias/../ws/f"));
	assert_string_equal(start("@/far/alias", NULL, NULL), "none");
	expect_opened("@/far/alias/f", O_RDONLY, "@/ws/f");
	/* @/far/.. is @/out. */
	expect_opened("@/ws/by_text", O_RDONLY, "PATH_FORBIDDEN");
	expect_opened("@/ws/by_root", O_RDONLY, "@/ws/f");
}

static void a_link_goes_up_above_the_roots_where_nothing_is_a_link(void **state)
{
	char target[PATH_MAX];

	(void)state;
	make_dir("@/ws/d/e");
	make_dir("@/tmp");
	make_file("@/tmp/f", "f");
	snprintf(target, sizeof(target), "%.1000s/../%.1000s/ws/f", base, strrchr(base, '/') + 1);
	make_link("@/ws/above", target);
	make_link("@/ws/below", at("@/ws/d/../../tmp/f"));
	assert_string_equal(start("@/ws", "!@/ws/d/e", "@/tmp"), "none");
	expect_opened("@/ws/above", O_RDONLY, "@/ws/f");
	expect_opened("@/ws/below", O_RDONLY, "@/tmp/f");
	/* Below a root it is looked at. */
	assert_int_equal(rename(at("@/ws/d"), at("@/ws/gone")), 0);
	expect_opened("@/ws/below", O_RDONLY, "NO_FILE");
}

static void places_say_that_a_root_is_below(void **state)
{
	(void)state;
	make_dir("@/ws/d/e");
	make_dir("@/ws/d/e/root");
	make_link("@/ws/d/link", at("@/out"));
	assert_string_equal(start("@/ws", "!@/ws/d/e/root", "@/ws/d/link"), "none");
	expect_found("@/ws/d", 0, "@/ws d holds");
	expect_found("@/ws/d/e", 0, "@/ws/d e holds");
	expect_found("@/ws/d/e/root", 0, "@/ws/d/e/root . root ro");
	expect_found("@/ws/d/e/roo", 0, "@/ws/d/e roo");
	expect_found("@/ws/d/f", 0, "@/ws/d f");
	/* The link that a root was given through is not to be replaced either. */
	expect_found("@/ws/d/link", 0, "@/out . root");
}

static void a_root_that_is_a_link_elsewhere_later_stays_what_it_was(void **state)
{
	(void)state;
	make_link("@/alias", "ws");
	assert_string_equal(start("@/alias", NULL, NULL), "none");
	assert_int_equal(unlink(at("@/alias")), 0);
	make_link("@/alias", "out");
	expect_opened("@/alias/d/f", O_RDONLY, "@/ws/d/f");
	expect_opened("@/out/f", O_RDONLY, "PATH_FORBIDDEN");
	assert_int_equal(rename(at("@/ws"), at("@/moved")), 0);
	make_link("@/ws", "out");
	expect_opened("@/ws/d/f", O_RDONLY, "@/moved/d/f");
	expect_opened("@/alias/d/f", O_RDONLY, "@/moved/d/f");
}

static void the_root_of_everything_confines_nothing(void **state)
{
	char path[512];

	(void)state;
	make_link("@/abs", at("@/out/f"));
	make_link("@/up", "../../../../../../../../../../../../../../../../../../../../../etc");
	assert_string_equal(start("/", "!@/ws/ro", "@/ws"), "none");
	expect_found("/", 0, "/ . root holds");
	expect_found("/etc", 0, "/ etc");
	expect_opened("/etc/passwd", O_RDONLY, "/etc/passwd");
	expect_opened("@/abs", O_RDONLY, "@/out/f");
	expect_opened("@/up/passwd", O_RDONLY, "/etc/passwd");
	expect_found("@/up", CONFINE_FOLLOW, "/ etc");
	expect_found("@/out/f", CONFINE_WRITE, "@/out f");
	expect_found("@/ws/ro/f", CONFINE_WRITE, "READ_ONLY");
	expect_found("@/ws/d/f", CONFINE_WRITE, "@/ws/d f");
	snprintf(path, sizeof(path), "%s holds", found(confine, "@", 0));
	assert_non_null(strstr(path, " holds holds"));
	expect_found("/nowhere/at/all", 0, "NO_FILE");
	/* "//x" and the like come only out of links. */
	make_link("@/slashes", "//etc//passwd");
	expect_opened("@/slashes", O_RDONLY, "/etc/passwd");
	make_link("@/just_slashes", "///");
	expect_opened("@/just_slashes", O_RDONLY, "/");
	expect_found("@/just_slashes", CONFINE_FOLLOW, "/ . root holds");
}

static void a_removed_root_is_empty_and_no_error_of_ours(void **state)
{
	(void)state;
	assert_string_equal(start("@/ws", "@/out", NULL), "none");
	remove_tree(AT_FDCWD, at("@/out"));
	expect_opened("@/out/f", O_RDONLY, "NO_FILE");
	expect_found("@/out/x/y", CONFINE_PARENTS, "NO_FILE");
}

/* ---- magic ---- */

static void magic_links_are_outside(void **state)
{
	char path[8][128];
	int ends[2];
	size_t n = 0;

	(void)state;
	if (access("/proc/self/fd", F_OK) != 0) {
		print_message("SKIPPED: no /proc here\n");
		skip();
	}
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_string_equal(start("@/ws", "/proc", NULL), "none");
	snprintf(path[n++], 128, "/proc/self/fd/%d", ends[0]);
	snprintf(path[n++], 128, "/proc/%d/fd/%d", (int)getpid(), ends[1]);
	snprintf(path[n++], 128, "/proc/self/task/%d/cwd", (int)getpid());
	snprintf(path[n++], 128, "/proc/self/cwd");
	snprintf(path[n++], 128, "/proc/self/root");
	snprintf(path[n++], 128, "/proc/self/exe");
	snprintf(path[n++], 128, "/proc/self/ns/net");
	snprintf(path[n++], 128, "/proc/thread-self/cwd");
	for (int again = 0; again < 2; again++) {
		for (size_t i = 0; i < n; i++) {
			char below[160];

			expect_opened(path[i], O_PATH, "PATH_FORBIDDEN");
			expect_opened(path[i], O_RDONLY, "PATH_FORBIDDEN");
			expect_found(path[i], CONFINE_FOLLOW, "PATH_FORBIDDEN");
			snprintf(below, sizeof(below), "%s/etc/passwd", path[i]);
			expect_opened(below, O_RDONLY, "PATH_FORBIDDEN");
		}
		/* Even where everything else is inside. */
		assert_string_equal(start("/", NULL, NULL), "none");
	}
	/* A link that leads to one. */
	make_link("@/ws/to_cwd", "/proc/self/cwd");
	expect_opened("@/ws/to_cwd", O_PATH, "PATH_FORBIDDEN");
	close(ends[0]);
	close(ends[1]);
}

static void plain_links_of_procfs_are_followed(void **state)
{
	char path[128];

	(void)state;
	if (access("/proc/self/status", F_OK) != 0) {
		print_message("SKIPPED: no /proc here\n");
		skip();
	}
	assert_string_equal(start("@/ws", "/proc", NULL), "none");
	snprintf(path, sizeof(path), "/proc/%d/status", (int)getpid());
	expect_opened("/proc/self/status", O_RDONLY, path);
	snprintf(path, sizeof(path), "/proc/%d/mounts", (int)getpid());
	expect_opened("/proc/mounts", O_RDONLY, path);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)getpid(),
		(int)syscall(SYS_gettid));
	expect_opened("/proc/thread-self/status", O_RDONLY, path);
}

/* ---- permissions ---- */

static const struct {
	const char *path;
	int flags; /* -1: find */
	unsigned int how;
	const char *expected;
} rights[] = {
	{"@/ws/f", O_RDONLY, 0, "@/ws/f"},
	{"@/ws/f", O_WRONLY, CONFINE_WRITE, "PERMISSION"},
	{"@/ws/own/f", O_RDWR, CONFINE_WRITE, "@/ws/own/f"},
	{"@/ws/secret", O_RDONLY, 0, "PERMISSION"},
	{"@/ws/secret", O_PATH, 0, "@/ws/secret"},
	{"@/ws/closed", O_RDONLY, 0, "PERMISSION"},
	{"@/ws/closed", O_PATH, 0, "@/ws/closed"},
	{"@/ws/closed/f", O_RDONLY, 0, "PERMISSION"},
	{"@/ws/closed/f", O_PATH, 0, "PERMISSION"},
	{"@/ws/closed/none", O_RDONLY, 0, "PERMISSION"},
	{"@/ws/closed/d/x", O_RDONLY, 0, "PERMISSION"},
	{"@/ws/blind", O_RDONLY, 0, "PERMISSION"},
	{"@/ws/blind/f", O_RDONLY, 0, "@/ws/blind/f"},
	{"@/ws/to_closed/f", O_RDONLY, 0, "PERMISSION"},
	{"@/ws/to_blind/f", O_RDONLY, 0, "@/ws/blind/f"},
	{"@/ws/closed/f", -1, 0, "@/ws/closed f"},
	{"@/ws/closed/f", -1, CONFINE_FOLLOW, "PERMISSION"},
	{"@/ws/closed/d/x", -1, 0, "PERMISSION"},
	{"@/ws/closed/p/x", -1, CONFINE_PARENTS, "PERMISSION"},
	{"@/ws/p/x", -1, CONFINE_PARENTS, "PERMISSION"},
	{"@/ws/blind/p/x", -1, CONFINE_PARENTS, "PERMISSION"},
	{"@/ws/own/p/x", -1, CONFINE_PARENTS, "@/ws/own/p x"},
};

static void permissions_are_those_of_the_thread(void **state)
{
	static const struct user nobody = {
		.uid = NOBODY, .gid = NOBODY, .groups = {NOBODY}, .ngroups = 1};
	struct err e = {0};
	struct stat st;
	int wrong = 0;

	(void)state;
	if (geteuid() != 0) {
		print_message("SKIPPED: not root\n");
		skip();
	}
	make_dir("@/ws/own");
	make_dir("@/ws/closed");
	make_dir("@/ws/closed/d");
	make_dir("@/ws/blind");
	make_file("@/ws/own/f", "f");
	make_file("@/ws/closed/f", "f");
	make_file("@/ws/blind/f", "f");
	make_file("@/ws/secret", "f");
	make_link("@/ws/to_closed", "closed");
	make_link("@/ws/to_blind", "blind");
	assert_int_equal(chown(at("@/ws/own"), NOBODY, NOBODY), 0);
	assert_int_equal(chown(at("@/ws/own/f"), NOBODY, NOBODY), 0);
	assert_int_equal(chmod(at("@/ws/closed"), 0700), 0);
	assert_int_equal(chmod(at("@/ws/blind"), 0711), 0);
	assert_int_equal(chmod(at("@/ws/secret"), 0600), 0);
	assert_string_equal(start("@/ws", NULL, NULL), "none");
	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
		const char *is;

		assert_int_equal(asuser_enter(&nobody, &e), 0);
		is = rights[i].flags < 0
			     ? found(confine, rights[i].path, rights[i].how)
			     : opened(confine, rights[i].path, rights[i].flags, rights[i].how);
		asuser_leave();
		if (strcmp(is, rights[i].expected) != 0) {
			print_error("%s flags %o how %u: %s, not %s\n", rights[i].path,
				(unsigned int)rights[i].flags, rights[i].how, is,
				rights[i].expected);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
	assert_int_equal(stat(at("@/ws/own/p"), &st), 0);
	assert_int_equal(st.st_uid, NOBODY);
	assert_int_equal(st.st_gid, NOBODY);
}

/* As with fs.protected_symlinks, which this machine may not have switched on. */
static void links_of_strangers_in_shared_directories_are_left_alone(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("SKIPPED: not root\n");
		skip();
	}
	make_dir("@/ws/shared");
	assert_int_equal(chmod(at("@/ws/shared"), 01777), 0);
	make_link("@/ws/shared/mine", "../f");
	make_link("@/ws/shared/theirs", "../f");
	make_link("@/ws/shared/dir", "../d");
	make_link("@/ws/shared/owners", "../f");
	make_link("@/ws/to_theirs", "shared/theirs");
	make_link("@/ws/theirs", "f");
	assert_int_equal(lchown(at("@/ws/shared/theirs"), 1234, 1234), 0);
	assert_int_equal(lchown(at("@/ws/shared/dir"), 1234, 1234), 0);
	assert_int_equal(lchown(at("@/ws/theirs"), 1234, 1234), 0);
	assert_int_equal(lchown(at("@/ws/shared/owners"), 4321, 4321), 0);
	assert_int_equal(chown(at("@/ws/shared"), 4321, 4321), 0);
	assert_string_equal(start("@/ws", NULL, NULL), "none");
	confine->guard_links = true;
	expect_opened("@/ws/shared/theirs", O_RDONLY, "PERMISSION");
	expect_found("@/ws/shared/theirs", CONFINE_FOLLOW, "PERMISSION");
	expect_opened("@/ws/to_theirs", O_RDONLY, "PERMISSION");
	expect_opened("@/ws/shared/mine", O_RDONLY, "@/ws/f");
	expect_opened("@/ws/shared/owners", O_RDONLY, "@/ws/f");
	expect_opened("@/ws/theirs", O_RDONLY, "@/ws/f");
	/* On the way it is followed, and so it is where the directory is not shared. */
	expect_opened("@/ws/shared/dir/f", O_RDONLY, "@/ws/d/f");
	expect_opened("@/ws/shared/theirs", O_PATH | O_NOFOLLOW, "@/ws/shared/theirs");
	assert_int_equal(chmod(at("@/ws/shared"), 0777), 0);
	expect_opened("@/ws/shared/theirs", O_RDONLY, "@/ws/f");
	assert_int_equal(chmod(at("@/ws/shared"), 01775), 0);
	expect_opened("@/ws/shared/theirs", O_RDONLY, "@/ws/f");
	assert_int_equal(chmod(at("@/ws/shared"), 01777), 0);
	confine->guard_links = false;
	expect_opened("@/ws/shared/theirs", O_RDONLY, "@/ws/f");
}

/* ---- going down ---- */

typedef int open_dir_fn(int, const char *, int);

static void expect_dir(open_dir_fn *open_dir, const char *name, int flags, const char *expected)
{
	int dir = open(at("@/ws"), O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = open_dir(dir, name, flags | O_CLOEXEC);
	const char *is = fd >= 0 ? place_of(fd) : err_strerror(errno);

	if (strcmp(is, expected) != 0)
		fail_msg("%s flags %o: %s, not %s", name, (unsigned int)flags, is, expected);
	if (fd >= 0) {
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		assert_int_equal(fcntl(fd, F_GETFL) & O_PATH, flags & O_PATH);
		close(fd);
	}
	close(dir);
}

static void directories_are_opened_and_links_are_not(void **state)
{
	static open_dir_fn *const ways[] = {confine_open_dir, confine_open_dir_by_hand};
	static const int flags[] = {O_RDONLY, O_PATH, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
		O_RDONLY | O_NONBLOCK | O_NOCTTY};

	(void)state;
	make_link("@/ws/to_d", "d");
	make_link("@/ws/to_out", at("@/out"));
	make_link("@/ws/dangling", "none");
	assert_int_equal(mkfifo(at("@/ws/fifo"), 0666), 0);
	alarm(30);
	for (size_t i = 0; i < 8; i++) {
		open_dir_fn *way = ways[i / 4];

		expect_dir(way, "d", flags[i % 4], "@/ws/d");
		expect_dir(way, ".", flags[i % 4], "@/ws");
		expect_dir(way, "to_d", flags[i % 4], "Not a directory");
		expect_dir(way, "to_out", flags[i % 4], "Not a directory");
		expect_dir(way, "dangling", flags[i % 4], "Not a directory");
		expect_dir(way, "f", flags[i % 4], "Not a directory");
		expect_dir(way, "fifo", flags[i % 4], "Not a directory");
		expect_dir(way, "none", flags[i % 4], "No such file or directory");
	}
	alarm(0);
}

/* What may be read but not entered can be listed, and the other way round. */
static void directories_are_opened_with_the_right_that_is_there(void **state)
{
	static const struct user nobody = {
		.uid = NOBODY, .gid = NOBODY, .groups = {NOBODY}, .ngroups = 1};
	static open_dir_fn *const ways[] = {confine_open_dir, confine_open_dir_by_hand};
	struct err e = {0};

	(void)state;
	if (geteuid() != 0) {
		print_message("SKIPPED: not root\n");
		skip();
	}
	make_dir("@/ws/read");
	make_dir("@/ws/enter");
	assert_int_equal(chmod(at("@/ws/read"), 0744), 0);
	assert_int_equal(chmod(at("@/ws/enter"), 0711), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(asuser_enter(&nobody, &e), 0);
		expect_dir(ways[i], "read", O_RDONLY, "@/ws/read");
		expect_dir(ways[i], "enter", O_RDONLY, "Permission denied");
		expect_dir(ways[i], "enter", O_PATH, "@/ws/enter");
		asuser_leave();
	}
}

/* ---- errors ---- */

static void errors_tell_nothing_of_what_is_outside(void **state)
{
	static const char *const paths[] = {"@/out/f", "@/out", "@/out/none", "@/out/f/x", "/",
		"/nowhere", "@/ws/to_f", "@/ws/to_none", "@/ws/to_out/f", "@/ws/to_out/none/x"};
	struct err first = {0};

	(void)state;
	make_link("@/ws/to_f", at("@/out/f"));
	make_link("@/ws/to_none", at("@/out/none"));
	make_link("@/ws/to_out", "../out");
	assert_string_equal(start("@/ws", NULL, NULL), "none");
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct err e = {0};
		struct confine_place p;

		assert_int_equal(confine_open(confine, at(paths[i]), O_RDONLY, 0, &e), -1);
		if (i == 0)
			first = e;
		assert_ptr_equal(e.kind, first.kind);
		assert_int_equal(e.sys, first.sys);
		assert_string_equal(e.msg, first.msg);
		e = (struct err){0};
		assert_int_equal(confine_find(confine, at(paths[i]), CONFINE_FOLLOW, &p, &e), -1);
		assert_string_equal(e.msg, first.msg);
	}
}

static void errors_name_the_last_name_only(void **state)
{
	struct err e = {0};

	(void)state;
	make_link("@/ws/dangling", "d/secretive/name");
	assert_string_equal(start("@/ws", NULL, NULL), "none");
	assert_int_equal(confine_open(confine, at("@/ws/none/a b"), O_RDONLY, 0, &e), -1);
	assert_string_equal(e.msg, "a b: No such file or directory");
	assert_int_equal(e.sys, ENOENT);
	e = (struct err){0};
	assert_int_equal(confine_open(confine, at("@/ws/dangling"), O_RDONLY, 0, &e), -1);
	assert_string_equal(e.msg, "dangling: No such file or directory");
	e = (struct err){0};
	assert_int_equal(confine_open(confine, at("@/ws/f/x"), O_RDONLY, 0, &e), -1);
	assert_string_equal(e.msg, "x: Not a directory");
	e = (struct err){0};
	assert_int_equal(confine_open(confine, at("@/ws"), O_WRONLY, 0, &e), -1);
	assert_string_equal(e.msg, "ws: Is a directory");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_tree, remove_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_workspace_must_be_there),
		TEST(other_roots_may_be_missing),
		TEST(what_was_to_be_read_only_is_not_left_open),
		TEST(of_two_modes_the_careful_one_holds),
		TEST(roots_may_be_spelled_in_many_ways),
		TEST(a_link_goes_up_from_where_a_spelling_leads),
		TEST(a_link_goes_up_above_the_roots_where_nothing_is_a_link),
		TEST(places_say_that_a_root_is_below),
		TEST(a_root_that_is_a_link_elsewhere_later_stays_what_it_was),
		TEST(the_root_of_everything_confines_nothing),
		TEST(a_removed_root_is_empty_and_no_error_of_ours),
		TEST(magic_links_are_outside),
		TEST(plain_links_of_procfs_are_followed),
		TEST(permissions_are_those_of_the_thread),
		TEST(links_of_strangers_in_shared_directories_are_left_alone),
		TEST(directories_are_opened_and_links_are_not),
		TEST(directories_are_opened_with_the_right_that_is_there),
		TEST(errors_tell_nothing_of_what_is_outside),
		TEST(errors_name_the_last_name_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
