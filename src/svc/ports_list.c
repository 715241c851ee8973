/*
 * ports_list: who listens.
 *
 * The listing is made in slices on the disk threads: looking through the descriptors of thousands
 * of processes takes a while, and neither the loop nor other disk work shall wait for it.
 */
#include <stdlib.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/ports.h"

struct ports_list {
	struct work work;
	struct work_pool *pool;
	struct sockets *sockets;
	const struct ports_list_callbacks *cb;
	void *arg;
	bool more; /* the listing is not complete */
	struct err err;
};

/* One slice, or several while nobody else wants the thread. */
static void ports_list_run(struct work *w)
{
	struct ports_list *pl = (struct ports_list *)w;
	const struct sockets_row *rows;
	size_t n;
	int res;

	do
		res = sockets_step(
			pl->sockets, clock_mono_ms() + limit(LIMIT_FS_SLICE_MS), &pl->err);
	while (res > 0 && !atomic_load(&w->cancelled) && !work_others_wait(pl->pool));
	pl->more = res > 0;
	if (res == 0) {
		rows = sockets_rows(pl->sockets, &n);
		pl->cb->rows(rows, n, pl->arg);
	}
}

static void ports_list_done(struct work *w)
{
	struct ports_list *pl = (struct ports_list *)w;
	const struct ports_list_callbacks *cb = pl->cb;
	struct err e = pl->err;
	void *arg = pl->arg;

	if (e.kind == NULL && atomic_load(&w->cancelled))
		err_set(&e, &ERR_UNAVAILABLE, "cancelled");
	if (e.kind == NULL && pl->more && work_submit_bulk(pl->pool, w, &e) == 0)
		return;
	sockets_free(pl->sockets);
	free(pl);
	cb->done(e.kind != NULL ? &e : NULL, arg);
}

struct ports_list *ports_list_start(
	struct work_pool *pool, const struct ports_list_callbacks *cb, void *arg, struct err *e)
{
	struct ports_list *pl = calloc(1, sizeof(*pl));

	if (pl != NULL)
		pl->sockets = sockets_new("/proc");
	if (pl == NULL || pl->sockets == NULL) {
		free(pl);
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	pl->pool = pool;
	pl->cb = cb;
	pl->arg = arg;
	pl->work.run = ports_list_run;
	pl->work.done = ports_list_done;
	atomic_init(&pl->work.cancelled, false);
	if (work_submit_bulk(pool, &pl->work, e) == 0)
		return pl;
	sockets_free(pl->sockets);
	free(pl);
	return NULL;
}

void ports_list_cancel(struct ports_list *pl)
{
	work_cancel(&pl->work);
}
