/* The walk: what it finds, in which order, and what it does about what it cannot read. */
#include "walk_fixture.h"

#include <errno.h>
#include <sys/resource.h>

#include "../../src/svc/walk_internal.h"

/* ---- order ---- */

static uint32_t seed;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* Names of any bytes, in UTF-8, with spaces, with long common beginnings, or short. */
static void random_name(char *name, size_t cap)
{
	static const char *const parts[] = {"\xc3\xa9", "\xe2\x82\xac", " ", "\n",
		"common-beginning-", "a", "b", ".", "-", "\\"};
	size_t n = 1 + random_below(random_below(20) == 0 ? 200 : 12), len = 0;

	if (random_below(2) == 0) {
		while (len < n) {
			char c = (char)(1 + random_below(255));

			if (c != '/')
				name[len++] = c;
		}
	} else {
		if (random_below(2) == 0)
			len = (size_t)sprintf(name, "a-long-common-beginning-of-names-");
		for (; n > 0 && len + 20 < cap; n--)
			len += (size_t)sprintf(name + len, "%s",
				parts[random_below(sizeof(parts) / sizeof(parts[0]))]);
	}
	name[len] = '\0';
}

static size_t random_tree(int dir, unsigned int depth, size_t entries)
{
	size_t made = 0;

	for (size_t i = 0; i < entries; i++) {
		char name[256];
		int fd;

		random_name(name, sizeof(name));
		switch (random_below(depth < 6 ? 10 : 7)) {
		case 0: made += symlinkat(".", dir, name) == 0; break;
		case 1: made += mknodat(dir, name, S_IFIFO | 0600, 0) == 0; break;
		case 7:
		case 8:
		case 9:
			if (mkdirat(dir, name, 0755) < 0)
				break;
			fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			assert_true(fd >= 0);
			made += 1 + random_tree(fd, depth + 1, entries * random_below(80) / 100);
			close(fd);
			break;
		default: made += mknodat(dir, name, S_IFREG | 0644, 0) == 0;
		}
	}
	return made;
}

static void the_order_is_that_of_a_naive_walk_however_many_threads_and_pauses(void **state)
{
	static const struct {
		size_t threads;
		int64_t slice_ms, walk_bytes;
		size_t max_take;
		bool slow;
	} rows[] = {
		{1, 5, 4194304, SIZE_MAX / 4, false},
		{2, 5, 4194304, SIZE_MAX / 4, false},
		{4, 5, 4194304, SIZE_MAX / 4, false},
		{1, 0, 4194304, SIZE_MAX / 4, false},
		{4, 0, 4194304, 4096, true},
		{2, 5, 2000, 700, true},
		{4, 1, 5000, 100000, true},
		{4, 0, 300, 500, false},
		{3, 0, 1, SIZE_MAX / 4, false},
		{4, 5, 30000, 1, false},
	};
	struct buf expected = {0};
	int dir = open(rig.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t made;

	(void)state;
	seed = 20261120;
	made = random_tree(dir, 0, 28);
	close(dir);
	assert_in_range(made, 300, 20000);
	rig_naive(rig.top, strlen(rig.top) + 1, 0, UINT32_MAX, &expected);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rig_threads(rows[i].threads);
		limit_values[LIMIT_FS_SLICE_MS] = rows[i].slice_ms;
		limit_values[LIMIT_FS_WALK_BYTES] = rows[i].walk_bytes;
		rig_default();
		rig.max_take = rows[i].max_take;
		rig.slow = rows[i].slow;
		rig_run();
		if (buf_len(&rig.out) != buf_len(&expected) || rig.totals.entries != made)
			print_error("row %zu: %llu of %zu entries\n", i,
				(unsigned long long)rig.totals.entries, made);
		rig_assert_output(&expected);
		assert_int_equal(rig.totals.entries, made);
		assert_int_equal(rig.visits, made);
		assert_int_equal(rig.totals.unreadable, 0);
		assert_int_equal(rig.enters, rig.totals.directories * (i + 1));
	}
	buf_fini(&expected);
}

static void names_are_sorted_by_bytes_whatever_they_have_in_common(void **state)
{
	static const char *const beginnings[] = {"", "x", "1234567", "12345678", "123456789",
		"12345678abcdefgh", "12345678abcdefghi", "12345678abcdefg",
		"zzzzzzzzzzzzzzzzzzzzzzzz"};
	int dir = open(rig.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct walk_names names = {0};
	_Alignas(8) uint8_t dents[4096];

	(void)state;
	seed = 5;
	for (size_t i = 0; i < 3000; i++) {
		char name[128], *p = name + sprintf(name, "%s", beginnings[random_below(9)]);

		for (size_t n = random_below(12); n > 0 || p == name; n -= n > 0)
			*p++ = random_below(3) == 0 ? (char)0xf0 : (char)('7' + random_below(3));
		*p = '\0';
		mknodat(dir, name, S_IFREG | 0644, 0);
	}
	assert_int_equal(walk_names_read(&names, dir, dents, sizeof(dents)), 0);
	assert_in_range(names.n, 1500, 3000);
	assert_int_equal(walk_names_sort(&names), 0);
	for (size_t i = 1; i < names.n; i++)
		assert_true(strcmp(names.text + names.list[i - 1].at + 1,
				    names.text + names.list[i].at + 1) < 0);
	walk_names_fini(&names);
	close(dir);
}

/* As a filesystem may tell it when entries move while they are read. */
static void a_name_that_comes_twice_does_no_harm(void **state)
{
	const char name[] = "twelve bytes";
	struct walk_names names = {0};

	(void)state;
	names.cap = names.n = 20;
	names.list = malloc(names.cap * sizeof(*names.list));
	names.text = malloc(names.n * (sizeof(name) + 1) + 8);
	assert_non_null(names.list);
	assert_non_null(names.text);
	for (size_t i = 0; i < names.n; i++) {
		names.list[i].at = names.text_len;
		names.text[names.text_len] = FS_FILE;
		memcpy(names.text + names.text_len + 1, name, sizeof(name));
		names.text_len += sizeof(name) + 1;
	}
	names.text_cap = names.text_len + 8;
	assert_int_equal(walk_names_sort(&names), 0);
	for (size_t i = 0; i < names.n; i++)
		assert_string_equal(names.text + names.list[i].at + 1, name);
	walk_names_fini(&names);
}

static void a_large_directory_is_shared_by_the_threads_and_complete(void **state)
{
	const size_t n = 200000;
	int dir = open(rig.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *p;
	char name[32], first[32];

	(void)state;
	/* Links, because they are made in a fraction of the time; a file may not have that many. */
	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "entry-%06zu", i * 7919 % n);
		if (i % 1000 > 0) {
			assert_int_equal(linkat(dir, first, dir, name, 0), 0);
		} else {
			assert_int_equal(mknodat(dir, name, S_IFREG | 0644, 0), 0);
			memcpy(first, name, sizeof(first));
		}
	}
	close(dir);
	rig_default();
	rig_run();
	assert_int_equal(rig.totals.entries, n);
	assert_int_equal(rig.totals.directories, 1);
	p = (const char *)buf_data(&rig.out);
	assert_int_equal(buf_len(&rig.out), n * 14);
	for (size_t i = 0; i < n; i++, p += 14) {
		snprintf(name, sizeof(name), "0entry-%06zu", i);
		if (strcmp(p, name) != 0)
			fail_msg("%s in the place of %s", p, name);
	}
}

/* ---- depth, types, links ---- */

static void goes_as_deep_as_is_asked_for(void **state)
{
	static const struct {
		unsigned int depth;
		const char *listed;
		unsigned int directories;
	} rows[] = {
		{0, "", 0},
		{1, "0.hidden,1a,0b,", 1},
		{2, "0.hidden,1a,1a/.x,0a/y,0b,", 2},
		{3, "0.hidden,1a,1a/.x,1a/.x/1,0a/y,0b,", 3},
		{4, "0.hidden,1a,1a/.x,1a/.x/1,0a/.x/1/2,0a/y,0b,", 4},
		{UINT32_MAX, "0.hidden,1a,1a/.x,1a/.x/1,0a/.x/1/2,0a/y,0b,", 4},
	};

	(void)state;
	rig_mkdir("a");
	rig_mkdir("a/.x");
	rig_mkdir("a/.x/1");
	rig_file("a/.x/1/2");
	rig_file("a/y");
	rig_file("b");
	rig_file(".hidden");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rig_default();
		rig.spec.max_depth = rows[i].depth;
		rig_run();
		assert_int_equal(rig.end, WALK_ENDED);
		assert_string_equal(rig_listed(), rows[i].listed);
		assert_int_equal(rig.totals.directories, rows[i].directories);
	}
}

static void an_empty_directory_has_no_entries_and_still_ends(void **state)
{
	(void)state;
	rig_default();
	rig_run();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_int_equal(rig.told, 1);
	assert_int_equal(rig.totals.directories, 1);
	assert_int_equal(rig.totals.entries, 0);
}

static void links_are_listed_and_never_followed(void **state)
{
	(void)state;
	rig_mkdir("d");
	rig_file("d/f");
	assert_int_equal(symlink("d", rig_path("to-dir")), 0);
	assert_int_equal(symlink("/etc", rig_path("to-etc")), 0);
	assert_int_equal(symlink("nothing", rig_path("dangling")), 0);
	assert_int_equal(mkfifo(rig_path("fifo"), 0600), 0);
	rig_default();
	rig_run();
	assert_string_equal(rig_listed(), "1d,0d/f,2dangling,3fifo,2to-dir,2to-etc,");
}

static bool not_into_skip(void *arg, const struct walk_entry *e)
{
	(void)arg;
	RIG_WRONG(e->type != FS_DIRECTORY);
	return strcmp(e->path + e->name, "skip") != 0;
}

static void goes_into_what_the_visitor_wants(void **state)
{
	(void)state;
	rig_mkdir("a");
	rig_mkdir("a/skip");
	rig_file("a/skip/f");
	rig_mkdir("skip");
	rig_file("skip/f");
	rig_file("z");
	rig_default();
	rig.spec.visitor.descend = not_into_skip;
	rig_run();
	assert_string_equal(rig_listed(), "1a,1a/skip,1skip,0z,");
	assert_int_equal(rig.totals.directories, 2);
	assert_int_equal(rig.totals.unreadable, 0);
}

/* A context that is the parent's own, as for a directory without anything special. */
static void *pass_on(void *arg, void *parent, int dir, const char *path, size_t below_root)
{
	(void)dir, (void)path, (void)below_root;
	atomic_fetch_add(&rig.enters, 1);
	return parent == NULL ? arg : parent;
}

static void count_leave(void *arg, void *context)
{
	RIG_WRONG(context != arg);
	atomic_fetch_add(&rig.leaves, 1);
}

static int same_context(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	(void)w, (void)out;
	RIG_WRONG(e->dir_context != arg);
	return 0;
}

static void a_context_may_be_the_parents_own(void **state)
{
	int context;

	(void)state;
	rig_mkdir("a");
	rig_mkdir("a/b");
	rig_mkdir("a/b/c");
	rig_mkdir("d");
	rig_default();
	rig.spec.visitor = (struct walk_visitor){
		.visit = same_context, .enter = pass_on, .leave = count_leave, .arg = &context};
	rig_run();
	assert_int_equal(rig.leaves, 5);
	/* And neither of the two is needed. */
	rig_default();
	rig.spec.visitor.enter = NULL;
	rig.spec.visitor.leave = NULL;
	rig_run();
	assert_int_equal(rig.leaves, 5);
}

/* ---- walk_stat() ---- */

static int list_sizes(void *arg, struct walk *w, struct walk_entry *e, struct buf *out)
{
	struct fs_stat st = {0}, again = {0};

	(void)arg, (void)w;
	if (strcmp(e->path + e->name, "gone") == 0)
		RIG_WRONG(unlinkat(e->dir, "gone", 0) < 0 || walk_stat(e, &st) || e->st != NULL);
	if (!walk_stat(e, &st))
		return buf_printf(out, "%s=-,", e->path + e->name);
	RIG_WRONG(e->st == NULL || !walk_stat(e, &again) || again.ino != st.ino);
	RIG_WRONG(st.type != e->type);
	return buf_printf(out, "%s=%llu,", e->path + e->name, (unsigned long long)st.size);
}

static void a_visitor_gets_metadata_when_it_asks(void **state)
{
	(void)state;
	rig_file("big");
	assert_int_equal(truncate(rig_path("big"), 123456), 0);
	rig_file("gone");
	assert_int_equal(symlink("12345", rig_path("link")), 0);
	rig_default();
	rig.spec.visitor.visit = list_sizes;
	rig_run();
	assert_string_equal(rig_listed(), "big=123456,gone=-,link=5,");
}

/* ---- the root ---- */

static void a_root_is_what_was_asked_for_or_an_error(void **state)
{
	static const struct {
		const char *path;
		enum walk_root root;
		const struct err_kind *error;
		const char *listed;
	} rows[] = {
		{"file", WALK_ROOT_DIRECTORY, &ERR_WRONG_TYPE, ""},
		{"link-to-dir", WALK_ROOT_DIRECTORY, &ERR_WRONG_TYPE, ""},
		{"dangling", WALK_ROOT_DIRECTORY, &ERR_WRONG_TYPE, ""},
		{"to-etc", WALK_ROOT_DIRECTORY, &ERR_WRONG_TYPE, ""},
		{"nothing", WALK_ROOT_DIRECTORY, &ERR_NO_FILE, ""},
		{"nothing", WALK_ROOT_ANY, &ERR_NO_FILE, ""},
		{"file/below", WALK_ROOT_ANY, &ERR_NO_FILE, ""},
		{"to-etc/passwd", WALK_ROOT_ANY, &ERR_PATH_FORBIDDEN, ""},
		{"to-etc/nothing-like-it", WALK_ROOT_ANY, &ERR_PATH_FORBIDDEN, ""},
		{"dir", WALK_ROOT_DIRECTORY, NULL, "0x,"},
		{"dir", WALK_ROOT_ANY, NULL, "0x,"},
		{"link-to-dir/sub", WALK_ROOT_ANY, &ERR_NO_FILE, ""},
		{"file", WALK_ROOT_ANY, NULL, "0,"},
		{"link-to-dir", WALK_ROOT_ANY, NULL, "2,"},
		{"dangling", WALK_ROOT_ANY, NULL, "2,"},
		{"fifo", WALK_ROOT_ANY, NULL, "3,"},
	};

	(void)state;
	rig_file("file");
	rig_mkdir("dir");
	rig_file("dir/x");
	assert_int_equal(symlink("dir", rig_path("link-to-dir")), 0);
	assert_int_equal(symlink("no", rig_path("dangling")), 0);
	assert_int_equal(symlink("/etc", rig_path("to-etc")), 0);
	assert_int_equal(mkfifo(rig_path("fifo"), 0600), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char path[PATH_MAX];

		for (unsigned int depth = 0; depth <= 1; depth++) {
			bool listed = depth > 0 || strcmp(rows[i].path, "dir") != 0;

			snprintf(path, sizeof(path), "%s", rig_path(rows[i].path));
			rig_default();
			rig.spec.path = path;
			rig.spec.root = rows[i].root;
			rig.spec.max_depth = depth;
			rig_run();
			if (rig.error.kind != rows[i].error)
				print_error("%s: %s\n", rows[i].path, rig.error.msg);
			assert_ptr_equal(rig.error.kind, rows[i].error);
			assert_int_equal(rig.end, rows[i].error == NULL ? WALK_ENDED : WALK_FAILED);
			assert_string_equal(rig_listed(), listed ? rows[i].listed : "");
			assert_int_equal(rig.told, 1);
			assert_null(strstr(rig.error.msg, rig.top));
		}
	}
}

/* ---- what cannot be read ---- */

static void a_directory_that_may_not_be_read_is_counted_and_passed_over(void **state)
{
	(void)state;
	rig_mkdir("a");
	rig_file("a/f");
	rig_mkdir("closed");
	rig_file("closed/f");
	rig_mkdir("z");
	rig_file("z/f");
	assert_int_equal(chmod(rig_path("closed"), 0), 0);
	rig_default();
	if (getuid() == 0) {
		rig.spec.set_user = true;
		rig.spec.uid = 65534;
		rig.spec.gid = (gid_t)-1;
	}
	rig_run();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_string_equal(rig_listed(), "1a,0a/f,1closed,1z,0z/f,");
	assert_int_equal(rig.totals.unreadable, 1);
	assert_int_equal(rig.totals.directories, 3);
	if (getuid() != 0)
		return;
	/* The threads are root again. */
	rig_default();
	rig_run();
	assert_int_equal(rig.totals.unreadable, 0);
	assert_int_equal(rig.totals.directories, 4);
	/* And a root that may not be read is an error. */
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s", rig_path("closed"));
	rig_default();
	rig.spec.path = path;
	rig.spec.set_user = true;
	rig.spec.uid = 65534;
	rig.spec.gid = (gid_t)-1;
	rig_run();
	assert_int_equal(rig.end, WALK_FAILED);
	assert_ptr_equal(rig.error.kind, &ERR_PERMISSION);
}

static void another_user_needs_root(void **state)
{
	(void)state;
	if (getuid() == 0) {
		print_message("SKIPPED: runs as root\n");
		skip();
	}
	rig_default();
	rig.spec.set_user = true;
	rig.spec.uid = 12345;
	rig.spec.gid = (gid_t)-1;
	rig_run();
	assert_int_equal(rig.end, WALK_FAILED);
	assert_ptr_equal(rig.error.kind, &ERR_PERMISSION);
}

/* A chain of `n` directories called `name`, each inside the one before; 0 when all could be made.
 */
static void make_chain(const char *name, size_t n)
{
	int dir = open(rig.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < n; i++) {
		int next;

		assert_int_equal(mkdirat(dir, name, 0755), 0);
		next = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(dir);
		dir = next;
	}
	assert_int_equal(mknodat(dir, "end", S_IFREG | 0644, 0), 0);
	close(dir);
}

static void levels_beyond_the_limit_count_as_unreadable(void **state)
{
	(void)state;
	make_chain("d", 20); /* 20 levels of directories and the file, which is level 21 */
	limit_values[LIMIT_FS_WALK_DEPTH] = 21;
	rig_default();
	rig_run();
	assert_int_equal(rig.totals.entries, 21);
	assert_int_equal(rig.totals.unreadable, 0);
	limit_values[LIMIT_FS_WALK_DEPTH] = 20;
	rig_default();
	rig_run();
	assert_int_equal(rig.totals.entries, 20);
	assert_int_equal(rig.totals.unreadable, 1);
	/* What is not asked for is not missed. */
	rig_default();
	rig.spec.max_depth = 20;
	rig_run();
	assert_int_equal(rig.totals.entries, 20);
	assert_int_equal(rig.totals.unreadable, 0);
}

static void paths_longer_than_the_kernel_takes_count_as_unreadable(void **state)
{
	char name[202];
	size_t room = PATH_MAX - 1 - strlen(rig.top);

	(void)state;
	memset(name, 'n', 200);
	name[200] = '\0';
	make_chain(name, 30);
	rig_default();
	rig_run();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_int_equal(rig.totals.entries, room / 201);
	assert_int_equal(rig.totals.unreadable, 1);
}

static void a_path_of_exactly_the_longest_length_is_found(void **state)
{
	char name[202];
	size_t room = PATH_MAX - 1 - strlen(rig.top), levels = 0;
	int dir = open(rig.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	memset(name, 'n', sizeof(name));
	for (; room > 201 + 3; room -= 201, levels++) {
		int next;

		name[200] = '\0';
		assert_int_equal(mkdirat(dir, name, 0755), 0);
		next = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(dir);
		dir = next;
	}
	name[200] = 'n';
	name[room - 1] = '\0';
	assert_int_equal(mknodat(dir, name, S_IFREG | 0644, 0), 0);
	name[room - 1] = 'n';
	name[room] = '\0';
	assert_int_equal(mknodat(dir, name, S_IFREG | 0644, 0), 0);
	close(dir);
	rig_default();
	rig_run();
	assert_int_equal(rig.totals.entries, levels + 1);
	assert_int_equal(rig.totals.unreadable, 1);
}

static void a_directory_with_too_many_names_counts_as_unreadable(void **state)
{
	char path[64];

	(void)state;
	rig_mkdir("many");
	rig_file("other");
	for (int i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "many/12345678%02d", i); /* and a NUL, and a type */
		rig_file(path);
	}
	limit_values[LIMIT_FS_DIRECTORY_BYTES] = 1200;
	rig_default();
	rig_run();
	assert_int_equal(rig.totals.entries, 102);
	assert_int_equal(rig.totals.unreadable, 0);
	limit_values[LIMIT_FS_DIRECTORY_BYTES] = 1199;
	rig_default();
	rig_run();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_string_equal(rig_listed(), "1many,0other,");
	assert_int_equal(rig.totals.unreadable, 1);
	/* Also when it is the root. */
	limit_values[LIMIT_FS_DIRECTORY_BYTES] = 12;
	rig_default();
	rig_run();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_int_equal(rig.totals.entries, 0);
	assert_int_equal(rig.totals.unreadable, 1);
}

/* ---- descriptors ---- */

static void leave_descriptors(size_t n)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_cur = test_fds(0, NULL, 0) + n;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
}

static void restore_descriptors(void)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_cur = rl.rlim_max < 4096 ? rl.rlim_max : 4096;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
}

static void a_chain_of_directories_needs_few_descriptors(void **state)
{
	(void)state;
	make_chain("d", 500);
	rig_default();
	leave_descriptors(8);
	rig_run();
	restore_descriptors();
	assert_int_equal(rig.totals.entries, 501);
	assert_int_equal(rig.totals.unreadable, 0);
}

static void a_directory_without_a_descriptor_for_it_counts_as_unreadable(void **state)
{
	int dir = open(rig.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	/* Each level waits for "z" with its descriptor, while "d" is gone into. */
	for (size_t i = 0; i < 60; i++) {
		int next;

		assert_int_equal(mkdirat(dir, "d", 0755), 0);
		assert_int_equal(mkdirat(dir, "z", 0755), 0);
		next = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(dir);
		dir = next;
	}
	close(dir);
	rig_threads(1); /* a second one might be quick to look into "z" */
	rig_default();
	leave_descriptors(16);
	rig_run();
	restore_descriptors();
	assert_int_equal(rig.end, WALK_ENDED);
	assert_in_range(rig.totals.unreadable, 1, 120);
	assert_in_range(rig.totals.entries, 12, 118);
	rig_default();
	rig_run();
	assert_int_equal(rig.totals.entries, 120);
	assert_int_equal(rig.totals.unreadable, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG(the_order_is_that_of_a_naive_walk_however_many_threads_and_pauses),
		RIG(names_are_sorted_by_bytes_whatever_they_have_in_common),
		RIG(a_name_that_comes_twice_does_no_harm),
		RIG(a_large_directory_is_shared_by_the_threads_and_complete),
		RIG(goes_as_deep_as_is_asked_for),
		RIG(an_empty_directory_has_no_entries_and_still_ends),
		RIG(links_are_listed_and_never_followed),
		RIG(goes_into_what_the_visitor_wants),
		RIG(a_context_may_be_the_parents_own),
		RIG(a_visitor_gets_metadata_when_it_asks),
		RIG(a_root_is_what_was_asked_for_or_an_error),
		RIG(a_directory_that_may_not_be_read_is_counted_and_passed_over),
		RIG(another_user_needs_root),
		RIG(levels_beyond_the_limit_count_as_unreadable),
		RIG(paths_longer_than_the_kernel_takes_count_as_unreadable),
		RIG(a_path_of_exactly_the_longest_length_is_found),
		RIG(a_directory_with_too_many_names_counts_as_unreadable),
		RIG(a_chain_of_directories_needs_few_descriptors),
		RIG(a_directory_without_a_descriptor_for_it_counts_as_unreadable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
