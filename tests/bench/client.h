/*
 * One HTTP/1.1 connection of the load generator: sends a request that was prepared beforehand,
 * reads the reply as it comes, and counts the events of an event stream. Non-blocking; the caller
 * has the epoll loop.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum event_type {
	EVENT_INIT,
	EVENT_STDOUT,
	EVENT_STDERR,
	EVENT_PING,
	EVENT_GAP,
	EVENT_ERROR,
	EVENT_COMPLETE,
	EVENT_OTHER,
	EVENT_TYPES
};

extern const char *const event_names[EVENT_TYPES];

/* Sums over all connections of a run. */
struct tally {
	uint64_t wire_bytes, body_bytes;
	uint64_t text_bytes; /* in the texts of stdout events, as they stand in the JSON */
	uint64_t events[EVENT_TYPES];
	char last_id[64]; /* from the last init event */
};

enum client_state { CLIENT_CLOSED, CLIENT_CONNECTING, CLIENT_IDLE, CLIENT_HEAD, CLIENT_BODY };

enum client_result {
	CLIENT_AGAIN, /* wait for more */
	CLIENT_REPLY, /* the reply is complete, the connection idle */
	CLIENT_BROKEN /* closed or not HTTP; the descriptor is closed */
};

enum client_chunk { CHUNK_NONE, CHUNK_SIZE, CHUNK_EXT, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER };

struct client {
	int fd;
	enum client_state state;
	struct tally *tally;
	bool count_events;

	const char *out; /* rest of the request */
	size_t out_n;

	int status;
	uint64_t left; /* of the body, or of the chunk */
	enum client_chunk chunk;
	size_t trailer_n; /* length of the trailer line being read */
	char head[1024];
	size_t head_n;

	char *line; /* beginning of a line whose end has not come */
	size_t line_n, line_cap;

	int64_t start; /* for the caller */
};

void client_init(struct client *c, struct tally *tally, bool count_events);
void client_close(struct client *c);

/* Begins to connect to 127.0.0.1; -1 with errno set. rcvbuf 0: the system's size. */
int client_connect(struct client *c, uint16_t port, int rcvbuf);

/* After EPOLLOUT while connecting: 0 when connected, -1 when refused (closed then). */
int client_connected(struct client *c);

/* Sends a request; the bytes are borrowed until the reply began. False: call client_flush() on
 * EPOLLOUT. */
enum client_result client_send(struct client *c, const char *request, size_t n);
enum client_result client_flush(struct client *c);

/* One read(2), at most, of what has come. */
enum client_result client_read(struct client *c);

#endif
