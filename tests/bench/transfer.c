/*
 * transfer: sends one HTTP request, with a file as its body if asked to, and reads the reply.
 *
 *   transfer --port P --head TEXT [--file FILE] [--tail TEXT] [--discard | --save FILE]
 *            [--limit S] [--loop]
 *
 * TEXT goes out as it stands: the request's head with the empty line that ends it and what comes
 * before the file; what comes after it. The file is mapped and sent from memory, as clients do:
 * with sendfile(2) the socket would be full of single pages, which costs the receiver more.
 * --discard throws a reply's body away in the kernel, --save keeps it.
 *
 * With --loop it does so again and again on one connection, until its own input ends; a request
 * that is under way then is broken off. The result is one JSON object on stdout.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure.h"
#include "reply.h"

#define TRANSFER_PIECE (1024 * 1024) /* sent between two looks at our own input */

struct transfer {
	/* options */
	uint16_t port;
	const char *head, *tail, *file, *save;
	bool discard, loop;
	unsigned int limit;

	/* state */
	int fd, file_fd, save_fd;
	const char *content; /* of the file */
	off_t size;
	bool stopped; /* our own input has ended */
	uint64_t done, bad, broken, sent_bytes, body_bytes;
	struct reply reply;
};

/* Until the socket is ready; false when our own input ended first, which only a loop looks at. */
static bool transfer_wait(struct transfer *t, short events, int timeout)
{
	struct pollfd fds[] = {
		{.fd = t->fd, .events = events}, {.fd = STDIN_FILENO, .events = POLLIN}};

	if (!t->loop)
		return true;
	if (poll(fds, 2, timeout) < 0 && errno != EINTR)
		die("poll");
	if (fds[1].revents != 0)
		t->stopped = true;
	return !t->stopped;
}

static bool transfer_wait_input(void *arg)
{
	return transfer_wait(arg, POLLIN, -1);
}

static void transfer_connect(struct transfer *t)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(t->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	t->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (t->fd < 0 || connect(t->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("connect");
	if (t->loop && fcntl(t->fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		die("fcntl");
}

/* True when a failed call may be tried again, once the socket takes more. */
static bool transfer_again(struct transfer *t)
{
	if (errno == EAGAIN)
		return transfer_wait(t, POLLOUT, -1);
	return errno == EINTR;
}

static bool transfer_send_text(struct transfer *t, const char *text, int flags)
{
	size_t n = strlen(text);

	while (n > 0) {
		ssize_t w = send(t->fd, text, n, flags | MSG_NOSIGNAL);

		if (w < 0 && !transfer_again(t))
			return false;
		if (w < 0)
			continue;
		text += w;
		n -= (size_t)w;
		t->sent_bytes += (uint64_t)w;
	}
	return true;
}

static bool transfer_send_file(struct transfer *t)
{
	size_t at = 0, size = (size_t)t->size;

	while (at < size) {
		size_t left = size - at;
		ssize_t w = send(t->fd, t->content + at,
			left > TRANSFER_PIECE ? TRANSFER_PIECE : left, MSG_NOSIGNAL);

		if (w < 0 && !transfer_again(t))
			return false;
		if (w > 0) {
			at += (size_t)w;
			t->sent_bytes += (uint64_t)w;
		}
		if (!transfer_wait(t, POLLOUT, 0))
			return false;
	}
	return true;
}

/* A server may answer before it has read all, so a failure to send is not the end of it. */
static void transfer_once(struct transfer *t)
{
	struct reply *r = &t->reply;
	bool sent, complete;

	reply_init(r, t->fd);
	r->discard = t->discard;
	r->save = t->save_fd;
	if (t->loop) {
		r->wait = transfer_wait_input;
		r->arg = t;
	}
	sent = transfer_send_text(t, t->head, t->file == NULL ? 0 : MSG_MORE);
	if (sent && t->file != NULL)
		sent = transfer_send_file(t);
	if (sent && t->tail != NULL)
		sent = transfer_send_text(t, t->tail, 0);
	complete = !t->stopped && reply_read(r);
	t->body_bytes += r->body_bytes;
	if (t->stopped)
		return;
	if (!sent || !complete)
		t->broken++;
	else
		t->done++;
	if (complete && r->status / 100 != 2)
		t->bad++;
}

static void transfer_open_files(struct transfer *t)
{
	struct stat st;

	t->save_fd = -1;
	if (t->save != NULL) {
		t->save_fd = open(t->save, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (t->save_fd < 0)
			die(t->save);
	}
	if (t->file != NULL) {
		t->file_fd = open(t->file, O_RDONLY | O_CLOEXEC);
		if (t->file_fd < 0 || fstat(t->file_fd, &st) < 0)
			die(t->file);
		t->size = st.st_size;
		t->content = mmap(
			NULL, (size_t)t->size, PROT_READ, MAP_SHARED | MAP_POPULATE, t->file_fd, 0);
		if (t->content == MAP_FAILED)
			die(t->file);
	}
}

static void transfer_usage(void)
{
	fprintf(stderr, "usage: transfer --port P --head TEXT [--file FILE] [--tail TEXT]\n"
			"                [--discard | --save FILE] [--limit S] [--loop]\n");
	exit(2);
}

static void transfer_parse(struct transfer *t, int argc, char **argv)
{
	static const struct option options[] = {{"port", required_argument, NULL, 'p'},
		{"head", required_argument, NULL, 'h'}, {"file", required_argument, NULL, 'f'},
		{"tail", required_argument, NULL, 't'}, {"discard", no_argument, NULL, 'd'},
		{"save", required_argument, NULL, 's'}, {"limit", required_argument, NULL, 'l'},
		{"loop", no_argument, NULL, 'L'}, {0}};

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (o) {
		case 'p': t->port = (uint16_t)strtoul(optarg, NULL, 10); break;
		case 'h': t->head = optarg; break;
		case 'f': t->file = optarg; break;
		case 't': t->tail = optarg; break;
		case 'd': t->discard = true; break;
		case 's': t->save = optarg; break;
		case 'l': t->limit = (unsigned int)strtoul(optarg, NULL, 10); break;
		case 'L': t->loop = true; break;
		default: transfer_usage();
		}
	}
	if (optind != argc || t->port == 0 || t->head == NULL || (t->discard && t->save != NULL))
		transfer_usage();
}

int main(int argc, char **argv)
{
	static struct transfer t = {.limit = 120};
	int64_t begin;

	transfer_parse(&t, argc, argv);
	transfer_open_files(&t);
	alarm(t.limit); /* a server that hangs must not take us with it */
	begin = now_ns();
	transfer_connect(&t);
	do {
		transfer_once(&t);
	} while (t.loop && !t.stopped && t.bad == 0 && t.broken == 0);
	printf("{\"seconds\":%.6f,\"status\":%d,\"done\":%llu,\"bad\":%llu,\"broken\":%llu,"
	       "\"sent_bytes\":%llu,\"body_bytes\":%llu,\"cpu_seconds\":%.6f}\n",
		(double)(now_ns() - begin) / 1e9, t.reply.status, (unsigned long long)t.done,
		(unsigned long long)t.bad, (unsigned long long)t.broken,
		(unsigned long long)t.sent_bytes, (unsigned long long)t.body_bytes,
		(double)cpu_ns() / 1e9);
	return 0;
}
