/*
 * Shell sessions (contract 1.23-1.25, 4.4): one live shell for each, which runs one command after
 * the other, so that what a command changes (variables, functions, options, directory, umask,
 * traps, jobs) is there for the next. Commands go to the shell, and its reports come back, through
 * private descriptors that nothing a command starts inherits; stdout and stderr are two pipes that
 * carry the commands' bytes and nothing else.
 *
 * After each run the shell reports its state. When a shell ends (exit, exec, set -e, a signal), the
 * next run gets a new one with the state as it was after the last run that came back: what the run
 * changed in which the shell ended is lost. Jobs, open descriptors, the pid and the directory stack
 * are not part of a state, nor are functions in a POSIX shell, which cannot list them.
 *
 * `set -e` stays, and a run that fails then ends its shell. In bash a run is sourced from
 * /dev/fd/250, as its error messages say, so that an interrupt can leave it: `return` ends it, and
 * a RETURN trap is called at its end.
 */
#ifndef BOXD_SESSION_H
#define BOXD_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "boxd/child.h"
#include "boxd/err.h"
#include "boxd/launch.h"
#include "boxd/loop.h"
#include "boxd/outhub.h"
#include "boxd/work.h"

struct sessions; /* the table */
struct session;
struct session_run;

struct sessions_config {
	struct loop *loop;
	struct children *children;
	struct work_pool *pool;
	struct launch_config launch;
};

struct sessions *sessions_new(const struct sessions_config *cfg, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* All shells must be gone (sessions_shutdown()), all runs detached. NULL is fine. */
void sessions_free(struct sessions *ss);

struct session_spec {
	struct launch_spec launch;
	const char *shell; /* bash or a POSIX sh, a name or path; NULL: bash, or sh */
	const char *label; /* or NULL */
};

/*
 * Registers a session; the spec is copied and checked (ERR_BAD_BODY), no shell is started.
 * ERR_TOO_MANY (LIMIT_SESSION_COUNT), ERR_UNAVAILABLE. Borrowed, as from session_find().
 */
struct session *session_create(struct sessions *ss, const struct session_spec *spec, struct err *e)
	__attribute__((warn_unused_result, nonnull));
struct session *session_find(struct sessions *ss, const char *id, size_t id_len)
	__attribute__((nonnull));
/* Oldest first. fn must not delete. */
void sessions_each(struct sessions *ss, void (*fn)(struct session *s, void *arg), void *arg)
	__attribute__((nonnull(1, 2)));

struct session_info {
	const char *id;    /* a UUID with dashes */
	const char *label; /* or NULL */
	const char *cwd;   /* where the next run begins, as far as known; may be cut by a rename */
	const char *shell; /* "bash", "sh"; NULL before the first run */
	pid_t pid;         /* of the shell; 0: none */
	bool running;      /* a run is going on */
	size_t queued;     /* runs that wait */
	uint64_t runs;     /* that have ended */
	int64_t created_ms, used_ms; /* Unix time; used: end of the last run */
};
void session_info(const struct session *s, struct session_info *out) __attribute__((nonnull));

/*
 * Stops all its runs (each hears on_end with SESSION_RUN_DELETED), kills the shell and all it
 * started, background jobs too, and forgets the id at once.
 */
void session_delete(struct session *s) __attribute__((nonnull));

/* ---- runs ---- */

struct session_run_spec {
	const char *command;
	const char *cwd; /* an existing directory: it is changed to first, and stays; NULL or "" */
	int64_t timeout_ms; /* 0: LIMIT_SESSION_TIMEOUT_MS */
	bool merge_stderr;  /* 2>&1: one stream, exact order */
};

enum session_end {
	SESSION_RUN_DONE, /* the command's status is `code`; the shell is there for the next */
	SESSION_RUN_SHELL_ENDED, /* the shell itself ended with `code`, or by `signal` */
	SESSION_RUN_TIMED_OUT,
	SESSION_RUN_INTERRUPTED, /* session_run_interrupt() */
	SESSION_RUN_DELETED,     /* the session was, before or while it ran */
	SESSION_RUN_NO_SHELL     /* it could not be started: see `why` */
};

struct session_result {
	enum session_end end;
	int code;   /* 0..255; -1 when ended by a signal */
	int signal; /* that ended the shell, or 0 */
	int64_t wall_ms;
	bool shell_lost; /* the next run gets a new shell */
	char why[128];   /* SESSION_RUN_NO_SHELL: "exec: No such file or directory" */
};

struct session_run_callbacks {
	/*
	 * It is its turn: attach to session_run_hub() at `begin` now. Not called when it never came
	 * to that.
	 */
	void (*on_begin)(struct session_run *r, uint64_t begin, void *arg);
	/*
	 * It is over, and its output ends at `end` of the hub. Once, from the loop, never from
	 * inside session_run_start(). The run is still to be freed with session_run_free().
	 */
	void (*on_end)(
		struct session_run *r, uint64_t end, const struct session_result *res, void *arg);
};

/*
 * Queues a run; runs of one session follow each other in the order they came. cb is borrowed, the
 * spec copied. ERR_BAD_BODY (cwd, command too long, timeout), ERR_TOO_MANY (LIMIT_SESSION_QUEUE),
 * ERR_UNAVAILABLE.
 */
struct session_run *session_run_start(struct session *s, const struct session_run_spec *spec,
	const struct session_run_callbacks *cb, void *arg, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 2, 3, 5)));

/* The session's hub; valid until the run is freed. */
struct outhub *session_run_hub(struct session_run *r) __attribute__((nonnull));
const char *session_run_session_id(const struct session_run *r) __attribute__((nonnull));

/*
 * Ends the run: the processes it started get SIGTERM, after a grace SIGKILL; the shell itself drops
 * the rest of the command and stays, where it can (bash); a shell that does not come back within
 * the grace is killed and replaced. A run that waits leaves the queue. on_end follows.
 */
void session_run_interrupt(struct session_run *r) __attribute__((nonnull));
/* The same for the run that goes on in this session: -1 with ERR_NOT_RUNNING when none does. */
int session_interrupt(struct session *s, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* Before on_end it means: nobody is interested; a run that goes on is interrupted. NULL is fine. */
void session_run_free(struct session_run *r);

/* As ptys_shutdown(). */
void sessions_shutdown(struct sessions *ss, int64_t grace_ms, void (*on_done)(void *arg), void *arg)
	__attribute__((nonnull(1, 3)));

#endif
