/*
 * What the files of the walk share. walk.c: the loop's side; walk_run.c: slices on disk threads;
 * walk_open.c: how a slice opens directories; walk_dir.c: directories and their names.
 */
#ifndef BOXD_WALK_INTERNAL_H
#define BOXD_WALK_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "boxd/walk.h"

/* Sorted entries of a directory that one thread takes at a time; the rest is for the others. */
#define WALK_BATCH 512
/* Output that a thread collects before it shows it to the others. */
#define WALK_CHUNK_BYTES 32768
/* For getdents64(2): the names of a usual directory come in one call. */
#define WALK_DENTS_BYTES 65536

/* ---- names of one directory (walk_dir.c) ---- */

/* The type that a name has in the text when the filesystem does not say it. */
#define WALK_TYPE_UNKNOWN 127

struct walk_name {
	uint64_t key; /* used by the sort alone */
	size_t at;    /* in the text: one byte of type, then the name and a NUL */
};

struct walk_names {
	char *text;
	size_t text_len, text_cap;
	struct walk_name *list;
	size_t n, cap;
	struct walk_name *spare; /* room that the sort needs */
	size_t spare_cap;
};

/* Reads all names of an open directory. 0, or an errno: ENOMEM, or E2BIG when there are more bytes
 * of them than LIMIT_FS_DIRECTORY_BYTES. */
int walk_names_read(struct walk_names *names, int fd, uint8_t *dents, size_t n)
	__attribute__((warn_unused_result, nonnull));
/* By bytes. -1: no memory. */
int walk_names_sort(struct walk_names *names) __attribute__((warn_unused_result, nonnull));
/* Hands names (at least one) over to who keeps them longer, in memory of their size. */
void walk_names_move(struct walk_names *from, struct walk_names *to) __attribute__((nonnull));
void walk_names_fini(struct walk_names *names) __attribute__((nonnull));

/*
 * An open directory. Its users are the unfinished nodes: batches of its entries, and directories in
 * it that are yet to be opened. With the last of them go the descriptor and the names. The rest,
 * the visitor's context above all, lives on as long as a directory below refers to it.
 */
struct walk_dir {
	struct walk_dir *parent; /* holds a reference */
	atomic_size_t users;
	atomic_size_t refs; /* directories below, and one for all users together */
	int fd;
	unsigned int depth;      /* 0: the root */
	struct walk_names names; /* empty while they are in the thread's scratch memory */
	bool entered;
	void *context;
	size_t path_len;
	char path[];
};

/* With one user; owns fd when it succeeds. name NULL: path is all. NULL: no memory. */
struct walk_dir *walk_dir_new(struct walk_dir *parent, int fd, const char *path, size_t path_len,
	const char *name) __attribute__((warn_unused_result, nonnull(3)));
static inline void walk_dir_use(struct walk_dir *d)
{
	atomic_fetch_add(&d->users, 1);
}
/* The last user's leaves the visitor's context, of ancestors too when nothing else holds them. */
void walk_dir_unuse(const struct walk_visitor *v, struct walk_dir *d) __attribute__((nonnull));

/* ---- nodes ---- */

enum walk_kind {
	WALK_OUTPUT,
	WALK_ROOT,      /* to be looked at */
	WALK_DIRECTORY, /* to be opened, below dir */
	WALK_ENTRIES    /* of dir, to be visited */
};

struct walk_node {
	TAILQ_ENTRY(walk_node) link; /* all, in output order */
	TAILQ_ENTRY(walk_node) todo; /* those that are not output, in the same order */
	enum walk_kind kind;
	bool running;                 /* a thread is at it */
	struct walk_dir *dir;         /* a user of it */
	size_t next, end;             /* entries, or bytes of the output: taken so far, all */
	size_t nends;                 /* visits in the output... */
	_Alignas(size_t) char data[]; /* ...where each ended, then the bytes; or a name */
};
TAILQ_HEAD(walk_list, walk_node);

static inline const size_t *walk_node_ends(const struct walk_node *n)
{
	return (const size_t *)(const void *)n->data;
}

static inline const char *walk_node_bytes(const struct walk_node *n)
{
	return n->data + n->nends * sizeof(size_t);
}

/* ---- the walk ---- */

struct walk_slice {
	struct work work; /* first */
	struct walk *walk;
	unsigned int worker;
	bool ran;       /* it found something to do; for done() */
	bool submitted; /* loop thread only */
};

struct walk {
	/* Fixed from the start. */
	struct walk_spec spec; /* path is the walk's own copy */
	size_t path_len;
	size_t below_root;   /* where relative paths begin in an entry's path */
	int64_t deadline_us; /* 0: none */
	size_t max_bytes, chunk_bytes;
	struct loop *loop;
	struct work_pool *pool;
	size_t nslices;

	/* Loop thread only. */
	struct walk_list ready; /* output that is about to be taken */
	bool told;              /* on_output() was called and not all was taken since */
	bool freed;
	void (*on_freed)(void *arg);
	void *freed_arg;

	atomic_bool ending; /* no new work: stopped, timed out, failed or freed */

	pthread_mutex_t lock; /* for all below */
	struct walk_list due; /* output that nothing unfinished is before */
	struct walk_list nodes;
	struct walk_list todo;
	size_t pending;   /* in todo and not running */
	size_t buffered;  /* bytes of output in all lists, ready included */
	size_t due_bytes; /* of them: in due and ready */
	size_t submitted; /* slices; changed by the loop thread only */
	int64_t share_us; /* a slice that could share work ends early, but not before this time */
	bool failed;
	struct err error;
	struct walk_totals totals;

	struct walk_slice slices[];
};

/* run() of a slice. */
void walk_slice_run(struct work *work) __attribute__((nonnull));

/* The first node that may run now; NULL when there is none, or when room must be made before. The
 * lock is held. */
struct walk_node *walk_first(const struct walk *w) __attribute__((nonnull));
/* Output at the front of the list becomes due. The lock is held. */
void walk_advance(struct walk *w) __attribute__((nonnull));
/* Ends the walk with an error; the first one counts. */
void walk_fail(struct walk *w, const struct err *e) __attribute__((nonnull));
/* Releases a node that is in no list. */
void walk_node_free(const struct walk *w, struct walk_node *n) __attribute__((nonnull));
/* Forgets all work that no thread is at. */
void walk_drop_pending(struct walk *w) __attribute__((nonnull));

/* ---- a slice at work (walk_run.c, walk_open.c) ---- */

/* Scratch memory of a slice. */
struct walk_run {
	struct walk *w;
	struct walk_slice *slice;
	int64_t now_us, end_us;
	unsigned int ticks; /* visits until the clock is looked at */
	bool over;          /* the slice's time is */

	/* What has become of the node and is not in the list yet. */
	struct walk_list made;
	size_t made_bytes;
	struct buf out; /* behind all of made */
	size_t *ends;   /* of visits, in out */
	size_t nends, ends_cap;
	struct walk_totals totals;

	struct walk_names names; /* of the directory that is being visited, unless it has its own */
	char path[PATH_MAX];
	_Alignas(8) uint8_t dents[WALK_DENTS_BYTES];
};

/* With a user of d, if there is one, and n bytes of data. NULL: no memory. */
struct walk_node *walk_node_new(enum walk_kind kind, struct walk_dir *d, size_t n)
	__attribute__((warn_unused_result));
/* The entries from `at` on become a node of their own, that another thread may take. */
void walk_split(struct walk_run *r, struct walk_node *n, size_t at) __attribute__((nonnull));
/* Makes a node of the root, or of a directory, one of entries to be visited, if there are any. */
void walk_open_root(struct walk_run *r, struct walk_node *n) __attribute__((nonnull));
void walk_open(struct walk_run *r, struct walk_node *n) __attribute__((nonnull));
/* Visits, and keeps the end of the visit. -1: no memory. */
int walk_visit(struct walk_run *r, struct walk_entry *entry)
	__attribute__((warn_unused_result, nonnull));
void walk_no_memory(struct walk *w) __attribute__((nonnull));

#endif
