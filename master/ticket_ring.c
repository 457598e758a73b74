/*
 * Purpose: make, derive and retire the keys of TLS session tickets.
 *
 * Runs in: the master.
 * Trusts:  the clock, within a period; the secret's owner.
 * Touches: its own memory, wiped.
 * Failure: the keys that are in force stay.
 */
#include "master/ticket_ring.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <sys/random.h>

#include "shm/base/clock.h"
#include "shm/base/str.h"
#include "shm/base/log.h"

/* Of one source, newest first; derived ones: this period's, the one before,
 * the next. */
#define RING_OWN 3
#define RING_OLD (TICKETS_KEYS - RING_OWN)
#define RING_NS	 ((uint64_t)TICKETS_ROTATE_S * NS_PER_S)

struct ticket_ring {
	bool shared; /* of a secret */
	bool fresh;  /* the source has changed, the keys have not yet */
	uint8_t secret[TICKET_SECRET_BYTES];
	uint64_t period;    /* shared: of key[0] */
	uint64_t turned_ns; /* random: when key[0] was made */
	struct ticket_key key[RING_OWN];
	size_t n;
	struct {
		struct ticket_key key;
		uint64_t until_ns;
	} old[RING_OLD];
	size_t nold;
};

struct ticket_ring *
ticket_ring_new(void)
{
	struct ticket_ring *r = calloc(1, sizeof(*r));

	if (r != NULL)
		r->fresh = true;
	return r;
}

void
ticket_ring_free(struct ticket_ring **r)
{
	if (*r != NULL)
		str_wipe(*r, sizeof(**r));
	free(*r);
	*r = NULL;
}

/* ---- HKDF with SHA-256 ------------------------------------------------- */

static int
hkdf(int mode, const void *key, size_t key_len, const char *extra_name,
     const void *extra, size_t extra_len, void *out, size_t out_len)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
	union { /* OpenSSL only reads them */
		const void *ro;
		void *rw;
	} k = {.ro = key}, e = {.ro = extra};
	char digest[] = "SHA256";
	OSSL_PARAM p[] = {
	    OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
	    OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, k.rw,
					      key_len),
	    OSSL_PARAM_construct_octet_string(extra_name, e.rw, extra_len),
	    OSSL_PARAM_construct_end(),
	};
	bool ok = ctx != NULL && EVP_KDF_derive(ctx, out, out_len, p) == 1;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok ? 0 : -ENOMEM;
}

int
ticket_secret_take(const void *data, size_t len,
		   uint8_t secret_r[TICKET_SECRET_BYTES])
{
	static const char salt[] = "rms-connector TLS tickets 1";

	return hkdf(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, data, len,
		    OSSL_KDF_PARAM_SALT, salt, sizeof(salt) - 1, secret_r,
		    TICKET_SECRET_BYTES);
}

static int
derive(const struct ticket_ring *r, uint64_t period, struct ticket_key *k)
{
	uint8_t info[8];

	for (size_t i = 0; i < sizeof(info); i++)
		info[i] = (uint8_t)(period >> (56 - 8 * i));
	return hkdf(EVP_KDF_HKDF_MODE_EXPAND_ONLY, r->secret, sizeof(r->secret),
		    OSSL_KDF_PARAM_INFO, info, sizeof(info), k, sizeof(*k));
}

/* ---- turns -------------------------------------------------------------- */

void
ticket_ring_use(struct ticket_ring *r,
		const uint8_t secret[TICKET_SECRET_BYTES])
{
	bool shared = secret != NULL;

	if (shared == r->shared &&
	    (!shared || memcmp(secret, r->secret, sizeof(r->secret)) == 0))
		return;
	r->shared = shared;
	r->fresh = true;
	str_wipe(r->secret, sizeof(r->secret));
	if (shared)
		memcpy(r->secret, secret, sizeof(r->secret));
}

static bool
drop_ended(struct ticket_ring *r, uint64_t boot_ns)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nold; i++)
		if (r->old[i].until_ns > boot_ns)
			r->old[n++] = r->old[i];
	if (n == r->nold)
		return false;
	str_wipe(&r->old[n], (r->nold - n) * sizeof(r->old[0]));
	r->nold = n;
	return true;
}

/* The present keys in front of those that were retired before; what does not
 * fit behind them goes early. */
static void
retire(struct ticket_ring *r, uint64_t boot_ns)
{
	size_t keep = MIN(r->nold, RING_OLD - r->n);

	memmove(&r->old[r->n], &r->old[0], keep * sizeof(r->old[0]));
	for (size_t i = 0; i < r->n; i++) {
		r->old[i].key = r->key[i];
		r->old[i].until_ns = boot_ns + 2 * RING_NS;
	}
	r->nold = r->n + keep;
	r->n = 0;
}

static int
next_shared(const struct ticket_ring *r, uint64_t period,
	    struct ticket_key next[RING_OWN])
{
	int e = derive(r, period, &next[0]);

	if (e == 0)
		e = derive(r, period - 1, &next[1]);
	if (e == 0)
		e = derive(r, period + 1, &next[2]);
	return e;
}

static void
next_random(struct ticket_key *k)
{
	/* Short of 257 bytes getrandom() gives all or fails, and it fails
	 * only on a kernel that this program does not run on. */
	BUG_ON(getrandom(k, sizeof(*k), 0) != sizeof(*k));
}

static bool
turn_shared(struct ticket_ring *r, uint64_t real_s, uint64_t boot_ns)
{
	uint64_t period = real_s / TICKETS_ROTATE_S;
	struct ticket_key next[RING_OWN];

	if (!r->fresh && period == r->period)
		return false;
	if (next_shared(r, period, next) != 0) {
		log_err("out of memory: TLS ticket keys are not renewed");
		return false;
	}
	if (r->fresh)
		retire(r, boot_ns);
	memcpy(r->key, next, sizeof(next));
	str_wipe(next, sizeof(next));
	r->n = RING_OWN;
	r->period = period;
	r->fresh = false;
	return true;
}

static bool
turn_random(struct ticket_ring *r, uint64_t boot_ns)
{
	if (!r->fresh && boot_ns - r->turned_ns < RING_NS)
		return false;
	if (r->fresh)
		retire(r, boot_ns);
	memmove(&r->key[1], &r->key[0], sizeof(r->key) - sizeof(r->key[0]));
	next_random(&r->key[0]);
	r->n = MIN(r->n + 1, (size_t)RING_OWN);
	r->turned_ns = boot_ns;
	r->fresh = false;
	return true;
}

bool
ticket_ring_turn(struct ticket_ring *r, uint64_t real_s, uint64_t boot_ns)
{
	bool ended = drop_ended(r, boot_ns);

	return (r->shared ? turn_shared(r, real_s, boot_ns)
			  : turn_random(r, boot_ns)) ||
	       ended;
}

void
ticket_ring_value(const struct ticket_ring *r, struct tickets_value *v_r)
{
	*v_r = (struct tickets_value){0};
	for (size_t i = 0; i < r->n; i++)
		v_r->key[v_r->nkeys++] = r->key[i];
	for (size_t i = 0; i < r->nold; i++)
		v_r->key[v_r->nkeys++] = r->old[i].key;
}
