/*
 * What the parts of the glob compiler share. A pattern becomes tokens (glob_parse.c); those are
 * split into questions about a text (glob_compile.c), each a sequence of tokens in which the stars
 * get their meaning (glob_stars.c) and which is then a comparison or an automaton
 * (glob_automaton.c). glob.c asks the questions.
 */
#ifndef BOXD_PROTO_GLOB_INTERNAL_H
#define BOXD_PROTO_GLOB_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/str.h"
#include "boxd/utf8.h"

/* Bounds the bits that matching keeps on the stack: a point per byte and one. */
#define GLOB_BYTES_MAX 65536u
#define GLOB_WORD_BITS 64u
#define GLOB_WORDS_MAX (GLOB_BYTES_MAX / GLOB_WORD_BITS + 1)

/* ---- characters ---- */

/* A byte that is not part of a character is this plus the byte. */
#define GLOB_STRAY 0x110000u

/* The character at p (n > 0) and its length. */
static inline uint32_t glob_char(const uint8_t *p, size_t n, size_t *len)
{
	static const uint8_t lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	size_t taken = p[0] < 0x80 ? 1 : utf8_sequence(p, n);
	uint32_t code = p[0] & lead[taken];

	*len = taken > 0 ? taken : 1;
	if (taken == 0)
		return GLOB_STRAY + p[0];
	for (size_t i = 1; i < taken; i++)
		code = code << 6 | (p[i] & 0x3fu);
	return code;
}

struct glob_range {
	uint32_t lo, hi;
};

/* The ranges are in order, and apart. */
struct glob_class {
	uint32_t first, n;
	bool negated;
};

/* Is the character, which is no slash, in the class? */
bool glob_in_class(const struct glob_class *class, const struct glob_range *ranges, uint32_t code);

/* ---- tokens ---- */

enum glob_kind {
	GLOB_CHAR,  /* value: the character */
	GLOB_SLASH, /* escaped or not */
	GLOB_ANY,   /* ? */
	GLOB_CLASS, /* value: its number */
	GLOB_STAR,
	GLOB_DEEP, /* two stars and a slash that take whole segments; glob_stars() makes these */
	GLOB_DEEP_END, /* two stars at the end that take everything */
	GLOB_OPEN,     /* value: the next comma of the group, or its end; close: its end */
	GLOB_COMMA,    /* the same */
	GLOB_CLOSE,
	GLOB_NOT_OPEN,  /* !( */
	GLOB_NOT_CLOSE, /* its ) */
	GLOB_NOTHING    /* braces around a single alternative */
};

struct glob_token {
	enum glob_kind kind;
	uint32_t value, close;
};

struct glob_source {
	struct glob_token *tokens;
	struct glob_class *classes;
	struct glob_range *ranges;
	size_t n, classes_n, ranges_n;
	size_t not_end; /* one past the last GLOB_NOT_OPEN, 0 when there is none */
	bool has_slash;
};

/* False with *why as for glob_new(). Either way the caller ends it with glob_source_fini(). */
bool glob_parse(struct str pattern, struct glob_source *s, const char **why)
	__attribute__((warn_unused_result));
void glob_source_fini(struct glob_source *s);

/*
 * Gives the stars of a sequence their meaning and shortens it (*n). False: a group of braces leaves
 * it open whether two stars are a segment, so it has to be expanded; the tokens are spoilt then.
 * When it is only the beginning of a pattern (not whole), its end is no end of a segment. The
 * scratch memory has 4 * (*n + 1) bytes.
 */
bool glob_stars(struct glob_token *seq, size_t *n, bool whole, uint8_t *scratch)
	__attribute__((warn_unused_result));

/* ---- automata ---- */

struct glob_automaton;

/* For a sequence that glob_stars() has seen. NULL: out of memory. The classes are borrowed. */
struct glob_automaton *glob_automaton_new(const struct glob_token *seq, size_t n,
	const struct glob_class *classes, const struct glob_range *ranges)
	__attribute__((warn_unused_result));
void glob_automaton_free(struct glob_automaton *a);

/* Does it take the text; or, when not whole, a beginning of it? */
bool glob_automaton_match(const struct glob_automaton *a, struct str text, bool whole);

/* ---- questions ---- */

enum glob_shape {
	GLOB_LITERAL, /* text */
	GLOB_AROUND,  /* text, a star in it after head_n bytes */
	GLOB_ALL,     /* everything */
	GLOB_AUTOMATON
};

/* Answers, in the place of the next question's number. */
#define GLOB_YES UINT32_MAX
#define GLOB_NO  (UINT32_MAX - 1)

struct glob_question {
	enum glob_shape shape;
	bool whole; /* the text, or a beginning of it? An around and an all are whole */
	bool base;  /* about what follows the last slash */
	char *text; /* n bytes */
	size_t n, head_n;
	struct glob_automaton *automaton;
	uint32_t yes, no; /* the question after this answer */
};

struct glob {
	struct glob_question *questions; /* the first one is asked first */
	size_t n;
	struct glob_class *classes;
	struct glob_range *ranges;
	bool has_slash;
};

/*
 * Fills g->questions. With `general` every question is an automaton for the whole text: what tests
 * compare the short cuts with. False as for glob_new(); the caller frees g.
 */
bool glob_compile(const struct glob_source *s, size_t max_states, bool general, struct glob *g,
	const char **why) __attribute__((warn_unused_result));

/* glob_new() with that switch. */
struct glob *glob_new_as(struct str pattern, size_t max_states, bool general, const char **why)
	__attribute__((warn_unused_result, nonnull));

#endif
