/*
 * Exchanges pairs of names as fast as the kernel can, for tests of races: whoever resolves a path
 * through one of them finds now a directory, now a link, and may find the one while looking at it
 * and the other when using it.
 *
 *   swapper COUNT A1 B1 [A2 B2...]
 *
 * Each pair takes its turn, with a pause of random length (of a few microseconds) in between,
 * so that no rhythm of the victim's fits. Ends after COUNT exchanges, or with SIGTERM, with the
 * number of exchanges on its standard output. A name that is missing for a while is waited for: the
 * victim may be putting it back.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXCHANGE  2u /* RENAME_EXCHANGE */
#define PAUSE_MAX 2048u

static volatile sig_atomic_t ended;

static void on_term(int number)
{
	(void)number;
	ended = 1;
}

static uint32_t next_random(void)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

static void pause_a_little(void)
{
	volatile uint32_t n = next_random() % PAUSE_MAX;

	while (n > 0)
		n--;
}

int main(int argc, char **argv)
{
	long count = argc > 3 ? strtol(argv[1], NULL, 10) : 0;
	long done = 0;

	if (count <= 0 || argc % 2 != 0) {
		fprintf(stderr, "usage: swapper COUNT A1 B1 [A2 B2...]\n");
		return 2;
	}
	signal(SIGTERM, on_term);
	for (int i = 2; done < count && !ended; i = i + 2 < argc ? i + 2 : 2) {
		if (syscall(SYS_renameat2, AT_FDCWD, argv[i], AT_FDCWD, argv[i + 1], EXCHANGE) == 0)
			done++;
		else if (errno != ENOENT && errno != EBUSY) {
			fprintf(stderr, "%s and %s: %s\n", argv[i], argv[i + 1], strerror(errno));
			return 1;
		}
		pause_a_little();
	}
	printf("%ld\n", done);
	return 0;
}
