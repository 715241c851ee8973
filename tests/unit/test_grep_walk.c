/* grep over a real walk: order, ignore files, several threads, and the ends that a search can have.
 */
#include "walk_fixture.h"

#include "boxd/grep.h"

static int show(void *arg, const struct grep_match *m, struct buf *out)
{
	(void)arg;
	return buf_printf(out, "%.*s:%llu:%.*s\n", (int)(m->path.n - strlen(rig.top) - 1),
		m->path.p + strlen(rig.top) + 1, (unsigned long long)m->line, (int)m->text.text.n,
		m->text.text.p);
}

static void write_text(const char *below, const char *text, size_t times)
{
	FILE *f = fopen(rig_path(below), "we");

	assert_non_null(f);
	for (size_t i = 0; i < times; i++)
		assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* Searches the tree; what was found is in rig.out. */
static struct grep_totals search(const char *pattern, struct grep_spec spec, int64_t timeout_ms)
{
	struct err e = {0};
	struct grep_totals totals;
	struct grep *g;

	spec.pattern = str_of(pattern);
	spec.format = show;
	spec.workers = work_parallel(rig.pool);
	g = grep_new(&spec, &e);
	assert_non_null(g);
	rig_default();
	rig.max_take = SIZE_MAX / 4;
	rig.spec.root = WALK_ROOT_ANY;
	rig.spec.visitor = grep_visitor(g);
	rig.spec.timeout_ms = timeout_ms;
	rig_run();
	assert_int_equal(rig.end, WALK_ENDED);
	totals = grep_totals(g);
	grep_free(g);
	return totals;
}

static void check_output(const char *expected)
{
	assert_int_equal(buf_add(&rig.out, "", 1), 0);
	assert_string_equal((const char *)buf_data(&rig.out), expected);
}

static void make_tree(void)
{
	rig_mkdir(".git");
	rig_mkdir(".git/info");
	write_text(".git/info/exclude", "secret\n", 1);
	write_text(".git/config", "word\n", 1);
	rig_mkdir(".hidden");
	write_text(".hidden/f", "word\n", 1);
	write_text(".gitignore", "*.log\n/out/\nnode_modules\n", 1);
	rig_mkdir("a");
	write_text("a/x", "no\nword\n", 1);
	write_text("a/y.log", "word\n", 1);
	rig_mkdir("b");
	write_text("b/.gitignore", "!keep.log\n", 1);
	write_text("b/keep.log", "word\n", 1);
	write_text("b/secret", "word\n", 1);
	rig_mkdir("b/out");
	write_text("b/out/f", "word\n", 1);
	rig_mkdir("node_modules");
	write_text("node_modules/f", "word\n", 1);
	rig_mkdir("out");
	write_text("out/f", "word\n", 1);
	write_text("z", "a word", 1);
	assert_int_equal(symlink("z", rig_path("zz")), 0);
}

static void a_tree_is_searched_in_order_and_ignore_files_are_heeded(void **state)
{
	(void)state;
	make_tree();
	for (size_t threads = 1; threads <= 4; threads *= 2) {
		struct grep_totals t;

		rig_threads(threads);
		t = search("word", (struct grep_spec){.respect_gitignore = true}, 0);
		check_output("a/x:2:word\nb/keep.log:1:word\nb/out/f:1:word\nz:1:a word\n");
		assert_int_equal(t.matches, 4);
		assert_int_equal(t.files, 4);
		t = search(
			"word", (struct grep_spec){.respect_gitignore = true, .hidden = true}, 0);
		check_output(".hidden/f:1:word\na/x:2:word\nb/keep.log:1:word\nb/out/f:1:word\n"
			     "z:1:a word\n");
		assert_int_equal(t.files, 7);
		t = search("word", (struct grep_spec){.hidden = true}, 0);
		check_output(".git/config:1:word\n.hidden/f:1:word\na/x:2:word\na/y.log:1:word\n"
			     "b/keep.log:1:word\nb/out/f:1:word\nb/secret:1:word\n"
			     "node_modules/f:1:word\nout/f:1:word\nz:1:a word\n");
		assert_int_equal(t.matches, 10);
		assert_false(t.max_results_hit);
	}
}

static void results_end_exactly_at_the_number_with_several_threads(void **state)
{
	(void)state;
	rig_threads(4);
	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%02d", i);
		write_text(name, "word\nno\n", 50);
	}
	for (uint64_t max = 1; max <= 5000; max = max * 10 < 5000 ? max * 10 : max + 4000) {
		struct grep_totals t = search("word", (struct grep_spec){.max_results = max}, 0);
		size_t lines = 0;

		for (size_t i = 0; i < buf_len(&rig.out); i++)
			lines += buf_data(&rig.out)[i] == '\n';
		assert_int_equal(lines, max);
		assert_int_equal(t.matches, max);
		assert_int_equal(t.max_results_hit, max < 5000);
		assert_int_equal(rig.totals.stopped, max < 5000);
	}
}

static void a_search_in_one_file_ends_in_time(void **state)
{
	int64_t from;
	struct grep_totals t;
	char line[1501];

	(void)state;
	memset(line, 'a', sizeof(line) - 2);
	memcpy(line + sizeof(line) - 2, "\n", 2);
	write_text("f", line, 2000);
	from = clock_mono_us();
	/* Each line takes seconds, and no place in it more than the steps there are. */
	t = search("a*b?a*b?a*[xy]", (struct grep_spec){0}, 200);
	assert_true(clock_mono_us() - from < 15000000);
	assert_true(rig.totals.timed_out);
	assert_int_equal(t.gave_up, 0);
	assert_int_equal(t.files, 1);
	/* The same with nothing to find in many lines. */
	write_text("f", "some words\n", 10000000);
	for (int k = 0; k < 2; k++) {
		t = search(k == 0 ? "wordz" : "[a-z]q", (struct grep_spec){.context = 1}, 5);
		assert_true(rig.totals.timed_out);
		assert_in_range(t.bytes, 0, 100000000);
	}
}

static void a_root_that_is_a_file_or_a_link_is_one_entry(void **state)
{
	struct grep_totals t;
	char *path;

	(void)state;
	write_text(".f", "word\n", 1);
	assert_int_equal(symlink(".f", rig_path("link")), 0);
	for (int k = 0; k < 2; k++) {
		struct err e = {0};
		struct grep_spec spec = {.pattern = STR("word"),
			.format = show,
			.workers = work_parallel(rig.pool),
			.respect_gitignore = true};
		struct grep *g = grep_new(&spec, &e);

		assert_non_null(g);
		path = strdup(rig_path(k == 0 ? ".f" : "link"));
		assert_non_null(path);
		rig_default();
		rig.max_take = SIZE_MAX / 4;
		rig.spec.path = path;
		rig.spec.root = WALK_ROOT_ANY;
		rig.spec.visitor = grep_visitor(g);
		rig_run();
		assert_int_equal(rig.end, WALK_ENDED);
		t = grep_totals(g);
		check_output(k == 0 ? ".f:1:word\n" : "");
		assert_int_equal(t.files, k == 0);
		assert_int_equal(t.unreadable, 0);
		grep_free(g);
		free(path);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_tree_is_searched_in_order_and_ignore_files_are_heeded),
		TEST(results_end_exactly_at_the_number_with_several_threads),
		TEST(a_search_in_one_file_ends_in_time),
		TEST(a_root_that_is_a_file_or_a_link_is_one_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
