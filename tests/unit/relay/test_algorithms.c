/*
 * What of OpenSSL is left to a relay is all that its TLS needs, and no more.
 * OpenSSL takes its first choice for good, so each test has its own process.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/base/bug.h"
#include "worker/relay/algorithms.h"

#define PIPE_BYTES 65536

/* work() says what is wrong, or NULL. */
static void
assert_well(const char *(*work)(void))
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		const char *fault = work();

		if (fault != NULL)
			fprintf(stderr, "%s\n", fault);
		_exit(fault != NULL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool
has_cipher(const char *name)
{
	EVP_CIPHER *c = EVP_CIPHER_fetch(NULL, name, NULL);

	EVP_CIPHER_free(c);
	ERR_clear_error();
	return c != NULL;
}

static bool
has_digest(const char *name)
{
	EVP_MD *m = EVP_MD_fetch(NULL, name, NULL);

	EVP_MD_free(m);
	ERR_clear_error();
	return m != NULL;
}

/* --- certificates ----------------------------------------------------------
 */

static EVP_PKEY *
key_of(const char *kind)
{
	if (strcmp(kind, "RSA") == 0)
		return EVP_RSA_gen(2048);
	if (kind[0] == 'P')
		return EVP_EC_gen(kind);
	return EVP_PKEY_Q_keygen(NULL, NULL, kind);
}

/* Of key, signed by issuer's key with digest md (NULL: the key has its own). */
static X509 *
certificate(EVP_PKEY *key, const char *name, EVP_PKEY *issuer,
	    const char *issuer_name, const EVP_MD *md)
{
	X509 *c = X509_new();
	X509_NAME *n = X509_NAME_new();

	/* of version 1 who signs himself counts as a CA */
	X509_set_version(c, key == issuer ? X509_VERSION_1 : X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(c), 1);
	X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC,
				   (const unsigned char *)name, -1, -1, 0);
	X509_set_subject_name(c, n);
	X509_NAME_free(n);
	n = X509_NAME_new();
	X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC,
				   (const unsigned char *)issuer_name, -1, -1,
				   0);
	X509_set_issuer_name(c, n);
	X509_NAME_free(n);
	X509_gmtime_adj(X509_getm_notBefore(c), -60);
	X509_gmtime_adj(X509_getm_notAfter(c), 3600);
	X509_set_pubkey(c, key);
	return X509_sign(c, issuer, md) > 0 ? c : NULL;
}

/* --- handshakes ------------------------------------------------------------
 */

struct shake {
	const char *key;
	int version;
	const char *suite;
	const char *group;
	const char *signature;
};

static const struct shake shakes[] = {
    {"P-256", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "X25519",
     "ECDSA+SHA256"},
    {"P-384", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "P-256",
     "ECDSA+SHA384"},
    {"P-521", TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", "P-384",
     "ECDSA+SHA512"},
    {"RSA", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "P-521",
     "RSA-PSS+SHA256"},
    {"RSA", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "X448", "RSA-PSS+SHA384"},
    {"RSA", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "ffdhe2048",
     "RSA-PSS+SHA512"},
    {"ED25519", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "X25519", "ed25519"},
    {"ED448", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "X25519", "ed448"},
    {"RSA", TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384", "P-256",
     "RSA+SHA256"},
    {"RSA", TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", "X25519",
     "RSA+SHA512"},
    {"RSA", TLS1_2_VERSION, "ECDHE-RSA-CHACHA20-POLY1305", "P-384",
     "RSA-PSS+SHA256"},
    {"P-256", TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", "P-256",
     "ECDSA+SHA256"},
};

static SSL_CTX *
ctx_of(const struct shake *s, bool server)
{
	SSL_CTX *c =
	    SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	SSL_CTX_set_min_proto_version(c, s->version);
	SSL_CTX_set_max_proto_version(c, s->version);
	if (s->version == TLS1_3_VERSION)
		SSL_CTX_set_ciphersuites(c, s->suite);
	else
		SSL_CTX_set_cipher_list(c, s->suite);
	if (SSL_CTX_set1_groups_list(c, s->group) != 1 ||
	    SSL_CTX_set1_sigalgs_list(c, s->signature) != 1)
		return NULL;
	return c;
}

static const char *
shake_hands(SSL_CTX *cc, SSL_CTX *sc)
{
	SSL *c = SSL_new(cc), *s = SSL_new(sc);
	BIO *a, *b;
	int done = 0;
	char byte = 0;

	BIO_new_bio_pair(&a, PIPE_BYTES, &b, PIPE_BYTES);
	SSL_set_bio(c, a, a);
	SSL_set_bio(s, b, b);
	SSL_set_connect_state(c);
	SSL_set_accept_state(s);
	for (int i = 0; i < 16 && done != 2; i++) {
		int r = SSL_do_handshake(c);

		done = (r == 1) + (SSL_do_handshake(s) == 1);
	}
	if (done != 2) {
		ERR_print_errors_fp(stderr);
		return "no handshake";
	}
	if (SSL_write(c, "x", 1) != 1 || SSL_read(s, &byte, 1) != 1 ||
	    byte != 'x')
		return "nothing arrives";
	SSL_free(c);
	SSL_free(s);
	return NULL;
}

/* Its root has signed itself with root_md. */
static const char *
shake_once(const struct shake *s, const EVP_MD *root_md)
{
	EVP_PKEY *root_key = EVP_EC_gen("P-256"), *key = key_of(s->key);
	X509 *root, *leaf;
	SSL_CTX *cc = ctx_of(s, false), *sc = ctx_of(s, true);
	const char *fault;

	if (cc == NULL || sc == NULL || key == NULL)
		return "the group or the signature is not known";
	root = certificate(root_key, "root", root_key, "root", root_md);
	leaf = certificate(key, "leaf", root_key, "root", EVP_sha256());
	if (root == NULL || leaf == NULL)
		return "no certificate";
	SSL_CTX_use_certificate(sc, leaf);
	SSL_CTX_use_PrivateKey(sc, key);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(cc), root);
	SSL_CTX_set_verify(cc, SSL_VERIFY_PEER, NULL);
	fault = shake_hands(cc, sc);
	SSL_CTX_free(cc);
	SSL_CTX_free(sc);
	X509_free(root);
	X509_free(leaf);
	EVP_PKEY_free(key);
	EVP_PKEY_free(root_key);
	return fault;
}

/* --- the tests -------------------------------------------------------------
 */

static const char *
tls_works(void)
{
	if (algorithms_init() != 0)
		return "not set up";
	for (size_t i = 0; i < ARRAY_LEN(shakes); i++) {
		const char *fault = shake_once(&shakes[i], EVP_sha256());

		if (fault == NULL)
			continue;
		fprintf(stderr, "%s, %s, %s, %s: ", shakes[i].key,
			shakes[i].suite, shakes[i].group, shakes[i].signature);
		return fault;
	}
	return NULL;
}

static void
test_all_of_our_tls_works(void **state)
{
	(void)state;
	assert_well(tls_works);
}

static const char *
old_root_works(void)
{
	if (algorithms_init() != 0)
		return "not set up";
	return shake_once(&shakes[0], EVP_sha1());
}

static void
test_a_root_that_sha1_signed_is_one(void **state)
{
	(void)state;
	assert_well(old_root_works);
}

static const char *
the_rest_is_not_there(void)
{
	static const char *const ciphers[] = {
	    "DES-EDE3-CBC", "AES-128-CBC", "CAMELLIA-256-CBC",
	    "ARIA-256-GCM", "AES-256-CCM", "AES-128-CBC-HMAC-SHA1",
	};
	EVP_KDF *kdf;

	if (algorithms_init() != 0)
		return "not set up";
	for (size_t i = 0; i < ARRAY_LEN(ciphers); i++)
		if (has_cipher(ciphers[i]))
			return ciphers[i];
	if (has_digest("MD5") || has_digest("RIPEMD160"))
		return "a digest";
	if (EVP_ASYM_CIPHER_fetch(NULL, "RSA", NULL) != NULL)
		return "key transport";
	kdf = EVP_KDF_fetch(NULL, "PBKDF2", NULL);
	if (kdf != NULL)
		return "a KDF";
	return has_cipher("AES-256-GCM") && has_digest("SHA256")
		   ? NULL
		   : "nothing is there";
}

static void
test_the_rest_is_not_there(void **state)
{
	(void)state;
	assert_well(the_rest_is_not_there);
}

/* As openssl.cnf would. */
static const char *
providers_stay(void)
{
	if (OSSL_PROVIDER_load(NULL, "default") == NULL ||
	    OSSL_PROVIDER_load(NULL, "null") == NULL)
		return "no providers";
	if (algorithms_init() != 0)
		return "not set up";
	return has_digest("SHA1") ? NULL : "the default provider is reduced";
}

static void
test_providers_of_the_host_stay(void **state)
{
	(void)state;
	assert_well(providers_stay);
}

/* Nothing here is of FIPS, so nothing may be had. */
static const char *
fips_stays(void)
{
	if (EVP_set_default_properties(NULL, "fips=yes") != 1)
		return "no property";
	if (algorithms_init() != 0)
		return "not set up";
	return has_cipher("AES-256-GCM") ? "ours is not of FIPS" : NULL;
}

static void
test_fips_is_not_gone_around(void **state)
{
	(void)state;
	assert_well(fips_stays);
}

/* With this as openssl.cnf. */
static int
init_with(const char *conf, size_t len)
{
	char path[] = "/tmp/test_algorithms.XXXXXX";
	int fd = mkstemp(path), r;

	if (fd < 0 || write(fd, conf, len) != (ssize_t)len ||
	    setenv("OPENSSL_CONF", path, 1) != 0)
		abort();
	r = algorithms_init();
	close(fd);
	unlink(path);
	return r;
}

/* OpenSSL then has nothing at all, and ours shall not be more. */
static const char *
absent_provider_stays(void)
{
	static const char conf[] = "openssl_conf = a\n[a]\nproviders = b\n"
				   "[b]\nnowhere = c\n[c]\nactivate = 1\n";
	int r = init_with(conf, sizeof(conf) - 1);

	if (r != 0)
		return "not set up";
	return has_cipher("AES-256-GCM") ? "what was not chosen is there"
					 : NULL;
}

static void
test_a_provider_that_does_not_load_is_not_replaced(void **state)
{
	(void)state;
	assert_well(absent_provider_stays);
}

static const char *
bad_configuration_is_told(void)
{
	static const char conf[] = "openssl_conf = a\nconfig_diagnostics = 1\n"
				   "[a]\nno_such_module = b\n[b]\n";
	int r = init_with(conf, sizeof(conf) - 1);

	return r == -EINVAL && ERR_peek_error() != 0 ? NULL : "not told";
}

static void
test_a_bad_configuration_is_told(void **state)
{
	(void)state;
	assert_well(bad_configuration_is_told);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_of_our_tls_works),
	    cmocka_unit_test(test_a_root_that_sha1_signed_is_one),
	    cmocka_unit_test(test_the_rest_is_not_there),
	    cmocka_unit_test(test_providers_of_the_host_stay),
	    cmocka_unit_test(test_fips_is_not_gone_around),
	    cmocka_unit_test(
		test_a_provider_that_does_not_load_is_not_replaced),
	    cmocka_unit_test(test_a_bad_configuration_is_told),
	};

	return cmocka_run_group_tests_name("algorithms", tests, NULL, NULL);
}
