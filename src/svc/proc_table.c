/*
 * proc_table: who is remembered, and for how long.
 *
 * A hash of ids over four lists. What has ended is kept for a while, so that its status and log can
 * be asked for, under four bounds: count, age, memory and disk. Age needs one timer, for the oldest
 * record; the others are checked when something finished. A record whose pipes are held by
 * descendants is still being written: it does not age, and it is the last to go, because closing
 * its pipes breaks whoever writes to them. The newest record stays in any case: a client must be
 * able to ask about what it just ran.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "proc_internal.h"

#define PROC_BUCKETS_MIN 64

/* Logs shrink and move to disk on their own: their sizes are summed anew after this many passes. */
#define PROC_RECOUNT_PASSES 1024

/* ---- hash ---- */

static struct proc_bucket *proc_bucket(const struct procs *ps, const char *id)
{
	uint64_t h;

	/* Random hexadecimal digits; the multiplication spreads what is constant in their bits. */
	memcpy(&h, id, sizeof(h));
	h *= 0x9e3779b97f4a7c15u;
	return &ps->buckets[(h >> 32) & (ps->bucket_count - 1)];
}

static size_t procs_known(const struct procs *ps)
{
	return ps->counts[PROC_ACTIVE] + ps->counts[PROC_LINGERING] + ps->counts[PROC_FINISHED];
}

/* Twice the buckets. Without memory the chains grow instead. */
static void procs_grow(struct procs *ps)
{
	struct proc_bucket *old = ps->buckets, *grown;
	size_t count = ps->bucket_count;

	grown = calloc(count * 2, sizeof(*grown));
	if (grown == NULL)
		return;
	ps->buckets = grown;
	ps->bucket_count = count * 2;
	for (size_t i = 0; i < count; i++) {
		struct proc *p;

		while ((p = SLIST_FIRST(&old[i])) != NULL) {
			SLIST_REMOVE_HEAD(&old[i], hash_link);
			SLIST_INSERT_HEAD(proc_bucket(ps, p->id), p, hash_link);
		}
	}
	free(old);
}

struct proc *proc_find(struct procs *ps, const char *id, size_t id_len)
{
	struct proc *p;

	if (id_len != ID_LEN)
		return NULL;
	SLIST_FOREACH(p, proc_bucket(ps, id), hash_link) {
		if (memcmp(p->id, id, ID_LEN) == 0)
			return p;
	}
	return NULL;
}

/* ---- one proc ---- */

static void proc_free(struct proc *p)
{
	assert(p->refs == 0);
	if (p->place == PROC_GONE)
		proc_move(p, PROC_PLACES);
	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		proc_pipe_close(&p->pipes[i]);
	event_del(&p->linger);
	event_del(&p->timeout);
	event_del(&p->grace);
	outhub_free(p->hub);
	free(p->command);
	free(p->start_error);
	free(p);
}

static void proc_on_free(void *arg)
{
	proc_free(arg);
}

struct proc *proc_new(struct procs *ps)
{
	struct proc *p = calloc(1, sizeof(*p));
	struct event_base *base = loop_base(ps->cfg.loop);

	if (p == NULL)
		return NULL;
	p->ps = ps;
	p->loop = ps->cfg.loop;
	p->place = PROC_PLACES;
	p->refs = 1;
	id_new(p->id);
	loop_deferred_init(&p->free, proc_on_free, p);
	for (unsigned int i = 0; i < OUTHUB_STREAMS; i++)
		proc_pipe_init(p, i);
	evtimer_assign(&p->linger, base, proc_on_linger, p);
	evtimer_assign(&p->timeout, base, proc_on_timeout, p);
	evtimer_assign(&p->grace, base, proc_on_grace, p);
	p->hub = outhub_new(p->loop, ps->cfg.pool, ps->cfg.state_dir, proc_on_pace, p);
	if (p->hub == NULL) {
		proc_discard(p);
		return NULL;
	}
	return p;
}

void proc_discard(struct proc *p)
{
	if (p == NULL)
		return;
	assert(p->place == PROC_PLACES && p->refs == 1);
	p->refs = 0;
	proc_free(p);
}

static bool procs_too_big(const struct procs *ps)
{
	return ps->finished_memory > limit_size(LIMIT_PROC_FINISHED_MEMORY_BYTES) ||
	       ps->finished_disk > (uint64_t)limit(LIMIT_PROC_FINISHED_DISK_BYTES);
}

/* Its share of the sums; 0 while it is in no list of ended ones. */
void proc_recount(struct proc *p)
{
	struct procs *ps = p->ps;
	bool ended = p->place == PROC_LINGERING || p->place == PROC_FINISHED;

	ps->finished_memory -= p->counted_memory;
	ps->finished_disk -= p->counted_disk;
	p->counted_memory = ended ? outhub_memory(p->hub) + p->command_len : 0;
	p->counted_disk = ended ? outhub_disk(p->hub) : 0;
	ps->finished_memory += p->counted_memory;
	ps->finished_disk += p->counted_disk;
	if (ended && procs_too_big(ps))
		procs_evict_soon(ps);
}

void proc_move(struct proc *p, enum proc_place place)
{
	struct procs *ps = p->ps;

	if (p->place != PROC_PLACES) {
		TAILQ_REMOVE(&ps->lists[p->place], p, link);
		ps->counts[p->place]--;
	}
	p->place = place;
	if (place == PROC_PLACES)
		return;
	TAILQ_INSERT_TAIL(&ps->lists[place], p, link);
	ps->counts[place]++;
	if (place == PROC_FINISHED)
		p->settled_ms = clock_mono_ms();
	proc_recount(p);
	if (place == PROC_LINGERING || place == PROC_FINISHED)
		procs_evict_soon(ps);
}

void proc_enter(struct proc *p, enum proc_place place)
{
	struct procs *ps = p->ps;

	if (procs_known(ps) >= ps->bucket_count)
		procs_grow(ps);
	SLIST_INSERT_HEAD(proc_bucket(ps, p->id), p, hash_link);
	proc_move(p, place);
}

struct proc *proc_ref(struct proc *p)
{
	assert(p->refs > 0);
	p->refs++;
	return p;
}

void proc_unref(struct proc *p)
{
	if (p == NULL)
		return;
	assert(p->refs > 0);
	if (--p->refs == 0)
		loop_defer(p->loop, &p->free);
}

/* ---- eviction ---- */

static void proc_evict(struct proc *p)
{
	assert(p->place == PROC_LINGERING || p->place == PROC_FINISHED);
	SLIST_REMOVE(proc_bucket(p->ps, p->id), p, proc, hash_link);
	proc_move(p, PROC_GONE);
	proc_unref(p);
}

static void procs_recount_all(struct procs *ps)
{
	static const enum proc_place ended[] = {PROC_LINGERING, PROC_FINISHED};
	struct proc *p;

	for (size_t i = 0; i < sizeof(ended) / sizeof(ended[0]); i++) {
		TAILQ_FOREACH(p, &ps->lists[ended[i]], link)
			proc_recount(p);
	}
}

static bool procs_too_many(const struct procs *ps)
{
	return procs_finished(ps) > limit_size(LIMIT_PROC_FINISHED);
}

/* The one to go next; NULL when only the newest is left. */
static struct proc *procs_victim(struct procs *ps)
{
	if (procs_finished(ps) < 2)
		return NULL;
	if (ps->counts[PROC_FINISHED] > 1 || ps->counts[PROC_LINGERING] == 0)
		return TAILQ_FIRST(&ps->lists[PROC_FINISHED]);
	return TAILQ_FIRST(&ps->lists[PROC_LINGERING]);
}

static void procs_on_evict(void *arg)
{
	struct procs *ps = arg;
	int64_t now = clock_mono_ms(), max_age = limit(LIMIT_PROC_FINISHED_MS);
	struct proc *p;

	while ((p = TAILQ_FIRST(&ps->lists[PROC_FINISHED])) != NULL &&
		now - p->settled_ms >= max_age)
		proc_evict(p);
	if (procs_too_big(ps) || ++ps->evict_passes % PROC_RECOUNT_PASSES == 0)
		procs_recount_all(ps);
	while ((procs_too_many(ps) || procs_too_big(ps)) && (p = procs_victim(ps)) != NULL)
		proc_evict(p);
	p = TAILQ_FIRST(&ps->lists[PROC_FINISHED]);
	if (p != NULL && !evtimer_pending(&ps->age, NULL)) {
		int64_t left = p->settled_ms + max_age - now;

		loop_arm(&ps->age, left > 0 ? left : 1);
	}
}

static void procs_on_age(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	procs_on_evict(arg);
}

void procs_evict_soon(struct procs *ps)
{
	loop_defer(ps->cfg.loop, &ps->evict);
}

/* The list may lose a member to fn only at the end of the turn, so plain iteration is safe. */
void procs_each(struct procs *ps, void (*fn)(struct proc *p, void *arg), void *arg)
{
	static const enum proc_place order[] = {PROC_ACTIVE, PROC_LINGERING, PROC_FINISHED};
	struct proc *p;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		TAILQ_FOREACH(p, &ps->lists[order[i]], link)
			fn(p, arg);
	}
}

size_t procs_running(const struct procs *ps)
{
	return ps->running;
}

size_t procs_finished(const struct procs *ps)
{
	return ps->counts[PROC_LINGERING] + ps->counts[PROC_FINISHED];
}

/* ---- the table ---- */

/*
 * A descriptor at EOF that does not become 0, 1 or 2 in the child before its turn. An empty root
 * file system has no /dev/null: a pipe without a writer reads the same.
 */
static int procs_open_null(void)
{
	int ends[2];
	CLEANUP_FD int fd = open("/dev/null", O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0) {
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -1;
		close(ends[1]);
		fd = ends[0];
	}
	return fd > 2 ? steal_fd(&fd) : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

struct procs *procs_new(const struct procs_config *cfg, struct err *e)
{
	struct procs *ps = calloc(1, sizeof(*ps));

	if (ps == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	ps->cfg = *cfg;
	ps->null_fd = -1;
	for (size_t i = 0; i < PROC_PLACES; i++)
		TAILQ_INIT(&ps->lists[i]);
	TAILQ_INIT(&ps->graces);
	LIST_INIT(&ps->kills);
	loop_deferred_init(&ps->evict, procs_on_evict, ps);
	loop_deferred_init(&ps->done, procs_on_done, ps);
	evtimer_assign(&ps->age, loop_base(cfg->loop), procs_on_age, ps);
	ps->bucket_count = PROC_BUCKETS_MIN;
	ps->buckets = calloc(ps->bucket_count, sizeof(*ps->buckets));
	if (ps->buckets == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		procs_free(ps);
		return NULL;
	}
	ps->null_fd = procs_open_null();
	if (ps->null_fd < 0) {
		err_sys(e, &ERR_RUNTIME, "cannot open /dev/null");
		procs_free(ps);
		return NULL;
	}
	proc_oom_init(&ps->oom, "");
	return ps;
}

void procs_free(struct procs *ps)
{
	struct proc *p;

	if (ps == NULL)
		return;
	assert(TAILQ_EMPTY(&ps->lists[PROC_ACTIVE]) || ps->running == 0);
	while ((p = TAILQ_FIRST(&ps->lists[PROC_ACTIVE])) != NULL)
		proc_move(p, PROC_LINGERING);
	procs_stop_graces(ps);
	procs_abandon_kills(ps);
	while ((p = TAILQ_FIRST(&ps->lists[PROC_LINGERING])) != NULL)
		proc_evict(p);
	while ((p = TAILQ_FIRST(&ps->lists[PROC_FINISHED])) != NULL)
		proc_evict(p);
	/* Now, not at the end of the turn: the pool that logs are written by goes next. */
	while ((p = TAILQ_FIRST(&ps->lists[PROC_GONE])) != NULL) {
		assert(p->refs == 0);
		loop_defer_cancel(ps->cfg.loop, &p->free);
		proc_free(p);
	}
	event_del(&ps->age);
	loop_defer_cancel(ps->cfg.loop, &ps->evict);
	loop_defer_cancel(ps->cfg.loop, &ps->done);
	if (ps->null_fd >= 0)
		close(ps->null_fd);
	free(ps->buckets);
	free(ps);
}
