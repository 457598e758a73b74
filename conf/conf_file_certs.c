/*
 * Purpose: check the certificates and keys that the configuration points to.
 *
 * Runs in: master, rmsctl.
 * Trusts:  nobody: the files are whatever is on the disk.
 * Touches: the files named, which are only read; keys are wiped.
 * Failure: errors and warnings by line; nothing is changed.
 *
 * An error is what cannot work or would work for nobody who checks: no key of
 * the certificate, issuers that did not issue.  What was good and is old is a
 * warning: to refuse it would keep the rest from starting too, and every
 * client refuses it by itself and says why.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "conf/conf_file_checks.h"
#include "shm/base/log.h"

#define PEM_BYTES_MAX	  1048576
#define CLOUD_BYTES_MAX	  16777216
#define CHAIN_CERTS_MAX	  10
#define BINDING_CERTS_MAX 7 /* and our own: MSG_BINDINGS_MAX */
#define CLOUD_CERTS_MAX	  10000
#define RSA_BITS_MAX	  4096 /* of SIGN_REPLY, and of patience */
/* Certificates live for 47 days at least (CA/Browser Forum SC-081). */
#define EXPIRES_SOON_DAYS 7

/* A key with a passphrase must not make OpenSSL ask on the terminal. */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return 0;
}

/* --- certificates ------------------------------------------------------ */

/* All certificates of a PEM text, in order; NULL with why_r when there is
 * none, more than max, or one that does not parse. */
static STACK_OF(X509) *
    parse_certs(const char *pem, size_t len, int max, const char **why_r)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	X509 *x;

	*why_r = NULL;
	while (all != NULL && bio != NULL &&
	       (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL)
		if (sk_X509_push(all, x) == 0)
			X509_free(x);
	/* The end of the text is the only good reason to stop. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		*why_r = "a certificate in it does not parse, replace the file";
	else if (sk_X509_num(all) == 0)
		*why_r = "no certificate in it, name a PEM file";
	else if (sk_X509_num(all) > max)
		*why_r = "more certificates than it may hold, name the right "
			 "file";
	ERR_clear_error();
	BIO_free(bio);
	if (*why_r == NULL)
		return all;
	sk_X509_pop_free(all, X509_free);
	return NULL;
}

/* Those of a file; NULL after a report. */
static STACK_OF(X509) * load_certs(const struct spot *s, const char *path,
				   size_t bytes_max, int max)
{
	STACK_OF(X509) * all;
	const char *why;
	size_t len = 0;
	char *pem = check_read(s, path, bytes_max, false, &len);

	if (pem == NULL)
		return NULL;
	all = parse_certs(pem, len, max, &why);
	free(pem);
	if (all == NULL)
		check_fault(s, path, why);
	return all;
}

static void
subject_of(const X509 *x, char *out, size_t size)
{
	X509_NAME_oneline(X509_get_subject_name(x), out, (int)size);
}

static void
check_dates(const struct spot *s, const char *path, const X509 *x)
{
	int days = 0, seconds = 0;
	char why[128];

	if (X509_cmp_current_time(X509_get0_notAfter(x)) <= 0) {
		check_warn(s, path,
			   "the certificate has expired and clients refuse "
			   "it, renew it");
	} else if (X509_cmp_current_time(X509_get0_notBefore(x)) >= 0) {
		check_warn(s, path,
			   "the certificate is not valid yet and clients "
			   "refuse it, check the clock");
	} else if (ASN1_TIME_diff(&days, &seconds, NULL,
				  X509_get0_notAfter(x)) == 1 &&
		   days < EXPIRES_SOON_DAYS) {
		snprintf(why, sizeof(why),
			 "the certificate expires in %d days, renew it", days);
		check_warn(s, path, why);
	}
}

/* Each certificate after the first has issued the one before it: clients get
 * all of them, and many build no chain of their own. */
static void
check_chain(const struct spot *s, const char *path, STACK_OF(X509) * all)
{
	char name[128], why[300];

	for (int i = 1; i < sk_X509_num(all); i++) {
		X509 *x = sk_X509_value(all, i - 1),
		     *issuer = sk_X509_value(all, i);
		EVP_PKEY *key = X509_get0_pubkey(issuer);
		bool ok = X509_check_issued(issuer, x) == X509_V_OK &&
			  key != NULL && X509_verify(x, key) == 1;

		ERR_clear_error();
		if (ok)
			continue;
		subject_of(issuer, name, sizeof(name));
		snprintf(why, sizeof(why),
			 "certificate %d in it (%s) has not issued the one "
			 "before it, put the certificate first and behind it "
			 "its issuers in order",
			 i + 1, name);
		check_fault(s, path, why);
		return;
	}
}

/* --- keys -------------------------------------------------------------- */

static const char *
key_fault(const EVP_PKEY *key)
{
	int type = EVP_PKEY_get_base_id(key);

	if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
		return "the key is neither RSA nor EC, make one that is";
	if (type == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) > RSA_BITS_MAX)
		return "the key is larger than RSA 4096, make a smaller one";
	return NULL;
}

static EVP_PKEY *
load_key(const struct spot *s, const char *path)
{
	size_t len = 0;
	char *pem = check_read(s, path, PEM_BYTES_MAX, true, &len);
	EVP_PKEY *key = NULL;
	const char *why = NULL;
	BIO *bio;

	if (pem == NULL)
		return NULL;
	bio = BIO_new_mem_buf(pem, (int)len);
	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	ERR_clear_error();
	if (key != NULL)
		why = key_fault(key);
	else if (strstr(pem, "ENCRYPTED") != NULL)
		why = "the key has a passphrase, nobody is there to type it, "
		      "store it without";
	else
		why = "no private key that parses in it, name a PEM file";
	check_wipe_free(pem, len);
	if (why == NULL)
		return key;
	check_fault(s, path, why);
	EVP_PKEY_free(key);
	return NULL;
}

/* --- a listener -------------------------------------------------------- */

static void
check_pair(struct check *k, size_t i)
{
	const struct conf_listener *l = &k->c->listener[i];
	char cert_text[128], key_text[128];
	struct spot cert, key;
	EVP_PKEY *pkey = NULL;
	STACK_OF(X509) *chain = NULL;

	check_listener_spot(k, i, "certificate", cert_text, sizeof(cert_text),
			    &cert);
	check_listener_spot(k, i, "key", key_text, sizeof(key_text), &key);
	if (l->certificate.s[0] == '\0')
		check_fault(&cert, "",
			    "not set, tls = true needs it, name a PEM file");
	else
		chain = load_certs(&cert, l->certificate.s, PEM_BYTES_MAX,
				   CHAIN_CERTS_MAX);
	if (l->key.s[0] == '\0')
		check_fault(&key, "",
			    "not set, tls = true needs it, name a PEM file");
	else
		pkey = load_key(&key, l->key.s);
	if (chain != NULL && pkey != NULL &&
	    X509_check_private_key(sk_X509_value(chain, 0), pkey) != 1)
		check_fault(&key, l->key.s,
			    "not the key of this certificate, name the pair");
	ERR_clear_error();
	if (chain != NULL) {
		check_chain(&cert, l->certificate.s, chain);
		check_dates(&cert, l->certificate.s, sk_X509_value(chain, 0));
	}
	EVP_PKEY_free(pkey);
	sk_X509_pop_free(chain, X509_free);
}

static void
check_no_tls(struct check *k, size_t i)
{
	const struct conf_listener *l = &k->c->listener[i];
	bool key = l->key.s[0] != '\0';
	char text[128];
	struct spot s;

	if (!key && l->certificate.s[0] == '\0')
		return;
	check_listener_spot(k, i, key ? "key" : "certificate", text,
			    sizeof(text), &s);
	check_fault(&s, "", "set, but tls is not, add tls = true or remove it");
}

static void
check_bindings(struct check *k, size_t i)
{
	const struct conf_listener *l = &k->c->listener[i];
	const char *path = l->channel_binding_certificates.s;
	const char *mode = l->channel_binding.s;
	char text[128];
	struct spot s;

	check_listener_spot(k, i, "channel_binding", text, sizeof(text), &s);
	if (strcmp(mode, "require") == 0 && !l->tls && path[0] == '\0')
		check_fault(&s, mode,
			    "without TLS there is no certificate to be bound "
			    "to, nobody would be let in, add tls = true, or "
			    "channel_binding_certificates of a balancer that "
			    "ends TLS");
	if (path[0] == '\0')
		return;
	check_listener_spot(k, i, "channel_binding_certificates", text,
			    sizeof(text), &s);
	if (strcmp(mode, "off") == 0)
		check_fault(&s, path,
			    "channel_binding is off, it would not be looked "
			    "at, remove one of them");
	else
		sk_X509_pop_free(
		    load_certs(&s, path, PEM_BYTES_MAX, BINDING_CERTS_MAX),
		    X509_free);
}

void
check_certs(struct check *k, size_t i)
{
	if (k->c->listener[i].tls)
		check_pair(k, i);
	else
		check_no_tls(k, i);
	check_bindings(k, i);
}

/* --- the cloud --------------------------------------------------------- */

static void
check_issuers_file(struct check *k, const char *name, const char *path)
{
	struct spot s;

	check_node_spot(k, name, &s);
	sk_X509_pop_free(load_certs(&s, path, CLOUD_BYTES_MAX, CLOUD_CERTS_MAX),
			 X509_free);
}

void
check_cloud_ca(struct check *k)
{
	check_issuers_file(k, "cloud_ca_file", k->c->cloud_ca_file.s);
	if (k->c->proxy_ca_file.s[0] != '\0')
		check_issuers_file(k, "proxy_ca_file", k->c->proxy_ca_file.s);
}
