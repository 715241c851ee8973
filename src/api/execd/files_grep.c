/* POST /files/grep: the content of files, one JSON object per line, a summary at the end. */
#include <stdlib.h>
#include <string.h>

#include "boxd/clock.h"
#include "boxd/grep.h"
#include "boxd/limits.h"
#include "files_internal.h"

struct files_grep {
	struct grep *grep;
	int64_t began_ms;
};

/* What the body says. Strings belong to root. */
struct files_grep_params {
	struct json *root;
	const char *path;
	struct str *globs; /* include, then exclude */
	struct grep_spec spec;
	int64_t timeout_ms;
};

/* ---- parameters ---- */

static int files_grep_globs(
	const struct json *list, const char *name, struct str *to, struct err *e)
{
	if (list != NULL && !json_is_array(list))
		return err_set(e, &ERR_BAD_BODY, "%s must be an array of patterns", name);
	for (const struct json *v = list != NULL ? json_first(list) : NULL; v != NULL;
		v = json_next(v)) {
		const char *text = json_str(v);

		if (text == NULL)
			return err_set(e, &ERR_BAD_BODY, "%s must be an array of patterns", name);
		if (strlen(text) > limit_size(LIMIT_FS_GLOB_BYTES))
			return err_set(e, &ERR_BAD_PATTERN, "a glob has at most %zu bytes",
				limit_size(LIMIT_FS_GLOB_BYTES));
		*to++ = str_of(text);
	}
	return 0;
}

static int files_grep_parse_globs(struct files_grep_params *p, struct err *e)
{
	const struct json *include = json_get(p->root, "include");
	const struct json *exclude = json_get(p->root, "exclude");
	size_t n = json_count(include), more = json_count(exclude);

	if (n + more > limit_size(LIMIT_FS_BATCH))
		return err_set(e, &ERR_BAD_BODY, "more than %zu globs", limit_size(LIMIT_FS_BATCH));
	p->globs = calloc(n + more + 1, sizeof(*p->globs));
	if (p->globs == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (files_grep_globs(include, "include", p->globs, e) < 0 ||
		files_grep_globs(exclude, "exclude", p->globs + n, e) < 0)
		return -1;
	p->spec.include = p->globs;
	p->spec.ninclude = n;
	p->spec.exclude = p->globs + n;
	p->spec.nexclude = more;
	return 0;
}

/* 0 stands for the limit. */
static int64_t files_grep_at_most(int64_t asked, enum limit row)
{
	return asked > 0 && asked < limit(row) ? asked : limit(row);
}

static int files_grep_parse_numbers(struct files_grep_params *p, struct err *e)
{
	const int64_t most = INT64_C(1) << 53;
	int64_t context = 0, results = 0, per_file = 0, bytes = 0, timeout = 0;

	if (json_get_int(p->root, "context", 0, limit(LIMIT_GREP_CONTEXT), &context, e) < 0 ||
		json_get_int(p->root, "max_results", 1, most, &results, e) < 0 ||
		json_get_int(p->root, "max_per_file", 1, most, &per_file, e) < 0 ||
		json_get_int(p->root, "max_file_bytes", 1, most, &bytes, e) < 0 ||
		json_get_int(p->root, "timeout_ms", 1, most, &timeout, e) < 0)
		return -1;
	/* Who asks for more than there is gets what there is; the summary says what was left out.
	 */
	results = files_grep_at_most(results, LIMIT_GREP_RESULTS);
	bytes = files_grep_at_most(bytes, LIMIT_GREP_FILE_BYTES);
	p->timeout_ms = files_grep_at_most(timeout, LIMIT_GREP_MS);
	p->spec.context = (unsigned int)context;
	p->spec.max_results = (uint64_t)results;
	p->spec.max_per_file = (uint64_t)per_file;
	p->spec.max_file_bytes = (uint64_t)bytes;
	return 0;
}

static int files_grep_parse(struct files_grep_params *p, struct str body, struct err *e)
{
	const char *pattern = NULL;

	p->root = json_parse((const uint8_t *)body.p, body.n, e);
	if (p->root == NULL)
		return -1;
	if (!json_is_object(p->root))
		return err_set(e, &ERR_BAD_BODY, "the body must be an object");
	if (json_get_str(p->root, "path", &p->path, e) < 0 ||
		json_get_str(p->root, "pattern", &pattern, e) < 0 ||
		json_get_bool(p->root, "literal", &p->spec.literal, e) < 0 ||
		json_get_bool(p->root, "ignore_case", &p->spec.ignore_case, e) < 0 ||
		json_get_bool(p->root, "hidden", &p->spec.hidden, e) < 0 ||
		json_get_bool(p->root, "respect_gitignore", &p->spec.respect_gitignore, e) < 0 ||
		files_grep_parse_numbers(p, e) < 0 || files_grep_parse_globs(p, e) < 0)
		return -1;
	if (p->path == NULL || p->path[0] == '\0')
		return err_set(e, &ERR_BAD_BODY, "path is required");
	if (pattern == NULL || pattern[0] == '\0')
		return err_set(e, &ERR_BAD_BODY, "pattern is required");
	p->spec.pattern = str_of(pattern);
	return 0;
}

static void files_grep_params_fini(struct files_grep_params *p)
{
	free(p->globs);
	json_free(p->root);
}

/* ---- results ---- */

static void files_grep_context(
	struct jsonw *w, const char *key, const struct grep_line *lines, size_t n)
{
	jsonw_key(w, key);
	jsonw_array(w);
	for (size_t i = 0; i < n; i++)
		jsonw_str_n(w, lines[i].text.p, lines[i].text.n);
	jsonw_array_end(w);
}

static void files_grep_number(struct jsonw *w, const char *key, uint64_t v)
{
	jsonw_key(w, key);
	jsonw_int(w, (int64_t)v);
}

/* On a disk thread. */
static int files_grep_format(void *arg, const struct grep_match *m, struct buf *out)
{
	struct jsonw w;

	(void)arg;
	jsonw_begin(&w, out);
	jsonw_object(&w);
	jsonw_key(&w, "type");
	jsonw_str(&w, "match");
	jsonw_key(&w, "path");
	jsonw_str_n(&w, m->path.p, m->path.n);
	fileinfo_write_encoded(&w, m->path.p, m->path.n);
	files_grep_number(&w, "line", m->line);
	files_grep_number(&w, "column", m->column);
	files_grep_number(&w, "length", m->length);
	jsonw_key(&w, "text");
	jsonw_str_n(&w, m->text.text.p, m->text.text.n);
	if (m->text.cut) {
		jsonw_key(&w, "cut");
		jsonw_bool(&w, true);
	}
	files_grep_context(&w, "before", m->before, m->nbefore);
	files_grep_context(&w, "after", m->after, m->nafter);
	jsonw_object_end(&w);
	return jsonw_end(&w) < 0 || buf_add(out, "\n", 1) < 0 ? -1 : 0;
}

static int files_grep_summary(void *arg, const struct walk_totals *t, struct buf *out)
{
	const struct files_grep *fg = arg;
	struct grep_totals g = grep_totals(fg->grep);
	struct jsonw w;

	jsonw_begin(&w, out);
	jsonw_object(&w);
	jsonw_key(&w, "type");
	jsonw_str(&w, "summary");
	files_grep_number(&w, "files", g.files);
	files_grep_number(&w, "matched_files", g.matched_files);
	files_grep_number(&w, "matches", g.matches);
	files_grep_number(&w, "bytes", g.bytes);
	jsonw_key(&w, "skipped");
	jsonw_object(&w);
	files_grep_number(&w, "binary", g.binary);
	files_grep_number(&w, "too_large", g.too_large);
	files_grep_number(&w, "unreadable_files", g.unreadable);
	files_grep_number(&w, "unreadable_directories", t->unreadable);
	files_grep_number(&w, "gave_up", g.gave_up);
	jsonw_object_end(&w);
	jsonw_key(&w, "truncated");
	jsonw_bool(&w, g.max_results_hit || t->timed_out);
	jsonw_key(&w, "reason");
	jsonw_str(&w, g.max_results_hit ? "max_results" : t->timed_out ? "timeout" : NULL);
	jsonw_key(&w, "duration_ms");
	jsonw_int(&w, clock_mono_ms() - fg->began_ms);
	jsonw_object_end(&w);
	return jsonw_end(&w) < 0 || buf_add(out, "\n", 1) < 0 ? -1 : 0;
}

/* ---- the request ---- */

static void files_grep_fini(void *arg)
{
	struct files_grep *fg = arg;

	grep_free(fg->grep);
	free(fg);
}

static struct files_grep *files_grep_new(
	const struct files_grep_params *p, struct app *app, struct err *e)
{
	struct files_grep *fg = calloc(1, sizeof(*fg));
	struct grep_spec spec = p->spec;

	if (fg == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	fg->began_ms = clock_mono_ms();
	spec.workers = work_parallel(app->pool);
	spec.format = files_grep_format;
	fg->grep = grep_new(&spec, e);
	if (fg->grep == NULL) {
		files_grep_fini(fg);
		return NULL;
	}
	return fg;
}

static int files_grep_begin(
	struct req *r, struct app *app, const struct files_grep_params *p, struct err *e)
{
	struct files_walk_opts opts = {.lines = true,
		.spec = {.fs = app->fs, .root = WALK_ROOT_ANY, .max_depth = UINT32_MAX},
		.summary = files_grep_summary,
		.fini = files_grep_fini};
	struct files_grep *fg;
	char *path;
	int res;

	if (files_query_user(r, &opts.user, e) < 0)
		return -1;
	path = fs_path(app->fs, p->path, e);
	if (path == NULL)
		return -1;
	fg = files_grep_new(p, app, e);
	if (fg == NULL) {
		free(path);
		return -1;
	}
	opts.spec.path = path;
	opts.spec.timeout_ms = p->timeout_ms;
	opts.spec.visitor = grep_visitor(fg->grep);
	opts.arg = fg;
	res = files_walk_begin(r, app, &opts, e);
	free(path);
	return res;
}

int files_grep(struct req *r, const struct route_match *m, struct err *e)
{
	struct files_grep_params p = {0};
	int res = files_grep_parse(&p, req_body(r), e);

	if (res == 0)
		res = files_grep_begin(r, m->app, &p, e);
	files_grep_params_fini(&p);
	return res;
}
