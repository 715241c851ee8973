/*
 * A WebSocket (RFC 6455) on a connection of the server: whole messages in, frames out. Does by
 * itself: the handshake's answer, reassembly, UTF-8, pings (LIMIT_WS_PING_MS) and the dropping of a
 * peer that is silent for LIMIT_WS_IDLE_MS, pongs, the close handshake, permessage-deflate
 * (RFC 7692).
 */
#ifndef BOXD_WSCONN_H
#define BOXD_WSCONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"
#include "boxd/err.h"
#include "boxd/loop.h"
#include "boxd/req.h"

struct wsconn;

struct wsconn_callbacks {
	/*
	 * A whole message of at most LIMIT_WS_MESSAGE_BYTES; text is valid UTF-8. The bytes are
	 * valid for the call. May call anything but wsconn_free().
	 */
	void (*on_message)(struct wsconn *ws, bool text, const uint8_t *data, size_t n, void *arg);
	/* The output drained after wsconn_room() had said 0. */
	void (*on_room)(struct wsconn *ws, void *arg);
	/*
	 * It is over, once, from the loop; no callback follows. code: of the peer's close frame
	 * (1005: it had none), or 1006 when there was none (RFC 6455 7.1.5, 7.1.6). The owner now
	 * calls wsconn_free(), here or later.
	 */
	void (*on_close)(struct wsconn *ws, uint16_t code, void *arg);
};

enum wsconn_check {
	WSCONN_OK,
	WSCONN_NOT_UPGRADE, /* no `Connection: upgrade` with `Upgrade: websocket` */
	WSCONN_BAD /* a handshake, but not a valid one: method, version 13, key, HTTP/1.1 */
};

/* Is this request the opening handshake of RFC 6455 4.2.1? *why is a literal for the client. */
enum wsconn_check wsconn_check(const struct req *r, const char **why) __attribute__((nonnull));

struct wsconn_options {
	bool deflate; /* accept permessage-deflate when the client offers it */
};

/*
 * Answers a request that wsconn_check() found good with 101. Begins the request's op. cb is
 * borrowed for as long as the object lives. NULL with e set (ERR_UNAVAILABLE): nothing was
 * answered.
 */
struct wsconn *wsconn_accept(struct req *r, struct loop *l, const struct wsconn_options *opts,
	const struct wsconn_callbacks *cb, void *arg, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 2, 3, 4, 6)));
/* After on_close, or at any time before: the connection is cut then. NULL is fine. */
void wsconn_free(struct wsconn *ws);

/* Bytes the output takes before its source should pause; 0 also when it is closing. */
size_t wsconn_room(const struct wsconn *ws) __attribute__((nonnull));
/* Bytes queued that the kernel has not taken. */
size_t wsconn_queued(const struct wsconn *ws) __attribute__((nonnull));

/*
 * Sends one message, copied: head (may be empty) and data behind each other. Large ones are one
 * frame all the same. Sent at the end of this turn of the loop at the latest. Nothing happens when
 * it is closing or memory is out (then it is cut).
 */
void wsconn_send(struct wsconn *ws, bool text, const void *head, size_t head_n, const void *data,
	size_t n) __attribute__((nonnull(1)));

/* Input is left in the socket; the peer's silence is forgiven meanwhile. */
void wsconn_pause(struct wsconn *ws) __attribute__((nonnull));
void wsconn_resume(struct wsconn *ws) __attribute__((nonnull));

/*
 * Sends what is queued and a close frame, waits for the peer's for LIMIT_WS_CLOSE_MS, then
 * on_close. on_message is not called any more. Calling it again does nothing. reason: at most 123
 * bytes.
 */
void wsconn_close(struct wsconn *ws, uint16_t code, const char *reason) __attribute__((nonnull));
/* Ends the connection without a close frame once what is queued is sent; then on_close. */
void wsconn_drop(struct wsconn *ws) __attribute__((nonnull));

#endif
