/*
 * Starting a process. Everything is prepared in a plan before the clone; the child shares the
 * daemon's memory until it execs (CLONE_VM|CLONE_VFORK, own stack), makes raw system calls only and
 * reports the step that failed as an errno, so a start that fails is known when spawn() returns.
 */
#ifndef BOXD_SPAWN_H
#define BOXD_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "boxd/err.h"

/* What the daemon changed for itself when it started; every process gets it back. */
struct spawn_origin {
	struct rlimit nofile; /* RLIMIT_NOFILE */
	int nice;             /* as getpriority(2) gives it */
};

struct spawn_plan {
	const char *path; /* what execve(2) gets: absolute or with a slash */
	char *const *argv;
	char *const *envp;
	const char *cwd;  /* chdir(2) in the child, after the change of user; NULL: stay */
	int fds[3];       /* become 0, 1, 2; borrowed; may be equal to each other, none below 3 */
	int extra_fd;     /* a fourth descriptor, borrowed, above 2; 0 or less: none */
	int extra_fd_as;  /* ... and its number in the process, 3..1023 */
	bool new_session; /* setsid(2); otherwise setpgid(0, 0) */
	bool terminal; /* with new_session: fds[0] is a terminal and becomes the controlling one */
	bool set_ids;  /* change to the ids below; needs privilege */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* supplementary, with set_ids */
	size_t ngroups;
	const struct spawn_origin *origin; /* NULL: the process keeps what the daemon has */
};

/*
 * Returns the pid (the process has executed its program, or a signal ended it on the way), or -1
 * with e set: ERR_RUNTIME, e->sys the errno and the message "<step>: <reason>" where step is one of
 * "fork", "terminal", "user", "cwd", "exec". Nothing is left of a start that failed.
 * In the child all signal dispositions are default (SIGPIPE, SIGINT, SIGQUIT too), the mask is
 * empty, every descriptor above 2 but the extra one is closed, umask is 022. Blocks the caller
 * until the exec: see FACTS C.
 */
pid_t spawn(const struct spawn_plan *plan, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * Keeps five descriptors, to be called once at the start when numbers are still low: with them, a
 * start costs the same however many descriptors are open. Without them it works, and costs some
 * tenth of a microsecond more for each. -1 with ERR_RUNTIME when there are no descriptors.
 */
int spawn_reserve_slots(struct err *e) __attribute__((warn_unused_result, nonnull));

/* Which step failed in the last -1 of spawn() on this thread. */
enum spawn_step { SPAWN_FORK, SPAWN_TERMINAL, SPAWN_USER, SPAWN_CWD, SPAWN_EXEC };
enum spawn_step spawn_failed_step(void);

/*
 * Finds a program as execvp(3) would, in `path_var` (a PATH value, NULL: the default of a box
 * without PATH). A name with a slash is taken as it is. Heap string, or NULL when no executable
 * file was found or memory is out.
 */
char *spawn_find(const char *name, const char *path_var)
	__attribute__((malloc, warn_unused_result, nonnull(1)));

#endif
