/*
 * outhub_page: the bytes of one segment of output and the records that describe them.
 *
 * Both share one block: bytes grow from its front, records from its back, and the block doubles
 * when they meet. A command that prints ten bytes pays for a small block, one that floods its pipe
 * gets a full one at once, and the block goes to the spill file in a single write. Records are
 * found by binary search, so a reader needs no position but its offset.
 */
#include <stdlib.h>
#include <string.h>

#include "boxd/linecut.h"
#include "outhub_internal.h"

enum { OUTHUB_PAGE_MIN = 256 };

static const size_t outhub_record_size = sizeof(struct outhub_record);

void outhub_lines_feed(
	struct outhub_lines *l, enum outhub_stream s, uint64_t base, const uint8_t *data, size_t n)
{
	uint64_t *start = &l->start[s];
	size_t end = linecut_last_end(data, n);

	if (end == 0) {
		/* Goes on, unless the line before was complete; OUTHUB_NO_LINE has the bit too. */
		if (*start & OUTHUB_AT_CR)
			*start = base;
	} else if (end < n) {
		*start = base + end;
	} else if (data[n - 1] == '\r') {
		*start = (base + n - 1) | OUTHUB_AT_CR;
	} else {
		*start = OUTHUB_NO_LINE;
	}
}

static struct outhub_record *outhub_page_record(const struct outhub_page *p, uint32_t i)
{
	return (struct outhub_record *)(void *)(p->data + p->cap) - 1 - i;
}

static uint8_t *outhub_page_records(struct outhub_page *p)
{
	return p->data + p->cap - p->records * outhub_record_size;
}

struct outhub_page *outhub_page_new(size_t cap)
{
	struct outhub_page *p = malloc(sizeof(*p) + cap);

	assert(cap % 8 == 0);
	if (p == NULL)
		return NULL;
	*p = (struct outhub_page){.refs = 1, .cap = (uint32_t)cap};
	return p;
}

void outhub_page_unref(struct outhub_page *p)
{
	if (p != NULL && --p->refs == 0)
		free(p);
}

/* Makes the block larger or smaller; the records stay at its back. */
static int outhub_page_resize(struct outhub_page **pp, size_t cap)
{
	struct outhub_page *p = *pp;
	size_t records = p->records * outhub_record_size;

	assert(p->refs == 1 && cap % 8 == 0 && p->len + records <= cap);
	if (cap < p->cap) {
		memmove(p->data + cap - records, outhub_page_records(p), records);
		p->cap = (uint32_t)cap;
	}
	p = realloc(p, sizeof(*p) + cap);
	if (p == NULL)
		return -1; /* when it was to shrink it is consistent, only larger than it says */
	if (cap > p->cap) {
		memmove(p->data + cap - records, outhub_page_records(p), records);
		p->cap = (uint32_t)cap;
	}
	*pp = p;
	return 0;
}

/* The next size that holds need bytes, at most max. */
static size_t outhub_page_fit(size_t cap, size_t need, size_t max)
{
	if (cap < OUTHUB_PAGE_MIN)
		cap = OUTHUB_PAGE_MIN;
	while (cap < need)
		cap *= 2;
	return cap < max ? cap : max;
}

ssize_t outhub_page_push(struct outhub_page **pp, size_t max, const struct outhub_record *rec,
	const uint8_t *data, size_t n)
{
	struct outhub_page *p = *pp;
	size_t used = p == NULL ? 0 : outhub_page_used(p);
	bool extends = false;
	size_t need;

	if (used > 0) {
		const struct outhub_record *last = outhub_page_record(p, p->records - 1);

		extends = last->stream == rec->stream && last->time_ms == rec->time_ms;
	}
	need = used + (extends ? 0 : outhub_record_size);
	if (need >= max)
		return 0;
	if (n > max - need)
		n = max - need;
	need += n;

	if (p == NULL) {
		p = outhub_page_new(outhub_page_fit(0, need, max));
		if (p == NULL)
			return -1;
		*pp = p;
	} else if (need > p->cap) {
		if (outhub_page_resize(pp, outhub_page_fit(p->cap, need, max)) < 0)
			return -1;
		p = *pp;
	}
	if (!extends) {
		struct outhub_record *r = outhub_page_record(p, p->records++);

		*r = *rec;
		r->begin = p->len;
	}
	memcpy(p->data + p->len, data, n);
	p->len += (uint32_t)n;
	return (ssize_t)n;
}

void outhub_page_trim(struct outhub_page **pp)
{
	size_t cap = (outhub_page_used(*pp) + 7) / 8 * 8;

	/* Smaller is never worse: that the old block stays is no failure. */
	if (cap < (*pp)->cap && outhub_page_resize(pp, cap) < 0)
		return;
}

const struct outhub_record *outhub_page_find(
	const struct outhub_page *p, uint32_t at, uint32_t *end)
{
	uint32_t low = 0, high = p->records; /* record low begins at or before at, high after it */

	assert(at < p->len);
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (outhub_page_record(p, mid)->begin <= at)
			low = mid;
		else
			high = mid;
	}
	*end = high < p->records ? outhub_page_record(p, high)->begin : p->len;
	return outhub_page_record(p, low);
}

bool outhub_page_check(const struct outhub_page *p)
{
	for (uint32_t i = 0; i < p->records; i++) {
		const struct outhub_record *r = outhub_page_record(p, i);

		if (r->stream >= OUTHUB_STREAMS || r->begin >= p->len)
			return false;
		if (i == 0 ? r->begin != 0 : r->begin <= outhub_page_record(p, i - 1)->begin)
			return false;
	}
	return true;
}
