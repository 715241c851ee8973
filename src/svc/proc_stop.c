/*
 * proc_stop: how a command is made to end.
 *
 * Interrupt, timeout and shutdown are one ladder: SIGTERM to the group, a grace, then a worker that
 * freezes and kills everything the command started. The group is killed directly only when no
 * worker could do it in time: a direct kill would cut the parent links by which a descendant that
 * left the session is found.
 *
 * The ladder goes on when the leader ends at the first step and others do not. Its pid is reaped by
 * then, so no signal may be sent to that number or group: only the worker's scan, which finds
 * members of the session, can tell that there is somebody left.
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "proc_internal.h"

#define PROC_SHUTDOWN_LOOK_MS 10

static bool proc_is_reaped(const struct proc *p)
{
	return p->child.pid == 0;
}

/* ---- the last step ---- */

static void proc_kill_group(struct proc *p)
{
	p->stop = PROC_STOP_GROUP;
	if (proc_is_reaped(p))
		return;
	if (kill(-p->child.pid, SIGKILL) < 0 && errno != ESRCH)
		log_warn("proc", "kill id=%s: %s", p->id, err_strerror(errno));
}

static void proc_kill_end(struct proc *p)
{
	p->kill = NULL;
	LIST_REMOVE(p, kill_link);
	proc_unref(p);
}

static void proc_on_killed(size_t killed, void *arg)
{
	struct proc *p = arg;
	struct procs *ps = p->ps;

	log_debug("proc", "tree killed id=%s processes=%zu", p->id, killed);
	/* Without /proc there was no tree to see. */
	proc_kill_group(p);
	proc_kill_end(p);
	procs_check_done(ps);
}

static int proc_kill_tree(struct proc *p)
{
	struct procs *ps = p->ps;

	p->kill = treekill_start(ps->cfg.pool, p->session, proc_is_reaped(p), proc_on_killed, p);
	if (p->kill == NULL)
		return -1;
	proc_ref(p);
	LIST_INSERT_HEAD(&ps->kills, p, kill_link);
	return 0;
}

void procs_abandon_kills(struct procs *ps)
{
	struct proc *p;

	while ((p = LIST_FIRST(&ps->kills)) != NULL) {
		treekill_abandon(p->kill);
		proc_kill_end(p);
	}
}

/* ---- the grace ---- */

static void proc_grace_end(struct proc *p)
{
	event_del(&p->grace);
	TAILQ_REMOVE(&p->ps->graces, p, grace_link);
	p->grace_until_ms = 0;
	proc_unref(p);
}

/*
 * Nobody is left in the group of a leader that was reaped? Signal 0 reaches nobody, so it may ask
 * about a number that is no longer ours.
 */
static bool proc_group_is_empty(const struct proc *p)
{
	return proc_is_reaped(p) && kill(-p->session, 0) < 0 && errno == ESRCH;
}

/* A shutdown does not wait out the grace of a group that obeyed: it looks from time to time. */
static void proc_grace_arm(struct proc *p)
{
	int64_t left = p->grace_until_ms - clock_mono_ms();

	if (p->ps->stopping && proc_is_reaped(p) && left > PROC_SHUTDOWN_LOOK_MS)
		left = PROC_SHUTDOWN_LOOK_MS;
	loop_arm(&p->grace, left > 0 ? left : 0);
}

/* Earlier than before, if it runs already. */
static void proc_grace_start(struct proc *p, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;

	if (p->grace_until_ms != 0 && p->grace_until_ms <= until)
		return;
	if (p->grace_until_ms == 0) {
		proc_ref(p);
		TAILQ_INSERT_TAIL(&p->ps->graces, p, grace_link);
	}
	p->grace_until_ms = until;
	proc_grace_arm(p);
}

static void proc_grace_over(struct proc *p)
{
	if (p->stop != PROC_STOP_TERM || proc_kill_tree(p) < 0) {
		proc_kill_group(p);
		return;
	}
	p->stop = PROC_STOP_TREE;
	/* Should all workers be stuck in a dead disk. */
	if (!proc_is_reaped(p))
		proc_grace_start(p, limit(LIMIT_PROC_GRACE_MS));
}

void proc_on_grace(evutil_socket_t fd, short what, void *arg)
{
	struct proc *p = arg;
	struct procs *ps = p->ps;

	(void)fd;
	(void)what;
	if (ps->stopping && proc_group_is_empty(p)) {
		proc_grace_end(p);
	} else if (clock_mono_ms() < p->grace_until_ms) {
		proc_grace_arm(p);
	} else {
		proc_ref(p);
		proc_grace_end(p);
		proc_grace_over(p);
		proc_unref(p);
	}
	procs_check_done(ps);
}

void procs_stop_graces(struct procs *ps)
{
	struct proc *p;

	while ((p = TAILQ_FIRST(&ps->graces)) != NULL)
		proc_grace_end(p);
}

/*
 * SIGTERM, and SIGCONT so that a stopped command can obey. Being refused means that the group
 * changed its user to one we have no power over; SIGKILL is refused then as well, or it works.
 */
static int proc_term(struct proc *p, int64_t grace_ms, struct err *e)
{
	if (p->stop == PROC_STOP_NONE) {
		bool refused = kill(-p->child.pid, SIGTERM) < 0 && errno != ESRCH;

		if (refused && kill(-p->child.pid, SIGKILL) < 0 && errno != ESRCH)
			return err_sys(e, &ERR_RUNTIME, "cannot signal the command");
		p->stop = refused ? PROC_STOP_GROUP : PROC_STOP_TERM;
		kill(-p->child.pid, SIGCONT);
	}
	if (p->stop == PROC_STOP_TERM)
		proc_grace_start(p, grace_ms);
	return 0;
}

int proc_stop(struct proc *p, int64_t grace_ms, struct err *e)
{
	if (proc_is_reaped(p))
		return err_set(e, &ERR_NOT_RUNNING, "command is not running");
	if (proc_term(p, grace_ms, e) < 0)
		return -1;
	p->exit.interrupted = true;
	return 0;
}

void proc_on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct proc *p = arg;
	struct err e = {0};

	(void)fd;
	(void)what;
	if (proc_is_reaped(p))
		return;
	p->exit.timed_out = true;
	log_info("proc", "timeout id=%s ms=%lld", p->id, (long long)p->timeout_ms);
	if (proc_term(p, limit(LIMIT_PROC_TIMEOUT_GRACE_MS), &e) < 0)
		log_warn("proc", "timeout id=%s: %s", p->id, e.msg);
}

void proc_stop_on_exit(struct proc *p)
{
	if (p->grace_until_ms == 0)
		return;
	if (p->stop != PROC_STOP_TERM)
		proc_grace_end(p); /* it waited for nothing but this exit */
	else
		proc_grace_arm(p);
}

/* ---- shutdown ---- */

void procs_on_done(void *arg)
{
	struct procs *ps = arg;
	void (*on_done)(void *) = ps->on_done;

	ps->on_done = NULL;
	if (on_done != NULL)
		on_done(ps->on_done_arg);
}

void procs_check_done(struct procs *ps)
{
	if (ps->on_done != NULL && ps->running == 0 && TAILQ_EMPTY(&ps->graces) &&
		LIST_EMPTY(&ps->kills))
		loop_defer(ps->cfg.loop, &ps->done);
}

void procs_shutdown(struct procs *ps, int64_t grace_ms, void (*on_done)(void *arg), void *arg)
{
	struct proc *p;

	ps->stopping = true;
	ps->on_done = on_done;
	ps->on_done_arg = arg;
	TAILQ_FOREACH(p, &ps->lists[PROC_ACTIVE], link) {
		struct err e = {0};

		if (!proc_is_reaped(p) && proc_stop(p, grace_ms, &e) < 0)
			log_warn("proc", "shutdown id=%s: %s", p->id, e.msg);
	}
	/* Also those whose leader ended before, and left somebody to kill. */
	TAILQ_FOREACH(p, &ps->graces, grace_link) {
		proc_grace_start(p, grace_ms);
		proc_grace_arm(p);
	}
	procs_check_done(ps);
}
