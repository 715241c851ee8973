/* pty: who is connected, what he is told and when, and the removal of terminals. */
#include "pty_fixture.h"

/* ---- holding and observing ---- */

static void all_see_and_only_one_holds(void **state)
{
	struct pty *t = rig_pty(&rig, "echo hello; read -r x; exit 5");
	struct screen holder = {0}, observer = {0}, late = {0};
	struct err e = {0};

	(void)state;
	screen_open(&observer, &rig, t, PTY_OBSERVE);
	assert_false(rig_info(t).held);
	assert_false(pty_viewer_holds(observer.viewer));
	screen_open(&holder, &rig, t, PTY_HOLD);
	assert_true(pty_viewer_holds(holder.viewer));
	assert_ptr_equal(pty_viewer_pty(holder.viewer), t);
	assert_true(rig_info(t).held);
	assert_int_equal(rig_info(t).viewers, 2);
	assert_null(pty_attach(t, PTY_HOLD, &screen_callbacks, NULL, &e));
	assert_ptr_equal(e.kind, &ERR_ALREADY_CONNECTED);
	rig_run(t, false);
	screen_wait_for(&holder, "hello\r\n");
	screen_wait_for(&observer, "hello\r\n");
	rig_type(t, "\n");
	screen_wait_exit(&holder);
	screen_wait_exit(&observer);
	/* Who comes after the exit does not hear of it. */
	screen_open(&late, &rig, t, PTY_OBSERVE);
	rig_run_ms(&rig, 20);
	assert_string_equal(holder.order, "E");
	assert_string_equal(observer.order, "E");
	assert_string_equal(late.order, "");
	assert_int_equal(observer.code, 5);
	assert_int_equal(observer.end, holder.end);
	screen_close(&holder);
	assert_false(rig_info(t).held);
	assert_int_equal(rig_info(t).viewers, 2);
	screen_close(&observer);
	screen_close(&late);
	assert_int_equal(rig_info(t).viewers, 0);
}

static void the_hold_is_free_when_its_holder_leaves(void **state)
{
	struct pty *t = rig_pty(&rig, NULL);
	struct screen s = {0};

	(void)state;
	for (int i = 0; i < 3; i++) {
		screen_open(&s, &rig, t, PTY_HOLD);
		screen_close(&s);
	}
}

static void a_take_over_holds_at_once_and_tells_the_other_later(void **state)
{
	struct pty *t = rig_pty(&rig, NULL);
	struct screen first = {0}, second = {0}, observer = {0};

	(void)state;
	screen_open(&observer, &rig, t, PTY_OBSERVE);
	screen_open(&first, &rig, t, PTY_TAKE_OVER); /* from nobody */
	assert_true(pty_viewer_holds(first.viewer));
	screen_open(&second, &rig, t, PTY_TAKE_OVER);
	assert_true(pty_viewer_holds(second.viewer));
	assert_false(pty_viewer_holds(first.viewer));
	assert_int_equal(first.taken, 0);
	assert_true(rig_until(&rig, screen_is_taken, &first));
	rig_run_ms(&rig, 5);
	assert_string_equal(first.order, "T");
	assert_string_equal(second.order, "");
	assert_string_equal(observer.order, "");
	/* He leaves, and does not give up what is not his. */
	screen_close(&first);
	assert_true(rig_info(t).held);
	screen_close(&second);
	screen_close(&observer);
	assert_false(rig_info(t).held);
}

static void who_left_before_he_was_told_is_not_told(void **state)
{
	struct pty *t = rig_pty(&rig, NULL);
	struct screen first = {0}, second = {0};

	(void)state;
	screen_open(&first, &rig, t, PTY_HOLD);
	screen_open(&second, &rig, t, PTY_TAKE_OVER);
	screen_close(&first);
	rig_run_ms(&rig, 5);
	assert_int_equal(first.taken, 0);
	screen_close(&second);
}

/* Two that take it from each other whenever they are told. */
struct game {
	struct pty *pty;
	unsigned left;
};

static void take_back(struct screen *s, char what)
{
	struct game *game = s->arg;

	if (what != 'T' || game->left == 0)
		return;
	game->left--;
	screen_close(s);
	screen_open(s, &rig, game->pty, PTY_TAKE_OVER);
}

static void two_that_take_it_from_each_other_stop_nobody(void **state)
{
	struct game game = {rig_pty(&rig, "echo hello"), 200};
	struct screen a = {.on_told = take_back, .arg = &game};
	struct screen b = {.on_told = take_back, .arg = &game};
	struct screen other = {0};

	(void)state;
	screen_open(&a, &rig, game.pty, PTY_HOLD);
	screen_open(&b, &rig, game.pty, PTY_TAKE_OVER);
	screen_open(&other, &rig, game.pty, PTY_OBSERVE);
	rig_turn(&rig);
	assert_true(game.left > 150 && game.left < 200);
	rig_run(game.pty, false);
	screen_wait_exit(&other);
	screen_close(&a);
	screen_close(&b);
	screen_close(&other);
}

static void viewers_are_limited(void **state)
{
	struct pty *t = rig_pty(&rig, NULL);
	struct screen s[3] = {0};
	struct err e = {0};

	(void)state;
	rig_limit(LIMIT_PTY_VIEWERS, 3);
	for (int i = 0; i < 3; i++)
		screen_open(&s[i], &rig, t, PTY_OBSERVE);
	assert_null(pty_attach(t, PTY_OBSERVE, &screen_callbacks, NULL, &e));
	assert_ptr_equal(e.kind, &ERR_TOO_MANY);
	screen_close(&s[0]);
	screen_open(&s[0], &rig, t, PTY_HOLD);
	for (int i = 0; i < 3; i++)
		screen_close(&s[i]);
}

/* ---- once per shell ---- */

static void every_shell_is_told_of_once(void **state)
{
	struct pty *t = rig_pty(&rig, "exit 1");
	struct screen s = {0};

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	for (unsigned i = 1; i <= 3; i++) {
		rig_run(t, i == 2);
		assert_true(rig_until(&rig, rig_has_ended, t));
		rig_run_ms(&rig, 5);
		assert_int_equal(s.exits, i);
	}
	screen_close(&s);
}

static void start_again(struct screen *s, char what)
{
	if (what == 'E' && s->exits < 3)
		rig_run(s->arg, false);
}

static void it_can_be_started_again_from_the_news_of_its_exit(void **state)
{
	struct pty *t = rig_pty(&rig, "echo x");
	struct screen s = {.on_told = start_again, .arg = t};

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, false);
	while (s.exits < 3)
		rig_run_ms(&rig, 1);
	screen_on_ready(&s);
	assert_string_equal(screen_text(&s), "x\r\nx\r\nx\r\n");
	assert_int_equal(s.end, 9);
	screen_close(&s);
}

/* ---- leaving from inside what one is told ---- */

static void leave_all(struct screen *s, char what)
{
	struct screen *all = s->arg;

	(void)what;
	for (int i = 0; i < 4; i++)
		screen_close(&all[i]);
}

static void leave_first(struct screen *s, char what)
{
	(void)what;
	screen_close(s);
}

static void viewers_may_leave_from_inside_what_they_are_told(void **state)
{
	void (*const rows[])(struct screen * s, char what) = {leave_all, leave_first};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct pty *t = rig_pty(&rig, "exit 0");
		struct screen s[4] = {0};
		unsigned told = 0;

		for (int k = 0; k < 4; k++) {
			s[k].on_told = rows[i];
			s[k].arg = s;
			screen_open(&s[k], &rig, t, k == 2 ? PTY_HOLD : PTY_OBSERVE);
		}
		rig_run(t, false);
		assert_true(rig_until(&rig, rig_has_ended, t));
		rig_run_ms(&rig, 5);
		for (int k = 0; k < 4; k++)
			told += s[k].exits;
		assert_int_equal(told, i == 0 ? 1 : 4);
		assert_int_equal(rig_info(t).viewers, 0);
	}
}

/* ---- deleting ---- */

static void who_looks_at_a_deleted_one_hears_the_end_and_then_that(void **state)
{
	struct pty *t = rig_pty(&rig, "echo hello; sleep 60");
	struct screen holder = {0}, observer = {0};
	char id[64];
	pid_t pid;
	struct err e = {0};

	(void)state;
	screen_open(&holder, &rig, t, PTY_HOLD);
	screen_open(&observer, &rig, t, PTY_OBSERVE);
	rig_run(t, false);
	screen_wait_for(&holder, "hello\r\n");
	pid = rig_info(t).pid;
	snprintf(id, sizeof(id), "%s", rig_info(t).id);
	assert_ptr_equal(pty_find(rig.ptys, id, strlen(id)), t);
	pty_delete(t);
	assert_null(pty_find(rig.ptys, id, strlen(id)));
	assert_int_equal(ptys_count(rig.ptys), 0);
	pty_delete(t); /* again: nothing */
	assert_int_equal(pty_start(t, false, &e), -1);
	assert_ptr_equal(e.kind, &ERR_NO_CONTEXT);
	e = (struct err){0};
	assert_null(pty_attach(t, PTY_OBSERVE, &screen_callbacks, NULL, &e));
	assert_ptr_equal(e.kind, &ERR_NO_CONTEXT);
	assert_true(rig_until(&rig, screen_is_removed, &holder));
	assert_true(rig_until(&rig, screen_is_removed, &observer));
	assert_string_equal(holder.order, "ER");
	assert_string_equal(observer.order, "ER");
	assert_int_equal(holder.code, -1);
	assert_true(rig_pid_is_gone(&pid));
	assert_null(pty_viewer_pty(holder.viewer));
	rig_run_ms(&rig, 5);
	/* What it wrote stays for those who still read it. */
	screen_on_ready(&holder);
	assert_string_equal(screen_text(&holder), "hello\r\n");
	assert_int_equal(holder.end, 7);
	screen_close(&holder);
	rig_run_ms(&rig, 5);
	assert_false(observer.gone);
	pty_detach(observer.viewer);
	observer.viewer = NULL;
	rig_run_ms(&rig, 5);
	assert_true(observer.gone);
	screen_close(&observer);
}

static void one_that_does_not_run_is_deleted_without_an_exit(void **state)
{
	struct pty *never = rig_pty(&rig, "exit 0"), *ended = rig_pty(&rig, "exit 0");
	struct screen s[2] = {0};

	(void)state;
	screen_open(&s[0], &rig, never, PTY_HOLD);
	rig_run(ended, false);
	assert_true(rig_until(&rig, rig_has_ended, ended));
	screen_open(&s[1], &rig, ended, PTY_HOLD);
	pty_delete(never);
	pty_delete(ended);
	assert_int_equal(s[0].removed + s[1].removed, 0); /* not from inside */
	for (int i = 0; i < 2; i++) {
		assert_true(rig_until(&rig, screen_is_removed, &s[i]));
		assert_string_equal(s[i].order, "R");
		screen_close(&s[i]);
	}
}

/* Rows: what runs in it, and prints the pids that must be gone. */
static void all_that_a_shell_started_is_killed(void **state)
{
	static const struct {
		const char *command;
		bool pipes, ends;
	} rows[] = {
		{"trap '' HUP TERM INT; echo pid=$$; while :; do sleep 1; done", false, false},
		{"setsid sleep 60 & echo pid=$!; wait", false, false},
		{"set -m; nohup sleep 60 >/dev/null & echo pid=$!; wait", false, false},
		{"setsid sleep 60 & echo pid=$!; wait", true, false},
		/* The shell has ended, and what it left in its session is found all the same. */
		{"trap '' HUP; sleep 60 </dev/null >/dev/null & echo pid=$!", false, true},
		{"set -m; trap '' HUP; sleep 60 & echo pid=$!", false, true},
		{"sleep 60 & echo pid=$!", true, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pty *t = rig_pty(&rig, rows[i].command);
		struct screen s = {0};
		pid_t pid;

		print_message("  %s\n", rows[i].command);
		screen_open(&s, &rig, t, PTY_HOLD);
		rig_run(t, rows[i].pipes);
		pid = screen_number(&s, "pid=");
		if (rows[i].ends) {
			screen_wait_exit(&s);
			rig_run_ms(&rig, 20);
		}
		assert_false(rig_pid_is_gone(&pid)); /* left alone by the exit */
		pty_delete(t);
		assert_true(rig_until(&rig, screen_is_removed, &s));
		assert_string_equal(s.order, "ER");
		assert_true(rig_until(&rig, rig_pid_is_gone, &pid));
		screen_close(&s);
	}
}

static void delete_it(struct screen *s, char what)
{
	(void)what;
	pty_delete(s->arg);
}

static void delete_and_leave(struct screen *s, char what)
{
	(void)what;
	pty_delete(s->arg);
	screen_close(s);
}

static void it_may_be_deleted_from_inside_what_its_viewers_are_told(void **state)
{
	void (*const rows[])(struct screen * s, char what) = {delete_it, delete_and_leave};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct pty *t = rig_pty(&rig, "exit 0");
		struct screen a = {.on_told = rows[i], .arg = t}, b = {0};

		screen_open(&a, &rig, t, PTY_HOLD);
		screen_open(&b, &rig, t, PTY_OBSERVE);
		rig_run(t, i == 1);
		assert_true(rig_until(&rig, screen_is_removed, &b));
		assert_string_equal(b.order, "ER");
		assert_int_equal(ptys_count(rig.ptys), 0);
		a.on_told = NULL;
		if (i == 0) {
			assert_true(rig_until(&rig, screen_is_removed, &a));
			screen_close(&a);
		}
		screen_close(&b);
	}
}

static bool has_output(void *arg)
{
	return outhub_total(pty_hub(arg)) > 200000;
}

static void it_may_be_deleted_while_it_floods(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct pty *t = rig_pty(
			&rig, i < 2 ? "exec cat /dev/zero" : "cat /dev/zero & cat /dev/zero");
		struct screen s = {0};

		screen_open(&s, &rig, t, PTY_HOLD);
		rig_run(t, i % 2 == 1);
		assert_true(rig_until(&rig, has_output, t));
		pty_delete(t);
		assert_true(rig_until(&rig, screen_is_removed, &s));
		assert_string_equal(s.order, "ER");
		assert_int_equal(s.code, -1);
		screen_close(&s);
	}
}

/* At every moment of a short life, with and without somebody who looks. */
static void it_may_be_deleted_at_any_moment(void **state)
{
	(void)state;
	for (int turns = 0; turns < 40; turns++) {
		struct pty *t = rig_pty(&rig, "echo x & echo y");
		struct screen s = {0};

		if (turns % 2 == 0)
			screen_open(&s, &rig, t, PTY_HOLD);
		rig_run(t, turns % 4 >= 2);
		for (int i = 0; i < turns / 4; i++)
			rig_turn(&rig);
		pty_delete(t);
		if (turns % 2 == 0) {
			assert_true(rig_until(&rig, screen_is_removed, &s));
			assert_int_equal(s.exits, 1);
			assert_int_equal(s.order[strlen(s.order) - 1], 'R');
			screen_close(&s);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define PTY_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
		PTY_TEST(all_see_and_only_one_holds),
		PTY_TEST(the_hold_is_free_when_its_holder_leaves),
		PTY_TEST(a_take_over_holds_at_once_and_tells_the_other_later),
		PTY_TEST(who_left_before_he_was_told_is_not_told),
		PTY_TEST(two_that_take_it_from_each_other_stop_nobody),
		PTY_TEST(viewers_are_limited),
		PTY_TEST(every_shell_is_told_of_once),
		PTY_TEST(it_can_be_started_again_from_the_news_of_its_exit),
		PTY_TEST(viewers_may_leave_from_inside_what_they_are_told),
		PTY_TEST(who_looks_at_a_deleted_one_hears_the_end_and_then_that),
		PTY_TEST(one_that_does_not_run_is_deleted_without_an_exit),
		PTY_TEST(all_that_a_shell_started_is_killed),
		PTY_TEST(it_may_be_deleted_from_inside_what_its_viewers_are_told),
		PTY_TEST(it_may_be_deleted_while_it_floods),
		PTY_TEST(it_may_be_deleted_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
