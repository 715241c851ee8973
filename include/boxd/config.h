/*
 * Command line, environment and configuration file (DESIGN 3.8, contract 5.1-5.4) become one
 * struct. Precedence: flag, then environment (BOXD_*, then the EXECD_* names), then the JSON file.
 */
#ifndef BOXD_CONFIG_H
#define BOXD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "boxd/log.h"

struct config_root {
	char *path;
	bool read_only;
};

/* Heap strings, NULL-terminated lists. */
struct config {
	char **listen;             /* "127.0.0.1:44772", "[::1]:0", "unix:/path" */
	char *root;                /* the workspace */
	struct config_root *allow; /* further roots; ends with path == NULL */
	char *state_dir;           /* spill files */
	char *token;               /* NULL: no authentication */
	bool allow_unauthenticated;
	char **allow_hosts;   /* names accepted in Host; "*" accepts all */
	char **allow_origins; /* origins accepted in Origin; "*" accepts all */
	enum log_level log_level;
	char *envs_file; /* EXECD_ENVS, unexpanded; NULL when unset */
	char *shell;     /* BOXD_SHELL: used instead of bash or sh when set */
	char **command;  /* after "--": the box's main process; NULL when absent */
	bool as_execd;   /* argv[0] is execd: the reference's flags and defaults */
};

enum config_action {
	CONFIG_RUN,             /* start the daemon */
	CONFIG_PRINT_CONFIG,    /* config_print(), exit 0 */
	CONFIG_PRINT_LIMITS,    /* config_print_limits(), exit 0 */
	CONFIG_PRINT_LIMITS_MD, /* the same with markdown */
	CONFIG_PRINT_FLAGS_MD,  /* config_print_flags() with markdown, exit 0 */
	CONFIG_PRINT_VERSION,   /* exit 0 */
	CONFIG_PRINT_HELP,      /* config_print_flags(), exit 0 */
	CONFIG_BAD              /* why says what, in one line; exit 2 */
};

#define CONFIG_WHY_MAX 256

/*
 * Reads everything, and sets the limits that the file names. The token's sources are wiped: the
 * argv word, the environment variable (also unset), the buffer of the file. *c is filled with heap
 * copies; config_fini() frees them, also after CONFIG_BAD. Called once, before there are threads.
 */
enum config_action config_load(struct config *c, int argc, char **argv,
	char why[static CONFIG_WHY_MAX]) __attribute__((warn_unused_result, nonnull));
void config_fini(struct config *c) __attribute__((nonnull));

/* The result as JSON that --config reads back, with the token as "***". */
void config_print(const struct config *c, FILE *out) __attribute__((nonnull));

/* The limits: values in force as text for people; with `markdown` the README's table of defaults.
 */
void config_print_limits(FILE *out, bool markdown) __attribute__((nonnull));

/* The flags: the text of --help; with `markdown` the README's table. */
void config_print_flags(FILE *out, bool markdown) __attribute__((nonnull));

/* Is the address of this kind: loopback TCP or a unix socket? False for everything else. */
bool config_listen_is_local(const char *addr) __attribute__((nonnull));

#define BOXD_VERSION "0.1.0"

#endif
