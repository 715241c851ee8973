/* err: what a client may read, and what the log keeps. */
#include "boxd/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void setting_an_error_keeps_its_kind_and_text(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_set(&e, &ERR_NO_COMMAND, "no command %d", 7), -1);
	assert_ptr_equal(e.kind, &ERR_NO_COMMAND);
	assert_int_equal(e.kind->status, 404);
	assert_string_equal(e.kind->code, "COMMAND_NOT_FOUND");
	assert_string_equal(e.msg, "no command 7");
	assert_int_equal(e.sys, 0);
}

static void a_system_error_keeps_errno_and_says_it_in_words(void **state)
{
	struct err e = {0};

	(void)state;
	errno = ENOENT;
	assert_int_equal(err_sys(&e, &ERR_RUNTIME, "open"), -1);
	assert_int_equal(e.sys, ENOENT);
	assert_string_equal(e.msg, "open: No such file or directory");
}

static void wrapping_puts_the_context_first_and_keeps_the_cause(void **state)
{
	struct err e = {0};

	(void)state;
	errno = EACCES;
	err_sys(&e, &ERR_RUNTIME, "open");
	assert_int_equal(err_wrap(&e, "start %s", "pty"), -1);
	assert_string_equal(e.msg, "start pty: open: Permission denied");
	assert_ptr_equal(e.kind, &ERR_RUNTIME);
	assert_int_equal(e.sys, EACCES);
}

static void a_text_that_fits_exactly_is_not_cut(void **state)
{
	char text[ERR_MSG_MAX + 8];
	struct err e = {0};

	(void)state;
	memset(text, 'x', sizeof(text));
	text[ERR_MSG_MAX - 1] = '\0';
	err_set(&e, &ERR_RUNTIME, "%s", text);
	assert_string_equal(e.msg, text);
}

static void a_text_that_is_too_long_ends_in_dots(void **state)
{
	char text[ERR_MSG_MAX + 8];
	struct err e = {0};

	(void)state;
	memset(text, 'x', sizeof(text));
	text[ERR_MSG_MAX] = '\0';
	err_set(&e, &ERR_RUNTIME, "%s", text);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	assert_string_equal(e.msg + ERR_MSG_MAX - 5, "x...");

	/* Also when the cut comes from what is appended. */
	memset(&e, 0, sizeof(e));
	text[ERR_MSG_MAX - 3] = '\0';
	errno = ENOENT;
	err_sys(&e, &ERR_RUNTIME, "%s", text);
	assert_string_equal(e.msg + strlen(e.msg) - 4, "x...");
	err_wrap(&e, "more");
	assert_memory_equal(e.msg, "more: x", 7);
	assert_string_equal(e.msg + strlen(e.msg) - 4, "x...");
}

static void a_cut_never_leaves_half_a_character(void **state)
{
	(void)state;
	for (size_t shift = 0; shift < 4; shift++) {
		char text[ERR_MSG_MAX + 16];
		struct err e = {0};
		size_t n = shift;

		memset(text, 'x', shift);
		while (n + 4 < sizeof(text)) {
			memcpy(text + n, "\xf0\x9f\x98\x80", 4);
			n += 4;
		}
		text[n] = '\0';
		err_set(&e, &ERR_RUNTIME, "%s", text);
		n = strlen(e.msg) - 3;
		assert_string_equal(e.msg + n, "...");
		assert_int_equal((n - shift) % 4, 0);
	}
}

static void every_kind_has_an_error_status_and_a_code_of_its_own(void **state)
{
	static const struct err_kind *const kinds[] = {
#define KIND(id, status, code) &ERR_##id,
		ERR_KINDS(KIND)
#undef KIND
	};
	size_t n = sizeof(kinds) / sizeof(*kinds);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		assert_in_range(kinds[i]->status, 400, 599);
		/* A wrong type of file has the code of a bad body, as the reference has it. */
		for (size_t j = 0; j < i && kinds[i] != &ERR_WRONG_TYPE; j++)
			assert_string_not_equal(kinds[i]->code, kinds[j]->code);
	}
}

static void an_errno_of_a_file_operation_has_its_kind(void **state)
{
	static const struct {
		int errnum;
		const struct err_kind *kind;
	} cases[] = {
		{ENOENT, &ERR_NO_FILE},
		{ENOTDIR, &ERR_NO_FILE},
		{EACCES, &ERR_PERMISSION},
		{EPERM, &ERR_PERMISSION},
		{EROFS, &ERR_READ_ONLY},
		{EEXIST, &ERR_EXISTS},
		{ENOTEMPTY, &ERR_NOT_EMPTY},
		{EISDIR, &ERR_WRONG_TYPE},
		{ENXIO, &ERR_WRONG_TYPE},
		{ELOOP, &ERR_BAD_PATH},
		{ENAMETOOLONG, &ERR_BAD_PATH},
		{ENOSPC, &ERR_NO_SPACE},
		{EDQUOT, &ERR_NO_SPACE},
		{EFBIG, &ERR_NO_SPACE},
		{EMFILE, &ERR_UNAVAILABLE},
		{ENOMEM, &ERR_UNAVAILABLE},
		{EIO, &ERR_RUNTIME},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err e = {0};

		errno = cases[i].errnum;
		assert_int_equal(err_file(&e, "open %s", "x"), -1);
		if (e.kind != cases[i].kind)
			fail_msg("errno %d is told as %s", cases[i].errnum, e.kind->code);
		assert_int_equal(e.sys, cases[i].errnum);
		assert_non_null(strstr(e.msg, "open x: "));
	}
}

static void text_for_an_unknown_errno_is_never_null(void **state)
{
	(void)state;
	assert_non_null(err_strerror(-1));
	assert_non_null(err_strerror(99999));
}

static void setting_an_error_twice_is_a_bug_that_aborts(void **state)
{
#ifdef NDEBUG
	(void)state;
	skip();
#else
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		struct err e = {0};
		struct rlimit none = {0};

		setrlimit(RLIMIT_CORE, &none);
		close(STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		err_set(&e, &ERR_RUNTIME, "first");
		err_set(&e, &ERR_RUNTIME, "second");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(setting_an_error_keeps_its_kind_and_text),
		cmocka_unit_test(a_system_error_keeps_errno_and_says_it_in_words),
		cmocka_unit_test(wrapping_puts_the_context_first_and_keeps_the_cause),
		cmocka_unit_test(a_text_that_fits_exactly_is_not_cut),
		cmocka_unit_test(a_text_that_is_too_long_ends_in_dots),
		cmocka_unit_test(a_cut_never_leaves_half_a_character),
		cmocka_unit_test(every_kind_has_an_error_status_and_a_code_of_its_own),
		cmocka_unit_test(an_errno_of_a_file_operation_has_its_kind),
		cmocka_unit_test(text_for_an_unknown_errno_is_never_null),
		cmocka_unit_test(setting_an_error_twice_is_a_bug_that_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
