/*
 * The chunked transfer coding (RFC 9112 section 7.1), strict: CRLF only, hex size without sign,
 * prefix or overflow, chunk extensions checked and ignored, trailers checked, bounded and dropped.
 */
#ifndef BOXD_CHUNKED_H
#define BOXD_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

struct chunked {
	uint64_t left; /* data bytes left of the current chunk */
	size_t meta;   /* bytes of the size line or trailer section so far */
	size_t meta_max;
	uint8_t state;
	uint8_t digits;
};

enum chunked_result {
	CHUNKED_MORE, /* all input taken */
	CHUNKED_DATA, /* *data, *data_n are body bytes inside the input */
	CHUNKED_DONE, /* body and trailers are complete; the rest of the input follows them */
	CHUNKED_BAD,  /* not the grammar, or a size line over meta_max */
	CHUNKED_TRAILERS_TOO_LARGE /* a trailer section over meta_max */
};

void chunked_init(struct chunked *c, size_t meta_max) __attribute__((nonnull));

/*
 * Takes bytes from [*in, *in + *n), advancing both. Call until it answers something but
 * CHUNKED_DATA. An end (DONE, BAD, TOO_LARGE) is final.
 */
enum chunked_result chunked_next(struct chunked *c, const uint8_t **in, size_t *n,
	const uint8_t **data, size_t *data_n) __attribute__((warn_unused_result, nonnull));

#endif
