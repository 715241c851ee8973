/* http1_response: the grammar of RFC 9112 sections 4 to 6 row by row, under every cut of the input.
 */
#include "boxd/http1_response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "seed.h"

#define HEAD_MAX   256
#define FIELDS_MAX 6

static const struct http1_limits limits = {.head_bytes = HEAD_MAX, .fields = FIELDS_MAX};

struct answer {
	enum http1_result result;
	const char *detail;
	size_t head_len;
	struct http1_response head;
};

/* The bytes in memory of exactly their size, given as they are cut. */
static void parse(
	const char *in, size_t n, const size_t *cuts, size_t ncuts, bool to_head, struct answer *a)
{
	uint8_t *data = malloc(n > 0 ? n : 1);
	struct http1_scan scan = {0};

	assert_non_null(data);
	if (n > 0)
		memcpy(data, in, n);
	*a = (struct answer){.result = HTTP1_MORE};
	for (size_t i = 0; i <= ncuts && a->result == HTTP1_MORE; i++)
		a->result = http1_response_parse(&scan, data, i < ncuts ? cuts[i] : n, &limits,
			to_head, &a->head, &a->head_len, &a->detail);
	free(data);
}

static void parse_whole(const char *in, size_t n, bool to_head, struct answer *a)
{
	parse(in, n, NULL, 0, to_head, a);
}

#define L "HTTP/1.1 200 OK\r\n"

static const struct good {
	const char *in; /* the head, to its end */
	bool to_head;
	uint16_t status;
	uint8_t minor;
	enum http1_framing framing;
	uint64_t length;
	bool keep_alive;
	uint16_t nfields;
} good[] = {
	{L "\r\n", false, 200, 1, HTTP1_FRAMING_CLOSE, 0, false, 0},
	{L "Content-Length: 0\r\n\r\n", false, 200, 1, HTTP1_FRAMING_LENGTH, 0, true, 1},
	{L "Content-Length:7\r\n\r\n", false, 200, 1, HTTP1_FRAMING_LENGTH, 7, true, 1},
	{L "content-LENGTH: \t 18446744073709551615 \t\r\n\r\n", false, 200, 1,
		HTTP1_FRAMING_LENGTH, UINT64_MAX, true, 1},
	{L "Content-Length: 007\r\n\r\n", false, 200, 1, HTTP1_FRAMING_LENGTH, 7, true, 1},
	{L "Transfer-Encoding: chunked\r\n\r\n", false, 200, 1, HTTP1_FRAMING_CHUNKED, 0, true, 1},
	{L "Transfer-Encoding: CHUNKED\r\n\r\n", false, 200, 1, HTTP1_FRAMING_CHUNKED, 0, true, 1},
	{L "Content-Length : 7\r\n\r\n", false, 200, 1, HTTP1_FRAMING_LENGTH, 7, true, 1},
	{L "Content-Length\t \t: 7\r\n\r\n", false, 200, 1, HTTP1_FRAMING_LENGTH, 7, true, 1},
	{L "A:\r\nB: \r\nC:   \r\n\r\n", false, 200, 1, HTTP1_FRAMING_CLOSE, 0, false, 3},
	{L "A: \x80\xff \t~\r\n\r\n", false, 200, 1, HTTP1_FRAMING_CLOSE, 0, false, 1},
	{L "!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n", false, 200, 1, HTTP1_FRAMING_CLOSE, 0, false, 1},
	/* status lines */
	{"HTTP/1.1 200\r\n\r\n", false, 200, 1, HTTP1_FRAMING_CLOSE, 0, false, 0},
	{"HTTP/1.1 200 \r\n\r\n", false, 200, 1, HTTP1_FRAMING_CLOSE, 0, false, 0},
	{"HTTP/1.1 200 \t \xc3\xa9 x\r\n\r\n", false, 200, 1, HTTP1_FRAMING_CLOSE, 0, false, 0},
	{"HTTP/1.0 599 \r\n\r\n", false, 599, 0, HTTP1_FRAMING_CLOSE, 0, false, 0},
	{"HTTP/1.9 100 \r\n\r\n", false, 100, 9, HTTP1_FRAMING_NONE, 0, true, 0},
	/* no body */
	{"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n", false, 101, 1, HTTP1_FRAMING_NONE, 0, true, 1},
	{"HTTP/1.1 204 N\r\n\r\n", false, 204, 1, HTTP1_FRAMING_NONE, 0, true, 0},
	{"HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n", false, 304, 1, HTTP1_FRAMING_NONE, 9, true,
		1},
	{L "Content-Length: 9\r\n\r\n", true, 200, 1, HTTP1_FRAMING_NONE, 9, true, 1},
	{L "Transfer-Encoding: chunked\r\n\r\n", true, 200, 1, HTTP1_FRAMING_NONE, 0, true, 1},
	{L "\r\n", true, 200, 1, HTTP1_FRAMING_NONE, 0, true, 0},
	/* none may be there, and one is announced: what follows cannot be trusted */
	{"HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n", false, 204, 1, HTTP1_FRAMING_NONE, 0, true,
		1},
	{"HTTP/1.1 204 N\r\nContent-Length: 9\r\n\r\n", false, 204, 1, HTTP1_FRAMING_NONE, 9, false,
		1},
	{"HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n", false, 204, 1, HTTP1_FRAMING_NONE,
		0, false, 1},
	{"HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\n\r\n", false, 304, 1, HTTP1_FRAMING_NONE,
		0, false, 1},
	/* the connection */
	{L "Content-Length: 0\r\nConnection: close\r\n\r\n", false, 200, 1, HTTP1_FRAMING_LENGTH, 0,
		false, 2},
	{L "Connection: a, ,Close\r\nContent-Length: 0\r\n\r\n", false, 200, 1,
		HTTP1_FRAMING_LENGTH, 0, false, 2},
	{L "Connection: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n", false, 200,
		1, HTTP1_FRAMING_CHUNKED, 0, false, 3},
	{"HTTP/1.0 200 K\r\nContent-Length: 1\r\n\r\n", false, 200, 0, HTTP1_FRAMING_LENGTH, 1,
		false, 1},
	{"HTTP/1.0 200 K\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\n", false, 200, 0,
		HTTP1_FRAMING_LENGTH, 1, true, 2},
	{"HTTP/1.0 200 K\r\nConnection: keep-alive\r\n\r\n", false, 200, 0, HTTP1_FRAMING_CLOSE, 0,
		false, 1},
	{"HTTP/1.0 200 K\r\nConnection: keep-alive, close\r\nContent-Length: 1\r\n\r\n", false, 200,
		0, HTTP1_FRAMING_LENGTH, 1, false, 2},
};

static void check_good(const struct good *g, const struct answer *a, const char *how)
{
	const struct http1_response *h = &a->head;

	if (a->result == HTTP1_DONE && a->head_len == strlen(g->in) && h->status == g->status &&
		h->minor == g->minor && h->framing == g->framing &&
		h->content_length == g->length && h->keep_alive == g->keep_alive &&
		h->nfields == g->nfields)
		return;
	fail_msg("%s, %s: result %d (%s), %zu bytes, status %u, framing %d, length %llu, keep %d, "
		 "%u fields",
		g->in, how, a->result, a->detail != NULL ? a->detail : "-", a->head_len, h->status,
		h->framing, (unsigned long long)h->content_length, h->keep_alive, h->nfields);
}

static void reads_every_good_head(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct answer a;

		parse_whole(good[i].in, strlen(good[i].in), good[i].to_head, &a);
		check_good(&good[i], &a, "whole");
	}
}

static void reads_the_same_however_it_is_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		size_t n = strlen(good[i].in), every[HEAD_MAX];
		struct answer a;

		for (size_t at = 0; at < n; at++) {
			parse(good[i].in, n, &at, 1, good[i].to_head, &a);
			check_good(&good[i], &a, "cut once");
			every[at] = at;
		}
		parse(good[i].in, n, every, n, good[i].to_head, &a);
		check_good(&good[i], &a, "byte by byte");
	}
}

static void wants_more_of_every_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		for (size_t n = 0; n < strlen(good[i].in); n++) {
			struct answer a;

			parse_whole(good[i].in, n, good[i].to_head, &a);
			if (a.result != HTTP1_MORE)
				fail_msg("%zu bytes of %s: %d", n, good[i].in, a.result);
		}
	}
}

static const struct bad {
	const char *in;
	size_t n;     /* 0: a C string */
	size_t known; /* refused with so many bytes; 0: with the whole head */
} bad[] = {
	/* found out by the first bytes */
	{"SSH-2.0-x\r\n", 0, 1},
	{"\r\nHTTP/1.1 200 OK\r\n\r\n", 0, 1},
	{" HTTP/1.1 200 OK\r\n\r\n", 0, 1},
	{"http/1.1 200 OK\r\n\r\n", 0, 1},
	{"HTTP/2.0 200 OK\r\n\r\n", 0, 6},
	{"HTTP/11 200 OK\r\n\r\n", 0, 7},
	{"ICY 200 OK\r\n\r\n", 0, 1},
	/* line ends */
	{"HTTP/1.1 200 OK\n\n", 0, 16},
	{L "A: b\nC: d\r\n\r\n", 0, 22},
	{L "\n", 0, 18},
	{L "A: b\r\n\n", 0, 24},
	{L "A: b\rc\r\n\r\n", 0, 0},
	{L "\rA: b\r\n\r\n", 0, 0},
	{"HTTP/1.1 200 O\rK\r\n\r\n", 0, 0},
	{"HTTP/1.1 200\r \r\n\r\n", 0, 0},
	/* status lines */
	{"HTTP/1.\r\n\r\n", 0, 0},
	{"HTTP/1.1\r\n\r\n", 0, 0},
	{"HTTP/1.1 \r\n\r\n", 0, 0},
	{"HTTP/1.1  200 OK\r\n\r\n", 0, 0},
	{"HTTP/1.1\t200 OK\r\n\r\n", 0, 0},
	{"HTTP/1.10 200 OK\r\n\r\n", 0, 0},
	{"HTTP/1.x 200 OK\r\n\r\n", 0, 0},
	{"HTTP/1.1 20\r\n\r\n", 0, 0},
	{"HTTP/1.1 2000 OK\r\n\r\n", 0, 0},
	{"HTTP/1.1 +20 OK\r\n\r\n", 0, 0},
	{"HTTP/1.1 2OO OK\r\n\r\n", 0, 0},
	{"HTTP/1.1 200OK\r\n\r\n", 0, 0},
	{"HTTP/1.1 200\tOK\r\n\r\n", 0, 0},
	{"HTTP/1.1 099 OK\r\n\r\n", 0, 0},
	{"HTTP/1.1 600 OK\r\n\r\n", 0, 0},
	{"HTTP/1.1 000 OK\r\n\r\n", 0, 0},
	{"HTTP/1.1 200 O\0K\r\n\r\n", 20, 0},
	{"HTTP/1.1 200 O\x7fK\r\n\r\n", 0, 0},
	/* fields */
	{L "A\r\n\r\n", 0, 0},
	{L ": b\r\n\r\n", 0, 0},
	{L "A B: c\r\n\r\n", 0, 0},
	{L "A(: c\r\n\r\n", 0, 0},
	{L "\xc3\xa9: c\r\n\r\n", 0, 0},
	{L " A: b\r\n\r\n", 0, 0},
	{L "A: b\r\n c\r\n\r\n", 0, 0},
	{L "A: b\r\n\tc: d\r\n\r\n", 0, 0},
	{L "A: b\0c\r\n\r\n", 27, 0},
	{L "A: b\x01"
	   "c\r\n\r\n",
		0, 0},
	{L "A: b\x7f\r\n\r\n", 0, 0},
	/* framing */
	{L "Content-Length:\r\n\r\n", 0, 0},
	{L "Content-Length: +1\r\n\r\n", 0, 0},
	{L "Content-Length: -1\r\n\r\n", 0, 0},
	{L "Content-Length: 0x1\r\n\r\n", 0, 0},
	{L "Content-Length: 1 2\r\n\r\n", 0, 0},
	{L "Content-Length: 1, 1\r\n\r\n", 0, 0},
	{L "Content-Length: 18446744073709551616\r\n\r\n", 0, 0},
	{L "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 0, 0},
	{L "Content-Length: 1\r\ncontent-length : 2\r\n\r\n", 0, 0},
	{L "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 0, 0},
	{L "Transfer-Encoding : chunked\r\nContent-Length: 1\r\n\r\n", 0, 0},
	{L "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 0},
	{L "Transfer-Encoding: chunked, chunked\r\n\r\n", 0, 0},
	{L "Transfer-Encoding: gzip, chunked\r\n\r\n", 0, 0},
	{L "Transfer-Encoding: chunked, gzip\r\n\r\n", 0, 0},
	{L "Transfer-Encoding: identity\r\n\r\n", 0, 0},
	{L "Transfer-Encoding:\r\n\r\n", 0, 0},
	{L "Transfer-Encoding: \"chunked\"\r\n\r\n", 0, 0},
	{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 0},
};

static void refuses_what_is_no_response(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t n = bad[i].n > 0 ? bad[i].n : strlen(bad[i].in);
		size_t known = bad[i].known > 0 ? bad[i].known : n, every[HEAD_MAX];
		struct answer a;

		for (size_t at = 0; at < n; at++)
			every[at] = at;
		for (size_t given = known; given <= n; given++) {
			parse_whole(bad[i].in, given, false, &a);
			if (a.result != HTTP1_BAD || a.detail == NULL)
				fail_msg("%zu bytes of %s: %d", given, bad[i].in, a.result);
		}
		parse_whole(bad[i].in, known - 1, false, &a);
		if (a.result != HTTP1_MORE)
			fail_msg("%zu bytes of %s: %d", known - 1, bad[i].in, a.result);
		parse(bad[i].in, n, every, n, false, &a);
		if (a.result != HTTP1_BAD)
			fail_msg("byte by byte, %s: %d", bad[i].in, a.result);
	}
}

static void gives_fields_without_white_space_in_their_order(void **state)
{
	static const char in[] = L "A:  b c\t \r\nSet-Cookie \t:x\r\nSet-Cookie: y\r\n\r\nbody";
	static const char *const expected[][2] = {
		{"A", "b c"}, {"Set-Cookie", "x"}, {"Set-Cookie", "y"}};
	struct answer a;

	(void)state;
	parse_whole(in, sizeof(in) - 1, false, &a);
	assert_int_equal(a.result, HTTP1_DONE);
	assert_int_equal(a.head_len, sizeof(in) - 1 - 4);
	assert_int_equal(a.head.nfields, 3);
	for (size_t i = 0; i < 3; i++) {
		struct str name = http1_str((const uint8_t *)in, a.head.fields[i].name);
		struct str value = http1_str((const uint8_t *)in, a.head.fields[i].value);

		assert_true(str_eq(name, str_of(expected[i][0])));
		assert_true(str_eq(value, str_of(expected[i][1])));
	}
}

/* A head of exactly n bytes with one field, and a byte behind it. */
static size_t make_head(char *out, size_t n)
{
	size_t at = (size_t)sprintf(out, L "A: ");

	memset(out + at, 'x', n - at - 4);
	memcpy(out + n - 4, "\r\n\r\n!", 5);
	return n + 1;
}

static void holds_the_limit_of_the_size(void **state)
{
	char in[HEAD_MAX + 8];
	struct answer a;
	size_t n;

	(void)state;
	n = make_head(in, HEAD_MAX);
	parse_whole(in, n, false, &a);
	assert_int_equal(a.result, HTTP1_DONE);
	assert_int_equal(a.head_len, HEAD_MAX);
	n = make_head(in, HEAD_MAX + 1);
	for (size_t given = 0; given <= n; given++) {
		parse_whole(in, given, false, &a);
		assert_int_equal(a.result, given < HEAD_MAX ? HTTP1_MORE : HTTP1_BAD);
	}
}

static void holds_the_limit_of_the_fields(void **state)
{
	char in[HEAD_MAX];
	struct answer a;

	(void)state;
	for (int n = FIELDS_MAX; n <= FIELDS_MAX + 1; n++) {
		size_t at = (size_t)sprintf(in, L);

		for (int i = 0; i < n; i++)
			at += (size_t)sprintf(in + at, "A: b\r\n");
		parse_whole(in, at, false, &a);
		assert_int_equal(a.result, n > FIELDS_MAX ? HTTP1_BAD : HTTP1_MORE);
		at += (size_t)sprintf(in + at, "\r\n");
		parse_whole(in, at, false, &a);
		assert_int_equal(a.result, n > FIELDS_MAX ? HTTP1_BAD : HTTP1_DONE);
	}
}

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void answers_the_same_for_random_bytes_and_cuts(void **state)
{
	static const char *const pieces[] = {"HTTP/1.1 200 OK\r\n", "\r\n", "\r", "\n", "A: b\r\n",
		"Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n",
		" ", ":", "\t", "x", "204", "HTTP/1.0 304 N\r\n", "\r\n\r\n"};
	uint32_t seed = test_seed();

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char in[HEAD_MAX * 2] = "";
		size_t cuts[8], n;
		struct answer whole, cut;

		if (next_random(&seed) % 4 != 0)
			strcat(in, pieces[0]);
		for (uint32_t i = next_random(&seed) % 8; i > 0; i--)
			strcat(in,
				pieces[next_random(&seed) % (sizeof(pieces) / sizeof(pieces[0]))]);
		n = strlen(in);
		for (size_t i = 0; i < 8; i++)
			cuts[i] = n * (i + 1) / 9;
		parse_whole(in, n, round & 1, &whole);
		parse(in, n, cuts, 8, round & 1, &cut);
		assert_int_equal(whole.result, cut.result);
		assert_ptr_equal(whole.detail, cut.detail);
		if (whole.result == HTTP1_DONE)
			assert_memory_equal(&whole.head.fields, &cut.head.fields,
				whole.head.nfields * sizeof(whole.head.fields[0]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_good_head),
		cmocka_unit_test(reads_the_same_however_it_is_cut),
		cmocka_unit_test(wants_more_of_every_prefix),
		cmocka_unit_test(refuses_what_is_no_response),
		cmocka_unit_test(gives_fields_without_white_space_in_their_order),
		cmocka_unit_test(holds_the_limit_of_the_size),
		cmocka_unit_test(holds_the_limit_of_the_fields),
		cmocka_unit_test(answers_the_same_for_random_bytes_and_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
