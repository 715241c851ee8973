/*
 * http1: the head of a request, in two steps.
 *
 * While a head arrives, a scan remembers how far it has come and looks for line ends alone: each
 * byte is seen once however slowly the client drips them, and what can never become a request (a
 * bare LF, a NUL, a head over its limit) is refused on the spot. The scan's answer depends on the
 * bytes by their position only, not on how they were cut into reads. When the empty line is there
 * the head is parsed in one pass, which may rely on every CR being followed by LF and on the two
 * line ends at its end: any loop over a character class stops there.
 */
#include "boxd/http1.h"

#include <arpa/inet.h>
#include <string.h>

#include "http1_internal.h"
#include "swar_internal.h"

#define HTTP1_EMPTY_LINES_MAX 4u
/* What a request line may hold beside its target: a long method, two spaces, the version. */
#define HTTP1_LINE_EXTRA 64u

/* clang-format off */
const uint8_t http1_token[256] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0, /* ! # $ % & ' * + - . */
	1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, /* 0-9 */
	0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* A-O */
	1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, /* P-Z ^ _ */
	1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* ` a-o */
	1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0, /* p-z | ~ */
};
/* clang-format on */

/* ---- the scan ---- */

/* Position of the next CR, LF or NUL at or after pos, end when there is none. */
static size_t http1_line_stop(const uint8_t *data, size_t pos, size_t end)
{
	for (; end - pos >= SWAR_BYTES; pos += SWAR_BYTES) {
		uint64_t w = swar_load(data + pos);
		uint64_t stop = swar_equal(w, '\r') | swar_equal(w, '\n') | swar_equal(w, 0);

		if (stop != 0)
			return pos + swar_first(stop);
	}
	while (pos < end && data[pos] != '\r' && data[pos] != '\n' && data[pos] != 0)
		pos++;
	return pos;
}

static enum http1_result http1_bad(const struct err_kind **why, const char **detail,
	const struct err_kind *kind, const char *text)
{
	*why = kind;
	*detail = text;
	return HTTP1_BAD;
}

/* Is the request line, as far as it is known, too long for any target that is allowed? */
static bool http1_line_too_long(const struct http1_scan *s, const struct http1_limits *lim)
{
	return s->lines == 0 && s->seen - s->line > lim->target_bytes + HTTP1_LINE_EXTRA;
}

static enum http1_result http1_scan_head(struct http1_scan *s, const uint8_t *data, size_t n,
	const struct http1_limits *lim, size_t *head_len, const struct err_kind **why,
	const char **detail)
{
	size_t end = n < lim->head_bytes ? n : lim->head_bytes;

	while ((s->seen = http1_line_stop(data, s->seen, end)) < end) {
		if (http1_line_too_long(s, lim))
			break;
		if (data[s->seen] == '\n')
			return http1_bad(why, detail, &ERR_BAD_REQUEST, "bare LF in the head");
		if (data[s->seen] == 0)
			return http1_bad(why, detail, &ERR_BAD_REQUEST, "NUL in the head");
		if (s->seen + 1 == end)
			break;
		if (data[s->seen + 1] != '\n')
			return http1_bad(why, detail, &ERR_BAD_REQUEST, "bare CR in the head");
		if (s->seen > s->line) {
			if (++s->lines > lim->fields + 1u)
				return http1_bad(
					why, detail, &ERR_HEAD_TOO_LARGE, "too many header fields");
		} else if (s->lines > 0) {
			*head_len = s->seen + 2;
			return HTTP1_DONE;
		} else if (s->seen >= HTTP1_EMPTY_LINES_MAX * 2) {
			return http1_bad(why, detail, &ERR_BAD_REQUEST,
				"too many empty lines before the request");
		}
		s->seen += 2;
		s->line = s->seen;
	}
	if (http1_line_too_long(s, lim))
		return http1_bad(why, detail, &ERR_URI_TOO_LONG, "request target too long");
	if (end == lim->head_bytes)
		return http1_bad(why, detail, &ERR_HEAD_TOO_LARGE, "request head too large");
	return HTTP1_MORE;
}

/* ---- the parse ---- */

/* A head that is complete, while it is parsed. */
struct http1_parser {
	const uint8_t *data;
	size_t pos, end;
	const struct http1_limits *lim;
	struct http1_head *head;
	const struct err_kind *why;
	const char *detail;
	struct http1_span coding; /* value of Transfer-Encoding */
	bool has_host, has_length, has_coding;
	bool close, keep_alive; /* named by Connection */
};

static bool http1_refuse(struct http1_parser *p, const struct err_kind *why, const char *detail)
{
	p->why = why;
	p->detail = detail;
	return false;
}

static bool http1_malformed(struct http1_parser *p, const char *detail)
{
	return http1_refuse(p, &ERR_BAD_REQUEST, detail);
}

/* From start up to the current position. */
static struct http1_span http1_span_from(const struct http1_parser *p, size_t start)
{
	return (struct http1_span){(uint32_t)start, (uint32_t)(p->pos - start)};
}

static enum http_method http1_method(struct str name)
{
	static const char *const names[HTTP_OTHER] = {
		[HTTP_GET] = "GET",
		[HTTP_HEAD] = "HEAD",
		[HTTP_POST] = "POST",
		[HTTP_PUT] = "PUT",
		[HTTP_DELETE] = "DELETE",
		[HTTP_PATCH] = "PATCH",
		[HTTP_OPTIONS] = "OPTIONS",
	};

	for (unsigned m = 0; m < HTTP_OTHER; m++) {
		if (str_eq(name, str_of(names[m])))
			return (enum http_method)m;
	}
	return HTTP_OTHER;
}

static bool http1_version(struct http1_parser *p)
{
	const uint8_t *v = p->data + p->pos;

	/* `HTTP/1.1` and two line ends at least. */
	if (p->end - p->pos < 12 || memcmp(v, "HTTP/", 5) != 0 || v[5] < '0' || v[5] > '9' ||
		v[6] != '.' || v[7] < '0' || v[7] > '9' || v[8] != '\r')
		return http1_malformed(p, "malformed request line");
	if (v[5] != '1')
		return http1_refuse(p, &ERR_HTTP_VERSION, "only HTTP/1.0 and HTTP/1.1 are spoken");
	p->head->minor = (uint8_t)(v[7] - '0');
	p->pos += 10;
	return true;
}

static bool http1_request_line(struct http1_parser *p)
{
	struct http1_head *h = p->head;
	size_t start = p->pos;

	while (http1_is_token(p->data[p->pos]))
		p->pos++;
	if (p->pos == start || p->data[p->pos] != ' ')
		return http1_malformed(p, "malformed request line");
	h->method_name = http1_span_from(p, start);
	h->method = http1_method(http1_str(p->data, h->method_name));
	start = ++p->pos;
	while (p->data[p->pos] > 0x20 && p->data[p->pos] < 0x7f)
		p->pos++;
	h->target = http1_span_from(p, start);
	if (h->target.len > p->lim->target_bytes)
		return http1_refuse(p, &ERR_URI_TOO_LONG, "request target too long");
	if (p->pos == start || p->data[p->pos] != ' ')
		return http1_malformed(p, "malformed request line");
	p->pos++;
	return http1_version(p);
}

/* ---- host ---- */

/* Length of the address in brackets at the start of h, 0 when there is no good one. */
static size_t http1_ipv6_len(struct str h)
{
	const char *close = memchr(h.p, ']', h.n);
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;
	size_t n;

	if (close == NULL)
		return 0;
	n = (size_t)(close - h.p) - 1;
	if (n >= sizeof(text))
		return 0;
	memcpy(text, h.p + 1, n);
	text[n] = '\0';
	return inet_pton(AF_INET6, text, &addr) == 1 ? n + 2 : 0;
}

/* Length of the registered name (RFC 3986 3.2.2) or IPv4 address at the start of h. */
static size_t http1_reg_name_len(struct str h)
{
	static const char marks[] = "-._~!$&'()*+,;=";
	size_t i = 0;

	while (i < h.n) {
		char c = h.p[i];
		bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			     (c >= 'A' && c <= 'Z');

		if (alnum || memchr(marks, c, sizeof(marks) - 1) != NULL)
			i++;
		else if (c == '%' && h.n - i > 2 && str_hex_digit(h.p[i + 1]) >= 0 &&
			 str_hex_digit(h.p[i + 2]) >= 0)
			i += 3;
		else
			break;
	}
	return i;
}

/* `uri-host [ ":" port ]`. An empty host means nothing to us, although the grammar has it. */
static bool http1_host_ok(struct str h)
{
	uint64_t port;
	size_t n;

	if (h.n == 0)
		return false;
	n = h.p[0] == '[' ? http1_ipv6_len(h) : http1_reg_name_len(h);
	if (n == 0)
		return false;
	if (n == h.n)
		return true;
	if (h.p[n] != ':')
		return false;
	h = (struct str){h.p + n + 1, h.n - n - 1};
	return h.n == 0 || (h.n <= 5 && str_u64(h, &port) && port <= UINT16_MAX);
}

/* ---- target ---- */

/* Offset of the authority of an absolute-form target, 0 when it is none. */
static size_t http1_authority_at(struct str target)
{
	static const struct str schemes[] = {
		{"http://", sizeof("http://") - 1}, {"https://", sizeof("https://") - 1}};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t n = schemes[i].n;

		if (target.n > n && str_ieq((struct str){target.p, n}, schemes[i]))
			return n;
	}
	return 0;
}

/* Cuts [at, end of the target) into path and query. */
static void http1_split_path(struct http1_head *h, struct str target, size_t at)
{
	const char *mark = memchr(target.p + at, '?', target.n - at);
	size_t path_n = mark == NULL ? target.n - at : (size_t)(mark - target.p) - at;
	size_t query_at = at + path_n + 1;

	h->path = (struct http1_span){h->target.off + (uint32_t)at, (uint32_t)path_n};
	if (mark != NULL)
		h->query = (struct http1_span){
			h->target.off + (uint32_t)query_at, (uint32_t)(target.n - query_at)};
}

static bool http1_absolute(struct http1_parser *p, struct str target, size_t at)
{
	struct http1_head *h = p->head;
	size_t n = 0;

	while (at + n < target.n && target.p[at + n] != '/' && target.p[at + n] != '?')
		n++;
	if (!http1_host_ok((struct str){target.p + at, n}))
		return http1_malformed(p, "malformed authority in the request target");
	h->host = (struct http1_span){h->target.off + (uint32_t)at, (uint32_t)n};
	http1_split_path(h, target, at + n);
	/* An empty path means "/": the last slash of "://" reads like that. */
	if (h->path.len == 0)
		h->path = (struct http1_span){h->target.off + (uint32_t)at - 1, 1};
	return true;
}

static bool http1_target(struct http1_parser *p)
{
	struct http1_head *h = p->head;
	struct str target = http1_str(p->data, h->target);
	size_t authority;

	if (str_eq(http1_str(p->data, h->method_name), STR("CONNECT")))
		return http1_refuse(p, &ERR_NOT_SUPPORTED, "CONNECT is not supported");
	if (memchr(target.p, '#', target.n) != NULL)
		return http1_malformed(p, "fragment in the request target");
	if (target.p[0] == '/') {
		http1_split_path(h, target, 0);
		return true;
	}
	if (h->method == HTTP_OPTIONS && str_eq(target, STR("*"))) {
		h->path = h->target;
		return true;
	}
	authority = http1_authority_at(target);
	if (authority == 0)
		return http1_malformed(p, "malformed request target");
	return http1_absolute(p, target, authority);
}

/* ---- fields ---- */

static bool http1_on_host(struct http1_parser *p, struct http1_span value)
{
	if (p->has_host)
		return http1_malformed(p, "repeated Host");
	p->has_host = true;
	if (!http1_host_ok(http1_str(p->data, value)))
		return http1_malformed(p, "malformed Host");
	if (p->head->host.len == 0)
		p->head->host = value;
	return true;
}

static bool http1_on_length(struct http1_parser *p, struct http1_span value)
{
	if (p->has_length)
		return http1_malformed(p, "repeated Content-Length");
	p->has_length = true;
	if (!str_u64(http1_str(p->data, value), &p->head->content_length))
		return http1_malformed(p, "malformed Content-Length");
	return true;
}

static bool http1_on_coding(struct http1_parser *p, struct http1_span value)
{
	if (p->has_coding)
		return http1_malformed(p, "repeated Transfer-Encoding");
	p->has_coding = true;
	p->coding = value;
	return true;
}

static void http1_on_connection(struct http1_parser *p, struct http1_span value)
{
	struct str rest = http1_str(p->data, value);
	struct str option;

	while (str_list_next(&rest, &option)) {
		p->close |= str_ieq(option, STR("close"));
		p->keep_alive |= str_ieq(option, STR("keep-alive"));
	}
}

static bool http1_on_expect(struct http1_parser *p, struct http1_span value)
{
	if (!str_ieq(http1_str(p->data, value), STR("100-continue")))
		return http1_refuse(p, &ERR_EXPECTATION, "only 100-continue can be expected");
	p->head->expect_continue = true;
	return true;
}

/* The fields that say how the message and the connection work. */
static bool http1_on_field(struct http1_parser *p, struct http1_field f)
{
	struct str name = http1_str(p->data, f.name);

	switch (name.n) {
	case 4: return !str_ieq(name, STR("Host")) || http1_on_host(p, f.value);
	case 6: return !str_ieq(name, STR("Expect")) || http1_on_expect(p, f.value);
	case 10:
		if (str_ieq(name, STR("Connection")))
			http1_on_connection(p, f.value);
		return true;
	case 14: return !str_ieq(name, STR("Content-Length")) || http1_on_length(p, f.value);
	case 17: return !str_ieq(name, STR("Transfer-Encoding")) || http1_on_coding(p, f.value);
	default: return true;
	}
}

/* Where the field value that goes on at pos ends: at the first byte it may not hold. */
static size_t http1_value_end(const uint8_t *data, size_t pos, size_t end)
{
	while (end - pos >= SWAR_BYTES) {
		uint64_t w = swar_load(data + pos);
		uint64_t stop = swar_below(w, 0x20) | swar_equal(w, 0x7f);

		if (stop == 0) {
			pos += SWAR_BYTES;
			continue;
		}
		pos += swar_first(stop);
		if (data[pos] != '\t')
			return pos;
		pos++;
	}
	while (http1_is_value(data[pos]))
		pos++;
	return pos;
}

static bool http1_field_line(struct http1_parser *p, struct http1_field *f)
{
	const uint8_t *data = p->data;
	size_t start = p->pos;

	while (http1_is_token(data[p->pos]))
		p->pos++;
	if (p->pos == start && (data[start] == ' ' || data[start] == '\t'))
		return http1_malformed(p, "folded header field");
	if (p->pos == start || data[p->pos] != ':')
		return http1_malformed(p, "malformed header field name");
	f->name = http1_span_from(p, start);
	do
		p->pos++;
	while (data[p->pos] == ' ' || data[p->pos] == '\t');
	start = p->pos;
	p->pos = http1_value_end(data, start, p->end);
	if (data[p->pos] != '\r')
		return http1_malformed(p, "control character in a header field");
	f->value = http1_span_from(p, start);
	while (f->value.len > 0 &&
		(data[start + f->value.len - 1] == ' ' || data[start + f->value.len - 1] == '\t'))
		f->value.len--;
	p->pos += 2;
	return true;
}

/* All header fields, up to and including the empty line. */
static bool http1_fields(struct http1_parser *p)
{
	struct http1_head *h = p->head;

	while (p->data[p->pos] != '\r') {
		struct http1_field *f = &h->fields[h->nfields];

		if (h->nfields == HTTP1_FIELDS_CAP)
			return http1_refuse(p, &ERR_HEAD_TOO_LARGE, "too many header fields");
		if (!http1_field_line(p, f) || !http1_on_field(p, *f))
			return false;
		h->nfields++;
	}
	return true;
}

/* What the fields mean together. */
static bool http1_framing(struct http1_parser *p)
{
	struct http1_head *h = p->head;
	bool http11 = h->minor >= 1;

	if (!p->has_host && http11)
		return http1_malformed(p, "missing Host");
	if (p->has_coding && p->has_length)
		return http1_malformed(p, "Content-Length with Transfer-Encoding");
	if (p->has_coding && !http11)
		return http1_malformed(p, "Transfer-Encoding in HTTP/1.0");
	if (p->has_coding) {
		if (!str_ieq(http1_str(p->data, p->coding), STR("chunked")))
			return http1_refuse(p, &ERR_NOT_SUPPORTED, "unknown transfer coding");
		h->body = HTTP_BODY_CHUNKED;
	} else if (p->has_length) {
		h->body = HTTP_BODY_LENGTH;
	}
	/* A client of HTTP/1.0 cannot understand an interim response (RFC 9110 10.1.1). */
	h->expect_continue = h->expect_continue && http11;
	h->keep_alive = !p->close && (http11 || p->keep_alive);
	return true;
}

/* Everything but the array of fields, which is large and filled as far as nfields says. */
static void http1_head_reset(struct http1_head *h)
{
	static const struct http1_span none;

	h->method = HTTP_OTHER;
	h->method_name = h->target = h->path = h->query = h->host = none;
	h->minor = 0;
	h->body = HTTP_BODY_NONE;
	h->content_length = 0;
	h->keep_alive = h->expect_continue = false;
	h->nfields = 0;
}

enum http1_result http1_parse(struct http1_scan *scan, const uint8_t *data, size_t n,
	const struct http1_limits *lim, struct http1_head *head, size_t *head_len,
	const struct err_kind **why, const char **detail)
{
	struct http1_parser p = {.data = data, .lim = lim, .head = head};
	enum http1_result scanned;

	if (scan->seen == 0)
		*scan = (struct http1_scan){0};
	scanned = http1_scan_head(scan, data, n, lim, head_len, why, detail);
	if (scanned != HTTP1_DONE)
		return scanned;
	http1_head_reset(head);
	p.end = *head_len;
	while (data[p.pos] == '\r')
		p.pos += 2;
	if (http1_request_line(&p) && http1_target(&p) && http1_fields(&p) && http1_framing(&p))
		return HTTP1_DONE;
	return http1_bad(why, detail, p.why, p.detail);
}

bool http1_find(
	const struct http1_head *head, const uint8_t *base, const char *name, struct str *value)
{
	struct str wanted = str_of(name);

	for (size_t i = 0; i < head->nfields; i++) {
		if (str_ieq(http1_str(base, head->fields[i].name), wanted)) {
			*value = http1_str(base, head->fields[i].value);
			return true;
		}
	}
	return false;
}
