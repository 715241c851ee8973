/*
 * config_table: every option, in one table.
 *
 * A row is all there is to say about an option: its names in the three sources, how a value is
 * checked, where it goes, and the text that --help and the README print.
 */
#include "config_internal.h"

#define CONFIG_FIELD(field) .offset = offsetof(struct config_draft, field)

const struct config_option config_options[CONFIG_ID_COUNT_] = {
	[CONFIG_LISTEN] =
		{
			.flag = "listen",
			.arg = "ADDR:PORT",
			.env = "BOXD_LISTEN",
			.key = "listen",
			.def = "127.0.0.1:44772",
			.help = "address to serve: numeric IPv4, [IPv6] or unix:/path; port 0 "
				"picks a free one; "
				"repeatable",
			.value = config_value_listen,
			.store = CONFIG_STORE_LIST,
			CONFIG_FIELD(c.listen),
		},
	[CONFIG_ROOT] =
		{
			.flag = "root",
			.arg = "DIR",
			.env = "BOXD_ROOT",
			.key = "root",
			.def = "/workspace",
			.help = "the workspace: relative paths start here; created when missing; / "
				"turns "
				"confinement off",
			.value = config_value_path,
			CONFIG_FIELD(c.root),
		},
	[CONFIG_ALLOW] =
		{
			.flag = "allow",
			.arg = "PATH[:ro]",
			.env = "BOXD_ALLOW",
			.key = "allow",
			.def = "/tmp and $HOME",
			.help = "a further directory that file requests may reach, read-only with "
				":ro; repeatable",
			.value = config_value_allow,
			.store = CONFIG_STORE_LIST,
			CONFIG_FIELD(allow),
		},
	[CONFIG_STATE_DIR] =
		{
			.flag = "state-dir",
			.arg = "DIR",
			.env = "BOXD_STATE_DIR",
			.key = "state_dir",
			.def = "$TMPDIR or /tmp",
			.help = "where output that outgrows memory goes, in files without a name",
			.value = config_value_path,
			CONFIG_FIELD(c.state_dir),
		},
	[CONFIG_TOKEN] =
		{
			.flag = "access-token",
			.arg = "TOKEN",
			.env = "BOXD_TOKEN",
			.env_execd = "EXECD_ACCESS_TOKEN",
			.key = "token",
			.help = "the access token; wiped from where it came, and kept from every "
				"command",
			.value = config_value_token,
			CONFIG_FIELD(c.token),
			.execd_only = true,
			.secret = true,
		},
	[CONFIG_TOKEN_FILE] =
		{
			.flag = "token-file",
			.arg = "FILE",
			.env = "BOXD_TOKEN_FILE",
			.key = "token_file",
			.help = "file with the access token; one newline at its end does not count",
			.value = config_value_path,
			CONFIG_FIELD(token_file),
		},
	[CONFIG_ALLOW_UNAUTHENTICATED] =
		{
			.flag = "allow-unauthenticated",
			.env = "BOXD_ALLOW_UNAUTHENTICATED",
			.key = "allow_unauthenticated",
			.def = "false; true as execd",
			.help = "serve addresses other than loopback without a token",
			.value = config_value_bool,
			.store = CONFIG_STORE_BOOL,
			CONFIG_FIELD(c.allow_unauthenticated),
		},
	[CONFIG_ALLOW_HOST] =
		{
			.flag = "allow-host",
			.arg = "NAME",
			.env = "BOXD_ALLOW_HOST",
			.key = "allow_host",
			.def = "none; * as execd",
			.help = "a further name that Host may carry, * for any; repeatable",
			.value = config_value_host,
			.store = CONFIG_STORE_LIST,
			CONFIG_FIELD(c.allow_hosts),
		},
	[CONFIG_ALLOW_ORIGIN] =
		{
			.flag = "allow-origin",
			.arg = "ORIGIN",
			.env = "BOXD_ALLOW_ORIGIN",
			.key = "allow_origin",
			.def = "none",
			.help = "a web origin whose pages may call, such as https://ide.example, * "
				"for any; "
				"repeatable",
			.value = config_value_origin,
			.store = CONFIG_STORE_LIST,
			CONFIG_FIELD(c.allow_origins),
		},
	[CONFIG_CONFIG] =
		{
			.flag = "config",
			.arg = "FILE",
			.env = "BOXD_CONFIG",
			.help = "JSON file with the keys of this table and an object \"limits\"",
			.value = config_value_path,
			CONFIG_FIELD(config_file),
		},
	[CONFIG_LOG_LEVEL] =
		{
			.flag = "log-level",
			.arg = "LEVEL",
			.env = "BOXD_LOG_LEVEL",
			.key = "log_level",
			.def = "info",
			.help = "error, warn, info or debug; as execd also the reference's numbers",
			.value = config_value_level,
			.store = CONFIG_STORE_LEVEL,
			CONFIG_FIELD(c.log_level),
		},
	[CONFIG_SHELL] =
		{
			.env = "BOXD_SHELL",
			.key = "shell",
			.def = "bash, else sh",
			.help = "the shell that runs command texts",
			.value = config_value_path,
			CONFIG_FIELD(c.shell),
		},
	[CONFIG_ENVS_FILE] =
		{
			.env_execd = "EXECD_ENVS",
			.key = "envs_file",
			.help = "file of NAME=VALUE lines, read anew for every command; may hold ~ "
				"and $VAR",
			.value = config_value_any,
			CONFIG_FIELD(c.envs_file),
		},
	[CONFIG_PORT] =
		{
			.flag = "port",
			.arg = "PORT",
			.def = "44772",
			.help = "serve 0.0.0.0:PORT",
			.value = config_value_port,
			CONFIG_FIELD(port_listen),
			.execd_only = true,
		},
	[CONFIG_GRACE] =
		{
			.flag = "graceful-shutdown-timeout",
			.arg = "DURATION",
			.env_execd = "EXECD_API_GRACE_SHUTDOWN",
			.help = "accepted and ignored: nothing here waits for that long",
			.value = config_value_duration,
			.store = CONFIG_STORE_NONE,
			.execd_only = true,
		},
	[CONFIG_JUPYTER_HOST] =
		{
			.flag = "jupyter-host",
			.arg = "URL",
			.help = "accepted and ignored",
			.value = config_value_url,
			.store = CONFIG_STORE_NONE,
			.execd_only = true,
		},
	[CONFIG_JUPYTER_TOKEN] =
		{
			.flag = "jupyter-token",
			.arg = "TOKEN",
			.help = "accepted and ignored",
			.value = config_value_any,
			.store = CONFIG_STORE_NONE,
			.execd_only = true,
			.secret = true,
		},
	[CONFIG_JUPYTER_POLL] =
		{
			.flag = "jupyter-idle-poll-interval",
			.arg = "DURATION",
			.env_execd = "EXECD_JUPYTER_IDLE_POLL_INTERVAL",
			.help = "accepted and ignored",
			.value = config_value_duration,
			.store = CONFIG_STORE_NONE,
			.execd_only = true,
		},
	[CONFIG_DO_PRINT_CONFIG] =
		{
			.flag = "print-config",
			.help = "print the resulting configuration as JSON, the token masked, and "
				"exit",
			.action = CONFIG_PRINT_CONFIG,
		},
	[CONFIG_DO_PRINT_LIMITS] =
		{
			.flag = "print-limits",
			.help = "print every limit and exit; with =markdown as the table of the "
				"README",
			.action = CONFIG_PRINT_LIMITS,
		},
	[CONFIG_DO_PRINT_FLAGS] =
		{
			.flag = "print-flags",
			.help = "with =markdown print the table of flags of the README and exit; "
				"else as --help",
			.action = CONFIG_PRINT_HELP,
		},
	[CONFIG_DO_VERSION] =
		{
			.flag = "version",
			.help = "print the version and exit",
			.action = CONFIG_PRINT_VERSION,
		},
	[CONFIG_DO_HELP] =
		{
			.flag = "help",
			.help = "print this text and exit",
			.action = CONFIG_PRINT_HELP,
		},
};
