/*
 * enctype: Kerberos encryption types by number (IANA's registry of them).
 */
#ifndef RMS_ENCTYPE_H
#define RMS_ENCTYPE_H

#include <stdbool.h>
#include <stdint.h>

/* As krb5 writes it, or NULL when it is not one that is in use. */
const char *enctype_name(int32_t enctype);
/* RC4 and DES: no longer to be relied on (RFC 8429, RFC 6649). */
bool enctype_is_weak(int32_t enctype);

#endif
