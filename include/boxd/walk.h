/*
 * Walking a tree: several disk threads work, and what they find comes out in one order all the
 * same.
 *
 * The walk is a list of nodes in output order. A node is either output (bytes), or work still to be
 * done: a directory to open, or a range of sorted entries to visit. A thread takes the first work
 * in the list that no other is at, and puts before it what comes of it: bytes, and new work where
 * directories were found. The loop takes bytes from the front, up to the first node that is still
 * work. So order is lexical and pre-order, memory is bounded by LIMIT_FS_WALK_BYTES plus what is
 * being read, and a client that does not take its results stops the walk.
 *
 * Directories are opened by name below their parent's descriptor and never through a link, so
 * whatever moves meanwhile, nothing outside the tree is read. One that cannot be opened or read is
 * counted and passed over; an entry that vanishes is no error. Entries whose path does not fit into
 * PATH_MAX, and directories beyond LIMIT_FS_WALK_DEPTH, count as unreadable. A directory's
 * descriptor is closed when nothing in it is left to be visited or opened.
 *
 * One walk runs at most work_parallel() slices (work_submit_bulk()) at a time, each with its own
 * worker number for scratch memory.
 */
#ifndef BOXD_WALK_H
#define BOXD_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/buf.h"
#include "boxd/err.h"
#include "boxd/fs.h"
#include "boxd/loop.h"
#include "boxd/work.h"

struct walk;

/* One thing found; valid during the call. */
struct walk_entry {
	const char *path; /* as the client wrote the root, expanded; absolute, NUL-terminated */
	size_t path_len;
	size_t name;        /* where the base name begins in path */
	size_t below_root;  /* where the path relative to the root begins; path_len for the root
			       itself */
	unsigned int depth; /* 1: a child of the root, 0: the root itself */
	enum fs_type type;
	const struct fs_stat *st; /* what walk_stat() found, or NULL */
	int dir;                  /* descriptor of the directory that it is in; borrowed */
	void *dir_context;        /* what enter() made for that directory */
	unsigned int worker;      /* 0 to work_parallel() - 1: this thread's slot */
};

/*
 * All of them are called on disk threads, several at a time, and only read what arg leads to.
 * leave() may also be called on the loop thread, from walk_free() and when the pool ends.
 */
struct walk_visitor {
	/*
	 * Appends what is to be sent for this entry, which may be nothing. It may call
	 * walk_stat(). -1: out of memory, the walk ends with ERR_UNAVAILABLE.
	 */
	int (*visit)(void *arg, struct walk *w, struct walk_entry *entry, struct buf *out);
	/* Go into this directory? NULL: into all, up to max_depth. */
	bool (*descend)(void *arg, const struct walk_entry *entry);
	/*
	 * Optional: a context for the entries of a directory that was opened just now, made from
	 * its parent's (NULL for the root). May return parent's own; the walk calls leave() once
	 * for each enter(), when nothing below the directory can refer to it any more.
	 */
	void *(*enter)(void *arg, void *parent, int dir, const char *path, size_t below_root);
	void (*leave)(void *arg, void *context);
	void *arg;
};

enum walk_root {
	WALK_ROOT_DIRECTORY, /* must be a directory: else ERR_WRONG_TYPE (contract 1.16) */
	WALK_ROOT_ANY /* anything else is one entry of depth 0, a link is not followed (1.12) */
};

struct walk_spec {
	const struct fs *fs;
	const char *path; /* cleaned (fs_path()); copied */
	enum walk_root root;
	unsigned int max_depth; /* 0: the root alone: a directory is checked and not opened */
	bool set_user;          /* work as that user: fs_enter() around each slice */
	uid_t uid;
	gid_t gid;          /* -1: the user's own */
	int64_t timeout_ms; /* 0: none */
	struct walk_visitor visitor;
	/*
	 * On the loop, never from walk_new() or walk_take(): there is output to take (again), or
	 * the walk has ended. Not called again before walk_take() has taken all that is due, so who
	 * takes a part must come back by itself. An end that is reached with the last bytes is not
	 * told once more: ask walk_state() after walk_take(). May be the last thing that needs the
	 * walk: it may call walk_free().
	 */
	void (*on_output)(void *arg);
	void *arg;
};

/* Fills st for the entry, once; false when it has vanished or cannot be looked at. */
bool walk_stat(struct walk_entry *entry, struct fs_stat *st) __attribute__((nonnull));

/* For the visitor: enough was found. Entries that other threads are at are still finished. */
void walk_stop(struct walk *w) __attribute__((nonnull));
/* For a visitor whose single visit is long: has the walk been stopped, cancelled or timed out? */
bool walk_stopped(const struct walk *w) __attribute__((nonnull));

/*
 * Starts it. NULL with e set: ERR_UNAVAILABLE. What the visitor's arg leads to must live until
 * walk_free() has called on_freed. A walk that runs when the pool is freed ends with an error and
 * says so; nothing is taken from a walk after its pool is gone.
 */
struct walk *walk_new(const struct walk_spec *spec, struct loop *l, struct work_pool *pool,
	struct err *e) __attribute__((warn_unused_result, nonnull));

/* Moves at most max bytes that are due to the end of out, in pieces that end where a visit ended
 * unless one alone is longer. The number of bytes; 0 when there are none now, or -1: no memory. */
ssize_t walk_take(struct walk *w, struct buf *out, size_t max)
	__attribute__((warn_unused_result, nonnull));

enum walk_state {
	WALK_RUNNING, /* more may come */
	WALK_ENDED,   /* all is found and taken */
	WALK_FAILED   /* the root could not be opened, or memory ran out: walk_error() */
};

struct walk_totals {
	uint64_t entries;     /* visited */
	uint64_t directories; /* read */
	uint64_t unreadable;  /* directories passed over */
	bool stopped;         /* by walk_stop() */
	bool timed_out;
};

enum walk_state walk_state(const struct walk *w) __attribute__((nonnull));
const struct err *walk_error(const struct walk *w) __attribute__((nonnull));
struct walk_totals walk_totals(const struct walk *w) __attribute__((nonnull));

/*
 * Ends it, at once for the caller: on_output is not called again. Threads that are at it finish
 * their visit first, so on_freed(arg) comes later, from the loop (or from here, when
 * nothing runs), and after it nothing refers to the visitor's arg. NULL is fine (on_freed is
 * called).
 */
void walk_free(struct walk *w, void (*on_freed)(void *arg), void *arg) __attribute__((nonnull(2)));

#endif
