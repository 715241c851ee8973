/*
 * Reading one HTTP/1.1 reply that is too large to be looked at: its body is counted, and either
 * thrown away or kept in a file. Works on blocking and on non-blocking sockets.
 */
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLY_BUFFER (256 * 1024)

struct reply {
	int fd;
	bool discard; /* throw a body with a length away unread, in the kernel */
	int save;     /* where a body goes; -1: nowhere */
	/* For non-blocking sockets: waits until there is input; false gives up. */
	bool (*wait)(void *arg);
	void *arg;

	int status; /* 0 until the head was read */
	uint64_t body_bytes;

	char buf[REPLY_BUFFER];
	size_t pos, n;
};

/* Ready to read the first reply on fd; the options are off. */
void reply_init(struct reply *r, int fd) __attribute__((nonnull));

/* False when the connection ended early, or what came is no HTTP. */
bool reply_read(struct reply *r) __attribute__((nonnull, warn_unused_result));

#endif
