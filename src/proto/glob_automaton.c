/*
 * glob_automaton: a sequence of tokens as a set of points, one bit each.
 *
 * A point is a place between tokens. A token that takes a character leads from its point to the
 * next, so one step of all points is an AND with the points that take this character and a shift.
 * A star keeps the point it stands at in the set. Everything else is a jump to points further on
 * that takes no character: into and out of alternatives, over the segments of two stars. So a
 * character costs a few operations on words, and one visit to each word that a jump leads to.
 */
#include <stdlib.h>
#include <string.h>

#include "glob_internal.h"

#define GLOB_ASCII 128u

struct glob_jump {
	uint64_t bits; /* of the word */
	uint32_t word;
};

struct glob_automaton {
	size_t n, words; /* points; the last one is where a text must end */
	const struct glob_class *classes;
	const struct glob_range *ranges;
	/* Bits of points, in memory that follows. */
	uint64_t *start; /* those before the first character */
	uint64_t *take;  /* for each ASCII character, those that take it */
	uint64_t *any;   /* those that take any character */
	uint64_t *wide;  /* those that take some characters beyond ASCII */
	uint64_t *stay;  /* those with a star */
	uint64_t *deep;  /* of these, those that stay on a slash as well */
	uint64_t *jumps; /* those with jumps */
	/* For each point; jump_at has one more. */
	struct glob_jump *jump;
	struct glob_token *edge; /* what leads to the next point; GLOB_NOTHING: nothing does */
	uint32_t *jump_at;       /* where its jumps begin */
	uint64_t mem[];
};

/* ---- points and jumps, as they are found ---- */

struct glob_hop {
	uint32_t from, to;
};

/* An open group: its brace's point, and the hops from the ends of its alternatives. */
struct glob_group {
	uint32_t open;
	uint32_t ends; /* one past the newest; its `to` is the next one, until the group ends */
};

enum { GLOB_STAYS = 1, GLOB_STAYS_DEEP = 2 };

struct glob_build {
	struct glob_token *edges; /* of each point */
	uint8_t *stays;
	struct glob_hop *hops;
	struct glob_group *groups;
	size_t n; /* the current point */
	size_t hops_n, groups_n;
};

static void glob_build_fini(struct glob_build *b)
{
	free(b->edges);
	free(b->stays);
	free(b->hops);
	free(b->groups);
}

/* No token makes more than two points or two hops. */
static bool glob_build_init(struct glob_build *b, size_t tokens)
{
	*b = (struct glob_build){
		.edges = malloc((2 * tokens + 1) * sizeof(*b->edges)),
		.stays = calloc(2 * tokens + 1, sizeof(*b->stays)),
		.hops = malloc((2 * tokens + 1) * sizeof(*b->hops)),
		.groups = calloc(tokens + 1, sizeof(*b->groups)),
	};
	return b->edges != NULL && b->stays != NULL && b->hops != NULL && b->groups != NULL;
}

static void glob_point(struct glob_build *b)
{
	b->edges[b->n] = (struct glob_token){.kind = GLOB_NOTHING};
	b->stays[b->n] = 0;
}

/* Goes on to the next point, over what this token takes. */
static void glob_edge(struct glob_build *b, struct glob_token edge)
{
	b->edges[b->n++] = edge;
	glob_point(b);
}

/* Goes on to a point that nothing leads to but hops. */
static void glob_apart(struct glob_build *b)
{
	b->n++;
	glob_point(b);
}

static void glob_hop(struct glob_build *b, size_t from, size_t to)
{
	b->hops[b->hops_n++] = (struct glob_hop){(uint32_t)from, (uint32_t)to};
}

/* An alternative ends at the current point; where that leads to is known at the closing brace. */
static void glob_end_alternative(struct glob_build *b)
{
	struct glob_group *g = &b->groups[b->groups_n - 1];

	glob_hop(b, b->n, g->ends);
	g->ends = (uint32_t)b->hops_n;
}

static void glob_build_brace(struct glob_build *b, enum glob_kind kind)
{
	if (kind == GLOB_OPEN)
		b->groups[b->groups_n++] = (struct glob_group){(uint32_t)b->n, 0};
	else
		glob_end_alternative(b);
	glob_apart(b);
	struct glob_group *g = &b->groups[b->groups_n - 1];
	if (kind != GLOB_CLOSE) {
		glob_hop(b, g->open, b->n);
		return;
	}
	for (uint32_t at = g->ends; at != 0;) {
		struct glob_hop *hop = &b->hops[at - 1];

		at = hop->to;
		hop->to = (uint32_t)b->n;
	}
	b->groups_n--;
}

/*
 * Two stars. As a segment in between: from its beginning, which must not move on slashes, either
 * over it or into a point that stays on everything until a slash. At the end: a point that stays
 * on everything; the end is reached from it, and from before the slash in front of it.
 */
static void glob_build_deep(struct glob_build *b, enum glob_kind kind, bool after_slash)
{
	size_t first = b->n;

	if (kind == GLOB_DEEP_END) {
		b->stays[first] = GLOB_STAYS_DEEP;
		glob_apart(b);
		glob_hop(b, first, b->n);
		if (after_slash)
			glob_hop(b, first - 1, b->n);
		return;
	}
	glob_apart(b);
	b->stays[b->n] = GLOB_STAYS_DEEP;
	glob_hop(b, first, b->n);
	glob_edge(b, (struct glob_token){.kind = GLOB_SLASH});
	glob_hop(b, first, b->n);
}

static void glob_build_points(struct glob_build *b, const struct glob_token *seq, size_t n)
{
	glob_point(b);
	for (size_t i = 0; i < n; i++) {
		switch (seq[i].kind) {
		case GLOB_STAR: b->stays[b->n] = GLOB_STAYS; break;
		case GLOB_DEEP:
		case GLOB_DEEP_END:
			glob_build_deep(b, seq[i].kind, i > 0 && seq[i - 1].kind == GLOB_SLASH);
			break;
		case GLOB_OPEN:
		case GLOB_COMMA:
		case GLOB_CLOSE: glob_build_brace(b, seq[i].kind); break;
		default: glob_edge(b, seq[i]); break;
		}
	}
	b->n++; /* the last point counts */
}

/* ---- the automaton ---- */

static void glob_set(uint64_t *bits, size_t point)
{
	bits[point / GLOB_WORD_BITS] |= UINT64_C(1) << point % GLOB_WORD_BITS;
}

static bool glob_test(const uint64_t *bits, size_t point)
{
	return (bits[point / GLOB_WORD_BITS] >> point % GLOB_WORD_BITS & 1) != 0;
}

static void glob_fill_edge(struct glob_automaton *a, size_t point, struct glob_token edge)
{
	a->edge[point] = edge;
	switch (edge.kind) {
	case GLOB_CHAR:
		if (edge.value < GLOB_ASCII)
			glob_set(a->take + edge.value * a->words, point);
		else
			glob_set(a->wide, point);
		return;
	case GLOB_SLASH: glob_set(a->take + '/' * a->words, point); return;
	case GLOB_ANY: glob_set(a->any, point); break;
	case GLOB_CLASS: glob_set(a->wide, point); break;
	default: return;
	}
	for (uint32_t c = 0; c < GLOB_ASCII; c++) {
		if (c != '/' && (edge.kind == GLOB_ANY ||
					glob_in_class(&a->classes[edge.value], a->ranges, c)))
			glob_set(a->take + c * a->words, point);
	}
}

static void glob_fill_stay(struct glob_automaton *a, size_t point, uint8_t stays)
{
	if (stays != 0)
		glob_set(a->stay, point);
	if (stays == GLOB_STAYS_DEEP)
		glob_set(a->deep, point);
}

/* Adds a jump to those of its point, all of which come one after the other. */
static void glob_fill_jump(struct glob_automaton *a, uint32_t first, uint32_t *n, uint32_t to)
{
	uint32_t word = to / GLOB_WORD_BITS;

	if (*n == first || a->jump[*n - 1].word != word)
		a->jump[(*n)++] = (struct glob_jump){.word = word};
	a->jump[*n - 1].bits |= UINT64_C(1) << to % GLOB_WORD_BITS;
}

static int glob_compare_hops(const void *x, const void *y)
{
	const struct glob_hop *a = x, *b = y;

	if (a->from != b->from)
		return a->from < b->from ? -1 : 1;
	return (a->to > b->to) - (a->to < b->to);
}

static void glob_fill_jumps(struct glob_automaton *a, struct glob_build *b)
{
	uint32_t n = 0;
	size_t hop = 0;

	qsort(b->hops, b->hops_n, sizeof(*b->hops), glob_compare_hops);
	for (size_t point = 0; point < a->n; point++) {
		uint32_t first = n;

		a->jump_at[point] = n;
		for (; hop < b->hops_n && b->hops[hop].from == point; hop++)
			glob_fill_jump(a, first, &n, b->hops[hop].to);
		if (n > first)
			glob_set(a->jumps, point);
	}
	a->jump_at[a->n] = n;
}

/* Adds what the points in the set jump to. Jumps lead forwards, so one pass is enough. */
static inline void glob_close(const struct glob_automaton *a, uint64_t *set, size_t words)
{
	for (size_t w = 0; w < words; w++) {
		uint64_t todo = set[w] & a->jumps[w];

		while (todo != 0) {
			unsigned int bit = (unsigned int)__builtin_ctzll(todo);
			size_t point = w * GLOB_WORD_BITS + bit;

			for (uint32_t j = a->jump_at[point]; j < a->jump_at[point + 1]; j++)
				set[a->jump[j].word] |= a->jump[j].bits;
			/* Shifted twice: by all 64 at once is not defined. */
			todo = set[w] & a->jumps[w] & UINT64_MAX << bit << 1;
		}
	}
}

/* One block of memory for all of it; zeroed. */
static struct glob_automaton *glob_automaton_alloc(size_t points, size_t hops)
{
	size_t words = (points + GLOB_WORD_BITS - 1) / GLOB_WORD_BITS;
	size_t bits = (GLOB_ASCII + 6) * words * sizeof(uint64_t);
	size_t size = bits + hops * sizeof(struct glob_jump) + points * sizeof(struct glob_token) +
		      (points + 1) * sizeof(uint32_t);
	struct glob_automaton *a = malloc(sizeof(*a) + size);

	if (a == NULL)
		return NULL;
	*a = (struct glob_automaton){.n = points, .words = words};
	memset(a->mem, 0, size);
	a->take = a->mem;
	a->start = a->take + GLOB_ASCII * words;
	a->any = a->start + words;
	a->wide = a->any + words;
	a->stay = a->wide + words;
	a->deep = a->stay + words;
	a->jumps = a->deep + words;
	a->jump = (struct glob_jump *)(a->jumps + words);
	a->edge = (struct glob_token *)(a->jump + hops);
	a->jump_at = (uint32_t *)(a->edge + points);
	return a;
}

struct glob_automaton *glob_automaton_new(const struct glob_token *seq, size_t n,
	const struct glob_class *classes, const struct glob_range *ranges)
{
	struct glob_automaton *a = NULL;
	struct glob_build b;

	if (glob_build_init(&b, n)) {
		glob_build_points(&b, seq, n);
		a = glob_automaton_alloc(b.n, b.hops_n);
	}
	if (a != NULL) {
		a->classes = classes;
		a->ranges = ranges;
		for (size_t point = 0; point < a->n; point++) {
			glob_fill_edge(a, point, b.edges[point]);
			glob_fill_stay(a, point, b.stays[point]);
		}
		glob_fill_jumps(a, &b);
		glob_set(a->start, 0);
		glob_close(a, a->start, a->words);
	}
	glob_build_fini(&b);
	return a;
}

void glob_automaton_free(struct glob_automaton *a)
{
	free(a);
}

/* ---- matching ---- */

/* Which points of a word take a character beyond ASCII. */
static uint64_t glob_take_wide(
	const struct glob_automaton *a, size_t word, uint64_t set, uint32_t code)
{
	uint64_t take = set & a->any[word];

	for (uint64_t todo = set & a->wide[word]; todo != 0; todo &= todo - 1) {
		unsigned int bit = (unsigned int)__builtin_ctzll(todo);
		struct glob_token edge = a->edge[word * GLOB_WORD_BITS + bit];
		bool takes = edge.kind == GLOB_CHAR
				     ? edge.value == code
				     : glob_in_class(&a->classes[edge.value], a->ranges, code);

		if (takes)
			take |= UINT64_C(1) << bit;
	}
	return take;
}

/* Takes the character at p. The number of bytes, or 0 when no point is left. */
static inline size_t glob_step(
	const struct glob_automaton *a, const uint8_t *p, size_t n, uint64_t *set, size_t words)
{
	const uint64_t *stay = p[0] == '/' ? a->deep : a->stay;
	const uint64_t *take = a->take + (p[0] & (GLOB_ASCII - 1)) * words;
	uint64_t carry = 0, alive = 0;
	size_t len = 1;
	uint32_t code = p[0] < GLOB_ASCII ? p[0] : glob_char(p, n, &len);

	for (size_t w = 0; w < words; w++) {
		uint64_t old = set[w];
		uint64_t taken = code < GLOB_ASCII ? old & take[w]
						   : glob_take_wide(a, w, old, code);

		set[w] = taken << 1 | carry | (old & stay[w]);
		carry = taken >> (GLOB_WORD_BITS - 1);
		alive |= set[w];
	}
	return alive != 0 ? len : 0;
}

/* `words` is a->words: as a constant it lets the compiler make a loop for small automata. */
static inline bool glob_run(
	const struct glob_automaton *a, struct str text, bool whole, uint64_t *set, size_t words)
{
	const uint8_t *p = (const uint8_t *)text.p;

	memcpy(set, a->start, words * sizeof(*set));
	for (size_t at = 0; at < text.n;) {
		if (!whole && glob_test(set, a->n - 1))
			return true;
		size_t len = glob_step(a, p + at, text.n - at, set, words);
		if (len == 0)
			return false;
		at += len;
		glob_close(a, set, words);
	}
	return glob_test(set, a->n - 1);
}

/* Apart, so that small automata do without its stack. */
static __attribute__((noinline)) bool glob_run_large(
	const struct glob_automaton *a, struct str text, bool whole)
{
	uint64_t set[GLOB_WORDS_MAX];

	return glob_run(a, text, whole, set, a->words);
}

bool glob_automaton_match(const struct glob_automaton *a, struct str text, bool whole)
{
	uint64_t set[1];

	if (a->words > 1)
		return glob_run_large(a, text, whole);
	return glob_run(a, text, whole, set, 1);
}
