/*
 * What the tests of replace share: a box with one file that is changed again and again, and a
 * pread(2) that does what a test wants.
 */
#ifndef BOXD_TEST_REPLACE_FIXTURE_H
#define BOXD_TEST_REPLACE_FIXTURE_H

#include "boxd/replace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../../src/svc/replace_internal.h"
#include "boxd/buf.h"
#include "boxd/limits.h"
#include "os_helpers.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char dir[PATH_MAX];  /* holds the two roots */
static char path[PATH_MAX]; /* box/f, the file of most tests */
static struct fs *fs;
static uint32_t seed = 1;

/* ---- pread(2), as the tests want it ---- */

static struct {
	void (*before)(void); /* called once, before the read number `at` */
	int at, reads;
	int error;      /* errno of that read */
	size_t longest; /* what one read gives at most; 0: no matter */
} reading;

/* Takes the place of libc's for the code under test. */
ssize_t pread(int fd, void *to, size_t n, off_t offset)
{
	if (reading.reads++ == reading.at) {
		if (reading.before != NULL)
			reading.before();
		if (reading.error != 0) {
			errno = reading.error;
			return -1;
		}
	}
	if (reading.longest > 0 && n > reading.longest)
		n = reading.longest;
	return syscall(SYS_pread64, fd, to, n, offset);
}

/* ---- files ---- */

static inline void store(const char *name, const void *data, size_t n)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
	close(fd);
}

/* The file is exactly this. */
static inline bool holds(const char *name, const void *data, size_t n)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	uint8_t *got = malloc(n + 1);
	size_t have = 0;
	ssize_t r;

	assert_true(fd >= 0);
	assert_non_null(got);
	while ((r = read(fd, got + have, n + 1 - have)) > 0)
		have += (size_t)r;
	close(fd);
	bool same = have == n && (n == 0 || memcmp(got, data, n) == 0);
	free(got);
	return same;
}

/* Names in the directory of a file, but for "." and "..". */
static inline int names_beside(const char *file)
{
	char parent[PATH_MAX];
	const struct dirent *d;
	int n = 0;
	DIR *open_dir;

	snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(file, '/') - file), file);
	open_dir = opendir(parent);
	assert_non_null(open_dir);
	while ((d = readdir(open_dir)) != NULL)
		n += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
	closedir(open_dir);
	return n;
}

static inline char *in_dir(char out[static PATH_MAX], const char *name)
{
	snprintf(out, PATH_MAX, "%.4000s/%s", dir, name);
	return out;
}

static inline int make_box(void **state)
{
	char here[PATH_MAX - 64], box[PATH_MAX], ro[PATH_MAX], gone[PATH_MAX];
	const struct confine_root roots[] = {{box, false}, {ro, true}};
	char *no_env[] = {NULL};
	struct err e = {0};

	(void)state;
	if (getcwd(here, sizeof(here)) == NULL)
		return -1;
	snprintf(dir, sizeof(dir), "%s/replace-XXXXXX", here);
	if (mkdtemp(dir) == NULL || mkdir(in_dir(box, "box"), 0755) < 0 ||
		mkdir(in_dir(ro, "ro"), 0755) < 0)
		return -1;
	in_dir(path, "box/f");
	fs = fs_new(
		&(struct fs_config){
			.roots = roots, .nroots = 2, .environ = no_env, .etc = in_dir(gone, "etc")},
		&e);
	if (fs == NULL)
		fprintf(stderr, "%s\n", e.msg);
	return fs != NULL ? 0 : -1;
}

static inline int remove_box(void **state)
{
	char name[PATH_MAX];

	(void)state;
	fs_free(fs);
	return rmdir(in_dir(name, "box")) + rmdir(in_dir(name, "ro")) + rmdir(dir);
}

static inline int setup(void **state)
{
	(void)state;
	memset(&reading, 0, sizeof(reading));
	reading.at = -1;
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

/* ---- replacing ---- */

static const struct replace_sizes plain_sizes = {.window = 65536, .line_max = 1 << 20, .out = 4096};

static inline struct replace_spec text_spec(const char *old, const char *new_text)
{
	return (struct replace_spec){
		.path = path, .old = str_of(old), .new_text = str_of(new_text)};
}

static inline struct replace_spec regex_spec(const char *old, const char *new_text)
{
	struct replace_spec s = text_spec(old, new_text);

	s.regex = true;
	return s;
}

static inline void must_fail(const struct replace_spec *spec, const struct err_kind *kind)
{
	struct err e = {0};
	uint64_t count;

	if (replace_with_sizes(fs, spec, &plain_sizes, &count, &e) == 0)
		fail_msg("%.*s: no error", (int)spec->old.n, spec->old.p);
	if (e.kind != kind)
		fail_msg("%.*s: %s, %s", (int)spec->old.n, spec->old.p, e.kind->code, e.msg);
}

static inline uint64_t must_work(const struct replace_spec *spec, const struct replace_sizes *sizes)
{
	struct err e = {0};
	uint64_t count = 12345;

	if (replace_with_sizes(fs, spec, sizes, &count, &e) < 0)
		fail_msg("%.*s: %s, %s", (int)spec->old.n, spec->old.p, e.kind->code, e.msg);
	assert_null(e.kind);
	return count;
}

/* ---- rows and chance ---- */

/* A file, before and after. */
struct text_row {
	const char *before, *old, *new_text, *after;
	uint64_t count;
};

static inline uint32_t random_below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* Bytes out of a few, so that matches overlap each other and windows. */
static inline size_t random_text(char *out, size_t max, uint32_t letters, const char *alphabet)
{
	size_t n = random_below((uint32_t)max + 1);

	for (size_t i = 0; i < n; i++)
		out[i] = alphabet[random_below(letters)];
	return n;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
