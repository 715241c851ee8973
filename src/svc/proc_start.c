/*
 * proc_start: from a spec to a process.
 *
 * Everything that can be wrong with the request is found before a proc exists; everything that the
 * system refuses afterwards (no such program, no permission) makes a proc that has ended, so that a
 * client sees it where it looks for the result. In between only descriptors and memory can run
 * out, and then nothing is left behind.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/spawn.h"
#include "proc_internal.h"

/* What one start needs until the process runs. */
struct proc_launch {
	const struct proc_spec *spec;
	struct launch launch;
	const char *why_not; /* no program was found; NULL */
	const char *shell_argv[4];
	int ours[OUTHUB_STREAMS];   /* ends to read from */
	int theirs[OUTHUB_STREAMS]; /* ends to write to; the second is -1 when they share one */
};

static void proc_launch_fini(struct proc_launch *l)
{
	launch_fini(&l->launch);
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

static int proc_check_spec(const struct proc_spec *spec, struct err *e)
{
	if (proc_check_argv(spec, e) < 0)
		return -1;
	if (spec->timeout_ms < 0 || spec->timeout_ms > limit(LIMIT_PROC_TIMEOUT_MAX_MS))
		return err_set(e, &ERR_BAD_BODY, "timeout is not between 0 and %lld ms",
			(long long)limit(LIMIT_PROC_TIMEOUT_MAX_MS));
	return 0;
}

/* A program that is not there is no error of the request: l->why_not is for the record. */
static void proc_prepare_program(struct proc_launch *l)
{
	const struct proc_spec *spec = l->spec;
	bool any_shell = spec->shell == NULL && l->launch.cfg->shell == NULL;
	bool found;

	if (spec->argv != NULL) {
		found = launch_program(
			&l->launch, spec->argv[0], (char *const *)(uintptr_t)spec->argv);
	} else {
		l->shell_argv[1] = "-c";
		l->shell_argv[2] = spec->command;
		found = launch_shell(&l->launch, spec->shell, l->shell_argv);
	}
	if (!found)
		l->why_not = spec->argv == NULL && any_shell
				     ? "no shell: neither bash nor sh was found"
				     : "exec: No such file or directory";
}

static int proc_make_pipe(struct proc_launch *l, enum outhub_stream s)
{
	return launch_pipe(&l->launch, true, &l->ours[s], &l->theirs[s]);
}

static int proc_make_pipes(const struct procs *ps, struct proc_launch *l, struct err *e)
{
	struct spawn_plan *plan = &l->launch.plan;

	if (proc_make_pipe(l, OUTHUB_STDOUT) < 0 ||
		(!l->spec->merge && proc_make_pipe(l, OUTHUB_STDERR) < 0))
		return err_sys(e, &ERR_UNAVAILABLE, "cannot make a pipe");
	plan->fds[0] = ps->null_fd;
	plan->fds[1] = l->theirs[OUTHUB_STDOUT];
	plan->fds[2] = l->theirs[l->spec->merge ? OUTHUB_STDOUT : OUTHUB_STDERR];
	return 0;
}

/* ---- start ---- */

static int proc_prepare(
	const struct procs *ps, const struct proc_spec *spec, struct proc_launch *l, struct err *e)
{
	if (proc_check_spec(spec, e) < 0 ||
		launch_prepare(&l->launch, &ps->cfg.launch, &spec->launch, e) < 0)
		return -1;
	proc_prepare_program(l);
	return l->why_not == NULL ? proc_make_pipes(ps, l, e) : 0;
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
	const struct spawn_plan *plan = &l->launch.plan;
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
		loop_arm(&p->timeout, p->timeout_ms);
	proc_enter(p, PROC_ACTIVE);
	log_info("proc", "start id=%s pid=%ld uid=%lu merge=%d", p->id, (long)pid,
		(unsigned long)(plan->set_ids ? plan->uid : geteuid()), l->spec->merge);
}

/* Runs it; a failure is the proc's end. Returns -1 only when memory is out. */
static int proc_run(struct proc *p, struct proc_launch *l, struct err *e)
{
	struct err why = {0};
	const char *why_not = l->why_not;
	pid_t pid = -1;

	p->started_ms = clock_real_ms();
	p->started_us = clock_mono_us();
	if (why_not == NULL) {
		pid = spawn(&l->launch.plan, &why);
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
