/*
 * Fuzzes paths as clients write them. The first byte of an input chooses the environment. The
 * oracle: expansion agrees with a reading of contract 1.5 that is written down here once more; a
 * path that is accepted is absolute and clean, and what a cleaner that keeps a list of names makes
 * of it; cleaning it again changes nothing; one that is refused is so for a reason.
 */
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "boxd/buf.h"
#include "boxd/environ.h"
#include "boxd/fs.h"
#include "fuzz.h"

#define WORKSPACE "/tmp"

#define X64 "xxxxxxxxxxxxxxx/xxxxxxxxxxxxxxx/xxxxxxxxxxxxxxx/../xxxxxxxxxxxx//"

static char *const environs[][7] = {
	{"HOME=/root", "A=b", "C_1=/x/../y/./z//", "_=~", "T=~/t", "L=" X64 X64 X64 X64, NULL},
	{"HOME=", "A=", "C_1=..", "_=/", "L=" X64 X64 X64 X64, NULL},
	{"A=$A", "HOME=~", "T=/", NULL},
	{NULL},
};

static const char *value_of(char *const *env, const char *name, size_t n)
{
	const char *found = NULL;

	for (; *env != NULL; env++) {
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			found = *env + n + 1;
	}
	return found;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Steps 1 to 4, a byte at a time; NULL: a variable is not defined, or HOME is needed and is not. */
static char *expand(char *const *env, const char *p)
{
	struct buf out = {0};
	bool defined = true;

	while (*p != '\0') {
		bool brace = p[0] == '$' && p[1] == '{';
		const char *name = p + (brace ? 2 : 1), *end = name;

		if (*p == '$' && is_letter(*end)) {
			while (is_letter(*end) || is_digit(*end))
				end++;
		} else if (*p == '$' && *end != '\0' && strchr("*#$@!?-0123456789", *end) != NULL) {
			end++;
		} else if (*p != '$' || !(brace && *end == '}')) {
			FUZZ_CHECK(buf_add(&out, p++, 1) == 0);
			continue;
		}
		if (brace && *end != '}') {
			FUZZ_CHECK(buf_add(&out, p++, 1) == 0);
			continue;
		}
		if (is_letter(*name)) {
			const char *value = value_of(env, name, (size_t)(end - name));

			defined = defined && value != NULL;
			FUZZ_CHECK(value == NULL || buf_add_str(&out, value) == 0);
		}
		p = end + brace;
	}
	FUZZ_CHECK(buf_add(&out, "", 1) == 0);
	const char *text = (const char *)buf_data(&out), *home = "";
	if (text[0] == '~' && (text[1] == '\0' || text[1] == '/' || text[1] == '\\')) {
		home = value_of(env, "HOME", 4);
		defined = defined && home != NULL && home[0] != '\0';
		text++;
	}
	struct buf all = {0};
	if (defined)
		FUZZ_CHECK(buf_printf(&all, "%s%s", home, text) == 0 && buf_add(&all, "", 1) == 0);
	buf_fini(&out);
	return (char *)all.mem;
}

/* The names of an absolute path in a list, and that list as a path. */
static char *clean(const char *base, const char *path)
{
	size_t n = 0, len = strlen(base) + strlen(path) + 2;
	char *text = malloc(len), **names = malloc(len * sizeof(*names));
	struct buf out = {0};

	FUZZ_CHECK(text != NULL && names != NULL);
	snprintf(text, len, "%s/%s", path[0] == '/' ? "" : base, path);
	for (char *at = text, *name; (name = strsep(&at, "/")) != NULL;) {
		if (strcmp(name, "..") == 0)
			n -= n > 0;
		else if (*name != '\0' && strcmp(name, ".") != 0)
			names[n++] = name;
	}
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK(buf_printf(&out, "/%s", names[i]) == 0);
	FUZZ_CHECK(buf_add_str(&out, n == 0 ? "/" : "") == 0 && buf_add(&out, "", 1) == 0);
	free(names);
	free(text);
	return (char *)out.mem;
}

static void check_clean(const char *path)
{
	FUZZ_CHECK(path[0] == '/' && strlen(path) < PATH_MAX);
	for (const char *p = path; p != NULL && path[1] != '\0'; p = strchr(p + 1, '/')) {
		size_t n = strcspn(p + 1, "/");

		FUZZ_CHECK(n > 0);
		FUZZ_CHECK(!(n == 1 && p[1] == '.') && !(n == 2 && p[1] == '.' && p[2] == '.'));
	}
}

static void check_path(const struct fs *fs, const char *raw, const char *expanded)
{
	struct err e = {0}, again = {0};
	char *path = fs_path(fs, raw, &e);
	char *expected = expanded != NULL ? clean(WORKSPACE, expanded) : NULL;

	if (path != NULL) {
		FUZZ_CHECK(e.kind == NULL && expected != NULL);
		check_clean(path);
		FUZZ_CHECK(strcmp(path, expected) == 0);
		/* A dollar would be read a second time. */
		if (strchr(path, '$') == NULL) {
			char *same = fs_path(fs, path, &again);

			FUZZ_CHECK(same != NULL && strcmp(same, path) == 0);
			free(same);
		}
	} else if (expected == NULL) {
		FUZZ_CHECK(e.kind == &ERR_BAD_BODY || strlen(raw) >= PATH_MAX);
	} else {
		FUZZ_CHECK(e.kind == &ERR_BAD_PATH || e.kind == &ERR_BAD_BODY);
		FUZZ_CHECK(strlen(raw) >= PATH_MAX || strlen(expanded) >= PATH_MAX ||
			   strlen(expected) >= PATH_MAX);
	}
	free(expected);
	free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fs *all[sizeof(environs) / sizeof(environs[0])];
	static struct environ_set *sets[sizeof(environs) / sizeof(environs[0])];

	if (size < 1)
		return 0;
	size_t i = data[0] % (sizeof(environs) / sizeof(environs[0]));
	struct err e = {0};
	if (all[i] == NULL) {
		const struct confine_root root = {WORKSPACE, false};

		all[i] = fs_new(
			&(struct fs_config){
				.roots = &root, .nroots = 1, .environ = environs[i], .etc = "/etc"},
			&e);
		sets[i] = environ_new(environs[i]);
		FUZZ_CHECK(all[i] != NULL && sets[i] != NULL);
	}
	char *raw = strndup((const char *)data + 1, size - 1);
	FUZZ_CHECK(raw != NULL);
	char *expanded = environ_expand_path(sets[i], raw, &e);
	char *expected = expand(environs[i], raw);
	if (expanded != NULL)
		FUZZ_CHECK(expected != NULL && strcmp(expanded, expected) == 0);
	else
		FUZZ_CHECK(e.kind == &ERR_BAD_BODY &&
			   (expected == NULL || strlen(expected) >= PATH_MAX));
	check_path(all[i], raw, expected);
	free(expected);
	free(expanded);
	free(raw);
	return 0;
}
