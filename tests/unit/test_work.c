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
		cmocka_unit_test(a_pool_leaves_no_descriptor),
	};
#undef BENCH

	return cmocka_run_group_tests(tests, NULL, NULL);
}
