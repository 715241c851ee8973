/*
 * The environment of a child (contract 4.1, 5.3): the daemon's own without its secrets, overlaid
 * with the EXECD_ENVS file, overlaid with the request's variables; the last of equal names wins.
 */
#ifndef BOXD_ENVIRON_H
#define BOXD_ENVIRON_H

#include <stdbool.h>
#include <stddef.h>

#include "boxd/err.h"

struct environ_set; /* an ordered set of NAME=VALUE */

/*
 * From an environ(7) array, whose strings are copied, without the secrets (EXECD_ACCESS_TOKEN,
 * JUPYTER_TOKEN) and boxd's own settings (BOXD_*). NULL: out of memory.
 */
struct environ_set *environ_new(char *const *envp) __attribute__((warn_unused_result));
void environ_free(struct environ_set *s);

/* May a variable be called this: not empty, no '='? */
bool environ_valid_name(const char *name) __attribute__((nonnull));

/* 0, or -1 when memory is out. An existing name is replaced. The name must be valid. */
int environ_put(struct environ_set *s, const char *name, const char *value)
	__attribute__((warn_unused_result, nonnull));
/* NULL when absent. Valid as long as the set. */
const char *environ_get(const struct environ_set *s, const char *name) __attribute__((nonnull));
/* NULL-terminated, valid until the next change. NULL when memory is out. */
char **environ_array(struct environ_set *s) __attribute__((warn_unused_result, nonnull));

/*
 * Overlays the file (contract 5.3): read afresh, at most LIMIT_PROC_ENV_FILE_BYTES before and after
 * expansion, regular files only; `$NAME` in values comes from the set as it was before the file. A
 * file that cannot be read is a warning in the log and no error; -1 only when memory is out. The
 * path may contain `~` and variables.
 */
int environ_overlay_file(struct environ_set *s, const char *path)
	__attribute__((warn_unused_result, nonnull));

/*
 * Path expansion of contract 1.5, steps 1 to 4: $NAME, ${NAME}, leading `~`. Heap string, or NULL
 * with e set: ERR_BAD_BODY naming the undefined variables sorted and comma-joined, `~` without
 * HOME, or a result of PATH_MAX bytes or more; ERR_UNAVAILABLE.
 */
char *environ_expand_path(const struct environ_set *s, const char *path, struct err *e)
	__attribute__((malloc, warn_unused_result, nonnull));

#endif
