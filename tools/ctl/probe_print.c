/*
 * Purpose: what `rmsctl probe` prints.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody; texts of an answer are escaped.
 * Touches: standard output.
 * Failure: none of its own.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/probe.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

void
probe_print_head(const struct probe *p)
{
	if (!p->c->json)
		fprintf(p->c->out, "%-43s %4s %8s %8s  %s\n", "STEP", "HTTP",
			"BYTES", "MS", "VERDICT");
}

void
probe_print_step(const struct probe *p, const struct probe_step *s)
{
	FILE *f = p->c->out;

	if (p->c->json)
		return;
	fprintf(f, "%-43s ", s->name);
	if (s->status != 0)
		fprintf(f, "%4ld %8" PRIu64, s->status, s->bytes);
	else
		fprintf(f, "%4s %8s", "-", "-");
	fprintf(f, " %8.1f  %s", (double)s->us / 1000.0,
		s->at == AT_NONE ? "" : "FAILED: ");
	text_put(f, s->verdict);
	fputc('\n', f);
	fflush(f);
}

const struct probe_step *
probe_failure(const struct probe *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->step[i].at != AT_NONE)
			return &p->step[i];
	return NULL;
}

static void
end_text(const struct probe *p)
{
	const struct probe_step *s = probe_failure(p);
	FILE *f = p->c->out;

	if (s == NULL) {
		fputs("\nEvery step came out as it should.\n", f);
		if (!p->url.https)
			fputs("The connection is not secure: give the servers "
			      "the https URL (event 2002).\n",
			      f);
		return;
	}
	fprintf(f, "\nFirst failure: %s\n  what:       ", s->name);
	text_put(f, s->verdict);
	fprintf(f, "\n  at fault:   %s\n  what to do: ", probe_at_name(s->at));
	text_put(f, s->remedy);
	if (s->request_id[0] != '\0') {
		fputs("\n  request id: ", f);
		text_put(f, s->request_id);
	}
	fputc('\n', f);
}

/* For programs, as reasons.def writes it. */
static const char *const at_word[] = {NULL, "client", "connector", "network",
				      "cloud"};

static json_t *
step_json(const struct probe_step *s)
{
	bool ok = s->at == AT_NONE;

	/* A verdict may quote an answer that is not UTF-8: then it is null,
	 * where jansson's "s" would make the whole step fail. */
	return json_pack("{s:s, s:b, s:I, s:I, s:f, s:o?, s:s?, s:s?, s:s?}",
			 "name", s->name, "ok", ok, "status",
			 (json_int_t)s->status, "bytes", (json_int_t)s->bytes,
			 "ms", (double)s->us / 1000.0, "verdict",
			 json_string(s->verdict), "at_fault", at_word[s->at],
			 "remedy", ok ? NULL : s->remedy, "request_id",
			 s->request_id[0] == '\0' ? NULL : s->request_id);
}

static void
end_json(const struct probe *p)
{
	const struct probe_step *s = probe_failure(p);
	json_t *list = json_array(), *all;

	for (size_t i = 0; i < p->n; i++)
		(void)json_array_append_new(list, step_json(&p->step[i]));
	all = json_pack(
	    "{s:b, s:s, s:s?, s:s?, s:o}", "ok", s == NULL, "url", p->url.base,
	    "tenant_url", p->tenant[0] == '\0' ? NULL : p->tenant,
	    "first_failure", s == NULL ? NULL : s->name, "steps", list);
	ctl_print_json(p->c, all);
	json_decref(all);
}

void
probe_print_end(const struct probe *p)
{
	if (p->c->json)
		end_json(p);
	else
		end_text(p);
}
