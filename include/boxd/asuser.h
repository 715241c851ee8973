/*
 * File access as somebody else, for one thread: the kernel checks permissions with the thread's
 * effective uid, gid and its groups, and what it makes belongs to them (raw system calls, which
 * change the calling thread alone, see credentials(7)). Leaving uid 0 also takes the capabilities
 * that would override permissions, and the use of disk space that is reserved for root.
 */
#ifndef BOXD_ASUSER_H
#define BOXD_ASUSER_H

#include "boxd/err.h"
#include "boxd/users.h"

/*
 * -1 with ERR_PERMISSION when the daemon may not do that (it is not root); nothing is changed then.
 * Being who the process is works always, with the groups that it has when it may not change them.
 * Not to be nested: leave first. Between the two the thread must not start processes.
 */
int asuser_enter(const struct user *u, struct err *e) __attribute__((warn_unused_result, nonnull));

/*
 * Back to what the process is; nothing to do when it did not leave. Ends the process if the kernel
 * refuses, because the thread would go on with the wrong rights.
 */
void asuser_leave(void);

#endif
