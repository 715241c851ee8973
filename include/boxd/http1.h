/*
 * The head of an HTTP/1.x request (RFC 9112, RFC 9110), strict: see DESIGN 3.1. Pure: bytes in,
 * offsets out. Refused: bare LF or CR, obs-fold, space before the colon, a name or method that is
 * no token, control characters in values, Content-Length with Transfer-Encoding, repeated, signed
 * or listed Content-Length, any transfer coding but a single `chunked`, Transfer-Encoding in
 * HTTP/1.0, missing (in 1.1), repeated or malformed Host, a target that is not origin-, absolute-
 * or asterisk-form, a fragment, bytes outside visible ASCII in the target.
 */
#ifndef BOXD_HTTP1_H
#define BOXD_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/err.h"
#include "boxd/str.h"

/* Methods boxd routes. Anything else that is a token is HTTP_OTHER. */
enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_DELETE,
	HTTP_PATCH,
	HTTP_OPTIONS,
	HTTP_OTHER
};

enum http_body { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED };

#define HTTP1_FIELDS_CAP 128 /* LIMIT_HTTP_FIELDS cannot exceed it */

struct http1_span {
	uint32_t off, len; /* within the bytes given to http1_parse() */
};

struct http1_field {
	struct http1_span name, value; /* value without surrounding white space */
};

struct http1_head {
	enum http_method method;
	struct http1_span method_name;
	struct http1_span target;
	struct http1_span path;  /* raw (still percent-encoded), starts with '/', or "*" */
	struct http1_span query; /* raw, without the '?'; len 0 when absent */
	struct http1_span host;  /* value of Host, or the authority of an absolute-form target */
	uint8_t minor;           /* HTTP/1.minor */
	enum http_body body;
	uint64_t content_length; /* with HTTP_BODY_LENGTH */
	bool keep_alive;         /* what the client allows (Connection, version) */
	bool expect_continue;
	uint16_t nfields;
	struct http1_field fields[HTTP1_FIELDS_CAP];
};

struct http1_limits {
	size_t head_bytes, target_bytes;
	uint16_t fields;
};

enum http1_result {
	HTTP1_MORE, /* the head is not complete */
	HTTP1_DONE, /* *head is filled; head_len bytes belong to it */
	HTTP1_BAD   /* *why is set; the connection cannot be kept */
};

/* The incremental part: how far the search for the end of the head has come. Zero to start. */
struct http1_scan {
	size_t seen;    /* bytes that need not be looked at again; 0 starts afresh */
	size_t line;    /* where the line that is not complete yet begins */
	uint32_t lines; /* complete lines, the request line first */
};

/*
 * Looks at all bytes that arrived since the request began. Leading empty lines (CRLF) are
 * allowed and belong to the head (RFC 9112 2.2), at most four. A bare LF, a bare CR, a NUL and a
 * limit that is passed are refused as soon as they show, everything else once the head is complete.
 * *why is one of ERR_BAD_REQUEST, ERR_HEAD_TOO_LARGE, ERR_URI_TOO_LONG, ERR_NOT_SUPPORTED (transfer
 * coding, CONNECT), ERR_EXPECTATION, ERR_HTTP_VERSION; *detail a literal for the client.
 */
enum http1_result http1_parse(struct http1_scan *scan, const uint8_t *data, size_t n,
	const struct http1_limits *lim, struct http1_head *head, size_t *head_len,
	const struct err_kind **why, const char **detail)
	__attribute__((warn_unused_result, nonnull));

/* The first field of this name (any case), or false. `base` is what was given to http1_parse(). */
bool http1_find(const struct http1_head *head, const uint8_t *base, const char *name,
	struct str *value) __attribute__((nonnull));

static inline struct str http1_str(const uint8_t *base, struct http1_span s)
{
	return (struct str){(const char *)base + s.off, s.len};
}

#endif
