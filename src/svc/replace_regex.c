/*
 * replace_regex: what a pattern matches, and what is put in its place.
 *
 * The window is searched as a block of lines, so a match never has the end of a line in it. An
 * empty match counts where no match ends right before it, and the search goes on one character
 * behind it: x* replaced by - makes -a-b-c- of abxc, as sed has it. A character of UTF-8 is not cut
 * by that, whether the pattern knows UTF-8 or not.
 *
 * What is put in its place is read once before anything else, to refuse mistakes, and again with
 * every match: the pieces of a text of many megabytes are not kept.
 */
#include <string.h>

#include "boxd/utf8.h"
#include "fs_internal.h"
#include "replace_internal.h"

/* ---- the replacement ---- */

/* Text, or the content of a group. */
struct replace_piece {
	struct str text;
	bool is_group;
	unsigned int group;
};

/* More groups than any pattern has. */
#define REPLACE_GROUPS_MAX 65536u

static bool replace_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool replace_is_name(char c)
{
	return replace_is_digit(c) || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int replace_bad_group(struct str name, struct err *e)
{
	return err_set(e, &ERR_BAD_PATTERN, "no group in the pattern is called %.*s",
		(int)(name.n < 64 ? name.n : 64), name.p);
}

/* The group that is called by number or name. */
static int replace_group(
	const struct replace_regex *rx, struct str name, unsigned int *out, struct err *e)
{
	unsigned int number = 0;
	size_t start, end;

	if (!replace_is_digit(*name.p)) {
		int named = regex_group_named(rx->re, name);

		*out = (unsigned int)named;
		return named < 0 ? replace_bad_group(name, e) : 0;
	}
	for (size_t i = 0; i < name.n; i++) {
		if (!replace_is_digit(name.p[i]))
			return replace_bad_group(name, e);
		number = number * 10 + (unsigned int)(name.p[i] - '0');
		if (number >= REPLACE_GROUPS_MAX)
			return replace_bad_group(name, e);
	}
	*out = number;
	return regex_group(rx->m, number, &start, &end) ? 0 : replace_bad_group(name, e);
}

/* Takes what follows a `$`. */
static int replace_dollar(const struct replace_regex *rx, struct str *rest,
	struct replace_piece *piece, struct err *e)
{
	const char *brace;
	struct str name = *rest;
	size_t taken = 0;

	if (rest->n > 0 && *rest->p == '$') {
		*piece = (struct replace_piece){.text = {rest->p, 1}};
		*rest = (struct str){rest->p + 1, rest->n - 1};
		return 0;
	}
	if (rest->n > 0 && *rest->p == '{') {
		brace = memchr(rest->p, '}', rest->n);
		if (brace == NULL)
			return err_set(e, &ERR_BAD_PATTERN, "${ without } in the replacement");
		name = (struct str){rest->p + 1, (size_t)(brace - rest->p) - 1};
		taken = name.n + 2;
	} else {
		bool number = rest->n > 0 && replace_is_digit(*rest->p);

		while (taken < rest->n && replace_is_name(rest->p[taken]) &&
			(!number || replace_is_digit(rest->p[taken])))
			taken++;
		name.n = taken;
	}
	if (name.n == 0)
		return err_set(
			e, &ERR_BAD_PATTERN, "$ in the replacement names no group; $$ is a dollar");
	*piece = (struct replace_piece){.is_group = true};
	*rest = (struct str){rest->p + taken, rest->n - taken};
	return replace_group(rx, name, &piece->group, e);
}

/* Takes the next piece of a replacement that is not at its end. */
static int replace_piece_next(const struct replace_regex *rx, struct str *rest,
	struct replace_piece *piece, struct err *e)
{
	const char *dollar = memchr(rest->p, '$', rest->n);
	size_t n = dollar != NULL ? (size_t)(dollar - rest->p) : rest->n;

	if (n == 0) {
		*rest = (struct str){rest->p + 1, rest->n - 1};
		return replace_dollar(rx, rest, piece, e);
	}
	*piece = (struct replace_piece){.text = {rest->p, n}};
	*rest = (struct str){rest->p + n, rest->n - n};
	return 0;
}

static int replace_check_new(struct replace_regex *rx, struct err *e)
{
	struct str rest = rx->spec->new_text;
	struct replace_piece piece = {0};

	rx->verbatim = rest.n == 0 || memchr(rest.p, '$', rest.n) == NULL;
	while (!rx->verbatim && rest.n > 0) {
		if (replace_piece_next(rx, &rest, &piece, e) < 0)
			return -1;
	}
	return 0;
}

/* For the last match. */
static int replace_put_new(struct replace_job *j, struct err *e)
{
	struct str rest = j->spec->new_text;
	struct replace_piece piece = {0};

	if (j->rx.verbatim)
		return replace_out_put(&j->out, rest.p, rest.n, e);
	while (rest.n > 0) {
		if (replace_piece_next(&j->rx, &rest, &piece, e) < 0)
			return -1;
		if (piece.is_group) {
			size_t start = 0, end = 0;

			(void)regex_group(j->rx.m, piece.group, &start, &end);
			piece.text = (struct str){(const char *)j->mem + start, end - start};
		}
		if (replace_out_put(&j->out, piece.text.p, piece.text.n, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- the pattern ---- */

static bool replace_stop(const void *cancelled)
{
	return atomic_load_explicit((const atomic_bool *)cancelled, memory_order_relaxed);
}

int replace_regex_init(struct replace_regex *rx, const struct replace_spec *spec, struct err *e)
{
	unsigned int flags = REGEX_LINES | (spec->ignore_case ? REGEX_IGNORE_CASE : 0);

	rx->spec = spec;
	rx->re = regex_new(spec->old, flags, e);
	if (rx->re == NULL)
		return -1;
	rx->m = regex_match_new(rx->re);
	if (rx->m == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (spec->cancelled != NULL)
		regex_match_set_stop(rx->m, replace_stop, spec->cancelled);
	return replace_check_new(rx, e);
}

void replace_regex_fini(struct replace_regex *rx)
{
	regex_match_free(rx->m);
	regex_free(rx->re);
}

static int replace_gave_up(const struct replace_job *j, struct err *e)
{
	if (fs_check_cancelled(j->spec->cancelled, e) < 0)
		return -1;
	return err_set(e, &ERR_BAD_PATTERN, "the pattern takes too long on a line of the file");
}

int replace_regex_scan(struct replace_job *j, size_t n, struct err *e)
{
	const struct str block = {(const char *)j->mem, n};
	size_t at = 0, before = 0, start, end;
	bool any = false;

	while (n > 0 && at <= n) {
		enum regex_result r = regex_find(j->rx.re, j->rx.m, block, at, &start, &end);

		if (r == REGEX_GAVE_UP)
			return replace_gave_up(j, e);
		if (r == REGEX_NOTHING)
			return 0;
		if (start < before)
			return err_set(
				e, &ERR_BAD_PATTERN, "\\K makes a match begin inside another");
		if (any && start == end && start == before) {
			size_t step = at < n ? utf8_sequence(j->mem + at, n - at) : 0;

			at += step > 0 ? step : 1;
			continue;
		}
		if (replace_found(j, start, end, e) < 0 || replace_put_new(j, e) < 0)
			return -1;
		at = before = end;
		any = true;
	}
	return 0;
}
