/*
 * session_run: the queue of a session, and one run from its turn to its end.
 *
 * A run is over when the shell reports its status, or has ended. What the shell and the programs it
 * waited for have written is in the pipes by then, so what the pipes hold at that moment is the end
 * of the run's output. Where the shell's own output goes through another process (`exec > >(tee
 * f)`) or the shell is gone, what comes a little later belongs to it too.
 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/proc.h"
#include "session_internal.h"

/* So often is more output waited for, LIMIT_PROC_LINGER_MS each time, as long as there is some. */
#define SESSION_QUIET_WAITS 25

/* ---- the struct ---- */

static void session_run_destroy(struct session_run *r)
{
	struct session *s = r->s;

	loop_defer_cancel(s->ss->cfg.loop, &r->done);
	free(r->command);
	free(r->cwd);
	free(r);
	s->run_count--;
	session_check_gone(s);
}

static void session_run_on_done(void *arg)
{
	struct session_run *r = arg;

	r->told = true;
	if (r->cb == NULL)
		session_run_destroy(r);
	else
		r->cb->on_end(r, r->end, &r->res, r->arg);
}

/* Its result is complete; who started it hears of that in this turn. */
static void session_run_ended(struct session_run *r)
{
	r->place = SESSION_ENDED;
	loop_defer(r->s->ss->cfg.loop, &r->done);
}

static void session_run_unqueue(struct session_run *r)
{
	TAILQ_REMOVE(&r->s->queue, r, link);
	r->s->queued--;
}

/* One that never had its turn. */
static void session_run_drop(struct session_run *r, enum session_end end)
{
	session_run_unqueue(r);
	r->res.end = end;
	r->res.code = -1;
	r->end = outhub_total(r->s->hub);
	session_run_ended(r);
}

void session_runs_drop(struct session *s)
{
	struct session_run *r;

	while ((r = TAILQ_FIRST(&s->queue)) != NULL)
		session_run_drop(r, SESSION_RUN_DELETED);
}

static int session_run_check(
	const struct session *s, const struct session_run_spec *spec, char **cwd, struct err *e)
{
	struct launch_spec with_cwd = s->spec.launch;
	struct launch l;
	int rc = 0;

	if (strlen(spec->command) > limit_size(LIMIT_PROC_COMMAND_BYTES))
		return err_set(e, &ERR_BAD_BODY, "command is longer than %zu bytes",
			limit_size(LIMIT_PROC_COMMAND_BYTES));
	if (spec->timeout_ms < 0 || spec->timeout_ms > limit(LIMIT_PROC_TIMEOUT_MAX_MS))
		return err_set(e, &ERR_BAD_BODY, "timeout is not between 0 and %lld ms",
			(long long)limit(LIMIT_PROC_TIMEOUT_MAX_MS));
	if (s->ending)
		return err_set(e, &ERR_UNAVAILABLE, "the session has ended");
	if (s->queued + (s->run != NULL) > limit_size(LIMIT_SESSION_QUEUE))
		return err_set(e, &ERR_TOO_MANY, "%zu runs wait in this session", s->queued);
	if (spec->cwd == NULL || spec->cwd[0] == '\0')
		return 0;
	with_cwd.cwd = spec->cwd;
	rc = launch_prepare(&l, &s->ss->cfg.launch, &with_cwd, e);
	if (rc == 0) {
		*cwd = l.cwd;
		l.cwd = NULL;
	}
	launch_fini(&l);
	return rc;
}

struct session_run *session_run_start(struct session *s, const struct session_run_spec *spec,
	const struct session_run_callbacks *cb, void *arg, struct err *e)
{
	struct session_run *r;
	char *cwd = NULL;

	assert(loop_on_thread(s->ss->cfg.loop));
	if (session_run_check(s, spec, &cwd, e) < 0)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (r != NULL)
		r->command = strdup(spec->command);
	if (r == NULL || r->command == NULL) {
		free(r);
		free(cwd);
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	r->s = s;
	r->cwd = cwd;
	r->timeout_ms = spec->timeout_ms > 0 ? spec->timeout_ms : limit(LIMIT_SESSION_TIMEOUT_MS);
	r->merge_stderr = spec->merge_stderr;
	r->cb = cb;
	r->arg = arg;
	loop_deferred_init(&r->done, session_run_on_done, r);
	s->run_count++;
	TAILQ_INSERT_TAIL(&s->queue, r, link);
	s->queued++;
	event_del(&s->idle);
	loop_defer(s->ss->cfg.loop, &s->turn);
	return r;
}

struct outhub *session_run_hub(struct session_run *r)
{
	return r->s->hub;
}

const char *session_run_session_id(const struct session_run *r)
{
	return r->s->id;
}

void session_run_interrupt(struct session_run *r)
{
	if (r->place == SESSION_ACTIVE) {
		session_stop(r->s, SESSION_STOP_INTERRUPT, limit(LIMIT_PROC_GRACE_MS));
	} else if (r->place == SESSION_QUEUED) {
		session_run_drop(r, SESSION_RUN_INTERRUPTED);
		loop_defer(r->s->ss->cfg.loop, &r->s->turn);
	}
}

int session_interrupt(struct session *s, struct err *e)
{
	/* One that was just queued gets its turn in this very turn of the loop. */
	struct session_run *r = s->run != NULL ? s->run : TAILQ_FIRST(&s->queue);

	if (r == NULL)
		return err_set(e, &ERR_NOT_RUNNING, "nothing runs in this session");
	session_run_interrupt(r);
	return 0;
}

void session_run_free(struct session_run *r)
{
	if (r == NULL)
		return;
	if (r->told) {
		session_run_destroy(r);
		return;
	}
	r->cb = NULL;
	session_run_interrupt(r);
}

/* ---- its turn ---- */

static void session_run_fail(struct session *s, struct session_run *r, const char *why)
{
	r->res.end = SESSION_RUN_NO_SHELL;
	r->res.code = -1;
	snprintf(r->res.why, sizeof(r->res.why), "%s", why);
	r->end = outhub_total(s->hub);
	s->used_ms = clock_real_ms();
	log_info("session", "no shell id=%s: %s", s->id, why);
	session_run_ended(r);
	loop_defer(s->ss->cfg.loop, &s->turn);
}

static void session_run_begin(struct session *s, struct session_run *r)
{
	s->run = r;
	r->place = SESSION_ACTIVE;
	r->started_us = clock_mono_us();
	s->run_began = false;
	s->run_over = false;
	s->stop = SESSION_GO;
	s->stop_sent = false;
	s->since = ptree_now();
	/* What background jobs have written until now belongs to no run. */
	session_pipes_take(s);
	loop_arm(&s->timeout, r->timeout_ms);
	if (session_feed_run(s, r) < 0) {
		s->run = NULL;
		event_del(&s->timeout);
		session_run_fail(s, r, "out of memory");
		return;
	}
	session_shell_flush(s);
	if (r->cb != NULL)
		r->cb->on_begin(r, outhub_total(s->hub), r->arg);
}

void session_on_turn(void *arg)
{
	struct session *s = arg;
	struct session_run *r = TAILQ_FIRST(&s->queue);
	struct err e = {0};

	if (s->run != NULL || s->ending)
		return;
	if (r == NULL) {
		session_idle_start(s);
		return;
	}
	session_run_unqueue(r);
	if (s->shell.child.pid == 0 && session_shell_start(s, &e) < 0)
		session_run_fail(s, r, e.msg);
	else
		session_run_begin(s, r);
}

void session_run_began(struct session *s)
{
	if (s->run == NULL || s->run_began)
		return;
	s->run_began = true;
	session_stop_began(s);
}

void session_on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	log_info("session", "timeout id=%s ms=%lld", s->id, (long long)s->run->timeout_ms);
	session_stop(s, SESSION_STOP_TIMEOUT, limit(LIMIT_PROC_TIMEOUT_GRACE_MS));
}

/* ---- its end ---- */

static enum session_end session_run_how(const struct session *s, bool shell_ended)
{
	switch (s->stop) {
	case SESSION_STOP_INTERRUPT: return SESSION_RUN_INTERRUPTED;
	case SESSION_STOP_TIMEOUT: return SESSION_RUN_TIMED_OUT;
	case SESSION_STOP_DELETE: return SESSION_RUN_DELETED;
	case SESSION_GO: break;
	}
	return shell_ended ? SESSION_RUN_SHELL_ENDED : SESSION_RUN_DONE;
}

/* The result is known: nothing can time out any longer. */
static void session_run_settle(struct session *s, bool late)
{
	s->run_over = true;
	event_del(&s->timeout);
	if (!late) {
		session_run_finish(s);
		return;
	}
	session_pipes_take(s);
	s->quiet_total = outhub_total(s->hub);
	s->quiet_waits = 1;
	loop_arm(&s->quiet, limit(LIMIT_PROC_LINGER_MS));
}

void session_on_quiet(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	session_pipes_take(s);
	bool quiet = outhub_total(s->hub) == s->quiet_total && !session_shell_is_ahead(s);
	if (quiet || s->quiet_waits >= SESSION_QUIET_WAITS) {
		session_run_finish(s);
		return;
	}
	s->quiet_total = outhub_total(s->hub);
	s->quiet_waits++;
	loop_arm(&s->quiet, limit(LIMIT_PROC_LINGER_MS));
}

void session_run_report(struct session *s, int status, bool late)
{
	if (s->run == NULL || s->run_over)
		return;
	s->run->res.end = session_run_how(s, false);
	s->run->res.code = status;
	session_run_settle(s, late);
}

/*
 * The shell ended before it took the command. One that had died since the last run, or could not
 * take over the state, has a successor that gets the command now; else there is none, and *why.
 */
static bool session_run_again(struct session *s, int code, int signal, struct err *why)
{
	char how[80];

	if (!s->shell.came_up && !s->shell.restored) {
		proc_describe_end(code, signal, false, how, sizeof(how));
		err_set(why, &ERR_RUNTIME, "the shell ended before it began: %s", how);
		return false;
	}
	if (session_shell_start(s, why) < 0)
		return false;
	if (session_feed_run(s, s->run) < 0) {
		session_shell_close(s);
		err_set(why, &ERR_UNAVAILABLE, "out of memory");
		return false;
	}
	session_shell_flush(s);
	return true;
}

void session_run_shell_ended(struct session *s, int code, int signal)
{
	struct session_run *r = s->run;
	struct err why = {0};

	if (r == NULL)
		return;
	if (s->run_over) {
		r->res.shell_lost = true;
		return;
	}
	if (!s->run_began && s->stop == SESSION_GO && session_run_again(s, code, signal, &why))
		return;
	r->res.shell_lost = true;
	r->res.end = why.kind != NULL ? SESSION_RUN_NO_SHELL : session_run_how(s, true);
	r->res.code = why.kind != NULL ? -1 : code;
	r->res.signal = why.kind != NULL ? 0 : signal;
	snprintf(r->res.why, sizeof(r->res.why), "%.*s", (int)sizeof(r->res.why) - 1, why.msg);
	session_run_settle(s, true);
}

void session_run_finish(struct session *s)
{
	struct session_run *r = s->run;

	s->run_waits = s->sweep != NULL && s->sweep->busy && s->stop != SESSION_STOP_DELETE;
	if (s->run_waits)
		return;
	session_pipes_take(s);
	event_del(&s->timeout);
	event_del(&s->quiet);
	r->end = outhub_total(s->hub);
	r->res.wall_ms = (clock_mono_us() - r->started_us) / 1000;
	if (s->stop == SESSION_STOP_DELETE)
		r->res.end = SESSION_RUN_DELETED;
	if (!s->run_over)
		r->res.code = -1;
	r->res.shell_lost = r->res.shell_lost || s->shell.child.pid == 0 || s->ending;
	session_stop_end(s);
	s->run = NULL;
	s->runs++;
	s->used_ms = clock_real_ms();
	log_info("session", "run ended id=%s end=%d code=%d signal=%d wall_ms=%lld", s->id,
		(int)r->res.end, r->res.code, r->res.signal, (long long)r->res.wall_ms);
	session_run_ended(r);
	loop_defer(s->ss->cfg.loop, &s->turn);
}
