/* base64: the vectors of RFC 4648 section 10, and what is not base64. */
#include "boxd/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static const struct {
	const char *plain, *encoded;
} vectors[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfb", "//77"}};

static void the_vectors_of_the_rfc_go_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct buf b = {0};
		struct err e = {0};

		print_message("row %zu\n", i);
		assert_int_equal(base64_encode(vectors[i].plain, strlen(vectors[i].plain), &b), 0);
		assert_int_equal(buf_len(&b), strlen(vectors[i].encoded));
		assert_memory_equal(buf_data(&b), vectors[i].encoded, buf_len(&b));
		assert_int_equal(base64_decode(str_of(vectors[i].encoded), &b, &e), 0);
		assert_int_equal(
			buf_len(&b), strlen(vectors[i].encoded) + strlen(vectors[i].plain));
		assert_memory_equal((char *)buf_data(&b) + strlen(vectors[i].encoded),
			vectors[i].plain, strlen(vectors[i].plain));
		buf_fini(&b);
	}
}

static void what_is_not_base64_adds_nothing(void **state)
{
	static const char *const bad[] = {
		"Z", "A===", "Zg", "Zg=", "Z===", "Zg==Zg==", "Zm9v!", "Zm 9v=", "=Zg"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf b = {0};
		struct err e = {0};

		print_message("row %zu\n", i);
		assert_int_equal(buf_add(&b, "kept", 4), 0);
		assert_int_equal(base64_decode(str_of(bad[i]), &b, &e), -1);
		assert_ptr_equal(e.kind, &ERR_BAD_BODY);
		assert_int_equal(buf_len(&b), 4);
		buf_fini(&b);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_vectors_of_the_rfc_go_both_ways),
		cmocka_unit_test(what_is_not_base64_adds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
