/* Making commands end: timeouts, interrupts, whole trees, shutdown. */
#include "proc_fixture.h"

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

static struct proc *start_with_timeout(const char *command, int64_t ms)
{
	struct proc_spec spec = {.command = command, .shell = "/bin/sh", .timeout_ms = ms};
	struct err e = {0};
	struct proc *p = proc_start(fx.procs, &spec, &e);

	assert_non_null(p);
	return p;
}

static void stop(struct proc *p, int64_t grace_ms)
{
	struct err e = {0};

	assert_int_equal(proc_stop(p, grace_ms, &e), 0);
}

static void expect_end(struct proc *p, const char *expected)
{
	char text[80];

	fixture_wait_for(&fx, proc_is_over, p);
	proc_describe(p, text, sizeof(text));
	assert_string_equal(text, expected);
}

/* A command that prints one line when it is ready for signals. */
static struct proc *start_ready(const char *command)
{
	struct proc *p = fixture_sh(&fx, command);
	pid_t ready;

	assert_int_equal(fixture_read_pids(&fx, p, &ready, 1), 1);
	return p;
}

/* ---- timeouts ---- */

static void a_timeout_ends_a_command(void **state)
{
	int64_t before = clock_mono_ms();
	struct proc *p = start_with_timeout("sleep 60 & wait", 100);

	(void)state;
	assert_int_equal(proc_timeout_ms(p), 100);
	expect_end(p, "timeout after 100ms: signal: terminated");
	assert_true(proc_exit_record(p)->timed_out);
	assert_false(proc_exit_record(p)->interrupted);
	assert_false(proc_exit_record(p)->oom_killed);
	assert_int_equal(proc_exit_record(p)->code, -1);
	assert_true(clock_mono_ms() - before < 1000);
}

static void a_timeout_kills_who_ignores_it(void **state)
{
	(void)state;
	assert_true(limit_set(LIMIT_PROC_TIMEOUT_GRACE_MS, 50));
	struct proc *p = start_with_timeout("trap '' TERM; while :; do sleep 0.02; done", 100);
	expect_end(p, "timeout after 100ms: signal: killed");
	assert_true(proc_exit_record(p)->timed_out);
	assert_false(proc_exit_record(p)->oom_killed);
}

static void a_command_may_end_well_after_its_timeout(void **state)
{
	struct proc *p = start_with_timeout(
		"trap 'echo bye; exit 0' TERM; while :; do sleep 0.02; done", 100);
	struct capture c;

	(void)state;
	capture_all(&c, &fx, p);
	assert_string_equal(capture_text(&c, OUTHUB_STDOUT), "bye\n");
	expect_end(p, "timeout after 100ms: exit status 0");
	capture_fini(&c);
}

static void a_timeout_in_time_is_none(void **state)
{
	struct proc *p = start_with_timeout("exit 0", 300);

	(void)state;
	expect_end(p, "");
	fixture_run_ms(&fx, 350);
	assert_false(proc_exit_record(p)->timed_out);
}

/* ---- interrupts ---- */

static void an_interrupt_asks_first(void **state)
{
	struct proc *p = start_ready("trap 'exit 5' TERM; echo 1; while :; do sleep 0.02; done");
	struct err e = {0};

	(void)state;
	stop(p, 60000);
	expect_end(p, "exit status 5");
	assert_true(proc_exit_record(p)->interrupted);
	assert_int_equal(proc_stop(p, 0, &e), -1);
	assert_ptr_equal(e.kind, &ERR_NOT_RUNNING);
}

static void asking_again_only_shortens_the_grace(void **state)
{
	int64_t before = clock_mono_ms();
	struct proc *p = start_ready("trap '' TERM; echo 1; while :; do sleep 0.02; done");

	(void)state;
	stop(p, 60000);
	stop(p, 100);
	stop(p, 60000);
	expect_end(p, "signal: killed");
	assert_in_range(clock_mono_ms() - before, 100, 3000);
}

static void no_grace_means_now(void **state)
{
	struct proc *p = start_ready("trap '' TERM; echo 1; while :; do sleep 0.02; done");

	(void)state;
	stop(p, 0);
	expect_end(p, "signal: killed");
}

static void a_stopped_command_can_be_asked(void **state)
{
	int64_t before = clock_mono_ms();
	struct proc *p = start_ready("trap 'exit 6' TERM; echo 1; kill -STOP $$; sleep 60");

	(void)state;
	fixture_run_ms(&fx, 20);
	stop(p, 60000);
	expect_end(p, "exit status 6");
	assert_true(clock_mono_ms() - before < 5000);
}

static void nothing_is_signalled_after_the_end(void **state)
{
	struct proc *p = fixture_sh(&fx, ":");
	struct err e = {0};

	(void)state;
	fixture_wait_for(&fx, proc_has_exited, p);
	assert_int_equal(proc_pid(p), 0);
	/* kill(-0) would be this very group. */
	assert_int_equal(proc_stop(p, 0, &e), -1);
	fixture_run_ms(&fx, 20);
	assert_false(proc_exit_record(p)->interrupted);
}

/* ---- trees ---- */

static void a_kill_reaches_the_whole_tree(void **state)
{
	pid_t pids[4];
	struct proc *p = fixture_sh(&fx,
		"trap '' TERM; echo $$; sleep 600 & echo $!; "
		"(trap '' TERM; sleep 600) & echo $!; "
		"setsid sh -c 'echo $$; trap \"\" TERM; while :; do sleep 0.1; done' & "
		"while :; do sleep 0.1; done");

	(void)state;
	assert_int_equal(fixture_read_pids(&fx, p, pids, 4), 4);
	stop(p, 100);
	expect_end(p, "signal: killed");
	for (size_t i = 0; i < 4; i++)
		fixture_wait_for(&fx, pid_is_gone, &pids[i]);
}

static void survivors_of_a_leader_that_obeyed_are_killed(void **state)
{
	int64_t before;
	pid_t pids[2];
	struct proc *p = fixture_sh(&fx,
		"sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' & "
		"setsid sh -c 'echo $$; while :; do sleep 0.1; done' & wait");

	(void)state;
	assert_int_equal(fixture_read_pids(&fx, p, pids, 2), 2);
	before = clock_mono_ms();
	stop(p, 1500);
	expect_end(p, "signal: terminated");
	assert_true(proc_pipes_open(p));
	assert_true(clock_mono_ms() - before < 1500);
	/* The one of the group; the other left the session and was not asked to end. */
	pid_t inside = getpgid(pids[0]) == pids[0] ? pids[1] : pids[0];
	pid_t outside = inside == pids[0] ? pids[1] : pids[0];
	fixture_wait_for(&fx, pid_is_gone, &inside);
	assert_true(clock_mono_ms() - before >= 1490);
	assert_int_equal(kill(outside, SIGKILL), 0);
	fixture_wait_for(&fx, proc_has_no_pipes, p);
}

static void a_background_process_of_a_command_that_ended_lives_on(void **state)
{
	pid_t pid;
	struct proc *p = fixture_sh(&fx, "sleep 600 >/dev/null 2>&1 & echo $!");

	(void)state;
	assert_int_equal(fixture_read_pids(&fx, p, &pid, 1), 1);
	expect_end(p, "");
	fixture_run_ms(&fx, 100);
	assert_int_equal(kill(pid, 0), 0);
	kill(pid, SIGKILL);
}

static void without_workers_the_group_is_killed(void **state)
{
	pid_t pids[2];

	(void)state;
	struct proc *p = fixture_sh(&fx, "trap '' TERM; echo $$; sh -c 'echo $$; trap \"\" TERM; "
					 "while :; do sleep 0.1; done' & "
					 "while :; do sleep 0.1; done");
	assert_int_equal(fixture_read_pids(&fx, p, pids, 2), 2);
	/* A queue that is always full. */
	int64_t queue = limit(LIMIT_WORK_QUEUE);
	limit_values[LIMIT_WORK_QUEUE] = 0;
	int64_t before = clock_mono_ms();
	stop(p, 50);
	expect_end(p, "signal: killed");
	/* At once, not when the wait for a worker is over. */
	assert_true(clock_mono_ms() - before < limit(LIMIT_PROC_GRACE_MS) / 2);
	limit_values[LIMIT_WORK_QUEUE] = queue;
	for (size_t i = 0; i < 2; i++)
		fixture_wait_for(&fx, pid_is_gone, &pids[i]);
}

/* ---- shutdown ---- */

static void on_done(void *arg)
{
	(*(int *)arg)++;
}

static bool is_done(void *arg)
{
	return *(int *)arg > 0;
}

static void shutdown_of_nothing_is_reported_from_the_loop(void **state)
{
	int done = 0;
	struct proc_spec spec = {.command = ":"};
	struct err e = {0};

	(void)state;
	procs_shutdown(fx.procs, 1000, on_done, &done);
	assert_int_equal(done, 0);
	fixture_wait_for(&fx, is_done, &done);
	fixture_run_ms(&fx, 10);
	assert_int_equal(done, 1);
	assert_null(proc_start(fx.procs, &spec, &e));
	assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
}

static void shutdown_is_quick_when_all_obey(void **state)
{
	int64_t before = clock_mono_ms();
	int done = 0;

	(void)state;
	for (int i = 0; i < 5; i++)
		(void)fixture_sh(&fx, "sleep 600 & sleep 600 & wait");
	fixture_run_ms(&fx, 20);
	procs_shutdown(fx.procs, 60000, on_done, &done);
	fixture_wait_for(&fx, is_done, &done);
	assert_int_equal(procs_running(fx.procs), 0);
	assert_true(clock_mono_ms() - before < 5000);
}

static void shutdown_kills_who_ignores_it(void **state)
{
	struct proc *p[3];
	int done = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		p[i] = start_ready("trap '' TERM; echo 1; while :; do sleep 0.05; done");
	procs_shutdown(fx.procs, 100, on_done, &done);
	fixture_wait_for(&fx, is_done, &done);
	assert_int_equal(done, 1);
	assert_int_equal(procs_running(fx.procs), 0);
	for (int i = 0; i < 3; i++) {
		assert_false(proc_running(p[i]));
		assert_int_equal(proc_exit_record(p[i])->signal, SIGKILL);
	}
}

static void shutdown_waits_for_survivors_of_a_leader_that_obeyed(void **state)
{
	int done = 0;
	pid_t pid;
	struct proc *p = fixture_sh(
		&fx, "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' & wait");

	(void)state;
	assert_int_equal(fixture_read_pids(&fx, p, &pid, 1), 1);
	procs_shutdown(fx.procs, 200, on_done, &done);
	fixture_wait_for(&fx, is_done, &done);
	assert_int_equal(proc_exit_record(p)->signal, SIGTERM);
	fixture_wait_for(&fx, pid_is_gone, &pid);
}

static void shutdown_shortens_the_grace_of_an_interrupt_before(void **state)
{
	int64_t before = clock_mono_ms();
	int done = 0;
	struct proc *p = start_ready("trap '' TERM; echo 1; while :; do sleep 0.05; done");

	(void)state;
	stop(p, 60000);
	procs_shutdown(fx.procs, 100, on_done, &done);
	fixture_wait_for(&fx, is_done, &done);
	assert_true(clock_mono_ms() - before < 5000);
	assert_int_equal(proc_exit_record(p)->signal, SIGKILL);
}

static void a_second_shutdown_ends_every_grace(void **state)
{
	int64_t before = clock_mono_ms();
	struct proc *p[3];
	int done = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		p[i] = start_ready("trap '' TERM; echo 1; while :; do sleep 0.05; done");
	stop(p[0], 60000);
	procs_shutdown(fx.procs, 60000, on_done, &done);
	procs_shutdown(fx.procs, 0, on_done, &done);
	fixture_wait_for(&fx, is_done, &done);
	assert_true(clock_mono_ms() - before < 5000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(proc_exit_record(p[i])->signal, SIGKILL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_timeout_ends_a_command),
		TEST(a_timeout_kills_who_ignores_it),
		TEST(a_command_may_end_well_after_its_timeout),
		TEST(a_timeout_in_time_is_none),
		TEST(an_interrupt_asks_first),
		TEST(asking_again_only_shortens_the_grace),
		TEST(no_grace_means_now),
		TEST(a_stopped_command_can_be_asked),
		TEST(nothing_is_signalled_after_the_end),
		TEST(a_kill_reaches_the_whole_tree),
		TEST(survivors_of_a_leader_that_obeyed_are_killed),
		TEST(a_background_process_of_a_command_that_ended_lives_on),
		TEST(without_workers_the_group_is_killed),
		TEST(shutdown_of_nothing_is_reported_from_the_loop),
		TEST(shutdown_is_quick_when_all_obey),
		TEST(shutdown_kills_who_ignores_it),
		TEST(shutdown_waits_for_survivors_of_a_leader_that_obeyed),
		TEST(shutdown_shortens_the_grace_of_an_interrupt_before),
		TEST(a_second_shutdown_ends_every_grace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
