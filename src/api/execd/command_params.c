/* The body of POST /command: which fields there are, and what they may hold (contract 1.19). */
#include <stdlib.h>

#include "boxd/limits.h"
#include "command_internal.h"

static int params_parse_argv(struct command_params *p, struct err *e)
{
	const struct json *list = json_get(p->root, "argv");
	size_t n = json_count(list), i = 0;

	if (list == NULL)
		return 0;
	if (!json_is_array(list) || json_first(list) == NULL)
		return err_set(e, &ERR_BAD_BODY,
			"argv must be an array of strings with at least one element");
	if (n > limit_size(LIMIT_PROC_ARGS))
		return err_set(e, &ERR_BAD_BODY, "argv has more than %zu elements",
			limit_size(LIMIT_PROC_ARGS));
	p->argv = calloc(n + 1, sizeof(*p->argv));
	if (p->argv == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	for (const struct json *v = json_first(list); v != NULL; v = json_next(v)) {
		const char *s = json_str(v);

		if (s == NULL)
			return err_set(e, &ERR_BAD_BODY, "argv must be an array of strings");
		if (strlen(s) > limit_size(LIMIT_PROC_COMMAND_BYTES))
			return err_set(e, &ERR_BAD_BODY,
				"an element of argv is longer than %zu bytes",
				limit_size(LIMIT_PROC_COMMAND_BYTES));
		p->argv[i++] = s;
	}
	if (p->argv[0][0] == '\0')
		return err_set(e, &ERR_BAD_BODY, "argv[0] must not be empty");
	p->spec.argv = p->argv;
	return 0;
}

static int params_parse_disconnect(struct command_params *p, struct err *e)
{
	const char *what = NULL;

	if (json_get_str(p->root, "on_disconnect", &what, e) < 0)
		return -1;
	if (what != NULL && strcmp(what, "continue") != 0 && strcmp(what, "kill") != 0)
		return err_set(e, &ERR_BAD_BODY, "on_disconnect must be \"continue\" or \"kill\"");
	p->kill_on_disconnect = what != NULL && strcmp(what, "kill") == 0;
	if (p->kill_on_disconnect && p->background)
		return err_set(
			e, &ERR_BAD_BODY, "on_disconnect \"kill\" is for foreground commands");
	return 0;
}

static int params_check_program(const struct command_params *p, struct err *e)
{
	if (p->spec.command != NULL && p->spec.argv != NULL)
		return err_set(e, &ERR_BAD_BODY, "give command or argv, not both");
	if (p->spec.argv != NULL && p->spec.shell != NULL)
		return err_set(e, &ERR_BAD_BODY, "shell goes with command, not with argv");
	if (p->spec.argv == NULL && (p->spec.command == NULL || p->spec.command[0] == '\0'))
		return err_set(e, &ERR_BAD_BODY, "command is required");
	if (p->spec.command != NULL &&
		strlen(p->spec.command) > limit_size(LIMIT_PROC_COMMAND_BYTES))
		return err_set(e, &ERR_BAD_BODY, "command is longer than %zu bytes",
			limit_size(LIMIT_PROC_COMMAND_BYTES));
	if (p->spec.shell != NULL && p->spec.shell[0] == '\0')
		return err_set(e, &ERR_BAD_BODY, "shell must not be empty");
	return 0;
}

int command_params_parse(struct command_params *p, struct str body, struct err *e)
{
	memset(p, 0, sizeof(*p));
	p->root = json_parse((const uint8_t *)body.p, body.n, e);
	if (p->root == NULL)
		return -1;
	/* A literal null is a body of defaults (contract 1.1), which lacks the command. */
	if (!json_is_object(p->root))
		return err_set(e, &ERR_BAD_BODY,
			json_is_null(p->root) ? "command is required"
					      : "the body must be an object");
	if (json_get_str(p->root, "command", &p->spec.command, e) < 0 ||
		json_get_str(p->root, "shell", &p->spec.shell, e) < 0 ||
		json_get_bool(p->root, "background", &p->background, e) < 0 ||
		json_get_int(p->root, "timeout", 0, limit(LIMIT_PROC_TIMEOUT_MAX_MS),
			&p->spec.timeout_ms, e) < 0 ||
		params_parse_argv(p, e) < 0 || params_check_program(p, e) < 0 ||
		launch_params_parse(&p->launch, p->root, e) < 0 ||
		params_parse_disconnect(p, e) < 0)
		return -1;
	p->spec.launch = p->launch.spec;
	/* One pipe keeps the true order of both streams, which is what a log is read for. */
	p->spec.merge = p->background;
	return 0;
}

void command_params_fini(struct command_params *p)
{
	free(p->argv);
	launch_params_fini(&p->launch);
	json_free(p->root);
}
