/*
 * Purpose: have the store: directory, lock, LMDB environment, schema, key.
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
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/seal.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

/* Sealed once, when the store is made: it opens under no other key. */
#define CANARY	       "rms-connector store"
#define CANARY_CONTEXT SLICE_LIT("meta/canary")

static const char *const db_name[DB_MAX] = {"meta",    "settings", "creds",
					    "servers", "subjects", "history"};

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

/* --- directory and lock ------------------------------------------------ */

/* A new directory is on disk only when its parent is. */
static int
parent_sync(int dir_fd)
{
	int fd = openat(dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) != 0 ? -errno : 0;

	fd_close(&fd);
	return r;
}

static int
dir_open(struct store *st, char *err)
{
	bool made = mkdir(st->dir, 0700) == 0;
	struct stat sb;

	if (!made && errno != EEXIST)
		return store_fail(err, -errno,
				  "store directory %s cannot be made: %s",
				  st->dir, strerror(errno));
	st->dir_fd = open(st->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (st->dir_fd < 0 || fstat(st->dir_fd, &sb) != 0)
		return store_fail(err, -errno,
				  "store directory %s cannot be opened: %s",
				  st->dir, strerror(errno));
	if (sb.st_uid != geteuid())
		return store_fail(
		    err, -EACCES,
		    "store directory %s belongs to uid %u, not to us (uid "
		    "%u); chown it, with what is in it",
		    st->dir, sb.st_uid, geteuid());
	if ((sb.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return store_fail(
		    err, -EACCES,
		    "store directory %s is open to others (mode %03o); chmod "
		    "700 it",
		    st->dir, sb.st_mode & 0777U);
	if (made && parent_sync(st->dir_fd) != 0)
		log_warn("store directory %s may be lost by a power failure: "
			 "%s",
			 st->dir, strerror(errno));
	return 0;
}

/* Who has the lock, as far as its file tells. */
static void
lock_holder(int fd, char who[32])
{
	ssize_t n = pread(fd, who, 31, 0);
	uint64_t pid;

	while (n > 0 && who[n - 1] == '\n')
		n--;
	if (n <= 0 ||
	    str_u64((struct slice){who, (size_t)n}, INT32_MAX, &pid) != 0)
		(void)snprintf(who, 32, "unknown pid");
	else
		(void)snprintf(who, 32, "pid %u", (unsigned)pid);
}

/*
 * flock(), because LMDB's own fcntl locks are the process's and vanish with
 * any close of the file, and because this one ends with the process however
 * it ends.  The file stays: removing it would let two holders in.
 */
static int
lock_take(struct store *st, char *err)
{
	char who[32];
	int n;

	st->lock_fd = openat(st->dir_fd, "master.lock",
			     O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (st->lock_fd < 0)
		return store_fail(err, -errno, "%s/master.lock: %s", st->dir,
				  strerror(errno));
	if (flock(st->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK)
			return store_fail(err, -errno, "%s/master.lock: %s",
					  st->dir, strerror(errno));
		lock_holder(st->lock_fd, who);
		return store_fail(
		    err, -EBUSY,
		    "store %s is in use by another master (%s); stop that one "
		    "first, or give this one a store of its own",
		    st->dir, who);
	}
	n = snprintf(who, sizeof(who), "%d\n", (int)getpid());
	/* Only a help for people: a full disk must not keep us from reading. */
	if (ftruncate(st->lock_fd, 0) != 0 ||
	    pwrite(st->lock_fd, who, (size_t)n, 0) != n)
		log_warn("%s/master.lock: pid not written: %s", st->dir,
			 strerror(errno));
	return 0;
}

/* --- LMDB --------------------------------------------------------------- */

/* How many pages from `first` on are on LMDB's list of free ones, which is
 * its database 0: the values are a count and that many page numbers. */
static int
free_from(MDB_env *env, size_t first, size_t *n_r)
{
	MDB_cursor *c = NULL;
	MDB_val k, v;
	MDB_txn *txn;
	size_t id;
	int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	*n_r = 0;
	if (rc != 0)
		return rc;
	rc = mdb_cursor_open(txn, 0, &c);
	while (rc == 0 && (rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0)
		for (size_t i = sizeof(id); i < v.mv_size; i += sizeof(id)) {
			memcpy(&id, (char *)v.mv_data + i, sizeof(id));
			*n_r += id >= first;
		}
	if (c != NULL)
		mdb_cursor_close(c);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/*
 * A file that was cut short (a copy that ran out of disk) would end the
 * process with SIGBUS at the first page beyond its end, so it is refused.  It
 * may be short by right only of free pages: LMDB does not write those that a
 * transaction took and gave back.  To look at the list of free pages, which
 * may itself be beyond the end, the file is made long again with a hole.
 */
static int
file_check(MDB_env *env, int fd)
{
	MDB_envinfo info;
	MDB_stat ms;
	struct stat sb;
	size_t have, need, unused;
	int rc = mdb_env_info(env, &info);

	if (rc == 0)
		rc = mdb_env_stat(env, &ms);
	if (rc != 0)
		return rc;
	if (fstat(fd, &sb) != 0)
		return errno;
	have = (size_t)sb.st_size / ms.ms_psize;
	need = info.me_last_pgno + 1;
	if (have >= need)
		return 0;
	if (ftruncate(fd, (off_t)(need * ms.ms_psize)) != 0)
		return errno;
	rc = free_from(env, have, &unused);
	if (rc == 0 && unused < need - have)
		rc = MDB_CORRUPTED;
	/* As we found it, for whoever wants to rescue something. */
	if (rc != 0 && ftruncate(fd, sb.st_size) != 0)
		log_warn("a cut store could not be left as it was: %s",
			 strerror(errno));
	return rc;
}

/* LMDB ends the process after this. */
static void
on_assert(MDB_env *env, const char *what)
{
	(void)env;
	log_err("the store is damaged; restore it from a backup (%s)", what);
}

static int
env_settle(struct store *st, MDB_env *env)
{
	MDB_envinfo info;
	int fd, dead, rc = mdb_env_set_assert(env, on_assert);

	if (rc == 0)
		rc = mdb_env_get_fd(env, &fd);
	if (rc == 0 && fd_cloexec(fd, true) != 0)
		rc = EBADF;
	/* Readers that were killed hold pages for ever. */
	if (rc == 0)
		rc = mdb_reader_check(env, &dead);
	if (rc == 0)
		rc = file_check(env, fd);
	if (rc == 0)
		rc = mdb_env_info(env, &info);
	if (rc == 0)
		st->map_size = info.me_mapsize; /* at least what is used */
	return rc;
}

/*
 * Durable as LMDB can be: no NOSYNC, NOMETASYNC, WRITEMAP or MAPASYNC, and
 * fresh pages are zeroed.  NOTLS lets the one thread have several readers.
 */
static int
env_open(struct store *st, char *err)
{
	MDB_env *env = NULL;
	int rc;

	rc = mdb_env_create(&env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(env, DB_MAX + 2);
	if (rc == 0)
		rc = mdb_env_set_mapsize(env, st->map_size);
	if (rc == 0)
		rc = mdb_env_open(env, st->dir, MDB_NOTLS, 0600);
	if (rc == 0) {
		BUG_ON(mdb_env_get_maxkeysize(env) < SUBJECT_MAX + 1);
		rc = env_settle(st, env);
	}
	if (rc != 0) {
		if (env != NULL)
			mdb_env_close(env);
		return store_fail(
		    err, store_errno(rc), "store %s cannot be opened: %s%s",
		    st->dir, mdb_strerror(rc),
		    store_errno(rc) == -EUCLEAN ? "; restore it from a backup"
						: "");
	}
	st->env = env;
	return 0;
}

/* Handles of the databases.  MDB_NOTFOUND as it is. */
static int
dbs_open(struct store *st, MDB_txn *txn, unsigned flags)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < DB_MAX; i++)
		rc = mdb_dbi_open(txn, db_name[i], flags, &st->db[i]);
	return rc;
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

static int
canary_check(struct store *st, MDB_txn *txn, char *err)
{
	char plain[sizeof(CANARY)] = "";
	ssize_t n = -EBADMSG;
	MDB_val v;

	if (meta_get(st, txn, "canary", &v) == 0 &&
	    v.mv_size == sizeof(CANARY) - 1 + SEAL_OVERHEAD)
		n = seal_open(st->seal, CANARY_CONTEXT, v.mv_data, v.mv_size,
			      plain);
	if (n < 0 || memcmp(plain, CANARY, sizeof(CANARY)) != 0)
		return store_fail(
		    err, -EBADMSG,
		    "the sealing key is not the one that the secrets in store "
		    "%s were sealed with; restore the right key file",
		    st->dir);
	return 0;
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

/* What is there.  -ENOENT: nothing at all, a store to be made. */
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
		r = canary_check(st, txn, err);
	if (r == 0)
		r = generation_load(st, txn, err);
	/* A commit keeps the handles, which an abort would close. */
	if (r == 0)
		(void)mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	return r;
}

static int
layout_write(struct store *st, MDB_txn *txn)
{
	uint8_t canary[sizeof(CANARY) - 1 + SEAL_OVERHEAD], num[8];
	struct pack k;
	ssize_t n;
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
	n = seal_close(st->seal, CANARY_CONTEXT, CANARY, sizeof(CANARY) - 1,
		       canary);
	if (n < 0)
		return EIO;
	return rc != 0 ? rc
		       : meta_put(st, txn, "canary", canary, sizeof(canary));
}

/* One transaction: a store is there whole, or the next start makes it. */
static int
layout_make(struct store *st, char *err)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(st->env, NULL, 0, &txn);

	if (rc == 0) {
		rc = layout_write(st, txn);
		if (rc == 0)
			rc = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
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
content_open(struct store *st, char *err)
{
	int r = env_open(st, err);

	if (r == 0)
		r = layout_read(st, err);
	if (r == -ENOENT && st->env != NULL)
		r = layout_make(st, err);
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
	r = dir_open(st, err);
	if (r == 0)
		r = lock_take(st, err);
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
