/*
 * Purpose: explain: why an account is let in or refused.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: the control socket, standard output.
 * Failure: exit status and a line.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/ask.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/render.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

/* SIDs that match no entry and are shown all the same. */
#define SIDS_SHOWN 20

/* "Label:      text", when there is a text. */
static void
line(struct ctl *c, const char *label, const char *text)
{
	if (text[0] == '\0')
		return;
	fprintf(c->out, "%-12s ", label);
	text_put(c->out, text);
	fputc('\n', c->out);
}

/* Of a request what was decided then, and now only what is different. */
static void
put_verdict(struct ctl *c, const json_t *r)
{
	char text[256];

	line(c, "Then:", jget_str(r, "then"));
	line(c, "Now:", jget_str(r, "now"));
	if (jget_str(r, "then")[0] != '\0')
		return;
	snprintf(text, sizeof(text), "%s: %s",
		 strcmp(jget_str(r, "verdict"), "allow") == 0 ? "let in"
							      : "REFUSED",
		 jget_str(r, "verdict_text"));
	line(c, "Now:", text);
}

static void
put_decision(struct ctl *c, const json_t *r)
{
	const json_t *cred = json_object_get(r, "credential");
	char text[256];

	line(c, "Account:", jget_str(r, "account"));
	put_verdict(c, r);
	if (jget_u64(r, "entry") != 0) {
		snprintf(text, sizeof(text), "entry %" PRIu64 "%s%s%s%s",
			 jget_u64(r, "entry"),
			 jget_str(r, "role")[0] != '\0' ? ", role " : "",
			 jget_str(r, "role"),
			 jget_str(r, "decided_why")[0] != '\0' ? ": " : "",
			 jget_str(r, "decided_why"));
		line(c, "Decided by:", text);
	}
	if (jget_bool(r, "conflict"))
		line(c,
		     "CONFLICT:", "other entries that match have another role");
	else if (jget_bool(r, "overlap"))
		line(c, "Overlap:", "several entries of this role match");
	if (json_is_object(cred)) {
		snprintf(text, sizeof(text), "%s%s", jget_str(cred, "name"),
			 jget_u64(cred, "credential") == 0
			     ? " (NOT STORED: rmsctl credentials add)"
			     : "");
		line(c, "Credential:", text);
	}
}

static void
put_matches(struct ctl *c, const json_t *matches)
{
	const json_t *m;
	struct cols *t;
	size_t i;

	if (json_array_size(matches) == 0)
		return;
	t = cols_new(">ENTRY|ROLE|SUBJECT|NAME|MATCHES BY|EXPIRES (UTC)|");
	if (t == NULL)
		return;
	json_array_foreach(matches, i, m)
	{
		cols_fmt(t, "%" PRIu64, jget_u64(m, "entry"));
		cols_put(t, jget_str(m, "role"));
		cols_put(t, jget_str(m, "subject"));
		cols_put(t, jget_str(m, "name"));
		cols_put(t, jget_str(m, "by_source"));
		if (jget_bool(m, "expired"))
			cols_put(t, "EXPIRED");
		else
			cols_fmt(t, "%.19s", jget_str(m, "expires"));
		cols_put(t, jget_bool(m, "decides") ? "decides" : " ");
	}
	fputs("\nEntries that match:\n", c->out);
	cols_print(t, c->out);
	cols_free(&t);
}

/* The key that opened the ticket, and how far it was bound. */
static void
put_ticket(struct ctl *c, const json_t *s)
{
	const char *enctype = jget_str(s, "enctype_name");
	char text[640];

	snprintf(text, sizeof(text), "%s %s", jget_str(s, "mech"),
		 jget_str(s, "spn"));
	line(c, "  with", text);
	if (jget_u64(s, "kvno") != 0 || enctype[0] != '\0') {
		snprintf(text, sizeof(text), "kvno %" PRIu64 ", %s%s",
			 jget_u64(s, "kvno"),
			 enctype[0] != '\0' ? enctype
					    : "encryption type unknown",
			 jget_bool(s, "weak")
			     ? " (WEAK: let its service account use AES)"
			     : "");
		line(c, "  key", text);
	}
}

static void
put_seen(struct ctl *c, const json_t *s)
{
	char text[640];

	if (!json_is_object(s)) {
		fputs("\nNo connection of it is known.\n", c->out);
		return;
	}
	fputs("\nIts last connection:\n", c->out);
	line(c, "  at", jget_str(s, "last"));
	line(c, "  as", jget_str(s, "account"));
	line(c, "  SID", jget_str(s, "sid"));
	snprintf(text, sizeof(text), "%s%s%s, %s%s%s", jget_str(s, "address"),
		 jget_str(s, "listener")[0] != '\0' ? " to listener " : "",
		 jget_str(s, "listener"),
		 jget_bool(s, "tls") ? "HTTPS" : "HTTP (not secure)",
		 jget_bool(s, "bound") ? ", channel bound"
		 : jget_bool(s, "tls") ? ", channel not bound"
				       : "",
		 jget_bool(s, "tls") ? "" : ": give the server the https URL");
	line(c, "  from", text);
	put_ticket(c, s);
	snprintf(text, sizeof(text), "%s (list %" PRIu64 ")",
		 jget_str(s, "verdict_text"), jget_u64(s, "generation"));
	line(c, "  outcome", text);
	line(c, "  request", jget_str(s, "request_id"));
	/* Relays report a decision that is not new once a minute. */
	snprintf(text, sizeof(text),
		 "let in %" PRIu64 " times, refused %" PRIu64
		 " times, since %s (repeats within a minute may be left out)",
		 jget_u64(s, "allowed"), jget_u64(s, "refused"),
		 jget_str(s, "first"));
	line(c, "  reported", text);
}

/* Lines for those that match an entry, then for the others as far as a person
 * reads. */
static void
put_sid_rows(struct ctl *c, const json_t *list)
{
	struct cols *t = cols_new("  SID|SOURCE|>ENTRY");
	size_t i, left = SIDS_SHOWN, hidden = 0;
	const json_t *s;

	if (t == NULL)
		return;
	for (int others = 0; others < 2; others++) {
		json_array_foreach(list, i, s)
		{
			bool matches = jget_u64(s, "entry") != 0;

			if (matches != (others == 0))
				continue;
			if (others == 1 && left == 0) {
				hidden++;
				continue;
			}
			left -= others == 1;
			cols_fmt(t, "  %s", jget_str(s, "sid"));
			cols_put(t, jget_str(s, "source"));
			if (matches)
				cols_fmt(t, "%" PRIu64, jget_u64(s, "entry"));
			else
				cols_put(t, NULL);
		}
	}
	cols_print(t, c->out);
	cols_free(&t);
	if (hidden > 0)
		fprintf(c->out, "  and %zu more that match none (--json)\n",
			hidden);
}

/* Of a request that is asked about: what is known of SIDs is not of then. */
static void
put_later(struct ctl *c, const json_t *sids)
{
	char text[TEXT_MAX];

	if (!json_is_integer(json_object_get(sids, "later_s")))
		return;
	text_duration(text, jget_u64(sids, "later_s"));
	fprintf(c->out,
		"(So it was with a later connection, %s after the request, "
		"which may have come with others.)\n",
		text);
}

static void
put_sids(struct ctl *c, const json_t *r)
{
	const json_t *sids = json_object_get(r, "sids");
	const json_t *list = json_object_get(sids, "list");
	char age[TEXT_MAX];

	if (!json_is_object(json_object_get(r, "seen")))
		return;
	if (jget_str(sids, "lack")[0] != '\0') {
		fputs("\nIt had no SIDs to show: ", c->out);
		text_put(c->out, jget_str(sids, "lack"));
		fputs(".\n", c->out);
		put_later(c, sids);
		return;
	}
	if (!jget_bool(r, "groups_known")) {
		fputs("\nIts groups are not known until it connects again: "
		      "entries for a group are not among those that "
		      "match.\n",
		      c->out);
		return;
	}
	text_duration(age, jget_u64(sids, "age_s"));
	fprintf(c->out, "\nIts %" PRIu64 " SIDs, as of %s ago:\n",
		jget_u64(sids, "count"), age);
	put_later(c, sids);
	put_sid_rows(c, list);
}

/* What the name of an end means; "" when this rmsctl does not know it. */
static const char *
end_text(const char *name)
{
	static const struct {
		const char *name, *text;
	} ends[] = {
#define REASON(name, status, text, fault, retry) {#name, text},
#include "worker/relay/reasons.def"
#undef REASON
	};

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		if (strcmp(ends[i].name, name) == 0)
			return ends[i].text;
	}
	return "";
}

static void
put_why(struct cols *t, const json_t *q)
{
	const char *cause = jget_str(q, "cause_text");
	const char *detail = jget_str(q, "detail");
	const char *end = jget_str(q, "end");

	if (cause[0] != '\0')
		cols_fmt(t, "%s%s%s", cause, detail[0] != '\0' ? ": " : "",
			 detail);
	else
		cols_put(t, strcmp(end, "OK") == 0 ? " " : end_text(end));
}

static void
put_requests(struct ctl *c, const json_t *list, bool whose)
{
	struct cols *t;
	const json_t *q;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	t = cols_new(whose ? "TIME (UTC)|REQUEST|FROM|OVER|ACCOUNT|"
			     "OPERATION|>STATUS|END|WHY"
			   : "TIME (UTC)|REQUEST|FROM|OVER|OPERATION|>STATUS|"
			     "END|WHY");
	if (t == NULL)
		return;
	json_array_foreach(list, i, q)
	{
		cols_fmt(t, "%.19s", jget_str(q, "time"));
		cols_put(t, jget_str(q, "request_id"));
		cols_put(t, jget_str(q, "address"));
		cols_put(t, jget_bool(q, "tls") ? "HTTPS" : "HTTP");
		if (whose)
			cols_put(t, jget_str(q, "account"));
		cols_put(t, jget_str(q, "op"));
		cols_fmt(t, "%" PRIu64, jget_u64(q, "status"));
		cols_put(t, jget_str(q, "end"));
		put_why(t, q);
	}
	cols_print(t, c->out);
	cols_free(&t);
}

static void
put_advice(struct ctl *c, const json_t *r)
{
	if (jget_str(r, "advice")[0] == '\0')
		return;
	fputc('\n', c->out);
	line(c, "What to do:", jget_str(r, "advice"));
}

void
render_explain(struct ctl *c, const json_t *r)
{
	const json_t *table = json_object_get(r, "table");
	const json_t *requests = json_object_get(r, "requests");
	bool account = strcmp(jget_str(r, "about"), "account") == 0;
	char age[TEXT_MAX], text[160];

	if (!account) {
		put_requests(c, requests, true);
		put_advice(c, r);
		return;
	}
	put_decision(c, r);
	if (json_is_object(table)) {
		text_duration(age, jget_u64(table, "age_s"));
		snprintf(text, sizeof(text),
			 "%" PRIu64 ", %" PRIu64 " entries, in force for %s",
			 jget_u64(table, "generation"),
			 jget_u64(table, "entries"), age);
		line(c, "List:", text);
	}
	put_matches(c, json_object_get(r, "matches"));
	put_seen(c, json_object_get(r, "seen"));
	put_sids(c, r);
	if (json_array_size(requests) > 0)
		fputs("\nRequests:\n", c->out);
	put_requests(c, requests, false);
	put_advice(c, r);
}

int
verb_explain(struct ctl *c)
{
	struct conn *k = conn_new("explain");

	if (k != NULL)
		conn_arg(k, "account", c->args->pos[0]);
	return ask_show(c, k, render_explain);
}
