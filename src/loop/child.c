/*
 * child: the one place that waits.
 *
 * Waiting for any pid is the only way to reap orphans too, and as soon as one place does that no
 * other may wait for a pid of its own: it would race for the status. (spawn() may, for a child
 * whose exec failed: nobody was told that pid, and this code runs only when spawn() has returned.)
 * Between the death of a process and its wait4(2) here the pid stays its zombie's, so whoever holds
 * a struct child may signal child->pid as long as it is not 0.
 */
#include "boxd/child.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boxd/log.h"

/* A power of two; four pids in each at the usual limit of running commands. */
#define CHILD_BUCKETS 1024

/* Reaped in one turn. Programs that leave orphans by the thousand get no more of it than that. */
#define CHILD_PER_TURN 128

LIST_HEAD(child_list, child);

struct children {
	struct loop *loop;
	struct loop_deferred sweep;
	size_t count;
	struct child_list buckets[CHILD_BUCKETS];
};

static struct child_list *child_bucket(struct children *cs, pid_t pid)
{
	/* Pids are handed out in sequence: their low bits spread evenly. */
	return &cs->buckets[(uint32_t)pid & (CHILD_BUCKETS - 1)];
}

static struct child *child_find(struct children *cs, pid_t pid)
{
	struct child *c;

	LIST_FOREACH(c, child_bucket(cs, pid), link) {
		if (c->pid == pid)
			return c;
	}
	return NULL;
}

static void child_forget(struct children *cs, struct child *c)
{
	LIST_REMOVE(c, link);
	c->pid = 0;
	cs->count--;
}

/* False when there is nothing to reap now. */
static bool child_reap_one(struct children *cs)
{
	struct rusage usage;
	struct child *c;
	int status;
	pid_t pid;

	do
		pid = wait4(-1, &status, WNOHANG, &usage);
	while (pid < 0 && errno == EINTR);
	if (pid <= 0)
		return false;
	c = child_find(cs, pid);
	if (c == NULL) {
		log_debug("child", "orphan reaped pid=%ld", (long)pid);
		return true;
	}
	child_forget(cs, c);
	c->on_exit(c, status, &usage);
	return true;
}

static void child_sweep(void *arg)
{
	struct children *cs = arg;
	int i;

	for (i = 0; i < CHILD_PER_TURN; i++) {
		if (!child_reap_one(cs))
			return;
	}
	loop_defer(cs->loop, &cs->sweep);
}

static void child_on_sigchld(int signo, void *arg)
{
	(void)signo;
	child_sweep(arg);
}

struct children *children_new(struct loop *l, struct err *e)
{
	struct children *cs = calloc(1, sizeof(*cs));

	if (cs == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "children: out of memory");
		return NULL;
	}
	cs->loop = l;
	loop_deferred_init(&cs->sweep, child_sweep, cs);
	if (loop_on_signal(l, SIGCHLD, child_on_sigchld, cs, e) < 0) {
		free(cs);
		return NULL;
	}
	/* PID 1 of a namespace gets the orphans anyway. */
	if (getpid() != 1 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		log_warn("child", "not a subreaper: %s", err_strerror(errno));
	/* Children from before an exec may have died already, and will not signal again. */
	loop_defer(l, &cs->sweep);
	return cs;
}

void children_free(struct children *cs)
{
	size_t i;

	if (cs == NULL)
		return;
	for (i = 0; i < CHILD_BUCKETS; i++) {
		while (!LIST_EMPTY(&cs->buckets[i]))
			child_forget(cs, LIST_FIRST(&cs->buckets[i]));
	}
	loop_defer_cancel(cs->loop, &cs->sweep);
	loop_off_signal(cs->loop, SIGCHLD, child_on_sigchld, cs);
	free(cs);
}

void child_watch(struct children *cs, struct child *c, pid_t pid)
{
	assert(loop_on_thread(cs->loop));
	assert(pid > 0 && c->on_exit != NULL);
	assert(child_find(cs, pid) == NULL);
	c->pid = pid;
	LIST_INSERT_HEAD(child_bucket(cs, pid), c, link);
	cs->count++;
}

void child_unwatch(struct children *cs, struct child *c)
{
	assert(loop_on_thread(cs->loop));
	if (c->pid != 0)
		child_forget(cs, c);
}

size_t children_count(const struct children *cs)
{
	return cs->count;
}
