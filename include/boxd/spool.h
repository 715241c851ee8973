/*
 * A nameless file for bytes that have no place yet: parts of an upload that arrive before it is
 * said where they belong. One file, appended to; a piece is an offset and a length. Synchronous,
 * for disk threads.
 */
#ifndef BOXD_SPOOL_H
#define BOXD_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "boxd/err.h"

struct spool;

/* In the directory `dir` (borrowed for the call). NULL with e set. */
struct spool *spool_new(int dir, struct err *e) __attribute__((warn_unused_result, nonnull));
void spool_free(struct spool *s); /* NULL is fine */

/* Where the next byte will be. */
uint64_t spool_end(const struct spool *s) __attribute__((nonnull));
/* Appends all of it: ERR_NO_SPACE and the like; then the spool is of no use any more. */
int spool_put(struct spool *s, const void *data, size_t n, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 4)));
/* Writes the piece to fd, at its own offset. */
int spool_copy(const struct spool *s, uint64_t at, uint64_t n, int fd, struct err *e)
	__attribute__((warn_unused_result, nonnull));

#endif
