/*
 * config: three sources, one result.
 *
 * The command line is taken apart first, because it may name the configuration file and may only
 * ask for output. Then the sources are applied from the weakest to the strongest (file, EXECD_*,
 * BOXD_*, flags), each replacing what the ones before it said: so every value is checked, also
 * one that does not win. Defaults and the rules that look at several options come last.
 */
#include "boxd/config.h"

#include <stdlib.h>
#include <string.h>

#include "boxd/cleanup.h"
#include "boxd/secret.h"
#include "config_internal.h"

struct config_word {
	enum config_id id;
	char *value; /* in argv; NULL when the flag stands alone */
};

/* The command line, taken apart. */
struct config_args {
	struct config_word *words;
	size_t count;
	enum config_action action;
	char **command; /* in argv; NULL without "--" */
};

static void config_list_free(char **list)
{
	for (char **item = list; item != NULL && *item != NULL; item++)
		free(*item);
	free(list);
}

/* Takes ownership of text, also when memory is out. */
static int config_list_add(char ***list, char *text)
{
	size_t n = 0;
	char **longer;

	while (*list != NULL && (*list)[n] != NULL)
		n++;
	longer = text == NULL ? NULL : realloc(*list, (n + 2) * sizeof(*longer));
	if (longer == NULL) {
		free(text);
		return -1;
	}
	longer[n] = text;
	longer[n + 1] = NULL;
	*list = longer;
	return 0;
}

/* ---- one value ---- */

static void *config_field(struct config_draft *d, const struct config_option *opt)
{
	return (char *)d + opt->offset;
}

void config_name(const struct config_draft *d, enum config_id id, char out[static 64])
{
	const struct config_option *opt = &config_options[id];

	switch (d->now) {
	case CONFIG_FROM_FLAG: snprintf(out, 64, "--%s", opt->flag); break;
	case CONFIG_FROM_ENV: snprintf(out, 64, "%s", opt->env); break;
	case CONFIG_FROM_ENV_EXECD: snprintf(out, 64, "%s", opt->env_execd); break;
	case CONFIG_FROM_FILE: snprintf(out, 64, "%s in the configuration file", opt->key); break;
	case CONFIG_FROM_NOWHERE: snprintf(out, 64, "default of %s", opt->key); break;
	}
}

void config_begin(struct config_draft *d, enum config_id id)
{
	const struct config_option *opt = &config_options[id];

	if (d->source[id] != d->now && opt->store == CONFIG_STORE_LIST) {
		char ***list = config_field(d, opt);

		config_list_free(*list);
		*list = NULL;
	}
	d->source[id] = d->now;
}

/* Stores a checked value; takes ownership of text. */
static int config_store(struct config_draft *d, const struct config_option *opt, char *text)
{
	void *field = config_field(d, opt);
	enum log_level level;

	switch (opt->store) {
	case CONFIG_STORE_STRING:
		secret_free(*(char **)field);
		*(char **)field = text;
		return 0;
	case CONFIG_STORE_LIST: return config_list_add(field, text);
	case CONFIG_STORE_BOOL: *(bool *)field = text[0] == 't'; break;
	case CONFIG_STORE_LEVEL:
		if (log_level_parse(text, &level))
			*(enum log_level *)field = level;
		break;
	case CONFIG_STORE_NONE: break;
	}
	secret_free(text);
	return 0;
}

int config_apply(struct config_draft *d, enum config_id id, const char *value,
	char why[static CONFIG_WHY_MAX])
{
	const struct config_option *opt = &config_options[id];
	char reason[CONFIG_WHY_MAX];
	char name[64];
	char *text = NULL;

	if (opt->value(d, value, &text, reason) < 0) {
		config_name(d, id, name);
		return config_bad(why, "%s: %s", name, reason);
	}
	config_begin(d, id);
	if (config_store(d, opt, text) < 0)
		return config_bad(why, "out of memory");
	return 0;
}

/* ---- the command line ---- */

/* One dash is for the reference's spelling, and for -h. */
static enum config_id config_find_flag(
	const struct config_draft *d, size_t dashes, const char *name, size_t n)
{
	if (n == 1 && *name == 'h')
		return CONFIG_DO_HELP;
	if (dashes == 1 && !d->c.as_execd)
		return CONFIG_ID_COUNT_;
	for (int id = 0; id < CONFIG_ID_COUNT_; id++) {
		const struct config_option *opt = &config_options[id];

		if (opt->flag == NULL || (opt->execd_only && !d->c.as_execd))
			continue;
		if (strlen(opt->flag) == n && memcmp(opt->flag, name, n) == 0)
			return (enum config_id)id;
	}
	return CONFIG_ID_COUNT_;
}

/* A flag that asks for output. The last one counts. */
static int config_read_action(enum config_id id, const char *value, struct config_args *args,
	char why[static CONFIG_WHY_MAX])
{
	args->action = config_options[id].action;
	if (value == NULL)
		return 0;
	if (strcmp(value, "markdown") == 0 && id == CONFIG_DO_PRINT_LIMITS)
		args->action = CONFIG_PRINT_LIMITS_MD;
	else if (strcmp(value, "markdown") == 0 && id == CONFIG_DO_PRINT_FLAGS)
		args->action = CONFIG_PRINT_FLAGS_MD;
	else
		return config_bad(why, "--%s takes no such value", config_options[id].flag);
	return 0;
}

/* One flag at argv[*i]; *i moves to its last word. */
static int config_read_flag(const struct config_draft *d, char **argv, int *i,
	struct config_args *args, char why[static CONFIG_WHY_MAX])
{
	char *word = argv[*i];
	size_t dashes = word[1] == '-' ? 2 : 1;
	size_t n = strcspn(word + dashes, "=");
	enum config_id id = config_find_flag(d, dashes, word + dashes, n);
	char *value = word[dashes + n] == '=' ? word + dashes + n + 1 : NULL;
	const struct config_option *opt;
	char shown[64];

	if (id == CONFIG_ID_COUNT_)
		return config_bad(why, "unknown flag %s; --help lists them",
			log_escape(shown, sizeof(shown), word, dashes + n));
	opt = &config_options[id];
	if (opt->action != CONFIG_RUN)
		return config_read_action(id, value, args, why);
	if (value == NULL && opt->arg != NULL) {
		char *next = argv[*i + 1];

		/* A flag in the place of a value is a forgotten value, unless "=" says otherwise.
		 */
		if (next == NULL || (!opt->execd_only && strncmp(next, "--", 2) == 0))
			return config_bad(why, "--%s needs a value: %s", opt->flag, opt->arg);
		value = next;
		(*i)++;
	}
	args->words[args->count++] = (struct config_word){id, value};
	return 0;
}

static int config_read_args(const struct config_draft *d, int argc, char **argv,
	struct config_args *args, char why[static CONFIG_WHY_MAX])
{
	char shown[64];

	args->words = calloc((size_t)argc + 1, sizeof(*args->words));
	if (args->words == NULL)
		return config_bad(why, "out of memory");
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			if (argv[i + 1] == NULL)
				return config_bad(why, "no command after --");
			args->command = argv + i + 1;
			return 0;
		}
		if (argv[i][0] != '-' || argv[i][1] == '\0') {
			if (d->c.as_execd)
				return 0; /* the reference ignores what follows its flags */
			return config_bad(why, "unexpected \"%s\"; a command goes after --",
				log_escape(shown, sizeof(shown), argv[i], strlen(argv[i])));
		}
		if (config_read_flag(d, argv, &i, args, why) < 0)
			return -1;
	}
	return 0;
}

static int config_apply_args(
	struct config_draft *d, const struct config_args *args, char why[static CONFIG_WHY_MAX])
{
	d->now = CONFIG_FROM_FLAG;
	for (size_t i = 0; i < args->count; i++) {
		const struct config_word *w = &args->words[i];

		if (config_apply(d, w->id, w->value == NULL ? "true" : w->value, why) < 0)
			return -1;
	}
	for (char **word = args->command; word != NULL && *word != NULL; word++) {
		if (config_list_add(&d->c.command, strdup(*word)) < 0)
			return config_bad(why, "out of memory");
	}
	return 0;
}

/* ---- the environment ---- */

/* A variable that is set and not empty. */
static char *config_getenv(const char *name)
{
	char *value = name == NULL ? NULL : getenv(name);

	return value == NULL || *value == '\0' ? NULL : value;
}

/* Applies the elements of a comma-separated list. */
static int config_apply_commas(struct config_draft *d, enum config_id id, const char *value,
	char why[static CONFIG_WHY_MAX])
{
	while (*value != '\0') {
		size_t n = strcspn(value, ",");
		CLEANUP_FREE char *item = strndup(value, n);

		if (item == NULL)
			return config_bad(why, "out of memory");
		if (n > 0 && config_apply(d, id, item, why) < 0)
			return -1;
		value += n;
		value += *value == ',';
	}
	return 0;
}

static int config_apply_env(
	struct config_draft *d, enum config_source source, char why[static CONFIG_WHY_MAX])
{
	d->now = source;
	for (int id = 0; id < CONFIG_ID_COUNT_; id++) {
		const struct config_option *opt = &config_options[id];
		const char *value = config_getenv(
			source == CONFIG_FROM_ENV ? opt->env : opt->env_execd);
		int rc = 0;

		if (value == NULL)
			continue;
		if (opt->store == CONFIG_STORE_LIST)
			rc = config_apply_commas(d, (enum config_id)id, value, why);
		else
			rc = config_apply(d, (enum config_id)id, value, why);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* ---- defaults and rules ---- */

static int config_default(struct config_draft *d, enum config_id id, const char *value,
	char why[static CONFIG_WHY_MAX])
{
	d->now = CONFIG_FROM_NOWHERE;
	return d->source[id] == CONFIG_FROM_NOWHERE ? config_apply(d, id, value, why) : 0;
}

/*
 * The home directory is reachable by default, unless it is / as in images without a passwd line:
 * only --root / may turn confinement off. A HOME that cannot be used is no reason not to start.
 */
static int config_default_allow(struct config_draft *d, char why[static CONFIG_WHY_MAX])
{
	const char *home = config_getenv("HOME");
	char ignored[CONFIG_WHY_MAX];
	char *path = NULL;
	int rc = 0;

	if (d->source[CONFIG_ALLOW] != CONFIG_FROM_NOWHERE)
		return 0;
	if (config_default(d, CONFIG_ALLOW, "/tmp", why) < 0)
		return -1;
	if (home == NULL || *home != '/' || config_value_path(d, home, &path, ignored) < 0)
		return 0;
	if (strcmp(path, "/") != 0 && strcmp(path, "/tmp") != 0)
		rc = config_apply(d, CONFIG_ALLOW, path, why);
	free(path);
	return rc;
}

static int config_defaults(struct config_draft *d, char why[static CONFIG_WHY_MAX])
{
	const char *tmp = config_getenv("TMPDIR");

	if (d->source[CONFIG_LISTEN] == CONFIG_FROM_NOWHERE && d->port_listen == NULL &&
		config_default(d, CONFIG_LISTEN,
			d->c.as_execd ? "0.0.0.0:44772" : "127.0.0.1:44772", why) < 0)
		return -1;
	if (d->c.as_execd && (config_default(d, CONFIG_ALLOW_UNAUTHENTICATED, "true", why) < 0 ||
				     config_default(d, CONFIG_ALLOW_HOST, "*", why) < 0))
		return -1;
	if (config_default(d, CONFIG_ROOT, "/workspace", why) < 0)
		return -1;
	if (config_default(d, CONFIG_STATE_DIR, tmp == NULL || *tmp != '/' ? "/tmp" : tmp, why) < 0)
		return -1;
	return config_default_allow(d, why);
}

/* -port is one more address, and replaces those of weaker sources. */
static int config_merge_port(struct config_draft *d, char why[static CONFIG_WHY_MAX])
{
	if (d->port_listen == NULL)
		return 0;
	d->now = CONFIG_FROM_FLAG;
	return config_apply(d, CONFIG_LISTEN, d->port_listen, why);
}

static int config_split_allow(struct config_draft *d, char why[static CONFIG_WHY_MAX])
{
	size_t n = 0;

	while (d->allow != NULL && d->allow[n] != NULL)
		n++;
	d->c.allow = calloc(n + 1, sizeof(*d->c.allow));
	if (d->c.allow == NULL)
		return config_bad(why, "out of memory");
	for (size_t i = 0; i < n; i++) {
		char *path = d->allow[i];
		size_t len = strlen(path);

		d->c.allow[i].read_only = len > 3 && strcmp(path + len - 3, ":ro") == 0;
		d->c.allow[i].path = strndup(path, d->c.allow[i].read_only ? len - 3 : len);
		if (d->c.allow[i].path == NULL)
			return config_bad(why, "out of memory");
	}
	return 0;
}

/* What several options must agree on. */
static int config_check(const struct config_draft *d, char why[static CONFIG_WHY_MAX])
{
	if (d->c.listen == NULL)
		return config_bad(why, "there is no address to listen on");
	for (char **addr = d->c.listen; *addr != NULL; addr++) {
		if (d->c.token == NULL && !d->c.allow_unauthenticated &&
			!config_listen_is_local(*addr))
			return config_bad(why,
				"%s without a token lets everybody in: give --token-file or "
				"BOXD_TOKEN, "
				"or say --allow-unauthenticated",
				*addr);
	}
	return 0;
}

static int config_finish(struct config_draft *d, char why[static CONFIG_WHY_MAX])
{
	if (config_merge_port(d, why) < 0 || config_defaults(d, why) < 0)
		return -1;
	if (d->token_file != NULL && d->source[CONFIG_TOKEN_FILE] >= d->source[CONFIG_TOKEN] &&
		config_read_token(d, why) < 0)
		return -1;
	if (config_split_allow(d, why) < 0)
		return -1;
	return config_check(d, why);
}

/* ---- all of it ---- */

static int config_apply_all(
	struct config_draft *d, const struct config_args *args, char why[static CONFIG_WHY_MAX])
{
	const char *file = config_getenv(config_options[CONFIG_CONFIG].env);

	for (size_t i = 0; i < args->count; i++) {
		if (args->words[i].id == CONFIG_CONFIG)
			file = args->words[i].value;
	}
	if (file != NULL && config_apply_file(d, file, why) < 0)
		return -1;
	if (config_apply_env(d, CONFIG_FROM_ENV_EXECD, why) < 0 ||
		config_apply_env(d, CONFIG_FROM_ENV, why) < 0 ||
		config_apply_args(d, args, why) < 0)
		return -1;
	return config_finish(d, why);
}

/* Commands must not find a token in our environment, and ps must not show one. */
static void config_wipe_sources(const struct config_args *args)
{
	for (size_t i = 0; i < args->count; i++) {
		const struct config_word *w = &args->words[i];

		if (config_options[w->id].secret && w->value != NULL)
			explicit_bzero(w->value, strlen(w->value));
	}
	for (int id = 0; id < CONFIG_ID_COUNT_; id++) {
		const struct config_option *opt = &config_options[id];
		const char *names[] = {opt->env, opt->env_execd};

		for (size_t i = 0; i < 2 && opt->secret; i++) {
			char *value = names[i] == NULL ? NULL : getenv(names[i]);

			if (value == NULL)
				continue;
			explicit_bzero(value, strlen(value));
			unsetenv(names[i]);
		}
	}
}

static bool config_called_execd(int argc, char **argv)
{
	const char *name = argc > 0 && argv[0] != NULL ? argv[0] : "";
	const char *slash = strrchr(name, '/');

	return strcmp(slash == NULL ? name : slash + 1, "execd") == 0;
}

enum config_action config_load(
	struct config *c, int argc, char **argv, char why[static CONFIG_WHY_MAX])
{
	struct config_draft d = {0};
	struct config_args args = {0};
	enum config_action action = CONFIG_BAD;

	why[0] = '\0';
	d.c.log_level = LOG_LEVEL_INFO;
	d.c.as_execd = config_called_execd(argc, argv);
	if (config_read_args(&d, argc, argv, &args, why) == 0) {
		action = args.action;
		if ((action == CONFIG_RUN || action == CONFIG_PRINT_CONFIG ||
			    action == CONFIG_PRINT_LIMITS) &&
			config_apply_all(&d, &args, why) < 0)
			action = CONFIG_BAD;
	}
	config_wipe_sources(&args);
	free(args.words);
	config_list_free(d.allow);
	free(d.token_file);
	free(d.config_file);
	free(d.port_listen);
	*c = d.c;
	return action;
}

void config_fini(struct config *c)
{
	config_list_free(c->listen);
	free(c->root);
	for (struct config_root *r = c->allow; r != NULL && r->path != NULL; r++)
		free(r->path);
	free(c->allow);
	free(c->state_dir);
	secret_free(c->token);
	config_list_free(c->allow_hosts);
	config_list_free(c->allow_origins);
	free(c->envs_file);
	free(c->shell);
	config_list_free(c->command);
	*c = (struct config){0};
}
