/*
 * What the config_*.c files share: the table of options and the draft that the sources fill in.
 */
#ifndef BOXD_CONFIG_INTERNAL_H
#define BOXD_CONFIG_INTERNAL_H

#include "boxd/config.h"

enum config_id {
	CONFIG_LISTEN,
	CONFIG_ROOT,
	CONFIG_ALLOW,
	CONFIG_STATE_DIR,
	CONFIG_TOKEN,
	CONFIG_TOKEN_FILE,
	CONFIG_ALLOW_UNAUTHENTICATED,
	CONFIG_ALLOW_HOST,
	CONFIG_ALLOW_ORIGIN,
	CONFIG_CONFIG,
	CONFIG_LOG_LEVEL,
	CONFIG_SHELL,
	CONFIG_ENVS_FILE,
	CONFIG_PORT,
	CONFIG_GRACE,
	CONFIG_JUPYTER_HOST,
	CONFIG_JUPYTER_TOKEN,
	CONFIG_JUPYTER_POLL,
	CONFIG_DO_PRINT_CONFIG,
	CONFIG_DO_PRINT_LIMITS,
	CONFIG_DO_PRINT_FLAGS,
	CONFIG_DO_VERSION,
	CONFIG_DO_HELP,
	CONFIG_ID_COUNT_
};

/* Where a value comes from; a later source replaces an earlier one. */
enum config_source {
	CONFIG_FROM_NOWHERE,
	CONFIG_FROM_FILE,
	CONFIG_FROM_ENV_EXECD, /* the reference's names */
	CONFIG_FROM_ENV,
	CONFIG_FROM_FLAG
};

enum config_store {
	CONFIG_STORE_STRING, /* char * */
	CONFIG_STORE_LIST,   /* char **, NULL-terminated */
	CONFIG_STORE_BOOL,   /* bool */
	CONFIG_STORE_LEVEL,  /* enum log_level */
	CONFIG_STORE_NONE    /* checked and dropped */
};

/* A configuration in the making. */
struct config_draft {
	struct config c;
	char **allow;     /* PATH[:ro], before it becomes c.allow */
	char *token_file; /* read last, when it is known to be the one that counts */
	char *config_file;
	char *port_listen; /* "0.0.0.0:PORT" of the reference's -port */
	enum config_source source[CONFIG_ID_COUNT_];
	enum config_source now; /* the source being read */
};

/*
 * Checks a value and makes the heap string that is stored; NULL in *out clears the option. -1 with
 * the reason in why, which does not repeat a secret.
 */
typedef int config_value_fn(const struct config_draft *d, const char *text, char **out,
	char why[static CONFIG_WHY_MAX]);

struct config_option {
	const char *flag;      /* without dashes; NULL when there is none */
	const char *arg;       /* its value in help texts; NULL: the flag stands alone */
	const char *env;       /* NULL when there is none */
	const char *env_execd; /* the reference's name */
	const char *key;       /* in the configuration file */
	const char *def;       /* in help texts */
	const char *help;
	config_value_fn *value;
	enum config_store store;
	size_t offset;             /* of the field in struct config_draft */
	bool execd_only;           /* the flag exists only under the name execd */
	bool secret;               /* its sources are wiped */
	enum config_action action; /* a flag that only asks for output */
};

extern const struct config_option config_options[CONFIG_ID_COUNT_];

config_value_fn config_value_listen, config_value_port, config_value_path, config_value_allow,
	config_value_token, config_value_bool, config_value_host, config_value_origin,
	config_value_level, config_value_duration, config_value_url, config_value_any;

/* The option as the user of the present source knows it. */
void config_name(const struct config_draft *d, enum config_id id, char out[static 64]);

/* The present source speaks about the option: a list of a weaker source ends here. */
void config_begin(struct config_draft *d, enum config_id id);

/* Checks and stores one value (of a list, one element) of the present source. */
int config_apply(struct config_draft *d, enum config_id id, const char *value,
	char why[static CONFIG_WHY_MAX]) __attribute__((warn_unused_result));

/* Applies a configuration file. */
int config_apply_file(struct config_draft *d, const char *path, char why[static CONFIG_WHY_MAX])
	__attribute__((warn_unused_result));

/* The content of the file d->token_file becomes the token. */
int config_read_token(struct config_draft *d, char why[static CONFIG_WHY_MAX])
	__attribute__((warn_unused_result));

/* Sets why, cut to its size, and returns -1. */
int config_bad(char why[static CONFIG_WHY_MAX], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
