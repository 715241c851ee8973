/*
 * json: request bodies to values.
 *
 * The bytes are checked before cJSON sees them, by a scanner that keeps one bit per open container
 * and no call stack. It is the whole grammar of RFC 8259, because each thing that cJSON lets pass
 * would be ours to explain: control characters, NUL, numbers cut after 63 bytes, input that ends
 * in the middle of a token. It finds the end of the first value, so cJSON gets exactly the bytes of
 * a value that is known to be good, and can only fail for want of memory.
 *
 * A \u escape for half of a surrogate pair is legal JSON that no UTF-8 can hold; clients produce it
 * when they cut a text inside an emoji. Such an escape becomes \ufffd, in a copy of the body.
 */
#include "boxd/json.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "boxd/str.h"

/* The largest depth that limits.h allows. */
#define JSON_DEPTH_CEILING 512

/* cJSON copies a number into a buffer of this many bytes and a NUL. */
#define JSON_NUMBER_MAX 63

/* Beyond this, neighbouring integers share one double: the value in hand may not be the sent one.
 */
#define JSON_INT_MAX ((INT64_C(1) << 53) - 1)

enum json_want {
	JSON_WANT_VALUE,
	JSON_WANT_FIRST_ELEMENT, /* or the end of the array */
	JSON_WANT_FIRST_KEY,     /* or the end of the object */
	JSON_WANT_KEY,
	JSON_WANT_COLON,
	JSON_WANT_NEXT, /* a comma or the end of the container */
	JSON_WANT_NOTHING
};

struct json_scan {
	const uint8_t *data;
	size_t len, pos;
	size_t values, depth;
	enum json_want want;
	uint8_t is_object[JSON_DEPTH_CEILING / 8]; /* one bit per open container */
	uint8_t *fix; /* a copy of data in which lone surrogates are replaced, or NULL */
	bool lone;    /* there is a lone surrogate */
	struct err *e;
};

static int json_scan_bad(const struct json_scan *s, const char *what)
{
	return err_set(s->e, &ERR_BAD_BODY, "not valid JSON: %s at byte %zu", what, s->pos);
}

/* The byte at pos + ahead, or -1 past the end. */
static int json_scan_peek(const struct json_scan *s, size_t ahead)
{
	return ahead < s->len - s->pos ? s->data[s->pos + ahead] : -1;
}

static bool json_is_digit(int c)
{
	return c >= '0' && c <= '9';
}

/* The code unit of the \uXXXX escape that begins `ahead` bytes from pos, or -1. */
static int json_scan_unit(const struct json_scan *s, size_t ahead)
{
	int unit = 0;

	if (json_scan_peek(s, ahead) != '\\' || json_scan_peek(s, ahead + 1) != 'u')
		return -1;
	for (size_t i = 2; i < 6; i++) {
		int digit = str_hex_digit(json_scan_peek(s, ahead + i));

		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
	}
	return unit;
}

static int json_scan_unicode(struct json_scan *s)
{
	int unit = json_scan_unit(s, 0);

	if (unit < 0)
		return json_scan_bad(s, "a broken \\u escape");
	if (unit == 0)
		return json_scan_bad(s, "a NUL in a string");
	if (unit >= 0xd800 && unit <= 0xdfff) {
		int low = unit < 0xdc00 ? json_scan_unit(s, 6) : -1;

		if (low >= 0xdc00 && low <= 0xdfff) {
			s->pos += 12;
			return 0;
		}
		s->lone = true;
		if (s->fix != NULL)
			memcpy(s->fix + s->pos, "\\ufffd", 6);
	}
	s->pos += 6;
	return 0;
}

static int json_scan_escape(struct json_scan *s)
{
	int c = json_scan_peek(s, 1);

	if (c == 'u')
		return json_scan_unicode(s);
	if (c <= 0 || strchr("\"\\/bfnrt", c) == NULL)
		return json_scan_bad(s, "an unknown escape");
	s->pos += 2;
	return 0;
}

static int json_scan_string(struct json_scan *s)
{
	s->pos++;
	for (;;) {
		int c = json_scan_peek(s, 0);

		if (c == '"') {
			s->pos++;
			return 0;
		}
		if (c < 0)
			return json_scan_bad(s, "the end inside a string");
		if (c == 0)
			return json_scan_bad(s, "a NUL in a string");
		if (c < 0x20)
			return json_scan_bad(s, "a raw control character in a string");
		if (c != '\\')
			s->pos++;
		else if (json_scan_escape(s) < 0)
			return -1;
	}
}

/* Passes one digit or more; false when there is none. */
static bool json_scan_digits(struct json_scan *s)
{
	size_t start = s->pos;

	while (json_is_digit(json_scan_peek(s, 0)))
		s->pos++;
	return s->pos > start;
}

static int json_scan_number(struct json_scan *s)
{
	size_t start = s->pos;
	int c;

	if (json_scan_peek(s, 0) == '-')
		s->pos++;
	if (json_scan_peek(s, 0) == '0')
		s->pos++;
	else if (!json_scan_digits(s))
		return json_scan_bad(s, "a broken number");
	if (json_scan_peek(s, 0) == '.') {
		s->pos++;
		if (!json_scan_digits(s))
			return json_scan_bad(s, "a broken number");
	}
	c = json_scan_peek(s, 0);
	if (c == 'e' || c == 'E') {
		s->pos++;
		c = json_scan_peek(s, 0);
		if (c == '+' || c == '-')
			s->pos++;
		if (!json_scan_digits(s))
			return json_scan_bad(s, "a broken number");
	}
	if (s->pos - start > JSON_NUMBER_MAX)
		return json_scan_bad(s, "a number of too many digits");
	return 0;
}

static int json_scan_literal(struct json_scan *s, const char *word)
{
	size_t n = strlen(word);

	if (s->len - s->pos < n || memcmp(s->data + s->pos, word, n) != 0)
		return json_scan_bad(s, "an unknown word");
	s->pos += n;
	return 0;
}

static bool json_scan_in_object(const struct json_scan *s)
{
	size_t top = s->depth - 1;

	return (s->is_object[top / 8] >> (top % 8) & 1) != 0;
}

static int json_scan_open(struct json_scan *s, bool object)
{
	uint8_t bit = (uint8_t)(1U << (s->depth % 8));
	uint8_t *byte = &s->is_object[s->depth / 8];

	if (s->depth >= limit_size(LIMIT_JSON_DEPTH))
		return err_set(s->e, &ERR_BAD_BODY, "JSON is nested deeper than %zu levels",
			limit_size(LIMIT_JSON_DEPTH));
	*byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
	s->depth++;
	s->pos++;
	s->want = object ? JSON_WANT_FIRST_KEY : JSON_WANT_FIRST_ELEMENT;
	return 0;
}

static void json_scan_after_value(struct json_scan *s)
{
	s->want = s->depth == 0 ? JSON_WANT_NOTHING : JSON_WANT_NEXT;
}

static void json_scan_close(struct json_scan *s)
{
	s->pos++;
	s->depth--;
	json_scan_after_value(s);
}

static int json_scan_value(struct json_scan *s)
{
	int c = json_scan_peek(s, 0);
	int rc;

	if (++s->values > limit_size(LIMIT_JSON_VALUES))
		return err_set(s->e, &ERR_BAD_BODY, "JSON holds more than %zu values",
			limit_size(LIMIT_JSON_VALUES));
	if (c == '{' || c == '[')
		return json_scan_open(s, c == '{');
	if (c == '"')
		rc = json_scan_string(s);
	else if (c == '-' || json_is_digit(c))
		rc = json_scan_number(s);
	else if (c == 't')
		rc = json_scan_literal(s, "true");
	else if (c == 'f')
		rc = json_scan_literal(s, "false");
	else if (c == 'n')
		rc = json_scan_literal(s, "null");
	else
		rc = json_scan_bad(s, "an unexpected character");
	if (rc == 0)
		json_scan_after_value(s);
	return rc;
}

static int json_scan_key(struct json_scan *s)
{
	if (json_scan_peek(s, 0) != '"')
		return json_scan_bad(s, "something else than a key");
	s->want = JSON_WANT_COLON;
	return json_scan_string(s);
}

/* What follows a member or an element. */
static int json_scan_next(struct json_scan *s)
{
	bool object = json_scan_in_object(s);
	int c = json_scan_peek(s, 0);

	if (c == (object ? '}' : ']')) {
		json_scan_close(s);
		return 0;
	}
	if (c != ',')
		return json_scan_bad(s, "an unexpected character");
	s->pos++;
	s->want = object ? JSON_WANT_KEY : JSON_WANT_VALUE;
	return 0;
}

/* Passes one token. */
static int json_scan_step(struct json_scan *s)
{
	int c = json_scan_peek(s, 0);

	switch (s->want) {
	case JSON_WANT_FIRST_ELEMENT:
	case JSON_WANT_FIRST_KEY:
		if (c == (s->want == JSON_WANT_FIRST_KEY ? '}' : ']')) {
			json_scan_close(s);
			return 0;
		}
		return s->want == JSON_WANT_FIRST_KEY ? json_scan_key(s) : json_scan_value(s);
	case JSON_WANT_VALUE: return json_scan_value(s);
	case JSON_WANT_KEY: return json_scan_key(s);
	case JSON_WANT_COLON:
		if (c != ':')
			return json_scan_bad(s, "something else than a colon");
		s->pos++;
		s->want = JSON_WANT_VALUE;
		return 0;
	case JSON_WANT_NEXT: return json_scan_next(s);
	case JSON_WANT_NOTHING: break;
	}
	return 0;
}

static void json_scan_space(struct json_scan *s)
{
	int c;

	while ((c = json_scan_peek(s, 0)) == ' ' || c == '\t' || c == '\n' || c == '\r')
		s->pos++;
}

/* Checks the first value of data. On success pos is its end. */
static int json_scan(struct json_scan *s)
{
	assert(limit(LIMIT_JSON_DEPTH) <= JSON_DEPTH_CEILING);
	while (s->want != JSON_WANT_NOTHING) {
		json_scan_space(s);
		if (s->pos == s->len && s->values == 0)
			return err_set(s->e, &ERR_BAD_BODY, "the body is empty");
		if (s->pos == s->len)
			return json_scan_bad(s, "the end inside a value");
		if (json_scan_step(s) < 0)
			return -1;
	}
	return 0;
}

/* After json_scan(): nothing but white space may follow. Keeps pos. */
static int json_scan_rest(struct json_scan *s)
{
	size_t end = s->pos;

	json_scan_space(s);
	if (s->pos < s->len)
		return json_scan_bad(s, "something after the value");
	s->pos = end;
	return 0;
}

static struct json *json_build(const uint8_t *data, size_t len, struct err *e)
{
	/* cJSON notes where it failed in a global, and uploads parse on disk threads. */
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	cJSON *root;

	pthread_mutex_lock(&lock);
	root = cJSON_ParseWithLengthOpts((const char *)data, len, NULL, 0);
	pthread_mutex_unlock(&lock);

	if (root == NULL)
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
	return (struct json *)root;
}

static struct json *json_parse_value(const uint8_t *data, size_t len, bool whole, struct err *e)
{
	struct json_scan s = {.data = data, .len = len, .e = e};
	CLEANUP_FREE uint8_t *copy = NULL;

	if (json_scan(&s) < 0 || (whole && json_scan_rest(&s) < 0))
		return NULL;
	if (!s.lone)
		return json_build(data, s.pos, e);
	copy = malloc(s.pos);
	if (copy == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	memcpy(copy, data, s.pos);
	s = (struct json_scan){.data = data, .len = s.pos, .fix = copy, .e = e};
	if (json_scan(&s) < 0)
		return NULL;
	return json_build(copy, s.pos, e);
}

struct json *json_parse(const uint8_t *data, size_t len, struct err *e)
{
	return json_parse_value(data, len, false, e);
}

struct json *json_parse_whole(const uint8_t *data, size_t len, struct err *e)
{
	return json_parse_value(data, len, true, e);
}

void json_free(struct json *root)
{
	cJSON_Delete((cJSON *)root);
}

static const cJSON *json_node(const struct json *v)
{
	return (const cJSON *)v;
}

bool json_is_object(const struct json *v)
{
	return cJSON_IsObject(json_node(v));
}

bool json_is_array(const struct json *v)
{
	return cJSON_IsArray(json_node(v));
}

bool json_is_null(const struct json *v)
{
	return cJSON_IsNull(json_node(v));
}

const struct json *json_get(const struct json *obj, const char *key)
{
	const cJSON *found = NULL;

	if (!json_is_object(obj))
		return NULL;
	for (const cJSON *m = json_node(obj)->child; m != NULL; m = m->next) {
		if (strcasecmp(m->string, key) == 0)
			found = m;
	}
	return cJSON_IsNull(found) ? NULL : (const struct json *)found;
}

const struct json *json_first(const struct json *container)
{
	return (const struct json *)json_node(container)->child;
}

const struct json *json_next(const struct json *v)
{
	return (const struct json *)json_node(v)->next;
}

size_t json_count(const struct json *container)
{
	size_t n = 0;

	for (const struct json *v = container != NULL ? json_first(container) : NULL; v != NULL;
		v = json_next(v))
		n++;
	return n;
}

const char *json_key(const struct json *v)
{
	return json_node(v)->string;
}

const char *json_str(const struct json *v)
{
	return cJSON_IsString(json_node(v)) ? json_node(v)->valuestring : NULL;
}

int json_get_str(const struct json *obj, const char *key, const char **out, struct err *e)
{
	const struct json *v = json_get(obj, key);

	if (v == NULL)
		return 0;
	if (json_str(v) == NULL)
		return err_set(e, &ERR_BAD_BODY, "%s must be a string", key);
	*out = json_str(v);
	return 0;
}

int json_get_bool(const struct json *obj, const char *key, bool *out, struct err *e)
{
	const struct json *v = json_get(obj, key);

	if (v == NULL)
		return 0;
	if (!cJSON_IsBool(json_node(v)))
		return err_set(e, &ERR_BAD_BODY, "%s must be true or false", key);
	*out = cJSON_IsTrue(json_node(v));
	return 0;
}

/* The value as an integer, when it is one that a double holds exactly. */
static bool json_to_int(const struct json *v, int64_t *out)
{
	double d = json_node(v)->valuedouble;

	if (!cJSON_IsNumber(json_node(v)))
		return false;
	/* Written so that infinity (1e999) fails; only then is the cast defined. */
	if (!(d >= (double)-JSON_INT_MAX && d <= (double)JSON_INT_MAX))
		return false;
	*out = (int64_t)d;
	return (double)*out == d;
}

int json_get_int(const struct json *obj, const char *key, int64_t min, int64_t max, int64_t *out,
	struct err *e)
{
	const struct json *v = json_get(obj, key);
	int64_t value;

	if (v == NULL)
		return 0;
	if (min < -JSON_INT_MAX)
		min = -JSON_INT_MAX;
	if (max > JSON_INT_MAX)
		max = JSON_INT_MAX;
	if (!json_to_int(v, &value) || value < min || value > max)
		return err_set(e, &ERR_BAD_BODY,
			"%s must be an integer from %" PRId64 " to %" PRId64, key, min, max);
	*out = value;
	return 0;
}
