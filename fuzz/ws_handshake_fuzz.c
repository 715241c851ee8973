/*
 * Fuzzes the opening handshake of WebSocket: an input is the fields of a request. The oracle: what
 * is accepted has the key and version that a plain search finds, and an answer that can be computed
 * again; a list of extensions means the same in one field and in a field of its own for each line;
 * what we answer is an offer that we would take, and nobody's parameters get into it.
 */
#include <string.h>

#include "boxd/http1.h"
#include "boxd/ws_handshake.h"
#include "fuzz.h"

#define LINE "GET / HTTP/1.1\r\nHost: a\r\n"

static void check_answer(const struct ws_deflate_terms *t)
{
	struct ws_deflate_terms again = {0};
	char text[WS_EXTENSIONS_MAX];

	FUZZ_CHECK(t->server_bits == 0 || (t->server_bits >= 8 && t->server_bits <= 15));
	FUZZ_CHECK(t->agreed || t->server_bits == 0);
	if (!t->agreed)
		return;
	ws_extensions_format(t, text);
	FUZZ_CHECK(ws_extensions_parse(str_of(text), &again));
	FUZZ_CHECK(again.agreed && again.server_bits == t->server_bits);
}

/* The fields in their order, each by itself, and all of them in one list. */
static void check_extensions(
	const struct http1_head *h, const uint8_t *base, const struct ws_deflate_terms *got)
{
	struct ws_deflate_terms each = {0}, all = {0};
	char list[4096];
	size_t n = 0;

	for (uint16_t i = 0; i < h->nfields; i++) {
		struct str value = http1_str(base, h->fields[i].value);

		if (!str_ieq(http1_str(base, h->fields[i].name), STR("sec-websocket-extensions")))
			continue;
		FUZZ_CHECK(ws_extensions_parse(value, &each));
		if (n + value.n + 1 > sizeof(list))
			return;
		memcpy(list + n, value.p, value.n);
		list[n + value.n] = ',';
		n += value.n + 1;
	}
	FUZZ_CHECK(each.agreed == got->agreed && each.server_bits == got->server_bits);
	FUZZ_CHECK(ws_extensions_parse((struct str){list, n}, &all));
	FUZZ_CHECK(all.agreed == got->agreed && all.server_bits == got->server_bits);
}

static void check_accepted(
	const struct http1_head *h, const uint8_t *base, const struct ws_handshake *shake)
{
	char accept[WS_ACCEPT_LEN + 1];
	struct str key, version;

	FUZZ_CHECK(h->method == HTTP_GET && h->minor == 1);
	FUZZ_CHECK(h->body != HTTP_BODY_CHUNKED && h->content_length == 0);
	FUZZ_CHECK(http1_find(h, base, "Sec-WebSocket-Version", &version));
	FUZZ_CHECK(str_eq(version, STR("13")));
	FUZZ_CHECK(http1_find(h, base, "Sec-WebSocket-Key", &key) && key.n == 24);
	ws_handshake_accept(key, accept);
	FUZZ_CHECK(strlen(accept) == WS_ACCEPT_LEN && strcmp(accept, shake->accept) == 0);
	check_answer(&shake->deflate);
	check_extensions(h, base, &shake->deflate);
}

static void check_request(const uint8_t *data, size_t size)
{
	const struct http1_limits lim = {16384, 8192, HTTP1_FIELDS_CAP};
	struct http1_scan scan = {0};
	struct http1_head h;
	struct ws_handshake shake = {0};
	const struct err_kind *kind;
	const char *why = NULL;
	size_t n = sizeof(LINE) - 1 + size + 4, head_n;
	uint8_t *all = malloc(n);

	FUZZ_CHECK(all != NULL);
	memcpy(all, LINE, sizeof(LINE) - 1);
	memcpy(all + sizeof(LINE) - 1, data, size);
	memcpy(all + n - 4, "\r\n\r\n", 4);
	if (http1_parse(&scan, all, n, &lim, &h, &head_n, &kind, &why) == HTTP1_DONE) {
		why = NULL;
		switch (ws_handshake_parse(&h, all, &shake, &why)) {
		case WS_HANDSHAKE_DONE: check_accepted(&h, all, &shake); break;
		case WS_HANDSHAKE_BAD: FUZZ_CHECK(why != NULL && *why != '\0'); break;
		case WS_HANDSHAKE_NONE: FUZZ_CHECK(why == NULL); break;
		}
	}
	free(all);
}

/* An element that is good by itself is good behind another that agrees to nothing. */
static void check_list(const uint8_t *data, size_t size)
{
	struct ws_deflate_terms alone = {0}, behind = {0};
	char *list = malloc(size + 5);

	FUZZ_CHECK(list != NULL);
	memcpy(list, "x;y, ", 5);
	if (size > 0)
		memcpy(list + 5, data, size);
	bool ok = ws_extensions_parse((struct str){list + 5, size}, &alone);

	FUZZ_CHECK(ws_extensions_parse((struct str){list, size + 5}, &behind) == ok);
	FUZZ_CHECK(alone.agreed == behind.agreed && alone.server_bits == behind.server_bits);
	FUZZ_CHECK(ok || !alone.agreed);
	check_answer(&alone);
	free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_request(data, size);
	check_list(data, size);
	return 0;
}
