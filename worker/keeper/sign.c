/*
 * Purpose: sign with the listeners' private keys.
 *
 * Runs in: the keeper.
 * Trusts:  the master for descriptors; relays only as far as the key's use.
 * Touches: key files that the master opened, key material in OpenSSL's hands.
 * Failure: -EINVAL with a reason at load, -EINVAL at use.
 */
#include "worker/keeper/sign.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "worker/spki.h"

_Static_assert(SIGN_KEYS_MAX == CONF_LISTENERS_MAX, "one key per listener");

/* A key with its chain behind it may stand in one file. */
#define PEM_BYTES_MAX (256 * 1024)
/* PKCS#1 v1.5 padding takes at least this much (RFC 8017 9.2). */
#define PKCS1_OVERHEAD 11
/* SHA-1 of old clients to SHA-512. */
#define DIGEST_MIN 20
#define DIGEST_MAX 64

struct sign_keys {
	EVP_PKEY *key[SIGN_KEYS_MAX];
	uint64_t tag[SIGN_KEYS_MAX]; /* worker/spki.h */
	struct sign_keys *before;    /* the set before this one; owned */
};

void
sign_init(void)
{
	/* openssl.cnf; a host without one is fine. */
	OPENSSL_init_crypto(
	    OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL);
}

struct sign_keys *
sign_keys_new(void)
{
	return calloc(1, sizeof(struct sign_keys));
}

void
sign_keys_free(struct sign_keys **k)
{
	if (*k == NULL)
		return;
	sign_keys_free(&(*k)->before);
	for (size_t i = 0; i < SIGN_KEYS_MAX; i++)
		EVP_PKEY_free((*k)->key[i]); /* wipes the private parts */
	free(*k);
	*k = NULL;
}

size_t
sign_keys_count(const struct sign_keys *k)
{
	size_t n = 0;

	for (size_t i = 0; i < SIGN_KEYS_MAX; i++)
		n += k->key[i] != NULL;
	return n;
}

/* --- loading ------------------------------------------------------------- */

/* No terminal to ask at: a key with a pass phrase does not load. */
static int
no_passphrase(char *buf UNUSED, int size UNUSED, int rw UNUSED, void *asked)
{
	*(bool *)asked = true;
	return -1;
}

static const char *
key_fault(EVP_PKEY *key)
{
	int type = EVP_PKEY_get_base_id(key);

	if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
		return "it is neither RSA nor ECDSA, make one of these";
	if (EVP_PKEY_get_size(key) > SIGN_BYTES_MAX)
		return "it is larger than RSA 4096, make a smaller one";
	return NULL;
}

static EVP_PKEY *
parse_pem(const char *data, size_t len, const char **fault_r)
{
	BIO *bio = BIO_new_mem_buf(data, (int)len);
	EVP_PKEY *key = NULL;
	bool asked = false;

	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
	BIO_free(bio);
	ERR_clear_error();
	if (key == NULL) {
		*fault_r = asked ? "it has a pass phrase, remove that"
				 : "no private key in PEM form is in it";
		return NULL;
	}
	*fault_r = key_fault(key);
	if (*fault_r != NULL) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

int
sign_keys_load(struct sign_keys *k, uint32_t index, int fd, char *why,
	       size_t why_size)
{
	const char *fault;
	char *data;
	size_t len;
	int r;

	snprintf(why, why_size, "no such listener");
	if (index >= SIGN_KEYS_MAX)
		return -EINVAL;
	r = fd_read_all(fd, PEM_BYTES_MAX, &data, &len);
	if (r != 0) {
		snprintf(why, why_size, "it cannot be read: %s", strerror(-r));
		return -EINVAL;
	}
	EVP_PKEY_free(k->key[index]);
	k->key[index] = parse_pem(data, len, &fault);
	str_wipe(data, len);
	free(data);
	if (k->key[index] == NULL) {
		snprintf(why, why_size, "%s", fault);
		return -EINVAL;
	}
	k->tag[index] = spki_tag(k->key[index]);
	why[0] = '\0';
	return 0;
}

void
sign_keys_succeed(struct sign_keys *k, struct sign_keys **old)
{
	sign_keys_free(&k->before);
	if (*old != NULL)
		sign_keys_free(&(*old)->before);
	k->before = *old;
	*old = NULL;
}

/* --- signing ------------------------------------------------------------- */

/* May this key do this to so many bytes? */
static bool
is_lawful(EVP_PKEY *key, const struct msg_sign *m)
{
	int type = EVP_PKEY_get_base_id(key);
	size_t size = (size_t)EVP_PKEY_get_size(key);

	switch (m->op) {
	case SIGN_RSA_RAW:
		return type == EVP_PKEY_RSA && m->data.len == size;
	case SIGN_RSA_PKCS1:
		return type == EVP_PKEY_RSA && m->data.len > 0 &&
		       m->data.len + PKCS1_OVERHEAD <= size;
	case SIGN_ECDSA:
		return type == EVP_PKEY_EC && m->data.len >= DIGEST_MIN &&
		       m->data.len <= DIGEST_MAX;
	default:
		return false;
	}
}

static int
set_padding(EVP_PKEY_CTX *ctx, enum sign_op op)
{
	if (op == SIGN_ECDSA)
		return 1;
	return EVP_PKEY_CTX_set_rsa_padding(
	    ctx, op == SIGN_RSA_RAW ? RSA_NO_PADDING : RSA_PKCS1_PADDING);
}

static EVP_PKEY *
find_key(const struct sign_keys *k, const struct msg_sign *m)
{
	if (m->key == 0)
		return m->index < SIGN_KEYS_MAX ? k->key[m->index] : NULL;
	for (; k != NULL; k = k->before)
		for (size_t i = 0; i < SIGN_KEYS_MAX; i++)
			if (k->key[i] != NULL && k->tag[i] == m->key)
				return k->key[i];
	return NULL;
}

int
sign_do(const struct sign_keys *k, const struct msg_sign *m,
	uint8_t out[SIGN_BYTES_MAX])
{
	size_t len = SIGN_BYTES_MAX;
	EVP_PKEY_CTX *ctx;
	EVP_PKEY *key;
	bool ok;

	key = find_key(k, m);
	if (key == NULL || !is_lawful(key, m))
		return -EINVAL;
	ctx = EVP_PKEY_CTX_new(key, NULL);
	ok = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 &&
	     set_padding(ctx, m->op) == 1 &&
	     EVP_PKEY_sign(ctx, out, &len, (const uint8_t *)m->data.p,
			   m->data.len) == 1;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return ok ? (int)len : -EINVAL;
}
