/*
 * spawn: a process from a plan.
 *
 * The child is a clone that shares the daemon's memory and suspends the calling thread until it
 * execs (CLONE_VM|CLONE_VFORK): the price does not grow with the daemon, and a failure is written
 * straight into the caller's struct. The sharing makes the rules for everything named
 * spawn_child_*: raw system calls only, nothing that locks, allocates or knows about threads
 * (libc's set*id functions tell all threads), and no signal handler may run in the child. So every
 * signal is blocked around the clone, and unblocked in the child only when all dispositions are
 * default.
 *
 * A clone copies the table of descriptors, and the child closes the copy: with ten thousand clients
 * that is milliseconds, in which the caller waits. So when a descriptor of the plan has a high
 * number, the table is shared instead, and close_range(2) makes the child's own, which then holds
 * nothing but the few numbers below the range. The ones that the child needs are put there
 * first: slots that were reserved when numbers were still low. Until it has its own table the
 * child changes nothing in the shared one.
 *
 * After the change of user the child still shares the daemon's memory for a moment. The kernel
 * marks that memory as not dumpable when it changes credentials, so the new user cannot attach to
 * it; the mark stays on the daemon, and nothing here takes it back.
 */
#include "boxd/spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/sysc.h"

/*
 * The child runs as the calling thread as far as a sanitizer's runtime can tell, and leaves its
 * functions by exec: their entries and exits must not be recorded.
 */
#if defined(__has_attribute)
#if __has_attribute(disable_sanitizer_instrumentation)
#define SPAWN_RAW __attribute__((noinline, disable_sanitizer_instrumentation))
#endif
#endif
#ifndef SPAWN_RAW
#define SPAWN_RAW __attribute__((noinline, no_sanitize("address", "thread", "undefined")))
#endif

/*
 * ThreadSanitizer takes a call of clone() for a fork, which goes wrong when the child shares the
 * memory: there, glibc's other name of the function is called.
 */
#if defined(__SANITIZE_THREAD__)
#define SPAWN_CLONE __clone
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SPAWN_CLONE __clone
#endif
#endif
#ifdef SPAWN_CLONE
int SPAWN_CLONE(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#else
#define SPAWN_CLONE clone
#endif

#define SPAWN_STACK_BYTES (32 * 1024)
#define SPAWN_GUARD_BYTES (64 * 1024) /* a multiple of every page size in use */
#define SPAWN_SIGNALS     64          /* of the kernel, the real-time ones included */
#define SPAWN_UMASK       022

/*
 * The last resort for closing, without close_range(2) and /proc. All our descriptors are
 * close-on-exec; inherited ones have low numbers.
 */
#define SPAWN_CLOSE_MAX 65536

#define SPAWN_DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* A plan below this number is started with a copy of the table: that is cheaper than the slots. */
#define SPAWN_COPY_MAX 128

#define SPAWN_SLOTS 4 /* 0, 1, 2 and the plan's extra one */

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#endif

/* What the two sides share. */
struct spawn_call {
	const struct spawn_plan *plan;
	int fds[SPAWN_SLOTS]; /* the plan's, or the slots; the extra one is last, -1: none */
	int shared_max;       /* the table is shared, the slots end here; 0: it is a copy */
	bool unshared;        /* told by the child: the kernel can do that */
	enum spawn_step step; /* the child is at */
	int error;            /* errno of that step, 0: the program was executed */
};

struct spawn_dirent { /* of getdents64(2) */
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

static _Thread_local enum spawn_step spawn_failed;

/*
 * What is ignored would stay so across the exec, and handlers must be gone before the signals are
 * unblocked. All of them, every time: to remember which ones need it saves a quarter of the time
 * the caller is blocked, and is wrong as soon as a library changes one behind our back.
 */
SPAWN_RAW static void spawn_child_signals(void)
{
	/* All zero is SIG_DFL without flags in every architecture's layout. */
	unsigned long deflt[8] = {0};
	int signo;

	for (signo = 1; signo <= SPAWN_SIGNALS; signo++) {
		if (signo != SIGKILL && signo != SIGSTOP)
			syscall(SYS_rt_sigaction, signo, deflt, NULL, SPAWN_SIGNALS / 8);
	}
}

/* The copy stays open across the exec, also one that has its number already. */
SPAWN_RAW static int spawn_child_dup(int fd, int as)
{
	long rc;

	if (fd == as)
		return (int)syscall(SYS_fcntl, fd, F_SETFD, 0);
	do
		rc = syscall(SYS_dup3, fd, as, 0);
	while (rc < 0 && (errno == EINTR || errno == EBUSY));
	return (int)rc;
}

/* The sources are above 2, so none is lost to a target below 3 before its turn. */
SPAWN_RAW static int spawn_child_fds(struct spawn_call *call)
{
	int i;

	if (call->shared_max > 0) {
		if (syscall(SYS_close_range, call->shared_max + 1, ~0U, CLOSE_RANGE_UNSHARE) < 0)
			return -1;
		call->unshared = true;
	}

	for (i = 0; i < 3; i++) {
		if (spawn_child_dup(call->fds[i], i) < 0)
			return -1;
	}
	/* Last: its number may be that of one of the others. */
	return call->fds[3] < 0 ? 0 : spawn_child_dup(call->fds[3], call->plan->extra_fd_as);
}

/* -1 for what is not a number: "." and "..". */
SPAWN_RAW static int spawn_child_fd_number(const char *name)
{
	int fd = 0;

	if (*name == '\0')
		return -1;
	for (; *name != '\0'; name++) {
		if (*name < '0' || *name > '9')
			return -1;
		fd = fd * 10 + (*name - '0');
	}
	return fd;
}

/* Closes what the directory lists; it is the child's own table, as CLONE_FILES is not set. */
SPAWN_RAW static void spawn_child_close_listed(int dir, int keep)
{
	union {
		char bytes[1024];
		uint64_t align;
	} buf;
	long n;

	while ((n = syscall(SYS_getdents64, dir, &buf, sizeof(buf))) > 0) {
		long at = 0;

		while (at < n) {
			const struct spawn_dirent *d = (const void *)(buf.bytes + at);
			int fd = spawn_child_fd_number(d->name);

			if (fd > 2 && fd != dir && fd != keep)
				syscall(SYS_close, fd);
			at += d->reclen;
		}
	}
	syscall(SYS_close, dir);
}

/* Everything above 2 but one: keep is 2 when there is none. */
SPAWN_RAW static bool spawn_child_close_ranges(unsigned int keep)
{
	return (keep <= 3 || syscall(SYS_close_range, 3U, keep - 1, 0U) == 0) &&
	       syscall(SYS_close_range, keep + 1, ~0U, 0U) == 0;
}

SPAWN_RAW static void spawn_child_close_all(int keep)
{
	struct {
		uint64_t cur, max;
	} nofile = {SPAWN_CLOSE_MAX, SPAWN_CLOSE_MAX};
	long dir;
	int fd;

	if (spawn_child_close_ranges((unsigned int)keep))
		return;
	dir = syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY, 0);
	if (dir >= 0) {
		spawn_child_close_listed((int)dir, keep);
		return;
	}
	syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &nofile);
	for (fd = 3; fd < SPAWN_CLOSE_MAX && (uint64_t)fd < nofile.max; fd++) {
		if (fd != keep)
			syscall(SYS_close, fd);
	}
}

SPAWN_RAW static int spawn_child_user(const struct spawn_plan *plan)
{
	if (syscall(SYS_setgroups, plan->ngroups, plan->groups) < 0 ||
		syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid) < 0 ||
		syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid) < 0)
		return -1;
	return 0;
}

/* Returns only when a step has failed. */
SPAWN_RAW static void spawn_child_steps(struct spawn_call *call)
{
	const struct spawn_plan *plan = call->plan;
	uint64_t none = 0;

	call->step = SPAWN_FORK;
	spawn_child_signals();
	if ((plan->new_session ? syscall(SYS_setsid) : syscall(SYS_setpgid, 0, 0)) < 0)
		return;
	if (spawn_child_fds(call) < 0)
		return;
	call->step = SPAWN_TERMINAL;
	if (plan->terminal && syscall(SYS_ioctl, 0, TIOCSCTTY, 0) < 0)
		return;
	call->step = SPAWN_FORK;
	spawn_child_close_all(call->fds[3] < 0 ? 2 : plan->extra_fd_as);
	syscall(SYS_umask, SPAWN_UMASK);
	if (plan->origin != NULL) {
		syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &plan->origin->nofile, NULL);
		syscall(SYS_setpriority, PRIO_PROCESS, 0, plan->origin->nice);
	}
	if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none)) < 0)
		return;
	/*
	 * Keep the way from here to the exec short. A process of the new user may stop this one as
	 * soon as it has that user, and the calling thread waits with it.
	 */
	call->step = SPAWN_USER;
	if (plan->set_ids && spawn_child_user(plan) < 0)
		return;
	call->step = SPAWN_CWD;
	if (plan->cwd != NULL && syscall(SYS_chdir, plan->cwd) < 0)
		return;
	call->step = SPAWN_EXEC;
	syscall(SYS_execve, plan->path, plan->argv, plan->envp);
}

SPAWN_RAW static int spawn_child_main(void *arg)
{
	struct spawn_call *call = arg;

	spawn_child_steps(call);
	call->error = errno;
	syscall(SYS_exit_group, 127);
	return 127;
}

/*
 * One stack is kept between calls: a map, a guard page and the first faults are a tenth of a start.
 * A second thread that comes at the same time makes one of its own.
 */
static _Atomic(char *) spawn_stack_kept;

static char *spawn_stack_take(void)
{
	char *stack = atomic_exchange(&spawn_stack_kept, NULL);
	size_t len = SPAWN_GUARD_BYTES + SPAWN_STACK_BYTES;

	if (stack != NULL)
		return stack;
	stack = mmap(NULL, len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	if (stack == MAP_FAILED)
		return NULL;
	if (mprotect(stack, SPAWN_GUARD_BYTES, PROT_NONE) < 0) {
		munmap(stack, len);
		return NULL;
	}
	return stack;
}

static void spawn_stack_give(char *stack)
{
	char *old = atomic_exchange(&spawn_stack_kept, stack);

	if (old != NULL)
		munmap(old, SPAWN_GUARD_BYTES + SPAWN_STACK_BYTES);
}

/* The slots, reserved once; taken by the caller that is at it. fd -1: there are none. */
static struct {
	int fd[SPAWN_SLOTS];
	int null; /* what is in them when they are empty */
	int max;
	atomic_bool taken; /* also: never to be used */
} spawn_slots = {.fd = {-1, -1, -1, -1}, .null = -1, .taken = true};

int spawn_reserve_slots(struct err *e)
{
	int fds[SPAWN_SLOTS + 1], max = 0;

	assert(spawn_slots.null < 0);
	for (int i = 0; i <= SPAWN_SLOTS; i++) {
		fds[i] = open("/", O_PATH | O_CLOEXEC);
		if (fds[i] < 0) {
			err_sys(e, &ERR_RUNTIME, "reserve descriptors");
			for (int k = 0; k < i; k++)
				close(fds[k]);
			return -1;
		}
		max = fds[i] > max ? fds[i] : max;
	}
	memcpy(spawn_slots.fd, fds, sizeof(spawn_slots.fd));
	spawn_slots.null = fds[SPAWN_SLOTS];
	spawn_slots.max = max;
	atomic_store(&spawn_slots.taken, false);
	return 0;
}

static void spawn_slots_empty(void)
{
	for (int i = 0; i < SPAWN_SLOTS; i++)
		dup3(spawn_slots.null, spawn_slots.fd[i], O_CLOEXEC);
}

static void spawn_call_init(struct spawn_call *call, const struct spawn_plan *plan)
{
	*call = (struct spawn_call){.plan = plan, .step = SPAWN_FORK};
	memcpy(call->fds, plan->fds, sizeof(plan->fds));
	call->fds[3] = plan->extra_fd > 0 ? plan->extra_fd : -1;
}

/* Puts the plan's descriptors into the slots when that is worth it, and possible. */
static void spawn_slots_fill(struct spawn_call *call)
{
	int highest = -1;

	for (int i = 0; i < SPAWN_SLOTS; i++)
		highest = call->fds[i] > highest ? call->fds[i] : highest;
	if (highest < SPAWN_COPY_MAX || atomic_exchange(&spawn_slots.taken, true))
		return;
	for (int i = 0; i < SPAWN_SLOTS; i++) {
		if (call->fds[i] >= 0 && dup3(call->fds[i], spawn_slots.fd[i], O_CLOEXEC) < 0) {
			spawn_slots_empty();
			atomic_store(&spawn_slots.taken, false);
			return;
		}
	}
	for (int i = 0; i < SPAWN_SLOTS; i++)
		call->fds[i] = call->fds[i] >= 0 ? spawn_slots.fd[i] : -1;
	call->shared_max = spawn_slots.max;
}

/* The raw call, because libc's leaves out the signals that it uses itself. */
static pid_t spawn_clone(struct spawn_call *call, char *stack)
{
	char *top = stack + SPAWN_GUARD_BYTES + SPAWN_STACK_BYTES;
	int flags = CLONE_VM | CLONE_VFORK | SIGCHLD | (call->shared_max > 0 ? CLONE_FILES : 0);
	uint64_t all = ~(uint64_t)0;
	uint64_t saved = 0;
	int error;
	pid_t pid;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &saved, sizeof(saved));
	pid = SPAWN_CLONE(spawn_child_main, top, flags, call);
	error = pid < 0 ? errno : call->error;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &saved, NULL, sizeof(saved));
	call->error = error;
	return pid;
}

/* It has ended; nobody knows its pid, so nobody else waits for it. */
static void spawn_reap(pid_t pid)
{
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* With the slots, and without them from then on where the kernel cannot unshare. */
static pid_t spawn_run(struct spawn_call *call, char *stack)
{
	bool refused;
	pid_t pid;

	spawn_slots_fill(call);
	pid = spawn_clone(call, stack);
	if (call->shared_max == 0)
		return pid;
	spawn_slots_empty();
	refused = pid > 0 && !call->unshared && call->step == SPAWN_FORK;
	atomic_store(&spawn_slots.taken, refused);
	if (!refused)
		return pid;
	spawn_reap(pid);
	spawn_call_init(call, call->plan);
	return spawn_clone(call, stack);
}

static pid_t spawn_fail(enum spawn_step step, int error, struct err *e)
{
	static const char *const names[] = {
		[SPAWN_FORK] = "fork",
		[SPAWN_TERMINAL] = "terminal",
		[SPAWN_USER] = "user",
		[SPAWN_CWD] = "cwd",
		[SPAWN_EXEC] = "exec",
	};

	spawn_failed = step;
	errno = error;
	return err_sys(e, &ERR_RUNTIME, "%s", names[step]);
}

pid_t spawn(const struct spawn_plan *plan, struct err *e)
{
	struct spawn_call call;
	char *stack;
	pid_t pid;

	assert(plan->path != NULL && plan->argv != NULL && plan->envp != NULL);
	assert(plan->fds[0] > 2 && plan->fds[1] > 2 && plan->fds[2] > 2);
	assert(plan->extra_fd <= 0 || (plan->extra_fd > 2 && plan->extra_fd_as > 2));
	assert(!plan->terminal || plan->new_session);
	spawn_call_init(&call, plan);
	stack = spawn_stack_take();
	if (stack == NULL)
		return spawn_fail(SPAWN_FORK, ENOMEM, e);
	pid = spawn_run(&call, stack);
	spawn_stack_give(stack);
	if (call.error == 0)
		return pid;
	spawn_reap(pid);
	return spawn_fail(call.step, call.error, e);
}

enum spawn_step spawn_failed_step(void)
{
	return spawn_failed;
}

static bool spawn_executable(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *spawn_find(const char *name, const char *path_var)
{
	const char *dir = path_var != NULL ? path_var : SPAWN_DEFAULT_PATH;
	size_t name_len = strlen(name);
	CLEANUP_FREE char *path = NULL;

	if (name_len == 0)
		return NULL;
	if (strchr(name, '/') != NULL)
		return strdup(name);
	path = malloc(strlen(dir) + 1 + name_len + 1);
	while (path != NULL) {
		size_t len = strcspn(dir, ":");

		if (dir[0] == '/') {
			memcpy(path, dir, len);
			path[len] = '/';
			memcpy(path + len + 1, name, name_len + 1);
			if (spawn_executable(path))
				return STEAL_PTR(path);
		}
		if (dir[len] == '\0')
			return NULL;
		dir += len + 1;
	}
	return NULL;
}
