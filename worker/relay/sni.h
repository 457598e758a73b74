/*
 * sni: which of a listener's certificates a client is shown.
 *
 * Each certificate has a context of its own, made when the listener is; the
 * first one is what handshakes begin with.  Before OpenSSL looks at tickets it
 * asks here, and the connection goes over to the context of the certificate
 * that is chosen: by the name that the client asks for (RFC 6066 3; in full
 * before by wildcard, RFC 9525 6.3), among those by the kinds of key that it
 * knows, among those by their order in the configuration.  So a connection's
 * certificate is its context's, in a resumed one too: the session id context
 * is of the certificate.
 *
 * A listener with one certificate needs none of this, and has none.
 */
#ifndef RMS_SNI_H
#define RMS_SNI_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "shm/base/bug.h"

/* Longest DNS name (RFC 1035 2.3.4). */
#define SNI_NAME_MAX 253

enum sni_key {
	SNI_RSA = 1 << 0,
	SNI_P256 = 1 << 1,
	SNI_P384 = 1 << 2,
	SNI_P521 = 1 << 3,
};

struct sni;

MUST_USE struct sni *sni_new(void);
void sni_free(struct sni **s);

/* Adds the next certificate.  The reference to ctx becomes ours, also when it
 * fails, but not that to the first.  0 or -ENOMEM. */
MUST_USE int sni_add(struct sni *s, SSL_CTX *ctx);

/* The name in the extension server_name as it is looked up: in lower case,
 * without a dot at its end.  Its length; 0: none, or nothing that a
 * certificate could have. */
size_t sni_name(const uint8_t *ext, size_t len, char name_r[SNI_NAME_MAX + 1]);

/* The place of the certificate for this name ("" none) and a client that
 * knows these keys (enum sni_key); always there. */
size_t sni_choose(const struct sni *s, const char *name, unsigned keys);

/* Has a certificate this name, in full or by a wildcard? */
bool sni_knows(const struct sni *s, const char *name);

/* Makes ctx, which is the first certificate's, choose.  It takes *s, and frees
 * it at its own end.  0, or -ENOMEM with *s as it was. */
MUST_USE int sni_install(SSL_CTX *ctx, struct sni **s);

/* The context at this place of one made so (or of any: itself at place 0).
 * NULL: there is none.  Borrowed. */
SSL_CTX *sni_at(SSL_CTX *ctx, size_t place);

#endif
