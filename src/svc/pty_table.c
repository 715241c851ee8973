/*
 * pty_table: who is registered, and for how long.
 *
 * A hash of ids over one list for each place. Terminals come to a place in the order in which they
 * leave it again for their age, so one timer, for the first of the two lists that age, is enough.
 * What has ended is forgotten, and what it left running goes on, as with commands; what still runs
 * and nobody has been connected to for too long is deleted.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "pty_internal.h"

static struct pty_bucket *pty_bucket(struct ptys *ps, const char *id)
{
	uint64_t h;

	/* Random hexadecimal digits; the multiplication spreads what is constant in their bits. */
	memcpy(&h, id, sizeof(h));
	h *= 0x9e3779b97f4a7c15u;
	return &ps->buckets[(h >> 32) % PTY_BUCKETS];
}

struct pty *pty_find(struct ptys *ps, const char *id, size_t id_len)
{
	struct pty *t;

	if (id_len != ID_UUID_LEN)
		return NULL;
	SLIST_FOREACH(t, pty_bucket(ps, id), hash_link) {
		if (memcmp(t->id, id, ID_UUID_LEN) == 0)
			return t;
	}
	return NULL;
}

void ptys_each(struct ptys *ps, void (*fn)(struct pty *t, void *arg), void *arg)
{
	struct pty *t;

	TAILQ_FOREACH(t, &ps->all, all_link)
		fn(t, arg);
}

size_t ptys_count(const struct ptys *ps)
{
	return ps->counts[PTY_ATTENDED] + ps->counts[PTY_UNATTENDED] + ps->counts[PTY_ENDED];
}

/* ---- one terminal ---- */

static void pty_free(struct pty *t)
{
	struct loop *l = t->ps->cfg.loop;

	assert(t->child.pid == 0 && t->kill == NULL && t->viewer_count == 0);
	if (t->place != PTY_PLACES) {
		TAILQ_REMOVE(&t->ps->lists[t->place], t, link);
		t->ps->counts[t->place]--;
	}
	pty_io_close(t);
	event_del(&t->timer);
	loop_defer_cancel(l, &t->notify);
	loop_defer_cancel(l, &t->free);
	outhub_free(t->hub);
	pty_request_fini(&t->request);
	free(t->cwd);
	free(t);
}

static void pty_on_free(void *arg)
{
	pty_free(arg);
}

/* In no place yet. */
static struct pty *pty_new(struct ptys *ps)
{
	struct pty *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->ps = ps;
	t->place = PTY_PLACES;
	t->created_ms = clock_real_ms();
	id_new_uuid(t->id);
	TAILQ_INIT(&t->viewers);
	TAILQ_INIT(&t->due);
	loop_deferred_init(&t->free, pty_on_free, t);
	loop_deferred_init(&t->notify, pty_on_notify, t);
	evtimer_assign(&t->timer, loop_base(ps->cfg.loop), pty_on_timer, t);
	pty_io_init(t);
	t->hub = outhub_new(ps->cfg.loop, NULL, -1, pty_on_pace, t);
	if (t->hub == NULL) {
		pty_free(t);
		return NULL;
	}
	/* A quarter more, because pages are dropped whole and cost more than their bytes. */
	outhub_keep(t->hub,
		limit_size(LIMIT_PTY_REPLAY_BYTES) + limit_size(LIMIT_PTY_REPLAY_BYTES) / 4);
	return t;
}

/* ---- age ---- */

/* 0: for ever. */
static int64_t pty_max_age(enum pty_place place)
{
	return place == PTY_UNATTENDED ? limit(LIMIT_PTY_IDLE_MS)
	       : place == PTY_ENDED    ? limit(LIMIT_PTY_FINISHED_MS)
				       : 0;
}

static void ptys_arm(struct ptys *ps, int64_t at_ms)
{
	int64_t left = at_ms - clock_mono_ms();

	if (evtimer_pending(&ps->age, NULL) && ps->age_at_ms <= at_ms)
		return;
	ps->age_at_ms = at_ms;
	loop_arm(&ps->age, left > 0 ? left : 0);
}

static void pty_too_old(struct pty *t)
{
	log_info("pty", "too old id=%s running=%d", t->id, t->state != PTY_IDLE);
	if (t->place == PTY_UNATTENDED)
		pty_delete(t);
	else
		pty_forget(t);
}

static void ptys_on_age(evutil_socket_t fd, short what, void *arg)
{
	static const enum pty_place aging[] = {PTY_UNATTENDED, PTY_ENDED};
	struct ptys *ps = arg;
	struct pty *t;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < sizeof(aging) / sizeof(aging[0]); i++) {
		int64_t max = pty_max_age(aging[i]);

		while (max > 0 && (t = TAILQ_FIRST(&ps->lists[aging[i]])) != NULL) {
			if (clock_mono_ms() < t->since_ms + max) {
				ptys_arm(ps, t->since_ms + max);
				break;
			}
			pty_too_old(t);
		}
	}
}

/* ---- places ---- */

static void pty_move(struct pty *t, enum pty_place place)
{
	struct ptys *ps = t->ps;

	if (t->place != PTY_PLACES) {
		TAILQ_REMOVE(&ps->lists[t->place], t, link);
		ps->counts[t->place]--;
	}
	t->place = place;
	t->since_ms = clock_mono_ms();
	TAILQ_INSERT_TAIL(&ps->lists[place], t, link);
	ps->counts[place]++;
	if (pty_max_age(place) > 0)
		ptys_arm(ps, t->since_ms + pty_max_age(place));
}

void pty_settle(struct pty *t)
{
	enum pty_place place = t->viewer_count > 0    ? PTY_ATTENDED
			       : t->state != PTY_IDLE ? PTY_UNATTENDED
						      : PTY_ENDED;

	if (t->place != PTY_GONE) {
		if (t->place != place)
			pty_move(t, place);
		return;
	}
	/* Not now: whoever calls may still look at it. */
	if (t->state == PTY_IDLE && t->kill == NULL && t->viewer_count == 0)
		loop_defer(t->ps->cfg.loop, &t->free);
}

void pty_forget(struct pty *t)
{
	struct ptys *ps = t->ps;

	assert(t->place != PTY_GONE);
	SLIST_REMOVE(pty_bucket(ps, t->id), t, pty, hash_link);
	TAILQ_REMOVE(&ps->all, t, all_link);
	pty_move(t, PTY_GONE);
	if (t->state == PTY_IDLE)
		pty_tell(t, PTY_DUE_REMOVED);
	pty_settle(t);
}

/* ---- registering ---- */

/* One that was never started may be about to be: its maker has just been told its id. */
static struct pty *ptys_victim(struct ptys *ps)
{
	struct pty *t;

	TAILQ_FOREACH(t, &ps->lists[PTY_ENDED], link) {
		if (t->ended)
			return t;
	}
	return NULL;
}

/* Those that are gone count on their own: they hold memory, and maybe a shell that does not die. */
static int ptys_make_room(struct ptys *ps, struct err *e)
{
	size_t max = limit_size(LIMIT_PTY_COUNT);
	struct pty *t;

	if (ps->counts[PTY_GONE] >= max)
		return err_set(
			e, &ERR_TOO_MANY, "%zu terminals are being removed", ps->counts[PTY_GONE]);
	if (ptys_count(ps) < max)
		return 0;
	t = ptys_victim(ps);
	if (t == NULL)
		return err_set(e, &ERR_TOO_MANY, "there are %zu terminals", ptys_count(ps));
	log_info("pty", "makes room id=%s", t->id);
	pty_forget(t);
	return 0;
}

/* Would it start? Also takes the directory, as clients are shown it. */
static int pty_check(struct ptys *ps, const struct pty_spec *spec, char **cwd, struct err *e)
{
	struct launch l;
	int rc = launch_prepare(&l, &ps->cfg.launch, &spec->launch, e);

	*cwd = NULL;
	if (rc == 0) {
		*cwd = l.cwd;
		l.cwd = NULL;
	}
	launch_fini(&l);
	return rc;
}

static int pty_fill(struct pty *t, const struct pty_spec *spec, struct err *e)
{
	if (pty_check(t->ps, spec, &t->cwd, e) < 0 || pty_request_init(&t->request, spec, e) < 0)
		return -1;
	t->cols = spec->cols != 0 ? spec->cols : PTY_COLS;
	t->rows = spec->rows != 0 ? spec->rows : PTY_ROWS;
	return ptys_make_room(t->ps, e);
}

struct pty *pty_create(struct ptys *ps, const struct pty_spec *spec, struct err *e)
{
	struct pty *t;

	assert(loop_on_thread(ps->cfg.loop));
	if (ps->stopping) {
		err_set(e, &ERR_UNAVAILABLE, "shutting down");
		return NULL;
	}
	t = pty_new(ps);
	if (t == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	if (pty_fill(t, spec, e) < 0) {
		pty_free(t);
		return NULL;
	}
	SLIST_INSERT_HEAD(pty_bucket(ps, t->id), t, hash_link);
	TAILQ_INSERT_TAIL(&ps->all, t, all_link);
	pty_settle(t);
	log_info("pty", "create id=%s", t->id);
	return t;
}

/* ---- the table ---- */

struct ptys *ptys_new(const struct ptys_config *cfg, struct err *e)
{
	struct ptys *ps = calloc(1, sizeof(*ps));
	struct event_base *base = loop_base(cfg->loop);

	if (ps == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	ps->cfg = *cfg;
	TAILQ_INIT(&ps->all);
	for (size_t i = 0; i < PTY_PLACES; i++)
		TAILQ_INIT(&ps->lists[i]);
	evtimer_assign(&ps->age, base, ptys_on_age, ps);
	evtimer_assign(&ps->grace, base, ptys_on_grace, ps);
	loop_deferred_init(&ps->done, ptys_on_done, ps);
	return ps;
}

void ptys_free(struct ptys *ps)
{
	struct pty *t;

	if (ps == NULL)
		return;
	assert(ps->running == 0);
	while ((t = TAILQ_FIRST(&ps->all)) != NULL)
		pty_forget(t);
	/* Now, not at the end of the turn: the loop may not have another. */
	while ((t = TAILQ_FIRST(&ps->lists[PTY_GONE])) != NULL) {
		pty_abandon_kill(t);
		pty_free(t);
	}
	event_del(&ps->age);
	event_del(&ps->grace);
	loop_defer_cancel(ps->cfg.loop, &ps->done);
	free(ps);
}
