/*
 * proc_io: the pipes of a command, and when its run is over.
 *
 * The exit and the end of the output are different events that come in any order; the run is over
 * when a mask of them is empty. A descendant that keeps a pipe open cannot hold it up: some
 * milliseconds after the exit, what is in the pipe at that moment is the last output that belongs
 * to the run. All the command itself wrote is in there or was read before, so not a byte of it is
 * lost, even when a slow owner makes reading wait. The pipe stays open, and what comes later goes
 * to the log.
 *
 * A readable pipe only queues one read as bulk work: a hundred flooding commands share the loop
 * among themselves and delay no request.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "boxd/limits.h"
#include "boxd/log.h"
#include "proc_internal.h"

static void proc_pipe_on_readable(evutil_socket_t fd, short what, void *arg);
static void proc_pipe_on_read(void *arg);

static enum outhub_stream proc_pipe_stream(const struct proc_pipe *pipe)
{
	return pipe == &pipe->proc->pipes[OUTHUB_STDERR] ? OUTHUB_STDERR : OUTHUB_STDOUT;
}

static unsigned int proc_pipe_wait(const struct proc_pipe *pipe)
{
	return proc_pipe_stream(pipe) == OUTHUB_STDERR ? PROC_WAIT_STDERR : PROC_WAIT_STDOUT;
}

void proc_pipe_init(struct proc *p, enum outhub_stream s)
{
	p->pipes[s] = (struct proc_pipe){.proc = p, .fd = -1};
	loop_deferred_init(&p->pipes[s].read, proc_pipe_on_read, &p->pipes[s]);
}

/* Listens exactly while there is a pipe and the hub takes more, or has to. */
static void proc_pipe_pace(struct proc_pipe *pipe)
{
	bool wanted = pipe->fd >= 0 && (pipe->left > 0 || !outhub_must_wait(pipe->proc->hub));

	if (wanted == pipe->listening)
		return;
	pipe->listening = wanted;
	if (wanted) {
		event_add(&pipe->readable, NULL);
	} else {
		event_del(&pipe->readable);
		loop_defer_cancel(pipe->proc->loop, &pipe->read);
	}
}

void proc_pipe_open(struct proc *p, enum outhub_stream s, int fd)
{
	struct proc_pipe *pipe = &p->pipes[s];

	pipe->fd = fd;
	p->waiting |= proc_pipe_wait(pipe);
	event_assign(&pipe->readable, loop_base(p->loop), fd, EV_READ | EV_PERSIST,
		proc_pipe_on_readable, pipe);
	proc_pipe_pace(pipe);
}

void proc_pipe_close(struct proc_pipe *pipe)
{
	int fd = pipe->fd;

	if (fd < 0)
		return;
	pipe->fd = -1;
	pipe->left = 0;
	proc_pipe_pace(pipe);
	close(fd);
}

bool proc_pipes_open(const struct proc *p)
{
	return p->pipes[OUTHUB_STDOUT].fd >= 0 || p->pipes[OUTHUB_STDERR].fd >= 0;
}

/* After EOF, whoever may have waited for it. */
static void proc_pipe_ended(struct proc_pipe *pipe)
{
	struct proc *p = pipe->proc;

	proc_pipe_close(pipe);
	p->waiting &= ~proc_pipe_wait(pipe);
	if (proc_pipes_open(p))
		return;
	outhub_seal(p->hub);
	if (p->place == PROC_LINGERING)
		proc_move(p, PROC_FINISHED);
}

/* A command that fills the buffer in one go gets a pipe that makes its turns worth the while. */
static void proc_pipe_enlarge(struct proc_pipe *pipe)
{
	if (pipe->enlarged)
		return;
	pipe->enlarged = true;
	/* Refused where pipe memory is accounted and used up: the small pipe works too. */
	(void)fcntl(pipe->fd, F_SETPIPE_SZ, (int)limit(LIMIT_PROC_PIPE_BYTES));
}

static void proc_pipe_take(struct proc_pipe *pipe, const uint8_t *data, size_t n, bool full)
{
	struct proc *p = pipe->proc;

	if (full)
		proc_pipe_enlarge(pipe);
	outhub_append(p->hub, proc_pipe_stream(pipe), data, n);
	pipe->left -= n < pipe->left ? n : pipe->left;
	if (pipe->owed > 0) {
		pipe->owed -= n < pipe->owed ? n : pipe->owed;
		if (pipe->owed == 0)
			p->waiting &= ~proc_pipe_wait(pipe);
	}
	if (p->place == PROC_LINGERING)
		proc_recount(p);
	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		proc_pipe_pace(&p->pipes[i]);
}

/* One read(2). More is told by the next turn. */
static void proc_pipe_on_read(void *arg)
{
	struct proc_pipe *pipe = arg;
	struct proc *p = pipe->proc;
	size_t cap, max = limit_size(LIMIT_PROC_READ_BYTES);
	uint8_t *buf = loop_scratch(p->loop, &cap);

	assert(pipe->fd >= 0);
	if (cap > max)
		cap = max;
	ssize_t n = read(pipe->fd, buf, cap);
	if (n > 0) {
		proc_pipe_take(pipe, buf, (size_t)n, (size_t)n == cap);
	} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		return;
	} else {
		if (n < 0)
			log_error("proc", "pipe id=%s: %s", p->id, err_strerror(errno));
		proc_pipe_ended(pipe);
	}
	proc_settle(p);
}

static void proc_pipe_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct proc_pipe *pipe = arg;

	(void)fd;
	(void)what;
	loop_defer_bulk(pipe->proc->loop, &pipe->read);
}

void proc_on_pace(void *arg)
{
	struct proc *p = arg;

	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		proc_pipe_pace(&p->pipes[i]);
}

/* ---- the end of the run ---- */

/*
 * What the process left in its pipes is taken at once, whatever the pace: as long as it is not in
 * the log the command counts as running, and a stalled owner must not keep a dead process running.
 * It is as much as two pipes hold.
 */
void proc_drain(struct proc *p)
{
	for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
		struct proc_pipe *pipe = &p->pipes[i];
		int ready = 0;

		if (pipe->fd >= 0 && ioctl(pipe->fd, FIONREAD, &ready) == 0 && ready > 0)
			pipe->left = (size_t)ready;
		proc_pipe_pace(pipe);
	}
	if (p->waiting != 0)
		loop_arm(&p->linger, limit(LIMIT_PROC_LINGER_MS));
	proc_settle(p);
}

/* Whoever still has the pipe is not the command: what is in it now is all we wait for. */
void proc_on_linger(evutil_socket_t fd, short what, void *arg)
{
	struct proc *p = arg;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
		struct proc_pipe *pipe = &p->pipes[i];
		int ready = 0;

		if (pipe->fd < 0)
			continue;
		if (ioctl(pipe->fd, FIONREAD, &ready) == 0 && ready > 0)
			pipe->owed = (size_t)ready;
		else
			p->waiting &= ~proc_pipe_wait(pipe);
	}
	proc_settle(p);
}

void proc_settle(struct proc *p)
{
	if (p->waiting != 0 || p->place != PROC_ACTIVE)
		return;
	event_del(&p->linger);
	outhub_finish(p->hub);
	proc_move(p, proc_pipes_open(p) ? PROC_LINGERING : PROC_FINISHED);
}
