/*
 * staple: the OCSP response that goes with a certificate (RFC 6066 8).
 *
 * Each context of a certificate has a place for one, which may change while
 * the context does not.  Clients that ask get it until it ends; then nothing,
 * as if there had never been one.
 */
#ifndef RMS_STAPLE_H
#define RMS_STAPLE_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/base/bug.h"

/* Gives ctx a place, empty.  0 or -ENOMEM. */
MUST_USE int staple_install(SSL_CTX *ctx);

/* What is in it from now on; takes *der (malloc), NULL: nothing.  until_s: the
 * end, as time(2) counts. */
void staple_set(SSL_CTX *ctx, char **der, size_t len, uint64_t until_s);

#endif
