/* What the files of the command resource share. */
#ifndef BOXD_COMMAND_INTERNAL_H
#define BOXD_COMMAND_INTERNAL_H

#include <stdbool.h>

#include "boxd/json.h"
#include "boxd/proc.h"
#include "boxd/req.h"
#include "boxd/router.h"
#include "boxd/sse.h"
#include "launch_internal.h"

/* The body of POST /command. Strings belong to root. */
struct command_params {
	struct json *root;
	const char **argv; /* owned */
	struct launch_params launch;
	struct proc_spec spec; /* points into the three above */
	bool background;
	bool kill_on_disconnect;
};

/*
 * command_params.c: contract 1.19 and the extensions. -1 with ERR_BAD_BODY (or ERR_UNAVAILABLE);
 * command_params_fini() in either case.
 */
int command_params_parse(struct command_params *p, struct str body, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void command_params_fini(struct command_params *p) __attribute__((nonnull));

/*
 * command_stream.c: begins the event stream that answers r. With `owner` the stream paces the
 * command, otherwise it observes it from offset `since`. -1 with e set: nothing was begun.
 */
struct command_stream_opts {
	struct proc *proc;
	enum sse_form form;
	uint64_t since;
	bool owner;
	bool kill_on_disconnect;
	bool started_only; /* background: init, ping, complete */
};
int command_stream_begin(struct req *r, struct app *app, const struct command_stream_opts *opts,
	struct err *e) __attribute__((warn_unused_result, nonnull));

/* command_logs.c: answers r with the log from a cursor on (contract 1.22). */
int command_logs_begin(struct req *r, struct app *app, struct proc *p, uint64_t cursor,
	struct err *e) __attribute__((warn_unused_result, nonnull));

#endif
