/*
 * What fuzz targets share. FUZZ_CHECK() is the oracle's voice: unlike assert() it also speaks in
 * release builds, where the corpus is replayed as a test.
 */
#ifndef BOXD_FUZZ_H
#define BOXD_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond)                                                                   \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                           \
		}                                                                          \
	} while (0)

/* The length of the next piece of an input that is fed in pieces: 1..15, or all at once. */
static inline size_t fuzz_step(uint32_t *seed, size_t left)
{
	size_t step;

	*seed = *seed * 1664525u + 1013904223u;
	step = *seed >> 28;
	return step == 0 || step > left ? left : step;
}

#endif
