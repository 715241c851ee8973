/* Tickets: made to be used once, in time, for what they were made for. */
#include "boxd/ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "boxd/clock.h"
#include "boxd/limits.h"

static struct tickets *tickets;

static int setup(void **state)
{
	struct err e = {0};

	(void)state;
	clock_fake(1000000, 0);
	tickets = tickets_new(&e);
	return tickets == NULL;
}

static int teardown(void **state)
{
	(void)state;
	tickets_free(tickets);
	clock_fake(-1, -1);
	return !limit_set(LIMIT_TICKET_COUNT, limit_rows[LIMIT_TICKET_COUNT].def);
}

static void issue(const char *scope, char out[static TICKET_LEN + 1])
{
	struct err e = {0};

	assert_int_equal(tickets_issue(tickets, scope, out, &e), 0);
}

static bool redeem(const char *ticket, const char *path)
{
	return tickets_redeem(tickets, str_of(ticket), str_of(path));
}

static void a_ticket_is_good_once(void **state)
{
	char one[TICKET_LEN + 1], two[TICKET_LEN + 1];

	(void)state;
	issue(NULL, one);
	issue(NULL, two);
	assert_string_not_equal(one, two);
	assert_true(redeem(one, "/pty/x/ws"));
	assert_false(redeem(one, "/pty/x/ws"));
	assert_true(redeem(two, "/"));
	assert_false(redeem(two, "/"));
}

static void a_ticket_is_text_that_a_url_takes(void **state)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	bool seen[64] = {false}, seen_last[64] = {false};
	char text[TICKET_LEN + 1];

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		issue(NULL, text);
		assert_int_equal(strlen(text), TICKET_LEN);
		assert_int_equal(strspn(text, digits), TICKET_LEN);
		for (size_t k = 0; k < TICKET_LEN - 1; k++)
			seen[strchr(digits, text[k]) - digits] = true;
		seen_last[strchr(digits, text[TICKET_LEN - 1]) - digits] = true;
		assert_true(redeem(text, "/"));
	}
	/* Of 256 bits the last character carries four. */
	for (size_t i = 0; i < 64; i++) {
		assert_true(seen[i]);
		assert_int_equal(seen_last[i], i % 4 == 0);
	}
}

static void what_is_not_exactly_a_ticket_is_none(void **state)
{
	char text[TICKET_LEN + 2];

	(void)state;
	assert_false(redeem("", "/"));
	issue(NULL, text);
	text[TICKET_LEN + 1] = '\0';
	text[TICKET_LEN] = 'A';
	assert_false(redeem(text, "/"));
	text[TICKET_LEN] = '\0';
	assert_false(tickets_redeem(tickets, (struct str){text, TICKET_LEN - 1}, STR("/")));
	assert_false(tickets_redeem(tickets, (struct str){text + 1, TICKET_LEN - 1}, STR("/")));
	assert_false(tickets_redeem(tickets, (struct str){NULL, 0}, STR("/")));
	for (size_t i = 0; i < TICKET_LEN; i++) {
		text[i] ^= 1;
		assert_false(redeem(text, "/"));
		text[i] ^= 1;
	}
	assert_true(redeem(text, "/"));
}

static void a_scope_is_the_beginning_of_the_path(void **state)
{
	static const struct {
		const char *scope, *path;
		bool ok;
	} rows[] = {
		{NULL, "/", true},
		{"/", "/anything", true},
		{"/pty/", "/pty/x/ws", true},
		{"/pty/", "/pty/", true},
		{"/pty/", "/pty", false},
		{"/pty/", "/ptyx/x", false},
		{"/pty/", "/command/pty/", false},
		{"/pty/", "/%70ty/x/ws", false},
		{"/pty/", "/PTY/x", false},
		{"/pty/a/ws", "/pty/a/ws", true},
		{"/pty/a/ws", "/pty/b/ws", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[TICKET_LEN + 1];

		issue(rows[i].scope, text);
		if (redeem(text, rows[i].path) != rows[i].ok)
			fail_msg("row %zu: %s for %s", i, rows[i].scope, rows[i].path);
		/* One that was refused is still good for what it is for. */
		if (redeem(text, rows[i].scope != NULL ? rows[i].scope : "/") == rows[i].ok)
			fail_msg("row %zu: afterwards", i);
	}
}

static void a_ticket_lives_its_time(void **state)
{
	char early[TICKET_LEN + 1], late[TICKET_LEN + 1];
	int64_t life = limit(LIMIT_TICKET_MS);

	(void)state;
	issue(NULL, early);
	clock_fake((1000 + 10) * 1000, 0);
	issue(NULL, late);
	clock_fake((1000 + life) * 1000 - 1, 0);
	assert_true(redeem(early, "/"));
	issue(NULL, early);
	clock_fake((1000 + 10 + life) * 1000, 0);
	assert_false(redeem(late, "/"));
	assert_true(redeem(early, "/"));
}

static void the_table_is_bounded_by_tickets_that_live(void **state)
{
	char first[TICKET_LEN + 1], text[TICKET_LEN + 1];
	struct err e = {0};

	(void)state;
	assert_true(limit_set(LIMIT_TICKET_COUNT, 3));
	issue(NULL, first);
	issue(NULL, text);
	issue("/x", text);
	assert_int_equal(tickets_issue(tickets, NULL, text, &e), -1);
	assert_ptr_equal(e.kind, &ERR_TOO_MANY);
	/* One that is used makes room, and so does time. */
	assert_true(redeem(first, "/"));
	issue(NULL, text);
	e = (struct err){0};
	assert_int_equal(tickets_issue(tickets, NULL, first, &e), -1);
	clock_fake((1000 + limit(LIMIT_TICKET_MS)) * 1000, 0);
	for (size_t i = 0; i < 3; i++)
		issue(NULL, text);
	e = (struct err){0};
	assert_int_equal(tickets_issue(tickets, NULL, first, &e), -1);
	assert_true(redeem(text, "/"));
}

int main(void)
{
#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_TABLE(a_ticket_is_good_once),
		WITH_TABLE(a_ticket_is_text_that_a_url_takes),
		WITH_TABLE(what_is_not_exactly_a_ticket_is_none),
		WITH_TABLE(a_scope_is_the_beginning_of_the_path),
		WITH_TABLE(a_ticket_lives_its_time),
		WITH_TABLE(the_table_is_bounded_by_tickets_that_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
