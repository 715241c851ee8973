/*
 * POST /files/upload (contract 1.14): pairs of a `metadata` and a `file` part, the i-th with the
 * i-th, in whatever order they come. A file whose metadata is known goes straight to where it
 * belongs; one that comes first waits in a spool. Each file appears when it is complete; a failure
 * ends the request, leaves the files before it, and says which they are.
 */
#include <stdlib.h>
#include <string.h>

#include "boxd/limits.h"
#include "boxd/multipart.h"
#include "boxd/reply.h"
#include "boxd/spool.h"
#include "boxd/writer.h"
#include "files_internal.h"

/* What a metadata part says of its file. */
struct upload_meta {
	struct json *root; /* the strings of perm and if_match are borrowed from it */
	struct fs_perm perm;
	const char *if_match;
};

/* A file that waits for its metadata. */
struct upload_waiting {
	uint64_t at, n;
};

enum upload_part { UPLOAD_OTHER, UPLOAD_METADATA, UPLOAD_FILE };

struct files_upload {
	struct files_body body;
	struct multipart *parser;
	const uint8_t *data; /* of the body, not parsed yet */
	size_t n;
	bool sync;

	enum upload_part part; /* that is being read */
	struct buf text;       /* of a metadata part */

	struct files_paths paths; /* from the metadata parts so far */
	struct upload_meta *metas;
	size_t metas_cap;
	size_t files; /* file parts so far */

	struct upload_waiting *waiting; /* files [files - nwaiting, files) */
	size_t nwaiting, waiting_cap;
	struct spool *spool;

	struct writer *writer; /* of the file that is being read; NULL: it goes to the spool */
	struct cond cond;      /* what writer was opened with */
};

/* ---- life ---- */

static void upload_forget(struct upload_meta *m)
{
	json_free(m->root);
	*m = (struct upload_meta){0};
}

/* On a disk thread, because giving back blocks takes time. */
static void upload_drop(struct files_body *b)
{
	struct files_upload *u = (struct files_upload *)b;

	writer_abort(u->writer);
	u->writer = NULL;
	spool_free(u->spool);
	u->spool = NULL;
}

static void upload_fini(struct files_job *j)
{
	struct files_upload *u = (struct files_upload *)j;

	upload_drop(&u->body);
	for (size_t i = 0; i < u->paths.n; i++)
		upload_forget(&u->metas[i]);
	files_paths_fini(&u->paths);
	free(u->metas);
	free(u->waiting);
	buf_fini(&u->text);
	multipart_free(u->parser);
}

static int upload_no_memory(struct err *e)
{
	return err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

/* ---- files ---- */

/* Opens where file i belongs. */
static int upload_open(struct files_upload *u, size_t i, struct err *e)
{
	const struct upload_meta *m = &u->metas[i];
	struct writer_spec spec = {
		.path = u->paths.path[i],
		.perm = m->perm,
		.new_mode = 0777, /* what the reference makes, and some clients rely on */
		.sync = u->sync,
		.cond = &u->cond,
	};

	u->cond = (struct cond){0};
	if (m->if_match != NULL)
		u->cond.if_match = str_of(m->if_match);
	u->writer = writer_open(u->body.job.app->fs, &spec, e);
	return u->writer != NULL ? 0 : -1;
}

static int upload_commit(struct files_upload *u, struct err *e)
{
	struct writer *w = u->writer;

	u->writer = NULL;
	if (writer_commit(w, NULL, NULL, e) < 0)
		return -1;
	upload_forget(&u->metas[u->body.job.done]);
	u->body.job.done++;
	return 0;
}

/* The file that waits longest gets its metadata, which came just now. */
static int upload_place_waiting(struct files_upload *u, struct err *e)
{
	struct upload_waiting first = u->waiting[0];

	if (upload_open(u, u->files - u->nwaiting, e) < 0 ||
		spool_copy(u->spool, first.at, first.n, writer_fd(u->writer), e) < 0 ||
		upload_commit(u, e) < 0)
		return -1;
	u->nwaiting--;
	memmove(u->waiting, u->waiting + 1, u->nwaiting * sizeof(*u->waiting));
	return 0;
}

static int upload_begin_waiting(struct files_upload *u, struct err *e)
{
	struct app *app = u->body.job.app;

	if (u->nwaiting == u->waiting_cap) {
		size_t cap = u->waiting_cap == 0 ? 8 : u->waiting_cap * 2;
		struct upload_waiting *more = realloc(u->waiting, cap * sizeof(*more));

		if (more == NULL)
			return upload_no_memory(e);
		u->waiting = more;
		u->waiting_cap = cap;
	}
	if (u->spool == NULL && app->state_dir < 0)
		return err_set(e, &ERR_UNAVAILABLE,
			"without a state directory, metadata must come before its file");
	if (u->spool == NULL && (u->spool = spool_new(app->state_dir, e)) == NULL)
		return -1;
	u->waiting[u->nwaiting++] = (struct upload_waiting){.at = spool_end(u->spool)};
	return 0;
}

static int upload_begin_file(struct files_upload *u, struct err *e)
{
	size_t i = u->files;

	if (i >= limit_size(LIMIT_FS_UPLOAD_PAIRS))
		return err_set(e, &ERR_BAD_UPLOAD, "more than %zu files in one upload",
			limit_size(LIMIT_FS_UPLOAD_PAIRS));
	u->files++;
	return i < u->paths.n ? upload_open(u, i, e) : upload_begin_waiting(u, e);
}

static int upload_file_data(struct files_upload *u, const uint8_t *data, size_t n, struct err *e)
{
	if (files_body_count(&u->body, n, e) < 0)
		return -1;
	if (u->writer != NULL)
		return writer_put(u->writer, data, n, e);
	u->waiting[u->nwaiting - 1].n += n;
	return spool_put(u->spool, data, n, e);
}

/* ---- metadata ---- */

static int upload_grow_metas(struct files_upload *u, struct err *e)
{
	size_t cap = u->metas_cap == 0 ? 8 : u->metas_cap * 2;
	struct upload_meta *more;

	if (u->paths.n < u->metas_cap)
		return 0;
	more = realloc(u->metas, cap * sizeof(*more));
	if (more == NULL)
		return upload_no_memory(e);
	u->metas = more;
	u->metas_cap = cap;
	return 0;
}

static int upload_read_metadata(
	struct files_upload *u, struct upload_meta *m, const char **path, struct err *e)
{
	m->root = json_parse_whole(buf_data(&u->text), buf_len(&u->text), e);
	if (m->root == NULL)
		return -1;
	if (!json_is_object(m->root))
		return err_set(e, &ERR_BAD_BODY, "it must be an object");
	if (json_get_str(m->root, "path", path, e) < 0 ||
		json_get_str(m->root, "if_match", &m->if_match, e) < 0 ||
		files_perm_parse(m->root, &m->perm, e) < 0)
		return -1;
	if (*path == NULL || (*path)[0] == '\0')
		return err_set(e, &ERR_BAD_BODY, "path is required");
	return 0;
}

/* What is wrong with the metadata has a code of its own; what is wrong with the path has the usual.
 */
static int upload_parse_metadata(struct files_upload *u, struct upload_meta *m, struct err *e)
{
	const char *path = NULL;
	struct err why = {0};

	if (upload_read_metadata(u, m, &path, &why) < 0)
		return err_set(e, why.kind == &ERR_BAD_BODY ? &ERR_BAD_METADATA : why.kind,
			"metadata: %s", why.msg);
	return files_paths_add(&u->paths, u->body.job.app->fs, path, e);
}

static int upload_end_metadata(struct files_upload *u, struct err *e)
{
	struct upload_meta m = {0};

	if (u->paths.n >= limit_size(LIMIT_FS_UPLOAD_PAIRS))
		return err_set(e, &ERR_BAD_UPLOAD, "more than %zu files in one upload",
			limit_size(LIMIT_FS_UPLOAD_PAIRS));
	if (upload_grow_metas(u, e) < 0)
		return -1;
	if (upload_parse_metadata(u, &m, e) < 0) {
		upload_forget(&m);
		return -1;
	}
	u->metas[u->paths.n - 1] = m;
	u->body.job.items = (const char *const *)u->paths.raw;
	return u->nwaiting > 0 ? upload_place_waiting(u, e) : 0;
}

static int upload_metadata_data(
	struct files_upload *u, const uint8_t *data, size_t n, struct err *e)
{
	if (buf_len(&u->text) + n > limit_size(LIMIT_FS_METADATA_BYTES))
		return err_set(e, &ERR_BAD_METADATA, "metadata has at most %zu bytes",
			limit_size(LIMIT_FS_METADATA_BYTES));
	return buf_add(&u->text, data, n) < 0 ? upload_no_memory(e) : 0;
}

/* ---- parts ---- */

static int upload_on_part(struct files_upload *u, const struct multipart_part *part, struct err *e)
{
	u->part = UPLOAD_OTHER;
	if (str_eq(part->name, STR("metadata"))) {
		u->part = UPLOAD_METADATA;
		buf_clear(&u->text);
	} else if (str_eq(part->name, STR("file"))) {
		u->part = UPLOAD_FILE;
		return upload_begin_file(u, e);
	}
	return 0;
}

static int upload_on_data(struct files_upload *u, const uint8_t *data, size_t n, struct err *e)
{
	switch (u->part) {
	case UPLOAD_METADATA: return upload_metadata_data(u, data, n, e);
	case UPLOAD_FILE: return upload_file_data(u, data, n, e);
	case UPLOAD_OTHER: break;
	}
	return 0;
}

static int upload_on_part_end(struct files_upload *u, struct err *e)
{
	enum upload_part part = u->part;

	u->part = UPLOAD_OTHER;
	if (part == UPLOAD_METADATA)
		return upload_end_metadata(u, e);
	return part == UPLOAD_FILE && u->writer != NULL ? upload_commit(u, e) : 0;
}

/* The body is complete: are the pairs? */
static int upload_check_pairs(const struct files_upload *u, struct err *e)
{
	if (!multipart_complete(u->parser))
		return err_set(e, &ERR_BAD_UPLOAD, "the multipart body has no end");
	if (u->paths.n == 0)
		return err_set(e, &ERR_BAD_METADATA, "there is no metadata part");
	if (u->files == 0)
		return err_set(e, &ERR_BAD_CONTENT, "there is no file part");
	if (u->paths.n != u->files)
		return err_set(e, &ERR_BAD_UPLOAD, "%zu metadata parts and %zu file parts",
			u->paths.n, u->files);
	return 0;
}

static int upload_on_event(struct files_upload *u, enum multipart_event event,
	const struct multipart_part *part, const uint8_t *data, size_t n, const char *why,
	struct err *e)
{
	switch (event) {
	case MULTIPART_PART: return upload_on_part(u, part, e);
	case MULTIPART_DATA: return upload_on_data(u, data, n, e);
	case MULTIPART_PART_END: return upload_on_part_end(u, e);
	case MULTIPART_BAD: return err_set(e, &ERR_BAD_UPLOAD, "%s", why);
	case MULTIPART_END:
	case MULTIPART_MORE: break;
	}
	return 0;
}

/* One buffer of the body, with all the parts in it. */
static enum intake_result upload_step(struct files_body *b, struct err *e)
{
	struct files_upload *u = (struct files_upload *)b;
	enum multipart_event event;
	enum intake_result res = intake_next(b->in, &u->data, &u->n, e);

	if (res == INTAKE_END)
		return upload_check_pairs(u, e) < 0 ? INTAKE_BAD : INTAKE_END;
	if (res != INTAKE_DATA)
		return res;
	do {
		struct multipart_part part = {0};
		const uint8_t *data = NULL;
		const char *why = "";
		size_t n = 0;

		event = multipart_next(u->parser, &u->data, &u->n, &part, &data, &n, &why);
		if (upload_on_event(u, event, &part, data, n, why, e) < 0)
			return INTAKE_BAD;
	} while (event != MULTIPART_MORE);
	return INTAKE_DATA;
}

/* ---- the request ---- */

static void upload_reply(struct files_body *b)
{
	reply_empty(b->job.op.req, 200);
}

static int upload_parse(struct files_upload *u, struct req *r, struct err *e)
{
	char boundary[MULTIPART_BOUNDARY_MAX + 1];
	size_t n = 0;

	if (!multipart_boundary(req_field(r, "content-type"), boundary, &n))
		return err_set(e, &ERR_BAD_UPLOAD, "the body must be multipart/form-data");
	if (files_query_bool(r, "sync", &u->sync, e) < 0)
		return -1;
	u->parser = multipart_new((struct str){boundary, n}, limit_size(LIMIT_FS_PART_HEAD_BYTES));
	return u->parser != NULL ? 0 : upload_no_memory(e);
}

int files_upload(struct req *r, const struct route_match *m, struct err *e)
{
	struct files_upload *u = files_job_new(sizeof(*u), m->app, NULL, upload_fini, e);

	if (u == NULL)
		return -1;
	files_body_init(&u->body);
	u->body.step = upload_step;
	u->body.drop = upload_drop;
	u->body.reply = upload_reply;
	if (upload_parse(u, r, e) < 0) {
		files_job_free(&u->body.job);
		return -1;
	}
	return files_body_start(&u->body, r, e);
}
