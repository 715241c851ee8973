/* Starting a process while thousands of descriptors are open. */
#include "boxd/spawn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "os_helpers.h"

enum { MANY = 600 };

static int open_many(void **state)
{
	struct err e = {0};

	(void)state;
	if (spawn_reserve_slots(&e) != 0)
		return -1;
	for (int i = 0; i < MANY; i++) {
		if (open("/dev/null", O_RDONLY) < 0) /* not close-on-exec: nothing may leak */
			return -1;
	}
	return 0;
}

/* "0 1 2 " and whatever else the child has open, besides the directory that it looks at. */
static void child_fds(const char *script, char *out, size_t cap, int *status)
{
	char *const argv[] = {(char *)"sh", (char *)"-c", (char *)(uintptr_t)script, NULL};
	char *const envp[] = {(char *)"PATH=/usr/bin:/bin", NULL};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), p[2];
	struct err e = {0};
	pid_t pid;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_true(p[0] > 128 && null > 128);
	const struct spawn_plan plan = {
		.path = "/bin/sh", .argv = argv, .envp = envp, .fds = {null, p[1], p[1]}};

	pid = spawn(&plan, &e);
	assert_true(pid > 0);
	close(p[1]);
	/* The end of the file comes with the end of the child: no slot holds the pipe open. */
	assert_true(test_read_all(p[0], out, cap));
	assert_int_equal(waitpid(pid, status, 0), pid);
	close(p[0]);
	close(null);
}

static void the_child_has_its_three_and_the_daemon_keeps_all_of_its_own(void **state)
{
	char before[8192], after[8192], out[256];
	int status;

	(void)state;
	test_fds(0, before, sizeof(before));
	child_fds("echo 0 1 2 >&2; ls /proc/self/fd | tr '\\n' ' '", out, sizeof(out), &status);
	test_fds(0, after, sizeof(after));
	assert_string_equal(out, "0 1 2\n0 1 2 3 "); /* 3 is the directory ls reads */
	assert_int_equal(status, 0);
	assert_string_equal(after, before);
}

static void a_start_that_fails_says_why_and_leaves_nothing(void **state)
{
	char *const argv[] = {(char *)"x", NULL}, *const envp[] = {NULL};
	char before[8192], after[8192];
	struct err e = {0};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct spawn_plan plan = {
		.path = "/nonexistent", .argv = argv, .envp = envp, .fds = {null, null, null}};

	(void)state;
	test_fds(0, before, sizeof(before));
	assert_int_equal(spawn(&plan, &e), -1);
	assert_int_equal(e.sys, ENOENT);
	assert_int_equal(spawn_failed_step(), SPAWN_EXEC);
	test_fds(0, after, sizeof(after));
	assert_string_equal(after, before);
	assert_true(test_childless());
	close(null);
}

static void a_fourth_descriptor_is_where_the_plan_wants_it(void **state)
{
	static const int as[] = {3, 4, 7, 9, 500, 1023};
	char *const argv[] = {(char *)"cat", NULL}, *const envp[] = {NULL};
	char before[8192], after[8192], list[64], expected[32], path[64], ours[64], theirs[64];
	struct err e = {0};
	int in[2], out[2], extra[2], status;
	char byte;

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(extra, O_CLOEXEC), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", extra[1]);
	ours[readlink(path, ours, sizeof(ours) - 1)] = '\0';
	test_fds(0, before, sizeof(before));
	for (size_t i = 0; i < sizeof(as) / sizeof(as[0]); i++) {
		const struct spawn_plan plan = {.path = "/bin/cat",
			.argv = argv,
			.envp = envp,
			.fds = {in[0], out[1], out[1]},
			.extra_fd = extra[1],
			.extra_fd_as = as[i]};
		pid_t pid = spawn(&plan, &e);

		assert_true(pid > 0);
		assert_int_equal(write(in[1], "x", 1), 1);
		assert_true(test_read_exact(out[0], &byte, 1));
		test_fds(pid, list, sizeof(list));
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, as[i]);
		ssize_t n = readlink(path, theirs, sizeof(theirs) - 1);

		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		theirs[n > 0 ? n : 0] = '\0';
		snprintf(expected, sizeof(expected), "0 1 2 %d ", as[i]);
		assert_string_equal(list, expected);
		assert_string_equal(theirs, ours);
	}
	test_fds(0, after, sizeof(after));
	assert_string_equal(after, before);
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
	/* No slot keeps it open: its reader gets the end of the file. */
	close(extra[1]);
	assert_true(test_read_all(extra[0], list, sizeof(list)));
	close(extra[0]);
}

/* From now on close_range(2) is not there. */
static void deny_close_range(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {
		.len = (unsigned short)(sizeof(code) / sizeof(code[0])), .filter = code};

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

/* Last: it cannot be taken back. */
static void without_close_range_it_copies_the_table(void **state)
{
	deny_close_range();
	the_child_has_its_three_and_the_daemon_keeps_all_of_its_own(state);
	the_child_has_its_three_and_the_daemon_keeps_all_of_its_own(state);
	a_start_that_fails_says_why_and_leaves_nothing(state);
	a_fourth_descriptor_is_where_the_plan_wants_it(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_child_has_its_three_and_the_daemon_keeps_all_of_its_own),
		cmocka_unit_test(a_start_that_fails_says_why_and_leaves_nothing),
		cmocka_unit_test(a_fourth_descriptor_is_where_the_plan_wants_it),
		cmocka_unit_test(without_close_range_it_copies_the_table),
	};

	return cmocka_run_group_tests(tests, open_many, NULL);
}
