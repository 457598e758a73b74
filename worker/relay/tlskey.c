/*
 * Purpose: sign in the keeper without holding a key or the event loop.
 *
 * Runs in: relay.
 * Trusts:  the keeper for the signature (a wrong one fails the handshake).
 * Touches: the channel to the keeper.
 * Failure: the handshake fails; that session ends.
 *
 * OpenSSL's provider interface has no small way to say "this key signs
 * elsewhere"; the method tables of RSA and EC keys do, and are deprecated but
 * kept.  With a foreign method OpenSSL 3 takes its legacy path, so padding
 * (PSS) is done here and the raw private operation in the keeper.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "worker/relay/tlskey.h"

#include <errno.h>
#include <openssl/async.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "shm/base/log.h"
#include "worker/relay/relay.h"
#include "worker/relay/wire.h"
#include "worker/spki.h"

#define TLSKEY_SIG_MAX 1024

_Static_assert(sizeof(void *) >= sizeof(uint64_t), "a key's name fits");

/* One signature under way; lives on the stack of its job. */
struct tlskey_job {
	struct tlskey_job *next;
	struct wire *wire;
	uint64_t id;
	bool done;
	bool ok;
	size_t len;
	uint8_t sig[TLSKEY_SIG_MAX];
};

static struct {
	struct relay *w;
	struct wire *current;
	struct tlskey_job *jobs;
	uint64_t next_id;
	RSA_METHOD *rsa;
	EC_KEY_METHOD *ec;
	int rsa_index;
	int ec_index;
} tlskey;

void
tlskey_enter(struct wire *x)
{
	tlskey.current = x;
}

void
tlskey_leave(void)
{
	tlskey.current = NULL;
}

static void
tlskey_unlink(struct tlskey_job *j)
{
	for (struct tlskey_job **p = &tlskey.jobs; *p != NULL;
	     p = &(*p)->next) {
		if (*p == j) {
			*p = j->next;
			return;
		}
	}
}

/* Runs in the job: asks, pauses until the answer is there. */
static bool
tlskey_ask(uint64_t key, enum sign_op op, const uint8_t *data, size_t len,
	   struct tlskey_job *j)
{
	struct msg_sign m = {
	    .key = key, .op = op, .data = {(const char *)data, len}};
	uint8_t body[1024];
	size_t n = msg_sign_pack(&m, body, sizeof(body));

	*j =
	    (struct tlskey_job){.wire = tlskey.current, .id = ++tlskey.next_id};
	if (n == 0 || j->wire == NULL || ASYNC_get_current_job() == NULL ||
	    tlskey.w->keeper == NULL ||
	    ipc_send(tlskey.w->keeper, IPC_SIGN, j->id, body, n, -1) != 0)
		return false;
	j->next = tlskey.jobs;
	tlskey.jobs = j;
	while (!j->done)
		if (ASYNC_pause_job() != 1)
			break;
	tlskey_unlink(j);
	return j->done && j->ok;
}

static int
tlskey_rsa_priv_enc(int len, const unsigned char *from, unsigned char *to,
		    RSA *rsa, int padding)
{
	uint64_t key =
	    (uint64_t)(uintptr_t)RSA_get_ex_data(rsa, tlskey.rsa_index);
	enum sign_op op =
	    padding == RSA_NO_PADDING ? SIGN_RSA_RAW : SIGN_RSA_PKCS1;
	struct tlskey_job j;

	if (padding != RSA_NO_PADDING && padding != RSA_PKCS1_PADDING)
		return -1;
	if (len <= 0 || !tlskey_ask(key, op, from, (size_t)len, &j) ||
	    j.len != (size_t)RSA_size(rsa))
		return -1;
	memcpy(to, j.sig, j.len);
	return (int)j.len;
}

static int
tlskey_ec_sign(int type UNUSED, const unsigned char *dgst, int len,
	       unsigned char *sig, unsigned int *siglen,
	       const BIGNUM *kinv UNUSED, const BIGNUM *r UNUSED, EC_KEY *ec)
{
	uint64_t key =
	    (uint64_t)(uintptr_t)EC_KEY_get_ex_data(ec, tlskey.ec_index);
	struct tlskey_job j;

	if (len <= 0 || !tlskey_ask(key, SIGN_ECDSA, dgst, (size_t)len, &j) ||
	    j.len > (size_t)ECDSA_size(ec))
		return 0;
	memcpy(sig, j.sig, j.len);
	*siglen = (unsigned)j.len;
	return 1;
}

int
tlskey_init(struct relay *w)
{
	int (*setup)(EC_KEY *, BN_CTX *, BIGNUM **, BIGNUM **);
	ECDSA_SIG *(*sig)(const unsigned char *, int, const BIGNUM *,
			  const BIGNUM *, EC_KEY *);

	tlskey.w = w;
	tlskey.rsa = RSA_meth_dup(RSA_PKCS1_OpenSSL());
	tlskey.ec = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
	tlskey.rsa_index = RSA_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	tlskey.ec_index = EC_KEY_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	if (tlskey.rsa == NULL || tlskey.ec == NULL || tlskey.rsa_index < 0 ||
	    tlskey.ec_index < 0)
		return -ENOMEM;
	RSA_meth_set1_name(tlskey.rsa, "rms keeper");
	RSA_meth_set_priv_enc(tlskey.rsa, tlskey_rsa_priv_enc);
	EC_KEY_METHOD_get_sign(tlskey.ec, NULL, &setup, &sig);
	EC_KEY_METHOD_set_sign(tlskey.ec, tlskey_ec_sign, setup, sig);
	return ASYNC_is_capable() ? 0 : -ENOTSUP;
}

static EVP_PKEY *
tlskey_new_rsa(const EVP_PKEY *pub, void *tag)
{
	RSA *from = EVP_PKEY_get1_RSA((EVP_PKEY *)(uintptr_t)pub);
	RSA *rsa = from == NULL ? NULL : RSAPublicKey_dup(from);
	EVP_PKEY *key = EVP_PKEY_new();

	RSA_free(from);
	if (rsa == NULL || key == NULL ||
	    RSA_set_method(rsa, tlskey.rsa) != 1 ||
	    RSA_set_ex_data(rsa, tlskey.rsa_index, tag) != 1)
		goto fail;
	RSA_set_flags(rsa, RSA_FLAG_EXT_PKEY);
	if (EVP_PKEY_assign_RSA(key, rsa) != 1)
		goto fail;
	return key;
fail:
	RSA_free(rsa);
	EVP_PKEY_free(key);
	return NULL;
}

static EVP_PKEY *
tlskey_new_ec(const EVP_PKEY *pub, void *tag)
{
	EC_KEY *from = EVP_PKEY_get1_EC_KEY((EVP_PKEY *)(uintptr_t)pub);
	EC_KEY *ec = from == NULL ? NULL : EC_KEY_dup(from);
	EVP_PKEY *key = EVP_PKEY_new();

	EC_KEY_free(from);
	if (ec == NULL || key == NULL ||
	    EC_KEY_set_method(ec, tlskey.ec) != 1 ||
	    EC_KEY_set_ex_data(ec, tlskey.ec_index, tag) != 1)
		goto fail;
	if (EVP_PKEY_assign_EC_KEY(key, ec) != 1)
		goto fail;
	return key;
fail:
	EC_KEY_free(ec);
	EVP_PKEY_free(key);
	return NULL;
}

EVP_PKEY *
tlskey_new(X509 *cert)
{
	EVP_PKEY *pub = X509_get0_pubkey(cert);
	uint64_t tag = pub == NULL ? 0 : spki_tag(pub);

	if (tag == 0)
		return NULL;
	if (EVP_PKEY_get_base_id(pub) == EVP_PKEY_RSA)
		return tlskey_new_rsa(pub, (void *)(uintptr_t)tag);
	if (EVP_PKEY_get_base_id(pub) == EVP_PKEY_EC)
		return tlskey_new_ec(pub, (void *)(uintptr_t)tag);
	return NULL;
}

bool
tlskey_waits(const struct wire *x)
{
	for (struct tlskey_job *j = tlskey.jobs; j != NULL; j = j->next)
		if (j->wire == x)
			return true;
	return false;
}

void
tlskey_abandon(const struct wire *x)
{
	for (struct tlskey_job *j = tlskey.jobs; j != NULL; j = j->next)
		if (j->wire == x)
			j->done = true;
}

void
tlskey_on_reply(uint64_t id, const struct msg_sign_reply *m)
{
	struct tlskey_job *j = tlskey.jobs;

	while (j != NULL && j->id != id)
		j = j->next;
	if (j == NULL)
		return; /* its client has gone meanwhile */
	if (m->ok && m->data.len <= sizeof(j->sig)) {
		memcpy(j->sig, m->data.p, m->data.len);
		j->len = m->data.len;
		j->ok = true;
	}
	j->done = true;
	j->wire->on_event(j->wire->arg);
}

void
tlskey_keeper_gone(void)
{
	struct tlskey_job *j;

	/* on_event takes the job off the list, or ends its session, which
	 * does the same: so always the first that is not done */
	for (;;) {
		for (j = tlskey.jobs; j != NULL && j->done; j = j->next)
			;
		if (j == NULL)
			return;
		j->done = true;
		j->wire->on_event(j->wire->arg);
	}
}
