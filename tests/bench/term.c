/*
 * term: one terminal over WebSocket, as boxd and ttyd speak it.
 *
 * `echo` types one byte at a time and waits until it comes back; the program in the terminal has to
 * say `ready` and then to send back each byte once (`stty raw -echo; printf ready; exec cat`). It
 * spins while it waits, so that its own waking up is not in the times. `flood` types one line,
 * which lets a program that has said `ready` begin, and reads until so many bytes of output have
 * come.
 *
 * The result is one JSON object on stdout.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

#define TERM_BUF     (1 << 20)
#define TERM_WAIT_NS (20 * NS_PER_SEC)

struct term {
	/* options */
	bool flood, ttyd;
	uint16_t port;
	const char *path;
	size_t count, expect, warm_up;

	int fd;
	uint64_t output; /* bytes of terminal output so far */
	uint64_t frames;
	uint8_t buf[TERM_BUF];
	size_t n;
};

static void fail(const char *what)
{
	fprintf(stderr, "term: %s\n", what);
	exit(2);
}

static void term_write(struct term *t, const void *data, size_t n)
{
	const uint8_t *at = data;

	while (n > 0) {
		ssize_t done = send(t->fd, at, n, MSG_NOSIGNAL);

		if (done < 0 && errno != EAGAIN && errno != EINTR)
			die("send");
		if (done > 0) {
			at += done;
			n -= (size_t)done;
		}
	}
}

/* One masked binary frame of at most 125 bytes; the mask is 0, which is a mask too. */
static void term_send(struct term *t, const void *data, size_t n)
{
	uint8_t frame[6 + 125] = {0x82, (uint8_t)(0x80 | n)};

	memcpy(frame + 6, data, n);
	term_write(t, frame, 6 + n);
}

static void term_type(struct term *t, char key)
{
	char message[2] = {t->ttyd ? '0' : 0, key};

	term_send(t, message, sizeof(message));
}

static void term_payload(struct term *t, int opcode, const uint8_t *p, size_t n)
{
	if (opcode == 8)
		fail("the server closed the terminal");
	if (n == 0)
		return;
	if (t->ttyd)
		t->output += p[0] == '0' ? n - 1 : 0;
	else if (opcode == 2)
		t->output += p[0] == 3 ? n - 9 : n - 1;
	t->frames++;
}

/* The length of the frame at p, 0 when it is not complete. */
static size_t term_frame(struct term *t, const uint8_t *p, size_t have)
{
	size_t head = 2, n;

	if (have < 2)
		return 0;
	n = p[1] & 127;
	if (n >= 126) {
		size_t more = n == 126 ? 2 : 8;

		head += more;
		if (have < head)
			return 0;
		n = 0;
		for (size_t i = 0; i < more; i++)
			n = n << 8 | p[2 + i];
	}
	if (n > TERM_BUF - head)
		fail("a frame is too long");
	if (have < head + n)
		return 0;
	term_payload(t, p[0] & 15, p + head, n);
	return head + n;
}

static void term_parse(struct term *t)
{
	size_t at = 0, n;

	while ((n = term_frame(t, t->buf + at, t->n - at)) > 0)
		at += n;
	t->n -= at;
	memmove(t->buf, t->buf + at, t->n);
}

/* Reads once; false when there was nothing. */
static bool term_read(struct term *t)
{
	ssize_t n = recv(t->fd, t->buf + t->n, TERM_BUF - t->n, MSG_DONTWAIT);

	if (n == 0)
		fail("the connection ended");
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		die("recv");
	if (n <= 0)
		return false;
	t->n += (size_t)n;
	term_parse(t);
	return true;
}

static void term_connect(struct term *t)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(t->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char request[512];
	uint8_t *end = NULL;
	int on = 1;

	t->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (t->fd < 0 || connect(t->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	snprintf(request, sizeof(request),
		"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: Upgrade\r\n"
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n",
		t->path, t->port, t->ttyd ? "Sec-WebSocket-Protocol: tty\r\n" : "");
	term_write(t, request, strlen(request));
	while (end == NULL) {
		ssize_t n = recv(t->fd, t->buf + t->n, TERM_BUF - t->n, 0);

		if (n <= 0)
			fail("no answer to the handshake");
		t->n += (size_t)n;
		end = memmem(t->buf, t->n, "\r\n\r\n", 4);
	}
	if (t->n < 12 || memcmp(t->buf + 9, "101", 3) != 0)
		fail("the handshake was refused");
	end += 4;
	t->n -= (size_t)(end - t->buf);
	memmove(t->buf, end, t->n);
	if (t->ttyd) {
		static const char hello[] = "{\"columns\":80,\"rows\":24}";

		term_send(t, hello, sizeof(hello) - 1);
	}
	term_parse(t);
	/* What the program says when it is ready, in both modes. */
	for (int64_t until = now_ns() + TERM_WAIT_NS; t->output < strlen("ready");) {
		struct pollfd p = {t->fd, POLLIN, 0};

		poll(&p, 1, 100);
		term_read(t);
		if (now_ns() > until)
			fail("the terminal does not begin");
	}
}

/* Types one byte and waits for it. */
static int64_t term_key(struct term *t, char key)
{
	uint64_t want = t->output + 1;
	int64_t begin = now_ns();

	term_type(t, key);
	while (t->output < want) {
		if (!term_read(t) && now_ns() - begin > TERM_WAIT_NS)
			fail("a key did not come back");
	}
	return now_ns() - begin;
}

static void term_echo(struct term *t)
{
	struct samples s = {0};

	for (size_t i = 0; i < t->warm_up; i++)
		term_key(t, 'w');
	for (size_t i = 0; i < t->count; i++)
		samples_add(&s, term_key(t, (char)('a' + i % 26)));
	printf("{");
	samples_print(&s, "echo");
	printf(",\"count\":%zu}\n", t->count);
}

static void term_flood(struct term *t)
{
	uint64_t before = t->output;
	int64_t begin = now_ns();

	term_type(t, '\n');
	while (t->output - before < t->expect) {
		struct pollfd p = {t->fd, POLLIN, 0};

		if (!term_read(t) && poll(&p, 1, 20000) <= 0)
			fail("the flood stopped");
	}
	printf("{\"ns\":%lld,\"bytes\":%llu,\"frames\":%llu}\n", (long long)(now_ns() - begin),
		(unsigned long long)(t->output - before), (unsigned long long)t->frames);
}

static void usage(void)
{
	fprintf(stderr, "usage: term echo --port P --path /P [--ttyd] [--count N]\n"
			"       term flood --port P --path /P [--ttyd] --expect BYTES\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"port", 1, NULL, 'p'}, {"path", 1, NULL, 'u'},
		{"ttyd", 0, NULL, 't'}, {"count", 1, NULL, 'n'}, {"expect", 1, NULL, 'e'}, {0}};
	static struct term t = {.path = "/", .count = 2000, .warm_up = 200, .fd = -1};

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (o) {
		case 'p': t.port = (uint16_t)strtoul(optarg, NULL, 10); break;
		case 'u': t.path = optarg; break;
		case 't': t.ttyd = true; break;
		case 'n': t.count = strtoul(optarg, NULL, 10); break;
		case 'e': t.expect = strtoul(optarg, NULL, 10); break;
		default: usage();
		}
	}
	if (optind + 1 != argc || t.port == 0)
		usage();
	t.flood = strcmp(argv[optind], "flood") == 0;
	if (!t.flood && strcmp(argv[optind], "echo") != 0)
		usage();
	term_connect(&t);
	if (t.flood)
		term_flood(&t);
	else
		term_echo(&t);
	close(t.fd);
	return 0;
}
