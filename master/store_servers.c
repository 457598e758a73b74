/*
 * Purpose: the servers that may use the connector, and the table made of them.
 *
 * servers: key number (u32 big-endian); a record is version u8 (1), kind u8,
 * role u8, expires u64, added u64, key, name, note.  subjects: kind u8 and key;
 * value number (u32 big-endian).  Both change in the same transaction.
 *
 * Runs in: the master, in its one thread.
 * Trusts:  nobody: entries come from the control socket, records are decoded
 *          with bounds.
 * Touches: LMDB; the table's memfd.
 * Failure: -errno and a line; nothing has changed then.
 */
#include "master/store_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/base/log.h"

#define RECORD_VERSION 1

struct index_key {
	char p[1 + SUBJECT_MAX];
};

static struct slice
index_key(enum subject_kind kind, struct slice key, struct index_key *mem)
{
	BUG_ON(key.len > SUBJECT_MAX);
	mem->p[0] = (char)kind;
	memcpy(mem->p + 1, key.p, key.len);
	return (struct slice){mem->p, key.len + 1};
}

/* A record with texts where LMDB has them: the form that the table takes. */
struct record {
	struct table_in in;
	struct slice note;
	uint64_t added;
};

static int
record_unpack(struct slice key, struct slice value, struct record *rec_r)
{
	struct table_in *in = &rec_r->in;
	struct unpack u;
	uint8_t version;

	in->id = store_id_of(key);
	unpack_init(&u, value.p, value.len);
	version = unpack_u8(&u);
	in->kind = unpack_u8(&u);
	in->role = unpack_u8(&u);
	in->expires = unpack_u64(&u);
	rec_r->added = unpack_u64(&u);
	in->key = unpack_slice(&u);
	in->name = unpack_slice(&u);
	rec_r->note = unpack_slice(&u);
	return unpack_done(&u) && version == RECORD_VERSION && in->id != 0
		   ? 0
		   : -EUCLEAN;
}

static int
record_copy(const struct record *rec, struct store_server *s_r)
{
	s_r->id = rec->in.id;
	s_r->kind = rec->in.kind;
	s_r->role = rec->in.role;
	s_r->expires = rec->in.expires;
	s_r->added = rec->added;
	if (store_subject_text(s_r->kind, rec->in.key, s_r->subject) != 0 ||
	    str_copy(s_r->name, sizeof(s_r->name), rec->in.name) != 0 ||
	    str_copy(s_r->note, sizeof(s_r->note), rec->note) != 0)
		return -EUCLEAN;
	return 0;
}

/* Record of that number, as people see it. */
static int
server_get(struct store_read *rd, uint32_t id, struct store_server *s_r)
{
	struct store_id_key mem;
	struct record rec;
	struct slice key = store_id_slice(id, &mem), value;
	int r = store_read_get(rd, DB_SERVERS, key, &value);

	if (r == 0)
		r = record_unpack(key, value, &rec);
	return r != 0 ? r : record_copy(&rec, s_r);
}

/* --- adding ------------------------------------------------------------------
 */

static int
check_text(const char *what, const char *s, size_t size, char *err)
{
	size_t len = strnlen(s, size);
	const char *fault =
	    len == size ? "is too long" : store_text_fault(slice_of(s));

	if (fault == NULL)
		return 0;
	return store_fail(err, -EINVAL, "the %s %s; at most %zu bytes of UTF-8",
			  what, fault, size - 1);
}

int
store_server_check(const struct store_server *in, struct store_subject *s,
		   char *err)
{
	int r;

	if (in->role <= SERVER_NONE || in->role >= SERVER_ROLE_MAX)
		return store_fail(
		    err, -EINVAL,
		    "the role is missing: exchange, sharepoint or fci");
	if (in->expires > STORE_EXPIRES_MAX)
		return store_fail(
		    err, -EINVAL,
		    "it would expire after the year 2553; leave --expires out "
		    "for a server that stays until it is removed");
	r = check_text("name", in->name, sizeof(in->name), err);
	if (r == 0)
		r = check_text("note", in->note, sizeof(in->note), err);
	if (r != 0)
		return r;
	return store_subject_parse(
	    (struct slice){in->subject,
			   strnlen(in->subject, sizeof(in->subject))},
	    s, err);
}

static int
fail_exists(struct store_tx *tx, struct slice index, const char *subject)
{
	struct store_read rd = {.st = tx->st, .txn = tx->txn};
	uint32_t id = store_id_of(index);
	struct store_server there;

	if (server_get(&rd, id, &there) != 0)
		return store_fail(
		    tx->err, -EUCLEAN,
		    "the store's index names server %u, whose record cannot "
		    "be read; restore the store from a backup",
		    id);
	return store_fail(
	    tx->err, -EEXIST,
	    "%.*s is server %u already, with the role %s; `rmsctl servers "
	    "update` changes it",
	    300, subject, id, server_role_name(there.role));
}

static int
fail_full(struct store_tx *tx)
{
	return store_fail(
	    tx->err, -ENOSPC,
	    "there are %d servers, which is the most; authorize a group "
	    "instead of its members",
	    TABLE_ENTRIES_MAX);
}

int
store_servers_number(struct store_tx *tx, size_t *n_r)
{
	MDB_stat ms;
	int rc = mdb_stat(tx->txn, tx->st->db[DB_SERVERS], &ms);

	*n_r = rc == 0 ? ms.ms_entries : 0;
	return rc == 0 ? 0
		       : store_fail(tx->err, store_errno(rc),
				    "the store cannot be read: %s",
				    mdb_strerror(rc));
}

/* subject may be longer than the line for the history is: cut there. */
void
store_server_what(struct store_tx *tx, const char *verb,
		  const struct store_server *s)
{
	tx->what.len = 0; /* a batch writes its own at the end */
	sbuf_fmt(&tx->what, "%s server %u: %.*s role %s", verb, s->id, 200,
		 s->subject, server_role_name(s->role));
	if (s->name[0] != '\0') {
		sbuf_str(&tx->what, " name ");
		store_quote(&tx->what, slice_of(s->name));
	}
	if (s->expires != 0)
		sbuf_fmt(&tx->what, " expires %llu",
			 (unsigned long long)s->expires);
}

int
store_server_put_tx(struct store_tx *tx, const struct store_server *in,
		    const struct store_subject *s)
{
	uint8_t mem[SUBJECT_MAX + 2 * TABLE_NAME_MAX + 64];
	struct slice key = {(const char *)s->key, s->len};
	struct store_id_key idmem;
	struct index_key imem;
	struct pack k;
	int r;

	pack_init(&k, mem, sizeof(mem));
	pack_u8(&k, RECORD_VERSION);
	pack_u8(&k, (uint8_t)s->kind);
	pack_u8(&k, (uint8_t)in->role);
	pack_u64(&k, in->expires);
	pack_u64(&k, in->added);
	pack_slice(&k, key);
	pack_str(&k, in->name);
	pack_str(&k, in->note);
	BUG_ON(k.full);
	r = store_tx_put(tx, DB_SERVERS, store_id_slice(in->id, &idmem),
			 (struct slice){(char *)k.p, k.len});
	if (r != 0)
		return r;
	return store_tx_put(tx, DB_SUBJECTS, index_key(s->kind, key, &imem),
			    store_id_slice(in->id, &idmem));
}

int
store_server_add_tx(struct store_tx *tx, const struct store_server *in,
		    uint32_t *id_r)
{
	struct store_server now = *in;
	struct store_subject s;
	struct index_key imem;
	struct slice key, there;
	size_t n;
	int r = store_server_check(in, &s, tx->err);

	if (r != 0)
		return r;
	key = (struct slice){(const char *)s.key, s.len};
	r = store_subject_text(s.kind, key, now.subject);
	BUG_ON(r != 0);
	r = store_tx_get(tx, DB_SUBJECTS, index_key(s.kind, key, &imem),
			 &there);
	if (r == 0)
		return fail_exists(tx, there, now.subject);
	if (r != -ENOENT || (r = store_servers_number(tx, &n)) != 0)
		return r;
	if (n >= TABLE_ENTRIES_MAX)
		return fail_full(tx);
	r = store_tx_number(tx, "server", &now.id);
	if (r != 0)
		return r;
	store_server_what(tx, "add", &now);
	*id_r = now.id;
	now.added = tx->when;
	return store_server_put_tx(tx, &now, &s);
}

struct add_args {
	const struct store_server *in;
	uint32_t id;
};

static int
server_add(struct store_tx *tx, void *arg)
{
	struct add_args *a = arg;

	return store_server_add_tx(tx, a->in, &a->id);
}

int
store_server_add(struct store *st, const struct store_server *in,
		 const struct store_author *who, uint32_t *id_r,
		 char err[STORE_ERR])
{
	struct add_args a = {.in = in};
	int r = store_change(st, who, server_add, &a, err);

	*id_r = r == 0 ? a.id : 0;
	return r;
}

/* --- finding and removing
 * ------------------------------------------------------ */

int
store_server_by_subject(struct store_read *rd, const struct store_subject *s,
			struct store_server *out_r)
{
	struct slice key = {(const char *)s->key, s->len}, v;
	struct index_key mem;
	int r =
	    store_read_get(rd, DB_SUBJECTS, index_key(s->kind, key, &mem), &v);

	if (r != 0)
		return r;
	r = server_get(rd, store_id_of(v), out_r);
	return r == -ENOENT ? -EUCLEAN : r; /* an index of nothing */
}

int
store_server_by_text(struct store_read *rd, const char *text,
		     struct store_server *s_r, char *err)
{
	struct slice t = slice_of(text);
	struct store_subject s;
	uint64_t id;
	int r;

	if (str_u64(t, UINT32_MAX, &id) == 0) {
		r = server_get(rd, (uint32_t)id, s_r);
	} else {
		r = store_subject_parse(t, &s, err);
		if (r != 0)
			return r;
		r = store_server_by_subject(rd, &s, s_r);
	}
	if (r == -ENOENT)
		return store_fail(
		    err, r,
		    "%.*s is not among the servers; see the list of servers "
		    "for numbers and subjects",
		    300, text);
	return r == 0 ? 0
		      : store_fail(err, r, "the store cannot be read: %s",
				   strerror(-r));
}

int
store_server_find(struct store *st, const char *subject_or_id,
		  struct store_server *out_r)
{
	char err[STORE_ERR];
	struct store_read rd;
	int r = store_read_begin(st, &rd);

	if (r != 0)
		return r;
	r = store_server_by_text(&rd, subject_or_id, out_r, err);
	store_read_end(&rd);
	return r == -EINVAL ? -ENOENT : r;
}

int
store_server_del_tx(struct store_tx *tx, const struct store_server *there)
{
	struct store_subject s;
	struct store_id_key idmem;
	struct index_key imem;
	int r = store_subject_parse(slice_of(there->subject), &s, tx->err);

	if (r == 0)
		r = store_tx_del(tx, DB_SERVERS,
				 store_id_slice(there->id, &idmem));
	if (r != 0)
		return r;
	r = store_tx_del(tx, DB_SUBJECTS,
			 index_key(s.kind,
				   (struct slice){(const char *)s.key, s.len},
				   &imem));
	return r != -ENOENT
		   ? r
		   : store_fail(tx->err, -EUCLEAN,
				"the store's index lacks server %u; restore "
				"the store from a backup",
				there->id);
}

static int
server_remove(struct store_tx *tx, void *arg)
{
	struct store_read rd = {.st = tx->st, .txn = tx->txn};
	struct store_server there;
	int r = store_server_by_text(&rd, arg, &there, tx->err);

	if (r != 0)
		return r;
	store_server_what(tx, "remove", &there);
	return store_server_del_tx(tx, &there);
}

int
store_server_remove(struct store *st, const char *subject_or_id,
		    const struct store_author *who, char err[STORE_ERR])
{
	return store_change(st, who, server_remove,
			    (void *)(uintptr_t)subject_or_id, err);
}

/* --- all of them
 * ---------------------------------------------------------------- */

struct each {
	int (*fn)(void *arg, const struct store_server *s);
	void *arg;
};

static int
each_one(void *arg, struct slice key, struct slice value)
{
	struct each *e = arg;
	struct store_server s;
	struct record rec;
	int r = record_unpack(key, value, &rec);

	if (r == 0)
		r = record_copy(&rec, &s);
	if (r != 0) {
		log_err("store: the record of a server is damaged");
		return r;
	}
	return e->fn(e->arg, &s);
}

int
store_servers_walk(struct store_read *rd, uint32_t from,
		   int (*fn)(void *arg, const struct store_server *s),
		   void *arg)
{
	struct each e = {fn, arg};
	struct store_id_key mem;

	return store_read_from(rd, DB_SERVERS, store_id_slice(from, &mem),
			       each_one, &e);
}

int
store_servers_from(struct store *st, uint32_t after,
		   int (*fn)(void *arg, const struct store_server *s),
		   void *arg)
{
	struct store_read rd;
	int r;

	if (after == UINT32_MAX)
		return 0;
	r = store_read_begin(st, &rd);
	if (r != 0)
		return r;
	r = store_servers_walk(&rd, after + 1, fn, arg);
	store_read_end(&rd);
	return r;
}

int
store_servers_each(struct store *st,
		   int (*fn)(void *arg, const struct store_server *s),
		   void *arg)
{
	return store_servers_from(st, 0, fn, arg);
}

static size_t
count(struct store_read *rd)
{
	MDB_stat ms;

	return mdb_stat(rd->txn, rd->st->db[DB_SERVERS], &ms) == 0
		   ? ms.ms_entries
		   : 0;
}

size_t
store_servers_count(struct store *st)
{
	struct store_read rd;
	size_t n;

	if (store_read_begin(st, &rd) != 0)
		return 0;
	n = count(&rd);
	store_read_end(&rd);
	return n;
}

struct build {
	struct table_in *in;
	size_t n, room;
};

static int
build_one(void *arg, struct slice key, struct slice value)
{
	struct build *b = arg;
	struct record rec;
	int r = record_unpack(key, value, &rec);

	if (r != 0 || b->n == b->room) {
		log_err("store: the record of a server is damaged");
		return -EUCLEAN;
	}
	b->in[b->n++] = rec.in;
	return 0;
}

/* The entries borrow from LMDB until the table has copied them. */
int
store_table_build(struct store *st)
{
	struct build b = {.n = 0};
	struct store_read rd;
	int r = store_read_begin(st, &rd);

	if (r != 0)
		return r;
	b.room = count(&rd);
	b.in = calloc(b.room + 1, sizeof(*b.in));
	r = b.in == NULL ? -ENOMEM
			 : store_read_each(&rd, DB_SERVERS, build_one, &b);
	if (r == 0)
		r = table_build(b.in, b.n, st->generation);
	store_read_end(&rd);
	free(b.in);
	return r;
}
