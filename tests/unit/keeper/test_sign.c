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
	r = sign_keys_load(keys, &(struct msg_tls_key){index, 0}, fd, why,
			   sizeof(why));
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

/* Signs as OpenSSL does by itself, and takes apart what it signed: the block
 * of PSS, or the DigestInfo.  Its length. */
static size_t
made_by_openssl(EVP_PKEY *key, const char *hash, int padding, int salt,
		uint8_t *block)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	const EVP_MD *md = EVP_get_digestbyname(hash);
	uint8_t sig[512], digest[64] = {7, 7, 7};
	size_t len = sizeof(sig), n = 512;

	assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, padding), 1);
	assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, md), 1);
	if (padding == RSA_PKCS1_PSS_PADDING)
		assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt),
				 1);
	assert_int_equal(
	    EVP_PKEY_sign(ctx, sig, &len, digest, (size_t)EVP_MD_get_size(md)),
	    1);
	EVP_PKEY_CTX_free(ctx);
	ctx = EVP_PKEY_CTX_new(key, NULL);
	assert_int_equal(EVP_PKEY_verify_recover_init(ctx), 1);
	assert_int_equal(
	    EVP_PKEY_CTX_set_rsa_padding(ctx, padding == RSA_PKCS1_PADDING
						  ? RSA_PKCS1_PADDING
						  : RSA_NO_PADDING),
	    1);
	assert_int_equal(EVP_PKEY_verify_recover(ctx, block, &n, sig, len), 1);
	EVP_PKEY_CTX_free(ctx);
	return n;
}

static size_t
pss(const char *hash, int salt, uint8_t *block)
{
	return made_by_openssl(rsa, hash, RSA_PKCS1_PSS_PADDING, salt, block);
}

static const char *const tls_hashes[] = {"SHA256", "SHA384", "SHA512"};

static void
test_rsa_pss(void **state)
{
	uint8_t in[512], open[512];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(pss(tls_hashes[i], RSA_PSS_SALTLEN_DIGEST, in),
				 256);
		assert_int_equal(sign(0, SIGN_RSA_RAW, in, 256), 256);
		assert_int_equal(open_rsa(RSA_NO_PADDING, out, 256, open), 256);
		assert_memory_equal(open, in, 256);
	}
}

/* Moduli whose block of PSS is a byte shorter, or has more bits to be zero. */
static void
test_rsa_pss_of_odd_sizes(void **state)
{
	(void)state;
	for (unsigned bits = 2041; bits <= 2047; bits += 2) {
		EVP_PKEY *odd = EVP_RSA_gen(bits);
		uint8_t in[512];

		assert_int_equal(load(3, odd, NULL), 0);
		assert_int_equal(made_by_openssl(odd, "SHA256",
						 RSA_PKCS1_PSS_PADDING,
						 RSA_PSS_SALTLEN_DIGEST, in),
				 256);
		assert_int_equal(sign(3, SIGN_RSA_RAW, in, 256), 256);
		in[0] |= 0x80;
		assert_int_equal(sign(3, SIGN_RSA_RAW, in, 256), -EINVAL);
		EVP_PKEY_free(odd);
	}
	assert_int_equal(load(3, rsa, NULL), 0);
}

/* The key does nothing but TLS: no decryption, no padding of other formats. */
static void
test_rsa_pss_is_all(void **state)
{
	uint8_t good[512], in[512], digest[32] = {0};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(rsa, NULL);
	size_t len = sizeof(in);

	(void)state;
	assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
	assert_int_equal(EVP_PKEY_encrypt(ctx, in, &len, digest, 32), 1);
	EVP_PKEY_CTX_free(ctx);
	assert_int_equal(sign(0, SIGN_RSA_RAW, in, 256), -EINVAL);
	/* blinded until it has the look */
	memset(in, 0x5a, 256);
	in[255] = 0xbc;
	assert_int_equal(sign(0, SIGN_RSA_RAW, in, 256), -EINVAL);
	/* another hash, another salt */
	pss("SHA1", RSA_PSS_SALTLEN_DIGEST, in);
	assert_int_equal(sign(0, SIGN_RSA_RAW, in, 256), -EINVAL);
	pss("SHA256", 0, in);
	assert_int_equal(sign(0, SIGN_RSA_RAW, in, 256), -EINVAL);
	pss("SHA256", 48, in);
	assert_int_equal(sign(0, SIGN_RSA_RAW, in, 256), -EINVAL);
	/* any bit of the mask, of the hash or of the end, but not of the salt
	 */
	pss("SHA256", RSA_PSS_SALTLEN_DIGEST, good);
	for (size_t i = 0; i < 256; i++) {
		bool salt = i >= 256 - 1 - 32 - 32 && i < 256 - 1 - 32;

		memcpy(in, good, 256);
		in[i] ^= 1;
		assert_int_equal(sign(0, SIGN_RSA_RAW, in, 256),
				 salt ? 256 : -EINVAL);
	}
}

static void
test_rsa_pkcs1(void **state)
{
	static const char *const hashes[] = {"SHA1", "SHA224", "SHA256",
					     "SHA384", "SHA512"};
	uint8_t in[512], open[512];

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		size_t n =
		    made_by_openssl(rsa, hashes[i], RSA_PKCS1_PADDING, 0, in);

		size_t head = n - (size_t)EVP_MD_get_size(
				      EVP_get_digestbyname(hashes[i]));

		assert_int_equal(sign(0, SIGN_RSA_PKCS1, in, n), 256);
		assert_int_equal(open_rsa(RSA_PKCS1_PADDING, out, 256, open),
				 (int)n);
		assert_memory_equal(open, in, n);
		assert_int_equal(sign(0, SIGN_RSA_PKCS1, in, n - 1), -EINVAL);
		assert_int_equal(sign(0, SIGN_RSA_PKCS1, in, n + 1), -EINVAL);
		for (size_t at = 0; at < head; at++) {
			in[at] ^= 0x40;
			assert_int_equal(sign(0, SIGN_RSA_PKCS1, in, n),
					 -EINVAL);
			in[at] ^= 0x40;
		}
	}
	memset(in, 0x5a, sizeof(in));
	assert_int_equal(sign(0, SIGN_RSA_PKCS1, in, 36), -EINVAL);
	assert_int_equal(sign(0, SIGN_RSA_PKCS1, in, 51), -EINVAL);
	assert_int_equal(sign(0, SIGN_RSA_PKCS1, in, 245), -EINVAL);
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
	size_t n = sign_keys_count(keys);

	(void)state;
	assert_int_equal(load_bytes(5, "nothing", 7), -EINVAL);
	assert_int_equal(load_bytes(5, "", 0), -EINVAL);
	assert_int_equal(load(5, ed, NULL), -EINVAL);
	assert_int_equal(load(5, rsa, "pass"), -EINVAL);
	assert_non_null(strstr(why, "pass phrase"));
	assert_int_equal(load(16, rsa, NULL), -EINVAL);
	assert_int_equal(sign_keys_count(keys), n);
	EVP_PKEY_free(ed);
}

/* A key has one context for all its signatures of a kind. */
static void
test_a_key_signs_on_after_what_it_refused(void **state)
{
	uint8_t digest[32] = {1}, info[19 + 32] = {0}, open[512];
	static const uint8_t sha256_head[19] = {
	    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
	    0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
	};

	(void)state;
	memcpy(info, sha256_head, sizeof(sha256_head));
	for (uint8_t i = 0; i < 3; i++) {
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(ec, NULL);
		int n;

		digest[0] = info[50] = i;
		n = sign(2, SIGN_ECDSA, digest, sizeof(digest));
		assert_true(n > 0);
		assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
		assert_int_equal(EVP_PKEY_verify(ctx, out, (size_t)n, digest,
						 sizeof(digest)),
				 1);
		EVP_PKEY_CTX_free(ctx);
		assert_int_equal(sign(2, SIGN_ECDSA, digest, 19), -EINVAL);
		assert_int_equal(sign(2, SIGN_RSA_PKCS1, info, sizeof(info)),
				 -EINVAL);

		n = sign(0, SIGN_RSA_PKCS1, info, sizeof(info));
		assert_int_equal(n, 256);
		assert_int_equal(
		    open_rsa(RSA_PKCS1_PADDING, out, (size_t)n, open),
		    sizeof(info));
		assert_memory_equal(open, info, sizeof(info));
		assert_int_equal(sign(0, SIGN_RSA_RAW, info, sizeof(info)),
				 -EINVAL);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rsa_pss),
	    cmocka_unit_test(test_rsa_pss_of_odd_sizes),
	    cmocka_unit_test(test_rsa_pss_is_all),
	    cmocka_unit_test(test_rsa_pkcs1),
	    cmocka_unit_test(test_ecdsa),
	    cmocka_unit_test(test_unlawful),
	    cmocka_unit_test(test_keys_that_are_refused),
	    cmocka_unit_test(test_a_key_signs_on_after_what_it_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
