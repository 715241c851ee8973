/*
 * glob_parse: a pattern as tokens.
 *
 * All that can be wrong with a pattern is found here, before any text is seen. Groups are kept on
 * a stack that lies in the tokens themselves: while a group is open, `close` of its first token
 * is the one around it. A group's commas are linked backwards until it ends, when the links
 * are turned around.
 */
#include <stdlib.h>

#include "glob_internal.h"

#define GLOB_NO_GROUP UINT32_MAX
#define GLOB_NO_CHAR  UINT32_MAX

struct glob_parser {
	const uint8_t *p;
	size_t n; /* bytes left */
	struct glob_source *s;
	uint32_t group; /* the innermost one that is open, or GLOB_NO_GROUP */
	const char *why;
};

/* ---- classes ---- */

static int glob_compare_ranges(const void *a, const void *b)
{
	const struct glob_range *x = a, *y = b;

	return (x->lo > y->lo) - (x->lo < y->lo);
}

/* Puts the ranges of a class in order and joins those that touch. How many there are then. */
static uint32_t glob_order_ranges(struct glob_range *r, size_t n)
{
	uint32_t kept = 0;

	qsort(r, n, sizeof(*r), glob_compare_ranges);
	for (size_t i = 1; i < n; i++) {
		if (r[i].lo > r[kept].hi + 1)
			r[++kept] = r[i];
		else if (r[i].hi > r[kept].hi)
			r[kept].hi = r[i].hi;
	}
	return kept + 1;
}

bool glob_in_class(const struct glob_class *class, const struct glob_range *ranges, uint32_t code)
{
	size_t lo = class->first, hi = class->first + class->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (code > ranges[mid].hi)
			lo = mid + 1;
		else if (code < ranges[mid].lo)
			hi = mid;
		else
			return !class->negated;
	}
	return class->negated;
}

/* ---- reading ---- */

static bool glob_parser_fail(struct glob_parser *g, const char *why)
{
	g->why = why;
	return false;
}

static uint32_t glob_take(struct glob_parser *g)
{
	size_t len;
	uint32_t c = glob_char(g->p, g->n, &len);

	g->p += len;
	g->n -= len;
	return c;
}

static bool glob_next_is(const struct glob_parser *g, char c)
{
	return g->n > 0 && g->p[0] == (uint8_t)c;
}

/* The next character of a class, an escaped one too; GLOB_NO_CHAR when the pattern ends. */
static uint32_t glob_take_member(struct glob_parser *g)
{
	if (glob_next_is(g, '\\'))
		glob_take(g);
	return g->n > 0 ? glob_take(g) : GLOB_NO_CHAR;
}

static struct glob_token *glob_add(struct glob_parser *g, enum glob_kind kind, uint32_t value)
{
	struct glob_token *t = &g->s->tokens[g->s->n++];

	*t = (struct glob_token){kind, value, 0};
	return t;
}

/* The members of a class up to its bracket; false when there is none. */
static bool glob_members(struct glob_parser *g)
{
	uint32_t last = GLOB_NO_CHAR;

	while (g->n > 0 && !glob_next_is(g, ']')) {
		bool range = last != GLOB_NO_CHAR && g->n > 1 && g->p[0] == '-' && g->p[1] != ']';

		if (range)
			glob_take(g);
		uint32_t c = glob_take_member(g);
		if (c == GLOB_NO_CHAR)
			return false;
		if (!range)
			g->s->ranges[g->s->ranges_n++] = (struct glob_range){c, c};
		else if (c > last)
			g->s->ranges[g->s->ranges_n - 1].hi = c;
		last = range ? GLOB_NO_CHAR : c;
	}
	return g->n > 0;
}

/* After the opening bracket. */
static bool glob_class(struct glob_parser *g)
{
	struct glob_source *s = g->s;
	struct glob_class *class = &s->classes[s->classes_n];

	class->first = (uint32_t)s->ranges_n;
	class->negated = glob_next_is(g, '^') || glob_next_is(g, '!');
	if (class->negated)
		glob_take(g);
	if (glob_next_is(g, ']'))
		return glob_parser_fail(g, "the pattern has an empty class []");
	if (!glob_members(g))
		return glob_parser_fail(g, "the pattern has a [ without its ]");
	glob_take(g);
	class->n = glob_order_ranges(s->ranges + class->first, s->ranges_n - class->first);
	s->ranges_n = class->first + class->n;
	glob_add(g, GLOB_CLASS, (uint32_t)s->classes_n++);
	return true;
}

/* ---- groups ---- */

static void glob_open(struct glob_parser *g, enum glob_kind kind)
{
	uint32_t at = (uint32_t)g->s->n;

	/* For braces the last separator so far, for a negation how many ( are in it. */
	glob_add(g, kind, kind == GLOB_OPEN ? at : 0)->close = g->group;
	g->group = at;
	if (kind == GLOB_NOT_OPEN)
		g->s->not_end = at + 1;
}

static bool glob_in_group(const struct glob_parser *g, enum glob_kind kind)
{
	return g->group != GLOB_NO_GROUP && g->s->tokens[g->group].kind == kind;
}

static void glob_comma(struct glob_parser *g)
{
	struct glob_token *open = &g->s->tokens[g->group];
	uint32_t at = (uint32_t)g->s->n;

	glob_add(g, GLOB_COMMA, open->value);
	open->value = at;
}

static void glob_close_braces(struct glob_parser *g)
{
	struct glob_token *t = g->s->tokens, *open = &t[g->group];
	uint32_t end = (uint32_t)g->s->n, next = end, at = open->value;
	bool single = at == g->group;

	glob_add(g, single ? GLOB_NOTHING : GLOB_CLOSE, 0);
	while (at != g->group) {
		uint32_t before = t[at].value;

		t[at].value = next;
		t[at].close = end;
		next = at;
		at = before;
	}
	g->group = open->close;
	*open = (struct glob_token){single ? GLOB_NOTHING : GLOB_OPEN, next, end};
}

/* A parenthesis inside a negation. */
static void glob_parenthesis(struct glob_parser *g, char c)
{
	struct glob_token *open = &g->s->tokens[g->group];

	if (c == ')' && open->value == 0) {
		g->group = open->close;
		glob_add(g, GLOB_NOT_CLOSE, 0);
		return;
	}
	if (c == '(')
		open->value++;
	else
		open->value--;
	glob_add(g, GLOB_CHAR, (uint32_t)c);
}

/* ---- the pattern ---- */

static void glob_plain(struct glob_parser *g, uint32_t c)
{
	g->s->has_slash |= c == '/';
	glob_add(g, c == '/' ? GLOB_SLASH : GLOB_CHAR, c);
}

static bool glob_token(struct glob_parser *g)
{
	uint32_t c = glob_take(g);

	switch (c) {
	case '*': glob_add(g, GLOB_STAR, 0); return true;
	case '?': glob_add(g, GLOB_ANY, 0); return true;
	case '[': return glob_class(g);
	case '{': glob_open(g, GLOB_OPEN); return true;
	case '}':
		if (!glob_in_group(g, GLOB_OPEN))
			return glob_parser_fail(g, "the pattern has a } without its {");
		glob_close_braces(g);
		return true;
	case '!':
		if (!glob_next_is(g, '('))
			return glob_parser_fail(g, "the pattern has a ! without (: escape it");
		glob_take(g);
		glob_open(g, GLOB_NOT_OPEN);
		return true;
	case '\\':
		if (g->n == 0)
			return glob_parser_fail(g, "the pattern ends with a backslash");
		glob_plain(g, glob_take(g));
		return true;
	default: break;
	}
	if (c == ',' && glob_in_group(g, GLOB_OPEN))
		glob_comma(g);
	else if ((c == '(' || c == ')') && glob_in_group(g, GLOB_NOT_OPEN))
		glob_parenthesis(g, (char)c);
	else
		glob_plain(g, c);
	return true;
}

static bool glob_tokens(struct glob_parser *g)
{
	while (g->n > 0) {
		if (!glob_token(g))
			return false;
	}
	if (glob_in_group(g, GLOB_OPEN))
		return glob_parser_fail(g, "the pattern has a { without its }");
	if (glob_in_group(g, GLOB_NOT_OPEN))
		return glob_parser_fail(g, "the pattern has a !( without its )");
	return true;
}

bool glob_parse(struct str pattern, struct glob_source *s, const char **why)
{
	struct glob_parser g = {.p = (const uint8_t *)pattern.p, .n = pattern.n, .s = s};
	bool classes = pattern.n > 0 && memchr(pattern.p, '[', pattern.n) != NULL;

	*s = (struct glob_source){.n = 0};
	*why = "the pattern is too long";
	if (pattern.n > GLOB_BYTES_MAX)
		return false;
	*why = NULL;
	g.group = GLOB_NO_GROUP;
	s->tokens = malloc((pattern.n + 1) * sizeof(*s->tokens));
	if (classes) {
		s->classes = malloc(pattern.n * sizeof(*s->classes));
		s->ranges = malloc(pattern.n * sizeof(*s->ranges));
	}
	if (s->tokens == NULL || (classes && (s->classes == NULL || s->ranges == NULL)))
		return false;
	bool parsed = glob_tokens(&g);
	*why = g.why;
	return parsed;
}

void glob_source_fini(struct glob_source *s)
{
	free(s->tokens);
	free(s->classes);
	free(s->ranges);
}
