/* http1: what is accepted, what is refused and how, limits to the byte, and slow clients. */
#include "boxd/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOST "Host: h\r\n"

static const struct http1_limits limits = {.head_bytes = 1024, .target_bytes = 256, .fields = 16};

/* The answer to a request that arrives in pieces of `step` bytes, each exactly sized. */
struct answer {
	enum http1_result result;
	const struct err_kind *why;
	const char *detail;
	struct http1_head head;
	size_t head_len, given;
};

static void ask(
	const char *data, size_t n, size_t step, const struct http1_limits *lim, struct answer *a)
{
	struct http1_scan scan = {0};

	memset(a, 0, sizeof(*a));
	do {
		uint8_t *exact;

		a->given = a->given + step < n ? a->given + step : n;
		exact = malloc(a->given > 0 ? a->given : 1);
		assert_non_null(exact);
		memcpy(exact, data, a->given);
		a->result = http1_parse(
			&scan, exact, a->given, lim, &a->head, &a->head_len, &a->why, &a->detail);
		free(exact);
	} while (a->result == HTTP1_MORE && a->given < n);
}

static bool is(const char *base, struct http1_span s, const char *want)
{
	return s.len == strlen(want) && memcmp(base + s.off, want, s.len) == 0;
}

static void understands_request_lines(void **state)
{
	static const struct {
		const char *line;
		enum http_method method;
		const char *path, *query, *host;
		uint8_t minor;
	} rows[] = {
		{"GET / HTTP/1.1", HTTP_GET, "/", "", "h", 1},
		{"HEAD /a HTTP/1.1", HTTP_HEAD, "/a", "", "h", 1},
		{"POST /a?b HTTP/1.1", HTTP_POST, "/a", "b", "h", 1},
		{"PUT /a? HTTP/1.1", HTTP_PUT, "/a", "", "h", 1},
		{"DELETE /a?b?c HTTP/1.1", HTTP_DELETE, "/a", "b?c", "h", 1},
		{"PATCH //a/../%2e HTTP/1.0", HTTP_PATCH, "//a/../%2e", "", "h", 0},
		{"OPTIONS * HTTP/1.1", HTTP_OPTIONS, "*", "", "h", 1},
		{"OPTIONS /x HTTP/1.1", HTTP_OPTIONS, "/x", "", "h", 1},
		{"get / HTTP/1.1", HTTP_OTHER, "/", "", "h", 1},
		{"M-SEARCH / HTTP/1.1", HTTP_OTHER, "/", "", "h", 1},
		{"GETT / HTTP/1.1", HTTP_OTHER, "/", "", "h", 1},
		{"GET / HTTP/1.9", HTTP_GET, "/", "", "h", 9},
		{"GET http://a.b:80/c?d HTTP/1.1", HTTP_GET, "/c", "d", "a.b:80", 1},
		{"GET HTTPS://[::1]:1/ HTTP/1.1", HTTP_GET, "/", "", "[::1]:1", 1},
		{"GET http://a HTTP/1.1", HTTP_GET, "/", "", "a", 1},
		{"GET http://a?x=/ HTTP/1.1", HTTP_GET, "/", "x=/", "a", 1},
		{"GET /http://a HTTP/1.1", HTTP_GET, "/http://a", "", "h", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char req[256];
		int n = snprintf(req, sizeof(req), "%s\r\n" HOST "\r\nbody", rows[i].line);
		struct answer a;

		ask(req, (size_t)n, (size_t)n, &limits, &a);
		if (a.result != HTTP1_DONE || a.head_len != (size_t)n - 4 ||
			a.head.method != rows[i].method || !is(req, a.head.path, rows[i].path) ||
			!is(req, a.head.query, rows[i].query) ||
			!is(req, a.head.host, rows[i].host) || a.head.minor != rows[i].minor)
			fail_msg("%s: %d %s", rows[i].line, a.result, a.detail ? a.detail : "");
	}
}

static void refuses_what_is_not_a_request(void **state)
{
	static const struct {
		const char *req;
		int status;
	} rows[] = {
		/* request line */
		{"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET /  HTTP/1.1\r\n" HOST "\r\n", 400},
		{" GET / HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
		{"GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET /\tHTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET /a b HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET /\r\n" HOST "\r\n", 400},
		{"GET\r\n\r\n", 400},
		{"GET / \r\n\r\n", 400},
		{"GET / HTTP\r\n\r\n", 400},
		{"GET / \r\n" HOST "\r\n", 400},
		{"GET HTTP/1.1\r\n" HOST "\r\n", 400},
		{"G(T / HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET / http/1.1\r\n" HOST "\r\n", 400},
		{"GET / HTTP/1\r\n" HOST "\r\n", 400},
		{"GET / HTTP/1.\r\n\r\n", 400},
		{"GET / HTTP/1.10\r\n" HOST "\r\n", 400},
		{"GET / HTTP/11.1\r\n" HOST "\r\n", 400},
		{"GET / HTTP/x.1\r\n" HOST "\r\n", 400},
		{"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
		{"GET / HTTP/0.9\r\n" HOST "\r\n", 505},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"GET /\x01 HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET a HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET ?a HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
		{"OPTIONS *x HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET http:///x HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET http:// HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET http://u@a/ HTTP/1.1\r\n" HOST "\r\n", 400},
		{"GET http://a/ HTTP/1.1\r\n\r\n", 400},
		{"CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n", 501},
		{"CONNECT / HTTP/1.1\r\n" HOST "\r\n", 501},
		/* line ends */
		{"GET / HTTP/1.1\n" HOST "\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: h\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "\n", 400},
		{"GET / HTTP/1.1\r" HOST "\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: h\rx: y\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\r\n" HOST "\r\n", 400},
		{"\n", 400},
		{"\r\n\r\n\r\n\r\n\r\n", 400},
		/* fields */
		{"GET / HTTP/1.1\r\n" HOST "a : b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST " a: b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "\ta: b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n a: b\r\n" HOST "\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "ab\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "a(b: c\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "\xc3\xa9: c\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "a: \x01\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "a: b\x7f\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "a: 12345678\x1b[0m\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "a: 1234\x7f 567890123456\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "a: 1234\t567\x01 890123456\r\n\r\n", 400},
		/* Host */
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.2\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
		{"GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400},
		{"GET / HTTP/1.1\r\n" HOST "hOST: i\r\n\r\n", 400},
		/* framing */
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1 2\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\n" HOST
		 "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
			400},
		{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: x\r\nContent-Length: 1\r\n\r\n",
			400},
		{"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\n" HOST
		 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
			400},
		{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501},
		{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 501},
		{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;a=b\r\n\r\n", 501},
		{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 501},
		{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 501},
		{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b"
		 "chunked\r\n\r\n",
			400},
		{"POST / HTTP/1.1\r\n" HOST "Expect: 100-continue, x\r\n\r\n", 417},
		{"POST / HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n", 417},
		{"POST / HTTP/1.1\r\n" HOST "Expect:\r\n\r\n", 417},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = strlen(rows[i].req);
		const char *detail = NULL;

		for (size_t step = n; step > 0; step = step == 1 ? 0 : step / 3 + (step < 3)) {
			struct answer a;

			ask(rows[i].req, n, step, &limits, &a);
			if (a.result != HTTP1_BAD || a.why->status != rows[i].status ||
				a.detail == NULL)
				fail_msg("%s\n%d, %d", rows[i].req, a.result,
					a.why != NULL ? a.why->status : 0);
			if (detail != NULL)
				assert_string_equal(a.detail, detail);
			detail = a.detail;
		}
	}
}

static void knows_a_host_from_a_trick(void **state)
{
	static const struct {
		const char *host;
		bool good;
	} rows[] = {
		{"localhost", true},
		{"localhost:44772", true},
		{"127.0.0.1:1", true},
		{"a-b.c_d~e", true},
		{"a:", true},
		{"a:65535", true},
		{"%41b", true},
		{"a,b;c=d", true},
		{"[::1]", true},
		{"[::1]:80", true},
		{"[2001:db8::ffff:1.2.3.4]:", true},
		{"[0000:0000:0000:0000:0000:0000:255.255.255.255]", true},
		{"[0000:0000:0000:0000:0000:0000:255.255.255.2555]", false},
		{"", false},
		{":80", false},
		{"a:65536", false},
		{"a:000080", false},
		{"a:-1", false},
		{"a:8x", false},
		{"a:80:80", false},
		{"a b", false},
		{"a/b", false},
		{"u@a", false},
		{"a?b", false},
		{"a\\b", false},
		{"a\xc3\xa9", false},
		{"%4", false},
		{"%zz", false},
		{"::1", false},
		{"[]", false},
		{"[", false},
		{"[::1", false},
		{"[::1]x", false},
		{"[::1%25eth0]", false},
		{"[1.2.3.4]", false},
		{"[v1.x]", false},
		{"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer a;
		char req[256];
		int n = snprintf(
			req, sizeof(req), "GET / HTTP/1.1\r\nHost: %s \t\r\n\r\n", rows[i].host);

		ask(req, (size_t)n, (size_t)n, &limits, &a);
		if ((a.result == HTTP1_DONE) != rows[i].good)
			fail_msg("%s", rows[i].host);
		if (rows[i].good)
			assert_true(is(req, a.head.host, rows[i].host));
	}
}

static void understands_framing_and_connection_fields(void **state)
{
	static const struct {
		const char *version, *fields;
		enum http_body body;
		uint64_t length;
		bool keep_alive, expects;
	} rows[] = {
		{"1.1", "", HTTP_BODY_NONE, 0, true, false},
		{"1.0", "", HTTP_BODY_NONE, 0, false, false},
		{"1.7", "", HTTP_BODY_NONE, 0, true, false},
		{"1.1", "Content-Length: 0\r\n", HTTP_BODY_LENGTH, 0, true, false},
		{"1.1", "content-length:\t 42 \r\n", HTTP_BODY_LENGTH, 42, true, false},
		{"1.1", "Content-Length: 00042\r\n", HTTP_BODY_LENGTH, 42, true, false},
		{"1.1", "Content-Length: 18446744073709551615\r\n", HTTP_BODY_LENGTH, UINT64_MAX,
			true, false},
		{"1.1", "Transfer-Encoding: chunked\r\n", HTTP_BODY_CHUNKED, 0, true, false},
		{"1.1", "TRANSFER-ENCODING:CHUNKED\r\n", HTTP_BODY_CHUNKED, 0, true, false},
		{"1.1", "Connection: close\r\n", HTTP_BODY_NONE, 0, false, false},
		{"1.1", "Connection: a, Close , b\r\n", HTTP_BODY_NONE, 0, false, false},
		{"1.1", "Connection: a\r\nConnection: close\r\n", HTTP_BODY_NONE, 0, false, false},
		{"1.1", "Connection: keep-alive, close\r\n", HTTP_BODY_NONE, 0, false, false},
		{"1.1", "Connection: closed\r\n", HTTP_BODY_NONE, 0, true, false},
		{"1.1", "Connection:\r\n", HTTP_BODY_NONE, 0, true, false},
		{"1.0", "Connection: Keep-Alive\r\n", HTTP_BODY_NONE, 0, true, false},
		{"1.0", "Connection: keep-alive, close\r\n", HTTP_BODY_NONE, 0, false, false},
		{"1.1", "Expect: 100-Continue\r\n", HTTP_BODY_NONE, 0, true, true},
		{"1.0", "Expect: 100-continue\r\n", HTTP_BODY_NONE, 0, false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer a;
		char req[256];
		int n = snprintf(req, sizeof(req), "POST / HTTP/%s\r\n" HOST "%s\r\n",
			rows[i].version, rows[i].fields);

		ask(req, (size_t)n, (size_t)n, &limits, &a);
		if (a.result != HTTP1_DONE || a.head.body != rows[i].body ||
			a.head.content_length != rows[i].length ||
			a.head.keep_alive != rows[i].keep_alive ||
			a.head.expect_continue != rows[i].expects)
			fail_msg("HTTP/%s %s", rows[i].version, rows[i].fields);
	}
}

static void http10_needs_no_host(void **state)
{
	static const char req[] = "GET / HTTP/1.0\r\n\r\n";
	struct answer a;

	(void)state;
	ask(req, sizeof(req) - 1, 1, &limits, &a);
	assert_int_equal(a.result, HTTP1_DONE);
	assert_int_equal(a.head.host.len, 0);
	assert_int_equal(a.head.nfields, 0);
}

static void gives_fields_without_surrounding_white_space(void **state)
{
	static const char req[] = "GET / HTTP/1.1\r\n" HOST "a:b\r\n"
				  "A: \t second \t\r\n"
				  "empty:\r\n"
				  "blank: \t \r\n"
				  "x-1: in\tside \xff\xc3\xa9 and longer than a word\r\n\r\n";
	struct answer a;
	struct str v;

	(void)state;
	ask(req, sizeof(req) - 1, sizeof(req), &limits, &a);
	assert_int_equal(a.result, HTTP1_DONE);
	assert_int_equal(a.head.nfields, 6);
	assert_true(is(req, a.head.fields[2].name, "A"));
	assert_true(is(req, a.head.fields[2].value, "second"));
	assert_true(is(req, a.head.fields[3].value, ""));
	assert_true(is(req, a.head.fields[4].value, ""));
	assert_true(
		is(req, a.head.fields[5].value, "in\tside \xff\xc3\xa9 and longer than a word"));
	assert_true(http1_find(&a.head, (const uint8_t *)req, "A", &v));
	assert_true(str_eq(v, STR("b")));
	assert_false(http1_find(&a.head, (const uint8_t *)req, "b", &v));
	assert_false(http1_find(&a.head, (const uint8_t *)req, "", &v));
}

static void skips_at_most_four_empty_lines(void **state)
{
	static const char req[] = "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n";

	(void)state;
	for (size_t lines = 0; lines <= 5; lines++) {
		const char *from = req + 10 - 2 * lines;

		for (size_t step = 1; step <= sizeof(req); step += sizeof(req) - 1) {
			struct answer a;

			ask(from, strlen(from), step, &limits, &a);
			assert_int_equal(a.result, lines <= 4 ? HTTP1_DONE : HTTP1_BAD);
			if (lines <= 4)
				assert_int_equal(a.head_len, strlen(from));
		}
	}
}

static void answers_at_the_first_byte_that_cannot_be_right(void **state)
{
	static const struct {
		const char *req;
		size_t n, at; /* the answer comes when this many bytes are there */
	} rows[] = {
		{"GET / HTTP/1.1\nHost: h\r\n", 24, 15},
		{"GET / HTTP/1.1\rHost: h\r\n", 24, 16},
		{"GET /\0 HTTP/1.1\r\n", 17, 6},
		{"GET / HTTP/1.1\r\nHost: \0", 23, 23},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer a;

		ask(rows[i].req, rows[i].n, 1, &limits, &a);
		assert_int_equal(a.result, HTTP1_BAD);
		assert_ptr_equal(a.why, &ERR_BAD_REQUEST);
		assert_int_equal(a.given, rows[i].at);
		ask(rows[i].req, rows[i].n, rows[i].n, &limits, &a);
		assert_int_equal(a.result, HTTP1_BAD);
	}
}

/* A valid request of exactly n bytes. */
static void sized_request(char *req, size_t n)
{
	static const char head[] = "GET / HTTP/1.1\r\n" HOST "x: ";

	memset(req, 'v', n);
	memcpy(req, head, sizeof(head) - 1);
	memcpy(req + n - 4, "\r\n\r\n", 4);
}

static void a_head_may_be_as_long_as_its_limit(void **state)
{
	char req[1025];
	struct answer a;

	(void)state;
	for (size_t step = 1; step <= 1025; step += 512) {
		sized_request(req, 1024);
		ask(req, 1024, step, &limits, &a);
		assert_int_equal(a.result, HTTP1_DONE);
		sized_request(req, 1025);
		ask(req, 1025, step, &limits, &a);
		assert_int_equal(a.result, HTTP1_BAD);
		assert_ptr_equal(a.why, &ERR_HEAD_TOO_LARGE);
	}
	/* A full buffer is answered: nobody waits for a byte that has no place. */
	ask(req, 1024, 1, &limits, &a);
	assert_int_equal(a.result, HTTP1_BAD);
}

static void a_target_may_be_as_long_as_its_limit(void **state)
{
	(void)state;
	for (size_t extra = 0; extra <= 300; extra += extra == 0 ? 1 : 299) {
		char target[600] = "/", req[700];
		struct answer a;
		int n;

		memset(target + 1, 'a', 255 + extra);
		n = snprintf(req, sizeof(req), "GET %s HTTP/1.1\r\n" HOST "\r\n", target);
		for (size_t step = 1; step <= (size_t)n; step += (size_t)n - 1) {
			ask(req, (size_t)n, step, &limits, &a);
			assert_int_equal(a.result, extra == 0 ? HTTP1_DONE : HTTP1_BAD);
			if (extra > 0)
				assert_ptr_equal(a.why, &ERR_URI_TOO_LONG);
		}
		/* Far over the limit the line is refused before it ends. */
		ask(req, (size_t)n, 1, &limits, &a);
		if (extra == 300)
			assert_in_range(a.given, 256, strlen(target));
	}
}

static void a_head_may_have_as_many_fields_as_its_limit(void **state)
{
	(void)state;
	for (size_t fields = 16; fields <= 17; fields++) {
		char req[512];
		size_t n = (size_t)sprintf(req, "GET / HTTP/1.1\r\n" HOST);
		struct answer a;

		for (size_t i = 1; i < fields; i++)
			n += (size_t)sprintf(req + n, "x: y\r\n");
		n += (size_t)sprintf(req + n, "\r\n");
		for (size_t step = 1; step <= n; step += n - 1) {
			ask(req, n, step, &limits, &a);
			assert_int_equal(a.result, fields == 16 ? HTTP1_DONE : HTTP1_BAD);
			if (fields == 17)
				assert_ptr_equal(a.why, &ERR_HEAD_TOO_LARGE);
			else
				assert_int_equal(a.head.nfields, 16);
		}
	}
}

static void the_array_of_fields_is_never_overrun(void **state)
{
	static const struct http1_limits wide = {
		.head_bytes = 65536, .target_bytes = 256, .fields = HTTP1_FIELDS_CAP + 8};
	char req[2048];
	size_t n = (size_t)sprintf(req, "GET / HTTP/1.1\r\n" HOST);
	struct answer a;

	(void)state;
	for (size_t i = 0; i < HTTP1_FIELDS_CAP; i++)
		n += (size_t)sprintf(req + n, "x: y\r\n");
	n += (size_t)sprintf(req + n, "\r\n");
	ask(req, n, n, &wide, &a);
	assert_int_equal(a.result, HTTP1_BAD);
	assert_ptr_equal(a.why, &ERR_HEAD_TOO_LARGE);
}

static void takes_only_its_own_bytes_from_a_pipeline(void **state)
{
	static const char req[] = "GET /1 HTTP/1.1\r\n" HOST "\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n";
	struct answer a;
	size_t first;

	(void)state;
	ask(req, sizeof(req) - 1, sizeof(req), &limits, &a);
	assert_int_equal(a.result, HTTP1_DONE);
	assert_true(is(req, a.head.path, "/1"));
	first = a.head_len;
	ask(req + first, sizeof(req) - 1 - first, sizeof(req), &limits, &a);
	assert_int_equal(a.result, HTTP1_DONE);
	assert_true(is(req + first, a.head.path, "/2"));
	assert_int_equal(first + a.head_len, sizeof(req) - 1);
}

static void no_byte_is_scanned_twice(void **state)
{
	struct http1_scan scan = {0};
	char req[1000];
	struct answer a;

	(void)state;
	sized_request(req, sizeof(req));
	for (size_t n = 0; n < sizeof(req); n++) {
		assert_int_equal(http1_parse(&scan, (uint8_t *)req, n, &limits, &a.head,
					 &a.head_len, &a.why, &a.detail),
			HTTP1_MORE);
		/* All but a CR whose LF may follow. */
		assert_true(scan.seen >= (n > 0 ? n - 1 : 0));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(understands_request_lines),
		cmocka_unit_test(refuses_what_is_not_a_request),
		cmocka_unit_test(knows_a_host_from_a_trick),
		cmocka_unit_test(understands_framing_and_connection_fields),
		cmocka_unit_test(http10_needs_no_host),
		cmocka_unit_test(gives_fields_without_surrounding_white_space),
		cmocka_unit_test(skips_at_most_four_empty_lines),
		cmocka_unit_test(answers_at_the_first_byte_that_cannot_be_right),
		cmocka_unit_test(a_head_may_be_as_long_as_its_limit),
		cmocka_unit_test(a_target_may_be_as_long_as_its_limit),
		cmocka_unit_test(a_head_may_have_as_many_fields_as_its_limit),
		cmocka_unit_test(the_array_of_fields_is_never_overrun),
		cmocka_unit_test(takes_only_its_own_bytes_from_a_pipeline),
		cmocka_unit_test(no_byte_is_scanned_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
