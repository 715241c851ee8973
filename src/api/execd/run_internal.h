/*
 * What commands and session runs share: their events (contract 2.2, 2.3) and the stream that
 * carries them.
 */
#ifndef BOXD_RUN_INTERNAL_H
#define BOXD_RUN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "boxd/linecut.h"
#include "boxd/loop.h"
#include "boxd/outhub.h"
#include "boxd/req.h"
#include "boxd/router.h"
#include "boxd/sse.h"

/* ---- run_events.c: all return 0, or -1 when memory is out ---- */

int run_event_init(struct buf *out, enum sse_form form, const char *id);
int run_event_ping(struct buf *out, enum sse_form form);
int run_event_gap(struct buf *out, enum sse_form form, uint64_t id, uint64_t dropped);
/* Success. time_ms < 0: without a time (contract 4.2). */
int run_event_complete(struct buf *out, enum sse_form form, int64_t time_ms);
int run_event_error(struct buf *out, enum sse_form form, const char *evalue, const char *traceback);

/* ---- run_stream.c ---- */

struct run_stream;

/* What the stream is of. */
struct run_source {
	/* Writes the terminal event. -1: out of memory. */
	int (*put_end)(struct run_stream *rs, struct buf *out);
	/* The client has gone before the end. */
	void (*gone)(struct run_stream *rs);
	/* It is over, one way or the other, and was ended with run_stream_fini(): frees what it is
	 * part of. */
	void (*release)(struct run_stream *rs);
};

/* Embedded, as the first member, in what the source knows about it. */
struct run_stream {
	struct op op;
	struct app *app;
	const struct run_source *source;
	struct outhub_reader *reader; /* NULL: nothing to read yet */
	struct linecut cut[OUTHUB_STREAMS];
	uint64_t skip[OUTHUB_STREAMS]; /* bytes of a stream before this offset were seen in full */
	uint64_t since;                /* events that end at or before this offset were seen */
	uint64_t line_end;             /* where the last complete line ended */
	enum sse_form form;
	struct loop_timer *ping;
	struct loop_deferred again;
	struct loop_deferred release;
};

/* ERR_TOO_MANY (LIMIT_STREAM_COUNT), ERR_UNAVAILABLE: nothing to end then. */
int run_stream_init(struct run_stream *rs, struct app *app, const struct run_source *source,
	enum sse_form form, struct err *e) __attribute__((warn_unused_result, nonnull));
/* Only for one that was not begun: otherwise it ends itself. */
void run_stream_fini(struct run_stream *rs) __attribute__((nonnull));

/*
 * Begins to read at an offset, or after the events that end at or before `since`. Before or after
 * run_stream_begin(). -1 with ERR_UNAVAILABLE.
 */
int run_stream_attach(struct run_stream *rs, struct outhub *hub, uint64_t from, struct err *e)
	__attribute__((warn_unused_result, nonnull));
int run_stream_resume(struct run_stream *rs, struct outhub *hub, uint64_t since, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* It paces what it reads, after those who do already have read theirs. */
void run_stream_own(struct run_stream *rs) __attribute__((nonnull));

/* Answers r: the head, `init` with this id, a ping, and what there is to read. */
void run_stream_begin(struct run_stream *rs, struct req *r, const char *id)
	__attribute__((nonnull));

/* The output ends at this offset of the hub: the terminal event follows it. */
void run_stream_bound(struct run_stream *rs, uint64_t end) __attribute__((nonnull));
/* The terminal event now. */
void run_stream_end(struct run_stream *rs) __attribute__((nonnull));

#endif
