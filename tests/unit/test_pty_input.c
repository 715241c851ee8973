/* pty: what is typed, the end of it, and programs that do not read it. */
#include "pty_fixture.h"

#include <fcntl.h>

static void control_c_interrupts_the_foreground(void **state)
{
	struct pty *t = rig_pty(&rig, NULL);
	struct screen s = {0};

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, false);
	rig_type(t, "sh -c 'echo rea''dy; exec sleep 60'\n");
	screen_wait_for(&s, "ready\r\n");
	rig_type(t, "\003");
	rig_type(t, "echo g''ot $?\n");
	screen_wait_for(&s, "got 130");
	rig_type(t, "\004");
	screen_wait_exit(&s);
	screen_close(&s);
}

/* ---- the end of input ---- */

static void the_end_of_input_is_the_key_that_is_in_effect(void **state)
{
	static const struct {
		const char *setup, *reads, *out;
	} rows[] = {
		{"stty -echo", "cat; echo done", "ready\r\nabc\r\ndone\r\n"},
		{"stty -echo eof ^B", "cat; echo done", "ready\r\nabc\r\ndone\r\n"},
		{"stty -echo eof undef", "head -c 5 | od -An -tx1", "ready\r\n 61 62 63 0a 04\r\n"},
		{"stty -echo raw; stty opost onlcr", "head -c 5 | od -An -tx1",
			"ready\r\n 61 62 63 0a 04\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char command[256];
		struct screen s = {0};
		struct err e = {0};
		struct pty *t;

		print_message("  %s\n", rows[i].setup);
		snprintf(command, sizeof(command), "%s; echo ready; %s", rows[i].setup,
			rows[i].reads);
		t = rig_pty(&rig, command);
		screen_open(&s, &rig, t, PTY_HOLD);
		rig_run(t, false);
		screen_wait_for(&s, "ready\r\n");
		rig_type(t, "abc\n");
		assert_int_equal(pty_eof(t, &e), 0);
		if (strstr(rows[i].reads, "od") != NULL)
			rig_type(t, "\n");
		screen_wait_exit(&s);
		assert_string_equal(screen_text(&s), rows[i].out);
		screen_close(&s);
	}
}

static void the_end_of_input_closes_the_pipe_after_what_is_queued(void **state)
{
	static char big[300000];
	struct pty *t = rig_pty(&rig, "sleep 0.1; wc -c; echo done");
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	memset(big, 'x', sizeof(big));
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, true);
	assert_int_equal(pty_input(t, big, sizeof(big), &e), 0);
	assert_int_equal(pty_eof(t, &e), 0);
	/* No more after the end. */
	assert_int_equal(pty_input(t, "x", 1, &e), -1);
	assert_ptr_equal(e.kind, &ERR_NOT_RUNNING);
	e = (struct err){0};
	assert_int_equal(pty_eof(t, &e), -1);
	assert_ptr_equal(e.kind, &ERR_NOT_RUNNING);
	screen_wait_exit(&s);
	assert_string_equal(screen_text(&s), "300000\ndone\n");
	assert_int_equal(s.rooms, 0); /* it was never full */
	screen_close(&s);
}

static void the_end_of_input_ends_a_shell_on_pipes(void **state)
{
	struct pty *t = rig_pty(&rig, NULL);
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, true);
	rig_type(t, "echo one; exit_code=7\n");
	rig_type(t, "(exit $exit_code)\n");
	assert_int_equal(pty_eof(t, &e), 0);
	screen_wait_exit(&s);
	assert_string_equal(screen_text(&s), "one\n");
	assert_int_equal(s.code, 7);
	screen_close(&s);
}

static void what_does_not_run_takes_no_input(void **state)
{
	struct pty *t = rig_pty(&rig, "exit");
	struct err e;

	(void)state;
	for (int i = 0; i < 2; i++) {
		e = (struct err){0};
		assert_int_equal(pty_input(t, "x", 1, &e), -1);
		assert_ptr_equal(e.kind, &ERR_NOT_RUNNING);
		e = (struct err){0};
		assert_int_equal(pty_eof(t, &e), -1);
		assert_ptr_equal(e.kind, &ERR_NOT_RUNNING);
		assert_int_equal(pty_input_room(t), limit_size(LIMIT_PTY_INPUT_BYTES));
		rig_run(t, i == 1);
		assert_true(rig_until(&rig, rig_has_ended, t));
	}
}

/* ---- pipes ---- */

static void on_pipes_the_streams_are_two_and_there_is_no_terminal(void **state)
{
	struct pty *t = rig_pty(&rig,
		"echo out; echo err >&2; test -t 0 || echo no; (: </dev/tty) 2>/dev/null || "
		"echo none; cat; test $(ps -o sid= -p $$) = $$ && echo leads; env | grep -c "
		"^TERM=; exit 3");
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, true);
	assert_true(rig_info(t).pipe_mode);
	assert_int_equal(pty_resize(t, 90, 30, &e), 0); /* remembered */
	assert_int_equal(rig_info(t).cols, 90);
	rig_type(t, "typed\n");
	assert_int_equal(pty_eof(t, &e), 0);
	screen_wait_exit(&s);
	assert_string_equal(screen_text(&s), "out\nno\nnone\ntyped\nleads\n0\n");
	assert_string_equal(screen_text_of(&s, OUTHUB_STDERR), "err\n");
	assert_int_equal(s.code, 3);
	screen_close(&s);
}

static void a_program_that_closed_its_stdin_is_no_reason_to_wait(void **state)
{
	struct pty *t = rig_pty(&rig, "exec 0<&-; echo ready; sleep 60");
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, true);
	screen_wait_for(&s, "ready\n");
	rig_type(t, "nobody reads this\n");
	assert_int_equal(pty_input(t, "x", 1, &e), -1);
	assert_ptr_equal(e.kind, &ERR_NOT_RUNNING);
	assert_int_equal(pty_input_room(t), limit_size(LIMIT_PTY_INPUT_BYTES));
	assert_true(rig_info(t).running);
	screen_close(&s);
}

/* The same with input that waited for it. */
static void who_waits_for_a_closed_stdin_is_told(void **state)
{
	static char big[65536];
	struct pty *t = rig_pty(&rig,
		"echo ready; while [ ! -e pty_go ]; do sleep 0.01; done; exec 0<&-; sleep 60");
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	rig_limit(LIMIT_PTY_INPUT_BYTES, 65536);
	unlink("pty_go");
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, true);
	screen_wait_for(&s, "ready\n");
	while (pty_input(t, big, pty_input_room(t), &e) == 0 && pty_input_room(t) > 0)
		;
	assert_int_equal(pty_input_room(t), 0);
	close(open("pty_go", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	while (s.rooms == 0)
		rig_run_ms(&rig, 1);
	assert_int_equal(pty_input(t, "x", 1, &e), -1);
	assert_ptr_equal(e.kind, &ERR_NOT_RUNNING);
	unlink("pty_go");
	screen_close(&s);
}

/* ---- programs that do not read ---- */

static uint8_t typed[400000];

static void fill_typed(void)
{
	uint32_t random = 1;

	for (size_t i = 0; i < sizeof(typed); i++) {
		random = random * 1664525u + 1013904223u;
		typed[i] = (uint8_t)(random >> 24);
	}
}

struct typist {
	struct pty *pty;
	size_t at;
	size_t refused;
};

/* Types as much as there is room for. */
static void type_more(struct typist *ty)
{
	size_t room;

	while (ty->at < sizeof(typed) && (room = pty_input_room(ty->pty)) > 0) {
		size_t left = sizeof(typed) - ty->at, n = room < left ? room : left;
		struct err e = {0};

		assert_int_equal(pty_input(ty->pty, typed + ty->at, n, &e), 0);
		ty->at += n;
	}
}

static void typist_on_told(struct screen *s, char what)
{
	if (what == 'I')
		type_more(s->arg);
}

static void check_file(const char *path)
{
	static uint8_t got[sizeof(typed) + 1];
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	assert_int_equal(fread(got, 1, sizeof(got), f), sizeof(typed));
	fclose(f);
	assert_memory_equal(got, typed, sizeof(typed));
}

static void input_that_nobody_reads_waits_and_none_of_it_is_lost(void **state)
{
	(void)state;
	fill_typed();
	for (int pipes = 0; pipes < 2; pipes++) {
		struct pty *t = rig_pty(&rig,
			"[ -t 0 ] && stty raw -echo; echo ready; "
			"while [ ! -e pty_go ]; do sleep 0.01; done; exec head -c 400000 >pty_got");
		struct typist ty = {.pty = t};
		struct screen s = {.on_told = typist_on_told, .arg = &ty};
		struct err e = {0};

		unlink("pty_go");
		rig_limit(LIMIT_PTY_INPUT_BYTES, 65536);
		screen_open(&s, &rig, t, PTY_HOLD);
		rig_run(t, pipes == 1);
		screen_wait_for(&s, "ready");
		type_more(&ty);
		assert_int_equal(pty_input_room(t), 0);
		/* The kernel has some, and the limit is what waits here. */
		assert_true(ty.at > 65536 && ty.at < 65536 + 70000);
		assert_int_equal(pty_input(t, "x", 1, &e), -1);
		assert_ptr_equal(e.kind, &ERR_TOO_MANY);
		rig_run_ms(&rig, 30);
		assert_int_equal(s.rooms, 0);
		close(open("pty_go", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
		screen_wait_exit(&s);
		assert_true(s.rooms > 0);
		assert_int_equal(s.code, 0);
		check_file("pty_got");
		unlink("pty_go");
		unlink("pty_got");
		screen_close(&s);
	}
}

static void input_up_to_the_limit_is_taken_at_once_or_not_at_all(void **state)
{
	struct pty *t = rig_pty(&rig, "stty raw -echo; echo ready; sleep 60");
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	rig_limit(LIMIT_PTY_INPUT_BYTES, 65536);
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, false);
	screen_wait_for(&s, "ready");
	assert_int_equal(pty_input(t, typed, 65537, &e), -1);
	assert_ptr_equal(e.kind, &ERR_TOO_MANY);
	assert_int_equal(pty_input_room(t), 65536);
	e = (struct err){0};
	assert_int_equal(pty_input(t, typed, 65536, &e), 0);
	assert_true(pty_input_room(t) > 0);
	assert_int_equal(pty_input(t, typed, pty_input_room(t), &e), 0);
	assert_int_equal(pty_input_room(t), 0);
	/* The end of the shell is the end of what waits. */
	assert_int_equal(pty_signal(t, SIGKILL, &e), 0);
	screen_wait_exit(&s);
	assert_int_equal(pty_input_room(t), 65536);
	screen_close(&s);
}

/* One that refused more than the half that is free then has to be told again. */
static void who_needs_more_than_half_is_told_until_it_fits(void **state)
{
	struct pty *t = rig_pty(&rig,
		"stty raw -echo; echo ready; "
		"while [ ! -e pty_go ]; do sleep 0.01; done; exec cat >/dev/null");
	struct screen s = {0};
	struct err e = {0};

	(void)state;
	rig_limit(LIMIT_PTY_INPUT_BYTES, 65536);
	unlink("pty_go");
	screen_open(&s, &rig, t, PTY_HOLD);
	rig_run(t, false);
	screen_wait_for(&s, "ready");
	assert_int_equal(pty_input(t, typed, 65536, &e), 0);
	assert_int_equal(pty_input(t, typed, 65536, &e), -1);
	e = (struct err){0};
	close(open("pty_go", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	while (pty_input(t, typed, 65536, &e) < 0) {
		unsigned rooms = s.rooms;
		int64_t patience = clock_mono_ms() + TEST_PATIENCE_MS;

		assert_ptr_equal(e.kind, &ERR_TOO_MANY);
		e = (struct err){0};
		while (s.rooms == rooms && clock_mono_ms() < patience)
			rig_turn(&rig);
		assert_true(s.rooms > rooms);
	}
	unlink("pty_go");
	screen_close(&s);
}

/* A loop that types and reads at the same time: nothing stands still, nothing is lost. */
static void much_input_and_much_output_at_once(void **state)
{
	(void)state;
	fill_typed();
	for (int pipes = 0; pipes < 2; pipes++) {
		struct pty *t = rig_pty(
			&rig, "[ -t 0 ] && stty raw -echo; echo ready; exec head -c 400000");
		struct typist ty = {.pty = t};
		struct screen s = {.on_told = typist_on_told, .arg = &ty};
		size_t skip;

		screen_open(&s, &rig, t, PTY_HOLD);
		rig_run(t, pipes == 1);
		screen_wait_for(&s, "ready\n");
		skip = buf_len(&s.out[OUTHUB_STDOUT]);
		type_more(&ty);
		screen_wait_exit(&s);
		assert_int_equal(buf_len(&s.out[OUTHUB_STDOUT]), skip + sizeof(typed));
		assert_memory_equal(buf_data(&s.out[OUTHUB_STDOUT]) + skip, typed, sizeof(typed));
		screen_close(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define PTY_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
		PTY_TEST(control_c_interrupts_the_foreground),
		PTY_TEST(the_end_of_input_is_the_key_that_is_in_effect),
		PTY_TEST(the_end_of_input_closes_the_pipe_after_what_is_queued),
		PTY_TEST(the_end_of_input_ends_a_shell_on_pipes),
		PTY_TEST(what_does_not_run_takes_no_input),
		PTY_TEST(on_pipes_the_streams_are_two_and_there_is_no_terminal),
		PTY_TEST(a_program_that_closed_its_stdin_is_no_reason_to_wait),
		PTY_TEST(who_waits_for_a_closed_stdin_is_told),
		PTY_TEST(input_that_nobody_reads_waits_and_none_of_it_is_lost),
		PTY_TEST(input_up_to_the_limit_is_taken_at_once_or_not_at_all),
		PTY_TEST(who_needs_more_than_half_is_told_until_it_fits),
		PTY_TEST(much_input_and_much_output_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
