/*
 * regex_needle: where a short byte string stands in a long one.
 *
 * Two bytes of the needle that are rare in text are compared with 64 places at a time; only where
 * both fit is the whole needle looked at. On source code that rejects nearly every place without a
 * branch. The vectors are the compiler's own, so that any machine has its version of the same loop,
 * and a C library with a slow memmem(3) costs nothing. Ignoring the case of a letter is one more
 * OR.
 */
#include <stdlib.h>
#include <string.h>

#include "regex_internal.h"

typedef uint8_t regex_vector __attribute__((vector_size(16)));

#define REGEX_LANES 16u
#define REGEX_STEP  64u /* places in one turn of the loop */

/* The bytes of program text, the most common first; what is not here is rarer than all of it. */
static const char regex_common[] =
	" etrinsoacl\ndupm_f.,()g\thb-;=\"y/vx*kw:>0'{}1I+TSEC#2RA[]Nz3LDOPqFMB<84U6j5&!\\|V@79HG%";

static size_t regex_needle_rank(uint8_t c)
{
	const char *p = memchr(regex_common, c, sizeof(regex_common) - 1);

	return p == NULL ? sizeof(regex_common) : (size_t)(p - regex_common);
}

static uint8_t regex_needle_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool regex_needle_is_letter(uint8_t c)
{
	c = regex_needle_lower(c);
	return c >= 'a' && c <= 'z';
}

/* The rarest place, but for the one at `but` and those that hold the same byte as it does. */
static size_t regex_needle_rarest(const struct regex_needle *nd, size_t but)
{
	size_t best = but < nd->n ? but : 0;
	bool found = false;

	for (size_t i = 0; i < nd->n; i++) {
		if (but < nd->n && nd->bytes[i] == nd->bytes[but])
			continue;
		if (!found || regex_needle_rank(nd->bytes[i]) > regex_needle_rank(nd->bytes[best]))
			best = i;
		found = true;
	}
	return best;
}

int regex_needle_init(struct regex_needle *nd, struct str bytes, bool fold)
{
	*nd = (struct regex_needle){.fold = fold};
	if (bytes.n == 0)
		return 0;
	nd->bytes = malloc(bytes.n);
	if (nd->bytes == NULL)
		return -1;
	nd->n = bytes.n;
	for (size_t i = 0; i < nd->n; i++) {
		uint8_t c = (uint8_t)bytes.p[i];

		nd->bytes[i] = fold ? regex_needle_lower(c) : c;
	}
	nd->at[0] = regex_needle_rarest(nd, SIZE_MAX);
	nd->at[1] = regex_needle_rarest(nd, nd->at[0]);
	for (int k = 0; k < 2; k++) {
		nd->byte[k] = nd->bytes[nd->at[k]];
		nd->case_bit[k] = fold && regex_needle_is_letter(nd->byte[k]) ? 0x20 : 0;
	}
	return 0;
}

void regex_needle_fini(struct regex_needle *nd)
{
	free(nd->bytes);
	*nd = (struct regex_needle){0};
}

/* Three bytes are, and so are one or two that are rare. */
bool regex_needle_selective(const struct regex_needle *nd)
{
	size_t rank = nd->n == 0 ? 0 : regex_needle_rank(nd->byte[0]);

	return nd->n >= 3 || rank >= (nd->n == 2 ? sizeof(regex_common) / 3 : sizeof(regex_common));
}

static bool regex_needle_here(const struct regex_needle *nd, const uint8_t *p)
{
	if (!nd->fold)
		return memcmp(p, nd->bytes, nd->n) == 0;
	for (size_t i = 0; i < nd->n; i++) {
		if (regex_needle_lower(p[i]) != nd->bytes[i])
			return false;
	}
	return true;
}

static inline regex_vector regex_needle_fits(const uint8_t *p, uint8_t byte, uint8_t case_bit)
{
	regex_vector v;

	memcpy(&v, p, sizeof(v));
	return (regex_vector)((v | case_bit) == (regex_vector)(byte - (regex_vector){0}));
}

/* The first place in [p, p + REGEX_STEP) where mask says so and the needle is, or NULL. */
static const uint8_t *regex_needle_check(
	const struct regex_needle *nd, const uint8_t *p, const regex_vector mask[4])
{
	uint64_t words[REGEX_STEP / 8];

	memcpy(words, mask, sizeof(words));
	for (size_t w = 0; w < REGEX_STEP / 8; w++) {
		uint64_t bits = words[w];

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		bits = __builtin_bswap64(bits);
#endif
		while (bits != 0) {
			unsigned int lane = (unsigned int)__builtin_ctzll(bits) / 8;

			if (regex_needle_here(nd, p + w * 8 + lane))
				return p + w * 8 + lane;
			bits &= ~(UINT64_C(0xff) << (lane * 8));
		}
	}
	return NULL;
}

/* The first place in [p, last - REGEX_STEP], or NULL with *at where no whole step is left. */
static inline const uint8_t *regex_needle_steps(const struct regex_needle *nd, const uint8_t *p,
	const uint8_t *last, bool fold, const uint8_t **at)
{
	const uint8_t byte[2] = {nd->byte[0], nd->byte[1]};
	const uint8_t bits[2] = {fold ? nd->case_bit[0] : 0, fold ? nd->case_bit[1] : 0};
	const size_t to[2] = {nd->at[0], nd->at[1]};

	for (; (size_t)(last - p) >= REGEX_STEP; p += REGEX_STEP) {
		const uint8_t *hit;
		regex_vector mask[4], any;
		uint64_t words[2];

		for (size_t k = 0; k < 4; k++) {
			const uint8_t *q = p + k * REGEX_LANES;

			mask[k] = regex_needle_fits(q + to[0], byte[0], bits[0]) &
				  regex_needle_fits(q + to[1], byte[1], bits[1]);
		}
		any = (mask[0] | mask[1]) | (mask[2] | mask[3]);
		memcpy(words, &any, sizeof(words));
		if ((words[0] | words[1]) != 0 && (hit = regex_needle_check(nd, p, mask)) != NULL)
			return hit;
	}
	*at = p;
	return NULL;
}

size_t regex_needle_find(const struct regex_needle *nd, struct str subject, size_t from)
{
	const uint8_t *text = (const uint8_t *)subject.p;
	const uint8_t *p, *hit, *last; /* the last place where it could stand */

	if (from > subject.n || subject.n - from < nd->n)
		return REGEX_NOWHERE;
	if (nd->n == 0)
		return from;
	last = text + subject.n - nd->n;
	/* Twice, so that the loop that is used most has no OR in it. */
	hit = nd->fold ? regex_needle_steps(nd, text + from, last, true, &p)
		       : regex_needle_steps(nd, text + from, last, false, &p);
	if (hit != NULL)
		return (size_t)(hit - text);
	for (; p <= last; p++) {
		if ((p[nd->at[0]] | nd->case_bit[0]) == nd->byte[0] && regex_needle_here(nd, p))
			return (size_t)(p - text);
	}
	return REGEX_NOWHERE;
}
