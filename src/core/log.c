/*
 * log: one line per event, one write(2) per line.
 *
 * The log must never be the reason why the daemon stands still: a line goes out only when the
 * descriptor can take it now, so a supervisor that stops reading its pipe costs lines and not
 * requests. What was left out, for that reason or because a call site repeats itself, is counted
 * and said when the next line gets through. Control characters never reach the descriptor, so a
 * value that somebody forgot to escape cannot forge a line or drive a terminal.
 */
#include "boxd/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "boxd/clock.h"
#include "boxd/limits.h"

/* A pipe that polls writable takes PIPE_BUF (4096) bytes whole and without waiting. */
#define LOG_LINE_MAX 2048

static const char log_names[][6] = {"error", "warn", "info", "debug"};

static _Atomic int log_level_now = LOG_LEVEL_INFO;
static _Atomic int log_fd = STDERR_FILENO;

/* Guards every log_site and log_dropped. Never held across a system call. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int log_dropped;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

bool log_level_parse(const char *name, enum log_level *out)
{
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcasecmp(name, log_names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

const char *log_level_name(enum log_level level)
{
	return log_names[level];
}

void log_set_fd(int fd)
{
	atomic_store(&log_fd, fd);
}

const char *log_escape(char *out, size_t cap, const char *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t used = 0;

	if (cap == 0)
		return out;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];
		bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\'' && c != '\\';

		if (used + (plain ? 1 : 4) >= cap)
			break;
		if (plain) {
			out[used++] = (char)c;
			continue;
		}
		out[used++] = '\\';
		out[used++] = 'x';
		out[used++] = digits[c >> 4];
		out[used++] = digits[c & 15];
	}
	out[used] = '\0';
	return out;
}

/* May this site write a line now? *suppressed is what it kept back in an earlier second. */
static bool log_admit(struct log_site *site, unsigned int *suppressed)
{
	long second = (long)(clock_mono_ms() / 1000);
	unsigned int burst = (unsigned int)limit(LIMIT_LOG_BURST);
	bool admit;

	*suppressed = 0;
	pthread_mutex_lock(&log_lock);
	if (site->second != second) {
		if (site->count > burst)
			*suppressed = site->count - burst;
		site->second = second;
		site->count = 0;
	}
	if (site->count < UINT32_MAX)
		site->count++;
	admit = site->count <= burst;
	pthread_mutex_unlock(&log_lock);
	return admit;
}

/* How many lines could not be written since somebody asked last. */
static unsigned int log_take_dropped(void)
{
	unsigned int n;

	pthread_mutex_lock(&log_lock);
	n = log_dropped;
	log_dropped = 0;
	pthread_mutex_unlock(&log_lock);
	return n;
}

static void log_add_dropped(unsigned int n)
{
	pthread_mutex_lock(&log_lock);
	log_dropped += n;
	pthread_mutex_unlock(&log_lock);
}

/* Writes one line if that needs no waiting. */
static bool log_put(const char *line, size_t len)
{
	struct pollfd p = {.fd = atomic_load(&log_fd), .events = POLLOUT};
	ssize_t n;

	if (poll(&p, 1, 0) != 1 || (p.revents & POLLOUT) == 0)
		return false;
	do {
		n = write(p.fd, line, len);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

/* Ends the line of len bytes (cut when it is too long) and makes it printable. */
static size_t log_seal(char line[static LOG_LINE_MAX], size_t len)
{
	if (len > LOG_LINE_MAX - 1) {
		len = LOG_LINE_MAX - 1;
		memcpy(line + len - 3, "...", 3);
	}
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[len] = '\n';
	return len + 1;
}

__attribute__((format(printf, 3, 0))) static bool log_vline(
	enum log_level level, const char *module, const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX];
	size_t len;
	int n;

	clock_rfc3339(clock_real_ms(), line);
	n = snprintf(line + CLOCK_RFC3339_LEN, sizeof(line) - CLOCK_RFC3339_LEN, " %s %s ",
		log_names[level], module);
	if (n < 0)
		return false;
	len = CLOCK_RFC3339_LEN + (size_t)n;
	if (len < sizeof(line)) {
		n = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
		if (n > 0)
			len += (size_t)n;
	}
	len = log_seal(line, len);
	return log_put(line, len);
}

__attribute__((format(printf, 3, 4))) static bool log_line(
	enum log_level level, const char *module, const char *fmt, ...)
{
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	ok = log_vline(level, module, fmt, ap);
	va_end(ap);
	return ok;
}

void log_write(
	struct log_site *site, enum log_level level, const char *module, const char *fmt, ...)
{
	int saved = errno; /* callers log between a failing call and their look at errno */
	unsigned int suppressed, dropped;
	va_list ap;

	if (log_admit(site, &suppressed)) {
		if (suppressed > 0 &&
			!log_line(level, module, "suppressed %u lines like the next", suppressed))
			log_add_dropped(1);
		dropped = log_take_dropped();
		if (dropped > 0 && !log_line(LOG_LEVEL_WARN, "log",
					   "dropped %u lines: nobody read them", dropped))
			log_add_dropped(dropped);
		va_start(ap, fmt);
		if (!log_vline(level, module, fmt, ap))
			log_add_dropped(1);
		va_end(ap);
	}
	errno = saved;
}
