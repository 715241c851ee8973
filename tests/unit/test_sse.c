/* sse: both framings to the byte, the choice between them, and memory running out half way. */
#include "boxd/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto_oom.h"

static void assert_holds(const struct buf *b, const char *want)
{
	if (buf_len(b) != strlen(want) || memcmp(buf_data(b), want, strlen(want)) != 0)
		fail_msg("\n got %.*s\nwant %s", (int)buf_len(b), (const char *)buf_data(b), want);
}

static void frames_a_text_in_both_forms(void **state)
{
	static const struct {
		enum sse_form form;
		uint64_t id;
		const char *type, *text;
		int64_t at;
		const char *want;
	} rows[] = {
		{SSE_BARE, 7, "stdout", "hi", 1700000000123,
			"{\"type\":\"stdout\",\"text\":\"hi\",\"timestamp\":1700000000123}\n\n"},
		{SSE_BARE, SSE_NO_ID, "stderr", "\n", 0,
			"{\"type\":\"stderr\",\"text\":\"\\n\",\"timestamp\":0}\n\n"},
		{SSE_STANDARD, 0, "stdout", "\x1b[0m\xff", 1,
			"id: 0\ndata: {\"type\":\"stdout\",\"text\":\"\\u001b[0m\xef\xbf\xbd\","
			"\"timestamp\":1}\n\n"},
		{SSE_STANDARD, UINT64_MAX - 1, "stdout", "", INT64_MIN,
			"id: 18446744073709551614\ndata: {\"type\":\"stdout\",\"text\":\"\","
			"\"timestamp\":-9223372036854775808}\n\n"},
		{SSE_STANDARD, SSE_NO_ID, "stdout", "x", 5,
			"data: {\"type\":\"stdout\",\"text\":\"x\",\"timestamp\":5}\n\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = {0};

		assert_int_equal(
			sse_text(&b, rows[i].form, rows[i].id, rows[i].type,
				(const uint8_t *)rows[i].text, strlen(rows[i].text), rows[i].at),
			0);
		assert_holds(&b, rows[i].want);
		buf_fini(&b);
	}
}

static void puts_members_between_type_and_timestamp(void **state)
{
	static const struct {
		enum sse_form form;
		uint64_t id;
		const char *want;
	} rows[] = {
		{SSE_BARE, 3, "{\"type\":\"init\",\"text\":\"id\",\"timestamp\":9}\n\n"},
		{SSE_STANDARD, 3,
			"id: 3\ndata: {\"type\":\"init\",\"text\":\"id\",\"timestamp\":9}\n\n"},
		{SSE_STANDARD, SSE_NO_ID,
			"data: {\"type\":\"init\",\"text\":\"id\",\"timestamp\":9}\n\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = {0};
		struct jsonw w;

		sse_begin(&w, &b, rows[i].form, rows[i].id, "init");
		jsonw_key(&w, "text");
		jsonw_str(&w, "id");
		assert_int_equal(sse_end(&w, rows[i].form, 9), 0);
		assert_holds(&b, rows[i].want);
		buf_fini(&b);
	}
}

static void an_event_never_holds_a_raw_line_break(void **state)
{
	uint8_t text[256 + 8];
	struct buf b = {0};
	size_t breaks = 0;

	(void)state;
	for (size_t i = 0; i < 256; i++)
		text[i] = (uint8_t)i;
	memcpy(text + 256, "\xc2\x85\xe2\x80\xa8\xe2\x80\xa9", 8);
	assert_int_equal(sse_text(&b, SSE_BARE, 0, "stdout", text, sizeof(text), 1), 0);
	for (size_t i = 0; i < buf_len(&b); i++)
		breaks += buf_data(&b)[i] < 0x20;
	assert_int_equal(breaks, 2);
	assert_null(memmem(buf_data(&b), buf_len(&b), "\xc2\x85", 2));
	assert_null(memmem(buf_data(&b), buf_len(&b), "\xe2\x80\xa8", 3));
	assert_null(memmem(buf_data(&b), buf_len(&b), "\xe2\x80\xa9", 3));
	buf_fini(&b);
}

static void leaves_the_buffer_as_it_was_when_memory_is_out(void **state)
{
	static const uint8_t text[3000];
	int failures = 0;

	(void)state;
	for (int granted = 0; granted < 8; granted++) {
		struct buf b = {0};
		int rc;

		assert_int_equal(buf_add_str(&b, "drained and kept"), 0);
		buf_drain(&b, 12);
		oom_after = granted;
		rc = sse_text(&b, SSE_STANDARD, 1, "stdout", text, sizeof(text), 1);
		oom_after = -1;
		if (rc < 0) {
			failures++;
			assert_holds(&b, "kept");
		} else {
			assert_true(buf_len(&b) > 6 * sizeof(text));
		}
		buf_fini(&b);
	}
	assert_in_range(failures, 3, 7);
}

static void tells_when_an_event_could_not_be_written(void **state)
{
	(void)state;
	for (int form = SSE_BARE; form <= SSE_STANDARD; form++) {
		struct buf b = {0};
		struct jsonw w;

		oom_after = 0;
		sse_begin(&w, &b, (enum sse_form)form, 1, "ping");
		oom_after = -1;
		assert_int_equal(sse_end(&w, (enum sse_form)form, 1), -1);
		buf_fini(&b);
	}
}

static void the_form_follows_the_accept_field(void **state)
{
	static const struct {
		const char *accept;
		enum sse_form form;
	} rows[] = {
		{"text/event-stream", SSE_STANDARD},
		{"Text/Event-Stream", SSE_STANDARD},
		{"text/event-stream;q=0.9", SSE_STANDARD},
		{"application/json, text/event-stream ; charset=utf-8", SSE_STANDARD},
		{"", SSE_BARE},
		{"*/*", SSE_BARE},
		{"text/*", SSE_BARE},
		{"application/json", SSE_BARE},
		{"text/event-streams", SSE_BARE},
		{"xtext/event-stream", SSE_BARE},
		{"text/plain; x=\"text/event-stream, \"", SSE_BARE},
	};

	(void)state;
	assert_int_equal(sse_form_of((struct str){NULL, 0}), SSE_BARE);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (sse_form_of(str_of(rows[i].accept)) != rows[i].form)
			fail_msg("%s", rows[i].accept);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_a_text_in_both_forms),
		cmocka_unit_test(puts_members_between_type_and_timestamp),
		cmocka_unit_test(an_event_never_holds_a_raw_line_break),
		cmocka_unit_test(leaves_the_buffer_as_it_was_when_memory_is_out),
		cmocka_unit_test(tells_when_an_event_could_not_be_written),
		cmocka_unit_test(the_form_follows_the_accept_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
