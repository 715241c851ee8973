/*
 * Random sequences of everything a hub can do, held against a model that keeps all bytes: each byte
 * is right at its offset, data and gaps add up, lines resume where they were left. The limits are
 * so small that the log wraps, spills and drops all the time. The seed is printed; a number in
 * BOXD_TEST_SEED runs that one.
 */
#include "outhub_helpers.h"
#include "seed.h"

enum { OPS = 6000, OBSERVERS = 12 };

/* ---- a naive cutter: where each line of a stream ends, and what it says ---- */

struct event {
	uint64_t id;   /* offset after its terminator; the LF of a CRLF is not counted */
	uint64_t text; /* a hash */
};

struct cutter {
	uint64_t hash;
	size_t len;
	bool skip_lf;
};

static bool cutter_step(struct cutter *c, uint8_t b, uint64_t offset, struct event *ev)
{
	bool skip = c->skip_lf && b == '\n';

	c->skip_lf = false;
	if (skip)
		return false;
	if (b != '\n' && b != '\r') {
		c->hash = (c->hash ^ b) * 1099511628211u;
		c->len++;
		return false;
	}
	*ev = (struct event){.id = offset + 1, .text = c->len == 0 ? 1 : c->hash};
	*c = (struct cutter){.skip_lf = b == '\r'};
	return true;
}

struct script {
	struct event *events[OUTHUB_STREAMS];
	size_t n[OUTHUB_STREAMS], cap[OUTHUB_STREAMS];
	struct cutter cut[OUTHUB_STREAMS];
	size_t cut_to; /* model offset up to which it has cut */
	int64_t now;
	bool heeds; /* the writer waits when it is asked to */
	bool disk;
	int owner; /* observer, -1: none */
	struct observer o[OBSERVERS];
	unsigned resumed, gaps, finished_readers;
	uint64_t dropped;
};

static void script_cut(struct script *sc)
{
	for (; sc->cut_to < rig.n; sc->cut_to++) {
		int s = rig.streams[sc->cut_to];
		struct event ev;

		if (!cutter_step(&sc->cut[s], rig.bytes[sc->cut_to], sc->cut_to, &ev))
			continue;
		if (sc->n[s] == sc->cap[s]) {
			sc->cap[s] = sc->cap[s] == 0 ? 1024 : sc->cap[s] * 2;
			sc->events[s] = realloc(sc->events[s], sc->cap[s] * sizeof(ev));
			assert_non_null(sc->events[s]);
		}
		sc->events[s][sc->n[s]++] = ev;
	}
}

/* The first events after `since`, cut again from where the hub says, are those of the model. */
static void script_resume(struct script *sc, uint64_t since)
{
	uint64_t starts[OUTHUB_STREAMS];

	outhub_line_starts(rig.hub, since, starts);
	for (int s = 0; s < OUTHUB_STREAMS; s++) {
		struct cutter c = {0};
		size_t low = 0, high = sc->n[s], seen = 0;

		assert_true(starts[s] >= outhub_oldest(rig.hub));
		if (starts[s] == outhub_oldest(rig.hub))
			continue; /* the beginning of the line may be gone */
		assert_true(starts[s] <= since);
		while (low < high) {
			size_t mid = (low + high) / 2;

			if (sc->events[s][mid].id <= since)
				low = mid + 1;
			else
				high = mid;
		}
		for (uint64_t at = starts[s]; at < rig.n && seen < 4; at++) {
			struct event ev;

			if (rig.streams[at] != s || !cutter_step(&c, rig.bytes[at], at, &ev))
				continue;
			if (ev.id <= since)
				continue;
			assert_true(low + seen < sc->n[s]);
			assert_int_equal(ev.id, sc->events[s][low + seen].id);
			assert_int_equal(ev.text, sc->events[s][low + seen].text);
			seen++;
		}
		sc->resumed += seen > 0;
	}
}

/* ---- operations ---- */

static uint32_t script_size(void)
{
	switch (rig_random(&rig, 16)) {
	case 0: return rig_random(&rig, 30000);
	case 1:
	case 2:
	case 3: return rig_random(&rig, 5000);
	default: return rig_random(&rig, 40);
	}
}

static void script_append(struct script *sc)
{
	static uint8_t data[30000];
	uint32_t n = script_size();
	uint32_t lines = rig_random(&rig, 4) == 0 ? 5 : 200; /* bytes in one, about */
	bool must_wait = outhub_must_wait(rig.hub);
	uint64_t total = outhub_total(rig.hub);

	if (must_wait && sc->heeds)
		return;
	if (rig_random(&rig, 3) == 0)
		clock_fake(0, ++sc->now);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t x = rig_random(&rig, lines * 3);

		data[i] = x == 0 ? '\n' : x == 1 ? '\r' : (uint8_t)rig_random(&rig, 256);
		if (x == 2 && i + 1 < n) {
			data[i++] = '\r';
			data[i] = '\n';
		}
	}
	rig_append_bytes(&rig, rig_random(&rig, 4) == 0 ? OUTHUB_STDERR : OUTHUB_STDOUT, data, n);
	assert_int_equal(outhub_total(rig.hub), total + n);
	script_cut(sc);
}

static void script_attach(struct script *sc, struct observer *o)
{
	uint64_t oldest = outhub_oldest(rig.hub);
	uint64_t offset, bound = OUTHUB_FOLLOW;

	switch (rig_random(&rig, 5)) {
	case 0: offset = 0; break;
	case 1: offset = oldest; break;
	case 2: offset = rig.n; break;
	case 3: offset = rig.n + rig_random(&rig, 100); break;
	default: offset = oldest + rig_random(&rig, (uint32_t)(rig.n - oldest) + 1); break;
	}
	if (rig_random(&rig, 3) == 0)
		bound = offset + rig_random(&rig, 50000);
	observer_attach(o, &rig, offset, bound);
	/* One that does not wait for its owner gives it no promise either. */
	if (sc->heeds && sc->owner < 0 && bound == OUTHUB_FOLLOW && offset >= rig.n) {
		sc->owner = (int)(o - sc->o);
		outhub_set_owner(o->rd);
	}
}

static void script_detach(struct script *sc, struct observer *o)
{
	if (o - sc->o == sc->owner)
		sc->owner = -1;
	assert_int_equal(o->data + o->gaps, o->at - o->begin);
	sc->gaps += o->gap_events;
	sc->dropped += o->gaps;
	observer_detach(o);
}

static void script_read(struct script *sc, struct observer *o)
{
	uint64_t before = o->at;
	uint64_t oldest = outhub_oldest(rig.hub);
	enum outhub_read res;

	/* Each has a pace of its own. */
	if (o->waits && rig_random(&rig, 20) > 0)
		return;
	res = observer_read(o, 1 + rig_random(&rig, (uint32_t)(1 << (2 * (o - sc->o) % 16))));
	if (res == OUTHUB_GAP) {
		assert_true(before < oldest);
		assert_int_equal(o->at, oldest < o->bound ? oldest : o->bound);
		assert_int_not_equal(o - sc->o, sc->owner);
	} else if (res == OUTHUB_DATA) {
		assert_true(before >= oldest);
	} else if (res == OUTHUB_END) {
		script_detach(sc, o);
		sc->finished_readers++;
	}
}

static void script_check(const struct script *sc)
{
	uint64_t kept = outhub_total(rig.hub) - outhub_oldest(rig.hub);

	assert_int_equal(outhub_lost(rig.hub), 0);
	assert_int_equal(
		outhub_bytes(rig.hub, OUTHUB_STDOUT) + outhub_bytes(rig.hub, OUTHUB_STDERR), rig.n);
	assert_true(kept <= RIG_LOG);
	assert_true(outhub_disk(rig.hub) <= RIG_LOG);
	/* Behind the disk at most what was appended since the hub asked to wait. */
	if (!sc->disk)
		assert_in_range(outhub_memory(rig.hub), 0, RIG_MEMORY + 16384);
	else if (sc->heeds)
		assert_in_range(outhub_memory(rig.hub), 0, 2 * RIG_MEMORY + 65536);
}

static void script_step(struct script *sc)
{
	struct observer *o = &sc->o[rig_random(&rig, OBSERVERS)];

	switch (rig_random(&rig, 10)) {
	case 0:
	case 1: script_append(sc); break;
	case 2: rig_turn(&rig); break;
	case 3:
		if (o->rd == NULL)
			script_attach(sc, o);
		else if (rig_random(&rig, 10) == 0)
			script_detach(sc, o);
		break;
	case 4:
		if (rig.n > 0)
			script_resume(sc, 1 + rig_random(&rig, (uint32_t)rig.n));
		if (sc->n[0] > 10) /* more often near the end, at the end of a line */
			script_resume(sc, sc->events[0][sc->n[0] - 1 - rig_random(&rig, 10)].id);
		break;
	default:
		if (o->rd != NULL)
			script_read(sc, o);
		break;
	}
	script_check(sc);
}

static void script_end(struct script *sc)
{
	outhub_finish(rig.hub);
	rig_append(&rig, OUTHUB_STDOUT, 5000);
	outhub_seal(rig.hub);
	if (rig_random(&rig, 2) == 0)
		rig_settle(&rig);
	for (int i = 0; i < OBSERVERS; i++) {
		struct observer *o = &sc->o[i];

		if (o->rd == NULL)
			continue;
		rig_turn(&rig);
		/* Bounded ones may have to be called once more, followers end at the finish. */
		while (o->last != OUTHUB_END) {
			if (!o->waits)
				observer_read(o, 100000);
			else
				rig_disk_sync(&rig);
		}
		script_detach(sc, o);
	}
	assert_int_equal(rig_replay(&rig, 0), outhub_oldest(rig.hub));
	rig_hub_end(&rig);
	free(sc->events[0]);
	free(sc->events[1]);
}

static struct script script_run(uint32_t seed)
{
	struct script sc = {.owner = -1, .now = 1000000};

	print_message("seed %u\n", seed);
	rig.random = seed;
	rig.n = 0;
	sc.disk = rig_random(&rig, 4) > 0;
	sc.heeds = rig_random(&rig, 3) > 0;
	clock_fake(0, sc.now);
	rig_limit(LIMIT_HUB_OWNER_WINDOW_BYTES, 4096 + rig_random(&rig, 30000));
	rig_hub(&rig, sc.disk);
	for (int i = 0; i < OPS; i++)
		script_step(&sc);
	script_end(&sc);
	return sc;
}

static void agrees_with_a_model_that_keeps_everything(void **state)
{
	uint32_t seed = test_seed();
	unsigned resumed = 0, gaps = 0, finished = 0;
	uint64_t dropped = 0;

	(void)state;
	for (uint32_t i = 0; i < 12; i++) {
		struct script sc = script_run(seed + i * 7919);

		resumed += sc.resumed;
		gaps += sc.gaps;
		dropped += sc.dropped;
		finished += sc.finished_readers;
	}
	/* It did what it is for. */
	print_message("%u resumed lines, %u gaps of %llu bytes, %u readers at their end\n", resumed,
		gaps, (unsigned long long)dropped, finished);
	assert_true(resumed > 1000);
	assert_true(gaps > 100);
	assert_true(finished > 20);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			agrees_with_a_model_that_keeps_everything, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
