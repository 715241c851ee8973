/*
 * The TCP ports that are being listened on, and by whom, as /proc tells it: net/tcp and net/tcp6
 * for the sockets, PID/fd for their owners. What cannot be read is left out: without a table its
 * rows are missing, and of a process whose descriptors belong to somebody else the owner is.
 * A listing is made in steps, on any thread, one thread at a time.
 */
#ifndef BOXD_SOCKETS_H
#define BOXD_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "boxd/err.h"
#include "boxd/str.h"

#define SOCKETS_COMM_MAX    64
#define SOCKETS_CMDLINE_MAX 1024

struct sockets_owner {
	SLIST_ENTRY(sockets_owner) link;
	pid_t pid;
	char comm[SOCKETS_COMM_MAX]; /* "" when it could not be read */
	size_t cmdline_n;            /* at most SOCKETS_CMDLINE_MAX; the rest is not read */
	char cmdline[]; /* the arguments with a NUL behind each, or what it made of it */
};

struct sockets_row {
	uint16_t port;
	bool ipv6;
	bool self;        /* a socket of this process */
	uint8_t addr[16]; /* in network order; of IPv4 the first four, the others are 0 */
	uint32_t uid;
	uint64_t inode;                    /* 0: not told */
	const struct sockets_owner *owner; /* NULL: not known; of several processes the lowest */
};

/* Of one line of net/tcp or net/tcp6, without its newline. */
enum sockets_line {
	SOCKETS_LISTENING, /* *out is filled, but for self and owner */
	SOCKETS_OTHER,     /* a well-formed line of a socket in another state */
	SOCKETS_NO_ROW     /* the headline, or damaged */
};
enum sockets_line sockets_parse_line(struct str line, bool ipv6, struct sockets_row *out)
	__attribute__((warn_unused_result, nonnull));

/* "127.0.0.1", "::1", "::ffff:127.0.0.1". */
#define SOCKETS_ADDR_MAX 46
void sockets_format_addr(const struct sockets_row *row, char out[static SOCKETS_ADDR_MAX])
	__attribute__((nonnull));

/* The inode in "socket:[N]", as a link in PID/fd reads; false for any other text. */
bool sockets_parse_link(struct str link, uint64_t *inode)
	__attribute__((warn_unused_result, nonnull));

struct sockets;

/* proc is where /proc is mounted; borrowed. NULL: out of memory. */
struct sockets *sockets_new(const char *proc) __attribute__((warn_unused_result, nonnull));
void sockets_free(struct sockets *s); /* NULL is fine */

/*
 * Goes on with the listing until the clock (clock_mono_ms()) says until_ms; does a bit of it in any
 * case. 1: call it again; 0: complete; -1 with ERR_UNAVAILABLE (memory).
 */
int sockets_step(struct sockets *s, int64_t until_ms, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* Once it is complete: by port, IPv4 first, then by address. Valid until sockets_free(). */
const struct sockets_row *sockets_rows(const struct sockets *s, size_t *n) __attribute__((nonnull));

#endif
