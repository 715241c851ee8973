/* The events of a command's stream that are not output (contract 2.2, 2.3). */
#include <stdio.h>

#include "boxd/clock.h"
#include "command_internal.h"

#define EVENT_TEXT_MAX 512

static int event_simple(struct buf *out, enum sse_form form, const char *type, const char *text)
{
	struct jsonw w;

	sse_begin(&w, out, form, SSE_NO_ID, type);
	if (text != NULL) {
		jsonw_key(&w, "text");
		jsonw_str(&w, text);
	}
	return sse_end(&w, form, clock_real_ms());
}

int command_event_init(struct buf *out, enum sse_form form, const struct proc *p)
{
	return event_simple(out, form, "init", proc_id(p));
}

int command_event_ping(struct buf *out, enum sse_form form)
{
	return event_simple(out, form, "ping", "pong");
}

int command_event_started(struct buf *out, enum sse_form form)
{
	return event_simple(out, form, "execution_complete", NULL);
}

/* No text: a client that does not know the type would take the text for output. */
int command_event_gap(struct buf *out, enum sse_form form, uint64_t id, uint64_t dropped)
{
	struct jsonw w;

	sse_begin(&w, out, form, id, "gap");
	jsonw_key(&w, "dropped_bytes");
	jsonw_int(&w, (int64_t)dropped);
	return sse_end(&w, form, clock_real_ms());
}

static int event_error(
	struct buf *out, enum sse_form form, const char *evalue, const char *traceback)
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

int command_event_end(struct buf *out, enum sse_form form, const struct proc *p)
{
	const struct proc_exit *x = proc_exit_record(p);
	char text[EVENT_TEXT_MAX], code[16];
	struct jsonw w;

	if (proc_start_error(p) != NULL)
		return event_error(out, form, proc_start_error(p), proc_start_error(p));
	if (x->code == 0 && !x->timed_out) {
		sse_begin(&w, out, form, SSE_NO_ID, "execution_complete");
		jsonw_key(&w, "execution_time");
		jsonw_int(&w, x->wall_ms);
		return sse_end(&w, form, clock_real_ms());
	}
	proc_describe(p, text, sizeof(text));
	/* A command that its timeout ended has no exit code of its own, whatever its handler said.
	 */
	snprintf(code, sizeof(code), "%d", x->timed_out ? -1 : x->code);
	return event_error(out, form, code, text);
}
