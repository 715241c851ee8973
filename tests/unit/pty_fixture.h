/*
 * For the tests of pty: a loop with a table of terminals, a screen (a viewer that reads) which
 * keeps all it is told, and waiting for a condition with a bound.
 */
#ifndef BOXD_TESTS_PTY_FIXTURE_H
#define BOXD_TESTS_PTY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <sys/stat.h>

#include "boxd/buf.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/pty.h"
#include "os_helpers.h"

struct rig {
	struct loop *loop;
	struct children *children;
	struct work_pool *pool;
	struct ptys *ptys;
	char cwd[4096]; /* the workspace: where the test runs */
	size_t fds;     /* open before it */
	size_t screens; /* open now */
	bool done;      /* the shutdown */
};

static struct rig rig;

static char *const rig_environ[] = {(char *)"PATH=/usr/local/bin:/usr/bin:/bin",
	(char *)"HOME=/root", (char *)"COLUMNS=13", (char *)"LINES=7", (char *)"FROM=daemon", NULL};

static inline void rig_limit(enum limit l, int64_t value)
{
	assert_true(limit_set(l, value));
}

static inline int rig_start_with(struct rig *r, char *const *environ_, const char *shell)
{
	struct ptys_config cfg = {.launch = {.environ = environ_, .shell = shell}};
	struct err e = {0};

	*r = (struct rig){.fds = test_fds(0, NULL, 0)};
	log_set_level(LOG_LEVEL_ERROR);
	for (int i = 0; i < LIMIT_COUNT_; i++)
		rig_limit((enum limit)i, limit_rows[i].def);
	assert_non_null(getcwd(r->cwd, sizeof(r->cwd)));
	r->loop = loop_new(&e);
	assert_non_null(r->loop);
	r->children = children_new(r->loop, &e);
	assert_non_null(r->children);
	r->pool = work_pool_new(r->loop, &e);
	assert_non_null(r->pool);
	cfg.loop = r->loop;
	cfg.children = r->children;
	cfg.pool = r->pool;
	cfg.launch.default_cwd = r->cwd;
	r->ptys = ptys_new(&cfg, &e);
	assert_non_null(r->ptys);
	return 0;
}

static int rig_setup(void **state)
{
	(void)state;
	return rig_start_with(&rig, rig_environ, NULL);
}

/* ---- waiting ---- */

struct rig_wait {
	struct rig *rig;
	bool (*done)(void *arg);
	void *arg;
	bool is_done;
	int64_t deadline_ms;
};

static inline void rig_on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct rig_wait *w = arg;

	(void)fd;
	(void)what;
	w->is_done = w->done(w->arg);
	if (w->is_done || clock_mono_ms() > w->deadline_ms)
		loop_stop(w->rig->loop);
}

/* Runs the loop until done(arg), or says that it took too long. */
static inline bool rig_until(struct rig *r, bool (*done)(void *arg), void *arg)
{
	struct rig_wait w = {r, done, arg, false, clock_mono_ms() + TEST_PATIENCE_MS};
	struct timeval tick = {0, 1000};
	struct event *ev;

	if (done(arg))
		return true;
	ev = event_new(loop_base(r->loop), -1, EV_PERSIST, rig_on_tick, &w);
	event_add(ev, &tick);
	assert_int_equal(loop_run(r->loop), 0);
	event_free(ev);
	return w.is_done;
}

static inline bool rig_time_is_over(void *arg)
{
	return clock_mono_ms() >= *(int64_t *)arg;
}

/* For what must not happen. */
static inline void rig_run_ms(struct rig *r, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;

	assert_true(rig_until(r, rig_time_is_over, &until));
}

static inline void rig_on_stop(void *arg)
{
	loop_stop(arg);
}

/* One turn of the loop, and what it defers. */
static inline void rig_turn(struct rig *r)
{
	struct loop_deferred stop;

	loop_deferred_init(&stop, rig_on_stop, r->loop);
	loop_defer(r->loop, &stop);
	assert_int_equal(loop_run(r->loop), 0);
}

static inline bool rig_pid_is_gone(void *arg)
{
	return kill(*(pid_t *)arg, 0) < 0 && errno == ESRCH;
}

static inline bool rig_file_is_there(void *arg)
{
	return access(arg, F_OK) == 0;
}

/* ---- the end ---- */

static inline void rig_on_done(void *arg)
{
	((struct rig *)arg)->done = true;
}

static inline bool rig_is_done(void *arg)
{
	return ((struct rig *)arg)->done;
}

static inline void rig_shutdown(struct rig *r, int64_t grace_ms)
{
	ptys_shutdown(r->ptys, grace_ms, rig_on_done, r);
	assert_true(rig_until(r, rig_is_done, r));
}

static int rig_teardown(void **state)
{
	struct rig *r = &rig;

	(void)state;
	/* A test that failed has left them: what it said is worth more than what would follow. */
	if (r->screens > 0)
		return -1;
	rig_shutdown(r, 0);
	ptys_free(r->ptys);
	work_pool_free(r->pool);
	children_free(r->children);
	loop_free(r->loop);
	for (int i = 0; i < LIMIT_COUNT_; i++)
		rig_limit((enum limit)i, limit_rows[i].def);
	clock_fake(-1, -1);
	/* Those that were found dead after the last turn. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	assert_int_equal(test_fds(0, NULL, 0), r->fds);
	return 0;
}

/* ---- terminals ---- */

static inline struct pty *rig_create(struct rig *r, const struct pty_spec *spec)
{
	struct err e = {0};
	struct pty *t = pty_create(r->ptys, spec, &e);

	if (t == NULL)
		fail_msg("%s", e.msg);
	return t;
}

static inline struct pty *rig_pty(struct rig *r, const char *command)
{
	struct pty_spec spec = {.command = command};

	return rig_create(r, &spec);
}

static inline void rig_run(struct pty *t, bool pipe_mode)
{
	struct err e = {0};

	if (pty_start(t, pipe_mode, &e) < 0)
		fail_msg("%s", e.msg);
}

static inline struct pty_info rig_info(const struct pty *t)
{
	struct pty_info info;

	pty_info(t, &info);
	return info;
}

static inline bool rig_has_ended(void *arg)
{
	return !rig_info(arg).running;
}

static inline void rig_type(struct pty *t, const char *text)
{
	struct err e = {0};

	if (pty_input(t, text, strlen(text), &e) < 0)
		fail_msg("%s", e.msg);
}

/* ---- screens ---- */

struct screen {
	struct rig *rig;
	struct pty_viewer *viewer;
	struct outhub_reader *reader;
	struct buf out[OUTHUB_STREAMS];
	uint64_t gap;
	bool gone; /* the hub */
	unsigned exits, taken, removed, rooms;
	char order[16]; /* what it was told, as letters */
	uint64_t end;
	int code;
	void (*on_told)(struct screen *s, char what);
	void *arg;
};

static void screen_on_ready(void *arg)
{
	struct screen *s = arg;
	struct outhub_run run;

	while (s->reader != NULL) {
		switch (outhub_read(s->reader, 65536, &run)) {
		case OUTHUB_DATA:
			assert_int_equal(buf_add(&s->out[run.stream], run.data, run.n), 0);
			break;
		case OUTHUB_GAP: s->gap += run.gap; break;
		case OUTHUB_WAIT: return;
		case OUTHUB_END:
		case OUTHUB_GONE:
			s->gone = true;
			outhub_detach(s->reader);
			s->reader = NULL;
			break;
		}
	}
}

static inline void screen_told(struct screen *s, char what)
{
	size_t n = strlen(s->order);

	assert_true(n + 1 < sizeof(s->order));
	s->order[n] = what;
	s->order[n + 1] = '\0';
	if (s->on_told != NULL)
		s->on_told(s, what);
}

static void screen_on_exit(uint64_t end, int code, void *arg)
{
	struct screen *s = arg;

	s->exits++;
	s->end = end;
	s->code = code;
	screen_told(s, 'E');
}

static void screen_on_taken_over(void *arg)
{
	struct screen *s = arg;

	s->taken++;
	screen_told(s, 'T');
}

static void screen_on_removed(void *arg)
{
	struct screen *s = arg;

	s->removed++;
	screen_told(s, 'R');
}

static void screen_on_input_room(void *arg)
{
	struct screen *s = arg;

	s->rooms++;
	if (s->on_told != NULL)
		s->on_told(s, 'I');
}

static const struct pty_viewer_callbacks screen_callbacks = {
	screen_on_exit, screen_on_taken_over, screen_on_removed, screen_on_input_room};

/* Reads from `since` on. */
static inline void screen_open_at(
	struct screen *s, struct rig *r, struct pty *t, enum pty_hold how, uint64_t since)
{
	struct err e = {0};

	*s = (struct screen){.rig = r, .on_told = s->on_told, .arg = s->arg};
	s->viewer = pty_attach(t, how, &screen_callbacks, s, &e);
	if (s->viewer == NULL)
		fail_msg("%s", e.msg);
	r->screens++;
	s->reader = outhub_attach(pty_hub(t), since, OUTHUB_FOLLOW, screen_on_ready, s);
	assert_non_null(s->reader);
	screen_on_ready(s);
}

static inline void screen_open(struct screen *s, struct rig *r, struct pty *t, enum pty_hold how)
{
	screen_open_at(s, r, t, how, 0);
}

static inline void screen_close(struct screen *s)
{
	if (s->rig != NULL)
		s->rig->screens--;
	s->rig = NULL;
	pty_detach(s->viewer);
	s->viewer = NULL;
	outhub_detach(s->reader);
	s->reader = NULL;
	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		buf_fini(&s->out[i]);
}

static inline const char *screen_text_of(struct screen *s, enum outhub_stream stream)
{
	assert_int_equal(buf_add(&s->out[stream], "", 1), 0);
	s->out[stream].tail--;
	return (const char *)buf_data(&s->out[stream]);
}

static inline const char *screen_text(struct screen *s)
{
	return screen_text_of(s, OUTHUB_STDOUT);
}

struct screen_look {
	struct screen *screen;
	const char *text;
};

static inline bool screen_shows(void *arg)
{
	struct screen_look *look = arg;

	return strstr(screen_text(look->screen), look->text) != NULL ||
	       strstr(screen_text_of(look->screen, OUTHUB_STDERR), look->text) != NULL;
}

static inline void screen_wait_for(struct screen *s, const char *text)
{
	struct screen_look look = {s, text};

	if (!rig_until(s->rig, screen_shows, &look))
		fail_msg("no \"%s\" in \"%s\"", text, screen_text(s));
}

static inline bool screen_has_exit(void *arg)
{
	return ((struct screen *)arg)->exits > 0;
}

static inline bool screen_is_removed(void *arg)
{
	return ((struct screen *)arg)->removed > 0;
}

static inline bool screen_is_taken(void *arg)
{
	return ((struct screen *)arg)->taken > 0;
}

/* Until the shell has ended and all it wrote was read. */
static inline void screen_wait_exit(struct screen *s)
{
	assert_true(rig_until(s->rig, screen_has_exit, s));
	screen_on_ready(s);
}

/* Starts it, watches it to its end and compares. */
static inline void rig_expect(
	struct rig *r, const struct pty_spec *spec, bool pipe_mode, int code, const char *out)
{
	struct pty *t = rig_create(r, spec);
	struct screen s = {0};

	screen_open(&s, r, t, PTY_HOLD);
	rig_run(t, pipe_mode);
	screen_wait_exit(&s);
	if (strcmp(screen_text(&s), out) != 0 || s.code != code)
		print_error("%s: %d, \"%s\"\n", spec->command, s.code, screen_text(&s));
	assert_string_equal(screen_text(&s), out);
	assert_int_equal(s.code, code);
	screen_close(&s);
}

/* A number that the terminal prints on a line of its own. */
static inline pid_t screen_number(struct screen *s, const char *before)
{
	const char *at;

	screen_wait_for(s, before);
	do {
		at = strstr(screen_text(s), before) + strlen(before);
		if (strpbrk(at, "\r\n") == NULL)
			rig_run_ms(s->rig, 1);
		at = strstr(screen_text(s), before) + strlen(before);
	} while (strpbrk(at, "\r\n") == NULL);
	return (pid_t)strtol(at, NULL, 10);
}

#endif
