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
struct op;

enum http_method req_method(const struct req *r);
struct str req_method_name(const struct req *r); /* as it came; case matters */
uint8_t req_minor(const struct req *r);          /* of its version: HTTP/1.minor */
struct str req_path(const struct req *r);        /* raw */
struct str req_query(const struct req *r);       /* raw */
/* The query as it came, with its '?'; empty when the target has none. */
struct str req_query_part(const struct req *r);
struct str req_host(const struct req *r); /* p == NULL: none */
/* The first field of this name, or an empty str with p == NULL. */
struct str req_field(const struct req *r, const char *name);
/* The fields in their order: the i-th, or false behind the last. */
bool req_field_at(const struct req *r, size_t i, struct str *name, struct str *value)
	__attribute__((warn_unused_result, nonnull));
/* Echoed when the client sent a usable one, otherwise made when first asked for. NUL-terminated. */
const char *req_id(struct req *r);
/* Came over a unix socket? */
bool req_is_unix(const struct req *r);
/* The client's IP address as text; empty on a unix socket, and when the system does not tell. */
const char *req_peer(struct req *r);
bool req_has_body(const struct req *r);
/* How the body is framed, and its length with HTTP_BODY_LENGTH. */
enum http_body req_body_framing(const struct req *r, uint64_t *length);
/* The client waits for `100 Continue` before it sends its body. */
bool req_expects_continue(const struct req *r);

/*
 * Takes n bytes off the front of the path, which then begins with the '/' that follows, or is "/"
 * when nothing does: the request is dispatched anew under a shorter path. Once per request: false
 * when it was done already.
 */
bool req_strip_path(struct req *r, size_t n) __attribute__((warn_unused_result, nonnull));

/*
 * In on_head: collect the body, at most max bytes, then call fn (from the loop or at once). Answers
 * `Expect: 100-continue`. A body that is too large (413), too slow (408) or malformed (400) goes to
 * on_bad instead.
 */
void req_want_body(struct req *r, size_t max, void (*fn)(struct req *r, void *arg), void *arg);
/* The collected body. */
struct str req_body(const struct req *r);

/*
 * Who takes a body bit by bit, on the loop. All are called from the loop, never from inside
 * req_stream_body().
 */
struct req_body_callbacks {
	/*
	 * Bytes without their framing, all of which the callee takes; valid for the call. It may
	 * pause, or give a whole reply and end the op, but not start a stream.
	 */
	void (*on_data)(struct op *op, const uint8_t *data, size_t n);
	/* The body is complete. */
	void (*on_end)(struct op *op);
	/*
	 * Malformed (400), ended early (400), trailers too large (431), slower than
	 * LIMIT_HTTP_BODY_MS (408). Nothing more of it comes; the connection ends with the reply,
	 * which is still the op's to give, or to abort.
	 */
	void (*on_bad)(struct op *op, const struct err *e);
};

/*
 * In place of req_want_body(), after op_begin() and before a reply is begun: the body goes to cb
 * (borrowed) as it arrives. Answers `Expect: 100-continue`. A reply may be begun, and even end,
 * while the body still arrives: then the connection ends with it.
 */
void req_stream_body(struct req *r, const struct req_body_callbacks *cb) __attribute__((nonnull));
/* No on_data until req_body_resume(), and the socket is not read. From any callback, also twice. */
void req_body_pause(struct req *r) __attribute__((nonnull));
void req_body_resume(struct req *r) __attribute__((nonnull));

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
