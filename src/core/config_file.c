/*
 * config_file: what comes from files, the configuration and the token.
 *
 * Both are read whole and with a limit, and their buffers are wiped, because either may hold the
 * token.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "boxd/cleanup.h"
#include "boxd/err.h"
#include "boxd/json.h"
#include "boxd/limits.h"
#include "boxd/secret.h"
#include "config_internal.h"

/* Files that an operator writes; past these sizes it is the wrong file. */
#define CONFIG_FILE_MAX       1048576
#define CONFIG_TOKEN_FILE_MAX 4096

/* The content of a file and a NUL, or NULL with why set. The caller ends it with free(). */
static char *config_read_fd(
	int fd, const char *what, size_t max, size_t *len, char why[static CONFIG_WHY_MAX])
{
	char *text = malloc(max + 2); /* one byte to see that there is more, one for the NUL */
	size_t used = 0;
	ssize_t n = 1;

	if (text == NULL) {
		config_bad(why, "out of memory");
		return NULL;
	}
	while (used <= max && n != 0) {
		n = read(fd, text + used, max + 1 - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			config_bad(why, "read %s: %s", what, err_strerror(errno));
			break;
		}
		used += (size_t)n;
	}
	if (n >= 0 && used > max)
		config_bad(why, "%s is longer than %zu bytes", what, max);
	if (n < 0 || used > max) {
		explicit_bzero(text, used);
		free(text);
		return NULL;
	}
	text[used] = '\0';
	*len = used;
	return text;
}

static int config_open(const char *path, const char *what, char why[static CONFIG_WHY_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char shown[128];

	if (fd < 0)
		config_bad(why, "%s %s: %s", what,
			log_escape(shown, sizeof(shown), path, strlen(path)), err_strerror(errno));
	return fd;
}

int config_read_token(struct config_draft *d, char why[static CONFIG_WHY_MAX])
{
	CLEANUP_FD int fd = config_open(d->token_file, "token file", why);
	char reason[CONFIG_WHY_MAX];
	char *token = NULL;
	struct stat st;
	char *text;
	size_t n = 0;
	int rc;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		log_warn("config", "the token file is open to other users mode=%o",
			(unsigned int)(st.st_mode & 07777));
	text = config_read_fd(fd, "token file", CONFIG_TOKEN_FILE_MAX, &n, why);
	if (text == NULL)
		return -1;
	if (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	if (n > 0 && text[n - 1] == '\r')
		text[--n] = '\0';
	d->now = CONFIG_FROM_NOWHERE; /* empty is an error, wherever the file was named */
	if (strlen(text) != n)
		rc = config_bad(why, "token file: a NUL in it");
	else if ((rc = config_value_token(d, text, &token, reason)) < 0)
		config_bad(why, "token file: %s", reason);
	explicit_bzero(text, n);
	free(text);
	if (rc < 0)
		return -1;
	secret_free(d->c.token);
	d->c.token = token;
	return 0;
}

static int config_file_limits(const struct json *limits, char why[static CONFIG_WHY_MAX])
{
	struct err e = {0};
	char shown[64];

	if (!json_is_object(limits))
		return config_bad(why, "limits in the configuration file: not an object");
	for (const struct json *v = json_first(limits); v != NULL; v = json_next(v)) {
		const char *key = json_key(v);
		enum limit l = limit_find(key);
		int64_t value;

		if (l == LIMIT_COUNT_)
			return config_bad(why, "configuration file: unknown limit \"%s\"",
				log_escape(shown, sizeof(shown), key, strlen(key)));
		value = limit(l);
		if (json_get_int(limits, key, limit_rows[l].min, limit_rows[l].max, &value, &e) < 0)
			return config_bad(why, "configuration file: limit %s", e.msg);
		if (!limit_set(l, value))
			return config_bad(why, "configuration file: limit %s is out of range", key);
	}
	return 0;
}

/* One text of the file. A secret is wiped in the parsed document, which is ours alone. */
static int config_file_text(struct config_draft *d, enum config_id id, const struct json *v,
	char why[static CONFIG_WHY_MAX])
{
	const char *text = json_str(v);
	char name[64];
	int rc;

	if (text == NULL) {
		config_name(d, id, name);
		return config_bad(why, "%s: not a string", name);
	}
	rc = config_apply(d, id, text, why);
	if (config_options[id].secret)
		explicit_bzero((char *)text, strlen(text));
	return rc;
}

static int config_file_member(struct config_draft *d, const struct json *root, const struct json *v,
	char why[static CONFIG_WHY_MAX])
{
	const char *key = json_key(v);
	struct err e = {0};
	char shown[64];
	bool yes = false;
	int id = 0;

	if (strcmp(key, "limits") == 0)
		return config_file_limits(v, why);
	while (id < CONFIG_ID_COUNT_ &&
		(config_options[id].key == NULL || strcmp(config_options[id].key, key) != 0))
		id++;
	if (id == CONFIG_ID_COUNT_)
		return config_bad(why, "configuration file: unknown key \"%s\"",
			log_escape(shown, sizeof(shown), key, strlen(key)));
	if (config_options[id].store == CONFIG_STORE_BOOL) {
		if (json_get_bool(root, key, &yes, &e) < 0)
			return config_bad(why, "configuration file: %s", e.msg);
		return config_apply(d, (enum config_id)id, yes ? "true" : "false", why);
	}
	if (config_options[id].store != CONFIG_STORE_LIST || !json_is_array(v))
		return config_file_text(d, (enum config_id)id, v, why);
	config_begin(d, (enum config_id)id); /* an empty list is an answer, too */
	for (const struct json *item = json_first(v); item != NULL; item = json_next(item)) {
		if (config_file_text(d, (enum config_id)id, item, why) < 0)
			return -1;
	}
	return 0;
}

static int config_file_parse(
	struct config_draft *d, const char *text, size_t len, char why[static CONFIG_WHY_MAX])
{
	struct err e = {0};
	struct json *root = json_parse_whole((const uint8_t *)text, len, &e);
	int rc = 0;

	if (root == NULL)
		return config_bad(why, "configuration file: %s", e.msg);
	if (!json_is_object(root))
		rc = config_bad(why, "configuration file: not a JSON object");
	for (const struct json *v = json_first(root); v != NULL && rc == 0; v = json_next(v)) {
		if (!json_is_null(v))
			rc = config_file_member(d, root, v, why);
	}
	json_free(root);
	return rc;
}

int config_apply_file(struct config_draft *d, const char *path, char why[static CONFIG_WHY_MAX])
{
	CLEANUP_FD int fd = config_open(path, "configuration file", why);
	size_t len = 0;
	char *text;
	int rc;

	if (fd < 0)
		return -1;
	text = config_read_fd(fd, "configuration file", CONFIG_FILE_MAX, &len, why);
	if (text == NULL)
		return -1;
	d->now = CONFIG_FROM_FILE;
	rc = config_file_parse(d, text, len, why);
	explicit_bzero(text, len);
	free(text);
	return rc;
}
