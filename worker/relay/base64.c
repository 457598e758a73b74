/*
 * Purpose: base64 of authentication tokens.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: memory of its callers.
 * Failure: -EINVAL, -ENOBUFS.
 */
#include "worker/relay/base64.h"

#include <errno.h>

#include "shm/base/log.h"

static const char b64_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t
base64_encode(char *out, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t n = 0, i;

	for (i = 0; i + 2 < len; i += 3) {
		uint32_t v =
		    (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];

		out[n++] = b64_chars[v >> 18];
		out[n++] = b64_chars[v >> 12 & 63];
		out[n++] = b64_chars[v >> 6 & 63];
		out[n++] = b64_chars[v & 63];
	}
	if (i < len) {
		uint32_t v = (uint32_t)p[i] << 16;

		if (i + 1 < len)
			v |= (uint32_t)p[i + 1] << 8;
		out[n++] = b64_chars[v >> 18];
		out[n++] = b64_chars[v >> 12 & 63];
		out[n++] = i + 1 < len ? b64_chars[v >> 6 & 63] : '=';
		out[n++] = '=';
	}
	out[n] = '\0';
	return n;
}

#define NO 0x80 /* no value: above all others, also when several are or-ed */

/* What a byte stands for. */
/* clang-format off */
static const uint8_t b64_values[256] = {
	NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
	NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
	NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 62, NO, NO, NO, 63,
	52, 53, 54, 55, 56, 57, 58, 59, 60, 61, NO, NO, NO, NO, NO, NO,
	NO,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
	15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, NO, NO, NO, NO, NO,
	NO, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
	41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, NO, NO, NO, NO, NO,
	[128 ... 255] = NO,
};
/* clang-format on */

static inline uint8_t
b64_value(char c)
{
	return b64_values[(unsigned char)c];
}

/* Four characters that are not at the end.  False: one is none of base64. */
static inline bool
b64_four(const char *t, uint8_t *o)
{
	uint8_t a = b64_value(t[0]), b = b64_value(t[1]), c = b64_value(t[2]),
		d = b64_value(t[3]);

	o[0] = (uint8_t)(a << 2 | b >> 4);
	o[1] = (uint8_t)(b << 4 | c >> 2);
	o[2] = (uint8_t)(c << 6 | d);
	return ((a | b | c | d) & NO) == 0;
}

ssize_t
base64_decode(void *out, size_t size, struct slice t)
{
	uint8_t *o = out;
	size_t pad = 0, n = 0, i = 0, chars;
	uint32_t v = 0;
	unsigned bits = 0;

	if (t.len == 0 || t.len % 4 != 0)
		return -EINVAL;
	while (pad < 2 && t.p[t.len - 1 - pad] == '=')
		pad++;
	chars = t.len - pad;
	if (t.len / 4 * 3 - pad > size)
		return -ENOBUFS;
	for (; chars - i >= 4; i += 4, n += 3)
		if (!b64_four(t.p + i, o + n))
			return -EINVAL;
	for (; i < chars; i++) {
		uint8_t d = b64_value(t.p[i]);

		if (d == NO)
			return -EINVAL;
		v = v << 6 | d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			o[n++] = (uint8_t)(v >> bits);
		}
	}
	if ((v & ((1U << bits) - 1)) != 0)
		return -EINVAL;
	return (ssize_t)n;
}
