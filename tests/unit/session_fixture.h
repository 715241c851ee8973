/*
 * For the tests of shell sessions: a loop with everything a table of sessions needs, runs whose
 * output is collected, and waiting for a condition with a bound.
 */
#ifndef BOXD_TESTS_SESSION_FIXTURE_H
#define BOXD_TESTS_SESSION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/buf.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/session.h"

#define FIXTURE_DEADLINE_MS 20000

struct fixture {
	struct loop *loop;
	struct children *children;
	struct work_pool *pool;
	struct sessions *sessions;
	char cwd[PATH_MAX]; /* the workspace */
};

/* One run, and what it wrote. */
struct run {
	struct fixture *fx;
	struct session_run *r; /* NULL once it was freed */
	struct outhub_reader *reader;
	struct buf out[OUTHUB_STREAMS];
	uint64_t begin, end, gap;
	bool began, ended, complete, owns;
	struct session_result res;
};

static char *const fixture_environ[] = {
	"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", "FROM=daemon", "TO_UNSET=1", NULL};

static inline void fixture_start(struct fixture *fx)
{
	struct sessions_config cfg = {0};
	struct err e = {0};

	assert_non_null(getcwd(fx->cwd, sizeof(fx->cwd)));
	fx->loop = loop_new(&e);
	assert_non_null(fx->loop);
	fx->children = children_new(fx->loop, &e);
	assert_non_null(fx->children);
	fx->pool = work_pool_new(fx->loop, &e);
	assert_non_null(fx->pool);
	cfg.loop = fx->loop;
	cfg.children = fx->children;
	cfg.pool = fx->pool;
	cfg.launch.default_cwd = fx->cwd;
	cfg.launch.environ = fixture_environ;
	fx->sessions = sessions_new(&cfg, &e);
	assert_non_null(fx->sessions);
}

/* ---- waiting ---- */

struct fixture_wait {
	struct fixture *fx;
	bool (*done)(void *arg);
	void *arg;
	bool is_done;
	int64_t deadline_ms;
};

static inline void fixture_on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct fixture_wait *w = arg;

	(void)fd;
	(void)what;
	w->is_done = w->done(w->arg);
	if (w->is_done || clock_mono_ms() > w->deadline_ms)
		loop_stop(w->fx->loop);
}

/* Runs the loop until done(arg); false when that takes too long. */
static inline bool fixture_wait_until(struct fixture *fx, bool (*done)(void *arg), void *arg)
{
	struct fixture_wait w = {fx, done, arg, false, clock_mono_ms() + FIXTURE_DEADLINE_MS};
	struct timeval tick = {0, 500};
	struct event *ev = event_new(loop_base(fx->loop), -1, EV_PERSIST, fixture_on_tick, &w);

	event_add(ev, &tick);
	w.is_done = done(arg);
	if (!w.is_done)
		assert_int_equal(loop_run(fx->loop), 0);
	event_free(ev);
	return w.is_done;
}

static inline bool fixture_time_is_over(void *arg)
{
	return clock_mono_ms() >= *(int64_t *)arg;
}

/* For what must not happen: runs the loop for a while. */
static inline void fixture_run_ms(struct fixture *fx, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;

	(void)fixture_wait_until(fx, fixture_time_is_over, &until);
}

static inline bool pid_is_gone(void *arg)
{
	return kill(*(pid_t *)arg, 0) < 0 && errno == ESRCH;
}

static inline bool pid_is_alive(pid_t pid)
{
	return kill(pid, 0) == 0;
}

static inline void fixture_on_done(void *arg)
{
	*(bool *)arg = true;
}

static inline bool fixture_is_set(void *arg)
{
	return *(bool *)arg;
}

static inline void fixture_end(struct fixture *fx)
{
	bool done = false;

	sessions_shutdown(fx->sessions, 0, fixture_on_done, &done);
	assert_true(fixture_wait_until(fx, fixture_is_set, &done));
	sessions_free(fx->sessions);
	work_pool_free(fx->pool);
	children_free(fx->children);
	loop_free(fx->loop);
	for (unsigned int i = 0; i < LIMIT_COUNT_; i++)
		assert_true(limit_set(i, limit_rows[i].def));
}

/* ---- runs ---- */

static inline void run_take(struct run *run)
{
	struct outhub_run piece;

	while (run->reader != NULL) {
		uint64_t at = outhub_reader_offset(run->reader);

		if (run->ended && at >= run->end) {
			outhub_detach(run->reader);
			run->reader = NULL;
			run->complete = true;
			return;
		}
		switch (outhub_read(run->reader, run->ended ? run->end - at : 65536, &piece)) {
		case OUTHUB_DATA:
			assert_int_equal(buf_add(&run->out[piece.stream], piece.data, piece.n), 0);
			break;
		case OUTHUB_GAP: run->gap += piece.gap; break;
		case OUTHUB_WAIT: return;
		case OUTHUB_END:
		case OUTHUB_GONE: fail_msg("the hub ended"); break;
		}
	}
}

static inline void run_on_ready(void *arg)
{
	run_take(arg);
}

static inline void run_on_begin(struct session_run *r, uint64_t begin, void *arg)
{
	struct run *run = arg;

	assert_false(run->began);
	run->began = true;
	run->begin = begin;
	run->reader = outhub_attach(session_run_hub(r), begin, OUTHUB_FOLLOW, run_on_ready, run);
	assert_non_null(run->reader);
	if (run->owns)
		outhub_set_owner(run->reader);
	run_take(run);
}

static inline void run_on_end(
	struct session_run *r, uint64_t end, const struct session_result *res, void *arg)
{
	struct run *run = arg;

	assert_false(run->ended);
	run->ended = true;
	run->end = end;
	run->res = *res;
	if (run->reader != NULL)
		run_take(run);
	else
		run->complete = true;
	if (run->complete) {
		session_run_free(r);
		run->r = NULL;
	}
}

static const struct session_run_callbacks run_callbacks = {run_on_begin, run_on_end};

static inline struct session *session_make(struct fixture *fx, const char *shell)
{
	struct session_spec spec = {.shell = shell};
	struct err e = {0};
	struct session *s = session_create(fx->sessions, &spec, &e);

	if (s == NULL)
		fail_msg("session: %s", e.msg);
	return s;
}

static inline void run_start_spec(
	struct run *run, struct fixture *fx, struct session *s, const struct session_run_spec *spec)
{
	struct err e = {0};

	*run = (struct run){.fx = fx, .owns = true};
	run->r = session_run_start(s, spec, &run_callbacks, run, &e);
	if (run->r == NULL)
		fail_msg("%.200s: %s", spec->command, e.msg);
	assert_false(run->ended);
}

static inline void run_start(
	struct run *run, struct fixture *fx, struct session *s, const char *command)
{
	struct session_run_spec spec = {.command = command};

	run_start_spec(run, fx, s, &spec);
}

static inline bool run_is_complete(void *arg)
{
	struct run *run = arg;

	if (run->ended && !run->complete)
		run_take(run);
	return run->complete;
}

static inline void run_wait(struct run *run)
{
	if (!fixture_wait_until(run->fx, run_is_complete, run))
		fail_msg("the run does not end: began %d out '%.*s' err '%.*s'", run->began,
			(int)buf_len(&run->out[0]), (char *)buf_data(&run->out[0]),
			(int)buf_len(&run->out[1]), (char *)buf_data(&run->out[1]));
	session_run_free(run->r);
	run->r = NULL;
}

static inline const char *run_text(struct run *run, enum outhub_stream s)
{
	assert_int_equal(buf_add(&run->out[s], "", 1), 0);
	run->out[s].tail--;
	return (const char *)buf_data(&run->out[s]);
}

static inline void run_fini(struct run *run)
{
	if (run->reader != NULL)
		outhub_detach(run->reader);
	buf_fini(&run->out[OUTHUB_STDOUT]);
	buf_fini(&run->out[OUTHUB_STDERR]);
}

/* A whole run; the caller calls run_fini(). */
static inline void run_all(
	struct run *run, struct fixture *fx, struct session *s, const char *command)
{
	run_start(run, fx, s, command);
	run_wait(run);
}

/* Runs a command that comes back; out and err may be NULL. */
static inline void expect_code(struct fixture *fx, struct session *s, const char *command, int code,
	const char *out, const char *err)
{
	struct run run;

	run_all(&run, fx, s, command);
	if (run.res.end != SESSION_RUN_DONE || run.res.code != code ||
		(out != NULL && strcmp(run_text(&run, OUTHUB_STDOUT), out) != 0) ||
		(err != NULL && strcmp(run_text(&run, OUTHUB_STDERR), err) != 0))
		fail_msg("%.300s\nend %d code %d signal %d why '%s'\nout '%.400s'\nerr '%.400s'",
			command, run.res.end, run.res.code, run.res.signal, run.res.why,
			run_text(&run, OUTHUB_STDOUT), run_text(&run, OUTHUB_STDERR));
	assert_false(run.res.shell_lost);
	run_fini(&run);
}

/* The same for status 0 and nothing on stderr. */
static inline void expect(
	struct fixture *fx, struct session *s, const char *command, const char *out)
{
	expect_code(fx, s, command, 0, out, "");
}

/* A run that ends otherwise. */
static inline void expect_end(
	struct fixture *fx, struct session *s, const char *command, enum session_end end, int code)
{
	struct run run;

	run_all(&run, fx, s, command);
	if (run.res.end != end || run.res.code != code)
		fail_msg("%.300s\nend %d code %d signal %d\nerr '%.400s'", command, run.res.end,
			run.res.code, run.res.signal, run_text(&run, OUTHUB_STDERR));
	run_fini(&run);
}

static inline pid_t session_pid(struct session *s)
{
	struct session_info info;

	session_info(s, &info);
	return info.pid;
}

/* Ends the shell from outside, so that the next run gets another. */
static inline void lose_shell(struct fixture *fx, struct session *s)
{
	/* A state comes after the end of its run, and before that of the next one. */
	expect_code(fx, s, ":", 0, NULL, NULL);
	pid_t pid = session_pid(s);

	assert_true(pid > 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(fixture_wait_until(fx, pid_is_gone, &pid));
}

/* Waits until the run has written something that ends in a newline; the number in it. */
static inline bool run_has_line(void *arg)
{
	struct run *run = arg;

	return run->ended || strchr(run_text(run, OUTHUB_STDOUT), '\n') != NULL;
}

static inline long run_number(struct run *run)
{
	assert_true(fixture_wait_until(run->fx, run_has_line, run));
	return strtol(run_text(run, OUTHUB_STDOUT), NULL, 10);
}

static inline size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

#endif
