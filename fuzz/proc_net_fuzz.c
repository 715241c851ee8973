/*
 * Fuzzes the lines of net/tcp and net/tcp6 and the links of descriptors; the first byte of an input
 * chooses. The oracles: a line means what a second reading of it, written down here by other means,
 * says; what was understood means the same when it is written as the kernel writes it; what stands
 * behind the inode does not matter, and no line that is cut before it means anything.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "boxd/sockets.h"
#include "fuzz.h"

#define WORDS 10

/* ---- a second reading ---- */

static bool all_of(const char *s, const char *set)
{
	return *s != '\0' && strspn(s, set) == strlen(s);
}

static bool decimal(const char *s, uint64_t max, uint64_t *out)
{
	errno = 0;
	*out = all_of(s, "0123456789") ? strtoull(s, NULL, 10) : 0;
	return all_of(s, "0123456789") && errno == 0 && *out <= max;
}

/* Digits of an address, a colon, four of a port. */
static bool endpoint(const char *s, bool ipv6, uint8_t addr[16], unsigned long *port)
{
	static const char hex[] = "0123456789abcdefABCDEF";
	size_t digits = ipv6 ? 32 : 8;

	memset(addr, 0, 16);
	if (strlen(s) != digits + 5 || strspn(s, hex) != digits || s[digits] != ':' ||
		!all_of(s + digits + 1, hex))
		return false;
	for (size_t i = 0; i < digits / 8; i++) {
		char word[9] = {0};
		uint32_t v;

		memcpy(word, s + 8 * i, 8);
		v = (uint32_t)strtoul(word, NULL, 16);
		memcpy(addr + 4 * i, &v, 4);
	}
	*port = strtoul(s + digits + 1, NULL, 16);
	return true;
}

static enum sockets_line read_again(const char *text, bool ipv6, struct sockets_row *row)
{
	char copy[512], *save = NULL, *w[WORDS] = {0};
	uint8_t other[16];
	unsigned long port, state;
	uint64_t uid;
	size_t n = 0;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, " ", &save); word != NULL && n < WORDS;
		word = strtok_r(NULL, " ", &save))
		w[n++] = word;
	if (n < WORDS || strlen(w[0]) < 2 || w[0][strlen(w[0]) - 1] != ':' ||
		!endpoint(w[2], ipv6, other, &port) || !endpoint(w[1], ipv6, row->addr, &port) ||
		strlen(w[3]) != 2 || !isxdigit((unsigned char)w[3][0]) ||
		!isxdigit((unsigned char)w[3][1]) || !decimal(w[7], UINT32_MAX, &uid) ||
		!decimal(w[9], UINT64_MAX, &row->inode))
		return SOCKETS_NO_ROW;
	state = strtoul(w[3], NULL, 16);
	row->port = (uint16_t)port;
	row->uid = (uint32_t)uid;
	row->ipv6 = ipv6;
	return state == 10 ? SOCKETS_LISTENING : SOCKETS_OTHER;
}

/* ---- checks ---- */

static void check_same(const struct sockets_row *a, const struct sockets_row *b)
{
	FUZZ_CHECK(a->port == b->port && a->uid == b->uid && a->inode == b->inode);
	FUZZ_CHECK(a->ipv6 == b->ipv6 && memcmp(a->addr, b->addr, sizeof(a->addr)) == 0);
	FUZZ_CHECK(!a->self && a->owner == NULL);
}

static void check_address(const struct sockets_row *row)
{
	char text[SOCKETS_ADDR_MAX];
	uint8_t addr[16] = {0};

	sockets_format_addr(row, text);
	FUZZ_CHECK(inet_pton(row->ipv6 ? AF_INET6 : AF_INET, text, addr) == 1);
	FUZZ_CHECK(memcmp(addr, row->addr, sizeof(addr)) == 0);
}

static void check_written_again(const struct sockets_row *row)
{
	char line[512];
	size_t n = (size_t)snprintf(line, sizeof(line), "%4d: ", 0), before;
	struct sockets_row got = {0};

	for (int end = 0; end < 2; end++) {
		for (size_t i = 0; i < (row->ipv6 ? 4u : 1u); i++) {
			uint32_t word;

			memcpy(&word, row->addr + 4 * i, 4);
			n += (size_t)snprintf(line + n, sizeof(line) - n, "%08" PRIX32, word);
		}
		n += (size_t)snprintf(line + n, sizeof(line) - n, ":%04X ", row->port);
	}
	n += (size_t)snprintf(line + n, sizeof(line) - n,
		"0A 00000000:00000000 00:00000000 00000000 %5" PRIu32 " %8d ", row->uid, 0);
	before = n;
	n += (size_t)snprintf(line + n, sizeof(line) - n, "%" PRIu64, row->inode);
	FUZZ_CHECK(sockets_parse_line((struct str){line, n}, row->ipv6, &got) == SOCKETS_LISTENING);
	check_same(row, &got);
	for (size_t cut = 0; cut <= before; cut += 7)
		FUZZ_CHECK(sockets_parse_line((struct str){line, cut}, row->ipv6, &got) ==
			   SOCKETS_NO_ROW);
	n += (size_t)snprintf(line + n, sizeof(line) - n, " 1 0000 100 x -1   ");
	FUZZ_CHECK(sockets_parse_line((struct str){line, n}, row->ipv6, &got) == SOCKETS_LISTENING);
	check_same(row, &got);
}

static void check_line(const char *p, size_t n, bool ipv6)
{
	struct sockets_row got = {0}, expected = {0};
	enum sockets_line res = sockets_parse_line((struct str){p, n}, ipv6, &got);
	char text[500];

	if (res == SOCKETS_LISTENING) {
		FUZZ_CHECK(got.ipv6 == ipv6);
		check_address(&got);
		check_written_again(&got);
	}
	if (n >= sizeof(text) || memchr(p, '\0', n) != NULL)
		return;
	memcpy(text, p, n);
	text[n] = '\0';
	FUZZ_CHECK(read_again(text, ipv6, &expected) == res);
	if (res == SOCKETS_LISTENING)
		check_same(&expected, &got);
}

static void check_link(const char *p, size_t n)
{
	char text[64];
	uint64_t inode;

	if (!sockets_parse_link((struct str){p, n}, &inode))
		return;
	/* Zeros in front are nothing the kernel writes, and mean nothing. */
	FUZZ_CHECK(n >= 10 && memcmp(p, "socket:[", 8) == 0 && p[n - 1] == ']');
	p += 8;
	n -= 9;
	while (n > 1 && *p == '0') {
		p++;
		n--;
	}
	FUZZ_CHECK((size_t)snprintf(text, sizeof(text), "%" PRIu64, inode) == n);
	FUZZ_CHECK(memcmp(text, p, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	const char *p = (const char *)data + 1;
	size_t n = size - 1;

	if (data[0] % 4 == 2) {
		check_link(p, n);
		return 0;
	}
	/* Every line, and the last one without its end. */
	while (n > 0) {
		const char *lf = memchr(p, '\n', n);
		size_t len = lf != NULL ? (size_t)(lf - p) : n;

		check_line(p, len, data[0] % 2 == 1);
		p += lf != NULL ? len + 1 : len;
		n -= lf != NULL ? len + 1 : len;
	}
	return 0;
}
