/*
 * Any answer of the token service: a token that a relay may put into a field,
 * or a text that an operator may read.  The first byte chooses the status,
 * the second how much of the rest is the Retry-After value.
 */
#include <string.h>

#include "shm/base/log.h"
#include "worker/cloud/token_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "hush-hush"

static void
check_text(const char *text, size_t size)
{
	size_t n = strnlen(text, size);

	BUG_ON(n == size);
	BUG_ON(strstr(text, SECRET) != NULL);
	for (size_t i = 0; i < n; i++)
		BUG_ON((unsigned char)text[i] < 0x20 || text[i] == 0x7f);
}

static void
check_token(const struct token_result *r)
{
	BUG_ON(r->len == 0 || r->len > TOKEN_BYTES_MAX);
	BUG_ON(r->expires_in_s == 0 || r->expires_in_s > TOKEN_EXPIRES_MAX_S);
	for (uint32_t i = 0; i < r->len; i++)
		BUG_ON(r->token[i] <= ' ' || r->token[i] > '~' ||
		       strchr("\",\\:;", r->token[i]) != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const long status[] = {200, 400, 401, 403, 429, 500, 302, 204};
	static struct token_result r;
	struct token_reply in = {.now_s = 1000000000,
				 .secret = SLICE_LIT(SECRET)};
	size_t field;

	if (size < 2)
		return 0;
	in.status = status[data[0] % ARRAY_LEN(status)];
	field = MIN((size_t)data[1], size - 2);
	in.retry_after = (struct slice){(const char *)data + 2, field};
	in.body =
	    (struct slice){(const char *)data + 2 + field, size - 2 - field};
	token_reply_parse(&in, &r);
	BUG_ON(r.retry_after_s > TOKEN_RETRY_AFTER_MAX_S);
	check_text(r.cause, sizeof(r.cause));
	check_text(r.text, sizeof(r.text));
	if (r.outcome == TOKEN_GOT) {
		BUG_ON(in.status != 200 || r.text[0] != '\0');
		check_token(&r);
	} else {
		BUG_ON(r.len != 0 || r.text[0] == '\0');
	}
	return 0;
}
