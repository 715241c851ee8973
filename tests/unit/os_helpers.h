/* What the tests of the os and loop layers share: looking at processes and descriptors from
 * outside. */
#ifndef BOXD_TEST_OS_HELPERS_H
#define BOXD_TEST_OS_HELPERS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* Longer than anything here takes on a loaded machine; a test that waits this long has failed. */
#define TEST_PATIENCE_MS 20000

/* The open descriptors of a process (0: this one) as "0 1 2 ", in order; returns how many. */
static inline size_t test_fds(pid_t pid, char *list, size_t cap)
{
	char path[64];
	size_t n = 0;
	size_t len = 0;
	bool seen[4096] = {false};
	const struct dirent *d;
	DIR *dir;
	int i;

	if (pid == 0)
		snprintf(path, sizeof(path), "/proc/self/fd");
	else
		snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (dir == NULL)
		return 0;
	while ((d = readdir(dir)) != NULL) {
		int fd = d->d_name[0] == '.' ? -1 : atoi(d->d_name);

		if (fd >= 0 && fd < 4096 && (pid != 0 || fd != dirfd(dir)))
			seen[fd] = true;
	}
	closedir(dir);
	if (cap > 0)
		list[0] = '\0';
	for (i = 0; i < 4096; i++) {
		if (!seen[i])
			continue;
		n++;
		if (len + 8 < cap)
			len += (size_t)snprintf(list + len, cap - len, "%d ", i);
	}
	return n;
}

/* The value of "Key:\tvalue" in /proc/PID/status, tabs as blanks; "" when there is none. */
static inline void test_status(pid_t pid, const char *key, char *out, size_t cap)
{
	char path[64];
	char line[512];
	FILE *f;

	out[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL) {
		size_t n = strlen(key);
		char *p;

		if (strncmp(line, key, n) != 0 || line[n] != ':')
			continue;
		line[strcspn(line, "\n")] = '\0';
		for (p = line + n + 1; *p == '\t' || *p == ' '; p++)
			;
		snprintf(out, cap, "%s", p);
		for (p = out; *p != '\0'; p++)
			*p = *p == '\t' ? ' ' : *p;
		break;
	}
	fclose(f);
}

/* Reads to the end of the file, or until the patience is over (false). */
static inline bool test_read_all(int fd, char *out, size_t cap)
{
	size_t len = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, TEST_PATIENCE_MS) <= 0)
			return false;
		n = read(fd, out + len, cap - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		out[len + (n > 0 ? (size_t)n : 0)] = '\0';
		if (n <= 0)
			return n == 0;
		len += (size_t)n;
	}
}

/* Reads exactly len bytes, or fails when they do not come. */
static inline bool test_read_exact(int fd, void *out, size_t len)
{
	size_t got = 0;

	while (got < len) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, TEST_PATIENCE_MS) <= 0)
			return false;
		n = read(fd, (char *)out + got, len - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

/* No child of ours is left, dead or alive. */
static inline bool test_childless(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

#endif
