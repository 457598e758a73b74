/*
 * Purpose: connections to the cloud: open, verify, pool, close.
 *
 * Runs in: relay.
 * Trusts:  the cloud as far as its certificate goes; the addresses that the
 *          cloud agent published.
 * Touches: sockets, the pool.
 * Failure: the next address, then forward_on_failed().
 */
#include "worker/relay/upstream.h"

#include <openssl/ssl.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/client.h"
#include "worker/relay/proxy.h"
#include "worker/relay/tls.h"

/*
 * A request whose attempts find another way, or other addresses, is tried so
 * often anew; then the last failure counts.  An operator's changes are seldom
 * more, and a name whose answers turn does not hold a request for ever.
 */
#define UPSTREAM_ANEW_MAX 4

static void upstream_on_event(void *arg);
static void upstream_on_timer(void *arg);

static void
upstream_free(void *arg)
{
	struct upstream *u = arg;

	loop_timer_free(&u->timer);
	free(u);
}

static void
upstream_unpool(struct upstream *u)
{
	struct relay *w = u->w;

	if (u->prev != NULL)
		u->prev->next = u->next;
	else
		w->idle = u->next;
	if (u->next != NULL)
		u->next->prev = u->prev;
	u->next = u->prev = NULL;
	w->nidle--;
	stat_sub(w->row, STAT_up_idle, 1);
}

static void
upstream_end(struct upstream *u)
{
	if (u->state == UP_CLOSED)
		return;
	if (u->state == UP_IDLE)
		upstream_unpool(u);
	u->state = UP_CLOSED;
	u->client = NULL;
	if (u->timer != NULL)
		loop_timer_set(u->timer, 0);
	wire_fini(&u->wire);
	dial_free(&u->dial);
	if (u->block != NULL)
		relay_block_give(u->w, u->block);
	u->block = NULL;
	loop_defer(u->w->loop, &u->cell, upstream_free, u);
}

void
upstream_drop(struct upstream **u)
{
	if (*u != NULL)
		upstream_end(*u);
	*u = NULL;
}

/* A byte behind the reply, which would be taken for the next one; or an end.
 * It may be in the TLS layer already, where no event tells of it. */
static bool
upstream_has_more(struct upstream *u)
{
	char byte;
	size_t n;

	return wire_read(&u->wire, &byte, 1, &n) != IO_AGAIN ||
	       u->wire.failed || u->wire.mute || u->wire.rdhup;
}

/* Old connections stay with old servers behind a balancer, and hold what
 * state the other end has gathered. */
static bool
upstream_is_worn(const struct upstream *u)
{
	const struct conf *conf = &u->w->c->conf;

	return u->uses >= (uint64_t)conf->cloud_conn_uses_max ||
	       clock_turn_ns() - u->t_begin >=
		   (uint64_t)conf->cloud_conn_age_ms * NS_PER_MS;
}

/* Is its address among the present ones?  Then it is of that list. */
static bool
upstream_is_published(struct upstream *u)
{
	const struct token_value *v = u->w->tv;

	if (u->addr_serial == v->addr_serial)
		return true;
	for (uint32_t i = 0; i < v->naddr; i++)
		if (memcmp(&v->addr[i], &u->addr, sizeof(u->addr)) == 0) {
			u->addr_serial = v->addr_serial;
			return true;
		}
	return false;
}

void
upstream_give(struct upstream **up, bool reusable)
{
	struct upstream *u = *up;
	struct relay *w = u->w;

	*up = NULL;
	u->client = NULL;
	if (!reusable || u->rpos != u->wpos || upstream_has_more(u) ||
	    wire_blocked(&u->wire) || w->draining ||
	    !upstream_is_published(u) || u->epoch != w->cloud_epoch ||
	    upstream_is_worn(u) ||
	    w->nidle >= (size_t)w->c->conf.cloud_pool_max) {
		upstream_end(u);
		return;
	}
	if (u->block != NULL)
		relay_block_give(w, u->block);
	u->block = NULL;
	u->rpos = u->wpos = 0;
	u->state = UP_IDLE;
	u->t_idle = clock_turn_ns();
	u->prev = NULL;
	u->next = w->idle;
	if (w->idle != NULL)
		w->idle->prev = u;
	w->idle = u;
	w->nidle++;
	stat_add(w->row, STAT_up_idle, 1);
}

enum io_result
upstream_fill(struct upstream *u)
{
	enum io_result r = IO_AGAIN;
	bool some = false;
	size_t n;

	if (u->block == NULL) {
		u->block = relay_block_take(u->w);
		if (u->block == NULL)
			return IO_FAIL;
		u->rpos = u->wpos = 0;
	}
	if (u->rpos > 0 && u->rpos == u->wpos)
		u->rpos = u->wpos = 0;
	if (u->wpos == RELAY_BLOCK && u->rpos > 0) {
		memmove(u->block, u->block + u->rpos, u->wpos - u->rpos);
		u->wpos -= u->rpos;
		u->rpos = 0;
	}
	while (u->wpos < RELAY_BLOCK) {
		r = wire_read(&u->wire, u->block + u->wpos,
			      RELAY_BLOCK - u->wpos, &n);
		if (r != IO_OK)
			break;
		u->wpos += n;
		some = true;
	}
	if (some)
		u->got_byte = true;
	return some ? IO_OK : r;
}

/* ---- getting one ----------------------------------------------------- */

static void
upstream_use(struct upstream *u, struct client *c, bool reused)
{
	u->state = UP_BUSY;
	u->wire.read_on = true; /* an early reply, see forward_request() */
	dial_free(&u->dial);
	u->client = c;
	u->credential = c->x->credential;
	u->reused = reused;
	u->got_byte = false;
	u->uses++;
	u->scan = (struct http_scan){0};
	forward_on_ready(c, u);
}

static bool
upstream_is_stale(struct upstream *u)
{
	uint64_t max =
	    (uint64_t)u->w->c->conf.cloud_idle_timeout_ms * NS_PER_MS;

	return !upstream_is_published(u) ||
	       clock_turn_ns() - u->t_idle >= max || upstream_is_worn(u) ||
	       u->wire.failed;
}

static struct upstream *
upstream_from_pool(struct relay *w, uint32_t credential)
{
	struct upstream *u, *next;

	for (u = w->idle; u != NULL; u = next) {
		next = u->next;
		if (u->credential != credential)
			continue;
		if (upstream_is_stale(u)) {
			upstream_end(u);
			continue;
		}
		upstream_unpool(u);
		u->state = UP_BUSY;
		return u;
	}
	return NULL;
}

/* One event per outage and relay, and one when it is over. */
static void
upstream_tell(struct relay *w, uint32_t event, const char *why)
{
	struct msg_event e = {.id = event, .detail = slice_of(why)};

	if (w->cloud_event == event)
		return;
	if (event == 1104 && w->cloud_event == 0)
		return;
	w->cloud_event = event == 1104 ? 0 : event;
	child_event(w->c, &e);
}

/* The event that tells of a failure. */
static uint32_t
upstream_event(enum reason why)
{
	if (why == REASON_CLOUD_INSPECTED)
		return 3112;
	if (why == REASON_CLOUD_CERT)
		return 3106;
	if (why == REASON_PROXY_AUTH)
		return 3110;
	return why >= REASON_PROXY_CONNECT && why <= REASON_PROXY_SLOW ? 3111
								       : 3107;
}

/* Would another address give the same answer? */
static bool
upstream_is_final(enum reason why)
{
	return why == REASON_CLOUD_CERT || why == REASON_CLOUD_INSPECTED ||
	       why == REASON_PROXY_CERT || why == REASON_PROXY_AUTH ||
	       why == REASON_NOMEM;
}

static void
upstream_over(struct upstream *u, enum reason why, const char *text)
{
	struct relay *w = u->w;
	struct client *c = u->client;

	if (why != REASON_NOMEM) {
		stat_add(w->row, STAT_up_failed, 1);
		upstream_tell(w, upstream_event(why), text);
	}
	upstream_end(u);
	if (c != NULL) {
		c->x->up = NULL;
		forward_on_failed(c, why, text);
	}
}

/* Its epoch is over: whatever it would do next is for another way. */
static bool
upstream_is_old(const struct upstream *u)
{
	return u->epoch != u->w->cloud_epoch;
}

/* Begins again, the way that is in use now.  false: too often. */
static bool
upstream_anew(struct upstream *u)
{
	struct client *c = u->client;

	if (c->x->anew >= UPSTREAM_ANEW_MAX)
		return false;
	c->x->anew++;
	upstream_end(u);
	c->x->up = NULL;
	upstream_get(c, true);
	return true;
}

static void
upstream_outdated(struct upstream *u)
{
	if (!upstream_anew(u))
		upstream_over(
		    u, u->proxied ? REASON_PROXY_CONNECT : REASON_CLOUD_CONNECT,
		    "the way to the cloud has changed again and "
		    "again while it was being made");
}

/* Says it something of the address that it ended so? */
static bool
upstream_is_judgement(enum reason why)
{
	return why != REASON_NOMEM && why != REASON_PROXY_AUTH;
}

/* This address did not do; another, or the end. */
static void
upstream_failed(struct upstream *u, enum reason why, const char *detail)
{
	struct relay *w = u->w;
	char text[1024];

	if (upstream_is_old(u)) {
		upstream_outdated(u);
		return;
	}

	if (u->proxied)
		snprintf(text, sizeof(text), "web proxy %.100s (%s): %s",
			 w->way.host, u->address, detail);
	else
		snprintf(text, sizeof(text), "%s: %s", u->address, detail);
	log_debug("cloud: %s: %s", reason_row(why)->name, text);
	if (u->state != UP_CONNECT && upstream_is_judgement(why))
		dial_judge(u->dial, &u->addr, false);
	wire_fini(&u->wire);
	if (u->addr_serial != w->tv->addr_serial && !upstream_is_final(why) &&
	    upstream_anew(u))
		return;
	if (dial_has_more(u->dial) && !upstream_is_final(why)) {
		u->state = UP_CONNECT;
		loop_timer_set(u->timer, 0);
		dial_go(u->dial);
		return;
	}
	upstream_over(u, why, text);
}

/* What the socket carries first. */
static int
upstream_wire(struct upstream *u, int fd)
{
	struct relay *w = u->w;
	SSL_CTX *ctx = w->cloud_ctx;
	int r;

	if (u->proxied)
		ctx = w->way.tls ? w->proxy_ctx : NULL;
	r = wire_init(&u->wire, w, fd, ctx, false, upstream_on_event, u);
	if (r != 0 || ctx == NULL)
		return r;
	return u->proxied ? tls_proxy_start(w, u->wire.ssl)
			  : tls_cloud_start(w, u->wire.ssl);
}

static enum reason
upstream_dial_reason(const struct upstream *u, enum dial_end end)
{
	if (end == DIAL_LACKS)
		return REASON_NOMEM;
	if (end == DIAL_SLOW)
		return u->proxied ? REASON_PROXY_CONNECT_SLOW
				  : REASON_CLOUD_CONNECT_SLOW;
	return u->proxied ? REASON_PROXY_CONNECT : REASON_CLOUD_CONNECT;
}

static void
upstream_on_dialed(void *arg, int fd, const struct token_addr *a,
		   enum dial_end end, const char *why)
{
	struct upstream *u = arg;
	struct relay *w = u->w;

	if (u->block != NULL)
		relay_block_give(w, u->block);
	u->block = NULL;
	u->rpos = u->wpos = 0;
	u->scan = (struct http_scan){0};
	u->addr = *a;
	dial_text(a, u->dial->port, u->address, sizeof(u->address));
	if (end != DIAL_DONE) {
		upstream_failed(u, upstream_dial_reason(u, end), why);
		return;
	}
	if (upstream_wire(u, fd) != 0) {
		upstream_failed(u, REASON_NOMEM, "out of memory");
		return;
	}
	u->state = u->proxied ? UP_PROXY_TLS : UP_TLS;
	loop_timer_set(u->timer, (uint64_t)w->c->conf.cloud_tls_timeout_ms);
	upstream_on_event(u); /* which gives up what is old */
}

void
upstream_get(struct client *c, bool fresh)
{
	struct relay *w = c->w;
	struct upstream *u =
	    fresh ? NULL : upstream_from_pool(w, c->x->credential);

	if (u != NULL) {
		stat_add(w->row, STAT_up_reused, 1);
		upstream_use(u, c, true);
		return;
	}
	/* gone since the request began: another tenant, or no name any more */
	if (w->tv->naddr == 0) {
		forward_on_failed(c, REASON_NO_ADDRESS, NULL);
		return;
	}
	u = calloc(1, sizeof(*u));
	if (u != NULL) {
		u->w = w;
		u->wire.fd = -1;
		u->timer = loop_timer_new(w->loop, upstream_on_timer, u);
		u->dial =
		    dial_new(w, w->way.used ? w->way.port : w->tenant_port,
			     upstream_on_dialed, u);
	}
	if (u == NULL || u->timer == NULL || u->dial == NULL ||
	    w->cloud_ctx == NULL) {
		if (u != NULL) {
			dial_free(&u->dial);
			loop_timer_free(&u->timer);
		}
		free(u);
		forward_on_failed(c, REASON_NOMEM, NULL);
		return;
	}
	u->client = c;
	c->x->up = u;
	u->t_begin = clock_turn_ns();
	u->epoch = w->cloud_epoch;
	u->proxied = w->way.used;
	u->addr_serial = w->tv->addr_serial;
	dial_go(u->dial);
}

void
upstream_cancel(struct client *c)
{
	if (c->x != NULL && c->x->up != NULL)
		upstream_drop(&c->x->up);
}

/* ---- events ---------------------------------------------------------- */

static void
upstream_tls_failed(struct upstream *u, enum reason other, enum reason cert,
		    enum reason inspected)
{
	char why[768];

	switch (tls_error(&u->wire, why, sizeof(why))) {
	case TLS_FAULT_OTHER:
		upstream_failed(u, other, why);
		return;
	case TLS_FAULT_NOMEM:
		upstream_failed(u, REASON_NOMEM, why);
		return;
	case TLS_FAULT_CERT:
		upstream_failed(u, cert, why);
		return;
	case TLS_FAULT_INSPECTION:
		upstream_failed(u, inspected, why);
		return;
	}
}

/* The TLS with the proxy is finished, or there is none. */
static void
upstream_run_proxy_tls(struct upstream *u)
{
	enum io_result r = wire_handshake(&u->wire);

	if (r == IO_AGAIN)
		return;
	if (r != IO_OK) {
		upstream_tls_failed(u, REASON_PROXY_TLS, REASON_PROXY_CERT,
				    REASON_PROXY_CERT);
		return;
	}
	u->state = UP_PROXY;
	loop_timer_set(u->timer, (uint64_t)u->w->c->conf.proxy_timeout_ms);
	if (proxy_ask(u) == IO_OK)
		return;
	if (u->block == NULL || u->wire.nomem)
		upstream_failed(u, REASON_NOMEM, "out of memory");
	else
		upstream_failed(u, REASON_PROXY_CLOSED,
				"the connection broke before CONNECT was out");
}

static void
upstream_run_proxy(struct upstream *u)
{
	enum reason why = REASON_PROXY_CLOSED;
	char text[512];
	enum io_result r = proxy_run(u, &why, text, sizeof(text));

	if (r == IO_AGAIN)
		return;
	if (r != IO_OK) {
		upstream_failed(u, why, text);
		return;
	}
	u->state = UP_TLS;
	loop_timer_set(u->timer, (uint64_t)u->w->c->conf.cloud_tls_timeout_ms);
}

static void
upstream_run_tls(struct upstream *u)
{
	enum io_result r = wire_handshake(&u->wire);
	struct client *c = u->client;

	if (r == IO_AGAIN)
		return;
	if (r != IO_OK) {
		upstream_tls_failed(u, REASON_CLOUD_TLS, REASON_CLOUD_CERT,
				    REASON_CLOUD_INSPECTED);
		return;
	}
	loop_timer_set(u->timer, 0);
	dial_judge(u->dial, &u->addr, true);
	if (SSL_session_reused(u->wire.ssl))
		stat_add(u->w->row, STAT_up_tls_resumed, 1);
	tls_cloud_done(u->wire.ssl);
	upstream_tell(u->w, 1104, u->address);
	upstream_use(u, c, false);
}

/* Nothing may come on an idle connection but tickets and its end. */
static void
upstream_run_idle(struct upstream *u)
{
	if (upstream_has_more(u))
		upstream_end(u);
}

static void
upstream_on_event(void *arg)
{
	struct upstream *u = arg;

	if (u->state < UP_BUSY && upstream_is_old(u)) {
		upstream_outdated(u);
		return;
	}
	if (u->state == UP_PROXY_TLS)
		upstream_run_proxy_tls(u);
	if (u->state == UP_PROXY)
		upstream_run_proxy(u);
	if (u->state == UP_TLS)
		upstream_run_tls(u);
	else if (u->state == UP_BUSY && u->client != NULL)
		client_run(u->client);
	else if (u->state == UP_IDLE)
		upstream_run_idle(u);
}

static void
upstream_on_timer(void *arg)
{
	struct upstream *u = arg;

	if (u->state < UP_BUSY && upstream_is_old(u))
		upstream_outdated(u);
	else if (u->state == UP_PROXY_TLS)
		upstream_failed(u, REASON_PROXY_TLS,
				"the handshake took too long");
	else if (u->state == UP_PROXY)
		upstream_failed(u, REASON_PROXY_SLOW,
				u->wpos == 0 ? "no answer to CONNECT"
					     : "its answer to CONNECT does "
					       "not end");
	else if (u->state == UP_TLS)
		upstream_failed(u, REASON_CLOUD_TLS,
				"the handshake took too long");
}

void
upstream_hurry(struct relay *w)
{
	for (struct client *c = w->clients; c != NULL; c = c->next)
		if (c->x != NULL && c->x->up != NULL &&
		    c->x->up->state < UP_BUSY)
			loop_timer_set(c->x->up->timer, 1);
}

void
upstream_sweep(struct relay *w, bool all)
{
	size_t max = all ? 0 : (size_t)w->c->conf.cloud_pool_max, kept = 0;
	struct upstream *u, *next;

	/* the newest are in front */
	for (u = w->idle; u != NULL; u = next) {
		next = u->next;
		if (kept == max || upstream_is_stale(u))
			upstream_end(u);
		else
			kept++;
	}
}
