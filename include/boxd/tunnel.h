/*
 * A connection whose HTTP is over: after a 101 (RFC 9110 7.8) its bytes belong to another protocol,
 * in both directions. Output goes through stream.h (stream_room(), stream_open(), stream_commit(),
 * stream_flush(), on_room) without any framing; input comes here.
 * Back-pressure: input that is not taken stays in the connection's buffer, and the socket is not
 * read beyond LIMIT_TUNNEL_IN_BYTES. A peer that takes no output for LIMIT_HTTP_WRITE_STALL_MS is
 * dropped: its op is cancelled.
 */
#ifndef BOXD_TUNNEL_H
#define BOXD_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/req.h"

struct tunnel_callbacks {
	/*
	 * Bytes have arrived. The callee may change them (unmask in place), and returns how many it
	 * has taken: the rest is offered again, unchanged, when more came or after tunnel_resume().
	 * It may write, end or abort the tunnel, but not call op_end().
	 */
	size_t (*on_input)(struct op *op, uint8_t *data, size_t n);
	/*
	 * The peer has ended its side; once, and after the last on_input. Output is still possible.
	 * A connection that is broken cancels the op instead.
	 */
	void (*on_input_end)(struct op *op);
	/* Output drained after stream_room() said 0. */
	void (*on_room)(struct op *op);
};

/*
 * Answers with 101 and the fields given by reply_field() (Upgrade among them; Connection: Upgrade
 * is added), without Content-Length. The request must have an op, which is cancelled when the
 * connection breaks while output waits. cb is borrowed. What the client sent behind its request is
 * the first input, offered in a later turn. HTTP/1.1 only; the caller has checked that.
 */
void tunnel_start(struct req *r, const struct tunnel_callbacks *cb) __attribute__((nonnull));

/* No on_input until tunnel_resume(). Both may be called from any callback, and twice. */
void tunnel_pause(struct req *r) __attribute__((nonnull));
void tunnel_resume(struct req *r) __attribute__((nonnull));

/*
 * What is queued is the last: it is sent, our side is shut down, and after the peer has ended too
 * (or LIMIT_HTTP_LINGER_MS) the connection is closed. No callback follows. The op ends with
 * op_end(). stream_abort() cuts the connection instead.
 */
void tunnel_end(struct req *r) __attribute__((nonnull));

/* Ends our side only (shutdown(2)) once what is queued is sent; input goes on. */
void tunnel_shut(struct req *r) __attribute__((nonnull));

#endif
