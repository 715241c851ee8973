/*
 * The box's files, as what they are to a client: paths as it writes them, metadata, and changes
 * to the tree. Reading content is here too; writing it is writer.h, searching is walk.h and grep.h.
 *
 * Everything that touches the disk is synchronous and runs on a disk thread (work.h). A struct fs
 * does not change after fs_new(): any thread may use it. Every path is resolved once, by
 * confine.h, and errors are those of confine.h unless said otherwise. Long operations look at
 * *cancelled (may be NULL) and end early with ERR_UNAVAILABLE.
 */
#ifndef BOXD_FS_H
#define BOXD_FS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "boxd/cond.h"
#include "boxd/confine.h"
#include "boxd/err.h"

struct fs;
struct fs_names;

struct fs_config {
	const struct confine_root *roots; /* the first is the workspace */
	size_t nroots;
	char *const *environ; /* for $NAME and ~ in paths; copied without the secrets */
	const char *etc;      /* "/etc" but in tests */
};

struct fs *fs_new(const struct fs_config *fc, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void fs_free(struct fs *fs); /* NULL is fine; no job may be running */
const struct confine *fs_confine(const struct fs *fs) __attribute__((nonnull));

/* ---- paths (contract 1.5) ---- */

/*
 * Expands variables and `~`, makes it absolute (from the workspace), and cleans it lexically. An
 * empty path is the workspace. Heap string, or NULL with e set: ERR_BAD_BODY (an undefined
 * variable), ERR_BAD_PATH, ERR_UNAVAILABLE.
 */
char *fs_path(const struct fs *fs, const char *raw, struct err *e)
	__attribute__((malloc, warn_unused_result, nonnull));

/* ---- as somebody else ---- */

/*
 * From here to fs_leave() this thread works with the rights of that user, supplementary groups
 * included (asuser.h). gid -1: the user's primary group.
 */
int fs_enter(const struct fs *fs, uid_t uid, gid_t gid, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void fs_leave(void);

/* ---- metadata ---- */

enum fs_type { FS_FILE, FS_DIRECTORY, FS_SYMLINK, FS_OTHER };

struct fs_stat {
	enum fs_type type;
	uint32_t mode; /* permissions with setuid, setgid, sticky: 07777 */
	uint64_t size;
	struct timespec mtime, ctime;
	uid_t uid;
	gid_t gid;
	uint64_t dev, ino;
	uint64_t nlink;
};

/* From struct stat. */
struct stat;
void fs_stat_from(const struct stat *st, struct fs_stat *out) __attribute__((nonnull));

/* Of the name itself: a link is not followed. */
int fs_info(const struct fs *fs, const char *path, struct fs_stat *out, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * A strong entity tag, quotes included: inode, size, time of the last change to the nanosecond.
 * An atomic replacement always changes it.
 */
#define FS_ETAG_MAX 64
void fs_etag(const struct fs_stat *st, char out[static FS_ETAG_MAX]) __attribute__((nonnull));

/*
 * Names of owners, as the box's files have them now: they are read again when they have changed.
 * A snapshot does not change, and any thread may ask it. ERR_UNAVAILABLE. On a disk thread.
 */
struct fs_names *fs_names(const struct fs *fs, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void fs_names_free(struct fs_names *n); /* NULL is fine */
/* NULL: the id has no name. */
const char *fs_user_name(const struct fs_names *n, uid_t uid) __attribute__((nonnull));
const char *fs_group_name(const struct fs_names *n, gid_t gid) __attribute__((nonnull));

/* What a client wants of a file's owner and mode. */
struct fs_perm {
	int32_t mode;      /* -1: leave it; otherwise 0 to 07777 */
	const char *owner; /* name or number, NULL: leave it */
	const char *group;
};

/*
 * Changes what is asked for and nothing else; follows links (contract 1.6). The owner first, then
 * the mode, because a change of owner clears special bits. ERR_BAD_BODY: no such owner or group
 * (checked before anything is changed).
 */
int fs_set_perm(const struct fs *fs, const char *path, const struct fs_perm *perm, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* The same for an open descriptor, O_PATH or not. */
int fs_set_perm_fd(const struct fs *fs, int fd, const struct fs_perm *perm, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* ---- the tree ---- */

/*
 * mkdir -p with 0777 less the umask; perm is applied to the last one if it was made now (contract
 * 1.17). An existing directory is success and is left alone; anything else there is ERR_EXISTS.
 */
int fs_mkdir(const struct fs *fs, const char *path, const struct fs_perm *perm, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 2, 4)));

#define FS_MISSING_OK   1u /* nothing there is success, else ERR_NO_FILE */
#define FS_DIRECTORY_OK 2u /* an empty directory goes too, else ERR_WRONG_TYPE */
#define FS_RECURSIVE    4u /* a directory with all it holds, else ERR_NOT_EMPTY */

/*
 * Removes a name; a link goes itself, never what it leads to. Nothing outside the name is touched,
 * whatever moves meanwhile: every level is opened without following links. A root, and a directory
 * that holds one, is ERR_PATH_FORBIDDEN. cond (may be NULL) is checked against what is there
 * (ERR_PRECONDITION). A failure in the middle leaves the rest; the rest is attempted first where it
 * can be, and the first error is told.
 */
int fs_remove(const struct fs *fs, const char *path, unsigned int flags, const struct cond *cond,
	const atomic_bool *cancelled, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 2, 6)));

/*
 * Renames; missing parents of dest are made. What is at dest is replaced only with overwrite, and
 * then as rename(2) does it; otherwise ERR_EXISTS, also in a race (RENAME_NOREPLACE). Across
 * filesystems: a copy beside dest under a temporary name with modes, owners, times, xattrs and
 * links kept, then a rename, then the source is removed; a failure leaves the source whole and
 * nothing at dest. cond concerns src. ERR_BAD_BODY: a directory into itself. ERR_PATH_FORBIDDEN: a
 * root.
 */
int fs_move(const struct fs *fs, const char *src, const char *dest, bool overwrite,
	const struct cond *cond, const atomic_bool *cancelled, struct err *e)
	__attribute__((warn_unused_result, nonnull(1, 2, 3, 7)));

/* ---- reading ---- */

/*
 * A regular file for reading, links followed. ERR_WRONG_TYPE: a directory, FIFO, socket or device;
 * none of them is waited for. A descriptor, or -1.
 */
int fs_open_read(const struct fs *fs, const char *path, struct fs_stat *out, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/*
 * Is this range of the file in the page cache, as far as a few probes can tell (preadv2(2) with
 * RWF_NOWAIT)? What is not there would block who sends it. False where the filesystem cannot say.
 */
bool fs_resident(int fd, uint64_t offset, size_t n);
/* Reads the range and throws it away: then it is resident, as far as memory allows. */
void fs_prefetch(int fd, uint64_t offset, size_t n);

#endif
