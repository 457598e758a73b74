/*
 * control_explain: what the parts of the verb `explain` share; nobody else
 * includes it.
 */
#ifndef RMS_CONTROL_EXPLAIN_H
#define RMS_CONTROL_EXPLAIN_H

#include "master/control_call.h"
#include "master/seen.h"
#include "shm/identity.h"
#include "shm/table.h"
#include "shm/trail.h"

/* Entries that are shown; nobody reads more. */
#define EXPLAIN_MATCHES_MAX 64

/* Requests that are shown, the newest ones. */
#define EXPLAIN_REQUESTS_MAX 20

/* Requests of the relays' trails that are asked about. */
struct explain_pick {
	/* one request, by its id */
	uint64_t boot, number;
	/* or those of an address, or of an account */
	const char *address, *account;
	uint64_t whole; /* trail_hash() of that account */

	struct {
		struct trail_note note;
		unsigned slot;
	} hit[EXPLAIN_REQUESTS_MAX]; /* newest first */
	size_t n;
	size_t torn;   /* notes that a relay's end cut */
	unsigned slot; /* that is being looked at */
};

struct explain {
	struct control_call *c;
	const char *asked;
	char account[IDENTITY_PRINCIPAL_MAX]; /* principal, or "" */
	char sid[SID_TEXT_MAX];		      /* of the account, or "" */
	bool cert;			      /* account is a subject */
	const struct seen_account *seen;

	/* what the newest table says of it */
	struct identity *id; /* owned */
	struct table_hit hit;
	struct table_matching match[EXPLAIN_MATCHES_MAX];
	size_t nmatches; /* all of them */

	struct explain_pick pick;
	const struct trail_note *of; /* the request that is asked about */
};

/*
 * The identity of an account as it is remembered: its SIDs, or the user's own
 * when they are not known.  seen may be NULL.  NULL when out of memory;
 * the caller's.
 */
MUST_USE struct identity *explain_identity(const struct seen_account *seen,
					   const char *account, const char *sid,
					   bool cert);
/* Are all of its SIDs known? */
bool explain_groups_known(const struct seen_account *seen);

/* An account that was seen is what is asked about. */
void explain_of(struct explain *x, const struct seen_account *a);
/*
 * Decides afresh, by the newest table, with what the account had to show last:
 * x->id (to be freed), hit and match.  0, or -ENOMEM with a line in c->err.
 */
MUST_USE int explain_decide(struct explain *x);

/* Is it a request's id?  Then it goes into p. */
bool explain_is_request(const char *text, struct explain_pick *p);
bool explain_is_address(const char *text);
/* Looks for p's in all trails. */
void explain_pick(struct master *m, struct explain_pick *p);
/* The member `requests`. */
void explain_show_requests(struct json *j, const struct explain_pick *p);
/* What was decided about it, and with what it came, in words. */
void explain_say_then(struct sbuf *b, const struct trail_note *n);
/* Was it let in?  False too when it did not come so far. */
bool explain_then_allowed(const struct trail_note *n);
/* In what x->hit differs from what was decided about x->of then, in words; ""
 * when in nothing. */
void explain_say_now(struct sbuf *b, const struct explain *x);
/* What would do for them, or "". */
void explain_advise_requests(struct sbuf *b, const struct explain_pick *p);

/* The members `matches` to `overlap`. */
void explain_show_matches(const struct explain *x);
/* The members of the reply. */
void explain_show(struct explain *x);

/* "allow" ... */
const char *explain_verdict_word(enum verdict v);
/* Why the first of two entries decides. */
const char *explain_rank(const struct table_matching *a,
			 const struct table_matching *b);
/* The members that `explain` and `servers seen` both tell of an account. */
void explain_show_account(struct json *j, const struct seen_account *a);

#endif
