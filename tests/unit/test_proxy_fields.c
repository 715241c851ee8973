/* proxy_fields: names, ports and addresses that the port proxy decides by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/api/execd/proxy_internal.h"

static void cuts_the_port_off_the_path(void **state)
{
	static const struct {
		const char *path;
		uint16_t port; /* 0: refused */
		const char *rest;
	} rows[] = {
		{"/proxy/80", 80, ""},
		{"/proxy/80/", 80, "/"},
		{"/proxy/1//a%2F", 1, "//a%2F"},
		{"/proxy/65535/x/y", 65535, "/x/y"},
		{"/proxy/00080/x", 80, "/x"},
		{"/proxy/000080/x", 0, ""},
		{"/proxy/0", 0, ""},
		{"/proxy/65536", 0, ""},
		{"/proxy/99999", 0, ""},
		{"/proxy/100000", 0, ""},
		{"/proxy/", 0, ""},
		{"/proxy//80", 0, ""},
		{"/proxy/8o/x", 0, ""},
		{"/proxy/-1", 0, ""},
		{"/proxy/+1", 0, ""},
		{"/proxy/ 1", 0, ""},
		{"/proxy/%38", 0, ""},
		{"/proxy/80;x/", 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint16_t port = 0;
		size_t rest = 0;
		bool good = proxy_split_path(str_of(rows[i].path), &port, &rest);

		if (good != (rows[i].port != 0) || port != rows[i].port ||
			(good && strcmp(rows[i].path + rest, rows[i].rest) != 0))
			fail_msg("%s: %d, port %u, rest at %zu", rows[i].path, good, port, rest);
	}
}

static void knows_what_is_between_neighbours(void **state)
{
	static const struct {
		const char *name;
		bool hop;
	} rows[] = {
		{"Connection", true},
		{"connection", true},
		{"Keep-Alive", true},
		{"TE", true},
		{"te", true},
		{"Trailer", true},
		{"Transfer-Encoding", true},
		{"Upgrade", true},
		{"Proxy-Connection", true},
		{"PROXY-AUTHENTICATE", true},
		{"proxy-x", true},
		{"X-Named", true},
		{"x-also", true},
		{"Proxy-", false},
		{"Proxy", false},
		{"X-Proxy-Y", false},
		{"Trailers", false},
		{"X-Name", false},
		{"X-Named2", false},
		{"Close", false},
		{"Content-Type", false},
	};
	struct proxy_options o = {.n = 0};

	(void)state;
	assert_true(proxy_options_add(&o, STR("close, X-NAMED ,, keep-alive")));
	assert_false(o.upgrade);
	assert_true(proxy_options_add(&o, STR(" X-Also, UPGRADE")));
	assert_true(o.upgrade);
	assert_int_equal(o.n, 2);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (proxy_is_hop(str_of(rows[i].name), &o) != rows[i].hop)
			fail_msg("%s", rows[i].name);
	}
}

static void bounds_the_names_of_connection(void **state)
{
	struct proxy_options o = {.n = 0};

	(void)state;
	for (int i = 0; i < PROXY_OPTIONS_MAX; i++)
		assert_true(proxy_options_add(&o, STR("close, a, upgrade")));
	assert_true(proxy_options_add(&o, STR("close, keep-alive, upgrade, ,")));
	assert_false(proxy_options_add(&o, STR("b")));
}

static void writes_who_asks(void **state)
{
	static const struct {
		const char *forwarded_for, *real_ip, *peer, *out;
	} rows[] = {
		{"", "", "127.0.0.1", "X-Forwarded-For: 127.0.0.1, 127.0.0.1\r\n"},
		{"10.0.0.1", "", "127.0.0.1", "X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\n"},
		{" , 10.0.0.1 , x", "r", "::1", "X-Forwarded-For: 10.0.0.1, ::1\r\n"},
		{"", "r", "::1", "X-Forwarded-For: r, ::1\r\n"},
		{",", "r", "::1", "X-Forwarded-For: r, ::1\r\n"},
		{"a", "r", "", "X-Forwarded-For: a\r\n"},
		{"", "r", "", "X-Forwarded-For: r\r\n"},
		{"", "", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = {0};

		assert_int_equal(proxy_put_forwarded_for(&b, str_of(rows[i].forwarded_for),
					 str_of(rows[i].real_ip), str_of(rows[i].peer)),
			0);
		if (buf_len(&b) != strlen(rows[i].out) ||
			(buf_len(&b) > 0 && memcmp(buf_data(&b), rows[i].out, buf_len(&b)) != 0))
			fail_msg("row %zu: %.*s", i, (int)buf_len(&b), (const char *)buf_data(&b));
		buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_the_port_off_the_path),
		cmocka_unit_test(knows_what_is_between_neighbours),
		cmocka_unit_test(bounds_the_names_of_connection),
		cmocka_unit_test(writes_who_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
