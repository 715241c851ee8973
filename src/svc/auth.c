/*
 * auth: the token, and keeping web pages out.
 *
 * A browser on the same machine can send requests here that its user never asked for. What a page
 * cannot do is lie about where it comes from: the browser writes Origin, Sec-Fetch-Site and Host.
 * So a request that names a foreign origin is refused, and, where no token guards the daemon, one
 * that reached it under a name somebody else may have pointed at it (DNS rebinding). Programs send
 * none of these but Host, and notice nothing.
 */
#include "boxd/auth.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "boxd/secret.h"
#include "boxd/sse.h"

struct auth_authority {
	struct str host; /* without the brackets of IPv6 and without a final dot */
	bool ipv6;
	bool has_port;
	uint16_t port;
};

/* ---- token ---- */

/* The credentials of `Bearer`, whose name is case-insensitive (RFC 9110 11.1); else absent. */
static struct str auth_bearer(struct str authorization)
{
	struct str scheme = STR("Bearer");
	struct str none = {NULL, 0};

	if (authorization.n <= scheme.n || authorization.p[scheme.n] != ' ' ||
		!str_ieq((struct str){authorization.p, scheme.n}, scheme))
		return none;
	struct str token = {authorization.p + scheme.n, authorization.n - scheme.n};
	while (token.n > 0 && token.p[0] == ' ')
		token = (struct str){token.p + 1, token.n - 1};
	return token;
}

static bool auth_is_token(const char *token, struct str given)
{
	return given.n > 0 && secret_eq(token, strlen(token), given.p, given.n);
}

int auth_check_token(const struct auth_policy *p, const struct auth_request *r, struct err *e)
{
	if (p->token == NULL)
		return 0;
	/* Either place will do: a proxy in front may use Authorization for itself. */
	if (auth_is_token(p->token, r->access_token) ||
		auth_is_token(p->token, auth_bearer(r->authorization)))
		return 0;
	return err_set(e, &ERR_UNAUTHORIZED, "invalid or missing access token");
}

/* ---- tickets ---- */

static bool auth_list_has(struct str list, struct str word)
{
	struct str element;

	while (str_list_next(&list, &element))
		if (str_ieq(element, word))
			return true;
	return false;
}

bool auth_takes_ticket(const struct auth_ticket_request *r)
{
	if (!r->get)
		return false;
	if (str_eq(r->path, STR("/terminal")) || str_eq(r->path, STR("/terminal/")))
		return true;
	if (auth_list_has(r->connection, STR("upgrade")) &&
		auth_list_has(r->upgrade, STR("websocket")))
		return true;
	return sse_form_of(r->accept) == SSE_STANDARD;
}

/* ---- names ---- */

static bool auth_is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_';
}

static bool auth_is_ip(int family, struct str s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n) != NULL)
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	return inet_pton(family, text, &addr) == 1;
}

/* What follows the host: nothing, or ':' and a port, which may be empty (RFC 3986 3.2.3). */
static bool auth_parse_port(struct str rest, struct auth_authority *out)
{
	uint64_t port;

	if (rest.n == 0)
		return true;
	if (rest.p[0] != ':')
		return false;
	if (rest.n == 1)
		return true;
	if (!str_u64((struct str){rest.p + 1, rest.n - 1}, &port) || port > UINT16_MAX)
		return false;
	out->has_port = true;
	out->port = (uint16_t)port;
	return true;
}

/* host[:port] or [v6][:port]. No user part, no zone: nothing that a browser would not send. */
static bool auth_parse_authority(struct str s, struct auth_authority *out)
{
	size_t n = 0;

	*out = (struct auth_authority){0};
	if (s.n > 0 && s.p[0] == '[') {
		const char *end = memchr(s.p, ']', s.n);

		if (end == NULL)
			return false;
		n = (size_t)(end - s.p) + 1;
		out->host = (struct str){s.p + 1, n - 2};
		out->ipv6 = true;
		return auth_is_ip(AF_INET6, out->host) &&
		       auth_parse_port((struct str){s.p + n, s.n - n}, out);
	}
	while (n < s.n && auth_is_name_byte(s.p[n]))
		n++;
	out->host = (struct str){s.p, n};
	if (n > 1 && s.p[n - 1] == '.')
		out->host.n--; /* the root of DNS: the same name */
	return n > 0 && auth_parse_port((struct str){s.p + n, s.n - n}, out);
}

static uint16_t auth_default_port(struct str scheme)
{
	if (str_ieq(scheme, STR("http")))
		return 80;
	return str_ieq(scheme, STR("https")) ? 443 : 0;
}

/* scheme://authority. False for "null" and for anything that is no tuple origin. */
static bool auth_parse_origin(struct str s, struct str *scheme, struct auth_authority *a)
{
	const char *colon = s.n > 0 ? memchr(s.p, ':', s.n) : NULL;
	size_t n = colon != NULL ? (size_t)(colon - s.p) : 0;

	if (n == 0 || s.n - n < 3 || memcmp(colon, "://", 3) != 0)
		return false;
	*scheme = (struct str){s.p, n};
	if (!auth_parse_authority((struct str){s.p + n + 3, s.n - n - 3}, a))
		return false;
	if (!a->has_port)
		a->port = auth_default_port(*scheme);
	return true;
}

/* Both as parsed; ports already made explicit. */
static bool auth_same_authority(const struct auth_authority *a, const struct auth_authority *b)
{
	return a->ipv6 == b->ipv6 && str_ieq(a->host, b->host) && a->port == b->port;
}

/* ---- browser checks ---- */

static bool auth_origin_is(struct str origin, const char *allowed)
{
	struct str x_scheme, y_scheme;
	struct auth_authority x, y;

	if (!auth_parse_origin(origin, &x_scheme, &x) ||
		!auth_parse_origin(str_of(allowed), &y_scheme, &y))
		return str_ieq(origin, str_of(allowed));
	return str_ieq(x_scheme, y_scheme) && auth_same_authority(&x, &y);
}

static bool auth_origin_allowed(const struct auth_policy *p, struct str origin)
{
	for (char *const *o = p->allow_origins; o != NULL && *o != NULL; o++)
		if (strcmp(*o, "*") == 0 || (origin.p != NULL && auth_origin_is(origin, *o)))
			return true;
	return false;
}

/* Is the page from this very daemon? Behind a TLS proxy only the scheme differs. */
static bool auth_origin_is_own(struct str origin, struct str host)
{
	struct str scheme;
	struct auth_authority page, own;

	if (!auth_parse_origin(origin, &scheme, &page) || !auth_parse_authority(host, &own))
		return false;
	if (auth_default_port(scheme) == 0)
		return false;
	if (!own.has_port)
		own.port = auth_default_port(scheme);
	return auth_same_authority(&page, &own);
}

static bool auth_is_localhost(struct str host)
{
	struct str suffix = STR(".localhost");

	if (str_ieq(host, STR("localhost")))
		return true;
	return host.n > suffix.n &&
	       str_ieq((struct str){host.p + host.n - suffix.n, suffix.n}, suffix);
}

/* An allowed name holds for every port unless it has one itself. */
static bool auth_host_is(const struct auth_authority *host, const char *allowed)
{
	struct auth_authority a;

	return auth_parse_authority(str_of(allowed), &a) && a.ipv6 == host->ipv6 &&
	       str_ieq(a.host, host->host) &&
	       (!a.has_port || (host->has_port && host->port == a.port));
}

/* Can nobody else have made this name lead here? */
static bool auth_host_allowed(const struct auth_policy *p, struct str host)
{
	struct auth_authority a;
	bool parsed = auth_parse_authority(host, &a);

	if (parsed && (a.ipv6 || auth_is_ip(AF_INET, a.host) || auth_is_localhost(a.host)))
		return true;
	for (char *const *h = p->allow_hosts; h != NULL && *h != NULL; h++)
		if (strcmp(*h, "*") == 0 || (parsed && auth_host_is(&a, *h)))
			return true;
	return false;
}

int auth_check_browser(const struct auth_policy *p, const struct auth_request *r, struct err *e)
{
	bool allowed = auth_origin_allowed(p, r->origin);

	if (r->origin.p != NULL && !allowed && !auth_origin_is_own(r->origin, r->host))
		return err_set(e, &ERR_FORBIDDEN, "origin not allowed");
	if (!allowed && (str_ieq(r->sec_fetch_site, STR("cross-site")) ||
				str_ieq(r->sec_fetch_site, STR("same-site"))))
		return err_set(e, &ERR_FORBIDDEN, "request from another site");
	/* A client without Host is no browser; a unix socket has no name to re-bind. */
	if (p->token == NULL && !r->unix_socket && r->host.p != NULL &&
		!auth_host_allowed(p, r->host))
		return err_set(e, &ERR_FORBIDDEN, "host not allowed");
	return 0;
}
