/* buf: compared with the simplest thing that could be right. */
#include "boxd/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "seed.h"

#define MODEL_MAX 20000
#define STEPS     20000

/* Content as an array that is moved at every drain. */
struct model {
	uint8_t bytes[MODEL_MAX];
	size_t len;
};

static void assert_same(const struct buf *b, const struct model *m)
{
	assert_int_equal(buf_len(b), m->len);
	if (m->len > 0)
		assert_memory_equal(buf_data(b), m->bytes, m->len);
	assert_true(b->tail <= b->cap);
}

static void step(struct buf *b, struct model *m, unsigned int *seed)
{
	uint8_t data[600];
	size_t n = (size_t)rand_r(seed) % sizeof(data);
	uint8_t *to;

	switch (rand_r(seed) % 8) {
	case 0:
	case 1:
	case 2:
		for (size_t i = 0; i < n; i++)
			data[i] = (uint8_t)rand_r(seed);
		if (m->len + n > MODEL_MAX)
			return;
		assert_int_equal(buf_add(b, data, n), 0);
		memcpy(m->bytes + m->len, data, n);
		m->len += n;
		break;
	case 3:
		if (m->len + n > MODEL_MAX)
			return;
		to = buf_reserve(b, n);
		assert_non_null(to);
		memset(to, 'r', n);
		buf_commit(b, n);
		memset(m->bytes + m->len, 'r', n);
		m->len += n;
		break;
	case 7:
		if (rand_r(seed) % 20 == 0)
			buf_trim(b);
		else if (rand_r(seed) % 100 == 0) {
			buf_clear(b);
			m->len = 0;
		}
		break;
	default:
		if (n > m->len)
			n = m->len;
		buf_drain(b, n);
		m->len -= n;
		memmove(m->bytes, m->bytes + n, m->len);
		break;
	}
}

static void any_sequence_of_calls_agrees_with_a_plain_array(void **state)
{
	unsigned int seed = test_seed();
	struct model *m = calloc(1, sizeof(*m));
	struct buf b = {0};

	(void)state;
	assert_non_null(m);
	print_message("seed %u\n", seed);
	for (int i = 0; i < STEPS; i++) {
		step(&b, m, &seed);
		assert_same(&b, m);
	}
	buf_fini(&b);
	free(m);
}

static void a_queue_in_steady_use_does_not_grow(void **state)
{
	struct buf b = {0};
	uint8_t chunk[1000] = {0};
	size_t cap;

	(void)state;
	for (int i = 0; i < 8; i++)
		assert_int_equal(buf_add(&b, chunk, sizeof(chunk)), 0);
	for (int i = 0; i < 100; i++) {
		buf_drain(&b, sizeof(chunk));
		assert_int_equal(buf_add(&b, chunk, sizeof(chunk)), 0);
	}
	cap = b.cap;
	assert_true(cap <= 4 * 8 * sizeof(chunk));
	for (int i = 0; i < 10000; i++) {
		buf_drain(&b, sizeof(chunk));
		assert_int_equal(buf_add(&b, chunk, sizeof(chunk)), 0);
	}
	assert_int_equal(b.cap, cap);
	buf_fini(&b);
}

static void an_empty_buffer_needs_no_memory_and_takes_nothing(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(buf_len(&b), 0);
	assert_null(buf_data(&b));
	assert_int_equal(buf_add(&b, NULL, 0), 0);
	assert_int_equal(buf_add_str(&b, ""), 0);
	buf_drain(&b, 0);
	buf_trim(&b);
	assert_null(b.mem);
	assert_non_null(buf_reserve(&b, 0));
	buf_fini(&b);
}

static void an_impossible_size_fails_and_changes_nothing(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(buf_add_str(&b, "keep"), 0);
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_null(buf_reserve(&b, SIZE_MAX - 4));
	assert_null(buf_reserve(&b, SIZE_MAX / 2));
	assert_int_equal(buf_len(&b), 4);
	assert_memory_equal(buf_data(&b), "keep", 4);
	buf_fini(&b);
}

static void printf_grows_the_buffer_as_needed(void **state)
{
	char word[501];
	struct buf b = {0};
	size_t total = 0;

	(void)state;
	for (size_t n = 0; n < sizeof(word); n++) {
		memset(word, 'w', n);
		word[n] = '\0';
		assert_int_equal(buf_printf(&b, "%zu:%s,", n, word), 0);
		total += n + 2 + (n < 10 ? 1 : n < 100 ? 2 : 3);
		assert_int_equal(buf_len(&b), total);
		assert_int_equal(buf_data(&b)[total - 1], ',');
	}
	assert_memory_equal(buf_data(&b), "0:,1:w,2:ww,", 12);
	buf_fini(&b);

	/* The first text into an empty buffer: one of them fills the room to the last byte. */
	for (size_t n = 0; n < 200; n++) {
		memset(word, 'w', n);
		word[n] = '\0';
		assert_int_equal(buf_printf(&b, "%s", word), 0);
		assert_int_equal(buf_len(&b), n);
		assert_memory_equal(buf_data(&b), word, n);
		buf_fini(&b);
	}
}

static void trimming_keeps_the_content_and_gives_the_rest_back(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_non_null(buf_reserve(&b, 100000));
	assert_int_equal(buf_add_str(&b, "0123456789"), 0);
	buf_drain(&b, 4);
	buf_trim(&b);
	assert_int_equal(b.cap, 6);
	assert_memory_equal(buf_data(&b), "456789", 6);
	assert_int_equal(buf_add_str(&b, "x"), 0);
	assert_memory_equal(buf_data(&b), "456789x", 7);
	buf_drain(&b, 7);
	buf_trim(&b);
	assert_null(b.mem);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_sequence_of_calls_agrees_with_a_plain_array),
		cmocka_unit_test(a_queue_in_steady_use_does_not_grow),
		cmocka_unit_test(an_empty_buffer_needs_no_memory_and_takes_nothing),
		cmocka_unit_test(an_impossible_size_fails_and_changes_nothing),
		cmocka_unit_test(printf_grows_the_buffer_as_needed),
		cmocka_unit_test(trimming_keeps_the_content_and_gives_the_rest_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
