/* The command resource (contract 1.19-1.22): start, list, status, logs, events, interrupt. */
#include <string.h>

#include "boxd/limits.h"
#include "boxd/query.h"
#include "boxd/reply.h"
#include "boxd/utf8.h"
#include "command_internal.h"
#include "send_internal.h"

#define COMMAND_TEXT_MAX 512
/* Of each command text in the list: a thousand whole ones could be gigabytes of JSON. */
#define COMMAND_LIST_CONTENT 1024

/* ---- start ---- */

static int command_post(struct req *r, const struct route_match *m, struct err *e)
{
	struct command_params params;
	struct command_stream_opts opts = {.form = sse_form_of(req_field(r, "accept"))};
	int res = -1;

	if (m->app->streams >= limit_size(LIMIT_STREAM_COUNT))
		return err_set(e, &ERR_TOO_MANY, "too many event streams");
	if (command_params_parse(&params, req_body(r), e) == 0)
		opts.proc = proc_start(m->app->procs, &params.spec, e);
	if (opts.proc != NULL) {
		opts.started_only = params.background;
		opts.owner = !params.background;
		opts.kill_on_disconnect = params.kill_on_disconnect;
		res = command_stream_begin(r, m->app, &opts, e);
		/* Nobody will ever learn its id: it must not run on unseen. */
		if (res < 0 && proc_running(opts.proc)) {
			struct err ignored = {0};

			(void)!proc_stop(opts.proc, 0, &ignored);
		}
	}
	command_params_fini(&params);
	return res;
}

/* ---- look up ---- */

static struct proc *command_find(const struct route_match *m, struct str id, struct err *e)
{
	struct proc *p = proc_find(m->app->procs, id.p, id.n);

	if (p == NULL)
		err_set(e, &ERR_NO_COMMAND, "no such command");
	return p;
}

static void command_put_exit(struct send *out, const struct proc *p, const struct proc_exit *x)
{
	char text[COMMAND_TEXT_MAX];

	send_int(out, "exit_code", x->timed_out ? -1 : x->code);
	proc_describe(p, text, sizeof(text));
	if (text[0] != '\0')
		send_str(out, "error", text);
	if (x->signal != 0)
		send_int(out, "signal", x->signal);
	send_time(out, "finished_at", proc_finished_ms(p));
	send_bool(out, "timed_out", x->timed_out);
	send_bool(out, "oom_killed", x->oom_killed);
	send_bool(out, "interrupted", x->interrupted);
	send_bool(out, "core_dumped", x->core_dumped);
	send_int(out, "duration_ms", x->wall_ms);
	send_int(out, "cpu_user_ms", x->user_ms);
	send_int(out, "cpu_system_ms", x->system_ms);
	send_int(out, "max_rss_kib", x->max_rss_kib);
}

/* A long text is cut to `max` bytes, not inside a character, and marked. */
static void command_put_content(struct send *out, const struct proc *p, size_t max)
{
	const char *text = proc_command(p);
	size_t n = strlen(text);
	bool cut = n > max;

	if (cut)
		n = max - utf8_incomplete_tail((const uint8_t *)text, max);
	jsonw_key(&out->w, "content");
	jsonw_str_n(&out->w, text, n);
	if (cut)
		send_bool(out, "content_truncated", true);
}

/* The record of contract 1.21, and what boxd knows beyond it. */
static void command_put_status(struct send *out, struct proc *p, size_t content_max)
{
	const struct proc_exit *x = proc_exit_record(p);
	const struct outhub *hub = proc_hub(p);

	jsonw_object(&out->w);
	send_str(out, "id", proc_id(p));
	command_put_content(out, p, content_max);
	send_bool(out, "running", proc_running(p));
	send_time(out, "started_at", proc_started_ms(p));
	if (x != NULL)
		command_put_exit(out, p, x);
	else if (proc_pid(p) != 0)
		send_int(out, "pid", proc_pid(p));
	send_int(out, "stdout_bytes", (int64_t)outhub_bytes(hub, OUTHUB_STDOUT));
	send_int(out, "stderr_bytes", (int64_t)outhub_bytes(hub, OUTHUB_STDERR));
	send_int(out, "log_oldest", (int64_t)outhub_oldest(hub));
	send_int(out, "log_end", (int64_t)outhub_total(hub));
	send_int(out, "log_lost", (int64_t)outhub_lost(hub));
	send_bool(out, "pipes_open", proc_pipes_open(p));
	jsonw_object_end(&out->w);
}

static int command_get_status(struct req *r, const struct route_match *m, struct err *e)
{
	struct proc *p = command_find(m, m->param[0], e);
	struct send out;

	if (p == NULL)
		return -1;
	send_begin(&out);
	command_put_status(&out, p, SIZE_MAX);
	return send_json(&out, r, 200, e);
}

static void command_list_one(struct proc *p, void *arg)
{
	command_put_status(arg, p, COMMAND_LIST_CONTENT);
}

static int command_get_list(struct req *r, const struct route_match *m, struct err *e)
{
	struct send out;

	send_begin(&out);
	jsonw_array(&out.w);
	procs_each(m->app->procs, command_list_one, &out);
	jsonw_array_end(&out.w);
	return send_json(&out, r, 200, e);
}

/* ---- output ---- */

/*
 * A decimal offset from the query; absent or empty: 0. Negative: refused. What is no number at all
 * is 0 to the reference and to its clients' cursor, and refused where boxd is alone (strict).
 */
static int command_query_offset(
	const struct req *r, const char *key, bool strict, uint64_t *out, struct err *e)
{
	struct buf value = {0};
	enum query_result res = query_get(req_query(r), key, 0, &value);
	struct str s = {(const char *)buf_data(&value), buf_len(&value)};
	int rc = 0;

	*out = 0;
	bool number = res == QUERY_FOUND && str_u64(s, out);

	if (res == QUERY_NO_MEM)
		rc = err_set(e, &ERR_UNAVAILABLE, "out of memory");
	else if (res == QUERY_BAD || (s.n > 0 && !number && (strict || s.p[0] == '-')))
		rc = err_set(e, &ERR_BAD_QUERY, "%s must be a byte offset", key);
	/* An offset has to fit a JSON number and leave room for arithmetic. */
	if (*out > INT64_MAX)
		*out = INT64_MAX;
	buf_fini(&value);
	return rc;
}

static int command_get_logs(struct req *r, const struct route_match *m, struct err *e)
{
	struct proc *p = command_find(m, m->param[0], e);
	uint64_t cursor;

	if (p == NULL || command_query_offset(r, "cursor", false, &cursor, e) < 0)
		return -1;
	return command_logs_begin(r, m->app, p, cursor, e);
}

static int command_get_events(struct req *r, const struct route_match *m, struct err *e)
{
	struct proc *p = command_find(m, m->param[0], e);
	struct str last = req_field(r, "last-event-id");
	struct command_stream_opts opts = {
		.proc = p,
		.form = sse_form_of(req_field(r, "accept")),
	};

	if (p == NULL || command_query_offset(r, "since", true, &opts.since, e) < 0)
		return -1;
	/* What a browser's EventSource sends when it reconnects counts more than the URL it was
	 * made with. */
	if (last.p != NULL && last.n > 0 && !str_u64(last, &opts.since))
		return err_set(e, &ERR_BAD_QUERY, "Last-Event-ID must be a byte offset");
	if (req_method(r) == HTTP_HEAD) {
		reply_head(r, 200, "text/event-stream", UINT64_MAX);
		return 0;
	}
	return command_stream_begin(r, m->app, &opts, e);
}

/* ---- interrupt ---- */

/* The id of a session means the run that goes on in it (contract 1.20). */
static int command_interrupt(const struct route_match *m, struct str id, struct err *e)
{
	struct session *s = session_find(m->app->sessions, id.p, id.n);
	struct proc *p;

	if (s != NULL)
		return session_interrupt(s, e);
	p = command_find(m, id, e);
	return p == NULL ? -1 : proc_stop(p, limit(LIMIT_PROC_GRACE_MS), e);
}

static int command_delete(struct req *r, const struct route_match *m, struct err *e)
{
	struct buf value = {0};
	int res = -1;

	switch (query_get(req_query(r), "id", 0, &value)) {
	case QUERY_FOUND: break;
	case QUERY_NO_MEM: return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	case QUERY_ABSENT:
	case QUERY_BAD: break;
	}
	if (buf_len(&value) == 0)
		err_set(e, &ERR_MISSING_QUERY, "the query parameter id is required");
	else
		res = command_interrupt(
			m, (struct str){(const char *)buf_data(&value), buf_len(&value)}, e);
	buf_fini(&value);
	if (res == 0)
		reply_empty(r, 200);
	return res;
}

const struct route execd_routes_command[] = {
	{HTTP_POST, "/command", ROUTE_BODY, command_post},
	{HTTP_DELETE, "/command", 0, command_delete},
	{HTTP_GET, "/command", 0, command_get_list},
	{HTTP_GET, "/command/status/{}", 0, command_get_status},
	{HTTP_GET, "/command/{}/logs", 0, command_get_logs},
	{HTTP_GET, "/command/{}/events", 0, command_get_events},
	{0},
};
