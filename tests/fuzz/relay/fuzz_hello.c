/*
 * A client's first message, by which a listener of several certificates
 * chooses one.
 *
 * Input: the bodies of the extensions server_name, signature_algorithms,
 * supported_groups and supported_versions, and the list of suites, each behind
 * its length in two bytes; what is cut short ends it.  A ClientHello is built
 * around them, so that OpenSSL hands all of them to us.  Holds:
 *	- the name found lies within the extension and is one that a certificate
 *	  could have;
 *	- a certificate is chosen whatever the message says, and the same one
 *	  when it comes again; that of one name only is for no other name.
 */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/sni.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PART_MAX 2000
/* An input: a name that one certificate has. */
#define ONLY "\0\16\0\14\0\0\11only.test\0\4\0\2\4\3"

/* The parts of an input. */
enum { NAME, ALGS, GROUPS, VERSIONS, SUITES, PARTS };

static const uint16_t type_of[] = {
    [NAME] = TLSEXT_TYPE_server_name,
    [ALGS] = TLSEXT_TYPE_signature_algorithms,
    [GROUPS] = TLSEXT_TYPE_supported_groups,
    [VERSIONS] = TLSEXT_TYPE_supported_versions,
};

static SSL_CTX *first;
static size_t places, last; /* last: the place of the last input */

static SSL_CTX *
certificate(EVP_PKEY *key, const char *names)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	X509 *x = X509_new();
	X509_EXTENSION *e =
	    X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);

	BUG_ON(ctx == NULL || x == NULL || e == NULL || key == NULL);
	BUG_ON(X509_set_version(x, X509_VERSION_3) != 1 ||
	       X509_gmtime_adj(X509_getm_notBefore(x), 0) == NULL ||
	       X509_gmtime_adj(X509_getm_notAfter(x), 3600) == NULL ||
	       X509_set_pubkey(x, key) != 1 || X509_add_ext(x, e, -1) != 1 ||
	       X509_sign(x, key, EVP_sha256()) <= 0 ||
	       SSL_CTX_use_certificate(ctx, x) != 1);
	X509_EXTENSION_free(e);
	X509_free(x);
	return ctx;
}

static uint8_t *
put16(uint8_t *p, size_t n)
{
	*p++ = (uint8_t)(n >> 8);
	*p++ = (uint8_t)n;
	return p;
}

/* A record with the ClientHello of these parts; its length. */
static size_t
hello(const uint8_t *const part[PARTS], const size_t len[PARTS], uint8_t *to)
{
	uint8_t *p = to + 5 + 4, *all;

	p = put16(p, TLS1_2_VERSION);
	memset(p, 'r', 32);
	p += 32;
	*p++ = 0; /* no session */
	p = put16(p, len[SUITES]);
	memcpy(p, part[SUITES], len[SUITES]);
	p += len[SUITES];
	*p++ = 1; /* no compression */
	*p++ = 0;
	all = p;
	p += 2;
	for (size_t i = 0; i < ARRAY_LEN(type_of); i++) {
		if (part[i] == NULL)
			continue;
		p = put16(put16(p, type_of[i]), len[i]);
		memcpy(p, part[i], len[i]);
		p += len[i];
	}
	(void)put16(all, (size_t)(p - all) - 2);
	memcpy(to, "\x16\x03\x01\0\0\x01\0", 7);
	(void)put16(to + 3, (size_t)(p - to) - 5);
	(void)put16(to + 7, (size_t)(p - to) - 9);
	return (size_t)(p - to);
}

/* The place that a message leads to. */
static size_t
chosen(const uint8_t *record, size_t len)
{
	SSL *ssl = SSL_new(first);
	BIO *in = BIO_new_mem_buf(record, (int)len),
	    *out = BIO_new(BIO_s_mem());
	size_t at = 0;

	BUG_ON(ssl == NULL || in == NULL || out == NULL);
	SSL_set_bio(ssl, in, out);
	(void)!SSL_accept(ssl); /* there is no key: it cannot end well */
	while (at < places && sni_at(first, at) != SSL_get_SSL_CTX(ssl))
		at++;
	BUG_ON(at == places);
	SSL_free(ssl);
	return at;
}

static void
look_at_name(const uint8_t *ext, size_t len, char name_r[SNI_NAME_MAX + 1])
{
	uint8_t *copy = malloc(len + 1); /* so that its end is seen */
	size_t n;

	BUG_ON(copy == NULL);
	if (len > 0)
		memcpy(copy, ext, len);
	n = sni_name(copy, len, name_r);
	free(copy);
	BUG_ON(n != strlen(name_r) || n > SNI_NAME_MAX ||
	       (n > 0 && n + 5 > len));
	for (size_t i = 0; i < n; i++)
		BUG_ON(name_r[i] <= ' ' || name_r[i] > '~' ||
		       name_r[i] == '*' ||
		       (name_r[i] >= 'A' && name_r[i] <= 'Z'));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t some[] = {0x13, 0x01, 0xc0, 0x2b, 0xc0, 0x2f};
	static uint8_t record[PARTS * (PART_MAX + 4) + 100];
	const uint8_t *part[PARTS] = {[SUITES] = some};
	size_t len[PARTS] = {[SUITES] = sizeof(some)}, n, at;
	char name[SNI_NAME_MAX + 1];

	for (size_t i = 0; i < PARTS && size >= 2; i++) {
		len[i] = MIN((size_t)(data[0] << 8 | data[1]), size - 2);
		len[i] = MIN(len[i], (size_t)PART_MAX);
		part[i] = data + 2;
		data += 2 + len[i];
		size -= 2 + len[i];
	}
	look_at_name(part[NAME], len[NAME], name);
	n = hello(part, len, record);
	at = chosen(record, n);
	BUG_ON(at != chosen(record, n));
	last = at;
	BUG_ON(at != 0 && at != 1 && strcmp(name, "only.test") != 0);
	return 0;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256");
	struct sni *s = sni_new();

	(void)argc;
	(void)argv;
	first = certificate(rsa, "DNS:main.test");
	BUG_ON(s == NULL || sni_add(s, first) != 0 ||
	       sni_add(s, certificate(ec, "DNS:main.test,DNS:*.test")) != 0 ||
	       sni_add(s, certificate(ec, "DNS:only.test")) != 0 ||
	       sni_install(first, &s) != 0);
	places = 3;
	/* It does get there. */
	BUG_ON(LLVMFuzzerTestOneInput((const uint8_t *)ONLY,
				      sizeof(ONLY) - 1) != 0 ||
	       last != 2);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	return 0;
}
