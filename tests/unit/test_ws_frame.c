/* ws_frame: heads of frames row by row and under every cut, masks, close payloads. */
#include "boxd/ws_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "seed.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define KEY    "\x01\x02\x03\x04"
#define IN_ANY 0xff /* the row holds whatever is open */

static const struct row {
	const char *name;
	const char *head;
	size_t n;
	uint8_t open; /* the opcode of the message that is open, or IN_ANY */
	bool deflate;
	enum ws_frame_result end;
	size_t bad_at; /* with WS_FRAME_BAD: how many bytes are enough to tell */
	enum ws_opcode opcode;
	bool fin, rsv1;
	uint64_t payload;
} rows[] = {
#define HEAD(text)                         text, sizeof(text) - 1
#define GOOD(op, is_fin, is_rsv1, payload) WS_FRAME_DONE, 0, op, is_fin, is_rsv1, payload
#define BAD(at)                            WS_FRAME_BAD, at, 0, 0, 0, 0
#define MORE                               WS_FRAME_MORE, 0, 0, 0, 0, 0
	{"text 0", HEAD("\x81\x80" KEY), 0, false, GOOD(WS_TEXT, true, false, 0)},
	{"binary 125", HEAD("\x82\xfd" KEY), 0, false, GOOD(WS_BINARY, true, false, 125)},
	{"binary 126", HEAD("\x82\xfe\x00\x7e" KEY), 0, false, GOOD(WS_BINARY, true, false, 126)},
	{"binary 65535", HEAD("\x82\xfe\xff\xff" KEY), 0, false,
		GOOD(WS_BINARY, true, false, 65535)},
	{"binary 65536", HEAD("\x82\xff\0\0\0\0\0\1\0\0" KEY), 0, false,
		GOOD(WS_BINARY, true, false, 65536)},
	{"the longest", HEAD("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" KEY), 0, false,
		GOOD(WS_BINARY, true, false, INT64_MAX)},
	{"first fragment", HEAD("\x01\x85" KEY), 0, false, GOOD(WS_TEXT, false, false, 5)},
	{"middle fragment", HEAD("\x00\x85" KEY), 1, false, GOOD(WS_CONTINUATION, false, false, 5)},
	{"last fragment", HEAD("\x80\x80" KEY), 2, false, GOOD(WS_CONTINUATION, true, false, 0)},
	{"close", HEAD("\x88\x80" KEY), IN_ANY, false, GOOD(WS_CLOSE, true, false, 0)},
	{"ping 125", HEAD("\x89\xfd" KEY), IN_ANY, false, GOOD(WS_PING, true, false, 125)},
	{"pong", HEAD("\x8a\x81" KEY), IN_ANY, false, GOOD(WS_PONG, true, false, 1)},
	{"compressed text", HEAD("\xc1\x85" KEY), 0, true, GOOD(WS_TEXT, true, true, 5)},
	{"compressed fragment", HEAD("\x42\x85" KEY), 0, true, GOOD(WS_BINARY, false, true, 5)},
	/* reserved bits */
	{"RSV1 without deflate", HEAD("\xc1\x85" KEY), 0, false, BAD(1)},
	{"RSV1 on a continuation", HEAD("\xc0\x85" KEY), 1, true, BAD(1)},
	{"RSV1 on a close", HEAD("\xc8\x80" KEY), IN_ANY, true, BAD(1)},
	{"RSV1 on a ping", HEAD("\xc9\x80" KEY), IN_ANY, true, BAD(1)},
	{"RSV2", HEAD("\xa1\x85" KEY), IN_ANY, true, BAD(1)},
	{"RSV3", HEAD("\x91\x85" KEY), IN_ANY, true, BAD(1)},
	{"RSV2 and RSV3 on a pong", HEAD("\xba\x80" KEY), IN_ANY, true, BAD(1)},
	/* opcodes */
	{"opcode 3", HEAD("\x83\x80" KEY), IN_ANY, true, BAD(1)},
	{"opcode 4", HEAD("\x84\x80" KEY), IN_ANY, true, BAD(1)},
	{"opcode 5", HEAD("\x85\x80" KEY), IN_ANY, true, BAD(1)},
	{"opcode 6", HEAD("\x86\x80" KEY), IN_ANY, true, BAD(1)},
	{"opcode 7", HEAD("\x87\x80" KEY), IN_ANY, true, BAD(1)},
	{"opcode 11", HEAD("\x8b\x80" KEY), IN_ANY, true, BAD(1)},
	{"opcode 12", HEAD("\x8c\x80" KEY), IN_ANY, true, BAD(1)},
	{"opcode 13", HEAD("\x8d\x80" KEY), IN_ANY, true, BAD(1)},
	{"opcode 14", HEAD("\x8e\x80" KEY), IN_ANY, true, BAD(1)},
	{"opcode 15", HEAD("\x8f\x80" KEY), IN_ANY, true, BAD(1)},
	/* order */
	{"continuation of nothing", HEAD("\x80\x80" KEY), 0, false, BAD(1)},
	{"fragment of nothing", HEAD("\x00\x80" KEY), 0, true, BAD(1)},
	{"text in a text", HEAD("\x81\x80" KEY), 1, false, BAD(1)},
	{"binary in a text", HEAD("\x02\x80" KEY), 1, false, BAD(1)},
	{"text in a binary", HEAD("\x01\x80" KEY), 2, true, BAD(1)},
	/* control frames */
	{"fragmented close", HEAD("\x08\x80" KEY), IN_ANY, false, BAD(1)},
	{"fragmented ping", HEAD("\x09\x80" KEY), IN_ANY, false, BAD(1)},
	{"fragmented pong", HEAD("\x0a\x80" KEY), IN_ANY, false, BAD(1)},
	{"ping 126", HEAD("\x89\xfe\x00\x7e" KEY), IN_ANY, false, BAD(2)},
	{"close 65536", HEAD("\x88\xff\0\0\0\0\0\1\0\0" KEY), IN_ANY, false, BAD(2)},
	/* masks and lengths */
	{"no mask", HEAD("\x81\x05hello"), 0, false, BAD(2)},
	{"no mask on a ping", HEAD("\x89\x00"), IN_ANY, false, BAD(2)},
	{"125 in two bytes", HEAD("\x82\xfe\x00\x7d" KEY), 0, false, BAD(4)},
	{"0 in two bytes", HEAD("\x82\xfe\x00\x00" KEY), 0, false, BAD(4)},
	{"65535 in eight bytes", HEAD("\x82\xff\0\0\0\0\0\0\xff\xff" KEY), 0, false, BAD(10)},
	{"5 in eight bytes", HEAD("\x82\xff\0\0\0\0\0\0\0\5" KEY), 0, false, BAD(10)},
	{"top bit", HEAD("\x82\xff\x80\0\0\0\0\1\0\0" KEY), 0, false, BAD(3)},
	{"all bits", HEAD("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" KEY), 0, false, BAD(3)},
	/* not complete */
	{"nothing", HEAD(""), IN_ANY, true, MORE},
	{"half a length", HEAD("\x82\xff\0\0\0\0\0"), 0, false, MORE},
	{"half a mask", HEAD("\x82\x85\1\2"), 0, false, MORE},
};

/* The parser's answer to the first n bytes, from a copy of exactly that size. */
static enum ws_frame_result parse(
	const struct row *r, uint8_t open, size_t n, struct ws_frame *f, const char **why)
{
	const struct ws_order o = {.deflate = r->deflate, .open = (enum ws_opcode)open};
	uint8_t *exact = malloc(n > 0 ? n : 1);
	enum ws_frame_result end;

	assert_non_null(exact);
	memcpy(exact, r->head, n);
	*why = NULL;
	end = ws_frame_parse(&o, exact, n, f, why);
	free(exact);
	return end;
}

static void check_row(const struct row *r, uint8_t open)
{
	for (size_t n = 0; n <= r->n; n++) {
		struct ws_frame f = {0};
		const char *why;
		enum ws_frame_result end = parse(r, open, n, &f, &why), want = WS_FRAME_MORE;

		if (r->end == WS_FRAME_BAD && n >= r->bad_at)
			want = WS_FRAME_BAD;
		else if (r->end == WS_FRAME_DONE && n == r->n)
			want = WS_FRAME_DONE;
		if (end != want)
			fail_msg("%s, %u open, %zu bytes: %d, not %d", r->name, open, n, end, want);
		if ((end == WS_FRAME_BAD) != (why != NULL))
			fail_msg("%s: a reason when there is none to give, or none", r->name);
		if (end == WS_FRAME_DONE &&
			(f.opcode != r->opcode || f.fin != r->fin || f.rsv1 != r->rsv1 ||
				f.payload_n != r->payload || f.head_n != r->n ||
				memcmp(f.mask, KEY, 4) != 0))
			fail_msg("%s: read as something else", r->name);
	}
}

static void reads_every_head_as_early_as_it_can(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (rows[i].open != IN_ANY) {
			check_row(&rows[i], rows[i].open);
			continue;
		}
		for (uint8_t open = 0; open <= WS_BINARY; open++)
			check_row(&rows[i], open);
	}
}

static void control_frames_do_not_end_a_message(void **state)
{
	static const struct {
		struct ws_frame f;
		enum ws_opcode open;
	} steps[] = {
		{{.opcode = WS_TEXT, .fin = true}, 0},
		{{.opcode = WS_BINARY}, WS_BINARY},
		{{.opcode = WS_PING, .fin = true}, WS_BINARY},
		{{.opcode = WS_CONTINUATION}, WS_BINARY},
		{{.opcode = WS_PONG, .fin = true}, WS_BINARY},
		{{.opcode = WS_CONTINUATION, .fin = true}, 0},
		{{.opcode = WS_TEXT}, WS_TEXT},
		{{.opcode = WS_CONTINUATION, .fin = true}, 0},
		{{.opcode = WS_PING, .fin = true}, 0},
	};
	struct ws_order o = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(steps); i++) {
		ws_order_advance(&o, &steps[i].f);
		if (o.open != steps[i].open)
			fail_msg("after step %zu %d is open", i, o.open);
	}
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static void the_mask_goes_on_and_off_at_every_offset(void **state)
{
	uint32_t seed = test_seed();
	uint8_t data[160], plain[160];

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		size_t n = next_random(&seed) % 140, at = next_random(&seed) % 16;
		uint64_t offset = next_random(&seed);
		uint8_t mask[4];

		for (size_t i = 0; i < sizeof(data); i++)
			plain[i] = data[i] = (uint8_t)next_random(&seed);
		for (size_t i = 0; i < sizeof(mask); i++)
			mask[i] = (uint8_t)next_random(&seed);
		ws_unmask(data + at, n, mask, offset);
		for (size_t i = 0; i < sizeof(data); i++) {
			bool in = i >= at && i < at + n;
			uint8_t want = in ? plain[i] ^ mask[(offset + i - at) & 3] : plain[i];

			if (data[i] != want)
				fail_msg("byte %zu of %zu+%zu, offset %llu", i, at, n,
					(unsigned long long)offset);
		}
	}
	ws_unmask(NULL, 0, (const uint8_t[4]){1}, 0);
}

/* What we write, with a mask put in, is what we read. */
static void heads_that_are_written_can_be_read(void **state)
{
	static const struct {
		uint64_t n;
		size_t head_n;
	} sizes[] = {{0, 2}, {1, 2}, {125, 2}, {126, 4}, {65535, 4}, {65536, 10},
		{UINT64_C(1) << 32, 10}, {INT64_MAX, 10}};
	static const enum ws_opcode opcodes[] = {WS_TEXT, WS_BINARY, WS_CLOSE, WS_PING, WS_PONG};

	(void)state;
	for (size_t i = 0; i < COUNT(sizes) * COUNT(opcodes) * 2; i++) {
		const struct ws_order o = {.deflate = true};
		enum ws_opcode opcode = opcodes[i / 2 % COUNT(opcodes)];
		uint64_t size = sizes[i / 2 / COUNT(opcodes)].n;
		bool rsv1 = i % 2 != 0;
		uint8_t head[WS_HEAD_MAX + 4];
		struct ws_frame f;
		const char *why = NULL;

		if (ws_is_control(opcode) && (rsv1 || size > WS_CONTROL_MAX))
			continue;
		size_t n = ws_frame_head(head, opcode, rsv1, size);

		assert_int_equal(n, sizes[i / 2 / COUNT(opcodes)].head_n);
		assert_int_equal(head[1] & 0x80, 0);
		head[1] |= 0x80;
		memcpy(head + n, KEY, 4);
		assert_int_equal(ws_frame_parse(&o, head, n + 4, &f, &why), WS_FRAME_DONE);
		assert_true(f.payload_n == size && f.opcode == opcode && f.fin && f.rsv1 == rsv1);
	}
}

static void reads_close_payloads(void **state)
{
	static const struct {
		const char *payload;
		size_t n;
		uint16_t bad, code;
	} cases[] = {
		{"", 0, 0, 1005},
		{"\x03", 1, 1002, 1005},
		{"\x03\xe8", 2, 0, 1000},
		{"\x03\xe8good bye", 10, 0, 1000},
		{"\x0f\xa1\xe2\x82\xac", 5, 0, 4001},
		{"\x03\xe8\xe2\x82", 4, 1007, 1000},
		{"\x03\xe8\xff", 3, 1007, 1000},
		{"\x03\xe8\xed\xa0\x80", 5, 1007, 1000},
		{"\x03\xed\xff", 3, 1002, 1005},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t *exact = malloc(cases[i].n > 0 ? cases[i].n : 1);
		uint16_t code = 0, bad;

		assert_non_null(exact);
		memcpy(exact, cases[i].payload, cases[i].n);
		bad = ws_close_parse(exact, cases[i].n, &code);
		free(exact);
		if (bad != cases[i].bad || code != cases[i].code)
			fail_msg("row %zu: %u, code %u", i, bad, code);
	}
}

static void knows_the_codes_that_may_be_sent(void **state)
{
	static const struct {
		uint16_t first, last;
	} good[] = {{1000, 1003}, {1007, 1014}, {3000, 4999}};

	(void)state;
	for (unsigned code = 0; code <= UINT16_MAX; code++) {
		bool want = false;

		for (size_t i = 0; i < COUNT(good); i++)
			want |= code >= good[i].first && code <= good[i].last;
		if (ws_close_code_ok((uint16_t)code) != want)
			fail_msg("code %u", code);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_head_as_early_as_it_can),
		cmocka_unit_test(control_frames_do_not_end_a_message),
		cmocka_unit_test(the_mask_goes_on_and_off_at_every_offset),
		cmocka_unit_test(heads_that_are_written_can_be_read),
		cmocka_unit_test(reads_close_payloads),
		cmocka_unit_test(knows_the_codes_that_may_be_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
