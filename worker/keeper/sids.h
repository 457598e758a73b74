/*
 * sids: the SIDs of a client that was let in by Kerberos, from the PAC of its
 * ticket.
 *
 * libkrb5 accepts a client whose PAC is missing or not signed with the
 * service's key; it only keeps the PAC's contents to itself then.  So there is
 * always an identity, with SIDs or with the reason why there are none.
 */
#ifndef RMS_SIDS_H
#define RMS_SIDS_H

#include <gssapi/gssapi.h>

#include "shm/identity.h"

struct sids;

/* NULL when out of memory. */
MUST_USE struct sids *sids_new(void);
void sids_free(struct sids **s);

/*
 * Gives id (which has none) the SIDs of name, or sets id->lack.  name is what
 * gss_accept_sec_context() gave; borrowed.  0 or -ENOMEM.
 */
MUST_USE int sids_take(struct sids *s, gss_name_t name, struct identity *id);

#endif
