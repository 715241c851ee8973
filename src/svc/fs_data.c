/*
 * fs_data: the bytes of one file into another.
 *
 * copy_file_range(2) lets the filesystem share blocks or at least keeps the data in the kernel.
 * Where it is missing or cannot do these two files, read and write do, for the rest of the file.
 * SEEK_DATA finds the holes, so that a sparse file neither takes its size in time nor on the disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "fs_internal.h"

/* Between two looks at *cancelled. */
#define FS_COPY_STEP ((size_t)4 << 20)
#define FS_COPY_UNIT ((size_t)64 << 10)

struct fs_copying {
	int in, out;
	char *unit; /* set: by read and write from now on */
	const atomic_bool *cancelled;
	struct err *e;
};

int fs_write_all(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n > 0) {
		ssize_t r = write(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

/* Do these errors of copy_file_range(2) mean "not these two", rather than "not now"? */
static bool fs_copy_unsuited(int errnum)
{
	switch (errnum) {
	case ENOSYS:
	case EPERM:
	case EXDEV:
	case EINVAL:
	case EOPNOTSUPP:
	case ETXTBSY: return true;
	default: return false;
	}
}

/* One step of at most n bytes; what was copied, 0 at the end of the source, -1 with e set. */
static ssize_t fs_copy_step(struct fs_copying *c, size_t n)
{
	ssize_t r;

	if (c->unit == NULL) {
		do
			r = copy_file_range(c->in, NULL, c->out, NULL, n, 0);
		while (r < 0 && errno == EINTR);
		if (r > 0)
			return r;
		/* Some filesystems also say 0 for files whose size they do not know. */
		if (r < 0 && !fs_copy_unsuited(errno))
			return err_file(c->e, "cannot copy");
		c->unit = malloc(FS_COPY_UNIT);
		if (c->unit == NULL)
			return err_set(c->e, &ERR_UNAVAILABLE, "out of memory");
	}
	do
		r = read(c->in, c->unit, n < FS_COPY_UNIT ? n : FS_COPY_UNIT);
	while (r < 0 && errno == EINTR);
	if (r < 0 || (r > 0 && fs_write_all(c->out, c->unit, (size_t)r) < 0))
		return err_file(c->e, "cannot copy");
	return r;
}

/* Copies [from, to). */
static int fs_copy_extent(struct fs_copying *c, off_t from, off_t to)
{
	if (lseek(c->in, from, SEEK_SET) < 0 || lseek(c->out, from, SEEK_SET) < 0)
		return err_file(c->e, "cannot copy");
	while (from < to) {
		size_t left = (size_t)(to - from);
		ssize_t r;

		if (fs_check_cancelled(c->cancelled, c->e) < 0)
			return -1;
		r = fs_copy_step(c, left < FS_COPY_STEP ? left : FS_COPY_STEP);
		if (r <= 0)
			return (int)r;
		from += r;
	}
	return 0;
}

/* The next run of data at or after `at`: [*from, *to). False: only a hole is left. */
static bool fs_copy_find_data(int in, off_t at, off_t size, off_t *from, off_t *to)
{
	*from = lseek(in, at, SEEK_DATA);
	*to = size;
	if (*from < 0) {
		*from = at; /* the filesystem cannot say: all of it, then */
		return errno != ENXIO;
	}
	off_t hole = lseek(in, *from, SEEK_HOLE);
	if (hole >= 0 && hole < size)
		*to = hole;
	return *from < size;
}

int fs_copy_data(int in, int out, uint64_t size, enum fs_copy_how how, const atomic_bool *cancelled,
	struct err *e)
{
	struct fs_copying c = {.in = in, .out = out, .cancelled = cancelled, .e = e};
	off_t end = (off_t)size, from = 0, to = end;
	struct stat st;
	int r = 0;

	for (off_t at = 0; r == 0 && at < end; at = to) {
		if (how == FS_COPY_FRESH && !fs_copy_find_data(in, at, end, &from, &to))
			break;
		r = fs_copy_extent(&c, from, to);
	}
	free(c.unit);
	if (r < 0)
		return -1;
	/* The source may have become shorter; a hole at the end is made here. */
	if (fstat(in, &st) < 0 || ftruncate(out, st.st_size < end ? st.st_size : end) < 0)
		return err_file(e, "cannot copy");
	return 0;
}
