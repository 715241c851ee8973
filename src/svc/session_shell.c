/*
 * session_shell: the process of a session, its control socket and its pipes.
 *
 * The shell reads what it has to do from the socket, its standard input, and reports through it.
 * While a command runs, the shell keeps the socket aside where nothing that it executes inherits
 * it. What comes through the pipes is the command's and goes to the hub as it is.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "session_internal.h"

/* The number of the frame's descriptor in the shell; 251 and 252 are copies of its 1 and 2. */
#define SESSION_FRAME_FD 250

#define SESSION_NAP_MS 2

/* Of the control socket, at once: a whole report, mostly. */
#define SESSION_RECV_BYTES 16384

static void session_pipe_on_readable(evutil_socket_t fd, short what, void *arg);
static void session_pipe_on_read(void *arg);

/* ---- pipes ---- */

void session_pipe_init(struct session *s, enum outhub_stream stream)
{
	s->pipes[stream] = (struct session_pipe){.s = s, .ours = -1, .theirs = -1};
	loop_deferred_init(&s->pipes[stream].read, session_pipe_on_read, &s->pipes[stream]);
}

/* Listens exactly while there is a pipe and the hub takes more. */
static void session_pipe_pace(struct session_pipe *p)
{
	bool wanted = p->ours >= 0 && !outhub_must_wait(p->s->hub);

	if (wanted == p->listening)
		return;
	p->listening = wanted;
	if (wanted) {
		event_add(&p->readable, NULL);
	} else {
		event_del(&p->readable);
		loop_defer_cancel(p->s->ss->cfg.loop, &p->read);
	}
}

void session_on_pace(void *arg)
{
	struct session *s = arg;

	for (size_t i = 0; i < OUTHUB_STREAMS; i++)
		session_pipe_pace(&s->pipes[i]);
}

void session_pipe_close(struct session_pipe *p)
{
	int ours = p->ours, theirs = p->theirs;

	if (ours < 0)
		return;
	p->ours = p->theirs = -1;
	session_pipe_pace(p);
	close(ours);
	close(theirs);
}

/* Reads once, at most max bytes; how many it were, 0 also when there is nothing. */
static size_t session_pipe_read(struct session_pipe *p, size_t max)
{
	struct session *s = p->s;
	size_t cap;
	uint8_t *buf = loop_scratch(s->ss->cfg.loop, &cap);
	ssize_t n = read(p->ours, buf, max < cap ? max : cap);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		log_error("session", "pipe id=%s: %s", s->id, err_strerror(errno));
	if (n <= 0)
		return 0;
	if ((size_t)n == cap && !p->enlarged) {
		p->enlarged = true;
		/* Refused where pipe memory is used up: the small pipe works too. */
		(void)fcntl(p->ours, F_SETPIPE_SZ, (int)limit(LIMIT_PROC_PIPE_BYTES));
	}
	outhub_append(s->hub, p == &s->pipes[OUTHUB_STDERR] ? OUTHUB_STDERR : OUTHUB_STDOUT, buf,
		(size_t)n);
	return (size_t)n;
}

static void session_pipe_on_read(void *arg)
{
	struct session_pipe *p = arg;

	(void)session_pipe_read(p, limit_size(LIMIT_PROC_READ_BYTES));
	session_on_pace(p->s);
}

static void session_pipe_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct session_pipe *p = arg;

	(void)fd;
	(void)what;
	loop_defer_bulk(p->s->ss->cfg.loop, &p->read);
}

void session_pipes_take(struct session *s)
{
	for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
		struct session_pipe *p = &s->pipes[i];
		int ready = 0;

		if (p->ours < 0 || ioctl(p->ours, FIONREAD, &ready) < 0)
			continue;
		while (ready > 0) {
			size_t n = session_pipe_read(p, (size_t)ready);

			if (n == 0)
				break;
			ready -= (int)n;
		}
	}
	session_on_pace(s);
}

static int session_pipes_make(struct session *s, const struct launch *l, struct err *e)
{
	for (size_t i = 0; i < OUTHUB_STREAMS; i++) {
		struct session_pipe *p = &s->pipes[i];

		if (p->ours >= 0)
			continue;
		if (launch_pipe(l, true, &p->ours, &p->theirs) < 0)
			return err_sys(e, &ERR_UNAVAILABLE, "cannot make a pipe");
		event_assign(&p->readable, loop_base(s->ss->cfg.loop), p->ours,
			EV_READ | EV_PERSIST, session_pipe_on_readable, p);
		session_pipe_pace(p);
	}
	return 0;
}

/* ---- the control socket ---- */

void session_shell_close(struct session *s)
{
	struct session_shell *sh = &s->shell;
	int fd = sh->ctl;

	if (fd < 0)
		return;
	sh->ctl = -1;
	event_del(&sh->readable);
	event_del(&sh->writable);
	event_del(&sh->nap);
	close(fd);
	buf_fini(&sh->out);
	buf_fini(&sh->in);
}

/*
 * A bash writes its state line by line. To be woken for each line would cost both sides more than
 * all the rest of a short run.
 */
void session_shell_nap(struct session *s)
{
	if (s->shell.ctl < 0)
		return;
	event_del(&s->shell.readable);
	loop_arm(&s->shell.nap, SESSION_NAP_MS);
}

static void session_shell_on_nap(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	event_add(&s->shell.readable, NULL);
}

void session_shell_flush(struct session *s)
{
	struct session_shell *sh = &s->shell;

	if (sh->ctl >= 0 && evtimer_pending(&sh->nap, NULL)) {
		event_del(&sh->nap);
		event_add(&sh->readable, NULL);
	}
	while (sh->ctl >= 0 && buf_len(&sh->out) > 0) {
		ssize_t n = send(sh->ctl, buf_data(&sh->out), buf_len(&sh->out),
			MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			buf_drain(&sh->out, (size_t)n);
		} else if (n < 0 && errno == EAGAIN) {
			event_add(&sh->writable, NULL);
			return;
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else {
			/* Nobody reads it: the exit of the shell is on its way. */
			buf_clear(&sh->out);
		}
	}
	/* A run's text and a state can be large; a session at rest keeps none of it. */
	buf_trim(&sh->out);
}

static void session_shell_on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	session_shell_flush(arg);
}

/* One recv(2). False when there was nothing. */
static bool session_shell_recv(struct session *s)
{
	/* Not the loop's scratch buffer: the end of a run reads the pipes into that, and this is
	 * not used up by then. */
	uint8_t buf[SESSION_RECV_BYTES];
	ssize_t n = recv(s->shell.ctl, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0) {
		session_feed_take(s, buf, (size_t)n);
		return true;
	}
	/* A command that closed it with tricks ends its shell at the next read. */
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		event_del(&s->shell.readable);
	return false;
}

static void session_shell_on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)session_shell_recv(arg);
}

/* ---- the process ---- */

bool session_shell_is_ahead(const struct session *s)
{
	bool ahead = false;

	for (int i = 1; i <= 2 && s->shell.child.pid > 0; i++) {
		char path[48];
		struct stat st;
		int unread = 0;

		snprintf(path, sizeof(path), "/proc/%ld/fd/%d", (long)s->shell.child.pid, i);
		if (stat(path, &st) < 0 || !S_ISFIFO(st.st_mode))
			continue;
		CLEANUP_FD int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, FIONREAD, &unread) == 0 && unread > 0)
			ahead = true;
	}
	return ahead;
}

static void session_shell_on_exit(struct child *c, int status, const struct rusage *usage)
{
	struct session_shell *sh =
		(struct session_shell *)(void *)((char *)c - offsetof(struct session_shell, child));
	struct session *s = (struct session *)(void *)((char *)sh -
						       offsetof(struct session, shell));
	int signo = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	int code = WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);

	(void)usage;
	log_info("session", "shell ended id=%s code=%d signal=%d", s->id, code, signo);
	/* What it has reported before counts. */
	while (sh->ctl >= 0 && session_shell_recv(s))
		;
	session_shell_close(s);
	session_state_clear(&s->next);
	if (sh->restored && !sh->came_up) {
		log_warn("session", "the state is given up id=%s", s->id);
		session_state_clear(&s->kept);
	}
	session_remember_past(s);
	session_run_shell_ended(s, code, signo);
	session_check_gone(s);
}

/* The name of the program, behind links: sh is a bash on some systems. */
static bool session_is_bash(const char *program)
{
	CLEANUP_FREE char *real = realpath(program, NULL);
	const char *path = real != NULL ? real : program;
	const char *slash = strrchr(path, '/');

	return strncmp(slash != NULL ? slash + 1 : path, "bash", 4) == 0;
}

/* Both ends close-on-exec, theirs above 2. */
static int session_make_socket(int *ours, int *theirs)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	CLEANUP_FD int mine = ends[0];
	CLEANUP_FD int low = ends[1];
	CLEANUP_FD int child = low > 2 ? steal_fd(&low) : fcntl(low, F_DUPFD_CLOEXEC, 3);
	if (child < 0)
		return -1;
	*ours = steal_fd(&mine);
	*theirs = steal_fd(&child);
	return 0;
}

/* Begins where the last shell was. A directory that is gone meanwhile gives way to the workspace.
 */
static int session_prepare_cwd(const struct session *s, struct launch *l, struct err *e)
{
	struct stat st;

	if (stat(s->cwd, &st) < 0 || !S_ISDIR(st.st_mode)) {
		log_warn("session", "the directory is gone id=%s", s->id);
		return 0;
	}
	l->plan.cwd = s->cwd;
	if (s->cwd[0] == '/' && environ_put(l->env, "PWD", s->cwd) < 0)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	return 0;
}

static int session_find_program(
	struct session *s, struct launch *l, const char **argv, struct err *e)
{
	size_t n = 1;

	if (!launch_shell(l, s->spec.shell, argv))
		return err_set(e, &ERR_RUNTIME, "%s",
			s->spec.shell == NULL && l->cfg->shell == NULL
				? "no shell: neither bash nor sh was found"
				: "exec: No such file or directory");
	s->shell.bash = session_is_bash(l->program);
	if (s->shell.bash) {
		argv[n++] = "--noprofile";
		argv[n++] = "--norc";
	}
	argv[n] = "-s";
	snprintf(s->shell_name, sizeof(s->shell_name), "%s", argv[0]);
	return 0;
}

/* Everything but the process. */
static int session_shell_prepare(
	struct session *s, struct launch *l, const char **argv, int *theirs, struct err *e)
{
	if (launch_prepare(l, &s->ss->cfg.launch, &s->spec.launch, e) < 0 ||
		session_prepare_cwd(s, l, e) < 0 || session_find_program(s, l, argv, e) < 0 ||
		session_pipes_make(s, l, e) < 0)
		return -1;
	if (session_make_socket(&s->shell.ctl, theirs) < 0)
		return err_sys(e, &ERR_UNAVAILABLE, "cannot make a socket");
	s->shell.frame = s->shell.bash && s->ss->frame_fd >= 0;
	l->plan.fds[0] = *theirs;
	l->plan.fds[1] = s->pipes[OUTHUB_STDOUT].theirs;
	l->plan.fds[2] = s->pipes[OUTHUB_STDERR].theirs;
	if (s->shell.frame) {
		l->plan.extra_fd = s->ss->frame_fd;
		l->plan.extra_fd_as = SESSION_FRAME_FD;
	}
	if (session_feed_start(s, l->env) < 0)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	return 0;
}

static void session_shell_begin(struct session *s, pid_t pid)
{
	struct session_shell *sh = &s->shell;
	struct event_base *base = loop_base(s->ss->cfg.loop);

	sh->pid = pid;
	sh->restored = buf_len(&s->kept.parts) > 0;
	sh->came_up = false;
	sh->locked_locale = false;
	sh->skipping = false;
	sh->child.on_exit = session_shell_on_exit;
	child_watch(s->ss->cfg.children, &sh->child, pid);
	event_assign(
		&sh->readable, base, sh->ctl, EV_READ | EV_PERSIST, session_shell_on_readable, s);
	event_assign(&sh->writable, base, sh->ctl, EV_WRITE, session_shell_on_writable, s);
	evtimer_assign(&sh->nap, base, session_shell_on_nap, s);
	event_add(&sh->readable, NULL);
	log_info("session", "shell started id=%s pid=%ld shell=%s restored=%d", s->id, (long)pid,
		s->shell_name, sh->restored);
}

int session_shell_start(struct session *s, struct err *e)
{
	const char *argv[5] = {NULL};
	CLEANUP_FD int theirs = -1;
	struct launch l;
	pid_t pid = -1;

	assert(s->shell.child.pid == 0 && s->shell.ctl < 0);
	if (session_shell_prepare(s, &l, argv, &theirs, e) == 0)
		pid = spawn(&l.plan, e);
	launch_fini(&l);
	if (pid > 0) {
		session_shell_begin(s, pid);
		return 0;
	}
	if (s->shell.ctl >= 0)
		close(s->shell.ctl);
	s->shell.ctl = -1;
	buf_fini(&s->shell.out);
	return -1;
}
