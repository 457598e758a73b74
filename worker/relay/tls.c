/*
 * Purpose: TLS contexts of both sides, and an SSL's way to its wire.
 *
 * Runs in: relay.
 * Trusts:  the master for certificates and issuers; no peer.
 * Touches: the ticket keys (read-only).
 * Failure: at set-up a line for the operator, later IO_FAIL.
 */
#include "worker/relay/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "shm/base/log.h"
#include "worker/relay/relay.h"
#include "worker/relay/tlskey.h"

#define TLS_READ_BUFFER 32768

static const char tls_ciphers12[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
static const unsigned char tls_alpn[] = "\x08http/1.1";

/* Per process: one event loop, so one of each will do. */
static struct {
	BIO_METHOD *bio;
	EVP_CIPHER *aes;
	struct relay *w;
	uint64_t tickets_seq;
	struct tickets_value tickets;
	SSL_SESSION *cloud_session;
	char cloud_why[512]; /* of the last certificate that was refused */
} tls;

/* ---- BIO ------------------------------------------------------------- */

static int
tls_bio_read(BIO *b, char *data, int len)
{
	struct wire *x = BIO_get_data(b);
	ssize_t n;

	BIO_clear_retry_flags(b);
	if (len <= 0)
		return 0;
	n = wire_recv(x, data, (size_t)len);
	if (n == -EAGAIN) {
		BIO_set_retry_read(b);
		return -1;
	}
	if (n == 0)
		BIO_set_flags(b, BIO_FLAGS_IN_EOF);
	return n < 0 ? -1 : (int)n;
}

static int
tls_bio_write(BIO *b, const char *data, int len)
{
	BIO_clear_retry_flags(b);
	if (len <= 0)
		return 0;
	return wire_put(BIO_get_data(b), data, (size_t)len) == IO_OK ? len : -1;
}

static long
tls_bio_ctrl(BIO *b, int cmd, long num UNUSED, void *ptr UNUSED)
{
	if (cmd == BIO_CTRL_FLUSH)
		return 1;
	if (cmd == BIO_CTRL_EOF)
		return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
	return 0;
}

static int
tls_init(struct relay *w)
{
	if (tls.bio != NULL)
		return 0;
	tls.w = w;
	tls.aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	tls.bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
			       "rms wire");
	if (tls.bio == NULL || tls.aes == NULL ||
	    BIO_meth_set_read(tls.bio, tls_bio_read) != 1 ||
	    BIO_meth_set_write(tls.bio, tls_bio_write) != 1 ||
	    BIO_meth_set_ctrl(tls.bio, tls_bio_ctrl) != 1)
		return -ENOMEM;
	return tlskey_init(w);
}

SSL *
tls_new(SSL_CTX *ctx, struct wire *x, bool server)
{
	SSL *ssl = SSL_new(ctx);
	BIO *b = BIO_new(tls.bio);

	if (ssl == NULL || b == NULL) {
		SSL_free(ssl);
		BIO_free(b);
		return NULL;
	}
	BIO_set_data(b, x);
	BIO_set_init(b, 1);
	SSL_set_bio(ssl, b, b); /* takes b once */
	if (server) {
		SSL_set_accept_state(ssl);
		SSL_set_mode(ssl, SSL_MODE_ASYNC);
	} else {
		SSL_set_connect_state(ssl);
	}
	return ssl;
}

void
tls_free(SSL **ssl, struct wire *x)
{
	if (*ssl == NULL)
		return;
	if (tlskey_waits(x)) {
		tlskey_abandon(x);
		tlskey_enter(x);
		SSL_do_handshake(*ssl); /* lets the job end, in failure */
		tlskey_leave();
		ERR_clear_error();
	}
	SSL_free(*ssl);
	*ssl = NULL;
}

enum io_result
tls_handshake(SSL *ssl, struct wire *x)
{
	int r, e;

	ERR_clear_error();
	tlskey_enter(x);
	r = SSL_do_handshake(ssl);
	tlskey_leave();
	if (r == 1) {
		/* jobs are for the handshake's signature only */
		SSL_clear_mode(ssl, SSL_MODE_ASYNC);
		return IO_OK;
	}
	e = SSL_get_error(ssl, r);
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ||
	    e == SSL_ERROR_WANT_ASYNC)
		return IO_AGAIN;
	return IO_FAIL;
}

/* ---- tickets (RFC 5077, RFC 8446 4.6.1) ------------------------------ */

static void
tls_tickets_refresh(void)
{
	if (tls.w->tickets == NULL ||
	    pub_seq(tls.w->tickets) == tls.tickets_seq)
		return;
	tls.tickets_seq = pub_read(tls.w->tickets, &tls.tickets);
	if (tls.tickets.nkeys > TICKETS_KEYS)
		tls.tickets.nkeys = 0;
}

static int
tls_ticket_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
	char digest[] = "SHA256";
	OSSL_PARAM p[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->hmac,
					      sizeof(k->hmac)),
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, p);
}

static int
tls_on_ticket(SSL *ssl, unsigned char name[16], unsigned char *iv,
	      EVP_CIPHER_CTX *ctx, EVP_MAC_CTX *mac, int enc)
{
	struct ticket_key *k;

	tls_tickets_refresh();
	if (enc == 1) {
		if (tls.tickets.nkeys == 0)
			return 0;
		k = &tls.tickets.key[0];
		memcpy(name, k->name, 16);
		if (RAND_bytes(iv, 16) != 1 ||
		    EVP_EncryptInit_ex2(ctx, tls.aes, k->aes, iv, NULL) != 1)
			return -1;
		return tls_ticket_mac(mac, k) == 1 ? 1 : -1;
	}
	for (uint32_t i = 0; i < tls.tickets.nkeys; i++) {
		k = &tls.tickets.key[i];
		if (memcmp(name, k->name, 16) != 0)
			continue;
		if (tls_ticket_mac(mac, k) != 1 ||
		    EVP_DecryptInit_ex2(ctx, tls.aes, k->aes, iv, NULL) != 1)
			return -1;
		/* 2: give the client a new one.  In TLS 1.3 it uses each
		 * for one connection only (RFC 8446 C.4). */
		return i == 0 && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
	}
	return 0;
}

/* ---- server side ----------------------------------------------------- */

static int
tls_on_alpn(SSL *ssl UNUSED, const unsigned char **out, unsigned char *outlen,
	    const unsigned char *in, unsigned inlen, void *arg UNUSED)
{
	unsigned char *pick;

	if (SSL_select_next_proto(&pick, outlen, tls_alpn, sizeof(tls_alpn) - 1,
				  in, inlen) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = pick;
	return SSL_TLSEXT_ERR_OK;
}

static void
tls_common(SSL_CTX *ctx)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_cipher_list(ctx, tls_ciphers12);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION |
				     SSL_OP_NO_COMPRESSION |
				     SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, TLS_READ_BUFFER);
}

/* Leaf and issuers from the PEM text into ctx.  Returns the leaf, owned by
 * ctx. */
static X509 *
tls_load_chain(SSL_CTX *ctx, struct slice chain)
{
	BIO *b = BIO_new_mem_buf(chain.p, (int)chain.len);
	X509 *leaf, *ca;
	int ok;

	if (b == NULL)
		return NULL;
	leaf = PEM_read_bio_X509_AUX(b, NULL, NULL, NULL);
	ok = leaf != NULL && SSL_CTX_use_certificate(ctx, leaf) == 1;
	X509_free(leaf); /* ctx holds its own reference */
	while (ok && (ca = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		ok = SSL_CTX_add0_chain_cert(ctx, ca) == 1;
		if (!ok)
			X509_free(ca);
	}
	ERR_clear_error(); /* the end of the file is one */
	BIO_free(b);
	return ok ? SSL_CTX_get0_certificate(ctx) : NULL;
}

SSL_CTX *
tls_server_ctx(struct relay *w, struct slice chain,
	       const uint8_t id[TLS_ID_BYTES], char *err, size_t err_size)
{
	SSL_CTX *ctx;
	X509 *leaf;
	EVP_PKEY *key = NULL;

	if (tls_init(w) != 0 ||
	    (ctx = SSL_CTX_new(TLS_server_method())) == NULL) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	tls_common(ctx);
	leaf = tls_load_chain(ctx, chain);
	if (leaf != NULL)
		key = tlskey_new(leaf);
	if (key == NULL || SSL_CTX_use_PrivateKey(ctx, key) != 1) {
		snprintf(
		    err, err_size,
		    "the certificate cannot be used: not PEM, or its key is "
		    "neither RSA nor EC");
		EVP_PKEY_free(key);
		SSL_CTX_free(ctx);
		return NULL;
	}
	EVP_PKEY_free(key);
	SSL_CTX_set_session_id_context(ctx, id, TLS_ID_BYTES);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tls_on_ticket);
	SSL_CTX_set_timeout(ctx, TICKETS_ROTATE_S);
	SSL_CTX_set_alpn_select_cb(ctx, tls_on_alpn, NULL);
	return ctx;
}

/* ---- channel binding ------------------------------------------------- */

/* RFC 5929 4.1: the hash of the certificate's signature, SHA-256 for MD5 and
 * SHA-1.  Where the signature has none (Ed25519), nothing is said there; the
 * field takes SHA-256. */
static size_t
tls_binding_of(const X509 *cert, uint8_t out[TLS_BINDING_MAX])
{
	static const char prefix[] = "tls-server-end-point:";
	const EVP_MD *type;
	int md = NID_undef;
	unsigned n = 0;

	if (X509_get_signature_info((X509 *)(uintptr_t)cert, &md, NULL, NULL,
				    NULL) != 1 ||
	    md == NID_undef || md == NID_md5 || md == NID_sha1)
		md = NID_sha256;
	type = EVP_get_digestbynid(md);
	if (type == NULL ||
	    X509_digest(cert, type, out + sizeof(prefix) - 1, &n) != 1)
		return 0;
	memcpy(out, prefix, sizeof(prefix) - 1);
	return sizeof(prefix) - 1 + n;
}

size_t
tls_binding(SSL *ssl, uint8_t out[TLS_BINDING_MAX])
{
	const X509 *cert = SSL_get_certificate(ssl);

	/* A session is resumed under the certificate that began it only: the
	 * session id context sees to that. */
	return cert == NULL ? 0 : tls_binding_of(cert, out);
}

size_t
tls_binding_at(struct slice pem, size_t place, uint8_t out[TLS_BINDING_MAX])
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.len);
	X509 *cert = NULL;
	size_t n = 0;

	for (size_t i = 0; b != NULL && i <= place; i++) {
		X509_free(cert);
		cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
		if (cert == NULL)
			break;
	}
	if (cert != NULL)
		n = tls_binding_of(cert, out);
	X509_free(cert);
	ERR_clear_error(); /* the end of the text is one */
	BIO_free(b);
	return n;
}

/* ---- towards the cloud ----------------------------------------------- */

/* Tickets may come late: not from a connection that was verified against
 * other issuers, or is another tenant's. */
static int
tls_on_session(SSL *ssl, SSL_SESSION *s)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	if (SSL_get_SSL_CTX(ssl) != tls.w->cloud_ctx ||
	    (name != NULL && strcmp(name, tls.w->tenant_host) != 0))
		return 0;
	SSL_SESSION_free(tls.cloud_session);
	tls.cloud_session = s;
	return 1; /* the reference is ours now */
}

static int
tls_on_verify(int ok, X509_STORE_CTX *store)
{
	char subject[160] = "?", issuer[160] = "?";
	X509 *cert;

	if (ok)
		return 1;
	cert = X509_STORE_CTX_get_current_cert(store);
	if (cert != NULL) {
		X509_NAME_oneline(X509_get_subject_name(cert), subject,
				  (int)sizeof(subject));
		X509_NAME_oneline(X509_get_issuer_name(cert), issuer,
				  (int)sizeof(issuer));
	}
	snprintf(tls.cloud_why, sizeof(tls.cloud_why),
		 "%s (certificate of %s, issued by %s)",
		 X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)),
		 subject, issuer);
	return 0;
}

static int
tls_load_issuers(SSL_CTX *ctx, const char *pem, size_t len)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *b = BIO_new_mem_buf(pem, (int)len);
	X509 *ca;
	int n = 0;

	if (b == NULL)
		return 0;
	while ((ca = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		n += X509_STORE_add_cert(store, ca) == 1;
		X509_free(ca);
	}
	ERR_clear_error();
	BIO_free(b);
	return n;
}

void
tls_cloud_forget(void)
{
	SSL_SESSION_free(tls.cloud_session);
	tls.cloud_session = NULL;
}

int
tls_cloud_ctx(struct relay *w, char *err, size_t err_size)
{
	SSL_CTX *ctx;

	if (tls_init(w) != 0 ||
	    (ctx = SSL_CTX_new(TLS_client_method())) == NULL) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	tls_common(ctx);
	if (tls_load_issuers(ctx, w->cloud_ca, w->cloud_ca_len) == 0) {
		snprintf(err, err_size, "cloud_ca_file holds no certificate");
		SSL_CTX_free(ctx);
		return -EINVAL;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, tls_on_verify);
	SSL_CTX_set_session_cache_mode(
	    ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(ctx, tls_on_session);
	SSL_CTX_free(w->cloud_ctx);
	w->cloud_ctx = ctx;
	tls_cloud_forget();
	return 0;
}

int
tls_cloud_start(struct relay *w, SSL *ssl)
{
	X509_VERIFY_PARAM *vp = SSL_get0_param(ssl);

	tls.cloud_why[0] = '\0';
	/* an address literal: no SNI (RFC 6066 3), verified as an address */
	if (X509_VERIFY_PARAM_set1_ip_asc(vp, w->tenant_host) == 1)
		goto session;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (SSL_set_tlsext_host_name(ssl, w->tenant_host) != 1 ||
	    SSL_set1_host(ssl, w->tenant_host) != 1)
		return -ENOMEM;
session:
	if (tls.cloud_session != NULL &&
	    SSL_SESSION_is_resumable(tls.cloud_session))
		SSL_set_session(ssl, tls.cloud_session);
	return 0;
}

bool
tls_cloud_error(SSL *ssl, char *why, size_t size)
{
	unsigned long e = ERR_peek_last_error();
	bool cert = SSL_get_verify_result(ssl) != X509_V_OK;

	if (cert && tls.cloud_why[0] != '\0')
		snprintf(why, size, "%s", tls.cloud_why);
	else if (e != 0)
		snprintf(why, size, "%s", ERR_reason_error_string(e));
	else
		snprintf(why, size, "connection closed in the handshake");
	ERR_clear_error();
	return cert;
}
