/*
 * walk: directories and their names.
 *
 * Names are read with getdents64(2) into one block of text and sorted as integers: each name is
 * represented by the eight bytes after the part that all have in common, and only names that agree
 * in these are looked at again, by their next eight. So a million names never mean millions of
 * string comparisons, whatever the names are.
 */
#include "walk_internal.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boxd/limits.h"
#include "boxd/sysc.h"

/* So many names are sorted by insertion; the sorted blocks are merged. */
#define WALK_SORT_BLOCK 12
/* Keys are loaded with one read of eight bytes, which may begin at the last NUL. */
#define WALK_TEXT_PAD 8

/* ---- reading ---- */

static char walk_type(uint8_t d_type)
{
	switch (d_type) {
	case DT_REG: return FS_FILE;
	case DT_DIR: return FS_DIRECTORY;
	case DT_LNK: return FS_SYMLINK;
	case DT_UNKNOWN: return WALK_TYPE_UNKNOWN;
	default: return FS_OTHER;
	}
}

static bool walk_is_dots(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Makes room for n more bytes of text and one more name. */
static int walk_names_grow(struct walk_names *names, size_t n)
{
	if (names->text_cap - names->text_len < n + WALK_TEXT_PAD) {
		size_t cap = (names->text_cap + n) * 2 + 4096;
		char *text = realloc(names->text, cap);

		if (text == NULL)
			return -1;
		names->text = text;
		names->text_cap = cap;
	}
	if (names->n == names->cap) {
		size_t cap = names->cap * 2 + 128;
		struct walk_name *list = realloc(names->list, cap * sizeof(*list));

		if (list == NULL)
			return -1;
		names->list = list;
		names->cap = cap;
	}
	return 0;
}

static int walk_names_add(struct walk_names *names, const struct sysc_dirent *d)
{
	size_t len = strlen(d->name) + 1;
	char *to;

	if (names->text_len + len + 1 > limit_size(LIMIT_FS_DIRECTORY_BYTES))
		return E2BIG;
	if (walk_names_grow(names, len + 1) < 0)
		return ENOMEM;
	to = names->text + names->text_len;
	to[0] = walk_type(d->type);
	memcpy(to + 1, d->name, len);
	names->list[names->n++] = (struct walk_name){.at = names->text_len};
	names->text_len += len + 1;
	return 0;
}

int walk_names_read(struct walk_names *names, int fd, uint8_t *dents, size_t n)
{
	names->n = 0;
	names->text_len = 0;
	for (;;) {
		ssize_t got = sysc_getdents64(fd, dents, n);

		if (got <= 0)
			return got == 0 ? 0 : errno;
		for (size_t at = 0; at < (size_t)got;) {
			const struct sysc_dirent *d = (const void *)(dents + at);
			int rc = walk_is_dots(d->name) ? 0 : walk_names_add(names, d);

			if (rc != 0)
				return rc;
			at += d->reclen;
		}
	}
}

void walk_names_move(struct walk_names *from, struct walk_names *to)
{
	void *smaller;

	free(from->spare);
	*to = *from;
	to->spare = NULL;
	to->spare_cap = 0;
	*from = (struct walk_names){0};
	/* Where this fails the old memory is as good. */
	smaller = realloc(to->text, to->text_len);
	if (smaller != NULL)
		to->text = smaller;
	smaller = realloc(to->list, to->n * sizeof(*to->list));
	if (smaller != NULL)
		to->list = smaller;
}

void walk_names_fini(struct walk_names *names)
{
	free(names->text);
	free(names->list);
	free(names->spare);
	*names = (struct walk_names){0};
}

/* ---- sorting ---- */

/* Eight bytes of a name as a number that compares as they do; what is behind its end counts as 0.
 */
static uint64_t walk_key(const char *p)
{
	uint64_t v, zero;

	memcpy(&v, p, sizeof(v));
	v = le64toh(v);
	zero = (v - 0x0101010101010101u) & ~v & 0x8080808080808080u;
	if (zero != 0) /* its lowest bit is in the first byte that is 0 */
		v &= ((zero & -zero) >> 7) - 1;
	return __builtin_bswap64(v);
}

/* How many bytes after the first `skip` all these names have in common. */
static size_t walk_common(const char *text, const struct walk_name *list, size_t n, size_t skip)
{
	const char *first = text + list[0].at + 1 + skip;
	size_t common = strlen(first);

	for (size_t i = 1; i < n && common > 0; i++) {
		const char *other = text + list[i].at + 1 + skip;
		size_t same = 0;

		while (same < common && first[same] == other[same])
			same++;
		common = same;
	}
	return common;
}

static void walk_sort_block(struct walk_name *list, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct walk_name x = list[i];
		size_t at = i;

		for (; at > 0 && x.key < list[at - 1].key; at--)
			list[at] = list[at - 1];
		list[at] = x;
	}
}

/* Two sorted runs, [0, mid) and [mid, n), into one. */
static void walk_merge(
	const struct walk_name *from, size_t mid, size_t n, struct walk_name *restrict to)
{
	const struct walk_name *a = from, *b = from + mid;
	const struct walk_name *a_end = b, *b_end = from + n;

	if (mid < n && a_end[-1].key > b->key) {
		while (a < a_end && b < b_end) {
			/* Which one it is cannot be predicted, so this does not branch. */
			bool second = b->key < a->key;

			*to++ = second ? *b : *a;
			b += second;
			a += !second;
		}
	}
	memcpy(to, a, (size_t)(a_end - a) * sizeof(*to));
	memcpy(to + (a_end - a), b, (size_t)(b_end - b) * sizeof(*to));
}

/* By key; spare has room for n. */
static void walk_sort_keys(struct walk_name *list, size_t n, struct walk_name *spare)
{
	struct walk_name *from = list, *to = spare;

	for (size_t i = 0; i < n; i += WALK_SORT_BLOCK)
		walk_sort_block(list + i, n - i < WALK_SORT_BLOCK ? n - i : WALK_SORT_BLOCK);
	for (size_t width = WALK_SORT_BLOCK; width < n; width *= 2) {
		struct walk_name *swap = from;

		for (size_t i = 0; i < n; i += 2 * width) {
			size_t both = n - i < 2 * width ? n - i : 2 * width;

			walk_merge(from + i, both < width ? both : width, both, to + i);
		}
		from = to;
		to = swap;
	}
	if (from != list)
		memcpy(list, from, n * sizeof(*list));
}

/*
 * Names that agree in their first `skip` bytes. Every level of recursion is eight bytes further
 * into names that are all still going on, so names of NAME_MAX bytes mean some thirty levels.
 */
static void walk_sort(
	const char *text, struct walk_name *list, size_t n, struct walk_name *spare, size_t skip)
{
	skip += walk_common(text, list, n, skip);
	for (size_t i = 0; i < n; i++)
		list[i].key = walk_key(text + list[i].at + 1 + skip);
	walk_sort_keys(list, n, spare);
	for (size_t i = 0, run; i < n; i += run) {
		run = 1;
		while (i + run < n && list[i + run].key == list[i].key)
			run++;
		/* With a 0 as its last byte the key holds all there is of the name. */
		if (run > 1 && (list[i].key & 0xff) != 0)
			walk_sort(text, list + i, run, spare, skip + sizeof(list->key));
	}
}

int walk_names_sort(struct walk_names *names)
{
	if (names->n < 2)
		return 0;
	memset(names->text + names->text_len, 0, WALK_TEXT_PAD);
	if (names->spare_cap < names->n) {
		free(names->spare);
		names->spare_cap = 0;
		names->spare = malloc(names->cap * sizeof(*names->spare));
		if (names->spare == NULL)
			return -1;
		names->spare_cap = names->cap;
	}
	walk_sort(names->text, names->list, names->n, names->spare, 0);
	return 0;
}

/* ---- directories ---- */

struct walk_dir *walk_dir_new(
	struct walk_dir *parent, int fd, const char *path, size_t path_len, const char *name)
{
	size_t name_len = name == NULL ? 0 : strlen(name);
	/* Only the path "/" ends with a slash. */
	size_t slash = name != NULL && path[path_len - 1] != '/' ? 1 : 0;
	struct walk_dir *d = malloc(sizeof(*d) + path_len + slash + name_len + 1);

	if (d == NULL)
		return NULL;
	*d = (struct walk_dir){.parent = parent,
		.fd = fd,
		.depth = parent == NULL ? 0 : parent->depth + 1,
		.path_len = path_len + slash + name_len};
	atomic_init(&d->users, 1);
	atomic_init(&d->refs, 1);
	memcpy(d->path, path, path_len);
	memcpy(d->path + path_len, "/", slash);
	if (name_len > 0)
		memcpy(d->path + path_len + slash, name, name_len);
	d->path[d->path_len] = '\0';
	if (parent != NULL)
		atomic_fetch_add(&parent->refs, 1);
	return d;
}

void walk_dir_unuse(const struct walk_visitor *v, struct walk_dir *d)
{
	if (atomic_fetch_sub(&d->users, 1) > 1)
		return;
	close(d->fd);
	walk_names_fini(&d->names);
	do {
		struct walk_dir *parent = d->parent;

		if (atomic_fetch_sub(&d->refs, 1) > 1)
			return;
		if (d->entered && v->leave != NULL)
			v->leave(v->arg, d->context);
		free(d);
		d = parent;
	} while (d != NULL);
}
