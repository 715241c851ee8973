/*
 * clock: two clocks, and their text forms.
 *
 * Dates are computed here and not by gmtime_r(3): a C library may open the image's time zone files
 * for it, and takes a lock. The years 0 to 9999 are what the formats can hold; a file may carry
 * any time, so others are clamped.
 */
#include "boxd/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define CLOCK_DAY_MS INT64_C(86400000)
#define CLOCK_MIN_MS INT64_C(-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define CLOCK_MAX_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

static _Atomic int64_t clock_fake_mono_us = -1;
static _Atomic int64_t clock_fake_real_ms = -1;

static int64_t clock_read_us(clockid_t id)
{
	struct timespec ts = {0};

	clock_gettime(id, &ts); /* cannot fail for these two clocks */
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
	int64_t fake = atomic_load_explicit(&clock_fake_mono_us, memory_order_relaxed);

	return fake >= 0 ? fake : clock_read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

int64_t clock_real_ms(void)
{
	int64_t fake = atomic_load_explicit(&clock_fake_real_ms, memory_order_relaxed);

	return fake >= 0 ? fake : clock_read_us(CLOCK_REALTIME) / 1000;
}

void clock_fake(int64_t mono_us, int64_t real_ms)
{
	atomic_store(&clock_fake_mono_us, mono_us);
	atomic_store(&clock_fake_real_ms, real_ms);
}

struct clock_date {
	unsigned int year, month, day; /* month and day count from 1 */
	unsigned int weekday;          /* 0 is Sunday */
	unsigned int hour, minute, second, ms;
};

static bool clock_is_leap(unsigned int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/*
 * Days since 0000-01-01 to a date. Years have 365 or 366 days in a cycle of 400 years (146097
 * days); dividing by the mean length gives the year or the one after it, never less.
 */
static void clock_civil(unsigned int days, struct clock_date *d)
{
	static const unsigned char lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	unsigned int year = (unsigned int)((uint64_t)days * 400 / 146097);
	unsigned int first;

	for (;; year--) {
		/* Leap days before year; year 0 is a leap year itself. */
		first = year * 365;
		if (year > 0)
			first += (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1;
		if (first <= days)
			break;
	}
	days -= first;
	if (days >= (clock_is_leap(year) ? 366U : 365U)) {
		days -= clock_is_leap(year) ? 366 : 365;
		year++;
	}
	d->year = year;
	for (d->month = 1;; d->month++) {
		unsigned int length = lengths[d->month - 1];

		if (d->month == 2 && clock_is_leap(year))
			length = 29;
		if (days < length)
			break;
		days -= length;
	}
	d->day = days + 1;
}

static struct clock_date clock_date_of(int64_t real_ms)
{
	struct clock_date d;
	unsigned int days, in_day;

	if (real_ms < CLOCK_MIN_MS)
		real_ms = CLOCK_MIN_MS;
	if (real_ms > CLOCK_MAX_MS)
		real_ms = CLOCK_MAX_MS;
	real_ms -= CLOCK_MIN_MS;
	days = (unsigned int)(real_ms / CLOCK_DAY_MS);
	in_day = (unsigned int)(real_ms % CLOCK_DAY_MS);
	clock_civil(days, &d);
	d.weekday = (days + 6) % 7; /* 0000-01-01 is a Saturday */
	d.ms = in_day % 1000;
	d.second = in_day / 1000 % 60;
	d.minute = in_day / 60000 % 60;
	d.hour = in_day / 3600000;
	return d;
}

/* Writes value as exactly `width` digits and returns what follows them. */
static char *clock_digits(char *to, unsigned int value, int width)
{
	for (int i = width - 1; i >= 0; i--) {
		to[i] = (char)('0' + value % 10);
		value /= 10;
	}
	return to + width;
}

static char *clock_text(char *to, const char *text)
{
	size_t n = strlen(text);

	memcpy(to, text, n);
	return to + n;
}

/* "2026-11-20T13:05:00." and what follows it. */
static char *clock_put_second(char *p, const struct clock_date *d)
{
	p = clock_digits(p, d->year, 4);
	*p++ = '-';
	p = clock_digits(p, d->month, 2);
	*p++ = '-';
	p = clock_digits(p, d->day, 2);
	*p++ = 'T';
	p = clock_digits(p, d->hour, 2);
	*p++ = ':';
	p = clock_digits(p, d->minute, 2);
	*p++ = ':';
	p = clock_digits(p, d->second, 2);
	*p++ = '.';
	return p;
}

void clock_rfc3339(int64_t real_ms, char out[static CLOCK_RFC3339_LEN + 1])
{
	struct clock_date d = clock_date_of(real_ms);
	char *p = clock_put_second(out, &d);

	p = clock_digits(p, d.ms, 3);
	*p++ = 'Z';
	*p = '\0';
}

void clock_rfc3339_ns(int64_t real_s, uint32_t ns, char out[static CLOCK_RFC3339_NS_LEN + 1])
{
	/* Seconds outside what milliseconds can say are clamped, as those are. */
	int64_t s = real_s < CLOCK_MIN_MS / 1000   ? CLOCK_MIN_MS / 1000
		    : real_s > CLOCK_MAX_MS / 1000 ? CLOCK_MAX_MS / 1000
						   : real_s;
	struct clock_date d = clock_date_of(s * 1000);
	char *p = clock_put_second(out, &d);

	p = clock_digits(p, ns, 9);
	*p++ = 'Z';
	*p = '\0';
}

void clock_http_date(int64_t real_ms, char out[static CLOCK_HTTP_DATE_LEN + 1])
{
	static const char weekdays[][6] = {
		"Sun, ", "Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, "};
	static const char months[][6] = {" Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
		" Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
	struct clock_date d = clock_date_of(real_ms);
	char *p = out;

	p = clock_text(p, weekdays[d.weekday]);
	p = clock_digits(p, d.day, 2);
	p = clock_text(p, months[d.month - 1]);
	p = clock_digits(p, d.year, 4);
	*p++ = ' ';
	p = clock_digits(p, d.hour, 2);
	*p++ = ':';
	p = clock_digits(p, d.minute, 2);
	*p++ = ':';
	p = clock_digits(p, d.second, 2);
	p = clock_text(p, " GMT");
	*p = '\0';
}
