/*
 * replay: runs stored inputs through a fuzz target as a plain test.
 *
 * Arguments are directories: the corpus, which must hold inputs, and any further ones (crashers of
 * the past), which may be empty but must exist. Each file is run from a heap copy of exactly its
 * size, so that a sanitizer sees a read one byte past the end. The name is printed first: after a
 * crash the last line names the culprit.
 */
#include <dirent.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "boxd/cleanup.h"
#include "fuzz.h"

#define REPLAY_PATH_MAX 4096

struct replay {
	unsigned passed, failed;
};

static bool replay_file(const char *path)
{
	CLEANUP_FILE FILE *f = fopen(path, "rb");
	CLEANUP_FREE uint8_t *data = NULL;
	struct stat st;
	size_t size;

	if (f == NULL || fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	size = (size_t)st.st_size;
	data = malloc(size > 0 ? size : 1);
	if (data == NULL || fread(data, 1, size, f) != size)
		return false;
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, size);
	return true;
}

/* All files of a directory but hidden ones. False when it cannot be read. */
static bool replay_directory(struct replay *r, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	if (d == NULL) {
		perror(dir);
		return false;
	}
	while ((entry = readdir(d)) != NULL) {
		char path[REPLAY_PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) >=
				(int)sizeof(path) ||
			!replay_file(path)) {
			fprintf(stderr, "%s/%s: cannot be read\n", dir, entry->d_name);
			r->failed++;
		} else {
			r->passed++;
		}
	}
	closedir(d);
	return true;
}

int main(int argc, char **argv)
{
	struct replay r = {0};

	if (argc < 2) {
		fprintf(stderr, "usage: %s CORPUS [DIRECTORY]...\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		if (!replay_directory(&r, argv[i]))
			r.failed++;
		if (i == 1 && r.passed == 0) {
			fprintf(stderr, "%s: no inputs\n", argv[i]);
			r.failed++;
		}
	}
	printf("%u passed, %u failed\n", r.passed, r.failed);
	return r.failed == 0 ? 0 : 1;
}
