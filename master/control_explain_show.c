/*
 * Purpose: the reply of the verb `explain`.
 *
 * Runs in: the master.
 * Trusts:  its own table; what is known of an account comes from the relays
 *          and is only shown.
 * Touches: the reply.
 * Failure: a reply that does not fit is made again with more room.
 */
#include "master/control_explain.h"

#include <stdio.h>
#include <string.h>

#include "master/publish.h"
#include "master/refusal.h"
#include "shm/base/clock.h"
#include "shm/base/enctype.h"
#include "shm/base/log.h"

const char *
explain_verdict_word(enum verdict v)
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

static void
show_entry_number(struct json *j, const char *key, uint32_t entry)
{
	if (entry != 0)
		json_u64(j, key, entry);
	else
		json_str(j, key, NULL);
}

/* --- entries ----------------------------------------------------------- */

const char *
explain_rank(const struct table_matching *a, const struct table_matching *b)
{
	if (!b->live)
		return "the others have expired";
	if (a->account && !b->account)
		return "it names the account itself, the others a group of it";
	if (a->entry.role != SERVER_EXCHANGE &&
	    b->entry.role == SERVER_EXCHANGE)
		return "its role has less privilege than exchange";
	return "its number is the lowest";
}

static const char *
decided_why(const struct explain *x)
{
	if (x->nmatches == 0 || !x->match[0].live)
		return NULL;
	if (x->nmatches == 1)
		return "it is the only one that matches";
	return explain_rank(&x->match[0], &x->match[1]);
}

/* What of the identity it matched. */
static void
show_by(const struct explain *x, const struct table_matching *m)
{
	struct json *j = &x->c->json;
	const struct identity_sid *sid;
	char text[SID_TEXT_MAX];

	if (m->by == TABLE_BY_PRINCIPAL) {
		json_str(j, "by", x->account);
		json_str(j, "by_source", "name");
		return;
	}
	BUG_ON(m->by >= x->id->nsids);
	sid = &x->id->sids[m->by];
	if (sid_text(sid->bytes, sid->len, text) != 0)
		text[0] = '\0';
	json_str(j, "by", text);
	json_str(j, "by_source", sid_source_name((enum sid_source)sid->source));
}

static void
show_match(const struct explain *x, const struct table_matching *m,
	   bool decides)
{
	struct json *j = &x->c->json;
	const struct table_in *e = &m->entry;
	struct store_server s = {0};
	char number[16];

	snprintf(number, sizeof(number), "%u", e->id);
	/* The table has the key in its own form, the store as people know it;
	 * a store that cannot be read shows less. */
	if (store_server_find(x->c->m->store, number, &s) != 0)
		s.subject[0] = '\0';
	json_object(j, NULL);
	json_u64(j, "entry", e->id);
	json_str(j, "subject", s.subject);
	json_str(j, "kind", control_kind_name(e->kind));
	json_str(j, "role", server_role_name(e->role));
	json_slice(j, "name", e->name);
	control_json_time(j, "expires", e->expires * NS_PER_S);
	json_bool(j, "expired", !m->live);
	json_bool(j, "own", m->account);
	show_by(x, m);
	json_bool(j, "decides", decides);
	json_object_end(j);
}

void
explain_show_matches(const struct explain *x)
{
	struct json *j = &x->c->json;
	size_t n = MIN(x->nmatches, (size_t)EXPLAIN_MATCHES_MAX);
	size_t live = 0;

	json_array(j, "matches");
	for (size_t i = 0; i < n; i++) {
		show_match(x, &x->match[i], i == 0 && x->match[i].live);
		live += x->match[i].live;
	}
	json_array_end(j);
	json_u64(j, "matches_total", x->nmatches);
	json_str(j, "decided_why", decided_why(x));
	json_bool(j, "conflict", x->hit.conflict);
	json_bool(j, "overlap", !x->hit.conflict && live > 1);
}

static void
show_credential(const struct explain *x)
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
	show_entry_number(j, "credential", number);
	json_object_end(j);
}

/* --- the account ------------------------------------------------------- */

void
explain_show_account(struct json *j, const struct seen_account *a)
{
	json_str(j, "account", a->account);
	control_json_text(j, "sid", a->sid);
	control_json_time(j, "first", a->first);
	control_json_time(j, "last", a->last);
	json_u64(j, "allowed", a->allowed);
	json_u64(j, "refused", a->refused);
	control_json_time(j, "last_allowed", a->last_allowed);
	control_json_time(j, "last_refused", a->last_refused);
	json_str(j, "verdict", explain_verdict_word((enum verdict)a->verdict));
	json_str(j, "verdict_text", verdict_text((enum verdict)a->verdict));
	show_entry_number(j, "entry", a->entry);
	control_json_text(j, "role",
			  server_role_name((enum server_role)a->role));
	json_u64(j, "generation", a->generation);
	control_json_text(j, "address", a->address);
	control_json_text(j, "listener", a->listener);
	json_str(j, "mech", mech_name((enum auth_mech)a->mech));
	json_bool(j, "tls", a->tls);
	json_bool(j, "bound", a->bound);
	control_json_text(j, "spn", a->spn);
	json_i64(j, "enctype", a->enctype);
	json_str(j, "enctype_name", enctype_name(a->enctype));
	json_bool(j, "weak", enctype_is_weak(a->enctype));
	json_u64(j, "kvno", a->kvno);
	control_json_text(j, "request_id", a->request);
	json_object(j, "ways");
	for (unsigned w = 0; w < WAY_MAX; w++)
		control_json_time(j, way_name((enum way)w), a->way[w]);
	json_object_end(j);
}

static void
show_seen(const struct explain *x)
{
	struct json *j = &x->c->json;

	if (x->seen == NULL) {
		json_str(j, "seen", NULL);
		return;
	}
	json_object(j, "seen");
	explain_show_account(j, x->seen);
	json_object_end(j);
}

/* The entry that this SID matches, 0 none. */
static uint32_t
entry_of_sid(const struct explain *x, size_t sid)
{
	for (size_t i = 0; i < MIN(x->nmatches, (size_t)EXPLAIN_MATCHES_MAX);
	     i++) {
		if (x->match[i].by == sid)
			return x->match[i].entry.id;
	}
	return 0;
}

/* Were they seen with another connection than that of the request which is
 * asked about, after it?  Then by how many seconds goes into *s_r. */
static bool
sids_are_later(const struct explain *x, uint64_t *s_r)
{
	const struct trail_note *n = x->of;
	uint64_t began, now = clock_mono_ns();

	if (n == NULL || x->seen == NULL || x->seen->sids_ns == 0 ||
	    n->when > now || strcmp(x->seen->request, x->asked) == 0)
		return false;
	began = clock_real_ns() - (now - n->when) -
		(uint64_t)n->took_us * NS_PER_US;
	*s_r = x->seen->sids_ns > began ? (x->seen->sids_ns - began) / NS_PER_S
					: 0;
	return x->seen->sids_ns > began;
}

static void
show_sids(const struct explain *x)
{
	const struct seen_account *a = x->seen;
	struct json *j = &x->c->json;
	uint64_t now = clock_real_ns(), later_s;
	char text[SID_TEXT_MAX];

	json_object(j, "sids");
	json_u64(j, "count", a == NULL ? 0 : a->nsids);
	json_str(j, "lack",
		 a == NULL || a->nsids > 0
		     ? NULL
		     : sid_lack_text((enum sid_lack)a->lack));
	control_json_time(j, "at", a == NULL ? 0 : a->sids_ns);
	if (a != NULL && a->sids_ns != 0 && a->sids_ns <= now)
		json_u64(j, "age_s", (now - a->sids_ns) / NS_PER_S);
	else
		json_str(j, "age_s", NULL);
	if (sids_are_later(x, &later_s))
		json_u64(j, "later_s", later_s);
	else
		json_str(j, "later_s", NULL);
	json_array(j, "list");
	for (size_t i = 0; i < x->id->nsids; i++) {
		const struct identity_sid *sid = &x->id->sids[i];

		if (sid_text(sid->bytes, sid->len, text) != 0)
			continue;
		json_object(j, NULL);
		json_str(j, "sid", text);
		json_str(j, "source",
			 sid_source_name((enum sid_source)sid->source));
		show_entry_number(j, "entry", entry_of_sid(x, i));
		json_object_end(j);
	}
	json_array_end(j);
	json_object_end(j);
}

/* --- advice ------------------------------------------------------------ */

static void
advise_allowed(const struct explain *x, struct sbuf *b)
{
	const struct conf *conf = &x->c->m->conf;
	const char *cred = master_credential_name(conf, x->hit.role);

	if (conf->role_credential[x->hit.role] == 0)
		sbuf_fmt(b,
			 "It is let in, but the credential \"%s\" of its role "
			 "is not stored: `rmsctl credentials add %s`.",
			 cred, cred);
	else if (x->hit.conflict)
		sbuf_str(b, "It is let in, but entries disagree: leave it in "
			    "one of them only, for servers under different "
			    "entries cannot read each other's content.");
	else if (x->hit.matches > 1)
		sbuf_str(b, "It is let in by several entries of one role: "
			    "leave it in one of them only, for servers under "
			    "different entries cannot read each other's "
			    "content.");
	else
		sbuf_str(b, "Nothing: it is let in.");
}

static void
advise(const struct explain *x, struct sbuf *b)
{
	struct refusal r = {
	    .verdict = x->hit.verdict,
	    .mech = x->id->mech,
	    .entry = x->hit.entry,
	    .subject = slice_of(x->sid[0] != '\0' ? x->sid : x->account),
	};

	if (x->of != NULL &&
	    explain_then_allowed(x->of) != (x->hit.verdict == VERDICT_ALLOW))
		sbuf_fmt(b, "The request was %s; by the list as it is now: ",
			 explain_then_allowed(x->of) ? "let in" : "refused");
	if (x->hit.verdict == VERDICT_ALLOW) {
		advise_allowed(x, b);
		return;
	}
	if (x->seen != NULL && x->hit.verdict == VERDICT_NO_MATCH &&
	    !explain_groups_known(x->seen)) {
		sbuf_fmt(b,
			 "Its groups are not known until it connects again; "
			 "when it last did: %s.",
			 verdict_text((enum verdict)x->seen->verdict));
		return;
	}
	if (x->seen != NULL) {
		r.lack = (enum sid_lack)x->seen->lack;
		r.nsids = x->seen->nsids;
		refusal_say(b, &r);
		return;
	}
	if (x->hit.verdict == VERDICT_NO_MATCH) {
		sbuf_str(b, "No entry names it; if it should be let in: ");
		refusal_say_add(b, x->cert ? MECH_CERT : x->id->mech,
				r.subject);
	} else {
		refusal_say(b, &r);
	}
	if (x->hit.verdict != VERDICT_NO_TABLE)
		sbuf_str(b, ". It has not connected: if it should have, look "
			    "for its address with rmsctl explain ADDRESS, and "
			    "for events 2000.");
}

/* Of a request: what was decided then, and what would be now. */
static void
show_then(const struct explain *x)
{
	char then[512] = "", now[512] = "";
	struct sbuf b;

	if (x->of != NULL) {
		sbuf_init(&b, then, sizeof(then));
		explain_say_then(&b, x->of);
		sbuf_init(&b, now, sizeof(now));
		explain_say_now(&b, x);
	}
	control_json_text(&x->c->json, "then", then);
	control_json_text(&x->c->json, "now", now);
}

void
explain_show(struct explain *x)
{
	struct json *j = &x->c->json;
	char advice[2048];
	struct sbuf b;

	json_str(j, "account", x->account[0] != '\0' ? x->account : x->sid);
	json_str(j, "verdict", explain_verdict_word(x->hit.verdict));
	json_str(j, "verdict_text", verdict_text(x->hit.verdict));
	control_json_text(j, "role", server_role_name(x->hit.role));
	show_entry_number(j, "entry", x->hit.entry);
	show_then(x);
	explain_show_matches(x);
	show_credential(x);
	control_json_table(x->c);
	show_seen(x);
	show_sids(x);
	explain_show_requests(j, &x->pick);
	json_bool(j, "groups_known", explain_groups_known(x->seen));
	sbuf_init(&b, advice, sizeof(advice));
	advise(x, &b);
	json_slice(j, "advice", (struct slice){b.p, b.len});
}
