/*
 * ndr_make: builds the logon information of a PAC (MS-PAC 2.5) as a KDC would,
 * and remembers where each field went, so that a test can spoil one.
 */
#ifndef RMS_TEST_NDR_MAKE_H
#define RMS_TEST_NDR_MAKE_H

#include <stdlib.h>
#include <string.h>

#include "shm/identity.h"

#define NDR_LIST_MAX 2048
#define NDR_HEAD     16

/* Fields by name: their offset from the start of the whole. */
enum ndr_field {
	AT_TOP_REF,
	AT_USER_BYTES,
	AT_USER_ROOM,
	AT_USER_REF,
	AT_FULL_BYTES,
	AT_USER_RID,
	AT_PRIMARY,
	AT_NGROUPS,
	AT_GROUPS_REF,
	AT_FLAGS,
	AT_DOMAIN_BYTES,
	AT_DOMAIN_ROOM,
	AT_DOMAIN_REF,
	AT_DOMAIN_SID_REF,
	AT_NEXTRA,
	AT_EXTRA_REF,
	AT_RESOURCE_DOMAIN_REF,
	AT_NRESOURCE,
	AT_RESOURCE_REF,
	/* behind the struct */
	AT_USER_MAX,
	AT_USER_OFFSET,
	AT_USER_ACTUAL,
	AT_GROUPS_MAX,
	AT_GROUPS,
	AT_DOMAIN_MAX,
	AT_DOMAIN_OFFSET,
	AT_DOMAIN_ACTUAL,
	AT_DOMAIN_SID_SUBS,
	AT_DOMAIN_SID,
	AT_EXTRA_MAX,
	AT_EXTRA,
	AT_EXTRA_SID_SUBS,
	AT_EXTRA_SID,
	AT_RESOURCE_DOMAIN_SUBS,
	AT_RESOURCE_DOMAIN,
	AT_RESOURCE_MAX,
	AT_RESOURCE,
	AT_FIELDS,
};

struct ndr_text {
	const uint16_t *units;
	uint16_t n;
	bool none; /* a pointer that is zero */
};

struct ndr_rid {
	uint32_t rid, attributes;
};

struct ndr_sid {
	const char *sid; /* NULL: a pointer that is zero */
	uint32_t attributes;
};

struct ndr_logon {
	struct ndr_text user, full, script, profile, home, drive;
	struct ndr_text server, domain;
	uint32_t user_rid, primary, flags;
	const char *domain_sid, *resource_sid; /* or NULL */
	size_t ngroups, nextra, nresource;
	struct ndr_rid group[NDR_LIST_MAX], resource[NDR_LIST_MAX];
	struct ndr_sid extra[NDR_LIST_MAX];
	/* lists of no entries that are there all the same */
	bool empty_groups, empty_extra, empty_resource;
	uint8_t pad; /* what stands in the gaps */
};

struct ndr_made {
	uint8_t p[1 << 18];
	size_t len;
	size_t at[AT_FIELDS];
	uint32_t ref; /* the last pointer given out */
	uint8_t pad;
};

static inline void
ndr_put(struct ndr_made *m, const void *p, size_t len)
{
	BUG_ON(len > sizeof(m->p) - m->len);
	if (len > 0)
		memcpy(m->p + m->len, p, len);
	m->len += len;
}

static inline void
ndr_align(struct ndr_made *m, size_t to)
{
	while (m->len % to != 0)
		ndr_put(m, &m->pad, 1);
}

static inline void
ndr_put16(struct ndr_made *m, unsigned v)
{
	uint8_t b[2] = {(uint8_t)v, (uint8_t)(v >> 8)};

	ndr_align(m, 2);
	ndr_put(m, b, 2);
}

static inline void
ndr_put32(struct ndr_made *m, uint32_t v)
{
	ndr_align(m, 4);
	ndr_put16(m, v & 0xffff);
	ndr_put16(m, v >> 16);
}

/* Puts a field at a place of its own. */
static inline void
ndr_set32(struct ndr_made *m, size_t at, uint32_t v)
{
	for (size_t i = 0; i < 4; i++)
		m->p[at + i] = (uint8_t)(v >> (8 * i));
}

static inline void
ndr_here(struct ndr_made *m, enum ndr_field f)
{
	ndr_align(m, 4);
	m->at[f] = m->len;
}

static inline void
ndr_field32(struct ndr_made *m, enum ndr_field f, uint32_t v)
{
	ndr_here(m, f);
	ndr_put32(m, v);
}

static inline uint32_t
ndr_ref(struct ndr_made *m, bool there)
{
	return there ? (m->ref += 4) : 0;
}

static inline void
ndr_put_text_head(struct ndr_made *m, const struct ndr_text *t)
{
	ndr_align(m, 4);
	ndr_put16(m, 2U * t->n);
	ndr_put16(m, 2U * t->n);
	ndr_put32(m, ndr_ref(m, !t->none));
}

static inline void
ndr_put_text(struct ndr_made *m, const struct ndr_text *t)
{
	if (t->none)
		return;
	ndr_put32(m, t->n);
	ndr_put32(m, 0);
	ndr_put32(m, t->n);
	for (size_t i = 0; i < t->n; i++)
		ndr_put16(m, t->units[i]);
}

static inline void
ndr_put_sid(struct ndr_made *m, const char *text, enum ndr_field subs,
	    enum ndr_field sid)
{
	uint8_t b[SID_BYTES_MAX];
	int len;

	if (text == NULL)
		return;
	len = sid_parse(slice_of(text), b);
	BUG_ON(len < 0);
	ndr_field32(m, subs, b[1]);
	ndr_here(m, sid);
	ndr_put(m, b, (size_t)len);
}

static inline void
ndr_put_rids(struct ndr_made *m, const struct ndr_rid *r, size_t n,
	     enum ndr_field max, enum ndr_field list)
{
	ndr_field32(m, max, (uint32_t)n);
	ndr_here(m, list);
	for (size_t i = 0; i < n; i++) {
		ndr_put32(m, r[i].rid);
		ndr_put32(m, r[i].attributes);
	}
}

static inline void
ndr_put_extras(struct ndr_made *m, const struct ndr_logon *l)
{
	ndr_field32(m, AT_EXTRA_MAX, (uint32_t)l->nextra);
	ndr_here(m, AT_EXTRA);
	for (size_t i = 0; i < l->nextra; i++) {
		ndr_put32(m, ndr_ref(m, l->extra[i].sid != NULL));
		ndr_put32(m, l->extra[i].attributes);
	}
	for (size_t i = 0; i < l->nextra; i++) {
		/* at[] is left at the first */
		size_t subs = m->at[AT_EXTRA_SID_SUBS];
		size_t sid = m->at[AT_EXTRA_SID];

		ndr_put_sid(m, l->extra[i].sid, AT_EXTRA_SID_SUBS,
			    AT_EXTRA_SID);
		if (i > 0) {
			m->at[AT_EXTRA_SID_SUBS] = subs;
			m->at[AT_EXTRA_SID] = sid;
		}
	}
}

static inline void
ndr_put_struct(struct ndr_made *m, const struct ndr_logon *l)
{
	const struct ndr_text *const text[] = {
	    &l->user, &l->full, &l->script, &l->profile, &l->home, &l->drive};

	ndr_field32(m, AT_TOP_REF, ndr_ref(m, true));
	for (uint32_t i = 0; i < 12; i++)
		ndr_put32(m, 0x01010101U * i);
	ndr_here(m, AT_USER_BYTES);
	m->at[AT_USER_ROOM] = m->len + 2;
	m->at[AT_USER_REF] = m->len + 4;
	m->at[AT_FULL_BYTES] = m->len + 8;
	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		ndr_put_text_head(m, text[i]);
	ndr_put16(m, 7);
	ndr_put16(m, 9);
	ndr_field32(m, AT_USER_RID, l->user_rid);
	ndr_field32(m, AT_PRIMARY, l->primary);
	ndr_field32(m, AT_NGROUPS, (uint32_t)l->ngroups);
	ndr_field32(m, AT_GROUPS_REF,
		    ndr_ref(m, l->ngroups > 0 || l->empty_groups));
	ndr_field32(m, AT_FLAGS, l->flags);
	for (uint32_t i = 0; i < 4; i++)
		ndr_put32(m, 0xeeeeeeee);
	ndr_put_text_head(m, &l->server);
	ndr_here(m, AT_DOMAIN_BYTES);
	m->at[AT_DOMAIN_ROOM] = m->len + 2;
	m->at[AT_DOMAIN_REF] = m->len + 4;
	ndr_put_text_head(m, &l->domain);
	ndr_field32(m, AT_DOMAIN_SID_REF, ndr_ref(m, l->domain_sid != NULL));
	for (uint32_t i = 0; i < 10; i++)
		ndr_put32(m, 0xdddddddd);
	ndr_field32(m, AT_NEXTRA, (uint32_t)l->nextra);
	ndr_field32(m, AT_EXTRA_REF,
		    ndr_ref(m, l->nextra > 0 || l->empty_extra));
	ndr_field32(m, AT_RESOURCE_DOMAIN_REF,
		    ndr_ref(m, l->resource_sid != NULL));
	ndr_field32(m, AT_NRESOURCE, (uint32_t)l->nresource);
	ndr_field32(m, AT_RESOURCE_REF,
		    ndr_ref(m, l->nresource > 0 || l->empty_resource));
}

static inline void
ndr_put_name(struct ndr_made *m, const struct ndr_text *t, enum ndr_field max)
{
	if (!t->none) {
		ndr_here(m, max);
		m->at[max + 1] = m->len + 4;
		m->at[max + 2] = m->len + 8;
	}
	ndr_put_text(m, t);
}

/* The whole, in static memory. */
static inline struct ndr_made *
ndr_make(const struct ndr_logon *l)
{
	static const uint8_t head[NDR_HEAD] = {1,    0x10, 8,	 0,
					       0xcc, 0xcc, 0xcc, 0xcc};
	static struct ndr_made made;
	struct ndr_made *m = &made;

	memset(m, 0, sizeof(*m));
	m->pad = l->pad;
	m->ref = 0x20000;
	ndr_put(m, head, sizeof(head));
	ndr_put_struct(m, l);
	ndr_put_name(m, &l->user, AT_USER_MAX);
	ndr_put_text(m, &l->full);
	ndr_put_text(m, &l->script);
	ndr_put_text(m, &l->profile);
	ndr_put_text(m, &l->home);
	ndr_put_text(m, &l->drive);
	if (l->ngroups > 0 || l->empty_groups)
		ndr_put_rids(m, l->group, l->ngroups, AT_GROUPS_MAX, AT_GROUPS);
	ndr_put_text(m, &l->server);
	ndr_put_name(m, &l->domain, AT_DOMAIN_MAX);
	ndr_put_sid(m, l->domain_sid, AT_DOMAIN_SID_SUBS, AT_DOMAIN_SID);
	if (l->nextra > 0 || l->empty_extra)
		ndr_put_extras(m, l);
	ndr_put_sid(m, l->resource_sid, AT_RESOURCE_DOMAIN_SUBS,
		    AT_RESOURCE_DOMAIN);
	if (l->nresource > 0 || l->empty_resource)
		ndr_put_rids(m, l->resource, l->nresource, AT_RESOURCE_MAX,
			     AT_RESOURCE);
	ndr_align(m, 8);
	ndr_set32(m, 8, (uint32_t)(m->len - NDR_HEAD));
	return m;
}

#endif
