/*
 * One connection: a state machine over an edge-triggered event for input. The event is registered
 * once and never changed, so a request costs no epoll_ctl(2): what the kernel said is kept in
 * `readable`, and input is simply not read while a request is being answered. That is the
 * back-pressure on pipelining clients. A second event, for output, exists only while the socket is
 * full: always listening for room would wake the daemon for each acknowledgement of the peer.
 *
 * conn_advance() is the only place that moves input along. Whoever ends a reply from elsewhere
 * schedules it; nobody calls it from inside itself. Memory goes in a deferred call, never in
 * one of the connection's own callbacks.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/reply.h"
#include "net_internal.h"

#define CONN_READ_MIN    4096  /* room made for one read of a head */
#define CONN_READ_BODY   65536 /* and of a body */
#define CONN_READ_TUNNEL 16384 /* and of another protocol */
#define CONN_TURN_MAX    32    /* requests of one connection in one turn of the loop */
#define CONN_DISCARD_MAX 65536 /* a longer body that nobody wants costs the connection */

/* ---- deadlines ---- */

/*
 * The timer is armed lazily: moving a deadline back only notes it, and the timer, when it fires too
 * early, is armed again. A busy connection never touches the timer heap.
 */
static void conn_arm(struct conn *c, int64_t now)
{
	int64_t ms = c->deadline_ms > now ? c->deadline_ms - now : 0;

	c->armed_ms = c->deadline_ms;
	loop_arm(&c->timer, ms);
}

void conn_set_deadline(struct conn *c, int64_t after_ms)
{
	int64_t now = clock_mono_ms();

	c->deadline_ms = now + after_ms;
	if (c->armed_ms == 0 || c->armed_ms > c->deadline_ms)
		conn_arm(c, now);
}

void conn_clear_deadline(struct conn *c)
{
	c->deadline_ms = 0;
}

/* ---- requests ---- */

static struct http1_head *conn_take_head(struct server *s)
{
	struct http1_head *h = s->spare_head;

	if (h != NULL) {
		s->spare_head = NULL;
		return h;
	}
	return malloc(sizeof(*h));
}

static void conn_give_head(struct conn *c)
{
	if (c->req.head == NULL)
		return;
	if (c->srv->spare_head == NULL)
		c->srv->spare_head = c->req.head;
	else
		free(c->req.head);
	c->req.head = NULL;
}

void conn_release_head(struct conn *c)
{
	struct req *r = &c->req;
	size_t used = r->head_len + r->body_len;

	if (r->head == NULL)
		return;
	conn_give_head(c);
	/* Of a body that was given up, not all has arrived. */
	buf_drain(&c->in, used < buf_len(&c->in) ? used : buf_len(&c->in));
	r->head_len = r->body_len = 0;
	r->body_view = (struct str){NULL, 0};
	buf_fini(&r->body);
	if (buf_len(&c->in) == 0)
		buf_fini(&c->in);
}

/* Everything of the last request is forgotten, but the connection's wish to close. */
static void conn_reset_request(struct conn *c)
{
	bool close_after = c->req.close;

	conn_release_head(c);
	buf_fini(&c->req.fields);
	buf_fini(&c->req.trailers);
	memset(&c->req, 0, sizeof(c->req));
	c->req.conn = c;
	c->req.close = close_after;
	c->req.piece = PIECE_NONE;
	c->scan.seen = 0;
	c->state = CONN_HEAD;
	conn_set_deadline(c, limit(LIMIT_HTTP_IDLE_MS));
}

void conn_bad(struct conn *c, const struct err_kind *kind, const char *detail)
{
	struct err e = {0};

	err_set(&e, kind, "%s", detail);
	c->req.close = true;
	c->state = CONN_REPLY;
	conn_clear_deadline(c);
	c->srv->cb.on_bad(&c->req, &e, c->srv->cb.arg);
}

static void conn_begin_request(struct conn *c, struct http1_head *h, size_t head_len)
{
	struct req *r = &c->req;

	r->head = h;
	r->method = h->method;
	r->minor = h->minor;
	r->keep_alive = h->keep_alive;
	r->has_body = h->body == HTTP_BODY_CHUNKED ||
		      (h->body == HTTP_BODY_LENGTH && h->content_length > 0);
	r->continue_owed = h->expect_continue && r->has_body;
	r->head_len = head_len;
	c->state = CONN_REPLY;
	conn_clear_deadline(c);
	c->srv->cb.on_head(r, c->srv->cb.arg);
	/* The handler has replied, wants the body, or has begun an op: otherwise the request is
	 * lost. */
	assert(c->state != CONN_REPLY || r->reply != REPLY_NONE || r->op != NULL);
}

/* True when it made progress; false when it needs more input. */
static bool conn_parse_head(struct conn *c)
{
	const struct http1_limits lim = {
		.head_bytes = limit_size(LIMIT_HTTP_HEAD_BYTES),
		.target_bytes = limit_size(LIMIT_HTTP_TARGET_BYTES),
		.fields = (uint16_t)limit(LIMIT_HTTP_FIELDS),
	};
	struct http1_head *h;
	size_t head_len = 0;
	const struct err_kind *why = NULL;
	const char *detail = "";

	if (buf_len(&c->in) == 0 || c->scan.seen == buf_len(&c->in))
		return false;
	h = conn_take_head(c->srv);
	if (h == NULL) {
		conn_close(c);
		return true;
	}
	bool first = c->scan.seen == 0;

	switch (http1_parse(
		&c->scan, buf_data(&c->in), buf_len(&c->in), &lim, h, &head_len, &why, &detail)) {
	case HTTP1_DONE: conn_begin_request(c, h, head_len); return true;
	case HTTP1_BAD:
		c->req.head = h;
		conn_give_head(c);
		conn_bad(c, why, detail);
		return true;
	case HTTP1_MORE: break;
	}
	c->req.head = h;
	conn_give_head(c);
	if (first)
		conn_set_deadline(c, limit(LIMIT_HTTP_HEAD_MS));
	return false;
}

/* ---- the end of a reply ---- */

/* How many body bytes are still to come that nobody will read; UINT64_MAX when that is unknown. */
static uint64_t conn_unread_body(const struct conn *c)
{
	const struct req *r = &c->req;

	if (r->feed != NULL)
		return c->state == CONN_FEED ? UINT64_MAX : 0;
	if (r->head == NULL || !r->has_body || r->on_body != NULL || r->body_lent)
		return 0;
	if (r->head->body == HTTP_BODY_CHUNKED || r->continue_owed)
		return UINT64_MAX;
	return r->head->content_length;
}

static void conn_shut(struct conn *c)
{
	if (c->peer_shut || limit(LIMIT_HTTP_LINGER_MS) == 0 || shutdown(c->fd, SHUT_WR) < 0) {
		conn_close(c);
		return;
	}
	/*
	 * Closing with unread input would make the kernel send a reset, which can overtake the
	 * reply. So our side ends, and what the client still sends is thrown away until it ends
	 * too.
	 */
	c->state = CONN_LINGER;
	buf_fini(&c->in);
	conn_set_deadline(c, limit(LIMIT_HTTP_LINGER_MS));
}

void conn_reply_progress(struct conn *c)
{
	struct req *r = &c->req;

	if (c->state == CONN_CLOSED) {
		loop_defer(c->srv->loop, &c->release);
		return;
	}
	if (r->reply != REPLY_DONE || r->op != NULL)
		return;

	uint64_t unread = conn_unread_body(c);

	if (r->close) {
		c->state = CONN_FLUSH;
		conn_release_head(c);
	} else {
		c->discard = unread;
		conn_reset_request(c);
		if (c->discard > 0)
			c->state = CONN_DISCARD;
	}
	if (!c->advancing && (c->readable || buf_len(&c->in) > 0 || buf_len(&c->out) > 0 ||
				     c->state == CONN_FLUSH))
		loop_defer(c->srv->loop, &c->later);
}

/* Decides with the head of the reply, because it is announced there. */
bool conn_must_close(const struct conn *c)
{
	const struct req *r = &c->req;

	return r->close || !r->keep_alive || c->srv->draining || c->peer_shut ||
	       conn_unread_body(c) > CONN_DISCARD_MAX;
}

void conn_gone(struct conn *c, int why)
{
	log_debug("net", "client gone reason=%s", why == 0 ? "closed" : err_strerror(why));
	conn_close(c);
}

/* ---- input ---- */

/* One read. False when there is nothing to be had now. */
static bool conn_read(struct conn *c)
{
	size_t want = CONN_READ_MIN;
	uint8_t *to;

	/*
	 * A short read has emptied the socket, and the kernel tells when there is more. Only with a
	 * request half read is it worth a call to make sure: a reset that came with the bytes was
	 * told with them, and not as what it is.
	 */
	if (c->drained && (c->state == CONN_TUNNEL || c->state == CONN_FEED ||
				  (c->state == CONN_HEAD && buf_len(&c->in) == 0)))
		c->readable = c->fin;
	c->drained = false;
	if (!c->readable)
		return false;
	if (c->state == CONN_BODY) {
		size_t missing = c->req.head_len + c->req.body_len - buf_len(&c->in);

		want = c->req.body_len > 0 && missing < CONN_READ_BODY ? missing : CONN_READ_BODY;
	} else if (c->state == CONN_FEED) {
		want = CONN_READ_BODY;
	} else if (c->state == CONN_TUNNEL) {
		want = CONN_READ_TUNNEL;
	}
	to = buf_reserve(&c->in, want);
	if (to == NULL) {
		conn_close(c);
		return true;
	}
	ssize_t n = recv(c->fd, to, c->in.cap - c->in.tail, 0);

	if (n > 0) {
		c->drained = c->in.tail + (size_t)n < c->in.cap;
		buf_commit(&c->in, (size_t)n);
		c->req.tunnel_fresh = true;
		if (c->state == CONN_BODY)
			conn_set_deadline(c, limit(LIMIT_HTTP_BODY_MS));
		else if (c->state == CONN_FEED)
			body_feed_touch(c);
		return true;
	}
	if (n < 0 && errno == EINTR)
		return true;
	c->readable = false;
	if (buf_len(&c->in) == 0)
		buf_fini(&c->in);
	if (n < 0 && errno == EAGAIN)
		return false;
	c->peer_shut = true;
	if (n == 0 && c->state == CONN_BODY) {
		conn_bad(c, &ERR_BAD_REQUEST, "the request body ended early");
	} else if (n == 0 && c->state == CONN_FEED) {
		body_feed_bad(c, &ERR_BAD_REQUEST, "the request body ended early");
	} else if (n == 0 && c->state == CONN_TUNNEL) {
		c->req.tunnel_fresh = true;
	} else if (n == 0 && c->state != CONN_LINGER && buf_len(&c->out) > 0) {
		/* It may have shut its side only, and wait for its answers. */
		c->state = CONN_FLUSH;
	} else {
		conn_gone(c, n < 0 ? errno : 0);
	}
	return true;
}

/* Consumes what is in the buffer. True when something moved. */
static bool conn_step(struct conn *c)
{
	switch (c->state) {
	case CONN_HEAD: return conn_parse_head(c);
	case CONN_BODY: return conn_body_step(c);
	case CONN_FEED: return body_feed_step(c);
	case CONN_DISCARD: {
		size_t n = buf_len(&c->in) < c->discard ? buf_len(&c->in) : (size_t)c->discard;

		buf_drain(&c->in, n);
		c->discard -= n;
		if (c->discard == 0)
			c->state = CONN_HEAD;
		return c->discard == 0;
	}
	case CONN_FLUSH:
		conn_flush(c);
		if (c->state == CONN_FLUSH && buf_len(&c->out) == 0) {
			conn_shut(c);
			return true;
		}
		return false;
	case CONN_LINGER: buf_clear(&c->in); return false;
	case CONN_TUNNEL: return tunnel_step(c);
	case CONN_LENT:
	case CONN_REPLY:
	case CONN_CLOSED: break;
	}
	return false;
}

static bool conn_wants_input(const struct conn *c)
{
	return c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_DISCARD ||
	       c->state == CONN_LINGER || (c->state == CONN_FEED && !c->req.feed_paused) ||
	       (c->state == CONN_TUNNEL && tunnel_wants_input(c));
}

/* Room again for a stream that had filled its queue. The callback comes last. */
static void conn_offer_room(struct conn *c)
{
	struct req *r = &c->req;

	if ((c->state != CONN_REPLY && c->state != CONN_FEED && c->state != CONN_TUNNEL) ||
		!r->want_room || r->op == NULL ||
		buf_len(&c->out) > limit_size(LIMIT_HTTP_OUT_BYTES) / 2)
		return;
	r->want_room = false;
	r->on_room(r->op);
}

void conn_advance(struct conn *c)
{
	int budget = CONN_TURN_MAX;

	if (c->advancing)
		return;
	c->advancing = true;
	while (c->state != CONN_CLOSED) {
		if (conn_step(c)) {
			if (--budget == 0) {
				loop_defer(c->srv->loop, &c->later);
				break;
			}
			continue;
		}
		if (!conn_wants_input(c) || !conn_read(c))
			break;
	}
	c->advancing = false;
	conn_flush(c);
	conn_offer_room(c);
}

/* ---- events ---- */

/* While a request is answered its input is not read: ask the kernel whether there is still a peer.
 */
static bool conn_peer_lost(struct conn *c)
{
	struct pollfd p = {.fd = c->fd};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)) != 0;
}

/* The client's side ended while it waits for an answer. The callback comes last. */
static void conn_note_half_close(struct conn *c)
{
	if (!c->fin || c->peer_shut || c->state != CONN_REPLY)
		return;
	/* A reset that came with the request looks like an end until it is asked about. */
	if (conn_peer_lost(c)) {
		conn_gone(c, 0);
		return;
	}
	c->peer_shut = true;
	c->req.close = true;
	if (c->req.op != NULL && c->req.op->half_closed != NULL)
		c->req.op->half_closed(c->req.op);
}

static void conn_on_io(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	c->readable = true;
	c->drained = false;
	if (what & EV_CLOSED)
		c->fin = true;
	if (c->state == CONN_LENT) {
		intake_on_input(c->intake, false);
		return;
	}
	if (c->state == CONN_REPLY || (c->state == CONN_FEED && c->req.feed_paused) ||
		(c->state == CONN_TUNNEL && !tunnel_wants_input(c))) {
		if (conn_peer_lost(c)) {
			conn_gone(c, 0);
			return;
		}
	} else {
		conn_advance(c);
	}
	conn_note_half_close(c);
}

static void conn_on_drain(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	c->writable = true;
	conn_flush(c);
	if (c->state == CONN_REPLY || c->state == CONN_FEED || c->state == CONN_TUNNEL)
		conn_offer_room(c);
	else if (c->state != CONN_CLOSED)
		conn_advance(c);
}

static void conn_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	int64_t now = clock_mono_ms();

	(void)fd;
	(void)what;
	c->armed_ms = 0;
	if (c->deadline_ms == 0)
		return;
	if (now < c->deadline_ms) {
		conn_arm(c, now);
		return;
	}
	c->deadline_ms = 0;
	if (c->state == CONN_LENT && buf_len(&c->out) == 0) {
		intake_on_input(c->intake, true);
		return;
	}
	if ((c->state == CONN_HEAD && buf_len(&c->in) > 0) || c->state == CONN_BODY) {
		conn_bad(c, &ERR_REQUEST_TIMEOUT, "the request did not arrive in time");
		conn_advance(c);
		return;
	}
	if (c->state == CONN_FEED && (c->writable || buf_len(&c->out) == 0)) {
		body_feed_bad(c, &ERR_REQUEST_TIMEOUT, "the request body did not arrive in time");
		conn_advance(c);
		return;
	}
	if (c->state == CONN_REPLY || c->state == CONN_FEED || c->state == CONN_TUNNEL ||
		c->state == CONN_FLUSH)
		log_info("net", "client dropped reason=stalled queued=%zu", buf_len(&c->out));
	conn_close(c);
}

static void conn_on_later(void *arg)
{
	struct conn *c = arg;
	bool fed = c->state == CONN_FEED;

	conn_advance(c);
	/* The end may have been told while the body in front of it was not read. */
	if (fed)
		conn_note_half_close(c);
}

/* ---- life ---- */

/*
 * Runs after the turn in which the connection was closed, and again when its op has ended. The op
 * is told here and not in conn_close(), which it may itself have caused by writing.
 */
static void conn_release(void *arg)
{
	struct conn *c = arg;
	struct server *s = c->srv;
	struct op *op = c->req.op;

	assert(c->state == CONN_CLOSED);
	if (op != NULL) {
		bool tell = !c->op_told && c->req.reply != REPLY_DONE;

		c->op_told = true;
		if (tell)
			op->cancel(op);
		return;
	}
	if (c->fd >= 0)
		close(c->fd);
	loop_defer_cancel(s->loop, &c->later);
	conn_give_head(c);
	buf_fini(&c->req.body);
	buf_fini(&c->req.fields);
	buf_fini(&c->req.trailers);
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
	server_conn_gone(s);
}

void conn_new(struct server *s, int fd, bool unix_socket)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		close(fd);
		return;
	}
	c->srv = s;
	c->fd = fd;
	c->unix_socket = unix_socket;
	c->writable = true;
	c->req.conn = c;
	c->req.piece = PIECE_NONE;
	loop_deferred_init(&c->later, conn_on_later, c);
	loop_deferred_init(&c->release, conn_release, c);
	evtimer_assign(&c->timer, loop_base(s->loop), conn_on_timer, c);
	event_assign(&c->io, loop_base(s->loop), fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST,
		conn_on_io, c);
	event_assign(
		&c->drain, loop_base(s->loop), fd, EV_WRITE | EV_ET | EV_PERSIST, conn_on_drain, c);
	TAILQ_INSERT_TAIL(&s->conns, c, link);
	s->nconns++;
	if (event_add(&c->io, NULL) < 0) {
		conn_close(c);
		return;
	}
	conn_set_deadline(c, limit(LIMIT_HTTP_IDLE_MS));
}

void conn_close(struct conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	/* A thread may be reading from a socket that is lent: its number must not mean another one.
	 */
	bool lent = c->state == CONN_LENT;

	c->state = CONN_CLOSED;
	event_del(&c->io);
	event_del(&c->drain);
	event_del(&c->timer);
	TAILQ_REMOVE(&c->srv->conns, c, link);
	if (lent) {
		shutdown(c->fd, SHUT_RDWR);
	} else {
		close(c->fd);
		c->fd = -1;
	}
	buf_fini(&c->out);
	loop_defer(c->srv->loop, &c->release);
}
