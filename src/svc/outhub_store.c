/*
 * outhub_store: the log of one command as a row of segments, oldest first.
 *
 * New bytes go to the last segment. When the pages take more memory than their budget the oldest
 * ones go to the spill file, or are dropped when there is none; when the whole log is over its
 * budget the oldest segments are dropped wherever they are. A hole is nothing but the space between
 * two segments, so losing one in the middle needs no bookkeeping.
 */
#include <stdlib.h>
#include <string.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "outhub_internal.h"

size_t outhub_store_page_max(const struct outhub *h)
{
	size_t max = limit_size(LIMIT_HUB_SEGMENT_BYTES);

	if (max > outhub_memory_max(h) / 4)
		max = outhub_memory_max(h) / 4;
	if (max > outhub_log_max(h) / 4)
		max = outhub_log_max(h) / 4;
	return max / 8 * 8;
}

/* ---- finding ---- */

size_t outhub_store_upto(const struct outhub *h, uint64_t offset)
{
	size_t low = 0, high = h->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (outhub_store_segment(h, mid)->start <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct outhub_segment *outhub_store_at(const struct outhub *h, uint64_t offset, uint64_t *next)
{
	size_t i = outhub_store_upto(h, offset);

	if (i > 0) {
		struct outhub_segment *seg = outhub_store_segment(h, i - 1);

		if (offset - seg->start < seg->len)
			return seg;
	}
	*next = i < h->count ? outhub_store_segment(h, i)->start : h->total;
	return NULL;
}

size_t outhub_store_index(const struct outhub *h, uint64_t start)
{
	size_t i = outhub_store_upto(h, start);

	if (i == 0 || outhub_store_segment(h, i - 1)->start != start)
		return SIZE_MAX;
	return i - 1;
}

uint64_t outhub_store_used_since(const struct outhub *h, uint64_t offset)
{
	uint64_t next;
	const struct outhub_segment *seg = outhub_store_at(h, offset, &next);

	if (seg == NULL && next < h->total)
		seg = outhub_store_at(h, next, &next);
	return seg == NULL ? 0 : h->used - seg->used_before;
}

/* ---- growing ---- */

/* Room for one more segment in the array; those dropped at its front leave some. */
static int outhub_store_reserve(struct outhub *h)
{
	struct outhub_segment *segs;
	uint32_t cap;

	if (h->first + h->count < h->cap)
		return 0;
	if (h->first > h->cap / 2) {
		memmove(h->segs, h->segs + h->first, h->count * sizeof(*h->segs));
		h->first = 0;
		return 0;
	}
	cap = h->cap == 0 ? 1 : h->cap * 2;
	segs = realloc(h->segs, cap * sizeof(*segs));
	if (segs == NULL)
		return -1;
	h->segs = segs;
	h->cap = cap;
	return 0;
}

void outhub_store_close(struct outhub *h)
{
	struct outhub_segment *seg;

	if (!h->open)
		return;
	h->open = false;
	seg = outhub_store_segment(h, h->count - 1);
	h->resident -= outhub_page_memory(seg->page);
	outhub_page_trim(&seg->page);
	h->resident += outhub_page_memory(seg->page);
	seg->size = seg->page->cap;
	seg->records = seg->page->records;
}

/* Into the last segment. As outhub_page_push(). */
static ssize_t outhub_store_extend(struct outhub *h, struct outhub_segment *seg,
	const struct outhub_record *rec, const uint8_t *data, size_t n)
{
	size_t memory = seg->page == NULL ? 0 : outhub_page_memory(seg->page);
	size_t used = seg->page == NULL ? 0 : outhub_page_used(seg->page);
	ssize_t taken = outhub_page_push(&seg->page, outhub_store_page_max(h), rec, data, n);

	if (taken <= 0)
		return taken;
	h->resident += outhub_page_memory(seg->page) - memory;
	h->used += outhub_page_used(seg->page) - used;
	seg->len = seg->page->len;
	return taken;
}

/* As much as one segment takes, a new one when the last is full. 0: memory is out. */
static size_t outhub_store_push(
	struct outhub *h, struct outhub_record *rec, const uint8_t *data, size_t n)
{
	struct outhub_segment *seg;
	ssize_t taken = 0;

	rec->lines = h->lines;
	if (h->open) {
		seg = outhub_store_segment(h, h->count - 1);
		taken = outhub_store_extend(h, seg, rec, data, n);
		if (taken <= 0)
			outhub_store_close(h);
	}
	if (taken == 0 && outhub_store_reserve(h) == 0) {
		seg = &h->segs[h->first + h->count];
		*seg = (struct outhub_segment){
			.start = h->total,
			.used_before = h->used,
			.lines = h->lines,
			.slot = OUTHUB_NO_SLOT,
		};
		taken = outhub_store_extend(h, seg, rec, data, n);
		if (taken > 0) {
			h->count++;
			h->resident_count++;
			h->open = true;
		}
	}
	return taken > 0 ? (size_t)taken : 0;
}

void outhub_store_append(struct outhub *h, enum outhub_stream s, const uint8_t *data, size_t n)
{
	struct outhub_record rec = {.stream = s, .time_ms = clock_real_ms()};

	while (n > 0) {
		size_t taken = outhub_store_push(h, &rec, data, n);

		if (taken == 0) {
			/* What comes after the hole has to begin a segment of its own. */
			outhub_store_close(h);
			h->lost += n;
			taken = n;
		}
		outhub_lines_feed(&h->lines, s, h->total, data, taken);
		h->total += taken;
		data += taken;
		n -= taken;
	}
}

/* ---- shrinking ---- */

static void outhub_store_free_page(struct outhub *h, struct outhub_segment *seg)
{
	h->resident -= outhub_page_memory(seg->page);
	h->resident_count--;
	outhub_page_unref(seg->page);
	seg->page = NULL;
}

void outhub_store_spilled(struct outhub *h, size_t i)
{
	struct outhub_segment *seg = outhub_store_segment(h, i);

	assert(i + h->resident_count == h->count);
	outhub_store_free_page(h, seg);
	h->on_disk += seg->size;
}

void outhub_store_drop(struct outhub *h, size_t i)
{
	struct outhub_segment *seg = outhub_store_segment(h, i);

	if (i == h->count - 1)
		h->open = false;
	if (seg->page != NULL) {
		outhub_store_free_page(h, seg);
	} else {
		h->on_disk -= seg->size;
		outhub_load_forget(h, seg->start);
	}
	if (i == 0)
		h->first++;
	else
		memmove(seg, seg + 1, (h->count - 1 - i) * sizeof(*seg));
	h->count--;
}

void outhub_store_lose(struct outhub *h, size_t i)
{
	h->lost += outhub_store_segment(h, i)->len;
	outhub_store_drop(h, i);
}

bool outhub_store_protected(const struct outhub *h, const struct outhub_segment *seg)
{
	const struct outhub_reader *rd = h->owner;

	return rd != NULL && seg->start + seg->len > rd->offset &&
	       !(h->finished && rd->offset >= h->finish_at);
}

/* May the oldest page in memory go? It is not the one that grows, nor is it unread by the owner. */
static bool outhub_store_can_lose(const struct outhub *h)
{
	return h->resident_count > (h->open ? 1U : 0U) &&
	       !outhub_store_protected(h, outhub_store_segment(h, h->count - h->resident_count));
}

/*
 * Pages over the budget for which there is no disk now. When none was asked for they are merely
 * too old; when there should be one, they are lost.
 */
static void outhub_store_drop_pages(struct outhub *h, size_t budget)
{
	while (h->resident > budget && outhub_store_can_lose(h) && !outhub_spill_usable(h)) {
		size_t i = h->count - h->resident_count;

		if (h->spill_dir < 0) {
			outhub_store_drop(h, i);
			continue;
		}
		outhub_spill_skipped(h, outhub_store_segment(h, i)->size);
		outhub_store_lose(h, i);
	}
}

void outhub_store_balance(struct outhub *h)
{
	size_t memory = outhub_memory_max(h);

	while (h->resident + h->on_disk > outhub_log_max(h) && h->count > 1 &&
		!outhub_store_protected(h, outhub_store_segment(h, 0)))
		outhub_store_drop(h, 0);
	if (h->resident <= memory)
		return;
	outhub_store_drop_pages(h, memory);
	if (h->resident <= memory || !outhub_spill_usable(h) || outhub_spill_write(h))
		return;
	/*
	 * The pool takes no more jobs just now. The next append tries again; until then memory may
	 * hold what it may hold behind a slow disk, and no more.
	 */
	while (h->resident > 2 * memory && outhub_store_can_lose(h))
		outhub_store_lose(h, h->count - h->resident_count);
}
