/*
 * Purpose: the verb `servers import`: many entries in one change.
 *
 * Runs in: the master.
 * Trusts:  nobody for the list that came with the request.
 * Touches: the store, the published table.
 * Failure: -errno with a line, and one for each of the first bad records;
 *          nothing was changed unless the line says so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/bulk.h"
#include "master/control_edit.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

/* What is shown of the single changes, or of the faults: for a person. */
#define TEXT_SIZE CONTROL_LINES_MAX

struct importing {
	struct control_call *c;
	struct bulk bulk;
	const char *from;
	size_t shown; /* changes */
	struct json json, bad_json;
	struct sbuf text, bad;
	char mem[TEXT_SIZE], bad_mem[TEXT_SIZE];
};

static void
on_rewind(void *arg)
{
	struct importing *i = arg;

	bulk_rewind(&i->bulk);
	i->shown = 0;
	sbuf_init(&i->text, i->mem, sizeof(i->mem));
	json_init(&i->json, &i->text);
	sbuf_init(&i->bad, i->bad_mem, sizeof(i->bad_mem));
	json_init(&i->bad_json, &i->bad);
}

static int
on_next(void *arg, struct store_server *s_r, uint32_t *line_r)
{
	return bulk_next(&((struct importing *)arg)->bulk, s_r, line_r);
}

static void
on_bad(void *arg, uint32_t line, const char *why)
{
	struct importing *i = arg;
	char text[STORE_ERR + 128];

	/* Six bytes for each of a text is JSON's worst case. */
	if (i->bad.len + 6 * sizeof(text) > sizeof(i->bad_mem))
		return;
	snprintf(text, sizeof(text), "%s:%u: %s", i->from, line, why);
	json_str(&i->bad_json, NULL, text);
}

static void
put_state(struct json *j, const char *key, const struct store_server *s)
{
	if (s == NULL) {
		json_str(j, key, NULL);
		return;
	}
	json_object(j, key);
	json_str(j, "role", server_role_name(s->role));
	json_str(j, "name", s->name);
	json_str(j, "note", s->note);
	control_json_time(j, "expires", s->expires * NS_PER_S);
	json_object_end(j);
}

static void
on_note(void *arg, const struct store_server *was,
	const struct store_server *now)
{
	struct importing *i = arg;
	const struct store_server *s = now != NULL ? now : was;

	/* Six bytes for each of a text is JSON's worst case. */
	if (i->text.len + 6 * (sizeof(s->subject) + 4 * sizeof(s->name)) >
	    sizeof(i->mem))
		return;
	i->shown++;
	json_object(&i->json, NULL);
	json_u64(&i->json, "entry", was != NULL ? was->id : 0);
	json_str(&i->json, "subject", s->subject);
	put_state(&i->json, "was", was);
	put_state(&i->json, "now", now);
	json_object_end(&i->json);
}

static int
read_merge(struct control_call *c, enum store_merge *merge_r)
{
	static const char *const name[] = {
	    [STORE_MERGE_ADD] = "add",
	    [STORE_MERGE_UPDATE] = "update",
	    [STORE_MERGE_REPLACE] = "replace",
	};
	const char *mode = control_request_arg(c->req, "mode");

	for (size_t i = 0; i < ARRAY_LEN(name); i++) {
		if (strcmp(mode, name[i]) == 0) {
			*merge_r = (enum store_merge)i;
			return 0;
		}
	}
	snprintf(c->err, sizeof(c->err),
		 "mode \"%.40s\" is not one: use add, update or replace", mode);
	return -EINVAL;
}

static void
tell(struct control_call *c, const struct importing *i,
     const struct store_edit *e, unsigned relays)
{
	const struct store_effect *f = &e->effect;
	char danger[STORE_ERR];

	control_edit_danger(e, danger);
	json_bool(&c->json, "dry_run", e->dry_run);
	json_u64(&c->json, "added", f->added);
	json_u64(&c->json, "changed", f->changed);
	json_u64(&c->json, "removed", f->removed);
	json_u64(&c->json, "same", f->same);
	json_u64(&c->json, "expired", f->expired);
	json_u64(&c->json, "servers", f->after);
	control_json_text(&c->json, "danger", danger);
	json_u64(&c->json, "generation", control_generation(c->m));
	json_u64(&c->json, "relays", relays);
	json_array(&c->json, "changes");
	sbuf_slice(c->json.out, (struct slice){i->text.p, i->text.len});
	json_array_end(&c->json);
	json_u64(&c->json, "changes_left",
		 f->added + f->changed + f->removed - i->shown);
}

static int
import_run(struct control_call *c, struct importing *i)
{
	struct store_import im = {
	    .from = i->from,
	    .rewind = on_rewind,
	    .next = on_next,
	    .bad = on_bad,
	    .note = on_note,
	    .arg = i,
	};
	struct store_edit e = {
	    .kind = STORE_EDIT_IMPORT,
	    .import = &im,
	    .dry_run = control_request_flag(c->req, "dry_run"),
	};
	uint64_t start = clock_mono_ns();
	unsigned relays;
	int r = read_merge(c, &im.merge);

	if (r == 0)
		r = bulk_map(&i->bulk, c->fd, c->err);
	if (r != 0)
		return r;
	im.bytes = i->bulk.size;
	r = control_edit(c, &e, &relays);
	if (r == 0)
		tell(c, i, &e, relays);
	else if (r == -EINVAL)
		c->lines = strdup(i->bad_mem);
	log_info("import of %u entries from %.100s: %s, %llu ms", i->bulk.count,
		 i->from,
		 r != 0	     ? c->err
		 : e.dry_run ? "only looked at"
			     : "done",
		 (unsigned long long)((clock_mono_ns() - start) / NS_PER_MS));
	bulk_unmap(&i->bulk);
	return r;
}

/* What a file is called, as far as it may stand in a line of the log. */
static int
check_from(struct control_call *c, const char *from)
{
	size_t n = strlen(from);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)from[i] < 0x20 || from[i] == 0x7f)
			n = SIZE_MAX;
	if (n > 0 && n <= 100)
		return 0;
	snprintf(c->err, sizeof(c->err),
		 "from is not the name of a file, 1 to 100 printable bytes");
	return -EINVAL;
}

int
control_do_servers_import(struct control_call *c)
{
	const char *from = control_request_arg(c->req, "from");
	struct importing *i;
	int r = check_from(c, from);

	if (r != 0)
		return r;
	if (c->fd < 0) {
		snprintf(c->err, sizeof(c->err),
			 "the list of servers is missing: it comes as a "
			 "descriptor with the request");
		return -EPROTO;
	}
	i = calloc(1, sizeof(*i));
	if (i == NULL) {
		snprintf(c->err, sizeof(c->err), "out of memory");
		return -ENOMEM;
	}
	i->c = c;
	i->from = from;
	r = import_run(c, i);
	free(i);
	return r;
}
