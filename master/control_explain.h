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

/* Entries that are shown; nobody reads more. */
#define EXPLAIN_MATCHES_MAX 64

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
