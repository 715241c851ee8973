/*
 * err: the error that travels from the failing call to the client.
 *
 * Everything is formatted into the caller's struct, so reporting works when nothing else does. A
 * text that does not fit ends in "...": a reader must see that something is missing.
 */
#include "boxd/err.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ERR_DEFINE(id, status, code) const struct err_kind ERR_##id = {status, code};
ERR_KINDS(ERR_DEFINE)
#undef ERR_DEFINE

/* Ends a cut text of size bytes in "...", and does not leave half a UTF-8 sequence before it. */
static void err_mark_cut(char *text, size_t size)
{
	static const char mark[] = "...";
	size_t at = size - sizeof(mark);

	while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
		at--;
	memcpy(text + at, mark, sizeof(mark));
}

/* Formats at text[used]; returns the new length. */
__attribute__((format(printf, 3, 0))) static size_t err_append(
	char text[static ERR_MSG_MAX], size_t used, const char *fmt, va_list ap)
{
	int n = vsnprintf(text + used, ERR_MSG_MAX - used, fmt, ap);

	if (n < 0) {
		text[used] = '\0';
		return used;
	}
	if ((size_t)n >= ERR_MSG_MAX - used) {
		err_mark_cut(text, ERR_MSG_MAX);
		return strlen(text);
	}
	return used + (size_t)n;
}

__attribute__((format(printf, 3, 4))) static size_t err_appendf(
	char text[static ERR_MSG_MAX], size_t used, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	used = err_append(text, used, fmt, ap);
	va_end(ap);
	return used;
}

int err_set(struct err *e, const struct err_kind *kind, const char *fmt, ...)
{
	va_list ap;

	assert(e->kind == NULL); /* the first error is the cause */
	e->kind = kind;
	va_start(ap, fmt);
	err_append(e->msg, 0, fmt, ap);
	va_end(ap);
	return -1;
}

const struct err_kind *err_kind_of(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR: return &ERR_NO_FILE;
	case EACCES:
	case EPERM: return &ERR_PERMISSION;
	case EROFS: return &ERR_READ_ONLY;
	case EEXIST: return &ERR_EXISTS;
	case ENOTEMPTY: return &ERR_NOT_EMPTY;
	case EISDIR:
	case ENXIO: return &ERR_WRONG_TYPE; /* a FIFO without a reader, a socket */
	case ELOOP:
	case ENAMETOOLONG: return &ERR_BAD_PATH;
	case ENOSPC:
	case EDQUOT:
	case EFBIG: return &ERR_NO_SPACE;
	case EMFILE:
	case ENFILE:
	case ENOMEM: return &ERR_UNAVAILABLE;
	default: return &ERR_RUNTIME;
	}
}

/* What err_sys() and err_file() do with an errno that was read first thing. */
__attribute__((format(printf, 4, 0))) static int err_set_sys(
	struct err *e, const struct err_kind *kind, int errnum, const char *fmt, va_list ap)
{
	size_t used;

	assert(e->kind == NULL);
	e->kind = kind;
	e->sys = errnum;
	used = err_append(e->msg, 0, fmt, ap);
	err_appendf(e->msg, used, ": %s", err_strerror(errnum));
	return -1;
}

int err_sys(struct err *e, const struct err_kind *kind, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	err_set_sys(e, kind, saved, fmt, ap);
	va_end(ap);
	return -1;
}

int err_file(struct err *e, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	err_set_sys(e, err_kind_of(saved), saved, fmt, ap);
	va_end(ap);
	return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char msg[ERR_MSG_MAX];
	va_list ap;
	size_t used;

	assert(e->kind != NULL);
	va_start(ap, fmt);
	used = err_append(msg, 0, fmt, ap);
	va_end(ap);
	err_appendf(msg, used, ": %s", e->msg);
	memcpy(e->msg, msg, sizeof(msg));
	return -1;
}

const char *err_strerror(int errnum)
{
	/* boxd never calls setlocale(), so this is the C locale's text. */
	const char *text = strerror(errnum);

	return text == NULL ? "unknown error" : text;
}
