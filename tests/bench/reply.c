/*
 * reply: head, then a body by its length or by chunks.
 *
 * What the head and the framing need goes through the buffer. Of a body, what lies in the buffer is
 * taken from there; the rest of a long one can be discarded with MSG_TRUNC, which takes bytes from
 * the socket without copying them: the reader then costs next to nothing.
 */
#include "reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

#define REPLY_LINE_MAX 8192
#define REPLY_DISCARD  (1024 * 1024)

void reply_init(struct reply *r, int fd)
{
	r->fd = fd;
	r->discard = false;
	r->save = -1;
	r->wait = NULL;
	r->arg = NULL;
	r->status = 0;
	r->body_bytes = 0;
	r->pos = r->n = 0;
}

/* At least one byte into p, or discarded; 0 when there is no more. */
static size_t reply_receive(struct reply *r, char *p, size_t n, int flags)
{
	for (;;) {
		ssize_t got = recv(r->fd, p, n, flags);

		if (got > 0)
			return (size_t)got;
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			return 0;
		if (errno == EAGAIN && (r->wait == NULL || !r->wait(r->arg)))
			return 0;
	}
}

static bool reply_fill(struct reply *r)
{
	r->pos = 0;
	r->n = reply_receive(r, r->buf, sizeof(r->buf), 0);
	return r->n > 0;
}

/* One line without its CRLF, NUL-terminated. */
static bool reply_line(struct reply *r, char *line)
{
	size_t len = 0;

	for (;;) {
		char c;

		if (r->pos == r->n && !reply_fill(r))
			return false;
		c = r->buf[r->pos++];
		if (c == '\n')
			break;
		if (len == REPLY_LINE_MAX - 1)
			return false;
		line[len++] = c;
	}
	if (len > 0 && line[len - 1] == '\r')
		len--;
	line[len] = '\0';
	return true;
}

static void reply_take(struct reply *r, size_t n)
{
	for (size_t done = 0; r->save >= 0 && done < n;) {
		ssize_t w = write(r->save, r->buf + r->pos + done, n - done);

		if (w < 0 && errno != EINTR)
			die("save");
		if (w > 0)
			done += (size_t)w;
	}
	r->pos += n;
	r->body_bytes += n;
}

static bool reply_discard(struct reply *r, uint64_t left)
{
	static char unused[REPLY_DISCARD];

	while (left > 0) {
		size_t want = left < sizeof(unused) ? (size_t)left : sizeof(unused);
		size_t got = reply_receive(r, unused, want, MSG_TRUNC);

		if (got == 0)
			return false;
		left -= got;
		r->body_bytes += got;
	}
	return true;
}

static bool reply_bytes(struct reply *r, uint64_t left)
{
	while (left > 0) {
		size_t n = r->n - r->pos;

		if (n == 0 && r->discard)
			return reply_discard(r, left);
		if (n == 0 && !reply_fill(r))
			return false;
		n = r->n - r->pos;
		if (n > left)
			n = (size_t)left;
		reply_take(r, n);
		left -= n;
	}
	return true;
}

static bool reply_chunks(struct reply *r)
{
	char line[REPLY_LINE_MAX], *end;
	uint64_t size;

	do {
		if (!reply_line(r, line))
			return false;
		size = strtoull(line, &end, 16);
		if (end == line || !reply_bytes(r, size))
			return false;
		if (size > 0 && (!reply_line(r, line) || line[0] != '\0'))
			return false;
	} while (size > 0);
	do { /* trailers, up to an empty line */
		if (!reply_line(r, line))
			return false;
	} while (line[0] != '\0');
	return true;
}

static bool reply_starts(const char *line, const char *with)
{
	return strncasecmp(line, with, strlen(with)) == 0;
}

bool reply_read(struct reply *r)
{
	char line[REPLY_LINE_MAX];
	bool chunked = false, sized = false;
	uint64_t length = 0;
	int status;

	if (!reply_line(r, line) || !reply_starts(line, "HTTP/1.1 "))
		return false;
	status = (int)strtol(line + 9, NULL, 10);
	while (reply_line(r, line) && line[0] != '\0') {
		if (reply_starts(line, "Transfer-Encoding: chunked"))
			chunked = true;
		if (reply_starts(line, "Content-Length:")) {
			sized = true;
			length = strtoull(line + strlen("Content-Length:"), NULL, 10);
		}
	}
	if (line[0] != '\0' || !(chunked || sized))
		return false;
	r->status = status;
	/* More than was announced would be taken for the next reply. */
	return (chunked ? reply_chunks(r) : reply_bytes(r, length)) && r->pos == r->n;
}
