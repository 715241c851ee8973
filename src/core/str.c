/* str: helpers on borrowed bytes that are more than one line. */
#include "boxd/str.h"

#include <stdlib.h>

bool str_u64(struct str s, uint64_t *out)
{
	uint64_t value = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned int digit = (unsigned int)(unsigned char)s.p[i] - '0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

char *str_dup(struct str s)
{
	char *copy = malloc(s.n + 1);

	if (copy == NULL)
		return NULL;
	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return copy;
}

static bool str_is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* Where the element at the start of s ends: a comma inside a quoted string does not end it. */
static size_t str_list_span(struct str s)
{
	bool quoted = false;

	for (size_t i = 0; i < s.n; i++) {
		if (quoted && s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (s.p[i] == ',' && !quoted)
			return i;
	}
	return s.n;
}

bool str_list_next(struct str *rest, struct str *element)
{
	while (rest->n > 0 && (str_is_space(*rest->p) || *rest->p == ',')) {
		rest->p++;
		rest->n--;
	}
	if (rest->n == 0)
		return false;
	*element = (struct str){rest->p, str_list_span(*rest)};
	rest->p += element->n;
	rest->n -= element->n;
	while (str_is_space(element->p[element->n - 1]))
		element->n--;
	return true;
}
