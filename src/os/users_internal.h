/* Reading the passwd and group files: what users.c and users_names.c share. */
#ifndef BOXD_USERS_INTERNAL_H
#define BOXD_USERS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USERS_PASSWD_FIELDS 6 /* name:password:uid:gid:gecos:home, and perhaps the shell */
#define USERS_GROUP_FIELDS  4 /* name:password:gid:members */

struct users_field {
	const char *at;
	size_t len;
};

/* What is left of a file. */
struct users_text {
	const char *at;
	size_t len;
};

/* The file's bytes in a heap block, or NULL. It may change or grow meanwhile. */
char *users_load(const char *etc, const char *name, size_t *len)
	__attribute__((warn_unused_result, nonnull));

/* The next line's first n fields; false at the end. Fields that are missing are empty. */
bool users_line(struct users_text *t, struct users_field *fields, size_t n)
	__attribute__((warn_unused_result, nonnull));

/* A uid or gid. The highest number is no id: the kernel takes it for "unchanged". */
bool users_id(struct users_field f, uint32_t *out) __attribute__((warn_unused_result, nonnull));

/* As a string; false when it is empty, holds a NUL, or does not fit. */
bool users_copy(char *out, size_t cap, struct users_field f)
	__attribute__((warn_unused_result, nonnull));

#endif
