/*
 * work: three queues into a few threads, a list back out.
 *
 * The pool's lock covers the lists and some counters, never a job. A finished job goes on the
 * list of the done; the thread that makes that list non-empty wakes the loop through an eventfd, so
 * a burst of small jobs costs one wake-up. All the loop does is swap the list and call done() for
 * each. The pool never looks into a job after done() was called for it.
 *
 * Slices of long work, searches and transfers, wait in queues of their own, behind the short jobs.
 * So that a stream of short jobs cannot hold a search for ever, one slice is let through after
 * every few of them, but never on the last thread that is free of slices. The two kinds take turns,
 * and transfers never have more than half of the threads: one that writes may stand still for as
 * long as the kernel wants when the disk is behind.
 */
#include "boxd/work.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "boxd/limits.h"

/* Jobs keep their buffers on the heap. */
#define WORK_STACK_BYTES (256 * 1024)
/* So many short jobs in a row are taken before a slice that waits. */
#define WORK_IN_A_ROW 8
/* A nice value that is none: a thread keeps its maker's. */
#define WORK_NICE_INHERITED INT_MAX

STAILQ_HEAD(work_list, work);

enum work_kind {
	WORK_SHORT,
	WORK_BULK,
	WORK_TRANSFER,
	WORK_KINDS,
	WORK_NONE = WORK_KINDS /* none that may run now */
};

struct work_thread {
	struct work_pool *pool;
	pthread_t id;
	int nice;
	struct work *job; /* that it runs now; under the pool's lock */
	enum work_kind kind;
};

struct work_pool {
	struct loop *loop;
	int wake_fd;
	struct event *wake;
	struct work_thread *threads;
	size_t max_threads;
	int nice; /* for threads that are started; loop thread only */

	pthread_mutex_t lock; /* for all below */
	pthread_cond_t more;
	size_t nthreads; /* changed by the loop thread only */
	struct work_list queues[WORK_KINDS];
	struct work_list finished;
	size_t waiting;             /* in all queues */
	size_t idle;                /* threads that wait for a job */
	size_t running[WORK_KINDS]; /* threads that are at one of that kind */
	enum work_kind last_slice;
	unsigned int in_a_row; /* short jobs taken while a slice waited */
	bool stopping;
};

static void work_wake(struct work_pool *p)
{
	uint64_t one = 1;
	ssize_t rc;

	do
		rc = write(p->wake_fd, &one, sizeof(one));
	while (rc < 0 && errno == EINTR);
	/* EAGAIN is a full counter: the loop is awake already. */
}

static size_t work_half(const struct work_pool *p)
{
	return (p->max_threads + 1) / 2;
}

/* May one of this kind run now? Those of a pool that ends are skipped, so then all may. */
static bool work_ready(const struct work_pool *p, enum work_kind kind)
{
	return !STAILQ_EMPTY(&p->queues[kind]) &&
	       (kind != WORK_TRANSFER || p->stopping || p->running[kind] < work_half(p));
}

/* Which of the slices is next. */
static enum work_kind work_next_slice(const struct work_pool *p)
{
	enum work_kind other = p->last_slice == WORK_BULK ? WORK_TRANSFER : WORK_BULK;

	if (work_ready(p, other))
		return other;
	return work_ready(p, p->last_slice) ? p->last_slice : WORK_NONE;
}

static enum work_kind work_choose(const struct work_pool *p)
{
	enum work_kind slice = work_next_slice(p);
	size_t slices = p->running[WORK_BULK] + p->running[WORK_TRANSFER];

	if (!work_ready(p, WORK_SHORT))
		return slice;
	if (slice != WORK_NONE && p->in_a_row >= WORK_IN_A_ROW &&
		(p->nthreads == 1 || slices + 1 < p->nthreads))
		return slice;
	return WORK_SHORT;
}

/* Next job, or NULL when the pool ends. The lock is held. */
static struct work *work_next(struct work_pool *p, enum work_kind *kind)
{
	struct work *w;

	p->idle++;
	while ((*kind = work_choose(p)) == WORK_NONE && !p->stopping)
		pthread_cond_wait(&p->more, &p->lock);
	p->idle--;
	if (*kind == WORK_NONE)
		return NULL;
	w = STAILQ_FIRST(&p->queues[*kind]);
	STAILQ_REMOVE_HEAD(&p->queues[*kind], link);
	p->waiting--;
	p->running[*kind]++;
	if (*kind != WORK_SHORT)
		p->last_slice = *kind;
	if (*kind != WORK_SHORT || work_next_slice(p) == WORK_NONE)
		p->in_a_row = 0;
	else if (p->in_a_row < WORK_IN_A_ROW)
		p->in_a_row++;
	return w;
}

static void *work_thread_main(void *arg)
{
	struct work_thread *t = arg;
	struct work_pool *p = t->pool;

	/* On Linux 0 is the calling thread. Back to where it came from is always allowed. */
	if (t->nice != WORK_NICE_INHERITED)
		setpriority(PRIO_PROCESS, 0, t->nice);
	pthread_mutex_lock(&p->lock);
	while ((t->job = work_next(p, &t->kind)) != NULL) {
		bool first;

		pthread_mutex_unlock(&p->lock);
		if (!atomic_load(&t->job->cancelled))
			t->job->run(t->job);
		pthread_mutex_lock(&p->lock);
		first = STAILQ_EMPTY(&p->finished);
		STAILQ_INSERT_TAIL(&p->finished, t->job, link);
		t->job = NULL;
		p->running[t->kind]--;
		if (first)
			work_wake(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Calls done() of what has finished so far. */
static void work_deliver(struct work_pool *p)
{
	struct work_list ready = STAILQ_HEAD_INITIALIZER(ready);
	struct work *w;

	pthread_mutex_lock(&p->lock);
	STAILQ_CONCAT(&ready, &p->finished);
	pthread_mutex_unlock(&p->lock);
	while ((w = STAILQ_FIRST(&ready)) != NULL) {
		STAILQ_REMOVE_HEAD(&ready, link);
		w->done(w);
	}
}

static void work_on_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;
	ssize_t rc;

	(void)what;
	/* Before the list is taken: a wake-up that comes later is then one too many, not lost. */
	rc = read(fd, &count, sizeof(count));
	(void)rc;
	work_deliver(arg);
}

/* Everything but the lock and the condition, which come first and cannot be half-made. */
static int work_pool_open(struct work_pool *p, struct err *e)
{
	p->threads = calloc(p->max_threads, sizeof(*p->threads));
	if (p->threads == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "work pool: out of memory");
	p->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (p->wake_fd < 0)
		return err_sys(e, &ERR_UNAVAILABLE, "work pool: eventfd");
	p->wake = event_new(loop_base(p->loop), p->wake_fd, EV_READ | EV_PERSIST, work_on_wake, p);
	if (p->wake == NULL || event_add(p->wake, NULL) < 0)
		return err_set(e, &ERR_UNAVAILABLE, "work pool: no event");
	return 0;
}

struct work_pool *work_pool_new(struct loop *l, struct err *e)
{
	struct work_pool *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "work pool: out of memory");
		return NULL;
	}
	p->loop = l;
	p->wake_fd = -1;
	p->max_threads = limit_size(LIMIT_WORK_THREADS);
	p->nice = WORK_NICE_INHERITED;
	for (int kind = 0; kind < WORK_KINDS; kind++)
		STAILQ_INIT(&p->queues[kind]);
	p->last_slice = WORK_TRANSFER;
	STAILQ_INIT(&p->finished);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->more, NULL);
	if (work_pool_open(p, e) < 0) {
		work_pool_free(p);
		return NULL;
	}
	return p;
}

void work_pool_free(struct work_pool *p)
{
	struct work *w;
	size_t i;

	if (p == NULL)
		return;
	assert(loop_on_thread(p->loop));
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	for (int kind = 0; kind < WORK_KINDS; kind++) {
		STAILQ_FOREACH(w, &p->queues[kind], link)
			work_cancel(w);
	}
	for (i = 0; i < p->nthreads; i++) {
		if (p->threads[i].job != NULL)
			work_cancel(p->threads[i].job);
	}
	pthread_cond_broadcast(&p->more);
	pthread_mutex_unlock(&p->lock);
	/* A thread leaves only when the queues are empty. */
	for (i = 0; i < p->nthreads; i++)
		pthread_join(p->threads[i].id, NULL);
	work_deliver(p);
	if (p->wake != NULL)
		event_free(p->wake);
	if (p->wake_fd >= 0)
		close(p->wake_fd);
	pthread_cond_destroy(&p->more);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	free(p);
}

/* Signals are the loop thread's: one that a worker took would interrupt its disk work. */
static int work_thread_start(struct work_pool *p)
{
	struct work_thread *t = &p->threads[p->nthreads];
	pthread_attr_t attr;
	sigset_t all, saved;
	int rc;

	rc = pthread_attr_init(&attr);
	if (rc != 0)
		return rc;
	t->pool = p;
	t->nice = p->nice;
	pthread_attr_setstacksize(&attr, WORK_STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	rc = pthread_create(&t->id, &attr, work_thread_main, t);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	pthread_attr_destroy(&attr);
	pthread_mutex_lock(&p->lock);
	p->nthreads += rc == 0;
	pthread_mutex_unlock(&p->lock);
	return rc;
}

static int work_enqueue(struct work_pool *p, enum work_kind kind, struct work *w, struct err *e)
{
	bool full, need_thread;
	int rc;

	assert(loop_on_thread(p->loop));
	assert(w->run != NULL && w->done != NULL);
	pthread_mutex_lock(&p->lock);
	full = p->stopping || p->waiting >= limit_size(LIMIT_WORK_QUEUE);
	need_thread = p->waiting >= p->idle && p->nthreads < p->max_threads;
	pthread_mutex_unlock(&p->lock);
	if (full)
		return err_set(e, &ERR_UNAVAILABLE, "too much disk work is waiting");
	if (need_thread && (rc = work_thread_start(p)) != 0 && p->nthreads == 0) {
		errno = rc;
		return err_sys(e, &ERR_UNAVAILABLE, "disk thread");
	}
	pthread_mutex_lock(&p->lock);
	STAILQ_INSERT_TAIL(&p->queues[kind], w, link);
	p->waiting++;
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

int work_submit(struct work_pool *p, struct work *w, struct err *e)
{
	return work_enqueue(p, WORK_SHORT, w, e);
}

int work_submit_bulk(struct work_pool *p, struct work *w, struct err *e)
{
	return work_enqueue(p, WORK_BULK, w, e);
}

int work_submit_transfer(struct work_pool *p, struct work *w, struct err *e)
{
	return work_enqueue(p, WORK_TRANSFER, w, e);
}

bool work_others_wait(struct work_pool *p)
{
	bool wait;

	pthread_mutex_lock(&p->lock);
	wait = p->waiting > 0 || p->stopping;
	pthread_mutex_unlock(&p->lock);
	return wait;
}

size_t work_parallel(const struct work_pool *p)
{
	return work_half(p);
}

void work_pool_set_nice(struct work_pool *p, int nice)
{
	assert(loop_on_thread(p->loop));
	p->nice = nice;
}

void work_cancel(struct work *w)
{
	atomic_store(&w->cancelled, true);
}
