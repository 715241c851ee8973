/*
 * Killing trees. Every process of a tree holds the write end of one pipe, so its end of file says
 * that all of them are dead; each writes its pid into another one, so the test knows when the tree
 * stands.
 */
#include "boxd/ptree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdint.h>
#include <sys/prctl.h>

#include "os_helpers.h"

struct tree {
	int alive[2]; /* nobody writes */
	int ready[2];
	int quit[2]; /* end of file: those that the test has left over go */
	pid_t leader;
};

static struct tree tree;

static int tree_setup(void **state)
{
	(void)state;
	return pipe2(tree.alive, O_CLOEXEC) == 0 && pipe2(tree.ready, O_CLOEXEC) == 0 &&
			       pipe2(tree.quit, O_CLOEXEC) == 0
		       ? 0
		       : -1;
}

static int tree_teardown(void **state)
{
	int ms;

	(void)state;
	if (tree.alive[1] >= 0)
		close(tree.alive[1]);
	close(tree.alive[0]);
	close(tree.ready[0]);
	close(tree.ready[1]);
	close(tree.quit[0]);
	close(tree.quit[1]);
	/* All that are left over come here, as this is their subreaper; nobody may stay. */
	for (ms = 0; !test_childless() && ms < TEST_PATIENCE_MS; ms++) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		poll(NULL, 0, 1);
	}
	return test_childless() ? 0 : -1;
}

/* The end of every process here: reports, and stays until it is killed or the test is over. */
static void stay(void)
{
	pid_t pid = getpid();
	char byte;

	close(tree.quit[1]);
	if (write(tree.ready[1], &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	while (read(tree.quit[0], &byte, 1) < 0)
		;
	_exit(0);
}

static pid_t must_fork(void)
{
	pid_t pid = fork();

	if (pid < 0)
		_exit(2);
	return pid;
}

/* A child that does what is told and stays. */
static void branch(void (*first)(void))
{
	if (must_fork() == 0) {
		if (first != NULL)
			first();
		stay();
	}
}

static void own_group(void)
{
	setpgid(0, 0);
}

static void own_session(void)
{
	setsid();
}

static void own_group_with_a_child(void)
{
	setpgid(0, 0);
	branch(NULL);
	branch(own_session);
}

/* Its parent ends at once. */
static void orphan(void (*first)(void))
{
	pid_t pid = must_fork();

	if (pid == 0) {
		branch(first);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* Starts a leader, and waits until n processes have reported. */
static void grow(void (*leader)(void), int n)
{
	tree.leader = must_fork();
	if (tree.leader == 0) {
		setsid();
		leader();
		stay();
	}
	close(tree.alive[1]);
	tree.alive[1] = -1;
	while (n-- > 0) {
		pid_t pid;

		assert_true(test_read_exact(tree.ready[0], &pid, sizeof(pid)));
	}
}

static void all_dead(void)
{
	char rest[16];

	assert_true(test_read_all(tree.alive[0], rest, sizeof(rest)));
}

static void leader_of_many(void)
{
	branch(NULL);
	branch(own_group);
	branch(own_group_with_a_child); /* three */
	branch(own_session);
	orphan(NULL);
	orphan(own_group);
}

static void a_tree_dies_whole(void **state)
{
	int status;
	int tries = 0;

	(void)state;
	grow(leader_of_many, 9);
	assert_int_equal(ptree_kill(tree.leader), 9);
	all_dead();
	assert_int_equal(waitpid(tree.leader, &status, 0), tree.leader);
	assert_int_equal(status, SIGKILL);
	/* Some may have closed everything and still be on their way out. */
	while (ptree_kill(tree.leader) != 0)
		assert_true(tries++ < 10000);
}

static void leader_that_ends(void)
{
	pid_t pid = getpid();

	leader_of_many();
	if (write(tree.ready[1], &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	_exit(5);
}

static void survivors_die_after_the_leader_was_reaped(void **state)
{
	int status;

	(void)state;
	grow(leader_that_ends, 9);
	assert_int_equal(waitpid(tree.leader, &status, 0), tree.leader);
	assert_int_equal(status, 5 << 8);
	/* All but one whose session is its own and whose parent was the leader. */
	assert_int_equal(ptree_kill(tree.leader), 7);
}

static void a_leader_that_is_a_zombie_is_not_counted(void **state)
{
	siginfo_t info;

	(void)state;
	grow(leader_that_ends, 9);
	assert_int_equal(waitid(P_PID, (id_t)tree.leader, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(ptree_kill(tree.leader), 7);
}

static void nothing(void)
{
}

static void others_of_the_same_parent_live_on(void **state)
{
	pid_t sibling = must_fork();

	(void)state;
	if (sibling == 0) {
		close(tree.alive[1]);
		setsid();
		stay();
	}
	grow(nothing, 2);
	assert_int_equal(ptree_kill(tree.leader), 1);
	all_dead();
	assert_int_equal(waitpid(tree.leader, NULL, 0), tree.leader);
	assert_int_equal(waitpid(sibling, NULL, WNOHANG | WUNTRACED), 0);
	assert_int_equal(kill(sibling, SIGKILL), 0);
	assert_int_equal(waitpid(sibling, NULL, 0), sibling);
}

/* In a session that its parent leads: were one of these accepted, nobody else would be hit. */
static int refusals(void)
{
	const pid_t refused[] = {-1, 0, 1, getpid(), getsid(0), getpgrp()};
	pid_t child = must_fork();
	size_t i;

	if (child == 0)
		stay();
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		if (ptree_kill(refused[i]) != 0)
			return 2;
	}
	if (waitpid(child, NULL, WNOHANG | WUNTRACED) != 0)
		return 3;
	/* One that leads nothing is killed all the same, alone. */
	return ptree_kill(child) == 1 && waitpid(child, NULL, 0) == child ? 0 : 4;
}

static void what_must_not_be_a_leader_is_refused(void **state)
{
	pid_t session = must_fork();
	int status;

	(void)state;
	if (session == 0) {
		pid_t pid;

		setsid();
		pid = must_fork();
		if (pid == 0)
			_exit(refusals());
		_exit(waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(session, &status, 0), session);
	assert_int_equal(status, 0);
}

static void rename_like_stat(void)
{
	prctl(PR_SET_NAME, "a) S 1 1 1 (b");
}

static void leader_with_names(void)
{
	branch(rename_like_stat);
	orphan(rename_like_stat);
	prctl(PR_SET_NAME, ")\n) (");
}

static void names_cannot_hide_a_process(void **state)
{
	(void)state;
	grow(leader_with_names, 3);
	assert_int_equal(ptree_kill(tree.leader), 3);
	all_dead();
}

static void *thread_main(void *arg)
{
	(void)arg;
	stay();
	return NULL;
}

/* The first thread ends; /proc shows a zombie, but the process lives. */
static void only_a_thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, thread_main, NULL) != 0)
		_exit(3);
	pthread_exit(NULL);
}

static void leader_with_headless(void)
{
	branch(only_a_thread);
}

static void a_process_without_its_first_thread_dies_too(void **state)
{
	(void)state;
	grow(leader_with_headless, 2);
	assert_int_equal(ptree_kill(tree.leader), 2);
	all_dead();
}

static void ignore_all(void)
{
	int i;

	for (i = 1; i < 32; i++)
		signal(i, SIG_IGN);
}

static void stopped(void)
{
	pid_t pid = getpid();

	if (write(tree.ready[1], &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	raise(SIGSTOP);
}

static void leader_of_the_stubborn(void)
{
	branch(ignore_all);
	branch(stopped);
}

static void stopped_and_stubborn_ones_die_too(void **state)
{
	(void)state;
	grow(leader_of_the_stubborn, 3);
	assert_int_equal(ptree_kill(tree.leader), 3);
	all_dead();
}

/* Forks and ends, and its child does the same, for ever: a number from /proc is old when it is
 * used. */
static void hop(void)
{
	int i;

	for (i = 0; i < 1000000; i++) {
		pid_t pid = must_fork();

		if (pid > 0)
			_exit(0);
	}
	_exit(0);
}

static void leader_of_a_hopper(void)
{
	if (must_fork() == 0)
		hop();
}

static void a_process_that_forks_away_is_caught(void **state)
{
	(void)state;
	grow(leader_of_a_hopper, 1);
	assert_in_range(ptree_kill(tree.leader), 1, 8);
	all_dead();
}

static void leader_of_a_bush(void)
{
	int i;

	/* Doubles until the kernel or the test says stop. */
	for (i = 0; i < 8; i++)
		must_fork();
}

static void a_tree_that_grows_is_caught(void **state)
{
	(void)state;
	grow(leader_of_a_bush, 20);
	assert_in_range(ptree_kill(tree.leader), 20, 256);
	all_dead();
}

static void on_hangup(int signo)
{
	(void)signo;
	if (write(tree.ready[1], "h", 1) != 1)
		_exit(1);
}

static void group_that_hears_hangup(void)
{
	setpgid(0, 0);
	signal(SIGHUP, on_hangup);
}

static void leader_of_many_groups(void)
{
	int i;

	/* Older than they are by the clock of /proc too. */
	poll(NULL, 0, 30);
	for (i = 0; i < 60; i++)
		branch(group_that_hears_hangup);
}

/* The kernel wakes stopped groups with SIGHUP and SIGCONT when the leader ends before they do. */
static void nobody_wakes_up_while_the_tree_dies(void **state)
{
	char heard[64];

	(void)state;
	grow(leader_of_many_groups, 61);
	assert_int_equal(ptree_kill(tree.leader), 61);
	all_dead();
	fcntl(tree.ready[0], F_SETFL, O_NONBLOCK);
	assert_int_equal(read(tree.ready[0], heard, sizeof(heard)), -1);
}

static void killing_leaves_no_descriptor(void **state)
{
	size_t before = test_fds(0, NULL, 0);

	(void)state;
	assert_int_equal(ptree_kill(0x7ffffffe), 0);
	assert_int_equal(test_fds(0, NULL, 0), before);
}

int main(void)
{
#define TREE(t) cmocka_unit_test_setup_teardown(t, tree_setup, tree_teardown)
	const struct CMUnitTest tests[] = {
		TREE(a_tree_dies_whole),
		TREE(survivors_die_after_the_leader_was_reaped),
		TREE(a_leader_that_is_a_zombie_is_not_counted),
		TREE(others_of_the_same_parent_live_on),
		TREE(what_must_not_be_a_leader_is_refused),
		TREE(names_cannot_hide_a_process),
		TREE(a_process_without_its_first_thread_dies_too),
		TREE(stopped_and_stubborn_ones_die_too),
		TREE(a_process_that_forks_away_is_caught),
		TREE(a_tree_that_grows_is_caught),
		TREE(nobody_wakes_up_while_the_tree_dies),
		TREE(killing_leaves_no_descriptor),
	};
#undef TREE

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
