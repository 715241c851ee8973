/*
 * Streamed replies. A piece of body is formatted in place, in the connection's output queue: its
 * chunk header is a fixed number of hex digits, reserved when the piece is opened and filled in
 * when its length is known. Nothing is copied on the way to the socket.
 */
#include "boxd/stream.h"

#include <assert.h>
#include <string.h>

#include "boxd/limits.h"
#include "net_internal.h"

#define STREAM_HEX   7 /* digits of a chunk size: pieces up to 256 MiB */
#define STREAM_CHUNK (STREAM_HEX + 2)

static bool stream_live(const struct req *r)
{
	return r->conn->state != CONN_CLOSED && r->reply == REPLY_STREAMING;
}

void stream_start(struct req *r, int status, const char *content_type, uint64_t length,
	void (*on_room)(struct op *op))
{
	if (r->conn->state == CONN_CLOSED)
		return;
	assert(r->reply == REPLY_NONE && r->op != NULL && r->method != HTTP_HEAD);
	if (reply_write_head(r, status, content_type, length) < 0)
		return;
	r->reply = REPLY_STREAMING;
	r->on_room = on_room;
	r->length_left = length;
	r->chunked_reply = length == STREAM_CHUNKED && r->minor > 0;
	buf_fini(&r->fields);
	conn_release_head(r->conn);
}

size_t stream_room(const struct req *r)
{
	size_t max = limit_size(LIMIT_HTTP_OUT_BYTES), queued = buf_len(&r->conn->out);

	if (!stream_live(r))
		return 0;
	if (queued < max)
		return max - queued;
	/* Only a note for the connection, so the request is const to its user. */
	((struct req *)(uintptr_t)r)->want_room = true;
	return 0;
}

struct buf *stream_open(struct req *r)
{
	struct buf *out = &r->conn->out;

	if (!stream_live(r))
		return NULL;
	assert(r->piece == PIECE_NONE);
	conn_take_out(r->conn);
	if (buf_reserve(out, STREAM_CHUNK) == NULL) {
		conn_close(r->conn);
		return NULL;
	}
	r->piece = buf_len(out);
	if (r->chunked_reply)
		buf_commit(out, STREAM_CHUNK);
	return out;
}

static void stream_chunk_header(uint8_t *p, size_t n)
{
	for (int i = STREAM_HEX - 1; i >= 0; i--) {
		p[i] = (uint8_t) "0123456789abcdef"[n & 15];
		n >>= 4;
	}
	assert(n == 0);
	memcpy(p + STREAM_HEX, "\r\n", 2);
}

void stream_commit(struct req *r)
{
	struct buf *out = &r->conn->out;
	size_t start = r->piece, n;

	if (!stream_live(r))
		return;
	assert(start != PIECE_NONE);
	r->piece = PIECE_NONE;
	n = buf_len(out) - start;
	if (r->chunked_reply) {
		n -= STREAM_CHUNK;
		if (n == 0) {
			out->tail -= STREAM_CHUNK;
			return;
		}
		stream_chunk_header(buf_data(out) + start, n);
		if (buf_add(out, "\r\n", 2) < 0) {
			conn_close(r->conn);
			return;
		}
	} else if (r->length_left != STREAM_CHUNKED) {
		assert(n <= r->length_left);
		r->length_left -= n;
	}
	loop_defer(r->conn->srv->loop, &r->conn->later);
}

void stream_flush(struct req *r)
{
	if (stream_live(r))
		conn_flush(r->conn);
}

size_t stream_file(struct req *r, int fd, uint64_t *offset, size_t n, bool *failed)
{
	ssize_t sent;

	*failed = false;
	if (!stream_live(r))
		return 0;
	assert(r->piece == PIECE_NONE && !r->chunked_reply && n <= r->length_left);
	sent = conn_send_file(r->conn, fd, offset, n);
	if (sent > 0) {
		r->length_left -= (uint64_t)sent;
		return (size_t)sent;
	}
	*failed = sent < 0;
	r->want_room = true;
	return 0;
}

bool stream_probe(struct req *r)
{
	struct conn *c = r->conn;
	bool early = r->reply == REPLY_NONE && r->minor > 0;
	bool chunked = r->reply == REPLY_STREAMING && r->chunked_reply && r->piece == PIECE_NONE;

	if (c->state == CONN_CLOSED)
		return true;
	if (!early && !chunked)
		return false;
	if (buf_add_str(&c->out, early ? "HTTP/1.1 100 Continue\r\n\r\n" : "0") < 0)
		conn_close(c);
	else
		conn_flush(c);
	return true;
}

void stream_trailer(struct req *r, const char *name, const char *value)
{
	if (!stream_live(r) || !r->chunked_reply)
		return;
	assert(strpbrk(name, "\r\n") == NULL && strpbrk(value, "\r\n") == NULL);
	if (buf_printf(&r->trailers, "%s: %s\r\n", name, value) < 0)
		conn_close(r->conn);
}

void stream_end(struct req *r)
{
	struct conn *c = r->conn;

	if (!stream_live(r))
		return;
	assert(r->piece == PIECE_NONE);
	if (r->length_left != STREAM_CHUNKED && r->length_left > 0) {
		conn_close(c);
		return;
	}
	if (r->chunked_reply &&
		(buf_add(&c->out, "0\r\n", 3) < 0 ||
			buf_add(&c->out, buf_data(&r->trailers), buf_len(&r->trailers)) < 0 ||
			buf_add(&c->out, "\r\n", 2) < 0)) {
		conn_close(c);
		return;
	}
	r->reply = REPLY_DONE;
	conn_flush(c);
	conn_uncork(c);
	conn_reply_progress(c);
}

void stream_abort(struct req *r)
{
	if (stream_live(r))
		conn_close(r->conn);
}
