/* Base64, by nettle, into buffers. */
#include "boxd/base64.h"

#include <nettle/base64.h>

int base64_encode(const void *data, size_t n, struct buf *out)
{
	char *to = (char *)buf_reserve(out, BASE64_ENCODE_RAW_LENGTH(n) + 1);

	if (to == NULL)
		return -1;
	base64_encode_raw(to, n, data);
	buf_commit(out, BASE64_ENCODE_RAW_LENGTH(n));
	return 0;
}

int base64_decode(struct str text, struct buf *out, struct err *e)
{
	uint8_t *to = buf_reserve(out, BASE64_DECODE_LENGTH(text.n) + 1);
	size_t n = BASE64_DECODE_LENGTH(text.n);
	struct base64_decode_ctx ctx;

	if (to == NULL)
		return err_set(e, &ERR_UNAVAILABLE, "out of memory");
	base64_decode_init(&ctx);
	/* nettle takes padding with nothing in front of it ("A===") for no bytes. */
	if (!base64_decode_update(&ctx, &n, to, text.n, text.p) || !base64_decode_final(&ctx) ||
		(n == 0 && text.n > 0))
		return err_set(e, &ERR_BAD_BODY, "not base64");
	buf_commit(out, n);
	return 0;
}
