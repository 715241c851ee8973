/*
 * Fuzzes the frames of WebSocket. The first byte of an input chooses cuts and whether compression
 * is agreed upon. The oracle: however the stream is cut into reads, the same frames come out and it
 * ends at the same place in the same way; an error that shows in a head shows in every longer one;
 * what comes out, written anew in its shortest form, reads as the same frame.
 */
#include <string.h>

#include "boxd/buf.h"
#include "boxd/utf8.h"
#include "boxd/ws_frame.h"
#include "fuzz.h"

struct outcome {
	struct buf frames; /* what was read, serialised */
	size_t taken;
	enum ws_frame_result end;
	const char *why;
};

static void check_head(const uint8_t *p, const struct ws_frame *f)
{
	uint8_t again[WS_HEAD_MAX];
	size_t n = ws_frame_head(again, f->opcode, f->rsv1, f->payload_n);

	FUZZ_CHECK(n + sizeof(f->mask) == f->head_n);
	/* The same but for FIN and the mask's bit. */
	FUZZ_CHECK((again[0] & 0x7f) == (p[0] & 0x7f) && (again[1] | 0x80) == p[1]);
	FUZZ_CHECK(memcmp(again + 2, p + 2, n - 2) == 0);
	FUZZ_CHECK(memcmp(f->mask, p + n, sizeof(f->mask)) == 0);
	FUZZ_CHECK(!ws_is_control(f->opcode) || (f->fin && !f->rsv1 && f->payload_n <= 125));
}

static void check_close(const uint8_t *p, size_t n)
{
	uint16_t code, bad = ws_close_parse(p, n, &code);

	FUZZ_CHECK(bad == 0 || bad == WS_STATUS_PROTOCOL || bad == WS_STATUS_NOT_TEXT);
	FUZZ_CHECK(bad != 0 || (n == 0) == (code == WS_STATUS_NONE));
	FUZZ_CHECK(bad != 0 || n == 0 || ws_close_code_ok(code));
}

/* Unmasked at once, and byte by byte: the same. */
static void check_payload(const struct ws_frame *f, const uint8_t *p, size_t n, struct buf *out)
{
	uint8_t *to = buf_reserve(out, n + 1);

	FUZZ_CHECK(to != NULL);
	if (n > 0)
		memcpy(to, p, n);
	ws_unmask(to, n, f->mask, 0);
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK(to[i] == (p[i] ^ f->mask[i % 4]));
	if (f->opcode == WS_CLOSE)
		check_close(to, n);
	buf_commit(out, n);
}

/* One frame at p. False when it needs more than n bytes, or is bad. */
static bool take_frame(struct ws_order *o, const uint8_t *p, size_t n, struct outcome *out)
{
	struct ws_frame f = {0};

	out->end = ws_frame_parse(o, p, n, &f, &out->why);
	if (out->end != WS_FRAME_DONE)
		return false;
	FUZZ_CHECK(f.head_n <= n);
	check_head(p, &f);
	if (f.payload_n > n - f.head_n) {
		out->end = WS_FRAME_MORE;
		return false;
	}
	FUZZ_CHECK(buf_add(&out->frames, p, f.head_n) == 0);
	check_payload(&f, p + f.head_n, (size_t)f.payload_n, &out->frames);
	ws_order_advance(o, &f);
	FUZZ_CHECK(o->open <= WS_BINARY);
	out->taken += f.head_n + (size_t)f.payload_n;
	return true;
}

static void run(const uint8_t *data, size_t size, bool deflate, uint32_t *seed, struct outcome *out)
{
	struct ws_order o = {.deflate = deflate};
	size_t have = 0;

	*out = (struct outcome){.end = WS_FRAME_MORE};
	do {
		have += seed != NULL ? fuzz_step(seed, size - have) : size;
		while (take_frame(&o, data + out->taken, have - out->taken, out))
			;
	} while (out->end == WS_FRAME_MORE && have < size);
}

static void check_cuts(const uint8_t *data, size_t size, bool deflate, uint32_t seed)
{
	struct outcome whole, cut;

	run(data, size, deflate, NULL, &whole);
	run(data, size, deflate, &seed, &cut);
	FUZZ_CHECK(whole.end == cut.end && whole.taken == cut.taken);
	FUZZ_CHECK(whole.end != WS_FRAME_BAD || strcmp(whole.why, cut.why) == 0);
	FUZZ_CHECK(buf_len(&whole.frames) == buf_len(&cut.frames));
	FUZZ_CHECK(
		buf_len(&whole.frames) == 0 ||
		memcmp(buf_data(&whole.frames), buf_data(&cut.frames), buf_len(&cut.frames)) == 0);
	buf_fini(&whole.frames);
	buf_fini(&cut.frames);
}

/* A text is good in pieces when its characters are, one after the other. */
static void check_text(const uint8_t *data, size_t size, uint32_t seed)
{
	struct utf8_check c = {0};
	size_t good = 0, fed = 0;
	bool ok = true;

	while (good < size) {
		size_t len = utf8_sequence(data + good, size - good);

		if (len == 0)
			break;
		good += len;
	}
	while (ok && fed < size) {
		size_t step = fuzz_step(&seed, size - fed);

		ok = utf8_check(&c, data + fed, step);
		fed += step;
	}
	FUZZ_CHECK((ok && utf8_check_whole(&c)) == (good == size));
	FUZZ_CHECK(ok == (good + utf8_incomplete_tail(data + good, size - good) == size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	check_cuts(data + 1, size - 1, data[0] & 1, data[0]);
	check_text(data + 1, size - 1, data[0]);
	return 0;
}
