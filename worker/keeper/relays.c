/*
 * Purpose: take work from relays, carry it out in turn, answer.
 *
 * Runs in: the keeper.
 * Trusts:  the master, which gave the channels and so the slots; of a relay
 *          nothing: one that breaks the messages' form loses its channel.
 * Touches: the channels, the queue, counters of this process.
 * Failure: an answer that says so; a relay that takes no answers is cut off.
 */
#include "worker/keeper/relays.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"
#include "worker/keeper/accept.h"
#include "worker/keeper/key_use.h"
#include "worker/keeper/krb5conf.h"
#include "worker/keeper/ntlm.h"
#include "worker/keeper/queue.h"

/* Answers that wait for a relay which does not read. */
#define RELAY_REPLIES_MAX 4096
/* Late items are only answered, so many of them fit into one turn. */
#define TURN_LATE_MAX 64
/* How often half-done exchanges are looked at. */
#define SWEEP_MS 500

struct relays {
	struct child *c;
	struct ipc *channel[RELAY_MAX];
	size_t n;
	struct queue *queue;
	struct accept *accept;
	struct key_use *use;
	struct ntlm *ntlm;
	const struct keytab *kt;
	const struct sign_keys *keys;
	struct loop_cell turn;
	bool turn_waits;
	struct loop_timer *sweep;
	struct loop_timer *cut; /* end of a drain */
	uint8_t identity[IPC_BODY_MAX];
	uint8_t body[IPC_BODY_MAX];
};

static void relays_on_msg(void *arg, struct ipc *ch, struct ipc_msg *m);
static void relays_on_end(void *arg, struct ipc *ch, enum ipc_end end,
			  const char *why);

static const struct ipc_ops relays_ops = {
    .on_msg = relays_on_msg,
    .on_end = relays_on_end,
};

/* --- channels ------------------------------------------------------------ */

static void
stop_when_idle(struct relays *r)
{
	if (r->c->draining && r->n == 0)
		loop_stop(r->c->loop, 0);
}

static void
gauge(struct relays *r)
{
	stat_set(r->c->row, STAT_keeper_queue, queue_len(r->queue, QUEUE_AUTH));
}

static void
relay_end(struct relays *r, unsigned slot)
{
	if (r->channel[slot] == NULL)
		return;
	ipc_free(&r->channel[slot]);
	r->n--;
	queue_drop_slot(r->queue, slot);
	accept_abort_slot(r->accept, slot);
	ntlm_abort_slot(r->ntlm, slot);
	gauge(r);
}

/* The relay broke the rules.  The master cannot see this channel: it is told,
 * and the relay is cut off from keys and keytab. */
static void
relay_lied(struct relays *r, unsigned slot, const char *why)
{
	child_accuse(r->c, ROLE_RELAY, slot, why);
	relay_end(r, slot);
}

static void
relays_on_end(void *arg, struct ipc *ch, enum ipc_end end, const char *why)
{
	struct relays *r = arg;
	unsigned slot = ipc_peer_slot(ch);

	BUG_ON(r->channel[slot] != ch);
	if (end != IPC_CLOSED) {
		relay_lied(r, slot, why);
	} else {
		log_info("channel to relay %u: %s", slot, why);
		relay_end(r, slot);
	}
	stop_when_idle(r);
}

void
relays_add(struct relays *r, unsigned slot, int fd)
{
	BUG_ON(slot >= RELAY_MAX);
	relay_end(r, slot);
	r->channel[slot] = ipc_new(r->c->loop, fd, ROLE_KEEPER, ROLE_RELAY,
				   slot, RELAY_REPLIES_MAX, &relays_ops, r);
	if (r->channel[slot] == NULL)
		log_err("no memory for the channel to relay %u", slot);
	else
		r->n++;
}

void
relays_add_ntlm(struct relays *r, unsigned slot, int fd)
{
	ntlm_add(r->ntlm, slot, fd);
}

size_t
relays_count(const struct relays *r)
{
	return r->n;
}

/* --- answers ---------------------------------------------------------------
 */

static void
reply(struct relays *r, unsigned slot, enum ipc_type type, uint64_t id,
      size_t len)
{
	int e;

	BUG_ON(len == 0);
	if (r->channel[slot] == NULL)
		return;
	e = ipc_send(r->channel[slot], type, id, r->body, len, -1);
	str_wipe(r->body, len);
	if (e == -ENOBUFS || e == -ENOMEM) {
		relay_lied(r, slot, "takes no answers");
	}
}

static void
reply_auth(struct relays *r, const struct queue_item *i,
	   const struct accept_result *res)
{
	struct msg_auth_reply m = {
	    .outcome = res->outcome,
	    .cause = res->cause,
	    .took_ns = clock_mono_ns() - i->arrived_ns,
	    .token = {res->token.value, res->token.length},
	    .detail = slice_of(res->detail),
	};
	struct pack k;

	if (res->outcome == AUTH_FAILED) {
		m.mech = (uint8_t)res->mech;
		m.claimed =
		    slice_of(res->mech == MECH_NONE ? "" : res->claimed);
	}

	if (res->identity != NULL) {
		pack_init(&k, r->identity, sizeof(r->identity));
		identity_pack(&k, res->identity);
		BUG_ON(k.full);
		m.identity = (struct slice){(const char *)r->identity, k.len};
	}
	reply(r, i->slot, IPC_AUTH_REPLY, i->id,
	      msg_auth_reply_pack(&m, r->body, sizeof(r->body)));
}

/* As an NTLM process said it, or on its behalf. */
static void
reply_ntlm(void *arg, const struct queue_item *i,
	   const struct msg_auth_reply *m)
{
	struct relays *r = arg;
	struct msg_auth_reply own = *m;

	own.took_ns = clock_mono_ns() - i->arrived_ns;
	if (own.outcome == AUTH_FAILED)
		log_debug("refused: %s: %.*s", auth_cause_name(own.cause),
			  (int)MIN(own.detail.len, (size_t)512), own.detail.p);
	reply(r, i->slot, IPC_AUTH_REPLY, i->id,
	      msg_auth_reply_pack(&own, r->body, sizeof(r->body)));
}

static void
reply_sign(struct relays *r, const struct queue_item *i, const uint8_t *data,
	   int len)
{
	struct msg_sign_reply m = {.ok = len > 0};

	if (m.ok)
		m.data = (struct slice){(const char *)data, (size_t)len};
	reply(r, i->slot, IPC_SIGN_REPLY, i->id,
	      msg_sign_reply_pack(&m, r->body, sizeof(r->body)));
}

/* Answers without work. */
static void
reply_busy(struct relays *r, const struct queue_item *i, enum auth_cause cause)
{
	struct accept_result res = {.outcome = AUTH_BUSY, .cause = cause};

	if (i->kind == QUEUE_SIGN)
		reply_sign(r, i, NULL, 0);
	else
		reply_auth(r, i, &res);
}

/* --- work ------------------------------------------------------------------
 */

static void
do_auth(struct relays *r, struct queue_item **ip)
{
	const struct queue_item *i = *ip;
	struct accept_result res;
	struct msg_auth_step m;
	struct accept_leg leg;

	/* It was read once when it came: see take_auth(). */
	BUG_ON(msg_auth_step_unpack(&m, i->body, i->len) != 0);
	if (ntlm_take(r->ntlm, ip, &m))
		return;
	leg = (struct accept_leg){
	    .slot = i->slot,
	    .id = i->id,
	    .first = m.first != 0,
	    .must_bind = m.must_bind,
	    .own = m.own,
	    .nbindings = m.nbindings,
	    .binding = m.binding,
	    .token = m.token,
	    .arrived_ns = i->arrived_ns,
	    .timeout_ms = (uint64_t)r->c->conf.auth_timeout_ms,
	};
	accept_step(r->accept, r->kt, &leg, &res);
	stat_add(r->c->row, STAT_keeper_accepts, 1);
	if (res.outcome == AUTH_OK)
		key_use_note(r->use, res.identity, clock_real_ns());
	if (res.outcome == AUTH_FAILED)
		log_debug("refused: %s: %s", auth_cause_name(res.cause),
			  res.detail);
	if (res.outcome == AUTH_CONTINUE)
		loop_timer_set(r->sweep, SWEEP_MS);
	reply_auth(r, i, &res);
	accept_result_fini(&res);
}

static void
do_sign(struct relays *r, const struct queue_item *i)
{
	uint8_t out[SIGN_BYTES_MAX];
	struct msg_sign m;
	int n;

	BUG_ON(msg_sign_unpack(&m, i->body, i->len) != 0);
	n = r->keys == NULL ? 0 : sign_do(r->keys, &m, out);
	if (n > 0)
		stat_add(r->c->row, STAT_keeper_signs, 1);
	else
		log_warn("relay %u: cannot sign with key %u", i->slot, m.index);
	reply_sign(r, i, out, n);
}

static void relays_turn(void *arg);

static void
turn_later(struct relays *r)
{
	if (r->turn_waits ||
	    queue_len(r->queue, QUEUE_AUTH) + queue_len(r->queue, QUEUE_SIGN) ==
		0)
		return;
	r->turn_waits = true;
	loop_defer(r->c->loop, &r->turn, relays_turn, r);
}

/* One piece of work, and the late ones that stood before it. */
static void
relays_turn(void *arg)
{
	struct relays *r = arg;
	struct queue_item *i;
	bool late = true;

	r->turn_waits = false;
	for (int n = 0; late && n < TURN_LATE_MAX; n++) {
		i = queue_take(r->queue);
		if (i == NULL)
			break;
		late = clock_mono_ns() >= i->deadline_ns;
		if (late)
			reply_busy(r, i, CAUSE_TIMEOUT);
		else if (i->kind == QUEUE_SIGN)
			do_sign(r, i);
		else
			do_auth(r, &i);
		queue_item_free(&i);
	}
	gauge(r);
	turn_later(r);
}

/* --- requests ----------------------------------------------------------- */

static void
enqueue(struct relays *r, enum queue_kind kind, unsigned slot,
	const struct ipc_msg *m, uint64_t wait_ms)
{
	struct queue_item *i, *out;

	i = queue_item_new(kind, slot, m->id, m->body, m->len);
	if (i == NULL) {
		struct queue_item none = {
		    .kind = kind, .slot = slot, .id = m->id};

		none.arrived_ns = clock_mono_ns();
		reply_busy(r, &none, CAUSE_BUSY);
		return;
	}
	i->arrived_ns = clock_turn_ns();
	i->deadline_ns = i->arrived_ns + wait_ms * NS_PER_MS;
	out = queue_put(r->queue, i);
	if (out != NULL)
		reply_busy(r, out, CAUSE_BUSY);
	queue_item_free(&out);
	turn_later(r);
}

static bool
take_auth(struct relays *r, unsigned slot, const struct ipc_msg *m)
{
	uint64_t wait = (uint64_t)r->c->conf.auth_timeout_ms;
	struct msg_auth_step a;

	if (msg_auth_step_unpack(&a, m->body, m->len) != 0)
		return false;
	enqueue(r, QUEUE_AUTH, slot, m, MIN(wait, (uint64_t)a.deadline_ms));
	return true;
}

static bool
take_sign(struct relays *r, unsigned slot, const struct ipc_msg *m)
{
	struct msg_sign s;

	if (msg_sign_unpack(&s, m->body, m->len) != 0)
		return false;
	enqueue(r, QUEUE_SIGN, slot, m, (uint64_t)r->c->conf.auth_timeout_ms);
	return true;
}

static void
relays_on_msg(void *arg, struct ipc *ch, struct ipc_msg *m)
{
	struct relays *r = arg;
	unsigned slot = ipc_peer_slot(ch);
	bool ok = true;

	if (m->type == IPC_AUTH_STEP) {
		ok = take_auth(r, slot, m);
	} else if (m->type == IPC_SIGN) {
		ok = take_sign(r, slot, m);
	} else {
		BUG_ON(m->type != IPC_AUTH_ABORT);
		queue_drop(r->queue, slot, m->id);
		accept_abort(r->accept, slot, m->id);
		ntlm_abort(r->ntlm, slot, m->id);
	}
	if (!ok) {
		relay_lied(r, slot, "a body that is not one");
		stop_when_idle(r);
	}
	gauge(r);
}

static void
relays_sweep(void *arg)
{
	struct relays *r = arg;

	if (accept_expire(r->accept, clock_mono_ns()) > 0)
		loop_timer_set(r->sweep, SWEEP_MS);
}

static void
tell_use(void *arg, const struct msg_key_use *m)
{
	struct relays *r = arg;
	uint8_t body[1024];
	size_t len = msg_key_use_pack(m, body, sizeof(body));

	BUG_ON(len == 0);
	if (ipc_send(r->c->master, IPC_KEY_USE, 0, body, len, -1) != 0)
		log_warn("tickets of a key were not counted: the master takes "
			 "no messages");
}

/* --- life --------------------------------------------------------------- */

static void
relays_cut(void *arg)
{
	struct relays *r = arg;

	loop_stop(r->c->loop, 0);
}

struct relays *
relays_new(struct child *c, struct replay_log *log)
{
	struct relays *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->c = c;
	r->queue = queue_new((size_t)c->conf.keeper_queue_max);
	r->accept = accept_new(log);
	r->ntlm = ntlm_new(c, reply_ntlm, r);
	r->use = key_use_new(c->loop, tell_use, r);
	r->sweep = loop_timer_new(c->loop, relays_sweep, r);
	r->cut = loop_timer_new(c->loop, relays_cut, r);
	if (r->queue == NULL || r->accept == NULL || r->ntlm == NULL ||
	    r->use == NULL || r->sweep == NULL || r->cut == NULL)
		relays_free(&r);
	return r;
}

void
relays_free(struct relays **rp)
{
	struct relays *r = *rp;

	if (r == NULL)
		return;
	*rp = NULL;
	BUG_ON(r->turn_waits); /* only freed when it never ran */
	for (unsigned s = 0; s < RELAY_MAX; s++)
		if (r->channel[s] != NULL)
			relay_end(r, s);
	loop_timer_free(&r->sweep);
	loop_timer_free(&r->cut);
	key_use_free(&r->use);
	accept_free(&r->accept);
	ntlm_free(&r->ntlm);
	queue_free(&r->queue);
	free(r);
}

void
relays_use(struct relays *r, const struct keytab *kt,
	   const struct sign_keys *keys)
{
	r->kt = kt;
	r->keys = keys;
	accept_allow(r->accept, krb5conf_skew_s());
	queue_set_max(r->queue, (size_t)r->c->conf.keeper_queue_max);
	ntlm_use(r->ntlm);
}

void
relays_drain(struct relays *r, uint64_t ms)
{
	/* Relays drain too and need us for it: they go first. */
	loop_timer_set(r->cut, ms);
	stop_when_idle(r);
}
