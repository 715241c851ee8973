/*
 * pty_run: the life of a shell, from what was asked for to its end.
 *
 * A shell leads a session of its own, and in a terminal that is its controlling one. We hold the
 * slave as long as the shell lives: should it and all it started close the terminal for a moment,
 * it would hang up, and the session could never open it again. When the shell was reaped ours is
 * closed, and then the terminal hangs up as soon as nobody else has it.
 *
 * What a shell left behind is left alone when it ends, as with commands; the kernel hangs up what
 * was in the foreground. A deletion kills the tree, also of a shell that was reaped. Its pid must
 * not be signalled any more then: only the worker's scan, which finds members of the session, can
 * tell whether somebody is left.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/ptydev.h"
#include "boxd/spawn.h"
#include "pty_internal.h"

#define PTY_CODE_SIGNALLED   (-1)
#define PTY_SHUTDOWN_LOOK_MS 10
#define PTY_HANG_UP_MS       200 /* between two hang-ups of a shell that goes on */

/* What one start needs until the shell runs. */
struct pty_launch {
	struct launch launch;
	const char *argv[6];
	int ours[3]; /* by the child's descriptor; in a terminal only the first, for all */
	int theirs[3];
};

static void pty_launch_fini(struct pty_launch *l)
{
	launch_fini(&l->launch);
	for (size_t i = 0; i < 3; i++) {
		cleanup_fd_(&l->ours[i]);
		cleanup_fd_(&l->theirs[i]);
	}
}

#define PTY_LAUNCH_CLEANUP __attribute__((cleanup(pty_launch_fini)))

/* ---- start ---- */

/* bash shall not read the files of whoever the box was made for; other shells know no such option.
 */
static int pty_prepare_shell(const struct pty *t, struct pty_launch *l, struct err *e)
{
	const struct pty_request *q = &t->request;
	bool any = q->shell == NULL && l->launch.cfg->shell == NULL;
	size_t n = 1;

	if (!launch_shell(&l->launch, q->shell, l->argv))
		return err_set(e, &ERR_RUNTIME, "%s",
			any ? "no shell: neither bash nor sh was found" : "no such shell");
	if (strcmp(l->argv[0], "bash") == 0) {
		l->argv[n++] = "--norc";
		l->argv[n++] = "--noprofile";
	}
	if (q->command != NULL) {
		l->argv[n++] = "-c";
		l->argv[n++] = q->command;
	}
	l->argv[n] = NULL;
	return 0;
}

/* The size of the daemon's own terminal, if it had one: programs would believe it, not the kernel.
 */
static void pty_drop_sizes(struct launch *l)
{
	static const char *const names[] = {"COLUMNS", "LINES"};
	char **env = (char **)(uintptr_t)l->plan.envp;
	size_t kept = 0;

	for (size_t i = 0; env[i] != NULL; i++) {
		bool drop = false;

		for (size_t k = 0; k < 2; k++) {
			size_t len = strlen(names[k]);

			drop = drop || (strncmp(env[i], names[k], len) == 0 && env[i][len] == '=' &&
					       !launch_env_given(l->spec, names[k]));
		}
		if (!drop)
			env[kept++] = env[i];
	}
	env[kept] = NULL;
}

static int pty_prepare_terminal(const struct pty *t, struct pty_launch *l, struct err *e)
{
	struct spawn_plan *plan = &l->launch.plan;
	uid_t uid = plan->set_ids ? plan->uid : (uid_t)-1;

	if (ptydev_open(t->cols, t->rows, uid, &l->ours[0], &l->theirs[0], e) < 0)
		return -1;
	plan->terminal = true;
	for (size_t i = 0; i < 3; i++)
		plan->fds[i] = l->theirs[0];
	return 0;
}

static int pty_prepare_pipes(struct pty_launch *l, struct err *e)
{
	struct spawn_plan *plan = &l->launch.plan;

	for (size_t i = 0; i < 3; i++) {
		if (launch_pipe(&l->launch, i > 0, &l->ours[i], &l->theirs[i]) < 0)
			return err_sys(e, &ERR_UNAVAILABLE, "cannot make a pipe");
		plan->fds[i] = l->theirs[i];
	}
	return 0;
}

static int pty_prepare(const struct pty *t, bool pipe_mode, struct pty_launch *l, struct err *e)
{
	if (launch_prepare(&l->launch, &t->ps->cfg.launch, &t->request.launch, e) < 0)
		return -1;
	if (!pipe_mode && launch_default_env(&l->launch, "TERM", "xterm-256color") < 0)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (pty_prepare_shell(t, l, e) < 0)
		return -1;
	if (pipe_mode)
		return pty_prepare_pipes(l, e);
	pty_drop_sizes(&l->launch);
	return pty_prepare_terminal(t, l, e);
}

static void pty_on_exit(struct child *c, int status, const struct rusage *usage);

/* The shell runs: from here on its exit will come. */
static void pty_begin(struct pty *t, struct pty_launch *l, bool pipe_mode, pid_t pid)
{
	struct ptys *ps = t->ps;

	t->state = PTY_RUNNING;
	t->pipe_mode = pipe_mode;
	t->session = pid;
	t->linger_over = false;
	t->child.on_exit = pty_on_exit;
	child_watch(ps->cfg.children, &t->child, pid);
	ps->running++;
	if (pipe_mode) {
		pty_source_open(t, OUTHUB_STDOUT, steal_fd(&l->ours[1]));
		pty_source_open(t, OUTHUB_STDERR, steal_fd(&l->ours[2]));
		pty_input_open(t, steal_fd(&l->ours[0]), true);
	} else {
		pty_input_open(t, l->ours[0], false);
		pty_source_open(t, OUTHUB_STDOUT, steal_fd(&l->ours[0]));
		t->slave = steal_fd(&l->theirs[0]);
	}
	pty_settle(t);
	log_info("pty", "start id=%s pid=%ld pipe_mode=%d", t->id, (long)pid, pipe_mode);
}

int pty_start(struct pty *t, bool pipe_mode, struct err *e)
{
	PTY_LAUNCH_CLEANUP struct pty_launch l = {.ours = {-1, -1, -1}, .theirs = {-1, -1, -1}};
	pid_t pid;

	assert(loop_on_thread(t->ps->cfg.loop));
	if (t->place == PTY_GONE)
		return err_set(e, &ERR_NO_CONTEXT, "no terminal %s", t->id);
	if (t->state != PTY_IDLE)
		return 0;
	if (t->ps->stopping)
		return err_set(e, &ERR_UNAVAILABLE, "shutting down");
	if (pty_prepare(t, pipe_mode, &l, e) < 0)
		return -1;
	pid = spawn(&l.launch.plan, e);
	if (pid < 0)
		return -1;
	pty_begin(t, &l, pipe_mode, pid);
	return 0;
}

/* ---- end ---- */

static void ptys_check_done(struct ptys *ps);

static void pty_on_exit(struct child *c, int status, const struct rusage *usage)
{
	struct pty *t = (struct pty *)(void *)((char *)c - offsetof(struct pty, child));

	(void)usage;
	t->exit_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	t->exit_code = WIFSIGNALED(status) ? PTY_CODE_SIGNALLED : WEXITSTATUS(status);
	t->state = PTY_DRAINING;
	log_info("pty", "exit id=%s code=%d signal=%d", t->id, t->exit_code, t->exit_signal);
	pty_drain(t);
}

void pty_drained(struct pty *t)
{
	struct ptys *ps = t->ps;

	event_del(&t->timer);
	pty_io_close(t);
	t->state = PTY_IDLE;
	t->ended = true;
	ps->running--;
	pty_tell_exit(t, outhub_total(t->hub), t->exit_code);
	if (t->place == PTY_GONE)
		pty_tell(t, PTY_DUE_REMOVED);
	pty_settle(t);
	ptys_check_done(ps);
}

static void pty_kill_group(struct pty *t)
{
	if (t->child.pid != 0 && kill(-t->child.pid, SIGKILL) < 0 && errno != ESRCH)
		log_warn("pty", "kill id=%s: %s", t->id, err_strerror(errno));
}

void pty_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct pty *t = arg;

	(void)fd;
	(void)what;
	/* Should all workers be stuck in a dead disk. */
	if (t->state == PTY_RUNNING) {
		pty_kill_group(t);
		return;
	}
	t->linger_over = true;
	pty_drain_check(t);
}

static void pty_on_killed(size_t killed, void *arg)
{
	struct pty *t = arg;

	log_debug("pty", "tree killed id=%s processes=%zu", t->id, killed);
	t->kill = NULL;
	t->ps->kills--;
	/* Without /proc there was no tree to see. */
	pty_kill_group(t);
	pty_settle(t);
	ptys_check_done(t->ps);
}

/* Not the group first: that would cut the parent links by which who left the session is found. */
void pty_kill(struct pty *t)
{
	bool reaped = t->child.pid == 0;

	if (t->session == 0 || t->kill != NULL)
		return;
	t->kill = treekill_start(t->ps->cfg.pool, t->session, reaped, pty_on_killed, t);
	if (t->kill == NULL) {
		pty_kill_group(t);
		return;
	}
	t->ps->kills++;
	if (!reaped)
		loop_arm(&t->timer, limit(LIMIT_PROC_GRACE_MS));
}

void pty_abandon_kill(struct pty *t)
{
	if (t->kill == NULL)
		return;
	treekill_abandon(t->kill);
	t->kill = NULL;
	t->ps->kills--;
}

void pty_delete(struct pty *t)
{
	if (t->place == PTY_GONE)
		return;
	log_info("pty", "delete id=%s", t->id);
	pty_kill(t);
	pty_forget(t);
}

/* ---- shutdown ---- */

static void pty_hang_up(struct pty *t)
{
	static const int signals[] = {SIGHUP, SIGCONT};
	pid_t foreground = t->pipe_mode ? -1 : ptydev_foreground(t->sources[OUTHUB_STDOUT].fd);

	t->hung_up = true;
	for (size_t i = 0; i < 2; i++) {
		if (kill(-t->child.pid, signals[i]) < 0 && errno != ESRCH)
			log_warn("pty", "hang up id=%s: %s", t->id, err_strerror(errno));
		if (foreground > 0 && foreground != t->child.pid)
			(void)!ptydev_signal(t->sources[OUTHUB_STDOUT].fd, signals[i]);
	}
}

/*
 * Has a shell ended that was hung up, and somebody of its group not? Signal 0 reaches nobody, so it
 * may ask about a number that is no longer ours.
 */
static bool pty_left_somebody(const struct pty *t)
{
	return t->hung_up && t->child.pid == 0 && (kill(-t->session, 0) == 0 || errno != ESRCH);
}

static bool ptys_left_somebody(const struct ptys *ps)
{
	const struct pty *t;

	TAILQ_FOREACH(t, &ps->all, all_link) {
		if (pty_left_somebody(t))
			return true;
	}
	return false;
}

void ptys_on_done(void *arg)
{
	struct ptys *ps = arg;
	void (*on_done)(void *) = ps->on_done;

	ps->on_done = NULL;
	if (on_done != NULL)
		on_done(ps->on_done_arg);
}

/* The grace of a group that obeyed is not waited out: it is looked at from time to time. */
static void ptys_check_done(struct ptys *ps)
{
	int64_t left = ps->grace_until_ms - clock_mono_ms();

	if (!ps->stopping || ps->running > 0 || ps->kills > 0)
		return;
	if (ps->grace_over || !ptys_left_somebody(ps)) {
		event_del(&ps->grace);
		loop_defer(ps->cfg.loop, &ps->done);
	} else {
		loop_arm(&ps->grace, left < 0                      ? 0
				     : left < PTY_SHUTDOWN_LOOK_MS ? left
								   : PTY_SHUTDOWN_LOOK_MS);
	}
}

static void ptys_kill_rest(struct ptys *ps)
{
	struct pty *t;

	ps->grace_over = true;
	TAILQ_FOREACH(t, &ps->all, all_link) {
		if (t->state == PTY_RUNNING || pty_left_somebody(t))
			pty_kill(t);
	}
}

/*
 * All that run, and again after a while: a shell that draws its prompt at that moment takes the
 * signal for one that concerns its line editor, and goes on.
 */
static void ptys_hang_up(struct ptys *ps, int64_t left_ms)
{
	struct pty *t;

	TAILQ_FOREACH(t, &ps->all, all_link) {
		if (t->state == PTY_RUNNING)
			pty_hang_up(t);
	}
	loop_arm(&ps->grace, left_ms < PTY_HANG_UP_MS ? left_ms : PTY_HANG_UP_MS);
}

void ptys_on_grace(evutil_socket_t fd, short what, void *arg)
{
	struct ptys *ps = arg;
	int64_t left = ps->grace_until_ms - clock_mono_ms();

	(void)fd;
	(void)what;
	if (left > 0)
		ptys_hang_up(ps, left);
	else
		ptys_kill_rest(ps);
	ptys_check_done(ps);
}

void ptys_shutdown(struct ptys *ps, int64_t grace_ms, void (*on_done)(void *arg), void *arg)
{
	int64_t until = clock_mono_ms() + grace_ms;

	ps->on_done = on_done;
	ps->on_done_arg = arg;
	if (!ps->stopping || until < ps->grace_until_ms)
		ps->grace_until_ms = until;
	ps->stopping = true;
	if (!ps->grace_over)
		ptys_hang_up(ps, ps->grace_until_ms - clock_mono_ms());
	ptys_check_done(ps);
}
