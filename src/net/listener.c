/*
 * Listening sockets. Accepting stops while there are too many connections or too few descriptors,
 * and goes on when one is closed or after a pause: clients then wait in the kernel's backlog
 * instead of being refused.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "net_internal.h"

/* Connections taken in one turn of the loop, so that a burst of them delays nobody. */
#define LISTENER_BATCH 32

/* Bytes that the kernel takes for a connection before the client's window takes them. */
#define LISTENER_UNSENT 131072

/* Connections that wait to be accepted. Not SOMAXCONN: to musl that is 128; the kernel has its own
 * limit. */
#define LISTENER_BACKLOG 4096

union listener_addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

static int listener_parse_unix(
	const char *path, union listener_addr *a, socklen_t *len, struct err *e)
{
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(a->un.sun_path))
		return err_set(e, &ERR_RUNTIME, "socket path is empty or too long");
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path, path, n + 1);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

static int listener_parse(const char *addr, union listener_addr *a, socklen_t *len, struct err *e)
{
	char host[INET6_ADDRSTRLEN + 2];
	const char *colon = strrchr(addr, ':');
	uint64_t port;

	memset(a, 0, sizeof(*a));
	if (strncmp(addr, "unix:", 5) == 0)
		return listener_parse_unix(addr + 5, a, len, e);
	if (colon == NULL || (size_t)(colon - addr) >= sizeof(host) ||
		!str_u64(str_of(colon + 1), &port) || port > UINT16_MAX)
		return err_set(e, &ERR_RUNTIME, "not ADDR:PORT or unix:/path");
	memcpy(host, addr, (size_t)(colon - addr));
	host[colon - addr] = '\0';
	size_t n = strlen(host);

	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons((uint16_t)port);
		*len = sizeof(a->in6);
		if (inet_pton(AF_INET6, host + 1, &a->in6.sin6_addr) == 1)
			return 0;
	} else {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons((uint16_t)port);
		*len = sizeof(a->in);
		if (strcmp(host, "localhost") == 0)
			a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		else if (inet_pton(AF_INET, host, &a->in.sin_addr) != 1)
			return err_set(e, &ERR_RUNTIME, "not a numeric address");
		return 0;
	}
	return err_set(e, &ERR_RUNTIME, "not a numeric IPv6 address");
}

/* A socket file that nobody listens on any more may be replaced; anything else may not. */
static int listener_clear_stale(const struct sockaddr_un *un, socklen_t len, struct err *e)
{
	struct stat st;
	CLEANUP_FD int probe = -1;

	if (lstat(un->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, &ERR_RUNTIME, "the path exists and is no socket");
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe >= 0 && connect(probe, (const struct sockaddr *)un, len) == 0)
		return err_set(e, &ERR_RUNTIME, "another process listens there");
	if (unlink(un->sun_path) < 0)
		return err_sys(e, &ERR_RUNTIME, "remove stale socket");
	return 0;
}

/*
 * Whoever starts the daemon waits for this line, so no log level hides it. Finds out the real port
 * for it, which stays as it is for a unix socket.
 */
static void listener_log(const union listener_addr *want, const char *addr, int fd, uint16_t *port)
{
	static struct log_site site;
	union listener_addr real;
	socklen_t len = sizeof(real);
	char text[INET6_ADDRSTRLEN];

	if (want->sa.sa_family == AF_UNIX) {
		log_write(&site, LOG_LEVEL_INFO, "net", "listening addr=%s", addr);
		return;
	}
	if (getsockname(fd, &real.sa, &len) < 0)
		real = *want;
	*port = ntohs(real.sa.sa_family == AF_INET6 ? real.in6.sin6_port : real.in.sin_port);
	if (real.sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &real.in6.sin6_addr, text, sizeof(text));
		log_write(&site, LOG_LEVEL_INFO, "net", "listening addr=[%s]:%u", text,
			ntohs(real.in6.sin6_port));
	} else {
		inet_ntop(AF_INET, &real.in.sin_addr, text, sizeof(text));
		log_write(&site, LOG_LEVEL_INFO, "net", "listening addr=%s:%u", text,
			ntohs(real.in.sin_port));
	}
}

int listener_fd_ceiling(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur == RLIM_INFINITY ||
		rl.rlim_cur > INT32_MAX)
		return INT32_MAX;
	int all = (int)rl.rlim_cur, reserve = (int)limit(LIMIT_HTTP_FD_RESERVE);

	/* Where there are hardly any, commands and connections share them evenly. */
	return all - (reserve < all / 2 ? reserve : all / 2);
}

/* The kernel gives the lowest free number: the one a new descriptor would get tells. */
static bool listener_fds_short(const struct listener *l)
{
	CLEANUP_FD int probe = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);

	return probe < 0 || probe >= listener_fd_ceiling();
}

static void listener_pause_for(struct server *s, int64_t ms)
{
	listener_pause(s);
	loop_arm(&s->resume, ms);
}

static void listener_on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	struct server *s = l->srv;

	(void)what;
	for (int i = 0; i < LISTENER_BATCH; i++) {
		if (s->nconns >= limit_size(LIMIT_HTTP_CONNECTIONS)) {
			log_warn("net", "accept paused reason=connections count=%zu", s->nconns);
			listener_pause(s);
			return;
		}
		int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (got < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
				errno == ENOMEM) {
				log_warn("net", "accept paused reason=%s", err_strerror(errno));
				listener_pause_for(s, limit(LIMIT_HTTP_ACCEPT_PAUSE_MS));
				return;
			}
			if (errno == ECONNABORTED || errno == EINTR)
				continue;
			if (errno != EAGAIN)
				log_error("net", "accept failed reason=%s", err_strerror(errno));
			return;
		}
		conn_new(s, got, l->unix_path != NULL);
		if (got >= listener_fd_ceiling()) {
			log_warn("net", "accept paused reason=reserve fd=%d", got);
			listener_pause_for(s, limit(LIMIT_HTTP_ACCEPT_PAUSE_MS));
			return;
		}
	}
}

void listener_pause(struct server *s)
{
	struct listener *l;

	s->paused = true;
	SLIST_FOREACH(l, &s->listeners, link)
		event_del(&l->io);
}

void listener_resume(struct server *s)
{
	struct listener *l = SLIST_FIRST(&s->listeners);

	if (l == NULL || s->nconns >= limit_size(LIMIT_HTTP_CONNECTIONS))
		return;
	/* Else each pause would let one more in, and use up the reserve after all. */
	if (listener_fds_short(l)) {
		listener_pause_for(s, limit(LIMIT_HTTP_ACCEPT_PAUSE_MS));
		return;
	}
	s->paused = false;
	evtimer_del(&s->resume);
	SLIST_FOREACH(l, &s->listeners, link)
		event_add(&l->io, NULL);
}

int listener_open(struct server *s, const char *addr, struct err *e)
{
	union listener_addr a;
	socklen_t len = 0;
	CLEANUP_FD int fd = -1;
	const int on = 1, unsent = LISTENER_UNSENT;

	if (listener_parse(addr, &a, &len, e) < 0)
		return err_wrap(e, "listen on %s", addr);
	if (a.sa.sa_family == AF_UNIX && listener_clear_stale(&a.un, len, e) < 0)
		return err_wrap(e, "listen on %s", addr);
	fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, &ERR_RUNTIME, "listen on %s", addr);
	if (a.sa.sa_family != AF_UNIX) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		/* Inherited by what is accepted: an event must not wait for the ACK of the one
		 * before. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		/*
		 * Nor must a reader that hangs make the kernel hold megabytes for it: a thousand of
		 * them would reach the limit at which every socket of the box is slowed down.
		 */
		setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	}
	if (a.sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	/* Only the daemon's own user may connect to a socket file: its mode is its access control.
	 */
	mode_t old = umask(0177);
	int bound = bind(fd, &a.sa, len);

	umask(old);
	if (bound < 0 || listen(fd, LISTENER_BACKLOG) < 0)
		return err_sys(e, &ERR_RUNTIME, "listen on %s", addr);

	struct listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	l->srv = s;
	if (a.sa.sa_family == AF_UNIX) {
		l->unix_path = strdup(a.un.sun_path);
		if (l->unix_path == NULL) {
			free(l);
			return err_set(e, &ERR_UNAVAILABLE, "out of memory");
		}
	}
	l->fd = steal_fd(&fd);
	event_assign(
		&l->io, loop_base(s->loop), l->fd, EV_READ | EV_PERSIST, listener_on_accept, l);
	event_add(&l->io, NULL);
	SLIST_INSERT_HEAD(&s->listeners, l, link);
	listener_log(&a, addr, l->fd, &l->port);
	return 0;
}

void listener_close(struct listener *l)
{
	event_del(&l->io);
	close(l->fd);
	if (l->unix_path != NULL)
		unlink(l->unix_path);
	free(l->unix_path);
	free(l);
}
