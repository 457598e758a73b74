/*
 * Purpose: what was seen as records for the store, and back.
 *
 * Runs in: the master.
 * Trusts:  nobody: a record may be of another version, or damaged; the texts
 *          in it came from the network.
 * Touches: the memory of accounts.
 * Failure: a record that is not one is refused, and nothing of it is kept.
 *
 *	since	version, CLOCK_REALTIME ns
 *	account	version, the fields below in their order
 *	entry	version, id, first, last, reports
 *	SIDs	version, account, hash, the list
 */
#include <errno.h>
#include <stdlib.h>

#include "master/seen_priv.h"
#include "shm/base/pack.h"

#include "shm/base/log.h"

/* Counted up with every change of what a record holds; one of another version
 * is not taken in. */
#define RECORD_VERSION 2

/* --- packing ----------------------------------------------------------- */

static void
pack_account(struct pack *k, const struct seen_node *n)
{
	const struct seen_account *a = &n->a;

	pack_str(k, a->account);
	pack_str(k, a->sid);
	pack_str(k, a->spn);
	pack_str(k, a->address);
	pack_str(k, a->listener);
	pack_str(k, a->request);
	pack_u64(k, a->first);
	pack_u64(k, a->last);
	pack_u64(k, a->last_allowed);
	pack_u64(k, a->last_refused);
	pack_u64(k, a->allowed);
	pack_u64(k, a->refused);
	pack_u8(k, WAY_MAX);
	for (unsigned w = 0; w < WAY_MAX; w++)
		pack_u64(k, a->way[w]);
	pack_u64(k, a->generation);
	pack_u32(k, a->entry);
	pack_u32(k, a->other);
	pack_u32(k, a->matches);
	pack_u32(k, a->kvno);
	pack_u32(k, (uint32_t)a->enctype);
	pack_u8(k, a->verdict);
	pack_u8(k, a->role);
	pack_u8(k, a->mech);
	pack_u8(k, a->tls);
	pack_u8(k, a->bound);
	pack_u32(k, n->told.entry);
	pack_u32(k, n->told.conflict[0]);
	pack_u32(k, n->told.conflict[1]);
	pack_u8(k, n->told.transport);
	pack_u8(k, n->told.tls);
	pack_u8(k, a->lack);
	pack_u32(k, a->nsids);
	pack_u64(k, a->sids_hash);
	pack_u64(k, a->sids_ns);
}

/* The hash tells of which of its lists they are: the two records of an account
 * may be of different turns. */
static void
pack_sids(struct pack *k, const struct seen_account *a)
{
	pack_str(k, a->account);
	pack_u64(k, a->sids_hash);
	pack_slice(k, a->sids);
}

static void
pack_entry(struct pack *k, const struct seen_entry *e)
{
	pack_u32(k, e->id);
	pack_u64(k, e->first);
	pack_u64(k, e->last);
	pack_u64(k, e->reports);
}

static void
pack_row(struct pack *k, const struct seen *s, const struct seen_row *r)
{
	pack_u8(k, RECORD_VERSION);
	if (r->key.kind == SEEN_SINCE)
		pack_u64(k, s->since);
	else if (r->key.kind == SEEN_ACCOUNT)
		pack_account(k, s->slot[r->key.slot]);
	else if (r->key.kind == SEEN_SIDS)
		pack_sids(k, &s->slot[r->key.slot]->a);
	else
		pack_entry(k, &s->entry_slot[r->key.slot]->e);
	BUG_ON(k->full); /* the fields' own bounds are below */
}

size_t
seen_unsaved(const struct seen *s)
{
	return s->nunsaved;
}

int
seen_each_unsaved(struct seen *s, size_t max,
		  int (*fn)(void *arg, struct seen_key key,
			    struct slice record),
		  void *arg)
{
	static uint8_t mem[SEEN_RECORD_MAX]; /* too large for a stack */
	struct seen_row *r;
	struct pack k;
	int e = 0;

	TAILQ_FOREACH(r, &s->unsaved, link)
	{
		if (max-- == 0 || e != 0)
			break;
		pack_init(&k, mem, sizeof(mem));
		pack_row(&k, s, r);
		e = fn(arg, r->key, (struct slice){(char *)k.p, k.len});
	}
	return e;
}

void
seen_saved(struct seen *s, size_t n)
{
	while (n-- > 0 && !TAILQ_EMPTY(&s->unsaved))
		seen_untouch(s, TAILQ_FIRST(&s->unsaved));
}

/* --- unpacking --------------------------------------------------------- */

static bool
unpack_flag(struct unpack *u)
{
	uint8_t v = unpack_u8(u);

	u->bad |= v > 1;
	return v == 1;
}

static void
unpack_ways(struct unpack *u, struct seen_account *a)
{
	unsigned n = unpack_u8(u);

	for (unsigned w = 0; !u->bad && w < n; w++) {
		uint64_t when = unpack_u64(u);

		if (w < WAY_MAX)
			a->way[w] = when;
	}
}

static void
unpack_account(struct unpack *u, struct seen_account *a, struct seen_told *t)
{
	unpack_str(u, a->account, sizeof(a->account));
	unpack_str(u, a->sid, sizeof(a->sid));
	unpack_str(u, a->spn, sizeof(a->spn));
	unpack_str(u, a->address, sizeof(a->address));
	unpack_str(u, a->listener, sizeof(a->listener));
	unpack_str(u, a->request, sizeof(a->request));
	a->first = unpack_u64(u);
	a->last = unpack_u64(u);
	a->last_allowed = unpack_u64(u);
	a->last_refused = unpack_u64(u);
	a->allowed = unpack_u64(u);
	a->refused = unpack_u64(u);
	unpack_ways(u, a);
	a->generation = unpack_u64(u);
	a->entry = unpack_u32(u);
	a->other = unpack_u32(u);
	a->matches = unpack_u32(u);
	a->kvno = unpack_u32(u);
	a->enctype = (int32_t)unpack_u32(u);
	a->verdict = unpack_u8(u);
	a->role = unpack_u8(u);
	a->mech = unpack_u8(u);
	a->tls = unpack_flag(u);
	a->bound = unpack_flag(u);
	t->entry = unpack_u32(u);
	t->conflict[0] = unpack_u32(u);
	t->conflict[1] = unpack_u32(u);
	t->transport = unpack_flag(u);
	t->tls = unpack_flag(u);
	a->lack = unpack_u8(u);
	a->nsids = unpack_u32(u);
	a->sids_hash = unpack_u64(u);
	a->sids_ns = unpack_u64(u);
}

/* As msg_seen_unpack() is strict with a relay. */
static bool
account_holds(const struct seen_account *a)
{
	return a->account[0] != '\0' && a->mech <= MECH_CERT &&
	       a->role < SERVER_ROLE_MAX && a->verdict <= VERDICT_NO_TABLE &&
	       a->lack < LACK_MAX && a->nsids <= IDENTITY_SIDS_MAX &&
	       (a->lack == LACK_NONE_GIVEN || a->nsids == 0);
}

/*
 * An account may be there twice: forgotten, and seen again in another slot
 * before the first was written over.  The later one is right.
 */
static int
load_account(struct seen *s, uint32_t slot, struct unpack *u)
{
	struct seen_account a = {0};
	struct seen_told t = {0};
	struct seen_node *n;

	unpack_account(u, &a, &t);
	if (!unpack_done(u) || !account_holds(&a))
		return -EINVAL;
	n = seen_get(s, slice_of(a.account));
	if (n != NULL && n->a.last >= a.last)
		return 0;
	if (n != NULL)
		seen_drop(s, n);
	n = seen_add(s, slice_of(a.account), slot);
	if (n == NULL)
		return slot >= s->max || s->slot[slot] != NULL ? -EINVAL
							       : -ENOMEM;
	seen_take(s, n, &a, &t);
	return 0;
}

/* Those of an account that has others now, or of one that had the slot before,
 * are nobody's. */
static int
load_sids(struct seen *s, uint32_t slot, struct unpack *u)
{
	struct seen_node *n = slot < s->max ? s->slot[slot] : NULL;
	char account[IDENTITY_PRINCIPAL_MAX];
	struct slice sids;
	uint64_t hash;
	int count;

	unpack_str(u, account, sizeof(account));
	hash = unpack_u64(u);
	sids = unpack_slice(u);
	count = sids_count(sids);
	if (!unpack_done(u) || slot >= s->max || account[0] == '\0' ||
	    count < 0)
		return -EINVAL;
	if (n == NULL || strcmp(n->a.account, account) != 0 ||
	    n->a.sids_hash != hash || n->a.nsids != (uint32_t)count)
		return 0;
	seen_set_sids(s, n, sids);
	seen_untouch(s, &n->sids_row); /* it is as it was saved */
	return 0;
}

static int
load_entry(struct seen *s, uint32_t slot, struct unpack *u)
{
	struct seen_entry e = {.id = unpack_u32(u)};
	struct seen_entry_node *n;

	e.first = unpack_u64(u);
	e.last = unpack_u64(u);
	e.reports = unpack_u64(u);
	if (!unpack_done(u) || e.id == 0)
		return -EINVAL;
	n = seen_entry_get(s, e.id);
	if (n != NULL && n->e.last >= e.last)
		return 0;
	if (n != NULL)
		seen_entry_drop(s, n);
	n = seen_entry_add(s, e.id, slot);
	if (n == NULL)
		return -EINVAL;
	n->e = e;
	return 0;
}

int
seen_load(struct seen *s, struct seen_key key, struct slice record)
{
	struct unpack u;

	unpack_init(&u, record.p, record.len);
	if (unpack_u8(&u) != RECORD_VERSION)
		return -EINVAL;
	if (key.kind == SEEN_ACCOUNT)
		return load_account(s, key.slot, &u);
	if (key.kind == SEEN_ENTRY)
		return load_entry(s, key.slot, &u);
	if (key.kind == SEEN_SIDS)
		return load_sids(s, key.slot, &u);
	if (key.kind != SEEN_SINCE)
		return -EINVAL;
	s->since = unpack_u64(&u);
	if (unpack_done(&u))
		return 0;
	s->since = 0;
	return -EINVAL;
}

/* --- in order ---------------------------------------------------------- */

static int
by_last(const void *pa, const void *pb)
{
	const struct seen_node *const *a = pa, *const *b = pb;

	return (*a)->a.last < (*b)->a.last ? -1 : (*a)->a.last > (*b)->a.last;
}

static int
entry_by_last(const void *pa, const void *pb)
{
	const struct seen_entry_node *const *a = pa, *const *b = pb;

	return (*a)->e.last < (*b)->e.last ? -1 : (*a)->e.last > (*b)->e.last;
}

/* They came in order of slot; the lists are in order of age. */
static void
sort_accounts(struct seen *s)
{
	struct seen_node **all = calloc(s->n + 1, sizeof(struct seen_node *));
	size_t n = 0;

	if (all == NULL)
		return; /* the wrong one may be forgotten first */
	for (size_t i = 0; i < s->max; i++) {
		if (s->slot[i] != NULL)
			all[n++] = s->slot[i];
	}
	qsort(all, n, sizeof(struct seen_node *), by_last);
	for (size_t i = 0; i < n; i++)
		seen_aged(s, all[i]);
	free(all);
}

static void
sort_entries(struct seen *s)
{
	struct seen_entry_node **all =
	    calloc(s->nentries + 1, sizeof(struct seen_entry_node *));
	struct seen_entry_node *e;
	size_t n = 0;

	if (all == NULL)
		return;
	TAILQ_FOREACH(e, &s->entry_age, age)
	{
		all[n++] = e;
	}
	qsort(all, n, sizeof(struct seen_entry_node *), entry_by_last);
	for (size_t i = 0; i < n; i++) {
		TAILQ_REMOVE(&s->entry_age, all[i], age);
		TAILQ_INSERT_TAIL(&s->entry_age, all[i], age);
	}
	free(all);
}

void
seen_loaded(struct seen *s, uint64_t real_ns)
{
	sort_accounts(s);
	sort_entries(s);
	if (s->since != 0)
		return;
	s->since = real_ns;
	seen_touch(s, &s->since_row);
}
