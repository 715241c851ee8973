/*
 * Files by name: info, delete, permissions, move, replace (contract 1.8-1.11, 1.13). A request may
 * name many; they are done in the order given, the first failure ends it, and the error says what
 * was done before.
 */
#include <stdlib.h>
#include <string.h>

#include "boxd/limits.h"
#include "boxd/replace.h"
#include "boxd/reply.h"
#include "files_internal.h"

/* ---- info ---- */

struct files_by_query {
	struct files_job job;
	struct files_paths paths;
	struct files_cond cond;
	unsigned int flags; /* FS_* of fs_remove() */
};

static void files_by_query_fini(struct files_job *j)
{
	struct files_by_query *q = (struct files_by_query *)j;

	files_paths_fini(&q->paths);
	files_cond_fini(&q->cond);
}

static struct files_by_query *files_by_query_new(
	struct req *r, struct app *app, void (*run)(struct files_job *j), struct err *e)
{
	struct files_by_query *q = files_job_new(sizeof(*q), app, run, files_by_query_fini, e);

	if (q == NULL)
		return NULL;
	if (files_query_paths(r, app->fs, &q->paths, e) < 0 ||
		files_cond_take(r, &q->cond, e) < 0) {
		files_job_free(&q->job);
		return NULL;
	}
	q->job.items = (const char *const *)q->paths.raw;
	return q;
}

static void files_run_info(struct files_job *j)
{
	struct files_by_query *q = (struct files_by_query *)j;
	struct fs_names *names = fs_names(j->app->fs, &j->err);
	struct jsonw w;

	if (names == NULL)
		return;
	jsonw_begin(&w, &j->body);
	jsonw_object(&w);
	for (size_t i = 0; i < q->paths.n && !atomic_load(&j->work.cancelled); i++) {
		struct fs_stat st;

		if (fs_info(j->app->fs, q->paths.path[i], &st, &j->err) < 0)
			break;
		jsonw_key_n(&w, q->paths.raw[i], strlen(q->paths.raw[i]));
		fileinfo_write(&w, q->paths.path[i], strlen(q->paths.path[i]), &st, names);
	}
	jsonw_object_end(&w);
	if (jsonw_end(&w) < 0)
		files_job_no_memory(j);
	fs_names_free(names);
}

static int files_info(struct req *r, const struct route_match *m, struct err *e)
{
	struct files_by_query *q = files_by_query_new(r, m->app, files_run_info, e);

	if (q == NULL)
		return -1;
	q->job.items = NULL; /* nothing is changed, so there is nothing to report */
	return files_job_start(&q->job, r, e);
}

/* ---- delete ---- */

static void files_run_delete(struct files_job *j)
{
	struct files_by_query *q = (struct files_by_query *)j;

	while (j->done < q->paths.n && fs_remove(j->app->fs, q->paths.path[j->done], q->flags,
					       &q->cond.cond, &j->work.cancelled, &j->err) == 0)
		j->done++;
}

/* Empty paths would mean the workspace itself. */
static int files_refuse_empty(const struct files_paths *paths, struct err *e)
{
	for (size_t i = 0; i < paths->n; i++) {
		if (paths->raw[i][0] == '\0')
			return err_set(e, &ERR_MISSING_QUERY, "path must not be empty");
	}
	return 0;
}

/* What both DELETE endpoints share; flags is what removes more than a file. */
static int files_begin_delete(struct req *r, struct app *app, unsigned int flags, struct err *e)
{
	struct files_by_query *q = files_by_query_new(r, app, files_run_delete, e);
	bool force = true, recursive = flags != 0;

	if (q == NULL)
		return -1;
	if (files_query_bool(r, "force", &force, e) < 0 ||
		files_query_bool(r, "recursive", &recursive, e) < 0 ||
		files_refuse_empty(&q->paths, e) < 0) {
		files_job_free(&q->job);
		return -1;
	}
	q->flags = (force ? FS_MISSING_OK : 0) |
		   (recursive ? FS_DIRECTORY_OK | FS_RECURSIVE : flags);
	if (q->paths.n > 1 && cond_guards_write(&q->cond.cond)) {
		files_job_free(&q->job);
		return err_set(e, &ERR_BAD_REQUEST, "If-Match goes with one path");
	}
	return files_job_start(&q->job, r, e);
}

static int files_delete(struct req *r, const struct route_match *m, struct err *e)
{
	return files_begin_delete(r, m->app, 0, e);
}

/* With recursive=false a directory goes only when it is empty. */
static int directories_delete(struct req *r, const struct route_match *m, struct err *e)
{
	return files_begin_delete(r, m->app, FS_DIRECTORY_OK, e);
}

/* ---- what comes in a body ---- */

/* One item of a batch; which of its fields count depends on the endpoint. */
struct files_item {
	const char *dest; /* mv: cleaned, in `dests` */
	bool overwrite;
	struct fs_perm perm;
	struct replace_spec replace;
	struct cond cond;
	uint64_t count;
};

struct files_by_body {
	struct files_job job;
	struct json *root; /* strings of the items are borrowed from it */
	struct files_paths paths, dests;
	struct files_item *items;
	struct files_cond cond; /* of the request, for a single item */
	bool verbose;
};

static void files_by_body_fini(struct files_job *j)
{
	struct files_by_body *b = (struct files_by_body *)j;

	files_paths_fini(&b->paths);
	files_paths_fini(&b->dests);
	files_cond_fini(&b->cond);
	free(b->items);
	json_free(b->root);
}

/* An item's own condition, or the request's where there is one item. */
static int files_item_cond(
	struct files_by_body *b, const struct json *v, struct files_item *it, struct err *e)
{
	const char *own = NULL;

	if (json_is_object(v) && json_get_str(v, "if_match", &own, e) < 0)
		return -1;
	it->cond = b->cond.cond;
	if (own != NULL)
		it->cond = (struct cond){.if_match = str_of(own)};
	return 0;
}

typedef int files_parse_item(
	struct files_by_body *b, const struct json *v, struct files_item *it, struct err *e);

/* Reads the members of an object or array, and has `parse` make an item of each. */
static int files_read_items(struct files_by_body *b, struct req *r, const struct json *list,
	files_parse_item *parse, struct err *e)
{
	size_t n = json_count(list), i = 0;

	if (n > limit_size(LIMIT_FS_BATCH))
		return err_set(e, &ERR_BAD_BODY, "more than %zu files in one request",
			limit_size(LIMIT_FS_BATCH));
	b->items = calloc(n + 1, sizeof(*b->items));
	if (b->items == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (files_cond_take(r, &b->cond, e) < 0)
		return -1;
	if (n > 1 && cond_guards_write(&b->cond.cond))
		return err_set(
			e, &ERR_BAD_REQUEST, "If-Match goes with one file; if_match is per file");
	for (const struct json *v = json_first(list); v != NULL; v = json_next(v)) {
		if (parse(b, v, &b->items[i], e) < 0 || files_item_cond(b, v, &b->items[i], e) < 0)
			return -1;
		i++;
	}
	b->job.items = (const char *const *)b->paths.raw;
	return 0;
}

static int files_add_path(struct files_paths *to, const struct fs *fs, const char *what,
	const char *raw, struct err *e)
{
	if (raw == NULL || raw[0] == '\0')
		return err_set(e, &ERR_BAD_BODY, "%s must not be empty", what);
	return files_paths_add(to, fs, raw, e);
}

/* 1: a literal null, which stands for nothing to do (contract 1.1). */
static int files_by_body_parse(
	struct files_by_body *b, struct req *r, bool array, files_parse_item *parse, struct err *e)
{
	struct str body = req_body(r);
	char *verbose;

	b->root = json_parse((const uint8_t *)body.p, body.n, e);
	if (b->root == NULL || files_query_text(r, "verbose", &verbose, e) < 0)
		return -1;
	b->verbose = verbose != NULL && strcmp(verbose, "true") == 0;
	free(verbose);
	if (json_is_null(b->root))
		return 1;
	if (array ? !json_is_array(b->root) : !json_is_object(b->root))
		return err_set(
			e, &ERR_BAD_BODY, "the body must be an %s", array ? "array" : "object");
	return files_read_items(b, r, b->root, parse, e);
}

/* The body of an endpoint that takes an object of paths, or an array. */
static int files_begin_by_body(struct req *r, struct app *app, bool array,
	void (*run)(struct files_job *j), files_parse_item *parse, struct err *e)
{
	struct files_by_body *b = files_job_new(sizeof(*b), app, run, files_by_body_fini, e);
	int res;

	if (b == NULL)
		return -1;
	res = files_by_body_parse(b, r, array, parse, e);
	if (res == 0)
		return files_job_start(&b->job, r, e);
	if (res > 0 && b->verbose)
		reply_body(r, 200, FILES_JSON, "{}", 2);
	else if (res > 0)
		reply_empty(r, 200);
	files_job_free(&b->job);
	return res > 0 ? 0 : -1;
}

/* ---- permissions and directories ---- */

static int files_parse_perm(
	struct files_by_body *b, const struct json *v, struct files_item *it, struct err *e)
{
	if (files_add_path(&b->paths, b->job.app->fs, "a path", json_key(v), e) < 0)
		return -1;
	return files_perm_parse(v, &it->perm, e);
}

static void files_run_permissions(struct files_job *j)
{
	struct files_by_body *b = (struct files_by_body *)j;

	while (j->done < b->paths.n && !atomic_load(&j->work.cancelled) &&
		fs_set_perm(j->app->fs, b->paths.path[j->done], &b->items[j->done].perm, &j->err) ==
			0)
		j->done++;
}

static int files_permissions(struct req *r, const struct route_match *m, struct err *e)
{
	return files_begin_by_body(r, m->app, false, files_run_permissions, files_parse_perm, e);
}

static void files_run_mkdir(struct files_job *j)
{
	struct files_by_body *b = (struct files_by_body *)j;

	while (j->done < b->paths.n && !atomic_load(&j->work.cancelled) &&
		fs_mkdir(j->app->fs, b->paths.path[j->done], &b->items[j->done].perm, &j->err) == 0)
		j->done++;
}

static int directories_create(struct req *r, const struct route_match *m, struct err *e)
{
	return files_begin_by_body(r, m->app, false, files_run_mkdir, files_parse_perm, e);
}

/* ---- move ---- */

static int files_parse_move(
	struct files_by_body *b, const struct json *v, struct files_item *it, struct err *e)
{
	const struct fs *fs = b->job.app->fs;
	const char *src = NULL, *dest = NULL;

	if (!json_is_object(v))
		return err_set(e, &ERR_BAD_BODY, "each move must be an object with src and dest");
	if (json_get_str(v, "src", &src, e) < 0 || json_get_str(v, "dest", &dest, e) < 0 ||
		json_get_bool(v, "overwrite", &it->overwrite, e) < 0 ||
		files_add_path(&b->paths, fs, "src", src, e) < 0 ||
		files_add_path(&b->dests, fs, "dest", dest, e) < 0)
		return -1;
	return 0;
}

static void files_run_move(struct files_job *j)
{
	struct files_by_body *b = (struct files_by_body *)j;

	while (j->done < b->paths.n && !atomic_load(&j->work.cancelled)) {
		const struct files_item *it = &b->items[j->done];

		if (fs_move(j->app->fs, b->paths.path[j->done], b->dests.path[j->done],
			    it->overwrite, &it->cond, &j->work.cancelled, &j->err) < 0)
			return;
		j->done++;
	}
}

static int files_move(struct req *r, const struct route_match *m, struct err *e)
{
	return files_begin_by_body(r, m->app, true, files_run_move, files_parse_move, e);
}

/* ---- replace ---- */

static int files_parse_replace(
	struct files_by_body *b, const struct json *v, struct files_item *it, struct err *e)
{
	const char *old = NULL, *with = "";

	if (!json_is_object(v))
		return err_set(e, &ERR_BAD_BODY, "each file needs an object with old and new");
	if (files_add_path(&b->paths, b->job.app->fs, "a path", json_key(v), e) < 0 ||
		json_get_str(v, "old", &old, e) < 0 || json_get_str(v, "new", &with, e) < 0 ||
		json_get_bool(v, "regex", &it->replace.regex, e) < 0 ||
		json_get_bool(v, "ignore_case", &it->replace.ignore_case, e) < 0)
		return -1;
	it->replace.old = old != NULL ? str_of(old) : STR("");
	it->replace.new_text = str_of(with);
	return 0;
}

static void files_write_counts(struct files_by_body *b)
{
	struct jsonw w;

	jsonw_begin(&w, &b->job.body);
	jsonw_object(&w);
	for (size_t i = 0; i < b->paths.n; i++) {
		jsonw_key_n(&w, b->paths.raw[i], strlen(b->paths.raw[i]));
		jsonw_object(&w);
		jsonw_key(&w, "replacedCount");
		jsonw_int(&w, (int64_t)b->items[i].count);
		jsonw_object_end(&w);
	}
	jsonw_object_end(&w);
	if (jsonw_end(&w) < 0)
		files_job_no_memory(&b->job);
}

static void files_run_replace(struct files_job *j)
{
	struct files_by_body *b = (struct files_by_body *)j;

	while (j->done < b->paths.n && !atomic_load(&j->work.cancelled)) {
		struct files_item *it = &b->items[j->done];

		it->replace.path = b->paths.path[j->done];
		it->replace.cond = &it->cond;
		it->replace.cancelled = &j->work.cancelled;
		if (replace_in_file(j->app->fs, &it->replace, &it->count, &j->err) < 0)
			return;
		j->done++;
	}
	if (b->verbose)
		files_write_counts(b);
}

static int files_replace(struct req *r, const struct route_match *m, struct err *e)
{
	return files_begin_by_body(r, m->app, false, files_run_replace, files_parse_replace, e);
}

/* ---- routes ---- */

const struct route execd_routes_files[] = {
	{HTTP_GET, "/files/info", 0, files_info},
	{HTTP_DELETE, "/files", 0, files_delete},
	{HTTP_POST, "/files/permissions", ROUTE_BODY, files_permissions},
	{HTTP_POST, "/files/mv", ROUTE_BODY, files_move},
	{HTTP_POST, "/files/replace", ROUTE_BODY, files_replace},
	{HTTP_GET, "/files/search", 0, files_search},
	{HTTP_POST, "/files/grep", ROUTE_BODY, files_grep},
	{HTTP_GET, "/files/download", 0, files_download},
	{HTTP_PUT, "/files/content", 0, files_put_content},
	{HTTP_POST, "/files/upload", 0, files_upload},
	{0},
};

const struct route execd_routes_directories[] = {
	{HTTP_GET, "/directories/list", 0, files_list},
	{HTTP_POST, "/directories", ROUTE_BODY, directories_create},
	{HTTP_DELETE, "/directories", 0, directories_delete},
	{0},
};
