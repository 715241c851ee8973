/*
 * linecut: from runs of output to the texts of events.
 *
 * Looking at max + 1 bytes is enough: when they hold no terminator, the first max of them are a
 * text of their own (less an unfinished UTF-8 sequence at their end), and at least one byte of the
 * line is left for the next, so the end of a split line never looks like a blank one. The decision
 * depends on the bytes of the line alone, hence any cut of the input into calls gives the same
 * texts. A line that is complete within the input is handed out where it lies; `pending` is used
 * only while a line straddles two calls.
 */
#include "boxd/linecut.h"

#include "boxd/utf8.h"
#include "swar_internal.h"

/* A larger pending buffer is given back when its line is done: most lines never need one. */
#define LINECUT_KEEP_BYTES 4096u

static inline uint64_t linecut_mask(uint64_t w)
{
	return swar_equal(w, '\n') | swar_equal(w, '\r');
}

/* Offset of the first terminator in [p, p + n), n when there is none. */
static inline size_t linecut_find(const uint8_t *p, size_t n)
{
	size_t i = 0;

	for (; n - i >= SWAR_BYTES; i += SWAR_BYTES) {
		uint64_t mask = linecut_mask(swar_load(p + i));

		if (mask != 0)
			return i + swar_first(mask);
	}
	while (i < n && p[i] != '\n' && p[i] != '\r')
		i++;
	return i;
}

void linecut_init(struct linecut *c, size_t max)
{
	*c = (struct linecut){.max = max};
}

void linecut_fini(struct linecut *c)
{
	buf_fini(&c->pending);
	c->given = 0;
}

/* The text of the previous call may lie in pending: only now is it no longer needed. */
static void linecut_drop_given(struct linecut *c)
{
	if (c->given == 0)
		return;
	buf_drain(&c->pending, c->given);
	c->given = 0;
	if (buf_len(&c->pending) == 0 && c->pending.cap > LINECUT_KEEP_BYTES)
		buf_fini(&c->pending);
}

static inline void linecut_advance(const uint8_t **in, size_t *n, size_t by)
{
	*in += by;
	*n -= by;
}

/*
 * Takes the terminator at *in. The LF of a CRLF is left for the next call even when it is there
 * already: where a text ends must not depend on how the input was cut.
 */
static inline void linecut_take_end(struct linecut *c, const uint8_t **in, size_t *n)
{
	c->skip_lf = **in == '\r';
	linecut_advance(in, n, 1);
}

/* How much of a line that begins with these max bytes and goes on makes the next text. */
static inline size_t linecut_split(const struct linecut *c, const uint8_t *line)
{
	return c->max - utf8_incomplete_tail(line, c->max);
}

/* Keeps bytes of a line whose end is not here. */
static enum linecut_result linecut_keep(
	struct linecut *c, const uint8_t **in, size_t *n, size_t take, enum linecut_result done)
{
	if (take > 0 && buf_add(&c->pending, *in, take) < 0)
		return LINECUT_NO_MEM;
	linecut_advance(in, n, take);
	return done;
}

/* The line began in an earlier call: completes it, splits it, or keeps more of it. */
static enum linecut_result linecut_straddle(
	struct linecut *c, const uint8_t **in, size_t *n, const uint8_t **text, size_t *text_n)
{
	size_t room = c->max - buf_len(&c->pending);
	size_t window = *n <= room ? *n : room + 1;
	size_t len = linecut_find(*in, window);

	if (len == window && window <= room)
		return linecut_keep(c, in, n, len, LINECUT_MORE);
	if (linecut_keep(c, in, n, len, LINECUT_TEXT) == LINECUT_NO_MEM)
		return LINECUT_NO_MEM;
	*text = buf_data(&c->pending);
	if (len == window) {
		c->given = linecut_split(c, *text);
	} else {
		c->given = buf_len(&c->pending);
		linecut_take_end(c, in, n);
	}
	*text_n = c->given;
	return LINECUT_TEXT;
}

enum linecut_result linecut_next(
	struct linecut *c, const uint8_t **in, size_t *n, const uint8_t **text, size_t *text_n)
{
	size_t window, len;

	linecut_drop_given(c);
	if (c->skip_lf && *n > 0) {
		c->skip_lf = false;
		if (**in == '\n')
			linecut_advance(in, n, 1);
	}
	if (*n == 0)
		return LINECUT_MORE;
	if (buf_len(&c->pending) > 0)
		return linecut_straddle(c, in, n, text, text_n);
	window = *n <= c->max ? *n : c->max + 1;
	len = linecut_find(*in, window);
	if (len == window && window <= c->max)
		return linecut_keep(c, in, n, len, LINECUT_MORE);
	*text = *in;
	*text_n = len;
	if (len == window) {
		*text_n = linecut_split(c, *in);
		linecut_advance(in, n, *text_n);
		return LINECUT_TEXT;
	}
	linecut_advance(in, n, len);
	linecut_take_end(c, in, n);
	if (len == 0) { /* a blank line: what is left of a split one is never empty */
		*text = (const uint8_t *)"\n";
		*text_n = 1;
	}
	return LINECUT_TEXT;
}

bool linecut_flush(struct linecut *c, const uint8_t **text, size_t *text_n)
{
	linecut_drop_given(c);
	c->skip_lf = false;
	c->given = buf_len(&c->pending);
	if (c->given == 0)
		return false;
	*text = buf_data(&c->pending);
	*text_n = c->given;
	return true;
}

size_t linecut_last_end(const uint8_t *data, size_t n)
{
	while (n >= SWAR_BYTES && linecut_mask(swar_load(data + n - SWAR_BYTES)) == 0)
		n -= SWAR_BYTES;
	while (n > 0 && data[n - 1] != '\n' && data[n - 1] != '\r')
		n--;
	return n;
}
