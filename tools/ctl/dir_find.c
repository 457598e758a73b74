/*
 * Purpose: names to SIDs, and how many are in a group, by the directory.
 *
 * Runs in: rmsctl.
 * Trusts:  the directory for what it says; not that it is well formed.
 * Touches: the directory.
 * Failure: -errno and a line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/dir_priv.h"

#include "shm/base/log.h"

#define PAGE_MEMBERS 500

/* groupType (MS-ADTS 2.2.12), userAccountControl (2.2.16). */
#define GROUP_BUILTIN_LOCAL 0x1
#define GROUP_GLOBAL	    0x2
#define GROUP_DOMAIN_LOCAL  0x4
#define GROUP_SECURITY	    0x80000000LL
#define ACCOUNT_DISABLED    0x2

/* --- names ------------------------------------------------------------------
 */

static long long
value_number(struct dir *d, LDAPMessage *e, const char *attr)
{
	char text[32];

	if (dir_value_text(d, e, attr, text, sizeof(text)) != 0)
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
	(void)dir_value_text(d, e, "sAMAccountName", f->sam, sizeof(f->sam));
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
	return dir_fail(err, -ENOENT,
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
	r = dir_cross_ref(d, "nETBIOSName", n->domain, want, out, err);
	if (r == -ENOENT)
		return dir_fail(
		    err, r,
		    "the forest of %.100s has no domain %.60s (this "
		    "one is %.60s)",
		    d->domain, n->domain, d->netbios);
	if (r != 0)
		return r;
	return dir_fail(
	    err, -EXDEV,
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
	if (dir_value_text(d, e, "userPrincipalName", upn, sizeof(upn)) != 0)
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
			return dir_fail(err, -EINVAL,
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
		return dir_fail(err, -EINVAL, "the name is too long");
	r = dir_search(d, is_dn ? n->name : d->base,
		       is_dn ? LDAP_SCOPE_BASE : LDAP_SCOPE_SUBTREE, filter,
		       attrs, NULL, DIR_FOUND_MAX, &res, err);
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
		return dir_fail(err, -ENOMEM, "out of memory");
	controls[0] = page;
	r = dir_search(d, d->base, LDAP_SCOPE_SUBTREE, filter, attrs, controls,
		       0, &res, err);
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
		return dir_fail(err, -EINVAL, "the group's DN is too long");
	do
		r = count_page(d, filter, &cookie, n_r, err);
	while (r == 0 && cookie.bv_len > 0 && *n_r <= DIR_MEMBERS_MAX);
	ber_memfree(cookie.bv_val);
	return r == -ENOENT ? 0 : r;
}
