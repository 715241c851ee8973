/*
 * session_stop: how runs and shells are made to end.
 *
 * A run is asked to end by a signal to the shell, which a bash answers by dropping the rest of the
 * command (session_bash.sh), and by SIGTERM to what the run has started: what is in the shell's
 * session, or descends from it, and is not older than the run. Background jobs of earlier runs are
 * older, and are left alone. After the grace the same processes get SIGKILL, and a shell that is
 * not back soon after that too.
 *
 * A run can be over while some of what it started still takes its grace. It is followed up by its
 * numbers and start times, because by then the next run has processes of its own.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "session_internal.h"

/* The first look at who missed SIGTERM; the next ones come after twice the time. */
#define SESSION_AGAIN_MS 30

/* For the shell to come back when nothing is left that it could be waiting for. */
#define SESSION_RETURN_MS 250

/* A deleted session's run ends by then, even when the kernel cannot end its shell. */
#define SESSION_DELETE_MS 2000

static void session_signal_shell(struct session *s, int signo)
{
	if (s->shell.child.pid > 0 && kill(s->shell.child.pid, signo) < 0 && errno != ESRCH)
		log_warn("session", "signal=%d id=%s: %s", signo, s->id, err_strerror(errno));
}

/* ---- sweeps ---- */

static void session_sweep_free(struct session_sweep *w)
{
	if (w->ss != NULL) {
		LIST_REMOVE(w, link);
		event_del(&w->grace);
	}
	if (w->s != NULL)
		w->s->sweep = NULL;
	ptree_ids_fini(&w->ids);
	free(w);
}

static void session_sweep_run(struct work *work)
{
	struct session_sweep *w = (struct session_sweep *)work;

	if (w->orphaned && ptree_is_reused(w->shell))
		return;
	if (w->all)
		ptree_signal_since(w->shell, w->since, w->signo, &w->ids);
	else
		ptree_signal_ids(&w->ids, w->signo);
}

/*
 * Until the grace is over. While the shell is not back it looks again from time to time: a program
 * that was just being started has not heard the signal.
 */
static void session_sweep_wait(struct session_sweep *w)
{
	int64_t left = w->until_ms - clock_mono_ms();

	if (w->s != NULL && left > w->again_ms) {
		left = w->again_ms;
		w->again_ms *= 2;
	}
	loop_arm(&w->grace, left > 0 ? left : 0);
}

static void session_sweep_done(struct work *work)
{
	struct session_sweep *w = (struct session_sweep *)work;
	w->busy = false;
	/* With it, the run lets go of the sweep. */
	if (w->s != NULL && w->s->run_waits)
		session_run_finish(w->s);
	if (w->ss == NULL) {
		session_sweep_free(w);
	} else if (w->signo == SIGKILL) {
		if (w->s != NULL)
			loop_arm(&w->s->stop_timer, SESSION_RETURN_MS);
		session_sweep_free(w);
	} else if (w->s == NULL && w->ids.n == 0 && !w->shell_gone) {
		session_sweep_free(w);
	} else {
		session_sweep_wait(w);
	}
}

static int session_sweep_submit(struct session_sweep *w, int signo)
{
	struct err e = {0};

	w->signo = signo;
	/* Out of a shell that is gone nothing new comes, and all of it is the run's. */
	w->all = w->s != NULL || w->shell_gone;
	w->orphaned = w->shell_gone;
	if (w->ss->cfg.pool == NULL || work_submit(w->ss->cfg.pool, &w->work, &e) < 0)
		return -1;
	w->busy = true;
	return 0;
}

static void session_sweep_on_grace(evutil_socket_t fd, short what, void *arg)
{
	struct session_sweep *w = arg;
	struct session *s = w->s;

	(void)fd;
	(void)what;
	if (session_sweep_submit(w, clock_mono_ms() < w->until_ms ? SIGTERM : SIGKILL) == 0)
		return;
	/* No worker: the shell, at least, and with it the end of the run. */
	session_sweep_free(w);
	if (s != NULL)
		session_signal_shell(s, SIGKILL);
}

/* NULL: memory is out, or no worker is to be had. */
static struct session_sweep *session_sweep_start(
	struct session *s, bool attached, int signo, int64_t grace_ms)
{
	struct session_sweep *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->work.run = session_sweep_run;
	w->work.done = session_sweep_done;
	w->ss = s->ss;
	w->s = attached ? s : NULL;
	w->shell = s->shell.pid;
	w->since = s->since;
	w->shell_gone = s->shell.child.pid == 0;
	w->until_ms = clock_mono_ms() + grace_ms;
	w->again_ms = SESSION_AGAIN_MS;
	evtimer_assign(&w->grace, loop_base(s->ss->cfg.loop), session_sweep_on_grace, w);
	LIST_INSERT_HEAD(&s->ss->sweeps, w, link);
	if (session_sweep_submit(w, signo) < 0) {
		session_sweep_free(w);
		return NULL;
	}
	return w;
}

void sessions_abandon_sweeps(struct sessions *ss)
{
	struct session_sweep *w;

	while ((w = LIST_FIRST(&ss->sweeps)) != NULL) {
		if (!w->busy) {
			session_sweep_free(w);
			continue;
		}
		LIST_REMOVE(w, link);
		event_del(&w->grace);
		if (w->s != NULL)
			w->s->sweep = NULL;
		w->s = NULL;
		w->ss = NULL;
	}
}

/* ---- one run ---- */

/*
 * Does the shell have the trap? Not when the command has replaced it by another program, or has
 * removed the trap: then the signal would be its end without a chance to clean up.
 */
static bool session_shell_has_trap(const struct session *s)
{
	char path[40], text[4096];
	const char *at;
	unsigned long long caught = 0;

	if (!s->shell.bash)
		return false;
	snprintf(path, sizeof(path), "/proc/%ld/status", (long)s->shell.child.pid);
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (n <= 0)
		return true;
	text[n] = '\0';
	at = strstr(text, "\nSigCgt:");
	if (at != NULL)
		caught = strtoull(at + sizeof("\nSigCgt:") - 1, NULL, 16);
	return (caught >> (SESSION_INTERRUPT_SIGNAL - 1) & 1) != 0;
}

static void session_stop_send(struct session *s)
{
	s->stop_sent = true;
	session_signal_shell(s, session_shell_has_trap(s) ? SESSION_INTERRUPT_SIGNAL : SIGTERM);
	session_signal_shell(s, SIGCONT);
	s->sweep = session_sweep_start(s, true, SIGTERM, s->stop_grace_ms);
	if (s->sweep == NULL)
		loop_arm(&s->stop_timer, s->stop_grace_ms);
}

void session_stop(struct session *s, enum session_stop why, int64_t grace_ms)
{
	assert(s->run != NULL);
	if (why == SESSION_STOP_DELETE) {
		s->stop = why;
		loop_arm(&s->stop_timer, SESSION_DELETE_MS);
		return;
	}
	if (s->stop != SESSION_GO)
		return;
	s->stop = why;
	s->stop_grace_ms = grace_ms;
	if (s->run_over)
		return;
	if (s->run_began)
		session_stop_send(s);
	else
		loop_arm(&s->stop_timer, grace_ms);
}

void session_stop_began(struct session *s)
{
	if (s->stop != SESSION_STOP_INTERRUPT && s->stop != SESSION_STOP_TIMEOUT)
		return;
	event_del(&s->stop_timer);
	session_stop_send(s);
}

/* It is not back: what it started may have been killed, or it never got as far as to begin. */
void session_on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	if (s->stop == SESSION_STOP_DELETE) {
		session_run_finish(s);
		return;
	}
	log_info("session", "the shell is killed id=%s", s->id);
	session_signal_shell(s, SIGKILL);
}

void session_stop_end(struct session *s)
{
	struct session_sweep *w = s->sweep;
	bool reaped = s->shell.child.pid == 0;

	event_del(&s->stop_timer);
	s->sweep = NULL;
	if (w != NULL) {
		w->s = NULL;
		w->shell_gone = reaped;
	} else if (reaped && s->stop_sent) {
		/* It was killed after the grace; what it did meanwhile goes with it. */
		(void)session_sweep_start(s, false, SIGKILL, 0);
	}
	s->stop = SESSION_GO;
	s->stop_sent = false;
}

/* ---- the whole session ---- */

static bool session_group_is_empty(pid_t group)
{
	/* Signal 0 reaches nobody, so it may ask about a number that is no longer ours. */
	return kill(-group, 0) < 0 && errno == ESRCH;
}

bool session_past_is_empty(struct session *s)
{
	bool empty = true;

	for (size_t i = 0; i < SESSION_PAST; i++) {
		if (s->past[i] > 0 && session_group_is_empty(s->past[i]))
			s->past[i] = 0;
		empty = empty && s->past[i] == 0;
	}
	return empty;
}

void session_remember_past(struct session *s)
{
	if (session_group_is_empty(s->shell.pid))
		return;
	(void)session_past_is_empty(s);
	if (s->past[SESSION_PAST - 1] != 0)
		log_warn("session", "too many shells left jobs behind id=%s", s->id);
	/* The newest first, and no holes before the oldest. */
	size_t at = 0;
	while (at < SESSION_PAST - 1 && s->past[at] != 0)
		at++;
	memmove(s->past + 1, s->past, at * sizeof(s->past[0]));
	s->past[0] = s->shell.pid;
}

static void session_killing_free(struct session_killing *k)
{
	LIST_REMOVE(k, link);
	free(k);
}

static void session_kill_group(struct session *s)
{
	if (s->shell.child.pid > 0 && kill(-s->shell.child.pid, SIGKILL) < 0 && errno != ESRCH)
		log_warn("session", "kill id=%s: %s", s->id, err_strerror(errno));
}

static void session_on_killed(size_t killed, void *arg)
{
	struct session_killing *k = arg;
	struct session *s = k->s;

	log_debug("session", "tree killed id=%s processes=%zu", s->id, killed);
	session_killing_free(k);
	/* Without /proc there was no tree to see. */
	session_kill_group(s);
	session_check_gone(s);
}

/* -1: no worker is to be had. */
static int session_kill_tree(struct session *s, pid_t shell, bool orphaned)
{
	struct session_killing *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return -1;
	k->s = s;
	k->job = treekill_start(s->ss->cfg.pool, shell, orphaned, session_on_killed, k);
	if (k->job == NULL) {
		free(k);
		return -1;
	}
	LIST_INSERT_HEAD(&s->kills, k, link);
	return 0;
}

void session_kill(struct session *s)
{
	s->killed = true;
	if (s->shell.child.pid > 0 && session_kill_tree(s, s->shell.child.pid, false) < 0)
		session_kill_group(s);
	for (size_t i = 0; i < SESSION_PAST; i++) {
		if (s->past[i] > 0 && !session_group_is_empty(s->past[i]))
			(void)session_kill_tree(s, s->past[i], true);
	}
}

void session_abandon_kills(struct session *s)
{
	struct session_killing *k;

	while ((k = LIST_FIRST(&s->kills)) != NULL) {
		treekill_abandon(k->job);
		session_killing_free(k);
	}
}
