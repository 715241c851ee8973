/*
 * The log of a command as bytes (contract 1.22): from a cursor to the end as it is now, or to the
 * next gap. The next cursor goes out in the head, before the first byte, so the range has to be
 * known to be there. For a log that may soon drop its oldest bytes, because its command still
 * writes and the limit is near, a bounded part is collected first and answered as a whole; anything
 * else is streamed. Should a streamed range be broken all the same, the connection is cut, not the
 * range bent.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "boxd/limits.h"
#include "boxd/loop.h"
#include "boxd/reply.h"
#include "boxd/stream.h"
#include "boxd/utf8.h"
#include "command_internal.h"

#define LOGS_TYPE       "text/plain; charset=utf-8"
#define LOGS_TURN_BYTES 1048576
/* The most that is collected for one answer; its next cursor leads on. */
#define LOGS_COLLECT_BYTES 1048576

struct command_logs {
	struct op op;
	struct proc *proc;
	struct outhub_reader *reader;
	bool collecting;
	struct buf collected;
	uint64_t next; /* offset behind what was collected */
	uint64_t gap;  /* dropped before it */
	struct loop *loop;
	struct loop_deferred again;
	struct loop_deferred release;
};

static void logs_release(void *arg)
{
	struct command_logs *cl = arg;

	loop_defer_cancel(cl->loop, &cl->again);
	proc_unref(cl->proc);
	buf_fini(&cl->collected);
	free(cl);
}

static void logs_finish(struct op *op)
{
	struct command_logs *cl = (struct command_logs *)op;

	outhub_detach(cl->reader);
	cl->reader = NULL;
	op_end(&cl->op);
	loop_defer(cl->loop, &cl->release);
}

static void logs_fields(struct req *r, uint64_t next, uint64_t gap)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, next);
	reply_field(r, "EXECD-COMMANDS-TAIL-CURSOR", text);
	if (gap > 0) {
		snprintf(text, sizeof(text), "%" PRIu64, gap);
		reply_field(r, "EXECD-COMMANDS-GAP-BYTES", text);
	}
}

/* ---- streamed ---- */

static void logs_stream(struct command_logs *cl)
{
	struct req *r = cl->op.req;
	size_t budget = LOGS_TURN_BYTES, room;

	while ((room = stream_room(r)) > 0 && budget > 0) {
		struct outhub_run run;
		struct buf *out;

		switch (outhub_read(cl->reader, room < budget ? room : budget, &run)) {
		case OUTHUB_DATA: break;
		case OUTHUB_WAIT: return;
		case OUTHUB_END:
			stream_end(r);
			logs_finish(&cl->op);
			return;
		case OUTHUB_GAP:
		case OUTHUB_GONE: stream_abort(r); return;
		}
		budget -= run.n;
		out = stream_open(r);
		if (out == NULL)
			return;
		if (buf_add(out, run.data, run.n) < 0) {
			stream_abort(r);
			return;
		}
		stream_commit(r);
		stream_flush(r);
	}
	if (budget == 0)
		loop_defer_bulk(cl->loop, &cl->again);
}

/* ---- collected ---- */

static void logs_answer(struct command_logs *cl)
{
	struct req *r = cl->op.req;

	/* The range ended where the log did, unless it is full: then the rest comes with the next.
	 */
	if (buf_len(&cl->collected) == LOGS_COLLECT_BYTES) {
		size_t tail = utf8_incomplete_tail(buf_data(&cl->collected), LOGS_COLLECT_BYTES);

		cl->collected.tail -= tail;
		cl->next -= tail;
	}
	logs_fields(r, cl->next, cl->gap);
	reply_body(r, 200, LOGS_TYPE, buf_data(&cl->collected), buf_len(&cl->collected));
	logs_finish(&cl->op);
}

/* A gap at the beginning is counted; one behind it ends the part. */
static void logs_collect(struct command_logs *cl)
{
	while (buf_len(&cl->collected) < LOGS_COLLECT_BYTES) {
		struct outhub_run run;
		enum outhub_read res = outhub_read(
			cl->reader, LOGS_COLLECT_BYTES - buf_len(&cl->collected), &run);

		if (res == OUTHUB_WAIT)
			return;
		if (res == OUTHUB_GAP && buf_len(&cl->collected) == 0) {
			cl->gap += run.gap;
			cl->next = run.offset;
			continue;
		}
		if (res != OUTHUB_DATA)
			break;
		if (buf_add(&cl->collected, run.data, run.n) < 0)
			break; /* less memory, a smaller part */
		cl->next = run.offset + run.n;
	}
	logs_answer(cl);
}

static void logs_pump(struct command_logs *cl)
{
	if (cl->collecting)
		logs_collect(cl);
	else
		logs_stream(cl);
}

static void logs_on_ready(void *arg)
{
	struct command_logs *cl = arg;

	if (cl->reader != NULL)
		logs_pump(cl);
}

static void logs_on_room(struct op *op)
{
	logs_on_ready(op);
}

/* Does it still grow, and is it near the size at which its oldest bytes go? */
static bool logs_may_drop(struct proc *p)
{
	const struct outhub *hub = proc_hub(p);

	return (proc_running(p) || proc_pipes_open(p)) &&
	       outhub_total(hub) - outhub_oldest(hub) > limit_size(LIMIT_HUB_LOG_BYTES) / 2;
}

int command_logs_begin(
	struct req *r, struct app *app, struct proc *p, uint64_t cursor, struct err *e)
{
	struct outhub *hub = proc_hub(p);
	uint64_t from = outhub_kept_from(hub, cursor), end = outhub_kept_until(hub, from);
	uint64_t gap = from > cursor ? from - cursor : 0;
	struct command_logs *cl;

	if (cursor > outhub_total(hub))
		from = cursor;
	/* While more may come, a character is not cut in two. */
	if (end == outhub_total(hub) && (proc_running(p) || proc_pipes_open(p)))
		end -= outhub_utf8_tail(hub);
	if (from >= end || req_method(r) == HTTP_HEAD) {
		logs_fields(r, from >= end ? from : end, gap);
		reply_head(r, 200, LOGS_TYPE, from >= end ? 0 : end - from);
		return 0;
	}
	cl = calloc(1, sizeof(*cl));
	if (cl == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	cl->loop = app->loop;
	cl->collecting = logs_may_drop(p);
	cl->next = from;
	cl->gap = gap;
	loop_deferred_init(&cl->again, logs_on_ready, cl);
	loop_deferred_init(&cl->release, logs_release, cl);
	cl->reader = outhub_attach(hub, from, end, logs_on_ready, cl);
	if (cl->reader == NULL) {
		free(cl);
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	}
	cl->proc = proc_ref(p);
	op_begin(&cl->op, r, logs_finish, NULL);
	if (!cl->collecting) {
		logs_fields(r, end, gap);
		stream_start(r, 200, LOGS_TYPE, end - from, logs_on_room);
	}
	logs_pump(cl);
	return 0;
}
