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
#include "worker/issuers.h"
#include "worker/relay/relay.h"
#include "worker/relay/tlskey.h"
#include "worker/relay/warm.h"

#define TLS_READ_BUFFER 32768

static const char tls_ciphers12[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
static const unsigned char tls_alpn[] = "\x08http/1.1";

/* Per process: one event loop, so one of each will do. */
static struct {
	BIO_METHOD *bio, *bio_inner;
	EVP_CIPHER *aes;
	struct relay *w;
	uint64_t tickets_seq;
	struct tickets_value tickets;
	SSL_SESSION *cloud_session;
	char issuer[160]; /* of the cloud's last good certificate */
	char why[768];	  /* of the last certificate that was refused */
	bool inspection;  /* it looked like that */
} tls;

/* ---- BIO ------------------------------------------------------------- */

static int
tls_bio_took(BIO *b, ssize_t n)
{
	if (n == -EAGAIN) {
		BIO_set_retry_read(b);
		return -1;
	}
	if (n == 0)
		BIO_set_flags(b, BIO_FLAGS_IN_EOF);
	return n < 0 ? -1 : (int)n;
}

static int
tls_bio_read(BIO *b, char *data, int len)
{
	BIO_clear_retry_flags(b);
	if (len <= 0)
		return 0;
	return tls_bio_took(b, wire_recv(BIO_get_data(b), data, (size_t)len));
}

static int
tls_bio_write(BIO *b, const char *data, int len)
{
	BIO_clear_retry_flags(b);
	if (len <= 0)
		return 0;
	return wire_put(BIO_get_data(b), data, (size_t)len) == IO_OK ? len : -1;
}

/* The same for the inner TLS of a tunnel. */
static int
tls_bio_read_inner(BIO *b, char *data, int len)
{
	BIO_clear_retry_flags(b);
	if (len <= 0)
		return 0;
	return tls_bio_took(
	    b, wire_recv_inner(BIO_get_data(b), data, (size_t)len));
}

static int
tls_bio_write_inner(BIO *b, const char *data, int len)
{
	BIO_clear_retry_flags(b);
	if (len <= 0)
		return 0;
	return wire_put_inner(BIO_get_data(b), data, (size_t)len) == IO_OK ? len
									   : -1;
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

static BIO_METHOD *
tls_bio_method(const char *name, int (*rd)(BIO *, char *, int),
	       int (*wr)(BIO *, const char *, int))
{
	BIO_METHOD *m =
	    BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, name);

	if (m == NULL || BIO_meth_set_read(m, rd) != 1 ||
	    BIO_meth_set_write(m, wr) != 1 ||
	    BIO_meth_set_ctrl(m, tls_bio_ctrl) != 1)
		return NULL;
	return m;
}

static int
tls_init(struct relay *w)
{
	if (tls.bio != NULL)
		return 0;
	tls.w = w;
	tls.aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	tls.bio = tls_bio_method("rms wire", tls_bio_read, tls_bio_write);
	tls.bio_inner = tls_bio_method("rms tunnel", tls_bio_read_inner,
				       tls_bio_write_inner);
	if (tls.bio == NULL || tls.bio_inner == NULL || tls.aes == NULL)
		return -ENOMEM;
	if (warm_up() != 0)
		return -ENOMEM;
	return tlskey_init(w);
}

static SSL *
tls_new_on(SSL_CTX *ctx, BIO_METHOD *method, struct wire *x)
{
	SSL *ssl = SSL_new(ctx);
	BIO *b = BIO_new(method);

	if (ssl == NULL || b == NULL) {
		SSL_free(ssl);
		BIO_free(b);
		return NULL;
	}
	BIO_set_data(b, x);
	BIO_set_init(b, 1);
	SSL_set_bio(ssl, b, b); /* takes b once */
	return ssl;
}

SSL *
tls_new_inner(SSL_CTX *ctx, struct wire *x)
{
	SSL *ssl = tls_new_on(ctx, tls.bio_inner, x);

	if (ssl != NULL)
		SSL_set_connect_state(ssl);
	return ssl;
}

SSL *
tls_new(SSL_CTX *ctx, struct wire *x, bool server)
{
	SSL *ssl = tls_new_on(ctx, tls.bio, x);

	if (ssl == NULL)
		return NULL;
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

/* RFC 7301 3.2: who names protocols and not ours hears no_application_protocol,
 * instead of HTTP/1.1 in a connection that it takes for another. */
static int
tls_on_alpn(SSL *ssl UNUSED, const unsigned char **out, unsigned char *outlen,
	    const unsigned char *in, unsigned inlen, void *arg UNUSED)
{
	unsigned char *pick;

	if (SSL_select_next_proto(&pick, outlen, tls_alpn, sizeof(tls_alpn) - 1,
				  in, inlen) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
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
	/* What was said last, with a reference to the certificate: while that
	 * is held, its address is no other's. */
	static struct {
		X509 *cert;
		size_t n;
		uint8_t bytes[TLS_BINDING_MAX];
	} last;
	/* A session is resumed under the certificate that began it only: the
	 * session id context sees to that. */
	X509 *cert = SSL_get_certificate(ssl);

	if (cert == NULL)
		return 0;
	if (cert != last.cert) {
		X509_free(last.cert);
		last.cert = NULL;
		last.n = tls_binding_of(cert, last.bytes);
		if (last.n > 0 && X509_up_ref(cert) == 1)
			last.cert = cert;
	}
	memcpy(out, last.bytes, last.n);
	return last.n;
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
	/* A copy: a connection that ends without close_notify, as idle ones
	 * often do, makes OpenSSL mark its own session as not resumable. */
	s = SSL_SESSION_dup(s);
	if (s == NULL)
		return 0;
	SSL_SESSION_free(tls.cloud_session);
	tls.cloud_session = s;
	return 0; /* the reference to the other one is not ours */
}

static void
tls_refuse(X509_STORE_CTX *store, const char *pins, const char *host)
{
	tls.inspection = issuers_explain(pins, tls.issuer, host, store, tls.why,
					 sizeof(tls.why));
}

static int
tls_on_verify(int ok, X509_STORE_CTX *store)
{
	const char *pins = tls.w->c->conf.cloud_issuers.s;

	/* depth 0 comes last, when all else has been found good */
	if (ok && X509_STORE_CTX_get_error_depth(store) == 0 &&
	    !issuers_allow(pins, store)) {
		X509_STORE_CTX_set_error(store,
					 X509_V_ERR_APPLICATION_VERIFICATION);
		ok = 0;
	}
	if (!ok)
		tls_refuse(store, pins, tls.w->tenant_host);
	return ok;
}

static int
tls_on_verify_proxy(int ok, X509_STORE_CTX *store)
{
	if (!ok)
		(void)issuers_explain("", "one of proxy_ca_file",
				      tls.w->way.host, store, tls.why,
				      sizeof(tls.why));
	return ok;
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
		/* Reads its extensions now.  OpenSSL would at the first use,
		 * and were there no memory then, hold it for an invalid one
		 * as long as the process lives. */
		if (X509_check_purpose(ca, -1, 0) == 1)
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

static SSL_CTX *
tls_client_ctx(struct relay *w, const char *pem, size_t len, const char *name,
	       char *err, size_t err_size)
{
	SSL_CTX *ctx;

	if (tls_init(w) != 0 ||
	    (ctx = SSL_CTX_new(TLS_client_method())) == NULL) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	tls_common(ctx);
	if (tls_load_issuers(ctx, pem, len) == 0) {
		snprintf(err, err_size, "%s holds no certificate", name);
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

SSL_CTX *
tls_cloud_ctx(struct relay *w, char *err, size_t err_size)
{
	SSL_CTX *ctx = tls_client_ctx(w, w->cloud_ca.pem, w->cloud_ca.len,
				      "cloud_ca_file", err, err_size);

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, tls_on_verify);
	SSL_CTX_set_session_cache_mode(
	    ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(ctx, tls_on_session);
	return ctx;
}

SSL_CTX *
tls_proxy_ctx(struct relay *w, char *err, size_t err_size)
{
	SSL_CTX *ctx = tls_client_ctx(w, w->proxy_ca.pem, w->proxy_ca.len,
				      "proxy_ca_file", err, err_size);

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, tls_on_verify_proxy);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

static int
tls_name(SSL *ssl, const char *host)
{
	tls.why[0] = '\0';
	tls.inspection = false;
	/* an address literal: no SNI (RFC 6066 3), verified as an address */
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
		return 0;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)host) != 1 ||
	    SSL_set1_host(ssl, host) != 1)
		return -ENOMEM;
	return 0;
}

int
tls_proxy_start(struct relay *w, SSL *ssl)
{
	return tls_name(ssl, w->way.host);
}

int
tls_cloud_start(struct relay *w, SSL *ssl)
{
	int r = tls_name(ssl, w->tenant_host);

	if (r == 0 && tls.cloud_session != NULL &&
	    SSL_SESSION_is_resumable(tls.cloud_session))
		SSL_set_session(ssl, tls.cloud_session);
	return r;
}

void
tls_cloud_done(SSL *ssl)
{
	X509 *cert;

	if (SSL_session_reused(ssl))
		return;
	cert = SSL_get0_peer_certificate(ssl);
	if (cert != NULL)
		issuers_name(cert, tls.issuer, sizeof(tls.issuer));
}

enum tls_fault
tls_error(const struct wire *x, char *why, size_t size)
{
	unsigned long e = ERR_peek_last_error();
	bool cert = SSL_get_verify_result(x->ssl) != X509_V_OK;

	if (x->nomem)
		snprintf(why, size, "out of memory");
	else if (cert && tls.why[0] != '\0')
		snprintf(why, size, "%s", tls.why);
	else if (e != 0)
		snprintf(why, size, "%s", ERR_reason_error_string(e));
	else
		snprintf(why, size, "connection closed in the handshake");
	ERR_clear_error();
	if (x->nomem)
		return TLS_FAULT_NOMEM;
	if (!cert)
		return TLS_FAULT_OTHER;
	return tls.inspection ? TLS_FAULT_INSPECTION : TLS_FAULT_CERT;
}
