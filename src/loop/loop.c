/*
 * loop: turns of libevent, and what happens between them.
 *
 * One turn is: libevent polls once and runs the callbacks that are ready, then a slice of the bulk
 * calls, then the deferred calls. The turns are driven from here, with EVLOOP_ONCE, because that
 * gives the deferred phase a fixed place: no event callback can be on the stack, so an object may
 * be freed there.
 *
 * Fairness is made by the bulk queue. libevent's priorities are not used: a busy class starves the
 * ones below it without end, and EVLOOP_ONCE does not return while any class is waiting, so the
 * deferred frees would starve as well. Without priorities, a maximum dispatch interval changes
 * nothing: what became ready last still waits behind all that was ready before. With the bulk queue
 * a turn is every small callback once, plus at most LOOP_BULK_US of heavy work.
 *
 * Signals are blocked and read from a signalfd(2): no handler, hence no signal frame, no
 * interrupted system call and no byte sent to oneself for each child that ends. It works for PID 1
 * and for signals that were inherited ignored, too: a blocked signal is never thrown away.
 *
 * No epoll changelist: it goes wrong for descriptors that are closed and opened, or duplicated,
 * within one turn, and that is what starting a command does. No locks: one thread uses the base.
 * The cheap coarse clock: timers may be some milliseconds off, a precise one costs each turn a
 * system call.
 */
#include "boxd/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/clock.h"
#include "boxd/limits.h"

/* Bulk work per turn: some tens of pipe reads, and the bound of what it adds to a GET /ping. */
#define LOOP_BULK_US 2000

TAILQ_HEAD(loop_queue, loop_deferred);

struct loop_signal {
	LIST_ENTRY(loop_signal) link;
	int signo;
	bool due; /* its call belongs to the signal at hand */
	void (*fn)(int signo, void *arg);
	void *arg;
};

struct loop {
	struct event_base *base;
	pthread_t thread;
	bool stop;
	struct loop_queue deferred;
	struct loop_queue bulk;
	LIST_HEAD(, loop_signal) signals;
	struct event *signal_ev; /* NULL while there are no signals */
	int signal_fd;
	uint8_t *scratch;
	size_t scratch_len;
};

static struct event_base *loop_base_new(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base = NULL;

	if (cfg == NULL)
		return NULL;
	/* The environment is the image's: it must not choose the daemon's poll method. */
	if (event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) == 0)
		base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return base;
}

struct loop *loop_new(struct err *e)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "loop: out of memory");
		return NULL;
	}
	TAILQ_INIT(&l->deferred);
	TAILQ_INIT(&l->bulk);
	LIST_INIT(&l->signals);
	l->thread = pthread_self();
	l->signal_fd = -1;
	l->scratch_len = limit_size(LIMIT_PROC_READ_BYTES);
	l->scratch = malloc(l->scratch_len);
	l->base = loop_base_new();
	if (l->scratch == NULL || l->base == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "loop: cannot make an event base");
		loop_free(l);
		return NULL;
	}
	signal(SIGPIPE, SIG_IGN);
	return l;
}

/* Runs the calls that were in the queue at the start, until the deadline (0: none) is over. */
static void loop_run_queue(struct loop_queue *q, int64_t deadline_us)
{
	struct loop_deferred mark = {.queued = true};
	struct loop_deferred *d;

	if (TAILQ_EMPTY(q))
		return;
	/* A call may add to the queue, or cancel any other in it: the mark stays where it is. */
	TAILQ_INSERT_TAIL(q, &mark, link);
	while ((d = TAILQ_FIRST(q)) != &mark) {
		TAILQ_REMOVE(q, d, link);
		d->queued = false;
		d->fn(d->arg); /* may have freed d */
		if (deadline_us != 0 && clock_mono_us() >= deadline_us)
			break;
	}
	TAILQ_REMOVE(q, &mark, link);
}

/* The signals of the list are blocked and come through the descriptor. 0, or -1 with errno. */
static int loop_signals_update(struct loop *l)
{
	struct loop_signal *s;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	LIST_FOREACH(s, &l->signals, link)
		sigaddset(&set, s->signo);
	fd = signalfd(l->signal_fd, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -1;
	l->signal_fd = fd;
	errno = pthread_sigmask(SIG_BLOCK, &set, NULL);
	return errno == 0 ? 0 : -1;
}

/* The last watcher of a signal unblocks it. */
static void loop_signal_free(struct loop *l, struct loop_signal *s)
{
	struct loop_signal *other;
	bool last = true;
	sigset_t one;

	LIST_REMOVE(s, link);
	LIST_FOREACH(other, &l->signals, link)
		last = last && other->signo != s->signo;
	if (last) {
		loop_signals_update(l);
		sigemptyset(&one);
		sigaddset(&one, s->signo);
		pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	}
	free(s);
}

void loop_free(struct loop *l)
{
	struct loop_deferred *d;

	if (l == NULL)
		return;
	while ((d = TAILQ_FIRST(&l->bulk)) != NULL)
		loop_defer_cancel(l, d);
	while (!TAILQ_EMPTY(&l->deferred))
		loop_run_queue(&l->deferred, 0);
	while (!LIST_EMPTY(&l->signals))
		loop_signal_free(l, LIST_FIRST(&l->signals));
	if (l->signal_ev != NULL)
		event_free(l->signal_ev);
	if (l->signal_fd >= 0)
		close(l->signal_fd);
	if (l->base != NULL)
		event_base_free(l->base);
	free(l->scratch);
	free(l);
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

int loop_run(struct loop *l)
{
	assert(loop_on_thread(l));
	l->stop = false;
	while (!l->stop) {
		bool pending = !TAILQ_EMPTY(&l->deferred) || !TAILQ_EMPTY(&l->bulk);
		int flags = EVLOOP_ONCE | (pending ? EVLOOP_NONBLOCK : 0);
		int rc = event_base_loop(l->base, flags);

		if (rc < 0)
			return -1;
		/* 1 is "no events": deferred calls may still make some. */
		if (rc == 1 && !pending)
			return 0;
		if (!TAILQ_EMPTY(&l->bulk))
			loop_run_queue(&l->bulk, clock_mono_us() + LOOP_BULK_US);
		loop_run_queue(&l->deferred, 0);
	}
	return 0;
}

void loop_stop(struct loop *l)
{
	assert(loop_on_thread(l));
	l->stop = true;
}

bool loop_on_thread(const struct loop *l)
{
	return pthread_equal(pthread_self(), l->thread) != 0;
}

void loop_deferred_init(struct loop_deferred *d, void (*fn)(void *arg), void *arg)
{
	*d = (struct loop_deferred){.fn = fn, .arg = arg};
}

static void loop_enqueue(struct loop *l, struct loop_deferred *d, bool bulk)
{
	assert(loop_on_thread(l));
	assert(d->fn != NULL);
	if (d->queued)
		return;
	d->queued = true;
	d->bulk = bulk;
	TAILQ_INSERT_TAIL(bulk ? &l->bulk : &l->deferred, d, link);
}

void loop_defer(struct loop *l, struct loop_deferred *d)
{
	loop_enqueue(l, d, false);
}

void loop_defer_bulk(struct loop *l, struct loop_deferred *d)
{
	loop_enqueue(l, d, true);
}

void loop_defer_cancel(struct loop *l, struct loop_deferred *d)
{
	assert(loop_on_thread(l));
	if (!d->queued)
		return;
	d->queued = false;
	TAILQ_REMOVE(d->bulk ? &l->bulk : &l->deferred, d, link);
}

/* A watcher may be removed by another's call, so the list is looked through again after each. */
static void loop_dispatch_signal(struct loop *l, int signo)
{
	struct loop_signal *s;

	LIST_FOREACH(s, &l->signals, link)
		s->due = s->signo == signo;
	do {
		LIST_FOREACH(s, &l->signals, link) {
			if (s->due)
				break;
		}
		if (s != NULL) {
			s->due = false;
			s->fn(signo, s->arg);
		}
	} while (s != NULL);
}

static void loop_on_signals(evutil_socket_t fd, short what, void *arg)
{
	struct signalfd_siginfo info[8];
	ssize_t n = read(fd, info, sizeof(info));

	(void)what;
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(info[0]); i++)
		loop_dispatch_signal(arg, (int)info[i].ssi_signo);
}

static int loop_watch_signals(struct loop *l)
{
	if (loop_signals_update(l) < 0)
		return -1;
	if (l->signal_ev != NULL)
		return 0;
	l->signal_ev = event_new(l->base, l->signal_fd, EV_READ | EV_PERSIST, loop_on_signals, l);
	return l->signal_ev != NULL ? event_add(l->signal_ev, NULL) : -1;
}

int loop_on_signal(
	struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg, struct err *e)
{
	struct loop_signal *s = calloc(1, sizeof(*s));

	assert(loop_on_thread(l));
	if (s == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "signal %d: out of memory", signo);
	s->signo = signo;
	s->fn = fn;
	s->arg = arg;
	LIST_INSERT_HEAD(&l->signals, s, link);
	if (loop_watch_signals(l) < 0) {
		loop_signal_free(l, s);
		return err_set(e, &ERR_UNAVAILABLE, "signal %d: cannot be watched", signo);
	}
	return 0;
}

void loop_off_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg)
{
	struct loop_signal *s;

	assert(loop_on_thread(l));
	LIST_FOREACH(s, &l->signals, link) {
		if (s->signo == signo && s->fn == fn && s->arg == arg) {
			loop_signal_free(l, s);
			return;
		}
	}
}

uint8_t *loop_scratch(struct loop *l, size_t *n)
{
	*n = l->scratch_len;
	return l->scratch;
}
