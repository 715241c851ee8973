/*
 * Every number that bounds boxd, in one table. It makes the enum below, the "limits" object of the
 * configuration file, the range check, --print-limits and the table in the README. Each row has a
 * test at the limit and one past it.
 *
 * LIMIT(NAME, default, min, max, unit, why)
 */
#ifndef BOXD_LIMITS_H
#define BOXD_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMITS(LIMIT)                                                                             \
	LIMIT(HTTP_CONNECTIONS, 16384, 16, 1000000, "count",                                      \
		"open client connections; also kept under the fd limit less HTTP_FD_RESERVE")     \
	LIMIT(HTTP_FD_RESERVE, 64, 16, 4096, "fds",                                               \
		"descriptors kept for running commands when connections are accepted")            \
	LIMIT(HTTP_HEAD_BYTES, 32768, 1024, 1048576, "bytes",                                     \
		"request line and header fields together: 431")                                   \
	LIMIT(HTTP_TARGET_BYTES, 8192, 256, 65536, "bytes", "request target: 414")                \
	LIMIT(HTTP_FIELDS, 100, 16, 128, "count", "header fields of one request: 431")            \
	LIMIT(HTTP_BODY_BYTES, 8388608, 1024, 1073741824, "bytes",                                \
		"a buffered (JSON) request body: 413")                                            \
	LIMIT(HTTP_TRAILER_BYTES, 8192, 256, 65536, "bytes",                                      \
		"trailer section of a chunked body: 431")                                         \
	LIMIT(HTTP_HEAD_MS, 10000, 100, 600000, "ms",                                             \
		"from the first byte of a request to the end of its head: 408")                   \
	LIMIT(HTTP_BODY_MS, 30000, 100, 600000, "ms",                                             \
		"longest pause while a request body arrives: 408")                                \
	LIMIT(HTTP_IDLE_MS, 90000, 100, 86400000, "ms", "an idle keep-alive connection")          \
	LIMIT(HTTP_WRITE_STALL_MS, 30000, 100, 600000, "ms",                                      \
		"longest time without progress while output waits for the client")                \
	LIMIT(HTTP_OUT_BYTES, 262144, 16384, 16777216, "bytes",                                   \
		"output queued for one connection before its source is paused")                   \
	LIMIT(HTTP_LINGER_MS, 1000, 0, 60000, "ms",                                               \
		"reading on after an early error reply, so that the client can read it")          \
	LIMIT(HTTP_ACCEPT_PAUSE_MS, 100, 10, 10000, "ms",                                         \
		"pause of the listener when descriptors run out")                                 \
	LIMIT(JSON_DEPTH, 64, 4, 512, "levels", "nesting of a JSON body")                         \
	LIMIT(JSON_VALUES, 100000, 100, 10000000, "count", "values in one JSON body")             \
	LIMIT(STREAM_PING_MS, 3000, 50, 25000, "ms", "keep-alive event on every event stream")    \
	LIMIT(STREAM_LINE_BYTES, 524288, 1024, 1048576, "bytes",                                  \
		"raw bytes of output in one event; a longer line is split")                       \
	LIMIT(STREAM_COUNT, 12000, 16, 1000000, "count", "event streams open at once: 429")       \
	LIMIT(HUB_SEGMENT_BYTES, 65536, 4096, 1048576, "bytes",                                   \
		"unit in which output is kept, spilled and dropped")                              \
	LIMIT(HUB_MEMORY_BYTES, 262144, 65536, 16777216, "bytes",                                 \
		"output of one command kept in memory")                                           \
	LIMIT(HUB_LOG_BYTES, 16777216, 65536, 1073741824, "bytes",                                \
		"output of one command kept in all, memory and spill file")                       \
	LIMIT(HUB_OWNER_WINDOW_BYTES, 196608, 4096, 16777216, "bytes",                            \
		"how far the owner of a stream may lag before the command waits")                 \
	LIMIT(PROC_RUNNING, 4096, 1, 100000, "count", "commands running at once: 429")            \
	LIMIT(PROC_FINISHED, 1000, 1, 1000000, "count",                                           \
		"exit records kept; the oldest goes first")                                       \
	LIMIT(PROC_FINISHED_MS, 3600000, 1000, 604800000, "ms",                                   \
		"how long an exit record and its log are kept")                                   \
	LIMIT(PROC_FINISHED_MEMORY_BYTES, 16777216, 65536, 1073741824, "bytes",                   \
		"memory held by logs of finished commands; the oldest goes first")                \
	LIMIT(PROC_FINISHED_DISK_BYTES, 268435456, 65536, 1099511627776, "bytes",                 \
		"spill files of finished commands; the oldest goes first")                        \
	LIMIT(PROC_COMMAND_BYTES, 131071, 256, 131071, "bytes",                                   \
		"command text, or one element of argv: the kernel takes no longer argument")      \
	LIMIT(PROC_ARGS, 4096, 1, 65536, "count", "elements of argv")                             \
	LIMIT(PROC_ENVS, 4096, 1, 65536, "count", "environment variables of one request")         \
	LIMIT(PROC_ENV_FILE_BYTES, 1048576, 4096, 16777216, "bytes", "the EXECD_ENVS file")       \
	LIMIT(PROC_PIPE_BYTES, 1048576, 4096, 1048576, "bytes",                                   \
		"pipe of a command that floods it (best effort)")                                 \
	LIMIT(PROC_READ_BYTES, 65536, 4096, 1048576, "bytes",                                     \
		"read from one pipe in one turn of the loop")                                     \
	LIMIT(PROC_LINGER_MS, 20, 0, 10000, "ms",                                                 \
		"after the exit, wait for descendants that still hold the pipes")                 \
	LIMIT(PROC_GRACE_MS, 3000, 0, 600000, "ms",                                               \
		"from SIGTERM to SIGKILL on interrupt and shutdown")                              \
	LIMIT(PROC_TIMEOUT_GRACE_MS, 1000, 0, 600000, "ms",                                       \
		"from SIGTERM to SIGKILL when a timeout is hit")                                  \
	LIMIT(PROC_TIMEOUT_MAX_MS, 2592000000, 1000, 31536000000, "ms",                           \
		"longest timeout a request may ask for")                                          \
	LIMIT(SHUTDOWN_FLUSH_MS, 2000, 0, 60000, "ms",                                            \
		"after the children are gone, time for streams to reach their clients")           \
	LIMIT(FS_PATH_PARTS, 512, 16, 2048, "count", "names in one path, after links: 400")       \
	LIMIT(FS_LINKS, 40, 1, 256, "count", "symbolic links followed in one path: 400")          \
	LIMIT(FS_BATCH, 10000, 1, 1000000, "count",                                               \
		"items of one request that names many files: 400")                                \
	LIMIT(FS_UPLOAD_BYTES, 1099511627776, 1024, 4503599627370496, "bytes",                    \
		"file content in one upload request: 413")                                        \
	LIMIT(FS_UPLOAD_PAIRS, 20000, 1, 1000000, "count",                                        \
		"metadata and file pairs in one multipart upload: 400")                           \
	LIMIT(FS_METADATA_BYTES, 16384, 256, 1048576, "bytes",                                    \
		"one metadata part of a multipart upload: 400")                                   \
	LIMIT(FS_PART_HEAD_BYTES, 16384, 512, 1048576, "bytes",                                   \
		"header fields of one part of a multipart body: 400")                             \
	LIMIT(FS_RANGES, 32, 1, 1024, "count", "ranges of one request; over it: all of the file") \
	LIMIT(FS_SLICE_MS, 5, 1, 1000, "ms",                                                      \
		"a disk thread's time for a search or transfer before others get their turn")     \
	LIMIT(FS_WALK_DEPTH, 1024, 1, 65536, "levels",                                            \
		"directories inside each other, when listing, searching, copying, removing")      \
	LIMIT(FS_WALK_BYTES, 4194304, 65536, 1073741824, "bytes",                                 \
		"results of one search that its client has not taken yet, before it pauses")      \
	LIMIT(FS_DIRECTORY_BYTES, 268435456, 65536, 17179869184, "bytes",                         \
		"names of one directory, held for sorting; a larger one counts as unreadable")    \
	LIMIT(FS_REPLACE_LINE_BYTES, 67108864, 1048576, 1073741824, "bytes",                      \
		"a line in which a pattern is replaced: 400")                                     \
	LIMIT(FS_GLOB_BYTES, 4096, 16, 65536, "bytes", "a glob pattern: 400")                     \
	LIMIT(FS_GLOB_STATES, 8192, 64, 1000000, "count", "states of a compiled glob: 400")       \
	LIMIT(GREP_PATTERN_BYTES, 65536, 16, 1048576, "bytes", "a search pattern: 400")           \
	LIMIT(GREP_FILE_BYTES, 1073741824, 1024, 1099511627776, "bytes",                          \
		"largest file whose content is searched; others are counted as skipped")          \
	LIMIT(GREP_LINE_BYTES, 65536, 256, 1048576, "bytes",                                      \
		"text of one line in a search result; the rest is cut, and said so")              \
	LIMIT(GREP_CONTEXT, 100, 0, 10000, "lines", "context lines on either side: 400")          \
	LIMIT(GREP_RESULTS, 100000, 1, 100000000, "count", "matches of one search")               \
	LIMIT(GREP_MS, 60000, 100, 3600000, "ms", "time of one search")                           \
	LIMIT(GREP_STEPS, 10000000, 1000, 4000000000, "count",                                    \
		"backtracking steps of a pattern on one line: the file is given up, and said so") \
	LIMIT(TUNNEL_IN_BYTES, 65536, 4096, 16777216, "bytes",                                    \
		"input of an upgraded connection kept while nobody takes it")                     \
	LIMIT(WS_MESSAGE_BYTES, 1048576, 125, 67108864, "bytes",                                  \
		"one WebSocket message, after decompression: closed with 1009")                   \
	LIMIT(WS_FRAGMENTS, 16384, 1, 1000000, "count",                                           \
		"frames of one WebSocket message: closed with 1009")                              \
	LIMIT(WS_PING_MS, 30000, 50, 3600000, "ms", "between two pings to a WebSocket peer")      \
	LIMIT(WS_IDLE_MS, 60000, 100, 3600000, "ms",                                              \
		"a WebSocket peer that sends nothing, not even a pong, is dropped")               \
	LIMIT(WS_CLOSE_MS, 2000, 10, 60000, "ms",                                                 \
		"wait for a WebSocket peer's close frame after ours")                             \
	LIMIT(PTY_COUNT, 512, 1, 100000, "count", "terminals at once: 429")                       \
	LIMIT(PTY_REPLAY_BYTES, 1048576, 65536, 1073741824, "bytes",                              \
		"output of one terminal kept for replay, at least")                               \
	LIMIT(PTY_INPUT_BYTES, 1048576, 4096, 67108864, "bytes",                                  \
		"input of one terminal that its program has not read yet")                        \
	LIMIT(PTY_SPEC_BYTES, 262144, 4096, 16777216, "bytes",                                    \
		"command, variables and names that a terminal is made with: 400")                 \
	LIMIT(PTY_VIEWERS, 64, 1, 10000, "count", "connections to one terminal: 429")             \
	LIMIT(PTY_STALL_MS, 1000, 10, 600000, "ms",                                               \
		"how long a holder that reads nothing may make its terminal wait")                \
	LIMIT(PTY_IDLE_MS, 0, 0, 31536000000, "ms",                                               \
		"a terminal that nobody is connected to is removed after this; 0: never")         \
	LIMIT(PTY_FINISHED_MS, 3600000, 100, 604800000, "ms",                                     \
		"a terminal that has ended, or never began, and nobody is connected to, is kept") \
	LIMIT(SESSION_COUNT, 256, 1, 100000, "count", "shell sessions at once: 429")              \
	LIMIT(SESSION_QUEUE, 64, 0, 10000, "count", "runs of one session that wait: 429")         \
	LIMIT(SESSION_IDLE_MS, 0, 0, 31536000000, "ms",                                           \
		"a shell session that runs nothing is removed after this; 0: never")              \
	LIMIT(SESSION_STATE_BYTES, 4194304, 4096, 268435456, "bytes",                             \
		"state of a shell kept for the shell that follows it")                            \
	LIMIT(SESSION_TIMEOUT_MS, 86400000, 1000, 31536000000, "ms",                              \
		"of a run that names no timeout")                                                 \
	LIMIT(PROXY_DIAL_MS, 5000, 10, 600000, "ms", "connecting to a proxied port: 502")         \
	LIMIT(PROXY_HEAD_MS, 600000, 100, 86400000, "ms",                                         \
		"until a proxied server begins its answer: 504")                                  \
	LIMIT(PROXY_IDLE_COUNT, 64, 0, 10000, "count", "idle connections kept to proxied ports")  \
	LIMIT(PROXY_IDLE_MS, 30000, 100, 600000, "ms", "an idle connection to a proxied port")    \
	LIMIT(PROXY_COUNT, 4096, 1, 1000000, "count", "requests being proxied at once: 503")      \
	LIMIT(PORT_WAITS, 1024, 1, 100000, "count", "requests waiting for a port: 429")           \
	LIMIT(PORT_WAIT_MS, 300000, 1, 3600000, "ms", "longest wait for a port")                  \
	LIMIT(TICKET_COUNT, 1024, 1, 100000, "count", "tickets not used yet: 429")                \
	LIMIT(TICKET_MS, 30000, 100, 600000, "ms", "life of a ticket")                            \
	LIMIT(WORK_THREADS, 3, 1, 64, "count",                                                    \
		"disk threads, started when first needed; half of them for one search")           \
	LIMIT(WORK_QUEUE, 4096, 16, 1000000, "count", "disk jobs waiting")                        \
	LIMIT(LOG_BURST, 20, 1, 10000, "lines/s", "log lines per second from one place in the code")

enum limit {
#define LIMIT_ENUM(name, def, min, max, unit, why) LIMIT_##name,
	LIMITS(LIMIT_ENUM)
#undef LIMIT_ENUM
		LIMIT_COUNT_
};

struct limit_row {
	const char *name; /* as above; in the configuration file in lower case */
	int64_t def, min, max;
	const char *unit, *why;
};

extern const struct limit_row limit_rows[LIMIT_COUNT_];
extern int64_t limit_values[LIMIT_COUNT_];

/* The value in force. Fixed once the configuration is read, so any thread may ask. */
static inline int64_t limit(enum limit l)
{
	return limit_values[l];
}

/* The same for sizes; every row fits. */
static inline size_t limit_size(enum limit l)
{
	return (size_t)limit_values[l];
}

/* Finds a row by name, in any case. LIMIT_COUNT_ when there is none. */
enum limit limit_find(const char *name) __attribute__((nonnull));

/* Sets a value; false when it is outside [min, max]. At start-up and in tests only. */
bool limit_set(enum limit l, int64_t value) __attribute__((warn_unused_result));

#endif
