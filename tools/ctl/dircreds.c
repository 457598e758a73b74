/*
 * Purpose: a Kerberos ticket for the directory, and plain words when there is
 *          none.
 *
 * Runs in: rmsctl.
 * Trusts:  the caller's krb5.conf, credential cache and keytab.
 * Touches: those, the KDC; with a keytab the variable KRB5CCNAME of this
 *          process.
 * Failure: -errno and a line.
 */
#include "tools/ctl/dircreds.h"

#include <errno.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5/krb5.h>
#include <profile.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/str.h"

#include "shm/base/log.h"

PRINTF(3, 4)
static int
fail(char *err, int e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, DIRCREDS_ERR_MAX, fmt, ap);
	va_end(ap);
	return e;
}

static int
krb_fail(krb5_context ctx, krb5_error_code code, const char *what, char *err)
{
	const char *text = krb5_get_error_message(ctx, code);

	(void)fail(err, -EACCES, "%s: %s", what, text);
	krb5_free_error_message(ctx, text);
	return -EACCES;
}

/* --- with a keytab ----------------------------------------------------------
 */

/* Visits its entries until fn returns true. */
static krb5_error_code
each_entry(krb5_context ctx, krb5_keytab kt,
	   bool (*fn)(krb5_context ctx, krb5_keytab_entry *e, void *arg),
	   void *arg)
{
	krb5_keytab_entry e;
	krb5_kt_cursor c;
	krb5_error_code r = krb5_kt_start_seq_get(ctx, kt, &c);
	bool found = false;

	if (r != 0)
		return r;
	while (!found && (r = krb5_kt_next_entry(ctx, kt, &e, &c)) == 0) {
		found = fn(ctx, &e, arg);
		(void)krb5_free_keytab_entry_contents(ctx, &e);
	}
	(void)krb5_kt_end_seq_get(ctx, kt, &c);
	return r == KRB5_KT_END ? 0 : r;
}

/* An account's principal has one part, a service's two: HTTP/host. */
static bool
is_account(krb5_context ctx, krb5_keytab_entry *e, void *arg)
{
	krb5_principal *p = arg;

	return e->principal->length == 1 &&
	       krb5_copy_principal(ctx, e->principal, p) == 0;
}

struct copying {
	krb5_principal as;
	krb5_keytab to;
	bool any;
};

/* The keys of a service account's SPNs are the account's own. */
static bool
copy_as(krb5_context ctx, krb5_keytab_entry *e, void *arg)
{
	struct copying *c = arg;
	krb5_principal was = e->principal;

	if (!krb5_realm_compare(ctx, was, c->as))
		return false;
	e->principal = c->as;
	c->any |= krb5_kt_add_entry(ctx, c->to, e) == 0;
	e->principal = was;
	return false;
}

static int
choose_principal(krb5_context ctx, krb5_keytab kt, const char *path,
		 const char *name, krb5_principal *p_r, char *err)
{
	krb5_error_code r;
	char what[300];

	*p_r = NULL;
	snprintf(what, sizeof(what), "keytab %.200s", path);
	if (name != NULL) {
		r = krb5_parse_name(ctx, name, p_r);
		return r == 0 ? 0 : krb_fail(ctx, r, "--principal", err);
	}
	r = each_entry(ctx, kt, is_account, p_r);
	if (r != 0)
		return krb_fail(ctx, r, what, err);
	if (*p_r != NULL)
		return 0;
	return fail(
	    err, -EINVAL,
	    "%s holds keys of services only (HTTP/...), and a directory "
	    "gives tickets to accounts: name the account whose keys "
	    "they are, --principal svc-rms@CONTOSO.TEST",
	    what);
}

static krb5_error_code
get_ticket(krb5_context ctx, krb5_keytab kt, krb5_principal p, char name[128])
{
	krb5_get_init_creds_opt *opt = NULL;
	krb5_ccache cc = NULL;
	krb5_creds creds = {0};
	krb5_error_code r = krb5_get_init_creds_opt_alloc(ctx, &opt);

	if (r == 0)
		r = krb5_get_init_creds_keytab(ctx, &creds, p, kt, 0, NULL,
					       opt);
	if (r == 0)
		r = krb5_cc_new_unique(ctx, "MEMORY", NULL, &cc);
	if (r == 0)
		r = krb5_cc_initialize(ctx, cc, p);
	if (r == 0)
		r = krb5_cc_store_cred(ctx, cc, &creds);
	if (r == 0)
		snprintf(name, 128, "MEMORY:%s", krb5_cc_get_name(ctx, cc));
	krb5_free_cred_contents(ctx, &creds);
	if (cc != NULL)
		(void)krb5_cc_close(ctx, cc); /* it lives as we do */
	krb5_get_init_creds_opt_free(ctx, opt);
	return r;
}

/* The keytab itself when it has the account; else its keys as the account's,
 * in memory.  A path of our making never fails to resolve. */
static krb5_error_code
keytab_for(krb5_context ctx, krb5_keytab file, krb5_principal p,
	   krb5_keytab *kt_r)
{
	struct copying c = {.as = p};
	krb5_keytab_entry e;
	krb5_error_code r = krb5_kt_get_entry(ctx, file, p, 0, 0, &e);

	if (r == 0) {
		(void)krb5_free_keytab_entry_contents(ctx, &e);
		return krb5_kt_dup(ctx, file, kt_r);
	}
	r = krb5_kt_resolve(ctx, "MEMORY:rmsctl", kt_r);
	c.to = *kt_r;
	if (r == 0)
		r = each_entry(ctx, file, copy_as, &c);
	return r == 0 && !c.any ? KRB5_KT_NOTFOUND : r;
}

static int
ticket_with(krb5_context ctx, krb5_keytab file, const char *path,
	    const char *name, char *err)
{
	krb5_principal p;
	krb5_keytab kt = NULL;
	krb5_error_code code;
	char cache[128], what[300];
	int r = choose_principal(ctx, file, path, name, &p, err);

	if (r != 0)
		return r;
	snprintf(what, sizeof(what), "no ticket with keytab %.200s", path);
	code = keytab_for(ctx, file, p, &kt);
	if (code == 0)
		code = get_ticket(ctx, kt, p, cache);
	if (code != 0)
		r = krb_fail(ctx, code, what, err);
	else if (setenv("KRB5CCNAME", cache, 1) != 0)
		r = fail(err, -ENOMEM, "out of memory");
	if (kt != NULL)
		(void)krb5_kt_close(ctx, kt);
	krb5_free_principal(ctx, p);
	return r;
}

static int
from_keytab(const char *path, const char *principal, char *err)
{
	krb5_context ctx;
	krb5_keytab kt;
	krb5_error_code code = krb5_init_context(&ctx);
	char name[600];
	int r;

	if (code != 0)
		return fail(err, -EINVAL, "krb5.conf cannot be read");
	snprintf(name, sizeof(name), "FILE:%.500s", path);
	code = krb5_kt_resolve(ctx, name, &kt);
	if (code != 0) {
		r = krb_fail(ctx, code, path, err);
	} else {
		r = ticket_with(ctx, kt, path, principal, err);
		(void)krb5_kt_close(ctx, kt);
	}
	krb5_free_context(ctx);
	return r;
}

/* --- what there is
 * ------------------------------------------------------------
 */

static int
no_ticket(OM_uint32 major, OM_uint32 minor, char *err)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 m, more = 0;
	int n = 0;

	if (gss_display_status(&m, minor != 0 ? minor : major,
			       minor != 0 ? GSS_C_MECH_CODE : GSS_C_GSS_CODE,
			       GSS_C_NO_OID, &more, &text) == GSS_S_COMPLETE)
		n = (int)MIN(text.length, (size_t)200);
	(void)fail(err, -EACCES,
		   "no Kerberos ticket for the directory: %.*s: run kinit, or "
		   "give --keytab FILE; the account's SID needs no directory",
		   n, n > 0 ? (char *)text.value : "");
	gss_release_buffer(&m, &text);
	return -EACCES;
}

static int
name_of(gss_cred_id_t cred, struct dircreds *d, OM_uint32 *life_r)
{
	gss_name_t name = GSS_C_NO_NAME;
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 m;
	const char *at;
	int r = -EINVAL;

	if (gss_inquire_cred(&m, cred, &name, life_r, NULL, NULL) ==
		GSS_S_COMPLETE &&
	    gss_display_name(&m, name, &text, NULL) == GSS_S_COMPLETE)
		r = str_copy(d->who, sizeof(d->who),
			     (struct slice){text.value, text.length});
	gss_release_buffer(&m, &text);
	gss_release_name(&m, &name);
	at = strrchr(d->who, '@');
	return r != 0 || at == NULL
		   ? -EINVAL
		   : str_copy(d->realm, sizeof(d->realm), slice_of(at + 1));
}

int
dircreds_take(struct dircreds *d_r, const char *keytab, const char *principal,
	      char err[DIRCREDS_ERR_MAX])
{
	gss_OID_set_desc mechs = {1, (gss_OID)(uintptr_t)gss_mech_krb5};
	gss_cred_id_t cred = GSS_C_NO_CREDENTIAL;
	OM_uint32 major, minor, m, life = 0;
	int r;

	*d_r = (struct dircreds){.who = ""};
	if (keytab != NULL) {
		r = from_keytab(keytab, principal, err);
		if (r != 0)
			return r;
	}
	major = gss_acquire_cred(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE,
				 &mechs, GSS_C_INITIATE, &cred, NULL, NULL);
	if (major != GSS_S_COMPLETE)
		return no_ticket(major, minor, err);
	r = name_of(cred, d_r, &life);
	gss_release_cred(&m, &cred);
	if (r != 0)
		return fail(err, r, "the Kerberos ticket names no account");
	if (life == 0)
		return fail(err, -EACCES,
			    "the Kerberos ticket of %.200s has expired: run "
			    "kinit",
			    d_r->who);
	return 0;
}

void
dircreds_kdcs(const char *realm, char hosts_r[1024])
{
	const char *names[] = {"realms", realm, "kdc", NULL};
	profile_t profile = NULL;
	char **values = NULL;
	krb5_context ctx;
	struct sbuf b;

	sbuf_init(&b, hosts_r, 1024);
	if (krb5_init_context(&ctx) != 0)
		return;
	if (krb5_get_profile(ctx, &profile) == 0 &&
	    profile_get_values(profile, names, &values) == 0) {
		for (size_t i = 0; values[i] != NULL; i++) {
			/* host, host:port; [v6]:port stays in brackets */
			size_t n = values[i][0] == '['
				       ? strcspn(values[i], "]") + 1
				       : strcspn(values[i], ":");

			if (strncmp(values[i], "http", 4) == 0)
				continue; /* a proxy of KDCs */
			if (b.len > 0)
				sbuf_char(&b, ' ');
			sbuf_slice(&b, (struct slice){values[i], n});
		}
		profile_free_list(values);
	}
	if (profile != NULL)
		profile_release(profile);
	krb5_free_context(ctx);
}
