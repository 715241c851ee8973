/*
 * Fuzzes the head of a response. The first byte of an input chooses limits, cuts and the method,
 * the rest is what the server sends. The oracle: however the bytes are cut the answer is the same;
 * no prefix of an accepted head is accepted or refused; every span lies in the head and holds no
 * line end and no NUL; what the fields say of the body is what an intermediary may rely on; a head
 * that is written out again from its spans means the same.
 */
#include <string.h>

#include "boxd/buf.h"
#include "boxd/http1_response.h"
#include "fuzz.h"

/* Prefixes are tried one by one from scratch up to this size: the cost is quadratic. */
#define PREFIX_MAX 512u

struct answer {
	enum http1_result result;
	const char *detail;
	size_t head_len;
	struct http1_response head;
};

struct setting {
	struct http1_limits lim;
	bool to_head;
};

static void parse(struct http1_scan *scan, const uint8_t *data, size_t n, const struct setting *s,
	struct answer *a)
{
	a->detail = NULL;
	a->head_len = 0;
	a->result = http1_response_parse(
		scan, data, n, &s->lim, s->to_head, &a->head, &a->head_len, &a->detail);
	FUZZ_CHECK((a->result == HTTP1_BAD) == (a->detail != NULL));
}

static void parse_whole(const uint8_t *data, size_t n, const struct setting *s, struct answer *a)
{
	struct http1_scan scan = {0};

	parse(&scan, data, n, s, a);
}

/* Two heads of the same meaning, in memory of their own. */
static void check_meaning(const struct http1_response *a, const uint8_t *base_a,
	const struct http1_response *b, const uint8_t *base_b)
{
	FUZZ_CHECK(a->status == b->status && a->minor == b->minor);
	FUZZ_CHECK(a->framing == b->framing && a->keep_alive == b->keep_alive);
	FUZZ_CHECK(a->has_length == b->has_length && a->content_length == b->content_length);
	FUZZ_CHECK(a->nfields == b->nfields);
	for (size_t i = 0; i < a->nfields; i++) {
		FUZZ_CHECK(str_eq(http1_str(base_a, a->fields[i].name),
			http1_str(base_b, b->fields[i].name)));
		FUZZ_CHECK(str_eq(http1_str(base_a, a->fields[i].value),
			http1_str(base_b, b->fields[i].value)));
	}
}

static void check_same(const uint8_t *data, const struct answer *a, const struct answer *b)
{
	FUZZ_CHECK(a->result == b->result && a->detail == b->detail);
	if (a->result != HTTP1_DONE)
		return;
	FUZZ_CHECK(a->head_len == b->head_len);
	check_meaning(&a->head, data, &b->head, data);
}

static void check_cuts(const uint8_t *data, size_t n, const struct setting *s,
	const struct answer *whole, uint32_t seed)
{
	struct http1_scan scan = {0};
	static struct answer a;
	size_t given = 0;

	do {
		given += fuzz_step(&seed, n - given);
		parse(&scan, data, given, s, &a);
	} while (a.result == HTTP1_MORE && given < n);
	check_same(data, &a, whole);
}

static void check_span(const uint8_t *data, const struct answer *a, struct http1_span s)
{
	FUZZ_CHECK(s.off <= a->head_len && s.len <= a->head_len - s.off);
	for (size_t i = s.off; i < (size_t)s.off + s.len; i++)
		FUZZ_CHECK(data[i] != '\r' && data[i] != '\n' && data[i] != 0);
}

static void check_spans(const uint8_t *data, const struct answer *a, const struct setting *s)
{
	FUZZ_CHECK(a->head_len <= s->lim.head_bytes && a->head.nfields <= s->lim.fields);
	for (size_t i = 0; i < a->head.nfields; i++) {
		struct str v = http1_str(data, a->head.fields[i].value);

		check_span(data, a, a->head.fields[i].name);
		check_span(data, a, a->head.fields[i].value);
		FUZZ_CHECK(a->head.fields[i].name.len > 0);
		FUZZ_CHECK(v.n == 0 ||
			   (strchr(" \t", v.p[0]) == NULL && strchr(" \t", v.p[v.n - 1]) == NULL));
	}
}

static size_t count_fields(const uint8_t *data, const struct http1_response *h, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < h->nfields; i++)
		n += str_ieq(http1_str(data, h->fields[i].name), str_of(name));
	return n;
}

/* RFC 9112 6.3, said once more from the fields. */
static void check_framing(const uint8_t *data, const struct answer *a, const struct setting *s)
{
	const struct http1_response *h = &a->head;
	size_t lengths = count_fields(data, h, "content-length");
	size_t codings = count_fields(data, h, "transfer-encoding");
	bool none = s->to_head || h->status < 200 || h->status == 204 || h->status == 304;

	FUZZ_CHECK(h->status >= 100 && h->status <= 599);
	FUZZ_CHECK(lengths + codings <= 1 && h->has_length == (lengths == 1));
	FUZZ_CHECK(codings == 0 || h->minor > 0);
	if (none)
		FUZZ_CHECK(h->framing == HTTP1_FRAMING_NONE);
	else if (codings > 0)
		FUZZ_CHECK(h->framing == HTTP1_FRAMING_CHUNKED);
	else if (lengths > 0)
		FUZZ_CHECK(h->framing == HTTP1_FRAMING_LENGTH);
	else
		FUZZ_CHECK(h->framing == HTTP1_FRAMING_CLOSE && !h->keep_alive);
}

static void check_prefixes(const uint8_t *data, const struct answer *a, const struct setting *s)
{
	static struct answer p;

	for (size_t n = 0; n < a->head_len && n < PREFIX_MAX; n++) {
		parse_whole(data, n, s, &p);
		FUZZ_CHECK(p.result == HTTP1_MORE);
	}
	parse_whole(data, a->head_len - 1, s, &p);
	FUZZ_CHECK(p.result == HTTP1_MORE);
	parse_whole(data, a->head_len, s, &p);
	check_same(data, &p, a);
}

static void put(struct buf *b, const uint8_t *data, struct http1_span s, const char *end)
{
	FUZZ_CHECK(buf_add(b, data + s.off, s.len) == 0 && buf_add_str(b, end) == 0);
}

/* What an intermediary that understood the head would send on. */
static void check_rewritten(const uint8_t *data, const struct answer *a, const struct setting *s)
{
	const struct http1_response *h = &a->head;
	static struct answer again;
	struct buf b = {0};

	FUZZ_CHECK(buf_printf(&b, "HTTP/1.%u %u\r\n", h->minor, h->status) == 0);
	for (size_t i = 0; i < h->nfields; i++) {
		put(&b, data, h->fields[i].name, ":");
		put(&b, data, h->fields[i].value, "\r\n");
	}
	FUZZ_CHECK(buf_add_str(&b, "\r\n") == 0);
	parse_whole(buf_data(&b), buf_len(&b), s, &again);
	FUZZ_CHECK(again.result == HTTP1_DONE && again.head_len == buf_len(&b));
	check_meaning(h, data, &again.head, buf_data(&b));
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct setting s = {{.head_bytes = 4096, .fields = 100}, false};
	static struct answer whole;
	uint8_t choice;

	if (size < 1)
		return 0;
	choice = *data++;
	size--;
	if (choice & 1)
		s.lim = (struct http1_limits){.head_bytes = 128, .fields = 4};
	s.to_head = (choice & 2) != 0;
	parse_whole(data, size, &s, &whole);
	check_cuts(data, size, &s, &whole, choice);
	if (whole.result == HTTP1_DONE) {
		check_spans(data, &whole, &s);
		check_framing(data, &whole, &s);
		check_prefixes(data, &whole, &s);
		check_rewritten(data, &whole, &s);
	}
	return 0;
}
