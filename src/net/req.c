/* What handlers see of a request, and the op that owns its answer. */
#include "boxd/req.h"

#include <arpa/inet.h>
#include <assert.h>
#include <sys/socket.h>

#include "net_internal.h"

static struct str req_span(const struct req *r, struct http1_span s)
{
	return http1_str(buf_data(&r->conn->in), s);
}

enum http_method req_method(const struct req *r)
{
	return r->method;
}

struct str req_method_name(const struct req *r)
{
	return r->head != NULL ? req_span(r, r->head->method_name) : STR("");
}

uint8_t req_minor(const struct req *r)
{
	return r->minor;
}

struct str req_path(const struct req *r)
{
	return r->head != NULL ? req_span(r, r->head->path) : STR("");
}

struct str req_query(const struct req *r)
{
	return r->head != NULL ? req_span(r, r->head->query) : STR("");
}

struct str req_query_part(const struct req *r)
{
	struct str target = r->head != NULL ? req_span(r, r->head->target) : STR("");
	const char *mark = target.n > 0 ? memchr(target.p, '?', target.n) : NULL;

	if (mark == NULL)
		return STR("");
	return (struct str){mark, target.n - (size_t)(mark - target.p)};
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

bool req_field_at(const struct req *r, size_t i, struct str *name, struct str *value)
{
	if (r->head == NULL || i >= r->head->nfields)
		return false;
	*name = req_span(r, r->head->fields[i].name);
	*value = req_span(r, r->head->fields[i].value);
	return true;
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

/* Asked for once per connection: few handlers want to know. */
const char *req_peer(struct req *r)
{
	struct conn *c = r->conn;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a;
	socklen_t len = sizeof(a);

	if (c->peer_known || c->unix_socket || c->state == CONN_CLOSED)
		return c->peer;
	c->peer_known = true;
	if (getpeername(c->fd, &a.sa, &len) < 0)
		return c->peer;
	if (a.sa.sa_family == AF_INET)
		inet_ntop(AF_INET, &a.in.sin_addr, c->peer, sizeof(c->peer));
	else if (a.sa.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &a.in6.sin6_addr, c->peer, sizeof(c->peer));
	return c->peer;
}

bool req_has_body(const struct req *r)
{
	return r->has_body;
}

enum http_body req_body_framing(const struct req *r, uint64_t *length)
{
	*length = r->head != NULL ? r->head->content_length : 0;
	return r->head != NULL ? r->head->body : HTTP_BODY_NONE;
}

bool req_expects_continue(const struct req *r)
{
	return r->continue_owed;
}

bool req_strip_path(struct req *r, size_t n)
{
	struct http1_span *path;

	if (r->stripped || r->head == NULL)
		return false;
	r->stripped = true;
	path = &r->head->path;
	assert(n <= path->len);
	if (n == path->len) {
		path->len = 1; /* its own first byte */
		return true;
	}
	path->off += (uint32_t)n;
	path->len -= (uint32_t)n;
	return true;
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
