/*
 * Purpose: map a snapshot of the authorization table, and decide by it.
 *
 * Runs in: relays; the master for listings and explain.
 * Trusts:  a snapshot only after table_check() and its seals.
 * Touches: one read-only mapping.
 * Failure: NULL with a word for the log; a decision cannot fail.
 */
#include "shm/table.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shm/segment.h"
#include "shm/table_layout.h"
#include "shm/base/log.h"

struct table {
	const struct table_head *head;
	const struct table_slot *slots;
	const uint8_t *filter;
	const struct table_ent *ents;
	const char *text;
};

static const char *const server_role_names[SERVER_ROLE_MAX] = {
    "", "exchange", "sharepoint", "fci"};

const char *
server_role_name(enum server_role r)
{
	return (unsigned)r < SERVER_ROLE_MAX ? server_role_names[r] : "?";
}

int
server_role_parse(struct slice text, enum server_role *role_r)
{
	for (unsigned r = SERVER_EXCHANGE; r < SERVER_ROLE_MAX; r++) {
		if (slice_iis(text, server_role_names[r])) {
			*role_r = (enum server_role)r;
			return 0;
		}
	}
	return -EINVAL;
}

const char *
verdict_text(enum verdict v)
{
	switch (v) {
	case VERDICT_ALLOW:
		return "allowed";
	case VERDICT_NO_MATCH:
		return "no entry names the account or one of its groups";
	case VERDICT_EXPIRED:
		return "the entry of the account has expired";
	case VERDICT_EMPTY:
		return "the authorization table is empty";
	case VERDICT_NO_TABLE:
		return "no authorization table has been received";
	default:
		return "?";
	}
}

/* --- mapping ------------------------------------------------------------ */

static const char *
table_check_head(const struct table_head *h, size_t size)
{
	if (h->magic != TABLE_MAGIC)
		return "not an authorization table";
	if (h->layout != TABLE_LAYOUT)
		return "table made by a different version";
	if (h->size != size)
		return "table of the wrong size";
	if (h->n > TABLE_ENTRIES_MAX || h->nslots < TABLE_SLOTS_MIN ||
	    (h->nslots & (h->nslots - 1)) != 0 || h->nslots < 2 * h->n ||
	    h->nslots > 4 * (uint64_t)TABLE_ENTRIES_MAX)
		return "table with impossible counts";
	if (h->slots_off != sizeof(*h) ||
	    h->filter_off !=
		h->slots_off +
		    h->nslots * (uint64_t)sizeof(struct table_slot) ||
	    h->entries_off != h->filter_off + h->nslots ||
	    h->text_off !=
		h->entries_off + h->n * (uint64_t)sizeof(struct table_ent) ||
	    h->text_off > size)
		return "table with impossible offsets";
	if (h->checksum != table_checksum(h, size))
		return "table with a wrong checksum";
	return NULL;
}

static uint32_t
table_bit(const struct table *t, enum subject_kind kind, const void *key,
	  size_t len)
{
	return table_filter_bit(&t->head->key, t->head->nslots, kind, key, len);
}

/* False when no entry has a key of this bit; true says nothing. */
static bool
table_bit_set(const struct table *t, uint32_t bit)
{
	return (t->filter[bit / 8] >> bit % 8 & 1) != 0;
}

static const char *
table_check_body(const struct table *t)
{
	uint64_t text_len = t->head->size - t->head->text_off;
	uint32_t used = 0;
	struct table_in in;

	for (uint32_t i = 0; i < t->head->n; i++) {
		const struct table_ent *e = &t->ents[i];

		if ((uint64_t)e->key_off + e->key_len > text_len ||
		    (uint64_t)e->name_off + e->name_len > text_len)
			return "table entry outside of the table";
		table_entry(t, i, &in);
		if (!table_in_valid(&in))
			return "table entry that is not one";
		if (!table_bit_set(t,
				   table_bit(t, in.kind, in.key.p, in.key.len)))
			return "table entry that the filter leaves out";
	}
	for (uint32_t i = 0; i < t->head->nslots; i++) {
		if (t->slots[i].entry > t->head->n)
			return "table slot without an entry";
		used += t->slots[i].entry != 0;
	}
	/* With the load checked above this bounds every probe. */
	if (used != t->head->n)
		return "table with entries that have no slot";
	return NULL;
}

struct table *
table_map(int fd, const char **why_r)
{
	const struct table_head *h;
	struct table *t;
	struct stat st;
	size_t size;

	*why_r = "table is not sealed";
	if (!segment_sealed(fd, F_SEAL_WRITE | F_SEAL_SEAL))
		return NULL;
	*why_r = "table of the wrong size";
	if (fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof(*h))
		return NULL;
	size = (size_t)st.st_size;
	h = segment_map(fd, size, false, why_r);
	if (h == NULL)
		return NULL;
	t = calloc(1, sizeof(*t));
	*why_r = t == NULL ? "out of memory" : table_check_head(h, size);
	if (t != NULL && *why_r == NULL) {
		const uint8_t *mem = (const uint8_t *)h;

		t->head = h;
		t->slots = (const void *)(mem + h->slots_off);
		t->filter = mem + h->filter_off;
		t->ents = (const void *)(mem + h->entries_off);
		t->text = (const char *)mem + h->text_off;
		*why_r = table_check_body(t);
	}
	if (*why_r == NULL)
		return t;
	free(t);
	segment_unmap(h, size);
	return NULL;
}

void
table_unmap(struct table **t)
{
	if (*t == NULL)
		return;
	segment_unmap((*t)->head, (*t)->head->size);
	free(*t);
	*t = NULL;
}

uint64_t
table_generation(const struct table *t)
{
	return t->head->generation;
}

uint64_t
table_built_ns(const struct table *t)
{
	return t->head->built_ns;
}

size_t
table_len(const struct table *t)
{
	return t->head->n;
}

void
table_entry(const struct table *t, size_t i, struct table_in *in_r)
{
	const struct table_ent *e = &t->ents[i];

	BUG_ON(i >= t->head->n);
	*in_r = (struct table_in){
	    .id = e->id,
	    .kind = (enum subject_kind)e->kind,
	    .key = {t->text + e->key_off, e->key_len},
	    .role = (enum server_role)e->role,
	    .expires = e->expires,
	    .name = {t->text + e->name_off, e->name_len},
	};
}

/* --- deciding ------------------------------------------------------------ */

/* Position plus one of the entry with this key; 0: none. */
static uint32_t
table_find(const struct table *t, enum subject_kind kind, const void *key,
	   size_t len)
{
	uint32_t mask = t->head->nslots - 1, s;
	uint64_t h;

	if (!table_bit_set(t, table_bit(t, kind, key, len)))
		return 0;
	h = table_hash(&t->head->key, kind, key, len);
	s = (uint32_t)h & mask;
	for (; t->slots[s].entry != 0; s = (s + 1) & mask) {
		const struct table_ent *e = &t->ents[t->slots[s].entry - 1];

		if (t->slots[s].tag == (uint32_t)(h >> 32) && e->kind == kind &&
		    e->key_len == len &&
		    memcmp(t->text + e->key_off, key, len) == 0)
			return t->slots[s].entry;
	}
	return 0;
}

struct table_match {
	uint32_t pos;
	uint16_t sid; /* position of the SID that it matched plus one; 0: the
		       * principal */
	bool account; /* names the account itself, not a group of it */
};
_Static_assert(IDENTITY_SIDS_MAX < UINT16_MAX, "sid holds them");

/* What an identity matched; no entry twice (a PAC may name a group twice). */
struct table_matches {
	size_t n;
	struct table_match m[IDENTITY_SIDS_MAX + 2];
};

static void
table_match_add(struct table_matches *ms, uint32_t found, size_t sid,
		bool account)
{
	if (found == 0)
		return;
	for (size_t i = 0; i < ms->n; i++) {
		if (ms->m[i].pos == found - 1) {
			ms->m[i].account |= account;
			return;
		}
	}
	ms->m[ms->n++] =
	    (struct table_match){found - 1, (uint16_t)sid, account};
}

/* The entry that names the issuer too, as in Windows' altSecurityIdentities:
 * "<I>ISSUER<S>SUBJECT".  RFC 4514 escapes < and >, so neither part can hold
 * what separates them. */
static void
table_match_issued(const struct table *t, const struct identity *id,
		   struct table_matches *ms)
{
	char key[TABLE_KEY_MAX + 1];
	struct sbuf b;

	sbuf_init(&b, key, sizeof(key));
	sbuf_fmt(&b, "<I>%s<S>%s", id->spn, id->principal);
	if (!b.cut) /* no entry is as long as that */
		table_match_add(ms, table_find(t, SUBJECT_CERT, b.p, b.len), 0,
				true);
}

/* SIDs whose bits are asked for at once, so that the memory of one is waited
 * for while the others' come. */
#define TABLE_AT_ONCE 32

static void
table_match_sids(const struct table *t, const struct identity *id,
		 struct table_matches *ms)
{
	uint32_t bit[TABLE_AT_ONCE];
	size_t n;

	BUG_ON(id->nsids > IDENTITY_SIDS_MAX);
	for (size_t at = 0; at < id->nsids; at += n) {
		const struct identity_sid *sid = id->sids + at;

		n = MIN(id->nsids - at, (size_t)TABLE_AT_ONCE);
		for (size_t i = 0; i < n; i++) {
			bit[i] =
			    table_bit(t, SUBJECT_SID, sid[i].bytes, sid[i].len);
			__builtin_prefetch(&t->filter[bit[i] / 8]);
			if (at + n + i < id->nsids)
				__builtin_prefetch(sid + n + i);
		}
		for (size_t i = 0; i < n; i++) {
			if (!table_bit_set(t, bit[i]))
				continue;
			table_match_add(ms,
					table_find(t, SUBJECT_SID, sid[i].bytes,
						   sid[i].len),
					at + i + 1, sid[i].source == SID_USER);
		}
	}
}

static void
table_collect(const struct table *t, const struct identity *id,
	      struct table_matches *ms)
{
	/* The subject of a certificate must not pass for a principal. */
	enum subject_kind kind =
	    id->mech == MECH_CERT ? SUBJECT_CERT : SUBJECT_PRINCIPAL;

	ms->n = 0;
	if (id->principal[0] != '\0')
		table_match_add(
		    ms,
		    table_find(t, kind, id->principal, strlen(id->principal)),
		    0, true);
	if (id->mech == MECH_CERT)
		table_match_issued(t, id, ms);
	table_match_sids(t, id, ms);
}

/* Does a decide rather than b?  The rule of table_decide(). */
static bool
table_outranks(const struct table *t, struct table_match a,
	       struct table_match b)
{
	const struct table_ent *ea = &t->ents[a.pos], *eb = &t->ents[b.pos];
	bool xa = ea->role == SERVER_EXCHANGE, xb = eb->role == SERVER_EXCHANGE;

	if (a.account != b.account)
		return a.account;
	if (xa != xb)
		return xb;
	return ea->id < eb->id;
}

/* The best of those that (have not) expired and whose role is not `but`. */
static const struct table_match *
table_best(const struct table *t, const struct table_matches *ms, uint64_t now,
	   bool expired, enum server_role but)
{
	const struct table_match *best = NULL;

	for (size_t i = 0; i < ms->n; i++) {
		const struct table_ent *e = &t->ents[ms->m[i].pos];
		bool gone = e->expires != 0 && e->expires <= now;

		if (gone != expired || e->role == but)
			continue;
		if (best == NULL || table_outranks(t, ms->m[i], *best))
			best = &ms->m[i];
	}
	return best;
}

static uint32_t
table_count_live(const struct table *t, const struct table_matches *ms,
		 uint64_t now)
{
	uint32_t n = 0;

	for (size_t i = 0; i < ms->n; i++) {
		uint64_t expires = t->ents[ms->m[i].pos].expires;

		n += expires == 0 || expires > now;
	}
	return n;
}

static void
table_hit_entry(const struct table *t, const struct table_match *m,
		struct table_hit *hit_r)
{
	struct table_in in;

	table_entry(t, m->pos, &in);
	hit_r->entry = in.id;
	hit_r->kind = in.kind;
	hit_r->name = in.name;
	hit_r->role = in.role;
}

void
table_decide(const struct table *t, const struct identity *id, uint64_t now,
	     struct table_hit *hit_r)
{
	const struct table_match *best, *other;
	UNINIT struct table_matches ms; /* 8 kB, of which little is used */

	*hit_r =
	    (struct table_hit){.verdict = VERDICT_NO_TABLE, .name = {"", 0}};
	if (t == NULL)
		return;
	hit_r->verdict = VERDICT_EMPTY;
	if (t->head->n == 0)
		return;
	hit_r->verdict = VERDICT_NO_MATCH;
	table_collect(t, id, &ms);
	best = table_best(t, &ms, now, false, SERVER_NONE);
	if (best == NULL) {
		best = table_best(t, &ms, now, true, SERVER_NONE);
		if (best == NULL)
			return;
		table_hit_entry(t, best, hit_r);
		hit_r->verdict = VERDICT_EXPIRED;
		hit_r->role = SERVER_NONE; /* what it was does not count */
		return;
	}
	table_hit_entry(t, best, hit_r);
	hit_r->verdict = VERDICT_ALLOW;
	hit_r->matches = table_count_live(t, &ms, now);
	other = table_best(t, &ms, now, false, hit_r->role);
	if (other != NULL) {
		hit_r->other = t->ents[other->pos].id;
		hit_r->conflict = true;
	}
}

/* --- telling why --------------------------------------------------------- */

/* Takes the best of them out of ms. */
static bool
table_take_best(const struct table *t, struct table_matches *ms, uint64_t now,
		bool expired, struct table_match *m_r)
{
	const struct table_match *best =
	    table_best(t, ms, now, expired, SERVER_NONE);

	if (best == NULL)
		return false;
	*m_r = *best;
	ms->m[best - ms->m] = ms->m[--ms->n];
	return true;
}

size_t
table_matching(const struct table *t, const struct identity *id, uint64_t now,
	       struct table_matching *m_r, size_t max)
{
	UNINIT struct table_matches ms;
	size_t total;

	if (t == NULL || t->head->n == 0)
		return 0;
	table_collect(t, id, &ms);
	total = ms.n;
	for (size_t i = 0; i < MIN(total, max); i++) {
		struct table_match m;
		bool live = table_take_best(t, &ms, now, false, &m);

		BUG_ON(!live && !table_take_best(t, &ms, now, true, &m));
		m_r[i] = (struct table_matching){
		    .account = m.account,
		    .live = live,
		    .by = m.sid == 0 ? TABLE_BY_PRINCIPAL : m.sid - 1U,
		};
		table_entry(t, m.pos, &m_r[i].entry);
	}
	return total;
}
