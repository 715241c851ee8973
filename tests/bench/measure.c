/*
 * measure: clock, CPU time, percentiles. See measure.h.
 */
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t measure_clock(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		die("clock_gettime");
	return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

int64_t now_ns(void)
{
	return measure_clock(CLOCK_MONOTONIC);
}

int64_t cpu_ns(void)
{
	return measure_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void die(const char *what)
{
	perror(what);
	exit(2);
}

void samples_add(struct samples *s, int64_t ns)
{
	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 1024 : s->cap * 2;
		int64_t *p = reallocarray(s->ns, cap, sizeof(*p));

		if (p == NULL)
			die("samples");
		s->ns = p;
		s->cap = cap;
	}
	s->ns[s->n++] = ns;
}

static int measure_compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

double samples_at_us(struct samples *s, double fraction)
{
	size_t i;

	if (s->n == 0)
		return 0;
	qsort(s->ns, s->n, sizeof(*s->ns), measure_compare);
	i = (size_t)(fraction * (double)s->n);
	return (double)s->ns[i < s->n ? i : s->n - 1] / 1e3;
}

void samples_print(struct samples *s, const char *name)
{
	static const struct {
		const char *label;
		double fraction;
	} rows[] = {{"min", 0}, {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		printf("%s\"%s_%s_us\":%.2f", i == 0 ? "" : ",", name, rows[i].label,
			samples_at_us(s, rows[i].fraction));
}
