/*
 * Purpose: edits of the list of servers: one entry, or a whole file of them,
 *          in one transaction that somebody may object to before it is
 *          committed.
 *
 * An import looks at every record before it gives up, so that all faults are
 * told at once.  What the records name is noted as pairs of number and line;
 * sorted, they tell what is named twice, and what is named by none.
 *
 * Runs in: the master, in its one thread.
 * Trusts:  nobody: records are checked as any entry is.
 * Touches: LMDB.
 * Failure: -errno and a line; nothing has changed then.
 */
#include "master/store_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "master/wide.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

struct named {
	uint32_t id, line;
};

struct editing {
	struct store_edit *e;
	struct named *named; /* of an import, owned */
	size_t n, room;
	size_t nbad;
	uint32_t first_new; /* number of the first that was added; 0 none */
};

/* --- what it comes to ---------------------------------------------------- */

static int
see_live(void *arg, const struct store_server *s)
{
	uint64_t now_s = *(uint64_t *)arg;

	return s->expires == 0 || s->expires > now_s;
}

/* How many entries there are, and whether one of them still holds. */
static int
measure(struct store_tx *tx, size_t *n_r, bool *live_r)
{
	struct store_read rd = {.st = tx->st, .txn = tx->txn};
	uint64_t now_s = tx->when / NS_PER_S;
	int r = store_servers_number(tx, n_r);

	if (r == 0)
		r = store_servers_walk(&rd, 0, see_live, &now_s);
	*live_r = r == 1;
	return r < 0 ? store_fail(tx->err, r, "the store cannot be read: %s",
				  strerror(-r))
		     : 0;
}

static bool
is_later(uint64_t expires, uint64_t than)
{
	return than != 0 && (expires == 0 || expires > than);
}

/* Does it give the role exchange to everybody, or for longer? */
static bool
is_widening(const struct store_server *was, const struct store_server *now)
{
	if (now->role != SERVER_EXCHANGE ||
	    wide_group(slice_of(now->subject)) == NULL)
		return false;
	return was == NULL || was->role != SERVER_EXCHANGE ||
	       is_later(now->expires, was->expires);
}

static void
note(struct store_edit *e, const struct store_server *was,
     const struct store_server *now)
{
	struct store_effect *f = &e->effect;

	if (was == NULL)
		f->added++;
	else if (now == NULL)
		f->removed++;
	else
		f->changed++;
	if (now != NULL && is_widening(was, now) && f->wide++ == 0)
		f->first_wide = *now;
	if (e->import != NULL && e->import->note != NULL)
		e->import->note(e->import->arg, was, now);
}

/* --- one entry ----------------------------------------------------------- */

static int
edit_add(struct store_tx *tx, struct store_edit *e)
{
	struct store_read rd = {.st = tx->st, .txn = tx->txn};
	struct store_subject s;
	uint32_t id;
	int r = store_server_add_tx(tx, e->in, &id);

	if (r == 0)
		r = store_subject_parse(slice_of(e->in->subject), &s, tx->err);
	if (r == 0)
		r = store_server_by_subject(&rd, &s, &e->server);
	if (r == 0)
		note(e, NULL, &e->server);
	return r;
}

static void
take_fields(struct store_server *to, const struct store_server *from,
	    unsigned fields)
{
	if ((fields & STORE_FIELD_ROLE) != 0)
		to->role = from->role;
	if ((fields & STORE_FIELD_EXPIRES) != 0)
		to->expires = from->expires;
	if ((fields & STORE_FIELD_NAME) != 0)
		memcpy(to->name, from->name, sizeof(to->name));
	if ((fields & STORE_FIELD_NOTE) != 0)
		memcpy(to->note, from->note, sizeof(to->note));
}

static bool
is_same(const struct store_server *a, const struct store_server *b)
{
	return a->role == b->role && a->expires == b->expires &&
	       strcmp(a->name, b->name) == 0 && strcmp(a->note, b->note) == 0;
}

static int
change(struct store_tx *tx, struct store_edit *e,
       const struct store_server *was, const struct store_server *now)
{
	struct store_subject s;
	int r = store_server_check(now, &s, tx->err);

	if (r == 0)
		r = store_server_put_tx(tx, now, &s);
	if (r == 0)
		note(e, was, now);
	return r;
}

static int
edit_update(struct store_tx *tx, struct store_edit *e)
{
	struct store_read rd = {.st = tx->st, .txn = tx->txn};
	struct store_server was;
	int r = store_server_by_text(&rd, e->which, &was, tx->err);

	if (r != 0)
		return r;
	e->server = was;
	take_fields(&e->server, e->in, e->fields);
	if (is_same(&was, &e->server)) {
		e->effect.same++;
		return 0;
	}
	store_server_what(tx, "update", &e->server);
	return change(tx, e, &was, &e->server);
}

static int
edit_remove(struct store_tx *tx, struct store_edit *e)
{
	struct store_read rd = {.st = tx->st, .txn = tx->txn};
	int r = store_server_by_text(&rd, e->which, &e->server, tx->err);

	if (r == 0) {
		store_server_what(tx, "remove", &e->server);
		r = store_server_del_tx(tx, &e->server);
	}
	if (r == 0)
		note(e, &e->server, NULL);
	return r;
}

/* --- a file of them ------------------------------------------------------ */

static void
bad(struct editing *d, uint32_t line, const char *why)
{
	d->nbad++;
	d->e->import->bad(d->e->import->arg, line, why);
}

static int
remember(struct editing *d, uint32_t id, uint32_t line)
{
	size_t room = d->room == 0 ? 1024 : d->room * 2;
	struct named *more;

	if (d->n == d->room) {
		more = reallocarray(d->named, room, sizeof(*more));
		if (more == NULL)
			return -ENOMEM;
		d->named = more;
		d->room = room;
	}
	d->named[d->n++] = (struct named){id, line};
	return 0;
}

static int
import_there(struct store_tx *tx, struct editing *d,
	     const struct store_server *in, const struct store_server *was,
	     uint32_t line)
{
	struct store_server now = *was;
	char why[STORE_ERR];

	/* Named twice, by this file: import_twice() says so. */
	if (d->first_new != 0 && was->id >= d->first_new)
		return 0;
	take_fields(&now, in, ~0U);
	if (is_same(was, &now)) {
		d->e->effect.same++;
		return 0;
	}
	if (d->e->import->merge != STORE_MERGE_ADD)
		return change(tx, d->e, was, &now);
	snprintf(why, sizeof(why),
		 "%.300s is entry %u already, with another %s; use --update to "
		 "change it",
		 was->subject, was->id,
		 was->role != now.role		    ? "role"
		 : was->expires != now.expires	    ? "end"
		 : strcmp(was->name, now.name) != 0 ? "name"
						    : "note");
	bad(d, line, why);
	return 0;
}

/* 0 also for one that is bad: that is noted. */
static int
import_one(struct store_tx *tx, struct editing *d,
	   const struct store_server *in, uint32_t line)
{
	struct store_read rd = {.st = tx->st, .txn = tx->txn};
	struct store_subject s;
	struct store_server was, now = *in;
	int r = store_server_check(in, &s, tx->err);

	if (r == -EINVAL) {
		bad(d, line, tx->err);
		return 0;
	}
	if (r != 0)
		return r;
	if (in->expires != 0 && in->expires <= tx->when / NS_PER_S)
		d->e->effect.expired++;
	r = store_server_by_subject(&rd, &s, &was);
	if (r == 0) {
		now.id = was.id;
		r = import_there(tx, d, in, &was, line);
	} else if (r == -ENOENT) {
		r = store_server_add_tx(tx, in, &now.id);
		if (r == 0 && d->first_new == 0)
			d->first_new = now.id;
		now.added = tx->when;
		if (r == 0 &&
		    store_subject_text(
			s.kind, (struct slice){(const char *)s.key, s.len},
			now.subject) == 0)
			note(d->e, NULL, &now);
	}
	return r != 0 ? r : remember(d, now.id, line);
}

static int
by_id(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

static void
import_twice(struct editing *d)
{
	char why[STORE_ERR];

	for (size_t i = 1; i < d->n; i++) {
		if (d->named[i].id != d->named[i - 1].id)
			continue;
		snprintf(why, sizeof(why),
			 "the subject is that of line %u: leave one of them",
			 d->named[i - 1].line);
		bad(d, d->named[i].line, why);
	}
}

/* What the records do not name, collected first: a cursor does not like the
 * rows to go from under it. */
struct unnamed {
	const struct editing *d;
	size_t at; /* in d->named */
	struct editing out;
};

static int
collect_unnamed(void *arg, const struct store_server *s)
{
	struct unnamed *u = arg;

	while (u->at < u->d->n && u->d->named[u->at].id < s->id)
		u->at++;
	if (u->at < u->d->n && u->d->named[u->at].id == s->id)
		return 0;
	return remember(&u->out, s->id, 0);
}

static int
import_remove(struct store_tx *tx, struct editing *d)
{
	struct store_read rd = {.st = tx->st, .txn = tx->txn};
	struct unnamed u = {.d = d};
	struct store_server there;
	char id[16];
	int r = store_servers_walk(&rd, 0, collect_unnamed, &u);

	for (size_t i = 0; r == 0 && i < u.out.n; i++) {
		snprintf(id, sizeof(id), "%u", u.out.named[i].id);
		r = store_server_by_text(&rd, id, &there, tx->err);
		if (r == 0)
			r = store_server_del_tx(tx, &there);
		if (r == 0)
			note(d->e, &there, NULL);
	}
	free(u.out.named);
	return r;
}

static int
edit_import(struct store_tx *tx, struct editing *d)
{
	const struct store_import *i = d->e->import;
	struct store_effect *f = &d->e->effect;
	struct store_server in;
	uint32_t line;
	int r;

	i->rewind(i->arg);
	d->n = d->nbad = d->first_new = 0;
	while ((r = i->next(i->arg, &in, &line)) == 1) {
		r = import_one(tx, d, &in, line);
		if (r != 0)
			return r;
	}
	if (r != 0)
		return r;
	if (d->n > 0)
		qsort(d->named, d->n, sizeof(*d->named), by_id);
	import_twice(d);
	if (d->nbad > 0)
		return store_fail(
		    tx->err, -EINVAL,
		    "%zu of the entries cannot be taken; nothing was changed",
		    d->nbad);
	if (i->merge == STORE_MERGE_REPLACE)
		r = import_remove(tx, d);
	tx->what.len = 0;
	sbuf_fmt(&tx->what,
		 "import %.100s: %zu added, %zu changed, %zu removed", i->from,
		 f->added, f->changed, f->removed);
	return r;
}

/* --- all of it ------------------------------------------------------------ */

static int
edit_run(struct store_tx *tx, struct editing *d)
{
	switch (d->e->kind) {
	case STORE_EDIT_ADD:
		return edit_add(tx, d->e);
	case STORE_EDIT_UPDATE:
		return edit_update(tx, d->e);
	case STORE_EDIT_REMOVE:
		return edit_remove(tx, d->e);
	case STORE_EDIT_IMPORT:
		return edit_import(tx, d);
	default:
		BUG_ON(true);
	}
	return -EINVAL;
}

/* A -errno without a line of its own. */
static int
edit_failed(struct store_tx *tx, int r)
{
	if (tx->err[0] != '\0' || r == 0)
		return r;
	return store_fail(tx->err, r, "the list could not be changed: %s",
			  strerror(-r));
}

static int
edit_change(struct store_tx *tx, void *arg)
{
	struct editing *d = arg;
	struct store_edit *e = d->e;
	struct store_effect *f = &e->effect;
	int r;

	*f = (struct store_effect){0};
	r = measure(tx, &f->before, &f->live_before);
	if (r == 0)
		r = edit_failed(tx, edit_run(tx, d));
	if (r == 0)
		r = measure(tx, &f->after, &f->live_after);
	if (r == 0 && e->judge != NULL)
		r = e->judge(e->arg, e, tx->err);
	if (r == 0 && e->dry_run)
		return -ECANCELED; /* caught below */
	return r;
}

int
store_edit(struct store *st, struct store_edit *e,
	   const struct store_author *who, char err[STORE_ERR])
{
	struct editing d = {.e = e};
	int r;

	/* Record, index and history, in pages that are not full: 2.6 times
	 * what 100,000 SIDs with names and notes have. */
	if (e->kind == STORE_EDIT_IMPORT)
		store_expect(st, 4 * e->import->bytes);
	r = store_change(st, who, edit_change, &d, err);

	free(d.named);
	return e->dry_run && r == -ECANCELED ? 0 : r;
}
