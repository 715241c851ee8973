/*
 * For the tests of the walk: a directory of its own below the current one, a loop with a pool and a
 * struct fs that has it as a root, a visitor that checks every entry and lists it, and a naive walk
 * to compare with. Visits happen on disk threads, where a test must not be failed: what is wrong is
 * counted in rig.wrong.
 */
#ifndef BOXD_TESTS_WALK_FIXTURE_H
#define BOXD_TESTS_WALK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/buf.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/walk.h"
#include "os_helpers.h"

struct rig {
	struct loop *loop;
	struct work_pool *pool;
	struct fs *fs;
	char top[PATH_MAX / 2];
	size_t fds; /* open when nothing of the rig is */

	struct walk_spec spec;
	struct walk *w;
	struct buf out;
	size_t max_take; /* at a time */
	bool slow;       /* takes one piece in a turn of the loop */
	struct loop_deferred taker;
	size_t takes, told;
	enum walk_state end;
	struct err error;
	struct walk_totals totals;

	atomic_size_t wrong, visits;
	atomic_size_t leaves, enters;
	atomic_bool freed; /* on_freed() was called */
	size_t times_freed;
};

static struct rig rig;

#define RIG_WRONG(condition) atomic_fetch_add(&rig.wrong, (condition) ? 1 : 0)

/* ---- files ---- */

static inline const char *rig_path(const char *below)
{
	static _Thread_local char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s%s", rig.top, below[0] == '\0' ? "" : "/", below);
	return path;
}

static inline void rig_mkdir(const char *below)
{
	assert_int_equal(mkdir(rig_path(below), 0755), 0);
}

static inline void rig_file(const char *below)
{
	assert_int_equal(mknod(rig_path(below), S_IFREG | 0644, 0), 0);
}

/* Without paths: they may be longer than what the kernel takes. */
static inline void rig_remove_in(int dir, const char *name)
{
	int fd;
	DIR *d;
	struct dirent *entry;

	if (unlinkat(dir, name, 0) == 0)
		return;
	fchmodat(dir, name, 0700, 0);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	while (d != NULL && (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rig_remove_in(dirfd(d), entry->d_name);
	}
	if (d != NULL)
		closedir(d);
	unlinkat(dir, name, AT_REMOVEDIR);
}

/* ---- life ---- */

/* So many may be at one walk: half of the pool's; one is all the pool has. */
static inline void rig_threads(size_t n)
{
	struct err e = {0};

	work_pool_free(rig.pool);
	limit_values[LIMIT_WORK_THREADS] = (int64_t)(2 * n - 1);
	rig.pool = work_pool_new(rig.loop, &e);
	assert_non_null(rig.pool);
	assert_int_equal(work_parallel(rig.pool), n);
}

static inline int rig_setup(void **state)
{
	static char *const no_variables[] = {NULL};
	struct confine_root root = {.path = rig.top};
	const struct fs_config fc = {
		.roots = &root, .nroots = 1, .environ = no_variables, .etc = "/etc"};
	struct err e = {0};
	char cwd[PATH_MAX / 4];

	(void)state;
	memset(&rig, 0, sizeof(rig));
	rig.fds = test_fds(0, NULL, 0);
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(rig.top, sizeof(rig.top), "%s/walk-XXXXXX", cwd);
	assert_non_null(mkdtemp(rig.top));
	assert_int_equal(chmod(rig.top, 0755), 0);
	rig.fs = fs_new(&fc, &e);
	assert_non_null(rig.fs);
	rig.loop = loop_new(&e);
	assert_non_null(rig.loop);
	rig_threads(2);
	rig.max_take = SIZE_MAX / 4;
	return 0;
}

static inline int rig_teardown(void **state)
{
	(void)state;
	work_pool_free(rig.pool);
	loop_free(rig.loop);
	fs_free(rig.fs);
	buf_fini(&rig.out);
	for (unsigned int i = 0; i < LIMIT_COUNT_; i++)
		limit_values[i] = limit_rows[i].def;
	rig_remove_in(AT_FDCWD, rig.top);
	assert_int_equal(access(rig.top, F_OK), -1);
	assert_int_equal(rig.wrong, 0);
	assert_int_equal(rig.enters, rig.leaves);
	assert_int_equal(test_fds(0, NULL, 0), rig.fds);
	return 0;
}

#define RIG(t) cmocka_unit_test_setup_teardown(t, rig_setup, rig_teardown)

/* ---- contexts: each knows its directory, and whose child it is ---- */

/* cmocka's test_calloc() keeps a list per thread: not for what another thread may free. */

struct rig_context {
	struct rig_context *parent;
	atomic_size_t children;
	char path[];
};

static inline void *rig_enter(
	void *arg, void *parent_arg, int dir, const char *path, size_t below_root)
{
	struct rig_context *parent = parent_arg;
	struct rig_context *c = calloc(1, sizeof(*c) + strlen(path) + 1);
	struct stat by_fd, by_path;

	(void)arg;
	if (c == NULL)
		abort();
	memcpy(c->path, path, strlen(path) + 1);
	c->parent = parent;
	atomic_fetch_add(&rig.enters, 1);
	RIG_WRONG(fstat(dir, &by_fd) < 0);
	RIG_WRONG(lstat(path, &by_path) == 0 && by_fd.st_ino != by_path.st_ino);
	if (parent == NULL) {
		RIG_WRONG(below_root != strlen(path) || strcmp(path, rig.spec.path) != 0);
		return c;
	}
	atomic_fetch_add(&parent->children, 1);
	/* Below it, by one name. */
	RIG_WRONG(strncmp(path, parent->path, strlen(parent->path)) != 0);
	RIG_WRONG(strrchr(path, '/') != path + strlen(parent->path));
	RIG_WRONG(below_root != strlen(rig.spec.path) + 1);
	return c;
}

static inline void rig_leave(void *arg, void *context)
{
	struct rig_context *c = context;

	(void)arg;
	RIG_WRONG(atomic_load(&c->children) != 0);
	if (c->parent != NULL)
		atomic_fetch_sub(&c->parent->children, 1);
	atomic_fetch_add(&rig.leaves, 1);
	free(c);
}

/* ---- visits ---- */

static inline void rig_check(struct walk_entry *e)
{
	const struct rig_context *c = e->dir_context;
	unsigned int depth = 1;

	RIG_WRONG(rig.freed);
	RIG_WRONG(strlen(e->path) != e->path_len || strchr(e->path + e->name, '/') != NULL);
	RIG_WRONG(e->path[e->name - 1] != '/' || e->worker >= work_parallel(rig.pool));
	RIG_WRONG(strncmp(e->path, rig.spec.path, strlen(rig.spec.path)) != 0);
	RIG_WRONG(faccessat(e->dir, "", F_OK, AT_EMPTY_PATH) < 0);
	if (e->depth == 0) {
		RIG_WRONG(e->below_root != e->path_len || c != NULL);
		return;
	}
	for (const char *p = e->path + e->below_root; *p != '\0'; p++)
		depth += *p == '/';
	RIG_WRONG(depth != e->depth || e->path[e->below_root - 1] != '/');
	if (rig.spec.visitor.enter == NULL)
		RIG_WRONG(c != NULL);
	else
		RIG_WRONG(strlen(c->path) + 1 != e->name ||
			  memcmp(c->path, e->path, e->name - 1) != 0);
}

/* One record of type, path below the root and NUL. */
static inline int rig_list(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	char type = (char)('0' + e->type);

	(void)arg;
	(void)w;
	rig_check(e);
	atomic_fetch_add(&rig.visits, 1);
	return buf_add(out, &type, 1) < 0 || buf_add(out, e->path + e->below_root,
						     e->path_len - e->below_root + 1) < 0
		       ? -1
		       : 0;
}

/* The same records from a walk that is as simple as it can be. */
static inline int rig_by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void rig_naive(const char *path, size_t below_root, unsigned int depth,
	unsigned int max_depth, struct buf *out)
{
	char *names[4096];
	size_t n = 0;
	const struct dirent *entry;
	DIR *d = opendir(path);

	assert_non_null(d);
	while ((entry = readdir(d)) != NULL && n < 4096) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			names[n++] = strdup(entry->d_name);
	}
	closedir(d);
	qsort(names, n, sizeof(names[0]), rig_by_name);
	for (size_t i = 0; i < n; i++) {
		size_t size = strlen(path) + strlen(names[i]) + 2;
		char *full = test_malloc(size);
		struct stat st;
		struct fs_stat fst;
		char type;

		snprintf(full, size, "%s/%s", path, names[i]);
		assert_int_equal(lstat(full, &st), 0);
		fs_stat_from(&st, &fst);
		type = (char)('0' + fst.type);
		assert_int_equal(buf_add(out, &type, 1), 0);
		assert_int_equal(buf_add(out, full + below_root, strlen(full + below_root) + 1), 0);
		if (fst.type == FS_DIRECTORY && depth + 1 < max_depth)
			rig_naive(full, below_root, depth + 1, max_depth, out);
		test_free(full);
		free(names[i]);
	}
}

/* ---- running ---- */

static inline void rig_on_freed(void *arg)
{
	assert_ptr_equal(arg, &rig);
	rig.times_freed++;
	atomic_store(&rig.freed, true);
}

/* The end as the walk tells it; the walk is freed then. */
static inline void rig_end(void)
{
	loop_defer_cancel(rig.loop, &rig.taker);
	rig.end = walk_state(rig.w);
	rig.totals = walk_totals(rig.w);
	if (rig.end == WALK_FAILED)
		rig.error = *walk_error(rig.w);
	walk_free(rig.w, rig_on_freed, &rig);
	rig.w = NULL;
	assert_int_equal(rig.times_freed, 1);
	loop_stop(rig.loop);
}

static inline void rig_take(void *arg)
{
	ssize_t n;

	(void)arg;
	do {
		n = walk_take(rig.w, &rig.out, rig.max_take);
		assert_true(n >= 0);
		rig.takes += n > 0;
	} while (n > 0 && !rig.slow);
	if (n > 0)
		loop_defer(rig.loop, &rig.taker);
	else if (walk_state(rig.w) != WALK_RUNNING)
		rig_end();
}

static inline void rig_on_output(void *arg)
{
	assert_ptr_equal(arg, &rig);
	assert_true(loop_on_thread(rig.loop));
	rig.told++;
	rig_take(NULL);
}

/* A walk of everything below the top, with the checks; to be changed before rig_start(). */
static inline void rig_default(void)
{
	rig.spec = (struct walk_spec){.fs = rig.fs,
		.path = rig.top,
		.max_depth = UINT32_MAX,
		.visitor = {.visit = rig_list, .enter = rig_enter, .leave = rig_leave},
		.on_output = rig_on_output,
		.arg = &rig};
	rig.visits = 0;
	rig.freed = false;
	rig.times_freed = rig.takes = rig.told = 0;
	buf_clear(&rig.out);
	rig.error = (struct err){0};
	loop_deferred_init(&rig.taker, rig_take, NULL);
}

static inline void rig_start(void)
{
	struct err e = {0};

	rig.w = walk_new(&rig.spec, rig.loop, rig.pool, &e);
	assert_non_null(rig.w);
	assert_int_equal(rig.told, 0);
}

static inline void rig_run(void)
{
	rig_start();
	assert_int_equal(loop_run(rig.loop), 0);
	assert_null(rig.w);
	assert_int_equal(rig.wrong, 0);
	assert_int_equal(rig.enters, rig.leaves);
}

static inline void rig_assert_output(const struct buf *expected)
{
	assert_int_equal(rig.end, WALK_ENDED);
	if (buf_len(expected) != buf_len(&rig.out))
		print_error("expected %zu bytes, got %zu\n", buf_len(expected), buf_len(&rig.out));
	assert_int_equal(buf_len(expected), buf_len(&rig.out));
	if (buf_len(expected) > 0)
		assert_memory_equal(buf_data(expected), buf_data(&rig.out), buf_len(expected));
}

/* The records as "path," each with its type in front; for small trees. */
static inline const char *rig_listed(void)
{
	static char text[4096];
	size_t n = buf_len(&rig.out);

	assert_true(n < sizeof(text));
	for (size_t i = 0; i < n; i++)
		text[i] = buf_data(&rig.out)[i] == '\0' ? ',' : (char)buf_data(&rig.out)[i];
	text[n] = '\0';
	return text;
}

#endif
