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
#include <stdint.h>
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
#ifndef SYS_openat2
#define SYS_openat2 437
#endif

/* openat2(2): what libc headers without the kernel's own do not have. */
struct sysc_open_how {
	uint64_t
		flags; /* unlike open(2), it refuses what it does not know or what makes no sense */
	uint64_t mode;
	uint64_t resolve;
};
#define SYSC_RESOLVE_NO_MAGICLINKS 0x02u
#define SYSC_RESOLVE_NO_SYMLINKS   0x04u
#define SYSC_RESOLVE_BENEATH       0x08u

/* Where ids once had 16 bits, the plain names still mean that. */
#ifdef SYS_setresuid32
#define SYSC_SETRESUID SYS_setresuid32
#define SYSC_SETRESGID SYS_setresgid32
#define SYSC_SETGROUPS SYS_setgroups32
#else
#define SYSC_SETRESUID SYS_setresuid
#define SYSC_SETRESGID SYS_setresgid
#define SYSC_SETGROUPS SYS_setgroups
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

static inline int sysc_openat2(int dir, const char *path, const struct sysc_open_how *how)
{
	return (int)syscall(SYS_openat2, dir, path, how, sizeof(*how));
}

/* What getdents64(2) fills its buffer with: records of reclen bytes, aligned to eight. */
struct sysc_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type; /* DT_... */
	char name[];
};

static inline ssize_t sysc_getdents64(int fd, void *to, size_t n)
{
	return (ssize_t)syscall(SYS_getdents64, fd, to, n);
}

/*
 * The next three change the calling thread alone, which is why they are here: libc's functions of
 * these names change all threads.
 */
static inline int sysc_thread_seteuid(uid_t uid)
{
	return (int)syscall(SYSC_SETRESUID, (uid_t)-1, uid, (uid_t)-1);
}

static inline int sysc_thread_setegid(gid_t gid)
{
	return (int)syscall(SYSC_SETRESGID, (gid_t)-1, gid, (gid_t)-1);
}

static inline int sysc_thread_setgroups(size_t n, const gid_t *groups)
{
	return (int)syscall(SYSC_SETGROUPS, n, groups);
}

#endif
