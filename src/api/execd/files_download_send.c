/*
 * Sending a download. A file goes out with sendfile(2) on the loop, but only what is in the page
 * cache: what is not is first read by a disk thread, window by window, so that no disk is ever
 * waited for on the loop. What has to be read anyway goes through the stream's queue.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "boxd/id.h"
#include "boxd/reply.h"
#include "boxd/stream.h"
#include "files_download_internal.h"

#define DOWNLOAD_WINDOW 4194304 /* looked for in the page cache, and sent, at a time */
#define DOWNLOAD_TURN   1048576 /* sent to one client in one turn of the loop */

/* ---- what the body consists of ---- */

void download_content_range(struct req *r, const struct range *range, uint64_t size)
{
	char text[80];

	if (range == NULL)
		snprintf(text, sizeof(text), "bytes */%" PRIu64, size);
	else
		snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range->first,
			range->last, size);
	reply_field(r, "Content-Range", text);
}

static uint64_t download_add_range(struct download *d, uint64_t first, uint64_t n)
{
	d->pieces[d->npieces++] = (struct download_piece){.at = first, .left = n};
	return n;
}

static uint64_t download_add_text(struct download *d, struct buf *text)
{
	size_t n = buf_len(text);

	/* The buffer's memory becomes the piece's: it was never drained, so its data begins it. */
	d->pieces[d->npieces++] = (struct download_piece){.text = (char *)text->mem, .text_n = n};
	*text = (struct buf){0};
	return n;
}

/* multipart/byteranges (RFC 9110 14.6). The length of the body, or 0: out of memory. */
static uint64_t download_plan_parts(struct download *d, const char *boundary)
{
	struct buf text = {0};
	uint64_t length = 0;

	for (size_t i = 0; i < d->nranges; i++) {
		const struct range *g = &d->ranges[i];

		if (buf_printf(&text,
			    "%s--%s\r\nContent-Type: " DOWNLOAD_TYPE
			    "\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n\r\n",
			    i > 0 ? "\r\n" : "", boundary, g->first, g->last, d->st.size) < 0) {
			buf_fini(&text);
			return 0;
		}
		length += download_add_text(d, &text);
		length += download_add_range(d, g->first, g->last - g->first + 1);
	}
	if (buf_printf(&text, "\r\n--%s--\r\n", boundary) < 0) {
		buf_fini(&text);
		return 0;
	}
	return length + download_add_text(d, &text);
}

/* What will be sent, and its length and type. 0, or -1: out of memory. */
int download_plan(struct download *d, uint64_t *length, char type[static 80], struct req *r)
{
	char boundary[ID_LEN + 1];

	snprintf(type, 80, "%s", DOWNLOAD_TYPE);
	d->pieces = calloc(2 * d->nranges + 1, sizeof(*d->pieces));
	if (d->pieces == NULL)
		return -1;
	if (d->nranges == 0) {
		*length = download_add_range(d, 0, d->st.size);
		return 0;
	}
	if (d->nranges == 1) {
		const struct range *g = &d->ranges[0];

		download_content_range(r, g, d->st.size);
		*length = download_add_range(d, g->first, g->last - g->first + 1);
		return 0;
	}
	id_new(boundary);
	snprintf(type, 80, "multipart/byteranges; boundary=%s", boundary);
	*length = download_plan_parts(d, boundary);
	return *length > 0 ? 0 : -1;
}

/* ---- sending a file ---- */

static void download_run_prefetch(struct files_job *j)
{
	struct download *d = (struct download *)j;
	struct download_piece *p = &d->pieces[d->piece];
	size_t n = p->left < DOWNLOAD_WINDOW ? (size_t)p->left : DOWNLOAD_WINDOW;

	fs_prefetch(d->fd, p->at, n);
	d->warm_from = p->at;
	d->warm_to = p->at + n;
}

static void download_end(struct download *d)
{
	stream_end(d->job.op.req);
	files_job_end(&d->job);
}

void download_abort(struct download *d)
{
	stream_abort(d->job.op.req);
	files_job_end(&d->job);
}

enum download_step { DOWNLOAD_MORE, DOWNLOAD_WAIT, DOWNLOAD_OVER };

static enum download_step download_send_text(struct download *d, struct download_piece *p)
{
	struct req *r = d->job.op.req;
	struct buf *out;

	if (stream_room(r) == 0)
		return DOWNLOAD_WAIT;
	out = stream_open(r);
	if (out == NULL)
		return DOWNLOAD_WAIT;
	if (buf_add(out, p->text, p->text_n) < 0) {
		download_abort(d);
		return DOWNLOAD_OVER;
	}
	stream_commit(r);
	d->piece++;
	return DOWNLOAD_MORE;
}

/* How much of the range is known to be in the page cache; looked up a window at a time. */
static size_t download_warm(struct download *d, const struct download_piece *p)
{
	size_t n = p->left < DOWNLOAD_WINDOW ? (size_t)p->left : DOWNLOAD_WINDOW;

	if (p->at >= d->warm_from && p->at < d->warm_to)
		return d->warm_to - p->at < n ? (size_t)(d->warm_to - p->at) : n;
	if (!fs_resident(d->fd, p->at, n))
		return 0;
	d->warm_from = p->at;
	d->warm_to = p->at + n;
	return n;
}

static enum download_step download_send_range(
	struct download *d, struct download_piece *p, size_t *budget)
{
	size_t n, sent;
	bool failed = false;

	if (p->left == 0) {
		d->piece++;
		return DOWNLOAD_MORE;
	}
	n = download_warm(d, p);
	if (n == 0) {
		d->job.run = download_run_prefetch;
		files_job_again(&d->job, work_submit);
		return DOWNLOAD_OVER;
	}
	sent = stream_file(d->job.op.req, d->fd, &p->at, n < *budget ? n : *budget, &failed);
	if (failed) {
		download_abort(d);
		return DOWNLOAD_OVER;
	}
	if (sent == 0)
		return DOWNLOAD_WAIT;
	p->left -= sent;
	*budget -= sent;
	return DOWNLOAD_MORE;
}

static void download_pump(struct download *d)
{
	size_t budget = DOWNLOAD_TURN;

	while (d->piece < d->npieces) {
		struct download_piece *p = &d->pieces[d->piece];
		enum download_step step = p->text != NULL ? download_send_text(d, p)
							  : download_send_range(d, p, &budget);

		if (step != DOWNLOAD_MORE)
			return;
		if (budget == 0) {
			loop_defer_bulk(d->job.app->loop, &d->again);
			return;
		}
	}
	download_end(d);
}

/* ---- sending what is read ---- */

/* Sends what was read; then reads on. */
static void download_pump_read(struct download *d)
{
	struct req *r = d->job.op.req;
	struct buf *from = &d->job.body, *out;

	while (buf_len(from) > 0) {
		size_t room = stream_room(r), n = buf_len(from) < room ? buf_len(from) : room;

		if (room == 0 || (out = stream_open(r)) == NULL)
			return;
		if (buf_add(out, buf_data(from), n) < 0) {
			download_abort(d);
			return;
		}
		stream_commit(r);
		stream_flush(r);
		buf_drain(from, n);
	}
	buf_clear(from);
	if (d->at_end) {
		download_end(d);
		return;
	}
	d->job.run = download_run_next;
	files_job_again(&d->job, work_submit_bulk);
}

void download_go_on(struct download *d)
{
	if (d->job.busy)
		return;
	if (d->reading)
		download_pump_read(d);
	else
		download_pump(d);
}

/* What was read on the disk thread already. */
void download_send_small(struct download *d)
{
	struct buf *out = stream_open(d->job.op.req);

	if (out == NULL)
		return;
	if (buf_add(out, buf_data(&d->job.body), buf_len(&d->job.body)) < 0) {
		download_abort(d);
		return;
	}
	stream_commit(d->job.op.req);
	download_end(d);
}
