/* What the files of the terminal resource share. */
#ifndef BOXD_PTY_INTERNAL_H
#define BOXD_PTY_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/pty.h"
#include "boxd/req.h"
#include "boxd/router.h"

/* ---- pty_control.c: what clients say in text frames (contract 3.4), and in bodies ---- */

enum pty_control_kind {
	PTY_CONTROL_NOTHING, /* not JSON, or a value that is to be ignored */
	PTY_CONTROL_UNKNOWN, /* JSON of a type that there is not */
	PTY_CONTROL_STDIN,
	PTY_CONTROL_SIGNAL,
	PTY_CONTROL_RESIZE,
	PTY_CONTROL_PING,
	PTY_CONTROL_EOF
};

struct pty_control {
	enum pty_control_kind kind;
	struct json *root; /* owns data */
	const char *data;  /* STDIN */
	int signo;         /* SIGNAL */
	uint16_t cols, rows;
};

/* Pure but for memory. pty_control_fini() afterwards. */
void pty_control_parse(const uint8_t *text, size_t n, struct pty_control *out)
	__attribute__((nonnull(3)));
void pty_control_fini(struct pty_control *c) __attribute__((nonnull));

/* "SIGINT" or "INT"; 0: none that a terminal can be sent. */
int pty_control_signal(const char *name) __attribute__((nonnull));

/* ---- pty.c ---- */

/* The terminal of the path; NULL with ERR_NO_CONTEXT. */
struct pty *pty_of(const struct route_match *m, struct err *e) __attribute__((nonnull));
/*
 * The offset in the query's `since`, as the reference reads it: the digits it begins with,
 * otherwise 0. Clamped to what there is.
 */
uint64_t pty_query_since(const struct req *r, const struct outhub *hub) __attribute__((nonnull));
/* Is this parameter exactly this value? */
bool pty_query_is(const struct req *r, const char *key, const char *value) __attribute__((nonnull));

/* ---- handlers in files of their own ---- */

route_handler pty_get_ws;     /* pty_ws.c */
route_handler pty_get_output; /* pty_output.c */

#endif
