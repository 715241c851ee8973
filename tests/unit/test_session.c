/* Shell sessions: one run after the other, what stays between them, and what never gets in. */
#include "session_fixture.h"

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

static void a_run_has_output_and_a_status(void **state)
{
	struct session *s = session_make(&fx, NULL);
	struct session_info info;

	(void)state;
	session_info(s, &info);
	assert_null(info.shell);
	assert_int_equal(info.pid, 0);
	expect_code(&fx, s, "echo out; echo err >&2; (exit 3)", 3, "out\n", "err\n");
	expect(&fx, s, "echo again", "again\n");
	expect_code(&fx, s, "false; echo EXIT:$?", 0, "EXIT:1\n", "");
	session_info(s, &info);
	assert_string_equal(info.shell, "bash");
	assert_true(info.pid > 0);
	assert_int_equal(info.runs, 3);
	assert_string_equal(info.cwd, fx.cwd);
	assert_int_equal(strlen(info.id), 36);
}

static void bash_keeps_its_state(void **state)
{
	struct session *s = session_make(&fx, "bash");

	(void)state;
	for (int lost = 0; lost < 2; lost++) {
		expect(&fx, s,
			"export A='x y' B=$'tab\\there\\nline $HOME `id` \\\\ \"q\" '\"\\'\"; "
			"c=plain; "
			"arr=(1 'two words' 3); declare -A map=([k]=v ['a b']='c d'); declare -i "
			"n=41; "
			"f() { echo \"f:$1:$c\"; }; export -f f; g() { [[ $1 == @(a|b) ]] && f $1; "
			"}; "
			"shopt -s expand_aliases extglob; alias hi='echo hi'; umask 027; "
			"trap 'echo usr1' USR1; set -f -u; cd /usr; [ ${FIXED-} ] || readonly "
			"FIXED=1; "
			"unset TO_UNSET; declare -n ref=c",
			"");
		for (int again = 0; again < 2; again++) {
			expect(&fx, s, "echo \"$A|$c|${arr[1]}|${map[a b]}|$n\"",
				"x y|plain|two words|c d|41\n");
			expect(&fx, s, "printf %s \"$B\"",
				"tab\there\nline $HOME `id` \\ \"q\" \\'");
			expect(&fx, s, "n=n+1; echo $n; n=41; echo $ref", "42\nplain\n");
			expect(&fx, s, "f 1; g a; bash -c 'f 2'", "f:1:plain\nf:a:plain\nf:2:\n");
			expect(&fx, s,
				"hi; umask; pwd; echo *; echo $FIXED $FROM ${TO_UNSET-unset}",
				"hi\n0027\n/usr\n*\n1 daemon unset\n");
			expect(&fx, s, "kill -USR1 $$", "usr1\n");
			expect(&fx, s, "echo $-; bash -c 'echo $c'", NULL);
			if (again == 0 && lost == 1)
				lose_shell(&fx, s);
		}
	}
}

static void values_come_through_a_new_shell_as_they_are(void **state)
{
	static const char *const values[] = {"$", "`", "\\", "\n", "\t", "\n\n  x  \n", "a$b",
		"$(id)", "${x}", "'", "\"", "'\"'\"'", "!", "*", "\r\n", "\x1b[1m", "\xff\xfe",
		"\xc3\xa4", " ", "", "-n", "__ENV_DUMP_START__", "__EXIT_CODE__:7", "%s", "~", "#",
		";", "a=b"};
	static const char *const shells[] = {"bash", "/bin/dash"};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		struct session *s = session_make(&fx, shells[k]);

		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			char command[256];
			size_t at = (size_t)snprintf(command, sizeof(command), "v%zu='", i);

			for (const char *c = values[i]; *c != '\0'; c++)
				at += (size_t)snprintf(command + at, sizeof(command) - at,
					*c == '\'' ? "'\\''" : "%c", *c);
			snprintf(command + at, sizeof(command) - at, "'; export v%zu", i);
			expect(&fx, s, command, "");
		}
		lose_shell(&fx, s);
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			char command[64];

			snprintf(command, sizeof(command), "printf '<%%s>' \"$v%zu\"", i);
			char expected[64];
			snprintf(expected, sizeof(expected), "<%s>", values[i]);
			expect(&fx, s, command, expected);
		}
	}
}

static void posix_shells_keep_their_state(void **state)
{
	char ash[PATH_MAX + 8];
	const char *const shells[] = {"/bin/dash", ash};
	char *busybox = spawn_find("busybox", NULL);

	(void)state;
	snprintf(ash, sizeof(ash), "%s/ash", fx.cwd);
	unlink(ash);
	if (busybox == NULL)
		print_message("[  SKIPPED ] no busybox: ash is not tested\n");
	else
		assert_int_equal(symlink(busybox, ash), 0);
	for (size_t i = 0; i < (busybox != NULL ? 2 : 1); i++) {
		struct session *s = session_make(&fx, shells[i]);

		expect(&fx, s,
			"export A='x y'; c='a\nb'; f() { echo \"f:$1\"; }; alias hi='echo hi' "
			"q='echo \"a  b\"'; "
			"umask 027; trap 'echo usr1' USR1; set -f -u; cd /usr; readonly R=1; unset "
			"TO_UNSET",
			"");
		expect(&fx, s, "f 1", "f:1\n");
		for (int again = 0; again < 2; again++) {
			expect(&fx, s,
				"echo \"$A|$c|$R|${TO_UNSET-unset}\"; hi; q; umask; pwd; echo *",
				"x y|a\nb|1|unset\nhi\na  b\n0027\n/usr\n*\n");
			expect(&fx, s, "sh -c 'echo $A$c'", "x y\n");
			expect(&fx, s, "kill -USR1 $$", "usr1\n");
			if (again == 0)
				lose_shell(&fx, s);
		}
		expect_code(&fx, s, "exec 2>/dev/null; nothing_like_it", 127, "", "");
		expect_code(&fx, s, "echo ${missing?no}; echo not here", 2, "", NULL);
		expect_end(&fx, s, "exit 4", SESSION_RUN_SHELL_ENDED, 4);
		expect_code(&fx, s, "if", 2, "", NULL);
		expect(&fx, s, "echo still", "still\n");
	}
	unlink(ash);
	free(busybox);
}

static void the_directory_stays(void **state)
{
	struct session *s = session_make(&fx, NULL);
	struct session_run_spec spec = {.command = "pwd; cd /usr/bin", .cwd = "/usr"};
	struct session_info info;
	struct run run;

	(void)state;
	run_start_spec(&run, &fx, s, &spec);
	run_wait(&run);
	assert_string_equal(run_text(&run, OUTHUB_STDOUT), "/usr\n");
	run_fini(&run);
	expect(&fx, s, "pwd; echo $OLDPWD", "/usr/bin\n/usr\n");
	session_info(s, &info);
	assert_string_equal(info.cwd, "/usr/bin");
	spec.command = "false";
	spec.cwd = "/tmp";
	run_start_spec(&run, &fx, s, &spec);
	run_wait(&run);
	assert_int_equal(run.res.code, 1);
	run_fini(&run);
	expect(&fx, s, "pwd", "/tmp\n");
}

static void a_directory_is_checked_first(void **state)
{
	static const struct {
		const char *cwd, *part;
	} rows[] = {{"/nonexistent", "No such file"}, {"/etc/passwd", "Not a directory"},
		{"$NOTHING/x", "NOTHING"}};
	struct session *s = session_make(&fx, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct session_run_spec spec = {.command = "pwd", .cwd = rows[i].cwd};
		struct err e = {0};

		assert_null(session_run_start(s, &spec, &run_callbacks, NULL, &e));
		assert_ptr_equal(e.kind, &ERR_BAD_BODY);
		if (strstr(e.msg, rows[i].part) == NULL)
			fail_msg("%s: %s", rows[i].cwd, e.msg);
	}
	struct session_spec bad = {.launch = {.cwd = "/nonexistent"}};
	struct err e = {0};
	assert_null(session_create(fx.sessions, &bad, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
}

static void odd_directories_are_kept(void **state)
{
	struct session *s = session_make(&fx, NULL);
	char path[PATH_MAX + 64];
	struct session_run_spec spec = {.command = "basename \"$PWD\"; cd .. && rm -r \"$OLDPWD\""};
	struct run run;

	(void)state;
	snprintf(path, sizeof(path), "%s/it's a\n-dir", fx.cwd);
	(void)mkdir(path, 0755);
	spec.cwd = path;
	run_start_spec(&run, &fx, s, &spec);
	run_wait(&run);
	assert_string_equal(run_text(&run, OUTHUB_STDOUT), "it's a\n-dir\n");
	run_fini(&run);
	/* A shell that begins where nothing is any more begins in the workspace. */
	expect(&fx, s, "mkdir gone && cd gone && rmdir ../gone", "");
	lose_shell(&fx, s);
	log_set_level(LOG_LEVEL_ERROR);
	expect(&fx, s, "[ \"$(pwd -P)\" = \"$(cd .; pwd -P)\" ] && echo there", "there\n");
}

/* ---- the shell's end ---- */

static void an_exit_ends_the_shell_and_not_the_session(void **state)
{
	static const struct {
		const char *command;
		int code, signal;
	} rows[] = {{"A=new; exit 7", 7, 0}, {"set -e; A=new; false; echo not here", 1, 0},
		{"A=new; exec sh -c 'exit 5'", 5, 0}, {"A=new; kill -9 $$", -1, SIGKILL},
		{"A=new; kill -TERM $$; sleep 10", -1, SIGTERM}, {"A=new; ${x?no}", 1, 0},
		{"A=new; set -u; echo $nothing", 1, 0}, {"trap 'echo bye' EXIT; exit 0", 0, 0}};
	struct session *s = session_make(&fx, "bash");
	struct run run;

	(void)state;
	expect(&fx, s, "A=old; cd /usr", "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		run_all(&run, &fx, s, rows[i].command);
		if (run.res.end != SESSION_RUN_SHELL_ENDED || run.res.code != rows[i].code ||
			run.res.signal != rows[i].signal || !run.res.shell_lost)
			fail_msg("%s: end %d code %d signal %d", rows[i].command, run.res.end,
				run.res.code, run.res.signal);
		if (strstr(rows[i].command, "bye") != NULL)
			assert_string_equal(run_text(&run, OUTHUB_STDOUT), "bye\n");
		run_fini(&run);
		expect(&fx, s, "echo $A; pwd; echo ${-//[!e]/}", "old\n/usr\n\n");
	}
}

static void the_program_that_replaces_the_shell_is_the_run(void **state)
{
	struct session *s = session_make(&fx, NULL);
	struct run run;

	(void)state;
	expect(&fx, s, "export A=kept", "");
	run_all(&run, &fx, s, "echo first; exec sh -c 'sleep 0.1; echo $A; exit 9'");
	assert_int_equal(run.res.end, SESSION_RUN_SHELL_ENDED);
	assert_int_equal(run.res.code, 9);
	assert_string_equal(run_text(&run, OUTHUB_STDOUT), "first\nkept\n");
	run_fini(&run);
	expect(&fx, s, "echo $A", "kept\n");
}

static void set_e_stays_and_ends_the_shell(void **state)
{
	struct session *s = session_make(&fx, NULL);

	(void)state;
	expect(&fx, s, "set -e; A=1", "");
	expect(&fx, s, "true; echo $A", "1\n");
	expect_end(&fx, s, "A=2; false; echo no", SESSION_RUN_SHELL_ENDED, 1);
	expect(&fx, s, "echo $A ${-//[!e]/}; set +e", "1 e\n");
	expect_code(&fx, s, "false; echo on", 0, "on\n", "");
}

static void a_shell_that_ends_between_runs_is_replaced(void **state)
{
	struct session *s = session_make(&fx, NULL);

	(void)state;
	expect(&fx, s, "A=kept; (sleep 0.05; kill -9 $$) >/dev/null 2>&1 &", "");
	pid_t pid = session_pid(s);
	assert_true(fixture_wait_until(&fx, pid_is_gone, &pid));
	expect(&fx, s, "echo $A", "kept\n");
	assert_true(session_pid(s) != pid);
}

static void without_a_shell_the_run_says_so(void **state)
{
	struct session *s = session_make(&fx, "no-such-shell");
	struct launch_var path = {"PATH", "/nonexistent"};
	struct session_spec spec = {.launch = {.envs = &path, .nenvs = 1}};
	struct err e = {0};
	struct run run;

	(void)state;
	run_all(&run, &fx, s, "true");
	assert_int_equal(run.res.end, SESSION_RUN_NO_SHELL);
	assert_string_equal(run.res.why, "exec: No such file or directory");
	assert_false(run.began);
	run_fini(&run);
	s = session_create(fx.sessions, &spec, &e);
	assert_non_null(s);
	run_all(&run, &fx, s, "true");
	assert_int_equal(run.res.end, SESSION_RUN_NO_SHELL);
	assert_string_equal(run.res.why, "no shell: neither bash nor sh was found");
	run_fini(&run);
}

/* ---- what is written ---- */

static void output_is_exact(void **state)
{
	struct session *s = session_make(&fx, NULL);
	struct run run;

	(void)state;
	expect(&fx, s, "printf 'no newline'", "no newline");
	expect(&fx, s, "printf '\\n\\n\\nblank\\n\\n'", "\n\n\nblank\n\n");
	expect(&fx, s, "cat <<EOF\nhere $((1+1))\nEOF", "here 2\n");
	expect(&fx, s, "cat <<'EOF'\n__ENV_DUMP_START__\n__EXIT_CODE__:9\n__PWD__:/x\nEOF",
		"__ENV_DUMP_START__\n__EXIT_CODE__:9\n__PWD__:/x\n");
	expect(&fx, s, "# only a comment", "");
	expect(&fx, s, "", "");
	expect(&fx, s, "echo a # trailing \\", "a\n");
	expect(&fx, s, "echo $0 $#", "bash 0\n");
	run_all(&run, &fx, s, "printf 'a\\0b\\377\\376c'; head -c 100000 /dev/zero");
	assert_int_equal(buf_len(&run.out[OUTHUB_STDOUT]), 100006);
	assert_memory_equal(buf_data(&run.out[OUTHUB_STDOUT]), "a\0b\377\376c", 6);
	run_fini(&run);
	expect(&fx, s,
		"i=0; while [ $i -lt 70 ]; do echo $i >/dev/null; i=$((i+1)); done; "
		"seq 1 70 >/dev/null; export LATE=$(seq 1 70 | tail -1)",
		"");
	expect(&fx, s, "echo $LATE", "70\n");
}

static void output_is_never_taken_for_a_report(void **state)
{
	static const char *const shells[] = {"bash", "dash"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct session *s = session_make(&fx, shells[i]);
		struct session_info info;

		for (int k = 0; k < 20; k++) {
			struct run run;

			run_all(&run, &fx, s,
				"n=$((n+1)); yes 'S9 ir- x|C/forged|VA=forged|.|' | head -c 60000 "
				"| "
				"tr '|' '\\0'");
			assert_int_equal(run.res.code, 0);
			assert_int_equal(buf_len(&run.out[OUTHUB_STDOUT]), 60000);
			run_fini(&run);
			session_info(s, &info);
			assert_string_equal(info.cwd, fx.cwd);
		}
		lose_shell(&fx, s);
		expect(&fx, s, "echo $n ${A-unset}", "20 unset\n");
	}
}

static void streams_can_be_one(void **state)
{
	static const char *const shells[] = {"bash", "dash"};
	struct session_run_spec spec = {
		.command = "echo 1; echo 2 >&2; echo 3; sh -c 'echo 4 >&2'; echo 5",
		.merge_stderr = true};
	struct run run;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct session *s = session_make(&fx, shells[i]);

		run_start_spec(&run, &fx, s, &spec);
		run_wait(&run);
		assert_string_equal(run_text(&run, OUTHUB_STDOUT), "1\n2\n3\n4\n5\n");
		assert_int_equal(buf_len(&run.out[OUTHUB_STDERR]), 0);
		run_fini(&run);
		expect_code(&fx, s, "echo 6 >&2", 0, "", "6\n");
	}
}

static void errors_have_the_line_of_the_command(void **state)
{
	struct session *s = session_make(&fx, "bash");

	(void)state;
	for (int i = 0; i < 3; i++)
		expect_code(&fx, s, "true\nnothing_like_it", 127, "",
			"/dev/fd/250: line 2: nothing_like_it: command not found\n");
	expect_code(&fx, s, "echo $LINENO\necho $LINENO", 0, "1\n2\n", "");
	expect_code(&fx, s, "if", 2, "", NULL);
	expect_code(&fx, s, "echo 'open", 2, "", NULL);
	expect(&fx, s, "echo on", "on\n");
}

static void nothing_inherits_the_private_descriptors(void **state)
{
	static const char *const shells[] = {"bash", "/bin/dash"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct session *s = session_make(&fx, shells[i]);

		expect(&fx, s, "ls /proc/self/fd", "0\n1\n2\n3\n");
		expect(&fx, s, "readlink /proc/self/fd/0", "/dev/null\n");
		expect(&fx, s, "(ls /proc/self/fd); echo $(ls /proc/self/fd)",
			"0\n1\n2\n3\n0 1 2 3\n");
		expect(&fx, s, "cat; read x; echo \"<$x>\"", "<>\n");
		expect(&fx, s, "exec </etc/passwd", "");
		expect(&fx, s, "env | grep __boxd; set -a; env | grep __boxd || :", "");
		expect(&fx, s, "true", "");
		expect_code(&fx, s, "env | grep __boxd", 1, "", "");
	}
}

static void tracing_stays_and_does_not_show_the_driver(void **state)
{
	struct session *s = session_make(&fx, "bash");
	struct session *p = session_make(&fx, "dash");

	(void)state;
	expect_code(&fx, s, "set -x", 0, "", "");
	for (int i = 0; i < 2; i++) {
		expect_code(&fx, s, "echo a; false", 1, "a\n", "++++ echo a\n++++ false\n");
		if (i == 0)
			lose_shell(&fx, s);
	}
	expect_code(&fx, s, "set +x", 0, "", "++++ set +x\n");
	expect_code(&fx, s, "echo b", 0, "b\n", "");
	expect_code(&fx, s, "set -v", 0, "", "");
	expect_code(&fx, s, "echo a\necho b", 0, "a\nb\n", "echo b\n");
	expect_code(&fx, s, "set +v", 0, "", NULL);
	expect_code(&fx, s, "echo b", 0, "b\n", "");
	expect_code(&fx, p, "set -x", 0, "", "");
	expect_code(&fx, p, "echo a", 0, "a\n", "+ echo a\n");
	expect_code(&fx, p, "set +x", 0, "", "+ set +x\n");
	expect_code(&fx, p, "set -v", 0, "", "");
	expect_code(&fx, p, "set +v", 0, "", NULL);
	expect_code(&fx, p, "echo b", 0, "b\n", "");
}

static void a_debug_trap_does_not_see_the_driver(void **state)
{
	struct session *s = session_make(&fx, "bash");

	(void)state;
	expect(&fx, s, "trap 'echo \"D:$BASH_COMMAND\"' DEBUG", "");
	for (int i = 0; i < 2; i++) {
		expect(&fx, s, "echo a", "D:echo a\na\n");
		if (i == 0)
			lose_shell(&fx, s);
	}
	expect(&fx, s, "trap - DEBUG", "D:trap - DEBUG\n");
	expect(&fx, s, "echo b", "b\n");
	expect_code(&fx, s, "trap 'echo E' ERR; false", 1, "E\n", "");
	for (int i = 0; i < 2; i++) {
		expect_code(&fx, s, "false", 1, "E\n", "");
		if (i == 0)
			lose_shell(&fx, s);
	}
}

static void hostile_settings_do_not_break_the_driver(void **state)
{
	static const char *const rows[] = {"IFS=0123456789abcdefS", "set -f", "set -u", "set -C",
		"set -o posix", "export POSIXLY_CORRECT=1", "export LC_ALL=C",
		"export LC_ALL=C.UTF-8", "export LC_ALL=xx_YY.nothing 2>/dev/null", "unset PATH",
		"PATH=/nonexistent",
		("printf() { echo mine; }; read() { :; }; cd() { :; }; eval() { :; }; declare() { "
		 ":; }; "
		 "echo() { command echo \"$@\"; }; pwd() { :; }; trap() { :; }; set() { :; }; "
		 "source() { :; }"),
		("shopt -s expand_aliases; alias builtin=false eval=false printf=false trap=false "
		 "__boxd_take=false set=false"),
		"set -a", "exec 3>&1 4>&2", "trap '' PIPE HUP INT TERM", "shopt -s extdebug",
		"set -T -E", "set -m", "shopt -s lastpipe inherit_errexit", "trap 'true' RETURN",
		"set -k", "set -t 2>/dev/null", "BASH_COMPAT=3.2", "ulimit -n 300", "trap - 47",
		"trap '' 47", "exec 0</dev/zero", "PS4='+$(echo x)'", "readonly LC_ALL=C.UTF-8",
		"set -- a b c", "TMOUT=1", "set -h -p 2>/dev/null", "FUNCNEST=2", "OPTIND=7",
		"shopt -s nullglob failglob", "GLOBIGNORE='*'"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct session *s = session_make(&fx, "bash");
		struct run run;

		run_all(&run, &fx, s, rows[i]);
		if (run.res.end != SESSION_RUN_DONE && strcmp(rows[i], "set -t 2>/dev/null") != 0)
			fail_msg("%s: end %d %s", rows[i], run.res.end,
				run_text(&run, OUTHUB_STDERR));
		run_fini(&run);
		for (int again = 0; again < 2; again++) {
			run_all(&run, &fx, s, "echo '\xc3\xa4'; A=1; f() { return 4; }; f");
			if (strcmp(rows[i], "set -t 2>/dev/null") == 0) {
				run_fini(&run);
				break;
			}
			if (run.res.end != SESSION_RUN_DONE || run.res.code != 4 ||
				strcmp(run_text(&run, OUTHUB_STDOUT), "\xc3\xa4\n") != 0 ||
				buf_len(&run.out[OUTHUB_STDERR]) != 0)
				fail_msg("%s: end %d code %d\nout %s\nerr %s", rows[i], run.res.end,
					run.res.code, run_text(&run, OUTHUB_STDOUT),
					run_text(&run, OUTHUB_STDERR));
			run_fini(&run);
		}
		session_delete(s);
	}
}

static void output_through_another_process_belongs_to_the_run(void **state)
{
	struct session *s = session_make(&fx, "bash");
	struct run run;

	(void)state;
	expect(&fx, s, "exec 3>&1 4>&2; exec > >(tee tee.out) 2>&1", "");
	run_all(&run, &fx, s, "echo one; echo two >&2");
	assert_string_equal(run_text(&run, OUTHUB_STDOUT), "one\ntwo\n");
	run_fini(&run);
	expect(&fx, s, "exec 1>&3 2>&4 3>&- 4>&-", "");
	int64_t before = clock_mono_ms();
	expect(&fx, s, "echo three; cat tee.out", "three\none\ntwo\n");
	assert_true(clock_mono_ms() - before < 1000);
	expect(&fx, s, "exec > >(sleep 0.1; cat)", "");
	expect(&fx, s, "echo slow", "slow\n");
	unlink("tee.out");
}

static void jobs_go_on_between_runs(void **state)
{
	struct session *s = session_make(&fx, "bash");
	struct run run;

	(void)state;
	run_all(&run, &fx, s, "(sleep 0.05; echo late; echo x >done.txt) & echo now");
	assert_string_equal(run_text(&run, OUTHUB_STDOUT), "now\n");
	run_fini(&run);
	fixture_run_ms(&fx, 150);
	expect(&fx, s, "cat done.txt; jobs; wait; echo $?", NULL);
	expect(&fx, s, "sleep 100 & echo ${!:+started}", "started\n");
	expect(&fx, s, "kill $!; wait $! 2>/dev/null; echo $?", "143\n");
	/* A job that nobody reads never blocks, and never gets into a later run. */
	expect(&fx, s, "head -c 3000000 /dev/zero & wait_for=$!", "");
	expect(&fx, s, "wait $wait_for 2>/dev/null; echo $?", NULL);
	unlink("done.txt");
}

static void a_stalled_owner_makes_the_command_wait(void **state)
{
	struct session *s = session_make(&fx, "bash");
	struct session_run_spec spec = {.command = "head -c 2000000 /dev/zero; echo end"};
	struct run run = {.fx = &fx, .owns = true};
	struct err e = {0};

	(void)state;
	/* begins, and is not read */
	run.r = session_run_start(s, &spec, &run_callbacks, &run, &e);
	assert_non_null(run.r);
	run_wait(&run);
	assert_int_equal(run.gap, 0);
	assert_int_equal(buf_len(&run.out[OUTHUB_STDOUT]), 2000004);
	run_fini(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_run_has_output_and_a_status),
		TEST(bash_keeps_its_state),
		TEST(values_come_through_a_new_shell_as_they_are),
		TEST(posix_shells_keep_their_state),
		TEST(the_directory_stays),
		TEST(a_directory_is_checked_first),
		TEST(odd_directories_are_kept),
		TEST(an_exit_ends_the_shell_and_not_the_session),
		TEST(the_program_that_replaces_the_shell_is_the_run),
		TEST(set_e_stays_and_ends_the_shell),
		TEST(a_shell_that_ends_between_runs_is_replaced),
		TEST(without_a_shell_the_run_says_so),
		TEST(output_is_exact),
		TEST(output_is_never_taken_for_a_report),
		TEST(streams_can_be_one),
		TEST(errors_have_the_line_of_the_command),
		TEST(nothing_inherits_the_private_descriptors),
		TEST(tracing_stays_and_does_not_show_the_driver),
		TEST(a_debug_trap_does_not_see_the_driver),
		TEST(hostile_settings_do_not_break_the_driver),
		TEST(output_through_another_process_belongs_to_the_run),
		TEST(jobs_go_on_between_runs),
		TEST(a_stalled_owner_makes_the_command_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
