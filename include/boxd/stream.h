/*
 * A reply whose body is produced bit by bit: chunked for HTTP/1.1, ended by closing for 1.0, or of
 * a length known beforehand. Bytes are formatted straight into the connection's output queue.
 * Back-pressure: stream_room() says how much the client's queue takes now; when it was 0, on_room
 * is called once there is room again. A client that makes no progress for LIMIT_HTTP_WRITE_STALL_MS
 * is dropped: its op is cancelled.
 */
#ifndef BOXD_STREAM_H
#define BOXD_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"
#include "boxd/req.h"

/* Length unknown: chunked. */
#define STREAM_CHUNKED UINT64_MAX

/*
 * Sends the head (with the first flush). The request must have an op. Head data of the request
 * is released: req_field() and the like answer nothing afterwards. content_type may be NULL: it was
 * given by reply_field(), or there is none.
 * on_room(op) is called from the loop when output drained after stream_room() said 0.
 */
void stream_start(struct req *r, int status, const char *content_type, uint64_t length,
	void (*on_room)(struct op *op)) __attribute__((nonnull(1)));

/* Bytes the queue takes before its source should pause. */
size_t stream_room(const struct req *r) __attribute__((nonnull));

/*
 * Opens a piece of body: append to the returned buffer (only append), then stream_commit().
 * NULL when the client has gone or memory is out; then nothing is to be committed.
 * Nothing is sent before stream_flush() or the end of this turn of the loop.
 */
struct buf *stream_open(struct req *r) __attribute__((nonnull));
void stream_commit(struct req *r) __attribute__((nonnull));

/* Writes what is queued now rather than at the end of the turn. */
void stream_flush(struct req *r) __attribute__((nonnull));

/*
 * Sends at most n bytes of a file with sendfile(2), from *offset, which advances, for a stream of
 * known length. What was queued before goes first. The number of bytes that the socket took: 0
 * when it is full (on_room is called when there is room), or when the file has become shorter, or
 * cannot be read: then *failed is set, and the caller aborts.
 */
size_t stream_file(struct req *r, int fd, uint64_t *offset, size_t n, bool *failed)
	__attribute__((nonnull));

/*
 * A field after a chunked body (RFC 9110 6.5), sent by stream_end(). Clients that cannot read
 * trailers (and HTTP/1.0) do not see it. Announce it with reply_field(r, "Trailer", name).
 */
void stream_trailer(struct req *r, const char *name, const char *value) __attribute__((nonnull));

/*
 * Writes something that no client sees, so that one that has closed its socket, and not only its
 * sending side, is noticed: an interim response before the reply, a zero in front of the next chunk
 * size within a chunked one. False where there is no such thing: a body of known length, HTTP/1.0.
 */
bool stream_probe(struct req *r) __attribute__((nonnull));

/* The body is complete: the final chunk. The op ends with op_end(). */
void stream_end(struct req *r) __attribute__((nonnull));

/* The body cannot be completed: the connection is cut, so that the client sees an error and not a
 * short body. */
void stream_abort(struct req *r) __attribute__((nonnull));

#endif
