/*
 * json: any bytes are refused with a reason or become a value that keeps the promises of json.h.
 *
 * The oracle: a value holds no more levels and values than the limits say; written back, it parses
 * to a value that is written the same; and a text, array or object without its last byte is
 * refused, so nothing is ever taken for complete too early.
 */
#include <stdlib.h>
#include <string.h>

#include "boxd/buf.h"
#include "boxd/json.h"
#include "boxd/limits.h"
#include "fuzz.h"

static void put(struct buf *out, const char *text)
{
	FUZZ_CHECK(buf_add_str(out, text) == 0);
}

static void put_string(struct buf *out, const char *s)
{
	put(out, "\"");
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == '"' || *s == '\\')
			FUZZ_CHECK(
				buf_printf(out, "\\u%04x", (unsigned int)(unsigned char)*s) == 0);
		else
			FUZZ_CHECK(buf_add(out, s, 1) == 0);
	}
	put(out, "\"");
}

/* Numbers, true, false and null all become null: json.h gives no way to ask which. */
static void put_value(struct buf *out, const struct json *v, size_t depth, size_t *values)
{
	bool object = json_is_object(v);
	const char *comma = "";

	FUZZ_CHECK(++*values <= limit_size(LIMIT_JSON_VALUES));
	if (json_str(v) != NULL) {
		put_string(out, json_str(v));
		return;
	}
	if (!object && !json_is_array(v)) {
		put(out, "null");
		return;
	}
	FUZZ_CHECK(depth < limit_size(LIMIT_JSON_DEPTH));
	put(out, object ? "{" : "[");
	for (const struct json *m = json_first(v); m != NULL; m = json_next(m)) {
		put(out, comma);
		comma = ",";
		FUZZ_CHECK(object == (json_key(m) != NULL));
		if (object) {
			put_string(out, json_key(m));
			put(out, ":");
		}
		put_value(out, m, depth + 1, values);
	}
	put(out, object ? "}" : "]");
}

static void ask(const struct json *root)
{
	const char *s = NULL;
	bool b = false;
	int64_t n = 7;
	struct err es = {0}, eb = {0}, en = {0};

	if (!json_is_object(root))
		return;
	for (const struct json *m = json_first(root); m != NULL; m = json_next(m)) {
		int rc = json_get_int(root, json_key(m), -9, 9, &n, &en);

		FUZZ_CHECK((rc == 0) == (en.kind == NULL) && n >= -9 && n <= 9);
		rc = json_get_str(root, json_key(m), &s, &es);
		FUZZ_CHECK((rc == 0) == (es.kind == NULL));
		rc = json_get_bool(root, json_key(m), &b, &eb);
		FUZZ_CHECK((rc == 0) == (eb.kind == NULL));
		if (en.kind != NULL || es.kind != NULL || eb.kind != NULL)
			return;
	}
}

static struct json *parse_exact(const uint8_t *data, size_t size, bool whole)
{
	uint8_t *exact = malloc(size + (size == 0));
	struct err e = {0};
	struct json *root;

	FUZZ_CHECK(exact != NULL);
	if (size > 0)
		memcpy(exact, data, size);
	root = whole ? json_parse_whole(exact, size, &e) : json_parse(exact, size, &e);
	free(exact);
	FUZZ_CHECK((root == NULL) == (e.kind != NULL));
	FUZZ_CHECK(root != NULL || (e.msg[0] != '\0' && e.kind == &ERR_BAD_BODY));
	return root;
}

static void check_last_byte_matters(const uint8_t *data, size_t size)
{
	struct json *whole = parse_exact(data, size, true);

	if (whole == NULL)
		return;
	while (strchr(" \t\r\n", data[size - 1]) != NULL)
		size--;
	if (json_str(whole) != NULL || json_is_object(whole) || json_is_array(whole))
		FUZZ_CHECK(parse_exact(data, size - 1, false) == NULL);
	json_free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json *root = parse_exact(data, size, false);
	struct buf first = {0}, second = {0};
	size_t values = 0;

	if (root == NULL)
		return 0;
	put_value(&first, root, 0, &values);
	ask(root);
	json_free(root);

	root = parse_exact(buf_data(&first), buf_len(&first), true);
	FUZZ_CHECK(root != NULL);
	values = 0;
	put_value(&second, root, 0, &values);
	json_free(root);
	FUZZ_CHECK(buf_len(&first) == buf_len(&second));
	FUZZ_CHECK(memcmp(buf_data(&first), buf_data(&second), buf_len(&first)) == 0);
	buf_fini(&first);
	buf_fini(&second);
	check_last_byte_matters(data, size);
	return 0;
}
