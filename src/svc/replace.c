/*
 * replace: a text for another, in a file of any size.
 *
 * The file is read to its end in windows. What a match could begin in and not end in stays for the
 * next window: of a text all but one of its bytes, of a pattern a line. The window grows until it
 * holds that.
 *
 * The new file is good only for the file that was read. So the writer is given that one's entity
 * tag as a condition, next to which the client's own needs no second look: it held for this very
 * file. When somebody else changes or replaces the file meanwhile, be it another replacement, all
 * of it is done again with what is there then.
 */
#include "boxd/replace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "fs_internal.h"
#include "replace_internal.h"

/* A file that changes again and again while it is read: how often that is put up with. */
#define REPLACE_TRIES 4

static int replace_no_memory(struct err *e)
{
	return err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

/* ---- the window ---- */

static int replace_resize(struct replace_job *j, size_t cap, struct err *e)
{
	uint8_t *mem = realloc(j->mem, cap);

	if (mem == NULL)
		return replace_no_memory(e);
	j->mem = mem;
	j->cap = cap;
	return 0;
}

/* Reads until the window is full or the file at its end. */
static int replace_fill(struct replace_job *j, struct err *e)
{
	while (!j->eof && j->have < j->cap) {
		ssize_t r = pread(
			j->in, j->mem + j->have, j->cap - j->have, (off_t)(j->base + j->have));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_file(e, "cannot read the file");
		j->eof = r == 0;
		j->have += (size_t)r;
	}
	return 0;
}

/* The first n bytes are done with: they go out, if there is an output, and make room. */
static int replace_shift(struct replace_job *j, size_t n, struct err *e)
{
	if (j->out.w != NULL && replace_out_put(&j->out, j->mem + j->done, n - j->done, e) < 0)
		return -1;
	memmove(j->mem, j->mem + n, j->have - n);
	j->base += n;
	j->have -= n;
	j->done = 0;
	return 0;
}

int replace_found(struct replace_job *j, size_t start, size_t end, struct err *e)
{
	if (j->out.w == NULL && replace_out_open(&j->out, j->base, e) < 0)
		return -1;
	if (replace_out_put(&j->out, j->mem + j->done, start - j->done, e) < 0)
		return -1;
	j->done = end;
	j->count++;
	return 0;
}

/* ---- a text ---- */

/* *n: where the next window begins. */
static int replace_text(struct replace_job *j, size_t *n, struct err *e)
{
	const struct str old = j->spec->old, new_text = j->spec->new_text;
	const uint8_t *hit;
	size_t at = 0;

	while ((hit = memmem(j->mem + at, j->have - at, old.p, old.n)) != NULL) {
		size_t start = (size_t)(hit - j->mem);

		at = start + old.n;
		if (replace_found(j, start, at, e) < 0 ||
			replace_out_put(&j->out, new_text.p, new_text.n, e) < 0)
			return -1;
	}
	*n = j->have;
	if (!j->eof && old.n > 1)
		*n = at > j->have - (old.n - 1) ? at : j->have - (old.n - 1);
	return 0;
}

/* ---- a pattern ---- */

/* *n: where the next window begins, 0 when no line of this one has its end in it. */
static int replace_lines(struct replace_job *j, size_t *n, struct err *e)
{
	const uint8_t *lf = memrchr(j->mem, '\n', j->have);
	size_t whole = lf != NULL ? (size_t)(lf - j->mem) + 1 : 0, max = j->sizes->line_max;

	if (j->have - whole > max)
		return err_set(
			e, &ERR_BAD_PATTERN, "a line of the file is longer than %zu bytes", max);
	*n = j->eof ? j->have : whole;
	if (*n > 0 || j->eof)
		return replace_regex_scan(j, *n, e);
	/* One byte more than a line may have, for its LF. */
	return replace_resize(j, j->cap < max + 1 - j->cap ? 2 * j->cap : max + 1, e);
}

/* ---- the file ---- */

static int replace_windows(struct replace_job *j, struct err *e)
{
	size_t n = 0;

	do {
		if (fs_check_cancelled(j->spec->cancelled, e) < 0 || replace_fill(j, e) < 0)
			return -1;
		if ((j->spec->regex ? replace_lines(j, &n, e) : replace_text(j, &n, e)) < 0 ||
			replace_shift(j, n, e) < 0)
			return -1;
	} while (!j->eof);
	return j->out.w != NULL ? replace_out_commit(&j->out, e) : 0;
}

/* A window for this job. For a text it holds the text twice, so that moving its end costs little.
 */
static int replace_make_window(struct replace_job *j, struct err *e)
{
	size_t cap = j->sizes->window, old = j->spec->old.n;

	if (!j->spec->regex) {
		if (old > SIZE_MAX / 4)
			return replace_no_memory(e);
		cap = (cap > old ? cap : old) + old - 1;
	}
	return replace_resize(j, cap, e);
}

/* The file is open. *changed: it was not the same file any more at the end. */
static int replace_opened(struct replace_job *j, bool *changed, struct err *e)
{
	struct fs_stat found;
	struct stat st;
	int r;

	if (fstat(j->in, &st) < 0)
		return err_file(e, "cannot read the file");
	if (fs_check_cond(j->spec->cond, &st, e) < 0)
		return -1;
	fs_stat_from(&st, &found);
	fs_etag(&found, j->etag);
	j->same.if_match = str_of(j->etag);
	j->out.cond = &j->same;
	if (replace_make_window(j, e) < 0)
		return -1;
	r = replace_windows(j, e);
	*changed = r < 0 && e->kind == &ERR_PRECONDITION;
	return r;
}

/* Would a change be refused whatever is found? Told also when nothing is. */
static int replace_check_place(const struct fs *fs, const char *path, struct err *e)
{
	struct confine_place place;

	if (confine_find(fs_confine(fs), path, CONFINE_WRITE | CONFINE_FOLLOW, &place, e) < 0)
		return -1;
	confine_place_fini(&place);
	return 0;
}

static int replace_once(const struct fs *fs, const struct replace_spec *spec,
	const struct replace_sizes *sizes, uint64_t *count, bool *changed, struct err *e)
{
	struct fs_stat st;
	CLEANUP_FD int in = fs_open_read(fs, spec->path, &st, e);
	struct replace_job j = {.spec = spec,
		.sizes = sizes,
		.in = in,
		.out = {.fs = fs,
			.path = spec->path,
			.in = in,
			.cancelled = spec->cancelled,
			.cap = sizes->out}};
	int r = -1;

	if (in < 0)
		return -1;
	if (spec->old.n == 0)
		return err_set(e, &ERR_BAD_BODY, "the text to replace is empty");
	if ((!spec->regex || replace_regex_init(&j.rx, spec, e) == 0) &&
		replace_check_place(fs, spec->path, e) == 0)
		r = replace_opened(&j, changed, e);
	replace_regex_fini(&j.rx);
	replace_out_fini(&j.out);
	free(j.mem);
	*count = j.count;
	return r;
}

int replace_with_sizes(const struct fs *fs, const struct replace_spec *spec,
	const struct replace_sizes *sizes, uint64_t *count, struct err *e)
{
	for (int i = 0; i < REPLACE_TRIES; i++) {
		bool changed = false;
		int r = replace_once(fs, spec, sizes, count, &changed, e);

		if (!changed)
			return r;
		*e = (struct err){0};
	}
	return err_set(e, &ERR_UNAVAILABLE, "the file keeps changing");
}

int replace_in_file(
	const struct fs *fs, const struct replace_spec *spec, uint64_t *count, struct err *e)
{
	const struct replace_sizes sizes = {.window = (size_t)512 << 10,
		.line_max = limit_size(LIMIT_FS_REPLACE_LINE_BYTES),
		.out = (size_t)256 << 10};

	return replace_with_sizes(fs, spec, &sizes, count, e);
}
