/*
 * ws_handshake: who may speak WebSocket here, and whether messages may be compressed.
 *
 * Of permessage-deflate both sides give up the context between messages, whatever the client
 * offers (RFC 7692 lets a server demand that). So no connection keeps a window of 32 KB and its
 * tables while it is silent, which is most of the time, and one compressor serves all of them.
 */
#include "boxd/ws_handshake.h"

#include <stdio.h>
#include <string.h>

#include <nettle/base64.h>
#include <nettle/sha1.h>

#include "http1_internal.h"

#define WS_GUID       "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 section 1.3 */
#define WS_KEY_LEN    24
#define WS_KEY_DIGITS 22 /* and two `=` */
#define WS_BITS_MIN   8
#define WS_BITS_MAX   15

/* ---- the key ---- */

static bool ws_is_base64(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '+' || c == '/';
}

static bool ws_key_ok(struct str key)
{
	if (key.n != WS_KEY_LEN || memcmp(key.p + WS_KEY_DIGITS, "==", 2) != 0)
		return false;
	for (size_t i = 0; i < WS_KEY_DIGITS; i++) {
		if (!ws_is_base64(key.p[i]))
			return false;
	}
	return true;
}

void ws_handshake_accept(struct str key, char out[static WS_ACCEPT_LEN + 1])
{
	struct sha1_ctx ctx;
	uint8_t digest[SHA1_DIGEST_SIZE];

	sha1_init(&ctx);
	sha1_update(&ctx, key.n, (const uint8_t *)key.p);
	sha1_update(&ctx, sizeof(WS_GUID) - 1, (const uint8_t *)WS_GUID);
	sha1_digest(&ctx, sizeof(digest), digest);
	base64_encode_raw(out, sizeof(digest), digest);
	out[WS_ACCEPT_LEN] = '\0';
}

/* ---- extensions ---- */

static void ws_ext_space(struct str *s)
{
	while (s->n > 0 && (*s->p == ' ' || *s->p == '\t')) {
		s->p++;
		s->n--;
	}
}

/* Takes one byte, with the white space behind it, if it is c. */
static bool ws_ext_take(struct str *s, char c)
{
	if (s->n == 0 || *s->p != c)
		return false;
	s->p++;
	s->n--;
	ws_ext_space(s);
	return true;
}

static bool ws_ext_token(struct str *s, struct str *token)
{
	*token = (struct str){s->p, 0};
	while (s->n > 0 && http1_is_token((uint8_t)*s->p)) {
		s->p++;
		s->n--;
		token->n++;
	}
	ws_ext_space(s);
	return token->n > 0;
}

/* The value of a parameter, unquoted. Those that mean something are short; more is cut. */
struct ws_ext_value {
	bool given;
	char text[4];
	size_t n; /* of the whole value */
};

static void ws_ext_value_add(struct ws_ext_value *v, char c)
{
	if (v->n < sizeof(v->text))
		v->text[v->n] = c;
	v->n++;
}

/* After the opening quote. What is quoted must be a token all the same (RFC 6455 section 9.1). */
static bool ws_ext_quoted(struct str *s, struct ws_ext_value *v)
{
	for (; s->n > 0 && *s->p != '"'; s->p++, s->n--) {
		if (*s->p == '\\') {
			s->p++;
			s->n--;
		}
		if (s->n == 0 || !http1_is_token((uint8_t)*s->p))
			return false;
		ws_ext_value_add(v, *s->p);
	}
	return v->n > 0 && ws_ext_take(s, '"');
}

static bool ws_ext_value(struct str *s, struct ws_ext_value *v)
{
	struct str token;

	*v = (struct ws_ext_value){.given = ws_ext_take(s, '=')};
	if (!v->given)
		return true;
	if (s->n > 0 && *s->p == '"') {
		/* No white space is skipped inside the quotes. */
		s->p++;
		s->n--;
		return ws_ext_quoted(s, v);
	}
	if (!ws_ext_token(s, &token))
		return false;
	for (size_t i = 0; i < token.n; i++)
		ws_ext_value_add(v, token.p[i]);
	return true;
}

/* 8..15, without leading zeros; otherwise 0. */
static uint8_t ws_ext_bits(const struct ws_ext_value *v)
{
	uint64_t bits;

	if (v->n < 1 || v->n > 2 || v->text[0] == '0' ||
		!str_u64((struct str){v->text, v->n}, &bits) || bits < WS_BITS_MIN ||
		bits > WS_BITS_MAX)
		return 0;
	return (uint8_t)bits;
}

enum ws_param {
	WS_PARAM_SERVER_NO_CONTEXT = 1,
	WS_PARAM_CLIENT_NO_CONTEXT = 2,
	WS_PARAM_SERVER_BITS = 4,
	WS_PARAM_CLIENT_BITS = 8
};

struct ws_offer {
	unsigned seen; /* of enum ws_param */
	bool declined;
	uint8_t server_bits;
};

static void ws_offer_param(struct ws_offer *o, struct str name, const struct ws_ext_value *v)
{
	unsigned which = 0;
	bool good = false;

	if (str_eq(name, STR("server_no_context_takeover"))) {
		which = WS_PARAM_SERVER_NO_CONTEXT;
		good = !v->given;
	} else if (str_eq(name, STR("client_no_context_takeover"))) {
		which = WS_PARAM_CLIENT_NO_CONTEXT;
		good = !v->given;
	} else if (str_eq(name, STR("server_max_window_bits"))) {
		which = WS_PARAM_SERVER_BITS;
		o->server_bits = ws_ext_bits(v);
		good = o->server_bits != 0;
	} else if (str_eq(name, STR("client_max_window_bits"))) {
		/* How much of our window it will use: our window is the largest, so all do. */
		which = WS_PARAM_CLIENT_BITS;
		good = !v->given || ws_ext_bits(v) != 0;
	}
	if (!good || (o->seen & which) != 0)
		o->declined = true;
	o->seen |= which;
}

/* One extension with its parameters. False when it is malformed. */
static bool ws_ext_one(struct str *s, struct ws_deflate_terms *terms)
{
	struct ws_offer offer = {0};
	struct str name, param;

	if (!ws_ext_token(s, &name))
		return false;
	while (ws_ext_take(s, ';')) {
		struct ws_ext_value v;

		if (!ws_ext_token(s, &param) || !ws_ext_value(s, &v))
			return false;
		ws_offer_param(&offer, param, &v);
	}
	if (!terms->agreed && !offer.declined && str_eq(name, STR("permessage-deflate")))
		*terms = (struct ws_deflate_terms){true, offer.server_bits};
	return true;
}

bool ws_extensions_parse(struct str field, struct ws_deflate_terms *terms)
{
	struct ws_deflate_terms found = *terms;

	ws_ext_space(&field);
	while (field.n > 0) {
		/* Empty elements of a list are nothing (RFC 9110 section 5.6.1). */
		if (ws_ext_take(&field, ','))
			continue;
		if (!ws_ext_one(&field, &found) || (field.n > 0 && *field.p != ','))
			return false;
	}
	*terms = found;
	return true;
}

void ws_extensions_format(const struct ws_deflate_terms *terms, char out[static WS_EXTENSIONS_MAX])
{
	static const char base[] = "permessage-deflate; server_no_context_takeover; "
				   "client_no_context_takeover";

	if (terms->server_bits > 0)
		snprintf(out, WS_EXTENSIONS_MAX, "%s; server_max_window_bits=%u", base,
			(unsigned)terms->server_bits);
	else
		memcpy(out, base, sizeof(base));
}

/* ---- the handshake ---- */

static bool ws_list_has(struct str list, const char *word)
{
	struct str element;

	while (str_list_next(&list, &element)) {
		if (str_ieq(element, str_of(word)))
			return true;
	}
	return false;
}

/* What the fields of a request say. */
struct ws_fields {
	bool connection, upgrade; /* they name what they must */
	unsigned keys, versions;  /* how many there are */
	struct str key, version;
	bool extensions_bad;
	struct ws_deflate_terms deflate;
};

static void ws_fields_add(struct ws_fields *f, struct str name, struct str value)
{
	if (str_ieq(name, STR("connection"))) {
		f->connection = f->connection || ws_list_has(value, "upgrade");
	} else if (str_ieq(name, STR("upgrade"))) {
		f->upgrade = f->upgrade || ws_list_has(value, "websocket");
	} else if (str_ieq(name, STR("sec-websocket-key"))) {
		f->key = value;
		f->keys++;
	} else if (str_ieq(name, STR("sec-websocket-version"))) {
		f->version = value;
		f->versions++;
	} else if (str_ieq(name, STR("sec-websocket-extensions"))) {
		if (!ws_extensions_parse(value, &f->deflate))
			f->extensions_bad = true;
	}
}

/* NULL, or what is wrong with a request that wants to be a handshake. */
static const char *ws_fields_check(const struct ws_fields *f, const struct http1_head *head)
{
	if (head->method != HTTP_GET)
		return "a WebSocket handshake is a GET";
	if (head->minor < 1)
		return "a WebSocket handshake needs HTTP/1.1";
	if (head->body == HTTP_BODY_CHUNKED ||
		(head->body == HTTP_BODY_LENGTH && head->content_length > 0))
		return "a WebSocket handshake has no body";
	if (f->versions != 1 || !str_eq(f->version, STR("13")))
		return "Sec-WebSocket-Version must be 13";
	if (f->keys != 1 || !ws_key_ok(f->key))
		return "Sec-WebSocket-Key must be 16 bytes in base64";
	return f->extensions_bad ? "Sec-WebSocket-Extensions is malformed" : NULL;
}

enum ws_handshake_result ws_handshake_parse(const struct http1_head *head, const uint8_t *base,
	struct ws_handshake *out, const char **why)
{
	struct ws_fields f = {0};
	const char *bad;

	for (uint16_t i = 0; i < head->nfields; i++)
		ws_fields_add(&f, http1_str(base, head->fields[i].name),
			http1_str(base, head->fields[i].value));
	if (!f.connection || !f.upgrade)
		return WS_HANDSHAKE_NONE;
	bad = ws_fields_check(&f, head);
	if (bad != NULL) {
		*why = bad;
		return WS_HANDSHAKE_BAD;
	}
	ws_handshake_accept(f.key, out->accept);
	out->deflate = f.deflate;
	return WS_HANDSHAKE_DONE;
}
