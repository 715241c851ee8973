/* spool: bytes that wait on disk until it is known where they belong. */
#include "boxd/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "fs_internal.h"

struct spool {
	int fd;
	uint64_t end;
};

/* Where the filesystem has no nameless files, the name goes at once. */
static int spool_open(int dir)
{
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char name[48];

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
		return fd;
	snprintf(name, sizeof(name), ".boxd-spool-%ld-%p", (long)getpid(), (void *)name);
	fd = openat(dir, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		unlinkat(dir, name, 0);
	return fd;
}

struct spool *spool_new(int dir, struct err *e)
{
	struct spool *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	s->fd = spool_open(dir);
	if (s->fd < 0) {
		err_file(e, "open a temporary file");
		free(s);
		return NULL;
	}
	return s;
}

void spool_free(struct spool *s)
{
	if (s == NULL)
		return;
	close(s->fd);
	free(s);
}

uint64_t spool_end(const struct spool *s)
{
	return s->end;
}

int spool_put(struct spool *s, const void *data, size_t n, struct err *e)
{
	if (fs_write_all(s->fd, data, n) < 0)
		return err_file(e, "write to a temporary file");
	s->end += n;
	return 0;
}

int spool_copy(const struct spool *s, uint64_t at, uint64_t n, int fd, struct err *e)
{
	off_t from = (off_t)at;

	while (n > 0) {
		ssize_t done = sendfile(fd, s->fd, &from, n < (1u << 30) ? (size_t)n : 1u << 30);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_file(e, "copy from a temporary file");
		if (done == 0)
			return err_set(e, &ERR_RUNTIME, "a temporary file became shorter");
		n -= (uint64_t)done;
	}
	return 0;
}
