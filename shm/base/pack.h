/*
 * pack: fields into and out of the body of a message, without casts.
 *
 * A body is a run of fields in an order that both sides know: integers in
 * little-endian, strings and blobs as u32 length + bytes.  The reader is
 * sticky: after the first field that does not fit every later one reads as
 * zero or empty, and unpack_done() tells.  So a receiver reads all fields and
 * checks once.
 */
#ifndef RMS_PACK_H
#define RMS_PACK_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

struct pack {
	uint8_t *p;
	size_t len;
	size_t size;
	bool full; /* a field did not fit: the message must not be sent */
};

void pack_init(struct pack *k, void *mem, size_t size);
void pack_u8(struct pack *k, uint8_t v);
void pack_u16(struct pack *k, uint16_t v);
void pack_u32(struct pack *k, uint32_t v);
void pack_u64(struct pack *k, uint64_t v);
void pack_blob(struct pack *k, const void *data, size_t len);
/* Without a length: for what tells its own. */
void pack_bytes(struct pack *k, const void *data, size_t len);
/* NULL travels as the empty string. */
void pack_str(struct pack *k, const char *s);
void pack_slice(struct pack *k, struct slice s);

struct unpack {
	const uint8_t *p;
	size_t len;
	bool bad;
};

void unpack_init(struct unpack *u, const void *data, size_t len);
uint8_t unpack_u8(struct unpack *u);
uint16_t unpack_u16(struct unpack *u);
uint32_t unpack_u32(struct unpack *u);
uint64_t unpack_u64(struct unpack *u);
/* Borrows from the message. */
struct slice unpack_slice(struct unpack *u);
/* Copies a string with a NUL; bad when it does not fit or holds a NUL. */
void unpack_str(struct unpack *u, char *dst, size_t size);
/* True when every field was there and nothing is left over. */
MUST_USE bool unpack_done(const struct unpack *u);

#endif
