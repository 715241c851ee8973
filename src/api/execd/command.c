/* The command resource (contract 1.19-1.22): start, list, status, logs, events, interrupt. */
#include <string.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/query.h"
#include "boxd/reply.h"
#include "boxd/utf8.h"
#include "command_internal.h"

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

static void command_put_time(struct jsonw *w, const char *key, int64_t ms)
{
	char text[CLOCK_RFC3339_LEN + 1];

	clock_rfc3339(ms, text);
	jsonw_key(w, key);
	jsonw_str(w, text);
}

static void command_put_int(struct jsonw *w, const char *key, int64_t v)
{
	jsonw_key(w, key);
	jsonw_int(w, v);
}

static void command_put_bool(struct jsonw *w, const char *key, bool v)
{
	jsonw_key(w, key);
	jsonw_bool(w, v);
}

static void command_put_exit(struct jsonw *w, const struct proc *p, const struct proc_exit *x)
{
	char text[COMMAND_TEXT_MAX];

	command_put_int(w, "exit_code", x->timed_out ? -1 : x->code);
	proc_describe(p, text, sizeof(text));
	if (text[0] != '\0') {
		jsonw_key(w, "error");
		jsonw_str(w, text);
	}
	if (x->signal != 0)
		command_put_int(w, "signal", x->signal);
	command_put_time(w, "finished_at", proc_finished_ms(p));
	command_put_bool(w, "timed_out", x->timed_out);
	command_put_bool(w, "oom_killed", x->oom_killed);
	command_put_bool(w, "interrupted", x->interrupted);
	command_put_bool(w, "core_dumped", x->core_dumped);
	command_put_int(w, "duration_ms", x->wall_ms);
	command_put_int(w, "cpu_user_ms", x->user_ms);
	command_put_int(w, "cpu_system_ms", x->system_ms);
	command_put_int(w, "max_rss_kib", x->max_rss_kib);
}

/* A long text is cut to `max` bytes, not inside a character, and marked. */
static void command_put_content(struct jsonw *w, const struct proc *p, size_t max)
{
	const char *text = proc_command(p);
	size_t n = strlen(text);
	bool cut = n > max;

	if (cut)
		n = max - utf8_incomplete_tail((const uint8_t *)text, max);
	jsonw_key(w, "content");
	jsonw_str_n(w, text, n);
	if (cut)
		command_put_bool(w, "content_truncated", true);
}

/* The record of contract 1.21, and what boxd knows beyond it. */
static void command_put_status(struct jsonw *w, struct proc *p, size_t content_max)
{
	const struct proc_exit *x = proc_exit_record(p);
	const struct outhub *hub = proc_hub(p);

	jsonw_object(w);
	jsonw_key(w, "id");
	jsonw_str(w, proc_id(p));
	command_put_content(w, p, content_max);
	command_put_bool(w, "running", proc_running(p));
	command_put_time(w, "started_at", proc_started_ms(p));
	if (x != NULL)
		command_put_exit(w, p, x);
	else if (proc_pid(p) != 0)
		command_put_int(w, "pid", proc_pid(p));
	command_put_int(w, "stdout_bytes", (int64_t)outhub_bytes(hub, OUTHUB_STDOUT));
	command_put_int(w, "stderr_bytes", (int64_t)outhub_bytes(hub, OUTHUB_STDERR));
	command_put_int(w, "log_oldest", (int64_t)outhub_oldest(hub));
	command_put_int(w, "log_end", (int64_t)outhub_total(hub));
	command_put_int(w, "log_lost", (int64_t)outhub_lost(hub));
	command_put_bool(w, "pipes_open", proc_pipes_open(p));
	jsonw_object_end(w);
}

static int command_send_json(struct req *r, struct jsonw *w, struct buf *body, struct err *e)
{
	int res = jsonw_end(w);

	if (res == 0)
		reply_body(
			r, 200, "application/json; charset=utf-8", buf_data(body), buf_len(body));
	buf_fini(body);
	return res == 0 ? 0 : err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

static int command_get_status(struct req *r, const struct route_match *m, struct err *e)
{
	struct proc *p = command_find(m, m->param[0], e);
	struct buf body = {0};
	struct jsonw w;

	if (p == NULL)
		return -1;
	jsonw_begin(&w, &body);
	command_put_status(&w, p, SIZE_MAX);
	return command_send_json(r, &w, &body, e);
}

static void command_list_one(struct proc *p, void *arg)
{
	command_put_status(arg, p, COMMAND_LIST_CONTENT);
}

static int command_get_list(struct req *r, const struct route_match *m, struct err *e)
{
	struct buf body = {0};
	struct jsonw w;

	jsonw_begin(&w, &body);
	jsonw_array(&w);
	procs_each(m->app->procs, command_list_one, &w);
	jsonw_array_end(&w);
	return command_send_json(r, &w, &body, e);
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

static int command_delete(struct req *r, const struct route_match *m, struct err *e)
{
	struct buf id = {0};
	struct proc *p = NULL;

	switch (query_get(req_query(r), "id", 0, &id)) {
	case QUERY_FOUND: break;
	case QUERY_NO_MEM: return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	case QUERY_ABSENT:
	case QUERY_BAD: break;
	}
	if (buf_len(&id) == 0)
		err_set(e, &ERR_MISSING_QUERY, "the query parameter id is required");
	else
		p = command_find(m, (struct str){(const char *)buf_data(&id), buf_len(&id)}, e);
	buf_fini(&id);
	if (p == NULL || proc_stop(p, limit(LIMIT_PROC_GRACE_MS), e) < 0)
		return -1;
	reply_empty(r, 200);
	return 0;
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
