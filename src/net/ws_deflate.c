/*
 * ws_deflate: zlib for WebSocket messages.
 *
 * A message ends with a flush whose last four bytes, an empty stored block, are left out on the
 * wire and put back before inflating. Whether a payload was complete shows afterwards: the decoder
 * must stand between two blocks, with nothing left over.
 */
#include "boxd/ws_deflate.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#define ZLIB_CONST
#include <zlib.h>

#include "boxd/buf.h"

#define WS_PACK_MIN    128    /* below it there is nothing to gain */
#define WS_PACK_MAX    262144 /* more would hold up the loop for milliseconds */
#define WS_PACK_LEVEL  1
#define WS_PACK_MEMORY 8
#define WS_UNPACK_STEP 16384
#define WS_TAIL_LEN    4

static const uint8_t ws_deflate_tail[WS_TAIL_LEN] = {0x00, 0x00, 0xff, 0xff};

struct ws_deflate {
	size_t refs;
	unsigned pack_bits; /* of the compressor's window; 0: there is none */
	bool can_unpack;
	z_stream pack, unpack;
	struct buf packed, unpacked;
};

static struct ws_deflate *ws_deflate_shared;

struct ws_deflate *ws_deflate_ref(void)
{
	if (ws_deflate_shared == NULL)
		ws_deflate_shared = calloc(1, sizeof(*ws_deflate_shared));
	if (ws_deflate_shared != NULL)
		ws_deflate_shared->refs++;
	return ws_deflate_shared;
}

static void ws_deflate_drop_pack(struct ws_deflate *d)
{
	if (d->pack_bits > 0)
		deflateEnd(&d->pack);
	d->pack_bits = 0;
}

void ws_deflate_unref(struct ws_deflate *d)
{
	if (d == NULL || --d->refs > 0)
		return;
	assert(d == ws_deflate_shared);
	ws_deflate_shared = NULL;
	ws_deflate_drop_pack(d);
	if (d->can_unpack)
		inflateEnd(&d->unpack);
	buf_fini(&d->packed);
	buf_fini(&d->unpacked);
	free(d);
}

/* ---- out ---- */

/* Peers with a window of another size are rare: the compressor is made anew for them. */
static bool ws_deflate_ready(struct ws_deflate *d, unsigned bits)
{
	if (d->pack_bits == bits)
		return deflateReset(&d->pack) == Z_OK;
	ws_deflate_drop_pack(d);
	d->pack = (z_stream){0};
	if (deflateInit2(&d->pack, WS_PACK_LEVEL, Z_DEFLATED, -(int)bits, WS_PACK_MEMORY,
		    Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	d->pack_bits = bits;
	return true;
}

static bool ws_pack_feed(struct ws_deflate *d, const void *data, size_t n, int flush)
{
	d->pack.next_in = data;
	d->pack.avail_in = (uInt)n;
	return deflate(&d->pack, flush) == Z_OK && d->pack.avail_in == 0;
}

const uint8_t *ws_deflate_pack(struct ws_deflate *d, unsigned bits, const void *head, size_t head_n,
	const void *data, size_t n, size_t *out_n)
{
	size_t total = head_n + n;
	uint8_t *out;

	if (total < WS_PACK_MIN || total > WS_PACK_MAX)
		return NULL;
	/* zlib has no raw window of 2^8; in so short a message no match is further away. */
	if (bits == 8) {
		if (total > 256)
			return NULL;
		bits = 9;
	}
	buf_clear(&d->packed);
	out = buf_reserve(&d->packed, total);
	if (out == NULL || !ws_deflate_ready(d, bits))
		return NULL;
	d->pack.next_out = out;
	d->pack.avail_out = (uInt)total;
	if (head_n > 0 && !ws_pack_feed(d, head, head_n, Z_NO_FLUSH))
		return NULL;
	/* Room that is left says that the flush is complete. */
	if (!ws_pack_feed(d, data, n, Z_SYNC_FLUSH) || d->pack.avail_out == 0)
		return NULL;
	*out_n = total - d->pack.avail_out - WS_TAIL_LEN;
	return out;
}

/* ---- in ---- */

static bool ws_unpack_ready(struct ws_deflate *d)
{
	if (d->can_unpack)
		return inflateReset(&d->unpack) == Z_OK;
	d->unpack = (z_stream){0};
	d->can_unpack = inflateInit2(&d->unpack, -MAX_WBITS) == Z_OK;
	return d->can_unpack;
}

/* Takes all of p; *ended when the last thing in it was the end of a final block. */
static enum ws_unpack ws_unpack_feed(
	struct ws_deflate *d, const uint8_t *p, size_t n, size_t max, bool *ended)
{
	z_stream *z = &d->unpack;
	int rc;

	z->next_in = p;
	z->avail_in = (uInt)n;
	do {
		/* One byte over the limit shows that there is more. */
		size_t step = max + 1 - buf_len(&d->unpacked);

		if (step > WS_UNPACK_STEP)
			step = WS_UNPACK_STEP;
		z->next_out = buf_reserve(&d->unpacked, step);
		if (z->next_out == NULL)
			return WS_UNPACK_NO_MEMORY;
		z->avail_out = (uInt)step;
		rc = inflate(z, Z_SYNC_FLUSH);
		buf_commit(&d->unpacked, step - z->avail_out);
		if (buf_len(&d->unpacked) > max)
			return WS_UNPACK_TOO_LARGE;
		if (rc == Z_MEM_ERROR)
			return WS_UNPACK_NO_MEMORY;
		if (rc != Z_OK && rc != Z_BUF_ERROR && rc != Z_STREAM_END)
			return WS_UNPACK_BAD;
		*ended = rc == Z_STREAM_END;
		/* Another sequence of blocks may follow a final one (RFC 7692 7.2.3.4). */
		if (*ended && inflateReset(z) != Z_OK)
			return WS_UNPACK_BAD;
	} while (*ended ? z->avail_in > 0 : z->avail_out == 0);
	return WS_UNPACK_DONE;
}

/* Between two blocks, and no bits of a third. See inflate() on data_type. */
static bool ws_unpack_whole(const z_stream *z)
{
	return z->avail_in == 0 && (z->data_type & 128) != 0 && (z->data_type & 63) == 0;
}

enum ws_unpack ws_deflate_unpack(struct ws_deflate *d, const uint8_t *p, size_t n, size_t max,
	const uint8_t **out, size_t *out_n)
{
	enum ws_unpack r;
	bool ended = false;

	buf_clear(&d->unpacked);
	*out = NULL;
	*out_n = 0;
	/* What zlib makes of a flush when nothing came since the last one. */
	if (n == 0)
		return WS_UNPACK_DONE;
	if (!ws_unpack_ready(d))
		return WS_UNPACK_NO_MEMORY;
	r = ws_unpack_feed(d, p, n, max, &ended);
	if (r != WS_UNPACK_DONE)
		return r;
	/* Some encoders end the last block instead of flushing it. */
	if (!ended) {
		r = ws_unpack_feed(d, ws_deflate_tail, WS_TAIL_LEN, max, &ended);
		if (r != WS_UNPACK_DONE)
			return r;
		if (!ws_unpack_whole(&d->unpack))
			return WS_UNPACK_BAD;
	}
	*out = buf_data(&d->unpacked);
	*out_n = buf_len(&d->unpacked);
	return WS_UNPACK_DONE;
}
