/*
 * Purpose: names to SIDs, by the directory.
 *
 * Runs in: rmsctl.
 * Trusts:  the directory, once it has proved by Kerberos who it is, for what
 *          it says; not that its answers are well formed.
 * Touches: DNS, the directory, krb5.conf, a ticket.
 * Failure: -errno and a line.
 */
#include "tools/ctl/dir.h"

#include <errno.h>
#include <ldap.h>
#include <sasl/sasl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "tools/ctl/dircreds.h"

#include "shm/base/log.h"

#define URIS_MAX     2048
#define SERVERS_MAX  5 /* of a realm that are tried */
#define SSF_MIN	     56
#define CA_DEFAULT   "/etc/ssl/certs/ca-certificates.crt"
#define PAGE_MEMBERS 500

/* groupType (MS-ADTS 2.2.12), userAccountControl (2.2.16). */
#define GROUP_BUILTIN_LOCAL 0x1
#define GROUP_GLOBAL	    0x2
#define GROUP_DOMAIN_LOCAL  0x4
#define GROUP_SECURITY	    0x80000000LL
#define ACCOUNT_DISABLED    0x2

struct dir {
	LDAP *ld;
	struct ldap_conncb on_connect;
	bool connected; /* over TCP */
	char uris[URIS_MAX];
	const char *cacert;
	int timeout_s;
	struct dircreds creds;
	char host[256];
	char base[DIR_DN_MAX];	 /* the domain's DN */
	char config[DIR_DN_MAX]; /* of the forest's configuration */
	char domain[256];
	char netbios[256];
};

PRINTF(3, 4)
static int
fail(char *err, int e, const char *fmt, ...)
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

static bool
is_tls(const struct dir *d)
{
	return strncmp(d->uris, "ldaps:", 6) == 0;
}

static int
ldap_fail(struct dir *d, int code, const char *what, char *err)
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
	if (code == LDAP_SERVER_DOWN && is_tls(d) && d->connected) {
		ldap_memfree(more);
		return fail(err, -EACCES,
			    "the directory %.200s: no TLS: its certificate is "
			    "not acceptable (its name, its end, or an issuer "
			    "that %s does not name), or it speaks no TLS 1.2 "
			    "there",
			    d->uris, d->cacert);
	}
	if (code == LDAP_STRONG_AUTH_REQUIRED && is_tls(d))
		remedy = "it takes no Kerberos over TLS: use ldap://";
	(void)fail(err, -e, "%s %.200s: %s%s%.300s; %s", what, d->uris,
		   ldap_err2string(code), more != NULL ? ": " : "",
		   more != NULL ? more : "", remedy);
	ldap_memfree(more);
	return -e;
}

/* --- which server -----------------------------------------------------------
 */

/* "host[:port]" words as URIs. */
static void
put_hosts(struct sbuf *b, const char *hosts)
{
	int n = 0;

	for (const char *p = hosts; *p != '\0' && n < SERVERS_MAX; n++) {
		size_t len;

		p += strspn(p, " ");
		len = strcspn(p, " ");
		if (len == 0)
			break;
		sbuf_str(b, b->len > 0 ? " ldap://" : "ldap://");
		sbuf_slice(b, (struct slice){p, len});
		p += len;
	}
}

/* A realm's servers: by DNS (RFC 2782, _ldap._tcp), else the KDCs that
 * krb5.conf names, which an Active Directory's are the same as. */
static int
find_servers(struct dir *d, char *err)
{
	const char *realm = d->creds.realm;
	char domain[256], kdcs[1024], *hosts = NULL;
	struct sbuf b;

	sbuf_init(&b, domain, sizeof(domain));
	for (const char *p = realm; *p != '\0'; p++)
		sbuf_char(&b, ascii_lower(*p));
	sbuf_init(&b, d->uris, sizeof(d->uris));
	if (ldap_domain2hostlist(domain, &hosts) == LDAP_SUCCESS &&
	    hosts != NULL)
		put_hosts(&b, hosts);
	ldap_memfree(hosts);
	if (b.len == 0) {
		dircreds_kdcs(realm, kdcs);
		put_hosts(&b, kdcs);
	}
	if (b.len > 0 && !b.cut)
		return 0;
	return fail(err, -ENOENT,
		    "no directory server of realm %.100s is known: DNS has no "
		    "_ldap._tcp.%.100s, krb5.conf names no kdc; name one with "
		    "--server ldap://HOST",
		    realm, domain);
}

static int
check_server(struct dir *d, const char *uri, char *err)
{
	LDAPURLDesc *u = NULL;
	bool good = ldap_url_parse(uri, &u) == LDAP_URL_SUCCESS &&
		    u->lud_host != NULL && u->lud_host[0] != '\0' &&
		    (strcmp(u->lud_scheme, "ldap") == 0 ||
		     strcmp(u->lud_scheme, "ldaps") == 0) &&
		    strchr(uri, ' ') == NULL;

	ldap_free_urldesc(u);
	if (good && str_copy(d->uris, sizeof(d->uris), slice_of(uri)) == 0)
		return 0;
	return fail(err, -EINVAL,
		    "--server %.100s is no ldap://HOST[:PORT] or "
		    "ldaps://HOST[:PORT]",
		    uri);
}

/* --- the connection ---------------------------------------------------------
 */

static int
set(struct dir *d, int option, const void *value)
{
	return ldap_set_option(d->ld, option, value) == LDAP_OPT_SUCCESS ? 0
									 : 1;
}

/* Over TLS Kerberos does not seal once more (a Windows server refuses that),
 * but is bound to the certificate (RFC 5929). */
static int
set_security(struct dir *d)
{
	static const int demand = LDAP_OPT_X_TLS_DEMAND, client = 0;
	static const int binding = LDAP_OPT_X_SASL_CBINDING_TLS_ENDPOINT;
	static const int min = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
	int bad;

	if (!is_tls(d))
		return set(d, LDAP_OPT_X_SASL_SECPROPS,
			   "noanonymous,noplain,minssf=56");
	bad = set(d, LDAP_OPT_X_SASL_SECPROPS,
		  "noanonymous,noplain,minssf=0,maxssf=0");
	bad |= set(d, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand);
	bad |= set(d, LDAP_OPT_X_TLS_PROTOCOL_MIN, &min);
	bad |= set(d, LDAP_OPT_X_SASL_CBINDING, &binding);
	bad |= set(d, LDAP_OPT_X_TLS_CACERTFILE, d->cacert);
	return bad | set(d, LDAP_OPT_X_TLS_NEWCTX, &client);
}

/*
 * libldap's time-outs do not reach into a TLS handshake: a server that takes
 * the connection and says nothing would be waited for for ever.  So from the
 * connection on an alarm runs, which ends it.
 */
static volatile sig_atomic_t watched = -1, timed_out;

static void
on_alarm(int number)
{
	(void)number;
	timed_out = 1;
	(void)shutdown(watched, SHUT_RDWR);
}

static int
on_connected(LDAP *ld, Sockbuf *sb, LDAPURLDesc *u, struct sockaddr *sa,
	     struct ldap_conncb *cb)
{
	struct dir *d = cb->lc_arg;
	ber_socket_t fd = -1;

	(void)ld;
	(void)u;
	(void)sa;
	if (ber_sockbuf_ctrl(sb, LBER_SB_OPT_GET_FD, &fd) != 1)
		return -1;
	d->connected = true;
	watched = fd;
	(void)alarm((unsigned)d->timeout_s);
	return 0;
}

static void
on_disconnected(LDAP *ld, Sockbuf *sb, struct ldap_conncb *cb)
{
	(void)ld;
	(void)sb;
	(void)cb;
	watched = -1; /* of nobody: shutdown() refuses it */
}

static int
connection_watch(struct dir *d)
{
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

	timed_out = 0;
	d->on_connect = (struct ldap_conncb){
	    .lc_add = on_connected, .lc_del = on_disconnected, .lc_arg = d};
	return sigaction(SIGALRM, &sa, NULL) != 0 ||
	       set(d, LDAP_OPT_CONNECT_CB, &d->on_connect) != 0;
}

static int
connection_make(struct dir *d, const struct dir_options *o, char *err)
{
	static const int version = LDAP_VERSION3, deref = LDAP_DEREF_NEVER;
	struct timeval tv = {.tv_sec = d->timeout_s};
	int bad, rc;

	/* Neither /etc/ldap/ldap.conf nor an ldaprc of the directory that we
	 * are in may lower what is set here. */
	if (setenv("LDAPNOINIT", "1", 1) != 0)
		return fail(err, -ENOMEM, "out of memory");
	rc = ldap_initialize(&d->ld, d->uris);
	if (rc != LDAP_SUCCESS)
		return fail(err, -EINVAL, "%.200s: %s", d->uris,
			    ldap_err2string(rc));
	bad = set(d, LDAP_OPT_PROTOCOL_VERSION, &version);
	bad |= set(d, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	bad |= set(d, LDAP_OPT_DEREF, &deref);
	bad |= set(d, LDAP_OPT_NETWORK_TIMEOUT, &tv);
	bad |= set(d, LDAP_OPT_TIMEOUT, &tv);
	/* The ticket is for the host that was named, not for what the DNS
	 * makes of its address. */
	bad |= set(d, LDAP_OPT_X_SASL_NOCANON, LDAP_OPT_ON);
	bad |= connection_watch(d);
	bad |= set_security(d);
	return bad == 0
		   ? 0
		   : fail(err, -EINVAL, "the LDAP library refuses an option%s",
			  o->cacert != NULL ? ": is --cacert a readable "
					      "PEM file?"
					    : "");
}

/* SASL asks who we want to be: whoever the ticket says. */
static int
on_interact(LDAP *ld, unsigned flags, void *arg, void *in)
{
	(void)ld;
	(void)flags;
	(void)arg;
	for (sasl_interact_t *i = in; i->id != SASL_CB_LIST_END; i++) {
		i->result = "";
		i->len = 0;
	}
	return LDAP_SUCCESS;
}

/* Leg by leg, so that a server that says nothing is not waited for. */
static int
bind_sasl(struct dir *d)
{
	uint64_t deadline = clock_mono_ns() + (uint64_t)d->timeout_s * NS_PER_S;
	LDAPMessage *res = NULL;
	const char *mech = NULL;
	int rc, got, msgid;

	for (;;) {
		struct timeval tv = {.tv_sec = d->timeout_s};

		rc = ldap_sasl_interactive_bind(
		    d->ld, NULL, "GSSAPI", NULL, NULL, LDAP_SASL_QUIET,
		    on_interact, NULL, res, &mech, &msgid);
		ldap_msgfree(res);
		res = NULL;
		if (rc != LDAP_SASL_BIND_IN_PROGRESS)
			return rc;
		if (clock_mono_ns() > deadline)
			return LDAP_TIMEOUT;
		got = ldap_result(d->ld, msgid, LDAP_MSG_ALL, &tv, &res);
		if (got == 0)
			return LDAP_TIMEOUT;
		if (got < 0)
			return LDAP_SERVER_DOWN;
	}
}

static int
authenticate(struct dir *d, char *err)
{
	ber_len_t ssf = 0;
	int rc = bind_sasl(d);

	(void)alarm(0); /* searches have their own */
	if (timed_out)
		rc = LDAP_TIMEOUT;
	if (rc != LDAP_SUCCESS)
		return ldap_fail(d, rc, "the directory", err);
	if (is_tls(d))
		return 0;
	if (ldap_get_option(d->ld, LDAP_OPT_X_SASL_SSF, &ssf) ==
		LDAP_OPT_SUCCESS &&
	    ssf >= SSF_MIN)
		return 0;
	return fail(err, -EACCES,
		    "%.200s does not seal the connection; use ldaps://",
		    d->uris);
}

/* --- searching -------------------------------------------------------------
 */

static int
search(struct dir *d, const char *base, int scope, const char *filter,
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
	return ldap_fail(d, rc, "the directory", err);
}

/* A value as text; 0, -ENOENT, or -EINVAL for one that is none. */
static int
value_text(struct dir *d, LDAPMessage *e, const char *attr, char *dst,
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

static long long
value_number(struct dir *d, LDAPMessage *e, const char *attr)
{
	char text[32];

	if (value_text(d, e, attr, text, sizeof(text)) != 0)
		return 0;
	return strtoll(text, NULL, 10);
}

static bool
has_class(struct dir *d, LDAPMessage *e, const char *name)
{
	struct berval **v = ldap_get_values_len(d->ld, e, "objectClass");
	bool has = false;

	for (size_t i = 0; v != NULL && v[i] != NULL; i++)
		has |=
		    slice_iis((struct slice){v[i]->bv_val, v[i]->bv_len}, name);
	ldap_value_free_len(v);
	return has;
}

/* Which domain this server has. */
static int
read_root(struct dir *d, char *err)
{
	static const char *const attrs[] = {"defaultNamingContext",
					    "configurationNamingContext",
					    "dnsHostName", NULL};
	LDAPMessage *res, *e;
	int r = search(d, "", LDAP_SCOPE_BASE, "(objectClass=*)", attrs, NULL,
		       1, &res, err);

	if (r != 0)
		return r == -ENOENT
			   ? fail(err, r, "%.200s is no directory", d->uris)
			   : r;
	e = ldap_first_entry(d->ld, res);
	r = -EINVAL;
	if (e != NULL) {
		r = value_text(d, e, attrs[0], d->base, sizeof(d->base));
		(void)value_text(d, e, attrs[1], d->config, sizeof(d->config));
		(void)value_text(d, e, attrs[2], d->host, sizeof(d->host));
	}
	ldap_msgfree(res);
	if (r != 0)
		return fail(err, -EINVAL,
			    "%.200s is no Active Directory: it names no domain",
			    d->uris);
	dirname_domain_of(d->base, d->domain);
	return 0;
}

/* A domain of the forest by an attribute of its crossRef object. */
static int
cross_ref(struct dir *d, const char *attr, const char *value,
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
	r = search(d, base, LDAP_SCOPE_ONELEVEL, filter, attrs, NULL, 1, &res,
		   err);
	if (r != 0)
		return r;
	e = ldap_first_entry(d->ld, res);
	r = e == NULL ? -ENOENT : 0;
	for (size_t i = 0; e != NULL && i < 2; i++)
		(void)value_text(d, e, want[i], out[i], 256);
	ldap_msgfree(res);
	return r;
}

static int
read_netbios(struct dir *d, char *err)
{
	const char *want[2] = {"nETBIOSName", "dnsRoot"};
	char root[256], *out[2] = {d->netbios, root};
	int r = cross_ref(d, "nCName", d->base, want, out, err);

	return r == -ENOENT ? 0 : r; /* it is only for display */
}

/* --- life -------------------------------------------------------------------
 */

int
dir_open(struct dir **d_r, const struct dir_options *o, char err[DIR_ERR_MAX])
{
	struct dir *d = calloc(1, sizeof(*d));
	int r;

	*d_r = NULL;
	if (d == NULL)
		return fail(err, -ENOMEM, "out of memory");
	d->timeout_s = o->timeout_s;
	d->cacert = o->cacert != NULL ? o->cacert : CA_DEFAULT;
	_Static_assert(DIR_ERR_MAX >= DIRCREDS_ERR_MAX, "a line fits");
	r = o->server != NULL ? check_server(d, o->server, err) : 0;
	if (r == 0)
		r = dircreds_take(&d->creds, o->keytab, o->principal, err);
	if (r == 0 && o->server == NULL)
		r = find_servers(d, err);
	if (r == 0)
		r = connection_make(d, o, err);
	if (r == 0)
		r = authenticate(d, err);
	if (r == 0)
		r = read_root(d, err);
	if (r == 0)
		r = read_netbios(d, err);
	if (r != 0) {
		dir_close(&d);
		return r;
	}
	*d_r = d;
	return 0;
}

void
dir_close(struct dir **dp)
{
	struct dir *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	if (d->ld != NULL)
		(void)ldap_unbind_ext(d->ld, NULL, NULL);
	free(d);
}

const char *
dir_host(const struct dir *d)
{
	return d->host;
}

const char *
dir_domain(const struct dir *d)
{
	return d->domain;
}

const char *
dir_netbios(const struct dir *d)
{
	return d->netbios;
}

/* --- names ------------------------------------------------------------------
 */

static void
read_group(struct dir *d, LDAPMessage *e, struct dir_found *f)
{
	long long type = value_number(d, e, "groupType");

	f->kind = DIR_GROUP;
	f->distribution = (type & GROUP_SECURITY) == 0;
	f->scope = (type & GROUP_BUILTIN_LOCAL) != 0  ? DIR_BUILTIN
		   : (type & GROUP_DOMAIN_LOCAL) != 0 ? DIR_DOMAIN_LOCAL
		   : (type & GROUP_GLOBAL) != 0	      ? DIR_GLOBAL
						      : DIR_UNIVERSAL;
}

static void
read_kind(struct dir *d, LDAPMessage *e, struct dir_found *f)
{
	if (has_class(d, e, "group"))
		read_group(d, e, f);
	else if (has_class(d, e, "foreignSecurityPrincipal"))
		f->kind = DIR_FOREIGN;
	else if (has_class(d, e, "msDS-GroupManagedServiceAccount") ||
		 has_class(d, e, "msDS-ManagedServiceAccount"))
		f->kind = DIR_SERVICE;
	else
		f->kind = has_class(d, e, "computer") ? DIR_COMPUTER : DIR_USER;
	if (f->kind != DIR_GROUP)
		f->disabled = (value_number(d, e, "userAccountControl") &
			       ACCOUNT_DISABLED) != 0;
}

static int
read_found(struct dir *d, LDAPMessage *e, struct dir_found *f)
{
	struct berval **v = ldap_get_values_len(d->ld, e, "objectSid");
	char *dn = ldap_get_dn(d->ld, e);
	int r = -EINVAL;

	*f = (struct dir_found){.kind = DIR_USER};
	if (v != NULL && v[0] != NULL && dn != NULL)
		r = dirsid_text(v[0]->bv_val, v[0]->bv_len, f->sid);
	if (r == 0)
		r = str_copy(f->dn, sizeof(f->dn), slice_of(dn));
	(void)value_text(d, e, "sAMAccountName", f->sam, sizeof(f->sam));
	read_kind(d, e, f);
	ldap_value_free_len(v);
	ldap_memfree(dn);
	return r;
}

static int
not_found(struct dir *d, const struct dirname *n, char *err)
{
	size_t len = strlen(n->name);
	const char *more = "";

	if (n->form != DIRNAME_DN && len > 0 && n->name[len - 1] != '$')
		more = "; the name of a computer's account ends with $";
	if (n->form == DIRNAME_UPN && strcasecmp(n->domain, d->domain) != 0)
		more = "; an account of another domain is asked for at a "
		       "server of that one (--server)";
	return fail(err, -ENOENT,
		    "the domain %.100s (%.100s) has no account or group "
		    "\"%.200s\"%s",
		    d->domain, d->host, n->name, more);
}

/* DOMAIN\name: is DOMAIN this server's? */
static int
check_netbios(struct dir *d, const struct dirname *n, char *err)
{
	const char *want[2] = {"nCName", "dnsRoot"};
	char nc[256], root[256] = "", *out[2] = {nc, root};
	int r;

	if (strcasecmp(n->domain, d->netbios) == 0)
		return 0;
	r = cross_ref(d, "nETBIOSName", n->domain, want, out, err);
	if (r == -ENOENT)
		return fail(err, r,
			    "the forest of %.100s has no domain %.60s (this "
			    "one is %.60s)",
			    d->domain, n->domain, d->netbios);
	if (r != 0)
		return r;
	return fail(err, -EXDEV,
		    "%.60s is the domain %.100s, and %.100s has the directory "
		    "of %.100s: ask a server of that domain, --server "
		    "ldap://HOST.%.100s",
		    n->domain, root, d->host, d->domain, root);
}

/* sAMAccountName@realm counts in its own realm only; elsewhere NAME@DOMAIN is
 * a UPN, whose suffix may be any. */
static bool
is_meant(struct dir *d, const struct dirname *n, LDAPMessage *e)
{
	char upn[2 * DIRNAME_MAX], asked[2 * DIRNAME_MAX];

	if (n->form != DIRNAME_UPN || strcasecmp(n->domain, d->domain) == 0)
		return true;
	/* That the name is equal the server has found, by its own rules. */
	if (value_text(d, e, "userPrincipalName", upn, sizeof(upn)) != 0)
		return false;
	snprintf(asked, sizeof(asked), "@%s", n->domain);
	return strlen(upn) > strlen(asked) &&
	       strcasecmp(upn + strlen(upn) - strlen(asked), asked) == 0;
}

static int
read_all(struct dir *d, const struct dirname *n, LDAPMessage *res,
	 struct dir_found *found_r, char *err)
{
	int count = 0;

	for (LDAPMessage *e = ldap_first_entry(d->ld, res);
	     e != NULL && count < DIR_FOUND_MAX;
	     e = ldap_next_entry(d->ld, e)) {
		struct dir_found *f = &found_r[count];

		if (read_found(d, e, f) != 0)
			return fail(err, -EINVAL,
				    "%.100s answered with an object that "
				    "cannot be read",
				    d->host);
		if (is_meant(d, n, e))
			count++;
	}
	return count;
}

int
dir_find(struct dir *d, const struct dirname *n,
	 struct dir_found found_r[DIR_FOUND_MAX], char err[DIR_ERR_MAX])
{
	static const char *const attrs[] = {
	    "objectSid", "objectClass",	       "sAMAccountName",
	    "groupType", "userAccountControl", "userPrincipalName",
	    NULL};
	bool is_dn = n->form == DIRNAME_DN;
	char filter[DIRFILTER_MAX];
	LDAPMessage *res;
	struct sbuf b;
	int r = n->form == DIRNAME_NETBIOS ? check_netbios(d, n, err) : 0;

	if (r != 0)
		return r;
	sbuf_init(&b, filter, sizeof(filter));
	dirfilter_name(&b, n);
	if (b.cut)
		return fail(err, -EINVAL, "the name is too long");
	r = search(d, is_dn ? n->name : d->base,
		   is_dn ? LDAP_SCOPE_BASE : LDAP_SCOPE_SUBTREE, filter, attrs,
		   NULL, DIR_FOUND_MAX, &res, err);
	if (r == -ENOENT)
		return not_found(d, n, err);
	if (r != 0)
		return r;
	r = read_all(d, n, res, found_r, err);
	ldap_msgfree(res);
	return r == 0 ? not_found(d, n, err) : r;
}

/* --- members ----------------------------------------------------------------
 */

/* One page (RFC 2696); *cookie is where the next one begins. */
static int
count_page(struct dir *d, const char *filter, struct berval *cookie, size_t *n,
	   char *err)
{
	static const char *const attrs[] = {LDAP_NO_ATTRS, NULL};
	LDAPControl *page = NULL, *controls[2] = {NULL, NULL}, **back = NULL;
	LDAPMessage *res;
	struct berval next = {0, NULL};
	ber_int_t estimate;
	int r;

	if (ldap_create_page_control(d->ld, PAGE_MEMBERS, cookie, 1, &page) !=
	    LDAP_SUCCESS)
		return fail(err, -ENOMEM, "out of memory");
	controls[0] = page;
	r = search(d, d->base, LDAP_SCOPE_SUBTREE, filter, attrs, controls, 0,
		   &res, err);
	ldap_control_free(page);
	ber_memfree(cookie->bv_val);
	*cookie = (struct berval){0, NULL};
	if (r != 0)
		return r;
	*n += (size_t)ldap_count_entries(d->ld, res);
	/* Without a control in the answer this was the last page. */
	if (ldap_parse_result(d->ld, res, NULL, NULL, NULL, NULL, &back, 1) ==
		LDAP_SUCCESS &&
	    back != NULL) {
		LDAPControl *c =
		    ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, back, NULL);

		if (c != NULL &&
		    ldap_parse_pageresponse_control(d->ld, c, &estimate,
						    &next) == LDAP_SUCCESS)
			*cookie = next;
	}
	ldap_controls_free(back);
	return 0;
}

int
dir_members(struct dir *d, const struct dir_found *group, size_t *n_r,
	    char err[DIR_ERR_MAX])
{
	struct berval cookie = {0, NULL};
	char filter[DIRFILTER_MAX];
	struct sbuf b;
	int r;

	*n_r = 0;
	sbuf_init(&b, filter, sizeof(filter));
	dirfilter_members(&b, group->dn, group->sid);
	if (b.cut)
		return fail(err, -EINVAL, "the group's DN is too long");
	do
		r = count_page(d, filter, &cookie, n_r, err);
	while (r == 0 && cookie.bv_len > 0 && *n_r <= DIR_MEMBERS_MAX);
	ber_memfree(cookie.bv_val);
	return r == -ENOENT ? 0 : r;
}
