/*
 * Purpose: verify clients' certificates, and name whose they are.
 *
 * Runs in: relay.
 * Trusts:  client_ca and client_crl, which the master read; no byte of a
 *          certificate before it is verified.
 * Touches: TLS contexts; public data only.
 * Failure: a cause and a line; never an identity.
 */
#include "worker/relay/clientcert.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "shm/base/log.h"
#include "shm/identity.h"
#include "worker/relay/listener.h"

/* Certificates between the client's and one that is trusted. */
#define CLIENTCERT_DEPTH_MAX 4
/* Of all that a client sends of certificates, in bytes. */
#define CLIENTCERT_BYTES_MAX 32768

/* Of the verification that failed last: handshakes are of one thread, and
 * who asks comes right behind. */
static struct clientcert_refusal last;

enum clientcert_mode
clientcert_mode(const char *text)
{
	if (strcmp(text, "require") == 0)
		return CLIENTCERT_REQUIRE;
	return strcmp(text, "ask") == 0 ? CLIENTCERT_ASK : CLIENTCERT_OFF;
}

/* ---- names ----------------------------------------------------------- */

/* RFC 4514 by way of RFC 2253: in ASCII, what is not is escaped byte by byte
 * as UTF-8, control characters and NUL too; separators within a value are
 * escaped, so that no name can be written to look like another.  0, or
 * -EINVAL. */
static int
name_text(const X509_NAME *name, char *out, size_t size)
{
	BIO *b = BIO_new(BIO_s_mem());
	int r = -EINVAL;
	char *p;
	long n;

	if (b != NULL && X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253) >= 0 &&
	    (n = BIO_get_mem_data(b, &p)) > 0 && (size_t)n < size &&
	    memchr(p, '\0', (size_t)n) == NULL) {
		memcpy(out, p, (size_t)n);
		out[n] = '\0';
		r = 0;
	}
	BIO_free(b);
	ERR_clear_error();
	return r;
}

/* ---- verification ---------------------------------------------------- */

static enum auth_cause
cause_of(int error)
{
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return CAUSE_CERT_EXPIRED;
	case X509_V_ERR_CERT_REVOKED:
		return CAUSE_CERT_REVOKED;
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_CRL_NOT_YET_VALID:
	case X509_V_ERR_UNABLE_TO_GET_CRL:
		return CAUSE_CERT_CRL;
	case X509_V_ERR_INVALID_PURPOSE:
		return CAUSE_CERT_PURPOSE;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		return CAUSE_CERT_UNKNOWN_CA;
	default:
		return CAUSE_CERT_BAD;
	}
}

static void
note_refusal(X509_STORE_CTX *v, int error)
{
	X509 *x = X509_STORE_CTX_get_current_cert(v);
	char subject[200] = "?", issuer[200] = "?";

	if (x != NULL) { /* for people: cut where it is long */
		(void)!name_text(X509_get_subject_name(x), subject,
				 sizeof(subject));
		(void)!name_text(X509_get_issuer_name(x), issuer,
				 sizeof(issuer));
	}
	last.account[0] = '\0';
	x = X509_STORE_CTX_get0_cert(v); /* the client's own */
	if (x != NULL && name_text(X509_get_subject_name(x), last.account,
				   sizeof(last.account)) != 0)
		last.account[0] = '\0';
	last.cause = cause_of(error);
	snprintf(last.why, sizeof(last.why), "%s (certificate of %s by %s)",
		 X509_verify_cert_error_string(error), subject, issuer);
}

/* A trusted certificate below its own issuer needs no list: whoever no longer
 * trusts it takes it out of client_ca. */
static bool
is_anchor(X509_STORE_CTX *v)
{
	int n = sk_X509_num(X509_STORE_CTX_get0_chain(v));

	return n > 1 && X509_STORE_CTX_get_error_depth(v) == n - 1;
}

static int
on_verify(int ok, X509_STORE_CTX *v)
{
	int error = X509_STORE_CTX_get_error(v);

	if (ok)
		return 1;
	if (error == X509_V_ERR_UNABLE_TO_GET_CRL && is_anchor(v)) {
		X509_STORE_CTX_set_error(v, X509_V_OK);
		return 1;
	}
	note_refusal(v, error);
	return 0;
}

/* ---- context --------------------------------------------------------- */

/* The issuers into the store, and their names into what clients are told. */
static int
load_ca(SSL_CTX *ctx, X509_STORE *store, struct slice pem)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.len);
	X509 *x;
	int n = 0;

	while (b != NULL &&
	       (x = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		if (X509_STORE_add_cert(store, x) == 1 &&
		    SSL_CTX_add_client_CA(ctx, x) == 1)
			n++;
		X509_free(x);
	}
	ERR_clear_error(); /* the end of the text is one */
	BIO_free(b);
	return n;
}

static int
load_crls(X509_STORE *store, struct slice pem)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.len);
	X509_CRL *x;
	int n = 0;

	while (b != NULL &&
	       (x = PEM_read_bio_X509_CRL(b, NULL, NULL, NULL)) != NULL) {
		n += X509_STORE_add_crl(store, x) == 1;
		X509_CRL_free(x);
	}
	ERR_clear_error();
	BIO_free(b);
	return n;
}

static void
ask_for_one(SSL_CTX *ctx, int verify)
{
	SSL_CTX_set_verify(ctx, verify, on_verify);
	SSL_CTX_set_verify_depth(ctx, CLIENTCERT_DEPTH_MAX);
	SSL_CTX_set_max_cert_list(ctx, CLIENTCERT_BYTES_MAX);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(ctx, 0);
}

int
clientcert_setup(SSL_CTX *ctx, enum clientcert_mode mode, struct slice ca,
		 struct slice crl, char *err, size_t err_size)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;
	int verify = SSL_VERIFY_PEER;

	if (ca.len == 0 || load_ca(ctx, store, ca) == 0) {
		snprintf(err, err_size, "no certificate in client_ca");
		return -EINVAL;
	}
	if (crl.len > 0) {
		if (load_crls(store, crl) == 0) {
			snprintf(err, err_size, "no list in client_crl");
			return -EINVAL;
		}
		flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
	}
	if (mode == CLIENTCERT_REQUIRE)
		verify |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	X509_STORE_set_flags(store, flags);
	X509_STORE_set_purpose(store, X509_PURPOSE_SSL_CLIENT);
	X509_STORE_set_depth(store, CLIENTCERT_DEPTH_MAX);
	X509_STORE_set_verify_cb(store, on_verify);
	ask_for_one(ctx, verify);
	return 0;
}

int
clientcert_share(SSL_CTX *ctx, const SSL_CTX *from)
{
	STACK_OF(X509_NAME) *names =
	    SSL_dup_CA_list(SSL_CTX_get_client_CA_list(from));

	if (names == NULL)
		return -ENOMEM;
	SSL_CTX_set_client_CA_list(ctx, names); /* takes them */
	SSL_CTX_set1_cert_store(ctx, SSL_CTX_get_cert_store(from));
	ask_for_one(ctx, SSL_CTX_get_verify_mode(from));
	return 0;
}

void
clientcert_failed(SSL *ssl, struct clientcert_refusal *r)
{
	unsigned long e = ERR_peek_last_error();

	*r = (struct clientcert_refusal){.cause = CAUSE_NONE};
	if (SSL_get_verify_result(ssl) != X509_V_OK)
		*r = last;
	else if (ERR_GET_LIB(e) == ERR_LIB_SSL &&
		 ERR_GET_REASON(e) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		r->cause = CAUSE_CERT_MISSING;
}

/* ---- identity -------------------------------------------------------- */

static uint64_t
seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	return (uint64_t)MAX((time_t)0, timegm(&tm));
}

static bool
issued_in(STACK_OF(X509) * chain, const X509_NAME *by)
{
	for (int i = 0; i < sk_X509_num(chain); i++)
		if (X509_NAME_cmp(X509_get_issuer_name(sk_X509_value(chain, i)),
				  by) == 0)
			return true;
	return false;
}

/* When a list ends that the verification may have rested on: UINT64_MAX for
 * one of another issuer, and for one that was out of date before `began`. */
static uint64_t
list_until(const X509_CRL *crl, STACK_OF(X509) * chain, uint64_t began)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
	uint64_t end = seconds_of(next);

	if (next == NULL || end < began ||
	    !issued_in(chain, X509_CRL_get_issuer(crl)))
		return UINT64_MAX;
	return end;
}

/* The first end of what the verification, which began then, rested on:
 * certificates, lists. */
static uint64_t
rests_until(X509_STORE_CTX *v, uint64_t began)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(v);
	STACK_OF(X509_OBJECT) *objects =
	    X509_STORE_get0_objects(X509_STORE_CTX_get0_store(v));
	uint64_t end = UINT64_MAX;

	for (int i = 0; i < sk_X509_num(chain); i++)
		end = MIN(end, seconds_of(X509_get0_notAfter(
				   sk_X509_value(chain, i))));
	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		const X509_CRL *crl =
		    X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i));

		if (crl != NULL)
			end = MIN(end, list_until(crl, chain, began));
	}
	return end;
}

/* How long it is good, 0 when it is not: then `last` says why. */
static uint64_t
verify_again(SSL *ssl, X509 *leaf, X509_STORE *store)
{
	X509_STORE_CTX *v = X509_STORE_CTX_new();
	uint64_t until = 0, began = (uint64_t)time(NULL);

	last = (struct clientcert_refusal){.cause = CAUSE_INTERNAL};
	if (v != NULL &&
	    X509_STORE_CTX_init(v, store, leaf, SSL_get_peer_cert_chain(ssl)) ==
		1) {
		/* as the handshake had it */
		X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(v),
						 SSL_get_security_level(ssl));
		if (X509_verify_cert(v) == 1)
			until = rests_until(v, began);
	}
	X509_STORE_CTX_free(v);
	ERR_clear_error();
	return until;
}

struct identity *
clientcert_identity(SSL *ssl, const struct listener *l,
		    struct clientcert_refusal *r)
{
	X509 *leaf = SSL_get0_peer_certificate(ssl);
	struct identity *id;
	uint64_t until;

	*r = (struct clientcert_refusal){.cause = CAUSE_NONE};
	if (leaf == NULL || l->clientcert == CLIENTCERT_OFF || l->ctx == NULL)
		return NULL;
	until = verify_again(ssl, leaf, SSL_CTX_get_cert_store(l->ctx));
	if (until == 0) {
		*r = last;
		return NULL;
	}
	id = identity_new();
	if (id == NULL) {
		r->cause = CAUSE_INTERNAL;
		return NULL;
	}
	if (name_text(X509_get_subject_name(leaf), id->principal,
		      sizeof(id->principal)) != 0 ||
	    name_text(X509_get_issuer_name(leaf), id->spn, sizeof(id->spn)) !=
		0) {
		r->cause = CAUSE_CERT_NAME;
		identity_free(&id);
		return NULL;
	}
	id->mech = MECH_CERT;
	id->bound = true; /* the handshake proved the key on this connection */
	id->expires = until;
	return id;
}
