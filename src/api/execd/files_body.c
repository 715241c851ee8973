/*
 * A job that takes in a body: a disk thread reads from the socket and writes to the disk for a
 * slice of time, then others get their turn; when nothing has arrived the loop waits for more. What
 * was begun and is not wanted any more is thrown away on a disk thread as well: to give back the
 * blocks of a large file takes its time.
 */
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "files_internal.h"

/* Is this slice over? Only when somebody else wants the thread. */
static bool files_body_yields(struct files_body *b, int64_t until)
{
	return clock_mono_ms() >= until && work_others_wait(b->job.app->pool);
}

static void files_body_run(struct files_job *j)
{
	struct files_body *b = (struct files_body *)j;
	int64_t until = clock_mono_ms() + limit(LIMIT_FS_SLICE_MS);

	do
		b->last = b->step(b, &j->err);
	while (b->last == INTAKE_DATA && !atomic_load(&j->work.cancelled) &&
		!files_body_yields(b, until));
	if (b->last == INTAKE_BAD)
		b->drop(b);
}

static void files_body_on_ready(void *arg)
{
	files_job_again(arg, work_submit_transfer);
}

/* The connection reads for itself again: before every reply. */
static void files_body_give_back(struct files_body *b)
{
	intake_free(b->in);
	b->in = NULL;
}

static void files_body_answer(struct files_job *j)
{
	struct files_body *b = (struct files_body *)j;

	if (j->err.kind != NULL) {
		/* A job that could not be run again has not dropped anything. */
		b->drop(b);
		files_body_give_back(b);
		files_job_error(j);
		files_job_end(j);
		return;
	}
	switch (b->last) {
	case INTAKE_DATA: files_job_again(j, work_submit_transfer); break;
	case INTAKE_WAIT: intake_wait(b->in, files_body_on_ready, j); break;
	case INTAKE_END:
	case INTAKE_BAD:
		files_body_give_back(b);
		b->reply(b);
		files_job_end(j);
		break;
	}
}

/* ---- the client has gone ---- */

static void files_body_run_drop(struct files_job *j)
{
	struct files_body *b = (struct files_body *)j;

	b->drop(b);
}

static void files_body_dropped(struct files_job *j)
{
	struct files_body *b = (struct files_body *)j;

	b->drop(b);
	files_body_give_back(b);
	files_job_end(j);
}

static void files_body_gone(struct files_job *j)
{
	/* Cancelled, this run would be skipped. */
	atomic_store(&j->work.cancelled, false);
	j->run = files_body_run_drop;
	j->answer = files_body_dropped;
	j->gone = files_body_dropped;
	files_job_again(j, work_submit_transfer);
}

/* ---- begin ---- */

void files_body_init(struct files_body *b)
{
	b->job.run = files_body_run;
	b->job.answer = files_body_answer;
	b->job.gone = files_body_gone;
}

int files_body_start(struct files_body *b, struct req *r, struct err *e)
{
	struct files_job *j = &b->job;

	if (files_query_user(r, &j->user, e) < 0) {
		files_job_free(j);
		return -1;
	}
	files_job_adopt(j, r);
	b->in = intake_new(r, &j->err);
	if (b->in == NULL)
		files_body_answer(j);
	else
		files_job_again(j, work_submit_transfer);
	return 0;
}

int files_body_count(struct files_body *b, uint64_t n, struct err *e)
{
	b->total += n;
	if (b->total > (uint64_t)limit(LIMIT_FS_UPLOAD_BYTES))
		return err_set(e, &ERR_TOO_LARGE, "more than %lld bytes in one upload",
			(long long)limit(LIMIT_FS_UPLOAD_BYTES));
	return 0;
}
