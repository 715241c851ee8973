/*
 * Control messages of a terminal. The oracle: each kind carries what it promises and nothing else
 * (a signal is one of the ten, a size is never 0, input is a string of the message); a message that
 * is written back as its kind says is understood the same; and two numbers from the input, put into
 * a well-formed resize, come out as their lower 16 bits.
 */
#include <signal.h>
#include <string.h>

#include "../src/api/execd/pty_internal.h"
#include "boxd/json.h"
#include "fuzz.h"

static bool may_signal(int signo)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGKILL, SIGQUIT, SIGHUP, SIGTSTP, SIGCONT,
		SIGUSR1, SIGUSR2, SIGWINCH};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (signals[i] == signo)
			return true;
	}
	return false;
}

static void parse(const void *data, size_t n, struct pty_control *c)
{
	uint8_t *exact = malloc(n + (n == 0));

	FUZZ_CHECK(exact != NULL);
	if (n > 0)
		memcpy(exact, data, n);
	pty_control_parse(exact, n, c);
	free(exact);
}

static void check_members(const struct pty_control *c)
{
	bool sized = c->kind == PTY_CONTROL_RESIZE;

	FUZZ_CHECK((c->kind == PTY_CONTROL_SIGNAL) == (c->signo != 0));
	FUZZ_CHECK(c->signo == 0 || may_signal(c->signo));
	FUZZ_CHECK(!sized || (c->cols > 0 && c->rows > 0));
	FUZZ_CHECK((c->kind == PTY_CONTROL_STDIN) == (c->data != NULL));
	FUZZ_CHECK(c->kind == PTY_CONTROL_NOTHING || json_is_object(c->root));
	if (c->kind == PTY_CONTROL_STDIN)
		FUZZ_CHECK(c->data == json_str(json_get(c->root, "data")));
}

static void check_again(const struct pty_control *c, const uint8_t *data, size_t n)
{
	static const char *const types[] = {[PTY_CONTROL_PING] = "ping",
		[PTY_CONTROL_EOF] = "eof",
		[PTY_CONTROL_SIGNAL] = "signal",
		[PTY_CONTROL_RESIZE] = "resize",
		[PTY_CONTROL_STDIN] = "stdin"};
	const char *type = json_str(json_get(c->root, "type"));
	struct pty_control again;

	FUZZ_CHECK(type != NULL && strcmp(type, types[c->kind]) == 0);
	parse(data, n, &again);
	FUZZ_CHECK(again.kind == c->kind && again.signo == c->signo && again.cols == c->cols &&
		   again.rows == c->rows);
	FUZZ_CHECK(c->data == NULL || strcmp(again.data, c->data) == 0);
	pty_control_fini(&again);
}

/* What is said is what is meant, whatever the numbers. */
static void check_resize(const uint8_t *data, size_t n)
{
	struct pty_control c;
	uint32_t v[2] = {0};
	char text[128];
	int len;

	memcpy(v, data, n < sizeof(v) ? n : sizeof(v));
	len = snprintf(
		text, sizeof(text), "{\"rows\":%u,\"type\":\"resize\",\"cols\":%u}", v[1], v[0]);
	parse(text, (size_t)len, &c);
	if (v[0] > INT32_MAX || v[1] > INT32_MAX || (v[0] & 0xffff) == 0 || (v[1] & 0xffff) == 0)
		FUZZ_CHECK(c.kind == PTY_CONTROL_NOTHING);
	else
		FUZZ_CHECK(c.kind == PTY_CONTROL_RESIZE && c.cols == (v[0] & 0xffff) &&
			   c.rows == (v[1] & 0xffff));
	pty_control_fini(&c);
}

/* Any bytes as a name: the ten, with or without their prefix, and no other. */
static void check_name(const uint8_t *data, size_t n)
{
	char name[16] = {0}, prefixed[24];
	int signo;

	memcpy(name, data, n < sizeof(name) - 1 ? n : sizeof(name) - 1);
	signo = pty_control_signal(name);
	FUZZ_CHECK(signo == 0 || may_signal(signo));
	snprintf(prefixed, sizeof(prefixed), "SIG%s", name);
	if (signo != 0 && strncmp(name, "SIG", 3) != 0)
		FUZZ_CHECK(pty_control_signal(prefixed) == signo);
	if (strncmp(name, "SIG", 3) == 0)
		FUZZ_CHECK(pty_control_signal(prefixed) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pty_control c;

	parse(data, size, &c);
	check_members(&c);
	if (c.kind > PTY_CONTROL_UNKNOWN)
		check_again(&c, data, size);
	pty_control_fini(&c);
	check_resize(data, size);
	check_name(data, size);
	return 0;
}
