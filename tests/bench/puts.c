/*
 * puts: makes many small new files, by PUT requests or by itself.
 *
 *   puts http PORT PATH CONNS COUNT BYTES   PUT /files/content?path=PATH/<number>, over CONNS
 *                                           connections with one request under way on each
 *   puts loop DIR COUNT BYTES               what the kernel's share of that is: a temporary name,
 *                                           write, close, rename, one file after the other
 *
 * The result is one JSON object on stdout.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client.h"
#include "measure.h"

#define PUTS_EVENTS    64
#define PUTS_CONNS_MAX 1024
#define PUTS_BYTES_MAX 65536
#define PUTS_HEAD_MAX  8192
#define PUTS_LIMIT_S   120

struct puts_request {
	char text[PUTS_HEAD_MAX + PUTS_BYTES_MAX];
};

struct puts_run {
	uint16_t port;
	const char *path;
	size_t conns, count, bytes;

	int ep;
	struct client *clients;
	struct puts_request *requests; /* one for each client */
	size_t started, done, bad;
	struct samples latency;
	struct tally tally;
};

/* ---- the bare loop ---- */

static void puts_one_file(const char *name, const char *content, size_t bytes)
{
	static const char temporary[] = ".puts-temporary";
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd < 0)
		die(temporary);
	if (write(fd, content, bytes) != (ssize_t)bytes)
		die("write");
	if (close(fd) < 0 || rename(temporary, name) < 0)
		die(name);
}

static void puts_loop(const char *dir, size_t count, size_t bytes)
{
	static char content[PUTS_BYTES_MAX];
	int64_t begin;

	memset(content, 'x', bytes);
	if (chdir(dir) < 0)
		die(dir);
	begin = now_ns();
	for (size_t i = 0; i < count; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%06zu", i);
		puts_one_file(name, content, bytes);
	}
	printf("{\"seconds\":%.6f,\"done\":%zu,\"cpu_seconds\":%.6f}\n",
		(double)(now_ns() - begin) / 1e9, count, (double)cpu_ns() / 1e9);
}

/* ---- by requests ---- */

static size_t puts_build(const struct puts_run *p, struct puts_request *request, size_t number)
{
	int n = snprintf(request->text, PUTS_HEAD_MAX,
		"PUT /files/content?path=%s/%06zu HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
		"Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
		p->path, number, p->port, p->bytes);

	if (n < 0 || n >= PUTS_HEAD_MAX) {
		fprintf(stderr, "puts: the path is too long\n");
		exit(2);
	}
	memset(request->text + n, 'x', p->bytes);
	return (size_t)n + p->bytes;
}

static void puts_broken(void)
{
	fprintf(stderr, "puts: a connection broke\n");
	exit(1);
}

static void puts_watch(const struct puts_run *p, struct client *c, int op, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};

	if (epoll_ctl(p->ep, op, c->fd, &ev) < 0)
		die("epoll_ctl");
}

static void puts_next(struct puts_run *p, struct client *c)
{
	struct puts_request *request = &p->requests[c - p->clients];
	size_t n;

	if (p->started == p->count)
		return;
	n = puts_build(p, request, p->started++);
	c->start = now_ns();
	if (client_send(c, request->text, n) == CLIENT_BROKEN)
		puts_broken();
	if (c->out_n > 0)
		puts_watch(p, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void puts_on_event(struct puts_run *p, struct client *c, uint32_t events)
{
	if (c->state == CLIENT_CONNECTING) {
		if (client_connected(c) < 0)
			puts_broken();
		puts_watch(p, c, EPOLL_CTL_MOD, EPOLLIN);
		puts_next(p, c);
		return;
	}
	if ((events & EPOLLOUT) != 0) {
		if (client_flush(c) == CLIENT_BROKEN)
			puts_broken();
		if (c->out_n == 0)
			puts_watch(p, c, EPOLL_CTL_MOD, EPOLLIN);
	}
	if ((events & ~(uint32_t)EPOLLOUT) == 0)
		return;
	switch (client_read(c)) {
	case CLIENT_AGAIN: break;
	case CLIENT_BROKEN: puts_broken(); break;
	case CLIENT_REPLY:
		samples_add(&p->latency, now_ns() - c->start);
		p->done++;
		if (c->status != 201)
			p->bad++;
		puts_next(p, c);
		break;
	}
}

static void puts_start(struct puts_run *p)
{
	p->ep = epoll_create1(EPOLL_CLOEXEC);
	p->clients = calloc(p->conns, sizeof(*p->clients));
	p->requests = calloc(p->conns, sizeof(*p->requests));
	if (p->ep < 0 || p->clients == NULL || p->requests == NULL)
		die("puts");
	for (size_t i = 0; i < p->conns; i++) {
		client_init(&p->clients[i], &p->tally, false);
		if (client_connect(&p->clients[i], p->port, 0) < 0)
			die("connect");
		puts_watch(p, &p->clients[i], EPOLL_CTL_ADD, EPOLLOUT);
	}
}

static void puts_http(struct puts_run *p)
{
	struct epoll_event evs[PUTS_EVENTS];
	int64_t begin;

	alarm(PUTS_LIMIT_S);
	puts_start(p);
	begin = now_ns();
	while (p->done < p->count) {
		int n = epoll_wait(p->ep, evs, PUTS_EVENTS, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++)
			puts_on_event(p, evs[i].data.ptr, evs[i].events);
	}
	printf("{\"seconds\":%.6f,\"done\":%zu,\"bad\":%zu,\"cpu_seconds\":%.6f,",
		(double)(now_ns() - begin) / 1e9, p->done, p->bad, (double)cpu_ns() / 1e9);
	samples_print(&p->latency, "latency");
	printf("}\n");
}

static size_t puts_number(const char *text, size_t max)
{
	unsigned long n = strtoul(text, NULL, 10);

	if (n == 0 || n > max) {
		fprintf(stderr, "puts: %s is not from 1 to %zu\n", text, max);
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	static struct puts_run p;

	if (argc == 7 && strcmp(argv[1], "http") == 0) {
		p.port = (uint16_t)puts_number(argv[2], UINT16_MAX);
		p.path = argv[3];
		p.conns = puts_number(argv[4], PUTS_CONNS_MAX);
		p.count = puts_number(argv[5], SIZE_MAX);
		p.bytes = puts_number(argv[6], PUTS_BYTES_MAX);
		puts_http(&p);
	} else if (argc == 5 && strcmp(argv[1], "loop") == 0) {
		puts_loop(argv[2], puts_number(argv[3], SIZE_MAX),
			puts_number(argv[4], PUTS_BYTES_MAX));
	} else {
		fprintf(stderr,
			"usage: puts http PORT PATH CONNS COUNT BYTES | loop DIR COUNT BYTES\n");
		return 2;
	}
	return 0;
}
