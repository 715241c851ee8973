/*
 * An answer that a disk thread works out: the handler parses, a thread runs, the loop replies.
 * While it runs nobody else looks at the job, but for the flag that says that the client has gone.
 */
#include <stdlib.h>

#include "boxd/reply.h"
#include "files_internal.h"

static void files_job_answer(struct files_job *j)
{
	struct req *r = j->op.req;

	if (buf_len(&j->body) == 0)
		reply_empty(r, 200);
	else
		reply_body(r, 200, FILES_JSON, buf_data(&j->body), buf_len(&j->body));
	files_job_end(j);
}

static void files_job_run(struct work *w)
{
	struct files_job *j = (struct files_job *)((char *)w - offsetof(struct files_job, work));

	if (j->user.set && fs_enter(j->app->fs, j->user.uid, j->user.gid, &j->err) < 0)
		return;
	j->run(j);
	if (j->user.set)
		fs_leave();
}

static void files_job_gone(struct files_job *j)
{
	if (j->gone != NULL)
		j->gone(j);
	else
		files_job_end(j);
}

/* The answer comes last: it may have freed the job, or started it again. */
static void files_job_settle(struct files_job *j)
{
	j->busy = false;
	if (atomic_load(&j->work.cancelled)) {
		files_job_gone(j);
		return;
	}
	if (j->err.kind != NULL && j->answer == files_job_answer) {
		files_job_error(j);
		files_job_end(j);
		return;
	}
	j->answer(j);
}

static void files_job_done(struct work *w)
{
	files_job_settle((struct files_job *)((char *)w - offsetof(struct files_job, work)));
}

static void files_job_cancel(struct op *op)
{
	struct files_job *j = (struct files_job *)op;

	work_cancel(&j->work);
	if (!j->busy)
		files_job_gone(j);
}

void files_job_again(
	struct files_job *j, int (*submit)(struct work_pool *p, struct work *w, struct err *e))
{
	j->busy = true;
	if (submit(j->app->pool, &j->work, &j->err) < 0)
		files_job_settle(j);
}

void *files_job_new(size_t size, struct app *app, void (*run)(struct files_job *j),
	void (*fini)(struct files_job *j), struct err *e)
{
	struct files_job *j = calloc(1, size);

	if (j == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	j->app = app;
	j->run = run;
	j->answer = files_job_answer;
	j->fini = fini;
	j->work.run = files_job_run;
	j->work.done = files_job_done;
	atomic_init(&j->work.cancelled, false);
	return j;
}

void files_job_free(struct files_job *j)
{
	if (j->fini != NULL)
		j->fini(j);
	buf_fini(&j->body);
	free(j);
}

void files_job_adopt(struct files_job *j, struct req *r)
{
	op_begin(&j->op, r, files_job_cancel, NULL);
}

int files_job_start(struct files_job *j, struct req *r, struct err *e)
{
	if (files_query_user(r, &j->user, e) < 0 || work_submit(j->app->pool, &j->work, e) < 0) {
		files_job_free(j);
		return -1;
	}
	j->busy = true;
	files_job_adopt(j, r);
	return 0;
}

void files_job_end(struct files_job *j)
{
	op_end(&j->op);
	files_job_free(j);
}

void files_job_no_memory(struct files_job *j)
{
	if (j->err.kind == NULL)
		err_set(&j->err, &ERR_UNAVAILABLE, "out of memory");
}

/* Which items of a batch were done when one failed. */
static void files_job_report(struct jsonw *w, void *arg)
{
	const struct files_job *j = arg;

	jsonw_key(w, "done");
	jsonw_array(w);
	for (size_t i = 0; i < j->done; i++)
		jsonw_str(w, j->items[i]);
	jsonw_array_end(w);
	if (j->items[j->done] != NULL) {
		jsonw_key(w, "failed");
		jsonw_str(w, j->items[j->done]);
	}
}

void files_job_error(struct files_job *j)
{
	router_error_more(j->op.req, &j->err, j->items != NULL ? files_job_report : NULL, j);
}
