/*
 * http1_check: what the parser makes of the bytes on stdin, in one line:
 * `accept METHOD TARGET body=none|length:N|chunked`, `reject STATUS`, or `more`.
 * For comparing it with other implementations of HTTP.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

#include "boxd/cleanup.h"
#include "boxd/http1.h"

#define CHECK_INPUT_MAX 1048576u

static void check_print_accepted(const struct http1_head *head, const uint8_t *data)
{
	struct str method = http1_str(data, head->method_name);
	struct str target = http1_str(data, head->target);

	printf("accept %.*s %.*s body=", (int)method.n, method.p, (int)target.n, target.p);
	switch (head->body) {
	case HTTP_BODY_LENGTH: printf("length:%" PRIu64 "\n", head->content_length); break;
	case HTTP_BODY_CHUNKED: puts("chunked"); break;
	case HTTP_BODY_NONE:
	default: puts("none"); break;
	}
}

int main(void)
{
	const struct http1_limits limits = {
		.head_bytes = 32768, .target_bytes = 8192, .fields = 100};
	CLEANUP_FREE uint8_t *data = malloc(CHECK_INPUT_MAX);
	CLEANUP_FREE struct http1_head *head = malloc(sizeof(*head));
	struct http1_scan scan = {0};
	const struct err_kind *why;
	const char *detail;
	size_t n, head_len;

	if (data == NULL || head == NULL)
		return 1;
	n = fread(data, 1, CHECK_INPUT_MAX, stdin);
	if (ferror(stdin))
		return 1;
	switch (http1_parse(&scan, data, n, &limits, head, &head_len, &why, &detail)) {
	case HTTP1_DONE: check_print_accepted(head, data); break;
	case HTTP1_BAD: printf("reject %u\n", why->status); break;
	case HTTP1_MORE:
	default: puts("more"); break;
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
