/*
 * Purpose: read the clear parts of NTLM messages.
 *
 * Runs in: the NTLM processes.
 * Trusts:  nothing: every byte is the client's.
 * Touches: memory of its caller only.
 * Failure: NTLMSSP_BAD with the place.
 */
#include "worker/ntlm/ntlmssp.h"

#include <errno.h>
#include <openssl/evp.h>

#include "shm/base/log.h"

/* Offsets in an AUTHENTICATE message, MS-NLMP 2.2.1.3. */
#define AUTH_NT	    20
#define AUTH_DOMAIN 28
#define AUTH_USER   36
#define AUTH_FLAGS  60
#define AUTH_MIN    64 /* VERSION and MIC may be left out */

#define FLAG_UNICODE   UINT32_C(0x00000001)
#define FLAG_ANONYMOUS UINT32_C(0x00000800)

/* NTLMv2_RESPONSE, 2.2.2.8: proof of 16 bytes, then a client challenge whose
 * pairs begin after 28 (2.2.2.7). */
#define V2_TYPE	     16
#define V2_PAIRS     44
#define V1_RESPONSE  24 /* NTLM_RESPONSE, 2.2.2.6: exactly */
#define AV_EOL	     0
#define AV_TARGET    9
#define AV_BINDINGS  10
#define AV_PAIRS_MAX 64 /* 11 are defined, each at most once */

static void
bad(struct ntlmssp *r, const char *why)
{
	*r = (struct ntlmssp){.kind = NTLMSSP_BAD, .why = why};
}

static uint32_t
get_u16(struct slice s, size_t at)
{
	const uint8_t *p = (const uint8_t *)s.p + at;

	return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t
get_u32(struct slice s, size_t at)
{
	return get_u16(s, at) | get_u16(s, at + 2) << 16;
}

/* The field whose length and offset stand at `at`.  An empty one may point
 * anywhere. */
static bool
get_field(struct slice m, size_t at, struct slice *out_r)
{
	size_t len = get_u16(m, at), from = get_u32(m, at + 4);

	*out_r = (struct slice){m.p, len};
	if (len == 0)
		return true;
	out_r->p = m.p + MIN(from, m.len);
	return from <= m.len && len <= m.len - from;
}

/* --- text ------------------------------------------------------------------
 */

static void
put_utf8(struct sbuf *b, uint32_t c)
{
	if (c < 0x80) {
		sbuf_char(b, (char)c);
	} else if (c < 0x800) {
		sbuf_char(b, (char)(0xc0 | c >> 6));
		sbuf_char(b, (char)(0x80 | (c & 0x3f)));
	} else {
		sbuf_char(b, (char)(0xe0 | c >> 12));
		sbuf_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
		sbuf_char(b, (char)(0x80 | (c & 0x3f)));
	}
}

/* UTF-16 (or a byte for each character), of the basic plane, without control
 * characters.  False: it is not such a text. */
static bool
put_text(struct sbuf *b, struct slice s, bool unicode)
{
	size_t step = unicode ? 2 : 1;

	if (s.len % step != 0)
		return false;
	for (size_t i = 0; i < s.len; i += step) {
		uint32_t c = unicode ? get_u16(s, i) : (uint8_t)s.p[i];

		if (c < 0x20 || c == 0x7f || (c >= 0xd800 && c < 0xe000) ||
		    (!unicode && c >= 0x80))
			return false;
		put_utf8(b, c);
	}
	return !b->cut;
}

static void
read_account(struct ntlmssp *r, struct slice domain, struct slice user,
	     bool unicode)
{
	struct sbuf b;
	bool ok;

	sbuf_init(&b, r->account, sizeof(r->account));
	ok = put_text(&b, domain, unicode);
	if (b.len > 0)
		sbuf_char(&b, '\\');
	if (!ok || !put_text(&b, user, unicode))
		r->account[0] = '\0';
}

/* --- NTLMv2 ------------------------------------------------------------------
 */

static bool
read_binding(struct ntlmssp *r, struct slice v)
{
	static const uint8_t none[NTLMSSP_BINDING_BYTES];

	if (v.len != NTLMSSP_BINDING_BYTES)
		return false;
	memcpy(r->binding, v.p, NTLMSSP_BINDING_BYTES);
	r->has_binding = memcmp(r->binding, none, sizeof(none)) != 0;
	return true;
}

/* One pair; false when it must not be there. */
static bool
read_pair(struct ntlmssp *r, uint32_t id, struct slice v)
{
	struct sbuf b;

	if (id == AV_BINDINGS)
		return read_binding(r, v);
	if (id == AV_TARGET) {
		sbuf_init(&b, r->target, sizeof(r->target));
		if (!put_text(&b, v, true))
			r->target[0] = '\0';
	}
	return true;
}

/* Up to the end mark, which must be there; what Windows pads after it is not
 * looked at.  A pair that comes twice could be read in two ways. */
static bool
read_pairs(struct ntlmssp *r, struct slice s)
{
	uint64_t seen = 0;

	while (s.len >= 4) {
		uint32_t id = get_u16(s, 0), len = get_u16(s, 2);
		struct slice v = {s.p + 4, len};

		if (id == AV_EOL)
			return len == 0;
		if (id >= AV_PAIRS_MAX || (seen & UINT64_C(1) << id) != 0 ||
		    len > s.len - 4 || !read_pair(r, id, v))
			return false;
		seen |= UINT64_C(1) << id;
		s.p += 4 + len;
		s.len -= 4 + len;
	}
	return false;
}

static void
read_authenticate(struct ntlmssp *r, struct slice m)
{
	struct slice nt, domain, user;
	uint32_t flags;

	if (m.len < AUTH_MIN || !get_field(m, AUTH_NT, &nt) ||
	    !get_field(m, AUTH_DOMAIN, &domain) ||
	    !get_field(m, AUTH_USER, &user)) {
		bad(r, "the AUTHENTICATE message's head");
		return;
	}
	flags = get_u32(m, AUTH_FLAGS);
	r->anonymous =
	    (flags & FLAG_ANONYMOUS) != 0 || user.len == 0 || nt.len == 0;
	read_account(r, domain, user, (flags & FLAG_UNICODE) != 0);
	r->v2 = nt.len > V1_RESPONSE;
	if (!r->v2)
		return;
	/* RespType and HiRespType are 1 */
	if (nt.len < V2_PAIRS || get_u16(nt, V2_TYPE) != 0x0101 ||
	    !read_pairs(r, (struct slice){nt.p + V2_PAIRS, nt.len - V2_PAIRS}))
		bad(r, "the NTLMv2 response");
}

void
ntlmssp_read(struct ntlmssp *r, struct slice m)
{
	static const char sig[] = "NTLMSSP"; /* with its NUL */
	uint32_t type;

	memset(r, 0, sizeof(*r));
	if (m.len < sizeof(sig) + 4 || memcmp(m.p, sig, sizeof(sig)) != 0) {
		bad(r, "not an NTLM message");
		return;
	}
	type = get_u32(m, sizeof(sig));
	if (type < NTLMSSP_NEGOTIATE || type > NTLMSSP_AUTHENTICATE) {
		bad(r, "an NTLM message of no known type");
		return;
	}
	r->kind = (enum ntlmssp_kind)type;
	if (r->kind == NTLMSSP_AUTHENTICATE)
		read_authenticate(r, m);
}

/* --- channel bindings --------------------------------------------------------
 */

int
ntlmssp_binding(struct slice data, uint8_t out_r[NTLMSSP_BINDING_BYTES])
{
	/* two addresses of type 0 and length 0, then the data's length */
	uint8_t head[20] = {0};
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool ok;

	for (unsigned i = 0; i < 4; i++)
		head[16 + i] = (uint8_t)(data.len >> (8 * i));
	ok = c != NULL && EVP_DigestInit_ex(c, EVP_md5(), NULL) == 1 &&
	     EVP_DigestUpdate(c, head, sizeof(head)) == 1 &&
	     EVP_DigestUpdate(c, data.p, data.len) == 1 &&
	     EVP_DigestFinal_ex(c, out_r, NULL) == 1;
	EVP_MD_CTX_free(c);
	return ok ? 0 : -ENOTSUP;
}
