/*
 * Purpose: who may go on now, who waits, and who has to come back later.
 *
 * Runs in: relay.
 * Trusts:  the table for the role; nothing that a client says.
 * Touches: its own memory; clients that wait.
 * Failure: a refusal that says when to try again.
 */
#include "worker/relay/admit.h"

#include <malloc.h>
#include <netinet/in.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/client_priv.h"
#include "worker/relay/memory.h"
#include "worker/relay/tell.h"
#include "worker/relay/tlsmem.h"

/* With so many connections a relay that is short of memory still serves. */
#define ADMIT_SHORT_CLIENTS 64

enum { READY_EXCHANGE, READY_OTHERS, READY_MAX };

struct admit {
	struct relay *w;
	struct meters sources, accounts;
	struct admit_list ready[READY_MAX];
	size_t running;
	size_t others; /* of them, all but Exchange's */
	struct loop_cell cell;
	bool deferred;
	struct memory memory;
	size_t short_clients; /* most connections while memory is short */
};

struct admit *
admit_new(struct relay *w)
{
	struct admit *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->w = w;
	memory_open(&a->memory, "");
	return a;
}

/* ---- lists ------------------------------------------------------------- */

static void
list_push(struct admit_list *l, struct client *c)
{
	c->wait_next = NULL;
	c->wait_prev = l->last;
	if (l->last != NULL)
		l->last->wait_next = c;
	else
		l->first = c;
	l->last = c;
	l->n++;
}

static void
list_remove(struct admit_list *l, struct client *c)
{
	if (c->wait_prev != NULL)
		c->wait_prev->wait_next = c->wait_next;
	else
		l->first = c->wait_next;
	if (c->wait_next != NULL)
		c->wait_next->wait_prev = c->wait_prev;
	else
		l->last = c->wait_prev;
	l->n--;
	c->wait_next = c->wait_prev = NULL;
}

/* ---- connections --------------------------------------------------------- */

/* An IPv6 host has a network of 2^64 addresses for itself: they count as one.
 * An IPv4 address is one in either form. */
static uint64_t
admit_source_key(struct relay *w, const struct sockaddr_storage *from)
{
	const struct sockaddr_in6 *s6 = (const void *)from;
	const struct sockaddr_in *s4 = (const void *)from;

	if (from->ss_family == AF_INET)
		return hash_bytes(&w->hash, &s4->sin_addr, 4);
	if (from->ss_family != AF_INET6)
		return 0;
	if (IN6_IS_ADDR_V4MAPPED(&s6->sin6_addr))
		return hash_bytes(&w->hash, &s6->sin6_addr.s6_addr[12], 4);
	return hash_bytes(&w->hash, &s6->sin6_addr, 8);
}

static bool
admit_no(struct client *c, enum reason why)
{
	stat_add(c->w->row, STAT_conns_refused, 1);
	tell_limit(c->w, why, c->address, NULL);
	return false;
}

bool
admit_source(struct client *c, const struct sockaddr_storage *from)
{
	struct relay *w = c->w;
	int64_t max = w->c->conf.source_connections_max;
	struct meter *m =
	    meter_get(&w->admit->sources, admit_source_key(w, from));

	if (m == NULL)
		return true; /* memory.c knows what to do about that */
	if (max > 0 && m->conns >= max)
		return admit_no(c, REASON_SOURCE_CONNECTIONS);
	m->conns++;
	c->source = m;
	return true;
}

bool
admit_connection(struct client *c, const struct sockaddr_storage *from)
{
	struct relay *w = c->w;
	struct admit *a = w->admit;

	if (w->nclients >= (size_t)w->c->conf.connections_max)
		return admit_no(c, REASON_TOO_MANY_CONNECTIONS);
	if (a->memory.is_short && w->nclients >= a->short_clients)
		return admit_no(c, REASON_MEMORY_SHORT);
	return from == NULL || admit_source(c, from);
}

void
admit_gone(struct client *c)
{
	if (c->source != NULL)
		c->source->conns--;
	if (c->account != NULL)
		c->account->conns--;
	c->source = c->account = NULL;
}

/* The connection now counts as one of the account that speaks on it. */
static enum reason
admit_account(struct client *c)
{
	struct relay *w = c->w;
	uint64_t key = c->x->account; /* forward.c: authorize() came first */
	int64_t max = w->c->conf.account_connections_max;
	struct meter *m = c->account;

	if (m == NULL || m->key != key) {
		if (m != NULL)
			m->conns--;
		c->account = NULL;
		m = meter_get(&w->admit->accounts, key);
		if (m == NULL)
			return REASON_NOMEM;
		if (max > 0 && m->conns >= max)
			return REASON_ACCOUNT_CONNECTIONS;
		m->conns++;
		c->account = m;
	}
	c->x->meter = m;
	return REASON_OK;
}

/* ---- requests ------------------------------------------------------------ */

/* How many of max others than Exchange may have. */
static size_t
admit_others_max(int64_t max)
{
	size_t all = (size_t)max;

	return all < 2 ? all : all - MAX(all / 8, (size_t)1);
}

static bool
admit_has_room(const struct admit *a, int ready)
{
	int64_t max = a->w->c->conf.cloud_requests_max;

	if (a->running >= (size_t)max)
		return false;
	return ready == READY_EXCHANGE || a->others < admit_others_max(max);
}

static int
admit_ready_of(const struct client *c)
{
	return c->x->exchange_role ? READY_EXCHANGE : READY_OTHERS;
}

static void
admit_run(struct client *c)
{
	struct admit *a = c->w->admit;

	c->x->place = PLACE_RUNNING;
	a->running++;
	if (!c->x->exchange_role)
		a->others++;
}

static struct client *
admit_next(struct admit *a)
{
	for (int i = 0; i < READY_MAX; i++) {
		struct client *c = a->ready[i].first;

		if (c == NULL || !admit_has_room(a, i))
			continue;
		list_remove(&a->ready[i], c);
		stat_sub(a->w->row, STAT_queue_length, 1);
		return c;
	}
	return NULL;
}

/* At the end of a turn: whoever ended may be within a handler of his own. */
static void
admit_on_deferred(void *arg)
{
	struct admit *a = arg;
	struct client *c;

	a->deferred = false;
	while ((c = admit_next(a)) != NULL) {
		admit_run(c);
		forward_admitted(c);
	}
}

static void
admit_kick(struct admit *a)
{
	if (a->deferred || (a->ready[READY_EXCHANGE].first == NULL &&
			    a->ready[READY_OTHERS].first == NULL))
		return;
	a->deferred = true;
	loop_defer(a->w->loop, &a->cell, admit_on_deferred, a);
}

static void
admit_make_ready(struct client *c)
{
	struct admit *a = c->w->admit;

	c->x->meter->requests++;
	c->x->place = PLACE_READY;
	list_push(&a->ready[admit_ready_of(c)], c);
}

static bool
admit_account_has_room(const struct relay *w, const struct meter *m)
{
	int64_t max = w->c->conf.account_requests_max;

	return max == 0 || m->requests < max;
}

static bool
admit_refuse(struct client *c, enum reason why)
{
	tell_limit(c->w, why, c->address, c->x->ident->principal);
	client_refuse(c, why, NULL);
	return false;
}

/* May one more of this queue wait?  Of others than Exchange those count that
 * may: some can be there beyond that, from ACCOUNT. */
static bool
admit_has_queue(const struct admit *a, int ready)
{
	int64_t max = a->w->c->conf.queue_max;
	size_t others_max = admit_others_max(max);
	size_t others = MIN(a->ready[READY_OTHERS].n, others_max);

	if (a->ready[READY_EXCHANGE].n + others >= (size_t)max)
		return false;
	return ready == READY_EXCHANGE || others < others_max;
}

static bool
admit_may_wait(const struct client *c, bool account_has_room)
{
	if (account_has_room)
		return admit_has_queue(c->w->admit, admit_ready_of(c));
	return c->x->meter->waits.n < (size_t)c->w->c->conf.queue_max;
}

/* It waits. */
static bool
admit_wait(struct client *c, bool account_has_room)
{
	if (!admit_may_wait(c, account_has_room)) {
		stat_add(c->w->row, STAT_queue_refused, 1);
		return admit_refuse(c, REASON_QUEUE_FULL);
	}
	stat_add(c->w->row, STAT_queue_length, 1);
	stat_add(c->w->row, STAT_queued, 1);
	if (account_has_room) {
		admit_make_ready(c);
	} else {
		c->x->place = PLACE_ACCOUNT;
		list_push(&c->x->meter->waits, c);
	}
	c->x->t_queue = clock_turn_ns();
	client_enter(c, CLIENT_QUEUE);
	return false;
}

static enum reason
admit_judge(struct client *c)
{
	struct relay *w = c->w;
	struct exchange *x = c->x;
	enum reason why = admit_account(c);
	uint64_t ns;

	if (why == REASON_ACCOUNT_CONNECTIONS)
		stat_add(w->row, STAT_limited, 1);
	if (why != REASON_OK)
		return why;
	x->exchange_role = x->role == SERVER_EXCHANGE;
	if (w->admit->memory.is_short && !x->exchange_role) {
		stat_add(w->row, STAT_shed, 1);
		return REASON_MEMORY_SHORT;
	}
	ns = meter_pace(x->meter, clock_turn_ns(),
			(uint64_t)w->c->conf.account_rate_max);
	if (ns == 0)
		return REASON_OK;
	stat_add(w->row, STAT_limited, 1);
	x->retry_after_s = (uint32_t)((ns + NS_PER_S - 1) / NS_PER_S);
	return REASON_ACCOUNT_RATE;
}

bool
admit_request(struct client *c)
{
	struct admit *a = c->w->admit;
	enum reason why = admit_judge(c);
	int ready;
	bool room;

	if (why != REASON_OK)
		return admit_refuse(c, why);
	ready = admit_ready_of(c);
	room = admit_account_has_room(c->w, c->x->meter);
	/* nobody overtakes those of its own queue */
	if (!room || !admit_has_room(a, ready) || a->ready[ready].first != NULL)
		return admit_wait(c, room);
	c->x->meter->requests++;
	admit_run(c);
	return true;
}

/* The account has fewer than before, or may have more: others of it get ready.
 */
static void
admit_promote(struct relay *w, struct meter *m)
{
	struct client *c;

	while ((c = m->waits.first) != NULL && admit_account_has_room(w, m)) {
		list_remove(&m->waits, c);
		admit_make_ready(c);
	}
}

void
admit_leave(struct client *c)
{
	struct admit *a = c->w->admit;
	struct exchange *x = c->x;
	struct meter *m = x->meter;
	enum admit_place place = x->place;

	x->place = PLACE_NONE;
	if (place == PLACE_NONE)
		return;
	if (place == PLACE_RUNNING) {
		a->running--;
		if (!x->exchange_role)
			a->others--;
	} else {
		list_remove(place == PLACE_ACCOUNT
				? &m->waits
				: &a->ready[admit_ready_of(c)],
			    c);
		stat_sub(c->w->row, STAT_queue_length, 1);
	}
	if (place != PLACE_ACCOUNT)
		m->requests--;
	admit_promote(c->w, m);
	admit_kick(a);
}

static void
admit_on_meter(void *arg, struct meter *m)
{
	admit_promote(arg, m);
}

void
admit_on_conf(struct relay *w)
{
	meters_each(&w->admit->accounts, admit_on_meter, w);
	admit_kick(w->admit);
}

/* ---- memory -------------------------------------------------------------- */

static void
admit_memory_tell(struct relay *w, const struct memory_now *now, bool is_short)
{
	char text[256];
	struct msg_event e = {.id = is_short ? 2111 : 1110};

	snprintf(text, sizeof(text),
		 "relay %u holds %llu MiB (memory_max %llu); its control group "
		 "%llu of %llu MiB; the host has %llu of %llu MiB available",
		 w->c->slot, (unsigned long long)now->rss >> 20,
		 (unsigned long long)w->c->conf.memory_max >> 20,
		 (unsigned long long)now->group >> 20,
		 (unsigned long long)now->limit >> 20,
		 (unsigned long long)now->available >> 20,
		 (unsigned long long)now->total >> 20);
	e.detail = slice_of(text);
	child_event(w->c, &e);
}

static void
admit_memory(struct relay *w)
{
	struct admit *a = w->admit;
	bool before = a->memory.is_short;
	struct memory_now now;

	memory_read(&a->memory, &now);
	memory_judge(&a->memory, &now, (uint64_t)w->c->conf.memory_max);
	if (a->memory.is_short && !before)
		a->short_clients =
		    MAX(w->nclients / 4 * 3, (size_t)ADMIT_SHORT_CLIENTS);
	if (a->memory.is_short != before)
		admit_memory_tell(w, &now, a->memory.is_short);
	if (!a->memory.is_short)
		return;
	client_shed_idle(w);
	tlsmem_rest();
	malloc_trim(0);
}

void
admit_sweep(struct relay *w)
{
	uint64_t now = clock_turn_ns();

	meters_sweep(&w->admit->sources, now);
	meters_sweep(&w->admit->accounts, now);
	admit_memory(w);
}
