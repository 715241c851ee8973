/* fs: moving, within a filesystem and into another one. */
#include "fs_fixture.h"

#include <sys/sysmacros.h>

#ifndef SYS_renameat2
#define SYS_renameat2 316
#endif
#ifndef SYS_copy_file_range
#define SYS_copy_file_range 326
#endif

static int mv(const char *src, const char *dest, bool overwrite, struct err *e)
{
	return fs_move(fx.fs, at(src), at(dest), overwrite, NULL, NULL, e);
}

/* ---- within a filesystem ---- */

static void moves_whatever_has_a_name(void **state)
{
	static const char *const names[] = {"file", "dir", "link", "dangling", "fifo"};
	struct err e = {0};
	char from[64], to[64];

	(void)state;
	put("ws/file", "x");
	make_dir("ws/dir");
	put("ws/dir/below", "y");
	assert_int_equal(symlink("file", at("ws/link")), 0);
	assert_int_equal(symlink("none", at("ws/dangling")), 0);
	assert_int_equal(mkfifo(at("ws/fifo"), 0600), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(from, sizeof(from), "ws/%s", names[i]);
		snprintf(to, sizeof(to), "ws/new/deep/%s", names[i]);
		struct stat before = look(from);
		assert_ok(mv(from, to, i % 2 == 0, &e));
		assert_int_equal(look(to).st_ino, before.st_ino);
		assert_int_equal(look(to).st_mode, before.st_mode);
	}
	assert_string_equal(names_in("ws"), "in new");
	assert_string_equal(names_in("ws/new/deep"), "dangling dir fifo file link");
	assert_string_equal(content("ws/new/deep/dir/below"), "y");
}

static void refuses_what_cannot_be_moved(void **state)
{
	static const struct row {
		const char *src, *dest;
		bool overwrite;
		const struct err_kind *kind; /* NULL: success */
	} rows[] = {
		{"ws/none", "ws/x", false, &ERR_NO_FILE},
		{"ws/none/x", "ws/x", false, &ERR_NO_FILE},
		{"ws/none", "ws/made/x", false, &ERR_NO_FILE},
		{"ws/file", "ws/other", false, &ERR_EXISTS},
		{"ws/file", "ws/dangling", false, &ERR_EXISTS},
		{"ws/file", "ws/file", false, &ERR_EXISTS},
		{"ws/file", "ws/full", false, &ERR_EXISTS},
		{"ws/full", "ws/file", false, &ERR_EXISTS},
		{"ws/full", "ws/empty", false, &ERR_EXISTS},
		{"ws/file", "ws/full", true, &ERR_WRONG_TYPE},
		{"ws/full", "ws/file", true, &ERR_WRONG_TYPE},
		{"ws/empty", "ws/full", true, &ERR_NOT_EMPTY},
		{"ws/file", "ws/other/x", true, &ERR_NO_FILE},
		{"ws/full", "ws/full/below", false, &ERR_BAD_BODY},
		{"ws/full", "ws/full/be/low", true, &ERR_BAD_BODY},
		{"ws/full", "ws/to-full/below", false, &ERR_BAD_BODY},
		{"ws/full/x", "ws/full", true, &ERR_NOT_EMPTY},
		{"ws/file", "outside/x", false, &ERR_PATH_FORBIDDEN},
		{"ws/file", "ws/out/x", false, &ERR_PATH_FORBIDDEN},
		{"outside/secret", "ws/x", false, &ERR_PATH_FORBIDDEN},
		{"outside/none", "ws/x", false, &ERR_PATH_FORBIDDEN},
		{"ro/kept", "ws/x", false, &ERR_READ_ONLY},
		{"ws/file", "ro/x", false, &ERR_READ_ONLY},
		{"ws/file", "ro/kept", true, &ERR_READ_ONLY},
		{"ws", "ws/x", false, &ERR_PATH_FORBIDDEN},
		{"ws/in", "ws/x", false, &ERR_PATH_FORBIDDEN},
		{"ws/in/nest", "ws/x", false, &ERR_PATH_FORBIDDEN},
		{"ws/empty", "ws/in/nest", true, &ERR_PATH_FORBIDDEN},
		{"ws/file", "ws", true, &ERR_PATH_FORBIDDEN},
		{"ws/file", "ws/file", true, NULL},
		{"ws/dangling", "ws/dangling2", false, NULL},
		{"ws/file", "ws/other", true, NULL},
		{"ws/other", "ws/dangling2", true, NULL},
		{"ws/full", "ws/empty", true, NULL},
	};
	struct err e = {0};

	(void)state;
	put("ws/file", "x");
	put("ws/other", "y");
	make_dir("ws/empty");
	make_dir("ws/full");
	put("ws/full/x", "z");
	assert_int_equal(symlink("none", at("ws/dangling")), 0);
	assert_int_equal(symlink("full", at("ws/to-full")), 0);
	assert_int_equal(symlink("../outside", at("ws/out")), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];

		print_message("%zu: %s to %s\n", i, r->src, r->dest);
		if (r->kind == NULL) {
			assert_ok(mv(r->src, r->dest, r->overwrite, &e));
			continue;
		}
		assert_err(mv(r->src, r->dest, r->overwrite, &e), r->kind);
		assert_string_equal(
			names_in("ws"), "dangling empty file full in other out to-full");
		assert_string_equal(names_in("ws/full"), "x");
		assert_string_equal(content("ws/other"), "y");
	}
	assert_string_equal(names_in("ws"), "dangling2 empty in out to-full");
	assert_string_equal(content("ws/dangling2"), "x");
	assert_string_equal(content("ws/empty/x"), "z");
	assert_string_equal(names_in("outside"), "secret");
}

static void moves_only_what_the_condition_names(void **state)
{
	struct cond c = {.if_match = STR("\"other\"")};
	struct err e = {0};
	struct fs_stat st;
	char etag[FS_ETAG_MAX];

	(void)state;
	put("ws/f", "x");
	assert_err(
		fs_move(fx.fs, at("ws/f"), at("ws/a/g"), false, &c, NULL, &e), &ERR_PRECONDITION);
	assert_string_equal(names_in("ws"), "f in");
	assert_ok(fs_info(fx.fs, at("ws/f"), &st, &e));
	fs_etag(&st, etag);
	c.if_match = str_of(etag);
	assert_ok(fs_move(fx.fs, at("ws/f"), at("ws/a/g"), false, &c, NULL, &e));
	assert_string_equal(content("ws/a/g"), "x");
}

struct mover {
	pthread_barrier_t *barrier;
	char src[PATH_MAX], dest[PATH_MAX];
	int won, other;
};

static void *moves(void *arg)
{
	struct mover *m = arg;
	struct err e = {0};

	pthread_barrier_wait(m->barrier);
	if (fs_move(fx.fs, m->src, m->dest, false, NULL, NULL, &e) == 0)
		m->won++;
	else if (e.kind != &ERR_EXISTS)
		m->other++;
	return NULL;
}

static void of_two_moves_to_one_name_one_wins(void **state)
{
	static struct mover m[2];
	pthread_barrier_t barrier;
	pthread_t thread[2];

	(void)state;
	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 200; i++) {
		put("ws/a", "a");
		put("ws/b", "b");
		unlink(at("ws/c"));
		for (int j = 0; j < 2; j++) {
			m[j] = (struct mover){.barrier = &barrier};
			strcpy(m[j].src, at(j == 0 ? "ws/a" : "ws/b"));
			strcpy(m[j].dest, at("ws/c"));
			assert_int_equal(pthread_create(&thread[j], NULL, moves, &m[j]), 0);
		}
		for (int j = 0; j < 2; j++)
			pthread_join(thread[j], NULL);
		assert_int_equal(m[0].won + m[1].won, 1);
		assert_int_equal(m[0].other + m[1].other, 0);
		assert_string_equal(names_in("ws"), m[0].won ? "b c in" : "a c in");
		unlink(at("ws/a"));
		unlink(at("ws/b"));
	}
	pthread_barrier_destroy(&barrier);
}

/* Opposite directions take the same two locks; that both names are taken is found out below them.
 */
static void *tries_often(void *arg)
{
	struct mover *m = arg;

	for (int i = 0; i < 50000; i++) {
		struct err e = {0};

		m->won += fs_move(fx.fs, m->src, m->dest, false, NULL, NULL, &e) == 0;
	}
	return NULL;
}

static void opposite_moves_do_not_wait_for_each_other_for_ever(void **state)
{
	static struct mover m[2];
	pthread_t thread[2];

	(void)state;
	put("ws/a", "x");
	put("ws/b", "y");
	strcpy(m[0].src, at("ws/a"));
	strcpy(m[0].dest, at("ws/b"));
	strcpy(m[1].src, at("ws/b"));
	strcpy(m[1].dest, at("ws/a"));
	alarm(60);
	for (int j = 0; j < 2; j++)
		assert_int_equal(pthread_create(&thread[j], NULL, tries_often, &m[j]), 0);
	for (int j = 0; j < 2; j++)
		pthread_join(thread[j], NULL);
	alarm(0);
	assert_int_equal(m[0].won + m[1].won, 0);
}

/* ---- without RENAME_NOREPLACE ---- */

static void child_old_kernel(int errnum)
{
	struct err e = {0};
	ino_t ino = look("ws/file").st_ino;

	deny(SYS_renameat2, errnum);
	child_check(mv("ws/file", "ws/other", false, &e) < 0 && e.kind == &ERR_EXISTS);
	e = (struct err){0};
	child_check(mv("ws/file", "ws/moved", false, &e) == 0);
	child_check(look("ws/moved").st_ino == ino && look("ws/moved").st_nlink == 1);
	child_check(mv("ws/link", "ws/moved-link", false, &e) == 0);
	child_check(S_ISLNK(look("ws/moved-link").st_mode));
	child_check(mv("ws/dir", "ws/other", false, &e) < 0 && e.kind == &ERR_EXISTS);
	e = (struct err){0};
	child_check(mv("ws/dir", "ws/empty", false, &e) < 0 && e.kind == &ERR_EXISTS);
	e = (struct err){0};
	child_check(mv("ws/dir", "ws/moved-dir", false, &e) == 0);
	child_check(strcmp(content("ws/moved-dir/x"), "x") == 0);
	child_check(mv("ws/moved-dir", "ws/to-dir/y", false, &e) < 0 && e.kind == &ERR_BAD_BODY);
	e = (struct err){0};
	child_check(mv("ws/none", "ws/y", false, &e) < 0 && e.kind == &ERR_NO_FILE);
	child_check(
		strcmp(names_in("ws"), "empty in moved moved-dir moved-link other to-dir") == 0);
}

static void child_without_noreplace(void)
{
	child_old_kernel(ENOSYS);
}

static void child_without_noreplace_in_filesystem(void)
{
	child_old_kernel(EINVAL);
}

static void child_without_noreplace_and_links(void)
{
	deny(SYS_linkat, EPERM);
	child_old_kernel(ENOSYS);
}

static void works_without_a_rename_that_refuses(void **state)
{
	static void (*const children[])(void) = {child_without_noreplace,
		child_without_noreplace_in_filesystem, child_without_noreplace_and_links};

	(void)state;
	for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++) {
		print_message("way %zu\n", i);
		fixture_wipe(at("ws"));
		make_dir("ws");
		make_dir("ws/in");
		make_dir("ws/in/nest");
		fs_free(fx.fs);
		fx.fs = fixture_fs();
		put("ws/file", "f");
		put("ws/other", "o");
		make_dir("ws/empty");
		make_dir("ws/dir");
		put("ws/dir/x", "x");
		assert_int_equal(symlink("none", at("ws/link")), 0);
		assert_int_equal(symlink("moved-dir", at("ws/to-dir")), 0);
		in_child(children[i], "");
	}
}

static void child_cannot_unlink(void)
{
	struct err e = {0};

	deny(SYS_renameat2, ENOSYS);
	child_check(fs_enter(fx.fs, 4001, (gid_t)-1, &e) == 0);
	child_check(mv("ws/shut/file", "ws/open/file", false, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	fs_leave();
	child_check(strcmp(names_in("ws/open"), "") == 0);
	child_check(strcmp(names_in("ws/shut"), "file") == 0);
}

static void takes_a_second_name_back(void **state)
{
	(void)state;
	skip_unless(is_root(), "not root: cannot be somebody else");
	make_dir("ws/shut");
	make_dir("ws/open");
	put("ws/shut/file", "x");
	assert_int_equal(chown(at("ws/shut/file"), 4001, 4101), 0);
	assert_int_equal(chown(at("ws/open"), 4001, 4101), 0);
	in_child(child_cannot_unlink, "");
}

/* ---- into another filesystem ---- */

#define skip_without_shm() \
	skip_unless(fx.shm[0] != '\0', "/dev/shm is missing or in the same filesystem")

static bool same_times(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Everything that is kept of a thing that is moved, but its content. */
static void assert_same(const struct stat *was, const char *now)
{
	struct stat st = look(now);

	if (st.st_mode != was->st_mode || st.st_uid != was->st_uid || st.st_gid != was->st_gid ||
		st.st_rdev != was->st_rdev || !same_times(&st, was) ||
		(!S_ISDIR(st.st_mode) && st.st_size != was->st_size))
		fail_msg("%s: mode %o %o, uid %u %u, gid %u %u", now, st.st_mode, was->st_mode,
			st.st_uid, was->st_uid, st.st_gid, was->st_gid);
}

static void date(const char *path, time_t s)
{
	const struct timespec t[2] = {{s, 111}, {s, 123456789}};

	assert_int_equal(utimensat(AT_FDCWD, at(path), t, AT_SYMLINK_NOFOLLOW), 0);
}

static void moves_single_things_over(void **state)
{
	static const char *const names[] = {"file", "link", "fifo", "socket", "empty", "device"};
	struct err e = {0};
	char from[64];

	(void)state;
	skip_without_shm();
	put("ws/file", "content");
	assert_int_equal(symlink("some/where", at("ws/link")), 0);
	assert_int_equal(mkfifo(at("ws/fifo"), 0600), 0);
	assert_int_equal(mknod(at("ws/socket"), S_IFSOCK | 0600, 0), 0);
	put("ws/empty", "");
	if (mknod(at("ws/device"), S_IFCHR | 0600, makedev(1, 3)) < 0) /* not root */
		put("ws/device", "");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(from, sizeof(from), "ws/%s", names[i]);
		if (is_root())
			assert_int_equal(lchown(at(from), 4001, 4200), 0);
		if (strcmp(names[i], "link") != 0)
			assert_int_equal(chmod(at(from), 04751), 0);
		date(from, 1000000 + (time_t)i);
		struct stat was = look(from);
		assert_ok(mv(from, over(names[i]), false, &e));
		assert_false(exists(from));
		assert_same(&was, over(names[i]));
	}
	assert_string_equal(names_in("ws"), "in");
	assert_string_equal(names_in(fx.shm), "device empty fifo file link socket");
	assert_string_equal(content(over("file")), "content");
	char target[32] = "";
	assert_int_equal(readlink(over("link"), target, sizeof(target)), 10);
	assert_string_equal(target, "some/where");
	/* and back, over something */
	put("ws/file", "old");
	assert_err(mv(over("file"), "ws/file", false, &e), &ERR_EXISTS);
	assert_string_equal(content("ws/file"), "old");
	assert_string_equal(content(over("file")), "content");
	assert_ok(mv(over("file"), "ws/file", true, &e));
	assert_string_equal(content("ws/file"), "content");
	assert_string_equal(names_in("ws"), "file in");
	assert_string_equal(names_in(fx.shm), "device empty fifo link socket");
}

static void moves_trees_over_as_they_are(void **state)
{
	static const char *const paths[] = {
		"", "/a", "/a/b", "/a/file", "/a/b/link", "/a/b/fifo", "/empty", "/a/second"};
	struct stat was[sizeof(paths) / sizeof(paths[0])];
	struct err e = {0};
	char name[128];

	(void)state;
	skip_without_shm();
	make_dir("ws/t");
	make_dir("ws/t/a");
	make_dir("ws/t/a/b");
	make_dir("ws/t/empty");
	put("ws/t/a/file", "x");
	put("ws/t/a/second", "has three names");
	assert_int_equal(link(at("ws/t/a/second"), at("ws/t/a/b/third")), 0);
	assert_int_equal(link(at("ws/t/a/second"), at("ws/t/fourth")), 0);
	assert_int_equal(symlink("../../../..", at("ws/t/a/b/link")), 0);
	assert_int_equal(mkfifo(at("ws/t/a/b/fifo"), 0620), 0);
	assert_int_equal(chmod(at("ws/t/empty"), 01777), 0);
	assert_int_equal(chmod(at("ws/t/a"), 02750), 0);
	for (size_t i = sizeof(paths) / sizeof(paths[0]); i-- > 0;) {
		snprintf(name, sizeof(name), "ws/t%s", paths[i]);
		date(name, 2000000 + (time_t)i);
	}
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		snprintf(name, sizeof(name), "ws/t%s", paths[i]);
		was[i] = look(name);
	}
	assert_ok(mv("ws/t", over("deep/t"), false, &e));
	assert_string_equal(names_in("ws"), "in");
	assert_string_equal(names_in(over("deep")), "t");
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		snprintf(name, sizeof(name), "deep/t%s", paths[i]);
		assert_same(&was[i], over(name));
	}
	assert_int_equal(look(over("deep/t/fourth")).st_nlink, 3);
	assert_int_equal(look(over("deep/t/fourth")).st_ino, look(over("deep/t/a/b/third")).st_ino);
	assert_string_equal(content(over("deep/t/a/b/third")), "has three names");
}

static void keeps_thousands_of_second_names(void **state)
{
	struct err e = {0};
	char a[64], b[64];

	(void)state;
	skip_without_shm();
	make_dir("ws/t");
	/* a file in each of two directories: a and b, c and d, whatever comes first */
	for (const char *dir = "abcd"; *dir != '\0'; dir++) {
		snprintf(a, sizeof(a), "ws/t/%c", *dir);
		make_dir(a);
	}
	for (int i = 0; i < 1000; i++) {
		snprintf(a, sizeof(a), "ws/t/%c/%d", "ac"[i % 2], i);
		snprintf(b, sizeof(b), "ws/t/%c/%d", "bd"[i % 2], i);
		put(a, a);
		assert_int_equal(link(at(a), at(b)), 0);
	}
	assert_ok(mv("ws/t", over("t"), false, &e));
	for (int i = 0; i < 1000; i++) {
		snprintf(a, sizeof(a), "t/%c/%d", "ac"[i % 2], i);
		snprintf(b, sizeof(b), "t/%c/%d", "bd"[i % 2], i);
		assert_int_equal(look(over(a)).st_ino, look(over(b)).st_ino);
		snprintf(a, sizeof(a), "ws/t/%c/%d", "ac"[i % 2], i);
		assert_string_equal(content(over(b)), a);
	}
}

static void moves_attributes_over(void **state)
{
	static const unsigned char caps[20] = {0, 0, 0, 2, 0, 0x20, 0, 0};
	struct err e = {0};
	char got[32];

	(void)state;
	skip_without_shm();
	skip_unless(is_root(), "not root: cannot set file capabilities");
	make_dir("ws/t");
	put("ws/t/f", "x");
	/* security.*: what tmpfs knew before it knew user.* */
	skip_unless(setxattr(at("ws/t/f"), "security.capability", caps, sizeof(caps), 0) == 0,
		"cannot set file capabilities");
	assert_int_equal(setxattr(at("ws/t"), "security.boxd-test", "d", 1, 0), 0);
	assert_ok(mv("ws/t", over("t"), false, &e));
	assert_int_equal(getxattr(over("t/f"), "security.capability", got, sizeof(got)), 20);
	assert_memory_equal(got, caps, 20);
	assert_int_equal(getxattr(over("t"), "security.boxd-test", got, sizeof(got)), 1);
}

static void keeps_holes_as_holes(void **state)
{
	struct err e = {0};
	struct stat st;
	char text[8] = "";
	int fd;

	(void)state;
	skip_without_shm();
	fd = open(at("ws/f"), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "head", 4, 0), 4);
	assert_int_equal(pwrite(fd, "middle", 6, (off_t)1 << 30), 6);
	assert_int_equal(ftruncate(fd, (off_t)3 << 30), 0);
	close(fd);
	assert_ok(mv("ws/f", over("f"), false, &e));
	st = look(over("f"));
	assert_int_equal(st.st_size, (off_t)3 << 30);
	assert_true(st.st_blocks < 1000);
	fd = open(over("f"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, text, 7, (off_t)1 << 30), 7);
	assert_string_equal(text, "middle");
	assert_int_equal(pread(fd, text, 4, 0), 4);
	assert_memory_equal(text, "head", 4);
	close(fd);
}

/* Content that tells every position from every other. */
static void put_counting(const char *path, size_t n)
{
	uint32_t *words = malloc(n + 4);

	assert_non_null(words);
	for (size_t i = 0; i <= n / 4; i++)
		words[i] = (uint32_t)i * 2654435761u;
	put_n(path, words, n);
	free(words);
}

static bool is_counting(const char *path, size_t n)
{
	uint32_t *words = malloc(n + 4);
	int fd = open(at(path), O_RDONLY | O_CLOEXEC);
	bool same = words != NULL && fd >= 0 && read(fd, words, n + 4) == (ssize_t)n;

	for (size_t i = 0; same && i < n / 4; i++)
		same = words[i] == (uint32_t)i * 2654435761u;
	close(fd);
	free(words);
	return same;
}

#define COUNTING_SIZE ((size_t)9000001)

static void child_copies_by_hand(void)
{
	struct err e = {0};

	deny(SYS_copy_file_range, ENOSYS);
	child_check(mv("ws/f", over("f"), false, &e) == 0);
	child_check(is_counting(over("f"), COUNTING_SIZE));
	/* and where holes cannot be found */
	deny_if(SYS_lseek, 2, 0xff, SEEK_DATA, EINVAL);
	child_check(mv(over("f"), "ws/f", false, &e) == 0);
	child_check(is_counting("ws/f", COUNTING_SIZE));
}

static void moves_large_files_over(void **state)
{
	struct err e = {0};

	(void)state;
	skip_without_shm();
	put_counting("ws/f", COUNTING_SIZE);
	assert_ok(mv("ws/f", over("f"), false, &e));
	assert_true(is_counting(over("f"), COUNTING_SIZE));
	assert_ok(mv(over("f"), "ws/f", false, &e));
	assert_true(is_counting("ws/f", COUNTING_SIZE));
	in_child(child_copies_by_hand, "");
}

static void replaces_over_there_as_rename_does(void **state)
{
	static const struct row {
		const char *src, *dest;
		const struct err_kind *kind;
	} rows[] = {
		{"ws/file", "full", &ERR_WRONG_TYPE},
		{"ws/dir", "file", &ERR_WRONG_TYPE},
		{"ws/dir", "full", &ERR_NOT_EMPTY},
		{"ws/dir", "empty", NULL},
		{"ws/file", "file", NULL},
		{"ws/link", "link", NULL},
	};
	struct err e = {0};

	(void)state;
	skip_without_shm();
	put("ws/file", "new");
	make_dir("ws/dir");
	put("ws/dir/x", "x");
	assert_int_equal(symlink("to", at("ws/link")), 0);
	make_dir(over("full"));
	put(over("full/y"), "y");
	make_dir(over("empty"));
	put(over("file"), "old");
	put(over("link"), "old");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("%s to %s\n", rows[i].src, rows[i].dest);
		assert_err(mv(rows[i].src, over(rows[i].dest), false, &e), &ERR_EXISTS);
		if (rows[i].kind != NULL)
			assert_err(mv(rows[i].src, over(rows[i].dest), true, &e), rows[i].kind);
		else
			assert_ok(mv(rows[i].src, over(rows[i].dest), true, &e));
		assert_int_equal(exists(rows[i].src), rows[i].kind != NULL);
		assert_string_equal(names_in(fx.shm), "empty file full link");
	}
	assert_string_equal(names_in("ws"), "in");
	assert_string_equal(names_in(over("full")), "y");
	assert_string_equal(names_in(over("empty")), "x");
	assert_string_equal(content(over("file")), "new");
	assert_true(S_ISLNK(look(over("link")).st_mode));
}

static void moves_deep_trees_over_with_few_descriptors(void **state)
{
	struct rlimit old, few = {72, 72};
	struct err e = {0};
	char path[4096];
	int r;

	(void)state;
	skip_without_shm();
	snprintf(path, sizeof(path), "%s", at("ws/t"));
	umask(0);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(mkdir(path, 0700 + (i & 077)), 0);
		strcat(path, "/d");
	}
	strcpy(strrchr(path, '/'), "/f");
	put(path, "deep");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	r = mv("ws/t", over("t"), false, &e);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_ok(r);
	snprintf(path, sizeof(path), "%s", over("t"));
	for (int i = 0; i < 300; i++) {
		assert_int_equal(look(path).st_mode & 07777, 0700 + (i & 077));
		strcat(path, "/d");
	}
	strcpy(strrchr(path, '/'), "/f");
	assert_string_equal(content(path), "deep");
	assert_string_equal(names_in("ws"), "in");
}

/* ---- failures on the way over ---- */

static void make_tree(void)
{
	make_dir("ws/t");
	make_dir("ws/t/a");
	put("ws/t/a/x", "x");
	put("ws/t/y", "y");
	make_dir("ws/t/z");
}

static bool tree_is_whole(const char *path)
{
	char name[PATH_MAX];
	bool whole = strcmp(names_in(path), "a y z") == 0;

	snprintf(name, sizeof(name), "%s/a/x", path);
	return whole && strcmp(content(name), "x") == 0;
}

static void cancelling_leaves_the_source_and_nothing_else(void **state)
{
	atomic_bool cancelled = true;
	struct err e = {0};

	(void)state;
	skip_without_shm();
	make_tree();
	put("ws/f", "content");
	assert_err(fs_move(fx.fs, at("ws/t"), over("t"), false, NULL, &cancelled, &e),
		&ERR_UNAVAILABLE);
	assert_err(fs_move(fx.fs, at("ws/f"), over("f"), false, NULL, &cancelled, &e),
		&ERR_UNAVAILABLE);
	assert_true(tree_is_whole("ws/t"));
	assert_string_equal(names_in("ws"), "f in t");
	assert_string_equal(names_in(fx.shm), "");
}

static void the_condition_holds_for_a_move_over(void **state)
{
	struct cond c = {.if_match = STR("\"other\"")};
	struct err e = {0};
	struct fs_stat st;
	char etag[FS_ETAG_MAX];

	(void)state;
	skip_without_shm();
	put("ws/f", "x");
	assert_err(fs_move(fx.fs, at("ws/f"), over("f"), false, &c, NULL, &e), &ERR_PRECONDITION);
	assert_ok(fs_info(fx.fs, at("ws/f"), &st, &e));
	fs_etag(&st, etag);
	c.if_match = str_of(etag);
	assert_ok(fs_move(fx.fs, at("ws/f"), over("f"), false, &c, NULL, &e));
	assert_string_equal(names_in("ws"), "in");
	assert_string_equal(names_in(fx.shm), "f");
}

static atomic_bool stop_it;

static void *appends(void *arg)
{
	int fd = open(arg, O_WRONLY | O_APPEND | O_CLOEXEC);

	while (!atomic_load(&stop_it))
		(void)!write(fd, "line\n", 5);
	close(fd);
	return NULL;
}

static void a_file_that_is_written_to_is_not_moved_without_its_end(void **state)
{
	struct err e = {0};
	char path[PATH_MAX];
	int r = 0;

	(void)state;
	skip_without_shm();
	strcpy(path, at("ws/f"));
	/* The other thread may have been asleep all the time: then the move was right to succeed.
	 */
	for (int i = 0; i < 50 && r == 0; i++) {
		pthread_t thread;

		unlink(over("f"));
		put_counting("ws/f", COUNTING_SIZE);
		atomic_store(&stop_it, false);
		assert_int_equal(pthread_create(&thread, NULL, appends, path), 0);
		while (look("ws/f").st_size == (off_t)COUNTING_SIZE)
			sched_yield();
		r = mv("ws/f", over("f"), false, &e);
		atomic_store(&stop_it, true);
		pthread_join(thread, NULL);
	}
	assert_err(r, &ERR_RUNTIME);
	assert_string_equal(names_in("ws"), "f in");
	assert_string_equal(names_in(fx.shm), "");
}

static void child_cannot_read_all(void)
{
	struct err e = {0};

	child_check(fs_enter(fx.fs, 4001, (gid_t)-1, &e) == 0);
	child_check(mv("ws/open/t", over("open/t"), false, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	fs_leave();
	child_check(strcmp(names_in("ws/open"), "t") == 0);
	child_check(strcmp(names_in(over("open")), "") == 0);
}

static void child_cannot_take_away(void)
{
	struct err e = {0};

	child_check(fs_enter(fx.fs, 4001, (gid_t)-1, &e) == 0);
	child_check(mv("ws/t", over("open/t"), false, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	e = (struct err){0};
	child_check(mv("ws/f", over("open/f"), true, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	fs_leave();
	child_check(tree_is_whole("ws/t"));
	child_check(strcmp(names_in(over("open")), "") == 0);
}

static void child_gives_nothing_away(void)
{
	struct err e = {0};

	child_check(fs_enter(fx.fs, 4001, (gid_t)-1, &e) == 0);
	child_check(mv("ws/open/roots", over("open/roots"), false, &e) == 0);
	fs_leave();
	/* root's file is theirs now, and no longer setuid */
	child_check(look(over("open/roots")).st_uid == 4001);
	child_check((look(over("open/roots")).st_mode & 07777) == 0755);
}

static void a_move_over_as_somebody_else(void **state)
{
	(void)state;
	skip_without_shm();
	skip_unless(is_root(), "not root: cannot be somebody else");
	assert_int_equal(chmod(fx.shm, 0755), 0);
	make_tree();
	put("ws/f", "x");
	make_dir("ws/open");
	make_dir(over("open"));
	assert_int_equal(chown(at("ws/open"), 4001, 4101), 0);
	assert_int_equal(chown(over("open"), 4001, 4101), 0);
	in_child(child_cannot_take_away, "");
	make_dir("ws/open/t");
	make_dir("ws/open/t/closed");
	assert_int_equal(chown(at("ws/open/t"), 4001, 4101), 0);
	assert_int_equal(chmod(at("ws/open/t/closed"), 0700), 0);
	in_child(child_cannot_read_all, "");
	put("ws/open/roots", "x");
	assert_int_equal(chmod(at("ws/open/roots"), 04755), 0);
	in_child(child_gives_nothing_away, "");
}

static void child_fails_to_publish(void)
{
	struct err e = {0};

	/* What an overlay says of some directories; here it comes after the copy, too. */
	deny(SYS_renameat, EXDEV);
	child_check(mv("ws/t", "ws/in/t", true, &e) < 0);
	child_check(tree_is_whole("ws/t"));
	child_check(strcmp(names_in("ws"), "f in t") == 0);
	child_check(strcmp(names_in("ws/in"), "nest") == 0);
}

static void child_cannot_set_aside(void)
{
	struct err e = {0};

	deny(SYS_renameat2, EXDEV);
	child_check(mv("ws/t", over("t"), true, &e) == 0);
	child_check(tree_is_whole(over("t")));
	child_check(strcmp(names_in("ws"), "f in") == 0);
	child_check(strcmp(names_in(fx.shm), "t") == 0);
}

static void child_cannot_remove_source(void)
{
	struct err e = {0};

	deny(SYS_unlinkat, EIO);
	child_check(mv("ws/f", over("f"), false, &e) < 0 && e.kind == &ERR_RUNTIME);
	child_check(strstr(e.msg, "copied") != NULL);
	/* Nothing stays hidden. */
	child_check(strcmp(names_in("ws"), "f in") == 0);
	child_check(strcmp(names_in(fx.shm), "f t") == 0);
}

static void copes_with_failures_at_the_very_end(void **state)
{
	(void)state;
	skip_without_shm();
	make_tree();
	put("ws/f", "x");
	in_child(child_fails_to_publish, "");
	in_child(child_cannot_set_aside, "");
	in_child(child_cannot_remove_source, "");
}

static void child_full_disk(void)
{
	struct err e = {0};

	own_mounts();
	if (mount("tmpfs", at("ws/in"), "tmpfs", 0, "size=256k") < 0)
		_exit(CHILD_SKIPPED);
	child_check(mv("ws/t", "ws/in/t", false, &e) < 0 && e.kind == &ERR_NO_SPACE);
	child_check(tree_is_whole("ws/t"));
	child_check(strcmp(names_in("ws/in"), "") == 0);
	e = (struct err){0};
	put("ws/in/old", "old");
	child_check(mv("ws/big", "ws/in/old", true, &e) < 0 && e.kind == &ERR_NO_SPACE);
	child_check(strcmp(content("ws/in/old"), "old") == 0);
	child_check(strcmp(names_in("ws/in"), "old") == 0);
	child_check(is_counting("ws/big", COUNTING_SIZE));
	/* What is in the way is found before anything is copied. */
	e = (struct err){0};
	child_check(mv("ws/big", "ws/in/old", false, &e) < 0 && e.kind == &ERR_EXISTS);
	e = (struct err){0};
	child_check(mv("ws/t", "ws/in/old", true, &e) < 0 && e.kind == &ERR_WRONG_TYPE);
}

static void a_full_disk_leaves_source_and_destination(void **state)
{
	(void)state;
	make_tree();
	put_counting("ws/t/a/x2", COUNTING_SIZE);
	unlink(at("ws/t/a/x2"));
	put_counting("ws/big", COUNTING_SIZE);
	put_counting("ws/t/z/big", COUNTING_SIZE);
	in_child(child_full_disk, "may not mount");
}

static void child_mounts(void)
{
	struct err e = {0};

	own_mounts();
	if (mount("tmpfs", at("ws/t/z"), "tmpfs", 0, "size=1m") < 0)
		_exit(CHILD_SKIPPED);
	/* Into itself, as nobody can see by the path. */
	child_check(symlink("t/z", at("ws/to-z")) == 0);
	child_check(mv("ws/t", "ws/to-z/t", false, &e) < 0);
	child_check(tree_is_whole("ws/t"));
	child_check(strcmp(names_in("ws/t/z"), "") == 0);
	/* A mount point could be copied, but not be taken away. */
	e = (struct err){0};
	put("ws/t/z/mounted", "m");
	child_check(mv("ws/t", over("t"), false, &e) < 0 && e.kind == &ERR_RUNTIME);
	child_check(tree_is_whole("ws/t"));
	child_check(strcmp(names_in(fx.shm), "") == 0);
	e = (struct err){0};
	child_check(mv("ws/t/z", over("z"), false, &e) < 0 && e.kind == &ERR_RUNTIME);
	child_check(strcmp(content("ws/t/z/mounted"), "m") == 0);
	child_check(strcmp(names_in(fx.shm), "") == 0);
	child_check(strcmp(names_in("ws/t"), "a y z") == 0);
	/* Into itself through a mount of the same filesystem. */
	e = (struct err){0};
	child_check(umount(at("ws/t/z")) == 0);
	child_check(mkdir(at("ws/elsewhere"), 0777) == 0);
	child_check(mount(at("ws/elsewhere"), at("ws/t/z"), NULL, MS_BIND, NULL) == 0);
	child_check(mv("ws/t", "ws/to-z/t", false, &e) < 0 && e.kind == &ERR_BAD_BODY);
	child_check(tree_is_whole("ws/t"));
	child_check(strcmp(names_in("ws/elsewhere"), "") == 0);
}

static void moves_no_mount_points_and_nothing_into_itself(void **state)
{
	(void)state;
	skip_without_shm();
	make_tree();
	in_child(child_mounts, "may not mount");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fs_test(moves_whatever_has_a_name),
		fs_test(refuses_what_cannot_be_moved),
		fs_test(moves_only_what_the_condition_names),
		fs_test(of_two_moves_to_one_name_one_wins),
		fs_test(opposite_moves_do_not_wait_for_each_other_for_ever),
		fs_test(works_without_a_rename_that_refuses),
		fs_test(takes_a_second_name_back),
		fs_test(moves_single_things_over),
		fs_test(moves_trees_over_as_they_are),
		fs_test(keeps_thousands_of_second_names),
		fs_test(moves_attributes_over),
		fs_test(keeps_holes_as_holes),
		fs_test(moves_large_files_over),
		fs_test(replaces_over_there_as_rename_does),
		fs_test(moves_deep_trees_over_with_few_descriptors),
		fs_test(cancelling_leaves_the_source_and_nothing_else),
		fs_test(the_condition_holds_for_a_move_over),
		fs_test(a_file_that_is_written_to_is_not_moved_without_its_end),
		fs_test(a_move_over_as_somebody_else),
		fs_test(copes_with_failures_at_the_very_end),
		fs_test(a_full_disk_leaves_source_and_destination),
		fs_test(moves_no_mount_points_and_nothing_into_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
