/*
 * writer: a file appears whole or not at all.
 *
 * The content goes into a file that has no name (O_TMPFILE). A new file gets its name from
 * linkat(2), which refuses a name that is taken; a file that replaces another is linked under a
 * hidden name first, because only rename(2) replaces. Where the filesystem or the system cannot do
 * that, the hidden name is there from the start. Either way the old file is there, whole, until the
 * rename, and a failure before it takes the new one away.
 *
 * What the old file was (owner, mode, attributes) is looked at again right before that, because an
 * upload may take minutes. The condition is looked at under the lock of the name, together with the
 * rename. Other names of a file with several hard links keep the old content.
 *
 * A file that is a mount point of its own, as containers have them in /etc, cannot be renamed over:
 * its content is written in place, after room for it has been reserved. That is the one case where
 * a failure in the middle leaves a mixture behind.
 */
#include "boxd/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "fs_internal.h"

/* Times that a name may appear and vanish before a commit gives up. */
#define WRITER_TRIES 16

struct writer {
	const struct fs *fs;
	struct confine_place place;
	int fd;
	bool named; /* temp is its name at the moment */
	char temp[FS_TEMP_MAX];
	struct fs_owner owner; /* asked for */
	int32_t mode;          /* asked for, or -1 */
	bool sync;
	const struct cond *cond;
	bool exists; /* old is set: what the name meant when it was last looked at */
	struct stat old;
	bool dressed_over; /* the new file has got what it takes over from the old one */
	bool created;
};

/* ---- looking at the name ---- */

static int writer_look(struct writer *w, struct err *e)
{
	w->exists = false;
	if (fstatat(w->place.dir, w->place.name, &w->old, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return 0;
		return err_file(e, "cannot look at %s", w->place.name);
	}
	if (!S_ISREG(w->old.st_mode))
		return err_set(e, &ERR_WRONG_TYPE,
			S_ISDIR(w->old.st_mode) ? "%s is a directory" : "%s is no regular file",
			w->place.name);
	w->exists = true;
	return 0;
}

static int writer_check(const struct writer *w, struct err *e)
{
	return fs_check_cond(w->cond, w->exists ? &w->old : NULL, e);
}

static bool writer_is_guarded(const struct writer *w)
{
	return w->cond != NULL && cond_guards_write(w->cond);
}

static int writer_find_how(struct writer *w, const char *path, unsigned int how, struct err *e)
{
	if (confine_find(w->fs->confine, path, how | CONFINE_WRITE | CONFINE_FOLLOW, &w->place, e) <
		0) {
		w->place.dir = -1;
		return -1;
	}
	return 0;
}

/*
 * Directories are not made for a file whose condition fails: so with a condition the place is
 * looked for without making any first.
 */
static int writer_find(struct writer *w, const char *path, struct err *e)
{
	struct err missing = {0};

	if (writer_is_guarded(w)) {
		if (writer_find_how(w, path, 0, &missing) == 0)
			return 0;
		if (missing.kind != &ERR_NO_FILE) {
			*e = missing;
			return -1;
		}
		if (fs_check_cond(w->cond, NULL, e) < 0)
			return -1;
	}
	return writer_find_how(w, path, CONFINE_PARENTS, e);
}

/* ---- the new file ---- */

static int writer_open_named(struct writer *w, mode_t mode, struct err *e)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

	do {
		if (fs_temp_name(w->temp, e) < 0)
			return -1;
		w->fd = openat(w->place.dir, w->temp, flags, mode);
	} while (w->fd < 0 && errno == EEXIST);
	if (w->fd < 0)
		return err_file(e, "cannot write %s", w->place.name);
	w->named = true;
	return 0;
}

/* The kernel takes the umask, or the directory's default ACL, from the mode. */
static int writer_open_file(struct writer *w, mode_t new_mode, struct err *e)
{
	mode_t mode = w->exists ? w->old.st_mode : new_mode;

	if (w->mode >= 0)
		mode = (mode_t)w->mode;
	mode &= 0777;
	if (w->fs->has_proc) {
		w->fd = openat(w->place.dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
		if (w->fd >= 0)
			return 0;
		if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
			return err_file(e, "cannot write %s", w->place.name);
	}
	return writer_open_named(w, mode, e);
}

static int writer_start(struct writer *w, const struct writer_spec *spec, struct err *e)
{
	if (fs_owner_of(w->fs, &spec->perm, &w->owner, e) < 0 || writer_find(w, spec->path, e) < 0)
		return -1;
	/* A root is found to be a directory. */
	if (writer_look(w, e) < 0 || writer_check(w, e) < 0)
		return -1;
	return writer_open_file(w, spec->new_mode, e);
}

struct writer *writer_open(const struct fs *fs, const struct writer_spec *spec, struct err *e)
{
	struct writer *w = malloc(sizeof(*w));

	if (w == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	/* Not zeroed as a whole: a name and a stat that nobody reads yet are most of it. */
	w->fs = fs;
	w->place.dir = -1;
	w->fd = -1;
	w->named = false;
	w->mode = spec->perm.mode;
	w->sync = spec->sync;
	w->cond = spec->cond;
	w->exists = false;
	w->dressed_over = false;
	w->created = false;
	if (writer_start(w, spec, e) < 0) {
		writer_abort(w);
		return NULL;
	}
	return w;
}

int writer_fd(const struct writer *w)
{
	return w->fd;
}

int writer_put(struct writer *w, const void *data, size_t n, struct err *e)
{
	return fs_write_all(w->fd, data, n) < 0 ? err_file(e, "cannot write %s", w->place.name) : 0;
}

/* ---- its metadata ---- */

/*
 * *kept: it has the owner and the group of the old file, where no others were asked for. What was
 * asked for must work; to keep what was there may be beyond an ordinary user.
 */
static int writer_set_owner(struct writer *w, const struct stat *now, bool *kept, struct err *e)
{
	bool asked_uid = w->owner.uid != (uid_t)-1, asked_gid = w->owner.gid != (gid_t)-1;
	uid_t uid = asked_uid ? w->owner.uid : w->exists ? w->old.st_uid : now->st_uid;
	gid_t gid = asked_gid ? w->owner.gid : w->exists ? w->old.st_gid : now->st_gid;

	*kept = w->exists && uid == w->old.st_uid && gid == w->old.st_gid;
	if (uid == now->st_uid && gid == now->st_gid)
		return 0;
	if (fs_chown_fd(w->fd, uid, gid) == 0)
		return 0;
	*kept = false;
	if (asked_uid || asked_gid)
		return fs_chown_fd(w->fd, w->owner.uid, w->owner.gid) < 0
			       ? err_file(e, "cannot change the owner of %s", w->place.name)
			       : 0;
	/* Members of the old group can keep that much. */
	(void)!fs_chown_fd(w->fd, (uid_t)-1, gid);
	return 0;
}

static enum fs_xattr_result writer_copy_xattrs(const struct writer *w)
{
	const int flags = O_NOFOLLOW | O_CLOEXEC;
	CLEANUP_FD int from = -1;

	from = openat(w->place.dir, w->place.name, flags | O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (from < 0)
		from = openat(w->place.dir, w->place.name, flags | O_PATH);
	return from < 0 ? FS_XATTR_PLAIN : fs_xattr_copy(from, w->fd, FS_XATTR_NEW_CONTENT);
}

/*
 * Makes the new file what it is to be, but for its name. In this order: a change of owner takes the
 * special bits away, and an ACL changes the mode.
 */
static int writer_dress(struct writer *w, struct err *e)
{
	enum fs_xattr_result xattrs = FS_XATTR_PLAIN;
	struct stat now;
	bool kept;

	if (!w->exists && w->mode < 0 && w->owner.uid == (uid_t)-1 && w->owner.gid == (gid_t)-1)
		return 0;
	if (fstat(w->fd, &now) < 0)
		return err_file(e, "cannot write %s", w->place.name);
	if (writer_set_owner(w, &now, &kept, e) < 0)
		return -1;
	mode_t mode = now.st_mode & 07777;
	if (w->exists) {
		w->dressed_over = true;
		xattrs = writer_copy_xattrs(w);
		mode = w->old.st_mode & 07777;
		if (!kept)
			mode &= 0777;
		if (xattrs == FS_XATTR_NO_ACL)
			mode &= ~(mode_t)0070;
	}
	if (w->mode >= 0)
		mode = (mode_t)w->mode;
	/* `now` may be older than a chown that took its special bits. */
	if ((mode != (now.st_mode & 07777) || xattrs != FS_XATTR_PLAIN || (mode & 07000) != 0) &&
		fs_chmod_fd(w->fd, mode) < 0)
		return err_file(e, "cannot change the mode of %s", w->place.name);
	return 0;
}

/* ---- its name ---- */

/* Gives the file without a name this one. -1 with errno, EEXIST when it is taken. */
static int writer_link(const struct writer *w, const char *name)
{
	char path[32];

	if (linkat(w->fd, "", w->place.dir, name, AT_EMPTY_PATH) == 0)
		return 0;
	/* Without CAP_DAC_READ_SEARCH, and before Linux 6.10, that is ENOENT. */
	if (errno != ENOENT && errno != EPERM)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", w->fd);
	return linkat(AT_FDCWD, path, w->place.dir, name, AT_SYMLINK_FOLLOW);
}

/* The file's name, if nothing has it. -1 with errno, EEXIST when something has. */
static int writer_name_new(struct writer *w)
{
	const char *name = w->place.name;

	if (!w->named)
		return writer_link(w, name);
	if (fs_rename_new(w->place.dir, w->temp, w->place.dir, name) < 0)
		return -1;
	w->named = false;
	return 0;
}

static int writer_name_temp(struct writer *w, struct err *e)
{
	while (!w->named) {
		if (fs_temp_name(w->temp, e) < 0)
			return -1;
		if (writer_link(w, w->temp) == 0)
			w->named = true;
		else if (errno != EEXIST)
			return err_file(e, "cannot write %s", w->place.name);
	}
	return 0;
}

/* Room first: most of what can go wrong goes wrong before the old content is touched. */
static int writer_write_in_place(struct writer *w, struct err *e)
{
	CLEANUP_FD int to = openat(w->place.dir, w->place.name,
		O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (to < 0 || fstat(w->fd, &st) < 0)
		return err_file(e, "cannot write %s", w->place.name);
	if (st.st_size > 0 && fallocate(to, FALLOC_FL_KEEP_SIZE, 0, st.st_size) < 0 &&
		(errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
		return err_file(e, "cannot write %s", w->place.name);
	if (fs_copy_data(w->fd, to, (uint64_t)st.st_size, FS_COPY_OVER, NULL, e) < 0 ||
		fs_apply_perm(to, &w->owner, w->mode, e) < 0)
		return -1;
	if (w->sync && fsync(to) < 0)
		return err_file(e, "cannot write %s", w->place.name);
	/* From here on the descriptor means what the name means. */
	close(w->fd);
	w->fd = steal_fd(&to);
	return 0;
}

static int writer_name_over(struct writer *w, struct err *e)
{
	if (writer_name_temp(w, e) < 0)
		return -1;
	if (renameat(w->place.dir, w->temp, w->place.dir, w->place.name) == 0) {
		w->named = false;
		return 0;
	}
	if (errno == EBUSY)
		return writer_write_in_place(w, e);
	return err_file(e, "cannot replace %s", w->place.name);
}

/* Under the lock of the name. */
static int writer_publish(struct writer *w, struct err *e)
{
	for (int i = 0; i < WRITER_TRIES; i++) {
		if (writer_is_guarded(w) && (writer_look(w, e) < 0 || writer_check(w, e) < 0))
			return -1;
		if (w->exists) {
			if (!w->dressed_over && writer_dress(w, e) < 0)
				return -1;
			return writer_name_over(w, e);
		}
		if (writer_name_new(w) == 0) {
			w->created = true;
			return 0;
		}
		if (errno != EEXIST)
			return err_file(e, "cannot write %s", w->place.name);
		/* Somebody was faster: it is a replacement, then. */
		if (writer_look(w, e) < 0)
			return -1;
	}
	return err_set(e, &ERR_RUNTIME, "%s appears and vanishes", w->place.name);
}

static int writer_sync_dir(const struct writer *w, struct err *e)
{
	CLEANUP_FD int dir = openat(w->place.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 || fsync(dir) < 0 ? err_file(e, "cannot sync the directory") : 0;
}

static int writer_finish(struct writer *w, struct fs_stat *out, struct err *e)
{
	struct stat st;
	int r;

	if ((w->exists && writer_look(w, e) < 0) || writer_dress(w, e) < 0)
		return -1;
	if (w->sync && fsync(w->fd) < 0)
		return err_file(e, "cannot write %s", w->place.name);
	fs_lock(w->fs, w->place.name);
	r = writer_publish(w, e);
	fs_unlock(w->fs, w->place.name);
	/* A failure to sync is told although the file is there: the promise is not kept. */
	if (r < 0 || (w->sync && writer_sync_dir(w, e) < 0))
		return -1;
	if (out == NULL)
		return 0;
	if (fstat(w->fd, &st) < 0)
		return err_file(e, "cannot look at %s", w->place.name);
	fs_stat_from(&st, out);
	return 0;
}

int writer_commit(struct writer *w, struct fs_stat *out, bool *created, struct err *e)
{
	int r = writer_finish(w, out, e);

	if (created != NULL)
		*created = w->created;
	writer_abort(w);
	return r;
}

void writer_abort(struct writer *w)
{
	if (w == NULL)
		return;
	if (w->named)
		unlinkat(w->place.dir, w->temp, 0);
	if (w->fd >= 0)
		close(w->fd);
	confine_place_fini(&w->place);
	free(w);
}
