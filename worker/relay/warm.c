/*
 * Purpose: have OpenSSL look up what handshakes need while there is memory.
 *
 * Runs in: relay, at its start.
 * Trusts:  OpenSSL.
 * Touches: memory; a key pair that lives for a few milliseconds.
 * Failure: -ENOMEM.
 */
#include "worker/relay/warm.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "shm/base/log.h"

/* A handshake over a pair of buffers is done after three or four. */
#define WARM_ROUNDS 16
#define WARM_BIO    65536

/* What peers may choose, and we are willing to speak (tls.c). */
static const struct {
	int version;
	const char *list; /* TLS 1.3: ciphersuites, 1.2: ciphers */
} warm_shakes[] = {
    {TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
    {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"},
    {TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"},
};

struct warm {
	EVP_PKEY *key;
	X509 *cert;
};

/* Certificates of CAs and peers are RSA as well, and a key of that kind takes
 * too long to make for this. */
static bool
warm_rsa(void)
{
	EVP_KEYMGMT *m = EVP_KEYMGMT_fetch(NULL, "RSA", NULL);
	EVP_SIGNATURE *s = EVP_SIGNATURE_fetch(NULL, "RSA", NULL);
	EVP_MD *d = EVP_MD_fetch(NULL, "SHA512", NULL);
	bool ok = m != NULL && s != NULL && d != NULL;

	EVP_KEYMGMT_free(m);
	EVP_SIGNATURE_free(s);
	EVP_MD_free(d);
	return ok;
}

static bool
warm_make(struct warm *w)
{
	X509_NAME *name;

	w->key = EVP_EC_gen("P-256");
	w->cert = X509_new();
	if (w->key == NULL || w->cert == NULL)
		return false;
	name = X509_get_subject_name(w->cert);
	return X509_set_version(w->cert, X509_VERSION_3) == 1 &&
	       ASN1_INTEGER_set(X509_get_serialNumber(w->cert), 1) == 1 &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					  (const unsigned char *)"warm", -1, -1,
					  0) == 1 &&
	       X509_set_issuer_name(w->cert, name) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(w->cert), -60) != NULL &&
	       X509_gmtime_adj(X509_getm_notAfter(w->cert), 3600) != NULL &&
	       X509_set_pubkey(w->cert, w->key) == 1 &&
	       X509_sign(w->cert, w->key, EVP_sha256()) > 0;
}

static SSL_CTX *
warm_ctx(const struct warm *w, int version, const char *list, bool server)
{
	SSL_CTX *c =
	    SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	if (c == NULL)
		return NULL;
	if (SSL_CTX_set_min_proto_version(c, version) == 1 &&
	    SSL_CTX_set_max_proto_version(c, version) == 1 &&
	    (version == TLS1_3_VERSION
		 ? SSL_CTX_set_ciphersuites(c, list)
		 : SSL_CTX_set_cipher_list(c, list)) == 1 &&
	    (!server || (SSL_CTX_use_certificate(c, w->cert) == 1 &&
			 SSL_CTX_use_PrivateKey(c, w->key) == 1)))
		return c;
	SSL_CTX_free(c);
	return NULL;
}

/* Until both are done, and a byte each way. */
static bool
warm_shake(SSL *client, SSL *server)
{
	char byte = 0;
	int done = 0;

	for (int n = 0; n < WARM_ROUNDS && done != 2; n++) {
		int a = SSL_do_handshake(client), b = SSL_do_handshake(server);

		done = (a == 1) + (b == 1);
	}
	return done == 2 && SSL_write(client, "c", 1) == 1 &&
	       SSL_read(server, &byte, 1) == 1 &&
	       SSL_write(server, "s", 1) == 1 &&
	       SSL_read(client, &byte, 1) == 1;
}

/* One connection, and its session for the next. */
static bool
warm_connect(SSL_CTX *cc, SSL_CTX *sc, SSL_SESSION **session)
{
	SSL *client = SSL_new(cc), *server = SSL_new(sc);
	BIO *a = NULL, *b = NULL;
	bool ok = false;

	if (client == NULL || server == NULL ||
	    BIO_new_bio_pair(&a, WARM_BIO, &b, WARM_BIO) != 1)
		goto out;
	SSL_set_bio(client, a, a);
	SSL_set_bio(server, b, b);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	if (*session != NULL)
		SSL_set_session(client, *session);
	ok = warm_shake(client, server);
	SSL_SESSION_free(*session);
	*session = ok ? SSL_get1_session(client) : NULL;
out:
	SSL_free(client);
	SSL_free(server);
	return ok;
}

static bool
warm_one(const struct warm *w, int version, const char *list)
{
	SSL_CTX *cc = warm_ctx(w, version, list, false);
	SSL_CTX *sc = warm_ctx(w, version, list, true);
	SSL_SESSION *session = NULL;
	bool ok = cc != NULL && sc != NULL;

	/* full, then resumed */
	ok = ok && warm_connect(cc, sc, &session) &&
	     warm_connect(cc, sc, &session);
	SSL_SESSION_free(session);
	SSL_CTX_free(cc);
	SSL_CTX_free(sc);
	return ok;
}

int
warm_up(void)
{
	struct warm w = {NULL, NULL};
	bool ok = warm_rsa() && warm_make(&w);

	/* The first is everybody's; another may be missing for good, as
	 * ChaCha20 is where only FIPS algorithms are allowed. */
	ok = ok && warm_one(&w, warm_shakes[0].version, warm_shakes[0].list);
	for (size_t i = 1; ok && i < ARRAY_LEN(warm_shakes); i++)
		if (!warm_one(&w, warm_shakes[i].version, warm_shakes[i].list))
			log_debug("TLS without %s", warm_shakes[i].list);
	X509_free(w.cert);
	EVP_PKEY_free(w.key);
	ERR_clear_error();
	return ok ? 0 : -ENOMEM;
}
