/*
 * An HTTP/1.x server on plain libevent events: listeners, and the connections they accept. What a
 * request means is decided by the callbacks, which the router installs.
 */
#ifndef BOXD_SERVER_H
#define BOXD_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/err.h"
#include "boxd/loop.h"

struct server;
struct req;

struct server_callbacks {
	/*
	 * The head has arrived. Must reply, or call req_want_body(), or begin an op. Errors found
	 * before any body byte is read come from here.
	 */
	void (*on_head)(struct req *r, void *arg);
	/* The request could not be read (malformed, too slow, too large): must reply with this
	 * error. */
	void (*on_bad)(struct req *r, const struct err *e, void *arg);
	void *arg;
};

struct server *server_new(struct loop *l, const struct server_callbacks *cb, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * Listens on "ADDR:PORT", "[ADDR6]:PORT" (numeric) or "unix:/path" and logs the line
 * `listening addr=...` with the real port. A stale socket file is replaced, any other file is an
 * error.
 */
int server_listen(struct server *s, const char *addr, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * Stops accepting and ends idle connections; those with a request in progress end after their
 * reply. on_idle is called once, from the loop, when the last one is gone. Call it once.
 */
void server_drain(struct server *s, void (*on_idle)(void *arg), void *arg)
	__attribute__((nonnull(1, 2)));

/* Cuts every connection now: ops are cancelled. What is left of them goes in the next turn. */
void server_cut(struct server *s) __attribute__((nonnull));

/* All connections must be gone (asserted). NULL is fine. */
void server_free(struct server *s);

size_t server_connections(const struct server *s);

/* Does it listen on this TCP port, at whatever address? */
bool server_owns_port(const struct server *s, uint16_t port) __attribute__((nonnull));

#endif
