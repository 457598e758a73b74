/*
 * Purpose: read the clear parts of a Kerberos token, and sort tokens by kind.
 *
 * Runs in: the keeper and the NTLM processes.
 * Trusts:  nothing: every byte is the client's.
 * Touches: memory of its caller only.
 * Failure: APREQ_BAD with the place.
 */
#include "worker/apreq.h"

#include <errno.h>

#include "shm/base/log.h"

/* Tags that occur here, all of one byte. */
#define DER_INTEGER  0x02
#define DER_OCTETS   0x04
#define DER_OID	     0x06
#define DER_GSTRING  0x1b
#define DER_SEQUENCE 0x30
#define DER_APP(n)   (uint8_t)(0x60 | (n))
#define DER_CTX(n)   (uint8_t)(0xa0 | (n))

/* Mechanisms listed by a client; Windows sends four. */
#define MECHS_MAX 32

static const char oid_spnego[] = "\x2b\x06\x01\x05\x05\x02";
static const char oid_krb5[] = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
/* The same mechanism under the number that Windows 2000 sent by mistake and
 * Windows still lists first. */
static const char oid_krb5_ms[] = "\x2a\x86\x48\x82\xf7\x12\x01\x02\x02";
static const char oid_ntlm[] = "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

#define IS_OID(s, oid) \
	((s).len == sizeof(oid) - 1 && memcmp((s).p, oid, (s).len) == 0)

/* --- DER --------------------------------------------------------------- */

struct der { /* what is left to read of one value */
	const uint8_t *p;
	size_t len;
};

static bool
der_is(const struct der *d, uint8_t tag)
{
	return d->len > 0 && d->p[0] == tag;
}

/*
 * Definite length, up to four bytes of it.  Forms longer than needed are
 * taken, as other readers take them; they mean the same to all.
 */
static bool
der_length(struct der *d, size_t *len_r)
{
	size_t len = 0, n;

	if (d->len == 0)
		return false;
	n = *d->p;
	d->p++;
	d->len--;
	if (n < 0x80) {
		*len_r = n;
		return n <= d->len;
	}
	n &= 0x7f;
	if (n == 0 || n > 4 || n > d->len)
		return false;
	for (; n > 0; n--, d->p++, d->len--)
		len = len << 8 | *d->p;
	*len_r = len;
	return len <= d->len;
}

/* Takes one value of this tag off d. */
static bool
der_take(struct der *d, uint8_t tag, struct der *in_r)
{
	struct der t = *d;
	size_t len;

	if (!der_is(&t, tag))
		return false;
	t.p++;
	t.len--;
	if (!der_length(&t, &len))
		return false;
	in_r->p = t.p;
	in_r->len = len;
	d->p = t.p + len;
	d->len = t.len - len;
	return true;
}

/* Likewise, when nothing else may be left in d. */
static bool
der_only(struct der *d, uint8_t tag, struct der *in_r)
{
	return der_take(d, tag, in_r) && d->len == 0;
}

/* A field [n] that holds exactly one value of this tag. */
static bool
der_field(struct der *d, unsigned n, uint8_t tag, struct der *in_r)
{
	struct der f;

	return der_take(d, DER_CTX(n), &f) && der_only(&f, tag, in_r);
}

static struct slice
der_slice(const struct der *d)
{
	return (struct slice){(const char *)d->p, d->len};
}

/* A field [n] with an integer of 32 bits; unsigned ones may need a fifth byte
 * of zero (RFC 4120 5.2.4), and come negative from old Windows DCs. */
static bool
der_int(struct der *d, unsigned n, uint32_t *v_r)
{
	struct der i;
	uint32_t v;

	if (!der_field(d, n, DER_INTEGER, &i) || i.len == 0 || i.len > 5 ||
	    (i.len == 5 && i.p[0] != 0))
		return false;
	v = (i.p[0] & 0x80) != 0 ? UINT32_MAX : 0;
	for (; i.len > 0; i.p++, i.len--)
		v = v << 8 | *i.p;
	*v_r = v;
	return true;
}

/* --- AP-REQ ------------------------------------------------------------ */

static bool
bad(struct apreq *r, const char *why)
{
	*r = (struct apreq){.kind = APREQ_BAD, .why = why};
	return false;
}

/* EncryptedData; d is the inside of its sequence. */
static bool
read_encrypted(struct der d, int32_t *etype_r, bool *has_kvno_r,
	       uint32_t *kvno_r, struct slice *cipher_r)
{
	struct der cipher;
	uint32_t etype, kvno = 0;
	bool has;

	if (!der_int(&d, 0, &etype))
		return false;
	has = der_is(&d, DER_CTX(1));
	if (has && !der_int(&d, 1, &kvno))
		return false;
	if (!der_field(&d, 2, DER_OCTETS, &cipher) || d.len != 0 ||
	    cipher.len == 0)
		return false;
	*etype_r = (int32_t)etype;
	*has_kvno_r = has;
	*kvno_r = kvno;
	*cipher_r = der_slice(&cipher);
	return true;
}

static bool
read_sname(struct apreq *r, struct der d)
{
	struct der names, name;
	uint32_t type;

	if (!der_int(&d, 0, &type) || !der_field(&d, 1, DER_SEQUENCE, &names) ||
	    d.len != 0)
		return false;
	while (names.len > 0) {
		if (r->nnames == APREQ_NAMES_MAX ||
		    !der_take(&names, DER_GSTRING, &name))
			return false;
		r->name[r->nnames++] = der_slice(&name);
	}
	return r->nnames > 0;
}

static bool
read_ticket(struct apreq *r, struct der d)
{
	struct der seq, realm, sname, enc;
	struct slice cipher;
	uint32_t version;

	if (!der_only(&d, DER_SEQUENCE, &seq) || !der_int(&seq, 0, &version) ||
	    version != 5 || !der_field(&seq, 1, DER_GSTRING, &realm) ||
	    realm.len == 0 || !der_field(&seq, 2, DER_SEQUENCE, &sname) ||
	    !der_field(&seq, 3, DER_SEQUENCE, &enc) || seq.len != 0)
		return false;
	r->realm = der_slice(&realm);
	return read_sname(r, sname) &&
	       read_encrypted(enc, &r->enctype, &r->has_kvno, &r->kvno,
			      &cipher);
}

static bool
read_apreq(struct apreq *r, struct der d)
{
	struct der app, seq, options, field, ticket, enc;
	uint32_t version, type, kvno;
	int32_t etype;
	bool has;

	r->whole = der_slice(&d);
	if (!der_only(&d, DER_APP(14), &app) ||
	    !der_only(&app, DER_SEQUENCE, &seq) ||
	    !der_int(&seq, 0, &version) || version != 5 ||
	    !der_int(&seq, 1, &type) || type != 14 ||
	    !der_take(&seq, DER_CTX(2), &options))
		return bad(r, "the AP-REQ's head");
	if (!der_take(&seq, DER_CTX(3), &field))
		return bad(r, "the AP-REQ has no ticket");
	r->ticket = der_slice(&field);
	if (!der_only(&field, DER_APP(1), &ticket) || !read_ticket(r, ticket))
		return bad(r, "the ticket");
	if (!der_field(&seq, 4, DER_SEQUENCE, &enc) || seq.len != 0 ||
	    !read_encrypted(enc, &etype, &has, &kvno, &r->authenticator))
		return bad(r, "the authenticator");
	r->kind = APREQ_FOUND;
	return true;
}

/* --- GSSAPI and SPNEGO ------------------------------------------------- */

/* Takes "[APPLICATION 0] { mechanism, rest }". */
static bool
read_gss(struct der *d, struct slice *oid_r, struct der *rest_r)
{
	struct der in, oid;

	if (!der_only(d, DER_APP(0), &in) || !der_take(&in, DER_OID, &oid))
		return false;
	*oid_r = der_slice(&oid);
	*rest_r = in;
	return true;
}

static bool
is_ntlmssp(struct der d)
{
	static const char sig[] = "NTLMSSP"; /* with its NUL */

	return d.len >= sizeof(sig) && memcmp(d.p, sig, sizeof(sig)) == 0;
}

/* Inside the Kerberos mechanism's wrapping: token id 01 00 is an AP-REQ
 * (RFC 4121 4.1). */
static bool
read_krb5(struct apreq *r, struct der d)
{
	if (d.len < 2 || d.p[0] != 1 || d.p[1] != 0)
		return bad(r, "not the first token of a Kerberos exchange");
	d.p += 2;
	d.len -= 2;
	return read_apreq(r, d);
}

/* The mechanism's token that SPNEGO carries. */
static void
read_inner(struct apreq *r, struct der d)
{
	struct slice oid;
	struct der rest;

	if (is_ntlmssp(d)) {
		r->kind = APREQ_NTLM;
		r->ntlm = der_slice(&d);
		return;
	}
	if (!read_gss(&d, &oid, &rest)) {
		bad(r, "the token inside SPNEGO");
		return;
	}
	if (IS_OID(oid, oid_krb5) || IS_OID(oid, oid_krb5_ms))
		read_krb5(r, rest);
	else
		r->kind = APREQ_NO_MECH;
}

struct offer { /* of a NegTokenInit */
	bool krb5;
	bool ntlm;
	bool krb5_first; /* the token inside is for the first of the list */
};

static bool
read_mechs(struct der list, struct offer *o)
{
	struct der mech;
	struct slice oid;
	unsigned n = 0;

	for (; list.len > 0; n++) {
		if (n == MECHS_MAX || !der_take(&list, DER_OID, &mech))
			return false;
		oid = der_slice(&mech);
		if (IS_OID(oid, oid_krb5) || IS_OID(oid, oid_krb5_ms)) {
			o->krb5 = true;
			o->krb5_first |= n == 0;
		}
		o->ntlm |= IS_OID(oid, oid_ntlm);
	}
	return n > 0;
}

/* What may follow the token in either message: MICs and hints. */
static bool
read_tail(struct der *d)
{
	struct der skip;

	for (unsigned n = 3; n <= 4 && d->len > 0; n++)
		if (der_is(d, DER_CTX(n)) && !der_take(d, DER_CTX(n), &skip))
			return false;
	return d->len == 0;
}

static void
read_init(struct apreq *r, struct der d)
{
	struct der init, seq, mechs, flags, token = {NULL, 0};
	struct offer o = {0};

	if (!der_only(&d, DER_CTX(0), &init) ||
	    !der_only(&init, DER_SEQUENCE, &seq) ||
	    !der_field(&seq, 0, DER_SEQUENCE, &mechs) || !read_mechs(mechs, &o))
		goto fail;
	if (der_is(&seq, DER_CTX(1)) && !der_take(&seq, DER_CTX(1), &flags))
		goto fail;
	if (der_is(&seq, DER_CTX(2)) && !der_field(&seq, 2, DER_OCTETS, &token))
		goto fail;
	if (!read_tail(&seq))
		goto fail;
	r->kind = APREQ_EMPTY;
	if (!o.krb5)
		r->kind = o.ntlm ? APREQ_NTLM : APREQ_NO_MECH;
	else if (o.krb5_first && token.p != NULL)
		read_inner(r, token);
	if (r->kind == APREQ_NTLM && token.p != NULL && is_ntlmssp(token))
		r->ntlm = der_slice(&token);
	return;
fail:
	bad(r, "the SPNEGO head");
}

static void
read_resp(struct apreq *r, struct der d)
{
	struct der resp, seq, skip, token = {NULL, 0};

	if (!der_only(&d, DER_CTX(1), &resp) ||
	    !der_only(&resp, DER_SEQUENCE, &seq))
		goto fail;
	for (unsigned n = 0; n <= 1; n++)
		if (der_is(&seq, DER_CTX(n)) &&
		    !der_take(&seq, DER_CTX(n), &skip))
			goto fail;
	if (der_is(&seq, DER_CTX(2)) && !der_field(&seq, 2, DER_OCTETS, &token))
		goto fail;
	if (!read_tail(&seq))
		goto fail;
	r->kind = APREQ_EMPTY;
	if (token.p != NULL)
		read_inner(r, token);
	return;
fail:
	bad(r, "the SPNEGO answer");
}

void
apreq_find(struct apreq *r, struct slice token)
{
	struct der d = {(const uint8_t *)token.p, token.len}, rest;
	struct slice oid;

	memset(r, 0, sizeof(*r));
	if (d.len == 0)
		bad(r, "no token");
	else if (is_ntlmssp(d)) {
		r->kind = APREQ_NTLM;
		r->ntlm = token;
	} else if (der_is(&d, DER_CTX(1)))
		read_resp(r, d);
	else if (!read_gss(&d, &oid, &rest))
		bad(r, "not a GSSAPI token");
	else if (IS_OID(oid, oid_spnego))
		read_init(r, rest);
	else if (IS_OID(oid, oid_krb5) || IS_OID(oid, oid_krb5_ms))
		read_krb5(r, rest);
	else
		r->kind = APREQ_NO_MECH;
}

/* --- names ------------------------------------------------------------- */

/* krb5_unparse_name()'s escapes. */
static void
put_escaped(struct sbuf *b, struct slice s, bool realm)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		switch (c) {
		case '\n':
			sbuf_str(b, "\\n");
			break;
		case '\t':
			sbuf_str(b, "\\t");
			break;
		case '\b':
			sbuf_str(b, "\\b");
			break;
		case '\0':
			sbuf_str(b, "\\0");
			break;
		default:
			if (c == '@' || c == '\\' || (c == '/' && !realm))
				sbuf_char(b, '\\');
			sbuf_char(b, c);
		}
	}
}

int
apreq_principal(const struct apreq *r, char *out, size_t size)
{
	struct sbuf b;

	sbuf_init(&b, out, size);
	for (size_t i = 0; i < r->nnames; i++) {
		if (i > 0)
			sbuf_char(&b, '/');
		put_escaped(&b, r->name[i], false);
	}
	sbuf_char(&b, '@');
	put_escaped(&b, r->realm, true);
	if (b.cut) {
		out[0] = '\0';
		return -ENAMETOOLONG;
	}
	return 0;
}
