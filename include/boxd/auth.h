/*
 * Who may talk to the daemon (DESIGN 3.7): the token, and the checks that keep web pages out.
 */
#ifndef BOXD_AUTH_H
#define BOXD_AUTH_H

#include <stdbool.h>

#include "boxd/err.h"
#include "boxd/str.h"

struct auth_policy {
	const char *token;          /* NULL: everybody */
	char *const *allow_hosts;   /* NULL-terminated; "*": all */
	char *const *allow_origins; /* NULL-terminated; "*": all */
};

struct auth_request {
	struct str access_token; /* X-EXECD-ACCESS-TOKEN; p == NULL: absent */
	struct str authorization;
	struct str origin;
	struct str sec_fetch_site;
	struct str host;
	bool unix_socket;
};

/* Token, in constant time: X-EXECD-ACCESS-TOKEN, or `Authorization: Bearer`. 0, or -1 with
 * ERR_UNAUTHORIZED. */
int auth_check_token(const struct auth_policy *p, const struct auth_request *r, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * 0, or -1 with ERR_FORBIDDEN: an Origin that is not the request's own host and not allowed (also
 * "null"), `Sec-Fetch-Site: cross-site` or `same-site` without an allowed Origin, or, when there is
 * no token to stop a page that re-binds its name, a Host that is neither an IP address literal, nor
 * localhost, nor allowed.
 */
int auth_check_browser(const struct auth_policy *p, const struct auth_request *r, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* What decides whether a request may show a ticket (ticket.h) in place of the token. */
struct auth_ticket_request {
	bool get;        /* GET; HEAD is none */
	struct str path; /* raw */
	struct str connection;
	struct str upgrade;
	struct str accept;
};

/* The requests for which a browser can send no header: WebSockets, event streams and the page. */
bool auth_takes_ticket(const struct auth_ticket_request *r)
	__attribute__((warn_unused_result, nonnull));

#endif
