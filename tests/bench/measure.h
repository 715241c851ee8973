/*
 * What every benchmark helper measures with: a clock, the CPU time of this process in nanoseconds,
 * and a growing list of samples with percentiles. Percentiles are of the samples themselves, not of
 * a histogram: there are at most some hundred thousand.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_SEC 1000000000LL

struct samples {
	int64_t *ns;
	size_t n, cap;
};

/* CLOCK_MONOTONIC. */
int64_t now_ns(void);

/* CPU time of all threads of this process: the scheduler's own account, not ticks. */
int64_t cpu_ns(void);

/* Ends the program when memory is out: a benchmark has nothing better to do. */
void samples_add(struct samples *s, int64_t ns) __attribute__((nonnull));

/* The value that `fraction` (0..1) of the samples do not exceed, in microseconds. Sorts; 0 when
 * empty. */
double samples_at_us(struct samples *s, double fraction) __attribute__((nonnull));

/* Writes `"<name>_p50_us":..,"<name>_p90_us":..` and so on, without a comma at either end. */
void samples_print(struct samples *s, const char *name) __attribute__((nonnull));

/* perror() and exit(2). */
void die(const char *what) __attribute__((noreturn, nonnull));

#endif
