/*
 * The inside of proc, shared by its files: proc_table.c (who is remembered, for how long),
 * proc_start.c (from a spec to a process), proc_io.c (pipes, and when the run is over), proc_stop.c
 * (timeouts, interrupts, shutdown), proc_oom.c and proc.c (what others may ask).
 *
 * The life of a proc, as the list it is in:
 *
 *     ACTIVE      from proc_start() until its process was reaped and its output drained
 *     LINGERING   over, but descendants hold its pipes: what they write still goes to the log
 *     FINISHED    over, in the order in which they got here; a start that failed begins here
 *     GONE        evicted; freed when the last reference is dropped
 */
#ifndef BOXD_SVC_PROC_INTERNAL_H
#define BOXD_SVC_PROC_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "boxd/proc.h"
#include "boxd/treekill.h"

enum proc_place { PROC_ACTIVE, PROC_LINGERING, PROC_FINISHED, PROC_GONE, PROC_PLACES };

/* What has to happen before the run is over. */
enum proc_wait {
	PROC_WAIT_EXIT = 1 << 0,
	PROC_WAIT_STDOUT = 1 << 1, /* also when both streams share a pipe */
	PROC_WAIT_STDERR = 1 << 2,
};

/* How far its end was asked for. */
enum proc_stop_step {
	PROC_STOP_NONE,
	PROC_STOP_TERM,  /* SIGTERM sent, the grace runs */
	PROC_STOP_TREE,  /* a worker kills the tree */
	PROC_STOP_GROUP, /* SIGKILL sent to the group: nothing is left to try */
};

struct proc_pipe {
	struct proc *proc;
	int fd;                /* our end; -1: no such pipe, or EOF */
	bool listening;        /* is `readable` added? */
	bool enlarged;         /* with F_SETPIPE_SZ, tried once */
	size_t left;           /* bytes that were in it when the process was reaped: read at once */
	size_t owed;           /* bytes to read before the run is over, once the linger is over */
	struct event readable; /* schedules `read` */
	struct loop_deferred read; /* one read(2) */
};

struct proc {
	TAILQ_ENTRY(proc) link; /* of the list of its place */
	SLIST_ENTRY(proc) hash_link;
	struct procs *ps;
	struct loop *loop; /* outlives the table */
	char id[ID_LEN + 1];
	enum proc_place place;
	size_t refs; /* the table has one until it is evicted */
	struct loop_deferred free;

	char *command; /* as clients see it */
	size_t command_len;
	char *start_error;
	struct child child;    /* pid is 0 once it was reaped */
	pid_t session;         /* the pid it had: its descendants' session */
	unsigned int waiting;  /* enum proc_wait */
	struct proc_exit exit; /* valid when PROC_WAIT_EXIT is clear; flags earlier */
	int64_t started_ms, finished_ms, started_us;
	int64_t timeout_ms;

	struct outhub *hub;
	struct proc_pipe pipes[OUTHUB_STREAMS];
	struct event linger; /* PROC_LINGER_MS after the exit */

	struct event timeout;
	struct event grace; /* of the stop; holds a reference while pending */
	enum proc_stop_step stop;
	int64_t grace_until_ms; /* monotonic */
	TAILQ_ENTRY(proc) grace_link;
	struct treekill *kill; /* in flight; holds a reference */
	LIST_ENTRY(proc) kill_link;

	int64_t settled_ms;    /* monotonic, when it came into FINISHED: its age counts from here */
	size_t counted_memory; /* its part of the sums of the table */
	uint64_t counted_disk;
};

TAILQ_HEAD(proc_list, proc);
SLIST_HEAD(proc_bucket, proc);
LIST_HEAD(proc_kill_list, proc);

/* A counter that moves when the kernel kills for want of memory. */
struct proc_oom {
	char path[512];  /* "" : there is none */
	const char *key; /* of the line that holds it */
	uint64_t seen;
};

struct procs {
	struct procs_config cfg;
	int null_fd; /* every command's stdin: always at EOF */
	struct proc_oom oom;

	struct proc_list lists[PROC_PLACES];
	size_t counts[PROC_PLACES];
	size_t running; /* not reaped */
	struct proc_bucket *buckets;
	size_t bucket_count; /* a power of two */

	struct event age; /* when the oldest of FINISHED is too old */
	struct loop_deferred evict;
	size_t finished_memory;
	uint64_t finished_disk;
	unsigned int evict_passes;

	struct proc_list graces;     /* whose grace runs, by grace_link */
	struct proc_kill_list kills; /* whose kill is in flight */
	bool stopping;               /* procs_shutdown() was called */
	void (*on_done)(void *arg);
	void *on_done_arg;
	struct loop_deferred done;
};

/* ---- proc_table.c ---- */

/* A proc with an id, an empty hub and one reference, in no list. NULL: out of memory. */
struct proc *proc_new(struct procs *ps);
/* For one that was never entered. */
void proc_discard(struct proc *p);
/* Makes it known under its id. */
void proc_enter(struct proc *p, enum proc_place place);
void proc_move(struct proc *p, enum proc_place place);
/* Its log has changed: brings the sums of the table up to date. */
void proc_recount(struct proc *p);
/* Evicts what is too much or too old, after the callbacks of this turn. */
void procs_evict_soon(struct procs *ps);

/* ---- proc.c ---- */

/* child's on_exit: writes the record. */
void proc_on_exit(struct child *c, int status, const struct rusage *usage);
/* It never ran; takes the text. */
void proc_fail(struct proc *p, char *why);

/* ---- proc_io.c ---- */

void proc_pipe_init(struct proc *p, enum outhub_stream s);
/* Takes the descriptor and begins to read. */
void proc_pipe_open(struct proc *p, enum outhub_stream s, int fd);
void proc_pipe_close(struct proc_pipe *pipe);
/* outhub's on_pace. */
void proc_on_pace(void *arg);
void proc_on_linger(evutil_socket_t fd, short what, void *arg);
/* The process was reaped: the run is over when the pipes are drained. */
void proc_drain(struct proc *p);
/* The run is over when nothing is waited for. */
void proc_settle(struct proc *p);

/* ---- proc_stop.c ---- */

void proc_on_timeout(evutil_socket_t fd, short what, void *arg);
void proc_on_grace(evutil_socket_t fd, short what, void *arg);
/* Its leader was reaped: is there anything left to kill? */
void proc_stop_on_exit(struct proc *p);
/* Nobody is waited for any longer. */
void procs_stop_graces(struct procs *ps);
/* Calls on_done when the time has come. */
void procs_check_done(struct procs *ps);
void procs_on_done(void *arg);
/* Jobs in flight will not come back to this table. */
void procs_abandon_kills(struct procs *ps);

/* ---- proc_oom.c ---- */

/* Finds the counter below `root` ("" but in tests) and reads it once. */
void proc_oom_init(struct proc_oom *o, const char *root);
/* Has it grown since the last look? */
bool proc_oom_moved(struct proc_oom *o);

#endif
