/*
 * proc_oom: was that SIGKILL the kernel's, for want of memory?
 *
 * wait(2) does not say. A counter does: of the daemon's own control group, or of the whole machine
 * where that has none. It is read once at the start and then only when a command died of a SIGKILL
 * that boxd did not send; if it has moved in between, that is taken as the reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/str.h"
#include "proc_internal.h"

/* The files are of the kernel's making: short, and read in one go. /proc/vmstat is the longest. */
#define PROC_OOM_FILE_BYTES 16384

static bool proc_oom_slurp(const char *path, char *buf, size_t cap)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t r = -1;

	while (fd >= 0 && n < cap - 1) {
		r = read(fd, buf + n, cap - 1 - n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	buf[n] = '\0';
	return r >= 0;
}

/* The number behind "key " at the beginning of a line. */
static bool proc_oom_read(const struct proc_oom *o, uint64_t *out)
{
	char buf[PROC_OOM_FILE_BYTES];
	size_t key_len = strlen(o->key);

	if (!proc_oom_slurp(o->path, buf, sizeof(buf)))
		return false;
	for (const char *line = buf; line != NULL && *line != '\0';) {
		const char *end = strchr(line, '\n');

		if (strncmp(line, o->key, key_len) == 0 && line[key_len] == ' ') {
			const char *p = line + key_len + 1;

			return str_u64((struct str){p, strspn(p, "0123456789")}, out);
		}
		line = end != NULL ? end + 1 : NULL;
	}
	return false;
}

/* Takes the file as the source if it has the counter. */
static bool proc_oom_try(struct proc_oom *o, const char *root, const char *base, struct str group,
	const char *file, const char *key)
{
	int n = snprintf(o->path, sizeof(o->path), "%s%s%.*s/%s", root, base, (int)group.n,
		group.p != NULL ? group.p : "", file);

	o->key = key;
	if (n > 0 && (size_t)n < sizeof(o->path) && proc_oom_read(o, &o->seen))
		return true;
	o->path[0] = '\0';
	return false;
}

/*
 * The path of our group: of version 2 ("0::/path") or of the memory controller of version 1
 * ("9:memory:/path"). False when the text has no such line.
 */
static bool proc_oom_group(const char *text, bool v2, struct str *group)
{
	for (const char *line = text; line != NULL && *line != '\0';) {
		const char *end = strchr(line, '\n');
		size_t len = end != NULL ? (size_t)(end - line) : strlen(line);
		const char *names = memchr(line, ':', len);
		const char *path = names != NULL ? memchr(names + 1, ':',
							   len - (size_t)(names + 1 - line))
						 : NULL;

		if (path != NULL) {
			struct str list = {names + 1, (size_t)(path - names - 1)}, name;
			bool found = v2 && list.n == 0;

			while (!v2 && !found && str_list_next(&list, &name))
				found = str_eq(name, STR("memory"));
			*group = (struct str){path + 1, len - (size_t)(path + 1 - line)};
			if (found)
				return true;
		}
		line = end != NULL ? end + 1 : NULL;
	}
	return false;
}

/*
 * In a container the path may be the host's, while the container's own group is what is mounted:
 * so each place is tried with the path and without.
 */
void proc_oom_init(struct proc_oom *o, const char *root)
{
	char text[PROC_OOM_FILE_BYTES], path[sizeof(o->path)];
	struct str none = {NULL, 0}, group;
	static const char v1[] = "/sys/fs/cgroup/memory", v2[] = "/sys/fs/cgroup";

	*o = (struct proc_oom){.key = ""};
	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	if (!proc_oom_slurp(path, text, sizeof(text)))
		text[0] = '\0';
	if (proc_oom_group(text, true, &group) &&
		(proc_oom_try(o, root, v2, group, "memory.events", "oom_kill") ||
			proc_oom_try(o, root, v2, none, "memory.events", "oom_kill")))
		return;
	if (proc_oom_group(text, false, &group) &&
		(proc_oom_try(o, root, v1, group, "memory.oom_control", "oom_kill") ||
			proc_oom_try(o, root, v1, none, "memory.oom_control", "oom_kill")))
		return;
	(void)proc_oom_try(o, root, "/proc", none, "vmstat", "oom_kill");
}

bool proc_oom_moved(struct proc_oom *o)
{
	uint64_t now, before = o->seen;

	if (o->path[0] == '\0' || !proc_oom_read(o, &now))
		return false;
	o->seen = now;
	return now > before;
}
