/*
 * Purpose: who changed what and when, with all that is needed to take it back.
 *
 * A row's key is generation (u64) and part (u32), big-endian; its value:
 *	version u8 (1), when u64, author, text, parts u32, changes
 * Parts 1..n come first and hold changes only; part 0 has the rest of them,
 * and alone author, text and n.  Secrets stand in it as they stand in their
 * record, sealed.
 *
 * Runs in: the master, in its one thread.
 * Trusts:  nobody: rows are decoded with bounds.
 * Touches: LMDB.
 * Failure: -errno; within a change, the change fails.
 */
#include "master/store_priv.h"

#include <errno.h>

#include "shm/base/log.h"

#define ROW_VERSION 1

struct row {
	uint64_t when;
	struct slice author;
	struct slice what;
	uint32_t parts;
	struct slice changes;
};

static void
key_pack(uint64_t generation, uint32_t part, uint8_t key_r[12])
{
	for (unsigned i = 0; i < 8; i++)
		key_r[i] = (uint8_t)(generation >> (56 - 8 * i));
	for (unsigned i = 0; i < 4; i++)
		key_r[8 + i] = (uint8_t)(part >> (24 - 8 * i));
}

static bool
key_unpack(const MDB_val *k, uint64_t *generation_r, uint32_t *part_r)
{
	const uint8_t *p = k->mv_data;

	*generation_r = *part_r = 0;
	if (k->mv_size != 12)
		return false;
	for (unsigned i = 0; i < 8; i++)
		*generation_r = *generation_r << 8 | p[i];
	for (unsigned i = 8; i < 12; i++)
		*part_r = *part_r << 8 | p[i];
	return true;
}

static bool
row_unpack(const void *data, size_t len, struct row *row_r)
{
	struct unpack u;
	uint8_t version;

	unpack_init(&u, data, len);
	version = unpack_u8(&u);
	row_r->when = unpack_u64(&u);
	row_r->author = unpack_slice(&u);
	row_r->what = unpack_slice(&u);
	row_r->parts = unpack_u32(&u);
	row_r->changes = unpack_slice(&u);
	return unpack_done(&u) && version == ROW_VERSION;
}

static int
fail(struct store_tx *tx, int rc)
{
	if (rc == MDB_MAP_FULL)
		tx->map_full = true;
	return store_fail(
	    tx->err, store_errno(rc),
	    "the store's history could not be written: %s; nothing was "
	    "changed",
	    mdb_strerror(rc));
}

int
store_history_put(struct store_tx *tx, bool last)
{
	struct store *st = tx->st;
	uint8_t key[12];
	MDB_val k = {sizeof(key), key}, v;
	struct pack row;
	int rc;

	if (!last)
		tx->parts++;
	key_pack(tx->generation, last ? 0 : tx->parts, key);
	pack_init(&row, st->row, sizeof(st->row));
	pack_u8(&row, ROW_VERSION);
	pack_u64(&row, tx->when);
	pack_str(&row, last ? tx->who->name : "");
	pack_str(&row, last ? tx->what_text : "");
	pack_u32(&row, last ? tx->parts : 0);
	pack_blob(&row, tx->log.p, tx->log.len);
	BUG_ON(row.full);
	v = (MDB_val){row.len, row.p};
	rc = mdb_put(tx->txn, st->db[DB_HISTORY], &k, &v, 0);
	tx->log.len = 0;
	return rc == 0 ? 0 : fail(tx, rc);
}

/* Whole generations, oldest first, but never the one that is being made. */
int
store_history_trim(struct store_tx *tx)
{
	MDB_dbi db = tx->st->db[DB_HISTORY];
	uint64_t generation, cut = 0;
	uint32_t part;
	MDB_cursor *c;
	MDB_val k, v;
	MDB_stat ms;
	int rc = mdb_stat(tx->txn, db, &ms);

	if (rc == 0)
		rc = mdb_cursor_open(tx->txn, db, &c);
	if (rc != 0)
		return fail(tx, rc);
	while ((rc = mdb_cursor_get(c, &k, &v, MDB_FIRST)) == 0) {
		if (!key_unpack(&k, &generation, &part)) {
			rc = MDB_CORRUPTED;
			break;
		}
		if (generation == tx->generation ||
		    (ms.ms_entries <= tx->st->history_max && generation != cut))
			break;
		cut = generation;
		rc = mdb_cursor_del(c, 0);
		if (rc != 0)
			break;
		ms.ms_entries--;
	}
	mdb_cursor_close(c);
	return rc == 0 ? 0 : fail(tx, rc);
}

/* --- taking back
 * -------------------------------------------------------------- */

/* One change: what is there must be what it left. */
static int
change_revert(struct store_tx *tx, struct unpack *u)
{
	enum store_db db = unpack_u8(u);
	struct slice key = unpack_slice(u), old, new, now;
	bool had, has;
	int r;

	had = unpack_u8(u) == 1;
	old = unpack_slice(u);
	has = unpack_u8(u) == 1;
	new = unpack_slice(u);
	if (u->bad || db == DB_META || db >= DB_HISTORY || key.len == 0)
		return -EUCLEAN;
	r = store_tx_get(tx, db, key, &now);
	if (r != 0 && r != -ENOENT)
		return r;
	if (has != (r == 0) || (has && !slice_eq(now, new)))
		return -EUCLEAN;
	return had ? store_tx_put(tx, db, key, old) : store_tx_del(tx, db, key);
}

/* Where each change of a row starts, first to last.  Caller frees *at_r. */
static int
changes_index(struct slice changes, size_t **at_r, size_t *n_r)
{
	size_t *at = NULL, *more, n = 0, room = 0;
	struct unpack u;

	unpack_init(&u, changes.p, changes.len);
	while (u.len > 0 && !u.bad) {
		if (n == room) {
			room = room == 0 ? 64 : room * 2;
			more = reallocarray(at, room, sizeof(*at));
			if (more == NULL) {
				free(at);
				return -ENOMEM;
			}
			at = more;
		}
		at[n++] = changes.len - u.len;
		(void)unpack_u8(&u);
		(void)unpack_slice(&u);
		(void)unpack_u8(&u);
		(void)unpack_slice(&u);
		(void)unpack_u8(&u);
		(void)unpack_slice(&u);
	}
	if (u.bad) {
		free(at);
		return -EUCLEAN;
	}
	*at_r = at;
	*n_r = n;
	return 0;
}

/* The changes of one row, last first.  changes is not in LMDB's memory. */
static int
row_revert(struct store_tx *tx, struct slice changes)
{
	size_t *at = NULL, n = 0;
	struct unpack u;
	int r = changes_index(changes, &at, &n);

	while (r == 0 && n > 0) {
		n--;
		unpack_init(&u, changes.p + at[n], changes.len - at[n]);
		r = change_revert(tx, &u);
	}
	free(at);
	return r;
}

/* Row `part`, copied out of LMDB, taken back; *parts_r as in the row. */
static int
part_revert(struct store_tx *tx, uint64_t generation, uint32_t part,
	    uint32_t *parts_r)
{
	uint8_t key[12], *copy;
	struct slice v;
	struct row row;
	int r;

	key_pack(generation, part, key);
	r = store_tx_get(tx, DB_HISTORY,
			 (struct slice){(char *)key, sizeof(key)}, &v);
	if (r != 0)
		return r;
	copy = malloc(v.len + 1);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, v.p, v.len);
	if (row_unpack(copy, v.len, &row)) {
		*parts_r = row.parts;
		r = row_revert(tx, row.changes);
	} else {
		r = -EUCLEAN;
	}
	free(copy);
	return r;
}

int
store_history_revert(struct store_tx *tx, uint64_t generation)
{
	uint32_t parts = 0, none;
	int r = part_revert(tx, generation, 0, &parts);

	if (r == -ENOENT)
		return store_fail(tx->err, r,
				  "the history has no generation %llu",
				  (unsigned long long)generation);
	for (; r == 0 && parts > 0; parts--)
		r = part_revert(tx, generation, parts, &none);
	if (r == -ENOENT)
		r = -EUCLEAN;
	if (r != 0 && !tx->map_full)
		return store_fail(
		    tx->err, r, "generation %llu cannot be taken back: %s",
		    (unsigned long long)generation,
		    r == -EUCLEAN ? "what it left has changed since"
				  : strerror(-r));
	return r;
}

/* --- reading
 * --------------------------------------------------------------------- */

static int
change_read(const MDB_val *k, const MDB_val *v, struct store_change *c_r)
{
	struct row row;
	uint32_t part;

	if (!key_unpack(k, &c_r->generation, &part) ||
	    !row_unpack(v->mv_data, v->mv_size, &row) ||
	    str_copy(c_r->author, sizeof(c_r->author), row.author) != 0 ||
	    str_copy(c_r->what, sizeof(c_r->what), row.what) != 0)
		return -EUCLEAN;
	c_r->when = row.when;
	return 0;
}

int
store_history(struct store *st, struct store_change *out_r, size_t max)
{
	struct store_read rd;
	MDB_cursor *c;
	uint64_t generation;
	uint32_t part;
	size_t n = 0;
	MDB_val k, v;
	int rc, r = store_read_begin(st, &rd);

	if (r != 0)
		return r;
	rc = mdb_cursor_open(rd.txn, st->db[DB_HISTORY], &c);
	if (rc != 0) {
		store_read_end(&rd);
		return store_errno(rc);
	}
	for (rc = mdb_cursor_get(c, &k, &v, MDB_LAST);
	     rc == 0 && r == 0 && n < MIN(max, (size_t)INT32_MAX);
	     rc = mdb_cursor_get(c, &k, &v, MDB_PREV)) {
		if (key_unpack(&k, &generation, &part) && part > 0)
			continue;
		r = change_read(&k, &v, &out_r[n]);
		n += r == 0;
	}
	mdb_cursor_close(c);
	store_read_end(&rd);
	if (r == 0 && rc != 0 && rc != MDB_NOTFOUND)
		r = store_errno(rc);
	return r != 0 ? r : (int)n;
}
