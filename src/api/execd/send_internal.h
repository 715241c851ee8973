/* JSON answers, member by member. */
#ifndef BOXD_SEND_INTERNAL_H
#define BOXD_SEND_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "boxd/buf.h"
#include "boxd/err.h"
#include "boxd/jsonw.h"
#include "boxd/req.h"

/* Written through w; ended by send_json(). */
struct send {
	struct jsonw w;
	struct buf body;
};

void send_begin(struct send *s) __attribute__((nonnull));

/* A member of the object that is open. The key is a literal. */
void send_str(struct send *s, const char *key, const char *value) __attribute__((nonnull));
void send_int(struct send *s, const char *key, int64_t value) __attribute__((nonnull));
void send_bool(struct send *s, const char *key, bool value) __attribute__((nonnull));
/* RFC 3339, from Unix milliseconds. */
void send_time(struct send *s, const char *key, int64_t ms) __attribute__((nonnull));

/* Replies with what was written, and releases it. -1 with ERR_UNAVAILABLE: memory ran out. */
int send_json(struct send *s, struct req *r, int status, struct err *e)
	__attribute__((warn_unused_result, nonnull));

#endif
