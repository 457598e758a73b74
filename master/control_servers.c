/*
 * Purpose: the verbs about authorized servers.
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
#include "master/date.h"
#include "master/publish.h"
#include "master/seen.h"
#include "master/wide.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

/* --- servers list ------------------------------------------------------ */

static int
list_one(void *arg, const struct store_server *s)
{
	struct control_call *c = arg;
	uint64_t now_s = clock_real_ns() / NS_PER_S;
	const struct seen_account *a =
	    seen_subject(c->m->seen, slice_of(s->subject));

	if (c->json.out->cut)
		return 1; /* there will be another run with more room */
	json_object(&c->json, NULL);
	json_u64(&c->json, "entry", s->id);
	json_str(&c->json, "subject", s->subject);
	json_str(&c->json, "kind", control_kind_name(s->kind));
	json_str(&c->json, "role", server_role_name(s->role));
	json_str(&c->json, "name", s->name);
	json_str(&c->json, "note", s->note);
	control_json_time(&c->json, "added", s->added);
	control_json_time(&c->json, "expires", s->expires * NS_PER_S);
	json_bool(&c->json, "expired", s->expires != 0 && s->expires <= now_s);
	control_json_time(&c->json, "last_seen", a == NULL ? 0 : a->last);
	json_object_end(&c->json);
	return 0;
}

int
control_do_servers_list(struct control_call *c)
{
	int r;

	json_u64(&c->json, "generation", store_generation(c->m->store));
	json_array(&c->json, "servers");
	r = store_servers_each(c->m->store, list_one, c);
	json_array_end(&c->json);
	return r < 0 ? control_store_failed(c, r) : 0;
}

/* --- servers add ------------------------------------------------------- */

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
read_server(struct control_call *c, struct store_server *s_r)
{
	const char *role = control_request_arg(c->req, "role");
	const char *expires = control_request_arg(c->req, "expires");
	int r;

	*s_r = (struct store_server){0};
	r = server_role_parse(slice_of(role), &s_r->role);
	if (r != 0) {
		snprintf(
		    c->err, sizeof(c->err),
		    "role \"%.40s\" is not one: use exchange, sharepoint or "
		    "fci",
		    role);
		return r;
	}
	r = copy_arg(c, "subject", s_r->subject, sizeof(s_r->subject));
	if (r == 0)
		r = copy_arg(c, "name", s_r->name, sizeof(s_r->name));
	if (r == 0)
		r = copy_arg(c, "note", s_r->note, sizeof(s_r->note));
	if (r != 0 || expires == NULL || expires[0] == '\0')
		return r;
	r = date_parse(slice_of(expires), &s_r->expires);
	if (r == 0 && s_r->expires <= clock_real_ns() / NS_PER_S)
		r = -EINVAL;
	if (r != 0)
		snprintf(c->err, sizeof(c->err),
			 "expires \"%.40s\" is not a time to come: write it as "
			 "2027-01-31 or 2027-01-31T18:00:00Z",
			 expires);
	return r;
}

static const char *
wide_warning(const struct store_server *s)
{
	const char *group = wide_group(slice_of(s->subject));

	return group == NULL ? NULL
			     : "this is a group that nearly every account of "
			       "the domain is in";
}

/* Everybody a super user: hardly ever what was meant. */
static int
check_wide(struct control_call *c, const struct store_server *s)
{
	const char *group = wide_group(slice_of(s->subject));

	if (group == NULL || s->role != SERVER_EXCHANGE ||
	    control_request_flag(c->req, "force"))
		return 0;
	snprintf(
	    c->err, sizeof(c->err),
	    "%s is %s: every account in it would read all protected content "
	    "as a super user; authorize the servers one by one, or use "
	    "--force",
	    s->subject, group);
	return -EAGAIN;
}

static uint64_t
generation_now(struct master *m)
{
	const struct table *t = publish_table_now(m->publish);

	return t == NULL ? 0 : table_generation(t);
}

/* The change is stored; brings it into force. */
static int
bring_into_force(struct control_call *c, const char *done, uint32_t id,
		 unsigned *relays_r)
{
	char err[MASTER_ERR];
	int r = master_servers_changed(c->m, &c->author, relays_r, err);

	if (r != 0)
		snprintf(c->err, sizeof(c->err), "%s entry %u, but: %.900s",
			 done, id, err);
	return r;
}

int
control_do_servers_add(struct control_call *c)
{
	struct store_server s;
	unsigned relays;
	uint32_t id;
	char number[16];
	int r = read_server(c, &s);

	if (r == 0)
		r = check_wide(c, &s);
	if (r != 0)
		return r;
	r = store_server_add(c->m->store, &s, &c->author, &id, c->err);
	if (r != 0)
		return control_store_failed(c, r);
	r = bring_into_force(c, "added", id, &relays);
	if (r != 0)
		return r;
	/* As the store writes it: canonical. */
	snprintf(number, sizeof(number), "%u", id);
	r = store_server_find(c->m->store, number, &s);
	if (r != 0)
		return control_store_failed(c, r);
	json_u64(&c->json, "entry", id);
	json_str(&c->json, "subject", s.subject);
	json_str(&c->json, "kind", control_kind_name(s.kind));
	json_str(&c->json, "role", server_role_name(s.role));
	json_u64(&c->json, "generation", generation_now(c->m));
	json_u64(&c->json, "relays", relays);
	json_str(&c->json, "warning", wide_warning(&s));
	return 0;
}

/* --- servers remove ---------------------------------------------------- */

int
control_do_servers_remove(struct control_call *c)
{
	const char *subject = control_request_arg(c->req, "subject");
	struct store_server s;
	unsigned relays;
	int r = store_server_find(c->m->store, subject, &s);

	if (r == -ENOENT) {
		snprintf(c->err, sizeof(c->err),
			 "no server is \"%.200s\"; `rmsctl servers list` shows "
			 "them",
			 subject);
		return r;
	}
	if (r != 0)
		return control_store_failed(c, r);
	if (store_servers_count(c->m->store) <= 1 &&
	    !control_request_flag(c->req, "force")) {
		snprintf(
		    c->err, sizeof(c->err),
		    "%s is the last server: without it no server can use the "
		    "connector; use --force if that is meant",
		    s.subject);
		return -EAGAIN;
	}
	r = store_server_remove(c->m->store, subject, &c->author, c->err);
	if (r != 0)
		return control_store_failed(c, r);
	r = bring_into_force(c, "removed", s.id, &relays);
	if (r != 0)
		return r;
	json_u64(&c->json, "entry", s.id);
	json_str(&c->json, "subject", s.subject);
	json_str(&c->json, "role", server_role_name(s.role));
	json_u64(&c->json, "generation", generation_now(c->m));
	json_u64(&c->json, "servers_left", store_servers_count(c->m->store));
	json_u64(&c->json, "relays", relays);
	return 0;
}
