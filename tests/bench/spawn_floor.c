/*
 * spawn_floor --inflight K --count N PROGRAM ARGS...: what running commands costs without a daemon.
 *
 * The bare loop: two pipes and a clone per command, both pipes read to their end through epoll, the
 * process waited for; K commands are under way at any time. No request, no record, no event. The
 * distance between this and the daemon is the daemon's own cost.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"
#include "measure.h"

#define FLOOR_MAX 256

struct slot {
	pid_t pid;
	int open; /* pipes not yet at their end */
	int64_t start;
};

struct pipe_end {
	struct slot *slot;
	int fd;
};

struct floor {
	int ep, null;
	char *const *argv;
	size_t inflight, count, started, done, failed;
	struct slot slots[FLOOR_MAX];
	struct pipe_end ends[FLOOR_MAX][2];
	struct samples latency;
};

extern char **environ;

static void floor_start(struct floor *f, size_t i)
{
	struct slot *s = &f->slots[i];
	struct launch l = {
		.path = f->argv[0], .argv = f->argv, .envp = environ, .fds = {f->null}, .cpu = -1};
	int ends[2][2];

	s->start = now_ns();
	for (int k = 0; k < 2; k++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &f->ends[i][k]};

		if (pipe2(ends[k], O_CLOEXEC) < 0)
			die("pipe2");
		if (fcntl(ends[k][0], F_SETFL, O_NONBLOCK) < 0)
			die("fcntl");
		f->ends[i][k] = (struct pipe_end){.slot = s, .fd = ends[k][0]};
		l.fds[1 + k] = ends[k][1];
		if (epoll_ctl(f->ep, EPOLL_CTL_ADD, ends[k][0], &ev) < 0)
			die("epoll_ctl");
	}
	s->pid = launch(&l);
	if (s->pid < 0)
		die(f->argv[0]);
	s->open = 2;
	f->started++;
	close(ends[0][1]);
	close(ends[1][1]);
}

static void floor_reap(struct floor *f, struct slot *s)
{
	int status;

	/* Both pipes are at their end: it is exiting, and this wait is short. */
	while (wait4(s->pid, &status, 0, NULL) < 0) {
		if (errno != EINTR)
			die("wait4");
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		f->failed++;
	samples_add(&f->latency, now_ns() - s->start);
	f->done++;
	if (f->started < f->count)
		floor_start(f, (size_t)(s - f->slots));
}

static void floor_read(struct floor *f, struct pipe_end *end)
{
	static char buf[64 * 1024];
	ssize_t n = read(end->fd, buf, sizeof(buf));

	if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)))
		return;
	close(end->fd);
	if (--end->slot->open == 0)
		floor_reap(f, end->slot);
}

static void floor_run(struct floor *f)
{
	struct epoll_event evs[2 * FLOOR_MAX];

	for (size_t i = 0; i < f->inflight && f->started < f->count; i++)
		floor_start(f, i);
	while (f->done < f->count) {
		int n = epoll_wait(f->ep, evs, 2 * FLOOR_MAX, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++)
			floor_read(f, evs[i].data.ptr);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"inflight", required_argument, NULL, 'k'},
		{"count", required_argument, NULL, 'n'}, {0}};
	static struct floor f = {.inflight = 1, .count = 100};
	int64_t wall, cpu;

	for (int o; (o = getopt_long(argc, argv, "+k:n:", options, NULL)) != -1;) {
		if (o == 'k')
			f.inflight = strtoul(optarg, NULL, 10);
		else if (o == 'n')
			f.count = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	f.argv = argv + optind;
	if (f.argv[0] == NULL || f.inflight < 1 || f.inflight > FLOOR_MAX) {
		fprintf(stderr, "usage: spawn_floor --inflight K --count N PROGRAM ARGS...\n");
		return 2;
	}
	alarm(300);
	f.ep = epoll_create1(EPOLL_CLOEXEC);
	f.null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (f.ep < 0 || f.null < 0)
		die("spawn_floor");

	wall = now_ns();
	cpu = cpu_ns();
	floor_run(&f);
	cpu = cpu_ns() - cpu;
	wall = now_ns() - wall;
	printf("{\"count\":%zu,\"failed\":%zu,\"seconds\":%.6f,\"cpu_us_each\":%.2f,", f.done,
		f.failed, (double)wall / 1e9, (double)cpu / 1e3 / (double)f.count);
	samples_print(&f.latency, "latency");
	printf("}\n");
	return f.failed == 0 ? 0 : 1;
}
