/*
 * The body of a request that runs something. A directory is made on a disk thread, so a body with a
 * cwd takes a turn there before its terminal or session exists.
 */
#include <stdlib.h>
#include <string.h>

#include "boxd/fs.h"
#include "boxd/limits.h"
#include "files_internal.h"
#include "launch_internal.h"

/* ---- fields ---- */

static int launch_parse_envs(struct launch_params *p, const struct json *body, struct err *e)
{
	const struct json *map = json_get(body, "envs");
	size_t n;

	if (map == NULL)
		map = json_get(body, "env");
	if (map == NULL)
		return 0;
	if (!json_is_object(map))
		return err_set(e, &ERR_BAD_BODY, "envs must be an object of strings");
	n = json_count(map);
	if (n > limit_size(LIMIT_PROC_ENVS))
		return err_set(e, &ERR_BAD_BODY, "envs has more than %zu variables",
			limit_size(LIMIT_PROC_ENVS));
	p->envs = calloc(n + 1, sizeof(*p->envs));
	if (p->envs == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	n = 0;
	for (const struct json *v = json_first(map); v != NULL; v = json_next(v)) {
		const char *value = json_str(v);

		if (json_is_null(v))
			continue;
		if (value == NULL)
			return err_set(e, &ERR_BAD_BODY, "envs must be an object of strings");
		p->envs[n].name = json_key(v);
		p->envs[n++].value = value;
	}
	p->spec.envs = p->envs;
	p->spec.nenvs = n;
	return 0;
}

static int launch_parse_ids(struct launch_params *p, const struct json *body, struct err *e)
{
	int64_t uid = -1, gid = -1;

	/* The highest value means "leave it" to the kernel, so it is no id. */
	if (json_get_int(body, "uid", 0, UINT32_MAX - 1, &uid, e) < 0 ||
		json_get_int(body, "gid", 0, UINT32_MAX - 1, &gid, e) < 0 ||
		json_get_str(body, "user", &p->spec.user, e) < 0)
		return -1;
	if (uid >= 0 && p->spec.user != NULL)
		return err_set(e, &ERR_BAD_BODY, "give user or uid, not both");
	if (gid >= 0 && uid < 0 && p->spec.user == NULL)
		return err_set(e, &ERR_BAD_BODY, "gid needs uid");
	p->spec.set_uid = uid >= 0;
	p->spec.set_gid = gid >= 0;
	p->spec.uid = (uid_t)(uid >= 0 ? uid : 0);
	p->spec.gid = (gid_t)(gid >= 0 ? gid : 0);
	return 0;
}

int launch_params_parse(struct launch_params *p, const struct json *body, struct err *e)
{
	*p = (struct launch_params){0};
	if (json_get_str(body, "cwd", &p->spec.cwd, e) < 0 || launch_parse_envs(p, body, e) < 0 ||
		launch_parse_ids(p, body, e) < 0)
		return -1;
	return 0;
}

void launch_params_fini(struct launch_params *p)
{
	free(p->envs);
	p->envs = NULL;
}

/* ---- the directory ---- */

struct launch_job {
	struct files_job job;
	struct launch_params params;
	struct json *body;
	char *path; /* of the directory */
	launch_create *create;
};

/* What cannot be made may be there; create() tells when it is not, or is no directory. */
static void launch_job_run(struct files_job *j)
{
	struct launch_job *l = (struct launch_job *)j;
	const struct fs_perm any = {.mode = -1};
	struct err e = {0};

	if (fs_mkdir(j->app->fs, l->path, &any, &e) == 0 || e.kind == &ERR_PATH_FORBIDDEN ||
		e.kind == &ERR_READ_ONLY || e.kind == &ERR_EXISTS || e.kind == &ERR_NO_FILE)
		return;
	j->err = e;
}

static void launch_job_answer(struct files_job *j)
{
	struct launch_job *l = (struct launch_job *)j;

	if (j->err.kind != NULL || l->create(j->op.req, j->app, &l->params, l->body, &j->err) < 0)
		files_job_error(j);
	files_job_end(j);
}

static void launch_job_fini(struct files_job *j)
{
	struct launch_job *l = (struct launch_job *)j;

	launch_params_fini(&l->params);
	json_free(l->body);
	free(l->path);
}

static void launch_job_begin(struct launch_job *l, struct req *r)
{
	const struct launch_spec *spec = &l->params.spec;

	l->job.answer = launch_job_answer;
	l->job.user = (struct files_user){
		spec->set_uid, spec->uid, spec->set_gid ? spec->gid : (gid_t)-1};
	files_job_adopt(&l->job, r);
	files_job_again(&l->job, work_submit);
}

/* ---- the request ---- */

/* A missing body and a null are a body of defaults (contract 1.1). */
static int launch_parse_body(struct launch_job *l, struct str text, struct err *e)
{
	static const char empty[] = "{}";

	if (text.n == 0)
		text = (struct str){empty, sizeof(empty) - 1};
	l->body = json_parse((const uint8_t *)text.p, text.n, e);
	if (l->body != NULL && json_is_null(l->body)) {
		json_free(l->body);
		l->body = json_parse((const uint8_t *)empty, sizeof(empty) - 1, e);
	}
	if (l->body == NULL)
		return -1;
	if (!json_is_object(l->body))
		return err_set(e, &ERR_BAD_BODY, "the body must be an object");
	return launch_params_parse(&l->params, l->body, e);
}

/*
 * Is a directory to be made? Not where `~` and variables mean something else to this user, or with
 * these variables, than to the daemon: then it has to be there.
 */
static bool launch_makes_cwd(const struct launch_spec *spec)
{
	if (spec->cwd == NULL || spec->cwd[0] == '\0' || spec->user != NULL)
		return false;
	if (spec->cwd[0] != '~' && strchr(spec->cwd, '$') == NULL)
		return true;
	return !spec->set_uid && spec->nenvs == 0;
}

/* 1: *l is in the hands of a disk thread; 0: answered; -1 with e set. */
static int launch_handle(struct launch_job *l, struct req *r, struct err *e)
{
	struct app *app = l->job.app;

	if (launch_parse_body(l, req_body(r), e) < 0)
		return -1;
	if (!launch_makes_cwd(&l->params.spec))
		return l->create(r, app, &l->params, l->body, e);
	l->path = fs_path(app->fs, l->params.spec.cwd, e);
	if (l->path == NULL)
		return -1;
	/* "new/../other" is there only when it is clean. What still has a `$` in it, out of a
	 * variable, must not be expanded twice. */
	if (strchr(l->path, '$') == NULL)
		l->params.spec.cwd = l->path;
	launch_job_begin(l, r);
	return 1;
}

int launch_post(struct req *r, struct app *app, launch_create *create, struct err *e)
{
	struct launch_job *l = files_job_new(sizeof(*l), app, launch_job_run, launch_job_fini, e);
	int res;

	if (l == NULL)
		return -1;
	l->create = create;
	res = launch_handle(l, r, e);
	if (res <= 0)
		files_job_free(&l->job);
	return res < 0 ? -1 : 0;
}
