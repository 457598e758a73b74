/*
 * Purpose: transactions of the store: all of a change or nothing, on disk
 *          when the call returns, and a map that grows by itself.
 *
 * Runs in: the master, in its one thread.
 * Trusts:  the other parts of the store.
 * Touches: LMDB.
 * Failure: -errno and a line; nothing has changed then.
 */
#include "master/store_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"

static MDB_val
val_of(struct slice s)
{
	return (MDB_val){s.len, (void *)(uintptr_t)s.p};
}

static struct slice
slice_of_val(const MDB_val *v)
{
	return (struct slice){v->mv_data, v->mv_size};
}

/* --- a change ------------------------------------------------------------ */

/*
 * The line for what LMDB says; the map's end is not yet a failure.  A write
 * that the kernel took in part, which is how the last room of a disk or of a
 * limit goes, is EIO to LMDB, as is a disk that fails.
 */
static int
tx_fail(struct store_tx *tx, int rc)
{
	int r = store_errno(rc);
	const char *hint = "";

	if (rc == MDB_MAP_FULL)
		tx->map_full = true;
	if (r == -ENOSPC)
		hint = "; make room in ";
	else if (r == -EIO)
		hint = "; the disk fails, or is full: look for room in ";
	return store_fail(
	    tx->err, r,
	    "the store could not be written: %s; nothing was changed%s%s",
	    mdb_strerror(rc), hint, hint[0] != '\0' ? tx->st->dir : "");
}

int
store_tx_get(struct store_tx *tx, enum store_db db, struct slice key,
	     struct slice *value_r)
{
	MDB_val k = val_of(key), v;
	int rc = mdb_get(tx->txn, tx->st->db[db], &k, &v);

	*value_r = (struct slice){"", 0};
	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	if (rc != 0)
		return tx_fail(tx, rc);
	*value_r = slice_of_val(&v);
	return 0;
}

/*
 * Room for one more note, made before the old value is looked at: a row of
 * history written in between would end its life.
 */
static int
tx_room(struct store_tx *tx)
{
	if (tx->log.size - tx->log.len >= 2 * STORE_RECORD_MAX + 1024)
		return 0;
	return store_history_put(tx, false);
}

/*
 * Notes a change for the history: database, key, then old and new value, each
 * behind a byte that says whether there is one.
 */
static void
tx_note(struct store_tx *tx, enum store_db db, struct slice key,
	const struct slice *old, const struct slice *new)
{
	const struct slice none = {"", 0};

	pack_u8(&tx->log, (uint8_t)db);
	pack_slice(&tx->log, key);
	pack_u8(&tx->log, old != NULL);
	pack_slice(&tx->log, old == NULL ? none : *old);
	pack_u8(&tx->log, new != NULL);
	pack_slice(&tx->log, new == NULL ? none : *new);
	BUG_ON(tx->log.full);
	tx->changed++;
}

/* The value that is there now: 0, -ENOENT, or a failure. */
static int
tx_old(struct store_tx *tx, enum store_db db, struct slice key,
       struct slice *old_r)
{
	int r = tx_room(tx);

	BUG_ON(tx->aside || db == DB_META || db >= DB_HISTORY ||
	       key.len > SUBJECT_MAX + 1);
	if (r == 0)
		r = store_tx_get(tx, db, key, old_r);
	if (r == 0 && old_r->len > STORE_RECORD_MAX)
		return tx_fail(tx, MDB_CORRUPTED);
	return r;
}

int
store_tx_put(struct store_tx *tx, enum store_db db, struct slice key,
	     struct slice value)
{
	MDB_val k = val_of(key), v = val_of(value);
	struct slice old;
	int rc, r = tx_old(tx, db, key, &old);

	BUG_ON(value.len > STORE_RECORD_MAX);
	if (r != 0 && r != -ENOENT)
		return r;
	if (r == 0 && slice_eq(old, value))
		return 0;
	tx_note(tx, db, key, r == 0 ? &old : NULL, &value);
	rc = mdb_put(tx->txn, tx->st->db[db], &k, &v, 0);
	return rc == 0 ? 0 : tx_fail(tx, rc);
}

int
store_tx_del(struct store_tx *tx, enum store_db db, struct slice key)
{
	MDB_val k = val_of(key);
	struct slice old;
	int rc, r = tx_old(tx, db, key, &old);

	if (r != 0)
		return r;
	tx_note(tx, db, key, &old, NULL);
	rc = mdb_del(tx->txn, tx->st->db[db], &k, NULL);
	return rc == 0 ? 0 : tx_fail(tx, rc);
}

int
store_tx_put_seen(struct store_tx *tx, struct slice key, struct slice value)
{
	struct store *st = tx->st;
	MDB_val k = val_of(key), v = val_of(value);
	int rc = 0;

	BUG_ON(!tx->aside || key.len > SUBJECT_MAX + 1 ||
	       value.len > STORE_SEEN_MAX);
	if (!st->has_seen && !tx->made_seen) {
		rc = mdb_dbi_open(tx->txn, store_db_name(DB_SEEN), MDB_CREATE,
				  &st->db[DB_SEEN]);
		tx->made_seen = rc == 0;
	}
	if (rc == 0)
		rc = mdb_put(tx->txn, st->db[DB_SEEN], &k, &v, 0);
	if (rc != 0)
		return tx_fail(tx, rc);
	tx->changed++;
	return 0;
}

static int
meta_put(struct store_tx *tx, const char *name, const struct pack *k)
{
	MDB_val key = val_of(slice_of(name)), v = {k->len, k->p};
	int rc;

	BUG_ON(k->full);
	rc = mdb_put(tx->txn, tx->st->db[DB_META], &key, &v, 0);
	return rc == 0 ? 0 : tx_fail(tx, rc);
}

int
store_tx_number(struct store_tx *tx, const char *kind, uint32_t *id_r)
{
	char name[32];
	uint8_t mem[4];
	struct pack k;
	struct unpack u;
	struct slice v;
	uint32_t id = 1;
	int r;

	(void)snprintf(name, sizeof(name), "next-%s", kind);
	r = store_tx_get(tx, DB_META, slice_of(name), &v);
	if (r == 0) {
		unpack_init(&u, v.p, v.len);
		id = unpack_u32(&u);
		if (!unpack_done(&u) || id == 0)
			return tx_fail(tx, MDB_CORRUPTED);
	} else if (r != -ENOENT) {
		return r;
	}
	if (id == UINT32_MAX)
		return store_fail(tx->err, -ENOSPC,
				  "every number for a %s has been used", kind);
	pack_init(&k, mem, sizeof(mem));
	pack_u32(&k, id + 1);
	*id_r = id;
	return meta_put(tx, name, &k);
}

/* Generation and history: the end of every change. */
static int
tx_finish(struct store_tx *tx)
{
	uint8_t mem[8];
	struct pack k;
	int r = store_history_put(tx, true);

	if (r == 0)
		r = store_history_trim(tx);
	pack_init(&k, mem, sizeof(mem));
	pack_u64(&k, tx->generation);
	return r != 0 ? r : meta_put(tx, "generation", &k);
}

/*
 * A commit that failed has changed nothing, with one exception: when the last
 * write (LMDB's meta page) reports an error, LMDB refuses all further work.
 * Then the file is opened anew, and its generation tells what became of it.
 */
static int
tx_commit_failed(struct store_tx *tx, int rc)
{
	int r = tx_fail(tx, rc);
	char why[STORE_ERR];
	MDB_txn *probe;

	if (tx->map_full)
		return r;
	rc = mdb_txn_begin(tx->st->env, NULL, MDB_RDONLY, &probe);
	if (rc == 0) {
		mdb_txn_abort(probe);
		return r;
	}
	log_err("store: %s; opening it again", tx->err);
	if (store_reopen(tx->st, why) != 0) {
		log_err("%s", why);
		return r;
	}
	return tx->st->generation == tx->generation ? 0 : r;
}

static int
tx_begin(struct store_tx *tx)
{
	struct store *st = tx->st;
	int r, rc = MDB_PANIC;

	if (st->env != NULL)
		rc = mdb_txn_begin(st->env, NULL, 0, &tx->txn);
	if (rc == MDB_PANIC) {
		r = store_reopen(st, tx->err);
		if (r != 0)
			return r;
		rc = mdb_txn_begin(st->env, NULL, 0, &tx->txn);
	}
	if (rc != 0)
		return tx_fail(tx, rc);
	/* What went aside has no generation that would tell it is there. */
	tx->generation = tx->aside ? UINT64_MAX : st->generation + 1;
	tx->when = clock_real_ns();
	pack_init(&tx->log, st->changes, sizeof(st->changes));
	sbuf_init(&tx->what, tx->what_text, sizeof(tx->what_text));
	return 0;
}

static int
tx_run(struct store_tx *tx, store_change_fn *fn, void *arg)
{
	int rc, r = tx_begin(tx);

	if (r != 0)
		return r;
	r = fn(tx, arg);
	if (r == 0 && tx->changed > 0 && !tx->aside)
		r = tx_finish(tx);
	if (r != 0 || tx->changed == 0) {
		mdb_txn_abort(tx->txn);
		return r;
	}
	rc = mdb_txn_commit(tx->txn);
	r = rc == 0 ? 0 : tx_commit_failed(tx, rc);
	if (r == 0 && !tx->aside)
		tx->st->generation = tx->generation;
	if (r == 0 && tx->made_seen)
		tx->st->has_seen = true;
	return r;
}

/* --- the map ----------------------------------------------------------------
 */

/* Twice the room.  No transaction may be open: the map moves. */
static int
map_grow(struct store *st, char *err)
{
	size_t old = st->map_size, size = MIN(old * 2, st->map_max);
	char why[STORE_ERR];
	int rc;

	BUG_ON(st->readers > 0);
	if (old >= st->map_max)
		return store_fail(
		    err, -ENOSPC,
		    "the store has reached its largest size, %zu MiB; nothing "
		    "was changed; remove what is not needed",
		    old >> 20);
	rc = mdb_env_set_mapsize(st->env, size);
	if (rc == 0) {
		st->map_size = size;
		log_info("store: map grown to %zu MiB", size >> 20);
		return 0;
	}
	/* The old map is gone by now; reopening maps the old size. */
	(void)store_fail(
	    err, store_errno(rc),
	    "the store's map cannot grow to %zu MiB: %s; nothing was changed; "
	    "raise the limit of address space",
	    size >> 20, mdb_strerror(rc));
	if (store_reopen(st, why) != 0)
		log_err("%s", why);
	return store_errno(rc);
}

static int
tx_until_it_fits(struct store *st, const struct store_author *who,
		 store_change_fn *fn, void *arg, char *err)
{
	struct store_tx tx;
	int r;

	BUG_ON(st->readers > 0); /* a callback of a reader must not write */
	do {
		err[0] = '\0';
		tx = (struct store_tx){
		    .st = st, .err = err, .who = who, .aside = who == NULL};
		r = tx_run(&tx, fn, arg);
		if (!tx.map_full)
			return r;
		r = map_grow(st, err);
	} while (r == 0);
	return r;
}

void
store_expect(struct store *st, size_t bytes)
{
	uint64_t used, size;
	char err[STORE_ERR];

	if (st->env == NULL)
		return;
	for (;;) {
		store_space(st, &used, &size);
		if (size == 0 || size - MIN(used, size) >= bytes ||
		    st->map_size * 2 > st->map_max || map_grow(st, err) != 0)
			return; /* what fails here is told by the change */
	}
}

int
store_change(struct store *st, const struct store_author *who,
	     store_change_fn *fn, void *arg, char *err)
{
	BUG_ON(who == NULL);
	return tx_until_it_fits(st, who, fn, arg, err);
}

int
store_aside(struct store *st, store_change_fn *fn, void *arg, char *err)
{
	return tx_until_it_fits(st, NULL, fn, arg, err);
}

/* --- reading ----------------------------------------------------------------
 */

int
store_read_begin(struct store *st, struct store_read *rd_r)
{
	char why[STORE_ERR];
	int r, rc = MDB_PANIC;

	*rd_r = (struct store_read){.st = st};
	if (st->env != NULL)
		rc = mdb_txn_begin(st->env, NULL, MDB_RDONLY, &rd_r->txn);
	if (rc == MDB_PANIC && st->readers == 0) {
		r = store_reopen(st, why);
		if (r != 0) {
			log_err("%s", why);
			return r;
		}
		rc = mdb_txn_begin(st->env, NULL, MDB_RDONLY, &rd_r->txn);
	}
	if (rc != 0) {
		log_err("store cannot be read: %s", mdb_strerror(rc));
		return store_errno(rc);
	}
	st->readers++;
	return 0;
}

void
store_read_end(struct store_read *rd)
{
	BUG_ON(rd->st->readers == 0);
	mdb_txn_abort(rd->txn);
	rd->st->readers--;
}

static int
read_fail(int rc)
{
	log_err("store cannot be read: %s", mdb_strerror(rc));
	return store_errno(rc);
}

int
store_read_get(struct store_read *rd, enum store_db db, struct slice key,
	       struct slice *value_r)
{
	MDB_val k = val_of(key), v;
	int rc = mdb_get(rd->txn, rd->st->db[db], &k, &v);

	*value_r = (struct slice){"", 0};
	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	if (rc != 0)
		return read_fail(rc);
	*value_r = slice_of_val(&v);
	return 0;
}

int
store_read_each(struct store_read *rd, enum store_db db, store_row_fn *fn,
		void *arg)
{
	return store_read_from(rd, db, (struct slice){"", 0}, fn, arg);
}

int
store_read_from(struct store_read *rd, enum store_db db, struct slice from,
		store_row_fn *fn, void *arg)
{
	MDB_cursor *c;
	MDB_val k = val_of(from), v;
	int r = 0, rc = mdb_cursor_open(rd->txn, rd->st->db[db], &c);

	if (rc != 0)
		return read_fail(rc);
	for (rc = mdb_cursor_get(c, &k, &v,
				 from.len == 0 ? MDB_FIRST : MDB_SET_RANGE);
	     rc == 0 && r == 0;
	     rc = r == 0 ? mdb_cursor_get(c, &k, &v, MDB_NEXT) : 0)
		r = fn(arg, slice_of_val(&k), slice_of_val(&v));
	mdb_cursor_close(c);
	if (r == 0 && rc != MDB_NOTFOUND)
		r = read_fail(rc);
	return r;
}
