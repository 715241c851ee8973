/*
 * PUT /files/content: the body becomes the file, all of it or nothing. A small body is collected
 * first and written in one go; a larger one goes from the socket to the disk as it comes.
 */
#include <stdlib.h>
#include <string.h>

#include "boxd/limits.h"
#include "boxd/reply.h"
#include "boxd/writer.h"
#include "files_internal.h"

#define PUT_SMALL 65536 /* collected in memory */
#define PUT_STEP  4194304

struct files_put {
	struct files_body body;
	char *path;
	struct files_cond cond;
	struct writer_spec spec;
	struct writer *writer;
	bool created;
	char etag[FS_ETAG_MAX];
};

static void put_fini(struct files_job *j)
{
	struct files_put *p = (struct files_put *)j;

	free(p->path);
	files_cond_fini(&p->cond);
}

/* ---- on a disk thread ---- */

static void put_drop(struct files_body *b)
{
	struct files_put *p = (struct files_put *)b;

	writer_abort(p->writer);
	p->writer = NULL;
}

static enum intake_result put_commit(struct files_put *p, struct err *e)
{
	struct writer *w = p->writer;
	struct fs_names *names;
	struct fs_stat st;
	struct jsonw json;
	int res;

	p->writer = NULL;
	if (writer_commit(w, &st, &p->created, e) < 0)
		return INTAKE_BAD;
	fs_etag(&st, p->etag);
	names = fs_names(p->body.job.app->fs, e);
	if (names == NULL)
		return INTAKE_BAD;
	jsonw_begin(&json, &p->body.job.body);
	fileinfo_write(&json, p->path, strlen(p->path), &st, names);
	res = jsonw_end(&json);
	fs_names_free(names);
	if (res < 0)
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
	return res < 0 ? INTAKE_BAD : INTAKE_END;
}

static enum intake_result put_step(struct files_body *b, struct err *e)
{
	struct files_put *p = (struct files_put *)b;
	enum intake_result res;
	uint64_t n = 0;

	if (p->writer == NULL && (p->writer = writer_open(b->job.app->fs, &p->spec, e)) == NULL)
		return INTAKE_BAD;
	if (b->in == NULL) {
		if (files_body_count(b, b->small.n, e) < 0 ||
			writer_put(p->writer, b->small.p, b->small.n, e) < 0)
			return INTAKE_BAD;
		return put_commit(p, e);
	}
	res = intake_to_file(b->in, writer_fd(p->writer), PUT_STEP, &n, e);
	if (res == INTAKE_DATA && files_body_count(b, n, e) < 0)
		return INTAKE_BAD;
	return res == INTAKE_END ? put_commit(p, e) : res;
}

/* ---- the request ---- */

static void put_reply(struct files_body *b)
{
	struct files_put *p = (struct files_put *)b;
	struct req *r = b->job.op.req;

	reply_field(r, "ETag", p->etag);
	reply_body(r, p->created ? 201 : 200, FILES_JSON, buf_data(&b->job.body),
		buf_len(&b->job.body));
}

static int put_parse_mode(struct files_put *p, struct req *r, struct err *e)
{
	char *text;
	int res = files_query_text(r, "mode", &text, e);

	if (res > 0 && !files_octal(text, &p->spec.perm.mode))
		res = err_set(e, &ERR_BAD_QUERY, "mode must be one to four octal digits");
	free(text);
	return res < 0 ? -1 : 0;
}

static int put_parse(struct files_put *p, struct req *r, struct err *e)
{
	struct files_paths path = {0};

	if (files_query_path(r, p->body.job.app->fs, &path, e) == 0) {
		p->path = path.path[0];
		path.path[0] = NULL;
	}
	files_paths_fini(&path);
	if (p->path == NULL || put_parse_mode(p, r, e) < 0 ||
		files_query_bool(r, "sync", &p->spec.sync, e) < 0 ||
		files_cond_take(r, &p->cond, e) < 0)
		return -1;
	p->spec.path = p->path;
	p->spec.cond = &p->cond.cond;
	p->spec.new_mode = 0666;
	return 0;
}

static struct files_put *put_new(struct req *r, struct app *app, struct err *e)
{
	struct files_put *p = files_job_new(sizeof(*p), app, NULL, put_fini, e);

	if (p == NULL)
		return NULL;
	files_body_init(&p->body);
	p->body.step = put_step;
	p->body.drop = put_drop;
	p->body.reply = put_reply;
	p->spec.perm.mode = -1;
	if (put_parse(p, r, e) < 0) {
		files_job_free(&p->body.job);
		return NULL;
	}
	return p;
}

/* The whole body is there, and stays where it is until the reply. */
static void put_on_body(struct req *r, void *arg)
{
	struct err e = {0};
	struct files_put *p = put_new(r, arg, &e);

	if (p != NULL)
		p->body.small = req_body(r);
	if (p == NULL || files_job_start(&p->body.job, r, &e) < 0)
		router_error(r, &e);
}

int files_put_content(struct req *r, const struct route_match *m, struct err *e)
{
	struct str coding = req_field(r, "content-encoding"),
		   length = req_field(r, "content-length");
	struct files_put *p;
	uint64_t n;

	/* Who expects an answer before the body gets one. */
	if (coding.p == NULL && req_field(r, "expect").p == NULL &&
		(!req_has_body(r) || (str_u64(length, &n) && n <= PUT_SMALL))) {
		req_want_body(r, PUT_SMALL, put_on_body, m->app);
		return 0;
	}
	p = put_new(r, m->app, e);
	return p != NULL ? files_body_start(&p->body, r, e) : -1;
}
