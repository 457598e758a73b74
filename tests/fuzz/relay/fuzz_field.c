/*
 * Values of single fields.
 *
 * Input: a byte that says which, then the value:
 *	0	Retry-After: a date is the one that it says, no more than a
 *		year away, in whichever of its three forms
 *	1	traceparent: what passes is one
 *	2	base64 of Authorization: what is taken is written the same again
 *	3	Accept-Encoding, a line for each of the value: gzip is not
 *		taken by who forbids it by name, wherever that stands
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shm/base/log.h"
#include "worker/relay/base64.h"
#include "worker/relay/coding.h"
#include "worker/relay/health.h"
#include "worker/relay/trace.h"

#define NOW_S  UINT64_C(1700000000)
#define YEAR_S UINT64_C(31536000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* But for the name of the day. */
static bool
is_in_form(struct slice v, const char *form, const struct tm *tm)
{
	char text[64];
	size_t n = strftime(text, sizeof(text), form, tm);
	const char *a = memchr(v.p, v.p[3] == ' ' ? ' ' : ',', v.len);
	const char *b = strpbrk(text, ", ");

	BUG_ON(n == 0 || a == NULL || b == NULL);
	return v.len - (size_t)(a - v.p) == strlen(b) &&
	       memcmp(a, b, strlen(b)) == 0;
}

static void
try_retry_after(struct slice v)
{
	uint64_t s = health_retry_after(v, NOW_S);
	static const char *const form[] = {
	    "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
	    "%a %b %e %H:%M:%S %Y", "%a %b %d %H:%M:%S %Y"};
	time_t when = (time_t)(NOW_S + s);
	size_t same = 0;
	struct tm tm;

	BUG_ON(s > YEAR_S);
	/* of a date, which is the one that gmtime_r() knows, in one of three
	 * forms; the name of its day is any, and what lies far off is not the
	 * same again, nor is a leap second */
	if (s == 0 || s == YEAR_S || memchr(v.p, ':', v.len) == NULL)
		return;
	BUG_ON(v.len < 24 || v.len > 33);
	if (memmem(v.p, v.len, ":60", 3) != NULL)
		return;
	BUG_ON(gmtime_r(&when, &tm) == NULL);
	for (size_t i = 0; i < ARRAY_LEN(form); i++)
		same += is_in_form(v, form[i], &tm);
	BUG_ON(same == 0); /* of a day with two digits both asctimes */
}

/* Each line of the value is a field line.  What is wanted was named, and is
 * wanted no more when it is forbidden, before or behind. */
static void
try_coding(struct slice v)
{
	static const struct slice no = SLICE_LIT(" , GZip ; q=0.000,");
	struct coding_wish w = {0}, first = {0};
	struct slice all = v;
	bool star = memchr(v.p, '*', v.len) != NULL;
	bool name = false;

	coding_line(&first, no);
	while (all.len > 0) {
		const char *end = memchr(all.p, '\n', all.len);
		size_t n = end == NULL ? all.len : (size_t)(end - all.p);

		coding_line(&w, (struct slice){all.p, n});
		coding_line(&first, (struct slice){all.p, n});
		all.p += MIN(n + 1, all.len);
		all.len -= MIN(n + 1, all.len);
	}
	BUG_ON(coding_takes_gzip(&first));
	BUG_ON(w.any != CODING_UNSAID && !star);
	for (size_t i = 0; i + 4 <= v.len; i++)
		name |= slice_iis((struct slice){v.p + i, 4}, "gzip");
	BUG_ON(w.gzip != CODING_UNSAID && !name);
	coding_line(&w, no);
	BUG_ON(coding_takes_gzip(&w));
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
	if (data[0] % 4 == 0)
		try_retry_after(v);
	else if (data[0] % 4 == 1)
		try_trace(v);
	else if (data[0] % 4 == 2)
		try_base64(v);
	else
		try_coding(v);
	free(copy);
	return 0;
}
