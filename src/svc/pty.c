/*
 * pty: what others may ask of a terminal, and order it to do.
 */
#include "boxd/pty.h"

#include <errno.h>
#include <signal.h>

#include "boxd/ptydev.h"
#include "pty_internal.h"

struct outhub *pty_hub(struct pty *t)
{
	return t->hub;
}

/* Whoever sees that it has ended must find all it wrote in the hub. */
void pty_info(const struct pty *t, struct pty_info *out)
{
	*out = (struct pty_info){
		.id = t->id,
		.label = t->request.label,
		.command = t->request.command,
		.cwd = t->cwd,
		.running = t->state != PTY_IDLE,
		.pipe_mode = t->pipe_mode,
		.pid = t->child.pid,
		.cols = t->cols,
		.rows = t->rows,
		.output_offset = outhub_total(t->hub),
		.oldest_offset = outhub_oldest(t->hub),
		.viewers = t->viewer_count,
		.held = t->holder != NULL,
		.created_ms = t->created_ms,
		.ended = t->ended && t->state == PTY_IDLE,
		.exit_code = t->exit_code,
		.signal = t->exit_signal,
	};
}

int pty_resize(struct pty *t, uint16_t cols, uint16_t rows, struct err *e)
{
	int master = t->pipe_mode ? -1 : t->sources[OUTHUB_STDOUT].fd;

	if (cols == 0 || rows == 0)
		return err_set(e, &ERR_BAD_BODY, "a terminal has at least one column and row");
	t->cols = cols;
	t->rows = rows;
	if (master >= 0 && ptydev_resize(master, cols, rows) < 0)
		return err_sys(e, &ERR_RUNTIME, "cannot resize the terminal");
	return 0;
}

enum pty_target { PTY_TO_NOBODY, PTY_TO_FOREGROUND, PTY_TO_SHELL };

static enum pty_target pty_signal_target(const struct pty *t, int signo)
{
	switch (signo) {
	case SIGINT:
	case SIGQUIT:
	case SIGTSTP:
	case SIGTERM:
	case SIGCONT:
	case SIGUSR1:
	case SIGUSR2:
	case SIGWINCH: return t->pipe_mode ? PTY_TO_SHELL : PTY_TO_FOREGROUND;
	case SIGHUP:
	case SIGKILL: return PTY_TO_SHELL;
	default: return PTY_TO_NOBODY;
	}
}

int pty_signal(struct pty *t, int signo, struct err *e)
{
	enum pty_target target = pty_signal_target(t, signo);
	int rc;

	if (target == PTY_TO_NOBODY)
		return err_set(e, &ERR_BAD_BODY, "no signal for a terminal: %d", signo);
	if (t->child.pid == 0)
		return err_set(e, &ERR_NOT_RUNNING, "the shell is not running");
	rc = target == PTY_TO_SHELL ? kill(-t->child.pid, signo)
				    : ptydev_signal(t->sources[OUTHUB_STDOUT].fd, signo);
	/* A group that has just ended needs no signal any more. */
	if (rc < 0 && errno != ESRCH)
		return err_sys(e, &ERR_RUNTIME, "cannot signal the terminal");
	return 0;
}
