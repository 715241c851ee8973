/*
 * A borrowed run of bytes: not NUL-terminated, may hold any byte, may be NULL when empty.
 * Request paths, queries and header values travel as these.
 */
#ifndef BOXD_STR_H
#define BOXD_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct str {
	const char *p;
	size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})

static inline struct str str_of(const char *s)
{
	return (struct str){s, strlen(s)};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII case folding only; boxd never calls setlocale(), so strncasecmp() is that. */
static inline bool str_ieq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

/* The value of a hexadecimal digit in either case, or -1. Takes any int, also -1 for "no byte". */
static inline int str_hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* An unsigned decimal number, digits only. False when empty, signed, over UINT64_MAX or else. */
bool str_u64(struct str s, uint64_t *out) __attribute__((warn_unused_result, nonnull));

/* A heap copy with a NUL at the end, or NULL when memory is out. The caller frees it. */
char *str_dup(struct str s) __attribute__((malloc, warn_unused_result));

/*
 * Takes the next element of a comma-separated field value (RFC 9110 5.6.1), without the white
 * space around it; empty elements are skipped. False at the end. *rest advances.
 */
bool str_list_next(struct str *rest, struct str *element) __attribute__((nonnull));

#endif
