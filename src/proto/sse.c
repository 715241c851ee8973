/*
 * sse: the events of an execution stream.
 *
 * sse_text() carries the output of commands and is written for that: the fixed parts go into room
 * that is reserved once, the text is escaped in place behind them. The other events are few and
 * come through the JSON writer.
 */
#include "boxd/sse.h"

#include <string.h>

#include "jsonw_internal.h"

/* `id: `, the number, LF, `data: `. */
#define SSE_FRAME_MAX (4 + JSONW_INT_MAX + 1 + 6)

#define SSE_TYPE      "{\"type\":\""
#define SSE_TEXT      "\",\"text\":\""
#define SSE_TIMESTAMP "\",\"timestamp\":"
#define SSE_END       "}\n\n"

/* Appends a literal without its NUL. */
#define SSE_PUT(at, literal) sse_put((at), (literal), sizeof(literal) - 1)

static inline uint8_t *sse_put(uint8_t *at, const char *s, size_t n)
{
	memcpy(at, s, n);
	return at + n;
}

enum sse_form sse_form_of(struct str accept)
{
	struct str element;

	while (str_list_next(&accept, &element)) {
		size_t n = 0;

		/* Parameters (q, charset) do not matter here. */
		while (n < element.n && strchr("; \t", element.p[n]) == NULL)
			n++;
		if (str_ieq((struct str){element.p, n}, STR("text/event-stream")))
			return SSE_STANDARD;
	}
	return SSE_BARE;
}

/* What stands in front of the object. */
static uint8_t *sse_put_frame(uint8_t *at, enum sse_form form, uint64_t id)
{
	if (form == SSE_BARE)
		return at;
	if (id != SSE_NO_ID) {
		at = SSE_PUT(at, "id: ");
		at = jsonw_put_u64(at, id);
		*at++ = '\n';
	}
	return SSE_PUT(at, "data: ");
}

void sse_begin(struct jsonw *w, struct buf *out, enum sse_form form, uint64_t id, const char *type)
{
	uint8_t frame[SSE_FRAME_MAX];
	size_t n = (size_t)(sse_put_frame(frame, form, id) - frame);

	jsonw_begin(w, out);
	if (n > 0 && buf_add(out, frame, n) < 0)
		w->failed = true;
	jsonw_object(w);
	jsonw_key(w, "type");
	jsonw_str(w, type);
}

int sse_end(struct jsonw *w, enum sse_form form, int64_t timestamp_ms)
{
	(void)form; /* both end in a blank line */
	jsonw_key(w, "timestamp");
	jsonw_int(w, timestamp_ms);
	jsonw_object_end(w);
	if (!w->failed && buf_add_str(w->out, "\n\n") < 0)
		w->failed = true;
	return jsonw_end(w);
}

static int sse_text_head(struct buf *out, enum sse_form form, uint64_t id, const char *type)
{
	size_t type_n = strlen(type);
	uint8_t *start = buf_reserve(out, SSE_FRAME_MAX + sizeof(SSE_TYPE SSE_TEXT) + type_n);
	uint8_t *at = start;

	if (start == NULL)
		return -1;
	at = sse_put_frame(at, form, id);
	at = SSE_PUT(at, SSE_TYPE);
	at = sse_put(at, type, type_n);
	at = SSE_PUT(at, SSE_TEXT);
	buf_commit(out, (size_t)(at - start));
	return 0;
}

static int sse_text_end(struct buf *out, int64_t timestamp_ms)
{
	uint8_t *start = buf_reserve(out, sizeof(SSE_TIMESTAMP SSE_END) + JSONW_INT_MAX);
	uint8_t *at = start;

	if (start == NULL)
		return -1;
	at = SSE_PUT(at, SSE_TIMESTAMP);
	at = jsonw_put_i64(at, timestamp_ms);
	at = SSE_PUT(at, SSE_END);
	buf_commit(out, (size_t)(at - start));
	return 0;
}

int sse_text(struct buf *out, enum sse_form form, uint64_t id, const char *type,
	const uint8_t *text, size_t n, int64_t timestamp_ms)
{
	size_t before = buf_len(out);

	if (sse_text_head(out, form, id, type) < 0 || jsonw_escape(out, text, n) < 0 ||
		sse_text_end(out, timestamp_ms) < 0) {
		/* Half an event must not stay. The content may have moved, its length tells. */
		out->tail = out->head + before;
		return -1;
	}
	return 0;
}
