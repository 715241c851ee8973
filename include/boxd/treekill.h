/*
 * Killing all that a session leader started (ptree.h) on a disk thread, from the loop.
 */
#ifndef BOXD_TREEKILL_H
#define BOXD_TREEKILL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "boxd/work.h"

struct treekill;

/*
 * orphaned: the leader was reaped, its number may have been given away; then nothing is killed that
 * does not belong to its session. done(killed, arg) is called from the loop, once, unless
 * treekill_abandon() came first. NULL when memory or the queue is full, or pool is NULL: the caller
 * kills the group itself.
 */
struct treekill *treekill_start(struct work_pool *pool, pid_t session, bool orphaned,
	void (*done)(size_t killed, void *arg), void *arg)
	__attribute__((warn_unused_result, nonnull(4)));

/* Nobody waits for it any longer: it goes on, and done is not called. */
void treekill_abandon(struct treekill *k) __attribute__((nonnull));

#endif
