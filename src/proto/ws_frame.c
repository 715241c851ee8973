/*
 * ws_frame: heads of frames, masks and close payloads.
 *
 * A head is decided from its front: the first byte alone can be wrong, then the second, then the
 * extended length. What can be refused is refused before the bytes behind it are waited for,
 * because a peer that is wrong about the front may never send them.
 */
#include "boxd/ws_frame.h"

#include <string.h>

#include "boxd/utf8.h"

#define WS_FIN       0x80
#define WS_RSV1      0x40
#define WS_RSV23     0x30
#define WS_MASKED    0x80
#define WS_LENGTH_16 126 /* a length in the next two bytes */
#define WS_LENGTH_64 127 /* in the next eight */

static const char *ws_frame_check_first(const struct ws_order *o, const struct ws_frame *f)
{
	if (ws_is_control(f->opcode)) {
		if (f->opcode > WS_PONG)
			return "reserved opcode";
		if (f->rsv1)
			return "reserved bit";
		return f->fin ? NULL : "fragmented control frame";
	}
	if (f->opcode > WS_BINARY)
		return "reserved opcode";
	if (f->opcode == WS_CONTINUATION) {
		if (f->rsv1)
			return "reserved bit";
		return o->open != WS_CONTINUATION ? NULL : "continuation of nothing";
	}
	if (f->rsv1 && !o->deflate)
		return "reserved bit";
	return o->open == WS_CONTINUATION ? NULL : "message inside a message";
}

static uint64_t ws_frame_be(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static enum ws_frame_result ws_frame_bad(const char **why, const char *text)
{
	*why = text;
	return WS_FRAME_BAD;
}

/* The length behind the second byte, whose low bits are `code`. 0 bytes of it when code says all.
 */
static enum ws_frame_result ws_frame_length(
	const uint8_t *p, size_t n, unsigned code, struct ws_frame *f, const char **why)
{
	size_t bytes = code == WS_LENGTH_16 ? 2 : code == WS_LENGTH_64 ? 8 : 0;

	f->head_n = 2 + bytes + sizeof(f->mask);
	f->payload_n = code;
	if (bytes == 0)
		return WS_FRAME_DONE;
	if (bytes == 8 && n > 2 && (p[2] & 0x80) != 0)
		return ws_frame_bad(why, "length over 63 bits");
	if (n < 2 + bytes)
		return WS_FRAME_MORE;
	f->payload_n = ws_frame_be(p + 2, bytes);
	if (f->payload_n < (bytes == 2 ? WS_LENGTH_16 : 65536))
		return ws_frame_bad(why, "length not in its shortest form");
	return WS_FRAME_DONE;
}

enum ws_frame_result ws_frame_parse(
	const struct ws_order *o, const uint8_t *p, size_t n, struct ws_frame *f, const char **why)
{
	const char *bad;
	enum ws_frame_result r;

	if (n < 1)
		return WS_FRAME_MORE;
	f->fin = (p[0] & WS_FIN) != 0;
	f->rsv1 = (p[0] & WS_RSV1) != 0;
	f->opcode = (enum ws_opcode)(p[0] & 0x0f);
	bad = (p[0] & WS_RSV23) != 0 ? "reserved bit" : ws_frame_check_first(o, f);
	if (bad != NULL)
		return ws_frame_bad(why, bad);
	if (n < 2)
		return WS_FRAME_MORE;
	if ((p[1] & WS_MASKED) == 0)
		return ws_frame_bad(why, "frame without a mask");
	if (ws_is_control(f->opcode) && (p[1] & 0x7f) > WS_CONTROL_MAX)
		return ws_frame_bad(why, "long control frame");
	r = ws_frame_length(p, n, p[1] & 0x7f, f, why);
	if (r != WS_FRAME_DONE)
		return r;
	if (n < f->head_n)
		return WS_FRAME_MORE;
	memcpy(f->mask, p + f->head_n - sizeof(f->mask), sizeof(f->mask));
	return WS_FRAME_DONE;
}

void ws_order_advance(struct ws_order *o, const struct ws_frame *f)
{
	if (ws_is_control(f->opcode))
		return;
	if (f->fin)
		o->open = WS_CONTINUATION;
	else if (f->opcode != WS_CONTINUATION)
		o->open = f->opcode;
}

/* Eight bytes, wherever they lie. The key has the order of the bytes in memory, as the data has. */
static inline void ws_xor(uint8_t *p, uint64_t key)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	w ^= key;
	memcpy(p, &w, sizeof(w));
}

void ws_unmask(uint8_t *p, size_t n, const uint8_t mask[4], uint64_t offset)
{
	uint8_t turned[8];
	uint64_t key;
	size_t i = 0;

	for (size_t k = 0; k < sizeof(turned); k++)
		turned[k] = mask[(offset + k) & 3];
	memcpy(&key, turned, sizeof(key));
	for (; n - i >= 32; i += 32) {
		ws_xor(p + i, key);
		ws_xor(p + i + 8, key);
		ws_xor(p + i + 16, key);
		ws_xor(p + i + 24, key);
	}
	for (; n - i >= 8; i += 8)
		ws_xor(p + i, key);
	for (size_t k = 0; i < n; i++, k++)
		p[i] ^= turned[k];
}

size_t ws_frame_head(uint8_t out[static WS_HEAD_MAX], enum ws_opcode opcode, bool rsv1, uint64_t n)
{
	size_t bytes = 0;

	out[0] = (uint8_t)(WS_FIN | (rsv1 ? WS_RSV1 : 0) | opcode);
	if (n < WS_LENGTH_16) {
		out[1] = (uint8_t)n;
	} else if (n < 65536) {
		out[1] = WS_LENGTH_16;
		bytes = 2;
	} else {
		out[1] = WS_LENGTH_64;
		bytes = 8;
	}
	for (size_t i = 0; i < bytes; i++)
		out[2 + i] = (uint8_t)(n >> 8 * (bytes - 1 - i));
	return 2 + bytes;
}

bool ws_close_code_ok(uint16_t code)
{
	/* 1004 is reserved; 1005, 1006 and 1015 say what happened when no frame came. */
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
	       (code >= 3000 && code <= 4999);
}

uint16_t ws_close_parse(const uint8_t *p, size_t n, uint16_t *code)
{
	struct utf8_check text = {0};

	*code = WS_STATUS_NONE;
	if (n == 0)
		return 0;
	if (n == 1)
		return WS_STATUS_PROTOCOL;
	*code = (uint16_t)ws_frame_be(p, 2);
	if (!ws_close_code_ok(*code))
		return WS_STATUS_PROTOCOL;
	if (!utf8_check(&text, p + 2, n - 2) || !utf8_check_whole(&text))
		return WS_STATUS_NOT_TEXT;
	return 0;
}
