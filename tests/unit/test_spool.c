/* The nameless file for parts of an upload that come before their metadata. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "boxd/spool.h"
#include "os_helpers.h"

struct place {
	char path[64];
	int dir;
};

static int make_place(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->path, sizeof(p->path), "spool-XXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(p->dir >= 0);
	*state = p;
	return 0;
}

static int remove_place(void **state)
{
	struct place *p = *state;

	close(p->dir);
	/* Fails when a file was left there. */
	assert_int_equal(rmdir(p->path), 0);
	free(p);
	return 0;
}

static void pieces_come_back_as_they_went_in(void **state)
{
	const struct place *p = *state;
	struct err e = {0};
	struct spool *s = spool_new(p->dir, &e);
	char big[100000], back[sizeof(big)];
	int out[2];

	assert_non_null(s);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7 + i / 256);
	assert_int_equal(spool_end(s), 0);
	assert_int_equal(spool_put(s, "first", 5, &e), 0);
	assert_int_equal(spool_put(s, NULL, 0, &e), 0);
	assert_int_equal(spool_end(s), 5);
	assert_int_equal(spool_put(s, big, sizeof(big), &e), 0);
	assert_int_equal(spool_end(s), 5 + sizeof(big));

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(spool_copy(s, 5 + 1000, 2000, out[1], &e), 0);
	assert_int_equal(read(out[0], back, sizeof(back)), 2000);
	assert_memory_equal(back, big + 1000, 2000);
	assert_int_equal(spool_copy(s, 0, 5, out[1], &e), 0);
	assert_int_equal(read(out[0], back, sizeof(back)), 5);
	assert_memory_equal(back, "first", 5);
	assert_int_equal(spool_copy(s, 3, 0, out[1], &e), 0);
	close(out[0]);
	close(out[1]);
	spool_free(s);
	spool_free(NULL);
}

static void more_than_there_is_is_an_error(void **state)
{
	const struct place *p = *state;
	struct err e = {0};
	struct spool *s = spool_new(p->dir, &e);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	assert_non_null(s);
	assert_int_equal(spool_put(s, "abc", 3, &e), 0);
	assert_int_equal(spool_copy(s, 1, 3, null, &e), -1);
	assert_ptr_equal(e.kind, &ERR_RUNTIME);
	close(null);
	spool_free(s);
}

static void a_full_disk_is_told_as_such(void **state)
{
	const struct place *p = *state;
	struct rlimit old, small;
	struct err e = {0};
	struct spool *s = spool_new(p->dir, &e);
	char data[8192] = {0};
	void (*was)(int) = signal(SIGXFSZ, SIG_IGN);

	assert_non_null(s);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(spool_put(s, data, sizeof(data), &e), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, was);
	assert_ptr_equal(e.kind, &ERR_NO_SPACE);
	spool_free(s);
}

static void nothing_is_left_open(void **state)
{
	const struct place *p = *state;
	struct err e = {0};
	char before[512], after[512];

	test_fds(0, before, sizeof(before));
	spool_free(spool_new(p->dir, &e));
	assert_null(spool_new(-5, &e));
	assert_int_equal(e.sys, EBADF);
	test_fds(0, after, sizeof(after));
	assert_string_equal(before, after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			pieces_come_back_as_they_went_in, make_place, remove_place),
		cmocka_unit_test_setup_teardown(
			more_than_there_is_is_an_error, make_place, remove_place),
		cmocka_unit_test_setup_teardown(
			a_full_disk_is_told_as_such, make_place, remove_place),
		cmocka_unit_test_setup_teardown(nothing_is_left_open, make_place, remove_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
