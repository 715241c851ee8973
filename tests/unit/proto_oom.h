/*
 * Memory that runs out on purpose. A test program linked with --wrap=malloc and --wrap=realloc that
 * includes this fails every allocation once oom_after of them were granted; -1 grants all.
 */
#ifndef BOXD_TESTS_PROTO_OOM_H
#define BOXD_TESTS_PROTO_OOM_H

#include <stddef.h>

static int oom_after = -1;

void *__real_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_realloc(void *p, size_t n);

static int oom_now(void)
{
	if (oom_after < 0)
		return 0;
	if (oom_after == 0)
		return 1;
	oom_after--;
	return 0;
}

void *__wrap_malloc(size_t n)
{
	return oom_now() ? NULL : __real_malloc(n);
}

void *__wrap_realloc(void *p, size_t n)
{
	return oom_now() ? NULL : __real_realloc(p, n);
}

#endif
