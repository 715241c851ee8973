/* GET /ping (contract 1.7): any 200 means healthy, so there is nothing to say. */
#include "boxd/reply.h"
#include "boxd/router.h"

static int ping_get(struct req *r, const struct route_match *m, struct err *e)
{
	(void)m;
	(void)e;
	reply_empty(r, 200);
	return 0;
}

const struct route execd_routes_ping[] = {
	{HTTP_GET, "/ping", 0, ping_get},
	{0},
};
