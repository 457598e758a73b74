/*
 * conf_ntlm: can this host do NTLM, and is that a file of accounts?
 *
 * The mechanism is a plug-in of GSSAPI (gss-ntlmssp) that names itself in
 * /etc/gss/mech or /etc/gss/mech.d/NAME.conf.  The file is the plug-in's
 * NTLM_USER_FILE: a line DOMAIN:user:password for each account.
 */
#ifndef RMS_CONF_NTLM_H
#define RMS_CONF_NTLM_H

#include <stdbool.h>
#include <stddef.h>

#include "shm/base/bug.h"

#define CONF_NTLM_USERS_BYTES_MAX 1048576

/* Does a mechanism with NTLM's number stand in those files? */
MUST_USE bool conf_ntlm_installed(void);

/* NULL, or "why, what would do" (static text, no word of the file). */
MUST_USE const char *conf_ntlm_users(const char *data, size_t len);

#endif
