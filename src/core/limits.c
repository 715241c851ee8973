/* limits: the table of limits.h as data, and the values in force. */
#include "boxd/limits.h"

#include <assert.h>
#include <strings.h>

#define LIMIT_CHECK(name, def, min, max, unit, why) \
	static_assert((min) >= 0 && (min) <= (def) && (def) <= (max), #name " has a bad row");
LIMITS(LIMIT_CHECK)
#undef LIMIT_CHECK

const struct limit_row limit_rows[LIMIT_COUNT_] = {
#define LIMIT_ROW(name, def, min, max, unit, why) {#name, def, min, max, unit, why},
	LIMITS(LIMIT_ROW)
#undef LIMIT_ROW
};

int64_t limit_values[LIMIT_COUNT_] = {
#define LIMIT_VALUE(name, def, min, max, unit, why) def,
	LIMITS(LIMIT_VALUE)
#undef LIMIT_VALUE
};

enum limit limit_find(const char *name)
{
	for (int i = 0; i < LIMIT_COUNT_; i++) {
		if (strcasecmp(limit_rows[i].name, name) == 0)
			return (enum limit)i;
	}
	return LIMIT_COUNT_;
}

bool limit_set(enum limit l, int64_t value)
{
	if (value < limit_rows[l].min || value > limit_rows[l].max)
		return false;
	limit_values[l] = value;
	return true;
}
