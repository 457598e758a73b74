/*
 * Purpose: remember accounts, and tell each thing about them once.
 *
 * Runs in: the master.
 * Trusts:  nobody: names come from clients by way of a relay.
 * Touches: its own memory, bounded by the number of accounts.
 * Failure: without memory a new account is not remembered.
 */
#include "master/seen.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "shm/base/hash.h"
#include "shm/base/log.h"

struct seen_node {
	LIST_ENTRY(seen_node) chain;	 /* by key */
	LIST_ENTRY(seen_node) sid_chain; /* by a.sid, unless it is "" */
	TAILQ_ENTRY(seen_node) age;	 /* last seen at the end */
	char key[IDENTITY_PRINCIPAL_MAX];
	struct seen_account a;
	/* what was told */
	uint32_t told_entry; /* entry of the last 1002; 0 none */
	bool told_transport;
	bool told_tls; /* transport of the last 1003/2002 or first sight */
	uint64_t transport_ns;
	bool told_refused;
	uint64_t refused_ns;
	uint64_t held;
	uint32_t told_conflict[2];
};

LIST_HEAD(seen_chain, seen_node);

struct seen {
	size_t max, n;
	struct hash_key hash;
	TAILQ_HEAD(, seen_node) age;
	struct seen_chain *by_sid; /* the second half of chain[] */
	struct seen_chain chain[];
};

struct seen *
seen_new(size_t max)
{
	struct seen *s = calloc(1, sizeof(*s) + 2 * max * sizeof(s->chain[0]));

	BUG_ON(max == 0);
	if (s == NULL)
		return NULL;
	s->max = max;
	s->by_sid = s->chain + max;
	hash_key_new(&s->hash);
	TAILQ_INIT(&s->age);
	return s;
}

static void
seen_drop(struct seen *s, struct seen_node *n)
{
	LIST_REMOVE(n, chain);
	if (n->a.sid[0] != '\0')
		LIST_REMOVE(n, sid_chain);
	TAILQ_REMOVE(&s->age, n, age);
	s->n--;
	free(n);
}

void
seen_free(struct seen **sp)
{
	struct seen *s = *sp;

	if (s == NULL)
		return;
	while (!TAILQ_EMPTY(&s->age))
		seen_drop(s, TAILQ_FIRST(&s->age));
	free(s);
	*sp = NULL;
}

size_t
seen_count(const struct seen *s)
{
	return s->n;
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
seen_get(struct seen *s, const char *key)
{
	struct seen_node *n;

	LIST_FOREACH(n, seen_chain_of(s, key), chain)
	{
		if (strcmp(n->key, key) == 0)
			return n;
	}
	return NULL;
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

static void
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

static struct seen_node *
seen_get_or_add(struct seen *s, struct slice account, uint64_t real_ns)
{
	char key[IDENTITY_PRINCIPAL_MAX];
	struct seen_node *n;

	seen_key(key, account);
	n = seen_get(s, key);
	if (n != NULL) {
		TAILQ_REMOVE(&s->age, n, age);
		TAILQ_INSERT_TAIL(&s->age, n, age);
		return n;
	}
	n = calloc(1, sizeof(*n));
	if (n == NULL)
		return NULL;
	if (s->n == s->max)
		seen_drop(s, TAILQ_FIRST(&s->age));
	memcpy(n->key, key, sizeof(n->key));
	seen_copy(n->a.account, sizeof(n->a.account), account);
	n->a.first = real_ns;
	LIST_INSERT_HEAD(seen_chain_of(s, key), n, chain);
	TAILQ_INSERT_TAIL(&s->age, n, age);
	s->n++;
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
	n = seen_get(s, key);
	if (n == NULL) {
		/* SIDs are written with a capital S alone. */
		key[0] = key[0] == 's' ? 'S' : key[0];
		n = seen_get_by_sid(s, key);
	}
	return n == NULL ? NULL : &n->a;
}

const struct seen_account *
seen_find(struct seen *s, struct slice text)
{
	const struct seen_account *a = seen_subject(s, text);
	struct seen_node *n, *found = NULL;

	if (a != NULL || text.len == 0)
		return a;
	TAILQ_FOREACH(n, &s->age, age)
	{
		if (!slice_ieq(text, seen_short_name(n->a.account)))
			continue;
		if (found != NULL)
			return NULL; /* which of them? */
		found = n;
	}
	return found == NULL ? NULL : &found->a;
}

/* --- reports ----------------------------------------------------------- */

static void
seen_remember(struct seen_account *a, const struct msg_seen *m, uint64_t now)
{
	a->last = now;
	if (m->allowed) {
		a->allowed++;
		a->last_allowed = now;
	} else {
		a->refused++;
		a->last_refused = now;
	}
	seen_copy(a->spn, sizeof(a->spn), m->spn);
	seen_copy(a->address, sizeof(a->address), m->address);
	seen_copy(a->request, sizeof(a->request), m->request);
	a->generation = m->generation;
	a->entry = m->entry;
	a->other = m->other;
	a->kvno = m->kvno;
	a->enctype = m->enctype;
	a->verdict = m->verdict;
	a->role = m->role;
	a->mech = m->mech;
	a->tls = m->tls;
	a->bound = m->bound;
}

static void
seen_news_refused(struct seen_node *n, uint64_t mono_ns, struct seen_news *news)
{
	/* Authorized again later, its next connection is an event 1002. */
	n->told_entry = 0;
	if (n->told_refused && mono_ns - n->refused_ns < SEEN_PAUSE_NS) {
		n->held++;
		return;
	}
	n->told_refused = true;
	n->refused_ns = mono_ns;
	news->refused = true;
	news->held = n->held;
	n->held = 0;
}

/*
 * A client that uses both at once would change with every connection; a
 * change within the pause is not taken note of, so that what is told at its
 * end is how things are then.
 */
static void
seen_news_transport(struct seen_node *n, bool tls, uint64_t mono_ns,
		    struct seen_news *news)
{
	if (n->told_transport &&
	    (n->told_tls == tls || mono_ns - n->transport_ns < SEEN_PAUSE_NS))
		return;
	news->insecure = !tls;
	news->to_https = tls && n->told_transport;
	/* A first sight over HTTPS is no event and starts no pause. */
	if (news->insecure || news->to_https)
		n->transport_ns = mono_ns;
	else
		n->transport_ns = mono_ns - SEEN_PAUSE_NS;
	n->told_transport = true;
	n->told_tls = tls;
}

static void
seen_news_conflict(struct seen_node *n, const struct msg_seen *m,
		   struct seen_news *news)
{
	if (m->other == 0) {
		n->told_conflict[0] = n->told_conflict[1] = 0;
		return;
	}
	news->conflict =
	    n->told_conflict[0] != m->entry || n->told_conflict[1] != m->other;
	n->told_conflict[0] = m->entry;
	n->told_conflict[1] = m->other;
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
	seen_remember(&n->a, m, real_ns);
	seen_set_sid(s, n, m->sid);
	if (!m->allowed) {
		seen_news_refused(n, mono_ns, news_r);
		return;
	}
	news_r->allowed = n->told_entry == 0 || n->told_entry != m->entry;
	n->told_entry = m->entry;
	seen_news_transport(n, m->tls, mono_ns, news_r);
	seen_news_conflict(n, m, news_r);
}
