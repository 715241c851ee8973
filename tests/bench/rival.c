/*
 * rival: runs a program that the daemon is compared with, and times it from before it is started
 * until it has ended and all its output was read.
 *
 *   rival [--to FILE | --lines] PROGRAM ARGS...
 *
 * Its output goes through a pipe and is thrown away here, counted; --lines counts lines too, which
 * costs time. With --to it goes into a new file instead. PROGRAM is a full path. The result is one
 * JSON object on stdout.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

#define RIVAL_READ (256 * 1024)

struct rival {
	const char *to;
	bool count_lines;
	uint64_t bytes, lines;
};

/* The new file, or the writing end of a pipe whose other end is stored in *from. */
static int rival_output(const struct rival *r, int *from)
{
	int ends[2];

	if (r->to != NULL) {
		*from = -1;
		return open(r->to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	}
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	*from = ends[0];
	return ends[1];
}

static void rival_drain(struct rival *r, int from)
{
	static char buf[RIVAL_READ];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno != EINTR)
			die("read");
		if (n < 0)
			continue;
		r->bytes += (uint64_t)n;
		if (!r->count_lines)
			continue;
		for (char *p = buf; (p = memchr(p, '\n', (size_t)(buf + n - p))) != NULL; p++)
			r->lines++;
	}
}

/* In the child: the program ends with us, should we be stopped halfway. */
static void rival_exec(char **argv, int null, int out)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || dup2(null, STDIN_FILENO) < 0 ||
		dup2(out, STDOUT_FILENO) < 0)
		die("rival");
	execv(argv[0], argv);
	die(argv[0]);
}

static double rival_seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void rival_run(struct rival *r, char **argv)
{
	struct rusage used;
	int status, from, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int64_t begin = now_ns();
	int out = rival_output(r, &from);
	pid_t pid;

	if (null < 0 || out < 0)
		die(r->to == NULL ? "rival" : r->to);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		rival_exec(argv, null, out);
	close(out);
	if (from >= 0)
		rival_drain(r, from);
	while (wait4(pid, &status, 0, &used) < 0) {
		if (errno != EINTR)
			die("wait4");
	}
	printf("{\"seconds\":%.6f,\"exit\":%d,\"bytes\":%llu,\"lines\":%llu,\"cpu_seconds\":%.6f}"
	       "\n",
		(double)(now_ns() - begin) / 1e9, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		(unsigned long long)r->bytes, (unsigned long long)r->lines,
		rival_seconds(used.ru_utime) + rival_seconds(used.ru_stime));
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"to", required_argument, NULL, 't'}, {"lines", no_argument, NULL, 'l'}, {0}};
	struct rival r = {0};

	for (int o; (o = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
		switch (o) {
		case 't': r.to = optarg; break;
		case 'l': r.count_lines = true; break;
		default: return 2;
		}
	}
	if (optind == argc) {
		fprintf(stderr, "usage: rival [--to FILE | --lines] PROGRAM ARGS...\n");
		return 2;
	}
	rival_run(&r, argv + optind);
	return 0;
}
