/*
 * http1_response: the head of a response, in two steps like that of a request.
 *
 * While it arrives, a scan looks for line ends alone and remembers how far it has come. The first
 * bytes are compared at once, so that a server of another protocol is found out by its greeting and
 * not by its silence. When the empty line is there the head is parsed in one pass, which may rely
 * on every LF having a CR before it and on the two line ends at its end: any loop over a character
 * class stops there.
 */
#include "boxd/http1_response.h"

#include <string.h>

#include "http1_internal.h"

static const char http1_response_magic[] = "HTTP/1.";

#define HTTP1_RESPONSE_MAGIC (sizeof(http1_response_magic) - 1)

/* ---- the scan ---- */

static enum http1_result http1_response_bad(const char **detail, const char *text)
{
	*detail = text;
	return HTTP1_BAD;
}

static enum http1_result http1_response_scan(struct http1_scan *s, const uint8_t *data, size_t n,
	const struct http1_limits *lim, size_t *head_len, const char **detail)
{
	size_t end = n < lim->head_bytes ? n : lim->head_bytes;
	size_t magic = n < HTTP1_RESPONSE_MAGIC ? n : HTTP1_RESPONSE_MAGIC;

	if (n == 0)
		return HTTP1_MORE;
	if (memcmp(data, http1_response_magic, magic) != 0)
		return http1_response_bad(detail, "the answer is not HTTP/1.x");
	while (s->seen < end) {
		const uint8_t *lf = memchr(data + s->seen, '\n', end - s->seen);

		if (lf == NULL) {
			s->seen = end;
			break;
		}
		size_t at = (size_t)(lf - data);

		s->seen = at + 1;
		if (at == s->line || data[at - 1] != '\r')
			return http1_response_bad(detail, "bare LF in the head of the answer");
		if (at == s->line + 1) {
			*head_len = at + 1;
			return HTTP1_DONE;
		}
		if (++s->lines > lim->fields + 1u)
			return http1_response_bad(detail, "too many header fields in the answer");
		s->line = at + 1;
	}
	if (end == lim->head_bytes)
		return http1_response_bad(detail, "the head of the answer is too large");
	return HTTP1_MORE;
}

/* ---- the parse ---- */

/* A head that is complete, while it is parsed. */
struct http1_response_parser {
	const uint8_t *data;
	size_t pos;
	struct http1_response *head;
	const char *detail;
	struct http1_span coding; /* value of Transfer-Encoding */
	bool has_coding;
	bool close, keep_alive; /* named by Connection */
};

static bool http1_response_refuse(struct http1_response_parser *p, const char *detail)
{
	p->detail = detail;
	return false;
}

static bool http1_response_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* Whatever may stand in a value; stops at the CR before the line's end at the latest. */
static void http1_response_skip_text(struct http1_response_parser *p)
{
	while (http1_is_value(p->data[p->pos]))
		p->pos++;
}

/* `HTTP/1.1 200 OK`. Some servers leave out the reason with its space. */
static bool http1_response_status_line(struct http1_response_parser *p)
{
	struct http1_response *h = p->head;
	const uint8_t *v = p->data + HTTP1_RESPONSE_MAGIC;
	unsigned int status = 0;

	/* Each step looks one byte further, and none beyond the first that is wrong. */
	if (!http1_response_is_digit(v[0]) || v[1] != ' ')
		return http1_response_refuse(p, "malformed status line in the answer");
	h->minor = (uint8_t)(v[0] - '0');
	for (size_t i = 2; i < 5; i++) {
		if (!http1_response_is_digit(v[i]))
			return http1_response_refuse(p, "malformed status line in the answer");
		status = status * 10 + (v[i] - (unsigned int)'0');
	}
	p->pos = HTTP1_RESPONSE_MAGIC + 5;
	if (p->data[p->pos] == ' ')
		http1_response_skip_text(p);
	if (p->data[p->pos] != '\r' || p->data[p->pos + 1] != '\n')
		return http1_response_refuse(p, "malformed status line in the answer");
	if (status < 100 || status > 599)
		return http1_response_refuse(p, "the answer has a status that does not exist");
	h->status = (uint16_t)status;
	p->pos += 2;
	return true;
}

static struct http1_span http1_response_span(const struct http1_response_parser *p, size_t start)
{
	return (struct http1_span){(uint32_t)start, (uint32_t)(p->pos - start)};
}

static bool http1_response_is_space(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static bool http1_response_field_line(struct http1_response_parser *p, struct http1_field *f)
{
	const uint8_t *data = p->data;
	size_t start = p->pos;

	while (http1_is_token(data[p->pos]))
		p->pos++;
	if (p->pos == start && http1_response_is_space(data[start]))
		return http1_response_refuse(p, "folded header field in the answer");
	f->name = http1_response_span(p, start);
	while (http1_response_is_space(data[p->pos]))
		p->pos++;
	if (f->name.len == 0 || data[p->pos] != ':')
		return http1_response_refuse(p, "malformed header field in the answer");
	do
		p->pos++;
	while (http1_response_is_space(data[p->pos]));
	start = p->pos;
	http1_response_skip_text(p);
	if (data[p->pos] != '\r' || data[p->pos + 1] != '\n')
		return http1_response_refuse(
			p, "control character in a header field of the answer");
	f->value = http1_response_span(p, start);
	while (f->value.len > 0 && http1_response_is_space(data[start + f->value.len - 1]))
		f->value.len--;
	p->pos += 2;
	return true;
}

static bool http1_response_on_length(struct http1_response_parser *p, struct http1_span value)
{
	struct http1_response *h = p->head;

	if (h->has_length)
		return http1_response_refuse(p, "repeated Content-Length in the answer");
	h->has_length = true;
	if (!str_u64(http1_str(p->data, value), &h->content_length))
		return http1_response_refuse(p, "malformed Content-Length in the answer");
	return true;
}

static bool http1_response_on_coding(struct http1_response_parser *p, struct http1_span value)
{
	if (p->has_coding)
		return http1_response_refuse(p, "repeated Transfer-Encoding in the answer");
	p->has_coding = true;
	p->coding = value;
	return true;
}

/* The fields that say how the message and the connection work. */
static bool http1_response_on_field(struct http1_response_parser *p, struct http1_field f)
{
	struct str name = http1_str(p->data, f.name), rest = http1_str(p->data, f.value), option;

	if (str_ieq(name, STR("Content-Length")))
		return http1_response_on_length(p, f.value);
	if (str_ieq(name, STR("Transfer-Encoding")))
		return http1_response_on_coding(p, f.value);
	if (!str_ieq(name, STR("Connection")))
		return true;
	while (str_list_next(&rest, &option)) {
		p->close |= str_ieq(option, STR("close"));
		p->keep_alive |= str_ieq(option, STR("keep-alive"));
	}
	return true;
}

/* All header fields, up to and including the empty line. */
static bool http1_response_fields(struct http1_response_parser *p)
{
	struct http1_response *h = p->head;

	while (p->data[p->pos] != '\r' || p->data[p->pos + 1] != '\n') {
		struct http1_field *f = &h->fields[h->nfields];

		if (h->nfields == HTTP1_FIELDS_CAP)
			return http1_response_refuse(p, "too many header fields in the answer");
		if (!http1_response_field_line(p, f) || !http1_response_on_field(p, *f))
			return false;
		h->nfields++;
	}
	return true;
}

/* What the status and the fields mean together. */
static bool http1_response_framing(struct http1_response_parser *p, bool to_head)
{
	struct http1_response *h = p->head;
	bool http11 = h->minor >= 1;
	bool bodiless = h->status < 200 || h->status == 204 || h->status == 304;

	if (p->has_coding && h->has_length)
		return http1_response_refuse(
			p, "Content-Length with Transfer-Encoding in the answer");
	if (p->has_coding && !http11)
		return http1_response_refuse(p, "Transfer-Encoding in an answer of HTTP/1.0");
	if (p->has_coding && !str_ieq(http1_str(p->data, p->coding), STR("chunked")))
		return http1_response_refuse(p, "unknown transfer coding of the answer");
	h->keep_alive = !p->close && (http11 || p->keep_alive);
	if (to_head || bodiless) {
		bool wrong = p->has_coding || (h->content_length > 0 && h->status != 304);

		h->framing = HTTP1_FRAMING_NONE;
		h->keep_alive = h->keep_alive && (to_head || !wrong);
	} else if (p->has_coding) {
		h->framing = HTTP1_FRAMING_CHUNKED;
	} else if (h->has_length) {
		h->framing = HTTP1_FRAMING_LENGTH;
	} else {
		h->framing = HTTP1_FRAMING_CLOSE;
		h->keep_alive = false;
	}
	return true;
}

/* Everything but the array of fields, which is large and filled as far as nfields says. */
static void http1_response_reset(struct http1_response *h)
{
	h->status = 0;
	h->minor = 0;
	h->framing = HTTP1_FRAMING_NONE;
	h->has_length = h->keep_alive = false;
	h->content_length = 0;
	h->nfields = 0;
}

enum http1_result http1_response_parse(struct http1_scan *scan, const uint8_t *data, size_t n,
	const struct http1_limits *lim, bool to_head, struct http1_response *head, size_t *head_len,
	const char **detail)
{
	struct http1_response_parser p = {.data = data, .head = head};
	enum http1_result scanned;

	if (scan->seen == 0)
		*scan = (struct http1_scan){0};
	scanned = http1_response_scan(scan, data, n, lim, head_len, detail);
	if (scanned != HTTP1_DONE)
		return scanned;
	http1_response_reset(head);
	if (http1_response_status_line(&p) && http1_response_fields(&p) &&
		http1_response_framing(&p, to_head))
		return HTTP1_DONE;
	return http1_response_bad(detail, p.detail);
}
