/*
 * The only code that waits on pids. SIGCHLD makes it wait4(-1, WNOHANG) until there is nothing
 * more; a pid that was registered gets its callback, any other is an orphan that was re-parented to
 * boxd (as PID 1 or as subreaper) and is reaped without further notice.
 */
#ifndef BOXD_CHILD_H
#define BOXD_CHILD_H

#include <stddef.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "boxd/err.h"
#include "boxd/loop.h"

struct children;

/* Embedded in whoever owns a process. pid is 0 while it is not registered, so that nobody signals a
 * reaped pid. */
struct child {
	LIST_ENTRY(child) link;
	pid_t pid;
	/* On the loop thread, once, after pid was set to 0. status as wait(2) gives it. May free
	 * the owner. */
	void (*on_exit)(struct child *c, int status, const struct rusage *usage);
};

/*
 * Installs the SIGCHLD handler and becomes subreaper (prctl(2)) when not PID 1; without that right,
 * orphans are somebody else's. One per process, and nothing else in the process may wait for pids.
 */
struct children *children_new(struct loop *l, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* Takes the handler back; children still registered are forgotten (pid 0). NULL is fine. */
void children_free(struct children *cs);

/* Must be called in the same callback that made the process: before the loop can reap it. */
void child_watch(struct children *cs, struct child *c, pid_t pid) __attribute__((nonnull));
/* Forgets it (pid 0); its exit will be reaped as an orphan's. One not registered is fine. */
void child_unwatch(struct children *cs, struct child *c) __attribute__((nonnull));

/* Registered children that have not ended. */
size_t children_count(const struct children *cs);

#endif
