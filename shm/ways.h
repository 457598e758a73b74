/*
 * ways: how an account comes (ways.def), as bits.
 */
#ifndef RMS_WAYS_H
#define RMS_WAYS_H

#include <stdbool.h>

#include "shm/identity.h"

enum way {
#define WAY(name, member, meaning) WAY_##name,
#include "shm/ways.def"
#undef WAY
	WAY_MAX
};
#define WAY_BIT(w) (1U << (w))

const char *way_name(enum way w); /* "http" ... */
unsigned ways_of(bool tls, bool bound, enum auth_mech mech, int32_t enctype);

/* Name of a Kerberos encryption type (IANA's registry, as krb5 writes it), or
 * NULL when it is not one that is in use. */
const char *enctype_name(int32_t enctype);
/* RC4 and DES: no longer to be relied on (RFC 8429, RFC 6649). */
bool enctype_is_weak(int32_t enctype);

#endif
