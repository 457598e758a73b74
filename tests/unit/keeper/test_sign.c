/* What a key signs, what it refuses, and which keys are taken at all. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "worker/keeper/sign.h"
#include "shm/base/log.h"

static EVP_PKEY *rsa, *ec;
static struct sign_keys *keys;
static char why[256];
static uint8_t out[SIGN_BYTES_MAX];

static int
load_bytes(uint32_t index, const void *p, size_t len)
{
	int fd = fd_memfd_sealed("key", p, len), r;

	assert_true(fd >= 0);
	r = sign_keys_load(keys, index, fd, why, sizeof(why));
	close(fd);
	assert_true((r == 0) == (why[0] == '\0'));
	return r;
}

static int
load(uint32_t index, EVP_PKEY *key, const char *passphrase)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	long n;
	int r;

	assert_int_equal(
	    PEM_write_bio_PKCS8PrivateKey(
		bio, key, passphrase == NULL ? NULL : EVP_aes_128_cbc(),
		passphrase, passphrase == NULL ? 0 : 4, NULL, NULL),
	    1);
	n = BIO_get_mem_data(bio, &p);
	r = load_bytes(index, p, (size_t)n);
	BIO_free(bio);
	return r;
}

static int
set_up(void **state)
{
	(void)state;
	rsa = EVP_RSA_gen(2048);
	ec = EVP_EC_gen("P-256");
	keys = sign_keys_new();
	return rsa == NULL || ec == NULL || keys == NULL ||
	       load(0, rsa, NULL) != 0 || load(2, ec, NULL) != 0;
}

static int
tear_down(void **state)
{
	(void)state;
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	sign_keys_free(&keys);
	return 0;
}

static int
sign(uint32_t index, enum sign_op op, const void *p, size_t len)
{
	struct msg_sign m = {index, op, {p, len}, 0};

	return sign_do(keys, &m, out);
}

/* The public operation: what was signed. */
static size_t
open_rsa(int padding, uint8_t *in, size_t len, uint8_t *open_r)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(rsa, NULL);
	size_t n = 512;

	assert_int_equal(EVP_PKEY_verify_recover_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, padding), 1);
	assert_int_equal(EVP_PKEY_verify_recover(ctx, open_r, &n, in, len), 1);
	EVP_PKEY_CTX_free(ctx);
	return n;
}

static void
test_rsa(void **state)
{
	uint8_t in[256], open[512];
	int n;

	(void)state;
	memset(in, 0x5a, sizeof(in));
	in[0] = 0;
	n = sign(0, SIGN_RSA_RAW, in, 256);
	assert_int_equal(n, 256);
	assert_int_equal(open_rsa(RSA_NO_PADDING, out, 256, open), 256);
	assert_memory_equal(open, in, 256);
	n = sign(0, SIGN_RSA_PKCS1, in, 51);
	assert_int_equal(n, 256);
	assert_int_equal(open_rsa(RSA_PKCS1_PADDING, out, 256, open), 51);
	assert_memory_equal(open, in, 51);
	assert_int_equal(sign(0, SIGN_RSA_PKCS1, in, 245), 256);
}

static void
test_ecdsa(void **state)
{
	uint8_t digest[64] = {1, 2, 3};
	EVP_PKEY_CTX *ctx;
	int n = sign(2, SIGN_ECDSA, digest, 32);

	(void)state;
	assert_true(n > 60 && n <= 72);
	ctx = EVP_PKEY_CTX_new(ec, NULL);
	assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
	assert_int_equal(EVP_PKEY_verify(ctx, out, (size_t)n, digest, 32), 1);
	digest[5] ^= 1;
	assert_int_equal(EVP_PKEY_verify(ctx, out, (size_t)n, digest, 32), 0);
	EVP_PKEY_CTX_free(ctx);
}

static void
test_unlawful(void **state)
{
	uint8_t in[1024] = {0};

	(void)state;
	assert_int_equal(sign(1, SIGN_RSA_RAW, in, 256), -EINVAL);
	assert_int_equal(sign(16, SIGN_RSA_RAW, in, 256), -EINVAL);
	assert_int_equal(sign(UINT32_MAX, SIGN_RSA_RAW, in, 256), -EINVAL);
	assert_int_equal(sign(0, SIGN_ECDSA, in, 32), -EINVAL);
	assert_int_equal(sign(2, SIGN_RSA_RAW, in, 256), -EINVAL);
	assert_int_equal(sign(0, (enum sign_op)9, in, 256), -EINVAL);
	assert_int_equal(sign(0, SIGN_RSA_RAW, in, 255), -EINVAL);
	assert_int_equal(sign(0, SIGN_RSA_RAW, in, 257), -EINVAL);
	assert_int_equal(sign(0, SIGN_RSA_RAW, in, 0), -EINVAL);
	assert_int_equal(sign(0, SIGN_RSA_PKCS1, in, 246), -EINVAL);
	assert_int_equal(sign(0, SIGN_RSA_PKCS1, in, 0), -EINVAL);
	assert_int_equal(sign(2, SIGN_ECDSA, in, 19), -EINVAL);
	assert_int_equal(sign(2, SIGN_ECDSA, in, 65), -EINVAL);
	/* Larger than the modulus. */
	memset(in, 0xff, 256);
	assert_int_equal(sign(0, SIGN_RSA_RAW, in, 256), -EINVAL);
}

static void
test_keys_that_are_refused(void **state)
{
	EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	(void)state;
	assert_int_equal(load_bytes(5, "nothing", 7), -EINVAL);
	assert_int_equal(load_bytes(5, "", 0), -EINVAL);
	assert_int_equal(load(5, ed, NULL), -EINVAL);
	assert_int_equal(load(5, rsa, "pass"), -EINVAL);
	assert_non_null(strstr(why, "pass phrase"));
	assert_int_equal(load(16, rsa, NULL), -EINVAL);
	assert_int_equal(sign_keys_count(keys), 2);
	EVP_PKEY_free(ed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rsa),
	    cmocka_unit_test(test_ecdsa),
	    cmocka_unit_test(test_unlawful),
	    cmocka_unit_test(test_keys_that_are_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
