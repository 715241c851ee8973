/*
 * The HTTP client side: one exchange with a server on a local port, for /proxy. The connection is
 * made without waiting, to 127.0.0.1 and, when that refuses, to [::1]; after an exchange that ended
 * well it is kept for the next one to the same port (LIMIT_PROXY_IDLE_COUNT,
 * LIMIT_PROXY_IDLE_MS). Everything happens on the loop.
 *
 * A kept connection may turn out to be closed by the server. As long as no byte of an answer came,
 * the request is sent again, once, on a new connection: when none of it was sent, or when it is one
 * that may be repeated (upstream_begin()).
 */
#ifndef BOXD_UPSTREAM_H
#define BOXD_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"
#include "boxd/err.h"
#include "boxd/http1_response.h"
#include "boxd/loop.h"

struct upstreams; /* the kept connections, and what exchanges share */
struct upstream;  /* one exchange */

struct upstreams *upstreams_new(struct loop *l, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* All exchanges must have been freed. NULL is fine. */
void upstreams_free(struct upstreams *ups);

/* Exchanges that are not freed yet. */
size_t upstreams_count(const struct upstreams *ups) __attribute__((nonnull));

/*
 * All are called from the loop, never from inside a function of this header. Each may call
 * upstream_free(), after which none follows.
 */
struct upstream_callbacks {
	/* The connection stands (once), or output drained after upstream_room() said 0. */
	void (*on_room)(struct upstream *u, void *arg);
	/*
	 * The head of the final response or of a 101; other 1xx are dropped. The spans of h lie in
	 * base; both are valid for the call. After a 101, upstream_tunnel() must be called here, or
	 * upstream_free().
	 */
	void (*on_head)(
		struct upstream *u, const struct http1_response *h, const uint8_t *base, void *arg);
	/* Body bytes without their framing, all of which the callee takes. Valid for the call. */
	void (*on_body)(struct upstream *u, const uint8_t *data, size_t n, void *arg);
	/* The response is complete. In a tunnel: the server has ended its side. */
	void (*on_end)(struct upstream *u, void *arg);
	/* In a tunnel, after upstream_finish(): all is sent, and our side has ended. */
	void (*on_shut)(struct upstream *u, void *arg);
	/*
	 * It has failed, before or after the head; nothing follows. ERR_BAD_GATEWAY (no connection,
	 * no HTTP, cut short), ERR_GATEWAY_TIMEOUT (LIMIT_PROXY_HEAD_MS), ERR_UNAVAILABLE.
	 */
	void (*on_fail)(struct upstream *u, const struct err *e, void *arg);
};

/* An exchange with a port, cb borrowed. NULL: out of memory. */
struct upstream *upstream_new(
	struct upstreams *ups, uint16_t port, const struct upstream_callbacks *cb, void *arg)
	__attribute__((warn_unused_result, nonnull(1, 3)));

enum upstream_body {
	UPSTREAM_NO_BODY,
	UPSTREAM_LENGTH, /* the head has Content-Length; bytes are sent as they are */
	UPSTREAM_CHUNKED /* the head has Transfer-Encoding: chunked, the chunks are made here */
};

struct upstream_request {
	enum upstream_body body;
	bool head;       /* a HEAD request: its answer has no body */
	bool repeatable; /* may be sent twice (RFC 9110 9.2.2) as long as it has no body */
};

/* Where the head of the request goes, to its empty line, before upstream_begin(). */
struct buf *upstream_head(struct upstream *u) __attribute__((nonnull));

/* Connects and sends, at the end of this turn: what is written until then goes along. */
void upstream_begin(struct upstream *u, const struct upstream_request *rq) __attribute__((nonnull));

/*
 * A piece of the request's body; copied. Returns 0, or -1 when memory is out. Sent at the end of
 * the turn. What is written after the server has stopped reading is thrown away.
 */
int upstream_write(struct upstream *u, const void *data, size_t n)
	__attribute__((warn_unused_result, nonnull));
/* Bytes it should take before the source pauses. */
size_t upstream_room(struct upstream *u) __attribute__((nonnull));
/* The body is complete. In a tunnel: our side ends. */
void upstream_finish(struct upstream *u) __attribute__((nonnull));

/* Nothing is read until upstream_resume(). Both may be called from any callback, and twice. */
void upstream_pause(struct upstream *u) __attribute__((nonnull));
void upstream_resume(struct upstream *u) __attribute__((nonnull));

/* In on_head of a 101: from now on bytes go both ways as they are. */
void upstream_tunnel(struct upstream *u) __attribute__((nonnull));

/* From now on a silence of that length is a failure. */
void upstream_limit_silence(struct upstream *u, int64_t ms) __attribute__((nonnull));

/* Ends the exchange; what is not complete is cut. No callback follows. NULL is fine. */
void upstream_free(struct upstream *u);

#endif
