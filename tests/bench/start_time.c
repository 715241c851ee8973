/*
 * start_time --port P --empty FILE --rounds N DAEMON ARGS...: from exec to the first connection.
 *
 * Each round starts an empty program and waits for its end, then starts the daemon and connects
 * until it is let in, asks for /ping, and stops it. We spin on another CPU than the child uses:
 * a sleeping parent would add its own wake-up to what it measures.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"
#include "measure.h"

#define START_LIMIT_NS (5 * NS_PER_SEC)

struct start {
	uint16_t port;
	int null, cpu;
	const char *empty;
	char *const *argv;
	struct samples base, accepted, replied;
};

extern char **environ;

static pid_t start_launch(const struct start *s, char *const *argv)
{
	struct launch l = {.path = argv[0],
		.argv = argv,
		.envp = environ,
		.fds = {s->null, s->null, s->null},
		.cpu = s->cpu};
	pid_t pid = launch(&l);

	if (pid < 0)
		die(argv[0]);
	return pid;
}

/* Spins until it has ended; false when it has not after the limit. */
static int start_wait(pid_t pid)
{
	int64_t end = now_ns() + START_LIMIT_NS;
	pid_t r;

	while ((r = waitpid(pid, NULL, WNOHANG)) == 0 && now_ns() < end)
		;
	return r == pid;
}

static void start_empty(struct start *s)
{
	char *argv[] = {(char *)(uintptr_t)s->empty, NULL};
	int64_t t = now_ns();

	if (!start_wait(start_launch(s, argv)))
		die("the empty program");
	samples_add(&s->base, now_ns() - t);
}

/* A connected socket; -1 when nobody has let us in. */
static int start_connect(uint16_t port, int64_t end)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	while (now_ns() < end) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0)
			die("socket");
		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return fd;
		close(fd);
	}
	return -1;
}

static int start_ping(int fd, uint16_t port, int64_t end)
{
	/* A reset instead of a goodbye: no port stays in TIME_WAIT for the next round to trip over.
	 */
	struct linger hard = {.l_onoff = 1};
	char buf[1024];
	int n = snprintf(
		buf, sizeof(buf), "GET /ping HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", port);
	ssize_t got;

	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)) < 0 ||
		send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
		return -1;
	do {
		got = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (got < 0 && errno == EAGAIN && now_ns() < end);
	return got >= 12 && memcmp(buf, "HTTP/1.1 200", 12) == 0 ? 0 : -1;
}

static void start_daemon(struct start *s)
{
	int64_t t = now_ns(), accepted, replied;
	pid_t pid = start_launch(s, s->argv);
	int fd = start_connect(s->port, t + START_LIMIT_NS), ok;

	accepted = now_ns();
	ok = fd >= 0 && start_ping(fd, s->port, t + START_LIMIT_NS) == 0;
	replied = now_ns();
	if (fd >= 0)
		close(fd);
	kill(pid, SIGTERM);
	if (!start_wait(pid)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	if (!ok) {
		fprintf(stderr, "start_time: no answer on port %u\n", s->port);
		exit(1);
	}
	samples_add(&s->accepted, accepted - t);
	samples_add(&s->replied, replied - t);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"port", required_argument, NULL, 'p'},
		{"empty", required_argument, NULL, 'e'}, {"rounds", required_argument, NULL, 'n'},
		{"child-cpu", required_argument, NULL, 'c'}, {0}};
	static struct start s = {.cpu = -1};
	long rounds = 20;

	for (int o; (o = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
		switch (o) {
		case 'p': s.port = (uint16_t)strtoul(optarg, NULL, 10); break;
		case 'e': s.empty = optarg; break;
		case 'n': rounds = strtol(optarg, NULL, 10); break;
		case 'c': s.cpu = (int)strtol(optarg, NULL, 10); break;
		default: return 2;
		}
	}
	s.argv = argv + optind;
	if (s.port == 0 || s.empty == NULL || s.argv[0] == NULL) {
		fprintf(stderr,
			"usage: start_time --port P --empty FILE [--rounds N] [--child-cpu C] "
			"DAEMON ARGS...\n");
		return 2;
	}
	s.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (s.null < 0)
		die("/dev/null");
	for (long i = 0; i < rounds; i++) {
		start_empty(&s);
		start_daemon(&s);
	}
	printf("{");
	samples_print(&s.base, "empty");
	printf(",");
	samples_print(&s.accepted, "accepted");
	printf(",");
	samples_print(&s.replied, "replied");
	printf("}\n");
	return 0;
}
