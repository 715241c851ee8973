/* ptydev: pairs of terminals, with the kernel's calls and without, and what is asked of them. */
#include "boxd/ptydev.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>

#include "boxd/spawn.h"
#include "os_helpers.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif
#ifndef TIOCSIG
#define TIOCSIG _IOW('T', 0x36, int)
#endif

/* ---- what can be taken away ---- */

static const char *missing_file;
static unsigned long missing_ioctl;
static unsigned missed;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	if (missing_file != NULL && strcmp(path, missing_file) == 0) {
		missed++;
		errno = ENOENT;
		return -1;
	}
	return __real_open(path, flags, 0);
}

/* Also called by spawn() in its child, on a stack of its own, which no sanitizer understands. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
__attribute__((no_sanitize("address", "thread", "undefined"))) long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_ioctl && missing_ioctl != 0 && (unsigned long)a[1] == missing_ioctl) {
		missed++;
		errno = ENOTTY;
		return -1;
	}
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int reset(void **state)
{
	(void)state;
	missing_file = NULL;
	missing_ioctl = 0;
	missed = 0;
	return 0;
}

/* ---- pairs ---- */

struct pair {
	int master, slave;
};

static struct pair pair_open(uint16_t cols, uint16_t rows)
{
	struct pair p = {-1, -1};
	struct err e = {0};

	if (ptydev_open(cols, rows, (uid_t)-1, &p.master, &p.slave, &e) < 0)
		fail_msg("%s", e.msg);
	return p;
}

static void pair_close(struct pair *p)
{
	close(p->master);
	close(p->slave);
}

static void check_pair_works(void)
{
	struct pair p = pair_open(80, 24);
	char got[8] = "";

	assert_true(p.slave > 2);
	assert_true(isatty(p.slave));
	assert_int_equal(fcntl(p.master, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(p.slave, F_GETFD), FD_CLOEXEC);
	assert_true((fcntl(p.master, F_GETFL) & O_NONBLOCK) != 0);
	assert_true((fcntl(p.slave, F_GETFL) & O_NONBLOCK) == 0);
	assert_int_equal(read(p.master, got, sizeof(got)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(write(p.slave, "hi\n", 3), 3);
	assert_true(test_read_exact(p.master, got, 4));
	assert_memory_equal(got, "hi\r\n", 4);
	assert_int_equal(write(p.master, "yo\r", 3), 3);
	assert_true(test_read_exact(p.slave, got, 3));
	assert_memory_equal(got, "yo\n", 3);
	pair_close(&p);
}

static void what_is_written_at_one_end_is_read_at_the_other(void **state)
{
	size_t fds = test_fds(0, NULL, 0);

	(void)state;
	check_pair_works();
	assert_int_equal(test_fds(0, NULL, 0), fds);
}

static void the_slave_is_found_by_its_name_where_the_kernel_gives_no_peer(void **state)
{
	(void)state;
	missing_ioctl = TIOCGPTPEER;
	check_pair_works();
	assert_int_equal(missed, 1);
}

static void the_master_is_found_in_the_devpts_where_dev_has_no_link(void **state)
{
	(void)state;
	if (access("/dev/pts/ptmx", R_OK | W_OK) != 0) {
		print_message("SKIPPED: /dev/pts/ptmx may not be opened\n");
		skip();
	}
	missing_file = "/dev/ptmx";
	check_pair_works();
	assert_int_equal(missed, 1);
}

static void the_slave_is_above_2_also_when_lower_numbers_are_free(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct err e = {0};
		int master, slave;

		for (int fd = 0; fd < 3; fd++)
			close(fd);
		_exit(ptydev_open(80, 24, (uid_t)-1, &master, &slave, &e) == 0 && slave > 2 &&
					isatty(slave) && fcntl(slave, F_GETFD) == FD_CLOEXEC &&
					fcntl(1, F_GETFD) < 0
				? 0
				: 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Rows: how many more descriptors there are, and which of the steps fails. */
static void without_descriptors_it_fails_and_leaves_none(void **state)
{
	static const char *const why[] = {"cannot open a terminal: Too many open files",
		"cannot open the program's side of a terminal: Too many open files"};
	struct rlimit old, lower;
	size_t fds = test_fds(0, NULL, 0);

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (unsigned more = 0; more < 2; more++) {
		int next = dup(0), master = -1, slave = -1, rc;
		struct err e = {0};

		close(next);
		lower = old;
		lower.rlim_cur = (rlim_t)next + more;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &lower), 0);
		rc = ptydev_open(80, 24, (uid_t)-1, &master, &slave, &e);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(rc, -1);
		assert_ptr_equal(e.kind, &ERR_RUNTIME);
		assert_string_equal(e.msg, why[more]);
		assert_int_equal(master, -1);
		assert_int_equal(slave, -1);
		assert_int_equal(test_fds(0, NULL, 0), fds);
	}
}

static void the_slave_belongs_to_the_user(void **state)
{
	struct err e = {0};
	struct pair p;
	struct stat st;

	(void)state;
	if (geteuid() != 0) {
		print_message("SKIPPED: needs root\n");
		skip();
	}
	assert_int_equal(ptydev_open(80, 24, 12345, &p.master, &p.slave, &e), 0);
	assert_int_equal(fstat(p.slave, &st), 0);
	assert_int_equal(st.st_uid, 12345);
	assert_int_equal(st.st_mode & 07777, 0620);
	pair_close(&p);
}

static void the_size_is_the_one_given_and_can_be_changed(void **state)
{
	static const uint16_t sizes[][2] = {{80, 24}, {1, 1}, {65535, 65535}, {132, 43}};
	struct pair p = pair_open(97, 31);
	uint16_t cols = 0, rows = 0;
	struct winsize seen;

	(void)state;
	assert_true(ptydev_size(p.master, &cols, &rows));
	assert_int_equal(cols, 97);
	assert_int_equal(rows, 31);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(ptydev_resize(p.master, sizes[i][0], sizes[i][1]), 0);
		assert_int_equal(ioctl(p.slave, TIOCGWINSZ, &seen), 0);
		assert_int_equal(seen.ws_col, sizes[i][0]);
		assert_int_equal(seen.ws_row, sizes[i][1]);
		assert_true(ptydev_size(p.master, &cols, &rows));
		assert_int_equal(cols, sizes[i][0]);
		assert_int_equal(rows, sizes[i][1]);
	}
	pair_close(&p);
	assert_false(ptydev_size(p.master, &cols, &rows));
	assert_int_equal(ptydev_resize(p.master, 80, 24), -1);
}

/* ---- modes ---- */

static void set_modes(int slave, bool canonical, cc_t eof)
{
	struct termios modes;

	assert_int_equal(tcgetattr(slave, &modes), 0);
	modes.c_lflag &= ~(tcflag_t)ICANON;
	modes.c_lflag |= canonical ? ICANON : 0;
	modes.c_cc[VEOF] = eof;
	assert_int_equal(tcsetattr(slave, TCSANOW, &modes), 0);
}

static void the_end_of_file_key_is_the_one_in_effect(void **state)
{
	static const struct {
		bool canonical;
		cc_t eof;
		bool expected;
	} rows[] = {
		{true, 4, true},
		{true, 26, true},
		{true, _POSIX_VDISABLE, false},
		{false, 4, false},
		{true, 1, true},
	};
	struct pair p = pair_open(80, 24);
	uint8_t key = 0;

	(void)state;
	assert_true(ptydev_eof_key(p.master, &key));
	assert_int_equal(key, 4);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		set_modes(p.slave, rows[i].canonical, rows[i].eof);
		key = 99;
		if (ptydev_eof_key(p.master, &key) != rows[i].expected)
			fail_msg("row %zu", i);
		assert_int_equal(key, rows[i].expected ? rows[i].eof : 99);
	}
	pair_close(&p);
	assert_false(ptydev_eof_key(p.master, &key));
}

static void erasing_takes_back_whole_characters(void **state)
{
	struct pair p = pair_open(80, 24);
	char got[8];

	(void)state;
	/* An e with an acute accent, and the erase key. */
	assert_int_equal(write(p.master, "a\xc3\xa9\x7f\n", 5), 5);
	assert_int_equal(read(p.slave, got, sizeof(got)), 2);
	assert_memory_equal(got, "a\n", 2);
	pair_close(&p);
}

/* ---- signals ---- */

/* A shell in a session of its own, with the slave as its terminal, and a sleep in its group. */
static pid_t start_sleep(const struct pair *p)
{
	char *const argv[] = {(char *)"sh", (char *)"-c", (char *)"(echo; exec sleep 60); :", NULL};
	char *const envp[] = {NULL};
	struct err e = {0};
	const struct spawn_plan plan = {.path = "/bin/sh",
		.argv = argv,
		.envp = envp,
		.fds = {p->slave, p->slave, p->slave},
		.new_session = true,
		.terminal = true};
	pid_t pid = spawn(&plan, &e);
	char line[2];

	if (pid < 0)
		fail_msg("%s", e.msg);
	assert_true(test_read_exact(p->master, line, 2));
	return pid;
}

/* Closes the slave, and waits until nobody else has it. */
static void await_hangup(struct pair *p)
{
	struct pollfd ready = {.fd = p->master, .events = POLLIN};
	char byte;

	close(p->slave);
	p->slave = -1;
	do
		assert_int_equal(poll(&ready, 1, TEST_PATIENCE_MS), 1);
	while (read(p->master, &byte, 1) > 0);
	assert_int_equal(errno, EIO);
}

static int status_of(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void a_signal_reaches_the_foreground_group(void **state)
{
	static const struct {
		int signo;
		unsigned long without;
	} rows[] = {{SIGINT, 0}, {SIGQUIT, 0}, {SIGTERM, 0}, {SIGUSR1, 0}, {SIGHUP, 0},
		{SIGINT, TIOCSIG}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pair p = pair_open(80, 24);
		pid_t pid = start_sleep(&p);
		int status;

		missing_ioctl = rows[i].without;
		assert_int_equal(ptydev_foreground(p.master), pid);
		assert_int_equal(ptydev_signal(p.master, rows[i].signo), 0);
		status = status_of(pid);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != rows[i].signo)
			fail_msg("row %zu: status %#x", i, status);
		await_hangup(&p);
		close(p.master);
	}
	assert_int_equal(missed, 1);
}

static void no_group_no_signal(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM};
	struct pair p = pair_open(80, 24);
	pid_t pid;

	(void)state;
	for (int ended = 0; ended < 2; ended++) {
		assert_int_equal(ptydev_foreground(p.master), -1);
		for (size_t i = 0; i < 2; i++) {
			errno = 0;
			assert_int_equal(ptydev_signal(p.master, signals[i]), -1);
			assert_int_equal(errno, ESRCH);
		}
		pid = start_sleep(&p);
		assert_int_equal(ptydev_foreground(p.master), pid);
		kill(pid, SIGKILL);
		status_of(pid);
	}
	assert_int_equal(ptydev_foreground(p.master), -1);
	pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_is_written_at_one_end_is_read_at_the_other, reset),
		cmocka_unit_test_setup(
			the_slave_is_found_by_its_name_where_the_kernel_gives_no_peer, reset),
		cmocka_unit_test_setup(
			the_master_is_found_in_the_devpts_where_dev_has_no_link, reset),
		cmocka_unit_test_setup(
			the_slave_is_above_2_also_when_lower_numbers_are_free, reset),
		cmocka_unit_test_setup(without_descriptors_it_fails_and_leaves_none, reset),
		cmocka_unit_test_setup(the_slave_belongs_to_the_user, reset),
		cmocka_unit_test_setup(the_size_is_the_one_given_and_can_be_changed, reset),
		cmocka_unit_test_setup(the_end_of_file_key_is_the_one_in_effect, reset),
		cmocka_unit_test_setup(erasing_takes_back_whole_characters, reset),
		cmocka_unit_test_setup(a_signal_reaches_the_foreground_group, reset),
		cmocka_unit_test_setup(no_group_no_signal, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
