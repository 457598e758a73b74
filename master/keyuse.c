/*
 * Purpose: remember which keys of the keytab were used.
 *
 * Runs in: the master.
 * Trusts:  the keeper for the numbers; texts are only shown.
 * Touches: its own memory, of a fixed size.
 * Failure: none.
 */
#include "master/keyuse.h"

#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"

struct keyuse {
	uint64_t since_ns;
	size_t n;
	struct msg_key_use row[KEYUSE_MAX];
};

struct keyuse *
keyuse_new(uint64_t now_ns)
{
	struct keyuse *u = calloc(1, sizeof(*u));

	if (u != NULL)
		u->since_ns = now_ns;
	return u;
}

void
keyuse_free(struct keyuse **u)
{
	free(*u);
	*u = NULL;
}

static struct msg_key_use *
row_of(struct keyuse *u, const struct msg_key_use *m)
{
	struct msg_key_use *oldest = &u->row[0], *r;

	for (size_t i = 0; i < u->n; i++) {
		r = &u->row[i];
		if (r->kvno == m->kvno && r->enctype == m->enctype &&
		    strcmp(r->principal, m->principal) == 0)
			return r;
		if (r->last_ns < oldest->last_ns)
			oldest = r;
	}
	r = u->n < KEYUSE_MAX ? &u->row[u->n++] : oldest;
	*r = *m;
	r->count = 0;
	return r;
}

void
keyuse_add(struct keyuse *u, const struct msg_key_use *m)
{
	struct msg_key_use *r = row_of(u, m);

	r->count += m->count;
	r->first_ns = MIN(r->first_ns, m->first_ns);
	r->last_ns = MAX(r->last_ns, m->last_ns);
	r->life_s = MAX(r->life_s, m->life_s);
}

uint64_t
keyuse_since(const struct keyuse *u)
{
	return u->since_ns;
}

void
keyuse_each(const struct keyuse *u,
	    void (*fn)(void *arg, const struct msg_key_use *row), void *arg)
{
	for (size_t i = 0; i < u->n; i++)
		fn(arg, &u->row[i]);
}
