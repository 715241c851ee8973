/* Finding files by name and listing directories (contract 1.12, 1.16). */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/glob.h"
#include "boxd/limits.h"
#include "files_internal.h"

/* What the visitors of both look at, on disk threads. */
struct files_finder {
	const struct fs *fs;
	_Atomic(struct fs_names *) names; /* NULL until the first use */
	struct glob *glob;                /* NULL when listing */
	bool by_path; /* the pattern has a slash: it is about the path below the root */
};

static void files_finder_free(void *arg)
{
	struct files_finder *f = arg;

	fs_names_free(atomic_load(&f->names));
	glob_free(f->glob);
	free(f);
}

static struct files_finder *files_finder_new(const struct fs *fs, struct err *e)
{
	struct files_finder *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	f->fs = fs;
	return f;
}

/* The files of names are read on a disk thread, too. Two that are first at once agree on one. */
static struct fs_names *files_finder_names(struct files_finder *f)
{
	struct fs_names *have = atomic_load(&f->names), *mine;
	struct err e = {0};

	if (have != NULL)
		return have;
	mine = fs_names(f->fs, &e);
	if (mine == NULL || atomic_compare_exchange_strong(&f->names, &have, mine))
		return mine;
	fs_names_free(mine);
	return have;
}

/* Every element has a comma in front; files_walk.c makes the first one a bracket. */
static int files_finder_write(struct files_finder *f, struct walk_entry *entry, struct buf *out)
{
	const struct fs_names *names;
	struct fs_stat st;
	struct jsonw w;

	if (!walk_stat(entry, &st))
		return 0; /* it has vanished */
	names = files_finder_names(f);
	if (names == NULL || buf_add(out, ",", 1) < 0)
		return -1;
	jsonw_begin(&w, out);
	fileinfo_write(&w, entry->path, entry->path_len, &st, names);
	return jsonw_end(&w);
}

static int files_visit_list(void *arg, struct walk *w, struct walk_entry *entry, struct buf *out)
{
	(void)w;
	return files_finder_write(arg, entry, out);
}

static int files_visit_search(void *arg, struct walk *w, struct walk_entry *entry, struct buf *out)
{
	struct files_finder *f = arg;
	/* The root itself has no path below the root: its name stands in. */
	size_t from = f->by_path && entry->depth > 0 ? entry->below_root : entry->name;

	(void)w;
	if (entry->type == FS_DIRECTORY ||
		!glob_match(f->glob, (struct str){entry->path + from, entry->path_len - from}))
		return 0;
	return files_finder_write(f, entry, out);
}

static int files_begin_walk(struct req *r, struct app *app, struct files_finder *f,
	struct files_walk_opts *opts, struct err *e)
{
	struct files_paths path = {0};
	int res;

	opts->spec.fs = app->fs;
	opts->spec.visitor.arg = f;
	opts->fini = files_finder_free;
	opts->arg = f;
	if (files_query_path(r, app->fs, &path, e) < 0 || files_query_user(r, &opts->user, e) < 0) {
		files_paths_fini(&path);
		files_finder_free(f);
		return -1;
	}
	opts->spec.path = path.path[0];
	res = files_walk_begin(r, app, opts, e);
	files_paths_fini(&path);
	return res;
}

/* ---- GET /directories/list ---- */

int files_list(struct req *r, const struct route_match *m, struct err *e)
{
	struct files_walk_opts opts = {
		.spec = {.root = WALK_ROOT_DIRECTORY, .visitor.visit = files_visit_list}};
	struct files_finder *f;
	uint64_t depth = 1;

	if (files_query_u64(r, "depth", INT32_MAX, &depth, &ERR_BAD_BODY, e) < 0)
		return -1;
	opts.spec.max_depth = (unsigned int)depth;
	f = files_finder_new(m->app->fs, e);
	return f != NULL ? files_begin_walk(r, m->app, f, &opts, e) : -1;
}

/* ---- GET /files/search ---- */

static struct glob *files_query_pattern(struct req *r, struct err *e)
{
	const char *why = NULL;
	struct glob *g = NULL;
	char *text;

	if (files_query_text(r, "pattern", &text, e) < 0)
		return NULL;
	if (text != NULL && strlen(text) > limit_size(LIMIT_FS_GLOB_BYTES)) {
		err_set(e, &ERR_BAD_PATTERN, "a pattern has at most %zu bytes",
			limit_size(LIMIT_FS_GLOB_BYTES));
	} else {
		g = glob_new(text != NULL ? str_of(text) : STR("**"),
			limit_size(LIMIT_FS_GLOB_STATES), &why);
		if (g == NULL && why != NULL)
			err_set(e, &ERR_BAD_PATTERN, "pattern: %s", why);
		else if (g == NULL)
			err_set(e, &ERR_UNAVAILABLE, "out of memory");
	}
	free(text);
	return g;
}

int files_search(struct req *r, const struct route_match *m, struct err *e)
{
	struct files_walk_opts opts = {.spec = {.root = WALK_ROOT_ANY,
					       .max_depth = UINT32_MAX,
					       .visitor.visit = files_visit_search}};
	struct files_finder *f = files_finder_new(m->app->fs, e);

	if (f == NULL)
		return -1;
	f->glob = files_query_pattern(r, e);
	if (f->glob == NULL) {
		files_finder_free(f);
		return -1;
	}
	f->by_path = glob_has_slash(f->glob);
	return files_begin_walk(r, m->app, f, &opts, e);
}
