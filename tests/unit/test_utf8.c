/* utf8: every sequence by its definition, and what a reader holds back. */
#include "boxd/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The encoding of a code point, by the table of RFC 3629 section 3. Returns its length. */
static size_t encode(uint32_t cp, uint8_t out[4])
{
	if (cp < 0x80) {
		out[0] = (uint8_t)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (uint8_t)(0xc0 | cp >> 6);
		out[1] = (uint8_t)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (uint8_t)(0xe0 | cp >> 12);
		out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | cp >> 18);
	out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (cp & 0x3f));
	return 4;
}

static void accepts_every_code_point_and_no_surrogate(void **state)
{
	(void)state;
	for (uint32_t cp = 0; cp < 0x120000; cp++) {
		bool good = cp < 0xd800 || (cp > 0xdfff && cp < 0x110000);
		uint8_t b[4];
		size_t n = encode(cp, b);

		if (utf8_sequence(b, n) != (good ? n : 0))
			fail_msg("U+%04X", (unsigned)cp);
	}
}

static void accepts_exactly_as_many_sequences_as_there_are_code_points(void **state)
{
	size_t counts[5] = {0};

	(void)state;
	/* All pairs, and all triples and quadruples with continuation bytes at the end. */
	for (unsigned i = 0; i < 256; i++)
		counts[1] += utf8_sequence((uint8_t[]){(uint8_t)i}, 1) == 1;
	for (unsigned i = 0; i < 65536; i++) {
		uint8_t b[4] = {(uint8_t)(i >> 8), (uint8_t)i, 0x80, 0xbf};

		counts[2] += utf8_sequence(b, 2) == 2;
		counts[3] += utf8_sequence(b, 3) == 3;
		counts[4] += utf8_sequence(b, 4) == 4;
	}
	assert_int_equal(counts[1], 128);
	assert_int_equal(counts[2], 0x800 - 0x80);
	assert_int_equal(counts[3], (0x10000 - 0x800 - 0x800) / 64);
	assert_int_equal(counts[4], 0x100000 / 4096);
}

static void never_looks_past_the_end(void **state)
{
	static const char *const whole[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

	(void)state;
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
		for (size_t n = 1; n < strlen(whole[i]); n++) {
			uint8_t *cut = malloc(n); /* exactly sized: a sanitizer sees an overread */

			assert_non_null(cut);
			memcpy(cut, whole[i], n);
			assert_int_equal(utf8_sequence(cut, n), 0);
			assert_int_equal(utf8_incomplete_tail(cut, n), n);
			free(cut);
		}
	}
}

static void knows_what_could_still_become_a_character(void **state)
{
	static const struct {
		const char *data;
		size_t tail;
	} rows[] = {
		{"", 0},
		{"a", 0},
		{"abc\xc3", 1},
		{"abc\xc3\xa9", 0},
		{"\xe2", 1},
		{"\xe2\x82", 2},
		{"\xe2\x82\xac", 0},
		{"x\xf0", 1},
		{"x\xf0\x9f", 2},
		{"x\xf0\x9f\x98", 3},
		{"x\xf0\x9f\x98\x80", 0},
		{"\x80", 0},
		{"\x80\x80\x80\x80", 0},
		{"\xc0", 0},         /* leads nothing */
		{"\xc1", 0},         /* leads nothing */
		{"\xf5", 0},         /* leads nothing */
		{"\xff", 0},         /* leads nothing */
		{"\xe0\x80", 0},     /* overlong */
		{"\xe0\xa0", 2},     /* the lowest that is not */
		{"\xed\xa0", 0},     /* surrogate */
		{"\xed\x9f", 2},     /* the highest before them */
		{"\xf0\x8f\xbf", 0}, /* overlong */
		{"\xf4\x90\x80", 0}, /* past U+10FFFF */
		{"\xf4\x8f\xbf", 3}, /* the highest */
		{"\xe2\x82\xac\xe2", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = strlen(rows[i].data);
		size_t tail = utf8_incomplete_tail((const uint8_t *)rows[i].data, n);

		if (tail != rows[i].tail)
			fail_msg("row %zu: %zu instead of %zu", i, tail, rows[i].tail);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_every_code_point_and_no_surrogate),
		cmocka_unit_test(accepts_exactly_as_many_sequences_as_there_are_code_points),
		cmocka_unit_test(never_looks_past_the_end),
		cmocka_unit_test(knows_what_could_still_become_a_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
