/*
 * Purpose: count the tickets of each key.
 *
 * Runs in: the keeper.
 * Trusts:  the identity, which the library has found right; version and type
 *          of its key are the ticket's clear part: nothing is decided by them.
 * Touches: its own memory.
 * Failure: none.
 */
#include "worker/keeper/key_use.h"

#include <stdlib.h>

#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "shm/base/str.h"
#include "shm/base/log.h"

struct key_use {
	void (*tell)(void *arg, const struct msg_key_use *m);
	void *arg;
	struct loop_timer *timer;
	bool waits;
	size_t n;
	struct msg_key_use row[KEY_USE_MAX]; /* count 0: told */
};

static void
key_use_on_time(void *arg)
{
	struct key_use *u = arg;

	u->waits = false;
	for (size_t i = 0; i < u->n; i++) {
		if (u->row[i].count == 0)
			continue;
		u->tell(u->arg, &u->row[i]);
		u->row[i].count = 0;
	}
}

struct key_use *
key_use_new(struct loop *l,
	    void (*tell)(void *arg, const struct msg_key_use *m), void *arg)
{
	struct key_use *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return NULL;
	u->tell = tell;
	u->arg = arg;
	u->timer = loop_timer_new(l, key_use_on_time, u);
	if (u->timer == NULL)
		key_use_free(&u);
	return u;
}

void
key_use_free(struct key_use **u)
{
	if (*u == NULL)
		return;
	loop_timer_free(&(*u)->timer);
	free(*u);
	*u = NULL;
}

/* The row of this key; a new one takes the place of the oldest. */
static struct msg_key_use *
row_of(struct key_use *u, const struct identity *id)
{
	struct msg_key_use *oldest = &u->row[0], *r;

	for (size_t i = 0; i < u->n; i++) {
		r = &u->row[i];
		if (r->kvno == id->kvno && r->enctype == id->enctype &&
		    strcmp(r->principal, id->spn) == 0)
			return r;
		if (r->last_ns < oldest->last_ns)
			oldest = r;
	}
	r = u->n < KEY_USE_MAX ? &u->row[u->n++] : oldest;
	if (r->count > 0)
		u->tell(u->arg, r);
	*r = (struct msg_key_use){.kvno = id->kvno, .enctype = id->enctype};
	str_cut(r->principal, sizeof(r->principal), slice_of(id->spn));
	return r;
}

void
key_use_note(struct key_use *u, const struct identity *id, uint64_t now_ns)
{
	uint64_t now_s = now_ns / NS_PER_S;
	struct msg_key_use *r;

	if (id->mech != MECH_KERBEROS || id->enctype == 0 || id->spn[0] == '\0')
		return;
	r = row_of(u, id);
	if (r->count == 0) {
		r->first_ns = now_ns;
		r->life_s = 0;
	}
	r->count++;
	r->last_ns = now_ns;
	if (id->expires > now_s)
		r->life_s = MAX(r->life_s, id->expires - now_s);
	if (!u->waits) {
		u->waits = true;
		loop_timer_set(u->timer, KEY_USE_TELL_MS);
	}
}
