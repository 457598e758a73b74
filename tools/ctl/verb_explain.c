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

static void
put_decision(struct ctl *c, const json_t *r)
{
	const json_t *cred = json_object_get(r, "credential");
	char text[256];

	line(c, "Account:", jget_str(r, "account"));
	snprintf(text, sizeof(text), "%s: %s",
		 strcmp(jget_str(r, "verdict"), "allow") == 0 ? "let in"
							      : "REFUSED",
		 jget_str(r, "verdict_text"));
	line(c, "Now:", text);
	if (jget_u64(r, "entry") != 0) {
		snprintf(text, sizeof(text), "entry %" PRIu64 ", role %s%s",
			 jget_u64(r, "entry"), jget_str(r, "role"),
			 jget_bool(r, "conflict")
			     ? " (other entries that match disagree)"
			     : "");
		line(c, "Decided by:", text);
	}
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
	t = cols_new(">ENTRY|ROLE|SUBJECT|NAME|EXPIRES (UTC)|");
	if (t == NULL)
		return;
	json_array_foreach(matches, i, m)
	{
		cols_fmt(t, "%" PRIu64, jget_u64(m, "entry"));
		cols_put(t, jget_str(m, "role"));
		cols_put(t, jget_str(m, "subject"));
		cols_put(t, jget_str(m, "name"));
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

static void
put_seen(struct ctl *c, const json_t *s)
{
	char text[640];

	if (!json_is_object(s)) {
		fputs("\nIt has not connected since the connector was "
		      "started.\n",
		      c->out);
		return;
	}
	fputs("\nIts last connection:\n", c->out);
	line(c, "  at", jget_str(s, "last"));
	line(c, "  as", jget_str(s, "account"));
	line(c, "  SID", jget_str(s, "sid"));
	snprintf(text, sizeof(text), "%s, %s%s%s", jget_str(s, "address"),
		 jget_bool(s, "tls") ? "HTTPS" : "HTTP (not secure)",
		 jget_bool(s, "bound") ? ", channel bound" : "",
		 jget_bool(s, "tls") ? "" : ": give the server the https URL");
	line(c, "  from", text);
	snprintf(text, sizeof(text), "%s %s", jget_str(s, "mech"),
		 jget_str(s, "spn"));
	line(c, "  with", text);
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

void
render_explain(struct ctl *c, const json_t *r)
{
	const json_t *table = json_object_get(r, "table");
	char age[TEXT_MAX], text[160];

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
	if (json_is_false(json_object_get(r, "groups_known")))
		fputs("\nIts groups are not known here: entries for a group "
		      "are shown only if its last connection used one.\n",
		      c->out);
	if (jget_str(r, "advice")[0] != '\0') {
		fputc('\n', c->out);
		line(c, "What to do:", jget_str(r, "advice"));
	}
}

int
verb_explain(struct ctl *c)
{
	struct conn *k = conn_new("explain");

	if (k != NULL)
		conn_arg(k, "account", c->args->pos[0]);
	return ask_show(c, k, render_explain);
}
