/*
 * Purpose: remember accounts, and tell each thing about them once.
 *
 * Runs in: the master.
 * Trusts:  nobody: names come from clients by way of a relay.
 * Touches: its own memory, bounded by the number of accounts.
 * Failure: without memory a new account is not remembered.
 */
#include "master/seen_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "shm/base/log.h"
#include "shm/trail.h"

/* --- life -------------------------------------------------------------- */

struct seen *
seen_new(size_t max)
{
	struct seen *s = calloc(1, sizeof(*s) + 2 * max * sizeof(s->chain[0]));

	BUG_ON(max == 0 || max > UINT32_MAX);
	if (s == NULL)
		return NULL;
	s->pause_ns = SEEN_PAUSE_NS;
	s->sids_room = SEEN_SIDS_BYTES;
	s->since_row.key.kind = SEEN_SINCE;
	TAILQ_INIT(&s->unsaved);
	s->max = max;
	s->by_sid = s->chain + max;
	hash_key_new(&s->hash);
	TAILQ_INIT(&s->age[0]);
	TAILQ_INIT(&s->age[1]);
	TAILQ_INIT(&s->kept);
	s->slot = calloc(max, sizeof(s->slot[0]));
	if (s->slot == NULL || seen_entries_init(s) != 0)
		seen_free(&s);
	return s;
}

void
seen_free(struct seen **sp)
{
	struct seen *s = *sp;

	if (s == NULL)
		return;
	for (size_t i = 0; i < 2; i++) {
		while (!TAILQ_EMPTY(&s->age[i]))
			seen_drop(s, TAILQ_FIRST(&s->age[i]));
	}
	seen_entries_fini(s);
	free(s->slot);
	free(s);
	*sp = NULL;
}

void
seen_set_pause(struct seen *s, uint64_t ns)
{
	s->pause_ns = ns;
}

void
seen_set_sids_room(struct seen *s, size_t bytes)
{
	s->sids_room = bytes;
}

size_t
seen_count(const struct seen *s)
{
	return s->n;
}

uint64_t
seen_since(const struct seen *s)
{
	return s->since;
}

void
seen_each(const struct seen *s,
	  void (*fn)(void *arg, const struct seen_account *a), void *arg)
{
	for (size_t i = 0; i < s->max; i++) {
		if (s->slot[i] != NULL)
			fn(arg, &s->slot[i]->a);
	}
}

void
seen_touch(struct seen *s, struct seen_row *r)
{
	if (r->unsaved)
		return;
	r->unsaved = true;
	TAILQ_INSERT_TAIL(&s->unsaved, r, link);
	s->nunsaved++;
}

void
seen_untouch(struct seen *s, struct seen_row *r)
{
	if (!r->unsaved)
		return;
	r->unsaved = false;
	TAILQ_REMOVE(&s->unsaved, r, link);
	s->nunsaved--;
}

/* --- SIDs -------------------------------------------------------------- */

static void
seen_drop_sids(struct seen *s, struct seen_node *n)
{
	if (n->sids == NULL)
		return;
	TAILQ_REMOVE(&s->kept, n, kept);
	s->sids_bytes -= n->a.sids.len;
	free(n->sids);
	n->sids = NULL;
	n->a.sids = (struct slice){NULL, 0};
	seen_touch(s, &n->sids_row);
}

void
seen_set_sids(struct seen *s, struct seen_node *n, struct slice sids)
{
	seen_drop_sids(s, n);
	if (sids.len == 0 || sids.len > s->sids_room)
		return;
	while (s->sids_bytes + sids.len > s->sids_room)
		seen_drop_sids(s, TAILQ_FIRST(&s->kept));
	n->sids = malloc(sids.len);
	if (n->sids == NULL)
		return;
	memcpy(n->sids, sids.p, sids.len);
	n->a.sids = (struct slice){n->sids, sids.len};
	seen_touch(s, &n->sids_row);
	s->sids_bytes += sids.len;
	TAILQ_INSERT_TAIL(&s->kept, n, kept);
}

/* --- accounts ---------------------------------------------------------- */

static bool
seen_known(const struct seen_node *n)
{
	return n->a.allowed > 0;
}

void
seen_drop(struct seen *s, struct seen_node *n)
{
	seen_drop_sids(s, n);
	seen_untouch(s, &n->row);
	seen_untouch(s, &n->sids_row);
	s->slot[n->row.key.slot] = NULL;
	LIST_REMOVE(n, chain);
	if (n->a.sid[0] != '\0')
		LIST_REMOVE(n, sid_chain);
	TAILQ_REMOVE(&s->age[seen_known(n)], n, age);
	s->nknown -= seen_known(n);
	s->n--;
	free(n);
}

void
seen_aged(struct seen *s, struct seen_node *n)
{
	TAILQ_REMOVE(&s->age[seen_known(n)], n, age);
	TAILQ_INSERT_TAIL(&s->age[seen_known(n)], n, age);
	if (n->sids == NULL)
		return;
	TAILQ_REMOVE(&s->kept, n, kept);
	TAILQ_INSERT_TAIL(&s->kept, n, kept);
}

/* One more report that let it in: it is no stranger any more. */
static void
seen_let_in(struct seen *s, struct seen_node *n)
{
	if (!seen_known(n)) {
		TAILQ_REMOVE(&s->age[0], n, age);
		TAILQ_INSERT_TAIL(&s->age[1], n, age);
		s->nknown++;
	}
	n->a.allowed++;
}

/* Whom to forget for a new one: strangers may have half. */
static struct seen_node *
seen_oldest(struct seen *s)
{
	bool strangers = s->n - s->nknown >= (s->max + 1) / 2;

	return TAILQ_FIRST(&s->age[strangers ? 0 : 1]);
}

/* --- finding ----------------------------------------------------------- */

static void
seen_copy(char *dst, size_t size, struct slice s)
{
	size_t n = MIN(s.len, size - 1);

	if (n > 0)
		memcpy(dst, s.p, n);
	dst[n] = '\0';
}

static void
seen_key(char key[IDENTITY_PRINCIPAL_MAX], struct slice account)
{
	seen_copy(key, IDENTITY_PRINCIPAL_MAX, account);
	for (char *p = key; *p != '\0'; p++)
		*p = ascii_lower(*p);
}

static struct seen_chain *
seen_chain_of(struct seen *s, const char *key)
{
	return &s->chain[hash_bytes(&s->hash, key, strlen(key)) % s->max];
}

static struct seen_node *
seen_get_key(struct seen *s, const char *key)
{
	struct seen_node *n;

	LIST_FOREACH(n, seen_chain_of(s, key), chain)
	{
		if (strcmp(n->key, key) == 0)
			return n;
	}
	return NULL;
}

struct seen_node *
seen_get(struct seen *s, struct slice account)
{
	char key[IDENTITY_PRINCIPAL_MAX];

	seen_key(key, account);
	return seen_get_key(s, key);
}

static struct seen_chain *
seen_sid_chain_of(struct seen *s, const char *sid)
{
	return &s->by_sid[hash_bytes(&s->hash, sid, strlen(sid)) % s->max];
}

static struct seen_node *
seen_get_by_sid(struct seen *s, const char *sid)
{
	struct seen_node *n;

	LIST_FOREACH(n, seen_sid_chain_of(s, sid), sid_chain)
	{
		if (strcmp(n->a.sid, sid) == 0)
			return n;
	}
	return NULL;
}

void
seen_set_sid(struct seen *s, struct seen_node *n, struct slice sid)
{
	if (sid.len == 0 || slice_is(sid, n->a.sid))
		return;
	if (n->a.sid[0] != '\0')
		LIST_REMOVE(n, sid_chain);
	seen_copy(n->a.sid, sizeof(n->a.sid), sid);
	if (n->a.sid[0] != '\0')
		LIST_INSERT_HEAD(seen_sid_chain_of(s, n->a.sid), n, sid_chain);
}

struct seen_node *
seen_add(struct seen *s, struct slice account, uint32_t slot)
{
	char key[IDENTITY_PRINCIPAL_MAX];
	struct seen_node *n;

	seen_key(key, account);
	if (slot >= s->max || s->slot[slot] != NULL || key[0] == '\0' ||
	    seen_get_key(s, key) != NULL)
		return NULL;
	n = calloc(1, sizeof(*n));
	if (n == NULL)
		return NULL;
	n->row.key = (struct seen_key){SEEN_ACCOUNT, slot};
	n->sids_row.key = (struct seen_key){SEEN_SIDS, slot};
	s->slot[slot] = n;
	memcpy(n->key, key, sizeof(n->key));
	seen_copy(n->a.account, sizeof(n->a.account), account);
	LIST_INSERT_HEAD(seen_chain_of(s, key), n, chain);
	TAILQ_INSERT_TAIL(&s->age[0], n, age);
	s->n++;
	return n;
}

void
seen_take(struct seen *s, struct seen_node *n, const struct seen_account *a,
	  const struct seen_told *t)
{
	BUG_ON(seen_known(n) || n->sids != NULL || n->a.sid[0] != '\0');
	TAILQ_REMOVE(&s->age[0], n, age);
	n->a = *a;
	n->a.sid[0] = '\0';
	n->a.sids = (struct slice){NULL, 0};
	n->told = *t;
	TAILQ_INSERT_TAIL(&s->age[seen_known(n)], n, age);
	s->nknown += seen_known(n);
	seen_set_sid(s, n, slice_of(a->sid));
}

static uint32_t
seen_free_slot(struct seen *s)
{
	BUG_ON(s->n >= s->max);
	while (s->slot[s->slot_hint % s->max] != NULL)
		s->slot_hint++;
	return (uint32_t)(s->slot_hint % s->max);
}

static struct seen_node *
seen_get_or_add(struct seen *s, struct slice account, uint64_t real_ns)
{
	struct seen_node *n = seen_get(s, account);

	if (n != NULL) {
		seen_aged(s, n);
		return n;
	}
	if (s->n == s->max)
		seen_drop(s, seen_oldest(s));
	n = seen_add(s, account, seen_free_slot(s));
	if (n == NULL)
		return NULL;
	n->a.first = real_ns;
	/* the slot may have those of another */
	seen_touch(s, &n->sids_row);
	return n;
}

/* "exch01$" of "exch01$@LAB.TEST" and of "LAB\exch01$". */
static struct slice
seen_short_name(const char *account)
{
	const char *slash = strrchr(account, '\\');
	const char *p = slash != NULL ? slash + 1 : account;

	return (struct slice){p, strcspn(p, "@")};
}

const struct seen_account *
seen_subject(struct seen *s, struct slice text)
{
	char key[IDENTITY_PRINCIPAL_MAX];
	struct seen_node *n;

	if (text.len == 0 || text.len >= sizeof(key))
		return NULL;
	seen_key(key, text);
	n = seen_get_key(s, key);
	if (n == NULL) {
		/* SIDs are written with a capital S alone. */
		key[0] = key[0] == 's' ? 'S' : key[0];
		n = seen_get_by_sid(s, key);
	}
	return n == NULL ? NULL : &n->a;
}

/* The one account of that name without realm; NULL: none, or several. */
static struct seen_node *
seen_only_named(struct seen *s, struct slice name)
{
	struct seen_node *n, *found = NULL;

	for (size_t i = 0; i < 2; i++) {
		TAILQ_FOREACH(n, &s->age[i], age)
		{
			if (!slice_ieq(name, seen_short_name(n->a.account)))
				continue;
			if (found != NULL)
				return NULL; /* which of them? */
			found = n;
		}
	}
	return found;
}

const struct seen_account *
seen_find(struct seen *s, struct slice text)
{
	const struct seen_account *a = seen_subject(s, text);
	struct seen_node *n;

	if (a != NULL || text.len == 0)
		return a;
	n = seen_only_named(s, text);
	return n == NULL ? NULL : &n->a;
}

const struct seen_account *
seen_noted(const struct seen *s, uint64_t whole, struct slice front)
{
	for (size_t i = 0; i < s->max; i++) {
		const struct seen_account *a;
		struct slice name;

		if (s->slot[i] == NULL)
			continue;
		a = &s->slot[i]->a;
		name = slice_of(a->account);
		if (name.len >= front.len &&
		    slice_ieq((struct slice){name.p, front.len}, front) &&
		    trail_hash(name) == whole)
			return a;
	}
	return NULL;
}

/* --- reports ----------------------------------------------------------- */

static void
seen_remember_ways(struct seen_account *a, const struct msg_seen *m,
		   uint64_t now)
{
	unsigned ways =
	    ways_of(m->tls, m->bound, (enum auth_mech)m->mech, m->enctype);

	for (unsigned w = 0; w < WAY_MAX; w++) {
		if ((ways & WAY_BIT(w)) != 0)
			a->way[w] = now;
	}
}

/* The relay sends a list once; later its hash tells that it is the same. */
static void
seen_remember_sids(struct seen *s, struct seen_node *n,
		   const struct msg_seen *m, uint64_t now)
{
	struct seen_account *a = &n->a;

	a->lack = m->lack;
	a->nsids = m->nsids;
	if (m->sids.len > 0 || m->nsids == 0) {
		if (n->sids == NULL || !slice_eq(n->a.sids, m->sids) ||
		    a->sids_hash != m->sids_hash)
			seen_set_sids(s, n, m->sids);
		a->sids_hash = m->sids_hash;
		a->sids_ns = now;
	} else if (a->sids_hash == m->sids_hash && n->sids != NULL) {
		a->sids_ns = now;
	} else if (a->sids_hash != m->sids_hash) {
		/* others, which are still to come: what we have is not it */
		seen_set_sids(s, n, (struct slice){NULL, 0});
		a->sids_hash = m->sids_hash;
	}
}

static void
seen_remember(struct seen *s, struct seen_node *n, const struct msg_seen *m,
	      uint64_t now)
{
	struct seen_account *a = &n->a;

	a->last = now;
	if (m->allowed) {
		seen_let_in(s, n);
		a->last_allowed = now;
	} else {
		a->refused++;
		a->last_refused = now;
	}
	seen_copy(a->spn, sizeof(a->spn), m->spn);
	seen_copy(a->address, sizeof(a->address), m->address);
	seen_copy(a->listener, sizeof(a->listener), m->listener);
	seen_copy(a->request, sizeof(a->request), m->request);
	a->generation = m->generation;
	a->entry = m->entry;
	a->other = m->other;
	a->matches = m->matches;
	a->kvno = m->kvno;
	a->enctype = m->enctype;
	a->verdict = m->verdict;
	a->role = m->role;
	a->mech = m->mech;
	a->tls = m->tls;
	a->bound = m->bound;
	seen_remember_ways(a, m, now);
	seen_remember_sids(s, n, m, now);
	seen_set_sid(s, n, m->sid);
	seen_touch(s, &n->row);
}

static void
seen_news_refused(struct seen *s, struct seen_node *n, uint64_t mono_ns,
		  struct seen_news *news)
{
	struct seen_told *t = &n->told;

	/* Authorized again later, its next connection is an event 1002. */
	t->entry = 0;
	if (t->refused_ns != 0 && mono_ns - t->refused_ns < s->pause_ns) {
		t->held++;
		return;
	}
	t->refused_ns = mono_ns;
	news->refused = true;
	news->held = t->held;
	t->held = 0;
}

/*
 * A client that uses both at once would change with every connection; a
 * change within the pause is not taken note of, so that what is told at its
 * end is how things are then.
 */
static void
seen_news_transport(struct seen *s, struct seen_node *n, bool tls,
		    uint64_t mono_ns, struct seen_news *news)
{
	struct seen_told *t = &n->told;

	if (t->transport &&
	    (t->tls == tls ||
	     (t->transport_ns != 0 && mono_ns - t->transport_ns < s->pause_ns)))
		return;
	news->insecure = !tls;
	news->relapse = !tls && t->transport;
	news->to_https = tls && t->transport;
	/* A first sight over HTTPS is no event and starts no pause. */
	t->transport_ns = news->insecure || news->to_https ? mono_ns : 0;
	t->transport = true;
	t->tls = tls;
}

static void
seen_news_conflict(struct seen_node *n, const struct msg_seen *m,
		   struct seen_news *news)
{
	uint32_t *told = n->told.conflict;

	if (m->other == 0) {
		told[0] = told[1] = 0;
		return;
	}
	news->conflict = told[0] != m->entry || told[1] != m->other;
	told[0] = m->entry;
	told[1] = m->other;
}

void
seen_report(struct seen *s, const struct msg_seen *m, uint64_t real_ns,
	    uint64_t mono_ns, struct seen_news *news_r)
{
	struct seen_node *n;

	*news_r = (struct seen_news){0};
	if (m->account.len == 0)
		return;
	n = seen_get_or_add(s, m->account, real_ns);
	if (n == NULL)
		return;
	seen_remember(s, n, m, real_ns);
	if (!m->allowed) {
		seen_news_refused(s, n, mono_ns, news_r);
		return;
	}
	seen_entry_used(s, m->entry, real_ns);
	news_r->allowed = n->told.entry == 0 || n->told.entry != m->entry;
	n->told.entry = m->entry;
	seen_news_transport(s, n, m->tls, mono_ns, news_r);
	seen_news_conflict(n, m, news_r);
}
