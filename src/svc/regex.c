/*
 * regex: PCRE2, told what a search of text needs.
 *
 * A match is bounded three ways. PCRE2 counts backtracking steps, but anew for every place where a
 * match could begin, so a long subject is given to it in slices: first with few steps allowed at a
 * place, which ordinary patterns never need; only where they do not suffice, a few places at a time
 * with LIMIT_GREP_STEPS, and between two slices the caller's stop() is asked. The JIT's stack and
 * the interpreter's heap are bounded as well. Where the kernel lets nobody make code at run
 * time the interpreter does the work, with the same limits.
 *
 * In a block of lines the bytes that every match must hold are looked for first, and only the lines
 * that have them see the pattern. Patterns without such bytes run over the whole block at once, in
 * the form that regex_scan() gave them; a pattern that it does not understand runs line by line.
 */
#include "boxd/regex.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "boxd/utf8.h"

#include "regex_internal.h"

/* The JIT's stack: its pages are touched only by patterns that need them, on long lines. */
#define REGEX_STACK_MIN ((size_t)32 << 10)
#define REGEX_STACK_MAX ((size_t)8 << 20)
/* The interpreter's memory, in KiB, and how deep its backtracking goes. */
#define REGEX_HEAP_KIB 32768u
#define REGEX_DEPTH    1000000u
/* Places where a match may begin, and steps at each: what runs between two questions to stop(). */
#define REGEX_SLICE       16384u
#define REGEX_SLICE_STEPS 10000u
#define REGEX_SLICE_FULL  16u
#define REGEX_STOP_LINES  64u
/* More than these are no help in finding where a match may begin. */
#define REGEX_FEW_BYTES 8

struct regex {
	pcre2_code *code; /* NULL: what matches is the needle itself */
	uint32_t groups;  /* the whole match included */
	bool utf, jit;
	bool no_jit;     /* it would be wrong */
	bool lines;      /* REGEX_LINES */
	bool by_block;   /* and `code` may see a block */
	bool from_start; /* \G: it matters where a search begins, so there are no slices */
	bool search_first;
	struct regex_needle needle;
};

struct regex_match {
	pcre2_match_data *data;
	pcre2_match_context *quick, *full; /* with few steps, and with all */
	pcre2_jit_stack *stack;
	bool (*stop)(const void *arg);
	const void *stop_arg;
	uint32_t groups;
	size_t base; /* what the ends in data, or those below, are counted from */
	size_t start, end;
};

/* ---- compiling ---- */

static bool regex_is_utf8(struct str text, bool *beyond_ascii)
{
	const uint8_t *p = (const uint8_t *)text.p;
	size_t i = 0;

	*beyond_ascii = false;
	while (i < text.n) {
		size_t n = utf8_sequence(p + i, text.n - i);

		if (n == 0)
			return false;
		*beyond_ascii |= n > 1;
		i += n;
	}
	return true;
}

static bool regex_mentions(struct str pattern, const char *const *what)
{
	for (; *what != NULL; what++) {
		if (pattern.n > 0 && memmem(pattern.p, pattern.n, *what, strlen(*what)) != NULL)
			return true;
	}
	return false;
}

/* Does the pattern speak of characters, rather than bytes? */
static bool regex_wants_utf(struct str pattern, unsigned int flags)
{
	static const char *const characters[] = {"\\p", "\\P", "\\X", "\\x{", "\\o{", "\\N{", NULL};
	bool beyond_ascii;

	if (!regex_is_utf8(pattern, &beyond_ascii))
		return false;
	if ((flags & REGEX_LITERAL) != 0)
		return beyond_ascii && (flags & REGEX_IGNORE_CASE) != 0;
	return beyond_ascii || regex_mentions(pattern, characters);
}

/*
 * With PCRE2 up to 10.42, code made for subjects that may be invalid UTF-8 does not match \S, \D or
 * \W with anything beyond ASCII. Within a class it does, but that is not looked at here.
 */
static bool regex_jit_is_wrong(const struct regex *re, struct str pattern)
{
	static const char *const types[] = {"\\S", "\\D", "\\W", NULL};

	return re->utf && regex_mentions(pattern, types);
}

static uint32_t regex_options(unsigned int flags, bool utf)
{
	uint32_t options = PCRE2_USE_OFFSET_LIMIT;

	if ((flags & REGEX_IGNORE_CASE) != 0)
		options |= PCRE2_CASELESS;
	if (utf)
		options |= PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
	if ((flags & REGEX_LITERAL) != 0)
		return options | PCRE2_LITERAL;
	options |= PCRE2_NEVER_BACKSLASH_C;
	if ((flags & REGEX_LINES) != 0)
		options |= PCRE2_MULTILINE | PCRE2_ALT_CIRCUMFLEX;
	/* Otherwise (*UTF) in the pattern would make bytes that are no UTF-8 an error. */
	return utf ? options : options | PCRE2_NEVER_UTF;
}

static int regex_compile_error(int code, size_t offset, struct err *e)
{
	PCRE2_UCHAR words[160];

	if (code == PCRE2_ERROR_HEAP_FAILED)
		return err_set(e, &ERR_UNAVAILABLE, "no memory for a pattern");
	if (pcre2_get_error_message(code, words, sizeof(words)) < 0 && words[0] == '\0')
		return err_set(e, &ERR_BAD_PATTERN, "pattern: error %d at byte %zu", code, offset);
	return err_set(e, &ERR_BAD_PATTERN, "pattern: %s at byte %zu", (const char *)words, offset);
}

static pcre2_code *regex_compile(struct str pattern, uint32_t options, struct err *e)
{
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	pcre2_code *code;
	size_t offset;
	int error;

	if (context == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "no memory for a pattern");
		return NULL;
	}
	/* Not what the library was built to believe: a line ends with LF. */
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	code = pcre2_compile(pattern.n > 0 ? (PCRE2_SPTR)pattern.p : (PCRE2_SPTR) "", pattern.n,
		options, &error, &offset, context);
	pcre2_compile_context_free(context);
	if (code == NULL)
		regex_compile_error(error, offset, e);
	return code;
}

/* In the form for blocks, where there is one: it has the same groups. */
static int regex_use_lines(struct regex *re, struct str pattern, const struct buf *lines,
	uint32_t options, struct err *e)
{
	struct str text = {(const char *)buf_data(lines), buf_len(lines)};
	pcre2_code *code;
	struct err why = {0};

	re->by_block = true;
	if (str_eq(text, pattern))
		return 0;
	code = regex_compile(text, options, &why);
	if (code == NULL && why.kind == &ERR_UNAVAILABLE)
		return err_set(e, why.kind, "%s", why.msg);
	if (code == NULL) { /* too large, by the few bytes that were added: then line by line */
		re->by_block = false;
		return 0;
	}
	pcre2_code_free(re->code);
	re->code = code;
	re->no_jit = regex_jit_is_wrong(re, text);
	return 0;
}

/* Takes from the text of the pattern what makes searching fast. */
static int regex_scan_pattern(
	struct regex *re, struct str pattern, unsigned int flags, struct err *e)
{
	bool fold = (flags & REGEX_IGNORE_CASE) != 0;
	struct regex_scan scan;
	struct str literal;
	int rc = regex_scan(pattern, re->utf, &scan);

	literal = (struct str){(const char *)buf_data(&scan.literal), buf_len(&scan.literal)};
	/* Beyond ASCII a letter can have a case of another length; that is left to PCRE2. */
	if (rc == 0 && !(fold && re->utf))
		rc = regex_needle_init(&re->needle, literal, fold);
	if (rc < 0)
		err_set(e, &ERR_UNAVAILABLE, "no memory for a pattern");
	else if (scan.exact && !(fold && re->utf)) {
		pcre2_code_free(re->code);
		re->code = NULL;
	} else if (re->lines && scan.by_block)
		rc = regex_use_lines(re, pattern, &scan.lines, regex_options(flags, re->utf), e);
	regex_scan_fini(&scan);
	return rc;
}

/* Text, not a pattern: PCRE2 is needed only for the case of letters beyond ASCII. */
static int regex_take_literal(
	struct regex *re, struct str pattern, unsigned int flags, struct err *e)
{
	if (re->utf) {
		re->code = regex_compile(pattern, regex_options(flags, true), e);
		re->by_block = memchr(pattern.p, '\n', pattern.n) == NULL;
		return re->code == NULL ? -1 : 0;
	}
	if (regex_needle_init(&re->needle, pattern, (flags & REGEX_IGNORE_CASE) != 0) < 0)
		return err_set(e, &ERR_UNAVAILABLE, "no memory for a pattern");
	return 0;
}

static int regex_take_pattern(
	struct regex *re, struct str pattern, unsigned int flags, struct err *e)
{
	static const char *const place[] = {"\\G", NULL};

	re->code = regex_compile(pattern, regex_options(flags, re->utf), e);
	if (re->code == NULL)
		return -1;
	re->from_start = regex_mentions(pattern, place);
	re->no_jit = regex_jit_is_wrong(re, pattern);
	return regex_scan_pattern(re, pattern, flags, e);
}

/* Does every match begin with one of few bytes? Such places are found as fast as a needle is. */
static bool regex_begins_plainly(const struct regex *re)
{
	const uint8_t *first = NULL;
	uint32_t type = 0;
	int n = 0;

	pcre2_pattern_info(re->code, PCRE2_INFO_FIRSTCODETYPE, &type);
	pcre2_pattern_info(re->code, PCRE2_INFO_FIRSTBITMAP, &first);
	if (first == NULL)
		return type == 1;
	for (int i = 0; i < 32; i++)
		n += __builtin_popcount(first[i]);
	return n <= REGEX_FEW_BYTES;
}

/*
 * Is it worth looking for the needle first? A common one is on so many lines that a pattern which
 * finds its way by itself is better given whole blocks. One that has to be tried at
 * every letter is not.
 */
static bool regex_needle_first(const struct regex *re)
{
	if (re->code == NULL || re->needle.n == 0)
		return false;
	return regex_needle_selective(&re->needle) || !re->jit || (re->lines && !re->by_block) ||
	       !regex_begins_plainly(re);
}

static void regex_prepare(struct regex *re)
{
	uint32_t captures = 0;
	size_t jit_size = 0;

	if (re->code != NULL) {
		/* Refused, or no use: then the interpreter is there. */
		if (!re->no_jit && pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE) == 0)
			pcre2_pattern_info(re->code, PCRE2_INFO_JITSIZE, &jit_size);
		pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &captures);
	}
	re->jit = jit_size > 0;
	re->groups = captures + 1;
	re->search_first = regex_needle_first(re);
}

struct regex *regex_new(struct str pattern, unsigned int flags, struct err *e)
{
	struct regex *re;
	int rc;

	if (pattern.n > limit_size(LIMIT_GREP_PATTERN_BYTES)) {
		err_set(e, &ERR_BAD_PATTERN, "pattern: longer than %zu bytes",
			limit_size(LIMIT_GREP_PATTERN_BYTES));
		return NULL;
	}
	re = calloc(1, sizeof(*re));
	if (re == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "no memory for a pattern");
		return NULL;
	}
	re->lines = (flags & REGEX_LINES) != 0;
	re->utf = regex_wants_utf(pattern, flags);
	rc = (flags & REGEX_LITERAL) != 0 ? regex_take_literal(re, pattern, flags, e)
					  : regex_take_pattern(re, pattern, flags, e);
	if (rc < 0) {
		regex_free(re);
		return NULL;
	}
	regex_prepare(re);
	return re;
}

void regex_free(struct regex *re)
{
	if (re == NULL)
		return;
	pcre2_code_free(re->code);
	regex_needle_fini(&re->needle);
	free(re);
}

int regex_group_named(const struct regex *re, struct str name)
{
	CLEANUP_FREE char *copy = NULL;
	int n;

	if (re->code == NULL || name.n == 0 || memchr(name.p, '\0', name.n) != NULL)
		return -1;
	copy = str_dup(name);
	if (copy == NULL)
		return -1;
	n = pcre2_substring_number_from_name(re->code, (PCRE2_SPTR)copy);
	return n < 0 ? -1 : n;
}

struct str regex_required(const struct regex *re)
{
	if (re->needle.fold)
		return (struct str){0};
	return (struct str){(const char *)re->needle.bytes, re->needle.n};
}

/* ---- what a thread needs ---- */

static pcre2_match_context *regex_context(const struct regex_match *m, uint32_t steps)
{
	pcre2_match_context *context = pcre2_match_context_create(NULL);

	if (context == NULL)
		return NULL;
	pcre2_set_match_limit(context, steps);
	pcre2_set_depth_limit(context, REGEX_DEPTH);
	pcre2_set_heap_limit(context, REGEX_HEAP_KIB);
	if (m->stack != NULL)
		pcre2_jit_stack_assign(context, NULL, m->stack);
	return context;
}

struct regex_match *regex_match_new(const struct regex *re)
{
	struct regex_match *m = calloc(1, sizeof(*m));
	uint32_t steps = (uint32_t)limit(LIMIT_GREP_STEPS);

	if (m == NULL)
		return NULL;
	m->groups = re->groups;
	if (re->code == NULL)
		return m;
	if (re->jit)
		m->stack = pcre2_jit_stack_create(REGEX_STACK_MIN, REGEX_STACK_MAX, NULL);
	m->data = pcre2_match_data_create_from_pattern(re->code, NULL);
	m->quick = regex_context(m, steps < REGEX_SLICE_STEPS ? steps : REGEX_SLICE_STEPS);
	m->full = regex_context(m, steps);
	if (m->data == NULL || m->quick == NULL || m->full == NULL ||
		(re->jit && m->stack == NULL)) {
		regex_match_free(m);
		return NULL;
	}
	return m;
}

void regex_match_free(struct regex_match *m)
{
	if (m == NULL)
		return;
	pcre2_match_data_free(m->data);
	pcre2_match_context_free(m->quick);
	pcre2_match_context_free(m->full);
	pcre2_jit_stack_free(m->stack);
	free(m);
}

void regex_match_set_stop(struct regex_match *m, bool (*stop)(const void *arg), const void *arg)
{
	m->stop = stop;
	m->stop_arg = arg;
}

/* ---- matching ---- */

/* Begins at `from` or up to `last`, which may be PCRE2_UNSET. What PCRE2 says. */
static int regex_call(const struct regex *re, struct regex_match *m, pcre2_match_context *context,
	struct str subject, size_t from, size_t last)
{
	PCRE2_SPTR p = (PCRE2_SPTR)subject.p;

	pcre2_set_offset_limit(context, last);
	if (re->jit)
		return pcre2_jit_match(re->code, p, subject.n, from, 0, m->data, context);
	return pcre2_match(re->code, p, subject.n, from, 0, m->data, context);
}

/* The last place of a slice of n places that begins at `from`: never within a character. */
static size_t regex_slice(const struct regex *re, struct str subject, size_t from, size_t n)
{
	size_t last;

	if (re->from_start || subject.n - from < n)
		return PCRE2_UNSET;
	last = from + n - 1;
	for (int k = 0; re->utf && k < 3 && last + 1 < subject.n; k++) {
		if (((uint8_t)subject.p[last + 1] & 0xc0) != 0x80)
			break;
		last++;
	}
	return last;
}

/* [from, last] again, where a match needs more than a few steps. */
static int regex_call_full(
	const struct regex *re, struct regex_match *m, struct str subject, size_t from, size_t last)
{
	int rc;

	for (;;) {
		size_t end = regex_slice(re, subject, from, REGEX_SLICE_FULL);

		if (m->stop != NULL && m->stop(m->stop_arg))
			return PCRE2_ERROR_MATCHLIMIT;
		rc = regex_call(re, m, m->full, subject, from, end);
		if (rc != PCRE2_ERROR_NOMATCH || end == PCRE2_UNSET || end >= last)
			return rc;
		from = end + 1;
	}
}

/* One subject: a line, a block or a whole text. */
static enum regex_result regex_run(
	const struct regex *re, struct regex_match *m, struct str subject, size_t from)
{
	const size_t *ends;
	int rc;

	for (;;) {
		size_t last = regex_slice(re, subject, from, REGEX_SLICE);

		rc = regex_call(re, m, m->quick, subject, from, last);
		if (rc == PCRE2_ERROR_MATCHLIMIT)
			rc = regex_call_full(re, m, subject, from, last);
		if (rc != PCRE2_ERROR_NOMATCH || last == PCRE2_UNSET)
			break;
		if (m->stop != NULL && m->stop(m->stop_arg))
			return REGEX_GAVE_UP;
		from = last + 1;
	}
	if (rc == PCRE2_ERROR_NOMATCH)
		return REGEX_NOTHING;
	if (rc < 0)
		return REGEX_GAVE_UP;
	ends = pcre2_get_ovector_pointer(m->data);
	m->base = 0;
	m->start = ends[0];
	m->end = ends[1] < ends[0] ? ends[0] : ends[1];
	return REGEX_FOUND;
}

/* The needle is all there is to the pattern. */
static enum regex_result regex_find_exact(
	const struct regex *re, struct regex_match *m, struct str subject, size_t from)
{
	size_t at;

	if (re->lines && re->needle.n > 0 && memchr(re->needle.bytes, '\n', re->needle.n) != NULL)
		return REGEX_NOTHING;
	at = regex_needle_find(&re->needle, subject, from);
	if (at == REGEX_NOWHERE)
		return REGEX_NOTHING;
	m->base = 0;
	m->start = at;
	m->end = at + re->needle.n;
	return REGEX_FOUND;
}

/* The line that the place `at` is in, alone, from `from` on if that is in it. */
static enum regex_result regex_find_in_line(const struct regex *re, struct regex_match *m,
	struct str subject, size_t from, size_t at, size_t *next)
{
	const char *lf = at == 0 ? NULL : memrchr(subject.p, '\n', at);
	size_t start = lf == NULL ? 0 : (size_t)(lf - subject.p) + 1;
	struct str line = {subject.p + start, subject.n - start};
	enum regex_result rc;

	lf = at == subject.n ? NULL : memchr(subject.p + at, '\n', subject.n - at);
	if (lf != NULL)
		line.n = (size_t)(lf - line.p);
	*next = start + line.n + 1;
	rc = regex_run(re, m, line, from > start ? from - start : 0);
	m->base = start;
	return rc;
}

/* Line by line: only lines with the needle, if it is looked for first. */
static enum regex_result regex_find_by_line(
	const struct regex *re, struct regex_match *m, struct str subject, size_t from)
{
	for (size_t lines = 1; from <= subject.n; lines++) {
		enum regex_result rc;
		size_t at = from;

		if (re->search_first)
			at = regex_needle_find(&re->needle, subject, from);
		if (at == REGEX_NOWHERE)
			break;
		rc = regex_find_in_line(re, m, subject, from, at, &from);
		if (rc != REGEX_NOTHING)
			return rc;
		if (lines % REGEX_STOP_LINES == 0 && m->stop != NULL && m->stop(m->stop_arg))
			return REGEX_GAVE_UP;
	}
	return REGEX_NOTHING;
}

enum regex_result regex_find(const struct regex *re, struct regex_match *m, struct str subject,
	size_t from, size_t *start, size_t *end)
{
	enum regex_result rc;

	if (subject.n == 0)
		subject.p = "";
	/* What follows the last LF is no line. */
	else if (re->lines && subject.p[subject.n - 1] == '\n')
		subject.n--;
	if (from > subject.n)
		return REGEX_NOTHING;
	if (re->code == NULL)
		rc = regex_find_exact(re, m, subject, from);
	else if (re->lines && (re->search_first || !re->by_block))
		rc = regex_find_by_line(re, m, subject, from);
	else if (re->search_first && regex_needle_find(&re->needle, subject, from) == REGEX_NOWHERE)
		rc = REGEX_NOTHING;
	else
		rc = regex_run(re, m, subject, from);
	if (rc == REGEX_FOUND) {
		*start = m->base + m->start;
		*end = m->base + m->end;
	}
	return rc;
}

bool regex_group(const struct regex_match *m, unsigned int i, size_t *start, size_t *end)
{
	const size_t *ends;

	if (i >= m->groups)
		return false;
	*start = *end = m->base + m->start;
	if (i == 0) {
		*end = m->base + m->end;
		return true;
	}
	ends = pcre2_get_ovector_pointer(m->data) + 2 * (size_t)i;
	if (ends[0] != PCRE2_UNSET && ends[0] <= ends[1]) {
		*start = m->base + ends[0];
		*end = m->base + ends[1];
	}
	return true;
}
