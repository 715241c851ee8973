/* pty_control: what clients may say to a terminal, row by row (contract 3.4). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/api/execd/pty_internal.h"
#include "boxd/json.h"
#include "boxd/limits.h"

/* In memory of exactly its size, so that a sanitizer sees a read behind it. */
static struct pty_control parse(const char *text, size_t n)
{
	uint8_t *exact = malloc(n + (n == 0));
	struct pty_control c;

	assert_non_null(exact);
	memcpy(exact, text, n);
	pty_control_parse(exact, n, &c);
	free(exact);
	return c;
}

static const struct row {
	const char *text;
	enum pty_control_kind kind;
} rows[] = {
	{"{\"type\":\"ping\"}", PTY_CONTROL_PING},
	{" {\"type\" : \"ping\" , \"more\" : [1,{}] } \n", PTY_CONTROL_PING},
	{"{\"TYPE\":\"ping\"}", PTY_CONTROL_PING},
	{"{\"type\":\"pong\",\"type\":\"ping\"}", PTY_CONTROL_PING},
	{"{\"type\":\"\\u0070ing\"}", PTY_CONTROL_PING},
	{"{\"type\":\"eof\"}", PTY_CONTROL_EOF},
	/* types that there are not */
	{"{}", PTY_CONTROL_UNKNOWN},
	{"{\"type\":\"\"}", PTY_CONTROL_UNKNOWN},
	{"{\"type\":\"Ping\"}", PTY_CONTROL_UNKNOWN},
	{"{\"type\":\"ping \"}", PTY_CONTROL_UNKNOWN},
	{"{\"type\":\"pin\"}", PTY_CONTROL_UNKNOWN},
	{"{\"type\":null}", PTY_CONTROL_UNKNOWN},
	{"{\"type\":1}", PTY_CONTROL_UNKNOWN},
	{"{\"type\":[\"ping\"]}", PTY_CONTROL_UNKNOWN},
	{"{\"type\":\"connected\"}", PTY_CONTROL_UNKNOWN},
	{"{\"data\":\"x\"}", PTY_CONTROL_UNKNOWN},
	/* no message at all */
	{"", PTY_CONTROL_NOTHING},
	{" ", PTY_CONTROL_NOTHING},
	{"ping", PTY_CONTROL_NOTHING},
	{"\"ping\"", PTY_CONTROL_NOTHING},
	{"[]", PTY_CONTROL_NOTHING},
	{"null", PTY_CONTROL_NOTHING},
	{"7", PTY_CONTROL_NOTHING},
	{"{", PTY_CONTROL_NOTHING},
	{"{\"type\":\"ping\"", PTY_CONTROL_NOTHING},
	{"{\"type\":\"ping\",}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"pi\\u0000ng\"}", PTY_CONTROL_NOTHING},
	/* values that are to be ignored */
	{"{\"type\":\"stdin\"}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"stdin\",\"data\":null}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"stdin\",\"data\":5}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"stdin\",\"data\":[\"x\"]}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"signal\"}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"signal\",\"signal\":2}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"signal\",\"signal\":\"\"}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"signal\",\"signal\":\"SIG\"}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"signal\",\"signal\":\"SIGSTOP\"}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\"}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":80}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"rows\":24}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":0,\"rows\":24}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":80,\"rows\":0}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":-1,\"rows\":24}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":80,\"rows\":-24}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":\"80\",\"rows\":24}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":80.5,\"rows\":24}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":1e300,\"rows\":24}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":65536,\"rows\":24}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":80,\"rows\":131072}", PTY_CONTROL_NOTHING},
	{"{\"type\":\"resize\",\"cols\":2147483648,\"rows\":24}", PTY_CONTROL_NOTHING},
};

static void a_message_is_of_the_kind_its_row_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pty_control c = parse(rows[i].text, strlen(rows[i].text));

		if (c.kind != rows[i].kind)
			print_error("%s: %d, expected %d\n", rows[i].text, (int)c.kind,
				(int)rows[i].kind);
		assert_int_equal(c.kind, rows[i].kind);
		assert_int_equal(c.signo, 0);
		pty_control_fini(&c);
	}
}

static void input_comes_as_it_was_said(void **state)
{
	static const struct {
		const char *text, *data;
	} in[] = {
		{"{\"type\":\"stdin\",\"data\":\"ls\\n\"}", "ls\n"},
		{"{\"type\":\"stdin\",\"data\":\"\"}", ""},
		{"{\"data\":\"\\u0003\\u20ac\\ud83d\\ude00\",\"type\":\"stdin\"}",
			"\003\xe2\x82\xac\xf0\x9f\x98\x80"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		struct pty_control c = parse(in[i].text, strlen(in[i].text));

		assert_int_equal(c.kind, PTY_CONTROL_STDIN);
		assert_string_equal(c.data, in[i].data);
		pty_control_fini(&c);
	}
}

static void a_size_is_cut_to_sixteen_bits(void **state)
{
	static const struct {
		long cols, rows;
		uint16_t want_cols, want_rows;
	} in[] = {
		{1, 1, 1, 1},
		{120, 40, 120, 40},
		{65535, 65535, 65535, 65535},
		{65537, 131073, 1, 1},
		{70000, 24, 4464, 24},
		{2147483647, 2147483647, 65535, 65535},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		char text[128];
		struct pty_control c;

		snprintf(text, sizeof(text), "{\"type\":\"resize\",\"cols\":%ld,\"rows\":%ld}",
			in[i].cols, in[i].rows);
		c = parse(text, strlen(text));
		if (c.cols != in[i].want_cols || c.rows != in[i].want_rows)
			print_error("%s: %u %u\n", text, c.cols, c.rows);
		assert_int_equal(c.kind, PTY_CONTROL_RESIZE);
		assert_int_equal(c.cols, in[i].want_cols);
		assert_int_equal(c.rows, in[i].want_rows);
		pty_control_fini(&c);
	}
}

static const struct {
	const char *name;
	int signo;
} names[] = {
	{"INT", SIGINT},
	{"TERM", SIGTERM},
	{"KILL", SIGKILL},
	{"QUIT", SIGQUIT},
	{"HUP", SIGHUP},
	{"TSTP", SIGTSTP},
	{"CONT", SIGCONT},
	{"USR1", SIGUSR1},
	{"USR2", SIGUSR2},
	{"WINCH", SIGWINCH},
	{"", 0},
	{"SIGINT", 0},
	{"int", 0},
	{"INT ", 0},
	{" INT", 0},
	{"2", 0},
	{"STOP", 0},
	{"SEGV", 0},
	{"CHLD", 0},
	{"PIPE", 0},
	{"RTMIN", 0},
};

static void signals_have_names_with_and_without_their_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char name[32], text[96];
		struct pty_control c;

		snprintf(name, sizeof(name), "SIG%s", names[i].name);
		if (pty_control_signal(name) != names[i].signo)
			print_error("%s: %d\n", name, pty_control_signal(name));
		assert_int_equal(pty_control_signal(name), names[i].signo);
		snprintf(text, sizeof(text), "{\"type\":\"signal\",\"signal\":\"%s\"}", name);
		c = parse(text, strlen(text));
		assert_int_equal(
			c.kind, names[i].signo != 0 ? PTY_CONTROL_SIGNAL : PTY_CONTROL_NOTHING);
		assert_int_equal(c.signo, names[i].signo);
		pty_control_fini(&c);
		if (names[i].signo != 0)
			assert_int_equal(pty_control_signal(names[i].name), names[i].signo);
	}
	assert_int_equal(pty_control_signal("2"), 0);
	assert_int_equal(pty_control_signal(""), 0);
}

/* A message that is cut anywhere is none. */
static void no_part_of_a_message_is_one(void **state)
{
	static const char text[] = "{\"type\":\"resize\",\"cols\":120,\"rows\":40}";

	(void)state;
	for (size_t n = 0; n < strlen(text); n++) {
		struct pty_control c = parse(text, n);

		assert_int_equal(c.kind, PTY_CONTROL_NOTHING);
		pty_control_fini(&c);
	}
}

static void what_is_nested_too_deep_is_no_message(void **state)
{
	size_t depth = limit_size(LIMIT_JSON_DEPTH), n = 0;
	char text[2048];

	(void)state;
	assert_true(depth * 2 + 64 < sizeof(text));
	for (size_t over = 0; over < 2; over++) {
		size_t arrays = depth - 1 + over;
		struct pty_control c;

		n = (size_t)snprintf(text, sizeof(text), "{\"type\":\"ping\",\"x\":");
		memset(text + n, '[', arrays);
		memset(text + n + arrays, ']', arrays);
		n += 2 * arrays;
		text[n++] = '}';
		c = parse(text, n);
		assert_int_equal(c.kind, over ? PTY_CONTROL_NOTHING : PTY_CONTROL_PING);
		pty_control_fini(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_of_the_kind_its_row_says),
		cmocka_unit_test(input_comes_as_it_was_said),
		cmocka_unit_test(a_size_is_cut_to_sixteen_bits),
		cmocka_unit_test(signals_have_names_with_and_without_their_prefix),
		cmocka_unit_test(no_part_of_a_message_is_one),
		cmocka_unit_test(what_is_nested_too_deep_is_no_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
