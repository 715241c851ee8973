/*
 * Query strings, form-style (contract 1.1): `+` and `%20` are spaces, a pair with a raw `;` is
 * dropped, the first occurrence of a scalar counts; and percent-decoding of path segments.
 */
#ifndef BOXD_QUERY_H
#define BOXD_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "boxd/buf.h"
#include "boxd/str.h"

enum query_result {
	QUERY_FOUND,
	QUERY_ABSENT, /* also at the end of an iteration */
	QUERY_BAD,    /* a broken percent escape, or a NUL byte */
	QUERY_NO_MEM
};

/*
 * The n-th (from 0) value of key, decoded, replaces the content of *out, which is empty after any
 * other answer. A key without '=' has an empty value.
 * QUERY_BAD concerns that value only: a broken pair elsewhere does not spoil it.
 */
enum query_result query_get(struct str raw, const char *key, size_t nth, struct buf *out)
	__attribute__((warn_unused_result, nonnull));

/*
 * The next value of key in *rest, which advances past it: one pass over a query that repeats a
 * key. QUERY_ABSENT at the end; after QUERY_BAD the next call goes on behind the broken value.
 */
enum query_result query_next(struct str *rest, const char *key, struct buf *out)
	__attribute__((warn_unused_result, nonnull));

/* Percent-decodes one path segment (no plus rule) into *out. QUERY_FOUND, _BAD or _NO_MEM. */
enum query_result query_decode_segment(struct str raw, struct buf *out)
	__attribute__((warn_unused_result, nonnull));

#endif
