/*
 * The head of an HTTP/1.x response (RFC 9112), as strict as http1.h is with requests. Pure: bytes
 * in, offsets out. Refused: anything that does not begin with HTTP/1., a status outside 100..599,
 * bare LF or CR, obs-fold, a name that is no token, control characters, Content-Length with
 * Transfer-Encoding, a repeated, signed or listed Content-Length, any transfer coding but a single
 * `chunked`, Transfer-Encoding in HTTP/1.0. White space before a colon is taken off, as RFC 9112
 * 5.1 asks of a proxy, and a status line may lack its reason.
 */
#ifndef BOXD_HTTP1_RESPONSE_H
#define BOXD_HTTP1_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/http1.h"

/* Where the body ends (RFC 9112 6.3). */
enum http1_framing {
	HTTP1_FRAMING_NONE, /* no body: 1xx, 204, 304, the answer to HEAD */
	HTTP1_FRAMING_LENGTH,
	HTTP1_FRAMING_CHUNKED,
	HTTP1_FRAMING_CLOSE /* with the connection */
};

struct http1_response {
	uint16_t status;
	uint8_t minor; /* HTTP/1.minor */
	enum http1_framing framing;
	bool has_length;         /* Content-Length was there, also where there is no body */
	uint64_t content_length; /* its value, or 0 */
	/*
	 * The connection may carry another exchange after this body. False too where a body must
	 * not be and is announced all the same: what follows might be its bytes.
	 */
	bool keep_alive;
	uint16_t nfields;
	struct http1_field fields[HTTP1_FIELDS_CAP];
};

/*
 * Looks at all bytes that arrived since the response began; lim->target_bytes is not used. With
 * to_head the response answers a HEAD. What cannot be HTTP, a bare LF and a limit that is passed
 * are refused as soon as they show, everything else once the head is complete. *detail is a literal
 * that says why. The scan as for http1_parse().
 */
enum http1_result http1_response_parse(struct http1_scan *scan, const uint8_t *data, size_t n,
	const struct http1_limits *lim, bool to_head, struct http1_response *head, size_t *head_len,
	const char **detail) __attribute__((warn_unused_result, nonnull(1, 4, 6, 7, 8)));

#endif
