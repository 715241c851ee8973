/*
 * glob_stars: which stars are a whole segment.
 *
 * Two stars are special when what the braces expand to has nothing else between two slashes. So
 * what is before and what is behind each token is worked out as sets, over all ways through
 * the braces, one pass in each direction. Where a set has more than one answer, or where the slash
 * that belongs to the stars is on the other side of a brace, the group has to be expanded.
 */
#include "glob_internal.h"

/* What a segment holds already, where a token begins. */
enum {
	GLOB_AT_START = 1, /* nothing, and the pattern begins here */
	GLOB_AT_SLASH = 2, /* nothing, after a slash */
	GLOB_AT_ONE = 4,   /* one star */
	GLOB_AT_TWO = 8,   /* two stars */
	GLOB_AT_OTHER = 16
};

/* What follows a token. */
enum { GLOB_THEN_SLASH = 1, GLOB_THEN_END = 2, GLOB_THEN_OTHER = 4 };

/* A group of braces: the set outside of it, and what its alternatives so far come to. */
struct glob_level {
	uint8_t outside, joined;
};

static uint8_t glob_at_next(uint8_t at, enum glob_kind kind)
{
	unsigned int next = 0;

	if (kind == GLOB_SLASH)
		return GLOB_AT_SLASH;
	if (kind != GLOB_STAR)
		return GLOB_AT_OTHER;
	if ((at & (GLOB_AT_START | GLOB_AT_SLASH)) != 0)
		next |= GLOB_AT_ONE;
	if ((at & GLOB_AT_ONE) != 0)
		next |= GLOB_AT_TWO;
	if ((at & (GLOB_AT_TWO | GLOB_AT_OTHER)) != 0)
		next |= GLOB_AT_OTHER;
	return (uint8_t)next;
}

/* A brace or a comma, in either direction: changes the set, and returns the innermost level. */
static struct glob_level *glob_brace(struct glob_level *top, bool enters, bool leaves, uint8_t *set)
{
	if (enters) {
		*++top = (struct glob_level){.outside = *set};
		return top;
	}
	top->joined |= *set;
	*set = leaves ? top->joined : top->outside;
	return leaves ? top - 1 : top;
}

static bool glob_is_brace(enum glob_kind kind)
{
	return kind == GLOB_OPEN || kind == GLOB_COMMA || kind == GLOB_CLOSE;
}

static void glob_before(
	const struct glob_token *seq, size_t n, uint8_t *before, struct glob_level *levels)
{
	struct glob_level *top = levels;
	uint8_t at = GLOB_AT_START;

	for (size_t i = 0; i < n; i++) {
		enum glob_kind kind = seq[i].kind;

		before[i] = at;
		if (glob_is_brace(kind))
			top = glob_brace(top, kind == GLOB_OPEN, kind == GLOB_CLOSE, &at);
		else
			at = glob_at_next(at, kind);
	}
}

static void glob_behind(const struct glob_token *seq, size_t n, bool whole, uint8_t *behind,
	struct glob_level *levels)
{
	struct glob_level *top = levels;
	uint8_t then = whole ? GLOB_THEN_END : GLOB_THEN_OTHER;

	for (size_t i = n; i-- > 0;) {
		enum glob_kind kind = seq[i].kind;

		behind[i] = then;
		if (glob_is_brace(kind))
			top = glob_brace(top, kind == GLOB_CLOSE, kind == GLOB_OPEN, &then);
		else
			then = kind == GLOB_SLASH ? GLOB_THEN_SLASH : GLOB_THEN_OTHER;
	}
}

/*
 * What a run of stars means, given what is before the first of them and behind the last.
 * GLOB_NOTHING: it depends on the way through the braces.
 */
static enum glob_kind glob_run_kind(
	size_t run, uint8_t before, uint8_t behind, bool slash_before, bool slash_behind)
{
	uint8_t at = before;

	for (size_t i = 0; i < run && at != GLOB_AT_OTHER; i++)
		at = glob_at_next(at, GLOB_STAR);
	if ((at & GLOB_AT_TWO) == 0 || (behind & (GLOB_THEN_SLASH | GLOB_THEN_END)) == 0)
		return GLOB_STAR;
	if (run != 2 || at != GLOB_AT_TWO)
		return GLOB_NOTHING;
	if (slash_behind)
		return GLOB_DEEP;
	if (behind == GLOB_THEN_END && (slash_before || before == GLOB_AT_START))
		return GLOB_DEEP_END;
	return GLOB_NOTHING;
}

bool glob_stars(struct glob_token *seq, size_t *n, bool whole, uint8_t *scratch)
{
	uint8_t *before = scratch, *behind = scratch + *n;
	/* A group has three tokens at least; the bottom level stands for no group. */
	struct glob_level *levels = (struct glob_level *)(scratch + 2 * *n);
	size_t kept = 0;

	glob_before(seq, *n, before, levels);
	glob_behind(seq, *n, whole, behind, levels);
	for (size_t i = 0; i < *n;) {
		size_t run = 0;

		while (i + run < *n && seq[i + run].kind == GLOB_STAR)
			run++;
		if (run == 0) {
			seq[kept++] = seq[i++];
			continue;
		}
		bool slash_behind = i + run < *n && seq[i + run].kind == GLOB_SLASH;
		bool slash_before = kept > 0 && (seq[kept - 1].kind == GLOB_SLASH ||
							seq[kept - 1].kind == GLOB_DEEP);
		enum glob_kind kind = glob_run_kind(
			run, before[i], behind[i + run - 1], slash_before, slash_behind);
		if (kind == GLOB_NOTHING)
			return false;
		i += run + (kind == GLOB_DEEP ? 1 : 0);
		seq[kept++] = (struct glob_token){.kind = kind};
	}
	*n = kept;
	return true;
}
