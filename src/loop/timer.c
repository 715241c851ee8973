/*
 * Timers: one-shot ones of those who see libevent are only armed here; periodic ones are for layers
 * that do not. Those of one period share a queue (libevent's common timeouts) instead of the timer
 * heap: ten thousand idle streams re-arm in constant time.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <sys/time.h>

#include "boxd/loop.h"

struct loop_timer {
	struct event *ev;
	void (*fn)(void *arg);
	void *arg;
};

static void timer_on_fire(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->arg);
}

struct loop_timer *loop_timer_new(
	struct loop *l, int64_t period_ms, void (*fn)(void *arg), void *arg)
{
	struct timeval tv = {.tv_sec = period_ms / 1000, .tv_usec = (period_ms % 1000) * 1000};
	const struct timeval *common = event_base_init_common_timeout(loop_base(l), &tv);
	struct loop_timer *t = malloc(sizeof(*t));

	if (t == NULL)
		return NULL;
	t->fn = fn;
	t->arg = arg;
	t->ev = event_new(loop_base(l), -1, EV_PERSIST, timer_on_fire, t);
	/* Without room for one more common timeout, the plain value works too, on the heap. */
	if (t->ev == NULL || event_add(t->ev, common != NULL ? common : &tv) < 0) {
		loop_timer_free(t);
		return NULL;
	}
	return t;
}

void loop_timer_free(struct loop_timer *t)
{
	if (t == NULL)
		return;
	if (t->ev != NULL)
		event_free(t->ev);
	free(t);
}

void loop_arm(struct event *ev, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	event_add(ev, &tv);
}
