/* JSON answers, member by member. */
#include "boxd/clock.h"
#include "boxd/reply.h"
#include "send_internal.h"

void send_begin(struct send *s)
{
	s->body = (struct buf){0};
	jsonw_begin(&s->w, &s->body);
}

void send_str(struct send *s, const char *key, const char *value)
{
	jsonw_key(&s->w, key);
	jsonw_str(&s->w, value);
}

void send_int(struct send *s, const char *key, int64_t value)
{
	jsonw_key(&s->w, key);
	jsonw_int(&s->w, value);
}

void send_bool(struct send *s, const char *key, bool value)
{
	jsonw_key(&s->w, key);
	jsonw_bool(&s->w, value);
}

void send_time(struct send *s, const char *key, int64_t ms)
{
	char text[CLOCK_RFC3339_LEN + 1];

	clock_rfc3339(ms, text);
	send_str(s, key, text);
}

int send_json(struct send *s, struct req *r, int status, struct err *e)
{
	int res = jsonw_end(&s->w);

	if (res == 0)
		reply_body(r, status, "application/json; charset=utf-8", buf_data(&s->body),
			buf_len(&s->body));
	buf_fini(&s->body);
	return res == 0 ? 0 : err_set(e, &ERR_UNAVAILABLE, "out of memory");
}
