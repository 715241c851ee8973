/*
 * A WebSocket server for tests, built from the network layer alone: what a client sends comes back.
 *
 *   ws_echo [--listen ADDR] [--no-deflate] [--limit NAME=VALUE]...
 *
 * A connection to /control is told what to do by text messages instead: see echo_commands. The end
 * of each connection is logged as `closed code=N`. Calls of send(2) and of the allocator are
 * counted (linked with --wrap), so that tests can tell what a message costs.
 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/loop.h"
#include "boxd/reply.h"
#include "boxd/req.h"
#include "boxd/server.h"
#include "boxd/wsconn.h"

#define PIECE 1024

static unsigned long sends, allocations;

ssize_t __real_send(int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags);
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);

ssize_t __wrap_send(int fd, const void *p, size_t n, int flags)
{
	sends++;
	return __real_send(fd, p, n, flags);
}

void *__wrap_malloc(size_t n)
{
	allocations++;
	return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	allocations++;
	return __real_realloc(p, n);
}

struct app;

struct echo {
	LIST_ENTRY(echo) link;
	struct app *app;
	struct wsconn *ws;
	bool control;
	bool held;        /* input waits for room in the output */
	size_t to_stream; /* bytes that a `stream` command still owes */
	struct loop_timer *resume;
	struct loop_deferred release;
};

struct app {
	struct loop *loop;
	struct server *server;
	struct wsconn_options options;
	LIST_HEAD(, echo) echoes;
};

static void echo_free(struct echo *e)
{
	wsconn_free(e->ws);
	loop_timer_free(e->resume);
	loop_defer_cancel(e->app->loop, &e->release);
	LIST_REMOVE(e, link);
	free(e);
}

/* ---- commands of /control ---- */

static void echo_say(struct echo *e, const char *text)
{
	wsconn_send(e->ws, true, NULL, 0, text, strlen(text));
}

static void echo_close(struct echo *e, const char *args)
{
	char *reason = NULL;
	unsigned long code = strtoul(args, &reason, 10);

	wsconn_close(e->ws, (uint16_t)code, *reason == ' ' ? reason + 1 : reason);
	wsconn_close(e->ws, 4999, "the second does nothing");
}

static void echo_drop(struct echo *e, const char *args)
{
	echo_say(e, args);
	wsconn_drop(e->ws);
}

static void echo_on_release(void *arg)
{
	echo_free(arg);
}

static void echo_cut(struct echo *e, const char *args)
{
	(void)args;
	loop_defer(e->app->loop, &e->release);
}

/* So many bytes at once, whatever room there is. */
static void echo_flood(struct echo *e, const char *args)
{
	static const char piece[PIECE];

	for (size_t n = strtoul(args, NULL, 10); n > 0; n -= n < PIECE ? n : PIECE)
		wsconn_send(e->ws, false, NULL, 0, piece, n < PIECE ? n : PIECE);
}

static void echo_stream_on(struct echo *e)
{
	static const char piece[PIECE];

	while (e->to_stream > 0 && wsconn_room(e->ws) > 0) {
		size_t n = e->to_stream < PIECE ? e->to_stream : PIECE;

		wsconn_send(e->ws, false, piece, n / 2, piece, n - n / 2);
		e->to_stream -= n;
	}
}

/* So many bytes as there is room. */
static void echo_stream(struct echo *e, const char *args)
{
	e->to_stream = strtoul(args, NULL, 10);
	echo_stream_on(e);
}

static void echo_on_resume(void *arg)
{
	struct echo *e = arg;

	loop_timer_free(e->resume);
	e->resume = NULL;
	echo_say(e, "resumed");
	wsconn_resume(e->ws);
}

/* No input for so many milliseconds; for ever without a number. */
static void echo_pause(struct echo *e, const char *args)
{
	long ms = strtol(args, NULL, 10);

	wsconn_pause(e->ws);
	if (ms > 0 && e->resume == NULL)
		e->resume = loop_timer_new(e->app->loop, ms, echo_on_resume, e);
}

static void echo_costs(struct echo *e, const char *args)
{
	char text[128];

	(void)args;
	snprintf(text, sizeof(text), "%lu %lu %zu", sends, allocations, wsconn_queued(e->ws));
	echo_say(e, text);
}

static const struct {
	const char *name;
	void (*fn)(struct echo *e, const char *args);
} echo_commands[] = {
	{"close ", echo_close}, /* CODE REASON */
	{"drop ", echo_drop},   /* TEXT: sent before */
	{"cut", echo_cut},      /* wsconn_free() while it is open */
	{"flood ", echo_flood}, {"stream ", echo_stream}, {"pause ", echo_pause},
	{"costs", echo_costs}, /* calls of send(2), allocations, bytes queued */
};

static void echo_command(struct echo *e, const uint8_t *data, size_t n)
{
	char text[256];

	snprintf(text, sizeof(text), "%.*s", (int)n, (const char *)data);
	for (size_t i = 0; i < sizeof(echo_commands) / sizeof(echo_commands[0]); i++) {
		size_t len = strlen(echo_commands[i].name);

		if (strncmp(text, echo_commands[i].name, len) == 0) {
			echo_commands[i].fn(e, text + len);
			return;
		}
	}
	echo_say(e, text);
}

/* ---- the connection ---- */

static void echo_on_message(struct wsconn *ws, bool text, const uint8_t *data, size_t n, void *arg)
{
	struct echo *e = arg;
	size_t head_n = n < 3 ? n : 3;

	if (e->control && text) {
		echo_command(e, data, n);
		return;
	}
	wsconn_send(ws, text, data, head_n, data + head_n, n - head_n);
	if (wsconn_room(ws) == 0) {
		e->held = true;
		wsconn_pause(ws);
	}
}

static void echo_on_room(struct wsconn *ws, void *arg)
{
	struct echo *e = arg;

	if (e->held)
		wsconn_resume(ws);
	e->held = false;
	echo_stream_on(e);
}

static void echo_on_close(struct wsconn *ws, uint16_t code, void *arg)
{
	(void)ws;
	log_info("echo", "closed code=%u", (unsigned)code);
	echo_free(arg);
}

static const struct wsconn_callbacks echo_callbacks = {
	.on_message = echo_on_message,
	.on_room = echo_on_room,
	.on_close = echo_on_close,
};

/* ---- the server ---- */

static void app_refuse(struct req *r, int status, const char *why)
{
	reply_field(r, "Sec-WebSocket-Version", "13");
	reply_body(r, status, "text/plain", why, strlen(why));
}

static void app_on_head(struct req *r, void *arg)
{
	struct app *app = arg;
	struct err err = {0};
	struct echo *e;
	const char *why = "";

	switch (wsconn_check(r, &why)) {
	case WSCONN_OK: break;
	case WSCONN_NOT_UPGRADE: app_refuse(r, 426, why); return;
	case WSCONN_BAD: app_refuse(r, 400, why); return;
	}
	e = calloc(1, sizeof(*e));
	assert(e != NULL);
	e->app = app;
	e->control = str_eq(req_path(r), STR("/control"));
	loop_deferred_init(&e->release, echo_on_release, e);
	LIST_INSERT_HEAD(&app->echoes, e, link);
	e->ws = wsconn_accept(r, app->loop, &app->options, &echo_callbacks, e, &err);
	if (e->ws == NULL) {
		app_refuse(r, err.kind->status, err.msg);
		echo_free(e);
	}
}

static void app_on_bad(struct req *r, const struct err *e, void *arg)
{
	(void)arg;
	reply_body(r, e->kind->status, "text/plain", e->msg, strlen(e->msg));
}

static void app_on_idle(void *arg)
{
	struct app *app = arg;

	loop_stop(app->loop);
}

static void app_on_term(int signo, void *arg)
{
	struct app *app = arg;
	struct echo *e;

	(void)signo;
	server_drain(app->server, app_on_idle, app);
	LIST_FOREACH(e, &app->echoes, link)
		wsconn_close(e->ws, 1001, "");
}

static void app_set_limit(char *text)
{
	char *value = strchr(text, '=');
	enum limit row;

	if (value != NULL) {
		*value++ = '\0';
		row = limit_find(text);
		if (row != LIMIT_COUNT_ && limit_set(row, strtoll(value, NULL, 10)))
			return;
	}
	fprintf(stderr, "ws_echo: no such limit: %s\n", text);
	exit(2);
}

int main(int argc, char **argv)
{
	struct app app = {.options.deflate = true};
	const struct server_callbacks cb = {app_on_head, app_on_bad, &app};
	const char *listen_at = "127.0.0.1:0";
	struct err e = {0};
	int status = 1;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--no-deflate") == 0)
			app.options.deflate = false;
		else if (strcmp(argv[i], "--listen") == 0 && i + 1 < argc)
			listen_at = argv[++i];
		else if (strcmp(argv[i], "--limit") == 0 && i + 1 < argc)
			app_set_limit(argv[++i]);
	}
	LIST_INIT(&app.echoes);
	app.loop = loop_new(&e);
	if (app.loop != NULL && (app.server = server_new(app.loop, &cb, &e)) != NULL &&
		server_listen(app.server, listen_at, &e) == 0 &&
		loop_on_signal(app.loop, SIGTERM, app_on_term, &app, &e) == 0)
		status = loop_run(app.loop) == 0 ? 0 : 1;
	if (e.kind != NULL)
		fprintf(stderr, "ws_echo: %s\n", e.msg);
	server_free(app.server);
	if (app.loop != NULL)
		loop_free(app.loop);
	return status;
}
