/*
 * /proxy/{port}/... (contract 1.34): what a server in the box offers on a local port, for clients
 * that can reach this daemon only.
 *
 * Both bodies stream, each at the pace of its receiver: whoever's queue is full stops the other
 * side's reading. An answer that cannot be completed is cut, so that nobody takes a part of it for
 * the whole. The daemon's own ports are not dialled: the request goes through the router again,
 * without the prefix.
 */
#include <stdlib.h>

#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/reply.h"
#include "boxd/router.h"
#include "boxd/stream.h"
#include "boxd/tunnel.h"
#include "boxd/upstream.h"
#include "proxy_internal.h"

enum proxy_state {
	PROXY_WAITS,   /* nothing of an answer was given */
	PROXY_REPLIED, /* a reply without a body was */
	PROXY_STREAMS,
	PROXY_TUNNELS
};

struct proxy {
	struct op op;
	struct app *app;
	struct upstream *up;
	uint16_t port;
	enum proxy_state state;
	bool to_head;      /* the method is HEAD */
	bool body_owed;    /* the client waits for `100 Continue` */
	bool upgrade;      /* it asked for another protocol */
	bool cors;         /* it named an origin, which the router has answered */
	bool client_ended; /* in a tunnel; the server knows */
	bool server_ended;
	struct loop_deferred flush; /* of the answer's head, when no body came with it */
	struct loop_deferred release;
};

/* ---- the end ---- */

static void proxy_release(void *arg)
{
	free(arg);
}

static void proxy_finish(struct proxy *p)
{
	loop_defer_cancel(p->app->loop, &p->flush);
	upstream_free(p->up);
	p->up = NULL;
	op_end(&p->op);
	loop_defer(p->app->loop, &p->release);
}

static void proxy_fail(struct proxy *p, const struct err *e)
{
	struct req *r = p->op.req;

	if (p->state == PROXY_WAITS) {
		router_error(r, e);
	} else {
		log_info("proxy", "answer cut req=%s port=%u reason=\"%s\"", req_id(r), p->port,
			e->msg);
		stream_abort(r);
	}
	proxy_finish(p);
}

static void proxy_fail_text(struct proxy *p, const struct err_kind *kind, const char *text)
{
	struct err e = {0};

	err_set(&e, kind, "port %u: %s", p->port, text);
	proxy_fail(p, &e);
}

static void proxy_cancel(struct op *op)
{
	proxy_finish((struct proxy *)op);
}

/*
 * It may still read, or have gone: where nothing can be written to find out, a server that is
 * silent from now on ends it.
 */
static void proxy_half_closed(struct op *op)
{
	struct proxy *p = (struct proxy *)op;

	if (!stream_probe(op->req))
		upstream_limit_silence(p->up, limit(LIMIT_HTTP_WRITE_STALL_MS));
}

/* ---- the request's body ---- */

static void proxy_body_data(struct op *op, const uint8_t *data, size_t n)
{
	struct proxy *p = (struct proxy *)op;

	if (upstream_write(p->up, data, n) < 0)
		proxy_fail_text(p, &ERR_UNAVAILABLE, "out of memory");
	else if (upstream_room(p->up) == 0)
		req_body_pause(op->req);
}

static void proxy_body_end(struct op *op)
{
	upstream_finish(((struct proxy *)op)->up);
}

static void proxy_body_bad(struct op *op, const struct err *e)
{
	proxy_fail((struct proxy *)op, e);
}

static const struct req_body_callbacks proxy_body = {
	proxy_body_data, proxy_body_end, proxy_body_bad};

static void proxy_on_upstream_room(struct upstream *u, void *arg)
{
	struct proxy *p = arg;
	struct req *r = p->op.req;

	(void)u;
	if (p->body_owed) {
		/* Only now: a port that nobody listens on costs the client no upload. */
		p->body_owed = false;
		req_stream_body(r, &proxy_body);
	} else if (p->state == PROXY_TUNNELS) {
		tunnel_resume(r);
	} else {
		req_body_resume(r);
	}
}

/* ---- another protocol ---- */

static size_t proxy_tunnel_input(struct op *op, uint8_t *data, size_t n)
{
	struct proxy *p = (struct proxy *)op;
	size_t room = upstream_room(p->up), take = n < room ? n : room;

	if (take > 0 && upstream_write(p->up, data, take) < 0) {
		stream_abort(op->req);
		return 0;
	}
	if (upstream_room(p->up) == 0)
		tunnel_pause(op->req);
	return take;
}

static void proxy_tunnel_over(struct proxy *p)
{
	tunnel_end(p->op.req);
	proxy_finish(p);
}

static void proxy_tunnel_input_end(struct op *op)
{
	upstream_finish(((struct proxy *)op)->up);
}

static void proxy_on_shut(struct upstream *u, void *arg)
{
	struct proxy *p = arg;

	(void)u;
	p->client_ended = true;
	if (p->server_ended)
		proxy_tunnel_over(p);
}

static void proxy_on_client_room(struct op *op)
{
	upstream_resume(((struct proxy *)op)->up);
}

static const struct tunnel_callbacks proxy_tunnel = {
	proxy_tunnel_input, proxy_tunnel_input_end, proxy_on_client_room};

static void proxy_tunnel_server_end(struct proxy *p)
{
	p->server_ended = true;
	if (p->client_ended) {
		proxy_tunnel_over(p);
		return;
	}
	tunnel_shut(p->op.req);
	/* The client has no more to wait for; one that does not notice is not waited for either. */
	upstream_limit_silence(p->up, limit(LIMIT_HTTP_IDLE_MS));
}

/* ---- the answer ---- */

static void proxy_begin_reply(struct proxy *p, const struct http1_response *h)
{
	struct req *r = p->op.req;
	uint64_t length = h->has_length ? h->content_length : STREAM_CHUNKED;
	bool empty = h->framing == HTTP1_FRAMING_NONE ||
		     (h->framing == HTTP1_FRAMING_LENGTH && length == 0);

	if (h->status == 101) {
		p->state = PROXY_TUNNELS;
		upstream_tunnel(p->up);
		tunnel_start(r, &proxy_tunnel);
	} else if (empty) {
		p->state = PROXY_REPLIED;
		reply_head(r, h->status, NULL, p->to_head ? length : 0);
	} else {
		p->state = PROXY_STREAMS;
		stream_start(r, h->status, NULL, length, proxy_on_client_room);
		loop_defer(p->app->loop, &p->flush);
	}
}

static void proxy_on_flush(void *arg)
{
	stream_flush(((struct proxy *)arg)->op.req);
}

static void proxy_on_head(
	struct upstream *u, const struct http1_response *h, const uint8_t *base, void *arg)
{
	struct proxy *p = arg;
	struct err e = {0};

	(void)u;
	if (h->status == 101 && !p->upgrade)
		proxy_fail_text(p, &ERR_BAD_GATEWAY, "changes to a protocol nobody asked for");
	else if (proxy_pass_fields(p->op.req, h, base, p->cors, &e) < 0)
		proxy_fail_text(p, e.kind, e.msg);
	else
		proxy_begin_reply(p, h);
}

static void proxy_on_body(struct upstream *u, const uint8_t *data, size_t n, void *arg)
{
	struct proxy *p = arg;
	struct req *r = p->op.req;
	struct buf *out = stream_open(r);

	if (out == NULL)
		return; /* the client has gone: cancel() comes */
	if (buf_add(out, data, n) < 0) {
		stream_abort(r);
		return;
	}
	stream_commit(r);
	if (stream_room(r) > 0)
		return;
	/* The socket may take all of it now, and then nobody tells that there is room again. */
	stream_flush(r);
	if (stream_room(r) == 0)
		upstream_pause(u);
}

static void proxy_on_end(struct upstream *u, void *arg)
{
	struct proxy *p = arg;

	(void)u;
	if (p->state == PROXY_TUNNELS) {
		proxy_tunnel_server_end(p);
		return;
	}
	if (p->state == PROXY_STREAMS)
		stream_end(p->op.req);
	proxy_finish(p);
}

static void proxy_on_fail(struct upstream *u, const struct err *e, void *arg)
{
	(void)u;
	proxy_fail(arg, e);
}

static const struct upstream_callbacks proxy_upstream = {proxy_on_upstream_room, proxy_on_head,
	proxy_on_body, proxy_on_end, proxy_on_shut, proxy_on_fail};

/* ---- start ---- */

/* May be sent twice without harm (RFC 9110 9.2.2). */
static bool proxy_is_repeatable(enum http_method method, struct str name)
{
	return (method != HTTP_POST && method != HTTP_PATCH && method != HTTP_OTHER) ||
	       str_eq(name, STR("TRACE"));
}

static void proxy_begin(struct proxy *p, struct req *r)
{
	static const enum upstream_body bodies[] = {[HTTP_BODY_NONE] = UPSTREAM_NO_BODY,
		[HTTP_BODY_LENGTH] = UPSTREAM_LENGTH,
		[HTTP_BODY_CHUNKED] = UPSTREAM_CHUNKED};
	uint64_t length;
	enum http_body framing = req_body_framing(r, &length);
	const struct upstream_request rq = {
		.body = req_has_body(r) ? bodies[framing] : UPSTREAM_NO_BODY,
		.head = req_method(r) == HTTP_HEAD,
		.repeatable = proxy_is_repeatable(req_method(r), req_method_name(r)),
	};

	p->to_head = rq.head;
	p->cors = req_field(r, "origin").p != NULL;
	p->body_owed = req_expects_continue(r);
	req_id(r);
	op_begin(&p->op, r, proxy_cancel, proxy_half_closed);
	upstream_begin(p->up, &rq);
	if (req_has_body(r) && !p->body_owed)
		req_stream_body(r, &proxy_body);
}

static int proxy_start(struct req *r, struct app *app, struct proxy_target *t, struct err *e)
{
	struct proxy *p;

	if (upstreams_count(app->upstreams) >= limit_size(LIMIT_PROXY_COUNT))
		return err_set(e, &ERR_UNAVAILABLE, "too many requests are being proxied");
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	p->app = app;
	p->port = t->port;
	loop_deferred_init(&p->flush, proxy_on_flush, p);
	loop_deferred_init(&p->release, proxy_release, p);
	p->up = upstream_new(app->upstreams, t->port, &proxy_upstream, p);
	if (p->up == NULL)
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (p->up == NULL || proxy_put_request(upstream_head(p->up), r, t, e) < 0) {
		upstream_free(p->up);
		free(p);
		return -1;
	}
	p->upgrade = t->upgrade;
	proxy_begin(p, r);
	return 0;
}

static int proxy_any(struct req *r, const struct route_match *m, struct err *e)
{
	struct proxy_target t = {.auth = &m->app->auth};
	struct str path = req_path(r);
	size_t rest;

	if (!proxy_split_path(path, &t.port, &rest))
		return err_set(e, &ERR_BAD_REQUEST, "the path has no port from 1 to 65535");
	if (server_owns_port(m->app->server, t.port)) {
		if (!req_strip_path(r, rest))
			return err_set(e, &ERR_LOOP, "the proxy leads to itself");
		return router_again(r, m, e);
	}
	t.rest = (struct str){path.p + rest, path.n - rest};
	return proxy_start(r, m->app, &t, e);
}

/* Every method; GET stands for all of them. */
const struct route execd_routes_proxy[] = {
	{HTTP_GET, "/proxy/*", ROUTE_ANY, proxy_any},
	{0},
};
