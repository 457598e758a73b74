/*
 * Purpose: search a directory, read what it answers, say what went wrong.
 *
 * Runs in: rmsctl.
 * Trusts:  the directory for what it says; not that it is well formed.
 * Touches: the directory.
 * Failure: -errno and a line.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/ctl/dir_priv.h"

#include "shm/base/log.h"

/* --- errors -----------------------------------------------------------------
 */

int
dir_fail(char *err, int e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, DIR_ERR_MAX, fmt, ap);
	va_end(ap);
	return e;
}

/* What a code of libldap means for somebody who wants it to work. */
static const struct {
	int code;
	int e;
	const char *remedy;
} known[] = {
    {LDAP_SERVER_DOWN, ECONNREFUSED,
     "check host, port and firewall, or name another with --server"},
    {LDAP_CONNECT_ERROR, ECONNREFUSED,
     "check the server's certificate and its name; --cacert names the issuers"},
    {LDAP_LOCAL_ERROR, EACCES,
     "check the server's name (the ticket is for ldap/NAME, so an address "
     "will not do), the clock and krb5.conf; --server names another"},
    {LDAP_TIMEOUT, ETIMEDOUT, "try again, or name another with --server"},
    {LDAP_INVALID_CREDENTIALS, EACCES,
     "the directory does not take this ticket: check clock and account"},
    {LDAP_STRONG_AUTH_REQUIRED, EACCES, "use ldaps://"},
    {LDAP_INSUFFICIENT_ACCESS, EACCES,
     "use the ticket of an account that may read the directory"},
    {LDAP_AUTH_UNKNOWN, EACCES,
     "is the Kerberos plug-in of SASL there (Debian: "
     "libsasl2-modules-gssapi-mit)?"},
};

int
dir_ldap_fail(struct dir *d, int code, const char *what, char *err)
{
	const char *remedy = "see the account's rights and the server's log";
	char *more = NULL;
	int e = EIO;

	(void)ldap_get_option(d->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more);
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (known[i].code == code) {
			e = known[i].e;
			remedy = known[i].remedy;
		}
	/* libldap's words for a TLS that failed are those of no connection. */
	if (code == LDAP_SERVER_DOWN && dir_is_tls(d) && d->connected) {
		ldap_memfree(more);
		return dir_fail(
		    err, -EACCES,
		    "the directory %.200s: no TLS: its certificate is "
		    "not acceptable (its name, its end, or an issuer "
		    "that %s does not name), or it speaks no TLS 1.2 "
		    "there",
		    d->uris, d->cacert);
	}
	if (code == LDAP_STRONG_AUTH_REQUIRED && dir_is_tls(d))
		remedy = "it takes no Kerberos over TLS: use ldap://";
	(void)dir_fail(err, -e, "%s %.200s: %s%s%.300s; %s", what, d->uris,
		       ldap_err2string(code), more != NULL ? ": " : "",
		       more != NULL ? more : "", remedy);
	ldap_memfree(more);
	return -e;
}

/* --- searching -------------------------------------------------------------
 */

int
dir_search(struct dir *d, const char *base, int scope, const char *filter,
	   const char *const *attrs, LDAPControl **controls, int limit,
	   LDAPMessage **res_r, char *err)
{
	struct timeval tv = {.tv_sec = d->timeout_s};
	int rc;

	*res_r = NULL;
	rc = ldap_search_ext_s(d->ld, base, scope, filter,
			       (char **)(uintptr_t)attrs, 0, controls, NULL,
			       &tv, limit, res_r);
	/* What came before a limit is of use. */
	if (rc == LDAP_SUCCESS || rc == LDAP_SIZELIMIT_EXCEEDED)
		return 0;
	ldap_msgfree(*res_r);
	*res_r = NULL;
	if (rc == LDAP_NO_SUCH_OBJECT || rc == LDAP_INVALID_DN_SYNTAX)
		return -ENOENT;
	return dir_ldap_fail(d, rc, "the directory", err);
}

int
dir_value_text(struct dir *d, LDAPMessage *e, const char *attr, char *dst,
	       size_t size)
{
	struct berval **v = ldap_get_values_len(d->ld, e, attr);
	int r = -ENOENT;

	dst[0] = '\0';
	if (v != NULL && v[0] != NULL)
		r = memchr(v[0]->bv_val, '\0', v[0]->bv_len) != NULL
			? -EINVAL
			: str_copy(dst, size,
				   (struct slice){v[0]->bv_val, v[0]->bv_len});
	ldap_value_free_len(v);
	return r;
}

int
dir_cross_ref(struct dir *d, const char *attr, const char *value,
	      const char *want[2], char *out[2], char *err)
{
	char filter[DIRFILTER_MAX], base[DIR_DN_MAX + 32];
	const char *attrs[] = {want[0], want[1], NULL};
	LDAPMessage *res, *e;
	struct sbuf b;
	int r;

	sbuf_init(&b, filter, sizeof(filter));
	sbuf_fmt(&b, "(&(objectClass=crossRef)(nETBIOSName=*)(%s=", attr);
	dirfilter_value(&b, slice_of(value));
	sbuf_str(&b, "))");
	snprintf(base, sizeof(base), "CN=Partitions,%s", d->config);
	r = dir_search(d, base, LDAP_SCOPE_ONELEVEL, filter, attrs, NULL, 1,
		       &res, err);
	if (r != 0)
		return r;
	e = ldap_first_entry(d->ld, res);
	r = e == NULL ? -ENOENT : 0;
	for (size_t i = 0; e != NULL && i < 2; i++)
		(void)dir_value_text(d, e, want[i], out[i], 256);
	ldap_msgfree(res);
	return r;
}
