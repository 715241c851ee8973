/*
 * wsconn: a WebSocket on a tunnel. What the peer sends is read in wsconn_in.c.
 *
 * The end has one path: wsconn_end() notes the code, and a deferred call ends tunnel and op and
 * tells the owner. So the owner is never told from inside a call of its own.
 */
#include "boxd/wsconn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/reply.h"
#include "boxd/stream.h"
#include "boxd/tunnel.h"
#include "boxd/ws_handshake.h"
#include "wsconn_internal.h"

#define WSCONN_WINDOW_BITS 15

static struct wsconn *wsconn_of(struct op *op)
{
	return (struct wsconn *)(void *)((char *)op - offsetof(struct wsconn, op));
}

/* ---- the end ---- */

void wsconn_end(struct wsconn *ws, uint16_t code)
{
	if (ws->state >= WSCONN_ENDING)
		return;
	ws->state = WSCONN_ENDING;
	ws->code = code;
	loop_defer(ws->loop, &ws->finish);
}

void wsconn_cut(struct wsconn *ws)
{
	stream_abort(ws->op.req);
	wsconn_end(ws, WS_STATUS_ABNORMAL);
}

/* ---- output ---- */

void wsconn_put(struct wsconn *ws, enum ws_opcode opcode, bool rsv1, const void *head,
	size_t head_n, const void *data, size_t n)
{
	struct buf *out = stream_open(ws->op.req);
	uint8_t *start, *p;

	if (out == NULL)
		return;
	start = p = buf_reserve(out, WS_HEAD_MAX + head_n + n);
	if (p == NULL) {
		wsconn_cut(ws);
		return;
	}
	p += ws_frame_head(p, opcode, rsv1, head_n + n);
	if (head_n > 0)
		memcpy(p, head, head_n);
	p += head_n;
	if (n > 0)
		memcpy(p, data, n);
	buf_commit(out, (size_t)(p + n - start));
	stream_commit(ws->op.req);
}

/*
 * What the output takes. A full queue is written first: on_room is owed for what the socket leaves
 * of it, not for a queue that the end of the turn would have emptied.
 */
size_t wsconn_space(const struct wsconn *ws)
{
	size_t room = stream_room(ws->op.req);

	if (room == 0) {
		stream_flush(ws->op.req);
		room = stream_room(ws->op.req);
	}
	return room;
}

void wsconn_put_close(struct wsconn *ws, uint16_t code, const char *reason)
{
	const uint8_t be[2] = {(uint8_t)(code >> 8), (uint8_t)code};
	size_t n = strlen(reason);

	assert(n <= WS_REASON_MAX);
	if (code == WS_STATUS_NONE)
		wsconn_put(ws, WS_CLOSE, false, NULL, 0, NULL, 0);
	else
		wsconn_put(ws, WS_CLOSE, false, be, sizeof(be), reason, n);
}

void wsconn_fail(struct wsconn *ws, uint16_t status, const char *why)
{
	log_info("ws", "connection failed code=%u reason=\"%s\"", (unsigned)status, why);
	if (ws->state == WSCONN_OPEN)
		wsconn_put_close(ws, status, why);
	wsconn_end(ws, WS_STATUS_ABNORMAL);
}

static void wsconn_disarm(struct wsconn *ws)
{
	event_del(&ws->deadline);
	loop_timer_free(ws->ping);
	ws->ping = NULL;
}

static void wsconn_finish(void *arg)
{
	struct wsconn *ws = arg;

	wsconn_disarm(ws);
	buf_fini(&ws->message);
	tunnel_end(ws->op.req);
	op_end(&ws->op);
	ws->state = WSCONN_ENDED;
	ws->cb->on_close(ws, ws->code, ws->arg);
}

/* ---- time ---- */

/* Armed lazily: input only notes its time, and the timer that fires too early is armed again. */
static void wsconn_on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct wsconn *ws = arg;
	int64_t now = clock_mono_ms(), due;

	(void)fd;
	(void)what;
	if (ws->state >= WSCONN_ENDING)
		return;
	if (ws->paused)
		ws->heard_ms = now;
	due = ws->state == WSCONN_CLOSING ? ws->close_ms : ws->heard_ms + limit(LIMIT_WS_IDLE_MS);
	if (now < due) {
		loop_arm(&ws->deadline, due - now);
		return;
	}
	log_info("ws", "peer dropped reason=%s",
		ws->state == WSCONN_CLOSING ? "no-close" : "silent");
	wsconn_end(ws, WS_STATUS_ABNORMAL);
}

/* Into a full queue goes no ping: the deadline of the stalled output is running. */
static void wsconn_on_ping(void *arg)
{
	struct wsconn *ws = arg;

	if (ws->state == WSCONN_OPEN && wsconn_space(ws) > 0)
		wsconn_put(ws, WS_PING, false, NULL, 0, NULL, 0);
}

/* ---- events of the tunnel ---- */

static size_t wsconn_on_input(struct op *op, uint8_t *data, size_t n)
{
	struct wsconn *ws = wsconn_of(op);
	size_t taken = 0, step = 1;

	ws->heard_ms = clock_mono_ms();
	while (step > 0 && taken < n && !ws->paused && ws->state < WSCONN_ENDING) {
		step = wsconn_step(ws, data + taken, n - taken);
		taken += step;
	}
	return ws->state < WSCONN_ENDING ? taken : n;
}

static void wsconn_on_input_end(struct op *op)
{
	wsconn_end(wsconn_of(op), WS_STATUS_ABNORMAL);
}

static void wsconn_on_cancel(struct op *op)
{
	wsconn_end(wsconn_of(op), WS_STATUS_ABNORMAL);
}

static void wsconn_on_room(struct op *op)
{
	struct wsconn *ws = wsconn_of(op);

	if (ws->state != WSCONN_OPEN)
		return;
	if (ws->pong_owed)
		wsconn_put(ws, WS_PONG, false, ws->pong, ws->pong_n, NULL, 0);
	ws->pong_owed = false;
	if (!ws->full)
		return;
	ws->full = false;
	ws->cb->on_room(ws, ws->arg);
}

static const struct tunnel_callbacks wsconn_tunnel = {
	.on_input = wsconn_on_input,
	.on_input_end = wsconn_on_input_end,
	.on_room = wsconn_on_room,
};

/* ---- life ---- */

enum wsconn_check wsconn_check(const struct req *r, const char **why)
{
	struct ws_handshake h;

	if (r->head == NULL)
		return WSCONN_NOT_UPGRADE;
	switch (ws_handshake_parse(r->head, buf_data(&r->conn->in), &h, why)) {
	case WS_HANDSHAKE_DONE: return WSCONN_OK;
	case WS_HANDSHAKE_BAD: return WSCONN_BAD;
	case WS_HANDSHAKE_NONE: break;
	}
	*why = "not a WebSocket handshake";
	return WSCONN_NOT_UPGRADE;
}

static struct wsconn *wsconn_new(struct loop *l, const struct wsconn_callbacks *cb, void *arg)
{
	struct wsconn *ws = calloc(1, sizeof(*ws));

	if (ws == NULL)
		return NULL;
	ws->loop = l;
	ws->cb = cb;
	ws->arg = arg;
	ws->window_bits = WSCONN_WINDOW_BITS;
	ws->heard_ms = clock_mono_ms();
	loop_deferred_init(&ws->finish, wsconn_finish, ws);
	evtimer_assign(&ws->deadline, loop_base(l), wsconn_on_deadline, ws);
	ws->ping = loop_timer_new(l, limit(LIMIT_WS_PING_MS), wsconn_on_ping, ws);
	if (ws->ping == NULL) {
		wsconn_free(ws);
		return NULL;
	}
	loop_arm(&ws->deadline, limit(LIMIT_WS_IDLE_MS));
	return ws;
}

/* Without memory for it the offer is declined. */
static void wsconn_agree(struct wsconn *ws, struct req *r, const struct ws_deflate_terms *terms)
{
	char value[WS_EXTENSIONS_MAX];

	ws->deflate = terms->agreed ? ws_deflate_ref() : NULL;
	if (ws->deflate == NULL)
		return;
	ws->order.deflate = true;
	if (terms->server_bits > 0)
		ws->window_bits = terms->server_bits;
	ws_extensions_format(terms, value);
	reply_field(r, "Sec-WebSocket-Extensions", value);
}

struct wsconn *wsconn_accept(struct req *r, struct loop *l, const struct wsconn_options *opts,
	const struct wsconn_callbacks *cb, void *arg, struct err *e)
{
	struct ws_handshake h;
	const char *why;
	enum ws_handshake_result good = ws_handshake_parse(
		r->head, buf_data(&r->conn->in), &h, &why);
	struct wsconn *ws = wsconn_new(l, cb, arg);

	assert(good == WS_HANDSHAKE_DONE);
	(void)good;
	if (ws == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	op_begin(&ws->op, r, wsconn_on_cancel, NULL);
	reply_field(r, "Upgrade", "websocket");
	reply_field(r, "Sec-WebSocket-Accept", h.accept);
	if (opts->deflate)
		wsconn_agree(ws, r, &h.deflate);
	tunnel_start(r, &wsconn_tunnel);
	return ws;
}

void wsconn_free(struct wsconn *ws)
{
	if (ws == NULL)
		return;
	assert(!ws->delivering);
	loop_defer_cancel(ws->loop, &ws->finish);
	wsconn_disarm(ws);
	if (ws->op.req != NULL) {
		stream_abort(ws->op.req);
		op_end(&ws->op);
	}
	ws_deflate_unref(ws->deflate);
	buf_fini(&ws->message);
	free(ws);
}

/* ---- what the owner does ---- */

size_t wsconn_room(const struct wsconn *ws)
{
	size_t room = ws->state == WSCONN_OPEN ? wsconn_space(ws) : 0;

	/* Only a note for ourselves, so the object is const to its user. */
	if (room == 0)
		((struct wsconn *)(uintptr_t)ws)->full = true;
	return room;
}

size_t wsconn_queued(const struct wsconn *ws)
{
	return ws->op.req != NULL ? buf_len(&ws->op.req->conn->out) : 0;
}

void wsconn_send(
	struct wsconn *ws, bool text, const void *head, size_t head_n, const void *data, size_t n)
{
	enum ws_opcode opcode = text ? WS_TEXT : WS_BINARY;
	const uint8_t *packed = NULL;
	size_t packed_n = 0;

	if (ws->state != WSCONN_OPEN)
		return;
	if (ws->deflate != NULL)
		packed = ws_deflate_pack(
			ws->deflate, ws->window_bits, head, head_n, data, n, &packed_n);
	if (packed != NULL)
		wsconn_put(ws, opcode, true, packed, packed_n, NULL, 0);
	else
		wsconn_put(ws, opcode, false, head, head_n, data, n);
}

void wsconn_pause(struct wsconn *ws)
{
	if (ws->state != WSCONN_OPEN || ws->paused)
		return;
	ws->paused = true;
	tunnel_pause(ws->op.req);
}

void wsconn_resume(struct wsconn *ws)
{
	if (!ws->paused)
		return;
	ws->paused = false;
	ws->heard_ms = clock_mono_ms();
	if (ws->op.req != NULL)
		tunnel_resume(ws->op.req);
}

void wsconn_close(struct wsconn *ws, uint16_t code, const char *reason)
{
	int64_t ms = limit(LIMIT_WS_CLOSE_MS);

	if (ws->state != WSCONN_OPEN)
		return;
	wsconn_put_close(ws, code, reason);
	ws->state = WSCONN_CLOSING;
	ws->close_ms = clock_mono_ms() + ms;
	loop_arm(&ws->deadline, ms);
	/* The peer's close frame comes behind what was left in the socket. */
	wsconn_resume(ws);
}

void wsconn_drop(struct wsconn *ws)
{
	wsconn_end(ws, WS_STATUS_ABNORMAL);
}
