/* Starting commands and reading what they write: real shells, a real loop. */
#include "proc_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct fixture fx;

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	fixture_start(&fx);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_end(&fx);
	return 0;
}

static struct proc *start(const struct proc_spec *spec)
{
	struct err e = {0};
	struct proc *p = proc_start(fx.procs, spec, &e);

	if (p == NULL)
		fail_msg("%s", e.msg);
	return p;
}

static void refused(const struct proc_spec *spec, const struct err_kind *kind, const char *part)
{
	size_t fds = count_fds(), running = procs_running(fx.procs);
	struct err e = {0};

	assert_null(proc_start(fx.procs, spec, &e));
	assert_ptr_equal(e.kind, kind);
	if (strstr(e.msg, part) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", part, e.msg);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(procs_running(fx.procs), running);
}

/* ---- ends ---- */

static void the_end_of_a_command_is_described(void **state)
{
	static const struct {
		const char *command;
		int code, signal;
		const char *text;
	} rows[] = {
		{":", 0, 0, ""},
		{"exit 3", 3, 0, "exit status 3"},
		{"exit 255", 255, 0, "exit status 255"},
		{"nonexistent_program_x 2>/dev/null", 127, 0, "exit status 127"},
		{"kill -KILL $$", -1, SIGKILL, "signal: killed"},
		{"kill -TERM $$", -1, SIGTERM, "signal: terminated"},
		{"kill -INT $$", -1, SIGINT, "signal: interrupt"},
		{"kill -HUP $$", -1, SIGHUP, "signal: hangup"},
		{"kill -PIPE $$", -1, SIGPIPE, "signal: broken pipe"},
		{"kill -VTALRM $$", -1, SIGVTALRM, "signal: signal 26"},
		{"sh -c 'kill -KILL $$'", 137, 0, "exit status 137"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct proc *p = fixture_sh(&fx, rows[i].command);
		char text[80];

		proc_describe(p, text, sizeof(text));
		assert_string_equal(text, "");
		assert_true(proc_running(p));
		assert_true(proc_pid(p) > 0);
		assert_null(proc_exit_record(p));
		assert_int_equal(proc_finished_ms(p), 0);
		fixture_wait_for(&fx, proc_is_over, p);
		proc_describe(p, text, sizeof(text));
		if (proc_exit_record(p)->code != rows[i].code ||
			proc_exit_record(p)->signal != rows[i].signal ||
			strcmp(text, rows[i].text) != 0)
			fail_msg("%s: %d %d %s", rows[i].command, proc_exit_record(p)->code,
				proc_exit_record(p)->signal, text);
		assert_false(proc_running(p));
		assert_int_equal(proc_pid(p), 0);
		assert_false(proc_exit_record(p)->timed_out);
		assert_false(proc_exit_record(p)->interrupted);
		assert_true(proc_finished_ms(p) >= proc_started_ms(p));
	}
}

static void a_crash_says_whether_core_was_dumped(void **state)
{
	struct proc *p = fixture_sh(&fx, "ulimit -c 0; kill -SEGV $$");
	char text[80];

	(void)state;
	fixture_wait_for(&fx, proc_is_over, p);
	proc_describe(p, text, sizeof(text));
	if (proc_exit_record(p)->core_dumped)
		assert_string_equal(text, "signal: segmentation fault (core dumped)");
	else
		assert_string_equal(text, "signal: segmentation fault");
	/* What does not fit is cut. */
	char small[10];
	proc_describe(p, small, sizeof(small));
	assert_string_equal(small, "signal: s");
}

static void the_record_has_times_and_memory(void **state)
{
	struct proc *p = fixture_sh(
		&fx, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.1");

	(void)state;
	assert_int_equal(llabs(proc_started_ms(p) - clock_real_ms()) < 5000, 1);
	fixture_wait_for(&fx, proc_is_over, p);
	const struct proc_exit *x = proc_exit_record(p);
	assert_in_range(x->wall_ms, 100, 15000);
	assert_in_range(x->user_ms + x->system_ms, 1, 15000);
	assert_true(x->max_rss_kib > 100);
}

/* ---- start ---- */

static void a_command_is_known_before_it_ends(void **state)
{
	struct proc *p = fixture_sh(&fx, "exit 1");

	(void)state;
	assert_int_equal(strlen(proc_id(p)), ID_LEN);
	assert_ptr_equal(proc_find(fx.procs, proc_id(p), ID_LEN), p);
	assert_null(proc_find(fx.procs, proc_id(p), ID_LEN - 1));
	assert_null(proc_find(fx.procs, "00000000000000000000000000000000", ID_LEN));
	assert_null(proc_find(fx.procs, "", 0));
	assert_string_equal(proc_command(p), "exit 1");
	assert_int_equal(procs_running(fx.procs), 1);
	fixture_wait_for(&fx, proc_is_over, p);
	assert_ptr_equal(proc_find(fx.procs, proc_id(p), ID_LEN), p);
	assert_int_equal(procs_running(fx.procs), 0);
	assert_int_equal(procs_finished(fx.procs), 1);
}

static void runs_an_argv_without_a_shell(void **state)
{
	const char *const argv[] = {"printf", "%s|", "a b", "$HOME", "", NULL};
	struct proc_spec spec = {.argv = argv};

	(void)state;
	fixture_expect(&fx, &spec, 0, "a b|$HOME||", "");
	struct proc *p = start(&spec);
	assert_string_equal(proc_command(p), "printf %s| a b $HOME ");
	fixture_wait_for(&fx, proc_is_over, p);
}

static void the_shell_is_bash_or_sh_or_the_one_asked_for(void **state)
{
	struct proc_spec any = {.command = "echo $0"};
	struct proc_spec sh = {.command = "echo $0", .shell = "sh"};
	struct proc_spec path = {.command = "echo $0", .shell = "/bin/sh"};
	const char *expected = access("/bin/bash", X_OK) == 0 ? "bash\n" : "sh\n";

	(void)state;
	fixture_expect(&fx, &any, 0, expected, "");
	fixture_expect(&fx, &sh, 0, "sh\n", "");
	fixture_expect(&fx, &path, 0, "sh\n", "");
}

static void the_shell_is_found_in_the_childs_path(void **state)
{
	struct launch_var path = {"PATH", "/nonexistent"};
	struct proc_spec spec = {.command = "echo hi", .launch.envs = &path, .launch.nenvs = 1};
	struct proc *p = start(&spec);

	(void)state;
	assert_string_equal(proc_start_error(p), "no shell: neither bash nor sh was found");
	spec.shell = "/bin/sh";
	fixture_expect(&fx, &spec, 0, "hi\n", "");
}

static void stdin_is_empty_and_output_pipes_block(void **state)
{
	struct proc_spec spec = {.shell = "/bin/sh",
		.command =
			"cat; echo $?; for fd in 1 2; do grep flags /proc/self/fdinfo/$fd; done"};
	struct capture c;
	struct proc *p = start(&spec);

	(void)state;
	capture_all(&c, &fx, p);
	const char *text = capture_text(&c, OUTHUB_STDOUT);
	assert_int_equal(strncmp(text, "0\n", 2), 0);
	/* O_NONBLOCK is 04000. */
	assert_null(strstr(text, "4001\n"));
	assert_non_null(strstr(text, "1\n"));
	capture_fini(&c);
}

static void children_get_three_descriptors_and_their_own_session(void **state)
{
	/* No shell: one may have descriptors of its own. The fourth is ls's, for the directory. */
	static const char *const ls[] = {"ls", "/proc/self/fd", NULL};
	struct proc_spec fds = {.argv = ls};
	struct proc_spec session = {.shell = "/bin/sh",
		.command = "read a b c d pg sid rest </proc/$$/stat; "
			   "[ $pg = $$ ] && [ $sid = $$ ] && echo leader"};

	(void)state;
	fixture_expect(&fx, &fds, 0, "0\n1\n2\n3\n", "");
	fixture_expect(&fx, &session, 0, "leader\n", "");
}

static void a_program_that_cannot_start_is_a_command_that_ended(void **state)
{
	static const char *const missing[] = {"nonexistent_program_x", NULL};
	static const char *const absolute[] = {"/nonexistent/program", NULL};
	static const char *const directory[] = {"/tmp", NULL};
	static const struct {
		const char *const *argv;
		const char *shell, *why;
	} rows[] = {
		{missing, NULL, "exec: No such file or directory"},
		{absolute, NULL, "exec: No such file or directory"},
		{directory, NULL, "exec: Permission denied"},
		{NULL, "nonexistent_shell_x", "exec: No such file or directory"},
		{NULL, "/nonexistent/shell", "exec: No such file or directory"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct proc_spec spec = {.argv = rows[i].argv,
			.command = rows[i].argv == NULL ? ":" : NULL,
			.shell = rows[i].shell,
			.timeout_ms = 1000};
		struct proc *p = start(&spec);
		struct capture c;
		char text[80];

		assert_ptr_equal(proc_find(fx.procs, proc_id(p), ID_LEN), p);
		assert_false(proc_running(p));
		assert_string_equal(proc_start_error(p), rows[i].why);
		proc_describe(p, text, sizeof(text));
		assert_string_equal(text, rows[i].why);
		assert_int_equal(proc_exit_record(p)->code, 255);
		assert_false(proc_pipes_open(p));
		assert_true(proc_finished_ms(p) > 0);
		capture_all(&c, &fx, p);
		assert_int_equal(outhub_total(proc_hub(p)), 0);
		capture_fini(&c);
	}
	assert_int_equal(procs_running(fx.procs), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void refuses_what_no_kernel_would_take(void **state)
{
	char *big = malloc(131073);
	const char *const empty[] = {NULL};
	const char *const unnamed[] = {"", NULL};
	const char *const too_big[] = {"echo", big, NULL};
	struct launch_var bad_names[] = {{"", "x"}, {"A=B", "x"}};
	struct proc_spec neither = {0}, both = {.command = ":", .argv = too_big},
			 no_argv = {.argv = empty}, no_name = {.argv = unnamed},
			 long_arg = {.argv = too_big}, long_command = {.command = big};

	(void)state;
	memset(big, ' ', 131072);
	big[131072] = '\0';
	refused(&neither, &ERR_BAD_BODY, "needed");
	refused(&both, &ERR_BAD_BODY, "needed");
	refused(&no_argv, &ERR_BAD_BODY, "no program");
	refused(&no_name, &ERR_BAD_BODY, "no program");
	refused(&long_arg, &ERR_BAD_BODY, "longer than 131071");
	refused(&long_command, &ERR_BAD_BODY, "longer than 131071");
	big[131071] = '\0';
	fixture_expect(&fx, &long_command, 0, "", "");
	for (size_t i = 0; i < 2; i++) {
		struct proc_spec spec = {
			.command = ":", .launch.envs = &bad_names[i], .launch.nenvs = 1};

		refused(&spec, &ERR_BAD_BODY, "name");
	}
	free(big);
}

static void refuses_what_is_over_a_limit(void **state)
{
	const char *const argv[] = {"true", "1", "2", NULL};
	struct launch_var envs[] = {{"A", "1"}, {"B", "2"}, {"C", "3"}};
	struct proc_spec many_args = {.argv = argv};
	struct proc_spec many_envs = {.command = ":", .launch.envs = envs, .launch.nenvs = 3};
	struct proc_spec timeout = {.command = ":", .timeout_ms = -1};

	(void)state;
	assert_true(limit_set(LIMIT_PROC_ARGS, 3));
	assert_true(limit_set(LIMIT_PROC_ENVS, 3));
	assert_true(limit_set(LIMIT_PROC_TIMEOUT_MAX_MS, 5000));
	fixture_expect(&fx, &many_args, 0, "", "");
	fixture_expect(&fx, &many_envs, 0, "", "");
	assert_true(limit_set(LIMIT_PROC_ARGS, 2));
	assert_true(limit_set(LIMIT_PROC_ENVS, 2));
	refused(&many_args, &ERR_BAD_BODY, "more than 2 arguments");
	refused(&many_envs, &ERR_BAD_BODY, "more than 2 environment");
	refused(&timeout, &ERR_BAD_BODY, "timeout");
	timeout.timeout_ms = 5001;
	refused(&timeout, &ERR_BAD_BODY, "timeout");
	timeout.timeout_ms = 5000;
	fixture_expect(&fx, &timeout, 0, "", "");
}

static void only_so_many_run_at_once(void **state)
{
	struct proc_spec spec = {.command = ":"};
	struct err e = {0};

	(void)state;
	assert_true(limit_set(LIMIT_PROC_RUNNING, 2));
	struct proc *a = fixture_sh(&fx, "sleep 60");
	struct proc *b = fixture_sh(&fx, ":");
	refused(&spec, &ERR_TOO_MANY, "2 commands");
	fixture_wait_for(&fx, proc_is_over, b);
	fixture_expect(&fx, &spec, 0, "", "");
	assert_int_equal(proc_stop(a, 1000, &e), 0);
	fixture_wait_for(&fx, proc_is_over, a);
}

static void without_descriptors_nothing_is_left_behind(void **state)
{
	struct proc_spec spec = {.command = ":", .shell = "/bin/sh"};
	struct rlimit old, few;
	size_t refusals = 0;

	(void)state;
	fixture_expect(&fx, &spec, 0, "", "");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	int top = dup(0);
	close(top);
	/* Four are needed; some numbers above the lowest free one may be taken. */
	struct proc *p = NULL;
	for (rlim_t room = 0; p == NULL && room < 64; room++) {
		struct err e = {0};
		size_t fds = count_fds();

		few.rlim_cur = (rlim_t)top + room;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		p = proc_start(fx.procs, &spec, &e);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		if (p != NULL) {
			fixture_wait_for(&fx, proc_is_over, p);
		} else {
			refusals++;
			assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
		}
		assert_int_equal(count_fds(), fds);
		assert_int_equal(procs_running(fx.procs), 0);
	}
	assert_non_null(p);
	assert_true(refusals >= 4);
}

static void commands_get_back_what_the_daemon_was_started_with(void **state)
{
	const struct spawn_origin origin = {.nofile = {123, 456}, .nice = 7};
	struct procs_config cfg = {.state_dir = -1, .launch.origin = &origin};
	struct proc_spec spec = {.shell = "/bin/sh", .command = "ulimit -Sn; ulimit -Hn; nice"};

	(void)state;
	fixture_end(&fx);
	fixture_start_with(&fx, &cfg);
	fixture_expect(&fx, &spec, 0, "123\n456\n7\n", "");
}

/* ---- environment, directory, user ---- */

static void the_request_overrides_the_file_and_the_file_the_daemon(void **state)
{
	static const char text[] = "FROM=file\nBOTH=file\nEXPANDED=<$FROM>\n";
	static const char *const argv[] = {"printenv", "ODD NAME", "BOTH", NULL};
	struct launch_var envs[] = {{"BOTH", "request"}, {"ODD NAME", "kept"}, {"BOTH", "last"}};
	struct proc_spec spec = {.shell = "/bin/sh",
		.launch.envs = envs,
		.launch.nenvs = 3,
		.command = "echo $FROM $BOTH $EXPANDED [$BOXD_TOKEN]"};
	struct procs_config cfg = {.state_dir = -1, .launch.envs_file = "proc_test.env"};
	FILE *f = fopen(cfg.launch.envs_file, "we");

	(void)state;
	fputs(text, f);
	fclose(f);
	fixture_end(&fx);
	fixture_start_with(&fx, &cfg);
	fixture_expect(&fx, &spec, 0, "file last <daemon> []\n", "");
	unlink(cfg.launch.envs_file);
	fixture_expect(&fx, &spec, 0, "daemon last []\n", "");
	spec.command = spec.shell = NULL;
	spec.argv = argv;
	fixture_expect(&fx, &spec, 0, "kept\nlast\n", "");
}

static void the_directory_is_expanded_and_checked(void **state)
{
	struct launch_var envs[] = {{"SUB", "proc_dir"}, {"HOME", fx.cwd}};
	char absolute[sizeof(fx.cwd) + 16];
	const struct {
		const char *cwd, *expected, *error;
	} rows[] = {
		{NULL, fx.cwd, NULL},
		{"", fx.cwd, NULL},
		{"/", "/", NULL},
		{"proc_dir", absolute, NULL},
		{"$SUB", absolute, NULL},
		{"./proc_dir/../$SUB", absolute, NULL},
		{"~/proc_dir", absolute, NULL},
		{"~", fx.cwd, NULL},
		{"proc_missing", NULL, "proc_missing: No such file or directory"},
		{"proc_file", NULL, "proc_file: Not a directory"},
		{"proc_file/x", NULL, "Not a directory"},
		{"$UNDEFINED/x$ALSO", NULL, "ALSO,UNDEFINED"},
		{"/dev/null", NULL, "Not a directory"},
	};

	(void)state;
	snprintf(absolute, sizeof(absolute), "%s/proc_dir", fx.cwd);
	mkdir("proc_dir", 0755);
	close(open("proc_file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct proc_spec spec = {.shell = "/bin/sh",
			.launch.cwd = rows[i].cwd,
			.launch.envs = envs,
			.launch.nenvs = 2,
			.command = "printf %s \"$(pwd -P)\""};

		if (rows[i].error != NULL)
			refused(&spec, &ERR_BAD_BODY, rows[i].error);
		else
			fixture_expect(&fx, &spec, 0, rows[i].expected, "");
	}
	unlink("proc_file");
	rmdir("proc_dir");
}

static void programs_learn_their_directory_from_pwd(void **state)
{
	static const char *const argv[] = {"printenv", "PWD", NULL};
	struct launch_var pwd = {"PWD", "/mine"};
	struct proc_spec spec = {.argv = argv, .launch.cwd = "/usr"};

	(void)state;
	fixture_expect(&fx, &spec, 0, "/usr\n", "");
	spec.launch.envs = &pwd;
	spec.launch.nenvs = 1;
	fixture_expect(&fx, &spec, 0, "/mine\n", "");
}

static void another_user_gets_its_groups_and_home(void **state)
{
	static const char show[] =
		"echo $(id -u) $(id -g) $(id -G) $HOME $USER $LOGNAME; echo x >/dev/stdout";
	struct launch_var home = {"HOME", "/elsewhere"};
	struct proc_spec spec = {.shell = "/bin/sh",
		.launch.cwd = "/",
		.command = show,
		.launch.set_uid = true,
		.launch.uid = 54321};

	(void)state;
	if (geteuid() != 0)
		skip();
	fixture_expect(&fx, &spec, 0, "54321 54321 54321 / 54321 54321\nx\n", "");
	spec.launch.set_gid = true;
	spec.launch.gid = 777;
	fixture_expect(&fx, &spec, 0, "54321 777 777 / 54321 54321\nx\n", "");
	spec.launch.envs = &home;
	spec.launch.nenvs = 1;
	fixture_expect(&fx, &spec, 0, "54321 777 777 /elsewhere 54321 54321\nx\n", "");
	/* The daemon's own user keeps the daemon's home. */
	spec = (struct proc_spec){.shell = "/bin/sh",
		.launch.cwd = "/",
		.command = "echo $(id -u) $HOME [$USER]",
		.launch.set_uid = true};
	fixture_expect(&fx, &spec, 0, "0 /root []\n", "");
}

static void no_user_id_means_the_daemons(void **state)
{
	struct proc_spec gid = {.command = ":", .launch.set_gid = true, .launch.gid = 5};
	struct proc_spec uid = {.command = ":", .launch.set_uid = true, .launch.uid = (uid_t)-1};
	struct proc_spec both = {.command = ":",
		.launch.set_uid = true,
		.launch.uid = 5,
		.launch.set_gid = true,
		.launch.gid = (gid_t)-1};

	(void)state;
	refused(&gid, &ERR_BAD_BODY, "gid needs a uid");
	refused(&uid, &ERR_BAD_BODY, "not a uid");
	refused(&both, &ERR_BAD_BODY, "not a gid");
}

static void a_directory_closed_to_the_user_is_a_start_error(void **state)
{
	struct proc_spec spec = {.shell = "/bin/sh",
		.launch.cwd = "proc_closed",
		.command = ":",
		.launch.set_uid = true,
		.launch.uid = 54321};

	(void)state;
	if (geteuid() != 0)
		skip();
	mkdir("proc_closed", 0700);
	struct proc *p = start(&spec);
	assert_string_equal(proc_start_error(p), "cwd: Permission denied");
	rmdir("proc_closed");
}

/* ---- output ---- */

static void streams_are_apart_or_merged(void **state)
{
	struct proc_spec spec = {.shell = "/bin/sh",
		.command = "echo a; echo b >&2; echo c; printf '\\000\\377d' >&2"};
	struct err e = {0};
	struct capture c;

	(void)state;
	struct proc *p = proc_start(fx.procs, &spec, &e);
	capture_all(&c, &fx, p);
	assert_string_equal(capture_text(&c, OUTHUB_STDOUT), "a\nc\n");
	assert_int_equal(buf_len(&c.out[OUTHUB_STDERR]), 5);
	assert_memory_equal(buf_data(&c.out[OUTHUB_STDERR]), "b\n\0\377d", 5);
	capture_fini(&c);
	spec.merge = true;
	p = proc_start(fx.procs, &spec, &e);
	capture_all(&c, &fx, p);
	assert_int_equal(buf_len(&c.out[OUTHUB_STDOUT]), 9);
	assert_memory_equal(buf_data(&c.out[OUTHUB_STDOUT]), "a\nb\nc\n\0\377d", 9);
	assert_int_equal(buf_len(&c.out[OUTHUB_STDERR]), 0);
	capture_fini(&c);
}

static void no_byte_of_a_flood_is_lost(void **state)
{
	static const char *const pattern[] = {"0123456789\n", "abcdefghijklmnop\n"};
	static const size_t total = 10 * 1024 * 1024;
	struct proc *p = fixture_sh(&fx, "yes 0123456789 | head -c 10485760 & "
					 "yes abcdefghijklmnop | head -c 10485760 >&2; wait");
	struct capture c;

	(void)state;
	capture_begin(&c, &fx, p, OUTHUB_FOLLOW);
	outhub_set_owner(c.reader);
	capture_on_ready(&c);
	fixture_wait_for(&fx, capture_is_done, &c);
	assert_int_equal(c.gap, 0);
	for (size_t s = 0; s < OUTHUB_STREAMS; s++) {
		const uint8_t *data = buf_data(&c.out[s]);
		size_t n = strlen(pattern[s]), wrong = 0;

		assert_int_equal(buf_len(&c.out[s]), total);
		for (size_t i = 0; i < total; i++)
			wrong += data[i] != (uint8_t)pattern[s][i % n];
		assert_int_equal(wrong, 0);
		assert_int_equal(outhub_bytes(proc_hub(p), (enum outhub_stream)s), total);
	}
	assert_int_equal(proc_exit_record(p)->code, 0);
	capture_fini(&c);
}

static void nobody_ignore(void *arg)
{
	(void)arg;
}

/* A dead process does not wait for its owner: what it left in the pipe is taken beyond the window.
 */
static void what_is_in_the_pipe_at_the_exit_is_taken_whatever_the_owner_does(void **state)
{
	struct outhub_reader *slow;
	struct capture c;

	(void)state;
	assert_true(limit_set(LIMIT_PROC_READ_BYTES, 4096));
	assert_true(limit_set(LIMIT_HUB_OWNER_WINDOW_BYTES, 8192));
	struct proc *p = fixture_sh(&fx, "sleep 60 & echo $!; yes | head -c 60000; exit 7");
	slow = outhub_attach(proc_hub(p), 0, OUTHUB_FOLLOW, nobody_ignore, NULL);
	outhub_set_owner(slow);
	fixture_wait_for(&fx, proc_has_exited, p);
	assert_true(outhub_must_wait(proc_hub(p)));
	assert_true(outhub_total(proc_hub(p)) > 60000);
	fixture_wait_for(&fx, proc_is_over, p);
	outhub_detach(slow);
	capture_all(&c, &fx, p);
	char *end;
	pid_t sleeper = (pid_t)strtol(capture_text(&c, OUTHUB_STDOUT), &end, 10);
	size_t line = (size_t)(end + 1 - (char *)buf_data(&c.out[OUTHUB_STDOUT]));
	assert_int_equal(buf_len(&c.out[OUTHUB_STDOUT]), line + 60000);
	assert_int_equal(proc_exit_record(p)->code, 7);
	capture_fini(&c);
	kill(sleeper, SIGKILL);
	fixture_wait_for(&fx, proc_has_no_pipes, p);
}

static void a_descendant_with_the_pipe_holds_up_nobody(void **state)
{
	int64_t before = clock_mono_ms();
	struct proc *p = fixture_sh(&fx, "(sleep 1; echo late; echo later >&2) & echo hi");
	struct capture c;

	(void)state;
	capture_all(&c, &fx, p);
	assert_string_equal(capture_text(&c, OUTHUB_STDOUT), "hi\n");
	assert_true(clock_mono_ms() - before < 900);
	assert_false(proc_running(p));
	assert_true(proc_pipes_open(p));
	assert_int_equal(procs_running(fx.procs), 0);
	assert_int_equal(procs_finished(fx.procs), 1);
	capture_fini(&c);

	/* It still writes into the log. */
	fixture_wait_for(&fx, proc_has_no_pipes, p);
	assert_int_equal(outhub_total(proc_hub(p)), 3 + 5 + 6);
	capture_begin(&c, &fx, p, outhub_total(proc_hub(p)));
	capture_on_ready(&c);
	assert_true(c.ended);
	assert_string_equal(capture_text(&c, OUTHUB_STDOUT), "hi\nlate\n");
	assert_string_equal(capture_text(&c, OUTHUB_STDERR), "later\n");
	capture_fini(&c);
}

static void a_descendant_that_floods_holds_up_nobody(void **state)
{
	pid_t yes;
	struct proc *p = fixture_sh(&fx, "echo begin; yes & echo $! >&2; sleep 0.05; exit 4");
	struct capture c;

	(void)state;
	capture_all(&c, &fx, p);
	assert_int_equal(proc_exit_record(p)->code, 4);
	assert_true(proc_pipes_open(p));
	yes = (pid_t)strtol(capture_text(&c, OUTHUB_STDERR), NULL, 10);
	assert_true(yes > 1);
	kill(yes, SIGKILL);
	fixture_wait_for(&fx, proc_has_no_pipes, p);
	capture_fini(&c);
}

static bool pipes_are_closed(void *arg)
{
	return !proc_pipes_open(arg);
}

static void closing_its_output_does_not_end_a_command(void **state)
{
	struct proc *p = fixture_sh(&fx, "exec >&- 2>&-; sleep 0.5; exit 9");

	(void)state;
	fixture_wait_for(&fx, pipes_are_closed, p);
	assert_true(proc_running(p));
	assert_false(outhub_finished(proc_hub(p)));
	fixture_wait_for(&fx, proc_is_over, p);
	assert_int_equal(proc_exit_record(p)->code, 9);
}

static void hundreds_of_commands_leave_nothing(void **state)
{
	size_t fds = count_fds();

	(void)state;
	for (int i = 0; i < 15; i++) {
		struct proc *batch[20];

		for (int k = 0; k < 20; k++)
			batch[k] = fixture_sh(&fx, k % 2 ? "echo out; exit 1" : "(true &) ; :");
		for (int k = 0; k < 20; k++)
			fixture_wait_for(&fx, proc_has_no_pipes, batch[k]);
	}
	assert_int_equal(procs_finished(fx.procs), 300);
	assert_int_equal(procs_running(fx.procs), 0);
	assert_int_equal(children_count(fx.children), 0);
	assert_int_equal(count_fds(), fds);
	fixture_run_ms(&fx, 50);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_end_of_a_command_is_described),
		TEST(a_crash_says_whether_core_was_dumped),
		TEST(the_record_has_times_and_memory),
		TEST(a_command_is_known_before_it_ends),
		TEST(runs_an_argv_without_a_shell),
		TEST(the_shell_is_bash_or_sh_or_the_one_asked_for),
		TEST(the_shell_is_found_in_the_childs_path),
		TEST(stdin_is_empty_and_output_pipes_block),
		TEST(children_get_three_descriptors_and_their_own_session),
		TEST(a_program_that_cannot_start_is_a_command_that_ended),
		TEST(refuses_what_no_kernel_would_take),
		TEST(refuses_what_is_over_a_limit),
		TEST(only_so_many_run_at_once),
		TEST(without_descriptors_nothing_is_left_behind),
		TEST(commands_get_back_what_the_daemon_was_started_with),
		TEST(the_request_overrides_the_file_and_the_file_the_daemon),
		TEST(the_directory_is_expanded_and_checked),
		TEST(programs_learn_their_directory_from_pwd),
		TEST(another_user_gets_its_groups_and_home),
		TEST(no_user_id_means_the_daemons),
		TEST(a_directory_closed_to_the_user_is_a_start_error),
		TEST(streams_are_apart_or_merged),
		TEST(no_byte_of_a_flood_is_lost),
		TEST(what_is_in_the_pipe_at_the_exit_is_taken_whatever_the_owner_does),
		TEST(a_descendant_with_the_pipe_holds_up_nobody),
		TEST(a_descendant_that_floods_holds_up_nobody),
		TEST(closing_its_output_does_not_end_a_command),
		TEST(hundreds_of_commands_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
