/*
 * Globs, the dialect of contract 1.12: `*`, `?`, `[...]`, `{a,b}` (nested, empty alternatives),
 * `**` as a whole segment, `!(...)`, backslash. Compiled once; matching is iterative and takes at
 * most (states x bytes) steps whatever the pattern, and little more than a memcmp for the common
 * ones ("*.py", "**" + "/x"). Pure; a compiled glob does not change, so any thread may match.
 *
 * What a pattern means, where other dialects differ:
 *
 * - A character is a UTF-8 sequence, or one byte that is not part of one; such bytes come after all
 *   characters in the order of ranges. `*` takes any characters, `?` and a class take one. None of
 *   them takes a slash, not even a class that names it. Case counts.
 * - In a class `^` or `!` at the start negates and a backslash escapes. A `-` that has no character
 *   on both sides stands for itself. A range in the wrong order is its first character.
 * - `{a,b}` is either alternative: the pattern matches what one of those it expands to matches.
 * - `**` is special when, in what the braces expand to, it stands between slashes or the ends of
 *   the pattern: then `**` + `/` takes zero or more segments and `**` at the end takes everything.
 *   Where only `/` + `**` is left of the pattern at the end of the text, they match: `a` + `/` +
 *   `**` also takes "a". Anywhere else stars in a row are one `*`.
 * - `A!(X)B`, at the leftmost `!`, takes a text when A takes some beginning of it and AXB does not
 *   take the text. So "*.!(js)" takes what has a dot and does not end in ".js", and "!(a)" takes
 *   everything but "a". There may be more of them in X and in B. Braces to the left are
 *   expanded first, one that holds the `!(` too, and braces in X mean none of the alternatives. In
 *   X a comma is itself, and parentheses must be in pairs or escaped; elsewhere they are plain.
 */
#ifndef BOXD_GLOB_H
#define BOXD_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#include "boxd/str.h"

struct glob;

/*
 * NULL with *why a literal for the client: an unclosed class or group, a stray closing brace, a
 * trailing backslash, an empty class (or one that begins with a bracket), a `!` without a
 * parenthesis, more than 65536 bytes, more than max_states; or with *why NULL: out of memory. Each
 * pattern that has to be looked at by itself counts its characters and one.
 */
struct glob *glob_new(struct str pattern, size_t max_states, const char **why)
	__attribute__((warn_unused_result, nonnull));
void glob_free(struct glob *g); /* NULL is fine */

/* Is there a slash in the pattern outside a class? Then it is meant for paths, not for names. */
bool glob_has_slash(const struct glob *g) __attribute__((nonnull));

/* The whole text against the whole pattern. */
bool glob_match(const struct glob *g, struct str text) __attribute__((nonnull));

#endif
