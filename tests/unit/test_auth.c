/* The token and the browser checks, as tables of requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "boxd/auth.h"

static struct str field(const char *s)
{
	return s == NULL ? (struct str){NULL, 0} : str_of(s);
}

/* ---- token ---- */

static void takes_the_token_in_either_header(void **state)
{
	static const struct {
		const char *access, *authorization;
		bool ok;
	} rows[] = {
		{NULL, NULL, false},
		{"s3cret", NULL, true},
		{NULL, "Bearer s3cret", true},
		{NULL, "bearer  s3cret", true},
		{"s3cret", "Basic Zm9vOmJhcg==", true},
		{"wrong", "Bearer s3cret", true},
		{"s3cret", "Bearer wrong", true},
		{"s3cre", NULL, false},
		{"s3crets", NULL, false},
		{"S3CRET", NULL, false},
		{"s3creT", NULL, false},
		{" s3cret", NULL, false},
		{"", NULL, false},
		{NULL, "", false},
		{NULL, "Bearer", false},
		{NULL, "Bearer ", false},
		{NULL, "Bearers3cret", false},
		{NULL, "Bearer s3cre", false},
		{NULL, "Basic s3cret", false},
		{NULL, "s3cret", false},
		{"Bearer s3cret", NULL, false},
	};
	struct auth_policy p = {.token = "s3cret"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct auth_request r = {.access_token = field(rows[i].access),
			.authorization = field(rows[i].authorization)};
		struct err e = {0};
		int got = auth_check_token(&p, &r, &e);

		if ((got == 0) != rows[i].ok)
			fail_msg("row %zu: got %d", i, got);
		if (!rows[i].ok)
			assert_ptr_equal(e.kind, &ERR_UNAUTHORIZED);
	}
}

static void asks_for_nothing_without_a_token(void **state)
{
	struct auth_policy p = {0};
	struct auth_request r = {.access_token = field("anything")};
	struct err e = {0};

	(void)state;
	assert_int_equal(auth_check_token(&p, &r, &e), 0);
}

static void an_empty_token_opens_nothing(void **state)
{
	struct auth_policy p = {.token = ""};
	struct auth_request r = {.access_token = field("")};
	struct err e = {0};

	(void)state;
	assert_int_equal(auth_check_token(&p, &r, &e), -1);
}

/* ---- tickets ---- */

static void only_what_a_browser_opens_without_headers_takes_a_ticket(void **state)
{
	static const struct {
		bool get;
		const char *path, *connection, *upgrade, *accept;
		bool ok;
	} rows[] = {
		{true, "/command", NULL, NULL, NULL, false},
		{true, "/command", NULL, NULL, "*/*", false},
		{true, "/command", NULL, NULL, "text/html, application/json", false},
		/* WebSocket */
		{true, "/pty/x/ws", "Upgrade", "websocket", NULL, true},
		{true, "/pty/x/ws", "keep-alive, upgrade", "WebSocket", NULL, true},
		{true, "/pty/x/ws", "Upgrade", "h2c, websocket", NULL, true},
		{true, "/pty/x/ws", "Upgrade", "websockets", NULL, false},
		{true, "/pty/x/ws", "Upgrade", "h2c", NULL, false},
		{true, "/pty/x/ws", "Upgrade", NULL, NULL, false},
		{true, "/pty/x/ws", "keep-alive", "websocket", NULL, false},
		{true, "/pty/x/ws", NULL, "websocket", NULL, false},
		{false, "/pty/x/ws", "Upgrade", "websocket", NULL, false},
		/* EventSource */
		{true, "/command/x/events", NULL, NULL, "text/event-stream", true},
		{true, "/command/x/events", NULL, NULL, "TEXT/Event-Stream;q=0.9, */*", true},
		{true, "/command/x/events", NULL, NULL, "text/event-streams", false},
		{true, "/command/x/events", NULL, NULL, "text/event", false},
		{false, "/command", NULL, NULL, "text/event-stream", false},
		/* the page */
		{true, "/terminal", NULL, NULL, NULL, true},
		{true, "/terminal/", NULL, NULL, "text/html", true},
		{true, "/terminal//", NULL, NULL, NULL, false},
		{true, "/terminals", NULL, NULL, NULL, false},
		{true, "/terminal/x", NULL, NULL, NULL, false},
		{true, "/x/terminal", NULL, NULL, NULL, false},
		{false, "/terminal", NULL, NULL, NULL, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct auth_ticket_request r = {.get = rows[i].get,
			.path = field(rows[i].path),
			.connection = field(rows[i].connection),
			.upgrade = field(rows[i].upgrade),
			.accept = field(rows[i].accept)};

		if (auth_takes_ticket(&r) != rows[i].ok)
			fail_msg("row %zu: %s", i, rows[i].path);
	}
}

/* ---- browser ---- */

struct browser_row {
	const char *host, *origin, *site;
	bool ok;
};

static void check_rows(
	const struct auth_policy *p, bool unix_socket, const struct browser_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct auth_request r = {.host = field(rows[i].host),
			.origin = field(rows[i].origin),
			.sec_fetch_site = field(rows[i].site),
			.unix_socket = unix_socket};
		struct err e = {0};
		int got = auth_check_browser(p, &r, &e);

		if ((got == 0) != rows[i].ok)
			fail_msg("row %zu (%s, %s, %s): got %d", i,
				rows[i].host ? rows[i].host : "-",
				rows[i].origin ? rows[i].origin : "-",
				rows[i].site ? rows[i].site : "-", got);
		if (!rows[i].ok)
			assert_ptr_equal(e.kind, &ERR_FORBIDDEN);
	}
}

#define CHECK(p, unix_socket, rows) \
	check_rows(&(p), unix_socket, rows, sizeof(rows) / sizeof((rows)[0]))

static void without_a_token_only_names_that_nobody_can_rebind(void **state)
{
	static const struct browser_row rows[] = {
		{NULL, NULL, NULL, true},
		{"127.0.0.1", NULL, NULL, true},
		{"127.0.0.1:44772", NULL, NULL, true},
		{"10.1.2.3:1", NULL, NULL, true},
		{"10.1.2.3:", NULL, NULL, true},
		{"[::1]", NULL, NULL, true},
		{"[::1]:44772", NULL, NULL, true},
		{"[2001:DB8::7]:80", NULL, NULL, true},
		{"localhost", NULL, NULL, true},
		{"LocalHost:44772", NULL, NULL, true},
		{"localhost.:44772", NULL, NULL, true},
		{"box.localhost:44772", NULL, NULL, true},
		{"a.b.LOCALHOST", NULL, NULL, true},
		{"good.example", NULL, NULL, true},
		{"Good.Example.:8080", NULL, NULL, true},
		{"strict.example:8443", NULL, NULL, true},
		{"[fd00::1]", NULL, NULL, true},
		{"", NULL, NULL, false},
		{"strict.example", NULL, NULL, false},
		{"strict.example:8444", NULL, NULL, false},
		{"sub.good.example", NULL, NULL, false},
		{"evil.example", NULL, NULL, false},
		{"evil.example:44772", NULL, NULL, false},
		{"localhost.evil.example", NULL, NULL, false},
		{"evillocalhost", NULL, NULL, false},
		{".localhost", NULL, NULL, false},
		{"127.0.0.1.evil.example", NULL, NULL, false},
		{"127.1", NULL, NULL, false},
		{"0x7f.0.0.1", NULL, NULL, false},
		{"256.0.0.1", NULL, NULL, false},
		{"localhost:http", NULL, NULL, false},
		{"localhost:65536", NULL, NULL, false},
		{"localhost:-1", NULL, NULL, false},
		{"localhost:80:80", NULL, NULL, false},
		{"evil.example/.localhost", NULL, NULL, false},
		{"evil.example#.localhost", NULL, NULL, false},
		{"me@localhost", NULL, NULL, false},
		{"localhost ", NULL, NULL, false},
		{"[::1", NULL, NULL, false},
		{"[::1]x", NULL, NULL, false},
		{"[::1%lo]", NULL, NULL, false},
		{"[localhost]", NULL, NULL, false},
		{"[127.0.0.1]", NULL, NULL, false},
		{"::1", NULL, NULL, false},
	};
	char *hosts[] = {"good.example", "strict.example:8443", "[fd00::1]", NULL};
	struct auth_policy p = {.allow_hosts = hosts};

	(void)state;
	CHECK(p, false, rows);
}

static void any_name_will_do_with_a_token_or_a_star_or_a_unix_socket(void **state)
{
	static const struct browser_row rows[] = {
		{"evil.example", NULL, NULL, true}, {"", NULL, NULL, true}};
	char *star[] = {"*", NULL};
	struct auth_policy token = {.token = "t"}, all = {.allow_hosts = star}, plain = {0};

	(void)state;
	CHECK(token, false, rows);
	CHECK(all, false, rows);
	CHECK(plain, true, rows);
}

static void refuses_pages_of_other_origins(void **state)
{
	static const struct browser_row rows[] = {
		{"127.0.0.1:44772", "http://127.0.0.1:44772", NULL, true},
		{"127.0.0.1:44772", "http://127.0.0.1:44772", "same-origin", true},
		{"localhost", "http://localhost", NULL, true},
		{"localhost", "http://LOCALHOST:80", NULL, true},
		{"box.example", "https://box.example", NULL, true}, /* behind a TLS proxy */
		{"box.example:443", "https://box.example", NULL, true},
		{"[::1]:1", "http://[::1]:1", NULL, true},
		{"127.0.0.1:44772", "https://app.example", NULL, true},
		{"127.0.0.1:44772", "HTTPS://App.Example:443", NULL, true},
		{"127.0.0.1:44772", "chrome-extension://abcdef", NULL, true},
		{"127.0.0.1:44772", NULL, "none", true},
		{"127.0.0.1:44772", NULL, "same-origin", true},
		{"127.0.0.1:44772", "https://app.example", "cross-site", true},
		{"127.0.0.1:44772", "null", NULL, false},
		{"127.0.0.1:44772", "", NULL, false},
		{"127.0.0.1:44772", "http://evil.example", NULL, false},
		{"127.0.0.1:44772", "http://127.0.0.1", NULL, false},
		{"127.0.0.1:44772", "http://127.0.0.1:44773", NULL, false},
		{"127.0.0.1:44772", "http://localhost:44772", NULL, false},
		{"127.0.0.1:44772", "http://evil.example@127.0.0.1:44772", NULL, false},
		{"127.0.0.1:44772", "http://127.0.0.1:44772/", NULL, false},
		{"127.0.0.1:44772", "http:127.0.0.1:44772", NULL, false},
		{"127.0.0.1:44772", "://127.0.0.1:44772", NULL, false},
		{"127.0.0.1:44772", "127.0.0.1:44772", NULL, false},
		{"127.0.0.1:44772", "http://app.example", NULL, false},
		{"127.0.0.1:44772", "https://app.example:444", NULL, false},
		{"127.0.0.1:44772", "https://app.example.evil.example", NULL, false},
		{"127.0.0.1:44772", "chrome-extension://abcdeg", NULL, false},
		{"x", "foo://x", NULL, false},
		{NULL, "http://127.0.0.1", NULL, false},
		{"127.0.0.1:44772", NULL, "cross-site", false},
		{"127.0.0.1:44772", NULL, "same-site", false},
		{"127.0.0.1:44772", NULL, "Cross-Site", false},
		{"127.0.0.1:44772", "http://127.0.0.1:44772", "cross-site", false},
		{"127.0.0.1:44772", "https://evil.example", "cross-site", false},
	};
	char *origins[] = {"https://app.example", "chrome-extension://abcdef", NULL};
	struct auth_policy token = {.token = "t", .allow_origins = origins};

	(void)state;
	CHECK(token, false, rows);
	CHECK(token, true, rows);
}

static void a_page_with_its_own_name_for_us_is_stopped_by_host(void **state)
{
	static const struct browser_row rows[] = {
		{"evil.example:44772", "http://evil.example:44772", "same-origin", false}};
	struct auth_policy p = {0};

	(void)state;
	CHECK(p, false, rows);
}

static void a_star_allows_every_origin(void **state)
{
	static const struct browser_row rows[] = {
		{"127.0.0.1", "null", NULL, true},
		{"127.0.0.1", "http://evil.example", "cross-site", true},
		{"127.0.0.1", NULL, "cross-site", true},
	};
	char *star[] = {"*", NULL};
	struct auth_policy p = {.allow_origins = star};

	(void)state;
	CHECK(p, false, rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_the_token_in_either_header),
		cmocka_unit_test(asks_for_nothing_without_a_token),
		cmocka_unit_test(an_empty_token_opens_nothing),
		cmocka_unit_test(only_what_a_browser_opens_without_headers_takes_a_ticket),
		cmocka_unit_test(without_a_token_only_names_that_nobody_can_rebind),
		cmocka_unit_test(any_name_will_do_with_a_token_or_a_star_or_a_unix_socket),
		cmocka_unit_test(refuses_pages_of_other_origins),
		cmocka_unit_test(a_page_with_its_own_name_for_us_is_stopped_by_host),
		cmocka_unit_test(a_star_allows_every_origin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
