/*
 * tlskey: private-key operations that the keeper does for us.
 *
 * A key object holds the public part only.  When a handshake needs a
 * signature, it is running in an OpenSSL job (SSL_MODE_ASYNC): the request
 * goes to the keeper, the job pauses, other sessions go on, and the reply
 * resumes the handshake.
 */
#ifndef RMS_TLSKEY_H
#define RMS_TLSKEY_H

#include <openssl/types.h>
#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/msg.h"

struct relay;
struct wire;

/* Once per process, before the sandbox.  0 or -errno. */
MUST_USE int tlskey_init(struct relay *w);

/* A key with the public part of cert; the keeper has the private part and
 * finds it by the public one.  NULL when the type is neither RSA nor EC, or
 * without memory.  The caller owns it. */
MUST_USE EVP_PKEY *tlskey_new(X509 *cert);

/* The wire whose handshake is being driven, around SSL_do_handshake(). */
void tlskey_enter(struct wire *x);
void tlskey_leave(void);

/* Does a signature for x wait at the keeper? */
bool tlskey_waits(const struct wire *x);
/* The wire ends: its waiting signature is to fail when the job is resumed. */
void tlskey_abandon(const struct wire *x);

/* SIGN_REPLY: hands the result over and drives the wire's owner. */
void tlskey_on_reply(uint64_t id, const struct msg_sign_reply *m);
/* The keeper is gone: everything that waits fails. */
void tlskey_keeper_gone(void);

#endif
