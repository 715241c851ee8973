/*
 * grep: what is sent for a match, which files are searched, and random texts in tiny windows
 * against a search of each line by itself. The visitor is called as a walk would call it.
 */
#include "boxd/grep.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../src/svc/grep_internal.h"

#include "boxd/limits.h"
#include "boxd/regex.h"
#include "seed.h"

#define DIR_NAME "grep-test"

/* ---- files ---- */

static void in_shell(const char *command)
{
	assert_int_equal(system(command), 0);
}

static void write_file(const char *name, const void *data, size_t n)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", DIR_NAME, name);
	for (char *p = strchr(path, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		*p = '/';
	}
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(n > 0 ? fwrite(data, 1, n, f) : 0, n);
	assert_int_equal(fclose(f), 0);
}

static void write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

static int setup(void **state)
{
	(void)state;
	in_shell("rm -rf " DIR_NAME);
	return mkdir(DIR_NAME, 0755);
}

static int teardown(void **state)
{
	(void)state;
	grep_window_bytes = (size_t)256 << 10;
	grep_line_bytes = (size_t)64 << 20;
	return system("rm -rf " DIR_NAME);
}

/* ---- searching ---- */

static void add(struct buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct buf *out, const char *fmt, ...)
{
	char text[8192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_int_equal(buf_add_str(out, text), 0);
}

static void add_line(struct buf *out, char mark, uint64_t number, const struct grep_line *line)
{
	add(out, "%c%d:", mark, (int)number);
	assert_int_equal(buf_add(out, line->text.p, line->text.n), 0);
	add(out, "%s\n", line->cut ? "..." : "");
}

/* "path:column+length" and then the lines, numbered. */
static int show(void *arg, const struct grep_match *m, struct buf *out)
{
	(void)arg;
	add(out, "%.*s:%d+%d\n", (int)m->path.n, m->path.p, (int)m->column, (int)m->length);
	for (size_t i = 0; i < m->nbefore; i++)
		add_line(out, '-', m->line - m->nbefore + i, &m->before[i]);
	add_line(out, '=', m->line, &m->text);
	for (size_t i = 0; i < m->nafter; i++)
		add_line(out, '-', m->line + 1 + i, &m->after[i]);
	return 0;
}

static struct grep *make(const char *pattern, struct grep_spec spec)
{
	struct err e = {0};
	struct grep *g;

	spec.pattern = str_of(pattern);
	if (spec.format == NULL)
		spec.format = show;
	g = grep_new(&spec, &e);
	if (g == NULL)
		print_error("%s\n", e.msg);
	assert_non_null(g);
	return g;
}

static struct walk_entry entry_of(const char *path, size_t name, enum fs_type type, int dir)
{
	return (struct walk_entry){.path = path,
		.path_len = strlen(path),
		.name = name,
		.below_root = sizeof(DIR_NAME),
		.depth = 1,
		.type = type,
		.dir = dir};
}

/* Visits one file, "name" or "directory/name". */
static int visit(struct grep *g, const char *name, struct buf *out)
{
	struct walk_visitor v = grep_visitor(g);
	struct walk_entry entry;
	char path[512];
	char *slash;
	int dir, rc;

	snprintf(path, sizeof(path), "%s/%s", DIR_NAME, name);
	slash = strrchr(path, '/');
	*slash = '\0';
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*slash = '/';
	assert_true(dir >= 0);
	entry = entry_of(path, (size_t)(slash - path) + 1, FS_FILE, dir);
	rc = v.visit(v.arg, NULL, &entry, out);
	close(dir);
	return rc;
}

static void check_output(const struct buf *out, const char *expected)
{
	char *got = malloc(buf_len(out) + 1);

	assert_non_null(got);
	if (buf_len(out) > 0)
		memcpy(got, buf_data(out), buf_len(out));
	got[buf_len(out)] = '\0';
	assert_string_equal(got, expected);
	free(got);
}

/* The output for a file "f" with this text. */
static void check_spec(
	const char *text, const char *pattern, struct grep_spec spec, const char *expected)
{
	struct grep *g = make(pattern, spec);
	struct buf out = {0};

	write_text("f", text);
	assert_int_equal(visit(g, "f", &out), 0);
	check_output(&out, expected);
	buf_fini(&out);
	grep_free(g);
}

#define F DIR_NAME "/f:"

static const struct {
	const char *text, *pattern;
	unsigned int context;
	bool literal, ignore_case;
	const char *out;
} rows[] = {
	{"", "a", 0, 0, 0, ""},
	{"", "", 0, 0, 0, ""},
	{"a", "a", 0, 0, 0, F "1+1\n=1:a\n"},
	{"a\n", "a", 0, 0, 0, F "1+1\n=1:a\n"},
	{"\n", "^$", 0, 0, 0, F "1+0\n=1:\n"},
	{"b\nca a\n", "a", 0, 0, 0, F "2+1\n=2:ca a\n"},
	{"a\na\n", "a", 0, 0, 0, F "1+1\n=1:a\n" F "1+1\n=2:a\n"},
	{"b\n\n\na", "a", 0, 0, 0, F "1+1\n=4:a\n"},
	{"a\nb", "", 0, 0, 0, F "1+0\n=1:a\n" F "1+0\n=2:b\n"},
	{"ab\n", "$", 0, 0, 0, F "3+0\n=1:ab\n"},
	{"a.b\naxb\n", "a.b", 0, 1, 0, F "1+3\n=1:a.b\n"},
	{"A.B\naxb\n", "a.b", 0, 1, 1, F "1+3\n=1:A.B\n"},
	{"AXB\n", "a.b", 0, 0, 1, F "1+3\n=1:AXB\n"},
	{"\xc3\x89t\xc3\xa9\n", "\xc3\xa9t", 0, 0, 1, F "1+3\n=1:\xc3\x89t\xc3\xa9\n"},
	/* nothing goes over a line end */
	{"a\nb\n", "a\\s*b", 0, 0, 0, ""},
	{"a\nb\n", "a\nb", 0, 1, 0, ""},
	{"ac\nb\n", "[^b]+", 0, 0, 0, F "1+2\n=1:ac\n"},
	{"x=\n 1\nx= 1\n", "x=\\s+1", 0, 0, 0, F "1+4\n=3:x= 1\n"},
	/* a CR before LF is no text, and can be asked for */
	{"ab\r\nc\r\n", "b", 0, 0, 0, F "2+1\n=1:ab\n"},
	{"ab\r\nc\r\n", "b.*", 0, 0, 0, F "2+1\n=1:ab\n"},
	{"ab\r\nc\n", "\\r$", 0, 0, 0, F "3+0\n=1:ab\n"},
	{"a\r\r\n", "a", 0, 0, 0, F "1+1\n=1:a\r\n"},
	{"a\r", "a", 0, 0, 0, F "1+1\n=1:a\n"},
	{"\r\n", "^", 0, 0, 0, F "1+0\n=1:\n"},
	/* context */
	{"1\n2\n3\n4\n5\n", "3", 1, 0, 0, F "1+1\n-2:2\n=3:3\n-4:4\n"},
	{"1\n2\n3\n4\n5\n", "3", 2, 0, 0, F "1+1\n-1:1\n-2:2\n=3:3\n-4:4\n-5:5\n"},
	{"1\n2\n3\n4\n5\n", "3", 9, 0, 0, F "1+1\n-1:1\n-2:2\n=3:3\n-4:4\n-5:5\n"},
	{"1\n2\n3\n4\n5", "5", 1, 0, 0, F "1+1\n-4:4\n=5:5\n"},
	{"1\n2\n3\n4\n5", "1", 1, 0, 0, F "1+1\n=1:1\n-2:2\n"},
	{"1\n2\n", "[12]", 1, 0, 0, F "1+1\n=1:1\n-2:2\n" F "1+1\n-1:1\n=2:2\n"},
	{"\n\nx\n\n\n", "x", 1, 0, 0, F "1+1\n-2:\n=3:x\n-4:\n"},
	{"a\r\nx\r\nb\r\n", "x", 1, 0, 0, F "1+1\n-1:a\n=2:x\n-3:b\n"},
};

static void a_match_comes_with_its_place_and_its_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("row %zu\n", i);
		check_spec(rows[i].text, rows[i].pattern,
			(struct grep_spec){.context = rows[i].context,
				.literal = rows[i].literal,
				.ignore_case = rows[i].ignore_case},
			rows[i].out);
	}
}

/* ---- what is refused ---- */

static void a_search_that_cannot_be_is_refused(void **state)
{
	struct str globs[] = {STR("ok"), STR("[")};
	char *many = calloc(1, limit_size(LIMIT_FS_GLOB_BYTES) + 2);
	struct grep_spec spec = {.pattern = STR("a("), .format = show};
	struct err e = {0};

	(void)state;
	assert_non_null(many);
	assert_null(grep_new(&spec, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_PATTERN);
	assert_string_equal(e.msg, "pattern: missing closing parenthesis at byte 2");

	e = (struct err){0};
	spec = (struct grep_spec){
		.pattern = STR("a"), .format = show, .include = globs, .ninclude = 2};
	assert_null(grep_new(&spec, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_PATTERN);
	assert_memory_equal(e.msg, "include[1]: ", 12);

	e = (struct err){0};
	spec = (struct grep_spec){
		.pattern = STR("a"), .format = show, .exclude = globs, .nexclude = 2};
	assert_null(grep_new(&spec, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_PATTERN);
	assert_memory_equal(e.msg, "exclude[1]: ", 12);

	e = (struct err){0};
	memset(many, 'a', limit_size(LIMIT_FS_GLOB_BYTES) + 1);
	globs[1] = (struct str){many, limit_size(LIMIT_FS_GLOB_BYTES) + 1};
	assert_null(grep_new(&spec, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_PATTERN);
	globs[1].n--;
	e = (struct err){0};
	grep_free(grep_new(&spec, &e));
	assert_null(e.kind);

	spec = (struct grep_spec){.pattern = STR("a"),
		.format = show,
		.context = (unsigned int)limit(LIMIT_GREP_CONTEXT)};
	grep_free(grep_new(&spec, &e));
	assert_null(e.kind);
	spec.context++;
	assert_null(grep_new(&spec, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	grep_free(NULL);
	free(many);
}

static void globs_are_as_many_as_a_batch(void **state)
{
	int64_t before = limit(LIMIT_FS_BATCH);
	struct str globs[] = {STR("a"), STR("b")};
	struct grep_spec spec = {
		.pattern = STR("a"), .format = show, .include = globs, .ninclude = 2};
	struct err e = {0};

	(void)state;
	assert_true(limit_set(LIMIT_FS_BATCH, 2));
	grep_free(grep_new(&spec, &e));
	assert_null(e.kind);
	assert_true(limit_set(LIMIT_FS_BATCH, 1));
	assert_null(grep_new(&spec, &e));
	assert_ptr_equal(e.kind, &ERR_BAD_BODY);
	assert_true(limit_set(LIMIT_FS_BATCH, before));
}

/* ---- bounds ---- */

static void matches_end_exactly_at_the_number(void **state)
{
	(void)state;
	for (uint64_t max = 1; max <= 4; max++) {
		struct grep *g = make("a", (struct grep_spec){.max_results = max});
		struct grep_totals t;
		struct buf out = {0};

		write_text("f", "a\na\n");
		write_text("g", "a\n");
		assert_int_equal(visit(g, "f", &out), 0);
		assert_int_equal(visit(g, "g", &out), 0);
		assert_int_equal(visit(g, "g", &out), 0);
		t = grep_totals(g);
		assert_int_equal(t.matches, max);
		/* Exactly as many as there are is not too many. */
		assert_int_equal(t.max_results_hit, max < 4);
		buf_fini(&out);
		grep_free(g);
	}
}

static void no_search_has_more_matches_than_the_limit(void **state)
{
	int64_t before = limit(LIMIT_GREP_RESULTS);

	(void)state;
	write_text("f", "a\na\na\n");
	for (uint64_t asked = 0; asked < 4; asked += 3) {
		for (int64_t max = 2; max <= 3; max++) {
			struct grep *g;
			struct buf out = {0};

			assert_true(limit_set(LIMIT_GREP_RESULTS, max));
			g = make("a", (struct grep_spec){.max_results = asked});
			assert_int_equal(visit(g, "f", &out), 0);
			assert_int_equal(grep_totals(g).matches, max);
			assert_int_equal(grep_totals(g).max_results_hit, max < 3);
			buf_fini(&out);
			grep_free(g);
		}
	}
	assert_true(limit_set(LIMIT_GREP_RESULTS, before));
}

static void a_file_has_as_many_matches_as_asked_for(void **state)
{
	struct grep_spec spec = {.max_per_file = 2, .context = 1};

	(void)state;
	check_spec("a\na\nb\na\na\n", "a", spec, F "1+1\n=1:a\n-2:a\n" F "1+1\n-1:a\n=2:a\n-3:b\n");
	spec.max_per_file = 1;
	check_spec("a\na\n", "a", spec, F "1+1\n=1:a\n-2:a\n");
}

static void a_file_over_the_size_is_counted_and_not_searched(void **state)
{
	static const struct {
		size_t size, window;
		uint64_t max;
		bool searched;
	} cases[] = {{100, 1024, 100, true}, {101, 1024, 100, false}, {1024, 1024, 1024, true},
		{1025, 1024, 1024, false}, {5000, 64, 5000, true}, {5001, 64, 5000, false},
		{1024, 1024, 0, true}, {4096, 64, 0, true}, {4097, 64, 0, false},
		{4097, 64, 5000, false}};
	int64_t before = limit(LIMIT_GREP_FILE_BYTES);
	char text[5001];

	(void)state;
	memset(text, '\n', sizeof(text));
	text[0] = 'a';
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct grep *g;
		struct buf out = {0};
		struct grep_totals t;

		print_message("case %zu\n", i);
		grep_window_bytes = cases[i].window;
		assert_true(limit_set(
			LIMIT_GREP_FILE_BYTES, cases[i].max == 0 || i == 9 ? 4096 : before));
		g = make("a", (struct grep_spec){.max_file_bytes = cases[i].max});
		write_file("f", text, cases[i].size);
		assert_int_equal(visit(g, "f", &out), 0);
		t = grep_totals(g);
		assert_int_equal(t.files, cases[i].searched);
		assert_int_equal(t.matches, cases[i].searched);
		assert_int_equal(t.bytes, cases[i].searched ? cases[i].size : 0);
		assert_int_equal(t.too_large, !cases[i].searched);
		buf_fini(&out);
		grep_free(g);
	}
	assert_true(limit_set(LIMIT_GREP_FILE_BYTES, before));
}

static void text_of_a_line_is_cut_at_the_limit_between_characters(void **state)
{
	int64_t before = limit(LIMIT_GREP_LINE_BYTES);
	size_t max = 256;
	char text[1024], expected[1024];

	(void)state;
	assert_true(limit_set(LIMIT_GREP_LINE_BYTES, (int64_t)max));
	for (size_t n = max - 3; n <= max + 3; n++) {
		for (size_t back = 0; back <= 4; back++) {
			/* A character of four bytes that ends so far from the end of the line. */
			size_t at = n - back - 4, keep = n <= max ? n : max;

			memset(text, 'b', n);
			memcpy(text + at, "\xf0\x9f\x98\x80", 4);
			memcpy(text + n, "\r\n\n", 4);
			if (n > max && at < max && at + 4 > max)
				keep = at;
			snprintf(expected, sizeof(expected), F "1+0\n=2:\n");
			text[n + 2] = '\0';
			snprintf(expected, sizeof(expected), F "1+1\n=1:%.*s%s\n", (int)keep, text,
				n > max ? "..." : "");
			check_spec(text, "b", (struct grep_spec){0}, expected);
		}
	}
	memset(text, 'b', 300);
	memcpy(text + 300, "\na\n", 4);
	snprintf(expected, sizeof(expected), F "1+1\n-1:%.256s...\n=2:a\n", text);
	check_spec(text, "a", (struct grep_spec){.context = 1}, expected);
	/* Where it matched is told all the same. */
	memcpy(text + 290, "c", 1);
	text[301] = '\0';
	snprintf(expected, sizeof(expected), F "291+1\n=1:%.256s...\n", text);
	check_spec(text, "c", (struct grep_spec){0}, expected);
	assert_true(limit_set(LIMIT_GREP_LINE_BYTES, before));
}

static void a_line_longer_than_the_buffer_may_be_ends_its_file(void **state)
{
	char text[600], expected[700];
	struct grep *g;
	struct buf out = {0};

	(void)state;
	grep_window_bytes = 64;
	grep_line_bytes = 256;
	/* It fits: with its LF, or at the end of the file. */
	memset(text, 'b', sizeof(text));
	memcpy(text + 254, "a\nz", 4);
	snprintf(expected, sizeof(expected), F "255+1\n=1:%.255s\n", text);
	check_spec(text, "a", (struct grep_spec){0}, expected);
	/* Context beside it does not, so there is none; later there is again. */
	memcpy(text, "1\n2\n", 4);
	memcpy(text + 255, "bba\nz\nz\n", 9);
	snprintf(expected, sizeof(expected),
		F "251+1\n=3:%.254s\n" F "1+1\n=4:z\n-5:z\n" F "1+1\n-4:z\n=5:z\n", text + 4);
	check_spec(text, "[az]", (struct grep_spec){.context = 3}, expected);
	/* A byte more, and that is the end; what was found before stays. */
	memset(text, 'b', sizeof(text));
	memcpy(text, "a\n", 2);
	memcpy(text + 258, "a\na\n", 5);
	write_text("f", text);
	g = make("a", (struct grep_spec){0});
	assert_int_equal(visit(g, "f", &out), 0);
	check_output(&out, F "1+1\n=1:a\n");
	assert_int_equal(grep_totals(g).too_large, 1);
	assert_int_equal(grep_totals(g).matches, 1);
	buf_fini(&out);
	grep_free(g);
}

/* The lines of the output that begin with this. */
static size_t count_lines_with(const struct buf *out, char first)
{
	const char *p = (const char *)buf_data(out);
	size_t n = 0;

	for (size_t i = 0; i < buf_len(out); i++)
		n += p[i] == first && (i == 0 || p[i - 1] == '\n');
	return n;
}

static void a_long_line_leaves_nothing_behind(void **state)
{
	static char text[1000];
	struct grep *g;
	struct buf out = {0};

	(void)state;
	/* Behind it, context works again: every line has two beside it but the last. */
	grep_window_bytes = 64;
	grep_line_bytes = 256;
	memset(text, 'b', 256);
	text[255] = '\n';
	for (size_t i = 0; i < 200; i++)
		memcpy(text + 256 + 2 * i, "z\n", 3);
	write_text("f", text);
	g = make("z", (struct grep_spec){.context = 1});
	assert_int_equal(visit(g, "f", &out), 0);
	assert_int_equal(count_lines_with(&out, '='), 200);
	assert_in_range(count_lines_with(&out, '-'), 398, 399);
	/* The buffer is small again for the next file. */
	write_text("f", "z\n");
	grep_line_bytes = 1024;
	memset(text, 'b', 999);
	text[999] = '\0';
	write_text("g", text);
	assert_int_equal(visit(g, "g", &out), 0);
	assert_int_equal(g->workers[0].cap, 1024);
	assert_int_equal(visit(g, "f", &out), 0);
	assert_int_equal(g->workers[0].cap, 64);
	buf_fini(&out);
	grep_free(g);
}

/* ---- files that are not searched ---- */

static void a_binary_file_is_counted_and_passed_over(void **state)
{
	size_t n = (size_t)256 << 10;
	char *text = malloc(n + 3);
	struct grep *g;
	struct buf out = {0};

	(void)state;
	assert_non_null(text);
	memset(text, '\n', n + 3);
	text[n + 1] = 'a';
	write_file("text", text, n + 3);
	text[n] = '\0';
	write_file("late", text, n + 3);
	text[n - 1] = '\0';
	write_file("early", text, n + 3);
	write_file("first", "\0a\n", 3);
	write_file("last", "a\n\0", 3);
	/* A window that grew does not look further. */
	memset(text, 'b', n);
	text[n] = '\0';
	write_file("grown", text, n + 3);
	g = make("a", (struct grep_spec){0});
	assert_int_equal(visit(g, "grown", &out), 0);
	assert_int_equal(visit(g, "grown", &out), 0);
	assert_int_equal(grep_totals(g).files, 2);
	grep_free(g);
	g = make("a", (struct grep_spec){0});
	assert_int_equal(visit(g, "text", &out), 0);
	assert_int_equal(visit(g, "late", &out), 0);
	assert_int_equal(visit(g, "early", &out), 0);
	assert_int_equal(visit(g, "first", &out), 0);
	assert_int_equal(visit(g, "last", &out), 0);
	assert_int_equal(grep_totals(g).files, 2);
	assert_int_equal(grep_totals(g).matches, 2);
	assert_int_equal(grep_totals(g).matched_files, 2);
	assert_int_equal(grep_totals(g).binary, 3);
	assert_int_equal(grep_totals(g).bytes, 2 * (n + 3));
	buf_fini(&out);
	grep_free(g);
	free(text);
}

static void what_is_no_regular_file_is_not_opened(void **state)
{
	static const enum fs_type types[] = {FS_DIRECTORY, FS_SYMLINK, FS_OTHER};
	struct grep *g = make("a", (struct grep_spec){0});
	struct walk_visitor v = grep_visitor(g);
	struct buf out = {0};
	int dir;

	(void)state;
	write_text("f", "a\n");
	dir = open(DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	for (size_t i = 0; i < 3; i++) {
		struct walk_entry entry = entry_of(DIR_NAME "/f", sizeof(DIR_NAME), types[i], dir);

		assert_int_equal(v.visit(v.arg, NULL, &entry, &out), 0);
		entry.depth = 0;
		assert_int_equal(v.visit(v.arg, NULL, &entry, &out), 0);
	}
	close(dir);
	/* What takes the place of a file meanwhile: a link, nothing, a FIFO, a directory. */
	in_shell("cd " DIR_NAME "; ln -s f link; mkfifo fifo; mkdir dir");
	assert_int_equal(visit(g, "link", &out), 0);
	assert_int_equal(visit(g, "gone", &out), 0);
	assert_int_equal(grep_totals(g).unreadable, 0);
	assert_int_equal(visit(g, "fifo", &out), 0);
	assert_int_equal(visit(g, "dir", &out), 0);
	assert_int_equal(grep_totals(g).unreadable, 1);
	assert_int_equal(grep_totals(g).matches, 0);
	assert_int_equal(buf_len(&out), 0);
	buf_fini(&out);
	grep_free(g);
}

static void a_file_that_may_not_be_read_is_counted(void **state)
{
	struct grep *g = make("a", (struct grep_spec){0});
	struct buf out = {0};

	(void)state;
	if (geteuid() == 0) {
		print_message("SKIPPED: root may read everything\n");
		grep_free(g);
		skip();
	}
	write_text("f", "a\n");
	assert_int_equal(chmod(DIR_NAME "/f", 0), 0);
	assert_int_equal(visit(g, "f", &out), 0);
	assert_int_equal(grep_totals(g).unreadable, 1);
	assert_int_equal(grep_totals(g).files, 0);
	buf_fini(&out);
	grep_free(g);
}

static void a_file_that_needs_too_many_steps_is_given_up_and_the_next_one_searched(void **state)
{
	int64_t before = limit(LIMIT_GREP_STEPS);
	struct grep *g;
	struct buf out = {0};

	(void)state;
	assert_true(limit_set(LIMIT_GREP_STEPS, 10000));
	g = make("(?:a|a)*[xy]", (struct grep_spec){0});
	write_text("f", "ax\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nax\n");
	write_text("g", "aay\n");
	assert_int_equal(visit(g, "f", &out), 0);
	assert_int_equal(visit(g, "g", &out), 0);
	check_output(&out, F "1+2\n=1:ax\n" DIR_NAME "/g:1+3\n=1:aay\n");
	assert_int_equal(grep_totals(g).gave_up, 1);
	assert_int_equal(grep_totals(g).files, 2);
	buf_fini(&out);
	grep_free(g);
	assert_true(limit_set(LIMIT_GREP_STEPS, before));
}

static int fail_to_show(void *arg, const struct grep_match *m, struct buf *out)
{
	(void)arg;
	(void)m;
	(void)out;
	return -1;
}

static void memory_that_ran_out_is_told(void **state)
{
	struct grep *g = make("a", (struct grep_spec){.format = fail_to_show});
	struct buf out = {0};

	(void)state;
	write_text("f", "a\n");
	write_text("g", "b\n");
	assert_int_equal(visit(g, "g", &out), 0);
	assert_int_equal(visit(g, "f", &out), -1);
	assert_int_equal(grep_totals(g).matches, 0);
	grep_free(g);
}

/* ---- which files ---- */

static const struct {
	const char *path; /* with a slash at the end: may it be gone into? */
	const char *include[2], *exclude[2];
	bool hidden, gitignore;
	bool wanted;
} filters[] = {
	{"a.c", {0}, {0}, 0, 0, 1},
	{".a.c", {0}, {0}, 0, 0, 0},
	{".a.c", {0}, {0}, 1, 0, 1},
	{".d/", {0}, {0}, 0, 0, 0},
	{".d/", {0}, {0}, 1, 0, 1},
	{"d/.a", {0}, {0}, 0, 0, 0},
	{"a.c", {"*.c"}, {0}, 0, 0, 1},
	{"d/a.c", {"*.c"}, {0}, 0, 0, 1},
	{"a.h", {"*.c"}, {0}, 0, 0, 0},
	{"a.h", {"*.c", "*.h"}, {0}, 0, 0, 1},
	{"d/", {"*.c"}, {0}, 0, 0, 1},
	{"d/a.c", {"d/*.c"}, {0}, 0, 0, 1},
	{"d/e/a.c", {"d/*.c"}, {0}, 0, 0, 0},
	{"d/e/a.c", {"d/**"}, {0}, 0, 0, 1},
	{"d/e/a.c", {"**/e/*"}, {0}, 0, 0, 1},
	{"a.c", {"/a.c"}, {0}, 0, 0, 1},
	{"d/a.c", {"/a.c"}, {0}, 0, 0, 0},
	{"d/a.c", {"/d/a.c"}, {0}, 0, 0, 1},
	{"a.c", {"*.{c,h}"}, {0}, 0, 0, 1},
	{"a.c", {"!(*.h)"}, {0}, 0, 0, 1},
	{"a.c", {0}, {"*.c"}, 0, 0, 0},
	{"a.h", {0}, {"*.c"}, 0, 0, 1},
	{"a.c", {"*.c"}, {"a*"}, 0, 0, 0},
	{"d/", {0}, {"d"}, 0, 0, 0},
	{"x/d/", {0}, {"d"}, 0, 0, 0},
	{"x/d/", {0}, {"/d"}, 0, 0, 1},
	{"d/", {0}, {"d/"}, 0, 0, 0},
	{"x/d/", {0}, {"d/"}, 0, 0, 0},
	{"d", {0}, {"d/"}, 0, 0, 1},
	{"d/", {0}, {"x", "d/**"}, 0, 0, 0},
	{"x/e/", {0}, {"x/e/"}, 0, 0, 0},
	{"y/x/e/", {0}, {"x/e/"}, 0, 0, 1},
	{".git/", {0}, {0}, 1, 0, 1},
	{".git/", {0}, {0}, 1, 1, 0},
	{"d/.git", {0}, {0}, 1, 1, 0},
	{"a.o", {0}, {0}, 0, 0, 1},
	{"a.o", {0}, {0}, 0, 1, 0},
	{"a.c", {0}, {0}, 0, 1, 1},
	{"build/", {0}, {0}, 0, 1, 0},
	{"build/", {0}, {0}, 0, 0, 1},
};

static size_t strings(const char *const text[2], struct str out[2])
{
	size_t n = 0;

	for (; n < 2 && text[n] != NULL; n++)
		out[n] = str_of(text[n]);
	return n;
}

static bool is_wanted(size_t i)
{
	struct str include[2], exclude[2];
	struct grep_spec spec = {.include = include,
		.ninclude = strings(filters[i].include, include),
		.exclude = exclude,
		.nexclude = strings(filters[i].exclude, exclude),
		.hidden = filters[i].hidden,
		.respect_gitignore = filters[i].gitignore};
	struct grep *g = make("a", spec);
	struct walk_visitor v = grep_visitor(g);
	size_t len = strlen(filters[i].path);
	bool directory = filters[i].path[len - 1] == '/', wanted;
	struct buf out = {0};
	struct walk_entry entry;
	char path[64];
	int root = open(DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int dir = root;

	assert_true(root >= 0);
	snprintf(path, sizeof(path), DIR_NAME "/%.*s", (int)(directory ? len - 1 : len),
		filters[i].path);
	if (!directory)
		write_text(path + sizeof(DIR_NAME), "a\n");
	entry = entry_of(path, (size_t)(strrchr(path, '/') - path) + 1,
		directory ? FS_DIRECTORY : FS_FILE, -1);
	assert_int_equal(v.enter != NULL, filters[i].gitignore);
	assert_int_equal(v.leave != NULL, filters[i].gitignore);
	if (v.enter != NULL)
		entry.dir_context = v.enter(v.arg, NULL, root, DIR_NAME, strlen(DIR_NAME));
	if (directory) {
		wanted = v.descend(v.arg, &entry);
	} else {
		path[entry.name - 1] = '\0';
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		path[entry.name - 1] = '/';
		entry.dir = dir;
		assert_int_equal(v.visit(v.arg, NULL, &entry, &out), 0);
		wanted = buf_len(&out) > 0;
		assert_int_equal(grep_totals(g).files, wanted);
		close(dir);
	}
	if (v.leave != NULL)
		v.leave(v.arg, entry.dir_context);
	close(root);
	buf_fini(&out);
	grep_free(g);
	return wanted;
}

static void files_are_chosen_by_name_and_path(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		setup(NULL);
		write_text(".gitignore", "*.o\n/build/\n");
		if (is_wanted(i) != filters[i].wanted)
			fail_msg("row %zu: %s", i, filters[i].path);
	}
}

static void the_root_itself_is_searched_whatever_its_name(void **state)
{
	struct str glob = STR("*");
	struct grep *g = make("a",
		(struct grep_spec){.exclude = &glob, .nexclude = 1, .respect_gitignore = true});
	struct walk_visitor v = grep_visitor(g);
	struct buf out = {0};
	struct walk_entry entry;
	int dir;

	(void)state;
	write_text(".git", "a\n");
	dir = open(DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	entry = entry_of(DIR_NAME "/.git", sizeof(DIR_NAME), FS_FILE, dir);
	entry.depth = 0;
	entry.below_root = entry.path_len;
	assert_int_equal(v.visit(v.arg, NULL, &entry, &out), 0);
	check_output(&out, DIR_NAME "/.git:1+1\n=1:a\n");
	assert_true(v.descend(v.arg, &entry));
	close(dir);
	buf_fini(&out);
	grep_free(g);
}

static void workers_count_by_themselves_and_are_added_up(void **state)
{
	struct grep *g = make("a", (struct grep_spec){.workers = 3});
	struct walk_visitor v = grep_visitor(g);
	struct buf out = {0};
	int dir;

	(void)state;
	write_text("f", "a\n");
	dir = open(DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	for (unsigned int i = 0; i < 6; i++) {
		struct walk_entry entry = entry_of(DIR_NAME "/f", sizeof(DIR_NAME), FS_FILE, dir);

		entry.worker = i % 3;
		assert_int_equal(v.visit(v.arg, NULL, &entry, &out), 0);
	}
	assert_int_equal(grep_totals(g).files, 6);
	assert_int_equal(grep_totals(g).matches, 6);
	assert_int_equal(grep_totals(g).matched_files, 6);
	assert_int_equal(grep_totals(g).bytes, 12);
	close(dir);
	buf_fini(&out);
	grep_free(g);
}

/* ---- random texts ---- */

static uint32_t random_state;

static size_t roll(size_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % n;
}

static uint32_t random_seed(void)
{
	uint32_t seed = test_seed();

	print_message("seed %u\n", seed);
	return seed;
}

static size_t random_text(char *text, size_t max)
{
	static const char *const parts[] = {"a", "b", "ab", "c", "needle", "need", "\n", "\n",
		"\n\n", "\r\n", " ", "a b", "\xc3\xa9", "12", "foo_1", "=", "\n\n\n\n\n",
		"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"};
	size_t n = 0;

	for (size_t i = roll(60); i > 0; i--) {
		const char *part = parts[roll(sizeof(parts) / sizeof(parts[0]))];
		size_t len = strlen(part);

		if (n + len > max)
			break;
		memcpy(text + n, part, len);
		n += len;
	}
	return n;
}

struct lines {
	struct str line[1024];
	size_t n;
};

static struct grep_line without_cr(struct str line)
{
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return (struct grep_line){.text = line};
}

static void split(const char *text, size_t n, struct lines *out)
{
	out->n = 0;
	for (size_t at = 0; at < n;) {
		const char *lf = memchr(text + at, '\n', n - at);
		size_t end = lf == NULL ? n : (size_t)(lf - text);

		assert_true(out->n < 1024);
		out->line[out->n++] = (struct str){text + at, end - at};
		at = end + 1;
	}
}

/* The same output from each line by itself. */
static void reference(const char *text, size_t n, const char *pattern, unsigned int flags,
	const struct grep_spec *spec, struct buf *out)
{
	static struct lines lines;
	struct err e = {0};
	struct regex *re = regex_new(str_of(pattern), flags, &e);
	struct regex_match *m;
	uint64_t found = 0;

	assert_non_null(re);
	m = regex_match_new(re);
	assert_non_null(m);
	split(text, n, &lines);
	for (size_t i = 0; i < lines.n; i++) {
		struct grep_match match = {.path = STR(DIR_NAME "/f"), .line = i + 1};
		struct grep_line around[16];
		size_t start, end, k = i > spec->context ? i - spec->context : 0;

		if (regex_find(re, m, lines.line[i], 0, &start, &end) != REGEX_FOUND)
			continue;
		match.text = without_cr(lines.line[i]);
		match.column = start + 1;
		end = end < match.text.text.n ? end : match.text.text.n;
		match.length = end > start ? end - start : 0;
		match.before = around;
		for (; k < i; k++)
			around[match.nbefore++] = without_cr(lines.line[k]);
		match.after = around + match.nbefore;
		for (k = i + 1; k < lines.n && k <= i + spec->context; k++)
			around[match.nbefore + match.nafter++] = without_cr(lines.line[k]);
		assert_int_equal(show(NULL, &match, out), 0);
		if (++found == spec->max_per_file)
			break;
	}
	regex_match_free(m);
	regex_free(re);
}

static void any_window_finds_what_single_lines_do(void **state)
{
	static const char *const patterns[] = {"needle", "a", "^a", "b$", "^$", "[^a]+b", "a\\s*b",
		"(a|b)c", "\\w+_\\d", "\\bneed\\b", "", "x", "e.*e", "\xc3\xa9", "(?<=a)b",
		"(?<!a)b", "a(?!\\s)", "\\Aa", "c\\z", "(?s)a.+b", "\\r$", "n[^l]*", "b{20,}",
		"(?:a|b)+?c", "\n", "a|\\n"};
	static char text[4096];

	(void)state;
	random_state = random_seed();
	for (int i = 0; i < 2000; i++) {
		const char *pattern = patterns[roll(sizeof(patterns) / sizeof(patterns[0]))];
		struct grep_spec spec = {.context = (unsigned int)roll(4),
			.max_per_file = roll(3),
			.literal = roll(8) == 0,
			.ignore_case = roll(4) == 0};
		unsigned int flags = (spec.literal ? REGEX_LITERAL : 0) |
				     (spec.ignore_case ? REGEX_IGNORE_CASE : 0);
		size_t n = random_text(text, sizeof(text));
		struct buf got = {0}, want = {0};
		struct grep *g;

		grep_window_bytes = 1 + roll(100);
		g = make(pattern, spec);
		write_file("f", text, n);
		assert_int_equal(visit(g, "f", &got), 0);
		/* Twice with the same worker: nothing is left over. */
		buf_clear(&got);
		assert_int_equal(visit(g, "f", &got), 0);
		/* Without REGEX_LINES: one line has no line ends within. */
		reference(text, n, pattern, flags, &spec, &want);
		assert_int_equal(buf_add(&want, "", 1), 0);
		if (buf_len(&got) != buf_len(&want) - 1 ||
			(buf_len(&got) > 0 &&
				memcmp(buf_data(&got), buf_data(&want), buf_len(&got)) != 0))
			fail_msg("\"%s\" flags %u context %u window %zu in:\n%.*s\ngot:\n%.*s\n"
				 "expected:\n%s",
				pattern, flags, spec.context, grep_window_bytes, (int)n, text,
				(int)buf_len(&got), buf_len(&got) ? (char *)buf_data(&got) : "",
				(char *)buf_data(&want));
		if (grep_totals(g).bytes != 2 * n && spec.max_per_file == 0)
			fail_msg("%d bytes instead of %zu", (int)grep_totals(g).bytes, 2 * n);
		buf_fini(&got);
		buf_fini(&want);
		grep_free(g);
	}
}

static void lines_are_counted_in_any_number_of_bytes(void **state)
{
	size_t n = 16 * 600;
	char *text = malloc(n);

	(void)state;
	assert_non_null(text);
	random_state = 99;
	for (size_t len = 0; len <= n; len += len < 100 ? 1 : 97) {
		uint64_t want = 0;

		for (size_t i = 0; i < len; i++) {
			text[i] = roll(2) == 0 ? '\n' : 'a';
			want += text[i] == '\n';
		}
		assert_int_equal(grep_count_lines(text, len), want);
	}
	memset(text, '\n', n);
	assert_int_equal(grep_count_lines(text, n), n);
	free(text);
}

/* ---- the other grep ---- */

static int show_as_grep(void *arg, const struct grep_match *m, struct buf *out)
{
	(void)arg;
	add(out, "%d:", (int)m->line);
	assert_int_equal(buf_add(out, m->text.text.p, m->text.text.n), 0);
	add(out, "\n");
	return 0;
}

static void grep_P_finds_the_same_lines(void **state)
{
	static const char *const patterns[] = {"needle", "^a", "b$", "^$", "[^a]+b", "a\\s*b",
		"\\w+_\\d", "\\bneed\\b", "(?<=a)b", "a(?!\\s)", "b{20,}", "(a|b)c|12"};
	static char text[16384];
	size_t n = 0;

	(void)state;
	if (system("echo ab | LC_ALL=C grep -qP 'a(?=b)' 2>/dev/null") != 0) {
		print_message("SKIPPED: there is no grep -P\n");
		skip();
	}
	random_state = random_seed();
	while (n < sizeof(text) - 2048)
		n += random_text(text + n, 1024);
	/* A CR at the end of a line is text to grep. */
	for (size_t i = 0; i < n; i++)
		text[i] = text[i] == '\r' ? 'r' : text[i];
	write_file("f", text, n);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		struct grep *g = make(patterns[i], (struct grep_spec){.format = show_as_grep});
		struct buf got = {0}, want = {0};
		char command[256], chunk[4096];
		size_t len;
		FILE *f;

		grep_window_bytes = 1 + roll(4000);
		assert_int_equal(visit(g, "f", &got), 0);
		snprintf(command, sizeof(command), "LC_ALL=C grep -naP '%s' " DIR_NAME "/f",
			patterns[i]);
		f = popen(command, "r");
		assert_non_null(f);
		while ((len = fread(chunk, 1, sizeof(chunk), f)) > 0)
			assert_int_equal(buf_add(&want, chunk, len), 0);
		pclose(f);
		assert_int_equal(buf_len(&got), buf_len(&want));
		assert_int_equal(buf_len(&got) > 0
					 ? memcmp(buf_data(&got), buf_data(&want), buf_len(&got))
					 : 0,
			0);
		buf_fini(&got);
		buf_fini(&want);
		grep_free(g);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_match_comes_with_its_place_and_its_lines),
		TEST(a_search_that_cannot_be_is_refused),
		TEST(globs_are_as_many_as_a_batch),
		TEST(matches_end_exactly_at_the_number),
		TEST(no_search_has_more_matches_than_the_limit),
		TEST(a_file_has_as_many_matches_as_asked_for),
		TEST(a_file_over_the_size_is_counted_and_not_searched),
		TEST(text_of_a_line_is_cut_at_the_limit_between_characters),
		TEST(a_line_longer_than_the_buffer_may_be_ends_its_file),
		TEST(a_long_line_leaves_nothing_behind),
		TEST(a_binary_file_is_counted_and_passed_over),
		TEST(what_is_no_regular_file_is_not_opened),
		TEST(a_file_that_may_not_be_read_is_counted),
		TEST(a_file_that_needs_too_many_steps_is_given_up_and_the_next_one_searched),
		TEST(memory_that_ran_out_is_told),
		TEST(files_are_chosen_by_name_and_path),
		TEST(the_root_itself_is_searched_whatever_its_name),
		TEST(workers_count_by_themselves_and_are_added_up),
		TEST(any_window_finds_what_single_lines_do),
		TEST(lines_are_counted_in_any_number_of_bytes),
		TEST(grep_P_finds_the_same_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
