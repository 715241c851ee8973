/*
 * multipart: form data as a stream of parts.
 *
 * Content is searched for the delimiter, CRLF "--" boundary, as a whole and handed out as runs that
 * lie in the input. A CR occurs nowhere in a delimiter but at its beginning. So the end of an input
 * can hold the beginning of at most one, the one at its last CR; what is held back is known by its
 * length alone, because it equals the delimiter so far; and when it turns out to be content, the
 * search goes on behind it and nothing is looked at a third time. The delimiter itself serves as
 * the memory that such content is given out from.
 *
 * The search looks at the two bytes where a delimiter would end, and moves on by how far they are
 * from the end of one: mostly by a whole delimiter. Gigabytes pass here, and memmem(3) of a static
 * build looks at each byte of content without a CR.
 */
#include "boxd/multipart.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http1_internal.h"

#define MULTIPART_CRLF 2u /* the length of the line end that a delimiter begins with */
#define MULTIPART_DASH 4u /* ... and of that with the two dashes */

#define MULTIPART_PAIRS 4096u /* numbers for two bytes: multipart_pair() */

enum multipart_state {
	MULTIPART_BODY,           /* in the preamble or in content: looking for a delimiter */
	MULTIPART_TAIL,           /* the boundary is complete; also inside white space after it */
	MULTIPART_TAIL_CR,        /* after the CR of a delimiter line */
	MULTIPART_TAIL_DASH,      /* after the first dash of a closing delimiter */
	MULTIPART_GIVE_DELIMITER, /* it was content: the boundary is due as data */
	MULTIPART_GIVE_TAIL,      /* ... and then what followed it */
	MULTIPART_LINE,           /* in a line of a part's head */
	MULTIPART_LINE_LF,        /* after the CR of one */
	MULTIPART_CLOSED,         /* MULTIPART_END is due */
	MULTIPART_EPILOGUE,       /* after the end */
	MULTIPART_FAILED
};

struct multipart {
	enum multipart_state state;
	bool in_part; /* false: in the preamble, whose content nobody gets */
	bool has_disposition, has_filename;
	const char *why;
	size_t delimiter_n;
	size_t held; /* so many bytes of the delimiter end what was taken */
	size_t lent; /* the first of them are no content: the line end before the search began */
	size_t head_max, head_n; /* bytes of this part's head so far */
	size_t name_n;           /* the decoded name is at the start of mem */
	size_t mem_n;            /* then the line, or what follows a boundary: mem up to here */
	char delimiter[MULTIPART_DASH + MULTIPART_BOUNDARY_MAX];
	/* How far the last place of two bytes in the delimiter is from its end; 0: they end it. */
	uint8_t skip[MULTIPART_PAIRS];
	uint8_t again; /* for those two, the place before that */
	char mem[];
};

/* ---- parameters of a field ---- */

struct multipart_param {
	struct str name, value; /* the value without its quotes, not decoded */
	bool quoted;
};

static bool multipart_is_space(char c)
{
	return c == ' ' || c == '\t';
}

static struct str multipart_trim(struct str s)
{
	while (s.n > 0 && multipart_is_space(s.p[0]))
		s = (struct str){s.p + 1, s.n - 1};
	while (s.n > 0 && multipart_is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* Takes what is before the first `c`, or all; the byte itself goes too. */
static struct str multipart_cut(struct str *rest, char c)
{
	const char *at = rest->n > 0 ? memchr(rest->p, c, rest->n) : NULL;
	struct str head = {rest->p, at != NULL ? (size_t)(at - rest->p) : rest->n};
	size_t taken = head.n + (at != NULL ? 1 : 0);

	if (taken > 0)
		*rest = (struct str){rest->p + taken, rest->n - taken};
	return head;
}

static bool multipart_is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!http1_is_token((uint8_t)s.p[i]))
			return false;
	}
	return s.n > 0;
}

/*
 * The length of an escape at the start of s, 0 when there is none. A backslash escapes only the
 * quote and itself: file names with their folders have others, and mean them.
 */
static size_t multipart_escape(struct str s)
{
	return s.n > 1 && s.p[0] == '\\' && (s.p[1] == '"' || s.p[1] == '\\') ? 2 : 0;
}

/* Takes a quoted string, of which s is what follows the quote. False when it does not end. */
static bool multipart_quoted(struct str *rest, struct str *value)
{
	size_t i = 0;

	while (i < rest->n && rest->p[i] != '"') {
		size_t escape = multipart_escape((struct str){rest->p + i, rest->n - i});

		i += escape > 0 ? escape : 1;
	}
	if (i >= rest->n)
		return false;
	*value = (struct str){rest->p, i};
	*rest = (struct str){rest->p + i + 1, rest->n - i - 1};
	return true;
}

enum multipart_got { MULTIPART_GOT, MULTIPART_GOT_ALL, MULTIPART_GOT_NONSENSE };

/*
 * The next of `;`-separated parameters. White space around them and empty ones are passed over. An
 * unquoted value goes up to the semicolon, whatever it is made of.
 */
static enum multipart_got multipart_param(struct str *rest, struct multipart_param *param)
{
	while (rest->n > 0 && (multipart_is_space(rest->p[0]) || rest->p[0] == ';'))
		*rest = (struct str){rest->p + 1, rest->n - 1};
	if (rest->n == 0)
		return MULTIPART_GOT_ALL;
	if (memchr(rest->p, '=', rest->n) == NULL)
		return MULTIPART_GOT_NONSENSE;
	param->name = multipart_cut(rest, '=');
	if (!multipart_is_token(param->name))
		return MULTIPART_GOT_NONSENSE;
	param->quoted = rest->n > 0 && rest->p[0] == '"';
	if (!param->quoted) {
		param->value = multipart_trim(multipart_cut(rest, ';'));
		return param->value.n == 0 || memchr(param->value.p, '"', param->value.n) == NULL
			       ? MULTIPART_GOT
			       : MULTIPART_GOT_NONSENSE;
	}
	*rest = (struct str){rest->p + 1, rest->n - 1};
	if (!multipart_quoted(rest, &param->value))
		return MULTIPART_GOT_NONSENSE;
	return multipart_trim(multipart_cut(rest, ';')).n == 0 ? MULTIPART_GOT
							       : MULTIPART_GOT_NONSENSE;
}

/* ---- the boundary ---- */

static bool multipart_is_boundary(struct str s, bool quoted)
{
	if (s.n == 0 || s.n > MULTIPART_BOUNDARY_MAX || s.p[s.n - 1] == ' ')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool fits = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			    (c >= 'A' && c <= 'Z') || (c == ' ' && quoted) ||
			    (c != '\0' && strchr("'()+_,-./:=?", c) != NULL);

		if (!fits)
			return false;
	}
	return true;
}

bool multipart_boundary(struct str content_type, char out[MULTIPART_BOUNDARY_MAX + 1], size_t *n)
{
	struct str type = multipart_trim(multipart_cut(&content_type, ';'));
	struct multipart_param param;
	enum multipart_got got;

	*n = 0;
	if (!str_ieq(type, STR("multipart/form-data")))
		return false;
	while ((got = multipart_param(&content_type, &param)) == MULTIPART_GOT) {
		if (!str_ieq(param.name, STR("boundary")))
			continue;
		if (*n > 0 || !multipart_is_boundary(param.value, param.quoted))
			return false;
		memcpy(out, param.value.p, param.value.n);
		out[param.value.n] = '\0';
		*n = param.value.n;
	}
	return got == MULTIPART_GOT_ALL && *n > 0;
}

/* A number for the two bytes that end at p. */
static inline size_t multipart_pair(const uint8_t *p)
{
	return (p[0] ^ (size_t)p[-1] << 5) % MULTIPART_PAIRS;
}

/* Two bytes that are not in the delimiter may still have its first one as their second. */
static void multipart_skips(struct multipart *m)
{
	const uint8_t *d = (const uint8_t *)m->delimiter;
	size_t last = m->delimiter_n - 1;

	memset(m->skip, (int)last, sizeof(m->skip));
	for (size_t i = 1; i < last; i++)
		m->skip[multipart_pair(d + i)] = (uint8_t)(last - i);
	m->again = m->skip[multipart_pair(d + last)];
	m->skip[multipart_pair(d + last)] = 0;
}

struct multipart *multipart_new(struct str boundary, size_t head_max)
{
	/* One more, so that a byte fits between the white space and the end of a delimiter. */
	struct multipart *m = malloc(sizeof(*m) + head_max + 1);

	assert(boundary.n > 0 && boundary.n <= MULTIPART_BOUNDARY_MAX);
	if (m == NULL)
		return NULL;
	*m = (struct multipart){
		.state = MULTIPART_BODY,
		.delimiter_n = MULTIPART_DASH + boundary.n,
		.held = MULTIPART_CRLF,
		.head_max = head_max,
	};
	memcpy(m->delimiter, "\r\n--", MULTIPART_DASH);
	memcpy(m->delimiter + MULTIPART_DASH, boundary.p, boundary.n);
	multipart_skips(m);
	return m;
}

void multipart_free(struct multipart *m)
{
	free(m);
}

bool multipart_complete(const struct multipart *m)
{
	return m->state == MULTIPART_CLOSED || m->state == MULTIPART_EPILOGUE;
}

/* ---- the head of a part ---- */

static enum multipart_state multipart_fail(struct multipart *m, const char *why)
{
	m->why = why;
	return MULTIPART_FAILED;
}

/* The byte that a browser's percent escape at the start of s stands for, or -1. */
static int multipart_percent(struct str s)
{
	if (s.n < 3 || s.p[0] != '%')
		return -1;
	int c = str_hex_digit(s.p[1]) * 16 + str_hex_digit(s.p[2]);
	bool digits = str_hex_digit(s.p[1]) >= 0 && str_hex_digit(s.p[2]) >= 0;

	return digits && (c == '"' || c == '\r' || c == '\n') ? c : -1;
}

/* Puts the decoded name where it outlives this line. It lies further on and is not longer. */
static void multipart_name(struct multipart *m, const struct multipart_param *param)
{
	struct str rest = param->value;
	char *out = m->mem;

	while (rest.n > 0) {
		size_t escape = param->quoted ? multipart_escape(rest) : 0;
		int c = param->quoted ? multipart_percent(rest) : -1;
		size_t taken = c >= 0 ? 3 : escape > 0 ? escape : 1;

		*out++ = c >= 0 ? (char)c : rest.p[taken - 1];
		rest = (struct str){rest.p + taken, rest.n - taken};
	}
	m->name_n = (size_t)(out - m->mem);
}

static enum multipart_state multipart_disposition(struct multipart *m, struct str value)
{
	struct str type = multipart_trim(multipart_cut(&value, ';'));
	struct multipart_param param, name = {.quoted = false};
	bool named = false;
	enum multipart_got got;

	if (m->has_disposition)
		return multipart_fail(m, "a part has two Content-Disposition fields");
	m->has_disposition = true;
	if (!str_ieq(type, STR("form-data")))
		return multipart_fail(m, "a part's Content-Disposition is not form-data");
	while ((got = multipart_param(&value, &param)) == MULTIPART_GOT) {
		if (str_ieq(param.name, STR("filename")) || str_ieq(param.name, STR("filename*")))
			m->has_filename = true;
		if (!str_ieq(param.name, STR("name")))
			continue;
		if (named)
			return multipart_fail(m, "a part has two names");
		named = true;
		name = param;
	}
	if (got == MULTIPART_GOT_NONSENSE)
		return multipart_fail(m, "a part's Content-Disposition cannot be parsed");
	multipart_name(m, &name);
	return MULTIPART_LINE;
}

/* A line of the head that is not the empty one, without its CRLF. */
static enum multipart_state multipart_field(struct multipart *m, struct str line)
{
	if (memchr(line.p, ':', line.n) == NULL)
		return multipart_fail(m, "a header field of a part has no colon");
	struct str name = multipart_cut(&line, ':'), value = multipart_trim(line);
	if (!multipart_is_token(name))
		return multipart_fail(m, "a header field of a part has a bad name");
	if (str_ieq(name, STR("content-disposition")))
		return multipart_disposition(m, value);
	if (str_ieq(name, STR("content-transfer-encoding")) && !str_ieq(value, STR("binary")) &&
		!str_ieq(value, STR("8bit")) && !str_ieq(value, STR("7bit")))
		return multipart_fail(m, "a part's Content-Transfer-Encoding is not binary");
	return MULTIPART_LINE;
}

/* A line is complete. MULTIPART_BODY: it was the empty one. */
static enum multipart_state multipart_line_end(struct multipart *m)
{
	struct str line = {m->mem + m->name_n, m->mem_n - m->name_n};

	if (line.n > 0) {
		enum multipart_state next = multipart_field(m, line);

		m->mem_n = m->name_n;
		return next;
	}
	if (!m->has_disposition)
		return multipart_fail(m, "a part has no Content-Disposition");
	/* The empty line may be the line end that a delimiter begins with. */
	m->held = m->lent = MULTIPART_CRLF;
	m->mem_n = 0;
	m->in_part = true;
	return MULTIPART_BODY;
}

/* One byte of the head. */
static enum multipart_state multipart_head(struct multipart *m, uint8_t b)
{
	if (m->head_n == m->head_max)
		return multipart_fail(m, "the header fields of a part are too long");
	m->head_n++;
	if (m->state == MULTIPART_LINE_LF && b == '\n')
		return multipart_line_end(m);
	if (m->state == MULTIPART_LINE_LF || b == '\n')
		return multipart_fail(m, "a header line of a part does not end in CRLF");
	if (b == '\r')
		return MULTIPART_LINE_LF;
	if (b == '\0')
		return multipart_fail(m, "a header line of a part has a NUL");
	/* A continuation line would begin with white space: its field name is no token. */
	m->mem[m->mem_n++] = (char)b;
	return MULTIPART_LINE;
}

/* ---- delimiters ---- */

/* What the boundary just found is followed by: one byte, or MULTIPART_GIVE_DELIMITER. */
static enum multipart_state multipart_tail(struct multipart *m, uint8_t b)
{
	if (m->state == MULTIPART_TAIL_CR && b == '\n')
		return MULTIPART_LINE;
	if (m->state == MULTIPART_TAIL_DASH && b == '-')
		return MULTIPART_CLOSED;
	if (m->state != MULTIPART_TAIL)
		return MULTIPART_GIVE_DELIMITER;
	if (b == '\r' || (b == '-' && m->mem_n == 0)) {
		m->mem[m->mem_n++] = (char)b;
		return b == '\r' ? MULTIPART_TAIL_CR : MULTIPART_TAIL_DASH;
	}
	if (!multipart_is_space((char)b))
		return MULTIPART_GIVE_DELIMITER;
	if (m->mem_n == m->head_max)
		return multipart_fail(m, "a delimiter has too much white space");
	m->mem[m->mem_n++] = (char)b;
	return MULTIPART_TAIL;
}

/* A delimiter is complete; true when there was a part, which it ends. */
static bool multipart_delimited(struct multipart *m)
{
	bool ended = m->in_part;

	m->in_part = m->has_disposition = m->has_filename = false;
	m->head_n = m->name_n = m->mem_n = 0;
	return ended;
}

/* Gives out bytes that are kept here. False when there are none, or when they are preamble. */
static bool multipart_give(
	const struct multipart *m, const char *p, size_t p_n, const uint8_t **data, size_t *data_n)
{
	*data = (const uint8_t *)p;
	*data_n = p_n;
	return m->in_part && p_n > 0;
}

/* The same for what is held of a delimiter that is none. */
static bool multipart_give_held(struct multipart *m, const uint8_t **data, size_t *data_n)
{
	size_t lent = m->lent, held = m->held;

	m->lent = m->held = 0;
	return multipart_give(m, m->delimiter + lent, held - lent, data, data_n);
}

/* How many bytes at the end of the input begin a delimiter. */
static size_t multipart_partial(const struct multipart *m, const uint8_t *in, size_t n)
{
	size_t most = n < m->delimiter_n - 1 ? n : m->delimiter_n - 1;
	const uint8_t *cr = memrchr(in + n - most, '\r', most);
	size_t found = cr != NULL ? (size_t)(in + n - cr) : 0;

	return found > 0 && memcmp(cr, m->delimiter, found) == 0 ? found : 0;
}

static void multipart_advance(const uint8_t **in, size_t *n, size_t taken)
{
	*in += taken;
	*n -= taken;
}

/*
 * Where the first delimiter in the input begins, or n. Windows that begin with a CR do not overlap
 * as far as they agree with the delimiter, so all comparisons together are linear, too.
 */
static size_t multipart_find(const struct multipart *m, const uint8_t *in, size_t n)
{
	size_t last = m->delimiter_n - 1;

	for (size_t at = last; at < n;) {
		size_t skip = m->skip[multipart_pair(in + at)];

		/* The common case as a branch: the next load need not wait for the table. */
		if (__builtin_expect(skip == last, 1)) {
			at += last;
			continue;
		}
		if (skip == 0 && memcmp(in + at - last, m->delimiter, m->delimiter_n) == 0)
			return at - last;
		at += skip > 0 ? skip : m->again;
	}
	return n;
}

/* Looks for a delimiter in a whole input (n > 0). True: there are data before it. */
static bool multipart_search(
	struct multipart *m, const uint8_t **in, size_t *n, const uint8_t **data, size_t *data_n)
{
	size_t at = multipart_find(m, *in, *n);

	m->held = at < *n ? m->delimiter_n : multipart_partial(m, *in, *n);
	*data = *in;
	*data_n = at < *n ? at : *n - m->held;
	multipart_advance(in, n, *data_n + m->held);
	if (m->held == m->delimiter_n)
		m->state = MULTIPART_TAIL;
	return m->in_part && *data_n > 0;
}

/* Goes on with the delimiter that was begun. True: it was none, and there are data. */
static bool multipart_continue(
	struct multipart *m, const uint8_t **in, size_t *n, const uint8_t **data, size_t *data_n)
{
	size_t want = m->delimiter_n - m->held, step = want < *n ? want : *n;

	if (memcmp(*in, m->delimiter + m->held, step) != 0)
		return multipart_give_held(m, data, data_n);
	m->held += step;
	multipart_advance(in, n, step);
	if (m->held == m->delimiter_n)
		m->state = MULTIPART_TAIL;
	return false;
}

/* A step in the content or the preamble. True: there are data. */
static bool multipart_body(
	struct multipart *m, const uint8_t **in, size_t *n, const uint8_t **data, size_t *data_n)
{
	if (m->held > 0)
		return multipart_continue(m, in, n, data, data_n);
	return multipart_search(m, in, n, data, data_n);
}

/* A step through a delimiter line or a head, byte by byte. True when an event is due. */
static bool multipart_line(
	struct multipart *m, const uint8_t **in, size_t *n, enum multipart_event *event)
{
	bool tail = m->state >= MULTIPART_TAIL && m->state <= MULTIPART_TAIL_DASH;

	m->state = tail ? multipart_tail(m, **in) : multipart_head(m, **in);
	if (m->state == MULTIPART_FAILED)
		return false;
	/* The byte that shows that this is content may begin a delimiter itself. */
	if (m->state == MULTIPART_GIVE_DELIMITER)
		return false;
	multipart_advance(in, n, 1);
	*event = tail ? MULTIPART_PART_END : MULTIPART_PART;
	if (!tail)
		return m->state == MULTIPART_BODY;
	if (m->state != MULTIPART_LINE && m->state != MULTIPART_CLOSED)
		return false;
	return multipart_delimited(m);
}

/* What is due without looking at the input. MULTIPART_MORE: nothing. */
static enum multipart_event multipart_due(
	struct multipart *m, const uint8_t **data, size_t *data_n, const char **why)
{
	size_t tail_n = m->mem_n;

	if (m->state == MULTIPART_GIVE_DELIMITER) {
		m->state = MULTIPART_GIVE_TAIL;
		if (multipart_give_held(m, data, data_n))
			return MULTIPART_DATA;
	}
	switch (m->state) {
	case MULTIPART_GIVE_TAIL:
		m->state = MULTIPART_BODY;
		m->mem_n = 0;
		return multipart_give(m, m->mem, tail_n, data, data_n) ? MULTIPART_DATA
								       : MULTIPART_MORE;
	case MULTIPART_CLOSED: m->state = MULTIPART_EPILOGUE; return MULTIPART_END;
	case MULTIPART_FAILED: *why = m->why; return MULTIPART_BAD;
	default: return MULTIPART_MORE;
	}
}

enum multipart_event multipart_next(struct multipart *m, const uint8_t **in, size_t *n,
	struct multipart_part *part, const uint8_t **data, size_t *data_n, const char **why)
{
	for (;;) {
		enum multipart_event event = multipart_due(m, data, data_n, why);

		if (event != MULTIPART_MORE)
			return event;
		if (m->state == MULTIPART_EPILOGUE)
			multipart_advance(in, n, *n);
		if (*n == 0)
			return MULTIPART_MORE;
		if (m->state == MULTIPART_BODY) {
			if (multipart_body(m, in, n, data, data_n))
				return MULTIPART_DATA;
		} else if (multipart_line(m, in, n, &event)) {
			*part = (struct multipart_part){
				{m->mem, m->name_n}, event == MULTIPART_PART && m->has_filename};
			return event;
		}
	}
}
