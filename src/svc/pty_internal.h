/*
 * The inside of pty, shared by its files: pty_table.c (who is registered, for how long), pty_spec.c
 * (what was asked for), pty_run.c (the life of a shell, and its end), pty_io.c (output and input),
 * pty_view.c (who is connected) and pty.c (what others may ask and order).
 *
 * A terminal is in one place, which says what its removal waits for:
 *
 *     ATTENDED    somebody is connected
 *     UNATTENDED  nobody is, its shell runs
 *     ENDED       nobody is, no shell runs
 *     GONE        its id is forgotten; freed when its shell was reaped, the kill of its tree is
 *                 done and the last viewer has left
 *
 * and its shell goes IDLE -> RUNNING -> DRAINING (reaped, what it wrote is being read) -> IDLE.
 */
#ifndef BOXD_SVC_PTY_INTERNAL_H
#define BOXD_SVC_PTY_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "boxd/buf.h"
#include "boxd/id.h"
#include "boxd/pty.h"
#include "boxd/treekill.h"

enum pty_place { PTY_ATTENDED, PTY_UNATTENDED, PTY_ENDED, PTY_GONE, PTY_PLACES };

enum pty_state { PTY_IDLE, PTY_RUNNING, PTY_DRAINING };

/* What a viewer is still to be told, in this order. */
enum pty_due {
	PTY_DUE_ROOM = 1 << 0,
	PTY_DUE_EXIT = 1 << 1,
	PTY_DUE_TAKEN_OVER = 1 << 2,
	PTY_DUE_REMOVED = 1 << 3,
};

/* One descriptor that output comes from: the terminal, or one of two pipes. */
struct pty_source {
	struct pty *pty;
	int fd;                    /* -1: there is none, or EOF */
	bool listening;            /* is `readable` added? */
	size_t left;               /* of a shell that was reaped: read at once */
	struct event readable;     /* schedules `read` */
	struct loop_deferred read; /* one piece */
};

/* Where input goes: the terminal, or the pipe that is the program's stdin. */
struct pty_input {
	int fd;         /* -1: nobody takes input. The terminal's is closed with its source */
	bool owned;     /* a pipe of its own */
	bool closing;   /* after what is queued */
	bool full;      /* somebody was told that there is no room */
	bool listening; /* is `writable` added? */
	struct buf queue;
	struct event writable;
};

struct pty_viewer {
	TAILQ_ENTRY(pty_viewer) link;
	TAILQ_ENTRY(pty_viewer) due_link; /* in t->due while due != 0 */
	struct pty *pty;
	const struct pty_viewer_callbacks *cb;
	void *arg;
	bool removed; /* was told so */
	unsigned int due;
	uint64_t exit_end;
	int exit_code;
};

TAILQ_HEAD(pty_viewers, pty_viewer);
TAILQ_HEAD(pty_list, pty);
SLIST_HEAD(pty_bucket, pty);

/* A copy of what was asked for, in one piece of memory. */
struct pty_request {
	struct launch_spec launch;
	const char *command, *shell, *label;
	void *mem;
};

struct pty {
	TAILQ_ENTRY(pty) link;     /* of the list of its place */
	TAILQ_ENTRY(pty) all_link; /* the order of creation; not when GONE */
	SLIST_ENTRY(pty) hash_link;
	struct ptys *ps;
	char id[ID_UUID_LEN + 1];
	enum pty_place place;
	int64_t since_ms; /* monotonic, when it came to its place */
	int64_t created_ms;
	struct loop_deferred free;

	struct pty_request request;
	char *cwd; /* expanded */
	uint16_t cols, rows;
	struct outhub *hub;

	enum pty_state state;
	bool pipe_mode;
	struct child child; /* pid is 0 once it was reaped */
	pid_t session;      /* the pid of the last shell: its descendants' session; 0: none yet */
	bool hung_up;       /* by a shutdown, which waits for its group */
	bool linger_over;
	struct event timer; /* RUNNING: a kill takes too long; DRAINING: the linger */
	struct treekill *kill;
	bool ended;
	int exit_code, exit_signal;

	struct pty_source sources[OUTHUB_STREAMS]; /* a terminal has only the first */
	int slave; /* of a terminal: held while the shell runs, so that it does not hang up */
	struct pty_input input;

	struct pty_viewers viewers;
	struct pty_viewers due;
	size_t viewer_count;
	struct pty_viewer *holder;
	struct loop_deferred notify;
};

#define PTY_BUCKETS 256

/* The size of a terminal that was made without one. */
#define PTY_COLS 80
#define PTY_ROWS 24

struct ptys {
	struct ptys_config cfg;
	struct pty_list all;
	struct pty_list lists[PTY_PLACES];
	size_t counts[PTY_PLACES];
	struct pty_bucket buckets[PTY_BUCKETS];
	size_t running; /* shells not reaped, or not drained */
	size_t kills;   /* in flight */

	struct event age; /* when the next terminal is too old */
	int64_t age_at_ms;

	bool stopping; /* ptys_shutdown() was called */
	int64_t grace_until_ms;
	bool grace_over;
	struct event grace;
	void (*on_done)(void *arg);
	void *on_done_arg;
	struct loop_deferred done;
};

/* ---- pty_table.c ---- */

/* Puts it where it belongs now, after its shell or its viewers changed. */
void pty_settle(struct pty *t) __attribute__((nonnull));
/* Forgets the id: from now on it is GONE. Viewers are told when its shell has ended. */
void pty_forget(struct pty *t) __attribute__((nonnull));

/* ---- pty_spec.c ---- */

/* Copies. -1: ERR_BAD_BODY (too much of it), ERR_UNAVAILABLE. */
int pty_request_init(struct pty_request *q, const struct pty_spec *spec, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void pty_request_fini(struct pty_request *q) __attribute__((nonnull));

/* ---- pty_run.c ---- */

/* Everything of it that is to be read was read. */
void pty_drained(struct pty *t) __attribute__((nonnull));
/* SIGKILL for all that its last shell started. */
void pty_kill(struct pty *t) __attribute__((nonnull));
/* Lets go of the kill in flight. */
void pty_abandon_kill(struct pty *t) __attribute__((nonnull));
void pty_on_timer(evutil_socket_t fd, short what, void *arg);
void ptys_on_grace(evutil_socket_t fd, short what, void *arg);
void ptys_on_done(void *arg);

/* ---- pty_io.c ---- */

void pty_io_init(struct pty *t) __attribute__((nonnull));
/* Begins to read; the descriptor is the source's. */
void pty_source_open(struct pty *t, enum outhub_stream s, int fd) __attribute__((nonnull));
/* Begins to take input. owned: a pipe, closed at the end of input. */
void pty_input_open(struct pty *t, int fd, bool owned) __attribute__((nonnull));
/* Nobody takes input any more: what is queued is dropped. */
void pty_input_close(struct pty *t) __attribute__((nonnull));
/* The shell was reaped: pty_drained() follows, from the loop or from here. */
void pty_drain(struct pty *t) __attribute__((nonnull));
/* The linger is over. */
void pty_drain_check(struct pty *t) __attribute__((nonnull));
/* Closes all. */
void pty_io_close(struct pty *t) __attribute__((nonnull));
void pty_on_pace(void *arg);

/* ---- pty_view.c ---- */

/* Tells all viewers, from the loop. */
void pty_tell_exit(struct pty *t, uint64_t end, int code) __attribute__((nonnull));
void pty_tell(struct pty *t, enum pty_due what) __attribute__((nonnull));
void pty_on_notify(void *arg);

#endif
