/*
 * users_names: all users and groups of the box at once, for answers that name many owners.
 *
 * Each file is read once and kept as it is; an entry points at its name in there, ended by a NUL in
 * place of the colon. Two sorted arrays of entries answer from both sides. Entries count under the
 * same conditions as in users_by_uid(), so that a listing and a command agree on who is who.
 */
#include "boxd/users.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "users_internal.h"

/* Entries of one file; what is beyond has no name. The file comes from the box. */
#define USERS_ENTRIES_MAX 100000

struct users_entry {
	const char *name;
	uint32_t id;
	uint32_t line; /* entries before it in the file */
};

struct users_table {
	char *text;
	size_t n;
	struct users_entry *by_id, *by_name; /* the first line first among equals */
};

struct users_names {
	struct users_table users, groups;
};

static int users_compare_lines(const struct users_entry *a, const struct users_entry *b)
{
	return (a->line > b->line) - (a->line < b->line);
}

static int users_compare_ids(const void *a, const void *b)
{
	const struct users_entry *x = a, *y = b;
	int order = (x->id > y->id) - (x->id < y->id);

	return order != 0 ? order : users_compare_lines(x, y);
}

static int users_compare_names(const void *a, const void *b)
{
	const struct users_entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : users_compare_lines(x, y);
}

/* A line with `n` fields that is an entry. Both files have name and id in the same place. */
static bool users_entry_of(const struct users_field *f, size_t n, struct users_entry *out)
{
	char name[sizeof(((struct user *)NULL)->name)];
	uint32_t gid;

	if (!users_id(f[2], &out->id) || !users_copy(name, sizeof(name), f[0]))
		return false;
	out->name = f[0].at;
	return n != USERS_PASSWD_FIELDS || users_id(f[3], &gid);
}

/* Fills the table from its text of len bytes. -1: out of memory. */
static int users_table_index(struct users_table *t, size_t len, size_t fields)
{
	struct users_text rest = {.at = t->text, .len = len};
	struct users_field f[USERS_PASSWD_FIELDS];
	size_t lines = 1;

	for (size_t i = 0; i < len && lines < USERS_ENTRIES_MAX; i++)
		lines += t->text[i] == '\n' ? 1 : 0;
	t->by_id = calloc(lines, sizeof(*t->by_id));
	t->by_name = calloc(lines, sizeof(*t->by_name));
	if (t->by_id == NULL || t->by_name == NULL)
		return -1;
	while (t->n < lines && users_line(&rest, f, fields)) {
		struct users_entry *e = &t->by_id[t->n];

		if (!users_entry_of(f, fields, e))
			continue;
		/* An id was found behind it, so the name is followed by a colon. */
		t->text[(size_t)(f[0].at - t->text) + f[0].len] = '\0';
		e->line = (uint32_t)t->n++;
	}
	if (t->n > 0)
		memcpy(t->by_name, t->by_id, t->n * sizeof(*t->by_id));
	qsort(t->by_id, t->n, sizeof(*t->by_id), users_compare_ids);
	qsort(t->by_name, t->n, sizeof(*t->by_name), users_compare_names);
	return 0;
}

static int users_table_read(struct users_table *t, const char *etc, const char *file, size_t fields)
{
	size_t len;

	t->text = users_load(etc, file, &len);
	return t->text != NULL ? users_table_index(t, len, fields) : 0;
}

static void users_table_fini(struct users_table *t)
{
	free(t->text);
	free(t->by_id);
	free(t->by_name);
}

struct users_names *users_names_new(const char *etc)
{
	struct users_names *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	if (users_table_read(&n->users, etc, "passwd", USERS_PASSWD_FIELDS) < 0 ||
		users_table_read(&n->groups, etc, "group", USERS_GROUP_FIELDS) < 0) {
		users_names_free(n);
		return NULL;
	}
	return n;
}

void users_names_free(struct users_names *n)
{
	if (n == NULL)
		return;
	users_table_fini(&n->users);
	users_table_fini(&n->groups);
	free(n);
}

/* The first of the sorted entries that is not before the key. */
static const struct users_entry *users_table_find(const struct users_entry *sorted, size_t n,
	const struct users_entry *key, int (*compare)(const void *, const void *))
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare(&sorted[mid], key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n ? &sorted[low] : NULL;
}

static const char *users_table_name(const struct users_table *t, uint32_t id)
{
	const struct users_entry key = {.name = "", .id = id, .line = 0};
	const struct users_entry *e = users_table_find(t->by_id, t->n, &key, users_compare_ids);

	return e != NULL && e->id == id ? e->name : NULL;
}

static bool users_table_id(const struct users_table *t, const char *name, uint32_t *id)
{
	const struct users_entry key = {.name = name, .id = 0, .line = 0};
	const struct users_entry *e = users_table_find(t->by_name, t->n, &key, users_compare_names);

	if (e != NULL && strcmp(e->name, name) == 0) {
		*id = e->id;
		return true;
	}
	return users_id((struct users_field){.at = name, .len = strlen(name)}, id);
}

const char *users_name_of_uid(const struct users_names *n, uid_t uid)
{
	return users_table_name(&n->users, uid);
}

const char *users_name_of_gid(const struct users_names *n, gid_t gid)
{
	return users_table_name(&n->groups, gid);
}

bool users_uid_of_name(const struct users_names *n, const char *name, uid_t *uid)
{
	return users_table_id(&n->users, name, uid);
}

bool users_gid_of_name(const struct users_names *n, const char *name, gid_t *gid)
{
	return users_table_id(&n->groups, name, gid);
}
