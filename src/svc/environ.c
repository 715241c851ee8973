/*
 * environ: the variables a child gets.
 *
 * A set lives as long as the start of one command, so its strings go into an arena that is only
 * ever appended to and released as a whole; a replaced value is garbage until then. The pointers
 * are kept as the array execve(2) wants, and an open-addressed index of names makes 4096 variables
 * as cheap, each, as four.
 */
#include "boxd/environ.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxd/buf.h"
#include "boxd/cleanup.h"
#include "boxd/limits.h"
#include "boxd/log.h"
#include "boxd/str.h"

struct environ_chunk {
	struct environ_chunk *next;
	size_t used, cap;
	char data[];
};

struct environ_name {
	uint32_t hash;
	uint32_t len;
};

struct environ_set {
	struct environ_chunk *chunks; /* the newest first */
	char **vars;                  /* "NAME=VALUE", n of them, then NULL */
	struct environ_name *names;   /* of vars[i] */
	size_t n, cap;
	uint32_t *index; /* i + 1 of vars[i], 0: free; a power of two, at least 2 * cap */
	size_t index_mask;
};

/* Room for this many variables costs no second allocation. */
#define ENVIRON_SPARE 16
#define ENVIRON_CHUNK 4096

/* ---- the set ---- */

static uint32_t environ_hash(const char *name, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * 16777619u;
	return h;
}

static char *environ_alloc(struct environ_set *s, size_t n)
{
	struct environ_chunk *c = s->chunks;

	if (c == NULL || c->cap - c->used < n) {
		size_t cap = n > ENVIRON_CHUNK ? n : ENVIRON_CHUNK;

		c = malloc(sizeof(*c) + cap);
		if (c == NULL)
			return NULL;
		*c = (struct environ_chunk){.next = s->chunks, .cap = cap};
		s->chunks = c;
	}
	c->used += n;
	return c->data + c->used - n;
}

/* The slot of the index that holds this name, or the free one where it belongs. */
static uint32_t *environ_slot(
	const struct environ_set *s, const char *name, size_t len, uint32_t hash)
{
	size_t i = hash & s->index_mask;

	for (; s->index[i] != 0; i = (i + 1) & s->index_mask) {
		size_t at = s->index[i] - 1;

		if (s->names[at].hash == hash && s->names[at].len == len &&
			memcmp(s->vars[at], name, len) == 0)
			break;
	}
	return &s->index[i];
}

/* Makes room for `cap` variables: three arrays and the index over them. */
static int environ_resize(struct environ_set *s, size_t cap)
{
	size_t slots = 64;

	while (slots < 2 * cap)
		slots *= 2;
	char **vars = realloc(s->vars, (cap + 1) * sizeof(*vars));
	if (vars == NULL)
		return -1;
	s->vars = vars;
	struct environ_name *names = realloc(s->names, cap * sizeof(*names));
	if (names == NULL)
		return -1;
	s->names = names;
	uint32_t *index = calloc(slots, sizeof(*index));
	if (index == NULL)
		return -1;
	free(s->index);
	s->index = index;
	s->index_mask = slots - 1;
	s->cap = cap;
	for (size_t i = 0; i < s->n; i++)
		*environ_slot(s, s->vars[i], s->names[i].len, s->names[i].hash) = (uint32_t)i + 1;
	return 0;
}

/* Takes a string of the arena. Cannot fail while n < cap. */
static int environ_enter(struct environ_set *s, char *var, size_t name_len)
{
	uint32_t hash = environ_hash(var, name_len);

	if (s->n == s->cap && environ_resize(s, s->cap * 2) < 0)
		return -1;
	uint32_t *slot = environ_slot(s, var, name_len, hash);
	if (*slot != 0) {
		s->vars[*slot - 1] = var;
		return 0;
	}
	s->vars[s->n] = var;
	s->names[s->n] = (struct environ_name){hash, (uint32_t)name_len};
	s->n++;
	s->vars[s->n] = NULL;
	*slot = (uint32_t)s->n;
	return 0;
}

/* What the daemon was given for itself. EXECD_ENVS stays: commands append to that file. */
static bool environ_is_private(const char *var, size_t name_len)
{
	struct str name = {var, name_len};

	return (name_len >= 5 && memcmp(var, "BOXD_", 5) == 0) ||
	       str_eq(name, STR("EXECD_ACCESS_TOKEN")) || str_eq(name, STR("JUPYTER_TOKEN"));
}

struct environ_set *environ_new(char *const *envp)
{
	struct environ_set *s = calloc(1, sizeof(*s));
	size_t n = 0;

	if (s == NULL)
		return NULL;
	while (envp != NULL && envp[n] != NULL)
		n++;
	if (environ_resize(s, n + ENVIRON_SPARE) < 0) {
		environ_free(s);
		return NULL;
	}
	s->vars[0] = NULL;
	for (size_t i = 0; i < n; i++) {
		const char *eq = strchr(envp[i], '=');

		if (eq == NULL || eq == envp[i])
			continue;
		size_t name_len = (size_t)(eq - envp[i]);
		if (environ_is_private(envp[i], name_len))
			continue;
		size_t size = name_len + 1 + strlen(eq + 1) + 1;
		char *var = environ_alloc(s, size);
		if (var == NULL || environ_enter(s, memcpy(var, envp[i], size), name_len) < 0) {
			environ_free(s);
			return NULL;
		}
	}
	return s;
}

void environ_free(struct environ_set *s)
{
	if (s == NULL)
		return;
	while (s->chunks != NULL) {
		struct environ_chunk *c = s->chunks;

		s->chunks = c->next;
		free(c);
	}
	free(s->vars);
	free(s->names);
	free(s->index);
	free(s);
}

bool environ_valid_name(const char *name)
{
	return name[0] != '\0' && strchr(name, '=') == NULL;
}

int environ_put(struct environ_set *s, const char *name, const char *value)
{
	size_t name_len = strlen(name), value_len = strlen(value);
	char *var = environ_alloc(s, name_len + 1 + value_len + 1);

	if (var == NULL)
		return -1;
	memcpy(var, name, name_len);
	var[name_len] = '=';
	memcpy(var + name_len + 1, value, value_len + 1);
	return environ_enter(s, var, name_len);
}

static const char *environ_lookup(const struct environ_set *s, const char *name, size_t len)
{
	uint32_t at = *environ_slot(s, name, len, environ_hash(name, len));

	return at == 0 ? NULL : s->vars[at - 1] + len + 1;
}

const char *environ_get(const struct environ_set *s, const char *name)
{
	return environ_lookup(s, name, strlen(name));
}

char **environ_array(struct environ_set *s)
{
	return s->vars;
}

/* ---- expansion ---- */

static bool environ_is_name_byte(char c, bool first)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (!first && c >= '0' && c <= '9');
}

/*
 * Looks at text that begins with '$' and says how many bytes the reference takes; 0: the '$' is
 * literal. *name is the variable, empty for a form that vanishes ($1, $@, ${}, ${*}).
 */
static size_t environ_reference(const char *p, size_t n, struct str *name)
{
	bool brace = n > 1 && p[1] == '{';
	size_t start = brace ? 2 : 1, end = start;

	*name = (struct str){p, 0};
	while (end < n && environ_is_name_byte(p[end], end == start))
		end++;
	if (end > start) {
		*name = (struct str){p + start, end - start};
	} else if (end < n && p[end] != '\0' && strchr("*#$@!?-0123456789", p[end]) != NULL) {
		end++;
	} else if (!brace) {
		return 0;
	}
	if (!brace)
		return end;
	return end < n && p[end] == '}' ? end + 1 : 0;
}

enum environ_expanded { ENVIRON_OK, ENVIRON_NO_MEM, ENVIRON_TOO_LONG };

/* Appends the text with its variables replaced; what is undefined is empty. At most max bytes. */
static enum environ_expanded environ_expand(
	const struct environ_set *s, const char *p, size_t n, size_t max, struct buf *out)
{
	size_t begin = buf_len(out);

	while (n > 0) {
		const char *dollar = memchr(p, '$', n);
		size_t plain = dollar != NULL ? (size_t)(dollar - p) : n;
		struct str name = {p, 0};
		const char *value = "";

		size_t taken = plain < n ? environ_reference(p + plain, n - plain, &name) : 0;
		if (plain < n && taken == 0)
			plain++; /* this '$' is text */
		if (name.n > 0 && taken > 0)
			value = environ_lookup(s, name.p, name.n);
		size_t value_len = value != NULL ? strlen(value) : 0;
		if (max - (buf_len(out) - begin) < plain ||
			max - (buf_len(out) - begin) - plain < value_len)
			return ENVIRON_TOO_LONG;
		if (buf_add(out, p, plain) < 0 || buf_add(out, value, value_len) < 0)
			return ENVIRON_NO_MEM;
		p += plain + taken;
		n -= plain + taken;
	}
	return ENVIRON_OK;
}

static int environ_compare_names(const void *a, const void *b)
{
	const struct str *x = a, *y = b;
	int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);

	return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

/* Sets e to the error that names them, sorted, each once. */
static void environ_refuse_undefined(struct str *names, size_t n, struct err *e)
{
	char list[ERR_MSG_MAX];
	size_t len = 0;

	qsort(names, n, sizeof(*names), environ_compare_names);
	for (size_t i = 0; i < n && len < sizeof(list) - 1; i++) {
		if (i > 0 && str_eq(names[i], names[i - 1]))
			continue;
		int added = snprintf(list + len, sizeof(list) - len, "%s%.*s", i > 0 ? "," : "",
			(int)(names[i].n < sizeof(list) ? names[i].n : sizeof(list)), names[i].p);
		len += added > 0 ? (size_t)added : 0;
	}
	err_set(e, &ERR_BAD_BODY, "undefined variable in path: %s", list);
}

/* Step 2 of the contract: every name must be defined before anything is expanded. */
static int environ_check_defined(const struct environ_set *s, const char *path, struct err *e)
{
	size_t n = strlen(path), count = 0, cap = 0;
	CLEANUP_FREE struct str *names = NULL;

	for (const char *p = path; (p = memchr(p, '$', n - (size_t)(p - path))) != NULL;) {
		struct str name;
		size_t taken = environ_reference(p, n - (size_t)(p - path), &name);

		p += taken > 0 ? taken : 1;
		if (taken == 0 || name.n == 0 || environ_lookup(s, name.p, name.n) != NULL)
			continue;
		if (count == cap) {
			cap = cap == 0 ? 8 : cap * 2;
			struct str *more = realloc(names, cap * sizeof(*names));
			if (more == NULL)
				return err_set(e, &ERR_UNAVAILABLE, "out of memory");
			names = more;
		}
		names[count++] = name;
	}
	if (count == 0)
		return 0;
	environ_refuse_undefined(names, count, e);
	return -1;
}

/* Step 4: a tilde at the very beginning, also one that came out of a variable. */
static bool environ_has_tilde(const struct buf *b)
{
	const uint8_t *p = buf_data(b);
	size_t n = buf_len(b);

	return n >= 1 && p[0] == '~' && (n == 1 || p[1] == '/' || p[1] == '\\');
}

char *environ_expand_path(const struct environ_set *s, const char *path, struct err *e)
{
	struct buf out = {0};
	const char *home = "";
	char *result = NULL;

	if (environ_check_defined(s, path, e) < 0)
		return NULL;
	enum environ_expanded r = environ_expand(s, path, strlen(path), PATH_MAX - 1, &out);
	size_t skip = r == ENVIRON_OK && buf_len(&out) > 0 && environ_has_tilde(&out) ? 1 : 0;
	if (skip > 0) {
		home = environ_get(s, "HOME");
		if (home == NULL || home[0] == '\0') {
			buf_fini(&out);
			err_set(e, &ERR_BAD_BODY, "~ in path, but HOME is not set");
			return NULL;
		}
	}
	size_t home_len = strlen(home), rest = buf_len(&out) - skip;
	if (r == ENVIRON_OK && home_len + rest < PATH_MAX)
		result = malloc(home_len + rest + 1);
	if (result != NULL) {
		memcpy(result, home, home_len);
		if (rest > 0)
			memcpy(result + home_len, buf_data(&out) + skip, rest);
		result[home_len + rest] = '\0';
	} else if (r == ENVIRON_TOO_LONG || (r == ENVIRON_OK && home_len + rest >= PATH_MAX)) {
		err_set(e, &ERR_BAD_BODY, "path is longer than %d bytes", PATH_MAX - 1);
	} else {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
	}
	buf_fini(&out);
	return result;
}

/* ---- the file ---- */

/* Reads all of a regular file; *out may hold anything after -1, errno says why. */
static int environ_read_file(const char *path, struct buf *out)
{
	size_t max = limit_size(LIMIT_PROC_ENV_FILE_BYTES);
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
		return -1;
	}
	/* The size is a hint: the file may grow meanwhile, and files of /proc say 0. */
	size_t want = st.st_size > 0 && (uint64_t)st.st_size < max ? (size_t)st.st_size + 1 : 4096;
	for (;;) {
		uint8_t *p = buf_reserve(out, want);
		if (p == NULL) {
			errno = ENOMEM;
			return -1;
		}
		ssize_t r = read(fd, p, want);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return (int)r;
		buf_commit(out, (size_t)r);
		if (buf_len(out) > max) {
			errno = EFBIG;
			return -1;
		}
	}
}

static struct str environ_trim(struct str line)
{
	static const char space[] = " \t\n\v\f\r";

	while (line.n > 0 && memchr(space, line.p[0], sizeof(space) - 1) != NULL)
		line = (struct str){line.p + 1, line.n - 1};
	while (line.n > 0 && memchr(space, line.p[line.n - 1], sizeof(space) - 1) != NULL)
		line.n--;
	return line;
}

/*
 * One line as "NAME=VALUE" in `out`, which then also holds the NUL; an empty `out` for a line
 * without a variable. -1 when memory is out.
 */
static int environ_parse_line(
	const struct environ_set *s, struct str line, size_t number, size_t max, struct buf *out)
{
	line = environ_trim(line);
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	const char *eq = memchr(line.p, '=', line.n);
	if (eq == NULL || eq == line.p || memchr(line.p, '\0', line.n) != NULL) {
		log_warn("environ", "env file: line %zu has no variable, skipped", number);
		return 0;
	}
	size_t name_len = (size_t)(eq - line.p) + 1;
	if (buf_add(out, line.p, name_len) < 0)
		return -1;
	switch (environ_expand(s, eq + 1, line.n - name_len, max, out)) {
	case ENVIRON_OK: return buf_add(out, "", 1);
	case ENVIRON_NO_MEM: return -1;
	case ENVIRON_TOO_LONG: break;
	}
	log_warn("environ", "env file: line %zu is too long when expanded, skipped", number);
	buf_clear(out);
	return 0;
}

/*
 * Two passes, because values are expanded from the set as it was: the first collects the
 * assignments in one block, the second enters them. The block is bounded as the file is, or a few
 * lines of `A=$B$B$B` could ask for any amount of memory.
 */
static int environ_apply(struct environ_set *s, const struct buf *file)
{
	struct buf all = {0}, one = {0};
	const char *p = (const char *)buf_data(file), *end = p + buf_len(file);
	size_t max = limit_size(LIMIT_PROC_ENV_FILE_BYTES), number = 0;
	int r = 0;

	while (r == 0 && p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		struct str line = {p, (size_t)((lf != NULL ? lf : end) - p)};

		buf_clear(&one);
		r = environ_parse_line(s, line, ++number, max - buf_len(&all), &one);
		if (r == 0 && buf_len(&one) > max - buf_len(&all)) {
			log_warn("environ", "env file: too long when expanded, cut at line %zu",
				number);
			break;
		}
		if (r == 0 && buf_len(&one) > 0)
			r = buf_add(&all, buf_data(&one), buf_len(&one));
		p = lf != NULL ? lf + 1 : end;
	}
	char *vars = r == 0 && buf_len(&all) > 0 ? environ_alloc(s, buf_len(&all)) : NULL;
	if (vars != NULL)
		memcpy(vars, buf_data(&all), buf_len(&all));
	else if (buf_len(&all) > 0)
		r = -1;
	for (char *v = vars; r == 0 && v != NULL && v < vars + buf_len(&all); v += strlen(v) + 1)
		r = environ_enter(s, v, (size_t)(strchr(v, '=') - v));
	buf_fini(&all);
	buf_fini(&one);
	return r;
}

int environ_overlay_file(struct environ_set *s, const char *path)
{
	struct err e = {0};
	struct buf file = {0};
	CLEANUP_FREE char *expanded = environ_expand_path(s, path, &e);
	int r = 0;

	if (expanded == NULL) {
		if (e.kind == &ERR_UNAVAILABLE)
			return -1;
		log_warn("environ", "env file not read: %s", e.msg);
		return 0;
	}
	if (environ_read_file(expanded, &file) == 0)
		r = buf_len(&file) > 0 ? environ_apply(s, &file) : 0;
	else if (errno == ENOMEM)
		r = -1;
	else
		log_warn("environ", "env file not read: %s", err_strerror(errno));
	buf_fini(&file);
	return r;
}
