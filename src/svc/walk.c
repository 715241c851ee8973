/*
 * walk: the loop's side, and what it shares with the threads.
 *
 * The loop keeps as many slices submitted as there is work for, takes the output that is due and
 * tells the owner of it. When nobody takes the output, slices end by themselves, and walk_take()
 * submits them again once there is room. The node that output waits for may always run while
 * nothing is due: otherwise results behind it could fill all the room and it would wait for ever.
 */
#include "boxd/walk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "walk_internal.h"

/* ---- nodes ---- */

struct walk_node *walk_node_new(enum walk_kind kind, struct walk_dir *d, size_t n)
{
	struct walk_node *node = malloc(sizeof(*node) + n);

	if (node == NULL)
		return NULL;
	*node = (struct walk_node){.kind = kind, .dir = d};
	if (d != NULL)
		walk_dir_use(d);
	return node;
}

void walk_node_free(const struct walk *w, struct walk_node *n)
{
	if (n->dir != NULL)
		walk_dir_unuse(&w->spec.visitor, n->dir);
	free(n);
}

static void walk_list_free(const struct walk *w, struct walk_list *list)
{
	struct walk_node *n;

	while ((n = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, n, link);
		walk_node_free(w, n);
	}
}

struct walk_node *walk_first(const struct walk *w)
{
	struct walk_node *first = TAILQ_FIRST(&w->todo);
	struct walk_node *n = first;

	while (n != NULL && n->running)
		n = TAILQ_NEXT(n, todo);
	if (w->buffered < w->max_bytes || (n == first && w->due_bytes == 0))
		return n;
	return NULL;
}

void walk_advance(struct walk *w)
{
	struct walk_node *n;

	while ((n = TAILQ_FIRST(&w->nodes)) != TAILQ_FIRST(&w->todo)) {
		TAILQ_REMOVE(&w->nodes, n, link);
		TAILQ_INSERT_TAIL(&w->due, n, link);
		w->due_bytes += n->end;
	}
}

void walk_drop_pending(struct walk *w)
{
	struct walk_list dropped = TAILQ_HEAD_INITIALIZER(dropped);
	struct walk_node *n, *next;

	pthread_mutex_lock(&w->lock);
	for (n = TAILQ_FIRST(&w->todo); n != NULL; n = next) {
		next = TAILQ_NEXT(n, todo);
		if (n->running)
			continue;
		TAILQ_REMOVE(&w->todo, n, todo);
		TAILQ_REMOVE(&w->nodes, n, link);
		TAILQ_INSERT_TAIL(&dropped, n, link);
	}
	w->pending = 0;
	walk_advance(w);
	pthread_mutex_unlock(&w->lock);
	walk_list_free(w, &dropped);
}

void walk_fail(struct walk *w, const struct err *e)
{
	pthread_mutex_lock(&w->lock);
	if (!w->failed)
		w->error = *e;
	w->failed = true;
	pthread_mutex_unlock(&w->lock);
	atomic_store(&w->ending, true);
}

void walk_no_memory(struct walk *w)
{
	struct err e = {0};

	err_set(&e, &ERR_UNAVAILABLE, "out of memory");
	walk_fail(w, &e);
}

/* ---- slices, from the loop ---- */

/* How many more slices may find something to do: one that does not ends at once. */
static size_t walk_wanted(struct walk *w)
{
	size_t n = 0;

	pthread_mutex_lock(&w->lock);
	if (!atomic_load(&w->ending) && walk_first(w) != NULL)
		n = w->nslices - w->submitted;
	if (n > 1 && w->buffered >= w->max_bytes)
		n = 1;
	pthread_mutex_unlock(&w->lock);
	return n;
}

static int walk_submit(struct walk *w, struct err *e)
{
	size_t i = 0;

	while (w->slices[i].submitted)
		i++;
	if (work_submit_bulk(w->pool, &w->slices[i].work, e) < 0)
		return -1;
	w->slices[i].submitted = true;
	pthread_mutex_lock(&w->lock);
	w->submitted++;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

/*
 * Submits what is worth it. A slice that the pool refuses is no harm while another runs, because
 * that one's end comes here again; without any the walk fails.
 */
static void walk_pump(struct walk *w)
{
	struct err e = {0};
	size_t n = walk_wanted(w);

	while (n > 0 && walk_submit(w, &e) == 0)
		n--;
	if (n > 0 && w->submitted == 0)
		walk_fail(w, &e);
	/* Usually a slice has done it; not one that was cancelled before it began. */
	if (atomic_load(&w->ending) && w->submitted == 0)
		walk_drop_pending(w);
}

/* No slice will find anything more. The loop thread alone submits, so it does not change. */
static bool walk_is_over(const struct walk *w)
{
	return w->submitted == 0 && TAILQ_EMPTY(&w->todo);
}

/* Last statement of its callers: on_output() may free the walk. */
static void walk_tell(struct walk *w)
{
	bool tell;

	pthread_mutex_lock(&w->lock);
	tell = !w->told && (w->due_bytes > 0 || walk_is_over(w));
	pthread_mutex_unlock(&w->lock);
	if (tell) {
		w->told = true;
		w->spec.on_output(w->spec.arg);
	}
}

static void walk_release(struct walk *w)
{
	void (*on_freed)(void *arg) = w->on_freed;
	void *arg = w->freed_arg;

	walk_drop_pending(w);
	walk_list_free(w, &w->due);
	walk_list_free(w, &w->ready);
	pthread_mutex_destroy(&w->lock);
	free((char *)w->spec.path);
	free(w);
	on_freed(arg);
}

static void walk_slice_done(struct work *work)
{
	struct walk_slice *s = (struct walk_slice *)work;
	struct walk *w = s->walk;

	s->submitted = false;
	pthread_mutex_lock(&w->lock);
	w->submitted--;
	pthread_mutex_unlock(&w->lock);
	if (w->freed) {
		if (w->submitted == 0)
			walk_release(w);
		return;
	}
	/* One that found nothing is of no use before another has made something. */
	if (s->ran || w->submitted == 0)
		walk_pump(w);
	walk_tell(w);
}

/* ---- life ---- */

static void walk_nothing(void *arg)
{
	(void)arg;
}

/* Everything but the path, the first node and the first slice. */
static struct walk *walk_alloc(const struct walk_spec *spec, struct loop *l, struct work_pool *pool)
{
	size_t nslices = work_parallel(pool);
	struct walk *w = calloc(1, sizeof(*w) + nslices * sizeof(w->slices[0]));

	if (w == NULL)
		return NULL;
	w->spec = *spec;
	w->spec.path = NULL;
	w->loop = l;
	w->pool = pool;
	w->nslices = nslices;
	w->path_len = strlen(spec->path);
	w->below_root = w->path_len + (spec->path[w->path_len - 1] != '/');
	w->max_bytes = limit_size(LIMIT_FS_WALK_BYTES);
	w->chunk_bytes = w->max_bytes < WALK_CHUNK_BYTES ? w->max_bytes : WALK_CHUNK_BYTES;
	if (spec->timeout_ms > 0)
		w->deadline_us = clock_mono_us() + spec->timeout_ms * 1000;
	TAILQ_INIT(&w->ready);
	TAILQ_INIT(&w->due);
	TAILQ_INIT(&w->nodes);
	TAILQ_INIT(&w->todo);
	pthread_mutex_init(&w->lock, NULL);
	for (size_t i = 0; i < nslices; i++) {
		w->slices[i].work.run = walk_slice_run;
		w->slices[i].work.done = walk_slice_done;
		w->slices[i].walk = w;
		w->slices[i].worker = (unsigned int)i;
	}
	return w;
}

struct walk *walk_new(
	const struct walk_spec *spec, struct loop *l, struct work_pool *pool, struct err *e)
{
	struct walk *w = walk_alloc(spec, l, pool);
	struct walk_node *root = calloc(1, sizeof(*root));

	assert(loop_on_thread(l));
	assert(spec->path[0] == '/');
	if (w != NULL)
		w->spec.path = strdup(spec->path);
	if (w == NULL || root == NULL || w->spec.path == NULL) {
		free(root);
		if (w != NULL)
			walk_free(w, walk_nothing, NULL);
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	root->kind = WALK_ROOT;
	TAILQ_INSERT_TAIL(&w->nodes, root, link);
	TAILQ_INSERT_TAIL(&w->todo, root, todo);
	w->pending = 1;
	if (walk_submit(w, e) < 0) {
		walk_free(w, walk_nothing, NULL);
		return NULL;
	}
	return w;
}

void walk_free(struct walk *w, void (*on_freed)(void *arg), void *arg)
{
	if (w == NULL) {
		on_freed(arg);
		return;
	}
	assert(loop_on_thread(w->loop));
	assert(!w->freed);
	w->freed = true;
	w->on_freed = on_freed;
	w->freed_arg = arg;
	atomic_store(&w->ending, true);
	for (size_t i = 0; i < w->nslices; i++) {
		if (w->slices[i].submitted)
			work_cancel(&w->slices[i].work);
	}
	if (w->submitted == 0)
		walk_release(w);
}

/* ---- output ---- */

/* How much of this node may be moved when there is room for max bytes and `moved` were before. */
static size_t walk_piece(const struct walk_node *n, size_t max, size_t moved)
{
	const size_t *ends = walk_node_ends(n);
	size_t low = 0, high = n->nends; /* the first end beyond what there is room for */

	if (n->end - n->next <= max)
		return n->end - n->next;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (ends[mid] <= n->next + max)
			low = mid + 1;
		else
			high = mid;
	}
	if (low > 0 && ends[low - 1] > n->next)
		return ends[low - 1] - n->next;
	return moved == 0 ? max : 0;
}

/* From ready to out. */
static ssize_t walk_move(struct walk *w, struct buf *out, size_t max)
{
	struct walk_node *n;
	size_t moved = 0;

	while ((n = TAILQ_FIRST(&w->ready)) != NULL) {
		size_t piece = walk_piece(n, max - moved, moved);

		if (piece == 0)
			break;
		if (buf_add(out, walk_node_bytes(n) + n->next, piece) < 0)
			return moved > 0 ? (ssize_t)moved : -1;
		n->next += piece;
		moved += piece;
		if (n->next < n->end)
			break;
		TAILQ_REMOVE(&w->ready, n, link);
		walk_node_free(w, n);
	}
	return (ssize_t)moved;
}

ssize_t walk_take(struct walk *w, struct buf *out, size_t max)
{
	ssize_t moved;
	bool resume;

	assert(loop_on_thread(w->loop));
	assert(!w->freed && max > 0);
	/* Bytes are copied without the lock, from a list that is the loop's alone. */
	pthread_mutex_lock(&w->lock);
	TAILQ_CONCAT(&w->ready, &w->due, link);
	pthread_mutex_unlock(&w->lock);
	moved = walk_move(w, out, max);
	pthread_mutex_lock(&w->lock);
	if (moved > 0) {
		w->buffered -= (size_t)moved;
		w->due_bytes -= (size_t)moved;
	}
	if (w->due_bytes == 0)
		w->told = false;
	/* Not for every little room, or a slice would be submitted for each. */
	resume = moved > 0 && (w->due_bytes == 0 || w->buffered <= w->max_bytes / 2);
	pthread_mutex_unlock(&w->lock);
	if (resume)
		walk_pump(w);
	return moved;
}

enum walk_state walk_state(const struct walk *w)
{
	struct walk *mine = (struct walk *)w;
	enum walk_state state = WALK_ENDED;

	pthread_mutex_lock(&mine->lock);
	if (!walk_is_over(w))
		state = WALK_RUNNING;
	else if (w->failed)
		state = WALK_FAILED;
	else if (w->due_bytes > 0)
		state = WALK_RUNNING;
	pthread_mutex_unlock(&mine->lock);
	return state;
}

const struct err *walk_error(const struct walk *w)
{
	return &w->error;
}

struct walk_totals walk_totals(const struct walk *w)
{
	struct walk *mine = (struct walk *)w;
	struct walk_totals totals;

	pthread_mutex_lock(&mine->lock);
	totals = w->totals;
	pthread_mutex_unlock(&mine->lock);
	return totals;
}
