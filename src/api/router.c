/*
 * What happens to a request before and after its handler: the browser checks, the token, the match,
 * the body, and the error envelope. Default deny: a row is private unless it says ROUTE_PUBLIC, and
 * a path without a row is private too, so that nobody can find out what exists.
 */
#include "boxd/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/jsonw.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/query.h"
#include "boxd/reply.h"

struct router {
	struct app *app;
	const struct route *const *tables;
	struct buf params[ROUTE_PARAMS]; /* decoded path parameters of the request at hand */
};

struct router *router_new(struct app *app, const struct route *const *tables)
{
	struct router *rt = calloc(1, sizeof(*rt));

	if (rt == NULL)
		return NULL;
	rt->app = app;
	rt->tables = tables;
	return rt;
}

void router_free(struct router *rt)
{
	if (rt == NULL)
		return;
	for (size_t i = 0; i < ROUTE_PARAMS; i++)
		buf_fini(&rt->params[i]);
	free(rt);
}

/* ---- errors ---- */

void router_error(struct req *r, const struct err *e)
{
	router_error_more(r, e, NULL, NULL);
}

void router_error_more(
	struct req *r, const struct err *e, void (*more)(struct jsonw *w, void *arg), void *arg)
{
	const struct err_kind *kind = e->kind != NULL ? e->kind : &ERR_RUNTIME;
	struct buf body = {0};
	struct jsonw w;

	if (kind->status >= 500 && kind->status != ERR_NOT_SUPPORTED.status)
		log_warn("api", "failed req=%s status=%u code=%s errno=%d", req_id(r), kind->status,
			kind->code, e->sys);
	else if (kind->status == 401 || kind->status == 403)
		log_info("api", "denied req=%s status=%u code=%s", req_id(r), kind->status,
			kind->code);
	else
		log_debug("api", "refused req=%s status=%u code=%s", req_id(r), kind->status,
			kind->code);

	jsonw_begin(&w, &body);
	jsonw_object(&w);
	jsonw_key(&w, "code");
	jsonw_str(&w, kind->code);
	jsonw_key(&w, "message");
	jsonw_str(&w, e->msg);
	if (kind == &ERR_UNAUTHORIZED) {
		/* What the reference sends, alone, for this status: contract 1.2. */
		jsonw_key(&w, "error");
		jsonw_str(&w, e->msg);
	}
	if (more != NULL)
		more(&w, arg);
	jsonw_object_end(&w);
	/* An error must have a body, or a client takes it for success: without memory, a fixed one.
	 */
	if (jsonw_end(&w) < 0) {
		static const char fixed[] =
			"{\"code\":\"UNAVAILABLE\",\"message\":\"out of memory\"}";

		reply_body(r, kind->status, "application/json; charset=utf-8", fixed,
			sizeof(fixed) - 1);
	} else {
		reply_body(r, kind->status, "application/json; charset=utf-8", buf_data(&body),
			buf_len(&body));
	}
	buf_fini(&body);
}

static void router_on_bad(struct req *r, const struct err *e, void *arg)
{
	(void)arg;
	router_error(r, e);
}

/* ---- matching ---- */

static struct str router_segment(struct str *path)
{
	struct str seg = {path->p, 0};

	while (seg.n < path->n && seg.p[seg.n] != '/')
		seg.n++;
	path->p += seg.n;
	path->n -= seg.n;
	return seg;
}

/*
 * Compares segment by segment; one slash at the end more or less is the same path (contract 1.1).
 * Parameters are left raw in *m. "{}" does not match an empty segment.
 */
static bool router_match_pattern(const char *pattern, struct str path, struct route_match *m)
{
	struct str pat = str_of(pattern);
	size_t nparams = 0;

	while (pat.n > 0 && path.n > 0 && path.p[0] == '/') {
		pat.p++;
		pat.n--;
		path.p++;
		path.n--;
		struct str want = router_segment(&pat);

		if (str_eq(want, STR("*")))
			return true;
		struct str got = router_segment(&path);

		if (str_eq(want, STR("{}"))) {
			if (got.n == 0)
				return false;
			m->param[nparams++] = got;
		} else if (!str_eq(want, got)) {
			return false;
		}
	}
	return pat.n == 0 && (path.n == 0 || str_eq(path, STR("/")));
}

static bool router_method_fits(const struct route *row, enum http_method method)
{
	return row->flags & (ROUTE_MISSING | ROUTE_ANY) || row->method == method ||
	       (row->method == HTTP_GET && method == HTTP_HEAD);
}

/* The row for this request. NULL: *other_method says whether the path exists with another one. */
static const struct route *router_find(
	const struct router *rt, const struct req *r, struct route_match *m, bool *other_method)
{
	struct str path = req_path(r);

	*other_method = false;
	for (const struct route *const *t = rt->tables; *t != NULL; t++) {
		for (const struct route *row = *t; row->pattern != NULL; row++) {
			if (!router_match_pattern(row->pattern, path, m))
				continue;
			if (router_method_fits(row, req_method(r)))
				return row;
			*other_method = true;
		}
	}
	return NULL;
}

static void router_allow_field(const struct router *rt, struct req *r)
{
	static const char *const names[] = {
		"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
	bool seen[HTTP_OTHER] = {false};
	char allow[64] = "";
	struct route_match m;

	for (const struct route *const *t = rt->tables; *t != NULL; t++) {
		for (const struct route *row = *t; row->pattern != NULL; row++) {
			if (router_match_pattern(row->pattern, req_path(r), &m))
				seen[row->method] = true;
		}
	}
	seen[HTTP_HEAD] = seen[HTTP_GET];
	for (size_t i = 0, n = 0; i < HTTP_OTHER; i++) {
		if (seen[i])
			n += (size_t)snprintf(
				allow + n, sizeof(allow) - n, "%s%s", n > 0 ? ", " : "", names[i]);
	}
	reply_field(r, "Allow", allow);
}

/* Replaces the raw parameters in *m by decoded ones. */
static int router_decode_params(struct router *rt, struct route_match *m, struct err *e)
{
	for (size_t i = 0; i < ROUTE_PARAMS && m->param[i].n > 0; i++) {
		switch (query_decode_segment(m->param[i], &rt->params[i])) {
		case QUERY_FOUND: break;
		case QUERY_NO_MEM: return err_set(e, &ERR_UNAVAILABLE, "out of memory");
		case QUERY_ABSENT:
		case QUERY_BAD:
			return err_set(e, &ERR_BAD_REQUEST, "the path has a broken percent escape");
		}
		m->param[i] = (struct str){
			(const char *)buf_data(&rt->params[i]), buf_len(&rt->params[i])};
	}
	return 0;
}

/* ---- access ---- */

static struct auth_request router_auth_request(const struct req *r)
{
	return (struct auth_request){
		.access_token = req_field(r, "x-execd-access-token"),
		.authorization = req_field(r, "authorization"),
		.origin = req_field(r, "origin"),
		.sec_fetch_site = req_field(r, "sec-fetch-site"),
		.host = req_host(r),
		.unix_socket = req_is_unix(r),
	};
}

/* What a ticket is for: the path, less our own proxy where a request comes through that. */
static struct str router_ticket_path(const struct router *rt, const struct req *r)
{
	struct str path = req_path(r), proxy = STR("/proxy/"), rest, port;
	uint64_t n;

	if (path.n < proxy.n || memcmp(path.p, proxy.p, proxy.n) != 0)
		return path;
	rest = (struct str){path.p + proxy.n, path.n - proxy.n};
	port = router_segment(&rest);
	if (!str_u64(port, &n) || n > UINT16_MAX || !server_owns_port(rt->app->server, (uint16_t)n))
		return path;
	return rest;
}

/* Uses up the ticket of the query, if the request may show one and it is good. */
static bool router_take_ticket(struct router *rt, const struct req *r)
{
	const struct auth_ticket_request t = {
		.get = req_method(r) == HTTP_GET,
		.path = router_ticket_path(rt, r),
		.connection = req_field(r, "connection"),
		.upgrade = req_field(r, "upgrade"),
		.accept = req_field(r, "accept"),
	};
	struct buf given = {0};
	bool good = auth_takes_ticket(&t) &&
		    query_get(req_query(r), "ticket", 0, &given) == QUERY_FOUND &&
		    tickets_redeem(rt->app->tickets,
			    (struct str){(const char *)buf_data(&given), buf_len(&given)}, t.path);

	if (buf_len(&given) > 0)
		explicit_bzero(buf_data(&given), buf_len(&given));
	buf_fini(&given);
	return good;
}

/* The token, or else a ticket: one that comes with a token is left for another time. */
static int router_check_access(
	struct router *rt, const struct req *r, const struct auth_request *a, struct err *e)
{
	struct err denied = {0};

	if (auth_check_token(&rt->app->auth, a, &denied) == 0 || router_take_ticket(rt, r))
		return 0;
	*e = denied;
	return -1;
}

/* An Origin that passed the check may read the answer (Fetch standard, 3.2). False: no memory. */
static void router_allow_origin(struct req *r, struct str origin)
{
	char *copy;

	if (origin.p == NULL)
		return;
	copy = str_dup(origin);
	if (copy != NULL) {
		reply_field(r, "Access-Control-Allow-Origin", copy);
		reply_field(r, "Vary", "Origin");
	}
	free(copy);
}

/* A preflight carries no token; its Origin was allowed by configuration. */
static bool router_answer_preflight(struct req *r, struct str origin)
{
	if (req_method(r) != HTTP_OPTIONS || origin.p == NULL ||
		req_field(r, "access-control-request-method").p == NULL)
		return false;
	reply_field(r, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, PATCH");
	reply_field(r, "Access-Control-Allow-Headers",
		"Authorization, Content-Type, Last-Event-ID, X-EXECD-ACCESS-TOKEN, X-Request-ID");
	reply_field(r, "Access-Control-Max-Age", "600");
	reply_empty(r, 204);
	return true;
}

/* ---- requests ---- */

static int router_call(struct router *rt, struct req *r, const struct route *row,
	struct route_match *m, struct err *e)
{
	m->router = rt;
	m->app = rt->app;
	if (router_decode_params(rt, m, e) < 0)
		return -1;
	return row->handler(r, m, e);
}

static void router_on_body(struct req *r, void *arg)
{
	struct router *rt = arg;
	const struct route *row = req_context(r);
	struct route_match m = {0};
	struct err e = {0};

	/* The head may have moved while the body arrived: the parameters are taken again. */
	router_match_pattern(row->pattern, req_path(r), &m);
	if (router_call(rt, r, row, &m, &e) < 0)
		router_error(r, &e);
}

/* From the match to the handler. */
static int router_dispatch(struct router *rt, struct req *r, const struct route *row,
	struct route_match *m, bool other_method, struct err *e)
{
	if (row == NULL && other_method) {
		router_allow_field(rt, r);
		return err_set(e, &ERR_BAD_METHOD, "this path does not have that method");
	}
	if (row == NULL)
		return err_set(e, &ERR_NO_ROUTE, "unknown path");
	if (row->flags & ROUTE_MISSING)
		return err_set(e, &ERR_NOT_SUPPORTED, "not in this build: see GET /capabilities");
	if (row->flags & ROUTE_BODY) {
		req_set_context(r, row);
		req_want_body(r, limit_size(LIMIT_HTTP_BODY_BYTES), router_on_body, rt);
		return 0;
	}
	return router_call(rt, r, row, m, e);
}

int router_again(struct req *r, const struct route_match *m, struct err *e)
{
	struct route_match again = {0};
	bool other_method;
	const struct route *row = router_find(m->router, r, &again, &other_method);

	return router_dispatch(m->router, r, row, &again, other_method, e);
}

static int router_handle(struct router *rt, struct req *r, struct err *e)
{
	struct auth_request a = router_auth_request(r);
	struct route_match m = {0};
	const struct route *row;
	bool other_method;

	if (auth_check_browser(&rt->app->auth, &a, e) < 0)
		return -1;
	router_allow_origin(r, a.origin);
	if (router_answer_preflight(r, a.origin))
		return 0;
	row = router_find(rt, r, &m, &other_method);
	if (!(row != NULL && row->flags & ROUTE_PUBLIC) && router_check_access(rt, r, &a, e) < 0)
		return -1;
	return router_dispatch(rt, r, row, &m, other_method, e);
}

static void router_on_head(struct req *r, void *arg)
{
	struct err e = {0};

	if (router_handle(arg, r, &e) < 0)
		router_error(r, &e);
}

struct server_callbacks router_callbacks(struct router *rt)
{
	return (struct server_callbacks){
		.on_head = router_on_head,
		.on_bad = router_on_bad,
		.arg = rt,
	};
}
