/*
 * What the two files of the port proxy share. proxy_fields.c decides what of a head goes on to the
 * other side, proxy.c moves the bytes.
 */
#ifndef BOXD_API_EXECD_PROXY_INTERNAL_H
#define BOXD_API_EXECD_PROXY_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/auth.h"
#include "boxd/buf.h"
#include "boxd/http1_response.h"
#include "boxd/req.h"
#include "boxd/str.h"

#define PROXY_OPTIONS_MAX 32 /* names in the Connection fields of one message */

/* What Connection says (RFC 9110 7.6.1). Borrowed. */
struct proxy_options {
	struct str name[PROXY_OPTIONS_MAX];
	size_t n;
	bool upgrade;
};

/* Adds what one Connection field names. False: there are too many. */
bool proxy_options_add(struct proxy_options *o, struct str value)
	__attribute__((warn_unused_result, nonnull));

/* Is this field between two neighbours alone: by its name, or because Connection names it? */
bool proxy_is_hop(struct str name, const struct proxy_options *o) __attribute__((nonnull));

/*
 * Cuts "/proxy/{port}{rest}": the port, and where the raw rest begins. False: no decimal port from
 * 1 to 65535.
 */
bool proxy_split_path(struct str path, uint16_t *port, size_t *rest)
	__attribute__((warn_unused_result, nonnull));

/* Writes the value of X-Forwarded-For: at most one name given by the client, then its address. */
int proxy_put_forwarded_for(struct buf *b, struct str forwarded_for, struct str real_ip,
	struct str peer) __attribute__((warn_unused_result, nonnull));

struct proxy_target {
	uint16_t port;
	struct str rest; /* the raw path after the port; may be empty */
	const struct auth_policy *auth;
	bool upgrade; /* set: the client asks for another protocol */
};

/* Writes the head that the target gets. 0, or -1 with e set. */
int proxy_put_request(struct buf *b, struct req *r, struct proxy_target *t, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * Gives the fields of the target's answer to the reply, and of a 101 its Upgrade. With `cors` the
 * router has answered for the origin already. 0, or -1 with e set.
 */
int proxy_pass_fields(struct req *r, const struct http1_response *h, const uint8_t *base, bool cors,
	struct err *e) __attribute__((warn_unused_result, nonnull));

#endif
