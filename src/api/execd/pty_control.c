/* Control messages of a terminal: which there are, and what they may hold (contract 3.4). */
#include <signal.h>
#include <string.h>

#include "boxd/json.h"
#include "pty_internal.h"

int pty_control_signal(const char *name)
{
	static const struct {
		const char *name;
		int signo;
	} signals[] = {{"INT", SIGINT}, {"TERM", SIGTERM}, {"KILL", SIGKILL}, {"QUIT", SIGQUIT},
		{"HUP", SIGHUP}, {"TSTP", SIGTSTP}, {"CONT", SIGCONT}, {"USR1", SIGUSR1},
		{"USR2", SIGUSR2}, {"WINCH", SIGWINCH}};

	if (strncmp(name, "SIG", 3) == 0)
		name += 3;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (strcmp(name, signals[i].name) == 0)
			return signals[i].signo;
	}
	return 0;
}

static void control_signal(struct pty_control *c)
{
	const char *name = json_str(json_get(c->root, "signal"));

	c->signo = name != NULL ? pty_control_signal(name) : 0;
	c->kind = c->signo != 0 ? PTY_CONTROL_SIGNAL : PTY_CONTROL_NOTHING;
}

/* Sizes are cut to 16 bits, as the kernel holds them; what is nothing then is ignored. */
static void control_resize(struct pty_control *c)
{
	int64_t cols = 0, rows = 0;
	struct err e = {0};

	if (json_get_int(c->root, "cols", 1, INT32_MAX, &cols, &e) < 0 ||
		json_get_int(c->root, "rows", 1, INT32_MAX, &rows, &e) < 0)
		return;
	c->cols = (uint16_t)(cols & UINT16_MAX);
	c->rows = (uint16_t)(rows & UINT16_MAX);
	c->kind = c->cols > 0 && c->rows > 0 ? PTY_CONTROL_RESIZE : PTY_CONTROL_NOTHING;
}

static void control_stdin(struct pty_control *c)
{
	c->data = json_str(json_get(c->root, "data"));
	c->kind = c->data != NULL ? PTY_CONTROL_STDIN : PTY_CONTROL_NOTHING;
}

void pty_control_parse(const uint8_t *text, size_t n, struct pty_control *out)
{
	struct err e = {0};
	const char *type;

	*out = (struct pty_control){.kind = PTY_CONTROL_NOTHING};
	out->root = json_parse(text, n, &e);
	if (out->root == NULL || !json_is_object(out->root))
		return;
	type = json_str(json_get(out->root, "type"));
	if (type == NULL)
		out->kind = PTY_CONTROL_UNKNOWN;
	else if (strcmp(type, "stdin") == 0)
		control_stdin(out);
	else if (strcmp(type, "signal") == 0)
		control_signal(out);
	else if (strcmp(type, "resize") == 0)
		control_resize(out);
	else if (strcmp(type, "ping") == 0)
		out->kind = PTY_CONTROL_PING;
	else if (strcmp(type, "eof") == 0)
		out->kind = PTY_CONTROL_EOF;
	else
		out->kind = PTY_CONTROL_UNKNOWN;
}

void pty_control_fini(struct pty_control *c)
{
	json_free(c->root);
}
