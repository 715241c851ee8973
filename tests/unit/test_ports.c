/* Waiting for ports on the real loopback, and listings from disk threads. */
#include "boxd/ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "os_helpers.h"

/* The link has these in front of the real ones (--wrap). */
int __real_connect(int fd, const struct sockaddr *to, socklen_t n);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t n);
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);

static struct {
	size_t connects;    /* to IPv4 */
	int64_t last_ms;    /* when the last of them was */
	int socket_error;   /* 0: sockets can be made */
	int refuse_family;  /* sockets of it cannot be made: EAFNOSUPPORT */
	bool from_own_port; /* connections come from the very port they go to */
} kernel;

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t n)
{
	if (to->sa_family == AF_INET) {
		kernel.connects++;
		kernel.last_ms = clock_mono_ms();
		if (kernel.from_own_port && bind(fd, to, n) < 0)
			return -1;
	}
	return __real_connect(fd, to, n);
}

int __wrap_socket(int domain, int type, int protocol)
{
	if (kernel.socket_error != 0 || kernel.refuse_family == domain) {
		errno = kernel.socket_error != 0 ? kernel.socket_error : EAFNOSUPPORT;
		return -1;
	}
	return __real_socket(domain, type, protocol);
}

/* A socket that is held open for as long as its scope lasts, whether it is looked at or not. */
#define HELD CLEANUP_FD __attribute__((unused))

/* ---- the bench ---- */

static struct {
	struct loop *loop;
	struct work_pool *pool;
	struct ports *ports;
	size_t fds;
	size_t expected, told;
} bench;

struct waiter {
	struct ports_wait *wait;
	size_t told;
	char address[16];
	int64_t waited_ms;
	struct err e;
};

static int setup(void **state)
{
	struct err e = {0};

	(void)state;
	memset(&bench, 0, sizeof(bench));
	memset(&kernel, 0, sizeof(kernel));
	bench.loop = loop_new(&e);
	bench.pool = bench.loop != NULL ? work_pool_new(bench.loop, &e) : NULL;
	bench.ports = bench.pool != NULL ? ports_new(bench.loop, &e) : NULL;
	bench.fds = test_fds(0, NULL, 0);
	return bench.ports == NULL;
}

static int teardown(void **state)
{
	(void)state;
	ports_free(bench.ports);
	work_pool_free(bench.pool);
	loop_free(bench.loop);
	return !limit_set(LIMIT_PORT_WAITS, limit_rows[LIMIT_PORT_WAITS].def);
}

static void count_told(void)
{
	if (++bench.told == bench.expected)
		loop_stop(bench.loop);
}

static void on_told(const char *address, int64_t waited_ms, const struct err *e, void *arg)
{
	struct waiter *w = arg;

	assert_true(loop_on_thread(bench.loop));
	assert_true((address == NULL) == (e != NULL));
	w->told++;
	w->wait = NULL;
	w->waited_ms = waited_ms;
	snprintf(w->address, sizeof(w->address), "%s", address != NULL ? address : "");
	if (e != NULL)
		w->e = *e;
	count_told();
}

static void begin(struct waiter *w, uint16_t port, int64_t timeout_ms)
{
	struct err e = {0};

	*w = (struct waiter){0};
	w->wait = ports_wait_start(bench.ports, port, timeout_ms, on_told, w, &e);
	assert_non_null(w->wait);
	assert_int_equal(w->told, 0);
}

static void on_alarm(void *arg)
{
	(void)arg;
	loop_stop(bench.loop);
}

static void run_for(int64_t ms)
{
	struct loop_timer *alarm = loop_timer_new(bench.loop, ms, on_alarm, NULL);

	assert_non_null(alarm);
	assert_int_equal(loop_run(bench.loop), 0);
	loop_timer_free(alarm);
}

/* Until so many have been told since the beginning. */
static void run_until_told(size_t n)
{
	bench.expected = n;
	if (bench.told < n)
		run_for(TEST_PATIENCE_MS);
	assert_int_equal(bench.told, n);
}

static struct waiter wait_for(uint16_t port, int64_t timeout_ms)
{
	struct waiter w;

	begin(&w, port, timeout_ms);
	run_until_told(bench.told + 1);
	assert_int_equal(w.told, 1);
	return w;
}

/* A socket that has a port of the loopback, but does not listen. Port 0: any. */
static int bound(int family, uint16_t *port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
		.sin_port = htons(*port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6,
		.sin6_port = htons(*port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr *sa = family == AF_INET ? (struct sockaddr *)&sin
						: (struct sockaddr *)&sin6;
	socklen_t n = family == AF_INET ? sizeof(sin) : sizeof(sin6);
	int fd = __real_socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, sa, n) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, sa, &n), 0);
	*port = ntohs(family == AF_INET ? sin.sin_port : sin6.sin6_port);
	return fd;
}

static int listener(int family, uint16_t *port, int backlog)
{
	int fd = bound(family, port);

	assert_true(fd < 0 || listen(fd, backlog) == 0);
	return fd;
}

/* A port nobody listens on, and nobody can take: it is bound. */
static int closed_port(uint16_t *port)
{
	int fd;

	*port = 0;
	fd = bound(AF_INET, port);
	assert_true(fd >= 0);
	return fd;
}

/* ---- answers ---- */

static void a_port_that_accepts_is_told_at_once(void **state)
{
	uint16_t port = 0;
	HELD int fd = listener(AF_INET, &port, 5);
	struct waiter w = wait_for(port, 5000);

	(void)state;
	assert_string_equal(w.address, "127.0.0.1");
	assert_true(w.waited_ms < 500);
	w = wait_for(port, 0);
	assert_string_equal(w.address, "127.0.0.1");
	assert_int_equal(kernel.connects, 2);
}

static void a_port_of_ipv6_alone_is_seen(void **state)
{
	uint16_t port;
	HELD int four = closed_port(&port);
	HELD int fd = listener(AF_INET6, &port, 5);
	struct waiter w;

	(void)state;
	if (fd < 0)
		skip(); /* no IPv6 here */
	w = wait_for(port, 0);
	assert_string_equal(w.address, "::1");
	kernel.refuse_family = AF_INET6;
	w = wait_for(port, 0);
	assert_ptr_equal(w.e.kind, &ERR_GATEWAY_TIMEOUT);
}

static void looking_once_is_one_try(void **state)
{
	uint16_t port;
	HELD int fd = closed_port(&port);
	struct waiter w = wait_for(port, 0);

	(void)state;
	assert_ptr_equal(w.e.kind, &ERR_GATEWAY_TIMEOUT);
	assert_int_equal(kernel.connects, 1);
	/* That one does not spoil the next. */
	w = wait_for(port, 0);
	assert_ptr_equal(w.e.kind, &ERR_GATEWAY_TIMEOUT);
	assert_int_equal(kernel.connects, 2);
}

static void time_is_up_after_one_more_look(void **state)
{
	uint16_t port;
	HELD int fd = closed_port(&port);
	int64_t begun = clock_mono_ms();
	struct waiter w = wait_for(port, 90);

	(void)state;
	assert_ptr_equal(w.e.kind, &ERR_GATEWAY_TIMEOUT);
	assert_true(w.waited_ms >= 90 && w.waited_ms < 90 + 2000);
	/* 0, 1, 3, 7, 15, 31, 63, and at the end. */
	assert_true(kernel.connects >= 4 && kernel.connects <= 10);
	assert_true(kernel.last_ms - begun >= 90);
}

static void on_open(void *arg)
{
	const int *fd = arg;

	assert_int_equal(listen(*fd, 5), 0);
}

static void a_port_that_opens_later_ends_the_wait(void **state)
{
	uint16_t port = 0;
	HELD int fd = bound(AF_INET, &port);
	struct loop_timer *opens = loop_timer_new(bench.loop, 120, on_open, &fd);
	struct waiter w = wait_for(port, TEST_PATIENCE_MS);

	(void)state;
	loop_timer_free(opens);
	assert_string_equal(w.address, "127.0.0.1");
	assert_true(w.waited_ms >= 110 && w.waited_ms < 120 + 1000);
}

static void tries_come_less_often_with_time(void **state)
{
	uint16_t port;
	HELD int fd = closed_port(&port);
	struct waiter w = wait_for(port, 1000);

	(void)state;
	assert_ptr_equal(w.e.kind, &ERR_GATEWAY_TIMEOUT);
	/* 7 in the first 113 ms, then every 50: 25 in all. */
	assert_true(kernel.connects <= 27);
}

/* ---- many ---- */

static void a_hundred_that_wait_for_one_port_cost_one_try_at_a_time(void **state)
{
	static struct waiter w[100];
	uint16_t port;
	HELD int fd = closed_port(&port);

	(void)state;
	for (size_t i = 0; i < 100; i++)
		begin(&w[i], port, 300);
	run_until_told(100);
	for (size_t i = 0; i < 100; i++) {
		assert_int_equal(w[i].told, 1);
		assert_ptr_equal(w[i].e.kind, &ERR_GATEWAY_TIMEOUT);
		assert_true(w[i].waited_ms >= 300);
	}
	/* The last looks are shared as well. */
	assert_true(kernel.connects <= 25);
}

static void a_hundred_that_look_once_share_the_look(void **state)
{
	static struct waiter w[100];
	uint16_t port = 0;
	HELD int fd = listener(AF_INET, &port, 5);

	(void)state;
	for (size_t i = 0; i < 100; i++)
		begin(&w[i], port, i % 2 == 0 ? 0 : 1000);
	run_until_told(100);
	for (size_t i = 0; i < 100; i++)
		assert_string_equal(w[i].address, "127.0.0.1");
	assert_int_equal(kernel.connects, 1);
}

/* The best of some runs counts where a busy machine may come in between. */
#define RUNS 4

static void the_last_look_comes_when_time_is_up_and_not_with_the_next_try(void **state)
{
	uint16_t port;
	HELD int fd = closed_port(&port);
	int64_t best = INT64_MAX;

	(void)state;
	/* The tries are at 63 and 113 ms. */
	for (size_t i = 0; i < RUNS; i++) {
		struct waiter w = wait_for(port, 70);

		best = w.waited_ms < best ? w.waited_ms : best;
	}
	assert_true(best >= 70 && best < 95);
}

static void one_who_comes_late_makes_the_tries_quick_again(void **state)
{
	uint16_t port;
	HELD int fd = closed_port(&port);
	struct waiter first, second;
	int64_t best = INT64_MAX;

	(void)state;
	begin(&first, port, TEST_PATIENCE_MS);
	for (size_t i = 0; i < RUNS; i++) {
		run_for(250);
		/* Right behind a try, as far as can be from the next one. */
		for (size_t before = kernel.connects; kernel.connects == before;)
			run_for(2);

		size_t before = kernel.connects;

		begin(&second, port, 0);
		run_until_told(i + 1);
		assert_int_equal(kernel.connects, before + 1);
		assert_ptr_equal(second.e.kind, &ERR_GATEWAY_TIMEOUT);
		best = second.waited_ms < best ? second.waited_ms : best;
	}
	assert_int_equal(first.told, 0);
	assert_true(best < 25);
	ports_wait_cancel(first.wait);
}

static void ports_do_not_disturb_each_other(void **state)
{
	uint16_t open = 0, shut, same_bucket;
	HELD int one = listener(AF_INET, &open, 5);
	HELD int two = closed_port(&shut);
	struct waiter a, b, c;

	(void)state;
	same_bucket = (uint16_t)(shut ^ 0x8100);
	begin(&a, open, 5000);
	begin(&b, shut, 0);
	begin(&c, same_bucket, 0);
	run_until_told(3);
	assert_string_equal(a.address, "127.0.0.1");
	assert_ptr_equal(b.e.kind, &ERR_GATEWAY_TIMEOUT);
	assert_int_equal(c.told, 1);
}

static void no_more_wait_than_the_limit_says(void **state)
{
	uint16_t port, other;
	HELD int one = closed_port(&port);
	HELD int two = closed_port(&other);
	struct waiter w[3];
	struct err e = {0};

	(void)state;
	assert_true(limit_set(LIMIT_PORT_WAITS, 3));
	begin(&w[0], port, 20);
	begin(&w[1], port, TEST_PATIENCE_MS);
	begin(&w[2], other, TEST_PATIENCE_MS);
	assert_null(ports_wait_start(bench.ports, other, 0, on_told, &w[0], &e));
	assert_ptr_equal(e.kind, &ERR_TOO_MANY);
	run_until_told(1);
	begin(&w[0], port, TEST_PATIENCE_MS);
	ports_wait_cancel(w[0].wait);
	begin(&w[0], other, TEST_PATIENCE_MS);
	e = (struct err){0};
	assert_null(ports_wait_start(bench.ports, port, 0, on_told, &w[0], &e));
	for (size_t i = 0; i < 3; i++)
		ports_wait_cancel(w[i].wait);
}

/* ---- leaving ---- */

static void who_leaves_is_not_told_and_leaves_nothing_behind(void **state)
{
	uint16_t port = 0;
	HELD int fd = bound(AF_INET, &port);
	struct waiter stays, leaves;

	(void)state;
	begin(&stays, port, TEST_PATIENCE_MS);
	begin(&leaves, port, TEST_PATIENCE_MS);
	ports_wait_cancel(leaves.wait); /* before the first try */
	begin(&leaves, port, TEST_PATIENCE_MS);
	run_for(30);
	ports_wait_cancel(leaves.wait);
	assert_int_equal(listen(fd, 5), 0);
	run_until_told(1);
	assert_int_equal(leaves.told, 0);
	assert_string_equal(stays.address, "127.0.0.1");

	/* The last one takes the port's tries along. */
	begin(&leaves, (uint16_t)(port ^ 1), TEST_PATIENCE_MS);
	ports_wait_cancel(leaves.wait);
	size_t before = kernel.connects;

	run_for(30);
	assert_int_equal(kernel.connects, before);
}

static struct waiter *victim;

static void on_told_cancel_other(
	const char *address, int64_t waited_ms, const struct err *e, void *arg)
{
	on_told(address, waited_ms, e, arg);
	if (victim != NULL)
		ports_wait_cancel(victim->wait);
	victim = NULL;
}

static void one_who_is_told_may_make_another_leave(void **state)
{
	uint16_t port = 0;
	HELD int fd = listener(AF_INET, &port, 5);
	struct waiter first = {0}, second, third;
	struct err e = {0};

	(void)state;
	first.wait = ports_wait_start(bench.ports, port, 1000, on_told_cancel_other, &first, &e);
	assert_non_null(first.wait);
	begin(&second, port, 1000);
	begin(&third, port, 1000);
	victim = &second;
	run_until_told(2);
	assert_int_equal(second.told, 0);
	assert_string_equal(third.address, "127.0.0.1");
}

static uint16_t port_again;

static void on_told_ask_again(
	const char *address, int64_t waited_ms, const struct err *e, void *arg)
{
	on_told(address, waited_ms, e, arg);
	begin(arg, port_again, 0);
}

static void one_who_is_told_may_ask_again(void **state)
{
	HELD int fd = -1;
	struct waiter w = {0};
	struct err e = {0};

	(void)state;
	port_again = 0;
	fd = listener(AF_INET, &port_again, 5);
	w.wait = ports_wait_start(bench.ports, port_again, 0, on_told_ask_again, &w, &e);
	assert_non_null(w.wait);
	run_until_told(2);
	assert_string_equal(w.address, "127.0.0.1");
	assert_int_equal(kernel.connects, 2);
}

static void the_end_of_the_daemon_ends_every_wait(void **state)
{
	uint16_t port, other;
	HELD int one = closed_port(&port);
	HELD int two = closed_port(&other);
	struct waiter w[3];
	struct err e = {0};

	(void)state;
	begin(&w[0], port, TEST_PATIENCE_MS);
	begin(&w[1], port, TEST_PATIENCE_MS);
	begin(&w[2], other, TEST_PATIENCE_MS);
	run_for(10);
	ports_stop(bench.ports);
	assert_int_equal(bench.told, 0);
	assert_null(ports_wait_start(bench.ports, port, 0, on_told, &w[0], &e));
	assert_ptr_equal(e.kind, &ERR_UNAVAILABLE);
	run_until_told(3);
	for (size_t i = 0; i < 3; i++)
		assert_ptr_equal(w[i].e.kind, &ERR_UNAVAILABLE);
}

/* ---- what the kernel may say ---- */

static void without_descriptors_it_is_not_claimed_that_nothing_accepts(void **state)
{
	uint16_t port = 0;
	HELD int fd = listener(AF_INET, &port, 5);
	struct waiter w;

	(void)state;
	kernel.socket_error = EMFILE;
	w = wait_for(port, 20);
	assert_ptr_equal(w.e.kind, &ERR_UNAVAILABLE);
	assert_int_equal(w.e.sys, EMFILE);
	begin(&w, port, TEST_PATIENCE_MS);
	run_for(30);
	assert_int_equal(w.told, 0);
	kernel.socket_error = 0;
	run_until_told(2);
	assert_string_equal(w.address, "127.0.0.1");

	/* Nor is it forgotten that it could look in the end. */
	HELD int shut = closed_port(&port);

	kernel.socket_error = EMFILE;
	begin(&w, port, 100);
	run_for(20);
	kernel.socket_error = 0;
	run_until_told(3);
	assert_ptr_equal(w.e.kind, &ERR_GATEWAY_TIMEOUT);
}

/* The kernel may take the port to connect to for our own end, and both ends are one socket. */
static void a_connection_to_itself_is_nobody_who_accepts(void **state)
{
	uint16_t port;
	int fd = closed_port(&port);
	struct waiter w;

	(void)state;
	close(fd);
	kernel.from_own_port = true;
	w = wait_for(port, 0);
	assert_ptr_equal(w.e.kind, &ERR_GATEWAY_TIMEOUT);
	assert_int_equal(kernel.connects, 1);
	/* The port is free for a server: nothing of the connection lingers on it. */
	fd = listener(AF_INET, &port, 5);
	assert_true(fd >= 0);
	close(fd);
}

#define FILL_MAX 16

/* Connects to a listener until it has no place left; the last connection is not made. */
static size_t fill_queue(uint16_t port, int fill[static FILL_MAX])
{
	const struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	size_t n = 0;

	do {
		assert_true(n < FILL_MAX);
		fill[n] = __real_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_true(fill[n] >= 0);
	} while (__real_connect(fill[n++], (const struct sockaddr *)&to, sizeof(to)) == 0);
	return n;
}

/* A server whose queue is full takes no connection, and does not refuse it either. */
static void a_full_queue_is_nobody_who_accepts(void **state)
{
	uint16_t port = 0;
	HELD int fd = listener(AF_INET, &port, 0);
	int fill[FILL_MAX];
	size_t n = fill_queue(port, fill);
	struct waiter w = wait_for(port, 0);

	(void)state;
	assert_ptr_equal(w.e.kind, &ERR_GATEWAY_TIMEOUT);
	assert_true(w.waited_ms >= 150 && w.waited_ms < 3000);

	begin(&w, port, TEST_PATIENCE_MS);
	run_for(20);
	assert_int_equal(w.told, 0);
	while (n > 0)
		close(fill[--n]);
	close(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
	run_until_told(2);
	assert_string_equal(w.address, "127.0.0.1");
}

static void a_try_that_began_before_does_not_count(void **state)
{
	uint16_t port = 0;
	HELD int fd = listener(AF_INET, &port, 0);
	int fill[FILL_MAX];
	size_t n = fill_queue(port, fill), before;
	struct waiter first, second;

	(void)state;
	begin(&first, port, TEST_PATIENCE_MS);
	run_for(50);
	before = kernel.connects;
	begin(&second, port, 0);
	run_until_told(1);
	assert_int_equal(second.told, 1);
	assert_true(kernel.connects > before);
	ports_wait_cancel(first.wait);
	while (n > 0)
		close(fill[--n]);
}

/* ---- farewell ---- */

static int accepted(int listening)
{
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

static void a_server_that_greets_is_not_reset(void **state)
{
	uint16_t port = 0;
	HELD int fd = listener(AF_INET, &port, 5);
	HELD int server = -1;
	char byte;

	(void)state;
	wait_for(port, 0);
	server = accepted(fd);
	assert_int_equal(recv(server, &byte, 1, 0), 0); /* our end is closed already */
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(send(server, "220 hello\r\n", 11, MSG_NOSIGNAL), 11);
		run_for(20);
		assert_int_equal(recv(server, &byte, 1, 0), 0);
	}
	assert_int_equal(test_fds(0, NULL, 0), bench.fds + 3);
	/* And when it closes, nothing is left of the connection. */
	close(steal_fd(&server));
	run_for(20);
	assert_int_equal(test_fds(0, NULL, 0), bench.fds + 1);
}

static void a_server_that_keeps_the_connection_does_not_keep_ours(void **state)
{
	uint16_t port = 0;
	HELD int fd = listener(AF_INET, &port, 5);
	HELD int server = -1;
	int64_t begun = clock_mono_ms();

	(void)state;
	wait_for(port, 0);
	server = accepted(fd);
	while (test_fds(0, NULL, 0) > bench.fds + 2) {
		assert_true(clock_mono_ms() - begun < TEST_PATIENCE_MS);
		(void)!send(server, "x", 1, MSG_NOSIGNAL); /* does not make it last */
		run_for(50);
	}
	assert_true(clock_mono_ms() - begun >= 900);
	assert_true(clock_mono_ms() - begun < 5000);
}

static void few_connections_are_on_their_way_out(void **state)
{
	uint16_t port = 0;
	HELD int fd = listener(AF_INET, &port, 200);

	(void)state;
	for (size_t i = 0; i < 64; i++)
		wait_for(port, 0);
	assert_int_equal(test_fds(0, NULL, 0), bench.fds + 1 + 64);
	for (size_t i = 0; i < 40; i++)
		wait_for(port, 0);
	assert_int_equal(test_fds(0, NULL, 0), bench.fds + 1 + 64);
}

/* ---- listing ---- */

static struct {
	uint16_t port;
	bool seen, on_loop;
	size_t rows, done;
	struct err e;
} listing;

static void on_rows(const struct sockets_row *rows, size_t n, void *arg)
{
	assert_ptr_equal(arg, &listing);
	listing.rows++;
	listing.on_loop = loop_on_thread(bench.loop);
	for (size_t i = 0; i < n; i++)
		listing.seen = listing.seen || (rows[i].port == listing.port && rows[i].self);
}

static void on_done(const struct err *e, void *arg)
{
	assert_ptr_equal(arg, &listing);
	assert_true(loop_on_thread(bench.loop));
	listing.done++;
	if (e != NULL)
		listing.e = *e;
	count_told();
}

static const struct ports_list_callbacks listing_callbacks = {on_rows, on_done};

static struct ports_list *begin_listing(uint16_t port)
{
	struct err e = {0};
	struct ports_list *pl;

	memset(&listing, 0, sizeof(listing));
	listing.port = port;
	pl = ports_list_start(bench.pool, &listing_callbacks, &listing, &e);
	assert_non_null(pl);
	assert_int_equal(listing.done, 0);
	return pl;
}

static void the_list_comes_from_a_disk_thread(void **state)
{
	uint16_t port = 0;
	HELD int fd = listener(AF_INET, &port, 5);

	(void)state;
	begin_listing(port);
	run_until_told(1);
	assert_int_equal(listing.rows, 1);
	assert_true(listing.seen);
	assert_false(listing.on_loop);
	assert_null(listing.e.kind);
}

static void a_list_that_is_cancelled_says_so_once(void **state)
{
	(void)state;
	ports_list_cancel(begin_listing(1));
	run_until_told(1);
	assert_int_equal(listing.done, 1);
	assert_ptr_equal(listing.e.kind, &ERR_UNAVAILABLE);
	run_for(30);
	assert_int_equal(listing.done, 1);
}

static void a_list_ends_with_the_pool(void **state)
{
	(void)state;
	begin_listing(1);
	work_pool_free(bench.pool);
	bench.pool = NULL;
	assert_int_equal(listing.done, 1);
}

int main(void)
{
#define ON_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		ON_BENCH(a_port_that_accepts_is_told_at_once),
		ON_BENCH(a_port_of_ipv6_alone_is_seen),
		ON_BENCH(looking_once_is_one_try),
		ON_BENCH(time_is_up_after_one_more_look),
		ON_BENCH(a_port_that_opens_later_ends_the_wait),
		ON_BENCH(tries_come_less_often_with_time),
		ON_BENCH(a_hundred_that_wait_for_one_port_cost_one_try_at_a_time),
		ON_BENCH(a_hundred_that_look_once_share_the_look),
		ON_BENCH(the_last_look_comes_when_time_is_up_and_not_with_the_next_try),
		ON_BENCH(one_who_comes_late_makes_the_tries_quick_again),
		ON_BENCH(ports_do_not_disturb_each_other),
		ON_BENCH(no_more_wait_than_the_limit_says),
		ON_BENCH(who_leaves_is_not_told_and_leaves_nothing_behind),
		ON_BENCH(one_who_is_told_may_make_another_leave),
		ON_BENCH(one_who_is_told_may_ask_again),
		ON_BENCH(the_end_of_the_daemon_ends_every_wait),
		ON_BENCH(without_descriptors_it_is_not_claimed_that_nothing_accepts),
		ON_BENCH(a_connection_to_itself_is_nobody_who_accepts),
		ON_BENCH(a_full_queue_is_nobody_who_accepts),
		ON_BENCH(a_try_that_began_before_does_not_count),
		ON_BENCH(a_server_that_greets_is_not_reset),
		ON_BENCH(a_server_that_keeps_the_connection_does_not_keep_ours),
		ON_BENCH(few_connections_are_on_their_way_out),
		ON_BENCH(the_list_comes_from_a_disk_thread),
		ON_BENCH(a_list_that_is_cancelled_says_so_once),
		ON_BENCH(a_list_ends_with_the_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
