/*
 * Purpose: servers seen and servers conflicts: who comes, how, by which entry.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: the control socket, standard output.
 * Failure: exit status and a line.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "tools/ctl/ask.h"
#include "tools/ctl/date.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/render.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

/* "2027-01-31T00:00:00.000Z" without what no person needs; NULL: none. */
static void
put_time(struct cols *t, const char *time)
{
	if (time[0] == '\0')
		cols_put(t, NULL);
	else
		cols_fmt(t, "%.19s", time);
}

static void
put_number(struct cols *t, uint64_t n)
{
	if (n == 0)
		cols_put(t, NULL);
	else
		cols_fmt(t, "%" PRIu64, n);
}

/* --- accounts ---------------------------------------------------------- */

/* "kerberos aes256-cts-hmac-sha1-96 (WEAK)". */
static void
put_mech(struct cols *t, const json_t *a)
{
	const char *enctype = jget_str(a, "enctype_name");

	cols_fmt(t, "%s%s%s%s", jget_str(a, "mech"),
		 enctype[0] != '\0' ? " " : "", enctype,
		 jget_bool(a, "weak") ? " (WEAK)" : "");
}

static const char *
over(const json_t *a)
{
	if (!jget_bool(a, "tls"))
		return "HTTP";
	return jget_bool(a, "bound") ? "HTTPS, bound" : "HTTPS";
}

static void
put_accounts(struct ctl *c, const json_t *list, const char *asked)
{
	char heads[160];
	const json_t *a;
	struct cols *t;
	size_t i;

	snprintf(heads, sizeof(heads),
		 "ACCOUNT|>ENTRY|ROLE|%s%sLAST (UTC)|FROM|WITH|OVER|>LET "
		 "IN|>REFUSED|FIRST (UTC)",
		 asked != NULL ? asked : "", asked != NULL ? "|" : "");
	t = cols_new(heads);
	if (t == NULL)
		return;
	json_array_foreach(list, i, a)
	{
		cols_put(t, jget_str(a, "account"));
		put_number(t, jget_u64(a, "entry"));
		cols_put(t, jget_str(a, "role")[0] != '\0' ? jget_str(a, "role")
							   : "REFUSED");
		if (asked != NULL)
			put_time(t, jget_str(a, "asked"));
		put_time(t, jget_str(a, "last"));
		cols_put(t, jget_str(a, "address"));
		put_mech(t, a);
		cols_put(t, over(a));
		put_number(t, jget_u64(a, "allowed"));
		put_number(t, jget_u64(a, "refused"));
		put_time(t, jget_str(a, "first"));
	}
	cols_print(t, c->out);
	cols_free(&t);
}

static void
put_summary(struct ctl *c, const json_t *r)
{
	const json_t *n = json_object_get(r, "counts");

	fprintf(c->out,
		"\n%" PRIu64 " accounts are remembered, since %.19s UTC.\n"
		"Of them came over HTTP %" PRIu64 ", unbound over TLS %" PRIu64
		", with NTLM %" PRIu64 ", with RC4 or DES %" PRIu64
		", with a certificate %" PRIu64 ".\n",
		jget_u64(r, "accounts_total"), jget_str(r, "since"),
		jget_u64(n, "http"), jget_u64(n, "unbound"),
		jget_u64(n, "ntlm"), jget_u64(n, "rc4"),
		jget_u64(n, "certificate"));
	if (jget_u64(r, "entries_unused") > 0)
		fprintf(c->out,
			"%" PRIu64 " of %" PRIu64 " entries let nobody in: "
			"rmsctl servers seen --never\n",
			jget_u64(r, "entries_unused"),
			jget_u64(r, "entries_total"));
}

/* What is asked about, and how its column is called. */
struct question {
	enum ctl_opt opt;
	const char *name, *value; /* the argument */
	const char *head;
	const char *none;
};

static const struct question questions[] = {
    {CTL_O_servers_seen_unbound, "way", "unbound", "LAST UNBOUND (UTC)",
     "No account is known to have come over TLS without channel binding.\n"},
    {CTL_O_servers_seen_ntlm, "way", "ntlm", "LAST NTLM (UTC)",
     "No account is known to have come with NTLM.\n"},
    {CTL_O_servers_seen_rc4, "way", "rc4", "LAST WEAK (UTC)",
     "No account is known to have come with RC4 or DES.\n"},
    {CTL_O_servers_seen_http, "way", "http", "LAST HTTP (UTC)",
     "No account is known to have come over HTTP.\n"},
    {CTL_O_servers_seen_refused, "refused", "1", "LAST REFUSED (UTC)",
     "No account is known to have been refused.\n"},
    {CTL_O_servers_seen_entries, "entries", "1", NULL,
     "No server is authorized.\n"},
    {CTL_O_servers_seen_never, "never", "1", NULL,
     "Every entry has let somebody in.\n"},
};

static const struct question *
asked_question(const struct ctl *c)
{
	for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
		if (c->args->opt[questions[i].opt] != NULL)
			return &questions[i];
	}
	return NULL;
}

static bool
about_entries(const struct question *q)
{
	return q != NULL && q->head == NULL;
}

/* --- entries ----------------------------------------------------------- */

static void
put_entries(struct ctl *c, const json_t *r)
{
	uint64_t left = jget_u64(r, "entries_left_off");
	const json_t *e;
	struct cols *t;
	size_t i;

	t = cols_new(">ENTRY|ROLE|SUBJECT|NAME|LAST USED "
		     "(UTC)|>ACCOUNTS|ADDED (UTC)|");
	if (t == NULL)
		return;
	json_array_foreach(json_object_get(r, "entries"), i, e)
	{
		cols_fmt(t, "%" PRIu64, jget_u64(e, "entry"));
		cols_put(t, jget_str(e, "role"));
		cols_put(t, jget_str(e, "subject"));
		cols_put(t, jget_str(e, "name"));
		if (jget_str(e, "last")[0] == '\0')
			cols_put(t, "never");
		else
			put_time(t, jget_str(e, "last"));
		put_number(t, jget_u64(e, "accounts"));
		put_time(t, jget_str(e, "added"));
		cols_put(t, jget_bool(e, "expired") ? "EXPIRED" : " ");
	}
	cols_print(t, c->out);
	cols_free(&t);
	if (left > 0)
		fprintf(c->out, "and %" PRIu64 " more\n", left);
	fprintf(c->out, "\nRemembered since %.19s UTC, on this node.\n",
		jget_str(r, "since"));
}

void
render_servers_seen(struct ctl *c, const json_t *r)
{
	const struct question *q = asked_question(c);
	const json_t *list =
	    json_object_get(r, about_entries(q) ? "entries" : "accounts");

	if (json_array_size(list) == 0)
		fputs(q != NULL ? q->none
				: "No account has come that is remembered.\n",
		      c->out);
	else if (about_entries(q))
		put_entries(c, r);
	else
		put_accounts(c, list, q == NULL ? NULL : q->head);
	if (q == NULL)
		put_summary(c, r);
}

/* --since as the connector takes it. */
static int
since_text(struct ctl *c, const char *in, char out_r[TEXT_MAX])
{
	uint64_t t;

	if (date_parse(in, &t) != 0 &&
	    date_ago(in, (uint64_t)time(NULL), &t) != 0)
		return ctl_fail(c, CTL_USAGE,
				"--since %.60s is not a time: give "
				"YYYY-MM-DD, a time like "
				"2027-01-31T18:00:00Z, or as long ago as 90d, "
				"12h or 30m",
				in);
	text_time(out_r, t);
	return CTL_OK;
}

static int
one_question(struct ctl *c)
{
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(questions); i++)
		n += c->args->opt[questions[i].opt] != NULL;
	return n <= 1 ? CTL_OK
		      : ctl_fail(c, CTL_USAGE,
				 "ask one thing at a time: of --unbound, "
				 "--ntlm, --rc4, --http, --refused, --entries "
				 "and --never only one may be given");
}

int
verb_servers_seen(struct ctl *c)
{
	const char *since = c->args->opt[CTL_O_servers_seen_since];
	const struct question *q = asked_question(c);
	char when[TEXT_MAX];
	struct conn *k;

	if (one_question(c) != CTL_OK)
		return CTL_USAGE;
	if (since != NULL && since_text(c, since, when) != CTL_OK)
		return CTL_USAGE;
	k = conn_new("servers seen");
	if (k != NULL && q != NULL)
		conn_arg(k, q->name, q->value);
	if (k != NULL && since != NULL)
		conn_arg(k, "since", when);
	return ask_show(c, k, render_servers_seen);
}

/* --- conflicts --------------------------------------------------------- */

static void
put_conflict(struct cols *t, const json_t *a)
{
	const json_t *m;
	size_t i;

	json_array_foreach(json_object_get(a, "matches"), i, m)
	{
		if (jget_bool(m, "expired"))
			continue;
		cols_put(t, i == 0 ? jget_str(a, "account") : " ");
		cols_put(t, i != 0		       ? " "
			    : jget_bool(a, "conflict") ? "CONFLICT"
						       : "overlap");
		cols_fmt(t, "%" PRIu64, jget_u64(m, "entry"));
		cols_put(t, jget_str(m, "role"));
		cols_put(t, jget_str(m, "name")[0] != '\0'
				? jget_str(m, "name")
				: jget_str(m, "subject"));
		cols_put(t, jget_str(m, "by_source"));
		if (i == 0)
			cols_fmt(t, "decides: %s", jget_str(a, "decided_why"));
		else
			cols_put(t, " ");
	}
}

void
render_servers_conflicts(struct ctl *c, const json_t *r)
{
	const json_t *list = json_object_get(r, "accounts"), *a;
	uint64_t unknown = jget_u64(r, "groups_unknown");
	struct cols *t = NULL;
	size_t i;

	if (json_array_size(list) > 0)
		t = cols_new("ACCOUNT||>ENTRY|ROLE|NAME|MATCHES BY|");
	if (t != NULL) {
		json_array_foreach(list, i, a)
		{
			put_conflict(t, a);
		}
		cols_print(t, c->out);
		cols_free(&t);
		fputc('\n', c->out);
	}
	fprintf(c->out,
		"Of %" PRIu64 " accounts %" PRIu64
		" match entries of different roles, %" PRIu64
		" several of one role.\n%" PRIu64
		" requests were decided among entries that disagree, since "
		"the start.\n",
		jget_u64(r, "accounts_total"), jget_u64(r, "conflicts"),
		jget_u64(r, "overlaps"), jget_u64(r, "requests"));
	if (unknown > 0)
		fprintf(c->out,
			"The groups of %" PRIu64 " accounts are not known "
			"until they connect again.\n",
			unknown);
}

int
verb_servers_conflicts(struct ctl *c)
{
	return ask_show(c, conn_new("servers conflicts"),
			render_servers_conflicts);
}
