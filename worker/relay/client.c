/*
 * Purpose: the life of a connection from a server: accept, handshake, heads,
 *          bodies, and its one end.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: the client's socket, blocks of the worker.
 * Failure: client_end() with a reason; nothing else suffers.
 */
#include "worker/relay/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/alog.h"
#include "worker/relay/local.h"
#include "worker/relay/reply.h"
#include "worker/relay/tell.h"
#include "worker/relay/upstream.h"

#define CLIENT_ACCEPT_BATCH 16
#define CLIENT_READ_TURNS   8 /* blocks read in one handler: fairness */

/* Freed exchanges, for the next requests. */
#define EXCHANGE_SPARE_MAX 64
static struct exchange *exchange_spare;
static size_t exchange_nspare;

static void client_on_event(void *arg);
static void client_on_timer(void *arg);

/* ---- exchanges ------------------------------------------------------- */

static struct exchange *
exchange_new(struct relay *w)
{
	struct exchange *x = exchange_spare;

	if (x != NULL) {
		exchange_spare = x->next_free;
		exchange_nspare--;
	} else if ((x = malloc(sizeof(*x))) == NULL) {
		return NULL;
	}
	/* req is cleared by its parser, up to the fields it fills */
	memset(x, 0, offsetof(struct exchange, req));
	memset(&x->req, 0, offsetof(struct http_req, field));
	snprintf(x->id, sizeof(x->id), "%016llx-%llx",
		 (unsigned long long)w->boot_id,
		 (unsigned long long)++w->next_id);
	w->nexchanges++;
	stat_add(w->row, STAT_requests_open, 1);
	return x;
}

static void
exchange_count(struct relay *w, const struct exchange *x)
{
	if (x->status >= 200 && x->status < 300)
		stat_add(w->row, STAT_status_2xx, 1);
	else if (x->status >= 400 && x->status < 500)
		stat_add(w->row, STAT_status_4xx, 1);
	else if (x->status >= 500)
		stat_add(w->row, STAT_status_5xx, 1);
	stat_add(w->row, STAT_bytes_in, x->bytes_in);
	stat_add(w->row, STAT_bytes_out, x->bytes_out);
	stat_sub(w->row, STAT_requests_open, 1);
}

/* The request is over in every respect. */
static void
exchange_end(struct client *c)
{
	struct exchange *x = c->x;
	struct relay *w = c->w;

	if (x == NULL)
		return;
	if (x->t_reply_end == 0)
		x->t_reply_end = clock_mono_ns();
	if (x->up != NULL)
		upstream_drop(&x->up);
	upstream_cancel(c);
	alog_write(w->alog, c);
	exchange_count(w, x);
	if (x->ident_owned)
		identity_free(&x->ident);
	free(x->auth_out);
	c->x = NULL;
	w->nexchanges--;
	if (exchange_nspare >= EXCHANGE_SPARE_MAX) {
		free(x);
		return;
	}
	x->next_free = exchange_spare;
	exchange_spare = x;
	exchange_nspare++;
}

/* ---- the block ------------------------------------------------------- */

static void
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
static size_t
client_head_max(const struct client *c)
{
	const struct conf *conf = &c->w->c->conf;

	return (size_t)conf->head_bytes_max + (size_t)conf->auth_bytes_max;
}

static int
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
static void
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

static void
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

/* ---- states ---------------------------------------------------------- */

static uint64_t
client_state_ms(const struct client *c, enum client_state s)
{
	const struct conf *conf = &c->w->c->conf;

	switch (s) {
	case CLIENT_TLS:
		return (uint64_t)conf->tls_timeout_ms;
	case CLIENT_IDLE:
		return (uint64_t)conf->idle_timeout_ms;
	case CLIENT_HEAD:
		return (uint64_t)conf->head_timeout_ms;
	case CLIENT_AUTH:
		return (uint64_t)conf->auth_timeout_ms;
	case CLIENT_TOKEN:
		return (uint64_t)conf->token_wait_ms;
	case CLIENT_DRAIN:
		return (uint64_t)conf->body_timeout_ms;
	case CLIENT_LINGER:
		return CLIENT_LINGER_MS;
	case CLIENT_CONNECT: /* upstream.c has its own */
	case CLIENT_RELAY:   /* forward.c sets it by what it waits for */
	case CLIENT_CLOSED:
		break;
	}
	return 0;
}

void
client_enter(struct client *c, enum client_state s)
{
	BUG_ON(c->state == CLIENT_CLOSED);
	c->state = s;
	loop_timer_set(c->timer, client_state_ms(c, s));
	if (s == CLIENT_IDLE && c->wpos == c->rpos)
		client_block_drop(c);
}

static void
client_free(void *arg)
{
	struct client *c = arg;

	client_block_drop(c);
	loop_timer_free(&c->timer);
	free(c);
}

/* The reply broke off: its end must not look like a good one to a client
 * that reads up to the end of the connection.  RST, and no close_notify. */
static void
client_cut(struct client *c)
{
	const struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(c->wire.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	c->wire.failed = true;
}

void
client_end(struct client *c, enum reason why)
{
	struct relay *w = c->w;

	if (c->state == CLIENT_CLOSED)
		return;
	auth_abort(c);
	if (c->x != NULL) {
		if (c->x->reason == REASON_OK) {
			c->x->reason = why;
			tell_failure(c, why, NULL);
		}
		if (c->x->reply_started && !c->x->reply_done)
			client_cut(c);
		exchange_end(c);
	}
	log_debug("client %s ends: %s", c->address, reason_row(why)->name);
	c->state = CLIENT_CLOSED;
	loop_timer_set(c->timer, 0);
	wire_fini(&c->wire);
	identity_free(&c->ident);
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		w->clients = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	w->nclients--;
	stat_sub(w->row, STAT_conns_open, 1);
	loop_defer(w->loop, &c->cell, client_free, c);
	if (w->draining && w->nclients == 0)
		loop_stop(w->loop, 0);
}

/* While bytes of ours wait, the client has as long as for any reply. */
static void
client_linger_timer(struct client *c)
{
	loop_timer_set(c->timer, wire_blocked(&c->wire)
				     ? (uint64_t)c->w->c->conf.write_timeout_ms
				     : CLIENT_LINGER_MS);
}

/* Own bytes are out; let the peer read them before the close (RFC 9112 9.6) */
static void
client_linger(struct client *c)
{
	wire_shutdown(&c->wire);
	client_block_drop(c);
	if (c->wire.failed || (c->eof && !wire_blocked(&c->wire))) {
		client_end(c, REASON_OK);
		return;
	}
	client_enter(c, CLIENT_LINGER);
	client_linger_timer(c);
}

static void
client_next(struct client *c)
{
	bool close_after = c->x->close_after || c->w->draining;

	c->rpos = c->x->cursor;
	exchange_end(c);
	if (c->rpos > c->wpos || c->block == NULL)
		c->rpos = c->wpos;
	if (close_after) {
		client_linger(c);
		return;
	}
	c->scan = (struct http_scan){0};
	client_enter(c, CLIENT_IDLE);
}

void
client_finish(struct client *c, enum reason why)
{
	struct exchange *x = c->x;

	x->reason = why;
	if (x->t_reply_end == 0)
		x->t_reply_end = clock_mono_ns();
	x->reply_done = true;
	if (c->wire.failed) {
		client_end(c, REASON_CLIENT_IO);
		return;
	}
	if (!x->close_after && !x->body_done) {
		c->discard = (uint64_t)c->w->c->conf.drain_bytes_max;
		client_enter(c, CLIENT_DRAIN);
		return;
	}
	client_next(c);
}

/* Refusals after which the framing of the connection is not in doubt. */
static const bool client_keeps[REASON_MAX] = {
    [REASON_AUTH_REQUIRED] = true,   [REASON_AUTH_CONTINUE] = true,
    [REASON_AUTH_FAILED] = true,     [REASON_AUTH_BUSY] = true,
    [REASON_AUTH_DOWN] = true,	     [REASON_AUTH_TIMEOUT] = true,
    [REASON_AUTH_DENIED] = true,     [REASON_AUTH_EXPIRED] = true,
    [REASON_TABLE_EMPTY] = true,     [REASON_NO_TABLE] = true,
    [REASON_NO_TENANT] = true,	     [REASON_NO_CREDENTIAL] = true,
    [REASON_NO_TOKEN] = true,	     [REASON_NO_ADDRESS] = true,
    [REASON_NOT_FOUND] = true,	     [REASON_METHOD] = true,
    [REASON_CLOUD_CONNECT] = true,   [REASON_CLOUD_CONNECT_SLOW] = true,
    [REASON_CLOUD_TLS] = true,	     [REASON_CLOUD_CERT] = true,
    [REASON_CLOUD_IO] = true,	     [REASON_CLOUD_CLOSED] = true,
    [REASON_CLOUD_SLOW] = true,	     [REASON_CLOUD_SLOW_BODY] = true,
    [REASON_CLOUD_BAD_REPLY] = true, [REASON_CLOUD_UNAUTHORIZED] = true,
};

/* May the connection go on after a refusal?  Not when the framing is in
 * doubt, and not when more must be thrown away than the bound. */
static bool
client_may_keep(const struct client *c, enum reason why)
{
	const struct exchange *x = c->x;
	uint64_t max = (uint64_t)c->w->c->conf.drain_bytes_max;

	if (!client_keeps[why])
		return false;
	if (!x->req.keep_alive || c->w->draining)
		return false;
	if (x->body_done)
		return true;
	/* the client may or may not send what it only announced */
	if (x->req.expect_continue && !x->continued && c->wpos == x->cursor)
		return false;
	return x->req.framing == HTTP_CHUNKED || x->left <= max;
}

void
client_refuse(struct client *c, enum reason why, const char *detail)
{
	struct exchange *x = c->x;
	bool keep;

	if (x == NULL || x->reply_started) {
		client_end(c, why);
		return;
	}
	if (x->up != NULL)
		upstream_drop(&x->up);
	upstream_cancel(c);
	if (c->state == CLIENT_AUTH && !c->auth_pending)
		auth_abort(c);
	tell_failure(c, why, detail);
	keep = client_may_keep(c, why);
	x->close_after = !keep;
	reply_refuse(c, why, detail, keep);
	client_finish(c, why);
}

/* ---- heads ----------------------------------------------------------- */

static bool
client_is_soap(const struct http_req *r)
{
	static const char *const types[] = {"text/xml", "application/soap+xml"};

	if (r->method != HTTP_POST)
		return false;
	if (r->soap_action.p != NULL)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		size_t n = strlen(types[i]);

		if (r->content_type.len >= n &&
		    slice_iis((struct slice){r->content_type.p, n}, types[i]))
			return true;
	}
	return false;
}

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
		stat_add(c->w->row, STAT_nomem, 1);
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
	x->soap = client_is_soap(&x->req);
	if (x->req.target.p != NULL)
		snprintf(x->path, sizeof(x->path), "%.*s",
			 (int)MIN(x->req.target.len, sizeof(x->path) - 1),
			 x->req.target.p);
	if (why != REASON_OK) {
		client_refuse(c, why, NULL);
		return;
	}
	if (x->req.intermediary && !c->shared) {
		/* somebody else's requests may follow on this connection */
		c->shared = true;
		identity_free(&c->ident);
	}
	local_dispatch(c);
}

/* A refusal before there is a request to refuse. */
static void
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
		/* RFC 9112 2.2: one empty line before a request is ignored */
		if (c->block[c->rpos] == '\r') {
			if (have < 2)
				return false;
			if (c->block[c->rpos + 1] == '\n') {
				c->rpos += 2;
				have -= 2;
			}
		}
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
		client_refuse_head(c, REASON_HEAD_TOO_LARGE);
		return true;
	}
	return false;
}

/* Room for the rest of a head. */
static bool
client_head_room(struct client *c)
{
	if (c->block == NULL || c->wpos < c->size)
		return true;
	if (c->rpos > 0) {
		client_block_compact(c);
		return true;
	}
	if (client_block_grow(c) == 0)
		return true;
	client_refuse_head(c, REASON_HEAD_TOO_LARGE);
	return false;
}

static bool
client_run_head(struct client *c)
{
	enum io_result r;

	if (wire_blocked(&c->wire)) {
		loop_timer_set(c->timer,
			       (uint64_t)c->w->c->conf.write_timeout_ms);
		return false;
	}
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
	client_end(c, r == IO_EOF ? REASON_CLIENT_CLOSED : REASON_CLIENT_IO);
	return false;
}

/* ---- throwing away --------------------------------------------------- */

static bool
client_run_drain(struct client *c)
{
	const char *data;
	size_t n = 0;
	enum body_result b;
	enum io_result r;

	while ((b = client_body_next(c, &data, &n)) == BODY_RUN) {
		if (n > c->discard) {
			b = BODY_LARGE;
			break;
		}
		c->discard -= n;
	}
	if (b == BODY_BAD || b == BODY_LARGE) {
		c->x->close_after = true;
		client_next(c);
		return false;
	}
	if (b == BODY_END) {
		client_next(c);
		return true;
	}
	r = client_fill(c);
	if (r == IO_OK)
		return true;
	if (r != IO_AGAIN)
		client_end(c, c->x->reason);
	return false;
}

static bool
client_run_linger(struct client *c)
{
	enum io_result r;
	size_t n;

	if (!c->wire.shut) {
		if (!wire_blocked(&c->wire))
			wire_shutdown(&c->wire);
		client_linger_timer(c);
	}
	if (wire_blocked(&c->wire))
		return false;
	r = wire_read(&c->wire, c->w->scratch, RELAY_SCRATCH, &n);
	if (r == IO_OK)
		return true;
	if (r != IO_AGAIN)
		client_end(c, REASON_OK);
	return false;
}

/* ---- events ---------------------------------------------------------- */

static bool
client_run_tls(struct client *c)
{
	enum io_result r = wire_handshake(&c->wire);

	if (r == IO_AGAIN)
		return false;
	if (r != IO_OK) {
		stat_add(c->w->row, STAT_tls_failed, 1);
		client_end(c, REASON_CLIENT_TLS);
		return false;
	}
	if (SSL_session_reused(c->wire.ssl))
		stat_add(c->w->row, STAT_tls_resumed, 1);
	else
		stat_add(c->w->row, STAT_tls_full, 1);
	client_enter(c, CLIENT_IDLE);
	return true;
}

static bool
client_has_input(const struct client *c)
{
	return c->wpos > c->rpos || c->wire.readable ||
	       (c->wire.ssl != NULL && SSL_has_pending(c->wire.ssl));
}

void
client_run(struct client *c)
{
	int turns = CLIENT_READ_TURNS;
	bool more = true;

	while (more && turns-- > 0) {
		switch (c->state) {
		case CLIENT_TLS:
			more = client_run_tls(c);
			break;
		case CLIENT_IDLE:
		case CLIENT_HEAD:
			more = client_run_head(c);
			break;
		case CLIENT_RELAY:
			forward_pump(c);
			/* finished: the next request, or the rest of this
			 * one's body, may be here already */
			more = c->state != CLIENT_RELAY &&
			       (c->state != CLIENT_IDLE || client_has_input(c));
			break;
		case CLIENT_DRAIN:
			more = client_run_drain(c);
			break;
		case CLIENT_LINGER:
			more = client_run_linger(c);
			break;
		case CLIENT_AUTH:
		case CLIENT_CONNECT:
		case CLIENT_TOKEN:
		case CLIENT_CLOSED:
			more = false;
			break;
		}
	}
	/* out of turns: the edge will not come again, so ask for one */
	if (more && c->state != CLIENT_CLOSED)
		wire_again(&c->wire);
}

static void
client_on_event(void *arg)
{
	client_run(arg);
}

static void
client_on_timer(void *arg)
{
	struct client *c = arg;

	switch (c->state) {
	case CLIENT_TLS:
		client_end(c, REASON_CLIENT_TLS_SLOW);
		break;
	case CLIENT_IDLE:
		client_end(c, wire_blocked(&c->wire) ? REASON_CLIENT_SLOW_WRITE
						     : REASON_CLIENT_IDLE);
		break;
	case CLIENT_HEAD:
		client_refuse_head(c, REASON_CLIENT_SLOW_HEAD);
		break;
	case CLIENT_AUTH:
		client_refuse(c, REASON_AUTH_TIMEOUT, NULL);
		break;
	case CLIENT_TOKEN:
		client_refuse(c, REASON_CLOUD_UNAUTHORIZED, NULL);
		break;
	case CLIENT_RELAY:
		forward_on_timeout(c);
		break;
	case CLIENT_DRAIN:
	case CLIENT_LINGER:
		client_end(c, REASON_OK);
		break;
	case CLIENT_CONNECT:
	case CLIENT_CLOSED:
		break;
	}
	/* after a refusal its body may be here already, to be thrown away */
	if (c->state != CLIENT_CLOSED)
		client_run(c);
}

static void
client_address(struct client *c, const struct sockaddr_storage *ss)
{
	const void *a;
	int af = ss->ss_family;

	if (af == AF_INET) {
		a = &((const struct sockaddr_in *)(const void *)ss)->sin_addr;
	} else if (af == AF_INET6) {
		a = &((const struct sockaddr_in6 *)(const void *)ss)->sin6_addr;
	} else {
		c->address[0] = '\0';
		return;
	}
	if (inet_ntop(af, a, c->address, sizeof(c->address)) == NULL)
		c->address[0] = '\0';
}

static void
client_new(struct listener *l, int fd, const struct sockaddr_storage *ss)
{
	struct relay *w = l->w;
	struct client *c = calloc(1, sizeof(*c));
	int one = 1;

	if (c == NULL)
		goto nomem;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->w = w;
	snprintf(c->listener, sizeof(c->listener), "%s",
		 w->c->conf.listener[l->index].name);
	client_address(c, ss);
	c->timer = loop_timer_new(w->loop, client_on_timer, c);
	if (c->timer == NULL)
		goto nomem;
	if (wire_init(&c->wire, w, fd, l->ctx, true, client_on_event, c) != 0) {
		wire_fini(&c->wire); /* closes fd */
		loop_timer_free(&c->timer);
		free(c);
		stat_add(w->row, STAT_nomem, 1);
		return;
	}
	c->next = w->clients;
	if (w->clients != NULL)
		w->clients->prev = c;
	w->clients = c;
	w->nclients++;
	stat_add(w->row, STAT_conns_accepted, 1);
	stat_add(w->row, STAT_conns_open, 1);
	client_enter(c, l->ctx != NULL ? CLIENT_TLS : CLIENT_IDLE);
	return;
nomem:
	stat_add(w->row, STAT_nomem, 1);
	free(c);
	close(fd);
}

/* Out of descriptors or memory, or a listener that is none any more: it rests
 * until the next sweep, or this loop would spin on it. */
static void
client_accept_failed(struct listener *l, int err)
{
	if (err == EAGAIN || err == EINTR || err == ECONNABORTED)
		return;
	log_warn("accept: %s", strerror(err));
	event_del(l->ev);
	l->w->accept_paused = true;
}

void
client_accept(struct listener *l)
{
	struct relay *w = l->w;
	struct sockaddr_storage ss;

	for (int i = 0; i < CLIENT_ACCEPT_BATCH; i++) {
		socklen_t len = sizeof(ss);
		int fd = accept4(l->fd, (struct sockaddr *)&ss, &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			client_accept_failed(l, errno);
			return;
		}
		if (w->nclients >= (size_t)w->c->conf.connections_max) {
			close(fd);
			continue;
		}
		client_new(l, fd, &ss);
	}
}

void
client_drain_idle(struct relay *w)
{
	struct client *c, *next;

	for (c = w->clients; c != NULL; c = next) {
		next = c->next;
		if (c->state == CLIENT_IDLE && c->wpos == c->rpos)
			client_end(c, REASON_SHUTDOWN);
		else if (c->x != NULL && !c->x->reply_started)
			c->x->close_after = true;
	}
}
