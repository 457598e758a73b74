/*
 * Purpose: the guard before every change of the list of servers, and what
 *          follows one.
 *
 * Runs in: the master.
 * Trusts:  the store's account of what the change comes to; nobody for the
 *          wish to make it.
 * Touches: the store, the published table, events.
 * Failure: -errno with a line; nothing was changed unless the line says so.
 */
#include "master/control_edit.h"

#include <errno.h>
#include <stdio.h>

#include "master/event.h"
#include "master/publish.h"
#include "master/wide.h"
#include "shm/base/log.h"

#define REFUSED 2120
#define FORCED	2121

uint64_t
control_generation(struct master *m)
{
	const struct table *t = publish_table_now(m->publish);

	return t == NULL ? 0 : table_generation(t);
}

static bool
is_emptying(const struct store_effect *f)
{
	return (f->before > 0 && f->after == 0) ||
	       (f->live_before && !f->live_after);
}

void
control_edit_danger(const struct store_edit *e, char text_r[STORE_ERR])
{
	const struct store_effect *f = &e->effect;
	const struct store_server *w = &f->first_wide;
	const struct wide_group *g = wide_group(slice_of(w->subject));
	struct sbuf b;

	sbuf_init(&b, text_r, STORE_ERR);
	if (is_emptying(f) && e->kind == STORE_EDIT_REMOVE)
		sbuf_fmt(&b, "%.120s is the last server: without it ",
			 e->server.subject);
	if (is_emptying(f))
		sbuf_str(&b, "no server could use the connector");
	if (f->wide == 0 || g == NULL)
		return;
	sbuf_fmt(&b,
		 "%s%.60s is %s: every account in it would read all protected "
		 "content as a super user",
		 b.len > 0 ? "; " : "", w->subject, g->name);
	if (f->wide > 1)
		sbuf_fmt(&b, ", and %zu more like it", f->wide - 1);
}

static int
judge(void *arg, const struct store_edit *e, char err[STORE_ERR])
{
	struct control_call *c = arg;
	char danger[STORE_ERR];
	struct sbuf b;

	control_edit_danger(e, danger);
	if (danger[0] == '\0' || e->dry_run ||
	    control_request_flag(c->req, "force"))
		return 0;
	sbuf_init(&b, err, STORE_ERR);
	sbuf_str(&b, danger);
	sbuf_str(&b, e->effect.wide > 0
			 ? "; authorize a group of the servers, or use --force"
			 : "; use --force if that is meant");
	return -EAGAIN;
}

/* Of a refused or a forced danger. */
static void
tell(struct control_call *c, uint32_t id, const struct store_edit *e)
{
	bool wide = e->effect.wide > 0;
	const struct store_server *s =
	    wide ? &e->effect.first_wide : &e->server;
	/* An import is about one entry only when that one is wide. */
	bool one = wide || e->kind != STORE_EDIT_IMPORT;
	/* What a refused edit would have added has no number. */
	bool number = one && (id == FORCED || e->kind == STORE_EDIT_UPDATE ||
			      e->kind == STORE_EDIT_REMOVE);
	char danger[STORE_ERR];
	struct event_args a = {
	    .id = id,
	    .author = slice_of(c->author.name),
	    .entry = number ? s->id : 0,
	    .role = one ? server_role_name(s->role) : "",
	    .account = slice_of(one ? s->subject : ""),
	};

	control_edit_danger(e, danger);
	a.reason = slice_of(danger);
	event_tell(c->m->events, &a);
}

/* The change is stored; brings it into force. */
static int
bring_into_force(struct control_call *c, unsigned *relays_r)
{
	char err[MASTER_ERR];
	int r = master_servers_changed(c->m, &c->author, relays_r, err);

	if (r != 0)
		snprintf(c->err, sizeof(c->err), "stored, but: %.900s", err);
	return r;
}

int
control_edit(struct control_call *c, struct store_edit *e, unsigned *relays_r)
{
	char danger[STORE_ERR];
	int r;

	*relays_r = 0;
	e->judge = judge;
	e->arg = c;
	r = store_edit(c->m->store, e, &c->author, c->err);
	if (r == -EAGAIN) { /* of judge(): LMDB has no such errno */
		tell(c, REFUSED, e);
		return r;
	}
	if (r != 0)
		return control_store_failed(c, r);
	if (e->dry_run ||
	    e->effect.added + e->effect.changed + e->effect.removed == 0)
		return 0;
	control_edit_danger(e, danger);
	if (danger[0] != '\0')
		tell(c, FORCED, e);
	return bring_into_force(c, relays_r);
}
