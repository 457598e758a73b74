/*
 * Purpose: an authenticated identity in memory and in a message, and SIDs in
 *          binary and in text.
 *
 * Runs in: keeper (makes it), relay (owns it), master (SIDs of the store).
 * Trusts:  nobody: an identity arrives from the keeper, which parsed tickets.
 * Touches: the heap.
 * Failure: NULL or -EINVAL, and nothing half-made.
 */
#include "shm/identity.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/base/log.h"

#define SID_HEAD    8 /* revision, count, authority */
#define SID_SUB_MAX 15

const char *
mech_name(enum auth_mech m)
{
	static const char *const name[] = {"none", "kerberos", "ntlm", "cert"};

	return (unsigned)m < ARRAY_LEN(name) ? name[m] : "?";
}

const char *
sid_source_name(enum sid_source source)
{
	static const char *const name[] = {"user",  "primary-group", "group",
					   "extra", "resource",	     "winbind"};

	return (unsigned)source < ARRAY_LEN(name) ? name[source] : "?";
}

const char *
sid_lack_text(enum sid_lack lack)
{
	static const char *const text[] = {
	    "the credentials carry no group SIDs",
	    "the signature of the ticket's PAC is not right",
	    "the ticket's PAC cannot be read",
	    "the ticket's PAC has more SIDs than are accepted",
	};

	_Static_assert(ARRAY_LEN(text) == LACK_MAX, "a text for each");
	return (unsigned)lack < ARRAY_LEN(text) ? text[lack] : "?";
}

struct identity *
identity_new(void)
{
	return calloc(1, sizeof(struct identity));
}

void
identity_free(struct identity **id)
{
	if (*id == NULL)
		return;
	free((*id)->sids);
	free(*id);
	*id = NULL;
}

void
identity_pack(struct pack *k, const struct identity *id)
{
	BUG_ON(id->nsids > IDENTITY_SIDS_MAX);
	BUG_ON(id->nsids > 0 && id->lack != LACK_NONE_GIVEN);
	pack_u8(k, (uint8_t)id->mech);
	pack_u8(k, (uint8_t)(id->bound ? 1 + id->bound_before : 0));
	pack_u64(k, id->expires);
	pack_str(k, id->principal);
	pack_str(k, id->spn);
	pack_u32(k, id->kvno);
	pack_u32(k, (uint32_t)id->enctype);
	pack_u8(k, (uint8_t)id->lack);
	pack_u32(k, (uint32_t)id->nsids);
	for (size_t i = 0; i < id->nsids; i++) {
		pack_u8(k, id->sids[i].source);
		pack_blob(k, id->sids[i].bytes, id->sids[i].len);
	}
}

/* Fewest bytes of one SID in a message: source, length, one subauthority. */
#define SID_PACKED_MIN (1 + 4 + SID_HEAD + 4)

static bool
identity_unpack_sids(struct unpack *u, struct identity *id)
{
	size_t n = unpack_u32(u);

	errno = EBADMSG;
	/* The count is believed only as far as there are bytes behind it. */
	if (u->bad || n > IDENTITY_SIDS_MAX || n > u->len / SID_PACKED_MIN)
		return false;
	if (n == 0)
		return true;
	id->sids = calloc(n, sizeof(id->sids[0])); /* its errno */
	if (id->sids == NULL)
		return false;
	errno = EBADMSG;
	for (; id->nsids < n; id->nsids++) {
		struct identity_sid *sid = &id->sids[id->nsids];
		struct slice s;

		sid->source = unpack_u8(u);
		s = unpack_slice(u);
		if (sid->source > SID_WINBIND ||
		    !sid_valid((const uint8_t *)s.p, s.len))
			return false;
		sid->len = (uint8_t)s.len;
		memcpy(sid->bytes, s.p, s.len);
	}
	return true;
}

struct identity *
identity_unpack(struct unpack *u)
{
	struct identity *id = identity_new();
	uint8_t mech, bound, lack;

	if (id == NULL)
		return NULL;
	mech = unpack_u8(u);
	bound = unpack_u8(u);
	id->expires = unpack_u64(u);
	unpack_str(u, id->principal, sizeof(id->principal));
	unpack_str(u, id->spn, sizeof(id->spn));
	id->kvno = unpack_u32(u);
	id->enctype = (int32_t)unpack_u32(u);
	lack = unpack_u8(u);
	if (!identity_unpack_sids(u, id) || mech < MECH_KERBEROS ||
	    mech > MECH_CERT || bound > 2 || id->principal[0] == '\0' ||
	    lack >= LACK_MAX || (lack != LACK_NONE_GIVEN && id->nsids > 0)) {
		identity_free(&id);
		return NULL;
	}
	id->mech = (enum auth_mech)mech;
	id->bound = bound > 0;
	id->bound_before = bound == 2;
	id->lack = (enum sid_lack)lack;
	return id;
}

/* --- lists of SIDs ------------------------------------------------------ */

void
sids_pack(struct pack *k, const struct identity_sid *sid, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		pack_u8(k, sid[i].source);
		pack_u8(k, sid[i].len);
		pack_bytes(k, sid[i].bytes, sid[i].len);
	}
}

bool
sids_next(struct slice *packed, struct identity_sid *sid_r)
{
	const uint8_t *p = (const uint8_t *)packed->p;
	size_t len;

	if (packed->len < 2)
		return false;
	len = p[1];
	if (packed->len - 2 < len || p[0] > SID_WINBIND ||
	    !sid_valid(p + 2, len))
		return false;
	sid_r->source = p[0];
	sid_r->len = (uint8_t)len;
	memcpy(sid_r->bytes, p + 2, len);
	packed->p += 2 + len;
	packed->len -= 2 + len;
	return true;
}

int
sids_count(struct slice packed)
{
	struct identity_sid sid;
	int n = 0;

	while (n <= IDENTITY_SIDS_MAX && sids_next(&packed, &sid))
		n++;
	return packed.len > 0 || n > IDENTITY_SIDS_MAX ? -EINVAL : n;
}

/* --- SIDs --------------------------------------------------------------- */

bool
sid_valid(const uint8_t *bytes, size_t len)
{
	return len > SID_HEAD && bytes[0] == 1 && bytes[1] >= 1 &&
	       bytes[1] <= SID_SUB_MAX && len == SID_HEAD + 4U * bytes[1];
}

/* The text up to the next '-' or the end; *s moves behind it. */
static struct slice
sid_part(struct slice *s)
{
	struct slice part = {s->p, 0};

	while (part.len < s->len && s->p[part.len] != '-')
		part.len++;
	s->p += part.len;
	s->len -= part.len;
	return part;
}

/* Steps over the '-' in front of a part. */
static bool
sid_dash(struct slice *s)
{
	if (s->len == 0 || s->p[0] != '-')
		return false;
	s->p++;
	s->len--;
	return true;
}

/* "0x" and up to twelve hexadecimal digits: 48 bits. */
static int
sid_hex(struct slice s, uint64_t *value_r)
{
	uint64_t v = 0;

	if (s.len < 3 || s.len > 14)
		return -EINVAL;
	for (size_t i = 2; i < s.len; i++) {
		char c = ascii_lower(s.p[i]);

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint64_t)(c - 'a' + 10);
		else
			return -EINVAL;
	}
	*value_r = v;
	return 0;
}

static int
sid_authority(struct slice s, uint64_t *value_r)
{
	if (s.len > 2 && s.p[0] == '0' && ascii_lower(s.p[1]) == 'x')
		return sid_hex(s, value_r);
	if (s.len > 10)
		return -EINVAL;
	return str_u64(s, UINT32_MAX, value_r);
}

int
sid_parse(struct slice text, uint8_t bytes_r[SID_BYTES_MAX])
{
	struct slice s = text;
	uint64_t v;
	size_t n = 0;

	memset(bytes_r, 0, SID_BYTES_MAX);
	if (!slice_iis(sid_part(&s), "S") || !sid_dash(&s) ||
	    !slice_is(sid_part(&s), "1") || !sid_dash(&s) ||
	    sid_authority(sid_part(&s), &v) != 0)
		return -EINVAL;
	bytes_r[0] = 1;
	for (size_t i = 0; i < 6; i++)
		bytes_r[2 + i] = (uint8_t)(v >> (40 - 8 * i));
	while (s.len > 0) {
		struct slice part;

		if (!sid_dash(&s) || n == SID_SUB_MAX)
			return -EINVAL;
		part = sid_part(&s);
		if (part.len > 10 || str_u64(part, UINT32_MAX, &v) != 0)
			return -EINVAL;
		for (size_t i = 0; i < 4; i++)
			bytes_r[SID_HEAD + 4 * n + i] = (uint8_t)(v >> (8 * i));
		n++;
	}
	if (n == 0)
		return -EINVAL;
	bytes_r[1] = (uint8_t)n;
	return (int)(SID_HEAD + 4 * n);
}

int
sid_text(const uint8_t *bytes, size_t len, char text_r[SID_TEXT_MAX])
{
	struct sbuf b;
	uint64_t v = 0;

	sbuf_init(&b, text_r, SID_TEXT_MAX);
	if (!sid_valid(bytes, len))
		return -EINVAL;
	for (size_t i = 0; i < 6; i++)
		v = v << 8 | bytes[2 + i];
	sbuf_str(&b, "S-1-");
	if (v > UINT32_MAX)
		sbuf_fmt(&b, "0x%012llX", (unsigned long long)v);
	else
		sbuf_u64(&b, v);
	for (const uint8_t *p = bytes + SID_HEAD; p < bytes + len; p += 4) {
		sbuf_char(&b, '-');
		sbuf_u64(&b, (uint64_t)p[0] | (uint64_t)p[1] << 8 |
				 (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24);
	}
	BUG_ON(b.cut);
	return 0;
}
