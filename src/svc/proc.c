/*
 * proc: what is known about a command, and the record of its end.
 *
 * The record is written when the process is reaped, and shown as soon as what the process left in
 * its pipes is in the log, within the next turns of the loop. Those who read its output learn of
 * the end when the hub is finished, which is not earlier.
 */
#include "boxd/proc.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "boxd/clock.h"
#include "boxd/log.h"
#include "proc_internal.h"

#define PROC_CODE_SIGNALLED   (-1)
#define PROC_CODE_NOT_STARTED 255

/* ---- the end ---- */

static int64_t proc_timeval_ms(const struct timeval *tv)
{
	return (int64_t)tv->tv_sec * 1000 + tv->tv_usec / 1000;
}

void proc_on_exit(struct child *c, int status, const struct rusage *usage)
{
	struct proc *p = (struct proc *)(void *)((char *)c - offsetof(struct proc, child));
	struct procs *ps = p->ps;
	struct proc_exit *x = &p->exit;

	x->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	x->code = WIFSIGNALED(status) ? PROC_CODE_SIGNALLED : WEXITSTATUS(status);
	x->core_dumped = WIFSIGNALED(status) && WCOREDUMP(status);
	x->wall_ms = (clock_mono_us() - p->started_us) / 1000;
	x->user_ms = proc_timeval_ms(&usage->ru_utime);
	x->system_ms = proc_timeval_ms(&usage->ru_stime);
	x->max_rss_kib = usage->ru_maxrss;
	if (x->signal == SIGKILL && p->stop < PROC_STOP_TREE)
		x->oom_killed = proc_oom_moved(&ps->oom);
	p->finished_ms = clock_real_ms();
	p->waiting &= ~(unsigned int)PROC_WAIT_EXIT;
	ps->running--;
	log_info("proc", "exit id=%s code=%d signal=%d wall_ms=%" PRId64, p->id, x->code, x->signal,
		x->wall_ms);
	event_del(&p->timeout);
	proc_stop_on_exit(p);
	proc_drain(p);
	procs_check_done(ps);
}

void proc_fail(struct proc *p, char *why)
{
	p->start_error = why;
	p->exit.code = PROC_CODE_NOT_STARTED;
	p->finished_ms = p->started_ms;
	outhub_finish(p->hub);
	outhub_seal(p->hub);
	log_info("proc", "not started id=%s: %s", p->id, why);
}

/* ---- description ---- */

/* As the reference prints them; clients show the text to people. */
static const char *proc_signal_name(int signo)
{
	static const char *const names[] = {
		[SIGHUP] = "hangup",
		[SIGINT] = "interrupt",
		[SIGQUIT] = "quit",
		[SIGILL] = "illegal instruction",
		[SIGTRAP] = "trace/breakpoint trap",
		[SIGABRT] = "aborted",
		[SIGBUS] = "bus error",
		[SIGFPE] = "floating point exception",
		[SIGKILL] = "killed",
		[SIGUSR1] = "user defined signal 1",
		[SIGSEGV] = "segmentation fault",
		[SIGUSR2] = "user defined signal 2",
		[SIGPIPE] = "broken pipe",
		[SIGALRM] = "alarm clock",
		[SIGTERM] = "terminated",
	};

	if (signo < 0 || (size_t)signo >= sizeof(names) / sizeof(names[0]))
		return NULL;
	return names[signo];
}

void proc_describe_end(int code, int signal, bool core_dumped, char *out, size_t cap)
{
	const char *name = proc_signal_name(signal);
	const char *core = core_dumped ? " (core dumped)" : "";

	if (signal == 0)
		snprintf(out, cap, "exit status %d", code);
	else if (name != NULL)
		snprintf(out, cap, "signal: %s%s", name, core);
	else
		snprintf(out, cap, "signal: signal %d%s", signal, core);
}

void proc_describe(const struct proc *p, char *out, size_t cap)
{
	char how[80];

	if (cap == 0)
		return;
	out[0] = '\0';
	if (proc_running(p))
		return;
	if (p->start_error != NULL) {
		snprintf(out, cap, "%s", p->start_error);
		return;
	}
	proc_describe_end(p->exit.code, p->exit.signal, p->exit.core_dumped, how, sizeof(how));
	if (p->exit.timed_out)
		snprintf(out, cap, "timeout after %" PRId64 "ms: %s", p->timeout_ms, how);
	else if (p->exit.code != 0)
		snprintf(out, cap, "%s", how);
}

/* ---- questions ---- */

const char *proc_id(const struct proc *p)
{
	return p->id;
}

const char *proc_command(const struct proc *p)
{
	return p->command;
}

/* Whoever sees that it has ended must find all it wrote in the log. */
bool proc_running(const struct proc *p)
{
	return (p->waiting & PROC_WAIT_EXIT) != 0 || p->pipes[OUTHUB_STDOUT].left > 0 ||
	       p->pipes[OUTHUB_STDERR].left > 0;
}

const char *proc_start_error(const struct proc *p)
{
	return p->start_error;
}

pid_t proc_pid(const struct proc *p)
{
	return p->child.pid;
}

int64_t proc_started_ms(const struct proc *p)
{
	return p->started_ms;
}

int64_t proc_finished_ms(const struct proc *p)
{
	return p->finished_ms;
}

int64_t proc_timeout_ms(const struct proc *p)
{
	return p->timeout_ms;
}

const struct proc_exit *proc_exit_record(const struct proc *p)
{
	return proc_running(p) ? NULL : &p->exit;
}

struct outhub *proc_hub(struct proc *p)
{
	return p->hub;
}
