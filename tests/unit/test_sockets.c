/* Lines of the kernel's tables, and listings out of made-up trees and of the real /proc. */
#include "boxd/sockets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/clock.h"

/* ---- lines ---- */

#define TAIL   " 00000000:00000000 00:00000000 00000000 "
#define REST   " 1 00000000787d1c18 100 0 0 10 0"
#define V6_ANY "00000000000000000000000000000000"

struct line_row {
	const char *line;
	bool ipv6;
	enum sockets_line result;
	uint16_t port;
	const char *addr;
	uint32_t uid;
	uint64_t inode;
};

/* What the tables of the kernel look like; addresses as a little-endian machine shows them. */
static const struct line_row good_lines[] = {
	{"   0: 0100007F:AEE4 00000000:0000 0A" TAIL "    0        0 621" REST, false,
		SOCKETS_LISTENING, 0xAEE4, "127.0.0.1", 0, 621},
	{"  12: 00000000:0050 00000000:0000 0A" TAIL " 1000        0 13414575" REST "   ", false,
		SOCKETS_LISTENING, 80, "0.0.0.0", 1000, 13414575},
	{"1234567: 0201A8C0:FFFF 00000000:0000 0A" TAIL "4294967295 0 18446744073709551615" REST,
		false, SOCKETS_LISTENING, 65535, "192.168.1.2", UINT32_MAX, UINT64_MAX},
	{"0: 0100007f:aee4 00000000:0000 0a" TAIL "0 0 0", false, SOCKETS_LISTENING, 0xAEE4,
		"127.0.0.1", 0, 0},
	{"   0: " V6_ANY ":1F90 " V6_ANY ":0000 0A" TAIL "0 0 7" REST, true, SOCKETS_LISTENING,
		8080, "::", 0, 7},
	{"   1: 00000000000000000000000001000000:C133 " V6_ANY ":0000 0A" TAIL "0 0 7" REST, true,
		SOCKETS_LISTENING, 0xC133, "::1", 0, 7},
	{"   2: 0000000000000000FFFF00000100007F:0001 " V6_ANY ":0000 0A" TAIL "0 0 7" REST, true,
		SOCKETS_LISTENING, 1, "::ffff:127.0.0.1", 0, 7},
	{"   3: B80D01200000000067452301EFCDAB89:0001 " V6_ANY ":0000 0A" TAIL "0 0 7" REST, true,
		SOCKETS_LISTENING, 1, "2001:db8::123:4567:89ab:cdef", 0, 7},
	{"   2: 0100007F:C965 0100007F:BFD4 01" TAIL "    0        0 0 1 0 20 0 0 10 -1", false,
		SOCKETS_OTHER, 0, NULL, 0, 0},
	{"   2: 0100007F:C965 0100007F:BFD4 06" TAIL "    0        0 0", false, SOCKETS_OTHER, 0,
		NULL, 0, 0},
};

static const struct line_row bad_lines[] = {
	{"", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"    ", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
	 "timeout "
	 "inode",
		false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0 0100007F:AEE4 00000000:0000 0A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{": 0100007F:AEE4 00000000:0000 0A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007:AEE4 00000000:0000 0A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007F0:AEE4 00000000:0000 0A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007F:AEE 00000000:0000 0A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007F:AEE45 00000000:0000 0A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007FxAEE4 00000000:0000 0A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007G:AEE4 00000000:0000 0A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007F:AEE4 00000000: 0A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007F:AEE4 00000000:0000 A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007F:AEE4 00000000:0000 0A0" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007F:AEE4 00000000:0000 0A" TAIL "0 0", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007F:AEE4 00000000:0000 0A" TAIL "-1 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: 0100007F:AEE4 00000000:0000 0A" TAIL "4294967296 0 1", false, SOCKETS_NO_ROW, 0, NULL,
		0, 0},
	{"0: 0100007F:AEE4 00000000:0000 0A" TAIL "0 0 18446744073709551616", false, SOCKETS_NO_ROW,
		0, NULL, 0, 0},
	{"0: 0100007F:AEE4 00000000:0000 0A" TAIL "0 0 x", false, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	/* The other family's lines. */
	{"0: 0100007F:AEE4 00000000:0000 0A" TAIL "0 0 1", true, SOCKETS_NO_ROW, 0, NULL, 0, 0},
	{"0: " V6_ANY ":AEE4 " V6_ANY ":0000 0A" TAIL "0 0 1", false, SOCKETS_NO_ROW, 0, NULL, 0,
		0},
};

static void check_lines(const struct line_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct line_row *r = &rows[i];
		struct sockets_row got = {.port = 9};
		char addr[SOCKETS_ADDR_MAX];
		enum sockets_line res = sockets_parse_line(str_of(r->line), r->ipv6, &got);

		if (res != r->result)
			fail_msg("line \"%s\": got %d", r->line, (int)res);
		if (res != SOCKETS_LISTENING) {
			assert_int_equal(got.port, 9);
			continue;
		}
		sockets_format_addr(&got, addr);
		if (got.port != r->port || strcmp(addr, r->addr) != 0 || got.uid != r->uid ||
			got.inode != r->inode || got.ipv6 != r->ipv6 || got.self ||
			got.owner != NULL)
			fail_msg("line \"%s\": got %s port %u uid %" PRIu32 " inode %" PRIu64,
				r->line, addr, got.port, got.uid, got.inode);
	}
}

static void reads_the_lines_of_the_kernel(void **state)
{
	(void)state;
	if (htonl(1) == 1)
		skip(); /* the addresses above are written for the other byte order */
	check_lines(good_lines, sizeof(good_lines) / sizeof(good_lines[0]));
}

static void passes_over_lines_that_are_damaged(void **state)
{
	(void)state;
	check_lines(bad_lines, sizeof(bad_lines) / sizeof(bad_lines[0]));
}

static void a_line_that_is_cut_anywhere_is_no_other_socket(void **state)
{
	const char *line = "0: 0100007F:AEE4 00000000:0000 0A" TAIL "1000 0 621";
	struct sockets_row got;

	(void)state;
	/* The digits of the inode are the last thing: without all of them it is another number. */
	for (size_t n = 0; n < strlen(line) - 3; n++) {
		char *copy = malloc(n + 1); /* exactly sized: an overread shows */

		assert_non_null(copy);
		memcpy(copy, line, n);
		if (sockets_parse_line((struct str){copy, n}, false, &got) != SOCKETS_NO_ROW)
			fail_msg("the first %zu bytes", n);
		free(copy);
	}
}

static void knows_the_links_of_sockets(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t inode;
	} rows[] = {
		{"socket:[1]", true, 1},
		{"socket:[18446744073709551615]", true, UINT64_MAX},
		{"socket:[]", false, 0},
		{"socket:[", false, 0},
		{"socket:", false, 0},
		{"", false, 0},
		{"socket:[1", false, 0},
		{"socket:[1]x", false, 0},
		{"socket:[-1]", false, 0},
		{"socket:[ 1]", false, 0},
		{"xsocket:[1]", false, 0},
		{"pipe:[1]", false, 0},
		{"/socket:[1]", false, 0},
		{"socket:[18446744073709551616]", false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t inode = 0;
		bool ok = sockets_parse_link(str_of(rows[i].text), &inode);

		if (ok != rows[i].ok || (ok && inode != rows[i].inode))
			fail_msg("\"%s\": got %d, %" PRIu64, rows[i].text, ok, inode);
	}
}

/* ---- made-up trees ---- */

struct tree {
	char dir[32];
};

static int tree_setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	memcpy(t->dir, "sockets.XXXXXX", sizeof("sockets.XXXXXX"));
	assert_non_null(mkdtemp(t->dir));
	*state = t;
	return 0;
}

static int tree_teardown(void **state)
{
	struct tree *t = *state;
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", t->dir);
	assert_int_equal(system(command), 0);
	free(t);
	return 0;
}

/* The directories above the last name of a path are made. */
static void tree_path(const struct tree *t, const char *name, char *path, size_t cap)
{
	int n = snprintf(path, cap, "%s/%s", t->dir, name);

	assert_true(n > 0 && (size_t)n < cap);
	for (char *p = strchr(path, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		*p = '/';
	}
}

static void tree_put(const struct tree *t, const char *name, const void *data, size_t n)
{
	char path[128];

	tree_path(t, name, path, sizeof(path));
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), (ssize_t)n);
}

static void tree_text(const struct tree *t, const char *name, const char *text)
{
	tree_put(t, name, text, strlen(text));
}

static void tree_link(const struct tree *t, const char *name, const char *target)
{
	char path[128];

	tree_path(t, name, path, sizeof(path));
	assert_int_equal(symlink(target, path), 0);
}

/* A row of net/tcp for an address given as this machine's number. */
static void tree_row4(
	const struct tree *t, const char *addr, unsigned int port, int state, unsigned long inode)
{
	char line[256];
	struct in_addr in;
	uint32_t word;

	assert_int_equal(inet_pton(AF_INET, addr, &in), 1);
	memcpy(&word, &in, sizeof(word));
	snprintf(line, sizeof(line),
		"   0: %08" PRIX32 ":%04X 00000000:0000 %02X" TAIL "7 0 %lu" REST "\n", word, port,
		state, inode);
	tree_text(t, "net/tcp", line);
}

static void tree_row6(
	const struct tree *t, const char *addr, unsigned int port, unsigned long inode)
{
	char line[256];
	uint32_t w[4];

	assert_int_equal(inet_pton(AF_INET6, addr, w), 1);
	snprintf(line, sizeof(line),
		"   0: %08" PRIX32 "%08" PRIX32 "%08" PRIX32 "%08" PRIX32 ":%04X " V6_ANY
		":0000 0A" TAIL "8 0 %lu" REST "\n",
		w[0], w[1], w[2], w[3], port, inode);
	tree_text(t, "net/tcp6", line);
}

static struct sockets *list(const char *proc, int64_t slice_ms)
{
	struct sockets *s = sockets_new(proc);
	struct err e = {0};
	int res;

	assert_non_null(s);
	do
		res = sockets_step(s, clock_mono_ms() + slice_ms, &e);
	while (res > 0);
	assert_int_equal(res, 0);
	assert_int_equal(sockets_step(s, 0, &e), 0);
	return s;
}

/* "addr:port/pid(comm) ..." with "*" for our own and "-" where nobody is known. */
static const char *describe(const struct sockets *s)
{
	static char text[4096];
	size_t n, len = 0;
	const struct sockets_row *rows = sockets_rows(s, &n);

	text[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		char addr[SOCKETS_ADDR_MAX];

		sockets_format_addr(&rows[i], addr);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s:%u", i > 0 ? " " : "",
			addr, rows[i].port);
		if (rows[i].self)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "*");
		else if (rows[i].owner == NULL)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "-");
		else
			len += (size_t)snprintf(text + len, sizeof(text) - len, "/%d(%s)",
				(int)rows[i].owner->pid, rows[i].owner->comm);
		assert_true(len < sizeof(text));
	}
	return text;
}

static void expect(const struct tree *t, const char *listing)
{
	/* A step that may take no time at all does a bit all the same. */
	for (int64_t slice = 0; slice <= 1000; slice += 1000) {
		struct sockets *s = list(t->dir, slice);

		assert_string_equal(describe(s), listing);
		sockets_free(s);
	}
}

static void a_box_without_proc_has_no_ports(void **state)
{
	const struct tree *t = *state;
	struct sockets *s = list("sockets.nowhere", 1000);

	assert_string_equal(describe(s), "");
	sockets_free(s);
	expect(t, "");
}

static void a_table_may_be_missing(void **state)
{
	const struct tree *t = *state;

	tree_row6(t, "::1", 80, 5);
	expect(t, "::1:80-");
	tree_row4(t, "10.0.0.1", 80, 10, 4);
	expect(t, "10.0.0.1:80- ::1:80-");
}

static void rows_are_in_order_and_only_those_that_listen(void **state)
{
	const struct tree *t = *state;

	tree_text(t, "net/tcp", "  sl  local_address rem_address   st ...\n");
	tree_row4(t, "127.0.0.1", 9000, 10, 11);
	tree_row4(t, "127.0.0.1", 9001, 1, 12); /* established */
	tree_row4(t, "127.0.0.1", 22, 6, 0);    /* time wait */
	tree_row4(t, "127.0.0.2", 80, 10, 13);
	tree_row4(t, "127.0.0.1", 80, 10, 14);
	tree_row4(t, "9.0.0.0", 80, 10, 15);
	tree_row6(t, "::ffff:127.0.0.1", 80, 16);
	tree_row6(t, "::", 80, 17);
	tree_row6(t, "::", 79, 18);
	expect(t, ":::79- 9.0.0.0:80- 127.0.0.1:80- 127.0.0.2:80- :::80- ::ffff:127.0.0.1:80- "
		  "127.0.0.1:9000-");
}

static void a_row_that_shows_twice_is_one(void **state)
{
	const struct tree *t = *state;

	tree_row4(t, "127.0.0.1", 80, 10, 14);
	tree_row4(t, "127.0.0.1", 81, 10, 15);
	tree_row4(t, "127.0.0.1", 80, 10, 14);
	/* Several processes may share a port by SO_REUSEPORT. */
	tree_row4(t, "127.0.0.1", 81, 10, 16);
	expect(t, "127.0.0.1:80- 127.0.0.1:81- 127.0.0.1:81-");
}

static void a_socket_belongs_to_the_first_that_has_it_and_ours_to_us(void **state)
{
	const struct tree *t = *state;

	tree_row4(t, "127.0.0.1", 80, 10, 100);
	tree_row4(t, "127.0.0.1", 81, 10, 101);
	tree_row4(t, "127.0.0.1", 82, 10, 102);
	tree_row4(t, "127.0.0.1", 83, 10, 103);
	tree_row4(t, "127.0.0.1", 84, 10, 0);
	tree_link(t, "self/fd/3", "socket:[102]");
	tree_text(t, "self/comm", "myself\n");
	tree_link(t, "10/fd/0", "/dev/null");
	tree_link(t, "10/fd/3", "socket:[100]");
	tree_link(t, "10/fd/4", "socket:[102]"); /* inherited from us */
	tree_link(t, "10/fd/5", "socket:[0]");
	tree_text(t, "10/comm", "server\n");
	tree_link(t, "20/fd/3", "socket:[101]");
	tree_link(t, "20/fd/4", "socket:[999]");
	tree_text(t, "20/comm", "a )\n b\n");
	tree_text(t, "20/cmdline", "x");
	/* What is no process, and what cannot be looked into. */
	tree_link(t, "0/fd/3", "socket:[103]");
	tree_link(t, "30x/fd/3", "socket:[103]");
	tree_link(t, "2147483648/fd/3", "socket:[103]");
	tree_text(t, "40/fd", "");
	tree_text(t, "50", "");
	expect(t, "127.0.0.1:80/10(server) 127.0.0.1:81/20(a )\n b) 127.0.0.1:82* 127.0.0.1:83- "
		  "127.0.0.1:84-");
}

static void a_command_line_is_read_to_its_limit(void **state)
{
	const struct tree *t = *state;
	char cmdline[SOCKETS_CMDLINE_MAX + 100];
	static const size_t lengths[] = {
		0, 1, SOCKETS_CMDLINE_MAX - 1, SOCKETS_CMDLINE_MAX, SOCKETS_CMDLINE_MAX + 1};
	size_t n;

	memset(cmdline, 'x', sizeof(cmdline));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		char name[32], link[32];

		tree_row4(t, "127.0.0.1", (unsigned int)i + 1, 10, i + 1);
		snprintf(name, sizeof(name), "%zu/fd/7", i + 1);
		snprintf(link, sizeof(link), "socket:[%zu]", i + 1);
		tree_link(t, name, link);
		snprintf(name, sizeof(name), "%zu/cmdline", i + 1);
		tree_put(t, name, cmdline, lengths[i]);
		snprintf(name, sizeof(name), "%zu/comm", i + 1);
		tree_put(t, name, cmdline, 99); /* longer than any: cut */
	}
	struct sockets *s = list(t->dir, 1000);
	const struct sockets_row *rows = sockets_rows(s, &n);

	assert_int_equal(n, sizeof(lengths) / sizeof(lengths[0]));
	for (size_t i = 0; i < n; i++) {
		size_t kept = lengths[i] < SOCKETS_CMDLINE_MAX ? lengths[i] : SOCKETS_CMDLINE_MAX;

		assert_non_null(rows[i].owner);
		assert_int_equal(rows[i].owner->cmdline_n, kept);
		assert_memory_equal(rows[i].owner->cmdline, cmdline, kept);
		assert_int_equal(strlen(rows[i].owner->comm), SOCKETS_COMM_MAX - 1);
	}
	sockets_free(s);
}

/* Larger than one read, so that lines are cut in two by it. */
static void a_long_table_is_read_whole(void **state)
{
	const struct tree *t = *state;
	size_t n;

	for (unsigned int i = 1; i <= 1000; i++) {
		tree_row4(t, "127.0.0.1", i, 10, i);
		tree_row6(t, "::1", i, 1000 + i);
	}
	struct sockets *s = list(t->dir, 0);
	const struct sockets_row *rows = sockets_rows(s, &n);

	assert_int_equal(n, 2000);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(rows[i].port, i / 2 + 1);
		assert_int_equal(rows[i].ipv6, i % 2);
		assert_int_equal(rows[i].inode, i % 2 * 1000 + i / 2 + 1);
		assert_int_equal(rows[i].uid, 7 + i % 2);
	}
	sockets_free(s);
}

static void a_line_without_end_ends_the_table(void **state)
{
	const struct tree *t = *state;
	char *junk = malloc(100000);

	assert_non_null(junk);
	memset(junk, 'x', 100000);
	tree_row4(t, "127.0.0.1", 80, 10, 14);
	tree_put(t, "net/tcp", junk, 100000);
	tree_text(t, "net/tcp", "\n");
	tree_row4(t, "127.0.0.1", 81, 10, 15);
	tree_row6(t, "::1", 82, 16);
	expect(t, "127.0.0.1:80- ::1:82-");
	free(junk);
}

static void a_listing_may_be_given_up_at_any_step(void **state)
{
	const struct tree *t = *state;
	struct err e = {0};

	tree_row4(t, "127.0.0.1", 80, 10, 100);
	tree_row6(t, "::1", 82, 16);
	tree_link(t, "self/fd/3", "socket:[5]");
	tree_link(t, "10/fd/3", "socket:[100]");
	for (size_t steps = 0; steps < 40; steps++) {
		struct sockets *s = sockets_new(t->dir);

		assert_non_null(s);
		for (size_t i = 0; i < steps; i++)
			assert_true(sockets_step(s, 0, &e) >= 0);
		sockets_free(s);
	}
}

/* ---- the real thing ---- */

static int listen_on(int family, uint16_t *port)
{
	struct sockaddr_storage ss = {.ss_family = (sa_family_t)family};
	socklen_t n = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (family == AF_INET)
		((struct sockaddr_in *)&ss)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&ss)->sin6_addr = in6addr_loopback;
	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, n) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &n), 0);
	*port = ntohs(family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port
					: ((struct sockaddr_in6 *)&ss)->sin6_port);
	return fd;
}

static const struct sockets_row *find(const struct sockets *s, uint16_t port, const char *address)
{
	size_t n;
	const struct sockets_row *rows = sockets_rows(s, &n), *found = NULL;

	for (size_t i = 0; i < n; i++) {
		char addr[SOCKETS_ADDR_MAX];

		sockets_format_addr(&rows[i], addr);
		if (rows[i].port == port && strcmp(addr, address) == 0) {
			assert_null(found);
			found = &rows[i];
		}
	}
	return found;
}

static void finds_our_own_sockets_in_the_real_proc(void **state)
{
	uint16_t port4, port6 = 0;
	CLEANUP_FD int four = listen_on(AF_INET, &port4);
	CLEANUP_FD int six = listen_on(AF_INET6, &port6);
	struct sockets *s = list("/proc", 1);
	const struct sockets_row *row = find(s, port4, "127.0.0.1");
	struct stat st;

	(void)state;
	assert_true(four >= 0);
	assert_non_null(row);
	assert_true(row->self && !row->ipv6);
	assert_int_equal(row->uid, getuid());
	assert_int_equal(fstat(four, &st), 0);
	assert_int_equal(row->inode, st.st_ino);
	assert_int_equal(row->owner->pid, getpid());
	assert_string_equal(row->owner->comm, "test_sockets");
	assert_true(row->owner->cmdline_n > 0);
	if (six >= 0) {
		row = find(s, port6, "::1");
		assert_non_null(row);
		assert_true(row->self && row->ipv6);
	}
	sockets_free(s);
}

static void finds_the_sockets_of_others_in_the_real_proc(void **state)
{
	uint16_t port;
	int fd = listen_on(AF_INET, &port), status;
	pid_t child;

	(void)state;
	assert_true(fd >= 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		pause();
		_exit(1);
	}
	close(fd);

	struct sockets *s = list("/proc", 1);
	const struct sockets_row *row = find(s, port, "127.0.0.1");

	assert_non_null(row);
	assert_non_null(row->owner);
	assert_int_equal(row->owner->pid, child);
	assert_false(row->self);
	sockets_free(s);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_lines_of_the_kernel),
		cmocka_unit_test(passes_over_lines_that_are_damaged),
		cmocka_unit_test(a_line_that_is_cut_anywhere_is_no_other_socket),
		cmocka_unit_test(knows_the_links_of_sockets),
#define WITH_TREE(test) cmocka_unit_test_setup_teardown(test, tree_setup, tree_teardown)
		WITH_TREE(a_box_without_proc_has_no_ports),
		WITH_TREE(a_table_may_be_missing),
		WITH_TREE(rows_are_in_order_and_only_those_that_listen),
		WITH_TREE(a_row_that_shows_twice_is_one),
		WITH_TREE(a_socket_belongs_to_the_first_that_has_it_and_ours_to_us),
		WITH_TREE(a_command_line_is_read_to_its_limit),
		WITH_TREE(a_long_table_is_read_whole),
		WITH_TREE(a_line_without_end_ends_the_table),
		WITH_TREE(a_listing_may_be_given_up_at_any_step),
		cmocka_unit_test(finds_our_own_sockets_in_the_real_proc),
		cmocka_unit_test(finds_the_sockets_of_others_in_the_real_proc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
