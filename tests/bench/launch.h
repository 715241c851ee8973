/*
 * Starts a program the cheapest way Linux has: the bare cost that the daemon is compared with.
 */
#ifndef BENCH_LAUNCH_H
#define BENCH_LAUNCH_H

#include <sys/types.h>

struct launch {
	const char *path;
	char *const *argv;
	char *const *envp;
	int fds[3]; /* become 0, 1, 2 of the child; all other descriptors must be close-on-exec */
	int cpu;    /* the only CPU it may use; -1: any */
};

/* The pid, once the program was executed; -1 with errno set when it could not be. */
pid_t launch(const struct launch *l) __attribute__((nonnull, warn_unused_result));

#endif
