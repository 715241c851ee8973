/*
 * intake: a request body on its way to the disk, without the loop.
 *
 * Two sides share it and never at the same time: the loop has it until the job that reads is
 * submitted, the thread until that job is done. While a thread reads, the connection's input event
 * is taken away, because every packet of a fast client would wake the loop for nothing; waiting
 * puts it back. Should the connection end meanwhile, its socket is shut down but stays open until
 * the intake is freed, so that the thread reads an end, and never somebody else's socket.
 *
 * A body of known length that is not compressed goes from the socket through a pipe into the file
 * (splice(2)): one copy, and none of it through user space.
 */
#include "boxd/intake.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "boxd/limits.h"
#include "net_internal.h"

#define INTAKE_BYTES 262144  /* one buffer, which should stay in the processor's cache */
#define INTAKE_PIPE  1048576 /* the pipe of splice(2), as far as the kernel gives it */
/*
 * After this many bytes a client is a fast one: for it the thread waits a moment rather than go
 * through the loop for every gap between its packets.
 */
#define INTAKE_FAST_BYTES   262144
#define INTAKE_FAST_WAIT_MS 1

struct intake {
	struct conn *conn; /* for the loop */
	int fd;            /* the connection's, which outlives us */
	enum http_body framing;
	uint64_t left; /* of a body of known length, on the socket or in `raw` */
	struct chunked chunked;
	bool complete; /* the framing has ended */
	bool timed_out;
	bool no_splice; /* the kernel does not take this socket or file */
	uint64_t moved; /* since the last wait */

	uint8_t *mem;       /* INTAKE_BYTES, for recv(2) */
	struct buf early;   /* what had arrived with the head; then what follows the body */
	const uint8_t *raw; /* unread bytes: in `early` or in `mem` */
	size_t raw_n;

	z_stream *z; /* NULL: not compressed */
	uint8_t *unpacked;
	bool z_ended; /* at the end of a gzip member */

	int pipe[2];
	void (*ready)(void *arg);
	void *ready_arg;
};

/* ---- life ---- */

static int intake_begin_gzip(struct intake *in, struct err *e)
{
	in->z = calloc(1, sizeof(*in->z));
	in->unpacked = malloc(INTAKE_BYTES);
	/* 15 + 16: a gzip wrapper and the largest window */
	if (in->z == NULL || in->unpacked == NULL || inflateInit2(in->z, 15 + 16) != Z_OK) {
		free(in->z);
		in->z = NULL;
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	}
	return 0;
}

static int intake_begin_coding(struct intake *in, struct req *r, struct err *e)
{
	struct str coding = req_field(r, "content-encoding");

	if (coding.n == 0 || str_ieq(coding, STR("identity")))
		return 0;
	if (!str_ieq(coding, STR("gzip")) && !str_ieq(coding, STR("x-gzip")))
		return err_set(e, &ERR_MEDIA_TYPE, "only gzip is understood as Content-Encoding");
	return intake_begin_gzip(in, e);
}

/* Takes what has arrived of the body out of the connection's buffer; the next request stays. */
static int intake_take_early(struct intake *in, struct err *e)
{
	struct conn *c = in->conn;
	size_t have = buf_len(&c->in) - c->req.head_len;
	size_t take = in->framing == HTTP_BODY_LENGTH && in->left < have ? (size_t)in->left : have;
	uint8_t *body = buf_data(&c->in) + c->req.head_len;

	if (take == 0)
		return 0;
	if (buf_add(&in->early, body, take) < 0)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	memmove(body, body + take, have - take);
	c->in.tail -= take;
	in->raw = buf_data(&in->early);
	in->raw_n = take;
	return 0;
}

static void intake_release(struct intake *in)
{
	if (in->z != NULL)
		inflateEnd(in->z);
	free(in->z);
	free(in->unpacked);
	free(in->mem);
	buf_fini(&in->early);
	for (int i = 0; i < 2; i++) {
		if (in->pipe[i] >= 0)
			close(in->pipe[i]);
	}
	free(in);
}

struct intake *intake_new(struct req *r, struct err *e)
{
	struct conn *c = r->conn;
	struct intake *in = calloc(1, sizeof(*in));

	assert(c->state == CONN_REPLY && r->reply == REPLY_NONE && r->op != NULL);
	if (in == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	in->pipe[0] = in->pipe[1] = -1;
	in->conn = c;
	in->fd = c->fd;
	in->framing = r->head->body;
	in->left = r->head->body == HTTP_BODY_LENGTH ? r->head->content_length : 0;
	chunked_init(&in->chunked, limit_size(LIMIT_HTTP_TRAILER_BYTES));
	in->mem = malloc(INTAKE_BYTES);
	if (in->mem == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		intake_release(in);
		return NULL;
	}
	if (intake_begin_coding(in, r, e) < 0 || intake_take_early(in, e) < 0) {
		intake_release(in);
		return NULL;
	}
	event_del(&c->io);
	r->body_lent = true;
	c->intake = in;
	c->state = CONN_LENT;
	return in;
}

/* What was read behind the body belongs to the next request. */
static void intake_give_back(struct intake *in)
{
	struct conn *c = in->conn;

	/* Not wanted to its end, but all of it has arrived. */
	if (!in->complete && in->framing == HTTP_BODY_LENGTH && in->left == in->raw_n) {
		in->complete = true;
		in->raw_n = 0;
	}
	if (!in->complete) {
		c->req.close = true;
		return;
	}
	if (in->raw_n > 0 && buf_add(&c->in, in->raw, in->raw_n) < 0)
		conn_close(c);
}

void intake_free(struct intake *in)
{
	struct conn *c;

	if (in == NULL)
		return;
	c = in->conn;
	c->intake = NULL;
	if (c->state != CONN_CLOSED) {
		c->state = CONN_REPLY;
		conn_clear_deadline(c);
		intake_give_back(in);
	}
	/* Edge-triggered: adding it tells what is there by now. */
	if (c->state != CONN_CLOSED && event_add(&c->io, NULL) < 0)
		conn_close(c);
	intake_release(in);
}

/* ---- waiting, on the loop ---- */

void intake_wait(struct intake *in, void (*ready)(void *arg), void *arg)
{
	struct conn *c = in->conn;

	in->ready = ready;
	in->ready_arg = arg;
	in->moved = 0;
	/* Only now, when the body is really wanted: what is refused before need not be sent. */
	if (c->state == CONN_LENT)
		body_continue(&c->req);
	if (c->state != CONN_LENT)
		return; /* it has gone, and the op is told */
	conn_set_deadline(c, limit(LIMIT_HTTP_BODY_MS));
	if (event_add(&c->io, NULL) < 0)
		conn_close(c);
}

void intake_on_input(struct intake *in, bool timed_out)
{
	void (*ready)(void *arg) = in->ready;

	if (ready == NULL)
		return;
	in->ready = NULL;
	in->timed_out = timed_out;
	event_del(&in->conn->io);
	conn_clear_deadline(in->conn);
	ready(in->ready_arg);
}

/* ---- reading, on a disk thread ---- */

static enum intake_result intake_ended_early(struct err *e)
{
	err_set(e, &ERR_BAD_REQUEST, "the request body ended early");
	return INTAKE_BAD;
}

/* The socket is empty. True: for a fast client, there is more after a moment. */
static bool intake_more_soon(const struct intake *in)
{
	struct pollfd p = {.fd = in->fd, .events = POLLIN};

	return in->moved >= INTAKE_FAST_BYTES && poll(&p, 1, INTAKE_FAST_WAIT_MS) > 0;
}

/* What a failed or empty read of the socket means. INTAKE_DATA: try again. */
static enum intake_result intake_no_bytes(struct intake *in, ssize_t got, struct err *e)
{
	if (got == 0)
		return intake_ended_early(e);
	if (errno == EINTR)
		return INTAKE_DATA;
	if (errno != EAGAIN) {
		err_sys(e, &ERR_BAD_REQUEST, "read the request body");
		return INTAKE_BAD;
	}
	if (in->timed_out) {
		err_set(e, &ERR_REQUEST_TIMEOUT, "the request body did not arrive in time");
		return INTAKE_BAD;
	}
	return intake_more_soon(in) ? INTAKE_DATA : INTAKE_WAIT;
}

/* Fills `raw` from the socket, never beyond a body of known length. */
static enum intake_result intake_receive(struct intake *in, struct err *e)
{
	size_t want = INTAKE_BYTES;

	if (in->framing == HTTP_BODY_LENGTH && in->left < want)
		want = (size_t)in->left;
	for (;;) {
		ssize_t got = recv(in->fd, in->mem, want, MSG_DONTWAIT);
		enum intake_result res;

		if (got > 0) {
			in->raw = in->mem;
			in->raw_n = (size_t)got;
			in->moved += (uint64_t)got;
			in->timed_out = false;
			return INTAKE_DATA;
		}
		res = intake_no_bytes(in, got, e);
		if (res != INTAKE_DATA)
			return res;
	}
}

/* The next bytes without their framing; none (*n == 0) where only framing has arrived. */
static enum intake_result intake_unframe(
	struct intake *in, const uint8_t **data, size_t *n, struct err *e)
{
	*n = 0;
	if (in->framing != HTTP_BODY_CHUNKED) {
		*data = in->raw;
		*n = in->raw_n;
		in->left -= in->raw_n;
		in->raw_n = 0;
		return INTAKE_DATA;
	}
	switch (chunked_next(&in->chunked, &in->raw, &in->raw_n, data, n)) {
	case CHUNKED_DATA: return INTAKE_DATA;
	case CHUNKED_MORE: *n = 0; return INTAKE_DATA;
	case CHUNKED_DONE:
		*n = 0;
		in->complete = true;
		return INTAKE_END;
	case CHUNKED_BAD: err_set(e, &ERR_BAD_REQUEST, "malformed chunked body"); break;
	case CHUNKED_TRAILERS_TOO_LARGE:
		err_set(e, &ERR_HEAD_TOO_LARGE, "trailer section too large");
		break;
	}
	return INTAKE_BAD;
}

static enum intake_result intake_body(
	struct intake *in, const uint8_t **data, size_t *n, struct err *e)
{
	if (in->complete)
		return INTAKE_END;
	for (;;) {
		enum intake_result res;

		if (in->framing != HTTP_BODY_CHUNKED && in->left == 0) {
			in->complete = true;
			return INTAKE_END;
		}
		if (in->raw_n == 0 && (res = intake_receive(in, e)) != INTAKE_DATA)
			return res;
		res = intake_unframe(in, data, n, e);
		if (res != INTAKE_DATA || *n > 0)
			return res;
	}
}

static enum intake_result intake_gzip_bad(struct err *e, const char *why)
{
	err_set(e, &ERR_BAD_UPLOAD, "%s", why);
	return INTAKE_BAD;
}

/* What is packed is at z->next_in; members follow each other (RFC 1952 2.2). */
static enum intake_result intake_inflate(struct intake *in, size_t *n, struct err *e)
{
	z_stream *z = in->z;
	int res;

	if (in->z_ended) {
		inflateReset(z);
		in->z_ended = false;
	}
	z->next_out = in->unpacked;
	z->avail_out = INTAKE_BYTES;
	res = inflate(z, Z_NO_FLUSH);
	*n = INTAKE_BYTES - z->avail_out;
	in->z_ended = res == Z_STREAM_END;
	if (res == Z_OK || res == Z_STREAM_END || res == Z_BUF_ERROR)
		return INTAKE_DATA;
	if (res == Z_MEM_ERROR) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return INTAKE_BAD;
	}
	return intake_gzip_bad(e, "the gzip data is damaged");
}

enum intake_result intake_next(struct intake *in, const uint8_t **data, size_t *n, struct err *e)
{
	if (in->z == NULL)
		return intake_body(in, data, n, e);
	for (;;) {
		enum intake_result res;
		const uint8_t *packed = NULL;
		size_t packed_n = 0;

		/* A full buffer may have left some behind even when all input was taken. */
		if (in->z->avail_in == 0 && (in->z->avail_out > 0 || in->z_ended)) {
			res = intake_body(in, &packed, &packed_n, e);
			if (res == INTAKE_END && !in->z_ended)
				return intake_gzip_bad(e, "the gzip data is cut short");
			if (res != INTAKE_DATA)
				return res;
			in->z->next_in = (Bytef *)(uintptr_t)packed;
			in->z->avail_in = (uInt)packed_n;
		}
		res = intake_inflate(in, n, e);
		if (res == INTAKE_BAD)
			return res;
		*data = in->unpacked;
		if (*n > 0)
			return INTAKE_DATA;
	}
}

/* ---- into a file, on a disk thread ---- */

static int intake_write(int fd, const uint8_t *data, size_t n, struct err *e)
{
	while (n > 0) {
		ssize_t done = write(fd, data, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_file(e, "write");
		data += done;
		n -= (size_t)done;
	}
	return 0;
}

static bool intake_open_pipe(struct intake *in)
{
	if (in->pipe[0] >= 0)
		return true;
	if (pipe2(in->pipe, O_CLOEXEC) < 0) {
		in->pipe[0] = in->pipe[1] = -1;
		return false;
	}
	/* Fewer bytes at a time where that is refused. */
	fcntl(in->pipe[1], F_SETPIPE_SZ, INTAKE_PIPE);
	return true;
}

/* Reads what is in the pipe and writes it: for a file that takes no splice(2). */
static int intake_copy_pipe(struct intake *in, int fd, size_t n, struct err *e)
{
	while (n > 0) {
		ssize_t got = read(in->pipe[0], in->mem, n < INTAKE_BYTES ? n : INTAKE_BYTES);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return err_sys(e, &ERR_RUNTIME, "read from a pipe");
		if (intake_write(fd, in->mem, (size_t)got, e) < 0)
			return -1;
		n -= (size_t)got;
	}
	return 0;
}

static int intake_empty_pipe(struct intake *in, int fd, size_t n, struct err *e)
{
	while (n > 0) {
		ssize_t done = splice(in->pipe[0], NULL, fd, NULL, n, SPLICE_F_MOVE);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EINVAL) {
			in->no_splice = true;
			return intake_copy_pipe(in, fd, n, e);
		}
		if (done <= 0)
			return err_file(e, "write");
		n -= (size_t)done;
	}
	return 0;
}

/* INTAKE_END stands for "not this way". */
static enum intake_result intake_splice(
	struct intake *in, int fd, uint64_t max, uint64_t *n, struct err *e)
{
	size_t want = max < INTAKE_PIPE ? (size_t)max : INTAKE_PIPE;

	if (in->left < want)
		want = (size_t)in->left;
	for (;;) {
		ssize_t got = splice(
			in->fd, NULL, in->pipe[1], NULL, want, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		enum intake_result res;

		if (got < 0 && errno == EINVAL) {
			in->no_splice = true;
			return INTAKE_END;
		}
		if (got <= 0) {
			res = intake_no_bytes(in, got, e);
			if (res != INTAKE_DATA)
				return res;
			continue;
		}
		in->left -= (uint64_t)got;
		in->moved += (uint64_t)got;
		in->timed_out = false;
		*n = (uint64_t)got;
		return intake_empty_pipe(in, fd, (size_t)got, e) < 0 ? INTAKE_BAD : INTAKE_DATA;
	}
}

enum intake_result intake_to_file(
	struct intake *in, int fd, uint64_t max, uint64_t *n, struct err *e)
{
	const uint8_t *data;
	size_t data_n;
	enum intake_result res;

	*n = 0;
	if (in->framing == HTTP_BODY_LENGTH && in->z == NULL && in->raw_n == 0 && in->left > 0 &&
		!in->no_splice && intake_open_pipe(in)) {
		res = intake_splice(in, fd, max, n, e);
		if (res != INTAKE_END)
			return res;
	}
	res = intake_next(in, &data, &data_n, e);
	if (res != INTAKE_DATA)
		return res;
	*n = data_n;
	return intake_write(fd, data, data_n, e) < 0 ? INTAKE_BAD : INTAKE_DATA;
}
