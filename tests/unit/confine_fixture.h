/*
 * A tree with roots and an outside, for the tests of confine. "@" at the beginning of a path or of
 * a link's target stands for the directory that holds them all.
 */
#ifndef BOXD_TEST_CONFINE_FIXTURE_H
#define BOXD_TEST_CONFINE_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/confine.h"

static char base[PATH_MAX / 4];

/* One of a few buffers, used in turn. */
static inline const char *at(const char *path)
{
	static char buf[8][2 * PATH_MAX];
	static unsigned int next;
	char *out = buf[next++ % 8];

	if (path[0] == '@')
		snprintf(out, sizeof(buf[0]), "%s%s", base, path + 1);
	else
		snprintf(out, sizeof(buf[0]), "%s", path);
	return out;
}

static inline void make_dir(const char *path)
{
	assert_int_equal(mkdir(at(path), 0777), 0);
}

static inline void make_file(const char *path, const char *text)
{
	FILE *f = fopen(at(path), "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static inline void make_link(const char *path, const char *target)
{
	assert_int_equal(symlink(at(target), at(path)), 0);
}

/* Removes a directory with everything in it; it may be deep, and closed to its owner. */
static inline void remove_tree(int parent, const char *name)
{
	DIR *d;
	const struct dirent *entry;
	int fd;

	fchmodat(parent, name, 0700, 0);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	assert_true(fd >= 0);
	d = fdopendir(fd);
	assert_non_null(d);
	while ((entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) < 0)
			remove_tree(fd, entry->d_name);
	}
	closedir(d);
	assert_int_equal(unlinkat(parent, name, AT_REMOVEDIR), 0);
}

static inline void make_base(void)
{
	char name[] = "confine_XXXXXX";
	char real[PATH_MAX];

	assert_non_null(mkdtemp(name));
	assert_int_equal(chmod(name, 0755), 0);
	assert_non_null(realpath(name, real));
	assert_true(strlen(real) < sizeof(base));
	memcpy(base, real, strlen(real) + 1);
}

static inline void remove_base(void)
{
	remove_tree(AT_FDCWD, base);
}

/* Where a descriptor is, "@" for the base. */
static inline const char *place_of(int fd)
{
	static char text[2][PATH_MAX + 64];
	static unsigned int next;
	char link[64], *out = text[next++ % 2];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, PATH_MAX);
	assert_true(n > 0);
	out[n] = '\0';
	if (strncmp(out, base, strlen(base)) == 0) {
		out[0] = '@';
		memmove(out + 1, out + strlen(base), strlen(out + strlen(base)) + 1);
	}
	return out;
}

/* The error's name in the table of kinds, as in ERR_NO_FILE. */
static inline const char *kind_name(const struct err_kind *kind)
{
#define KIND_NAME(id, status, code) \
	if (kind == &ERR_##id)      \
		return #id;
	ERR_KINDS(KIND_NAME)
#undef KIND_NAME
	return "none";
}

/*
 * What came of confine_find(): "@/dir name" and then "root", "ro", "holds" where it is so; or the
 * kind of the error.
 */
static inline const char *found(const struct confine *c, const char *path, unsigned int how)
{
	static char text[PATH_MAX + 512];
	struct confine_place p;
	struct stat st;
	struct err e = {0};

	if (confine_find(c, at(path), how, &p, &e) < 0) {
		assert_int_equal(p.dir, -1);
		return kind_name(e.kind);
	}
	assert_null(e.kind);
	assert_int_equal(fcntl(p.dir, F_GETFD), FD_CLOEXEC);
	assert_true((fcntl(p.dir, F_GETFL) & O_PATH) != 0);
	assert_true(fstat(p.dir, &st) == 0 && S_ISDIR(st.st_mode));
	snprintf(text, sizeof(text), "%s %s%s%s%s", place_of(p.dir), p.name,
		p.is_root ? " root" : "", p.writable ? "" : " ro", p.holds_root ? " holds" : "");
	confine_place_fini(&p);
	assert_int_equal(p.dir, -1);
	return text;
}

/* What came of confine_open(): "@/path", or the kind of the error. */
static inline const char *opened(
	const struct confine *c, const char *path, int flags, unsigned int how)
{
	static char text[PATH_MAX + 64];
	struct err e = {0};
	int fd = confine_open(c, at(path), flags, how, &e);

	if (fd < 0)
		return kind_name(e.kind);
	assert_null(e.kind);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_PATH, flags & O_PATH);
	if ((flags & O_PATH) == 0)
		assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	snprintf(text, sizeof(text), "%s", place_of(fd));
	close(fd);
	return text;
}

#endif
