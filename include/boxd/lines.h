/*
 * A range of lines out of a stream of bytes (contract 1.15, line mode): lines end at LF, all CR
 * at a line's end are dropped, lines come out joined by one LF, without one at the end. Pure and
 * incremental; any split of the input gives the same output.
 */
#ifndef BOXD_LINES_H
#define BOXD_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"

struct lines {
	uint64_t skip;    /* lines still to pass over */
	uint64_t left;    /* lines still wanted */
	uint64_t held_cr; /* CRs seen that may be the end of a line */
	bool started;     /* the first wanted line has begun: an LF goes before the next */
	bool in_line;     /* a byte of the current wanted line has been seen */
};

/* From the line `offset` (1 is the first), at most `limit` lines; UINT64_MAX is all of them. */
void lines_init(struct lines *l, uint64_t offset, uint64_t limit) __attribute__((nonnull));

enum lines_result {
	LINES_MORE,
	LINES_DONE, /* all wanted lines are out: no further input changes anything */
	LINES_FULL, /* the output is full: feed the rest again */
	LINES_NO_MEM
};

/*
 * Takes bytes at *in, *n, advances both and appends to out, which is not filled beyond `room`
 * bytes. LINES_MORE took them all. There is nothing to do at the end of the input: a line without
 * an LF is out by then, and CRs at its end are dropped.
 */
enum lines_result lines_feed(struct lines *l, const uint8_t **in, size_t *n, struct buf *out,
	size_t room) __attribute__((warn_unused_result, nonnull));

#endif
