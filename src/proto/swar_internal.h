/*
 * Eight bytes at a time in a plain 64-bit word, for the loops that see every byte a client or a
 * command sends; no instruction set is assumed.
 *
 * A mask has bit 7 set in each byte that matches. A borrow may set it in bytes after the first
 * match as well, so a mask answers two questions only: is there a match, and where is the first.
 */
#ifndef BOXD_PROTO_SWAR_INTERNAL_H
#define BOXD_PROTO_SWAR_INTERNAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SWAR_BYTES 8u
#define SWAR_ONES  UINT64_C(0x0101010101010101)
#define SWAR_HIGH  UINT64_C(0x8080808080808080)

/* The byte at p becomes the lowest one of the word on every machine. */
static inline uint64_t swar_load(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	return w;
}

/* Bytes below n, n <= 0x80. */
static inline uint64_t swar_below(uint64_t w, uint8_t n)
{
	return (w - SWAR_ONES * n) & ~w & SWAR_HIGH;
}

static inline uint64_t swar_equal(uint64_t w, uint8_t c)
{
	return swar_below(w ^ (SWAR_ONES * c), 1);
}

static inline size_t swar_first(uint64_t mask)
{
	return (size_t)__builtin_ctzll(mask) / 8;
}

#endif
