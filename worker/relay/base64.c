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

static int
b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

ssize_t
base64_decode(void *out, size_t size, struct slice t)
{
	uint8_t *o = out;
	size_t pad = 0, n = 0, chars;
	uint32_t v = 0;
	unsigned bits = 0;

	if (t.len == 0 || t.len % 4 != 0)
		return -EINVAL;
	while (pad < 2 && t.p[t.len - 1 - pad] == '=')
		pad++;
	chars = t.len - pad;
	if (t.len / 4 * 3 - pad > size)
		return -ENOBUFS;
	for (size_t i = 0; i < chars; i++) {
		int d = b64_value(t.p[i]);

		if (d < 0)
			return -EINVAL;
		v = v << 6 | (uint32_t)d;
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
