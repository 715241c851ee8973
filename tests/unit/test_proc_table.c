/* What is remembered of commands that ended, and the counter of out-of-memory kills. */
#include "proc_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "../../src/svc/proc_internal.h"

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
	clock_fake(-1, -1);
	fixture_end(&fx);
	return 0;
}

struct id {
	char s[ID_LEN + 1];
};

static bool is_known(const struct id *id)
{
	return proc_find(fx.procs, id->s, ID_LEN) != NULL;
}

static bool is_evicted(void *arg)
{
	return !is_known(arg);
}

/* Runs it to its end, and lets what follows from that happen. */
static struct id run(const char *command)
{
	struct proc *p = fixture_sh(&fx, command);
	struct id id;

	memcpy(id.s, proc_id(p), sizeof(id.s));
	proc_ref(p);
	fixture_wait_for(&fx, proc_is_over, p);
	proc_unref(p);
	fixture_run_ms(&fx, 2);
	return id;
}

/* ---- eviction ---- */

static void the_oldest_record_goes_when_there_are_too_many(void **state)
{
	struct id ids[6];

	(void)state;
	assert_true(limit_set(LIMIT_PROC_FINISHED, 3));
	for (int i = 0; i < 6; i++) {
		ids[i] = run("echo x");
		assert_int_equal(procs_finished(fx.procs), i < 3 ? i + 1 : 3);
		for (int k = 0; k <= i; k++)
			assert_int_equal(is_known(&ids[k]), k > i - 3);
	}
}

static void a_running_command_is_never_evicted(void **state)
{
	struct proc *sleeper = fixture_sh(&fx, "sleep 60");
	struct err e = {0};

	(void)state;
	assert_true(limit_set(LIMIT_PROC_FINISHED, 1));
	for (int i = 0; i < 4; i++)
		(void)run(":");
	assert_true(proc_running(sleeper));
	assert_ptr_equal(proc_find(fx.procs, proc_id(sleeper), ID_LEN), sleeper);
	assert_int_equal(proc_stop(sleeper, 1000, &e), 0);
	fixture_wait_for(&fx, proc_is_over, sleeper);
}

static bool eviction_was_looked_at(void *arg)
{
	(void)arg;
	return !fx.procs->evict.queued;
}

/* Sets the clock, and has the table look at the ages of its records. */
static void at_ms(int64_t ms)
{
	clock_fake(ms * 1000, 1700000000000);
	procs_evict_soon(fx.procs);
	fixture_wait_for(&fx, eviction_was_looked_at, NULL);
}

static struct proc *run_over(const char *command)
{
	struct proc *p = fixture_sh(&fx, command);

	fixture_wait_for(&fx, proc_is_over, p);
	return p;
}

static void a_record_goes_at_its_age_and_not_before(void **state)
{
	struct id a, b;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_FINISHED_MS, 60000));
	at_ms(1000000);
	memcpy(a.s, proc_id(run_over("echo a")), sizeof(a.s));
	at_ms(1030000);
	memcpy(b.s, proc_id(run_over("echo b")), sizeof(b.s));
	at_ms(1059999);
	assert_true(is_known(&a));
	at_ms(1060000);
	assert_false(is_known(&a));
	assert_true(is_known(&b));
	at_ms(1089999);
	assert_true(is_known(&b));
	at_ms(1090000);
	assert_false(is_known(&b));
	clock_fake(-1, -1);
}

/* One timer, for the oldest: it has to be set again for the next. */
static void records_go_without_anything_else_happening(void **state)
{
	int64_t before = clock_mono_ms();
	struct id a, b;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_FINISHED_MS, 1000));
	a = run("echo a");
	fixture_run_ms(&fx, 300);
	b = run("echo b");
	fixture_wait_for(&fx, is_evicted, &a);
	assert_true(clock_mono_ms() - before >= 1000);
	fixture_wait_for(&fx, is_evicted, &b);
	assert_true(clock_mono_ms() - before >= 1300);
	assert_int_equal(procs_finished(fx.procs), 0);
}

static void a_record_is_not_old_while_its_pipes_are_held(void **state)
{
	int64_t before = clock_mono_ms();
	struct id a;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_FINISHED_MS, 1000));
	a = run("sleep 0.8 & :");
	fixture_wait_for(&fx, is_evicted, &a);
	assert_true(clock_mono_ms() - before >= 1800);
}

static void held_pipes_are_the_last_to_go(void **state)
{
	struct id holder, ids[4];

	(void)state;
	assert_true(limit_set(LIMIT_PROC_FINISHED, 2));
	holder = run("sleep 5 & :");
	for (int i = 0; i < 3; i++)
		ids[i] = run(":");
	assert_true(is_known(&holder));
	assert_false(is_known(&ids[0]));
	assert_false(is_known(&ids[1]));
	assert_true(is_known(&ids[2]));
	/* But go they do, before the newest record. */
	assert_true(limit_set(LIMIT_PROC_FINISHED, 1));
	ids[3] = run(":");
	assert_false(is_known(&holder));
	assert_false(is_known(&ids[2]));
	assert_true(is_known(&ids[3]));
}

static void logs_are_bounded_in_memory(void **state)
{
	struct id ids[4];

	(void)state;
	assert_true(limit_set(LIMIT_PROC_FINISHED_MEMORY_BYTES, 200000));
	for (int i = 0; i < 4; i++)
		ids[i] = run("head -c 80000 /dev/zero");
	assert_false(is_known(&ids[0]));
	assert_true(is_known(&ids[2]));
	assert_true(is_known(&ids[3]));
	assert_true(fx.procs->finished_memory <= 200000);
	/* The text of the command counts as well. */
	char *text = malloc(120001);
	memset(text, ' ', 120000);
	text[119999] = ':';
	text[120000] = '\0';
	ids[0] = run(text);
	assert_false(is_known(&ids[2]));
	assert_true(is_known(&ids[0]));
	free(text);
}

static void logs_are_bounded_on_disk(void **state)
{
	struct id ids[5];
	struct procs_config cfg = {.state_dir = open(".", O_DIRECTORY | O_CLOEXEC)};
	uint64_t sum = 0;

	(void)state;
	fixture_end(&fx);
	assert_true(limit_set(LIMIT_HUB_MEMORY_BYTES, 65536));
	assert_true(limit_set(LIMIT_PROC_FINISHED_DISK_BYTES, 900000));
	fixture_start_with(&fx, &cfg);
	for (int i = 0; i < 5; i++)
		ids[i] = run("head -c 400000 /dev/zero");
	assert_false(is_known(&ids[0]));
	assert_true(is_known(&ids[4]));
	for (int i = 0; i < 5; i++) {
		if (is_known(&ids[i]))
			sum += outhub_disk(proc_hub(proc_find(fx.procs, ids[i].s, ID_LEN)));
	}
	assert_in_range(sum, 300000, 900000);
	close(cfg.state_dir);
}

static void the_newest_record_stays_whatever_its_size(void **state)
{
	struct id a, b;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_FINISHED_MEMORY_BYTES, 65536));
	a = run("head -c 200000 /dev/zero");
	assert_true(is_known(&a));
	b = run("head -c 200000 /dev/zero");
	assert_false(is_known(&a));
	assert_true(is_known(&b));
}

static void a_reference_keeps_what_the_table_forgot(void **state)
{
	struct proc *p = fixture_sh(&fx, "echo kept; exit 2");
	struct id id;
	struct capture c;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_FINISHED, 1));
	memcpy(id.s, proc_id(p), sizeof(id.s));
	proc_ref(p);
	fixture_wait_for(&fx, proc_is_over, p);
	(void)run(":");
	assert_false(is_known(&id));
	assert_int_equal(proc_exit_record(p)->code, 2);
	capture_all(&c, &fx, p);
	assert_string_equal(capture_text(&c, OUTHUB_STDOUT), "kept\n");
	capture_fini(&c);
	/* And the last one frees it. */
	assert_int_equal(fx.procs->counts[PROC_GONE], 1);
	proc_unref(p);
	fixture_run_ms(&fx, 2);
	assert_int_equal(fx.procs->counts[PROC_GONE], 0);
}

static void ids_are_found_among_thousands(void **state)
{
	static const char *const argv[] = {"/nonexistent", NULL};
	struct proc_spec spec = {.argv = argv};
	struct id *ids = calloc(3000, sizeof(*ids));
	struct err e = {0};

	(void)state;
	assert_true(limit_set(LIMIT_PROC_FINISHED, 2000));
	for (int i = 0; i < 3000; i++) {
		struct proc *p = proc_start(fx.procs, &spec, &e);

		assert_non_null(p);
		memcpy(ids[i].s, proc_id(p), sizeof(ids[i].s));
	}
	fixture_run_ms(&fx, 2);
	for (int i = 0; i < 3000; i++)
		assert_int_equal(is_known(&ids[i]), i >= 1000);
	free(ids);
}

static void collect(struct proc *p, void *arg)
{
	char **at = arg;

	*at = stpcpy(*at, proc_command(p));
}

static void each_goes_from_the_running_to_the_oldest(void **state)
{
	char seen[64] = "", *at = seen;
	struct proc *sleeper;
	struct err e = {0};

	(void)state;
	(void)run(": 1;");
	(void)run("sleep 1& :;");
	(void)run(": 2;");
	sleeper = fixture_sh(&fx, "sleep 9;");
	procs_each(fx.procs, collect, &at);
	assert_string_equal(seen, "sleep 9;sleep 1& :;: 1;: 2;");
	assert_int_equal(proc_stop(sleeper, 1000, &e), 0);
	fixture_wait_for(&fx, proc_is_over, sleeper);
}

/* ---- out of memory ---- */

static void put_file(const char *path, const char *text)
{
	char dir[256];

	for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
		mkdir(dir, 0755);
	}
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void the_counter_is_found_where_the_kernel_has_it(void **state)
{
	static const struct {
		const char *cgroup, *file, *before, *after;
	} rows[] = {
		{"0::/box/a\n", "sys/fs/cgroup/box/a/memory.events",
			"low 0\noom 7\noom_kill 3\noom_group_kill 0\n", "oom 9\noom_kill 4\n"},
		{"0::/host/path\n", "sys/fs/cgroup/memory.events", "oom_kill 0\n", "oom_kill 1\n"},
		{"5:cpu,memory:/m\n1:name=systemd:/x\n0::/y\n",
			"sys/fs/cgroup/memory/m/memory.oom_control",
			"oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "oom_kill 2\n"},
		{"5:memory:/host\n", "sys/fs/cgroup/memory/memory.oom_control", "oom_kill 1\n",
			"oom_kill 2\n"},
		{"", "proc/vmstat", "nr_free_pages 5\noom_kill 11\nx 1", "oom_kill 12"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct proc_oom o;
		char path[256];

		assert_int_equal(system("rm -rf oom_root"), 0);
		put_file("oom_root/proc/self/cgroup", rows[i].cgroup);
		snprintf(path, sizeof(path), "oom_root/%s", rows[i].file);
		put_file(path, rows[i].before);
		proc_oom_init(&o, "oom_root");
		assert_string_equal(o.path, path);
		assert_false(proc_oom_moved(&o));
		put_file(path, rows[i].after);
		assert_true(proc_oom_moved(&o));
		assert_false(proc_oom_moved(&o));
		unlink(path);
		assert_false(proc_oom_moved(&o));
	}
	assert_int_equal(system("rm -rf oom_root"), 0);
	struct proc_oom none;
	proc_oom_init(&none, "oom_root");
	assert_string_equal(none.path, "");
	assert_false(proc_oom_moved(&none));
}

static bool oom_killed(const char *command)
{
	struct proc *p = fixture_sh(&fx, command);

	fixture_wait_for(&fx, proc_is_over, p);
	return proc_exit_record(p)->oom_killed;
}

static void only_a_foreign_sigkill_while_the_counter_moves_is_one(void **state)
{
	(void)state;
	put_file("oom_root/proc/vmstat", "oom_kill 0\n");
	proc_oom_init(&fx.procs->oom, "oom_root");
	assert_false(oom_killed("kill -KILL $$"));
	assert_false(oom_killed("echo oom_kill 1 >oom_root/proc/vmstat; exit 137"));
	assert_true(oom_killed("kill -KILL $$"));
	assert_false(oom_killed("kill -KILL $$"));
	assert_true(oom_killed("echo oom_kill 2 >oom_root/proc/vmstat; kill -KILL $$"));
	/* Ours. */
	struct proc *p = fixture_sh(&fx, "trap '' TERM; echo oom_kill 3 >oom_root/proc/vmstat; "
					 "echo 1; while :; do sleep 0.05; done");
	struct err e = {0};
	pid_t ready;
	assert_int_equal(fixture_read_pids(&fx, p, &ready, 1), 1);
	assert_int_equal(proc_stop(p, 0, &e), 0);
	fixture_wait_for(&fx, proc_is_over, p);
	assert_int_equal(proc_exit_record(p)->signal, SIGKILL);
	assert_false(proc_exit_record(p)->oom_killed);
	assert_int_equal(system("rm -rf oom_root"), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_oldest_record_goes_when_there_are_too_many),
		TEST(a_running_command_is_never_evicted),
		TEST(a_record_goes_at_its_age_and_not_before),
		TEST(records_go_without_anything_else_happening),
		TEST(a_record_is_not_old_while_its_pipes_are_held),
		TEST(held_pipes_are_the_last_to_go),
		TEST(logs_are_bounded_in_memory),
		TEST(logs_are_bounded_on_disk),
		TEST(the_newest_record_stays_whatever_its_size),
		TEST(a_reference_keeps_what_the_table_forgot),
		TEST(ids_are_found_among_thousands),
		TEST(each_goes_from_the_running_to_the_oldest),
		TEST(the_counter_is_found_where_the_kernel_has_it),
		TEST(only_a_foreign_sigkill_while_the_counter_moves_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
