/* fs: making directories, removing names and trees. */
#include "fs_fixture.h"

/* ---- making ---- */

static int mkdir_plain(const char *path, struct err *e)
{
	return fs_mkdir(fx.fs, at(path), NULL, e);
}

static void makes_directories_with_all_above_them(void **state)
{
	const struct fs_perm perm = {0700, NULL, NULL}, sticky = {01777, NULL, NULL};
	struct err e = {0};

	(void)state;
	assert_ok(mkdir_plain("ws/a/b/c", &e));
	assert_int_equal(look("ws/a").st_mode, S_IFDIR | 0755);
	assert_int_equal(look("ws/a/b/c").st_mode, S_IFDIR | 0755);
	assert_ok(mkdir_plain("ws/a/b/c", &e));
	/* what is asked for is for the last one, and only if it is new */
	assert_ok(fs_mkdir(fx.fs, at("ws/d/e"), &perm, &e));
	assert_int_equal(look("ws/d").st_mode & 07777, 0755);
	assert_int_equal(look("ws/d/e").st_mode & 07777, 0700);
	assert_ok(fs_mkdir(fx.fs, at("ws/d"), &perm, &e));
	assert_int_equal(look("ws/d").st_mode & 07777, 0755);
	assert_ok(fs_mkdir(fx.fs, at("ws/s"), &sticky, &e));
	assert_int_equal(look("ws/s").st_mode & 07777, 01777);
	umask(077);
	assert_ok(mkdir_plain("ws/m", &e));
	umask(022);
	assert_int_equal(look("ws/m").st_mode & 07777, 0700);
}

static void says_what_is_in_the_way_of_a_directory(void **state)
{
	static const struct row {
		const char *path;
		const struct err_kind *kind; /* NULL: success */
	} rows[] = {
		{"ws", NULL},
		{"ws/in", NULL},
		{"ws/to-dir", NULL},
		{"ro", NULL},
		{"ro/new", &ERR_READ_ONLY},
		{"ws/file", &ERR_EXISTS},
		{"ws/to-file", &ERR_EXISTS},
		{"ws/dangling", &ERR_EXISTS},
		{"ws/fifo", &ERR_EXISTS},
		{"ws/file/x", &ERR_NO_FILE},
		{"ws/out", &ERR_PATH_FORBIDDEN},
		{"ws/out/x", &ERR_PATH_FORBIDDEN},
		{"outside", &ERR_PATH_FORBIDDEN},
		{"outside/new", &ERR_PATH_FORBIDDEN},
	};
	struct err e = {0};

	(void)state;
	put("ws/file", "x");
	assert_int_equal(mkfifo(at("ws/fifo"), 0600), 0);
	assert_int_equal(symlink("in", at("ws/to-dir")), 0);
	assert_int_equal(symlink("file", at("ws/to-file")), 0);
	assert_int_equal(symlink("none", at("ws/dangling")), 0);
	assert_int_equal(symlink("../outside", at("ws/out")), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("%s\n", rows[i].path);
		if (rows[i].kind == NULL)
			assert_ok(mkdir_plain(rows[i].path, &e));
		else
			assert_err(mkdir_plain(rows[i].path, &e), rows[i].kind);
	}
	assert_string_equal(names_in("ws"), "dangling fifo file in out to-dir to-file");
	assert_string_equal(names_in("outside"), "secret");
}

static void makes_directories_for_others_or_none(void **state)
{
	struct fs_perm perm = {02770, "ann", "team"};
	struct err e = {0};

	(void)state;
	skip_unless(is_root(), "not root: cannot give directories away");
	assert_ok(fs_mkdir(fx.fs, at("ws/t"), &perm, &e));
	assert_int_equal(look("ws/t").st_uid, 4001);
	assert_int_equal(look("ws/t").st_gid, 4200);
	assert_int_equal(look("ws/t").st_mode & 07777, 02770);
	perm.owner = "nobody-here";
	assert_err(fs_mkdir(fx.fs, at("ws/x/y"), &perm, &e), &ERR_BAD_BODY);
	/* also where nothing would be made */
	assert_err(fs_mkdir(fx.fs, at("ws/t"), &perm, &e), &ERR_BAD_BODY);
	assert_string_equal(names_in("ws"), "in t");
}

static void child_cannot_give_away(void)
{
	const struct fs_perm perm = {-1, "root", NULL};
	struct err e = {0};

	child_check(fs_enter(fx.fs, 4001, (gid_t)-1, &e) == 0);
	child_check(fs_mkdir(fx.fs, at("ws/open/x"), &perm, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	fs_leave();
	child_check(strcmp(names_in("ws/open"), "") == 0);
}

static void leaves_no_directory_that_could_not_be_given_away(void **state)
{
	(void)state;
	skip_unless(is_root(), "not root: cannot be somebody else");
	make_dir("ws/open");
	assert_int_equal(chmod(at("ws/open"), 0777), 0);
	in_child(child_cannot_give_away, "");
}

/* ---- removing one thing ---- */

static int rm(const char *path, unsigned int flags, struct err *e)
{
	return fs_remove(fx.fs, at(path), flags, NULL, NULL, e);
}

static void removes_by_the_flags(void **state)
{
	static const struct row {
		const char *path;
		unsigned int flags;
		const struct err_kind *kind; /* NULL: success */
		bool stays;
	} rows[] = {
		{"ws/none", 0, &ERR_NO_FILE, false},
		{"ws/none", FS_MISSING_OK, NULL, false},
		{"ws/none/x", 0, &ERR_NO_FILE, false},
		{"ws/none/x", FS_MISSING_OK | FS_RECURSIVE, NULL, false},
		{"ws/file", 0, NULL, false},
		{"ws/file", FS_RECURSIVE, NULL, false},
		{"ws/file/x", FS_MISSING_OK, NULL, false},
		{"ws/fifo", 0, NULL, false},
		{"ws/link", 0, NULL, false},
		{"ws/dangling", 0, NULL, false},
		{"ws/to-dir", 0, NULL, false},
		{"ws/to-dir", FS_RECURSIVE, NULL, false},
		{"ws/out", FS_RECURSIVE, NULL, false},
		{"ws/empty", 0, &ERR_WRONG_TYPE, true},
		{"ws/empty", FS_MISSING_OK, &ERR_WRONG_TYPE, true},
		{"ws/empty", FS_DIRECTORY_OK, NULL, false},
		{"ws/empty", FS_RECURSIVE, NULL, false},
		{"ws/full", 0, &ERR_WRONG_TYPE, true},
		{"ws/full", FS_DIRECTORY_OK, &ERR_NOT_EMPTY, true},
		{"ws/full", FS_RECURSIVE, NULL, false},
		{"ws/full", FS_RECURSIVE | FS_DIRECTORY_OK | FS_MISSING_OK, NULL, false},
		{"ro/kept", 0, &ERR_READ_ONLY, true},
		{"ro/kept", FS_RECURSIVE | FS_MISSING_OK, &ERR_READ_ONLY, true},
		{"outside/secret", FS_RECURSIVE, &ERR_PATH_FORBIDDEN, true},
		{"outside/none", FS_MISSING_OK, &ERR_PATH_FORBIDDEN, false},
		{"ws", FS_RECURSIVE, &ERR_PATH_FORBIDDEN, true},
		{"ws", 0, &ERR_PATH_FORBIDDEN, true},
		{"ws/in", FS_RECURSIVE, &ERR_PATH_FORBIDDEN, true},
		{"ws/in", FS_DIRECTORY_OK, &ERR_PATH_FORBIDDEN, true},
		{"ws/in/nest", FS_RECURSIVE, &ERR_PATH_FORBIDDEN, true},
		{"ws/in/nest", FS_DIRECTORY_OK, &ERR_PATH_FORBIDDEN, true},
		{"ro", FS_RECURSIVE, &ERR_READ_ONLY, true},
	};
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];

		print_message("%zu: %s %u\n", i, r->path, r->flags);
		put("ws/file", "x");
		put("ws/in/precious", "x");
		if (!exists("ws/fifo"))
			assert_int_equal(mkfifo(at("ws/fifo"), 0600), 0);
		(void)!symlink("file", at("ws/link"));
		(void)!symlink("nothing", at("ws/dangling"));
		(void)!symlink("in", at("ws/to-dir"));
		(void)!symlink("../outside", at("ws/out"));
		mkdir(at("ws/empty"), 0777);
		mkdir(at("ws/full"), 0777);
		put("ws/full/x", "x");
		if (r->kind == NULL)
			assert_ok(rm(r->path, r->flags, &e));
		else
			assert_err(rm(r->path, r->flags, &e), r->kind);
		assert_int_equal(exists(r->path), r->stays);
		assert_string_equal(content("ws/in/precious"), "x");
		assert_string_equal(content("outside/secret"), "secret");
		assert_true(exists("ws/in/nest"));
		if (strcmp(r->path, "ws/file") != 0)
			assert_true(exists("ws/file"));
	}
}

static void removes_only_what_the_condition_names(void **state)
{
	struct cond c = {.if_match = STR("\"other\"")};
	struct err e = {0};
	struct fs_stat st;
	char etag[FS_ETAG_MAX];

	(void)state;
	put("ws/f", "x");
	assert_err(fs_remove(fx.fs, at("ws/f"), 0, &c, NULL, &e), &ERR_PRECONDITION);
	/* nothing there is not what was named, although missing is no error */
	assert_err(fs_remove(fx.fs, at("ws/none"), FS_MISSING_OK, &c, NULL, &e), &ERR_PRECONDITION);
	assert_err(
		fs_remove(fx.fs, at("ws/none/x"), FS_MISSING_OK, &c, NULL, &e), &ERR_PRECONDITION);
	assert_true(exists("ws/f"));
	assert_ok(fs_info(fx.fs, at("ws/f"), &st, &e));
	fs_etag(&st, etag);
	c.if_match = str_of(etag);
	assert_ok(fs_remove(fx.fs, at("ws/f"), 0, &c, NULL, &e));
	assert_false(exists("ws/f"));
	make_dir("ws/d");
	assert_err(fs_remove(fx.fs, at("ws/d"), FS_RECURSIVE, &c, NULL, &e), &ERR_PRECONDITION);
	c.if_match = STR("*");
	assert_ok(fs_remove(fx.fs, at("ws/d"), FS_RECURSIVE, &c, NULL, &e));
}

/* ---- removing trees ---- */

/* files in each directory, dirs below each, so many levels. */
static void grow(const char *path, int levels, int dirs, int files)
{
	char name[PATH_MAX];

	make_dir(path);
	for (int i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "%s/f%d", path, i);
		put(name, "x");
	}
	for (int i = 0; levels > 1 && i < dirs; i++) {
		snprintf(name, sizeof(name), "%s/d%d", path, i);
		grow(name, levels - 1, dirs, files);
	}
}

static void removes_trees_and_follows_no_link(void **state)
{
	struct err e = {0};

	(void)state;
	grow("ws/t", 4, 3, 5);
	assert_int_equal(symlink("../../../outside", at("ws/t/d0/out")), 0);
	assert_int_equal(symlink(at("ws/in"), at("ws/t/d0/d1/in")), 0);
	assert_int_equal(symlink("..", at("ws/t/up")), 0);
	assert_int_equal(mkfifo(at("ws/t/d1/fifo"), 0600), 0);
	put("ws/in/precious", "x");
	put("ws/t/\xff\xfe\n", "odd");
	make_dir("ws/t/...");
	put("ws/t/.../..x", "odd");
	assert_ok(rm("ws/t", FS_RECURSIVE, &e));
	assert_string_equal(names_in("ws"), "in");
	assert_string_equal(names_in("ws/in"), "nest precious");
	assert_string_equal(names_in("outside"), "secret");
}

static void removes_directories_with_more_entries_than_one_read_gives(void **state)
{
	struct err e = {0};
	char name[64];

	(void)state;
	make_dir("ws/t");
	for (int i = 0; i < 1600; i++) {
		snprintf(name, sizeof(name), "ws/t/%s-with-a-longer-name-%d",
			i % 8 == 0 ? "dir" : "file", i);
		if (i % 8 == 0)
			make_dir(name);
		else
			put(name, "");
	}
	assert_ok(rm("ws/t", FS_RECURSIVE, &e));
	assert_string_equal(names_in("ws"), "in");
}

/* A chain of directories called d, with a file beside each; made step by step, as no path is as
 * long as that. */
static void make_chain(const char *path, int depth)
{
	int dir;

	make_dir(path);
	dir = open(at(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 1; i < depth; i++) {
		int next, file;

		assert_int_equal(mkdirat(dir, "d", 0777), 0);
		file = openat(dir, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
		close(file);
		next = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(dir);
		dir = next;
	}
	close(dir);
}

static void removes_deep_trees_with_few_descriptors(void **state)
{
	struct rlimit old, few = {48, 48};
	struct err e = {0};
	int r;

	(void)state;
	make_chain("ws/t", (int)limit(LIMIT_FS_WALK_DEPTH));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	r = rm("ws/t", FS_RECURSIVE, &e);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_ok(r);
	assert_string_equal(names_in("ws"), "in");
}

static void stops_at_the_limit_of_levels(void **state)
{
	int64_t old = limit(LIMIT_FS_WALK_DEPTH);
	struct err e = {0};
	int r;

	(void)state;
	make_chain("ws/t", 6);
	assert_true(limit_set(LIMIT_FS_WALK_DEPTH, 5));
	r = rm("ws/t", FS_RECURSIVE, &e);
	assert_err(r, &ERR_BAD_PATH);
	assert_true(exists("ws/t/d/d/d/d/d"));
	assert_true(limit_set(LIMIT_FS_WALK_DEPTH, 6));
	r = rm("ws/t", FS_RECURSIVE, &e);
	assert_true(limit_set(LIMIT_FS_WALK_DEPTH, old));
	assert_ok(r);
	assert_string_equal(names_in("ws"), "in");
}

static void holds_no_more_names_than_allowed(void **state)
{
	int64_t old = limit(LIMIT_FS_DIRECTORY_BYTES);
	struct err e = {0};
	char name[300];
	int r;

	(void)state;
	make_dir("ws/t");
	for (int i = 0; i < 300; i++) { /* 300 * 241 bytes of names */
		snprintf(name, sizeof(name), "ws/t/%0240d", i);
		make_dir(name);
	}
	assert_true(limit_set(LIMIT_FS_DIRECTORY_BYTES, 65536));
	r = rm("ws/t", FS_RECURSIVE, &e);
	assert_true(limit_set(LIMIT_FS_DIRECTORY_BYTES, old));
	assert_err(r, &ERR_UNAVAILABLE);
	assert_ok(rm("ws/t", FS_RECURSIVE, &e));
	/* as many in all, but only a part of them at a time */
	make_dir("ws/t");
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "ws/t/%d", i / 100);
		mkdir(at(name), 0777);
		snprintf(name, sizeof(name), "ws/t/%d/%0240d", i / 100, i);
		make_dir(name);
	}
	assert_true(limit_set(LIMIT_FS_DIRECTORY_BYTES, 65536));
	r = rm("ws/t", FS_RECURSIVE, &e);
	assert_true(limit_set(LIMIT_FS_DIRECTORY_BYTES, old));
	assert_ok(r);
}

static void can_be_cancelled(void **state)
{
	atomic_bool cancelled = true;
	struct err e = {0};

	(void)state;
	grow("ws/t", 2, 2, 2);
	assert_err(
		fs_remove(fx.fs, at("ws/t"), FS_RECURSIVE, NULL, &cancelled, &e), &ERR_UNAVAILABLE);
	assert_true(exists("ws/t/f0"));
}

static void refuses_before_anything_is_touched(void **state)
{
	struct err e = {0};

	(void)state;
	put("ws/in/a", "x");
	make_dir("ws/in/b");
	assert_err(rm("ws/in", FS_RECURSIVE, &e), &ERR_PATH_FORBIDDEN);
	assert_string_equal(names_in("ws/in"), "a b nest");
}

static void roots_are_known_by_what_they_are(void **state)
{
	struct err e = {0};

	(void)state;
	/* a command has renamed the directory above a root, and put it deeper */
	make_dir("ws/x");
	put("ws/x/file", "x");
	assert_int_equal(rename(at("ws/in"), at("ws/x/was-in")), 0);
	put("ws/x/was-in/nest/kept", "x");
	assert_err(rm("ws/x/was-in", FS_RECURSIVE, &e), &ERR_PATH_FORBIDDEN);
	assert_err(rm("ws/x", FS_RECURSIVE, &e), &ERR_PATH_FORBIDDEN);
	assert_string_equal(names_in("ws/x"), "was-in"); /* what could go is gone */
	assert_string_equal(content("ws/x/was-in/nest/kept"), "x");
}

static void child_partly_forbidden(void)
{
	struct err e = {0};

	child_check(fs_enter(fx.fs, 4001, (gid_t)-1, &e) == 0);
	child_check(rm("ws/t", FS_RECURSIVE, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	fs_leave();
	child_check(strcmp(names_in("ws/t"), "closed empty-closed2 locked") == 0 ||
		    strcmp(names_in("ws/t"), "closed locked") == 0);
	child_check(strcmp(names_in("ws/t/locked"), "x") == 0);
	child_check(strcmp(names_in("ws/t/closed"), "x") == 0);
}

static void removes_what_it_can_and_tells_the_first_error(void **state)
{
	(void)state;
	skip_unless(is_root(), "not root: cannot be somebody else");
	make_dir("ws/t");
	make_dir("ws/t/locked"); /* may be read but not changed */
	put("ws/t/locked/x", "x");
	make_dir("ws/t/closed"); /* may not be read */
	put("ws/t/closed/x", "x");
	assert_int_equal(chmod(at("ws/t/closed"), 0700), 0);
	make_dir("ws/t/empty-closed"); /* may not be read, and need not be */
	assert_int_equal(chmod(at("ws/t/empty-closed"), 0700), 0);
	make_dir("ws/t/own");
	put("ws/t/own/x", "x");
	put("ws/t/z", "x");
	assert_int_equal(chown(at("ws/t"), 4001, 4101), 0);
	assert_int_equal(chown(at("ws/t/own"), 4001, 4101), 0);
	assert_int_equal(chmod(at("ws"), 0777), 0);
	in_child(child_partly_forbidden, "");
}

/* ---- while others are at it ---- */

static atomic_bool stop_it;

/* Keeps putting things into a tree that is being removed. */
static void *fills(void *arg)
{
	const char *dir = arg;
	char name[PATH_MAX];

	for (unsigned int i = 0; !atomic_load(&stop_it) && i < 40; i++) {
		int fd;

		snprintf(name, sizeof(name), "%s/d%u/late%u", dir, i % 3, i);
		fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
		if (fd >= 0)
			close(fd);
		sched_yield();
	}
	return NULL;
}

static void copes_with_others_who_fill_the_tree(void **state)
{
	struct err e = {0};
	char dir[PATH_MAX];

	(void)state;
	snprintf(dir, sizeof(dir), "%s", at("ws/t"));
	for (int i = 0; i < 20; i++) {
		pthread_t thread;
		int r;

		grow("ws/t", 3, 3, 3);
		atomic_store(&stop_it, false);
		assert_int_equal(pthread_create(&thread, NULL, fills, dir), 0);
		r = rm("ws/t", FS_RECURSIVE, &e);
		atomic_store(&stop_it, true);
		pthread_join(thread, NULL);
		assert_ok(r);
		assert_false(exists("ws/t"));
	}
}

#define MANY_DIRS 300

static void make_many(void)
{
	char name[64];

	make_dir("ws/t");
	for (int i = 0; i < MANY_DIRS; i++) {
		snprintf(name, sizeof(name), "ws/t/%d", i);
		make_dir(name);
	}
}

/* How many of them are there, or -1. */
static int count_many(int dir)
{
	int n = 0;

	for (int i = 0; i < MANY_DIRS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		n += faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	}
	return n;
}

struct spoiler {
	int dir;
	atomic_bool cancelled;
	int swapped;
};

/* Once the removal has begun, all directories that are left become links that lead out. */
static void *swaps(void *arg)
{
	struct spoiler *s = arg;

	while (count_many(s->dir) == MANY_DIRS)
		;
	for (int i = 0; i < MANY_DIRS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		s->swapped += unlinkat(s->dir, name, AT_REMOVEDIR) == 0 &&
			      symlinkat("../../outside", s->dir, name) == 0;
	}
	return NULL;
}

static void never_follows_a_link_that_is_swapped_in(void **state)
{
	struct spoiler s = {0};
	struct err e = {0};

	(void)state;
	for (int i = 0; i < 20 && s.swapped < 20; i++) {
		pthread_t thread;

		make_many();
		s.dir = open(at("ws/t"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_int_equal(pthread_create(&thread, NULL, swaps, &s), 0);
		assert_ok(rm("ws/t", FS_RECURSIVE, &e));
		pthread_join(thread, NULL);
		close(s.dir);
		assert_false(exists("ws/t"));
		assert_string_equal(names_in("outside"), "secret");
	}
	print_message("%d links were there in time\n", s.swapped);
}

static void *cancels(void *arg)
{
	struct spoiler *s = arg;

	while (count_many(s->dir) == MANY_DIRS)
		;
	atomic_store(&s->cancelled, true);
	return NULL;
}

static void ends_early_between_empty_directories(void **state)
{
	int left = 0;

	(void)state;
	for (int i = 0; i < 20 && left == 0; i++) {
		struct spoiler s = {0};
		struct err e = {0};
		pthread_t thread;
		int r;

		make_many();
		s.dir = open(at("ws/t"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_int_equal(pthread_create(&thread, NULL, cancels, &s), 0);
		r = fs_remove(fx.fs, at("ws/t"), FS_RECURSIVE, NULL, &s.cancelled, &e);
		pthread_join(thread, NULL);
		left = count_many(s.dir);
		close(s.dir);
		if (left > 0)
			assert_err(r, &ERR_UNAVAILABLE);
		fixture_wipe(at("ws/t"));
	}
	assert_true(left > 0);
}

/* Moves a directory that the removal is deep inside of to somewhere else. */
static void *carries_off(void *arg)
{
	char from[PATH_MAX], to[PATH_MAX];
	int i;

	snprintf(from, sizeof(from), "%s/t", (const char *)arg);
	for (i = 0; i < 8; i++)
		strcat(from, "/d");
	snprintf(to, sizeof(to), "%s/../outside/taken", (const char *)arg);
	usleep(300);
	(void)!rename(from, to);
	return NULL;
}

static void does_not_go_up_into_another_directory(void **state)
{
	char ws[PATH_MAX];
	int refused = 0;

	(void)state;
	snprintf(ws, sizeof(ws), "%s", at("ws"));
	/* what would be taken for a directory of the tree by who counts levels only */
	make_dir("outside/d");
	for (int i = 0; i < 5; i++) {
		struct err e = {0};
		pthread_t thread;

		make_chain("ws/t", 100);
		assert_int_equal(pthread_create(&thread, NULL, carries_off, ws), 0);
		refused += rm("ws/t", FS_RECURSIVE, &e) < 0;
		pthread_join(thread, NULL);
		assert_true(exists("outside/d"));
		fixture_wipe(at("outside/taken"));
		fixture_wipe(at("ws/t"));
	}
	print_message("moved away in time: %d of 5\n", refused);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fs_test(makes_directories_with_all_above_them),
		fs_test(says_what_is_in_the_way_of_a_directory),
		fs_test(makes_directories_for_others_or_none),
		fs_test(leaves_no_directory_that_could_not_be_given_away),
		fs_test(removes_by_the_flags),
		fs_test(removes_only_what_the_condition_names),
		fs_test(removes_trees_and_follows_no_link),
		fs_test(removes_directories_with_more_entries_than_one_read_gives),
		fs_test(removes_deep_trees_with_few_descriptors),
		fs_test(stops_at_the_limit_of_levels),
		fs_test(holds_no_more_names_than_allowed),
		fs_test(can_be_cancelled),
		fs_test(refuses_before_anything_is_touched),
		fs_test(roots_are_known_by_what_they_are),
		fs_test(removes_what_it_can_and_tells_the_first_error),
		fs_test(copes_with_others_who_fill_the_tree),
		fs_test(never_follows_a_link_that_is_swapped_in),
		fs_test(ends_early_between_empty_directories),
		fs_test(does_not_go_up_into_another_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
