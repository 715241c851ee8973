/*
 * proc_start: from a spec to a process.
 *
 * Everything that can be wrong with the request is found before a proc exists; everything that the
 * system refuses afterwards (no such program, no permission) makes a proc that has ended, so that a
 * client sees it where it looks for the result. In between only descriptors and memory can run
 * out, and then nothing is left behind.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/spawn.h"
#include "boxd/users.h"
#include "proc_internal.h"

/* What one start needs until the process runs. */
struct proc_launch {
	const struct proc_spec *spec;
	struct environ_set *env;
	char *cwd;
	char *program; /* what is executed; NULL: why_not */
	const char *why_not;
	const char *shell_argv[4];
	struct user user; /* of spec->uid */
	struct spawn_plan plan;
	int ours[OUTHUB_STREAMS];   /* ends to read from */
	int theirs[OUTHUB_STREAMS]; /* ends to write to; the second is -1 when they share one */
};

static void proc_launch_fini(struct proc_launch *l)
{
	environ_free(l->env);
	free(l->cwd);
	free(l->program);
	for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
		cleanup_fd_(&l->ours[i]);
		cleanup_fd_(&l->theirs[i]);
	}
}

#define PROC_LAUNCH_CLEANUP __attribute__((cleanup(proc_launch_fini)))

static int proc_no_memory(struct err *e)
{
	return err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

/* ---- the spec ---- */

static int proc_check_argv(const struct proc_spec *spec, struct err *e)
{
	size_t max = limit_size(LIMIT_PROC_COMMAND_BYTES), n = 0;

	if ((spec->command == NULL) == (spec->argv == NULL))
		return err_set(e, &ERR_BAD_BODY, "either a command or an argv is needed");
	if (spec->command != NULL && strlen(spec->command) > max)
		return err_set(e, &ERR_BAD_BODY, "command is longer than %zu bytes", max);
	if (spec->command != NULL)
		return 0;
	for (; spec->argv[n] != NULL; n++) {
		if (n >= limit_size(LIMIT_PROC_ARGS))
			return err_set(e, &ERR_BAD_BODY, "more than %zu arguments",
				limit_size(LIMIT_PROC_ARGS));
		if (strlen(spec->argv[n]) > max)
			return err_set(
				e, &ERR_BAD_BODY, "argument %zu is longer than %zu bytes", n, max);
	}
	if (n == 0 || spec->argv[0][0] == '\0')
		return err_set(e, &ERR_BAD_BODY, "no program");
	return 0;
}

/* (uid_t)-1 means "leave it as it is" to setresuid(2): such a command would run as the daemon. */
static int proc_check_ids(const struct proc_spec *spec, struct err *e)
{
	if (spec->set_gid && !spec->set_uid)
		return err_set(e, &ERR_BAD_BODY, "gid needs a uid");
	if (spec->set_uid && spec->uid == (uid_t)-1)
		return err_set(e, &ERR_BAD_BODY, "not a uid: %lu", (unsigned long)spec->uid);
	if (spec->set_gid && spec->gid == (gid_t)-1)
		return err_set(e, &ERR_BAD_BODY, "not a gid: %lu", (unsigned long)spec->gid);
	return 0;
}

static int proc_check_spec(const struct proc_spec *spec, struct err *e)
{
	if (proc_check_argv(spec, e) < 0 || proc_check_ids(spec, e) < 0)
		return -1;
	if (spec->timeout_ms < 0 || spec->timeout_ms > limit(LIMIT_PROC_TIMEOUT_MAX_MS))
		return err_set(e, &ERR_BAD_BODY, "timeout is not between 0 and %lld ms",
			(long long)limit(LIMIT_PROC_TIMEOUT_MAX_MS));
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

/* ---- environment, user, directory ---- */

/* Who logs in as this user has these; the env file and the request may still say otherwise. */
static int proc_put_identity(struct proc_launch *l)
{
	char number[24];
	const char *name = number;

	snprintf(number, sizeof(number), "%lu", (unsigned long)l->spec->uid);
	if (l->user.known)
		name = l->user.name;
	return environ_put(l->env, "HOME", l->user.known ? l->user.home : "/") < 0 ||
			       environ_put(l->env, "USER", name) < 0 ||
			       environ_put(l->env, "LOGNAME", name) < 0
		       ? -1
		       : 0;
}

static int proc_prepare_env(const struct procs *ps, struct proc_launch *l, struct err *e)
{
	const struct proc_spec *spec = l->spec;

	l->env = environ_new(ps->cfg.environ);
	if (l->env == NULL)
		return proc_no_memory(e);
	if (spec->set_uid && spec->uid != geteuid() && proc_put_identity(l) < 0)
		return proc_no_memory(e);
	if (ps->cfg.envs_file != NULL && environ_overlay_file(l->env, ps->cfg.envs_file) < 0)
		return proc_no_memory(e);
	for (size_t i = 0; i < spec->nenvs; i++) {
		if (environ_put(l->env, spec->envs[i].name, spec->envs[i].value) < 0)
			return proc_no_memory(e);
	}
	return 0;
}

static void proc_prepare_user(struct proc_launch *l)
{
	const struct proc_spec *spec = l->spec;
	struct spawn_plan *plan = &l->plan;

	if (!spec->set_uid)
		return;
	users_by_uid("/etc", spec->uid, &l->user);
	plan->uid = spec->uid;
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
}

static bool proc_env_given(const struct proc_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->nenvs; i++)
		if (strcmp(spec->envs[i].name, name) == 0)
			return true;
	return false;
}

/* Relative paths begin at the workspace. */
static char *proc_absolute(const char *base, const char *path)
{
	size_t size = strlen(base) + 1 + strlen(path) + 1;
	char *out = malloc(size);

	if (out != NULL)
		snprintf(out, size, "%s%s%s", path[0] == '/' ? "" : base, path[0] == '/' ? "" : "/",
			path);
	return out;
}

static int proc_prepare_cwd(const struct procs *ps, struct proc_launch *l, struct err *e)
{
	const struct proc_spec *spec = l->spec;
	bool given = spec->cwd != NULL && spec->cwd[0] != '\0';
	CLEANUP_FREE char *expanded = NULL;
	struct stat st;

	if (given) {
		expanded = environ_expand_path(l->env, spec->cwd, e);
		if (expanded == NULL)
			return err_wrap(e, "cwd");
	}
	l->cwd = given ? proc_absolute(ps->cfg.default_cwd, expanded) : strdup(ps->cfg.default_cwd);
	if (l->cwd == NULL)
		return proc_no_memory(e);
	if (given && stat(l->cwd, &st) < 0)
		return err_sys(e, &ERR_BAD_BODY, "cwd %s", spec->cwd);
	if (given && !S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return err_sys(e, &ERR_BAD_BODY, "cwd %s", spec->cwd);
	}
	/* The daemon's would be wrong; shells correct it, other programs believe it. */
	if (l->cwd[0] == '/' && !proc_env_given(spec, "PWD") &&
		environ_put(l->env, "PWD", l->cwd) < 0)
		return proc_no_memory(e);
	l->plan.cwd = l->cwd;
	return 0;
}

/* ---- program ---- */

static char *proc_find_shell(const struct procs *ps, const struct proc_launch *l)
{
	const char *path = environ_get(l->env, "PATH");
	const char *shell = l->spec->shell != NULL ? l->spec->shell : ps->cfg.shell;

	if (shell != NULL)
		return spawn_find(shell, path);
	char *found = spawn_find("bash", path);
	return found != NULL ? found : spawn_find("sh", path);
}

/* A program that is not there is no error of the request: l->why_not is for the record. */
static void proc_prepare_program(const struct procs *ps, struct proc_launch *l)
{
	const struct proc_spec *spec = l->spec;
	bool any_shell = spec->shell == NULL && ps->cfg.shell == NULL;

	if (spec->argv != NULL) {
		l->program = spawn_find(spec->argv[0], environ_get(l->env, "PATH"));
		l->plan.argv = (char *const *)spec->argv;
	} else {
		l->program = proc_find_shell(ps, l);
		const char *slash = l->program != NULL ? strrchr(l->program, '/') : NULL;
		l->shell_argv[0] = slash != NULL ? slash + 1 : l->program;
		l->shell_argv[1] = "-c";
		l->shell_argv[2] = spec->command;
		l->plan.argv = (char *const *)l->shell_argv;
	}
	l->plan.path = l->program;
	l->plan.envp = environ_array(l->env);
	if (l->program == NULL)
		l->why_not = spec->argv == NULL && any_shell
				     ? "no shell: neither bash nor sh was found"
				     : "exec: No such file or directory";
}

/* ---- pipes ---- */

/* 0, 1 and 2 are overwritten in the child, so none of its ends may be one of them. */
static int proc_lift(int *fd)
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
static int proc_make_pipe(struct proc_launch *l, enum outhub_stream s)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	l->ours[s] = ends[0];
	l->theirs[s] = ends[1];
	if (proc_lift(&l->theirs[s]) < 0 || fcntl(l->ours[s], F_SETFL, O_NONBLOCK) < 0)
		return -1;
	/* Else another user's command could not open /dev/stdout. Only root may give away. */
	if (l->plan.set_ids && l->plan.uid != geteuid())
		(void)!fchown(l->theirs[s], l->plan.uid, l->plan.gid);
	return 0;
}

static int proc_make_pipes(const struct procs *ps, struct proc_launch *l, struct err *e)
{
	if (proc_make_pipe(l, OUTHUB_STDOUT) < 0 ||
		(!l->spec->merge && proc_make_pipe(l, OUTHUB_STDERR) < 0))
		return err_sys(e, &ERR_UNAVAILABLE, "cannot make a pipe");
	l->plan.fds[0] = ps->null_fd;
	l->plan.fds[1] = l->theirs[OUTHUB_STDOUT];
	l->plan.fds[2] = l->theirs[l->spec->merge ? OUTHUB_STDOUT : OUTHUB_STDERR];
	return 0;
}

/* ---- start ---- */

static int proc_prepare(
	const struct procs *ps, const struct proc_spec *spec, struct proc_launch *l, struct err *e)
{
	if (proc_check_spec(spec, e) < 0)
		return -1;
	l->plan.new_session = true;
	l->plan.origin = ps->cfg.origin;
	proc_prepare_user(l);
	if (proc_prepare_env(ps, l, e) < 0 || proc_prepare_cwd(ps, l, e) < 0)
		return -1;
	proc_prepare_program(ps, l);
	return l->program != NULL ? proc_make_pipes(ps, l, e) : 0;
}

/* The command as clients see it: its text, or the words of argv. */
static char *proc_text(const struct proc_spec *spec)
{
	size_t size = 1;

	if (spec->command != NULL)
		return strdup(spec->command);
	for (size_t i = 0; spec->argv[i] != NULL; i++)
		size += strlen(spec->argv[i]) + 1;
	char *out = malloc(size), *at = out;
	if (out == NULL)
		return NULL;
	for (size_t i = 0; spec->argv[i] != NULL; i++) {
		if (i > 0)
			*at++ = ' ';
		at = stpcpy(at, spec->argv[i]);
	}
	*at = '\0';
	return out;
}

/* The process runs: from here on its exit will come. */
static void proc_begin(struct proc *p, struct proc_launch *l, pid_t pid)
{
	struct procs *ps = p->ps;

	p->session = pid;
	p->waiting = PROC_WAIT_EXIT;
	p->child.on_exit = proc_on_exit;
	child_watch(ps->cfg.children, &p->child, pid);
	ps->running++;
	for (unsigned int s = 0; s < OUTHUB_STREAMS; s++) {
		if (l->ours[s] >= 0)
			proc_pipe_open(p, s, steal_fd(&l->ours[s]));
	}
	if (p->timeout_ms > 0)
		proc_timer_add(&p->timeout, p->timeout_ms);
	proc_enter(p, PROC_ACTIVE);
	log_info("proc", "start id=%s pid=%ld uid=%lu merge=%d", p->id, (long)pid,
		(unsigned long)(l->plan.set_ids ? l->plan.uid : geteuid()), l->spec->merge);
}

/* Runs it; a failure is the proc's end. Returns -1 only when memory is out. */
static int proc_run(struct proc *p, struct proc_launch *l, struct err *e)
{
	struct err why = {0};
	const char *why_not = l->why_not;
	pid_t pid = -1;

	p->started_ms = clock_real_ms();
	p->started_us = clock_mono_us();
	if (l->program != NULL) {
		pid = spawn(&l->plan, &why);
		why_not = why.msg;
	}
	if (pid > 0) {
		proc_begin(p, l, pid);
		return 0;
	}
	char *text = strdup(why_not);
	if (text == NULL)
		return proc_no_memory(e);
	proc_fail(p, text);
	proc_enter(p, PROC_FINISHED);
	return 0;
}

struct proc *proc_start(struct procs *ps, const struct proc_spec *spec, struct err *e)
{
	PROC_LAUNCH_CLEANUP struct proc_launch l = {
		.spec = spec, .ours = {-1, -1}, .theirs = {-1, -1}};

	assert(loop_on_thread(ps->cfg.loop));
	if (ps->stopping) {
		err_set(e, &ERR_UNAVAILABLE, "shutting down");
		return NULL;
	}
	if (ps->counts[PROC_ACTIVE] >= limit_size(LIMIT_PROC_RUNNING)) {
		err_set(e, &ERR_TOO_MANY, "%zu commands are running", ps->counts[PROC_ACTIVE]);
		return NULL;
	}
	if (proc_prepare(ps, spec, &l, e) < 0)
		return NULL;
	struct proc *p = proc_new(ps);
	if (p == NULL) {
		proc_no_memory(e);
		return NULL;
	}
	p->timeout_ms = spec->timeout_ms;
	p->command = proc_text(spec);
	p->command_len = p->command != NULL ? strlen(p->command) : 0;
	if (p->command == NULL) {
		proc_discard(p);
		proc_no_memory(e);
		return NULL;
	}
	if (proc_run(p, &l, e) < 0) {
		proc_discard(p);
		return NULL;
	}
	return p;
}
