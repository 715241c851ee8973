/*
 * Commands: start, watch, stop, remember (DESIGN 3.4). A proc is in the table from the moment
 * it has an id, so that the id can be used before any client sees it, until its exit record is
 * evicted by count, age or size of its log.
 */
#ifndef BOXD_PROC_H
#define BOXD_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "boxd/child.h"
#include "boxd/err.h"
#include "boxd/id.h"
#include "boxd/launch.h"
#include "boxd/loop.h"
#include "boxd/outhub.h"
#include "boxd/work.h"

struct procs; /* the table */
struct proc;  /* one command */

/* All borrowed: what it points to outlives the table. */
struct procs_config {
	struct loop *loop;
	struct children *children;
	struct work_pool *pool;
	int state_dir; /* for spill files; -1: none */
	struct launch_config launch;
};

struct procs *procs_new(const struct procs_config *cfg, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/*
 * All children must be gone (procs_shutdown()), and all references. Comes before the end of the
 * work pool and of the loop. NULL is fine.
 */
void procs_free(struct procs *ps);

struct proc_spec {
	struct launch_spec launch;
	const char *command;     /* for the shell; NULL with argv */
	const char *const *argv; /* NULL-terminated: run this, no shell; NULL with command */
	const char *shell;       /* shell to use instead of bash or sh: a name or a path; NULL */
	int64_t timeout_ms;      /* 0: none */
	bool merge; /* one pipe for stdout and stderr: exact order, one stream (background) */
};

/*
 * Checks the spec, registers a proc and starts it. NULL with e set when nothing was registered:
 * ERR_BAD_BODY (what launch_prepare() refuses, argument too long), ERR_TOO_MANY,
 * ERR_UNAVAILABLE. A program that cannot be started is no error here: the proc is registered, has
 * ended, and proc_start_error() says why. No output is read and nothing is called back before the
 * next turn. The result is borrowed, as from proc_find().
 */
struct proc *proc_start(struct procs *ps, const struct proc_spec *spec, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* Borrowed; NULL when unknown or evicted. A proc can be evicted in any later turn: hold it with
 * proc_ref(). */
struct proc *proc_find(struct procs *ps, const char *id, size_t id_len) __attribute__((nonnull));
/* A reference keeps the struct, its record and its hub; the table may forget the id meanwhile. */
struct proc *proc_ref(struct proc *p) __attribute__((nonnull));
void proc_unref(struct proc *p);

/* Why it exists no more. */
struct proc_exit {
	int code;   /* exit status 0..255; -1 when ended by a signal; 255 when it never started */
	int signal; /* that signal, or 0 */
	bool core_dumped;
	bool timed_out;   /* its timeout was hit, however it then ended */
	bool oom_killed;  /* SIGKILL that boxd did not send, and an OOM counter moved */
	bool interrupted; /* proc_stop() was called before it ended */
	int64_t wall_ms, user_ms, system_ms;
	int64_t max_rss_kib;
};

const char *proc_id(const struct proc *p);
/* The command text, or the argv joined with spaces. */
const char *proc_command(const struct proc *p);
/* Until it has ended and all it wrote is in its log. */
bool proc_running(const struct proc *p);
/* "exec: No such file or directory", or NULL when it was started. */
const char *proc_start_error(const struct proc *p);
pid_t proc_pid(const struct proc *p);           /* 0 when it does not run */
int64_t proc_started_ms(const struct proc *p);  /* Unix time */
int64_t proc_finished_ms(const struct proc *p); /* 0 while it runs */
int64_t proc_timeout_ms(const struct proc *p);
/* NULL while it runs. */
const struct proc_exit *proc_exit_record(const struct proc *p);
/* Do descendants still hold the pipes after its exit? */
bool proc_pipes_open(const struct proc *p);
/* Its output. outhub_finish() is called on it when the exit is known and the pipes were drained. */
struct outhub *proc_hub(struct proc *p);

/* "exit status 3", "signal: killed (core dumped)", "timeout after 500ms: signal: terminated"; ""
 * for success or while running. */
void proc_describe(const struct proc *p, char *out, size_t cap);
/* The same for whatever has ended: "exit status 3", "signal: killed (core dumped)". */
void proc_describe_end(int code, int signal, bool core_dumped, char *out, size_t cap)
	__attribute__((nonnull));

/*
 * Asks it to end: SIGTERM to its group now, SIGKILL to its tree after grace_ms. Returns at once;
 * calling again only shortens the grace. -1 with ERR_NOT_RUNNING when it has ended: nothing is
 * signalled then. Whoever of its group is left when it obeyed is killed after the grace as well.
 */
int proc_stop(struct proc *p, int64_t grace_ms, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * Calls fn for each proc in the table: first those that run, then the ended ones, those whose pipes
 * are held before the others, oldest first.
 */
void procs_each(struct procs *ps, void (*fn)(struct proc *p, void *arg), void *arg)
	__attribute__((nonnull(1, 2)));

size_t procs_running(const struct procs *ps);  /* not reaped */
size_t procs_finished(const struct procs *ps); /* records kept */

/*
 * Stops all, refuses new ones; on_done is called from the loop when none runs (at once, deferred,
 * when none does) and nobody is left of the groups that were asked to end. Their hubs may be
 * finished a little later. Called again, it shortens the grace and replaces on_done.
 */
void procs_shutdown(struct procs *ps, int64_t grace_ms, void (*on_done)(void *arg), void *arg)
	__attribute__((nonnull(1, 3)));

#endif
