/* config: flags, environment and file become one result, or one clear line. */
#include "boxd/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/buf.h"
#include "boxd/limits.h"

#define WORDS_MAX 16
#define FILE_NAME "test_config.json"
#define TOKEN     "test_config.token"

static struct config c;
static char why[CONFIG_WHY_MAX];
static char words[WORDS_MAX][512];
static char *word_ptrs[WORDS_MAX + 1];

/* Every variable that config reads; a test starts with none of them. */
static const char *const variables[] = {"BOXD_LISTEN", "BOXD_ROOT", "BOXD_ALLOW", "BOXD_STATE_DIR",
	"BOXD_TOKEN", "BOXD_TOKEN_FILE", "BOXD_ALLOW_UNAUTHENTICATED", "BOXD_ALLOW_HOST",
	"BOXD_ALLOW_ORIGIN", "BOXD_CONFIG", "BOXD_LOG_LEVEL", "BOXD_SHELL", "EXECD_ACCESS_TOKEN",
	"EXECD_ENVS", "EXECD_API_GRACE_SHUTDOWN", "EXECD_JUPYTER_IDLE_POLL_INTERVAL", "HOME",
	"TMPDIR"};

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
		unsetenv(variables[i]);
	for (int l = 0; l < LIMIT_COUNT_; l++) {
		if (!limit_set((enum limit)l, limit_rows[l].def))
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	config_fini(&c);
	unlink(FILE_NAME);
	unlink(TOKEN);
	return 0;
}

/* Loads from words that may be written to; the first is argv[0]. */
static enum config_action load(const char *const *argv)
{
	int argc = 0;

	for (; argv[argc] != NULL; argc++) {
		assert_true(argc < WORDS_MAX && strlen(argv[argc]) < sizeof(words[0]));
		strcpy(words[argc], argv[argc]);
		word_ptrs[argc] = words[argc];
	}
	word_ptrs[argc] = NULL;
	config_fini(&c);
	return config_load(&c, argc, word_ptrs, why);
}

#define LOAD(...) load((const char *const[]){__VA_ARGS__, NULL})

static void assert_runs(enum config_action action)
{
	if (action != CONFIG_RUN)
		print_error("%s\n", why);
	assert_int_equal(action, CONFIG_RUN);
	assert_string_equal(why, "");
}

/* One line that names what is wrong. */
static void assert_bad(enum config_action action, const char *part)
{
	assert_int_equal(action, CONFIG_BAD);
	if (strstr(why, part) == NULL)
		print_error("\"%s\" does not hold \"%s\"\n", why, part);
	assert_non_null(strstr(why, part));
	assert_null(strchr(why, '\n'));
}

/* Is the list exactly these words, each followed by a space? */
static void assert_list(char **list, const char *want)
{
	char joined[1024] = "";

	for (; list != NULL && *list != NULL; list++) {
		assert_true(strlen(joined) + strlen(*list) + 2 < sizeof(joined));
		strcat(strcat(joined, *list), " ");
	}
	assert_string_equal(joined, want);
}

static void assert_allow(const char *want)
{
	char joined[1024] = "";

	for (struct config_root *r = c.allow; r->path != NULL; r++)
		strcat(strcat(joined, r->path), r->read_only ? ":ro " : " ");
	assert_string_equal(joined, want);
}

static void write_file(const char *name, const char *content, size_t n, mode_t mode)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(content, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(name, mode), 0);
}

static enum config_action load_file(const char *json)
{
	write_file(FILE_NAME, json, strlen(json), 0600);
	return LOAD("boxd", "--config", FILE_NAME);
}

static void without_anything_it_serves_loopback_and_the_workspace(void **state)
{
	(void)state;
	assert_runs(LOAD("boxd"));
	assert_list(c.listen, "127.0.0.1:44772 ");
	assert_string_equal(c.root, "/workspace");
	assert_allow("/tmp ");
	assert_string_equal(c.state_dir, "/tmp");
	assert_null(c.token);
	assert_false(c.allow_unauthenticated);
	assert_null(c.allow_hosts);
	assert_null(c.allow_origins);
	assert_int_equal(c.log_level, LOG_LEVEL_INFO);
	assert_null(c.envs_file);
	assert_null(c.shell);
	assert_null(c.command);
	assert_false(c.as_execd);
}

static void every_flag_works_in_both_spellings(void **state)
{
	(void)state;
	assert_runs(LOAD("/usr/bin/boxd", "--listen", "127.0.0.1:0", "--listen=unix:/run/b.sock",
		"--root=/r", "--allow", "/a:ro", "--allow=/b", "--state-dir", "/s",
		"--allow-unauthenticated", "--allow-host=box", "--log-level", "debug"));
	assert_list(c.listen, "127.0.0.1:0 unix:/run/b.sock ");
	assert_string_equal(c.root, "/r");
	assert_allow("/a:ro /b ");
	assert_string_equal(c.state_dir, "/s");
	assert_true(c.allow_unauthenticated);
	assert_list(c.allow_hosts, "box ");
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
	assert_runs(LOAD("boxd", "--listen=[::1]:1", "--root", "/r", "--state-dir=/s",
		"--allow-host", "*", "--allow-origin", "https://a.example:8443", "--allow-origin=*",
		"--log-level=ERROR", "--allow-unauthenticated=false"));
	assert_list(c.listen, "[::1]:1 ");
	assert_list(c.allow_hosts, "* ");
	assert_list(c.allow_origins, "https://a.example:8443 * ");
	assert_int_equal(c.log_level, LOG_LEVEL_ERROR);
	assert_false(c.allow_unauthenticated);
}

static void the_last_of_two_equal_flags_wins(void **state)
{
	(void)state;
	assert_runs(LOAD("boxd", "--root", "/a", "--root", "/b", "--log-level", "debug",
		"--log-level", "warn"));
	assert_string_equal(c.root, "/b");
	assert_int_equal(c.log_level, LOG_LEVEL_WARN);
}

static void everything_after_two_dashes_is_the_command(void **state)
{
	(void)state;
	assert_runs(LOAD("boxd", "--root", "/r", "--", "sh", "-c", "--root", "--"));
	assert_list(c.command, "sh -c --root -- ");
	assert_string_equal(c.root, "/r");
	assert_bad(LOAD("boxd", "--"), "no command after --");
}

static void a_bad_command_line_is_one_clear_line(void **state)
{
	static const struct {
		const char *first, *second, *why;
	} rows[] = {
		{"--frob", NULL, "unknown flag --frob"},
		{"--frob=secret", NULL, "unknown flag --frob;"},
		{"--a\nb", NULL, "unknown flag --a\\x0ab"},
		{"--port", "1", "unknown flag --port"},
		{"--access-token", "x", "unknown flag --access-token"},
		{"-root", "/r", "unknown flag -root"},
		{"-x", NULL, "unknown flag -x"},
		{"tail", NULL, "unexpected \"tail\"; a command goes after --"},
		{"-", NULL, "unexpected \"-\""},
		{"", NULL, "unexpected \"\""},
		{"--root", NULL, "--root needs a value: DIR"},
		{"--root", "--listen", "--root needs a value"},
		{"--root", "--", "--root needs a value"},
		{"--root=", NULL, "--root: the path is empty"},
		{"--root", "/a/../b", "--root: the path must not contain \"..\""},
		{"--allow", ":ro", "--allow: the path is empty"},
		{"--allow=/a/..:ro", NULL, "--allow: the path must not"},
		{"--listen", "8080", "--listen: \"8080\" is not"},
		{"--listen", ":8080", "--listen: \":8080\" is not"},
		{"--listen", "127.0.0.1", "is not 127.0.0.1:PORT"},
		{"--listen", "127.0.0.1:", "is not 127.0.0.1:PORT"},
		{"--listen", "127.0.0.1:65536", "is not 127.0.0.1:PORT"},
		{"--listen", "127.0.0.1:-1", "is not 127.0.0.1:PORT"},
		{"--listen", "127.0.0.1:+1", "is not 127.0.0.1:PORT"},
		{"--listen", "127.0.0.1:0x1", "is not 127.0.0.1:PORT"},
		{"--listen", "127.1:80", "is not 127.0.0.1:PORT"},
		{"--listen", "::1:80", "is not 127.0.0.1:PORT"},
		{"--listen", "[::1:80", "is not 127.0.0.1:PORT"},
		{"--listen", "[::1]80", "is not 127.0.0.1:PORT"},
		{"--listen", "[fe80::1%lo]:80", "is not 127.0.0.1:PORT"},
		{"--listen", "[127.0.0.1]:80", "is not 127.0.0.1:PORT"},
		{"--listen", "example.org:80", "is not 127.0.0.1:PORT"},
		{"--listen", "\x1b[2J:80", "\"\\x1b[2J:80\" is not"},
		{"--listen", "unix:", "unix: wants an absolute path"},
		{"--listen", "unix:a.sock", "unix: wants an absolute path"},
		{"--listen", "unix:/", "unix: wants an absolute path"},
		{"--log-level", "loud", "--log-level: not error, warn, info or debug"},
		{"--log-level", "6", "--log-level: not error"},
		{"--allow-unauthenticated=maybe", NULL, "not true or false"},
		{"--allow-unauthenticated", "true", "unexpected \"true\""},
		{"--allow-host", "http://x", "--allow-host: not a host name"},
		{"--allow-host=", NULL, "--allow-host: not a host name"},
		{"--allow-origin", "example.org", "--allow-origin: not SCHEME://HOST"},
		{"--allow-origin", "https://x/", "--allow-origin: not SCHEME://HOST"},
		{"--allow-origin", "https://", "--allow-origin: not SCHEME://HOST"},
		{"--allow-origin", "://x", "--allow-origin: not SCHEME://HOST"},
		{"--config", "/nonexistent/x", "configuration file /nonexistent/x: No such file"},
		{"--config", "/", "read configuration file: Is a directory"},
		{"--token-file", "/nonexistent/x", "token file /nonexistent/x: No such file"},
		{"--print-limits=html", NULL, "--print-limits takes no such value"},
		{"--version=1", NULL, "--version takes no such value"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		print_message("%s\n", rows[i].why);
		assert_bad(LOAD("boxd", rows[i].first, rows[i].second), rows[i].why);
	}
}

static void a_socket_path_is_as_long_as_the_kernel_takes(void **state)
{
	char path[512];

	(void)state;
	snprintf(path, sizeof(path), "unix:/%0106d", 0);
	assert_runs(LOAD("boxd", "--listen", path));
	snprintf(path, sizeof(path), "unix:/%0107d", 0);
	assert_bad(LOAD("boxd", "--listen", path), "at most 107 bytes");
}

static void addresses_and_paths_get_one_spelling(void **state)
{
	char cwd[1024], want[4096];

	(void)state;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_runs(LOAD("boxd", "--listen", "localhost:080", "--root", "//a/./b//c/", "--allow",
		"rel/dir:ro", "--allow", ".", "--state-dir", "/"));
	assert_list(c.listen, "127.0.0.1:80 ");
	assert_string_equal(c.root, "/a/b/c");
	snprintf(want, sizeof(want), "%s/rel/dir:ro %s ", cwd, cwd);
	assert_allow(want);
	assert_string_equal(c.state_dir, "/");
}

static void only_loopback_and_sockets_are_local(void **state)
{
	static const struct {
		const char *addr;
		bool local;
	} rows[] = {
		{"127.0.0.1:1", true},
		{"127.255.255.254:1", true},
		{"[::1]:1", true},
		{"[::ffff:127.0.0.1]:1", true},
		{"unix:/x", true},
		{"0.0.0.0:1", false},
		{"128.0.0.1:1", false},
		{"10.0.0.1:1", false},
		{"[::]:1", false},
		{"[::2]:1", false},
		{"[::ffff:10.0.0.1]:1", false},
		{"[fe80::1]:1", false},
		{"nonsense", false},
		{"", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		print_message("%s\n", rows[i].addr);
		assert_int_equal(config_listen_is_local(rows[i].addr), rows[i].local);
	}
}

static void an_open_address_needs_a_token_or_the_explicit_word(void **state)
{
	static const char *const open[] = {"0.0.0.0:0", "[::]:0", "10.1.2.3:0"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_bad(LOAD("boxd", "--listen", open[i]), "without a token lets everybody in");
		assert_bad(LOAD("boxd", "--listen", "127.0.0.1:0", "--listen", open[i]),
			"without a token");
		assert_runs(LOAD("boxd", "--listen", open[i], "--allow-unauthenticated"));
		setenv("BOXD_TOKEN", "t", 1);
		assert_runs(LOAD("boxd", "--listen", open[i]));
	}
}

static void the_environment_says_the_same_as_the_flags(void **state)
{
	(void)state;
	setenv("BOXD_LISTEN", ",127.0.0.1:1,,unix:/x,", 1);
	setenv("BOXD_ROOT", "/r", 1);
	setenv("BOXD_ALLOW", "/a:ro,/b", 1);
	setenv("BOXD_STATE_DIR", "/s", 1);
	setenv("BOXD_ALLOW_UNAUTHENTICATED", "1", 1);
	setenv("BOXD_ALLOW_HOST", "h1,h2", 1);
	setenv("BOXD_ALLOW_ORIGIN", "null,https://o", 1);
	setenv("BOXD_LOG_LEVEL", "warn", 1);
	setenv("BOXD_SHELL", "/bin/zsh", 1);
	setenv("EXECD_ENVS", "~/$X/.env", 1);
	assert_runs(LOAD("boxd"));
	assert_list(c.listen, "127.0.0.1:1 unix:/x ");
	assert_string_equal(c.root, "/r");
	assert_allow("/a:ro /b ");
	assert_string_equal(c.state_dir, "/s");
	assert_true(c.allow_unauthenticated);
	assert_list(c.allow_hosts, "h1 h2 ");
	assert_list(c.allow_origins, "null https://o ");
	assert_int_equal(c.log_level, LOG_LEVEL_WARN);
	assert_string_equal(c.shell, "/bin/zsh");
	assert_string_equal(c.envs_file, "~/$X/.env");
}

static void an_empty_variable_is_an_unset_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
		setenv(variables[i], "", 1);
	assert_runs(LOAD("boxd"));
	assert_list(c.listen, "127.0.0.1:44772 ");
	assert_string_equal(c.state_dir, "/tmp");
	assert_null(c.token);
}

static void a_bad_variable_is_named(void **state)
{
	static const struct {
		const char *name, *value, *why;
	} rows[] = {
		{"BOXD_LISTEN", "127.0.0.1:1,x", "BOXD_LISTEN: \"x\" is not"},
		{"BOXD_ROOT", "..", "BOXD_ROOT: the path"},
		{"BOXD_ALLOW", "/a,/b/..", "BOXD_ALLOW: the path"},
		{"BOXD_ALLOW_UNAUTHENTICATED", "2",
			"BOXD_ALLOW_UNAUTHENTICATED: not true or false"},
		{"BOXD_LOG_LEVEL", "7", "BOXD_LOG_LEVEL: not error"},
		{"BOXD_TOKEN", "a\nb", "BOXD_TOKEN: the token holds a control character"},
		{"BOXD_TOKEN", " a", "BOXD_TOKEN: the token begins or ends with a space"},
		{"EXECD_ACCESS_TOKEN", "a\x7f", "EXECD_ACCESS_TOKEN: the token holds"},
		{"BOXD_CONFIG", "/nonexistent", "configuration file /nonexistent"},
		{"EXECD_API_GRACE_SHUTDOWN", "3",
			"EXECD_API_GRACE_SHUTDOWN: a duration needs units"},
		{"EXECD_JUPYTER_IDLE_POLL_INTERVAL", "x", "POLL_INTERVAL: not a duration"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		setup(NULL);
		print_message("%s=%s\n", rows[i].name, rows[i].value);
		setenv(rows[i].name, rows[i].value, 1);
		assert_bad(LOAD("boxd"), rows[i].why);
	}
}

static void flag_beats_variable_beats_file(void **state)
{
	static const char json[] =
		"{\"root\":\"/file\",\"listen\":[\"127.0.0.1:1\",\"127.0.0.1:2\"],"
		"\"log_level\":\"debug\",\"shell\":\"/file\"}";

	(void)state;
	assert_runs(load_file(json));
	assert_string_equal(c.root, "/file");
	assert_list(c.listen, "127.0.0.1:1 127.0.0.1:2 ");
	assert_string_equal(c.shell, "/file");
	setenv("BOXD_ROOT", "/env", 1);
	setenv("BOXD_LISTEN", "127.0.0.1:3", 1);
	setenv("BOXD_LOG_LEVEL", "warn", 1);
	assert_runs(load_file(json));
	assert_string_equal(c.root, "/env");
	assert_list(c.listen, "127.0.0.1:3 ");
	assert_int_equal(c.log_level, LOG_LEVEL_WARN);
	assert_runs(LOAD("boxd", "--config", FILE_NAME, "--root=/flag", "--listen=127.0.0.1:4",
		"--log-level=error"));
	assert_string_equal(c.root, "/flag");
	assert_list(c.listen, "127.0.0.1:4 ");
	assert_int_equal(c.log_level, LOG_LEVEL_ERROR);
	assert_string_equal(c.shell, "/file");
}

static void the_file_may_be_named_by_a_variable_and_a_flag_wins(void **state)
{
	(void)state;
	write_file(FILE_NAME, "{\"root\":\"/file\"}", 16, 0600);
	setenv("BOXD_CONFIG", FILE_NAME, 1);
	assert_runs(LOAD("boxd"));
	assert_string_equal(c.root, "/file");
	setenv("BOXD_CONFIG", "/nonexistent", 1);
	assert_runs(LOAD("boxd", "--config=" FILE_NAME));
	assert_string_equal(c.root, "/file");
}

static void a_value_that_does_not_win_is_still_checked(void **state)
{
	(void)state;
	setenv("BOXD_LOG_LEVEL", "loud", 1);
	assert_bad(LOAD("boxd", "--log-level", "warn"), "BOXD_LOG_LEVEL");
}

static void every_key_of_the_file_works(void **state)
{
	(void)state;
	assert_runs(load_file(
		"{\"listen\":\"127.0.0.1:9\",\"root\":\"/r\",\"allow\":[\"/a\",\"/b:ro\"],"
		"\"state_dir\":\"/s\",\"token\":\"hush\",\"allow_unauthenticated\":true,"
		"\"allow_host\":[\"h\"],\"allow_origin\":[\"https://o\"],"
		"\"log_level\":\"error\",\"shell\":\"/sh\",\"envs_file\":\"/e\","
		"\"limits\":{\"json_depth\":5,\"http_fields\":null}} \n"));
	assert_list(c.listen, "127.0.0.1:9 ");
	assert_string_equal(c.root, "/r");
	assert_allow("/a /b:ro ");
	assert_string_equal(c.state_dir, "/s");
	assert_string_equal(c.token, "hush");
	assert_true(c.allow_unauthenticated);
	assert_list(c.allow_hosts, "h ");
	assert_list(c.allow_origins, "https://o ");
	assert_int_equal(c.log_level, LOG_LEVEL_ERROR);
	assert_string_equal(c.shell, "/sh");
	assert_string_equal(c.envs_file, "/e");
	assert_int_equal(limit(LIMIT_JSON_DEPTH), 5);
	assert_int_equal(limit(LIMIT_HTTP_FIELDS), limit_rows[LIMIT_HTTP_FIELDS].def);
}

static void an_empty_list_in_the_file_is_an_answer(void **state)
{
	(void)state;
	setenv("HOME", "/home/u", 1);
	assert_runs(load_file("{\"allow\":[]}"));
	assert_allow("");
	assert_bad(load_file("{\"listen\":[]}"), "no address to listen on");
}

static void a_bad_file_is_one_clear_line(void **state)
{
	static const struct {
		const char *json, *why;
	} rows[] = {
		{"", "configuration file: the body is empty"},
		{"{", "configuration file: not valid JSON"},
		{"{} x", "something after the value"},
		{"[]", "configuration file: not a JSON object"},
		{"null", "configuration file: not a JSON object"},
		{"{\"rot\":\"/x\"}", "configuration file: unknown key \"rot\""},
		{"{\"Root\":\"/x\"}", "configuration file: unknown key \"Root\""},
		{"{\"config\":\"/x\"}", "configuration file: unknown key \"config\""},
		{"{\"a\\nb\":1}", "unknown key \"a\\x0ab\""},
		{"{\"root\":1}", "root in the configuration file: not a string"},
		{"{\"root\":[\"/x\"]}", "root in the configuration file: not a string"},
		{"{\"root\":\"/x/..\"}", "root in the configuration file: the path must"},
		{"{\"listen\":[\"127.0.0.1:1\",2]}",
			"listen in the configuration file: not a string"},
		{"{\"listen\":[\"x\"]}", "listen in the configuration file: \"x\" is not"},
		{"{\"allow_unauthenticated\":\"true\"}",
			"allow_unauthenticated must be true or false"},
		{"{\"token\":\"\"}", "token in the configuration file: the token is empty"},
		{"{\"token\":7}", "token in the configuration file: not a string"},
		{"{\"limits\":[]}", "limits in the configuration file: not an object"},
		{"{\"limits\":{\"nope\":1}}", "unknown limit \"nope\""},
		{"{\"limits\":{\"json_depth\":\"5\"}}",
			"limit json_depth must be an integer from 4 to 512"},
		{"{\"limits\":{\"json_depth\":5.5}}",
			"limit json_depth must be an integer from 4 to 512"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		print_message("%s\n", rows[i].json);
		assert_bad(load_file(rows[i].json), rows[i].why);
	}
}

static void a_file_that_is_too_large_is_the_wrong_file(void **state)
{
	size_t n = 1048577;
	char *big = malloc(n);

	(void)state;
	assert_non_null(big);
	memset(big, ' ', n);
	memcpy(big, "{}", 2);
	write_file(FILE_NAME, big, n - 1, 0600);
	assert_runs(LOAD("boxd", "--config", FILE_NAME));
	write_file(FILE_NAME, big, n, 0600);
	assert_bad(LOAD("boxd", "--config", FILE_NAME), "longer than 1048576 bytes");
	free(big);
}

static enum config_action load_limit(enum limit l, int64_t value)
{
	char json[128];

	snprintf(
		json, sizeof(json), "{\"limits\":{\"%s\":%" PRId64 "}}", limit_rows[l].name, value);
	return load_file(json);
}

static void every_limit_takes_its_bounds_from_the_file_and_nothing_beyond(void **state)
{
	(void)state;
	for (int i = 0; i < LIMIT_COUNT_; i++) {
		const struct limit_row *row = &limit_rows[i];
		enum limit l = (enum limit)i;

		print_message("%s\n", row->name);
		/* The file itself is read under the limits it sets: keep those for JSON wide. */
		assert_runs(load_limit(l, row->min));
		assert_true(limit(l) == row->min);
		assert_runs(load_limit(l, row->max));
		assert_true(limit(l) == row->max);
		assert_bad(load_limit(l, row->min - 1), "must be an integer from");
		assert_bad(load_limit(l, row->max + 1), "must be an integer from");
		assert_true(limit(l) == row->max);
	}
}

static void the_home_directory_is_reachable_unless_it_is_everything(void **state)
{
	static const struct {
		const char *home, *allow;
	} rows[] = {
		{"/home/u", "/tmp /home/u "},
		{"/home/u/", "/tmp /home/u "},
		{"/", "/tmp "},
		{"//.", "/tmp "},
		{"/tmp", "/tmp "},
		{"/home/../etc", "/tmp "},
		{"home", "/tmp "},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		print_message("%s\n", rows[i].home);
		setenv("HOME", rows[i].home, 1);
		assert_runs(LOAD("boxd"));
		assert_allow(rows[i].allow);
	}
	assert_runs(LOAD("boxd", "--allow", "/only"));
	assert_allow("/only ");
}

static void spill_files_go_to_tmpdir_by_default(void **state)
{
	(void)state;
	setenv("TMPDIR", "/var/tmp/", 1);
	assert_runs(LOAD("boxd"));
	assert_string_equal(c.state_dir, "/var/tmp");
	setenv("TMPDIR", "relative", 1);
	assert_runs(LOAD("boxd"));
	assert_string_equal(c.state_dir, "/tmp");
}

static void a_token_file_is_read_without_its_newline(void **state)
{
	static const struct {
		const char *content;
		size_t n;
		const char *token; /* NULL: refused */
		const char *why;
	} rows[] = {
		{"hush", 4, "hush", NULL},
		{"hush\n", 5, "hush", NULL},
		{"hush\r\n", 6, "hush", NULL},
		{"two words", 9, "two words", NULL},
		{"", 0, NULL, "token file: the token is empty"},
		{"\n", 1, NULL, "token file: the token is empty"},
		{"hush\n\n", 6, NULL, "token file: the token holds a control character"},
		{"hu\0sh", 5, NULL, "token file: a NUL in it"},
		{"hush ", 5, NULL, "begins or ends with a space"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		enum config_action action;

		print_message("%s\n", rows[i].content);
		write_file(TOKEN, rows[i].content, rows[i].n, 0600);
		action = LOAD("boxd", "--token-file", TOKEN);
		if (rows[i].token == NULL) {
			assert_bad(action, rows[i].why);
			continue;
		}
		assert_runs(action);
		assert_string_equal(c.token, rows[i].token);
	}
}

static void a_token_file_holds_at_most_4096_bytes(void **state)
{
	char big[4097];

	(void)state;
	memset(big, 't', sizeof(big));
	write_file(TOKEN, big, 4096, 0600);
	assert_runs(LOAD("boxd", "--token-file", TOKEN));
	assert_int_equal(strlen(c.token), 4096);
	write_file(TOKEN, big, 4097, 0600);
	assert_bad(LOAD("boxd", "--token-file", TOKEN), "token file is longer than 4096 bytes");
}

static void a_token_file_for_all_eyes_is_a_warning(void **state)
{
	char line[512] = "";
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	log_set_fd(fds[1]);
	write_file(TOKEN, "hush", 4, 0640);
	assert_runs(LOAD("boxd", "--token-file", TOKEN));
	log_set_fd(STDERR_FILENO);
	close(fds[1]);
	assert_true(read(fds[0], line, sizeof(line) - 1) > 0);
	close(fds[0]);
	assert_non_null(strstr(line, "warn config the token file is open to other users mode=640"));
	assert_null(strstr(line, "hush"));
}

static void the_stronger_source_gives_the_token(void **state)
{
	(void)state;
	write_file(TOKEN, "from-file", 9, 0600);
	setenv("BOXD_TOKEN", "from-env", 1);
	assert_runs(LOAD("boxd", "--token-file", TOKEN));
	assert_string_equal(c.token, "from-file");
	/* Of two that are equally strong, the file. */
	setenv("BOXD_TOKEN", "from-env", 1);
	setenv("BOXD_TOKEN_FILE", TOKEN, 1);
	assert_runs(LOAD("boxd"));
	assert_string_equal(c.token, "from-file");
	unsetenv("BOXD_TOKEN_FILE");
	setenv("BOXD_TOKEN", "from-env", 1);
	setenv("EXECD_ACCESS_TOKEN", "from-execd", 1);
	write_file(FILE_NAME, "{\"token_file\":\"/nonexistent\"}", 29, 0600);
	assert_runs(LOAD("boxd", "--config", FILE_NAME));
	assert_string_equal(c.token, "from-env");
	setenv("EXECD_ACCESS_TOKEN", "from-execd", 1);
	assert_runs(LOAD("boxd"));
	assert_string_equal(c.token, "from-execd");
}

static void a_token_is_wiped_where_it_came_from(void **state)
{
	static char entry[] = "BOXD_TOKEN=very-secret";
	static const char zeros[11];

	(void)state;
	/* putenv() keeps our memory in the environment, as the kernel's block is at a start. */
	assert_int_equal(putenv(entry), 0);
	setenv("EXECD_ACCESS_TOKEN", "other", 1);
	assert_runs(LOAD("boxd"));
	assert_string_equal(c.token, "very-secret");
	assert_null(getenv("BOXD_TOKEN"));
	assert_null(getenv("EXECD_ACCESS_TOKEN"));
	assert_memory_equal(entry + strlen("BOXD_TOKEN="), zeros, sizeof(zeros));

	assert_runs(LOAD("execd", "-access-token=in-argv", "--access-token", "in-argv-2",
		"-jupyter-token", "in-argv-3"));
	assert_string_equal(c.token, "in-argv-2");
	for (size_t i = 1; i < 6; i++)
		assert_null(memmem(words[i], sizeof(words[i]), "in-argv", 7));
	/* Also when the start fails. */
	assert_bad(LOAD("execd", "-access-token=in-argv", "-listen", "x"), "--listen");
	assert_null(memmem(words[1], sizeof(words[1]), "in-argv", 7));
}

static void execd_starts_as_its_users_expect(void **state)
{
	(void)state;
	assert_runs(LOAD("/opt/opensandbox/execd"));
	assert_true(c.as_execd);
	assert_list(c.listen, "0.0.0.0:44772 ");
	assert_true(c.allow_unauthenticated);
	assert_list(c.allow_hosts, "* ");
	assert_null(c.allow_origins);
	assert_null(c.token);
}

static void execd_takes_the_flags_of_the_reference(void **state)
{
	(void)state;
	assert_runs(LOAD("execd", "-port=1", "-log-level", "3", "-access-token", "t",
		"-jupyter-host=http://127.0.0.1:8888", "--jupyter-token", "--x",
		"-graceful-shutdown-timeout", "1m30.5s", "-jupyter-idle-poll-interval=-1s"));
	assert_list(c.listen, "0.0.0.0:1 ");
	assert_int_equal(c.log_level, LOG_LEVEL_ERROR);
	assert_string_equal(c.token, "t");
	assert_runs(LOAD("execd", "--port", "2", "--root", "/r", "-allow-host", "only"));
	assert_list(c.listen, "0.0.0.0:2 ");
	assert_string_equal(c.root, "/r");
	assert_list(c.allow_hosts, "only ");
	assert_runs(LOAD("execd", "-port", "1", "-port", "2", "--listen", "127.0.0.1:3"));
	assert_list(c.listen, "127.0.0.1:3 0.0.0.0:2 ");
	setenv("BOXD_LISTEN", "127.0.0.1:9", 1);
	assert_runs(LOAD("execd", "-port=0"));
	assert_list(c.listen, "0.0.0.0:0 ");
	assert_runs(LOAD("execd"));
	assert_list(c.listen, "127.0.0.1:9 ");
}

static void execd_counts_log_levels_like_the_reference(void **state)
{
	static const struct {
		const char *number;
		enum log_level level;
	} rows[] = {{"-1", LOG_LEVEL_ERROR}, {"0", LOG_LEVEL_ERROR}, {"2", LOG_LEVEL_ERROR},
		{"3", LOG_LEVEL_ERROR}, {"4", LOG_LEVEL_WARN}, {"5", LOG_LEVEL_INFO},
		{"6", LOG_LEVEL_INFO}, {"7", LOG_LEVEL_DEBUG}, {"99", LOG_LEVEL_DEBUG},
		{"warn", LOG_LEVEL_WARN}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_runs(LOAD("execd", "-log-level", rows[i].number));
		assert_int_equal(c.log_level, rows[i].level);
	}
	assert_bad(LOAD("execd", "-log-level", "6x"), "--log-level");
	assert_bad(LOAD("execd", "-log-level="), "--log-level");
}

static void execd_ignores_what_follows_its_flags(void **state)
{
	(void)state;
	assert_runs(LOAD("execd", "tail", "-f", "/dev/null"));
	assert_null(c.command);
	assert_runs(LOAD("./execd", "-port=7", "x", "--frob"));
	assert_list(c.listen, "0.0.0.0:7 ");
	assert_runs(LOAD("execd", "--", "sleep", "1"));
	assert_list(c.command, "sleep 1 ");
}

static void execd_refuses_what_the_reference_refuses(void **state)
{
	(void)state;
	assert_bad(LOAD("execd", "-frob"), "unknown flag -frob");
	assert_bad(LOAD("execd", "-port"), "--port needs a value");
	assert_bad(LOAD("execd", "-port=x"), "--port: not a port");
	assert_bad(LOAD("execd", "-port=65536"), "--port: not a port");
	assert_bad(LOAD("execd", "-jupyter-host=localhost"), "does not begin with http://");
	assert_bad(LOAD("execd", "-graceful-shutdown-timeout=1"), "a duration needs units");
}

static void an_empty_access_token_means_none(void **state)
{
	(void)state;
	setenv("EXECD_ACCESS_TOKEN", "t", 1);
	assert_runs(LOAD("execd", "-access-token="));
	assert_null(c.token);
}

static void durations_have_the_grammar_of_the_reference(void **state)
{
	static const struct {
		const char *text;
		bool ok;
	} rows[] = {
		{"0", true},
		{"+0", true},
		{"-0", true},
		{"1s", true},
		{"500ms", true},
		{"1h2m3.5s", true},
		{".5s", true},
		{"1.s", true},
		{"-1.5h", true},
		{"10us", true},
		{"10\xc2\xb5s", true},
		{"10\xce\xbcs", true},
		{"7ns", true},
		{"2562047h", true},
		{"", false},
		{"-", false},
		{"1", false},
		{"00", false},
		{"s", false},
		{".s", false},
		{"1 s", false},
		{"1x", false},
		{"1S", false},
		{"1s2", false},
		{"1..2s", false},
		{"--1s", false},
		{"1e3s", false},
		{"2562048h", false},
		{"9999999999999999h", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char flag[64];

		print_message("%s\n", rows[i].text);
		snprintf(flag, sizeof(flag), "-graceful-shutdown-timeout=%s", rows[i].text);
		assert_int_equal(LOAD("execd", flag), rows[i].ok ? CONFIG_RUN : CONFIG_BAD);
	}
}

static void flags_that_only_print_win_over_the_rest(void **state)
{
	static const struct {
		const char *flag;
		enum config_action action;
	} rows[] = {{"--help", CONFIG_PRINT_HELP}, {"-h", CONFIG_PRINT_HELP},
		{"--version", CONFIG_PRINT_VERSION}, {"--print-config", CONFIG_PRINT_CONFIG},
		{"--print-limits", CONFIG_PRINT_LIMITS},
		{"--print-limits=markdown", CONFIG_PRINT_LIMITS_MD},
		{"--print-flags", CONFIG_PRINT_HELP},
		{"--print-flags=markdown", CONFIG_PRINT_FLAGS_MD}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		print_message("%s\n", rows[i].flag);
		assert_int_equal(LOAD("boxd", rows[i].flag, "--root", "/r"), rows[i].action);
		assert_int_equal(LOAD("execd", rows[i].flag), rows[i].action);
	}
	/* --print-config is also the way to check a configuration. */
	assert_bad(LOAD("boxd", "--print-config", "--root", ".."), "--root");
	/* Help is for the one who got something wrong. */
	setenv("BOXD_LOG_LEVEL", "loud", 1);
	assert_int_equal(LOAD("boxd", "--help"), CONFIG_PRINT_HELP);
}

/* What a print function writes; the caller frees it. */
static char *printed(void (*print)(FILE *))
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	print(f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void print_result(FILE *f)
{
	config_print(&c, f);
}

static void the_printed_configuration_reads_back_the_same(void **state)
{
	char *first, *second;

	(void)state;
	setenv("BOXD_ALLOW_ORIGIN", "https://a.example", 1);
	setenv("BOXD_SHELL", "/odd \"shell\"\\\x01", 1);
	assert_runs(LOAD("boxd", "--listen", "[::]:0", "--listen", "unix:/x", "--allow", "/a:ro",
		"--allow-unauthenticated", "--log-level", "warn"));
	assert_true(limit_set(LIMIT_JSON_DEPTH, 77));
	first = printed(print_result);
	setup(NULL);
	write_file(FILE_NAME, first, strlen(first), 0600);
	assert_runs(LOAD("boxd", "--config", FILE_NAME));
	second = printed(print_result);
	assert_string_equal(first, second);
	assert_non_null(strstr(second, "\"json_depth\": 77"));
	assert_string_equal(c.shell, "/odd \"shell\"\\\x01");
	free(first);
	free(second);
}

static void the_printed_configuration_hides_the_token(void **state)
{
	char *text;

	(void)state;
	setenv("BOXD_TOKEN", "hush-hush", 1);
	assert_int_equal(LOAD("boxd", "--print-config"), CONFIG_PRINT_CONFIG);
	text = printed(print_result);
	assert_null(strstr(text, "hush"));
	assert_non_null(strstr(text, "\"token\": \"***\""));
	free(text);
}

static void print_limits_text(FILE *f)
{
	config_print_limits(f, false);
}

static void print_limits_markdown(FILE *f)
{
	config_print_limits(f, true);
}

static void print_flags_text(FILE *f)
{
	config_print_flags(f, false);
}

static void print_flags_markdown(FILE *f)
{
	config_print_flags(f, true);
}

static size_t count_of(const char *text, char byte)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += *text == byte;
	return n;
}

static void the_limits_are_printed_row_by_row(void **state)
{
	char *text, *markdown;

	(void)state;
	assert_true(limit_set(LIMIT_JSON_DEPTH, 77));
	text = printed(print_limits_text);
	markdown = printed(print_limits_markdown);
	assert_int_equal(count_of(text, '\n'), LIMIT_COUNT_ + 1);
	assert_non_null(strstr(text, "json_depth                               77 "));
	assert_int_equal(count_of(markdown, '\n'), LIMIT_COUNT_ + 2);
	assert_int_equal(count_of(markdown, '|'), (LIMIT_COUNT_ + 2) * 7);
	/* The README does not depend on the machine it was written on. */
	assert_non_null(strstr(markdown, "| `json_depth` | 64 | 4 | 512 | levels | nesting"));
	free(text);
	free(markdown);
}

static void every_option_is_in_the_help_and_in_the_table(void **state)
{
	static const char *const names[] = {"--listen ADDR:PORT", "--root DIR", "--allow PATH[:ro]",
		"--state-dir DIR", "--token-file FILE", "--allow-unauthenticated",
		"--allow-host NAME", "--allow-origin ORIGIN", "--config FILE", "--log-level LEVEL",
		"--print-config", "--print-limits", "--version", "--help", "-port PORT",
		"-access-token TOKEN", "-jupyter-host URL", "=markdown"};
	char *text = printed(print_flags_text);
	char *markdown = printed(print_flags_markdown);

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		print_message("%s\n", names[i]);
		assert_non_null(strstr(text, names[i]));
		assert_non_null(strstr(markdown, names[i]));
	}
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		assert_non_null(strstr(text, variables[i]));
		assert_non_null(strstr(markdown, variables[i]));
	}
	assert_int_equal(count_of(markdown, '|') % 6, 0);
	free(text);
	free(markdown);
}

static void no_arguments_at_all_are_no_reason_to_crash(void **state)
{
	char *none[] = {NULL};

	(void)state;
	config_fini(&c);
	assert_int_equal(config_load(&c, 0, none, why), CONFIG_RUN);
	assert_false(c.as_execd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(without_anything_it_serves_loopback_and_the_workspace),
		T(every_flag_works_in_both_spellings),
		T(the_last_of_two_equal_flags_wins),
		T(everything_after_two_dashes_is_the_command),
		T(a_bad_command_line_is_one_clear_line),
		T(a_socket_path_is_as_long_as_the_kernel_takes),
		T(addresses_and_paths_get_one_spelling),
		T(only_loopback_and_sockets_are_local),
		T(an_open_address_needs_a_token_or_the_explicit_word),
		T(the_environment_says_the_same_as_the_flags),
		T(an_empty_variable_is_an_unset_one),
		T(a_bad_variable_is_named),
		T(flag_beats_variable_beats_file),
		T(the_file_may_be_named_by_a_variable_and_a_flag_wins),
		T(a_value_that_does_not_win_is_still_checked),
		T(every_key_of_the_file_works),
		T(an_empty_list_in_the_file_is_an_answer),
		T(a_bad_file_is_one_clear_line),
		T(a_file_that_is_too_large_is_the_wrong_file),
		T(every_limit_takes_its_bounds_from_the_file_and_nothing_beyond),
		T(the_home_directory_is_reachable_unless_it_is_everything),
		T(spill_files_go_to_tmpdir_by_default),
		T(a_token_file_is_read_without_its_newline),
		T(a_token_file_holds_at_most_4096_bytes),
		T(a_token_file_for_all_eyes_is_a_warning),
		T(the_stronger_source_gives_the_token),
		T(a_token_is_wiped_where_it_came_from),
		T(execd_starts_as_its_users_expect),
		T(execd_takes_the_flags_of_the_reference),
		T(execd_counts_log_levels_like_the_reference),
		T(execd_ignores_what_follows_its_flags),
		T(execd_refuses_what_the_reference_refuses),
		T(an_empty_access_token_means_none),
		T(durations_have_the_grammar_of_the_reference),
		T(flags_that_only_print_win_over_the_rest),
		T(the_printed_configuration_reads_back_the_same),
		T(the_printed_configuration_hides_the_token),
		T(the_limits_are_printed_row_by_row),
		T(every_option_is_in_the_help_and_in_the_table),
		T(no_arguments_at_all_are_no_reason_to_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
