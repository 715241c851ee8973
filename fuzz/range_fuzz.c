/*
 * Fuzzes the Range field, the conditional fields and dates; the first byte of an input chooses. The
 * oracles: what a Range asks for is what its elements ask for one by one, and saying it again in
 * plain form changes nothing; the conditions agree with a reading of RFC 9110 13.2.2 that is
 * written down here once more; every instant survives being written in each of the three forms.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "boxd/clock.h"
#include "boxd/cond.h"
#include "boxd/range.h"
#include "fuzz.h"

#define RANGES_MAX 4

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* ---- Range ---- */

/* The ranges of the elements between commas, each read as a field of its own; RANGE_BAD: none. */
static enum range_result one_by_one(
	struct str set, uint64_t size, struct range *out, size_t *n, size_t *asked)
{
	bool bad = false;

	*n = *asked = 0;
	for (size_t at = 0; at <= set.n;) {
		char field[64] = "bytes=";
		const char *comma = at < set.n ? memchr(set.p + at, ',', set.n - at) : NULL;
		size_t end = comma != NULL ? (size_t)(comma - set.p) : set.n, next = end + 1, k;
		struct range one[1];

		while (at < end && is_space(set.p[at]))
			at++;
		while (end > at && is_space(set.p[end - 1]))
			end--;
		if (end > at && end - at <= sizeof(field) - 6) {
			memcpy(field + 6, set.p + at, end - at);
			switch (range_parse((struct str){field, 6 + end - at}, size, one, 1, &k)) {
			case RANGE_BAD: bad = true; break;
			case RANGE_SOME:
				FUZZ_CHECK(k == 1);
				if (*n < RANGES_MAX)
					out[(*n)++] = one[0];
				break;
			case RANGE_WHOLE: FUZZ_CHECK(size == 0); break;
			case RANGE_NONE: break;
			}
			++*asked;
		}
		at = next;
	}
	return bad || *asked == 0 ? RANGE_BAD : *n > 0 ? RANGE_SOME : RANGE_NONE;
}

static void check_again(const struct range *r, size_t n, uint64_t size)
{
	char field[256];
	struct range again[RANGES_MAX];
	uint64_t left = size;
	size_t len = 6, k;

	memcpy(field, "bytes=", 6);
	for (size_t i = 0; i < n; i++) {
		FUZZ_CHECK(r[i].first <= r[i].last && r[i].last < size);
		FUZZ_CHECK(r[i].last - r[i].first < left);
		left -= r[i].last - r[i].first + 1;
		len += (size_t)snprintf(field + len, sizeof(field) - len,
			"%" PRIu64 "-%" PRIu64 ",", r[i].first, r[i].last);
	}
	FUZZ_CHECK(
		range_parse((struct str){field, len}, size, again, RANGES_MAX, &k) == RANGE_SOME);
	FUZZ_CHECK(k == n && memcmp(r, again, n * sizeof(*r)) == 0);
}

static void check_range(const char *p, size_t n, uint64_t size)
{
	struct range got[RANGES_MAX], expected[RANGES_MAX];
	size_t got_n, expected_n, asked;
	enum range_result r = range_parse((struct str){p, n}, size, got, RANGES_MAX, &got_n);

	FUZZ_CHECK((r == RANGE_SOME) == (got_n > 0) && got_n <= RANGES_MAX);
	if (n < 6 || strncasecmp(p, "bytes=", 6) != 0) {
		FUZZ_CHECK(r == RANGE_WHOLE);
		return;
	}
	/* Quotes hide commas from the list, and a long element is all digits: not compared here. */
	if (r == RANGE_SOME)
		check_again(got, got_n, size);
	if (memchr(p, '"', n) != NULL || n > 48)
		return;
	enum range_result one = one_by_one(
		(struct str){p + 6, n - 6}, size, expected, &expected_n, &asked);
	if (one == RANGE_BAD) {
		FUZZ_CHECK(r == RANGE_BAD);
	} else if (size == 0 || asked > RANGES_MAX) {
		FUZZ_CHECK(r == RANGE_WHOLE);
	} else if (one == RANGE_NONE) {
		FUZZ_CHECK(r == RANGE_NONE);
	} else if (r == RANGE_SOME) {
		FUZZ_CHECK(got_n == expected_n);
		FUZZ_CHECK(memcmp(got, expected, got_n * sizeof(*got)) == 0);
	} else {
		FUZZ_CHECK(r == RANGE_WHOLE && expected_n > 1);
	}
}

/* ---- conditions ---- */

#define ETAG "\"t1\""

/* RFC 9110 8.8.3 and 5.6.1, a byte at a time. */
static bool list_has(struct str s, bool weak_too)
{
	enum { BETWEEN, SLASH, QUOTE, INSIDE, BEHIND } state = BETWEEN;
	bool weak = false, found = false;
	size_t start = 0;

	if (s.n == 1 && s.p[0] == '*')
		return true;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		switch (state) {
		case BETWEEN:
			if (c == ',' || is_space((char)c))
				continue;
			weak = c == 'W';
			start = i;
			if (c != 'W' && c != '"')
				return false;
			state = weak ? SLASH : INSIDE;
			continue;
		case SLASH:
			if (c != '/')
				return false;
			state = QUOTE;
			continue;
		case QUOTE:
			if (c != '"')
				return false;
			start = i;
			state = INSIDE;
			continue;
		case INSIDE:
			if (c == '"') {
				found = found || ((weak_too || !weak) && i + 1 - start == 4 &&
							 memcmp(s.p + start, ETAG, 4) == 0);
				state = BEHIND;
			} else if (c < 0x21 || c == 0x7f) {
				return false;
			}
			continue;
		case BEHIND:
			if (c == ',')
				state = BETWEEN;
			else if (!is_space((char)c))
				return false;
		}
	}
	return found && (state == BETWEEN || state == BEHIND);
}

static enum cond_result decide(const struct cond *c, bool exists, int64_t mtime, bool reading)
{
	int64_t date;

	if (c->if_match.p != NULL && !(exists && list_has(c->if_match, false)))
		return COND_FAILED;
	if (c->if_match.p == NULL && c->if_unmodified_since.p != NULL && exists &&
		cond_date(c->if_unmodified_since, &date) && mtime > date)
		return COND_FAILED;
	if (c->if_none_match.p != NULL && exists && list_has(c->if_none_match, true))
		return reading ? COND_NOT_MODIFIED : COND_FAILED;
	if (c->if_none_match.p == NULL && c->if_modified_since.p != NULL && exists && reading &&
		cond_date(c->if_modified_since, &date) && mtime <= date)
		return COND_NOT_MODIFIED;
	return COND_GO;
}

/* Fields are lines; "-" is one that is absent. */
static void check_cond(const char *p, size_t n, int64_t mtime)
{
	struct cond c = {0};
	struct str *const fields[] = {&c.if_match, &c.if_none_match, &c.if_modified_since,
		&c.if_unmodified_since, &c.if_range};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const char *lf = n > 0 ? memchr(p, '\n', n) : NULL;
		size_t len = lf != NULL ? (size_t)(lf - p) : n;

		*fields[i] = (struct str){p, len};
		if (len == 1 && *p == '-')
			*fields[i] = (struct str){NULL, 0};
		p += lf != NULL ? len + 1 : len;
		n -= lf != NULL ? len + 1 : len;
	}
	for (int i = 0; i < 4; i++) {
		bool exists = i & 1, reading = i & 2;

		FUZZ_CHECK(cond_check(&c, exists ? ETAG : NULL, mtime, reading) ==
			   decide(&c, exists, mtime, reading));
	}
	int64_t date;
	bool holds = c.if_range.p == NULL || str_eq(c.if_range, STR(ETAG)) ||
		     (cond_date(c.if_range, &date) && date == mtime);
	FUZZ_CHECK(cond_range_holds(&c, ETAG, mtime) == holds);
}

/* ---- dates ---- */

static void check_instant(int64_t t)
{
	static const char *const days[] = {"Mon", "Tues", "Wednes", "Thurs", "Fri", "Satur", "Sun"};
	char http[CLOCK_HTTP_DATE_LEN + 1], text[64];
	int64_t got;
	size_t day = 0;

	clock_http_date(t * 1000, http);
	FUZZ_CHECK(cond_date(str_of(http), &got) && got == t);
	/* "Sun Nov  6 08:49:37 1994" out of "Sun, 06 Nov 1994 08:49:37 GMT" */
	snprintf(text, sizeof(text), "%.3s %.3s %c%c %.8s %.4s", http, http + 8,
		http[5] == '0' ? ' ' : http[5], http[6], http + 17, http + 12);
	FUZZ_CHECK(cond_date(str_of(text), &got) && got == t);
	while (strncmp(days[day], http, 3) != 0)
		day++;
	snprintf(text, sizeof(text), "%sday, %.2s-%.3s-%.2s %.8s GMT", days[day], http + 5,
		http + 8, http + 14, http + 17);
	/* A year of two digits is one in sight: at most 50 ahead, less than 100 before that. */
	int64_t ahead = 50 * INT64_C(31556952);
	bool ok = cond_date(str_of(text), &got);
	FUZZ_CHECK(ok || memcmp(text + strlen(days[day]) + 5, "29-Feb-00", 9) == 0);
	if (ok && t <= ahead && t > ahead - 99 * INT64_C(31556952))
		FUZZ_CHECK(got == t);
}

/* A date that is understood says itself when it is written: but for the weekday and a 60th second.
 */
static void check_date(const char *p, size_t n)
{
	char http[CLOCK_HTTP_DATE_LEN + 1];
	int64_t t;

	if (!cond_date((struct str){p, n}, &t))
		return;
	clock_http_date(t * 1000, http);
	FUZZ_CHECK(n == 24 || n == CLOCK_HTTP_DATE_LEN || (n >= 30 && n <= 33));
	if (n == CLOCK_HTTP_DATE_LEN && memcmp(p + 23, "60", 2) != 0)
		FUZZ_CHECK(memcmp(p + 3, http + 3, n - 3) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t number = 0;

	if (size < 9)
		return 0;
	for (size_t i = 1; i < 9; i++)
		number = number << 8 | data[i];
	clock_fake(-1, 0);
	switch (data[0] % 3) {
	case 0: check_range((const char *)data + 9, size - 9, number >> data[0] / 3 % 64); break;
	case 1: check_cond((const char *)data + 9, size - 9, (int64_t)(number >> 32)); break;
	default:
		check_instant((int64_t)(number % UINT64_C(315569520000)) - INT64_C(62167219200));
		check_date((const char *)data + 9, size - 9);
		break;
	}
	return 0;
}
