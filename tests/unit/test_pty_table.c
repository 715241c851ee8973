/* pty: who is registered, how many, for how long, what that costs, and the end of all. */
#include "pty_fixture.h"

#include <malloc.h>
#include <sys/resource.h>

/* ---- registering ---- */

static void what_cannot_start_is_not_registered(void **state)
{
	static const struct launch_var bad_name[] = {{"A=B", "x"}};
	static const struct {
		struct pty_spec spec;
		const char *why;
	} rows[] = {
		{{.launch = {.cwd = "/nonexistent"}}, "cwd /nonexistent"},
		{{.launch = {.cwd = "/etc/passwd"}}, "cwd /etc/passwd"},
		{{.launch = {.cwd = "$NOSUCHVAR"}}, "cwd"},
		{{.launch = {.envs = bad_name, .nenvs = 1}}, "environment variable"},
		{{.launch = {.user = "nosuchuser"}}, "no such user"},
		{{.launch = {.set_gid = true, .gid = 5}}, "gid needs a uid"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = {0};

		assert_null(pty_create(rig.ptys, &rows[i].spec, &e));
		assert_ptr_equal(e.kind, &ERR_BAD_BODY);
		if (strstr(e.msg, rows[i].why) == NULL)
			fail_msg("%s: %s", rows[i].why, e.msg);
	}
	assert_int_equal(ptys_count(rig.ptys), 0);
}

/* What is asked for is a copy, and is bounded. */
static void what_is_asked_for_is_copied_up_to_a_limit(void **state)
{
	static char text[4097], name[] = "FRUIT", value[] = "apple";
	const struct launch_var envs[] = {{name, value}};
	char command[] = "echo $FRUIT", label[] = "tag", cwd[] = "/";
	/* The array, its strings, and the others, each with its NUL. */
	size_t fixed = sizeof(envs) + sizeof(name) + sizeof(value) + sizeof(command) + sizeof(cwd);
	struct pty_spec spec = {.command = command,
		.label = label,
		.launch = {.cwd = cwd, .envs = envs, .nenvs = 1}};
	struct screen s = {0};
	struct err e = {0};
	struct pty *t = rig_create(&rig, &spec);

	(void)state;
	memset(command, '?', sizeof(command) - 1);
	memset(label, '?', sizeof(label) - 1);
	memset(cwd, '?', sizeof(cwd) - 1);
	memset(name, '?', sizeof(name) - 1);
	memset(value, '?', sizeof(value) - 1);
	screen_open(&s, &rig, t, PTY_OBSERVE);
	rig_run(t, false);
	screen_wait_exit(&s);
	assert_string_equal(screen_text(&s), "apple\r\n");
	assert_string_equal(rig_info(t).label, "tag");
	assert_string_equal(rig_info(t).cwd, "/");
	screen_close(&s);

	rig_limit(LIMIT_PTY_SPEC_BYTES, 4096);
	memcpy(cwd, "/", 2);
	memset(text, 'x', sizeof(text));
	spec.label = text;
	text[4096 - fixed] = '\0';
	assert_null(pty_create(rig.ptys, &spec, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	text[4096 - fixed - 1] = '\0';
	rig_create(&rig, &spec);

	rig_limit(LIMIT_PTY_SPEC_BYTES, limit_rows[LIMIT_PTY_SPEC_BYTES].def);
	rig_limit(LIMIT_PROC_COMMAND_BYTES, 256);
	memset(text, 'x', sizeof(text));
	spec.label = NULL;
	spec.command = text;
	text[257] = '\0';
	e = (struct err){0};
	assert_null(pty_create(rig.ptys, &spec, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	text[256] = '\0';
	rig_create(&rig, &spec);
}

static void count_in_order(struct pty *t, void *arg)
{
	char **at = arg;

	*(*at)++ = rig_info(t).label[0];
}

static void terminals_are_found_and_listed_in_order(void **state)
{
	static const char *const labels[] = {"a", "b", "c", "d"};
	struct pty *t[4];
	char seen[8] = "", *at = seen, id[64];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct pty_spec spec = {.label = labels[i], .command = "sleep 60"};

		t[i] = rig_create(&rig, &spec);
	}
	rig_run(t[1], false);
	snprintf(id, sizeof(id), "%s", rig_info(t[2]).id);
	assert_int_equal(strlen(id), 36);
	assert_ptr_equal(pty_find(rig.ptys, id, 36), t[2]);
	assert_null(pty_find(rig.ptys, id, 35));
	assert_null(pty_find(rig.ptys, id, 37));
	assert_null(pty_find(rig.ptys, id, 0));
	id[35] = id[35] == '0' ? '1' : '0';
	assert_null(pty_find(rig.ptys, id, 36));
	ptys_each(rig.ptys, count_in_order, &at);
	assert_string_equal(seen, "abcd");
	pty_delete(t[1]);
	pty_delete(t[3]);
	memset(seen, 0, sizeof(seen));
	at = seen;
	ptys_each(rig.ptys, count_in_order, &at);
	assert_string_equal(seen, "ac");
	assert_int_equal(ptys_count(rig.ptys), 2);
}

/* ---- how many ---- */

static void end_one(struct pty *t)
{
	rig_run(t, false);
	assert_true(rig_until(&rig, rig_has_ended, t));
}

static void a_full_table_makes_room_by_what_has_ended(void **state)
{
	struct pty_spec ends = {.command = "exit 0"}, runs = {.command = "sleep 60"};
	struct pty *never, *attended, *running, *older, *newer;
	char older_id[64], newer_id[64], never_id[64];
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	rig_limit(LIMIT_PTY_COUNT, 5);
	never = rig_create(&rig, &ends);
	attended = rig_create(&rig, &ends);
	running = rig_create(&rig, &runs);
	newer = rig_create(&rig, &ends);
	older = rig_create(&rig, &ends);
	screen_open(&s, &rig, attended, PTY_OBSERVE);
	end_one(attended);
	rig_run(running, false);
	snprintf(older_id, sizeof(older_id), "%s", rig_info(older).id);
	snprintf(newer_id, sizeof(newer_id), "%s", rig_info(newer).id);
	snprintf(never_id, sizeof(never_id), "%s", rig_info(never).id);
	assert_null(pty_create(rig.ptys, &ends, &e));
	assert_ptr_equal(e.kind, &ERR_TOO_MANY);
	end_one(older);
	end_one(newer);

	/* A bad request costs nobody his terminal. */
	ends.launch.cwd = "/nonexistent";
	e = (struct err){0};
	assert_null(pty_create(rig.ptys, &ends, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	ends.launch.cwd = NULL;
	assert_non_null(pty_find(rig.ptys, older_id, 36));

	rig_create(&rig, &ends);
	assert_null(pty_find(rig.ptys, older_id, 36));
	assert_non_null(pty_find(rig.ptys, newer_id, 36));
	rig_create(&rig, &ends);
	assert_null(pty_find(rig.ptys, newer_id, 36));
	/* The rest is looked at, runs, or was never started. */
	e = (struct err){0};
	assert_null(pty_create(rig.ptys, &ends, &e));
	assert_ptr_equal(e.kind, &ERR_TOO_MANY);
	assert_non_null(pty_find(rig.ptys, never_id, 36));
	assert_int_equal(ptys_count(rig.ptys), 5);
	/* What was deleted has made room at once. */
	pty_delete(running);
	rig_create(&rig, &ends);
	screen_close(&s);
}

/* They hold memory until they are dead, so they are counted too. */
static void those_being_removed_are_limited_too(void **state)
{
	const struct pty_spec spec = {.command = "sleep 60"};
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	rig_limit(LIMIT_PTY_COUNT, 2);
	for (int i = 0; i < 2; i++) {
		struct pty *t = rig_create(&rig, &spec);

		rig_run(t, true);
		if (i == 1)
			screen_open(&s, &rig, t, PTY_OBSERVE);
		pty_delete(t);
	}
	assert_null(pty_create(rig.ptys, &spec, &e));
	assert_ptr_equal(e.kind, &ERR_TOO_MANY);
	assert_true(rig_until(&rig, screen_is_removed, &s));
	screen_close(&s);
	rig_run_ms(&rig, 50);
	rig_create(&rig, &spec);
}

/* ---- how long ---- */

static bool table_is_empty(void *arg)
{
	(void)arg;
	return ptys_count(rig.ptys) == 0;
}

static bool one_is_left(void *arg)
{
	(void)arg;
	return ptys_count(rig.ptys) == 1;
}

static void what_has_ended_is_forgotten_after_a_while(void **state)
{
	struct pty *attended, *running;
	struct screen s = {0};
	int64_t begin = clock_mono_ms();

	(void)state;
	rig_limit(LIMIT_PTY_FINISHED_MS, 100);
	end_one(rig_pty(&rig, "exit 0"));
	rig_pty(&rig, "exit 0"); /* never begun */
	attended = rig_pty(&rig, "exit 0");
	running = rig_pty(&rig, "sleep 60");
	screen_open(&s, &rig, attended, PTY_OBSERVE);
	end_one(attended);
	rig_run(running, false);
	rig_run_ms(&rig, 50);
	assert_int_equal(ptys_count(rig.ptys), 4);
	while (ptys_count(rig.ptys) > 2)
		rig_turn(&rig);
	assert_true(clock_mono_ms() - begin >= 95);
	rig_run_ms(&rig, 150);
	assert_int_equal(ptys_count(rig.ptys), 2);
	/* From now on nobody is connected. */
	begin = clock_mono_ms();
	screen_close(&s);
	assert_true(rig_until(&rig, one_is_left, NULL));
	assert_true(clock_mono_ms() - begin >= 95);
	assert_true(rig_info(running).running);
}

/* What it has left running goes on, as after a command. */
static void who_is_forgotten_is_not_killed(void **state)
{
	struct pty *t = rig_pty(&rig, "trap '' HUP; sleep 60 & echo pid=$!");
	struct screen s = {0};
	pid_t pid;

	(void)state;
	rig_limit(LIMIT_PTY_FINISHED_MS, 100);
	screen_open(&s, &rig, t, PTY_OBSERVE);
	rig_run(t, true);
	screen_wait_exit(&s);
	pid = screen_number(&s, "pid=");
	screen_close(&s);
	assert_true(rig_until(&rig, table_is_empty, NULL));
	rig_run_ms(&rig, 20);
	assert_int_equal(kill(pid, 0), 0);
	kill(pid, SIGKILL);
}

static void what_runs_and_nobody_looks_at_is_removed_when_that_is_wanted(void **state)
{
	struct pty *t = rig_pty(&rig, "sleep 60"), *attended = rig_pty(&rig, "sleep 60");
	struct screen s = {0};
	pid_t pid;

	(void)state;
	rig_limit(LIMIT_PTY_IDLE_MS, 80);
	screen_open(&s, &rig, attended, PTY_OBSERVE);
	rig_run(attended, false);
	rig_run(t, false);
	pid = rig_info(t).pid;
	rig_run_ms(&rig, 40);
	assert_int_equal(ptys_count(rig.ptys), 2);
	assert_true(rig_until(&rig, one_is_left, NULL));
	assert_true(rig_until(&rig, rig_pid_is_gone, &pid));
	assert_true(rig_info(attended).running);
	screen_close(&s);
	assert_true(rig_until(&rig, table_is_empty, NULL));
}

static void by_default_what_runs_is_kept(void **state)
{
	struct pty *t = rig_pty(&rig, "sleep 60");

	(void)state;
	assert_int_equal(limit(LIMIT_PTY_IDLE_MS), 0);
	rig_limit(LIMIT_PTY_FINISHED_MS, 100);
	rig_run(t, false);
	rig_run_ms(&rig, 150);
	assert_true(rig_info(t).running);
	assert_int_equal(ptys_count(rig.ptys), 1);
}

/* ---- replay ---- */

static void of_much_output_the_end_is_kept(void **state)
{
	struct screen s = {0};
	struct pty_info info;
	struct pty *t;
	char expected[16];
	size_t n;

	(void)state;
	rig_limit(LIMIT_PTY_REPLAY_BYTES, 65536);
	t = rig_pty(&rig, "exec seq 100000");
	end_one(t);
	info = rig_info(t);
	assert_int_equal(info.output_offset, 688895); /* with a CR in each line */
	assert_true(info.output_offset - info.oldest_offset <= 65536 * 5 / 4);
	assert_true(info.output_offset - info.oldest_offset > 65536 / 2);
	/* Clamped: before the oldest byte, a gap and then all there is. */
	screen_open(&s, &rig, t, PTY_OBSERVE);
	assert_int_equal(s.gap, info.oldest_offset);
	n = buf_len(&s.out[OUTHUB_STDOUT]);
	assert_int_equal(n, info.output_offset - info.oldest_offset);
	assert_memory_equal(buf_data(&s.out[OUTHUB_STDOUT]) + n - 8, "100000\r\n", 8);
	snprintf(expected, sizeof(expected), "\r\n%d\r\n", 95000);
	assert_non_null(strstr(screen_text(&s), expected));
	screen_close(&s);
	screen_open_at(&s, &rig, t, PTY_OBSERVE, info.output_offset - 8);
	assert_string_equal(screen_text(&s), "100000\r\n");
	screen_close(&s);
	screen_open_at(&s, &rig, t, PTY_OBSERVE, info.output_offset + 1000);
	assert_string_equal(screen_text(&s), "");
	assert_int_equal(s.gap, 0);
	screen_close(&s);
}

/* ---- the end of all ---- */

static void a_shutdown_hangs_up_and_waits(void **state)
{
	static const struct {
		const char *command;
		bool pipes;
		int64_t grace;
		bool waits; /* for the grace */
	} rows[] = {
		{NULL, false, 5000, false},
		{"sleep 60", false, 5000, false},
		{NULL, true, 5000, false},
		{"kill -STOP $$; sleep 60", false, 5000, false},
		{"set -m; sleep 60", false, 5000, false},
		{"trap '' HUP; echo ready; sleep 60", false, 150, true},
		{"trap '' HUP; echo ready; while :; do sleep 1; done", true, 150, true},
		{"(trap '' HUP; echo ready; sleep 60) & sleep 60", true, 150, true},
		{"trap '' HUP; echo ready; sleep 60", false, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pty *t = rig_pty(&rig, rows[i].command);
		struct screen s = {0};
		struct err e = {0};
		int64_t begin;
		pid_t group;

		print_message("  %s\n", rows[i].command != NULL ? rows[i].command : "");
		screen_open(&s, &rig, t, PTY_HOLD);
		rig_run(t, rows[i].pipes);
		group = -rig_info(t).pid;
		if (rows[i].command != NULL && strstr(rows[i].command, "ready") != NULL)
			screen_wait_for(&s, "ready");
		else
			rig_run_ms(&rig, 30);
		begin = clock_mono_ms();
		rig_shutdown(&rig, rows[i].grace);
		if (rows[i].waits)
			assert_true(clock_mono_ms() - begin >= rows[i].grace - 5);
		else
			assert_true(clock_mono_ms() - begin < 2000);
		assert_false(rig_info(t).running);
		assert_true(rig_until(&rig, rig_pid_is_gone, &group));
		rig_run_ms(&rig, 2);
		assert_string_equal(s.order, "E");
		assert_int_equal(pty_start(t, false, &e), -1);
		assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
		e = (struct err){0};
		assert_null(pty_create(rig.ptys, &(struct pty_spec){0}, &e));
		assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
		screen_close(&s);
		rig_teardown(NULL);
		rig_start_with(&rig, rig_environ, NULL);
	}
}

static void a_second_shutdown_shortens_the_grace(void **state)
{
	struct pty *t = rig_pty(&rig, "trap '' HUP; echo ready; sleep 60");
	struct screen s = {0};
	int64_t begin = clock_mono_ms();

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, false);
	screen_wait_for(&s, "ready");
	ptys_shutdown(rig.ptys, 60000, rig_on_done, &rig);
	rig_run_ms(&rig, 20);
	assert_false(rig.done);
	ptys_shutdown(rig.ptys, 600000, rig_on_done, &rig);
	rig_shutdown(&rig, 30);
	assert_true(clock_mono_ms() - begin < 5000);
	screen_close(&s);
}

static void delete_on_exit(struct screen *s, char what)
{
	if (what == 'E')
		pty_delete(s->arg);
}

static void a_shutdown_may_meet_deletions(void **state)
{
	struct pty *t[3];
	struct screen s[3] = {0};

	(void)state;
	for (int i = 0; i < 3; i++) {
		t[i] = rig_pty(&rig, i == 2 ? NULL : "trap '' HUP; sleep 60");
		s[i].on_told = i == 2 ? delete_on_exit : NULL;
		s[i].arg = t[i];
		screen_open(&s[i], &rig, t[i], PTY_HOLD);
		rig_run(t[i], false);
	}
	pty_delete(t[0]);
	ptys_shutdown(rig.ptys, 100, rig_on_done, &rig);
	pty_delete(t[1]);
	assert_true(rig_until(&rig, rig_is_done, &rig));
	for (int i = 0; i < 3; i++) {
		assert_true(rig_until(&rig, screen_is_removed, &s[i]));
		assert_string_equal(s[i].order, "ER");
		screen_close(&s[i]);
	}
}

/* ---- many ---- */

enum { MANY = 500 };

/* What is allocated now; 0 where the C library does not tell. */
static size_t memory_used(void)
{
#if defined(__GLIBC__)
	return mallinfo2().uordblks;
#else
	return 0;
#endif
}

static void hundreds_cost_little_and_leave_nothing(void **state)
{
	static struct pty *t[MANY];
	struct rlimit nofile;
	struct pty_spec spec = {.shell = "/bin/sh", .command = "read x"};
	size_t fds = test_fds(0, NULL, 0), before, each;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &nofile), 0);
	if (nofile.rlim_cur < 2 * MANY + 64) {
		nofile.rlim_cur = nofile.rlim_max < 4096 ? nofile.rlim_max : 4096;
		setrlimit(RLIMIT_NOFILE, &nofile);
	}
	if (nofile.rlim_cur < 2 * MANY + 64) {
		print_message("SKIPPED: needs %d descriptors\n", 2 * MANY + 64);
		skip();
	}
	before = memory_used();
	for (size_t i = 0; i < MANY; i++) {
		t[i] = rig_create(&rig, &spec);
		rig_run(t[i], false);
	}
	rig_run_ms(&rig, 20);
	each = (memory_used() - before) / MANY;
	print_message("%zu bytes each\n", each);
	assert_true(each < 4096);
	for (size_t i = 0; i < MANY; i++) {
		if (i % 2 == 0)
			pty_delete(t[i]);
		else
			rig_type(t[i], "\n");
	}
	for (size_t i = 1; i < MANY; i += 2) {
		assert_true(rig_until(&rig, rig_has_ended, t[i]));
		pty_delete(t[i]);
	}
	rig_shutdown(&rig, 0);
	rig_run_ms(&rig, 20);
	assert_int_equal(test_fds(0, NULL, 0), fds);
	assert_int_equal(children_count(rig.children), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define PTY_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
		PTY_TEST(what_cannot_start_is_not_registered),
		PTY_TEST(what_is_asked_for_is_copied_up_to_a_limit),
		PTY_TEST(terminals_are_found_and_listed_in_order),
		PTY_TEST(a_full_table_makes_room_by_what_has_ended),
		PTY_TEST(those_being_removed_are_limited_too),
		PTY_TEST(what_has_ended_is_forgotten_after_a_while),
		PTY_TEST(who_is_forgotten_is_not_killed),
		PTY_TEST(what_runs_and_nobody_looks_at_is_removed_when_that_is_wanted),
		PTY_TEST(by_default_what_runs_is_kept),
		PTY_TEST(of_much_output_the_end_is_kept),
		PTY_TEST(a_shutdown_hangs_up_and_waits),
		PTY_TEST(a_second_shutdown_shortens_the_grace),
		PTY_TEST(a_shutdown_may_meet_deletions),
		PTY_TEST(hundreds_cost_little_and_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
