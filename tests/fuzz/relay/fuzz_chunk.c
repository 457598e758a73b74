/*
 * Any chunked body, in any pieces: the same bytes and the same end, and what
 * is written anew from it reads back as the same body.  The first byte
 * chooses the cuts.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "shm/base/str.h"
#include "worker/relay/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct decoded {
	enum chunk_result end;
	size_t used;
	struct sbuf body;  /* the bytes */
	struct sbuf again; /* the same, chunked by us */
};

static void
decode_run(struct decoded *d, const char *p, size_t n)
{
	char head[CHUNK_HEAD_MAX];

	BUG_ON(n == 0);
	sbuf_put(&d->body, p, n);
	sbuf_put(&d->again, head, chunk_head(head, n));
	sbuf_put(&d->again, p, n);
	sbuf_put(&d->again, "\r\n", 2);
}

/* One piece of the input, in memory of its own: a read beyond it is seen. */
static void
decode_piece(struct decoded *d, struct chunk *c, const char *p, size_t len)
{
	char *copy = malloc(len + 1);
	size_t at = 0;

	BUG_ON(copy == NULL);
	memcpy(copy, p, len);
	do {
		const char *run = NULL;
		size_t used = 0, n = 0;

		d->end = chunk_read(c, copy + at, len - at, &used, &run, &n);
		BUG_ON(used > len - at);
		if (d->end == CHUNK_DATA) {
			BUG_ON(run < copy + at || run + n != copy + at + used);
			decode_run(d, run, n);
		}
		at += used;
	} while (d->end == CHUNK_DATA);
	BUG_ON(d->end == CHUNK_MORE && at != len);
	d->used += at;
	free(copy);
}

/* Pieces of `step` bytes, or one. */
static void
decode(struct decoded *d, const char *p, size_t len, size_t step)
{
	struct chunk c = {0};
	size_t room = len * 8 + 64;
	char *a = malloc(room), *b = malloc(room);

	BUG_ON(a == NULL || b == NULL);
	*d = (struct decoded){.end = CHUNK_MORE};
	sbuf_init(&d->body, a, room);
	sbuf_init(&d->again, b, room);
	for (size_t at = 0; at < len && d->end == CHUNK_MORE;) {
		size_t n = MIN(step, len - at);

		decode_piece(d, &c, p + at, n);
		at += n;
	}
	BUG_ON(d->body.cut || d->again.cut);
	if (d->end == CHUNK_END)
		sbuf_str(&d->again, "0\r\n\r\n");
}

static void
decoded_free(struct decoded *d)
{
	free(d->body.p);
	free(d->again.p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct decoded one, two, three;
	const char *p = (const char *)data + 1;

	if (size < 2 || size > 20000)
		return 0;
	decode(&one, p, size - 1, size);
	decode(&two, p, size - 1, (size_t)data[0] % 64 + 1);
	BUG_ON(one.end != two.end || one.used != two.used);
	BUG_ON(one.body.len != two.body.len ||
	       memcmp(one.body.p, two.body.p, one.body.len) != 0);
	BUG_ON(one.body.len > one.used);
	if (one.end == CHUNK_END) {
		decode(&three, one.again.p, one.again.len, 1000);
		BUG_ON(three.end != CHUNK_END || three.used != one.again.len ||
		       three.body.len != one.body.len ||
		       memcmp(three.body.p, one.body.p, one.body.len) != 0);
		decoded_free(&three);
	}
	decoded_free(&one);
	decoded_free(&two);
	return 0;
}
