/*
 * replace: what becomes of a file, in windows of every size, against a replacement that has all of
 * the text in memory; and what is left of it when something goes wrong.
 */
#include "replace_fixture.h"
#include "seed.h"

/* ---- a text ---- */

static const struct text_row text_rows[] = {
	{"one two one", "one", "1", "1 two 1", 2},
	{"one", "one", "", "", 1},
	{"one", "one", "another", "another", 1},
	{"one", "ones", "x", "one", 0},
	{"", "x", "y", "", 0},
	{"a", "a", "bb", "bb", 1},
	{"aaa", "aa", "b", "ba", 1},
	{"aaaa", "aa", "b", "bb", 2},
	{"aaaaa", "aa", "", "a", 2},
	{"abab", "abab", "ab", "ab", 1},
	{"ababab", "abab", "x", "xab", 1},
	{"aab", "ab", "x", "ax", 1},
	{"aaab", "aab", "x", "ax", 1},
	{"xxab", "ab", "-", "xx-", 1},
	{"abxx", "ab", "-", "-xx", 1},
	{"a\nb\na\nb", "a\nb", "c", "c\nc", 2},
	{"a\r\nb\r\n", "\r\n", "\n", "a\nb\n", 2},
	{"a.b", ".", "$1", "a$1b", 1},
	{"a", "a", "a", "a", 1},
	{"a", "a", "aaa", "aaa", 1},
	{"aXbXcXdXeXfXgXh", "X", "", "abcdefgh", 7},
	{"\xc3\xa9\xc3\xa8", "\xc3", "?", "?\xa9?\xa8", 2},
	{"nothing to find here", "there", "x", "nothing to find here", 0},
};

static void replaces_a_text_in_windows_of_any_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(text_rows); i++) {
		const struct text_row *r = &text_rows[i];

		for (size_t window = 1; window < 12; window++) {
			struct replace_sizes sizes = {window, window, 1 + window % 5};
			struct replace_spec spec = text_spec(r->old, r->new_text);

			store(path, r->before, strlen(r->before));
			uint64_t count = must_work(&spec, &sizes);
			if (count != r->count || !holds(path, r->after, strlen(r->after)))
				fail_msg("row %zu, window %zu: %d", i, window, (int)count);
			assert_int_equal(names_beside(path), 1);
		}
	}
}

static void any_byte_is_a_byte(void **state)
{
	static const char before[] = "a\0b\0\0c", after[] = "a\xff\xff"
							    "b\xff\xff\xff\xff"
							    "c";
	struct replace_spec spec = {.path = path, .old = {"\0", 1}, .new_text = {"\xff\xff", 2}};

	(void)state;
	store(path, before, sizeof(before) - 1);
	assert_int_equal(must_work(&spec, &plain_sizes), 3);
	assert_true(holds(path, after, sizeof(after) - 1));
}

static uint64_t naive(
	const char *text, size_t n, struct str old, struct str new_text, struct buf *out)
{
	uint64_t count = 0;

	for (size_t at = 0; at < n;) {
		if (n - at >= old.n && memcmp(text + at, old.p, old.n) == 0) {
			assert_int_equal(buf_add(out, new_text.p, new_text.n), 0);
			at += old.n;
			count++;
		} else {
			assert_int_equal(buf_add(out, text + at++, 1), 0);
		}
	}
	return count;
}

static void agrees_with_a_replacement_in_memory(void **state)
{
	char text[600], old[8], new_text[8];

	(void)state;
	seed = test_seed();
	print_message("seed %u\n", seed);
	for (int round = 0; round < 1200; round++) {
		uint32_t letters = 1 + random_below(3), first = seed;
		size_t n = random_text(text, random_below(8) > 0 ? 40 : 600, letters, "abc");
		size_t old_n = random_text(old, sizeof(old) - 1, letters, "abc");
		size_t new_n = random_text(new_text, sizeof(new_text), 3, "abc");
		struct replace_sizes sizes = {1 + random_below(30), 64, 1 + random_below(50)};
		struct replace_spec spec = {.path = path, .new_text = {new_text, new_n}};
		struct buf expected = {0};

		if (old_n == 0)
			old[old_n++] = 'a';
		spec.old = (struct str){old, old_n};
		reading.longest = random_below(3) * random_below(9);
		store(path, text, n);
		uint64_t count = naive(text, n, spec.old, spec.new_text, &expected);
		if (must_work(&spec, &sizes) != count ||
			!holds(path, buf_data(&expected), buf_len(&expected)))
			fail_msg("seed %u: %.*s for %.*s in %.*s", first, (int)new_n, new_text,
				(int)old_n, old, (int)n, text);
		buf_fini(&expected);
	}
}

/* Windows and output of their real sizes, and runs that are written from the window. */
static void replaces_in_a_large_file(void **state)
{
	enum { SIZE = 3 << 20 };
	char *text = malloc(SIZE);
	struct replace_spec spec = text_spec("needle", "pin");
	struct buf expected = {0};
	struct err e = {0};
	uint64_t count;

	(void)state;
	assert_non_null(text);
	for (int round = 0; round < 3; round++) {
		static const uint32_t gaps[] = {400, 60000, 1500000};
		size_t at = round == 2 ? 1700000 : 5;

		for (size_t i = 0; i < SIZE; i++)
			text[i] = (char)(i * 31 % 251);
		for (; at < SIZE - 6; at += 6 + random_below(gaps[round]))
			memcpy(text + at, "needle", 6);
		store(path, text, SIZE);
		uint64_t n = naive(text, SIZE, spec.old, spec.new_text, &expected);
		assert_true(n > 0);
		assert_int_equal(replace_in_file(fs, &spec, &count, &e), 0);
		assert_int_equal(count, n);
		assert_true(holds(path, buf_data(&expected), buf_len(&expected)));
		buf_clear(&expected);
	}
	buf_fini(&expected);
	free(text);
}

/* A hole before the first match, up to the window that the match is in. */
static void a_hole_is_no_text_and_stays_a_hole(void **state)
{
	enum { HOLE = 8 << 20 };
	struct replace_spec spec = text_spec("end", "END");
	uint8_t *expected = calloc(1, HOLE + 3);
	struct stat before, after;
	int fd;

	(void)state;
	assert_non_null(expected);
	memcpy(expected + HOLE, "END", 3);
	store(path, "", 0);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "end", 3, HOLE), 3);
	close(fd);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(must_work(&spec, &plain_sizes), 1);
	assert_true(holds(path, expected, HOLE + 3));
	assert_int_equal(stat(path, &after), 0);
	assert_true(before.st_blocks > HOLE / 1024 || after.st_blocks < HOLE / 1024);
	free(expected);
}

static void without_a_match_nothing_is_touched(void **state)
{
	static const char text[] = "some text\nand more\n";
	struct replace_spec spec = text_spec("absent", "x"), pattern = regex_spec("absen.", "x");
	struct timespec old_times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000, .tv_nsec = 77}};
	struct stat before, after;

	(void)state;
	store(path, text, sizeof(text) - 1);
	assert_int_equal(utimensat(AT_FDCWD, path, old_times, 0), 0);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(must_work(&spec, &plain_sizes), 0);
	assert_int_equal(must_work(&pattern, &plain_sizes), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
	assert_memory_equal(&before.st_ctim, &after.st_ctim, sizeof(before.st_ctim));
	assert_true(holds(path, text, sizeof(text) - 1));
}

static void keeps_the_mode_and_follows_links(void **state)
{
	char link[PATH_MAX];
	struct replace_spec spec = text_spec("a", "b");
	struct stat st;

	(void)state;
	store(path, "a", 1);
	assert_int_equal(chmod(path, 0751), 0);
	assert_int_equal(symlink("f", in_dir(link, "box/link")), 0);
	spec.path = link;
	assert_int_equal(must_work(&spec, &plain_sizes), 1);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0751);
	assert_true(holds(path, "b", 1));
	assert_int_equal(unlink(link), 0);
}

/* ---- what goes wrong ---- */

static void names_what_cannot_be_replaced_in(void **state)
{
	char name[PATH_MAX];
	struct replace_spec spec = text_spec("a", "b"), empty = text_spec("", "b");

	(void)state;
	must_fail(&spec, &ERR_NO_FILE);
	must_fail(&empty, &ERR_NO_FILE);
	store(path, "a", 1);
	must_fail(&empty, &ERR_BAD_BODY);
	empty.regex = true;
	must_fail(&empty, &ERR_BAD_BODY);
	spec.path = in_dir(name, "box");
	must_fail(&spec, &ERR_WRONG_TYPE);
	spec.path = in_dir(name, "box/fifo");
	assert_int_equal(mkfifo(name, 0600), 0);
	must_fail(&spec, &ERR_WRONG_TYPE);
	assert_int_equal(unlink(name), 0);
	spec.path = in_dir(name, "elsewhere");
	must_fail(&spec, &ERR_PATH_FORBIDDEN);
	spec.path = in_dir(name, "ro/f");
	store(name, "a", 1);
	must_fail(&spec, &ERR_READ_ONLY);
	spec.old = STR("not in it");
	must_fail(&spec, &ERR_READ_ONLY);
	assert_true(holds(name, "a", 1));
	assert_int_equal(unlink(name), 0);
}

static void no_room_leaves_the_file_as_it_was(void **state)
{
	enum { SIZE = 300000 };
	char *text = malloc(SIZE);
	/* The first: in the copy of what is before it. The others: in one write or the other. */
	static const struct {
		size_t match;
		rlim_t room;
	} rows[] = {{250000, 100000}, {250000, 249000}, {100, 100000}, {100, 0}, {290000, 299990}};
	struct replace_spec spec = text_spec("needle", "more than a needle");
	struct rlimit old, small;

	(void)state;
	assert_non_null(text);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; i < COUNT(rows); i++) {
		memset(text, 'x', SIZE);
		memcpy(text + rows[i].match, "needle", 6);
		store(path, text, SIZE);
		small = (struct rlimit){rows[i].room, old.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		must_fail(&spec, &ERR_NO_SPACE);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
		assert_true(holds(path, text, SIZE));
		assert_int_equal(names_beside(path), 1);
	}
	signal(SIGXFSZ, SIG_DFL);
	free(text);
}

static void a_read_error_is_told(void **state)
{
	char text[] = "aaaaaaaaaaaaaaaa";
	struct replace_spec spec = text_spec("a", "b");
	const struct replace_sizes sizes = {4, 4, 4};
	struct err e = {0};
	uint64_t count;

	(void)state;
	store(path, text, 16);
	reading.at = 2;
	reading.error = EIO;
	assert_int_equal(replace_with_sizes(fs, &spec, &sizes, &count, &e), -1);
	assert_ptr_equal(e.kind, &ERR_RUNTIME);
	assert_int_equal(e.sys, EIO);
	assert_true(holds(path, text, 16));
	assert_int_equal(names_beside(path), 1);
	reading.reads = 0;
	reading.error = EINTR;
	assert_int_equal(must_work(&spec, &sizes), 16);
}

static atomic_bool cancelled;

static void cancel(void)
{
	atomic_store(&cancelled, true);
}

static void ends_early_when_cancelled(void **state)
{
	struct replace_spec specs[] = {text_spec("a", "b"), regex_spec("a", "b")};
	const struct replace_sizes sizes = {4, 4, 4};

	(void)state;
	for (size_t i = 0; i < COUNT(specs); i++) {
		struct err e = {0};
		uint64_t count;

		specs[i].cancelled = &cancelled;
		store(path, "a\na\na\na\na\na\n", 12);
		atomic_store(&cancelled, false);
		reading.at = 1;
		reading.reads = 0;
		reading.before = cancel;
		assert_int_equal(replace_with_sizes(fs, &specs[i], &sizes, &count, &e), -1);
		assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
		assert_true(reading.reads < 4);
		assert_true(holds(path, "a\na\na\na\na\na\n", 12));
		assert_int_equal(names_beside(path), 1);
		reading.at = -1;
		must_fail(&specs[i], &ERR_UNAVAILABLE);
		atomic_store(&cancelled, false);
		assert_int_equal(must_work(&specs[i], &sizes), 6);
	}
}

/* ---- conditions, and files that change ---- */

static void tag_of(const char *name, char etag[static FS_ETAG_MAX])
{
	struct fs_stat found;
	struct stat st;

	assert_int_equal(stat(name, &st), 0);
	fs_stat_from(&st, &found);
	fs_etag(&found, etag);
}

static void a_condition_has_to_hold(void **state)
{
	char etag[FS_ETAG_MAX];
	struct replace_spec spec = text_spec("a", "b");
	struct cond cond = {0};

	(void)state;
	store(path, "a", 1);
	tag_of(path, etag);
	spec.cond = &cond;
	cond.if_match = STR("\"other\"");
	must_fail(&spec, &ERR_PRECONDITION);
	spec.old = STR("absent");
	must_fail(&spec, &ERR_PRECONDITION);
	spec.old = STR("a");
	cond = (struct cond){.if_none_match = STR("*")};
	must_fail(&spec, &ERR_PRECONDITION);
	cond = (struct cond){.if_unmodified_since = STR("Sun, 06 Nov 1994 08:49:37 GMT")};
	must_fail(&spec, &ERR_PRECONDITION);
	assert_true(holds(path, "a", 1));
	cond = (struct cond){.if_match = str_of(etag)};
	assert_int_equal(must_work(&spec, &plain_sizes), 1);
	assert_true(holds(path, "b", 1));
	spec.old = STR("b");
	must_fail(&spec, &ERR_PRECONDITION);
	cond.if_match = STR("*");
	assert_int_equal(must_work(&spec, &plain_sizes), 1);
}

/* Somebody else's replacement of the file. */
static void put_another(void)
{
	char other[PATH_MAX];

	store(in_dir(other, "box/other"), "a and another a", 15);
	assert_int_equal(rename(other, path), 0);
}

/* With every read once more, and each time with another size. */
static void change_again(void)
{
	char other[PATH_MAX], text[64];

	reading.at = reading.reads;
	snprintf(text, sizeof(text), "a%*d", reading.reads, 0);
	store(in_dir(other, "box/other"), text, strlen(text));
	assert_int_equal(rename(other, path), 0);
}

static void make_shorter(void)
{
	assert_int_equal(truncate(path, 3), 0);
}

static void a_change_by_others_is_not_lost(void **state)
{
	char etag[FS_ETAG_MAX];
	struct replace_spec spec = text_spec("a", "b");
	struct cond cond = {0};

	(void)state;
	store(path, "a", 1);
	reading.before = put_another;
	reading.at = 1;
	assert_int_equal(must_work(&spec, &plain_sizes), 4);
	assert_true(holds(path, "b bnd bnother b", 15));
	/* A client that asked for the file it knew is told. */
	store(path, "a", 1);
	tag_of(path, etag);
	cond.if_match = str_of(etag);
	spec.cond = &cond;
	reading.reads = 0;
	must_fail(&spec, &ERR_PRECONDITION);
	assert_true(holds(path, "a and another a", 15));
	assert_int_equal(names_beside(path), 1);
}

static void a_file_that_always_changes_is_given_up(void **state)
{
	struct replace_spec spec = text_spec("a", "b");

	(void)state;
	store(path, "a", 1);
	reading.before = change_again;
	reading.at = 1;
	must_fail(&spec, &ERR_UNAVAILABLE);
	assert_int_equal(names_beside(path), 1);
}

/* What is before the match is gone when it is to be copied. */
static void a_file_that_shrinks_is_read_anew(void **state)
{
	struct replace_spec spec = text_spec("a", "b");
	const struct replace_sizes sizes = {4, 4, 4};

	(void)state;
	store(path, "xxxxxxxxxxxxxxxxa", 17);
	reading.before = make_shorter;
	reading.at = 5;
	reading.longest = 4;
	assert_int_equal(must_work(&spec, &sizes), 0);
	assert_true(holds(path, "xxx", 3));
	assert_int_equal(names_beside(path), 1);
}

static void nothing_stays_open(void **state)
{
	static char before[32768], after[32768], text[3 * 65536];
	struct replace_spec spec = text_spec("a", "b"), bad = regex_spec("(", "");

	(void)state;
	store(path, "a", 1);
	test_fds(0, before, sizeof(before));
	must_work(&spec, &plain_sizes);
	must_work(&spec, &plain_sizes);
	must_fail(&bad, &ERR_BAD_PATTERN);
	/* In the middle of the output. */
	memset(text, 'a', sizeof(text));
	store(path, text, sizeof(text));
	reading.at = reading.reads + 1;
	reading.before = cancel;
	spec.cancelled = &cancelled;
	must_fail(&spec, &ERR_UNAVAILABLE);
	test_fds(0, after, sizeof(after));
	assert_string_equal(before, after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(replaces_a_text_in_windows_of_any_size),
		TEST(any_byte_is_a_byte),
		TEST(agrees_with_a_replacement_in_memory),
		TEST(replaces_in_a_large_file),
		TEST(a_hole_is_no_text_and_stays_a_hole),
		TEST(without_a_match_nothing_is_touched),
		TEST(keeps_the_mode_and_follows_links),
		TEST(names_what_cannot_be_replaced_in),
		TEST(no_room_leaves_the_file_as_it_was),
		TEST(a_read_error_is_told),
		TEST(ends_early_when_cancelled),
		TEST(a_condition_has_to_hold),
		TEST(a_change_by_others_is_not_lost),
		TEST(a_file_that_always_changes_is_given_up),
		TEST(a_file_that_shrinks_is_read_anew),
		TEST(nothing_stays_open),
	};

	return cmocka_run_group_tests(tests, make_box, remove_box);
}
