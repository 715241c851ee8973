/*
 * Fuzzes ranges of lines. The first three bytes of an input choose the first line, the number of
 * lines, cuts and the room of the output. The oracle: what comes out is what splitting the whole
 * text gives, however it is fed, and no output is larger than its room.
 */
#include <string.h>

#include "boxd/buf.h"
#include "boxd/lines.h"
#include "fuzz.h"

/* The lines one by one, out of a text that is there as a whole. */
static void split(
	const uint8_t *data, size_t size, uint64_t offset, uint64_t limit, struct buf *out)
{
	uint64_t number = 1, given = 0;

	for (size_t at = 0; at < size; number++) {
		size_t end = at, text;

		while (end < size && data[end] != '\n')
			end++;
		for (text = end; text > at && data[text - 1] == '\r'; text--)
			;
		if (number >= offset && given < limit) {
			FUZZ_CHECK(given++ == 0 || buf_add(out, "\n", 1) == 0);
			FUZZ_CHECK(buf_add(out, data + at, text - at) == 0);
		}
		at = end + 1;
	}
}

/* A room of 0 is one that is never full. */
static void feed(const uint8_t *data, size_t size, struct lines *l, uint32_t seed, size_t room,
	struct buf *out)
{
	enum lines_result r = LINES_MORE;

	for (size_t at = 0; r != LINES_DONE && at < size;) {
		size_t step = fuzz_step(&seed, size - at), n = step;
		const uint8_t *in = data + at;
		struct buf part = {0};

		r = lines_feed(l, &in, &n, &part, room > 0 ? room : SIZE_MAX);
		FUZZ_CHECK(in == data + at + step - n);
		FUZZ_CHECK(r != LINES_NO_MEM && (r != LINES_MORE || n == 0));
		FUZZ_CHECK(room == 0 || buf_len(&part) <= room);
		FUZZ_CHECK(r != LINES_FULL || buf_len(&part) == room);
		FUZZ_CHECK(r != LINES_DONE || l->left == 0);
		FUZZ_CHECK(buf_add(out, buf_data(&part), buf_len(&part)) == 0);
		buf_fini(&part);
		at += step - n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf expected = {0}, got = {0};
	struct lines l;

	if (size < 3)
		return 0;
	uint64_t offset = (uint64_t)(data[0] & 15) + 1, limit = data[0] >> 4;
	size_t room = data[1] & 15, times = (data[1] >> 4) + 1u;
	/* The text several times over reaches beyond the blocks in which lines are counted. */
	struct buf text = {0};
	for (size_t i = 0; i < times; i++)
		FUZZ_CHECK(buf_add(&text, data + 3, size - 3) == 0);
	if (times > 8)
		offset *= size / 4 + 1;
	if (limit == 15)
		limit = UINT64_MAX;
	split(buf_data(&text), buf_len(&text), offset, limit, &expected);
	lines_init(&l, offset, limit);
	feed(buf_data(&text), buf_len(&text), &l, data[2], room, &got);
	FUZZ_CHECK(buf_len(&got) == buf_len(&expected));
	FUZZ_CHECK(buf_len(&got) == 0 ||
		   memcmp(buf_data(&got), buf_data(&expected), buf_len(&got)) == 0);
	buf_clear(&got);
	lines_init(&l, offset, limit);
	const uint8_t *in = buf_data(&text);
	size_t n = buf_len(&text);
	if (n > 0)
		FUZZ_CHECK(lines_feed(&l, &in, &n, &got, SIZE_MAX) != LINES_FULL);
	FUZZ_CHECK(buf_len(&got) == buf_len(&expected));
	FUZZ_CHECK(buf_len(&got) == 0 ||
		   memcmp(buf_data(&got), buf_data(&expected), buf_len(&got)) == 0);
	buf_fini(&got);
	buf_fini(&expected);
	buf_fini(&text);
	return 0;
}
