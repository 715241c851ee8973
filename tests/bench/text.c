/*
 * text: lines made from forms, forms filled in with words.
 *
 * A search is only as hard as what nearly matches, so besides plain lines there are two rare kinds:
 * those that the patterns of the benchmark are meant to find, one line in TEXT_HIT_EVERY, and those
 * that hold a piece of a match and are none, several times as often, as in any source. Words are
 * picked unevenly, common ones far more often than others.
 */
#include "text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TEXT_HIT_EVERY  2048
#define TEXT_NEAR_EVERY 512
#define TEXT_WORDS      1024
#define TEXT_WORD_MAX   16

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* %t tabs, %i name, %I name in capitals, %w word, %n number, %y type. */
static const char *const text_forms[] = {"", "%t%i = %i;", "%t%i = %i(%i, %n);", "%tif (%i == %n)",
	"%tif (%i != NULL && %i->%w > %n) {", "%treturn %i(%i);", "%t%i->%w = %w->%i + %n;",
	"%t/* %w %w %w the %w of %w %w. */", " * %w %w a %w %w, and %w %w", "}", "%t}",
	"static %y %i(struct %i *%w, %y %w)", "%tfor (%y %w = 0; %w < %i; %w++) {",
	"%tlog_%w(\"%w %w: %%d\\n\", %i);", "#define %I %n", "%tcase %I:", "%tbreak;",
	"%t%y %i = %n, %i;", ""};
static const char *const text_hits[] = {"%tset_timeout(%w, %n);", "%tif (set_timeout(%i, %n) < 0)",
	"%t%w = foo_%n + %w;", "%tbar_%n(%i);", "%t%i(&%w->baz_%n);",
	"%treturn %w_timeout(%w, %i);", "%t%w = SET_TIMEOUT(%w);", "%tthis.Set_Timeout(%n);"};
static const char *const text_near[] = {"%t%w->%w_timeout = %n;",
	"%t/* %w until the timeout of the %w */", "%t%w(foo, bar_%w);", "%tset_time(%w, %i);",
	"%tfoo_%w(%w, baz);", "%t%i = %w_timeouts(%w);"};
static const char *const text_types[] = {"int", "size_t", "char", "uint32_t", "bool", "int64_t"};
static const char *const text_syllables[] = {"mu", "con", "de", "fer", "gi", "hal", "in", "jo",
	"ka", "lo", "mi", "net", "or", "pro", "que", "re", "sta", "tur", "un", "ver", "wi", "ya",
	"ze", "buf", "put", "len", "pos", "ack", "err", "sys", "ret", "io"};

static char text_words[TEXT_WORDS][TEXT_WORD_MAX];

struct text_out {
	char *p;
	size_t n;
};

uint64_t text_random(struct text *t)
{
	uint64_t x = t->state += 0x9e3779b97f4a7c15U;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
	return x ^ (x >> 31);
}

/* Below n, which is small. */
static size_t text_below(struct text *t, size_t n)
{
	return (size_t)(((text_random(t) >> 32) * n) >> 32);
}

static void text_make_words(void)
{
	struct text t = {.state = 1};

	for (size_t i = 0; i < TEXT_WORDS; i++) {
		size_t syllables = 1 + text_below(&t, 3), n = 0;

		for (size_t s = 0; s < syllables; s++)
			n += (size_t)snprintf(text_words[i] + n, TEXT_WORD_MAX - n, "%s",
				text_syllables[text_below(&t, COUNT(text_syllables))]);
	}
}

void text_init(struct text *t, uint64_t seed)
{
	if (text_words[0][0] == '\0')
		text_make_words();
	t->state = seed;
}

const char *text_word(struct text *t)
{
	uint64_t r = text_random(t);

	return text_words[((r & 0xffff) * ((r >> 16) & 0xffff) * TEXT_WORDS) >> 32];
}

/* What no longer fits into the line is left out, so every form is safe. */
static void text_put(struct text_out *o, const char *s, size_t n)
{
	size_t room = TEXT_LINE_MAX - 1 - o->n;

	if (n > room)
		n = room;
	memcpy(o->p + o->n, s, n);
	o->n += n;
}

static void text_put_string(struct text_out *o, const char *s)
{
	text_put(o, s, strlen(s));
}

static void text_put_name(struct text *t, struct text_out *o, bool capitals)
{
	size_t from = o->n;

	text_put_string(o, text_word(t));
	for (size_t more = text_below(t, 3); more > 0; more--) {
		text_put(o, "_", 1);
		text_put_string(o, text_word(t));
	}
	for (size_t i = from; capitals && i < o->n; i++) {
		if (o->p[i] != '_')
			o->p[i] = (char)(o->p[i] - 'a' + 'A');
	}
}

static void text_put_number(struct text *t, struct text_out *o)
{
	char digits[16];
	int n = snprintf(
		digits, sizeof(digits), "%zu", text_below(t, text_below(t, 4) == 0 ? 65536 : 100));

	text_put(o, digits, (size_t)n);
}

static void text_put_field(struct text *t, struct text_out *o, char field)
{
	switch (field) {
	case 't': text_put(o, "\t\t\t\t", 1 + text_below(t, 3)); break;
	case 'i': text_put_name(t, o, false); break;
	case 'I': text_put_name(t, o, true); break;
	case 'w': text_put_string(o, text_word(t)); break;
	case 'n': text_put_number(t, o); break;
	case 'y': text_put_string(o, text_types[text_below(t, COUNT(text_types))]); break;
	default: text_put(o, &field, 1); break;
	}
}

static const char *text_form(struct text *t)
{
	if (text_below(t, TEXT_HIT_EVERY) == 0)
		return text_hits[text_below(t, COUNT(text_hits))];
	if (text_below(t, TEXT_NEAR_EVERY) == 0)
		return text_near[text_below(t, COUNT(text_near))];
	return text_forms[text_below(t, COUNT(text_forms))];
}

size_t text_line(struct text *t, char *out)
{
	struct text_out o = {.p = out};

	for (const char *form = text_form(t); *form != '\0';) {
		size_t plain = strcspn(form, "%");

		text_put(&o, form, plain);
		form += plain;
		if (*form == '%') {
			text_put_field(t, &o, form[1]);
			form += 2;
		}
	}
	out[o.n] = '\n';
	return o.n + 1;
}
