/*
 * Purpose: fetches the Kerberos ticket that a server would send, and says in
 *          plain words why there is none.
 *
 * Runs in: rmsctl.
 * Trusts:  the caller's krb5.conf and credential cache.
 * Touches: the credential cache, the KDC.
 * Failure: told in the step.
 */
#include "tools/ctl/probe.h"

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5/krb5.h>
#include <stdio.h>
#include <string.h>

#include "shm/base/log.h"

/* What a code of libkrb5 means for somebody who wants it to work. */
static const struct {
	krb5_error_code code;
	enum probe_at at;
	const char *remedy;
} known[] = {
    {KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN, AT_CONNECTOR,
     "give the name an SPN: register HTTP/<name> on the connector's service "
     "account (Active Directory: setspn -S), and put its key into the "
     "connector's keytab; or use the name that has one"},
    {KRB5_KDC_UNREACH, AT_NETWORK,
     "check that this host reaches a KDC of the realm (port 88), and the "
     "realm in krb5.conf"},
    {KRB5_REALM_CANT_RESOLVE, AT_NETWORK,
     "check the DNS of this host, or name the realm's KDC in krb5.conf"},
    {KRB5_REALM_UNKNOWN, AT_CLIENT, "name the realm's KDC in krb5.conf"},
    {KRB5_ERR_HOST_REALM_UNKNOWN, AT_CLIENT,
     "say in krb5.conf, [domain_realm], which realm the host is in"},
    {KRB5KRB_AP_ERR_TKT_EXPIRED, AT_CLIENT,
     "the ticket has expired: run kinit"},
    {KRB5KRB_AP_ERR_SKEW, AT_CLIENT,
     "synchronise this host's clock with the KDC (NTP)"},
    {KRB5_CONFIG_CANTOPEN, AT_CLIENT, "see KRB5_CONFIG and /etc/krb5.conf"},
    {KRB5_CONFIG_BADFORMAT, AT_CLIENT, "correct krb5.conf"},
    {KRB5KDC_ERR_ETYPE_NOSUPP, AT_CONNECTOR,
     "allow AES on the connector's service account"},
    {KRB5_FCC_NOFILE, AT_CLIENT, "run kinit as the server's account"},
    {KRB5_CC_NOTFOUND, AT_CLIENT, "run kinit as the server's account"},
};

/* The library's words for minor, else for major. */
static void
words(OM_uint32 major, OM_uint32 minor, char *out, size_t size)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 m, more = 0;

	if (gss_display_status(&m, minor != 0 ? minor : major,
			       minor != 0 ? GSS_C_MECH_CODE : GSS_C_GSS_CODE,
			       GSS_C_NO_OID, &more, &text) != GSS_S_COMPLETE)
		snprintf(out, size, "unknown error");
	else
		snprintf(out, size, "%.*s", (int)text.length,
			 (char *)text.value);
	gss_release_buffer(&m, &text);
}

static void
failed(struct probe_step *s, OM_uint32 major, OM_uint32 minor)
{
	char text[400];

	words(major, minor, text, sizeof(text));
	if (GSS_ROUTINE_ERROR(major) == GSS_S_NO_CRED ||
	    GSS_ROUTINE_ERROR(major) == GSS_S_CREDENTIALS_EXPIRED) {
		step_fail(s, AT_CLIENT,
			  "run kinit as the server's account (or set "
			  "KRB5CCNAME)",
			  "no Kerberos ticket: %s", text);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if ((OM_uint32)known[i].code == minor) {
			step_fail(s, known[i].at, known[i].remedy, "%s", text);
			return;
		}
	step_fail(s, AT_CLIENT,
		  "look for these words in the Kerberos documentation; "
		  "KRB5_TRACE=/dev/stderr shows every step",
		  "no ticket for the connector: %s", text);
}

static void
name_text(gss_name_t name, char *out, size_t size)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 m;

	if (name == GSS_C_NO_NAME ||
	    gss_display_name(&m, name, &text, NULL) != GSS_S_COMPLETE)
		snprintf(out, size, "?");
	else
		snprintf(out, size, "%.*s", (int)text.length,
			 (char *)text.value);
	gss_release_buffer(&m, &text);
}

/* Who we are and for what the ticket is, from a context that has one. */
static void
tell(struct probe_step *s, gss_ctx_id_t ctx)
{
	gss_name_t us = GSS_C_NO_NAME, them = GSS_C_NO_NAME;
	char who[200], what[200];
	OM_uint32 m;

	(void)gss_inquire_context(&m, ctx, &us, &them, NULL, NULL, NULL, NULL,
				  NULL);
	name_text(us, who, sizeof(who));
	name_text(them, what, sizeof(what));
	step_ok(s, "%s has one for %s", who, what);
	gss_release_name(&m, &us);
	gss_release_name(&m, &them);
}

/* One leg of the krb5 mechanism, without mutual authentication: complete as
 * soon as there is a ticket.  The token is thrown away. */
static void
fetch(struct probe_step *s, gss_cred_id_t cred, gss_name_t target)
{
	gss_ctx_id_t ctx = GSS_C_NO_CONTEXT;
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor, m;

	/* The library's type wants a pointer to something writable. */
	major = gss_init_sec_context(&minor, cred, &ctx, target,
				     (gss_OID)(uintptr_t)gss_mech_krb5, 0, 0,
				     GSS_C_NO_CHANNEL_BINDINGS, GSS_C_NO_BUFFER,
				     NULL, &token, NULL, NULL);
	if (major == GSS_S_COMPLETE)
		tell(s, ctx);
	else
		failed(s, major, minor);
	gss_release_buffer(&m, &token);
	if (ctx != GSS_C_NO_CONTEXT)
		gss_delete_sec_context(&m, &ctx, GSS_C_NO_BUFFER);
}

void
probe_ticket(struct probe_step *s, const char *host)
{
	gss_OID_set_desc mechs = {1, (gss_OID)(uintptr_t)gss_mech_krb5};
	gss_cred_id_t cred = GSS_C_NO_CREDENTIAL;
	gss_name_t target = GSS_C_NO_NAME;
	gss_buffer_desc name;
	OM_uint32 major, minor, m;
	char text[PROBE_HOST_MAX + 8];

	snprintf(text, sizeof(text), "HTTP@%s", host);
	name = (gss_buffer_desc){strlen(text), text};
	major = gss_acquire_cred(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE,
				 &mechs, GSS_C_INITIATE, &cred, NULL, NULL);
	if (major == GSS_S_COMPLETE)
		major = gss_import_name(&minor, &name,
					GSS_C_NT_HOSTBASED_SERVICE, &target);
	if (major == GSS_S_COMPLETE)
		fetch(s, cred, target);
	else
		failed(s, major, minor);
	gss_release_name(&m, &target);
	gss_release_cred(&m, &cred);
}
