/*
 * The routes: the one place where a request is authenticated, checked for browsers, matched, and
 * where an error becomes a body. Each resource file of each dialect contributes a table of rows.
 */
#ifndef BOXD_ROUTER_H
#define BOXD_ROUTER_H

#include <stddef.h>

#include "boxd/auth.h"
#include "boxd/err.h"
#include "boxd/fs.h"
#include "boxd/jsonw.h"
#include "boxd/ports.h"
#include "boxd/proc.h"
#include "boxd/pty.h"
#include "boxd/req.h"
#include "boxd/server.h"
#include "boxd/session.h"
#include "boxd/ticket.h"
#include "boxd/upstream.h"
#include "boxd/work.h"

#define ROUTE_PUBLIC  1u /* no token needed */
#define ROUTE_BODY    2u /* collects a body of at most LIMIT_HTTP_BODY_BYTES before the handler */
#define ROUTE_MISSING 4u /* part of the contract, not in this build: 501 */
#define ROUTE_ANY     8u /* every method, also those boxd has no name for */

/* What handlers may use. Borrowed by the router from main. */
struct app {
	struct procs *procs;
	struct ptys *ptys;
	struct sessions *sessions;
	struct loop *loop;
	struct work_pool *pool;
	struct fs *fs;
	int state_dir; /* for what has no place yet; -1: none */
	struct auth_policy auth;
	struct tickets *tickets;
	struct ports *ports;
	struct server *server;
	struct upstreams *upstreams;
	size_t streams; /* event streams open now; LIMIT_STREAM_COUNT */
};

#define ROUTE_PARAMS 2

struct route_match {
	struct router *router;
	struct app *app;
	struct str param[ROUTE_PARAMS]; /* decoded; borrowed for the call */
};

/* 0: has replied or begun an op. -1 with e set: the router sends the error. */
typedef int route_handler(struct req *r, const struct route_match *m, struct err *e);

struct route {
	enum http_method method; /* a GET row serves HEAD as well */
	const char *pattern;     /* segments; "{}" matches one, a last "*" matches the rest */
	unsigned int flags;
	route_handler *handler; /* NULL with ROUTE_MISSING */
};

struct router;

/* The tables are borrowed. NULL: out of memory. */
struct router *router_new(struct app *app, const struct route *const *tables)
	__attribute__((warn_unused_result, nonnull));
void router_free(struct router *rt);

/* The callbacks that make a server use this router. */
struct server_callbacks router_callbacks(struct router *rt);

/* Sends the error envelope and logs e->sys with the request id. */
void router_error(struct req *r, const struct err *e) __attribute__((nonnull));
/* The same with further members of the envelope, which more(w, arg) writes. */
void router_error_more(struct req *r, const struct err *e, void (*more)(struct jsonw *w, void *arg),
	void *arg) __attribute__((nonnull(1, 2)));

/*
 * For a handler that has changed the path (req_strip_path()): finds the handler of the new one and
 * calls it, as if the request had come that way. Access was checked. Like a route_handler.
 */
int router_again(struct req *r, const struct route_match *m, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* The dialects' tables, each ending with a row whose pattern is NULL. */
extern const struct route execd_routes_ping[];
extern const struct route execd_routes_command[];
extern const struct route execd_routes_session[];
extern const struct route execd_routes_pty[];
extern const struct route execd_routes_files[];
extern const struct route execd_routes_directories[];
extern const struct route execd_routes_ports[];
extern const struct route execd_routes_proxy[];
extern const struct route execd_routes_tickets[];
extern const struct route execd_routes_missing[];
extern const struct route meta_routes[];
extern const struct route terminal_routes[];

#endif
