/*
 * buf: a growable byte queue with a hard upper bound.
 *
 * Invariants, checked at entry:
 *	rpos <= wpos <= size <= max
 *	data == NULL exactly when size == 0
 */
#ifndef RMS_BUF_H
#define RMS_BUF_H

#include "shm/base/bug.h"

struct buf {
	uint8_t *data;
	size_t rpos;
	size_t wpos;
	size_t size;
	size_t max;
};

/* Allocates nothing yet. */
void buf_init(struct buf *b, size_t max);
/* Wipes when `secret`, frees; b may be used again. */
void buf_fini(struct buf *b, int secret);

/* Appends a copy of len bytes.  0, or -ENOBUFS / -ENOMEM with b unchanged. */
MUST_USE int buf_put(struct buf *b, const void *data, size_t len);

/*
 * Room for len more bytes; *room_r points at it until the next call.  Follow
 * with buf_add() for what was written.  0, -ENOBUFS or -ENOMEM.
 */
MUST_USE int buf_room(struct buf *b, size_t len, uint8_t **room_r);
void buf_add(struct buf *b, size_t len);

/* Unread bytes. */
size_t buf_len(const struct buf *b);
/* Borrowed view, valid until the next call that takes a non-const b; NULL when
 * *len_r is 0. */
const uint8_t *buf_peek(const struct buf *b, size_t *len_r);
/* Drops len bytes from the front; len <= buf_len(). */
void buf_drain(struct buf *b, size_t len);

#endif
