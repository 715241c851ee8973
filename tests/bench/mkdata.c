/*
 * mkdata: makes what the benchmarks of files work on, the same bytes every time.
 *
 *   blob FILE BYTES        bytes that look random: to be downloaded and uploaded
 *   text FILE BYTES        source-like text: to be changed
 *   source DIR FILES       a tree of source-like files, 12.5 KB on average: to be searched
 *   tree DIR FILES DIRS    a tree of files with a size and no blocks: to be listed
 *
 * Every file has its own seed, so its content does not depend on what else is made.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure.h"
#include "text.h"

#define MKDATA_BLOCK    (1024 * 1024)
#define MKDATA_PER_TOP  100 /* directories of the tree below one top directory, itself included */
#define MKDATA_SUBDIRS  40  /* of the source tree, below each of its top directories */
#define MKDATA_PER_LEAF 50  /* source files in one directory */
#define MKDATA_SUFFIXES 50000

/* A file being written through one block. */
struct mkdata_file {
	int fd;
	size_t n;
	char block[MKDATA_BLOCK];
};

static struct mkdata_file mkdata_out;

static void mkdata_open(struct mkdata_file *f, int dir, const char *name)
{
	f->n = 0;
	f->fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (f->fd < 0)
		die(name);
}

static void mkdata_flush(struct mkdata_file *f)
{
	for (size_t done = 0; done < f->n;) {
		ssize_t w = write(f->fd, f->block + done, f->n - done);

		if (w < 0 && errno != EINTR)
			die("write");
		if (w > 0)
			done += (size_t)w;
	}
	f->n = 0;
}

static void mkdata_close(struct mkdata_file *f)
{
	mkdata_flush(f);
	if (close(f->fd) < 0)
		die("close");
}

/* Lines until the file has at least size bytes. */
static void mkdata_lines(struct mkdata_file *f, struct text *t, uint64_t size)
{
	for (uint64_t done = 0; done < size;) {
		size_t n;

		if (sizeof(f->block) - f->n < TEXT_LINE_MAX)
			mkdata_flush(f);
		n = text_line(t, f->block + f->n);
		f->n += n;
		done += n;
	}
}

static int mkdata_folder(int parent, const char *name)
{
	int dir;

	if (mkdirat(parent, name, 0755) < 0)
		die(name);
	dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		die(name);
	return dir;
}

static void mkdata_blob(const char *path, uint64_t size)
{
	struct text t;

	text_init(&t, 7);
	mkdata_open(&mkdata_out, AT_FDCWD, path);
	for (uint64_t done = 0; done < size; done += sizeof(uint64_t)) {
		uint64_t r = text_random(&t);
		size_t n = size - done < sizeof(r) ? (size_t)(size - done) : sizeof(r);

		if (sizeof(mkdata_out.block) - mkdata_out.n < sizeof(r))
			mkdata_flush(&mkdata_out);
		memcpy(mkdata_out.block + mkdata_out.n, &r, n);
		mkdata_out.n += n;
	}
	mkdata_close(&mkdata_out);
}

static void mkdata_text(const char *path, uint64_t size)
{
	struct text t;

	text_init(&t, 11);
	mkdata_open(&mkdata_out, AT_FDCWD, path);
	mkdata_lines(&mkdata_out, &t, size);
	mkdata_close(&mkdata_out);
}

/* Most files are small, one in 200 is not; 12 500 bytes on average. */
static uint64_t mkdata_source_size(struct text *t)
{
	uint64_t r = text_random(t) & 0xffff;

	if (text_random(t) % 200 == 0)
		return 200000;
	return 1000 + ((31650 * r * r) >> 32);
}

static void mkdata_source_file(int dir, uint64_t number)
{
	struct text t;
	char name[64];

	text_init(&t, number << 20);
	snprintf(name, sizeof(name), "%s_%llu.c", text_word(&t), (unsigned long long)number);
	mkdata_open(&mkdata_out, dir, name);
	mkdata_lines(&mkdata_out, &t, mkdata_source_size(&t));
	mkdata_close(&mkdata_out);
}

static void mkdata_source(const char *path, uint64_t files)
{
	int root = mkdata_folder(AT_FDCWD, path), top = -1, dir = -1;

	for (uint64_t i = 0; i < files; i++) {
		uint64_t leaf = i / MKDATA_PER_LEAF;
		char name[32];

		if (i % (MKDATA_PER_LEAF * MKDATA_SUBDIRS) == 0) {
			close(top);
			snprintf(name, sizeof(name), "part%03u", (unsigned)(leaf / MKDATA_SUBDIRS));
			top = mkdata_folder(root, name);
		}
		if (i % MKDATA_PER_LEAF == 0) {
			close(dir);
			snprintf(name, sizeof(name), "mod%02u", (unsigned)(leaf % MKDATA_SUBDIRS));
			dir = mkdata_folder(top, name);
		}
		mkdata_source_file(dir, i);
	}
	close(dir);
	close(top);
	close(root);
}

/* A size without blocks: half a million files would otherwise take 2 GB. */
static void mkdata_sparse_file(int dir, uint64_t number)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "f%06llu_%llu.txt", (unsigned long long)number,
		(unsigned long long)(number % MKDATA_SUFFIXES));
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, (off_t)(number % 100000)) < 0)
		die(name);
	close(fd);
}

static void mkdata_tree(const char *path, uint64_t files, uint64_t dirs)
{
	int root = mkdata_folder(AT_FDCWD, path), top = -1;
	uint64_t made = 0;

	for (uint64_t d = 0; d < dirs; d++) {
		bool is_top = d % MKDATA_PER_TOP == 0;
		uint64_t until = files * (d + 1) / dirs;
		char name[32];
		int dir;

		if (is_top)
			close(top);
		snprintf(name, sizeof(name), "d%05llu", (unsigned long long)d);
		dir = mkdata_folder(is_top ? root : top, name);
		for (; made < until; made++)
			mkdata_sparse_file(dir, made);
		if (is_top)
			top = dir;
		else
			close(dir);
	}
	close(top);
	close(root);
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;

	if (argc == 4 && strcmp(argv[1], "blob") == 0)
		mkdata_blob(argv[2], n);
	else if (argc == 4 && strcmp(argv[1], "text") == 0)
		mkdata_text(argv[2], n);
	else if (argc == 4 && strcmp(argv[1], "source") == 0)
		mkdata_source(argv[2], n);
	else if (argc == 5 && strcmp(argv[1], "tree") == 0)
		mkdata_tree(argv[2], n, strtoull(argv[4], NULL, 10));
	else {
		fprintf(stderr,
			"usage: mkdata blob|text FILE BYTES | source DIR FILES | tree DIR FILES "
			"DIRS\n");
		return 2;
	}
	return 0;
}
