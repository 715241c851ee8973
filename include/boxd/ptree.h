/*
 * Signalling everything a command started. A command leads its own session, so its
 * descendants are found by session id in /proc even when they moved to other process groups or were
 * orphaned, and by parent links when they left the session.
 */
#ifndef BOXD_PTREE_H
#define BOXD_PTREE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * SIGKILLs the tree of a session leader: freezes members with SIGSTOP until a scan finds no new
 * one, then kills them all. The leader may have ended, and been reaped, already: then its session's
 * survivors are meant. Reads /proc and may take milliseconds: run it on a work thread.
 * Returns how many processes were killed, 0 also when there is no /proc.
 */
size_t ptree_kill(pid_t leader);

#endif
