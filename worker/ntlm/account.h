/*
 * account: who an accepted NTLM context belongs to.
 *
 * Through winbind the mechanism gives the SIDs of the account and its groups;
 * the name is then the directory's own for the first of them, not what the
 * client wrote: NTLM lets a client name a domain that nobody checks.  An
 * account of ntlm_user_file has its name there and no SIDs.
 */
#ifndef RMS_NTLM_ACCOUNT_H
#define RMS_NTLM_ACCOUNT_H

#include <gssapi/gssapi.h>

#include "shm/identity.h"
#include "shm/msg.h"

/*
 * Fills id->principal and the SIDs from the name of a complete context.
 * CAUSE_NONE; else the account is not to be let in, and detail says more.
 */
MUST_USE enum auth_cause account_take(struct identity *id, gss_name_t name,
				      char *detail, size_t detail_size);

/* Does winbind answer?  Blocks as long as it does not. */
MUST_USE bool account_winbind_is_there(void);

/* "S-1-5-…,S-1-5-…" (maybe with a NUL) into id, for account_take() and its
 * test: the account's first, none twice.  0; -EINVAL, -E2BIG, -ENOMEM with
 * none. */
MUST_USE int account_sids(struct identity *id, struct slice list);

#endif
