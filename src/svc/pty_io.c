/*
 * pty_io: what a shell writes goes to the hub, what people type goes to the shell.
 *
 * A readable terminal only queues one piece as bulk work: a hundred flooding terminals share the
 * loop among themselves and delay no request. The kernel hands out a terminal's output in crumbs of
 * a page at most, so one piece is as many reads as fill it, appended once.
 *
 * When the shell was reaped, what it wrote is somewhere in the kernel: for a pipe FIONREAD tells
 * how much, for a terminal it does not count what is still on its way, but a read that finds
 * nothing waits for that. So a terminal is read until a read finds nothing, and because descendants
 * can write for ever, until more was read than the kernel holds. That much is taken at once,
 * whatever the pace, so that a stalled client cannot keep a dead shell running; what descendants
 * write later is only taken until the linger is over.
 */
#include <assert.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/ptydev.h"
#include "pty_internal.h"

/* More than the kernel keeps of a terminal's output: some pages, see tty_buffer.c. */
#define PTY_KERNEL_BYTES 65536

/* After less than this there is most likely no more: if there is, the next turn tells. */
#define PTY_READ_AGAIN 1024

static void pty_source_on_readable(evutil_socket_t fd, short what, void *arg);
static void pty_source_on_read(void *arg);
static void pty_input_on_writable(evutil_socket_t fd, short what, void *arg);

static enum outhub_stream pty_source_stream(const struct pty_source *s)
{
	return s == &s->pty->sources[OUTHUB_STDERR] ? OUTHUB_STDERR : OUTHUB_STDOUT;
}

void pty_io_init(struct pty *t)
{
	for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
		t->sources[i] = (struct pty_source){.pty = t, .fd = -1};
		loop_deferred_init(&t->sources[i].read, pty_source_on_read, &t->sources[i]);
	}
	t->slave = -1;
	t->input = (struct pty_input){.fd = -1};
}

/* ---- output ---- */

/* Listens exactly while there is a descriptor and the hub takes more, or has to. */
static void pty_source_pace(struct pty_source *s)
{
	struct pty *t = s->pty;
	bool wanted = s->fd >= 0 && (s->left > 0 || !outhub_must_wait(t->hub));

	if (wanted == s->listening)
		return;
	s->listening = wanted;
	if (wanted) {
		event_add(&s->readable, NULL);
	} else {
		event_del(&s->readable);
		loop_defer_cancel(t->ps->cfg.loop, &s->read);
	}
}

void pty_on_pace(void *arg)
{
	struct pty *t = arg;

	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		pty_source_pace(&t->sources[i]);
}

void pty_source_open(struct pty *t, enum outhub_stream stream, int fd)
{
	struct pty_source *s = &t->sources[stream];

	assert(s->fd < 0);
	s->fd = fd;
	event_assign(&s->readable, loop_base(t->ps->cfg.loop), fd, EV_READ | EV_PERSIST,
		pty_source_on_readable, s);
	pty_source_pace(s);
}

static void pty_source_close(struct pty_source *s)
{
	int fd = s->fd;

	if (fd < 0)
		return;
	if (s->pty->input.fd == fd)
		pty_input_close(s->pty);
	s->fd = -1;
	s->left = 0;
	pty_source_pace(s);
	close(fd);
}

/*
 * Reads one piece. Returns its size; *end is set when that was all there will ever be, *empty when
 * there is no more now for sure.
 */
static size_t pty_source_read(
	struct pty_source *s, uint8_t *buf, size_t cap, bool *empty, bool *end)
{
	size_t n = 0, again = s->left > 0 ? 1 : PTY_READ_AGAIN;
	ssize_t got;

	do {
		got = read(s->fd, buf + n, cap - n);
		n += got > 0 ? (size_t)got : 0;
	} while (got >= (ssize_t)again && n < cap);
	*empty = got < 0 && errno == EAGAIN;
	*end = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
	/* EIO is how a terminal says that nobody has its other side open. */
	if (got < 0 && *end && errno != EIO)
		log_error("pty", "read id=%s: %s", s->pty->id, err_strerror(errno));
	return n;
}

static void pty_source_on_read(void *arg)
{
	struct pty_source *s = arg;
	struct pty *t = s->pty;
	size_t cap, max = limit_size(LIMIT_PROC_READ_BYTES), n;
	uint8_t *buf = loop_scratch(t->ps->cfg.loop, &cap);
	bool empty, end;

	assert(s->fd >= 0);
	n = pty_source_read(s, buf, cap < max ? cap : max, &empty, &end);
	if (n > 0)
		outhub_append(t->hub, pty_source_stream(s), buf, n);
	if (end)
		pty_source_close(s);
	else if (empty || n >= s->left)
		s->left = 0;
	else
		s->left -= n;
	pty_on_pace(t);
	if (s->left > 0)
		loop_defer_bulk(t->ps->cfg.loop, &s->read);
	pty_drain_check(t);
}

static void pty_source_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct pty_source *s = arg;

	(void)fd;
	(void)what;
	loop_defer_bulk(s->pty->ps->cfg.loop, &s->read);
}

/* ---- input ---- */

void pty_input_open(struct pty *t, int fd, bool owned)
{
	struct pty_input *in = &t->input;

	assert(in->fd < 0 && buf_len(&in->queue) == 0);
	in->fd = fd;
	in->owned = owned;
	event_assign(&in->writable, loop_base(t->ps->cfg.loop), fd, EV_WRITE | EV_PERSIST,
		pty_input_on_writable, t);
}

void pty_input_close(struct pty *t)
{
	struct pty_input *in = &t->input;

	if (in->fd < 0)
		return;
	if (in->listening)
		event_del(&in->writable);
	if (in->owned)
		close(in->fd);
	buf_fini(&in->queue);
	*in = (struct pty_input){.fd = -1};
}

/* One write(2). What the kernel does not take waits until it does. */
static void pty_input_flush(struct pty *t)
{
	struct pty_input *in = &t->input;
	ssize_t n = write(in->fd, buf_data(&in->queue), buf_len(&in->queue));
	bool wanted;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		/* The program has closed its stdin: nobody will ever read the rest. */
		log_debug("pty", "write id=%s: %s", t->id, err_strerror(errno));
		pty_input_close(t);
		return;
	}
	if (n > 0)
		buf_drain(&in->queue, (size_t)n);
	if (buf_len(&in->queue) == 0 && in->closing) {
		pty_input_close(t);
		return;
	}
	if (buf_len(&in->queue) == 0)
		buf_fini(&in->queue);
	wanted = buf_len(&in->queue) > 0;
	if (wanted == in->listening)
		return;
	in->listening = wanted;
	if (wanted)
		event_add(&in->writable, NULL);
	else
		event_del(&in->writable);
}

/* Who waits for room is told when half of it is free, or when he waits in vain. */
static void pty_input_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct pty *t = arg;
	bool full = t->input.full;

	(void)fd;
	(void)what;
	pty_input_flush(t);
	if (!full || pty_input_room(t) < limit_size(LIMIT_PTY_INPUT_BYTES) / 2)
		return;
	t->input.full = false;
	pty_tell(t, PTY_DUE_ROOM);
}

static bool pty_takes_input(const struct pty *t)
{
	return t->state == PTY_RUNNING && t->input.fd >= 0 && !t->input.closing;
}

/* Nothing is full of what nobody takes: pty_input() says why. */
size_t pty_input_room(const struct pty *t)
{
	size_t max = limit_size(LIMIT_PTY_INPUT_BYTES), n = buf_len(&t->input.queue);

	return n < max ? max - n : 0;
}

int pty_input(struct pty *t, const void *data, size_t n, struct err *e)
{
	struct pty_input *in = &t->input;

	if (!pty_takes_input(t))
		return err_set(e, &ERR_NOT_RUNNING, "the shell takes no input");
	if (n > pty_input_room(t)) {
		in->full = true;
		return err_set(e, &ERR_TOO_MANY, "%zu bytes of input wait for the program",
			buf_len(&in->queue));
	}
	if (n == 0)
		return 0;
	if (buf_add(&in->queue, data, n) < 0)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (!in->listening)
		pty_input_flush(t);
	if (pty_input_room(t) == 0)
		in->full = true;
	return 0;
}

int pty_eof(struct pty *t, struct err *e)
{
	struct pty_input *in = &t->input;
	uint8_t key = 4; /* Control-D, which a program in raw mode takes for it */

	if (!pty_takes_input(t))
		return err_set(e, &ERR_NOT_RUNNING, "the shell takes no input");
	if (!t->pipe_mode) {
		(void)ptydev_eof_key(in->fd, &key);
		return pty_input(t, &key, 1, e);
	}
	in->closing = true;
	if (buf_len(&in->queue) == 0)
		pty_input_close(t);
	return 0;
}

/* ---- the end ---- */

void pty_drain(struct pty *t)
{
	pty_input_close(t);
	if (t->slave >= 0)
		close(t->slave);
	t->slave = -1;
	for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
		struct pty_source *s = &t->sources[i];
		int ready = 0;

		if (s->fd < 0)
			continue;
		/* At least one read, which tells whether that was the end. */
		s->left = 1;
		if (!t->pipe_mode)
			s->left = PTY_KERNEL_BYTES;
		else if (ioctl(s->fd, FIONREAD, &ready) == 0 && ready > 0)
			s->left = (size_t)ready;
		pty_source_pace(s);
		loop_defer_bulk(t->ps->cfg.loop, &s->read);
	}
	loop_arm(&t->timer, limit(LIMIT_PROC_LINGER_MS));
	pty_drain_check(t);
}

void pty_drain_check(struct pty *t)
{
	bool open = false;

	if (t->state != PTY_DRAINING)
		return;
	for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
		if (t->sources[i].left > 0)
			return;
		open = open || t->sources[i].fd >= 0;
	}
	if (!open || t->linger_over)
		pty_drained(t);
}

void pty_io_close(struct pty *t)
{
	pty_input_close(t);
	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		pty_source_close(&t->sources[i]);
	if (t->slave >= 0)
		close(t->slave);
	t->slave = -1;
}
