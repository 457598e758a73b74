/*
 * Purpose: the life of a connection from a server: handshake, states, events,
 *          and its one end.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: the client's socket, blocks of the worker.
 * Failure: client_end() with a reason; nothing else suffers.
 */
#include "worker/relay/client_priv.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/await.h"
#include "worker/relay/reply.h"
#include "worker/relay/tell.h"
#include "worker/relay/upstream.h"

#define CLIENT_READ_TURNS 8 /* blocks read in one handler: fairness */

/* ---- states ---------------------------------------------------------- */

static uint64_t
client_state_ms(const struct client *c, enum client_state s)
{
	const struct conf *conf = &c->w->c->conf;

	switch (s) {
	case CLIENT_PROXY:
		return (uint64_t)conf->head_timeout_ms;
	case CLIENT_TLS:
		return (uint64_t)conf->tls_timeout_ms;
	case CLIENT_IDLE:
		return (uint64_t)conf->idle_timeout_ms;
	case CLIENT_HEAD:
		return (uint64_t)conf->head_timeout_ms;
	case CLIENT_AUTH:
		return (uint64_t)conf->auth_timeout_ms + CLIENT_AUTH_GRACE_MS;
	case CLIENT_QUEUE:
		return (uint64_t)conf->queue_timeout_ms;
	case CLIENT_TOKEN:
		return (uint64_t)conf->token_wait_ms;
	case CLIENT_DRAIN:
		return (uint64_t)conf->body_timeout_ms;
	case CLIENT_LINGER:
		return CLIENT_LINGER_MS;
	case CLIENT_CONNECT: /* all addresses together */
		return 2 * (uint64_t)(conf->cloud_connect_timeout_ms +
				      conf->cloud_tls_timeout_ms +
				      (c->w->way.used ? conf->proxy_timeout_ms
						      : 0));
	case CLIENT_RELAY: /* forward.c sets it by what it waits for */
	case CLIENT_CLOSED:
		break;
	}
	return 0;
}

void
client_set_patience(struct client *c, struct patience p)
{
	p.total_ms = (uint64_t)c->w->c->conf.request_timeout_ms;
	p.age_ms = (clock_turn_ns() - c->t_head) / NS_PER_MS;
	loop_timer_set(c->timer, patience_ms(&p, &c->total));
}

/* Is there a request that has to end in time?  In CLIENT_RELAY, too; but there
 * the timer is set later. */
static bool
client_is_of_request(enum client_state s)
{
	return s == CLIENT_HEAD || s == CLIENT_AUTH || s == CLIENT_QUEUE ||
	       s == CLIENT_CONNECT || s == CLIENT_TOKEN;
}

void
client_enter(struct client *c, enum client_state s)
{
	uint64_t ms = client_state_ms(c, s);

	BUG_ON(c->state == CLIENT_CLOSED);
	c->state = s;
	c->owes = c->total = false;
	if (client_is_of_request(s))
		client_set_patience(c, (struct patience){.pause_ms = ms});
	else
		loop_timer_set(c->timer, ms);
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

/* Each connection and request that ends so passes here once. */
static void
client_count(const struct client *c, enum reason why)
{
	if (why == REASON_NOMEM)
		stat_add(c->w->row, STAT_nomem, 1);
}

void
client_end(struct client *c, enum reason why)
{
	struct relay *w = c->w;

	if (c->state == CLIENT_CLOSED)
		return;
	client_count(c, why);
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
	admit_gone(c);
	log_debug("client %s ends: %s", c->address, reason_row(why)->name);
	c->state = CLIENT_CLOSED;
	loop_timer_set(c->timer, 0);
	wire_fini(&c->wire);
	identity_free(&c->ident);
	identity_free(&c->cert);
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

/* The client has as long as for any reply; drop by drop, it has no longer. */
void
client_owe(struct client *c)
{
	const struct conf *conf = &c->w->c->conf;
	struct patience p = {
	    .pause_ms = (uint64_t)conf->write_timeout_ms,
	    .rate = (uint64_t)conf->write_rate_min,
	    .bytes = c->wire.pend_len,
	};

	if (c->owes)
		return;
	c->owes = true;
	if (p.rate > 0)
		p.pause_ms += p.bytes * 1000 / p.rate;
	loop_timer_set(c->timer, patience_ms(&p, NULL));
}

static void
client_linger_timer(struct client *c)
{
	if (wire_blocked(&c->wire))
		client_owe(c);
	else
		loop_timer_set(c->timer, CLIENT_LINGER_MS);
}

/* Own bytes are out; let the peer read them before the close (RFC 9112 9.6).
 * What it has sent meanwhile needs no wire_again(): shutdown() makes an event
 * of the socket, and so does room for what is left to send. */
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
    [REASON_AUTH_REQUIRED] = true,	[REASON_AUTH_CONTINUE] = true,
    [REASON_AUTH_FAILED] = true,	[REASON_AUTH_BUSY] = true,
    [REASON_AUTH_DOWN] = true,		[REASON_AUTH_TIMEOUT] = true,
    [REASON_AUTH_DENIED] = true,	[REASON_AUTH_EXPIRED] = true,
    [REASON_TABLE_EMPTY] = true,	[REASON_NO_TABLE] = true,
    [REASON_NO_TENANT] = true,		[REASON_NO_CREDENTIAL] = true,
    [REASON_NO_TOKEN] = true,		[REASON_NO_ADDRESS] = true,
    [REASON_NOT_FOUND] = true,		[REASON_METHOD] = true,
    [REASON_PROXY_CONNECT] = true,	[REASON_PROXY_CONNECT_SLOW] = true,
    [REASON_PROXY_TLS] = true,		[REASON_PROXY_CERT] = true,
    [REASON_PROXY_AUTH] = true,		[REASON_PROXY_REFUSED] = true,
    [REASON_PROXY_BAD_REPLY] = true,	[REASON_PROXY_CLOSED] = true,
    [REASON_PROXY_SLOW] = true,		[REASON_CLOUD_INSPECTED] = true,
    [REASON_CLOUD_CONNECT] = true,	[REASON_CLOUD_CONNECT_SLOW] = true,
    [REASON_CLOUD_TLS] = true,		[REASON_CLOUD_CERT] = true,
    [REASON_CLOUD_IO] = true,		[REASON_CLOUD_CLOSED] = true,
    [REASON_CLOUD_SLOW] = true,		[REASON_CLOUD_SLOW_BODY] = true,
    [REASON_TIME_OVER_CONNECT] = true,	[REASON_TIME_OVER_REPLY] = true,
    [REASON_TIME_OVER_CLOUD] = true,	[REASON_CLOUD_BAD_REPLY] = true,
    [REASON_CLOUD_UNAUTHORIZED] = true, [REASON_CLOUD_WAIT] = true,
    [REASON_CLOUD_DOWN] = true,		[REASON_ACCOUNT_RATE] = true,
    [REASON_QUEUE_FULL] = true,		[REASON_QUEUE_TIMEOUT] = true,
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
	/* Allow is made of the head, which the body would overwrite */
	if (x->req.framing == HTTP_CHUNKED)
		return why != REASON_METHOD;
	return x->left <= max;
}

static void
client_tell_refusal(struct client *c, enum reason why, const char *detail,
		    bool keep)
{
	c->x->close_after = !keep;
	reply_refuse(c, why, detail, keep);
	client_finish(c, why);
}

/* Whether the connection goes on is known when the body has ended within the
 * bound, and a reply that said so before could prove wrong: it waits. */
static void
client_refuse_late(struct client *c, enum reason why, const char *detail)
{
	struct exchange *x = c->x;

	x->late = why;
	if (detail != NULL)
		x->late_detail = strdup(detail); /* NULL: goes without */
	c->discard = (uint64_t)c->w->c->conf.drain_bytes_max;
	client_enter(c, CLIENT_DRAIN);
	wire_again(&c->wire);
}

void
client_refuse(struct client *c, enum reason why, const char *detail)
{
	struct exchange *x = c->x;

	if (x == NULL || x->reply_started) {
		client_end(c, why);
		return;
	}
	client_count(c, why);
	if (x->up != NULL)
		upstream_drop(&x->up);
	upstream_cancel(c);
	admit_leave(c);
	if (c->state == CLIENT_AUTH && !c->auth_pending)
		auth_abort(c);
	tell_failure(c, why, detail);
	if (!client_may_keep(c, why))
		client_tell_refusal(c, why, detail, false);
	else if (x->body_done || x->req.framing != HTTP_CHUNKED)
		client_tell_refusal(c, why, detail, true);
	else
		client_refuse_late(c, why, detail);
}

/* ---- throwing away --------------------------------------------------- */

/* No more is thrown away: the body has ended, or will not be waited for. */
static void
client_drained(struct client *c)
{
	struct exchange *x = c->x;
	bool keep = x->body_done && !x->close_after && !c->w->draining;

	if (x->late != REASON_OK) {
		client_tell_refusal(c, x->late, x->late_detail, keep);
		return;
	}
	x->close_after = !keep;
	client_next(c);
}

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
	if (b != BODY_NEED) {
		client_drained(c);
		return true;
	}
	r = client_fill(c);
	if (r == IO_EOF && c->x->late != REASON_OK)
		client_drained(c); /* it may still read */
	else if (r == IO_FAIL && c->x->late != REASON_OK)
		client_end(c, REASON_CLIENT_IO);
	else if (r != IO_OK && r != IO_AGAIN)
		client_end(c, c->x->reason);
	return r == IO_OK;
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
	if (r != IO_OK && c->wire.nomem) {
		client_end(c, REASON_NOMEM);
		return false;
	}
	if (r != IO_OK) {
		stat_add(c->w->row, STAT_tls_failed, 1);
		auth_tls_failed(c);
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
		case CLIENT_PROXY:
			more = client_run_proxy(c);
			break;
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
		case CLIENT_QUEUE:
			if (c->wire.readable)
				(void)forward_client_gone(c);
			more = false;
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

void
client_on_event(void *arg)
{
	client_run(arg);
}

void
client_on_timer(void *arg)
{
	struct client *c = arg;

	switch (c->state) {
	case CLIENT_PROXY:
		client_end(c, REASON_BAD_PROXY);
		break;
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
	case CLIENT_QUEUE:
		stat_add(c->w->row, STAT_queue_refused, 1);
		tell_limit(c->w, REASON_QUEUE_TIMEOUT, c->address,
			   c->x->ident->principal);
		client_refuse(c, REASON_QUEUE_TIMEOUT, NULL);
		break;
	case CLIENT_TOKEN:
		await_on_timeout(c);
		break;
	case CLIENT_RELAY:
		forward_on_timeout(c);
		break;
	case CLIENT_DRAIN:
		if (c->x->late != REASON_OK)
			client_drained(c);
		else
			client_end(c, REASON_OK);
		break;
	case CLIENT_LINGER:
		client_end(c, REASON_OK);
		break;
	case CLIENT_CONNECT:
		forward_on_connect_timeout(c);
		break;
	case CLIENT_CLOSED:
		break;
	}
	/* after a refusal its body may be here already, to be thrown away */
	if (c->state != CLIENT_CLOSED)
		client_run(c);
}

/* No request any more after the one that is here, if there is one. */
static void
client_wind_up(struct client *c)
{
	if (c->state == CLIENT_IDLE && wire_blocked(&c->wire))
		client_linger(c); /* it has not got all of a reply */
	else if (c->state == CLIENT_IDLE && c->wpos == c->rpos)
		client_end(c, REASON_SHUTDOWN);
	else if (c->x != NULL && !c->x->reply_started)
		c->x->close_after = true;
}

void
client_drain_idle(struct relay *w)
{
	struct client *c, *next;

	for (c = w->clients; c != NULL; c = next) {
		next = c->next;
		client_wind_up(c);
	}
}

void
client_retire(struct relay *w)
{
	struct client *c, *next;
	struct listener *l;

	for (c = w->clients; c != NULL; c = next) {
		next = c->next;
		l = listener_find(w, c->listener);
		if (l != NULL && (l->ctx != NULL) == (c->wire.ssl != NULL))
			continue;
		if (c->x == NULL && !wire_blocked(&c->wire))
			client_end(c, REASON_LISTENER_GONE);
		else
			client_wind_up(c);
	}
}

void
client_shed_idle(struct relay *w)
{
	struct client *c, *next;

	for (c = w->clients; c != NULL; c = next) {
		next = c->next;
		if (c->state == CLIENT_IDLE && c->wpos == c->rpos &&
		    !wire_blocked(&c->wire))
			client_end(c, REASON_MEMORY_SHORT);
	}
}
