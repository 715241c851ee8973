/*
 * ports: waiting until somebody listens.
 *
 * The kernel tells nobody that a port begins to be listened on. This is the one place in boxd that
 * therefore looks again and again: it tries to connect, every millisecond at first and every 50
 * later. A round of tries, one for IPv4 and one for IPv6, belongs to a port, not to a request: a
 * hundred that wait for one port cost one round at a time. A request that comes makes the rounds
 * quick again, and one whose time is over is answered by the first round that begins after that, so
 * that what happened in time is seen, and a request that may not wait at all is the same thing.
 *
 * A connection that was made has served its purpose. Closing it with bytes unread would make the
 * kernel send a reset, and a server that greets its clients would log a failure: so it is shut
 * down, and what comes is thrown away until the server has closed too, or a second has passed.
 */
#include "boxd/ports.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "boxd/clock.h"
#include "boxd/limits.h"

#define PORTS_DELAY_MIN_MS 1
#define PORTS_DELAY_MAX_MS 50
/* A try that is neither accepted nor refused: the server's queue is full, the kernel would repeat
 * the request after a second. It is given up, and the next one asks again. */
#define PORTS_ROUND_MS 200
/* From our end of a connection to the server's. */
#define PORTS_FAREWELL_MS  1000
#define PORTS_FAREWELL_MAX 64
#define PORTS_BUCKETS      256

enum ports_family { PORTS_IPV4, PORTS_IPV6, PORTS_FAMILIES };

enum ports_try_result { PORTS_REFUSED, PORTS_PENDING, PORTS_ACCEPTED };

struct ports_try {
	struct ports_probe *probe;
	int fd; /* -1: none under way */
	struct event writable;
};

TAILQ_HEAD(ports_wait_list, ports_wait);

/* A port somebody waits for. */
struct ports_probe {
	LIST_ENTRY(ports_probe) link;
	struct ports *ports;
	uint16_t port;
	bool looking;      /* a round is under way */
	uint64_t round;    /* the last that began, from 1 */
	int64_t begun_ms;  /* when it did */
	int64_t delay_ms;  /* from the next round's end to the one after it */
	int sys;           /* why a try of the round could not be made */
	struct event tick; /* begins a round, or ends one */
	struct ports_try tries[PORTS_FAMILIES];
	struct ports_wait_list waits;
};

struct ports_wait {
	TAILQ_ENTRY(ports_wait) link;
	struct ports *ports;
	struct ports_probe *probe; /* NULL: settled */
	uint64_t round;            /* the first that counts */
	bool late;                 /* that round is the last, too */
	struct event deadline;
	int64_t begun_ms, deadline_ms, ended_ms;
	const char *address; /* once settled: a literal, or NULL with err */
	struct err err;
	ports_wait_fn *fn;
	void *arg;
};

/* A connection on its way out. */
struct ports_farewell {
	TAILQ_ENTRY(ports_farewell) link;
	struct ports *ports;
	int fd;
	int64_t deadline_ms;
	struct event readable;
};

struct ports {
	struct loop *loop;
	bool stopping;
	size_t nwaits;
	LIST_HEAD(, ports_probe) probes[PORTS_BUCKETS];
	struct ports_wait_list settled; /* to be told */
	struct loop_deferred tell;
	TAILQ_HEAD(, ports_farewell) farewells; /* the oldest first */
	size_t nfarewells;
};

/* -1: out of memory. Never for a timer that runs already. */
__attribute__((warn_unused_result)) static int ports_arm(struct event *ev, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	return event_add(ev, &tv);
}

/* ---- farewell ---- */

static void ports_farewell_end(struct ports_farewell *f)
{
	TAILQ_REMOVE(&f->ports->farewells, f, link);
	f->ports->nfarewells--;
	event_del(&f->readable);
	close(f->fd);
	free(f);
}

static void ports_on_farewell(evutil_socket_t fd, short what, void *arg)
{
	struct ports_farewell *f = arg;
	size_t cap;
	uint8_t *scratch = loop_scratch(f->ports->loop, &cap);
	ssize_t n = -1;

	if ((what & EV_READ) && clock_mono_ms() < f->deadline_ms)
		n = recv(fd, scratch, cap, 0);
	else
		errno = ETIMEDOUT;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		ports_farewell_end(f);
}

/* Takes over a connection that is not wanted any more. */
static void ports_part(struct ports *p, int fd)
{
	static const struct timeval quiet = {.tv_sec = PORTS_FAREWELL_MS / 1000};
	struct ports_farewell *f = malloc(sizeof(*f));

	if (f == NULL) {
		close(fd);
		return;
	}
	if (p->nfarewells == PORTS_FAREWELL_MAX)
		ports_farewell_end(TAILQ_FIRST(&p->farewells));
	shutdown(fd, SHUT_WR);
	f->ports = p;
	f->fd = fd;
	f->deadline_ms = clock_mono_ms() + PORTS_FAREWELL_MS;
	TAILQ_INSERT_TAIL(&p->farewells, f, link);
	p->nfarewells++;
	event_assign(
		&f->readable, loop_base(p->loop), fd, EV_READ | EV_PERSIST, ports_on_farewell, f);
	if (event_add(&f->readable, &quiet) < 0)
		ports_farewell_end(f);
}

/* ---- tries ---- */

/*
 * Where nobody listens, a connection from a port to itself is possible: the kernel may give our
 * end, of all numbers, the one it is to connect to, and both ends then find each other. It is cut,
 * so that nothing of it stands in the way of a server that wants the port.
 */
static bool ports_is_own_echo(int fd)
{
	static const struct linger cut = {.l_onoff = 1};
	struct sockaddr_storage here = {0}, there = {0};
	socklen_t nhere = sizeof(here), nthere = sizeof(there);

	if (getsockname(fd, (struct sockaddr *)&here, &nhere) < 0 ||
		getpeername(fd, (struct sockaddr *)&there, &nthere) < 0)
		return true; /* it broke in the meantime: nothing that accepts */
	if (nhere != nthere || memcmp(&here, &there, nhere) != 0)
		return false;
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &cut, sizeof(cut));
	return true;
}

/* The try came to its end, with this errno. */
static enum ports_try_result ports_try_end(struct ports_try *t, int error)
{
	int fd = t->fd;

	t->fd = -1;
	if (error != 0 || ports_is_own_echo(fd)) {
		close(fd);
		return PORTS_REFUSED;
	}
	ports_part(t->probe->ports, fd);
	return PORTS_ACCEPTED;
}

static void ports_try_drop(struct ports_try *t)
{
	if (t->fd < 0)
		return;
	event_del(&t->writable);
	close(t->fd);
	t->fd = -1;
}

static int ports_connect(int fd, enum ports_family family, uint16_t port)
{
	if (family == PORTS_IPV4) {
		const struct sockaddr_in sin = {
			.sin_family = AF_INET,
			.sin_port = htons(port),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		};

		return connect(fd, (const struct sockaddr *)&sin, sizeof(sin));
	}
	const struct sockaddr_in6 sin6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};

	return connect(fd, (const struct sockaddr *)&sin6, sizeof(sin6));
}

static void ports_on_writable(evutil_socket_t fd, short what, void *arg);

/* Mostly the loopback answers at once. */
static enum ports_try_result ports_try_begin(struct ports_probe *pr, enum ports_family family)
{
	struct ports_try *t = &pr->tries[family];
	int domain = family == PORTS_IPV4 ? AF_INET : AF_INET6;

	t->fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0) {
		if (errno != EAFNOSUPPORT)
			pr->sys = errno;
		return PORTS_REFUSED;
	}
	if (ports_connect(t->fd, family, pr->port) == 0)
		return ports_try_end(t, 0);
	if (errno != EINPROGRESS)
		return ports_try_end(t, errno);
	event_assign(
		&t->writable, loop_base(pr->ports->loop), t->fd, EV_WRITE, ports_on_writable, t);
	if (event_add(&t->writable, NULL) < 0)
		return ports_try_end(t, ENOMEM);
	return PORTS_PENDING;
}

/* ---- settling ---- */

static void ports_probe_free(struct ports_probe *pr)
{
	assert(TAILQ_EMPTY(&pr->waits));
	event_del(&pr->tick);
	for (size_t i = 0; i < PORTS_FAMILIES; i++)
		ports_try_drop(&pr->tries[i]);
	LIST_REMOVE(pr, link);
	free(pr);
}

/* Its answer is known; it is told later, when nothing of ours is on the stack. */
static void ports_settle(struct ports_wait *w, const char *address)
{
	TAILQ_REMOVE(&w->probe->waits, w, link);
	w->probe = NULL;
	event_del(&w->deadline);
	w->address = address;
	w->ended_ms = clock_mono_ms();
	TAILQ_INSERT_TAIL(&w->ports->settled, w, link);
	loop_defer(w->ports->loop, &w->ports->tell);
}

/* Whoever is told may do anything: wait for another port, leave for another waiter. */
static void ports_tell(void *arg)
{
	struct ports *p = arg;
	struct ports_wait *w;

	while ((w = TAILQ_FIRST(&p->settled)) != NULL) {
		struct ports_wait told = *w;

		TAILQ_REMOVE(&p->settled, w, link);
		p->nwaits--;
		free(w);
		told.fn(told.address, told.ended_ms - told.begun_ms,
			told.err.kind != NULL ? &told.err : NULL, told.arg);
	}
}

/* ---- rounds ---- */

/* Nobody gets what they wait for. */
static void ports_give_up(struct ports_probe *pr, const char *why)
{
	while (!TAILQ_EMPTY(&pr->waits)) {
		struct ports_wait *w = TAILQ_FIRST(&pr->waits);

		err_set(&w->err, &ERR_UNAVAILABLE, "%s", why);
		ports_settle(w, NULL);
	}
}

static void ports_round_failed(struct ports_probe *pr)
{
	struct ports_wait *w, *next;

	pr->looking = false;
	for (size_t i = 0; i < PORTS_FAMILIES; i++)
		ports_try_drop(&pr->tries[i]);
	for (w = TAILQ_FIRST(&pr->waits); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if (!w->late || w->round > pr->round)
			continue;
		if (pr->sys == 0)
			err_set(&w->err, &ERR_GATEWAY_TIMEOUT, "nothing accepts on port %u",
				pr->port);
		else
			err_set(&w->err, &ERR_UNAVAILABLE, "cannot make a connection now");
		w->err.sys = pr->sys;
		ports_settle(w, NULL);
	}
	if (!TAILQ_EMPTY(&pr->waits) && ports_arm(&pr->tick, pr->delay_ms) < 0)
		ports_give_up(pr, "out of memory");
	if (TAILQ_EMPTY(&pr->waits)) {
		ports_probe_free(pr);
		return;
	}
	pr->delay_ms *= 2;
	if (pr->delay_ms > PORTS_DELAY_MAX_MS)
		pr->delay_ms = PORTS_DELAY_MAX_MS;
}

static void ports_round_accepted(struct ports_probe *pr, enum ports_family family)
{
	while (!TAILQ_EMPTY(&pr->waits))
		ports_settle(TAILQ_FIRST(&pr->waits), family == PORTS_IPV4 ? "127.0.0.1" : "::1");
	ports_probe_free(pr);
}

static void ports_round_begin(struct ports_probe *pr)
{
	bool pending = false;

	pr->looking = true;
	pr->round++;
	pr->begun_ms = clock_mono_ms();
	pr->sys = 0;
	for (enum ports_family f = 0; f < PORTS_FAMILIES; f++) {
		enum ports_try_result res = ports_try_begin(pr, f);

		if (res == PORTS_ACCEPTED) {
			ports_round_accepted(pr, f);
			return;
		}
		pending = pending || res == PORTS_PENDING;
	}
	if (!pending || ports_arm(&pr->tick, PORTS_ROUND_MS) < 0)
		ports_round_failed(pr);
}

static void ports_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct ports_try *t = arg;
	struct ports_probe *pr = t->probe;
	int error = 0;
	socklen_t n = sizeof(error);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (ports_try_end(t, error) == PORTS_ACCEPTED)
		ports_round_accepted(pr, (enum ports_family)(t - pr->tries));
	else if (pr->tries[PORTS_IPV4].fd < 0 && pr->tries[PORTS_IPV6].fd < 0)
		ports_round_failed(pr);
}

static void ports_on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct ports_probe *pr = arg;

	(void)fd;
	(void)what;
	if (pr->looking)
		ports_round_failed(pr);
	else
		ports_round_begin(pr);
}

/* ---- waits ---- */

static struct ports_probe *ports_probe_of(struct ports *p, uint16_t port)
{
	struct ports_probe *pr;

	LIST_FOREACH(pr, &p->probes[port % PORTS_BUCKETS], link) {
		if (pr->port == port)
			return pr;
	}
	pr = calloc(1, sizeof(*pr));
	if (pr == NULL)
		return NULL;
	pr->ports = p;
	pr->port = port;
	for (size_t i = 0; i < PORTS_FAMILIES; i++)
		pr->tries[i] = (struct ports_try){.probe = pr, .fd = -1};
	TAILQ_INIT(&pr->waits);
	event_assign(&pr->tick, loop_base(p->loop), -1, 0, ports_on_tick, pr);
	LIST_INSERT_HEAD(&p->probes[port % PORTS_BUCKETS], pr, link);
	return pr;
}

/*
 * A round that begins from now on counts for this wait, and comes as soon as may be. -1: out of
 * memory; not when the port has been looked at before, for then its tick runs.
 */
static int ports_want_round(struct ports_wait *w)
{
	struct ports_probe *pr = w->probe;
	bool just_now = pr->round > 0 && clock_mono_ms() - pr->begun_ms < PORTS_DELAY_MIN_MS;

	w->round = pr->round + 1;
	pr->delay_ms = PORTS_DELAY_MIN_MS;
	if (pr->looking)
		return 0;
	return ports_arm(&pr->tick, just_now ? PORTS_DELAY_MIN_MS : 0);
}

static void ports_on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct ports_wait *w = arg;

	(void)fd;
	(void)what;
	/* Timers go by a coarse clock, and may be some milliseconds early. */
	int64_t left = w->deadline_ms - clock_mono_ms();

	if (left > 0 && ports_arm(&w->deadline, left) == 0)
		return;
	w->late = true;
	(void)ports_want_round(w);
}

struct ports_wait *ports_wait_start(struct ports *p, uint16_t port, int64_t timeout_ms,
	ports_wait_fn *fn, void *arg, struct err *e)
{
	struct ports_wait *w = NULL;

	if (p->stopping) {
		err_set(e, &ERR_UNAVAILABLE, "shutting down");
		return NULL;
	}
	if (p->nwaits >= limit_size(LIMIT_PORT_WAITS)) {
		err_set(e, &ERR_TOO_MANY, "too many requests wait for a port");
		return NULL;
	}
	struct ports_probe *pr = ports_probe_of(p, port);

	if (pr != NULL)
		w = calloc(1, sizeof(*w));
	if (w == NULL) {
		if (pr != NULL && TAILQ_EMPTY(&pr->waits))
			ports_probe_free(pr);
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	w->ports = p;
	w->probe = pr;
	w->fn = fn;
	w->arg = arg;
	w->begun_ms = clock_mono_ms();
	w->deadline_ms = w->begun_ms + timeout_ms;
	w->late = timeout_ms == 0;
	TAILQ_INSERT_TAIL(&pr->waits, w, link);
	p->nwaits++;
	event_assign(&w->deadline, loop_base(p->loop), -1, 0, ports_on_deadline, w);
	if ((timeout_ms > 0 && ports_arm(&w->deadline, timeout_ms) < 0) ||
		ports_want_round(w) < 0) {
		ports_wait_cancel(w);
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	return w;
}

void ports_wait_cancel(struct ports_wait *w)
{
	struct ports_probe *pr = w->probe;
	struct ports *p = w->ports;

	TAILQ_REMOVE(pr != NULL ? &pr->waits : &p->settled, w, link);
	event_del(&w->deadline);
	p->nwaits--;
	free(w);
	if (pr != NULL && TAILQ_EMPTY(&pr->waits))
		ports_probe_free(pr);
}

/* ---- life ---- */

struct ports *ports_new(struct loop *l, struct err *e)
{
	struct ports *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	p->loop = l;
	for (size_t i = 0; i < PORTS_BUCKETS; i++)
		LIST_INIT(&p->probes[i]);
	TAILQ_INIT(&p->settled);
	TAILQ_INIT(&p->farewells);
	loop_deferred_init(&p->tell, ports_tell, p);
	return p;
}

void ports_stop(struct ports *p)
{
	p->stopping = true;
	for (size_t i = 0; i < PORTS_BUCKETS; i++) {
		struct ports_probe *pr;

		while ((pr = LIST_FIRST(&p->probes[i])) != NULL) {
			ports_give_up(pr, "shutting down");
			ports_probe_free(pr);
		}
	}
}

void ports_free(struct ports *p)
{
	if (p == NULL)
		return;
	assert(p->nwaits == 0);
	loop_defer_cancel(p->loop, &p->tell);
	while (!TAILQ_EMPTY(&p->farewells))
		ports_farewell_end(TAILQ_FIRST(&p->farewells));
	free(p);
}
