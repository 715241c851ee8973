/*
 * An answer that a walk finds: an array of what the visitor writes, or lines. Nothing is sent
 * until the walk has said its first word, because it may be an error. When it has ended by then the
 * answer is sent as a whole, with the count of what could not be read in its head; otherwise it is
 * streamed while it is found, and the count comes in a trailer. A search that finds nothing for a
 * while sends its head all the same. To a client that has closed its side a blank is sent, which
 * means nothing in front of the next object: only a write tells whether it still reads.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "boxd/limits.h"
#include "boxd/loop.h"
#include "boxd/reply.h"
#include "boxd/stream.h"
#include "files_internal.h"

#define FILES_LINES        "application/x-ndjson"
#define FILES_SKIPPED      "X-Skipped-Directories"
#define FILES_WALK_TURN    262144 /* bytes for one client in one turn of the loop */
#define FILES_WALK_HEAD_MS 1000   /* without a result, until the head is sent */
#define FILES_WALK_PIECE   65536

struct files_walk {
	struct op op;
	struct app *app;
	struct walk *walk;
	bool lines;
	bool started;
	bool opened; /* the array's bracket has gone out */
	bool any;    /* and an element */
	struct loop_timer *head_timer;
	int (*summary)(void *arg, const struct walk_totals *t, struct buf *out);
	void (*fini)(void *arg);
	void *arg;
	struct loop_deferred again;
};

/* ---- the end ---- */

static void files_walk_freed(void *arg)
{
	struct files_walk *fw = arg;

	fw->fini(fw->arg);
	free(fw);
}

static void files_walk_finish(struct files_walk *fw)
{
	loop_defer_cancel(fw->app->loop, &fw->again);
	loop_timer_free(fw->head_timer);
	fw->head_timer = NULL;
	op_end(&fw->op);
	walk_free(fw->walk, files_walk_freed, fw);
}

static void files_walk_cancel(struct op *op)
{
	files_walk_finish((struct files_walk *)op);
}

/* ---- what goes around the results ---- */

/* The comma of an array's first element becomes its bracket. `at` is where it would be in out. */
static void files_walk_open_array(struct files_walk *fw, struct buf *out, size_t at)
{
	if (fw->lines || fw->any || buf_len(out) == at)
		return;
	buf_data(out)[at] = fw->opened ? ' ' : '[';
	fw->opened = fw->any = true;
}

static int files_walk_close(struct files_walk *fw, struct buf *out)
{
	struct walk_totals t = walk_totals(fw->walk);

	if (fw->lines)
		return fw->summary(fw->arg, &t, out);
	return buf_add_str(out, fw->opened ? "]" : "[]");
}

static const char *files_walk_skipped(const struct files_walk *fw, char text[static 24])
{
	snprintf(text, 24, "%" PRIu64, walk_totals(fw->walk).unreadable);
	return text;
}

/* ---- streamed ---- */

static void files_walk_end_stream(struct files_walk *fw)
{
	struct req *r = fw->op.req;
	struct buf *out = stream_open(r);
	char text[24];

	if (out != NULL && files_walk_close(fw, out) < 0) {
		stream_abort(r);
	} else if (out != NULL) {
		stream_commit(r);
		stream_trailer(r, FILES_SKIPPED, files_walk_skipped(fw, text));
		stream_end(r);
	}
	files_walk_finish(fw);
}

/* One piece. False: there is none now, or the client takes no more. */
static bool files_walk_piece(struct files_walk *fw, size_t room)
{
	struct req *r = fw->op.req;
	struct buf *out = stream_open(r);
	ssize_t n;

	if (out == NULL)
		return false;
	/* What is open already belongs to the queue. */
	size_t at = buf_len(out);

	n = walk_take(fw->walk, out, room < FILES_WALK_PIECE ? room : FILES_WALK_PIECE);
	if (n < 0) {
		stream_abort(r);
		return false;
	}
	files_walk_open_array(fw, out, at);
	stream_commit(r);
	return n > 0;
}

static void files_walk_pump(struct files_walk *fw)
{
	struct req *r = fw->op.req;
	size_t sent = 0, room;

	while (sent < FILES_WALK_TURN && (room = stream_room(r)) > 0) {
		if (!files_walk_piece(fw, room)) {
			switch (walk_state(fw->walk)) {
			case WALK_RUNNING: return;
			case WALK_ENDED: files_walk_end_stream(fw); return;
			case WALK_FAILED: stream_abort(r); return;
			}
		}
		stream_flush(r);
		sent += FILES_WALK_PIECE;
	}
	if (sent >= FILES_WALK_TURN)
		loop_defer_bulk(fw->app->loop, &fw->again);
}

static void files_walk_on_again(void *arg)
{
	files_walk_pump(arg);
}

static void files_walk_on_room(struct op *op)
{
	files_walk_pump((struct files_walk *)op);
}

/* ---- the first word ---- */

static const char *files_walk_type(const struct files_walk *fw)
{
	return fw->lines ? FILES_LINES : FILES_JSON;
}

static void files_walk_reply_whole(struct files_walk *fw, struct buf *out)
{
	struct req *r = fw->op.req;
	char text[24];

	if (files_walk_close(fw, out) < 0) {
		struct err e = {0};

		err_set(&e, &ERR_UNAVAILABLE, "out of memory");
		router_error(r, &e);
	} else {
		reply_field(r, FILES_SKIPPED, files_walk_skipped(fw, text));
		reply_body(r, 200, files_walk_type(fw), buf_data(out), buf_len(out));
	}
	files_walk_finish(fw);
}

/* With what there is already, which may be nothing. False: the client or the memory is gone. */
static bool files_walk_start_stream(struct files_walk *fw, const struct buf *first)
{
	struct req *r = fw->op.req;
	struct buf *out;

	fw->started = true;
	reply_field(r, "Trailer", FILES_SKIPPED);
	stream_start(r, 200, files_walk_type(fw), STREAM_CHUNKED, files_walk_on_room);
	out = stream_open(r);
	if (out == NULL)
		return false;
	if (buf_add(out, buf_data(first), buf_len(first)) < 0) {
		stream_abort(r);
		return false;
	}
	stream_commit(r);
	stream_flush(r);
	return true;
}

/* No result yet, but the root is there: the answer will be 200. */
static void files_walk_start_early(struct files_walk *fw)
{
	struct walk_totals t = walk_totals(fw->walk);
	struct buf none = {0};

	if (!fw->started && t.directories + t.entries > 0)
		files_walk_start_stream(fw, &none);
}

static void files_walk_on_head_timer(void *arg)
{
	struct files_walk *fw = arg;

	if (req_method(fw->op.req) != HTTP_HEAD)
		files_walk_start_early(fw);
}

static void files_walk_half_closed(struct op *op)
{
	struct files_walk *fw = (struct files_walk *)op;
	struct buf *out;

	files_walk_on_head_timer(fw);
	if (!fw->started || (out = stream_open(op->req)) == NULL)
		return;
	if (buf_add_str(out, fw->lines || fw->opened ? " " : "[") < 0) {
		stream_abort(op->req);
		return;
	}
	fw->opened = true;
	stream_commit(op->req);
	stream_flush(op->req);
}

static void files_walk_refuse(struct files_walk *fw)
{
	router_error(fw->op.req, walk_error(fw->walk));
	files_walk_finish(fw);
}

static void files_walk_first(struct files_walk *fw)
{
	struct req *r = fw->op.req;
	struct buf out = {0};
	ssize_t n = walk_take(fw->walk, &out, limit_size(LIMIT_HTTP_OUT_BYTES));

	if (n < 0) {
		struct err e = {0};

		err_set(&e, &ERR_UNAVAILABLE, "out of memory");
		router_error(r, &e);
		files_walk_finish(fw);
	} else if (walk_state(fw->walk) == WALK_FAILED) {
		files_walk_refuse(fw);
	} else {
		files_walk_open_array(fw, &out, 0);
		if (req_method(r) == HTTP_HEAD) {
			reply_head(r, 200, files_walk_type(fw), STREAM_CHUNKED);
			files_walk_finish(fw);
		} else if (walk_state(fw->walk) == WALK_ENDED) {
			files_walk_reply_whole(fw, &out);
		} else if (files_walk_start_stream(fw, &out)) {
			files_walk_pump(fw);
		}
	}
	buf_fini(&out);
}

static void files_walk_on_output(void *arg)
{
	struct files_walk *fw = arg;

	if (fw->started)
		files_walk_pump(fw);
	else
		files_walk_first(fw);
}

int files_walk_begin(
	struct req *r, struct app *app, const struct files_walk_opts *opts, struct err *e)
{
	struct files_walk *fw = calloc(1, sizeof(*fw));
	struct walk_spec spec = opts->spec;

	if (fw == NULL) {
		opts->fini(opts->arg);
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	}
	fw->app = app;
	fw->lines = opts->lines;
	fw->summary = opts->summary;
	fw->fini = opts->fini;
	fw->arg = opts->arg;
	loop_deferred_init(&fw->again, files_walk_on_again, fw);
	spec.set_user = opts->user.set;
	spec.uid = opts->user.uid;
	spec.gid = opts->user.gid;
	spec.on_output = files_walk_on_output;
	spec.arg = fw;
	fw->walk = walk_new(&spec, app->loop, app->pool, e);
	if (fw->walk == NULL) {
		files_walk_freed(fw);
		return -1;
	}
	/* Without memory for the timer the head comes with the first result. */
	fw->head_timer = loop_timer_new(
		app->loop, FILES_WALK_HEAD_MS, files_walk_on_head_timer, fw);
	op_begin(&fw->op, r, files_walk_cancel, files_walk_half_closed);
	return 0;
}
