/*
 * replace_out: where a file that changes goes.
 *
 * Nothing is made before the first match. What the file has before it is then copied by the kernel.
 * After that small pieces are collected, and long runs between two matches are written from where
 * they were read to.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs_internal.h"
#include "replace_internal.h"

/* The part of the collected output from which on a run is long enough for a write of its own. */
#define REPLACE_OUT_LONG 4

int replace_out_open(struct replace_out *o, uint64_t prefix, struct err *e)
{
	const struct writer_spec spec = {
		.path = o->path, .perm = {.mode = -1}, .new_mode = 0600, .cond = o->cond};
	int fd;

	o->mem = malloc(o->cap);
	if (o->mem == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	o->w = writer_open(o->fs, &spec, e);
	if (o->w == NULL)
		return -1;
	if (prefix == 0)
		return 0;
	fd = writer_fd(o->w);
	if (fs_copy_data(o->in, fd, prefix, FS_COPY_FRESH, o->cancelled, e) < 0)
		return -1;
	/*
	 * A hole at its end was not written: the offset is before it. Less than asked for is no
	 * matter: a file that has become shorter is another one when it comes to the commit.
	 */
	return lseek(fd, (off_t)prefix, SEEK_SET) < 0 ? err_file(e, "cannot copy") : 0;
}

static int replace_out_flush(struct replace_out *o, struct err *e)
{
	size_t n = o->used;

	o->used = 0;
	return n > 0 ? writer_put(o->w, o->mem, n, e) : 0;
}

int replace_out_put(struct replace_out *o, const void *data, size_t n, struct err *e)
{
	bool direct = n >= o->cap / REPLACE_OUT_LONG;

	if (n == 0)
		return 0;
	if ((direct || n > o->cap - o->used) && replace_out_flush(o, e) < 0)
		return -1;
	if (direct)
		return writer_put(o->w, data, n, e);
	memcpy(o->mem + o->used, data, n);
	o->used += n;
	return 0;
}

int replace_out_commit(struct replace_out *o, struct err *e)
{
	struct writer *w = o->w;

	if (replace_out_flush(o, e) < 0)
		return -1;
	o->w = NULL;
	return writer_commit(w, NULL, NULL, e);
}

void replace_out_fini(struct replace_out *o)
{
	writer_abort(o->w);
	free(o->mem);
}
