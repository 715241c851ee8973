/*
 * From what a client asked for to a spawn plan: user, environment, directory, program. Everything
 * that runs something for a client (proc, pty, session) starts here, so that the rules are the
 * same for all. The caller adds descriptors and starts the plan with spawn().
 */
#ifndef BOXD_LAUNCH_H
#define BOXD_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "boxd/environ.h"
#include "boxd/err.h"
#include "boxd/spawn.h"
#include "boxd/users.h"

/* The same for all starts. Borrowed, as is what it points to. */
struct launch_config {
	const char *default_cwd; /* the workspace */
	const char *envs_file;   /* EXECD_ENVS or NULL */
	const char *shell;       /* instead of bash or sh, or NULL */
	char *const *environ;    /* the daemon's own */
	const struct spawn_origin *origin;
};

struct launch_var {
	const char *name, *value;
};

struct launch_spec {
	const char *cwd; /* unexpanded; NULL or "": the workspace */
	const struct launch_var *envs;
	size_t nenvs;
	bool set_uid, set_gid;
	uid_t uid;
	gid_t gid;
	const char *user; /* a name or number from the box's passwd instead of uid; NULL */
};

struct launch {
	const struct launch_config *cfg;
	const struct launch_spec *spec;
	struct environ_set *env; /* plan.envp is made of it by launch_program() */
	char *cwd;
	char *program; /* what is executed; NULL: not found */
	bool as_user;  /* a uid or user was given: */
	struct user user;
	struct spawn_plan plan; /* new_session set; fds are the caller's to fill in */
};

/*
 * Checks the spec and prepares user, environment and directory. cfg and spec are borrowed for the
 * life of *l, which need not be initialised and may not be moved. ERR_BAD_BODY (ids, unknown user,
 * variables, cwd missing or no directory), ERR_UNAVAILABLE. launch_fini() in any case.
 */
int launch_prepare(struct launch *l, const struct launch_config *cfg,
	const struct launch_spec *spec, struct err *e) __attribute__((warn_unused_result, nonnull));

/* Does the client give this variable? */
bool launch_env_given(const struct launch_spec *spec, const char *name) __attribute__((nonnull));

/* Sets a variable unless the client, the env file or the daemon's environment has it. -1: memory.
 */
int launch_default_env(struct launch *l, const char *name, const char *value)
	__attribute__((warn_unused_result, nonnull));

/*
 * Finds a program in the PATH of the prepared environment, fills in plan.path, plan.argv (borrowed)
 * and plan.envp. False when there is no such executable (or memory is out): l->program is NULL.
 */
bool launch_program(struct launch *l, const char *name, char *const *argv)
	__attribute__((warn_unused_result, nonnull));

/*
 * The same with a shell: `shell` (a name or path) or, when NULL, the configured one, or bash, or
 * sh. argv[0] is set to its base name.
 */
bool launch_shell(struct launch *l, const char *shell, const char **argv)
	__attribute__((warn_unused_result, nonnull(1, 3)));

/*
 * A pipe for the child, both ends close-on-exec, ours non-blocking, theirs above 2 and, when it
 * runs as another user, owned by him. read_end: the end that is ours. -1 with errno.
 */
int launch_pipe(const struct launch *l, bool read_end, int *ours, int *theirs)
	__attribute__((warn_unused_result, nonnull));

void launch_fini(struct launch *l) __attribute__((nonnull));

#endif
