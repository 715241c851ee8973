/*
 * The frames of WebSocket (RFC 6455 section 5), on the server's side: masked frames in, unmasked
 * ones out. Pure, and strict: see ws_frame_parse().
 */
#ifndef BOXD_WS_FRAME_H
#define BOXD_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode {
	WS_CONTINUATION = 0,
	WS_TEXT = 1,
	WS_BINARY = 2,
	WS_CLOSE = 8, /* this and above: control */
	WS_PING = 9,
	WS_PONG = 10
};

/* Status codes of section 7.4 that are used by name. */
enum ws_status {
	WS_STATUS_NORMAL = 1000,
	WS_STATUS_GOING_AWAY = 1001,
	WS_STATUS_PROTOCOL = 1002,
	WS_STATUS_NONE = 1005,     /* never sent: the close frame had none */
	WS_STATUS_ABNORMAL = 1006, /* never sent: there was no close frame */
	WS_STATUS_NOT_TEXT = 1007, /* not UTF-8, or not what was compressed */
	WS_STATUS_TOO_LARGE = 1009
};

#define WS_CONTROL_MAX 125 /* payload of a control frame */
#define WS_REASON_MAX  (WS_CONTROL_MAX - 2)
#define WS_HEAD_MAX    10 /* of an unmasked frame */

struct ws_frame {
	enum ws_opcode opcode;
	bool fin, rsv1;
	uint8_t mask[4];
	size_t head_n; /* bytes before the payload */
	uint64_t payload_n;
};

/* What one frame means for the next. Zeroed at the start but for deflate. */
struct ws_order {
	bool deflate;        /* RSV1 is allowed: it marks a compressed message (RFC 7692) */
	enum ws_opcode open; /* WS_TEXT or WS_BINARY: its last fragment is yet to come */
};

enum ws_frame_result {
	WS_FRAME_MORE, /* the head is not complete */
	WS_FRAME_DONE, /* *f is filled; the payload may not have arrived */
	WS_FRAME_BAD   /* WS_STATUS_PROTOCOL; *why is a literal */
};

/*
 * Reads the head of a client's frame. Refused, as early as it shows: no mask, reserved bits (but
 * RSV1 as above, on the first frame of a data message), reserved opcodes, control frames that are
 * fragmented or too long, a continuation of nothing, a new message inside another, lengths not in
 * their shortest form or with the top bit. Reads nothing of the payload and changes nothing, so it
 * may be asked again with more.
 */
enum ws_frame_result ws_frame_parse(const struct ws_order *o, const uint8_t *p, size_t n,
	struct ws_frame *f, const char **why) __attribute__((warn_unused_result, nonnull(1, 4, 5)));

/* The frame is taken. */
void ws_order_advance(struct ws_order *o, const struct ws_frame *f) __attribute__((nonnull));

static inline bool ws_is_control(enum ws_opcode opcode)
{
	return opcode >= WS_CLOSE;
}

/* Takes the mask off bytes of a payload, or puts it on; offset: how many came before them. */
void ws_unmask(uint8_t *p, size_t n, const uint8_t mask[4], uint64_t offset)
	__attribute__((nonnull(3)));

/* Writes the head of a frame that is not masked, and not fragmented; its length. */
size_t ws_frame_head(uint8_t out[static WS_HEAD_MAX], enum ws_opcode opcode, bool rsv1, uint64_t n);

/*
 * Reads the payload of a close frame. 0 with *code set (WS_STATUS_NONE when empty), or the status
 * to fail with: WS_STATUS_PROTOCOL for one byte or a code that may not be sent, WS_STATUS_NOT_TEXT
 * for a reason that is not UTF-8.
 */
uint16_t ws_close_parse(const uint8_t *p, size_t n, uint16_t *code)
	__attribute__((warn_unused_result, nonnull(3)));

/* May an endpoint send this code (section 7.4 and the registry of IANA)? */
bool ws_close_code_ok(uint16_t code);

#endif
