/*
 * config_print: the result, the limits and the flags, for people, for --config and for the README.
 *
 * The README's tables come from here and a test compares them, so that no number and no flag has a
 * second home.
 */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "boxd/limits.h"
#include "config_internal.h"

/* ---- the configuration as JSON ---- */

static void config_put_string(FILE *out, const char *text)
{
	if (text == NULL) {
		fputs("null", out);
		return;
	}
	fputc('"', out);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void config_put_member(FILE *out, enum config_id id, const char *text)
{
	fprintf(out, "  \"%s\": ", config_options[id].key);
	config_put_string(out, text);
	fputs(",\n", out);
}

static void config_put_list(FILE *out, enum config_id id, char *const *list)
{
	fprintf(out, "  \"%s\": [", config_options[id].key);
	for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
		fputs(i == 0 ? "" : ", ", out);
		config_put_string(out, list[i]);
	}
	fputs("],\n", out);
}

static void config_put_roots(FILE *out, const struct config_root *roots)
{
	fprintf(out, "  \"%s\": [", config_options[CONFIG_ALLOW].key);
	for (size_t i = 0; roots != NULL && roots[i].path != NULL; i++) {
		char path[4200]; /* PATH_MAX and ":ro" */

		snprintf(
			path, sizeof(path), "%s%s", roots[i].path, roots[i].read_only ? ":ro" : "");
		fputs(i == 0 ? "" : ", ", out);
		config_put_string(out, path);
	}
	fputs("],\n", out);
}

/* The name of a limit as the configuration file spells it. */
static const char *config_limit_key(const struct limit_row *row, char out[static 64])
{
	size_t i = 0;

	for (; row->name[i] != '\0' && i < 63; i++)
		out[i] = (char)tolower((unsigned char)row->name[i]);
	out[i] = '\0';
	return out;
}

void config_print(const struct config *c, FILE *out)
{
	char key[64];

	fputs("{\n", out);
	config_put_list(out, CONFIG_LISTEN, c->listen);
	config_put_member(out, CONFIG_ROOT, c->root);
	config_put_roots(out, c->allow);
	config_put_member(out, CONFIG_STATE_DIR, c->state_dir);
	config_put_member(out, CONFIG_TOKEN, c->token == NULL ? NULL : "***");
	fprintf(out, "  \"%s\": %s,\n", config_options[CONFIG_ALLOW_UNAUTHENTICATED].key,
		c->allow_unauthenticated ? "true" : "false");
	config_put_list(out, CONFIG_ALLOW_HOST, c->allow_hosts);
	config_put_list(out, CONFIG_ALLOW_ORIGIN, c->allow_origins);
	config_put_member(out, CONFIG_LOG_LEVEL, log_level_name(c->log_level));
	config_put_member(out, CONFIG_SHELL, c->shell);
	config_put_member(out, CONFIG_ENVS_FILE, c->envs_file);
	fputs("  \"limits\": {\n", out);
	for (int l = 0; l < LIMIT_COUNT_; l++)
		fprintf(out, "    \"%s\": %" PRId64 "%s\n", config_limit_key(&limit_rows[l], key),
			limit((enum limit)l), l + 1 < LIMIT_COUNT_ ? "," : "");
	fputs("  }\n}\n", out);
}

/* ---- limits ---- */

void config_print_limits(FILE *out, bool markdown)
{
	char key[64];

	if (markdown)
		fputs("| Limit | Default | Min | Max | Unit | What it bounds |\n"
		      "|---|---|---|---|---|---|\n",
			out);
	else
		fprintf(out, "%-28s %14s %10s %14s  %-8s %s\n", "limit", "value", "min", "max",
			"unit", "what it bounds");
	for (int l = 0; l < LIMIT_COUNT_; l++) {
		const struct limit_row *row = &limit_rows[l];

		config_limit_key(row, key);
		if (markdown)
			fprintf(out,
				"| `%s` | %" PRId64 " | %" PRId64 " | %" PRId64 " | %s | %s |\n",
				key, row->def, row->min, row->max, row->unit, row->why);
		else
			fprintf(out, "%-28s %14" PRId64 " %10" PRId64 " %14" PRId64 "  %-8s %s\n",
				key, limit((enum limit)l), row->min, row->max, row->unit, row->why);
	}
}

/* ---- flags ---- */

/* "--flag ARG", "-flag ARG" for the reference's, or empty. */
static void config_flag_text(const struct config_option *opt, char out[static 64])
{
	out[0] = '\0';
	if (opt->flag != NULL)
		snprintf(out, 64, "%s%s%s%s", opt->execd_only ? "-" : "--", opt->flag,
			opt->arg == NULL ? "" : " ", opt->arg == NULL ? "" : opt->arg);
}

static const char *config_or_empty(const char *text)
{
	return text == NULL ? "" : text;
}

/* A cell with text in code style, or an empty one. */
static void config_put_code(FILE *out, const char *first, const char *second)
{
	fputs(" |", out);
	if (first != NULL && *first != '\0')
		fprintf(out, " `%s`", first);
	if (second != NULL)
		fprintf(out, "%s `%s`", first == NULL ? "" : ",", second);
}

static void config_put_markdown(FILE *out, const struct config_option *opt)
{
	char flag[64];

	config_flag_text(opt, flag);
	fputs("|", out);
	if (flag[0] != '\0')
		fprintf(out, " `%s`%s", flag, opt->execd_only ? " (as `execd`)" : "");
	config_put_code(out, opt->env, opt->env_execd);
	config_put_code(out, opt->key, NULL);
	fprintf(out, " | %s%s| %s |\n", config_or_empty(opt->def), opt->def == NULL ? "" : " ",
		opt->help);
}

/* One option of --help: its flag and what it does, then its other names. */
static void config_put_help(FILE *out, const struct config_option *opt)
{
	char flag[64];

	config_flag_text(opt, flag);
	if (flag[0] == '\0')
		snprintf(flag, sizeof(flag), "%s", opt->env != NULL ? opt->env : opt->env_execd);
	fprintf(out, "  %s%s\n      %s\n", flag,
		opt->execd_only && opt->key != NULL ? " (as execd)" : "", opt->help);
	if (opt->env == NULL && opt->env_execd == NULL && opt->key == NULL && opt->def == NULL)
		return;
	fputs("     ", out);
	if (opt->env != NULL || opt->env_execd != NULL)
		fprintf(out, " env %s%s%s;", config_or_empty(opt->env),
			opt->env != NULL && opt->env_execd != NULL ? " or " : "",
			config_or_empty(opt->env_execd));
	if (opt->key != NULL)
		fprintf(out, " key %s;", opt->key);
	fprintf(out, " default: %s\n", opt->def == NULL ? "unset" : opt->def);
}

static void config_print_help(FILE *out)
{
	fputs("usage: boxd [flags] [-- COMMAND ARGS...]\n\n"
	      "Runs commands, terminals and file requests in a sandbox, over HTTP. With a command, "
	      "boxd is\n"
	      "the init of the box: it runs the command, forwards signals and ends with its "
	      "status.\n"
	      "A flag wins over the environment, the environment over the file of --config. Lists "
	      "in the\n"
	      "environment are separated by commas.\n\nflags:\n",
		out);
	for (int id = 0; id < CONFIG_ID_COUNT_; id++) {
		if (!config_options[id].execd_only || config_options[id].key != NULL)
			config_put_help(out, &config_options[id]);
	}
	fputs("\ncalled as execd, also with one dash:\n", out);
	for (int id = 0; id < CONFIG_ID_COUNT_; id++) {
		if (config_options[id].execd_only && config_options[id].key == NULL)
			config_put_help(out, &config_options[id]);
	}
}

void config_print_flags(FILE *out, bool markdown)
{
	if (!markdown) {
		config_print_help(out);
		return;
	}
	fputs("| Flag | Environment | Key | Default | Meaning |\n|---|---|---|---|---|\n", out);
	for (int id = 0; id < CONFIG_ID_COUNT_; id++)
		config_put_markdown(out, &config_options[id]);
}
