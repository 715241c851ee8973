/*
 * System calls that the C library of the day may lack, by number. They answer -1 with errno, as
 * libc's would; every user has a fallback, because an old kernel says ENOSYS and an old container
 * profile EPERM (sysc_missing()). The numbers are the same on every architecture since Linux 5.0.
 */
#ifndef BOXD_SYSC_H
#define BOXD_SYSC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* Does this errno say that the call does not exist here? */
static inline bool sysc_missing(int errnum)
{
	return errnum == ENOSYS || errnum == EPERM;
}

/* A close-on-exec descriptor that means this process, and none that gets its number later. */
static inline int sysc_pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static inline int sysc_pidfd_send_signal(int pidfd, int signo)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0);
}

#endif
