/*
 * The server side of an upgraded connection: output is a stream without framing, input is what this
 * file adds. It is offered from the connection's buffer, which is all the memory that an upgraded
 * connection has, and only when there is news: the callee that left a rest waits for more of it.
 */
#include "boxd/tunnel.h"

#include <assert.h>
#include <sys/socket.h>

#include "boxd/limits.h"
#include "boxd/stream.h"
#include "net_internal.h"

/* Until the op ends it, or the connection is lost. */
static bool tunnel_live(const struct conn *c)
{
	return c->state == CONN_TUNNEL && c->req.reply == REPLY_STREAMING && c->req.op != NULL;
}

void tunnel_start(struct req *r, const struct tunnel_callbacks *cb)
{
	struct conn *c = r->conn;

	if (c->state == CONN_CLOSED)
		return;
	assert(r->reply == REPLY_NONE && r->op != NULL && !r->has_body && r->minor > 0);
	if (reply_write_head(r, 101, NULL, STREAM_CHUNKED) < 0)
		return;
	r->reply = REPLY_STREAMING;
	r->on_room = cb->on_room;
	r->length_left = STREAM_CHUNKED;
	r->tunnel = cb;
	r->tunnel_fresh = true;
	c->state = CONN_TUNNEL;
	/* An end that was seen while the request was answered comes behind what is left to read. */
	c->peer_shut = false;
	c->readable |= c->fin;
	buf_fini(&r->fields);
	conn_release_head(c);
	loop_defer(c->srv->loop, &c->later);
}

bool tunnel_wants_input(const struct conn *c)
{
	return tunnel_live(c) && !c->req.tunnel_paused && !c->peer_shut &&
	       buf_len(&c->in) < limit_size(LIMIT_TUNNEL_IN_BYTES);
}

/* What was taken leaves the buffer. */
static void tunnel_offer(struct conn *c)
{
	size_t n = c->req.tunnel->on_input(c->req.op, buf_data(&c->in), buf_len(&c->in));

	if (c->state == CONN_CLOSED)
		return;
	assert(n <= buf_len(&c->in));
	buf_drain(&c->in, n);
}

bool tunnel_step(struct conn *c)
{
	struct req *r = &c->req;

	if (!tunnel_live(c) || r->tunnel_paused || !r->tunnel_fresh)
		return false;
	r->tunnel_fresh = false;
	if (buf_len(&c->in) > 0)
		tunnel_offer(c);
	if (!tunnel_live(c) || !c->peer_shut || r->tunnel_ended)
		return true;
	if (r->tunnel_paused) {
		r->tunnel_fresh = true;
		return true;
	}
	r->tunnel_ended = true;
	r->tunnel->on_input_end(r->op);
	return true;
}

void tunnel_written(struct conn *c)
{
	if (!c->req.tunnel_shut || !tunnel_live(c))
		return;
	c->req.tunnel_shut = false;
	(void)shutdown(c->fd, SHUT_WR);
}

void tunnel_pause(struct req *r)
{
	r->tunnel_paused = true;
}

void tunnel_resume(struct req *r)
{
	struct conn *c = r->conn;

	if (!r->tunnel_paused || !tunnel_live(c))
		return;
	r->tunnel_paused = false;
	r->tunnel_fresh |= buf_len(&c->in) > 0;
	loop_defer(c->srv->loop, &c->later);
}

void tunnel_end(struct req *r)
{
	struct conn *c = r->conn;

	if (!tunnel_live(c))
		return;
	assert(r->piece == PIECE_NONE);
	r->reply = REPLY_DONE;
	r->close = true;
	conn_flush(c);
}

void tunnel_shut(struct req *r)
{
	struct conn *c = r->conn;

	if (!tunnel_live(c))
		return;
	r->tunnel_shut = true;
	loop_defer(c->srv->loop, &c->later);
}
