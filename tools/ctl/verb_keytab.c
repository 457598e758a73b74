/*
 * Purpose: keytab: which keys are in force, who uses them, and whether they
 *          are those that the KDC issues tickets for.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: the control socket, KDCs, certificates, standard output.
 * Failure: exit status and a line.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/ask.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/keytab.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

static const json_t *
use_of(const json_t *facts, const json_t *e)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(facts, "use"), i,
			   o) if (strcasecmp(jget_str(o, "principal"),
					     jget_str(e, "principal")) == 0 &&
				  jget_u64(o, "kvno") == jget_u64(e, "kvno") &&
				  jget_u64(o, "enctype") ==
				      jget_u64(e, "enctype")) return o;
	return NULL;
}

/* What the KDC has to do with this key. */
static const char *
kdc_word(const json_t *facts, const json_t *e)
{
	const json_t *o = keytab_issued(facts, jget_str(e, "principal"));

	if (o == NULL)
		return "-";
	if (json_object_get(o, "kvno") == NULL)
		return "unknown";
	if (jget_u64(o, "kvno") != jget_u64(e, "kvno"))
		return jget_u64(o, "kvno") > jget_u64(e, "kvno") ? "old"
								 : "not yet";
	return jget_u64(o, "enctype") == jget_u64(e, "enctype") ? "issued"
								: "same kvno";
}

static void
put_keys(struct ctl *c, const json_t *facts)
{
	struct cols *t = cols_new("PRINCIPAL|>KVNO|TYPE|ADDED (UTC)|>TICKETS|"
				  "LAST USED (UTC)|AT THE KDC");
	const json_t *e;
	char type[64];
	size_t i;

	if (t == NULL)
		return;
	json_array_foreach(json_object_get(facts, "entries"), i, e)
	{
		const json_t *use = use_of(facts, e);
		const char *last = use != NULL ? jget_str(use, "last") : "-";

		keytab_enctype((int)jget_u64(e, "enctype"), type, sizeof(type));
		cols_put(t, jget_str(e, "principal"));
		cols_fmt(t, "%" PRIu64, jget_u64(e, "kvno"));
		cols_put(t, type);
		cols_fmt(t, "%.19s", jget_str(e, "added"));
		cols_fmt(t, "%" PRIu64,
			 use != NULL ? jget_u64(use, "tickets") : UINT64_C(0));
		cols_fmt(t, "%.19s", last);
		cols_put(t, kdc_word(facts, e));
	}
	cols_print(t, c->out);
	cols_free(&t);
}

static void
put_realms(struct ctl *c, const json_t *facts)
{
	const json_t *r;
	size_t i;

	json_array_foreach(json_object_get(facts, "realms"), i, r)
	{
		const json_t *ahead = json_object_get(r, "clock_ahead_ms");
		const char *as = jget_str(r, "asked_as");
		double s = (double)json_integer_value(ahead) / 1000;

		fputs("\nKDC of ", c->out);
		text_put(c->out, jget_str(r, "realm"));
		fputs(as[0] != '\0' ? ": asked as " : ": not asked for tickets",
		      c->out);
		text_put(c->out, as);
		if (json_is_integer(ahead))
			fprintf(c->out,
				"; its clock is %.3f s %s ours, within %.3f s",
				s < 0 ? -s : s, s < 0 ? "behind" : "ahead of",
				(double)jget_u64(r, "clock_within_ms") / 1000);
	}
	fputc('\n', c->out);
}

static void
put_line(void *arg, const char *line)
{
	struct ctl *c = arg;

	fputs("  * ", c->out);
	text_put(c->out, line);
	fputc('\n', c->out);
}

static void
render(struct ctl *c, const json_t *facts)
{
	time_t now = time(NULL);

	fputs("Keytab: ", c->out);
	text_put(c->out, jget_str(facts, "file"));
	fprintf(c->out, ", %zu keys; tickets counted since %.19s\n\n",
		json_array_size(json_object_get(facts, "entries")),
		jget_str(facts, "use_since"));
	put_keys(c, facts);
	put_realms(c, facts);
	if (keytab_notes(facts, now, NULL, NULL) > 0) {
		fputs("\nWorth knowing:\n", c->out);
		keytab_notes(facts, now, put_line, c);
	}
	if (keytab_problems(facts, NULL, NULL) == 0) {
		fputs("\nNothing is wrong.\n", c->out);
		return;
	}
	fputs("\nWhat is wrong:\n", c->out);
	keytab_problems(facts, put_line, c);
}

static void
keep_line(void *arg, const char *line)
{
	json_array_append_new(arg, json_string(line));
}

static void
print_json(struct ctl *c, json_t *facts)
{
	json_t *wrong = json_array(), *notes = json_array();

	keytab_problems(facts, keep_line, wrong);
	keytab_notes(facts, time(NULL), keep_line, notes);
	json_object_set_new(facts, "notes", notes);
	json_object_set_new(facts, "problems", wrong);
	ctl_print_json(c, facts);
}

int
verb_keytab(struct ctl *c)
{
	struct conn *k = conn_new("keytab");
	json_t *facts;
	int status = ask(c, &k, &facts);

	if (status != CTL_OK)
		return status;
	keytab_ask_certificates(facts);
	if (c->args->opt[CTL_O_keytab_local] == NULL)
		keytab_ask_kdc(facts);
	if (c->json)
		print_json(c, facts);
	else
		render(c, facts);
	if (keytab_problems(facts, NULL, NULL) > 0)
		status = CTL_WRONG;
	json_decref(facts);
	return status;
}
