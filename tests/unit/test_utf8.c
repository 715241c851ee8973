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

/* Does the text end well, however it is cut in two? */
static void checks_text_that_comes_in_pieces(void **state)
{
	static const struct {
		const char *text;
		size_t bad_at; /* how many bytes are enough to tell; 0: it is good so far */
		bool whole;
	} rows[] = {
		{"", 0, true},
		{"plain text, longer than one word", 0, true},
		{"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 end", 0, true},
		{"\xc3", 0, false},
		{"\xe2\x82", 0, false},
		{"\xf0\x9f\x98", 0, false},
		{"01234567\xf0\x9f\x98", 0, false},
		{"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", 0, true},
		{"\x80", 1, false},
		{"ab\xc0", 3, false},
		{"ab\xc1\x80", 3, false},
		{"ab\xf5", 3, false},
		{"ab\xff", 3, false},
		{"ab\xe0\x80", 4, false},     /* overlong */
		{"ab\xed\xa0\x80", 4, false}, /* surrogate */
		{"ab\xf0\x8f", 4, false},     /* overlong */
		{"ab\xf4\x90\x80", 4, false}, /* past U+10FFFF */
		{"ab\xe2\x82z", 5, false},
		{"ab\xe2z", 4, false},
		{"ab\xf0\x9f\x98\xc0", 6, false},
		{"0123456789abcde\x80"
		 "f01234567",
			16, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const uint8_t *p = (const uint8_t *)rows[i].text;
		size_t n = strlen(rows[i].text);

		for (size_t cut = 0; cut <= n; cut++) {
			struct utf8_check c = {0};
			bool first = utf8_check(&c, p, cut), bad = rows[i].bad_at > 0;

			if (first != !(bad && cut >= rows[i].bad_at))
				fail_msg("row %zu: the first %zu bytes", i, cut);
			if (first && utf8_check(&c, p + cut, n - cut) == bad)
				fail_msg("row %zu cut at %zu", i, cut);
			if (!bad && utf8_check_whole(&c) != rows[i].whole)
				fail_msg("row %zu cut at %zu: its end", i, cut);
		}
	}
}

/* utf8_sequence() says the same of every sequence of up to four bytes with two free ones. */
static void both_ways_to_check_agree(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 65536; i++) {
		uint8_t b[4] = {(uint8_t)(i >> 8), (uint8_t)i, 0x80, 0xbf};

		for (size_t n = 2; n <= 4; n++) {
			struct utf8_check c = {0};
			bool good = true;

			for (size_t at = 0; at < n && good;) {
				size_t len = utf8_sequence(b + at, n - at);

				good = len > 0;
				at += len;
			}
			if ((utf8_check(&c, b, n) && utf8_check_whole(&c)) != good)
				fail_msg("%02x %02x of %zu", b[0], b[1], n);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_every_code_point_and_no_surrogate),
		cmocka_unit_test(accepts_exactly_as_many_sequences_as_there_are_code_points),
		cmocka_unit_test(never_looks_past_the_end),
		cmocka_unit_test(knows_what_could_still_become_a_character),
		cmocka_unit_test(checks_text_that_comes_in_pieces),
		cmocka_unit_test(both_ways_to_check_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
