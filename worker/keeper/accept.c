/*
 * Purpose: find out who a client is, by GSSAPI.
 *
 * Runs in: the keeper.
 * Trusts:  libgssapi_krb5 and the keytab; no byte of a token.
 * Touches: half-done exchanges, the replay set, krb5.conf (through krb5).
 * Failure: a cause and the library's words; never an identity.
 */
#include "worker/keeper/accept.h"

#include <errno.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/ipc.h"
#include "shm/replay_log.h"
#include "worker/keeper/cause.h"
#include "worker/keeper/krb5conf.h"
#include "worker/keeper/replay.h"
#include "worker/keeper/sids.h"

struct exchange {
	TAILQ_ENTRY(exchange) link;
	unsigned slot;
	uint64_t id;
	gss_ctx_id_t ctx;
	uint64_t ends_ns;
	unsigned legs;
	bool kept; /* is in the list, and counted */
	/* Every authenticator that came in: which of them the library used
	 * is its own affair, none may be an old one. */
	uint64_t seen[ACCEPT_LEGS_MAX];
	size_t nseen;
};

TAILQ_HEAD(exchange_list, exchange);

_Static_assert(KRB5CONF_SKEW_MAX_S <= REPLAY_SKEW_MAX_S &&
		   KRB5CONF_SKEW_S == REPLAY_SKEW_S,
	       "what krb5 allows can be remembered");

/* The largest identity and the largest token go in one message; what is left
 * is for its other fields. */
_Static_assert(IDENTITY_PACKED_MAX + ACCEPT_TOKEN_OUT_MAX <= IPC_BODY_MAX - 64,
	       "AUTH_REPLY takes every answer");

struct accept {
	struct replay *replay;
	struct sids *sids;
	/* Usually empty or short: Kerberos is done after one leg. */
	struct exchange_list open[RELAY_MAX];
	size_t nopen[RELAY_MAX];
	size_t total;
};

/* --- exchanges ----------------------------------------------------------- */

struct accept *
accept_new(struct replay_log *log)
{
	struct accept *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	for (int s = 0; s < RELAY_MAX; s++)
		TAILQ_INIT(&a->open[s]);
	a->replay = replay_new(REPLAY_LOG_MAX, log, clock_boot_ns());
	a->sids = sids_new();
	if (a->replay == NULL || a->sids == NULL)
		accept_free(&a);
	return a;
}

void
accept_allow(struct accept *a, int skew_s)
{
	replay_allow(a->replay, skew_s);
}

void
accept_free(struct accept **a)
{
	if (*a == NULL)
		return;
	for (unsigned s = 0; s < RELAY_MAX; s++)
		accept_abort_slot(*a, s);
	replay_free(&(*a)->replay);
	sids_free(&(*a)->sids);
	free(*a);
	*a = NULL;
}

static struct exchange *
exchange_find(struct accept *a, unsigned slot, uint64_t id)
{
	struct exchange *x;

	TAILQ_FOREACH(x, &a->open[slot], link)
	if (x->id == id)
		return x;
	return NULL;
}

/* It takes no place yet: most are over with their first leg. */
static struct exchange *
exchange_new(const struct accept_leg *leg)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->slot = leg->slot;
	x->id = leg->id;
	x->ctx = GSS_C_NO_CONTEXT;
	x->ends_ns = leg->arrived_ns + leg->timeout_ms * NS_PER_MS;
	return x;
}

/* Until its next leg.  False when there is no place. */
static bool
exchange_keep(struct accept *a, struct exchange *x)
{
	if (x->kept)
		return true;
	if (a->total >= ACCEPT_OPEN_MAX ||
	    a->nopen[x->slot] >= ACCEPT_OPEN_SLOT_MAX)
		return false;
	TAILQ_INSERT_TAIL(&a->open[x->slot], x, link);
	a->nopen[x->slot]++;
	a->total++;
	x->kept = true;
	return true;
}

static void
exchange_end(struct accept *a, struct exchange *x)
{
	OM_uint32 minor;

	if (x->kept) {
		TAILQ_REMOVE(&a->open[x->slot], x, link);
		a->nopen[x->slot]--;
		a->total--;
	}
	gss_delete_sec_context(&minor, &x->ctx, GSS_C_NO_BUFFER);
	free(x);
}

void
accept_abort(struct accept *a, unsigned slot, uint64_t id)
{
	struct exchange *x = exchange_find(a, slot, id);

	if (x != NULL)
		exchange_end(a, x);
}

void
accept_abort_slot(struct accept *a, unsigned slot)
{
	while (!TAILQ_EMPTY(&a->open[slot]))
		exchange_end(a, TAILQ_FIRST(&a->open[slot]));
}

size_t
accept_expire(struct accept *a, uint64_t now_ns)
{
	struct exchange *x, *next;

	for (unsigned s = 0; s < RELAY_MAX; s++) {
		for (x = TAILQ_FIRST(&a->open[s]); x != NULL; x = next) {
			next = TAILQ_NEXT(x, link);
			if (now_ns >= x->ends_ns)
				exchange_end(a, x);
		}
	}
	return a->total;
}

/* --- results ---------------------------------------------------------------
 */

void
accept_result_fini(struct accept_result *r)
{
	OM_uint32 minor;

	gss_release_buffer(&minor, &r->token);
	identity_free(&r->identity);
}

/* Says no.  detail may be NULL, and may be r->detail itself. */
static void
refuse(struct accept_result *r, enum auth_cause cause, const char *detail)
{
	identity_free(&r->identity);
	r->outcome = auth_cause_is_busy(cause) ? AUTH_BUSY : AUTH_FAILED;
	r->cause = cause;
	if (detail != NULL && detail != r->detail)
		snprintf(r->detail, sizeof(r->detail), "%s", detail);
}

/* One call of gss_accept_sec_context() and what it gave. */
struct outcome {
	OM_uint32 major, minor, flags, lifetime_s;
	bool own; /* the binding that was tried is the connection's own */
	gss_name_t name;
	gss_OID mech; /* static memory of the library */
};

/* After the library said no: ask krb5 why, and put it into words. */
static void
explain(const struct keytab *kt, const struct apreq *req,
	const struct outcome *o, struct accept_result *r)
{
	struct cause_facts f = {.major = o->major};
	struct keytab_ticket t = {.opens = false};
	char words[256];
	struct sbuf b;

	sbuf_init(&b, r->detail, sizeof(r->detail));
	if (req->kind == APREQ_FOUND)
		keytab_open(kt, req, &t);
	memcpy(r->claimed, t.client, sizeof(r->claimed));
	if (req->kind == APREQ_FOUND &&
	    GSS_ROUTINE_ERROR(o->major) != GSS_S_BAD_BINDINGS) {
		f.has_ticket = true;
		keytab_match(kt, req, &f.match);
		f.opens = t.opens;
		f.pac_bad = t.pac_bad;
		f.code = keytab_try(kt, req, words, sizeof(words));
	}
	if (f.has_ticket && f.code != 0)
		sbuf_str(&b, words);
	else
		cause_put_status(&b, o->major, o->minor, o->mech);
	if (req->kind == APREQ_FOUND)
		cause_put_ticket(&b, req, &f.match);
	refuse(r, cause_of(&f), NULL);
}

/* --- identity ----------------------------------------------------------- */

/* The name as text.  Names with a NUL, which no comparison could see, are not
 * names. */
static bool
name_text(gss_name_t name, char *out, size_t size)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;
	bool ok;

	ok = name != GSS_C_NO_NAME &&
	     gss_display_name(&minor, name, &text, NULL) == GSS_S_COMPLETE &&
	     text.length > 0 && memchr(text.value, '\0', text.length) == NULL &&
	     str_copy(out, size, (struct slice){text.value, text.length}) == 0;
	gss_release_buffer(&minor, &text);
	return ok;
}

/* The name that was accepted of a client that is refused all the same. */
static void
claim(struct accept_result *r, gss_name_t name)
{
	if (!name_text(name, r->claimed, sizeof(r->claimed)))
		r->claimed[0] = '\0';
}

/*
 * The service that the ticket is for.  The library names the entry of the
 * keytab whose key opened the ticket; the SPNs of one account share a key, so
 * that may be any of them.  The ticket's own word is better where the keytab
 * has such a key.  It is not protected: nothing is decided by it.
 */
static void
take_spn(struct identity *id, gss_ctx_id_t ctx, const struct keytab *kt,
	 const struct apreq *req)
{
	gss_name_t target = GSS_C_NO_NAME;
	struct keytab_match match;
	OM_uint32 minor;

	if (req->kind == APREQ_FOUND) {
		keytab_match(kt, req, &match);
		if (match.exact &&
		    apreq_principal(req, id->spn, sizeof(id->spn)) == 0)
			return;
	}
	if (gss_inquire_context(&minor, ctx, NULL, &target, NULL, NULL, NULL,
				NULL, NULL) == GSS_S_COMPLETE)
		(void)!name_text(target, id->spn, sizeof(id->spn));
	gss_release_name(&minor, &target);
}

static struct identity *
make_identity(struct accept *a, gss_ctx_id_t ctx, const struct keytab *kt,
	      const struct apreq *req, const struct outcome *o)
{
	struct identity *id = identity_new();

	if (id == NULL)
		return NULL;
	if (!name_text(o->name, id->principal, sizeof(id->principal))) {
		identity_free(&id);
		return NULL;
	}
	id->mech = MECH_KERBEROS;
	id->bound = (o->flags & GSS_C_CHANNEL_BOUND_FLAG) != 0;
	id->bound_before = id->bound && !o->own;
	/* The library adds the clock skew that it allows. */
	if (o->lifetime_s != GSS_C_INDEFINITE)
		id->expires = clock_real_ns() / NS_PER_S + o->lifetime_s;
	take_spn(id, ctx, kt, req);
	/* In a later leg there is no AP-REQ: both stay unknown. */
	if (req->kind == APREQ_FOUND) {
		id->enctype = req->enctype;
		id->kvno = req->kvno;
	}
	if (sids_take(a->sids, o->name, id) != 0)
		identity_free(&id);
	return id;
}

/* --- steps ---------------------------------------------------------------- */

/* None of the exchange's authenticators may be an old one, and none may come
 * again.  There is always one: apreq_find() sees what the library sees. */
static bool
remember(struct accept *a, const struct exchange *x, struct accept_result *r)
{
	uint64_t now = clock_boot_ns();
	int e;

	if (x->nseen == 0) {
		refuse(r, CAUSE_MALFORMED, "no authenticator was found");
		return false;
	}
	for (size_t i = 0; i < x->nseen; i++) {
		e = replay_add(a->replay, x->seen[i], now);
		if (e == 0)
			continue;
		if (e == -EEXIST)
			refuse(r, CAUSE_REPLAY, NULL);
		else
			refuse(r, CAUSE_BUSY, "the replay set is full");
		return false;
	}
	return true;
}

static void
complete(struct accept *a, const struct exchange *x, const struct keytab *kt,
	 const struct accept_leg *leg, const struct apreq *req,
	 const struct outcome *o, struct accept_result *r)
{
	if (o->mech == GSS_C_NO_OID || !gss_oid_equal(o->mech, gss_mech_krb5)) {
		refuse(r, CAUSE_NO_MECH, "accepted by another mechanism");
		return;
	}
	if ((o->flags & GSS_C_ANON_FLAG) != 0) {
		refuse(r, CAUSE_NO_MECH, "the client is anonymous");
		return;
	}
	if (leg->must_bind && (o->flags & GSS_C_CHANNEL_BOUND_FLAG) == 0) {
		refuse(r, CAUSE_NOT_BOUND, NULL);
		claim(r, o->name);
		return;
	}
	if (!remember(a, x, r)) {
		claim(r, o->name);
		return;
	}
	r->identity = make_identity(a, x->ctx, kt, req, o);
	if (r->identity == NULL) {
		refuse(r, CAUSE_INTERNAL, "the client's name cannot be read");
		return;
	}
	r->outcome = AUTH_OK;
	r->cause = CAUSE_NONE;
}

/* Runs the library over one leg, with one binding or none. */
static void
run(struct exchange *x, const struct keytab *kt, struct slice token,
    struct slice binding, struct outcome *o, gss_buffer_t reply)
{
	struct gss_channel_bindings_struct cb = {0}; /* addresses: none */
	gss_buffer_desc in = {.length = token.len};

	/* The library's types lack const; it writes neither. */
	memcpy(&in.value, &token.p, sizeof(in.value));
	cb.application_data.length = binding.len;
	memcpy(&cb.application_data.value, &binding.p,
	       sizeof(cb.application_data.value));
	*o = (struct outcome){.name = GSS_C_NO_NAME, .mech = GSS_C_NO_OID};
	o->major = gss_accept_sec_context(
	    &o->minor, &x->ctx, keytab_cred(kt), &in,
	    binding.len > 0 ? &cb : GSS_C_NO_CHANNEL_BINDINGS, &o->name,
	    &o->mech, reply, &o->flags, &o->lifetime_s, NULL);
}

/*
 * The same with each binding until one is not wrong.  The library looks at
 * them last, when ticket and authenticator are good, so a stranger cannot make
 * us try more than one; and its replay cache is off (ours is asked before and
 * told after), so trying again is no replay.
 */
static void
run_bindings(struct exchange *x, const struct keytab *kt,
	     const struct accept_leg *leg, struct outcome *o,
	     gss_buffer_t reply)
{
	bool again = x->ctx == GSS_C_NO_CONTEXT;
	OM_uint32 minor;

	if (leg->nbindings == 0) {
		run(x, kt, leg->token, SLICE_LIT(""), o, reply);
		return;
	}
	for (size_t i = 0; i < leg->nbindings; i++) {
		if (i > 0) {
			gss_delete_sec_context(&minor, &x->ctx,
					       GSS_C_NO_BUFFER);
			gss_release_buffer(&minor, reply);
			gss_release_name(&minor, &o->name);
		}
		run(x, kt, leg->token, leg->binding[i], o, reply);
		o->own = leg->own && i == 0;
		if (!again || GSS_ROUTINE_ERROR(o->major) != GSS_S_BAD_BINDINGS)
			return;
	}
}

static void
step(struct accept *a, struct exchange *x, const struct keytab *kt,
     const struct accept_leg *leg, const struct apreq *req,
     struct accept_result *r)
{
	struct outcome o;
	OM_uint32 minor;

	if (++x->legs > ACCEPT_LEGS_MAX) {
		refuse(r, CAUSE_MALFORMED, "the exchange does not end");
		return;
	}
	if (req->kind == APREQ_FOUND)
		x->seen[x->nseen++] =
		    replay_hash(a->replay, req->authenticator);
	run_bindings(x, kt, leg, &o, &r->token);
	if (GSS_ERROR(o.major))
		explain(kt, req, &o, r);
	else if ((o.major & GSS_S_CONTINUE_NEEDED) == 0)
		complete(a, x, kt, leg, req, &o, r);
	else if (r->token.length > 0)
		r->outcome = AUTH_CONTINUE;
	else
		refuse(r, CAUSE_MALFORMED, "nothing to answer with");
	gss_release_name(&minor, &o.name);
	if (r->token.length > ACCEPT_TOKEN_OUT_MAX) {
		gss_release_buffer(&minor, &r->token);
		refuse(r, CAUSE_INTERNAL, "the reply token is too large");
	}
}

/* The exchange of this leg; NULL with r set when there is none. */
static struct exchange *
exchange_of(struct accept *a, const struct accept_leg *leg,
	    struct accept_result *r)
{
	struct exchange *x = exchange_find(a, leg->slot, leg->id);

	if (!leg->first) {
		if (x == NULL)
			refuse(r, CAUSE_TIMEOUT,
			       "the exchange is over, or never began");
		return x;
	}
	if (x != NULL)
		exchange_end(a, x);
	x = exchange_new(leg);
	if (x == NULL)
		refuse(r, CAUSE_INTERNAL, "no memory");
	return x;
}

/* What needs no key to be refused.  True when it was. */
static bool
refuse_early(struct accept *a, const struct keytab *kt, const struct apreq *req,
	     struct accept_result *r)
{
	struct keytab_ticket t;
	struct sbuf b;

	switch (req->kind) {
	case APREQ_BAD:
		sbuf_init(&b, r->detail, sizeof(r->detail));
		sbuf_fmt(&b, "cannot read the token: %s", req->why);
		refuse(r, CAUSE_MALFORMED, NULL);
		return true;
	case APREQ_NTLM:
		refuse(r, CAUSE_NTLM, NULL);
		return true;
	case APREQ_NO_MECH:
		refuse(r, CAUSE_NO_MECH, NULL);
		return true;
	case APREQ_EMPTY:
	case APREQ_FOUND:
		break;
	}
	if (kt == NULL) {
		refuse(r, CAUSE_NO_KEYTAB, NULL);
		return true;
	}
	if (req->kind == APREQ_FOUND &&
	    replay_has(a->replay, replay_hash(a->replay, req->authenticator))) {
		keytab_open(kt, req, &t);
		memcpy(r->claimed, t.client, sizeof(r->claimed));
		refuse(r, CAUSE_REPLAY, NULL);
		return true;
	}
	return false;
}

static enum auth_mech
mech_of(const struct apreq *req)
{
	if (req->kind == APREQ_NTLM)
		return MECH_NTLM;
	return req->kind == APREQ_FOUND ? MECH_KERBEROS : MECH_NONE;
}

void
accept_step(struct accept *a, const struct keytab *kt,
	    const struct accept_leg *leg, struct accept_result *r)
{
	struct exchange *x;
	struct apreq req;
	OM_uint32 minor;

	BUG_ON(leg->slot >= RELAY_MAX);
	memset(r, 0, sizeof(*r));
	apreq_find(&req, leg->token);
	r->mech = mech_of(&req);
	if (refuse_early(a, kt, &req, r)) {
		accept_abort(a, leg->slot, leg->id);
		return;
	}
	x = exchange_of(a, leg, r);
	if (x == NULL)
		return;
	step(a, x, kt, leg, &req, r);
	if (r->outcome == AUTH_CONTINUE && !exchange_keep(a, x)) {
		gss_release_buffer(&minor, &r->token);
		refuse(r, CAUSE_HALF_DONE, NULL);
	}
	if (r->outcome != AUTH_CONTINUE)
		exchange_end(a, x);
}
