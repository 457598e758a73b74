/*
 * Purpose: turn status codes into causes that an administrator can act on.
 *
 * Runs in: the keeper.
 * Trusts:  the library's codes; a ticket's clear parts only for words.
 * Touches: nothing.
 * Failure: an unknown code is CAUSE_INTERNAL.
 */
#include "worker/keeper/cause.h"

#include <gssapi/gssapi_ext.h>

#include "shm/base/log.h"

/* Messages of one status that are told; the library has two or three. */
#define STATUS_LINES_MAX 4
/* krb5's ASN.1 error table (asn1_err.et): 256 codes from its base. */
#define ASN1_BASE (-1750206208)

/*
 * No key opens the ticket.  krb5 wraps the reasons into a handful of codes;
 * what the ticket asks for beside what the keytab has tells them apart.
 */
static enum auth_cause
cause_of_keys(const struct cause_facts *f)
{
	if (f->match.exact)
		return CAUSE_WRONG_KEY;
	if (!f->match.realm)
		return CAUSE_WRONG_REALM;
	if (!f->match.principal)
		return CAUSE_NO_KEY_FOR_SPN;
	if (!f->match.kvno)
		return CAUSE_KVNO;
	return CAUSE_ENCTYPE;
}

static enum auth_cause
cause_of_krb5(const struct cause_facts *f)
{
	switch (f->code) {
	case KRB5KRB_AP_ERR_SKEW:
		return CAUSE_CLOCK_SKEW;
	case KRB5KRB_AP_ERR_TKT_EXPIRED:
	case KRB5KRB_AP_ERR_TKT_NYV:
	case KRB5KRB_AP_ERR_TKT_INVALID:
		return CAUSE_EXPIRED;
	case KRB5KRB_AP_ERR_REPEAT:
		return CAUSE_REPLAY;
	case KRB5KRB_AP_ERR_ILL_CR_TKT:
		return CAUSE_WRONG_REALM;
	case KRB5_BAD_ENCTYPE:
	case KRB5_NOPERM_ETYPE:
	case KRB5_PROG_ETYPE_NOSUPP:
		return CAUSE_ENCTYPE;
	case KRB5_KT_NOTFOUND:
	case KRB5_KT_KVNONOTFOUND:
	case KRB5KRB_AP_ERR_NOKEY:
	case KRB5KRB_AP_ERR_BADKEYVER:
	case KRB5KRB_AP_ERR_NOT_US:
	case KRB5KRB_AP_WRONG_PRINC:
	case KRB5KRB_AP_ERR_BAD_INTEGRITY:
	case KRB5KRB_AP_ERR_MODIFIED:
		/* The ticket is sound: then it is the authenticator. */
		return f->opens ? CAUSE_MALFORMED : cause_of_keys(f);
	case KRB5KRB_AP_ERR_MSG_TYPE:
	case KRB5KRB_AP_ERR_BADVERSION:
	case KRB5KRB_AP_ERR_BADMATCH:
	case KRB5KRB_AP_ERR_INAPP_CKSUM:
	case KRB5KRB_AP_ERR_BADADDR:
	case KRB5_BAD_MSIZE:
		return CAUSE_MALFORMED;
	default:
		if (f->code >= ASN1_BASE && f->code < ASN1_BASE + 256)
			return CAUSE_MALFORMED;
		return f->pac_bad ? CAUSE_PAC : CAUSE_INTERNAL;
	}
}

enum auth_cause
cause_of(const struct cause_facts *f)
{
	OM_uint32 routine = GSS_ROUTINE_ERROR(f->major);

	if (routine == GSS_S_BAD_BINDINGS)
		return CAUSE_BAD_BINDING;
	if ((f->major & (GSS_S_DUPLICATE_TOKEN | GSS_S_OLD_TOKEN)) != 0)
		return CAUSE_REPLAY;
	if (f->has_ticket && f->code != 0)
		return cause_of_krb5(f);
	switch (routine) {
	case GSS_S_DEFECTIVE_TOKEN:
	case GSS_S_DEFECTIVE_CREDENTIAL:
	case GSS_S_BAD_SIG:
		return CAUSE_MALFORMED;
	case GSS_S_CREDENTIALS_EXPIRED:
		return CAUSE_EXPIRED;
	case GSS_S_BAD_MECH:
		return CAUSE_NO_MECH;
	case GSS_S_NO_CRED:
		return CAUSE_NO_KEYTAB;
	default:
		return CAUSE_INTERNAL;
	}
}

static void
put_enctype(struct sbuf *b, krb5_enctype e)
{
	char name[64];

	if (krb5_enctype_to_name(e, FALSE, name, sizeof(name)) == 0)
		sbuf_str(b, name);
	else
		sbuf_fmt(b, "encryption type %d", e);
}

void
cause_put_ticket(struct sbuf *b, const struct apreq *req,
		 const struct keytab_match *match)
{
	char name[512];

	if (apreq_principal(req, name, sizeof(name)) != 0)
		return;
	sbuf_fmt(b, "%sticket for %s", b->len > 0 ? "; " : "", name);
	if (req->has_kvno)
		sbuf_fmt(b, ", kvno %u", req->kvno);
	sbuf_str(b, ", ");
	put_enctype(b, req->enctype);
	if (match->principal && !match->kvno)
		sbuf_fmt(b, "; newest in the keytab is kvno %u",
			 match->newest_kvno);
}

static void
put_words(struct sbuf *b, OM_uint32 status, int type, gss_OID mech)
{
	gss_buffer_desc text;
	OM_uint32 minor, more = 0;

	for (int i = 0; i < STATUS_LINES_MAX; i++) {
		if (gss_display_status(&minor, status, type, mech, &more,
				       &text) != GSS_S_COMPLETE)
			return;
		if (b->len > 0)
			sbuf_str(b, ": ");
		sbuf_put(b, text.value, text.length);
		gss_release_buffer(&minor, &text);
		if (more == 0)
			return;
	}
}

void
cause_put_status(struct sbuf *b, OM_uint32 major, OM_uint32 minor, gss_OID mech)
{
	put_words(b, major, GSS_C_GSS_CODE, GSS_C_NO_OID);
	if (mech != GSS_C_NO_OID && minor != 0)
		put_words(b, minor, GSS_C_MECH_CODE, mech);
}
