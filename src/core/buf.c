/*
 * buf: bytes in at the tail, out at the head.
 *
 * Draining only moves an index. The space it leaves is taken back when room is needed and at least
 * half of the memory is free at the head, so that every byte is moved a bounded number of times
 * however the buffer is used.
 */
#include "boxd/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_CAP_MIN 64

/* Moves the content to the start of the memory. */
static void buf_compact(struct buf *b)
{
	size_t len = buf_len(b);

	if (b->head > 0 && len > 0)
		memmove(b->mem, b->mem + b->head, len);
	b->head = 0;
	b->tail = len;
}

/* Moves the content to fresh memory with room for n more bytes. */
static int buf_grow(struct buf *b, size_t n)
{
	size_t len = buf_len(b);
	size_t cap = BUF_CAP_MIN;
	uint8_t *mem;

	if (n > SIZE_MAX / 2 - len)
		return -1;
	if (cap < b->cap && b->cap <= SIZE_MAX / 2)
		cap = b->cap * 2;
	if (cap < len + n)
		cap = len + n;
	if (b->head == 0) {
		mem = realloc(b->mem, cap);
		if (mem == NULL)
			return -1;
	} else {
		mem = malloc(cap);
		if (mem == NULL)
			return -1;
		if (len > 0)
			memcpy(mem, b->mem + b->head, len);
		free(b->mem);
	}
	*b = (struct buf){.mem = mem, .tail = len, .cap = cap};
	return 0;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	if (b->mem == NULL || n > b->cap - b->tail) {
		size_t len = buf_len(b);

		if (b->mem != NULL && b->head >= b->cap / 2 && n <= b->cap - len)
			buf_compact(b);
		else if (buf_grow(b, n) < 0)
			return NULL;
	}
	return b->mem + b->tail;
}

int buf_add(struct buf *b, const void *data, size_t n)
{
	uint8_t *to;

	if (n == 0)
		return 0;
	to = buf_reserve(b, n);
	if (to == NULL)
		return -1;
	memcpy(to, data, n);
	buf_commit(b, n);
	return 0;
}

int buf_add_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

/* Formats into the spare room; when that is too small, makes room and formats again. */
__attribute__((format(printf, 2, 0))) static int buf_vprintf(
	struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	size_t room;
	uint8_t *to;
	int n;

	to = buf_reserve(b, BUF_CAP_MIN);
	if (to == NULL)
		return -1;
	room = b->cap - b->tail;
	va_copy(again, ap);
	n = vsnprintf((char *)to, room, fmt, ap);
	if (n >= 0 && (size_t)n >= room) {
		to = buf_reserve(b, (size_t)n + 1);
		n = to == NULL ? -1 : vsnprintf((char *)to, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	if (n < 0)
		return -1;
	buf_commit(b, (size_t)n);
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return rc;
}

void buf_drain(struct buf *b, size_t n)
{
	assert(n <= buf_len(b));
	b->head += n;
	if (b->head == b->tail)
		buf_clear(b);
}

void buf_fini(struct buf *b)
{
	free(b->mem);
	*b = (struct buf){0};
}

void buf_trim(struct buf *b)
{
	uint8_t *mem;

	if (buf_len(b) == 0) {
		buf_fini(b);
		return;
	}
	buf_compact(b);
	mem = realloc(b->mem, b->tail);
	if (mem == NULL)
		return; /* the old memory is still good */
	b->mem = mem;
	b->cap = b->tail;
}
