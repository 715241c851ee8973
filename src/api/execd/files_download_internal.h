/* What the two halves of a download share: deciding what to send, and sending it. */
#ifndef BOXD_FILES_DOWNLOAD_INTERNAL_H
#define BOXD_FILES_DOWNLOAD_INTERNAL_H

#include "boxd/lines.h"
#include "boxd/loop.h"
#include "boxd/range.h"
#include "files_internal.h"

#define DOWNLOAD_TYPE "application/octet-stream"

/* A part of the body: text, or a range of the file. */
struct download_piece {
	char *text; /* owned; NULL: a range */
	size_t text_n;
	uint64_t at, left; /* what is still to be sent of the range */
};

struct download {
	struct files_job job;
	char *path;
	char *range;                  /* the field's value, or NULL */
	char *first_line, *max_lines; /* as asked for, or NULL */
	struct files_cond cond;
	bool head;

	int fd;
	struct fs_stat st;
	int status; /* 200, 206, 304, 412, 416 */
	struct range *ranges;
	size_t nranges;
	struct download_piece *pieces;
	size_t npieces, piece;       /* the one that is being sent */
	uint64_t warm_from, warm_to; /* this much of the file is in the page cache */

	bool reading; /* the length is not known: job.body is filled bit by bit */
	bool by_line;
	bool at_end;
	bool streaming;
	struct lines lines;
	uint8_t *chunk; /* of the file, for lines: DOWNLOAD_READ */
	const uint8_t *chunk_at;
	size_t chunk_n;
	struct loop_deferred again;
};

/* files_download.c: reads on, on a disk thread, into job.body: when `reading`. */
void download_run_next(struct files_job *j);

/* files_download_send.c */
/* The Content-Range field; range NULL: of a 416. */
void download_content_range(struct req *r, const struct range *range, uint64_t size);
/* Makes the pieces, their length and type. 0, or -1: out of memory. */
int download_plan(struct download *d, uint64_t *length, char type[static 80], struct req *r)
	__attribute__((warn_unused_result));
/* Sends what the client takes now; ends the job with the last byte. The stream has begun. */
void download_go_on(struct download *d);
/* The same for an answer that is in job.body already. */
void download_send_small(struct download *d);
/* Something failed in the middle: the client must see that. */
void download_abort(struct download *d);

#endif
