/* Secrets: compared in constant time, wiped before their memory is given back. */
#ifndef BOXD_SECRET_H
#define BOXD_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Equal bytes? The time depends on the length of `given` alone, not on where it differs. An empty
 * secret equals nothing: it would let everybody in.
 */
bool secret_eq(const char *secret, size_t secret_len, const char *given, size_t given_len)
	__attribute__((nonnull));

/* Overwrites and frees a heap string; NULL is fine. */
void secret_free(char *secret);

#endif
