/*
 * The WebSocket of a terminal (contract 3). One reader of the terminal's hub gives replay and live
 * output alike, so that not a byte is lost or doubled between the two: what was there when the
 * client came goes as replay frames, which say their offset, and what follows as plain ones. A
 * client that fell behind gets a replay frame again, whose offset shows what it missed.
 *
 * The holder's connection makes the terminal wait while it is slow, and for LIMIT_PTY_STALL_MS when
 * it takes nothing at all; then the terminal goes on without it.
 */
#include <stdlib.h>
#include <string.h>

#include "boxd/clock.h"
#include "boxd/jsonw.h"
#include "boxd/limits.h"
#include "boxd/loop.h"
#include "boxd/reply.h"
#include "boxd/wsconn.h"
#include "pty_internal.h"

#define PTY_WS_FRAME      32768  /* bytes of output in one message */
#define PTY_WS_TURN_BYTES 524288 /* and in one turn of the loop */

/* Channels, the first byte of a binary message. */
enum { PTY_WS_STDIN, PTY_WS_STDOUT, PTY_WS_STDERR, PTY_WS_REPLAY };

#define PTY_WS_TAKEN_OVER 4001

struct pty_ws {
	struct app *app;
	struct wsconn *ws;
	struct pty_viewer *viewer;    /* NULL: detached */
	struct outhub_reader *reader; /* NULL: no more output */
	uint64_t replay_end;          /* output before this was there when the client came */
	bool connected;               /* that frame was sent */
	bool resync;                  /* the next output says its offset */
	bool pong_owed, error_owed;   /* answers for which there was no room */
	bool observes;
	bool exited; /* the shell ended, with this code and its output here */
	int exit_code;
	uint64_t end;
	struct buf input;         /* a message for which the terminal has no room */
	struct loop_timer *stall; /* while the client takes nothing */
	struct loop_deferred again;
};

/* ---- frames ---- */

static void ws_send_json(struct pty_ws *p, const char *type,
	void (*more)(struct jsonw *w, const struct pty_ws *p, const void *arg), const void *arg)
{
	struct buf text = {0};
	struct jsonw w;

	jsonw_begin(&w, &text);
	jsonw_object(&w);
	jsonw_key(&w, "type");
	jsonw_str(&w, type);
	if (more != NULL)
		more(&w, p, arg);
	jsonw_object_end(&w);
	/* Without memory for it a client would wait for ever: it is cut off, and comes again. */
	if (jsonw_end(&w) == 0)
		wsconn_send(p->ws, true, NULL, 0, buf_data(&text), buf_len(&text));
	else
		wsconn_drop(p->ws);
	buf_fini(&text);
}

static void ws_put_connected(struct jsonw *w, const struct pty_ws *p, const void *arg)
{
	struct pty_info info;

	(void)arg;
	pty_info(pty_viewer_pty(p->viewer), &info);
	jsonw_key(w, "session_id");
	jsonw_str(w, info.id);
	jsonw_key(w, "mode");
	jsonw_str(w, info.pipe_mode ? "pipe" : "pty");
	/* Beyond the contract: where live output begins, and who may type. */
	jsonw_key(w, "offset");
	jsonw_int(w, (int64_t)p->replay_end);
	if (p->observes) {
		jsonw_key(w, "observer");
		jsonw_bool(w, true);
	}
}

static void ws_put_exit(struct jsonw *w, const struct pty_ws *p, const void *arg)
{
	(void)arg;
	jsonw_key(w, "exit_code");
	jsonw_int(w, p->exit_code);
}

struct ws_error {
	const char *text, *code;
};

static void ws_put_error(struct jsonw *w, const struct pty_ws *p, const void *arg)
{
	const struct ws_error *e = arg;

	(void)p;
	jsonw_key(w, "error");
	jsonw_str(w, e->text);
	jsonw_key(w, "code");
	jsonw_str(w, e->code);
}

static void ws_send_error(struct pty_ws *p, const char *code, const char *text)
{
	const struct ws_error e = {text, code};

	ws_send_json(p, "error", ws_put_error, &e);
}

/*
 * What a client asks for itself is no flood only as long as it reads the answers: while there is no
 * room for them one answer stands for many.
 */
static void ws_answer(struct pty_ws *p, bool pong, bool error)
{
	bool room = wsconn_room(p->ws) > 0;

	if (room && pong)
		ws_send_json(p, "pong", NULL, NULL);
	if (room && error)
		ws_send_error(p, "INVALID_FRAME", "unknown type of message");
	p->pong_owed = !room && (pong || p->pong_owed);
	p->error_owed = !room && (error || p->error_owed);
}

static void ws_send_output(
	struct pty_ws *p, uint8_t channel, uint64_t offset, const uint8_t *data, size_t n)
{
	uint8_t head[9] = {channel};

	for (int i = 0; i < 8; i++)
		head[1 + i] = (uint8_t)(offset >> (56 - 8 * i));
	wsconn_send(p->ws, false, head, channel == PTY_WS_REPLAY ? 9 : 1, data, n);
}

/* ---- output ---- */

/* Output that goes into one message. */
struct ws_piece {
	uint8_t *data;
	size_t n, cap;
	uint64_t offset;
	enum outhub_stream stream;
};

/*
 * Collects what belongs together: of one stream (a replay does not tell them apart), on one side of
 * the end of the replay, and without a gap. Says what it met, OUTHUB_DATA when the piece is full.
 */
static enum outhub_read ws_collect(struct pty_ws *p, struct ws_piece *piece)
{
	while (piece->n < piece->cap) {
		uint64_t at = outhub_reader_offset(p->reader);
		bool replay = at < p->replay_end;
		size_t max = piece->cap - piece->n;
		struct outhub_run run;
		enum outhub_read res;

		if (replay && max > p->replay_end - at)
			max = (size_t)(p->replay_end - at);
		res = outhub_read(p->reader, max, &run);
		if (res != OUTHUB_DATA)
			return res;
		if (piece->n == 0) {
			piece->offset = run.offset;
			piece->stream = run.stream;
		} else if (run.stream != piece->stream && !replay) {
			outhub_unread(p->reader, run.n);
			return OUTHUB_DATA;
		}
		memcpy(piece->data + piece->n, run.data, run.n);
		piece->n += run.n;
		if (run.offset + run.n == p->replay_end)
			return OUTHUB_DATA;
	}
	return OUTHUB_DATA;
}

static void ws_send_piece(struct pty_ws *p, const struct ws_piece *piece)
{
	uint8_t channel = piece->stream == OUTHUB_STDERR ? PTY_WS_STDERR : PTY_WS_STDOUT;

	if (piece->n == 0)
		return;
	if (piece->offset < p->replay_end || p->resync)
		channel = PTY_WS_REPLAY;
	p->resync = false;
	ws_send_output(p, channel, piece->offset, piece->data, piece->n);
}

static void ws_leave(struct pty_ws *p)
{
	outhub_detach(p->reader);
	p->reader = NULL;
	pty_detach(p->viewer);
	p->viewer = NULL;
}

/* Who comes back while this connection is being closed finds the terminal free. */
static void ws_end(struct pty_ws *p)
{
	ws_leave(p);
	ws_send_json(p, "exit", ws_put_exit, NULL);
	wsconn_close(p->ws, 1000, "process exited");
}

/* The replay comes first, then the word that it was all (contract 3.2). */
static void ws_check_connected(struct pty_ws *p)
{
	if (p->connected || outhub_reader_offset(p->reader) < p->replay_end || p->viewer == NULL ||
		pty_viewer_pty(p->viewer) == NULL)
		return;
	p->connected = true;
	ws_send_json(p, "connected", ws_put_connected, NULL);
}

static void ws_on_stall(void *arg);

/* While the client takes nothing a timer runs; when it takes something, it paces again. */
static void ws_note_stall(struct pty_ws *p, bool stalled)
{
	if (stalled && p->stall == NULL && !p->observes) {
		p->stall = loop_timer_new(p->app->loop, limit(LIMIT_PTY_STALL_MS), ws_on_stall, p);
	} else if (!stalled && p->stall != NULL) {
		loop_timer_free(p->stall);
		p->stall = NULL;
		if (p->reader != NULL && p->viewer != NULL && pty_viewer_holds(p->viewer))
			outhub_set_owner(p->reader);
	}
}

static void ws_on_stall(void *arg)
{
	struct pty_ws *p = arg;

	if (p->reader != NULL)
		outhub_drop_owner(p->reader);
}

static void ws_pump(struct pty_ws *p)
{
	size_t budget = PTY_WS_TURN_BYTES;
	enum outhub_read res = OUTHUB_DATA;

	while (p->reader != NULL && budget > 0 && wsconn_room(p->ws) > 0) {
		struct ws_piece piece = {0};

		piece.data = loop_scratch(p->app->loop, &piece.cap);
		if (piece.cap > PTY_WS_FRAME - 9)
			piece.cap = PTY_WS_FRAME - 9;
		res = ws_collect(p, &piece);
		ws_send_piece(p, &piece);
		budget -= piece.n < budget ? piece.n : budget;
		if (res == OUTHUB_GAP)
			p->resync = true;
		ws_check_connected(p);
		if (res == OUTHUB_END)
			ws_end(p);
		if (res == OUTHUB_WAIT || res == OUTHUB_GONE)
			return;
	}
	if (p->reader == NULL)
		return;
	if (budget == 0)
		loop_defer_bulk(p->app->loop, &p->again);
	else
		ws_note_stall(p, true);
}

static void ws_on_ready(void *arg)
{
	ws_pump(arg);
}

/* ---- the terminal ---- */

static void ws_on_exit(uint64_t end, int code, void *arg)
{
	struct pty_ws *p = arg;

	p->exited = true;
	p->exit_code = code;
	p->end = end;
	if (p->reader == NULL)
		return;
	outhub_set_bound(p->reader, end);
	ws_pump(p);
}

static void ws_on_taken_over(void *arg)
{
	struct pty_ws *p = arg;

	ws_leave(p);
	wsconn_close(p->ws, PTY_WS_TAKEN_OVER, "TAKEN_OVER");
}

/*
 * What a slow client has not got by now it never gets, but that there was more, and how it ended,
 * it is told: an offset with nothing behind it.
 */
static void ws_on_removed(void *arg)
{
	struct pty_ws *p = arg;

	if (p->exited && p->reader != NULL) {
		if (outhub_reader_offset(p->reader) < p->end)
			ws_send_output(p, PTY_WS_REPLAY, p->end, NULL, 0);
		ws_send_json(p, "exit", ws_put_exit, NULL);
	}
	ws_leave(p);
	wsconn_close(p->ws, 1000, p->exited ? "process exited" : "terminal removed");
}

/* ---- input ---- */

/* What the terminal does not take now is kept, and the client is not read meanwhile. */
static void ws_type(struct pty_ws *p, const void *data, size_t n)
{
	struct pty *t = p->viewer != NULL ? pty_viewer_pty(p->viewer) : NULL;
	struct err e = {0};

	if (t == NULL || p->observes || n == 0)
		return;
	if (pty_input(t, data, n, &e) == 0)
		return;
	if (e.kind == &ERR_TOO_MANY && buf_len(&p->input) == 0 &&
		n <= limit_size(LIMIT_PTY_INPUT_BYTES) && buf_add(&p->input, data, n) == 0) {
		wsconn_pause(p->ws);
		return;
	}
	/* Between the end of the shell and the exit frame there is nobody to type for. */
	if (e.kind == &ERR_NOT_RUNNING)
		return;
	ws_send_error(p, "STDIN_WRITE_FAILED", e.msg);
	wsconn_drop(p->ws);
}

static void ws_on_input_room(void *arg)
{
	struct pty_ws *p = arg;
	struct pty *t = pty_viewer_pty(p->viewer);
	struct err e = {0};

	if (buf_len(&p->input) > 0 &&
		pty_input(t, buf_data(&p->input), buf_len(&p->input), &e) < 0 &&
		e.kind == &ERR_TOO_MANY)
		return;
	buf_fini(&p->input);
	wsconn_resume(p->ws);
}

static void ws_control(struct pty_ws *p, const struct pty_control *c)
{
	struct pty *t = p->viewer != NULL ? pty_viewer_pty(p->viewer) : NULL;
	struct err ignored = {0};

	if (c->kind == PTY_CONTROL_PING)
		ws_answer(p, true, false);
	else if (c->kind == PTY_CONTROL_UNKNOWN)
		ws_answer(p, false, true);
	else if (c->kind == PTY_CONTROL_STDIN)
		ws_type(p, c->data, strlen(c->data));
	if (t == NULL || p->observes)
		return;
	/* A shell that has just ended takes none of these, and its client hears of the end. */
	if (c->kind == PTY_CONTROL_SIGNAL)
		(void)!pty_signal(t, c->signo, &ignored);
	else if (c->kind == PTY_CONTROL_RESIZE)
		(void)!pty_resize(t, c->cols, c->rows, &ignored);
	else if (c->kind == PTY_CONTROL_EOF)
		(void)!pty_eof(t, &ignored);
}

static void ws_on_message(struct wsconn *ws, bool text, const uint8_t *data, size_t n, void *arg)
{
	struct pty_ws *p = arg;
	struct pty_control c;

	(void)ws;
	if (!text) {
		if (n > 0 && data[0] == PTY_WS_STDIN)
			ws_type(p, data + 1, n - 1);
		return;
	}
	pty_control_parse(data, n, &c);
	ws_control(p, &c);
	pty_control_fini(&c);
}

/* ---- the connection ---- */

static void ws_on_room(struct wsconn *ws, void *arg)
{
	struct pty_ws *p = arg;

	(void)ws;
	ws_note_stall(p, false);
	ws_answer(p, p->pong_owed, p->error_owed);
	ws_pump(p);
}

static void ws_free(struct pty_ws *p)
{
	ws_leave(p);
	loop_timer_free(p->stall);
	loop_defer_cancel(p->app->loop, &p->again);
	wsconn_free(p->ws);
	buf_fini(&p->input);
	free(p);
}

/* The shell goes on, for whoever comes next. */
static void ws_on_close(struct wsconn *ws, uint16_t code, void *arg)
{
	(void)ws;
	(void)code;
	ws_free(arg);
}

static const struct wsconn_callbacks ws_callbacks = {ws_on_message, ws_on_room, ws_on_close};
static const struct pty_viewer_callbacks ws_viewer_callbacks = {
	ws_on_exit, ws_on_taken_over, ws_on_removed, ws_on_input_room};

/* After the 101 a failure can only be told in a frame (contract 3.2). */
static void ws_begin(struct pty_ws *p, struct pty *t, enum pty_hold how, uint64_t since, bool pipes)
{
	struct outhub *hub = pty_hub(t);
	struct err e = {0};

	p->viewer = pty_attach(t, how, &ws_viewer_callbacks, p, &e);
	if (p->viewer == NULL) {
		ws_send_error(p, e.kind->code, e.msg);
		wsconn_drop(p->ws);
		return;
	}
	p->replay_end = outhub_total(hub);
	if (!p->observes && pty_start(t, pipes, &e) < 0) {
		ws_send_error(p, "START_FAILED", e.msg);
		wsconn_drop(p->ws);
		return;
	}
	p->reader = outhub_attach(hub, since, OUTHUB_FOLLOW, ws_on_ready, p);
	if (p->reader == NULL) {
		wsconn_drop(p->ws);
		return;
	}
	if (!p->observes)
		outhub_set_owner(p->reader);
	ws_pump(p);
}

/* What is answered in plain HTTP, in the order of contract 3.1. */
static int ws_check(struct req *r, const struct pty *t, enum pty_hold how, struct err *e)
{
	const char *why = "";
	enum wsconn_check check = wsconn_check(r, &why);
	struct pty_info info;

	pty_info(t, &info);
	if (info.held && how != PTY_OBSERVE && (how == PTY_HOLD || check == WSCONN_NOT_UPGRADE))
		return err_set(e, &ERR_ALREADY_CONNECTED, "somebody is connected to this terminal");
	/* RFC 6455 4.4 */
	if (check == WSCONN_BAD)
		reply_field(r, "Sec-WebSocket-Version", "13");
	if (check != WSCONN_OK)
		return err_set(e, &ERR_BAD_REQUEST, "%s", why);
	/* A takeover makes the room that it needs. */
	if (info.viewers >= limit_size(LIMIT_PTY_VIEWERS) && !(how == PTY_TAKE_OVER && info.held))
		return err_set(
			e, &ERR_TOO_MANY, "%zu are connected to this terminal", info.viewers);
	return 0;
}

int pty_get_ws(struct req *r, const struct route_match *m, struct err *e)
{
	static const struct wsconn_options options = {.deflate = false};
	struct pty *t = pty_of(m, e);
	enum pty_hold how = pty_query_is(r, "observe", "1")    ? PTY_OBSERVE
			    : pty_query_is(r, "takeover", "1") ? PTY_TAKE_OVER
							       : PTY_HOLD;
	bool pipes = pty_query_is(r, "pty", "0");
	struct pty_ws *p;
	uint64_t since;

	if (t == NULL || ws_check(r, t, how, e) < 0)
		return -1;
	since = pty_query_since(r, pty_hub(t));
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	p->app = m->app;
	p->observes = how == PTY_OBSERVE;
	loop_deferred_init(&p->again, ws_on_ready, p);
	p->ws = wsconn_accept(r, m->app->loop, &options, &ws_callbacks, p, e);
	if (p->ws == NULL) {
		free(p);
		return -1;
	}
	ws_begin(p, t, how, since, pipes);
	return 0;
}
