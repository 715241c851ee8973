/* The events of a run's stream that are not output (contract 2.2, 2.3). */
#include "boxd/clock.h"
#include "run_internal.h"

static int run_event_simple(struct buf *out, enum sse_form form, const char *type, const char *text)
{
	struct jsonw w;

	sse_begin(&w, out, form, SSE_NO_ID, type);
	jsonw_key(&w, "text");
	jsonw_str(&w, text);
	return sse_end(&w, form, clock_real_ms());
}

int run_event_init(struct buf *out, enum sse_form form, const char *id)
{
	return run_event_simple(out, form, "init", id);
}

int run_event_ping(struct buf *out, enum sse_form form)
{
	return run_event_simple(out, form, "ping", "pong");
}

int run_event_complete(struct buf *out, enum sse_form form, int64_t time_ms)
{
	struct jsonw w;

	sse_begin(&w, out, form, SSE_NO_ID, "execution_complete");
	if (time_ms >= 0) {
		jsonw_key(&w, "execution_time");
		jsonw_int(&w, time_ms);
	}
	return sse_end(&w, form, clock_real_ms());
}

/* No text: a client that does not know the type would take the text for output. */
int run_event_gap(struct buf *out, enum sse_form form, uint64_t id, uint64_t dropped)
{
	struct jsonw w;

	sse_begin(&w, out, form, id, "gap");
	jsonw_key(&w, "dropped_bytes");
	jsonw_int(&w, (int64_t)dropped);
	return sse_end(&w, form, clock_real_ms());
}

int run_event_error(struct buf *out, enum sse_form form, const char *evalue, const char *traceback)
{
	struct jsonw w;

	sse_begin(&w, out, form, SSE_NO_ID, "error");
	jsonw_key(&w, "error");
	jsonw_object(&w);
	jsonw_key(&w, "ename");
	jsonw_str(&w, "CommandExecError");
	jsonw_key(&w, "evalue");
	jsonw_str(&w, evalue);
	jsonw_key(&w, "traceback");
	jsonw_array(&w);
	jsonw_str(&w, traceback);
	jsonw_array_end(&w);
	jsonw_object_end(&w);
	return sse_end(&w, form, clock_real_ms());
}
