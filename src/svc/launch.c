/*
 * launch: from what a client asked for to a plan that spawn() can carry out.
 *
 * What can be wrong with the request is found here, before anything exists that would have to be
 * taken back. What only the system can refuse (no such program, no permission) is not looked at:
 * spawn() tells, and each caller has its own place to show it.
 */
#include "boxd/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"

static int launch_no_memory(struct err *e)
{
	return err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

/* ---- the spec ---- */

/* (uid_t)-1 means "leave it as it is" to setresuid(2): such a command would run as the daemon. */
static int launch_check_ids(const struct launch_spec *spec, struct err *e)
{
	if (spec->set_uid && spec->user != NULL)
		return err_set(e, &ERR_BAD_BODY, "give user or uid, not both");
	if (spec->set_gid && !spec->set_uid && spec->user == NULL)
		return err_set(e, &ERR_BAD_BODY, "gid needs a uid");
	if (spec->set_uid && spec->uid == (uid_t)-1)
		return err_set(e, &ERR_BAD_BODY, "not a uid: %lu", (unsigned long)spec->uid);
	if (spec->set_gid && spec->gid == (gid_t)-1)
		return err_set(e, &ERR_BAD_BODY, "not a gid: %lu", (unsigned long)spec->gid);
	return 0;
}

static int launch_check_envs(const struct launch_spec *spec, struct err *e)
{
	if (spec->nenvs > limit_size(LIMIT_PROC_ENVS))
		return err_set(e, &ERR_BAD_BODY, "more than %zu environment variables",
			limit_size(LIMIT_PROC_ENVS));
	for (size_t i = 0; i < spec->nenvs; i++) {
		if (!environ_valid_name(spec->envs[i].name))
			return err_set(e, &ERR_BAD_BODY,
				"environment variable with an empty name or with '=' in it");
	}
	return 0;
}

/* ---- user ---- */

/* The uid behind a name. Read afresh: a command may have added the user just now. */
static int launch_find_user(const char *name, uid_t *uid, struct err *e)
{
	struct users_names *names = users_names_new("/etc");
	bool found;

	if (names == NULL)
		return launch_no_memory(e);
	found = users_uid_of_name(names, name, uid) && *uid != (uid_t)-1;
	users_names_free(names);
	return found ? 0 : err_set(e, &ERR_BAD_BODY, "no such user: %s", name);
}

static int launch_prepare_user(struct launch *l, struct err *e)
{
	const struct launch_spec *spec = l->spec;
	struct spawn_plan *plan = &l->plan;
	uid_t uid = spec->uid;

	if (!spec->set_uid && spec->user == NULL)
		return 0;
	if (spec->user != NULL && launch_find_user(spec->user, &uid, e) < 0)
		return -1;
	l->as_user = true;
	users_by_uid("/etc", uid, &l->user);
	plan->uid = uid;
	plan->gid = spec->set_gid ? spec->gid : l->user.gid;
	/* The group a stranger got for want of a better one is not his when he brings his own. */
	if (spec->set_gid && !l->user.known) {
		l->user.groups[0] = spec->gid;
		l->user.ngroups = 1;
	}
	plan->groups = l->user.groups;
	plan->ngroups = l->user.ngroups;
	/* Asking for what it has already needs no privilege. */
	plan->set_ids = geteuid() == 0 || plan->uid != geteuid() || plan->gid != getegid();
	return 0;
}

/* ---- environment ---- */

/* Who logs in as this user has these; the env file and the request may still say otherwise. */
static int launch_put_identity(struct launch *l)
{
	char number[24];
	const char *name = number;

	snprintf(number, sizeof(number), "%lu", (unsigned long)l->plan.uid);
	if (l->user.known)
		name = l->user.name;
	return environ_put(l->env, "HOME", l->user.known ? l->user.home : "/") < 0 ||
			       environ_put(l->env, "USER", name) < 0 ||
			       environ_put(l->env, "LOGNAME", name) < 0
		       ? -1
		       : 0;
}

static int launch_prepare_env(struct launch *l, struct err *e)
{
	const struct launch_spec *spec = l->spec;

	l->env = environ_new(l->cfg->environ);
	if (l->env == NULL)
		return launch_no_memory(e);
	if (l->as_user && l->plan.uid != geteuid() && launch_put_identity(l) < 0)
		return launch_no_memory(e);
	if (l->cfg->envs_file != NULL && environ_overlay_file(l->env, l->cfg->envs_file) < 0)
		return launch_no_memory(e);
	for (size_t i = 0; i < spec->nenvs; i++) {
		if (environ_put(l->env, spec->envs[i].name, spec->envs[i].value) < 0)
			return launch_no_memory(e);
	}
	return 0;
}

int launch_default_env(struct launch *l, const char *name, const char *value)
{
	return environ_get(l->env, name) != NULL ? 0 : environ_put(l->env, name, value);
}

/* ---- directory ---- */

bool launch_env_given(const struct launch_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->nenvs; i++)
		if (strcmp(spec->envs[i].name, name) == 0)
			return true;
	return false;
}

/* Relative paths begin at the workspace. */
static char *launch_absolute(const char *base, const char *path)
{
	size_t size = strlen(base) + 1 + strlen(path) + 1;
	char *out = malloc(size);

	if (out != NULL)
		snprintf(out, size, "%s%s%s", path[0] == '/' ? "" : base, path[0] == '/' ? "" : "/",
			path);
	return out;
}

static int launch_prepare_cwd(struct launch *l, struct err *e)
{
	const struct launch_spec *spec = l->spec;
	bool given = spec->cwd != NULL && spec->cwd[0] != '\0';
	CLEANUP_FREE char *expanded = NULL;
	struct stat st;

	if (given) {
		expanded = environ_expand_path(l->env, spec->cwd, e);
		if (expanded == NULL)
			return err_wrap(e, "cwd");
	}
	l->cwd = given ? launch_absolute(l->cfg->default_cwd, expanded)
		       : strdup(l->cfg->default_cwd);
	if (l->cwd == NULL)
		return launch_no_memory(e);
	if (given && stat(l->cwd, &st) < 0)
		return err_sys(e, &ERR_BAD_BODY, "cwd %s", spec->cwd);
	if (given && !S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return err_sys(e, &ERR_BAD_BODY, "cwd %s", spec->cwd);
	}
	/* The daemon's would be wrong; shells correct it, other programs believe it. */
	if (l->cwd[0] == '/' && !launch_env_given(spec, "PWD") &&
		environ_put(l->env, "PWD", l->cwd) < 0)
		return launch_no_memory(e);
	l->plan.cwd = l->cwd;
	return 0;
}

int launch_prepare(struct launch *l, const struct launch_config *cfg,
	const struct launch_spec *spec, struct err *e)
{
	*l = (struct launch){.cfg = cfg, .spec = spec};
	l->plan.new_session = true;
	l->plan.origin = cfg->origin;
	if (launch_check_ids(spec, e) < 0 || launch_check_envs(spec, e) < 0 ||
		launch_prepare_user(l, e) < 0 || launch_prepare_env(l, e) < 0)
		return -1;
	return launch_prepare_cwd(l, e);
}

/* ---- program ---- */

/* Takes the path, which may be NULL. */
static bool launch_use(struct launch *l, char *program, char *const *argv)
{
	free(l->program);
	l->program = program;
	l->plan.argv = argv;
	l->plan.envp = environ_array(l->env);
	if (l->plan.envp == NULL) {
		free(l->program);
		l->program = NULL;
	}
	l->plan.path = l->program;
	return l->program != NULL;
}

bool launch_program(struct launch *l, const char *name, char *const *argv)
{
	return launch_use(l, spawn_find(name, environ_get(l->env, "PATH")), argv);
}

static char *launch_find_shell(const struct launch *l, const char *shell)
{
	const char *path = environ_get(l->env, "PATH");

	if (shell == NULL)
		shell = l->cfg->shell;
	if (shell != NULL)
		return spawn_find(shell, path);
	char *found = spawn_find("bash", path);
	return found != NULL ? found : spawn_find("sh", path);
}

bool launch_shell(struct launch *l, const char *shell, const char **argv)
{
	if (!launch_use(l, launch_find_shell(l, shell), (char *const *)argv))
		return false;
	const char *slash = strrchr(l->program, '/');
	argv[0] = slash != NULL ? slash + 1 : l->program;
	return true;
}

/* ---- pipes ---- */

/* 0, 1 and 2 are overwritten in the child, so none of its ends may be one of them. */
static int launch_lift(int *fd)
{
	if (*fd > 2)
		return 0;
	int lifted = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
	if (lifted < 0)
		return -1;
	close(*fd);
	*fd = lifted;
	return 0;
}

/* Only our end is non-blocking: programs are not made for stdout that says EAGAIN. */
int launch_pipe(const struct launch *l, bool read_end, int *ours, int *theirs)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	CLEANUP_FD int mine = ends[read_end ? 0 : 1];
	CLEANUP_FD int child = ends[read_end ? 1 : 0];
	if (launch_lift(&child) < 0 || fcntl(mine, F_SETFL, O_NONBLOCK) < 0)
		return -1;
	/* Else another user's command could not open /dev/stdout. Only root may give away. */
	if (l->plan.set_ids && l->plan.uid != geteuid())
		(void)!fchown(child, l->plan.uid, l->plan.gid);
	*ours = steal_fd(&mine);
	*theirs = steal_fd(&child);
	return 0;
}

void launch_fini(struct launch *l)
{
	environ_free(l->env);
	free(l->cwd);
	free(l->program);
}
