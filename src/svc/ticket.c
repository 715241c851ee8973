/*
 * ticket: a short list of secrets that are about to be used.
 *
 * All tickets live equally long, so the list in the order of issue is also the order of expiry: the
 * front is taken off whenever the list is looked at. A ticket that is shown is compared with every
 * one of the list, each time in full, so that the time tells nothing about their bytes; there are
 * few, and comparing is cheap. What goes is wiped.
 */
#include "boxd/ticket.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "boxd/clock.h"
#include "boxd/limits.h"
#include "boxd/secret.h"

#define TICKET_BYTES 32

struct ticket {
	TAILQ_ENTRY(ticket) link;
	int64_t expires_ms;
	char text[TICKET_LEN];
	char scope[]; /* "": every path */
};

struct tickets {
	TAILQ_HEAD(, ticket) list;
	size_t n;
};

static void ticket_drop(struct tickets *t, struct ticket *one)
{
	TAILQ_REMOVE(&t->list, one, link);
	t->n--;
	explicit_bzero(one->text, sizeof(one->text));
	free(one);
}

static void ticket_expire(struct tickets *t)
{
	int64_t now = clock_mono_ms();
	struct ticket *first;

	while ((first = TAILQ_FIRST(&t->list)) != NULL && first->expires_ms <= now)
		ticket_drop(t, first);
}

/* RFC 4648 5. Three bytes make four characters; the two that are left over make three. */
static void ticket_encode(const uint8_t bytes[static TICKET_BYTES], char out[static TICKET_LEN])
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t bits = 0;
	unsigned int have = 0;
	size_t n = 0;

	for (size_t i = 0; i < TICKET_BYTES; i++) {
		bits = bits << 8 | bytes[i];
		for (have += 8; have >= 6; have -= 6)
			out[n++] = digits[bits >> (have - 6) & 63];
	}
	out[n] = digits[bits << (6 - have) & 63];
}

static int ticket_make(char out[static TICKET_LEN], struct err *e)
{
	uint8_t bytes[TICKET_BYTES];
	ssize_t n;

	/* So few bytes come whole, or not at all. */
	do
		n = getrandom(bytes, sizeof(bytes), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(bytes))
		return err_sys(e, &ERR_UNAVAILABLE, "no random bytes");
	ticket_encode(bytes, out);
	explicit_bzero(bytes, sizeof(bytes));
	return 0;
}

struct tickets *tickets_new(struct err *e)
{
	struct tickets *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	TAILQ_INIT(&t->list);
	return t;
}

void tickets_free(struct tickets *t)
{
	if (t == NULL)
		return;
	while (!TAILQ_EMPTY(&t->list))
		ticket_drop(t, TAILQ_FIRST(&t->list));
	free(t);
}

int tickets_issue(
	struct tickets *t, const char *scope, char out[static TICKET_LEN + 1], struct err *e)
{
	size_t n = scope != NULL ? strlen(scope) : 0;
	struct ticket *one;

	ticket_expire(t);
	if (t->n >= limit_size(LIMIT_TICKET_COUNT))
		return err_set(e, &ERR_TOO_MANY, "too many tickets wait to be used");
	one = malloc(sizeof(*one) + n + 1);
	if (one == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	if (ticket_make(one->text, e) < 0) {
		free(one);
		return -1;
	}
	memcpy(one->scope, n > 0 ? scope : "", n + 1);
	one->expires_ms = clock_mono_ms() + limit(LIMIT_TICKET_MS);
	TAILQ_INSERT_TAIL(&t->list, one, link);
	t->n++;
	memcpy(out, one->text, TICKET_LEN);
	out[TICKET_LEN] = '\0';
	return 0;
}

bool tickets_redeem(struct tickets *t, struct str given, struct str path)
{
	struct ticket *one, *found = NULL;

	ticket_expire(t);
	if (given.n != TICKET_LEN)
		return false;
	TAILQ_FOREACH(one, &t->list, link) {
		if (secret_eq(one->text, TICKET_LEN, given.p, given.n))
			found = one;
	}
	if (found == NULL)
		return false;
	size_t n = strlen(found->scope);

	if (path.n < n || memcmp(path.p, found->scope, n) != 0)
		return false;
	ticket_drop(t, found);
	return true;
}
