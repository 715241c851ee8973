/*
 * The event stream of a command: of the request that started it (the owner) and of those that look
 * on. All read the same hub; a line becomes an event when its end is seen, and carries as its id
 * the offset behind it. A stream that resumes after such an id re-cuts from the start of the lines
 * that were incomplete there and leaves out what ends at or before it: nothing is lost, nothing
 * comes twice.
 */
#include <assert.h>
#include <stdlib.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/linecut.h"
#include "boxd/loop.h"
#include "boxd/reply.h"
#include "boxd/stream.h"
#include "command_internal.h"

/* What one stream sends in one turn of the loop: some hundred microseconds of work. */
#define STREAM_TURN_BYTES 524288
/* Read from the hub at once: what an event costs beyond its text is bounded by this. */
#define STREAM_RUN_BYTES 65536

struct command_stream {
	struct op op;
	struct app *app;
	struct proc *proc;
	struct outhub_reader *reader; /* NULL: nothing to read */
	struct linecut cut[OUTHUB_STREAMS];
	uint64_t skip[OUTHUB_STREAMS]; /* bytes of a stream before this offset were seen in full */
	uint64_t since;                /* events that end at or before this offset were seen */
	uint64_t line_end;             /* where the last complete line ended */
	enum sse_form form;
	bool owner;
	bool kill_on_disconnect;
	struct loop_timer *ping;
	struct loop_deferred again;
	struct loop_deferred release;
};

/* ---- the end ---- */

static void stream_release(void *arg)
{
	struct command_stream *cs = arg;

	assert(cs->op.req == NULL);
	loop_defer_cancel(cs->app->loop, &cs->again);
	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		linecut_fini(&cs->cut[i]);
	proc_unref(cs->proc);
	cs->app->streams--;
	free(cs);
}

/* The op ends; the memory goes after this turn, because one of its own callbacks may be running. */
static void stream_finish(struct command_stream *cs)
{
	if (cs->reader != NULL)
		outhub_detach(cs->reader);
	cs->reader = NULL;
	loop_timer_free(cs->ping);
	cs->ping = NULL;
	op_end(&cs->op);
	loop_defer(cs->app->loop, &cs->release);
}

static void stream_on_cancel(struct op *op)
{
	struct command_stream *cs = (struct command_stream *)op;
	struct err e = {0};

	/* A command that has ended in the meantime needs no kill: that error is no error. */
	if (cs->kill_on_disconnect && proc_running(cs->proc))
		(void)!proc_stop(cs->proc, limit(LIMIT_PROC_GRACE_MS), &e);
	stream_finish(cs);
}

/* ---- output ---- */

/* One event for one text. True unless memory is out. */
static bool stream_put_text(struct command_stream *cs, struct buf *out,
	const struct outhub_run *run, uint64_t id, const uint8_t *text, size_t n)
{
	if (id <= cs->since && cs->since > 0)
		return true;
	return sse_text(out, cs->form, id, run->stream == OUTHUB_STDOUT ? "stdout" : "stderr", text,
		       n, run->time_ms) == 0;
}

/*
 * Cuts one run into events until it is used up or the queue is full; what is left of it is given
 * back to the reader. False: out of memory.
 */
static bool stream_put_run(
	struct command_stream *cs, struct buf *out, const struct outhub_run *run, size_t queue_max)
{
	struct linecut *cut = &cs->cut[run->stream];
	const uint8_t *in = run->data;
	size_t n = run->n;

	if (run->offset + n <= cs->skip[run->stream])
		return true;
	if (run->offset < cs->skip[run->stream]) {
		in += cs->skip[run->stream] - run->offset;
		n = (size_t)(run->offset + run->n - cs->skip[run->stream]);
	}
	while (n > 0) {
		const uint8_t *text;
		size_t text_n;

		switch (linecut_next(cut, &in, &n, &text, &text_n)) {
		case LINECUT_MORE: return true;
		case LINECUT_NO_MEM: return false;
		case LINECUT_TEXT: break;
		}
		/* After a split in front of a character, its first bytes are taken but not told
		 * yet. */
		cs->line_end = run->offset + (uint64_t)(in - run->data) - linecut_pending(cut);
		if (!stream_put_text(cs, out, run, cs->line_end, text, text_n))
			return false;
		if (buf_len(out) > queue_max) {
			outhub_unread(cs->reader, n);
			return true;
		}
	}
	return true;
}

/*
 * What was held back of both lines. The last of the tails gets the id; the first gets none, so that
 * who has only that one is given the other again.
 */
static bool stream_put_tails(struct command_stream *cs, struct buf *out, uint64_t id)
{
	bool both = linecut_pending(&cs->cut[OUTHUB_STDOUT]) > 0 &&
		    linecut_pending(&cs->cut[OUTHUB_STDERR]) > 0;

	for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
		const struct outhub_run tail = {
			.stream = (enum outhub_stream)i, .time_ms = clock_real_ms()};
		const uint8_t *text;
		size_t n;

		if (linecut_flush(&cs->cut[i], &text, &n) &&
			!stream_put_text(cs, out, &tail, both && i == 0 ? SSE_NO_ID : id, text, n))
			return false;
	}
	return true;
}

/*
 * The unterminated tails and the terminal event. The id of a tail is the end; but where a line of
 * the other stream has that id already, it is one more: who has only that line still gets the tail.
 */
static bool stream_put_end(struct command_stream *cs, struct buf *out)
{
	uint64_t end = outhub_reader_offset(cs->reader);
	uint64_t id = cs->line_end == end ? end + 1 : end;

	if (cs->since < id && !stream_put_tails(cs, out, id))
		return false;
	return command_event_end(out, cs->form, cs->proc) == 0;
}

/* A dropped middle: what was held back of either line is not continued, so it is told as it is. */
static bool stream_put_gap(struct command_stream *cs, struct buf *out, const struct outhub_run *run)
{
	return stream_put_tails(cs, out, run->offset - run->gap) &&
	       command_event_gap(out, cs->form, run->offset, run->gap) == 0;
}

/* Fills the open piece. Says what ended it: OUTHUB_DATA when the queue or the turn is full. */
static enum outhub_read stream_fill(
	struct command_stream *cs, struct buf *out, size_t *budget, bool *ok)
{
	size_t queue_max = buf_len(out) + stream_room(cs->op.req);

	while (*budget > 0 && buf_len(out) < queue_max) {
		struct outhub_run run = {0};
		enum outhub_read res = outhub_read(cs->reader, STREAM_RUN_BYTES, &run);
		size_t before = buf_len(out), sent;

		switch (res) {
		case OUTHUB_DATA:
			*ok = stream_put_run(cs, out, &run, queue_max);
			/* Bytes that only wait for the end of their line cost something as well. */
			sent = buf_len(out) - before + run.n / 8 + 1;
			*budget -= sent < *budget ? sent : *budget;
			break;
		case OUTHUB_GAP: *ok = stream_put_gap(cs, out, &run); break;
		case OUTHUB_END: *ok = stream_put_end(cs, out); return res;
		case OUTHUB_WAIT:
		case OUTHUB_GONE: return res;
		}
		if (!*ok)
			return res;
	}
	return OUTHUB_DATA;
}

/* Moves output to the client as far as the client, the hub and this turn allow. */
static void stream_pump(struct command_stream *cs)
{
	struct req *r = cs->op.req;
	size_t budget = STREAM_TURN_BYTES;
	enum outhub_read res = OUTHUB_DATA;
	bool ok = true;

	while (res == OUTHUB_DATA && budget > 0 && stream_room(r) > 0) {
		struct buf *out = stream_open(r);

		if (out == NULL)
			return; /* the client has gone: cancel() comes */
		res = stream_fill(cs, out, &budget, &ok);
		stream_commit(r);
		if (!ok) {
			stream_abort(r);
			return;
		}
		/* The end goes with the bytes before it. */
		if (res != OUTHUB_END)
			stream_flush(r);
	}
	if (res == OUTHUB_END) {
		stream_end(r);
		stream_finish(cs);
	} else if (res == OUTHUB_GONE) {
		stream_abort(r);
	} else if (res == OUTHUB_DATA && budget == 0) {
		loop_defer_bulk(cs->app->loop, &cs->again);
	}
}

static void stream_on_ready(void *arg)
{
	struct command_stream *cs = arg;

	if (cs->reader != NULL)
		stream_pump(cs);
}

static void stream_on_room(struct op *op)
{
	stream_on_ready(op);
}

static void stream_on_ping(void *arg)
{
	struct command_stream *cs = arg;
	struct req *r = cs->op.req;
	struct buf *out;

	/* A client with a full queue is known to be slow; a ping would tell it nothing. */
	if (stream_room(r) == 0 || (out = stream_open(r)) == NULL)
		return;
	if (command_event_ping(out, cs->form) < 0) {
		stream_abort(r);
		return;
	}
	stream_commit(r);
	stream_flush(r);
}

/* A write tells whether the client still reads. */
static void stream_on_half_closed(struct op *op)
{
	stream_on_ping(op);
}

/* ---- the beginning ---- */

static int stream_attach(struct command_stream *cs, struct err *e)
{
	struct outhub *hub = proc_hub(cs->proc);
	uint64_t from;

	/* One past the end is where the tail of a finished command was told. */
	uint64_t last = outhub_total(hub) + (outhub_finished(hub) ? 1 : 0);

	if (cs->since > last)
		cs->since = last;
	from = cs->since;
	if (cs->since > 0) {
		outhub_line_starts(hub, cs->since, cs->skip);
		for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
			/* One byte more: a CR there makes the LF that may follow part of its
			 * terminator. */
			if (cs->skip[i] >= cs->since)
				cs->skip[i] = cs->since - 1;
			if (cs->skip[i] < from)
				from = cs->skip[i];
		}
		/* What is no longer kept before `since` was delivered: no gap for it. */
		if (from < outhub_oldest(hub))
			from = outhub_oldest(hub) < cs->since ? outhub_oldest(hub) : cs->since;
	}
	cs->reader = outhub_attach(hub, from, OUTHUB_FOLLOW, stream_on_ready, cs);
	if (cs->reader == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (cs->owner)
		outhub_set_owner(cs->reader);
	return 0;
}

static struct command_stream *stream_new(
	struct app *app, const struct command_stream_opts *o, struct err *e)
{
	struct command_stream *cs;

	if (app->streams >= limit_size(LIMIT_STREAM_COUNT)) {
		err_set(e, &ERR_TOO_MANY, "too many event streams");
		return NULL;
	}
	cs = calloc(1, sizeof(*cs));
	if (cs == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	cs->app = app;
	cs->form = o->form;
	cs->since = o->since;
	cs->owner = o->owner;
	cs->kill_on_disconnect = o->kill_on_disconnect;
	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		linecut_init(&cs->cut[i], limit_size(LIMIT_STREAM_LINE_BYTES));
	loop_deferred_init(&cs->again, stream_on_ready, cs);
	loop_deferred_init(&cs->release, stream_release, cs);
	cs->proc = proc_ref(o->proc);
	if (!o->started_only && stream_attach(cs, e) == 0)
		cs->ping = loop_timer_new(
			app->loop, limit(LIMIT_STREAM_PING_MS), stream_on_ping, cs);
	if (!o->started_only && cs->ping == NULL) {
		if (e->kind == NULL)
			err_set(e, &ERR_UNAVAILABLE, "out of memory");
		if (cs->reader != NULL)
			outhub_detach(cs->reader);
		proc_unref(cs->proc);
		free(cs);
		return NULL;
	}
	app->streams++;
	return cs;
}

int command_stream_begin(
	struct req *r, struct app *app, const struct command_stream_opts *o, struct err *e)
{
	struct command_stream *cs = stream_new(app, o, e);
	struct buf *out;

	if (cs == NULL)
		return -1;
	op_begin(&cs->op, r, stream_on_cancel, stream_on_half_closed);
	reply_field(r, "Cache-Control", "no-cache");
	reply_field(r, "X-Accel-Buffering", "no");
	stream_start(r, 200, "text/event-stream", STREAM_CHUNKED, stream_on_room);
	out = stream_open(r);
	if (out == NULL)
		return 0; /* already gone: cancel() comes */
	if (command_event_init(out, o->form, o->proc) < 0 || command_event_ping(out, o->form) < 0 ||
		(o->started_only && (proc_start_error(o->proc) != NULL
						    ? command_event_end(out, o->form, o->proc)
						    : command_event_started(out, o->form)) < 0)) {
		stream_abort(r);
		return 0;
	}
	stream_commit(r);
	stream_flush(r);
	if (o->started_only) {
		stream_end(r);
		stream_finish(cs);
	} else {
		stream_pump(cs);
	}
	return 0;
}
