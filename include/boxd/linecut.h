/*
 * Cuts output into the texts of stream events (contract 2.4): at LF and at CR, CRLF counting as
 * one terminator also across calls; a blank line is the text "\n"; a line over the limit is split,
 * never inside a UTF-8 sequence; the unterminated tail comes with linecut_flush().
 * Complete lines within one call are returned in place; only a line that straddles calls is copied.
 */
#ifndef BOXD_LINECUT_H
#define BOXD_LINECUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"

struct linecut {
	struct buf pending; /* the beginning of a line whose end was not seen */
	size_t given;       /* how much of pending the last text was */
	size_t max;         /* longest text in bytes */
	bool skip_lf;       /* the last byte was CR: an LF now belongs to it */
};

enum linecut_result {
	LINECUT_TEXT,  /* *text, *text_n hold one event's text, valid until the next call */
	LINECUT_MORE,  /* all input was taken */
	LINECUT_NO_MEM /* nothing was lost: call again with the same input later */
};

/* max >= 4. Nothing is allocated until a line straddles two calls. */
void linecut_init(struct linecut *c, size_t max) __attribute__((nonnull));
void linecut_fini(struct linecut *c) __attribute__((nonnull));

/*
 * Takes bytes from [*in, *in + *n) and advances both past what it took: with LINECUT_TEXT up to and
 * including the terminator (of a CRLF the CR; the LF is taken by the next call). Call until
 * LINECUT_MORE.
 */
enum linecut_result linecut_next(struct linecut *c, const uint8_t **in, size_t *n,
	const uint8_t **text, size_t *text_n) __attribute__((warn_unused_result, nonnull));

/* End of the stream: true when a tail without terminator was there. Empties the cutter. */
bool linecut_flush(struct linecut *c, const uint8_t **text, size_t *text_n)
	__attribute__((nonnull));

/* Bytes held back: they belong to a line that is not complete. */
static inline size_t linecut_pending(const struct linecut *c)
{
	return buf_len(&c->pending) - c->given;
}

/*
 * Offset just past the last terminator in data, or 0 when there is none: where the partial line
 * begins after these bytes.
 */
size_t linecut_last_end(const uint8_t *data, size_t n);

#endif
