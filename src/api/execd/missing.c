/*
 * The parts of the contract that this build does not have. They answer 501 with a reason, so that a
 * client can tell "not here" from "no such thing"; GET /capabilities lists them.
 */
#include "boxd/router.h"

const struct route execd_routes_missing[] = {
	{HTTP_POST, "/code", ROUTE_MISSING, NULL},
	{HTTP_POST, "/code/*", ROUTE_MISSING, NULL},
	{HTTP_GET, "/metrics", ROUTE_MISSING, NULL},
	{HTTP_GET, "/metrics/*", ROUTE_MISSING, NULL},
	{HTTP_GET, "/v1/isolated/*", ROUTE_MISSING, NULL},
	{0},
};
