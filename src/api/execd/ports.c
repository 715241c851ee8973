/* The ports resource: what is listened on in the box, and waiting until a port accepts. */
#include "boxd/ports.h"

#include <stdlib.h>
#include <string.h>

#include "boxd/jsonw.h"
#include "boxd/limits.h"
#include "boxd/reply.h"
#include "boxd/router.h"
#include "boxd/utf8.h"
#include "files_internal.h"

#define PORT_JSON "application/json; charset=utf-8"
/* Of GET /ports/{n}/wait that does not say. */
#define PORT_WAIT_DEFAULT_MS 30000

/* ---- listing ---- */

struct port_listing {
	struct op op;
	struct ports_list *list;
	struct buf body;
	bool failed; /* memory ran out while the body was written */
	bool gone;   /* the client */
};

/* Arguments with blanks between them. A process may have made anything of them. */
static void port_put_cmdline(struct jsonw *w, const struct sockets_owner *o)
{
	uint8_t text[SOCKETS_CMDLINE_MAX];
	size_t n = o->cmdline_n;

	memcpy(text, o->cmdline, n);
	if (n == sizeof(text)) /* cut, and perhaps inside a character */
		n -= utf8_incomplete_tail(text, n);
	while (n > 0 && text[n - 1] == '\0')
		n--;
	if (n == 0)
		return; /* a zombie, or a thread of the kernel */
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\0')
			text[i] = ' ';
	}
	jsonw_key(w, "cmdline");
	jsonw_str_n(w, text, n);
}

static void port_put_row(struct jsonw *w, const struct sockets_row *row)
{
	char address[SOCKETS_ADDR_MAX];

	sockets_format_addr(row, address);
	jsonw_object(w);
	jsonw_key(w, "port");
	jsonw_int(w, row->port);
	jsonw_key(w, "address");
	jsonw_str(w, address);
	jsonw_key(w, "family");
	jsonw_str(w, row->ipv6 ? "ipv6" : "ipv4");
	if (row->owner != NULL) {
		jsonw_key(w, "pid");
		jsonw_int(w, row->owner->pid);
		if (row->owner->comm[0] != '\0') {
			jsonw_key(w, "command");
			jsonw_str(w, row->owner->comm);
		}
		port_put_cmdline(w, row->owner);
	}
	jsonw_key(w, "uid");
	jsonw_int(w, row->uid);
	if (row->inode != 0) {
		jsonw_key(w, "inode");
		jsonw_int(w, (int64_t)row->inode);
	}
	if (row->self) {
		jsonw_key(w, "self");
		jsonw_bool(w, true);
	}
	jsonw_object_end(w);
}

/* On a disk thread: nobody else looks at the body meanwhile. */
static void port_listing_rows(const struct sockets_row *rows, size_t n, void *arg)
{
	struct port_listing *pl = arg;
	struct jsonw w;

	jsonw_begin(&w, &pl->body);
	jsonw_array(&w);
	for (size_t i = 0; i < n; i++)
		port_put_row(&w, &rows[i]);
	jsonw_array_end(&w);
	pl->failed = jsonw_end(&w) < 0;
}

static void port_listing_done(const struct err *e, void *arg)
{
	struct port_listing *pl = arg;
	struct err failed = {0};

	if (e == NULL && pl->failed) {
		err_set(&failed, &ERR_UNAVAILABLE, "out of memory");
		e = &failed;
	}
	if (!pl->gone && e != NULL)
		router_error(pl->op.req, e);
	else if (!pl->gone)
		reply_body(pl->op.req, 200, PORT_JSON, buf_data(&pl->body), buf_len(&pl->body));
	op_end(&pl->op);
	buf_fini(&pl->body);
	free(pl);
}

static void port_listing_cancel(struct op *op)
{
	struct port_listing *pl = (struct port_listing *)op;

	pl->gone = true;
	ports_list_cancel(pl->list);
}

static int port_get_list(struct req *r, const struct route_match *m, struct err *e)
{
	static const struct ports_list_callbacks callbacks = {
		.rows = port_listing_rows,
		.done = port_listing_done,
	};
	struct port_listing *pl = calloc(1, sizeof(*pl));

	if (pl == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	pl->list = ports_list_start(m->app->pool, &callbacks, pl, e);
	if (pl->list == NULL) {
		free(pl);
		return -1;
	}
	op_begin(&pl->op, r, port_listing_cancel, NULL);
	return 0;
}

/* ---- waiting ---- */

struct port_waiting {
	struct op op;
	struct ports_wait *wait;
	uint16_t port;
};

static void port_waiting_end(struct port_waiting *pw)
{
	op_end(&pw->op);
	free(pw);
}

static void port_waiting_answer(struct port_waiting *pw, const char *address, int64_t waited_ms)
{
	struct buf body = {0};
	struct err e = {0};
	struct jsonw w;

	jsonw_begin(&w, &body);
	jsonw_object(&w);
	jsonw_key(&w, "port");
	jsonw_int(&w, pw->port);
	jsonw_key(&w, "waited_ms");
	jsonw_int(&w, waited_ms);
	jsonw_key(&w, "address");
	jsonw_str(&w, address);
	jsonw_object_end(&w);
	if (jsonw_end(&w) < 0) {
		err_set(&e, &ERR_UNAVAILABLE, "out of memory");
		router_error(pw->op.req, &e);
	} else {
		reply_body(pw->op.req, 200, PORT_JSON, buf_data(&body), buf_len(&body));
	}
	buf_fini(&body);
}

static void port_waiting_done(
	const char *address, int64_t waited_ms, const struct err *e, void *arg)
{
	struct port_waiting *pw = arg;

	if (address != NULL)
		port_waiting_answer(pw, address, waited_ms);
	else
		router_error(pw->op.req, e);
	port_waiting_end(pw);
}

static void port_waiting_cancel(struct op *op)
{
	struct port_waiting *pw = (struct port_waiting *)op;

	ports_wait_cancel(pw->wait);
	port_waiting_end(pw);
}

static int port_get_wait(struct req *r, const struct route_match *m, struct err *e)
{
	uint64_t max = (uint64_t)limit(LIMIT_PORT_WAIT_MS), port;
	uint64_t timeout = max < PORT_WAIT_DEFAULT_MS ? max : PORT_WAIT_DEFAULT_MS;
	struct port_waiting *pw;

	if (!str_u64(m->param[0], &port) || port == 0 || port > UINT16_MAX)
		return err_set(e, &ERR_BAD_REQUEST, "the port must be a number from 1 to 65535");
	if (files_query_u64(r, "timeout_ms", max, &timeout, &ERR_BAD_QUERY, e) < 0)
		return -1;
	pw = calloc(1, sizeof(*pw));
	if (pw == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	pw->port = (uint16_t)port;
	pw->wait = ports_wait_start(
		m->app->ports, pw->port, (int64_t)timeout, port_waiting_done, pw, e);
	if (pw->wait == NULL) {
		free(pw);
		return -1;
	}
	op_begin(&pw->op, r, port_waiting_cancel, NULL);
	return 0;
}

const struct route execd_routes_ports[] = {
	{HTTP_GET, "/ports", 0, port_get_list},
	{HTTP_GET, "/ports/{}/wait", 0, port_get_wait},
	{0},
};
