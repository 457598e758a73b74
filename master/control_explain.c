/*
 * Purpose: the verb `explain`: why an account is let in or refused.
 *
 * Runs in: the master.
 * Trusts:  its own table; what is known of an account comes from the relays
 *          and is only shown.
 * Touches: nothing.
 * Failure: -errno with a line.
 */
#include "master/control_explain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/publish.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

void
explain_of(struct explain *x, const struct seen_account *a)
{
	x->seen = a;
	x->cert = a->mech == MECH_CERT;
	snprintf(x->account, sizeof(x->account), "%s", a->account);
	snprintf(x->sid, sizeof(x->sid), "%s", a->sid);
}

/* --- who is meant ------------------------------------------------------ */

static bool
is_sid(const char *s)
{
	uint8_t bytes[SID_BYTES_MAX];

	return sid_parse(slice_of(s), bytes) > 0;
}

static void
take_subject(struct explain *x, const char *subject)
{
	x->cert = strncmp(subject, "cert:", 5) == 0;
	if (is_sid(subject))
		snprintf(x->sid, sizeof(x->sid), "%.191s", subject);
	else
		snprintf(x->account, sizeof(x->account), "%.511s",
			 x->cert ? subject + 5 : subject);
}

static const char *
subject_of(const struct explain *x)
{
	return x->account[0] != '\0' ? x->account : x->sid;
}

/* "exch01$" of "exch01$@LAB.TEST". */
static bool
is_short_for(const char *name, const char *principal)
{
	return slice_ieq(slice_of(name),
			 (struct slice){principal, strcspn(principal, "@")});
}

static int
find_named(void *arg, const struct store_server *s)
{
	struct explain *x = arg;

	if ((s->name[0] == '\0' || !slice_iis(slice_of(x->asked), s->name)) &&
	    !is_short_for(x->asked, s->subject))
		return 0;
	take_subject(x, s->subject);
	return 1;
}

/*
 * An account that was seen is known best; else an entry by number, subject
 * or name; else the text is taken for an account that nobody knows.
 */
static int
identify(struct explain *x)
{
	struct master *m = x->c->m;
	struct store_server s;
	int r = store_server_find(m->store, x->asked, &s);

	if (r == 0)
		take_subject(x, s.subject);
	else if (r != -ENOENT)
		return r;
	x->seen =
	    seen_find(m->seen, slice_of(r == 0 ? subject_of(x) : x->asked));
	if (x->seen == NULL && r != 0) {
		r = store_servers_each(m->store, find_named, x);
		if (r < 0)
			return r;
		if (r == 0)
			take_subject(x, x->asked);
		x->seen = seen_find(m->seen, slice_of(subject_of(x)));
	}
	if (x->seen != NULL)
		explain_of(x, x->seen);
	return 0;
}

/* --- what the table says ----------------------------------------------- */

bool
explain_groups_known(const struct seen_account *seen)
{
	return seen != NULL && (seen->nsids == 0 || seen->sids.len > 0);
}

static int
take_sids(struct identity *id, struct slice packed, const char *sid)
{
	size_t n = packed.len == 0 ? 1 : (size_t)sids_count(packed);
	int len;

	id->sids = calloc(n, sizeof(id->sids[0]));
	if (id->sids == NULL)
		return -ENOMEM;
	while (sids_next(&packed, &id->sids[id->nsids]))
		id->nsids++;
	if (id->nsids > 0)
		return 0;
	len = sid_parse(slice_of(sid), id->sids[0].bytes);
	if (len > 0) {
		id->sids[0].source = SID_USER;
		id->sids[0].len = (uint8_t)len;
		id->nsids = 1;
	}
	return 0;
}

struct identity *
explain_identity(const struct seen_account *seen, const char *account,
		 const char *sid, bool cert)
{
	struct identity *id = identity_new();
	struct slice sids = {NULL, 0};

	if (id == NULL)
		return NULL;
	if (seen != NULL) {
		id->mech = (enum auth_mech)seen->mech;
		sids = seen->sids;
	} else {
		id->mech = cert ? MECH_CERT : MECH_KERBEROS;
	}
	snprintf(id->principal, sizeof(id->principal), "%s", account);
	/* One that came last without SIDs has none, whatever it had before. */
	if (seen != NULL && seen->nsids == 0)
		sid = "";
	if (take_sids(id, sids, sid) != 0)
		identity_free(&id);
	return id;
}

int
explain_decide(struct explain *x)
{
	const struct table *t = publish_table_now(x->c->m->publish);
	uint64_t now_s = clock_real_ns() / NS_PER_S;

	x->id = explain_identity(x->seen, x->account, x->sid, x->cert);
	if (x->id == NULL) {
		snprintf(x->c->err, sizeof(x->c->err), "out of memory");
		return -ENOMEM;
	}
	table_decide(t, x->id, now_s, &x->hit);
	x->nmatches =
	    table_matching(t, x->id, now_s, x->match, EXPLAIN_MATCHES_MAX);
	return 0;
}

/* --- the verb ---------------------------------------------------------- */

/* About an account that is known by now. */
static int
explain_decided(struct explain *x)
{
	int r = explain_decide(x);

	if (r != 0)
		return r;
	if (x->pick.n == 0) {
		x->pick.account = x->account;
		explain_pick(x->c->m, &x->pick);
	}
	json_str(&x->c->json, "about", "account");
	explain_show(x);
	return 0;
}

static int
explain_account(struct explain *x)
{
	int r = identify(x);

	return r < 0 ? control_store_failed(x->c, r) : explain_decided(x);
}

/* Requests of which no account is known. */
static int
explain_nobody(struct explain *x, const char *about)
{
	struct json *j = &x->c->json;
	char advice[1024];
	struct sbuf b;

	json_str(j, "about", about);
	explain_show_requests(j, &x->pick);
	sbuf_init(&b, advice, sizeof(advice));
	explain_advise_requests(&b, &x->pick);
	json_slice(j, "advice", (struct slice){b.p, b.len});
	return 0;
}

static int
explain_request(struct explain *x)
{
	const struct trail_note *n = &x->pick.hit[0].note;
	const struct seen_account *a;

	explain_pick(x->c->m, &x->pick);
	if (x->pick.n == 0) {
		snprintf(x->c->err, sizeof(x->c->err),
			 "request %.40s is not remembered: each relay keeps "
			 "its last %d; the access log may have it",
			 x->asked, TRAIL_RECORDS);
		return -ENOENT;
	}
	if ((n->flags & TRAIL_ACCOUNT) == 0)
		return explain_nobody(x, "request");
	a = seen_noted(x->c->m->seen, n->whole,
		       trail_text(n->who, sizeof(n->who)));
	/* Without its SIDs, and maybe half of its name, nothing that the
	 * list says now would be about it. */
	if (a == NULL)
		return explain_nobody(x, "request");
	x->of = n;
	explain_of(x, a);
	return explain_decided(x);
}

static int
explain_asked(struct explain *x)
{
	if (explain_is_request(x->asked, &x->pick))
		return explain_request(x);
	if (!explain_is_address(x->asked))
		return explain_account(x);
	x->pick.address = x->asked;
	explain_pick(x->c->m, &x->pick);
	return explain_nobody(x, "address");
}

int
control_do_explain(struct control_call *c)
{
	struct explain *x;
	const char *asked = control_request_arg(c->req, "account");
	int r;

	if (asked[0] == '\0' || strlen(asked) >= IDENTITY_PRINCIPAL_MAX) {
		snprintf(c->err, sizeof(c->err),
			 "name an account (a principal, a SID, a name or the "
			 "number of an entry), the id of a request, or an "
			 "address");
		return -EINVAL;
	}
	x = calloc(1, sizeof(*x));
	if (x == NULL) {
		snprintf(c->err, sizeof(c->err), "out of memory");
		return -ENOMEM;
	}
	x->c = c;
	x->asked = asked;
	r = explain_asked(x);
	identity_free(&x->id);
	free(x);
	return r;
}
