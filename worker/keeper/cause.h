/*
 * cause: what the library's failure means to the one who must mend it.
 *
 * Pure: the facts go in, a line of auth_causes.def comes out.
 */
#ifndef RMS_CAUSE_H
#define RMS_CAUSE_H

#include "shm/msg.h"
#include "worker/apreq.h"
#include "worker/keeper/keytab.h"

struct cause_facts {
	OM_uint32 major;	   /* of gss_accept_sec_context() */
	bool has_ticket;	   /* the rest is known */
	krb5_error_code code;	   /* of keytab_try() */
	bool opens;		   /* a key opens the ticket, */
	bool pac_bad;		   /* and its PAC is none */
	struct keytab_match match; /* the keytab against the ticket */
};

enum auth_cause cause_of(const struct cause_facts *f);

/* Adds "ticket for SPN, kvno N, ENCTYPE" and, where it helps, what the keytab
 * has instead. */
void cause_put_ticket(struct sbuf *b, const struct apreq *req,
		      const struct keytab_match *match);
/* Adds the library's words for a status.  mech GSS_C_NO_OID: major only. */
void cause_put_status(struct sbuf *b, OM_uint32 major, OM_uint32 minor,
		      gss_OID mech);

#endif
