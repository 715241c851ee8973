/*
 * grep: what a search is, and which files are in it.
 *
 * A search does not change while a walk uses it, but for the count of matches that all threads
 * share: whoever finds one takes a number first, and the first number beyond max_results ends the
 * walk. Everything else that is counted or reused belongs to a worker's slot.
 */
#include "boxd/grep.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/glob.h"
#include "boxd/ignore.h"
#include "boxd/limits.h"

#include "grep_internal.h"

/* ---- life ---- */

static int grep_no_memory(struct err *e)
{
	return err_set(e, &ERR_UNAVAILABLE, "no memory for a search");
}

/* A slash in front only says what one elsewhere says too; one at the end asks for a directory. */
static int grep_add_glob(
	struct grep_glob *to, struct str pattern, const char *field, size_t i, struct err *e)
{
	const char *why = NULL;

	if (pattern.n > limit_size(LIMIT_FS_GLOB_BYTES))
		return err_set(e, &ERR_BAD_PATTERN, "%s[%zu]: longer than %zu bytes", field, i,
			limit_size(LIMIT_FS_GLOB_BYTES));
	if (pattern.n > 1 && pattern.p[pattern.n - 1] == '/' && pattern.p[pattern.n - 2] != '\\') {
		to->directory = true;
		pattern.n--;
	}
	if (pattern.n > 1 && pattern.p[0] == '/') {
		to->path = true;
		pattern = (struct str){pattern.p + 1, pattern.n - 1};
	}
	to->glob = glob_new(pattern, limit_size(LIMIT_FS_GLOB_STATES), &why);
	if (to->glob == NULL)
		return why == NULL ? grep_no_memory(e)
				   : err_set(e, &ERR_BAD_PATTERN, "%s[%zu]: %s", field, i, why);
	to->path |= glob_has_slash(to->glob);
	return 0;
}

static int grep_add_globs(struct grep_globs *to, const struct str *patterns, size_t n,
	const char *field, struct err *e)
{
	if (n > limit_size(LIMIT_FS_BATCH))
		return err_set(e, &ERR_BAD_BODY, "%s: more than %zu globs", field,
			limit_size(LIMIT_FS_BATCH));
	if (n == 0)
		return 0;
	to->list = calloc(n, sizeof(*to->list));
	if (to->list == NULL)
		return grep_no_memory(e);
	for (; to->n < n; to->n++) {
		if (grep_add_glob(&to->list[to->n], patterns[to->n], field, to->n, e) < 0)
			return -1;
	}
	return 0;
}

static int grep_make_workers(struct grep *g, size_t n, struct err *e)
{
	g->nworkers = n > 0 ? n : 1;
	g->workers = aligned_alloc(alignof(struct grep_worker), g->nworkers * sizeof(*g->workers));
	if (g->workers == NULL)
		return grep_no_memory(e);
	memset(g->workers, 0, g->nworkers * sizeof(*g->workers));
	return 0;
}

static uint64_t grep_at_most(uint64_t asked, enum limit l)
{
	uint64_t max = (uint64_t)limit(l);

	return asked == 0 || asked > max ? max : asked;
}

static int grep_init(struct grep *g, const struct grep_spec *spec, struct err *e)
{
	unsigned int flags = REGEX_LINES | (spec->literal ? REGEX_LITERAL : 0) |
			     (spec->ignore_case ? REGEX_IGNORE_CASE : 0);

	if (spec->context > limit_size(LIMIT_GREP_CONTEXT))
		return err_set(e, &ERR_BAD_BODY, "context: more than %zu lines",
			limit_size(LIMIT_GREP_CONTEXT));
	g->hidden = spec->hidden;
	g->respect_gitignore = spec->respect_gitignore;
	g->context = spec->context;
	g->max_results = grep_at_most(spec->max_results, LIMIT_GREP_RESULTS);
	g->max_per_file = spec->max_per_file > 0 ? spec->max_per_file : UINT64_MAX;
	g->max_file_bytes = grep_at_most(spec->max_file_bytes, LIMIT_GREP_FILE_BYTES);
	g->format = spec->format;
	g->arg = spec->arg;
	g->re = regex_new(spec->pattern, flags, e);
	if (g->re == NULL)
		return -1;
	if (grep_add_globs(&g->include, spec->include, spec->ninclude, "include", e) < 0 ||
		grep_add_globs(&g->exclude, spec->exclude, spec->nexclude, "exclude", e) < 0)
		return -1;
	return grep_make_workers(g, spec->workers, e);
}

struct grep *grep_new(const struct grep_spec *spec, struct err *e)
{
	struct grep *g = calloc(1, sizeof(*g));

	if (g == NULL) {
		grep_no_memory(e);
		return NULL;
	}
	atomic_init(&g->claimed, 0);
	atomic_init(&g->full, false);
	if (grep_init(g, spec, e) < 0) {
		grep_free(g);
		return NULL;
	}
	return g;
}

static void grep_free_globs(struct grep_globs *globs)
{
	for (size_t i = 0; i < globs->n; i++)
		glob_free(globs->list[i].glob);
	free(globs->list);
}

void grep_free(struct grep *g)
{
	if (g == NULL)
		return;
	for (size_t i = 0; g->workers != NULL && i < g->nworkers; i++) {
		regex_match_free(g->workers[i].match);
		free(g->workers[i].buf);
		free(g->workers[i].lines);
	}
	free(g->workers);
	grep_free_globs(&g->include);
	grep_free_globs(&g->exclude);
	regex_free(g->re);
	free(g);
}

struct grep_totals grep_totals(const struct grep *g)
{
	struct grep_totals sum = {.max_results_hit = atomic_load(&g->full)};

	for (size_t i = 0; i < g->nworkers; i++) {
		const struct grep_totals *t = &g->workers[i].totals;

		sum.files += t->files;
		sum.matched_files += t->matched_files;
		sum.matches += t->matches;
		sum.bytes += t->bytes;
		sum.binary += t->binary;
		sum.too_large += t->too_large;
		sum.unreadable += t->unreadable;
		sum.gave_up += t->gave_up;
	}
	return sum;
}

/* ---- which files ---- */

static bool grep_any(
	const struct grep_globs *globs, struct str path, struct str name, bool directory)
{
	for (size_t i = 0; i < globs->n; i++) {
		const struct grep_glob *one = &globs->list[i];

		if ((directory || !one->directory) &&
			glob_match(one->glob, one->path ? path : name))
			return true;
	}
	return false;
}

/* Is this entry searched, or gone into? The root is what the client asked for, whatever it is. */
static bool grep_wants(const struct grep *g, const struct walk_entry *entry, bool directory)
{
	struct str path = {entry->path + entry->below_root, entry->path_len - entry->below_root};
	struct str name = {entry->path + entry->name, entry->path_len - entry->name};

	if (entry->depth == 0)
		return true;
	if (!g->hidden && name.n > 0 && name.p[0] == '.')
		return false;
	if (!directory && g->include.n > 0 && !grep_any(&g->include, path, name, false))
		return false;
	if (grep_any(&g->exclude, path, name, directory))
		return false;
	return !g->respect_gitignore || !ignore_match(entry->dir_context, path, directory);
}

/* ---- the visitor ---- */

static int grep_visit(void *arg, struct walk *w, struct walk_entry *entry, struct buf *out)
{
	struct grep *g = arg;

	assert(entry->worker < g->nworkers);
	if (entry->type != FS_FILE || atomic_load_explicit(&g->full, memory_order_relaxed) ||
		!grep_wants(g, entry, false))
		return 0;
	return grep_file(g, w, entry, out);
}

static bool grep_descend(void *arg, const struct walk_entry *entry)
{
	return grep_wants(arg, entry, true);
}

static void *grep_enter(void *arg, void *parent, int dir, const char *path, size_t below_root)
{
	(void)arg;
	return ignore_enter(parent, dir, str_of(path + below_root));
}

static void grep_leave(void *arg, void *context)
{
	(void)arg;
	ignore_leave(context);
}

struct walk_visitor grep_visitor(struct grep *g)
{
	struct walk_visitor v = {.visit = grep_visit, .descend = grep_descend, .arg = g};

	if (g->respect_gitignore) {
		v.enter = grep_enter;
		v.leave = grep_leave;
	}
	return v;
}
