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
