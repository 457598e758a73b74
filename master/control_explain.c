/*
 * Purpose: the verb `explain`: why an account is let in or refused.
 *
 * Runs in: the master.
 * Trusts:  its own table; what is known of an account comes from the relays
 *          and is only shown.
 * Touches: nothing.
 * Failure: -errno with a line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/control_call.h"
#include "master/publish.h"
#include "master/seen.h"
#include "shm/base/clock.h"
#include "shm/identity.h"
#include "shm/base/log.h"

struct explain {
	struct control_call *c;
	const char *asked;
	char account[IDENTITY_PRINCIPAL_MAX]; /* principal, or "" */
	char sid[SID_TEXT_MAX];		      /* of the account, or "" */
	const struct seen_account *seen;
	struct table_hit hit;
	bool by_group; /* the last decision was by an entry for a group */
};

static const char *
verdict_word(enum verdict v)
{
	switch (v) {
	case VERDICT_ALLOW:
		return "allow";
	case VERDICT_NO_MATCH:
		return "no_match";
	case VERDICT_EXPIRED:
		return "expired";
	case VERDICT_EMPTY:
		return "empty";
	case VERDICT_NO_TABLE:
		return "no_table";
	}
	return "?";
}

/* --- who is meant ------------------------------------------------------ */

static bool
is_sid(const char *s)
{
	uint8_t bytes[SID_BYTES_MAX];

	return sid_parse(slice_of(s), bytes) > 0;
}

static void
take_subject(struct explain *x, const char *subject)
{
	if (is_sid(subject))
		snprintf(x->sid, sizeof(x->sid), "%.191s", subject);
	else
		snprintf(x->account, sizeof(x->account), "%.511s", subject);
}

/* "exch01$" of "exch01$@LAB.TEST". */
static bool
is_short_for(const char *name, const char *principal)
{
	return slice_ieq(slice_of(name),
			 (struct slice){principal, strcspn(principal, "@")});
}

static int
find_named(void *arg, const struct store_server *s)
{
	struct explain *x = arg;

	if ((s->name[0] == '\0' || !slice_iis(slice_of(x->asked), s->name)) &&
	    !is_short_for(x->asked, s->subject))
		return 0;
	take_subject(x, s->subject);
	return 1;
}

/*
 * An account that was seen is known best; else an entry by number, subject
 * or name; else the text is taken for an account that nobody knows.
 */
static int
identify(struct explain *x)
{
	struct master *m = x->c->m;
	struct store_server s;
	int r = store_server_find(m->store, x->asked, &s);

	if (r == 0)
		take_subject(x, s.subject);
	else if (r != -ENOENT)
		return r;
	x->seen = seen_find(m->seen, slice_of(r == 0 ? s.subject : x->asked));
	if (x->seen == NULL && r != 0) {
		r = store_servers_each(m->store, find_named, x);
		if (r < 0)
			return r;
		if (r == 0)
			take_subject(x, x->asked);
		else
			x->seen = seen_find(
			    m->seen, slice_of(x->account[0] != '\0' ? x->account
								    : x->sid));
	}
	if (x->seen != NULL) {
		take_subject(x, x->seen->account);
		if (x->seen->sid[0] != '\0')
			take_subject(x, x->seen->sid);
	}
	return 0;
}

/* --- what the table says ----------------------------------------------- */

static int
decide(struct explain *x)
{
	const struct table *t = publish_table_now(x->c->m->publish);
	struct identity *id = identity_new();
	uint64_t now_s = clock_real_ns() / NS_PER_S;
	struct identity_sid user = {.source = SID_USER};
	int len;

	if (id == NULL)
		return -ENOMEM;
	id->mech =
	    x->seen != NULL ? (enum auth_mech)x->seen->mech : MECH_KERBEROS;
	snprintf(id->principal, sizeof(id->principal), "%s", x->account);
	len = sid_parse(slice_of(x->sid), user.bytes);
	if (len > 0) {
		user.len = (uint8_t)len;
		id->sids = &user;
		id->nsids = 1;
	}
	table_decide(t, id, now_s, &x->hit);
	id->sids = NULL; /* not the identity's to free */
	id->nsids = 0;
	identity_free(&id);
	/* What only a group's entry explains: the last decision tells. */
	if (x->hit.verdict == VERDICT_NO_MATCH && x->seen != NULL &&
	    x->seen->verdict == VERDICT_ALLOW && t != NULL &&
	    x->seen->generation == table_generation(t)) {
		x->hit.verdict = VERDICT_ALLOW;
		x->hit.role = (enum server_role)x->seen->role;
		x->hit.entry = x->seen->entry;
		x->hit.conflict = x->seen->other != 0;
		x->by_group = true;
	}
	return 0;
}

/* --- the reply --------------------------------------------------------- */

static int
show_match(void *arg, const struct store_server *s)
{
	struct explain *x = arg;
	struct json *j = &x->c->json;
	uint64_t now_s = clock_real_ns() / NS_PER_S;
	bool matches = slice_iis(slice_of(x->account), s->subject) ||
		       slice_iis(slice_of(x->sid), s->subject);

	if (x->seen != NULL && !matches)
		matches = s->id == x->seen->entry || s->id == x->seen->other;
	if (!matches && s->id != x->hit.entry)
		return 0;
	json_object(j, NULL);
	json_u64(j, "entry", s->id);
	json_str(j, "subject", s->subject);
	json_str(j, "kind", control_kind_name(s->kind));
	json_str(j, "role", server_role_name(s->role));
	json_str(j, "name", s->name);
	control_json_time(j, "expires", s->expires * NS_PER_S);
	json_bool(j, "expired", s->expires != 0 && s->expires <= now_s);
	json_bool(j, "decides", s->id == x->hit.entry);
	json_object_end(j);
	return 0;
}

static void
show_credential(struct explain *x)
{
	const struct conf *conf = &x->c->m->conf;
	struct json *j = &x->c->json;
	uint32_t number = conf->role_credential[x->hit.role];

	if (x->hit.verdict != VERDICT_ALLOW) {
		json_str(j, "credential", NULL);
		return;
	}
	json_object(j, "credential");
	json_str(j, "name", master_credential_name(conf, x->hit.role));
	if (number != 0)
		json_u64(j, "credential", number);
	else
		json_str(j, "credential", NULL);
	json_object_end(j);
}

static void
show_seen(struct explain *x)
{
	const struct seen_account *a = x->seen;
	struct json *j = &x->c->json;

	if (a == NULL) {
		json_str(j, "seen", NULL);
		return;
	}
	json_object(j, "seen");
	json_str(j, "account", a->account);
	control_json_text(j, "sid", a->sid);
	control_json_time(j, "first", a->first);
	control_json_time(j, "last", a->last);
	json_u64(j, "allowed", a->allowed);
	json_u64(j, "refused", a->refused);
	control_json_time(j, "last_allowed", a->last_allowed);
	control_json_time(j, "last_refused", a->last_refused);
	json_str(j, "verdict", verdict_word((enum verdict)a->verdict));
	json_str(j, "verdict_text", verdict_text((enum verdict)a->verdict));
	if (a->entry != 0)
		json_u64(j, "entry", a->entry);
	else
		json_str(j, "entry", NULL);
	control_json_text(j, "role",
			  server_role_name((enum server_role)a->role));
	json_u64(j, "generation", a->generation);
	control_json_text(j, "address", a->address);
	json_str(j, "mech", mech_name((enum auth_mech)a->mech));
	json_bool(j, "tls", a->tls);
	json_bool(j, "bound", a->bound);
	control_json_text(j, "spn", a->spn);
	json_i64(j, "enctype", a->enctype);
	json_u64(j, "kvno", a->kvno);
	control_json_text(j, "request_id", a->request);
	json_object_end(j);
}

static void
advise(struct explain *x, struct sbuf *b)
{
	const char *subject = x->sid[0] != '\0' ? x->sid : x->account;

	switch (x->hit.verdict) {
	case VERDICT_ALLOW:
		if (x->c->m->conf.role_credential[x->hit.role] == 0)
			sbuf_fmt(
			    b,
			    "It is let in, but the credential \"%s\" of its "
			    "role is not stored: `rmsctl credentials add %s`.",
			    master_credential_name(&x->c->m->conf, x->hit.role),
			    master_credential_name(&x->c->m->conf,
						   x->hit.role));
		else if (x->hit.conflict)
			sbuf_str(b, "It is let in, but entries disagree: "
				    "leave it in one of them only.");
		else
			sbuf_str(b, "Nothing: it is let in.");
		break;
	case VERDICT_EXPIRED:
		sbuf_fmt(
		    b,
		    "Its entry has expired: `rmsctl servers remove %s`, then "
		    "`rmsctl servers add` with a later --expires.",
		    subject);
		break;
	case VERDICT_NO_TABLE:
		sbuf_str(b, "No table is in force: see event 3001.");
		break;
	case VERDICT_EMPTY:
	case VERDICT_NO_MATCH:
		sbuf_fmt(b,
			 "If it should be let in: `rmsctl servers add --role "
			 "ROLE '%s'`.",
			 subject);
		if (x->seen == NULL)
			sbuf_str(b, " It has not connected since the start; "
				    "if it should have, see events 2000.");
		break;
	}
}

static int
explain_show(struct explain *x)
{
	struct json *j = &x->c->json;
	char advice[2048];
	struct sbuf b;
	int r;

	json_str(j, "account", x->account[0] != '\0' ? x->account : x->sid);
	json_str(j, "verdict", verdict_word(x->hit.verdict));
	json_str(j, "verdict_text",
		 x->by_group ? "allowed by an entry for a group, when it last "
			       "connected"
			     : verdict_text(x->hit.verdict));
	control_json_text(j, "role", server_role_name(x->hit.role));
	if (x->hit.entry != 0)
		json_u64(j, "entry", x->hit.entry);
	else
		json_str(j, "entry", NULL);
	json_bool(j, "conflict", x->hit.conflict);
	json_array(j, "matches");
	r = store_servers_each(x->c->m->store, show_match, x);
	json_array_end(j);
	show_credential(x);
	control_json_table(x->c);
	show_seen(x);
	json_bool(j, "groups_known", false);
	sbuf_init(&b, advice, sizeof(advice));
	advise(x, &b);
	json_slice(j, "advice", (struct slice){b.p, b.len});
	return r < 0 ? r : 0;
}

int
control_do_explain(struct control_call *c)
{
	struct explain *x;
	const char *asked = control_request_arg(c->req, "account");
	int r;

	if (asked[0] == '\0' || strlen(asked) >= IDENTITY_PRINCIPAL_MAX) {
		snprintf(c->err, sizeof(c->err),
			 "name an account: a principal, a SID, a name or the "
			 "number of an entry");
		return -EINVAL;
	}
	x = calloc(1, sizeof(*x));
	if (x == NULL) {
		snprintf(c->err, sizeof(c->err), "out of memory");
		return -ENOMEM;
	}
	x->c = c;
	x->asked = asked;
	r = identify(x);
	if (r == 0)
		r = decide(x);
	if (r == 0)
		r = explain_show(x);
	free(x);
	return r < 0 ? control_store_failed(c, r) : 0;
}
