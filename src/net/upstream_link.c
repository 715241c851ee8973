/*
 * upstream_link: connections to servers on local ports, and those that are kept.
 *
 * Like a client's connection, one of these has an edge-triggered event for input that is registered
 * once, so that an exchange over a kept connection costs no epoll_ctl(2): one send, one wake-up and
 * one read. A connection that has not been accepted yet is treated as one whose socket is full:
 * sending is tried at once, because on the loopback it mostly stands when connect(2) returns, and
 * whatever is wrong with it comes back as the error of a send.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "net_internal.h"
#include "upstream_internal.h"

/* ---- deadlines ---- */

/*
 * Armed lazily, like those of clients: moving a deadline back only notes it, and the timer, when it
 * fires too early, is armed again.
 */
static void upstream_link_arm(struct upstream_link *l, int64_t now)
{
	int64_t ms = l->deadline_ms > now ? l->deadline_ms - now : 0;

	l->armed_ms = l->deadline_ms;
	loop_arm(&l->timer, ms);
}

void upstream_link_set_deadline(struct upstream_link *l, int64_t after_ms)
{
	int64_t now = clock_mono_ms();

	l->deadline_ms = now + after_ms;
	if (l->armed_ms == 0 || l->armed_ms > l->deadline_ms)
		upstream_link_arm(l, now);
}

void upstream_link_clear_deadline(struct upstream_link *l)
{
	l->deadline_ms = 0;
}

static void upstream_link_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_link *l = arg;
	int64_t now = clock_mono_ms();

	(void)fd;
	(void)what;
	l->armed_ms = 0;
	if (l->deadline_ms == 0)
		return;
	if (now < l->deadline_ms) {
		upstream_link_arm(l, now);
		return;
	}
	l->deadline_ms = 0;
	if (l->u != NULL)
		upstream_on_deadline(l->u);
	else
		upstream_link_close(l);
}

/* ---- life ---- */

static void upstream_link_release(void *arg)
{
	free(arg);
}

static void upstream_link_forget(struct upstream_link *l)
{
	TAILQ_REMOVE(&l->ups->idle, l, by_age);
	LIST_REMOVE(l, by_port);
	l->ups->nidle--;
}

void upstream_link_close(struct upstream_link *l)
{
	if (l->closed)
		return;
	if (l->u == NULL)
		upstream_link_forget(l);
	l->closed = true;
	event_del(&l->io);
	event_del(&l->drain);
	event_del(&l->timer);
	close(l->fd);
	l->fd = -1;
	loop_defer(l->ups->loop, &l->release);
}

/* Open, and with nothing to read: what arrives between two exchanges belongs to none of them. */
static bool upstream_link_is_quiet(const struct upstream_link *l)
{
	uint8_t byte;

	return recv(l->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void upstream_link_on_io(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_link *l = arg;

	(void)fd;
	l->readable = true;
	if (what & EV_CLOSED)
		l->fin = true;
	if (l->u == NULL) {
		if (!upstream_link_is_quiet(l))
			upstream_link_close(l);
	} else if (l->connected) {
		upstream_on_readable(l->u);
	} else {
		l->writable = true;
		upstream_on_writable(l->u);
	}
}

static void upstream_link_on_drain(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_link *l = arg;

	(void)fd;
	(void)what;
	l->writable = true;
	if (l->u != NULL)
		upstream_on_writable(l->u);
}

/* ---- kept connections ---- */

struct upstream_link *upstream_link_reuse(struct upstreams *ups, uint16_t port, bool sure)
{
	struct upstream_link *l, *next;

	for (l = LIST_FIRST(&ups->by_port[port % UPSTREAM_BUCKETS]); l != NULL; l = next) {
		next = LIST_NEXT(l, by_port);
		if (l->port != port)
			continue;
		if (sure && !upstream_link_is_quiet(l)) {
			upstream_link_close(l);
			continue;
		}
		upstream_link_forget(l);
		upstream_link_clear_deadline(l);
		l->reused = true;
		return l;
	}
	return NULL;
}

void upstream_link_keep(struct upstream_link *l)
{
	struct upstreams *ups = l->ups;
	size_t most = limit_size(LIMIT_PROXY_IDLE_COUNT);

	if (most == 0 || l->fin || (l->readable && !upstream_link_is_quiet(l))) {
		upstream_link_close(l);
		return;
	}
	if (ups->nidle >= most)
		upstream_link_close(TAILQ_LAST(&ups->idle, upstream_link_list));
	l->u = NULL;
	TAILQ_INSERT_HEAD(&ups->idle, l, by_age);
	LIST_INSERT_HEAD(&ups->by_port[l->port % UPSTREAM_BUCKETS], l, by_port);
	ups->nidle++;
	upstream_link_set_deadline(l, limit(LIMIT_PROXY_IDLE_MS));
}

/* ---- connecting ---- */

union upstream_address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t upstream_link_address(union upstream_address *a, uint16_t port, bool ipv6)
{
	*a = (union upstream_address){0};
	if (ipv6) {
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons(port);
		a->in6.sin6_addr = in6addr_loopback;
		return sizeof(a->in6);
	}
	a->in.sin_family = AF_INET;
	a->in.sin_port = htons(port);
	a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(a->in);
}

/* A socket, within the descriptors that connections may use; kept ones make way. -1 with errno. */
static int upstream_link_socket(struct upstreams *ups, int family)
{
	for (;;) {
		int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		if (fd >= 0 && fd < listener_fd_ceiling())
			return fd;
		if (fd >= 0) {
			close(fd);
			errno = EMFILE;
		}
		if ((errno != EMFILE && errno != ENFILE) || TAILQ_EMPTY(&ups->idle))
			return -1;
		upstream_link_close(TAILQ_LAST(&ups->idle, upstream_link_list));
	}
}

static struct upstream_link *upstream_link_new(
	struct upstreams *ups, uint16_t port, bool ipv6, int fd)
{
	struct upstream_link *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->ups = ups;
	l->fd = fd;
	l->port = port;
	l->ipv6 = ipv6;
	l->writable = true;
	loop_deferred_init(&l->release, upstream_link_release, l);
	evtimer_assign(&l->timer, loop_base(ups->loop), upstream_link_on_timer, l);
	event_assign(&l->io, loop_base(ups->loop), fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST,
		upstream_link_on_io, l);
	event_assign(&l->drain, loop_base(ups->loop), fd, EV_WRITE | EV_ET | EV_PERSIST,
		upstream_link_on_drain, l);
	if (event_add(&l->io, NULL) < 0) {
		free(l);
		return NULL;
	}
	return l;
}

struct upstream_link *upstream_link_dial(
	struct upstreams *ups, uint16_t port, bool ipv6, struct err *e)
{
	union upstream_address a;
	socklen_t len = upstream_link_address(&a, port, ipv6);
	CLEANUP_FD int fd = upstream_link_socket(ups, a.sa.sa_family);
	const int on = 1;
	struct upstream_link *l;

	if (fd < 0) {
		err_sys(e, errno == EAFNOSUPPORT ? &ERR_BAD_GATEWAY : &ERR_UNAVAILABLE,
			"connect to port %u", port);
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, &a.sa, len) < 0 && errno != EINPROGRESS) {
		err_sys(e, &ERR_BAD_GATEWAY, "connect to port %u", port);
		return NULL;
	}
	/* Only now: epoll(7) calls a socket that has not begun to connect a broken one. */
	l = upstream_link_new(ups, port, ipv6, fd);
	if (l == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	(void)steal_fd(&fd);
	return l;
}

/* ---- bytes ---- */

ssize_t upstream_link_send(struct upstream_link *l, const uint8_t *data, size_t n)
{
	ssize_t done;

	if (!l->writable)
		return 0;
	do
		done = send(l->fd, data, n, MSG_NOSIGNAL);
	while (done < 0 && errno == EINTR);
	if (done < 0 && errno != EAGAIN)
		return -1;
	if (done < 0)
		done = 0;
	else
		l->connected = true;
	if ((size_t)done < n) {
		/* A short write means that the socket is full. */
		l->writable = false;
		if (!l->draining && event_add(&l->drain, NULL) < 0) {
			errno = ENOMEM;
			return -1;
		}
		l->draining = true;
	}
	return done;
}

void upstream_link_sent(struct upstream_link *l)
{
	if (l->draining)
		event_del(&l->drain);
	l->draining = false;
}

ssize_t upstream_link_read(struct upstream_link *l)
{
	ssize_t n;

	do
		n = recv(l->fd, l->ups->scratch, UPSTREAM_READ, 0);
	while (n < 0 && errno == EINTR);
	/* A short read has emptied the socket, and the kernel tells when there is more. */
	if (n > 0 && n < UPSTREAM_READ)
		l->readable = l->fin;
	else if (n < 0 && errno == EAGAIN)
		l->readable = false;
	return n;
}

/* ---- the pool ---- */

struct upstreams *upstreams_new(struct loop *l, struct err *e)
{
	struct upstreams *ups = calloc(1, sizeof(*ups));

	/* Memory that is not touched costs nothing until the first exchange. */
	if (ups != NULL)
		ups->scratch = malloc(UPSTREAM_READ);
	if (ups == NULL || ups->scratch == NULL) {
		free(ups);
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	ups->loop = l;
	TAILQ_INIT(&ups->idle);
	return ups;
}

size_t upstreams_count(const struct upstreams *ups)
{
	return ups->count;
}

void upstreams_free(struct upstreams *ups)
{
	if (ups == NULL)
		return;
	assert(ups->count == 0);
	while (!TAILQ_EMPTY(&ups->idle))
		upstream_link_close(TAILQ_FIRST(&ups->idle));
	free(ups->scratch);
	free(ups);
}
