/*
 * Signalling what a leader has started since a moment. The leader makes one child for each byte it
 * is sent and reports its pid: 'g' one in its group, 's' one in a session of its own, 'i' one that
 * ignores SIGTERM, 'r' one that does so and takes another name on SIGUSR1; 'e' ends it.
 */
#include "boxd/ptree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdint.h>
#include <sys/prctl.h>

#include "os_helpers.h"

static struct {
	int orders[2], reports[2];
	pid_t leader;
} tree;

static void on_usr1(int signo)
{
	pid_t pid = getpid();

	(void)signo;
	prctl(PR_SET_NAME, "renamed");
	if (write(tree.reports[1], &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
}

static void child(char kind)
{
	pid_t pid = getpid();

	if (kind == 's')
		setsid();
	if (kind == 'i' || kind == 'r')
		signal(SIGTERM, SIG_IGN);
	if (kind == 'r')
		signal(SIGUSR1, on_usr1);
	if (write(tree.reports[1], &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	for (;;)
		pause();
}

static void leader(void)
{
	char order;

	setsid();
	while (read(tree.orders[0], &order, 1) == 1 && order != 'e') {
		if (fork() == 0)
			child(order);
	}
	_exit(0);
}

static int setup(void **state)
{
	(void)state;
	if (pipe2(tree.orders, O_CLOEXEC) < 0 || pipe2(tree.reports, O_CLOEXEC) < 0)
		return -1;
	tree.leader = fork();
	if (tree.leader == 0) {
		close(tree.orders[1]);
		leader();
	}
	return tree.leader < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	ptree_kill(tree.leader);
	for (int i = 0; i < 2; i++) {
		close(tree.orders[i]);
		close(tree.reports[i]);
	}
	for (int ms = 0; !test_childless() && ms < TEST_PATIENCE_MS; ms++) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		poll(NULL, 0, 1);
	}
	return test_childless() ? 0 : -1;
}

static pid_t order(char kind)
{
	pid_t pid = 0;

	assert_int_equal(write(tree.orders[1], &kind, 1), 1);
	assert_true(test_read_exact(tree.reports[0], &pid, sizeof(pid)));
	return pid;
}

/* The next process belongs to another tick of the clock. */
static void next_tick(void)
{
	/* The number of the last process is in the lower bits. */
	uint64_t now = ptree_now() >> 22;

	while (ptree_now() >> 22 == now)
		poll(NULL, 0, 1);
}

static bool alive(pid_t pid)
{
	char path[32], state = 'X';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'X';
	fclose(f);
	return state != 'Z' && state != 'X';
}

static void wait_dead(pid_t pid)
{
	for (int ms = 0; alive(pid); ms++) {
		assert_true(ms < TEST_PATIENCE_MS);
		poll(NULL, 0, 1);
	}
}

static void only_what_began_since_is_signalled(void **state)
{
	pid_t old[2] = {order('g'), order('s')};
	uint64_t since = ptree_now();
	pid_t young[2] = {order('g'), order('s')};
	struct ptree_ids ids = {0};

	(void)state;
	assert_int_equal(ptree_signal_since(tree.leader, since, SIGTERM, &ids), 2);
	assert_int_equal(ids.n, 2);
	for (int i = 0; i < 2; i++) {
		wait_dead(young[i]);
		assert_true(alive(old[i]));
	}
	assert_true(alive(tree.leader));
	assert_int_equal(ptree_signal_since(tree.leader, 0, SIGKILL, &ids), 2);
	assert_int_equal(ids.n, 2);
	for (int i = 0; i < 2; i++)
		wait_dead(old[i]);
	assert_true(alive(tree.leader));
	ptree_ids_fini(&ids);
}

static void who_was_seen_is_found_again_and_nobody_else(void **state)
{
	struct ptree_ids ids = {0};
	pid_t stubborn = order('i'), other;

	(void)state;
	assert_int_equal(ptree_signal_since(tree.leader, 0, SIGTERM, &ids), 1);
	assert_int_equal(ptree_signal_since(tree.leader, 0, SIGTERM, &ids), 0);
	assert_int_equal(ids.n, 1);
	next_tick();
	other = order('g');
	assert_true(alive(stubborn));
	assert_int_equal(ptree_signal_ids(&ids, SIGKILL), 1);
	wait_dead(stubborn);
	assert_true(alive(other));
	assert_int_equal(ptree_signal_ids(&ids, SIGKILL), 0);
	/* The same number with another start is another process. */
	ids.id[0].pid = other;
	assert_int_equal(ptree_signal_ids(&ids, SIGKILL), 0);
	assert_true(alive(other));
	ptree_ids_fini(&ids);
}

static void members_are_found_after_the_leader_was_reaped(void **state)
{
	pid_t pid = order('g');
	struct ptree_ids ids = {0};
	char end = 'e';

	(void)state;
	assert_true(ptree_is_reused(tree.leader));
	assert_int_equal(write(tree.orders[1], &end, 1), 1);
	assert_int_equal(waitpid(tree.leader, NULL, 0), tree.leader);
	assert_false(ptree_is_reused(tree.leader));
	assert_int_equal(ptree_signal_since(tree.leader, 0, SIGKILL, &ids), 1);
	wait_dead(pid);
	ptree_ids_fini(&ids);
}

static void nobody_is_signalled_for_who_is_no_leader(void **state)
{
	const pid_t refused[] = {-1, 0, 1, getpid(), getsid(0), getpgrp()};
	struct ptree_ids ids = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(ptree_signal_since(refused[i], 0, 0, &ids), 0);
	assert_int_equal(ids.n, 0);
}

static void another_program_is_told_again(void **state)
{
	struct ptree_ids ids = {0};
	pid_t pid = order('r'), told = 0;

	(void)state;
	assert_int_equal(ptree_signal_since(tree.leader, 0, SIGTERM, &ids), 1);
	assert_int_equal(ptree_signal_since(tree.leader, 0, SIGTERM, &ids), 0);
	kill(pid, SIGUSR1);
	assert_true(test_read_exact(tree.reports[0], &told, sizeof(told)));
	assert_int_equal(ptree_signal_since(tree.leader, 0, SIGTERM, &ids), 1);
	assert_int_equal(ptree_signal_since(tree.leader, 0, SIGTERM, &ids), 0);
	assert_int_equal(ids.n, 1);
	ptree_ids_fini(&ids);
}

static void many_are_remembered(void **state)
{
	struct ptree_ids ids = {0};

	(void)state;
	for (int i = 0; i < 40; i++)
		(void)order(i % 2 == 0 ? 'i' : 'g');
	assert_int_equal(ptree_signal_since(tree.leader, 0, SIGTERM, &ids), 40);
	assert_int_equal(ids.n, 40);
	assert_true(ptree_signal_ids(&ids, SIGKILL) >= 20);
	ptree_ids_fini(&ids);
}

int main(void)
{
#define TREE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TREE(only_what_began_since_is_signalled),
		TREE(who_was_seen_is_found_again_and_nobody_else),
		TREE(members_are_found_after_the_leader_was_reaped),
		TREE(nobody_is_signalled_for_who_is_no_leader),
		TREE(another_program_is_told_again),
		TREE(many_are_remembered),
	};
#undef TREE

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
