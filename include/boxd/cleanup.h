/*
 * Scope-owned locals. A local marked with one of these macros is released when it goes out of
 * scope, so that a function can return early from anywhere; ownership leaves the scope through
 * steal_fd() or STEAL_PTR().
 */
#ifndef BOXD_CLEANUP_H
#define BOXD_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_(void *pp)
{
	free(*(void **)pp);
}

/* Never retried on EINTR: on Linux the descriptor is gone whatever close(2) answers. */
static inline void cleanup_fd_(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_file_(FILE **f)
{
	if (*f != NULL)
		fclose(*f);
}

#define CLEANUP_FREE __attribute__((cleanup(cleanup_free_)))
#define CLEANUP_FD   __attribute__((cleanup(cleanup_fd_)))
#define CLEANUP_FILE __attribute__((cleanup(cleanup_file_)))

/* The caller of steal_fd() owns the descriptor; the variable holds -1 afterwards. */
static inline int steal_fd(int *fd)
{
	int out = *fd;

	*fd = -1;
	return out;
}

/* The value of p, which is NULL afterwards. */
#define STEAL_PTR(p)                         \
	__extension__({                      \
		__typeof__(p) stolen_ = (p); \
		(p) = NULL;                  \
		stolen_;                     \
	})

#endif
