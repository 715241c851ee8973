/* The event streams of a command: of the request that started it, and of those that look on. */
#include <stdio.h>
#include <stdlib.h>

#include "boxd/limits.h"
#include "command_internal.h"
#include "run_internal.h"

#define COMMAND_TRACEBACK_MAX 512

struct command_stream {
	struct run_stream run;
	struct proc *proc;
	bool kill_on_disconnect;
	bool started_only;
};

/* execution_complete, or error; nothing but the truth of the exit record. */
static int command_put_end(struct run_stream *rs, struct buf *out)
{
	const struct command_stream *cs = (const struct command_stream *)rs;
	const struct proc_exit *x = proc_exit_record(cs->proc);
	const char *why = proc_start_error(cs->proc);
	char text[COMMAND_TRACEBACK_MAX], code[16];

	if (why != NULL)
		return run_event_error(out, rs->form, why, why);
	if (cs->started_only)
		return run_event_complete(out, rs->form, -1);
	if (x->code == 0 && !x->timed_out)
		return run_event_complete(out, rs->form, x->wall_ms);
	proc_describe(cs->proc, text, sizeof(text));
	/* A command that its timeout ended has no exit code of its own, whatever its handler said.
	 */
	snprintf(code, sizeof(code), "%d", x->timed_out ? -1 : x->code);
	return run_event_error(out, rs->form, code, text);
}

static void command_gone(struct run_stream *rs)
{
	const struct command_stream *cs = (const struct command_stream *)rs;
	struct err e = {0};

	/* A command that has ended in the meantime needs no kill: that error is no error. */
	if (cs->kill_on_disconnect && proc_running(cs->proc))
		(void)!proc_stop(cs->proc, limit(LIMIT_PROC_GRACE_MS), &e);
}

static void command_release(struct run_stream *rs)
{
	struct command_stream *cs = (struct command_stream *)rs;

	proc_unref(cs->proc);
	free(cs);
}

static const struct run_source command_source = {command_put_end, command_gone, command_release};

int command_stream_begin(
	struct req *r, struct app *app, const struct command_stream_opts *o, struct err *e)
{
	struct command_stream *cs = calloc(1, sizeof(*cs));

	if (cs == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (run_stream_init(&cs->run, app, &command_source, o->form, e) < 0) {
		free(cs);
		return -1;
	}
	if (!o->started_only && run_stream_resume(&cs->run, proc_hub(o->proc), o->since, e) < 0) {
		run_stream_fini(&cs->run);
		free(cs);
		return -1;
	}
	cs->proc = proc_ref(o->proc);
	cs->kill_on_disconnect = o->kill_on_disconnect;
	cs->started_only = o->started_only;
	if (o->owner)
		run_stream_own(&cs->run);
	run_stream_begin(&cs->run, r, proc_id(o->proc));
	if (o->started_only)
		run_stream_end(&cs->run);
	return 0;
}
