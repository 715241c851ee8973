/*
 * load: an HTTP client that makes load and measures it, on one epoll loop.
 *
 * Two modes. `requests` keeps N connections busy with one and the same request: as fast as replies
 * come (closed loop), or at a given rate (open loop). In the open loop a request's time begins when
 * it was due, not when it could be sent, so a server that stalls is charged for every request that
 * had to wait. `streams` opens N event streams, says so, and holds them; with --stall it stops
 * reading once each has begun, as a client that hangs does. Whatever has neither a count nor a time
 * goes on until its own input ends, so that it cannot outlive the driver that started it.
 *
 * The result is one JSON object on stdout.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client.h"
#include "measure.h"

#define LOAD_EVENTS       512
#define LOAD_OPENING      256               /* streams that are being opened at a time */
#define LOAD_DRAIN_NS     (10 * NS_PER_SEC) /* for the last replies of an open loop */
#define LOAD_STALL_RCVBUF 4096

struct load {
	/* options */
	bool streams, stall, spin, fifo, say_id;
	uint16_t port;
	size_t conns, count;
	double seconds, rate, limit;
	const char *method, *path, *body;

	/* state */
	int ep, timer;
	struct client *clients;
	char *request;
	size_t request_n;
	int64_t begin, end, hard_end;
	size_t started, done, bad, broken, due, opened, ready, ended;
	bool said_ready, stdin_ended;
	int64_t interval;
	struct samples latency;
	struct tally tally;
};

/* What an epoll event points at besides clients. */
static char load_timer_tag, load_stdin_tag;

static void load_build_request(struct load *l)
{
	size_t body_n = l->body == NULL ? 0 : strlen(l->body), cap = body_n + strlen(l->path) + 512;
	int n;

	l->request = malloc(cap);
	if (l->request == NULL)
		die("request");
	n = snprintf(l->request, cap, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAccept: %s\r\n",
		l->method, l->path, l->port,
		strcmp(l->path, "/ping") == 0 ? "*/*" : "text/event-stream");
	if (l->body != NULL)
		n += snprintf(l->request + n, cap - (size_t)n,
			"Content-Type: application/json\r\nContent-Length: %zu\r\n", body_n);
	n += snprintf(l->request + n, cap - (size_t)n, "\r\n%s", l->body == NULL ? "" : l->body);
	l->request_n = (size_t)n;
}

static void load_watch(const struct load *l, struct client *c, int op, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};

	if (epoll_ctl(l->ep, op, c->fd, &ev) < 0)
		die("epoll_ctl");
}

static void load_open(struct load *l, struct client *c)
{
	if (client_connect(c, l->port, l->stall ? LOAD_STALL_RCVBUF : 0) < 0)
		die("connect");
	load_watch(l, c, EPOLL_CTL_ADD, EPOLLOUT);
	l->opened++;
}

/* ---- requests ---- */

/* Request k of an open loop is due at the end of interval k: that is when the timer counts it. */
static int64_t load_due_at(const struct load *l, size_t k)
{
	return l->begin + (int64_t)(k + 1) * l->interval;
}

static bool load_may_start(const struct load *l, int64_t now)
{
	if (l->rate > 0)
		return l->started < l->due;
	return (l->count == 0 || l->started < l->count) && now < l->end;
}

/* A connection that was lost before its reply, or before its stream began. */
static void load_broken(struct load *l)
{
	l->broken++;
	l->ended++;
	if (l->opened < l->conns)
		load_open(l, &l->clients[l->opened]);
}

static void load_next(struct load *l, struct client *c)
{
	int64_t now = now_ns();

	if (!load_may_start(l, now))
		return;
	c->start = l->rate > 0 ? load_due_at(l, l->started) : now;
	l->started++;
	if (client_send(c, l->request, l->request_n) == CLIENT_BROKEN)
		load_broken(l);
	else if (c->out_n > 0)
		load_watch(l, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void load_reply(struct load *l, struct client *c)
{
	samples_add(&l->latency, now_ns() - c->start);
	l->done++;
	if (c->status != 200)
		l->bad++;
	load_next(l, c);
}

/* The moment at which more requests are due: idle connections take them. */
static void load_tick(struct load *l)
{
	uint64_t expired;
	int64_t now = now_ns();

	if (read(l->timer, &expired, sizeof(expired)) < 0 && errno != EAGAIN)
		die("timer");
	l->due = (size_t)((now < l->end ? now : l->end) - l->begin) / (size_t)l->interval;
	for (size_t i = 0; i < l->conns && l->started < l->due; i++) {
		if (l->clients[i].state == CLIENT_IDLE)
			load_next(l, &l->clients[i]);
	}
}

static bool load_requests_over(const struct load *l, int64_t now)
{
	if (l->broken == l->conns || l->stdin_ended)
		return true;
	if (l->count > 0 && l->done + l->broken >= l->count)
		return true;
	if (l->rate > 0)
		return now >= l->end &&
		       (l->done + l->broken >= l->due || now >= l->end + LOAD_DRAIN_NS);
	return l->count == 0 && now >= l->end;
}

/* What is still unanswered in an open loop has taken at least this long, and counts. */
static size_t load_charge_unanswered(struct load *l)
{
	size_t lost = 0;

	for (size_t k = l->started; k < l->due; k++, lost++)
		samples_add(&l->latency, now_ns() - load_due_at(l, k));
	for (size_t i = 0; i < l->conns; i++) {
		const struct client *c = &l->clients[i];

		if (c->state != CLIENT_HEAD && c->state != CLIENT_BODY)
			continue;
		samples_add(&l->latency, now_ns() - c->start);
		lost++;
	}
	return lost;
}

/* ---- streams ---- */

static void load_stream_began(struct load *l, struct client *c)
{
	l->ready++;
	if (c->status != 200)
		l->bad++;
	/* With no event asked for, epoll still reports that the server hung up. */
	if (l->stall)
		load_watch(l, c, EPOLL_CTL_MOD, EPOLLRDHUP);
	if (l->opened < l->conns)
		load_open(l, &l->clients[l->opened]);
}

static void load_say_ready(struct load *l)
{
	if (l->said_ready || l->ready + l->broken < l->conns)
		return;
	l->said_ready = true;
	printf("{\"ready\":%zu,\"bad\":%zu,\"broken\":%zu}\n", l->ready, l->bad, l->broken);
	fflush(stdout);
}

/* ---- both ---- */

static void load_on_read(struct load *l, struct client *c)
{
	bool before = c->state == CLIENT_HEAD;
	enum client_result r = client_read(c);

	if (l->say_id && l->tally.last_id[0] != '\0') {
		l->say_id = false;
		printf("{\"id\":\"%s\"}\n", l->tally.last_id);
		fflush(stdout);
	}
	if (!l->streams) {
		if (r == CLIENT_REPLY)
			load_reply(l, c);
		else if (r == CLIENT_BROKEN)
			load_broken(l);
		return;
	}
	if (before && r == CLIENT_BROKEN) {
		load_broken(l);
		return;
	}
	if (before && c->state != CLIENT_HEAD)
		load_stream_began(l, c);
	if (r != CLIENT_AGAIN) {
		l->ended++;
		client_close(c);
	}
}

static void load_on_event(struct load *l, struct client *c, uint32_t events)
{
	if (c->state == CLIENT_CLOSED)
		return; /* a timer tick of the same round found it broken */
	if (c->state == CLIENT_CONNECTING) {
		if (client_connected(c) < 0) {
			load_broken(l);
			return;
		}
		load_watch(l, c, EPOLL_CTL_MOD, EPOLLIN);
		if (!l->streams)
			load_next(l, c);
		else if (client_send(c, l->request, l->request_n) == CLIENT_BROKEN)
			load_broken(l);
		return;
	}
	if ((events & EPOLLOUT) != 0) {
		if (client_flush(c) == CLIENT_BROKEN) {
			load_broken(l);
			return;
		}
		if (c->out_n == 0)
			load_watch(l, c, EPOLL_CTL_MOD, EPOLLIN);
	}
	if ((events & EPOLLIN) != 0) {
		load_on_read(l, c);
	} else if ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
		client_close(c);
		l->ended++;
		if (!l->streams)
			l->broken++;
	}
}

static bool load_over(struct load *l)
{
	int64_t now = now_ns();

	if (now > l->hard_end) {
		fprintf(stderr, "load: not done after %.0f s\n", l->limit);
		exit(3);
	}
	if (!l->streams)
		return load_requests_over(l, now);
	load_say_ready(l);
	return l->stdin_ended || l->ended == l->conns;
}

static void load_run(struct load *l)
{
	struct epoll_event evs[LOAD_EVENTS];

	while (!load_over(l)) {
		int n = epoll_wait(l->ep, evs, LOAD_EVENTS, l->spin ? 0 : 100);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			char byte;

			if (evs[i].data.ptr == &load_timer_tag)
				load_tick(l);
			else if (evs[i].data.ptr == &load_stdin_tag)
				l->stdin_ended = read(STDIN_FILENO, &byte, 1) <= 0;
			else
				load_on_event(l, evs[i].data.ptr, evs[i].events);
		}
	}
}

static bool load_until_eof(const struct load *l)
{
	return l->streams || (l->count == 0 && l->seconds <= 0);
}

static void load_start(struct load *l)
{
	struct epoll_event on_timer = {.events = EPOLLIN, .data.ptr = &load_timer_tag};
	struct epoll_event on_stdin = {.events = EPOLLIN, .data.ptr = &load_stdin_tag};
	size_t at_once = l->streams && l->conns > LOAD_OPENING ? LOAD_OPENING : l->conns;

	l->ep = epoll_create1(EPOLL_CLOEXEC);
	l->clients = calloc(l->conns, sizeof(*l->clients));
	if (l->ep < 0 || l->clients == NULL)
		die("load");
	for (size_t i = 0; i < l->conns; i++)
		client_init(&l->clients[i], &l->tally, strcmp(l->path, "/ping") != 0);
	l->begin = now_ns();
	l->end = l->seconds > 0 ? l->begin + (int64_t)(l->seconds * (double)NS_PER_SEC) : INT64_MAX;
	l->hard_end = l->begin + (int64_t)(l->limit * (double)NS_PER_SEC);
	if (l->rate > 0) {
		struct itimerspec every = {0};

		l->interval = (int64_t)((double)NS_PER_SEC / l->rate);
		every.it_interval.tv_sec = every.it_value.tv_sec = l->interval / NS_PER_SEC;
		every.it_interval.tv_nsec = every.it_value.tv_nsec = l->interval % NS_PER_SEC;
		l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (l->timer < 0 || timerfd_settime(l->timer, 0, &every, NULL) < 0 ||
			epoll_ctl(l->ep, EPOLL_CTL_ADD, l->timer, &on_timer) < 0)
			die("timer");
	}
	if (load_until_eof(l) && epoll_ctl(l->ep, EPOLL_CTL_ADD, STDIN_FILENO, &on_stdin) < 0)
		die("stdin has to be a pipe");
	for (size_t i = 0; i < at_once; i++)
		load_open(l, &l->clients[i]);
}

static void load_report(struct load *l)
{
	double seconds = (double)(now_ns() - l->begin) / 1e9;
	size_t lost = l->rate > 0 ? load_charge_unanswered(l) : 0;

	printf("{\"seconds\":%.6f,\"done\":%zu,\"bad\":%zu,\"broken\":%zu,\"lost\":%zu,\"ended\":%"
	       "zu,"
	       "\"cpu_seconds\":%.6f,\"wire_bytes\":%llu,\"body_bytes\":%llu,\"text_bytes\":%llu,",
		seconds, l->done, l->bad, l->broken, lost, l->ended, (double)cpu_ns() / 1e9,
		(unsigned long long)l->tally.wire_bytes, (unsigned long long)l->tally.body_bytes,
		(unsigned long long)l->tally.text_bytes);
	for (int i = 0; i < EVENT_TYPES; i++)
		printf("\"%s\":%llu,", event_names[i], (unsigned long long)l->tally.events[i]);
	samples_print(&l->latency, "latency");
	printf("}\n");
}

/* The one who holds the watch must not wait for a CPU, or it measures itself. */
static void load_set_fifo(void)
{
	struct sched_param p = {.sched_priority = 10};

	if (sched_setscheduler(0, SCHED_FIFO, &p) < 0)
		perror("load: no real-time priority, latencies include our own waiting");
}

static void load_raise_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		die("getrlimit");
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		die("setrlimit");
}

static void load_usage(void)
{
	fprintf(stderr,
		"usage: load requests|streams --port P [--conns N] [--path /P] [--post JSON]\n"
		"            [--count N] [--seconds S] [--rate PER_SECOND] [--limit S]\n"
		"            [--spin] [--fifo] [--stall] [--say-id]\n");
	exit(2);
}

static void load_parse(struct load *l, int argc, char **argv)
{
	static const struct option options[] = {{"port", required_argument, NULL, 'p'},
		{"conns", required_argument, NULL, 'c'}, {"path", required_argument, NULL, 'u'},
		{"post", required_argument, NULL, 'b'}, {"count", required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 's'}, {"rate", required_argument, NULL, 'r'},
		{"limit", required_argument, NULL, 'l'}, {"spin", no_argument, NULL, 'S'},
		{"fifo", no_argument, NULL, 'F'}, {"stall", no_argument, NULL, 'T'},
		{"say-id", no_argument, NULL, 'I'}, {0}};

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (o) {
		case 'p': l->port = (uint16_t)strtoul(optarg, NULL, 10); break;
		case 'c': l->conns = strtoul(optarg, NULL, 10); break;
		case 'u': l->path = optarg; break;
		case 'b': l->body = optarg; break;
		case 'n': l->count = strtoul(optarg, NULL, 10); break;
		case 's': l->seconds = strtod(optarg, NULL); break;
		case 'r': l->rate = strtod(optarg, NULL); break;
		case 'l': l->limit = strtod(optarg, NULL); break;
		case 'S': l->spin = true; break;
		case 'F': l->fifo = true; break;
		case 'T': l->stall = true; break;
		case 'I': l->say_id = true; break;
		default: load_usage();
		}
	}
	if (optind + 1 != argc || l->port == 0 || l->conns == 0)
		load_usage();
	l->streams = strcmp(argv[optind], "streams") == 0;
	if (!l->streams && strcmp(argv[optind], "requests") != 0)
		load_usage();
	if (l->rate > 0 && l->seconds <= 0)
		load_usage();
	l->method = l->body == NULL ? "GET" : "POST";
}

int main(int argc, char **argv)
{
	static struct load l = {.conns = 1, .path = "/ping", .limit = 120};

	load_parse(&l, argc, argv);
	load_build_request(&l);
	load_raise_files();
	if (l.fifo)
		load_set_fifo();
	load_start(&l);
	load_run(&l);
	load_report(&l);
	return 0;
}
