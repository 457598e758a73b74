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

struct listener;
struct relay;

/* Context of a listener from l->pem.  0 or -errno
 * with a line in err; the old context stays on failure. */
MUST_USE int tls_server_ctx(struct relay *w, struct listener *l, char *err,
			    size_t err_size);
/* "tls-server-end-point:" and a hash of at most 64 bytes. */
#define TLS_BINDING_MAX MSG_BINDING_BYTES_MAX
/* Channel binding of a server's connection, from the certificate that it was
 * shown.  Its length; 0: none. */
size_t tls_binding(SSL *ssl, uint8_t out[TLS_BINDING_MAX]);

/* Context towards the cloud from w->cloud_ca. */
MUST_USE int tls_cloud_ctx(struct relay *w, char *err, size_t err_size);

/* An SSL on x, with its BIO.  NULL without memory. */
MUST_USE SSL *tls_new(SSL_CTX *ctx, struct wire *x, bool server);
/* Ends a handshake that waits for the keeper, then frees. */
void tls_free(SSL **ssl, struct wire *x);

enum io_result tls_handshake(SSL *ssl, struct wire *x);

/* The session to resume is of another tenant: forget it. */
void tls_cloud_forget(void);

/* Before the handshake with the cloud: name to send and to verify, and the
 * session to resume. */
MUST_USE int tls_cloud_start(struct relay *w, SSL *ssl);
/* After a failed one: what was wrong, for log and event.  True when it was
 * the certificate. */
bool tls_cloud_error(SSL *ssl, char *why, size_t size);

/* in wire.c, for the BIO */
ssize_t wire_recv(struct wire *x, char *data, size_t size);
enum io_result wire_put(struct wire *x, const char *data, size_t len);

#endif
