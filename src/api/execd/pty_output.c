/*
 * The output of a terminal as an event stream, for clients without WebSocket: stdout and stderr
 * events whose id is the offset behind them, `gap`, and `exit`, which ends the stream. Output is
 * passed on as it comes and not cut into lines; only a character that is not complete waits for its
 * rest. With `encoding=base64` the events carry the bytes as they are.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/base64.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/reply.h"
#include "boxd/stream.h"
#include "boxd/utf8.h"
#include "pty_internal.h"
#include "run_internal.h"

#define PTY_OUTPUT_PIECE      32768
#define PTY_OUTPUT_TURN_BYTES 524288

struct pty_output {
	struct op op;
	struct app *app;
	struct pty_viewer *viewer;
	struct outhub_reader *reader;
	enum sse_form form;
	bool base64;
	bool exited;
	int exit_code;
	uint64_t end;              /* of the output of the shell that exited */
	enum outhub_stream stream; /* of what is held */
	uint8_t held[3];           /* the beginning of a character */
	size_t nheld;
	struct loop_timer *ping;
	struct loop_deferred again;
	struct loop_deferred release;
};

/* ---- the end ---- */

static void output_on_release(void *arg)
{
	struct pty_output *o = arg;

	assert(o->op.req == NULL);
	loop_defer_cancel(o->app->loop, &o->again);
	o->app->streams--;
	free(o);
}

static void output_finish(struct pty_output *o)
{
	outhub_detach(o->reader);
	o->reader = NULL;
	pty_detach(o->viewer);
	o->viewer = NULL;
	loop_timer_free(o->ping);
	o->ping = NULL;
	op_end(&o->op);
	loop_defer(o->app->loop, &o->release);
}

static void output_on_cancel(struct op *op)
{
	output_finish((struct pty_output *)op);
}

/* ---- events ---- */

static int output_put(
	struct pty_output *o, struct buf *out, uint64_t id, const uint8_t *data, size_t n)
{
	const char *type = o->stream == OUTHUB_STDERR ? "stderr" : "stdout";
	struct buf text = {0};
	struct jsonw w;
	int res;

	if (n == 0)
		return 0;
	if (!o->base64)
		return sse_text(out, o->form, id, type, data, n, clock_real_ms());
	if (base64_encode(data, n, &text) < 0)
		return -1;
	sse_begin(&w, out, o->form, id, type);
	jsonw_key(&w, "data_base64");
	jsonw_str_n(&w, buf_data(&text), buf_len(&text));
	res = sse_end(&w, o->form, clock_real_ms());
	buf_fini(&text);
	return res;
}

/* What will not be completed is told as it is. */
static int output_put_held(struct pty_output *o, struct buf *out, uint64_t id)
{
	size_t n = o->nheld;

	o->nheld = 0;
	return output_put(o, out, id, o->held, n);
}

/* One run, behind what was held of the one before. */
static int output_put_run(struct pty_output *o, struct buf *out, const struct outhub_run *run)
{
	uint64_t end = run->offset + run->n;
	uint8_t *data;
	size_t n, tail = 0, cap;

	if (o->nheld > 0 && run->stream != o->stream && output_put_held(o, out, run->offset) < 0)
		return -1;
	n = o->nheld + run->n;
	data = loop_scratch(o->app->loop, &cap);
	assert(n <= cap);
	memcpy(data, o->held, o->nheld);
	memcpy(data + o->nheld, run->data, run->n);
	o->stream = run->stream;
	if (!o->base64)
		tail = utf8_incomplete_tail(data, n);
	o->nheld = tail;
	memcpy(o->held, data + n - tail, tail);
	return output_put(o, out, end - tail, data, n - tail);
}

static int output_put_exit(const struct pty_output *o, struct buf *out)
{
	struct jsonw w;

	sse_begin(&w, out, o->form, SSE_NO_ID, "exit");
	jsonw_key(&w, "exit_code");
	jsonw_int(&w, o->exit_code);
	return sse_end(&w, o->form, clock_real_ms());
}

/* ---- the pump ---- */

/* Fills the open piece with what one read gives. */
static enum outhub_read output_fill(struct pty_output *o, struct buf *out, bool *ok)
{
	struct outhub_run run;
	enum outhub_read res = outhub_read(o->reader, PTY_OUTPUT_PIECE, &run);

	switch (res) {
	case OUTHUB_DATA: *ok = output_put_run(o, out, &run) == 0; break;
	case OUTHUB_GAP:
		*ok = output_put_held(o, out, run.offset - run.gap) == 0 &&
		      run_event_gap(out, o->form, run.offset, run.gap) == 0;
		break;
	case OUTHUB_END:
		*ok = output_put_held(o, out, outhub_reader_offset(o->reader)) == 0 &&
		      output_put_exit(o, out) == 0;
		break;
	case OUTHUB_WAIT:
	case OUTHUB_GONE: break;
	}
	return res;
}

static void output_pump(struct pty_output *o)
{
	struct req *r = o->op.req;
	size_t budget = PTY_OUTPUT_TURN_BYTES / PTY_OUTPUT_PIECE;
	enum outhub_read res = OUTHUB_DATA;
	bool ok = true;

	while ((res == OUTHUB_DATA || res == OUTHUB_GAP) && budget-- > 0 && stream_room(r) > 0) {
		struct buf *out = stream_open(r);

		if (out == NULL)
			return; /* the client has gone: cancel() comes */
		res = output_fill(o, out, &ok);
		stream_commit(r);
		if (!ok || res == OUTHUB_GONE) {
			stream_abort(r);
			return;
		}
	}
	if (res == OUTHUB_END) {
		stream_end(r);
		output_finish(o);
	} else if (res != OUTHUB_WAIT && stream_room(r) > 0) {
		loop_defer_bulk(o->app->loop, &o->again);
	}
}

static void output_on_ready(void *arg)
{
	struct pty_output *o = arg;

	if (o->reader != NULL)
		output_pump(o);
}

static void output_on_room(struct op *op)
{
	output_on_ready(op);
}

static void output_on_ping(void *arg)
{
	struct pty_output *o = arg;
	struct buf *out;

	if (stream_room(o->op.req) == 0 || (out = stream_open(o->op.req)) == NULL)
		return;
	if (run_event_ping(out, o->form) < 0) {
		stream_abort(o->op.req);
		return;
	}
	stream_commit(o->op.req);
	stream_flush(o->op.req);
}

static void output_on_half_closed(struct op *op)
{
	output_on_ping(op);
}

/* ---- the terminal ---- */

/* Pumped at once: when the terminal is being removed, that is told next, and ends the output. */
static void output_on_exit(uint64_t end, int code, void *arg)
{
	struct pty_output *o = arg;

	o->exited = true;
	o->exit_code = code;
	o->end = end;
	if (o->reader == NULL)
		return;
	outhub_set_bound(o->reader, end);
	if (o->op.req != NULL)
		output_pump(o);
}

/* What the client would have got, had it been faster. */
static int output_put_lost(struct pty_output *o, struct buf *out)
{
	uint64_t at = outhub_reader_offset(o->reader);

	if (output_put_held(o, out, at) < 0)
		return -1;
	return at < o->end ? run_event_gap(out, o->form, o->end, o->end - at) : 0;
}

/* What is in the hub goes with the terminal: its end is told now, or there will be none. */
static void output_on_removed(void *arg)
{
	struct pty_output *o = arg;
	struct buf *out;

	if (o->reader == NULL)
		return;
	out = stream_open(o->op.req);
	if (out == NULL)
		return;
	if (o->exited && (output_put_lost(o, out) < 0 || output_put_exit(o, out) < 0)) {
		stream_abort(o->op.req);
		return;
	}
	stream_commit(o->op.req);
	stream_end(o->op.req);
	output_finish(o);
}

static const struct pty_viewer_callbacks output_viewer_callbacks = {
	.on_exit = output_on_exit, .on_removed = output_on_removed};

/* ---- the request ---- */

static struct pty_output *output_new(struct app *app, struct err *e)
{
	struct pty_output *o;

	if (app->streams >= limit_size(LIMIT_STREAM_COUNT)) {
		err_set(e, &ERR_TOO_MANY, "too many event streams");
		return NULL;
	}
	o = calloc(1, sizeof(*o));
	if (o == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	o->app = app;
	loop_deferred_init(&o->again, output_on_ready, o);
	loop_deferred_init(&o->release, output_on_release, o);
	return o;
}

static int output_attach(struct pty_output *o, struct pty *t, uint64_t since, struct err *e)
{
	struct pty_info info;

	o->viewer = pty_attach(t, PTY_OBSERVE, &output_viewer_callbacks, o, e);
	if (o->viewer == NULL)
		return -1;
	o->reader = outhub_attach(pty_hub(t), since, OUTHUB_FOLLOW, output_on_ready, o);
	o->ping = loop_timer_new(o->app->loop, limit(LIMIT_STREAM_PING_MS), output_on_ping, o);
	if (o->reader == NULL || o->ping == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	/* A shell that has ended already ends this stream as well. */
	pty_info(t, &info);
	if (info.ended && !info.running)
		output_on_exit(info.output_offset, info.exit_code, o);
	return 0;
}

static void output_begin(struct pty_output *o, struct req *r, const char *id)
{
	struct buf *out;

	op_begin(&o->op, r, output_on_cancel, output_on_half_closed);
	o->app->streams++;
	reply_field(r, "Cache-Control", "no-cache");
	reply_field(r, "X-Accel-Buffering", "no");
	stream_start(r, 200, "text/event-stream", STREAM_CHUNKED, output_on_room);
	out = stream_open(r);
	if (out == NULL)
		return;
	if (run_event_init(out, o->form, id) < 0 || run_event_ping(out, o->form) < 0) {
		stream_abort(r);
		return;
	}
	stream_commit(r);
	stream_flush(r);
	output_pump(o);
}

static int output_since(const struct req *r, struct pty *t, uint64_t *since, struct err *e)
{
	struct str last = req_field(r, "last-event-id");

	*since = pty_query_since(r, pty_hub(t));
	/* What a browser's EventSource sends when it reconnects counts more than its URL. */
	if (last.p != NULL && last.n > 0 && !str_u64(last, since))
		return err_set(e, &ERR_BAD_QUERY, "Last-Event-ID must be a byte offset");
	return 0;
}

int pty_get_output(struct req *r, const struct route_match *m, struct err *e)
{
	struct pty *t = pty_of(m, e);
	struct pty_output *o;
	struct pty_info info;
	uint64_t since;

	if (t == NULL || output_since(r, t, &since, e) < 0)
		return -1;
	if (req_method(r) == HTTP_HEAD) {
		reply_head(r, 200, "text/event-stream", STREAM_CHUNKED);
		return 0;
	}
	o = output_new(m->app, e);
	if (o == NULL)
		return -1;
	o->form = sse_form_of(req_field(r, "accept"));
	o->base64 = pty_query_is(r, "encoding", "base64");
	if (output_attach(o, t, since, e) < 0) {
		outhub_detach(o->reader);
		pty_detach(o->viewer);
		loop_timer_free(o->ping);
		free(o);
		return -1;
	}
	pty_info(t, &info);
	output_begin(o, r, info.id);
	return 0;
}
