/*
 * str: text with known bounds.
 *
 * struct slice is a borrowed run of bytes, never NUL-terminated.  struct sbuf
 * writes text into memory of its caller and remembers whether it fitted; what
 * did not fit is dropped whole piece by whole piece and `cut` is set, and the
 * text is always NUL-terminated.
 */
#ifndef RMS_STR_H
#define RMS_STR_H

#include <stdbool.h>
#include <string.h>

#include "shm/base/bug.h"

struct slice {
	const char *p;
	size_t len;
};

#define SLICE_LIT(s) ((struct slice){(s), sizeof(s) - 1})

static inline struct slice
slice_of(const char *s)
{
	return (struct slice){s, s == NULL ? 0 : strlen(s)};
}

/* Byte-wise, and without regard to ASCII case. */
bool slice_eq(struct slice a, struct slice b);
bool slice_ieq(struct slice a, struct slice b);

/* The same with text: a literal's length is known when compiled. */
static inline bool
slice_is(struct slice a, const char *s)
{
	struct slice b = slice_of(s);

	return a.len == b.len && slice_eq(a, b);
}

static inline bool
slice_iis(struct slice a, const char *s)
{
	struct slice b = slice_of(s);

	return a.len == b.len && slice_ieq(a, b);
}

/* ASCII only: locale does not matter. */
static inline char
ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/*
 * Decimal digits only, no sign, no space, at least one digit.
 * 0, -EINVAL, or -ERANGE above max.
 */
MUST_USE int str_u64(struct slice s, uint64_t max, uint64_t *value_r);

/* Copies s into dst with a NUL.  0, or -ENAMETOOLONG with dst empty. */
MUST_USE int str_copy(char *dst, size_t size, struct slice s);
/* Copies as much of s as fits, with a NUL. */
void str_cut(char *dst, size_t size, struct slice s);

/* Overwrites memory that held a secret; the compiler cannot drop it. */
void str_wipe(void *p, size_t len);

struct sbuf {
	char *p;
	size_t len;
	size_t size;
	bool cut;
};

/* size >= 1. */
void sbuf_init(struct sbuf *b, char *mem, size_t size);
void sbuf_put(struct sbuf *b, const void *data, size_t len);
void sbuf_str(struct sbuf *b, const char *s);
void sbuf_slice(struct sbuf *b, struct slice s);
void sbuf_char(struct sbuf *b, char c);
void sbuf_u64(struct sbuf *b, uint64_t v);
/* Lower case, with zeros in front up to that many digits. */
void sbuf_hex(struct sbuf *b, uint64_t v, size_t digits);
PRINTF(2, 3) void sbuf_fmt(struct sbuf *b, const char *fmt, ...);

#endif
