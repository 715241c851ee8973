/* What handlers see of a request, and the op that owns its answer. */
#include "boxd/req.h"

#include <assert.h>

#include "net_internal.h"

static struct str req_span(const struct req *r, struct http1_span s)
{
	return http1_str(buf_data(&r->conn->in), s);
}

enum http_method req_method(const struct req *r)
{
	return r->method;
}

struct str req_path(const struct req *r)
{
	return r->head != NULL ? req_span(r, r->head->path) : STR("");
}

struct str req_query(const struct req *r)
{
	return r->head != NULL ? req_span(r, r->head->query) : STR("");
}

struct str req_host(const struct req *r)
{
	/* HTTP/1.0 has requests without one. */
	if (r->head == NULL || r->head->host.len == 0)
		return (struct str){NULL, 0};
	return req_span(r, r->head->host);
}

struct str req_field(const struct req *r, const char *name)
{
	struct str value = {NULL, 0};

	if (r->head != NULL && http1_find(r->head, buf_data(&r->conn->in), name, &value) &&
		value.p == NULL)
		value.p = "";
	return value;
}

/* An id is echoed when it can be logged and sent as it is. */
static bool req_id_usable(struct str s)
{
	if (s.n == 0 || s.n > REQ_ID_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char ch = s.p[i];
		bool alnum = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') ||
			     (ch >= 'A' && ch <= 'Z');

		if (!alnum && memchr("-_.:/+=@", ch, 8) == NULL)
			return false;
	}
	return true;
}

const char *req_id(struct req *r)
{
	if (r->id[0] == '\0') {
		struct str given = req_field(r, "x-request-id");

		if (req_id_usable(given)) {
			memcpy(r->id, given.p, given.n);
			r->id[given.n] = '\0';
		} else {
			id_new_request(r->id);
		}
	}
	return r->id;
}

bool req_is_unix(const struct req *r)
{
	return r->conn->unix_socket;
}

bool req_has_body(const struct req *r)
{
	return r->has_body;
}

struct str req_body(const struct req *r)
{
	return r->body_view;
}

void req_set_context(struct req *r, const void *context)
{
	r->context = context;
}

const void *req_context(const struct req *r)
{
	return r->context;
}

void op_begin(struct op *op, struct req *r, void (*cancel)(struct op *op),
	void (*half_closed)(struct op *op))
{
	assert(r->op == NULL);
	op->req = r;
	op->cancel = cancel;
	op->half_closed = half_closed;
	r->op = op;
}

void op_end(struct op *op)
{
	struct req *r = op->req;

	assert(r != NULL && r->op == op);
	op->req = NULL;
	r->op = NULL;
	/* An answer that was never completed: the client must not take what it has for all of it.
	 */
	if (r->reply != REPLY_DONE && r->conn->state != CONN_CLOSED)
		conn_close(r->conn);
	else
		conn_reply_progress(r->conn);
}
