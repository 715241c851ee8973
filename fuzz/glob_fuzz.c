/*
 * Fuzzes globs. An input is a pattern, a line feed, and texts on lines. The oracle: a pattern is
 * good or bad whatever the text is, and as the reference says; with and without short cuts a text
 * gets the same answer, and the reference's where that can be had in so many steps.
 */
#include <string.h>

#include "../src/proto/glob_internal.h"
#include "../tests/unit/glob_reference.h"
#include "boxd/glob.h"
#include "fuzz.h"

#define STATES 4096
#define STEPS  50000

static struct str take_line(struct str *rest)
{
	const char *lf = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;
	struct str line = {rest->p, lf != NULL ? (size_t)(lf - rest->p) : rest->n};
	size_t taken = line.n + (lf != NULL ? 1 : 0);

	if (taken > 0)
		*rest = (struct str){rest->p + taken, rest->n - taken};
	return line;
}

static void check_valid(struct str pattern, const struct glob *g, const char *why)
{
	struct ref_chars chars;

	FUZZ_CHECK((g == NULL) == (why != NULL));
	if (ref_chars(pattern, true, &chars) &&
		(why == NULL || strcmp(why, "the pattern is too complex") != 0))
		FUZZ_CHECK((g != NULL) == ref_valid(pattern));
}

static void check_text(
	struct str pattern, const struct glob *g, const struct glob *general, struct str text)
{
	bool matches = glob_match(g, text);

	FUZZ_CHECK(matches == glob_match(g, text));
	FUZZ_CHECK(matches == glob_match(general, text));
	enum ref_answer ref = ref_match(pattern, text, STEPS);
	FUZZ_CHECK(ref == REF_UNKNOWN || matches == (ref == REF_YES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = {(const char *)data, size}, pattern = take_line(&rest);
	const char *why = NULL, *general_why = NULL;
	struct glob *g = glob_new(pattern, STATES, &why);
	struct glob *general = glob_new_as(pattern, STATES, true, &general_why);

	check_valid(pattern, g, why);
	FUZZ_CHECK((g == NULL) == (general == NULL));
	if (g != NULL)
		FUZZ_CHECK(glob_has_slash(g) == glob_has_slash(general));
	for (int texts = 0; g != NULL && texts < 8; texts++) {
		bool last = rest.n == 0;

		check_text(pattern, g, general, take_line(&rest));
		if (last)
			break;
	}
	glob_free(g);
	glob_free(general);
	return 0;
}
