/*
 * The event stream of something that runs (contract 2): of the request that started it (the owner)
 * and of those that look on. All read an output hub; a line becomes an event when its end is seen,
 * and carries as its id the offset behind it. A stream that resumes after such an id re-cuts from
 * the start of the lines that were incomplete there and leaves out what ends at or before it:
 * nothing is lost, nothing comes twice.
 */
#include <assert.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/reply.h"
#include "boxd/stream.h"
#include "run_internal.h"

/* What one stream sends in one turn of the loop: some hundred microseconds of work. */
#define STREAM_TURN_BYTES 524288
/* Read from the hub at once: what an event costs beyond its text is bounded by this. */
#define STREAM_RUN_BYTES 65536

/* ---- the end ---- */

static void run_stream_on_release(void *arg)
{
	struct run_stream *rs = arg;

	assert(rs->op.req == NULL);
	run_stream_fini(rs);
	rs->source->release(rs);
}

/* The op ends; the memory goes after this turn, because one of its own callbacks may be running. */
static void run_stream_finish(struct run_stream *rs)
{
	outhub_detach(rs->reader);
	rs->reader = NULL;
	loop_timer_free(rs->ping);
	rs->ping = NULL;
	op_end(&rs->op);
	loop_defer(rs->app->loop, &rs->release);
}

static void run_stream_on_cancel(struct op *op)
{
	struct run_stream *rs = (struct run_stream *)op;

	rs->source->gone(rs);
	run_stream_finish(rs);
}

/* ---- output ---- */

/* One event for one text. True unless memory is out. */
static bool run_stream_put_text(struct run_stream *rs, struct buf *out,
	const struct outhub_run *run, uint64_t id, const uint8_t *text, size_t n)
{
	if (id <= rs->since && rs->since > 0)
		return true;
	return sse_text(out, rs->form, id, run->stream == OUTHUB_STDOUT ? "stdout" : "stderr", text,
		       n, run->time_ms) == 0;
}

/*
 * Cuts one run into events until it is used up or the queue is full; what is left of it is given
 * back to the reader. False: out of memory.
 */
static bool run_stream_put_run(
	struct run_stream *rs, struct buf *out, const struct outhub_run *run, size_t queue_max)
{
	struct linecut *cut = &rs->cut[run->stream];
	const uint8_t *in = run->data;
	size_t n = run->n;

	if (run->offset + n <= rs->skip[run->stream])
		return true;
	if (run->offset < rs->skip[run->stream]) {
		in += rs->skip[run->stream] - run->offset;
		n = (size_t)(run->offset + run->n - rs->skip[run->stream]);
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
		rs->line_end = run->offset + (uint64_t)(in - run->data) - linecut_pending(cut);
		if (!run_stream_put_text(rs, out, run, rs->line_end, text, text_n))
			return false;
		if (buf_len(out) > queue_max) {
			outhub_unread(rs->reader, n);
			return true;
		}
	}
	return true;
}

/*
 * What was held back of both lines. The last of the tails gets the id; the first gets none, so that
 * who has only that one is given the other again.
 */
static bool run_stream_put_tails(struct run_stream *rs, struct buf *out, uint64_t id)
{
	bool both = linecut_pending(&rs->cut[OUTHUB_STDOUT]) > 0 &&
		    linecut_pending(&rs->cut[OUTHUB_STDERR]) > 0;

	for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
		const struct outhub_run tail = {
			.stream = (enum outhub_stream)i, .time_ms = clock_real_ms()};
		const uint8_t *text;
		size_t n;

		if (linecut_flush(&rs->cut[i], &text, &n) &&
			!run_stream_put_text(
				rs, out, &tail, both && i == 0 ? SSE_NO_ID : id, text, n))
			return false;
	}
	return true;
}

/*
 * The unterminated tails and the terminal event. The id of a tail is the end; but where a line of
 * the other stream has that id already, it is one more: who has only that line still gets the tail.
 */
static bool run_stream_put_end(struct run_stream *rs, struct buf *out)
{
	uint64_t end = outhub_reader_offset(rs->reader);
	uint64_t id = rs->line_end == end ? end + 1 : end;

	if (rs->since < id && !run_stream_put_tails(rs, out, id))
		return false;
	return rs->source->put_end(rs, out) == 0;
}

/* A dropped middle: what was held back of either line is not continued, so it is told as it is. */
static bool run_stream_put_gap(struct run_stream *rs, struct buf *out, const struct outhub_run *run)
{
	return run_stream_put_tails(rs, out, run->offset - run->gap) &&
	       run_event_gap(out, rs->form, run->offset, run->gap) == 0;
}

/* Fills the open piece. Says what ended it: OUTHUB_DATA when the queue or the turn is full. */
static enum outhub_read run_stream_fill(
	struct run_stream *rs, struct buf *out, size_t *budget, bool *ok)
{
	size_t queue_max = buf_len(out) + stream_room(rs->op.req);

	while (*budget > 0 && buf_len(out) < queue_max) {
		struct outhub_run run = {0};
		enum outhub_read res = outhub_read(rs->reader, STREAM_RUN_BYTES, &run);
		size_t before = buf_len(out), sent;

		switch (res) {
		case OUTHUB_DATA:
			*ok = run_stream_put_run(rs, out, &run, queue_max);
			/* Bytes that only wait for the end of their line cost something as well. */
			sent = buf_len(out) - before + run.n / 8 + 1;
			*budget -= sent < *budget ? sent : *budget;
			break;
		case OUTHUB_GAP: *ok = run_stream_put_gap(rs, out, &run); break;
		case OUTHUB_END: *ok = run_stream_put_end(rs, out); return res;
		case OUTHUB_WAIT:
		case OUTHUB_GONE: return res;
		}
		if (!*ok)
			return res;
	}
	return OUTHUB_DATA;
}

/* Moves output to the client as far as the client, the hub and this turn allow. */
static void run_stream_pump(struct run_stream *rs)
{
	struct req *r = rs->op.req;
	size_t budget = STREAM_TURN_BYTES;
	enum outhub_read res = OUTHUB_DATA;
	bool ok = true;

	while (res == OUTHUB_DATA && budget > 0 && stream_room(r) > 0) {
		struct buf *out = stream_open(r);

		if (out == NULL)
			return; /* the client has gone: cancel() comes */
		res = run_stream_fill(rs, out, &budget, &ok);
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
		run_stream_finish(rs);
	} else if (res == OUTHUB_GONE) {
		stream_abort(r);
	} else if (res == OUTHUB_DATA && budget == 0) {
		loop_defer_bulk(rs->app->loop, &rs->again);
	}
}

static void run_stream_on_ready(void *arg)
{
	struct run_stream *rs = arg;

	if (rs->reader != NULL)
		run_stream_pump(rs);
}

static void run_stream_on_room(struct op *op)
{
	run_stream_on_ready(op);
}

static void run_stream_on_ping(void *arg)
{
	struct run_stream *rs = arg;
	struct req *r = rs->op.req;
	struct buf *out;

	/* A client with a full queue is known to be slow; a ping would tell it nothing. */
	if (stream_room(r) == 0 || (out = stream_open(r)) == NULL)
		return;
	if (run_event_ping(out, rs->form) < 0) {
		stream_abort(r);
		return;
	}
	stream_commit(r);
	stream_flush(r);
}

/* A write tells whether the client still reads. */
static void run_stream_on_half_closed(struct op *op)
{
	run_stream_on_ping(op);
}

/* ---- the beginning ---- */

int run_stream_init(struct run_stream *rs, struct app *app, const struct run_source *source,
	enum sse_form form, struct err *e)
{
	if (app->streams >= limit_size(LIMIT_STREAM_COUNT))
		return err_set(e, &ERR_TOO_MANY, "too many event streams");
	*rs = (struct run_stream){.app = app, .source = source, .form = form};
	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		linecut_init(&rs->cut[i], limit_size(LIMIT_STREAM_LINE_BYTES));
	loop_deferred_init(&rs->again, run_stream_on_ready, rs);
	loop_deferred_init(&rs->release, run_stream_on_release, rs);
	rs->ping = loop_timer_new(app->loop, limit(LIMIT_STREAM_PING_MS), run_stream_on_ping, rs);
	if (rs->ping == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	app->streams++;
	return 0;
}

void run_stream_fini(struct run_stream *rs)
{
	outhub_detach(rs->reader);
	loop_timer_free(rs->ping);
	loop_defer_cancel(rs->app->loop, &rs->again);
	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		linecut_fini(&rs->cut[i]);
	rs->app->streams--;
}

int run_stream_attach(struct run_stream *rs, struct outhub *hub, uint64_t from, struct err *e)
{
	assert(rs->reader == NULL);
	rs->reader = outhub_attach(hub, from, OUTHUB_FOLLOW, run_stream_on_ready, rs);
	if (rs->reader == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (rs->op.req != NULL)
		loop_defer_bulk(rs->app->loop, &rs->again);
	return 0;
}

int run_stream_resume(struct run_stream *rs, struct outhub *hub, uint64_t since, struct err *e)
{
	/* One past the end is where the tail of a finished command was told. */
	uint64_t last = outhub_total(hub) + (outhub_finished(hub) ? 1 : 0);
	uint64_t from;

	rs->since = since < last ? since : last;
	from = rs->since;
	if (rs->since > 0) {
		outhub_line_starts(hub, rs->since, rs->skip);
		for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
			/* One byte more: a CR there makes the LF that may follow part of its
			 * terminator. */
			if (rs->skip[i] >= rs->since)
				rs->skip[i] = rs->since - 1;
			if (rs->skip[i] < from)
				from = rs->skip[i];
		}
		/* What is no longer kept before `since` was delivered: no gap for it. */
		if (from < outhub_oldest(hub))
			from = outhub_oldest(hub) < rs->since ? outhub_oldest(hub) : rs->since;
	}
	return run_stream_attach(rs, hub, from, e);
}

void run_stream_own(struct run_stream *rs)
{
	if (rs->reader != NULL)
		outhub_queue_owner(rs->reader);
}

void run_stream_bound(struct run_stream *rs, uint64_t end)
{
	if (rs->reader != NULL)
		outhub_set_bound(rs->reader, end);
}

void run_stream_begin(struct run_stream *rs, struct req *r, const char *id)
{
	struct buf *out;

	op_begin(&rs->op, r, run_stream_on_cancel, run_stream_on_half_closed);
	reply_field(r, "Cache-Control", "no-cache");
	reply_field(r, "X-Accel-Buffering", "no");
	stream_start(r, 200, "text/event-stream", STREAM_CHUNKED, run_stream_on_room);
	out = stream_open(r);
	if (out == NULL)
		return; /* already gone: cancel() comes */
	if (run_event_init(out, rs->form, id) < 0 || run_event_ping(out, rs->form) < 0) {
		stream_abort(r);
		return;
	}
	stream_commit(r);
	stream_flush(r);
	if (rs->reader != NULL)
		run_stream_pump(rs);
}

void run_stream_end(struct run_stream *rs)
{
	struct req *r = rs->op.req;
	struct buf *out = stream_open(r);

	if (out == NULL)
		return;
	if (rs->source->put_end(rs, out) < 0) {
		stream_abort(r);
		return;
	}
	stream_commit(r);
	stream_end(r);
	run_stream_finish(rs);
}
