/*
 * Fuzzes the request head. The first byte of an input chooses limits and cuts, the rest is what the
 * client sends. The oracle: however the bytes are cut the answer is the same; no prefix of an
 * accepted head is accepted or refused; every span lies in the head and holds no line end and no
 * NUL; a head that is written out again from its spans means the same.
 */
#include <string.h>

#include "boxd/buf.h"
#include "boxd/http1.h"
#include "fuzz.h"

/* Prefixes are tried one by one from scratch up to this size: the cost is quadratic. */
#define PREFIX_MAX 512u

struct answer {
	enum http1_result result;
	const struct err_kind *why;
	const char *detail;
	size_t head_len;
	struct http1_head head;
};

static void parse(struct http1_scan *scan, const uint8_t *data, size_t n,
	const struct http1_limits *lim, struct answer *a)
{
	a->why = NULL;
	a->detail = NULL;
	a->head_len = 0;
	a->result = http1_parse(scan, data, n, lim, &a->head, &a->head_len, &a->why, &a->detail);
	FUZZ_CHECK((a->result == HTTP1_BAD) == (a->why != NULL && a->detail != NULL));
}

static void parse_whole(
	const uint8_t *data, size_t n, const struct http1_limits *lim, struct answer *a)
{
	struct http1_scan scan = {0};

	parse(&scan, data, n, lim, a);
}

static int same_span(struct http1_span a, struct http1_span b)
{
	return a.off == b.off && a.len == b.len;
}

static void check_same(const struct answer *a, const struct answer *b)
{
	FUZZ_CHECK(a->result == b->result);
	FUZZ_CHECK(a->why == b->why && a->detail == b->detail);
	if (a->result != HTTP1_DONE)
		return;
	FUZZ_CHECK(a->head_len == b->head_len);
	FUZZ_CHECK(a->head.nfields == b->head.nfields);
	for (size_t i = 0; i < a->head.nfields; i++) {
		FUZZ_CHECK(same_span(a->head.fields[i].name, b->head.fields[i].name));
		FUZZ_CHECK(same_span(a->head.fields[i].value, b->head.fields[i].value));
	}
	FUZZ_CHECK(same_span(a->head.path, b->head.path));
	FUZZ_CHECK(same_span(a->head.query, b->head.query));
	FUZZ_CHECK(same_span(a->head.host, b->head.host));
}

static void check_cuts(const uint8_t *data, size_t n, const struct http1_limits *lim,
	const struct answer *whole, uint32_t seed)
{
	struct http1_scan scan = {0};
	static struct answer a;
	size_t given = 0;

	do {
		given += fuzz_step(&seed, n - given);
		parse(&scan, data, given, lim, &a);
	} while (a.result == HTTP1_MORE && given < n);
	check_same(&a, whole);
}

static void check_span(const uint8_t *data, const struct answer *a, struct http1_span s)
{
	FUZZ_CHECK(s.off <= a->head_len && s.len <= a->head_len - s.off);
	for (size_t i = s.off; i < (size_t)s.off + s.len; i++)
		FUZZ_CHECK(data[i] != '\r' && data[i] != '\n' && data[i] != 0);
}

static void check_spans(const uint8_t *data, const struct answer *a)
{
	const struct http1_head *h = &a->head;

	check_span(data, a, h->method_name);
	check_span(data, a, h->target);
	check_span(data, a, h->path);
	check_span(data, a, h->query);
	check_span(data, a, h->host);
	FUZZ_CHECK(h->method_name.len > 0 && h->path.len > 0);
	FUZZ_CHECK(data[h->path.off] == '/' || str_eq(http1_str(data, h->path), STR("*")));
	for (size_t i = 0; i < h->nfields; i++) {
		struct str v = http1_str(data, h->fields[i].value);

		check_span(data, a, h->fields[i].name);
		check_span(data, a, h->fields[i].value);
		FUZZ_CHECK(h->fields[i].name.len > 0);
		FUZZ_CHECK(v.n == 0 ||
			   (strchr(" \t", v.p[0]) == NULL && strchr(" \t", v.p[v.n - 1]) == NULL));
	}
}

static void check_prefixes(
	const uint8_t *data, const struct answer *a, const struct http1_limits *lim)
{
	static struct answer p;

	for (size_t n = 0; n < a->head_len && n < PREFIX_MAX; n++) {
		parse_whole(data, n, lim, &p);
		FUZZ_CHECK(p.result == HTTP1_MORE);
	}
	parse_whole(data, a->head_len - 1, lim, &p);
	FUZZ_CHECK(p.result == HTTP1_MORE);
	parse_whole(data, a->head_len, lim, &p);
	check_same(&p, a);
}

static void put(struct buf *b, const uint8_t *data, struct http1_span s, const char *end)
{
	FUZZ_CHECK(buf_add(b, data + s.off, s.len) == 0 && buf_add_str(b, end) == 0);
}

/* What an intermediary that understood the head would send on. */
static void check_rewritten(
	const uint8_t *data, const struct answer *a, const struct http1_limits *lim)
{
	const struct http1_head *h = &a->head;
	static struct answer again;
	struct buf b = {0};

	put(&b, data, h->method_name, " ");
	put(&b, data, h->target, " HTTP/1.");
	FUZZ_CHECK(buf_printf(&b, "%u\r\n", h->minor) == 0);
	for (size_t i = 0; i < h->nfields; i++) {
		put(&b, data, h->fields[i].name, ":");
		put(&b, data, h->fields[i].value, "\r\n");
	}
	FUZZ_CHECK(buf_add_str(&b, "\r\n") == 0);
	parse_whole(buf_data(&b), buf_len(&b), lim, &again);
	FUZZ_CHECK(again.result == HTTP1_DONE && again.head_len == buf_len(&b));
	FUZZ_CHECK(again.head.nfields == h->nfields && again.head.body == h->body);
	FUZZ_CHECK(again.head.content_length == h->content_length);
	FUZZ_CHECK(again.head.keep_alive == h->keep_alive);
	FUZZ_CHECK(again.head.expect_continue == h->expect_continue);
	FUZZ_CHECK(again.head.method == h->method && again.head.minor == h->minor);
	FUZZ_CHECK(str_eq(http1_str(buf_data(&b), again.head.path), http1_str(data, h->path)));
	FUZZ_CHECK(str_eq(http1_str(buf_data(&b), again.head.host), http1_str(data, h->host)));
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http1_limits lim = {.head_bytes = 4096, .target_bytes = 1024, .fields = 100};
	static struct answer whole;
	uint8_t choice;

	if (size < 1)
		return 0;
	choice = *data++;
	size--;
	if (choice & 1)
		lim = (struct http1_limits){.head_bytes = 128, .target_bytes = 16, .fields = 4};
	parse_whole(data, size, &lim, &whole);
	check_cuts(data, size, &lim, &whole, choice);
	if (whole.result == HTTP1_DONE) {
		check_spans(data, &whole);
		check_prefixes(data, &whole, &lim);
		check_rewritten(data, &whole, &lim);
	}
	return 0;
}
