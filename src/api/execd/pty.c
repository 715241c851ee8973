/*
 * The terminal resource (contract 1.31-1.33): create, list, look at, delete; and the HTTP way of
 * typing, for clients without WebSocket. The WebSocket is pty_ws.c, output as events pty_output.c.
 */
#include <stdlib.h>

#include "boxd/base64.h"
#include "boxd/limits.h"
#include "boxd/query.h"
#include "boxd/reply.h"
#include "launch_internal.h"
#include "pty_internal.h"
#include "send_internal.h"

/* ---- requests ---- */

struct pty *pty_of(const struct route_match *m, struct err *e)
{
	struct pty *t = pty_find(m->app->ptys, m->param[0].p, m->param[0].n);

	if (t == NULL)
		err_set(e, &ERR_NO_CONTEXT, "no such terminal");
	return t;
}

bool pty_query_is(const struct req *r, const char *key, const char *value)
{
	struct buf got = {0};
	bool is = query_get(req_query(r), key, 0, &got) == QUERY_FOUND &&
		  str_eq((struct str){(const char *)buf_data(&got), buf_len(&got)}, str_of(value));

	buf_fini(&got);
	return is;
}

uint64_t pty_query_since(const struct req *r, const struct outhub *hub)
{
	struct buf text = {0};
	uint64_t since = 0;

	if (query_get(req_query(r), "since", 0, &text) == QUERY_FOUND) {
		struct str digits = {(const char *)buf_data(&text), 0};

		while (digits.n < buf_len(&text) && digits.p[digits.n] >= '0' &&
			digits.p[digits.n] <= '9')
			digits.n++;
		/* More digits than a number can have are more than there can be. */
		if (digits.n > 0 && !str_u64(digits, &since))
			since = UINT64_MAX;
	}
	buf_fini(&text);
	if (since > outhub_total(hub))
		return outhub_total(hub);
	return since < outhub_oldest(hub) ? outhub_oldest(hub) : since;
}

/* ---- create ---- */

static int pty_parse_size(const struct json *body, uint16_t *cols, uint16_t *rows, struct err *e)
{
	int64_t c = *cols, r = *rows;

	if (json_get_int(body, "cols", 1, UINT16_MAX, &c, e) < 0 ||
		json_get_int(body, "rows", 1, UINT16_MAX, &r, e) < 0)
		return -1;
	*cols = (uint16_t)c;
	*rows = (uint16_t)r;
	return 0;
}

static int pty_create_and_reply(struct req *r, struct app *app, const struct launch_params *p,
	const struct json *body, struct err *e)
{
	struct pty_spec spec = {.launch = p->spec};
	struct pty_info info;
	struct pty *t;
	struct send out;

	if (json_get_str(body, "command", &spec.command, e) < 0 ||
		json_get_str(body, "shell", &spec.shell, e) < 0 ||
		json_get_str(body, "label", &spec.label, e) < 0 ||
		pty_parse_size(body, &spec.cols, &spec.rows, e) < 0)
		return -1;
	if (spec.command != NULL && spec.command[0] == '\0')
		spec.command = NULL;
	t = pty_create(app->ptys, &spec, e);
	if (t == NULL)
		return -1;
	pty_info(t, &info);
	send_begin(&out);
	jsonw_object(&out.w);
	send_str(&out, "session_id", info.id);
	jsonw_object_end(&out.w);
	return send_json(&out, r, 201, e);
}

static int pty_post(struct req *r, const struct route_match *m, struct err *e)
{
	return launch_post(r, m->app, pty_create_and_reply, e);
}

/* ---- look at, delete ---- */

static void pty_put(struct pty *t, void *arg)
{
	struct send *out = arg;
	struct pty_info info;

	pty_info(t, &info);
	jsonw_object(&out->w);
	send_str(out, "session_id", info.id);
	send_bool(out, "running", info.running);
	send_int(out, "output_offset", (int64_t)info.output_offset);
	send_int(out, "oldest_offset", (int64_t)info.oldest_offset);
	send_str(out, "mode", info.pipe_mode ? "pipe" : "pty");
	if (info.label != NULL)
		send_str(out, "label", info.label);
	if (info.command != NULL)
		send_str(out, "command", info.command);
	send_str(out, "cwd", info.cwd);
	if (info.pid != 0)
		send_int(out, "pid", info.pid);
	send_int(out, "cols", info.cols);
	send_int(out, "rows", info.rows);
	send_bool(out, "held", info.held);
	send_int(out, "viewers", (int64_t)info.viewers);
	send_time(out, "created_at", info.created_ms);
	if (info.ended)
		send_int(out, "exit_code", info.exit_code);
	if (info.ended && info.signal != 0)
		send_int(out, "signal", info.signal);
	jsonw_object_end(&out->w);
}

static int pty_get(struct req *r, const struct route_match *m, struct err *e)
{
	struct pty *t = pty_of(m, e);
	struct send out;

	if (t == NULL)
		return -1;
	send_begin(&out);
	pty_put(t, &out);
	return send_json(&out, r, 200, e);
}

static int pty_get_list(struct req *r, const struct route_match *m, struct err *e)
{
	struct send out;

	send_begin(&out);
	jsonw_array(&out.w);
	ptys_each(m->app->ptys, pty_put, &out);
	jsonw_array_end(&out.w);
	return send_json(&out, r, 200, e);
}

static int pty_remove(struct req *r, const struct route_match *m, struct err *e)
{
	struct pty *t = pty_of(m, e);

	if (t == NULL)
		return -1;
	pty_delete(t);
	reply_empty(r, 200);
	return 0;
}

/* ---- type ---- */

static bool pty_body_is_json(const struct req *r)
{
	struct str type = req_field(r, "content-type"), json = STR("application/json");

	return type.n >= json.n && str_ieq((struct str){type.p, json.n}, json);
}

/* What a JSON body says, in the end as bytes in *out: text, or base64. */
static int pty_parse_input(struct str text, struct buf *out, bool *eof, struct err *e)
{
	struct json *body = json_parse((const uint8_t *)text.p, text.n, e);
	const char *data = NULL, *encoded = NULL;
	int res = -1;

	if (body == NULL)
		return -1;
	if (!json_is_object(body))
		err_set(e, &ERR_BAD_BODY, "the body must be an object");
	else if (json_get_str(body, "data", &data, e) == 0 &&
		 json_get_str(body, "data_base64", &encoded, e) == 0 &&
		 json_get_bool(body, "eof", eof, e) == 0)
		res = 0;
	if (res == 0 && data != NULL && buf_add(out, data, strlen(data)) < 0)
		res = err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (res == 0 && encoded != NULL)
		res = base64_decode(str_of(encoded), out, e);
	json_free(body);
	return res;
}

/* A terminal that never ran, or has ended, begins to run when somebody types. */
static int pty_type(struct pty *t, const struct req *r, struct str bytes, bool eof, struct err *e)
{
	struct pty_info info;

	if (pty_start(t, pty_query_is(r, "pty", "0"), e) < 0)
		return -1;
	pty_info(t, &info);
	if (bytes.n > 0 && pty_input(t, bytes.p, bytes.n, e) < 0)
		return -1;
	return eof ? pty_eof(t, e) : 0;
}

static int pty_post_input(struct req *r, const struct route_match *m, struct err *e)
{
	struct pty *t = pty_of(m, e);
	struct str bytes = req_body(r);
	bool eof = pty_query_is(r, "eof", "1");
	struct buf decoded = {0};
	struct pty_info info;
	struct send out;
	int res = -1;

	if (t == NULL)
		return -1;
	if (!pty_body_is_json(r)) {
		res = pty_type(t, r, bytes, eof, e);
	} else if (pty_parse_input(bytes, &decoded, &eof, e) == 0) {
		bytes = (struct str){(const char *)buf_data(&decoded), buf_len(&decoded)};
		res = pty_type(t, r, bytes, eof, e);
	}
	buf_fini(&decoded);
	if (res < 0)
		return -1;
	pty_info(t, &info);
	send_begin(&out);
	jsonw_object(&out.w);
	send_int(&out, "accepted", (int64_t)bytes.n);
	send_int(&out, "output_offset", (int64_t)info.output_offset);
	jsonw_object_end(&out.w);
	return send_json(&out, r, 200, e);
}

/* ---- resize, signal ---- */

static int pty_do_resize(struct pty *t, const struct json *body, struct err *e)
{
	uint16_t cols = 0, rows = 0;

	if (pty_parse_size(body, &cols, &rows, e) < 0)
		return -1;
	if (cols == 0 || rows == 0)
		return err_set(e, &ERR_BAD_BODY, "cols and rows are required");
	return pty_resize(t, cols, rows, e);
}

static int pty_do_signal(struct pty *t, const struct json *body, struct err *e)
{
	const char *name = NULL;
	int signo;

	if (json_get_str(body, "signal", &name, e) < 0)
		return -1;
	signo = name != NULL ? pty_control_signal(name) : 0;
	if (signo == 0)
		return err_set(e, &ERR_BAD_BODY, "signal must be the name of one, as \"SIGINT\"");
	return pty_signal(t, signo, e);
}

static int pty_with_body(struct req *r, const struct route_match *m,
	int (*act)(struct pty *t, const struct json *body, struct err *e), struct err *e)
{
	struct pty *t = pty_of(m, e);
	struct str text = req_body(r);
	struct json *body;
	int res = -1;

	if (t == NULL)
		return -1;
	body = json_parse((const uint8_t *)text.p, text.n, e);
	if (body != NULL && !json_is_object(body))
		err_set(e, &ERR_BAD_BODY, "the body must be an object");
	else if (body != NULL)
		res = act(t, body, e);
	json_free(body);
	if (res == 0)
		reply_empty(r, 200);
	return res;
}

static int pty_post_resize(struct req *r, const struct route_match *m, struct err *e)
{
	return pty_with_body(r, m, pty_do_resize, e);
}

static int pty_post_signal(struct req *r, const struct route_match *m, struct err *e)
{
	return pty_with_body(r, m, pty_do_signal, e);
}

const struct route execd_routes_pty[] = {
	{HTTP_POST, "/pty", ROUTE_BODY, pty_post},
	{HTTP_GET, "/pty", 0, pty_get_list},
	{HTTP_GET, "/pty/{}", 0, pty_get},
	{HTTP_DELETE, "/pty/{}", 0, pty_remove},
	{HTTP_GET, "/pty/{}/ws", 0, pty_get_ws},
	{HTTP_GET, "/pty/{}/output", 0, pty_get_output},
	{HTTP_POST, "/pty/{}/input", ROUTE_BODY, pty_post_input},
	{HTTP_POST, "/pty/{}/resize", ROUTE_BODY, pty_post_resize},
	{HTTP_POST, "/pty/{}/signal", ROUTE_BODY, pty_post_signal},
	{0},
};
