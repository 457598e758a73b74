/*
 * Purpose: the life of a connection to a directory, and which domain it has.
 *
 * Runs in: rmsctl.
 * Trusts:  the directory, once it has proved by Kerberos who it is, for what
 *          it says; not that its answers are well formed.
 * Touches: DNS, the directory, krb5.conf, a ticket.
 * Failure: -errno and a line.
 */
#include "tools/ctl/dir.h"

#include <errno.h>
#include <stdlib.h>

#include "tools/ctl/dir_priv.h"

#include "shm/base/log.h"

/* Which domain this server has. */
static int
read_root(struct dir *d, char *err)
{
	static const char *const attrs[] = {"defaultNamingContext",
					    "configurationNamingContext",
					    "dnsHostName", NULL};
	LDAPMessage *res, *e;
	int r = dir_search(d, "", LDAP_SCOPE_BASE, "(objectClass=*)", attrs,
			   NULL, 1, &res, err);

	if (r != 0)
		return r == -ENOENT
			   ? dir_fail(err, r, "%.200s is no directory", d->uris)
			   : r;
	e = ldap_first_entry(d->ld, res);
	r = -EINVAL;
	if (e != NULL) {
		r = dir_value_text(d, e, attrs[0], d->base, sizeof(d->base));
		(void)dir_value_text(d, e, attrs[1], d->config,
				     sizeof(d->config));
		(void)dir_value_text(d, e, attrs[2], d->host, sizeof(d->host));
	}
	ldap_msgfree(res);
	if (r != 0)
		return dir_fail(
		    err, -EINVAL,
		    "%.200s is no Active Directory: it names no domain",
		    d->uris);
	dirname_domain_of(d->base, d->domain);
	return 0;
}

static int
read_netbios(struct dir *d, char *err)
{
	const char *want[2] = {"nETBIOSName", "dnsRoot"};
	char root[256], *out[2] = {d->netbios, root};
	int r = dir_cross_ref(d, "nCName", d->base, want, out, err);

	return r == -ENOENT ? 0 : r; /* it is only for display */
}

int
dir_open(struct dir **d_r, const struct dir_options *o, char err[DIR_ERR_MAX])
{
	struct dir *d = calloc(1, sizeof(*d));
	int r;

	*d_r = NULL;
	if (d == NULL)
		return dir_fail(err, -ENOMEM, "out of memory");
	r = dir_conn_open(d, o, err);
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
