/*
 * asuser: one thread's file access as somebody else.
 *
 * The kernel keeps ids per thread; it is the C library that makes setuid(2) and setgroups(2) change
 * all threads, with signals. The raw calls do what is wanted here: the effective ids and groups of
 * the calling thread, nothing else. The real and the saved ids stay those of the daemon: that keeps
 * the way back open, and since they are what the kernel looks at when somebody wants to signal or
 * trace the thread, the user gets no hold on it. setfsuid(2) would be made for this, but not every
 * kernel that containers run on has it.
 *
 * Going there, the uid comes last, because it takes the right to change the others; coming back it
 * comes first, because it brings that right.
 */
#include "boxd/asuser.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "boxd/log.h"
#include "boxd/sysc.h"

/* What the process is. It never changes after the start, so the first who needs it may look. */
static struct {
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t ngroups;
	int failed; /* errno */
} asuser_daemon;

static pthread_once_t asuser_once = PTHREAD_ONCE_INIT;

/* Is the thread somebody else? */
static _Thread_local bool asuser_away;

static void asuser_look(void)
{
	int n = getgroups(0, NULL);

	asuser_daemon.uid = geteuid();
	asuser_daemon.gid = getegid();
	if (n > 0)
		asuser_daemon.groups = calloc((size_t)n, sizeof(gid_t));
	if (n > 0 && asuser_daemon.groups != NULL)
		n = getgroups(n, asuser_daemon.groups);
	if (n < 0 || (n > 0 && asuser_daemon.groups == NULL))
		asuser_daemon.failed = errno;
	else
		asuser_daemon.ngroups = (size_t)n;
}

static bool asuser_is_daemon(const struct user *u)
{
	return u->uid == asuser_daemon.uid && u->gid == asuser_daemon.gid;
}

/* The thread cannot go on as somebody that it should not be. */
static void asuser_require(bool ok, const char *what)
{
	if (ok)
		return;
	log_error("asuser", "cannot get back the daemon's own %s", what);
	abort();
}

static int asuser_change(const struct user *u)
{
	/* To the calls, these mean "as before". */
	if (u->uid == (uid_t)-1 || u->gid == (gid_t)-1) {
		errno = EPERM;
		return -1;
	}
	if (sysc_thread_setgroups(u->ngroups, u->groups) < 0)
		return -1;
	asuser_away = true;
	if (sysc_thread_setegid(u->gid) == 0 && sysc_thread_seteuid(u->uid) == 0)
		return 0;
	asuser_leave();
	errno = EPERM;
	return -1;
}

int asuser_enter(const struct user *u, struct err *e)
{
	pthread_once(&asuser_once, asuser_look);
	assert(!asuser_away);
	errno = asuser_daemon.failed;
	if (errno != 0)
		return err_sys(e, &ERR_UNAVAILABLE, "groups of the daemon");
	if (asuser_change(u) == 0)
		return 0;
	/* A daemon without rights can still be who it is. */
	if (errno == EPERM && asuser_is_daemon(u))
		return 0;
	return err_file(e, "cannot act as another user");
}

void asuser_leave(void)
{
	if (!asuser_away)
		return;
	asuser_require(sysc_thread_seteuid(asuser_daemon.uid) == 0, "uid");
	asuser_require(sysc_thread_setegid(asuser_daemon.gid) == 0, "gid");
	asuser_require(
		sysc_thread_setgroups(asuser_daemon.ngroups, asuser_daemon.groups) == 0, "groups");
	asuser_away = false;
}
