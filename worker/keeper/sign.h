/*
 * sign: private-key operations of TLS handshakes.
 *
 * The keys of the listeners' certificates live here and nowhere else; a relay
 * sends what is to be signed.  A relay that was taken over can have things
 * signed while it lives, but cannot take the key away; and only digests in
 * the forms of TLS: it can have nothing decrypted.
 *
 * A set of keys is filled during a reload and put in force as a whole.
 */
#ifndef RMS_SIGN_H
#define RMS_SIGN_H

#include "shm/msg.h"

#define SIGN_LISTENERS_MAX 16 /* CONF_LISTENERS_MAX */
#define SIGN_CERTS_MAX	   8  /* CONF_CERTS_MAX */
/* Largest result: RSA of 4096 bits.  IPC_SIGN_REPLY has room for twice that. */
#define SIGN_BYTES_MAX 512

struct sign_keys;

/* Before the sandbox closes: what OpenSSL reads at its first use. */
void sign_init(void);

MUST_USE struct sign_keys *sign_keys_new(void);
void sign_keys_free(struct sign_keys **k);
size_t sign_keys_count(const struct sign_keys *k);

/*
 * k is in force now and takes *old (may be NULL), which goes on signing for
 * handshakes that began with its certificates; what *old had taken goes.
 */
void sign_keys_succeed(struct sign_keys *k, struct sign_keys **old);

/*
 * Reads the PEM key of a listener's certificate, which is in this place of its
 * list, from fd, which stays the caller's.
 * 0, or -EINVAL with one line in why: what, and what would do.
 */
MUST_USE int sign_keys_load(struct sign_keys *k, const struct msg_tls_key *at,
			    int fd, char *why, size_t why_size);

/*
 * Carries out m.  Bytes written to out, or -EINVAL: no such key, a key of
 * another type, or data that TLS 1.2 or 1.3 would not sign by that operation:
 * for SIGN_RSA_RAW a block of EMSA-PSS whose hash (SHA-256, 384, 512) is that
 * of its mask and as long as its salt (RFC 8446 4.2.3), for SIGN_RSA_PKCS1 a
 * DigestInfo of SHA-1 or SHA-2, for SIGN_ECDSA 20 to 64 bytes.
 */
MUST_USE int sign_do(const struct sign_keys *k, const struct msg_sign *m,
		     uint8_t out[SIGN_BYTES_MAX]);

#endif
