/*
 * pac: whom a ticket's PAC names, and which groups it puts them in.
 *
 * Read is the logon information (MS-PAC 2.5, KERB_VALIDATION_INFO) as GSSAPI
 * gives it, whose signature the library has found right.  No allocation, no
 * recursion, time bounded by the length.
 *
 * Invariants of a result:
 *	no SID twice; each is valid; those of one source stand together, in the
 *	order of enum sid_source, so the account's own is the first
 */
#ifndef RMS_PAC_H
#define RMS_PAC_H

#include "shm/identity.h"

/* UTF-16 units of a name; the directory allows sAMAccountName no more. */
#define PAC_NAME_UNITS_MAX 256
#define PAC_NAME_MAX	   (3 * PAC_NAME_UNITS_MAX + 1)

struct pac_logon {
	/* UTF-8, for people; what is no character is U+FFFD. */
	char user[PAC_NAME_MAX];   /* "EXCH01$" */
	char domain[PAC_NAME_MAX]; /* "CONTOSO" */
	size_t nsids;
	struct identity_sid sid[IDENTITY_SIDS_MAX];
};

/*
 * Reads it.  A SID is taken when every place that lists it with attributes
 * says that it is enabled and none that it is for denying only; ExtraSids and
 * ResourceGroupIds count only when UserFlags says that they are there.
 *
 * 0; -EPROTO: it is malformed; -E2BIG: more than IDENTITY_SIDS_MAX SIDs.  With
 * an error *why_r says what is wrong (a constant), and there are neither SIDs
 * nor names: nothing of a PAC counts unless all of it does.
 */
MUST_USE int pac_decode(struct slice ndr, struct pac_logon *out_r,
			const char **why_r);

#endif
