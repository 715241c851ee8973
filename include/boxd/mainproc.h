/*
 * The box's main process: what `boxd -- COMMAND ARGS` runs (DESIGN 3.8). It has the daemon's own
 * stdin, stdout and stderr, its own process group, and the terminal when there is one.
 */
#ifndef BOXD_MAINPROC_H
#define BOXD_MAINPROC_H

#include "boxd/child.h"
#include "boxd/err.h"
#include "boxd/spawn.h"

struct mainproc;

struct mainproc_config {
	struct children *children;
	char *const *argv;                 /* NULL-terminated, at least one element */
	char *const *environ;              /* the daemon's own; secrets are left out */
	const struct spawn_origin *origin; /* see spawn.h; NULL: none */
	/* From the loop, once, when it has ended; status as wait(2) gives it. */
	void (*on_exit)(int status, void *arg);
	void *arg;
};

/* NULL with e set (ERR_RUNTIME) when it cannot be started. */
struct mainproc *mainproc_start(const struct mainproc_config *cfg, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* Sends a signal to its process group; nothing when it has ended. NULL is fine. */
void mainproc_signal(struct mainproc *m, int signo);

/* It must have ended, or nobody will hear of its end. NULL is fine. */
void mainproc_free(struct mainproc *m);

#endif
