/*
 * The output of a connection: a queue in memory that is written when there is room, and files that
 * go from the page cache to the socket without passing through memory of ours.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "boxd/limits.h"
#include "net_internal.h"

#define CONN_SPARE_MAX 1048576 /* the largest output queue that is kept */

/*
 * A drained queue goes, because idle streams are many. One large one is kept for the next that
 * streams: growing it anew for every turn of a flood would be most of the work.
 */
static void conn_give_out(struct conn *c)
{
	struct buf *spare = &c->srv->spare_out;

	if (c->out.cap > spare->cap && c->out.cap <= CONN_SPARE_MAX) {
		buf_fini(spare);
		*spare = c->out;
		buf_clear(spare);
		c->out = (struct buf){0};
	}
	buf_fini(&c->out);
}

void conn_take_out(struct conn *c)
{
	if (c->out.mem != NULL)
		return;
	c->out = c->srv->spare_out;
	c->srv->spare_out = (struct buf){0};
}

/* Until the kernel says that there is room; a new stall begins when there was progress before. */
static void conn_wait_writable(struct conn *c, bool new_stall)
{
	c->writable = false;
	c->draining = true;
	event_add(&c->drain, NULL);
	if (new_stall)
		conn_set_deadline(c, limit(LIMIT_HTTP_WRITE_STALL_MS));
}

void conn_flush(struct conn *c)
{
	while (c->state != CONN_CLOSED && c->writable && buf_len(&c->out) > 0) {
		ssize_t n = send(c->fd, buf_data(&c->out), buf_len(&c->out), MSG_NOSIGNAL);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN) {
				conn_gone(c, errno);
				return;
			}
			conn_wait_writable(c, c->deadline_ms == 0);
			return;
		}
		/* A short write means that the socket is full. */
		bool full = (size_t)n < buf_len(&c->out);

		buf_drain(&c->out, (size_t)n);
		if (c->state == CONN_REPLY || c->state == CONN_TUNNEL || c->state == CONN_FLUSH)
			conn_clear_deadline(c);
		else if (c->state == CONN_FEED)
			body_feed_touch(c);
		if (full)
			conn_wait_writable(c, true);
	}
	if (c->state != CONN_CLOSED && buf_len(&c->out) == 0) {
		if (c->draining)
			event_del(&c->drain);
		c->draining = false;
		conn_give_out(c);
		tunnel_written(c);
	}
}

/* Full packets only, until the file has been sent (tcp(7)); of no use on a unix socket. */
static void conn_cork(struct conn *c, bool on)
{
	int value = on;

	if (c->corked == on || c->unix_socket)
		return;
	c->corked = on;
	setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &value, sizeof(value));
}

void conn_uncork(struct conn *c)
{
	if (c->state != CONN_CLOSED)
		conn_cork(c, false);
}

ssize_t conn_send_file(struct conn *c, int fd, uint64_t *offset, size_t n)
{
	off_t at = (off_t)*offset;
	ssize_t sent;

	conn_cork(c, true);
	conn_flush(c);
	if (c->state == CONN_CLOSED || !c->writable || buf_len(&c->out) > 0)
		return 0;
	do
		sent = sendfile(c->fd, fd, &at, n);
	while (sent < 0 && errno == EINTR);
	if (sent > 0) {
		*offset = (uint64_t)at;
		conn_clear_deadline(c);
		return sent;
	}
	if (sent < 0 && errno == EAGAIN) {
		conn_wait_writable(c, c->deadline_ms == 0);
		return 0;
	}
	/* The end of a file that has become shorter, or the disk, or the client has gone. */
	if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
		conn_gone(c, errno);
		return 0;
	}
	return -1;
}
