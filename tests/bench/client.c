/*
 * client: request out, reply in.
 *
 * The reader must cost less than the daemon it measures, so a reply is looked at once: memchr()
 * finds the ends of chunks' lines and of events, whole lines are judged where they lie in the read
 * buffer, and only a line that straddles two pieces is copied. Every connection of the process
 * shares one read buffer.
 */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

#define CLIENT_READ (256 * 1024)

#define LITERAL(p, n, lit) ((n) >= sizeof(lit) - 1 && memcmp((p), (lit), sizeof(lit) - 1) == 0)

const char *const event_names[EVENT_TYPES] = {
	"init", "stdout", "stderr", "ping", "gap", "error", "execution_complete", "other"};

void client_init(struct client *c, struct tally *tally, bool count_events)
{
	*c = (struct client){.fd = -1, .tally = tally, .count_events = count_events};
}

void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = CLIENT_CLOSED;
	free(c->line);
	c->line = NULL;
	c->line_n = c->line_cap = 0;
}

static enum client_result client_break(struct client *c)
{
	client_close(c);
	return CLIENT_BROKEN;
}

int client_connect(struct client *c, uint16_t port, int rcvbuf)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -1;
	/* The window is agreed on while connecting, so its size comes first. */
	if (rcvbuf > 0 && setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)) < 0)
		return -1;
	if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		return -1;
	if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno != EINPROGRESS)
		return -1;
	c->state = CLIENT_CONNECTING;
	return 0;
}

int client_connected(struct client *c)
{
	int error = 0;
	socklen_t n = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error != 0) {
		client_close(c);
		return -1;
	}
	c->state = CLIENT_IDLE;
	return 0;
}

enum client_result client_flush(struct client *c)
{
	while (c->out_n > 0) {
		ssize_t n = send(c->fd, c->out, c->out_n, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return CLIENT_AGAIN;
		if (n < 0)
			return client_break(c);
		c->out += n;
		c->out_n -= (size_t)n;
	}
	return CLIENT_AGAIN;
}

enum client_result client_send(struct client *c, const char *request, size_t n)
{
	c->state = CLIENT_HEAD;
	c->head_n = 0;
	c->status = 0;
	c->out = request;
	c->out_n = n;
	return client_flush(c);
}

/* ---- events ---- */

static enum event_type client_type(const char *p, size_t n)
{
	for (int i = 0; i < EVENT_OTHER; i++) {
		size_t len = strlen(event_names[i]);

		if (n > len && memcmp(p, event_names[i], len) == 0 && p[len] == '"')
			return (enum event_type)i;
	}
	return EVENT_OTHER;
}

/* One line without its LF. Only lines that hold an event's object count: id: and blank ones do not.
 */
static void client_line(struct client *c, const char *p, size_t n)
{
	struct tally *t = c->tally;
	enum event_type type;
	const char *quote;

	if (LITERAL(p, n, "data: ")) {
		p += 6;
		n -= 6;
	}
	if (!LITERAL(p, n, "{\"type\":\""))
		return;
	p += 9;
	n -= 9;
	type = client_type(p, n);
	t->events[type]++;
	if (type != EVENT_STDOUT && type != EVENT_INIT)
		return;
	p += strlen(event_names[type]);
	n -= strlen(event_names[type]);
	if (!LITERAL(p, n, "\",\"text\":\""))
		return;
	p += 10;
	n -= 10;
	quote = memchr(p, '"', n);
	if (quote == NULL)
		return;
	if (type == EVENT_STDOUT) {
		t->text_bytes += (uint64_t)(quote - p);
	} else if ((size_t)(quote - p) < sizeof(t->last_id)) {
		memcpy(t->last_id, p, (size_t)(quote - p));
		t->last_id[quote - p] = '\0';
	}
}

static void client_keep(struct client *c, const char *p, size_t n)
{
	if (c->line_cap - c->line_n < n) {
		size_t cap = (c->line_n + n) * 2;
		char *line = realloc(c->line, cap);

		if (line == NULL)
			die("line");
		c->line = line;
		c->line_cap = cap;
	}
	memcpy(c->line + c->line_n, p, n);
	c->line_n += n;
}

static void client_take(struct client *c, const char *p, size_t n)
{
	const char *lf;

	c->tally->body_bytes += n;
	if (!c->count_events)
		return;
	while ((lf = memchr(p, '\n', n)) != NULL) {
		size_t len = (size_t)(lf - p);

		if (c->line_n > 0) {
			client_keep(c, p, len);
			client_line(c, c->line, c->line_n);
			c->line_n = 0;
		} else {
			client_line(c, p, len);
		}
		p += len + 1;
		n -= len + 1;
	}
	if (n > 0)
		client_keep(c, p, n);
}

/* ---- replies ---- */

static enum client_result client_done(struct client *c)
{
	c->state = CLIENT_IDLE;
	c->line_n = 0;
	return CLIENT_REPLY;
}

static int client_hex(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* One byte of a chunk's framing. True when the body is complete. */
static bool client_framing(struct client *c, char ch)
{
	if (c->chunk == CHUNK_TRAILER) {
		if (ch == '\n' && c->trailer_n == 0)
			return true;
		if (ch == '\n')
			c->trailer_n = 0;
		else if (ch != '\r')
			c->trailer_n++;
	} else if (c->chunk == CHUNK_END) {
		if (ch == '\n')
			c->chunk = CHUNK_SIZE;
	} else if (ch == '\n') {
		c->chunk = c->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
		c->trailer_n = 0;
	} else if (c->chunk == CHUNK_SIZE && client_hex(ch) >= 0) {
		c->left = c->left * 16 + (uint64_t)client_hex(ch);
	} else {
		c->chunk = CHUNK_EXT;
	}
	return false;
}

static enum client_result client_body(struct client *c, const char *p, size_t n)
{
	while (n > 0) {
		if (c->chunk == CHUNK_NONE || c->chunk == CHUNK_DATA) {
			size_t take = n < c->left ? n : (size_t)c->left;

			client_take(c, p, take);
			p += take;
			n -= take;
			c->left -= take;
			if (c->left == 0 && c->chunk == CHUNK_NONE)
				return n == 0 ? client_done(c) : client_break(c);
			if (c->left == 0)
				c->chunk = CHUNK_END;
		} else {
			bool end = client_framing(c, *p++);

			n--;
			if (end)
				return n == 0 ? client_done(c) : client_break(c);
		}
	}
	return CLIENT_AGAIN;
}

/* The value of a field in the head, or NULL. Names are compared without case. */
static const char *client_field(const struct client *c, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = c->head; (p = strchr(p, '\n')) != NULL; p++) {
		if (strncasecmp(p + 1, name, len) == 0 && p[1 + len] == ':')
			return p + 1 + len + 1;
	}
	return NULL;
}

/* The head is complete: what body follows? */
static enum client_result client_begin_body(struct client *c)
{
	const char *length = client_field(c, "Content-Length");

	if (!LITERAL(c->head, c->head_n, "HTTP/1.1 "))
		return client_break(c);
	c->status = atoi(c->head + 9);
	c->state = CLIENT_BODY;
	c->chunk = CHUNK_NONE;
	c->left = 0;
	if (length != NULL)
		c->left = strtoull(length, NULL, 10);
	else if (client_field(c, "Transfer-Encoding") != NULL)
		c->chunk = CHUNK_SIZE;
	else if (c->status != 204)
		return client_break(c);
	return CLIENT_AGAIN;
}

static enum client_result client_head(struct client *c, const char *p, size_t n)
{
	size_t before = c->head_n, room = sizeof(c->head) - 1 - before, end_at;
	size_t take = n < room ? n : room;
	const char *end;

	memcpy(c->head + before, p, take);
	c->head_n += take;
	c->head[c->head_n] = '\0';
	end = strstr(c->head, "\r\n\r\n");
	if (end == NULL)
		return take < n ? client_break(c) : CLIENT_AGAIN;
	end_at = (size_t)(end - c->head) + 4;
	c->head_n = end_at;
	c->head[end_at] = '\0';
	if (client_begin_body(c) == CLIENT_BROKEN)
		return CLIENT_BROKEN;
	if (c->chunk == CHUNK_NONE && c->left == 0)
		return end_at - before == n ? client_done(c) : client_break(c);
	return client_body(c, p + (end_at - before), n - (end_at - before));
}

enum client_result client_read(struct client *c)
{
	static char buf[CLIENT_READ];
	ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return CLIENT_AGAIN;
	if (n <= 0)
		return client_break(c);
	c->tally->wire_bytes += (uint64_t)n;
	switch (c->state) {
	case CLIENT_HEAD: return client_head(c, buf, (size_t)n);
	case CLIENT_BODY: return client_body(c, buf, (size_t)n);
	default: return client_break(c); /* bytes nobody asked for */
	}
}
