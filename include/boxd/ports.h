/*
 * The box's TCP ports: which are listened on, and waiting until one accepts connections. Loop
 * thread only, but for what is said to be called on a disk thread.
 */
#ifndef BOXD_PORTS_H
#define BOXD_PORTS_H

#include <stddef.h>
#include <stdint.h>

#include "boxd/err.h"
#include "boxd/loop.h"
#include "boxd/sockets.h"
#include "boxd/work.h"

struct ports;

struct ports *ports_new(struct loop *l, struct err *e) __attribute__((warn_unused_result, nonnull));
/* No wait may be left (asserted). NULL is fine. */
void ports_free(struct ports *p);

/* The daemon ends: who waits is answered with ERR_UNAVAILABLE, and so is who comes now. */
void ports_stop(struct ports *p) __attribute__((nonnull));

/* ---- listing ---- */

struct ports_list;

struct ports_list_callbacks {
	/* On a disk thread, once unless it fails or is cancelled: all rows in order (sockets.h). */
	void (*rows)(const struct sockets_row *rows, size_t n, void *arg);
	/*
	 * On the loop, exactly once, never from ports_list_start(): e is NULL, or ERR_UNAVAILABLE
	 * (also when it was cancelled). The object is gone by then.
	 */
	void (*done)(const struct err *e, void *arg);
};

/* cb is borrowed. NULL with e set (ERR_UNAVAILABLE): no callback is called. */
struct ports_list *ports_list_start(struct work_pool *pool, const struct ports_list_callbacks *cb,
	void *arg, struct err *e) __attribute__((warn_unused_result, nonnull(1, 2, 4)));
/* Makes done() come soon. */
void ports_list_cancel(struct ports_list *pl) __attribute__((nonnull));

/* ---- waiting ---- */

struct ports_wait;

/* Who accepts: "127.0.0.1" or "::1". NULL: nobody in time (ERR_GATEWAY_TIMEOUT), ERR_UNAVAILABLE.
 */
typedef void ports_wait_fn(const char *address, int64_t waited_ms, const struct err *e, void *arg);

/*
 * Calls fn from the loop, exactly once and never from here, when a TCP connection to this port of
 * the loopback is accepted or timeout_ms is over; 0 looks once. The object is gone by then. NULL
 * with e set: ERR_TOO_MANY (LIMIT_PORT_WAITS), ERR_UNAVAILABLE.
 */
struct ports_wait *ports_wait_start(struct ports *p, uint16_t port, int64_t timeout_ms,
	ports_wait_fn *fn, void *arg, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 4, 6)));
/* fn is not called any more. */
void ports_wait_cancel(struct ports_wait *w) __attribute__((nonnull));

#endif
