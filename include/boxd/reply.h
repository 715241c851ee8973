/*
 * The answer to a request: whole replies here, streamed ones in stream.h. A reply happens exactly
 * once: a second call asserts. Every answer carries Date, X-Request-ID and a framing that lets the
 * connection live on where the client allows it. On a request whose client has gone all calls
 * do nothing.
 */
#ifndef BOXD_REPLY_H
#define BOXD_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"
#include "boxd/req.h"

/* Adds a field to the reply that follows. One with a CR or LF in it is left out, and logged. */
void reply_field(struct req *r, const char *name, const char *value) __attribute__((nonnull));

/* The same with bytes that are known to be a field. Date or X-Request-ID replaces ours. */
void reply_field_str(struct req *r, struct str name, struct str value) __attribute__((nonnull));

/* A reply without a body (Content-Length: 0). */
void reply_empty(struct req *r, int status) __attribute__((nonnull));

/* A whole body, copied. HEAD sends the same fields without it. gzip'd when it is worth it and the
 * client accepts it. */
void reply_body(struct req *r, int status, const char *content_type, const void *body, size_t n)
	__attribute__((nonnull(1, 3)));

/* A whole body that is gzip'd already, borrowed for the call; a client that does not accept that
 * gets it unpacked. */
void reply_gzipped(struct req *r, int status, const char *content_type, const void *packed,
	size_t n) __attribute__((nonnull(1, 4)));

/* The head alone, as HEAD wants it for a reply whose length is known (or STREAM_CHUNKED: unknown).
 */
void reply_head(struct req *r, int status, const char *content_type, uint64_t length)
	__attribute__((nonnull(1)));

/* Has a reply been given or begun? */
bool reply_started(const struct req *r) __attribute__((nonnull));

/* After this reply the connection is closed. */
void reply_close(struct req *r) __attribute__((nonnull));

/* "OK", "Not Found"... never NULL. */
const char *reply_reason(int status);

#endif
