/*
 * grep_file: searching one file.
 *
 * Most files fit into the worker's buffer: open, read, search, close. A longer one is searched in
 * windows. A window ends at the last line of which all the context behind it is in the buffer, and
 * when the rest moves to the front, as many lines as may be context before the next match stay. So
 * whatever is sent for a match is in the buffer at that time. When not even one line fits, the
 * buffer grows; when it may not grow any more, context is given up first, and then the file.
 *
 * Lines are counted only when there is a match, from where the last count ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"

#include "grep_internal.h"

/* How much of a file is looked at for a NUL. */
#define GREP_BINARY_BYTES ((size_t)256 << 10)

size_t grep_window_bytes = (size_t)256 << 10;
size_t grep_line_bytes = (size_t)64 << 20;

struct grep_scan {
	struct grep *g;
	struct grep_worker *wk;
	struct walk *w;
	const struct walk_entry *entry;
	struct buf *out;
	int fd;
	bool eof;
	bool cramped;   /* the buffer cannot grow: no line has to wait for its context */
	size_t len;     /* bytes in the buffer */
	size_t pos;     /* the line where the search goes on */
	size_t counted; /* the line whose number is `line` */
	uint64_t line;
	uint64_t bytes; /* read in all */
	uint64_t matches;
};

enum grep_end {
	GREP_GO_ON,
	GREP_DONE,     /* with this file */
	GREP_NO_MEMORY /* with everything */
};

/* ---- lines ---- */

uint64_t grep_count_lines(const char *p, size_t n)
{
	typedef uint8_t vector __attribute__((vector_size(16)));
	uint64_t total = 0;

	/* Each lane counts down from 0 by one for a LF: 255 turns before it would wrap. */
	while (n >= sizeof(vector)) {
		size_t turns = n / sizeof(vector) < 255 ? n / sizeof(vector) : 255;
		vector sum = {0};

		for (size_t i = 0; i < turns; i++, p += sizeof(vector)) {
			vector v;

			memcpy(&v, p, sizeof(v));
			sum -= (vector)(v == '\n');
		}
		n -= turns * sizeof(vector);
		for (size_t lane = 0; lane < sizeof(vector); lane++)
			total += sum[lane];
	}
	for (; n > 0; n--, p++)
		total += *p == '\n';
	return total;
}

/* Where the line that ends right before `end` begins; not before `floor`. */
static size_t grep_line_back(const char *buf, size_t floor, size_t end)
{
	const char *lf = end - floor < 2 ? NULL : memrchr(buf + floor, '\n', end - floor - 1);

	return lf == NULL ? floor : (size_t)(lf - buf) + 1;
}

/* [start, end) of the buffer, without its line end, as what is sent. */
static struct grep_line grep_line_of(const char *buf, size_t start, size_t end)
{
	size_t max = limit_size(LIMIT_GREP_LINE_BYTES);
	struct grep_line line = {.text = {buf + start, end - start}};

	if (line.text.n > 0 && line.text.p[line.text.n - 1] == '\r')
		line.text.n--;
	if (line.text.n <= max)
		return line;
	line.cut = true;
	line.text.n = max;
	for (int k = 0; k < 3 && ((uint8_t)line.text.p[line.text.n] & 0xc0) == 0x80; k++)
		line.text.n--;
	return line;
}

/* ---- the buffer ---- */

static bool grep_stopped(const void *arg)
{
	const struct grep_scan *s = arg;

	return atomic_load_explicit(&s->g->full, memory_order_relaxed) ||
	       (s->w != NULL && walk_stopped(s->w));
}

/* Fills the buffer, or reads to the end of the file. */
static enum grep_end grep_fill(struct grep_scan *s)
{
	while (!s->eof && s->len < s->wk->cap) {
		ssize_t n = read(s->fd, s->wk->buf + s->len, s->wk->cap - s->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			s->wk->totals.unreadable++;
			return GREP_DONE;
		}
		s->eof = n == 0;
		s->len += (size_t)n;
		s->bytes += (uint64_t)n;
	}
	if (s->bytes > s->g->max_file_bytes) {
		s->wk->totals.too_large++;
		return GREP_DONE;
	}
	return GREP_GO_ON;
}

static bool grep_grow(struct grep_worker *wk)
{
	size_t cap = wk->cap * 2 < grep_line_bytes ? wk->cap * 2 : grep_line_bytes;
	char *buf = cap > wk->cap ? realloc(wk->buf, cap) : NULL;

	if (buf == NULL)
		return false;
	wk->buf = buf;
	wk->cap = cap;
	return true;
}

/* Moves what is not needed any more out of the buffer; the lines there are counted first. */
static void grep_slide(struct grep_scan *s)
{
	char *buf = s->wk->buf;
	size_t keep = s->pos;

	for (size_t i = 0; i < s->g->context && keep > 0 && !s->cramped; i++)
		keep = grep_line_back(buf, 0, keep);
	if (s->counted < keep) {
		s->line += grep_count_lines(buf + s->counted, keep - s->counted);
		s->counted = keep;
	}
	memmove(buf, buf + keep, s->len - keep);
	s->len -= keep;
	s->pos -= keep;
	s->counted -= keep;
}

/* The next part of a file that does not fit. */
static enum grep_end grep_more(struct grep_scan *s)
{
	grep_slide(s);
	if (s->len == s->wk->cap && !grep_grow(s->wk)) {
		if (s->cramped) {
			s->wk->totals.too_large++;
			return GREP_DONE;
		}
		s->cramped = true;
		grep_slide(s);
	} else {
		s->cramped = false;
	}
	return grep_stopped(s) ? GREP_DONE : grep_fill(s);
}

/* Where the last complete line ends, and where the last one ends that has all of its context. */
static size_t grep_ready(const struct grep_scan *s, size_t *complete)
{
	const char *buf = s->wk->buf;
	const char *lf = s->len == s->pos ? NULL : memrchr(buf + s->pos, '\n', s->len - s->pos);
	size_t ready;

	*complete = s->eof ? s->len : lf == NULL ? s->pos : (size_t)(lf - buf) + 1;
	ready = *complete;
	for (size_t i = 0; i < s->g->context && ready > s->pos && !s->eof && !s->cramped; i++)
		ready = grep_line_back(buf, s->pos, ready);
	return ready;
}

/* ---- matches ---- */

/* The context of the line [start, end): at most so many lines as there may be on either side. */
static void grep_context(
	const struct grep_scan *s, size_t start, size_t end, size_t complete, struct grep_match *m)
{
	const char *buf = s->wk->buf;
	struct grep_line *lines = s->wk->lines;
	size_t max = s->g->context, at = start;

	for (; m->nbefore < max && at > 0; m->nbefore++) {
		size_t line = grep_line_back(buf, 0, at);

		lines[max - 1 - m->nbefore] = grep_line_of(buf, line, at - 1);
		at = line;
	}
	m->before = lines + max - m->nbefore;
	m->after = lines + max;
	for (at = end + 1; m->nafter < max && at < complete; m->nafter++) {
		const char *lf = memchr(buf + at, '\n', complete - at);
		size_t stop = lf == NULL ? complete : (size_t)(lf - buf);

		lines[max + m->nafter] = grep_line_of(buf, at, stop);
		at = stop + 1;
	}
}

/* Takes a number; false when there is none left. */
static bool grep_claim(struct grep_scan *s)
{
	if (atomic_fetch_add_explicit(&s->g->claimed, 1, memory_order_relaxed) < s->g->max_results)
		return true;
	atomic_store(&s->g->full, true);
	if (s->w != NULL)
		walk_stop(s->w);
	return false;
}

/* What matched is [start, end) of the buffer, in a line that ends before or at `complete`. */
static enum grep_end grep_emit(struct grep_scan *s, size_t start, size_t end, size_t complete)
{
	const char *buf = s->wk->buf;
	const char *lf = memchr(buf + end, '\n', complete - end);
	size_t stop = lf == NULL ? complete : (size_t)(lf - buf);
	size_t line = grep_line_back(buf, s->pos, start + 1);
	size_t text_end = stop > line && buf[stop - 1] == '\r' ? stop - 1 : stop;
	struct grep_match m = {.path = {s->entry->path, s->entry->path_len}};

	if (!grep_claim(s))
		return GREP_DONE;
	s->line += grep_count_lines(buf + s->counted, line - s->counted);
	s->counted = line;
	m.line = s->line;
	m.column = start - line + 1;
	m.length = (end < text_end ? end : text_end) - (start < text_end ? start : text_end);
	m.text = grep_line_of(buf, line, stop);
	if (s->g->context > 0)
		grep_context(s, line, stop, complete, &m);
	if (s->g->format(s->g->arg, &m, s->out) < 0)
		return GREP_NO_MEMORY;
	s->matches++;
	s->pos = lf == NULL ? complete : stop + 1;
	return s->matches >= s->g->max_per_file ? GREP_DONE : GREP_GO_ON;
}

/* All lines from s->pos to `ready`. */
static enum grep_end grep_window(struct grep_scan *s, size_t ready, size_t complete)
{
	while (s->pos < ready) {
		struct str block = {s->wk->buf + s->pos, ready - s->pos};
		size_t start, end;
		enum grep_end rc;

		switch (regex_find(s->g->re, s->wk->match, block, 0, &start, &end)) {
		case REGEX_NOTHING: s->pos = ready; return GREP_GO_ON;
		case REGEX_GAVE_UP:
			if (!grep_stopped(s))
				s->wk->totals.gave_up++;
			return GREP_DONE;
		case REGEX_FOUND: break;
		}
		rc = grep_emit(s, s->pos + start, s->pos + end, complete);
		if (rc != GREP_GO_ON)
			return rc;
	}
	return GREP_GO_ON;
}

/* ---- files ---- */

/* Is the file one to search? With the first window in the buffer. */
static bool grep_is_text(struct grep_scan *s)
{
	size_t n = s->len < GREP_BINARY_BYTES ? s->len : GREP_BINARY_BYTES;
	struct stat st;

	if (!s->eof && fstat(s->fd, &st) == 0 && st.st_size > 0 &&
		(uint64_t)st.st_size > s->g->max_file_bytes) {
		s->wk->totals.too_large++;
		return false;
	}
	if (n > 0 && memchr(s->wk->buf, '\0', n) != NULL) {
		s->wk->totals.binary++;
		return false;
	}
	return true;
}

static enum grep_end grep_search(struct grep_scan *s)
{
	enum grep_end rc;

	do {
		size_t complete, ready = grep_ready(s, &complete);

		rc = grep_window(s, ready, complete);
		if (rc == GREP_GO_ON)
			rc = s->eof ? GREP_DONE : grep_more(s);
	} while (rc == GREP_GO_ON);
	return rc;
}

/* The buffer goes back to its usual size when one file made it large. */
static int grep_prepare(const struct grep *g, struct grep_worker *wk)
{
	if (wk->cap > 4 * grep_window_bytes) {
		free(wk->buf);
		wk->buf = NULL;
	}
	if (wk->buf == NULL) {
		wk->buf = malloc(grep_window_bytes);
		wk->cap = grep_window_bytes;
	}
	if (wk->match == NULL)
		wk->match = regex_match_new(g->re);
	if (wk->lines == NULL && g->context > 0)
		wk->lines = calloc(2 * g->context, sizeof(*wk->lines));
	return wk->buf == NULL || wk->match == NULL || (wk->lines == NULL && g->context > 0) ? -1
											     : 0;
}

/* What has vanished, or has become a link meanwhile, is no file that could not be read. */
static int grep_open(struct grep_worker *wk, const struct walk_entry *entry)
{
	int fd;

	do
		fd = openat(entry->dir, entry->path + entry->name,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	while (fd < 0 && errno == EINTR);
	if (fd < 0 && errno != ENOENT && errno != ELOOP)
		wk->totals.unreadable++;
	return fd;
}

int grep_file(struct grep *g, struct walk *w, const struct walk_entry *entry, struct buf *out)
{
	struct grep_worker *wk = &g->workers[entry->worker];
	struct grep_scan s = {.g = g, .wk = wk, .w = w, .entry = entry, .out = out, .line = 1};
	CLEANUP_FD int fd = -1;
	enum grep_end rc;

	if (grep_prepare(g, wk) < 0)
		return -1;
	fd = grep_open(wk, entry);
	if (fd < 0)
		return 0;
	s.fd = fd;
	if (grep_fill(&s) != GREP_GO_ON || !grep_is_text(&s))
		return 0;
	regex_match_set_stop(wk->match, grep_stopped, &s);
	rc = grep_search(&s);
	regex_match_set_stop(wk->match, NULL, NULL);
	wk->totals.files++;
	wk->totals.bytes += s.bytes;
	wk->totals.matches += s.matches;
	wk->totals.matched_files += s.matches > 0;
	return rc == GREP_NO_MEMORY ? -1 : 0;
}
