/*
 * Purpose: rows about accounts that were seen, beside what the organisation
 *          has set.
 *
 * Runs in: the master.
 * Trusts:  the other parts of the store; what is in a record it does not read.
 * Touches: LMDB.
 * Failure: -errno and a line; no row of the batch is there then.
 *
 *	seen	kind u8, slot u32 -> version, what seen_record.c writes
 */
#include "master/store_priv.h"

#include <errno.h>

#include "master/seen.h"
#include "shm/base/log.h"

#define KEY_BYTES 5

_Static_assert(SEEN_RECORD_MAX <= STORE_SEEN_MAX, "it fits a row");

struct store_seen {
	struct store_tx *tx;
	int (*fill)(void *arg, struct store_seen *w);
	void *arg;
};

static int
fill_tx(struct store_tx *tx, void *arg)
{
	struct store_seen *w = arg;

	w->tx = tx;
	return w->fill(w->arg, w);
}

int
store_seen_put(struct store *st, int (*fill)(void *arg, struct store_seen *w),
	       void *arg, char err[STORE_ERR])
{
	struct store_seen w = {.fill = fill, .arg = arg};

	return store_aside(st, fill_tx, &w, err);
}

int
store_seen_row(struct store_seen *w, struct seen_key key, struct slice record)
{
	struct store_id_key id;
	char mem[KEY_BYTES] = {(char)key.kind};

	memcpy(mem + 1, store_id_slice(key.slot, &id).p, sizeof(id.p));
	return store_tx_put_seen(w->tx, (struct slice){mem, sizeof(mem)},
				 record);
}

struct each {
	int (*fn)(void *arg, struct seen_key key, struct slice record);
	void *arg;
};

static int
each_row(void *arg, struct slice key, struct slice record)
{
	const struct each *e = arg;
	struct seen_key k;

	if (key.len != KEY_BYTES)
		return 0; /* of another version */
	k.kind = (enum seen_kind)(unsigned char)key.p[0];
	k.slot = store_id_of((struct slice){key.p + 1, KEY_BYTES - 1});
	return e->fn(e->arg, k, record);
}

int
store_seen_each(struct store *st,
		int (*fn)(void *arg, struct seen_key key, struct slice record),
		void *arg)
{
	struct each e = {fn, arg};
	struct store_read rd;
	int r = store_read_begin(st, &rd);

	if (r != 0)
		return r;
	if (st->has_seen)
		r = store_read_each(&rd, DB_SEEN, each_row, &e);
	store_read_end(&rd);
	return r;
}
