/* secret: equal is equal, and nothing else is. */
#include "boxd/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* From exactly sized heap copies, so that a look past either end is seen by the sanitizer. */
static bool equal(const char *secret, size_t secret_len, const char *given, size_t given_len)
{
	char *s = malloc(secret_len + (secret_len == 0));
	char *g = malloc(given_len + (given_len == 0));
	bool same;

	assert_non_null(s);
	assert_non_null(g);
	memcpy(s, secret, secret_len);
	memcpy(g, given, given_len);
	same = secret_eq(s, secret_len, g, given_len);
	free(s);
	free(g);
	return same;
}

static void only_the_same_bytes_of_the_same_length_are_equal(void **state)
{
	static const struct {
		const char *secret, *given;
		bool same;
	} rows[] = {
		{"token", "token", true},
		{"token", "tokeN", false},
		{"token", "Token", false},
		{"token", "toke", false},
		{"token", "token ", false},
		{"token", "tokentokentoken", false},
		{"token", "", false},
		{"a", "a", true},
		{"\xff\x80", "\xff\x80", true},
		{"\xff\x80", "\xff\x81", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		print_message("%s %s\n", rows[i].secret, rows[i].given);
		assert_int_equal(equal(rows[i].secret, strlen(rows[i].secret), rows[i].given,
					 strlen(rows[i].given)),
			rows[i].same);
	}
	assert_false(equal("a\0b", 3, "a\0c", 3));
	assert_true(equal("a\0b", 3, "a\0b", 3));
}

/* The comparison is in a library that no sanitizer watches: a page without access does. */
static void a_long_guess_reads_nothing_beyond_the_secret(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *mem = mmap(
		NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char guess[256];

	(void)state;
	assert_true(mem != MAP_FAILED);
	assert_int_equal(mprotect(mem + page, page, PROT_NONE), 0);
	memset(guess, 's', sizeof(guess));
	memset(mem + page - 6, 's', 6);
	assert_false(secret_eq(mem + page - 6, 6, guess, sizeof(guess)));
	assert_true(secret_eq(mem + page - 6, 6, guess, 6));
	munmap(mem, 2 * page);
}

static void an_empty_secret_lets_nobody_in(void **state)
{
	(void)state;
	assert_false(equal("", 0, "", 0));
	assert_false(equal("", 0, "x", 1));
}

static void every_single_bit_counts(void **state)
{
	char given[33];

	(void)state;
	memset(given, 'k', sizeof(given));
	for (size_t bit = 0; bit < sizeof(given) * 8; bit++) {
		char other[33];

		memcpy(other, given, sizeof(given));
		other[bit / 8] = (char)(other[bit / 8] ^ (1 << bit % 8));
		assert_false(equal(given, sizeof(given), other, sizeof(other)));
	}
	assert_true(equal(given, sizeof(given), given, sizeof(given)));
}

static void freeing_takes_null(void **state)
{
	(void)state;
	secret_free(NULL);
	secret_free(strdup("secret"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_same_bytes_of_the_same_length_are_equal),
		cmocka_unit_test(a_long_guess_reads_nothing_beyond_the_secret),
		cmocka_unit_test(an_empty_secret_lets_nobody_in),
		cmocka_unit_test(every_single_bit_counts),
		cmocka_unit_test(freeing_takes_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
