/*
 * lines: the lines from here to there, out of a file of any size.
 *
 * What stands before the first wanted line is only counted, block by block, eight bytes at a time:
 * a block holds the place that is looked for or it does not, and just the last one is searched.
 *
 * A wanted line is copied in runs. A CR at the end of a run may be at the end of the line: it is
 * counted, and comes out only when the line goes on. The end of what is looked at, be it the end of
 * the input or of the room, is thus the same as any other place in the line, and nothing depends on
 * how the input is cut. Where there is no CR the lines come out as they went in, many at once.
 */
#include "boxd/lines.h"

#include <string.h>

#include "swar_internal.h"

/* Words whose matches can be added up in one byte each. */
#define LINES_BLOCK_WORDS 255u
#define LINES_BLOCK       (LINES_BLOCK_WORDS * SWAR_BYTES)

void lines_init(struct lines *l, uint64_t offset, uint64_t limit)
{
	*l = (struct lines){.skip = offset > 0 ? offset - 1 : 0, .left = limit};
}

static inline void lines_advance(const uint8_t **in, size_t *n, size_t by)
{
	*in += by;
	*n -= by;
}

/* 1 in each byte that is an LF. swar_equal() will not do: it is exact for the first one only. */
static inline uint64_t lines_ends(uint64_t w)
{
	const uint64_t low = ~SWAR_HIGH;

	w ^= SWAR_ONES * '\n';
	return (~(((w & low) + low) | w) & SWAR_HIGH) >> 7;
}

/* The number of LFs in at most LINES_BLOCK bytes. */
static size_t lines_count(const uint8_t *p, size_t n)
{
	const uint64_t even = UINT64_C(0x00ff00ff00ff00ff);
	size_t words = n / SWAR_BYTES, count = 0;
	uint64_t sums = 0;

	for (size_t i = 0; i < words; i++)
		sums += lines_ends(swar_load(p + i * SWAR_BYTES));
	sums = (sums & even) + (sums >> 8 & even);
	count = (size_t)(sums * UINT64_C(0x0001000100010001) >> 48);
	for (size_t i = words * SWAR_BYTES; i < n; i++)
		count += p[i] == '\n';
	return count;
}

/* Passes over lines, to the end of the input or of the last line before the wanted ones. */
static void lines_skip(struct lines *l, const uint8_t **in, size_t *n)
{
	while (*n > 0 && l->skip > 0) {
		size_t block = *n < LINES_BLOCK ? *n : LINES_BLOCK;
		size_t count = lines_count(*in, block);

		if (count < l->skip) {
			l->skip -= count;
			lines_advance(in, n, block);
			continue;
		}
		for (; l->skip > 0; l->skip--) {
			const uint8_t *lf = memchr(*in, '\n', *n);

			lines_advance(in, n, (size_t)(lf - *in) + 1);
		}
	}
}

/* The first byte of a wanted line is there: it needs an LF before it, unless it is the first. */
static enum lines_result lines_begin(struct lines *l, struct buf *out, size_t avail)
{
	if (l->started) {
		if (avail == 0)
			return LINES_FULL;
		if (buf_add(out, "\n", 1) < 0)
			return LINES_NO_MEM;
	}
	l->started = true;
	l->in_line = true;
	return LINES_MORE;
}

/* The CRs were not at the end of the line: as many of them as there is room for. */
static enum lines_result lines_release_cr(struct lines *l, struct buf *out, size_t avail)
{
	size_t give = l->held_cr < avail ? (size_t)l->held_cr : avail;
	uint8_t *to;

	if (give == 0)
		return LINES_FULL;
	to = buf_reserve(out, give);
	if (to == NULL)
		return LINES_NO_MEM;
	memset(to, '\r', give);
	buf_commit(out, give);
	l->held_cr -= give;
	return LINES_MORE;
}

/*
 * How many bytes come out as they are, LFs and all: those before a CR, of a block, as far as there
 * is room. The last byte of what is looked at is not among them: it says that an LF right before
 * it is followed by another line. 0 where the lines have to be taken one by one.
 */
static size_t lines_plain(const struct lines *l, const uint8_t *in, size_t n, size_t avail)
{
	size_t block = n < avail ? n : avail;
	const uint8_t *cr;

	if (block > LINES_BLOCK)
		block = LINES_BLOCK;
	if (block == 0 || l->held_cr > 0 || l->left <= block)
		return 0;
	cr = memchr(in, '\r', block);
	return cr != NULL ? (size_t)(cr - in) : block - 1;
}

/* A run of a wanted line, as much of it as there is room for, or its end; or many lines. */
static enum lines_result lines_run(
	struct lines *l, const uint8_t **in, size_t *n, struct buf *out, size_t avail)
{
	size_t plain = lines_plain(l, *in, *n, avail);

	if (plain > 0) {
		if (buf_add(out, *in, plain) < 0)
			return LINES_NO_MEM;
		l->left -= lines_count(*in, plain);
		lines_advance(in, n, plain);
		return LINES_MORE;
	}
	/* Without room one byte is looked at: an end, or a CR, needs none. */
	size_t window = *n < avail ? *n : avail > 0 ? avail : 1;
	const uint8_t *lf = memchr(*in, '\n', window);
	size_t run = lf != NULL ? (size_t)(lf - *in) : window, text = run;

	while (text > 0 && (*in)[text - 1] == '\r')
		text--;
	if (text > 0 && l->held_cr > 0)
		return lines_release_cr(l, out, avail);
	if (text > avail)
		return LINES_FULL;
	if (buf_add(out, *in, text) < 0)
		return LINES_NO_MEM;
	l->held_cr += run - text;
	lines_advance(in, n, run);
	if (lf != NULL) {
		lines_advance(in, n, 1);
		l->held_cr = 0;
		l->in_line = false;
		l->left--;
	}
	return LINES_MORE;
}

enum lines_result lines_feed(
	struct lines *l, const uint8_t **in, size_t *n, struct buf *out, size_t room)
{
	lines_skip(l, in, n);
	while (*n > 0 && l->left > 0) {
		size_t avail = buf_len(out) < room ? room - buf_len(out) : 0;
		enum lines_result r = l->in_line ? lines_run(l, in, n, out, avail)
						 : lines_begin(l, out, avail);

		if (r != LINES_MORE)
			return r;
	}
	return l->left == 0 ? LINES_DONE : LINES_MORE;
}
