/*
 * upstream: one exchange with a server on a local port.
 *
 * Output is a queue that is sent at the end of the turn, so that a head and a small body are one
 * write. Input is read into memory that all exchanges share and handed on from there: nothing of a
 * body is kept here, only the start of a head that has not arrived as a whole. A reader that falls
 * behind says so (upstream_pause()), and then the socket is not read.
 *
 * A server may answer before it has read the request, and close its side then. So a send that fails
 * ends the sending only: what there is to be read decides.
 */
#include "boxd/upstream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "boxd/chunked.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "upstream_internal.h"

#define UPSTREAM_READS       4  /* reads of one exchange before others get their turn */
#define UPSTREAM_INTERIM_MAX 32 /* 1xx responses before the final one */

enum upstream_state {
	UPSTREAM_IDLE, /* upstream_begin() was not called, or is to be carried out */
	UPSTREAM_HEAD, /* connecting, sending, waiting for an answer */
	UPSTREAM_BODY,
	UPSTREAM_TUNNEL,
	UPSTREAM_OVER
};

struct upstream {
	struct upstreams *ups;
	const struct upstream_callbacks *cb;
	void *arg;
	uint16_t port;
	enum upstream_state state;
	struct upstream_request rq;
	struct upstream_link *link; /* NULL: none yet, or no longer */
	int64_t dial_until_ms;

	struct buf out;
	size_t sent;     /* of `out`: kept as long as it may have to be sent again */
	bool any_sent;   /* over this connection */
	bool keep_out;   /* what is sent stays in `out` */
	bool retried;    /* on a new connection */
	bool finished;   /* the request's body is complete; in a tunnel: our side ends */
	bool shut;       /* ... and did */
	bool deaf;       /* the server reads no more */
	bool told_ready; /* on_room was called for the connection */
	bool want_room;  /* upstream_room() said 0 */

	bool paused;
	bool ended; /* a tunnel's on_end was called */
	struct buf in;
	struct http1_scan scan;
	unsigned int interim;
	enum http1_framing framing;
	bool keep_alive;
	uint64_t left;
	struct chunked chunked;
	int64_t silence_ms; /* 0: any */

	struct loop_deferred send; /* upstream_send() at the end of the turn */
	struct loop_deferred more; /* upstream_read() with the bulk work */
	struct loop_deferred release;
};

/* ---- the end ---- */

static void upstream_cut(struct upstream *u)
{
	if (u->link != NULL)
		upstream_link_close(u->link);
	u->link = NULL;
}

static void upstream_over(struct upstream *u)
{
	u->state = UPSTREAM_OVER;
	loop_defer_cancel(u->ups->loop, &u->send);
	loop_defer_cancel(u->ups->loop, &u->more);
	buf_fini(&u->out);
	u->sent = 0;
}

static void upstream_fail(struct upstream *u, const struct err *e)
{
	upstream_cut(u);
	upstream_over(u);
	u->cb->on_fail(u, e, u->arg);
}

static void upstream_fail_text(struct upstream *u, const struct err_kind *kind, const char *text)
{
	struct err e = {0};

	err_set(&e, kind, "port %u: %s", u->port, text);
	upstream_fail(u, &e);
}

static void upstream_fail_errno(struct upstream *u, const char *doing)
{
	struct err e = {0};

	err_sys(&e, &ERR_BAD_GATEWAY, "port %u: %s", u->port, doing);
	upstream_fail(u, &e);
}

static size_t upstream_queued(const struct upstream *u)
{
	return buf_len(&u->out) - u->sent;
}

/* The response is complete; `surplus` bytes came after it. */
static void upstream_complete(struct upstream *u, size_t surplus)
{
	struct upstream_link *l = u->link;

	u->link = NULL;
	if (u->keep_alive && u->finished && !u->deaf && upstream_queued(u) == 0 && surplus == 0) {
		upstream_link_sent(l);
		upstream_link_keep(l);
	} else {
		upstream_link_close(l);
	}
	upstream_over(u);
	u->cb->on_end(u, u->arg);
}

/* ---- deadlines ---- */

/*
 * Something moved, or the phase has changed. Before its answer the server has its time from the
 * last byte we sent; while the client is slow with its body, that is the client's affair.
 */
static void upstream_touch(struct upstream *u)
{
	bool waiting = u->state == UPSTREAM_HEAD && u->finished;

	if (!u->link->connected)
		return;
	if (waiting || upstream_queued(u) > 0)
		upstream_link_set_deadline(u->link, limit(LIMIT_PROXY_HEAD_MS));
	else if (u->silence_ms > 0)
		upstream_link_set_deadline(u->link, u->silence_ms);
	else
		upstream_link_clear_deadline(u->link);
}

void upstream_limit_silence(struct upstream *u, int64_t ms)
{
	u->silence_ms = ms;
	if (u->link != NULL)
		upstream_touch(u);
}

void upstream_on_deadline(struct upstream *u)
{
	if (!u->link->connected)
		upstream_fail_text(u, &ERR_BAD_GATEWAY, "no connection within the time allowed");
	else if (u->state == UPSTREAM_HEAD)
		upstream_fail_text(u, &ERR_GATEWAY_TIMEOUT, "no answer within the time allowed");
	else
		upstream_fail_text(u, &ERR_BAD_GATEWAY, "the answer does not go on");
}

/* ---- connecting ---- */

static bool upstream_repeatable(const struct upstream *u)
{
	return u->rq.repeatable && u->rq.body == UPSTREAM_NO_BODY;
}

static void upstream_use(struct upstream *u, struct upstream_link *l)
{
	u->link = l;
	l->u = u;
	u->sent = 0;
	u->any_sent = false;
	u->keep_out = l->reused && upstream_repeatable(u);
	if (l->connected)
		upstream_touch(u);
}

/* 0, or -1: it has failed. The time to connect counts for both addresses together. */
static int upstream_dial(struct upstream *u, bool ipv6)
{
	struct err e = {0};
	struct upstream_link *l = upstream_link_dial(u->ups, u->port, ipv6, &e);

	if (l == NULL && e.sys == ECONNREFUSED && !ipv6)
		return upstream_dial(u, true);
	if (l == NULL) {
		upstream_fail(u, &e);
		return -1;
	}
	upstream_use(u, l);
	upstream_link_set_deadline(l, u->dial_until_ms - clock_mono_ms());
	return 0;
}

static int upstream_dial_first(struct upstream *u)
{
	u->dial_until_ms = clock_mono_ms() + limit(LIMIT_PROXY_DIAL_MS);
	return upstream_dial(u, false);
}

static int upstream_connect(struct upstream *u)
{
	struct upstream_link *l = upstream_link_reuse(u->ups, u->port, !upstream_repeatable(u));

	u->state = UPSTREAM_HEAD;
	if (l == NULL)
		return upstream_dial_first(u);
	upstream_use(u, l);
	return 0;
}

/* A kept connection was closed by the server meanwhile: once more, on a new one. */
static bool upstream_retry(struct upstream *u)
{
	bool intact = !u->any_sent || u->keep_out;

	if (u->state != UPSTREAM_HEAD || !u->link->reused || u->retried || !intact ||
		buf_len(&u->in) > 0 || u->interim > 0)
		return false;
	u->retried = true;
	upstream_cut(u);
	if (upstream_dial_first(u) == 0)
		loop_defer(u->ups->loop, &u->send);
	return true;
}

/* ---- output ---- */

static void upstream_on_send_error(struct upstream *u)
{
	struct upstream_link *l = u->link;

	if (!l->connected && errno == ECONNREFUSED && !l->ipv6) {
		upstream_cut(u);
		if (upstream_dial(u, true) == 0)
			loop_defer(u->ups->loop, &u->send);
	} else if (!l->connected) {
		upstream_fail_errno(u, "connect");
	} else if (!upstream_retry(u)) {
		/* It may have answered before it closed: that is to be read first. */
		u->deaf = true;
		buf_fini(&u->out);
		u->sent = 0;
		upstream_link_sent(l);
		l->readable = true;
		loop_defer_bulk(u->ups->loop, &u->more);
	}
}

static void upstream_drop_sent(struct upstream *u)
{
	if (u->keep_out)
		return;
	buf_drain(&u->out, u->sent);
	u->sent = 0;
	if (buf_len(&u->out) == 0)
		buf_fini(&u->out);
}

/* Tells the source that it may go on. The callback comes last. */
static void upstream_offer_room(struct upstream *u)
{
	bool room = u->want_room && upstream_queued(u) <= limit_size(LIMIT_HTTP_OUT_BYTES) / 2;

	if (!u->link->connected || (u->told_ready && !room))
		return;
	u->told_ready = true;
	u->want_room = false;
	u->cb->on_room(u, u->arg);
}

static void upstream_send(struct upstream *u)
{
	struct upstream_link *l = u->link;
	size_t n = upstream_queued(u);

	if (n > 0 && !u->deaf) {
		ssize_t done = upstream_link_send(l, buf_data(&u->out) + u->sent, n);

		if (done < 0) {
			upstream_on_send_error(u);
			return;
		}
		if (done > 0) {
			u->any_sent = true;
			u->sent += (size_t)done;
			upstream_drop_sent(u);
			upstream_touch(u);
		}
	}
	if (upstream_queued(u) == 0) {
		upstream_link_sent(l);
		if (u->state == UPSTREAM_TUNNEL && u->finished && !u->shut) {
			u->shut = true;
			(void)shutdown(l->fd, SHUT_WR);
			u->cb->on_shut(u, u->arg);
			return;
		}
	}
	upstream_offer_room(u);
}

static void upstream_on_send(void *arg)
{
	struct upstream *u = arg;

	if (u->state == UPSTREAM_IDLE && upstream_connect(u) < 0)
		return;
	upstream_send(u);
}

void upstream_on_writable(struct upstream *u)
{
	upstream_send(u);
}

/* ---- input ---- */

static void upstream_feed_chunked(struct upstream *u, const uint8_t *in, size_t n)
{
	const uint8_t *data;
	size_t data_n;
	enum chunked_result res;

	while ((res = chunked_next(&u->chunked, &in, &n, &data, &data_n)) == CHUNKED_DATA) {
		u->cb->on_body(u, data, data_n, u->arg);
		if (u->state != UPSTREAM_BODY)
			return;
	}
	if (res == CHUNKED_DONE)
		upstream_complete(u, n);
	else if (res != CHUNKED_MORE)
		upstream_fail_text(u, &ERR_BAD_GATEWAY, "malformed chunks in the answer");
}

/* Hands on what came of a body. */
static void upstream_feed_body(struct upstream *u, const uint8_t *data, size_t n)
{
	bool bounded = u->state == UPSTREAM_BODY &&
		       (u->framing == HTTP1_FRAMING_LENGTH || u->framing == HTTP1_FRAMING_NONE);
	size_t take = bounded && u->left < n ? (size_t)u->left : n;

	if (u->state == UPSTREAM_BODY && u->framing == HTTP1_FRAMING_CHUNKED) {
		upstream_feed_chunked(u, data, n);
		return;
	}
	u->left -= bounded ? take : 0;
	if (take > 0)
		u->cb->on_body(u, data, take, u->arg);
	if (bounded && u->state == UPSTREAM_BODY && u->left == 0)
		upstream_complete(u, n - take);
}

static void upstream_take_head(struct upstream *u, const uint8_t *base)
{
	const struct http1_response *h = &u->ups->head;

	u->state = UPSTREAM_BODY;
	u->framing = h->framing;
	u->keep_alive = h->keep_alive;
	u->left = h->framing == HTTP1_FRAMING_LENGTH ? h->content_length : 0;
	chunked_init(&u->chunked, limit_size(LIMIT_HTTP_TRAILER_BYTES));
	if (u->keep_out) {
		u->keep_out = false;
		upstream_drop_sent(u);
	}
	upstream_touch(u);
	u->cb->on_head(u, h, base, u->arg);
	assert(h->status != 101 || u->state != UPSTREAM_BODY);
}

/* Takes the heads at the front of the bytes, up to the final one. */
static void upstream_feed_heads(struct upstream *u, const uint8_t **data, size_t *n)
{
	const struct http1_limits lim = {
		.head_bytes = limit_size(LIMIT_HTTP_HEAD_BYTES),
		.fields = (uint16_t)limit(LIMIT_HTTP_FIELDS),
	};
	struct http1_response *h = &u->ups->head;

	for (;;) {
		const uint8_t *base = *data;
		const char *detail = "";
		size_t head_len = 0;

		switch (http1_response_parse(
			&u->scan, base, *n, &lim, u->rq.head, h, &head_len, &detail)) {
		case HTTP1_MORE: return;
		case HTTP1_BAD: upstream_fail_text(u, &ERR_BAD_GATEWAY, detail); return;
		case HTTP1_DONE: break;
		}
		u->scan = (struct http1_scan){0};
		*data += head_len;
		*n -= head_len;
		if (h->status >= 200 || h->status == 101) {
			upstream_take_head(u, base);
			return;
		}
		if (++u->interim > UPSTREAM_INTERIM_MAX) {
			upstream_fail_text(u, &ERR_BAD_GATEWAY, "too many interim answers");
			return;
		}
	}
}

/* What was read. Bytes of a head that is not complete are all that is ever kept. */
static void upstream_feed(struct upstream *u, const uint8_t *data, size_t n)
{
	bool kept = buf_len(&u->in) > 0;

	if (u->state == UPSTREAM_HEAD) {
		if (kept && buf_add(&u->in, data, n) < 0) {
			upstream_fail_text(u, &ERR_UNAVAILABLE, "out of memory");
			return;
		}
		if (kept) {
			data = buf_data(&u->in);
			n = buf_len(&u->in);
		}
		upstream_feed_heads(u, &data, &n);
		if (u->state == UPSTREAM_HEAD && kept)
			buf_drain(&u->in, buf_len(&u->in) - n);
		else if (u->state == UPSTREAM_HEAD && n > 0 && buf_add(&u->in, data, n) < 0)
			upstream_fail_text(u, &ERR_UNAVAILABLE, "out of memory");
	}
	if (u->state == UPSTREAM_TUNNEL || u->state == UPSTREAM_BODY)
		upstream_feed_body(u, data, n);
	if (u->state != UPSTREAM_HEAD)
		buf_fini(&u->in);
}

static void upstream_on_eof(struct upstream *u)
{
	u->link->readable = false;
	if (u->state == UPSTREAM_TUNNEL) {
		if (u->ended)
			return;
		u->ended = true;
		u->cb->on_end(u, u->arg);
	} else if (u->state == UPSTREAM_BODY && u->framing == HTTP1_FRAMING_CLOSE) {
		upstream_complete(u, 0);
	} else if (u->state == UPSTREAM_BODY) {
		upstream_fail_text(u, &ERR_BAD_GATEWAY, "the answer ended early");
	} else if (!upstream_retry(u)) {
		upstream_fail_text(u, &ERR_BAD_GATEWAY, "closed before it answered");
	}
}

static void upstream_read(struct upstream *u)
{
	for (int i = 0; i < UPSTREAM_READS; i++) {
		if (u->state == UPSTREAM_OVER || u->paused || u->link == NULL || !u->link->readable)
			return;
		ssize_t n = upstream_link_read(u->link);

		if (n == 0) {
			upstream_on_eof(u);
			return;
		}
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			if (!upstream_retry(u))
				upstream_fail_errno(u, "read");
			return;
		}
		if (u->silence_ms > 0)
			upstream_touch(u);
		upstream_feed(u, u->ups->scratch, (size_t)n);
	}
	if (u->state != UPSTREAM_OVER)
		loop_defer_bulk(u->ups->loop, &u->more);
}

void upstream_on_readable(struct upstream *u)
{
	upstream_read(u);
}

static void upstream_on_more(void *arg)
{
	upstream_read(arg);
}

/* ---- use ---- */

struct buf *upstream_head(struct upstream *u)
{
	assert(u->state == UPSTREAM_IDLE);
	return &u->out;
}

void upstream_begin(struct upstream *u, const struct upstream_request *rq)
{
	u->rq = *rq;
	u->finished = rq->body == UPSTREAM_NO_BODY;
	loop_defer(u->ups->loop, &u->send);
}

static int upstream_put(struct upstream *u, const void *data, size_t n)
{
	bool chunked = u->rq.body == UPSTREAM_CHUNKED && u->state != UPSTREAM_TUNNEL;

	if (chunked && buf_printf(&u->out, "%zx\r\n", n) < 0)
		return -1;
	if (buf_add(&u->out, data, n) < 0)
		return -1;
	return chunked ? buf_add(&u->out, "\r\n", 2) : 0;
}

int upstream_write(struct upstream *u, const void *data, size_t n)
{
	if (u->state == UPSTREAM_OVER || u->deaf || n == 0)
		return 0;
	assert(!u->finished);
	loop_defer(u->ups->loop, &u->send);
	return upstream_put(u, data, n);
}

size_t upstream_room(struct upstream *u)
{
	size_t max = limit_size(LIMIT_HTTP_OUT_BYTES), queued = upstream_queued(u);

	if (u->deaf || queued < max)
		return u->deaf ? max : max - queued;
	u->want_room = true;
	return 0;
}

void upstream_finish(struct upstream *u)
{
	if (u->state == UPSTREAM_OVER || u->finished)
		return;
	u->finished = true;
	if (u->rq.body == UPSTREAM_CHUNKED && u->state != UPSTREAM_TUNNEL && !u->deaf &&
		buf_add_str(&u->out, "0\r\n\r\n") < 0)
		u->deaf = true; /* the server sees a body without an end */
	loop_defer(u->ups->loop, &u->send);
}

void upstream_pause(struct upstream *u)
{
	u->paused = true;
}

void upstream_resume(struct upstream *u)
{
	if (!u->paused)
		return;
	u->paused = false;
	if (u->state != UPSTREAM_OVER)
		loop_defer_bulk(u->ups->loop, &u->more);
}

void upstream_tunnel(struct upstream *u)
{
	assert(u->state == UPSTREAM_BODY);
	u->state = UPSTREAM_TUNNEL;
	u->finished = false;
}

/* ---- life ---- */

static void upstream_release(void *arg)
{
	struct upstream *u = arg;

	buf_fini(&u->in);
	free(u);
}

struct upstream *upstream_new(
	struct upstreams *ups, uint16_t port, const struct upstream_callbacks *cb, void *arg)
{
	struct upstream *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return NULL;
	u->ups = ups;
	u->port = port;
	u->cb = cb;
	u->arg = arg;
	loop_deferred_init(&u->send, upstream_on_send, u);
	loop_deferred_init(&u->more, upstream_on_more, u);
	loop_deferred_init(&u->release, upstream_release, u);
	ups->count++;
	return u;
}

void upstream_free(struct upstream *u)
{
	if (u == NULL)
		return;
	upstream_cut(u);
	upstream_over(u);
	u->ups->count--;
	loop_defer(u->ups->loop, &u->release);
}
