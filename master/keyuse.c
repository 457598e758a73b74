/*
 * Purpose: remember which keys of the keytab were used, also over restarts.
 *
 * Runs in: the master.
 * Trusts:  the keeper for the numbers; texts are only shown.  A record of the
 *          store that is not one is left out.
 * Touches: its own memory, of a fixed size; the store.
 * Failure: a store that cannot be written costs a line in the log, and the
 *          rows wait.
 *
 *	slot 0			version, since
 *	slot n + 1, row n	version, principal, kvno, enctype, count,
 *				first, last, life
 */
#include "master/keyuse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "master/seen.h"
#include "master/store.h"
#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "shm/base/pack.h"
#include "shm/base/log.h"

/* Counted up with every change of what a record holds; one of another version
 * is not taken in. */
#define RECORD_VERSION 1
#define RECORD_MAX     640

struct keyuse {
	uint64_t since_ns;
	size_t n;
	struct msg_key_use row[KEYUSE_MAX]; /* count 0: none */

	struct store *store; /* NULL: kept in memory only */
	struct loop_timer *timer;
	bool unsaved_since;
	bool unsaved_rows; /* any of: */
	bool unsaved[KEYUSE_MAX];
	bool failing;
};

/* --- in memory --------------------------------------------------------- */

struct keyuse *
keyuse_new(uint64_t now_ns)
{
	struct keyuse *u = calloc(1, sizeof(*u));

	if (u != NULL)
		u->since_ns = now_ns;
	return u;
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
	u->unsaved[r - u->row] = true;
	u->unsaved_rows = true;
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
		if (u->row[i].count > 0)
			fn(arg, &u->row[i]);
}

/* --- in the store ------------------------------------------------------- */

static int
put_record(struct store_seen *into, uint32_t slot, const struct pack *k)
{
	BUG_ON(k->full);
	return store_seen_row(into,
			      (struct seen_key){.kind = SEEN_KEY, .slot = slot},
			      (struct slice){(const char *)k->p, k->len});
}

static int
put_row(struct store_seen *into, uint32_t slot, const struct msg_key_use *r)
{
	uint8_t mem[RECORD_MAX];
	struct pack k;

	pack_init(&k, mem, sizeof(mem));
	pack_u8(&k, RECORD_VERSION);
	pack_str(&k, r->principal);
	pack_u32(&k, r->kvno);
	pack_u32(&k, (uint32_t)r->enctype);
	pack_u64(&k, r->count);
	pack_u64(&k, r->first_ns);
	pack_u64(&k, r->last_ns);
	pack_u64(&k, r->life_s);
	return put_record(into, slot, &k);
}

/* May run again: nothing is counted as saved here. */
static int
fill(void *arg, struct store_seen *into)
{
	struct keyuse *u = arg;
	uint8_t mem[16];
	struct pack k;
	int r = 0;

	if (u->unsaved_since) {
		pack_init(&k, mem, sizeof(mem));
		pack_u8(&k, RECORD_VERSION);
		pack_u64(&k, u->since_ns);
		r = put_record(into, 0, &k);
	}
	for (size_t i = 0; r == 0 && i < u->n; i++)
		if (u->unsaved[i])
			r = put_row(into, (uint32_t)i + 1, &u->row[i]);
	return r;
}

static void
save(struct keyuse *u)
{
	char err[STORE_ERR];
	int r;

	if (!u->unsaved_since && !u->unsaved_rows)
		return;
	r = store_seen_put(u->store, fill, u, err);
	if (r == 0) {
		u->unsaved_since = u->unsaved_rows = false;
		memset(u->unsaved, 0, sizeof(u->unsaved));
	} else if (!u->failing) {
		log_warn("the use of keys could not be stored: %s", err);
	}
	u->failing = r != 0;
}

static void
keyuse_on_time(void *arg)
{
	struct keyuse *u = arg;

	save(u);
	loop_timer_set(u->timer, KEYUSE_KEEP_MS);
}

static void
load_row(struct keyuse *u, uint32_t slot, struct unpack *p)
{
	struct msg_key_use m = {0};

	unpack_str(p, m.principal, sizeof(m.principal));
	m.kvno = unpack_u32(p);
	m.enctype = (int32_t)unpack_u32(p);
	m.count = unpack_u64(p);
	m.first_ns = unpack_u64(p);
	m.last_ns = unpack_u64(p);
	m.life_s = unpack_u64(p);
	if (!unpack_done(p) || slot > KEYUSE_MAX || m.principal[0] == '\0')
		return;
	u->row[slot - 1] = m;
	u->n = MAX(u->n, (size_t)slot);
}

static int
load(void *arg, struct seen_key key, struct slice record)
{
	struct keyuse *u = arg;
	struct unpack p;
	uint64_t since;

	unpack_init(&p, record.p, record.len);
	if (key.kind != SEEN_KEY || unpack_u8(&p) != RECORD_VERSION)
		return 0;
	if (key.slot > 0) {
		load_row(u, key.slot, &p);
		return 0;
	}
	since = unpack_u64(&p);
	if (unpack_done(&p) && since <= u->since_ns) {
		u->since_ns = since;
		u->unsaved_since = false;
	}
	return 0;
}

int
keyuse_keep(struct keyuse *u, struct loop *l, struct store *store)
{
	BUG_ON(u->store != NULL);
	u->timer = loop_timer_new(l, keyuse_on_time, u);
	if (u->timer == NULL)
		return -ENOMEM;
	u->store = store;
	u->unsaved_since = true;
	if (store_seen_each(store, load, u) != 0)
		log_warn("the use of keys cannot be read; it is gathered anew");
	loop_timer_set(u->timer, KEYUSE_KEEP_MS);
	return 0;
}

void
keyuse_free(struct keyuse **up)
{
	struct keyuse *u = *up;

	if (u == NULL)
		return;
	if (u->store != NULL)
		save(u);
	loop_timer_free(&u->timer);
	free(u);
	*up = NULL;
}
