/*
 * Purpose: servers export: the list as servers import takes it.
 *
 * It comes in pages, and is the list of one moment: when it changed between
 * two pages, it is read again.  So it is put together in a file first.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: the control socket, an unnamed temporary file, standard output.
 * Failure: exit status and a line; nothing was printed then.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "shm/base/str.h"
#include "tools/ctl/csv.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/pages.h"

#include "shm/base/log.h"

#define TRIES_MAX 5

struct export
{
	struct ctl *c;
	FILE *f;
	bool json;
	size_t n;
};

/* "2027-01-31T00:00:00.000Z" without the part of a second, which is never
 * there. */
static struct slice
expires_of(const json_t *s)
{
	struct slice t = slice_of(jget_str(s, "expires"));
	const char *dot = memchr(t.p, '.', t.len);

	if (dot != NULL)
		t.len = (size_t)(dot - t.p);
	return t;
}

static void
put_csv(struct export *e, const json_t *s)
{
	static const char *const key[] = {"subject", "role", "name", "note"};
	struct slice expires = expires_of(s);

	for (size_t i = 0; i < ARRAY_LEN(key); i++) {
		csv_put(e->f, slice_of(jget_str(s, key[i])));
		putc(',', e->f);
	}
	if (expires.len > 0)
		fprintf(e->f, "%.*sZ", (int)expires.len, expires.p);
	fputs("\r\n", e->f);
}

static void
put_json(struct export *e, const json_t *s)
{
	struct slice expires = expires_of(s);
	char when[40] = "";
	json_t *o;

	if (expires.len > 0)
		snprintf(when, sizeof(when), "%.*sZ",
			 (int)MIN(expires.len, 32U), expires.p);
	o = json_pack("{s:s, s:s, s:s, s:s, s:s?}", "subject",
		      jget_str(s, "subject"), "role", jget_str(s, "role"),
		      "name", jget_str(s, "name"), "note", jget_str(s, "note"),
		      "expires", when[0] != '\0' ? when : NULL);
	fputs(e->n == 0 ? "\n" : ",\n", e->f);
	if (o == NULL || json_dumpf(o, e->f, 0) != 0)
		fputs("?", e->f); /* no memory: no JSON, rather than less */
	json_decref(o);
}

static int
on_page(void *arg, const json_t *reply)
{
	struct export *e = arg;
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(reply, "servers"), i, s)
	{
		if (e->json)
			put_json(e, s);
		else
			put_csv(e, s);
		e->n++;
	}
	return CTL_OK;
}

/* Once through all pages. */
static int
export_try(struct export *e, bool *changed_r)
{
	struct pages p = {.fn = on_page, .arg = e};
	int r;

	rewind(e->f);
	if (ftruncate(fileno(e->f), 0) != 0)
		return ctl_fail(e->c, CTL_REFUSED, "temporary file: %s",
				strerror(errno));
	e->n = 0;
	fputs(e->json ? "[" : "subject,role,name,note,expires\r\n", e->f);
	r = pages_each(e->c, &p);
	if (e->json)
		fputs(e->n > 0 ? "\n]\n" : "]\n", e->f);
	*changed_r = p.changed;
	return r;
}

static int
copy_out(struct export *e)
{
	char mem[65536];
	size_t n;

	if (fflush(e->f) != 0 || ferror(e->f))
		return ctl_fail(e->c, CTL_REFUSED,
				"the temporary file cannot be written: %s; "
				"make room in /tmp",
				strerror(errno));
	rewind(e->f);
	while ((n = fread(mem, 1, sizeof(mem), e->f)) > 0)
		fwrite(mem, 1, n, e->c->out);
	return CTL_OK;
}

static int
export_run(struct export *e)
{
	bool changed = true;
	int r = CTL_OK;

	for (int i = 0; r == CTL_OK && changed && i < TRIES_MAX; i++)
		r = export_try(e, &changed);
	if (r != CTL_OK)
		return r;
	if (changed)
		return ctl_fail(e->c, CTL_REFUSED,
				"the list is changed all the time: try again "
				"when nobody does");
	return copy_out(e);
}

int
verb_servers_export(struct ctl *c)
{
	const char *f = c->args->opt[CTL_O_servers_export_format];
	struct export e = {.c = c, .json = c->json};
	int r;

	if (f != NULL && strcmp(f, "csv") != 0 && strcmp(f, "json") != 0)
		return ctl_fail(c, CTL_USAGE,
				"there is no format %.40s: csv or json", f);
	if (f != NULL)
		e.json = strcmp(f, "json") == 0;
	e.f = tmpfile();
	if (e.f == NULL)
		return ctl_fail(c, CTL_REFUSED,
				"a temporary file cannot be made: %s",
				strerror(errno));
	r = export_run(&e);
	fclose(e.f);
	return r;
}
