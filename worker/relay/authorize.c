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
#include "worker/relay/client.h"

#define SEEN_SLOTS    1024 /* a power of two */
#define SEEN_AGAIN_NS (60 * NS_PER_S)

/*
 * What the master was told last of an account, so that it hears of changes
 * and once a minute, not of every request.  A collision only tells it more.
 */
struct seen_slot {
	uint64_t hash;
	uint64_t told; /* CLOCK_MONOTONIC ns */
	uint64_t generation;
	uint32_t entry;
	uint8_t verdict;
	bool tls;
};
static struct seen_slot seen_slots[SEEN_SLOTS];

static bool
seen_is_news(struct client *c, const struct table_hit *hit, uint64_t gen)
{
	const struct identity *id = c->x->ident;
	uint64_t now = clock_turn_ns();
	struct seen_slot is = {
	    .hash =
		hash_bytes(&c->w->hash, id->principal, strlen(id->principal)),
	    .told = now,
	    .generation = gen,
	    .entry = hit->entry,
	    .verdict = (uint8_t)hit->verdict,
	    .tls = c->wire.ssl != NULL,
	};
	struct seen_slot *s = &seen_slots[is.hash % SEEN_SLOTS];

	if (s->hash == is.hash && s->generation == is.generation &&
	    s->entry == is.entry && s->verdict == is.verdict &&
	    s->tls == is.tls && now - s->told < SEEN_AGAIN_NS)
		return false;
	*s = is;
	return true;
}

static void
seen_tell(struct client *c, const struct table_hit *hit, uint64_t gen)
{
	const struct identity *id = c->x->ident;
	char sid[SID_TEXT_MAX] = "";
	uint8_t body[2048];
	struct msg_seen m = {
	    .allowed = hit->verdict == VERDICT_ALLOW,
	    .tls = c->wire.ssl != NULL,
	    .bound = id->bound,
	    .mech = (uint8_t)id->mech,
	    .role = (uint8_t)hit->role,
	    .verdict = (uint8_t)hit->verdict,
	    .entry = hit->entry,
	    .other = hit->conflict ? hit->other : 0,
	    .generation = gen,
	    .enctype = id->enctype,
	    .kvno = id->kvno,
	    .account = slice_of(id->principal),
	    .spn = slice_of(id->spn),
	    .address = slice_of(c->address),
	    .request = slice_of(c->x->id),
	};
	size_t len;

	if (id->nsids > 0 && id->sids[0].source == SID_USER &&
	    sid_text(id->sids[0].bytes, id->sids[0].len, sid) == 0)
		m.sid = slice_of(sid);
	len = msg_seen_pack(&m, body, sizeof(body));
	if (len == 0 || c->w->c->master == NULL ||
	    ipc_send(c->w->c->master, IPC_SEEN, 0, body, len, -1) != 0)
		log_warn("the master was not told of %s", id->principal);
}

enum reason
authorize(struct client *c)
{
	struct exchange *x = c->x;
	struct relay *w = c->w;
	struct table_hit hit;
	uint64_t gen = w->table == NULL ? 0 : table_generation(w->table);

	table_decide(w->table, x->ident, clock_real_ns() / NS_PER_S, &hit);
	x->role = hit.role;
	x->entry = hit.entry;
	str_cut(x->entry_name, sizeof(x->entry_name), hit.name);
	stat_add(w->row,
		 hit.verdict == VERDICT_ALLOW ? STAT_authz_allowed
					      : STAT_authz_refused,
		 1);
	if (hit.conflict)
		stat_add(w->row, STAT_authz_conflicts, 1);
	/* a refusal is always news: the master limits and counts them */
	if (seen_is_news(c, &hit, gen) || hit.verdict != VERDICT_ALLOW)
		seen_tell(c, &hit, gen);
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
