/*
 * clientcert: who a client is by the certificate that it showed.
 *
 * On a listener with client_certificate the handshake asks for one; OpenSSL
 * verifies it there against client_ca and, where given, client_crl: one that
 * is not good fails the handshake, with the alert that says why.  It is
 * verified again by the newest of both for the first request that it stands
 * for, after each reload that changed one of them, and when the first of all
 * that it rests on ends: so a connection does not outlive its certificate, nor
 * a revocation that came after it.  Where one is required, that holds for each
 * request, whatever else it brings: also on a connection that was open before
 * the reload that requires one.  No session is ever resumed on such a
 * listener: a ticket keeps a certificate, but not its issuers.
 *
 * The account is the subject as RFC 4514 writes it (as printed by `openssl
 * x509 -noout -subject -nameopt RFC2253`); a subject that is empty, too long
 * or cannot be written is nobody's.  Names of other attributes, as DNS names,
 * are not looked at.
 */
#ifndef RMS_CLIENTCERT_H
#define RMS_CLIENTCERT_H

#include <openssl/types.h>
#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/msg.h"

struct client;
struct identity;
struct listener;

enum clientcert_mode {
	CLIENTCERT_OFF = 0,
	CLIENTCERT_ASK,	    /* one may be shown */
	CLIENTCERT_REQUIRE, /* no handshake and no request without */
};

#define CLIENTCERT_WHY_MAX 512
/* Why a certificate was refused. */
struct clientcert_refusal {
	enum auth_cause cause; /* CAUSE_NONE: it was not about one */
	char why[CLIENTCERT_WHY_MAX];
	char account[IDENTITY_PRINCIPAL_MAX]; /* that it names, "" unknown */
};

enum clientcert_mode clientcert_mode(const char *text);

/*
 * Makes a listener's context ask, and know whom to trust: ca is PEM, crl too
 * or without bytes.  0, or -EINVAL with a line in err.
 */
MUST_USE int clientcert_setup(SSL_CTX *ctx, enum clientcert_mode mode,
			      struct slice ca, struct slice crl, char *err,
			      size_t err_size);

/* The same for another certificate of the listener: whom to trust, and names,
 * are those of `from`, which was set up.  0 or -ENOMEM. */
MUST_USE int clientcert_share(SSL_CTX *ctx, const SSL_CTX *from);

/* After a handshake that failed: whether that was about the client's
 * certificate. */
void clientcert_failed(SSL *ssl, struct clientcert_refusal *r);

/*
 * Who the client is by its certificate and by what l holds now.  NULL when it
 * showed none (r->cause CAUSE_NONE) or it is not good (any more).  expires is
 * the time to ask again.  The caller owns it.
 */
MUST_USE struct identity *clientcert_identity(SSL *ssl,
					      const struct listener *l,
					      struct clientcert_refusal *r);

#endif
