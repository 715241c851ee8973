/* ws_deflate: messages there and back, the examples of RFC 7692, bombs and damaged payloads. */
#include "boxd/ws_deflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "seed.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define ANY      SIZE_MAX / 2

static struct ws_deflate *d;

static int set_up(void **state)
{
	(void)state;
	d = ws_deflate_ref();
	return d != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	ws_deflate_unref(d);
	return 0;
}

static enum ws_unpack unpack(
	const void *p, size_t n, size_t max, const uint8_t **out, size_t *out_n)
{
	uint8_t *exact = malloc(n > 0 ? n : 1);
	enum ws_unpack r;

	assert_non_null(exact);
	if (n > 0)
		memcpy(exact, p, n);
	r = ws_deflate_unpack(d, exact, n, max, out, out_n);
	free(exact);
	return r;
}

static void reads_the_examples_of_the_RFC(void **state)
{
	static const struct {
		const char *name, *payload;
		size_t n;
		const char *text;
	} rows[] = {
#define P(text) text, sizeof(text) - 1
		{"one block", P("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello"},
		{"a block without compression", P("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
			"Hello"},
		{"a final block, then an empty one", P("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
			"Hello"},
		{"two blocks", P("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), "Hello"},
		{"a final block and nothing more", P("\xf3\x48\xcd\xc9\xc9\x07\x00"), "Hello"},
		{"two streams", P("\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00"),
			"HelloHello"},
		{"an empty message", P("\x00"), ""},
		{"no byte at all", P(""), ""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const uint8_t *out;
		size_t n;

		if (unpack(rows[i].payload, rows[i].n, 100, &out, &n) != WS_UNPACK_DONE ||
			n != strlen(rows[i].text) || (n > 0 && memcmp(out, rows[i].text, n) != 0))
			fail_msg("%s", rows[i].name);
	}
}

static void refuses_what_is_damaged(void **state)
{
	static const struct {
		const char *name, *payload;
		size_t n;
	} rows[] = {
		{"a reserved block type", P("\x07\x00")},
		{"a stored length that does not match", P("\x00\x05\x00\xfa\xfeHello\x00")},
		{"cut in a block", P("\xf2\x48\xcd\xc9")},
		{"cut behind a stored length", P("\x00\x06\x00\xf9\xff\x48")},
		{"a match before the beginning", P("\x02\x02\x00")},
		{"the tail was not left out", P("\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00")},
		{"garbage", P("\xff\xff\xff\xff")},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const uint8_t *out;
		size_t n;

		if (unpack(rows[i].payload, rows[i].n, 100, &out, &n) != WS_UNPACK_BAD)
			fail_msg("%s", rows[i].name);
	}
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* Text with repetitions near and far. */
static void fill(uint8_t *p, size_t n, uint32_t *seed, unsigned letters)
{
	for (size_t i = 0; i < n; i++) {
		size_t back = 1 + next_random(seed) % 300;

		p[i] = next_random(seed) % 4 != 0 && i >= back
			       ? p[i - back]
			       : (uint8_t)('a' + next_random(seed) % letters);
	}
}

/* Inflates with a window of exactly the size the peer has. */
static bool fits_window(
	unsigned bits, const uint8_t *packed, size_t packed_n, const uint8_t *plain, size_t n)
{
	static const uint8_t tail[] = {0, 0, 0xff, 0xff};
	z_stream z = {0};
	uint8_t *out = malloc(n + 1), *in = malloc(packed_n + sizeof(tail));
	bool same;

	assert_true(out != NULL && in != NULL);
	memcpy(in, packed, packed_n);
	memcpy(in + packed_n, tail, sizeof(tail));
	assert_int_equal(inflateInit2(&z, -(int)bits), Z_OK);
	z.next_in = in;
	z.avail_in = (uInt)(packed_n + sizeof(tail));
	z.next_out = out;
	z.avail_out = (uInt)(n + 1);
	same = inflate(&z, Z_SYNC_FLUSH) == Z_OK && z.total_out == n && memcmp(out, plain, n) == 0;
	inflateEnd(&z);
	free(out);
	free(in);
	return same;
}

static void messages_come_back_through_every_window(void **state)
{
	static const size_t sizes[] = {128, 200, 256, 257, 1000, 32768, 70000, 262144};
	uint32_t seed = test_seed();
	uint8_t *plain = malloc(262144);

	(void)state;
	assert_non_null(plain);
	for (size_t i = 0; i < COUNT(sizes) * 8; i++) {
		size_t n = sizes[i / 8], head_n = next_random(&seed) % 100, packed_n, out_n;
		unsigned bits = 8 + (unsigned)(i % 8);
		const uint8_t *packed, *out;

		fill(plain, n, &seed, 3);
		packed = ws_deflate_pack(
			d, bits, plain, head_n, plain + head_n, n - head_n, &packed_n);
		if ((packed != NULL) != (bits > 8 || n <= 256))
			fail_msg("%zu bytes, window %u: %p", n, bits, (const void *)packed);
		if (packed == NULL)
			continue;
		assert_true(packed_n < n);
		if (!fits_window(bits, packed, packed_n, plain, n))
			fail_msg("%zu bytes do not fit a window of %u bits", n, bits);
		assert_int_equal(unpack(packed, packed_n, n, &out, &out_n), WS_UNPACK_DONE);
		assert_int_equal(out_n, n);
		assert_memory_equal(out, plain, n);
	}
	free(plain);
}

static void leaves_alone_what_does_not_gain(void **state)
{
	uint32_t seed = test_seed();
	uint8_t *p = calloc(1, 262145);
	size_t n;

	(void)state;
	assert_non_null(p);
	assert_null(ws_deflate_pack(d, 15, NULL, 0, p, 127, &n));
	assert_non_null(ws_deflate_pack(d, 15, NULL, 0, p, 128, &n));
	assert_non_null(ws_deflate_pack(d, 15, p, 128, NULL, 0, &n));
	assert_non_null(ws_deflate_pack(d, 15, NULL, 0, p, 262144, &n));
	assert_null(ws_deflate_pack(d, 15, NULL, 0, p, 262145, &n));
	for (size_t i = 0; i < 4096; i++)
		p[i] = (uint8_t)(next_random(&seed) >> 11);
	assert_null(ws_deflate_pack(d, 15, NULL, 0, p, 4096, &n));
	free(p);
}

static void a_bomb_stops_at_the_limit(void **state)
{
	uint8_t *p = calloc(1, 262144), *copy;
	const uint8_t *packed, *out;
	size_t packed_n, n;

	(void)state;
	assert_non_null(p);
	packed = ws_deflate_pack(d, 15, NULL, 0, p, 262144, &packed_n);
	assert_non_null(packed);
	copy = malloc(packed_n);
	assert_non_null(copy);
	memcpy(copy, packed, packed_n);
	assert_int_equal(unpack(copy, packed_n, 262143, &out, &n), WS_UNPACK_TOO_LARGE);
	assert_int_equal(n, 0);
	assert_int_equal(unpack(copy, packed_n, 1000, &out, &n), WS_UNPACK_TOO_LARGE);
	/* And the decoder is as good as new. */
	assert_int_equal(unpack(copy, packed_n, 262144, &out, &n), WS_UNPACK_DONE);
	assert_int_equal(n, 262144);
	free(copy);
	free(p);
}

static void a_payload_never_ends_early(void **state)
{
	uint32_t seed = test_seed();
	uint8_t plain[600], packed[600];
	const uint8_t *p, *out;
	size_t n, out_n;

	(void)state;
	fill(plain, sizeof(plain), &seed, 20);
	p = ws_deflate_pack(d, 15, NULL, 0, plain, sizeof(plain), &n);
	assert_non_null(p);
	memcpy(packed, p, n);
	for (size_t cut = 1; cut < n; cut++) {
		if (unpack(packed, cut, 10000, &out, &out_n) == WS_UNPACK_DONE)
			fail_msg("%zu of %zu bytes are a message", cut, n);
	}
}

static void all_references_are_to_one(void **state)
{
	struct ws_deflate *other = ws_deflate_ref();

	(void)state;
	assert_ptr_equal(other, d);
	ws_deflate_unref(other);
	ws_deflate_unref(NULL);
}

static void what_does_not_shrink_stays_within_the_bound(void **state)
{
	uint32_t seed = test_seed();
	uint8_t *p = malloc(1000000), *out = malloc(ws_deflate_bound(1000000));

	(void)state;
	assert_true(p != NULL && out != NULL);
	for (size_t i = 0; i < 1000000; i++)
		p[i] = (uint8_t)(next_random(&seed) >> 11);
	for (int level = 0; level <= 9; level++) {
		for (int memory = 1; memory <= 9; memory += 4) {
			z_stream z = {0};
			size_t n = memory == 1 ? 20000 : 1000000;

			assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -15, memory,
						 Z_DEFAULT_STRATEGY),
				Z_OK);
			z.next_in = p;
			z.avail_in = (uInt)n;
			z.next_out = out;
			z.avail_out = (uInt)ws_deflate_bound(n);
			assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
			if (z.avail_in > 0 || z.avail_out == 0)
				fail_msg("level %d, memory %d", level, memory);
			deflateEnd(&z);
		}
	}
	free(p);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_examples_of_the_RFC),
		cmocka_unit_test(refuses_what_is_damaged),
		cmocka_unit_test(messages_come_back_through_every_window),
		cmocka_unit_test(leaves_alone_what_does_not_gain),
		cmocka_unit_test(a_bomb_stops_at_the_limit),
		cmocka_unit_test(a_payload_never_ends_early),
		cmocka_unit_test(all_references_are_to_one),
		cmocka_unit_test(what_does_not_shrink_stays_within_the_bound),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
