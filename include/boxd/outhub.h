/*
 * outhub: one process writes, many clients read (DESIGN 3.3).
 *
 * The output of a command lives once, as records (stream, offset, time, bytes) in segments: the
 * newest in memory, older ones in an unlinked spill file, the oldest dropped. An offset counts the
 * bytes of both streams in the order they were read. A reader is an offset. It costs nothing while
 * it waits; when it falls off the tail it gets one gap with the byte count. One reader may be the
 * owner: when it lags by more than LIMIT_HUB_OWNER_WINDOW_BYTES the hub asks the writer to pause;
 * no other reader can.
 */
#ifndef BOXD_OUTHUB_H
#define BOXD_OUTHUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "boxd/err.h"
#include "boxd/loop.h"
#include "boxd/work.h"

struct outhub;
struct outhub_reader;

enum outhub_stream { OUTHUB_STDOUT, OUTHUB_STDERR, OUTHUB_STREAMS };

/*
 * on_pace(arg) is called from the loop (deferred, never from inside outhub_append()) when
 * outhub_must_wait() changed; it asks again which way, for it may have changed back. NULL is fine.
 * spill_dir: a descriptor of the state directory, borrowed until the pool is freed, -1: no spill
 * file. Work goes to the pool, which may be NULL with spill_dir -1. NULL when memory is out.
 */
struct outhub *outhub_new(struct loop *l, struct work_pool *pool, int spill_dir,
	void (*on_pace)(void *arg), void *arg) __attribute__((warn_unused_result, nonnull(1)));

/*
 * Ends all readers first: on_ready of those that wait is called from here, and all see OUTHUB_GONE
 * when they read next. Each still has to be detached. May be called from any callback of this hub:
 * the memory goes later in the turn. Disk jobs in flight finish on their own. NULL is fine.
 */
void outhub_free(struct outhub *h);

/*
 * Appends what was read from a pipe, with the time it is now. What cannot be kept (memory) is
 * counted as lost: readers get it as a gap; the total advances all the same. Not after
 * outhub_seal().
 */
void outhub_append(struct outhub *h, enum outhub_stream s, const uint8_t *data, size_t n)
	__attribute__((nonnull));

/*
 * Should the writer stop reading the pipe? While the owner lags, or while the spill
 * file's disk cannot follow (a command then waits for the disk, as with `command > file`).
 */
bool outhub_must_wait(const struct outhub *h) __attribute__((nonnull));

/*
 * The output that belongs to the run ends here: readers that follow get OUTHUB_END at this
 * offset. Bytes appended later (by descendants that kept the pipe) are in the log only: for
 * readers with a bound.
 */
void outhub_finish(struct outhub *h) __attribute__((nonnull));
bool outhub_finished(const struct outhub *h);

/*
 * No more output comes: readers with a bound end at the total; followers still wait for the finish.
 * Gives back what was kept for growth.
 */
void outhub_seal(struct outhub *h) __attribute__((nonnull));

uint64_t outhub_total(const struct outhub *h);  /* offset after the newest byte */
uint64_t outhub_oldest(const struct outhub *h); /* offset of the oldest byte kept */
/* Ever appended to one stream. */
uint64_t outhub_bytes(const struct outhub *h, enum outhub_stream s);
size_t outhub_memory(const struct outhub *h); /* held in memory now */
uint64_t outhub_disk(const struct outhub *h); /* held in the spill file now */
/* Dropped for want of memory or disk, not for age. Without a spill file, age is all there is. */
uint64_t outhub_lost(const struct outhub *h);

/*
 * The first kept byte at or after offset (the total when there is none), and the end of the
 * unbroken run of kept bytes that begins there: a full disk leaves gaps in the middle of a log.
 */
uint64_t outhub_kept_from(const struct outhub *h, uint64_t offset) __attribute__((nonnull));
uint64_t outhub_kept_until(const struct outhub *h, uint64_t offset) __attribute__((nonnull));

/* How many bytes at the end of the log are an incomplete UTF-8 sequence (0..3). See utf8. */
size_t outhub_utf8_tail(const struct outhub *h);

/* ---- readers ---- */

enum outhub_read {
	OUTHUB_DATA, /* *out is a run of one stream */
	OUTHUB_GAP,  /* out->gap bytes were dropped before out->offset; reading goes on there */
	OUTHUB_WAIT, /* nothing now: on_ready will be called */
	OUTHUB_END,  /* everything up to the finish (or the bound) was read */
	OUTHUB_GONE  /* the hub was freed */
};

struct outhub_run {
	enum outhub_stream stream;
	uint64_t offset;     /* of data[0] */
	const uint8_t *data; /* valid until the next call on this hub or the end of the callback */
	size_t n;
	int64_t time_ms; /* Unix time at which it was read */
	uint64_t gap;    /* with OUTHUB_GAP */
};

/*
 * Attaches a reader at an offset (before the oldest kept byte: the first read is a gap; beyond the
 * total: the total). `bound`: read up to this offset and no further, waiting for it beyond the
 * finish too; OUTHUB_FOLLOW: up to the finish.
 * on_ready(arg) is called from the loop, once, after outhub_read() said OUTHUB_WAIT and there may
 * be more. It may do anything, also detach this or other readers and free the hub.
 * NULL when memory is out.
 */
#define OUTHUB_FOLLOW UINT64_MAX
struct outhub_reader *outhub_attach(struct outhub *h, uint64_t offset, uint64_t bound,
	void (*on_ready)(void *arg), void *arg) __attribute__((warn_unused_result, nonnull(1, 4)));
/* Also after the hub was freed. NULL is fine. */
void outhub_detach(struct outhub_reader *rd);

/* This reader, and no other, paces the process from now on; detaching ends that. */
void outhub_set_owner(struct outhub_reader *rd) __attribute__((nonnull));
/* The same, but only after those who pace it now, or wait for that, in the order of the calls. */
void outhub_queue_owner(struct outhub_reader *rd) __attribute__((nonnull));
/* It does no longer, and goes on as an observer. One that is not the owner is fine. */
void outhub_drop_owner(struct outhub_reader *rd) __attribute__((nonnull));

/*
 * Keeps at most this much in all, without a spill file, instead of LIMIT_HUB_MEMORY_BYTES and
 * LIMIT_HUB_LOG_BYTES. Before the first byte.
 */
void outhub_keep(struct outhub *h, size_t bytes) __attribute__((nonnull));

/*
 * The next run, at most max > 0 bytes. The reader's offset advances past it. What is dropped for
 * want of memory while it is read back from the disk is a gap for this reader only.
 */
enum outhub_read outhub_read(struct outhub_reader *rd, size_t max, struct outhub_run *out)
	__attribute__((warn_unused_result, nonnull));

/*
 * Gives back the last n bytes of the run that outhub_read() returned last: they are read again.
 * Before anything else is done with the reader; nothing happens when the hub is gone.
 */
void outhub_unread(struct outhub_reader *rd, size_t n) __attribute__((nonnull));

/* Moves the bound; a reader that has passed it is at its end. */
void outhub_set_bound(struct outhub_reader *rd, uint64_t bound) __attribute__((nonnull));

uint64_t outhub_reader_offset(const struct outhub_reader *rd);

/*
 * Where a reader that resumes after `offset` has to begin so that no line is cut: for each stream
 * the offset of the first byte of the line that was incomplete at `offset` (== offset when none
 * was). See linecut. It may be earlier, at another beginning of a line (or at a CR that ends one
 * and may be half of a terminator): who cuts again from there leaves out the lines that end at or
 * before `offset`. Clamped to what is kept.
 */
void outhub_line_starts(
	const struct outhub *h, uint64_t offset, uint64_t starts[static OUTHUB_STREAMS]);

#endif
