/*
 * A request body read off the loop: a disk thread takes it from the socket itself and writes it
 * where it belongs, so that neither a fast client nor a slow disk is felt by anybody else. While a
 * thread has the intake, the loop leaves the connection's input alone; when nothing has arrived the
 * thread gives it back and the loop waits for more.
 *
 * Framing (Content-Length, chunked) and Content-Encoding: gzip are taken off on the way.
 */
#ifndef BOXD_INTAKE_H
#define BOXD_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/err.h"
#include "boxd/req.h"

struct intake;

/*
 * On the loop, in place of req_want_body(), after op_begin(): takes over the reading of the body.
 * Expect is answered with the first intake_wait(): what is refused before that need not be sent.
 * NULL with e set: ERR_MEDIA_TYPE (a Content-Encoding other than gzip and identity),
 * ERR_UNAVAILABLE.
 */
struct intake *intake_new(struct req *r, struct err *e)
	__attribute__((warn_unused_result, nonnull));

enum intake_result {
	INTAKE_DATA,
	INTAKE_WAIT, /* nothing has arrived: return to the loop and call intake_wait() */
	INTAKE_END,  /* the body is complete */
	INTAKE_BAD   /* malformed or cut short: *e is set (ERR_BAD_REQUEST, ERR_BAD_UPLOAD...) */
};

/* On a disk thread: the next bytes, valid until the next call. At most what is in one buffer. */
enum intake_result intake_next(struct intake *in, const uint8_t **data, size_t *n, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * On a disk thread: moves at most max of the next bytes into a file at its own offset, without
 * copying them through user space where the framing and the kernel allow that (splice(2)). *n is
 * how many; INTAKE_DATA with *n > 0. Errors of writing are INTAKE_BAD with the kind of errno.
 */
enum intake_result intake_to_file(struct intake *in, int fd, uint64_t max, uint64_t *n,
	struct err *e) __attribute__((warn_unused_result, nonnull));

/*
 * On the loop, after INTAKE_WAIT: calls ready(arg) once when there is more to read, or the end, or
 * when nothing came for LIMIT_HTTP_BODY_MS: then the next intake_next() is INTAKE_BAD with
 * ERR_REQUEST_TIMEOUT. Not called once the client has gone: the op's cancel() is.
 */
void intake_wait(struct intake *in, void (*ready)(void *arg), void *arg)
	__attribute__((nonnull(1, 2)));

/*
 * On the loop, with no thread in it: the connection reads for itself again. Must be called before
 * the reply is given, also after a failure and in the op's cancel (then possibly later, when the
 * thread has come back, and before op_end()). A body that was not read to its end costs the
 * connection.
 */
void intake_free(struct intake *in);

#endif
