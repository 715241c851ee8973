/*
 * What the two files of the HTTP client side share: upstream_link.c has the connections, dialled,
 * used and kept, upstream.c the exchanges that run over them.
 */
#ifndef BOXD_UPSTREAM_INTERNAL_H
#define BOXD_UPSTREAM_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "boxd/upstream.h"

#define UPSTREAM_READ    65536 /* one read */
#define UPSTREAM_BUCKETS 64    /* of kept connections, by port; a power of two */

/* A connection. It belongs to one exchange, or is kept. */
struct upstream_link {
	struct upstreams *ups;
	struct upstream *u; /* NULL: kept */
	TAILQ_ENTRY(upstream_link) by_age;
	LIST_ENTRY(upstream_link) by_port;
	int fd;
	uint16_t port;
	bool ipv6;
	bool reused;        /* it has carried an exchange before this one */
	bool connected;     /* it has taken a byte */
	bool readable;      /* edge-triggered: there may be bytes, or the end, to read */
	bool fin;           /* the kernel said that the server's side has ended */
	bool writable;      /* it takes bytes, for all that is known */
	bool draining;      /* `drain` is registered */
	bool closed;        /* only its memory is left */
	struct event io;    /* input and its end: registered for life */
	struct event drain; /* output: only while the socket is full or not connected */
	struct event timer;
	int64_t deadline_ms; /* 0: none */
	int64_t armed_ms;    /* when the timer will fire; 0: not armed */
	struct loop_deferred release;
};

struct upstreams {
	struct loop *loop;
	size_t count; /* exchanges */
	size_t nidle;
	TAILQ_HEAD(upstream_link_list, upstream_link) idle; /* the one used last comes first */
	LIST_HEAD(, upstream_link) by_port[UPSTREAM_BUCKETS];
	uint8_t *scratch;           /* UPSTREAM_READ, for one read at a time */
	struct http1_response head; /* and for one head */
};

/* ---- upstream_link.c ---- */

/*
 * A kept connection to the port, or NULL. With `sure` one that is known to be open at this moment:
 * for a request that cannot be sent twice.
 */
struct upstream_link *upstream_link_reuse(struct upstreams *ups, uint16_t port, bool sure);
/* Begins to connect. NULL with e set: what the system refused at once. */
struct upstream_link *upstream_link_dial(
	struct upstreams *ups, uint16_t port, bool ipv6, struct err *e);
/* Keeps it for the next exchange, or closes it when it is of no use or there is no room. */
void upstream_link_keep(struct upstream_link *l);
/* Its memory goes after this turn. */
void upstream_link_close(struct upstream_link *l);

/*
 * Sends. The bytes that went, 0 when the socket is full (or not connected yet): then
 * upstream_on_writable() is called, or -1 with errno.
 */
ssize_t upstream_link_send(struct upstream_link *l, const uint8_t *data, size_t n);
/* Reads into the scratch. The bytes read; 0: the end; -1 with errno (EAGAIN: nothing there now). */
ssize_t upstream_link_read(struct upstream_link *l);
/* All is sent. */
void upstream_link_sent(struct upstream_link *l);

void upstream_link_set_deadline(struct upstream_link *l, int64_t after_ms);
void upstream_link_clear_deadline(struct upstream_link *l);

/* ---- upstream.c: what a connection tells its exchange; the last thing it does ---- */

void upstream_on_readable(struct upstream *u);
void upstream_on_writable(struct upstream *u);
void upstream_on_deadline(struct upstream *u);

#endif
