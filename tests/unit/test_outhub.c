/* The hub in memory: order, waiting, ends, pace, and who may do what in a callback. */
#include "outhub_helpers.h"

#include "boxd/linecut.h"

/* ---- order ---- */

static void gives_back_stream_offset_bytes_and_time(void **state)
{
	static const struct {
		enum outhub_stream s;
		const char *text;
		int64_t time_ms;
	} rows[] = {
		{OUTHUB_STDOUT, "one\n", 1000}, {OUTHUB_STDERR, "two", 1000},
		{OUTHUB_STDOUT, "three", 1000}, {OUTHUB_STDOUT, "four", 1001},
		{OUTHUB_STDOUT, "five", 900}, /* the clock was set */
	};
	struct observer o = {0};
	struct outhub_run run;
	uint64_t at = 0;

	(void)state;
	rig_hub(&rig, false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		clock_fake(0, rows[i].time_ms);
		rig_append_text(&rig, rows[i].s, rows[i].text);
	}
	assert_int_equal(outhub_bytes(rig.hub, OUTHUB_STDOUT), 17);
	assert_int_equal(outhub_bytes(rig.hub, OUTHUB_STDERR), 3);
	observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("row %zu\n", i);
		assert_int_equal(outhub_read(o.rd, 100, &run), OUTHUB_DATA);
		assert_int_equal(run.stream, rows[i].s);
		assert_int_equal(run.offset, at);
		assert_int_equal(run.n, strlen(rows[i].text));
		assert_memory_equal(run.data, rows[i].text, run.n);
		assert_int_equal(run.time_ms, rows[i].time_ms);
		at += run.n;
	}
	assert_int_equal(outhub_read(o.rd, 100, &run), OUTHUB_WAIT);
	observer_detach(&o);
	rig_hub_end(&rig);
}

static void joins_what_one_stream_writes_in_one_millisecond(void **state)
{
	struct observer o = {0};
	size_t memory;

	(void)state;
	clock_fake(0, 5000);
	rig_hub(&rig, false);
	for (int i = 0; i < 2000; i++)
		rig_append_text(&rig, OUTHUB_STDOUT, "x");
	memory = outhub_memory(rig.hub);
	assert_in_range(memory, 2000, 2 * 2048 + 1024);
	observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
	observer_drain(&o, 1 << 20);
	assert_int_equal(o.runs, 1);
	observer_detach(&o);
	rig_hub_end(&rig);
}

static void gives_at_most_what_was_asked_for_and_takes_back_what_was_too_much(void **state)
{
	struct observer o = {0};
	struct outhub_run run;

	(void)state;
	rig_hub(&rig, false);
	rig_append_text(&rig, OUTHUB_STDOUT, "abcdefgh");
	observer_attach(&o, &rig, 2, OUTHUB_FOLLOW);
	assert_int_equal(outhub_read(o.rd, 3, &run), OUTHUB_DATA);
	assert_int_equal(run.n, 3);
	assert_memory_equal(run.data, "cde", 3);
	outhub_unread(o.rd, 2);
	assert_int_equal(outhub_reader_offset(o.rd), 3);
	assert_int_equal(outhub_read(o.rd, 1, &run), OUTHUB_DATA);
	assert_memory_equal(run.data, "d", 1);
	observer_detach(&o);
	rig_hub_end(&rig);
}

static void is_small_while_it_holds_little(void **state)
{
	struct observer o = {0};

	(void)state;
	rig_hub(&rig, true);
	observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
	assert_in_range(outhub_memory(rig.hub) + sizeof(struct outhub_reader), 1, 600);
	rig_append_text(&rig, OUTHUB_STDOUT, "0123456789");
	assert_in_range(outhub_memory(rig.hub), 1, 900);
	outhub_seal(rig.hub);
	assert_in_range(outhub_memory(rig.hub), 1, 600);
	observer_drain(&o, 100);
	observer_detach(&o);
	assert_int_equal(outhub_disk(rig.hub), 0);
	rig_hub_end(&rig);
}

static void gives_back_room_for_growth_when_sealed(void **state)
{
	(void)state;
	rig_hub(&rig, false);
	rig_append(&rig, OUTHUB_STDOUT, 1030);
	rig_append(&rig, OUTHUB_STDERR, 5);
	assert_in_range(outhub_memory(rig.hub), 2048, 4096);
	outhub_seal(rig.hub);
	assert_in_range(outhub_memory(rig.hub), 1100, 1600);
	assert_int_equal(rig_replay(&rig, 0), 0);
	rig_hub_end(&rig);
}

/* ---- waiting ---- */

static void calls_a_waiting_reader_once_for_many_appends(void **state)
{
	struct observer o = {0};

	(void)state;
	rig_hub(&rig, false);
	observer_attach(&o, &rig, 77, OUTHUB_FOLLOW); /* beyond the total: the total */
	assert_int_equal(observer_read(&o, 100), OUTHUB_WAIT);
	rig_turn(&rig);
	assert_int_equal(o.ready, 0);
	for (int i = 0; i < 10; i++)
		rig_append_text(&rig, OUTHUB_STDOUT, "x");
	assert_int_equal(o.ready, 0); /* never from inside an append */
	rig_turn(&rig);
	rig_turn(&rig);
	assert_int_equal(o.ready, 1);
	rig_append_text(&rig, OUTHUB_STDOUT, "x"); /* it does not wait now */
	rig_turn(&rig);
	assert_int_equal(o.ready, 1);
	observer_detach(&o);
	rig_hub_end(&rig);
}

static void on_ready_reads_and_appends(struct observer *o)
{
	while (observer_read(o, 100) == OUTHUB_DATA)
		;
	if (o->ready < 5)
		rig_append_text(o->rig, OUTHUB_STDOUT, "again");
}

static void misses_no_append_that_happens_inside_a_callback(void **state)
{
	struct observer o = {.on_ready = on_ready_reads_and_appends};

	(void)state;
	rig_hub(&rig, false);
	observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
	assert_int_equal(observer_read(&o, 100), OUTHUB_WAIT);
	rig_append_text(&rig, OUTHUB_STDOUT, "first");
	for (int i = 0; i < 10; i++)
		rig_turn(&rig);
	assert_int_equal(o.ready, 5);
	assert_int_equal(o.at, rig.n);
	observer_detach(&o);
	rig_hub_end(&rig);
}

static void on_ready_reads_all(struct observer *o)
{
	while (observer_read(o, 100) == OUTHUB_DATA)
		;
}

static void calls_many_observers_in_slices(void **state)
{
	enum { OBSERVERS = 1000 };
	struct observer *o = calloc(OBSERVERS, sizeof(*o));
	unsigned before = 0, turns = 0;

	(void)state;
	assert_non_null(o);
	rig_hub(&rig, false);
	for (int i = 0; i < OBSERVERS; i++) {
		o[i].on_ready = on_ready_reads_all;
		observer_attach(&o[i], &rig, 0, OUTHUB_FOLLOW);
		assert_int_equal(observer_read(&o[i], 100), OUTHUB_WAIT);
	}
	rig_append_text(&rig, OUTHUB_STDOUT, "to all");
	for (unsigned now = 0; now < OBSERVERS; before = now) {
		rig_turn(&rig);
		turns++;
		now = 0;
		for (int i = 0; i < OBSERVERS; i++)
			now += o[i].ready;
		assert_in_range(now - before, 1, 100); /* something else gets its turn as well */
		if (turns == 3)                        /* those called already are called again */
			rig_append_text(&rig, OUTHUB_STDERR, "more");
		if (now >= OBSERVERS)
			break;
	}
	for (int i = 0; i < 40; i++)
		rig_turn(&rig);
	for (int i = 0; i < OBSERVERS; i++) {
		assert_int_equal(o[i].at, rig.n);
		assert_in_range(o[i].ready, 1, 2);
		observer_detach(&o[i]);
	}
	rig_hub_end(&rig);
	free(o);
}

/* ---- ends ---- */

static void ends_followers_at_the_finish_and_bounded_readers_at_their_bound(void **state)
{
	struct observer follower = {0}, late = {0}, bounded = {0}, beyond = {0};

	(void)state;
	rig_hub(&rig, false);
	rig_append_text(&rig, OUTHUB_STDOUT, "of the run");
	observer_attach(&follower, &rig, 0, OUTHUB_FOLLOW);
	observer_attach(&bounded, &rig, 3, 6);
	observer_attach(&beyond, &rig, 0, 14);
	observer_drain(&bounded, 100);
	assert_int_equal(bounded.last, OUTHUB_END);
	assert_int_equal(bounded.at, 6);
	observer_drain(&follower, 100);
	observer_drain(&beyond, 100);
	assert_int_equal(follower.last, OUTHUB_WAIT);
	assert_int_equal(beyond.last, OUTHUB_WAIT);

	assert_false(outhub_finished(rig.hub));
	outhub_finish(rig.hub);
	assert_true(outhub_finished(rig.hub));
	rig_append_text(&rig, OUTHUB_STDOUT, ", of others");
	outhub_finish(rig.hub); /* the first one counts */
	rig_turn(&rig);
	assert_int_equal(follower.ready, 1);
	assert_int_equal(observer_read(&follower, 100), OUTHUB_END);
	assert_int_equal(follower.at, 10);
	observer_drain(&beyond, 100);
	assert_int_equal(beyond.last, OUTHUB_END);
	assert_int_equal(beyond.at, 14);
	observer_attach(&late, &rig, 12, OUTHUB_FOLLOW);
	assert_int_equal(observer_read(&late, 100), OUTHUB_END);
	observer_detach(&follower);
	observer_detach(&late);
	observer_detach(&bounded);
	observer_detach(&beyond);
	rig_hub_end(&rig);
}

static void a_bound_that_is_set_while_a_reader_waits_ends_it_there(void **state)
{
	struct observer waiting = {0}, passed = {0};

	(void)state;
	rig_hub(&rig, false);
	rig_append_text(&rig, OUTHUB_STDOUT, "of the run");
	observer_attach(&waiting, &rig, 0, OUTHUB_FOLLOW);
	observer_attach(&passed, &rig, 0, OUTHUB_FOLLOW);
	observer_drain(&waiting, 100);
	assert_int_equal(observer_read(&passed, 8), OUTHUB_DATA);
	outhub_set_bound(waiting.rd, 10);
	outhub_set_bound(passed.rd, 6);
	rig_append_text(&rig, OUTHUB_STDOUT, ", of the next");
	rig_turn(&rig);
	assert_int_equal(waiting.ready, 1);
	assert_int_equal(observer_read(&waiting, 100), OUTHUB_END);
	assert_int_equal(waiting.at, 10);
	assert_int_equal(observer_read(&passed, 100), OUTHUB_END);
	observer_detach(&waiting);
	observer_detach(&passed);
	rig_hub_end(&rig);
}

static void a_seal_ends_bounded_readers_and_followers_wait_for_the_finish(void **state)
{
	struct observer follower = {0}, beyond = {0};

	(void)state;
	rig_hub(&rig, false);
	rig_append_text(&rig, OUTHUB_STDOUT, "all");
	observer_attach(&follower, &rig, 0, OUTHUB_FOLLOW);
	observer_attach(&beyond, &rig, 0, 100);
	observer_drain(&follower, 100);
	observer_drain(&beyond, 100);
	assert_int_equal(beyond.last, OUTHUB_WAIT);
	outhub_seal(rig.hub);
	rig_turn(&rig);
	assert_int_equal(observer_read(&beyond, 100), OUTHUB_END);
	assert_int_equal(observer_read(&follower, 100), OUTHUB_WAIT);
	outhub_finish(rig.hub);
	rig_turn(&rig);
	assert_int_equal(observer_read(&follower, 100), OUTHUB_END);
	observer_detach(&follower);
	observer_detach(&beyond);
	rig_hub_end(&rig);
}

static void an_empty_log_ends_too(void **state)
{
	struct observer o = {0};

	(void)state;
	rig_hub(&rig, false);
	observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
	assert_int_equal(observer_read(&o, 1), OUTHUB_WAIT);
	outhub_finish(rig.hub);
	outhub_seal(rig.hub);
	assert_int_equal(observer_read(&o, 1), OUTHUB_END);
	assert_int_equal(outhub_oldest(rig.hub), 0);
	observer_detach(&o);
	rig_hub_end(&rig);
}

/* ---- memory only ---- */

static void drops_the_oldest_for_age_without_a_disk(void **state)
{
	struct observer o = {0};

	(void)state;
	rig_hub(&rig, false);
	observer_attach(&o, &rig, 0, OUTHUB_FOLLOW);
	rig_append(&rig, OUTHUB_STDOUT, 300000);
	assert_in_range(outhub_memory(rig.hub), RIG_MEMORY / 2, RIG_MEMORY + 8192);
	assert_false(outhub_must_wait(rig.hub));
	assert_int_equal(outhub_lost(rig.hub), 0);
	assert_in_range(
		outhub_total(rig.hub) - outhub_oldest(rig.hub), RIG_MEMORY - 8192, RIG_MEMORY);
	observer_drain(&o, 1 << 20);
	assert_int_equal(o.gap_events, 1);
	assert_int_equal(o.gaps, outhub_oldest(rig.hub));
	observer_detach(&o);
	rig_hub_end(&rig);
}

static void keeps_what_it_was_told_to_keep_instead_of_what_the_limits_say(void **state)
{
	enum { KEEP = 4 * RIG_MEMORY };

	(void)state;
	rig_hub(&rig, true);
	outhub_keep(rig.hub, KEEP);
	for (int i = 0; i < 40; i++)
		rig_append(&rig, OUTHUB_STDOUT, KEEP / 16);
	rig_settle(&rig);
	assert_int_equal(outhub_disk(rig.hub), 0);
	assert_int_equal(outhub_lost(rig.hub), 0);
	assert_in_range(outhub_memory(rig.hub), KEEP / 2, KEEP + KEEP / 8);
	assert_in_range(outhub_total(rig.hub) - outhub_oldest(rig.hub), KEEP / 2, KEEP);
	assert_int_equal(rig_replay(&rig, 0), outhub_oldest(rig.hub));
	rig_hub_end(&rig);
}

static void bounds_memory_also_when_every_byte_is_a_record(void **state)
{
	(void)state;
	rig_hub(&rig, false);
	for (int i = 0; i < 50000; i++)
		rig_append(&rig, i % 2 ? OUTHUB_STDERR : OUTHUB_STDOUT, 1);
	assert_in_range(outhub_memory(rig.hub), RIG_MEMORY / 2, RIG_MEMORY + 8192);
	assert_int_equal(rig_replay(&rig, 0), outhub_oldest(rig.hub));
	rig_hub_end(&rig);
}

/* ---- pace ---- */

static void waits_for_its_owner_and_for_nobody_else(void **state)
{
	struct observer owner = {0}, other = {0};
	uint64_t window = 20000;

	(void)state;
	rig_limit(LIMIT_HUB_OWNER_WINDOW_BYTES, (int64_t)window);
	rig_hub(&rig, false);
	observer_attach(&other, &rig, 0, OUTHUB_FOLLOW);
	rig_append(&rig, OUTHUB_STDOUT, 30000);
	assert_false(outhub_must_wait(rig.hub));
	observer_attach(&owner, &rig, 30000, OUTHUB_FOLLOW);
	outhub_set_owner(owner.rd);

	rig_append(&rig, OUTHUB_STDOUT, window);
	assert_false(outhub_must_wait(rig.hub));
	rig_turn(&rig);
	assert_int_equal(rig.paced, 0);
	rig_append(&rig, OUTHUB_STDOUT, 1);
	assert_true(outhub_must_wait(rig.hub));
	assert_int_equal(rig.paced, 0); /* never from inside an append */
	rig_turn(&rig);
	assert_int_equal(rig.paced, 1);

	while (owner.at < rig.n - window / 2 - 1) {
		assert_true(outhub_must_wait(rig.hub));
		observer_read(&owner, 1);
	}
	assert_true(outhub_must_wait(rig.hub));
	observer_read(&owner, 1);
	assert_false(outhub_must_wait(rig.hub));
	rig_turn(&rig);
	assert_int_equal(rig.paced, 2);

	rig_append(&rig, OUTHUB_STDOUT, window);
	assert_true(outhub_must_wait(rig.hub));
	observer_detach(&owner);
	assert_false(outhub_must_wait(rig.hub));
	rig_turn(&rig);
	assert_int_equal(rig.paced, 3); /* there and back: who saw the first needs the second */
	observer_detach(&other);
	rig_hub_end(&rig);
}

static void who_waits_to_be_the_owner_gets_his_turn_in_order(void **state)
{
	struct observer first = {0}, second = {0}, third = {0};

	(void)state;
	rig_limit(LIMIT_HUB_OWNER_WINDOW_BYTES, 20000);
	rig_hub(&rig, false);
	observer_attach(&first, &rig, 0, OUTHUB_FOLLOW);
	outhub_queue_owner(first.rd);
	rig_append(&rig, OUTHUB_STDOUT, 15000);
	observer_attach(&second, &rig, rig.n, OUTHUB_FOLLOW);
	observer_attach(&third, &rig, rig.n, OUTHUB_FOLLOW);
	outhub_queue_owner(second.rd);
	outhub_queue_owner(third.rd);
	outhub_queue_owner(second.rd);
	assert_false(outhub_must_wait(rig.hub));
	rig_append(&rig, OUTHUB_STDOUT, 5001);
	assert_true(outhub_must_wait(rig.hub)); /* for the first, 20001 behind */
	observer_detach(&second);
	assert_true(outhub_must_wait(rig.hub));
	observer_detach(&first);
	assert_false(outhub_must_wait(rig.hub)); /* the third is 5001 behind */
	rig_append(&rig, OUTHUB_STDOUT, 15000);
	assert_true(outhub_must_wait(rig.hub));
	outhub_drop_owner(third.rd);
	assert_false(outhub_must_wait(rig.hub));
	observer_detach(&third);
	rig_hub_end(&rig);
}

static void an_owner_that_gives_up_the_pace_goes_on_reading(void **state)
{
	struct observer owner = {0}, other = {0};

	(void)state;
	rig_limit(LIMIT_HUB_OWNER_WINDOW_BYTES, 20000);
	rig_hub(&rig, false);
	observer_attach(&owner, &rig, 0, OUTHUB_FOLLOW);
	observer_attach(&other, &rig, 0, OUTHUB_FOLLOW);
	outhub_set_owner(owner.rd);
	rig_append(&rig, OUTHUB_STDOUT, 20001);
	assert_true(outhub_must_wait(rig.hub));
	outhub_drop_owner(other.rd);
	assert_true(outhub_must_wait(rig.hub));
	outhub_drop_owner(owner.rd);
	assert_false(outhub_must_wait(rig.hub));
	rig_append(&rig, OUTHUB_STDOUT, 300000);
	assert_false(outhub_must_wait(rig.hub));
	observer_drain(&owner, 1 << 20);
	assert_int_equal(owner.gap_events, 1);
	assert_int_equal(owner.at, rig.n);
	outhub_set_owner(owner.rd);
	rig_append(&rig, OUTHUB_STDOUT, 20001);
	assert_true(outhub_must_wait(rig.hub));
	observer_drain(&other, 1 << 20);
	outhub_set_owner(other.rd);
	assert_false(outhub_must_wait(rig.hub));
	outhub_drop_owner(owner.rd);
	rig_append(&rig, OUTHUB_STDOUT, 20001);
	assert_true(outhub_must_wait(rig.hub));
	observer_detach(&owner);
	observer_detach(&other);
	rig_hub_end(&rig);
}

static void an_owner_at_its_end_paces_nobody(void **state)
{
	struct observer owner = {0};

	(void)state;
	rig_hub(&rig, false);
	observer_attach(&owner, &rig, 0, OUTHUB_FOLLOW);
	outhub_set_owner(owner.rd);
	rig_append(&rig, OUTHUB_STDOUT, 100);
	outhub_finish(rig.hub);
	rig_append(&rig, OUTHUB_STDOUT, 40000);
	assert_true(outhub_must_wait(rig.hub)); /* its output is still to be read */
	observer_drain(&owner, 4096);
	assert_int_equal(owner.gaps, 0);
	assert_int_equal(owner.last, OUTHUB_END);
	assert_false(outhub_must_wait(rig.hub));
	rig_append(&rig, OUTHUB_STDOUT, 400000);
	assert_false(outhub_must_wait(rig.hub));
	assert_in_range(outhub_memory(rig.hub), RIG_MEMORY / 2, RIG_MEMORY + 8192);
	observer_detach(&owner);
	rig_hub_end(&rig);
}

static void one_large_read_costs_the_owner_nothing(void **state)
{
	struct observer owner = {0};

	(void)state;
	for (int reads = 0; reads < 2; reads++) {
		rig.n = 0;
		rig_hub(&rig, false);
		observer_attach(&owner, &rig, 0, OUTHUB_FOLLOW);
		outhub_set_owner(owner.rd);
		rig_append(&rig, OUTHUB_STDOUT, 3 * RIG_MEMORY);
		assert_true(outhub_must_wait(rig.hub));
		assert_int_equal(outhub_oldest(rig.hub), 0);
		if (reads) {
			observer_drain(&owner, 1 << 20);
			assert_int_equal(owner.gaps, 0);
		}
		observer_detach(&owner);
		/* What only the owner held back is gone. */
		assert_in_range(outhub_memory(rig.hub), RIG_MEMORY / 2, RIG_MEMORY + 8192);
		rig_hub_end(&rig);
	}
}

static void an_owner_loses_nothing_to_small_records(void **state)
{
	struct observer owner = {0};

	(void)state;
	rig_hub(&rig, false);
	observer_attach(&owner, &rig, 0, OUTHUB_FOLLOW);
	outhub_set_owner(owner.rd);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 10000 && !outhub_must_wait(rig.hub); i++)
			rig_append(&rig, i % 2 ? OUTHUB_STDERR : OUTHUB_STDOUT, 1);
		assert_true(outhub_must_wait(rig.hub));
		while (outhub_must_wait(rig.hub))
			assert_int_equal(observer_read(&owner, 1), OUTHUB_DATA);
	}
	observer_drain(&owner, 100);
	assert_int_equal(owner.gaps, 0);
	observer_detach(&owner);
	rig_hub_end(&rig);
}

/* ---- callbacks that pull the rug ---- */

static struct observer *rug_others;
static size_t rug_n;

static void on_ready_frees_the_hub(struct observer *o)
{
	struct outhub_run run;

	assert_int_equal(outhub_read(o->rd, 100, &run), OUTHUB_DATA);
	if (o->rig->hub != NULL) {
		struct outhub *h = o->rig->hub;

		o->rig->hub = NULL;
		outhub_free(h);
	}
	/* What was read may still be looked at, and reading on says what happened. */
	assert_memory_equal(run.data, "rug", 3);
	assert_int_equal(outhub_read(o->rd, 100, &run), OUTHUB_GONE);
	observer_detach(o);
}

static void on_ready_expects_the_end_of_the_hub(struct observer *o)
{
	struct outhub_run run;

	assert_int_equal(outhub_read(o->rd, 100, &run), OUTHUB_GONE);
	outhub_unread(o->rd, 0);
	observer_detach(o);
}

static void on_ready_detaches_all(struct observer *o)
{
	(void)o;
	for (size_t i = 0; i < rug_n; i++) {
		if (rug_others[i].rd != NULL)
			observer_detach(&rug_others[i]);
	}
}

static void survives_what_a_callback_does(void **state)
{
	static const struct {
		const char *what;
		void (*first)(struct observer *o);
		void (*rest)(struct observer *o);
		unsigned calls;
	} rows[] = {
		{"free the hub", on_ready_frees_the_hub, on_ready_expects_the_end_of_the_hub, 5},
		{"detach all", on_ready_detaches_all, on_ready_detaches_all, 1},
	};
	struct observer o[5];

	(void)state;
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		unsigned calls = 0;

		print_message("row: %s\n", rows[row].what);
		memset(o, 0, sizeof(o));
		rug_others = o;
		rug_n = 5;
		rig.n = 0;
		rig_hub(&rig, false);
		for (int i = 0; i < 5; i++) {
			o[i].on_ready = i == 0 ? rows[row].first : rows[row].rest;
			observer_attach(&o[i], &rig, 0, OUTHUB_FOLLOW);
			assert_int_equal(observer_read(&o[i], 100), OUTHUB_WAIT);
		}
		rig_append_text(&rig, OUTHUB_STDOUT, "rug");
		rig_turn(&rig);
		for (int i = 0; i < 5; i++) {
			assert_null(o[i].rd);
			calls += o[i].ready;
		}
		assert_int_equal(calls, rows[row].calls);
		if (rig.hub != NULL)
			rig_hub_end(&rig);
	}
}

static void tells_waiting_readers_when_it_is_freed_and_others_when_they_read(void **state)
{
	struct observer waiting = {0}, busy = {0};
	struct outhub_run run;

	(void)state;
	rig_hub(&rig, false);
	observer_attach(&busy, &rig, 0, OUTHUB_FOLLOW);
	observer_attach(&waiting, &rig, 0, OUTHUB_FOLLOW);
	outhub_set_owner(busy.rd);
	assert_int_equal(observer_read(&waiting, 1), OUTHUB_WAIT);
	outhub_free(rig.hub);
	rig.hub = NULL;
	assert_int_equal(waiting.ready, 1);
	assert_int_equal(busy.ready, 0);
	rig_turn(&rig);
	assert_int_equal(outhub_read(waiting.rd, 1, &run), OUTHUB_GONE);
	assert_int_equal(outhub_read(busy.rd, 1, &run), OUTHUB_GONE);
	outhub_set_owner(waiting.rd);
	observer_detach(&waiting);
	observer_detach(&busy);
	outhub_free(NULL);
	outhub_detach(NULL);
}

static void calls_nobody_after_it_was_freed(void **state)
{
	struct observer owner = {0}, waiting = {0};

	(void)state;
	rig_hub(&rig, false);
	observer_attach(&waiting, &rig, 0, OUTHUB_FOLLOW);
	assert_int_equal(observer_read(&waiting, 1), OUTHUB_WAIT);
	observer_attach(&owner, &rig, 0, OUTHUB_FOLLOW);
	outhub_set_owner(owner.rd);
	rig_append(&rig, OUTHUB_STDOUT, 200000);
	assert_true(outhub_must_wait(rig.hub));
	outhub_free(rig.hub);
	rig.hub = NULL;
	assert_int_equal(waiting.ready, 1);
	rig_turn(&rig);
	assert_int_equal(rig.paced, 0);
	assert_int_equal(waiting.ready, 1);
	observer_detach(&owner);
	observer_detach(&waiting);
}

static void on_pace_frees_the_hub(struct rig *r)
{
	struct outhub *h = r->hub;

	r->hub = NULL;
	outhub_free(h);
}

static void may_be_freed_inside_on_pace(void **state)
{
	struct observer owner = {0};

	(void)state;
	rig.on_pace = on_pace_frees_the_hub;
	rig_hub(&rig, false);
	observer_attach(&owner, &rig, 0, OUTHUB_FOLLOW);
	outhub_set_owner(owner.rd);
	rig_append(&rig, OUTHUB_STDOUT, 200000);
	rig_turn(&rig);
	assert_null(rig.hub);
	assert_int_equal(observer_read(&owner, 1), OUTHUB_GONE);
	observer_detach(&owner);
	rig_turn(&rig);
}

/* ---- where lines begin ---- */

static void knows_where_the_open_line_of_each_stream_began(void **state)
{
	/* '|' ends an append, '1' and '2' choose the stream, $ is CR, / is LF. */
	static const struct {
		const char *script;
		uint64_t offset, out, err;
	} rows[] = {
		{"1abc|", 0, 0, 0},
		{"1abc|", 1, 0, 1},
		{"1abc|", 2, 0, 2},
		{"1abc|", 3, 0, 3},
		{"1abc|", 9, 0, 3},
		{"1ab/cd|", 3, 3, 3},
		{"1ab/cd|", 4, 3, 4},
		{"1ab/cd/|", 6, 6, 6},
		{"1a|2b|1c|2d|", 4, 0, 1},
		{"1a|2b/|1c/|2d|", 5, 5, 5},
		{"1a|2b/|1c/|2d|", 6, 6, 5},
		{"1a|2b/|1c/|2d|", 3, 0, 3},
		{"1ab$cd|", 5, 3, 5},
		{"1ab$|", 3, 2, 3},     /* an LF may follow: from the CR on */
		{"1ab$|1c|", 4, 3, 4},  /* none did */
		{"1ab$|1/|", 4, 4, 4},  /* one did */
		{"1ab$|1/c|", 5, 4, 5}, /* and a line began */
		{"1ab$/c|", 3, 2, 3},
		{"1ab$/c|", 4, 4, 4},
		{"1ab$|2x/|1/c|", 7, 6, 7},
		{"1ab$|2x/|1/c|", 5, 2, 5},
		{"1//|", 1, 1, 1},
		{"", 0, 0, 0},
		{"", 5, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum outhub_stream s = OUTHUB_STDOUT;
		char text[32];
		size_t n = 0;

		/* Once with one record for all a stream writes, once with a record for each append.
		 */
		for (int merge = 0; merge < 2; merge++) {
			int64_t now = 1000;
			uint64_t starts[OUTHUB_STREAMS];

			print_message(
				"row %zu: %s at %d\n", i, rows[i].script, (int)rows[i].offset);
			rig.n = 0;
			rig_hub(&rig, false);
			for (const char *p = rows[i].script; *p != '\0'; p++) {
				switch (*p) {
				case '1': s = OUTHUB_STDOUT; break;
				case '2': s = OUTHUB_STDERR; break;
				case '$': text[n++] = '\r'; break;
				case '/': text[n++] = '\n'; break;
				case '|':
					clock_fake(0, merge ? now : now++);
					rig_append_bytes(&rig, s, text, n);
					n = 0;
					break;
				default: text[n++] = *p;
				}
			}
			outhub_line_starts(rig.hub, rows[i].offset, starts);
			assert_int_equal(starts[OUTHUB_STDOUT], rows[i].out);
			assert_int_equal(starts[OUTHUB_STDERR], rows[i].err);
			outhub_free(rig.hub);
			rig.hub = NULL;
		}
	}
	rig_turn(&rig);
}

static void clamps_line_starts_to_what_is_kept(void **state)
{
	uint64_t starts[OUTHUB_STREAMS];

	(void)state;
	rig_hub(&rig, false);
	rig_append_text(&rig, OUTHUB_STDERR, "prompt> ");
	for (int i = 0; i < 200; i++)
		rig_append_text(&rig, OUTHUB_STDOUT,
			"................................................................"
			"................................................................"
			"................................................................"
			"................................................................"
			"................................................................"
			"................................................................"
			"................................................................"
			"...............................................................\n");
	assert_true(outhub_oldest(rig.hub) > 8);
	outhub_line_starts(rig.hub, rig.n, starts);
	assert_int_equal(starts[OUTHUB_STDOUT], rig.n);
	assert_int_equal(starts[OUTHUB_STDERR], outhub_oldest(rig.hub));
	outhub_line_starts(rig.hub, 4, starts);
	assert_int_equal(starts[OUTHUB_STDOUT], outhub_oldest(rig.hub));
	assert_int_equal(starts[OUTHUB_STDERR], outhub_oldest(rig.hub));
	rig_hub_end(&rig);
}

static void knows_an_incomplete_character_at_the_end(void **state)
{
	static const struct {
		const char *pieces[5];
		size_t tail;
	} rows[] = {
		{{"abc"}, 0},
		{{"a\xe2\x82"}, 2},
		{{"a\xe2", "\x82"}, 2},
		{{"a\xe2", "\x82", "\xac"}, 0},
		{{"\xf0", "\x9f", "\x98"}, 3},
		{{"x", "\xf0", "\x9f", "\x98", "\x80"}, 0},
		{{"\xc3"}, 1},
		{{"\xff"}, 0},
		{{NULL}, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("row %zu\n", i);
		rig.n = 0;
		rig_hub(&rig, false);
		for (int k = 0; k < 5 && rows[i].pieces[k] != NULL; k++)
			rig_append_text(&rig, OUTHUB_STDOUT, rows[i].pieces[k]);
		assert_int_equal(outhub_utf8_tail(rig.hub), rows[i].tail);
		outhub_free(rig.hub);
	}
	rig_turn(&rig);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(gives_back_stream_offset_bytes_and_time),
		T(joins_what_one_stream_writes_in_one_millisecond),
		T(gives_at_most_what_was_asked_for_and_takes_back_what_was_too_much),
		T(is_small_while_it_holds_little),
		T(gives_back_room_for_growth_when_sealed),
		T(calls_a_waiting_reader_once_for_many_appends),
		T(misses_no_append_that_happens_inside_a_callback),
		T(calls_many_observers_in_slices),
		T(ends_followers_at_the_finish_and_bounded_readers_at_their_bound),
		T(a_bound_that_is_set_while_a_reader_waits_ends_it_there),
		T(a_seal_ends_bounded_readers_and_followers_wait_for_the_finish),
		T(an_empty_log_ends_too),
		T(drops_the_oldest_for_age_without_a_disk),
		T(keeps_what_it_was_told_to_keep_instead_of_what_the_limits_say),
		T(bounds_memory_also_when_every_byte_is_a_record),
		T(waits_for_its_owner_and_for_nobody_else),
		T(who_waits_to_be_the_owner_gets_his_turn_in_order),
		T(an_owner_that_gives_up_the_pace_goes_on_reading),
		T(an_owner_at_its_end_paces_nobody),
		T(one_large_read_costs_the_owner_nothing),
		T(an_owner_loses_nothing_to_small_records),
		T(survives_what_a_callback_does),
		T(tells_waiting_readers_when_it_is_freed_and_others_when_they_read),
		T(calls_nobody_after_it_was_freed),
		T(may_be_freed_inside_on_pace),
		T(knows_where_the_open_line_of_each_stream_began),
		T(clamps_line_starts_to_what_is_kept),
		T(knows_an_incomplete_character_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
