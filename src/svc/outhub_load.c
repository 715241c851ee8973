/*
 * outhub_load: reading back what only the spill file holds.
 *
 * A reader that is so far behind gets its page through a read job into one of a few loaded copies,
 * which all readers of that page share. A copy goes when its last reader moves on. Readers that
 * find no place stand in a queue; for the first of them a copy goes as well that nobody waits for
 * and nobody has read from for some turns, so that a slow client keeps no other from its page, and
 * readers that take turns with their pages do not push out each other's.
 */
#include <errno.h>
#include <stdlib.h>

#include "boxd/cleanup.h"
#include "outhub_internal.h"

enum {
	OUTHUB_LOADS = 2,     /* loaded copies of one hub */
	OUTHUB_LOAD_TURNS = 3 /* without a read after which a copy may go */
};

struct outhub_load;

/* `hub` and `load` are for done() only; NULL when the hub is gone. */
struct outhub_load_job {
	struct work work;
	struct outhub *hub;
	struct outhub_load *load;
	struct outhub_file *file;
	int error;
	uint64_t at;
	struct outhub_page *page; /* filled */
};

/* Free, or being read (job), or holding a copy (page). */
struct outhub_load {
	uint64_t start; /* of the segment */
	uint64_t id;    /* counts loads, so that readers know whether it is still theirs */
	struct outhub_page *page;
	struct outhub_load_job *job;
	struct outhub_readers waiters; /* to be called when the job has ended */
	unsigned users;                /* readers that read from it or wait for it */
	unsigned idle;                 /* turns in which somebody wanted its place in vain */
};

struct outhub_loads {
	struct outhub_load load[OUTHUB_LOADS];
	uint64_t last_id;
	struct outhub_readers queue;      /* readers for whom no load is free */
	const struct outhub_reader *next; /* it has waited in the queue, a load is its now */
};

static void outhub_load_run(struct work *w)
{
	struct outhub_load_job *job = (struct outhub_load_job *)w;

	if (outhub_file_read(job->file, job->page->data, job->page->cap, job->at) < 0)
		job->error = errno;
	else
		job->error = outhub_page_check(job->page) ? 0 : EIO;
}

static struct outhub_loads *outhub_loads(struct outhub *h)
{
	if (h->loads != NULL)
		return h->loads;
	h->loads = calloc(1, sizeof(*h->loads));
	if (h->loads == NULL)
		return NULL;
	TAILQ_INIT(&h->loads->queue);
	for (int i = 0; i < OUTHUB_LOADS; i++)
		TAILQ_INIT(&h->loads->load[i].waiters);
	return h->loads;
}

static bool outhub_load_holds(const struct outhub_load *ld, uint64_t start)
{
	return ld->start == start && (ld->page != NULL || ld->job != NULL);
}

/* No job fills it and nobody waits for it to be filled. */
static bool outhub_load_quiet(const struct outhub_load *ld)
{
	return ld->job == NULL && TAILQ_EMPTY(&ld->waiters);
}

static void outhub_load_clear(struct outhub_load *ld)
{
	outhub_page_unref(ld->page);
	ld->page = NULL;
	ld->id = 0;
	ld->users = 0;
	ld->idle = 0;
}

/* The one to use for another page: an empty one, else the longest idle one, or NULL. */
static struct outhub_load *outhub_load_pick(struct outhub_loads *lds)
{
	struct outhub_load *best = NULL;

	for (int i = 0; i < OUTHUB_LOADS; i++) {
		struct outhub_load *ld = &lds->load[i];

		if (!outhub_load_quiet(ld))
			continue;
		if (ld->users == 0)
			return ld;
		if (ld->idle >= OUTHUB_LOAD_TURNS && (best == NULL || ld->idle > best->idle))
			best = ld;
	}
	return best;
}

static void outhub_load_job_free(struct outhub_load_job *job)
{
	outhub_page_unref(job->page);
	outhub_file_unref(job->file);
	free(job);
}

static void outhub_load_done(struct work *w)
{
	struct outhub_load_job *job = (struct outhub_load_job *)w;
	struct outhub *h = job->hub;
	struct outhub_load *ld = job->load;
	size_t at;

	if (h == NULL) {
		outhub_load_job_free(job);
		return;
	}
	ld->job = NULL;
	at = outhub_store_index(h, ld->start);
	/* When the segment was dropped, its slot, and so what was read, may be another's. */
	if (at == SIZE_MAX || ld->users == 0)
		outhub_load_clear(ld);
	else if (job->error == 0)
		ld->page = STEAL_PTR(job->page);
	if (at != SIZE_MAX && job->error != 0)
		outhub_store_lose(h, at);
	outhub_load_job_free(job);
	loop_defer(h->loop, &h->turn);
}

/* Begins to read seg into ld. */
static int outhub_load_start(
	struct outhub *h, struct outhub_load *ld, const struct outhub_segment *seg)
{
	struct outhub_load_job *job = calloc(1, sizeof(*job));
	struct err e = {0};

	if (job == NULL)
		return -1;
	job->work.run = outhub_load_run;
	job->work.done = outhub_load_done;
	job->hub = h;
	job->load = ld;
	job->file = outhub_spill_file(h);
	job->file->refs++;
	job->error = ECANCELED;
	job->at = outhub_file_place(job->file, seg->slot);
	job->page = outhub_page_new(seg->size);
	if (job->page == NULL) {
		outhub_load_job_free(job);
		return -1;
	}
	job->page->len = seg->len;
	job->page->records = seg->records;
	if (work_submit(h->pool, &job->work, &e) < 0) {
		outhub_load_job_free(job);
		return -1;
	}
	outhub_load_clear(ld);
	ld->start = seg->start;
	ld->id = ++h->loads->last_id;
	ld->job = job;
	return 0;
}

/* rd reads from this copy now, or will when it is there. */
static void outhub_load_join(struct outhub *h, struct outhub_load *ld, struct outhub_reader *rd)
{
	if (rd->load_id == ld->id)
		return;
	outhub_load_leave(h, rd);
	rd->load_id = ld->id;
	ld->users++;
}

int outhub_load_fetch(struct outhub *h, struct outhub_reader *rd, const struct outhub_segment *seg,
	const struct outhub_page **page)
{
	struct outhub_loads *lds = outhub_loads(h);
	struct outhub_load *ld = NULL;

	if (lds == NULL)
		return -1;
	for (int i = 0; i < OUTHUB_LOADS && ld == NULL; i++) {
		if (outhub_load_holds(&lds->load[i], seg->start))
			ld = &lds->load[i];
	}
	if (ld == NULL) {
		outhub_load_leave(h, rd);
		/* Two that read on and on must not keep the others from a place. */
		if (TAILQ_EMPTY(&lds->queue) || lds->next == rd)
			ld = outhub_load_pick(lds);
		if (ld == NULL) {
			outhub_reader_move(rd, &lds->queue);
			loop_defer(h->loop, &h->turn);
			return 0;
		}
		if (outhub_load_start(h, ld, seg) < 0)
			return -1;
	}
	outhub_load_join(h, ld, rd);
	if (ld->page != NULL) {
		ld->idle = 0;
		*page = ld->page;
		return 1;
	}
	outhub_reader_move(rd, &ld->waiters);
	return 0;
}

void outhub_load_leave(struct outhub *h, struct outhub_reader *rd)
{
	if (rd->load_id == 0)
		return;
	for (int i = 0; i < OUTHUB_LOADS; i++) {
		struct outhub_load *ld = &h->loads->load[i];

		if (ld->id != rd->load_id)
			continue;
		assert(ld->users > 0);
		if (--ld->users == 0 && outhub_load_quiet(ld))
			outhub_load_clear(ld);
	}
	rd->load_id = 0;
}

void outhub_load_forget(struct outhub *h, uint64_t start)
{
	if (h->loads == NULL)
		return;
	for (int i = 0; i < OUTHUB_LOADS; i++) {
		struct outhub_load *ld = &h->loads->load[i];

		/* A job in flight finds out when it is done. */
		if (outhub_load_holds(ld, start) && ld->job == NULL)
			outhub_load_clear(ld);
	}
}

struct outhub_reader *outhub_load_due(struct outhub *h)
{
	struct outhub_loads *lds = h->loads;

	if (lds == NULL)
		return NULL;
	lds->next = NULL;
	for (int i = 0; i < OUTHUB_LOADS; i++) {
		if (lds->load[i].job == NULL && !TAILQ_EMPTY(&lds->load[i].waiters))
			return TAILQ_FIRST(&lds->load[i].waiters);
	}
	if (TAILQ_EMPTY(&lds->queue) || outhub_load_pick(lds) == NULL)
		return NULL;
	lds->next = TAILQ_FIRST(&lds->queue);
	return TAILQ_FIRST(&lds->queue);
}

void outhub_load_on_turn(struct outhub *h)
{
	struct outhub_loads *lds = h->loads;

	if (lds == NULL || TAILQ_EMPTY(&lds->queue))
		return;
	for (int i = 0; i < OUTHUB_LOADS; i++) {
		struct outhub_load *ld = &lds->load[i];

		if (!outhub_load_quiet(ld) || ld->idle >= OUTHUB_LOAD_TURNS)
			continue;
		ld->idle++;
		loop_defer(h->loop, &h->turn);
	}
}

size_t outhub_load_memory(const struct outhub *h)
{
	size_t n = 0;

	if (h->loads == NULL)
		return 0;
	for (int i = 0; i < OUTHUB_LOADS; i++) {
		const struct outhub_load *ld = &h->loads->load[i];

		if (ld->page != NULL)
			n += outhub_page_memory(ld->page);
		if (ld->job != NULL)
			n += sizeof(*ld->job) + outhub_page_memory(ld->job->page);
	}
	return n + sizeof(*h->loads);
}

void outhub_load_take_readers(struct outhub *h, struct outhub_readers *list)
{
	struct outhub_loads *lds = h->loads;
	struct outhub_reader *rd;

	if (lds == NULL)
		return;
	while ((rd = TAILQ_FIRST(&lds->queue)) != NULL)
		outhub_reader_move(rd, list);
	for (int i = 0; i < OUTHUB_LOADS; i++) {
		while ((rd = TAILQ_FIRST(&lds->load[i].waiters)) != NULL)
			outhub_reader_move(rd, list);
	}
}

void outhub_load_abandon(struct outhub *h)
{
	for (int i = 0; h->loads != NULL && i < OUTHUB_LOADS; i++) {
		struct outhub_load_job *job = STEAL_PTR(h->loads->load[i].job);

		if (job == NULL)
			continue;
		job->hub = NULL;
		job->load = NULL;
		work_cancel(&job->work);
	}
}

void outhub_load_free(struct outhub *h)
{
	if (h->loads == NULL)
		return;
	for (int i = 0; i < OUTHUB_LOADS; i++) {
		assert(h->loads->load[i].job == NULL);
		outhub_load_clear(&h->loads->load[i]);
	}
	free(h->loads);
	h->loads = NULL;
}
