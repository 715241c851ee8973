/* The character classes of RFC 9110 section 5, for the head and for trailers and chunk extensions.
 */
#ifndef BOXD_PROTO_HTTP1_INTERNAL_H
#define BOXD_PROTO_HTTP1_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

/* 1 for the bytes a token (a method, a field name) is made of. */
extern const uint8_t http1_token[256];

static inline bool http1_is_token(uint8_t c)
{
	return http1_token[c] != 0;
}

/* What a field value may hold: visible bytes, obs-text, space and tab. */
static inline bool http1_is_value(uint8_t c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

#endif
