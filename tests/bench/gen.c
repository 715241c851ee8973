/*
 * gen WIDTH LINES SECONDS: writes LINES lines of WIDTH bytes each (the LF included) in big blocks,
 * so that a benchmark of the daemon's output path is not one of the writer. LINES 0 goes on for
 * SECONDS. It ends when the reader closes, and always after SECONDS: nothing it is started by can
 * leave it behind for ever.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"

#define GEN_BLOCK (256 * 1024)

static void gen_write(const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = write(STDOUT_FILENO, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			exit(1);
		p += w;
		n -= (size_t)w;
	}
}

int main(int argc, char **argv)
{
	static char block[GEN_BLOCK];
	uint64_t width, left, per_block;
	int64_t end;

	if (argc != 4) {
		fprintf(stderr, "usage: gen WIDTH LINES SECONDS\n");
		return 2;
	}
	width = strtoull(argv[1], NULL, 10);
	left = strtoull(argv[2], NULL, 10);
	end = now_ns() + strtoll(argv[3], NULL, 10) * NS_PER_SEC;
	if (width < 1 || width > GEN_BLOCK)
		return 2;
	if (left == 0)
		left = UINT64_MAX;

	per_block = GEN_BLOCK / width;
	memset(block, 'y', sizeof(block));
	for (uint64_t i = 1; i <= per_block; i++)
		block[i * width - 1] = '\n';
	while (left > 0 && now_ns() < end) {
		uint64_t lines = left < per_block ? left : per_block;

		gen_write(block, lines * width);
		left -= lines;
	}
	return 0;
}
