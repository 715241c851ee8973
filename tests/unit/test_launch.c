/* From what a client asked for to a plan: what proc's tests do not reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boxd/launch.h"
#include "boxd/log.h"

static char *const env[] = {"PATH=/usr/bin:/bin", "HOME=/home/daemon", "TERM=dumb", NULL};
static const struct launch_config config = {.default_cwd = "/usr", .environ = env};

static void refused(const struct launch_spec *spec, const char *message)
{
	struct launch l;
	struct err e = {0};

	assert_int_equal(launch_prepare(&l, &config, spec, &e), -1);
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	assert_string_equal(e.msg, message);
	launch_fini(&l);
}

static void a_user_is_found_by_name_and_by_number(void **state)
{
	static const struct {
		const char *user, *home;
		uid_t uid;
	} rows[] = {{"root", "/root", 0}, {"0", "/root", 0}, {"daemon", "/usr/sbin", 1},
		{"54321", "/", 54321}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct launch_spec spec = {.user = rows[i].user};
		struct launch l;
		struct err e = {0};

		print_message("%s\n", rows[i].user);
		assert_int_equal(launch_prepare(&l, &config, &spec, &e), 0);
		assert_true(l.as_user);
		assert_int_equal(l.plan.uid, rows[i].uid);
		if (rows[i].uid != geteuid())
			assert_string_equal(environ_get(l.env, "HOME"), rows[i].home);
		launch_fini(&l);
	}
}

static void a_user_that_makes_no_sense_is_refused(void **state)
{
	struct launch_spec unknown = {.user = "nobody-like-this"}, empty = {.user = ""};
	struct launch_spec highest = {.user = "4294967295"};
	struct launch_spec both = {.user = "root", .set_uid = true};
	struct launch_spec gid = {.set_gid = true, .gid = 5};

	(void)state;
	refused(&unknown, "no such user: nobody-like-this");
	refused(&empty, "no such user: ");
	refused(&highest, "no such user: 4294967295");
	refused(&both, "give user or uid, not both");
	refused(&gid, "gid needs a uid");
}

static void a_gid_goes_with_a_user(void **state)
{
	struct launch_spec spec = {.user = "54321", .set_gid = true, .gid = 777};
	struct launch l;
	struct err e = {0};

	(void)state;
	assert_int_equal(launch_prepare(&l, &config, &spec, &e), 0);
	assert_int_equal(l.plan.gid, 777);
	assert_int_equal(l.plan.ngroups, 1);
	assert_int_equal(l.plan.groups[0], 777);
	launch_fini(&l);
}

static void defaults_do_not_replace_what_is_there(void **state)
{
	struct launch_var mine = {"LINES", "5"};
	struct launch_spec spec = {.envs = &mine, .nenvs = 1};
	struct launch l;
	struct err e = {0};

	(void)state;
	assert_int_equal(launch_prepare(&l, &config, &spec, &e), 0);
	assert_int_equal(launch_default_env(&l, "TERM", "xterm"), 0);
	assert_int_equal(launch_default_env(&l, "LINES", "24"), 0);
	assert_int_equal(launch_default_env(&l, "COLUMNS", "80"), 0);
	assert_string_equal(environ_get(l.env, "TERM"), "dumb");
	assert_string_equal(environ_get(l.env, "LINES"), "5");
	assert_string_equal(environ_get(l.env, "COLUMNS"), "80");
	launch_fini(&l);
}

static void a_program_is_looked_for_until_it_is_found(void **state)
{
	static const char *argv[] = {"sh", NULL, NULL};
	struct launch_spec spec = {0};
	struct launch l;
	struct err e = {0};

	(void)state;
	assert_int_equal(launch_prepare(&l, &config, &spec, &e), 0);
	assert_false(launch_program(&l, "no-such-program", (char *const *)(uintptr_t)argv));
	assert_null(l.program);
	assert_true(launch_program(&l, "sh", (char *const *)(uintptr_t)argv));
	assert_non_null(l.plan.envp);
	assert_string_equal(l.plan.path, l.program);
	assert_true(launch_shell(&l, "/bin/sh", argv));
	assert_string_equal(argv[0], "sh");
	assert_string_equal(l.plan.path, "/bin/sh");
	assert_string_equal(l.plan.cwd, "/usr");
	launch_fini(&l);
}

static void pipes_are_right_for_both_sides(void **state)
{
	struct launch_spec spec = {0};
	struct launch l;
	struct err e = {0};
	char c = 'x';

	(void)state;
	assert_int_equal(launch_prepare(&l, &config, &spec, &e), 0);
	for (int read_end = 0; read_end < 2; read_end++) {
		int ours = -1, theirs = -1;

		assert_int_equal(launch_pipe(&l, read_end, &ours, &theirs), 0);
		assert_true(theirs > 2);
		assert_true(fcntl(ours, F_GETFL) & O_NONBLOCK);
		assert_false(fcntl(theirs, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(ours, F_GETFD) & FD_CLOEXEC);
		assert_true(fcntl(theirs, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(write(read_end ? theirs : ours, "y", 1), 1);
		assert_int_equal(read(read_end ? ours : theirs, &c, 1), 1);
		assert_int_equal(c, 'y');
		close(ours);
		close(theirs);
	}
	launch_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_user_is_found_by_name_and_by_number),
		cmocka_unit_test(a_user_that_makes_no_sense_is_refused),
		cmocka_unit_test(a_gid_goes_with_a_user),
		cmocka_unit_test(defaults_do_not_replace_what_is_there),
		cmocka_unit_test(a_program_is_looked_for_until_it_is_found),
		cmocka_unit_test(pipes_are_right_for_both_sides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
