/* Base64 (RFC 4648 section 4), for bytes inside JSON. */
#ifndef BOXD_BASE64_H
#define BOXD_BASE64_H

#include <stddef.h>

#include "boxd/buf.h"
#include "boxd/err.h"
#include "boxd/str.h"

/* Appends the encoded bytes, padded. -1: out of memory. */
int base64_encode(const void *data, size_t n, struct buf *out)
	__attribute__((warn_unused_result, nonnull(3)));

/* Appends the decoded bytes; white space is skipped. ERR_BAD_BODY, ERR_UNAVAILABLE: nothing is. */
int base64_decode(struct str text, struct buf *out, struct err *e)
	__attribute__((warn_unused_result, nonnull));

#endif
