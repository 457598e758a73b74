/*
 * Purpose: name a key pair by its public part.
 *
 * Runs in: relay, keeper.
 * Trusts:  nothing.
 * Touches: nothing.
 * Failure: 0, which is no key's name.
 */
#include "worker/spki.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "shm/base/log.h"

uint64_t
spki_tag(const EVP_PKEY *key)
{
	unsigned char md[EVP_MAX_MD_SIZE], *der = NULL;
	unsigned n = 0;
	uint64_t tag = 0;
	int len = i2d_PUBKEY(key, &der);

	if (len > 0 &&
	    EVP_Digest(der, (size_t)len, md, &n, EVP_sha256(), NULL) == 1)
		memcpy(&tag, md, sizeof(tag));
	OPENSSL_free(der);
	return tag;
}
