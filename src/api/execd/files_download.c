/*
 * GET /files/download (contract 1.15; RFC 9110 13 and 14): what to send.
 *
 * A disk thread opens the file, decides about conditions and ranges, and reads a small answer as a
 * whole. Everything larger is sent by files_download_send.c. Lines, and files that do not say their
 * size (those of procfs), are read on disk threads and streamed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/reply.h"
#include "boxd/stream.h"
#include "files_download_internal.h"

#define DOWNLOAD_SMALL 65536  /* answered from memory */
#define DOWNLOAD_READ  262144 /* read at a time for a stream */

static void download_fini(struct files_job *j)
{
	struct download *d = (struct download *)j;

	loop_defer_cancel(j->app->loop, &d->again);
	for (size_t i = 0; i < d->npieces; i++)
		free(d->pieces[i].text);
	free(d->pieces);
	free(d->ranges);
	free(d->chunk);
	free(d->path);
	free(d->range);
	free(d->first_line);
	free(d->max_lines);
	files_cond_fini(&d->cond);
	if (d->fd >= 0)
		close(d->fd);
}

/* ---- on a disk thread: what is to be sent ---- */

static int download_line_number(const char *text, uint64_t none, uint64_t *out, struct err *e)
{
	*out = none;
	if (text == NULL)
		return 0;
	if (!str_u64(str_of(text), out) || *out == 0)
		return err_set(e, &ERR_BAD_BODY, "offset and limit must be positive numbers");
	return 0;
}

static int download_begin_lines(struct download *d, struct err *e)
{
	uint64_t first, max;

	if (download_line_number(d->first_line, 1, &first, e) < 0 ||
		download_line_number(d->max_lines, UINT64_MAX, &max, e) < 0)
		return -1;
	lines_init(&d->lines, first, max);
	d->chunk = malloc(DOWNLOAD_READ);
	if (d->chunk == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	d->by_line = true;
	d->reading = true;
	return 0;
}

/* 200, 206 or 416. */
static int download_choose_ranges(struct download *d, struct err *e)
{
	size_t max = limit_size(LIMIT_FS_RANGES);

	d->status = 200;
	d->ranges = calloc(max, sizeof(*d->ranges));
	if (d->ranges == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (d->range == NULL)
		return 0;
	switch (range_parse(str_of(d->range), d->st.size, d->ranges, max, &d->nranges)) {
	case RANGE_WHOLE: d->nranges = 0; return 0;
	case RANGE_SOME: d->status = 206; return 0;
	case RANGE_BAD: d->status = 416; return err_set(e, &ERR_BAD_RANGE, "malformed Range");
	case RANGE_NONE: break;
	}
	d->status = 416;
	return err_set(e, &ERR_RANGE, "the file has %" PRIu64 " bytes", d->st.size);
}

static int download_decide(struct download *d, struct err *e)
{
	char etag[FS_ETAG_MAX];

	fs_etag(&d->st, etag);
	switch (cond_check(&d->cond.cond, etag, d->st.mtime.tv_sec, true)) {
	case COND_GO: break;
	case COND_NOT_MODIFIED: d->status = 304; return 0;
	case COND_FAILED:
		return err_set(e, &ERR_PRECONDITION, "the file is not what the request expects");
	}
	if (d->range != NULL && !cond_range_holds(&d->cond.cond, etag, d->st.mtime.tv_sec)) {
		free(d->range);
		d->range = NULL;
	}
	return download_choose_ranges(d, e);
}

/* Reads until the piece is full, or the file has ended. */
static int download_read(struct download *d, uint64_t at, size_t n, struct err *e)
{
	uint8_t *to = buf_reserve(&d->job.body, n > 0 ? n : 1);
	size_t have = 0;

	if (to == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	while (have < n) {
		ssize_t got = pread(d->fd, to + have, n - have, (off_t)(at + have));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_file(e, "read");
		if (got == 0)
			return err_set(e, &ERR_RUNTIME, "the file became shorter");
		have += (size_t)got;
	}
	buf_commit(&d->job.body, have);
	return 0;
}

/* The next bytes of a file whose length is not known. */
static int download_read_on(struct download *d, uint8_t *to, size_t n, size_t *got, struct err *e)
{
	ssize_t res;

	do
		res = read(d->fd, to, n);
	while (res < 0 && errno == EINTR);
	if (res < 0)
		return err_file(e, "read");
	*got = (size_t)res;
	d->at_end = res == 0;
	return 0;
}

static int download_next_bytes(struct download *d, struct err *e)
{
	struct buf *out = &d->job.body;

	while (!d->at_end && buf_len(out) < DOWNLOAD_READ) {
		size_t want = DOWNLOAD_READ - buf_len(out), got = 0;
		uint8_t *to = buf_reserve(out, want);

		if (to == NULL)
			return err_set(e, &ERR_UNAVAILABLE, "out of memory");
		if (download_read_on(d, to, want, &got, e) < 0)
			return -1;
		buf_commit(out, got);
	}
	return 0;
}

/* A slice of a long file that is skipped must not hold the thread for all of it. */
static int download_next_lines(struct download *d, struct err *e)
{
	int64_t until = clock_mono_ms() + limit(LIMIT_FS_SLICE_MS);

	while (!d->at_end && buf_len(&d->job.body) < DOWNLOAD_READ) {
		if (d->chunk_n == 0) {
			if (clock_mono_ms() >= until)
				return 0;
			if (download_read_on(d, d->chunk, DOWNLOAD_READ, &d->chunk_n, e) < 0)
				return -1;
			d->chunk_at = d->chunk;
		}
		switch (lines_feed(
			&d->lines, &d->chunk_at, &d->chunk_n, &d->job.body, DOWNLOAD_READ)) {
		case LINES_MORE:
		case LINES_FULL: break;
		case LINES_DONE: d->at_end = true; break;
		case LINES_NO_MEM: return err_set(e, &ERR_UNAVAILABLE, "out of memory");
		}
	}
	return 0;
}

void download_run_next(struct files_job *j)
{
	struct download *d = (struct download *)j;

	if (d->by_line)
		download_next_lines(d, &j->err);
	else
		download_next_bytes(d, &j->err);
}

static int download_open(struct download *d, struct err *e)
{
	d->fd = fs_open_read(d->job.app->fs, d->path, &d->st, e);
	if (d->fd < 0)
		return -1;
	if (d->first_line != NULL || d->max_lines != NULL)
		return download_begin_lines(d, e);
	/* Files of procfs and its kind say 0 and have content. */
	d->reading = d->st.size == 0;
	return download_decide(d, e);
}

static void download_run(struct files_job *j)
{
	struct download *d = (struct download *)j;
	uint64_t first = 0, n;

	if (download_open(d, &j->err) < 0 || d->status >= 300)
		return;
	if (d->reading) {
		download_run_next(j);
		return;
	}
	n = d->st.size;
	if (d->nranges == 1) {
		first = d->ranges[0].first;
		n = d->ranges[0].last - first + 1;
	}
	if (!d->head && d->nranges <= 1 && n <= DOWNLOAD_SMALL)
		download_read(d, first, (size_t)n, &j->err);
}

/* ---- the head ---- */

/* The name in Content-Disposition (RFC 6266): as it is where that is plain ASCII. */
static void download_disposition(struct req *r, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	struct buf quoted = {0}, coded = {0};
	bool plain = true;
	int failed = 0;

	for (const char *p = name; *p != '\0'; p++) {
		unsigned char ch = (unsigned char)*p;
		bool unreserved = (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') ||
				  (ch >= 'a' && ch <= 'z') || strchr("-._~", ch) != NULL;

		plain = plain && ch >= 0x20 && ch < 0x7f;
		if (ch == '"' || ch == '\\')
			failed |= buf_add(&quoted, "\\", 1);
		failed |= buf_add(&quoted, p, 1);
		failed |= unreserved ? buf_add(&coded, p, 1) : buf_printf(&coded, "%%%02X", ch);
	}
	failed |= buf_add(&quoted, "", 1);
	failed |= buf_add(&coded, "", 1);
	if (failed == 0) {
		struct buf value = {0};
		const char *c = (const char *)buf_data(&coded);

		if ((plain ? buf_printf(&value, "attachment; filename=\"%s\"",
				     (const char *)buf_data(&quoted))
			   : buf_printf(&value, "attachment; filename=\"%s\"; filename*=UTF-8''%s",
				     c, c)) == 0)
			reply_field(r, "Content-Disposition", (const char *)buf_data(&value));
		buf_fini(&value);
	}
	buf_fini(&quoted);
	buf_fini(&coded);
}

static void download_fields(struct download *d)
{
	struct req *r = d->job.op.req;
	char etag[FS_ETAG_MAX], date[CLOCK_HTTP_DATE_LEN + 1];

	fs_etag(&d->st, etag);
	clock_http_date((int64_t)d->st.mtime.tv_sec * 1000, date);
	reply_field(r, "ETag", etag);
	reply_field(r, "Last-Modified", date);
	if (!d->reading || (d->at_end && buf_len(&d->job.body) == 0))
		reply_field(r, "Accept-Ranges", "bytes");
}

static void download_on_again(void *arg)
{
	download_go_on(arg);
}

static void download_on_room(struct op *op)
{
	download_go_on((struct download *)op);
}

/* ---- the answer ---- */

static const char *download_read_type(const struct download *d)
{
	return d->by_line ? "text/plain; charset=utf-8" : DOWNLOAD_TYPE;
}

/* Of unknown length: when all of it has been read already, its length is known after all. */
static void download_answer_read(struct download *d)
{
	struct req *r = d->job.op.req;
	const char *type = download_read_type(d);

	if (!d->by_line)
		download_disposition(r, d->path);
	if (d->head && !d->at_end) {
		reply_head(r, 200, type, STREAM_CHUNKED);
		files_job_end(&d->job);
		return;
	}
	if (d->at_end) {
		reply_body(r, 200, type, buf_data(&d->job.body), buf_len(&d->job.body));
		files_job_end(&d->job);
		return;
	}
	d->streaming = true;
	stream_start(r, 200, type, STREAM_CHUNKED, download_on_room);
	download_go_on(d);
}

static void download_answer_file(struct download *d)
{
	struct req *r = d->job.op.req;
	uint64_t length = 0;
	char type[80];

	download_disposition(r, d->path);
	if (download_plan(d, &length, type, r) < 0) {
		err_set(&d->job.err, &ERR_UNAVAILABLE, "out of memory");
		files_job_error(&d->job);
		files_job_end(&d->job);
		return;
	}
	if (d->head) {
		reply_head(r, d->status, type, length);
		files_job_end(&d->job);
		return;
	}
	d->streaming = true;
	stream_start(r, d->status, type, length, download_on_room);
	if (buf_len(&d->job.body) > 0 || length == 0)
		download_send_small(d);
	else
		download_go_on(d);
}

static void download_answer(struct files_job *j)
{
	struct download *d = (struct download *)j;
	struct req *r = j->op.req;

	if (d->streaming && j->err.kind != NULL) {
		download_abort(d);
		return;
	}
	if (d->streaming) {
		download_go_on(d);
		return;
	}
	if (j->err.kind != NULL) {
		if (d->status == 416)
			download_content_range(r, NULL, d->st.size);
		files_job_error(j);
		files_job_end(j);
		return;
	}
	download_fields(d);
	if (d->status == 304) {
		reply_empty(r, 304);
		files_job_end(j);
	} else if (d->reading) {
		download_answer_read(d);
	} else {
		download_answer_file(d);
	}
}

/* ---- the request ---- */

static int download_parse(struct download *d, struct req *r, struct err *e)
{
	struct str range = req_field(r, "range");
	struct files_paths path = {0};

	if (files_query_path(r, d->job.app->fs, &path, e) == 0) {
		d->path = path.path[0];
		path.path[0] = NULL;
	}
	files_paths_fini(&path);
	if (d->path == NULL || files_query_text(r, "offset", &d->first_line, e) < 0 ||
		files_query_text(r, "limit", &d->max_lines, e) < 0 ||
		files_cond_take(r, &d->cond, e) < 0)
		return -1;
	if (range.p == NULL)
		return 0;
	if (d->first_line != NULL || d->max_lines != NULL)
		return err_set(e, &ERR_BAD_BODY, "give a Range or lines, not both");
	d->range = str_dup(range);
	return d->range != NULL ? 0 : err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

int files_download(struct req *r, const struct route_match *m, struct err *e)
{
	struct download *d = files_job_new(sizeof(*d), m->app, download_run, download_fini, e);

	if (d == NULL)
		return -1;
	d->fd = -1;
	d->head = req_method(r) == HTTP_HEAD;
	d->job.answer = download_answer;
	loop_deferred_init(&d->again, download_on_again, d);
	if (download_parse(d, r, e) < 0) {
		files_job_free(&d->job);
		return -1;
	}
	return files_job_start(&d->job, r, e);
}
