/*
 * Purpose: the bodies of messages, packed and unpacked field by field.
 *
 * Runs in: every process.
 * Trusts:  its own caller when packing, nobody when unpacking.
 * Touches: memory of its callers.
 * Failure: 0 when a body does not fit, -EPROTO when it is not what it says.
 *
 * The fields of a message stand once, in a list that makes both functions.
 * What is unpacked packs again to the same bytes (the fuzzer holds us to it),
 * so there is one way to say a thing and no room to hide another.
 */
#include "shm/msg.h"

#include <errno.h>

#include "shm/base/hash.h"
#include "shm/base/pack.h"
#include "shm/base/log.h"

/* How a field of each kind travels; pack.h has u8, u32 ... themselves. */
#define put_u8(k, v)	pack_u8(k, v)
#define put_u32(k, v)	pack_u32(k, v)
#define put_u64(k, v)	pack_u64(k, v)
#define put_i32(k, v)	pack_u32(k, (uint32_t)(v))
#define put_enum(k, v)	pack_u32(k, (uint32_t)(v))
#define put_bool(k, v)	pack_u8(k, (v) ? 1 : 0)
#define put_slice(k, v) pack_slice(k, v)
#define put_str(k, v)	pack_str(k, v)

#define get_u8(u, v)	((v) = unpack_u8(u))
#define get_u32(u, v)	((v) = unpack_u32(u))
#define get_u64(u, v)	((v) = unpack_u64(u))
#define get_i32(u, v)	((v) = (int32_t)unpack_u32(u))
#define get_enum(u, v)	((v) = unpack_u32(u))
#define get_bool(u, v)	((v) = msg_get_bool(u))
#define get_slice(u, v) ((v) = unpack_slice(u))
#define get_str(u, v)	unpack_str(u, v, sizeof(v))

#define MSG_PUT(kind, field) put_##kind(&k, m->field);
#define MSG_GET(kind, field) get_##kind(&u, m_r->field);

/* A list of fields and what must hold of them, to both functions. */
#define MSG_FLAT(X, FIELDS, HOLDS)                                  \
	size_t msg_##X##_pack(const struct msg_##X *m, void *body,  \
			      size_t size)                          \
	{                                                           \
		struct pack k;                                      \
                                                                    \
		pack_init(&k, body, size);                          \
		FIELDS(MSG_PUT)                                     \
		return k.full ? 0 : k.len;                          \
	}                                                           \
                                                                    \
	int msg_##X##_unpack(struct msg_##X *m_r, const void *body, \
			     size_t len)                            \
	{                                                           \
		struct unpack u;                                    \
                                                                    \
		unpack_init(&u, body, len);                         \
		FIELDS(MSG_GET)                                     \
		return unpack_done(&u) && (HOLDS) ? 0 : -EPROTO;    \
	}                                                           \
	_Static_assert(sizeof(struct msg_##X) > 0, "takes the semicolon")

static bool
msg_get_bool(struct unpack *u)
{
	uint8_t v = unpack_u8(u);

	if (v > 1)
		u->bad = true;
	return v == 1;
}

#define SEGMENT_FIELDS(F) F(enum, kind)
MSG_FLAT(segment, SEGMENT_FIELDS,
	 m_r->kind >= SEGMENT_STATS && m_r->kind < SEGMENT_MAX);

#define LISTENER_FIELDS(F) F(u32, index)
MSG_FLAT(listener, LISTENER_FIELDS, true);

#define TLS_KEY_FIELDS(F) F(u32, index) F(u32, place)
MSG_FLAT(tls_key, TLS_KEY_FIELDS, true);

#define LISTENER_PEM_FIELDS(F) \
	F(u32, index) F(enum, kind) F(u32, place) F(u64, until_s)
MSG_FLAT(listener_pem, LISTENER_PEM_FIELDS,
	 m_r->kind < PEM_MAX &&
	     (m_r->place == 0 || m_r->kind == PEM_CHAIN ||
	      m_r->kind == PEM_OCSP) &&
	     (m_r->until_s == 0 || m_r->kind == PEM_OCSP));

#define PEER_FIELDS(F) F(enum, role) F(u32, slot) F(u64, life)
MSG_FLAT(peer, PEER_FIELDS, m_r->role < ROLE_MAX && m_r->slot < RELAY_MAX);

#define ACCUSE_FIELDS(F) F(enum, role) F(u32, slot) F(u64, life) F(slice, why)
MSG_FLAT(accuse, ACCUSE_FIELDS, m_r->role < ROLE_MAX && m_r->slot < RELAY_MAX);

#define SET_FIELDS(F) F(u64, number)
MSG_FLAT(set, SET_FIELDS, true);

#define REFUSED_FIELDS(F) F(u64, number) F(slice, why)
MSG_FLAT(refused, REFUSED_FIELDS, true);

#define DRAIN_FIELDS(F) F(u64, ms)
MSG_FLAT(drain, DRAIN_FIELDS, true);

/* One kind of thing to a line. */
/* clang-format off */
#define EVENT_FIELDS(F)                                    \
	F(u32, id)                                         \
	F(slice, account) F(slice, sid) F(slice, address)  \
	F(slice, mech) F(slice, request) F(slice, detail)

#define SEEN_FIELDS(F)                                     \
	F(bool, allowed) F(bool, tls) F(bool, bound)       \
	F(u8, mech) F(u8, role) F(u8, verdict)             \
	F(u32, entry) F(u32, other) F(u32, matches)        \
	F(u64, generation) F(i32, enctype) F(u32, kvno)    \
	F(u8, lack) F(u32, nsids) F(u64, sids_hash)        \
	F(slice, sids)                                     \
	F(slice, account) F(slice, sid) F(slice, spn)      \
	F(slice, address) F(slice, listener)               \
	F(slice, request)
/* clang-format on */

MSG_FLAT(event, EVENT_FIELDS, true);

/* SIDs are all of them or none, and then there is nothing to lack. */
static bool
msg_seen_holds(const struct msg_seen *m)
{
	if (m->mech > MECH_CERT || m->role >= SERVER_ROLE_MAX ||
	    m->verdict > VERDICT_NO_TABLE || m->lack >= LACK_MAX ||
	    m->nsids > IDENTITY_SIDS_MAX)
		return false;
	if (m->nsids > 0 && m->lack != LACK_NONE_GIVEN)
		return false;
	return m->sids.len == 0 || sids_count(m->sids) == (int)m->nsids;
}

MSG_FLAT(seen, SEEN_FIELDS, msg_seen_holds(m_r));

uint64_t
msg_sids_hash(struct slice packed)
{
	/* Known to all, so anybody could make two lists of one hash; what
	 * that is good for is to have the wrong groups explained. */
	static const struct hash_key key = {UINT64_C(0x73646973736d72), 1};
	uint64_t h = hash_bytes(&key, packed.p, packed.len);

	return packed.len == 0 ? 0 : h == 0 ? 1 : h;
}

#define KEEPER_STATUS_FIELDS(F) F(u32, entries) F(slice, text)
MSG_FLAT(keeper_status, KEEPER_STATUS_FIELDS, true);

/* Each outcome brings what belongs to it and nothing else. */
static bool
msg_auth_reply_holds(const struct msg_auth_reply *m)
{
	if (m->cause >= CAUSE_MAX || m->mech > MECH_CERT ||
	    m->claimed.len >= IDENTITY_PRINCIPAL_MAX ||
	    (m->mech == MECH_NONE && m->claimed.len > 0) ||
	    (m->mech != MECH_NONE && m->outcome != AUTH_FAILED))
		return false;
	switch (m->outcome) {
	case AUTH_OK:
		return m->cause == CAUSE_NONE && m->identity.len > 0;
	case AUTH_CONTINUE:
		return m->cause == CAUSE_NONE && m->identity.len == 0 &&
		       m->token.len > 0;
	case AUTH_FAILED:
	case AUTH_BUSY:
		return m->cause != CAUSE_NONE && m->identity.len == 0;
	default:
		return false;
	}
}

#define AUTH_REPLY_FIELDS(F) \
	F(enum, outcome)     \
	F(enum, cause)       \
	F(u64, took_ns)      \
	F(slice, token)      \
	F(slice, detail) F(slice, identity) F(u8, mech) F(slice, claimed)
MSG_FLAT(auth_reply, AUTH_REPLY_FIELDS, msg_auth_reply_holds(m_r));

#define KEY_USE_FIELDS(F) \
	F(str, principal) \
	F(u32, kvno)      \
	F(i32, enctype)   \
	F(u64, count) F(u64, first_ns) F(u64, last_ns) F(u64, life_s)
MSG_FLAT(key_use, KEY_USE_FIELDS,
	 m_r->principal[0] != '\0' && m_r->count > 0 &&
	     m_r->first_ns <= m_r->last_ns);

#define SIGN_FIELDS(F) F(u32, index) F(enum, op) F(slice, data) F(u64, key)
MSG_FLAT(sign, SIGN_FIELDS, m_r->op >= SIGN_RSA_RAW && m_r->op <= SIGN_ECDSA);

#define SIGN_REPLY_FIELDS(F) F(bool, ok) F(slice, data)
MSG_FLAT(sign_reply, SIGN_REPLY_FIELDS, m_r->ok == (m_r->data.len > 0));

#define TOKEN_STALE_FIELDS(F) F(u32, credential) F(u64, serial)
MSG_FLAT(token_stale, TOKEN_STALE_FIELDS, true);

#define CLOUD_HEALTH_FIELDS(F) \
	F(u8, what) F(u32, credential) F(u32, ms) F(u8, family) F(slice, addr)
MSG_FLAT(cloud_health, CLOUD_HEALTH_FIELDS,
	 m_r->what >= CLOUD_WAIT && m_r->what < CLOUD_HEALTH_MAX &&
	     (m_r->what == CLOUD_BAD
		  ? (m_r->family == 4 && m_r->addr.len == 4) ||
			(m_r->family == 6 && m_r->addr.len == 16)
		  : m_r->family == 0 && m_r->addr.len == 0));

/* --- those with a list inside ------------------------------------------ */

#define AUTH_STEP_FIELDS(F) \
	F(u32, deadline_ms) \
	F(u8, first)        \
	F(bool, shared)     \
	F(bool, must_bind) F(bool, own) F(u32, nbindings)

size_t
msg_auth_step_pack(const struct msg_auth_step *m, void *body, size_t size)
{
	struct pack k;

	BUG_ON(m->nbindings > MSG_BINDINGS_MAX);
	pack_init(&k, body, size);
	AUTH_STEP_FIELDS(MSG_PUT)
	for (uint32_t i = 0; i < m->nbindings; i++)
		pack_slice(&k, m->binding[i]);
	pack_slice(&k, m->token);
	return k.full ? 0 : k.len;
}

int
msg_auth_step_unpack(struct msg_auth_step *m_r, const void *body, size_t len)
{
	struct unpack u;

	memset(m_r, 0, sizeof(*m_r));
	unpack_init(&u, body, len);
	AUTH_STEP_FIELDS(MSG_GET)
	u.bad |= m_r->first > 1 || m_r->nbindings > MSG_BINDINGS_MAX ||
		 (m_r->own && m_r->nbindings == 0);
	for (uint32_t i = 0; !u.bad && i < m_r->nbindings; i++) {
		m_r->binding[i] = unpack_slice(&u);
		u.bad |= m_r->binding[i].len == 0 ||
			 m_r->binding[i].len > MSG_BINDING_BYTES_MAX;
	}
	m_r->token = unpack_slice(&u);
	u.bad |= m_r->token.len > MSG_TOKEN_BYTES_MAX;
	return unpack_done(&u) ? 0 : -EPROTO;
}

#define CRED_FIELDS(F)        \
	F(u32, cred[i].id)    \
	F(enum, cred[i].kind) \
	F(str, cred[i].name) F(str, cred[i].client_id) F(str, cred[i].secret)

size_t
msg_creds_pack(const struct msg_creds *m, void *body, size_t size)
{
	struct pack k;

	BUG_ON(m->n > MSG_CREDS_MAX);
	pack_init(&k, body, size);
	pack_u32(&k, m->n);
	for (uint32_t i = 0; i < m->n; i++) {
		CRED_FIELDS(MSG_PUT)
	}
	return k.full ? 0 : k.len;
}

int
msg_creds_unpack(struct msg_creds *m_r, const void *body, size_t len)
{
	struct unpack u;

	memset(m_r, 0, sizeof(*m_r));
	unpack_init(&u, body, len);
	m_r->n = unpack_u32(&u);
	if (m_r->n > MSG_CREDS_MAX)
		u.bad = true;
	for (uint32_t i = 0; !u.bad && i < m_r->n; i++) {
		CRED_FIELDS(MSG_GET)
		if (m_r->cred[i].kind >= CRED_KIND_MAX)
			u.bad = true;
	}
	if (unpack_done(&u))
		return 0;
	str_wipe(m_r, sizeof(*m_r));
	return -EPROTO;
}

#define CLOUD_CRED_FIELDS(F)         \
	F(u32, cred[i].id)           \
	F(u32, cred[i].state)        \
	F(u64, cred[i].expires_in_s) \
	F(u64, cred[i].retry_in_s) F(str, cred[i].error)
#define CLOUD_DNS_FIELDS(F) \
	F(u32, naddr) F(bool, dns_failed) F(str, addrs) F(str, dns_error)

size_t
msg_cloud_status_pack(const struct msg_cloud_status *m, void *body, size_t size)
{
	struct pack k;

	BUG_ON(m->n > MSG_CREDS_MAX);
	pack_init(&k, body, size);
	pack_u32(&k, m->n);
	for (uint32_t i = 0; i < m->n; i++) {
		CLOUD_CRED_FIELDS(MSG_PUT)
	}
	CLOUD_DNS_FIELDS(MSG_PUT)
	return k.full ? 0 : k.len;
}

int
msg_cloud_status_unpack(struct msg_cloud_status *m_r, const void *body,
			size_t len)
{
	struct unpack u;

	memset(m_r, 0, sizeof(*m_r));
	unpack_init(&u, body, len);
	m_r->n = unpack_u32(&u);
	if (m_r->n > MSG_CREDS_MAX)
		u.bad = true;
	for (uint32_t i = 0; !u.bad && i < m_r->n; i++) {
		CLOUD_CRED_FIELDS(MSG_GET)
	}
	CLOUD_DNS_FIELDS(MSG_GET)
	return unpack_done(&u) ? 0 : -EPROTO;
}

/* --- causes ------------------------------------------------------------- */

struct auth_cause_row {
	const char *name;
	const char *text;
	const char *remedy;
};

/* One spelling per cause: the name as in auth_causes.def, made readable. */
static const struct auth_cause_row auth_causes[CAUSE_MAX] = {
#define AUTH_CAUSE(name, text, remedy) {#name, text, remedy},
#include "shm/auth_causes.def"
#undef AUTH_CAUSE
};

static const struct auth_cause_row *
auth_cause_row(enum auth_cause c)
{
	return &auth_causes[(unsigned)c < CAUSE_MAX ? c : CAUSE_INTERNAL];
}

const char *
auth_cause_name(enum auth_cause c)
{
	static char names[CAUSE_MAX][32];
	const char *from = auth_cause_row(c)->name;
	char *to = names[auth_cause_row(c) - auth_causes];

	if (to[0] != '\0')
		return to;
	for (size_t i = 0; from[i] != '\0'; i++) {
		BUG_ON(i + 1 >= sizeof(names[0]));
		to[i] = from[i] == '_' ? '-' : ascii_lower(from[i]);
	}
	return to;
}

const char *
auth_cause_text(enum auth_cause c)
{
	return auth_cause_row(c)->text;
}

const char *
auth_cause_remedy(enum auth_cause c)
{
	return auth_cause_row(c)->remedy;
}

bool
auth_cause_is_busy(enum auth_cause c)
{
	return c == CAUSE_BUSY || c == CAUSE_TIMEOUT || c == CAUSE_HALF_DONE ||
	       c == CAUSE_NTLM_BUSY || c == CAUSE_NTLM_TIMEOUT;
}
