/* What a started process gets, what it must not get, and what the parent keeps. */
#include "boxd/spawn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "boxd/sysc.h"
#include "os_helpers.h"

static char *const no_env[] = {NULL};
static char *const path_env[] = {(char *)"PATH=/usr/bin:/bin", NULL};

static int null_fd = -1;

static int open_null(void **state)
{
	(void)state;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return null_fd > 2 ? 0 : -1;
}

static struct spawn_plan plan_of(const char *path, char *const *argv)
{
	return (struct spawn_plan){
		.path = path,
		.argv = argv,
		.envp = path_env,
		.fds = {null_fd, null_fd, null_fd},
	};
}

static pid_t start(const struct spawn_plan *plan)
{
	struct err e = {0};
	pid_t pid = spawn(plan, &e);

	if (pid < 0)
		print_error("%s\n", e.msg);
	assert_true(pid > 0);
	return pid;
}

static pid_t wait_for(pid_t pid, int *status)
{
	pid_t rc;

	do
		rc = waitpid(pid, status, 0);
	while (rc < 0 && errno == EINTR);
	return rc;
}

static int end_of(pid_t pid)
{
	int status = -1;

	assert_int_equal(wait_for(pid, &status), pid);
	return status;
}

/* Runs a shell script to its end with stdout and stderr in one pipe; its output. */
static void run_script(struct spawn_plan *plan, const char *script, char *out, size_t cap)
{
	char *argv[] = {
		(char *)"sh", (char *)"-c", (char *)script, (char *)"sh", (char *)"one two", NULL};
	int p[2];
	pid_t pid;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	plan->path = "/bin/sh";
	plan->argv = argv;
	plan->fds[1] = plan->fds[2] = p[1];
	pid = start(plan);
	close(p[1]);
	assert_true(test_read_all(p[0], out, cap));
	close(p[0]);
	assert_int_equal(end_of(pid), 0);
}

/* A cat that has begun to copy: nothing of its own start-up is open or blocked any more. */
struct cat {
	pid_t pid;
	int in, out;
};

static const char *const cat_path = "/bin/cat";
static char *const cat_argv[] = {(char *)"cat", NULL};

static void cat_start(struct cat *c, struct spawn_plan *plan)
{
	int in[2], out[2];
	char byte = 0;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	plan->path = cat_path;
	plan->argv = cat_argv;
	plan->fds[0] = in[0];
	plan->fds[1] = out[1];
	c->pid = start(plan);
	c->in = in[1];
	c->out = out[0];
	close(in[0]);
	close(out[1]);
	assert_int_equal(write(c->in, "x", 1), 1);
	assert_true(test_read_exact(c->out, &byte, 1));
	assert_int_equal(byte, 'x');
}

static void cat_end(struct cat *c)
{
	close(c->in);
	close(c->out);
	assert_int_equal(end_of(c->pid), 0);
}

static void put_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static void a_start_that_fails_says_which_step_and_why(void **state)
{
	static char huge[256 * 1024];
	char *plain[] = {(char *)"x", NULL};
	char *too_long[] = {(char *)"x", huge, NULL};
	const struct {
		const char *path;
		char **argv;
		const char *cwd;
		int fd;
		int error;
		enum spawn_step step;
		const char *msg;
	} rows[] = {
		{"/nonexistent/program", plain, NULL, 0, ENOENT, SPAWN_EXEC,
			"exec: No such file or directory"},
		{"./spawn_not_executable", plain, NULL, 0, EACCES, SPAWN_EXEC,
			"exec: Permission denied"},
		{"/", plain, NULL, 0, EACCES, SPAWN_EXEC, "exec: Permission denied"},
		{"./spawn_no_interpreter", plain, NULL, 0, ENOEXEC, SPAWN_EXEC,
			"exec: Exec format error"},
		{"./spawn_bad_interpreter", plain, NULL, 0, ENOENT, SPAWN_EXEC,
			"exec: No such file or directory"},
		{"./spawn_not_executable/x", plain, NULL, 0, ENOTDIR, SPAWN_EXEC,
			"exec: Not a directory"},
		{"/bin/true", too_long, NULL, 0, E2BIG, SPAWN_EXEC, "exec: Argument list too long"},
		{"/bin/true", plain, "/nonexistent", 0, ENOENT, SPAWN_CWD,
			"cwd: No such file or directory"},
		{"/bin/true", plain, "spawn_not_executable", 0, ENOTDIR, SPAWN_CWD,
			"cwd: Not a directory"},
		{"/bin/true", plain, NULL, 999, EBADF, SPAWN_FORK, "fork: Bad file descriptor"},
	};
	size_t fds = test_fds(0, NULL, 0);
	size_t i;

	(void)state;
	memset(huge, 'a', sizeof(huge) - 1);
	put_file("spawn_not_executable", "#!/bin/sh\n", 0600);
	put_file("spawn_no_interpreter", "echo hi\n", 0700);
	put_file("spawn_bad_interpreter", "#!/nonexistent/sh\n", 0700);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct spawn_plan plan = plan_of(rows[i].path, rows[i].argv);
		struct err e = {0};

		plan.cwd = rows[i].cwd;
		if (rows[i].fd != 0)
			plan.fds[1] = rows[i].fd;
		if (spawn(&plan, &e) != -1 || strcmp(e.msg, rows[i].msg) != 0)
			print_error("%s\n", rows[i].msg);
		assert_string_equal(e.msg, rows[i].msg);
		assert_int_equal(e.sys, rows[i].error);
		assert_ptr_equal(e.kind, &ERR_RUNTIME);
		assert_int_equal(spawn_failed_step(), rows[i].step);
		assert_true(test_childless());
	}
	assert_int_equal(test_fds(0, NULL, 0), fds);
	unlink("spawn_not_executable");
	unlink("spawn_no_interpreter");
	unlink("spawn_bad_interpreter");
}

static void the_program_gets_its_arguments_environment_and_directory(void **state)
{
	char *const env[] = {(char *)"FRUIT=apple pie", NULL};
	struct spawn_plan plan = plan_of(NULL, NULL);
	char out[512];
	mode_t old = umask(077);

	(void)state;
	plan.envp = env;
	plan.cwd = "/usr";
	run_script(&plan, "echo \"$0,$1,$#,$FRUIT,$HOME\"; pwd; umask; echo err >&2", out,
		sizeof(out));
	umask(old);
	assert_string_equal(out, "sh,one two,1,apple pie,\n/usr\n0022\nerr\n");
}

static void the_environment_is_the_plans_alone(void **state)
{
	char *const argv[] = {(char *)"env", NULL};
	struct spawn_plan plan = plan_of("/usr/bin/env", argv);
	char out[64];
	int p[2];
	pid_t pid;

	(void)state;
	setenv("SPAWN_SECRET", "1", 1);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	plan.envp = no_env;
	plan.fds[1] = p[1];
	pid = start(&plan);
	close(p[1]);
	assert_true(test_read_all(p[0], out, sizeof(out)));
	close(p[0]);
	assert_int_equal(end_of(pid), 0);
	assert_string_equal(out, "");
	unsetenv("SPAWN_SECRET");
}

/* Descriptors that somebody forgot to mark close-on-exec: more than one getdents64(2) tells of. */
static const int leak_ranges[][2] = {{20, 22}, {63, 65}, {200, 300}, {700, 701}};

static void leak(void (*each)(int fd))
{
	size_t i;
	int fd;

	for (i = 0; i < sizeof(leak_ranges) / sizeof(leak_ranges[0]); i++) {
		for (fd = leak_ranges[i][0]; fd < leak_ranges[i][1]; fd++)
			each(fd);
	}
}

static void leak_open(int fd)
{
	assert_int_equal(dup2(null_fd, fd), fd);
}

static void leak_close(int fd)
{
	close(fd);
}

static void the_child_has_descriptors_0_1_2_and_no_other(void **state)
{
	struct spawn_plan plan = plan_of(NULL, NULL);
	char list[256];
	struct cat c;

	(void)state;
	leak(leak_open);
	cat_start(&c, &plan);
	test_fds(c.pid, list, sizeof(list));
	cat_end(&c);
	leak(leak_close);
	assert_string_equal(list, "0 1 2 ");
}

/* From now on the process gets this errno from close_range(2), and from opening directories. */
static void deny(int close_range_errno, int directory_errno)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_DIRECTORY, 2, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)close_range_errno),
		BPF_STMT(BPF_RET | BPF_K, directory_errno != 0
						  ? SECCOMP_RET_ERRNO | (uint32_t)directory_errno
						  : SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {
		.len = (unsigned short)(sizeof(code) / sizeof(code[0])), .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0)
		_exit(99);
}

/* extra: the number of a fourth descriptor, 0: none. */
static void check_closing_under(int close_range_errno, int directory_errno, int extra)
{
	int in[2], out[2], report[2];
	char list[256], expected[32] = "0 1 2 ";
	char byte = 0;
	pid_t helper, pid = 0;

	leak(leak_open);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	helper = fork();
	assert_true(helper >= 0);
	if (helper == 0) {
		struct spawn_plan plan = plan_of(cat_path, cat_argv);
		struct err e = {0};
		int status;

		plan.fds[0] = in[0];
		plan.fds[1] = out[1];
		plan.extra_fd = extra > 0 ? null_fd : -1;
		plan.extra_fd_as = extra;
		deny(close_range_errno, directory_errno);
		close(in[1]);
		pid = spawn(&plan, &e);
		if (pid < 0 || write(report[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(98);
		_exit(waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 97);
	}
	close(in[0]);
	close(out[1]);
	close(report[1]);
	assert_true(test_read_exact(report[0], &pid, sizeof(pid)));
	assert_int_equal(write(in[1], "x", 1), 1);
	assert_true(test_read_exact(out[0], &byte, 1));
	test_fds(pid, list, sizeof(list));
	close(in[1]);
	assert_int_equal(end_of(helper), 0);
	close(out[0]);
	close(report[0]);
	leak(leak_close);
	if (extra > 0)
		snprintf(expected, sizeof(expected), "0 1 2 %d ", extra);
	assert_string_equal(list, expected);
}

static void descriptors_are_closed_without_close_range_too(void **state)
{
	(void)state;
	check_closing_under(ENOSYS, 0, 0);
	check_closing_under(EPERM, 0, 0);
	check_closing_under(EINVAL, 0, 0);
	check_closing_under(ENOSYS, 0, 3);
	check_closing_under(ENOSYS, 0, 250);
}

static void descriptors_are_closed_without_proc_too(void **state)
{
	(void)state;
	check_closing_under(ENOSYS, ENOENT, 0);
	check_closing_under(ENOSYS, ENOENT, 3);
	check_closing_under(ENOSYS, ENOENT, 250);
}

/* What the descriptor of a process is: "pipe:[1234]". */
static void fd_names(pid_t pid, int fd, char out[64])
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	n = readlink(path, out, 63);
	out[n > 0 ? n : 0] = '\0';
}

static void a_fourth_descriptor_is_where_the_plan_wants_it(void **state)
{
	/* 0: the number it has already; -1: that of the standard input. */
	static const int as[] = {3, 4, 9, 21, 250, 700, 1023, 0, -1};
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	leak(leak_open);
	for (size_t i = 0; i < sizeof(as) / sizeof(as[0]); i++) {
		struct spawn_plan plan = plan_of(NULL, NULL);
		char list[256], expected[32], ours[64], theirs[64];
		struct cat c;

		plan.fds[2] = dup(null_fd);
		plan.extra_fd = p[1];
		plan.extra_fd_as = as[i] > 0 ? as[i] : as[i] == 0 ? p[1] : plan.fds[2];
		cat_start(&c, &plan);
		test_fds(c.pid, list, sizeof(list));
		fd_names(c.pid, plan.extra_fd_as, theirs);
		cat_end(&c);
		close(plan.fds[2]);
		fd_names(getpid(), p[1], ours);
		snprintf(expected, sizeof(expected), "0 1 2 %d ", plan.extra_fd_as);
		assert_string_equal(list, expected);
		assert_string_equal(theirs, ours);
	}
	leak(leak_close);
	/* Ours is as it was. */
	assert_int_equal(fcntl(p[1], F_GETFD), FD_CLOEXEC);
	close(p[0]);
	close(p[1]);
}

/* A terminal's two ends. */
static void open_terminal(int *master, int *slave)
{
	int unlock = 0;

	*master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*master >= 0);
	assert_int_equal(ioctl(*master, TIOCSPTLCK, &unlock), 0);
	*slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*slave >= 0);
}

static void a_terminal_becomes_the_controlling_one_when_asked_for(void **state)
{
	for (int wanted = 0; wanted < 2; wanted++) {
		struct spawn_plan plan = plan_of(NULL, NULL);
		int master, slave, foreground = 0;
		char out[64];

		(void)state;
		open_terminal(&master, &slave);
		plan.new_session = true;
		plan.terminal = wanted == 1;
		plan.fds[0] = slave;
		run_script(&plan, "(: </dev/tty) 2>/dev/null && echo one || echo none", out,
			sizeof(out));
		assert_string_equal(out, wanted == 1 ? "one\n" : "none\n");
		/* Not ours: we have no more of it than we had. */
		assert_true(ioctl(slave, TIOCGPGRP, &foreground) < 0);
		close(master);
		close(slave);
	}
}

static void what_is_no_terminal_cannot_be_the_controlling_one(void **state)
{
	char *argv[] = {(char *)"true", NULL};
	struct spawn_plan plan = plan_of("/bin/true", argv);
	struct err e = {0};

	(void)state;
	plan.new_session = true;
	plan.terminal = true;
	assert_int_equal(spawn(&plan, &e), -1);
	assert_string_equal(e.msg, "terminal: Inappropriate ioctl for device");
	assert_int_equal(spawn_failed_step(), SPAWN_TERMINAL);
	assert_true(test_childless());
}

static void ignored_and_blocked_signals_stay_the_parents(void **state)
{
	static const int ignored[] = {SIGINT, SIGQUIT, SIGPIPE, SIGHUP, 64};
	struct spawn_plan plan = plan_of(NULL, NULL);
	char ign[64], blk[64], cgt[64], before[64], after[64];
	struct cat c;
	sigset_t set, old;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, 63);
	sigprocmask(SIG_BLOCK, &set, &old);
	test_status(getpid(), "SigBlk", before, sizeof(before));
	cat_start(&c, &plan);
	test_status(getpid(), "SigBlk", after, sizeof(after));
	test_status(c.pid, "SigIgn", ign, sizeof(ign));
	test_status(c.pid, "SigBlk", blk, sizeof(blk));
	test_status(c.pid, "SigCgt", cgt, sizeof(cgt));
	cat_end(&c);
	sigprocmask(SIG_SETMASK, &old, NULL);
	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		assert_true(signal(ignored[i], SIG_DFL) == SIG_IGN);
	assert_string_equal(ign, "0000000000000000");
	assert_string_equal(blk, "0000000000000000");
	assert_string_equal(cgt, "0000000000000000");
	assert_string_equal(before, after);
}

static volatile sig_atomic_t ran_in_parent, ran_in_child;
static pid_t storm_pid;

/* The child shares our memory, so it would tell on itself. */
static void on_storm(int signo)
{
	(void)signo;
	if ((pid_t)syscall(SYS_getpid) == storm_pid)
		ran_in_parent = 1;
	else
		ran_in_child = 1;
}

/* In a group of its own: the storm is sent to the whole group. */
static int storm_main(void)
{
	char *argv[] = {(char *)"true", NULL};
	struct spawn_plan plan = plan_of("/bin/true", argv);
	pid_t sender;
	int i, status;

	setpgid(0, 0);
	storm_pid = getpid();
	signal(SIGUSR1, on_storm);
	sender = fork();
	if (sender < 0)
		return 2;
	if (sender == 0) {
		signal(SIGUSR1, SIG_IGN);
		for (;;)
			kill(0, SIGUSR1);
	}
	for (i = 0; i < 300; i++) {
		struct err e = {0};
		pid_t pid = spawn(&plan, &e);

		/* Those that the signal met before they had left the group died of it. */
		if (pid < 0 || wait_for(pid, &status) != pid)
			break;
	}
	kill(sender, SIGKILL);
	waitpid(sender, &status, 0);
	if (i < 300)
		return 3;
	return ran_in_child ? 4 : ran_in_parent ? 0 : 5;
}

static void no_handler_of_the_parent_runs_in_the_child(void **state)
{
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(storm_main());
	assert_int_equal(end_of(pid), 0);
}

static void the_child_leads_a_session_or_a_group(void **state)
{
	int sessions;

	(void)state;
	for (sessions = 0; sessions < 2; sessions++) {
		struct spawn_plan plan = plan_of(NULL, NULL);
		struct cat c;

		plan.new_session = sessions == 1;
		cat_start(&c, &plan);
		assert_int_equal(getpgid(c.pid), c.pid);
		assert_int_equal(getsid(c.pid), sessions == 1 ? c.pid : getsid(0));
		cat_end(&c);
	}
}

static bool needs_root(void)
{
	if (geteuid() == 0)
		return true;
	print_message("SKIPPED: needs root\n");
	skip();
	return false;
}

static void the_child_has_the_ids_of_the_plan_and_the_parent_its_own(void **state)
{
	static const gid_t groups[] = {3456, 4567};
	struct spawn_plan plan = plan_of(NULL, NULL);
	char uid[64], gid[64], list[64], caps[64];
	struct cat c;

	(void)state;
	if (!needs_root())
		return;
	plan.set_ids = true;
	plan.uid = 1234;
	plan.gid = 2345;
	plan.groups = groups;
	plan.ngroups = 2;
	cat_start(&c, &plan);
	test_status(c.pid, "Uid", uid, sizeof(uid));
	test_status(c.pid, "Gid", gid, sizeof(gid));
	test_status(c.pid, "Groups", list, sizeof(list));
	test_status(c.pid, "CapEff", caps, sizeof(caps));
	cat_end(&c);
	assert_string_equal(uid, "1234 1234 1234 1234");
	assert_string_equal(gid, "2345 2345 2345 2345");
	assert_string_equal(list, "3456 4567 ");
	assert_string_equal(caps, "0000000000000000");
	assert_int_equal(geteuid(), 0);
	assert_int_equal(getegid(), 0);
}

static void without_groups_none_are_inherited(void **state)
{
	static const gid_t mine[] = {5, 6};
	struct spawn_plan plan = plan_of(NULL, NULL);
	gid_t saved[64];
	int nsaved = getgroups(64, saved);
	char list[64];
	struct cat c;

	(void)state;
	if (!needs_root())
		return;
	assert_int_equal(setgroups(2, mine), 0);
	plan.set_ids = true;
	plan.uid = 1234;
	plan.gid = 2345;
	cat_start(&c, &plan);
	test_status(c.pid, "Groups", list, sizeof(list));
	cat_end(&c);
	assert_int_equal(setgroups((size_t)nsaved, saved), 0);
	assert_string_equal(list, "");
}

static void the_directory_is_entered_as_the_new_user(void **state)
{
	char *argv[] = {(char *)"true", NULL};
	struct spawn_plan plan = plan_of("/bin/true", argv);
	struct err e = {0};
	char dir[] = "spawn_dir_XXXXXX";

	(void)state;
	if (!needs_root())
		return;
	assert_non_null(mkdtemp(dir)); /* mode 0700 */
	plan.cwd = dir;
	assert_int_equal(end_of(start(&plan)), 0);
	plan.set_ids = true;
	plan.uid = plan.gid = 1234;
	assert_int_equal(spawn(&plan, &e), -1);
	rmdir(dir);
	assert_string_equal(e.msg, "cwd: Permission denied");
	assert_int_equal(spawn_failed_step(), SPAWN_CWD);
}

static void a_change_of_user_that_is_not_allowed_is_an_error(void **state)
{
	pid_t pid;

	(void)state;
	if (!needs_root())
		return;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char *argv[] = {(char *)"true", NULL};
		struct spawn_plan plan = plan_of("/bin/true", argv);
		struct err e = {0};

		plan.set_ids = true;
		if (setresuid(1234, 1234, 1234) != 0 || spawn(&plan, &e) != -1)
			_exit(2);
		if (spawn_failed_step() != SPAWN_USER || e.sys != EPERM)
			_exit(3);
		_exit(strcmp(e.msg, "user: Operation not permitted") == 0 ? 0 : 4);
	}
	assert_int_equal(end_of(pid), 0);
}

static void hundreds_of_starts_leave_nothing(void **state)
{
	char *argv[] = {(char *)"true", NULL};
	struct spawn_plan plan = plan_of("/bin/true", argv);
	struct spawn_plan bad = plan_of("/nonexistent", argv);
	size_t before = test_fds(0, NULL, 0);
	int i;

	(void)state;
	for (i = 0; i < 200; i++) {
		struct err e = {0};

		assert_int_equal(end_of(start(&plan)), 0);
		assert_int_equal(spawn(&bad, &e), -1);
	}
	assert_int_equal(test_fds(0, NULL, 0), before);
	assert_true(test_childless());
}

static void *start_many(void *arg)
{
	char *argv[] = {(char *)"true", NULL};
	struct spawn_plan plan = plan_of("/bin/true", argv);
	struct spawn_plan bad = plan_of("/nonexistent", argv);
	int i, status;

	for (i = 0; i < 50; i++) {
		struct err e = {0};
		pid_t pid = spawn(&plan, &e);

		if (pid < 0 || wait_for(pid, &status) != pid || status != 0)
			return arg;
		if (spawn(&bad, &e) != -1 || e.sys != ENOENT || spawn_failed_step() != SPAWN_EXEC)
			return arg;
	}
	return NULL;
}

static void threads_may_start_at_the_same_time(void **state)
{
	pthread_t t[3];
	void *failed;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, start_many, t), 0);
	for (i = 0; i < 3; i++) {
		pthread_join(t[i], &failed);
		assert_null(failed);
	}
	assert_true(test_childless());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_start_that_fails_says_which_step_and_why),
		cmocka_unit_test(the_program_gets_its_arguments_environment_and_directory),
		cmocka_unit_test(the_environment_is_the_plans_alone),
		cmocka_unit_test(the_child_has_descriptors_0_1_2_and_no_other),
		cmocka_unit_test(descriptors_are_closed_without_close_range_too),
		cmocka_unit_test(descriptors_are_closed_without_proc_too),
		cmocka_unit_test(a_fourth_descriptor_is_where_the_plan_wants_it),
		cmocka_unit_test(a_terminal_becomes_the_controlling_one_when_asked_for),
		cmocka_unit_test(what_is_no_terminal_cannot_be_the_controlling_one),
		cmocka_unit_test(ignored_and_blocked_signals_stay_the_parents),
		cmocka_unit_test(no_handler_of_the_parent_runs_in_the_child),
		cmocka_unit_test(the_child_leads_a_session_or_a_group),
		cmocka_unit_test(the_child_has_the_ids_of_the_plan_and_the_parent_its_own),
		cmocka_unit_test(without_groups_none_are_inherited),
		cmocka_unit_test(the_directory_is_entered_as_the_new_user),
		cmocka_unit_test(a_change_of_user_that_is_not_allowed_is_an_error),
		cmocka_unit_test(hundreds_of_starts_leave_nothing),
		cmocka_unit_test(threads_may_start_at_the_same_time),
	};

	return cmocka_run_group_tests(tests, open_null, NULL);
}
