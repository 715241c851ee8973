/*
 * fs_descend: through a tree of any shape with a fixed number of descriptors and no recursion.
 *
 * A directory is read once, when it is entered: what is no directory is dealt with at once, the
 * names of directories wait in one arena that grows and shrinks like a stack. On the way back up
 * a directory that had to be closed is opened again as "..". Somebody may have moved
 * the lower one meanwhile, and then ".." is somewhere else, maybe outside of everything
 * that was asked for: so each directory is known by device and inode, and another one ends it all.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "fs_internal.h"

/* Open at once; deeper than this costs another open per directory. */
#define FS_CHAIN_OPEN 24

#define FS_ENTRIES_BYTES 32768

/* What getdents64(2) gives; libc's struct dirent is not everywhere the same. */
struct fs_entry {
	uint64_t ino;
	int64_t off;
	unsigned short len;
	unsigned char type;
	char name[];
};

/* ---- the chain ---- */

static int fs_no_memory(struct err *e)
{
	return err_set(e, &ERR_UNAVAILABLE, "out of memory");
}

int fs_chain_push(struct fs_chain *c, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		err_file(e, "cannot look at a directory");
		close(fd);
		return -1;
	}
	if (c->n == c->cap) {
		size_t cap = c->cap == 0 ? 16 : 2 * c->cap;
		struct fs_chain_link *links = realloc(c->links, cap * sizeof(*links));

		if (links == NULL) {
			close(fd);
			return fs_no_memory(e);
		}
		c->links = links;
		c->cap = cap;
	}
	c->links[c->n++] = (struct fs_chain_link){{st.st_dev, st.st_ino}, fd};
	if (c->n > FS_CHAIN_OPEN) {
		struct fs_chain_link *far = &c->links[c->n - 1 - FS_CHAIN_OPEN];

		if (far->fd >= 0)
			close(steal_fd(&far->fd));
	}
	return 0;
}

int fs_chain_top(const struct fs_chain *c)
{
	return c->links[c->n - 1].fd;
}

int fs_chain_parent(struct fs_chain *c, struct err *e)
{
	struct fs_chain_link *up = &c->links[c->n - 2];
	CLEANUP_FD int fd = -1;
	struct stat st;

	if (up->fd >= 0)
		return up->fd;
	fd = openat(fs_chain_top(c), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) /* one that may be passed through but not read */
		fd = openat(fs_chain_top(c), "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_file(e, "cannot go back to a directory");
	if (st.st_dev != up->id.dev || st.st_ino != up->id.ino)
		return err_set(e, &ERR_RUNTIME, "a directory was moved meanwhile");
	up->fd = steal_fd(&fd);
	return up->fd;
}

void fs_chain_pop(struct fs_chain *c)
{
	c->n--;
	close(c->links[c->n].fd);
}

void fs_chain_fini(struct fs_chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->links[i].fd >= 0)
			close(c->links[i].fd);
	}
	free(c->links);
	*c = (struct fs_chain){0};
}

/* ---- the walk ---- */

/* Of the directory at the same place in the chain: names that wait are [next, the next level). */
struct fs_level {
	size_t start, next;
};

struct fs_descent {
	const struct fs_visitor *v;
	struct fs_chain chain;
	struct fs_level *levels;
	size_t levels_cap;
	char *names;
	size_t names_len, names_cap;
	_Alignas(struct fs_entry) char entries[FS_ENTRIES_BYTES];
};

static int fs_descent_add_name(struct fs_descent *d, const char *name, struct err *e)
{
	size_t n = strlen(name) + 1;

	if (d->names_cap - d->names_len < n) {
		size_t cap = d->names_cap == 0 ? 4096 : 2 * d->names_cap;

		if (cap > limit_size(LIMIT_FS_DIRECTORY_BYTES))
			return err_set(e, &ERR_UNAVAILABLE, "too many directories");
		char *names = realloc(d->names, cap);
		if (names == NULL)
			return fs_no_memory(e);
		d->names = names;
		d->names_cap = cap;
	}
	memcpy(d->names + d->names_len, name, n);
	d->names_len += n;
	return 0;
}

/* The new level's names are those that are added next. */
static int fs_descent_push(struct fs_descent *d, int fd, struct err *e)
{
	if (d->chain.n == d->levels_cap) {
		size_t cap = d->levels_cap == 0 ? 16 : 2 * d->levels_cap;
		struct fs_level *levels = realloc(d->levels, cap * sizeof(*levels));

		if (levels == NULL) {
			close(fd);
			return fs_no_memory(e);
		}
		d->levels = levels;
		d->levels_cap = cap;
	}
	if (fs_chain_push(&d->chain, fd, e) < 0)
		return -1;
	d->levels[d->chain.n - 1] = (struct fs_level){d->names_len, d->names_len};
	return 0;
}

static int fs_descent_entry(struct fs_descent *d, const struct fs_entry *entry, struct err *e)
{
	const char *name = entry->name;
	int r = 1;

	if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')))
		return 0;
	if (fs_check_cancelled(d->v->cancelled, e) < 0)
		return -1;
	if (entry->type != DT_DIR)
		r = d->v->entry(d->v->arg, fs_chain_top(&d->chain), name, entry->type, e);
	return r > 0 ? fs_descent_add_name(d, name, e) : r;
}

/* Reads the top directory to its end. */
static int fs_descent_read(struct fs_descent *d, struct err *e)
{
	for (;;) {
		long n = syscall(
			SYS_getdents64, fs_chain_top(&d->chain), d->entries, sizeof(d->entries));

		if (n < 0 && errno != ENOENT) /* that it was removed meanwhile is no error */
			return err_file(e, "cannot read a directory");
		if (n <= 0)
			return 0;
		for (long at = 0; at < n;) {
			const struct fs_entry *entry = (const void *)(d->entries + at);

			if (fs_descent_entry(d, entry, e) < 0)
				return -1;
			at += entry->len;
		}
	}
}

/* The next waiting name of the top directory. It waits on until the visit of it has ended. */
static int fs_descent_enter(struct fs_descent *d, struct err *e)
{
	struct fs_level *level = &d->levels[d->chain.n - 1];
	const char *name = d->names + level->next;
	size_t len = strlen(name) + 1;
	int parent = fs_chain_top(&d->chain);
	int fd, r;

	if (fs_check_cancelled(d->v->cancelled, e) < 0)
		return -1;
	if (d->chain.n > limit_size(LIMIT_FS_WALK_DEPTH))
		return err_set(e, &ERR_BAD_PATH, "more than %zu directories inside each other",
			limit_size(LIMIT_FS_WALK_DEPTH));
	fd = confine_open_dir(parent, name, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? d->v->closed(d->v->arg, parent, name, e)
		   : d->v->enter(d->v->arg, parent, name, fd, e);
	if (r < 0 || fd < 0 || r > 0) {
		if (fd >= 0)
			close(fd);
		level->next += len;
		return r < 0 ? -1 : 0;
	}
	return fs_descent_push(d, fd, e) < 0 ? -1 : fs_descent_read(d, e);
}

/* Back from the top directory to the one above. */
static int fs_descent_leave(struct fs_descent *d, struct err *e)
{
	struct fs_level *up = &d->levels[d->chain.n - 2];
	const char *name = d->names + up->next;
	int parent = fs_chain_parent(&d->chain, e);
	int r;

	if (parent < 0)
		return -1;
	r = d->v->leave(d->v->arg, parent, name, fs_chain_top(&d->chain), e);
	if (r < 0)
		return -1;
	d->names_len = d->levels[d->chain.n - 1].start;
	fs_chain_pop(&d->chain);
	if (r == 0)
		up->next += strlen(name) + 1;
	return 0;
}

static int fs_descent_run(struct fs_descent *d, struct err *e)
{
	for (;;) {
		int r;

		if (d->levels[d->chain.n - 1].next < d->names_len)
			r = fs_descent_enter(d, e);
		else if (d->chain.n > 1)
			r = fs_descent_leave(d, e);
		else
			return 0;
		if (r < 0)
			return -1;
	}
}

int fs_descend(const struct fs_visitor *v, int dir, const char *name, struct err *e)
{
	struct fs_descent *d = malloc(sizeof(*d));
	int first, r = -1;

	if (d == NULL)
		return fs_no_memory(e);
	d->v = v;
	d->chain = (struct fs_chain){0};
	d->levels = NULL;
	d->levels_cap = 0;
	d->names = NULL;
	d->names_len = d->names_cap = 0;
	first = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	if (first < 0)
		err_file(e, "cannot open a directory");
	else if (fs_descent_push(d, first, e) == 0 && fs_descent_add_name(d, name, e) == 0)
		r = fs_descent_run(d, e);
	fs_chain_fini(&d->chain);
	free(d->levels);
	free(d->names);
	free(d);
	return r;
}
