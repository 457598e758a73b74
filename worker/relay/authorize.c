/*
 * Purpose: may this account use the connector, and as what?
 *
 * Runs in: relay.
 * Trusts:  the table that the master sealed; the keeper's identity.
 * Touches: the table (read-only), the channel to the master.
 * Failure: a refusal; without a table nobody is let in.
 */
#include <sys/types.h>

#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/base/pack.h"
#include "shm/ways.h"
#include "worker/relay/client.h"
#include "worker/relay/tell.h"

#define SEEN_SLOTS 1024 /* a power of two */
/* The SIDs of an account, told again: the master may have dropped them. */
#define SEEN_SIDS_NS (600 * NS_PER_S)
/* Messages that may wait when one with SIDs (36 kB for 1,200 groups) joins. */
#define SEEN_QUEUE_MAX 32

/*
 * What the master was told last of an account, so that it hears of changes
 * and once in account_report_ms, not of every request.  A collision only
 * tells it more.
 */
struct seen_slot {
	uint64_t hash;
	uint64_t told; /* CLOCK_MONOTONIC ns */
	uint64_t generation;
	uint32_t entry;
	uint8_t verdict;
	uint16_t ways; /* WAY_BITs that it heard of since then */
	uint64_t sids; /* msg_sids_hash() of those that it was told */
	uint64_t sids_told;
};
static struct seen_slot seen_slots[SEEN_SLOTS];
static uint8_t seen_sids[SIDS_PACKED_MAX];
static uint8_t seen_body[90112]; /* of SEEN in ipc_msgs.def */

_Static_assert(WAY_MAX <= 16, "ways holds them");

static struct seen_slot *
seen_slot_of(struct client *c, uint64_t *hash_r)
{
	*hash_r = c->x->account;
	return &seen_slots[*hash_r % SEEN_SLOTS];
}

/* The slot to tell from, or NULL: the master knows. */
static struct seen_slot *
seen_news(struct client *c, const struct table_hit *hit, uint64_t gen)
{
	const struct identity *id = c->x->ident;
	uint64_t hash, now = clock_turn_ns();
	uint64_t period =
	    (uint64_t)c->w->c->conf.account_report_ms * (NS_PER_S / 1000);
	unsigned ways =
	    ways_of(c->wire.ssl != NULL, id->bound, id->mech, id->enctype);
	struct seen_slot *s = seen_slot_of(c, &hash);

	if (s->hash != hash)
		*s = (struct seen_slot){.hash = hash};
	else if (s->generation == gen && s->entry == hit->entry &&
		 s->verdict == (uint8_t)hit->verdict &&
		 now - s->told < period) {
		if ((ways & ~(unsigned)s->ways) == 0)
			return hit->verdict == VERDICT_ALLOW ? NULL : s;
		s->ways |= (uint16_t)ways;
		return s;
	}
	s->generation = gen;
	s->entry = hit->entry;
	s->verdict = (uint8_t)hit->verdict;
	s->ways = (uint16_t)ways;
	s->told = now;
	return s;
}

/* The SIDs, when the master has not been told these. */
static void
seen_add_sids(struct client *c, struct seen_slot *s, struct msg_seen *m)
{
	const struct identity *id = c->x->ident;
	uint64_t now = clock_turn_ns();
	struct pack k;

	m->nsids = (uint32_t)id->nsids;
	m->lack = (uint8_t)id->lack;
	pack_init(&k, seen_sids, sizeof(seen_sids));
	sids_pack(&k, id->sids, id->nsids);
	m->sids_hash = msg_sids_hash((struct slice){(char *)k.p, k.len});
	if ((s->sids == m->sids_hash && now - s->sids_told < SEEN_SIDS_NS) ||
	    c->w->c->master == NULL ||
	    ipc_queued(c->w->c->master) > SEEN_QUEUE_MAX)
		return;
	s->sids = m->sids_hash;
	s->sids_told = now;
	m->sids = (struct slice){(char *)k.p, k.len};
}

static void
seen_tell(struct client *c, struct seen_slot *s, const struct table_hit *hit,
	  uint64_t gen)
{
	static struct tell_limit limit;
	const struct identity *id = c->x->ident;
	char sid[SID_TEXT_MAX] = "";
	struct msg_seen m = {
	    .allowed = hit->verdict == VERDICT_ALLOW,
	    .tls = c->wire.ssl != NULL,
	    .bound = id->bound,
	    .mech = (uint8_t)id->mech,
	    .role = (uint8_t)hit->role,
	    .verdict = (uint8_t)hit->verdict,
	    .entry = hit->entry,
	    .other = hit->conflict ? hit->other : 0,
	    .matches = hit->matches,
	    .generation = gen,
	    .enctype = id->enctype,
	    .kvno = id->kvno,
	    .account = slice_of(id->principal),
	    .spn = slice_of(id->spn),
	    .address = slice_of(c->address),
	    .listener = slice_of(c->listener),
	    .request = slice_of(c->x->id),
	};
	size_t len;

	if (id->nsids > 0 && id->sids[0].source == SID_USER &&
	    sid_text(id->sids[0].bytes, id->sids[0].len, sid) == 0)
		m.sid = slice_of(sid);
	seen_add_sids(c, s, &m);
	len = msg_seen_pack(&m, seen_body, sizeof(seen_body));
	if (len == 0 || c->w->c->master == NULL ||
	    ipc_send(c->w->c->master, IPC_SEEN, 0, seen_body, len, -1) != 0) {
		*s = (struct seen_slot){0}; /* all of it with the next */
		if (tell_may(&limit))
			log_warn("the master was not told of %s",
				 id->principal);
	}
}

enum reason
authorize(struct client *c)
{
	struct exchange *x = c->x;
	struct relay *w = c->w;
	struct table_hit hit;
	struct seen_slot *news;
	uint64_t gen = w->table == NULL ? 0 : table_generation(w->table);

	x->account = hash_bytes(&w->hash, x->ident->principal,
				strlen(x->ident->principal));
	table_decide(w->table, x->ident, clock_real_ns() / NS_PER_S, &hit);
	x->role = hit.role;
	x->entry = hit.entry;
	x->generation = gen;
	x->decided = (uint8_t)(1 + hit.verdict);
	str_cut(x->entry_name, sizeof(x->entry_name), hit.name);
	stat_add(w->row,
		 hit.verdict == VERDICT_ALLOW ? STAT_authz_allowed
					      : STAT_authz_refused,
		 1);
	if (hit.conflict)
		stat_add(w->row, STAT_authz_conflicts, 1);
	/* a refusal is always news: the master limits and counts them */
	news = seen_news(c, &hit, gen);
	if (news != NULL)
		seen_tell(c, news, &hit, gen);
	switch (hit.verdict) {
	case VERDICT_ALLOW:
		return REASON_OK;
	case VERDICT_NO_MATCH:
		return REASON_AUTH_DENIED;
	case VERDICT_EXPIRED:
		return REASON_AUTH_EXPIRED;
	case VERDICT_EMPTY:
		return REASON_TABLE_EMPTY;
	case VERDICT_NO_TABLE:
		return REASON_NO_TABLE;
	}
	return REASON_INTERNAL;
}
