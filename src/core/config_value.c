/*
 * config_value: is this text a good value for that option, and what is its canonical form?
 *
 * Pure functions: nothing is opened or resolved here. Addresses are numeric, because a resolver
 * would run the image's own code; paths become absolute as text, and ".." is refused because only
 * the kernel knows what it means behind a symlink.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "boxd/cleanup.h"
#include "boxd/err.h"
#include "boxd/str.h"
#include "config_internal.h"

#define CONFIG_UNIX "unix:"

int config_bad(char why[static CONFIG_WHY_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONFIG_WHY_MAX, fmt, ap);
	va_end(ap);
	return -1;
}

/* Hands out a copy of text. */
static int config_keep(const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	*out = strdup(text);
	return *out == NULL ? config_bad(why, "out of memory") : 0;
}

int config_value_any(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	(void)d;
	return config_keep(text, out, why);
}

/* A TCP address in pieces. */
struct config_addr {
	char host[INET6_ADDRSTRLEN]; /* without brackets */
	int family;
	unsigned int port;
	struct in_addr v4;
	struct in6_addr v6;
};

static bool config_parse_port(const char *text, unsigned int *port)
{
	uint64_t value;

	if (!str_u64(str_of(text), &value) || value > UINT16_MAX)
		return false;
	*port = (unsigned int)value;
	return true;
}

static bool config_parse_addr(const char *text, struct config_addr *a)
{
	const char *colon = strrchr(text, ':');
	const char *host = text;
	size_t n;

	if (colon == NULL || !config_parse_port(colon + 1, &a->port))
		return false;
	n = (size_t)(colon - text);
	a->family = AF_INET;
	if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
		a->family = AF_INET6;
		host++;
		n -= 2;
	} else if (n == 9 && memcmp(host, "localhost", 9) == 0) {
		host = "127.0.0.1";
	}
	if (n >= sizeof(a->host))
		return false;
	memcpy(a->host, host, n);
	a->host[n] = '\0';
	return inet_pton(a->family, a->host, a->family == AF_INET ? (void *)&a->v4 : &a->v6) == 1;
}

int config_value_listen(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	struct config_addr a = {0};
	char shown[64];

	(void)d;
	if (strncmp(text, CONFIG_UNIX, strlen(CONFIG_UNIX)) == 0) {
		const char *path = text + strlen(CONFIG_UNIX);

		if (path[0] != '/' || path[1] == '\0')
			return config_bad(why, "unix: wants an absolute path");
		if (strlen(path) > max)
			return config_bad(why, "a unix socket path holds at most %zu bytes", max);
		return config_keep(text, out, why);
	}
	if (!config_parse_addr(text, &a))
		return config_bad(why,
			"\"%s\" is not 127.0.0.1:PORT, [::1]:PORT or unix:/path (numeric, port 0 "
			"to 65535)",
			log_escape(shown, sizeof(shown), text, strlen(text)));
	if (asprintf(out, a.family == AF_INET ? "%s:%u" : "[%s]:%u", a.host, a.port) < 0) {
		*out = NULL;
		return config_bad(why, "out of memory");
	}
	return 0;
}

bool config_listen_is_local(const char *addr)
{
	struct config_addr a = {0};

	if (strncmp(addr, CONFIG_UNIX, strlen(CONFIG_UNIX)) == 0)
		return true;
	if (!config_parse_addr(addr, &a))
		return false;
	if (a.family == AF_INET)
		return ntohl(a.v4.s_addr) >> 24 == IN_LOOPBACKNET;
	if (IN6_IS_ADDR_V4MAPPED(&a.v6))
		return a.v6.s6_addr[12] == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&a.v6);
}

int config_value_port(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	unsigned int port;

	(void)d;
	if (!config_parse_port(text, &port))
		return config_bad(why, "not a port from 0 to 65535");
	if (asprintf(out, "0.0.0.0:%u", port) < 0) {
		*out = NULL;
		return config_bad(why, "out of memory");
	}
	return 0;
}

/* Appends the components of path to the clean absolute path in to; false at "..". */
static bool config_add_components(char *to, size_t *used, const char *path)
{
	while (*path != '\0') {
		size_t n = strcspn(path, "/");

		if (n == 2 && memcmp(path, "..", 2) == 0)
			return false;
		if (n > 0 && !(n == 1 && path[0] == '.')) {
			to[(*used)++] = '/';
			memcpy(to + *used, path, n);
			*used += n;
		}
		path += n;
		path += *path == '/';
	}
	return true;
}

int config_value_path(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	CLEANUP_FREE char *cwd = NULL;
	CLEANUP_FREE char *path = NULL;
	size_t used = 0;

	(void)d;
	if (text[0] == '\0')
		return config_bad(why, "the path is empty");
	if (strlen(text) >= PATH_MAX)
		return config_bad(why, "the path is longer than %d bytes", PATH_MAX - 1);
	if (text[0] != '/') {
		cwd = getcwd(NULL, 0);
		if (cwd == NULL || cwd[0] != '/')
			return config_bad(why, "relative to a working directory that is gone");
	}
	path = malloc(strlen(text) + (cwd == NULL ? 0 : strlen(cwd)) + 3);
	if (path == NULL)
		return config_bad(why, "out of memory");
	if (cwd != NULL)
		(void)config_add_components(path, &used, cwd); /* the kernel's text has no ".." */
	if (!config_add_components(path, &used, text))
		return config_bad(why, "the path must not contain \"..\"");
	if (used == 0)
		path[used++] = '/';
	path[used] = '\0';
	*out = STEAL_PTR(path);
	return 0;
}

int config_value_allow(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	size_t n = strlen(text);
	bool read_only = n >= 3 && strcmp(text + n - 3, ":ro") == 0;
	CLEANUP_FREE char *bare = strndup(text, read_only ? n - 3 : n);
	CLEANUP_FREE char *path = NULL;

	if (bare == NULL)
		return config_bad(why, "out of memory");
	if (config_value_path(d, bare, &path, why) < 0)
		return -1;
	if (asprintf(out, "%s%s", path, read_only ? ":ro" : "") < 0) {
		*out = NULL;
		return config_bad(why, "out of memory");
	}
	return 0;
}

/* A token travels in a header field, where neither controls nor outer spaces survive. */
int config_value_token(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	size_t n = strlen(text);

	if (n == 0) {
		*out = NULL;
		if (d->c.as_execd && d->now == CONFIG_FROM_FLAG)
			return 0; /* the reference's way to say "no token" */
		return config_bad(why, "the token is empty");
	}
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return config_bad(why, "the token holds a control character");
	}
	if (text[0] == ' ' || text[n - 1] == ' ')
		return config_bad(why, "the token begins or ends with a space");
	return config_keep(text, out, why);
}

int config_value_bool(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	static const char *const words[] = {"false", "true", "0", "1", "no", "yes", "off", "on"};

	(void)d;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcasecmp(text, words[i]) == 0)
			return config_keep(words[i % 2], out, why);
	}
	return config_bad(why, "not true or false");
}

/* Printable ASCII without spaces and without the bytes in `without`? */
static bool config_is_word(const char *text, const char *without)
{
	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text <= 0x20 || *text >= 0x7f || strchr(without, *text) != NULL)
			return false;
	}
	return true;
}

int config_value_host(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	(void)d;
	if (!config_is_word(text, "/@,?#"))
		return config_bad(why, "not a host name, an address or *");
	return config_keep(text, out, why);
}

int config_value_origin(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	const char *host = strstr(text, "://");

	(void)d;
	if (strcmp(text, "*") == 0 || strcmp(text, "null") == 0)
		return config_keep(text, out, why);
	if (host == NULL || host == text || !config_is_word(host + 3, "/@,?#") ||
		!config_is_word(text, ","))
		return config_bad(why, "not SCHEME://HOST[:PORT], null or *");
	return config_keep(text, out, why);
}

/* The level for a number of the reference (contract 5.1). */
static enum log_level config_level_of(long number)
{
	if (number <= 3)
		return LOG_LEVEL_ERROR;
	if (number == 4)
		return LOG_LEVEL_WARN;
	return number <= 6 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
}

int config_value_level(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	enum log_level level;

	if (log_level_parse(text, &level))
		return config_keep(log_level_name(level), out, why);
	if (d->c.as_execd && d->now == CONFIG_FROM_FLAG) {
		char *end;
		long number;

		errno = 0;
		number = strtol(text, &end, 10);
		if (end != text && *end == '\0' && errno == 0)
			return config_keep(log_level_name(config_level_of(number)), out, why);
	}
	return config_bad(why, "not error, warn, info or debug");
}

/* Passes one unit of a duration and returns it in nanoseconds; 0 when there is none. */
static double config_duration_unit(const char **p)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {{"ns", 1}, {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"\xce\xbcs", 1e3}, {"ms", 1e6},
		{"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		size_t n = strlen(units[i].name);

		if (strncmp(*p, units[i].name, n) == 0) {
			*p += n;
			return units[i].ns;
		}
	}
	return 0;
}

/* Passes digits with at most one point; false when there is no digit. */
static bool config_duration_number(const char **p, double *value)
{
	double weight = 1;
	bool point = false;
	int digits = 0;

	*value = 0;
	for (;; (*p)++) {
		if (**p == '.' && !point) {
			point = true;
		} else if (**p >= '0' && **p <= '9') {
			weight = point ? weight / 10 : 1;
			*value = point ? *value + weight * (**p - '0') : *value * 10 + (**p - '0');
			digits++;
		} else {
			return digits > 0;
		}
	}
}

/* The grammar of contract 5.1: [+-] then 0, or numbers with units. Only validity matters. */
int config_value_duration(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	const char *p = text + (*text == '+' || *text == '-');
	double total = 0;

	(void)d;
	if (strcmp(p, "0") == 0)
		return config_keep(text, out, why);
	if (*p == '\0')
		return config_bad(why, "not a duration such as 1m30s or 500ms");
	while (*p != '\0') {
		double number, unit;

		if (!config_duration_number(&p, &number))
			return config_bad(why, "not a duration such as 1m30s or 500ms");
		unit = config_duration_unit(&p);
		if (unit <= 0)
			return config_bad(why, "a duration needs units: ns, us, ms, s, m, h");
		total += number * unit;
	}
	if (!(total <= 9.223372036854775e18)) /* 63 bits of nanoseconds */
		return config_bad(why, "the duration is too long");
	return config_keep(text, out, why);
}

int config_value_url(
	const struct config_draft *d, const char *text, char **out, char why[static CONFIG_WHY_MAX])
{
	(void)d;
	if (*text != '\0' && strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)
		return config_bad(why, "does not begin with http:// or https://");
	return config_keep(text, out, why);
}
