/*
 * The inside of shell sessions, shared by session.c (the table), session_run.c (the queue, and one
 * run from its turn to its end), session_shell.c (the process, its control socket and its pipes),
 * session_feed.c (what is written to the shell, and what it reports) and session_stop.c (how runs
 * and shells are made to end).
 *
 * A session has at most one shell at a time. The pipes for its output belong to the session and
 * not to the shell: a background job that outlives its shell goes on writing to the same ones, so
 * however often the shell is replaced there is never more than one pair.
 */
#ifndef BOXD_SVC_SESSION_INTERNAL_H
#define BOXD_SVC_SESSION_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "boxd/buf.h"
#include "boxd/id.h"
#include "boxd/ptree.h"
#include "boxd/session.h"
#include "boxd/treekill.h"

#define SESSION_BUCKETS 256

/* Shells of the past that left a background job behind, and that delete still reaches. */
#define SESSION_PAST 16

/* Not SIGRTMIN + n: the shell's C library may count from another number. */
#define SESSION_INTERRUPT_SIGNAL 47

struct session_pipe {
	struct session *s;
	int ours, theirs; /* both ends, so that there is never an EOF; -1: not made yet */
	bool listening;   /* is `readable` added? */
	bool enlarged;
	struct event readable; /* schedules `read` */
	struct loop_deferred read;
};

struct session_shell {
	struct child child; /* pid is 0 when there is none */
	pid_t pid;          /* its number, also after it was reaped */
	bool bash;          /* else: a POSIX shell */
	bool frame;         /* runs are sourced, so that they can be interrupted */
	bool restored;      /* it was given the state of another */
	bool came_up;       /* it has begun a run */
	bool locked_locale; /* LC_ALL is readonly: it cannot count bytes */
	int ctl;            /* our end of the control socket; -1 */
	struct event readable, writable;
	struct event nap; /* ends a time of not listening */
	struct buf out;   /* to the shell */
	struct buf in;    /* a report that is not complete */
	bool skipping;    /* ... and too long */
};

/* What the shell reported after a run: a letter, text and NUL for each part. */
struct session_state {
	struct buf parts;
	bool too_big;
};

enum session_stop { SESSION_GO, SESSION_STOP_INTERRUPT, SESSION_STOP_TIMEOUT, SESSION_STOP_DELETE };

/* SIGTERM, a grace, SIGKILL for what one run has started: a disk job, submitted repeatedly. */
struct session_sweep {
	struct work work; /* first */
	LIST_ENTRY(session_sweep) link;
	struct sessions *ss; /* NULL: nobody waits */
	struct session *s;   /* whose run it is for; NULL when that is over */
	struct event grace;
	int64_t until_ms, again_ms;
	pid_t shell;
	uint64_t since;
	int signo;
	bool busy;       /* with the worker, which reads what follows but one */
	bool all;        /* look for everything since then, not only for `ids` */
	bool orphaned;   /* the shell was reaped */
	bool shell_gone; /* with the run */
	struct ptree_ids ids;
};

/* SIGKILL for a whole shell, on a disk thread. */
struct session_killing {
	LIST_ENTRY(session_killing) link;
	struct session *s;
	struct treekill *job;
};

enum session_place { SESSION_QUEUED, SESSION_ACTIVE, SESSION_ENDED };

struct session_run {
	TAILQ_ENTRY(session_run) link; /* of the queue */
	struct session *s;
	enum session_place place;
	bool told; /* on_end was called */
	char *command, *cwd;
	int64_t timeout_ms;
	bool merge_stderr;
	const struct session_run_callbacks *cb; /* NULL: nobody is interested */
	void *arg;
	int64_t started_us;
	uint64_t end;
	struct session_result res;
	struct loop_deferred done;
};

TAILQ_HEAD(session_run_list, session_run);
TAILQ_HEAD(session_list, session);
SLIST_HEAD(session_bucket, session);
LIST_HEAD(session_sweep_list, session_sweep);
LIST_HEAD(session_killing_list, session_killing);

/* What was asked for when it was made; strings are owned. */
struct session_copy {
	struct launch_spec launch;
	struct launch_var *envs;
	char *user, *shell, *label;
};

struct session {
	TAILQ_ENTRY(session) link; /* of the table, or of those that end */
	SLIST_ENTRY(session) hash_link;
	struct sessions *ss;
	char id[ID_UUID_LEN + 1];
	struct session_copy spec;
	int64_t created_ms, used_ms;
	uint64_t runs;
	bool ending;                       /* deleted, or the table is shut down */
	bool killed;                       /* ... and SIGKILL was sent to all of it */
	size_t run_count;                  /* structs of runs that point here */
	struct session_killing_list kills; /* in flight */
	struct loop_deferred free;

	char *cwd; /* absolute: where the next shell begins */
	char shell_name[32];
	struct session_shell shell;
	pid_t past[SESSION_PAST]; /* 0: none */
	struct session_pipe pipes[OUTHUB_STREAMS];
	struct outhub *hub;

	struct session_state kept, next;
	/* Set again at the head of each run, as are tracing and echoing; of the last one, next. */
	struct session_head {
		char *debug, *err; /* commands that set the traps, or NULL */
		bool xtrace, verbose;
	} head, next_head;
	int report_status;
	bool report_late;

	struct session_run_list queue;
	size_t queued;
	struct session_run *run;  /* the active one */
	bool run_began;           /* the shell is at it */
	bool run_over;            /* its result is known, late output is waited for */
	bool run_waits;           /* ... or a scan, which could take the next run for this one */
	uint64_t since;           /* its beginning, as ptree_now() counts */
	uint64_t quiet_total;     /* of the hub, when the wait for late output was begun */
	unsigned int quiet_waits; /* and how often it was */
	struct loop_deferred turn;
	struct event timeout, quiet, idle;

	enum session_stop stop; /* of the run */
	bool stop_sent;
	struct event stop_timer; /* the shell is killed then */
	struct session_sweep *sweep;
	int64_t stop_grace_ms;
};

struct sessions {
	struct sessions_config cfg;
	struct session_list live, ending;
	size_t count;
	struct session_bucket buckets[SESSION_BUCKETS];
	struct session_sweep_list sweeps;
	int frame_fd; /* the sealed frame; -1: cannot be made */
	bool stopping;
	int64_t stop_until_ms;
	struct event look;
	void (*on_done)(void *arg);
	void *on_done_arg;
	struct loop_deferred done;
};

/* ---- session.c ---- */

/* Frees one that is ending when nothing is left of it, and tells a shutdown. */
void session_check_gone(struct session *s);
/* It runs nothing: counts until LIMIT_SESSION_IDLE_MS. */
void session_idle_start(struct session *s);

/* ---- session_run.c ---- */

void session_on_turn(void *arg);
void session_on_timeout(evutil_socket_t fd, short what, void *arg);
void session_on_quiet(evutil_socket_t fd, short what, void *arg);
/* The shell is at it. */
void session_run_began(struct session *s);
/* The shell reports: `late` output may still come through another process. */
void session_run_report(struct session *s, int status, bool late);
/* The shell was reaped. */
void session_run_shell_ended(struct session *s, int code, int signal);
/* Ends the active one now, with what is in the pipes. */
void session_run_finish(struct session *s);
/* All that wait end as deleted. */
void session_runs_drop(struct session *s);

/* ---- session_shell.c ---- */

/* -1 with e set: nothing is left of it. */
int session_shell_start(struct session *s, struct err *e) __attribute__((warn_unused_result));
/* Sends what session_feed.c has put into shell.out. */
void session_shell_flush(struct session *s);
void session_shell_close(struct session *s);
/* A state follows: it is read when all of it is there, or the next run begins. */
void session_shell_nap(struct session *s);
/* Has the shell, at rest, written what the process behind its output has not read yet? */
bool session_shell_is_ahead(const struct session *s);
void session_pipe_init(struct session *s, enum outhub_stream stream);
void session_pipe_close(struct session_pipe *p);
/* outhub's on_pace. */
void session_on_pace(void *arg);
/* Reads what is in the pipes now, whatever the pace; it is as much as two pipes hold. */
void session_pipes_take(struct session *s);

/* ---- session_feed.c ---- */

extern const char session_bash[], session_sh[], session_frame[];
extern const size_t session_bash_size, session_sh_size, session_frame_size;

/* Queue text for the shell. -1: memory is out. */
int session_feed_start(struct session *s, struct environ_set *env)
	__attribute__((warn_unused_result));
int session_feed_run(struct session *s, const struct session_run *r)
	__attribute__((warn_unused_result));
/* Takes bytes that the shell has sent. */
void session_feed_take(struct session *s, const uint8_t *data, size_t n);
void session_state_clear(struct session_state *st);
void session_head_clear(struct session_head *h);

/* ---- session_stop.c ---- */

/* Asks the active run to end; the first reason counts. */
void session_stop(struct session *s, enum session_stop why, int64_t grace_ms);
/* The run has begun, and may have been asked to end before. */
void session_stop_began(struct session *s);
/* The run is over: who obeys slowly is followed up without it. */
void session_stop_end(struct session *s);
void session_on_stop_timer(evutil_socket_t fd, short what, void *arg);
/* SIGKILL to the shell, to all it started, and to what shells before it left behind. */
void session_kill(struct session *s);
/* The shell was reaped. */
void session_remember_past(struct session *s);
/* Is anybody left in the groups of shells that ended? */
bool session_past_is_empty(struct session *s);
/* Jobs in flight will not come back. */
void session_abandon_kills(struct session *s);
void sessions_abandon_sweeps(struct sessions *ss);

#endif
