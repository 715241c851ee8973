/* id: the form of an id, and that none comes twice. */
#include "boxd/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define IDS 20000

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void an_id_is_lower_case_hex_of_its_length(void **state)
{
	char id[ID_LEN + 1], request[ID_REQUEST_LEN + 1];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		memset(id, '!', sizeof(id));
		memset(request, '!', sizeof(request));
		id_new(id);
		id_new_request(request);
		assert_int_equal(strlen(id), ID_LEN);
		assert_int_equal(strlen(request), ID_REQUEST_LEN);
		assert_int_equal(strspn(id, "0123456789abcdef"), ID_LEN);
		assert_int_equal(strspn(request, "0123456789abcdef"), ID_REQUEST_LEN);
	}
}

static void every_digit_comes_at_every_place(void **state)
{
	bool seen[ID_LEN][16] = {0};

	(void)state;
	for (int i = 0; i < IDS; i++) {
		char id[ID_LEN + 1];

		id_new(id);
		for (size_t at = 0; at < ID_LEN; at++)
			seen[at][id[at] <= '9' ? id[at] - '0' : id[at] - 'a' + 10] = true;
	}
	for (size_t at = 0; at < ID_LEN; at++) {
		for (size_t digit = 0; digit < 16; digit++)
			assert_true(seen[at][digit]);
	}
}

static void a_uuid_is_a_random_one_with_dashes(void **state)
{
	bool variant[16] = {false}, digit[16] = {false};

	(void)state;
	for (int i = 0; i < 2000; i++) {
		char id[ID_UUID_LEN + 1], again[ID_UUID_LEN + 1];

		memset(id, '!', sizeof(id));
		id_new_uuid(id);
		id_new_uuid(again);
		assert_string_not_equal(id, again);
		assert_int_equal(strlen(id), ID_UUID_LEN);
		for (size_t at = 0; at < ID_UUID_LEN; at++) {
			bool dash = at == 8 || at == 13 || at == 18 || at == 23;

			if (dash != (id[at] == '-') ||
				(!dash && strchr("0123456789abcdef", id[at]) == NULL))
				fail_msg("%s at %zu", id, at);
		}
		assert_int_equal(id[14], '4');
		variant[id[19] <= '9' ? id[19] - '0' : id[19] - 'a' + 10] = true;
		digit[id[35] <= '9' ? id[35] - '0' : id[35] - 'a' + 10] = true;
	}
	for (size_t i = 0; i < 16; i++) {
		assert_int_equal(variant[i], i >= 8 && i < 12);
		assert_true(digit[i]);
	}
}

/* Long and short ids share blocks of random bytes: no byte may be used by two of them. */
static void no_part_of_an_id_comes_twice(void **state)
{
	char(*halves)[ID_REQUEST_LEN + 1] = calloc(3 * IDS, sizeof(*halves));

	(void)state;
	assert_non_null(halves);
	for (size_t i = 0; i < IDS; i++) {
		char id[ID_LEN + 1];

		id_new(id);
		memcpy(halves[3 * i], id, ID_REQUEST_LEN);
		memcpy(halves[3 * i + 1], id + ID_REQUEST_LEN, ID_REQUEST_LEN);
		id_new_request(halves[3 * i + 2]);
	}
	qsort(halves, (size_t)3 * IDS, sizeof(*halves), compare);
	for (size_t i = 1; i < (size_t)3 * IDS; i++)
		assert_string_not_equal(halves[i - 1], halves[i]);
	free(halves);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_is_lower_case_hex_of_its_length),
		cmocka_unit_test(a_uuid_is_a_random_one_with_dashes),
		cmocka_unit_test(every_digit_comes_at_every_place),
		cmocka_unit_test(no_part_of_an_id_comes_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
