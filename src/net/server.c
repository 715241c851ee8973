/*
 * The server: its listeners and connections as a whole. Ends in two ways: drained, when each
 * connection may finish what it does, or freed, when all are cut.
 */
#include "boxd/server.h"

#include <assert.h>
#include <stdlib.h>

#include "boxd/log.h"
#include "net_internal.h"

static void server_on_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	listener_resume(arg);
}

static void server_call_idle(void *arg)
{
	struct server *s = arg;

	s->on_idle(s->on_idle_arg);
}

struct server *server_new(struct loop *l, const struct server_callbacks *cb, struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	s->loop = l;
	s->cb = *cb;
	s->date_second = -1;
	SLIST_INIT(&s->listeners);
	TAILQ_INIT(&s->conns);
	evtimer_assign(&s->resume, loop_base(l), server_on_resume, s);
	loop_deferred_init(&s->idle_call, server_call_idle, s);
	return s;
}

int server_listen(struct server *s, const char *addr, struct err *e)
{
	return listener_open(s, addr, e);
}

static void server_close_listeners(struct server *s)
{
	while (!SLIST_EMPTY(&s->listeners)) {
		struct listener *l = SLIST_FIRST(&s->listeners);

		SLIST_REMOVE_HEAD(&s->listeners, link);
		listener_close(l);
	}
	evtimer_del(&s->resume);
}

/* Between requests there is nothing to finish, and half a head is no request yet. */
static bool server_conn_is_idle(const struct conn *c)
{
	return c->state == CONN_HEAD && buf_len(&c->out) == 0;
}

void server_drain(struct server *s, void (*on_idle)(void *arg), void *arg)
{
	assert(!s->draining);
	s->draining = true;
	s->on_idle = on_idle;
	s->on_idle_arg = arg;
	server_close_listeners(s);

	struct conn *next;

	for (struct conn *c = TAILQ_FIRST(&s->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		c->req.close = true;
		if (server_conn_is_idle(c))
			conn_close(c);
	}
	if (s->nconns == 0)
		loop_defer(s->loop, &s->idle_call);
}

/* Called when a connection's memory is about to go. */
void server_conn_gone(struct server *s)
{
	s->nconns--;
	if (s->paused && !s->draining)
		listener_resume(s);
	if (s->draining && s->nconns == 0)
		loop_defer(s->loop, &s->idle_call);
}

bool server_owns_port(const struct server *s, uint16_t port)
{
	const struct listener *l;

	SLIST_FOREACH(l, &s->listeners, link) {
		if (l->port == port)
			return port != 0;
	}
	return false;
}

size_t server_connections(const struct server *s)
{
	return s->nconns;
}

void server_cut(struct server *s)
{
	while (!TAILQ_EMPTY(&s->conns))
		conn_close(TAILQ_FIRST(&s->conns));
}

void server_free(struct server *s)
{
	if (s == NULL)
		return;
	server_close_listeners(s);
	assert(s->nconns == 0);
	loop_defer_cancel(s->loop, &s->idle_call);
	free(s->spare_head);
	buf_fini(&s->spare_out);
	free(s);
}
