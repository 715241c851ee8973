/*
 * For the tests of proc: a loop with everything a table of commands needs, a reader that collects
 * what a command writes, and waiting for a condition with a bound.
 */
#ifndef BOXD_TESTS_PROC_FIXTURE_H
#define BOXD_TESTS_PROC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boxd/buf.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/proc.h"

#define FIXTURE_DEADLINE_MS 20000

struct fixture {
	struct loop *loop;
	struct children *children;
	struct work_pool *pool;
	struct procs *procs;
	char cwd[4096]; /* the workspace: where the test runs */
};

/* What a command wrote. */
struct capture {
	struct fixture *fx;
	struct outhub_reader *reader;
	struct buf out[OUTHUB_STREAMS];
	uint64_t gap;
	bool ended;
};

static char *const fixture_environ[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root",
	"BOXD_TOKEN=hidden", "FROM=daemon", NULL};

static inline void fixture_limits_reset(void)
{
	for (unsigned int i = 0; i < LIMIT_COUNT_; i++)
		assert_true(limit_set(i, limit_rows[i].def));
}

static inline void fixture_start_with(struct fixture *fx, const struct procs_config *more)
{
	struct procs_config cfg = *more;
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
	if (cfg.launch.environ == NULL)
		cfg.launch.environ = fixture_environ;
	fx->procs = procs_new(&cfg, &e);
	assert_non_null(fx->procs);
}

static inline void fixture_start(struct fixture *fx)
{
	struct procs_config cfg = {.state_dir = -1};

	fixture_start_with(fx, &cfg);
}

static inline void fixture_end(struct fixture *fx)
{
	procs_free(fx->procs);
	work_pool_free(fx->pool);
	children_free(fx->children);
	loop_free(fx->loop);
	fixture_limits_reset();
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

/* Runs the loop until done(arg); fails the test when that takes too long. */
static inline void fixture_wait_for(struct fixture *fx, bool (*done)(void *arg), void *arg)
{
	struct fixture_wait w = {fx, done, arg, false, clock_mono_ms() + FIXTURE_DEADLINE_MS};
	struct timeval tick = {0, 1000};
	struct event *ev = event_new(loop_base(fx->loop), -1, EV_PERSIST, fixture_on_tick, &w);

	event_add(ev, &tick);
	if (!done(arg)) {
		assert_int_equal(loop_run(fx->loop), 0);
		assert_true(w.is_done);
	}
	event_free(ev);
}

static inline bool fixture_time_is_over(void *arg)
{
	return clock_mono_ms() >= *(int64_t *)arg;
}

/* For what must not happen: runs the loop for a while. */
static inline void fixture_run_ms(struct fixture *fx, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;

	fixture_wait_for(fx, fixture_time_is_over, &until);
}

static inline bool proc_has_exited(void *arg)
{
	return !proc_running(arg);
}

static inline bool proc_is_over(void *arg)
{
	return outhub_finished(proc_hub(arg));
}

static inline bool proc_has_no_pipes(void *arg)
{
	return !proc_running(arg) && !proc_pipes_open(arg);
}

static inline bool pid_is_gone(void *arg)
{
	return kill(*(pid_t *)arg, 0) < 0 && errno == ESRCH;
}

/* ---- commands ---- */

static inline struct proc *fixture_sh(struct fixture *fx, const char *command)
{
	struct proc_spec spec = {.command = command, .shell = "/bin/sh"};
	struct err e = {0};
	struct proc *p = proc_start(fx->procs, &spec, &e);

	if (p == NULL)
		fail_msg("%s: %s", command, e.msg);
	return p;
}

static inline void capture_on_ready(void *arg)
{
	struct capture *c = arg;
	struct outhub_run run;

	while (c->reader != NULL) {
		switch (outhub_read(c->reader, 65536, &run)) {
		case OUTHUB_DATA:
			assert_int_equal(buf_add(&c->out[run.stream], run.data, run.n), 0);
			break;
		case OUTHUB_GAP: c->gap += run.gap; break;
		case OUTHUB_WAIT: return;
		case OUTHUB_END:
		case OUTHUB_GONE:
			c->ended = true;
			outhub_detach(c->reader);
			c->reader = NULL;
			break;
		}
	}
}

static inline bool capture_is_done(void *arg)
{
	return ((struct capture *)arg)->ended;
}

static inline void capture_begin(
	struct capture *c, struct fixture *fx, struct proc *p, uint64_t bound)
{
	*c = (struct capture){.fx = fx};
	c->reader = outhub_attach(proc_hub(p), 0, bound, capture_on_ready, c);
	assert_non_null(c->reader);
}

/* Everything up to the end of the run, or what is there when the run is over. */
static inline void capture_all(struct capture *c, struct fixture *fx, struct proc *p)
{
	capture_begin(c, fx, p, OUTHUB_FOLLOW);
	capture_on_ready(c);
	fixture_wait_for(fx, capture_is_done, c);
}

static inline const char *capture_text(struct capture *c, enum outhub_stream s)
{
	assert_int_equal(buf_add(&c->out[s], "", 1), 0);
	c->out[s].tail--;
	return (const char *)buf_data(&c->out[s]);
}

static inline void capture_fini(struct capture *c)
{
	if (c->reader != NULL)
		outhub_detach(c->reader);
	buf_fini(&c->out[OUTHUB_STDOUT]);
	buf_fini(&c->out[OUTHUB_STDERR]);
}

/* Runs a command to its end and compares what it wrote. */
static inline void fixture_expect(struct fixture *fx, const struct proc_spec *spec, int code,
	const char *out, const char *err)
{
	struct err e = {0};
	struct capture c;
	struct proc *p = proc_start(fx->procs, spec, &e);

	if (p == NULL)
		fail_msg("%s", e.msg);
	capture_all(&c, fx, p);
	if (out != NULL)
		assert_string_equal(capture_text(&c, OUTHUB_STDOUT), out);
	if (err != NULL)
		assert_string_equal(capture_text(&c, OUTHUB_STDERR), err);
	assert_non_null(proc_exit_record(p));
	assert_int_equal(proc_exit_record(p)->code, code);
	capture_fini(&c);
}

static inline bool capture_has_line(void *arg)
{
	struct capture *c = arg;

	return buf_len(&c->out[OUTHUB_STDOUT]) > 0 &&
	       buf_data(&c->out[OUTHUB_STDOUT])[buf_len(&c->out[OUTHUB_STDOUT]) - 1] == '\n';
}

/* Follows a command until it has printed some whole lines: the numbers in them. */
static inline size_t fixture_read_pids(struct fixture *fx, struct proc *p, pid_t *pids, size_t n)
{
	struct capture c;
	size_t found = 0;

	capture_begin(&c, fx, p, OUTHUB_FOLLOW);
	while (found < n && !c.ended) {
		const char *at;
		char *end;

		capture_on_ready(&c);
		if (!c.ended)
			fixture_run_ms(fx, 1);
		at = capture_text(&c, OUTHUB_STDOUT);
		for (found = 0; capture_has_line(&c) && found < n; found++, at = end) {
			long pid = strtol(at, &end, 10);

			if (end == at)
				break;
			pids[found] = (pid_t)pid;
		}
	}
	capture_fini(&c);
	return found;
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
