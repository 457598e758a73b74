/*
 * Purpose: read the logon information of a PAC.
 *
 * Runs in: the keeper.
 * Trusts:  nobody: the KDC that signed it may be one of a trusted realm.
 * Touches: what it is given.
 * Failure: -EPROTO or -E2BIG with the reason, and an empty result.
 *
 * The form is type serialization version 1 (MS-RPCE 2.2.6): 16 bytes of
 * header, then one object in NDR (C706 chapter 14), little-endian.  What a
 * pointer refers to stands behind the struct that holds the pointers, in their
 * order; a pointer itself is only zero or not.
 *
 * Two passes over the lists, so that a SID which one list grants and another
 * denies is denied, whichever comes first.
 */
#include "worker/keeper/pac.h"

#include <errno.h>

#include "shm/base/hash.h"
#include "shm/base/log.h"

#define NDR_HEAD 16

/* MS-PAC 2.2.1, 2.5: attributes of a group, and UserFlags. */
#define GROUP_ENABLED	   0x00000004U
#define GROUP_DENY_ONLY	   0x00000010U
#define FLAG_EXTRA_SIDS	   0x00000020U
#define FLAG_RESOURCE_SIDS 0x00000200U

#define SID_HEAD    8
#define SID_SUB_MAX 15

/* --- NDR ----------------------------------------------------------------- */

/* Sticky: behind the first fault everything reads as zero. */
struct ndr {
	const uint8_t *p;
	size_t len;
	size_t at;
	const char *bad; /* the first fault, or NULL */
};

static void
ndr_fail(struct ndr *n, const char *why)
{
	if (n->bad == NULL)
		n->bad = why;
}

/* The next len bytes from a multiple of align on; NULL with a fault. */
static const uint8_t *
ndr_bytes(struct ndr *n, size_t align, size_t len)
{
	size_t skip = (align - n->at % align) % align, at = n->at + skip;

	if (n->bad != NULL)
		return NULL;
	if (at > n->len || len > n->len - at) {
		ndr_fail(n, "it is cut short");
		return NULL;
	}
	n->at = at + len;
	return n->p + at;
}

static uint32_t
le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static uint16_t
ndr_u16(struct ndr *n)
{
	const uint8_t *p = ndr_bytes(n, 2, 2);

	return (uint16_t)(p == NULL ? 0 : p[0] | p[1] << 8);
}

static uint32_t
ndr_u32(struct ndr *n)
{
	const uint8_t *p = ndr_bytes(n, 4, 4);

	return p == NULL ? 0 : le32(p);
}

/* Fields that say nothing about rights. */
static void
ndr_skip(struct ndr *n, size_t len)
{
	(void)ndr_bytes(n, 4, len);
}

/* Steps into the object.  The bytes that fill the header up are not ours to
 * judge (MS-RPCE 2.2.6.1), nor is what stands behind the object. */
static void
ndr_open(struct ndr *n, struct slice in)
{
	const uint8_t *h;
	uint32_t size;

	*n = (struct ndr){.p = (const uint8_t *)in.p, .len = in.len};
	h = ndr_bytes(n, 1, NDR_HEAD);
	if (h == NULL)
		return;
	size = le32(h + 8);
	if (h[0] != 1 || h[1] != 0x10 || h[2] != 8 || h[3] != 0)
		ndr_fail(n, "it is not NDR of this form");
	else if (size % 8 != 0 || size > in.len - NDR_HEAD)
		ndr_fail(n, "its object is longer than it is");
	else
		*n = (struct ndr){.p = h + NDR_HEAD, .len = size};
}

/* --- the struct ---------------------------------------------------------- */

struct text_head { /* RPC_UNICODE_STRING */
	uint16_t bytes;
	uint16_t room;
	uint32_t ref;
};

#define TEXTS_BEFORE 6 /* the first is EffectiveName */

struct heads { /* what of the fixed part is used */
	struct text_head text[TEXTS_BEFORE];
	struct text_head server, domain;
	uint32_t user, primary, flags;
	uint32_t ngroups, groups_ref, domain_ref;
	uint32_t nextra, extra_ref;
	uint32_t nresource, resource_ref, resource_domain_ref;
};

struct members { /* array of GROUP_MEMBERSHIP: u32 RID, u32 attributes */
	const uint8_t *p;
	uint32_t n;
};

struct extras {		  /* array of KERB_SID_AND_ATTRIBUTES */
	const uint8_t *p; /* u32 pointer, u32 attributes */
	uint32_t n;
	struct ndr sids; /* at the first SID; all were read once */
};

struct logon {
	uint32_t user, primary, flags;
	struct identity_sid domain, resource_domain; /* len 0: none */
	struct members groups, resource;
	struct extras extra;
};

static void
read_text_head(struct ndr *n, struct text_head *t)
{
	(void)ndr_bytes(n, 4, 0);
	t->bytes = ndr_u16(n);
	t->room = ndr_u16(n);
	t->ref = ndr_u32(n);
}

static void
read_heads(struct ndr *n, struct heads *h)
{
	if (ndr_u32(n) == 0)
		ndr_fail(n, "there is nothing in it");
	ndr_skip(n, 6 * 8); /* times */
	for (size_t i = 0; i < TEXTS_BEFORE; i++)
		read_text_head(n, &h->text[i]);
	ndr_skip(n, 4); /* LogonCount, BadPasswordCount */
	h->user = ndr_u32(n);
	h->primary = ndr_u32(n);
	h->ngroups = ndr_u32(n);
	h->groups_ref = ndr_u32(n);
	h->flags = ndr_u32(n);
	ndr_skip(n, 16); /* UserSessionKey */
	read_text_head(n, &h->server);
	read_text_head(n, &h->domain);
	h->domain_ref = ndr_u32(n);
	/* Reserved1, UserAccountControl, SubAuthStatus, two times,
	 * FailedILogonCount, Reserved3 */
	ndr_skip(n, 8 + 4 + 4 + 2 * 8 + 4 + 4);
	h->nextra = ndr_u32(n);
	h->extra_ref = ndr_u32(n);
	h->resource_domain_ref = ndr_u32(n);
	h->nresource = ndr_u32(n);
	h->resource_ref = ndr_u32(n);
}

/* --- what its pointers refer to ------------------------------------------ */

static size_t
utf8_put(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* units <= PAC_NAME_UNITS_MAX; three bytes for each are enough, for a pair of
 * surrogates gives four. */
static void
utf8_from(const uint8_t *p, size_t units, char out[PAC_NAME_MAX])
{
	size_t len = 0;

	for (size_t i = 0; i < units; i++) {
		uint32_t c = p[2 * i] | (uint32_t)p[2 * i + 1] << 8, d = 0;

		if (i + 1 < units)
			d = p[2 * i + 2] | (uint32_t)p[2 * i + 3] << 8;
		if (c - 0xd800 < 0x400 && d - 0xdc00 < 0x400) {
			c = 0x10000 + ((c - 0xd800) << 10) + (d - 0xdc00);
			i++;
		} else if (c == 0 || c - 0xd800 < 0x800) {
			c = 0xfffd; /* no character, or the end of a C text */
		}
		len += utf8_put(out + len, c);
	}
	out[len] = '\0';
}

/* A conformant and varying array of units.  name NULL: only stepped over. */
static void
read_text(struct ndr *n, const struct text_head *t, char *name)
{
	uint32_t room, offset, units;
	const uint8_t *p;

	if (t->bytes % 2 != 0 || t->room % 2 != 0 || t->bytes > t->room ||
	    (t->ref == 0 && t->bytes != 0))
		ndr_fail(n, "a text with impossible lengths");
	if (t->ref == 0)
		return;
	room = ndr_u32(n);
	offset = ndr_u32(n);
	units = ndr_u32(n);
	p = ndr_bytes(n, 2, t->bytes);
	if (room != t->room / 2U || offset != 0 || units != t->bytes / 2U)
		ndr_fail(n, "a text whose lengths disagree");
	if (p == NULL || n->bad != NULL || name == NULL)
		return;
	if (units > PAC_NAME_UNITS_MAX)
		ndr_fail(n, "a name that is too long");
	else
		utf8_from(p, units, name);
}

/* An RPC_SID, a conformant struct: its count stands before it. */
static void
read_sid(struct ndr *n, struct identity_sid *sid_r)
{
	uint32_t subs = ndr_u32(n);
	const uint8_t *p;
	size_t len;

	sid_r->len = 0;
	if (n->bad == NULL && (subs == 0 || subs > SID_SUB_MAX))
		ndr_fail(n, "a SID of an impossible length");
	len = SID_HEAD + 4 * (size_t)subs;
	p = ndr_bytes(n, 4, len);
	if (p == NULL)
		return;
	if (!sid_valid(p, len)) {
		ndr_fail(n, "a SID that is none");
		return;
	}
	memcpy(sid_r->bytes, p, len);
	sid_r->len = (uint8_t)len;
}

/* One that RIDs are added to. */
static void
read_domain(struct ndr *n, uint32_t ref, struct identity_sid *sid_r)
{
	sid_r->len = 0;
	if (ref == 0)
		return;
	read_sid(n, sid_r);
	if (sid_r->len > SID_BYTES_MAX - 4)
		ndr_fail(n, "a domain whose SID has no room for a RID");
}

/* The count of a conformant array of pairs of u32, and its bytes. */
static const uint8_t *
read_pairs(struct ndr *n, uint32_t ref, uint32_t count)
{
	if (ref == 0) {
		if (count != 0)
			ndr_fail(n, "a list that is not there");
		return NULL;
	}
	if (ndr_u32(n) != count)
		ndr_fail(n, "a list whose lengths disagree");
	if (count > n->len / 8)
		ndr_fail(n, "it is cut short");
	return ndr_bytes(n, 4, 8 * (size_t)count);
}

static void
read_extras(struct ndr *n, const struct heads *h, struct extras *x)
{
	struct identity_sid sid;

	x->n = h->nextra;
	x->p = read_pairs(n, h->extra_ref, h->nextra);
	x->sids = *n;
	for (uint32_t i = 0; n->bad == NULL && i < x->n; i++) {
		if (le32(x->p + 8 * (size_t)i) == 0)
			ndr_fail(n, "a SID that is not there");
		read_sid(n, &sid);
	}
}

static void
read_logon(struct ndr *n, struct logon *l, struct pac_logon *out)
{
	struct heads h;

	read_heads(n, &h);
	for (size_t i = 0; i < TEXTS_BEFORE; i++)
		read_text(n, &h.text[i], i == 0 ? out->user : NULL);
	l->user = h.user;
	l->primary = h.primary;
	l->flags = h.flags;
	l->groups.n = h.ngroups;
	l->groups.p = read_pairs(n, h.groups_ref, h.ngroups);
	read_text(n, &h.server, NULL);
	read_text(n, &h.domain, out->domain);
	read_domain(n, h.domain_ref, &l->domain);
	read_extras(n, &h, &l->extra);
	read_domain(n, h.resource_domain_ref, &l->resource_domain);
	l->resource.n = h.nresource;
	l->resource.p = read_pairs(n, h.resource_ref, h.nresource);
	/* A user without RID is the first of ExtraSids (MS-PAC 2.5). */
	if (l->user == 0 &&
	    ((l->flags & FLAG_EXTRA_SIDS) == 0 || h.nextra == 0))
		ndr_fail(n, "it names no account");
	if (l->domain.len == 0 &&
	    (l->user != 0 || l->primary != 0 || l->groups.n != 0))
		ndr_fail(n, "RIDs without a domain");
	if (l->resource_domain.len == 0 && l->resource.n != 0)
		ndr_fail(n, "resource groups without a domain");
}

/* --- the set of SIDs ------------------------------------------------------ */

#define SLOTS 4096 /* a power of two, above three times as many as SIDs */
_Static_assert(SLOTS > 3 * IDENTITY_SIDS_MAX, "a probe meets a free slot");

struct sid_set {
	struct pac_logon *out;
	bool denying; /* the second pass */
	bool full;
	bool denied[IDENTITY_SIDS_MAX];
	uint16_t slot[SLOTS]; /* position plus one; 0: free */
};

/* The slot of a SID, or the free one where it belongs.  A KDC that chooses
 * colliding SIDs gains little: IDENTITY_SIDS_MAX steps for each listed. */
static uint16_t *
set_slot(struct sid_set *s, const struct identity_sid *sid)
{
	static const struct hash_key key;
	size_t i = hash_bytes(&key, sid->bytes, sid->len) % SLOTS;

	for (; s->slot[i] != 0; i = (i + 1) % SLOTS) {
		const struct identity_sid *is = &s->out->sid[s->slot[i] - 1];

		if (is->len == sid->len &&
		    memcmp(is->bytes, sid->bytes, sid->len) == 0)
			break;
	}
	return &s->slot[i];
}

static void
set_add(struct sid_set *s, const struct identity_sid *sid, uint16_t *slot)
{
	struct pac_logon *out = s->out;

	if (out->nsids == IDENTITY_SIDS_MAX) {
		s->full = true;
		return;
	}
	out->sid[out->nsids++] = *sid;
	*slot = (uint16_t)out->nsids;
}

/* One listed SID. */
static void
set_take(struct sid_set *s, struct identity_sid *sid, enum sid_source source,
	 uint32_t attributes)
{
	bool grants =
	    (attributes & (GROUP_ENABLED | GROUP_DENY_ONLY)) == GROUP_ENABLED;
	uint16_t *slot;

	if (grants == s->denying || s->full)
		return;
	slot = set_slot(s, sid);
	sid->source = (uint8_t)source;
	if (!s->denying && *slot == 0)
		set_add(s, sid, slot);
	else if (s->denying && *slot != 0)
		s->denied[*slot - 1] = true;
}

static void
set_take_rid(struct sid_set *s, const struct identity_sid *domain, uint32_t rid,
	     enum sid_source source, uint32_t attributes)
{
	struct identity_sid sid = *domain;

	BUG_ON(domain->len == 0 || domain->len > SID_BYTES_MAX - 4);
	for (size_t i = 0; i < 4; i++)
		sid.bytes[sid.len++] = (uint8_t)(rid >> (8 * i));
	sid.bytes[1]++;
	set_take(s, &sid, source, attributes);
}

static void
set_take_members(struct sid_set *s, const struct identity_sid *domain,
		 const struct members *m, enum sid_source source)
{
	for (uint32_t i = 0; i < m->n; i++) {
		const uint8_t *p = m->p + 8 * (size_t)i;

		set_take_rid(s, domain, le32(p), source, le32(p + 4));
	}
}

/* The first n of ExtraSids. */
static void
set_take_extras(struct sid_set *s, const struct extras *x, uint32_t n,
		enum sid_source source)
{
	struct ndr sids = x->sids;
	struct identity_sid sid;

	for (uint32_t i = 0; i < n; i++) {
		read_sid(&sids, &sid);
		BUG_ON(sids.bad != NULL);
		set_take(s, &sid, source, le32(x->p + 8 * (size_t)i + 4));
	}
}

/* Everything that is listed, once.  Account and primary group have no
 * attributes by themselves; where a list has them too, those count. */
static void
set_take_all(struct sid_set *s, const struct logon *l)
{
	if (l->user != 0)
		set_take_rid(s, &l->domain, l->user, SID_USER, GROUP_ENABLED);
	else
		set_take_extras(s, &l->extra, 1, SID_USER);
	if (l->primary != 0)
		set_take_rid(s, &l->domain, l->primary, SID_PRIMARY_GROUP,
			     GROUP_ENABLED);
	set_take_members(s, &l->domain, &l->groups, SID_GROUP);
	if ((l->flags & FLAG_EXTRA_SIDS) != 0)
		set_take_extras(s, &l->extra, l->extra.n, SID_EXTRA);
	if ((l->flags & FLAG_RESOURCE_SIDS) != 0)
		set_take_members(s, &l->resource_domain, &l->resource,
				 SID_RESOURCE);
}

static void
set_drop_denied(struct sid_set *s)
{
	struct pac_logon *out = s->out;
	size_t n = 0;

	for (size_t i = 0; i < out->nsids; i++)
		if (!s->denied[i])
			out->sid[n++] = out->sid[i];
	out->nsids = n;
}

/* 0 or -E2BIG. */
static int
take_sids(const struct logon *l, struct pac_logon *out)
{
	struct sid_set s = {.out = out};

	set_take_all(&s, l);
	if (s.full)
		return -E2BIG;
	s.denying = true;
	set_take_all(&s, l);
	set_drop_denied(&s);
	return 0;
}

int
pac_decode(struct slice ndr, struct pac_logon *out_r, const char **why_r)
{
	struct logon l;
	struct ndr n;
	int e = 0;

	out_r->user[0] = out_r->domain[0] = '\0';
	out_r->nsids = 0;
	ndr_open(&n, ndr);
	read_logon(&n, &l, out_r);
	*why_r = n.bad;
	if (n.bad != NULL) {
		e = -EPROTO;
	} else if (take_sids(&l, out_r) != 0) {
		*why_r = "it has too many SIDs";
		e = -E2BIG;
	}
	if (e != 0) {
		out_r->user[0] = out_r->domain[0] = '\0';
		out_r->nsids = 0;
	}
	return e;
}
