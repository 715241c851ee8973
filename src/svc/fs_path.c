/*
 * fs_path: from what a client writes to an absolute, clean path.
 *
 * The cleaning is lexical and knows nothing of the disk: "a/../b" is "b" even where a is a link.
 * It runs over the text once, in place; ".." takes back what was written, so no input makes it do
 * a byte's work more than twice. The environment is only read here, so any thread may call it.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/cleanup.h"
#include "boxd/environ.h"
#include "fs_internal.h"

void fs_path_clean(char *path)
{
	size_t len = 0; /* of the cleaned part: empty, or "/a/b" */
	const char *p = path;

	while (*p != '\0') {
		size_t n;

		while (*p == '/')
			p++;
		n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			while (len > 0 && path[--len] != '/')
				;
		} else if (n > 0 && !(n == 1 && p[0] == '.')) {
			path[len++] = '/';
			memmove(path + len, p, n);
			len += n;
		}
		p += n;
	}
	if (len == 0)
		path[len++] = '/';
	path[len] = '\0';
}

char *fs_path(const struct fs *fs, const char *raw, struct err *e)
{
	CLEANUP_FREE char *expanded = NULL;
	char *path;

	if (strlen(raw) >= PATH_MAX) {
		err_set(e, &ERR_BAD_PATH, "path is longer than %d bytes", PATH_MAX - 1);
		return NULL;
	}
	expanded = environ_expand_path(fs->env, raw, e);
	if (expanded == NULL)
		return NULL;
	size_t len = strlen(expanded);
	size_t base = expanded[0] == '/' ? 0 : strlen(fs->workspace);
	path = malloc(base + len + 2); /* a slash between them, and the NUL */
	if (path == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	memcpy(path, fs->workspace, base);
	path[base] = '/';
	memcpy(path + base + 1, expanded, len + 1);
	fs_path_clean(path);
	if (strlen(path) >= PATH_MAX) {
		free(path);
		err_set(e, &ERR_BAD_PATH, "path is longer than %d bytes", PATH_MAX - 1);
		return NULL;
	}
	return path;
}
