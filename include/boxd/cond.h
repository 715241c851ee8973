/*
 * Conditional requests (RFC 9110 13): the fields, and the order in which they count (13.2.2).
 * Pure, but for the clock, which a date with a year of two digits needs. Entity tags of boxd are
 * strong; a weak one from a client never matches If-Match or If-Range.
 */
#ifndef BOXD_COND_H
#define BOXD_COND_H

#include <stdbool.h>
#include <stdint.h>

#include "boxd/str.h"

/* Field values; p is NULL for one that is absent. */
struct cond {
	struct str if_match;
	struct str if_none_match;
	struct str if_modified_since;
	struct str if_unmodified_since;
	struct str if_range;
};

enum cond_result {
	COND_GO,
	COND_NOT_MODIFIED, /* 304; only when reading */
	COND_FAILED        /* 412 */
};

/*
 * etag: the current one with its quotes, NULL when there is no such file ("*" then matches
 * nothing). mtime_s: seconds since 1970, of no interest without a file. A list that is malformed
 * matches nothing; a date that is malformed is ignored, as 13.1.3 wants.
 */
enum cond_result cond_check(const struct cond *c, const char *etag, int64_t mtime_s, bool reading)
	__attribute__((warn_unused_result, nonnull(1)));

/*
 * Does If-Range (or its absence) let the Range field count? A date has to be that of Last-Modified
 * to the second.
 */
bool cond_range_holds(const struct cond *c, const char *etag, int64_t mtime_s)
	__attribute__((warn_unused_result, nonnull));

/* Is there any field that a writer has to check? */
bool cond_guards_write(const struct cond *c) __attribute__((nonnull));

/*
 * An HTTP date (RFC 9110 5.6.7), all three forms, in their exact case. False when it is none, or
 * no day of the calendar; whether the name of the weekday is the right one is not looked at.
 */
bool cond_date(struct str s, int64_t *unix_s) __attribute__((warn_unused_result, nonnull));

#endif
