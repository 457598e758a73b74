/*
 * apreq: what can be read of a client's token without any key.
 *
 * A bounded walk over the DER of a GSSAPI or SPNEGO token (RFC 2743 3.1, RFC
 * 4178 4.2) down to the Kerberos AP-REQ (RFC 4120 5.5.1), which says in clear
 * which service, key version and encryption type the ticket is for.  It never
 * allocates; slices borrow from the token.
 *
 * It is also the gate before the libraries: what it cannot read is refused, so
 * nothing is accepted whose authenticator the replay set has not seen.  Lengths
 * must fit exactly at every level and fields must come in order, so that two
 * readers cannot find different things in one token.
 */
#ifndef RMS_APREQ_H
#define RMS_APREQ_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

/* A service principal has two components, "HTTP/name"; some have three. */
#define APREQ_NAMES_MAX 4

enum apreq_kind {
	APREQ_BAD = 0, /* not to be read; why says where it stopped */
	APREQ_NTLM, /* NTLMSSP, raw or as the only thing that SPNEGO offers */
	APREQ_NO_MECH, /* well-formed, but Kerberos is not offered */
	APREQ_EMPTY,   /* SPNEGO without a Kerberos token in this leg */
	APREQ_FOUND,   /* the members below are set */
};

struct apreq {
	enum apreq_kind kind;
	const char *why; /* APREQ_BAD: static text */

	/* The NTLMSSP message, when APREQ_NTLM has one in this leg. */
	struct slice ntlm;

	struct slice whole;	    /* the AP-REQ */
	struct slice ticket;	    /* in it */
	struct slice authenticator; /* its ciphertext: differs in every AP-REQ
				     * that a client makes */
	/* In clear in the ticket, and not protected: facts for a message, not
	 * for a decision. */
	struct slice realm;
	struct slice name[APREQ_NAMES_MAX];
	size_t nnames;
	int32_t enctype;
	bool has_kvno;
	uint32_t kvno;
};

void apreq_find(struct apreq *r, struct slice token);

/*
 * The ticket's service as krb5 writes it, "HTTP/connector.lab.test@LAB.TEST",
 * with its escapes.  0, or -ENAMETOOLONG with out "".
 */
MUST_USE int apreq_principal(const struct apreq *r, char *out, size_t size);

#endif
