/*
 * What the files of a WebSocket share: wsconn.c has its life, time and output, wsconn_in.c what
 * comes from the peer.
 */
#ifndef BOXD_NET_WSCONN_INTERNAL_H
#define BOXD_NET_WSCONN_INTERNAL_H

#include "boxd/utf8.h"
#include "boxd/ws_deflate.h"
#include "boxd/ws_frame.h"
#include "boxd/wsconn.h"
#include "net_internal.h"

enum wsconn_state {
	WSCONN_OPEN,
	WSCONN_CLOSING, /* our close frame is sent; the peer's is awaited */
	WSCONN_ENDING,  /* wsconn_finish() is scheduled: neither input nor output any more */
	WSCONN_ENDED
};

struct wsconn {
	struct op op;
	struct loop *loop;
	const struct wsconn_callbacks *cb;
	void *arg;
	enum wsconn_state state;
	uint16_t code; /* for on_close */
	bool paused;
	bool full;       /* wsconn_room() said 0 */
	bool delivering; /* on_message is on the stack */

	struct ws_order order;
	struct ws_frame frame; /* the data frame whose payload is coming */
	uint64_t left;         /* of its payload */
	/* The message it belongs to. */
	bool text, packed;
	size_t frames;
	struct utf8_check utf8; /* of a text; between messages it is whole, or all is over */
	struct buf message;     /* what is collected of it */

	struct ws_deflate *deflate; /* NULL: not negotiated */
	unsigned window_bits;

	bool pong_owed; /* to the last ping, when the output was full */
	size_t pong_n;
	uint8_t pong[WS_CONTROL_MAX];

	int64_t heard_ms; /* when input came last */
	int64_t close_ms; /* with WSCONN_CLOSING: the peer's time is up */
	struct event deadline;
	struct loop_timer *ping;
	struct loop_deferred finish;
};

/* wsconn.c */
/* Sends a frame. */
void wsconn_put(struct wsconn *ws, enum ws_opcode opcode, bool rsv1, const void *head,
	size_t head_n, const void *data, size_t n);
void wsconn_put_close(struct wsconn *ws, uint16_t code, const char *reason);
/* What the output takes; 0: wsconn_on_room() is owed. */
size_t wsconn_space(const struct wsconn *ws);
/* It is over: on_close(code) follows from the loop. Only the first call counts. */
void wsconn_end(struct wsconn *ws, uint16_t code);
/* Memory is out: what was to come next cannot be left out silently. */
void wsconn_cut(struct wsconn *ws);
/* The peer broke the protocol: it is told why, and not listened to any more (RFC 6455 7.1.7). */
void wsconn_fail(struct wsconn *ws, uint16_t status, const char *why);

/* wsconn_in.c */
/* One frame, or a piece of one. How much it took; 0 when it needs more. */
size_t wsconn_step(struct wsconn *ws, uint8_t *p, size_t n);

#endif
