/*
 * Random trees full of links, random paths, and three opinions on where they lead: confine with
 * openat2(2), confine without, and a resolver of a few lines that works on text and lstat(2) alone,
 * which is right as long as nothing else changes the tree. The kernel is the fourth where it can
 * tell.
 */
#include "boxd/confine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdint.h>

#include "../../src/os/confine_internal.h"
#include "confine_fixture.h"
#include "os_helpers.h"

#define TREES   120
#define OBJECTS 60
#define PATHS   80

static uint64_t seed;

static unsigned int pick(unsigned int n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)(seed % n);
}

/*
 * @/a read-write, @/a/x/n read-only in it, @/b read-only, @/c read-write and given as @/k, which is
 * a link; @/o outside.
 */
static const struct {
	const char *real, *other;
	bool read_only;
} roots[] = {
	{"@/a", NULL, false}, {"@/a/x/n", NULL, true}, {"@/b", NULL, true}, {"@/c", "@/k", false}};

#define ROOTS (sizeof(roots) / sizeof(roots[0]))

static const char *const tops[] = {"a", "b", "c", "k", "o"};
static const char *const names[] = {"x", "y", "z", "n"};

/* ---- random texts ---- */

static void add_name(char *path, const char *name)
{
	size_t n = strlen(path);

	snprintf(path + n, PATH_MAX - n, "%s%s", n > 0 && path[n - 1] != '/' ? "/" : "", name);
}

static void random_path(char *path, unsigned int max)
{
	snprintf(path, PATH_MAX, "%s/%s", base, tops[pick(5)]);
	for (unsigned int n = pick(max); n > 0; n--)
		add_name(path, names[pick(4)]);
}

static void random_target(char *target)
{
	target[0] = '\0';
	if (pick(3) == 0) {
		random_path(target, 3);
	} else if (pick(4) == 0) {
		for (unsigned int n = pick(4); n > 0; n--)
			add_name(target, "..");
		add_name(target, tops[pick(5)]);
	}
	for (unsigned int n = 1 + pick(4); n > 0; n--) {
		static const char *const odd[] = {"..", "..", ".", "../.."};

		add_name(target, pick(3) == 0 ? odd[pick(4)] : names[pick(4)]);
	}
	if (pick(6) == 0)
		strncat(target, "/", 2);
}

/* A link on the way may lead out of the test's own directory, where nothing shall be made. */
static bool stays_here(const char *path)
{
	char parent[PATH_MAX], *slash, *real;
	bool here;

	snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	*slash = '\0';
	real = realpath(parent, NULL);
	here = real != NULL && strncmp(real, base, strlen(base)) == 0;
	free(real);
	return here;
}

/* Things that cannot be made where they are wanted are left out. */
static void make_objects(void)
{
	char path[PATH_MAX], target[PATH_MAX];

	for (size_t i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "@/%s", tops[i]);
		if (strcmp(tops[i], "k") == 0)
			make_link(path, "c");
		else
			make_dir(path);
	}
	make_dir("@/a/x");
	make_dir("@/a/x/n");
	for (size_t i = 0; i < OBJECTS; i++) {
		int fd;

		random_path(path, 5);
		if (!stays_here(path))
			continue;
		switch (pick(4)) {
		case 0: (void)!mkdir(path, 0777); break;
		case 1:
			fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
			if (fd >= 0)
				close(fd);
			break;
		default: random_target(target); (void)!symlink(target, path);
		}
	}
}

static struct confine *start(void)
{
	struct confine_root given[ROOTS];
	struct confine *c;
	struct err e = {0};

	for (size_t i = 0; i < ROOTS; i++) {
		given[i].path = at(roots[i].other != NULL ? roots[i].other : roots[i].real);
		given[i].read_only = roots[i].read_only;
	}
	c = confine_new(given, ROOTS, &e);
	assert_non_null(c);
	return c;
}

/* ---- the resolver ---- */

enum where { INSIDE, ABOVE, OUTSIDE };

static bool is_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return strncmp(path, top, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static enum where where_is(const char *path)
{
	for (size_t i = 0; i < ROOTS; i++) {
		if (is_below(path, at(roots[i].real)))
			return INSIDE;
	}
	return strcmp(path, "/") == 0 || is_below(base, path) ? ABOVE : OUTSIDE;
}

/* Takes the first component off todo. */
static void take(char *todo, char *name)
{
	size_t skip = strspn(todo, "/"), len = strcspn(todo + skip, "/");

	memcpy(name, todo + skip, len);
	name[len] = '\0';
	memmove(todo, todo + skip + len, strlen(todo + skip + len) + 1);
}

/* Puts the link's target in front of what is left. */
static void put_target(const char *link, char *now, char *todo)
{
	char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof(target));

	assert_true(n > 0 && (size_t)n + strlen(todo) < PATH_MAX);
	memmove(todo + n, todo, strlen(todo) + 1);
	memcpy(todo, target, (size_t)n);
	if (target[0] == '/')
		snprintf(now, PATH_MAX, "/");
}

/*
 * Where the path leads: NULL with `now` set, or the name of an error. With `place`, the last name
 * need not exist.
 */
static const char *resolve(const char *path, bool follow, bool place, char *now)
{
	char todo[PATH_MAX], name[PATH_MAX];
	struct stat st;
	int links = 0;

	snprintf(now, PATH_MAX, "/");
	snprintf(todo, sizeof(todo), "%s", path);
	while (todo[0] != '\0') {
		bool last;

		take(todo, name);
		last = todo[0] == '\0';
		/* What "." and ".." and "name/" need to be a directory. */
		if (where_is(now) == INSIDE && (lstat(now, &st) < 0 || !S_ISDIR(st.st_mode)))
			return "NO_FILE";
		if (strcmp(name, "..") == 0) {
			char *slash = strrchr(now, '/');

			slash[slash == now ? 1 : 0] = '\0';
			continue;
		}
		if (name[0] == '\0' || strcmp(name, ".") == 0)
			continue;
		add_name(now, name);
		if (strcmp(now, at("@/k")) == 0)
			snprintf(now, PATH_MAX, "%s", at("@/c"));
		if (where_is(now) == OUTSIDE)
			return "PATH_FORBIDDEN";
		if (where_is(now) == ABOVE)
			continue;
		if (lstat(now, &st) < 0)
			return last && place ? NULL : "NO_FILE";
		if (S_ISLNK(st.st_mode) && (!last || follow)) {
			char link[PATH_MAX];

			if (++links > 40)
				return "BAD_PATH";
			snprintf(link, sizeof(link), "%s", now);
			*strrchr(now, '/') = '\0';
			put_target(link, now, todo);
		} else if (!last && !S_ISDIR(st.st_mode)) {
			return "NO_FILE";
		}
	}
	return where_is(now) == INSIDE ? NULL : "PATH_FORBIDDEN";
}

static bool is_root(const char *path)
{
	for (size_t i = 0; i < ROOTS; i++) {
		if (strcmp(path, at(roots[i].real)) == 0)
			return true;
	}
	return false;
}

static bool is_read_only(const char *path)
{
	return is_below(path, at("@/b")) || is_below(path, at("@/a/x/n"));
}

static bool holds_root(const char *path)
{
	return strcmp(path, at("@/a")) == 0 || strcmp(path, at("@/a/x")) == 0;
}

/* In the words of found(). */
static const char *should_find(const char *path, unsigned int how)
{
	static char text[2 * PATH_MAX];
	char now[PATH_MAX];
	const char *error = resolve(path, (how & CONFINE_FOLLOW) != 0, true, now);
	char *name;

	if (error != NULL)
		return error;
	if (is_read_only(now) && (how & CONFINE_WRITE) != 0)
		return "READ_ONLY";
	name = strrchr(now, '/');
	if (is_root(now)) {
		snprintf(text, sizeof(text), "@%s . root%s%s", now + strlen(base),
			is_read_only(now) ? " ro" : "", holds_root(now) ? " holds" : "");
	} else {
		snprintf(text, sizeof(text), "@%.*s %s%s%s", (int)(name - now - (long)strlen(base)),
			now + strlen(base), name + 1, is_read_only(now) ? " ro" : "",
			holds_root(now) ? " holds" : "");
	}
	return text;
}

/* In the words of opened(), for O_PATH. */
static const char *should_open(const char *path, int flags, unsigned int how)
{
	static char text[2 * PATH_MAX];
	char now[PATH_MAX];
	const char *error = resolve(path, (flags & O_NOFOLLOW) == 0, false, now);

	if (error != NULL)
		return error;
	if (is_read_only(now) && (how & CONFINE_WRITE) != 0)
		return "READ_ONLY";
	snprintf(text, sizeof(text), "@%s", now + strlen(base));
	return text;
}

/* ---- the comparison ---- */

static void check(const char *what, const char *path, unsigned int how, const char *is,
	const char *expected, uint64_t tree)
{
	if (strcmp(is, expected) != 0)
		fail_msg("tree %llu: %s %s how %u: %s, not %s", (unsigned long long)tree, what,
			path, how, is, expected);
}

/* What the kernel finds is what we find, if we find anything; a root's other name is no link. */
static void check_kernel(const char *path, int flags, const char *is)
{
	bool link = (flags & O_NOFOLLOW) != 0 && strcmp(path, at("@/k")) != 0;
	int fd = open(path, O_PATH | O_CLOEXEC | (link ? O_NOFOLLOW : 0));

	if (is[0] == '@') {
		assert_true(fd >= 0);
		assert_string_equal(place_of(fd), is);
	}
	if (fd >= 0)
		close(fd);
}

static size_t ask(struct confine *c, uint64_t tree)
{
	static char is[2 * PATH_MAX];
	char path[PATH_MAX];
	unsigned int how = pick(2) == 0 ? CONFINE_WRITE : 0;
	int flags = pick(2) == 0 ? O_PATH : O_PATH | O_NOFOLLOW;
	size_t good = 0;

	random_path(path, 4 + pick(3));
	for (int way = 0; way < 2; way++) {
		bool had = c->openat2;

		c->openat2 = had && way == 0;
		snprintf(is, sizeof(is), "%s", opened(c, path, flags, how));
		check("open", path, how | (unsigned int)flags, is, should_open(path, flags, how),
			tree);
		good += is[0] == '@';
		check_kernel(path, flags, is);
		snprintf(is, sizeof(is), "%s", found(c, path, how));
		check("find", path, how, is, should_find(path, how), tree);
		snprintf(is, sizeof(is), "%s", found(c, path, how | CONFINE_FOLLOW));
		check("follow", path, how, is, should_find(path, how | CONFINE_FOLLOW), tree);
		c->openat2 = had;
	}
	return good;
}

static void all_opinions_agree(void **state)
{
	size_t good = 0, fds = test_fds(0, NULL, 0);

	(void)state;
	for (uint64_t tree = 1; tree <= TREES; tree++) {
		struct confine *c;

		seed = tree * 0x9e3779b97f4a7c15u;
		make_base();
		make_objects();
		c = start();
		for (size_t i = 0; i < PATHS; i++)
			good += ask(c, tree);
		confine_free(c);
		remove_base();
	}
	/* Trees in which nothing is found would prove nothing. */
	print_message("%zu of %d found\n", good, TREES * PATHS * 2);
	assert_true(good > TREES * PATHS / 4);
	assert_int_equal(test_fds(0, NULL, 0), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_opinions_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
