/*
 * Inside regex_scan: the walk over a pattern (regex_scan.c) and its smallest parts, escapes and
 * classes, which are also what has to be rewritten (regex_atom.c).
 */
#ifndef BOXD_SVC_REGEX_SCAN_INTERNAL_H
#define BOXD_SVC_REGEX_SCAN_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "regex_internal.h"

struct regex_scanner {
	const uint8_t *p, *end;
	const uint8_t *copied; /* up to here the pattern is in out->lines */
	struct regex_scan *out;
	bool utf;
	bool quoting;    /* within \Q...\E */
	bool dot_all;    /* an option s was seen: a dot has to be rewritten */
	bool no_literal; /* an option changes what a letter means */
	bool unsure;     /* something was not understood */
	bool failed;     /* out of memory */
	unsigned int depth;
};

enum regex_atom {
	REGEX_ATOM_END,   /* of the group or the pattern, or a | */
	REGEX_ATOM_BYTES, /* stand for themselves, and are at the tail of the run */
	REGEX_ATOM_EMPTY, /* matches between bytes: \b ^ $ */
	REGEX_ATOM_GROUP,
	REGEX_ATOM_OTHER
};

static inline bool regex_scan_ends(const struct regex_scanner *s)
{
	return s->p == s->end || s->unsure || s->failed;
}

static inline bool regex_scan_digit(const uint8_t *p, const uint8_t *end)
{
	return p < end && *p >= '0' && *p <= '9';
}

static inline bool regex_scan_alnum(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* What the rest of the pattern begins with. */
bool regex_scan_looking_at(const struct regex_scanner *s, const char *text);
/* Passes {...}, <...> or '...'. */
void regex_scan_braced(struct regex_scanner *s);
/* Bytes that stand for themselves, to the end of the run. */
void regex_scan_push(struct regex_scanner *s, const void *bytes, size_t n);

/* Copies what has been passed so far, up to `to`, to the rewritten pattern. */
void regex_atom_copy(struct regex_scanner *s, const uint8_t *to);
/* Writes text in place of the pattern's [from, s->p). */
void regex_atom_instead(struct regex_scanner *s, const uint8_t *from, const char *text);
/* s->p is on the backslash, on the bracket; they pass the atom. */
enum regex_atom regex_atom_escape(struct regex_scanner *s);
enum regex_atom regex_atom_class(struct regex_scanner *s);

#endif
