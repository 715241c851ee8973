/*
 * Events of an execution stream (contract 2): one JSON object each, framed for Server-Sent Events
 * (`id: N`, `data: {...}`, blank line) or in the reference's bare form (object, blank line).
 */
#ifndef BOXD_SSE_H
#define BOXD_SSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"
#include "boxd/jsonw.h"
#include "boxd/str.h"

enum sse_form {
	SSE_BARE,    /* the reference's: JSON, LF, LF */
	SSE_STANDARD /* the WHATWG event stream format */
};

/* By the request's Accept field: standard when it names text/event-stream, bare otherwise. */
enum sse_form sse_form_of(struct str accept);

#define SSE_NO_ID UINT64_MAX

/*
 * Opens an event: framing, id (unless SSE_NO_ID) and `{"type":"..."`; the caller adds members
 * through w and closes with sse_end(), which writes the timestamp and the frame's end.
 */
void sse_begin(struct jsonw *w, struct buf *out, enum sse_form form, uint64_t id, const char *type);
int sse_end(struct jsonw *w, enum sse_form form, int64_t timestamp_ms)
	__attribute__((warn_unused_result));

/*
 * The hot path: a whole stdout or stderr event. `type` is a literal. 0, or -1 when memory is out
 * (the buffer is then as it was).
 */
int sse_text(struct buf *out, enum sse_form form, uint64_t id, const char *type,
	const uint8_t *text, size_t n, int64_t timestamp_ms) __attribute__((warn_unused_result));

#endif
