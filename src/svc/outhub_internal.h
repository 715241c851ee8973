/*
 * What the files of the hub share: outhub.c (readers, pace), outhub_store.c (the log as a row of
 * segments), outhub_page.c (the bytes and records of one segment), outhub_spill.c (the file) and
 * outhub_load.c (reading it).
 * For them and their tests only.
 */
#ifndef BOXD_OUTHUB_INTERNAL_H
#define BOXD_OUTHUB_INTERNAL_H

#include <assert.h>
#include <sys/types.h>

#include "boxd/limits.h"
#include "boxd/outhub.h"

/* ---- where lines begin ---- */

/*
 * For each stream the offset at which the line that is not complete began. After a CR at the very
 * end it is not known yet whether an LF belongs to it: then it is the offset of that CR, marked, so
 * that whoever cuts again from there takes both as one terminator.
 */
struct outhub_lines {
	uint64_t start[OUTHUB_STREAMS];
};

#define OUTHUB_AT_CR   (UINT64_C(1) << 63)
#define OUTHUB_NO_LINE UINT64_MAX /* every line so far is complete; has the mark's bit too */

/* Moves on over n > 0 bytes of stream s that stand at offset base. */
void outhub_lines_feed(struct outhub_lines *l, enum outhub_stream s, uint64_t base,
	const uint8_t *data, size_t n) __attribute__((nonnull));

/* ---- pages (outhub_page.c) ---- */

struct outhub_record {
	uint32_t begin;  /* of its bytes in the page; they end where the next record's begin */
	uint32_t stream; /* enum outhub_stream */
	int64_t time_ms;
	struct outhub_lines lines; /* before its first byte */
};

/*
 * Bytes grow from the front of data, records from its back, so one allocation and one write hold
 * both. References are counted on the loop thread only: a disk job holds one, and a page that is in
 * a job does not change any more.
 */
struct outhub_page {
	uint32_t refs;
	uint32_t cap; /* of data, a multiple of 8 */
	uint32_t len;
	uint32_t records;
	uint8_t data[];
};

static_assert(sizeof(struct outhub_record) == 32, "the cost of a record");
static_assert(offsetof(struct outhub_page, data) % _Alignof(struct outhub_record) == 0,
	"records are aligned");

struct outhub_page *outhub_page_new(size_t cap) __attribute__((warn_unused_result));
void outhub_page_unref(struct outhub_page *p);

/*
 * Appends as much of data as a page of at most max bytes can take, as part of the last record when
 * stream and time are the same. Returns the number of bytes taken, 0 when the page is full, -1 when
 * memory is out. The page may move.
 */
ssize_t outhub_page_push(struct outhub_page **pp, size_t max, const struct outhub_record *rec,
	const uint8_t *data, size_t n) __attribute__((warn_unused_result, nonnull));

/* Gives back what was kept for growth. */
void outhub_page_trim(struct outhub_page **pp) __attribute__((nonnull));

/* The record that contains byte at < len; *end is where its bytes end. */
const struct outhub_record *outhub_page_find(
	const struct outhub_page *p, uint32_t at, uint32_t *end) __attribute__((nonnull));

/* Does a page that came from the disk make sense? What it says is used as an index. */
bool outhub_page_check(const struct outhub_page *p) __attribute__((nonnull));

static inline size_t outhub_page_memory(const struct outhub_page *p)
{
	return sizeof(*p) + p->cap;
}

static inline size_t outhub_page_used(const struct outhub_page *p)
{
	return p->len + (size_t)p->records * sizeof(struct outhub_record);
}

/* ---- the hub ---- */

struct outhub_segment {
	uint64_t start;            /* offset of its first byte */
	uint64_t used_before;      /* h->used when it was opened */
	struct outhub_lines lines; /* before its first byte */
	struct outhub_page *page;  /* NULL: in the file only */
	uint64_t slot;             /* in the file, or on the way there; OUTHUB_NO_SLOT */
	uint32_t len;              /* bytes of output */
	uint32_t size, records;    /* of the page, once it is closed */
};

#define OUTHUB_NO_SLOT UINT64_MAX

TAILQ_HEAD(outhub_readers, outhub_reader);

struct outhub_reader {
	TAILQ_ENTRY(outhub_reader) link;
	struct outhub_readers *list; /* the one list it is on; NULL when the hub is gone */
	struct outhub *hub;          /* NULL when it was freed */
	void (*on_ready)(void *arg);
	void *arg;
	uint64_t offset;
	uint64_t bound;
	uint64_t seen;                        /* h->version when it began to wait at the end */
	uint64_t load_id;                     /* the loaded copy it reads from, 0: none */
	TAILQ_ENTRY(outhub_reader) heir_link; /* tqe_prev is not NULL: waits to be the owner */
};

struct outhub {
	struct loop *loop;
	struct work_pool *pool;
	void (*on_pace)(void *arg);
	void *pace_arg;
	struct loop_deferred turn; /* calls readers, or releases the hub after outhub_free() */
	struct loop_deferred pace;

	/*
	 * The log: segs[first .. first + count), by offset. What lies between two of them was
	 * dropped. The last `resident_count` have their page in memory, those before them are in
	 * the file.
	 */
	struct outhub_segment *segs;
	uint32_t first, count, cap, resident_count;
	uint64_t total;
	uint64_t bytes[OUTHUB_STREAMS];
	uint64_t lost;
	uint64_t used;    /* ever appended, bytes and records: what the log costs */
	size_t resident;  /* memory of the pages */
	uint64_t on_disk; /* of the segments in the file */
	struct outhub_lines lines;
	struct outhub_spill *spill; /* NULL until something is spilled */
	struct outhub_loads *loads; /* NULL until something is read back */

	struct outhub_readers idle;    /* the caller's turn to read */
	struct outhub_readers waiting; /* at the end of the log, longest wait first */
	uint64_t version;              /* counts what those who wait want to hear of */
	struct outhub_reader *owner;
	struct outhub_readers heirs;
	uint64_t finish_at;

	int spill_dir;
	size_t keep;     /* of outhub_keep(); 0: as the limits say */
	uint8_t tail[3]; /* the last bytes of the log */
	uint8_t tail_n;
	bool open; /* the last segment can grow */
	bool finished, sealed, ended;
	bool owner_waits, disk_waits;
};

/* Recomputes outhub_must_wait() and has on_pace called when it changed. */
void outhub_update_pace(struct outhub *h) __attribute__((nonnull));

/* Makes list the one that rd is on, at its end. */
void outhub_reader_move(struct outhub_reader *rd, struct outhub_readers *list)
	__attribute__((nonnull));

/* ---- segments (outhub_store.c) ---- */

/* Largest page: a few of them have to fit into each of the budgets. */
size_t outhub_store_page_max(const struct outhub *h) __attribute__((nonnull));

/* How much of the log may be in memory, and in all. */
static inline size_t outhub_memory_max(const struct outhub *h)
{
	return h->keep > 0 ? h->keep : limit_size(LIMIT_HUB_MEMORY_BYTES);
}

static inline size_t outhub_log_max(const struct outhub *h)
{
	return h->keep > 0 ? h->keep : limit_size(LIMIT_HUB_LOG_BYTES);
}

/* How many segments begin at or before offset: the last of them is the one that may contain it. */
size_t outhub_store_upto(const struct outhub *h, uint64_t offset) __attribute__((nonnull));

static inline struct outhub_segment *outhub_store_segment(const struct outhub *h, size_t i)
{
	assert(i < h->count);
	return &h->segs[h->first + i];
}

/* The segment that contains offset, or NULL and *next is where the log goes on. */
struct outhub_segment *outhub_store_at(const struct outhub *h, uint64_t offset, uint64_t *next)
	__attribute__((nonnull));

/* The segment that begins at start, SIZE_MAX when it was dropped. */
size_t outhub_store_index(const struct outhub *h, uint64_t start) __attribute__((nonnull));

/*
 * Has the owner still to read some of it? Then it is neither dropped nor lost: the process waits
 * for the owner, so all that is protected is its window and one read of a pipe.
 */
bool outhub_store_protected(const struct outhub *h, const struct outhub_segment *seg)
	__attribute__((nonnull));

/* Appends; what does not fit into memory is lost, and all is counted. */
void outhub_store_append(struct outhub *h, enum outhub_stream s, const uint8_t *data, size_t n)
	__attribute__((nonnull));

/* The last segment does not grow any more. */
void outhub_store_close(struct outhub *h) __attribute__((nonnull));

/* Removes segment i, wherever it is. */
void outhub_store_drop(struct outhub *h, size_t i) __attribute__((nonnull));

/* The same, and counts it as lost. */
void outhub_store_lose(struct outhub *h, size_t i) __attribute__((nonnull));

/* Segment i is in the file now: gives back its page. */
void outhub_store_spilled(struct outhub *h, size_t i) __attribute__((nonnull));

/* Keeps memory and log inside their limits: spills, and drops what is too old. */
void outhub_store_balance(struct outhub *h) __attribute__((nonnull));

/* What the log costs from the segment on that contains offset. */
uint64_t outhub_store_used_since(const struct outhub *h, uint64_t offset) __attribute__((nonnull));

/* ---- the spill file (outhub_spill.c) ---- */

/* References are counted on the loop thread; jobs hold one. The first write job opens it. */
struct outhub_file {
	unsigned refs;
	int fd;
	size_t slot_bytes;
	uint64_t slots;
};

static inline uint64_t outhub_file_place(const struct outhub_file *f, uint64_t slot)
{
	return slot % f->slots * f->slot_bytes;
}

/* On a worker thread. -1 with errno when there are not n bytes at that place. */
int outhub_file_read(const struct outhub_file *f, uint8_t *data, size_t n, uint64_t at)
	__attribute__((warn_unused_result, nonnull));

void outhub_file_unref(struct outhub_file *f);

/* The file of a hub that has spilled something. */
struct outhub_file *outhub_spill_file(const struct outhub *h) __attribute__((nonnull));

/* Is there a disk to spill to, for all that is known? */
bool outhub_spill_usable(const struct outhub *h) __attribute__((nonnull));

/* Is a write under way? */
bool outhub_spill_writing(const struct outhub *h) __attribute__((nonnull));

/*
 * Begins to write the oldest closed pages, as many as memory is over its limit; a write under way
 * goes on to the next ones by itself. False when that was not possible.
 */
bool outhub_spill_write(struct outhub *h) __attribute__((nonnull));

/* n bytes were dropped since the disk failed: after some of them it is tried again. */
void outhub_spill_skipped(struct outhub *h, size_t n) __attribute__((nonnull));

size_t outhub_spill_memory(const struct outhub *h) __attribute__((nonnull));

/* Lets go of the job in flight, which ends on its own. */
void outhub_spill_abandon(struct outhub *h) __attribute__((nonnull));
void outhub_spill_free(struct outhub *h) __attribute__((nonnull));

/* ---- loaded copies (outhub_load.c) ---- */

/*
 * The page of a segment in the file. 1: here it is; 0: it is being read, or will be, and rd waits;
 * -1: it cannot be read now.
 */
int outhub_load_fetch(struct outhub *h, struct outhub_reader *rd, const struct outhub_segment *seg,
	const struct outhub_page **page) __attribute__((warn_unused_result, nonnull));

/* rd reads elsewhere now: drops the loaded copy it was the last reader of. */
void outhub_load_leave(struct outhub *h, struct outhub_reader *rd) __attribute__((nonnull));

/* The segment at start leaves the log, and its copy with it. */
void outhub_load_forget(struct outhub *h, uint64_t start) __attribute__((nonnull));

/* The next reader to call because its page is there or can be asked for, or NULL. */
struct outhub_reader *outhub_load_due(struct outhub *h) __attribute__((nonnull));

/* No reader is due in this turn: should one in the queue be, before long? */
void outhub_load_on_turn(struct outhub *h) __attribute__((nonnull));

size_t outhub_load_memory(const struct outhub *h) __attribute__((nonnull));

/* Moves all readers that wait for the disk to list. */
void outhub_load_take_readers(struct outhub *h, struct outhub_readers *list)
	__attribute__((nonnull));

/* Lets go of the jobs in flight, which end on their own. */
void outhub_load_abandon(struct outhub *h) __attribute__((nonnull));
void outhub_load_free(struct outhub *h) __attribute__((nonnull));

#endif
