/*
 * Terminals that outlive their connections (contract 1.31-1.33, 3; DESIGN 3.3). A pty is registered
 * first and gets its shell when somebody first needs it; when the shell has ended it can be started
 * again, and its output goes on at the offset where it was. Its output lives in one outhub, of
 * which LIMIT_PTY_REPLAY_BYTES are kept; whoever shows it is a viewer with an offset of his own. At
 * most one viewer holds the pty: he types, and he alone can make it wait.
 */
#ifndef BOXD_PTY_H
#define BOXD_PTY_H

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

struct ptys; /* the table */
struct pty;  /* one terminal */

struct ptys_config {
	struct loop *loop;
	struct children *children;
	struct work_pool *pool;
	struct launch_config launch;
};

struct ptys *ptys_new(const struct ptys_config *cfg, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/*
 * All must have ended (ptys_shutdown()), all viewers be detached. Before the pool is freed. NULL is
 * fine.
 */
void ptys_free(struct ptys *ps);

struct pty_spec {
	struct launch_spec launch;
	const char *command; /* for the shell's -c, or NULL: interactive */
	const char *shell;   /* a name or path; NULL: bash, or sh */
	const char *label;   /* a name for people, or NULL */
	uint16_t cols, rows; /* 0: 80, 24 */
};

/*
 * Registers a terminal; the spec is copied and checked (user, variables, cwd: ERR_BAD_BODY),
 * nothing is started. Of all its strings at most LIMIT_PTY_SPEC_BYTES. ERR_TOO_MANY (after the
 * oldest that has ended and nobody is connected to was dropped), ERR_UNAVAILABLE. Borrowed, as from
 * pty_find(): it can be removed in any later turn.
 */
struct pty *pty_create(struct ptys *ps, const struct pty_spec *spec, struct err *e)
	__attribute__((warn_unused_result, nonnull));
struct pty *pty_find(struct ptys *ps, const char *id, size_t id_len) __attribute__((nonnull));
/* Oldest first. fn must not delete. */
void ptys_each(struct ptys *ps, void (*fn)(struct pty *t, void *arg), void *arg)
	__attribute__((nonnull(1, 2)));
/* Registered ones. */
size_t ptys_count(const struct ptys *ps);

struct pty_info {
	const char *id;      /* a UUID with dashes */
	const char *label;   /* or NULL */
	const char *command; /* or NULL */
	const char *cwd;     /* as given, expanded */
	bool running;
	bool pipe_mode;
	pid_t pid; /* 0 when it does not run */
	uint16_t cols, rows;
	uint64_t output_offset; /* bytes ever produced */
	uint64_t oldest_offset; /* of the oldest byte kept */
	size_t viewers;         /* connected, the holder included */
	bool held;
	int64_t created_ms;
	bool ended;    /* its last shell ended: exit_code and signal are of that one */
	int exit_code; /* -1 when ended by a signal */
	int signal;
};
/* Borrowed strings, good until the pty is removed. */
void pty_info(const struct pty *t, struct pty_info *out) __attribute__((nonnull));

/*
 * Starts the shell unless it runs. pipe_mode counts only when it is started: three pipes instead of
 * a terminal. It runs until all it wrote was read (some milliseconds after its exit).
 * ERR_RUNTIME (no shell, no terminal, exec refused), ERR_BAD_BODY (its directory is gone
 * meanwhile), ERR_NO_CONTEXT (deleted), ERR_UNAVAILABLE. Its output begins at
 * outhub_total(pty_hub()).
 */
int pty_start(struct pty *t, bool pipe_mode, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * For reading with outhub_attach(); never finished while the pty lives: see pty_viewer. It outlives
 * a removal until the last viewer was detached; its readers see OUTHUB_GONE then.
 */
struct outhub *pty_hub(struct pty *t) __attribute__((nonnull));

/* ---- viewers ---- */

struct pty_viewer;

struct pty_viewer_callbacks {
	/*
	 * The shell has ended, and all it wrote ends at `end` (of pty_hub()): once per shell, from
	 * the loop. code as in pty_info.
	 */
	void (*on_exit)(uint64_t end, int code, void *arg);
	/* Somebody else holds the pty now: detach. From the loop, for a holder only. */
	void (*on_taken_over)(void *arg);
	/* The pty is removed: on_exit was called before if a shell ran. Detach now or later. */
	void (*on_removed)(void *arg);
	/*
	 * After pty_input_room() said 0, or pty_input() ERR_TOO_MANY: half of the room is free, or
	 * nobody reads stdin any more, and pty_input() says so. NULL is fine.
	 */
	void (*on_input_room)(void *arg);
};

enum pty_hold {
	PTY_OBSERVE,  /* reads only */
	PTY_HOLD,     /* unless held: ERR_ALREADY_CONNECTED */
	PTY_TAKE_OVER /* whoever holds it is told */
};

/* Connects. cb is borrowed. ERR_ALREADY_CONNECTED, ERR_TOO_MANY (LIMIT_PTY_VIEWERS), ERR_NO_CONTEXT
 * (deleted), ERR_UNAVAILABLE. */
struct pty_viewer *pty_attach(struct pty *t, enum pty_hold how,
	const struct pty_viewer_callbacks *cb, void *arg, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 3, 5)));
/* Frees it; a holder gives the pty up. Also after on_removed. NULL is fine. */
void pty_detach(struct pty_viewer *v);
/* NULL from on_removed on. */
struct pty *pty_viewer_pty(const struct pty_viewer *v) __attribute__((nonnull));
bool pty_viewer_holds(const struct pty_viewer *v) __attribute__((nonnull));

/* ---- control: any caller, connected or not ---- */

/*
 * Queues input for the terminal (or the program's stdin in pipe mode). All or nothing:
 * ERR_TOO_MANY when more than LIMIT_PTY_INPUT_BYTES would wait, ERR_NOT_RUNNING when no shell runs
 * or its stdin was closed.
 */
int pty_input(struct pty *t, const void *data, size_t n, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 4)));
/* How much may wait now. What does not run is not full: there pty_input() says why. */
size_t pty_input_room(const struct pty *t) __attribute__((nonnull));
/*
 * End of input, after what is queued: the terminal's end-of-file key where it is in effect, or the
 * closing of the pipe. ERR_NOT_RUNNING, ERR_TOO_MANY as pty_input().
 */
int pty_eof(struct pty *t, struct err *e) __attribute__((warn_unused_result, nonnull));
/* 0 is refused (ERR_BAD_BODY). In pipe mode it is remembered only. A pty that does not run starts
 * with it. */
int pty_resize(struct pty *t, uint16_t cols, uint16_t rows, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/*
 * SIGINT, SIGQUIT, SIGTSTP, SIGTERM, SIGCONT, SIGUSR1, SIGUSR2, SIGWINCH go to the terminal's
 * foreground group, SIGHUP and SIGKILL to the shell's own; in pipe mode all to the shell's group.
 * ERR_NOT_RUNNING, ERR_BAD_BODY for any other.
 */
int pty_signal(struct pty *t, int signo, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * Kills the shell and all it started (SIGKILL; also what ignores SIGHUP or left the group), and
 * forgets the id at once. Viewers hear on_exit (when a shell ran, after it was reaped and its
 * output drained, bounded), then on_removed.
 */
void pty_delete(struct pty *t) __attribute__((nonnull));

/*
 * Hangs up (SIGHUP, SIGCONT) all, kills what is left after grace_ms, refuses new ones; on_done from
 * the loop when none runs and no kill is in flight. Again: shortens the grace, replaces on_done.
 */
void ptys_shutdown(struct ptys *ps, int64_t grace_ms, void (*on_done)(void *arg), void *arg)
	__attribute__((nonnull(1, 3)));

#endif
