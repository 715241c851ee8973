/*
 * fs_perm: owners and modes, changed through descriptors only.
 *
 * A regular file or a directory is opened for reading, where that is allowed: then fchmod(2) is all
 * it takes. Anything else, and what may not be read, is held by an O_PATH descriptor. For
 * that there is fchmodat2(2), before Linux 6.6 the descriptor's name in /proc, and without
 * /proc the "." of a directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/sysc.h"
#include "boxd/users.h"
#include "fs_internal.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

int fs_owner_of(
	const struct fs *fs, const struct fs_perm *perm, struct fs_owner *out, struct err *e)
{
	struct fs_names *names;
	int r = 0;

	*out = (struct fs_owner){(uid_t)-1, (gid_t)-1};
	if (perm->owner == NULL && perm->group == NULL)
		return 0;
	names = fs_names(fs, e);
	if (names == NULL)
		return -1;
	if (perm->owner != NULL &&
		!users_uid_of_name(fs_names_table(names), perm->owner, &out->uid))
		r = err_set(e, &ERR_BAD_BODY, "no such user: %s", perm->owner);
	else if (perm->group != NULL &&
		 !users_gid_of_name(fs_names_table(names), perm->group, &out->gid))
		r = err_set(e, &ERR_BAD_BODY, "no such group: %s", perm->group);
	fs_names_free(names);
	return r;
}

int fs_chown_fd(int fd, uid_t uid, gid_t gid)
{
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
}

int fs_chmod_fd(int fd, mode_t mode)
{
	char path[32];

	if (fchmod(fd, mode) == 0)
		return 0;
	if (errno != EBADF) /* what fchmod(2) says to O_PATH */
		return -1;
	if (syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH) == 0)
		return 0;
	if (!sysc_missing(errno))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (chmod(path, mode) == 0)
		return 0;
	if (errno != ENOENT)
		return -1;
	CLEANUP_FD int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -1 : fchmod(dir, mode);
}

int fs_apply_perm(int fd, const struct fs_owner *owner, int32_t mode, struct err *e)
{
	if ((owner->uid != (uid_t)-1 || owner->gid != (gid_t)-1) &&
		fs_chown_fd(fd, owner->uid, owner->gid) < 0)
		return err_file(e, "cannot change the owner");
	if (mode >= 0 && fs_chmod_fd(fd, (mode_t)mode) < 0)
		return err_file(e, "cannot change the mode");
	return 0;
}

int fs_set_perm_fd(const struct fs *fs, int fd, const struct fs_perm *perm, struct err *e)
{
	struct fs_owner owner;

	if (fs_owner_of(fs, perm, &owner, e) < 0)
		return -1;
	return fs_apply_perm(fd, &owner, perm->mode, e);
}

/*
 * Opens what a place holds to change its metadata. A FIFO or a device is not opened: somebody may
 * wait for its other end, or the hardware may notice.
 */
static int fs_perm_open(const struct confine_place *p, struct err *e)
{
	const int flags = O_NOFOLLOW | O_CLOEXEC;
	struct stat st;
	int fd = -1;

	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_file(e, "cannot look at %s", p->name);
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		fd = openat(p->dir, p->name, flags | O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		fd = openat(p->dir, p->name, flags | O_PATH);
	if (fd < 0)
		return err_file(e, "cannot open %s", p->name);
	/* A link that came after confine_find() looked; a chown would hit the link itself. */
	if (fstat(fd, &st) < 0 || S_ISLNK(st.st_mode)) {
		close(fd);
		return err_set(e, &ERR_BAD_PATH, "%s was replaced by a link meanwhile", p->name);
	}
	return fd;
}

int fs_set_perm(const struct fs *fs, const char *path, const struct fs_perm *perm, struct err *e)
{
	CLEANUP_FD int fd = -1;
	struct confine_place place;
	struct fs_owner owner;

	if (fs_owner_of(fs, perm, &owner, e) < 0 ||
		confine_find(fs->confine, path, CONFINE_WRITE | CONFINE_FOLLOW, &place, e) < 0)
		return -1;
	fd = fs_perm_open(&place, e);
	confine_place_fini(&place);
	return fd < 0 ? -1 : fs_apply_perm(fd, &owner, perm->mode, e);
}
