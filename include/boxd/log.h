/*
 * The daemon's log: one line per event, `ts level module msg key=value...`, to stderr.
 * Never logged: tokens, environment values, file contents, command text or output. Values that
 * come from clients are passed through log_escape() (or "%s" of a struct field that was).
 * A repeating call site is rate-limited (LIMIT_LOG_BURST lines per second and site) and says how
 * many lines it suppressed. No log call exits, changes errno or waits: a line that the descriptor
 * cannot take at once is dropped and counted. Any thread may log; a line is one write(2).
 */
#ifndef BOXD_LOG_H
#define BOXD_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* One per call site, static, zeroed: the rate limiter's memory. */
struct log_site {
	long second;
	unsigned int count;
};

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* "error", "warn", "info", "debug"; false for anything else. */
bool log_level_parse(const char *name, enum log_level *out)
	__attribute__((warn_unused_result, nonnull));
const char *log_level_name(enum log_level level);

/* The fd that gets the lines; 2 at start. Borrowed. */
void log_set_fd(int fd);

/* Copies bytes with everything but printable ASCII, and quotes and backslashes, as \xNN; cuts to
 * cap. */
const char *log_escape(char *out, size_t cap, const char *data, size_t len)
	__attribute__((nonnull(1)));

void log_write(struct log_site *site, enum log_level level, const char *module, const char *fmt,
	...) __attribute__((format(printf, 4, 5), nonnull));

#define LOG_AT(level, module, ...)                                         \
	do {                                                               \
		static struct log_site log_site_;                          \
		if (log_enabled(level))                                    \
			log_write(&log_site_, level, module, __VA_ARGS__); \
	} while (0)

#define log_error(module, ...) LOG_AT(LOG_LEVEL_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...)  LOG_AT(LOG_LEVEL_WARN, module, __VA_ARGS__)
#define log_info(module, ...)  LOG_AT(LOG_LEVEL_INFO, module, __VA_ARGS__)
#define log_debug(module, ...) LOG_AT(LOG_LEVEL_DEBUG, module, __VA_ARGS__)

#endif
