/*
 * Purpose: make the keys and certificates of the relay and of the cloud.
 *
 * Runs in: tests, the script's thread.
 * Trusts:  the test.
 * Touches: memory.
 * Failure: the scenario ends with a line.
 */
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "tests/virtual/world_priv.h"

static EVP_PKEY *
new_key(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	VIRT_NEED(key != NULL);
	return key;
}

static void
add_ext(X509 *c, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, c, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	VIRT_NEED(ext != NULL && X509_add_ext(c, ext, -1) == 1);
	X509_EXTENSION_free(ext);
}

static X509 *
new_cert(EVP_PKEY *key, const char *cn, X509 *ca, EVP_PKEY *ca_key)
{
	X509 *c = X509_new();
	X509_NAME *name;

	VIRT_NEED(c != NULL);
	X509_set_version(c, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(c), ca == NULL ? 1 : 2);
	X509_gmtime_adj(X509_getm_notBefore(c), -3600);
	X509_gmtime_adj(X509_getm_notAfter(c), 365 * 24 * 3600);
	X509_set_pubkey(c, key);
	name = X509_get_subject_name(c);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
				   (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(c, ca == NULL ? name : X509_get_subject_name(ca));
	if (ca == NULL) {
		add_ext(c, c, NID_basic_constraints, "critical,CA:TRUE");
		add_ext(c, c, NID_key_usage, "critical,keyCertSign,cRLSign");
	} else {
		add_ext(c, ca, NID_subject_alt_name,
			"DNS:" CLOUD_NAME ",DNS:" PROXY_NAME);
	}
	VIRT_NEED(X509_sign(c, ca_key, EVP_sha256()) > 0);
	return c;
}

static char *
pem_of(X509 *c)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *data, *out;
	long n;

	VIRT_NEED(b != NULL && PEM_write_bio_X509(b, c) == 1);
	n = BIO_get_mem_data(b, &data);
	out = strndup(data, (size_t)n);
	BIO_free(b);
	VIRT_NEED(out != NULL);
	return out;
}

void
certs_make(void)
{
	EVP_PKEY *ca_key = new_key();
	X509 *ca = new_cert(ca_key, "virtual CA", NULL, ca_key), *c;
	X509 *other = new_cert(ca_key, "another CA", NULL, ca_key);

	world_own.key = new_key();
	c = new_cert(world_own.key, CLOUD_NAME, ca, ca_key);
	world_own.ca_pem = pem_of(ca);
	world_own.other_pem = pem_of(other);
	world_own.cert_pem = pem_of(c);
	world_own.server = SSL_CTX_new(TLS_server_method());
	world_own.client = SSL_CTX_new(TLS_client_method());
	VIRT_NEED(world_own.server != NULL && world_own.client != NULL);
	VIRT_NEED(SSL_CTX_use_certificate(world_own.server, c) == 1 &&
		  SSL_CTX_use_PrivateKey(world_own.server, world_own.key) == 1);
	SSL_CTX_set_mode(world_own.server,
			 SSL_MODE_ENABLE_PARTIAL_WRITE |
			     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_mode(world_own.client,
			 SSL_MODE_ENABLE_PARTIAL_WRITE |
			     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	X509_free(c);
	X509_free(ca);
	X509_free(other);
	EVP_PKEY_free(ca_key);
}
