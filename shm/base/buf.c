/*
 * Purpose: a byte queue that cannot grow past its bound.
 *
 * Runs in: every process.
 * Trusts:  nobody.
 * Touches: the heap.
 * Failure: -ENOBUFS at the bound, -ENOMEM without memory, b unchanged.
 */
#include "shm/base/buf.h"

#include <errno.h>

#include "shm/base/log.h"
#include "shm/base/str.h"

static void
buf_check(const struct buf *b)
{
	BUG_ON(b->rpos > b->wpos || b->wpos > b->size || b->size > b->max);
	BUG_ON((b->data == NULL) != (b->size == 0));
}

void
buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void
buf_fini(struct buf *b, int secret)
{
	buf_check(b);
	if (secret)
		str_wipe(b->data, b->size);
	free(b->data);
	*b = (struct buf){.max = b->max};
}

int
buf_room(struct buf *b, size_t len, uint8_t **room_r)
{
	size_t used, want;
	uint8_t *p;

	buf_check(b);
	used = b->wpos - b->rpos;
	if (len > b->max - used)
		return -ENOBUFS;
	if (b->size - b->wpos < len && b->rpos > 0) {
		memmove(b->data, b->data + b->rpos, used);
		b->rpos = 0;
		b->wpos = used;
	}
	if (b->size - b->wpos < len) {
		want = MAX(b->size * 2, (size_t)256);
		want = MIN(MAX(want, used + len), b->max);
		p = realloc(b->data, want);
		if (p == NULL)
			return -ENOMEM;
		b->data = p;
		b->size = want;
	}
	*room_r = b->data == NULL ? NULL : b->data + b->wpos;
	return 0;
}

void
buf_add(struct buf *b, size_t len)
{
	BUG_ON(len > b->size - b->wpos);
	b->wpos += len;
}

int
buf_put(struct buf *b, const void *data, size_t len)
{
	uint8_t *room;
	int r = buf_room(b, len, &room);

	if (r != 0)
		return r;
	if (len > 0)
		memcpy(room, data, len);
	buf_add(b, len);
	return 0;
}

size_t
buf_len(const struct buf *b)
{
	return b->wpos - b->rpos;
}

const uint8_t *
buf_peek(const struct buf *b, size_t *len_r)
{
	*len_r = b->wpos - b->rpos;
	return *len_r == 0 ? NULL : b->data + b->rpos;
}

void
buf_drain(struct buf *b, size_t len)
{
	BUG_ON(len > b->wpos - b->rpos);
	b->rpos += len;
	if (b->rpos == b->wpos)
		b->rpos = b->wpos = 0;
}
