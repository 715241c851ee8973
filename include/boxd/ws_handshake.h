/*
 * The opening handshake of WebSocket (RFC 6455 section 4.2) and the negotiation of
 * permessage-deflate (RFC 7692 section 7). Pure: the head of a request in, what to answer out.
 */
#ifndef BOXD_WS_HANDSHAKE_H
#define BOXD_WS_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/http1.h"
#include "boxd/str.h"

#define WS_ACCEPT_LEN     28 /* base64 of a SHA-1 */
#define WS_EXTENSIONS_MAX 128

/* How we take part in permessage-deflate. */
struct ws_deflate_terms {
	bool agreed;         /* an offer can be accepted */
	uint8_t server_bits; /* our window, 8..15, when the client bounds it; otherwise 0 */
};

struct ws_handshake {
	char accept[WS_ACCEPT_LEN + 1]; /* of Sec-WebSocket-Accept */
	struct ws_deflate_terms deflate;
};

enum ws_handshake_result {
	WS_HANDSHAKE_DONE,
	WS_HANDSHAKE_NONE, /* no `Connection: upgrade` with `Upgrade: websocket` */
	WS_HANDSHAKE_BAD   /* one, but not a valid one; *why is a literal for the client */
};

/*
 * Valid is: GET, HTTP/1.1, no body, one Sec-WebSocket-Version that is 13, one Sec-WebSocket-Key of
 * 16 bytes in base64, and Sec-WebSocket-Extensions (if any) as the grammar has them. `base` is what
 * was given to http1_parse().
 */
enum ws_handshake_result ws_handshake_parse(const struct http1_head *head, const uint8_t *base,
	struct ws_handshake *out, const char **why) __attribute__((warn_unused_result, nonnull));

/* Sec-WebSocket-Accept for a key. */
void ws_handshake_accept(struct str key, char out[static WS_ACCEPT_LEN + 1]);

/*
 * Reads one Sec-WebSocket-Extensions field; false when it is malformed. The first offer of
 * permessage-deflate that can be accepted counts, over all fields: terms is changed only when
 * nothing is agreed yet. An offer with a parameter that is unknown, repeated, or has a bad value is
 * declined.
 */
bool ws_extensions_parse(struct str field, struct ws_deflate_terms *terms)
	__attribute__((warn_unused_result, nonnull));

/* The value of Sec-WebSocket-Extensions in the answer. */
void ws_extensions_format(const struct ws_deflate_terms *terms, char out[static WS_EXTENSIONS_MAX])
	__attribute__((nonnull));

#endif
