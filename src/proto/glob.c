/*
 * glob: asks the questions that a pattern was compiled to, from the first on, until an answer is
 * that of the whole pattern. The common patterns are one question, and that is a comparison.
 */
#include "boxd/glob.h"

#include <stdlib.h>
#include <string.h>

#include "glob_internal.h"

struct glob *glob_new_as(struct str pattern, size_t max_states, bool general, const char **why)
{
	struct glob *g = malloc(sizeof(*g));
	struct glob_source s;
	bool made = false;

	*why = NULL;
	if (g == NULL)
		return NULL;
	*g = (struct glob){.n = 0};
	if (glob_parse(pattern, &s, why)) {
		made = glob_compile(&s, max_states, general, g, why);
		g->has_slash = s.has_slash;
		g->classes = s.classes;
		g->ranges = s.ranges;
		s.classes = NULL;
		s.ranges = NULL;
	}
	glob_source_fini(&s);
	if (made)
		return g;
	glob_free(g);
	return NULL;
}

struct glob *glob_new(struct str pattern, size_t max_states, const char **why)
{
	return glob_new_as(pattern, max_states, false, why);
}

void glob_free(struct glob *g)
{
	if (g == NULL)
		return;
	for (size_t i = 0; i < g->n; i++) {
		free(g->questions[i].text);
		glob_automaton_free(g->questions[i].automaton);
	}
	free(g->questions);
	free(g->classes);
	free(g->ranges);
	free(g);
}

bool glob_has_slash(const struct glob *g)
{
	return g->has_slash;
}

static bool glob_same(const char *a, const char *b, size_t n)
{
	return n == 0 || memcmp(a, b, n) == 0;
}

/* Text, then anything that crosses no slash, then text. */
static bool glob_around(const struct glob_question *q, struct str text)
{
	if (text.n < q->n)
		return false;
	size_t tail_n = q->n - q->head_n, free_n = text.n - q->n;
	return glob_same(text.p + text.n - tail_n, q->text + q->head_n, tail_n) &&
	       glob_same(text.p, q->text, q->head_n) &&
	       (free_n == 0 || memchr(text.p + q->head_n, '/', free_n) == NULL);
}

static bool glob_answer(const struct glob_question *q, struct str text)
{
	const char *slash = q->base && text.n > 0 ? memrchr(text.p, '/', text.n) : NULL;

	if (slash != NULL)
		text = (struct str){slash + 1, (size_t)(text.p + text.n - slash - 1)};
	switch (q->shape) {
	case GLOB_LITERAL:
		return (q->whole ? text.n == q->n : text.n >= q->n) &&
		       glob_same(text.p, q->text, q->n);
	case GLOB_AROUND: return glob_around(q, text);
	case GLOB_ALL: return true;
	case GLOB_AUTOMATON:
	default: return glob_automaton_match(q->automaton, text, q->whole);
	}
}

bool glob_match(const struct glob *g, struct str text)
{
	uint32_t at = 0;

	if (text.n == 0)
		text = STR("");
	do {
		const struct glob_question *q = &g->questions[at];

		at = glob_answer(q, text) ? q->yes : q->no;
	} while (at < g->n);
	return at == GLOB_YES;
}
