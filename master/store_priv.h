/*
 * store_priv: what the parts of the store share; nobody else includes it.
 *
 * LMDB holds seven databases.  Keys are texts or big-endian numbers, so that
 * LMDB's order is the order of numbers; values are records made with
 * shm/base/pack.h that open with a version byte.
 *
 *	meta	 "schema" u32, "generation" u64, "canary" sealed,
 *		 "next-credential" u32, "next-server" u32
 *	settings name		 -> version, text
 *	creds	 id		 -> version, name, client id, changed, sealed
 *	servers	 id		 -> version, kind, role, expires, added, key,
 *				    name, note
 *	subjects kind, key	 -> id		an index of servers
 *	history	 generation, part -> see store_history.c
 *	seen	 made elsewhere, see store_seen.c; not there until the first
 *		 row is, so that an older master meets nothing new
 *
 * "schema" keeps its key and encoding in every schema to come: an old master
 * must be able to read it.  Numbers of servers and credentials are never given
 * twice, also not after an undo.
 *
 * Values that LMDB hands out are unaligned and die with the transaction, or
 * with its next write: they are copied or decoded at once.
 */
#ifndef RMS_STORE_PRIV_H
#define RMS_STORE_PRIV_H

#include <lmdb.h>

#include "master/store.h"
#include "shm/base/pack.h"

/* The numbers stand in the history: never change one. */
enum store_db {
	DB_META = 0,
	DB_SETTINGS = 1,
	DB_CREDS = 2,
	DB_SERVERS = 3,
	DB_SUBJECTS = 4,
	DB_HISTORY = 5,
	DB_SEEN = 6, /* last: only if has_seen */
	DB_MAX = 7,
};

/* Rows of history that are kept; the oldest go first. */
#define HISTORY_ROWS_MAX 10000
/* Row changes that one row of history holds; a larger transaction (a batch)
 * writes several. */
#define HISTORY_PART_MAX (64U * 1024)
/* No value outside the history and the rows of what was seen is larger. */
#define STORE_RECORD_MAX (8U * 1024)
/* One of those: 1,200 SIDs. */
#define STORE_SEEN_MAX (128U * 1024)
/* The map starts small and doubles: an organisation of 1,000,000 servers
 * needs about 1 GiB. */
#define STORE_MAP_FIRST ((size_t)16 << 20)
#define STORE_MAP_MAX	((size_t)8 << 30)

struct store {
	MDB_env *env; /* NULL after a failure that lost it: reopened on use */
	MDB_dbi db[DB_MAX];
	bool has_seen;	   /* DB_SEEN is there */
	struct seal *seal; /* borrowed; NULL: opened without the key */
	char *dir;
	int dir_fd;
	int lock_fd;
	uint64_t generation;
	unsigned readers; /* open read transactions: no change meanwhile */

	/* Limits, as above; tests make them small. */
	size_t map_size;
	size_t map_max;
	size_t history_max;

	uint8_t changes[HISTORY_PART_MAX]; /* of the transaction, packed */
	uint8_t row[HISTORY_PART_MAX + 1024];
};

/* --- store.c ---------------------------------------------------------- */
/* Writes the line and returns e. */
PRINTF(3, 4) int store_fail(char *err, int e, const char *fmt, ...);
/* An LMDB return code (which may be an errno) as -errno. */
int store_errno(int rc);
/* Closes LMDB and opens it again, with a map of st->map_size. */
MUST_USE int store_reopen(struct store *st, char *err);
/* A number as a key, in mem; and back, 0 for what is not one. */
struct store_id_key {
	char p[4];
};
struct slice store_id_slice(uint32_t id, struct store_id_key *mem);
uint32_t store_id_of(struct slice key);
/* Appends s in quotes, with control characters and quotes as \xNN. */
void store_quote(struct sbuf *b, struct slice s);
/* NULL when s is printable UTF-8, else what is wrong with it. */
const char *store_text_fault(struct slice s);

/* The name of a database. */
const char *store_db_name(enum store_db db);

/* --- store_env.c: each 0, or -errno with a line in err ------------------ */
/* Makes and opens st->dir. */
MUST_USE int store_dir_open(struct store *st, char *err);
/* Nobody else's from now on, until lock_fd is closed. */
MUST_USE int store_lock_take(struct store *st, char *err);
/*
 * 0 when data.mdb has content; -ENOENT without a line when no store has been
 * made here yet; -EUCLEAN when one was, and is gone.
 */
MUST_USE int store_file_look(struct store *st, char *err);
/* The same for a data.mdb that turned out to hold nothing: never 0. */
MUST_USE int store_file_hollow(struct store *st, char *err);
/* From now on a store that is not there was lost.  Again is no harm. */
void store_file_made(struct store *st);
/* st->env, with a map of st->map_size or what the file needs. */
MUST_USE int store_env_open(struct store *st, char *err);

/* --- store_tx.c: transactions ----------------------------------------- */
struct store_tx {
	struct store *st;
	MDB_txn *txn;
	char *err;
	uint64_t generation; /* that this transaction will make */
	uint64_t when;
	const struct store_author *who;
	bool aside;	  /* no change: neither generation nor history */
	bool made_seen;	  /* DB_SEEN came with this transaction */
	bool map_full;	  /* grow and run again */
	uint32_t parts;	  /* rows of history written so far */
	uint64_t changed; /* row changes so far; 0: nothing to commit */
	struct pack log;  /* changes not yet in the history */
	struct sbuf what; /* for people; fn writes it */
	char what_text[sizeof(((struct store_change *)0)->what)];
};

/*
 * One durable transaction: runs fn, writes the generation and the history,
 * commits.  fn returns 0, or -errno with a line in tx->err, and then nothing
 * has happened.  fn runs again from the start after the map had to grow, so
 * it must set what it returns each time.  Without a change of any row there is
 * no new generation.  0 or -errno with a line in err.
 */
typedef int store_change_fn(struct store_tx *tx, void *arg);
MUST_USE int store_change(struct store *st, const struct store_author *who,
			  store_change_fn *fn, void *arg, char *err);

/*
 * The same for rows that are nobody's change: no generation, no history, and
 * fn may only store_tx_put_seen().
 */
MUST_USE int store_aside(struct store *st, store_change_fn *fn, void *arg,
			 char *err);
MUST_USE int store_tx_put_seen(struct store_tx *tx, struct slice key,
			       struct slice value);

/* Makes the map large enough for a change of so many bytes, or as large as it
 * may be, so that the change need not run again because the map was full. */
void store_expect(struct store *st, size_t bytes);

/* Borrowed until the next put or del.  -ENOENT without a line in err. */
MUST_USE int store_tx_get(struct store_tx *tx, enum store_db db,
			  struct slice key, struct slice *value_r);
/* Old and new value go into the history.  A put of what is there already is
 * no change.  -ENOENT for a del of nothing. */
MUST_USE int store_tx_put(struct store_tx *tx, enum store_db db,
			  struct slice key, struct slice value);
MUST_USE int store_tx_del(struct store_tx *tx, enum store_db db,
			  struct slice key);
/* The next number of that kind; not part of what can be undone. */
MUST_USE int store_tx_number(struct store_tx *tx, const char *kind,
			     uint32_t *id_r);

/* A read transaction.  While one is open no change may be made. */
struct store_read {
	struct store *st;
	MDB_txn *txn;
};
MUST_USE int store_read_begin(struct store *st, struct store_read *rd_r);
void store_read_end(struct store_read *rd);
/* Borrowed until store_read_end().  -ENOENT. */
MUST_USE int store_read_get(struct store_read *rd, enum store_db db,
			    struct slice key, struct slice *value_r);
/* All rows in order of key, until fn returns non-zero, which is returned. */
typedef int store_row_fn(void *arg, struct slice key, struct slice value);
MUST_USE int store_read_each(struct store_read *rd, enum store_db db,
			     store_row_fn *fn, void *arg);
/* The same from the first key that is not before `from`. */
MUST_USE int store_read_from(struct store_read *rd, enum store_db db,
			     struct slice from, store_row_fn *fn, void *arg);

/* --- store_history.c -------------------------------------------------- */
/* Writes tx->log as a row.  last: the row with author and text. */
MUST_USE int store_history_put(struct store_tx *tx, bool last);
/* Deletes the oldest rows above the limit. */
MUST_USE int store_history_trim(struct store_tx *tx);
/* Takes back the newest generation within tx, whose changes are recorded as
 * any other: the way to undo.  -ENOENT when there is none; -EUCLEAN when the
 * rows are not as that generation left them (nothing is then lost: the caller
 * gives the transaction up). */
MUST_USE int store_history_revert(struct store_tx *tx, uint64_t generation);

/* --- store_creds.c ----------------------------------------------------- */
/* The number of the credential of that name, 0 when there is none. */
MUST_USE int store_cred_number(struct store_read *rd, const char *name,
			       uint32_t *id_r);

/* --- store_servers.c --------------------------------------------------- */
struct store_subject; /* below */

/* What store_server_add() does, within a transaction (for batches). */
MUST_USE int store_server_add_tx(struct store_tx *tx,
				 const struct store_server *in, uint32_t *id_r);
/* Is everything of it as it may be?  *s_r is its subject. */
MUST_USE int store_server_check(const struct store_server *in,
				struct store_subject *s_r, char *err);
/* The entry of that subject.  -ENOENT without a line. */
MUST_USE int store_server_by_subject(struct store_read *rd,
				     const struct store_subject *s,
				     struct store_server *out_r);
/* By number or subject.  -ENOENT, -EINVAL with a line. */
MUST_USE int store_server_by_text(struct store_read *rd, const char *text,
				  struct store_server *out_r, char *err);
/* Writes record and index of in->id; in->added is kept. */
MUST_USE int store_server_put_tx(struct store_tx *tx,
				 const struct store_server *in,
				 const struct store_subject *s);
MUST_USE int store_server_del_tx(struct store_tx *tx,
				 const struct store_server *there);
/* Says `verb` and the entry as the transaction's text for people. */
void store_server_what(struct store_tx *tx, const char *verb,
		       const struct store_server *s);
/* All of them from number `from` on, as store_servers_each(). */
MUST_USE int store_servers_walk(struct store_read *rd, uint32_t from,
				int (*fn)(void *arg,
					  const struct store_server *s),
				void *arg);
MUST_USE int store_servers_number(struct store_tx *tx, size_t *n_r);

/* --- store_subject.c --------------------------------------------------- */
/* LMDB's largest key is 511 bytes, one of which is the kind. */
#define SUBJECT_MAX 510

struct store_subject {
	enum subject_kind kind;
	size_t len;
	uint8_t key[SUBJECT_MAX]; /* what the table matches */
};
/* Text as people write it to its one form.  0, or -EINVAL with err. */
MUST_USE int store_subject_parse(struct slice text, struct store_subject *s_r,
				 char *err);
/* Its text; -EUCLEAN when the key is not one of that kind. */
MUST_USE int store_subject_text(enum subject_kind kind, struct slice key,
				char text_r[TABLE_KEY_MAX]);

#endif
