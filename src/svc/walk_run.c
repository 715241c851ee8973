/*
 * walk: one slice on a disk thread.
 *
 * A slice takes one node after the other until its time is over. What becomes of a node is
 * collected in the slice's own memory and put into the list, before the node, when it is much or
 * the node is done; so the walk's lock is taken a few times per directory. A node that is not done
 * when the slice ends stays in the list with what is left of it.
 */
#include "walk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "boxd/clock.h"
#include "boxd/limits.h"

/* Visits between two looks at the clock, which costs as much as a small visit... */
#define WALK_TICKS 8
/* ...but every visit when those before took so long. */
#define WALK_SLOW_US 500
/* How often a slice may end early because another could help. */
#define WALK_SHARE_US 1000

/* ---- time ---- */

static bool walk_is_told_to_end(const struct walk_run *r)
{
	return atomic_load_explicit(&r->w->ending, memory_order_relaxed) ||
	       atomic_load_explicit(&r->slice->work.cancelled, memory_order_relaxed);
}

static void walk_look_at_clock(struct walk_run *r)
{
	struct walk *w = r->w;

	r->now_us = clock_mono_us();
	r->over = r->now_us >= r->end_us;
	if (w->deadline_us == 0 || r->now_us < w->deadline_us)
		return;
	pthread_mutex_lock(&w->lock);
	w->totals.timed_out = true;
	pthread_mutex_unlock(&w->lock);
	atomic_store(&w->ending, true);
}

/* After a visit: is there time for the next? */
static bool walk_may_visit(struct walk_run *r)
{
	int64_t before_us = r->now_us;

	if (--r->ticks == 0) {
		walk_look_at_clock(r);
		r->ticks = r->now_us - before_us > WALK_SLOW_US ? 1 : WALK_TICKS;
	}
	return !r->over && !walk_is_told_to_end(r);
}

/* ---- what becomes of a node ---- */

/* What was visited so far becomes a node, so that another can follow it. */
static int walk_close_output(struct walk_run *r)
{
	size_t len = buf_len(&r->out), ends_len = r->nends * sizeof(*r->ends);
	struct walk_node *n;

	if (len == 0)
		return 0;
	n = walk_node_new(WALK_OUTPUT, NULL, ends_len + len);
	if (n == NULL)
		return -1;
	n->end = len;
	n->nends = r->nends;
	memcpy(n->data, r->ends, ends_len);
	memcpy(n->data + ends_len, buf_data(&r->out), len);
	TAILQ_INSERT_TAIL(&r->made, n, link);
	r->made_bytes += len;
	r->nends = 0;
	buf_clear(&r->out);
	return 0;
}

/* Puts what was made before the node that it was made of. The lock is held. */
static void walk_show(struct walk_run *r, struct walk_node *n)
{
	struct walk *w = r->w;
	struct walk_node *m;

	while ((m = TAILQ_FIRST(&r->made)) != NULL) {
		TAILQ_REMOVE(&r->made, m, link);
		TAILQ_INSERT_BEFORE(n, m, link);
		if (m->kind != WALK_OUTPUT) {
			TAILQ_INSERT_BEFORE(n, m, todo);
			w->pending++;
		}
	}
	w->buffered += r->made_bytes;
	r->made_bytes = 0;
	w->totals.entries += r->totals.entries;
	w->totals.directories += r->totals.directories;
	w->totals.unreadable += r->totals.unreadable;
	r->totals = (struct walk_totals){0};
}

/* The same in the middle of a node. False when it must stop here until there is room. */
static bool walk_publish(struct walk_run *r, struct walk_node *n)
{
	struct walk *w = r->w;
	bool room;

	if (walk_close_output(r) < 0) {
		walk_no_memory(r->w);
		return false;
	}
	pthread_mutex_lock(&w->lock);
	walk_show(r, n);
	walk_advance(w);
	room = w->buffered < w->max_bytes || (TAILQ_FIRST(&w->todo) == n && w->due_bytes == 0);
	pthread_mutex_unlock(&w->lock);
	return room;
}

void walk_split(struct walk_run *r, struct walk_node *n, size_t at)
{
	struct walk *w = r->w;
	struct walk_node *rest = walk_node_new(WALK_ENTRIES, n->dir, 0);

	if (rest == NULL)
		return; /* then this thread does them */
	if (n->dir->names.list == NULL)
		walk_names_move(&r->names, &n->dir->names);
	rest->next = at;
	rest->end = n->end;
	n->end = at;
	pthread_mutex_lock(&w->lock);
	TAILQ_INSERT_AFTER(&w->nodes, n, rest, link);
	TAILQ_INSERT_AFTER(&w->todo, n, rest, todo);
	w->pending++;
	pthread_mutex_unlock(&w->lock);
}

/* ---- visits ---- */

bool walk_stat(struct walk_entry *entry, struct fs_stat *st)
{
	struct stat raw;

	if (entry->st == NULL) {
		if (fstatat(entry->dir, entry->path + entry->name, &raw, AT_SYMLINK_NOFOLLOW) < 0)
			return false;
		fs_stat_from(&raw, st);
		entry->st = st;
	} else if (entry->st != st) {
		*st = *entry->st;
	}
	return true;
}

static int walk_add_end(struct walk_run *r, size_t end)
{
	if (r->nends == r->ends_cap) {
		size_t cap = r->ends_cap * 2 + 64;
		size_t *ends = realloc(r->ends, cap * sizeof(*ends));

		if (ends == NULL)
			return -1;
		r->ends = ends;
		r->ends_cap = cap;
	}
	r->ends[r->nends++] = end;
	return 0;
}

int walk_visit(struct walk_run *r, struct walk_entry *entry)
{
	const struct walk_visitor *v = &r->w->spec.visitor;
	size_t before = buf_len(&r->out);

	r->totals.entries++;
	if (v->visit(v->arg, r->w, entry, &r->out) == 0 &&
		(buf_len(&r->out) == before || walk_add_end(r, buf_len(&r->out)) == 0))
		return 0;
	r->out.tail = r->out.head + before; /* half a visit is nothing to send */
	return -1;
}

/* A directory was visited: it is to be opened, if it is to be gone into. */
static int walk_add_below(struct walk_run *r, const struct walk_entry *entry, struct walk_dir *in)
{
	const struct walk_spec *spec = &r->w->spec;
	size_t name_size = entry->path_len - entry->name + 1;
	struct walk_node *n;

	if (entry->depth >= spec->max_depth)
		return 0;
	if (spec->visitor.descend != NULL && !spec->visitor.descend(spec->visitor.arg, entry))
		return 0;
	if (entry->depth >= limit_size(LIMIT_FS_WALK_DEPTH)) {
		r->totals.unreadable++;
		return 0;
	}
	if (walk_close_output(r) < 0)
		return -1;
	n = walk_node_new(WALK_DIRECTORY, in, name_size);
	if (n == NULL)
		return -1;
	memcpy(n->data, entry->path + entry->name, name_size);
	TAILQ_INSERT_TAIL(&r->made, n, link);
	return 0;
}

/* For filesystems that do not say it with the name. False: it has vanished. */
static bool walk_find_type(struct walk_entry *entry, struct fs_stat *st)
{
	if (walk_stat(entry, st))
		entry->type = st->type;
	else if (errno == ENOENT)
		return false;
	else
		entry->type = FS_OTHER;
	return true;
}

/* One entry of a directory; r->path begins with `prefix` bytes of the directory's. */
static int walk_visit_name(
	struct walk_run *r, struct walk_dir *in, size_t prefix, const char *record)
{
	const char *name = record + 1;
	size_t len = strlen(name);
	struct walk_entry entry = {.path = r->path,
		.path_len = prefix + len,
		.name = prefix,
		.below_root = r->w->below_root,
		.depth = in->depth + 1,
		.type = (enum fs_type)record[0],
		.dir = in->fd,
		.dir_context = in->context,
		.worker = r->slice->worker};
	struct fs_stat st;

	if (entry.path_len >= PATH_MAX) {
		r->totals.unreadable++;
		return 0;
	}
	memcpy(r->path + prefix, name, len + 1);
	if (record[0] == WALK_TYPE_UNKNOWN && !walk_find_type(&entry, &st))
		return 0;
	if (walk_visit(r, &entry) < 0)
		return -1;
	return entry.type == FS_DIRECTORY ? walk_add_below(r, &entry, in) : 0;
}

static void walk_visit_entries(struct walk_run *r, struct walk_node *n)
{
	struct walk_dir *d = n->dir;
	const struct walk_names *names = d->names.list != NULL ? &d->names : &r->names;
	size_t prefix = d->path_len;

	memcpy(r->path, d->path, prefix);
	if (r->path[prefix - 1] != '/')
		r->path[prefix++] = '/';
	while (n->next < n->end) {
		const char *record = names->text + names->list[n->next++].at;

		if (walk_visit_name(r, d, prefix, record) < 0) {
			walk_no_memory(r->w);
			return;
		}
		if (r->made_bytes + buf_len(&r->out) >= r->w->chunk_bytes && !walk_publish(r, n))
			return;
		if (!walk_may_visit(r))
			return;
	}
}

/* ---- a slice ---- */

/*
 * Should the slice end early, before it takes this node? The loop alone can submit slices, and it
 * looks at the walk when one ends; so when there is work for more than those that run, the quickest
 * is to end. The lock is held.
 */
static bool walk_shares(struct walk_run *r, const struct walk_node *first)
{
	struct walk *w = r->w;
	bool more = w->pending > 1 ||
		    (first->kind == WALK_ENTRIES && first->end - first->next > WALK_BATCH);

	if (!more || w->submitted == w->nslices || r->now_us < w->share_us ||
		w->buffered >= w->max_bytes)
		return false;
	w->share_us = r->now_us + WALK_SHARE_US;
	return true;
}

/* The next node for this slice, or NULL: the slice ends. */
static struct walk_node *walk_begin(struct walk_run *r)
{
	struct walk *w = r->w;
	struct walk_node *n = NULL;
	bool began = r->slice->ran;

	walk_look_at_clock(r);
	pthread_mutex_lock(&w->lock);
	if (!(r->over && began) && !walk_is_told_to_end(r))
		n = walk_first(w);
	if (n != NULL && began && walk_shares(r, n))
		n = NULL;
	if (n != NULL) {
		n->running = true;
		w->pending--;
		r->slice->ran = true;
	}
	pthread_mutex_unlock(&w->lock);
	return n;
}

/* Few visits can take long. Half of what such a node has left goes to a thread without work. */
static void walk_share_entries(struct walk_run *r, struct walk_node *n)
{
	struct walk *w = r->w;
	bool share;

	pthread_mutex_lock(&w->lock);
	share = w->pending + 1 < w->nslices;
	pthread_mutex_unlock(&w->lock);
	if (share && n->end - n->next > 1)
		walk_split(r, n, n->next + (n->end - n->next) / 2);
}

/* Puts a node back with what is left of it, or takes it out of the list. */
static void walk_finish(struct walk_run *r, struct walk_node *n)
{
	struct walk *w = r->w;
	bool more;

	if (walk_close_output(r) < 0)
		walk_no_memory(r->w);
	more = n->kind == WALK_ENTRIES && n->next < n->end;
	if (more && n->dir->names.list == NULL)
		walk_names_move(&r->names, &n->dir->names);
	if (more && r->over)
		walk_share_entries(r, n);
	pthread_mutex_lock(&w->lock);
	walk_show(r, n);
	if (more) {
		n->running = false;
		w->pending++;
	} else {
		TAILQ_REMOVE(&w->todo, n, todo);
		TAILQ_REMOVE(&w->nodes, n, link);
	}
	walk_advance(w);
	pthread_mutex_unlock(&w->lock);
	if (!more)
		walk_node_free(w, n);
}

static void walk_run_nodes(struct walk_run *r)
{
	struct walk_node *n;

	while ((n = walk_begin(r)) != NULL) {
		if (n->kind == WALK_ROOT)
			walk_open_root(r, n);
		else if (n->kind == WALK_DIRECTORY)
			walk_open(r, n);
		if (n->kind == WALK_ENTRIES && n->end - n->next > WALK_BATCH)
			walk_split(r, n, n->next + WALK_BATCH);
		if (n->kind == WALK_ENTRIES)
			walk_visit_entries(r, n);
		walk_finish(r, n);
	}
}

static void walk_run_as_user(struct walk_run *r)
{
	const struct walk_spec *spec = &r->w->spec;
	struct err e = {0};

	if (!spec->set_user) {
		walk_run_nodes(r);
	} else if (fs_enter(spec->fs, spec->uid, spec->gid, &e) < 0) {
		walk_fail(r->w, &e);
	} else {
		walk_run_nodes(r);
		fs_leave();
	}
}

void walk_slice_run(struct work *work)
{
	struct walk_slice *s = (struct walk_slice *)work;
	struct walk *w = s->walk;
	struct walk_run *r = malloc(sizeof(*r));

	if (r == NULL) {
		walk_no_memory(w);
	} else {
		memset(r, 0, offsetof(struct walk_run, path));
		r->w = w;
		r->slice = s;
		r->ticks = 1;
		s->ran = false;
		r->end_us = clock_mono_us() + limit(LIMIT_FS_SLICE_MS) * 1000;
		TAILQ_INIT(&r->made);
		walk_run_as_user(r);
		walk_names_fini(&r->names);
		buf_fini(&r->out);
		free(r->ends);
		free(r);
	}
	if (atomic_load(&w->ending)) /* the loop would do it, but has better things to do */
		walk_drop_pending(w);
}

/* ---- for the visitor ---- */

void walk_stop(struct walk *w)
{
	pthread_mutex_lock(&w->lock);
	w->totals.stopped = true;
	pthread_mutex_unlock(&w->lock);
	atomic_store(&w->ending, true);
}

bool walk_stopped(const struct walk *w)
{
	bool cancelled = atomic_load(&w->ending);

	/* When the daemon ends, the pool tells the slices. */
	for (size_t i = 0; !cancelled && i < w->nslices; i++)
		cancelled = atomic_load(&w->slices[i].work.cancelled);
	return cancelled || (w->deadline_us != 0 && clock_mono_us() >= w->deadline_us);
}
