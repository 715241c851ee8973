/*
 * A growable byte buffer that is filled at the tail and drained at the head: request heads and
 * bodies, and the output queue of a connection. It has no limit of its own; whoever fills it
 * checks limits.h first. A zeroed struct is an empty buffer.
 */
#ifndef BOXD_BUF_H
#define BOXD_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *mem; /* NULL while nothing was ever stored */
	size_t head;  /* first unread byte */
	size_t tail;  /* one past the last stored byte */
	size_t cap;
};

static inline size_t buf_len(const struct buf *b)
{
	return b->tail - b->head;
}

/* The unread bytes. Valid until the next call that may grow, drain or release the buffer. */
static inline uint8_t *buf_data(const struct buf *b)
{
	return b->mem == NULL ? NULL : b->mem + b->head;
}

/* Makes room for n more bytes and returns where they go, or NULL when memory is out. */
uint8_t *buf_reserve(struct buf *b, size_t n) __attribute__((warn_unused_result, nonnull));

/* Says that n of the reserved bytes were written. */
static inline void buf_commit(struct buf *b, size_t n)
{
	b->tail += n;
}

/* Appends. Return 0, or -1 with the buffer unchanged when memory is out. */
int buf_add(struct buf *b, const void *data, size_t n)
	__attribute__((warn_unused_result, nonnull(1)));
int buf_add_str(struct buf *b, const char *s) __attribute__((warn_unused_result, nonnull));
int buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((warn_unused_result, format(printf, 2, 3), nonnull(1, 2)));

/* Drops n bytes at the head (n <= buf_len). */
void buf_drain(struct buf *b, size_t n) __attribute__((nonnull));

/* Forgets the content and keeps the memory. */
static inline void buf_clear(struct buf *b)
{
	b->head = b->tail = 0;
}

/* Releases the memory; the buffer is empty and usable again. */
void buf_fini(struct buf *b) __attribute__((nonnull));

/* Gives spare capacity back, so that a long-lived buffer costs what it holds. Cannot fail. */
void buf_trim(struct buf *b) __attribute__((nonnull));

#endif
