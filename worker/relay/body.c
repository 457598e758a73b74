/*
 * Purpose: a client's bytes: the block that they are read into, and the runs
 *          of the request's body in it.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: blocks of the worker, the client's wire.
 * Failure: -ENOMEM, IO_FAIL; the caller ends the client.
 */
#include "worker/relay/client_priv.h"

#include <errno.h>

#include "shm/base/log.h"

void
client_block_drop(struct client *c)
{
	if (c->block == NULL)
		return;
	if (c->size == RELAY_BLOCK)
		relay_block_give(c->w, c->block);
	else
		free(c->block);
	c->block = NULL;
	c->size = c->rpos = c->wpos = 0;
}

/* A head may be larger than a block: up to both bounds together. */
size_t
client_head_max(const struct client *c)
{
	const struct conf *conf = &c->w->c->conf;

	return (size_t)conf->head_bytes_max + (size_t)conf->auth_bytes_max;
}

int
client_block_grow(struct client *c)
{
	size_t size = client_head_max(c) + 1;
	char *p;

	if (c->size >= size)
		return -ENOBUFS;
	p = malloc(size);
	if (p == NULL)
		return -ENOMEM;
	memcpy(p, c->block, c->wpos);
	relay_block_give(c->w, c->block);
	c->block = p;
	c->size = size;
	return 0;
}

/* Makes room at the end of the block: what was looked at goes. */
void
client_block_compact(struct client *c)
{
	size_t from = c->x != NULL ? c->x->cursor : c->rpos;

	if (c->x != NULL)
		c->x->held = false;
	memmove(c->block, c->block + from, c->wpos - from);
	c->wpos -= from;
	c->rpos = 0;
	if (c->x != NULL)
		c->x->cursor = 0;
}

enum io_result
client_fill(struct client *c)
{
	enum io_result r = IO_AGAIN;
	bool some = false;
	size_t n;

	if (c->block == NULL) {
		c->block = relay_block_take(c->w);
		if (c->block == NULL)
			return IO_FAIL;
		c->size = RELAY_BLOCK;
		c->rpos = c->wpos = 0;
	}
	if (c->wpos == c->size && (c->x == NULL ? c->rpos : c->x->cursor) > 0)
		client_block_compact(c);
	while (c->wpos < c->size) {
		r = wire_read(&c->wire, c->block + c->wpos, c->size - c->wpos,
			      &n);
		if (r != IO_OK)
			break;
		c->wpos += n;
		some = true;
	}
	if (r == IO_EOF)
		c->eof = true;
	if (some)
		return IO_OK; /* an end or a failure shows itself again */
	return r;
}

/* ---- the request's body ---------------------------------------------- */

static enum body_result
client_body_chunk(struct client *c, const char **data_r, size_t *n_r)
{
	struct exchange *x = c->x;
	size_t used = 0;
	enum chunk_result r;

	r = chunk_read(&x->chunk, c->block + x->cursor, c->wpos - x->cursor,
		       &used, data_r, n_r);
	x->cursor += used;
	if (r == CHUNK_BAD)
		return BODY_BAD;
	if (r == CHUNK_MORE)
		return BODY_NEED;
	if (r == CHUNK_END) {
		x->body_done = true;
		return BODY_END;
	}
	return BODY_RUN;
}

enum body_result
client_body_next(struct client *c, const char **data_r, size_t *n_r)
{
	struct exchange *x = c->x;
	enum body_result r = BODY_RUN;

	if (x->body_done)
		return BODY_END;
	if (c->block == NULL || x->cursor == c->wpos)
		return BODY_NEED;
	if (x->req.framing == HTTP_CHUNKED) {
		r = client_body_chunk(c, data_r, n_r);
	} else {
		*data_r = c->block + x->cursor;
		*n_r = (size_t)MIN((uint64_t)(c->wpos - x->cursor), x->left);
		x->cursor += *n_r;
		x->left -= *n_r;
		x->body_done = x->left == 0;
	}
	if (r == BODY_RUN) {
		x->bytes_in += *n_r;
		if (x->bytes_in > (uint64_t)c->w->c->conf.body_bytes_max)
			return BODY_LARGE;
	}
	return r;
}

void
client_body_init(struct client *c)
{
	struct exchange *x = c->x;

	x->cursor = x->body_start;
	x->left = x->req.length;
	x->body_done = x->req.framing == HTTP_NO_BODY;
	x->chunk = (struct chunk){0};
	x->bytes_in = 0;
}

void
client_body_rewind(struct client *c)
{
	BUG_ON(!c->x->held);
	client_body_init(c);
	operation_rewind(c->x);
	c->x->head_sent = false;
	c->x->last_chunk_sent = false;
}

void
client_continue(struct client *c)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct exchange *x = c->x;

	if (!x->req.expect_continue || x->continued || x->reply_started)
		return;
	x->continued = true;
	/* RFC 9110 10.1.1: not needed when body bytes are here already */
	if (c->block != NULL && c->wpos > x->cursor)
		return;
	if (wire_write(&c->wire, text, sizeof(text) - 1) != IO_OK ||
	    wire_flush(&c->wire) != IO_OK)
		c->wire.failed = true;
}
