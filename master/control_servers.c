/*
 * Purpose: the verbs about authorized servers.
 *
 * Every change goes through control_edit(), which refuses the dangerous ones
 * unless they are forced, and tells of both.
 *
 * Runs in: the master.
 * Trusts:  nobody for the arguments: the store checks them.
 * Touches: the store, the published table.
 * Failure: -errno with a line; nothing was changed unless the line says so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/control_call.h"
#include "master/control_edit.h"
#include "master/date.h"
#include "master/seen.h"
#include "master/wide.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

/* --- servers list ------------------------------------------------------ */

struct listing {
	struct control_call *c;
	uint64_t left; /* entries that may still come */
	uint32_t last; /* number of the last one */
	uint64_t now_s;
};

static int
list_one(void *arg, const struct store_server *s)
{
	struct listing *l = arg;
	struct json *j = &l->c->json;
	const struct seen_account *a;
	const struct seen_entry *e;

	if (j->out->cut)
		return 1; /* there will be another run with more room */
	if (l->left == 0)
		return 2; /* there is a next one */
	/* An entry for a group is nobody's name. */
	a = seen_subject(l->c->m->seen, slice_of(s->subject));
	e = seen_entry(l->c->m->seen, s->id);
	json_object(j, NULL);
	json_u64(j, "entry", s->id);
	json_str(j, "subject", s->subject);
	json_str(j, "kind", control_kind_name(s->kind));
	json_str(j, "role", server_role_name(s->role));
	json_str(j, "name", s->name);
	json_str(j, "note", s->note);
	control_json_time(j, "added", s->added);
	control_json_time(j, "expires", s->expires * NS_PER_S);
	json_bool(j, "expired", s->expires != 0 && s->expires <= l->now_s);
	control_json_time(
	    j, "last_seen",
	    MAX(a == NULL ? 0 : a->last, e == NULL ? 0 : e->last));
	json_object_end(j);
	l->last = s->id;
	l->left--;
	return 0;
}

/* A number that may be missing. */
static int
number_arg(struct control_call *c, const char *name, uint64_t max,
	   uint64_t *v_r)
{
	const char *v = control_request_arg(c->req, name);

	if (v == NULL || str_u64(slice_of(v), max, v_r) == 0)
		return 0;
	snprintf(c->err, sizeof(c->err), "%s %.40s is no number up to %llu",
		 name, v, (unsigned long long)max);
	return -EINVAL;
}

int
control_do_servers_list(struct control_call *c)
{
	struct listing l = {.c = c,
			    .left = TABLE_ENTRIES_MAX,
			    .now_s = clock_real_ns() / NS_PER_S};
	uint64_t after = 0;
	int r = number_arg(c, "after", UINT32_MAX, &after);

	if (r == 0)
		r = number_arg(c, "limit", TABLE_ENTRIES_MAX, &l.left);
	if (r != 0)
		return r;
	json_u64(&c->json, "generation", store_generation(c->m->store));
	json_u64(&c->json, "total", store_servers_count(c->m->store));
	json_array(&c->json, "servers");
	r = store_servers_from(c->m->store, (uint32_t)after, list_one, &l);
	json_array_end(&c->json);
	if (r == 2)
		json_u64(&c->json, "next", l.last);
	else
		json_str(&c->json, "next", NULL);
	return r < 0 ? control_store_failed(c, r) : 0;
}

/* --- arguments --------------------------------------------------------- */

/* Copies an argument that may be missing. */
static int
copy_arg(struct control_call *c, const char *name, char *dst, size_t size)
{
	const char *v = control_request_arg(c->req, name);

	if (v != NULL && strlen(v) >= size) {
		snprintf(c->err, sizeof(c->err), "%s has more than %zu bytes",
			 name, size - 1);
		return -EINVAL;
	}
	snprintf(dst, size, "%s", v == NULL ? "" : v);
	return 0;
}

static int
read_role(struct control_call *c, enum server_role *role_r)
{
	const char *role = control_request_arg(c->req, "role");
	int r = role == NULL ? 0 : server_role_parse(slice_of(role), role_r);

	if (r != 0)
		snprintf(
		    c->err, sizeof(c->err),
		    "role \"%.40s\" is not one: use exchange, sharepoint or "
		    "fci",
		    role);
	return r;
}

static int
read_expires(struct control_call *c, uint64_t *expires_r)
{
	const char *expires = control_request_arg(c->req, "expires");
	int r;

	if (expires == NULL || expires[0] == '\0')
		return 0;
	r = date_parse(slice_of(expires), expires_r);
	if (r == 0 && *expires_r <= clock_real_ns() / NS_PER_S)
		r = -EINVAL;
	if (r != 0)
		snprintf(c->err, sizeof(c->err),
			 "expires \"%.40s\" is not a time to come: write it as "
			 "2027-01-31 or 2027-01-31T18:00:00Z",
			 expires);
	return r;
}

static int
read_server(struct control_call *c, struct store_server *s_r)
{
	int r;

	*s_r = (struct store_server){0};
	r = read_role(c, &s_r->role);
	if (r == 0)
		r = copy_arg(c, "name", s_r->name, sizeof(s_r->name));
	if (r == 0)
		r = copy_arg(c, "note", s_r->note, sizeof(s_r->note));
	return r != 0 ? r : read_expires(c, &s_r->expires);
}

/* --- one entry ----------------------------------------------------------- */

static const char *
wide_warning(const struct store_server *s)
{
	const struct wide_group *g = wide_group(slice_of(s->subject));

	if (g == NULL)
		return NULL;
	return g->everybody ? "this is a group that nearly every account of "
			      "the domain is in"
			    : "this is a group of administrators or domain "
			      "controllers; no server needs to be in it";
}

static void
tell_server(struct control_call *c, const struct store_server *s,
	    unsigned relays)
{
	json_u64(&c->json, "entry", s->id);
	json_str(&c->json, "subject", s->subject);
	json_str(&c->json, "kind", control_kind_name(s->kind));
	json_str(&c->json, "role", server_role_name(s->role));
	json_u64(&c->json, "generation", control_generation(c->m));
	json_u64(&c->json, "relays", relays);
}

int
control_do_servers_add(struct control_call *c)
{
	struct store_server s;
	struct store_edit e = {.kind = STORE_EDIT_ADD, .in = &s};
	unsigned relays;
	int r = read_server(c, &s);

	if (r == 0)
		r = copy_arg(c, "subject", s.subject, sizeof(s.subject));
	if (r == 0)
		r = control_edit(c, &e, &relays);
	if (r != 0)
		return r;
	tell_server(c, &e.server, relays);
	json_str(&c->json, "warning", wide_warning(&e.server));
	return 0;
}

static unsigned
fields_given(struct control_call *c)
{
	static const struct {
		const char *name;
		enum store_field field;
	} map[] = {{"role", STORE_FIELD_ROLE},
		   {"name", STORE_FIELD_NAME},
		   {"note", STORE_FIELD_NOTE},
		   {"expires", STORE_FIELD_EXPIRES}};
	unsigned fields = 0;

	for (size_t i = 0; i < ARRAY_LEN(map); i++)
		if (control_request_arg(c->req, map[i].name) != NULL)
			fields |= map[i].field;
	return fields;
}

int
control_do_servers_update(struct control_call *c)
{
	struct store_server s;
	struct store_edit e = {
	    .kind = STORE_EDIT_UPDATE,
	    .in = &s,
	    .which = control_request_arg(c->req, "subject"),
	    .fields = fields_given(c),
	};
	unsigned relays;
	int r = read_server(c, &s);

	if (r == 0 && e.fields == 0) {
		snprintf(c->err, sizeof(c->err),
			 "nothing to change: give role, name, note or expires");
		r = -EINVAL;
	}
	if (r == 0)
		r = control_edit(c, &e, &relays);
	if (r != 0)
		return r;
	tell_server(c, &e.server, relays);
	json_bool(&c->json, "changed", e.effect.changed > 0);
	json_str(&c->json, "name", e.server.name);
	json_str(&c->json, "note", e.server.note);
	control_json_time(&c->json, "expires", e.server.expires * NS_PER_S);
	json_str(&c->json, "warning", wide_warning(&e.server));
	return 0;
}

int
control_do_servers_remove(struct control_call *c)
{
	struct store_edit e = {
	    .kind = STORE_EDIT_REMOVE,
	    .which = control_request_arg(c->req, "subject"),
	};
	unsigned relays;
	int r = control_edit(c, &e, &relays);

	if (r != 0)
		return r;
	json_u64(&c->json, "entry", e.server.id);
	json_str(&c->json, "subject", e.server.subject);
	json_str(&c->json, "role", server_role_name(e.server.role));
	json_u64(&c->json, "generation", control_generation(c->m));
	json_u64(&c->json, "servers_left", e.effect.after);
	json_u64(&c->json, "relays", relays);
	return 0;
}
