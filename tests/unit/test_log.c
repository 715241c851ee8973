/* log: lines as a reader of the pipe sees them. */
#include "boxd/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boxd/clock.h"
#include "boxd/limits.h"

#define NOW 1795179900123 /* 2026-11-20T13:05:00.123Z */

static int log_pipe[2];
static char text[200000];

static int setup(void **state)
{
	(void)state;
	if (pipe2(log_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	log_set_fd(log_pipe[1]);
	log_set_level(LOG_LEVEL_INFO);
	clock_fake(1000000000, NOW);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	log_set_fd(STDERR_FILENO);
	clock_fake(-1, -1);
	close(log_pipe[0]);
	close(log_pipe[1]);
	return 0;
}

/* What is in the pipe now, as text. */
static const char *written(void)
{
	size_t used = 0;
	ssize_t n;

	while ((n = read(log_pipe[0], text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	assert_true(n < 0 && errno == EAGAIN);
	text[used] = '\0';
	return text;
}

static size_t count_of(const char *haystack, const char *needle)
{
	size_t n = 0;

	while ((haystack = strstr(haystack, needle)) != NULL) {
		haystack += strlen(needle);
		n++;
	}
	return n;
}

static void a_line_has_time_level_module_and_text(void **state)
{
	(void)state;
	log_info("proc", "exit id=%s status=%d", "ab12", 3);
	assert_string_equal(
		written(), "2026-11-20T13:05:00.123Z info proc exit id=ab12 status=3\n");
	log_error("net", "x");
	log_warn("net", "y");
	assert_string_equal(written(), "2026-11-20T13:05:00.123Z error net x\n"
				       "2026-11-20T13:05:00.123Z warn net y\n");
}

static void a_level_shows_itself_and_what_is_worse(void **state)
{
	(void)state;
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
		log_set_level((enum log_level)level);
		log_error("t", "1");
		log_warn("t", "2");
		log_info("t", "3");
		log_debug("t", "4");
		assert_int_equal(count_of(written(), "\n"), level + 1);
	}
}

static void levels_have_names(void **state)
{
	enum log_level level = LOG_LEVEL_INFO;

	(void)state;
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		assert_true(log_level_parse(log_level_name((enum log_level)i), &level));
		assert_int_equal(level, i);
	}
	assert_true(log_level_parse("WARN", &level));
	assert_int_equal(level, LOG_LEVEL_WARN);
	assert_false(log_level_parse("", &level));
	assert_false(log_level_parse("infos", &level));
	assert_false(log_level_parse("6", &level));
	assert_int_equal(level, LOG_LEVEL_WARN);
}

static void escaping_leaves_nothing_that_acts(void **state)
{
	static const struct {
		const char *data;
		size_t n;
		const char *out;
	} rows[] = {
		{"plain text 123", 14, "plain text 123"},
		{"a\r\nb", 4, "a\\x0d\\x0ab"},
		{"\x1b[31m", 5, "\\x1b[31m"},
		{"a\0b", 3, "a\\x00b"},
		{"\"'\\", 3, "\\x22\\x27\\x5c"},
		{"\x7f\x80\xff", 3, "\\x7f\\x80\\xff"},
		{"\xc2\x9b", 2, "\\xc2\\x9b"},
		{"", 0, ""},
		{NULL, 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char out[64];

		assert_string_equal(
			log_escape(out, sizeof(out), rows[i].data, rows[i].n), rows[i].out);
	}
}

static void escaping_cuts_between_escapes(void **state)
{
	(void)state;
	for (size_t cap = 1; cap <= 16; cap++) {
		char *out = malloc(cap);
		size_t n;

		assert_non_null(out);
		log_escape(out, cap, "ab\n\nc", 5);
		n = strlen(out);
		assert_memory_equal("ab\\x0a\\x0ac", out, n);
		assert_true(n == 0 || n == 1 || n == 2 || n == 6 || n == 10 || n == 11);
		assert_true(n < cap);
		free(out);
	}
}

static void a_forgotten_escape_cannot_forge_a_line(void **state)
{
	const char *line;

	(void)state;
	log_info("http", "path=%s", "/a\r\n2026-11-20T13:05:00.123Z error auth \x1b[2J\x7f");
	line = written();
	assert_int_equal(count_of(line, "\n"), 1);
	assert_null(strchr(line, '\r'));
	assert_null(strchr(line, '\x1b'));
	assert_null(strchr(line, '\x7f'));
}

static void a_line_that_is_too_long_is_cut_visibly(void **state)
{
	char *big = malloc(10001);
	const char *line;

	(void)state;
	assert_non_null(big);
	memset(big, 'x', 10000);
	big[10000] = '\0';
	log_info("t", "%s", big);
	line = written();
	assert_int_equal(strlen(line), 2048);
	assert_string_equal(line + 2048 - 5, "x...\n");
	free(big);
}

static void repeat(int times)
{
	for (int i = 0; i < times; i++)
		log_info("t", "again");
}

static void one_place_writes_a_bounded_number_of_lines_per_second(void **state)
{
	int burst = (int)limit(LIMIT_LOG_BURST);
	const char *lines;

	(void)state;
	repeat(burst);
	assert_int_equal(count_of(written(), "\n"), burst);
	repeat(1000);
	log_info("t", "another place");
	assert_string_equal(written(), "2026-11-20T13:05:00.123Z info t another place\n");

	clock_fake(1001000000, NOW);
	repeat(2);
	lines = written();
	assert_int_equal(count_of(lines, "\n"), 3);
	assert_non_null(strstr(lines, "info t suppressed 1000 lines"));
	assert_int_equal(count_of(lines, "again"), 2);

	clock_fake(1002000000, NOW);
	repeat(burst + 1);
	lines = written();
	assert_int_equal(count_of(lines, "again"), burst);
	assert_null(strstr(lines, "suppressed"));
}

static void logging_keeps_errno(void **state)
{
	int read_only;

	(void)state;
	errno = ENOTTY;
	log_info("t", "x");
	assert_int_equal(errno, ENOTTY);
	read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(read_only >= 0);
	log_set_fd(read_only);
	errno = ENOTTY;
	log_info("t", "x");
	assert_int_equal(errno, ENOTTY);
	close(read_only);
}

/* The pipe is full and blocking: a line must be dropped, and said later. */
static void a_log_that_nobody_reads_costs_lines_and_not_time(void **state)
{
	char fill[4096];
	const char *lines;

	(void)state;
	memset(fill, '.', sizeof(fill));
	while (write(log_pipe[1], fill, sizeof(fill)) > 0)
		;
	assert_int_equal(fcntl(log_pipe[1], F_SETFL, 0), 0);
	log_info("t", "lost");
	log_info("t", "lost");
	assert_null(strstr(written(), "lost"));
	log_info("t", "back");
	lines = written();
	assert_non_null(strstr(lines, "warn log dropped 2 lines"));
	assert_non_null(strstr(lines, "info t back"));
	log_info("t", "again");
	assert_null(strstr(written(), "dropped"));
}

static void *chatter(void *arg)
{
	for (int i = 0; i < 200; i++)
		log_info("t", "%s", (const char *)arg);
	return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
	char words[4][101];
	pthread_t threads[4];
	size_t lines = 0;
	char *line, *save = NULL;

	(void)state;
	assert_true(limit_set(LIMIT_LOG_BURST, 10000));
	assert_true(fcntl(log_pipe[1], F_SETPIPE_SZ, 262144) > 0);
	for (size_t i = 0; i < 4; i++) {
		memset(words[i], (char)('a' + i), 100);
		words[i][100] = '\0';
		assert_int_equal(pthread_create(&threads[i], NULL, chatter, words[i]), 0);
	}
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	(void)written();
	for (line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		const char *word = strrchr(line, ' ') + 1;

		assert_int_equal(strlen(line), strlen("2026-11-20T13:05:00.123Z info t ") + 100);
		assert_in_range(word[0], 'a', 'd');
		assert_string_equal(word, words[word[0] - 'a']);
		lines++;
	}
	assert_int_equal(lines, 800);
	assert_true(limit_set(LIMIT_LOG_BURST, limit_rows[LIMIT_LOG_BURST].def));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_line_has_time_level_module_and_text, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_level_shows_itself_and_what_is_worse, setup, teardown),
		cmocka_unit_test(levels_have_names),
		cmocka_unit_test(escaping_leaves_nothing_that_acts),
		cmocka_unit_test(escaping_cuts_between_escapes),
		cmocka_unit_test_setup_teardown(
			a_forgotten_escape_cannot_forge_a_line, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_line_that_is_too_long_is_cut_visibly, setup, teardown),
		cmocka_unit_test_setup_teardown(
			one_place_writes_a_bounded_number_of_lines_per_second, setup, teardown),
		/* Before the one that leaves a dropped line uncounted. */
		cmocka_unit_test_setup_teardown(
			a_log_that_nobody_reads_costs_lines_and_not_time, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_do_not_mix_their_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(logging_keeps_errno, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
