/*
 * What a WebSocket's peer sends: frames to messages.
 *
 * Input is parsed where it lies, in the connection's buffer. A message that is one frame and has
 * arrived as a whole, which is what a terminal's keystroke is, is unmasked there and handed over:
 * nothing is copied and nothing allocated. Frames that come in pieces and fragments are collected.
 */
#include <string.h>

#include "boxd/limits.h"
#include "wsconn_internal.h"

#define WSCONN_KEEP_BYTES 4096 /* memory for collected messages that an idle connection keeps */

/* ---- messages ---- */

static void wsconn_deliver(struct wsconn *ws, const uint8_t *p, size_t n)
{
	ws->delivering = true;
	ws->cb->on_message(ws, ws->text, p != NULL ? p : (const uint8_t *)"", n, ws->arg);
	ws->delivering = false;
}

/* Text is judged as it comes, so that the peer hears of an error at once; not what is compressed.
 */
static bool wsconn_text_ok(struct wsconn *ws, const uint8_t *p, size_t n)
{
	if (!ws->text || utf8_check(&ws->utf8, p, n))
		return true;
	wsconn_fail(ws, WS_STATUS_NOT_TEXT, "text is not UTF-8");
	return false;
}

static bool wsconn_unpack(struct wsconn *ws, const uint8_t **p, size_t *n)
{
	switch (ws_deflate_unpack(ws->deflate, *p, *n, limit_size(LIMIT_WS_MESSAGE_BYTES), p, n)) {
	case WS_UNPACK_DONE: return wsconn_text_ok(ws, *p, *n);
	case WS_UNPACK_BAD:
		wsconn_fail(ws, WS_STATUS_NOT_TEXT, "compressed data is corrupt");
		return false;
	case WS_UNPACK_TOO_LARGE:
		wsconn_fail(ws, WS_STATUS_TOO_LARGE, "message too large");
		return false;
	case WS_UNPACK_NO_MEMORY: break;
	}
	wsconn_cut(ws);
	return false;
}

/* All of a message is here. */
static void wsconn_message(struct wsconn *ws, const uint8_t *p, size_t n)
{
	if (ws->packed && !wsconn_unpack(ws, &p, &n))
		return;
	if (ws->text && !utf8_check_whole(&ws->utf8))
		wsconn_fail(ws, WS_STATUS_NOT_TEXT, "text is not UTF-8");
	else
		wsconn_deliver(ws, p, n);
}

static void wsconn_forget_message(struct wsconn *ws)
{
	buf_clear(&ws->message);
	if (ws->message.cap > WSCONN_KEEP_BYTES)
		buf_fini(&ws->message);
}

/* Takes payload of the current frame. How much it took. */
static size_t wsconn_collect(struct wsconn *ws, uint8_t *p, size_t n)
{
	size_t take = ws->left < n ? (size_t)ws->left : n;
	uint64_t offset = ws->frame.payload_n - ws->left;

	ws->left -= take;
	/* After our close frame data means nothing any more. */
	if (ws->state != WSCONN_OPEN)
		return take;
	ws_unmask(p, take, ws->frame.mask, offset);
	if (!ws->packed && !wsconn_text_ok(ws, p, take))
		return take;
	if (buf_add(&ws->message, p, take) < 0) {
		wsconn_cut(ws);
		return take;
	}
	if (ws->left == 0 && ws->frame.fin) {
		wsconn_message(ws, buf_data(&ws->message), buf_len(&ws->message));
		wsconn_forget_message(ws);
	}
	return take;
}

/* Is the message within its limits, with this frame? */
static bool wsconn_admit(struct wsconn *ws, const struct ws_frame *f)
{
	size_t max = limit_size(LIMIT_WS_MESSAGE_BYTES);

	if (f->opcode != WS_CONTINUATION) {
		ws->text = f->opcode == WS_TEXT;
		ws->packed = f->rsv1;
		ws->frames = 0;
	}
	/* What does not shrink is a little longer when it is compressed. */
	if (ws->packed)
		max = ws_deflate_bound(max);
	if (f->payload_n > max - buf_len(&ws->message)) {
		wsconn_fail(ws, WS_STATUS_TOO_LARGE, "message too large");
		return false;
	}
	if (++ws->frames > limit_size(LIMIT_WS_FRAGMENTS)) {
		wsconn_fail(ws, WS_STATUS_TOO_LARGE, "too many fragments");
		return false;
	}
	return true;
}

/* A data frame begins at p. How much it took. */
static size_t wsconn_data(struct wsconn *ws, const struct ws_frame *f, uint8_t *p, size_t n)
{
	bool whole = f->fin && f->opcode != WS_CONTINUATION && n - f->head_n >= f->payload_n;

	if (ws->state == WSCONN_OPEN && !wsconn_admit(ws, f))
		return n;
	ws_order_advance(&ws->order, f);
	if (ws->state == WSCONN_OPEN && whole) {
		size_t len = (size_t)f->payload_n;
		uint8_t *payload = p + f->head_n;

		ws_unmask(payload, len, f->mask, 0);
		if (ws->packed || wsconn_text_ok(ws, payload, len))
			wsconn_message(ws, payload, len);
		return f->head_n + len;
	}
	ws->frame = *f;
	ws->left = f->payload_n;
	return f->head_n + wsconn_collect(ws, p + f->head_n, n - f->head_n);
}

/* ---- control frames ---- */

/*
 * A peer that pings and reads nothing fills the queue only once: after that, the last ping alone is
 * answered, when there is room (RFC 6455 5.5.3).
 */
static void wsconn_on_pinged(struct wsconn *ws, const uint8_t *p, size_t n)
{
	if (ws->state != WSCONN_OPEN)
		return;
	ws->pong_owed = wsconn_space(ws) == 0;
	if (!ws->pong_owed) {
		wsconn_put(ws, WS_PONG, false, p, n, NULL, 0);
		return;
	}
	memcpy(ws->pong, p, n);
	ws->pong_n = n;
}

static void wsconn_on_closed(struct wsconn *ws, const uint8_t *p, size_t n)
{
	uint16_t code, bad = ws_close_parse(p, n, &code);

	if (bad != 0) {
		wsconn_fail(ws, bad, "bad close frame");
		return;
	}
	if (ws->state == WSCONN_OPEN)
		wsconn_put_close(ws, code, "");
	wsconn_end(ws, code);
}

static void wsconn_control(struct wsconn *ws, const struct ws_frame *f, uint8_t *p)
{
	size_t n = (size_t)f->payload_n;

	ws_unmask(p, n, f->mask, 0);
	switch (f->opcode) {
	case WS_PING: wsconn_on_pinged(ws, p, n); break;
	case WS_CLOSE: wsconn_on_closed(ws, p, n); break;
	default: break; /* a pong: that something came is all that counts */
	}
}

/* ---- frames ---- */

size_t wsconn_step(struct wsconn *ws, uint8_t *p, size_t n)
{
	struct ws_frame f;
	const char *why = "";

	if (ws->left > 0)
		return wsconn_collect(ws, p, n);
	switch (ws_frame_parse(&ws->order, p, n, &f, &why)) {
	case WS_FRAME_MORE: return 0;
	case WS_FRAME_BAD: wsconn_fail(ws, WS_STATUS_PROTOCOL, why); return n;
	case WS_FRAME_DONE: break;
	}
	if (!ws_is_control(f.opcode))
		return wsconn_data(ws, &f, p, n);
	if (n - f.head_n < f.payload_n)
		return 0;
	wsconn_control(ws, &f, p + f.head_n);
	return f.head_n + (size_t)f.payload_n;
}
