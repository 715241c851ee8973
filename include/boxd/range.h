/* The Range field (RFC 9110 14.2). Pure. */
#ifndef BOXD_RANGE_H
#define BOXD_RANGE_H

#include <stddef.h>
#include <stdint.h>

#include "boxd/str.h"

struct range {
	uint64_t first, last; /* both included; last < size */
};

enum range_result {
	RANGE_WHOLE, /* no usable range: send everything (200) */
	RANGE_SOME,  /* *n ranges, in the order asked for (206) */
	RANGE_NONE,  /* well-formed, but none of it is in the file (416) */
	RANGE_BAD    /* begins with "bytes=" and is malformed (416) */
};

/*
 * Whole: a unit other than bytes, an empty file, more than max ranges asked for, or ranges that
 * together are longer than the file (a client that wants the same bytes many times gets them once).
 * Ranges outside the file are left out, ends beyond it are clamped; "-n" is the last n bytes.
 * Bad comes first: a malformed field is that for every size and number of ranges. *n is 0 unless
 * the result is RANGE_SOME.
 */
enum range_result range_parse(struct str value, uint64_t size, struct range *out, size_t max,
	size_t *n) __attribute__((warn_unused_result, nonnull));

#endif
