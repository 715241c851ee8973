/*
 * fs_xattr: extended attributes from one file to another.
 *
 * Carried over are user.*, security.* and POSIX ACLs; trusted.* belongs to whoever runs the
 * filesystem. New content is not what a signature was made for, and must not come by the powers of
 * the old one: the kernel takes file capabilities away with the first write, and so does this.
 *
 * With an ACL the group bits of a mode mean its mask, not what the group may do. So where the ACL
 * cannot go along, the caller must know.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "boxd/cleanup.h"
#include "fs_internal.h"

/* The kernel's own bound of a list of names, and of one value. */
#define FS_XATTR_MAX   65536
#define FS_XATTR_SMALL 512

#define FS_ACL_ACCESS  "system.posix_acl_access"
#define FS_ACL_DEFAULT "system.posix_acl_default"

/* A list or a value: on the stack while it is small, as nearly all are. */
struct fs_xattr_buf {
	char small[FS_XATTR_SMALL];
	char *big;
};

/* One call, name NULL for the list; an O_PATH descriptor is reached by its name in /proc. */
static ssize_t fs_xattr_read_into(int fd, const char *name, char *out, size_t cap)
{
	char path[32];
	ssize_t n = name == NULL ? flistxattr(fd, out, cap) : fgetxattr(fd, name, out, cap);

	if (n >= 0 || errno != EBADF)
		return n;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return name == NULL ? listxattr(path, out, cap) : getxattr(path, name, out, cap);
}

static ssize_t fs_xattr_read(int fd, const char *name, struct fs_xattr_buf *b, const char **out)
{
	ssize_t n = fs_xattr_read_into(fd, name, b->small, sizeof(b->small));

	*out = b->small;
	if (n >= 0 || errno != ERANGE)
		return n;
	if (b->big == NULL)
		b->big = malloc(FS_XATTR_MAX);
	*out = b->big;
	return b->big == NULL ? -1 : fs_xattr_read_into(fd, name, b->big, FS_XATTR_MAX);
}

static bool fs_xattr_wanted(const char *name, enum fs_xattr_what what)
{
	static const char *const bound_to_content[] = {
		"security.capability", "security.ima", "security.evm"};

	if (strncmp(name, "user.", 5) == 0 || strcmp(name, FS_ACL_ACCESS) == 0 ||
		strcmp(name, FS_ACL_DEFAULT) == 0)
		return true;
	if (strncmp(name, "security.", 9) != 0)
		return false;
	for (size_t i = 0; i < sizeof(bound_to_content) / sizeof(bound_to_content[0]); i++) {
		if (what == FS_XATTR_NEW_CONTENT && strcmp(name, bound_to_content[i]) == 0)
			return false;
	}
	return true;
}

static bool fs_xattr_drop(int fd, const char *name)
{
	return fgetxattr(fd, name, NULL, 0) >= 0 && fremovexattr(fd, name) == 0;
}

enum fs_xattr_result fs_xattr_copy(int from, int to, enum fs_xattr_what what)
{
	struct fs_xattr_buf list = {.big = NULL}, value = {.big = NULL};
	bool has_acl = false, acl_set = false, has_default = false, dropped = false;
	bool bare = flistxattr(to, NULL, 0) == 0; /* it has inherited nothing */
	const char *names, *bytes;
	ssize_t n = fs_xattr_read(from, NULL, &list, &names);

	for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		bool is_acl = strcmp(name, FS_ACL_ACCESS) == 0;
		ssize_t len;

		if (!fs_xattr_wanted(name, what))
			continue;
		has_acl |= is_acl;
		has_default |= strcmp(name, FS_ACL_DEFAULT) == 0;
		len = fs_xattr_read(from, name, &value, &bytes);
		if (len >= 0 && fsetxattr(to, name, bytes, (size_t)len, 0) == 0)
			acl_set |= is_acl;
	}
	free(list.big);
	free(value.big);
	if (!bare && !has_default)
		fs_xattr_drop(to, FS_ACL_DEFAULT);
	if (acl_set)
		return FS_XATTR_ACL;
	if (!bare)
		dropped = fs_xattr_drop(to, FS_ACL_ACCESS);
	if (has_acl)
		return FS_XATTR_NO_ACL;
	return dropped ? FS_XATTR_ACL : FS_XATTR_PLAIN;
}
