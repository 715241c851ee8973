/*
 * Fuzzes multipart bodies. The first byte of an input chooses cuts, limits and the boundary. The
 * oracle: however a body is cut into reads, the same parts come out; parts made from any bytes,
 * with a boundary that is not in them, come back exactly.
 */
#include <string.h>

#include "boxd/buf.h"
#include "boxd/multipart.h"
#include "fuzz.h"

/* The events as bytes: what a reading must agree in. */
struct outcome {
	struct buf said;
	const char *why;
	bool complete;
};

static void say(struct buf *b, const void *p, size_t n)
{
	FUZZ_CHECK(buf_add(b, p, n) == 0);
}

static void say_part(struct buf *b, bool has_filename, const char *name, size_t name_n)
{
	FUZZ_CHECK(buf_printf(b, "<%d %zu ", has_filename, name_n) == 0);
	say(b, name, name_n);
	say(b, "|", 1);
}

static bool take_event(struct outcome *o, enum multipart_event event,
	const struct multipart_part *part, const uint8_t *data, size_t data_n)
{
	switch (event) {
	case MULTIPART_PART:
		say_part(&o->said, part->has_filename, part->name.p, part->name.n);
		return true;
	case MULTIPART_DATA:
		FUZZ_CHECK(data_n > 0);
		say(&o->said, data, data_n);
		return true;
	case MULTIPART_PART_END: say(&o->said, ">", 1); return true;
	case MULTIPART_END: say(&o->said, "$", 1); return true;
	case MULTIPART_MORE:
	case MULTIPART_BAD:
	default: return false;
	}
}

static void read_body(const uint8_t *p, size_t size, struct str boundary, size_t head_max,
	uint32_t *seed, struct outcome *o)
{
	struct multipart *m = multipart_new(boundary, head_max);
	enum multipart_event event = MULTIPART_MORE;
	size_t taken = 0;

	*o = (struct outcome){.why = NULL};
	FUZZ_CHECK(m != NULL);
	do {
		size_t step = seed != NULL ? fuzz_step(seed, size - taken) : size - taken, n = step;
		const uint8_t *in = p + taken, *data = NULL;
		struct multipart_part part;
		size_t data_n = 0;

		do {
			event = multipart_next(m, &in, &n, &part, &data, &data_n, &o->why);
			FUZZ_CHECK(n <= step && in + n == p + taken + step);
		} while (take_event(o, event, &part, data, data_n));
		FUZZ_CHECK(event == MULTIPART_BAD || n == 0);
		taken += step;
	} while (event == MULTIPART_MORE && taken < size);
	FUZZ_CHECK((event == MULTIPART_BAD) == (o->why != NULL));
	o->complete = multipart_complete(m);
	multipart_free(m);
}

static bool same(const struct buf *a, const struct buf *b)
{
	return buf_len(a) == buf_len(b) &&
	       (buf_len(a) == 0 || memcmp(buf_data(a), buf_data(b), buf_len(a)) == 0);
}

static void check_cuts(const uint8_t *p, size_t size, size_t head_max, uint32_t seed)
{
	struct outcome whole, cut;

	read_body(p, size, STR("b"), head_max, NULL, &whole);
	read_body(p, size, STR("b"), head_max, &seed, &cut);
	FUZZ_CHECK(same(&whole.said, &cut.said));
	FUZZ_CHECK(whole.complete == cut.complete && whole.why == cut.why);
	buf_fini(&whole.said);
	buf_fini(&cut.said);
}

/* The shortest boundary of this shape that no content holds after a line end, or "" for none. */
static size_t choose_boundary(
	const uint8_t *p, size_t size, uint32_t seed, char out[MULTIPART_BOUNDARY_MAX])
{
	for (size_t n = 1; n <= MULTIPART_BOUNDARY_MAX; n++) {
		out[n - 1] = (seed >> n % 7 & 1) != 0 ? '-' : 'b';
		if (n > 2 && memmem(p, size, out, n) == NULL)
			return n;
	}
	return 0;
}

/* A quoted string as one browser or another writes it. */
static void add_quoted(struct buf *b, const char *p, size_t n, bool percent)
{
	say(b, "\"", 1);
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\r' || p[i] == '\n')
			say(b, p[i] == '\r' ? "%0D" : "%0a", 3);
		else if (p[i] == '"')
			say(b, percent ? "%22" : "\\\"", percent ? 3 : 2);
		else
			say(b, p[i] == '\\' ? "\\\\" : &p[i], p[i] == '\\' ? 2 : 1);
	}
	say(b, "\"", 1);
}

/* One part; its name is the first bytes of its content, but for those no name can hold. */
static void add_part(struct buf *body, struct buf *expect, struct str boundary, uint32_t seed,
	const uint8_t *p, size_t n)
{
	char name[8];
	size_t name_n = 0;

	for (size_t i = 0; i < n && name_n < seed % 8; i++) {
		if (p[i] != '\0' && p[i] != '%')
			name[name_n++] = (char)p[i];
	}
	FUZZ_CHECK(buf_printf(body, "--%.*s%s\r\n", (int)boundary.n, boundary.p,
			   (seed & 8) != 0 ? " \t" : "") == 0);
	FUZZ_CHECK(buf_add_str(body, "Content-Disposition: form-data; name=") == 0);
	add_quoted(body, name, name_n, (seed & 16) != 0);
	FUZZ_CHECK(buf_add_str(body, (seed & 32) != 0 ? ";filename=x\r\n\r\n" : "\r\n\r\n") == 0);
	say(body, p, n);
	say(body, "\r\n", 2);
	say_part(expect, (seed & 32) != 0, name, name_n);
	say(expect, p, n);
	say(expect, ">", 1);
}

static void check_encoded(const uint8_t *p, size_t size, uint32_t seed)
{
	char chosen[MULTIPART_BOUNDARY_MAX];
	struct str boundary = {chosen, choose_boundary(p, size, seed, chosen)};
	struct buf body = {0}, expect = {0};
	struct outcome o;

	if (boundary.n == 0)
		return;
	for (size_t at = 0; at < size;) {
		size_t step = fuzz_step(&seed, size - at);

		add_part(&body, &expect, boundary, seed >> 8, p + at, step);
		at += step;
	}
	FUZZ_CHECK(buf_printf(&body, "--%.*s--", (int)boundary.n, boundary.p) == 0);
	say(&expect, "$", 1);
	read_body(buf_data(&body), buf_len(&body), boundary, 512, &seed, &o);
	FUZZ_CHECK(o.complete && o.why == NULL);
	FUZZ_CHECK(same(&o.said, &expect));
	buf_fini(&o.said);
	buf_fini(&expect);
	buf_fini(&body);
}

static void check_type(const uint8_t *p, size_t size)
{
	char out[MULTIPART_BOUNDARY_MAX + 1];
	size_t n;

	if (multipart_boundary((struct str){(const char *)p, size}, out, &n)) {
		FUZZ_CHECK(n > 0 && n <= MULTIPART_BOUNDARY_MAX && strlen(out) == n);
		FUZZ_CHECK(memmem(p, size, out, n) != NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	check_cuts(data + 1, size - 1, (data[0] & 1) != 0 ? 64 : 512, data[0]);
	check_encoded(data + 1, size - 1, data[0]);
	check_type(data + 1, size - 1);
	return 0;
}
