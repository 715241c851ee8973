/* What the files of the file and directory resources share. */
#ifndef BOXD_FILES_INTERNAL_H
#define BOXD_FILES_INTERNAL_H

#include <stdbool.h>

#include "boxd/cond.h"
#include "boxd/fs.h"
#include "boxd/intake.h"
#include "boxd/json.h"
#include "boxd/jsonw.h"
#include "boxd/req.h"
#include "boxd/router.h"
#include "boxd/walk.h"
#include "boxd/work.h"

#define FILES_JSON "application/json; charset=utf-8"

/* ---- files_query.c: what requests say ---- */

/* Heap strings, NULL-terminated list included; fini also after a failure. */
struct files_paths {
	char **raw;  /* as the client wrote them */
	char **path; /* expanded, absolute, cleaned */
	size_t n;
};

/* All values of the query's `path`. ERR_BAD_QUERY, ERR_BAD_BODY, ERR_UNAVAILABLE. */
int files_query_paths(struct req *r, const struct fs *fs, struct files_paths *out, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* The same for exactly one that is not empty: ERR_MISSING_QUERY. */
int files_query_path(struct req *r, const struct fs *fs, struct files_paths *out, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* Takes one more, raw and resolved. `raw` is copied. */
int files_paths_add(struct files_paths *list, const struct fs *fs, const char *raw, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void files_paths_fini(struct files_paths *list) __attribute__((nonnull));

/* A parameter as text: 1 and *out (heap), 0 when absent or empty, -1 with e set. */
int files_query_text(struct req *r, const char *key, char **out, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* true, false, or absent (leaves *out alone): ERR_BAD_QUERY for anything else. */
int files_query_bool(struct req *r, const char *key, bool *out, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* Digits up to max; absent or empty leaves *out alone. The error is of the kind given. */
int files_query_u64(struct req *r, const char *key, uint64_t max, uint64_t *out,
	const struct err_kind *kind, struct err *e) __attribute__((warn_unused_result, nonnull));

/* On whose behalf (query uid, gid). */
struct files_user {
	bool set;
	uid_t uid;
	gid_t gid; /* -1: the user's own */
};
int files_query_user(struct req *r, struct files_user *out, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* The conditional fields, copied: they are looked at on a disk thread. */
struct files_cond {
	struct cond cond;
	char *text;
};
int files_cond_take(struct req *r, struct files_cond *out, struct err *e)
	__attribute__((warn_unused_result, nonnull));
void files_cond_fini(struct files_cond *c) __attribute__((nonnull));

/* A Permission object (contract 1.6). Names are borrowed from v. ERR_BAD_BODY. */
int files_perm_parse(const struct json *v, struct fs_perm *out, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* One to four octal digits. */
bool files_octal(const char *s, int32_t *mode) __attribute__((nonnull));

/* ---- files_job.c: an answer that a disk thread works out ---- */

/*
 * Embedded first in what an endpoint keeps for its request. run() is called on a disk thread and
 * sets j->err or fills j->body. Then answer() is called on the loop, and it either replies and
 * calls files_job_end(), or goes on: with a stream, or with files_job_again(). An endpoint that has
 * no answer() of its own replies with err, with body, or with nothing; another looks at err first.
 * fini() releases what the endpoint added. A client that goes away sets work.cancelled, and the job
 * ends as soon as no thread has it, without another answer().
 */
struct files_job {
	struct op op;
	struct work work;
	struct app *app;
	struct files_user user;
	bool busy; /* a thread has it, or will */
	void (*run)(struct files_job *j);
	void (*answer)(struct files_job *j);
	void (*fini)(struct files_job *j);
	/*
	 * Optional: called when the client has gone, on the loop, with no thread in it; calls
	 * files_job_end().
	 */
	void (*gone)(struct files_job *j);
	struct err err;
	struct buf body;          /* JSON; empty: an empty reply */
	const char *const *items; /* of a batch, for the report of what was done; or NULL */
	size_t done;              /* how many of them; the next one failed */
};

/*
 * Makes one of `size` bytes, zeroed but for the above: run as given, answer replies 200 with body.
 * NULL: out of memory, e set. Free with files_job_free() until it is started.
 */
void *files_job_new(size_t size, struct app *app, void (*run)(struct files_job *j),
	void (*fini)(struct files_job *j), struct err *e)
	__attribute__((warn_unused_result, nonnull(2, 5)));
void files_job_free(struct files_job *j) __attribute__((nonnull));
/* The job owns the answer. -1 with e set: it does not, and was freed. */
int files_job_start(struct files_job *j, struct req *r, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* For an endpoint that starts it in its own way: the job owns the answer, and is not run yet. */
void files_job_adopt(struct files_job *j, struct req *r) __attribute__((nonnull));
/*
 * Runs again, with what j->run is now. A failure ends up in answer() like any other, with j->err
 * set. submit is one of work.h's.
 */
void files_job_again(struct files_job *j,
	int (*submit)(struct work_pool *p, struct work *w, struct err *e)) __attribute__((nonnull));
/* For an endpoint's own answer(): the error envelope with what was done. */
void files_job_error(struct files_job *j) __attribute__((nonnull));
/* The end of every job: ends the op and frees it. On the loop, with no thread in it. */
void files_job_end(struct files_job *j) __attribute__((nonnull));
/* run() is over when memory is: sets err unless one is set. */
void files_job_no_memory(struct files_job *j) __attribute__((nonnull));

/* ---- files_body.c: a job that takes in a body ---- */

/*
 * Embedded first. step() is called on a disk thread until it says INTAKE_END, INTAKE_WAIT or
 * INTAKE_BAD (with job.err set); drop(), on a disk thread too, after a failure or when the client
 * has gone: throws away what was begun. reply() is called on the loop in the end.
 */
struct files_body {
	struct files_job job;
	struct intake *in; /* NULL: the body was small and is req_body() */
	struct str small;
	uint64_t total; /* bytes of content so far: files_body_count() */
	enum intake_result last;
	enum intake_result (*step)(struct files_body *b, struct err *e);
	void (*drop)(struct files_body *b);
	void (*reply)(struct files_body *b);
};

/* Sets up the job's callbacks. Then, in place of files_job_start(), one of the two. */
void files_body_init(struct files_body *b) __attribute__((nonnull));
/* The body is read as it comes. -1 with e set: the job was freed. */
int files_body_start(struct files_body *b, struct req *r, struct err *e)
	__attribute__((warn_unused_result, nonnull));
/* ERR_TOO_LARGE beyond LIMIT_FS_UPLOAD_BYTES. */
int files_body_count(struct files_body *b, uint64_t n, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* ---- fileinfo.c ---- */

/* A FileInfo object (contract 1.6). Any thread. */
void fileinfo_write(struct jsonw *w, const char *path, size_t path_len, const struct fs_stat *st,
	const struct fs_names *names) __attribute__((nonnull));
/* `"path_encoded": ...` when the path is not UTF-8. */
void fileinfo_write_encoded(struct jsonw *w, const char *path, size_t path_len)
	__attribute__((nonnull));

/* ---- files_walk.c: an answer that a walk finds ---- */

/*
 * Streams what a walk finds: an array, whose elements the visitor writes with a comma in front,
 * or lines. A short answer is sent as a whole.
 */
struct files_walk;
struct files_walk_opts {
	bool lines;            /* application/x-ndjson instead of an array */
	struct walk_spec spec; /* fs, path, root, max_depth, timeout_ms, visitor */
	struct files_user user;
	/* For lines: appends the last one, when all is found. */
	int (*summary)(void *arg, const struct walk_totals *t, struct buf *out);
	/* When nothing refers to the visitor's things any more. */
	void (*fini)(void *arg);
	void *arg; /* of summary and fini */
};
/* -1 with e set: nothing was begun, and fini was called. */
int files_walk_begin(struct req *r, struct app *app, const struct files_walk_opts *opts,
	struct err *e) __attribute__((warn_unused_result, nonnull));

/* ---- handlers in files of their own ---- */

route_handler files_search;      /* files_search.c */
route_handler files_list;        /* files_search.c */
route_handler files_grep;        /* files_grep.c */
route_handler files_download;    /* files_download.c */
route_handler files_put_content; /* files_put.c */
route_handler files_upload;      /* files_upload.c */

#endif
