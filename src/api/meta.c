/* What the daemon says about itself: GET /capabilities and GET /openapi.json. */
#include "boxd/config.h"
#include "boxd/jsonw.h"
#include "boxd/reply.h"
#include "boxd/router.h"

extern const unsigned char openapi_json[];
extern const size_t openapi_json_size;

struct capability {
	const char *name;
	bool available;
	const char *reason; /* when it is not */
};

static const struct capability meta_capabilities[] = {
	{"command", true, NULL},
	{"command_events", true, NULL},
	{"files", true, NULL},
	{"directories", true, NULL},
	{"files_search", true, NULL},
	{"files_grep", true, NULL},
	{"session", true, NULL},
	{"pty", true, NULL},
	{"proxy", true, NULL},
	{"ports", true, NULL},
	{"tickets", true, NULL},
	{"code", false, "not in this build"},
	{"metrics", false, "not in this build"},
	{"terminal", BOXD_TERMINAL, "built without the page: BOXD_TERMINAL was off"},
	{"isolated", false, "not in this build"},
	{"hardening", false,
		"children run with the daemon's own privileges: no seccomp filter in this build"},
};

static int meta_get_capabilities(struct req *r, const struct route_match *m, struct err *e)
{
	struct buf body = {0};
	struct jsonw w;

	(void)m;
	jsonw_begin(&w, &body);
	jsonw_object(&w);
	jsonw_key(&w, "version");
	jsonw_str(&w, BOXD_VERSION);
	jsonw_key(&w, "capabilities");
	jsonw_object(&w);
	for (size_t i = 0; i < sizeof(meta_capabilities) / sizeof(meta_capabilities[0]); i++) {
		const struct capability *c = &meta_capabilities[i];

		jsonw_key(&w, c->name);
		jsonw_object(&w);
		jsonw_key(&w, "available");
		jsonw_bool(&w, c->available);
		if (!c->available) {
			jsonw_key(&w, "reason");
			jsonw_str(&w, c->reason);
		}
		jsonw_object_end(&w);
	}
	jsonw_object_end(&w);
	jsonw_object_end(&w);
	if (jsonw_end(&w) < 0) {
		buf_fini(&body);
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	}
	reply_body(r, 200, "application/json; charset=utf-8", buf_data(&body), buf_len(&body));
	buf_fini(&body);
	return 0;
}

static int meta_get_openapi(struct req *r, const struct route_match *m, struct err *e)
{
	(void)m;
	(void)e;
	reply_body(r, 200, "application/json; charset=utf-8", openapi_json, openapi_json_size);
	return 0;
}

const struct route meta_routes[] = {
	{HTTP_GET, "/capabilities", 0, meta_get_capabilities},
	{HTTP_GET, "/openapi.json", 0, meta_get_openapi},
	{0},
};
