/*
 * permessage-deflate (RFC 7692 section 7.2) without context takeover: every message is compressed
 * by itself. So there is one compressor and one decompressor for all connections of the thread,
 * made when first used and released with the last reference.
 */
#ifndef BOXD_WS_DEFLATE_H
#define BOXD_WS_DEFLATE_H

#include <stddef.h>
#include <stdint.h>

struct ws_deflate;

/* On the loop's thread only. NULL: out of memory. */
struct ws_deflate *ws_deflate_ref(void) __attribute__((warn_unused_result));
/* NULL is fine. */
void ws_deflate_unref(struct ws_deflate *d);

/*
 * Compresses one message, head and data behind each other, for a peer whose window is 2^bits bytes
 * (8..15). NULL: better sent as it is (too short, too long for one turn of the loop, does not
 * shrink, or memory is out). Valid until the next call.
 */
const uint8_t *ws_deflate_pack(struct ws_deflate *d, unsigned bits, const void *head, size_t head_n,
	const void *data, size_t n, size_t *out_n) __attribute__((nonnull(1, 7)));

enum ws_unpack { WS_UNPACK_DONE, WS_UNPACK_BAD, WS_UNPACK_TOO_LARGE, WS_UNPACK_NO_MEMORY };

/*
 * Decompresses the payload of one message, stopping at max bytes. *out is valid until the next
 * unpack; pack leaves it alone.
 */
enum ws_unpack ws_deflate_unpack(struct ws_deflate *d, const uint8_t *p, size_t n, size_t max,
	const uint8_t **out, size_t *out_n) __attribute__((warn_unused_result, nonnull(1, 5, 6)));

/* The most bytes that a message of n bytes takes when an encoder could not make it smaller. */
static inline size_t ws_deflate_bound(size_t n)
{
	return n + n / 8 + 64;
}

#endif
