/* What requests about files say: paths, switches, the user, conditions, permissions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/limits.h"
#include "boxd/query.h"
#include "files_internal.h"

/* ---- paths ---- */

static int files_no_memory(struct err *e)
{
	return err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

int files_paths_add(struct files_paths *list, const struct fs *fs, const char *raw, struct err *e)
{
	size_t n = list->n;

	/* Room for 2^k paths and the NULL: grows when n is a power of two. */
	if ((n & (n - 1)) == 0) {
		size_t cap = n == 0 ? 2 : n * 2 + 1;
		char **a = realloc(list->raw, cap * sizeof(*a));
		char **b = a != NULL ? realloc(list->path, cap * sizeof(*b)) : NULL;

		list->raw = a != NULL ? a : list->raw;
		list->path = b != NULL ? b : list->path;
		if (b == NULL)
			return files_no_memory(e);
	}
	list->raw[n] = strdup(raw);
	list->raw[n + 1] = NULL;
	if (list->raw[n] == NULL)
		return files_no_memory(e);
	list->path[n] = fs_path(fs, raw, e);
	if (list->path[n] == NULL) {
		free(list->raw[n]);
		list->raw[n] = NULL;
		return -1;
	}
	list->path[n + 1] = NULL;
	list->n = n + 1;
	return 0;
}

void files_paths_fini(struct files_paths *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->raw[i]);
		free(list->path[i]);
	}
	free(list->raw);
	free(list->path);
	*list = (struct files_paths){0};
}

static int files_query_problem(enum query_result res, const char *key, struct err *e)
{
	if (res == QUERY_NO_MEM)
		return files_no_memory(e);
	return err_set(e, &ERR_BAD_QUERY, "%s holds a NUL or a broken percent escape", key);
}

int files_query_paths(struct req *r, const struct fs *fs, struct files_paths *out, struct err *e)
{
	struct str rest = req_query(r);
	struct buf value = {0};
	enum query_result res;
	int failed = 0;

	while (failed == 0 && (res = query_next(&rest, "path", &value)) != QUERY_ABSENT) {
		if (res != QUERY_FOUND)
			failed = files_query_problem(res, "path", e);
		else if (out->n >= limit_size(LIMIT_FS_BATCH))
			failed = err_set(e, &ERR_BAD_QUERY, "more than %zu paths in one request",
				limit_size(LIMIT_FS_BATCH));
		else if (buf_add(&value, "", 1) < 0)
			failed = files_no_memory(e);
		else
			failed = files_paths_add(out, fs, (const char *)buf_data(&value), e);
	}
	buf_fini(&value);
	return failed;
}

int files_query_path(struct req *r, const struct fs *fs, struct files_paths *out, struct err *e)
{
	char *raw = NULL;
	int res = files_query_text(r, "path", &raw, e);

	if (res == 0)
		return err_set(e, &ERR_MISSING_QUERY, "the query parameter path is required");
	if (res > 0)
		res = files_paths_add(out, fs, raw, e);
	free(raw);
	return res;
}

/* ---- scalars ---- */

int files_query_text(struct req *r, const char *key, char **out, struct err *e)
{
	struct buf value = {0};
	enum query_result res = query_get(req_query(r), key, 0, &value);
	int found = 0;

	*out = NULL;
	if (res == QUERY_FOUND && buf_len(&value) > 0) {
		*out = str_dup((struct str){(const char *)buf_data(&value), buf_len(&value)});
		found = *out != NULL ? 1 : files_no_memory(e);
	} else if (res != QUERY_FOUND && res != QUERY_ABSENT) {
		found = files_query_problem(res, key, e);
	}
	buf_fini(&value);
	return found;
}

int files_query_bool(struct req *r, const char *key, bool *out, struct err *e)
{
	char *text;
	int res = files_query_text(r, key, &text, e);

	if (res > 0) {
		res = 0;
		if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
			*out = true;
		else if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
			*out = false;
		else
			res = err_set(e, &ERR_BAD_QUERY, "%s must be true or false", key);
	}
	free(text);
	return res;
}

int files_query_u64(struct req *r, const char *key, uint64_t max, uint64_t *out,
	const struct err_kind *kind, struct err *e)
{
	char *text;
	int res = files_query_text(r, key, &text, e);
	uint64_t v;

	if (res > 0) {
		res = 0;
		if (!str_u64(str_of(text), &v) || v > max)
			res = err_set(e, kind, "%s must be a number from 0 to %llu", key,
				(unsigned long long)max);
		else
			*out = v;
	}
	free(text);
	return res;
}

int files_query_user(struct req *r, struct files_user *out, struct err *e)
{
	const uint64_t none = UINT64_MAX;
	uint64_t uid = none, gid = none;

	if (files_query_u64(r, "uid", UINT32_MAX - 1, &uid, &ERR_BAD_QUERY, e) < 0 ||
		files_query_u64(r, "gid", UINT32_MAX - 1, &gid, &ERR_BAD_QUERY, e) < 0)
		return -1;
	if (gid != none && uid == none)
		return err_set(e, &ERR_BAD_QUERY, "gid needs uid");
	out->set = uid != none;
	out->uid = (uid_t)(uid != none ? uid : 0);
	out->gid = (gid_t)gid; /* none is -1 there, too */
	return 0;
}

/* ---- conditions ---- */

int files_cond_take(struct req *r, struct files_cond *out, struct err *e)
{
	static const char *const names[] = {"if-match", "if-none-match", "if-modified-since",
		"if-unmodified-since", "if-range"};
	struct str *const to[] = {&out->cond.if_match, &out->cond.if_none_match,
		&out->cond.if_modified_since, &out->cond.if_unmodified_since, &out->cond.if_range};
	size_t total = 0;
	char *p;

	*out = (struct files_cond){0};
	for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
		*to[i] = req_field(r, names[i]);
		total += to[i]->n;
	}
	if (total == 0)
		return 0;
	out->text = p = malloc(total);
	if (p == NULL)
		return files_no_memory(e);
	for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
		if (to[i]->p == NULL)
			continue;
		memcpy(p, to[i]->p, to[i]->n);
		to[i]->p = p;
		p += to[i]->n;
	}
	return 0;
}

void files_cond_fini(struct files_cond *c)
{
	free(c->text);
	*c = (struct files_cond){0};
}

/* ---- permissions ---- */

bool files_octal(const char *s, int32_t *mode)
{
	int32_t v = 0;
	size_t n = strlen(s);

	if (n == 0 || n > 4)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '7')
			return false;
		v = v * 8 + (s[i] - '0');
	}
	*mode = v;
	return true;
}

/* 755 means 0755 (contract 1.6); 0 leaves the mode alone. */
static int files_perm_mode(int64_t decimal, struct fs_perm *out, struct err *e)
{
	char digits[24];
	int32_t mode = 0;

	if (decimal == 0)
		return 0;
	snprintf(digits, sizeof(digits), "%lld", (long long)decimal);
	if (!files_octal(digits, &mode))
		return err_set(e, &ERR_BAD_BODY, "mode must be octal digits, such as 644 or 4755");
	out->mode = mode;
	return 0;
}

int files_perm_parse(const struct json *v, struct fs_perm *out, struct err *e)
{
	const char *octal = NULL;
	int64_t mode = 0;

	*out = (struct fs_perm){.mode = -1};
	if (json_is_null(v))
		return 0;
	if (!json_is_object(v))
		return err_set(e, &ERR_BAD_BODY, "permissions must be an object");
	if (json_get_str(v, "owner", &out->owner, e) < 0 ||
		json_get_str(v, "group", &out->group, e) < 0 ||
		json_get_int(v, "mode", INT32_MIN, INT32_MAX, &mode, e) < 0 ||
		json_get_str(v, "mode_octal", &octal, e) < 0 || files_perm_mode(mode, out, e) < 0)
		return -1;
	if (octal != NULL && !files_octal(octal, &out->mode))
		return err_set(e, &ERR_BAD_BODY, "mode_octal must be one to four octal digits");
	/* As the reference has it, an empty name is none. */
	if (out->owner != NULL && out->owner[0] == '\0')
		out->owner = NULL;
	if (out->group != NULL && out->group[0] == '\0')
		out->group = NULL;
	return 0;
}
