/*
 * Errors that may reach a client. A struct err lives on the caller's stack as `struct err e = {0}`:
 * setting one allocates nothing, so nothing can leak and running out of memory can be reported.
 * The service layers choose a kind, never a number; api/router.c alone turns a kind into
 * {"code","message"} (contract 1.3).
 */
#ifndef BOXD_ERR_H
#define BOXD_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/* The machine code is API: kinds are added, codes are never renamed. */
#define ERR_KINDS(X)                                                                              \
	X(BAD_REQUEST, 400, "BAD_REQUEST")       /* not HTTP as RFC 9112 defines it */            \
	X(BAD_BODY, 400, "INVALID_REQUEST_BODY") /* body or field of a body */                    \
	X(MISSING_QUERY, 400, "MISSING_QUERY")   /* required query parameter absent */            \
	X(BAD_QUERY, 400, "INVALID_QUERY")       /* query parameter that cannot be used */        \
	X(UNAUTHORIZED, 401, "UNAUTHORIZED")     /* token absent or wrong */                      \
	X(FORBIDDEN, 403, "FORBIDDEN")           /* browser checks: Origin, Host, Sec-Fetch */    \
	X(PATH_FORBIDDEN, 403, "PATH_FORBIDDEN") /* outside every root */                         \
	X(NO_ROUTE, 404, "NOT_FOUND")            /* unknown path */                               \
	X(NO_COMMAND, 404, "COMMAND_NOT_FOUND")  /* unknown or evicted command id */              \
	X(NO_CONTEXT, 404, "CONTEXT_NOT_FOUND")  /* unknown terminal or session */                \
	X(ALREADY_CONNECTED, 409, "ALREADY_CONNECTED") /* somebody else holds the terminal */     \
	X(BUSY, 409, "BUSY")                           /* not now: something else goes on */      \
	X(UPGRADE_REQUIRED, 426, "UPGRADE_REQUIRED")   /* for WebSocket only */                   \
	X(BAD_GATEWAY, 502, "BAD_GATEWAY") /* the proxied port: no answer, or no HTTP */          \
	X(GATEWAY_TIMEOUT, 504, "GATEWAY_TIMEOUT")                                                \
	X(LOOP, 508, "LOOP_DETECTED") /* a proxy that leads to itself */                          \
	X(NO_FILE, 404, "FILE_NOT_FOUND")                                                         \
	X(BAD_PATH, 400, "INVALID_PATH")           /* too long, too deep, a loop of links */      \
	X(BAD_PATTERN, 400, "INVALID_PATTERN")     /* glob or regular expression */               \
	X(WRONG_TYPE, 400, "INVALID_REQUEST_BODY") /* a directory, FIFO... where it may not be */ \
	X(BAD_UPLOAD, 400, "INVALID_FILE")         /* not multipart, or its parts do not pair */  \
	X(BAD_METADATA, 400, "INVALID_FILE_METADATA")                                             \
	X(BAD_CONTENT, 400, "INVALID_FILE_CONTENT") /* no file part */                            \
	X(PERMISSION, 403, "PERMISSION_DENIED")     /* the system says EACCES or EPERM */         \
	X(READ_ONLY, 403, "READ_ONLY")              /* a read-only root or filesystem */          \
	X(EXISTS, 409, "FILE_EXISTS")                                                             \
	X(NOT_EMPTY, 409, "DIRECTORY_NOT_EMPTY")                                                  \
	X(PRECONDITION, 412, "PRECONDITION_FAILED")  /* If-Match and its kin */                   \
	X(MEDIA_TYPE, 415, "UNSUPPORTED_MEDIA_TYPE") /* Content-Encoding of an upload */          \
	X(BAD_RANGE, 416, "UNKNOWN")                 /* malformed Range: the reference's code */  \
	X(RANGE, 416, "RANGE_NOT_SATISFIABLE")                                                    \
	X(NO_SPACE, 507, "INSUFFICIENT_STORAGE") /* ENOSPC, EDQUOT, EFBIG */                      \
	X(BAD_METHOD, 405, "METHOD_NOT_ALLOWED")                                                  \
	X(REQUEST_TIMEOUT, 408, "REQUEST_TIMEOUT") /* head or body too slow */                    \
	X(NOT_RUNNING, 409, "COMMAND_NOT_RUNNING") /* interrupt of a finished command */          \
	X(TOO_LARGE, 413, "TOO_LARGE")             /* body over its limit */                      \
	X(URI_TOO_LONG, 414, "URI_TOO_LONG")                                                      \
	X(EXPECTATION, 417, "EXPECTATION_FAILED") /* Expect other than 100-continue */            \
	X(TOO_MANY, 429, "TOO_MANY")              /* a bounded table is full */                   \
	X(HEAD_TOO_LARGE, 431, "HEADER_TOO_LARGE")                                                \
	X(RUNTIME, 500, "RUNTIME_ERROR") /* the system refused: errno is logged */                \
	X(NOT_SUPPORTED, 501, "NOT_SUPPORTED")                                                    \
	X(UNAVAILABLE, 503, "UNAVAILABLE") /* out of memory, fds, or shutting down */             \
	X(HTTP_VERSION, 505, "HTTP_VERSION_NOT_SUPPORTED")

struct err_kind {
	uint16_t status;  /* HTTP status */
	const char *code; /* machine code of the envelope */
};

#define ERR_DECLARE(id, status, code) extern const struct err_kind ERR_##id;
ERR_KINDS(ERR_DECLARE)
#undef ERR_DECLARE

#define ERR_MSG_MAX 256

struct err {
	const struct err_kind
		*kind;         /* NULL while there is no error; status and code cannot disagree */
	int sys;               /* errno at the failing call: logged, never sent */
	char msg[ERR_MSG_MAX]; /* safe to send: no host path, pointer or secret; cut with "..." */
};

/* Sets *e and returns -1, so that a function can end `return err_set(...)`. Setting twice asserts.
 */
int err_set(struct err *e, const struct err_kind *kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), nonnull));

/* Like err_set(), and keeps errno, read first thing; the message ends in ": " and strerror text. */
int err_sys(struct err *e, const struct err_kind *kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), nonnull));

/* The kind for what the kernel says of a file operation; ERR_RUNTIME for what has none of its own.
 */
const struct err_kind *err_kind_of(int errnum);

/* err_sys() with the kind of errno. */
int err_file(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3), nonnull));

/* Puts "context: " before the message of an error that is already set. Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3), nonnull));

/* errno as text that does not depend on the locale; never NULL. */
const char *err_strerror(int errnum);

#endif
