/*
 * Purpose: queue what is NTLM, hand it to the processes for it, answer.
 *
 * Runs in: the keeper.
 * Trusts:  the master, which gave the channels; of an NTLM process that it
 *          knows who an NTLM client is, and nothing else.
 * Touches: the channels, queues, counters of this process.
 * Failure: "busy" to the relay; a process that breaks the rules is accused
 *          and its channel closed.
 */
#include "worker/keeper/ntlm.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"
#include "worker/apreq.h"

/* More than one for each half-done exchange can never wait. */
#define NTLM_CHANNEL_MAX (2 * NTLM_OPEN_MAX)
/* How often deadlines are looked at while there are any. */
#define NTLM_TICK_MS 100

struct ntlm_exchange {
	TAILQ_ENTRY(ntlm_exchange) link;
	unsigned relay;
	uint64_t id;	 /* the relay's */
	uint64_t number; /* ours, on the channels */
	int process;	 /* that has its context; -1 none yet */
	uint64_t ends_ns;
	unsigned legs;
	bool busy;		 /* a step waits or is under way */
	struct queue_item *step; /* that waits; the queue's */
};

TAILQ_HEAD(ntlm_list, ntlm_exchange);

struct ntlm_process {
	struct ipc *channel;	/* NULL: it does not run */
	struct queue *waiting;	/* later legs of its exchanges */
	struct queue_item *now; /* under way; NULL: it is idle */
	uint64_t number;	/* of its exchange */
	bool orphan;
};

struct ntlm {
	struct child *c;
	ntlm_reply *reply;
	void *arg;
	struct ntlm_process process[NTLM_MAX];
	size_t nprocesses;
	struct queue *waiting; /* first legs: for whoever is free */
	struct ntlm_list open[RELAY_MAX];
	size_t nopen[RELAY_MAX];
	size_t total;
	uint64_t last_number;
	struct loop_timer *tick;
	unsigned turn; /* the process to look at first */
};

static void ntlm_on_msg(void *arg, struct ipc *ch, struct ipc_msg *m);
static void ntlm_on_end(void *arg, struct ipc *ch, enum ipc_end end,
			const char *why);
static void ntlm_dispatch(struct ntlm *n);

static const struct ipc_ops channel_ops = {
    .on_msg = ntlm_on_msg,
    .on_end = ntlm_on_end,
};

/* --- answers ------------------------------------------------------------- */

static void
refuse(struct ntlm *n, const struct queue_item *i, enum auth_cause cause,
       const char *detail)
{
	bool busy = auth_cause_is_busy(cause);
	struct msg_auth_reply m = {
	    .outcome = busy ? AUTH_BUSY : AUTH_FAILED,
	    .cause = cause,
	    .mech = busy ? MECH_NONE : MECH_NTLM,
	    .detail = slice_of(detail),
	};

	n->reply(n->arg, i, &m);
}

static void
gauge(struct ntlm *n)
{
	size_t waiting = queue_len(n->waiting, QUEUE_AUTH);

	for (unsigned s = 0; s < NTLM_MAX; s++)
		waiting += queue_len(n->process[s].waiting, QUEUE_AUTH);
	stat_set(n->c->row, STAT_ntlm_queue, waiting);
	stat_set(n->c->row, STAT_ntlm_open, n->total);
}

/* --- exchanges ------------------------------------------------------------ */

static struct ntlm_exchange *
exchange_find(struct ntlm *n, unsigned relay, uint64_t id)
{
	struct ntlm_exchange *x;

	TAILQ_FOREACH(x, &n->open[relay], link)
	if (x->id == id)
		return x;
	return NULL;
}

static struct ntlm_exchange *
exchange_open(struct ntlm *n, const struct queue_item *i)
{
	struct ntlm_exchange *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->relay = i->slot;
	x->id = i->id;
	x->number = ++n->last_number;
	x->process = -1;
	x->ends_ns =
	    i->arrived_ns + (uint64_t)n->c->conf.auth_timeout_ms * NS_PER_MS;
	TAILQ_INSERT_TAIL(&n->open[x->relay], x, link);
	n->nopen[x->relay]++;
	n->total++;
	if (n->total == 1)
		loop_timer_set(n->tick, NTLM_TICK_MS);
	return x;
}

static struct queue *
queue_of(struct ntlm *n, const struct ntlm_exchange *x)
{
	return x->process < 0 ? n->waiting : n->process[x->process].waiting;
}

/* Its process has nothing of it left, or is told. */
static void
exchange_end(struct ntlm *n, struct ntlm_exchange *x, bool tell)
{
	struct ntlm_process *p =
	    x->process < 0 ? NULL : &n->process[x->process];

	TAILQ_REMOVE(&n->open[x->relay], x, link);
	n->nopen[x->relay]--;
	n->total--;
	if (p != NULL && p->now != NULL && p->number == x->number)
		p->orphan = true;
	if (x->step != NULL)
		queue_cut(queue_of(n, x), x->step);
	queue_item_free(&x->step);
	if (tell && p != NULL && p->channel != NULL &&
	    ipc_send(p->channel, IPC_NTLM_ABORT, x->number, NULL, 0, -1) != 0)
		log_warn("ntlm %d is not told that an exchange is over",
			 x->process);
	free(x);
}

/* Ends the exchange of a step that is in no queue, and answers.  The answer
 * comes last: it may cut a relay off, and so end others. */
static void
exchange_refuse(struct ntlm *n, const struct queue_item *i,
		enum auth_cause cause, const char *detail)
{
	struct ntlm_exchange *x = exchange_find(n, i->slot, i->id);

	BUG_ON(x == NULL);
	x->step = NULL;
	exchange_end(n, x, true);
	refuse(n, i, cause, detail);
}

/* --- processes ------------------------------------------------------------ */

static void
process_end(struct ntlm *n, unsigned slot)
{
	struct ntlm_process *p = &n->process[slot];
	struct ntlm_exchange *x, *next;
	struct queue_item *i;

	if (p->channel == NULL)
		return;
	ipc_free(&p->channel);
	n->nprocesses--;
	if (p->now != NULL && !p->orphan)
		exchange_refuse(n, p->now, CAUSE_NTLM_BUSY,
				"the NTLM process has ended");
	queue_item_free(&p->now);
	p->orphan = false;
	while ((i = queue_take(p->waiting)) != NULL) {
		exchange_refuse(n, i, CAUSE_NTLM_BUSY,
				"the NTLM process has ended");
		queue_item_free(&i);
	}
	for (unsigned r = 0; r < RELAY_MAX; r++) {
		for (x = TAILQ_FIRST(&n->open[r]); x != NULL; x = next) {
			next = TAILQ_NEXT(x, link);
			if (x->process == (int)slot)
				exchange_end(n, x, false);
		}
	}
}

/* The master cannot see the channel: it is told. */
static void
process_lied(struct ntlm *n, unsigned slot, const char *why)
{
	child_accuse(n->c, ROLE_NTLM, slot, why);
	process_end(n, slot);
}

static void
ntlm_on_end(void *arg, struct ipc *ch, enum ipc_end end, const char *why)
{
	struct ntlm *n = arg;
	unsigned slot = ipc_peer_slot(ch);

	BUG_ON(n->process[slot].channel != ch);
	log_info("channel to ntlm %u: %s", slot, why);
	if (end != IPC_CLOSED)
		process_lied(n, slot, why);
	else
		process_end(n, slot);
	gauge(n);
}

void
ntlm_add(struct ntlm *n, unsigned slot, int fd)
{
	struct ntlm_process *p = &n->process[slot];

	BUG_ON(slot >= NTLM_MAX);
	process_end(n, slot);
	p->channel = ipc_new(n->c->loop, fd, ROLE_KEEPER, ROLE_NTLM, slot,
			     NTLM_CHANNEL_MAX, &channel_ops, n);
	if (p->channel == NULL)
		log_err("no memory for the channel to ntlm %u", slot);
	else
		n->nprocesses++;
	ntlm_dispatch(n);
}

/* --- work ----------------------------------------------------------------- */

/* The next step for a process that is in time; NULL when there is none. */
static struct queue_item *
next_step(struct ntlm *n, struct ntlm_process *p)
{
	uint64_t now = clock_mono_ns();
	struct queue_item *i;

	for (;;) {
		i = queue_take(p->waiting);
		if (i == NULL)
			i = queue_take(n->waiting);
		if (i == NULL || now < i->deadline_ns)
			return i;
		stat_add(n->c->row, STAT_ntlm_late, 1);
		exchange_refuse(n, i, CAUSE_NTLM_TIMEOUT, "");
		queue_item_free(&i);
	}
}

static void
process_give(struct ntlm *n, unsigned slot)
{
	struct ntlm_process *p = &n->process[slot];
	struct queue_item *i = next_step(n, p);
	struct ntlm_exchange *x;
	int e;

	if (i == NULL)
		return;
	x = exchange_find(n, i->slot, i->id);
	BUG_ON(x == NULL); /* a step goes with its exchange */
	x->step = NULL;
	x->process = (int)slot;
	p->now = i;
	p->number = x->number;
	p->orphan = false;
	n->turn = (slot + 1) % NTLM_MAX;
	e = ipc_send(p->channel, IPC_NTLM_STEP, x->number, i->body, i->len, -1);
	if (e != 0)
		process_lied(n, slot, "takes no steps");
}

static void
ntlm_dispatch(struct ntlm *n)
{
	unsigned first = n->turn;

	for (unsigned k = 0; k < NTLM_MAX; k++) {
		unsigned slot = (first + k) % NTLM_MAX;
		struct ntlm_process *p = &n->process[slot];

		if (p->channel != NULL && p->now == NULL)
			process_give(n, slot);
	}
	gauge(n);
}

/* Is that what an NTLM process may say?  NULL when it is. */
static const char *
reply_fault(const struct msg_auth_reply *m)
{
	struct identity *id;
	struct unpack u;
	bool ok;

	if (m->token.len > NTLM_TOKEN_OUT_MAX)
		return "a token that is too large";
	if (m->mech != MECH_NONE && m->mech != MECH_NTLM)
		return "a mechanism that is not its own";
	if (m->outcome != AUTH_OK)
		return NULL;
	unpack_init(&u, m->identity.p, m->identity.len);
	id = identity_unpack(&u);
	ok = id != NULL && unpack_done(&u) && id->mech == MECH_NTLM &&
	     strchr(id->principal, '\\') != NULL;
	identity_free(&id);
	return ok ? NULL : "an identity that is not NTLM's";
}

static void
take_reply(struct ntlm *n, struct ntlm_process *p,
	   const struct msg_auth_reply *m)
{
	struct queue_item *i = p->now;
	struct ntlm_exchange *x = exchange_find(n, i->slot, i->id);
	bool orphan = p->orphan;

	p->now = NULL;
	p->orphan = false;
	if (!orphan) {
		BUG_ON(x == NULL || x->number != p->number);
		x->busy = false;
		if (m->outcome != AUTH_CONTINUE)
			exchange_end(n, x, false);
		n->reply(n->arg, i, m);
	}
	queue_item_free(&i);
}

static void
ntlm_on_msg(void *arg, struct ipc *ch, struct ipc_msg *m)
{
	struct ntlm *n = arg;
	unsigned slot = ipc_peer_slot(ch);
	struct ntlm_process *p = &n->process[slot];
	struct msg_auth_reply r;
	const char *why = NULL;

	BUG_ON(p->channel != ch || m->type != IPC_NTLM_REPLY);
	if (p->now == NULL || m->id != p->number)
		why = "an answer that nobody asked for";
	else if (msg_auth_reply_unpack(&r, m->body, m->len) != 0)
		why = "a body that is not one";
	else
		why = reply_fault(&r);
	if (why != NULL)
		process_lied(n, slot, why);
	else
		take_reply(n, p, &r);
	ntlm_dispatch(n);
}

/* --- requests ------------------------------------------------------------- */

/* A new exchange for the first leg; NULL when it was refused. */
static struct ntlm_exchange *
begin(struct ntlm *n, const struct queue_item *i, const struct msg_auth_step *m)
{
	struct ntlm_exchange *x = NULL;

	if (m->shared != 0)
		refuse(n, i, CAUSE_NTLM_PROXY, "");
	else if (m->first == 0)
		refuse(n, i, CAUSE_TIMEOUT,
		       "the exchange is over, or never began");
	else if (n->nprocesses == 0)
		refuse(n, i, CAUSE_NTLM_BUSY, "no NTLM process is there");
	else if (n->total >= NTLM_OPEN_MAX ||
		 n->nopen[i->slot] >= NTLM_OPEN_SLOT_MAX)
		refuse(n, i, CAUSE_HALF_DONE, "NTLM");
	else if ((x = exchange_open(n, i)) == NULL)
		refuse(n, i, CAUSE_BUSY, "no memory");
	return x;
}

/* May another leg follow?  False: it was refused, and the exchange is over. */
static bool
go_on(struct ntlm *n, struct ntlm_exchange *x, const struct queue_item *i,
      const struct msg_auth_step *m)
{
	if (m->shared == 0 && !x->busy && x->legs < NTLM_LEGS_MAX)
		return true;
	exchange_end(n, x, true);
	if (m->shared != 0)
		refuse(n, i, CAUSE_NTLM_PROXY, "");
	else
		refuse(n, i, CAUSE_MALFORMED, "the exchange does not end");
	return false;
}

static void
enqueue(struct ntlm *n, struct ntlm_exchange *x, struct queue_item *i)
{
	struct queue_item *out;

	x->busy = true;
	x->legs++;
	x->step = i;
	i->deadline_ns = MIN(i->deadline_ns, x->ends_ns);
	out = queue_put(queue_of(n, x), i);
	if (out != NULL)
		exchange_refuse(n, out, CAUSE_NTLM_BUSY, "");
	queue_item_free(&out);
	ntlm_dispatch(n);
}

bool
ntlm_take(struct ntlm *n, struct queue_item **ip, const struct msg_auth_step *m)
{
	struct queue_item *i = *ip;
	struct ntlm_exchange *x = exchange_find(n, i->slot, i->id);
	struct apreq req;

	if (x != NULL && m->first != 0) {
		exchange_end(n, x, true);
		x = NULL;
	}
	if (x == NULL) {
		if (!n->c->conf.ntlm)
			return false;
		apreq_find(&req, m->token);
		if (req.kind != APREQ_NTLM)
			return false;
		x = begin(n, i, m);
	} else if (!go_on(n, x, i, m)) {
		x = NULL;
	}
	*ip = NULL;
	if (x == NULL)
		queue_item_free(&i);
	else
		enqueue(n, x, i);
	gauge(n);
	return true;
}

void
ntlm_abort(struct ntlm *n, unsigned relay, uint64_t id)
{
	struct ntlm_exchange *x = exchange_find(n, relay, id);

	if (x != NULL)
		exchange_end(n, x, true);
	gauge(n);
}

void
ntlm_abort_slot(struct ntlm *n, unsigned relay)
{
	while (!TAILQ_EMPTY(&n->open[relay]))
		exchange_end(n, TAILQ_FIRST(&n->open[relay]), true);
	gauge(n);
}

/* --- deadlines -------------------------------------------------------------
 */

/* A process is stuck with a step: nobody waits for it any more. */
static void
process_late(struct ntlm *n, struct ntlm_process *p, uint64_t now)
{
	if (p->now == NULL || p->orphan || now < p->now->deadline_ns)
		return;
	stat_add(n->c->row, STAT_ntlm_late, 1);
	exchange_refuse(n, p->now, CAUSE_NTLM_TIMEOUT, "");
}

static bool
is_due(const struct ntlm_exchange *x, uint64_t now)
{
	if (x->step != NULL)
		return now >= x->step->deadline_ns;
	return !x->busy && now >= x->ends_ns;
}

/* One exchange of this relay whose time is over; false when there is none. */
static bool
expire_one(struct ntlm *n, unsigned relay, uint64_t now)
{
	struct ntlm_exchange *x = TAILQ_FIRST(&n->open[relay]);
	struct queue_item *i;

	while (x != NULL && !is_due(x, now))
		x = TAILQ_NEXT(x, link);
	if (x == NULL)
		return false;
	i = x->step;
	if (i == NULL) {
		exchange_end(n, x, true);
		return true;
	}
	queue_cut(queue_of(n, x), i);
	stat_add(n->c->row, STAT_ntlm_late, 1);
	exchange_refuse(n, i, CAUSE_NTLM_TIMEOUT, "");
	queue_item_free(&i);
	return true;
}

static void
ntlm_on_tick(void *arg)
{
	struct ntlm *n = arg;
	uint64_t now = clock_mono_ns();

	for (unsigned s = 0; s < NTLM_MAX; s++)
		process_late(n, &n->process[s], now);
	for (unsigned r = 0; r < RELAY_MAX; r++)
		while (expire_one(n, r, now))
			continue;
	gauge(n);
	if (n->total > 0)
		loop_timer_set(n->tick, NTLM_TICK_MS);
}

/* --- life ------------------------------------------------------------------
 */

struct ntlm *
ntlm_new(struct child *c, ntlm_reply *reply, void *arg)
{
	struct ntlm *n = calloc(1, sizeof(*n));
	size_t max = (size_t)c->conf.keeper_queue_max;
	bool ok = true;

	if (n == NULL)
		return NULL;
	n->c = c;
	n->reply = reply;
	n->arg = arg;
	for (unsigned r = 0; r < RELAY_MAX; r++)
		TAILQ_INIT(&n->open[r]);
	for (unsigned s = 0; s < NTLM_MAX; s++) {
		n->process[s].waiting = queue_new(max);
		ok = ok && n->process[s].waiting != NULL;
	}
	n->waiting = queue_new(max);
	n->tick = loop_timer_new(c->loop, ntlm_on_tick, n);
	if (!ok || n->waiting == NULL || n->tick == NULL)
		ntlm_free(&n);
	return n;
}

void
ntlm_free(struct ntlm **np)
{
	struct ntlm *n = *np;

	if (n == NULL)
		return;
	*np = NULL;
	for (unsigned r = 0; n->waiting != NULL && r < RELAY_MAX; r++)
		while (!TAILQ_EMPTY(&n->open[r]))
			exchange_end(n, TAILQ_FIRST(&n->open[r]), false);
	for (unsigned s = 0; s < NTLM_MAX; s++) {
		ipc_free(&n->process[s].channel);
		queue_item_free(&n->process[s].now);
		queue_free(&n->process[s].waiting);
	}
	queue_free(&n->waiting);
	loop_timer_free(&n->tick);
	free(n);
}

void
ntlm_use(struct ntlm *n)
{
	size_t max = (size_t)n->c->conf.keeper_queue_max;

	queue_set_max(n->waiting, max);
	for (unsigned s = 0; s < NTLM_MAX; s++)
		queue_set_max(n->process[s].waiting, max);
}
