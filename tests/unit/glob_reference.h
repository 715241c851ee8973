/*
 * Globs again, as their header defines them and as slowly as that goes: braces are expanded into
 * new patterns, a negation asks its two questions, stars try every length. Nothing is
 * shared with the compiler but the notion of a character. Steps are counted; when they run out, the
 * answer is not known.
 */
#ifndef BOXD_TESTS_GLOB_REFERENCE_H
#define BOXD_TESTS_GLOB_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "boxd/str.h"
#include "boxd/utf8.h"

#define REF_MAX 64 /* characters of a pattern or a text */

/* A character; its own code, or REF_STRAY plus a byte. */
#define REF_STRAY   0x110000u
#define REF_ESCAPED 0x1000000u /* after a backslash: it stands for itself */

struct ref_chars {
	uint32_t c[REF_MAX];
	size_t n;
};

struct ref_budget {
	long steps;
};

static bool ref_spend(struct ref_budget *b)
{
	return b->steps > 0 && b->steps-- > 0;
}

static uint32_t ref_char(const uint8_t *p, size_t len)
{
	switch (len) {
	case 0: return REF_STRAY + p[0];
	case 1: return p[0];
	case 2: return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
	case 3: return (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
	default:
		return (p[0] & 7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 |
		       (p[3] & 0x3fu);
	}
}

/* False when there are too many characters. */
static bool ref_chars(struct str s, bool pattern, struct ref_chars *out)
{
	const uint8_t *p = (const uint8_t *)s.p;

	out->n = 0;
	for (size_t i = 0; i < s.n;) {
		uint32_t escaped = pattern && p[i] == '\\' && i + 1 < s.n ? REF_ESCAPED : 0;

		i += escaped != 0 ? 1 : 0;
		size_t len = utf8_sequence(p + i, s.n - i);
		if (out->n == REF_MAX)
			return false;
		out->c[out->n++] = ref_char(p + i, len) | escaped;
		i += len > 0 ? len : 1;
	}
	return true;
}

/* The index behind a class at i, or 0 when it does not end or begins with a bracket. */
static size_t ref_class_end(const struct ref_chars *p, size_t i)
{
	i += i + 1 < p->n && (p->c[i + 1] == '!' || p->c[i + 1] == '^') ? 2 : 1;
	if (i < p->n && p->c[i] == ']')
		return 0;
	while (i < p->n && p->c[i] != ']')
		i++;
	return i < p->n ? i + 1 : 0;
}

/*
 * The index behind a group at i, which opens with one brace or with two characters. Sets *comma to
 * its first own comma at or behind `from`, or to its end.
 */
static size_t ref_group_end(const struct ref_chars *p, size_t i, size_t from, size_t *comma)
{
	uint32_t closer[REF_MAX];
	size_t depth = 0, found = 0;

	for (; i < p->n; i++) {
		uint32_t c = p->c[i], top = depth > 0 ? closer[depth - 1] : 0;

		if (c == '[') {
			i = ref_class_end(p, i) - 1;
		} else if (c == '{') {
			closer[depth++] = '}';
		} else if (c == '!') {
			closer[depth++] = ')';
			i++;
		} else if (c == '(' && top == ')') {
			closer[depth++] = ')';
		} else if (c == top && top != 0) {
			if (--depth == 0) {
				*comma = found > 0 ? found : i;
				return i + 1;
			}
		} else if (c == ',' && depth == 1 && top == '}' && found == 0 && i >= from) {
			found = i;
		}
	}
	return 0;
}

/* Is the pattern one at all? */
static bool ref_valid(struct str s)
{
	struct ref_chars p;
	uint32_t closer[REF_MAX];
	size_t depth = 0;

	if (!ref_chars(s, true, &p) || (p.n > 0 && p.c[p.n - 1] == '\\'))
		return false;
	for (size_t i = 0; i < p.n; i++) {
		uint32_t c = p.c[i], top = depth > 0 ? closer[depth - 1] : 0;

		if (c == '[') {
			if (ref_class_end(&p, i) == 0)
				return false;
			i = ref_class_end(&p, i) - 1;
		} else if (c == '{' || c == '!' || (c == '(' && top == ')')) {
			if (c == '!' && (i + 1 == p.n || p.c[++i] != '('))
				return false;
			closer[depth++] = c == '{' ? '}' : ')';
		} else if (c == top && top != 0) {
			depth--;
		} else if (c == '}') {
			return false;
		}
	}
	return depth == 0;
}

static uint32_t ref_code(uint32_t c)
{
	return c & ~REF_ESCAPED;
}

static bool ref_in_class(const struct ref_chars *p, size_t i, size_t end, uint32_t c)
{
	bool negated = p->c[i + 1] == '!' || p->c[i + 1] == '^', in = false;

	for (i += negated ? 2 : 1; i + 1 < end; i++) {
		uint32_t lo = ref_code(p->c[i]);

		in |= c == lo;
		if (i + 3 < end && p->c[i + 1] == '-') {
			in |= lo <= c && c <= ref_code(p->c[i + 2]);
			i += 2;
		}
	}
	return in != negated;
}

/* A pattern without groups, from i, against the text from k. */
static bool ref_plain(const struct ref_chars *p, size_t i, const struct ref_chars *t, size_t k,
	bool whole, struct ref_budget *b)
{
	if (!ref_spend(b))
		return false;
	if (i == p->n)
		return !whole || k == t->n;
	if (p->c[i] == '*') {
		bool start = i == 0 || ref_code(p->c[i - 1]) == '/';
		size_t run = 0;

		while (i + run < p->n && p->c[i + run] == '*')
			run++;
		bool deep = start && run == 2;
		if (deep && i + 2 == p->n && whole)
			return true;
		deep = deep && i + 2 < p->n && ref_code(p->c[i + 2]) == '/';
		if (deep && ref_plain(p, i + 3, t, k, whole, b))
			return true;
		for (size_t at = k; at <= t->n; at++) {
			if (deep && at < t->n && t->c[at] == '/' &&
				ref_plain(p, i + 3, t, at + 1, whole, b))
				return true;
			if (!deep && ref_plain(p, i + run, t, at, whole, b))
				return true;
			if (!deep && at < t->n && t->c[at] == '/')
				return false;
		}
		return false;
	}
	if (k == t->n)
		return whole && i + 3 == p->n && ref_code(p->c[i]) == '/' && p->c[i + 1] == '*' &&
		       p->c[i + 2] == '*';
	size_t end = i + 1;
	bool takes = ref_code(p->c[i]) == t->c[k];
	if (p->c[i] == '[') {
		end = ref_class_end(p, i);
		takes = ref_in_class(p, i, end, t->c[k]) && t->c[k] != '/';
	} else if (p->c[i] == '?') {
		takes = t->c[k] != '/';
	}
	return takes && ref_plain(p, end, t, k + 1, whole, b);
}

static void ref_append(struct ref_chars *out, const struct ref_chars *p, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		out->c[out->n++] = p->c[i];
}

/* A valid pattern. */
static bool ref_match_chars(
	const struct ref_chars *p, const struct ref_chars *t, struct ref_budget *b)
{
	size_t i = 0, comma = 0;

	while (i < p->n && p->c[i] != '{' && p->c[i] != '!')
		i = p->c[i] == '[' ? ref_class_end(p, i) : i + 1;
	if (i == p->n)
		return ref_plain(p, 0, t, 0, true, b);
	if (!ref_spend(b))
		return false;
	size_t end = ref_group_end(p, i, i, &comma);
	if (p->c[i] == '!') {
		struct ref_chars before = {.n = 0}, without = {.n = 0};

		ref_append(&before, p, 0, i);
		ref_append(&without, p, 0, i);
		ref_append(&without, p, i + 2, end - 1);
		ref_append(&without, p, end, p->n);
		return ref_plain(&before, 0, t, 0, false, b) && !ref_match_chars(&without, t, b);
	}
	for (size_t from = i + 1; from < end; from = comma + 1) {
		struct ref_chars one = {.n = 0};

		ref_group_end(p, i, from, &comma);
		ref_append(&one, p, 0, i);
		ref_append(&one, p, from, comma);
		ref_append(&one, p, end, p->n);
		if (ref_match_chars(&one, t, b))
			return true;
	}
	return false;
}

enum ref_answer { REF_NO, REF_YES, REF_UNKNOWN };

/* Does a valid pattern match? */
static enum ref_answer ref_match(struct str pattern, struct str text, long steps)
{
	struct ref_budget b = {steps};
	struct ref_chars p, t;

	if (!ref_chars(pattern, true, &p) || !ref_chars(text, false, &t))
		return REF_UNKNOWN;
	bool matches = ref_match_chars(&p, &t, &b);
	return b.steps <= 0 ? REF_UNKNOWN : matches ? REF_YES : REF_NO;
}

#endif
