/*
 * Purpose: a library context of OpenSSL with the algorithms of TLS only.
 *
 * Runs in: relay, at its start.
 * Trusts:  OpenSSL and openssl.cnf.
 * Touches: OpenSSL's default context.
 * Failure: -ENOMEM, or -EINVAL: openssl.cnf.
 *
 * The context has one provider, built in, that hands on what the default
 * provider has under the names below.  That one stays in the global context and
 * finds there what it needs itself, as the digest of a KDF.
 */
#include "worker/relay/algorithms.h"

#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shm/base/bug.h"

/* First names, as provider-*(7) have them; for keys, of all operations. */
static const char *const algorithms_kept[] = {
    /* digests: of handshakes and certificates */
    "SHA1",
    "SHA2-224",
    "SHA2-256",
    "SHA2-384",
    "SHA2-512",
    "SHA3-256",
    "SHA3-384",
    "SHA3-512",
    /* ciphers: of records, and of our tickets */
    "AES-256-GCM",
    "AES-128-GCM",
    "ChaCha20-Poly1305",
    "AES-256-CBC",
    /* derivation, authentication, random numbers */
    "HMAC",
    "HKDF",
    "TLS13-KDF",
    "TLS1-PRF",
    "CTR-DRBG",
    "SEED-SRC",
    /* keys */
    "RSA",
    "RSA-PSS",
    "EC",
    "ECDH",
    "ECDSA",
    "X25519",
    "X448",
    "ED25519",
    "ED448",
    "DH",
};

/* Without OSSL_OP_ASYM_CIPHER: no key is transported by RSA. */
static const int algorithms_operations[] = {
    OSSL_OP_DIGEST,  OSSL_OP_CIPHER,  OSSL_OP_MAC,     OSSL_OP_KDF,
    OSSL_OP_RAND,    OSSL_OP_KEYMGMT, OSSL_OP_KEYEXCH, OSSL_OP_SIGNATURE,
    OSSL_OP_ENCODER, OSSL_OP_DECODER,
};

static struct {
	OSSL_PROVIDER *all;
	/* of each operation, ended by one without names */
	OSSL_ALGORITHM *kept[ARRAY_LEN(algorithms_operations)];
} algorithms;

static bool
algorithms_is_kept(const char *names)
{
	size_t n = strcspn(names, ":");

	for (size_t i = 0; i < ARRAY_LEN(algorithms_kept); i++)
		if (strlen(algorithms_kept[i]) == n &&
		    strncasecmp(names, algorithms_kept[i], n) == 0)
			return true;
	return false;
}

/* Owned by the caller; NULL: no memory. */
static OSSL_ALGORITHM *
algorithms_choose(const OSSL_ALGORITHM *from)
{
	OSSL_ALGORITHM *to;
	size_t n = 0;

	while (from != NULL && from[n].algorithm_names != NULL)
		n++;
	to = calloc(n + 1, sizeof(*to));
	if (to == NULL)
		return NULL;
	for (size_t i = 0, kept = 0; i < n; i++)
		if (algorithms_is_kept(from[i].algorithm_names))
			to[kept++] = from[i];
	return to;
}

static int
algorithms_choose_all(void)
{
	int no_store;

	for (size_t i = 0; i < ARRAY_LEN(algorithms_operations); i++) {
		algorithms.kept[i] =
		    algorithms_choose(OSSL_PROVIDER_query_operation(
			algorithms.all, algorithms_operations[i], &no_store));
		if (algorithms.kept[i] == NULL)
			return -ENOMEM;
	}
	return 0;
}

static const OSSL_ALGORITHM *
algorithms_query(void *ctx UNUSED, int operation, int *no_store)
{
	*no_store = 0; /* the answer is the same each time */
	for (size_t i = 0; i < ARRAY_LEN(algorithms_operations); i++)
		if (algorithms_operations[i] == operation)
			return algorithms.kept[i];
	return NULL;
}

static int
algorithms_capabilities(void *ctx UNUSED, const char *capability,
			OSSL_CALLBACK *cb, void *arg)
{
	return OSSL_PROVIDER_get_capabilities(algorithms.all, capability, cb,
					      arg);
}

static const OSSL_DISPATCH algorithms_provider[] = {
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))algorithms_query},
    {OSSL_FUNC_PROVIDER_GET_CAPABILITIES,
     (void (*)(void))algorithms_capabilities},
    {0, NULL},
};

static int
algorithms_provider_init(const OSSL_CORE_HANDLE *core UNUSED,
			 const OSSL_DISPATCH *in UNUSED,
			 const OSSL_DISPATCH **out, void **ctx)
{
	*out = algorithms_provider;
	/* implementations are given it */
	*ctx = OSSL_PROVIDER_get0_provider_ctx(algorithms.all);
	return 1;
}

struct algorithms_in_use {
	int normal, others;
};

static int
algorithms_count(OSSL_PROVIDER *p, void *arg)
{
	struct algorithms_in_use *n = arg;

	if (strcmp(OSSL_PROVIDER_get0_name(p), "default") == 0)
		n->normal++;
	else
		n->others++;
	return 1;
}

/* openssl.cnf has not the say about what is used.  Where it names a provider
 * that does not load, there is none, and it shall stay so. */
static bool
algorithms_are_usual(OSSL_LIB_CTX *global)
{
	struct algorithms_in_use n = {0, 0};

	return OSSL_PROVIDER_do_all(global, algorithms_count, &n) == 1 &&
	       n.normal == 1 && n.others == 0 &&
	       EVP_default_properties_is_fips_enabled(global) == 0;
}

/* Those that certificates and signatures name by number are looked up among
 * the names of old, which OpenSSL fills with all 200 if it is let. */
static int
algorithms_old_names(void)
{
	const EVP_MD *const digests[] = {
	    EVP_sha1(),	  EVP_sha224(),	  EVP_sha256(),	  EVP_sha384(),
	    EVP_sha512(), EVP_sha3_256(), EVP_sha3_384(), EVP_sha3_512(),
	};

	for (size_t i = 0; i < ARRAY_LEN(digests); i++)
		if (EVP_add_digest(digests[i]) != 1)
			return -ENOMEM;
	return 0;
}

int
algorithms_init(void)
{
	OSSL_LIB_CTX *global = OSSL_LIB_CTX_get0_global_default(), *ctx;

	if (OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) != 1)
		return -EINVAL;
	if (!algorithms_are_usual(global))
		return 0;
	if (OPENSSL_init_crypto(OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
				    OPENSSL_INIT_NO_ADD_ALL_DIGESTS,
				NULL) != 1 ||
	    algorithms_old_names() != 0)
		return -ENOMEM;
	algorithms.all = OSSL_PROVIDER_load(global, "default");
	ctx = OSSL_LIB_CTX_new();
	if (algorithms.all == NULL || ctx == NULL ||
	    algorithms_choose_all() != 0 ||
	    OSSL_PROVIDER_add_builtin(ctx, "relay", algorithms_provider_init) !=
		1 ||
	    OSSL_PROVIDER_load(ctx, "relay") == NULL)
		return -ENOMEM;
	OSSL_LIB_CTX_set0_default(ctx);
	return OSSL_LIB_CTX_set0_default(NULL) == ctx ? 0 : -ENOMEM;
}
