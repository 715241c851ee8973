/*
 * What requests that run something have in common: whose it is, where, and with which variables;
 * and the directory that is made for terminals and sessions when it is not there
 * (contract 1.23, 1.31).
 */
#ifndef BOXD_LAUNCH_INTERNAL_H
#define BOXD_LAUNCH_INTERNAL_H

#include "boxd/json.h"
#include "boxd/launch.h"
#include "boxd/req.h"
#include "boxd/router.h"

/* The fields cwd, envs, uid, gid and user of a body. Strings belong to the body. */
struct launch_params {
	struct launch_var *envs; /* owned */
	struct launch_spec spec; /* points into envs */
};

/* ERR_BAD_BODY, ERR_UNAVAILABLE; launch_params_fini() in either case. *p is zeroed. */
int launch_params_parse(struct launch_params *p, const struct json *body, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void launch_params_fini(struct launch_params *p) __attribute__((nonnull));

/* Makes what the body describes and replies, or sets e. Called once, with a request that lives. */
typedef int launch_create(struct req *r, struct app *app, const struct launch_params *p,
	const struct json *body, struct err *e);

/*
 * Handles a POST whose body is optional: parses it, makes its cwd (mkdir -p, inside the roots, with
 * the rights of the uid in it) and calls create. A cwd that cannot be made because it is outside
 * the roots is left to create, which finds out whether it is there.
 */
int launch_post(struct req *r, struct app *app, launch_create *create, struct err *e)
	__attribute__((warn_unused_result, nonnull));

#endif
