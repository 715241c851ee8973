/* The hub and its spill file: nothing is lost on the way there and back, and a disk may fail. */
#include "outhub_helpers.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "boxd/log.h"

/* ---- seams: memory that runs out, a file system without O_TMPFILE ---- */

static long oom_after = -1; /* allocations granted before the ones that fail, -1: all */
static long oom_failures;   /* how many then fail */
static bool no_tmpfile;

void *__real_malloc(size_t n);
void *__real_calloc(size_t k, size_t n);
void *__real_realloc(void *p, size_t n);
int __real_openat(int dir, const char *path, int flags, ...);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t k, size_t n);
void *__wrap_realloc(void *p, size_t n);
int __wrap_openat(int dir, const char *path, int flags, ...);

static bool oom_now(void)
{
	if (oom_after < 0)
		return false;
	if (oom_after > 0) {
		oom_after--;
		return false;
	}
	if (--oom_failures == 0)
		oom_after = -1;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return oom_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t k, size_t n)
{
	return oom_now() ? NULL : __real_calloc(k, n);
}

void *__wrap_realloc(void *p, size_t n)
{
	return oom_now() ? NULL : __real_realloc(p, n);
}

int __wrap_openat(int dir, const char *path, int flags, ...)
{
	if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return __real_openat(dir, path, flags, 0600);
}

/* ---- there and back ---- */

static void spills_what_memory_does_not_hold_and_reads_it_back(void **state)
{
	(void)state;
	rig_hub(&rig, true);
	rig_flood(&rig, 200000);
	rig_settle(&rig);
	assert_in_range(outhub_memory(rig.hub), RIG_MEMORY / 2, RIG_MEMORY + 16384);
	assert_in_range(outhub_disk(rig.hub), 200000 - RIG_MEMORY, 200000);
	assert_int_equal(outhub_oldest(rig.hub), 0);
	assert_int_equal(outhub_lost(rig.hub), 0);
	assert_int_equal(rig_replay(&rig, 0), 0);
	assert_int_equal(rig_replay(&rig, 12345), 0);
	/* No loaded copy outlives its readers. */
	assert_in_range(outhub_memory(rig.hub), RIG_MEMORY / 2, RIG_MEMORY + 16384);
	rig_hub_end(&rig);
}

static void needs_no_o_tmpfile(void **state)
{
	(void)state;
	no_tmpfile = true;
	rig_hub(&rig, true);
	rig_flood(&rig, 200000);
	rig_settle(&rig);
	no_tmpfile = false;
	assert_int_equal(outhub_lost(rig.hub), 0);
	assert_int_equal(rig_replay(&rig, 0), 0);
	rig_hub_end(&rig);
	/* The teardown finds the directory empty. */
}

static void keeps_the_file_inside_the_log_limit(void **state)
{
	struct observer o = {0};
	struct stat st;

	(void)state;
	rig_hub(&rig, true);
	observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
	rig_flood(&rig, 2000000);
	rig_settle(&rig);
	assert_int_equal(fstat(outhub_spill_file(rig.hub)->fd, &st), 0);
	assert_in_range(st.st_size, RIG_LOG / 2, RIG_LOG);
	assert_int_equal(st.st_nlink, 0);
	assert_in_range(outhub_disk(rig.hub), 1, RIG_LOG);
	assert_in_range(outhub_total(rig.hub) - outhub_oldest(rig.hub), RIG_LOG - 16384, RIG_LOG);
	assert_int_equal(outhub_lost(rig.hub), 0);
	observer_drain(&o, 1 << 20);
	assert_int_equal(o.gap_events, 1);
	assert_int_equal(o.gaps, outhub_oldest(rig.hub));
	observer_detach(&o);
	rig_hub_end(&rig);
}

/* As after a lack of memory: then the log is made of more segments than the file has slots. */
static void the_file_goes_round_when_segments_are_small(void **state)
{
	static const struct {
		int64_t segment, log;
		size_t appended; /* at once, in segments of 500 bytes */
	} rows[] = {
		{RIG_PAGE, RIG_LOG, 4000},
		{16384, 98304, 30000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("row %zu\n", i);
		rig_limit(LIMIT_HUB_SEGMENT_BYTES, rows[i].segment);
		rig_limit(LIMIT_HUB_LOG_BYTES, rows[i].log);
		rig.n = 0;
		rig_hub(&rig, true);
		while (rig.n < 400000) {
			struct observer o = {0};

			for (size_t n = 0; n < rows[i].appended; n += 500) {
				rig_append(&rig, OUTHUB_STDOUT, 500);
				outhub_store_close(rig.hub);
			}
			rig_settle(&rig);
			observer_attach(&o, &rig, 0, rig.n);
			observer_drain(&o, 1 << 20);
			assert_int_equal(o.gaps, outhub_oldest(rig.hub));
			observer_detach(&o);
		}
		assert_int_equal(outhub_lost(rig.hub), 0);
		assert_int_equal(outhub_file_place(outhub_spill_file(rig.hub),
					 outhub_spill_file(rig.hub)->slots - 1) +
					 outhub_store_page_max(rig.hub),
			(size_t)rows[i].log / outhub_store_page_max(rig.hub) *
				outhub_store_page_max(rig.hub));
		rig_hub_end(&rig);
	}
}

static void the_file_does_not_go_round_over_its_owner(void **state)
{
	struct observer owner = {0};

	(void)state;
	rig_hub(&rig, true);
	observer_attach(&owner, &rig, 0, OUTHUB_FOLLOW);
	outhub_set_owner(owner.rd);
	for (int i = 0; i < 300; i++) { /* more segments than slots and memory together */
		rig_append(&rig, OUTHUB_STDOUT, 500);
		outhub_store_close(rig.hub);
		rig_disk_sync(&rig);
	}
	assert_int_equal(outhub_oldest(rig.hub), 0);
	observer_drain(&owner, 1 << 20);
	assert_int_equal(owner.gaps, 0);
	observer_detach(&owner);
	rig_hub_end(&rig);
}

static void pages_that_are_exactly_full_come_back(void **state)
{
	enum { RECORD = sizeof(struct outhub_record) };

	(void)state;
	rig_hub(&rig, true);
	for (int i = 0; i < 40; i++) {
		/* Room for all, for a record but not for a byte of its own, and not for a record.
		 */
		rig_append(&rig, OUTHUB_STDOUT, RIG_PAGE - (size_t)(i % 4) * RECORD - RECORD);
		rig_append(&rig, OUTHUB_STDERR, 1);
		outhub_store_close(rig.hub);
	}
	rig_settle(&rig);
	assert_true(outhub_disk(rig.hub) > RIG_MEMORY);
	assert_int_equal(rig_replay(&rig, 0), 0);
	assert_int_equal(outhub_lost(rig.hub), 0);
	rig_hub_end(&rig);
}

static void a_slow_reader_falls_off_the_tail_inside_a_loaded_page(void **state)
{
	struct observer o = {0};

	(void)state;
	rig_hub(&rig, true);
	rig_flood(&rig, 200000);
	rig_settle(&rig);
	observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
	assert_int_equal(observer_read(&o, 100), OUTHUB_WAIT);
	rig_disk_sync(&rig);
	assert_int_equal(o.ready, 1);
	assert_int_equal(observer_read(&o, 100), OUTHUB_DATA);
	assert_in_range(outhub_load_memory(rig.hub), RIG_PAGE, RIG_PAGE + 1024);
	rig_flood(&rig, 400000);
	rig_settle(&rig);
	assert_in_range(outhub_load_memory(rig.hub), 0, 1024); /* the copy went with its page */
	assert_int_equal(observer_read(&o, 100), OUTHUB_GAP);
	assert_int_equal(o.at, outhub_oldest(rig.hub));
	observer_drain(&o, 1 << 20);
	assert_int_equal(o.gap_events, 1);
	observer_detach(&o);
	rig_hub_end(&rig);
}

static void the_page_a_reader_waits_for_may_be_dropped_and_its_slot_used_again(void **state)
{
	struct rig_job hold;
	struct observer o = {0};

	(void)state;
	rig_hub(&rig, true);
	rig_flood(&rig, 200000);
	rig_settle(&rig);
	rig_disk_hold(&rig, &hold);
	observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
	assert_int_equal(observer_read(&o, 100), OUTHUB_WAIT);
	rig_append(&rig, OUTHUB_STDOUT, 150000);
	assert_true(outhub_oldest(rig.hub) > 4096);
	rig_disk_go(&hold);
	rig_settle(&rig);
	assert_int_equal(o.ready, 1);
	assert_in_range(outhub_load_memory(rig.hub), 0, 1024);
	assert_int_equal(observer_read(&o, 100), OUTHUB_GAP);
	observer_drain(&o, 1 << 20);
	observer_detach(&o);
	rig_hub_end(&rig);
}

/* Each stands in another page, reads a little, and then reads no more for a while. */
static void stalled_readers_keep_no_other_from_its_page(void **state)
{
	enum { STALLED = 20 };
	struct observer o[STALLED] = {{0}};
	size_t idle;

	(void)state;
	rig_hub(&rig, true);
	rig_flood(&rig, 200000);
	rig_settle(&rig);
	idle = outhub_memory(rig.hub);
	for (int i = 0; i < STALLED; i++) {
		observer_attach(&o[i], &rig, (uint64_t)i * 5000, OUTHUB_FOLLOW);
		assert_int_equal(observer_read(&o[i], 10), OUTHUB_WAIT);
	}
	for (int turn = 0; turn < 10 * STALLED; turn++) {
		rig_disk_sync(&rig);
		for (int i = 0; i < STALLED; i++) {
			if (!o[i].waits && o[i].data == 0)
				observer_read(&o[i], 10);
		}
	}
	for (int i = 0; i < STALLED; i++)
		assert_int_equal(o[i].data, 10);
	assert_in_range(outhub_memory(rig.hub), idle, idle + 3 * RIG_PAGE);
	for (int i = 0; i < STALLED; i++) {
		observer_drain(&o[i], 3000);
		assert_int_equal(o[i].gaps, 0);
		observer_detach(&o[i]);
	}
	assert_in_range(outhub_memory(rig.hub), idle, idle + 1024);
	rig_hub_end(&rig);
}

static void on_ready_reads_on(struct observer *o)
{
	while (observer_read(o, 1 << 20) == OUTHUB_DATA)
		;
}

static void readers_that_read_on_and_on_let_the_queue_in(void **state)
{
	struct observer o[3] = {
		{.on_ready = on_ready_reads_on}, {.on_ready = on_ready_reads_on}, {0}};

	(void)state;
	rig_hub(&rig, true);
	rig_flood(&rig, 240000);
	rig_settle(&rig);
	for (int i = 0; i < 3; i++) {
		observer_attach(&o[i], &rig, (uint64_t)i * 50000, OUTHUB_FOLLOW);
		assert_int_equal(observer_read(&o[i], 1), OUTHUB_WAIT);
	}
	while (o[2].waits)
		rig_disk_sync(&rig);
	assert_in_range(o[0].data, 0, 4 * RIG_PAGE);
	for (int i = 0; i < 3; i++)
		observer_detach(&o[i]);
	rig_hub_end(&rig);
}

/* A reader that leaves while it waits must not leave the ones in the queue waiting for ever. */
static void a_reader_that_leaves_makes_room_for_those_in_the_queue(void **state)
{
	struct rig_job hold;
	struct observer o[5] = {{0}};

	(void)state;
	rig_hub(&rig, true);
	rig_flood(&rig, 200000);
	rig_settle(&rig);
	for (int after = 0; after < 2; after++) {
		rig_disk_hold(&rig, &hold);
		for (int i = 0; i < 5; i++) {
			observer_attach(&o[i], &rig, (uint64_t)i * 5000, OUTHUB_FOLLOW);
			assert_int_equal(observer_read(&o[i], 10), OUTHUB_WAIT);
		}
		for (int i = 0; i < 4 && !after; i++)
			observer_detach(&o[i]);
		rig_disk_go(&hold);
		for (int i = 0; i < 4 && after; i++)
			observer_detach(&o[i]);
		for (int i = 0; i < 10; i++)
			rig_disk_sync(&rig);
		assert_int_equal(o[4].ready, 1);
		observer_drain(&o[4], 1 << 20);
		assert_int_equal(o[4].gaps, 0);
		observer_detach(&o[4]);
	}
	rig_hub_end(&rig);
}

/* Each reads a part of a page per turn, as a stream does: they must not push out each other's. */
static void many_late_readers_share_each_page(void **state)
{
	enum { LATE = 300 };
	struct observer *o = calloc(LATE, sizeof(*o));
	uint64_t missing = 1;
	int turns = 0;

	(void)state;
	assert_non_null(o);
	rig_hub(&rig, true);
	rig_flood(&rig, 200000);
	rig_settle(&rig);
	for (int i = 0; i < LATE; i++)
		observer_attach(&o[i], &rig, (uint64_t)i * 4, rig.n);
	while (missing > 0) {
		missing = 0;
		for (int i = 0; i < LATE; i++) {
			if (!o[i].waits)
				observer_read(&o[i], 2000);
			missing += rig.n - o[i].at;
		}
		rig_disk_sync(&rig);
		assert_true(++turns < 1000); /* one reader after the other would take thousands */
	}
	for (int i = 0; i < LATE; i++) {
		assert_int_equal(o[i].gaps, 0);
		observer_detach(&o[i]);
	}
	rig_hub_end(&rig);
	free(o);
}

/* ---- pace ---- */

static void waits_for_a_slow_disk_and_goes_on_when_it_has_caught_up(void **state)
{
	struct rig_job hold;

	(void)state;
	rig_hub(&rig, true);
	rig_disk_hold(&rig, &hold);
	while (rig.n < 2 * RIG_MEMORY - 2 * RIG_PAGE) {
		rig_append(&rig, OUTHUB_STDOUT, 4000);
		assert_false(outhub_must_wait(rig.hub));
	}
	rig_append(&rig, OUTHUB_STDOUT, 4 * RIG_PAGE);
	assert_true(outhub_must_wait(rig.hub));
	rig_turn(&rig);
	assert_int_equal(rig.paced, 1);
	rig_disk_go(&hold);
	rig_settle(&rig);
	assert_false(outhub_must_wait(rig.hub));
	assert_int_equal(rig.paced, 2);
	assert_int_equal(outhub_lost(rig.hub), 0);
	assert_int_equal(rig_replay(&rig, 0), 0);
	rig_hub_end(&rig);
}

static void a_full_job_queue_costs_output_but_never_stops_the_command(void **state)
{
	struct rig_job hold, more[16];

	(void)state;
	rig_limit(LIMIT_WORK_QUEUE, 16);
	rig_hub(&rig, true);
	rig_disk_hold(&rig, &hold);
	for (int i = 0; i < 16; i++)
		rig_job_start(&rig, &more[i], false);
	rig_append(&rig, OUTHUB_STDOUT, 2 * RIG_MEMORY - 2 * RIG_PAGE);
	assert_int_equal(outhub_lost(rig.hub), 0);
	rig_append(&rig, OUTHUB_STDOUT, RIG_MEMORY);
	assert_false(outhub_must_wait(rig.hub));
	assert_in_range(outhub_memory(rig.hub), RIG_MEMORY, 2 * RIG_MEMORY + 16384);
	assert_in_range(outhub_lost(rig.hub), RIG_MEMORY / 2, RIG_MEMORY + RIG_PAGE);
	rig_disk_go(&hold);
	for (int i = 0; i < 16; i++)
		rig_disk_go(&more[i]);
	rig_append(&rig, OUTHUB_STDOUT, 1);
	rig_settle(&rig);
	assert_true(outhub_disk(rig.hub) > 0);
	assert_int_equal(rig_replay(&rig, 0), outhub_lost(rig.hub));
	rig_hub_end(&rig);
}

/* ---- disks that fail ---- */

/* After an error: what is missing is counted, what is there is right, and the disk is used again.
 */
static void rig_check_failing_disk(void (*mend)(void))
{
	struct observer follower = {0};
	uint64_t gaps, disk;

	rig_hub(&rig, true);
	observer_attach(&follower, &rig, 0, OUTHUB_FOLLOW);
	for (int i = 0; i < 50; i++) {
		rig_append(&rig, OUTHUB_STDOUT, 4000);
		rig_disk_sync(&rig);
		assert_false(outhub_must_wait(rig.hub));
	}
	rig_settle(&rig);
	assert_in_range(outhub_lost(rig.hub), 4000, 200000);
	assert_in_range(outhub_memory(rig.hub), RIG_MEMORY / 2, RIG_MEMORY + 16384);
	observer_drain(&follower, 1 << 20);
	assert_int_equal(follower.gaps, outhub_lost(rig.hub));
	assert_int_equal(follower.at, rig.n);
	observer_detach(&follower);

	mend();
	disk = outhub_disk(rig.hub);
	rig_flood(&rig, 2 * RIG_MEMORY);
	rig_settle(&rig);
	assert_true(outhub_disk(rig.hub) > disk);
	gaps = rig_replay(&rig, 0);
	/* Of the gap at the beginning nobody knows now whether it was lost or too old. */
	assert_in_range(
		outhub_lost(rig.hub), gaps - outhub_oldest(rig.hub), gaps + outhub_oldest(rig.hub));
	rig_hub_end(&rig);
}

static void set_file_size_limit(rlim_t n)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &rl), 0);
	rl.rlim_cur = n < rl.rlim_max ? n : rl.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &rl), 0);
}

static void mend_file_size_limit(void)
{
	set_file_size_limit(RLIM_INFINITY);
}

static void survives_a_file_that_may_not_grow(void **state)
{
	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	set_file_size_limit(30000); /* in the middle of a page */
	rig_check_failing_disk(mend_file_size_limit);
}

static int log_lines;

/* What the log got is counted and thrown away. */
static void count_log_lines(int fd)
{
	char text[4096];
	ssize_t n = read(fd, text, sizeof(text));

	log_lines = 0;
	for (ssize_t i = 0; i < n; i++)
		log_lines += text[i] == '\n';
}

static void keeps_what_is_in_the_file_while_it_may_not_grow(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	log_set_fd(fds[1]);
	signal(SIGXFSZ, SIG_IGN);
	set_file_size_limit(30000);
	rig_hub(&rig, true);
	while (rig.n < 8000000) { /* many attempts, all in vain */
		rig_append(&rig, OUTHUB_STDOUT, 4000);
		rig_disk_sync(&rig);
	}
	rig_settle(&rig);
	mend_file_size_limit();
	log_set_fd(2);
	assert_int_equal(outhub_oldest(rig.hub), 0);
	assert_in_range(outhub_disk(rig.hub), 7 * RIG_PAGE - 1024, 30000);
	assert_int_equal(rig_replay(&rig, 0), outhub_lost(rig.hub));
	rig_hub_end(&rig);
	count_log_lines(fds[0]);
	assert_int_equal(log_lines, 1); /* once is enough */
	close(fds[0]);
	close(fds[1]);
}

static void an_owner_loses_nothing_to_a_failing_disk(void **state)
{
	struct observer owner = {0};

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	set_file_size_limit(30000);
	rig_limit(LIMIT_HUB_OWNER_WINDOW_BYTES, 2 * RIG_MEMORY);
	rig_hub(&rig, true);
	observer_attach(&owner, &rig, 0, OUTHUB_FOLLOW);
	outhub_set_owner(owner.rd);
	while (rig.n < 1000000) {
		if (outhub_must_wait(rig.hub)) {
			observer_read(&owner, 1000);
			rig_disk_sync(&rig);
		} else {
			rig_append(&rig, OUTHUB_STDOUT, 3000);
		}
	}
	observer_drain(&owner, 1 << 20);
	assert_int_equal(owner.gaps, 0);
	assert_in_range(outhub_memory(rig.hub), RIG_MEMORY / 2, 3 * RIG_MEMORY);
	mend_file_size_limit();
	observer_detach(&owner);
	rig_hub_end(&rig);
}

static void mend_directory(void)
{
	/* dup2() would race with nothing here: no job is in flight. */
	int dir = open(rig.path, O_DIRECTORY | O_CLOEXEC);

	assert_true(dir >= 0);
	assert_int_equal(dup2(dir, rig.dir), rig.dir);
	close(dir);
}

static void survives_a_directory_that_is_none(void **state)
{
	int file = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(file >= 0);
	assert_int_equal(dup2(file, rig.dir), rig.dir);
	close(file);
	rig_check_failing_disk(mend_directory);
}

static void mend_full_disk(void)
{
	assert_int_equal(mount(NULL, rig.path, NULL, MS_REMOUNT, "size=1m"), 0);
}

/* In a mount namespace of its own, which takes the file system away at the end in any case. */
static void survives_a_full_disk(void **state)
{
	int dir;

	(void)state;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0 ||
		mount("tmpfs", rig.path, "tmpfs", 0, "size=32k") < 0) {
		print_message("SKIPPED: no right to mount a small file system\n");
		skip();
	}
	dir = open(rig.path, O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	assert_int_equal(dup2(dir, rig.dir), rig.dir);
	close(dir);
	rig_check_failing_disk(mend_full_disk);
	dir = open("/", O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(dup2(dir, rig.dir), rig.dir);
	close(dir);
	assert_int_equal(umount(rig.path), 0);
}

static void breaks_by_truncation(int fd)
{
	assert_int_equal(ftruncate(fd, 2000), 0);
}

static void breaks_by_scribbling(int fd)
{
	uint8_t junk[512];

	memset(junk, 0x7f, sizeof(junk));
	for (off_t at = 0; at < RIG_LOG; at += (off_t)sizeof(junk))
		assert_int_equal(pwrite(fd, junk, sizeof(junk), at), sizeof(junk));
}

/* The first record of a page lies at its very end. */
static void breaks_first_records(int fd)
{
	uint32_t stream = OUTHUB_STREAMS;

	for (size_t i = 0; i < rig.hub->count - rig.hub->resident_count; i++) {
		const struct outhub_segment *seg = outhub_store_segment(rig.hub, i);
		uint64_t at = outhub_file_place(outhub_spill_file(rig.hub), seg->slot) + seg->size -
			      sizeof(struct outhub_record) + offsetof(struct outhub_record, stream);

		assert_int_equal(pwrite(fd, &stream, sizeof(stream), (off_t)at), sizeof(stream));
	}
}

static void breaks_last_records(int fd)
{
	for (size_t i = 0; i < rig.hub->count - rig.hub->resident_count; i++) {
		const struct outhub_segment *seg = outhub_store_segment(rig.hub, i);
		uint64_t at = outhub_file_place(outhub_spill_file(rig.hub), seg->slot) + seg->size -
			      seg->records * sizeof(struct outhub_record) +
			      offsetof(struct outhub_record, begin);
		uint32_t begin = seg->records > 1 ? seg->len : 1;

		assert_int_equal(pwrite(fd, &begin, sizeof(begin), (off_t)at), sizeof(begin));
	}
}

static void a_page_that_cannot_be_read_back_is_a_gap(void **state)
{
	static void (*const breaks[])(int fd) = {breaks_by_truncation, breaks_by_scribbling,
		breaks_first_records, breaks_last_records};

	(void)state;
	for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
		struct observer o = {0};

		print_message("row %zu\n", i);
		rig.n = 0;
		rig_hub(&rig, true);
		rig_flood(&rig, 200000);
		rig_settle(&rig);
		breaks[i](outhub_spill_file(rig.hub)->fd);
		observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
		observer_drain(&o, 1 << 20);
		assert_int_equal(o.at, rig.n);
		assert_int_equal(o.gaps, outhub_lost(rig.hub));
		assert_in_range(o.gaps, 200000 - RIG_MEMORY - RIG_PAGE, 200000);
		assert_int_equal(outhub_disk(rig.hub), 0);
		observer_detach(&o);
		rig_hub_end(&rig);
	}
}

/* ---- memory that runs out ---- */

static void accounts_for_every_byte_when_memory_runs_out(void **state)
{
	struct observer o = {0};
	unsigned gaps = 0;

	(void)state;
	for (long i = 0; i < 120; i++) {
		rig.n = 0;
		rig_hub(&rig, true);
		observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
		/* One that fails, or as many as a while without memory means. */
		oom_failures = i % 2 == 0 ? 1 : 6;
		for (int k = 0; k < 40; k++) {
			size_t n = (size_t)k * 117 + 1;
			uint8_t data[8192];

			memset(data, 'a' + k % 26, n);
			rig_note(&rig, OUTHUB_STDOUT, data, n);
			if (k == 0)
				oom_after = i / 2;
			outhub_append(rig.hub, OUTHUB_STDOUT, data, n);
		}
		assert_int_equal(outhub_total(rig.hub), rig.n);
		if (i % 3 == 0) {
			oom_after = -1;
			rig_settle(&rig);
			oom_after = i / 6;
			oom_failures = 1;
		}
		while (observer_read(&o, 1000) != OUTHUB_WAIT)
			;
		oom_after = -1;
		observer_drain(&o, 1000);
		rig_settle(&rig);
		assert_int_equal(o.at, rig.n);
		gaps += o.gap_events;
		/* A copy that could not be loaded is no loss: others get it. */
		assert_int_equal(rig_replay(&rig, 0), outhub_lost(rig.hub));
		assert_true(outhub_lost(rig.hub) <= o.gaps);
		observer_detach(&o);
		rig_hub_end(&rig);
	}
	assert_true(gaps > 10);
}

static void makes_nothing_without_memory(void **state)
{
	(void)state;
	oom_after = 0;
	oom_failures = 1;
	assert_null(outhub_new(rig.loop, NULL, -1, NULL, NULL));
	rig_hub(&rig, false);
	oom_after = 0;
	oom_failures = 1;
	assert_null(outhub_attach(rig.hub, 0, OUTHUB_FOLLOW, observer_on_ready, NULL));
	rig_hub_end(&rig);
}

/* ---- the end, while the disk is busy ---- */

static void may_be_freed_while_jobs_are_in_flight(void **state)
{
	struct observer o[4] = {{0}};
	struct outhub_run run;

	(void)state;
	/* Jobs begun or not, before and after the first write opened the file. */
	for (int row = 0; row < 4; row++) {
		struct rig_job hold;

		print_message("row %d\n", row);
		rig.n = 0;
		rig_hub(&rig, true);
		if (row & 1) {
			rig_flood(&rig, 150000);
			rig_settle(&rig);
		}
		rig_disk_hold(&rig, &hold);
		rig_append(&rig, OUTHUB_STDOUT, 100000);
		assert_true(outhub_spill_writing(rig.hub));
		for (int i = 0; i < 4; i++) {
			observer_attach(&o[i], &rig, (uint64_t)i * 5000, OUTHUB_FOLLOW);
			observer_read(&o[i], 10);
			assert_int_equal(o[i].waits, (row & 1) != 0);
		}
		if (row & 2) {
			sem_post(&hold.go);
			outhub_free(rig.hub);
		} else {
			outhub_free(rig.hub);
			rig_turn(&rig); /* the hub is gone, its jobs are not */
			sem_post(&hold.go);
		}
		rig.hub = NULL;
		for (int i = 0; i < 4; i++) {
			assert_int_equal(o[i].ready, row & 1);
			assert_int_equal(outhub_read(o[i].rd, 10, &run), OUTHUB_GONE);
			observer_detach(&o[i]);
		}
		while (!hold.done)
			assert_int_equal(loop_run(rig.loop), 0);
		rig_disk_sync(&rig);
	}
	/* The teardown finds no descriptor left. */
}

/* Before its pool, or after it as long as nothing else is done with it. */
static void may_end_with_its_pool_and_loop(void **state)
{
	(void)state;
	for (int pool_first = 0; pool_first < 2; pool_first++) {
		struct observer o = {0};
		struct err e = {0};

		rig.n = 0;
		rig_hub(&rig, true);
		rig_append(&rig, OUTHUB_STDOUT, 100000);
		observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
		if (!pool_first)
			outhub_free(rig.hub);
		work_pool_free(rig.pool);
		if (pool_first)
			outhub_free(rig.hub);
		loop_free(rig.loop);
		assert_int_equal(observer_read(&o, 10), OUTHUB_GONE);
		observer_detach(&o);
		rig.loop = loop_new(&e);
		assert_non_null(rig.loop);
		rig.pool = work_pool_new(rig.loop, &e);
		assert_non_null(rig.pool);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(spills_what_memory_does_not_hold_and_reads_it_back),
		T(needs_no_o_tmpfile),
		T(keeps_the_file_inside_the_log_limit),
		T(the_file_goes_round_when_segments_are_small),
		T(the_file_does_not_go_round_over_its_owner),
		T(pages_that_are_exactly_full_come_back),
		T(a_slow_reader_falls_off_the_tail_inside_a_loaded_page),
		T(the_page_a_reader_waits_for_may_be_dropped_and_its_slot_used_again),
		T(stalled_readers_keep_no_other_from_its_page),
		T(readers_that_read_on_and_on_let_the_queue_in),
		T(a_reader_that_leaves_makes_room_for_those_in_the_queue),
		T(many_late_readers_share_each_page),
		T(waits_for_a_slow_disk_and_goes_on_when_it_has_caught_up),
		T(a_full_job_queue_costs_output_but_never_stops_the_command),
		T(survives_a_file_that_may_not_grow),
		T(keeps_what_is_in_the_file_while_it_may_not_grow),
		T(an_owner_loses_nothing_to_a_failing_disk),
		T(survives_a_directory_that_is_none),
		T(survives_a_full_disk),
		T(a_page_that_cannot_be_read_back_is_a_gap),
		T(accounts_for_every_byte_when_memory_runs_out),
		T(makes_nothing_without_memory),
		T(may_be_freed_while_jobs_are_in_flight),
		T(may_end_with_its_pool_and_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
