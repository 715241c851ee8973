/* The two clocks boxd uses, and the seam tests use to set them. */
#ifndef BOXD_CLOCK_H
#define BOXD_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds and in microseconds: deadlines and durations. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

/* Unix time in milliseconds: what clients see. */
int64_t clock_real_ms(void);

/* "2026-11-20T13:05:00.123Z" (RFC 3339, UTC, milliseconds). */
#define CLOCK_RFC3339_LEN 24
void clock_rfc3339(int64_t real_ms, char out[static CLOCK_RFC3339_LEN + 1]);

/* "2026-11-20T13:05:00.123456789Z": times of files. ns is below 10^9. */
#define CLOCK_RFC3339_NS_LEN 30
void clock_rfc3339_ns(int64_t real_s, uint32_t ns, char out[static CLOCK_RFC3339_NS_LEN + 1]);

/* "Fri, 20 Nov 2026 13:05:00 GMT" (IMF-fixdate, RFC 9110 5.6.7). */
#define CLOCK_HTTP_DATE_LEN 29
void clock_http_date(int64_t real_ms, char out[static CLOCK_HTTP_DATE_LEN + 1]);

/* Tests only: from now on both clocks answer these values; a negative value gives the real one
 * back. */
void clock_fake(int64_t mono_us, int64_t real_ms);

#endif
