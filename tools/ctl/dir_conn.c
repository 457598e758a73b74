/*
 * Purpose: the way to a directory: which server, TLS, the proof by Kerberos.
 *
 * Runs in: rmsctl.
 * Trusts:  the DNS or krb5.conf for where a server is, for no more: it has to
 *          prove by Kerberos who it is.
 * Touches: DNS, the directory, krb5.conf, a ticket, SIGALRM.
 * Failure: -errno and a line.
 */
#include <errno.h>
#include <sasl/sasl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "tools/ctl/dir_priv.h"

#include "shm/base/log.h"

#define SERVERS_MAX 5 /* of a realm that are tried */
#define SSF_MIN	    56
#define CA_DEFAULT  "/etc/ssl/certs/ca-certificates.crt"

bool
dir_is_tls(const struct dir *d)
{
	return strncmp(d->uris, "ldaps:", 6) == 0;
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
	return dir_fail(
	    err, -ENOENT,
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
	return dir_fail(err, -EINVAL,
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

	if (!dir_is_tls(d))
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
		return dir_fail(err, -ENOMEM, "out of memory");
	rc = ldap_initialize(&d->ld, d->uris);
	if (rc != LDAP_SUCCESS)
		return dir_fail(err, -EINVAL, "%.200s: %s", d->uris,
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
		   : dir_fail(err, -EINVAL,
			      "the LDAP library refuses an option%s",
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
		return dir_ldap_fail(d, rc, "the directory", err);
	if (dir_is_tls(d))
		return 0;
	if (ldap_get_option(d->ld, LDAP_OPT_X_SASL_SSF, &ssf) ==
		LDAP_OPT_SUCCESS &&
	    ssf >= SSF_MIN)
		return 0;
	return dir_fail(err, -EACCES,
			"%.200s does not seal the connection; use ldaps://",
			d->uris);
}

int
dir_conn_open(struct dir *d, const struct dir_options *o, char *err)
{
	int r;

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
	return r == 0 ? authenticate(d, err) : r;
}
