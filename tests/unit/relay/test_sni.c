/*
 * The choice among certificates: names in full, by wildcard and none, kinds of
 * key, and every way to write the extension wrongly.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/sni.h"

#define ALL (SNI_RSA | SNI_P256 | SNI_P384 | SNI_P521)

static EVP_PKEY *rsa, *p256, *p384;
static SSL_CTX *first;
static struct sni *s;

static SSL_CTX *
certificate(EVP_PKEY *key, const char *names)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	X509 *x = X509_new();
	X509_EXTENSION *e =
	    names == NULL
		? NULL
		: X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);

	assert_true(X509_set_version(x, X509_VERSION_3) == 1 &&
		    X509_gmtime_adj(X509_getm_notBefore(x), 0) != NULL &&
		    X509_gmtime_adj(X509_getm_notAfter(x), 3600) != NULL &&
		    X509_set_pubkey(x, key) == 1 &&
		    (e == NULL || X509_add_ext(x, e, -1) == 1) &&
		    X509_sign(x, key, EVP_sha256()) > 0 &&
		    SSL_CTX_use_certificate(ctx, x) == 1);
	X509_EXTENSION_free(e);
	X509_free(x);
	return ctx;
}

static int
set_up(void **state)
{
	(void)state;
	rsa = EVP_RSA_gen(2048);
	p256 = EVP_EC_gen("P-256");
	p384 = EVP_EC_gen("P-384");
	s = sni_new();
	first = certificate(rsa, "DNS:Main.Test,DNS:alias.test,IP:192.0.2.1");
	return sni_add(s, first) != 0 ||
	       sni_add(s, certificate(p256, "DNS:main.test")) != 0 ||
	       sni_add(s, certificate(rsa, "DNS:*.test,DNS:*.sub.test")) != 0 ||
	       sni_add(s, certificate(p384, "DNS:in.test,DNS:w*.x,DNS:*")) !=
		   0 ||
	       sni_add(s, certificate(p256, NULL)) != 0;
}

static int
tear_down(void **state)
{
	(void)state;
	sni_free(&s);
	SSL_CTX_free(first);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(p256);
	EVP_PKEY_free(p384);
	return 0;
}

static void
test_choose(void **state)
{
	static const struct {
		const char *name;
		unsigned keys;
		size_t place;
		bool known;
	} row[] = {
	    {"main.test", ALL, 0, true},
	    {"main.test", SNI_P256, 1, true},
	    {"main.test", SNI_P384, 0, true}, /* nothing will do */
	    {"main.test", 0, 0, true},
	    {"alias.test", SNI_P256, 0, true}, /* the curve lacks it */
	    {"in.test", ALL, 3, true},	       /* before the wildcard */
	    {"in.test", SNI_RSA, 2, true},     /* which is usable */
	    {"in.test", SNI_P256, 3, true},
	    {"any.test", ALL, 2, true},
	    {"any.test", SNI_P256, 2, true},
	    {"a.b.test", ALL, 0, false},
	    {"a.sub.test", ALL, 2, true},
	    {"sub.test", ALL, 2, true},
	    {"test", ALL, 0, false},
	    {".test", ALL, 0, false},
	    {"wx.x", ALL, 0, false}, /* part of a label */
	    {"", ALL, 0, false},
	    {"", SNI_P256, 1, false},
	    {"elsewhere", SNI_P256, 1, false},
	    {"192.0.2.1", ALL, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		assert_int_equal(sni_choose(s, row[i].name, row[i].keys),
				 row[i].place);
		assert_int_equal(sni_knows(s, row[i].name), row[i].known);
	}
}

static size_t
take(const char *ext, size_t len, char *name_r)
{
	uint8_t *copy = malloc(len + 1); /* so that a sanitizer sees the end */
	size_t n;

	memcpy(copy, ext, len);
	n = sni_name(copy, len, name_r);
	free(copy);
	return n;
}

static void
test_extension(void **state)
{
#define EXT(t) t, sizeof(t) - 1
	static const struct {
		const char *ext;
		size_t len;
		const char *name;
	} row[] = {
	    {EXT("\0\7\0\0\4a.bC"), "a.bc"},
	    {EXT("\0\7\0\0\4a.b."), "a.b"},
	    {EXT("\0\4\0\0\1."), ""},
	    {EXT("\0\7\1\0\4a.bC"), ""},  /* another kind of name */
	    {EXT("\0\6\0\0\4a.bC"), ""},  /* the list is longer */
	    {EXT("\0\10\0\0\4a.bC"), ""}, /* or shorter */
	    {EXT("\0\7\0\0\3a.bC"), ""},  /* so is the name */
	    {EXT("\0\7\0\0\5a.bC"), ""},
	    {EXT("\0\7\0\0\4a.b\0"), ""},
	    {EXT("\0\7\0\0\4a b."), ""},
	    {EXT("\0\7\0\0\4\xc3\xa4.b"), ""},
	    {EXT("\0\7\0\0\4*.bC"), ""},
	    {EXT("\0\3\0\0\0"), ""},
	};
	char name[SNI_NAME_MAX + 1], ext[5 + SNI_NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		assert_int_equal(take(row[i].ext, row[i].len, name),
				 strlen(row[i].name));
		assert_string_equal(name, row[i].name);
		for (size_t cut = 0; cut < row[i].len; cut++)
			assert_int_equal(take(row[i].ext, cut, name), 0);
	}
	for (size_t n = SNI_NAME_MAX; n <= SNI_NAME_MAX + 1; n++) {
		memset(ext, 'x', sizeof(ext));
		memcpy(ext,
		       (char[]){(char)((n + 3) >> 8), (char)(n + 3), 0,
				(char)(n >> 8), (char)n},
		       5);
		assert_int_equal(take(ext, n + 5, name),
				 n == SNI_NAME_MAX ? n : 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_choose),
	    cmocka_unit_test(test_extension),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
