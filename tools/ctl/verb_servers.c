/*
 * Purpose: servers list, add, remove.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: the control socket, standard output.
 * Failure: exit status and a line.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "tools/ctl/ask.h"
#include "tools/ctl/date.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/lookup.h"
#include "tools/ctl/pages.h"
#include "tools/ctl/render.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

/* "2027-01-31T00:00:00.000Z" without what no person needs. */
static void
put_time(struct cols *t, const json_t *o, const char *key)
{
	char s[20];

	cols_put(
	    t, str_copy(s, sizeof(s),
			(struct slice){jget_str(o, key),
				       MIN(strlen(jget_str(o, key)), 19U)}) == 0
		   ? s
		   : NULL);
}

void
render_servers_list(struct ctl *c, const json_t *reply)
{
	const json_t *list = json_object_get(reply, "servers"), *s;
	struct cols *t;
	size_t i;

	if (json_array_size(list) == 0) {
		fputs("No server is authorized, so none can use the "
		      "connector.\nrmsctl servers add --role ROLE SUBJECT\n",
		      c->out);
		return;
	}
	t = cols_new(
	    ">ENTRY|ROLE|SUBJECT|NAME|EXPIRES (UTC)|LAST SEEN (UTC)|NOTE");
	if (t == NULL)
		return;
	json_array_foreach(list, i, s)
	{
		cols_fmt(t, "%" PRIu64, jget_u64(s, "entry"));
		cols_put(t, jget_str(s, "role"));
		cols_put(t, jget_str(s, "subject"));
		cols_put(t, jget_str(s, "name"));
		if (jget_bool(s, "expired"))
			cols_put(t, "EXPIRED");
		else
			put_time(t, s, "expires");
		put_time(t, s, "last_seen");
		cols_put(t, jget_str(s, "note"));
	}
	cols_print(t, c->out);
	cols_free(&t);
}

/* Pages as one JSON object that is never whole in memory. */
struct listing {
	struct ctl *c;
	size_t pages, entries;
};

static int
put_json_page(void *arg, const json_t *reply)
{
	struct listing *l = arg;
	const json_t *s;
	size_t i;

	if (l->pages++ == 0)
		fprintf(l->c->out,
			"{\n  \"ok\": true,\n  \"generation\": %" PRIu64
			",\n  \"servers\": [",
			jget_u64(reply, "generation"));
	json_array_foreach(json_object_get(reply, "servers"), i, s)
	{
		fputs(l->entries++ == 0 ? "\n    " : ",\n    ", l->c->out);
		(void)json_dumpf(s, l->c->out, 0);
	}
	return CTL_OK;
}

/* Each page has its own columns and heads. */
static int
put_text_page(void *arg, const json_t *reply)
{
	struct listing *l = arg;

	if (l->pages++ == 0 ||
	    json_array_size(json_object_get(reply, "servers")) > 0)
		render_servers_list(l->c, reply);
	return CTL_OK;
}

int
verb_servers_list(struct ctl *c)
{
	struct listing l = {.c = c};
	struct pages p = {.fn = c->json ? put_json_page : put_text_page,
			  .arg = &l};
	int r = pages_each(c, &p);

	if (c->json && r == CTL_OK)
		fprintf(c->out, "%s]\n}\n", l.entries > 0 ? "\n  " : "");
	return r;
}

void
render_reach(struct ctl *c, const json_t *reply)
{
	uint64_t n = jget_u64(reply, "relays");

	if (n == 0)
		fputs("No relay runs at the moment; the list will be in force "
		      "when one does.\n",
		      c->out);
	else
		fprintf(c->out,
			"In force in %" PRIu64 " relay%s (list %" PRIu64 ").\n",
			n, n == 1 ? "" : "s", jget_u64(reply, "generation"));
}

static void
put_warning(struct ctl *c, const char *warning)
{
	if (warning[0] == '\0')
		return;
	fputs("Warning: ", c->out);
	text_put(c->out, warning);
	fputc('\n', c->out);
}

void
render_servers_add(struct ctl *c, const json_t *reply)
{
	const char *warning = jget_str(reply, "warning");

	fprintf(c->out, "Entry %" PRIu64 ": ", jget_u64(reply, "entry"));
	text_put(c->out, jget_str(reply, "subject"));
	fprintf(c->out, " may use the connector with the role %s.\n",
		jget_str(reply, "role"));
	render_reach(c, reply);
	put_warning(c, warning);
}

void
render_servers_update(struct ctl *c, const json_t *reply)
{
	const char *expires = jget_str(reply, "expires");

	fprintf(c->out, "Entry %" PRIu64 ": ", jget_u64(reply, "entry"));
	text_put(c->out, jget_str(reply, "subject"));
	if (!jget_bool(reply, "changed")) {
		fputs(" is so already; nothing was changed.\n", c->out);
		return;
	}
	fprintf(c->out, " has the role %s", jget_str(reply, "role"));
	if (expires[0] != '\0')
		fprintf(c->out, " until %.19s UTC", expires);
	fputs(".\n", c->out);
	render_reach(c, reply);
	put_warning(c, jget_str(reply, "warning"));
}

/* Nothing tells whether a SID is a group's, nor what is behind a number, but
 * a principal always is a single account. */
static bool
is_single_account(const char *subject)
{
	return strncmp(subject, "S-1-", 4) != 0 &&
	       strncmp(subject, "cert:", 5) != 0 &&
	       strpbrk(subject, "@\\") != NULL;
}

static void
warn_exchange(struct ctl *c, const char *role, bool single)
{
	if (strcmp(role, "exchange") != 0 || !single)
		return;
	fputs("rmsctl: note: Microsoft asks for a group (such as \"Exchange "
	      "Servers\") with the role exchange: servers under different "
	      "entries may not be able to read each other's content\n",
	      c->err);
}

/* --expires as the connector takes it, checked before anything is sent. */
static int
expires_text(struct ctl *c, const char *in, char out_r[TEXT_MAX])
{
	uint64_t t;

	if (date_parse(in, &t) < 0)
		return ctl_fail(
		    c, CTL_USAGE,
		    "--expires %.60s is not a date: give YYYY-MM-DD, or a time "
		    "like 2027-01-31T18:00:00Z",
		    in);
	text_time(out_r, t);
	if (t <= (uint64_t)time(NULL))
		return ctl_fail(
		    c, CTL_USAGE,
		    "--expires %s is in the past: the entry would let nobody "
		    "in",
		    out_r);
	return CTL_OK;
}

static bool
role_is_known(const char *role)
{
	return strcmp(role, "exchange") == 0 ||
	       strcmp(role, "sharepoint") == 0 || strcmp(role, "fci") == 0;
}

static int
no_such_role(struct ctl *c, const char *role)
{
	return ctl_fail(c, CTL_USAGE,
			"there is no role %.40s: exchange, sharepoint or fci",
			role);
}

static struct conn *
request_add(struct ctl *c, const struct lookup *l, const char *expires)
{
	const char *const *o = c->args->opt;
	const char *name = o[CTL_O_servers_add_name];
	struct conn *k = conn_new("servers add");

	if (k == NULL)
		return NULL;
	conn_arg(k, "subject", l != NULL ? l->found.sid : c->args->pos[0]);
	conn_arg(k, "role", o[CTL_O_servers_add_role]);
	conn_arg(k, "name", name == NULL && l != NULL ? l->name : name);
	conn_arg(k, "note", o[CTL_O_servers_add_note]);
	conn_arg(k, "expires", expires);
	if (o[CTL_O_servers_add_force] != NULL)
		conn_arg(k, "force", "1");
	return k;
}

/* Adds what was found (NULL: the subject as it stands), and shows both. */
static int
add(struct ctl *c, const struct lookup *l, const char *expires)
{
	const char *role = c->args->opt[CTL_O_servers_add_role];
	struct conn *k;
	json_t *reply;
	int r;

	if (l != NULL && !c->json)
		lookup_show(c, l);
	if (l == NULL)
		warn_exchange(c, role, is_single_account(c->args->pos[0]));
	else
		warn_exchange(c, role, l->found.kind != DIR_GROUP);
	k = request_add(c, l, expires);
	r = ask(c, &k, &reply);
	if (r != CTL_OK)
		return r;
	if (l != NULL)
		(void)json_object_set_new(reply, "directory", lookup_json(l));
	if (c->json)
		ctl_print_json(c, reply);
	else
		render_servers_add(c, reply);
	json_decref(reply);
	return CTL_OK;
}

int
verb_servers_add(struct ctl *c)
{
	const char *const *o = c->args->opt;
	const char *role = o[CTL_O_servers_add_role];
	const char *expires = o[CTL_O_servers_add_expires];
	char when[TEXT_MAX];
	struct lookup l;
	bool found;
	int r;

	if (!role_is_known(role))
		return no_such_role(c, role);
	if (expires != NULL && expires_text(c, expires, when) != CTL_OK)
		return CTL_USAGE;
	r = lookup_for_add(c, &l, &found);
	if (r != CTL_OK)
		return r;
	return add(c, found ? &l : NULL, expires != NULL ? when : NULL);
}

/* --expires of an update: "never" is a value of its own. */
static int
update_expires(struct ctl *c, struct conn *k, const char *expires)
{
	char when[TEXT_MAX];

	if (expires == NULL)
		return CTL_OK;
	if (strcmp(expires, "never") == 0 || expires[0] == '\0') {
		conn_arg(k, "expires", "");
		return CTL_OK;
	}
	if (expires_text(c, expires, when) != CTL_OK)
		return CTL_USAGE;
	conn_arg(k, "expires", when);
	return CTL_OK;
}

int
verb_servers_update(struct ctl *c)
{
	const char *const *o = c->args->opt;
	const char *role = o[CTL_O_servers_update_role];
	const char *name = o[CTL_O_servers_update_name];
	const char *note = o[CTL_O_servers_update_note];
	const char *expires = o[CTL_O_servers_update_expires];
	struct conn *k;

	if (role == NULL && name == NULL && note == NULL && expires == NULL)
		return ctl_fail(c, CTL_USAGE,
				"nothing to change: give --role, --name, "
				"--note or --expires");
	if (role != NULL && !role_is_known(role))
		return no_such_role(c, role);
	k = conn_new("servers update");
	if (k != NULL) {
		conn_arg(k, "subject", c->args->pos[0]);
		conn_arg(k, "role", role);
		conn_arg(k, "name", name);
		conn_arg(k, "note", note);
		if (o[CTL_O_servers_update_force] != NULL)
			conn_arg(k, "force", "1");
		if (update_expires(c, k, expires) != CTL_OK) {
			conn_free(&k);
			return CTL_USAGE;
		}
		if (role != NULL)
			warn_exchange(c, role,
				      is_single_account(c->args->pos[0]));
	}
	return ask_show(c, k, render_servers_update);
}

void
render_servers_remove(struct ctl *c, const json_t *reply)
{
	uint64_t left = jget_u64(reply, "servers_left");

	fprintf(c->out, "Entry %" PRIu64 " (", jget_u64(reply, "entry"));
	text_put(c->out, jget_str(reply, "subject"));
	fprintf(c->out, ", %s) is removed; its next request is refused.\n",
		jget_str(reply, "role"));
	render_reach(c, reply);
	if (left == 0)
		fputs("The list is empty now: no server can use the "
		      "connector.\n",
		      c->out);
}

int
verb_servers_remove(struct ctl *c)
{
	struct conn *k = conn_new("servers remove");

	if (k != NULL) {
		conn_arg(k, "subject", c->args->pos[0]);
		if (c->args->opt[CTL_O_servers_remove_force] != NULL)
			conn_arg(k, "force", "1");
	}
	return ask_show(c, k, render_servers_remove);
}
