/*
 * Purpose: find out who a request comes from, with the keeper's help.
 *
 * Runs in: relay.
 * Trusts:  the keeper for the identity; nobody else.
 * Touches: the channel to the keeper.
 * Failure: 401 with the reason in log and event; 503 when the keeper is busy.
 *
 * Rules: a request that brings Authorization is decided by it alone, and each
 * has to bring it.  Only where connection_auth is on an identity stays with the
 * connection, and only for a direct client: as soon as an intermediary shows
 * itself on the connection, every request authenticates itself again.  NTLM
 * proves an account to a connection, not to a request: through an intermediary
 * that shows itself it is refused, before it and for the rest of the
 * connection.
 */
#include <errno.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/base64.h"
#include "worker/relay/client.h"
#include "worker/relay/local.h"
#include "worker/relay/tell.h"
#include "worker/relay/tls.h"

#define AUTH_BUCKETS	1024  /* a power of two */
#define AUTH_BODY_MAX	67584 /* of AUTH_STEP in ipc_msgs.def */
#define AUTH_DETAIL_MAX 512

/* Clients with an exchange at the keeper, by its number. */
static struct client *auth_bucket[AUTH_BUCKETS];
static uint64_t auth_last_id;
static uint8_t auth_body[AUTH_BODY_MAX];

static void
auth_link(struct client *c)
{
	struct client **b = &auth_bucket[c->auth_id % AUTH_BUCKETS];

	c->auth_next = *b;
	*b = c;
}

static void
auth_unlink(struct client *c)
{
	struct client **b = &auth_bucket[c->auth_id % AUTH_BUCKETS];

	while (*b != NULL && *b != c)
		b = &(*b)->auth_next;
	if (*b != NULL)
		*b = c->auth_next;
	c->auth_id = 0;
	c->auth_pending = false;
}

static struct client *
auth_find(uint64_t id)
{
	struct client *c = auth_bucket[id % AUTH_BUCKETS];

	while (c != NULL && c->auth_id != id)
		c = c->auth_next;
	return c;
}

void
auth_abort(struct client *c)
{
	if (c->auth_id == 0)
		return;
	/* lost when the channel is full: the keeper times it out */
	if (c->w->keeper != NULL && ipc_send(c->w->keeper, IPC_AUTH_ABORT,
					     c->auth_id, NULL, 0, -1) != 0)
		log_debug("an abandoned handshake is left to time out");
	auth_unlink(c);
}

static uint32_t
auth_event(enum auth_cause cause)
{
	if (cause == CAUSE_NTLM || cause == CAUSE_NO_MECH ||
	    cause == CAUSE_NTLM_PROXY)
		return 2106;
	return cause == CAUSE_CERT_CRL ? 2141 : 2000;
}

/* How a client came that was refused, and the account that it says it is, as
 * far as that is known: nothing of it is proven. */
struct auth_claim {
	enum auth_mech mech;
	struct slice account;
};

static enum auth_mech
auth_mech_of(enum auth_cause cause)
{
	if (cause == CAUSE_NTLM || cause == CAUSE_NTLM_PROXY)
		return MECH_NTLM;
	return cause >= CAUSE_CERT_UNKNOWN_CA && cause <= CAUSE_CERT_BAD
		   ? MECH_CERT
		   : MECH_NONE;
}

/* detail as the event and the request's note have it, with the claim. */
static void
auth_tell(struct client *c, enum auth_cause cause,
	  const struct auth_claim *claim, const char *detail)
{
	static struct tell_peers limit;
	enum auth_mech mech =
	    claim->mech != MECH_NONE ? claim->mech : auth_mech_of(cause);
	char mem[AUTH_DETAIL_MAX * 2];
	struct sbuf b;
	struct msg_event e = {
	    .id = auth_event(cause),
	    .account = claim->account,
	    .address = slice_of(c->address),
	    .mech = slice_of(mech == MECH_NONE ? "" : mech_name(mech)),
	    .request = slice_of(c->x != NULL ? c->x->id : ""),
	};

	if (!tell_may_of(&limit, hash_bytes(&c->w->hash, c->address,
					    strlen(c->address))))
		return;
	sbuf_init(&b, mem, sizeof(mem));
	sbuf_fmt(&b, "%s (%s)", auth_cause_text(cause), auth_cause_name(cause));
	if (detail[0] != '\0')
		sbuf_fmt(&b, ": %s", detail);
	if (auth_cause_remedy(cause)[0] != '\0')
		sbuf_fmt(&b, "; %s", auth_cause_remedy(cause));
	e.detail = (struct slice){b.p, b.len};
	child_event(c->w->c, &e);
}

static void
auth_put_claim(struct sbuf *b, const struct auth_claim *claim,
	       struct slice detail)
{
	if (claim->account.len > 0)
		sbuf_fmt(b, "claims to be %.*s", (int)claim->account.len,
			 claim->account.p);
	if (claim->account.len > 0 && detail.len > 0)
		sbuf_str(b, "; ");
	sbuf_put(b, detail.p, detail.len);
}

void
auth_tls_failed(struct client *c)
{
	struct clientcert_refusal r;
	struct auth_claim claim;
	char text[AUTH_DETAIL_MAX];
	struct sbuf b;

	clientcert_failed(c->wire.ssl, &r);
	if (r.cause == CAUSE_NONE)
		return;
	claim = (struct auth_claim){MECH_CERT, slice_of(r.account)};
	sbuf_init(&b, text, sizeof(text));
	auth_put_claim(&b, &claim, slice_of(r.why));
	stat_add(c->w->row, STAT_auth_failed, 1);
	auth_tell(c, r.cause, &claim, text);
}

static void
auth_fail_as(struct client *c, enum auth_cause cause,
	     const struct auth_claim *claim, struct slice detail)
{
	char text[AUTH_DETAIL_MAX];
	struct sbuf b;

	sbuf_init(&b, text, sizeof(text));
	auth_put_claim(&b, claim, detail);
	stat_add(c->w->row, STAT_auth_failed, 1);
	c->x->auth_cause = cause;
	str_cut(c->x->auth_detail, sizeof(c->x->auth_detail), slice_of(text));
	if (cause == CAUSE_REPLAY)
		stat_add(c->w->row, STAT_auth_replays, 1);
	auth_tell(c, cause, claim, text);
	client_refuse(c, REASON_AUTH_FAILED, auth_cause_text(cause));
}

static void
auth_fail(struct client *c, enum auth_cause cause, struct slice detail)
{
	auth_fail_as(c, cause, &(struct auth_claim){MECH_NONE, {"", 0}},
		     detail);
}

static void
auth_fail_cert(struct client *c, const struct clientcert_refusal *r)
{
	auth_fail_as(c, r->cause,
		     &(struct auth_claim){MECH_CERT, slice_of(r->account)},
		     slice_of(r->why));
}

/* It cannot be decided now.  False blame costs hours: NTLM's troubles are
 * winbind's, not the keeper's. */
static void
auth_busy(struct client *c, enum auth_cause cause, struct slice detail)
{
	enum reason why = REASON_AUTH_BUSY;

	stat_add(c->w->row, STAT_auth_busy, 1);
	c->x->auth_cause = cause;
	str_cut(c->x->auth_detail, sizeof(c->x->auth_detail), detail);
	if (cause == CAUSE_TIMEOUT)
		why = REASON_AUTH_TIMEOUT;
	else if (cause == CAUSE_NTLM_TIMEOUT)
		why = REASON_NTLM_TIMEOUT;
	else if (cause == CAUSE_NTLM_BUSY)
		why = REASON_NTLM_BUSY;
	else if (cause == CAUSE_HALF_DONE)
		why = REASON_AUTH_HALF_DONE;
	if (why == REASON_AUTH_HALF_DONE)
		tell_limit(c->w, why, c->address, NULL);
	client_refuse(c, why, NULL);
}

/* What the client's listener holds it to; NULL when it is gone, then the
 * connection ends with this request (client_retire). */
static struct listener *
auth_listener(struct client *c)
{
	return listener_find(c->w, c->listener);
}

/* May an identity stay with the connection?  Not where the connection may be
 * used for more than one client, which one that hides itself does not show: so
 * only where the operator says that there is none. */
static bool
auth_may_stay(const struct client *c, const struct listener *l)
{
	return !c->shared && l != NULL && l->connection_auth;
}

/* The program that the request is from, as it says: a keyed hash. */
static uint64_t
auth_agent(const struct client *c)
{
	const struct http_req *r = &c->x->req;
	uint64_t h = 0;

	for (size_t i = 0; i < r->nfields; i++)
		if (r->field[i].id == FIELD_USER_AGENT)
			h += hash_bytes(&c->w->hash, r->field[i].value.p,
					r->field[i].value.len);
	return h;
}

/* The identity that the connection already has, when it may be used. */
static bool
auth_from_connection(struct client *c)
{
	struct listener *l = auth_listener(c);
	struct identity *id = c->ident;

	if (id == NULL)
		return false;
	if (!auth_may_stay(c, l)) {
		identity_free(&c->ident);
		return false;
	}
	if (auth_agent(c) != c->agent) {
		/* one connection, two programs: whoever is in between */
		log_info("client %s: requests with different User-Agent on "
			 "one connection, each has to authenticate now",
			 c->address);
		c->shared = true;
		identity_free(&c->ident);
		return false;
	}
	/* the newest rules, on connections that began under others too */
	if ((id->expires != 0 && id->expires <= clock_real_ns() / NS_PER_S) ||
	    (l->binding == BINDING_REQUIRE && !id->bound) ||
	    (id->mech == MECH_NTLM && !c->w->c->conf.ntlm)) {
		identity_free(&c->ident);
		return false;
	}
	c->x->ident = id;
	return true;
}

/* The bindings that the client may have; own holds the first. */
static void
auth_bindings(struct client *c, uint8_t own[TLS_BINDING_MAX],
	      struct msg_auth_step *m)
{
	const struct listener *l = auth_listener(c);
	size_t n = c->wire.ssl == NULL ? 0 : tls_binding(c->wire.ssl, own);

	m->must_bind = l == NULL || l->binding == BINDING_REQUIRE;
	if (l != NULL && l->binding == BINDING_OFF)
		return;
	if (n > 0) {
		m->own = true;
		m->binding[m->nbindings++] =
		    (struct slice){(const char *)own, n};
	}
	for (size_t i = 0; l != NULL && i < l->further.n; i++)
		m->binding[m->nbindings++] = (struct slice){
		    (const char *)l->further.at[i].bytes, l->further.at[i].len};
}

static void
auth_send(struct client *c, struct slice token)
{
	struct relay *w = c->w;
	bool first = !c->auth_pending;
	struct msg_auth_step m = {
	    .deadline_ms = (uint32_t)w->c->conf.auth_timeout_ms,
	    .first = first,
	    .shared = c->shared,
	    .token = token,
	};
	uint8_t own[TLS_BINDING_MAX];
	size_t len;
	int r;

	if (token.len > MSG_TOKEN_BYTES_MAX) {
		auth_fail(c, CAUSE_TOO_LARGE, SLICE_LIT(""));
		return;
	}
	auth_bindings(c, own, &m);
	len = msg_auth_step_pack(&m, auth_body, sizeof(auth_body));
	BUG_ON(len == 0); /* AUTH_BODY_MAX */
	if (first) {
		c->auth_id = ++auth_last_id;
		auth_link(c);
	}
	c->auth_pending = false;
	r = w->keeper == NULL ? -EPIPE
			      : ipc_send(w->keeper, IPC_AUTH_STEP, c->auth_id,
					 auth_body, len, -1);
	if (r == 0) {
		client_enter(c, CLIENT_AUTH);
		return;
	}
	auth_unlink(c);
	if (r == -ENOBUFS)
		stat_add(w->row, STAT_auth_busy, 1);
	client_refuse(c, r == -ENOBUFS ? REASON_AUTH_BUSY : REASON_AUTH_DOWN,
		      NULL);
}

/* May the scheme go to the keeper?  False: it was refused. */
static bool
auth_take_scheme(struct client *c, struct slice scheme)
{
	bool raw = slice_iis(scheme, "NTLM");

	if (raw && !c->w->c->conf.ntlm)
		auth_fail(c, CAUSE_NTLM, SLICE_LIT(""));
	else if (raw && c->shared)
		auth_fail(c, CAUSE_NTLM_PROXY, SLICE_LIT(""));
	else if (!raw && !slice_iis(scheme, "Negotiate"))
		auth_fail(c, CAUSE_NO_MECH,
			  SLICE_LIT("a scheme other than Negotiate"));
	else {
		/* the other scheme begins another handshake */
		if (c->auth_pending && c->auth_raw != raw)
			auth_abort(c);
		c->auth_raw = c->x->auth_ntlm = raw;
		return true;
	}
	return false;
}

/* Authorization: Negotiate <base64> (RFC 4559 4.2), or NTLM <base64>
 * (MS-NTHT). */
static void
auth_with_field(struct client *c)
{
	struct slice a = c->x->req.authorization, scheme = a;
	const char *sp = memchr(a.p, ' ', a.len);
	ssize_t n;

	if (sp != NULL)
		scheme.len = (size_t)(sp - a.p);
	if (!auth_take_scheme(c, scheme))
		return;
	a.p += scheme.len;
	a.len -= scheme.len;
	while (a.len > 0 && a.p[0] == ' ') {
		a.p++;
		a.len--;
	}
	n = base64_decode(c->w->scratch, RELAY_SCRATCH, a);
	if (n == -ENOBUFS)
		auth_fail(c, CAUSE_TOO_LARGE, SLICE_LIT(""));
	else if (n <= 0)
		client_refuse(c, REASON_AUTH_MALFORMED, NULL);
	else
		auth_send(c, (struct slice){c->w->scratch, (size_t)n});
}

/* The certificate of the client's handshake by what l holds now, as c->cert.
 * False: there is none that is good; of *r all is set when its cause is. */
static bool
auth_certificate(struct client *c, const struct listener *l,
		 struct clientcert_refusal *r)
{
	uint64_t now = clock_real_ns() / NS_PER_S;

	r->cause = CAUSE_NONE;
	if (c->wire.ssl == NULL || l->clientcert == CLIENTCERT_OFF)
		return false;
	if (c->cert != NULL && c->cert->expires > now &&
	    memcmp(c->cert_id, l->id, sizeof(c->cert_id)) == 0)
		return true;
	identity_free(&c->cert);
	c->cert = clientcert_identity(c->wire.ssl, l, r);
	if (c->cert == NULL)
		return false;
	memcpy(c->cert_id, l->id, sizeof(c->cert_id));
	stat_add(c->w->row, STAT_auth_ok, 1);
	return true;
}

/*
 * Where one is required, no request is heard without, whatever it brings: the
 * connection may be older than the reload that requires it, or than the list
 * that revokes it.  One that names nobody is one all the same, as it is for the
 * handshake.
 */
static bool
auth_has_required(struct client *c)
{
	const struct listener *l = auth_listener(c);
	UNINIT struct clientcert_refusal r;

	if (l == NULL || l->clientcert != CLIENTCERT_REQUIRE ||
	    auth_certificate(c, l, &r) || r.cause == CAUSE_CERT_NAME)
		return true;
	auth_abort(c);
	c->x->req.keep_alive = false; /* only a handshake can show another */
	if (r.cause == CAUSE_NONE)
		r = (struct clientcert_refusal){.cause = CAUSE_CERT_MISSING};
	auth_fail_cert(c, &r);
	return false;
}

/* It stands for every request of a direct client.  An intermediary that shows
 * itself has shown its own certificate, not that of who asks. */
static bool
auth_from_certificate(struct client *c, struct clientcert_refusal *r)
{
	const struct listener *l = auth_listener(c);

	r->cause = CAUSE_NONE;
	if (c->shared || l == NULL || !auth_certificate(c, l, r))
		return false;
	c->x->ident = c->cert;
	return true;
}

bool
auth_begin(struct client *c)
{
	UNINIT struct clientcert_refusal refused;
	struct exchange *x = c->x;

	x->t_auth = clock_turn_ns();
	if (!auth_has_required(c))
		return false;
	if (x->req.authorization.p != NULL) {
		identity_free(&c->ident);
		auth_with_field(c);
		return false;
	}
	auth_abort(c); /* a half-done handshake that is not gone on with */
	if (x->ntlm_lost) {
		auth_fail(c, CAUSE_NTLM_PROXY, SLICE_LIT(""));
		return false;
	}
	if (auth_from_connection(c) || auth_from_certificate(c, &refused))
		return true;
	if (refused.cause != CAUSE_NONE) {
		auth_fail_cert(c, &refused);
		return false;
	}
	stat_add(c->w->row, STAT_auth_challenges, 1);
	client_refuse(c, REASON_AUTH_REQUIRED, NULL);
	return false;
}

void
auth_on_intermediary(struct client *c)
{
	c->shared = true;
	c->x->ntlm_lost = c->ident != NULL && c->ident->mech == MECH_NTLM;
	identity_free(&c->ident);
}

/* MS-N2HT 3.2.5: will the connection's next request need Authorization?  Said
 * where this one's was good; a client that is not told asks first, which costs
 * it a round trip, or with NTLM takes it that it will not. */
const char *
auth_persistence(const struct exchange *x)
{
	if (!x->auth_proved)
		return "";
	return x->ident_owned ? "Persistent-Auth: false\r\n"
			      : "Persistent-Auth: true\r\n";
}

void
auth_put_fields(const struct client *c, bool offer, struct sbuf *b)
{
	const struct exchange *x = c->x;

	sbuf_str(b, auth_persistence(x));
	if (x->auth_out != NULL) {
		sbuf_fmt(b, "WWW-Authenticate: %s ",
			 x->auth_ntlm ? "NTLM" : "Negotiate");
		sbuf_str(b, x->auth_out);
		sbuf_str(b, "\r\n");
	} else if (offer) {
		sbuf_str(b, "WWW-Authenticate: Negotiate\r\n");
		if (c->w->c->conf.ntlm && !c->shared)
			sbuf_str(b, "WWW-Authenticate: NTLM\r\n");
	}
}

static bool
auth_take_token(struct exchange *x, struct slice token)
{
	if (token.len == 0)
		return true;
	x->auth_out = malloc(BASE64_LEN(token.len) + 1);
	if (x->auth_out == NULL)
		return false;
	base64_encode(x->auth_out, token.p, token.len);
	return true;
}

static void
auth_ok(struct client *c, const struct msg_auth_reply *m)
{
	struct exchange *x = c->x;
	struct unpack u;

	auth_unlink(c);
	unpack_init(&u, m->identity.p, m->identity.len);
	x->ident = identity_unpack(&u);
	if (x->ident == NULL && errno == ENOMEM) {
		client_refuse(c, REASON_NOMEM, NULL);
		return;
	}
	if (x->ident == NULL) {
		auth_fail(c, CAUSE_INTERNAL, SLICE_LIT("no identity"));
		return;
	}
	/* bound to who ends TLS before us: it may send others' requests here */
	c->shared |= x->ident->bound_before;
	if (x->ident->mech == MECH_NTLM && c->shared) {
		identity_free(&x->ident);
		free(x->auth_out); /* it would say that all is well */
		x->auth_out = NULL;
		auth_fail(c, CAUSE_NTLM_PROXY, SLICE_LIT(""));
		return;
	}
	stat_add(c->w->row, STAT_auth_ok, 1);
	x->auth_proved = true;
	if (auth_may_stay(c, auth_listener(c))) {
		c->ident = x->ident;
		c->agent = auth_agent(c);
	} else {
		x->ident_owned = true;
	}
	local_authenticated(c);
}

static void
auth_on_outcome(struct client *c, const struct msg_auth_reply *m)
{
	switch (m->outcome) {
	case AUTH_OK:
		auth_ok(c, m);
		break;
	case AUTH_CONTINUE:
		c->auth_pending = true;
		client_refuse(c, REASON_AUTH_CONTINUE, NULL);
		break;
	case AUTH_BUSY:
		auth_unlink(c);
		auth_busy(c, m->cause, m->detail);
		break;
	case AUTH_FAILED:
		auth_unlink(c);
		auth_fail_as(
		    c, m->cause,
		    &(struct auth_claim){(enum auth_mech)m->mech, m->claimed},
		    m->detail);
		break;
	}
}

/* The token is lost.  A refusal says without it what it has to.  But a client
 * that wants us to prove ourselves, too (RFC 4559 4.1), would throw away a
 * reply without the proof and not know why, and a challenge is nothing else. */
static bool
auth_may_go_without(const struct msg_auth_reply *m)
{
	return m->outcome == AUTH_BUSY || m->outcome == AUTH_FAILED;
}

void
auth_on_reply(struct relay *w UNUSED, uint64_t id, const uint8_t *body,
	      size_t len)
{
	struct client *c = auth_find(id);
	struct msg_auth_reply m;

	if (c == NULL || c->state != CLIENT_AUTH)
		return; /* gone meanwhile, or timed out */
	if (msg_auth_reply_unpack(&m, body, len) != 0) {
		auth_unlink(c);
		auth_fail(c, CAUSE_INTERNAL, SLICE_LIT("malformed reply"));
		return;
	}
	c->x->auth_ns = clock_turn_ns() - c->x->t_auth;
	if (auth_take_token(c->x, m.token) || auth_may_go_without(&m)) {
		auth_on_outcome(c, &m);
	} else {
		if (m.outcome == AUTH_OK)
			auth_unlink(c); /* the keeper holds it no more */
		client_refuse(c, REASON_NOMEM, NULL);
	}
	if (c->state != CLIENT_CLOSED)
		client_run(c);
}

void
auth_keeper_gone(struct relay *w)
{
	struct client *c, *next;

	for (c = w->clients; c != NULL; c = next) {
		next = c->next;
		if (c->auth_id == 0)
			continue;
		auth_unlink(c);
		if (c->state == CLIENT_AUTH) {
			client_refuse(c, REASON_AUTH_DOWN, NULL);
			if (c->state != CLIENT_CLOSED)
				client_run(c);
		}
	}
}
