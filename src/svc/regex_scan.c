/*
 * regex_scan: what the text of a pattern tells, without matching anything.
 *
 * One walk over the pattern, which PCRE2 has accepted already, finds two things. The longest run of
 * plain bytes that every match must hold: a run grows with each byte that stands for itself, ends
 * at anything else, and goes through groups as long as they have one branch. And the pattern
 * rewritten so that no part of it can match LF: \W becomes [^\w\n], [^"] becomes [^\n"]
 * (regex_atom.c).
 *
 * Both are optional, so the rule is simple: anything that is not understood for certain (verbs,
 * extended mode, conditions, odd escapes) ends the walk, and nothing is known about the pattern.
 */
#include <string.h>

#include "boxd/utf8.h"

#include "regex_scan_internal.h"

/* Groups inside each other; PCRE2's own limit is 250. */
#define REGEX_SCAN_DEPTH 300

/* Where in out->literal runs of the pattern are. All runs of all levels stand there in a row. */
struct regex_level {
	size_t run;          /* where the run that is growing begins; it ends at the tail */
	size_t best, best_n; /* the longest so far */
	bool exact;          /* nothing but the run */
	bool branches;       /* there is a | */
};

struct regex_repeat {
	bool any; /* there is a quantifier */
	bool one; /* and it says {1} */
	bool optional;
};

static void regex_scan_group(struct regex_scanner *s, struct regex_level *lv);

bool regex_scan_looking_at(const struct regex_scanner *s, const char *text)
{
	size_t n = strlen(text);

	return (size_t)(s->end - s->p) >= n && memcmp(s->p, text, n) == 0;
}

void regex_scan_braced(struct regex_scanner *s)
{
	static const char open[] = "{<'", close[] = "}>'";
	const char *kind = regex_scan_ends(s) ? NULL : memchr(open, *s->p, sizeof(open) - 1);
	const uint8_t *end = NULL;

	if (kind != NULL)
		end = memchr(s->p + 1, close[kind - open], (size_t)(s->end - s->p - 1));
	if (end == NULL)
		s->unsure = true;
	else
		s->p = end + 1;
}

/* ---- runs ---- */

static size_t regex_scan_tail(const struct regex_scanner *s)
{
	return buf_len(&s->out->literal);
}

void regex_scan_push(struct regex_scanner *s, const void *bytes, size_t n)
{
	if (buf_add(&s->out->literal, bytes, n) < 0)
		s->failed = true;
	if (memchr(bytes, '\n', n) != NULL)
		s->out->by_block = false;
}

static void regex_scan_candidate(struct regex_level *lv, size_t from, size_t to)
{
	if (to - from > lv->best_n) {
		lv->best = from;
		lv->best_n = to - from;
	}
}

/* The run ends at `to`; the next begins behind all that is there. */
static void regex_scan_cut(const struct regex_scanner *s, struct regex_level *lv, size_t to)
{
	regex_scan_candidate(lv, lv->run, to);
	lv->run = regex_scan_tail(s);
	lv->exact = false;
}

/* ---- quantifiers ---- */

/* {n}, {n,} or {n,m}; with anything else that versions of PCRE2 read differently: not sure. */
static bool regex_scan_braces(struct regex_scanner *s, struct regex_repeat *r)
{
	const uint8_t *p = s->p + 1;
	unsigned long min = 0;
	bool comma = false;

	if (p < s->end && (*p == ',' || *p == ' ' || *p == '\t'))
		s->unsure = true;
	if (!regex_scan_digit(p, s->end))
		return false;
	for (; regex_scan_digit(p, s->end); p++)
		min = min < 100000 ? min * 10 + (*p - '0') : min;
	if (p < s->end && *p == ',') {
		comma = true;
		for (p++; regex_scan_digit(p, s->end); p++)
			;
	}
	if (p == s->end || *p != '}') {
		s->unsure = true;
		return false;
	}
	s->p = p + 1;
	*r = (struct regex_repeat){.any = true, .one = min == 1 && !comma, .optional = min == 0};
	return true;
}

static struct regex_repeat regex_scan_repeat(struct regex_scanner *s)
{
	struct regex_repeat r = {0};

	/* These may stand between an atom and its quantifier. */
	while (regex_scan_looking_at(s, "\\E")) {
		s->quoting = false;
		s->p += 2;
	}
	if (s->quoting)
		return r;
	if (regex_scan_looking_at(s, "\\Q\\E") || regex_scan_looking_at(s, "(?#"))
		s->unsure = true;
	if (regex_scan_ends(s))
		return r;
	if (*s->p == '*' || *s->p == '?' || *s->p == '+') {
		r = (struct regex_repeat){.any = true, .optional = *s->p != '+'};
		s->p++;
	} else if (*s->p != '{' || !regex_scan_braces(s, &r)) {
		return r;
	}
	if (!regex_scan_ends(s) && (*s->p == '?' || *s->p == '+'))
		s->p++;
	return r;
}

/* ---- groups ---- */

/* (?i) and (?i:...). s->p is behind the question mark. True: a group follows. */
static bool regex_scan_options(struct regex_scanner *s)
{
	bool off = false;

	s->no_literal = true;
	for (; !regex_scan_ends(s) && *s->p != ')' && *s->p != ':'; s->p++) {
		switch (*s->p) {
		case '-': off = true; break;
		case 's': s->dot_all = true; break;
		case 'm':
			if (off)
				s->out->by_block = false;
			break;
		case 'i':
		case 'n':
		case 'J':
		case 'U': break;
		default: s->unsure = true; return false;
		}
	}
	if (regex_scan_ends(s)) {
		s->unsure = true;
		return false;
	}
	return *s->p++ == ':';
}

/* (?R) (?1) (?-1) (?&name) (?P>name) (?P=name): the pattern of a group, or its text, again. */
static bool regex_scan_again(struct regex_scanner *s)
{
	const uint8_t *p = s->p;

	if (*p == '+' || *p == '-') {
		if (!regex_scan_digit(p + 1, s->end))
			return false;
	} else if (*p != 'R' && *p != '&' && !regex_scan_digit(p, s->end) &&
		   !regex_scan_looking_at(s, "P>") && !regex_scan_looking_at(s, "P=")) {
		return false;
	}
	p = memchr(p, ')', (size_t)(s->end - p));
	if (p == NULL)
		s->unsure = true;
	else
		s->p = p + 1;
	return true;
}

/* (?<name> (?P<name> (?'name' : passes it. */
static bool regex_scan_name(struct regex_scanner *s)
{
	if (*s->p == 'P')
		s->p++;
	if (s->end - s->p < 2 || (*s->p != '<' && *s->p != '\''))
		return false;
	if (!regex_scan_alnum(s->p[1]) && s->p[1] != '_' && s->p[1] < 0x80)
		return false;
	regex_scan_braced(s);
	return true;
}

/*
 * What stands behind "(?". REGEX_ATOM_GROUP: what is in the group is part of the match; OTHER: it
 * is a group that is not; EMPTY: there is no group.
 */
static enum regex_atom regex_scan_special(struct regex_scanner *s, struct regex_level *inner)
{
	s->p++;
	if (regex_scan_ends(s)) {
		s->unsure = true;
		return REGEX_ATOM_EMPTY;
	}
	if (regex_scan_again(s)) {
		inner->exact = false;
		return REGEX_ATOM_EMPTY;
	}
	if (regex_scan_looking_at(s, "<=") || regex_scan_looking_at(s, "<!")) {
		s->p += 2;
		return REGEX_ATOM_OTHER;
	}
	switch (*s->p) {
	case ':': s->p++; return REGEX_ATOM_GROUP;
	case '|':
	case '>': s->p++; break;
	case '=':
	case '!': s->p++; return REGEX_ATOM_OTHER;
	case '<':
	case 'P':
	case '\'':
		if (!regex_scan_name(s))
			s->unsure = true;
		break;
	default: return regex_scan_options(s) ? REGEX_ATOM_GROUP : REGEX_ATOM_EMPTY;
	}
	inner->exact = false;
	return REGEX_ATOM_GROUP;
}

/* From the parenthesis to the one that closes it. */
static enum regex_atom regex_scan_parenthesis(struct regex_scanner *s, struct regex_level *inner)
{
	enum regex_atom kind = REGEX_ATOM_GROUP;
	bool exact = true;

	*inner = (struct regex_level){.run = regex_scan_tail(s), .exact = true};
	s->p++;
	if (!regex_scan_ends(s) && *s->p == '?') {
		kind = regex_scan_special(s, inner);
		exact = inner->exact;
	} else if (!regex_scan_ends(s) && *s->p == '*') {
		s->unsure = true;
	} else {
		exact = false;
	}
	if (kind == REGEX_ATOM_EMPTY)
		return REGEX_ATOM_OTHER;
	regex_scan_group(s, inner);
	if (regex_scan_ends(s) || *s->p != ')')
		s->unsure = true;
	else
		s->p++;
	inner->exact &= exact;
	return kind;
}

/* ---- the walk ---- */

/* One character of the pattern that stands for itself: in UTF mode all of its bytes. */
static enum regex_atom regex_scan_plain(struct regex_scanner *s)
{
	size_t n = s->utf ? utf8_sequence(s->p, (size_t)(s->end - s->p)) : 1;

	if (n == 0) {
		s->unsure = true;
		return REGEX_ATOM_OTHER;
	}
	regex_scan_push(s, s->p, n);
	s->p += n;
	return REGEX_ATOM_BYTES;
}

static enum regex_atom regex_scan_quote(struct regex_scanner *s)
{
	while (regex_scan_looking_at(s, "\\E") ||
		(!s->quoting && regex_scan_looking_at(s, "\\Q"))) {
		s->quoting = s->p[1] == 'Q';
		s->p += 2;
	}
	return regex_scan_ends(s) ? REGEX_ATOM_END : REGEX_ATOM_BYTES;
}

static enum regex_atom regex_scan_atom(struct regex_scanner *s, struct regex_level *inner)
{
	if (regex_scan_ends(s) || regex_scan_quote(s) == REGEX_ATOM_END)
		return REGEX_ATOM_END;
	if (s->quoting)
		return regex_scan_plain(s);
	switch (*s->p) {
	case '|':
	case ')': return REGEX_ATOM_END;
	case '(': return regex_scan_parenthesis(s, inner);
	case '[': return regex_atom_class(s);
	case '\\': return regex_atom_escape(s);
	case '*':
	case '+':
	case '?': s->unsure = true; return REGEX_ATOM_END;
	case '^':
	case '$': s->p++; return REGEX_ATOM_EMPTY;
	case '.':
		s->p++;
		if (s->dot_all)
			regex_atom_instead(s, s->p - 1, "\\N");
		return REGEX_ATOM_OTHER;
	default: return regex_scan_plain(s);
	}
}

/* Bytes [from, tail) that a quantifier may follow. */
static void regex_scan_bytes(struct regex_scanner *s, struct regex_level *lv, size_t from)
{
	struct regex_repeat r = regex_scan_repeat(s);
	size_t to = regex_scan_tail(s);
	uint8_t copy[4];

	if (!r.any || r.one)
		return;
	if (r.optional) {
		regex_scan_cut(s, lv, from);
		return;
	}
	/* The last of them is followed by what comes next, the first by another. */
	memcpy(copy, buf_data(&s->out->literal) + from, to - from);
	regex_scan_cut(s, lv, to);
	regex_scan_push(s, copy, to - from);
}

/* A group whose bytes begin at `from`. */
static void regex_scan_close(struct regex_scanner *s, struct regex_level *lv,
	const struct regex_level *inner, size_t from, enum regex_atom kind)
{
	struct regex_repeat r = regex_scan_repeat(s);

	if (kind == REGEX_ATOM_GROUP && inner->exact && (!r.any || r.one))
		return; /* the run goes on through it */
	regex_scan_cut(s, lv, from);
	if (kind == REGEX_ATOM_GROUP && !inner->branches && !r.optional)
		regex_scan_candidate(lv, inner->best, inner->best + inner->best_n);
}

/* One branch of a group. */
static void regex_scan_branch(struct regex_scanner *s, struct regex_level *lv)
{
	for (;;) {
		struct regex_level inner = {0};
		size_t from = regex_scan_tail(s);
		enum regex_atom atom = regex_scan_atom(s, &inner);

		switch (atom) {
		case REGEX_ATOM_END: return;
		case REGEX_ATOM_BYTES: regex_scan_bytes(s, lv, from); break;
		case REGEX_ATOM_EMPTY: lv->exact = false; break;
		case REGEX_ATOM_GROUP: regex_scan_close(s, lv, &inner, from, atom); break;
		case REGEX_ATOM_OTHER: regex_scan_close(s, lv, &inner, from, atom); break;
		}
	}
}

/* All branches, up to a parenthesis that closes or the end of the pattern. */
static void regex_scan_group(struct regex_scanner *s, struct regex_level *lv)
{
	if (++s->depth > REGEX_SCAN_DEPTH)
		s->unsure = true;
	regex_scan_branch(s, lv);
	while (!regex_scan_ends(s) && *s->p == '|') {
		s->p++;
		lv->branches = true;
		lv->exact = false;
		regex_scan_branch(s, lv);
	}
	regex_scan_candidate(lv, lv->run, regex_scan_tail(s));
	s->depth--;
}

int regex_scan(struct str pattern, bool utf, struct regex_scan *out)
{
	const uint8_t *p = (const uint8_t *)(pattern.n > 0 ? pattern.p : "");
	struct regex_level top = {.exact = true};
	struct regex_scanner s = {
		.p = p, .end = p + pattern.n, .copied = p, .out = out, .utf = utf};

	*out = (struct regex_scan){.by_block = true};
	if (pattern.n > 0)
		regex_scan_group(&s, &top);
	if (s.failed)
		return -1;
	if (s.unsure || s.p != s.end) {
		regex_scan_fini(out);
		return 0;
	}
	regex_atom_copy(&s, s.end);
	if (s.no_literal || top.branches)
		top = (struct regex_level){0};
	out->exact = top.exact;
	/* Keep the best run alone: it moves to the front of the buffer. */
	buf_drain(&out->literal, top.best_n > 0 ? top.best : buf_len(&out->literal));
	out->literal.tail = out->literal.head + top.best_n;
	return s.failed ? -1 : 0;
}

void regex_scan_fini(struct regex_scan *s)
{
	buf_fini(&s->literal);
	buf_fini(&s->lines);
	*s = (struct regex_scan){0};
}
