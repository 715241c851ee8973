/*
 * sockets: who listens where.
 *
 * The kernel's tables name a socket by the inode of its descriptor, and a process's descriptors are
 * links that show the inode. So the tables are read first, and then processes are looked through
 * until every socket has an owner. This process comes before the others: its own sockets are known
 * by that, and mostly nobody else has them. /proc is in ascending order of pids, so of several
 * processes that share a socket, parent and forked workers for example, the parent is found.
 *
 * Nothing of this is one moment in time: sockets come and go between two reads. A process that is
 * found is held by its directory, so that name, command line and descriptors are one process's.
 */
#include "boxd/sockets.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boxd/cleanup.h"
#include "boxd/clock.h"
#include "boxd/log.h"

/* Every port on one address; a box that listens on more is not shown whole. */
#define SOCKETS_ROWS_MAX 65536
/* For a piece of a table. A line has less than 200 bytes. */
#define SOCKETS_BUF_BYTES 16384

#define SOCKETS_STATE_LISTEN 0x0A /* TCP_LISTEN of the kernel */

enum sockets_phase {
	SOCKETS_TABLE4,
	SOCKETS_TABLE6,
	SOCKETS_SELF,  /* the descriptors of this process */
	SOCKETS_PROCS, /* those of the others */
	SOCKETS_DONE
};

struct sockets {
	enum sockets_phase phase;
	int proc_fd; /* -1: there is no /proc */
	int table_fd;
	size_t len; /* bytes in buf: the beginning of a line */
	uint8_t buf[SOCKETS_BUF_BYTES];

	/* By inode while owners are looked for, in the order of the listing afterwards. */
	struct sockets_row *rows;
	size_t n, cap;
	size_t unowned; /* rows that still want an owner */

	DIR *procs;
	DIR *fds;   /* of the process at hand */
	int pid_fd; /* its directory */
	pid_t pid;
	const struct sockets_owner *owner; /* made when it has the first of the sockets */
	SLIST_HEAD(, sockets_owner) owners;
};

/* ---- text ---- */

static struct str sockets_word(struct str *rest)
{
	struct str word;

	while (rest->n > 0 && rest->p[0] == ' ')
		*rest = (struct str){rest->p + 1, rest->n - 1};
	word = (struct str){rest->p, 0};
	while (word.n < rest->n && word.p[word.n] != ' ')
		word.n++;
	*rest = (struct str){rest->p + word.n, rest->n - word.n};
	return word;
}

/* Exactly `digits` digits, at most eight, at the beginning of *s, which advances. */
static bool sockets_hex(struct str *s, size_t digits, uint32_t *out)
{
	uint32_t v = 0;

	if (s->n < digits)
		return false;
	for (size_t i = 0; i < digits; i++) {
		int d = str_hex_digit((unsigned char)s->p[i]);

		if (d < 0)
			return false;
		v = v << 4 | (uint32_t)d;
	}
	*s = (struct str){s->p + digits, s->n - digits};
	*out = v;
	return true;
}

/*
 * An address and a port. The kernel prints each 32 bits of the address as a number of this
 * machine, though their bytes are in network order: stored as a number, they are right again.
 */
static bool sockets_parse_endpoint(struct str s, bool ipv6, struct sockets_row *out)
{
	uint32_t word, port;

	for (size_t i = 0; i < (ipv6 ? 4u : 1u); i++) {
		if (!sockets_hex(&s, 8, &word))
			return false;
		memcpy(out->addr + i * sizeof(word), &word, sizeof(word));
	}
	if (s.n != 5 || s.p[0] != ':')
		return false;
	s = (struct str){s.p + 1, s.n - 1};
	if (!sockets_hex(&s, 4, &port))
		return false;
	out->port = (uint16_t)port;
	return true;
}

/* "sl: local remote state tx:rx tr:when retransmits uid timeout inode ...", split by blanks. */
enum sockets_line sockets_parse_line(struct str line, bool ipv6, struct sockets_row *out)
{
	enum {
		SLOT,
		LOCAL,
		REMOTE,
		STATE,
		QUEUES,
		TIMER,
		RETRANSMITS,
		OWNER,
		TIMEOUT,
		INODE,
		WORDS
	};
	struct str w[WORDS], rest = line;
	struct sockets_row row = {.ipv6 = ipv6}, remote = {0};
	uint64_t uid;
	uint32_t state;

	for (size_t i = 0; i < WORDS; i++)
		w[i] = sockets_word(&rest);
	if (w[SLOT].n < 2 || w[SLOT].p[w[SLOT].n - 1] != ':' ||
		!sockets_parse_endpoint(w[LOCAL], ipv6, &row) ||
		!sockets_parse_endpoint(w[REMOTE], ipv6, &remote) || w[STATE].n != 2 ||
		!sockets_hex(&w[STATE], 2, &state) || !str_u64(w[OWNER], &uid) ||
		uid > UINT32_MAX || !str_u64(w[INODE], &row.inode))
		return SOCKETS_NO_ROW;
	if (state != SOCKETS_STATE_LISTEN)
		return SOCKETS_OTHER;
	row.uid = (uint32_t)uid;
	*out = row;
	return SOCKETS_LISTENING;
}

void sockets_format_addr(const struct sockets_row *row, char out[static SOCKETS_ADDR_MAX])
{
	if (inet_ntop(row->ipv6 ? AF_INET6 : AF_INET, row->addr, out, SOCKETS_ADDR_MAX) == NULL)
		out[0] = '\0'; /* cannot happen: the families and the size are right */
}

bool sockets_parse_link(struct str link, uint64_t *inode)
{
	struct str head = STR("socket:[");

	if (link.n <= head.n || memcmp(link.p, head.p, head.n) != 0 || link.p[link.n - 1] != ']')
		return false;
	return str_u64((struct str){link.p + head.n, link.n - head.n - 1}, inode);
}

/* ---- rows ---- */

static int sockets_add(struct sockets *s, const struct sockets_row *row, struct err *e)
{
	if (s->n == SOCKETS_ROWS_MAX) {
		log_warn("sockets", "more than %zu listening sockets: the rest is not seen", s->n);
		return 0;
	}
	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 32 : s->cap * 2;
		struct sockets_row *more = realloc(s->rows, cap * sizeof(*more));

		if (more == NULL)
			return err_set(e, &ERR_UNAVAILABLE, "out of memory");
		s->rows = more;
		s->cap = cap;
	}
	s->rows[s->n++] = *row;
	return 0;
}

static int sockets_compare(const void *a, const void *b)
{
	const struct sockets_row *x = a, *y = b;

	if (x->port != y->port)
		return (x->port > y->port) - (x->port < y->port);
	if (x->ipv6 != y->ipv6)
		return x->ipv6 ? 1 : -1;
	int order = memcmp(x->addr, y->addr, sizeof(x->addr));

	return order != 0 ? order : (x->inode > y->inode) - (x->inode < y->inode);
}

static int sockets_compare_inode(const void *a, const void *b)
{
	const struct sockets_row *x = a, *y = b;

	if (x->inode != y->inode)
		return (x->inode > y->inode) - (x->inode < y->inode);
	return sockets_compare(a, b);
}

/*
 * Puts the rows into the order in which owners are looked up. A table that changes while it is read
 * shows a row twice when the reading goes on by the number of rows seen: one of them goes.
 */
static void sockets_index(struct sockets *s)
{
	size_t kept = 0;

	if (s->n > 0)
		qsort(s->rows, s->n, sizeof(*s->rows), sockets_compare_inode);
	s->unowned = 0;
	for (size_t i = 0; i < s->n; i++) {
		const struct sockets_row *row = &s->rows[i];

		if (kept > 0 && row->inode != 0 &&
			sockets_compare_inode(row, &s->rows[kept - 1]) == 0)
			continue;
		s->rows[kept++] = *row;
		if (row->inode != 0)
			s->unowned++;
	}
	s->n = kept;
}

/* The first row that has this inode, or is behind where it would be. */
static size_t sockets_lower_bound(const struct sockets *s, uint64_t inode)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->rows[middle].inode < inode)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- tables ---- */

/* Takes the whole lines of what was read; the rest is moved to the front. */
static int sockets_take_lines(struct sockets *s, struct err *e)
{
	size_t at = 0;

	for (;;) {
		const uint8_t *lf = memchr(s->buf + at, '\n', s->len - at);
		struct sockets_row row;

		if (lf == NULL)
			break;
		struct str line = {(const char *)s->buf + at, (size_t)(lf - s->buf) - at};

		if (sockets_parse_line(line, s->phase == SOCKETS_TABLE6, &row) ==
				SOCKETS_LISTENING &&
			sockets_add(s, &row, e) < 0)
			return -1;
		at += line.n + 1;
	}
	s->len -= at;
	memmove(s->buf, s->buf + at, s->len);
	return 0;
}

/* One read(2). 1: there may be more; 0: that was all, or there is no such table. */
static int sockets_read_table(struct sockets *s, struct err *e)
{
	const char *name = s->phase == SOCKETS_TABLE6 ? "net/tcp6" : "net/tcp";
	ssize_t n = -1;

	if (s->table_fd < 0 && s->proc_fd >= 0)
		s->table_fd = openat(s->proc_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (s->table_fd >= 0) {
		do
			n = read(s->table_fd, s->buf + s->len, sizeof(s->buf) - s->len);
		while (n < 0 && errno == EINTR);
	}
	if (n > 0) {
		s->len += (size_t)n;
		/* A line that fills all of the buffer is none that the kernel wrote: the next read
		 * has no room, and so the table ends. */
		return sockets_take_lines(s, e) < 0 ? -1 : 1;
	}
	if (s->table_fd >= 0)
		close(steal_fd(&s->table_fd));
	s->len = 0;
	return 0;
}

/* ---- owners ---- */

/* Of a file of the process at hand; 0 also when it cannot be read. */
static size_t sockets_slurp(const struct sockets *s, const char *name, char *to, size_t cap)
{
	CLEANUP_FD int fd = openat(s->pid_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t len = 0;

	while (fd >= 0 && len < cap) {
		ssize_t n = read(fd, to + len, cap - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	return len;
}

static const struct sockets_owner *sockets_make_owner(struct sockets *s, struct err *e)
{
	char cmdline[SOCKETS_CMDLINE_MAX];
	size_t n = sockets_slurp(s, "cmdline", cmdline, sizeof(cmdline));
	struct sockets_owner *o = malloc(sizeof(*o) + n);

	if (o == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	o->pid = s->pid;
	o->cmdline_n = n;
	memcpy(o->cmdline, cmdline, n);
	n = sockets_slurp(s, "comm", o->comm, sizeof(o->comm) - 1);
	if (n > 0 && o->comm[n - 1] == '\n')
		n--;
	o->comm[n] = '\0';
	SLIST_INSERT_HEAD(&s->owners, o, link);
	return o;
}

/* The process at hand has the socket with this inode: is it one of ours to name? */
static int sockets_found(struct sockets *s, uint64_t inode, struct err *e)
{
	if (inode == 0)
		return 0;
	for (size_t i = sockets_lower_bound(s, inode); i < s->n; i++) {
		struct sockets_row *row = &s->rows[i];

		if (row->inode != inode)
			break;
		if (row->owner != NULL)
			continue;
		if (s->owner == NULL && (s->owner = sockets_make_owner(s, e)) == NULL)
			return -1;
		row->owner = s->owner;
		row->self = s->phase == SOCKETS_SELF;
		s->unowned--;
	}
	return 0;
}

static void sockets_leave_process(struct sockets *s)
{
	if (s->fds != NULL)
		closedir(s->fds);
	s->fds = NULL;
	if (s->pid_fd >= 0)
		close(steal_fd(&s->pid_fd));
	s->owner = NULL;
}

/* Its descriptors may belong to somebody else, or it has ended: then there is nothing to see. */
static void sockets_enter_process(struct sockets *s, const char *name, pid_t pid)
{
	int fd = -1;

	s->pid = pid;
	s->pid_fd = openat(s->proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->pid_fd >= 0)
		fd = openat(s->pid_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		s->fds = fdopendir(fd);
	if (s->fds != NULL)
		return;
	if (fd >= 0)
		close(fd);
	sockets_leave_process(s);
}

/* One descriptor of the process at hand. 1: there may be more; 0: it is done with. */
static int sockets_look_at_fd(struct sockets *s, struct err *e)
{
	const struct dirent *d = s->fds != NULL ? readdir(s->fds) : NULL;
	char text[40]; /* "socket:[" and a number; what is longer is something else */
	uint64_t inode;

	if (d == NULL) {
		sockets_leave_process(s);
		return 0;
	}
	ssize_t n = readlinkat(dirfd(s->fds), d->d_name, text, sizeof(text));

	if (n > 0 && sockets_parse_link((struct str){text, (size_t)n}, &inode) &&
		sockets_found(s, inode, e) < 0)
		return -1;
	return 1;
}

/* The next process. 1: there may be more; 0: that was the last. */
static int sockets_next_process(struct sockets *s)
{
	const struct dirent *d;
	uint64_t pid;

	if (s->procs == NULL) {
		int fd = openat(s->proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		s->procs = fd >= 0 ? fdopendir(fd) : NULL;
		if (s->procs == NULL && fd >= 0)
			close(fd);
	}
	d = s->procs != NULL ? readdir(s->procs) : NULL;
	if (d == NULL)
		return 0;
	if (str_u64(str_of(d->d_name), &pid) && pid > 0 && pid <= INT32_MAX)
		sockets_enter_process(s, d->d_name, (pid_t)pid);
	return 1;
}

/* ---- steps ---- */

/* 1: the phase goes on; 0: it is over. */
static int sockets_advance(struct sockets *s, struct err *e)
{
	if (s->phase == SOCKETS_TABLE4 || s->phase == SOCKETS_TABLE6)
		return sockets_read_table(s, e);
	if (s->unowned == 0)
		return 0;
	if (s->phase == SOCKETS_SELF)
		return sockets_look_at_fd(s, e);
	if (s->fds == NULL)
		return sockets_next_process(s);
	return sockets_look_at_fd(s, e) < 0 ? -1 : 1;
}

static void sockets_next_phase(struct sockets *s)
{
	sockets_leave_process(s);
	s->phase++;
	if (s->phase == SOCKETS_SELF) {
		sockets_index(s);
		sockets_enter_process(s, "self", getpid());
	} else if (s->phase == SOCKETS_DONE) {
		if (s->n > 0)
			qsort(s->rows, s->n, sizeof(*s->rows), sockets_compare);
	}
}

struct sockets *sockets_new(const char *proc)
{
	struct sockets *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->table_fd = s->pid_fd = -1;
	s->proc_fd = open(proc, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return s;
}

void sockets_free(struct sockets *s)
{
	if (s == NULL)
		return;
	sockets_leave_process(s);
	if (s->procs != NULL)
		closedir(s->procs);
	if (s->table_fd >= 0)
		close(s->table_fd);
	if (s->proc_fd >= 0)
		close(s->proc_fd);
	while (!SLIST_EMPTY(&s->owners)) {
		struct sockets_owner *o = SLIST_FIRST(&s->owners);

		SLIST_REMOVE_HEAD(&s->owners, link);
		free(o);
	}
	free(s->rows);
	free(s);
}

int sockets_step(struct sockets *s, int64_t until_ms, struct err *e)
{
	do {
		int res = sockets_advance(s, e);

		if (res < 0)
			return -1;
		if (res == 0 && s->phase != SOCKETS_DONE)
			sockets_next_phase(s);
	} while (s->phase != SOCKETS_DONE && clock_mono_ms() < until_ms);
	return s->phase != SOCKETS_DONE;
}

const struct sockets_row *sockets_rows(const struct sockets *s, size_t *n)
{
	*n = s->n;
	return s->rows;
}
