/*
 * session: the table of shell sessions, and their beginning and end.
 *
 * A session is in the table until it is deleted, idle for too long, or the daemon shuts down. From
 * then on nobody finds it, but it stays until its shell was reaped, what it started was killed, and
 * all who hold one of its runs have let go.
 */
#include "boxd/session.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "session_internal.h"

/* A shutdown looks this often whether somebody is left in the group of a shell that ended. */
#define SESSION_LOOK_MS 10

static int session_no_memory(struct err *e)
{
	return err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

/* ---- the copy of a spec ---- */

static void session_copy_fini(struct session_copy *c)
{
	for (size_t i = 0; i < c->launch.nenvs; i++) {
		free((char *)(uintptr_t)c->envs[i].name);
		free((char *)(uintptr_t)c->envs[i].value);
	}
	free(c->envs);
	free(c->user);
	free(c->shell);
	free(c->label);
	*c = (struct session_copy){0};
}

static int session_copy_str(char **out, const char *s)
{
	*out = s != NULL ? strdup(s) : NULL;
	return s != NULL && *out == NULL ? -1 : 0;
}

static int session_copy_envs(struct session_copy *c, const struct launch_spec *from)
{
	c->envs = calloc(from->nenvs + 1, sizeof(*c->envs));
	if (c->envs == NULL)
		return -1;
	for (size_t i = 0; i < from->nenvs; i++) {
		c->envs[i].name = strdup(from->envs[i].name);
		c->envs[i].value = strdup(from->envs[i].value);
		c->launch.nenvs = i + 1;
		if (c->envs[i].name == NULL || c->envs[i].value == NULL)
			return -1;
	}
	return 0;
}

/* Without the directory: that is the session's, and changes. */
static int session_copy_spec(struct session_copy *c, const struct session_spec *spec)
{
	c->launch = spec->launch;
	c->launch.nenvs = 0;
	c->launch.cwd = NULL;
	if (session_copy_envs(c, &spec->launch) < 0 ||
		session_copy_str(&c->user, spec->launch.user) < 0 ||
		session_copy_str(&c->shell, spec->shell) < 0 ||
		session_copy_str(&c->label, spec->label) < 0)
		return -1;
	c->launch.envs = c->envs;
	c->launch.user = c->user;
	return 0;
}

/* ---- one session ---- */

static struct session_bucket *session_bucket(struct sessions *ss, const char *id)
{
	uint32_t h = 0;

	for (size_t i = 0; i < ID_UUID_LEN; i++)
		h = h * 31 + (unsigned char)id[i];
	return &ss->buckets[(h ^ h >> 8) % SESSION_BUCKETS];
}

static void session_free(struct session *s)
{
	if (s == NULL)
		return;
	assert(s->run_count == 0);
	child_unwatch(s->ss->cfg.children, &s->shell.child);
	session_abandon_kills(s);
	event_del(&s->timeout);
	event_del(&s->quiet);
	event_del(&s->idle);
	event_del(&s->stop_timer);
	loop_defer_cancel(s->ss->cfg.loop, &s->turn);
	loop_defer_cancel(s->ss->cfg.loop, &s->free);
	session_shell_close(s);
	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		session_pipe_close(&s->pipes[i]);
	outhub_free(s->hub);
	session_state_clear(&s->kept);
	session_state_clear(&s->next);
	session_copy_fini(&s->spec);
	session_head_clear(&s->head);
	session_head_clear(&s->next_head);
	free(s->cwd);
	free(s);
}

static void session_on_free(void *arg)
{
	struct session *s = arg;

	TAILQ_REMOVE(&s->ss->ending, s, link);
	session_free(s);
}

static void session_on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	log_info("session", "idle id=%s", s->id);
	session_delete(s);
}

static struct session *session_new(struct sessions *ss)
{
	struct session *s = calloc(1, sizeof(*s));
	struct event_base *base = loop_base(ss->cfg.loop);

	if (s == NULL)
		return NULL;
	s->ss = ss;
	id_new_uuid(s->id);
	s->shell.ctl = -1;
	TAILQ_INIT(&s->queue);
	LIST_INIT(&s->kills);
	for (unsigned int i = 0; i < OUTHUB_STREAMS; i++)
		session_pipe_init(s, i);
	loop_deferred_init(&s->turn, session_on_turn, s);
	loop_deferred_init(&s->free, session_on_free, s);
	evtimer_assign(&s->timeout, base, session_on_timeout, s);
	evtimer_assign(&s->quiet, base, session_on_quiet, s);
	evtimer_assign(&s->idle, base, session_on_idle, s);
	evtimer_assign(&s->stop_timer, base, session_on_stop_timer, s);
	s->hub = outhub_new(ss->cfg.loop, ss->cfg.pool, -1, session_on_pace, s);
	if (s->hub == NULL) {
		session_free(s);
		return NULL;
	}
	return s;
}

/* Checks what can be checked before a shell is started, and notes the directory. */
static int session_check_spec(struct session *s, const struct session_spec *spec, struct err *e)
{
	struct launch l;
	int rc = launch_prepare(&l, &s->ss->cfg.launch, &spec->launch, e);

	if (rc == 0 && (s->cwd = STEAL_PTR(l.cwd)) == NULL)
		rc = session_no_memory(e);
	launch_fini(&l);
	return rc;
}

struct session *session_create(struct sessions *ss, const struct session_spec *spec, struct err *e)
{
	struct session *s;

	assert(loop_on_thread(ss->cfg.loop));
	if (ss->stopping) {
		err_set(e, &ERR_UNAVAILABLE, "shutting down");
		return NULL;
	}
	if (ss->count >= limit_size(LIMIT_SESSION_COUNT)) {
		err_set(e, &ERR_TOO_MANY, "there are %zu sessions", ss->count);
		return NULL;
	}
	s = session_new(ss);
	if (s == NULL) {
		session_no_memory(e);
		return NULL;
	}
	if (session_check_spec(s, spec, e) < 0) {
		session_free(s);
		return NULL;
	}
	if (session_copy_spec(&s->spec, spec) < 0) {
		session_free(s);
		session_no_memory(e);
		return NULL;
	}
	s->created_ms = s->used_ms = clock_real_ms();
	TAILQ_INSERT_TAIL(&ss->live, s, link);
	SLIST_INSERT_HEAD(session_bucket(ss, s->id), s, hash_link);
	ss->count++;
	session_idle_start(s);
	log_info("session", "create id=%s", s->id);
	return s;
}

struct session *session_find(struct sessions *ss, const char *id, size_t id_len)
{
	struct session *s;

	if (id_len != ID_UUID_LEN)
		return NULL;
	SLIST_FOREACH(s, session_bucket(ss, id), hash_link) {
		if (memcmp(s->id, id, ID_UUID_LEN) == 0)
			return s;
	}
	return NULL;
}

void sessions_each(struct sessions *ss, void (*fn)(struct session *s, void *arg), void *arg)
{
	struct session *s;

	TAILQ_FOREACH(s, &ss->live, link)
		fn(s, arg);
}

void session_info(const struct session *s, struct session_info *out)
{
	*out = (struct session_info){
		.id = s->id,
		.label = s->spec.label,
		.cwd = s->cwd,
		.shell = s->shell_name[0] != '\0' ? s->shell_name : NULL,
		.pid = s->shell.child.pid,
		.running = s->run != NULL,
		.queued = s->queued,
		.runs = s->runs,
		.created_ms = s->created_ms,
		.used_ms = s->used_ms,
	};
}

void session_idle_start(struct session *s)
{
	if (limit(LIMIT_SESSION_IDLE_MS) > 0 && !s->ending)
		loop_arm(&s->idle, limit(LIMIT_SESSION_IDLE_MS));
}

/* ---- the end ---- */

static void session_forget(struct session *s)
{
	struct sessions *ss = s->ss;

	s->ending = true;
	event_del(&s->idle);
	SLIST_REMOVE(session_bucket(ss, s->id), s, session, hash_link);
	TAILQ_REMOVE(&ss->live, s, link);
	ss->count--;
	TAILQ_INSERT_TAIL(&ss->ending, s, link);
	session_runs_drop(s);
}

void session_delete(struct session *s)
{
	assert(!s->ending);
	log_info("session", "delete id=%s", s->id);
	session_forget(s);
	session_kill(s);
	if (s->run != NULL)
		session_stop(s, SESSION_STOP_DELETE, 0);
	session_check_gone(s);
}

/* Nothing runs for it any more, and nothing will be killed. */
static bool session_is_over(struct session *s)
{
	return s->run == NULL && s->shell.child.pid == 0 && LIST_EMPTY(&s->kills) &&
	       (s->killed || session_past_is_empty(s));
}

static void sessions_check_done(struct sessions *ss)
{
	struct session *s;

	if (ss->on_done == NULL)
		return;
	TAILQ_FOREACH(s, &ss->ending, link) {
		if (!session_is_over(s))
			return;
	}
	event_del(&ss->look);
	loop_defer(ss->cfg.loop, &ss->done);
}

void session_check_gone(struct session *s)
{
	struct sessions *ss = s->ss;

	if (!s->ending)
		return;
	if (s->run_count == 0 && session_is_over(s))
		loop_defer(ss->cfg.loop, &s->free);
	sessions_check_done(ss);
}

/* Asks all of it to end: an idle shell at the end of its input, the others by SIGTERM. */
static void session_hang_up(struct session *s)
{
	session_forget(s);
	if (s->run != NULL)
		s->stop = SESSION_STOP_DELETE;
	if (s->shell.child.pid > 0) {
		session_shell_close(s);
		kill(-s->shell.child.pid, SIGTERM);
		kill(-s->shell.child.pid, SIGCONT);
	}
	for (size_t i = 0; i < SESSION_PAST; i++) {
		if (s->past[i] > 0 && !session_past_is_empty(s))
			kill(-s->past[i], SIGTERM);
	}
	session_check_gone(s);
}

static void sessions_on_look(evutil_socket_t fd, short what, void *arg)
{
	struct sessions *ss = arg;
	bool late = clock_mono_ms() >= ss->stop_until_ms;
	struct session *s, *after;

	(void)fd;
	(void)what;
	loop_arm(&ss->look, SESSION_LOOK_MS);
	for (s = TAILQ_FIRST(&ss->ending); s != NULL; s = after) {
		after = TAILQ_NEXT(s, link);
		if (late && !s->killed && !session_is_over(s))
			session_kill(s);
		session_check_gone(s);
	}
	sessions_check_done(ss);
}

static void sessions_on_done(void *arg)
{
	struct sessions *ss = arg;
	void (*on_done)(void *) = ss->on_done;

	ss->on_done = NULL;
	if (on_done != NULL)
		on_done(ss->on_done_arg);
}

void sessions_shutdown(struct sessions *ss, int64_t grace_ms, void (*on_done)(void *arg), void *arg)
{
	int64_t until = clock_mono_ms() + grace_ms;
	struct session *s;

	if (!ss->stopping || until < ss->stop_until_ms)
		ss->stop_until_ms = until;
	ss->stopping = true;
	ss->on_done = on_done;
	ss->on_done_arg = arg;
	while ((s = TAILQ_FIRST(&ss->live)) != NULL)
		session_hang_up(s);
	loop_arm(&ss->look, 0);
	sessions_check_done(ss);
}

/* ---- the table ---- */

/*
 * A file that a shell can source by the name of its descriptor, and that nobody can change: all
 * sessions share it. -1 where the kernel or the box does not allow that.
 */
static int sessions_make_frame(void)
{
	CLEANUP_FD int fd = memfd_create("boxd-session", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || access("/dev/fd", X_OK) < 0 ||
		write(fd, session_frame, session_frame_size) != (ssize_t)session_frame_size ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) <
			0)
		return -1;
	return fd > 2 ? steal_fd(&fd) : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

struct sessions *sessions_new(const struct sessions_config *cfg, struct err *e)
{
	struct sessions *ss = calloc(1, sizeof(*ss));

	if (ss == NULL) {
		session_no_memory(e);
		return NULL;
	}
	ss->cfg = *cfg;
	TAILQ_INIT(&ss->live);
	TAILQ_INIT(&ss->ending);
	LIST_INIT(&ss->sweeps);
	loop_deferred_init(&ss->done, sessions_on_done, ss);
	evtimer_assign(&ss->look, loop_base(cfg->loop), sessions_on_look, ss);
	ss->frame_fd = sessions_make_frame();
	if (ss->frame_fd < 0)
		log_warn("session", "no frame: an interrupt will cost a session its shell");
	return ss;
}

void sessions_free(struct sessions *ss)
{
	struct session *s;

	if (ss == NULL)
		return;
	while ((s = TAILQ_FIRST(&ss->live)) != NULL)
		session_forget(s);
	sessions_abandon_sweeps(ss);
	while ((s = TAILQ_FIRST(&ss->ending)) != NULL) {
		TAILQ_REMOVE(&ss->ending, s, link);
		session_free(s);
	}
	event_del(&ss->look);
	loop_defer_cancel(ss->cfg.loop, &ss->done);
	if (ss->frame_fd >= 0)
		close(ss->frame_fd);
	free(ss);
}
