/* The walk as something that runs: it pauses, stops, times out, is freed, and runs out of things.
 */
#include "walk_fixture.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/syscall.h>

/* ---- seams: memory that runs out, a filesystem that does not say types ---- */

static atomic_long oom_at = -1; /* that allocation fails, and all after it while oom_for_good */
static atomic_bool oom_for_good;
static atomic_bool types_unknown;

void *__real_malloc(size_t n);
void *__real_calloc(size_t k, size_t n);
void *__real_realloc(void *p, size_t n);
long __real_syscall(long number, ...);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t k, size_t n);
void *__wrap_realloc(void *p, size_t n);
long __wrap_syscall(long number, ...);

static bool oom_now(void)
{
	long at;

	if (atomic_load(&oom_at) < 0)
		return false;
	at = atomic_fetch_sub(&oom_at, 1);
	if (at == 0 && atomic_load(&oom_for_good))
		atomic_store(&oom_at, 0);
	return at == 0;
}

void *__wrap_malloc(size_t n)
{
	return oom_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t k, size_t n)
{
	return oom_now() ? NULL : __real_calloc(k, n);
}

void *__wrap_realloc(void *p, size_t n)
{
	return oom_now() ? NULL : __real_realloc(p, n);
}

/* No call made here has more than five arguments, and so many are always in registers. */
long __wrap_syscall(long number, ...)
{
	long a[5], got;
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < 5; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	got = __real_syscall(number, a[0], a[1], a[2], a[3], a[4]);
	if (number == SYS_getdents64 && atomic_load(&types_unknown)) {
		for (long at = 0; at < got;) {
			struct dirent64_like {
				uint64_t ino;
				int64_t off;
				uint16_t reclen;
				uint8_t type;
			} *d = (void *)((char *)a[1] + at);

			d->type = DT_UNKNOWN;
			at += d->reclen;
		}
	}
	return got;
}

/* ---- trees ---- */

/* dirs directories with `files` names each, links of one file: those are made quickly. */
static void plant(size_t dirs, size_t files)
{
	char path[64], file[PATH_MAX];

	for (size_t i = 0; i < dirs; i++) {
		snprintf(path, sizeof(path), "d%03zu", i);
		rig_mkdir(path);
		snprintf(path, sizeof(path), "d%03zu/f000", i);
		rig_file(path);
		snprintf(file, sizeof(file), "%s", rig_path(path));
		for (size_t k = 1; k < files; k++) {
			snprintf(path, sizeof(path), "d%03zu/f%03zu", i, k);
			assert_int_equal(link(file, rig_path(path)), 0);
		}
	}
}

static void grow_expected(struct buf *expected)
{
	rig_naive(rig.top, strlen(rig.top) + 1, 0, UINT32_MAX, expected);
}

/* Lets the loop and the threads do what they want, for so long. */
static void stop_loop(void *arg)
{
	(void)arg;
	loop_stop(rig.loop);
}

static void linger(int64_t ms)
{
	struct loop_timer *t = loop_timer_new(rig.loop, ms, stop_loop, NULL);

	assert_non_null(t);
	assert_int_equal(loop_run(rig.loop), 0);
	loop_timer_free(t);
}

/* on_output() that leaves everything where it is. */
static void only_count(void *arg)
{
	(void)arg;
	rig.told++;
}

/* ---- pausing ---- */

static void a_client_that_does_not_take_pauses_the_walk(void **state)
{
	struct buf expected = {0};
	size_t visits, before = 0;

	(void)state;
	plant(60, 60); /* 3600 records of 11 bytes */
	grow_expected(&expected);
	limit_values[LIMIT_FS_WALK_BYTES] = 4000;
	rig_default();
	rig.spec.on_output = only_count;
	rig_start();
	do {
		visits = before;
		linger(50);
		before = rig.visits;
	} while (visits == 0 || visits != before);
	assert_int_equal(rig.told, 1);
	assert_int_equal(walk_state(rig.w), WALK_RUNNING);
	/* What there is room for, and what two threads were at. */
	assert_in_range(visits * 11, 4000, 3 * 4000 + 2 * 11);
	/* Some room is made: it goes on for as much, and no further. */
	assert_in_range(walk_take(rig.w, &rig.out, 3000), 2900, 3000);
	linger(50);
	assert_true(rig.visits > visits);
	assert_in_range(rig.visits * 11, 4000, 3000 + 3 * 4000 + 2 * 11);
	/* It was told of output that is still not all taken. */
	assert_int_equal(rig.told, 1);
	rig.spec.on_output = NULL;
	for (int i = 0; walk_state(rig.w) == WALK_RUNNING && i < 100000; i++) {
		assert_true(walk_take(rig.w, &rig.out, 777) >= 0);
		linger(1);
	}
	rig_end();
	rig_assert_output(&expected);
	buf_fini(&expected);
}

/* What stands first is slow, what is behind it fills all the room. */
static int slow_first(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	if (strncmp(e->path + e->below_root, "d000/", 5) == 0)
		usleep(500);
	return rig_list(arg, w, e, out);
}

static void results_behind_the_first_do_not_stop_it(void **state)
{
	struct buf expected = {0};

	(void)state;
	plant(20, 100);
	grow_expected(&expected);
	limit_values[LIMIT_FS_WALK_BYTES] = 500;
	rig_threads(4);
	rig_default();
	rig.spec.visitor.visit = slow_first;
	rig_run();
	rig_assert_output(&expected);
	buf_fini(&expected);
}

static void output_is_told_of_once_until_it_is_taken(void **state)
{
	(void)state;
	plant(3, 3);
	rig_default();
	rig.spec.on_output = only_count;
	rig_start();
	linger(50);
	assert_int_equal(rig.told, 1);
	assert_int_equal(walk_state(rig.w), WALK_RUNNING);
	assert_int_equal(walk_take(rig.w, &rig.out, SIZE_MAX / 2), 9 * 11 + 3 * 6);
	/* The end was reached before: it comes with the last bytes. */
	assert_int_equal(walk_state(rig.w), WALK_ENDED);
	assert_int_equal(walk_take(rig.w, &rig.out, SIZE_MAX / 2), 0);
	linger(20);
	assert_int_equal(rig.told, 1);
	rig_end();
}

/* ---- pieces ---- */

/* Every record has as many bytes as the number in its name says, the last one is a dot. */
static int list_n_bytes(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	size_t n = (size_t)atoi(e->path + e->name + 3);
	uint8_t *p = buf_reserve(out, n);

	(void)arg, (void)w;
	if (p == NULL)
		return -1;
	memset(p, 'x', n);
	if (n > 0)
		p[n - 1] = '.';
	buf_commit(out, n);
	return 0;
}

static void pieces_end_where_a_visit_ended_unless_one_is_longer(void **state)
{
	static const struct {
		size_t max;
		const char *pieces;
	} rows[] = {
		{1000, "190 "},
		{190, "190 "},
		{189, "90 100 "},
		{100, "90 100 "},
		{99, "90 99 1 "},
		{89, "40 50 89 11 "},
		{60, "40 50 60 40 "},
		{40, "40 40 10 40 40 20 "},
		{30, "10 30 30 20 30 30 30 10 "},
		{25, "10 25 5 25 25 25 25 25 25 "},
	};

	(void)state;
	rig_file("a: 10");
	rig_file("b: 30");
	rig_mkdir("c: 0"); /* so that what is before and after it is not found in one go */
	rig_file("d: 50");
	rig_file("e: 100");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char pieces[256] = "";
		ssize_t n;

		rig_default();
		rig.spec.visitor.visit = list_n_bytes;
		rig.spec.on_output = only_count;
		rig_start();
		linger(20);
		while ((n = walk_take(rig.w, &rig.out, rows[i].max)) > 0)
			snprintf(pieces + strlen(pieces), sizeof(pieces) - strlen(pieces), "%zd ",
				n);
		rig_end();
		if (strcmp(pieces, rows[i].pieces) != 0)
			print_error("at most %zu\n", rows[i].max);
		assert_string_equal(pieces, rows[i].pieces);
		assert_int_equal(buf_len(&rig.out), 190);
	}
}

static int list_a_lot(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	uint8_t *p = buf_reserve(out, 100000);

	(void)arg, (void)w;
	if (p == NULL)
		return -1;
	atomic_fetch_add(&rig.visits, 1);
	memset(p, e->path[e->name], 100000);
	buf_commit(out, 100000);
	return 0;
}

static void a_visit_may_make_more_than_there_is_room_for(void **state)
{
	char name[16];

	(void)state;
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "f%02d", i);
		rig_file(name);
	}
	rig_mkdir("g");
	rig_file("g/f");
	limit_values[LIMIT_FS_WALK_BYTES] = 65536;
	rig_default();
	rig.spec.visitor.visit = list_a_lot;
	rig.spec.on_output = only_count;
	rig_start();
	linger(100);
	/* In the middle of the directory. */
	assert_int_equal(rig.visits, 1);
	while (walk_state(rig.w) == WALK_RUNNING) {
		assert_true(walk_take(rig.w, &rig.out, 30000) >= 0);
		linger(1);
	}
	rig_end();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_int_equal(buf_len(&rig.out), 52 * 100000);
	for (size_t i = 0; i < 52; i++)
		assert_int_equal(buf_data(&rig.out)[i * 100000], i == 50 ? 'g' : 'f');
}

/* ---- slices ---- */

static atomic_size_t by_worker[2];

static int visit_2_ms(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	usleep(2000);
	atomic_fetch_add(&by_worker[e->worker], 1);
	return rig_list(arg, w, e, out);
}

static void slow_visits_of_one_directory_are_shared(void **state)
{
	struct buf expected = {0};

	(void)state;
	plant(1, 100);
	grow_expected(&expected);
	by_worker[0] = by_worker[1] = 0;
	rig_default();
	rig.spec.visitor.visit = visit_2_ms;
	rig_run();
	rig_assert_output(&expected);
	assert_in_range(by_worker[0], 20, 81);
	assert_in_range(by_worker[1], 20, 81);
	buf_fini(&expected);
}

static size_t job_from, job_waited;

static void job_run(struct work *w)
{
	(void)w;
	if (rig.visits - job_from > job_waited)
		job_waited = rig.visits - job_from;
}

/* Once more, until the walk has ended. */
static void job_done(struct work *w)
{
	struct err e = {0};

	job_from = rig.visits;
	if (rig.w != NULL)
		assert_int_equal(work_submit(rig.pool, w, &e), 0);
}

static void a_short_job_waits_for_one_slice_at_most(void **state)
{
	struct work job = {.run = job_run, .done = job_done};
	struct err e = {0};

	(void)state;
	plant(1, 60);
	rig_threads(1);
	rig_default();
	rig.spec.visitor.visit = visit_2_ms;
	job_from = job_waited = 0;
	rig_start();
	assert_int_equal(work_submit(rig.pool, &job, &e), 0);
	assert_int_equal(loop_run(rig.loop), 0);
	linger(20); /* the job may have been submitted once more */
	assert_int_equal(rig.visits, 61);
	/* A slice is three visits here. */
	assert_in_range(job_waited, 1, 2 * 3);
}

static size_t visits_before_child;

static int note_child(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	if (e->depth == 2)
		visits_before_child = rig.visits;
	return rig_list(arg, w, e, out);
}

/* So what is known of directories and not yet opened stays little, and others get a part. */
static void a_large_directory_is_visited_in_batches(void **state)
{
	char name[32];

	(void)state;
	for (int i = 0; i < 700; i++) {
		snprintf(name, sizeof(name), "d%03d", i);
		rig_mkdir(name);
	}
	rig_file("d000/f");
	rig_threads(1);
	limit_values[LIMIT_FS_SLICE_MS] = 10000;
	rig_default();
	rig.spec.visitor.visit = note_child;
	rig_run();
	assert_int_equal(rig.visits, 701);
	assert_int_equal(visits_before_child, 512);
}

/* ---- stopping ---- */

static int stop_at_75(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	int r = rig_list(arg, w, e, out);

	if (rig.visits == 75) { /* in the middle of a directory */
		RIG_WRONG(walk_stopped(w));
		walk_stop(w);
		RIG_WRONG(!walk_stopped(w));
	}
	return r;
}

static void a_visitor_that_has_enough_stops_the_walk(void **state)
{
	(void)state;
	plant(50, 50);
	rig_default();
	rig.spec.visitor.visit = stop_at_75;
	rig_run();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_true(rig.totals.stopped);
	assert_false(rig.totals.timed_out);
	assert_in_range(rig.visits, 75, 76); /* another thread may have been at one */
	assert_int_equal(rig.totals.entries, rig.visits);
	/* What was found until then is there. */
	assert_in_range(buf_len(&rig.out), 75 * 6, 76 * 11);
}

static int slow_visit(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	usleep(2000);
	return rig_list(arg, w, e, out);
}

static void a_walk_that_takes_too_long_ends_with_what_it_has(void **state)
{
	int64_t start = clock_mono_ms();

	(void)state;
	plant(10, 100);
	start = clock_mono_ms();
	rig_default();
	rig.spec.visitor.visit = slow_visit;
	rig.spec.timeout_ms = 100;
	rig_run();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_true(rig.totals.timed_out);
	assert_false(rig.totals.stopped);
	assert_in_range(rig.visits, 1, 200);
	assert_int_equal(rig.totals.entries, rig.visits);
	assert_true(buf_len(&rig.out) > 0);
	assert_in_range(clock_mono_ms() - start, 90, 2000);
}

/* One visit that never ends by itself. */
static int endless(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	(void)arg, (void)e, (void)out;
	atomic_fetch_add(&rig.visits, 1);
	while (!walk_stopped(w))
		usleep(100);
	return 0;
}

static void a_long_visit_learns_of_the_timeout(void **state)
{
	(void)state;
	rig_file("f");
	rig_default();
	rig.spec.visitor.visit = endless;
	rig.spec.timeout_ms = 30;
	rig_run();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_int_equal(rig.visits, 1);
}

static int no_memory_at_30(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	return rig_list(arg, w, e, out) < 0 || rig.visits >= 30 ? -1 : 0;
}

static void a_visitor_without_memory_ends_the_walk_with_an_error(void **state)
{
	(void)state;
	plant(10, 50);
	rig_default();
	rig.spec.visitor.visit = no_memory_at_30;
	rig_run();
	assert_int_equal(rig.end, WALK_FAILED);
	assert_ptr_equal(rig.error.kind, &ERR_UNAVAILABLE);
}

/* ---- freeing ---- */

static void free_at_once(void *arg)
{
	(void)arg;
	rig.told++;
	walk_free(rig.w, rig_on_freed, &rig);
	rig.w = NULL;
	loop_stop(rig.loop);
}

static bool wait_freed(void)
{
	for (int i = 0; !rig.freed && i < 2000; i++)
		linger(5);
	return rig.freed;
}

static void is_freed_from_inside_its_callback(void **state)
{
	(void)state;
	plant(50, 50);
	limit_values[LIMIT_FS_SLICE_MS] = 0; /* so that others run meanwhile */
	for (size_t i = 0; i < 20; i++) {
		rig_threads(1 + i % 4);
		rig_default();
		rig.spec.on_output = free_at_once;
		rig_start();
		assert_int_equal(loop_run(rig.loop), 0);
		assert_true(wait_freed());
		assert_int_equal(rig.times_freed, 1);
		assert_int_equal(rig.told, 1);
		assert_int_equal(rig.enters, rig.leaves);
	}
}

static void is_freed_at_any_time(void **state)
{
	(void)state;
	plant(30, 50);
	rig_threads(3);
	for (size_t i = 0; i < 40; i++) {
		size_t told;

		limit_values[LIMIT_FS_SLICE_MS] = (int64_t)(i % 2);
		limit_values[LIMIT_FS_WALK_BYTES] = i % 3 == 0 ? 1000 : 4194304;
		rig_default();
		rig.spec.on_output = only_count;
		rig_start();
		if (i % 4 != 0)
			usleep((unsigned int)(i * 100));
		if (i % 4 == 2)
			linger(1);
		told = rig.told;
		walk_free(rig.w, rig_on_freed, &rig);
		assert_true(wait_freed());
		assert_int_equal(rig.times_freed, 1);
		assert_int_equal(rig.told, told);
		assert_int_equal(rig.enters, rig.leaves);
	}
	walk_free(NULL, rig_on_freed, &rig);
	assert_int_equal(rig.times_freed, 2);
}

static void freeing_waits_for_the_visits_and_tells_them(void **state)
{
	(void)state;
	plant(4, 4);
	rig_default();
	rig.spec.visitor.visit = endless;
	rig_start();
	while (rig.visits == 0)
		linger(1);
	walk_free(rig.w, rig_on_freed, &rig);
	assert_int_equal(rig.times_freed, 0);
	assert_true(wait_freed());
}

static void a_paused_walk_is_freed_at_once(void **state)
{
	(void)state;
	plant(20, 100);
	limit_values[LIMIT_FS_WALK_BYTES] = 1000;
	rig_default();
	rig.spec.on_output = only_count;
	rig_start();
	linger(100);
	walk_free(rig.w, rig_on_freed, &rig);
	assert_int_equal(rig.times_freed, 1);
	assert_int_equal(rig.enters, rig.leaves);
}

/* ---- the pool ---- */

static void the_end_of_the_pool_is_the_end_of_the_walk(void **state)
{
	(void)state;
	plant(4, 4);
	rig_default();
	rig.spec.visitor.visit = endless;
	rig_start();
	while (rig.visits == 0)
		usleep(100);
	work_pool_free(rig.pool);
	rig.pool = NULL;
	assert_null(rig.w); /* it was told, and the rig has freed it */
	assert_int_equal(rig.end, WALK_FAILED);
	assert_ptr_equal(rig.error.kind, &ERR_UNAVAILABLE);
}

static void hold_run(struct work *w)
{
	(void)w;
	while (!rig.freed)
		usleep(100);
}

static void hold_done(struct work *w)
{
	(void)w;
}

static void a_full_queue_refuses_a_walk(void **state)
{
	struct work jobs[17];
	struct err e = {0};
	size_t i;

	(void)state;
	limit_values[LIMIT_WORK_QUEUE] = 16;
	rig_threads(1);
	rig_default();
	for (i = 0; i < 17; i++) {
		jobs[i] = (struct work){.run = hold_run, .done = hold_done};
		if (work_submit(rig.pool, &jobs[i], &e) < 0)
			break;
		usleep(i == 0 ? 50000 : 0); /* the first is taken by the thread */
	}
	assert_in_range(i, 16, 17);
	e = (struct err){0};
	assert_null(walk_new(&rig.spec, rig.loop, rig.pool, &e));
	assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
	atomic_store(&rig.freed, true);
	work_pool_free(rig.pool);
	rig.pool = NULL;
}

/* ---- a tree that changes ---- */

static atomic_bool churning;

static void *churn(void *arg)
{
	uint32_t x = 7;

	(void)arg;
	while (churning) {
		char a[PATH_MAX], b[64];

		x = x * 1664525 + 1013904223;
		snprintf(b, sizeof(b), "d%03u/new%u", (x >> 8) % 20, (x >> 20) % 8);
		snprintf(a, sizeof(a), "%s", rig_path(b));
		if (x >> 30 == 0)
			mknod(a, S_IFREG | 0644, 0);
		else if (x >> 30 == 1)
			mkdir(a, 0755);
		else if (unlink(a) < 0)
			rmdir(a);
		snprintf(b, sizeof(b), "d%03u", (x >> 8) % 20);
		if ((x & 0xfff00) == 0) { /* a whole directory goes away and comes back */
			snprintf(a, sizeof(a), "%s", rig_path(b));
			rename(a, rig_path("away"));
			if (symlink("/etc", a) == 0)
				unlink(a);
			rename(rig_path("away"), a);
		}
	}
	return NULL;
}

static int list_churned(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	struct fs_stat st;

	(void)arg, (void)w;
	RIG_WRONG(strcmp(e->path + e->name, "passwd") == 0);
	atomic_fetch_add(&rig.visits, 1);
	return walk_stat(e, &st) ? buf_add_str(out, e->path + e->name) : 0;
}

static void a_tree_that_changes_meanwhile_does_no_harm(void **state)
{
	pthread_t thread;

	(void)state;
	plant(20, 30);
	churning = true;
	assert_int_equal(pthread_create(&thread, NULL, churn, NULL), 0);
	for (size_t i = 0; i < 60; i++) {
		rig_threads(1 + i % 4);
		limit_values[LIMIT_FS_SLICE_MS] = (int64_t)(i % 3);
		rig_default();
		rig.spec.visitor = (struct walk_visitor){.visit = list_churned, .leave = rig_leave};
		rig_run();
		assert_int_equal(rig.end, WALK_ENDED);
		assert_int_equal(rig.totals.unreadable, 0);
		assert_in_range(rig.visits, 20, 20 + 20 * 39 + 1);
	}
	churning = false;
	pthread_join(thread, NULL);
}

/* The visitor takes the directory away before the walk opens it. */
static int remove_it(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	const char *name = e->path + e->name;

	if (strcmp(name, "gone") == 0)
		RIG_WRONG(unlinkat(e->dir, name, AT_REMOVEDIR) < 0);
	if (strcmp(name, "file-now") == 0)
		RIG_WRONG(unlinkat(e->dir, name, AT_REMOVEDIR) < 0 ||
			  mknodat(e->dir, name, S_IFREG | 0644, 0) < 0);
	if (strcmp(name, "link-now") == 0)
		RIG_WRONG(unlinkat(e->dir, name, AT_REMOVEDIR) < 0 ||
			  symlinkat("/etc", e->dir, name) < 0);
	return rig_list(arg, w, e, out);
}

static void a_directory_that_vanishes_is_no_error(void **state)
{
	(void)state;
	rig_mkdir("a");
	rig_file("a/f");
	rig_mkdir("file-now");
	rig_mkdir("gone");
	rig_mkdir("link-now");
	rig_mkdir("z");
	rig_file("z/f");
	rig_default();
	rig.spec.visitor.visit = remove_it;
	rig_run();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_string_equal(rig_listed(), "1a,0a/f,1file-now,1gone,1link-now,1z,0z/f,");
	assert_int_equal(rig.totals.unreadable, 0);
}

/* ---- filesystems and memory ---- */

static void asks_for_the_type_where_the_filesystem_does_not_say_it(void **state)
{
	struct buf expected = {0};

	(void)state;
	plant(3, 3);
	assert_int_equal(symlink("d001", rig_path("link")), 0);
	assert_int_equal(mkfifo(rig_path("fifo"), 0600), 0);
	grow_expected(&expected);
	types_unknown = true;
	rig_default();
	rig_run();
	types_unknown = false;
	rig_assert_output(&expected);
	buf_fini(&expected);
}

static void survives_every_allocation_that_fails(void **state)
{
	struct buf expected = {0};
	size_t failed = 0, ended = 0;
	struct err e;
	char name[32];

	(void)state;
	plant(6, 20);
	for (size_t i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "many%03zu", i);
		rig_file(name);
	}
	grow_expected(&expected);
	for (long at = 0; at < 400; at++) {
		rig_threads(1 + (size_t)at % 2);
		limit_values[LIMIT_FS_SLICE_MS] = at % 3 == 0 ? 0 : 5;
		rig_default();
		rig.spec.visitor.enter = NULL; /* the rig's own memory may not fail */
		rig.spec.visitor.leave = NULL;
		oom_for_good = at % 5 == 0;
		assert_non_null(buf_reserve(&rig.out, 65536));
		e = (struct err){0};
		oom_at = at;
		rig.w = walk_new(&rig.spec, rig.loop, rig.pool, &e);
		if (rig.w == NULL) {
			oom_at = -1;
			assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
			failed++;
			continue;
		}
		assert_int_equal(loop_run(rig.loop), 0);
		oom_at = -1;
		if (rig.end == WALK_ENDED)
			rig_assert_output(&expected);
		else
			assert_ptr_equal(rig.error.kind, &ERR_UNAVAILABLE);
		failed += rig.end == WALK_FAILED;
		ended += rig.end == WALK_ENDED;
	}
	assert_true(failed >= 20 && ended >= 20);
	buf_fini(&expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG(a_client_that_does_not_take_pauses_the_walk),
		RIG(results_behind_the_first_do_not_stop_it),
		RIG(output_is_told_of_once_until_it_is_taken),
		RIG(pieces_end_where_a_visit_ended_unless_one_is_longer),
		RIG(a_visit_may_make_more_than_there_is_room_for),
		RIG(slow_visits_of_one_directory_are_shared),
		RIG(a_short_job_waits_for_one_slice_at_most),
		RIG(a_large_directory_is_visited_in_batches),
		RIG(a_visitor_that_has_enough_stops_the_walk),
		RIG(a_walk_that_takes_too_long_ends_with_what_it_has),
		RIG(a_long_visit_learns_of_the_timeout),
		RIG(a_visitor_without_memory_ends_the_walk_with_an_error),
		RIG(is_freed_from_inside_its_callback),
		RIG(is_freed_at_any_time),
		RIG(freeing_waits_for_the_visits_and_tells_them),
		RIG(a_paused_walk_is_freed_at_once),
		RIG(the_end_of_the_pool_is_the_end_of_the_walk),
		RIG(a_full_queue_refuses_a_walk),
		RIG(a_tree_that_changes_meanwhile_does_no_harm),
		RIG(a_directory_that_vanishes_is_no_error),
		RIG(asks_for_the_type_where_the_filesystem_does_not_say_it),
		RIG(survives_every_allocation_that_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
