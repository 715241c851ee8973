/* secret: the two things that may be done with a secret. */
#include "boxd/secret.h"

#include <nettle/memops.h>
#include <stdlib.h>
#include <string.h>

bool secret_eq(const char *secret, size_t secret_len, const char *given, size_t given_len)
{
	/*
	 * A guess of another length is compared with itself: the work is the same for every guess
	 * of one length, so that nothing but the length of the secret can be learned, and that only
	 * by whoever can time a single branch.
	 */
	bool same_len = secret_len == given_len;
	int same = memeql_sec(same_len ? secret : given, given, given_len);

	return secret_len != 0 && same_len && same != 0;
}

void secret_free(char *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret, strlen(secret));
	free(secret);
}
