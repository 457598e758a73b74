/*
 * Purpose: send an authorized request to the cloud: token, connection, head,
 *          body; retries and replays.  The reply's way back is answer.c.
 *
 * Runs in: relay.
 * Trusts:  the table's decision; no byte of the request.
 * Touches: the cloud's connection.
 * Failure: a refusal that names whose fault it is.
 */
#include <sys/types.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/answer.h"
#include "worker/relay/await.h"
#include "worker/relay/client.h"
#include "worker/relay/out.h"
#include "worker/relay/upstream.h"

#define FORWARD_FILLS 8 /* blocks read in one handler: fairness */

/* ---- beginning ------------------------------------------------------- */

static bool
forward_scheme_none(const struct relay *w)
{
	return slice_is(slice_of(w->c->conf.cloud_auth_scheme.s), "none");
}

/* The credential's field, or why there is none. */
static enum reason
forward_credential(struct client *c, const struct relay_cred **cred_r)
{
	struct exchange *x = c->x;
	const struct relay_cred *cred;

	*cred_r = NULL;
	if (forward_scheme_none(c->w))
		return REASON_OK;
	x->credential = c->w->c->conf.role_credential[x->role];
	if (x->credential == 0)
		return REASON_NO_CREDENTIAL;
	cred = relay_cred_find(c->w, x->credential);
	if (cred == NULL || cred->expires <= clock_boot_ns())
		return REASON_NO_TOKEN;
	*cred_r = cred;
	return REASON_OK;
}

void
forward_refuse(struct client *c, enum reason why)
{
	if (why == REASON_NO_TOKEN)
		stat_add(c->w->row, STAT_token_missing, 1);
	client_refuse(c, why, NULL);
}

/* Something else is waited for from now on. */
static void
forward_waits_for(struct exchange *x, enum exchange_wait wait, uint64_t now)
{
	if (wait == x->wait)
		return;
	x->waited[x->wait] += now - x->wait_since;
	x->wait = wait;
	x->wait_since = now;
}

void
forward_again(struct client *c)
{
	forward_waits_for(c->x, WAIT_NOTHING, clock_turn_ns());
	client_body_rewind(c);
}

void
forward_connect(struct client *c, bool fresh)
{
	c->x->t_connect = clock_turn_ns();
	client_enter(c, CLIENT_CONNECT);
	upstream_get(c, fresh);
}

/* Whether the cloud is asked at all is decided now: what waits must not be the
 * one that tries whether it is back. */
void
forward_go(struct client *c)
{
	enum reason why;

	if (c->x->token_due) {
		c->x->token_due = false;
		await_token(c);
		return;
	}
	why = health_admit(c);
	if (why == REASON_OK)
		forward_connect(c, false);
	else
		client_refuse(
		    c, why, why == REASON_CLOUD_DOWN ? c->w->health.why : NULL);
}

/* The client's traceparent; empty when there is none, or more than one. */
static struct slice
forward_traceparent(const struct http_req *r)
{
	struct slice found = {"", 0};
	size_t n = 0;

	for (size_t i = 0; i < r->nfields; i++) {
		if (r->field[i].id != FIELD_TRACEPARENT || r->field[i].hop)
			continue;
		found = r->field[i].value;
		n++;
	}
	return n == 1 ? found : (struct slice){"", 0};
}

/* W3C Trace Context 3.2 and 3.3: what is not valid is not passed on, and a
 * new trace begins. */
static void
forward_set_trace(struct client *c)
{
	struct exchange *x = c->x;
	struct slice theirs = forward_traceparent(&x->req);

	x->trace_theirs = trace_is_valid(theirs);
	if (x->trace_theirs)
		str_cut(x->trace, sizeof(x->trace), theirs);
	else if (c->w->c->conf.cloud_traceparent)
		trace_make(x->trace, &c->w->trace_key, x->number);
}

static uint64_t
forward_table_gen(const struct relay *w)
{
	return w->table == NULL ? 0 : table_generation(w->table);
}

void
forward_begin(struct client *c)
{
	struct exchange *x = c->x;
	struct relay *w = c->w;
	const struct relay_cred *cred;
	enum reason why = authorize(c);

	operation_begin(c);
	forward_set_trace(c);
	if (why == REASON_OK && w->tenant_host[0] == '\0')
		why = REASON_NO_TENANT;
	if (why == REASON_OK) {
		relay_token_refresh(w);
		why = forward_credential(c, &cred);
	}
	if (why == REASON_OK && w->tv->naddr == 0)
		why = REASON_NO_ADDRESS;
	x->token_due = why == REASON_NO_TOKEN && await_is_due(c);
	if (why != REASON_OK && !x->token_due) {
		forward_refuse(c, why);
		return;
	}
	x->table_gen = forward_table_gen(w);
	if (admit_request(c))
		forward_go(c);
}

void
forward_admitted(struct client *c)
{
	struct exchange *x = c->x;
	enum reason why = REASON_OK;

	x->queue_ns = clock_turn_ns() - x->t_queue;
	/* decided by the newest table, however long it waited */
	if (forward_table_gen(c->w) != x->table_gen)
		why = authorize(c);
	if (why != REASON_OK)
		client_refuse(c, why, NULL);
	else
		forward_go(c);
	if (c->state == CLIENT_IDLE || c->state == CLIENT_DRAIN)
		wire_again(&c->wire); /* the next request may be here */
}

void
forward_on_failed(struct client *c, enum reason why, const char *detail)
{
	health_failed(c, why, detail);
	client_refuse(c, why, detail);
	/* Not client_run(): it may be what called us, and the next request
	 * may fail as fast as this one, one within the other without end. */
	if (c->state != CLIENT_CLOSED)
		wire_again(&c->wire);
}

void
forward_on_ready(struct client *c, struct upstream *u)
{
	struct exchange *x = c->x;

	x->up = u;
	x->reused = u->reused;
	BUG_ON(x->wait != WAIT_NOTHING); /* the timer is the state's */
	x->wait_since = clock_turn_ns();
	x->connect_ns += clock_turn_ns() - x->t_connect;
	str_cut(x->upstream_addr, sizeof(x->upstream_addr),
		slice_of(u->address));
	client_enter(c, CLIENT_RELAY);
	forward_pump(c);
	if (c->state == CLIENT_IDLE || c->state == CLIENT_DRAIN)
		wire_again(&c->wire); /* as above */
}

/* ---- the request ----------------------------------------------------- */

/* A value that cannot break the head, whatever the account is called. */
static void
forward_put_safe(struct out *o, const char *name, const char *value)
{
	if (name[0] == '\0')
		return;
	out_str(o, name);
	out_str(o, ": ");
	for (const char *p = value; *p != '\0'; p++)
		if ((unsigned char)*p >= 0x20 && (unsigned char)*p != 0x7f)
			out_put(o, p, 1);
	out_str(o, "\r\n");
}

/* A client cannot say what we say of it, even where the field's name is one
 * that passes. */
static bool
forward_is_ours(const struct conf *conf, struct slice name)
{
	return slice_iis(name, conf->header_account.s) ||
	       slice_iis(name, conf->header_role.s);
}

static void
forward_put_fields(struct out *o, const struct conf *conf,
		   const struct exchange *x)
{
	const struct http_req *r = &x->req;

	for (size_t i = 0; i < r->nfields; i++) {
		const struct http_field *f = &r->field[i];

		if (http_fate_req(f) != FATE_PASS ||
		    forward_is_ours(conf, f->name) ||
		    (f->id == FIELD_ACCEPT_ENCODING && conf->wan_compression))
			continue;
		if (f->id == FIELD_TRACESTATE && !x->trace_theirs)
			continue;
		out_slice(o, f->name);
		out_put(o, ": ", 2);
		out_slice(o, f->value);
		out_put(o, "\r\n", 2);
	}
}

/* RFC 9110 7.6.3: a gateway names itself.  What an intermediary before us said
 * of itself is not ours to vouch for, and stays here. */
static void
forward_put_via(struct out *o, const char *pseudonym)
{
	if (pseudonym[0] == '\0')
		return;
	out_str(o, "Via: 1.1 ");
	out_str(o, pseudonym);
	out_str(o, "\r\n");
}

static void
forward_put_trace(struct out *o, const struct exchange *x)
{
	if (x->trace[0] == '\0')
		return;
	out_str(o, "traceparent: ");
	if (x->trace_theirs)
		out_slice(o, forward_traceparent(&x->req));
	else
		out_str(o, x->trace);
	out_str(o, "\r\n");
}

static void
forward_put_head(struct client *c, struct out *o, const struct relay_cred *cred)
{
	struct relay *w = c->w;
	struct exchange *x = c->x;

	out_str(o, "POST ");
	out_str(o, w->tenant_path);
	out_str(o, w->c->conf.cloud_path_prefix.s);
	out_str(o, "/");
	out_str(o, service_path(x->service));
	out_str(o, " HTTP/1.1\r\nHost: ");
	out_str(o, w->tenant_authority);
	out_put(o, "\r\n", 2);
	if (cred != NULL)
		out_put(o, cred->field, cred->field_len);
	forward_put_safe(o, w->c->conf.header_account.s, x->ident->principal);
	forward_put_safe(o, w->c->conf.header_role.s,
			 server_role_name(x->role));
	forward_put_fields(o, &w->c->conf, x);
	forward_put_trace(o, x);
	if (w->c->conf.wan_compression)
		out_str(o, "Accept-Encoding: gzip\r\n");
	forward_put_via(o, w->c->conf.cloud_via.s);
	out_str(o, "X-RMS-Request-Id: ");
	out_str(o, x->id);
	if (x->req.framing == HTTP_CHUNKED) {
		out_str(o, "\r\nTransfer-Encoding: chunked\r\n\r\n");
	} else {
		out_str(o, "\r\nContent-Length: ");
		out_u64(o, x->req.length);
		out_str(o, "\r\n\r\n");
	}
}

static void
forward_put_run(struct exchange *x, struct out *o, const char *data, size_t n)
{
	char head[CHUNK_HEAD_MAX];

	if (x->req.framing != HTTP_CHUNKED) {
		out_put(o, data, n);
		return;
	}
	out_put(o, head, chunk_head(head, n));
	out_put(o, data, n);
	out_put(o, "\r\n", 2);
}

/* Body runs that are in the block. */
static enum body_result
forward_put_body(struct client *c, struct out *o)
{
	const char *data;
	size_t n = 0;
	enum body_result b;

	while ((b = client_body_next(c, &data, &n)) == BODY_RUN) {
		operation_request(c->x, data, n);
		forward_put_run(c->x, o, data, n);
	}
	if (b == BODY_END && !c->x->last_chunk_sent) {
		c->x->last_chunk_sent = true;
		if (c->x->req.framing == HTTP_CHUNKED)
			out_str(o, "0\r\n\r\n");
	}
	return b;
}

/* The cloud's connection is gone before the reply is complete. */
void
forward_up_lost(struct client *c, enum reason why, const char *detail)
{
	struct exchange *x = c->x;
	bool stale = x->up != NULL && x->up->reused && !x->up->got_byte;

	upstream_drop(&x->up);
	if (stale && x->held && x->retries == 0 && !x->reply_started) {
		/* MS-RMPR servers keep no state between requests: safe */
		x->retries++;
		stat_add(c->w->row, STAT_up_retries, 1);
		forward_again(c);
		forward_connect(c, true);
		return;
	}
	stat_add(c->w->row, STAT_up_failed, 1);
	health_failed(c, why, x->upstream_addr);
	client_refuse(c, why, detail);
}

/* false: the exchange has ended or changed its connection. */
static bool
forward_body_broken(struct client *c, enum body_result b)
{
	if (b == BODY_BAD)
		client_refuse(c, REASON_BAD_CHUNK, NULL);
	else
		client_refuse(c, REASON_BODY_TOO_LARGE, NULL);
	return false;
}

static bool
forward_fill(struct client *c, bool *again_r)
{
	enum io_result r = client_fill(c);

	*again_r = r == IO_AGAIN;
	if (r == IO_OK || r == IO_AGAIN)
		return true;
	client_end(c,
		   r == IO_EOF ? REASON_CLIENT_SHORT_BODY : REASON_CLIENT_IO);
	return false;
}

/* Its connection is ready, yet not for the way, or the tenant, of now: what
 * the head would say is for another one. */
static bool
forward_outdated(struct client *c)
{
	upstream_drop(&c->x->up);
	forward_again(c);
	forward_connect(c, true);
	return false;
}

/* Since it began the tenant is another one, or its token has ended. */
static bool
forward_lacks(struct client *c, enum reason why)
{
	if (why == REASON_NO_TOKEN && await_is_due(c)) {
		upstream_drop(&c->x->up);
		forward_again(c);
		await_token(c);
	} else {
		forward_refuse(c, why);
	}
	return false;
}

/* Sends as much of the request as goes.  false as above. */
static bool
forward_request(struct client *c)
{
	struct exchange *x = c->x;
	const struct relay_cred *cred;
	enum body_result b = BODY_NEED;
	enum reason why;
	struct out o;
	bool again = false;

	if (x->last_chunk_sent || x->up->wire.mute ||
	    wire_blocked(&x->up->wire))
		return true;
	if (!x->head_sent && x->up->epoch != c->w->cloud_epoch)
		return forward_outdated(c);
	out_begin(&o, &x->up->wire);
	if (!x->head_sent) {
		why = forward_credential(c, &cred);
		if (why != REASON_OK)
			return forward_lacks(c, why);
		x->token_serial = cred == NULL ? 0 : cred->serial;
		x->head_sent = true;
		x->t_sent = clock_mono_ns();
		stat_add(c->w->row, STAT_requests_relayed, 1);
		forward_put_head(c, &o, cred);
	}
	for (int i = 0; i < FORWARD_FILLS && !again; i++) {
		b = forward_put_body(c, &o);
		if (!out_end(&o))
			/* it takes no more, but may have said why: read on */
			return true;
		if (b == BODY_BAD || b == BODY_LARGE)
			return forward_body_broken(c, b);
		if (b == BODY_END || wire_blocked(&x->up->wire))
			return true;
		client_continue(c);
		if (!forward_fill(c, &again))
			return false;
	}
	if (!again)
		wire_again(&c->wire);
	return true;
}

/* ---- both ways ------------------------------------------------------- */

/* The bounds of a wait: its pause, its rate, and how far it has come. */
static struct patience
forward_patience(const struct client *c, enum exchange_wait wait)
{
	const struct conf *conf = &c->w->c->conf;
	const struct exchange *x = c->x;
	int64_t pause = conf->cloud_body_timeout_ms;
	int64_t rate = conf->cloud_rate_min;
	uint64_t bytes = x->bytes_out;

	switch (wait) {
	case WAIT_CLIENT_TAKES:
		pause = conf->write_timeout_ms;
		rate = conf->write_rate_min;
		break;
	case WAIT_CLOUD_TAKES:
		bytes = x->bytes_in;
		break;
	case WAIT_BODY:
		pause = conf->body_timeout_ms;
		rate = conf->body_rate_min;
		bytes = x->bytes_in;
		break;
	case WAIT_REPLY:
		pause = conf->cloud_reply_timeout_ms;
		rate = 0;
		break;
	case WAIT_REPLY_BODY:
	case WAIT_NOTHING:
	case WAIT_MAX:
		break;
	}
	return (struct patience){
	    .pause_ms = (uint64_t)pause,
	    .rate = (uint64_t)rate,
	    .bytes = bytes,
	};
}

/* What is waited for, and in *at_r how far that has come.  What waits to be
 * taken may be as long as it was although some of it went: with more read
 * since; so what went counts. */
static enum exchange_wait
forward_wait(const struct client *c, uint64_t *at_r)
{
	const struct exchange *x = c->x;

	if (wire_blocked(&c->wire)) {
		*at_r = x->bytes_out - c->wire.pend_len;
		return WAIT_CLIENT_TAKES;
	}
	if (wire_blocked(&x->up->wire)) {
		*at_r = x->bytes_in - x->up->wire.pend_len;
		return WAIT_CLOUD_TAKES;
	}
	if (!x->body_done && !x->up->wire.mute) {
		*at_r = x->bytes_in;
		return WAIT_BODY;
	}
	*at_r = x->reply_started ? x->bytes_out : 0;
	return x->reply_started ? WAIT_REPLY_BODY : WAIT_REPLY;
}

/*
 * What the time runs for now.  It starts anew only when something else is
 * waited for, or some of it came: not because of every byte that anybody
 * sends.  And never for longer than patience.h says.
 */
static void
forward_set_timer(struct client *c)
{
	struct exchange *x = c->x;
	uint64_t at, now;
	enum exchange_wait wait = forward_wait(c, &at);
	struct patience p;

	if (wait == x->wait && at == x->wait_at)
		return;
	now = clock_turn_ns();
	forward_waits_for(x, wait, now);
	x->wait_at = at;
	p = forward_patience(c, wait);
	p.spent_ms = (x->waited[wait] + now - x->wait_since) / NS_PER_MS;
	client_set_patience(c, p);
}

static bool
forward_is_for_cloud(enum exchange_wait wait)
{
	return wait == WAIT_CLOUD_TAKES || wait == WAIT_REPLY ||
	       wait == WAIT_REPLY_BODY;
}

/*
 * Did the cloud and the way to it have long enough to be blamed?  Yes when one
 * of their own times is over.  When it is the request's as a whole, they may
 * have had only what others left of it: half of it they should have had.
 */
static bool
forward_cloud_had_time(const struct client *c)
{
	const struct exchange *x = c->x;
	uint64_t now = clock_turn_ns(), ns = x->connect_ns;

	if (!c->total)
		return true;
	for (int i = 0; i < WAIT_MAX; i++)
		if (forward_is_for_cloud((enum exchange_wait)i))
			ns += x->waited[i];
	if (c->state == CLIENT_CONNECT)
		ns += now - x->t_connect;
	else if (forward_is_for_cloud(x->wait))
		ns += now - x->wait_since;
	return ns >= (now - x->t_start) / 2;
}

static void
forward_cloud_slow(struct client *c, enum exchange_wait wait)
{
	struct exchange *x = c->x;
	bool blame = forward_cloud_had_time(c);
	enum reason why =
	    wait == WAIT_REPLY ? REASON_CLOUD_SLOW : REASON_CLOUD_SLOW_BODY;

	if (c->total)
		why = blame ? REASON_TIME_OVER_CLOUD : REASON_TIME_OVER_REPLY;
	if (blame && !x->reply_started)
		health_failed(c, why, x->upstream_addr);
	client_refuse(c, why, NULL);
}

void
forward_on_connect_timeout(struct client *c)
{
	if (!forward_cloud_had_time(c)) {
		client_refuse(c, REASON_TIME_OVER_CONNECT, NULL);
		return;
	}
	health_failed(c, REASON_CLOUD_CONNECT_SLOW, NULL);
	client_refuse(c, REASON_CLOUD_CONNECT_SLOW,
		      "no address answered in time");
}

void
forward_on_timeout(struct client *c)
{
	uint64_t at;
	enum exchange_wait wait = forward_wait(c, &at);

	if (wait == WAIT_CLIENT_TAKES)
		client_end(c, REASON_CLIENT_SLOW_WRITE);
	else if (wait == WAIT_BODY)
		client_refuse(c, REASON_CLIENT_SLOW_BODY, NULL);
	else
		forward_cloud_slow(c, wait);
	if (c->state != CLIENT_CLOSED)
		client_run(c);
}

/* The request is complete, so the next bytes would be another one; an end
 * means that nobody waits for the reply. */
bool
forward_client_gone(struct client *c)
{
	enum io_result r;

	if (c->eof)
		return false; /* a half-close: it may still read */
	if (c->block != NULL && c->wpos == c->size)
		return false;
	r = client_fill(c);
	if (r != IO_FAIL)
		return false;
	client_end(c, REASON_CLIENT_CLOSED);
	return true;
}

void
forward_pump(struct client *c)
{
	if (c->wire.failed) {
		client_end(c, REASON_CLIENT_IO);
		return;
	}
	if (!forward_request(c) || c->state != CLIENT_RELAY)
		return;
	if (!answer_pump(c) || c->state != CLIENT_RELAY)
		return;
	if (c->wire.rdhup && c->x->body_done && forward_client_gone(c))
		return;
	forward_set_timer(c);
}
