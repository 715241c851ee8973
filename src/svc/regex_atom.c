/*
 * regex_atom: escapes and classes of a pattern, and writing them anew so that they do not match LF.
 *
 * Most need no more than a few characters in another place. What may match LF in a way that cannot
 * be taken out of it, [\s\n,] for example, gets a (?!\n) in front. Nothing is written as \S, \D or
 * \W outside of a class: see regex.c.
 */
#include <string.h>

#include "regex_scan_internal.h"

/* ---- the rewritten pattern ---- */

static void regex_atom_add(struct regex_scanner *s, const void *p, size_t n)
{
	if (buf_add(&s->out->lines, p, n) < 0)
		s->failed = true;
}

void regex_atom_copy(struct regex_scanner *s, const uint8_t *to)
{
	regex_atom_add(s, s->copied, (size_t)(to - s->copied));
	s->copied = to;
}

void regex_atom_instead(struct regex_scanner *s, const uint8_t *from, const char *text)
{
	regex_atom_copy(s, from);
	regex_atom_add(s, text, strlen(text));
	s->copied = s->p;
}

/* The atom [from, s->p) matches one character, which shall not be LF. */
static void regex_atom_guard(struct regex_scanner *s, const uint8_t *from)
{
	regex_atom_copy(s, from);
	regex_atom_add(s, "(?:(?!\\n)", 9);
	regex_atom_copy(s, s->p);
	regex_atom_add(s, ")", 1);
}

/* ---- escapes ---- */

/* \xhh: its value, with s->p behind it. Other forms of \x: -1, with s->p behind the x. */
static int regex_atom_hex(struct regex_scanner *s)
{
	int high = s->end - s->p >= 2 ? str_hex_digit(s->p[0]) : -1;
	int low = high >= 0 ? str_hex_digit(s->p[1]) : -1;

	if (low < 0)
		return -1;
	s->p += 2;
	return high * 16 + low;
}

/* The byte that \a \e \f \n \r \t stand for, or -1. */
static int regex_atom_control(uint8_t c)
{
	static const char names[] = "aefnrt", values[] = "\a\x1b\f\n\r\t";
	const char *at = memchr(names, c, sizeof(names) - 1);

	return at == NULL ? -1 : values[at - names];
}

/* One byte that stands for itself. In UTF mode a code above 127 is not that byte. */
static enum regex_atom regex_atom_byte(struct regex_scanner *s, int value)
{
	uint8_t byte = (uint8_t)value;

	if (s->utf && byte >= 0x80)
		return REGEX_ATOM_OTHER;
	regex_scan_push(s, &byte, 1);
	return REGEX_ATOM_BYTES;
}

/* An escape of a letter that matches one of many characters, or a place. */
static enum regex_atom regex_atom_type(struct regex_scanner *s, const uint8_t *from, uint8_t c)
{
	switch (c) {
	case 'd':
	case 'w':
	case 'h':
	case 'V': return REGEX_ATOM_OTHER;
	case 's': regex_atom_instead(s, from, "[ \\t\\x0b\\f\\r]"); return REGEX_ATOM_OTHER;
	case 'S': regex_atom_instead(s, from, "[^\\s]"); return REGEX_ATOM_OTHER;
	case 'D': regex_atom_instead(s, from, "[^\\d\\n]"); return REGEX_ATOM_OTHER;
	case 'W': regex_atom_instead(s, from, "[^\\w\\n]"); return REGEX_ATOM_OTHER;
	case 'H': regex_atom_instead(s, from, "[^\\h\\n]"); return REGEX_ATOM_OTHER;
	case 'p':
	case 'P':
		if (!regex_scan_ends(s) && *s->p != '{')
			s->p++;
		else
			regex_scan_braced(s);
		regex_atom_guard(s, from);
		return REGEX_ATOM_OTHER;
	case 'v': regex_atom_guard(s, from); return REGEX_ATOM_OTHER;
	case 'N': s->unsure |= !regex_scan_ends(s) && *s->p == '{'; return REGEX_ATOM_OTHER;
	case 'b':
	case 'B':
	case 'K': return REGEX_ATOM_EMPTY;
	case 'A':
	case 'z':
	case 'Z':
	case 'G': s->out->by_block = false; return REGEX_ATOM_EMPTY;
	case 'R':
	case 'X': s->out->by_block = false; return REGEX_ATOM_OTHER;
	case 'k': regex_scan_braced(s); return REGEX_ATOM_OTHER;
	default: s->unsure = true; return REGEX_ATOM_OTHER;
	}
}

/* \1 is a group; \0, \12 and longer may be an octal code, also that of LF. */
static enum regex_atom regex_atom_number(struct regex_scanner *s, uint8_t first)
{
	if (first == '0' || regex_scan_digit(s->p, s->end))
		s->out->by_block = false;
	while (regex_scan_digit(s->p, s->end))
		s->p++;
	return REGEX_ATOM_OTHER;
}

enum regex_atom regex_atom_escape(struct regex_scanner *s)
{
	const uint8_t *from = s->p++;
	uint8_t c = s->p < s->end ? *s->p++ : 0;
	int value = regex_atom_control(c);

	if (c == 'x') {
		value = regex_atom_hex(s);
		if (value < 0) {
			s->out->by_block = false;
			regex_scan_braced(s);
			return REGEX_ATOM_OTHER;
		}
	}
	if (value >= 0)
		return regex_atom_byte(s, value);
	if (regex_scan_digit(&c, &c + 1))
		return regex_atom_number(s, c);
	if (regex_scan_alnum(c))
		return regex_atom_type(s, from, c);
	if (c >= 0x80)
		s->unsure = true;
	return regex_atom_byte(s, c);
}

/* ---- classes ---- */

/* What was found between the brackets of a class. */
struct regex_class {
	bool spaces;  /* there is a \s, which can be written without LF */
	bool newline; /* LF may be in it some other way */
};

/* [:name:] at s->p - 1: passes it. Some names have LF in them, and so has every negated one. */
static bool regex_atom_posix(struct regex_scanner *s, struct regex_class *cl)
{
	static const char without[] =
		":alpha:alnum:digit:upper:lower:punct:xdigit:word:graph:print:blank:";
	const uint8_t *name = s->p + 1, *p = name;
	char text[16] = ":";

	while (p < s->end && (regex_scan_alnum(*p) || *p == '^'))
		p++;
	if (s->end - p < 2 || p[0] != ':' || p[1] != ']')
		return false;
	s->p = p + 2;
	if ((size_t)(p - name) + 3 > sizeof(text)) {
		cl->newline = true;
		return true;
	}
	memcpy(text + 1, name, (size_t)(p - name) + 1);
	cl->newline |= strstr(without, text) == NULL;
	return true;
}

/* A member of a class; -1 when its code is not known. Below LF, it may begin a range over it. */
static void regex_atom_member(const struct regex_scanner *s, struct regex_class *cl, int code)
{
	if (code == '\n' || code < 0)
		cl->newline = true;
	else if (code < '\n' && s->p < s->end && *s->p == '-')
		cl->newline = true;
}

static void regex_atom_class_escape(struct regex_scanner *s, struct regex_class *cl)
{
	uint8_t c = s->p < s->end ? *s->p++ : 0;
	int value = regex_atom_control(c);

	if (c == 'x')
		value = regex_atom_hex(s);
	if (c == 's') {
		cl->spaces = true;
		return;
	}
	if (c != 0 && strchr("dwShV", c) != NULL)
		return;
	if (c == 'Q' || c == 'E')
		s->unsure = true;
	regex_atom_member(s, cl, regex_scan_alnum(c) ? value : c);
}

/* Passes the class up to its bracket; s->p is behind [ or [^. */
static void regex_atom_members(struct regex_scanner *s, struct regex_class *cl)
{
	const uint8_t *first = s->p;

	for (;;) {
		uint8_t c;

		if (regex_scan_ends(s)) {
			s->unsure = true;
			return;
		}
		c = *s->p++;
		if (c == ']' && s->p - 1 != first)
			return;
		if (c == '\\')
			regex_atom_class_escape(s, cl);
		else if (c == '[' && s->p < s->end && (*s->p == '.' || *s->p == '='))
			s->unsure = true;
		else if (c == '[' && s->p < s->end && *s->p == ':' && regex_atom_posix(s, cl))
			continue;
		else
			regex_atom_member(s, cl, c);
	}
}

/* The class [from, s->p) with every \s spelled out but for LF. */
static void regex_atom_spell_spaces(struct regex_scanner *s, const uint8_t *from)
{
	const uint8_t *end = s->p;

	regex_atom_copy(s, from);
	for (const uint8_t *p = from; p < end; p++) {
		if (*p != '\\')
			continue;
		p++;
		if (*p != 's')
			continue;
		regex_atom_copy(s, p - 1);
		regex_atom_add(s, " \\t\\x0b\\f\\r", 11);
		s->copied = p + 1;
	}
}

enum regex_atom regex_atom_class(struct regex_scanner *s)
{
	const uint8_t *from = s->p++;
	struct regex_class cl = {0};

	/* The beginning and the end of a word, in the clothes of a class. */
	if (regex_scan_looking_at(s, "[:<:]]") || regex_scan_looking_at(s, "[:>:]]")) {
		s->p += 6;
		return REGEX_ATOM_OTHER; /* it may be repeated, unlike \b */
	}
	if (!regex_scan_ends(s) && *s->p == '^') {
		s->p++;
		regex_atom_copy(s, s->p);
		regex_atom_add(s, "\\n", 2);
		/* No longer the first in the class, these would mean something else. */
		if (!regex_scan_ends(s) && (*s->p == ']' || *s->p == '-'))
			regex_atom_add(s, "\\", 1);
		regex_atom_members(s, &cl);
		return REGEX_ATOM_OTHER;
	}
	regex_atom_members(s, &cl);
	if (s->unsure || (!cl.newline && !cl.spaces))
		return REGEX_ATOM_OTHER;
	if (cl.newline)
		regex_atom_guard(s, from);
	else
		regex_atom_spell_spaces(s, from);
	return REGEX_ATOM_OTHER;
}
