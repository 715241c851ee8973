/*
 * What of a head the port proxy passes on (contract 1.34, RFC 9110 7.6). Framing and connection
 * management are each side's own, so their fields are dropped and written anew; everything else
 * goes through as it came, in its order and as often as it was there. What gives access to this
 * daemon does not reach a target.
 */
#include <string.h>

#include "boxd/err.h"
#include "boxd/reply.h"
#include "proxy_internal.h"

#define PROXY_PREFIX "/proxy/"

/* ---- names ---- */

static bool proxy_is_any(struct str name, const struct str *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (str_ieq(name, list[i]))
			return true;
	}
	return false;
}

#define PROXY_NAME(s)              \
	{                          \
		(s), sizeof(s) - 1 \
	}
#define PROXY_IS_ANY(name, list) proxy_is_any((name), (list), sizeof(list) / sizeof((list)[0]))

bool proxy_options_add(struct proxy_options *o, struct str value)
{
	static const struct str own[] = {PROXY_NAME("close"), PROXY_NAME("keep-alive")};
	struct str option;

	while (str_list_next(&value, &option)) {
		if (str_ieq(option, STR("upgrade"))) {
			o->upgrade = true;
		} else if (!PROXY_IS_ANY(option, own)) {
			if (o->n == PROXY_OPTIONS_MAX)
				return false;
			o->name[o->n++] = option;
		}
	}
	return true;
}

bool proxy_is_hop(struct str name, const struct proxy_options *o)
{
	static const struct str hops[] = {PROXY_NAME("Connection"), PROXY_NAME("Keep-Alive"),
		PROXY_NAME("TE"), PROXY_NAME("Trailer"), PROXY_NAME("Transfer-Encoding"),
		PROXY_NAME("Upgrade")};
	const struct str family = STR("Proxy-");

	if (name.n > family.n && str_ieq((struct str){name.p, family.n}, family))
		return true;
	return PROXY_IS_ANY(name, hops) || proxy_is_any(name, o->name, o->n);
}

bool proxy_split_path(struct str path, uint16_t *port, size_t *rest)
{
	const size_t start = sizeof(PROXY_PREFIX) - 1;
	size_t end = start;
	uint64_t value;

	while (end < path.n && path.p[end] != '/')
		end++;
	if (end <= start || end - start > 5 ||
		!str_u64((struct str){path.p + start, end - start}, &value) || value == 0 ||
		value > UINT16_MAX)
		return false;
	*port = (uint16_t)value;
	*rest = end;
	return true;
}

/* ---- the request ---- */

static int proxy_put(struct buf *b, struct str s)
{
	return buf_add(b, s.p, s.n);
}

static int proxy_put_field(struct buf *b, struct str name, struct str value)
{
	return proxy_put(b, name) < 0 || buf_add(b, ": ", 2) < 0 || proxy_put(b, value) < 0 ||
			       buf_add(b, "\r\n", 2) < 0
		       ? -1
		       : 0;
}

int proxy_put_forwarded_for(
	struct buf *b, struct str forwarded_for, struct str real_ip, struct str peer)
{
	struct str first;

	if (!str_list_next(&forwarded_for, &first))
		first = real_ip.n > 0 ? real_ip : peer;
	if (first.n == 0)
		return 0; /* a unix socket, and nobody told */
	if (buf_add_str(b, "X-Forwarded-For: ") < 0 || proxy_put(b, first) < 0)
		return -1;
	if (peer.n > 0 && (buf_add(b, ", ", 2) < 0 || proxy_put(b, peer) < 0))
		return -1;
	return buf_add(b, "\r\n", 2);
}

/* METHOD SP rest SP HTTP/1.1, and Host. */
static int proxy_put_line(struct buf *b, const struct req *r, const struct proxy_target *t)
{
	struct str host = req_host(r);

	if (proxy_put(b, req_method_name(r)) < 0 || buf_add(b, " ", 1) < 0 ||
		proxy_put(b, t->rest.n > 0 ? t->rest : STR("/")) < 0 ||
		proxy_put(b, req_query_part(r)) < 0 || buf_add_str(b, " HTTP/1.1\r\n") < 0)
		return -1;
	if (host.n == 0)
		return buf_printf(b, "Host: 127.0.0.1:%u\r\n", t->port);
	return proxy_put_field(b, STR("Host"), host);
}

/* Credentials of this daemon: they are not the target's business. */
static bool proxy_is_token(const struct auth_policy *policy, struct str authorization)
{
	const struct auth_request shown = {.authorization = authorization};
	struct err e = {0};

	return policy->token != NULL && auth_check_token(policy, &shown, &e) == 0;
}

/* Written by us, or not for the target. */
static bool proxy_drops(const struct proxy_target *t, struct str name, struct str value)
{
	static const struct str own[] = {PROXY_NAME("Host"), PROXY_NAME("Content-Length"),
		PROXY_NAME("Expect"), PROXY_NAME("X-EXECD-ACCESS-TOKEN"),
		PROXY_NAME("X-Forwarded-For"), PROXY_NAME("X-Forwarded-Proto"),
		PROXY_NAME("X-Forwarded-Host")};

	return PROXY_IS_ANY(name, own) ||
	       (str_ieq(name, STR("Authorization")) && proxy_is_token(t->auth, value));
}

static int proxy_put_fields(struct buf *b, const struct req *r, const struct proxy_target *t,
	const struct proxy_options *o)
{
	struct str name, value;

	for (size_t i = 0; req_field_at(r, i, &name, &value); i++) {
		bool upgrade = t->upgrade && str_ieq(name, STR("Upgrade"));

		if (!upgrade && (proxy_is_hop(name, o) || proxy_drops(t, name, value)))
			continue;
		if (proxy_put_field(b, name, value) < 0)
			return -1;
	}
	return 0;
}

/* What is between us and the target. */
static int proxy_put_own(struct buf *b, struct req *r, const struct proxy_target *t)
{
	uint64_t length;

	if (proxy_put_forwarded_for(b, req_field(r, "x-forwarded-for"), req_field(r, "x-real-ip"),
		    str_of(req_peer(r))) < 0 ||
		buf_add_str(b, "X-Forwarded-Proto: http\r\n") < 0)
		return -1;
	if (t->upgrade && buf_add_str(b, "Connection: Upgrade\r\n") < 0)
		return -1;
	switch (req_body_framing(r, &length)) {
	case HTTP_BODY_NONE: break;
	case HTTP_BODY_CHUNKED: return buf_add_str(b, "Transfer-Encoding: chunked\r\n\r\n");
	case HTTP_BODY_LENGTH:
		return buf_printf(b, "Content-Length: %llu\r\n\r\n", (unsigned long long)length);
	}
	return buf_add(b, "\r\n", 2);
}

int proxy_put_request(struct buf *b, struct req *r, struct proxy_target *t, struct err *e)
{
	struct proxy_options o = {.n = 0};
	struct str name, value;

	for (size_t i = 0; req_field_at(r, i, &name, &value); i++) {
		if (str_ieq(name, STR("Connection")) && !proxy_options_add(&o, value))
			return err_set(e, &ERR_BAD_REQUEST, "Connection names too many fields");
	}
	/* Another protocol begins behind the head, so there can be no body. */
	t->upgrade = o.upgrade && req_field(r, "upgrade").n > 0 && req_minor(r) > 0 &&
		     !req_has_body(r);
	if (proxy_put_line(b, r, t) < 0 || proxy_put_fields(b, r, t, &o) < 0 ||
		proxy_put_own(b, r, t) < 0)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	return 0;
}

/* ---- the answer ---- */

int proxy_pass_fields(struct req *r, const struct http1_response *h, const uint8_t *base, bool cors,
	struct err *e)
{
	struct proxy_options o = {.n = 0};

	for (size_t i = 0; i < h->nfields; i++) {
		if (str_ieq(http1_str(base, h->fields[i].name), STR("Connection")) &&
			!proxy_options_add(&o, http1_str(base, h->fields[i].value)))
			return err_set(e, &ERR_BAD_GATEWAY, "Connection names too many fields");
	}
	for (size_t i = 0; i < h->nfields; i++) {
		struct str name = http1_str(base, h->fields[i].name);
		bool upgrade = h->status == 101 && str_ieq(name, STR("Upgrade"));

		if (!upgrade &&
			(proxy_is_hop(name, &o) || str_ieq(name, STR("Content-Length")) ||
				(cors && str_ieq(name, STR("Access-Control-Allow-Origin")))))
			continue;
		reply_field_str(r, name, http1_str(base, h->fields[i].value));
	}
	return 0;
}
