/*
 * fs: what all file operations stand on: the roots, the environment for paths, the identities that
 * must not be removed, and the locks that make "look, then change" one step for a name.
 *
 * Everything but the locks is fixed by fs_new(), so jobs on several threads share one struct fs.
 */
#include "boxd/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/asuser.h"
#include "boxd/cleanup.h"
#include "boxd/environ.h"
#include "boxd/users.h"
#include "fs_internal.h"

/* ---- life ---- */

static int fs_no_memory(struct err *e)
{
	return err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

static int fs_hold(struct fs *fs, const struct stat *st, struct err *e)
{
	if (fs_is_held(fs, st))
		return 0;
	if (fs->nheld == fs->held_cap) {
		size_t cap = fs->held_cap == 0 ? 16 : 2 * fs->held_cap;
		struct fs_id *held = realloc(fs->held, cap * sizeof(*held));

		if (held == NULL)
			return fs_no_memory(e);
		fs->held = held;
		fs->held_cap = cap;
	}
	fs->held[fs->nheld++] = (struct fs_id){st->st_dev, st->st_ino};
	return 0;
}

/*
 * Notes a root and every directory above it. The way up leaves the roots: nothing is done there but
 * to ask who each directory is.
 */
static int fs_hold_root(struct fs *fs, const char *path, struct err *e)
{
	struct err missing = {0};
	int fd = confine_open(fs->confine, path, O_PATH | O_DIRECTORY, 0, &missing);
	struct stat st, above;

	if (fd < 0)
		return 0; /* confine_new() left it out, too */
	while (fstat(fd, &st) == 0) {
		int up;

		if (fs_hold(fs, &st, e) < 0) {
			close(fd);
			return -1;
		}
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = up;
		if (fd < 0 || fstat(fd, &above) < 0 ||
			(above.st_dev == st.st_dev && above.st_ino == st.st_ino))
			break;
	}
	if (fd >= 0)
		close(fd);
	return 0;
}

static int fs_init_locks(struct fs *fs)
{
	fs->locks = calloc(1, sizeof(*fs->locks));
	if (fs->locks == NULL)
		return -1;
	pthread_mutex_init(&fs->locks->names, NULL);
	for (size_t i = 0; i < FS_STRIPES; i++)
		pthread_mutex_init(&fs->locks->stripe[i], NULL); /* cannot fail on Linux */
	return 0;
}

static int fs_init(struct fs *fs, const struct fs_config *fc, struct err *e)
{
	fs->confine = confine_new(fc->roots, fc->nroots, e);
	if (fs->confine == NULL)
		return -1;
	fs->env = environ_new(fc->environ);
	fs->workspace = strdup(fc->roots[0].path);
	fs->etc = strdup(fc->etc);
	if (fs->env == NULL || fs->workspace == NULL || fs->etc == NULL || fs_init_locks(fs) < 0)
		return fs_no_memory(e);
	fs_path_clean(fs->workspace);
	fs->has_proc = access("/proc/self/fd", X_OK) == 0;
	for (size_t i = 0; i < fc->nroots; i++) {
		CLEANUP_FREE char *path = strdup(fc->roots[i].path);

		if (path == NULL)
			return fs_no_memory(e);
		fs_path_clean(path);
		if (fs_hold_root(fs, path, e) < 0)
			return -1;
	}
	return 0;
}

struct fs *fs_new(const struct fs_config *fc, struct err *e)
{
	struct fs *fs = calloc(1, sizeof(*fs));

	if (fs == NULL) {
		fs_no_memory(e);
		return NULL;
	}
	if (fs_init(fs, fc, e) < 0) {
		fs_free(fs);
		return NULL;
	}
	return fs;
}

void fs_free(struct fs *fs)
{
	if (fs == NULL)
		return;
	if (fs->locks != NULL) {
		for (size_t i = 0; i < FS_STRIPES; i++)
			pthread_mutex_destroy(&fs->locks->stripe[i]);
		pthread_mutex_destroy(&fs->locks->names);
		fs_names_free(fs->locks->known);
	}
	free(fs->locks);
	free(fs->held);
	free(fs->etc);
	free(fs->workspace);
	environ_free(fs->env);
	confine_free(fs->confine);
	free(fs);
}

const struct confine *fs_confine(const struct fs *fs)
{
	return fs->confine;
}

bool fs_is_held(const struct fs *fs, const struct stat *st)
{
	for (size_t i = 0; i < fs->nheld; i++) {
		if (fs->held[i].dev == st->st_dev && fs->held[i].ino == st->st_ino)
			return true;
	}
	return false;
}

/* ---- users ---- */

int fs_enter(const struct fs *fs, uid_t uid, gid_t gid, struct err *e)
{
	struct user u;

	users_by_uid(fs->etc, uid, &u);
	if (gid != (gid_t)-1) {
		u.gid = gid;
		/* A stranger's only group was made up from the uid. */
		if (!u.known)
			u.groups[0] = gid;
	}
	return asuser_enter(&u, e);
}

void fs_leave(void)
{
	asuser_leave();
}

/* ---- metadata ---- */

static enum fs_type fs_type_of(mode_t mode)
{
	if (S_ISREG(mode))
		return FS_FILE;
	if (S_ISDIR(mode))
		return FS_DIRECTORY;
	return S_ISLNK(mode) ? FS_SYMLINK : FS_OTHER;
}

void fs_stat_from(const struct stat *st, struct fs_stat *out)
{
	*out = (struct fs_stat){
		.type = fs_type_of(st->st_mode),
		.mode = st->st_mode & 07777,
		.size = (uint64_t)st->st_size,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.dev = st->st_dev,
		.ino = st->st_ino,
		.nlink = st->st_nlink,
	};
}

int fs_info(const struct fs *fs, const char *path, struct fs_stat *out, struct err *e)
{
	CLEANUP_FD int fd = confine_open(fs->confine, path, O_PATH | O_NOFOLLOW, 0, e);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_file(e, "cannot look at it");
	fs_stat_from(&st, out);
	return 0;
}

/*
 * The time is that of the inode's change: unlike the content's, nobody can set it back, so that
 * also a file that was rewritten in place and dated back has a new tag.
 */
void fs_etag(const struct fs_stat *st, char out[static FS_ETAG_MAX])
{
	snprintf(out, FS_ETAG_MAX, "\"%" PRIx64 "-%" PRIx64 "-%llx.%08lx\"", st->ino, st->size,
		(unsigned long long)st->ctime.tv_sec, (unsigned long)st->ctime.tv_nsec);
}

/* ---- one step for a name ---- */

static size_t fs_stripe(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return (h ^ (h >> 16)) % FS_STRIPES;
}

void fs_lock(const struct fs *fs, const char *name)
{
	pthread_mutex_lock(&fs->locks->stripe[fs_stripe(name)]);
}

void fs_unlock(const struct fs *fs, const char *name)
{
	pthread_mutex_unlock(&fs->locks->stripe[fs_stripe(name)]);
}

void fs_lock_pair(const struct fs *fs, const char *a, const char *b)
{
	size_t i = fs_stripe(a), j = fs_stripe(b);

	pthread_mutex_lock(&fs->locks->stripe[i < j ? i : j]);
	if (i != j)
		pthread_mutex_lock(&fs->locks->stripe[i < j ? j : i]);
}

void fs_unlock_pair(const struct fs *fs, const char *a, const char *b)
{
	size_t i = fs_stripe(a), j = fs_stripe(b);

	pthread_mutex_unlock(&fs->locks->stripe[i]);
	if (i != j)
		pthread_mutex_unlock(&fs->locks->stripe[j]);
}

int fs_check_cond(const struct cond *cond, const struct stat *st, struct err *e)
{
	struct fs_stat found;
	char etag[FS_ETAG_MAX];

	if (cond == NULL || !cond_guards_write(cond))
		return 0;
	if (st != NULL) {
		fs_stat_from(st, &found);
		fs_etag(&found, etag);
	}
	if (cond_check(cond, st == NULL ? NULL : etag, st == NULL ? 0 : (int64_t)st->st_mtim.tv_sec,
		    false) == COND_GO)
		return 0;
	return err_set(e, &ERR_PRECONDITION,
		st == NULL ? "there is no such file" : "the file is not in the state asked for");
}

int fs_check_cancelled(const atomic_bool *cancelled, struct err *e)
{
	if (cancelled != NULL && atomic_load_explicit(cancelled, memory_order_relaxed))
		return err_set(e, &ERR_UNAVAILABLE, "cancelled");
	return 0;
}

int fs_temp_name(char out[static FS_TEMP_MAX], struct err *e)
{
	uint64_t bits;

	/* Up to 256 bytes come whole or not at all. */
	if (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
		return err_file(e, "no random numbers");
	snprintf(out, FS_TEMP_MAX, ".boxd-%016" PRIx64 ".tmp", bits);
	return 0;
}
