/*
 * launch: clone(CLONE_VM|CLONE_VFORK) and exec.
 *
 * The child borrows our memory and we sleep until it execs, so nothing is copied and a failure is
 * simply a variable that the child has set. It does what any decent parent does for a command
 * (descriptors, process group) and nothing more.
 */
#include "launch.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct launch_call {
	const struct launch *l;
	int failed; /* errno of the child */
};

/* Leaves through _exit() only: the frame it shares memory with belongs to the parent. */
static int launch_child(void *arg)
{
	struct launch_call *call = arg;
	const struct launch *l = call->l;

	for (int i = 0; i < 3; i++) {
		if (l->fds[i] >= 0 && dup2(l->fds[i], i) < 0)
			goto fail;
	}
	if (setpgid(0, 0) < 0)
		goto fail;
	if (l->cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((size_t)l->cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set) < 0)
			goto fail;
	}
	execve(l->path, l->argv, l->envp);
fail:
	call->failed = errno;
	_exit(127);
}

pid_t launch(const struct launch *l)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	struct launch_call call = {.l = l};
	pid_t pid = clone(
		launch_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &call);

	if (pid < 0)
		return -1;
	if (call.failed != 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		errno = call.failed;
		return -1;
	}
	return pid;
}
