/*
 * Writing JSON straight into a buffer. Strings are repaired on the way: a byte that is not UTF-8
 * becomes U+FFFD, control characters and U+0085, U+2028, U+2029 are escaped, because line iterators
 * of clients split on those three (contract 2.2). Running out of memory is remembered and told by
 * jsonw_end(), so that the calls in between need no check.
 */
#ifndef BOXD_JSONW_H
#define BOXD_JSONW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"

struct jsonw {
	struct buf *out;
	bool comma;  /* a value stands before the next one */
	bool failed; /* memory ran out */
};

void jsonw_begin(struct jsonw *w, struct buf *out) __attribute__((nonnull));

void jsonw_object(struct jsonw *w);
void jsonw_object_end(struct jsonw *w);
void jsonw_array(struct jsonw *w);
void jsonw_array_end(struct jsonw *w);

/* The key must be plain ASCII without quotes: it is a literal of ours. */
void jsonw_key(struct jsonw *w, const char *key);
/* A key that came from outside. */
void jsonw_key_n(struct jsonw *w, const char *key, size_t n);

void jsonw_str(struct jsonw *w, const char *s); /* NULL writes null */
void jsonw_str_n(struct jsonw *w, const void *data, size_t n);
void jsonw_int(struct jsonw *w, int64_t v);
void jsonw_bool(struct jsonw *w, bool v);
void jsonw_null(struct jsonw *w);

/*
 * 0, or -1 when memory ran out somewhere since jsonw_begin(); the buffer's content is then
 * unusable.
 */
int jsonw_end(struct jsonw *w) __attribute__((warn_unused_result, nonnull));

/* The body of a JSON string (no quotes) for these bytes. 0, or -1 when memory is out. */
int jsonw_escape(struct buf *out, const uint8_t *data, size_t n)
	__attribute__((warn_unused_result, nonnull(1)));

#endif
