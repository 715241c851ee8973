/*
 * ignore_glob: patterns of gitignore(5) in the dialect of glob.h.
 *
 * Stars, question marks and slashes mean the same in both. Braces and "!" are special only there
 * and get a backslash. Classes are read as git reads them, byte by byte and with names such as
 * [:digit:], and written anew from the set of bytes they stand for. "a" + "/" + "**" means what is
 * in "a" but not "a" itself.
 */
#include <ctype.h>
#include <string.h>

#include "ignore_internal.h"

struct ignore_class {
	bool set[128];      /* of ASCII */
	struct buf letters; /* other bytes, as they stand there */
	bool negated;
};

struct str ignore_trim(struct str line)
{
	size_t keep = 0;

	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] == '\\' && i + 1 < line.n)
			i++;
		else if (line.p[i] == ' ')
			continue;
		keep = i + 1;
	}
	line.n = keep;
	return line;
}

static int ignore_emit(struct buf *out, char c, bool escaped)
{
	const char text[2] = {'\\', c};

	return escaped ? buf_add(out, text, 2) : buf_add(out, &c, 1);
}

/* ---- classes ---- */

static bool ignore_class_name(struct ignore_class *cl, struct str name)
{
	static const struct {
		const char *name;
		int (*has)(int c);
	} names[] = {{"alnum", isalnum}, {"alpha", isalpha}, {"blank", isblank}, {"cntrl", iscntrl},
		{"digit", isdigit}, {"graph", isgraph}, {"lower", islower}, {"print", isprint},
		{"punct", ispunct}, {"space", isspace}, {"upper", isupper}, {"xdigit", isxdigit}};

	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		if (!str_eq(name, str_of(names[k].name)))
			continue;
		for (int c = 0; c < 128; c++)
			cl->set[c] |= names[k].has(c) != 0;
		return true;
	}
	return false;
}

static int ignore_class_add(struct ignore_class *cl, unsigned char from, unsigned char to)
{
	if (to >= 128 && from >= 128 && from == to)
		return buf_add(&cl->letters, &to, 1);
	for (unsigned int c = from; c <= to && c < 128; c++)
		cl->set[c] = true;
	return 0;
}

/* [:name:] at *i, which is on the second bracket. 1: it is one; 0: just a bracket; -1: no such. */
static int ignore_class_posix(struct ignore_class *cl, struct str p, size_t *i)
{
	const char *open = p.p + *i + 2;
	size_t left = p.n - *i - 1;
	const char *close;

	if (left == 0 || p.p[*i + 1] != ':')
		return 0;
	close = memchr(open, ']', left - 1);
	if (close == NULL)
		return -1;
	if (close == open || close[-1] != ':')
		return 0;
	*i += (size_t)(close - (p.p + *i)) + 1;
	return ignore_class_name(cl, (struct str){open, (size_t)(close - 1 - open)}) ? 1 : -1;
}

/* The byte at *i, or that behind a backslash there; *i is behind it then. -1: there is none. */
static int ignore_class_byte(struct str p, size_t *i)
{
	if (p.p[*i] == '\\')
		++*i;
	return *i < p.n ? (unsigned char)p.p[(*i)++] : -1;
}

/* Reads the class whose bracket is at *i; *i is behind it then. -1: it matches nothing. */
static int ignore_class_read(struct ignore_class *cl, struct str p, size_t *i)
{
	int before = -1; /* what a range may begin with */
	size_t first;

	++*i;
	cl->negated = *i < p.n && (p.p[*i] == '!' || p.p[*i] == '^');
	*i += cl->negated;
	for (first = *i; *i < p.n && (p.p[*i] != ']' || *i == first);) {
		int posix = p.p[*i] == '[' ? ignore_class_posix(cl, p, i) : 0;
		bool range;
		int c;

		if (posix < 0)
			return -1;
		if (posix > 0) {
			before = -1;
			continue;
		}
		range = p.p[*i] == '-' && before >= 0 && *i + 1 < p.n && p.p[*i + 1] != ']';
		*i += range;
		c = ignore_class_byte(p, i);
		if (c < 0 || ignore_class_add(
				     cl, (unsigned char)(range ? before : c), (unsigned char)c) < 0)
			return -1;
		before = range ? -1 : c;
	}
	if (*i >= p.n)
		return -1;
	++*i;
	return 0;
}

/* The members, runs of them as ranges. */
static int ignore_class_members(const struct ignore_class *cl, struct buf *out)
{
	for (int c = 1; c < 128; c++) {
		int last = c;

		if (!cl->set[c])
			continue;
		while (last + 1 < 128 && cl->set[last + 1])
			last++;
		if (ignore_emit(out, (char)c, true) < 0)
			return -1;
		if (last > c &&
			(buf_add(out, "-", 1) < 0 || ignore_emit(out, (char)last, true) < 0))
			return -1;
		c = last;
	}
	return buf_add(out, buf_data(&cl->letters), buf_len(&cl->letters));
}

static int ignore_class(struct str p, size_t *i, struct buf *out)
{
	struct ignore_class cl = {0};
	int rc = ignore_class_read(&cl, p, i);

	if (rc == 0 && (buf_add_str(out, cl.negated ? "[^" : "[") < 0 ||
			       ignore_class_members(&cl, out) < 0 || buf_add(out, "]", 1) < 0))
		rc = -1;
	buf_fini(&cl.letters);
	return rc;
}

/* ---- patterns ---- */

/* A run of stars at *i; *i is behind it then. Two or more, alone between slashes, are `**`. */
static int ignore_stars(struct str p, size_t *i, bool path, struct buf *out)
{
	size_t from = *i;
	bool starts = from == 0 || p.p[from - 1] == '/', ends;

	while (*i < p.n && p.p[*i] == '*')
		++*i;
	ends = *i == p.n || p.p[*i] == '/';
	if (!path || *i - from < 2 || !starts || !ends)
		return buf_add(out, "*", 1);
	return buf_add_str(out, *i == p.n ? "**/*" : "**");
}

int ignore_translate(struct str p, bool path, struct buf *out)
{
	for (size_t i = 0; i < p.n;) {
		int rc;

		switch (p.p[i]) {
		case '*': rc = ignore_stars(p, &i, path, out); break;
		case '[': rc = ignore_class(p, &i, out); break;
		case '\\':
			if (++i == p.n)
				return -1;
			rc = ignore_emit(out, p.p[i++], true);
			break;
		case '{':
		case '}':
		case '!':
		case '(':
		case ')':
		case ',': rc = ignore_emit(out, p.p[i++], true); break;
		default: rc = ignore_emit(out, p.p[i++], false); break;
		}
		if (rc < 0)
			return -1;
	}
	return 0;
}
