/*
 * session_feed: what is written to a session's shell, and what it reports.
 *
 * A report is a letter, a value and NUL; no value can hold a NUL, because it comes out of a shell.
 *
 *     B  the command of the run begins            H  BASHOPTS     bash
 *     t  the DEBUG trap, if there is one          V  variables
 *     E  the ERR trap, or nothing                 F  functions    bash
 *     S  status and flags (session_bash.sh)       A  aliases      bash
 *     C  working directory: the run is over       U  umask
 *     .  the state is complete                    O  options, or SHELLOPTS
 *                                                 T  traps
 *                                                 X  exports      POSIX
 *                                                 R  readonly     POSIX
 *                                                 L  aliases      POSIX, as name=value
 *
 * The state is source text of the same shell. It is kept as it is, and given to the next shell.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/limits.h"
#include "boxd/log.h"
#include "session_internal.h"

/* Beside the state: no directory, status or trap that makes sense is longer. */
#define SESSION_REPORT_BYTES 262144

void session_state_clear(struct session_state *st)
{
	buf_fini(&st->parts);
	st->too_big = false;
}

void session_head_clear(struct session_head *h)
{
	free(h->debug);
	free(h->err);
	*h = (struct session_head){0};
}

/* ---- text for the shell ---- */

static int session_put(struct session *s, const char *text)
{
	return buf_add_str(&s->shell.out, text);
}

/* 'text' as one word of any shell. */
static int session_put_quoted(struct buf *out, const char *text, size_t n)
{
	if (buf_add_str(out, "'") < 0)
		return -1;
	while (n > 0) {
		const char *quote = memchr(text, '\'', n);
		size_t run = quote != NULL ? (size_t)(quote - text) : n;

		if (buf_add(out, text, run) < 0)
			return -1;
		if (quote == NULL)
			break;
		if (buf_add_str(out, "'\\''") < 0)
			return -1;
		text += run + 1;
		n -= run + 1;
	}
	return buf_add_str(out, "'");
}

static bool session_is_ascii(const void *text, size_t n)
{
	const unsigned char *at = text;

	for (size_t i = 0; i < n; i++)
		if (at[i] >= 0x80)
			return false;
	return true;
}

/* Has a bash put a text into __boxd_command, and then do what `then` says. */
static int session_put_taken(struct session *s, const void *text, size_t n, const char *then)
{
	bool ascii = session_is_ascii(text, n);

	if (!ascii && s->shell.locked_locale)
		return session_put(s, "__boxd_command=") < 0 ||
				       session_put_quoted(&s->shell.out, text, n) < 0 ||
				       buf_printf(&s->shell.out, ";%s\n", then) < 0
			       ? -1
			       : 0;
	return buf_printf(&s->shell.out, "\\builtin eval \"$__boxd_%c\";%s\n%09zu",
		       ascii ? 'r' : 'l', then, n) < 0 ||
			       buf_add(&s->shell.out, text, n) < 0
		       ? -1
		       : 0;
}

/* Has the shell evaluate a part of a state, silently, and go on whatever happens in it. */
static int session_put_silent(struct session *s, const void *text, size_t n)
{
	if (n == 0)
		return 0;
	if (s->shell.bash)
		return session_put_taken(s, text, n,
			"\\builtin eval \"$__boxd_command\" </dev/null >/dev/null 2>&1");
	return session_put(s, "command eval ") < 0 ||
			       session_put_quoted(&s->shell.out, text, n) < 0 ||
			       session_put(s, " </dev/null >/dev/null 2>&1\n") < 0
		       ? -1
		       : 0;
}

/* ---- starting a shell ---- */

static int session_put_driver(struct session *s)
{
	if (!s->shell.bash)
		return buf_add(&s->shell.out, session_sh, session_sh_size);
	return buf_printf(&s->shell.out, "LC_ALL=C read -rN%zu __boxd_command\n",
		       session_bash_size) < 0 ||
			       buf_add(&s->shell.out, session_bash, session_bash_size) < 0 ||
			       session_put(s, "eval \"$__boxd_command\"\n") < 0
		       ? -1
		       : 0;
}

static bool session_is_identifier(const char *s, size_t n)
{
	if (n == 0 || isdigit((unsigned char)s[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i] != '_' && !isalnum((unsigned char)s[i]))
			return false;
	return true;
}

/* What a command has unset stays unset: what is still there comes back with the variables. */
static int session_put_unset(struct session *s, struct environ_set *env)
{
	char **vars = environ_array(env);
	struct buf text = {0};
	int rc;

	if (vars == NULL)
		return -1;
	rc = buf_add_str(&text, "unset -v");
	for (size_t i = 0; vars[i] != NULL && rc == 0; i++) {
		size_t n = strcspn(vars[i], "=");

		if (session_is_identifier(vars[i], n))
			rc = buf_printf(&text, " %.*s", (int)n, vars[i]);
	}
	if (rc == 0)
		rc = session_put_silent(s, buf_data(&text), buf_len(&text));
	buf_fini(&text);
	return rc;
}

/* The value of a part, NUL-terminated; NULL when there is none. */
static const char *session_part(const struct session_state *st, char letter)
{
	const char *at = (const char *)buf_data(&st->parts);
	const char *end = at + buf_len(&st->parts);

	while (at < end) {
		if (*at == letter)
			return at + 1;
		at += strlen(at) + 1;
	}
	return NULL;
}

static int session_put_part(struct session *s, char letter)
{
	const char *text = session_part(&s->kept, letter);

	return text != NULL ? session_put_silent(s, text, strlen(text)) : 0;
}

/*
 * alias prints "name='value'" lines, which are words for alias when the newlines between them (not
 * those in quotes) become spaces.
 */
static int session_put_aliases(struct session *s)
{
	const char *text = session_part(&s->kept, 'L');
	struct buf words = {0};
	char quote = '\0';
	int rc;

	if (text == NULL || text[0] == '\0')
		return 0;
	rc = buf_add_str(&words, "alias ");
	for (; *text != '\0' && rc == 0; text++) {
		char c = *text;

		if (quote != '\0')
			quote = c == quote ? '\0' : quote;
		else if (c == '\'' || c == '"')
			quote = c;
		else if (c == '\n')
			c = ' ';
		rc = buf_add(&words, &c, 1);
	}
	if (rc == 0)
		rc = session_put_silent(s, buf_data(&words), buf_len(&words));
	buf_fini(&words);
	return rc;
}

/* The directory as the shell knew it: the process is there, but the way may have been a link. */
static int session_put_cd(struct session *s)
{
	return session_put(s, s->shell.bash ? "\\builtin cd -- " : "command cd -- ") < 0 ||
			       session_put_quoted(&s->shell.out, s->cwd, strlen(s->cwd)) < 0 ||
			       session_put(s, " >/dev/null 2>&1 || :\n") < 0
		       ? -1
		       : 0;
}

/* The names of what is on: all else is off. */
static int session_put_options(
	struct session *s, char letter, const char *names, const char *on, const char *off)
{
	const char *list = session_part(&s->kept, letter);
	struct buf text = {0};
	int rc;

	if (list == NULL)
		return 0;
	rc = buf_printf(&text,
		"__boxd_r() { local IFS=: o; for o in $%s; do builtin %s \"$o\"; done; "
		"for o in $1; do builtin %s \"$o\" || :; done; }; __boxd_r '%s'; "
		"builtin unset -f __boxd_r",
		names, off, on, list);
	if (rc == 0)
		rc = session_put_silent(s, buf_data(&text), buf_len(&text));
	buf_fini(&text);
	return rc;
}

/* Functions before aliases, which would change their text, but where extglob is known. */
static int session_put_bash_state(struct session *s)
{
	static const char extglob[] = "shopt -s extglob";

	return session_put_part(s, 'V') < 0 ||
			       session_put_silent(s, extglob, sizeof(extglob) - 1) < 0 ||
			       session_put_part(s, 'F') < 0 ||
			       session_put_options(s, 'H', "BASHOPTS", "shopt -s", "shopt -u") < 0
		       ? -1
		       : 0;
}

static int session_put_posix_state(struct session *s)
{
	return session_put_part(s, 'V') < 0 || session_put_part(s, 'X') < 0 ||
			       session_put_part(s, 'R') < 0
		       ? -1
		       : 0;
}

/* The directory first: what `cd -` leads to is among the variables. Options, errexit too, come
 * last. */
static int session_put_state(struct session *s, struct environ_set *env)
{
	bool bash = s->shell.bash;

	if (session_put_unset(s, env) < 0 || session_put_cd(s) < 0 ||
		(bash ? session_put_bash_state(s) : session_put_posix_state(s)) < 0 ||
		(bash ? session_put_part(s, 'A') : session_put_aliases(s)) < 0 ||
		session_put_part(s, 'U') < 0 || session_put_part(s, 'T') < 0)
		return -1;
	return bash ? session_put_options(s, 'O', "SHELLOPTS", "set -o", "set +o")
		    : session_put_part(s, 'O');
}

int session_feed_start(struct session *s, struct environ_set *env)
{
	s->shell.locked_locale = false;
	if (session_put_driver(s) < 0)
		return -1;
	return buf_len(&s->kept.parts) > 0 ? session_put_state(s, env) : 0;
}

/* ---- a run ---- */

/* What was off between the runs, so that nobody sees the shell at work. */
static int session_put_head(const struct session *s, struct buf *text)
{
	const struct session_head *h = &s->head;
	const char *set = s->shell.bash ? "\\builtin set " : "command set ";

	if (h->debug != NULL && buf_printf(text, "\\builtin %s;", h->debug) < 0)
		return -1;
	if (h->err != NULL && buf_printf(text, "\\builtin %s;", h->err) < 0)
		return -1;
	if (!h->xtrace && !h->verbose)
		return 0;
	return buf_printf(text, "%s-%s%s;", set, h->verbose ? "v" : "", h->xtrace ? "x" : "");
}

/* The text to evaluate: the command, perhaps in another directory. */
static int session_make_text(const struct session *s, const struct session_run *r, struct buf *text)
{
	const char *how = s->shell.bash ? "\\builtin" : "command";
	struct buf inner = {0};
	int rc;

	if (r->cwd == NULL)
		return session_put_head(s, text) < 0 || buf_add_str(text, r->command) < 0 ? -1 : 0;
	rc = session_put_head(s, &inner) < 0 || buf_add_str(&inner, r->command) < 0 ||
			     buf_printf(text, "%s cd -- ", how) < 0 ||
			     session_put_quoted(text, r->cwd, strlen(r->cwd)) < 0 ||
			     buf_printf(text, " && %s eval ", how) < 0 ||
			     session_put_quoted(
				     text, (const char *)buf_data(&inner), buf_len(&inner)) < 0
		     ? -1
		     : 0;
	buf_fini(&inner);
	return rc;
}

static int session_put_posix_run(
	struct session *s, const struct session_run *r, const struct buf *text)
{
	return session_put(s, "__boxd_begin;command eval ") < 0 ||
			       session_put_quoted(&s->shell.out, (const char *)buf_data(text),
				       buf_len(text)) < 0 ||
			       buf_printf(&s->shell.out,
				       " </dev/null%s;{ command eval \"$__boxd_e\"; } >&- 2>&-;"
				       "__boxd_end\n",
				       r->merge_stderr ? " 2>&1" : "") < 0
		       ? -1
		       : 0;
}

int session_feed_run(struct session *s, const struct session_run *r)
{
	struct buf text = {0};
	int rc = session_make_text(s, r, &text);

	if (rc == 0)
		rc = s->shell.bash ? session_put_taken(s, buf_data(&text), buf_len(&text),
					     r->merge_stderr ? "\\builtin eval \"$__boxd_m\""
							     : "\\builtin eval \"$__boxd_x\"")
				   : session_put_posix_run(s, r, &text);
	buf_fini(&text);
	return rc;
}

/* ---- reports ---- */

static char *session_copy_line(const char *text)
{
	char *copy = strdup(text);
	size_t n = copy != NULL ? strlen(copy) : 0;

	if (n > 0 && copy[n - 1] == '\n')
		copy[n - 1] = '\0';
	return copy;
}

static void session_report_trap(char **trap, const char *text)
{
	free(*trap);
	*trap = text[0] != '\0' ? session_copy_line(text) : NULL;
}

/* "0 irl himBHsx": see session_bash.sh. */
static void session_report_status(struct session *s, const char *text)
{
	struct session_head *h = &s->next_head;
	char *end;
	long status = strtol(text, &end, 10);

	if (end == text || strlen(end) < 5)
		return;
	/* What an interrupt has put there is not the user's. */
	if (end[1] == 'i')
		session_report_trap(&h->debug, "");
	s->report_status = (int)status & 0xff;
	s->report_late = end[2] == 'r';
	s->shell.locked_locale = end[3] == 'l';
	h->xtrace = strchr(end + 4, 'x') != NULL;
	h->verbose = strchr(end + 4, 'v') != NULL;
}

static void session_report_end(struct session *s, const char *cwd)
{
	char *copy = session_copy_line(cwd);

	session_head_clear(&s->head);
	s->head = s->next_head;
	s->next_head = (struct session_head){0};
	if (copy != NULL && copy[0] == '/') {
		free(s->cwd);
		s->cwd = copy;
	} else {
		free(copy);
	}
	session_shell_nap(s);
	session_run_report(s, s->report_status, s->report_late);
}

static void session_report_part(struct session *s, const char *part, size_t n)
{
	struct session_state *st = &s->next;

	if (buf_len(&st->parts) + n > limit_size(LIMIT_SESSION_STATE_BYTES) ||
		buf_add(&st->parts, part, n) < 0)
		st->too_big = true;
}

static void session_report_complete(struct session *s)
{
	struct session_state *st = &s->next;

	if (st->too_big) {
		log_warn("session", "the state is too large to be kept id=%s", s->id);
	} else {
		buf_trim(&st->parts);
		session_state_clear(&s->kept);
		s->kept = *st;
		*st = (struct session_state){0};
	}
	session_state_clear(st);
}

/* One report, with its NUL. */
static void session_report(struct session *s, const char *text, size_t n)
{
	switch (text[0]) {
	case 'B':
		s->shell.came_up = true;
		session_run_began(s);
		break;
	case 't': session_report_trap(&s->next_head.debug, text); break;
	case '\0': break;
	case 'E': session_report_trap(&s->next_head.err, text + 1); break;
	case 'S': session_report_status(s, text + 1); break;
	case 'C': session_report_end(s, text + 1); break;
	case '.': session_report_complete(s); break;
	default: session_report_part(s, text, n); break;
	}
}

/* Keeps a beginning until the rest comes; one that is longer than anything can be is dropped. */
static void session_feed_keep(struct session *s, const uint8_t *data, size_t n)
{
	struct session_shell *sh = &s->shell;

	if (sh->skipping)
		return;
	if (buf_len(&sh->in) + n <= limit_size(LIMIT_SESSION_STATE_BYTES) + SESSION_REPORT_BYTES &&
		buf_add(&sh->in, data, n) == 0)
		return;
	sh->skipping = true;
	s->next.too_big = true;
	buf_fini(&sh->in);
}

void session_feed_take(struct session *s, const uint8_t *data, size_t n)
{
	struct session_shell *sh = &s->shell;

	while (n > 0) {
		const uint8_t *nul = memchr(data, '\0', n);
		size_t part = nul != NULL ? (size_t)(nul - data) + 1 : n;

		if (nul != NULL && buf_len(&sh->in) == 0 && !sh->skipping) {
			session_report(s, (const char *)data, part);
		} else {
			session_feed_keep(s, data, part);
			if (nul != NULL && !sh->skipping)
				session_report(
					s, (const char *)buf_data(&sh->in), buf_len(&sh->in));
			if (nul != NULL) {
				sh->skipping = false;
				buf_fini(&sh->in);
			}
		}
		data += part;
		n -= part;
	}
}
