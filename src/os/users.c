/*
 * users: the box's own passwd and group files, read by ourselves.
 *
 * The files belong to the image and to whatever ran in the box: they may be missing, huge, damaged,
 * a FIFO. A file is therefore opened without blocking, must be a regular one, is read whole up to a
 * bound, and is cut into lines and fields in that copy. The C library's fgetpwent(3) would keep a
 * static buffer that grows with the longest line it ever met. A line that does not parse is
 * skipped, as login programs do.
 */
#include "boxd/users.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/log.h"
#include "users_internal.h"

/* A hundred thousand accounts; what is beyond is not read. */
#define USERS_FILE_BYTES (8 * 1024 * 1024)

static int users_open(const char *etc, const char *name)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;
	int n = snprintf(path, sizeof(path), "%s/%s", etc, name);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -1;
	}
	return fd;
}

char *users_load(const char *etc, const char *name, size_t *len)
{
	CLEANUP_FD int fd = users_open(etc, name);
	CLEANUP_FREE char *text = NULL;
	size_t cap = 0;

	*len = 0;
	while (fd >= 0) {
		ssize_t n;

		if (*len == cap) {
			size_t want = cap == 0 ? 8192 : cap * 2;
			char *more = cap < USERS_FILE_BYTES ? realloc(text, want) : NULL;

			if (more == NULL) {
				log_warn("users", "%s is not read to its end", name);
				break;
			}
			text = more;
			cap = want;
		}
		n = read(fd, text + *len, cap - *len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		*len += (size_t)n;
	}
	return STEAL_PTR(text);
}

/* Cuts the part before `sep` off the front of *t; all of it when there is none. */
static struct users_field users_cut(struct users_text *t, char sep)
{
	struct users_field f = {.at = t->at, .len = t->len};
	const char *end = t->len > 0 ? memchr(t->at, sep, t->len) : NULL;

	if (end != NULL)
		f.len = (size_t)(end - t->at);
	t->at += f.len;
	t->len -= f.len;
	if (end != NULL) {
		t->at++;
		t->len--;
	}
	return f;
}

bool users_line(struct users_text *t, struct users_field *fields, size_t n)
{
	struct users_field whole;
	struct users_text line;
	size_t i;

	if (t->len == 0)
		return false;
	whole = users_cut(t, '\n');
	line = (struct users_text){.at = whole.at, .len = whole.len};
	for (i = 0; i < n; i++)
		fields[i] = users_cut(&line, ':');
	return true;
}

bool users_id(struct users_field f, uint32_t *out)
{
	uint64_t v = 0;
	size_t i;

	if (f.len == 0 || f.len > 10)
		return false;
	for (i = 0; i < f.len; i++) {
		if (f.at[i] < '0' || f.at[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(f.at[i] - '0');
	}
	if (v >= UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}

bool users_copy(char *out, size_t cap, struct users_field f)
{
	if (f.len == 0 || f.len >= cap || memchr(f.at, '\0', f.len) != NULL)
		return false;
	memcpy(out, f.at, f.len);
	out[f.len] = '\0';
	return true;
}

/* The first entry counts, as for getpwuid(3). */
static void users_find(const char *text, size_t len, struct user *u)
{
	struct users_text t = {.at = text, .len = len};
	struct users_field f[USERS_PASSWD_FIELDS];

	while (users_line(&t, f, USERS_PASSWD_FIELDS)) {
		uint32_t uid, gid;

		if (!users_id(f[2], &uid) || uid != u->uid || !users_id(f[3], &gid))
			continue;
		if (!users_copy(u->name, sizeof(u->name), f[0]))
			continue;
		/* A home nobody can use becomes the root, as at a login. */
		if (!users_copy(u->home, sizeof(u->home), f[5]) || u->home[0] != '/')
			memcpy(u->home, "/", 2);
		u->gid = gid;
		u->known = true;
		return;
	}
}

static bool users_is_member(struct users_field members, const char *name)
{
	struct users_text rest = {.at = members.at, .len = members.len};
	size_t len = strlen(name);

	while (rest.len > 0) {
		struct users_field f = users_cut(&rest, ',');

		if (f.len == len && memcmp(f.at, name, len) == 0)
			return true;
	}
	return false;
}

static void users_add_group(struct user *u, gid_t gid)
{
	size_t i;

	for (i = 0; i < u->ngroups; i++) {
		if (u->groups[i] == gid)
			return;
	}
	if (u->ngroups < USERS_GROUPS_MAX)
		u->groups[u->ngroups++] = gid;
}

static void users_find_groups(const char *text, size_t len, struct user *u)
{
	struct users_text t = {.at = text, .len = len};
	struct users_field f[USERS_GROUP_FIELDS];

	while (users_line(&t, f, USERS_GROUP_FIELDS)) {
		uint32_t gid;

		if (f[0].len > 0 && users_id(f[2], &gid) && users_is_member(f[3], u->name))
			users_add_group(u, gid);
	}
}

void users_by_uid(const char *etc, uid_t uid, struct user *u)
{
	CLEANUP_FREE char *passwd = NULL;
	CLEANUP_FREE char *group = NULL;
	size_t len;

	*u = (struct user){.uid = uid, .gid = (gid_t)uid};
	passwd = users_load(etc, "passwd", &len);
	if (passwd != NULL)
		users_find(passwd, len, u);
	users_add_group(u, u->gid);
	if (!u->known)
		return;
	group = users_load(etc, "group", &len);
	if (group != NULL)
		users_find_groups(group, len, u);
}
