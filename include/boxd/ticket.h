/*
 * Tickets: stand-ins for the token where a browser can send no header. Each is good for one request
 * within LIMIT_TICKET_MS. At most LIMIT_TICKET_COUNT are remembered. Loop thread only.
 */
#ifndef BOXD_TICKET_H
#define BOXD_TICKET_H

#include <stdbool.h>

#include "boxd/err.h"
#include "boxd/str.h"

#define TICKET_LEN 43 /* 32 random bytes in URL-safe base64, without padding */

struct tickets;

struct tickets *tickets_new(struct err *e) __attribute__((warn_unused_result, nonnull));
void tickets_free(struct tickets *t); /* NULL is fine */

/*
 * Writes a new ticket and a NUL; it is good for paths that begin with scope, or for all when that
 * is NULL. -1 with e set: ERR_TOO_MANY, ERR_UNAVAILABLE. The caller wipes what it does not send.
 */
int tickets_issue(struct tickets *t, const char *scope, char out[static TICKET_LEN + 1],
	struct err *e) __attribute__((warn_unused_result, nonnull(1, 3, 4)));

/* Is this ticket good for a request of this (raw) path? From then on it is not any more. */
bool tickets_redeem(struct tickets *t, struct str given, struct str path)
	__attribute__((warn_unused_result, nonnull));

#endif
