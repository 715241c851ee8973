/*
 * id: random names for commands and requests.
 *
 * Random bytes are fetched in blocks, so that most ids cost no system call, and are wiped as they
 * are used: what an id was made of cannot be read from memory later, nor be given out twice.
 */
#include "boxd/id.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* getrandom(2) never returns less than asked for, and never EINTR, up to 256 bytes. */
#define ID_BLOCK 256

static uint8_t id_block[ID_BLOCK];
static size_t id_used = ID_BLOCK;

static void id_refill(void)
{
	size_t got = 0;

	while (got < ID_BLOCK) {
		ssize_t n = getrandom(id_block + got, ID_BLOCK - got, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			abort(); /* no kernel that boxd runs on lacks it; guessable ids are worse */
		got += (size_t)n;
	}
	id_used = 0;
}

/* Writes n hex digits and a NUL; n is even. */
static void id_write(char *out, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	size_t bytes = n / 2;

	if (ID_BLOCK - id_used < bytes)
		id_refill();
	for (size_t i = 0; i < bytes; i++) {
		uint8_t byte = id_block[id_used + i];

		out[2 * i] = digits[byte >> 4];
		out[2 * i + 1] = digits[byte & 15];
	}
	out[n] = '\0';
	explicit_bzero(id_block + id_used, bytes);
	id_used += bytes;
}

void id_new(char out[static ID_LEN + 1])
{
	id_write(out, ID_LEN);
}

void id_new_request(char out[static ID_REQUEST_LEN + 1])
{
	id_write(out, ID_REQUEST_LEN);
}

void id_new_uuid(char out[static ID_UUID_LEN + 1])
{
	static const size_t groups[] = {8, 4, 4, 4, 12};
	char hex[ID_LEN + 1], *at = out;
	const char *from = hex;

	id_write(hex, ID_LEN);
	hex[12] = '4';
	/* The variant is the bits 10 in front, the other two of the digit stay. */
	hex[16] = "89ab"[(hex[16] <= '9' ? hex[16] - '0' : hex[16] - 'a' + 10) & 3];
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (i > 0)
			*at++ = '-';
		memcpy(at, from, groups[i]);
		at += groups[i];
		from += groups[i];
	}
	*at = '\0';
	explicit_bzero(hex, sizeof(hex));
}
