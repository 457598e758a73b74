/*
 * Purpose: have the store: life, schema, sealing key; small things for all
 *          its parts.
 *
 * Runs in: the master, in its one thread.
 * Trusts:  the files in a directory that only the master's account may enter;
 *          not that they are whole: every record is decoded with bounds.
 * Touches: the store's directory.
 * Failure: -errno and a line that says what would do; a store that is not
 *          ours, newer, or sealed under another key is left as it is.
 */
#include "master/store_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/seal.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

/* Sealed when the store is made, and again when it holds no secret: as long as
 * it holds one, it opens under no other key. */
#define CANARY	       "rms-connector store"
#define CANARY_CONTEXT SLICE_LIT("meta/canary")

static const char *const db_name[DB_MAX] = {
    "meta", "settings", "creds", "servers", "subjects", "history", "seen"};

const char *
store_db_name(enum store_db db)
{
	return db_name[db];
}

int
store_fail(char *err, int e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, STORE_ERR, fmt, ap);
	va_end(ap);
	return e;
}

int
store_errno(int rc)
{
	switch (rc) {
	case MDB_SUCCESS:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_KEYEXIST:
		return -EEXIST;
	case MDB_MAP_FULL:
	case EFBIG:  /* the process's limit of file sizes */
	case EDQUOT: /* the account's */
		return -ENOSPC;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
		return -EUCLEAN;
	case MDB_VERSION_MISMATCH:
		return -EPROTO;
	default:
		return rc > 0 ? -rc : -EIO;
	}
}

struct slice
store_id_slice(uint32_t id, struct store_id_key *mem)
{
	for (unsigned i = 0; i < 4; i++)
		mem->p[i] = (char)(id >> (24 - 8 * i));
	return (struct slice){mem->p, sizeof(mem->p)};
}

uint32_t
store_id_of(struct slice key)
{
	uint32_t id = 0;

	for (size_t i = 0; i < 4 && key.len == 4; i++)
		id = id << 8 | (uint8_t)key.p[i];
	return id;
}

void
store_quote(struct sbuf *b, struct slice s)
{
	sbuf_char(b, '"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f || c == '"' || c == '\\')
			sbuf_fmt(b, "\\x%02X", c);
		else
			sbuf_char(b, s.p[i]);
	}
	sbuf_char(b, '"');
}

/* Length of the well-formed UTF-8 sequence of several bytes at p (RFC 3629,
 * table in section 4), or 0. */
static size_t
utf8_len(const unsigned char *p, size_t len)
{
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	unsigned char lo = 0x80, hi = 0xbf;

	if (p[0] < 0xc2 || p[0] > 0xf4 || len < n)
		return 0;
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return n;
}

const char *
store_text_fault(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	for (size_t i = 0, n; i < s.len; i += n) {
		if (p[i] < 0x20 || p[i] == 0x7f)
			return "holds a control character or a line break";
		n = p[i] < 0x80 ? 1 : utf8_len(p + i, s.len - i);
		if (n == 0)
			return "is not UTF-8";
		/* U+0080 to U+009F: controls too */
		if (n == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0)
			return "holds a control character";
	}
	return NULL;
}

/* Handles of the databases.  MDB_NOTFOUND as it is. */
static int
dbs_open(struct store *st, MDB_txn *txn, unsigned flags)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < DB_SEEN; i++)
		rc = mdb_dbi_open(txn, db_name[i], flags, &st->db[i]);
	if (rc != 0)
		return rc;
	rc = mdb_dbi_open(txn, db_name[DB_SEEN], 0, &st->db[DB_SEEN]);
	st->has_seen = rc == 0;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
meta_get(struct store *st, MDB_txn *txn, const char *name, MDB_val *v)
{
	MDB_val k = {strlen(name), (void *)(uintptr_t)name};

	return mdb_get(txn, st->db[DB_META], &k, v);
}

static int
meta_put(struct store *st, MDB_txn *txn, const char *name, const void *data,
	 size_t len)
{
	MDB_val k = {strlen(name), (void *)(uintptr_t)name};
	MDB_val v = {len, (void *)(uintptr_t)data};

	return mdb_put(txn, st->db[DB_META], &k, &v, 0);
}

/* --- schema ------------------------------------------------------------- */

/* Before anything else is looked at or written. */
static int
schema_check(struct store *st, MDB_txn *txn, char *err)
{
	struct unpack u = {.bad = true};
	uint32_t schema;
	MDB_val v;

	if (meta_get(st, txn, "schema", &v) == 0)
		unpack_init(&u, v.mv_data, v.mv_size);
	schema = unpack_u32(&u);
	if (!unpack_done(&u) || schema == 0)
		return store_fail(
		    err, -EUCLEAN,
		    "store %s has no readable schema number; restore it from "
		    "a backup",
		    st->dir);
	if (schema > STORE_SCHEMA)
		return store_fail(
		    err, -EPROTO,
		    "store %s was written by a newer version (schema %u, this "
		    "one knows %u); run that version, or restore the backup "
		    "made before the upgrade",
		    st->dir, schema, STORE_SCHEMA);
	return 0;
}

/* A store without secrets opens under any key: -ENOKEY when that key is not
 * the one that it knows. */
static int
canary_check(struct store *st, MDB_txn *txn, char *err)
{
	char plain[sizeof(CANARY)] = "";
	ssize_t n = -EBADMSG;
	MDB_stat ms;
	MDB_val v;
	int rc;

	if (st->seal == NULL)
		return 0;
	if (meta_get(st, txn, "canary", &v) == 0 &&
	    v.mv_size == sizeof(CANARY) - 1 + SEAL_OVERHEAD)
		n = seal_open(st->seal, CANARY_CONTEXT, v.mv_data, v.mv_size,
			      plain);
	if (n >= 0 && memcmp(plain, CANARY, sizeof(CANARY)) == 0)
		return 0;
	rc = mdb_stat(txn, st->db[DB_CREDS], &ms);
	if (rc != 0)
		return store_fail(err, store_errno(rc), "store %s: %s", st->dir,
				  mdb_strerror(rc));
	if (ms.ms_entries == 0)
		return -ENOKEY;
	return store_fail(
	    err, -EBADMSG,
	    "the sealing key is not the one that the secrets in store %s were "
	    "sealed with; restore the right key file, or run rms-connectord "
	    "with --forget-credentials and add them again",
	    st->dir);
}

static int
generation_load(struct store *st, MDB_txn *txn, char *err)
{
	struct unpack u = {.bad = true};
	MDB_val v;

	if (meta_get(st, txn, "generation", &v) == 0)
		unpack_init(&u, v.mv_data, v.mv_size);
	st->generation = unpack_u64(&u);
	if (!unpack_done(&u))
		return store_fail(
		    err, -EUCLEAN,
		    "store %s has no readable generation; restore it from a "
		    "backup",
		    st->dir);
	return 0;
}

/* What is there.  -ENOENT: nothing at all, a store to be made; -ENOKEY: all
 * was read, but the canary is to be sealed again. */
static int
layout_read(struct store *st, char *err)
{
	MDB_txn *txn;
	MDB_stat ms;
	MDB_dbi root;
	int r, rc;

	rc = mdb_txn_begin(st->env, NULL, MDB_RDONLY, &txn);
	if (rc != 0)
		return store_fail(err, store_errno(rc), "store %s: %s", st->dir,
				  mdb_strerror(rc));
	rc = mdb_dbi_open(txn, NULL, 0, &root);
	if (rc == 0)
		rc = mdb_stat(txn, root, &ms);
	if (rc == 0 && ms.ms_entries == 0) {
		mdb_txn_abort(txn);
		return -ENOENT;
	}
	if (rc == 0)
		rc = mdb_dbi_open(txn, db_name[DB_META], 0, &st->db[DB_META]);
	if (rc != 0)
		r = store_fail(
		    err, -EUCLEAN,
		    "%s holds an LMDB database that is not a store of ours "
		    "(%s)",
		    st->dir, mdb_strerror(rc));
	else
		r = schema_check(st, txn, err);
	if (r == 0 && (rc = dbs_open(st, txn, 0)) != 0)
		r = store_fail(
		    err, -EUCLEAN,
		    "store %s is not whole (%s); restore it from a backup",
		    st->dir, mdb_strerror(rc));
	if (r == 0)
		r = generation_load(st, txn, err);
	if (r == 0)
		r = canary_check(st, txn, err);
	/* A commit keeps the handles, which an abort would close. */
	if (r == 0 || r == -ENOKEY)
		(void)mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	return r;
}

static int
canary_write(struct store *st, MDB_txn *txn)
{
	uint8_t canary[sizeof(CANARY) - 1 + SEAL_OVERHEAD];
	ssize_t n = seal_close(st->seal, CANARY_CONTEXT, CANARY,
			       sizeof(CANARY) - 1, canary);

	if (n < 0)
		return EIO;
	return meta_put(st, txn, "canary", canary, sizeof(canary));
}

static int
layout_write(struct store *st, MDB_txn *txn)
{
	uint8_t num[8];
	struct pack k;
	int rc = dbs_open(st, txn, MDB_CREATE);

	if (rc != 0)
		return rc;
	pack_init(&k, num, sizeof(num));
	pack_u32(&k, STORE_SCHEMA);
	rc = meta_put(st, txn, "schema", num, k.len);
	pack_init(&k, num, sizeof(num));
	pack_u64(&k, 0);
	if (rc == 0)
		rc = meta_put(st, txn, "generation", num, k.len);
	return rc != 0 ? rc : canary_write(st, txn);
}

/* One transaction, all of it or nothing. */
static int
write_once(struct store *st, int (*fn)(struct store *st, MDB_txn *txn))
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(st->env, NULL, 0, &txn);

	if (rc != 0)
		return rc;
	rc = fn(st, txn);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

/* No secret is in it, so another key than before is no loss. */
static int
canary_renew(struct store *st, char *err)
{
	int rc = write_once(st, canary_write);

	if (rc != 0)
		return store_fail(
		    err, store_errno(rc),
		    "store %s cannot take the new sealing key: %s", st->dir,
		    mdb_strerror(rc));
	log_info("store %s holds no secret and takes the new sealing key",
		 st->dir);
	return 0;
}

/* A store is there whole, or the next start makes it. */
static int
layout_make(struct store *st, char *err)
{
	int rc = write_once(st, layout_write);

	if (rc == 0 && fsync(st->dir_fd) != 0)
		rc = errno;
	if (rc != 0)
		return store_fail(err, store_errno(rc),
				  "store %s cannot be made: %s", st->dir,
				  mdb_strerror(rc));
	st->generation = 0;
	return 0;
}

/* --- life ---------------------------------------------------------------- */

static int
fail_none(struct store *st, char *err)
{
	return store_fail(err, -ENOENT, "there is no store in %s", st->dir);
}

/* What LMDB has opened: a store, or room for one. */
static int
content_settle(struct store *st, char *err)
{
	int r = layout_read(st, err);

	if (r == -ENOKEY)
		return canary_renew(st, err);
	if (r != -ENOENT)
		return r;
	r = store_file_hollow(st, err);
	if (r != -ENOENT)
		return r;
	return st->seal == NULL ? fail_none(st, err) : layout_make(st, err);
}

static int
content_open(struct store *st, char *err)
{
	int r = store_file_look(st, err);

	if (r == -ENOENT && st->seal == NULL)
		return fail_none(st, err);
	if (r == 0 || r == -ENOENT)
		r = store_env_open(st, err);
	if (r == 0)
		r = content_settle(st, err);
	if (r == 0)
		store_file_made(st);
	if (r != 0 && st->env != NULL) {
		mdb_env_close(st->env);
		st->env = NULL;
	}
	return r;
}

int
store_reopen(struct store *st, char *err)
{
	BUG_ON(st->readers > 0);
	if (st->env != NULL)
		mdb_env_close(st->env);
	st->env = NULL;
	return content_open(st, err);
}

int
store_open(struct store **st_r, const char *dir, struct seal *s,
	   char err[STORE_ERR])
{
	struct store *st = calloc(1, sizeof(*st));
	int r;

	*st_r = NULL;
	if (st == NULL || (st->dir = strdup(dir)) == NULL) {
		free(st);
		return store_fail(err, -ENOMEM, "out of memory");
	}
	st->dir_fd = st->lock_fd = -1;
	st->seal = s;
	st->map_size = STORE_MAP_FIRST;
	st->map_max = STORE_MAP_MAX;
	st->history_max = HISTORY_ROWS_MAX;
	r = store_dir_open(st, err);
	if (r == 0)
		r = store_lock_take(st, err);
	if (r == 0)
		r = content_open(st, err);
	if (r != 0) {
		store_close(&st);
		return r;
	}
	*st_r = st;
	return 0;
}

void
store_close(struct store **stp)
{
	struct store *st = *stp;

	*stp = NULL;
	if (st == NULL)
		return;
	BUG_ON(st->readers > 0);
	if (st->env != NULL)
		mdb_env_close(st->env);
	fd_close(&st->lock_fd); /* after LMDB: never two at a time */
	fd_close(&st->dir_fd);
	free(st->dir);
	free(st);
}

uint64_t
store_generation(struct store *st)
{
	return st->generation;
}

void
store_space(struct store *st, uint64_t *used_r, uint64_t *size_r)
{
	MDB_envinfo info;
	MDB_stat ms;

	*used_r = *size_r = 0;
	if (st->env == NULL || mdb_env_info(st->env, &info) != 0 ||
	    mdb_env_stat(st->env, &ms) != 0)
		return;
	*used_r = (info.me_last_pgno + 1) * (uint64_t)ms.ms_psize;
	*size_r = info.me_mapsize;
}
