/*
 * Fuzzes query strings. An input is a key, LF, and a raw query. The oracle: a value is never longer
 * than the query and holds no NUL; walking the occurrences and asking for each by number agree;
 * what is percent-encoded from any bytes comes back as they were.
 */
#include <string.h>

#include "boxd/query.h"
#include "fuzz.h"

#define KEY_MAX   32u
#define NTH_MAX   32u
#define VALUE_MAX 4096u

static void check_value(enum query_result r, const struct buf *out, size_t raw_n)
{
	FUZZ_CHECK(r != QUERY_NO_MEM);
	FUZZ_CHECK(r == QUERY_FOUND || buf_len(out) == 0);
	FUZZ_CHECK(buf_len(out) <= raw_n);
	FUZZ_CHECK(buf_len(out) == 0 || memchr(buf_data(out), 0, buf_len(out)) == NULL);
}

static void check_walk(struct str raw, const char *key)
{
	struct buf a = {0}, b = {0};
	struct str rest = raw;
	enum query_result r;
	size_t nth = 0;

	do {
		r = query_next(&rest, key, &a);
		check_value(r, &a, raw.n);
		FUZZ_CHECK(query_get(raw, key, nth, &b) == r);
		FUZZ_CHECK(buf_len(&a) == buf_len(&b));
		FUZZ_CHECK(
			buf_len(&a) == 0 || memcmp(buf_data(&a), buf_data(&b), buf_len(&a)) == 0);
	} while (r != QUERY_ABSENT && ++nth < NTH_MAX);
	buf_fini(&a);
	buf_fini(&b);
}

static void check_segment(struct str raw)
{
	struct buf out = {0};
	enum query_result r = query_decode_segment(raw, &out);

	check_value(r, &out, raw.n);
	FUZZ_CHECK(r != QUERY_ABSENT);
	buf_fini(&out);
}

static void check_encoded(struct str value)
{
	bool has_nul = value.n > 0 && memchr(value.p, 0, value.n) != NULL;
	struct buf coded = {0}, out = {0};
	struct str raw;

	FUZZ_CHECK(buf_add_str(&coded, "k=") == 0);
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == ' ')
			FUZZ_CHECK(buf_add_str(&coded, "+") == 0);
		else
			FUZZ_CHECK(buf_printf(&coded, i & 1 ? "%%%02x" : "%%%02X",
					   (unsigned char)value.p[i]) == 0);
	}
	raw = (struct str){(const char *)buf_data(&coded), buf_len(&coded)};
	FUZZ_CHECK(query_get(raw, "k", 0, &out) == (has_nul ? QUERY_BAD : QUERY_FOUND));
	if (!has_nul)
		FUZZ_CHECK(
			str_eq((struct str){(const char *)buf_data(&out), buf_len(&out)}, value));
	buf_fini(&coded);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t key_n = end != NULL ? (size_t)(end - data) : 0;
	char key[KEY_MAX + 1];
	struct str raw;

	if (end == NULL || key_n > KEY_MAX || size > VALUE_MAX)
		return 0;
	memcpy(key, data, key_n);
	key[key_n] = '\0'; /* a NUL inside ends it earlier: still a key */
	raw = (struct str){(const char *)end + 1, size - key_n - 1};
	check_walk(raw, key);
	check_segment(raw);
	check_encoded(raw);
	return 0;
}
