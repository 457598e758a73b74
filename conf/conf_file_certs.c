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
#define CLIENT_CAS_MAX	  100 /* each client is told their names */
#define CRL_BYTES_MAX	  16777216
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

const char *
conf_public_fault(struct slice pem)
{
	static const char mark[] = "PRIVATE KEY-----"; /* of any kind */

	if (memmem(pem.p, pem.len, mark, sizeof(mark) - 1) == NULL)
		return NULL;
	return "a private key stands in it, and this file goes to relays, "
	       "which must hold none, put the key into a file of its own";
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
	if (all != NULL)
		why = conf_public_fault((struct slice){pem, len});
	check_wipe_free(pem, len);
	if (why != NULL)
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
parse_key(const char *pem, size_t len, const char **why_r)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	EVP_PKEY *key = NULL;

	*why_r = NULL;
	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	ERR_clear_error();
	if (key != NULL)
		*why_r = key_fault(key);
	else if (strstr(pem, "ENCRYPTED") != NULL)
		*why_r = "the key has a passphrase, nobody is there to type "
			 "it, store it without";
	else
		*why_r = "no private key that parses in it, name a PEM file";
	if (*why_r == NULL)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

static EVP_PKEY *
load_key(const struct spot *s, const char *path)
{
	const char *why;
	size_t len = 0;
	char *pem = check_read(s, path, PEM_BYTES_MAX, true, &len);
	EVP_PKEY *key;

	if (pem == NULL)
		return NULL;
	key = parse_key(pem, len, &why);
	check_wipe_free(pem, len);
	if (key == NULL)
		check_fault(s, path, why);
	return key;
}

static const char no_pair[] = "not the key of this certificate, name the pair";

const char *
conf_pair_fault(struct slice chain, struct slice key)
{
	const char *why;
	STACK_OF(X509) *all =
	    parse_certs(chain.p, chain.len, CHAIN_CERTS_MAX, &why);
	EVP_PKEY *pkey = NULL;

	if (all == NULL)
		return why;
	pkey = parse_key(key.p, key.len, &why);
	if (pkey != NULL &&
	    X509_check_private_key(sk_X509_value(all, 0), pkey) != 1)
		why = no_pair;
	ERR_clear_error();
	EVP_PKEY_free(pkey);
	sk_X509_pop_free(all, X509_free);
	return why;
}

/* --- a listener -------------------------------------------------------- */

static void
check_pair(const struct spot *cert, const char *cert_path,
	   const struct spot *key, const char *key_path)
{
	STACK_OF(X509) *chain =
	    load_certs(cert, cert_path, PEM_BYTES_MAX, CHAIN_CERTS_MAX);
	EVP_PKEY *pkey = load_key(key, key_path);

	if (chain != NULL && pkey != NULL &&
	    X509_check_private_key(sk_X509_value(chain, 0), pkey) != 1)
		check_fault(key, key_path, no_pair);
	ERR_clear_error();
	if (chain != NULL) {
		check_chain(cert, cert_path, chain);
		check_dates(cert, cert_path, sk_X509_value(chain, 0));
	}
	EVP_PKEY_free(pkey);
	sk_X509_pop_free(chain, X509_free);
}

static void
check_pairs(struct check *k, size_t i)
{
	const struct conf_listener *l = &k->c->listener[i];
	char cert_text[128], key_text[128];
	char cert_path[CONF_TEXT_MAX], key_path[CONF_TEXT_MAX], why[128];
	size_t ncerts = conf_paths(&l->certificate),
	       nkeys = conf_paths(&l->key);
	struct spot cert, key;

	check_listener_spot(k, i, "certificate", cert_text, sizeof(cert_text),
			    &cert);
	check_listener_spot(k, i, "key", key_text, sizeof(key_text), &key);
	if (ncerts == 0)
		check_fault(&cert, "",
			    "not set, tls = true needs it, name a PEM file");
	if (nkeys == 0)
		check_fault(&key, "",
			    "not set, tls = true needs it, name a PEM file");
	if (ncerts != nkeys && ncerts > 0 && nkeys > 0) {
		snprintf(why, sizeof(why),
			 "%zu of them for %zu certificates, name one for each "
			 "in the same order",
			 nkeys, ncerts);
		check_fault(&key, "", why);
	}
	for (size_t n = 0; n < MIN(ncerts, nkeys); n++)
		if (conf_path_at(&l->certificate, n, cert_path) &&
		    conf_path_at(&l->key, n, key_path))
			check_pair(&cert, cert_path, &key, key_path);
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

/* --- clients' certificates ----------------------------------------------- */

static void
check_issuers(const struct spot *s, const char *path, STACK_OF(X509) * all)
{
	char name[128], why[300];

	for (int i = 0; i < sk_X509_num(all); i++) {
		X509 *x = sk_X509_value(all, i);

		subject_of(x, name, sizeof(name));
		if (X509_check_ca(x) != 1) {
			snprintf(why, sizeof(why),
				 "certificate %d in it (%s) is not one of an "
				 "issuer (CA:TRUE), name those of issuers only",
				 i + 1, name);
			check_fault(s, path, why);
		} else if (X509_cmp_current_time(X509_get0_notAfter(x)) <= 0) {
			snprintf(why, sizeof(why),
				 "certificate %d in it (%s) has expired and "
				 "vouches for nobody any more, replace it",
				 i + 1, name);
			check_warn(s, path, why);
		}
	}
	ERR_clear_error();
}

static X509_CRL *
crl_next(BIO *bio)
{
	return PEM_read_bio_X509_CRL(bio, NULL, no_passphrase, NULL);
}

/* Whose list it is, of those in client_ca; NULL: an issuer in between. */
static X509 *
crl_issuer(const X509_CRL *crl, STACK_OF(X509) * cas)
{
	for (int i = 0; i < sk_X509_num(cas); i++)
		if (X509_NAME_cmp(
			X509_CRL_get_issuer(crl),
			X509_get_subject_name(sk_X509_value(cas, i))) == 0)
			return sk_X509_value(cas, i);
	return NULL;
}

/* One of several CAs of that name (old and new key) has to have signed it. */
static bool
crl_is_signed(X509_CRL *crl, STACK_OF(X509) * cas)
{
	for (int i = 0; i < sk_X509_num(cas); i++) {
		X509 *ca = sk_X509_value(cas, i);

		if (X509_NAME_cmp(X509_CRL_get_issuer(crl),
				  X509_get_subject_name(ca)) == 0 &&
		    X509_CRL_verify(crl, X509_get0_pubkey(ca)) == 1)
			return true;
	}
	return false;
}

static void
check_crl(const struct spot *s, const char *path, X509_CRL *crl,
	  STACK_OF(X509) * cas)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
	char name[128], why[300];

	X509_NAME_oneline(X509_CRL_get_issuer(crl), name, (int)sizeof(name));
	if (crl_issuer(crl, cas) != NULL && !crl_is_signed(crl, cas)) {
		snprintf(why, sizeof(why),
			 "the list of %s is not signed by the issuer of that "
			 "name in client_ca, fetch it again",
			 name);
		check_fault(s, path, why);
	} else if (next != NULL && X509_cmp_current_time(next) <= 0) {
		snprintf(why, sizeof(why),
			 "the list of %s is out of date and its certificates "
			 "are refused, fetch it again",
			 name);
		check_warn(s, path, why);
	}
	ERR_clear_error();
}

static bool
has_crl(X509 *ca, STACK_OF(X509_CRL) * all)
{
	for (int i = 0; i < sk_X509_CRL_num(all); i++)
		if (X509_NAME_cmp(
			X509_get_subject_name(ca),
			X509_CRL_get_issuer(sk_X509_CRL_value(all, i))) == 0)
			return true;
	return false;
}

static void
check_crls(const struct spot *s, const char *path, STACK_OF(X509_CRL) * all,
	   STACK_OF(X509) * cas)
{
	char name[128], why[300];

	for (int i = 0; i < sk_X509_CRL_num(all); i++)
		check_crl(s, path, sk_X509_CRL_value(all, i), cas);
	for (int i = 0; i < sk_X509_num(cas); i++) {
		if (has_crl(sk_X509_value(cas, i), all))
			continue;
		subject_of(sk_X509_value(cas, i), name, sizeof(name));
		snprintf(why, sizeof(why),
			 "no list of %s in it, what it has issued is refused, "
			 "add its list",
			 name);
		check_warn(s, path, why);
	}
}

static void
load_crls(const struct spot *s, const char *path, STACK_OF(X509) * cas)
{
	STACK_OF(X509_CRL) *all = sk_X509_CRL_new_null();
	size_t len = 0;
	char *pem = check_read(s, path, CRL_BYTES_MAX, false, &len);
	BIO *bio = pem == NULL ? NULL : BIO_new_mem_buf(pem, (int)len);
	X509_CRL *crl;

	while (all != NULL && bio != NULL && (crl = crl_next(bio)) != NULL)
		if (sk_X509_CRL_push(all, crl) == 0)
			X509_CRL_free(crl);
	if (pem == NULL)
		;
	else if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		check_fault(s, path,
			    "a list in it does not parse, fetch it again");
	else if (sk_X509_CRL_num(all) == 0)
		check_fault(s, path,
			    "no revocation list in it, name a PEM file (X509 "
			    "CRL)");
	else
		check_crls(s, path, all, cas);
	ERR_clear_error();
	BIO_free(bio);
	free(pem);
	sk_X509_CRL_pop_free(all, X509_CRL_free);
}

static void
check_clients(struct check *k, size_t i)
{
	const struct conf_listener *l = &k->c->listener[i];
	bool asks = strcmp(l->client_certificate.s, "off") != 0;
	char ca_text[128], crl_text[128], text[128];
	struct spot ca, crl, mode;
	STACK_OF(X509) *cas = NULL;

	check_listener_spot(k, i, "client_certificate", text, sizeof(text),
			    &mode);
	check_listener_spot(k, i, "client_ca", ca_text, sizeof(ca_text), &ca);
	check_listener_spot(k, i, "client_crl", crl_text, sizeof(crl_text),
			    &crl);
	if (asks && !l->tls)
		check_fault(&mode, l->client_certificate.s,
			    "without TLS no certificate can be shown, add tls "
			    "= true or remove it");
	if (!asks && l->client_ca.s[0] != '\0')
		check_fault(&ca, "",
			    "set, but client_certificate is off, nobody is "
			    "asked, set it to ask or require, or remove this");
	if (!asks && l->client_crl.s[0] != '\0')
		check_fault(&crl, "",
			    "set, but client_certificate is off, nobody is "
			    "asked, set it to ask or require, or remove this");
	if (!asks || !l->tls)
		return;
	if (l->client_ca.s[0] == '\0')
		check_fault(&ca, "",
			    "not set, client_certificate needs it, name a PEM "
			    "file of issuers");
	else
		cas = load_certs(&ca, l->client_ca.s, PEM_BYTES_MAX,
				 CLIENT_CAS_MAX);
	if (cas != NULL)
		check_issuers(&ca, l->client_ca.s, cas);
	if (cas != NULL && l->client_crl.s[0] != '\0')
		load_crls(&crl, l->client_crl.s, cas);
	sk_X509_pop_free(cas, X509_free);
}

void
check_certs(struct check *k, size_t i)
{
	if (k->c->listener[i].tls)
		check_pairs(k, i);
	else
		check_no_tls(k, i);
	check_ocsp(k, i);
	check_bindings(k, i);
	check_clients(k, i);
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
