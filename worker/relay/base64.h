/*
 * base64: RFC 4648 section 4, strict: no line breaks, right padding, and no
 * stray bits in the last character.
 */
#ifndef RMS_BASE64_H
#define RMS_BASE64_H

#include <sys/types.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* out has room for BASE64_LEN(len) + 1; its length, NUL-terminated. */
size_t base64_encode(char *out, const void *data, size_t len);
/* Bytes written, -EINVAL, or -ENOBUFS when size is too small. */
MUST_USE ssize_t base64_decode(void *out, size_t size, struct slice text);

#endif
