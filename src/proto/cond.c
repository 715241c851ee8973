/*
 * cond: is the client's picture of the file still the right one?
 *
 * A field of entity tags is read to its end before its answer counts, since what is malformed
 * matches nothing. Tags are read here and not by str_list_next(): in a tag a backslash is a
 * character like any other, and a comma too.
 *
 * A date is read in one of three fixed layouts, each written as a pattern. Days are counted here
 * and not by timegm(3), for the reason that clock.c gives.
 */
#include "boxd/cond.h"

#include <string.h>

#include "boxd/clock.h"

/* ---- entity tags ---- */

struct cond_tag {
	struct str opaque; /* with its quotes */
	bool weak;
};

/* Always true, so that a function that takes something can end in it. */
static bool cond_take(struct str *s, size_t n)
{
	s->p += n;
	s->n -= n;
	return true;
}

/* etagc: visible ASCII but the quote, and what is beyond ASCII. */
static bool cond_is_tag_byte(char c)
{
	unsigned char u = (unsigned char)c;

	return u == 0x21 || (u >= 0x23 && u != 0x7f);
}

/* Takes the tag that s begins with; false when there is none. */
static bool cond_tag(struct str *s, struct cond_tag *tag)
{
	size_t n = 1;

	tag->weak = s->n >= 2 && s->p[0] == 'W' && s->p[1] == '/' && cond_take(s, 2);
	if (s->n == 0 || *s->p != '"')
		return false;
	while (n < s->n && cond_is_tag_byte(s->p[n]))
		n++;
	if (n == s->n || s->p[n] != '"')
		return false;
	tag->opaque = (struct str){s->p, n + 1};
	return cond_take(s, n + 1);
}

/* White space and, between elements, commas; says whether there was a comma. */
static bool cond_separator(struct str *s)
{
	bool comma = false;

	for (; s->n > 0 && (*s->p == ' ' || *s->p == '\t' || *s->p == ','); cond_take(s, 1))
		comma = comma || *s->p == ',';
	return comma;
}

/* `"*" / #entity-tag`. Does it name the current tag (NULL: there is no file)? */
static bool cond_list_has(struct str list, const char *etag, bool weak_too)
{
	bool found = false, separated = true;
	struct cond_tag tag;

	if (str_eq(list, STR("*")))
		return etag != NULL;
	cond_separator(&list);
	while (list.n > 0) {
		if (!separated || !cond_tag(&list, &tag))
			return false;
		if (etag != NULL && (weak_too || !tag.weak) && str_eq(tag.opaque, str_of(etag)))
			found = true;
		separated = cond_separator(&list);
	}
	return found;
}

/* ---- dates ---- */

struct cond_fields {
	unsigned int year, month, day, hour, minute, second; /* month and day count from 1 */
	bool short_year;                                     /* of two digits */
};

#define COND_DAY_S INT64_C(86400)

/* Takes one of the 3-letter names that stand in a row; its index from 1, or 0. */
static unsigned int cond_name(struct str *s, const char *names)
{
	if (s->n < 3)
		return 0;
	for (unsigned int i = 0; names[3 * i] != '\0'; i++) {
		if (memcmp(s->p, names + 3 * i, 3) == 0) {
			cond_take(s, 3);
			return i + 1;
		}
	}
	return 0;
}

static bool cond_digits(struct str *s, size_t n, unsigned int *out)
{
	*out = 0;
	if (s->n < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		*out = *out * 10 + (unsigned int)(s->p[i] - '0');
	}
	return cond_take(s, n);
}

/* The whole name of a day, as RFC 850 has it. */
static bool cond_long_day(struct str *s)
{
	static const char *const names[] = {
		"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if (s->n >= n && memcmp(s->p, names[i], n) == 0)
			return cond_take(s, n);
	}
	return false;
}

/* A day of two digits, the first of which may be a blank. */
static bool cond_padded_day(struct str *s, unsigned int *out)
{
	if (s->n == 0 || *s->p != ' ')
		return cond_digits(s, 2, out);
	cond_take(s, 1);
	return cond_digits(s, 1, out);
}

/* One field of a layout. */
static bool cond_field(struct str *s, char what, struct cond_fields *f)
{
	switch (what) {
	case 'a': return cond_name(s, "SunMonTueWedThuFriSat") != 0;
	case 'A': return cond_long_day(s);
	case 'b': return (f->month = cond_name(s, "JanFebMarAprMayJunJulAugSepOctNovDec")) != 0;
	case 'd': return cond_digits(s, 2, &f->day);
	case 'e': return cond_padded_day(s, &f->day);
	case 'H': return cond_digits(s, 2, &f->hour);
	case 'M': return cond_digits(s, 2, &f->minute);
	case 'S': return cond_digits(s, 2, &f->second);
	case 'Y': return cond_digits(s, 4, &f->year);
	case 'y':
	default: f->short_year = true; return cond_digits(s, 2, &f->year);
	}
}

/* Does all of s look like this? Fields as strftime(3) names them; the rest stands for itself. */
static bool cond_layout(struct str s, const char *layout, struct cond_fields *f)
{
	*f = (struct cond_fields){0};
	for (; *layout != '\0'; layout++) {
		if (*layout == '%') {
			if (!cond_field(&s, *++layout, f))
				return false;
		} else if (s.n == 0 || *s.p != *layout) {
			return false;
		} else {
			cond_take(&s, 1);
		}
	}
	return s.n == 0;
}

static bool cond_is_leap(unsigned int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool cond_is_real(const struct cond_fields *f)
{
	static const unsigned char lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (f->day == 0 || f->day > lengths[f->month - 1])
		return false;
	if (f->month == 2 && f->day == 29 && !cond_is_leap(f->year))
		return false;
	if (f->second == 60) /* a leap second comes at the end of a day */
		return f->hour == 23 && f->minute == 59;
	return f->hour < 24 && f->minute < 60 && f->second < 60;
}

/* Seconds since 1970. The year is thought to begin in March, so that a leap day is its last. */
static int64_t cond_unix(const struct cond_fields *f)
{
	int64_t year = (int64_t)f->year - (f->month < 3);
	int64_t leap_days = (year + 400) / 4 - (year + 400) / 100 + (year + 400) / 400 - 97;
	int64_t in_year = (153 * ((f->month + 9) % 12) + 2) / 5 + (int64_t)f->day - 1;
	int64_t days = 365 * year + leap_days + in_year - 719468;

	return days * COND_DAY_S + f->hour * 3600 + f->minute * 60 + f->second;
}

/*
 * RFC 9110 5.6.7: two digits mean the latest year that ends in them and is not more than 50 years
 * ahead. Those are 50 mean years, from this second on.
 */
static void cond_widen_year(struct cond_fields *f)
{
	int64_t last = clock_real_ms() / 1000 + 50 * (COND_DAY_S * 146097 / 400);
	struct cond_fields next = *f;

	next.year += 1900;
	do {
		f->year = next.year;
		next.year += 100;
	} while (next.year < 10000 && cond_unix(&next) <= last);
}

bool cond_date(struct str s, int64_t *unix_s)
{
	static const char *const layouts[] = {
		"%a, %d %b %Y %H:%M:%S GMT", /* the only one that is written today */
		"%A, %d-%b-%y %H:%M:%S GMT", /* RFC 850 */
		"%a %b %e %H:%M:%S %Y",      /* asctime(3) */
	};
	struct cond_fields f;

	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		if (!cond_layout(s, layouts[i], &f))
			continue;
		if (f.short_year)
			cond_widen_year(&f);
		if (!cond_is_real(&f))
			return false;
		*unix_s = cond_unix(&f);
		return true;
	}
	return false;
}

/* ---- the conditions ---- */

/* Is there such a field, with a date, and the file younger than that? */
static bool cond_modified_since(struct str field, int64_t mtime_s, bool *younger)
{
	int64_t date;

	if (field.p == NULL || !cond_date(field, &date))
		return false;
	*younger = mtime_s > date;
	return true;
}

enum cond_result cond_check(const struct cond *c, const char *etag, int64_t mtime_s, bool reading)
{
	bool younger;

	if (c->if_match.p != NULL) {
		if (!cond_list_has(c->if_match, etag, false))
			return COND_FAILED;
	} else if (etag != NULL && cond_modified_since(c->if_unmodified_since, mtime_s, &younger) &&
		   younger) {
		return COND_FAILED;
	}
	if (c->if_none_match.p != NULL) {
		if (cond_list_has(c->if_none_match, etag, true))
			return reading ? COND_NOT_MODIFIED : COND_FAILED;
	} else if (reading && etag != NULL &&
		   cond_modified_since(c->if_modified_since, mtime_s, &younger) && !younger) {
		return COND_NOT_MODIFIED;
	}
	return COND_GO;
}

bool cond_range_holds(const struct cond *c, const char *etag, int64_t mtime_s)
{
	struct str field = c->if_range;
	struct cond_tag tag;
	int64_t date;

	if (field.p == NULL)
		return true;
	if (cond_tag(&field, &tag))
		return field.n == 0 && !tag.weak && str_eq(tag.opaque, str_of(etag));
	return cond_date(c->if_range, &date) && date == mtime_s;
}

bool cond_guards_write(const struct cond *c)
{
	return c->if_match.p != NULL || c->if_none_match.p != NULL ||
	       c->if_unmodified_since.p != NULL;
}
