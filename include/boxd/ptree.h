/*
 * Signalling everything a command started. A command leads its own session, so its
 * descendants are found by session id in /proc even when they moved to other process groups or were
 * orphaned, and by parent links when they left the session.
 */
#ifndef BOXD_PTREE_H
#define BOXD_PTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * SIGKILLs the tree of a session leader: freezes members with SIGSTOP until a scan finds no new
 * one, then kills them all. The leader may have ended, and been reaped, already: then its session's
 * survivors are meant. Reads /proc and may take milliseconds: run it on a work thread.
 * Returns how many processes were killed, 0 also when there is no /proc.
 */
size_t ptree_kill(pid_t leader);

/*
 * As long as a session has members its number is given to no new process. So when a process has the
 * number of a leader that was reaped, the session is gone, and what a scan would find is another's.
 */
bool ptree_is_reused(pid_t reaped_leader);

/* This moment, for ptree_signal_since(): who exists now began before it, who does not, after it. */
uint64_t ptree_now(void);

/* A process, known by its number and its start, so that no other is taken for it. */
struct ptree_id {
	pid_t pid;
	uint32_t name; /* a hash of it, when it was signalled */
	uint64_t start;
};

struct ptree_ids {
	struct ptree_id *id;
	size_t n, cap;
};

/*
 * Signals what a session leader that lives on (or was reaped) has started after `since`:
 * members of its session, and descendants that left it. Never the leader itself. All are added to
 * *seen, and who is there already is passed over, but with SIGKILL, and unless it executes another
 * program now. With SIGKILL it looks again until nobody new is found. On a work thread, as
 * ptree_kill(). Returns how many were signalled.
 */
size_t ptree_signal_since(pid_t leader, uint64_t since, int signo, struct ptree_ids *seen)
	__attribute__((nonnull));
/* Signals those of them that are left; returns how many. On a work thread. */
size_t ptree_signal_ids(const struct ptree_ids *ids, int signo) __attribute__((nonnull));
void ptree_ids_fini(struct ptree_ids *ids) __attribute__((nonnull));

#endif
