/*
 * Bodies of requests that a handler wants as a whole, and those it takes bit by bit. A whole one of
 * a known length stays in the input buffer, behind its head, and is never copied; a chunked one is
 * decoded as it comes. Limits are checked before memory is taken: a declared length at once, a
 * chunked body with each piece.
 *
 * What is taken bit by bit is handed on from the input buffer, behind the head while there is one:
 * a reply that has begun takes the head away, and the rest of the body may still come.
 */
#include <assert.h>
#include <string.h>

#include "boxd/limits.h"
#include "net_internal.h"

#define BODY_CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

static void body_complete(struct conn *c)
{
	c->state = CONN_REPLY;
	conn_clear_deadline(c);
	c->req.on_body(&c->req, c->req.on_body_arg);
	assert(c->state != CONN_REPLY || c->req.reply != REPLY_NONE || c->req.op != NULL);
}

/* A Content-Length body is left where it arrived, behind its head. */
static bool body_length(struct conn *c)
{
	struct req *r = &c->req;
	size_t have = buf_len(&c->in) - r->head_len;

	if (have < r->body_len)
		return false;
	r->body_view = (struct str){(const char *)buf_data(&c->in) + r->head_len, r->body_len};
	body_complete(c);
	return true;
}

/* Decodes what is there of a chunked body and drops the raw bytes. */
static bool body_chunked(struct conn *c)
{
	struct req *r = &c->req;
	const uint8_t *in = buf_data(&c->in) + r->head_len;
	size_t n = buf_len(&c->in) - r->head_len;
	size_t before = n;
	const uint8_t *data;
	size_t data_n;
	enum chunked_result res;

	while ((res = chunked_next(&r->chunked, &in, &n, &data, &data_n)) == CHUNKED_DATA) {
		if (buf_len(&r->body) + data_n > r->body_max) {
			conn_bad(c, &ERR_TOO_LARGE, "the request body is too large");
			return true;
		}
		if (buf_add(&r->body, data, data_n) < 0) {
			conn_bad(c, &ERR_UNAVAILABLE, "out of memory");
			return true;
		}
	}
	if (res == CHUNKED_BAD || res == CHUNKED_TRAILERS_TOO_LARGE) {
		conn_bad(c, res == CHUNKED_BAD ? &ERR_BAD_REQUEST : &ERR_HEAD_TOO_LARGE,
			res == CHUNKED_BAD ? "malformed chunked body"
					   : "trailer section too large");
		return true;
	}
	/* What follows the body (the next request) moves up behind the head. */
	memmove(buf_data(&c->in) + r->head_len, in, n);
	c->in.tail -= before - n;
	if (res == CHUNKED_MORE)
		return false;
	r->body_view = (struct str){(const char *)buf_data(&r->body), buf_len(&r->body)};
	body_complete(c);
	return true;
}

bool conn_body_step(struct conn *c)
{
	if (c->req.head->body == HTTP_BODY_CHUNKED)
		return body_chunked(c);
	return body_length(c);
}

void body_continue(struct req *r)
{
	struct conn *c = r->conn;

	if (r->continue_owed && buf_len(&c->in) == r->head_len) {
		if (buf_add(&c->out, BODY_CONTINUE, sizeof(BODY_CONTINUE) - 1) < 0)
			conn_close(c);
		else
			conn_flush(c);
	}
	r->continue_owed = false;
}

void req_want_body(struct req *r, size_t max, void (*fn)(struct req *r, void *arg), void *arg)
{
	struct conn *c = r->conn;
	struct http1_head *h = r->head;

	assert(c->state == CONN_REPLY && r->reply == REPLY_NONE);
	r->on_body = fn;
	r->on_body_arg = arg;
	r->body_max = max;
	c->state = CONN_BODY;
	if (h->body == HTTP_BODY_CHUNKED) {
		chunked_init(&r->chunked, limit_size(LIMIT_HTTP_TRAILER_BYTES));
	} else if (h->body == HTTP_BODY_LENGTH) {
		if (h->content_length > max) {
			conn_bad(c, &ERR_TOO_LARGE, "the request body is too large");
			return;
		}
		r->body_len = (size_t)h->content_length;
	}
	body_continue(r);
	conn_set_deadline(c, limit(LIMIT_HTTP_BODY_MS));
}

/* ---- bit by bit ---- */

void body_feed_touch(struct conn *c)
{
	if (!c->writable && buf_len(&c->out) > 0)
		conn_set_deadline(c, limit(LIMIT_HTTP_WRITE_STALL_MS));
	else if (c->state == CONN_FEED && !c->req.feed_paused)
		conn_set_deadline(c, limit(LIMIT_HTTP_BODY_MS));
	else
		conn_clear_deadline(c);
}

static void body_feed_end(struct conn *c)
{
	c->state = CONN_REPLY;
	body_feed_touch(c);
	c->req.feed->on_end(c->req.op);
}

void body_feed_bad(struct conn *c, const struct err_kind *kind, const char *detail)
{
	struct err e = {0};

	err_set(&e, kind, "%s", detail);
	c->req.close = true;
	c->state = CONN_REPLY;
	body_feed_touch(c);
	c->req.feed->on_bad(c->req.op, &e);
}

/* What was handed on leaves the buffer. */
static void body_feed_drop(struct conn *c, size_t n)
{
	uint8_t *body = buf_data(&c->in) + c->req.head_len;

	if (c->req.head_len == 0) {
		buf_drain(&c->in, n);
		return;
	}
	memmove(body, body + n, buf_len(&c->in) - c->req.head_len - n);
	c->in.tail -= n;
}

static void body_feed_length(struct conn *c, const uint8_t *in, size_t n)
{
	struct req *r = &c->req;

	if (n > r->feed_left)
		n = (size_t)r->feed_left;
	r->feed_left -= n;
	r->feed->on_data(r->op, in, n);
	if (c->state == CONN_FEED)
		body_feed_drop(c, n);
}

static void body_feed_chunked(struct conn *c, const uint8_t *in, size_t n)
{
	struct req *r = &c->req;
	const uint8_t *data, *start = in;
	size_t data_n;
	enum chunked_result res = CHUNKED_DATA;

	while (!r->feed_paused &&
		(res = chunked_next(&r->chunked, &in, &n, &data, &data_n)) == CHUNKED_DATA) {
		r->feed->on_data(r->op, data, data_n);
		if (c->state != CONN_FEED)
			return;
	}
	body_feed_drop(c, (size_t)(in - start));
	if (res == CHUNKED_DONE)
		body_feed_end(c);
	else if (res == CHUNKED_BAD)
		body_feed_bad(c, &ERR_BAD_REQUEST, "malformed chunked body");
	else if (res == CHUNKED_TRAILERS_TOO_LARGE)
		body_feed_bad(c, &ERR_HEAD_TOO_LARGE, "trailer section too large");
}

bool body_feed_step(struct conn *c)
{
	struct req *r = &c->req;
	size_t n = buf_len(&c->in) - r->head_len;

	if (r->feed_framing == HTTP_BODY_LENGTH && r->feed_left == 0) {
		body_feed_end(c);
		return true;
	}
	if (r->feed_paused || n == 0)
		return false;
	if (r->feed_framing == HTTP_BODY_LENGTH)
		body_feed_length(c, buf_data(&c->in) + r->head_len, n);
	else
		body_feed_chunked(c, buf_data(&c->in) + r->head_len, n);
	return true;
}

void req_stream_body(struct req *r, const struct req_body_callbacks *cb)
{
	struct conn *c = r->conn;

	if (c->state == CONN_CLOSED)
		return;
	assert(c->state == CONN_REPLY && r->reply == REPLY_NONE && r->op != NULL && r->has_body);
	r->feed = cb;
	r->feed_framing = r->head->body;
	r->feed_left = r->head->content_length;
	chunked_init(&r->chunked, limit_size(LIMIT_HTTP_TRAILER_BYTES));
	c->state = CONN_FEED;
	body_feed_touch(c);
	body_continue(r);
	/* A handler that calls this later than on_head has nobody who goes on. */
	if (c->state == CONN_FEED && !c->advancing)
		loop_defer(c->srv->loop, &c->later);
}

void req_body_pause(struct req *r)
{
	r->feed_paused = true;
	if (r->conn->state == CONN_FEED)
		body_feed_touch(r->conn);
}

void req_body_resume(struct req *r)
{
	struct conn *c = r->conn;

	if (!r->feed_paused)
		return;
	r->feed_paused = false;
	if (c->state != CONN_FEED)
		return;
	body_feed_touch(c);
	loop_defer(c->srv->loop, &c->later);
}
