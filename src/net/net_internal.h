/*
 * What the files of net/ share: the bodies of server, listener, conn and req. A conn serves one
 * request at a time; pipelined ones wait in its input buffer.
 */
#ifndef BOXD_NET_INTERNAL_H
#define BOXD_NET_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <sys/queue.h>

#include "boxd/buf.h"
#include "boxd/chunked.h"
#include "boxd/clock.h"
#include "boxd/http1.h"
#include "boxd/id.h"
#include "boxd/loop.h"
#include "boxd/req.h"
#include "boxd/server.h"
#include "boxd/tunnel.h"

#define REQ_ID_MAX 64 /* longest X-Request-ID that is echoed */

/* Where the reply to the current request stands. */
enum reply_state {
	REPLY_NONE,
	REPLY_STREAMING, /* stream_start() was called */
	REPLY_DONE       /* all of it is queued */
};

/* One request and its reply; embedded in its connection and reset between requests. */
struct req {
	struct conn *conn;
	struct http1_head *head; /* NULL once released */
	enum http_method method;
	uint8_t minor;
	bool keep_alive; /* what the client allows */
	bool has_body;
	bool continue_owed; /* the client waits for 100 Continue */
	bool stripped;      /* req_strip_path() was called */
	size_t head_len;    /* bytes of the head at the front of conn->in */
	char id[REQ_ID_MAX + 1];

	struct chunked chunked;
	struct buf body; /* a chunked body, decoded */
	struct str body_view;
	size_t body_max;
	size_t body_len; /* raw bytes of a Content-Length body */
	void (*on_body)(struct req *r, void *arg);
	void *on_body_arg;

	const void *context;
	struct op *op;

	enum reply_state reply;
	bool close;          /* the connection ends after this reply */
	bool body_lent;      /* read by a struct intake */
	bool given_date;     /* `fields` has a Date */
	bool given_id;       /* ... and an X-Request-ID */
	struct buf fields;   /* added by reply_field() */
	struct buf trailers; /* and by stream_trailer() */
	bool chunked_reply;
	bool want_room;       /* stream_room() said 0 */
	size_t piece;         /* offset from out.head of the open piece, or PIECE_NONE */
	uint64_t length_left; /* of a reply with a known length */
	void (*on_room)(struct op *op);

	const struct req_body_callbacks *feed; /* req_stream_body() was called */
	enum http_body feed_framing;           /* the head goes before the body is complete */
	uint64_t feed_left;                    /* of a body of known length */
	bool feed_paused;

	const struct tunnel_callbacks *tunnel; /* with CONN_TUNNEL */
	bool tunnel_paused;
	bool tunnel_fresh; /* there is input that was not offered yet, or its end */
	bool tunnel_shut;  /* our side ends when the output is written */
	bool tunnel_ended; /* on_input_end was called */
};

#define PIECE_NONE SIZE_MAX

enum conn_state {
	CONN_HEAD,    /* waiting for, or reading, a request head */
	CONN_BODY,    /* reading a body that a handler wants */
	CONN_FEED,    /* handing on a body as it comes; a reply may be under way */
	CONN_LENT,    /* a struct intake reads the body */
	CONN_REPLY,   /* a request is being answered: input is left alone */
	CONN_TUNNEL,  /* no HTTP any more: what comes is offered to tunnel_callbacks */
	CONN_DISCARD, /* skipping the rest of a body nobody wanted */
	CONN_FLUSH,   /* the last reply is queued; close when it is written */
	CONN_LINGER,  /* our side is shut; reading until the client closes */
	CONN_CLOSED
};

struct conn {
	struct server *srv;
	TAILQ_ENTRY(conn) link;
	int fd;
	enum conn_state state;
	bool unix_socket;
	bool readable;      /* edge-triggered: there may be bytes, or the end, to read */
	bool drained;       /* the last read was a short one */
	bool writable;      /* the socket takes bytes, for all that is known */
	bool fin;           /* the kernel said that the client's side has ended */
	bool draining;      /* `drain` is registered */
	bool peer_shut;     /* ... and that was acted upon */
	bool op_told;       /* cancel() was called */
	bool advancing;     /* conn_advance() is on the stack */
	bool corked;        /* TCP_CORK is set */
	bool peer_known;    /* `peer` was asked for */
	struct event io;    /* input and its end: registered for life */
	struct event drain; /* output: only while the socket is full */
	struct event timer;
	int64_t deadline_ms; /* 0: none */
	int64_t armed_ms;    /* when the timer will fire; 0: not armed */
	char peer[INET6_ADDRSTRLEN];
	struct buf in, out;
	struct http1_scan scan;
	uint64_t discard;             /* body bytes left to skip */
	struct intake *intake;        /* with CONN_LENT */
	struct loop_deferred later;   /* conn_advance() from the loop */
	struct loop_deferred release; /* conn_release() */
	struct req req;
};

TAILQ_HEAD(conn_list, conn);

struct listener {
	SLIST_ENTRY(listener) link;
	struct server *srv;
	int fd;
	char *unix_path; /* unlinked at the end */
	uint16_t port;   /* 0: a unix socket */
	struct event io;
};

struct server {
	struct loop *loop;
	struct server_callbacks cb;
	SLIST_HEAD(, listener) listeners;
	struct conn_list conns;
	size_t nconns;
	bool paused; /* accepting is paused: too many connections or no descriptors */
	struct event resume;
	bool draining;
	void (*on_idle)(void *arg);
	void *on_idle_arg;
	struct loop_deferred idle_call;
	struct http1_head *spare_head; /* most requests end before the next begins: one is enough */
	struct buf spare_out;          /* an empty output queue with room, or none */
	int64_t date_second;
	char date[CLOCK_HTTP_DATE_LEN + 1];
};

/* listener.c */
int listener_open(struct server *s, const char *addr, struct err *e)
	__attribute__((warn_unused_result));
void listener_close(struct listener *l);
void listener_pause(struct server *s);
void listener_resume(struct server *s);
/* How many descriptors connections may use up to: the process's limit less the reserve. */
int listener_fd_ceiling(void);

/* conn.c */
void conn_new(struct server *s, int fd, bool unix_socket);
void conn_close(struct conn *c);
/* Runs the connection's state machine as far as input and output allow. */
void conn_advance(struct conn *c);
/* The reply is complete, or the op has ended: go on to the next request when both are true. */
void conn_reply_progress(struct conn *c);
/* Returns the head's memory and drops the request's bytes from the input. */
void conn_release_head(struct conn *c);
void conn_set_deadline(struct conn *c, int64_t after_ms);
void conn_clear_deadline(struct conn *c);
/* Does the connection end after the reply whose head is being written? */
bool conn_must_close(const struct conn *c);

/* Answers a request that could not be read, and ends the connection after that. */
void conn_bad(struct conn *c, const struct err_kind *kind, const char *detail);

/* The peer is lost; why is an errno, or 0. */
void conn_gone(struct conn *c, int why);

/* conn_out.c */
/* Writes what is queued. */
void conn_flush(struct conn *c);
/* Gives an empty output queue the spare memory, for somebody who will write much. */
void conn_take_out(struct conn *c);
/*
 * Sends what is queued, then of a file. The bytes that went (0: the socket is full, or the
 * connection has ended), or -1 when the file gave none.
 */
ssize_t conn_send_file(struct conn *c, int fd, uint64_t *offset, size_t n)
	__attribute__((warn_unused_result));
/* The last bytes of a file are not held back any longer. */
void conn_uncork(struct conn *c);

/* intake.c */
/* The socket that is lent has input (or its end), or nothing came in time. */
void intake_on_input(struct intake *in, bool timed_out);

/* tunnel.c */
/* Offers the input. True when it did something. */
bool tunnel_step(struct conn *c);
/* Does it want more of it? */
bool tunnel_wants_input(const struct conn *c);
/* The output is written: ends our side when that was asked for. */
void tunnel_written(struct conn *c);

/* body.c */
/* Sends `100 Continue` if the client waits for it. */
void body_continue(struct req *r);
/* Consumes what has arrived of the body. True when it was complete, or bad. */
bool conn_body_step(struct conn *c);
/* The same with CONN_FEED. True when something moved. */
bool body_feed_step(struct conn *c);
/* No more of it comes: tells its taker why. */
void body_feed_bad(struct conn *c, const struct err_kind *kind, const char *detail);
/* Something moved: what the connection waits for now, and how long. */
void body_feed_touch(struct conn *c);

/* reply.c */
/* Queues the head of a reply. length: STREAM_CHUNKED when unknown. 0, or -1: no memory, conn
 * closed. */
int reply_write_head(struct req *r, int status, const char *content_type, uint64_t length)
	__attribute__((warn_unused_result));

/* server.c */
void server_conn_gone(struct server *s);

#endif
