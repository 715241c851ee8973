/*
 * GET /terminal: the page that shows a terminal in a browser. It is one document, made of the files
 * in src/api/terminal/ and compressed when the build is configured with BOXD_TERMINAL; it asks for
 * nothing but the daemon's own API. The policy that goes with it lets no other script run: the
 * browser knows ours by their hashes. Styles cannot have that, the terminal emulator writes them
 * while it runs; but a style can load nothing.
 */
#include <stdio.h>

#include "boxd/cond.h"
#include "boxd/reply.h"
#include "boxd/router.h"

#if BOXD_TERMINAL
extern const unsigned char terminal_page[];
extern const size_t terminal_page_size;
extern const char terminal_page_scripts[];
extern const char terminal_page_tag[];

static int terminal_get(struct req *r, const struct route_match *m, struct err *e)
{
	const struct cond cond = {.if_none_match = req_field(r, "if-none-match")};
	char policy[512], tag[64];

	(void)m;
	(void)e;
	snprintf(policy, sizeof(policy),
		"default-src 'none'; script-src %s; style-src 'unsafe-inline'; img-src data:; "
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		terminal_page_scripts);
	reply_field(r, "Content-Security-Policy", policy);
	/* Weak: it stands for the page with and without compression. */
	snprintf(tag, sizeof(tag), "W/%s", terminal_page_tag);
	reply_field(r, "ETag", tag);
	reply_field(r, "Cache-Control", "private, no-cache");
	/* The address may hold a ticket, and the window a terminal: neither is for other pages. */
	reply_field(r, "Referrer-Policy", "no-referrer");
	reply_field(r, "Cross-Origin-Opener-Policy", "same-origin");
	reply_field(r, "Cross-Origin-Resource-Policy", "same-origin");
	reply_field(r, "X-Content-Type-Options", "nosniff");
	if (cond_check(&cond, terminal_page_tag, 0, true) == COND_NOT_MODIFIED)
		reply_empty(r, 304);
	else
		reply_gzipped(
			r, 200, "text/html; charset=utf-8", terminal_page, terminal_page_size);
	return 0;
}
#else
static int terminal_get(struct req *r, const struct route_match *m, struct err *e)
{
	(void)r;
	(void)m;
	return err_set(
		e, &ERR_NOT_SUPPORTED, "this build has no terminal page: BOXD_TERMINAL was off");
}
#endif

const struct route terminal_routes[] = {
	{HTTP_GET, "/terminal", 0, terminal_get},
	{0},
};
