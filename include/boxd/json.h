/*
 * Reading JSON request bodies (RFC 8259), with the leniency of contract 1.1: keys match without
 * regard to case, the last of two equal keys wins, null means absent, unknown keys are ignored and
 * bytes after the first value are not looked at. Depth, size and NUL are checked here, before a
 * handler sees the value: a string never holds a NUL byte, neither raw nor as \u0000. Half of a
 * surrogate pair becomes U+FFFD; bytes of a string that are not UTF-8 stay as they came.
 * This is the only module that sees cJSON. Writing is proto/jsonw.
 */
#ifndef BOXD_JSON_H
#define BOXD_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/err.h"

struct json; /* one value; a child is borrowed from its root */

/*
 * Parses the first value in data. NULL with e set: ERR_BAD_BODY (empty, not JSON, deeper than
 * LIMIT_JSON_DEPTH, a NUL in a string, more than LIMIT_JSON_VALUES values) or ERR_UNAVAILABLE
 * (memory). The caller ends the value with json_free().
 */
struct json *json_parse(const uint8_t *data, size_t len, struct err *e)
	__attribute__((warn_unused_result, nonnull(3)));

/* The same for input that must hold one value and nothing else (contract 1.14: upload metadata). */
struct json *json_parse_whole(const uint8_t *data, size_t len, struct err *e)
	__attribute__((warn_unused_result, nonnull(3)));

/* NULL is fine. */
void json_free(struct json *root);

bool json_is_object(const struct json *v);
bool json_is_array(const struct json *v);
bool json_is_null(const struct json *v);

/* The member of an object, or NULL when absent or null. */
const struct json *json_get(const struct json *obj, const char *key) __attribute__((nonnull));

/* Children of an array or object in order; json_key() is NULL for elements of an array. */
const struct json *json_first(const struct json *container) __attribute__((nonnull));
const struct json *json_next(const struct json *v) __attribute__((nonnull));
const char *json_key(const struct json *v) __attribute__((nonnull));
/* How many children; 0 for NULL and for what is no container. */
size_t json_count(const struct json *container);

/* The string's bytes (NUL-terminated, valid as long as the root), or NULL when v is not a string.
 */
const char *json_str(const struct json *v);

/*
 * Typed members. An absent or null member leaves *out alone and returns 0. A member of another
 * type, or a number that is not an integer within [min, max], is -1 with ERR_BAD_BODY that names
 * the key. Integers of 2^53 and more are refused: JSON numbers are doubles to most clients, and
 * the value that arrived may not be the one that was meant.
 */
int json_get_str(const struct json *obj, const char *key, const char **out, struct err *e)
	__attribute__((warn_unused_result, nonnull));
int json_get_bool(const struct json *obj, const char *key, bool *out, struct err *e)
	__attribute__((warn_unused_result, nonnull));
int json_get_int(const struct json *obj, const char *key, int64_t min, int64_t max, int64_t *out,
	struct err *e) __attribute__((warn_unused_result, nonnull));

#endif
