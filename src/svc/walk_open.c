/*
 * walk: a slice opens directories.
 *
 * The root is found by confine.h; every other directory is opened by its name in the directory that
 * it was found in, and never through a link. Where that fails, the walk goes on without it.
 */
#include "walk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/cleanup.h"
#include "boxd/confine.h"

/*
 * Reads the names and makes the node one of entries to be visited. Takes fd. Returns an errno, of
 * which ENOMEM ends the walk.
 */
static int walk_enter(struct walk_run *r, struct walk_node *n, int fd_taken)
{
	struct walk *w = r->w;
	const struct walk_visitor *v = &w->spec.visitor;
	CLEANUP_FD int fd = fd_taken;
	struct walk_dir *parent = n->dir, *d;
	int rc = walk_names_read(&r->names, fd, r->dents, sizeof(r->dents));

	if (rc != 0)
		return rc;
	if (walk_names_sort(&r->names) < 0)
		return ENOMEM;
	if (parent == NULL)
		d = walk_dir_new(NULL, fd, w->spec.path, w->path_len, NULL);
	else
		d = walk_dir_new(parent, fd, parent->path, parent->path_len, n->data);
	if (d == NULL)
		return ENOMEM;
	steal_fd(&fd);
	n->kind = WALK_ENTRIES;
	n->dir = d;
	n->end = r->names.n;
	r->totals.directories++;
	if (v->enter != NULL) {
		d->context = v->enter(v->arg, parent == NULL ? NULL : parent->context, d->fd,
			d->path, parent == NULL ? w->path_len : w->below_root);
		d->entered = true;
	}
	if (parent != NULL)
		walk_dir_unuse(v, parent);
	return 0;
}

void walk_open(struct walk_run *r, struct walk_node *n)
{
	int fd = confine_open_dir(n->dir->fd, n->data, O_RDONLY | O_CLOEXEC);
	int rc = fd < 0 ? errno : walk_enter(r, n, fd);

	if (rc == ENOMEM && fd >= 0)
		walk_no_memory(r->w);
	else if (rc != 0 && rc != ENOENT && rc != ENOTDIR && rc != ELOOP)
		r->totals.unreadable++; /* those three: it is gone, or something else now */
}

static int walk_open_root_directory(
	struct walk_run *r, struct walk_node *n, const struct confine_place *place, struct err *e)
{
	int fd = confine_open_dir(place->dir, place->name, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return err_file(e, "cannot open the directory");
	rc = walk_enter(r, n, fd);
	if (rc == ENOMEM)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (rc == E2BIG) {
		r->totals.unreadable++;
	} else if (rc != 0) {
		errno = rc;
		return err_file(e, "cannot read the directory");
	}
	return 0;
}

static int walk_visit_root(struct walk_run *r, const struct confine_place *place,
	const struct fs_stat *st, struct err *e)
{
	const struct walk *w = r->w;
	struct walk_entry entry = {.path = w->spec.path,
		.path_len = w->path_len,
		.name = (size_t)(strrchr(w->spec.path, '/') + 1 - w->spec.path),
		.below_root = w->path_len,
		.type = st->type,
		.st = st,
		.dir = place->dir,
		.worker = r->slice->worker};

	return walk_visit(r, &entry) < 0 ? err_set(e, &ERR_UNAVAILABLE, "out of memory") : 0;
}

static int walk_look_at_root(
	struct walk_run *r, struct walk_node *n, const struct confine_place *place, struct err *e)
{
	const struct walk_spec *spec = &r->w->spec;
	struct fs_stat st;
	struct stat raw;

	if (fstatat(place->dir, place->name, &raw, AT_SYMLINK_NOFOLLOW) < 0)
		return err_file(e, "cannot look at the directory");
	fs_stat_from(&raw, &st);
	if (st.type == FS_DIRECTORY)
		return spec->max_depth == 0 ? 0 : walk_open_root_directory(r, n, place, e);
	if (spec->root == WALK_ROOT_DIRECTORY)
		return err_set(e, &ERR_WRONG_TYPE, "not a directory");
	return walk_visit_root(r, place, &st, e);
}

void walk_open_root(struct walk_run *r, struct walk_node *n)
{
	const struct walk_spec *spec = &r->w->spec;
	struct confine_place place = {.dir = -1};
	struct err e = {0};

	if (confine_find(fs_confine(spec->fs), spec->path, 0, &place, &e) < 0 ||
		walk_look_at_root(r, n, &place, &e) < 0)
		walk_fail(r->w, &e);
	confine_place_fini(&place);
}
