/*
 * Purpose: from a name to a SID that an entry can be made of, and what a
 *          person should know of it.
 *
 * What decides is whether the SID will stand in tickets: those of security
 * groups do, those of distribution lists and of local groups never.
 *
 * Runs in: rmsctl.
 * Trusts:  the directory, as dir.h says.
 * Touches: the directory, the control socket (which realm the connector is
 *          in), standard output.
 * Failure: exit status and a line; nothing is stored.
 */
#include "tools/ctl/lookup.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "tools/ctl/conn.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

PRINTF(2, 3)
static void
warn(struct lookup *l, const char *fmt, ...)
{
	va_list ap;

	if (l->nwarnings == LOOKUP_WARNINGS)
		return;
	va_start(ap, fmt);
	vsnprintf(l->warning[l->nwarnings++], sizeof(l->warning[0]), fmt, ap);
	va_end(ap);
}

static const char *
kind_text(const struct dir_found *f)
{
	static const char *const scope[] = {
	    [DIR_GLOBAL] = "global",
	    [DIR_UNIVERSAL] = "universal",
	    [DIR_DOMAIN_LOCAL] = "domain-local",
	    [DIR_BUILTIN] = "builtin local",
	};
	static char text[64];

	switch (f->kind) {
	case DIR_USER:
		return "user";
	case DIR_COMPUTER:
		return "computer";
	case DIR_SERVICE:
		return "managed service account";
	case DIR_FOREIGN:
		return "foreign security principal";
	case DIR_GROUP:
	default:
		snprintf(text, sizeof(text), "%s group, %s",
			 f->distribution ? "distribution" : "security",
			 scope[f->scope]);
		return text;
	}
}

/* --- judging ----------------------------------------------------------------
 */

static int
list_candidates(struct ctl *c, const char *text, const struct dir_found *f,
		int n)
{
	for (int i = 0; i < n; i++) {
		fputs("  ", c->err);
		text_put(c->err, f[i].dn);
		fprintf(c->err, "\n    %s, ", f[i].sid);
		text_put(c->err, f[i].sam);
		fprintf(c->err, ", %s\n", kind_text(&f[i]));
	}
	return ctl_fail(c, CTL_REFUSED,
			"\"%.120s\" is the name of %s%d; nothing was stored: "
			"give the SID or the distinguished name of the one "
			"that is meant",
			text, n == DIR_FOUND_MAX ? "at least " : "", n);
}

/* Is it in no ticket at all? */
static int
refuse_useless(struct ctl *c, const struct dir_found *f)
{
	if (f->kind == DIR_GROUP && f->distribution)
		return ctl_fail(
		    c, CTL_REFUSED,
		    "%.200s is a distribution group, which is in no ticket: an "
		    "entry for it would let nobody in (Microsoft's connector "
		    "takes one because the cloud resolves its members); make "
		    "it a security group, or authorize one that holds its "
		    "members",
		    f->dn);
	if (f->kind == DIR_GROUP && f->scope == DIR_BUILTIN)
		return ctl_fail(
		    c, CTL_REFUSED,
		    "%.200s is a local group of the domain controllers, which "
		    "is in no ticket for the connector: authorize a global or "
		    "universal group",
		    f->dn);
	if (f->kind == DIR_FOREIGN)
		return ctl_fail(
		    c, CTL_REFUSED,
		    "%.200s stands for an account of another forest: if that "
		    "is meant, authorize its SID, %s",
		    f->dn, f->sid);
	return CTL_OK;
}

/* The realms of the connector's keytab, as "HTTP/host@REALM kvno ...". */
static bool
serves_realm(const json_t *principals, const char *domain, size_t *n_r)
{
	const json_t *p;
	size_t i;

	*n_r = 0;
	json_array_foreach(principals, i, p)
	{
		const char *text = json_string_value(p);
		const char *at = text == NULL ? NULL : strchr(text, '@');

		if (at == NULL)
			continue;
		++*n_r;
		if (strcspn(at + 1, " ") == strlen(domain) &&
		    strncasecmp(at + 1, domain, strlen(domain)) == 0)
			return true;
	}
	return false;
}

/* The connector's own words, or NULL: that it is not asked now is no fault of
 * a look-up. */
static json_t *
status_quietly(struct ctl *c)
{
	struct conn *k = conn_new("status");
	char err[CONN_ERR_MAX];
	json_t *reply = NULL;

	if (k != NULL && conn_send(k, c->socket, err) == 0 &&
	    conn_reply(k, CONN_REPLY_MS, &reply, err) != 1)
		reply = NULL;
	conn_free(&k);
	return reply;
}

/* A KDC puts domain-local groups into tickets for its own domain alone. */
static void
warn_local(struct ctl *c, struct lookup *l)
{
	json_t *status = status_quietly(c);
	const json_t *keeper = json_object_get(status, "keeper");
	size_t n;

	if (!serves_realm(json_object_get(keeper, "principals"), l->domain,
			  &n) &&
	    n > 0)
		warn(l,
		     "a domain-local group is in tickets for its own domain "
		     "only, %.100s, and the connector's keytab is of another "
		     "realm: nobody will be let in by it; use a universal "
		     "group",
		     l->domain);
	json_decref(status);
}

static int
judge(struct ctl *c, struct dir *d, struct lookup *l)
{
	struct dir_found *f = &l->found;
	char err[DIR_ERR_MAX];
	int r = refuse_useless(c, f);

	if (r != CTL_OK)
		return r;
	if (f->disabled)
		warn(l, "the account is disabled: it gets no ticket until it "
			"is enabled");
	if (f->kind != DIR_GROUP)
		return CTL_OK;
	if (dir_members(d, f, &l->members, err) != 0)
		return ctl_fail(c, CTL_REFUSED, "%s", err);
	l->members_more = l->members > DIR_MEMBERS_MAX;
	if (l->members == 0)
		warn(l, "the group has no members: nobody is let in by it yet");
	if (f->scope == DIR_DOMAIN_LOCAL)
		warn_local(c, l);
	return CTL_OK;
}

int
lookup_name(struct ctl *c, const struct dir_options *o, const char *text,
	    struct lookup *l_r)
{
	struct dir_found found[DIR_FOUND_MAX];
	struct dirname name;
	char err[DIR_ERR_MAX];
	struct dir *d;
	struct sbuf b;
	int n, r;

	_Static_assert(DIR_ERR_MAX >= DIRNAME_ERR_MAX, "a line fits");
	*l_r = (struct lookup){.members = 0};
	if (dirname_parse(text, &name, err) != 0)
		return ctl_fail(c, CTL_USAGE, "%s", err);
	if (dir_open(&d, o, err) != 0)
		return ctl_fail(c, CTL_REFUSED, "%s; nothing was stored", err);
	n = dir_find(d, &name, found, err);
	if (n < 0) {
		r = ctl_fail(c, CTL_REFUSED, "%s; nothing was stored", err);
	} else if (n > 1) {
		r = list_candidates(c, text, found, n);
	} else {
		l_r->found = found[0];
		snprintf(l_r->host, sizeof(l_r->host), "%s", dir_host(d));
		snprintf(l_r->domain, sizeof(l_r->domain), "%s", dir_domain(d));
		sbuf_init(&b, l_r->name, sizeof(l_r->name));
		sbuf_fmt(&b, "%s\\%s", dir_netbios(d), found[0].sam);
		if (b.cut)
			l_r->name[0] = '\0';
		r = judge(c, d, l_r);
	}
	dir_close(&d);
	return r;
}

/* --- showing
 * ------------------------------------------------------------------
 */

void
lookup_show(struct ctl *c, const struct lookup *l)
{
	fputs("Found at ", c->out);
	text_put(c->out, l->host);
	fputs(": ", c->out);
	text_put(c->out, l->name);
	fprintf(c->out, "\n  SID      %s\n  DN       ", l->found.sid);
	text_put(c->out, l->found.dn);
	fprintf(c->out, "\n  kind     %s%s\n", kind_text(&l->found),
		l->found.disabled ? ", disabled" : "");
	if (l->found.kind == DIR_GROUP)
		fprintf(c->out,
			"  members  %s%zu account%s, those of groups in it "
			"included\n",
			l->members_more ? "more than " : "",
			l->members_more ? (size_t)DIR_MEMBERS_MAX : l->members,
			l->members == 1 ? "" : "s");
	for (size_t i = 0; i < l->nwarnings; i++)
		fprintf(c->err, "rmsctl: warning: %s\n", l->warning[i]);
}

json_t *
lookup_json(const struct lookup *l)
{
	json_t *warnings = json_array();
	bool group = l->found.kind == DIR_GROUP;

	for (size_t i = 0; i < l->nwarnings; i++)
		(void)json_array_append_new(warnings,
					    json_string(l->warning[i]));
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:b, s:o}", "server", l->host,
	    "name", l->name, "sid", l->found.sid, "dn", l->found.dn, "kind",
	    kind_text(&l->found), "disabled", l->found.disabled, "members",
	    group ? json_integer((json_int_t)l->members) : json_null(),
	    "members_more", l->members_more, "warnings", warnings);
}
