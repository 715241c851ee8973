/*
 * outhub: one process writes, many clients read.
 *
 * The log lives once (outhub_store.c); a reader is an offset into it and a place on one list. A
 * reader for which there is nothing new waits, in the order of its coming; an append only counts a
 * version up and has the ones that have not seen it called later in the turn, a slice of them at a
 * time, so that ten thousand observers delay nobody else. A slow reader costs nothing until what
 * it has not read is dropped, and then it costs one gap. Only the owner can make the process wait.
 */
#include "boxd/outhub.h"

#include <stdlib.h>
#include <string.h>

#include "boxd/limits.h"
#include "boxd/utf8.h"
#include "outhub_internal.h"

/* Readers called in one turn of the loop. */
enum { OUTHUB_SLICE = 64 };

static_assert(sizeof(struct outhub) + sizeof(struct outhub_reader) < 600,
	"an idle hub with one reader is small");
static_assert(sizeof(struct outhub_reader) <= 96, "there may be ten thousand readers");

void outhub_reader_move(struct outhub_reader *rd, struct outhub_readers *list)
{
	TAILQ_REMOVE(rd->list, rd, link);
	TAILQ_INSERT_TAIL(list, rd, link);
	rd->list = list;
}

/* ---- calling readers ---- */

/* The next reader for which there may be more, or NULL. */
static struct outhub_reader *outhub_due(struct outhub *h)
{
	struct outhub_reader *rd = outhub_load_due(h);

	if (rd != NULL)
		return rd;
	/* In the order in which they began to wait: the first has seen least. */
	rd = TAILQ_FIRST(&h->waiting);
	return rd != NULL && rd->seen != h->version ? rd : NULL;
}

static void outhub_release(struct outhub *h)
{
	outhub_load_free(h);
	outhub_spill_free(h);
	for (size_t i = 0; i < h->count; i++)
		outhub_page_unref(outhub_store_segment(h, i)->page);
	free(h->segs);
	free(h);
}

/* Deferred, for both ends: of an append, and of the hub. */
static void outhub_on_turn(void *arg)
{
	struct outhub *h = arg;
	struct outhub_reader *rd;

	/* A callback may detach any reader, and free the hub: then it exists until its next turn.
	 */
	for (int i = 0; i < OUTHUB_SLICE && !h->ended; i++) {
		rd = outhub_due(h);
		if (rd == NULL) {
			outhub_load_on_turn(h);
			return;
		}
		outhub_reader_move(rd, &h->idle);
		rd->on_ready(rd->arg);
	}
	if (!h->ended)
		loop_defer_bulk(h->loop, &h->turn);
	else if (!h->turn.queued)
		outhub_release(h);
}

/* Something happened at the end of the log. */
static void outhub_wake(struct outhub *h)
{
	h->version++;
	if (!TAILQ_EMPTY(&h->waiting))
		loop_defer(h->loop, &h->turn);
}

/* ---- pace ---- */

/*
 * The owner lags when it is a window behind, and also before what it has not read could be dropped:
 * many small records may cost more than their bytes. Once behind, it has to catch up by half.
 */
static bool outhub_owner_lags(const struct outhub *h)
{
	uint64_t part = h->owner_waits ? 2 : 1;
	uint64_t lag, budget;

	if (h->owner == NULL || (h->finished && h->owner->offset >= h->finish_at))
		return false;
	lag = h->total - h->owner->offset;
	budget = outhub_memory_max(h);
	if (outhub_spill_usable(h) || budget > outhub_log_max(h))
		budget = outhub_log_max(h);
	return lag > limit_size(LIMIT_HUB_OWNER_WINDOW_BYTES) / part ||
	       outhub_store_used_since(h, h->owner->offset) > budget / 2 / part;
}

/* While a write is under way, so it ends by itself. */
static bool outhub_disk_lags(const struct outhub *h)
{
	return outhub_spill_writing(h) &&
	       h->resident > outhub_memory_max(h) * (h->disk_waits ? 1 : 2);
}

bool outhub_must_wait(const struct outhub *h)
{
	return h->owner_waits || h->disk_waits;
}

void outhub_update_pace(struct outhub *h)
{
	bool before = outhub_must_wait(h);

	h->owner_waits = outhub_owner_lags(h);
	h->disk_waits = outhub_disk_lags(h);
	if (outhub_must_wait(h) != before)
		loop_defer(h->loop, &h->pace);
}

/* Also when it changed back since: who asked in between relies on a call. */
static void outhub_on_pace_turn(void *arg)
{
	struct outhub *h = arg;

	if (h->on_pace != NULL)
		h->on_pace(h->pace_arg);
}

/* ---- life ---- */

struct outhub *outhub_new(struct loop *l, struct work_pool *pool, int spill_dir,
	void (*on_pace)(void *arg), void *arg)
{
	struct outhub *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->loop = l;
	h->pool = pool;
	h->spill_dir = pool == NULL ? -1 : spill_dir;
	h->on_pace = on_pace;
	h->pace_arg = arg;
	loop_deferred_init(&h->turn, outhub_on_turn, h);
	loop_deferred_init(&h->pace, outhub_on_pace_turn, h);
	TAILQ_INIT(&h->idle);
	TAILQ_INIT(&h->waiting);
	TAILQ_INIT(&h->heirs);
	for (int s = 0; s < OUTHUB_STREAMS; s++)
		h->lines.start[s] = OUTHUB_NO_LINE;
	return h;
}

void outhub_keep(struct outhub *h, size_t bytes)
{
	assert(h->total == 0 && bytes > 0);
	h->spill_dir = -1;
	h->keep = bytes;
}

void outhub_free(struct outhub *h)
{
	struct outhub_readers waiting = TAILQ_HEAD_INITIALIZER(waiting);
	struct outhub_reader *rd;

	if (h == NULL)
		return;
	assert(loop_on_thread(h->loop) && !h->ended);
	h->ended = true;
	h->owner = NULL;
	loop_defer_cancel(h->loop, &h->pace);
	loop_defer_cancel(h->loop, &h->turn);
	outhub_spill_abandon(h);
	outhub_load_abandon(h);
	while ((rd = TAILQ_FIRST(&h->waiting)) != NULL)
		outhub_reader_move(rd, &waiting);
	outhub_load_take_readers(h, &waiting);
	while ((rd = TAILQ_FIRST(&h->idle)) != NULL) {
		TAILQ_REMOVE(&h->idle, rd, link);
		rd->list = NULL;
		rd->hub = NULL;
	}
	TAILQ_FOREACH(rd, &waiting, link)
		rd->hub = NULL;
	/* Each call may detach others of them. */
	while ((rd = TAILQ_FIRST(&waiting)) != NULL) {
		TAILQ_REMOVE(&waiting, rd, link);
		rd->list = NULL;
		rd->on_ready(rd->arg);
	}
	/* Not now: this may be inside one of its callbacks, which may still look at a run. */
	loop_defer(h->loop, &h->turn);
}

void outhub_append(struct outhub *h, enum outhub_stream s, const uint8_t *data, size_t n)
{
	size_t keep, fresh = n < sizeof(h->tail) ? n : sizeof(h->tail);

	assert(loop_on_thread(h->loop) && !h->sealed && !h->ended);
	if (n == 0)
		return;
	keep = sizeof(h->tail) - fresh;
	if (keep > h->tail_n)
		keep = h->tail_n;
	memmove(h->tail, h->tail + h->tail_n - keep, keep);
	memcpy(h->tail + keep, data + n - fresh, fresh);
	h->tail_n = (uint8_t)(keep + fresh);

	h->bytes[s] += n;
	outhub_store_append(h, s, data, n);
	outhub_store_balance(h);
	outhub_wake(h);
	outhub_update_pace(h);
}

void outhub_finish(struct outhub *h)
{
	if (h->finished)
		return;
	h->finished = true;
	h->finish_at = h->total;
	outhub_wake(h);
	outhub_update_pace(h);
}

bool outhub_finished(const struct outhub *h)
{
	return h->finished;
}

void outhub_seal(struct outhub *h)
{
	struct outhub_segment *segs;

	if (h->sealed)
		return;
	h->sealed = true;
	outhub_store_close(h);
	if (h->first == 0 && h->count > 0 && h->count < h->cap) {
		segs = realloc(h->segs, h->count * sizeof(*segs));
		if (segs != NULL) {
			h->segs = segs;
			h->cap = h->count;
		}
	}
	outhub_wake(h);
}

/* ---- numbers ---- */

static uint64_t outhub_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t outhub_total(const struct outhub *h)
{
	return h->total;
}

uint64_t outhub_oldest(const struct outhub *h)
{
	return h->count > 0 ? outhub_store_segment(h, 0)->start : h->total;
}

uint64_t outhub_bytes(const struct outhub *h, enum outhub_stream s)
{
	return h->bytes[s];
}

size_t outhub_memory(const struct outhub *h)
{
	return sizeof(*h) + h->cap * sizeof(*h->segs) + h->resident + outhub_spill_memory(h) +
	       outhub_load_memory(h);
}

uint64_t outhub_disk(const struct outhub *h)
{
	return h->on_disk;
}

uint64_t outhub_lost(const struct outhub *h)
{
	return h->lost;
}

uint64_t outhub_kept_from(const struct outhub *h, uint64_t offset)
{
	uint64_t next;

	if (offset >= h->total || outhub_store_at(h, offset, &next) != NULL)
		return outhub_min(offset, h->total);
	return next;
}

uint64_t outhub_kept_until(const struct outhub *h, uint64_t offset)
{
	uint64_t at = outhub_kept_from(h, offset), next;
	const struct outhub_segment *seg;

	while (at < h->total && (seg = outhub_store_at(h, at, &next)) != NULL)
		at = seg->start + seg->len;
	return at;
}

size_t outhub_utf8_tail(const struct outhub *h)
{
	return utf8_incomplete_tail(h->tail, h->tail_n);
}

/*
 * Within memory the answer is exact. A segment in the file is not read for it: the lines at its
 * beginning are earlier, and as good to whoever cuts again from there.
 */
static struct outhub_lines outhub_lines_at(const struct outhub *h, uint64_t offset)
{
	struct outhub_lines lines = {{OUTHUB_NO_LINE, OUTHUB_NO_LINE}};
	const struct outhub_segment *seg;
	const struct outhub_record *rec;
	uint64_t next;
	uint32_t at, end;

	if (offset >= h->total)
		return h->lines;
	seg = outhub_store_at(h, offset, &next);
	if (seg == NULL)
		return lines; /* the beginning of the line is not kept either */
	if (seg->page == NULL) {
		lines = seg->lines;
		for (int s = 0; s < OUTHUB_STREAMS; s++) {
			if (lines.start[s] == OUTHUB_NO_LINE)
				lines.start[s] = seg->start;
		}
		return lines;
	}
	at = (uint32_t)(offset - seg->start);
	rec = outhub_page_find(seg->page, at, &end);
	lines = rec->lines;
	if (at > rec->begin)
		outhub_lines_feed(&lines, rec->stream, seg->start + rec->begin,
			seg->page->data + rec->begin, at - rec->begin);
	return lines;
}

void outhub_line_starts(
	const struct outhub *h, uint64_t offset, uint64_t starts[static OUTHUB_STREAMS])
{
	struct outhub_lines lines = outhub_lines_at(h, offset);
	uint64_t oldest = outhub_oldest(h);

	for (int s = 0; s < OUTHUB_STREAMS; s++) {
		uint64_t start = lines.start[s];

		if (start == OUTHUB_NO_LINE)
			start = offset < h->total ? offset : h->total;
		start &= ~OUTHUB_AT_CR;
		starts[s] = start > oldest ? start : oldest;
	}
}

/* ---- readers ---- */

struct outhub_reader *outhub_attach(
	struct outhub *h, uint64_t offset, uint64_t bound, void (*on_ready)(void *arg), void *arg)
{
	struct outhub_reader *rd = calloc(1, sizeof(*rd));

	assert(loop_on_thread(h->loop) && !h->ended);
	if (rd == NULL)
		return NULL;
	rd->hub = h;
	rd->offset = offset < h->total ? offset : h->total;
	rd->bound = bound;
	rd->on_ready = on_ready;
	rd->arg = arg;
	rd->list = &h->idle;
	TAILQ_INSERT_TAIL(&h->idle, rd, link);
	return rd;
}

void outhub_detach(struct outhub_reader *rd)
{
	struct outhub *h;

	if (rd == NULL)
		return;
	h = rd->hub;
	if (h != NULL) {
		assert(loop_on_thread(h->loop));
		outhub_reader_move(rd, &h->idle);
		outhub_load_leave(h, rd);
	}
	if (rd->list != NULL)
		TAILQ_REMOVE(rd->list, rd, link);
	outhub_drop_owner(rd);
	free(rd);
}

static void outhub_leave_heirs(struct outhub *h, struct outhub_reader *rd)
{
	if (rd->heir_link.tqe_prev == NULL)
		return;
	TAILQ_REMOVE(&h->heirs, rd, heir_link);
	rd->heir_link.tqe_prev = NULL;
}

void outhub_set_owner(struct outhub_reader *rd)
{
	struct outhub *h = rd->hub;

	if (h == NULL)
		return;
	outhub_leave_heirs(h, rd);
	h->owner = rd;
	outhub_update_pace(h);
}

void outhub_queue_owner(struct outhub_reader *rd)
{
	struct outhub *h = rd->hub;

	if (h == NULL || h->owner == rd || rd->heir_link.tqe_prev != NULL)
		return;
	if (h->owner == NULL) {
		outhub_set_owner(rd);
		return;
	}
	TAILQ_INSERT_TAIL(&h->heirs, rd, heir_link);
}

void outhub_drop_owner(struct outhub_reader *rd)
{
	struct outhub *h = rd->hub;

	if (h == NULL)
		return;
	outhub_leave_heirs(h, rd);
	if (h->owner != rd)
		return;
	h->owner = TAILQ_FIRST(&h->heirs);
	if (h->owner != NULL)
		outhub_leave_heirs(h, h->owner);
	outhub_store_balance(h); /* what only it held back may go now */
	outhub_update_pace(h);
}

void outhub_set_bound(struct outhub_reader *rd, uint64_t bound)
{
	rd->bound = bound;
	if (rd->hub != NULL)
		outhub_wake(rd->hub);
}

uint64_t outhub_reader_offset(const struct outhub_reader *rd)
{
	return rd->offset;
}

/* The offset at which this reader is at its end. */
static uint64_t outhub_reader_stop(const struct outhub *h, const struct outhub_reader *rd)
{
	/* The pipes may end before the process does: only the finish ends the run. */
	if (rd->bound == OUTHUB_FOLLOW)
		return h->finished ? h->finish_at : OUTHUB_FOLLOW;
	return h->sealed && rd->bound > h->total ? h->total : rd->bound;
}

static void outhub_reader_advance(struct outhub *h, struct outhub_reader *rd, uint64_t offset)
{
	rd->offset = offset;
	if (rd == h->owner)
		outhub_update_pace(h);
}

static enum outhub_read outhub_read_gap(
	struct outhub *h, struct outhub_reader *rd, uint64_t to, struct outhub_run *out)
{
	out->gap = to - rd->offset;
	out->offset = to;
	outhub_reader_advance(h, rd, to);
	return OUTHUB_GAP;
}

static void outhub_read_run(const struct outhub_segment *seg, const struct outhub_page *page,
	uint64_t max, struct outhub_run *out)
{
	uint32_t at = (uint32_t)(out->offset - seg->start);
	uint32_t end;
	const struct outhub_record *rec = outhub_page_find(page, at, &end);

	out->stream = rec->stream;
	out->data = page->data + at;
	out->n = end - at < max ? end - at : (size_t)max;
	out->time_ms = rec->time_ms;
}

enum outhub_read outhub_read(struct outhub_reader *rd, size_t max, struct outhub_run *out)
{
	struct outhub *h = rd->hub;
	const struct outhub_segment *seg;
	const struct outhub_page *page;
	uint64_t stop, next;
	int rc;

	assert(max > 0);
	*out = (struct outhub_run){.offset = rd->offset};
	if (h == NULL)
		return OUTHUB_GONE;
	assert(loop_on_thread(h->loop));
	outhub_reader_move(rd, &h->idle);
	stop = outhub_reader_stop(h, rd);
	if (rd->offset >= stop || rd->offset == h->total) {
		outhub_load_leave(h, rd);
		if (rd->offset >= stop)
			return OUTHUB_END;
		rd->seen = h->version;
		outhub_reader_move(rd, &h->waiting);
		return OUTHUB_WAIT;
	}
	seg = outhub_store_at(h, rd->offset, &next);
	if (seg == NULL)
		return outhub_read_gap(h, rd, outhub_min(next, stop), out);
	page = seg->page;
	if (page != NULL) {
		outhub_load_leave(h, rd);
	} else if ((rc = outhub_load_fetch(h, rd, seg, &page)) <= 0) {
		return rc == 0 ? OUTHUB_WAIT
			       : outhub_read_gap(
					 h, rd, outhub_min(seg->start + seg->len, stop), out);
	}
	outhub_read_run(seg, page, outhub_min(max, stop - rd->offset), out);
	outhub_reader_advance(h, rd, rd->offset + out->n);
	return OUTHUB_DATA;
}

void outhub_unread(struct outhub_reader *rd, size_t n)
{
	assert(n <= rd->offset);
	if (rd->hub != NULL)
		outhub_reader_advance(rd->hub, rd, rd->offset - n);
}
