/* Inside ignore: a line of a .gitignore file, and its pattern as a glob (ignore_glob.c). */
#ifndef BOXD_SVC_IGNORE_INTERNAL_H
#define BOXD_SVC_IGNORE_INTERNAL_H

#include <stdbool.h>

#include "boxd/buf.h"
#include "boxd/str.h"

/* The line without the blanks at its end that no backslash keeps. */
struct str ignore_trim(struct str line);

/*
 * Appends what the pattern is in the dialect of glob.h. path: slashes count, and so does `**`. -1:
 * it can match nothing, or memory is out.
 */
int ignore_translate(struct str pattern, bool path, struct buf *out)
	__attribute__((warn_unused_result, nonnull));

#endif
