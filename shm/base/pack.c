/*
 * Purpose: encode and decode message bodies.
 *
 * Runs in: every process.
 * Trusts:  nobody: a body may come from a process that was taken over.
 * Touches: memory of its callers.
 * Failure: sticky flags, `full` when writing and `bad` when reading.
 */
#include "shm/base/pack.h"

#include "shm/base/log.h"

void
pack_init(struct pack *k, void *mem, size_t size)
{
	*k = (struct pack){.p = mem, .size = size};
}

void
pack_bytes(struct pack *k, const void *data, size_t len)
{
	if (k->full || len > k->size - k->len) {
		k->full = true;
		return;
	}
	if (len > 0)
		memcpy(k->p + k->len, data, len);
	k->len += len;
}

static void
pack_int(struct pack *k, uint64_t v, size_t bytes)
{
	uint8_t t[8];

	for (size_t i = 0; i < bytes; i++)
		t[i] = (uint8_t)(v >> (8 * i));
	pack_bytes(k, t, bytes);
}

void
pack_u8(struct pack *k, uint8_t v)
{
	pack_int(k, v, 1);
}

void
pack_u16(struct pack *k, uint16_t v)
{
	pack_int(k, v, 2);
}

void
pack_u32(struct pack *k, uint32_t v)
{
	pack_int(k, v, 4);
}

void
pack_u64(struct pack *k, uint64_t v)
{
	pack_int(k, v, 8);
}

void
pack_blob(struct pack *k, const void *data, size_t len)
{
	if (len > UINT32_MAX) {
		k->full = true;
		return;
	}
	pack_u32(k, (uint32_t)len);
	pack_bytes(k, data, len);
}

void
pack_str(struct pack *k, const char *s)
{
	pack_slice(k, slice_of(s));
}

void
pack_slice(struct pack *k, struct slice s)
{
	pack_blob(k, s.p, s.len);
}

void
unpack_init(struct unpack *u, const void *data, size_t len)
{
	*u = (struct unpack){.p = data, .len = len};
}

static uint64_t
unpack_int(struct unpack *u, size_t bytes)
{
	uint64_t v = 0;

	if (u->bad || u->len < bytes) {
		u->bad = true;
		return 0;
	}
	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)u->p[i] << (8 * i);
	u->p += bytes;
	u->len -= bytes;
	return v;
}

uint8_t
unpack_u8(struct unpack *u)
{
	return (uint8_t)unpack_int(u, 1);
}

uint16_t
unpack_u16(struct unpack *u)
{
	return (uint16_t)unpack_int(u, 2);
}

uint32_t
unpack_u32(struct unpack *u)
{
	return (uint32_t)unpack_int(u, 4);
}

uint64_t
unpack_u64(struct unpack *u)
{
	return unpack_int(u, 8);
}

struct slice
unpack_slice(struct unpack *u)
{
	size_t len = unpack_u32(u);
	struct slice s = {"", 0};

	if (u->bad || len > u->len) {
		u->bad = true;
		return s;
	}
	if (len > 0)
		s = (struct slice){(const char *)u->p, len};
	u->p += len;
	u->len -= len;
	return s;
}

void
unpack_str(struct unpack *u, char *dst, size_t size)
{
	struct slice s = unpack_slice(u);

	dst[0] = '\0';
	if (u->bad || memchr(s.p, '\0', s.len) != NULL ||
	    str_copy(dst, size, s) != 0)
		u->bad = true;
}

bool
unpack_done(const struct unpack *u)
{
	return !u->bad && u->len == 0;
}
