/*
 * range: from `bytes=0-9, -5` to offsets.
 *
 * All of the field is read before anything is decided, so that a malformed one is told so whatever
 * stands in front of the mistake and however large the file is. A number may have any length: one
 * beyond 64 bits is beyond every file, and saturates.
 */
#include "boxd/range.h"

#include <stdbool.h>

#define RANGE_UNIT "bytes="

enum range_spec { RANGE_SPEC_IN, RANGE_SPEC_OUT, RANGE_SPEC_BAD };

/* Takes the digits that s begins with; false when there are none. */
static bool range_number(struct str *s, uint64_t *out)
{
	const char *start = s->p;
	uint64_t value = 0;

	while (s->n > 0 && *s->p >= '0' && *s->p <= '9') {
		unsigned int digit = (unsigned int)(*s->p - '0');

		value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
		s->p++;
		s->n--;
	}
	*out = value;
	return s->p > start;
}

static bool range_dash(struct str *s)
{
	if (s->n == 0 || *s->p != '-')
		return false;
	s->p++;
	s->n--;
	return true;
}

/* One element: `first-`, `first-last` or `-length`; as far as it lies in the file. */
static enum range_spec range_element(struct str s, uint64_t size, struct range *out)
{
	uint64_t first, last;
	bool has_first = range_number(&s, &first);

	if (!range_dash(&s))
		return RANGE_SPEC_BAD;
	bool has_last = range_number(&s, &last);
	if (s.n > 0 || (!has_first && !has_last))
		return RANGE_SPEC_BAD;
	if (!has_first) {
		if (last == 0 || size == 0)
			return RANGE_SPEC_OUT;
		*out = (struct range){last < size ? size - last : 0, size - 1};
		return RANGE_SPEC_IN;
	}
	if (!has_last)
		last = UINT64_MAX;
	if (last < first)
		return RANGE_SPEC_BAD;
	if (first >= size)
		return RANGE_SPEC_OUT;
	*out = (struct range){first, last < size ? last : size - 1};
	return RANGE_SPEC_IN;
}

/* Are they together longer than the file? None of them is alone. */
static bool range_exceeds(const struct range *r, size_t n, uint64_t size)
{
	uint64_t left = size;

	for (size_t i = 0; i < n; i++) {
		uint64_t length = r[i].last - r[i].first + 1;

		if (length > left)
			return true;
		left -= length;
	}
	return false;
}

enum range_result range_parse(
	struct str value, uint64_t size, struct range *out, size_t max, size_t *n)
{
	const size_t unit = sizeof(RANGE_UNIT) - 1;
	size_t asked = 0;
	struct str element;

	*n = 0;
	if (value.n < unit || !str_ieq((struct str){value.p, unit}, STR(RANGE_UNIT)))
		return RANGE_WHOLE;
	value.p += unit;
	value.n -= unit;
	for (; str_list_next(&value, &element); asked++) {
		struct range r = {0};
		enum range_spec spec = range_element(element, size, &r);

		if (spec == RANGE_SPEC_BAD) {
			*n = 0;
			return RANGE_BAD;
		}
		/* Beyond max the count alone matters: all of them are dropped then. */
		if (spec == RANGE_SPEC_IN && *n < max)
			out[(*n)++] = r;
	}
	if (asked == 0)
		return RANGE_BAD;
	if (size == 0 || asked > max)
		*n = 0;
	else if (*n == 0)
		return RANGE_NONE;
	else if (range_exceeds(out, *n, size))
		*n = 0;
	return *n == 0 ? RANGE_WHOLE : RANGE_SOME;
}
