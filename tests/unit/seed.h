/*
 * Where the random tests begin. The same every time, so that a run says something about the change
 * it was made for; BOXD_TEST_SEED gives another one.
 */
#ifndef BOXD_TESTS_SEED_H
#define BOXD_TESTS_SEED_H

#include <stdint.h>
#include <stdlib.h>

/* The number is never 0, which would keep a xorshift at 0. */
static inline uint32_t test_seed(void)
{
	const char *given = getenv("BOXD_TEST_SEED");
	uint32_t n = given != NULL ? (uint32_t)strtoul(given, NULL, 10) : 0;

	return n != 0 ? n : 20261120;
}

#endif
