/*
 * .gitignore files (gitignore(5)) below the root of a search: patterns of a directory count for
 * what is below it, the innermost and the last one win, "!" takes back, a slash at the end means
 * directories, a slash elsewhere anchors. Also .ignore files, which count more than any .gitignore,
 * and .git/info/exclude of the root, which counts less. Directories above the root are not
 * consulted, nor is anything outside of the tree; it need not be a repository.
 *
 * A set does not change once made, so any thread may match against it.
 */
#ifndef BOXD_IGNORE_H
#define BOXD_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

#include "boxd/str.h"

struct ignore;

/*
 * What counts in this directory: its own files, if it has any, in front of parent's (which may be
 * NULL). below_root is the directory's path relative to the root of the search, without a slash at
 * its end. Returns a reference for ignore_leave(): parent itself when the directory has no such
 * file (or memory is out), NULL when there is nothing at all. A file is passed over when it is no
 * regular file, or makes more than 1 MiB together with those above it; a pattern when it can match
 * nothing.
 */
struct ignore *ignore_enter(struct ignore *parent, int dir, struct str below_root)
	__attribute__((warn_unused_result));
/* On any thread, in any order. NULL is fine. */
void ignore_leave(struct ignore *ig);

/*
 * Is this entry, by its path relative to the root, left out? Its parent directory is not. `.git`
 * always is. ig is that of the directory that holds it, and may be NULL.
 */
bool ignore_match(const struct ignore *ig, struct str below_root, bool directory);

#endif
