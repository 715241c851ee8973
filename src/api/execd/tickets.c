/*
 * POST /tickets: for what a browser opens without headers of ours. The answer is a secret for as
 * long as it is good, and is not to be kept by any cache.
 */
#include <string.h>

#include "boxd/clock.h"
#include "boxd/json.h"
#include "boxd/jsonw.h"
#include "boxd/limits.h"
#include "boxd/reply.h"
#include "boxd/router.h"
#include "boxd/ticket.h"

/* *scope is NULL when the ticket shall be good for every path; it belongs to root. */
static int tickets_parse(const struct json *root, const char **scope, struct err *e)
{
	if (json_is_null(root))
		return 0; /* a body of defaults (contract 1.1) */
	if (!json_is_object(root))
		return err_set(e, &ERR_BAD_BODY, "the body must be an object");
	if (json_get_str(root, "scope", scope, e) < 0)
		return -1;
	if (*scope != NULL && **scope != '/')
		return err_set(e, &ERR_BAD_BODY, "scope must be the beginning of a path");
	/* A longer path never gets here. */
	if (*scope != NULL && strlen(*scope) > limit_size(LIMIT_HTTP_TARGET_BYTES))
		return err_set(e, &ERR_BAD_BODY, "scope is longer than %zu bytes",
			limit_size(LIMIT_HTTP_TARGET_BYTES));
	return 0;
}

static int tickets_answer(struct req *r, const char *ticket, struct err *e)
{
	char expires[CLOCK_RFC3339_LEN + 1];
	struct buf body = {0};
	struct jsonw w;
	int res;

	clock_rfc3339(clock_real_ms() + limit(LIMIT_TICKET_MS), expires);
	jsonw_begin(&w, &body);
	jsonw_object(&w);
	jsonw_key(&w, "ticket");
	jsonw_str(&w, ticket);
	jsonw_key(&w, "expires_at");
	jsonw_str(&w, expires);
	jsonw_key(&w, "expires_in_ms");
	jsonw_int(&w, limit(LIMIT_TICKET_MS));
	jsonw_object_end(&w);
	res = jsonw_end(&w);
	if (res == 0) {
		reply_field(r, "Cache-Control", "no-store");
		reply_body(
			r, 201, "application/json; charset=utf-8", buf_data(&body), buf_len(&body));
	}
	if (buf_data(&body) != NULL)
		explicit_bzero(buf_data(&body), buf_len(&body));
	buf_fini(&body);
	return res == 0 ? 0 : err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

static int tickets_post(struct req *r, const struct route_match *m, struct err *e)
{
	struct str text = req_body(r);
	char ticket[TICKET_LEN + 1];
	const char *scope = NULL;
	struct json *root = NULL;
	int res = 0;

	if (text.n > 0) {
		root = json_parse((const uint8_t *)text.p, text.n, e);
		res = root != NULL ? tickets_parse(root, &scope, e) : -1;
	}
	if (res == 0)
		res = tickets_issue(m->app->tickets, scope, ticket, e);
	if (res == 0) {
		res = tickets_answer(r, ticket, e);
		explicit_bzero(ticket, sizeof(ticket));
	}
	json_free(root);
	return res;
}

const struct route execd_routes_tickets[] = {
	{HTTP_POST, "/tickets", ROUTE_BODY, tickets_post},
	{0},
};
