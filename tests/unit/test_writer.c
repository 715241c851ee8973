/* writer: a file appears whole or not at all, and keeps what it was. */
#include "boxd/writer.h"

#include "fs_fixture.h"

#ifndef SYS_renameat2
#define SYS_renameat2 316
#endif

/* ---- helpers ---- */

static const struct writer_spec plain = {.perm.mode = -1, .new_mode = 0666};

static int write_spec(const char *path, const char *text, const struct writer_spec *like,
	struct fs_stat *st, bool *created, struct err *e)
{
	struct writer_spec spec = *like;
	struct writer *w;

	spec.path = at(path);
	w = writer_open(fx.fs, &spec, e);
	if (w == NULL)
		return -1;
	if (writer_put(w, text, strlen(text), e) < 0) {
		writer_abort(w);
		return -1;
	}
	return writer_commit(w, st, created, e);
}

static int write_text(const char *path, const char *text, struct err *e)
{
	return write_spec(path, text, &plain, NULL, NULL, e);
}

static struct cond if_match(const char *etag)
{
	return (struct cond){.if_match = str_of(etag)};
}

static void etag_of(const char *path, char out[static FS_ETAG_MAX])
{
	struct stat st = look(path);
	struct fs_stat fst;

	fs_stat_from(&st, &fst);
	fs_etag(&fst, out);
}

/* ---- new files, and old ones ---- */

static void writes_a_new_file_and_says_so(void **state)
{
	struct err e = {0};
	struct fs_stat st;
	bool created = false;

	(void)state;
	assert_ok(write_spec("ws/new", "hello", &plain, &st, &created, &e));
	assert_true(created);
	assert_string_equal(content("ws/new"), "hello");
	assert_int_equal(st.size, 5);
	assert_int_equal(st.type, FS_FILE);
	assert_int_equal(st.mode, 0644);
	assert_int_equal(st.ino, look("ws/new").st_ino);
	assert_int_equal(st.nlink, 1);
	assert_string_equal(names_in("ws"), "in new");
}

static void gives_new_files_their_mode_less_the_umask(void **state)
{
	static const struct row {
		mode_t umask, new_mode;
		int32_t asked;
		mode_t result;
	} rows[] = {
		{022, 0666, -1, 0644},
		{022, 0777, -1, 0755},
		{077, 0777, -1, 0700},
		{0, 0666, -1, 0666},
		{022, 0666, 0600, 0600},
		{022, 0666, 0666, 0666}, /* what is asked for is exact */
		{077, 0666, 0755, 0755},
		{022, 0666, 0, 0},
		{022, 0666, 04755, 04755},
		{022, 0666, 01777, 01777},
	};
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct writer_spec spec = {
			.perm.mode = rows[i].asked, .new_mode = rows[i].new_mode};

		umask(rows[i].umask);
		assert_ok(write_spec("ws/f", "x", &spec, NULL, NULL, &e));
		umask(022);
		if ((look("ws/f").st_mode & 07777) != rows[i].result)
			fail_msg("row %zu: %o", i, look("ws/f").st_mode & 07777);
		unlink(at("ws/f"));
	}
}

static void replaces_a_file_and_keeps_its_mode(void **state)
{
	static const mode_t modes[] = {0600, 0644, 0400, 0777, 04755, 02711, 06755, 01644, 0};
	struct err e = {0};

	(void)state;
	skip_unless(is_root(), "not root: unreadable files cannot be looked into");
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct stat old;
		bool created = true;

		put("ws/f", "old");
		assert_int_equal(chmod(at("ws/f"), modes[i]), 0);
		old = look("ws/f");
		assert_ok(write_spec("ws/f", "new", &plain, NULL, &created, &e));
		assert_false(created);
		assert_string_equal(content("ws/f"), "new");
		if ((look("ws/f").st_mode & 07777) != modes[i])
			fail_msg("%o became %o", modes[i], look("ws/f").st_mode & 07777);
		assert_int_not_equal(look("ws/f").st_ino, old.st_ino);
		unlink(at("ws/f"));
	}
	assert_string_equal(names_in("ws"), "in");
}

static void keeps_owner_and_special_bits_when_root_replaces(void **state)
{
	struct err e = {0};

	(void)state;
	skip_unless(is_root(), "not root: cannot give files away");
	put("ws/f", "old");
	assert_int_equal(chown(at("ws/f"), 4001, 4200), 0);
	assert_int_equal(chmod(at("ws/f"), 06750), 0);
	assert_ok(write_text("ws/f", "new", &e));
	assert_int_equal(look("ws/f").st_uid, 4001);
	assert_int_equal(look("ws/f").st_gid, 4200);
	assert_int_equal(look("ws/f").st_mode & 07777, 06750);
}

static void applies_what_is_asked_for_on_top(void **state)
{
	struct writer_spec spec = plain;
	struct err e = {0};

	(void)state;
	skip_unless(is_root(), "not root: cannot give files away");
	put("ws/f", "old");
	assert_int_equal(chown(at("ws/f"), 4001, 4200), 0);
	assert_int_equal(chmod(at("ws/f"), 04751), 0);
	/* another group alone: the owner stays, the special bits go as with chown(2) */
	spec.perm.group = "ann";
	assert_ok(write_spec("ws/f", "1", &spec, NULL, NULL, &e));
	assert_int_equal(look("ws/f").st_uid, 4001);
	assert_int_equal(look("ws/f").st_gid, 4101);
	assert_int_equal(look("ws/f").st_mode & 07777, 0751);
	/* owner and mode at once: the mode comes last */
	spec.perm.owner = "root";
	spec.perm.group = NULL;
	spec.perm.mode = 04711;
	assert_ok(write_spec("ws/f", "2", &spec, NULL, NULL, &e));
	assert_int_equal(look("ws/f").st_uid, 0);
	assert_int_equal(look("ws/f").st_gid, 4101);
	assert_int_equal(look("ws/f").st_mode & 07777, 04711);
	/* a new file for somebody */
	spec.perm.owner = "ann";
	spec.perm.group = "4200";
	assert_ok(write_spec("ws/g", "3", &spec, NULL, NULL, &e));
	assert_int_equal(look("ws/g").st_uid, 4001);
	assert_int_equal(look("ws/g").st_gid, 4200);
	assert_int_equal(look("ws/g").st_mode & 07777, 04711);
}

static void knows_unknown_owners_before_it_starts(void **state)
{
	struct writer_spec spec = plain;
	struct err e = {0};

	(void)state;
	spec.perm.owner = "nobody-here";
	assert_err(write_spec("ws/deep/er/f", "x", &spec, NULL, NULL, &e), &ERR_BAD_BODY);
	spec.perm.owner = NULL;
	spec.perm.group = "nobody-here";
	assert_err(write_spec("ws/deep/er/f", "x", &spec, NULL, NULL, &e), &ERR_BAD_BODY);
	assert_string_equal(names_in("ws"), "in");
}

static void makes_parents(void **state)
{
	struct err e = {0};

	(void)state;
	assert_ok(write_text("ws/a/b/c/f", "deep", &e));
	assert_string_equal(content("ws/a/b/c/f"), "deep");
	assert_int_equal(look("ws/a/b").st_mode & 07777, 0755);
}

static void writes_through_links_at_the_end(void **state)
{
	struct err e = {0};

	(void)state;
	put("ws/real", "old");
	assert_int_equal(symlink("real", at("ws/link")), 0);
	assert_int_equal(symlink("not-yet", at("ws/dangling")), 0);
	assert_int_equal(symlink("../outside/secret", at("ws/out")), 0);
	assert_ok(write_text("ws/link", "new", &e));
	assert_true(S_ISLNK(look("ws/link").st_mode));
	assert_string_equal(content("ws/real"), "new");
	assert_ok(write_text("ws/dangling", "made", &e));
	assert_string_equal(content("ws/not-yet"), "made");
	assert_err(write_text("ws/out", "stolen", &e), &ERR_PATH_FORBIDDEN);
	assert_string_equal(content("outside/secret"), "secret");
}

static void leaves_other_names_of_the_file_alone(void **state)
{
	struct err e = {0};

	(void)state;
	put("ws/f", "old");
	assert_int_equal(link(at("ws/f"), at("ws/second")), 0);
	assert_ok(write_text("ws/f", "new", &e));
	assert_string_equal(content("ws/f"), "new");
	assert_string_equal(content("ws/second"), "old");
}

static void refuses_what_is_no_file(void **state)
{
	static const struct row {
		const char *path;
		const struct err_kind *kind;
	} rows[] = {
		{"ws/in", &ERR_WRONG_TYPE},
		{"ws", &ERR_WRONG_TYPE},
		{"ws/fifo", &ERR_WRONG_TYPE},
		{"ws/to-dir", &ERR_WRONG_TYPE},
		{"ws/file/below", &ERR_NO_FILE},
		{"ro/new", &ERR_READ_ONLY},
		{"ro/kept", &ERR_READ_ONLY},
		{"outside/new", &ERR_PATH_FORBIDDEN},
		{"outside/secret", &ERR_PATH_FORBIDDEN},
		{"ws/loop", &ERR_BAD_PATH},
	};
	struct err e = {0};

	(void)state;
	put("ws/file", "x");
	assert_int_equal(mkfifo(at("ws/fifo"), 0666), 0);
	assert_int_equal(symlink("in", at("ws/to-dir")), 0);
	assert_int_equal(symlink("loop", at("ws/loop")), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("%s\n", rows[i].path);
		assert_err(write_text(rows[i].path, "x", &e), rows[i].kind);
	}
	assert_string_equal(names_in("ws"), "fifo file in loop to-dir");
	assert_string_equal(names_in("ws/in"), "nest");
	assert_string_equal(names_in("ro"), "kept");
}

static void nothing_is_seen_before_the_commit_nor_after_an_abort(void **state)
{
	struct writer_spec spec = plain;
	struct err e = {0};
	struct writer *w;

	(void)state;
	spec.path = at("ws/f");
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	assert_ok(writer_put(w, "half", 4, &e));
	assert_int_equal(write(writer_fd(w), "more", 4), 4);
	assert_string_equal(names_in("ws"), "in");
	writer_abort(w);
	writer_abort(NULL);
	assert_string_equal(names_in("ws"), "in");
	put("ws/f", "old");
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	assert_ok(writer_put(w, "half", 4, &e));
	assert_int_equal(write(writer_fd(w), "more", 4), 4);
	assert_string_equal(content("ws/f"), "old");
	assert_ok(writer_commit(w, NULL, NULL, &e));
	assert_string_equal(content("ws/f"), "halfmore");
	assert_string_equal(names_in("ws"), "f in");
}

static void takes_attributes_along(void **state)
{
	struct err e = {0};
	char value[2000], got[2000];
	char name[32];

	(void)state;
	memset(value, 'v', sizeof(value));
	put("ws/f", "old");
	skip_unless(
		setxattr(at("ws/f"), "user.small", "1", 1, 0) == 0, "no user.* attributes here");
	assert_int_equal(setxattr(at("ws/f"), "user.big", value, sizeof(value), 0), 0);
	for (int i = 0; i < 40; i++) { /* more names than the small list holds */
		snprintf(name, sizeof(name), "user.some-longer-name-%02d", i);
		assert_int_equal(setxattr(at("ws/f"), name, "", 0, 0), 0);
	}
	assert_ok(write_text("ws/f", "new", &e));
	assert_string_equal(content("ws/f"), "new");
	assert_int_equal(getxattr(at("ws/f"), "user.small", got, sizeof(got)), 1);
	assert_int_equal(getxattr(at("ws/f"), "user.big", got, sizeof(got)), sizeof(value));
	assert_memory_equal(got, value, sizeof(value));
	assert_int_equal(getxattr(at("ws/f"), "user.some-longer-name-39", got, sizeof(got)), 0);
}

/* A POSIX ACL as the kernel keeps it: owner rw, user 4001 rw, group none, mask rw, others none. */
static const unsigned char acl_access[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0,
	0xa1, 0x0f, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255, 16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 0,
	0, 255, 255, 255, 255};

static bool has_acl(const char *path)
{
	return getxattr(at(path), "system.posix_acl_access", NULL, 0) > 0;
}

static void takes_access_lists_along_and_leaves_inherited_ones(void **state)
{
	struct writer_spec spec = plain;
	struct err e = {0};

	(void)state;
	put("ws/f", "old");
	skip_unless(setxattr(at("ws/f"), "system.posix_acl_access", acl_access, sizeof(acl_access),
			    0) == 0,
		"no POSIX ACLs here");
	assert_int_equal(look("ws/f").st_mode & 0777, 0660);
	assert_ok(write_text("ws/f", "new", &e));
	assert_true(has_acl("ws/f"));
	assert_int_equal(look("ws/f").st_mode & 0777, 0660);
	/* a mode that is asked for is the mask of the list */
	spec.perm.mode = 0640;
	assert_ok(write_spec("ws/f", "new", &spec, NULL, NULL, &e));
	assert_true(has_acl("ws/f"));
	assert_int_equal(look("ws/f").st_mode & 0777, 0640);
	/* the directory would give its own to what is made in it, but the old file had none */
	put("ws/in/g", "old");
	assert_int_equal(chmod(at("ws/in/g"), 0640), 0);
	assert_int_equal(setxattr(at("ws/in"), "system.posix_acl_default", acl_access,
				 sizeof(acl_access), 0),
		0);
	assert_ok(write_text("ws/in/g", "new", &e));
	assert_false(has_acl("ws/in/g"));
	assert_int_equal(look("ws/in/g").st_mode & 0777, 0640);
	assert_ok(write_text("ws/in/h", "new", &e));
	assert_true(has_acl("ws/in/h"));
}

static void capabilities_of_the_old_content_are_gone(void **state)
{
	/* struct vfs_cap_data, version 2: CAP_NET_RAW, permitted */
	static const unsigned char caps[20] = {0, 0, 0, 2, 0, 0x20, 0, 0};
	struct err e = {0};

	(void)state;
	put("ws/f", "old");
	skip_unless(setxattr(at("ws/f"), "security.capability", caps, sizeof(caps), 0) == 0,
		"cannot set file capabilities");
	assert_ok(write_text("ws/f", "new", &e));
	assert_true(getxattr(at("ws/f"), "security.capability", NULL, 0) < 0);
}

static void syncs_when_asked(void **state)
{
	struct writer_spec spec = plain;
	struct err e = {0};

	(void)state;
	spec.sync = true;
	assert_ok(write_spec("ws/f", "1", &spec, NULL, NULL, &e));
	assert_ok(write_spec("ws/f", "2", &spec, NULL, NULL, &e));
	assert_string_equal(content("ws/f"), "2");
}

/* ---- conditions ---- */

static void checks_conditions_when_it_opens(void **state)
{
	struct writer_spec spec = plain;
	struct cond c;
	char etag[FS_ETAG_MAX];
	struct err e = {0};

	(void)state;
	put("ws/f", "old");
	etag_of("ws/f", etag);
	spec.cond = &c;
	c = if_match("\"other\"");
	assert_err(write_spec("ws/f", "x", &spec, NULL, NULL, &e), &ERR_PRECONDITION);
	c = if_match("*");
	assert_err(write_spec("ws/none", "x", &spec, NULL, NULL, &e), &ERR_PRECONDITION);
	/* and leaves no directories behind */
	assert_err(write_spec("ws/a/b/none", "x", &spec, NULL, NULL, &e), &ERR_PRECONDITION);
	assert_string_equal(names_in("ws"), "f in");
	c = (struct cond){.if_none_match = STR("*")};
	assert_err(write_spec("ws/f", "x", &spec, NULL, NULL, &e), &ERR_PRECONDITION);
	assert_string_equal(content("ws/f"), "old");
	assert_ok(write_spec("ws/a/b/new", "x", &spec, NULL, NULL, &e));
	c = if_match(etag);
	assert_ok(write_spec("ws/f", "new", &spec, NULL, NULL, &e));
	assert_string_equal(content("ws/f"), "new");
	assert_err(write_spec("ws/f", "again", &spec, NULL, NULL, &e), &ERR_PRECONDITION);
}

static void asks_for_no_content_when_the_condition_fails(void **state)
{
	struct cond c = {.if_none_match = STR("*")};
	struct writer_spec spec = plain;
	struct err e = {0};

	(void)state;
	put("ws/f", "old");
	spec.path = at("ws/f");
	spec.cond = &c;
	assert_null(writer_open(fx.fs, &spec, &e));
	assert_ptr_equal(e.kind, &ERR_PRECONDITION);
}

static void checks_conditions_again_at_the_end(void **state)
{
	struct writer_spec spec = plain;
	struct cond c = {.if_none_match = STR("*")};
	struct err e = {0};
	struct writer *w;

	(void)state;
	spec.path = at("ws/f");
	spec.cond = &c;
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	put("ws/f", "faster");
	assert_err(writer_commit(w, NULL, NULL, &e), &ERR_PRECONDITION);
	assert_string_equal(content("ws/f"), "faster");
	c = if_match("*");
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	unlink(at("ws/f"));
	assert_err(writer_commit(w, NULL, NULL, &e), &ERR_PRECONDITION);
	assert_string_equal(names_in("ws"), "in");
}

static void takes_the_name_as_it_is_in_the_end(void **state)
{
	struct writer_spec spec = plain;
	struct err e = {0};
	struct writer *w;
	bool created = true;

	(void)state;
	spec.path = at("ws/f");
	/* made while the content arrived: replaced, and its mode kept */
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	put("ws/f", "faster");
	assert_int_equal(chmod(at("ws/f"), 0601), 0);
	assert_ok(writer_commit(w, NULL, &created, &e));
	assert_false(created);
	assert_string_equal(content("ws/f"), "");
	assert_int_equal(look("ws/f").st_mode & 07777, 0601);
	/* changed meanwhile: the later mode counts */
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	assert_int_equal(chmod(at("ws/f"), 0640), 0);
	assert_ok(writer_commit(w, NULL, &created, &e));
	assert_int_equal(look("ws/f").st_mode & 07777, 0640);
	/* removed meanwhile: it is new */
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	unlink(at("ws/f"));
	assert_ok(writer_commit(w, NULL, &created, &e));
	assert_true(created);
	/* a directory now */
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	unlink(at("ws/f"));
	make_dir("ws/f");
	assert_err(writer_commit(w, NULL, NULL, &e), &ERR_WRONG_TYPE);
	rmdir(at("ws/f"));
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	make_dir("ws/f");
	assert_err(writer_commit(w, NULL, NULL, &e), &ERR_WRONG_TYPE);
	assert_string_equal(names_in("ws"), "f in");
	assert_string_equal(names_in("ws/f"), "");
}

struct racer {
	pthread_barrier_t *barrier;
	const char *path;
	struct cond cond;
	int won;
	int other_errors;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	struct writer_spec spec = {.path = r->path, .perm.mode = -1, .new_mode = 0666};
	struct err e = {0};
	struct writer *w;

	spec.cond = &r->cond;
	w = writer_open(fx.fs, &spec, &e);
	/* Both have looked, and both were told to go on. */
	pthread_barrier_wait(r->barrier);
	if (w != NULL && writer_put(w, "x", 1, &e) == 0 && writer_commit(w, NULL, NULL, &e) == 0)
		r->won++;
	else if (e.kind != &ERR_PRECONDITION)
		r->other_errors++;
	return NULL;
}

/* Two threads, one condition; `etag` NULL: only to create. */
static void race_once(const char *etag, int *won, int *other_errors)
{
	struct racer r[2] = {{0}};
	pthread_barrier_t barrier;
	pthread_t thread[2];

	const char *path = at("ws/f");

	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 2; i++) {
		r[i].barrier = &barrier;
		r[i].path = path;
		if (etag == NULL)
			r[i].cond.if_none_match = STR("*");
		else
			r[i].cond = if_match(etag);
		assert_int_equal(pthread_create(&thread[i], NULL, race, &r[i]), 0);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		*won += r[i].won;
		*other_errors += r[i].other_errors;
	}
	pthread_barrier_destroy(&barrier);
}

static void of_two_conditional_writers_exactly_one_wins(void **state)
{
	char etag[FS_ETAG_MAX];

	(void)state;
	for (int i = 0; i < 500; i++) {
		int won = 0, other = 0;

		unlink(at("ws/f"));
		race_once(NULL, &won, &other);
		if (won != 1 || other != 0)
			fail_msg("create, round %d: %d won, %d other errors", i, won, other);
		won = 0;
		etag_of("ws/f", etag);
		race_once(etag, &won, &other);
		if (won != 1 || other != 0)
			fail_msg("replace, round %d: %d won, %d other errors", i, won, other);
	}
	assert_string_equal(names_in("ws"), "f in");
}

/* ---- failures ---- */

static void a_full_disk_leaves_the_old_file(void **state)
{
	struct rlimit old, small = {4096, 4096};
	struct writer_spec spec = plain;
	char block[3000] = {0};
	struct err e = {0};
	struct writer *w;

	(void)state;
	put("ws/f", "old");
	spec.path = at("ws/f");
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int first = writer_put(w, block, sizeof(block), &e);
	int second = writer_put(w, block, sizeof(block), &e);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(first, 0);
	assert_err(second, &ERR_NO_SPACE);
	writer_abort(w);
	assert_string_equal(content("ws/f"), "old");
	assert_string_equal(names_in("ws"), "f in");
}

static void no_directory_to_write_into(void **state)
{
	struct writer_spec spec = plain;
	struct err e = {0};
	struct writer *w;

	(void)state;
	make_dir("ws/gone");
	spec.path = at("ws/gone/f");
	w = writer_open(fx.fs, &spec, &e);
	assert_non_null(w);
	rmdir(at("ws/gone"));
	assert_err(writer_commit(w, NULL, NULL, &e), &ERR_NO_FILE);
}

/* ---- with less of a system ---- */

static void child_write_both(const char *hidden)
{
	struct writer_spec spec = plain;
	struct err e = {0};
	struct fs_stat st;
	struct writer *w;
	bool created = false;

	spec.path = at("ws/new");
	w = writer_open(fx.fs, &spec, &e);
	child_check(w != NULL);
	child_check(writer_put(w, "new", 3, &e) == 0);
	/* Is it seen under its hidden name already? */
	child_check(strncmp(names_in("ws"), hidden, strlen(hidden)) == 0);
	child_check(writer_commit(w, &st, &created, &e) == 0);
	child_check(created && st.size == 3 && st.mode == 0644);
	child_check(strcmp(content("ws/new"), "new") == 0);
	child_check(write_spec("ws/old", "replaced", &plain, &st, &created, &e) == 0);
	child_check(!created && st.mode == 0601);
	child_check(strcmp(content("ws/old"), "replaced") == 0);
	spec.path = at("ws/aborted");
	w = writer_open(fx.fs, &spec, &e);
	child_check(w != NULL);
	writer_abort(w);
	child_check(strcmp(names_in("ws"), "in new old") == 0);
}

static void child_without_tmpfile(void)
{
	deny_if(SYS_openat, 2, TMPFILE_BIT, TMPFILE_BIT, EOPNOTSUPP);
	child_write_both(".boxd-");
}

static void child_without_tmpfile_and_renameat2(void)
{
	deny_if(SYS_openat, 2, TMPFILE_BIT, TMPFILE_BIT, EISDIR);
	deny(SYS_renameat2, ENOSYS);
	child_write_both(".boxd-");
	/* A name that is taken meanwhile is not lost sight of. */
	struct writer_spec spec = plain;
	struct cond c = {.if_none_match = STR("*")};
	struct err e = {0};
	struct writer *w;

	spec.path = at("ws/raced");
	spec.cond = &c;
	w = writer_open(fx.fs, &spec, &e);
	child_check(w != NULL);
	put("ws/raced", "faster");
	child_check(writer_commit(w, NULL, NULL, &e) < 0 && e.kind == &ERR_PRECONDITION);
	child_check(strcmp(names_in("ws"), "in new old raced") == 0);
}

static void child_without_empty_path(void)
{
	deny_if(SYS_linkat, 4, AT_EMPTY_PATH, AT_EMPTY_PATH, ENOENT);
	child_write_both("in");
}

/* chroot(2) takes /proc away for those who look for it by name. */
static void child_without_proc(void)
{
	struct fs *fs;

	if (chroot(fx.base) < 0)
		_exit(CHILD_SKIPPED);
	strcpy(fx.base, "");
	fx.shm[0] = '\0';
	fs = fx.fs = fixture_fs();
	child_write_both(".boxd-");
	fs_free(fs);
}

static void works_without_what_the_system_may_lack(void **state)
{
	static const struct row {
		const char *what;
		void (*child)(void);
	} rows[] = {
		{"O_TMPFILE", child_without_tmpfile},
		{"O_TMPFILE and renameat2", child_without_tmpfile_and_renameat2},
		{"AT_EMPTY_PATH", child_without_empty_path},
		{"/proc", child_without_proc},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("without %s\n", rows[i].what);
		unlink(at("ws/new"));
		unlink(at("ws/raced"));
		put("ws/old", "old");
		assert_int_equal(chmod(at("ws/old"), 0601), 0);
		in_child(rows[i].child, "cannot take it away");
	}
}

static void child_no_rename(void)
{
	struct err e = {0};

	/* What a failing disk says when it is too late for everything else. */
	deny(SYS_renameat, EIO);
	child_check(write_text("ws/f", "new", &e) < 0 && e.kind == &ERR_RUNTIME);
	child_check(strcmp(content("ws/f"), "old") == 0);
	child_check(strcmp(names_in("ws"), "f in") == 0);
}

static void child_no_chmod(void)
{
	struct writer_spec spec = plain;
	struct err e = {0};

	deny(SYS_fchmod, EIO);
	spec.perm.mode = 04600; /* more than a file is made with */
	child_check(write_spec("ws/f", "new", &spec, NULL, NULL, &e) < 0);
	child_check(strcmp(content("ws/f"), "old") == 0);
	child_check(strcmp(names_in("ws"), "f in") == 0);
}

static void child_no_fsync(void)
{
	struct writer_spec spec = plain;
	struct err e = {0};

	deny(SYS_fsync, EIO);
	spec.sync = true;
	child_check(write_spec("ws/f", "new", &spec, NULL, NULL, &e) < 0);
	child_check(strcmp(content("ws/f"), "old") == 0);
	child_check(strcmp(names_in("ws"), "f in") == 0);
}

static void a_failure_at_any_step_leaves_the_old_file_and_no_litter(void **state)
{
	static void (*const children[])(void) = {child_no_rename, child_no_chmod, child_no_fsync};

	(void)state;
	put("ws/f", "old");
	for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++) {
		print_message("step %zu\n", i);
		in_child(children[i], "");
	}
}

static void child_mount_point(void)
{
	struct writer_spec spec = plain;
	struct err e = {0};
	struct fs_stat st;
	bool created = true;
	ino_t ino;

	own_mounts();
	if (mount(at("ws/source"), at("ws/f"), NULL, MS_BIND, NULL) < 0)
		_exit(CHILD_SKIPPED);
	ino = look("ws/f").st_ino;
	child_check(write_spec("ws/f", "short", &spec, &st, &created, &e) == 0);
	child_check(!created && st.size == 5 && st.ino == ino);
	child_check(strcmp(content("ws/f"), "short") == 0);
	child_check(look("ws/f").st_ino == ino);
	child_check((look("ws/f").st_mode & 07777) == 0604);
	child_check(strcmp(names_in("ws"), "f in source") == 0);
	spec.perm.mode = 0600;
	spec.sync = true;
	child_check(write_spec("ws/f", "a longer text than before", &spec, &st, NULL, &e) == 0);
	child_check(strcmp(content("ws/source"), "a longer text than before") == 0);
	child_check((look("ws/f").st_mode & 07777) == 0600);
	child_check(strcmp(names_in("ws"), "f in source") == 0);
}

static void writes_a_mount_point_in_place(void **state)
{
	(void)state;
	put("ws/f", "under");
	put("ws/source", "what was there before");
	assert_int_equal(chmod(at("ws/source"), 0604), 0);
	in_child(child_mount_point, "may not mount");
	assert_string_equal(content("ws/f"), "under");
}

static void child_small_disk(void)
{
	struct writer_spec spec = plain;
	static char block[8192];
	struct err e = {0};
	struct writer *w;
	int r = 0;

	own_mounts();
	if (mount("tmpfs", at("ws/in"), "tmpfs", 0, "size=64k") < 0)
		_exit(CHILD_SKIPPED);
	put("ws/in/f", "old");
	spec.path = at("ws/in/f");
	w = writer_open(fx.fs, &spec, &e);
	child_check(w != NULL);
	for (int i = 0; i < 20 && r == 0; i++)
		r = writer_put(w, block, sizeof(block), &e);
	child_check(r < 0 && e.kind == &ERR_NO_SPACE);
	writer_abort(w);
	child_check(strcmp(content("ws/in/f"), "old") == 0);
	child_check(strcmp(names_in("ws/in"), "f") == 0);
	/* In place, too: the file that is mounted over stays what it was. */
	put("ws/in/source", "mounted");
	child_check(mount(at("ws/in/source"), at("ws/f"), NULL, MS_BIND, NULL) == 0);
	w = (spec.path = at("ws/f"), e = (struct err){0}, writer_open(fx.fs, &spec, &e));
	child_check(w != NULL);
	for (int i = 0; i < 20; i++)
		child_check(writer_put(w, block, sizeof(block), &e) == 0);
	child_check(writer_commit(w, NULL, NULL, &e) < 0 && e.kind == &ERR_NO_SPACE);
	child_check(strcmp(content("ws/f"), "mounted") == 0);
	child_check(strcmp(names_in("ws"), "f in") == 0);
}

static void a_disk_that_is_really_full_leaves_the_old_file(void **state)
{
	(void)state;
	put("ws/f", "under");
	in_child(child_small_disk, "may not mount");
}

/* ---- as somebody else ---- */

static void child_as_user(void)
{
	struct writer_spec spec = plain;
	struct fs_stat st;
	struct err e = {0};

	child_check(fs_enter(fx.fs, 4001, (gid_t)-1, &e) == 0);
	/* a new file is theirs */
	child_check(write_spec("ws/theirs/new", "x", &spec, &st, NULL, &e) == 0);
	child_check(st.uid == 4001 && st.gid == 4101);
	/* one of theirs keeps its group, which they belong to, and its special bits */
	child_check(write_spec("ws/theirs/own", "x", &spec, &st, NULL, &e) == 0);
	child_check(st.uid == 4001 && st.gid == 4200 && st.mode == 04755);
	/* root's file becomes theirs, without its special bits */
	child_check(write_spec("ws/theirs/roots", "x", &spec, &st, NULL, &e) == 0);
	child_check(st.uid == 4001 && st.gid == 4101 && st.mode == 0755);
	/* but its group, where they belong to it */
	child_check(write_spec("ws/theirs/team", "x", &spec, &st, NULL, &e) == 0);
	child_check(st.uid == 4001 && st.gid == 4200 && st.mode == 0664);
	/* what is asked for must work */
	spec.perm.owner = "root";
	child_check(write_spec("ws/theirs/own", "y", &spec, NULL, NULL, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	e = (struct err){0};
	spec.perm.owner = NULL;
	child_check(write_spec("ws/new", "x", &spec, NULL, NULL, &e) < 0);
	child_check(e.kind == &ERR_PERMISSION);
	fs_leave();
	child_check(strcmp(content("ws/theirs/own"), "x") == 0);
	child_check(strcmp(names_in("ws/theirs"), "new own roots team") == 0);
	child_check(strcmp(names_in("ws"), "in theirs") == 0);
}

static void writes_as_somebody_else(void **state)
{
	(void)state;
	skip_unless(is_root(), "not root: cannot be somebody else");
	make_dir("ws/theirs");
	assert_int_equal(chown(at("ws/theirs"), 4001, 4101), 0);
	put("ws/theirs/own", "old");
	assert_int_equal(chown(at("ws/theirs/own"), 4001, 4200), 0);
	assert_int_equal(chmod(at("ws/theirs/own"), 04755), 0);
	put("ws/theirs/roots", "old");
	assert_int_equal(chmod(at("ws/theirs/roots"), 06755), 0);
	put("ws/theirs/team", "old");
	assert_int_equal(chown(at("ws/theirs/team"), 0, 4200), 0);
	assert_int_equal(chmod(at("ws/theirs/team"), 0664), 0);
	in_child(child_as_user, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fs_test(writes_a_new_file_and_says_so),
		fs_test(gives_new_files_their_mode_less_the_umask),
		fs_test(replaces_a_file_and_keeps_its_mode),
		fs_test(keeps_owner_and_special_bits_when_root_replaces),
		fs_test(applies_what_is_asked_for_on_top),
		fs_test(knows_unknown_owners_before_it_starts),
		fs_test(makes_parents),
		fs_test(writes_through_links_at_the_end),
		fs_test(leaves_other_names_of_the_file_alone),
		fs_test(refuses_what_is_no_file),
		fs_test(nothing_is_seen_before_the_commit_nor_after_an_abort),
		fs_test(takes_attributes_along),
		fs_test(takes_access_lists_along_and_leaves_inherited_ones),
		fs_test(capabilities_of_the_old_content_are_gone),
		fs_test(syncs_when_asked),
		fs_test(checks_conditions_when_it_opens),
		fs_test(asks_for_no_content_when_the_condition_fails),
		fs_test(checks_conditions_again_at_the_end),
		fs_test(takes_the_name_as_it_is_in_the_end),
		fs_test(of_two_conditional_writers_exactly_one_wins),
		fs_test(a_full_disk_leaves_the_old_file),
		fs_test(no_directory_to_write_into),
		fs_test(works_without_what_the_system_may_lack),
		fs_test(a_failure_at_any_step_leaves_the_old_file_and_no_litter),
		fs_test(writes_a_mount_point_in_place),
		fs_test(a_disk_that_is_really_full_leaves_the_old_file),
		fs_test(writes_as_somebody_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
