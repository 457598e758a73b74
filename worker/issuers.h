/*
 * issuers: the pinned issuers of the cloud's certificates (cloud_issuers).
 *
 * The list is what conf/check.c takes: entries separated by semicolons, each
 * the organisation (O) or common name (CN) of an issuer, or `sha256:` and the
 * 64 hex digits of the SHA-256 of an issuer's SubjectPublicKeyInfo (RFC 5280
 * 4.1.2.7; what RFC 7469 pins).  An issuer is any certificate of the verified
 * chain above the leaf.
 */
#ifndef RMS_ISSUERS_H
#define RMS_ISSUERS_H

#include <openssl/types.h>
#include <stdbool.h>

#include "shm/base/bug.h"

/* For an OpenSSL verify callback with ok = 1 at depth 0, where the chain has
 * been verified: true when list is empty or has one of its issuers. */
bool issuers_allow(const char *list, X509_STORE_CTX *store);

/*
 * Whom a refused certificate is of: "certificate of S, issued by I; issuers
 * expected: ...".  Text from the peer is cut and holds no control character.
 * host: the name that was asked for.  True when it looks like TLS inspection:
 * the certificate is for that name, and by an issuer that is not ours to
 * trust.
 */
bool issuers_explain(const char *list, const char *seen, const char *host,
		     X509_STORE_CTX *store, char *text, size_t size);

/* The issuer of cert for people, cut to size. */
void issuers_name(const X509 *cert, char *text, size_t size);

#endif
