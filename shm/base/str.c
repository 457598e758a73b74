/*
 * Purpose: bounded text.
 *
 * Runs in: every process.
 * Trusts:  nobody.
 * Touches: memory of its callers.
 * Failure: a text that does not fit is cut at a piece and says so.
 */
#include "shm/base/str.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "shm/base/log.h"

bool
slice_eq(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool
slice_ieq(struct slice a, struct slice b)
{
	size_t i = 0;

	if (a.len != b.len)
		return false;
	/* most are equal as they are */
	for (; i + 8 <= a.len && memcmp(a.p + i, b.p + i, 8) == 0; i += 8)
		;
	for (; i < a.len; i++)
		if (a.p[i] != b.p[i] &&
		    ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	return true;
}

int
str_u64(struct slice s, uint64_t max, uint64_t *value_r)
{
	uint64_t v = 0;

	if (s.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		uint64_t d = (uint64_t)(s.p[i] - '0');

		if (v > (max - d) / 10 || d > max)
			return -ERANGE;
		v = v * 10 + d;
	}
	*value_r = v;
	return 0;
}

int
str_copy(char *dst, size_t size, struct slice s)
{
	BUG_ON(size == 0);
	if (s.len >= size) {
		dst[0] = '\0';
		return -ENAMETOOLONG;
	}
	if (s.len > 0)
		memcpy(dst, s.p, s.len);
	dst[s.len] = '\0';
	return 0;
}

void
str_cut(char *dst, size_t size, struct slice s)
{
	BUG_ON(size == 0);
	s.len = MIN(s.len, size - 1);
	if (s.len > 0)
		memcpy(dst, s.p, s.len);
	dst[s.len] = '\0';
}

void
str_wipe(void *p, size_t len)
{
	if (len > 0)
		explicit_bzero(p, len);
}

void
sbuf_init(struct sbuf *b, char *mem, size_t size)
{
	BUG_ON(size == 0);
	b->p = mem;
	b->len = 0;
	b->size = size;
	b->cut = false;
	mem[0] = '\0';
}

void
sbuf_put(struct sbuf *b, const void *data, size_t len)
{
	if (len >= b->size - b->len) {
		b->cut = true;
		return;
	}
	if (len > 0)
		memcpy(b->p + b->len, data, len);
	b->len += len;
	b->p[b->len] = '\0';
}

void
sbuf_str(struct sbuf *b, const char *s)
{
	sbuf_put(b, s, strlen(s));
}

void
sbuf_slice(struct sbuf *b, struct slice s)
{
	sbuf_put(b, s.p, s.len);
}

void
sbuf_char(struct sbuf *b, char c)
{
	sbuf_put(b, &c, 1);
}

void
sbuf_u64(struct sbuf *b, uint64_t v)
{
	char t[20];
	size_t n = sizeof(t);

	do {
		t[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	sbuf_put(b, t + n, sizeof(t) - n);
}

/* The eight digits of v, as they lie in memory: a byte for each, its digit's
 * value made a character in all of them at once. */
static uint64_t
hex8(uint32_t v)
{
	uint64_t x = v, letters;

	x = (x << 16 | x) & UINT64_C(0x0000ffff0000ffff);
	x = (x << 8 | x) & UINT64_C(0x00ff00ff00ff00ff);
	x = (x << 4 | x) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	letters = (x + UINT64_C(0x0606060606060606)) >> 4 &
		  UINT64_C(0x0101010101010101);
	x += UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10);
	return htobe64(x);
}

static void
sbuf_hex16(struct sbuf *b, uint64_t v)
{
	uint64_t t[2] = {hex8((uint32_t)(v >> 32)), hex8((uint32_t)v)};
	char out[16];

	memcpy(out, t, sizeof(out));
	sbuf_put(b, out, sizeof(out));
}

void
sbuf_hex(struct sbuf *b, uint64_t v, size_t digits)
{
	char t[16];
	size_t n = sizeof(t);

	BUG_ON(digits > sizeof(t));
	if (digits == sizeof(t)) {
		sbuf_hex16(b, v);
		return;
	}
	do {
		t[--n] = "0123456789abcdef"[v & 15];
		v >>= 4;
	} while (v > 0);
	while (sizeof(t) - n < digits)
		t[--n] = '0';
	sbuf_put(b, t + n, sizeof(t) - n);
}

void
sbuf_fmt(struct sbuf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(b->p + b->len, b->size - b->len, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= b->size - b->len) {
		b->p[b->len] = '\0';
		b->cut = true;
		return;
	}
	b->len += (size_t)n;
}
