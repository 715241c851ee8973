/* What the fs_*.c files and writer.c share. */
#ifndef BOXD_SVC_FS_INTERNAL_H
#define BOXD_SVC_FS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "boxd/cond.h"
#include "boxd/confine.h"
#include "boxd/err.h"
#include "boxd/fs.h"

struct environ_set;

/* What a directory is, whatever it is called at the moment. */
struct fs_id {
	uint64_t dev, ino;
};

#define FS_STRIPES 64

/* What changes after fs_new(), and its locks. */
struct fs_locks {
	pthread_mutex_t stripe[FS_STRIPES];
	pthread_mutex_t names;
	struct fs_names *known; /* the last snapshot; under `names` */
};

struct fs {
	struct confine *confine;
	struct environ_set *env; /* only read after fs_new() */
	char *workspace;         /* cleaned */
	char *etc;
	bool has_proc;      /* /proc/self/fd is there: a file without a name can get one */
	struct fs_id *held; /* the roots and every directory above them */
	size_t nheld, held_cap;
	struct fs_locks *locks;
};

/* ---- fs_names.c ---- */

/* The snapshot's table. */
const struct users_names *fs_names_table(const struct fs_names *n) __attribute__((nonnull));

/* ---- fs.c ---- */

/* Is this a root, or a directory above one? It is neither removed nor moved. */
bool fs_is_held(const struct fs *fs, const struct stat *st) __attribute__((nonnull));

/*
 * The lock of a name, taken over looking at what is there and changing it. By the last name alone:
 * one file of one directory has one name, and strangers that share a lock only wait a little.
 */
void fs_lock(const struct fs *fs, const char *name) __attribute__((nonnull));
void fs_unlock(const struct fs *fs, const char *name) __attribute__((nonnull));
/* Both, in an order that cannot deadlock. */
void fs_lock_pair(const struct fs *fs, const char *a, const char *b) __attribute__((nonnull));
void fs_unlock_pair(const struct fs *fs, const char *a, const char *b) __attribute__((nonnull));

/* ERR_PRECONDITION when cond (may be NULL) does not hold; st NULL: there is nothing. */
int fs_check_cond(const struct cond *cond, const struct stat *st, struct err *e)
	__attribute__((warn_unused_result, nonnull(3)));

/* Ends a long operation: ERR_UNAVAILABLE once *cancelled (may be NULL) is set. */
int fs_check_cancelled(const atomic_bool *cancelled, struct err *e)
	__attribute__((warn_unused_result, nonnull(2)));

/* A hidden name that nobody has: what is unfinished is called so while it needs a name. */
#define FS_TEMP_MAX 32
int fs_temp_name(char out[static FS_TEMP_MAX], struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* ---- fs_path.c ---- */

/* Cleans an absolute path in place: no ".", no "..", no empty component, no slash at the end. */
void fs_path_clean(char *path) __attribute__((nonnull));

/* ---- fs_perm.c ---- */

struct fs_owner {
	uid_t uid; /* -1: leave it */
	gid_t gid;
};

/* From names or numbers. ERR_BAD_BODY: there is none such. */
int fs_owner_of(const struct fs *fs, const struct fs_perm *perm, struct fs_owner *out,
	struct err *e) __attribute__((warn_unused_result, nonnull));

/* chown and chmod of what a descriptor means, O_PATH or not. -1 with errno. */
int fs_chown_fd(int fd, uid_t uid, gid_t gid) __attribute__((warn_unused_result));
int fs_chmod_fd(int fd, mode_t mode) __attribute__((warn_unused_result));

/* Owner, then mode (-1: leave it), of what an open descriptor means. */
int fs_apply_perm(int fd, const struct fs_owner *owner, int32_t mode, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* ---- fs_data.c ---- */

/* Does the copy need what the old content of `out` covers? */
enum fs_copy_how {
	FS_COPY_FRESH, /* `out` is empty: holes stay holes */
	FS_COPY_OVER   /* `out` holds something: every byte is written */
};

/*
 * Copies size bytes of `in` to `out`, both from offset 0; `out` ends up size bytes long, or shorter
 * when the source is. The offsets of both move.
 */
int fs_copy_data(int in, int out, uint64_t size, enum fs_copy_how how, const atomic_bool *cancelled,
	struct err *e) __attribute__((warn_unused_result, nonnull(6)));

/* Writes all of it at the descriptor's offset. -1 with errno. */
int fs_write_all(int fd, const void *data, size_t n) __attribute__((warn_unused_result));

/* ---- fs_xattr.c ---- */

enum fs_xattr_what {
	FS_XATTR_ALL,        /* the copy is the same thing */
	FS_XATTR_NEW_CONTENT /* what vouches for the content, or gives it power, stays behind */
};

enum fs_xattr_result {
	FS_XATTR_PLAIN,  /* no ACL is involved */
	FS_XATTR_ACL,    /* the mode of `to` has changed with its ACL: it has to be set */
	FS_XATTR_NO_ACL, /* `to` cannot have from's ACL: from's group bits would give too much */
};

/*
 * Gives `to` the extended attributes of `from` (O_PATH or not), POSIX ACLs among them, as far as
 * the filesystem and the caller's rights allow. An ACL that `to` inherited goes.
 */
enum fs_xattr_result fs_xattr_copy(int from, int to, enum fs_xattr_what what)
	__attribute__((warn_unused_result));

/* ---- fs_descend.c ---- */

/*
 * The directories from a first one down to where somebody is. Only the lowest few are open; one
 * further up is opened again through ".." when it is needed, and must be the one it was.
 */
struct fs_chain_link {
	struct fs_id id;
	int fd; /* -1: not open at the moment */
};

struct fs_chain {
	struct fs_chain_link *links;
	size_t n, cap;
};

/* Takes the descriptor, also when it fails. */
int fs_chain_push(struct fs_chain *c, int fd, struct err *e)
	__attribute__((warn_unused_result, nonnull));
int fs_chain_top(const struct fs_chain *c) __attribute__((nonnull));
/* The directory above the top one, which must not be the only one. Borrowed; -1 with e set. */
int fs_chain_parent(struct fs_chain *c, struct err *e) __attribute__((warn_unused_result, nonnull));
/* Closes the top one. fs_chain_parent() must have been called before, unless it is the last. */
void fs_chain_pop(struct fs_chain *c) __attribute__((nonnull));
void fs_chain_fini(struct fs_chain *c) __attribute__((nonnull));

/* What is done with a tree. 0: go on; -1: stop, with e set. */
struct fs_visitor {
	/* Something that is no directory as far as d_type tells. 1: it is one after all. */
	int (*entry)(void *arg, int dir, const char *name, unsigned char type, struct err *e);
	/* A directory, before its entries. 1: not into this one. */
	int (*enter)(void *arg, int parent, const char *name, int dir, struct err *e);
	/* A directory that cannot be opened, errno says why. */
	int (*closed)(void *arg, int parent, const char *name, struct err *e);
	/* A directory, after its entries. 1: once more (it was not empty). */
	int (*leave)(void *arg, int parent, const char *name, int dir, struct err *e);
	void *arg;
	const atomic_bool *cancelled;
};

/*
 * Goes through the directory called `name` in `dir`, itself included, without recursion and without
 * following a link. ERR_BAD_PATH: more than LIMIT_FS_WALK_DEPTH levels.
 */
int fs_descend(const struct fs_visitor *v, int dir, const char *name, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* ---- fs_tree.c ---- */

/*
 * Removes what is called `name` in `dir`, a directory with all it holds. Goes on after a failure
 * and tells of the first.
 */
int fs_remove_tree(const struct fs *fs, int dir, const char *name, const atomic_bool *cancelled,
	struct err *e) __attribute__((warn_unused_result, nonnull(1, 3, 5)));

/* ---- fs_move.c ---- */

/* rename(2) that replaces nothing: -1 with errno, EEXIST when the name is taken. */
int fs_rename_new(int from_dir, const char *from, int to_dir, const char *to)
	__attribute__((warn_unused_result, nonnull));

/* ---- fs_copy.c ---- */

/*
 * Copies what is called `from` in from_dir to the new name `to` in to_dir, with all it holds and
 * all that is known of it. A failure leaves what there is of the copy.
 */
int fs_copy_tree(const struct fs *fs, int from_dir, const char *from, int to_dir, const char *to,
	const atomic_bool *cancelled, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 3, 5, 7)));

#endif
