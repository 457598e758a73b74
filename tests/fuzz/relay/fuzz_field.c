/*
 * Values of single fields.
 *
 * Input: a byte that says which, then the value:
 *	0	Retry-After: a date is the one that it says, no more than a
 *		year away
 *	1	traceparent: what passes is one
 *	2	base64 of Authorization: what is taken is written the same again
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shm/base/log.h"
#include "worker/relay/base64.h"
#include "worker/relay/health.h"
#include "worker/relay/trace.h"

#define NOW_S  UINT64_C(1700000000)
#define YEAR_S UINT64_C(31536000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_retry_after(struct slice v)
{
	uint64_t s = health_retry_after(v, NOW_S);
	time_t when = (time_t)(NOW_S + s);
	char text[64];
	struct tm tm;

	BUG_ON(s > YEAR_S);
	/* of a date: its day of the week is not looked at, and what lies far
	 * off, or is no day of its month, is not the same again */
	if (s == 0 || s == YEAR_S || v.len != 29 || v.p[3] != ',' ||
	    memcmp(v.p + 23, "60", 2) == 0 || v.p[5] == '3' ||
	    memcmp(v.p + 5, "29", 2) == 0)
		return;
	BUG_ON(gmtime_r(&when, &tm) == NULL);
	BUG_ON(strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm) !=
	       29);
	BUG_ON(memcmp(text + 3, v.p + 3, 26) != 0);
}

static void
try_trace(struct slice v)
{
	if (!trace_is_valid(v))
		return;
	BUG_ON(v.len < TRACE_LEN || v.p[2] != '-' || v.p[35] != '-' ||
	       v.p[52] != '-' || (v.len > TRACE_LEN && v.p[TRACE_LEN] != '-'));
	for (size_t i = 0; i < TRACE_LEN; i++)
		BUG_ON(strchr("0123456789abcdef-", v.p[i]) == NULL);
}

static void
try_base64(struct slice v)
{
	uint8_t *bytes = malloc(v.len + 1);
	char *again = malloc(BASE64_LEN(v.len) + 1);
	ssize_t n;

	BUG_ON(bytes == NULL || again == NULL);
	n = base64_decode(bytes, v.len, v);
	BUG_ON(n < 0 && n != -EINVAL && n != -ENOBUFS);
	if (n >= 0) {
		BUG_ON(base64_encode(again, bytes, (size_t)n) != v.len);
		BUG_ON(memcmp(again, v.p, v.len) != 0);
		/* in exactly that much room, and in no less */
		BUG_ON(base64_decode(bytes, (size_t)n, v) != n);
		BUG_ON(n > 0 &&
		       base64_decode(bytes, (size_t)n - 1, v) != -ENOBUFS);
	}
	free(bytes);
	free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice v;
	char *copy;

	if (size < 2)
		return 0;
	copy = malloc(size - 1); /* of its own: a read beyond it is seen */
	BUG_ON(copy == NULL);
	memcpy(copy, data + 1, size - 1);
	v = (struct slice){copy, size - 1};
	if (data[0] % 3 == 0)
		try_retry_after(v);
	else if (data[0] % 3 == 1)
		try_trace(v);
	else
		try_base64(v);
	free(copy);
	return 0;
}
