/* What sse.c shares with jsonw.c: writing a number to a place that is known to be large enough. */
#ifndef BOXD_PROTO_JSONW_INTERNAL_H
#define BOXD_PROTO_JSONW_INTERNAL_H

#include <stdint.h>

#define JSONW_INT_MAX 20 /* digits of UINT64_MAX; also INT64_MIN with its sign */

/* Write the decimal form at `at` and return where it ends. */
uint8_t *jsonw_put_u64(uint8_t *at, uint64_t v) __attribute__((nonnull));
uint8_t *jsonw_put_i64(uint8_t *at, int64_t v) __attribute__((nonnull));

#endif
