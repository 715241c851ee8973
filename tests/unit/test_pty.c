/* pty: what runs in a terminal, what it gets and what it says. Real shells, through the loop. */
#include "pty_fixture.h"

#include <fcntl.h>

/* ---- shells ---- */

static void a_shell_does_what_it_is_told(void **state)
{
	struct pty *t = rig_pty(&rig, NULL);
	struct screen s = {0};

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	assert_false(rig_info(t).running);
	assert_int_equal(rig_info(t).pid, 0);
	rig_run(t, false);
	assert_true(rig_info(t).running);
	assert_true(rig_info(t).pid > 0);
	rig_type(t, "echo $((6 * 7))x\n");
	screen_wait_for(&s, "42x\r\n");
	rig_type(t, "exit 42\n");
	screen_wait_exit(&s);
	assert_int_equal(s.code, 42);
	assert_int_equal(s.end, outhub_total(pty_hub(t)));
	assert_int_equal(s.end, buf_len(&s.out[OUTHUB_STDOUT]));
	assert_int_equal(rig_info(t).output_offset, s.end);
	assert_false(rig_info(t).running);
	assert_true(rig_info(t).ended);
	assert_int_equal(rig_info(t).exit_code, 42);
	assert_int_equal(rig_info(t).signal, 0);
	assert_int_equal(rig_info(t).pid, 0);
	screen_close(&s);
}

/* Rows: a command, how it ends, and what it prints in a terminal. */
static void a_command_gets_what_was_asked_for(void **state)
{
	static const struct launch_var term[] = {{"TERM", "dumb"}};
	static const struct launch_var sizes[] = {{"COLUMNS", "99"}, {"LINES", "98"}};
	static const struct {
		const char *command;
		const struct launch_var *envs;
		size_t nenvs;
		int code;
		const char *out;
	} rows[] = {
		{"echo hello", NULL, 0, 0, "hello\r\n"},
		{"exit 42", NULL, 0, 42, ""},
		{"kill -9 $$", NULL, 0, -1, ""},
		{"echo $TERM", NULL, 0, 0, "xterm-256color\r\n"},
		{"echo $TERM", term, 1, 0, "dumb\r\n"},
		{"echo $FROM", NULL, 0, 0, "daemon\r\n"},
		{"env | grep -c -e ^COLUMNS= -e ^LINES=", NULL, 0, 1, "0\r\n"},
		{"env | grep -c -e ^COLUMNS= -e ^LINES=", sizes, 2, 0, "2\r\n"},
		{"test -t 0 -a -t 1 -a -t 2 && stty size", NULL, 0, 0, "24 80\r\n"},
		{"echo x >/dev/tty", NULL, 0, 0, "x\r\n"},
		{"exec ls -m /proc/self/fd", NULL, 0, 0, "0, 1, 2, 3\r\n"}, /* 3 is ls's own */
		{"test $(ps -o sid= -p $$) = $$", NULL, 0, 0, ""},
		{"stty -a | grep -o ' iutf8'", NULL, 0, 0, " iutf8\r\n"},
		{"trap | wc -l", NULL, 0, 0, "0\r\n"},
		{"tr '\\0' ' ' </proc/$$/cmdline | head -c 24", NULL, 0, 0,
			"bash --norc --noprofile "},
		{"printf 'a\\001\\377b'", NULL, 0, 0, "a\001\377b"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct pty_spec spec = {.command = rows[i].command,
			.launch = {.envs = rows[i].envs, .nenvs = rows[i].nenvs}};

		print_message("  %s\n", rows[i].command);
		rig_expect(&rig, &spec, false, rows[i].code, rows[i].out);
	}
}

static void it_begins_in_its_directory_with_its_size(void **state)
{
	struct pty_spec spec = {.command = "pwd; stty size",
		.label = "mine",
		.launch = {.cwd = "$HOME/.."},
		.cols = 101,
		.rows = 33};
	struct pty *t = rig_create(&rig, &spec);
	struct screen s = {0};

	(void)state;
	assert_string_equal(rig_info(t).cwd, "/root/..");
	assert_string_equal(rig_info(t).label, "mine");
	assert_string_equal(rig_info(t).command, "pwd; stty size");
	assert_int_equal(rig_info(t).cols, 101);
	assert_int_equal(rig_info(t).rows, 33);
	screen_open(&s, &rig, t, PTY_OBSERVE);
	rig_run(t, false);
	screen_wait_exit(&s);
	assert_string_equal(screen_text(&s), "/\r\n33 101\r\n");
	screen_close(&s);
}

static void a_program_ended_by_a_signal_says_which(void **state)
{
	struct pty *t = rig_pty(&rig, "kill -TERM $$");
	struct screen s = {0};

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, false);
	screen_wait_exit(&s);
	assert_int_equal(s.code, -1);
	assert_int_equal(rig_info(t).exit_code, -1);
	assert_int_equal(rig_info(t).signal, SIGTERM);
	screen_close(&s);
}

static void another_user_owns_his_terminal(void **state)
{
	static const struct pty_spec spec = {
		.command = "id -u; stat -c %u $(tty); echo yes >/dev/tty; echo $HOME",
		.launch = {.cwd = "/", .set_uid = true, .uid = 12345}};
	static const struct pty_spec pipes = {
		.command = "id -u; stat -L -c %u /dev/stdin; echo $HOME",
		.launch = {.cwd = "/", .set_uid = true, .uid = 12345}};

	(void)state;
	if (geteuid() != 0) {
		print_message("SKIPPED: needs root\n");
		skip();
	}
	rig_expect(&rig, &spec, false, 0, "12345\r\n12345\r\nyes\r\n/\r\n");
	rig_expect(&rig, &pipes, true, 0, "12345\n12345\n/\n");
}

/* ---- without bash ---- */

static void restart_with_path(const char *path, const char *shell)
{
	static char var[4200];
	static char *env[] = {var, NULL};

	rig_teardown(NULL);
	snprintf(var, sizeof(var), "PATH=%s", path);
	rig_start_with(&rig, env, shell);
}

static void where_there_is_no_bash_it_is_sh(void **state)
{
	static const struct pty_spec spec = {.command = "echo $0"};
	static const struct pty_spec other = {.command = "echo $0", .shell = "/bin/sh"};
	static const struct pty_spec missing = {.shell = "nosuchshell"};
	char dir[] = "pty_path_XXXXXX", path[4096 + 32];
	struct err e = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/%s/sh", rig.cwd, dir);
	assert_int_equal(symlink("/bin/sh", path), 0);
	path[strlen(path) - 3] = '\0';
	restart_with_path(path, NULL);
	rig_expect(&rig, &spec, false, 0, "sh\r\n");
	rig_expect(&rig, &spec, true, 0, "sh\n");
	rig_expect(&rig, &other, false, 0, "sh\r\n");
	assert_int_equal(pty_start(rig_create(&rig, &missing), false, &e), -1);
	assert_string_equal(e.msg, "no such shell");

	restart_with_path("/bin:/usr/bin", "/bin/sh");
	rig_expect(&rig, &spec, false, 0, "sh\r\n");

	strcat(path, "/sh");
	unlink(path);
	path[strlen(path) - 3] = '\0';
	restart_with_path(path, NULL);
	struct pty *t = rig_pty(&rig, NULL);
	size_t fds = test_fds(0, NULL, 0);

	for (int pipes = 0; pipes < 2; pipes++) {
		e = (struct err){0};
		assert_int_equal(pty_start(t, pipes == 1, &e), -1);
		assert_ptr_equal(e.kind, &ERR_RUNTIME);
		assert_string_equal(e.msg, "no shell: neither bash nor sh was found");
		assert_false(rig_info(t).running);
		assert_false(rig_info(t).ended);
	}
	assert_int_equal(test_fds(0, NULL, 0), fds);
	rmdir(path);
}

static void what_cannot_be_executed_is_an_error_and_leaves_nothing(void **state)
{
	static const struct pty_spec spec = {.shell = "/etc/passwd"};
	struct pty *t = rig_create(&rig, &spec);
	size_t fds = test_fds(0, NULL, 0);
	struct err e = {0};

	(void)state;
	for (int pipes = 0; pipes < 2; pipes++) {
		e = (struct err){0};
		assert_int_equal(pty_start(t, pipes == 1, &e), -1);
		assert_ptr_equal(e.kind, &ERR_RUNTIME);
		assert_string_equal(e.msg, "exec: Permission denied");
	}
	assert_int_equal(test_fds(0, NULL, 0), fds);
	assert_int_equal(children_count(rig.children), 0);
}

/* ---- the end of the output ---- */

#define FLOOD_BYTES 300000

/* The program that leads the session writes all itself, and has ended when the last byte is out. */
static void not_a_byte_is_missing_when_the_exit_is_told(void **state)
{
	(void)state;
	for (int i = 0; i < 24; i++) {
		struct pty *t = rig_pty(&rig, "exec head -c 300000 /dev/zero");
		struct screen s = {0};

		screen_open(&s, &rig, t, PTY_HOLD);
		rig_run(t, i % 3 == 2);
		screen_wait_exit(&s);
		assert_int_equal(s.end, FLOOD_BYTES);
		assert_int_equal(buf_len(&s.out[OUTHUB_STDOUT]), FLOOD_BYTES);
		screen_close(&s);
	}
}

/* Many small ones: the exit follows the only byte so closely that the kernel still carries it. */
static void the_only_byte_is_there_when_the_exit_is_told(void **state)
{
	struct pty *t = rig_pty(&rig, "printf x");

	(void)state;
	for (unsigned i = 1; i <= 60; i++) {
		rig_run(t, false);
		assert_true(rig_until(&rig, rig_has_ended, t));
		assert_int_equal(outhub_total(pty_hub(t)), i);
	}
}

static void on_reader(void *arg)
{
	(void)arg;
}

static bool flood_waits(void *arg)
{
	return outhub_must_wait(pty_hub(arg));
}

/* The holder reads nothing: the program waits for him, and when it ends all it wrote is there. */
static void a_holder_that_reads_nothing_makes_it_wait(void **state)
{
	struct pty *t = rig_pty(&rig, "exec head -c 300000 /dev/zero");
	struct outhub_reader *owner = outhub_attach(pty_hub(t), 0, OUTHUB_FOLLOW, on_reader, NULL);
	struct screen s = {0};

	(void)state;
	outhub_set_owner(owner);
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, false);
	assert_true(rig_until(&rig, flood_waits, t));
	rig_run_ms(&rig, 50);
	assert_true(rig_info(t).running);
	assert_true(outhub_total(pty_hub(t)) <=
		    limit_size(LIMIT_HUB_OWNER_WINDOW_BYTES) + limit_size(LIMIT_PROC_READ_BYTES));
	outhub_drop_owner(owner);
	screen_wait_exit(&s);
	assert_int_equal(s.end, FLOOD_BYTES);
	outhub_detach(owner);
	screen_close(&s);
}

/* The same with a program that dies meanwhile: a dead shell does not run on for a stalled client.
 */
static void a_dead_shell_does_not_wait_for_its_holder(void **state)
{
	(void)state;
	for (int pipes = 0; pipes < 2; pipes++) {
		struct pty *t = rig_pty(&rig, "exec cat /dev/zero");
		struct outhub_reader *owner = outhub_attach(
			pty_hub(t), 0, OUTHUB_FOLLOW, on_reader, NULL);
		struct err e = {0};

		outhub_set_owner(owner);
		rig_run(t, pipes == 1);
		assert_true(rig_until(&rig, flood_waits, t));
		assert_int_equal(pty_signal(t, SIGKILL, &e), 0);
		assert_true(rig_until(&rig, rig_has_ended, t));
		assert_int_equal(rig_info(t).signal, SIGKILL);
		outhub_detach(owner);
	}
}

/*
 * The shell has ended before anything is read, and its holder reads nothing: all it wrote is told
 * of with the exit all the same, piece by piece, and from both pipes.
 */
static void what_a_dead_shell_wrote_is_read_whatever_the_pace(void **state)
{
	static const struct {
		const char *command;
		bool pipes;
		uint64_t bytes;
	} rows[] = {
		{"exec head -c 10000 /dev/zero", false, 10000},
		{"head -c 60000 /dev/zero >&2; exec head -c 60000 /dev/zero", true, 120000},
		{"head -c 60000 /dev/zero; sleep 60 & exec head -c 60000 /dev/zero >&2", true,
			120000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pty *t = rig_pty(&rig, rows[i].command);
		struct outhub_reader *owner = outhub_attach(
			pty_hub(t), 0, OUTHUB_FOLLOW, on_reader, NULL);
		siginfo_t info;

		rig_limit(LIMIT_HUB_OWNER_WINDOW_BYTES, 4096);
		rig_limit(LIMIT_PROC_READ_BYTES, 4096);
		outhub_set_owner(owner);
		rig_run(t, rows[i].pipes);
		assert_int_equal(waitid(P_PID, (id_t)rig_info(t).pid, &info, WEXITED | WNOWAIT), 0);
		assert_true(rig_until(&rig, rig_has_ended, t));
		assert_int_equal(outhub_total(pty_hub(t)), rows[i].bytes);
		outhub_detach(owner);
		pty_delete(t);
	}
}

/* What those who are left behind write at once still belongs to the shell, every time. */
static void the_exit_lingers_while_others_have_the_terminal_open(void **state)
{
	struct pty *t = rig_pty(
		&rig, "trap '' HUP; (sleep 0.05; echo late; exec sleep 60) & echo pid=$!; exit 0");
	struct pty *brief = rig_pty(&rig, "trap '' HUP; (sleep 0.05; echo late) & exit 0");
	struct screen s = {0};

	(void)state;
	rig_limit(LIMIT_PROC_LINGER_MS, 300);
	for (int i = 0; i < 2; i++) {
		int64_t begin = clock_mono_ms();
		pid_t pid;

		screen_open_at(&s, &rig, t, PTY_HOLD, outhub_total(pty_hub(t)));
		rig_run(t, false);
		screen_wait_exit(&s);
		assert_true(clock_mono_ms() - begin >= 295);
		assert_non_null(strstr(screen_text(&s), "late\r\n"));
		pid = screen_number(&s, "pid=");
		kill(pid, SIGKILL);
		screen_close(&s);
	}
	/* No longer than they have it. */
	rig_limit(LIMIT_PROC_LINGER_MS, 10000);
	screen_open(&s, &rig, brief, PTY_HOLD);
	rig_run(brief, false);
	screen_wait_exit(&s);
	assert_string_equal(screen_text(&s), "late\r\n");
	screen_close(&s);
}

/* Whoever keeps the terminal open does not hold up the exit, even when he writes without end. */
static void who_is_left_behind_does_not_delay_the_exit(void **state)
{
	static const struct {
		const char *command;
		bool pipes;
	} rows[] = {
		{"setsid sleep 60 & echo pid=$!; exit 3", false},
		{"setsid cat /dev/zero & echo pid=$!; exit 3", false},
		{"setsid sleep 60 & echo pid=$!; exit 3", true},
		{"setsid cat /dev/zero & echo pid=$!; exit 3", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pty *t = rig_pty(&rig, rows[i].command);
		int64_t begin = clock_mono_ms();
		struct screen s = {0};
		pid_t left;

		screen_open(&s, &rig, t, PTY_HOLD);
		rig_run(t, rows[i].pipes);
		screen_wait_exit(&s);
		assert_int_equal(s.code, 3);
		assert_true(clock_mono_ms() - begin < 5000);
		left = screen_number(&s, "pid=");
		kill(left, SIGKILL);
		screen_close(&s);
	}
}

/* A shell may let go of its terminal for a while: it does not hang up. */
static void a_terminal_that_nobody_has_open_can_be_opened_again(void **state)
{
	static const struct pty_spec spec = {
		.command = "exec 0<&- 1>&- 2>&-; sleep 0.05; exec 1>/dev/tty; echo back"};

	(void)state;
	rig_expect(&rig, &spec, false, 0, "back\r\n");
}

/* ---- starting again ---- */

static void a_shell_that_ended_is_started_again_and_the_offsets_go_on(void **state)
{
	struct pty *t = rig_pty(&rig, "stty size; echo $$");
	struct screen s = {0};
	struct err e = {0};
	uint64_t first;
	pid_t pid;

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, false);
	pid = rig_info(t).pid;
	rig_run(t, true); /* it runs: nothing happens */
	assert_int_equal(rig_info(t).pid, pid);
	assert_false(rig_info(t).pipe_mode);
	screen_wait_exit(&s);
	first = s.end;
	assert_int_equal(pty_resize(t, 50, 20, &e), 0);
	screen_close(&s);

	rig_run(t, false);
	assert_int_not_equal(rig_info(t).pid, pid);
	assert_int_equal(outhub_total(pty_hub(t)), first);
	screen_open_at(&s, &rig, t, PTY_HOLD, first);
	screen_wait_exit(&s);
	assert_int_equal(memcmp(screen_text(&s), "20 50\r\n", 7), 0);
	assert_int_equal(s.exits, 1);
	assert_true(s.end > first);
	screen_close(&s);

	/* Both are there for whoever comes late. */
	screen_open(&s, &rig, t, PTY_OBSERVE);
	assert_int_equal(memcmp(screen_text(&s), "24 80\r\n", 7), 0);
	assert_non_null(strstr(screen_text(&s), "20 50\r\n"));
	assert_int_equal(s.exits, 0);

	rig_run(t, true);
	assert_true(rig_info(t).pipe_mode);
	screen_wait_exit(&s);
	assert_int_equal(s.exits, 1);
	screen_close(&s);
}

/* ---- size ---- */

static void the_program_learns_of_a_new_size(void **state)
{
	struct pty *t = rig_pty(&rig, "trap 'stty size; n=1' WINCH; echo ready; while [ -z \"$n\" "
				      "]; do sleep 0.01; done");
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, false);
	screen_wait_for(&s, "ready\r\n");
	assert_int_equal(pty_resize(t, 132, 43, &e), 0);
	screen_wait_for(&s, "43 132\r\n");
	assert_int_equal(rig_info(t).cols, 132);
	assert_int_equal(rig_info(t).rows, 43);
	screen_wait_exit(&s);
	screen_close(&s);
}

static void a_size_of_zero_is_refused(void **state)
{
	static const uint16_t rows[][2] = {{0, 24}, {80, 0}, {0, 0}};
	struct pty *t = rig_pty(&rig, NULL);
	struct err e;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		e = (struct err){0};
		assert_int_equal(pty_resize(t, rows[i][0], rows[i][1], &e), -1);
		assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	}
	e = (struct err){0};
	assert_int_equal(pty_resize(t, 1, 65535, &e), 0);
	assert_int_equal(rig_info(t).cols, 1);
	assert_int_equal(rig_info(t).rows, 65535);
}

/* ---- signals ---- */

static void signals_go_to_the_foreground_or_to_the_shell(void **state)
{
	static const struct {
		int signo;
		bool pipes;
		const char *prints; /* NULL: the shell itself ends */
	} rows[] = {
		{SIGINT, false, "got 130"},
		{SIGQUIT, false, "got 131"},
		{SIGTERM, false, "got 143"},
		{SIGUSR1, false, "got 138"},
		{SIGUSR2, false, "got 140"},
		{SIGHUP, false, NULL},
		{SIGKILL, false, NULL},
		{SIGINT, true, NULL},
		{SIGTERM, true, NULL},
		{SIGHUP, true, NULL},
		{SIGKILL, true, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pty *t = rig_pty(&rig, rows[i].pipes ? "echo ready; exec sleep 60" : NULL);
		struct screen s = {0};
		struct err e = {0};

		print_message("  %d %d\n", rows[i].signo, rows[i].pipes);
		screen_open(&s, &rig, t, PTY_HOLD);
		rig_run(t, rows[i].pipes);
		if (!rows[i].pipes)
			rig_type(t, "sh -c 'echo rea''dy; exec sleep 60'\n");
		screen_wait_for(&s, "ready");
		assert_int_equal(pty_signal(t, rows[i].signo, &e), 0);
		if (rows[i].prints != NULL)
			rig_type(t, "echo g''ot $?; exit\n");
		screen_wait_exit(&s);
		if (rows[i].prints != NULL)
			assert_non_null(strstr(screen_text(&s), rows[i].prints));
		else
			assert_int_equal(rig_info(t).signal, rows[i].signo);
		screen_close(&s);
	}
}

static void a_stopped_job_can_be_continued(void **state)
{
	struct pty *t = rig_pty(&rig, NULL);
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, false);
	rig_type(t, "sh -c 'echo rea''dy; exec sleep 60'\n");
	screen_wait_for(&s, "ready\r\n");
	assert_int_equal(pty_signal(t, SIGTSTP, &e), 0);
	screen_wait_for(&s, "Stopped");
	rig_type(t, "kill %1; echo o''k\n");
	screen_wait_for(&s, "ok\r\n");
	assert_int_equal(pty_signal(t, SIGWINCH, &e), 0);
	assert_int_equal(pty_signal(t, SIGCONT, &e), 0);
	screen_close(&s);
}

static void signals_for_nobody_are_refused(void **state)
{
	static const int bad[] = {0, -1, SIGSTOP, SIGCHLD, SIGSEGV, 64, 65, 1000};
	struct pty *t = rig_pty(&rig, "sleep 60");
	struct err e = {0};

	(void)state;
	assert_int_equal(pty_signal(t, SIGINT, &e), -1);
	assert_ptr_equal(e.kind, &ERR_NOT_RUNNING);
	rig_run(t, false);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e = (struct err){0};
		assert_int_equal(pty_signal(t, bad[i], &e), -1);
		assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	}
	assert_true(rig_info(t).running);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define PTY_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
		PTY_TEST(a_shell_does_what_it_is_told),
		PTY_TEST(a_command_gets_what_was_asked_for),
		PTY_TEST(it_begins_in_its_directory_with_its_size),
		PTY_TEST(a_program_ended_by_a_signal_says_which),
		PTY_TEST(another_user_owns_his_terminal),
		PTY_TEST(where_there_is_no_bash_it_is_sh),
		PTY_TEST(what_cannot_be_executed_is_an_error_and_leaves_nothing),
		PTY_TEST(not_a_byte_is_missing_when_the_exit_is_told),
		PTY_TEST(the_only_byte_is_there_when_the_exit_is_told),
		PTY_TEST(a_holder_that_reads_nothing_makes_it_wait),
		PTY_TEST(a_dead_shell_does_not_wait_for_its_holder),
		PTY_TEST(what_a_dead_shell_wrote_is_read_whatever_the_pace),
		PTY_TEST(the_exit_lingers_while_others_have_the_terminal_open),
		PTY_TEST(who_is_left_behind_does_not_delay_the_exit),
		PTY_TEST(a_terminal_that_nobody_has_open_can_be_opened_again),
		PTY_TEST(a_shell_that_ended_is_started_again_and_the_offsets_go_on),
		PTY_TEST(the_program_learns_of_a_new_size),
		PTY_TEST(a_size_of_zero_is_refused),
		PTY_TEST(signals_go_to_the_foreground_or_to_the_shell),
		PTY_TEST(a_stopped_job_can_be_continued),
		PTY_TEST(signals_for_nobody_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
