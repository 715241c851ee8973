/*
 * What the tests of the hub share: a loop with a disk pool and a directory, a hub in it, and
 * readers that check all they get against a naive model which keeps everything.
 */
#ifndef BOXD_TEST_OUTHUB_HELPERS_H
#define BOXD_TEST_OUTHUB_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/svc/outhub_internal.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/outhub.h"

enum { RIG_PATIENCE_MS = 20000, RIG_PAGE = 4096, RIG_MEMORY = 65536, RIG_LOG = 262144 };

struct rig {
	struct loop *loop;
	struct work_pool *pool;
	char path[32];
	int dir;
	int fds; /* open before the test */
	struct outhub *hub;
	unsigned paced;
	void (*on_pace)(struct rig *r);
	/* The model: all bytes that were ever appended, and the stream of each. */
	uint8_t *bytes, *streams;
	size_t n, cap;
	uint32_t random;
};

struct observer {
	struct rig *rig;
	struct outhub_reader *rd;
	unsigned ready; /* calls of on_ready */
	bool waits;
	uint64_t begin, at, bound;
	uint64_t data, gaps;
	unsigned gap_events, runs;
	enum outhub_read last;
	void (*on_ready)(struct observer *o);
};

static struct rig rig;

static inline uint32_t rig_random(struct rig *r, uint32_t below)
{
	r->random = r->random * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)r->random * below) >> 32);
}

static inline int rig_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static inline void rig_limit(enum limit l, int64_t v)
{
	assert_true(limit_set(l, v));
}

static int rig_setup(void **state)
{
	struct err e = {0};

	memset(&rig, 0, sizeof(rig));
	for (int i = 0; i < LIMIT_COUNT_; i++)
		rig_limit((enum limit)i, limit_rows[i].def);
	rig_limit(LIMIT_HUB_SEGMENT_BYTES, RIG_PAGE);
	rig_limit(LIMIT_HUB_MEMORY_BYTES, RIG_MEMORY);
	rig_limit(LIMIT_HUB_LOG_BYTES, RIG_LOG);
	rig_limit(LIMIT_WORK_THREADS, 1);
	rig.random = 1;
	rig.fds = rig_fds();
	rig.loop = loop_new(&e);
	assert_non_null(rig.loop);
	rig.pool = work_pool_new(rig.loop, &e);
	assert_non_null(rig.pool);
	strcpy(rig.path, "outhub-XXXXXX");
	assert_non_null(mkdtemp(rig.path));
	rig.dir = open(rig.path, O_DIRECTORY | O_CLOEXEC);
	assert_true(rig.dir >= 0);
	*state = &rig;
	return 0;
}

static int rig_teardown(void **state)
{
	(void)state;
	clock_fake(-1, -1);
	work_pool_free(rig.pool);
	loop_free(rig.loop);
	close(rig.dir);
	free(rig.bytes);
	free(rig.streams);
	/* Nothing may be left in it. */
	assert_int_equal(rmdir(rig.path), 0);
	assert_int_equal(rig_fds(), rig.fds);
	return 0;
}

static void rig_on_pace(void *arg)
{
	struct rig *r = arg;

	r->paced++;
	if (r->on_pace != NULL)
		r->on_pace(r);
}

static inline void rig_hub(struct rig *r, bool disk)
{
	r->hub = outhub_new(r->loop, disk ? r->pool : NULL, disk ? r->dir : -1, rig_on_pace, r);
	assert_non_null(r->hub);
}

/* ---- turns of the loop ---- */

static inline void rig_on_stop(void *arg)
{
	loop_stop(arg);
}

static inline void rig_turn(struct rig *r)
{
	struct loop_deferred stop;

	loop_deferred_init(&stop, rig_on_stop, r->loop);
	loop_defer(r->loop, &stop);
	assert_int_equal(loop_run(r->loop), 0);
}

/* A job that occupies the only disk thread until it is let go, and one that stops the loop. */
struct rig_job {
	struct work work;
	struct rig *rig;
	sem_t begun, go;
	bool done;
};

static void rig_job_run(struct work *w)
{
	struct rig_job *job = (struct rig_job *)w;

	sem_post(&job->begun);
	sem_wait(&job->go);
}

static void rig_job_done(struct work *w)
{
	struct rig_job *job = (struct rig_job *)w;

	job->done = true;
	loop_stop(job->rig->loop);
}

static inline void rig_job_start(struct rig *r, struct rig_job *job, bool hold)
{
	struct err e = {0};

	memset(job, 0, sizeof(*job));
	job->rig = r;
	job->work.run = rig_job_run;
	job->work.done = rig_job_done;
	sem_init(&job->begun, 0, 0);
	sem_init(&job->go, 0, hold ? 0 : 1);
	assert_int_equal(work_submit(r->pool, &job->work, &e), 0);
}

/* The disk stands still until rig_disk_go(). */
static inline void rig_disk_hold(struct rig *r, struct rig_job *job)
{
	rig_job_start(r, job, true);
	sem_wait(&job->begun);
}

static inline void rig_disk_go(struct rig_job *job)
{
	sem_post(&job->go);
	while (!job->done)
		assert_int_equal(loop_run(job->rig->loop), 0);
}

/* Until all jobs so far are done, with what follows from them: the pool has one thread. */
static inline void rig_disk_sync(struct rig *r)
{
	struct rig_job job;

	rig_job_start(r, &job, false);
	while (!job.done)
		assert_int_equal(loop_run(r->loop), 0);
	rig_turn(r);
}

/* Until the hub has no more to write. */
static inline void rig_settle(struct rig *r)
{
	for (int i = 0; i < 1000; i++) {
		rig_disk_sync(r);
		if (!outhub_spill_writing(r->hub))
			return;
	}
	fail_msg("the hub writes for ever");
}

/* ---- appending, with the model ---- */

static inline void rig_note(struct rig *r, enum outhub_stream s, const uint8_t *data, size_t n)
{
	while (r->n + n > r->cap) {
		r->cap = r->cap == 0 ? 65536 : r->cap * 2;
		r->bytes = realloc(r->bytes, r->cap);
		r->streams = realloc(r->streams, r->cap);
		assert_non_null(r->bytes);
		assert_non_null(r->streams);
	}
	memcpy(r->bytes + r->n, data, n);
	memset(r->streams + r->n, (int)s, n);
	r->n += n;
}

static inline void rig_append_bytes(struct rig *r, enum outhub_stream s, const void *data, size_t n)
{
	rig_note(r, s, data, n);
	outhub_append(r->hub, s, data, n);
	assert_int_equal(outhub_total(r->hub), r->n);
}

static inline void rig_append_text(struct rig *r, enum outhub_stream s, const char *text)
{
	rig_append_bytes(r, s, text, strlen(text));
}

/* n bytes that no other place in the log has. */
static inline void rig_append(struct rig *r, enum outhub_stream s, size_t n)
{
	uint8_t *data = malloc(n + 1);

	assert_non_null(data);
	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)(rig_random(r, 256));
	rig_append_bytes(r, s, data, n);
	free(data);
}

/* In pieces that a pipe gives, with turns of the loop between them. */
static inline void rig_flood(struct rig *r, size_t n)
{
	for (size_t i = 0; i < n; i += 4000) {
		rig_append(r, OUTHUB_STDOUT, 1500);
		rig_append(r, OUTHUB_STDERR, 2500);
		rig_turn(r);
	}
}

/* ---- observers ---- */

static void observer_on_ready(void *arg)
{
	struct observer *o = arg;

	assert_true(o->waits);
	o->waits = false;
	o->ready++;
	if (o->on_ready != NULL)
		o->on_ready(o);
}

static inline void observer_attach(
	struct observer *o, struct rig *r, uint64_t offset, uint64_t bound)
{
	*o = (struct observer){.rig = r, .on_ready = o->on_ready};
	o->rd = outhub_attach(r->hub, offset, bound, observer_on_ready, o);
	assert_non_null(o->rd);
	o->begin = o->at = offset < r->n ? offset : r->n;
	o->bound = bound;
	assert_int_equal(outhub_reader_offset(o->rd), o->at);
}

static inline void observer_detach(struct observer *o)
{
	outhub_detach(o->rd);
	o->rd = NULL;
}

/* Reads once and holds the answer against the model. */
static inline enum outhub_read observer_read(struct observer *o, size_t max)
{
	struct rig *r = o->rig;
	struct outhub_run run;

	o->last = outhub_read(o->rd, max, &run);
	o->waits = o->last == OUTHUB_WAIT;
	if (o->last == OUTHUB_GAP) {
		assert_true(run.gap > 0);
		assert_int_equal(run.offset, o->at + run.gap);
		o->at = run.offset;
		o->gaps += run.gap;
		o->gap_events++;
	} else if (o->last == OUTHUB_DATA) {
		assert_int_equal(run.offset, o->at);
		assert_true(run.n > 0 && run.n <= max && run.offset + run.n <= r->n);
		assert_memory_equal(run.data, r->bytes + run.offset, run.n);
		for (size_t i = 0; i < run.n; i++)
			assert_int_equal(r->streams[run.offset + i], run.stream);
		o->at += run.n;
		o->data += run.n;
		o->runs++;
	}
	if (o->last != OUTHUB_GONE)
		assert_int_equal(outhub_reader_offset(o->rd), o->at);
	return o->last;
}

/* Reads on, with turns of the loop while it waits for the disk, until it ends or has all there is.
 */
static inline void observer_drain(struct observer *o, size_t max)
{
	int64_t end = clock_mono_ms() + RIG_PATIENCE_MS;

	for (;;) {
		enum outhub_read res = observer_read(o, max);

		if (res == OUTHUB_END || res == OUTHUB_GONE)
			break;
		if (res != OUTHUB_WAIT)
			continue;
		if (o->at == o->rig->n)
			break;
		while (o->waits) {
			rig_disk_sync(o->rig);
			assert_true(clock_mono_ms() < end);
		}
	}
	assert_int_equal(o->data + o->gaps, o->at - o->begin);
}

/* A new reader from offset on gets all that is kept; returns the bytes it did not get. */
static inline uint64_t rig_replay(struct rig *r, uint64_t offset)
{
	struct observer o = {0};

	observer_attach(&o, r, offset, r->n);
	observer_drain(&o, 1 << 20);
	assert_int_equal(o.at, r->n);
	observer_detach(&o);
	return o.gaps;
}

static inline void rig_hub_end(struct rig *r)
{
	outhub_free(r->hub);
	r->hub = NULL;
	rig_disk_sync(r);
}

#endif
