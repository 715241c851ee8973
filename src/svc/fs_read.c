/*
 * fs_read: opening a file for reading, and finding out whether reading it would block.
 *
 * The name is looked at before it is opened, and what was opened is looked at again: the open alone
 * of a FIFO wakes whoever waits to write into it, and that of a device may do anything.
 */
#include "boxd/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/sysc.h"
#include "fs_internal.h"

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

#define FS_PROBE_STEP    65536u
#define FS_PREFETCH_UNIT 65536u

static int fs_refuse_type(const char *name, mode_t mode, struct err *e)
{
	return err_set(e, &ERR_WRONG_TYPE,
		S_ISDIR(mode) ? "%s is a directory" : "%s is no regular file", name);
}

static int fs_open_place(const struct confine_place *p, struct stat *st, struct err *e)
{
	CLEANUP_FD int fd = -1;

	if (fstatat(p->dir, p->name, st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_file(e, "cannot open %s", p->name);
	if (!S_ISREG(st->st_mode))
		return fs_refuse_type(p->name, st->st_mode, e);
	fd = openat(p->dir, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, st) < 0)
		return err_file(e, "cannot open %s", p->name);
	if (!S_ISREG(st->st_mode))
		return fs_refuse_type(p->name, st->st_mode, e);
	return steal_fd(&fd);
}

int fs_open_read(const struct fs *fs, const char *path, struct fs_stat *out, struct err *e)
{
	struct confine_place place;
	struct stat st;
	int fd;

	if (confine_find(fs->confine, path, CONFINE_FOLLOW, &place, e) < 0)
		return -1;
	fd = fs_open_place(&place, &st, e);
	confine_place_fini(&place);
	if (fd >= 0)
		fs_stat_from(&st, out);
	return fd;
}

/* By number: not every libc has it. The offset travels in two longs, low half first. */
static ssize_t fs_read_nowait(int fd, void *byte, uint64_t offset)
{
	struct iovec iov = {.iov_base = byte, .iov_len = 1};
	unsigned long low = (unsigned long)offset;
	/* Two shifts: one by 64 is undefined where long holds it all. */
	unsigned long high = (unsigned long)(offset >> (sizeof(long) * 4) >> (sizeof(long) * 4));

	return syscall(SYS_preadv2, fd, &iov, 1UL, low, high, RWF_NOWAIT);
}

bool fs_resident(int fd, uint64_t offset, size_t n)
{
	uint64_t end = offset + n;
	char byte;

	if (end < offset || end > INT64_MAX)
		return false;
	while (offset < end) {
		ssize_t r = fs_read_nowait(fd, &byte, offset);

		if (r == 0)
			return true; /* the end of the file: nothing to wait for */
		if (r < 0)
			return false;
		/* The last byte too: its page may be the one that is missing. */
		if (offset == end - 1)
			break;
		offset = end - offset > FS_PROBE_STEP ? offset + FS_PROBE_STEP : end - 1;
	}
	return true;
}

void fs_prefetch(int fd, uint64_t offset, size_t n)
{
	CLEANUP_FREE char *unit = malloc(FS_PREFETCH_UNIT);

	if (unit == NULL || n > INT64_MAX || offset > INT64_MAX - n)
		return;
	(void)readahead(fd, (off_t)offset, n);
	while (n > 0) {
		size_t want = n < FS_PREFETCH_UNIT ? n : FS_PREFETCH_UNIT;
		ssize_t r = pread(fd, unit, want, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return; /* who sends the range will meet the same */
		offset += (uint64_t)r;
		n -= (size_t)r;
	}
}
