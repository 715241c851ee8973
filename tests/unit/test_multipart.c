/* The multipart parser: what each client sends, what no client may send, and every cut of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boxd/buf.h"
#include "boxd/multipart.h"
#include "proto_oom.h"

#define HEAD_MAX 512

/* STR() where a constant expression is needed. */
#define BYTES(literal)                         \
	{                                      \
		(literal), sizeof(literal) - 1 \
	}

/* ---- reading a body into a text that says what happened ---- */

/*
 * A part becomes <name|content>, with a * before the name when it has a file name and without the
 * > while it has not ended; the end becomes $, an error !.
 */
struct reading {
	struct buf said;
	const char *why;
	bool in_content, bad;
};

static void say(struct reading *r, const void *p, size_t n)
{
	assert_int_equal(buf_add(&r->said, p, n), 0);
}

static void read_event(struct reading *r, enum multipart_event event,
	const struct multipart_part *part, const uint8_t *data, size_t data_n)
{
	switch (event) {
	case MULTIPART_PART:
		say(r, "<*", part->has_filename ? 2 : 1);
		say(r, part->name.p, part->name.n);
		say(r, "|", 1);
		break;
	case MULTIPART_DATA:
		assert_true(data_n > 0);
		say(r, data, data_n);
		break;
	case MULTIPART_PART_END: say(r, ">", 1); break;
	case MULTIPART_END: say(r, "$", 1); break;
	case MULTIPART_BAD:
		if (!r->bad)
			say(r, "!", 1);
		r->bad = true;
		break;
	case MULTIPART_MORE: break;
	}
}

/* Feeds one piece from memory of exactly its size, so that a sanitizer sees a read past it. */
static void feed(struct multipart *m, struct reading *r, const char *p, size_t p_n)
{
	uint8_t *exact = malloc(p_n > 0 ? p_n : 1);
	const uint8_t *in = exact, *data = NULL;
	size_t n = p_n, data_n = 0;
	struct multipart_part part = {{NULL, 0}, false};
	enum multipart_event event;

	assert_non_null(exact);
	memcpy(exact, p, p_n);
	do {
		event = multipart_next(m, &in, &n, &part, &data, &data_n, &r->why);
		assert_true(in >= exact && in + n == exact + p_n);
		read_event(r, event, &part, data, data_n);
	} while (event != MULTIPART_MORE && event != MULTIPART_BAD);
	if (event == MULTIPART_MORE)
		assert_int_equal(n, 0);
	free(exact);
}

static uint32_t random_next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* How a body is cut into pieces: at one place, or into pieces of 1 to most bytes. */
struct cuts {
	size_t at, most;
	uint32_t seed;
};

static size_t cuts_step(struct cuts *c, size_t at, size_t left)
{
	size_t step = left;

	if (c->most > 0)
		step = 1 + random_next(&c->seed) % c->most;
	else if (at < c->at)
		step = c->at - at;
	return step < left ? step : left;
}

/* The caller releases `said`. */
static struct reading read_body(
	const char *boundary, size_t head_max, const char *body, size_t n, struct cuts cuts)
{
	struct multipart *m = multipart_new(str_of(boundary), head_max);
	struct reading r = {.why = NULL};
	bool complete;

	assert_non_null(m);
	for (size_t at = 0; at < n && !r.bad;) {
		size_t step = cuts_step(&cuts, at, n - at);

		feed(m, &r, body + at, step);
		at += step;
	}
	feed(m, &r, "", 0);
	complete = buf_len(&r.said) > 0 && memchr(buf_data(&r.said), '$', buf_len(&r.said)) != NULL;
	assert_int_equal(multipart_complete(m), complete);
	multipart_free(m);
	return r;
}

static void check(const char *name, const struct reading *r, const char *expect, size_t expect_n,
	struct cuts cuts)
{
	if (buf_len(&r->said) != expect_n ||
		(expect_n > 0 && memcmp(buf_data(&r->said), expect, expect_n) != 0))
		fail_msg("%s\ncut at %zu, pieces of %zu, seed %u: %.*s\nexpected: %.*s%s%s", name,
			cuts.at, cuts.most, cuts.seed, (int)buf_len(&r->said),
			(const char *)buf_data(&r->said), (int)expect_n, expect,
			r->bad ? "\nwhy: " : "", r->bad ? r->why : "");
}

/* Whole, cut at every place, byte by byte, and in random pieces. */
static void expect_body(const char *name, const char *boundary, size_t head_max, const char *body,
	size_t n, const char *expect, size_t expect_n)
{
	for (size_t i = 0; i <= n + 20; i++) {
		struct cuts cuts = {.at = i};

		if (i > n)
			cuts = (struct cuts){.most = i - n, .seed = (uint32_t)i};
		struct reading r = read_body(boundary, head_max, body, n, cuts);
		check(name, &r, expect, expect_n, cuts);
		buf_fini(&r.said);
	}
}

/* ---- the boundary ---- */

#define TEN     "0123456789"
#define SEVENTY TEN TEN TEN TEN TEN TEN TEN

static const struct {
	const char *type;
	const char *boundary; /* NULL: refused */
} boundaries[] = {
	{"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk",
		"----WebKitFormBoundary7MA4YWxk"},
	{"multipart/form-data; boundary=opensandbox_9f2c41d7_1754300000123",
		"opensandbox_9f2c41d7_1754300000123"},
	{"multipart/form-data; boundary=\"3ec5e0d1-7a5c-4f3e-9a0b-1f2d3c4b5a69\"",
		"3ec5e0d1-7a5c-4f3e-9a0b-1f2d3c4b5a69"},
	{"multipart/form-data;boundary=x", "x"},
	{"MULTIPART/Form-Data ;\tcharset=utf-8;; BOUNDARY=x ;", "x"},
	{"multipart/form-data; a=\"boundary=y; \\\"\"; boundary=\"x y'()+_,-./:=?z\"",
		"x y'()+_,-./:=?z"},
	{"multipart/form-data; boundary=x/y=z:", "x/y=z:"},
	{"multipart/form-data; boundary=" SEVENTY, SEVENTY},
	{"multipart/form-data; boundary=" SEVENTY "0", NULL},
	{"multipart/form-data; boundary=\"" SEVENTY "\"", SEVENTY},
	{"multipart/form-data; boundary=\"" SEVENTY "0\"", NULL},
	{"multipart/form-data; boundary=", NULL},
	{"multipart/form-data; boundary=\"\"", NULL},
	{"multipart/form-data; boundary=\"x \"", NULL},
	{"multipart/form-data; boundary=x y", NULL},
	{"multipart/form-data; boundary=\"x", NULL},
	{"multipart/form-data; boundary=\"x\"y", NULL},
	{"multipart/form-data; boundary=x\"y\"", NULL},
	{"multipart/form-data; boundary=\"x\\y\"", NULL},
	{"multipart/form-data; boundary=x@y", NULL},
	{"multipart/form-data; boundary=x\ty", NULL},
	{"multipart/form-data; boundary=\xc3\xa9", NULL},
	{"multipart/form-data; boundary=x; boundary=x", NULL},
	{"multipart/form-data; boundary=x; boundary", NULL},
	{"multipart/form-data; boundary=x; \"a\"=b", NULL},
	{"multipart/form-data; boundary = x", NULL},
	{"multipart/form-data; boundary", NULL},
	{"multipart/form-data", NULL},
	{"multipart/form-data boundary=x", NULL},
	{"multipart/form-datas; boundary=x", NULL},
	{"multipart/mixed; boundary=x", NULL},
	{"application/json", NULL},
	{"; boundary=x", NULL},
	{"", NULL},
};

static void finds_the_boundary_of_a_content_type(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(boundaries) / sizeof(boundaries[0]); i++) {
		const char *expect = boundaries[i].boundary, *type = boundaries[i].type;
		size_t type_n = strlen(type), n;
		char out[MULTIPART_BOUNDARY_MAX + 1];
		char *exact = malloc(type_n + 1);

		assert_non_null(exact);
		memcpy(exact, type, type_n);
		bool found = multipart_boundary((struct str){exact, type_n}, out, &n);
		free(exact);
		if (found != (expect != NULL) ||
			(found && (n != strlen(expect) || strcmp(out, expect) != 0)))
			fail_msg("%s: %s", type, found ? out : "refused");
	}
}

static void a_nul_is_no_part_of_a_boundary(void **state)
{
	char out[MULTIPART_BOUNDARY_MAX + 1];
	size_t n;

	(void)state;
	assert_false(multipart_boundary(STR("multipart/form-data; boundary=a\0b"), out, &n));
	assert_false(multipart_boundary(STR("multipart/form-data; boundary=\"a\0\""), out, &n));
}

/* ---- what clients send ---- */

struct vector {
	const char *client, *boundary;
	struct str body, expect;
};

#define UNDICI   "----formdata-undici-051234567890"
#define STREAMED "opensandbox_9f2c41d7_1754300000123"
#define HTTPX    "2f1a9c3b4d5e6f708192a3b4c5d6e7f8"
#define GO       "d41d8cd98f00b204e9800998ecf8427ed41d8cd98f00b204e9800998ecf8"
#define OKHTTP   "6a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
#define DOTNET   "0b5c1f0e-8a54-4c55-9d57-2c6f7f1e3a10"
#define CURL     "------------------------8f3b1c2d4e5f6a7b"
#define WEBKIT   "----WebKitFormBoundaryAbCdEf0123456789"

static const struct vector vectors[] = {
	{"undici FormData", UNDICI,
		BYTES("--" UNDICI "\r\n"
		      "Content-Disposition: form-data; name=\"metadata\"; filename=\"blob\"\r\n"
		      "Content-Type: application/json\r\n\r\n"
		      "{\"path\":\"/workspace/a\"}\r\n"
		      "--" UNDICI "\r\n"
		      "Content-Disposition: form-data; name=\"file\"; filename=\"a%22b.txt\"\r\n"
		      "Content-Type: application/octet-stream\r\n\r\n"
		      "one\ntwo\r\n\r\n"
		      "--" UNDICI "--\r\n"),
		BYTES("<*metadata|{\"path\":\"/workspace/a\"}><*file|one\ntwo\r\n>$")},
	{"undici without a line end at the end", UNDICI,
		BYTES("--" UNDICI "\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n"
		      "value\r\n--" UNDICI "--"),
		BYTES("<text|value>$")},
	{"the JavaScript SDK's stream", STREAMED,
		BYTES("--" STREAMED "\r\n"
		      "Content-Disposition: form-data; name=\"metadata\"; filename=\"metadata\"\r\n"
		      "Content-Type: application/json\r\n\r\n"
		      "{\"path\":\"/x\",\"mode\":644}\r\n"
		      "--" STREAMED "\r\n"
		      "Content-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n"
		      "Content-Type: application/octet-stream\r\n\r\n"
		      "\0\r\0\r\n\xff\r\n--" STREAMED "--\r\n"),
		BYTES("<*metadata|{\"path\":\"/x\",\"mode\":644}><*file|\0\r\0\r\n\xff>$")},
	{"httpx and requests", HTTPX,
		BYTES("--" HTTPX "\r\n"
		      "Content-Disposition: form-data; name=\"metadata\"; filename=\"metadata\"\r\n"
		      "Content-Type: application/json\r\n\r\n{}\r\n"
		      "--" HTTPX "\r\n"
		      "Content-Disposition: form-data; name=\"file\"; filename=\"/tmp/d/na me\"\r\n"
		      "Content-Type: application/octet-stream\r\n\r\n\r\n"
		      "--" HTTPX "--\r\n"),
		BYTES("<*metadata|{}><*file|>$")},
	{"requests with a file name in two spellings", HTTPX,
		BYTES("--" HTTPX "\r\n"
		      "Content-Disposition: form-data; name=\"file\"; "
		      "filename*=utf-8''%C3%A9\r\n\r\n"
		      "x\r\n--" HTTPX "--\r\n"),
		BYTES("<*file|x>$")},
	{"Go's mime/multipart", GO,
		BYTES("--" GO "\r\n"
		      "Content-Disposition: form-data; name=\"metadata\"; filename=\"metadata\"\r\n"
		      "Content-Type: application/json\r\n\r\n{\"path\":\"/g\"}\r\n"
		      "--" GO "\r\n"
		      "Content-Disposition: form-data; name=\"file\"; filename=\"q\\\"\\\\.go\"\r\n"
		      "Content-Type: application/octet-stream\r\n\r\npackage x\n\r\n"
		      "--" GO "--\r\n"),
		BYTES("<*metadata|{\"path\":\"/g\"}><*file|package x\n>$")},
	{"okhttp", OKHTTP,
		BYTES("--" OKHTTP "\r\n"
		      "Content-Disposition: form-data; name=\"metadata\"; filename=\"metadata\"\r\n"
		      "Content-Type: application/json; charset=utf-8\r\nContent-Length: "
		      "2\r\n\r\n{}\r\n"
		      "--" OKHTTP "\r\n"
		      "Content-Disposition: form-data; name=\"file\"; filename=\"\xc3\xa9.bin\"\r\n"
		      "Content-Type: application/octet-stream\r\nContent-Length: 3\r\n\r\nabc\r\n"
		      "--" OKHTTP "--\r\n"),
		BYTES("<*metadata|{}><*file|abc>$")},
	{".NET", DOTNET,
		BYTES("--" DOTNET "\r\n"
		      "Content-Type: application/json\r\n"
		      "Content-Disposition: form-data; name=metadata; filename=metadata; "
		      "filename*=utf-8''metadata\r\n\r\n{}\r\n"
		      "--" DOTNET "\r\n"
		      "Content-Type: application/octet-stream\r\n"
		      "Content-Disposition: form-data; name=file; filename=\"a b\"; "
		      "filename*=utf-8''a%20b\r\n\r\nabc\r\n"
		      "--" DOTNET "--\r\n"),
		BYTES("<*metadata|{}><*file|abc>$")},
	{"curl -F", CURL,
		BYTES("--" CURL "\r\n"
		      "Content-Disposition: form-data; "
		      "name=\"metadata\"\r\n\r\n{\"path\":\"c\"}\r\n"
		      "--" CURL "\r\n"
		      "Content-Disposition: form-data; name=\"file\"; "
		      "filename=\"C:\\dir\\x.txt\"\r\n"
		      "Content-Type: text/plain\r\n\r\n--" CURL "x\r\n"
		      "--" CURL "--\r\n"),
		BYTES("<metadata|{\"path\":\"c\"}><*file|--" CURL "x>$")},
	{"a browser", WEBKIT,
		BYTES("--" WEBKIT "\r\n"
		      "Content-Disposition: form-data; name=\"a%22%0D%0A%0d%41\"; filename=\"\"\r\n"
		      "Content-Type: application/octet-stream\r\n\r\n\r\n"
		      "--" WEBKIT "--\r\n"),
		BYTES("<*a\"\r\n\r%41|>$")},
};

static void reads_what_clients_send(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const struct vector *v = &vectors[i];

		expect_body(v->client, v->boundary, HEAD_MAX, v->body.p, v->body.n, v->expect.p,
			v->expect.n);
	}
}

/* ---- the grammar, with the boundary b ---- */

#define PART(fields) "--b\r\n" fields "\r\n\r\n"
#define NAMED        "Content-Disposition: form-data; name=n"
#define DISP         "Content-Disposition: form-data"

struct row {
	struct str body, expect;
};

static const struct row delimiter_rows[] = {
	{BYTES(""), BYTES("")},
	{BYTES("--b--"), BYTES("$")},
	{BYTES("--b--\r\n"), BYTES("$")},
	{BYTES("\r\n--b--\r\n"), BYTES("$")},
	{BYTES("--b-- what follows\r\n--b\r\n\0"), BYTES("$")},
	{BYTES("preamble\r\n--b--"), BYTES("$")},
	{BYTES("preamble --b\r\n--b--"), BYTES("$")},
	{BYTES("--b \t--\r\n--bc\r\n\r\n\r\n--b--"), BYTES("$")},
	{BYTES("\r\r\n\r\n--\r\n--b--"), BYTES("$")},
	{BYTES("--c\r\n--b--"), BYTES("$")},
	{BYTES("\n--b--"), BYTES("")},
	{BYTES("preamble"), BYTES("")},
	{BYTES("--b"), BYTES("")},
	{BYTES("--b-"), BYTES("")},
	{BYTES("--b\r\n"), BYTES("")},
	{BYTES("--b\n" NAMED "\n\nx\n--b--\n"), BYTES("")},
	{BYTES(PART(NAMED) "x\r\n--b--"), BYTES("<n|x>$")},
	{BYTES("preamble\r\n" PART(NAMED) "x\r\n--b--epilogue\r\n--b\r\n"), BYTES("<n|x>$")},
	{BYTES("--b \t \r\n" NAMED "\r\n\r\nx\r\n--b\t\r\n" NAMED "\r\n\r\ny\r\n--b--"),
		BYTES("<n|x><n|y>$")},
	/* no content, with and without a line end of its own */
	{BYTES(PART(NAMED) "\r\n--b--"), BYTES("<n|>$")},
	{BYTES(PART(NAMED) "--b--"), BYTES("<n|>$")},
	{BYTES(PART(NAMED) "--b\r\n" NAMED "\r\n\r\n--b--"), BYTES("<n|><n|>$")},
	{BYTES(PART(NAMED) "\r\n\r\n--b--"), BYTES("<n|\r\n>$")},
	/* content that looks like a delimiter */
	{BYTES(PART(NAMED) "--\r\n--b--"), BYTES("<n|-->$")},
	{BYTES(PART(NAMED) "--bc\r\n--b--"), BYTES("<n|--bc>$")},
	{BYTES(PART(NAMED) "x--b--\r\n--b--"), BYTES("<n|x--b-->$")},
	{BYTES(PART(NAMED) "x\n--b--\r\n--b--"), BYTES("<n|x\n--b-->$")},
	{BYTES(PART(NAMED) "x\r--b\r\n--b--"), BYTES("<n|x\r--b>$")},
	{BYTES(PART(NAMED) "\r\r\r\n\n\r\n-\r\n--\r\n--b--"), BYTES("<n|\r\r\r\n\n\r\n-\r\n-->$")},
	{BYTES(PART(NAMED) "\r\n--bb\r\n--b-b\r\n--b b\r\n--b \rb\r\n--b\r\r\n--b-\r\n--b--"),
		BYTES("<n|\r\n--bb\r\n--b-b\r\n--b b\r\n--b \rb\r\n--b\r\r\n--b->$")},
	{BYTES(PART(NAMED) "\r\n--b \t --\r\n--b --\r\n--b \t-\r\n--b--"),
		BYTES("<n|\r\n--b \t --\r\n--b --\r\n--b \t->$")},
	{BYTES(PART(NAMED) "\r\n--b\n\r\n--b--"), BYTES("<n|\r\n--b\n>$")},
	{BYTES(PART(NAMED) "\r\n--B--\r\n--b--"), BYTES("<n|\r\n--B-->$")},
	/* cut short: what may be a delimiter is not given out */
	{BYTES(PART(NAMED)), BYTES("<n|")},
	{BYTES(PART(NAMED) "x"), BYTES("<n|x")},
	{BYTES(PART(NAMED) "x\r\n--"), BYTES("<n|x")},
	{BYTES(PART(NAMED) "x\r\n--b"), BYTES("<n|x")},
	{BYTES(PART(NAMED) "x\r\n--b "), BYTES("<n|x")},
	{BYTES(PART(NAMED) "x\r\n--b-"), BYTES("<n|x")},
	{BYTES(PART(NAMED) "x\r\n--b\r"), BYTES("<n|x")},
	{BYTES(PART(NAMED) "x\r\n--b\r\n"), BYTES("<n|x>")},
	{BYTES(PART(NAMED) "x\n--b--\n"), BYTES("<n|x\n--b--\n")},
};

static const struct row head_rows[] = {
	{BYTES(PART(DISP) "\r\n--b--"), BYTES("<|>$")},
	{BYTES(PART(DISP ";") "\r\n--b--"), BYTES("<|>$")},
	{BYTES(PART("content-disposition:FORM-DATA;NAME=n") "\r\n--b--"), BYTES("<n|>$")},
	{BYTES(PART("Content-Disposition:\tform-data ; ; name=n \t; ") "\r\n--b--"),
		BYTES("<n|>$")},
	{BYTES(PART(DISP "; filename=f; name=n; x=y") "\r\n--b--"), BYTES("<*n|>$")},
	{BYTES(PART(DISP "; name=n; FileName=\"\"") "\r\n--b--"), BYTES("<*n|>$")},
	{BYTES(PART(DISP "; name=n; filename=a; filename=b") "\r\n--b--"), BYTES("<*n|>$")},
	{BYTES(PART(DISP "; name=n; filenames=x; name*=utf-8''m") "\r\n--b--"), BYTES("<n|>$")},
	{BYTES(PART("X: y\r\n" NAMED "\r\nContent-Type: a/b") "\r\n--b--"), BYTES("<n|>$")},
	{BYTES(PART(NAMED "\r\nX:\r\nA-much-longer-field: a value\x01\x7f\xff\t") "\r\n--b--"),
		BYTES("<n|>$")},
	/* names */
	{BYTES(PART(DISP "; name=") "\r\n--b--"), BYTES("<|>$")},
	{BYTES(PART(DISP "; name=\"\"") "\r\n--b--"), BYTES("<|>$")},
	{BYTES(PART(DISP "; name=a b%22\\") "\r\n--b--"), BYTES("<a b%22\\|>$")},
	{BYTES(PART(DISP "; name=\"a;b=\\\"c\\\\\" ;x=y") "\r\n--b--"), BYTES("<a;b=\"c\\|>$")},
	{BYTES(PART(DISP "; name=\"a\\b\\\\\\\"\"") "\r\n--b--"), BYTES("<a\\b\\\"|>$")},
	{BYTES(PART(DISP "; name=\"%22%0D%0A%0d%0a%\"") "\r\n--b--"), BYTES("<\"\r\n\r\n%|>$")},
	{BYTES(PART(DISP "; name=\"%20%2%00%2g%g2%25\"") "\r\n--b--"),
		BYTES("<%20%2%00%2g%g2%25|>$")},
	{BYTES(PART(DISP "; name=a\\\\b") "\r\n--b--"), BYTES("<a\\\\b|>$")},
	{BYTES(PART(DISP "; name=n; filename=f") "\r\n" PART(NAMED) "\r\n--b--"),
		BYTES("<*n|><n|>$")},
	{BYTES(PART(DISP "; name=\"%5c\\%22\"") "\r\n--b--"), BYTES("<%5c\\\"|>$")},
	{BYTES(PART(DISP "; name=\"\xe4\xb8\xad\"") "\r\n--b--"), BYTES("<\xe4\xb8\xad|>$")},
	/* the encoding: only those that need none */
	{BYTES(PART(NAMED "\r\nContent-Transfer-Encoding: Binary") "\r\n--b--"), BYTES("<n|>$")},
	{BYTES(PART(NAMED "\r\ncontent-transfer-encoding:8bit ") "\r\n--b--"), BYTES("<n|>$")},
	{BYTES(PART("Content-Transfer-Encoding: 7BIT\r\n" NAMED) "\r\n--b--"), BYTES("<n|>$")},
	{BYTES(PART(NAMED "\r\nContent-Transfer-Encoding: base64") "\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\r\nContent-Transfer-Encoding: quoted-printable") "\r\n--b--"),
		BYTES("!")},
	{BYTES(PART(NAMED "\r\nContent-Transfer-Encoding:") "\r\n--b--"), BYTES("!")},
	/* no such part */
	{BYTES("--b\r\n\r\nx\r\n--b--"), BYTES("!")},
	{BYTES("--b\r\n--b--"), BYTES("")},
	{BYTES("--b\r\n--b--\r\n"), BYTES("!")},
	{BYTES(PART("X: y") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART("Content-Disposition: attachment; name=n") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART("Content-Disposition:") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART("Content-Disposition: form-data name=n") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\r\n" NAMED) "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "; name=n") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(DISP "; name") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(DISP "; =n") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(DISP "; name =n") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(DISP "; name=\"n") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(DISP "; name=\"n\\\"") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(DISP "; name=\"") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(DISP "; name=\"n\"x") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(DISP "; name=x\"n\"") "x\r\n--b--"), BYTES("!")},
	/* lines */
	{BYTES(PART(NAMED ";\r\n x=y") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\r\n\tx: y") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(" " NAMED) "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\r\nno colon") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\r\n: no name") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\r\nX : y") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\r\nX\xc3\xa9: y") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\r\nX: \0") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\nX: y") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\rX: y") "x\r\n--b--"), BYTES("!")},
	{BYTES(PART(NAMED "\r") "x\r\n--b--"), BYTES("!")},
	{BYTES("--b\r\n" NAMED "\r\n\nx\r\n--b--"), BYTES("!")},
	{BYTES("--b\r\n" NAMED "\n\nx\r\n--b--"), BYTES("!")},
};

static void reads_the_delimiters(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(delimiter_rows) / sizeof(delimiter_rows[0]); i++) {
		const struct row *r = &delimiter_rows[i];

		expect_body(
			r->body.p, "b", HEAD_MAX, r->body.p, r->body.n, r->expect.p, r->expect.n);
	}
}

static void reads_the_head_of_a_part(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(head_rows) / sizeof(head_rows[0]); i++) {
		const struct row *r = &head_rows[i];

		expect_body(
			r->body.p, "b", HEAD_MAX, r->body.p, r->body.n, r->expect.p, r->expect.n);
	}
}

static void a_bad_body_stays_bad(void **state)
{
	struct multipart *m = multipart_new(STR("b"), HEAD_MAX);
	const uint8_t *in = (const uint8_t *)"--b\r\n\r\nx", *data;
	const char *why = NULL, *again = NULL;
	struct multipart_part part;
	size_t n = 8, data_n;

	(void)state;
	assert_non_null(m);
	assert_int_equal(multipart_next(m, &in, &n, &part, &data, &data_n, &why), MULTIPART_BAD);
	assert_string_equal(why, "a part has no Content-Disposition");
	in = (const uint8_t *)"\r\n--b--";
	n = 7;
	assert_int_equal(multipart_next(m, &in, &n, &part, &data, &data_n, &again), MULTIPART_BAD);
	assert_ptr_equal(why, again);
	assert_false(multipart_complete(m));
	multipart_free(m);
	multipart_free(NULL);
}

/* ---- limits ---- */

/* A body whose first part has a head of n bytes, lines and empty line counted. */
static size_t body_with_head(char *out, size_t n)
{
	static const char start[] = "--b\r\n" NAMED "\r\nX: ", end[] = "\r\n\r\nx\r\n--b--";
	size_t used = strlen(start) - 5 + 4, at = strlen(start);

	memcpy(out, start, at);
	memset(out + at, 'y', n - used);
	at += n - used;
	memcpy(out + at, end, strlen(end));
	return at + strlen(end);
}

static void a_head_ends_at_its_limit(void **state)
{
	char body[HEAD_MAX + 64];
	size_t n = body_with_head(body, HEAD_MAX);

	(void)state;
	expect_body("at the limit", "b", HEAD_MAX, body, n, "<n|x>$", 6);
	n = body_with_head(body, HEAD_MAX + 1);
	expect_body("one past it", "b", HEAD_MAX, body, n, "!", 1);
	/* It is the head that counts, not the body so far. */
	struct buf many = {0}, expect = {0};
	for (int i = 0; i < 3; i++) {
		n = body_with_head(body, HEAD_MAX);
		assert_int_equal(buf_add(&many, body, n - strlen("--b--")), 0);
		assert_int_equal(buf_add_str(&expect, i == 0 ? "<n|x" : "><n|x"), 0);
	}
	expect_body("three", "b", HEAD_MAX, (const char *)buf_data(&many), buf_len(&many),
		(const char *)buf_data(&expect), buf_len(&expect));
	buf_fini(&many);
	buf_fini(&expect);
}

static void a_head_without_end_is_refused_early(void **state)
{
	struct multipart *m = multipart_new(STR("b"), HEAD_MAX);
	struct reading r = {.why = NULL};
	char line[100];

	(void)state;
	assert_non_null(m);
	feed(m, &r, "--b\r\n", 5);
	memset(line, 'a', sizeof(line));
	for (int i = 0; i < HEAD_MAX / 100; i++)
		feed(m, &r, line, sizeof(line));
	assert_false(r.bad);
	feed(m, &r, line, sizeof(line));
	assert_true(r.bad);
	buf_fini(&r.said);
	multipart_free(m);
}

static void a_delimiter_has_so_much_white_space(void **state)
{
	char body[2 * HEAD_MAX + 64] = PART(NAMED) "x\r\n--b";
	size_t start = strlen(body);

	(void)state;
	memset(body + start, ' ', HEAD_MAX + 1);
	memcpy(body + start + HEAD_MAX, "\r\n", 2);
	expect_body("at the limit", "b", HEAD_MAX, body, start + HEAD_MAX + 2, "<n|x>", 5);
	memcpy(body + start + HEAD_MAX, "y", 1);
	expect_body("content", "b", HEAD_MAX, body + start - 7, HEAD_MAX + 8, "", 0);
	memcpy(body + start + HEAD_MAX, " ", 1);
	memcpy(body + start + HEAD_MAX + 1, "\r\n", 2);
	expect_body("one past it", "b", HEAD_MAX, body, start + HEAD_MAX + 3, "<n|x!", 5);
}

static void the_longest_boundary_works(void **state)
{
	static const char body[] = "--" SEVENTY "\r\n" NAMED "\r\n\r\n"
				   "x\r\n--" TEN TEN TEN TEN TEN TEN "012345678x\r\n--" SEVENTY
				   "--";
	static const char expect[] = "<n|x\r\n--" TEN TEN TEN TEN TEN TEN "012345678x>$";

	(void)state;
	expect_body("70 bytes", SEVENTY, HEAD_MAX, body, strlen(body), expect, strlen(expect));
}

/* ---- content ---- */

/* A part with this content between delimiters must give it back, in pieces of at most `most`. */
static void expect_content(const char *boundary, const uint8_t *p, size_t n, size_t most)
{
	struct buf body = {0}, expect = {0};

	assert_int_equal(buf_printf(&body, "--%s\r\n" NAMED "\r\n\r\n", boundary), 0);
	assert_int_equal(buf_add(&body, p, n), 0);
	assert_int_equal(buf_printf(&body, "\r\n--%s--", boundary), 0);
	assert_int_equal(buf_add_str(&expect, "<n|"), 0);
	assert_int_equal(buf_add(&expect, p, n), 0);
	assert_int_equal(buf_add_str(&expect, ">$"), 0);
	struct cuts cuts = {.most = most, .seed = (uint32_t)(n + most)};
	struct reading r = read_body(
		boundary, HEAD_MAX, (const char *)buf_data(&body), buf_len(&body), cuts);
	if (buf_len(&r.said) != buf_len(&expect) ||
		memcmp(buf_data(&r.said), buf_data(&expect), buf_len(&expect)) != 0)
		fail_msg("%zu bytes in pieces of %zu, boundary %s", n, most, boundary);
	buf_fini(&r.said);
	buf_fini(&body);
	buf_fini(&expect);
}

static void content_that_imitates_a_delimiter_comes_through(void **state)
{
	static const char *const pieces[] = {"\r", "\n", "\r\n", "-", "--", "b", "\r\n--",
		"\r\n--b", "\r\n--bb-", "\r\n--bb", " ", "\r\n--bb-bb ", "x"};
	uint32_t seed = 20260801;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct buf content = {0};
		size_t count = random_next(&seed) % 12;

		for (size_t i = 0; i < count; i++)
			assert_int_equal(buf_add_str(&content, pieces[random_next(&seed) % 13]), 0);
		/* Long enough that no delimiter is in there by chance. */
		expect_content("bb-bb-bb-bb-bb-bb-bb-bb-bb-bb-bb-bb-bb-bb-bb", buf_data(&content),
			buf_len(&content), 1 + random_next(&seed) % 40);
		buf_fini(&content);
	}
}

static void long_content_comes_through(void **state)
{
	static const char bytes[] = "\r\n-bB0xyz \0\xff";
	uint32_t seed = 20260802;
	uint8_t content[3000];

	(void)state;
	for (size_t round = 0; round < 300; round++) {
		size_t n = random_next(&seed) % sizeof(content);
		size_t kinds = 1 + random_next(&seed) % (sizeof(bytes) - 1);

		for (size_t i = 0; i < n; i++)
			content[i] = (uint8_t)bytes[random_next(&seed) % kinds];
		expect_content("b-xyz0-0zyx-b", content, n, 1 + random_next(&seed) % 4000);
		expect_content("bbbbbbbb", content, n, 1 + random_next(&seed) % 4000);
	}
}

static void data_in_one_piece_is_not_copied(void **state)
{
	static const uint8_t body[] = PART(NAMED) "some content\r\n--b--";
	const uint8_t *in = body, *data;
	size_t n = sizeof(body) - 1, data_n;
	struct multipart *m = multipart_new(STR("b"), HEAD_MAX);
	struct multipart_part part;
	const char *why;

	(void)state;
	assert_non_null(m);
	assert_int_equal(multipart_next(m, &in, &n, &part, &data, &data_n, &why), MULTIPART_PART);
	assert_int_equal(multipart_next(m, &in, &n, &part, &data, &data_n, &why), MULTIPART_DATA);
	assert_int_equal(data_n, 12);
	assert_ptr_equal(data, body + strlen(PART(NAMED)));
	multipart_free(m);
}

/* Content that is nothing but beginnings of delimiters is neither collected nor cut small. */
static void hostile_content_takes_few_calls(void **state)
{
	static const char *const pieces[] = {
		"\r", "\r\n--", "\r\n--bbbbbbb", "\r\n--bbbbbbbb x", "b"};

	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct multipart *m = multipart_new(STR("bbbbbbbb"), HEAD_MAX);
		size_t piece_n = strlen(pieces[i]), calls = 0, total = 0;
		const uint8_t *data;
		struct multipart_part part;
		size_t n, data_n;
		const char *why;

		assert_non_null(m);
		struct reading r = {.why = NULL};
		feed(m, &r, "--bbbbbbbb\r\n" NAMED "\r\n\r\n", strlen(NAMED) + 16);
		for (int k = 0; k < 1000; k++) {
			const uint8_t *in = (const uint8_t *)pieces[i];
			enum multipart_event e;

			n = piece_n;
			while ((e = multipart_next(m, &in, &n, &part, &data, &data_n, &why)) ==
				MULTIPART_DATA) {
				total += data_n;
				calls++;
			}
			assert_int_equal(e, MULTIPART_MORE);
		}
		assert_in_range(total, 1000 * piece_n - piece_n, 1000 * piece_n);
		assert_in_range(calls, 900, 3000);
		buf_fini(&r.said);
		multipart_free(m);
	}
}

static void says_when_memory_is_out(void **state)
{
	(void)state;
	oom_after = 0;
	struct multipart *m = multipart_new(STR("b"), HEAD_MAX);
	oom_after = -1;
	assert_null(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_boundary_of_a_content_type),
		cmocka_unit_test(a_nul_is_no_part_of_a_boundary),
		cmocka_unit_test(reads_what_clients_send),
		cmocka_unit_test(reads_the_delimiters),
		cmocka_unit_test(reads_the_head_of_a_part),
		cmocka_unit_test(a_bad_body_stays_bad),
		cmocka_unit_test(a_head_ends_at_its_limit),
		cmocka_unit_test(a_head_without_end_is_refused_early),
		cmocka_unit_test(a_delimiter_has_so_much_white_space),
		cmocka_unit_test(the_longest_boundary_works),
		cmocka_unit_test(content_that_imitates_a_delimiter_comes_through),
		cmocka_unit_test(long_content_comes_through),
		cmocka_unit_test(data_in_one_piece_is_not_copied),
		cmocka_unit_test(hostile_content_takes_few_calls),
		cmocka_unit_test(says_when_memory_is_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
