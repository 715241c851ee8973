/*
 * A request, from the arrival of its head to the end of its reply. Owned by its connection; an op
 * that outlives the callback is told when the client goes away. Everything returned is borrowed
 * until the reply ends or, for head and body, until stream_start().
 */
#ifndef BOXD_REQ_H
#define BOXD_REQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"
#include "boxd/err.h"
#include "boxd/http1.h"
#include "boxd/str.h"

struct req;

enum http_method req_method(const struct req *r);
struct str req_path(const struct req *r);  /* raw */
struct str req_query(const struct req *r); /* raw */
struct str req_host(const struct req *r);  /* p == NULL: none */
/* The first field of this name, or an empty str with p == NULL. */
struct str req_field(const struct req *r, const char *name);
/* Echoed when the client sent a usable one, otherwise made when first asked for. NUL-terminated. */
const char *req_id(struct req *r);
/* Came over a unix socket? */
bool req_is_unix(const struct req *r);
bool req_has_body(const struct req *r);

/*
 * In on_head: collect the body, at most max bytes, then call fn (from the loop or at once). Answers
 * `Expect: 100-continue`. A body that is too large (413), too slow (408) or malformed (400) goes to
 * on_bad instead.
 */
void req_want_body(struct req *r, size_t max, void (*fn)(struct req *r, void *arg), void *arg);
/* The collected body. */
struct str req_body(const struct req *r);

/* What the handler keeps for itself between on_head and the body: set and read back. */
void req_set_context(struct req *r, const void *context);
const void *req_context(const struct req *r);

/*
 * Somebody who answers later. All callbacks come from the loop.
 */
struct op {
	struct req *req;
	/*
	 * The client has gone before the reply ended. Called at most once; from then on every reply
	 * and stream call on the request does nothing. The op still calls op_end().
	 */
	void (*cancel)(struct op *op);
	/*
	 * Optional. The client has closed its sending side, which it may do and still read, or it
	 * has gone altogether: only a write tells. A stream that is silent at the moment writes
	 * something now.
	 */
	void (*half_closed)(struct op *op);
};

/* The op now owns the answer; the request lives until op_end(). One op per request. */
void op_begin(struct op *op, struct req *r, void (*cancel)(struct op *op),
	void (*half_closed)(struct op *op)) __attribute__((nonnull(1, 2, 3)));
/* Exactly once, after the reply or after cancel(). op->req is NULL afterwards. */
void op_end(struct op *op) __attribute__((nonnull));

#endif
