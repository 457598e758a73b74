/*
 * Purpose: find and judge the head of the next request.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: the client's block.
 * Failure: a refusal with its reason.
 */
#include "worker/relay/client_priv.h"

#include <errno.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/local.h"

static void
client_on_head(struct client *c, size_t len)
{
	const struct conf *conf = &c->w->c->conf;
	const struct http_limits lim = {
	    .fields_max = (size_t)conf->header_count_max,
	    .head_max = (size_t)conf->head_bytes_max,
	    .auth_max = (size_t)conf->auth_bytes_max,
	    .body_max = (uint64_t)conf->body_bytes_max,
	};
	struct exchange *x = exchange_new(c->w);
	enum reason why;

	if (x == NULL) {
		client_end(c, REASON_NOMEM);
		return;
	}
	c->x = x;
	x->t_start = c->t_head;
	stat_add(c->w->row, STAT_requests, 1);
	why = http_parse_req(&x->req, c->block + c->rpos, len, &lim);
	x->body_start = c->rpos + len;
	x->held = true;
	client_body_init(c);
	x->soap = http_req_is_soap(&x->req);
	str_cut(x->path, sizeof(x->path), x->req.target);
	if (why != REASON_OK) {
		client_refuse(c, why, NULL);
		return;
	}
	if (x->req.intermediary && !c->shared)
		auth_on_intermediary(c);
	local_dispatch(c);
}

/* A refusal before there is a request to refuse. */
void
client_refuse_head(struct client *c, enum reason why)
{
	c->x = exchange_new(c->w);
	if (c->x == NULL) {
		client_end(c, REASON_NOMEM);
		return;
	}
	c->x->t_start = c->t_head;
	c->x->body_done = true;
	c->x->cursor = c->wpos;
	stat_add(c->w->row, STAT_requests, 1);
	client_refuse(c, why, NULL);
}

/* Looks for a head in the block; false: wait for more. */
static bool
client_try_head(struct client *c)
{
	size_t have = c->wpos - c->rpos, len = 0;

	if (have == 0)
		return false;
	if (c->state == CLIENT_IDLE) {
		if (!http_empty_line(c->block + c->rpos, have, &len))
			return false;
		c->rpos += len;
		have -= len;
		c->t_head = clock_turn_ns();
		c->scan = (struct http_scan){0};
		client_enter(c, CLIENT_HEAD);
	}
	switch (http_scan(&c->scan, c->block + c->rpos, have, &len)) {
	case HTTP_DONE:
		client_on_head(c, len);
		return true;
	case HTTP_BAD_LINE:
		client_refuse_head(c, REASON_BAD_LINE_END);
		return true;
	case HTTP_MORE:
		break;
	}
	if (have > client_head_max(c)) {
		client_refuse_head(c, c->scan.line == 0
					  ? REASON_TARGET_TOO_LONG
					  : REASON_HEAD_TOO_LARGE);
		return true;
	}
	return false;
}

/* Room for the rest of a head; false: the request is refused. */
static bool
client_head_room(struct client *c)
{
	int rc;

	if (c->block == NULL || c->wpos < c->size)
		return true;
	if (c->rpos > 0) {
		client_block_compact(c);
		return true;
	}
	rc = client_block_grow(c);
	if (rc == 0)
		return true;
	client_refuse_head(c, rc == -ENOMEM ? REASON_NOMEM
					    : REASON_HEAD_TOO_LARGE);
	return false;
}

bool
client_run_head(struct client *c)
{
	enum io_result r;

	if (wire_blocked(&c->wire)) {
		client_owe(c);
		return false;
	}
	if (c->owes)
		client_enter(c, c->state); /* its own time again */
	if (client_try_head(c))
		return true;
	if (!client_head_room(c))
		return false;
	r = client_fill(c);
	if (r == IO_OK)
		return true;
	if (r == IO_AGAIN) {
		if (c->wpos == c->rpos)
			client_block_drop(c);
		return false;
	}
	if (r == IO_FAIL && c->block == NULL) {
		client_end(c, REASON_NOMEM);
		return false;
	}
	client_end(c, r == IO_EOF ? REASON_CLIENT_CLOSED : REASON_CLIENT_IO);
	return false;
}
