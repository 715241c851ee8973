/*
 * pty_spec: a terminal remembers what was asked for, because its shell is started later, and again.
 *
 * All strings are copied into one allocation, whose size is known before: that makes the bound
 * simple, and a copy that fails halfway impossible.
 */
#include <stdlib.h>
#include <string.h>

#include "boxd/limits.h"
#include "pty_internal.h"

static size_t pty_string_size(const char *s)
{
	return s != NULL ? strlen(s) + 1 : 0;
}

static size_t pty_request_size(const struct pty_spec *spec)
{
	const struct launch_spec *l = &spec->launch;
	size_t n = pty_string_size(spec->command) + pty_string_size(spec->shell) +
		   pty_string_size(spec->label) + pty_string_size(l->cwd) +
		   pty_string_size(l->user) + l->nenvs * sizeof(*l->envs);

	for (size_t i = 0; i < l->nenvs; i++)
		n += pty_string_size(l->envs[i].name) + pty_string_size(l->envs[i].value);
	return n;
}

static const char *pty_string_copy(char **at, const char *s)
{
	size_t size = pty_string_size(s);
	char *out = *at;

	if (s == NULL)
		return NULL;
	memcpy(out, s, size);
	*at += size;
	return out;
}

int pty_request_init(struct pty_request *q, const struct pty_spec *spec, struct err *e)
{
	const struct launch_spec *l = &spec->launch;
	size_t size = pty_request_size(spec), max = limit_size(LIMIT_PTY_SPEC_BYTES);
	struct launch_var *envs;
	char *at;

	*q = (struct pty_request){.launch = *l};
	if (size > max)
		return err_set(
			e, &ERR_BAD_BODY, "more than %zu bytes of command and variables", max);
	if (spec->command != NULL && strlen(spec->command) > limit_size(LIMIT_PROC_COMMAND_BYTES))
		return err_set(e, &ERR_BAD_BODY, "command is longer than %zu bytes",
			limit_size(LIMIT_PROC_COMMAND_BYTES));
	q->mem = malloc(size > 0 ? size : 1);
	if (q->mem == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	envs = q->mem;
	at = (char *)(envs + l->nenvs);
	for (size_t i = 0; i < l->nenvs; i++) {
		envs[i].name = pty_string_copy(&at, l->envs[i].name);
		envs[i].value = pty_string_copy(&at, l->envs[i].value);
	}
	q->launch.envs = envs;
	q->launch.cwd = pty_string_copy(&at, l->cwd);
	q->launch.user = pty_string_copy(&at, l->user);
	q->command = pty_string_copy(&at, spec->command);
	q->shell = pty_string_copy(&at, spec->shell);
	q->label = pty_string_copy(&at, spec->label);
	return 0;
}

void pty_request_fini(struct pty_request *q)
{
	free(q->mem);
	q->mem = NULL;
}
