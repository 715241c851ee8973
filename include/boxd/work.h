/*
 * Disk work off the loop. A job holds plain copies and descriptors, no pointers to live
 * objects; run() is called on a worker thread, done() later on the loop thread. Threads are started
 * with the first job, at most LIMIT_WORK_THREADS; all signals are blocked in them.
 */
#ifndef BOXD_WORK_H
#define BOXD_WORK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "boxd/err.h"
#include "boxd/loop.h"

struct work_pool;

struct work {
	STAILQ_ENTRY(work) link;
	void (*run)(struct work *w);  /* worker thread */
	void (*done)(struct work *w); /* loop thread, exactly once; may free or submit w again */
	atomic_bool
		cancelled; /* false at first; run() of a long job looks at it from time to time */
};

struct work_pool *work_pool_new(struct loop *l, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/*
 * Cancels all jobs, waits for those that run, calls done() of all that were submitted. NULL is
 * fine. A done() that submits another job is refused. Not from a done().
 */
void work_pool_free(struct work_pool *p);

/* -1 with ERR_UNAVAILABLE when LIMIT_WORK_QUEUE jobs wait or no thread can be made; the job is then
 * the caller's. */
int work_submit(struct work_pool *p, struct work *w, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * The same for one slice of long work, a search for example: it goes after every short job that
 * waits, but is not passed over for ever. A slice takes LIMIT_FS_SLICE_MS or so and is submitted
 * again when there is more, so a short job waits for one slice at most.
 */
int work_submit_bulk(struct work_pool *p, struct work *w, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/*
 * The same for a slice that moves much data to the disk and may have to wait for it: no more of
 * these run at a time than work_parallel(), so that the others go on.
 */
int work_submit_transfer(struct work_pool *p, struct work *w, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * From a run(): does any job wait for a thread? A slice whose time is over may go on while none
 * does.
 */
bool work_others_wait(struct work_pool *p) __attribute__((nonnull));

/*
 * Threads started from now on run at this nice value instead of their maker's. A daemon that raised
 * its own priority says here what it was: the loop shall not wait behind its disk work.
 */
void work_pool_set_nice(struct work_pool *p, int nice) __attribute__((nonnull));

/* How many slices of one long work are worth submitting: half of LIMIT_WORK_THREADS, at least 1. */
size_t work_parallel(const struct work_pool *p) __attribute__((nonnull));

/*
 * Asks: a job not begun is skipped (run() is not called), done() comes all the same, later and on
 * the loop thread. Not after done() was called.
 */
void work_cancel(struct work *w) __attribute__((nonnull));

#endif
