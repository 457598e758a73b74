/*
 * mech: the NTLM mechanism of GSSAPI (gss-ntlmssp), made ready.
 *
 * The plug-in, and what it loads in turn, must be there before the sandbox
 * closes; so mech_open() runs a whole logon of an account of its own making,
 * which also shows that the mechanism works.
 *
 * Accepted is NTLM alone, raw or inside SPNEGO, version 2 only.
 */
#ifndef RMS_NTLM_MECH_H
#define RMS_NTLM_MECH_H

#include <gssapi/gssapi_ext.h>

#include "shm/base/bug.h"

/* 1.3.6.1.4.1.311.2.2.10, MS-NLMP. */
extern const gss_OID_desc mech_ntlm;

/* Before any thread and the sandbox.  0, or -errno with "what, why". */
MUST_USE int mech_open(char *why, size_t why_size);
/* Credentials to accept with; of this module. */
gss_cred_id_t mech_cred(void);

/*
 * The accounts of ntlm_user_file from now on: a copy is made, fd stays the
 * caller's; -1: none, only winbind is asked.  0, or -errno with the old ones
 * in force.
 */
MUST_USE int mech_use_accounts(int fd);

/* Adds the library's words for a status. */
struct sbuf;
void mech_put_status(struct sbuf *b, OM_uint32 major, OM_uint32 minor);

#endif
