/*
 * Text that looks like source code, the same for the same seed: what the benchmarks of searching
 * and replacing work on.
 */
#ifndef BENCH_TEXT_H
#define BENCH_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TEXT_LINE_MAX 512

struct text {
	uint64_t state;
};

void text_init(struct text *t, uint64_t seed) __attribute__((nonnull));

/* 64 bits that look random. */
uint64_t text_random(struct text *t) __attribute__((nonnull));

/* A word of some letters, for names. NUL-terminated, never freed. */
const char *text_word(struct text *t) __attribute__((nonnull));

/* Writes one line, its LF included, and returns its length: at most TEXT_LINE_MAX. */
size_t text_line(struct text *t, char *out) __attribute__((nonnull));

#endif
