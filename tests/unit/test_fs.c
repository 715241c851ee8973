/* fs: paths as clients write them, metadata, permissions, opening for reading. */
#include "boxd/fs.h"

#include "fs_fixture.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_preadv2
#define SYS_preadv2 327
#endif

/* ---- paths ---- */

static void cleans_and_expands_paths(void **state)
{
	static const struct row {
		const char *raw;
		const char *clean; /* "WS": the workspace in front */
	} rows[] = {
		{"", "WS"},
		{".", "WS"},
		{"./", "WS"},
		{"a", "WS/a"},
		{"a/b", "WS/a/b"},
		{"a//b///", "WS/a/b"},
		{"./a/./b/.", "WS/a/b"},
		{"a/../b", "WS/b"},
		{"a/b/../../c", "WS/c"},
		{"a/..", "WS"},
		{"..a/...", "WS/..a/..."},
		{".hidden/..x", "WS/.hidden/..x"},
		{"/", "/"},
		{"//", "/"},
		{"/..", "/"},
		{"/../..", "/"},
		{"/../a", "/a"},
		{"/a/..", "/"},
		{"/a/../..//b/", "/b"},
		{"/a/b/../c/./d/..", "/a/c"},
		{"/a/b/../..", "/"},
		{"../../../../../../../../../../../../../../../../x", "/x"},
		{"~", "/home/me"},
		{"~/", "/home/me"},
		{"~/x/../y", "/home/me/y"},
		{"~x", "WS/~x"},
		{"a/~", "WS/a/~"},
		{"$A/b", "WS/aa/b"},
		{"${A}b", "WS/aab"},
		{"$SLASH/y", "/abs/x/y"},
		{"x$SLASH", "WS/x/abs/x"},
		{"$TILDE/z", "/home/me/z"},
		{"$EMPTY", "WS"},
		{"a$", "WS/a$"},
		{"sp ace\n", "WS/sp ace\n"},
		{"\xff\xfe", "WS/\xff\xfe"},
	};
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char want[PATH_MAX];
		char *got = fs_path(fx.fs, rows[i].raw, &e);

		if (strncmp(rows[i].clean, "WS", 2) == 0)
			snprintf(want, sizeof(want), "%s/ws%s", fx.base, rows[i].clean + 2);
		else
			snprintf(want, sizeof(want), "%s", rows[i].clean);
		if (got == NULL || strcmp(got, want) != 0)
			fail_msg("'%s': '%s'", rows[i].raw, got == NULL ? e.msg : got);
		free(got);
	}
}

static void a_path_may_be_as_long_as_the_kernel_takes(void **state)
{
	char raw[2 * PATH_MAX];
	struct err e = {0};
	char *path;

	(void)state;
	memset(raw, 'a', sizeof(raw));
	for (size_t i = 0; i < sizeof(raw); i += 2)
		raw[i] = '/';
	raw[PATH_MAX - 1] = '\0';
	path = fs_path(fx.fs, raw, &e);
	assert_non_null(path);
	assert_int_equal(strlen(path), PATH_MAX - 2); /* the slash at the end is gone */
	free(path);
	raw[PATH_MAX - 1] = 'a';
	raw[PATH_MAX] = '\0';
	assert_null(fs_path(fx.fs, raw, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_PATH);
	e = (struct err){0};
	/* short enough as it is written, too long below the workspace */
	memset(raw, 'a', PATH_MAX);
	raw[PATH_MAX - 3] = '\0';
	assert_null(fs_path(fx.fs, raw, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_PATH);
}

static void names_the_variables_that_are_not_defined(void **state)
{
	struct err e = {0};

	(void)state;
	assert_null(fs_path(fx.fs, "$NOPE/$ALSO", &e));
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	assert_non_null(strstr(e.msg, "ALSO"));
	assert_non_null(strstr(e.msg, "NOPE"));
}

static void needs_a_workspace(void **state)
{
	struct confine_root root = {.path = "/not/there/at/all"};
	struct fs_config fc = {&root, 1, fixture_environ, "/etc"};
	struct err e = {0};

	(void)state;
	assert_null(fs_new(&fc, &e));
	assert_non_null(e.kind);
	fs_free(NULL);
}

/* ---- metadata ---- */

static void tells_what_a_name_is(void **state)
{
	static const struct row {
		const char *path;
		enum fs_type type;
	} rows[] = {
		{"ws", FS_DIRECTORY},
		{"ws/file", FS_FILE},
		{"ws/in", FS_DIRECTORY},
		{"ws/link", FS_SYMLINK},
		{"ws/dangling", FS_SYMLINK},
		{"ws/out", FS_SYMLINK},
		{"ws/fifo", FS_OTHER},
		{"ro/kept", FS_FILE},
	};
	struct fs_stat st;
	struct err e = {0};

	(void)state;
	put("ws/file", "12345");
	assert_int_equal(chmod(at("ws/file"), 04751), 0);
	assert_int_equal(symlink("file", at("ws/link")), 0);
	assert_int_equal(symlink("nothing", at("ws/dangling")), 0);
	assert_int_equal(symlink("../outside/secret", at("ws/out")), 0);
	assert_int_equal(mkfifo(at("ws/fifo"), 0600), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_ok(fs_info(fx.fs, at(rows[i].path), &st, &e));
		if (st.type != rows[i].type)
			fail_msg("%s: %d", rows[i].path, st.type);
		assert_int_equal(st.ino, look(rows[i].path).st_ino);
	}
	assert_ok(fs_info(fx.fs, at("ws/file"), &st, &e));
	struct stat real = look("ws/file");
	assert_int_equal(st.size, 5);
	assert_int_equal(st.mode, 04751);
	assert_int_equal(st.uid, real.st_uid);
	assert_int_equal(st.gid, real.st_gid);
	assert_int_equal(st.dev, real.st_dev);
	assert_int_equal(st.nlink, 1);
	assert_int_equal(st.mtime.tv_sec, real.st_mtim.tv_sec);
	assert_int_equal(st.mtime.tv_nsec, real.st_mtim.tv_nsec);
	assert_int_equal(st.ctime.tv_nsec, real.st_ctim.tv_nsec);
	assert_err(fs_info(fx.fs, at("ws/none"), &st, &e), &ERR_NO_FILE);
	assert_err(fs_info(fx.fs, at("ws/file/x"), &st, &e), &ERR_NO_FILE);
	assert_err(fs_info(fx.fs, at("outside/secret"), &st, &e), &ERR_PATH_FORBIDDEN);
	assert_err(fs_info(fx.fs, at("outside/none"), &st, &e), &ERR_PATH_FORBIDDEN);
}

static void every_part_of_a_tag_counts(void **state)
{
	const struct fs_stat base = {.ino = 7, .size = 100, .ctime = {1000, 5}};
	struct fs_stat other[4] = {base, base, base, base};
	char tag[FS_ETAG_MAX], tag2[FS_ETAG_MAX];

	(void)state;
	fs_etag(&base, tag);
	assert_string_equal(tag, "\"7-64-3e8.00000005\"");
	fs_etag(&base, tag2);
	assert_string_equal(tag, tag2);
	other[0].ino++;
	other[1].size++;
	other[2].ctime.tv_sec++;
	other[3].ctime.tv_nsec++;
	for (size_t i = 0; i < 4; i++) {
		fs_etag(&other[i], tag2);
		assert_string_not_equal(tag, tag2);
	}
	fs_etag(
		&(struct fs_stat){
			.ino = UINT64_MAX, .size = UINT64_MAX, .ctime = {INT64_MAX, 999999999}},
		tag);
	assert_int_equal(tag[strlen(tag) - 1], '"');
}

static void a_tag_notices_content_that_is_dated_back(void **state)
{
	const struct timespec then[2] = {{1000, 0}, {1000, 0}};
	char before[FS_ETAG_MAX], after[FS_ETAG_MAX];
	struct fs_stat st;
	struct err e = {0};

	(void)state;
	put("ws/f", "one");
	assert_int_equal(utimensat(AT_FDCWD, at("ws/f"), then, 0), 0);
	assert_ok(fs_info(fx.fs, at("ws/f"), &st, &e));
	fs_etag(&st, before);
	usleep(20000); /* the kernel's clock for files ticks */
	put("ws/f", "two");
	assert_int_equal(utimensat(AT_FDCWD, at("ws/f"), then, 0), 0);
	assert_ok(fs_info(fx.fs, at("ws/f"), &st, &e));
	fs_etag(&st, after);
	assert_string_not_equal(before, after);
}

static void knows_the_names_of_the_box(void **state)
{
	struct err e = {0};
	struct fs_names *n = fs_names(fx.fs, &e);

	(void)state;
	assert_non_null(n);
	assert_string_equal(fs_user_name(n, 4001), "ann");
	assert_string_equal(fs_group_name(n, 4200), "team");
	assert_null(fs_user_name(n, 4999));
	fs_names_free(n);
}

/* ---- permissions ---- */

static int set_perm(
	const char *path, int32_t mode, const char *owner, const char *group, struct err *e)
{
	const struct fs_perm perm = {mode, owner, group};

	return fs_set_perm(fx.fs, at(path), &perm, e);
}

static void changes_modes_of_whatever_there_is(void **state)
{
	static const char *const paths[] = {"ws/file", "ws/in", "ws/fifo", "ws"};
	struct err e = {0};

	(void)state;
	put("ws/file", "x");
	assert_int_equal(mkfifo(at("ws/fifo"), 0600), 0);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		assert_ok(set_perm(paths[i], 01751, NULL, NULL, &e));
		assert_int_equal(look(paths[i]).st_mode & 07777, 01751);
		assert_ok(set_perm(paths[i], 0700, NULL, NULL, &e));
		assert_int_equal(look(paths[i]).st_mode & 07777, 0700);
		assert_ok(set_perm(paths[i], -1, NULL, NULL, &e));
		assert_int_equal(look(paths[i]).st_mode & 07777, 0700);
	}
	assert_ok(set_perm("ws/file", 0, NULL, NULL, &e));
	assert_int_equal(look("ws/file").st_mode & 07777, 0);
	assert_ok(set_perm("ws/file", 0644, NULL, NULL, &e));
	assert_string_equal(content("ws/file"), "x");
}

static void permissions_follow_links_that_stay_inside(void **state)
{
	struct err e = {0};

	(void)state;
	put("ws/file", "x");
	assert_int_equal(symlink("file", at("ws/link")), 0);
	assert_int_equal(symlink("../outside/secret", at("ws/out")), 0);
	assert_int_equal(symlink("none", at("ws/dangling")), 0);
	assert_ok(set_perm("ws/link", 0601, NULL, NULL, &e));
	assert_int_equal(look("ws/file").st_mode & 07777, 0601);
	assert_err(set_perm("ws/out", 0600, NULL, NULL, &e), &ERR_PATH_FORBIDDEN);
	assert_int_equal(look("outside/secret").st_mode & 07777, 0644);
	assert_err(set_perm("ws/dangling", 0600, NULL, NULL, &e), &ERR_NO_FILE);
	assert_err(set_perm("ws/none", 0600, NULL, NULL, &e), &ERR_NO_FILE);
	assert_err(set_perm("ro/kept", 0600, NULL, NULL, &e), &ERR_READ_ONLY);
	assert_int_equal(look("ro/kept").st_mode & 07777, 0644);
}

static void changes_owners_by_name_and_number(void **state)
{
	static const struct row {
		const char *owner, *group;
		uid_t uid;
		gid_t gid;
	} rows[] = {
		{"ann", NULL, 4001, 0},
		{NULL, "team", 4001, 4200},
		{"4055", "4155", 4055, 4155},
		{"12", "0", 4012, 0}, /* a name that looks like a number is a name */
		{"root", "root", 0, 0},
	};
	struct err e = {0};

	(void)state;
	skip_unless(is_root(), "not root: cannot give files away");
	put("ws/file", "x");
	assert_int_equal(mkfifo(at("ws/fifo"), 0600), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_ok(set_perm("ws/file", -1, rows[i].owner, rows[i].group, &e));
		if (look("ws/file").st_uid != rows[i].uid || look("ws/file").st_gid != rows[i].gid)
			fail_msg("row %zu: %u:%u", i, look("ws/file").st_uid,
				look("ws/file").st_gid);
		assert_ok(set_perm("ws/fifo", -1, rows[i].owner, rows[i].group, &e));
		assert_int_equal(look("ws/fifo").st_uid, rows[i].uid);
	}
	/* the owner first: otherwise the special bits were gone */
	assert_ok(set_perm("ws/file", 06755, "ann", "team", &e));
	assert_int_equal(look("ws/file").st_mode & 07777, 06755);
	/* nothing is changed when one of the names is unknown */
	assert_err(set_perm("ws/file", 0600, "root", "no-such", &e), &ERR_BAD_BODY);
	assert_err(set_perm("ws/file", 0600, "no-such", NULL, &e), &ERR_BAD_BODY);
	assert_int_equal(look("ws/file").st_uid, 4001);
	assert_int_equal(look("ws/file").st_mode & 07777, 06755);
}

static void changes_through_any_descriptor(void **state)
{
	static const int flags[] = {O_RDONLY, O_WRONLY, O_PATH};
	struct err e = {0};

	(void)state;
	put("ws/file", "x");
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		const struct fs_perm perm = {(int32_t)(0640 + i), NULL, NULL};
		int fd = open(at("ws/file"), flags[i] | O_CLOEXEC);

		assert_ok(fs_set_perm_fd(fx.fs, fd, &perm, &e));
		assert_int_equal(look("ws/file").st_mode & 07777, 0640 + i);
		close(fd);
	}
}

static void child_chmod_by_proc(void)
{
	struct err e = {0};

	deny(SYS_fchmodat2, ENOSYS);
	child_check(set_perm("ws/fifo", 0622, NULL, NULL, &e) == 0);
	child_check((look("ws/fifo").st_mode & 07777) == 0622);
}

static void child_chmod_without_proc(void)
{
	struct fs_perm perm = {0711, NULL, NULL};
	struct err e = {0};
	int fd;

	if (chroot(fx.base) < 0)
		_exit(CHILD_SKIPPED);
	strcpy(fx.base, "");
	deny(SYS_fchmodat2, EPERM);
	fd = open("/ws/in", O_PATH | O_CLOEXEC);
	child_check(fs_set_perm_fd(fx.fs, fd, &perm, &e) == 0);
	child_check((look("ws/in").st_mode & 07777) == 0711);
	close(fd);
	child_check(set_perm("ws/file", 0600, NULL, NULL, &e) < 0);
	/* the roots are of before */
	fs_free(fx.fs);
	fx.shm[0] = '\0';
	fx.fs = fixture_fs();
	e = (struct err){0};
	child_check(set_perm("ws/file", 0600, NULL, NULL, &e) == 0);
	child_check((look("ws/file").st_mode & 07777) == 0600);
	child_check(set_perm("ws/fifo", 0600, NULL, NULL, &e) < 0);
}

static void modes_change_on_old_kernels_and_without_proc(void **state)
{
	(void)state;
	put("ws/file", "x");
	assert_int_equal(mkfifo(at("ws/fifo"), 0600), 0);
	in_child(child_chmod_by_proc, "");
	in_child(child_chmod_without_proc, "may not chroot");
}

static void child_perm_as_user(void)
{
	struct err e = {0};

	child_check(fs_enter(fx.fs, 4001, (gid_t)-1, &e) == 0);
	child_check(set_perm("ws/theirs", 0640, NULL, "team", &e) == 0);
	child_check(set_perm("ws/unreadable", 0200, NULL, NULL, &e) == 0);
	child_check(set_perm("ws/roots", 0666, NULL, NULL, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	e = (struct err){0};
	child_check(set_perm("ws/theirs", -1, "root", NULL, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	fs_leave();
	child_check(look("ws/theirs").st_gid == 4200);
	child_check((look("ws/theirs").st_mode & 07777) == 0640);
	child_check((look("ws/unreadable").st_mode & 07777) == 0200);
	child_check((look("ws/roots").st_mode & 07777) == 0644);
}

static void changes_what_is_theirs_as_somebody_else(void **state)
{
	(void)state;
	skip_unless(is_root(), "not root: cannot be somebody else");
	put("ws/theirs", "x");
	put("ws/unreadable", "x");
	put("ws/roots", "x");
	assert_int_equal(chown(at("ws/theirs"), 4001, 4101), 0);
	assert_int_equal(chown(at("ws/unreadable"), 4001, 4101), 0);
	assert_int_equal(chmod(at("ws/unreadable"), 0), 0);
	in_child(child_perm_as_user, "");
}

static void child_ids(void)
{
	struct err e = {0};
	struct stat st;

	/* a member of team may write there, and what is made is of the primary group */
	child_check(fs_enter(fx.fs, 4001, (gid_t)-1, &e) == 0);
	child_check(mkdir(at("ws/team/ann"), 0755) == 0);
	fs_leave();
	st = look("ws/team/ann");
	child_check(st.st_uid == 4001 && st.st_gid == 4101);
	/* another group for what is made; the supplementary ones stay */
	child_check(fs_enter(fx.fs, 4001, 4300, &e) == 0);
	child_check(mkdir(at("ws/team/ann2"), 0755) == 0);
	fs_leave();
	st = look("ws/team/ann2");
	child_check(st.st_uid == 4001 && st.st_gid == 4300);
	/* a stranger has no group but the one that is given */
	child_check(fs_enter(fx.fs, 4999, 4200, &e) == 0);
	child_check(mkdir(at("ws/team/stranger"), 0755) == 0);
	child_check(mkdir(at("ws/strangers/x"), 0755) < 0 && errno == EACCES);
	fs_leave();
	child_check(fs_enter(fx.fs, 4999, (gid_t)-1, &e) == 0);
	child_check(mkdir(at("ws/team/none"), 0755) < 0 && errno == EACCES);
	child_check(mkdir(at("ws/strangers/x"), 0755) == 0);
	fs_leave();
	child_check(mkdir(at("ws/team/root"), 0755) == 0);
	child_check(look("ws/team/root").st_uid == 0);
}

static void enters_with_the_groups_of_the_user(void **state)
{
	(void)state;
	skip_unless(is_root(), "not root: cannot be somebody else");
	make_dir("ws/team");
	assert_int_equal(chown(at("ws/team"), 0, 4200), 0);
	assert_int_equal(chmod(at("ws/team"), 0770), 0);
	make_dir("ws/strangers");
	assert_int_equal(chown(at("ws/strangers"), 0, 4999), 0);
	assert_int_equal(chmod(at("ws/strangers"), 0770), 0);
	in_child(child_ids, "");
}

/* ---- reading ---- */

static void opens_files_and_nothing_else(void **state)
{
	static const struct row {
		const char *path;
		const struct err_kind *kind;
	} rows[] = {
		{"ws", &ERR_WRONG_TYPE},
		{"ws/in", &ERR_WRONG_TYPE},
		{"ws/to-dir", &ERR_WRONG_TYPE},
		{"ws/fifo", &ERR_WRONG_TYPE},
		{"ws/null", &ERR_WRONG_TYPE},
		{"ws/none", &ERR_NO_FILE},
		{"ws/dangling", &ERR_NO_FILE},
		{"ws/file/x", &ERR_NO_FILE},
		{"ws/out", &ERR_PATH_FORBIDDEN},
		{"outside/secret", &ERR_PATH_FORBIDDEN},
	};
	struct fs_stat st;
	struct err e = {0};
	char text[8] = "";
	int fd;

	(void)state;
	put("ws/file", "hello");
	assert_int_equal(mkfifo(at("ws/fifo"), 0600), 0);
	assert_int_equal(symlink("in", at("ws/to-dir")), 0);
	assert_int_equal(symlink("file", at("ws/link")), 0);
	assert_int_equal(symlink("none", at("ws/dangling")), 0);
	assert_int_equal(symlink("../outside/secret", at("ws/out")), 0);
	if (mknod(at("ws/null"), S_IFCHR | 0666, makedev(1, 3)) < 0) /* not root */
		assert_int_equal(mkfifo(at("ws/null"), 0600), 0);
	fd = fs_open_read(fx.fs, at("ws/link"), &st, &e);
	assert_ok(fd);
	assert_int_equal(st.size, 5);
	assert_int_equal(st.type, FS_FILE);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	close(fd);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("%s\n", rows[i].path);
		assert_err(fs_open_read(fx.fs, at(rows[i].path), &st, &e), rows[i].kind);
	}
}

static void child_waits_at_the_fifo(void)
{
	alarm(60);
	(void)!open(at("ws/fifo"), O_WRONLY | O_CLOEXEC); /* until there is a reader */
	_exit(3);
}

static void wakes_nobody_who_waits_at_a_fifo(void **state)
{
	struct fs_stat st;
	struct err e = {0};
	pid_t pid;

	(void)state;
	assert_int_equal(mkfifo(at("ws/fifo"), 0600), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child_waits_at_the_fifo();
	usleep(50000);
	assert_err(fs_open_read(fx.fs, at("ws/fifo"), &st, &e), &ERR_WRONG_TYPE);
	usleep(50000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void child_unreadable(void)
{
	struct fs_stat st;
	struct err e = {0};

	child_check(fs_enter(fx.fs, 4001, (gid_t)-1, &e) == 0);
	child_check(fs_open_read(fx.fs, at("ws/file"), &st, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	fs_leave();
}

static void says_so_when_reading_is_not_allowed(void **state)
{
	(void)state;
	skip_unless(is_root(), "not root: cannot be somebody else");
	put("ws/file", "hello");
	assert_int_equal(chmod(at("ws/file"), 0600), 0);
	in_child(child_unreadable, "");
}

#define BIG_SIZE ((size_t)1 << 20)

static int big_file(void)
{
	static char block[BIG_SIZE];
	int fd;

	put_n("ws/big", block, sizeof(block));
	fd = open(at("ws/big"), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Only clean pages can be thrown out of the cache. */
static bool evict(int fd)
{
	return fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0 &&
	       posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) == 0;
}

static void knows_what_is_in_the_page_cache(void **state)
{
	int fd = big_file();

	(void)state;
	skip_unless(fs_resident(fd, 0, BIG_SIZE), "this filesystem cannot say what is cached");
	assert_true(fs_resident(fd, 100, 1));
	assert_true(fs_resident(fd, 0, 0));
	assert_true(fs_resident(fd, BIG_SIZE - 1, 1));
	assert_true(fs_resident(fd, 0, BIG_SIZE * 10)); /* beyond the end nothing blocks */
	assert_true(evict(fd));
	assert_false(fs_resident(fd, 0, BIG_SIZE));
	fs_prefetch(fd, 0, 70000);
	assert_true(fs_resident(fd, 0, 70000));
	assert_false(fs_resident(fd, 0, BIG_SIZE));
	/* only the last page is missing */
	assert_true(evict(fd));
	fs_prefetch(fd, 0, 65536);
	assert_false(fs_resident(fd, 0, 65536 + 4096));
	assert_false(fs_resident(fd, 4096, 65536));
	fs_prefetch(fd, 0, BIG_SIZE * 10);
	assert_true(fs_resident(fd, 0, BIG_SIZE));
	close(fd);
	assert_false(fs_resident(-1, 0, 1));
	assert_false(fs_resident(0, UINT64_MAX - 1, 10));
	fs_prefetch(-1, 0, 100);
	fs_prefetch(0, UINT64_MAX - 1, 10);
}

static void child_no_nowait(void)
{
	int fd = open(at("ws/big"), O_RDONLY | O_CLOEXEC);

	deny(SYS_preadv2, EOPNOTSUPP);
	child_check(fd >= 0 && !fs_resident(fd, 0, 1));
}

static void is_not_sure_where_the_kernel_cannot_say(void **state)
{
	(void)state;
	close(big_file());
	in_child(child_no_nowait, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fs_test(cleans_and_expands_paths),
		fs_test(a_path_may_be_as_long_as_the_kernel_takes),
		fs_test(names_the_variables_that_are_not_defined),
		fs_test(needs_a_workspace),
		fs_test(tells_what_a_name_is),
		fs_test(every_part_of_a_tag_counts),
		fs_test(a_tag_notices_content_that_is_dated_back),
		fs_test(knows_the_names_of_the_box),
		fs_test(changes_modes_of_whatever_there_is),
		fs_test(permissions_follow_links_that_stay_inside),
		fs_test(changes_owners_by_name_and_number),
		fs_test(changes_through_any_descriptor),
		fs_test(modes_change_on_old_kernels_and_without_proc),
		fs_test(changes_what_is_theirs_as_somebody_else),
		fs_test(enters_with_the_groups_of_the_user),
		fs_test(opens_files_and_nothing_else),
		fs_test(wakes_nobody_who_waits_at_a_fifo),
		fs_test(says_so_when_reading_is_not_allowed),
		fs_test(knows_what_is_in_the_page_cache),
		fs_test(is_not_sure_where_the_kernel_cannot_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
