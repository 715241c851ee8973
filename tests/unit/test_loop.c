/* The turns of the loop: what runs when, what is cancelled, and that bulk work delays nobody. */
#include "boxd/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "boxd/clock.h"
#include "boxd/limits.h"

/* What happened, in order, one letter each. */
struct story {
	struct loop *loop;
	char text[256];
	size_t len;
	struct loop_deferred a, b, c;
	struct event *ev;
};

static void story_add(struct story *s, char c)
{
	if (s->len + 1 < sizeof(s->text))
		s->text[s->len++] = c;
}

static int story_setup(void **state)
{
	struct err e = {0};
	struct story *s = test_calloc(1, sizeof(*s));

	s->loop = loop_new(&e);
	assert_non_null(s->loop);
	*state = s;
	return 0;
}

static int story_teardown(void **state)
{
	struct story *s = *state;

	if (s->ev != NULL)
		event_free(s->ev);
	loop_free(s->loop);
	clock_fake(-1, -1);
	test_free(s);
	return 0;
}

static void on_a(void *arg)
{
	story_add(arg, 'a');
}

static void on_b(void *arg)
{
	story_add(arg, 'b');
}

static void on_stop(void *arg)
{
	struct story *s = arg;

	story_add(s, 's');
	loop_stop(s->loop);
}

static void on_a_again(void *arg)
{
	struct story *s = arg;

	story_add(s, 'a');
	if (s->len < 10)
		loop_defer(s->loop, &s->a);
	else
		loop_stop(s->loop);
}

/* An event that is ready in every turn. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct story *s = arg;

	(void)fd;
	(void)what;
	story_add(s, 'T');
	event_add(s->ev, &(struct timeval){0, 0});
}

static void story_mark_turns(struct story *s)
{
	s->ev = event_new(loop_base(s->loop), -1, 0, on_turn, s);
	assert_non_null(s->ev);
	event_add(s->ev, &(struct timeval){0, 0});
}

static void on_turn_schedules(evutil_socket_t fd, short what, void *arg)
{
	struct story *s = arg;

	(void)fd;
	(void)what;
	loop_defer(s->loop, &s->b);
	loop_defer(s->loop, &s->a);
	loop_defer(s->loop, &s->b);
	loop_defer(s->loop, &s->c);
	story_add(s, 'T');
}

static void deferred_calls_run_once_in_order_after_the_callback(void **state)
{
	struct story *s = *state;

	loop_deferred_init(&s->a, on_a, s);
	loop_deferred_init(&s->b, on_b, s);
	loop_deferred_init(&s->c, on_stop, s);
	s->ev = event_new(loop_base(s->loop), -1, 0, on_turn_schedules, s);
	event_active(s->ev, EV_TIMEOUT, 0);
	assert_int_equal(loop_run(s->loop), 0);
	assert_string_equal(s->text, "Tbas");
	assert_false(s->a.queued);
}

static void a_call_scheduled_in_the_deferred_phase_waits_for_the_next_turn(void **state)
{
	struct story *s = *state;

	loop_deferred_init(&s->a, on_a_again, s);
	loop_defer(s->loop, &s->a);
	story_mark_turns(s);
	assert_int_equal(loop_run(s->loop), 0);
	assert_string_equal(s->text, "TaTaTaTaTa");
}

static void on_never(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	story_add(arg, '!');
}

static void a_call_that_is_due_does_not_wait_for_an_event(void **state)
{
	struct story *s = *state;
	int p[2];

	assert_int_equal(pipe(p), 0);
	s->ev = event_new(loop_base(s->loop), p[0], EV_READ, on_never, s);
	event_add(s->ev, NULL);
	loop_deferred_init(&s->a, on_a_again, s);
	loop_defer(s->loop, &s->a);
	alarm(20);
	assert_int_equal(loop_run(s->loop), 0);
	alarm(0);
	assert_string_equal(s->text, "aaaaaaaaaa");
	event_del(s->ev);
	close(p[0]);
	close(p[1]);
}

static void on_cancel_b(void *arg)
{
	struct story *s = arg;

	story_add(s, 'x');
	loop_defer_cancel(s->loop, &s->b);
	loop_defer_cancel(s->loop, &s->b);
}

static void a_call_cancels_another_of_the_same_phase(void **state)
{
	struct story *s = *state;

	loop_deferred_init(&s->a, on_cancel_b, s);
	loop_deferred_init(&s->b, on_b, s);
	loop_deferred_init(&s->c, on_stop, s);
	loop_defer(s->loop, &s->a);
	loop_defer(s->loop, &s->b);
	loop_defer(s->loop, &s->c);
	assert_int_equal(loop_run(s->loop), 0);
	assert_string_equal(s->text, "xs");
	assert_false(s->b.queued);
}

static void the_last_call_of_a_queue_can_be_cancelled(void **state)
{
	struct story *s = *state;

	loop_deferred_init(&s->a, on_a, s);
	loop_deferred_init(&s->b, on_b, s);
	loop_defer(s->loop, &s->b);
	loop_defer_cancel(s->loop, &s->b);
	loop_defer_bulk(s->loop, &s->b);
	loop_defer_cancel(s->loop, &s->b);
	loop_defer(s->loop, &s->a);
	assert_int_equal(loop_run(s->loop), 0);
	assert_string_equal(s->text, "a");
}

static void on_free_self(void *arg)
{
	struct loop_deferred *d = arg;

	test_free(d);
}

static void freeing_the_loop_runs_what_is_deferred(void **state)
{
	struct err e = {0};
	struct loop *l = loop_new(&e);
	struct loop_deferred *d = test_calloc(1, sizeof(*d));

	(void)state;
	assert_non_null(l);
	loop_deferred_init(d, on_free_self, d);
	loop_defer(l, d);
	loop_free(l); /* cmocka reports the block otherwise */
	loop_free(NULL);
}

static void a_loop_with_nothing_left_ends(void **state)
{
	struct story *s = *state;

	assert_int_equal(loop_run(s->loop), 0);
	loop_deferred_init(&s->a, on_a, s);
	loop_deferred_init(&s->b, on_b, s);
	loop_defer(s->loop, &s->a);
	loop_defer_bulk(s->loop, &s->b);
	assert_int_equal(loop_run(s->loop), 0);
	assert_string_equal(s->text, "ba");
}

static void on_signal(int signo, void *arg)
{
	struct story *s = arg;

	story_add(s, signo == SIGUSR1 ? '1' : '2');
	loop_stop(s->loop);
}

static bool is_blocked(int signo)
{
	sigset_t now;

	assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &now), 0);
	return sigismember(&now, signo) == 1;
}

static void a_signal_is_a_callback_even_if_it_was_ignored(void **state)
{
	struct story *s = *state;
	struct err e = {0};

	signal(SIGUSR1, SIG_IGN);
	assert_int_equal(loop_on_signal(s->loop, SIGUSR1, on_signal, s, &e), 0);
	assert_int_equal(loop_on_signal(s->loop, SIGUSR2, on_signal, s, &e), 0);
	kill(getpid(), SIGUSR1);
	assert_int_equal(loop_run(s->loop), 0);
	assert_string_equal(s->text, "1");
	kill(getpid(), SIGUSR2);
	assert_int_equal(loop_run(s->loop), 0);
	assert_string_equal(s->text, "12");
	loop_off_signal(s->loop, SIGUSR1, on_signal, NULL); /* no such one */
	loop_off_signal(s->loop, SIGUSR1, on_signal, s);
	loop_off_signal(s->loop, SIGUSR1, on_signal, s);
	signal(SIGUSR1, SIG_DFL);
	assert_false(is_blocked(SIGUSR1));
	assert_true(is_blocked(SIGUSR2));
}

static void a_signal_with_two_watchers_stays_until_the_last_is_gone(void **state)
{
	struct story *s = *state;
	struct err e = {0};

	assert_int_equal(loop_on_signal(s->loop, SIGUSR1, on_signal, s, &e), 0);
	assert_int_equal(loop_on_signal(s->loop, SIGUSR1, on_signal, s, &e), 0);
	kill(getpid(), SIGUSR1);
	assert_int_equal(loop_run(s->loop), 0);
	assert_string_equal(s->text, "11");
	loop_off_signal(s->loop, SIGUSR1, on_signal, s);
	assert_true(is_blocked(SIGUSR1));
	loop_off_signal(s->loop, SIGUSR1, on_signal, s);
	assert_false(is_blocked(SIGUSR1));
}

static void freeing_the_loop_leaves_no_signal_blocked(void **state)
{
	struct err e = {0};
	struct loop *l = loop_new(&e);

	(void)state;
	assert_non_null(l);
	assert_int_equal(loop_on_signal(l, SIGUSR1, on_signal, NULL, &e), 0);
	assert_true(is_blocked(SIGUSR1));
	loop_free(l);
	assert_false(is_blocked(SIGUSR1));
}

static void a_write_to_a_closed_pipe_is_an_error_and_no_death(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	close(p[0]);
	assert_int_equal(write(p[1], "x", 1), -1);
	close(p[1]);
}

/* A bulk source that always has more, each piece 500 us of the fake clock. */
struct source {
	struct story *story;
	struct loop_deferred d;
	int pieces;
};

static int64_t fake_now_us;
static int bulk_total;

static void on_bulk(void *arg)
{
	struct source *src = arg;

	src->pieces++;
	fake_now_us += 500;
	clock_fake(fake_now_us, 0);
	story_add(src->story, 'B');
	if (++bulk_total < 1000)
		loop_defer_bulk(src->story->loop, &src->d);
	else
		loop_stop(src->story->loop);
}

static void bulk_work_takes_turns_and_lets_events_through(void **state)
{
	struct story *s = *state;
	struct source src[50];
	size_t i;

	fake_now_us = 1000000;
	bulk_total = 0;
	clock_fake(fake_now_us, 0);
	for (i = 0; i < 50; i++) {
		src[i] = (struct source){.story = s};
		loop_deferred_init(&src[i].d, on_bulk, &src[i]);
		loop_defer_bulk(s->loop, &src[i].d);
	}
	story_mark_turns(s);
	assert_int_equal(loop_run(s->loop), 0);
	/* 2 ms of work between two turns, however many sources there are. */
	assert_memory_equal(s->text, "TBBBBTBBBBTBBBBT", 16);
	for (i = 0; i < 50; i++)
		assert_in_range(src[i].pieces, 19, 21);
	for (i = 0; i < 50; i++)
		loop_defer_cancel(s->loop, &src[i].d);
}

static void one_bulk_call_at_least_runs_in_a_turn(void **state)
{
	struct story *s = *state;
	struct source src = {.story = s};

	/* A clock that stands still never ends the budget: the mark in the queue has to. */
	clock_fake(1000000, 0);
	fake_now_us = 1000000 - 500;
	bulk_total = 990;
	loop_deferred_init(&src.d, on_bulk, &src);
	loop_defer_bulk(s->loop, &src.d);
	story_mark_turns(s);
	assert_int_equal(loop_run(s->loop), 0);
	assert_memory_equal(s->text, "TBTBTB", 6);
	assert_int_equal(src.pieces, 10);
}

static void *ask_thread(void *arg)
{
	return loop_on_thread(arg) ? arg : NULL;
}

struct ticking {
	struct story *story;
	struct loop_timer *timer;
};

static void on_tick(void *arg)
{
	struct ticking *t = arg;

	story_add(t->story, 't');
	if (strlen(t->story->text) < 3)
		return;
	loop_timer_free(t->timer);
	loop_stop(t->story->loop);
}

static void a_timer_comes_again_until_it_is_freed(void **state)
{
	struct ticking t = {.story = *state};
	int64_t before = clock_mono_ms();

	t.timer = loop_timer_new(t.story->loop, 20, on_tick, &t);
	assert_non_null(t.timer);
	assert_int_equal(loop_run(t.story->loop), 0);
	assert_string_equal(t.story->text, "ttt");
	assert_true(clock_mono_ms() - before >= 50); /* the loop's clock is coarse */
	/* It is gone: there is nothing left to wait for. */
	assert_int_equal(loop_run(t.story->loop), 0);
	assert_string_equal(t.story->text, "ttt");
	loop_timer_free(NULL);
}

static void only_the_thread_that_made_it_is_the_loops(void **state)
{
	struct story *s = *state;
	pthread_t t;
	void *answer = s;

	assert_true(loop_on_thread(s->loop));
	assert_int_equal(pthread_create(&t, NULL, ask_thread, s->loop), 0);
	pthread_join(t, &answer);
	assert_null(answer);
}

static void the_scratch_buffer_has_the_size_of_a_read(void **state)
{
	struct story *s = *state;
	size_t n = 0;
	uint8_t *p = loop_scratch(s->loop, &n);

	assert_int_equal(n, limit_size(LIMIT_PROC_READ_BYTES));
	memset(p, 1, n);
}

int main(void)
{
#define STORY(t) cmocka_unit_test_setup_teardown(t, story_setup, story_teardown)
	const struct CMUnitTest tests[] = {
		STORY(deferred_calls_run_once_in_order_after_the_callback),
		STORY(a_call_scheduled_in_the_deferred_phase_waits_for_the_next_turn),
		STORY(a_call_that_is_due_does_not_wait_for_an_event),
		STORY(a_call_cancels_another_of_the_same_phase),
		STORY(the_last_call_of_a_queue_can_be_cancelled),
		cmocka_unit_test(freeing_the_loop_runs_what_is_deferred),
		STORY(a_loop_with_nothing_left_ends),
		STORY(a_signal_is_a_callback_even_if_it_was_ignored),
		STORY(a_signal_with_two_watchers_stays_until_the_last_is_gone),
		cmocka_unit_test(freeing_the_loop_leaves_no_signal_blocked),
		STORY(a_write_to_a_closed_pipe_is_an_error_and_no_death),
		STORY(bulk_work_takes_turns_and_lets_events_through),
		STORY(one_bulk_call_at_least_runs_in_a_turn),
		STORY(a_timer_comes_again_until_it_is_freed),
		STORY(only_the_thread_that_made_it_is_the_loops),
		STORY(the_scratch_buffer_has_the_size_of_a_read),
	};
#undef STORY

	return cmocka_run_group_tests(tests, NULL, NULL);
}
