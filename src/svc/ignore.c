/*
 * ignore: what .gitignore files leave out.
 *
 * Each directory that has such files gets a node that points to its parent's, so a walk costs one
 * parse per file, and asking goes from the innermost node outwards. A line becomes one of three
 * things: a plain name, an ending ("*.o"), both compared at once because they are nearly all there
 * is in practice, or a glob. The dialect of glob.h has more to it than gitignore(5), so a pattern
 * is translated: what is special only there is escaped.
 */
#include "boxd/ignore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/buf.h"
#include "boxd/cleanup.h"
#include "boxd/glob.h"
#include "boxd/limits.h"

#include "ignore_internal.h"

/* All files of a directory and those above it, together. */
#define IGNORE_BYTES_MAX ((size_t)1 << 20)

/* In the order in which they count: a pattern of an earlier kind in any directory decides. */
enum ignore_kind { IGNORE_FILE, IGNORE_GIT, IGNORE_INFO, IGNORE_KINDS };

enum ignore_shape { IGNORE_NAME, IGNORE_ENDING, IGNORE_GLOB };

struct ignore_pattern {
	enum ignore_shape shape;
	bool negate, directory;
	bool path;       /* of the path below its directory, not of the name */
	struct str text; /* a name or an ending, in the list's text */
	struct glob *glob;
};

struct ignore_list {
	char *text; /* the file */
	struct ignore_pattern *patterns;
	size_t n, cap;
};

struct ignore {
	atomic_size_t refs;
	struct ignore *parent;
	size_t skip;  /* how much of a path below the root leads to this directory */
	size_t bytes; /* of the files here and above */
	struct ignore_list lists[IGNORE_KINDS];
};

/* ---- files ---- */

/* The content of a regular file of at most max bytes, or NULL: then there is nothing to heed. */
static char *ignore_read(int dir, const char *name, size_t max, size_t *n)
{
	CLEANUP_FD int fd = openat(
		dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	char *text;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
		(uintmax_t)st.st_size > max)
		return NULL;
	text = malloc((size_t)st.st_size + 1);
	if (text == NULL)
		return NULL;
	*n = 0;
	while (*n < (size_t)st.st_size) {
		ssize_t got = read(fd, text + *n, (size_t)st.st_size - *n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		*n += (size_t)got;
	}
	return text;
}

/* Step by step: no link leads out of the tree. */
static char *ignore_read_info(int dir, size_t max, size_t *n)
{
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	CLEANUP_FD int git = openat(dir, ".git", flags);
	CLEANUP_FD int info = git < 0 ? -1 : openat(git, "info", flags);

	return info < 0 ? NULL : ignore_read(info, "exclude", max, n);
}

/* ---- lines ---- */

static int ignore_grow(struct ignore_list *list)
{
	size_t cap = list->cap == 0 ? 16 : list->cap * 2;
	struct ignore_pattern *patterns;

	if (list->n < list->cap)
		return 0;
	patterns = realloc(list->patterns, cap * sizeof(*patterns));
	if (patterns == NULL)
		return -1;
	list->patterns = patterns;
	list->cap = cap;
	return 0;
}

static bool ignore_has(struct str s, const char *any_of)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\0' || strchr(any_of, s.p[i]) != NULL)
			return true;
	}
	return false;
}

/* The glob for it. False: it can match nothing, or memory is out. */
static bool ignore_compile(struct ignore_pattern *p)
{
	struct buf glob = {0};
	const char *why;

	if (ignore_translate(p->text, p->path, &glob) == 0)
		p->glob = glob_new((struct str){(const char *)buf_data(&glob), buf_len(&glob)},
			limit_size(LIMIT_FS_GLOB_STATES), &why);
	buf_fini(&glob);
	return p->glob != NULL;
}

/* What a line means without the characters around its pattern. False: nothing. */
static bool ignore_line(struct str line, struct ignore_pattern *p)
{
	struct str rest;

	*p = (struct ignore_pattern){0};
	line = ignore_trim(line);
	if (line.n == 0 || line.p[0] == '#')
		return false;
	if (line.p[0] == '!') {
		p->negate = true;
		line = (struct str){line.p + 1, line.n - 1};
	}
	if (line.n > 0 && line.p[line.n - 1] == '/') {
		p->directory = true;
		line.n--;
	}
	p->path = line.n > 0 && memchr(line.p, '/', line.n) != NULL;
	if (line.n > 0 && line.p[0] == '/')
		line = (struct str){line.p + 1, line.n - 1};
	if (line.n == 0)
		return false;
	p->text = line;
	rest = (struct str){line.p + 1, line.n - 1};
	if (!ignore_has(line, "*?[\\")) {
		p->shape = IGNORE_NAME;
	} else if (!p->path && line.p[0] == '*' && !ignore_has(rest, "*?[\\")) {
		p->shape = IGNORE_ENDING;
		p->text = rest;
	} else {
		p->shape = IGNORE_GLOB;
		return ignore_compile(p);
	}
	return true;
}

/* Takes text over. -1: out of memory, with what was read so far. */
static int ignore_parse(struct ignore_list *list, char *text, size_t n)
{
	const char *p = text, *end = text + n;

	list->text = text;
	if (n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
		p += 3;
	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		const char *stop = lf == NULL ? end : lf;
		struct str line = {p, (size_t)(stop - p)};

		p = stop + 1;
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (ignore_grow(list) < 0)
			return -1;
		if (ignore_line(line, &list->patterns[list->n]))
			list->n++;
	}
	return 0;
}

/* ---- the sets ---- */

static void ignore_free(struct ignore *ig)
{
	for (int k = 0; k < IGNORE_KINDS; k++) {
		for (size_t i = 0; i < ig->lists[k].n; i++)
			glob_free(ig->lists[k].patterns[i].glob);
		free(ig->lists[k].patterns);
		free(ig->lists[k].text);
	}
	free(ig);
}

static struct ignore *ignore_ref(struct ignore *ig)
{
	if (ig != NULL)
		atomic_fetch_add_explicit(&ig->refs, 1, memory_order_relaxed);
	return ig;
}

void ignore_leave(struct ignore *ig)
{
	while (ig != NULL && atomic_fetch_sub_explicit(&ig->refs, 1, memory_order_acq_rel) == 1) {
		struct ignore *parent = ig->parent;

		ignore_free(ig);
		ig = parent;
	}
}

static struct ignore *ignore_new(struct ignore *parent, struct str below_root)
{
	struct ignore *ig = calloc(1, sizeof(*ig));

	if (ig == NULL)
		return NULL;
	atomic_init(&ig->refs, 1);
	ig->parent = ignore_ref(parent);
	ig->skip = below_root.n == 0 ? 0 : below_root.n + 1;
	ig->bytes = parent == NULL ? 0 : parent->bytes;
	return ig;
}

struct ignore *ignore_enter(struct ignore *parent, int dir, struct str below_root)
{
	static const char *const names[] = {[IGNORE_FILE] = ".ignore", [IGNORE_GIT] = ".gitignore"};
	struct ignore *ig = NULL;
	size_t room = IGNORE_BYTES_MAX - (parent == NULL ? 0 : parent->bytes);

	for (int k = 0; k < IGNORE_KINDS; k++) {
		char *text = NULL;
		size_t n = 0;

		if (k != IGNORE_INFO)
			text = ignore_read(dir, names[k], room, &n);
		else if (below_root.n == 0)
			text = ignore_read_info(dir, room, &n);
		if (text == NULL)
			continue;
		if (ig == NULL)
			ig = ignore_new(parent, below_root);
		if (ig == NULL) {
			free(text);
			break;
		}
		ig->bytes += n;
		room -= n;
		if (ignore_parse(&ig->lists[k], text, n) < 0)
			break;
	}
	return ig != NULL ? ig : ignore_ref(parent);
}

/* ---- asking ---- */

static bool ignore_pattern_match(
	const struct ignore_pattern *p, struct str path, struct str name, bool directory)
{
	struct str subject = p->path ? path : name;

	if (p->directory && !directory)
		return false;
	switch (p->shape) {
	case IGNORE_NAME: return str_eq(subject, p->text);
	case IGNORE_ENDING:
		return subject.n >= p->text.n &&
		       memcmp(subject.p + subject.n - p->text.n, p->text.p, p->text.n) == 0;
	case IGNORE_GLOB: break;
	}
	return glob_match(p->glob, subject);
}

bool ignore_match(const struct ignore *ig, struct str below_root, bool directory)
{
	const char *slash = below_root.n == 0 ? NULL : memrchr(below_root.p, '/', below_root.n);
	size_t at = slash == NULL ? 0 : (size_t)(slash - below_root.p) + 1;
	struct str name = {below_root.p + at, below_root.n - at};

	if (str_eq(name, STR(".git")))
		return true;
	for (int k = 0; k < IGNORE_KINDS; k++) {
		for (const struct ignore *level = ig; level != NULL; level = level->parent) {
			const struct ignore_list *list = &level->lists[k];
			struct str path = {below_root.p + level->skip, below_root.n - level->skip};

			for (size_t i = list->n; i > 0; i--) {
				const struct ignore_pattern *p = &list->patterns[i - 1];

				if (ignore_pattern_match(p, path, name, directory))
					return !p->negate;
			}
		}
	}
	return false;
}
