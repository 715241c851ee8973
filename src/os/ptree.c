/*
 * ptree: everything a command started, dead.
 *
 * Killing what a scan of /proc found would race with processes that fork meanwhile. So the members
 * are stopped first: a stopped process starts no others, and the kernel fails a fork that a stop
 * signal overtakes, so what a member forked in time is in the next scan. When a scan finds no new
 * member the tree stands still, and then all of it is killed, the youngest first: when a parent
 * ends, the kernel wakes the stopped groups that lose their link to the session by it (SIGHUP,
 * SIGCONT), and by then its children should be beyond waking. What was woken all the same, and
 * forked, is found by one more scan.
 *
 * A number read from /proc may belong to another process by the time it is used. A member is its
 * pid and its start time; before each signal a pidfd is opened and the start time read again, so
 * that the signal reaches that process or nobody. Where pidfds are missing the check comes right
 * before kill(2), the best there is.
 */
#include "boxd/ptree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/log.h"
#include "boxd/sysc.h"

/* Scans before the kill comes all the same: a tree that grows faster than this is not seen whole.
 */
#define PTREE_ROUNDS 32

/* Processes looked at in one scan. */
#define PTREE_PROCS_MAX 262144

#define PTREE_KTHREAD 0x00200000U /* PF_KTHREAD in the flags of stat */

struct ptree_proc {
	pid_t pid, parent, group, session;
	long threads;
	unsigned int flags;
	char state;
	bool member;
	bool killed;    /* by us: it may take a while to disappear */
	uint64_t start; /* ticks since boot */
	uint32_t name;  /* a hash of it */
};

struct ptree_scan {
	struct ptree_proc *procs; /* ascending by pid */
	size_t n, cap;
};

static uint32_t ptree_hash(const char *text, size_t n)
{
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)text[i]) * 16777619U;
	return h;
}

/*
 * "pid (name) state ppid pgrp session tty tpgid flags ..., the 22nd field the start time". The name
 * may hold anything, parentheses and newlines too: the fields begin after the last one.
 */
static bool ptree_parse(const char *text, struct ptree_proc *p)
{
	/* Numbers behind the state, counted from the parent's pid. */
	enum { PARENT, GROUP, SESSION, FLAGS = 5, THREADS = 16, START = 18, NUMBERS };
	long long v[NUMBERS];
	const char *at = strrchr(text, ')');
	char *end;

	p->pid = (pid_t)strtol(text, &end, 10);
	if (end == text || at == NULL || at < end || at[1] != ' ' || at[2] == '\0')
		return false;
	p->state = at[2];
	p->name = ptree_hash(end, (size_t)(at - end));
	at += 3;
	for (size_t i = 0; i < NUMBERS; i++) {
		v[i] = strtoll(at, &end, 10);
		if (end == at)
			return false;
		at = end;
	}
	p->parent = (pid_t)v[PARENT];
	p->group = (pid_t)v[GROUP];
	p->session = (pid_t)v[SESSION];
	p->flags = (unsigned int)v[FLAGS];
	p->threads = (long)v[THREADS];
	p->start = (uint64_t)v[START];
	p->member = false;
	p->killed = false;
	return true;
}

/* Reads PID/stat below the directory; false when that process is gone. */
static bool ptree_read(int proc_fd, const char *pid, struct ptree_proc *p)
{
	char path[32];
	char text[1024];
	CLEANUP_FD int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%.20s/stat", pid);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	do
		n = read(fd, text, sizeof(text) - 1);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	text[n] = '\0';
	return ptree_parse(text, p);
}

static bool ptree_push(struct ptree_scan *s, const struct ptree_proc *p)
{
	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 256 : s->cap * 2;
		struct ptree_proc *more = NULL;

		if (cap <= PTREE_PROCS_MAX)
			more = realloc(s->procs, cap * sizeof(*more));
		if (more == NULL)
			return false;
		s->procs = more;
		s->cap = cap;
	}
	s->procs[s->n++] = *p;
	return true;
}

static int ptree_compare(const void *a, const void *b)
{
	const struct ptree_proc *x = a;
	const struct ptree_proc *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* When memory is out the scan is what was seen so far. */
static void ptree_list(DIR *proc, struct ptree_scan *s)
{
	const struct dirent *d;

	s->n = 0;
	rewinddir(proc);
	while ((d = readdir(proc)) != NULL) {
		struct ptree_proc p;

		if (d->d_name[0] < '1' || d->d_name[0] > '9')
			continue;
		if (ptree_read(dirfd(proc), d->d_name, &p) && !ptree_push(s, &p)) {
			log_warn("ptree", "more than %zu processes: the rest is not seen", s->n);
			break;
		}
	}
	if (s->n > 0)
		qsort(s->procs, s->n, sizeof(*s->procs), ptree_compare);
}

static struct ptree_proc *ptree_find(const struct ptree_scan *s, pid_t pid)
{
	struct ptree_proc key = {.pid = pid};

	if (s->n == 0)
		return NULL;
	return bsearch(&key, s->procs, s->n, sizeof(key), ptree_compare);
}

/* Never these, whatever their links say. */
static bool ptree_exempt(const struct ptree_proc *p)
{
	return p->pid <= 1 || p->pid == getpid() || (p->flags & PTREE_KTHREAD) != 0;
}

/* A process whose first thread ended looks like a zombie while the other threads live on. */
static bool ptree_dead(const struct ptree_proc *p)
{
	return (p->state == 'Z' || p->state == 'X') && p->threads <= 1;
}

/* What it was in the scan before, if it was a member. */
static const struct ptree_proc *ptree_known(
	const struct ptree_scan *before, const struct ptree_proc *p)
{
	const struct ptree_proc *known = ptree_find(before, p->pid);

	if (known == NULL || !known->member || known->start != p->start)
		return NULL;
	return known;
}

/* Is it one by what it cannot give away: a group is whole in its session. */
static bool ptree_inside(const struct ptree_proc *p, pid_t leader)
{
	return p->session == leader || p->group == leader;
}

/* Marks the members: the seeds, and whatever descends from a member. */
static void ptree_mark(struct ptree_scan *s, pid_t leader, const struct ptree_scan *before)
{
	bool again = true;
	size_t i;

	for (i = 0; i < s->n; i++) {
		struct ptree_proc *p = &s->procs[i];
		const struct ptree_proc *known = ptree_known(before, p);

		p->member = !ptree_exempt(p) &&
			    (p->pid == leader || ptree_inside(p, leader) || known != NULL);
		p->killed = known != NULL && known->killed;
	}
	/* Mostly one pass: parents have lower numbers until those wrap around. */
	while (again) {
		again = false;
		for (i = 0; i < s->n; i++) {
			struct ptree_proc *p = &s->procs[i];
			const struct ptree_proc *parent = ptree_find(s, p->parent);

			if (p->member || parent == NULL || !parent->member || ptree_exempt(p))
				continue;
			p->member = true;
			again = true;
		}
	}
}

/* Signals this very process; false when it is gone or may not be signalled. */
static bool ptree_signal(int proc_fd, const struct ptree_proc *p, int signo)
{
	CLEANUP_FD int pidfd = sysc_pidfd_open(p->pid);
	struct ptree_proc now;
	char pid[16];

	if (pidfd < 0 && errno == ESRCH)
		return false;
	snprintf(pid, sizeof(pid), "%d", (int)p->pid);
	if (!ptree_read(proc_fd, pid, &now) || now.start != p->start || ptree_dead(&now))
		return false;
	if (pidfd >= 0 && sysc_pidfd_send_signal(pidfd, signo) == 0)
		return true;
	if (pidfd >= 0 && !sysc_missing(errno))
		return false;
	return kill(p->pid, signo) == 0;
}

/*
 * Stops the members that the scan before did not have, and returns how many there were. Groups are
 * stopped as such too: that is one step for the kernel, which a process that forks and ends, and
 * forks and ends, cannot outrun.
 */
static size_t ptree_freeze(
	int proc_fd, const struct ptree_scan *s, const struct ptree_scan *before, pid_t leader)
{
	pid_t group = 0;
	size_t found = 0;
	size_t i;

	for (i = 0; i < s->n; i++) {
		const struct ptree_proc *p = &s->procs[i];

		if (!p->member || ptree_dead(p) || ptree_known(before, p) != NULL)
			continue;
		found++;
		/* 0 and 1 would mean our own group, and everybody. */
		if (ptree_inside(p, leader) && p->group > 1 && p->group != group) {
			group = p->group;
			kill(-group, SIGSTOP);
		}
		ptree_signal(proc_fd, p, SIGSTOP);
	}
	return found;
}

/* A /proc of another pid namespace has other numbers than kill(2). */
static bool ptree_proc_is_ours(DIR *proc)
{
	struct ptree_proc self;

	return ptree_read(dirfd(proc), "self", &self) && self.pid == getpid();
}

/* Youngest first. In one tick of the clock the numbers decide, which mostly grow. */
static int ptree_compare_age(const void *a, const void *b)
{
	const struct ptree_proc *x = a;
	const struct ptree_proc *y = b;

	if (x->start != y->start)
		return (x->start < y->start) - (x->start > y->start);
	return ptree_compare(b, a);
}

static size_t ptree_kill_members(int proc_fd, struct ptree_scan *s)
{
	size_t killed = 0;
	size_t i;

	if (s->n == 0)
		return 0;
	qsort(s->procs, s->n, sizeof(*s->procs), ptree_compare_age);
	for (i = 0; i < s->n; i++) {
		struct ptree_proc *p = &s->procs[i];

		if (!p->member || p->killed || !ptree_signal(proc_fd, p, SIGKILL))
			continue;
		p->killed = true;
		killed++;
	}
	qsort(s->procs, s->n, sizeof(*s->procs), ptree_compare);
	return killed;
}

/* Freezes until a scan brings nothing new, kills, and is done when nothing new comes after that. */
static size_t ptree_kill_below(DIR *proc, pid_t leader)
{
	struct ptree_scan scans[2] = {{0}};
	size_t killed = 0;
	int round;

	for (round = 0; round < PTREE_ROUNDS; round++) {
		struct ptree_scan *now = &scans[round % 2];
		const struct ptree_scan *before = &scans[(round + 1) % 2];
		bool last = round == PTREE_ROUNDS - 1;
		size_t n;

		ptree_list(proc, now);
		ptree_mark(now, leader, before);
		if (ptree_freeze(dirfd(proc), now, before, leader) > 0 && !last)
			continue;
		n = ptree_kill_members(dirfd(proc), now);
		if (n == 0)
			break;
		killed += n;
	}
	free(scans[0].procs);
	free(scans[1].procs);
	return killed;
}

/* /proc, when it can be used, and the leader is one of ours. */
static DIR *ptree_open(pid_t leader)
{
	DIR *proc;

	/* Not the daemon's own session, whatever the caller believes to have started. */
	if (leader <= 1 || leader == getpid() || leader == getsid(0) || leader == getpgrp())
		return NULL;
	proc = opendir("/proc");
	if (proc != NULL && !ptree_proc_is_ours(proc)) {
		closedir(proc);
		proc = NULL;
	}
	return proc;
}

size_t ptree_kill(pid_t leader)
{
	DIR *proc = ptree_open(leader);
	size_t killed;

	if (proc == NULL)
		return 0;
	killed = ptree_kill_below(proc, leader);
	closedir(proc);
	return killed;
}

bool ptree_is_reused(pid_t reaped_leader)
{
	return kill(reaped_leader, 0) == 0 || errno != ESRCH;
}

/* ---- what began after a moment ---- */

/* No number of a process needs more (PID_MAX_LIMIT of the kernel). */
#define PTREE_PID_BITS 22

static uint64_t ptree_moment(uint64_t ticks, pid_t pid)
{
	return ticks << PTREE_PID_BITS | (uint64_t)pid;
}

/* The number that was given to a process last; 0 when that is not to be had. */
static pid_t ptree_last_pid(void)
{
	CLEANUP_FD int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	char text[128];
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	const char *at;
	long pid;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	at = strrchr(text, ' ');
	pid = at != NULL ? strtol(at, NULL, 10) : 0;
	return pid > 0 && pid < 1L << PTREE_PID_BITS ? (pid_t)pid : 0;
}

/*
 * A tick is long enough for many processes, so within one they are told apart by their numbers.
 * Those begin anew once in a while: who is taken for older then is one of thousands, by chance.
 */
uint64_t ptree_now(void)
{
	struct timespec ts = {0};
	long ticks = sysconf(_SC_CLK_TCK);
	uint64_t hz = ticks > 0 ? (uint64_t)ticks : 100;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ptree_moment((uint64_t)ts.tv_sec * hz + (uint64_t)ts.tv_nsec / (1000000000U / hz),
		ptree_last_pid());
}

static struct ptree_id *ptree_ids_find(const struct ptree_ids *ids, const struct ptree_proc *p)
{
	for (size_t i = 0; i < ids->n; i++)
		if (ids->id[i].pid == p->pid && ids->id[i].start == p->start)
			return &ids->id[i];
	return NULL;
}

/* When memory is out it is not remembered, only signalled. */
static void ptree_ids_put(struct ptree_ids *ids, const struct ptree_proc *p)
{
	struct ptree_id *known = ptree_ids_find(ids, p);

	if (known != NULL) {
		known->name = p->name;
		return;
	}
	if (ids->n == ids->cap) {
		size_t cap = ids->cap == 0 ? 16 : ids->cap * 2;
		struct ptree_id *more = realloc(ids->id, cap * sizeof(*more));

		if (more == NULL)
			return;
		ids->id = more;
		ids->cap = cap;
	}
	ids->id[ids->n++] = (struct ptree_id){p->pid, p->name, p->start};
}

/*
 * Has it been signalled? A shell's child that was about to execute a program may have taken the
 * signal with the shell's own handler, so that the program never hears of it.
 */
static bool ptree_ids_have(const struct ptree_ids *ids, const struct ptree_proc *p)
{
	const struct ptree_id *known = ptree_ids_find(ids, p);

	return known != NULL && known->name == p->name;
}

/* One scan. Returns how many were signalled that *done does not hold; they are put there. */
static size_t ptree_signal_round(DIR *proc, pid_t leader, uint64_t since, int signo,
	struct ptree_scan *s, struct ptree_ids *done)
{
	static const struct ptree_scan nobody = {0};
	size_t found = 0;

	ptree_list(proc, s);
	ptree_mark(s, leader, &nobody);
	for (size_t i = 0; i < s->n; i++) {
		const struct ptree_proc *p = &s->procs[i];

		if (!p->member || p->pid == leader || ptree_moment(p->start, p->pid) <= since ||
			ptree_dead(p) || ptree_ids_have(done, p) ||
			!ptree_signal(dirfd(proc), p, signo))
			continue;
		ptree_ids_put(done, p);
		found++;
	}
	return found;
}

size_t ptree_signal_since(pid_t leader, uint64_t since, int signo, struct ptree_ids *seen)
{
	DIR *proc = ptree_open(leader);
	bool last = signo == SIGKILL;
	struct ptree_scan scan = {0};
	struct ptree_ids killed = {0};
	size_t signalled = 0, n;
	int round = 0;

	if (proc == NULL)
		return 0;
	do {
		n = ptree_signal_round(proc, leader, since, signo, &scan, last ? &killed : seen);
		signalled += n;
	} while (n > 0 && last && ++round < PTREE_ROUNDS);
	ptree_ids_fini(&killed);
	free(scan.procs);
	closedir(proc);
	return signalled;
}

size_t ptree_signal_ids(const struct ptree_ids *ids, int signo)
{
	DIR *proc = opendir("/proc");
	size_t signalled = 0;

	if (proc == NULL)
		return 0;
	for (size_t i = 0; i < ids->n; i++) {
		const struct ptree_proc p = {.pid = ids->id[i].pid, .start = ids->id[i].start};

		signalled += ptree_signal(dirfd(proc), &p, signo);
	}
	closedir(proc);
	return signalled;
}

void ptree_ids_fini(struct ptree_ids *ids)
{
	free(ids->id);
	*ids = (struct ptree_ids){0};
}
