/* Reaping: each registered child gets its own status once, orphans vanish, nothing is left. */
#include "boxd/child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "boxd/spawn.h"
#include "os_helpers.h"

struct owner;

struct nursery {
	struct loop *loop;
	struct children *children;
	struct event *timer;
	int null_fd;
	int polls;
	size_t expected, exits;
	struct owner *survivor; /* of a_callback_may_free_and_start_others */
};

struct owner {
	struct child child; /* first */
	struct nursery *n;
	pid_t pid;
	int status;
	int exits;
	struct rusage usage;
	struct owner *other;
};

static int nursery_setup(void **state)
{
	struct err e = {0};
	struct nursery *n = test_calloc(1, sizeof(*n));

	n->loop = loop_new(&e);
	assert_non_null(n->loop);
	n->children = children_new(n->loop, &e);
	assert_non_null(n->children);
	n->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(n->null_fd > 2);
	*state = n;
	return 0;
}

static int nursery_teardown(void **state)
{
	struct nursery *n = *state;

	if (n->timer != NULL)
		event_free(n->timer);
	children_free(n->children);
	loop_free(n->loop);
	close(n->null_fd);
	test_free(n);
	assert_true(test_childless());
	return 0;
}

static void on_exit_noted(struct child *c, int status, const struct rusage *usage)
{
	struct owner *o = (struct owner *)c;

	assert_int_equal(c->pid, 0);
	o->exits++;
	o->status = status;
	o->usage = *usage;
	if (++o->n->exits == o->n->expected)
		loop_stop(o->n->loop);
}

static pid_t start(struct nursery *n, const char *script)
{
	struct err e = {0};
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)script, NULL};
	char *envp[] = {(char *)"PATH=/usr/bin:/bin", NULL};
	struct spawn_plan plan = {
		.path = "/bin/sh",
		.argv = argv,
		.envp = envp,
		.fds = {n->null_fd, n->null_fd, n->null_fd},
		.new_session = true,
	};
	pid_t pid = spawn(&plan, &e);

	if (pid < 0)
		print_error("%s\n", e.msg);
	assert_true(pid > 0);
	return pid;
}

static void own(struct nursery *n, struct owner *o, const char *script)
{
	*o = (struct owner){.child = {.on_exit = on_exit_noted}, .n = n};
	o->pid = start(n, script);
	child_watch(n->children, &o->child, o->pid);
	assert_int_equal(o->child.pid, o->pid);
}

/* Ends the loop when no child is left at all, or after too many looks. */
static void on_poll(evutil_socket_t fd, short what, void *arg)
{
	struct nursery *n = arg;

	(void)fd;
	(void)what;
	if (test_childless() || ++n->polls > TEST_PATIENCE_MS / 2)
		loop_stop(n->loop);
}

static void run_until_childless(struct nursery *n)
{
	n->timer = event_new(loop_base(n->loop), -1, EV_PERSIST, on_poll, n);
	assert_non_null(n->timer);
	event_add(n->timer, &(struct timeval){0, 2000});
	assert_int_equal(loop_run(n->loop), 0);
	assert_true(test_childless());
}

static const struct ending {
	const char *script;
	int status; /* as wait(2) gives it */
} endings[] = {
	{"exit 0", 0},
	{"exit 7", 7 << 8},
	{"exit 255", 255 << 8},
	{"kill -TERM $$", SIGTERM},
	{"kill -KILL $$", SIGKILL},
	{"kill -INT $$", SIGINT},
	{"kill -PIPE $$", SIGPIPE},
};

#define ENDINGS (sizeof(endings) / sizeof(endings[0]))

static void each_child_gets_its_own_status(void **state)
{
	struct nursery *n = *state;
	struct owner o[ENDINGS * 10];
	size_t i;

	n->expected = ENDINGS * 10;
	for (i = 0; i < n->expected; i++)
		own(n, &o[i], endings[i % ENDINGS].script);
	assert_int_equal(children_count(n->children), n->expected);
	assert_int_equal(loop_run(n->loop), 0);
	for (i = 0; i < n->expected; i++) {
		assert_int_equal(o[i].status, endings[i % ENDINGS].status);
		assert_int_equal(o[i].exits, 1);
	}
	assert_int_equal(children_count(n->children), 0);
	assert_true(test_childless());
}

static void the_usage_comes_with_the_exit(void **state)
{
	struct nursery *n = *state;
	struct owner o;

	n->expected = 1;
	own(n, &o, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done");
	assert_int_equal(loop_run(n->loop), 0);
	assert_int_equal(o.status, 0);
	assert_true(o.usage.ru_utime.tv_sec * 1000000 + o.usage.ru_utime.tv_usec > 1000);
	assert_true(o.usage.ru_maxrss > 100);
}

static void orphans_come_here_and_are_reaped(void **state)
{
	struct nursery *n = *state;
	struct owner o;
	int subreaper = 0;

	assert_int_equal(prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0), 0);
	assert_int_equal(subreaper, 1);
	n->expected = 1;
	own(n, &o, "(setsid sh -c 'sleep 0.1' &) ; exit 3");
	assert_int_equal(loop_run(n->loop), 0);
	assert_int_equal(o.status, 3 << 8);
	assert_false(test_childless()); /* the orphan is ours now */
	run_until_childless(n);
	assert_int_equal(o.exits, 1);
}

static void one_that_is_unwatched_is_reaped_without_a_word(void **state)
{
	struct nursery *n = *state;
	struct owner o;

	own(n, &o, "exit 0");
	child_unwatch(n->children, &o.child);
	assert_int_equal(o.child.pid, 0);
	child_unwatch(n->children, &o.child);
	assert_int_equal(children_count(n->children), 0);
	run_until_childless(n);
	assert_int_equal(o.exits, 0);
}

static void on_exit_busy(struct child *c, int status, const struct rusage *usage)
{
	struct owner *o = (struct owner *)c;
	struct nursery *n = o->n;

	(void)status;
	(void)usage;
	n->exits++;
	n->survivor = o;
	/* The other's exit may be the next in the kernel's queue. */
	child_unwatch(n->children, &o->other->child);
	test_free(o->other);
	own(n, o, "exit 9"); /* the same struct again, and a start in the middle of the reaping */
}

static void a_callback_may_free_and_start_others(void **state)
{
	struct nursery *n = *state;
	struct owner *a = test_calloc(1, sizeof(*a));
	struct owner *b = test_calloc(1, sizeof(*b));
	struct timespec pause = {0, 100 * 1000 * 1000};

	n->expected = 2;
	own(n, a, "exit 1");
	own(n, b, "exit 1");
	a->other = b;
	b->other = a;
	a->child.on_exit = b->child.on_exit = on_exit_busy;
	nanosleep(&pause, NULL); /* both are dead, most likely: one sweep meets them */
	assert_int_equal(loop_run(n->loop), 0);
	assert_int_equal(n->exits, 2);
	assert_int_equal(children_count(n->children), 0);
	assert_int_equal(n->survivor->status, 9 << 8);
	run_until_childless(n);
	test_free(n->survivor);
}

static void on_exit_freed(struct child *c, int status, const struct rusage *usage)
{
	struct owner *o = (struct owner *)c;

	on_exit_noted(c, status, usage);
	test_free(o);
}

static void a_callback_may_free_its_owner(void **state)
{
	struct nursery *n = *state;
	int i;

	n->expected = 20;
	for (i = 0; i < 20; i++) {
		struct owner *o = test_calloc(1, sizeof(*o));

		own(n, o, "exit 0");
		o->child.on_exit = on_exit_freed;
	}
	assert_int_equal(loop_run(n->loop), 0);
	assert_int_equal(children_count(n->children), 0);
}

/* Children that are dead when this returns, and that nobody has waited for. */
static void start_dead(size_t count)
{
	while (count-- > 0) {
		siginfo_t info;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			_exit(0);
		assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	}
}

static void a_crowd_of_the_dead_is_reaped_over_several_turns(void **state)
{
	struct nursery *n = *state;
	sigset_t chld;

	/* One signal for all of them. */
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	start_dead(500);
	sigprocmask(SIG_UNBLOCK, &chld, NULL);
	run_until_childless(n);
}

static void the_dead_from_before_are_reaped(void **state)
{
	struct err e = {0};
	struct nursery n = {0};

	(void)state;
	start_dead(3); /* their signals are over before anybody listens */
	n.loop = loop_new(&e);
	n.children = children_new(n.loop, &e);
	assert_non_null(n.children);
	run_until_childless(&n);
	event_free(n.timer);
	children_free(n.children);
	loop_free(n.loop);
}

static void freeing_forgets_the_children_and_leaves_no_handler(void **state)
{
	struct nursery *n = *state;
	struct owner o;
	struct sigaction sa;
	int status;

	own(n, &o, "exit 0");
	children_free(n->children);
	n->children = NULL;
	children_free(NULL);
	assert_int_equal(o.child.pid, 0);
	assert_int_equal(sigaction(SIGCHLD, NULL, &sa), 0);
	assert_true(sa.sa_handler == SIG_DFL);
	assert_int_equal(waitpid(o.pid, &status, 0), o.pid);
	assert_int_equal(o.exits, 0);
}

int main(void)
{
#define NURSERY(t) cmocka_unit_test_setup_teardown(t, nursery_setup, nursery_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_dead_from_before_are_reaped),
		NURSERY(each_child_gets_its_own_status),
		NURSERY(the_usage_comes_with_the_exit),
		NURSERY(orphans_come_here_and_are_reaped),
		NURSERY(one_that_is_unwatched_is_reaped_without_a_word),
		NURSERY(a_callback_may_free_and_start_others),
		NURSERY(a_callback_may_free_its_owner),
		NURSERY(a_crowd_of_the_dead_is_reaped_over_several_turns),
		NURSERY(freeing_forgets_the_children_and_leaves_no_handler),
	};
#undef NURSERY

	return cmocka_run_group_tests(tests, NULL, NULL);
}
