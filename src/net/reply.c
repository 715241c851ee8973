/*
 * Whole replies, and the head of every reply. The head is put together with memcpy, not printf: a
 * ping is little else.
 */
#include "boxd/reply.h"

#include <assert.h>
#include <string.h>
#include <zlib.h>

#include "boxd/log.h"
#include "boxd/stream.h"
#include "net_internal.h"

#define REPLY_HEAD_MAX 512 /* all fields of ours; those added by reply_field() come on top */
#define REPLY_GZIP_MIN 1024
#define REPLY_GZIP_MAX 262144 /* compressing more would hold up the loop for milliseconds */

const char *reply_reason(int status)
{
	switch (status) {
	case 101: return "Switching Protocols";
	case 200: return "OK";
	case 201: return "Created";
	case 204: return "No Content";
	case 206: return "Partial Content";
	case 304: return "Not Modified";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 409: return "Conflict";
	case 412: return "Precondition Failed";
	case 413: return "Content Too Large";
	case 414: return "URI Too Long";
	case 415: return "Unsupported Media Type";
	case 416: return "Range Not Satisfiable";
	case 417: return "Expectation Failed";
	case 426: return "Upgrade Required";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	case 505: return "HTTP Version Not Supported";
	case 507: return "Insufficient Storage";
	case 508: return "Loop Detected";
	default: return "Unknown";
	}
}

static uint8_t *reply_put(uint8_t *p, const char *s, size_t n)
{
	memcpy(p, s, n);
	return p + n;
}

#define REPLY_LITERAL(p, s) reply_put((p), (s), sizeof(s) - 1)

static bool reply_text_ok(const char *s)
{
	return strpbrk(s, "\r\n") == NULL;
}

void reply_field(struct req *r, const char *name, const char *value)
{
	assert(r->reply == REPLY_NONE);
	/* A line end would forge fields, so this is checked in every build. */
	if (!reply_text_ok(name) || !reply_text_ok(value)) {
		log_error("net", "field with a line end left out req=%s", req_id(r));
		return;
	}
	if (buf_printf(&r->fields, "%s: %s\r\n", name, value) < 0)
		conn_close(r->conn);
}

void reply_field_str(struct req *r, struct str name, struct str value)
{
	struct buf *b = &r->fields;
	uint8_t *p = buf_reserve(b, name.n + value.n + 4);

	assert(r->reply == REPLY_NONE);
	if (p == NULL) {
		conn_close(r->conn);
		return;
	}
	r->given_date |= str_ieq(name, STR("Date"));
	r->given_id |= str_ieq(name, STR("X-Request-ID"));
	p = reply_put(p, name.p, name.n);
	p = REPLY_LITERAL(p, ": ");
	if (value.n > 0)
		p = reply_put(p, value.p, value.n);
	REPLY_LITERAL(p, "\r\n");
	buf_commit(b, name.n + value.n + 4);
}

bool reply_started(const struct req *r)
{
	return r->reply != REPLY_NONE;
}

void reply_close(struct req *r)
{
	r->close = true;
}

static const char *reply_date(struct server *s)
{
	int64_t now = clock_real_ms();

	if (now / 1000 != s->date_second) {
		s->date_second = now / 1000;
		clock_http_date(now, s->date);
	}
	return s->date;
}

static uint8_t *reply_put_str(uint8_t *p, const char *s)
{
	return reply_put(p, s, strlen(s));
}

static uint8_t *reply_put_u64(uint8_t *p, uint64_t v)
{
	char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	return reply_put(p, digits + i, sizeof(digits) - i);
}

/* `Connection`, where the version's default is not what happens; and the decision itself. */
static uint8_t *reply_put_connection(uint8_t *p, struct req *r, int status)
{
	if (status == 101)
		return REPLY_LITERAL(p, "Connection: Upgrade\r\n");
	if (conn_must_close(r->conn)) {
		r->close = true;
		return REPLY_LITERAL(p, "Connection: close\r\n");
	}
	if (r->minor == 0)
		return REPLY_LITERAL(p, "Connection: keep-alive\r\n");
	return p;
}

int reply_write_head(struct req *r, int status, const char *content_type, uint64_t length)
{
	struct conn *c = r->conn;
	size_t extra = buf_len(&r->fields);
	size_t type_len = content_type != NULL ? strlen(content_type) : 0;
	uint8_t *start = buf_reserve(&c->out, REPLY_HEAD_MAX + extra + type_len);
	uint8_t *p = start;

	if (p == NULL) {
		conn_close(c);
		return -1;
	}
	if (length == STREAM_CHUNKED && r->minor == 0)
		r->close = true; /* only the end of the connection ends this body */
	p = REPLY_LITERAL(p, "HTTP/1.1 ");
	p = reply_put_u64(p, (uint64_t)status);
	p = REPLY_LITERAL(p, " ");
	p = reply_put_str(p, reply_reason(status));
	if (!r->given_date) {
		p = REPLY_LITERAL(p, "\r\nDate: ");
		p = reply_put(p, reply_date(c->srv), CLOCK_HTTP_DATE_LEN);
	}
	if (!r->given_id) {
		p = REPLY_LITERAL(p, "\r\nX-Request-ID: ");
		p = reply_put_str(p, req_id(r));
	}
	p = REPLY_LITERAL(p, "\r\n");
	if (content_type != NULL) {
		p = REPLY_LITERAL(p, "Content-Type: ");
		p = reply_put(p, content_type, type_len);
		p = REPLY_LITERAL(p, "\r\n");
	}
	if (status == 101 || status == 204 || status == 304) {
		/* No body and no word about one: RFC 9112 6.3. */
	} else if (length != STREAM_CHUNKED) {
		p = REPLY_LITERAL(p, "Content-Length: ");
		p = reply_put_u64(p, length);
		p = REPLY_LITERAL(p, "\r\n");
	} else if (r->minor > 0) {
		p = REPLY_LITERAL(p, "Transfer-Encoding: chunked\r\n");
	}
	p = reply_put_connection(p, r, status);
	if (extra > 0)
		p = reply_put(p, (const char *)buf_data(&r->fields), extra);
	p = REPLY_LITERAL(p, "\r\n");
	buf_commit(&c->out, (size_t)(p - start));
	return 0;
}

static void reply_done(struct req *r)
{
	r->reply = REPLY_DONE;
	conn_reply_progress(r->conn);
}

void reply_head(struct req *r, int status, const char *content_type, uint64_t length)
{
	if (r->conn->state == CONN_CLOSED)
		return;
	assert(r->reply == REPLY_NONE);
	if (reply_write_head(r, status, content_type, length) == 0)
		reply_done(r);
}

void reply_empty(struct req *r, int status)
{
	reply_head(r, status, NULL, 0);
}

/* Does the client take gzip (RFC 9110 12.5.3)? A weight of zero says no. */
static bool reply_accepts_gzip(const struct req *r)
{
	struct str rest = req_field(r, "accept-encoding"), item;

	while (str_list_next(&rest, &item)) {
		const char *semi = memchr(item.p, ';', item.n);
		size_t n = semi != NULL ? (size_t)(semi - item.p) : item.n;

		while (n > 0 && (item.p[n - 1] == ' ' || item.p[n - 1] == '\t'))
			n--;
		if (!str_ieq((struct str){item.p, n}, STR("gzip")))
			continue;
		if (semi == NULL)
			return true;
		/* q=0, q=0.0, q=0.000 */
		for (const char *q = semi + 1; q < item.p + item.n; q++) {
			if (*q >= '1' && *q <= '9')
				return true;
		}
		return false;
	}
	return false;
}

/* -1: send it as it is. */
static int reply_gzip(const void *body, size_t n, struct buf *out)
{
	z_stream z = {0};
	uint8_t *to;

	/* 15 + 16: a gzip wrapper; level 1: this runs on the loop. */
	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -1;

	size_t bound = deflateBound(&z, n);

	to = buf_reserve(out, bound);
	if (to == NULL) {
		deflateEnd(&z);
		return -1;
	}
	z.next_in = (Bytef *)(uintptr_t)body;
	z.avail_in = (uInt)n;
	z.next_out = to;
	z.avail_out = (uInt)bound;

	int res = deflate(&z, Z_FINISH);
	size_t made = bound - z.avail_out;

	deflateEnd(&z);
	if (res != Z_STREAM_END || made >= n)
		return -1;
	buf_commit(out, made);
	return 0;
}

static void reply_whole(
	struct req *r, int status, const char *content_type, const void *body, size_t n)
{
	struct conn *c = r->conn;

	if (c->state == CONN_CLOSED || reply_write_head(r, status, content_type, n) < 0)
		return;
	if (r->method != HTTP_HEAD && n > 0 && buf_add(&c->out, body, n) < 0)
		conn_close(c);
	else
		reply_done(r);
}

void reply_body(struct req *r, int status, const char *content_type, const void *body, size_t n)
{
	struct conn *c = r->conn;
	struct buf packed = {0};

	if (c->state == CONN_CLOSED)
		return;
	assert(r->reply == REPLY_NONE);
	if (n >= REPLY_GZIP_MIN && n <= REPLY_GZIP_MAX) {
		reply_field(r, "Vary", "Accept-Encoding");
		if (reply_accepts_gzip(r) && reply_gzip(body, n, &packed) == 0) {
			reply_field(r, "Content-Encoding", "gzip");
			body = buf_data(&packed);
			n = buf_len(&packed);
		}
	}
	reply_whole(r, status, content_type, body, n);
	buf_fini(&packed);
}

/* Of data that is known to be whole. -1: out of memory. */
static int reply_gunzip(const uint8_t *packed, size_t n, struct buf *out)
{
	/* The last four bytes are the size, the lowest first (RFC 1952 2.3.1). */
	size_t size = (size_t)packed[n - 4] | (size_t)packed[n - 3] << 8 |
		      (size_t)packed[n - 2] << 16 | (size_t)packed[n - 1] << 24;
	uint8_t *to = buf_reserve(out, size);
	z_stream z = {0};

	if (to == NULL || inflateInit2(&z, 15 + 16) != Z_OK)
		return -1;
	z.next_in = (Bytef *)(uintptr_t)packed;
	z.avail_in = (uInt)n;
	z.next_out = to;
	z.avail_out = (uInt)size;

	int res = inflate(&z, Z_FINISH);

	inflateEnd(&z);
	if (res != Z_STREAM_END)
		return -1;
	buf_commit(out, size);
	return 0;
}

void reply_gzipped(
	struct req *r, int status, const char *content_type, const void *packed, size_t n)
{
	struct buf plain = {0};

	if (r->conn->state == CONN_CLOSED)
		return;
	assert(r->reply == REPLY_NONE);
	reply_field(r, "Vary", "Accept-Encoding");
	if (reply_accepts_gzip(r)) {
		reply_field(r, "Content-Encoding", "gzip");
		reply_whole(r, status, content_type, packed, n);
	} else if (reply_gunzip(packed, n, &plain) == 0) {
		reply_whole(r, status, content_type, buf_data(&plain), buf_len(&plain));
	} else {
		conn_close(r->conn);
	}
	buf_fini(&plain);
}
