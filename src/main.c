/*
 * Reads the configuration, builds the daemon from the bottom up, runs it and takes it down in
 * reverse. The only file that exits, and the only one that knows all the parts.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boxd/child.h"
#include "boxd/config.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/loop.h"
#include "boxd/mainproc.h"
#include "boxd/ports.h"
#include "boxd/proc.h"
#include "boxd/pty.h"
#include "boxd/router.h"
#include "boxd/secret.h"
#include "boxd/server.h"
#include "boxd/session.h"
#include "boxd/spawn.h"
#include "boxd/ticket.h"
#include "boxd/work.h"

extern char **environ;

/* How much nicer than the commands the daemon is treated. */
#define MAIN_NICE 10

struct daemon {
	struct config cfg;
	struct loop *loop;
	struct children *children;
	struct work_pool *pool;
	int state_dir;
	struct spawn_origin origin;
	struct app app;
	struct router *router;
	struct server *server;
	struct mainproc *mainproc;         /* NULL without "-- COMMAND" */
	struct loop_timer *main_grace;     /* from its SIGTERM to its SIGKILL */
	struct loop_timer *flush_deadline; /* of the shutdown's last step */
	int status;                        /* of boxd */
	bool main_running;
	bool stopping;
	unsigned int running; /* enum main_kind that may still have processes */
	bool clients_gone;
};

/* What runs for clients, and ends before the daemon does. */
enum main_kind { MAIN_COMMANDS = 1 << 0, MAIN_TERMINALS = 1 << 1, MAIN_SESSIONS = 1 << 2 };

static const struct route *const main_routes[] = {
	execd_routes_ping,
	execd_routes_command,
	execd_routes_session,
	execd_routes_pty,
	execd_routes_files,
	execd_routes_directories,
	execd_routes_ports,
	execd_routes_proxy,
	execd_routes_tickets,
	meta_routes,
	terminal_routes,
	execd_routes_missing,
	NULL,
};

/* ---- shutdown ---- */

static void main_maybe_stop(struct daemon *d)
{
	if (d->running == 0 && d->clients_gone && !d->main_running)
		loop_stop(d->loop);
}

static void main_on_clients_gone(void *arg)
{
	struct daemon *d = arg;

	d->clients_gone = true;
	main_maybe_stop(d);
}

static void main_on_flush_deadline(void *arg)
{
	struct daemon *d = arg;

	log_warn("main", "clients cut count=%zu", server_connections(d->server));
	server_cut(d->server);
}

/* The last events of all are queued by now; their clients get a bounded time to read them. */
static void main_gone(struct daemon *d, enum main_kind kind)
{
	d->running &= ~(unsigned int)kind;
	if (d->running == 0 && !d->clients_gone && d->flush_deadline == NULL)
		d->flush_deadline = loop_timer_new(
			d->loop, limit(LIMIT_SHUTDOWN_FLUSH_MS), main_on_flush_deadline, d);
	main_maybe_stop(d);
}

static void main_on_commands_gone(void *arg)
{
	main_gone(arg, MAIN_COMMANDS);
}

static void main_on_terminals_gone(void *arg)
{
	main_gone(arg, MAIN_TERMINALS);
}

static void main_on_sessions_gone(void *arg)
{
	main_gone(arg, MAIN_SESSIONS);
}

static void main_stop_processes(struct daemon *d, int64_t grace_ms)
{
	procs_shutdown(d->app.procs, grace_ms, main_on_commands_gone, d);
	ptys_shutdown(d->app.ptys, grace_ms, main_on_terminals_gone, d);
	sessions_shutdown(d->app.sessions, grace_ms, main_on_sessions_gone, d);
}

static void main_on_grace(void *arg)
{
	struct daemon *d = arg;

	mainproc_signal(d->mainproc, SIGKILL);
}

static void main_stop(struct daemon *d)
{
	d->stopping = true;
	log_info("main", "stopping commands=%zu connections=%zu", procs_running(d->app.procs),
		server_connections(d->server));
	if (d->main_running)
		d->main_grace = loop_timer_new(
			d->loop, limit(LIMIT_PROC_GRACE_MS), main_on_grace, d);
	server_drain(d->server, main_on_clients_gone, d);
	ports_stop(d->app.ports);
	d->running = MAIN_COMMANDS | MAIN_TERMINALS | MAIN_SESSIONS;
	main_stop_processes(d, limit(LIMIT_PROC_GRACE_MS));
}

/* Once: let everything end well. Again: at once. */
static void main_on_term(int signo, void *arg)
{
	struct daemon *d = arg;

	mainproc_signal(d->mainproc, signo);
	if (!d->stopping) {
		/* An interrupt is the main process's affair: a shell goes on after it. */
		if (signo == SIGTERM || !d->main_running)
			main_stop(d);
		return;
	}
	log_warn("main", "stopping now signal=%d", signo);
	mainproc_signal(d->mainproc, SIGKILL);
	main_stop_processes(d, 0);
	server_cut(d->server);
}

static void main_on_forwarded(int signo, void *arg)
{
	struct daemon *d = arg;

	mainproc_signal(d->mainproc, signo);
}

/* The box ends with its main process, and with its status as a shell would report it. */
static void main_on_main_exit(int status, void *arg)
{
	struct daemon *d = arg;

	d->main_running = false;
	loop_timer_free(d->main_grace);
	d->main_grace = NULL;
	d->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (!d->stopping)
		main_stop(d);
	main_maybe_stop(d);
}

/* ---- start ---- */

static int main_make_root(const char *path, struct err *e)
{
	char *copy = strdup(path);

	if (copy == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	for (char *p = copy + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(copy, 0755);
		*p = '/';
	}
	int res = mkdir(copy, 0755);

	free(copy);
	if (res < 0 && errno != EEXIST)
		return err_sys(e, &ERR_RUNTIME, "create the workspace %s", path);
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, &ERR_RUNTIME, "the workspace %s is not a directory", path);
	return 0;
}

/* Without it the daemon works, and keeps less output: said once. */
static int main_open_state_dir(const char *path)
{
	int fd = path != NULL ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0)
		log_warn("main", "no state directory, output is kept in memory only reason=%s",
			err_strerror(errno));
	return fd;
}

/*
 * Descriptors 0, 1, 2 are always taken, so that a socket never becomes somebody's stdout. What the
 * daemon opens is above them, as spawn() needs it.
 */
static void main_fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0) /* an empty root has none: any descriptor that reads nothing will do */
			fd = open("/", O_PATH | O_CLOEXEC);
	} while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

/*
 * The daemon takes all the descriptors it may have, and goes before the commands when the CPUs are
 * busy, so that it still answers. Where it may not, it works like them. Commands get what it was
 * started with.
 */
static void main_take_resources(struct daemon *d)
{
	struct rlimit rl = {0};

	getrlimit(RLIMIT_NOFILE, &rl);
	d->origin.nofile = rl;
	d->origin.nice = getpriority(PRIO_PROCESS, 0);
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
		log_warn("main", "descriptor limit stays reason=%s", err_strerror(errno));
	if (setpriority(PRIO_PROCESS, 0, d->origin.nice - MAIN_NICE) < 0)
		log_debug("main", "priority stays reason=%s", err_strerror(errno));
}

/*
 * Started as a background job, the daemon inherits SIGINT and SIGQUIT ignored (contract 4.6); it
 * does not pass that on. Without a main process SIGHUP and the others have nobody to go to.
 */
static int main_signals(struct daemon *d, struct err *e)
{
	static const int forwarded[] = {SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};

	/* A file size limit shall be an error of one request (EFBIG), not the end of the daemon. */
	signal(SIGXFSZ, SIG_IGN);
	if (loop_on_signal(d->loop, SIGTERM, main_on_term, d, e) < 0 ||
		loop_on_signal(d->loop, SIGINT, main_on_term, d, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++) {
		if (loop_on_signal(d->loop, forwarded[i], main_on_forwarded, d, e) < 0)
			return -1;
	}
	return 0;
}

static int main_start_command(struct daemon *d, struct err *e)
{
	const struct mainproc_config mc = {
		.children = d->children,
		.argv = d->cfg.command,
		.environ = environ,
		.origin = &d->origin,
		.on_exit = main_on_main_exit,
		.arg = d,
	};

	if (d->cfg.command == NULL || d->cfg.command[0] == NULL)
		return 0;
	d->mainproc = mainproc_start(&mc, e);
	d->main_running = d->mainproc != NULL;
	return d->mainproc != NULL ? 0 : -1;
}

/* The workspace first, then what --allow adds. */
static struct fs *main_open_roots(const struct config *c, struct err *e)
{
	size_t n = 1;
	struct confine_root *roots;
	struct fs *fs;

	while (c->allow[n - 1].path != NULL)
		n++;
	roots = calloc(n, sizeof(*roots));
	if (roots == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	roots[0].path = c->root;
	for (size_t i = 1; i < n; i++)
		roots[i] = (struct confine_root){c->allow[i - 1].path, c->allow[i - 1].read_only};

	const struct fs_config fc = {
		.roots = roots, .nroots = n, .environ = environ, .etc = "/etc"};

	fs = fs_new(&fc, e);
	free(roots);
	return fs;
}

/* Commands, terminals and sessions begin alike. */
static int main_build_processes(struct daemon *d, struct err *e)
{
	const struct launch_config launch = {
		.default_cwd = d->cfg.root,
		.envs_file = d->cfg.envs_file,
		.shell = d->cfg.shell,
		.environ = environ,
		.origin = &d->origin,
	};
	const struct procs_config pc = {d->loop, d->children, d->pool, d->state_dir, launch};
	const struct ptys_config tc = {d->loop, d->children, d->pool, launch};
	const struct sessions_config sc = {d->loop, d->children, d->pool, launch};

	if ((d->app.procs = procs_new(&pc, e)) == NULL ||
		(d->app.ptys = ptys_new(&tc, e)) == NULL ||
		(d->app.sessions = sessions_new(&sc, e)) == NULL)
		return -1;
	return 0;
}

static int main_build(struct daemon *d, struct err *e)
{
	const struct config *c = &d->cfg;

	if (main_make_root(c->root, e) < 0)
		return -1;
	d->state_dir = main_open_state_dir(c->state_dir);
	if ((d->loop = loop_new(e)) == NULL || main_signals(d, e) < 0 ||
		(d->children = children_new(d->loop, e)) == NULL ||
		(d->pool = work_pool_new(d->loop, e)) == NULL)
		return -1;
	work_pool_set_nice(d->pool, d->origin.nice);

	d->app.loop = d->loop;
	d->app.pool = d->pool;
	d->app.state_dir = d->state_dir;
	if ((d->app.fs = main_open_roots(c, e)) == NULL)
		return -1;
	d->app.auth = (struct auth_policy){c->token, c->allow_hosts, c->allow_origins};
	if (main_build_processes(d, e) < 0)
		return -1;
	if ((d->app.tickets = tickets_new(e)) == NULL ||
		(d->app.ports = ports_new(d->loop, e)) == NULL ||
		(d->app.upstreams = upstreams_new(d->loop, e)) == NULL)
		return -1;
	d->router = router_new(&d->app, main_routes);
	if (d->router == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	const struct server_callbacks cb = router_callbacks(d->router);

	if ((d->server = server_new(d->loop, &cb, e)) == NULL)
		return -1;
	d->app.server = d->server;
	for (char **addr = c->listen; *addr != NULL; addr++) {
		if (server_listen(d->server, *addr, e) < 0)
			return -1;
	}
	/* Last: its end is the end of a box that works. */
	return main_start_command(d, e);
}

static void main_tear_down(struct daemon *d)
{
	loop_timer_free(d->flush_deadline);
	loop_timer_free(d->main_grace);
	mainproc_free(d->mainproc);
	server_free(d->server);
	router_free(d->router);
	upstreams_free(d->app.upstreams);
	ports_free(d->app.ports);
	tickets_free(d->app.tickets);
	sessions_free(d->app.sessions);
	ptys_free(d->app.ptys);
	procs_free(d->app.procs);
	work_pool_free(d->pool);
	fs_free(d->app.fs);
	children_free(d->children);
	loop_free(d->loop);
	if (d->state_dir >= 0)
		close(d->state_dir);
	config_fini(&d->cfg);
}

static int main_run(struct daemon *d)
{
	struct err e = {0};
	int status = EXIT_FAILURE;

	main_fill_standard_fds();
	main_take_resources(d);
	if (spawn_reserve_slots(&e) < 0 || main_build(d, &e) < 0)
		log_error("main", "start failed reason=\"%s\"", e.msg);
	else if (loop_run(d->loop) < 0)
		log_error("main", "the event loop failed");
	else
		status = d->status;
	main_tear_down(d);
	return status;
}

int main(int argc, char **argv)
{
	struct daemon d = {.state_dir = -1};
	char why[CONFIG_WHY_MAX];

	switch (config_load(&d.cfg, argc, argv, why)) {
	case CONFIG_RUN: log_set_level(d.cfg.log_level); return main_run(&d);
	case CONFIG_PRINT_CONFIG: config_print(&d.cfg, stdout); break;
	case CONFIG_PRINT_LIMITS: config_print_limits(stdout, false); break;
	case CONFIG_PRINT_LIMITS_MD: config_print_limits(stdout, true); break;
	case CONFIG_PRINT_FLAGS_MD: config_print_flags(stdout, true); break;
	case CONFIG_PRINT_VERSION: printf("boxd %s\n", BOXD_VERSION); break;
	case CONFIG_PRINT_HELP: config_print_flags(stdout, false); break;
	case CONFIG_BAD:
		fprintf(stderr, "boxd: %s\n", why);
		config_fini(&d.cfg);
		return 2;
	}
	config_fini(&d.cfg);
	return EXIT_SUCCESS;
}
