/*
 * Purpose: find out who a client is, by NTLM.
 *
 * Runs in: the NTLM processes.
 * Trusts:  gss-ntlmssp and winbind; no byte of a token.
 * Touches: half-done exchanges, winbind's pipe (through the mechanism).
 * Failure: a cause and words; never an identity.
 */
#include "worker/ntlm/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/apreq.h"
#include "worker/ntlm/account.h"
#include "worker/ntlm/mech.h"
#include "worker/ntlm/ntlmssp.h"

#define BUCKETS 256 /* a power of two */

struct session {
	LIST_ENTRY(session) link;
	uint64_t number;
	gss_ctx_id_t ctx;
	bool judged; /* an AUTHENTICATE message passed judge() */
	bool bound;  /* it had one of our bindings, */
	bool own;    /* that of its connection */
	bool must_bind;
	char account[2 * NTLMSSP_NAME_MAX]; /* as the client calls itself */
	char target[NTLMSSP_NAME_MAX];
};

LIST_HEAD(session_list, session);

struct sessions {
	struct session_list bucket[BUCKETS];
};

/* --- exchanges ------------------------------------------------------------ */

struct sessions *
sessions_new(void)
{
	return calloc(1, sizeof(struct sessions));
}

static struct session *
session_find(struct sessions *s, uint64_t number)
{
	struct session *x;

	LIST_FOREACH(x, &s->bucket[number % BUCKETS], link)
	if (x->number == number)
		return x;
	return NULL;
}

static struct session *
session_open(struct sessions *s, uint64_t number)
{
	struct session *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->number = number;
	x->ctx = GSS_C_NO_CONTEXT;
	LIST_INSERT_HEAD(&s->bucket[number % BUCKETS], x, link);
	return x;
}

static void
session_end(struct session *x)
{
	OM_uint32 minor;

	LIST_REMOVE(x, link);
	gss_delete_sec_context(&minor, &x->ctx, GSS_C_NO_BUFFER);
	free(x);
}

void
session_abort(struct sessions *s, uint64_t number)
{
	struct session *x = session_find(s, number);

	if (x != NULL)
		session_end(x);
}

void
sessions_free(struct sessions **sp)
{
	struct sessions *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	for (size_t b = 0; b < BUCKETS; b++)
		while (!LIST_EMPTY(&s->bucket[b]))
			session_end(LIST_FIRST(&s->bucket[b]));
	free(s);
}

/* --- results -------------------------------------------------------------- */

void
session_result_fini(struct session_result *r)
{
	OM_uint32 minor;

	gss_release_buffer(&minor, &r->token);
	identity_free(&r->identity);
}

/* Says no.  detail may be r->detail itself. */
static void
refuse(struct session_result *r, enum auth_cause cause, const char *detail)
{
	identity_free(&r->identity);
	r->outcome = auth_cause_is_busy(cause) ? AUTH_BUSY : AUTH_FAILED;
	r->cause = cause;
	if (detail != r->detail)
		snprintf(r->detail, sizeof(r->detail), "%s", detail);
}

/* --- before the mechanism ------------------------------------------------- */

/*
 * Which of our bindings is it that the client has in its response?  The
 * mechanism takes one and refuses a client that brings none beside it, so it is
 * given what the client has, and nothing to one that has nothing.  False: the
 * client's is not ours.
 */
static bool
pick_binding(struct session *x, const struct ntlmssp *n,
	     const struct msg_auth_step *m, struct slice *binding_r)
{
	uint8_t ours[NTLMSSP_BINDING_BYTES];

	*binding_r = (struct slice){NULL, 0};
	/* Without TLS there is nothing to be bound to. */
	if (!n->has_binding || m->nbindings == 0)
		return true;
	for (size_t i = 0; i < m->nbindings; i++) {
		if (ntlmssp_binding(m->binding[i], ours) != 0 ||
		    memcmp(ours, n->binding, sizeof(ours)) != 0)
			continue;
		*binding_r = m->binding[i];
		x->bound = true;
		x->own = m->own && i == 0;
		return true;
	}
	return false;
}

/* What is refused before anybody is asked about a password. */
static bool
judge(struct session *x, const struct ntlmssp *n, const struct msg_auth_step *m,
      struct slice *binding_r, struct session_result *r)
{
	str_cut(x->account, sizeof(x->account), slice_of(n->account));
	str_cut(x->target, sizeof(x->target), slice_of(n->target));
	x->must_bind = m->must_bind;
	if (n->anonymous)
		refuse(r, CAUSE_ANONYMOUS, "");
	else if (!n->v2)
		refuse(r, CAUSE_NTLM_V1, "");
	else if (!pick_binding(x, n, m, binding_r))
		refuse(r, CAUSE_BAD_BINDING, "");
	else if (m->must_bind && !x->bound)
		refuse(r, CAUSE_NOT_BOUND, "");
	else
		x->judged = true;
	return x->judged;
}

/* The message of this leg; false when it was refused. */
static bool
look(struct session *x, const struct msg_auth_step *m, struct slice *binding_r,
     bool *answer_r, struct session_result *r)
{
	struct ntlmssp n;
	struct apreq req;

	*binding_r = (struct slice){NULL, 0};
	*answer_r = false;
	apreq_find(&req, m->token);
	if (req.kind == APREQ_NTLM && req.ntlm.len > 0) {
		ntlmssp_read(&n, req.ntlm);
		if (n.kind == NTLMSSP_BAD) {
			snprintf(r->detail, sizeof(r->detail),
				 "cannot read the token: %s", n.why);
			refuse(r, CAUSE_MALFORMED, r->detail);
			return false;
		}
		*answer_r = n.kind == NTLMSSP_AUTHENTICATE;
		return !*answer_r || judge(x, &n, m, binding_r, r);
	}
	/* SPNEGO without NTLM's part: an offer, or the end of an exchange */
	if (req.kind == APREQ_NTLM || (req.kind == APREQ_EMPTY && x->judged))
		return true;
	refuse(r, CAUSE_MALFORMED, "not NTLM any more");
	return false;
}

/* --- the mechanism ---------------------------------------------------------
 */

/* One call of gss_accept_sec_context() and what it gave. */
struct outcome {
	OM_uint32 major, minor, flags;
	gss_name_t name;
	gss_OID mech; /* static memory of the library */
};

static void
run(struct session *x, struct slice token, struct slice binding,
    struct outcome *o, gss_buffer_t reply)
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
	    &o->minor, &x->ctx, mech_cred(), &in,
	    binding.len > 0 ? &cb : GSS_C_NO_CHANNEL_BINDINGS, &o->name,
	    &o->mech, reply, &o->flags, NULL, NULL);
}

/* The mechanism said no; answer: to a client's response, so that it is about
 * an account. */
static void
explain(bool answer, const struct outcome *o, struct session_result *r)
{
	OM_uint32 routine = GSS_ROUTINE_ERROR(o->major);
	enum auth_cause cause = CAUSE_LOGON;
	struct sbuf b;

	sbuf_init(&b, r->detail, sizeof(r->detail));
	mech_put_status(&b, o->major, o->minor);
	if (routine == GSS_S_DEFECTIVE_TOKEN || routine == GSS_S_BAD_SIG)
		cause = CAUSE_MALFORMED;
	else if (routine == GSS_S_BAD_BINDINGS)
		cause = CAUSE_BAD_BINDING;
	else if (!answer)
		cause = routine == GSS_S_NO_CONTEXT ? CAUSE_MALFORMED
						    : CAUSE_INTERNAL;
	else if (o->minor == EACCES && !account_winbind_is_there())
		cause =
		    CAUSE_NO_WINBIND; /* an account of the file has EINVAL */
	refuse(r, cause, r->detail);
}

static void
complete(struct session *x, const struct outcome *o, struct session_result *r)
{
	bool bound = x->bound && (o->flags & GSS_C_CHANNEL_BOUND_FLAG) != 0;
	enum auth_cause cause;

	if (!x->judged || o->mech == GSS_C_NO_OID ||
	    o->mech->length != mech_ntlm.length ||
	    memcmp(o->mech->elements, mech_ntlm.elements, mech_ntlm.length) !=
		0) {
		refuse(r, CAUSE_NO_MECH, "accepted by another mechanism");
		return;
	}
	if ((o->flags & GSS_C_ANON_FLAG) != 0) {
		refuse(r, CAUSE_ANONYMOUS, "");
		return;
	}
	if (x->must_bind && !bound) {
		refuse(r, CAUSE_NOT_BOUND, "");
		return;
	}
	r->identity = identity_new();
	if (r->identity == NULL) {
		refuse(r, CAUSE_BUSY, "no memory");
		return;
	}
	cause =
	    account_take(r->identity, o->name, r->detail, sizeof(r->detail));
	if (cause != CAUSE_NONE) {
		refuse(r, cause, r->detail);
		return;
	}
	r->identity->mech = MECH_NTLM;
	r->identity->bound = bound;
	r->identity->bound_before = bound && !x->own;
	r->identity->expires = clock_real_ns() / NS_PER_S + SESSION_IDENTITY_S;
	str_cut(r->identity->spn, sizeof(r->identity->spn),
		slice_of(x->target));
	r->outcome = AUTH_OK;
	r->cause = CAUSE_NONE;
}

static void
step(struct session *x, const struct msg_auth_step *m, struct session_result *r)
{
	struct slice binding;
	struct outcome o;
	OM_uint32 minor;
	bool answer;

	if (!look(x, m, &binding, &answer, r))
		return;
	run(x, m->token, binding, &o, &r->token);
	if (GSS_ERROR(o.major))
		explain(answer, &o, r);
	else if ((o.major & GSS_S_CONTINUE_NEEDED) == 0)
		complete(x, &o, r);
	else if (r->token.length > 0)
		r->outcome = AUTH_CONTINUE;
	else
		refuse(r, CAUSE_MALFORMED, "nothing to answer with");
	gss_release_name(&minor, &o.name);
}

void
session_step(struct sessions *s, uint64_t number, const struct msg_auth_step *m,
	     struct session_result *r)
{
	struct session *x = session_find(s, number);

	memset(r, 0, sizeof(*r));
	if (x == NULL)
		x = session_open(s, number);
	if (x == NULL) {
		refuse(r, CAUSE_BUSY, "no memory");
		return;
	}
	step(x, m, r);
	if (r->outcome == AUTH_FAILED)
		str_cut(r->claimed, sizeof(r->claimed), slice_of(x->account));
	if (r->outcome != AUTH_CONTINUE)
		session_end(x);
}
