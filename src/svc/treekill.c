/*
 * treekill: ptree_kill() as a disk job. The worker has plain values only; whoever waits for it may
 * go away before it is done.
 */
#include "boxd/treekill.h"

#include <stdlib.h>

#include "boxd/ptree.h"

struct treekill {
	struct work work; /* first: a job is one */
	pid_t session;
	bool orphaned;
	size_t killed;
	void (*done)(size_t killed, void *arg); /* NULL: abandoned */
	void *arg;
};

static void treekill_run(struct work *w)
{
	struct treekill *k = (struct treekill *)w;

	if (!k->orphaned || !ptree_is_reused(k->session))
		k->killed = ptree_kill(k->session);
}

static void treekill_done(struct work *w)
{
	struct treekill *k = (struct treekill *)w;
	void (*done)(size_t, void *) = k->done;
	void *arg = k->arg;
	size_t killed = k->killed;

	free(k);
	if (done != NULL)
		done(killed, arg);
}

struct treekill *treekill_start(struct work_pool *pool, pid_t session, bool orphaned,
	void (*done)(size_t killed, void *arg), void *arg)
{
	struct treekill *k = pool != NULL ? calloc(1, sizeof(*k)) : NULL;
	struct err e = {0};

	if (k == NULL)
		return NULL;
	k->work.run = treekill_run;
	k->work.done = treekill_done;
	k->session = session;
	k->orphaned = orphaned;
	k->done = done;
	k->arg = arg;
	if (work_submit(pool, &k->work, &e) < 0) {
		free(k);
		return NULL;
	}
	return k;
}

void treekill_abandon(struct treekill *k)
{
	k->done = NULL;
}
