/* The session resource (contract 1.23-1.25, 4.4): create, list, run, delete. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "boxd/limits.h"
#include "boxd/proc.h"
#include "boxd/reply.h"
#include "boxd/session.h"
#include "launch_internal.h"
#include "run_internal.h"
#include "send_internal.h"

#define SESSION_TRACEBACK_MAX 192

/* ---- create, look at, delete ---- */

static int session_create_and_reply(struct req *r, struct app *app, const struct launch_params *p,
	const struct json *body, struct err *e)
{
	struct session_spec spec = {.launch = p->spec};
	struct session_info info;
	struct session *s;
	struct send out;

	if (json_get_str(body, "shell", &spec.shell, e) < 0 ||
		json_get_str(body, "label", &spec.label, e) < 0)
		return -1;
	if (spec.shell != NULL && spec.shell[0] == '\0')
		return err_set(e, &ERR_BAD_BODY, "shell is empty");
	s = session_create(app->sessions, &spec, e);
	if (s == NULL)
		return -1;
	session_info(s, &info);
	send_begin(&out);
	jsonw_object(&out.w);
	send_str(&out, "session_id", info.id);
	jsonw_object_end(&out.w);
	return send_json(&out, r, 200, e);
}

static int session_post(struct req *r, const struct route_match *m, struct err *e)
{
	return launch_post(r, m->app, session_create_and_reply, e);
}

static void session_put(struct session *s, void *arg)
{
	struct send *out = arg;
	struct session_info info;

	session_info(s, &info);
	jsonw_object(&out->w);
	send_str(out, "session_id", info.id);
	if (info.label != NULL)
		send_str(out, "label", info.label);
	send_bool(out, "running", info.running);
	send_int(out, "queued", (int64_t)info.queued);
	send_int(out, "runs", (int64_t)info.runs);
	if (info.cwd != NULL)
		send_str(out, "cwd", info.cwd);
	if (info.shell != NULL)
		send_str(out, "shell", info.shell);
	if (info.pid != 0)
		send_int(out, "pid", info.pid);
	send_time(out, "created_at", info.created_ms);
	if (info.runs > 0)
		send_time(out, "used_at", info.used_ms);
	jsonw_object_end(&out->w);
}

static int session_get_list(struct req *r, const struct route_match *m, struct err *e)
{
	struct send out;

	send_begin(&out);
	jsonw_array(&out.w);
	sessions_each(m->app->sessions, session_put, &out);
	jsonw_array_end(&out.w);
	return send_json(&out, r, 200, e);
}

static struct session *session_of(const struct route_match *m, struct err *e)
{
	struct session *s = session_find(m->app->sessions, m->param[0].p, m->param[0].n);

	if (s == NULL)
		err_set(e, &ERR_NO_CONTEXT, "no such session");
	return s;
}

static int session_get(struct req *r, const struct route_match *m, struct err *e)
{
	struct session *s = session_of(m, e);
	struct send out;

	if (s == NULL)
		return -1;
	send_begin(&out);
	session_put(s, &out);
	return send_json(&out, r, 200, e);
}

static int session_remove(struct req *r, const struct route_match *m, struct err *e)
{
	struct session *s = session_of(m, e);

	if (s == NULL)
		return -1;
	session_delete(s);
	reply_empty(r, 200);
	return 0;
}

/* ---- run ---- */

struct session_stream {
	struct run_stream stream;
	struct session_run *run; /* NULL once it is of no interest */
	struct session_result result;
	int64_t timeout_ms;
};

/* "exit status 7", and what else may have ended it. */
static void session_describe(const struct session_stream *ss, char *out, size_t cap)
{
	const struct session_result *res = &ss->result;

	switch (res->end) {
	case SESSION_RUN_DONE:
	case SESSION_RUN_SHELL_ENDED:
		proc_describe_end(res->code, res->signal, false, out, cap);
		break;
	case SESSION_RUN_TIMED_OUT:
		snprintf(out, cap, "timeout after %" PRId64 "ms", ss->timeout_ms);
		break;
	case SESSION_RUN_INTERRUPTED: snprintf(out, cap, "interrupted"); break;
	case SESSION_RUN_DELETED: snprintf(out, cap, "the session was deleted"); break;
	case SESSION_RUN_NO_SHELL: snprintf(out, cap, "%s", res->why); break;
	}
}

static int session_put_end(struct run_stream *rs, struct buf *out)
{
	const struct session_stream *ss = (const struct session_stream *)rs;
	const struct session_result *res = &ss->result;
	bool finished = res->end == SESSION_RUN_DONE || res->end == SESSION_RUN_SHELL_ENDED;
	char text[SESSION_TRACEBACK_MAX], code[16];

	if (finished && res->code == 0)
		return run_event_complete(out, rs->form, res->wall_ms);
	session_describe(ss, text, sizeof(text));
	snprintf(code, sizeof(code), "%d", finished ? res->code : -1);
	return run_event_error(out, rs->form, res->end == SESSION_RUN_NO_SHELL ? text : code, text);
}

static void session_stream_gone(struct run_stream *rs)
{
	struct session_stream *ss = (struct session_stream *)rs;

	session_run_free(ss->run);
	ss->run = NULL;
}

static void session_stream_release(struct run_stream *rs)
{
	struct session_stream *ss = (struct session_stream *)rs;

	session_run_free(ss->run);
	free(ss);
}

static const struct run_source session_source = {
	session_put_end, session_stream_gone, session_stream_release};

static void session_on_begin(struct session_run *run, uint64_t begin, void *arg)
{
	struct session_stream *ss = arg;
	struct err e = {0};

	/* Without memory for a reader there is nothing to show: the end comes all the same. */
	if (run_stream_attach(&ss->stream, session_run_hub(run), begin, &e) == 0)
		run_stream_own(&ss->stream);
	else
		session_run_interrupt(run);
}

static void session_on_end(
	struct session_run *run, uint64_t end, const struct session_result *res, void *arg)
{
	struct session_stream *ss = arg;

	(void)run;
	ss->result = *res;
	if (ss->stream.reader != NULL)
		run_stream_bound(&ss->stream, end);
	else
		run_stream_end(&ss->stream);
}

static const struct session_run_callbacks session_callbacks = {session_on_begin, session_on_end};

/* Both the names of today and those that the oldest clients use (contract 1.24). */
static int session_parse_run(const struct json *body, struct session_run_spec *spec, struct err *e)
{
	int64_t max = limit(LIMIT_PROC_TIMEOUT_MAX_MS);

	if (!json_is_object(body))
		return err_set(e, &ERR_BAD_BODY, "the body must be an object");
	if (json_get_str(body, "code", &spec->command, e) < 0 ||
		json_get_str(body, "command", &spec->command, e) < 0 ||
		json_get_str(body, "cwd", &spec->cwd, e) < 0 ||
		json_get_int(body, "timeout_ms", 0, max, &spec->timeout_ms, e) < 0 ||
		json_get_int(body, "timeout", 0, max, &spec->timeout_ms, e) < 0 ||
		json_get_bool(body, "merge_stderr", &spec->merge_stderr, e) < 0)
		return -1;
	if (spec->command == NULL || spec->command[0] == '\0')
		return err_set(e, &ERR_BAD_BODY, "command is required");
	return 0;
}

static int session_stream_begin(struct req *r, struct app *app, struct session *s,
	const struct session_run_spec *spec, struct err *e)
{
	struct session_stream *ss = calloc(1, sizeof(*ss));
	enum sse_form form = sse_form_of(req_field(r, "accept"));

	if (ss == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (run_stream_init(&ss->stream, app, &session_source, form, e) < 0) {
		free(ss);
		return -1;
	}
	ss->timeout_ms = spec->timeout_ms > 0 ? spec->timeout_ms : limit(LIMIT_SESSION_TIMEOUT_MS);
	ss->run = session_run_start(s, spec, &session_callbacks, ss, e);
	if (ss->run == NULL) {
		run_stream_fini(&ss->stream);
		free(ss);
		return -1;
	}
	run_stream_begin(&ss->stream, r, session_run_session_id(ss->run));
	return 0;
}

static int session_post_run(struct req *r, const struct route_match *m, struct err *e)
{
	struct str text = req_body(r);
	struct session *s = session_of(m, e);
	struct session_run_spec spec = {0};
	struct json *body;
	int res = -1;

	if (s == NULL)
		return -1;
	body = json_parse((const uint8_t *)text.p, text.n, e);
	if (body != NULL && session_parse_run(body, &spec, e) == 0)
		res = session_stream_begin(r, m->app, s, &spec, e);
	json_free(body);
	return res;
}

const struct route execd_routes_session[] = {
	{HTTP_POST, "/session", ROUTE_BODY, session_post},
	{HTTP_GET, "/session", 0, session_get_list},
	{HTTP_GET, "/session/{}", 0, session_get},
	{HTTP_DELETE, "/session/{}", 0, session_remove},
	{HTTP_POST, "/session/{}/run", ROUTE_BODY, session_post_run},
	{0},
};
