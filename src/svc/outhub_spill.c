/*
 * outhub_spill: the unlinked file that holds what memory does not.
 *
 * The file is a ring of slots of one page each. Pages go there oldest first, so the slots in use
 * are one window of the ring; when it has gone round, the oldest segment makes room. One write job
 * at a time takes a few pages. It holds references to them and to the file: it can end after the
 * hub, and until it has ended readers go on reading the pages in memory. After an error the hub
 * lives with its memory, and tries the disk again when it has dropped some more.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "outhub_internal.h"

enum {
	OUTHUB_BATCH = 8, /* pages in one write job */
	OUTHUB_NAMES = 16 /* attempts to find a free name where O_TMPFILE is missing */
};

struct outhub_write_item {
	uint64_t start; /* of the segment */
	uint64_t at;    /* in the file */
	struct outhub_page *page;
};

/* `hub` is for done() only, which runs on the loop: NULL when the hub is gone. */
struct outhub_write_job {
	struct work work;
	struct outhub *hub;
	struct outhub_file *file;
	int dir;
	int error;  /* of the page after the last that was written; 0: all were */
	unsigned n; /* pages */
	unsigned written;
	struct outhub_write_item items[OUTHUB_BATCH];
};

struct outhub_spill {
	struct outhub_file *file;
	uint64_t next_slot; /* counts up, round and round the file */
	struct outhub_write_job *writing;
	size_t skip; /* after an error: bytes to drop before the next attempt */
	bool logged;
};

/* ---- the file, on worker threads ---- */

/* For file systems without O_TMPFILE. The name is gone again before anything is written. */
static int outhub_file_open_named(int dir)
{
	for (int i = 0; i < OUTHUB_NAMES; i++) {
		char name[64];
		int fd;

		snprintf(name, sizeof(name), ".boxd-spill-%ld-%" PRId64 "-%d", (long)getpid(),
			clock_mono_us(), i);
		fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd >= 0)
			unlinkat(dir, name, 0);
		return fd;
	}
	return -1;
}

static int outhub_file_open(int dir)
{
	/* O_EXCL: nobody can give it a name later. */
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

	return fd >= 0 ? fd : outhub_file_open_named(dir);
}

static int outhub_file_write(int fd, const uint8_t *data, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t rc = pwrite(fd, data, n, (off_t)at);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc == 0)
			errno = EIO;
		if (rc <= 0)
			return -1;
		data += rc;
		n -= (size_t)rc;
		at += (uint64_t)rc;
	}
	return 0;
}

int outhub_file_read(const struct outhub_file *f, uint8_t *data, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t rc = pread(f->fd, data, n, (off_t)at);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc == 0)
			errno = EIO; /* shorter than what was written */
		if (rc <= 0)
			return -1;
		data += rc;
		n -= (size_t)rc;
		at += (uint64_t)rc;
	}
	return 0;
}

static void outhub_write_run(struct work *w)
{
	struct outhub_write_job *job = (struct outhub_write_job *)w;

	if (job->file->fd < 0)
		job->file->fd = outhub_file_open(job->dir);
	if (job->file->fd < 0) {
		job->error = errno;
		return;
	}
	for (; job->written < job->n; job->written++) {
		const struct outhub_write_item *it = &job->items[job->written];

		if (atomic_load(&w->cancelled))
			return;
		if (outhub_file_write(job->file->fd, it->page->data, it->page->cap, it->at) < 0) {
			job->error = errno;
			return;
		}
	}
	job->error = 0;
}

/* ---- the hub's part ---- */

void outhub_file_unref(struct outhub_file *f)
{
	if (f == NULL || --f->refs > 0)
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

static struct outhub_spill *outhub_spill_new(const struct outhub *h)
{
	struct outhub_spill *sp = calloc(1, sizeof(*sp));

	if (sp == NULL)
		return NULL;
	sp->file = malloc(sizeof(*sp->file));
	if (sp->file == NULL) {
		free(sp);
		return NULL;
	}
	*sp->file = (struct outhub_file){
		.refs = 1,
		.fd = -1,
		.slot_bytes = outhub_store_page_max(h),
	};
	sp->file->slots = outhub_log_max(h) / sp->file->slot_bytes;
	return sp;
}

bool outhub_spill_usable(const struct outhub *h)
{
	return h->spill_dir >= 0 && h->pool != NULL && (h->spill == NULL || h->spill->skip == 0);
}

bool outhub_spill_writing(const struct outhub *h)
{
	return h->spill != NULL && h->spill->writing != NULL;
}

void outhub_spill_skipped(struct outhub *h, size_t n)
{
	h->spill->skip -= n < h->spill->skip ? n : h->spill->skip;
}

struct outhub_file *outhub_spill_file(const struct outhub *h)
{
	return h->spill->file;
}

/* ---- writing ---- */

static void outhub_write_free(struct outhub_write_job *job)
{
	for (unsigned i = 0; i < job->n; i++)
		outhub_page_unref(job->items[i].page);
	outhub_file_unref(job->file);
	free(job);
}

/* Says so once: a full disk would repeat itself for every page. */
static void outhub_write_failed(struct outhub *h, int error)
{
	struct outhub_spill *sp = h->spill;

	sp->skip = outhub_memory_max(h);
	if (sp->logged)
		return;
	sp->logged = true;
	log_warn("outhub", "cannot spill output, what memory does not hold is lost error=\"%s\"",
		err_strerror(error));
}

static void outhub_write_done(struct work *w)
{
	struct outhub_write_job *job = (struct outhub_write_job *)w;
	struct outhub *h = job->hub;

	if (h == NULL) {
		outhub_write_free(job);
		return;
	}
	h->spill->writing = NULL;
	for (unsigned i = 0; i < job->n; i++) {
		size_t at = outhub_store_index(h, job->items[i].start);

		if (at == SIZE_MAX)
			continue; /* too old by now */
		if (i < job->written) {
			outhub_store_spilled(h, at);
		} else {
			struct outhub_segment *seg = outhub_store_segment(h, at);

			seg->slot = OUTHUB_NO_SLOT;
		}
	}
	h->spill->next_slot -= job->n - job->written;
	if (job->written < job->n)
		outhub_write_failed(h, job->error);
	outhub_write_free(job);
	outhub_store_balance(h); /* after an error it drops what is too much */
	outhub_update_pace(h);
}

/*
 * The next slot of the ring, which the oldest segments have to leave when it has gone round.
 * OUTHUB_NO_SLOT when the owner has still to read what is there.
 */
static uint64_t outhub_spill_slot(struct outhub *h)
{
	struct outhub_spill *sp = h->spill;

	for (;;) {
		const struct outhub_segment *oldest = outhub_store_segment(h, 0);

		if (oldest->slot == OUTHUB_NO_SLOT ||
			sp->next_slot - oldest->slot < sp->file->slots)
			return sp->next_slot++;
		if (outhub_store_protected(h, oldest))
			return OUTHUB_NO_SLOT;
		outhub_store_drop(h, 0);
	}
}

/* Fills the job with what memory holds over its budget. The last segment stays while it grows. */
static void outhub_write_fill(struct outhub *h, struct outhub_write_job *job)
{
	size_t memory = h->resident;

	/* Never more than the ring has slots: it would push out what it writes itself. */
	while (job->n < OUTHUB_BATCH && job->n < h->spill->file->slots &&
		memory > outhub_memory_max(h)) {
		uint32_t left = h->resident_count - job->n;
		uint64_t slot;
		struct outhub_segment *seg;

		if (left <= (h->open ? 1U : 0U))
			break;
		slot = outhub_spill_slot(h); /* may move the segments */
		if (slot == OUTHUB_NO_SLOT)
			break;
		seg = outhub_store_segment(h, h->count - left);
		seg->slot = slot;
		seg->page->refs++;
		memory -= outhub_page_memory(seg->page);
		job->items[job->n++] = (struct outhub_write_item){
			.start = seg->start,
			.at = outhub_file_place(h->spill->file, slot),
			.page = seg->page,
		};
	}
}

static void outhub_write_take_back(struct outhub *h, struct outhub_write_job *job)
{
	for (unsigned i = 0; i < job->n; i++) {
		size_t at = outhub_store_index(h, job->items[i].start);
		struct outhub_segment *seg = outhub_store_segment(h, at);

		seg->slot = OUTHUB_NO_SLOT;
	}
	h->spill->next_slot -= job->n;
	outhub_write_free(job);
}

bool outhub_spill_write(struct outhub *h)
{
	struct outhub_write_job *job;
	struct err e = {0};

	if (outhub_spill_writing(h))
		return true;
	if (h->spill == NULL)
		h->spill = outhub_spill_new(h);
	job = calloc(1, sizeof(*job));
	if (h->spill == NULL || job == NULL) {
		free(job);
		return false;
	}
	job->work.run = outhub_write_run;
	job->work.done = outhub_write_done;
	job->hub = h;
	job->file = h->spill->file;
	job->file->refs++;
	job->dir = h->spill_dir;
	job->error = ECANCELED;
	outhub_write_fill(h, job);
	if (job->n == 0) {
		outhub_write_free(job);
		return true;
	}
	if (work_submit(h->pool, &job->work, &e) < 0) {
		outhub_write_take_back(h, job);
		return false;
	}
	h->spill->writing = job;
	return true;
}

size_t outhub_spill_memory(const struct outhub *h)
{
	const struct outhub_spill *sp = h->spill;

	if (sp == NULL)
		return 0;
	return sizeof(*sp) + sizeof(*sp->file) + (sp->writing != NULL ? sizeof(*sp->writing) : 0);
}

void outhub_spill_abandon(struct outhub *h)
{
	struct outhub_spill *sp = h->spill;

	if (sp == NULL || sp->writing == NULL)
		return;
	sp->writing->hub = NULL;
	work_cancel(&sp->writing->work);
	sp->writing = NULL;
}

void outhub_spill_free(struct outhub *h)
{
	if (h->spill == NULL)
		return;
	assert(h->spill->writing == NULL);
	outhub_file_unref(h->spill->file);
	free(h->spill);
	h->spill = NULL;
}
