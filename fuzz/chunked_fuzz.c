/*
 * Fuzzes the chunked transfer coding. The first byte of an input chooses cuts and limits. The
 * oracle: however a body is cut into reads, the same bytes come out and it ends at the same place
 * in the same way; what is encoded from any bytes decodes to them.
 */
#include <string.h>

#include "boxd/buf.h"
#include "boxd/chunked.h"
#include "fuzz.h"

struct outcome {
	struct buf body;
	size_t taken;
	enum chunked_result end;
};

static void decode(
	const uint8_t *data, size_t size, size_t meta_max, uint32_t *seed, struct outcome *o)
{
	struct chunked c;

	*o = (struct outcome){.end = CHUNKED_MORE};
	chunked_init(&c, meta_max);
	do {
		size_t step = seed != NULL ? fuzz_step(seed, size - o->taken) : size;
		const uint8_t *in = data + o->taken, *run;
		size_t n = step, run_n;

		while ((o->end = chunked_next(&c, &in, &n, &run, &run_n)) == CHUNKED_DATA) {
			FUZZ_CHECK(run_n > 0 && run >= data && run + run_n == in);
			FUZZ_CHECK(buf_add(&o->body, run, run_n) == 0);
		}
		FUZZ_CHECK(o->end != CHUNKED_MORE || n == 0);
		o->taken += step - n;
	} while (o->end == CHUNKED_MORE && o->taken < size);
}

static void check_cuts(const uint8_t *data, size_t size, size_t meta_max, uint32_t seed)
{
	struct outcome whole, cut;

	decode(data, size, meta_max, NULL, &whole);
	decode(data, size, meta_max, &seed, &cut);
	FUZZ_CHECK(whole.end == cut.end && whole.taken == cut.taken);
	FUZZ_CHECK(buf_len(&whole.body) == buf_len(&cut.body));
	FUZZ_CHECK(buf_len(&whole.body) == 0 ||
		   memcmp(buf_data(&whole.body), buf_data(&cut.body), buf_len(&cut.body)) == 0);
	/* Each chunk costs more than its data. */
	FUZZ_CHECK(buf_len(&whole.body) <= whole.taken);
	buf_fini(&whole.body);
	buf_fini(&cut.body);
}

static void check_encoded(const uint8_t *data, size_t size, uint32_t seed)
{
	static const char *const extensions[] = {"", ";a", " ; b = \"c\\\"\t\"", ";d=e;f"};
	struct buf coded = {0};
	struct outcome o;

	for (size_t at = 0; at < size;) {
		size_t step = fuzz_step(&seed, size - at);

		FUZZ_CHECK(buf_printf(&coded, seed & 0x10000 ? "%zx%s\r\n" : "%05zX%s\r\n", step,
				   extensions[seed >> 20 & 3]) == 0);
		FUZZ_CHECK(buf_add(&coded, data + at, step) == 0);
		FUZZ_CHECK(buf_add_str(&coded, "\r\n") == 0);
		at += step;
	}
	FUZZ_CHECK(buf_add_str(&coded, seed & 1 ? "0\r\n\r\n" : "0\r\na: b\r\n\r\n") == 0);
	decode(buf_data(&coded), buf_len(&coded), 64, &seed, &o);
	FUZZ_CHECK(o.end == CHUNKED_DONE && o.taken == buf_len(&coded));
	FUZZ_CHECK(buf_len(&o.body) == size);
	FUZZ_CHECK(size == 0 || memcmp(buf_data(&o.body), data, size) == 0);
	buf_fini(&o.body);
	buf_fini(&coded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	check_cuts(data + 1, size - 1, data[0] & 1 ? 16 : 8192, data[0]);
	check_encoded(data + 1, size - 1, data[0]);
	return 0;
}
