/*
 * The one event loop and the thread that owns every object. Wraps libevent's event_base with what
 * all modules need: deferred calls, bulk work that does not delay others, signals, a scratch
 * buffer. Only the thread that made the loop calls these functions; another thread reaches it
 * through boxd/work.h alone.
 */
#ifndef BOXD_LOOP_H
#define BOXD_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "boxd/err.h"

struct event;
struct event_base;
struct loop;

/*
 * NULL with e set when the kernel refuses what the loop needs. Ignores SIGPIPE for the process: who
 * writes to a closed pipe or socket gets EPIPE.
 */
struct loop *loop_new(struct err *e) __attribute__((warn_unused_result, nonnull));
/*
 * Runs what is still deferred (bulk calls are dropped), takes the signal handlers away, then
 * releases. NULL is fine. Events of other modules must be gone by then.
 */
void loop_free(struct loop *l);

struct event_base *loop_base(struct loop *l);

/*
 * Runs until loop_stop(), or until there is no event and no call left that could ever happen.
 * Returns 0, or -1 when libevent gave up.
 */
int loop_run(struct loop *l) __attribute__((warn_unused_result, nonnull));
/* Leaves loop_run() after this turn. Any callback may call it. */
void loop_stop(struct loop *l) __attribute__((nonnull));

/* In debug builds and tests: is this the thread that made the loop? */
bool loop_on_thread(const struct loop *l);

/*
 * A call that happens after the event callbacks of this turn, before the loop sleeps. Embedded in
 * the object it concerns; scheduling one that is already scheduled does nothing. This is how an
 * object is freed that may not be freed inside its own callback, and how work done many times in a
 * turn is done once.
 */
struct loop_deferred {
	TAILQ_ENTRY(loop_deferred) link;
	void (*fn)(void *arg); /* set once by loop_deferred_init() */
	void *arg;
	bool queued;
	bool bulk; /* which of the two queues it is in */
};

void loop_deferred_init(struct loop_deferred *d, void (*fn)(void *arg), void *arg)
	__attribute__((nonnull(1, 2)));
/* One that is scheduled during the deferred phase runs in the next turn: no endless turn. */
void loop_defer(struct loop *l, struct loop_deferred *d) __attribute__((nonnull));
/*
 * The same for bulk work, a read of a flooding pipe for example: after the event callbacks and
 * before the other deferred calls, first come first served, a few milliseconds of it in one turn
 * and the rest in the next ones. However many there are, a request that arrives waits no longer
 * than that. Each call does one bounded piece and schedules itself again when there is more.
 */
void loop_defer_bulk(struct loop *l, struct loop_deferred *d) __attribute__((nonnull));
/* For either kind; one that is not scheduled is fine. */
void loop_defer_cancel(struct loop *l, struct loop_deferred *d) __attribute__((nonnull));

/*
 * Calls fn on the loop thread for each signal (blocked, and read from a signalfd(2)) until
 * loop_off_signal() or loop_free(). Unblocks the signal. -1 with e set.
 */
int loop_on_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg,
	struct err *e) __attribute__((warn_unused_result, nonnull(1, 3, 5)));
/* Takes back one loop_on_signal() with the same arguments; does nothing when there is none. */
void loop_off_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg)
	__attribute__((nonnull(1, 3)));

/*
 * Calls fn(arg) on the loop every period_ms until it is freed; the first time one period from now.
 * Timers of equal periods cost O(1) each, so every stream can have its own. NULL: out of memory.
 */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, int64_t period_ms, void (*fn)(void *arg),
	void *arg) __attribute__((warn_unused_result, nonnull(1, 3)));
/* Also from inside fn. NULL is fine. */
void loop_timer_free(struct loop_timer *t);

/* Adds a libevent timer that fires in ms; one that is pending is moved. */
void loop_arm(struct event *ev, int64_t ms) __attribute__((nonnull));

/*
 * A buffer for one read(2) at a time, of *n bytes. Its content is good until the callback returns
 * or calls into another module.
 */
uint8_t *loop_scratch(struct loop *l, size_t *n) __attribute__((nonnull));

#endif
