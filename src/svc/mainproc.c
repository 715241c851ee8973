/*
 * mainproc: one child with the daemon's own standard descriptors.
 *
 * Its group is made the terminal's foreground group after it was started; a process that was
 * faster and read from the terminal before that has been stopped, and is continued.
 */
#include "boxd/mainproc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/environ.h"
#include "boxd/log.h"
#include "boxd/spawn.h"

struct mainproc {
	struct child child;
	struct children *children;
	void (*on_exit)(int status, void *arg);
	void *arg;
};

static void mainproc_on_exit(struct child *c, int status, const struct rusage *usage)
{
	struct mainproc *m = (struct mainproc *)(void *)((char *)c -
							 offsetof(struct mainproc, child));

	(void)usage;
	log_info("main", "main process ended status=%d", status);
	m->on_exit(status, m->arg);
}

static void mainproc_give_terminal(pid_t pid)
{
	if (!isatty(STDIN_FILENO))
		return;
	/* Giving the terminal away from the background would stop the daemon. */
	signal(SIGTTOU, SIG_IGN);
	if (tcsetpgrp(STDIN_FILENO, pid) < 0)
		log_warn("main", "terminal not handed over reason=%s", err_strerror(errno));
	else
		kill(-pid, SIGCONT);
}

/* -1 with e set. */
static pid_t mainproc_spawn(const struct mainproc_config *cfg, struct err *e)
{
	struct environ_set *env = environ_new(cfg->environ);
	CLEANUP_FREE char *path = NULL;
	CLEANUP_FD int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	CLEANUP_FD int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	CLEANUP_FD int err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	struct spawn_plan plan = {.argv = cfg->argv, .fds = {in, out, err}, .origin = cfg->origin};
	pid_t pid = -1;

	plan.envp = env != NULL ? environ_array(env) : NULL;
	path = env != NULL ? spawn_find(cfg->argv[0], environ_get(env, "PATH")) : NULL;
	plan.path = path;
	if (in < 0 || out < 0 || err < 0)
		err_sys(e, &ERR_RUNTIME, "main process");
	else if (plan.envp == NULL)
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
	else if (path == NULL)
		err_set(e, &ERR_RUNTIME, "exec: No such file or directory");
	else
		pid = spawn(&plan, e);
	environ_free(env);
	if (pid < 0)
		err_wrap(e, "%s", cfg->argv[0]);
	return pid;
}

struct mainproc *mainproc_start(const struct mainproc_config *cfg, struct err *e)
{
	struct mainproc *m = calloc(1, sizeof(*m));
	pid_t pid;

	if (m == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	m->child.on_exit = mainproc_on_exit;
	m->children = cfg->children;
	m->on_exit = cfg->on_exit;
	m->arg = cfg->arg;
	pid = mainproc_spawn(cfg, e);
	if (pid < 0) {
		free(m);
		return NULL;
	}
	child_watch(cfg->children, &m->child, pid);
	mainproc_give_terminal(pid);
	log_info("main", "main process started pid=%ld", (long)pid);
	return m;
}

void mainproc_signal(struct mainproc *m, int signo)
{
	if (m != NULL && m->child.pid > 0 && kill(-m->child.pid, signo) < 0)
		log_warn("main", "signal=%d not delivered reason=%s", signo, err_strerror(errno));
}

void mainproc_free(struct mainproc *m)
{
	if (m == NULL)
		return;
	child_unwatch(m->children, &m->child);
	free(m);
}
