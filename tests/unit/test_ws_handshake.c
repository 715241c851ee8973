/* ws_handshake: whole request heads, and offers of permessage-deflate row by row. */
#include "boxd/ws_handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define GET     "GET /chat HTTP/1.1\r\nHost: a\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13     "Sec-WebSocket-Version: 13\r\n"
#define EXT     "Sec-WebSocket-Extensions: "

static const struct row {
	const char *name, *head;
	enum ws_handshake_result end;
} rows[] = {
	{"the RFC's own", GET UPGRADE KEY V13, WS_HANDSHAKE_DONE},
	{"names in any case",
		GET "UPGRADE: WebSocket\r\ncONNECTION: upGRADE\r\nsec-websocket-key: "
		    "dGhlIHNhbXBsZSBub25jZQ==\r\nSEC-WEBSOCKET-VERSION: 13\r\n",
		WS_HANDSHAKE_DONE},
	{"upgrade among others",
		GET "Upgrade: h2c, websocket\r\nConnection: keep-alive, Upgrade\r\n" KEY V13,
		WS_HANDSHAKE_DONE},
	{"upgrade in a second field",
		GET "Upgrade: h2c\r\nConnection: keep-alive\r\n" UPGRADE KEY V13,
		WS_HANDSHAKE_DONE},
	{"upgrade in the first of two fields",
		GET UPGRADE "Upgrade: x\r\nConnection: y\r\n" KEY V13, WS_HANDSHAKE_DONE},
	{"an empty body", GET UPGRADE KEY V13 "Content-Length: 0\r\n", WS_HANDSHAKE_DONE},
	{"extensions", GET UPGRADE KEY V13 EXT "x-webkit-deflate-frame\r\n", WS_HANDSHAKE_DONE},
	{"no upgrade", GET KEY V13, WS_HANDSHAKE_NONE},
	{"no Upgrade", GET "Connection: Upgrade\r\n" KEY V13, WS_HANDSHAKE_NONE},
	{"no Connection", GET "Upgrade: websocket\r\n" KEY V13, WS_HANDSHAKE_NONE},
	{"another protocol", GET "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY V13,
		WS_HANDSHAKE_NONE},
	{"a name that begins so", GET "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY V13,
		WS_HANDSHAKE_NONE},
	{"a name with a version", GET "Upgrade: websocket/13\r\nConnection: Upgrade\r\n" KEY V13,
		WS_HANDSHAKE_NONE},
	{"POST", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" UPGRADE KEY V13,
		WS_HANDSHAKE_BAD},
	{"HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY V13, WS_HANDSHAKE_BAD},
	{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n" UPGRADE KEY V13, WS_HANDSHAKE_BAD},
	{"a body", GET UPGRADE KEY V13 "Content-Length: 1\r\n", WS_HANDSHAKE_BAD},
	{"a chunked body", GET UPGRADE KEY V13 "Transfer-Encoding: chunked\r\n", WS_HANDSHAKE_BAD},
	{"no version", GET UPGRADE KEY, WS_HANDSHAKE_BAD},
	{"version 8", GET UPGRADE KEY "Sec-WebSocket-Version: 8\r\n", WS_HANDSHAKE_BAD},
	{"version 013", GET UPGRADE KEY "Sec-WebSocket-Version: 013\r\n", WS_HANDSHAKE_BAD},
	{"two versions in one", GET UPGRADE KEY "Sec-WebSocket-Version: 13, 8\r\n",
		WS_HANDSHAKE_BAD},
	{"two versions", GET UPGRADE KEY V13 V13, WS_HANDSHAKE_BAD},
	{"no key", GET UPGRADE V13, WS_HANDSHAKE_BAD},
	{"two keys", GET UPGRADE KEY KEY V13, WS_HANDSHAKE_BAD},
	{"an empty key", GET UPGRADE V13 "Sec-WebSocket-Key:\r\n", WS_HANDSHAKE_BAD},
	{"a key of 15 bytes", GET UPGRADE V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n",
		WS_HANDSHAKE_BAD},
	{"a key of 17 bytes", GET UPGRADE V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU=\r\n",
		WS_HANDSHAKE_BAD},
	{"a key that is not padded",
		GET UPGRADE V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQab\r\n",
		WS_HANDSHAKE_BAD},
	{"a key with a space", GET UPGRADE V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZ Bub25jZQ==\r\n",
		WS_HANDSHAKE_BAD},
	{"a key in the other alphabet",
		GET UPGRADE V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZ-Bub25jZQ==\r\n",
		WS_HANDSHAKE_BAD},
	{"extensions that are none", GET UPGRADE KEY V13 EXT "a b\r\n", WS_HANDSHAKE_BAD},
	{"the second of two fields is malformed", GET UPGRADE KEY V13 EXT "a\r\n" EXT ";\r\n",
		WS_HANDSHAKE_BAD},
};

static enum ws_handshake_result shake(const char *text, struct ws_handshake *h, const char **why)
{
	const struct http1_limits lim = {16384, 8192, HTTP1_FIELDS_CAP};
	struct http1_scan scan = {0};
	struct http1_head head;
	const struct err_kind *kind = NULL;
	char whole[1024];
	size_t head_len;
	enum http1_result r;

	snprintf(whole, sizeof(whole), "%s\r\n", text);
	r = http1_parse(
		&scan, (const uint8_t *)whole, strlen(whole), &lim, &head, &head_len, &kind, why);
	if (r != HTTP1_DONE)
		fail_msg("no request: %s", text);
	*why = NULL;
	return ws_handshake_parse(&head, (const uint8_t *)whole, h, why);
}

static void tells_handshakes_from_other_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct ws_handshake h = {0};
		const char *why;
		enum ws_handshake_result end = shake(rows[i].head, &h, &why);

		if (end != rows[i].end)
			fail_msg("%s: %d", rows[i].name, end);
		if ((end == WS_HANDSHAKE_BAD) != (why != NULL))
			fail_msg("%s: a reason when there is none to give, or none", rows[i].name);
		if (end == WS_HANDSHAKE_DONE)
			assert_string_equal(h.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	}
}

static void answers_a_key_as_others_do(void **state)
{
	static const char *const pairs[][2] = {
		{"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		{"x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(pairs); i++) {
		char out[WS_ACCEPT_LEN + 1];

		ws_handshake_accept(str_of(pairs[i][0]), out);
		assert_string_equal(out, pairs[i][1]);
	}
}

#define PMD "permessage-deflate"

static const struct offer {
	const char *field;
	bool ok, agreed;
	uint8_t bits;
} offers[] = {
	{PMD, true, true, 0},
	{PMD "; client_max_window_bits", true, true, 0},
	{PMD "; client_max_window_bits=8", true, true, 0},
	{PMD "; client_max_window_bits=15", true, true, 0},
	{PMD "; server_max_window_bits=8", true, true, 8},
	{PMD "; server_max_window_bits=15", true, true, 15},
	{PMD "; server_max_window_bits=\"10\"", true, true, 10},
	{PMD "; server_max_window_bits=\"1\\0\"", true, true, 10},
	{PMD ";server_no_context_takeover;client_no_context_takeover", true, true, 0},
	{PMD " ;\tserver_no_context_takeover ; client_max_window_bits = 9 ", true, true, 0},
	{"x-thing, " PMD, true, true, 0},
	{",, " PMD " ,", true, true, 0},
	{"x-thing; a=b; c=\"d\"," PMD "; server_max_window_bits=9", true, true, 9},
	/* the first that can be accepted */
	{PMD "; server_max_window_bits=9, " PMD, true, true, 9},
	{PMD "; server_max_window_bits=7, " PMD "; server_max_window_bits=11, " PMD, true, true,
		11},
	{PMD "; mystery, " PMD, true, true, 0},
	/* offers that are declined */
	{"", true, false, 0},
	{"permessage-bzip2", true, false, 0},
	{"Permessage-Deflate", true, false, 0},
	{"permessage-deflate2", true, false, 0},
	{PMD "; mystery", true, false, 0},
	{PMD "; server_no_context_takeover=1", true, false, 0},
	{PMD "; client_no_context_takeover=\"x\"", true, false, 0},
	{PMD "; server_max_window_bits", true, false, 0},
	{PMD "; server_max_window_bits=7", true, false, 0},
	{PMD "; server_max_window_bits=16", true, false, 0},
	{PMD "; server_max_window_bits=08", true, false, 0},
	{PMD "; server_max_window_bits=100", true, false, 0},
	{PMD "; server_max_window_bits=12345678", true, false, 0},
	{PMD "; server_max_window_bits=1x", true, false, 0},
	{PMD "; server_max_window_bits=+9", true, false, 0},
	{PMD "; client_max_window_bits=7", true, false, 0},
	{PMD "; client_max_window_bits=16", true, false, 0},
	{PMD "; client_max_window_bits=x", true, false, 0},
	{PMD "; server_no_context_takeover; server_no_context_takeover", true, false, 0},
	{PMD "; client_no_context_takeover; client_no_context_takeover", true, false, 0},
	{PMD "; server_max_window_bits=9; server_max_window_bits=9", true, false, 0},
	{PMD "; client_max_window_bits; client_max_window_bits=9", true, false, 0},
	/* malformed, and nothing of it counts */
	{PMD ";", false, false, 0},
	{PMD "; ;", false, false, 0},
	{PMD "; server_max_window_bits=", false, false, 0},
	{PMD "; =9", false, false, 0},
	{PMD "; a=\"", false, false, 0},
	{PMD "; a=\"\"", false, false, 0},
	{PMD "; a=\"b", false, false, 0},
	{PMD "; a=\"b c\"", false, false, 0},
	{PMD "; a=\" 9\"", false, false, 0},
	{PMD "; a=\"b\\", false, false, 0},
	{PMD "; a=\"b\"c", false, false, 0},
	{PMD " x", false, false, 0},
	{PMD "=9", false, false, 0},
	{PMD ", \"x\"", false, false, 0},
	{PMD ", /", false, false, 0},
};

static void takes_the_first_offer_that_it_can(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(offers); i++) {
		size_t n = strlen(offers[i].field);
		char *exact = malloc(n > 0 ? n : 1);
		struct ws_deflate_terms t = {0};
		bool ok;

		assert_non_null(exact);
		memcpy(exact, offers[i].field, n);
		ok = ws_extensions_parse((struct str){exact, n}, &t);
		free(exact);
		if (ok != offers[i].ok || t.agreed != offers[i].agreed ||
			t.server_bits != offers[i].bits)
			fail_msg("%s: %d %d %u", offers[i].field, ok, t.agreed, t.server_bits);
	}
}

static void what_is_agreed_stays_so_in_further_fields(void **state)
{
	struct ws_deflate_terms t = {0};

	(void)state;
	assert_true(ws_extensions_parse(STR("a, b"), &t));
	assert_false(t.agreed);
	assert_true(ws_extensions_parse(STR(PMD "; server_max_window_bits=12"), &t));
	assert_true(ws_extensions_parse(STR(PMD "; server_max_window_bits=9"), &t));
	assert_true(t.agreed);
	assert_int_equal(t.server_bits, 12);
	assert_false(ws_extensions_parse(STR(PMD "; server_max_window_bits=9 x"), &t));
	assert_int_equal(t.server_bits, 12);
}

static void the_answer_gives_up_the_context_both_ways(void **state)
{
	static const char base[] = PMD "; server_no_context_takeover; client_no_context_takeover";
	char out[WS_EXTENSIONS_MAX], want[WS_EXTENSIONS_MAX];

	(void)state;
	ws_extensions_format(&(struct ws_deflate_terms){true, 0}, out);
	assert_string_equal(out, base);
	for (uint8_t bits = 8; bits <= 15; bits++) {
		ws_extensions_format(&(struct ws_deflate_terms){true, bits}, out);
		snprintf(want, sizeof(want), "%s; server_max_window_bits=%u", base, bits);
		assert_string_equal(out, want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_handshakes_from_other_requests),
		cmocka_unit_test(answers_a_key_as_others_do),
		cmocka_unit_test(takes_the_first_offer_that_it_can),
		cmocka_unit_test(what_is_agreed_stays_so_in_further_fields),
		cmocka_unit_test(the_answer_gives_up_the_context_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
