/* The disk pool: every job is done exactly once, on the loop, whatever happens in between. */
#include "boxd/work.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "boxd/limits.h"
#include "os_helpers.h"

struct bench {
	struct loop *loop;
	struct work_pool *pool;
	size_t expected, done;
	sem_t begun, go; /* for jobs that hold their thread */
};

struct job {
	struct work work; /* first */
	struct bench *bench;
	uint64_t in, out;
	bool ran;
	bool saw_cancel;
	bool signals_blocked;
	pthread_t thread;
};

static struct bench bench;

static int bench_setup(void **state)
{
	struct err e = {0};

	memset(&bench, 0, sizeof(bench));
	bench.loop = loop_new(&e);
	assert_non_null(bench.loop);
	bench.pool = work_pool_new(bench.loop, &e);
	assert_non_null(bench.pool);
	sem_init(&bench.begun, 0, 0);
	sem_init(&bench.go, 0, 0);
	*state = &bench;
	return 0;
}

static int bench_teardown(void **state)
{
	(void)state;
	work_pool_free(bench.pool);
	loop_free(bench.loop);
	sem_destroy(&bench.begun);
	sem_destroy(&bench.go);
	return 0;
}

static struct job *job_of(struct work *w)
{
	return (struct job *)w;
}

static void job_done(struct work *w)
{
	struct job *j = job_of(w);

	assert_true(loop_on_thread(j->bench->loop));
	j->bench->done++;
	if (j->bench->done == j->bench->expected)
		loop_stop(j->bench->loop);
}

static void job_done_and_freed(struct work *w)
{
	struct job *j = job_of(w);

	assert_true(j->ran);
	assert_int_equal(j->out, j->in * 2);
	job_done(w);
	test_free(j);
}

static void job_run(struct work *w)
{
	struct job *j = job_of(w);
	sigset_t set;

	pthread_sigmask(SIG_SETMASK, NULL, &set);
	j->signals_blocked = sigismember(&set, SIGCHLD) == 1 && sigismember(&set, SIGTERM) == 1;
	j->thread = pthread_self();
	j->out = j->in * 2;
	j->ran = true;
}

static void job_hold(struct work *w)
{
	struct job *j = job_of(w);

	j->ran = true;
	sem_post(&j->bench->begun);
	while (sem_wait(&j->bench->go) < 0)
		;
	j->saw_cancel = atomic_load(&w->cancelled);
}

/* Works until it is told to stop. */
static void job_long(struct work *w)
{
	struct job *j = job_of(w);

	j->ran = true;
	sem_post(&j->bench->begun);
	while (!atomic_load(&w->cancelled))
		usleep(100);
	j->saw_cancel = true;
}

static void job_init(struct job *j, void (*run)(struct work *w))
{
	*j = (struct job){.work = {.run = run, .done = job_done}, .bench = &bench};
}

static void submit(struct job *j)
{
	struct err e = {0};

	assert_int_equal(work_submit(bench.pool, &j->work, &e), 0);
}

/* Jobs that hold every thread; returns when all of them have begun. */
static size_t hold_all(struct job *jobs, void (*run)(struct work *w))
{
	size_t n = limit_size(LIMIT_WORK_THREADS);
	size_t i;

	for (i = 0; i < n; i++) {
		job_init(&jobs[i], run);
		submit(&jobs[i]);
	}
	for (i = 0; i < n; i++)
		sem_wait(&bench.begun);
	return n;
}

static void release_all(size_t n)
{
	while (n-- > 0)
		sem_post(&bench.go);
}

static size_t count_threads(void)
{
	char threads[32];

	test_status(getpid(), "Threads", threads, sizeof(threads));
	return (size_t)atoi(threads);
}

static void thousands_of_jobs_are_done_once_on_the_loop(void **state)
{
	struct err e = {0};
	size_t i;

	(void)state;
	bench.expected = 4000;
	for (i = 0; i < bench.expected; i++) {
		struct job *j = test_malloc(sizeof(*j));

		job_init(j, job_run);
		j->work.done = job_done_and_freed;
		j->in = i;
		assert_int_equal(work_submit(bench.pool, &j->work, &e), 0);
	}
	assert_int_equal(loop_run(bench.loop), 0);
	assert_int_equal(bench.done, 4000);
}

/* A done() that submits the next, as a long listing does. */
static void job_chain(struct work *w)
{
	struct job *j = job_of(w);

	if (++bench.done < bench.expected)
		submit(j);
	else
		loop_stop(bench.loop);
}

static void a_job_is_submitted_again_from_its_done(void **state)
{
	struct job jobs[4];
	size_t i;

	(void)state;
	bench.expected = 2000;
	for (i = 0; i < 4; i++) {
		job_init(&jobs[i], job_run);
		jobs[i].work.done = job_chain;
		submit(&jobs[i]);
	}
	assert_int_equal(loop_run(bench.loop), 0);
	work_pool_free(bench.pool); /* the other three are in flight */
	bench.pool = NULL;
	assert_in_range(bench.done, 2000, 2003);
}

static void threads_start_with_work_and_stay_within_the_limit(void **state)
{
	struct job held[64];
	struct job extra[20];
	size_t before = count_threads();
	size_t n, i;

	(void)state;
	n = hold_all(held, job_hold);
	for (i = 0; i < 20; i++) {
		job_init(&extra[i], job_run);
		submit(&extra[i]);
	}
	assert_int_equal(count_threads(), before + n);
	bench.expected = n + 20;
	release_all(n);
	assert_int_equal(loop_run(bench.loop), 0);
	for (i = 0; i < 20; i++)
		assert_true(extra[i].ran);
	assert_int_equal(count_threads(), before + n);
}

static void a_pool_without_jobs_has_no_thread(void **state)
{
	struct err e = {0};
	size_t before = count_threads();
	struct work_pool *idle = work_pool_new(bench.loop, &e);

	(void)state;
	assert_non_null(idle);
	assert_int_equal(count_threads(), before);
	work_pool_free(idle);
}

static void a_job_runs_on_another_thread_with_all_signals_blocked(void **state)
{
	struct job one;

	(void)state;
	bench.expected = 1;
	job_init(&one, job_run);
	submit(&one);
	assert_int_equal(loop_run(bench.loop), 0);
	assert_false(pthread_equal(one.thread, pthread_self()));
	assert_true(one.signals_blocked);
}

static void a_cancelled_job_that_waits_is_not_run(void **state)
{
	struct job held[64];
	struct job waiting[2];
	size_t n;

	(void)state;
	n = hold_all(held, job_hold);
	job_init(&waiting[0], job_run);
	job_init(&waiting[1], job_run);
	submit(&waiting[0]);
	submit(&waiting[1]);
	work_cancel(&waiting[0].work);
	bench.expected = n + 2;
	release_all(n);
	assert_int_equal(loop_run(bench.loop), 0);
	assert_false(waiting[0].ran);
	assert_true(waiting[1].ran);
	assert_false(held[0].saw_cancel);
}

static void a_cancelled_job_that_runs_is_told(void **state)
{
	struct job held[64];
	size_t n, i;

	(void)state;
	n = hold_all(held, job_long);
	bench.expected = n;
	for (i = 0; i < n; i++)
		work_cancel(&held[i].work);
	assert_int_equal(loop_run(bench.loop), 0);
	for (i = 0; i < n; i++)
		assert_true(held[i].saw_cancel);
}

static void the_queue_is_bounded_and_a_refused_job_stays_the_callers(void **state)
{
	struct err e = {0};
	struct job held[64];
	struct job waiting[17];
	int64_t usual = limit(LIMIT_WORK_QUEUE);
	size_t n, i;

	(void)state;
	assert_true(limit_set(LIMIT_WORK_QUEUE, 16));
	n = hold_all(held, job_hold);
	for (i = 0; i < 16; i++) {
		job_init(&waiting[i], job_run);
		submit(&waiting[i]);
	}
	job_init(&waiting[16], job_run);
	assert_int_equal(work_submit(bench.pool, &waiting[16].work, &e), -1);
	assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
	bench.expected = n + 16;
	release_all(n);
	assert_int_equal(loop_run(bench.loop), 0);
	assert_false(waiting[16].ran);
	assert_int_equal(bench.done, n + 16);
	assert_true(limit_set(LIMIT_WORK_QUEUE, usual));
}

/* done() of a pool that ends: nothing may be added any more. */
static void job_refused(struct work *w)
{
	struct err e = {0};

	assert_true(atomic_load(&w->cancelled));
	assert_int_equal(work_submit(bench.pool, w, &e), -1);
	assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
	bench.done++;
}

static void freeing_the_pool_ends_what_runs_and_skips_what_waits(void **state)
{
	struct job held[64];
	struct job waiting[10];
	size_t n, i;

	(void)state;
	n = hold_all(held, job_long);
	for (i = 0; i < 10; i++) {
		job_init(&waiting[i], job_run);
		waiting[i].work.done = job_refused;
		submit(&waiting[i]);
	}
	work_pool_free(bench.pool);
	bench.pool = NULL;
	assert_int_equal(bench.done, n + 10);
	for (i = 0; i < 10; i++)
		assert_false(waiting[i].ran);
	work_pool_free(NULL);
}

static void a_pool_leaves_no_descriptor(void **state)
{
	struct err e = {0};
	struct loop *l = loop_new(&e);
	size_t before;
	int i;

	(void)state;
	assert_non_null(l);
	before = test_fds(0, NULL, 0);
	for (i = 0; i < 5; i++)
		work_pool_free(work_pool_new(l, &e));
	assert_int_equal(test_fds(0, NULL, 0), before);
	loop_free(l);
}

/* ---- bulk jobs ---- */

static void submit_bulk(struct job *j)
{
	struct err e = {0};

	assert_int_equal(work_submit_bulk(bench.pool, &j->work, &e), 0);
}

static void submit_transfer(struct job *j)
{
	struct err e = {0};

	assert_int_equal(work_submit_transfer(bench.pool, &j->work, &e), 0);
}

static void pool_of(size_t threads)
{
	struct err e = {0};

	work_pool_free(bench.pool);
	assert_true(limit_set(LIMIT_WORK_THREADS, (int64_t)threads));
	bench.pool = work_pool_new(bench.loop, &e);
	assert_true(limit_set(LIMIT_WORK_THREADS, limit_rows[LIMIT_WORK_THREADS].def));
	assert_non_null(bench.pool);
	assert_int_equal(work_parallel(bench.pool), (threads + 1) / 2);
}

/* The order in which jobs began: n for short ones, b for bulk, t for transfers. */
static char order[256];
static atomic_size_t ordered;

static void job_note(struct work *w)
{
	order[atomic_fetch_add(&ordered, 1)] = (char)job_of(w)->in;
	job_run(w);
}

/* Submits what is in `kinds`, in that order, while so many threads are held: all of them then. */
static const char *order_of(const char *kinds, size_t threads)
{
	static struct job jobs[128];
	struct job held[2];
	size_t n = strlen(kinds);

	memset(order, 0, sizeof(order));
	ordered = 0;
	bench.done = 0;
	bench.expected = n + threads;
	for (size_t i = 0; i < threads; i++) {
		job_init(&held[i], job_hold);
		submit(&held[i]);
		sem_wait(&bench.begun);
	}
	for (size_t i = 0; i < n; i++) {
		job_init(&jobs[i], job_note);
		jobs[i].in = (uint8_t)kinds[i];
		if (kinds[i] == 'b')
			submit_bulk(&jobs[i]);
		else if (kinds[i] == 't')
			submit_transfer(&jobs[i]);
		else
			submit(&jobs[i]);
	}
	release_all(threads);
	assert_int_equal(loop_run(bench.loop), 0);
	return order;
}

static void a_bulk_job_goes_after_the_others_but_is_not_passed_over(void **state)
{
	static const struct {
		const char *submitted, *order;
	} rows[] = {
		{"b", "b"},
		{"bbb", "bbb"},
		{"bn", "nb"},
		{"bbnn", "nnbb"},
		{"nnnnnnnnb", "nnnnnnnnb"},
		{"bnnnnnnnnn", "nnnnnnnnbn"},
		{"bbnnnnnnnnnnnnnnnnnnn", "nnnnnnnnbnnnnnnnnbnnn"},
		{"ttnnnnnnnnnnnnnnnnnnn", "nnnnnnnntnnnnnnnntnnn"},
	};

	(void)state;
	pool_of(1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(order_of(rows[i].submitted, 1), rows[i].order);
}

static sem_t long_go;

static void job_hold_long(struct work *w)
{
	(void)w;
	sem_post(&bench.begun);
	while (sem_wait(&long_go) < 0)
		;
}

static void a_bulk_job_does_not_take_the_last_thread_from_jobs_that_wait(void **state)
{
	static const struct {
		bool bulk_runs; /* on the thread that is held meanwhile */
		const char *order;
	} rows[] = {
		{true, "nnnnnnnnnnnnnnnnnnnnb"},
		{false, "nnnnnnnnbnnnnnnnnnnnn"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct job other;

		pool_of(2);
		order_of("bbb", 0); /* what has run does not count any more */
		sem_init(&long_go, 0, 0);
		job_init(&other, job_hold_long);
		if (rows[i].bulk_runs)
			submit_bulk(&other);
		else
			submit(&other);
		sem_wait(&bench.begun);
		assert_string_equal(order_of("bnnnnnnnnnnnnnnnnnnnn", 1), rows[i].order);
		bench.done = 0;
		bench.expected = 1;
		sem_post(&long_go);
		assert_int_equal(loop_run(bench.loop), 0);
		sem_destroy(&long_go);
	}
}

static void bulk_jobs_and_transfers_take_turns(void **state)
{
	static const struct {
		const char *submitted, *order;
	} rows[] = {
		{"tttbbb", "btbtbt"},
		{"bbbttt", "btbtbt"},
		{"ttbbbb", "btbtbb"},
		{"ttttb", "btttt"},
		{"tn", "nt"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pool_of(1);
		assert_string_equal(order_of(rows[i].submitted, 1), rows[i].order);
	}
}

static void transfers_leave_half_of_the_threads_to_others(void **state)
{
	static const struct {
		size_t threads, at_once;
	} rows[] = {{2, 1}, {3, 2}, {4, 2}};
	struct job held[4], other;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pool_of(rows[i].threads);
		bench.done = 0;
		for (size_t k = 0; k < 4; k++) {
			job_init(&held[k], job_hold);
			submit_transfer(&held[k]);
		}
		for (size_t k = 0; k < rows[i].at_once; k++)
			sem_wait(&bench.begun);
		/* A search comes through beside them, and no third transfer has begun by then. */
		job_init(&other, job_run);
		submit_bulk(&other);
		bench.expected = 1;
		assert_int_equal(loop_run(bench.loop), 0);
		assert_true(other.ran);
		assert_int_equal(sem_trywait(&bench.begun), -1);
		bench.done = 0;
		bench.expected = 4;
		release_all(4);
		assert_int_equal(loop_run(bench.loop), 0);
		while (sem_trywait(&bench.begun) == 0)
			continue;
	}
}

static void job_asks(struct work *w)
{
	struct job *j = job_of(w);

	sem_post(&j->bench->begun);
	while (sem_wait(&j->bench->go) < 0)
		;
	j->out = work_others_wait(bench.pool);
}

static void a_slice_learns_whether_others_wait(void **state)
{
	struct job asks[2];

	(void)state;
	pool_of(1);
	bench.done = 0;
	bench.expected = 2;
	for (size_t i = 0; i < 2; i++) {
		job_init(&asks[i], job_asks);
		submit_bulk(&asks[i]);
	}
	release_all(2);
	assert_int_equal(loop_run(bench.loop), 0);
	assert_int_equal(asks[0].out, true);
	assert_int_equal(asks[1].out, false);
	while (sem_trywait(&bench.begun) == 0)
		continue;
}

static void bulk_jobs_use_every_thread_that_nobody_else_wants(void **state)
{
	struct job held[3];

	(void)state;
	pool_of(3);
	bench.expected = 3;
	for (size_t i = 0; i < 3; i++) {
		job_init(&held[i], job_hold);
		submit_bulk(&held[i]);
	}
	for (size_t i = 0; i < 3; i++)
		sem_wait(&bench.begun);
	release_all(3);
	assert_int_equal(loop_run(bench.loop), 0);
}

static void both_queues_count_for_the_bound(void **state)
{
	struct err e = {0};
	struct job held, waiting[17];

	(void)state;
	pool_of(1);
	assert_true(limit_set(LIMIT_WORK_QUEUE, 16));
	job_init(&held, job_hold);
	submit(&held);
	sem_wait(&bench.begun);
	for (size_t i = 0; i < 16; i++) {
		job_init(&waiting[i], job_run);
		if (i % 2 == 0)
			submit(&waiting[i]);
		else
			submit_bulk(&waiting[i]);
	}
	job_init(&waiting[16], job_run);
	assert_int_equal(work_submit_bulk(bench.pool, &waiting[16].work, &e), -1);
	assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
	e = (struct err){0};
	assert_int_equal(work_submit(bench.pool, &waiting[16].work, &e), -1);
	bench.expected = 17;
	release_all(1);
	assert_int_equal(loop_run(bench.loop), 0);
	assert_false(waiting[16].ran);
	assert_true(limit_set(LIMIT_WORK_QUEUE, limit_rows[LIMIT_WORK_QUEUE].def));
}

static void freeing_the_pool_skips_bulk_jobs_that_wait_and_ends_those_that_run(void **state)
{
	struct job running[2], waiting[10];

	(void)state;
	pool_of(2);
	for (size_t i = 0; i < 2; i++) {
		job_init(&running[i], job_long);
		submit_bulk(&running[i]);
		sem_wait(&bench.begun);
	}
	for (size_t i = 0; i < 10; i++) {
		job_init(&waiting[i], job_run);
		waiting[i].work.done = job_refused;
		submit_bulk(&waiting[i]);
	}
	work_pool_free(bench.pool);
	bench.pool = NULL;
	assert_int_equal(bench.done, 12);
	for (size_t i = 0; i < 10; i++)
		assert_false(waiting[i].ran);
	assert_true(running[0].saw_cancel && running[1].saw_cancel);
}

/* A done() that submits the next slice. */
static void job_chain_bulk(struct work *w)
{
	if (++bench.done < bench.expected)
		submit_bulk(job_of(w));
	else
		loop_stop(bench.loop);
}

static void a_bulk_job_is_submitted_again_from_its_done(void **state)
{
	struct job job;

	(void)state;
	bench.expected = 1000;
	job_init(&job, job_run);
	job.work.done = job_chain_bulk;
	submit_bulk(&job);
	assert_int_equal(loop_run(bench.loop), 0);
	assert_int_equal(bench.done, 1000);
}

static void job_nice(struct work *w)
{
	job_of(w)->out = (uint64_t)(getpriority(PRIO_PROCESS, 0) + 100);
}

static void threads_take_the_nice_value_that_they_are_given(void **state)
{
	int own = getpriority(PRIO_PROCESS, 0);
	struct job job;

	(void)state;
	bench.expected = 1;
	job_init(&job, job_nice);
	submit(&job);
	assert_int_equal(loop_run(bench.loop), 0);
	assert_int_equal(job.out, own + 100);

	pool_of(1);
	work_pool_set_nice(bench.pool, own + 3);
	bench.done = 0;
	job_init(&job, job_nice);
	submit(&job);
	assert_int_equal(loop_run(bench.loop), 0);
	assert_int_equal(job.out, own + 103);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
}

int main(void)
{
#define BENCH(t) cmocka_unit_test_setup_teardown(t, bench_setup, bench_teardown)
	const struct CMUnitTest tests[] = {
		BENCH(thousands_of_jobs_are_done_once_on_the_loop),
		BENCH(a_job_is_submitted_again_from_its_done),
		BENCH(threads_start_with_work_and_stay_within_the_limit),
		BENCH(a_pool_without_jobs_has_no_thread),
		BENCH(a_job_runs_on_another_thread_with_all_signals_blocked),
		BENCH(a_cancelled_job_that_waits_is_not_run),
		BENCH(a_cancelled_job_that_runs_is_told),
		BENCH(the_queue_is_bounded_and_a_refused_job_stays_the_callers),
		BENCH(freeing_the_pool_ends_what_runs_and_skips_what_waits),
		BENCH(a_bulk_job_goes_after_the_others_but_is_not_passed_over),
		BENCH(a_bulk_job_does_not_take_the_last_thread_from_jobs_that_wait),
		BENCH(bulk_jobs_and_transfers_take_turns),
		BENCH(transfers_leave_half_of_the_threads_to_others),
		BENCH(a_slice_learns_whether_others_wait),
		BENCH(bulk_jobs_use_every_thread_that_nobody_else_wants),
		BENCH(both_queues_count_for_the_bound),
		BENCH(freeing_the_pool_skips_bulk_jobs_that_wait_and_ends_those_that_run),
		BENCH(a_bulk_job_is_submitted_again_from_its_done),
		BENCH(threads_take_the_nice_value_that_they_are_given),
		cmocka_unit_test(a_pool_leaves_no_descriptor),
	};
#undef BENCH

	return cmocka_run_group_tests(tests, NULL, NULL);
}
