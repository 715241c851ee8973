/* Runs and shells that are made to end: interrupts, timeouts, deletion, shutdown, limits. */
#include "session_fixture.h"

#include "../../src/svc/session_internal.h"

static struct fixture fx;

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	fixture_start(&fx);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_end(&fx);
	return 0;
}

static bool run_has_begun(void *arg)
{
	struct run *run = arg;

	return run->ended || strstr(run_text(run, OUTHUB_STDOUT), "go\n") != NULL;
}

/* Starts a command that says "go" when it is in the middle, and interrupts it there. */
static void interrupt(struct run *run, struct session *s, const char *command)
{
	struct err e = {0};

	run_start(run, &fx, s, command);
	assert_true(fixture_wait_until(&fx, run_has_begun, run));
	assert_false(run->ended);
	fixture_run_ms(&fx, 5);
	if (session_interrupt(s, &e) < 0)
		fail_msg("%s: %s", command, e.msg);
	run_wait(run);
}

static void an_interrupt_leaves_the_shell(void **state)
{
	static const char *const rows[] = {"echo go; sleep 100; echo no",
		"echo go; while :; do :; done; echo no",
		"f() { while :; do :; done; echo no; }; g() { f; echo no; }; echo go; g; echo no",
		"h() { f() { while :; do :; done; }; g() { for i in 1 2 3; do f; echo no; done; }; "
		"while true; do g; done; }; echo go; eval h; eval 'h; echo no'; echo no",
		"echo go; eval \"eval 'while :; do :; done; echo no'; echo no\"; echo no",
		"a() { if [ $1 -gt 0 ]; then a $(($1-1)); echo no; else echo go; sleep 100; echo "
		"no; fi; }; "
		"a 20; echo no",
		"sleep 100 & echo go; wait; echo no",
		"sleep 100 & sleep 100 & echo go; wait -n; echo no",
		"echo go; (while :; do :; done); echo no",
		"echo go; x=$(while :; do :; done); echo no", "echo go; x=$(sleep 100); echo no",
		"echo go; sleep 100 | cat | cat; echo no",
		"echo go; sleep 100 | while read x; do :; done; echo no",
		"echo go; cat <(sleep 100); echo no",
		"echo go; for i in 1 2 3; do sleep 50; done; echo no",
		"echo go; if sleep 100; then echo no; else echo no; fi; echo no",
		"echo go; sleep 100 || sleep 100 || echo no",
		"echo go; set -e; f() { sleep 100; echo no; }; f; echo no",
		"echo go; set -u -f; IFS=x; f() { sleep 100; echo no; }; f && echo no || echo no",
		"echo go; while sleep 0.01; do :; done; echo no",
		"echo go; until false; do /bin/true; done", "echo go; ! sleep 100; echo no",
		"echo go; { sleep 100; } 2>/dev/null; echo no",
		"echo go; trap 'echo no' TERM; sleep 100; echo no",
		"set -T; f() { sleep 100; }; echo go; f; echo no",
		"shopt -s extdebug; f() { while :; do :; done; }; echo go; f; echo no",
		"coproc sleep 100; echo go; read x <&${COPROC[0]}; echo no",
		"mkfifo -m 600 fifo; exec 7<>fifo; rm fifo; echo go; read x <&7; echo no",
		"trap 'sleep 100; echo no' USR1; echo go; kill -USR1 $$; echo no",
		"echo 'echo go; sleep 100; echo no' >src.sh; . ./src.sh; echo no",
		"set -m; echo go; sleep 100; echo no", "echo go; kill -STOP $$; echo no",
		"set -o posix; echo go; while :; do :; done; echo no"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct session *s = session_make(&fx, "bash");
		struct run run;
		int64_t before;

		expect(&fx, s, "A=kept", "");
		pid_t pid = session_pid(s);
		before = clock_mono_ms();
		interrupt(&run, s, rows[i]);
		if (run.res.end != SESSION_RUN_INTERRUPTED || run.res.shell_lost ||
			clock_mono_ms() - before > 2500 ||
			strcmp(run_text(&run, OUTHUB_STDOUT), "go\n") != 0)
			fail_msg("%s: end %d lost %d after %lld ms\nout '%.200s'\nerr '%.200s'",
				rows[i], run.res.end, run.res.shell_lost,
				(long long)(clock_mono_ms() - before),
				run_text(&run, OUTHUB_STDOUT), run_text(&run, OUTHUB_STDERR));
		run_fini(&run);
		assert_int_equal(session_pid(s), pid);
		expect(&fx, s, "echo $A; trap - DEBUG", "kept\n");
		session_delete(s);
	}
	unlink("src.sh");
}

static void an_interrupt_at_once_ends_the_run_too(void **state)
{
	struct session *s = session_make(&fx, "bash");

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct run run;
		struct err e = {0};

		run_start(&run, &fx, s, i % 2 == 0 ? "sleep 100" : "while :; do :; done");
		if (i >= 10)
			fixture_run_ms(&fx, 1);
		assert_int_equal(session_interrupt(s, &e), 0);
		run_wait(&run);
		assert_int_equal(run.res.end, SESSION_RUN_INTERRUPTED);
		run_fini(&run);
	}
	expect(&fx, s, "echo on", "on\n");
}

static void what_ignores_sigterm_is_killed_after_the_grace(void **state)
{
	struct session *s = session_make(&fx, "bash");
	struct run run;
	int64_t before;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_GRACE_MS, 200));
	expect(&fx, s, "true", "");
	pid_t pid = session_pid(s);
	before = clock_mono_ms();
	interrupt(
		&run, s, "sh -c 'trap \"\" TERM; echo go; while :; do sleep 0.05; done'; echo no");
	assert_int_equal(run.res.end, SESSION_RUN_INTERRUPTED);
	assert_false(run.res.shell_lost);
	assert_in_range(clock_mono_ms() - before, 200, 2000);
	assert_string_equal(run_text(&run, OUTHUB_STDOUT), "go\n");
	run_fini(&run);
	assert_int_equal(session_pid(s), pid);
}

static void what_is_started_after_the_signal_is_asked_too(void **state)
{
	struct session *s = session_make(&fx, "bash");
	struct run run;
	int64_t before = clock_mono_ms();

	(void)state;
	interrupt(&run, s,
		"sh -c 'trap \"sleep 100; exit\" TERM; echo go; while :; do sleep 0.02; done'");
	assert_int_equal(run.res.end, SESSION_RUN_INTERRUPTED);
	assert_true(clock_mono_ms() - before < 2500);
	run_fini(&run);
}

static void what_takes_its_time_may_do_so_while_the_shell_is_back(void **state)
{
	struct session *s = session_make(&fx, "bash");
	struct run run, next;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_GRACE_MS, 300));
	run_start(&run, &fx, s,
		"sh -c 'trap \"echo bye >bye.txt; exit\" TERM; echo $$; while :; do sleep 0.02; "
		"done' & "
		"sh -c 'trap \"\" TERM; echo $$ >stubborn.pid; while :; do sleep 0.02; done' & "
		"sleep 0.1; wait");
	pid_t polite = (pid_t)run_number(&run);
	fixture_run_ms(&fx, 150);
	session_run_interrupt(run.r);
	run_wait(&run);
	assert_int_equal(run.res.end, SESSION_RUN_INTERRUPTED);
	run_fini(&run);
	/* The next run's processes are not taken for those of the last one. */
	run_start(&next, &fx, s, "cat stubborn.pid; sleep 0.6 && echo alive");
	pid_t stubborn = (pid_t)run_number(&next);
	assert_true(pid_is_alive(stubborn));
	run_wait(&next);
	assert_non_null(strstr(run_text(&next, OUTHUB_STDOUT), "alive\n"));
	assert_int_equal(next.res.end, SESSION_RUN_DONE);
	run_fini(&next);
	assert_true(fixture_wait_until(&fx, pid_is_gone, &polite));
	assert_true(fixture_wait_until(&fx, pid_is_gone, &stubborn));
	assert_int_equal(access("bye.txt", F_OK), 0);
	unlink("bye.txt");
	unlink("stubborn.pid");
}

static void jobs_of_earlier_runs_are_left_alone(void **state)
{
	struct session *s = session_make(&fx, "bash");
	struct run run;

	(void)state;
	run_all(&run, &fx, s, "sleep 100 & echo $!");
	pid_t job = (pid_t)run_number(&run);
	run_fini(&run);
	fixture_run_ms(&fx, 30);
	interrupt(&run, s, "sleep 100 & echo go; wait");
	run_fini(&run);
	assert_true(pid_is_alive(job));
	expect(&fx, s, "while [ $(jobs -pr | wc -l) != 1 ]; do sleep 0.01; done", "");
	expect_end(&fx, s, "exit 3", SESSION_RUN_SHELL_ENDED, 3);
	assert_true(pid_is_alive(job));
	expect(&fx, s, "echo on", "on\n");
	/* It outlived its shell, and not its session. */
	session_delete(s);
	assert_true(fixture_wait_until(&fx, pid_is_gone, &job));
}

static void a_shell_that_does_not_come_back_is_replaced(void **state)
{
	static const char *const rows[] = {"trap '' TERM 47; echo go; while :; do :; done",
		"echo go; set -n", "echo go; kill -STOP $$; while :; do :; done",
		"echo go; exec sleep 100", "trap '' TERM; echo go; exec sleep 100"};

	(void)state;
	assert_true(limit_set(LIMIT_PROC_GRACE_MS, 100));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct session *s = session_make(&fx, "bash");
		struct run run;

		expect(&fx, s, "A=kept", "");
		interrupt(&run, s, rows[i]);
		if (run.res.end != SESSION_RUN_INTERRUPTED)
			fail_msg("%s: end %d", rows[i], run.res.end);
		run_fini(&run);
		expect(&fx, s, "echo $A", "kept\n");
		session_delete(s);
	}
}

static void a_program_in_the_place_of_the_shell_may_clean_up(void **state)
{
	struct session *s = session_make(&fx, "bash");
	struct run run;

	(void)state;
	interrupt(&run, s,
		"exec sh -c 'trap \"echo bye; exit 3\" TERM; echo go; while :; do sleep 0.02; "
		"done'");
	assert_int_equal(run.res.end, SESSION_RUN_INTERRUPTED);
	assert_int_equal(run.res.code, 3);
	assert_true(run.res.shell_lost);
	assert_string_equal(run_text(&run, OUTHUB_STDOUT), "go\nbye\n");
	run_fini(&run);
}

static void an_interrupt_replaces_a_posix_shell(void **state)
{
	struct session *s = session_make(&fx, "dash");
	struct run run;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_GRACE_MS, 200));
	expect(&fx, s, "A=kept", "");
	interrupt(&run, s,
		"sh -c 'trap \"\" TERM; echo $$ >sub.pid; while :; do sleep 0.02; done' & "
		"sleep 0.1; echo go; while :; do :; done");
	assert_int_equal(run.res.end, SESSION_RUN_INTERRUPTED);
	assert_true(run.res.shell_lost);
	run_fini(&run);
	run_all(&run, &fx, s, "cat sub.pid; echo $A");
	pid_t sub = (pid_t)run_number(&run);
	assert_non_null(strstr(run_text(&run, OUTHUB_STDOUT), "kept\n"));
	run_fini(&run);
	assert_true(fixture_wait_until(&fx, pid_is_gone, &sub));
	unlink("sub.pid");
}

static void a_timeout_ends_a_run(void **state)
{
	static const struct {
		const char *shell, *command;
		bool lost;
	} rows[] = {{"bash", "echo go; sleep 100; echo no", false}, {"bash", "set -n", true},
		{"dash", "echo go; sleep 100; echo no", true},
		{"bash", "echo go; sleep 1000 & while :; do :; done", false}};

	(void)state;
	assert_true(limit_set(LIMIT_PROC_TIMEOUT_GRACE_MS, 100));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct session *s = session_make(&fx, rows[i].shell);
		struct session_run_spec spec = {.command = rows[i].command, .timeout_ms = 100};
		struct run run;

		expect(&fx, s, "A=kept", "");
		run_start_spec(&run, &fx, s, &spec);
		run_wait(&run);
		if (run.res.end != SESSION_RUN_TIMED_OUT || run.res.shell_lost != rows[i].lost ||
			run.res.wall_ms < 100 || run.res.wall_ms > 2000 ||
			strstr(run_text(&run, OUTHUB_STDOUT), "no") != NULL)
			fail_msg("%s: end %d lost %d ms %lld", rows[i].command, run.res.end,
				run.res.shell_lost, (long long)run.res.wall_ms);
		run_fini(&run);
		expect(&fx, s, "echo $A", "kept\n");
	}
	struct session *s = session_make(&fx, NULL);
	struct run run;
	limit_values[LIMIT_SESSION_TIMEOUT_MS] = 50;
	run_all(&run, &fx, s, "sleep 100");
	assert_int_equal(run.res.end, SESSION_RUN_TIMED_OUT);
	run_fini(&run);
}

static void runs_follow_each_other(void **state)
{
	struct session *s = session_make(&fx, NULL);
	struct run runs[6];
	struct err e = {0};
	struct session_run_spec spec = {.command = "true"};
	struct session_info info;

	(void)state;
	assert_true(limit_set(LIMIT_SESSION_QUEUE, 5));
	run_start(&runs[0], &fx, s, "sleep 0.1; n=0; echo $n");
	fixture_run_ms(&fx, 5);
	for (int i = 1; i < 6; i++)
		run_start(&runs[i], &fx, s, "n=$((n+1)); echo $n");
	session_info(s, &info);
	assert_true(info.running);
	assert_int_equal(info.queued, 5);
	assert_null(session_run_start(s, &spec, &run_callbacks, NULL, &e));
	assert_ptr_equal(e.kind, &ERR_TOO_MANY);
	session_run_interrupt(runs[3].r);
	session_run_free(runs[4].r);
	runs[4].r = NULL;
	for (int i = 0; i < 6; i++) {
		static const char *const out[] = {"0\n", "1\n", "2\n", "", "", "3\n"};

		if (i == 4)
			continue;
		run_wait(&runs[i]);
		assert_int_equal(
			runs[i].res.end, i == 3 ? SESSION_RUN_INTERRUPTED : SESSION_RUN_DONE);
		assert_string_equal(run_text(&runs[i], OUTHUB_STDOUT), out[i]);
	}
	for (int i = 0; i < 6; i++)
		run_fini(&runs[i]);
	assert_true(limit_set(LIMIT_SESSION_QUEUE, 0));
	run_start(&runs[0], &fx, s, "sleep 0.05");
	assert_null(session_run_start(s, &spec, &run_callbacks, NULL, &(struct err){0}));
	run_wait(&runs[0]);
	run_fini(&runs[0]);
}

static void a_run_nobody_waits_for_is_interrupted(void **state)
{
	struct session *s = session_make(&fx, NULL);
	struct run run;

	(void)state;
	run_start(&run, &fx, s, "echo $$; sleep 100; A=no");
	(void)run_number(&run);
	session_run_free(run.r);
	outhub_detach(run.reader);
	run.reader = NULL;
	run_fini(&run);
	expect(&fx, s, "echo ${A-unset}", "unset\n");
	struct err e = {0};
	assert_int_equal(session_interrupt(s, &e), -1);
	assert_ptr_equal(e.kind, &ERR_NOT_RUNNING);
}

/* ---- deletion ---- */

static void deleting_ends_everything(void **state)
{
	static const char *const commands[] = {"echo $$; sleep 100", "echo $$; while :; do :; done",
		"trap '' TERM INT HUP 47; echo $$; while :; do :; done", "echo $$; kill -STOP $$",
		"echo $$; set -n", "echo $$; exec sleep 100", "setsid sleep 100 & echo $!; wait",
		"sh -c 'echo $$; trap \"\" TERM; sleep 100; sleep 100'"};
	char id[64];

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		struct session *s = session_make(&fx, "bash");
		struct session_info info;
		struct run run, waiting;
		int64_t before;

		session_info(s, &info);
		snprintf(id, sizeof(id), "%s", info.id);
		assert_ptr_equal(session_find(fx.sessions, id, strlen(id)), s);
		run_start(&run, &fx, s, commands[i]);
		run_start(&waiting, &fx, s, "echo never");
		pid_t pid = (pid_t)run_number(&run);
		before = clock_mono_ms();
		session_delete(s);
		assert_null(session_find(fx.sessions, id, strlen(id)));
		run_wait(&run);
		run_wait(&waiting);
		assert_int_equal(run.res.end, SESSION_RUN_DELETED);
		assert_int_equal(waiting.res.end, SESSION_RUN_DELETED);
		assert_true(fixture_wait_until(&fx, pid_is_gone, &pid));
		assert_true(clock_mono_ms() - before < 2500);
		run_fini(&run);
		run_fini(&waiting);
	}
}

static void deleting_kills_background_jobs(void **state)
{
	struct session *s = session_make(&fx, "bash");
	struct run run;

	(void)state;
	run_all(&run, &fx, s, "sh -c 'trap \"\" TERM HUP; sleep 100; :' & echo $!");
	pid_t job = (pid_t)run_number(&run);
	run_fini(&run);
	session_delete(s);
	assert_true(fixture_wait_until(&fx, pid_is_gone, &job));
}

static void deleting_before_the_first_shell_is_fine(void **state)
{
	struct session *s = session_make(&fx, NULL);
	struct run run;

	(void)state;
	session_delete(s);
	s = session_make(&fx, NULL);
	run_start(&run, &fx, s, "true");
	session_delete(s);
	run_wait(&run);
	assert_int_equal(run.res.end, SESSION_RUN_DELETED);
	run_fini(&run);
}

static void count_session(struct session *s, void *arg)
{
	(void)s;
	(*(size_t *)arg)++;
}

static bool no_sessions(void *arg)
{
	size_t n = 0;

	(void)arg;
	sessions_each(fx.sessions, count_session, &n);
	return n == 0;
}

static void idle_sessions_go(void **state)
{
	(void)state;
	assert_true(limit_set(LIMIT_SESSION_IDLE_MS, 150));
	struct session *s = session_make(&fx, NULL);
	int64_t before = clock_mono_ms();
	expect(&fx, s, "sleep 0.3", "");
	assert_false(no_sessions(NULL));
	assert_true(fixture_wait_until(&fx, no_sessions, NULL));
	assert_in_range(clock_mono_ms() - before, 450, 5000);
	assert_true(limit_set(LIMIT_SESSION_IDLE_MS, 0));
	s = session_make(&fx, NULL);
	fixture_run_ms(&fx, 50);
	assert_false(no_sessions(NULL));
}

/* ---- shutdown ---- */

static void shutdown_is_quick_when_all_obey(void **state)
{
	bool done = false;
	int64_t before;
	struct run run;
	struct session_spec spec = {0};
	struct err e = {0};

	(void)state;
	for (int i = 0; i < 3; i++)
		expect(&fx, session_make(&fx, NULL), "sleep 100 & true", "");
	run_start(&run, &fx, session_make(&fx, NULL), "sleep 100 & wait");
	fixture_run_ms(&fx, 20);
	before = clock_mono_ms();
	sessions_shutdown(fx.sessions, 60000, fixture_on_done, &done);
	assert_false(done);
	assert_true(fixture_wait_until(&fx, fixture_is_set, &done));
	assert_true(clock_mono_ms() - before < 2000);
	assert_null(session_create(fx.sessions, &spec, &e));
	assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
	run_wait(&run);
	assert_int_equal(run.res.end, SESSION_RUN_DELETED);
	run_fini(&run);
}

static void shutdown_kills_after_the_grace(void **state)
{
	bool done = false;
	int64_t before;
	struct session *s = session_make(&fx, NULL);
	struct run run;

	(void)state;
	run_start(&run, &fx, s, "trap '' TERM; echo $$; sh -c 'while :; do sleep 0.05; done'");
	pid_t pid = (pid_t)run_number(&run);
	before = clock_mono_ms();
	sessions_shutdown(fx.sessions, 60000, fixture_on_done, &done);
	sessions_shutdown(fx.sessions, 200, fixture_on_done, &done);
	assert_true(fixture_wait_until(&fx, fixture_is_set, &done));
	assert_in_range(clock_mono_ms() - before, 200, 3000);
	assert_true(pid_is_gone(&pid));
	run_wait(&run);
	run_fini(&run);
}

/* ---- limits ---- */

static void sessions_are_counted(void **state)
{
	struct session_spec spec = {0};
	struct err e = {0};
	struct session *s[2];

	(void)state;
	assert_true(limit_set(LIMIT_SESSION_COUNT, 2));
	s[0] = session_make(&fx, NULL);
	s[1] = session_make(&fx, NULL);
	assert_null(session_create(fx.sessions, &spec, &e));
	assert_ptr_equal(e.kind, &ERR_TOO_MANY);
	session_delete(s[0]);
	assert_non_null(session_create(fx.sessions, &spec, &(struct err){0}));
	expect(&fx, s[1], "echo on", "on\n");
}

static void long_commands_are_taken_and_longer_ones_refused(void **state)
{
	static const char *const shells[] = {"bash", "dash"};
	size_t max = limit_size(LIMIT_PROC_COMMAND_BYTES);
	char *text = malloc(max + 2);

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < 2; i++) {
		struct session *s = session_make(&fx, shells[i]);
		struct session_run_spec spec = {.command = text};
		struct err e = {0};
		int n;

		expect(&fx, s, "LC_ALL=C.UTF-8; export LC_ALL", "");
		n = snprintf(text, max, "x='");
		/* Quotes and characters of two bytes: both are counted wrongly with ease. */
		for (size_t k = (size_t)n; k < max; k += 2)
			memcpy(text + k, "\xc3\xa4", 2);
		memcpy(text + max - 20, "'\"'\"; echo ${#x}    ", 20);
		text[max] = '\0';
		expect(&fx, s, text, NULL);
		text[max] = ' ';
		text[max + 1] = '\0';
		assert_null(session_run_start(s, &spec, &run_callbacks, NULL, &e));
		assert_ptr_equal(e.kind, &ERR_BAD_BODY);
		expect(&fx, s, "echo on", "on\n");
	}
	free(text);
}

static void bad_timeouts_are_refused(void **state)
{
	const int64_t rows[] = {-1, limit(LIMIT_PROC_TIMEOUT_MAX_MS) + 1};
	struct session *s = session_make(&fx, NULL);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct session_run_spec spec = {.command = "true", .timeout_ms = rows[i]};
		struct err e = {0};

		assert_null(session_run_start(s, &spec, &run_callbacks, NULL, &e));
		assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	}
}

static void a_state_that_is_too_large_is_not_kept(void **state)
{
	static const char *const shells[] = {"bash", "dash"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct session *s = session_make(&fx, shells[i]);

		assert_true(limit_set(LIMIT_SESSION_STATE_BYTES, 100000));
		expect(&fx, s, "A=small; B=$(head -c 50000 /dev/zero | tr '\\0' x)", "");
		expect(&fx, s, "A=large; B=$(head -c 99990 /dev/zero | tr '\\0' x); C=1", "");
		lose_shell(&fx, s);
		expect(&fx, s, "echo $A ${#B}", "small 50000\n");
		assert_true(limit_set(LIMIT_SESSION_STATE_BYTES, 200000));
		expect(&fx, s, "A=large; B=$(head -c 90000 /dev/zero | tr '\\0' x)", "");
		lose_shell(&fx, s);
		expect(&fx, s, "echo $A ${#B}", "large 90000\n");
		/* Far more than any report can be: it passes by. */
		expect(&fx, s, "A=huge; B=$(head -c 3000000 /dev/zero | tr '\\0' x)", "");
		expect(&fx, s, "echo $A ${#B}; B=", "huge 3000000\n");
		lose_shell(&fx, s);
		expect(&fx, s, "echo $A ${#B}", "huge 0\n");
	}
}

static void the_limit_of_a_state_is_exact(void **state)
{
	struct session *s = session_make(&fx, "dash");
	int64_t size;

	(void)state;
	expect(&fx, s, "B=$(head -c 9000 /dev/zero | tr '\\0' x); A=1", "");
	expect(&fx, s, "A=2", "");
	lose_shell(&fx, s);
	expect(&fx, s, "A=3", "");
	expect(&fx, s, ":", "");
	expect(&fx, s, ":", "");
	size = (int64_t)buf_len(&s->kept.parts);
	assert_true(limit_set(LIMIT_SESSION_STATE_BYTES, size));
	expect(&fx, s, "A=4", "");
	lose_shell(&fx, s);
	expect(&fx, s, "echo $A", "4\n");
	assert_true(limit_set(LIMIT_SESSION_STATE_BYTES, size - 1));
	expect(&fx, s, "A=5", "");
	lose_shell(&fx, s);
	expect(&fx, s, "echo $A", "4\n");
}

static void many_sessions_at_once(void **state)
{
	enum { N = 20 };
	struct session *s[N];
	struct run runs[N];
	size_t fds = count_fds();

	(void)state;
	for (int i = 0; i < N; i++) {
		char command[64];

		s[i] = session_make(&fx, NULL);
		snprintf(command, sizeof(command), "A=%d; echo $A; sleep 0.05", i);
		run_start(&runs[i], &fx, s[i], command);
	}
	for (int i = 0; i < N; i++) {
		char expected[16];

		run_wait(&runs[i]);
		snprintf(expected, sizeof(expected), "%d\n", i);
		assert_string_equal(run_text(&runs[i], OUTHUB_STDOUT), expected);
		run_fini(&runs[i]);
	}
	for (int i = 0; i < N; i++) {
		char expected[16];

		snprintf(expected, sizeof(expected), "%d\n", i);
		expect(&fx, s[i], "echo $A", expected);
		session_delete(s[i]);
	}
	bool done = false;
	sessions_shutdown(fx.sessions, 0, fixture_on_done, &done);
	assert_true(fixture_wait_until(&fx, fixture_is_set, &done));
	fixture_run_ms(&fx, 5);
	assert_int_equal(count_fds(), fds);
}

static void without_a_frame_an_interrupt_costs_the_shell(void **state)
{
	struct session *s;
	struct run run;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_GRACE_MS, 100));
	close(fx.sessions->frame_fd);
	fx.sessions->frame_fd = -1;
	s = session_make(&fx, "bash");
	expect_code(&fx, s, "A=kept; echo out; nothing_like_it", 127, "out\n", NULL);
	expect(&fx, s, "ls /proc/self/fd; f() { echo f; }", "0\n1\n2\n3\n");
	interrupt(&run, s, "echo go; while :; do :; done");
	assert_int_equal(run.res.end, SESSION_RUN_INTERRUPTED);
	run_fini(&run);
	expect(&fx, s, "echo $A; f", "kept\nf\n");
}

static void without_workers_the_shell_is_killed(void **state)
{
	struct session *s = session_make(&fx, NULL);
	struct run run;
	int64_t queue = limit(LIMIT_WORK_QUEUE);

	(void)state;
	assert_true(limit_set(LIMIT_PROC_GRACE_MS, 100));
	expect(&fx, s, "A=kept", "");
	limit_values[LIMIT_WORK_QUEUE] = 0;
	interrupt(&run, s, "echo go; sleep 100");
	limit_values[LIMIT_WORK_QUEUE] = queue;
	assert_int_equal(run.res.end, SESSION_RUN_INTERRUPTED);
	run_fini(&run);
	expect(&fx, s, "echo $A", "kept\n");
	limit_values[LIMIT_WORK_QUEUE] = 0;
	pid_t pid = session_pid(s);
	session_delete(s);
	assert_true(fixture_wait_until(&fx, pid_is_gone, &pid));
	limit_values[LIMIT_WORK_QUEUE] = queue;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(an_interrupt_leaves_the_shell),
		TEST(an_interrupt_at_once_ends_the_run_too),
		TEST(what_ignores_sigterm_is_killed_after_the_grace),
		TEST(what_is_started_after_the_signal_is_asked_too),
		TEST(what_takes_its_time_may_do_so_while_the_shell_is_back),
		TEST(jobs_of_earlier_runs_are_left_alone),
		TEST(a_shell_that_does_not_come_back_is_replaced),
		TEST(a_program_in_the_place_of_the_shell_may_clean_up),
		TEST(an_interrupt_replaces_a_posix_shell),
		TEST(a_timeout_ends_a_run),
		TEST(runs_follow_each_other),
		TEST(a_run_nobody_waits_for_is_interrupted),
		TEST(deleting_ends_everything),
		TEST(deleting_kills_background_jobs),
		TEST(deleting_before_the_first_shell_is_fine),
		TEST(idle_sessions_go),
		TEST(shutdown_is_quick_when_all_obey),
		TEST(shutdown_kills_after_the_grace),
		TEST(sessions_are_counted),
		TEST(long_commands_are_taken_and_longer_ones_refused),
		TEST(bad_timeouts_are_refused),
		TEST(a_state_that_is_too_large_is_not_kept),
		TEST(the_limit_of_a_state_is_exact),
		TEST(many_sessions_at_once),
		TEST(without_a_frame_an_interrupt_costs_the_shell),
		TEST(without_workers_the_shell_is_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
