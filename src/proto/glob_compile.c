/*
 * glob_compile: a pattern as questions about a text.
 *
 * A pattern without a negation is one question, which an automaton answers, braces and all. With
 * A!(X)B the questions are: does A take a beginning of the text, and if so, does AXB take all of
 * it; where the second yes is a no. What is left of a negation has to be free of braces for that,
 * so it is expanded, each alternative a question of its own, to be asked when the one before was
 * answered with no. The same is done with braces that leave the meaning of stars open.
 *
 * The expansion is a walk through the tokens: past an alternative it goes on behind its group, and
 * a negation's parentheses mean nothing once its question is asked. Frames remember where another
 * alternative is to be taken. What was walked over so far is the path. All memory but
 * the questions is bounded by the pattern, and all work by max_states.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "glob_internal.h"

/* Where the next question is not known yet, yes and no are labels; these two are answers. */
enum { GLOB_LABEL_YES, GLOB_LABEL_NO, GLOB_LABELS };

/* A group of which one alternative is on the path. */
struct glob_frame {
	uint32_t at;      /* the brace or comma before the alternative */
	uint32_t path_n;  /* the path up to the group */
	uint32_t yes, no; /* the labels that were in force there */
	uint32_t next;    /* the label of the next alternative */
};

struct glob_compiler {
	const struct glob_source *s;
	struct glob *g;
	bool general;
	size_t left; /* of max_states */
	const char *why;
	uint32_t at;             /* the next token of the walk */
	struct glob_token *path; /* path_n, then room for what is left of the pattern */
	struct glob_token *seq;  /* the sequence that is worked on */
	uint8_t *scratch;        /* for glob_stars() */
	struct glob_frame *frames;
	size_t path_n, frames_n;
	uint32_t yes, no; /* the labels in force */
	uint32_t *labels; /* the number of a question */
	size_t labels_n, labels_cap, questions_cap;
};

/* ---- questions ---- */

/* Makes room for one more element. */
static bool glob_grow(void **array, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return true;
	size_t more = *cap == 0 ? 4 : *cap * 2;
	void *p = realloc(*array, more * size);
	if (p == NULL)
		return false;
	*array = p;
	*cap = more;
	return true;
}

/* A label for the question that comes next, unless it is set again. */
static bool glob_label(struct glob_compiler *c, uint32_t *label)
{
	void *labels = c->labels;
	bool grown = glob_grow(&labels, c->labels_n, &c->labels_cap, sizeof(*c->labels));

	c->labels = labels;
	if (!grown)
		return false;
	*label = (uint32_t)c->labels_n;
	c->labels[c->labels_n++] = (uint32_t)c->g->n;
	return true;
}

static struct glob_question *glob_ask(struct glob_compiler *c, bool whole)
{
	void *questions = c->g->questions;
	bool grown = glob_grow(&questions, c->g->n, &c->questions_cap, sizeof(*c->g->questions));

	c->g->questions = questions;
	if (!grown)
		return NULL;
	struct glob_question *q = &c->g->questions[c->g->n++];
	*q = (struct glob_question){.whole = whole, .yes = c->yes, .no = c->no};
	return q;
}

/* ---- short cuts ---- */

static size_t glob_encode(uint32_t code, uint8_t *out)
{
	if (code < 0x80) {
		out[0] = (uint8_t)code;
		return 1;
	}
	size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	for (size_t i = n; i-- > 1; code >>= 6)
		out[i] = (uint8_t)(0x80 | (code & 0x3f));
	out[0] = (uint8_t)(0xf00u >> n | code);
	return n;
}

/*
 * Is the sequence literal but for one star at most? Bytes that are no characters are not: next to
 * others they may be one, so comparing bytes is something else. *star is n when there is no star.
 */
static bool glob_is_around(const struct glob_token *seq, size_t n, size_t *star)
{
	*star = n;
	for (size_t i = 0; i < n; i++) {
		if (seq[i].kind == GLOB_STAR && *star == n)
			*star = i;
		else if (seq[i].kind != GLOB_SLASH &&
			 (seq[i].kind != GLOB_CHAR || seq[i].value >= GLOB_STRAY))
			return false;
	}
	return true;
}

static bool glob_set_text(
	struct glob_question *q, const struct glob_token *seq, size_t n, size_t star)
{
	q->text = malloc(4 * n + 1);
	if (q->text == NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (i == star)
			q->head_n = q->n;
		else
			q->n += glob_encode(seq[i].kind == GLOB_SLASH ? '/' : seq[i].value,
				(uint8_t *)q->text + q->n);
	}
	return true;
}

/* How many tokens at the start are segments of two stars, with nothing but a name behind them. */
static size_t glob_base(const struct glob_token *seq, size_t n)
{
	size_t base = 0;

	while (base < n && seq[base].kind == GLOB_DEEP)
		base++;
	for (size_t i = base; i < n; i++) {
		if (seq[i].kind == GLOB_SLASH || seq[i].kind == GLOB_DEEP ||
			seq[i].kind == GLOB_DEEP_END)
			return 0;
	}
	return base;
}

/* Chooses how a question is answered. False: out of memory. */
static bool glob_shape(
	struct glob_compiler *c, struct glob_question *q, const struct glob_token *seq, size_t n)
{
	size_t base = c->general || !q->whole ? 0 : glob_base(seq, n), star;

	q->base = base > 0;
	seq += base;
	n -= base;
	q->shape = GLOB_AUTOMATON;
	if (!c->general && glob_is_around(seq, n, &star) && (q->whole || star == n)) {
		q->shape = star == n ? GLOB_LITERAL : GLOB_AROUND;
		return glob_set_text(q, seq, n, star);
	}
	if (!c->general && n == 1 && seq[0].kind == GLOB_DEEP_END) {
		q->shape = GLOB_ALL;
		return true;
	}
	q->automaton = glob_automaton_new(seq, n, c->s->classes, c->s->ranges);
	return q->automaton != NULL;
}

/* ---- sequences ---- */

enum glob_done { GLOB_DONE, GLOB_FAILED, GLOB_OPEN_STARS };

/* Asks about the sequence in seq. */
static enum glob_done glob_sequence(struct glob_compiler *c, size_t n, bool whole)
{
	if (n + 1 > c->left) {
		c->why = "the pattern is too complex";
		return GLOB_FAILED;
	}
	c->left -= n + 1;
	if (!glob_stars(c->seq, &n, whole, c->scratch))
		return GLOB_OPEN_STARS;
	struct glob_question *q = glob_ask(c, whole);
	return q != NULL && glob_shape(c, q, c->seq, n) ? GLOB_DONE : GLOB_FAILED;
}

/* The token behind this one of the walk, when this one is on no path. */
static uint32_t glob_skip(const struct glob_compiler *c, uint32_t at)
{
	const struct glob_token *t = &c->s->tokens[at];

	return t->kind == GLOB_COMMA ? t->close + 1 : at + 1;
}

static bool glob_is_mark(enum glob_kind kind)
{
	return kind >= GLOB_OPEN;
}

/* Asks about the path and all that is left, with its braces as they are. */
static enum glob_done glob_rest(struct glob_compiler *c)
{
	const struct glob_token *t = c->s->tokens;
	size_t n = c->path_n;

	memcpy(c->seq, c->path, n * sizeof(*c->seq));
	for (uint32_t at = c->at; at < c->s->n;) {
		uint32_t end = t[at].kind == GLOB_OPEN ? t[at].close + 1 : at + 1;

		if (t[at].kind != GLOB_OPEN && glob_is_mark(t[at].kind)) {
			at = glob_skip(c, at);
			continue;
		}
		for (; at < end; at++) {
			if (t[at].kind != GLOB_NOTHING)
				c->seq[n++] = t[at];
		}
	}
	return glob_sequence(c, n, true);
}

/* ---- the walk ---- */

/* Takes the alternative of the innermost frame. */
static bool glob_take_alternative(struct glob_compiler *c)
{
	struct glob_frame *f = &c->frames[c->frames_n - 1];
	bool last = c->s->tokens[c->s->tokens[f->at].value].kind == GLOB_CLOSE;

	c->at = f->at + 1;
	c->path_n = f->path_n;
	c->yes = f->yes;
	c->no = f->no;
	if (last)
		return true;
	if (!glob_label(c, &f->next))
		return false;
	c->no = f->next;
	return true;
}

/* Goes back to the innermost group that has another alternative. False: there is none. */
static bool glob_next_alternative(struct glob_compiler *c)
{
	for (; c->frames_n > 0; c->frames_n--) {
		struct glob_frame *f = &c->frames[c->frames_n - 1];
		uint32_t next = c->s->tokens[f->at].value;

		if (c->s->tokens[next].kind == GLOB_COMMA) {
			c->labels[f->next] = (uint32_t)c->g->n;
			f->at = next;
			return true;
		}
	}
	return false;
}

static bool glob_walk_open(struct glob_compiler *c)
{
	c->frames[c->frames_n++] = (struct glob_frame){
		.at = c->at, .path_n = (uint32_t)c->path_n, .yes = c->yes, .no = c->no};
	return glob_take_alternative(c);
}

/* Asks for a beginning; if there is one, the answers to what follows are the other way round. */
static bool glob_walk_not(struct glob_compiler *c)
{
	uint32_t yes = c->yes, no = c->no, next;

	memcpy(c->seq, c->path, c->path_n * sizeof(*c->seq));
	if (glob_sequence(c, c->path_n, false) != GLOB_DONE || !glob_label(c, &next))
		return false;
	c->g->questions[c->g->n - 1].yes = next;
	c->yes = no;
	c->no = yes;
	c->at++;
	return true;
}

/* Walks into the next group, or to the point behind which there is no negation. */
static bool glob_walk(struct glob_compiler *c)
{
	const struct glob_token *t = c->s->tokens;
	bool expanding = c->at >= c->s->not_end;

	while (expanding || c->at < c->s->not_end) {
		assert(c->at < c->s->n);
		if (t[c->at].kind == GLOB_OPEN)
			return glob_walk_open(c);
		if (t[c->at].kind == GLOB_NOT_OPEN) {
			if (!glob_walk_not(c))
				return false;
		} else if (glob_is_mark(t[c->at].kind)) {
			c->at = glob_skip(c, c->at);
		} else {
			c->path[c->path_n++] = t[c->at++];
		}
	}
	return true;
}

/* Asks all questions of the alternatives that are taken now. */
static bool glob_leaf(struct glob_compiler *c)
{
	for (;;) {
		if (c->at >= c->s->not_end) {
			enum glob_done done = glob_rest(c);

			if (done != GLOB_OPEN_STARS)
				return done == GLOB_DONE;
		}
		if (!glob_walk(c))
			return false;
	}
}

static bool glob_walk_all(struct glob_compiler *c)
{
	do {
		if (c->frames_n > 0 && !glob_take_alternative(c))
			return false;
		if (!glob_leaf(c))
			return false;
	} while (glob_next_alternative(c));
	return true;
}

static uint32_t glob_resolve(const struct glob_compiler *c, uint32_t label)
{
	if (label == GLOB_LABEL_YES)
		return GLOB_YES;
	return label == GLOB_LABEL_NO ? GLOB_NO : c->labels[label];
}

static bool glob_compiler_init(struct glob_compiler *c)
{
	size_t n = c->s->n + 1;

	c->path = malloc(n * sizeof(*c->path));
	c->seq = malloc(n * sizeof(*c->seq));
	c->scratch = malloc(n * 4);
	c->frames = malloc(n * sizeof(*c->frames));
	c->labels_cap = GLOB_LABELS;
	c->labels = malloc(c->labels_cap * sizeof(*c->labels));
	c->labels_n = GLOB_LABELS;
	c->yes = GLOB_LABEL_YES;
	c->no = GLOB_LABEL_NO;
	return c->path != NULL && c->seq != NULL && c->scratch != NULL && c->frames != NULL &&
	       c->labels != NULL;
}

bool glob_compile(const struct glob_source *s, size_t max_states, bool general, struct glob *g,
	const char **why)
{
	struct glob_compiler c = {.s = s, .g = g, .general = general, .left = max_states};
	bool compiled = glob_compiler_init(&c) && glob_walk_all(&c);

	for (size_t i = 0; compiled && i < g->n; i++) {
		g->questions[i].yes = glob_resolve(&c, g->questions[i].yes);
		g->questions[i].no = glob_resolve(&c, g->questions[i].no);
	}
	free(c.path);
	free(c.seq);
	free(c.scratch);
	free(c.frames);
	free(c.labels);
	*why = c.why;
	return compiled;
}
