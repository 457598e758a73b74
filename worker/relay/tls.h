/*
 * tls: contexts for both sides, and the BIO that puts an SSL on a wire.
 *
 * No private key is ever here: a server context holds the certificate chain
 * and a key object whose operations are done by the keeper (tlskey.h).
 */
#ifndef RMS_TLS_H
#define RMS_TLS_H

#include <openssl/types.h>
#include <stdbool.h>
#include <sys/types.h>

#include "shm/base/bug.h"
#include "shm/msg.h"
#include "worker/relay/wire.h"

struct relay;

/* The session id context of a listener (RFC 5246 has no name for it): a
 * session is only resumed where it is the same. */
#define TLS_ID_BYTES 32

/* Context of a listener from its chain in PEM, leaf first.  NULL with a line
 * in err. */
MUST_USE SSL_CTX *tls_server_ctx(struct relay *w, struct slice chain,
				 const uint8_t id[TLS_ID_BYTES], char *err,
				 size_t err_size);
/* "tls-server-end-point:" and a hash of at most 64 bytes. */
#define TLS_BINDING_MAX MSG_BINDING_BYTES_MAX
/* Channel binding of a server's connection, from the certificate that it was
 * shown.  Its length; 0: none. */
size_t tls_binding(SSL *ssl, uint8_t out[TLS_BINDING_MAX]);
/* Likewise of the certificate at this place of a PEM text, from 0; 0: there is
 * none. */
size_t tls_binding_at(struct slice pem, size_t place,
		      uint8_t out[TLS_BINDING_MAX]);

/* A context towards the cloud from w->cloud_ca, or NULL with the reason. */
MUST_USE SSL_CTX *tls_cloud_ctx(struct relay *w, char *err, size_t err_size);
/* Likewise towards an https web proxy from w->proxy_ca. */
MUST_USE SSL_CTX *tls_proxy_ctx(struct relay *w, char *err, size_t err_size);

/* An SSL on x, with its BIO.  NULL without memory. */
MUST_USE SSL *tls_new(SSL_CTX *ctx, struct wire *x, bool server);
/* A client's SSL that x's present one (or its plain bytes) is to carry. */
MUST_USE SSL *tls_new_inner(SSL_CTX *ctx, struct wire *x);
/* Ends a handshake that waits for the keeper, then frees. */
void tls_free(SSL **ssl, struct wire *x);

enum io_result tls_handshake(SSL *ssl, struct wire *x);

/* The session to resume is of another tenant: forget it. */
void tls_cloud_forget(void);

/* Before the handshake with the cloud: name to send and to verify, and the
 * session to resume. */
MUST_USE int tls_cloud_start(struct relay *w, SSL *ssl);
/* The same with the web proxy: its name, and no session. */
MUST_USE int tls_proxy_start(struct relay *w, SSL *ssl);
/* It is finished: remembers the issuer, for tls_error(). */
void tls_cloud_done(SSL *ssl);

enum tls_fault {
	TLS_FAULT_OTHER,
	TLS_FAULT_NOMEM, /* ours */
	TLS_FAULT_CERT,
	/* the certificate, by an issuer that is not the cloud's: somebody
	 * in between opens the TLS */
	TLS_FAULT_INSPECTION,
};
/* After a failed one: what was wrong, for log and event. */
enum tls_fault tls_error(const struct wire *x, char *why, size_t size);

/* in wire.c, for the BIO */
ssize_t wire_recv(struct wire *x, char *data, size_t size);
enum io_result wire_put(struct wire *x, const char *data, size_t len);
ssize_t wire_recv_inner(struct wire *x, char *data, size_t size);
enum io_result wire_put_inner(struct wire *x, const char *data, size_t len);

#endif
