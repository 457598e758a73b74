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

_Static_assert(SIGN_LISTENERS_MAX == CONF_LISTENERS_MAX &&
		   SIGN_CERTS_MAX == CONF_CERTS_MAX,
	       "one key for each certificate");

#define SIGN_KEYS_MAX (SIGN_LISTENERS_MAX * SIGN_CERTS_MAX)

/* A key with its chain behind it may stand in one file. */
#define PEM_BYTES_MAX (256 * 1024)
/* Of emLen in RFC 8017 9.1: the modulus in bytes. */
#define BLOCK_MAX SIGN_BYTES_MAX
/* SHA-1 of old clients to SHA-512. */
#define DIGEST_MIN 20
#define DIGEST_MAX 64

/* A context for each operation of its kind is made once: to make one is a tenth
 * of a signature with P-256. */
struct sign_key {
	EVP_PKEY *key;
	uint64_t tag;			    /* worker/spki.h */
	EVP_PKEY_CTX *does[SIGN_ECDSA + 1]; /* by enum sign_op */
};

struct sign_keys {
	struct sign_key
	    key[SIGN_KEYS_MAX];	  /* SIGN_CERTS_MAX of each listener */
	struct sign_keys *before; /* the set before this one; owned */
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

static void
sign_key_drop(struct sign_key *x)
{
	for (size_t op = 0; op < ARRAY_LEN(x->does); op++)
		EVP_PKEY_CTX_free(x->does[op]);
	EVP_PKEY_free(x->key); /* wipes the private parts */
	*x = (struct sign_key){0};
}

void
sign_keys_free(struct sign_keys **k)
{
	if (*k == NULL)
		return;
	sign_keys_free(&(*k)->before);
	for (size_t i = 0; i < SIGN_KEYS_MAX; i++)
		sign_key_drop(&(*k)->key[i]);
	free(*k);
	*k = NULL;
}

size_t
sign_keys_count(const struct sign_keys *k)
{
	size_t n = 0;

	for (size_t i = 0; i < SIGN_KEYS_MAX; i++)
		n += k->key[i].key != NULL;
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

static int
set_padding(EVP_PKEY_CTX *ctx, enum sign_op op)
{
	if (op == SIGN_ECDSA)
		return 1;
	return EVP_PKEY_CTX_set_rsa_padding(
	    ctx, op == SIGN_RSA_RAW ? RSA_NO_PADDING : RSA_PKCS1_PADDING);
}

/* Contexts for what a key of this kind may do. */
static bool
prepare(struct sign_key *x)
{
	bool is_ec = EVP_PKEY_get_base_id(x->key) == EVP_PKEY_EC, ok = true;

	for (int op = SIGN_RSA_RAW; op <= SIGN_ECDSA && ok; op++) {
		if (is_ec != (op == SIGN_ECDSA))
			continue;
		x->does[op] = EVP_PKEY_CTX_new(x->key, NULL);
		ok = x->does[op] != NULL &&
		     EVP_PKEY_sign_init(x->does[op]) == 1 &&
		     set_padding(x->does[op], (enum sign_op)op) == 1;
	}
	ERR_clear_error();
	return ok;
}

int
sign_keys_load(struct sign_keys *k, const struct msg_tls_key *at, int fd,
	       char *why, size_t why_size)
{
	size_t i = (size_t)at->index * SIGN_CERTS_MAX + at->place;
	const char *fault;
	EVP_PKEY *key;
	char *data;
	size_t len;
	int r;

	snprintf(why, why_size, "no such certificate");
	if (at->index >= SIGN_LISTENERS_MAX || at->place >= SIGN_CERTS_MAX)
		return -EINVAL;
	r = fd_read_all(fd, PEM_BYTES_MAX, &data, &len);
	if (r != 0) {
		snprintf(why, why_size, "it cannot be read: %s", strerror(-r));
		return -EINVAL;
	}
	sign_key_drop(&k->key[i]);
	key = parse_pem(data, len, &fault);
	str_wipe(data, len);
	free(data);
	if (key == NULL) {
		snprintf(why, why_size, "%s", fault);
		return -EINVAL;
	}
	k->key[i] = (struct sign_key){key, spki_tag(key), {NULL}};
	if (!prepare(&k->key[i])) {
		sign_key_drop(&k->key[i]);
		snprintf(why, why_size, "OpenSSL does not sign with it");
		return -EINVAL;
	}
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

/* XORs MGF1 of the hash into p (RFC 8017 B.2.1). */
static bool
mgf1_xor(uint8_t *p, size_t len, const uint8_t *hash, size_t hash_len,
	 const EVP_MD *md)
{
	uint8_t in[EVP_MAX_MD_SIZE + 4] = {0}, mask[EVP_MAX_MD_SIZE];

	memcpy(in, hash, hash_len);
	/* of 512 bytes at most: the counter's last byte is all of it */
	for (size_t at = 0; at < len; at += hash_len) {
		if (EVP_Digest(in, hash_len + 4, mask, NULL, md, NULL) != 1)
			return false;
		for (size_t i = 0; i < MIN(hash_len, len - at); i++)
			p[at + i] ^= mask[i];
		in[hash_len + 3]++;
	}
	return true;
}

/* EMSA-PSS with this hash, and a salt as long as it (RFC 8017 9.1.2 as far as
 * it goes without the message).  em is of em_bits bits. */
static bool
is_pss_with(const uint8_t *em, size_t em_bits, const EVP_MD *md)
{
	size_t em_len = (em_bits + 7) / 8;
	size_t hash_len = (size_t)EVP_MD_get_size(md);
	uint8_t db[BLOCK_MAX],
	    top = (uint8_t)(0xff00 >> (8 * em_len - em_bits));
	size_t db_len, zeros;

	if (em_len < 2 * hash_len + 2 || em_len > sizeof(db) ||
	    em[em_len - 1] != 0xbc || (em[0] & top) != 0)
		return false;
	db_len = em_len - hash_len - 1;
	zeros = db_len - hash_len - 1;
	memcpy(db, em, db_len);
	if (!mgf1_xor(db, db_len, em + db_len, hash_len, md))
		return false;
	db[0] &= (uint8_t)~top;
	for (size_t i = 0; i < zeros; i++)
		if (db[i] != 0)
			return false;
	return db[zeros] == 1;
}

/*
 * A block for the bare operation: only what TLS signs with it, rsa_pss_rsae_*
 * (RFC 8446 4.2.3).  Without this a relay that was taken over could have
 * anything decrypted, and signed in every format.  The look alone (the last
 * byte, the top bits) would not do: a block can be blinded until it has that.
 */
static bool
is_pss(EVP_PKEY *key, struct slice data)
{
	size_t bits = (size_t)EVP_PKEY_get_bits(key) - 1;
	const uint8_t *em = (const uint8_t *)data.p;

	if (data.len != (size_t)EVP_PKEY_get_size(key))
		return false;
	if (bits % 8 == 0 && *em++ != 0) /* a byte shorter than the modulus */
		return false;
	return is_pss_with(em, bits, EVP_sha256()) ||
	       is_pss_with(em, bits, EVP_sha384()) ||
	       is_pss_with(em, bits, EVP_sha512());
}

/* DigestInfo up to the digest (RFC 8017 9.2, note 1). */
static const struct {
	size_t digest;
	struct slice head;
} digest_info[] = {
    /* SHA-1, of old clients */
    {20, SLICE_LIT("\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00"
		   "\x04\x14")},
    {28, SLICE_LIT("\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04"
		   "\x02\x04\x05\x00\x04\x1c")},
    {32, SLICE_LIT("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04"
		   "\x02\x01\x05\x00\x04\x20")},
    {48, SLICE_LIT("\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04"
		   "\x02\x02\x05\x00\x04\x30")},
    {64, SLICE_LIT("\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04"
		   "\x02\x03\x05\x00\x04\x40")},
};

/* What TLS 1.2 signs by PKCS#1 v1.5.  That of TLS 1.1, without DigestInfo, is
 * not spoken here. */
static bool
is_digest_info(struct slice data)
{
	for (size_t i = 0; i < ARRAY_LEN(digest_info); i++) {
		struct slice head = digest_info[i].head;

		if (data.len == head.len + digest_info[i].digest &&
		    memcmp(data.p, head.p, head.len) == 0)
			return true;
	}
	return false;
}

/* May this key do this to these bytes? */
static bool
is_lawful(EVP_PKEY *key, const struct msg_sign *m)
{
	int type = EVP_PKEY_get_base_id(key);

	switch (m->op) {
	case SIGN_RSA_RAW:
		return type == EVP_PKEY_RSA && is_pss(key, m->data);
	case SIGN_RSA_PKCS1:
		return type == EVP_PKEY_RSA && is_digest_info(m->data);
	case SIGN_ECDSA:
		return type == EVP_PKEY_EC && m->data.len >= DIGEST_MIN &&
		       m->data.len <= DIGEST_MAX;
	default:
		return false;
	}
}

static const struct sign_key *
find_key(const struct sign_keys *k, const struct msg_sign *m)
{
	if (m->key == 0)
		return m->index < SIGN_LISTENERS_MAX
			   ? &k->key[m->index * SIGN_CERTS_MAX]
			   : NULL;
	for (; k != NULL; k = k->before)
		for (size_t i = 0; i < SIGN_KEYS_MAX; i++)
			if (k->key[i].key != NULL && k->key[i].tag == m->key)
				return &k->key[i];
	return NULL;
}

int
sign_do(const struct sign_keys *k, const struct msg_sign *m,
	uint8_t out[SIGN_BYTES_MAX])
{
	const struct sign_key *x = find_key(k, m);
	size_t len = SIGN_BYTES_MAX;
	bool ok;

	if (x == NULL || x->key == NULL || !is_lawful(x->key, m))
		return -EINVAL;
	ok = EVP_PKEY_sign(x->does[m->op], out, &len,
			   (const uint8_t *)m->data.p, m->data.len) == 1;
	ERR_clear_error();
	return ok ? (int)len : -EINVAL;
}
