/*
 * spki: a short name for a key pair, the same on both sides of SIGN: the
 * first eight bytes of the SHA-256 of its SubjectPublicKeyInfo (RFC 5280
 * 4.1.2.7).  Not a secret and no proof; a signature by a wrong key fails the
 * handshake by itself.
 */
#ifndef RMS_SPKI_H
#define RMS_SPKI_H

#include <openssl/types.h>

#include "shm/base/bug.h"

/* 0 when the key cannot be encoded (or without memory): matches nothing. */
uint64_t spki_tag(const EVP_PKEY *key);

#endif
