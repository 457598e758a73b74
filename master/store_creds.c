/*
 * Purpose: the credentials for the cloud, their secrets sealed.
 *
 * Key: number, u32 big-endian.  A record is: version u8 (1; 2 for a web
 * proxy's, where an older master must not take it for a cloud's), name, client
 * id, changed u64, sealed secret.  The secret's context is "credential/NUMBER",
 * so it opens in its own record only.  There are at most MSG_CREDS_MAX, so a
 * name is found by looking at all.
 *
 * Runs in: the master, in its one thread.
 * Trusts:  nobody: records are decoded with bounds.
 * Touches: LMDB; secrets in memory of the caller only.
 * Failure: -errno and a line; a record that is damaged is -EUCLEAN, a secret
 *          that does not open -EBADMSG.
 */
#include "master/store_priv.h"

#include <errno.h>
#include <openssl/crypto.h>

#include "conf/check.h"
#include "master/seal.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

#define RECORD_VERSION 1 /* and the kind */
#define SECRET_MAX     (sizeof(((struct msg_cred *)0)->secret) - 1)

static struct slice
context_of(uint32_t id, char mem[32])
{
	int n = snprintf(mem, 32, "credential/%u", id);

	return (struct slice){mem, (size_t)n};
}

/* *sealed_r borrows from value. */
static int
record_unpack(struct slice key, struct slice value, struct store_cred *c_r,
	      struct slice *sealed_r)
{
	struct unpack u;
	uint8_t version;

	c_r->id = store_id_of(key);
	unpack_init(&u, value.p, value.len);
	version = unpack_u8(&u);
	unpack_str(&u, c_r->name, sizeof(c_r->name));
	unpack_str(&u, c_r->client_id, sizeof(c_r->client_id));
	c_r->changed = unpack_u64(&u);
	*sealed_r = unpack_slice(&u);
	if (!unpack_done(&u) || c_r->id == 0 || version < RECORD_VERSION ||
	    version >= RECORD_VERSION + CRED_KIND_MAX)
		return -EUCLEAN;
	c_r->kind = (enum cred_kind)(version - RECORD_VERSION);
	return 0;
}

/* --- reading
 * ------------------------------------------------------------------- */

/* Decodes all; each secret opened when `seal` is given. */
struct collect {
	struct seal *seal;
	struct store_cred *list; /* or NULL */
	struct msg_creds *creds; /* or NULL */
	size_t n;
};

static int
secret_open(struct seal *s, uint32_t id, struct slice sealed,
	    struct msg_cred *out)
{
	char ctx[32];
	ssize_t n;

	if (sealed.len > SECRET_MAX + SEAL_OVERHEAD)
		return -EUCLEAN;
	n = seal_open(s, context_of(id, ctx), sealed.p, sealed.len,
		      out->secret);
	if (n < 0)
		return (int)n;
	out->secret[n] = '\0';
	return 0;
}

static int
collect_one(void *arg, struct slice key, struct slice value)
{
	struct collect *a = arg;
	struct store_cred c;
	struct msg_cred *m;
	struct slice sealed;
	int r = record_unpack(key, value, &c, &sealed);

	if (r != 0 || a->n == MSG_CREDS_MAX) {
		log_err("store: a credential's record is damaged");
		return -EUCLEAN;
	}
	if (a->list != NULL)
		a->list[a->n] = c;
	if (a->creds != NULL) {
		m = &a->creds->cred[a->n];
		m->id = c.id;
		m->kind = c.kind;
		memcpy(m->name, c.name, sizeof(m->name));
		memcpy(m->client_id, c.client_id, sizeof(m->client_id));
		r = secret_open(a->seal, c.id, sealed, m);
		if (r != 0)
			log_err("store: the secret of credential %s does not "
				"open; add it again",
				c.name);
	}
	a->n++;
	return r;
}

_Static_assert(sizeof(((struct msg_cred *)0)->name) ==
		   sizeof(((struct store_cred *)0)->name),
	       "one bound");
_Static_assert(sizeof(((struct msg_cred *)0)->client_id) ==
		   sizeof(((struct store_cred *)0)->client_id),
	       "one bound");

static int
collect_all(struct store *st, struct collect *a)
{
	struct store_read rd;
	int r = store_read_begin(st, &rd);

	if (r != 0)
		return r;
	r = store_read_each(&rd, DB_CREDS, collect_one, a);
	store_read_end(&rd);
	return r;
}

int
store_creds_list(struct store *st, struct store_cred out_r[MSG_CREDS_MAX])
{
	struct collect a = {.list = out_r};
	int r = collect_all(st, &a);

	return r != 0 ? r : (int)a.n;
}

int
store_creds_open(struct store *st, struct msg_creds *out_r)
{
	struct collect a = {.seal = st->seal, .creds = out_r};
	int r;

	BUG_ON(st->seal == NULL);
	memset(out_r, 0, sizeof(*out_r));
	r = collect_all(st, &a);
	if (r != 0)
		OPENSSL_cleanse(out_r, sizeof(*out_r));
	else
		out_r->n = (uint32_t)a.n;
	return r;
}

/* --- by name
 * -------------------------------------------------------------------- */

struct by_name {
	const char *name;
	struct store_cred found; /* id 0: none */
	size_t n;
};

static int
match_name(void *arg, struct slice key, struct slice value)
{
	struct by_name *a = arg;
	struct store_cred c;
	struct slice sealed;
	int r = record_unpack(key, value, &c, &sealed);

	if (r != 0)
		return r;
	a->n++;
	if (strcmp(c.name, a->name) == 0)
		a->found = c;
	return 0;
}

int
store_cred_number(struct store_read *rd, const char *name, uint32_t *id_r)
{
	struct by_name a = {.name = name};
	int r = store_read_each(rd, DB_CREDS, match_name, &a);

	*id_r = a.found.kind == CRED_CLOUD ? a.found.id : 0;
	return r;
}

/* Within a change; tx->txn reads what it has written. */
static int
find_tx(struct store_tx *tx, struct by_name *a)
{
	struct store_read rd = {.st = tx->st, .txn = tx->txn};
	int r = store_read_each(&rd, DB_CREDS, match_name, a);

	return r == 0 ? 0
		      : store_fail(tx->err, r,
				   "the store's credentials cannot be read: %s",
				   strerror(-r));
}

/* --- changes
 * --------------------------------------------------------------------- */

struct put_args {
	enum cred_kind kind;
	const char *name;
	const char *client_id;
	struct slice secret;
};

static int
record_put(struct store_tx *tx, uint32_t id, const struct put_args *a)
{
	uint8_t sealed[SECRET_MAX + SEAL_OVERHEAD], mem[2048];
	struct store_id_key key;
	char ctx[32];
	struct pack k;
	ssize_t n;

	n = seal_close(tx->st->seal, context_of(id, ctx), a->secret.p,
		       a->secret.len, sealed);
	if (n < 0)
		return store_fail(tx->err, (int)n,
				  "the secret could not be sealed: %s",
				  strerror((int)-n));
	pack_init(&k, mem, sizeof(mem));
	pack_u8(&k, (uint8_t)(RECORD_VERSION + a->kind));
	pack_str(&k, a->name);
	pack_str(&k, a->client_id);
	pack_u64(&k, tx->when);
	pack_blob(&k, sealed, (size_t)n);
	BUG_ON(k.full);
	return store_tx_put(tx, DB_CREDS, store_id_slice(id, &key),
			    (struct slice){(char *)k.p, k.len});
}

static int
cred_put(struct store_tx *tx, void *arg)
{
	const struct put_args *a = arg;
	struct by_name b = {.name = a->name};
	uint32_t id;
	int r = find_tx(tx, &b);

	if (r != 0)
		return r;
	if (b.found.id == 0 && b.n >= MSG_CREDS_MAX)
		return store_fail(
		    tx->err, -ENOSPC,
		    "there are %d credentials already, which is the most; "
		    "remove one first",
		    MSG_CREDS_MAX);
	if (b.found.id != 0 && b.found.kind != a->kind)
		return store_fail(tx->err, -EEXIST,
				  "there is a credential %s already, and it is "
				  "for the %s; choose another name",
				  a->name,
				  a->kind == CRED_PROXY ? "cloud" : "proxy");
	id = b.found.id;
	if (id == 0 && (r = store_tx_number(tx, "credential", &id)) != 0)
		return r;
	sbuf_fmt(&tx->what, "%s %scredential %s: %s ",
		 b.found.id == 0 ? "add" : "replace",
		 a->kind == CRED_PROXY ? "proxy " : "", a->name,
		 a->kind == CRED_PROXY ? "user" : "client id");
	if (b.found.id != 0) {
		store_quote(&tx->what, slice_of(b.found.client_id));
		sbuf_str(&tx->what, " -> ");
	}
	store_quote(&tx->what, slice_of(a->client_id));
	if (b.found.id != 0)
		sbuf_str(&tx->what, ", a new secret");
	return record_put(tx, id, a);
}

static int
check_client_id(const char *s, char *err)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len; i++)
		if (s[i] <= 0x20 || s[i] > 0x7e)
			return store_fail(
			    err, -EINVAL,
			    "the client id holds a space, a control character "
			    "or one beyond ASCII; give the application "
			    "(client) "
			    "id as the cloud shows it");
	if (len == 0 || len >= sizeof(((struct store_cred *)0)->client_id))
		return store_fail(
		    err, -EINVAL,
		    "the client id has %zu characters, not 1 to %zu", len,
		    sizeof(((struct store_cred *)0)->client_id) - 1);
	return 0;
}

/* Says nothing of what is in it. */
static int
check_secret(struct slice s, char *err)
{
	const char *fault;

	if (s.len == 0 || s.len > SECRET_MAX)
		return store_fail(err, -EINVAL,
				  "the secret has %zu bytes, not 1 to %zu",
				  s.len, SECRET_MAX);
	fault = store_text_fault(s);
	if (fault != NULL)
		return store_fail(err, -EINVAL,
				  "the secret %s; give its value alone", fault);
	return 0;
}

static int
check_name(const char *s, char *err)
{
	const char *fault =
	    s[0] == '\0' ? "is empty; give it one, e.g. default"
	    : strlen(s) >= sizeof(((struct store_cred *)0)->name)
		? "is longer than 63 characters; choose a shorter one"
		: check_credential_name(s);

	if (fault == NULL)
		return 0;
	return store_fail(err, -EINVAL, "the credential's name: %s", fault);
}

static int
check_user(const char *s, char *err)
{
	struct slice u = slice_of(s);
	const char *fault = store_text_fault(u);

	if (u.len == 0 || u.len >= sizeof(((struct store_cred *)0)->client_id))
		return store_fail(
		    err, -EINVAL, "the user name has %zu bytes, not 1 to %zu",
		    u.len, sizeof(((struct store_cred *)0)->client_id) - 1);
	if (fault != NULL)
		return store_fail(err, -EINVAL, "the user name %s", fault);
	if (memchr(s, ':', u.len) != NULL)
		return store_fail(err, -EINVAL,
				  "the user name holds a colon, which Basic "
				  "authentication cannot carry; have the proxy "
				  "know the connector by another name");
	return 0;
}

int
store_cred_put(struct store *st, enum cred_kind kind, const char *name,
	       const char *client_id, struct slice secret,
	       const struct store_author *who, char err[STORE_ERR])
{
	struct put_args a = {.kind = kind,
			     .name = name,
			     .client_id = client_id,
			     .secret = secret};
	int r = check_name(name, err);

	BUG_ON(st->seal == NULL);
	if (r == 0)
		r = kind == CRED_PROXY ? check_user(client_id, err)
				       : check_client_id(client_id, err);
	if (r == 0)
		r = check_secret(secret, err);
	return r != 0 ? r : store_change(st, who, cred_put, &a, err);
}

static int
cred_remove(struct store_tx *tx, void *arg)
{
	struct by_name b = {.name = arg};
	struct store_id_key key;
	int r = find_tx(tx, &b);

	if (r != 0)
		return r;
	if (b.found.id == 0) {
		struct sbuf e;

		sbuf_init(&e, tx->err, STORE_ERR);
		sbuf_str(&e, "there is no credential ");
		store_quote(&e, slice_of(b.name));
		return -ENOENT;
	}
	sbuf_fmt(&tx->what, "remove credential %s: client id ", b.name);
	store_quote(&tx->what, slice_of(b.found.client_id));
	return store_tx_del(tx, DB_CREDS, store_id_slice(b.found.id, &key));
}

int
store_cred_remove(struct store *st, const char *name,
		  const struct store_author *who, char err[STORE_ERR])
{
	return store_change(st, who, cred_remove, (void *)(uintptr_t)name, err);
}
