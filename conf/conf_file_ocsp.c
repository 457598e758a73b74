/*
 * Purpose: judge the OCSP responses that certificate_ocsp names.
 *
 * Runs in: master, rmsctl.
 * Trusts:  nobody: the files are whatever was fetched.
 * Touches: the files named, which are only read.
 * Failure: warnings by line.  No response keeps anything from starting, as
 *          clients do without one; it is not stapled.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <time.h>

#include "conf/conf_file_checks.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

#define PEM_BYTES_MAX 1048576
/* Between our clock and the responder's, in seconds. */
#define SKEW_S 300

/* --- one response and one certificate --------------------------------------
 */

struct pair {
	X509 *leaf, *issuer;	/* of chain */
	STACK_OF(X509) * chain; /* owned */
};

static void
pair_free(struct pair *p)
{
	sk_X509_pop_free(p->chain, X509_free);
	*p = (struct pair){0};
}

static void
pair_take(struct pair *p, struct slice pem)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
	X509 *x;

	*p = (struct pair){.chain = sk_X509_new_null()};
	while (p->chain != NULL && bio != NULL &&
	       (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		if (sk_X509_push(p->chain, x) == 0)
			X509_free(x);
	BIO_free(bio);
	ERR_clear_error(); /* the end of the text is one */
	p->leaf = sk_X509_value(p->chain, 0);
	p->issuer = sk_X509_value(p->chain, 1);
	if (p->issuer == NULL && p->leaf != NULL &&
	    X509_check_issued(p->leaf, p->leaf) == X509_V_OK)
		p->issuer = p->leaf;
}

/* Names `single` this certificate?  The responder chose the hash. */
static bool
is_about(const OCSP_SINGLERESP *single, const struct pair *p)
{
	OCSP_CERTID *id =
	    (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(single);
	ASN1_OBJECT *md = NULL;
	const EVP_MD *type;
	OCSP_CERTID *own;
	bool same;

	if (OCSP_id_get0_info(NULL, &md, NULL, NULL, id) != 1)
		return false;
	type = EVP_get_digestbyobj(md);
	own = type == NULL ? NULL : OCSP_cert_to_id(type, p->leaf, p->issuer);
	same = own != NULL && OCSP_id_cmp(own, id) == 0;
	OCSP_CERTID_free(own);
	return same;
}

static OCSP_SINGLERESP *
single_of(OCSP_BASICRESP *basic, const struct pair *p)
{
	for (int i = 0; i < OCSP_resp_count(basic); i++)
		if (is_about(OCSP_resp_get0(basic, i), p))
			return OCSP_resp_get0(basic, i);
	return NULL;
}

/* By the issuer, or by whom it has issued a certificate for just that. */
static bool
is_signed(OCSP_BASICRESP *basic, const struct pair *p)
{
	X509_STORE *store = X509_STORE_new();
	bool ok = store != NULL && X509_STORE_add_cert(store, p->issuer) == 1 &&
		  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
		  OCSP_basic_verify(basic, p->chain, store, 0) == 1;

	X509_STORE_free(store);
	return ok;
}

static const char *
single_fault(OCSP_SINGLERESP *single, uint64_t *until_r)
{
	ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
	int status = OCSP_single_get0_status(single, NULL, NULL, &from, &until);
	struct tm tm;

	if (status == V_OCSP_CERTSTATUS_REVOKED)
		return "it says that the certificate is revoked, and clients "
		       "that ask will refuse it, get a new certificate";
	if (status != V_OCSP_CERTSTATUS_GOOD)
		return "it says that the certificate is unknown, ask the "
		       "responder of its issuer";
	if (until == NULL || ASN1_TIME_to_tm(until, &tm) != 1)
		return "it does not say how long it is good, ask a responder "
		       "that does";
	*until_r = (uint64_t)MAX((time_t)0, timegm(&tm));
	if (X509_cmp_current_time(until) <= 0)
		return "it is out of date, fetch it again";
	if (OCSP_check_validity(from, until, SKEW_S, -1) != 1)
		return "it is of a time to come, check the clock";
	return NULL;
}

static const char *
basic_fault(OCSP_BASICRESP *basic, const struct pair *p, uint64_t *until_r)
{
	OCSP_SINGLERESP *single = single_of(basic, p);

	if (single == NULL)
		return conf_ocsp_other;
	if (!is_signed(basic, p))
		return "it is not signed by the certificate's issuer, nor by "
		       "whom that lets, fetch it again";
	return single_fault(single, until_r);
}

const char conf_ocsp_other[] =
    "it is about none of the listener's certificates, name that of one of "
    "them, with the issuer behind it in its file";

const char *
conf_ocsp_fault(struct slice der, struct slice chain, uint64_t *until_r)
{
	const unsigned char *at = (const unsigned char *)der.p;
	OCSP_RESPONSE *resp = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
	OCSP_BASICRESP *basic = NULL;
	const char *why = NULL;
	struct pair p;

	*until_r = 0;
	pair_take(&p, chain);
	if (resp == NULL || at != (const unsigned char *)der.p + der.len)
		why = "no OCSP response in DER, fetch it again";
	else if (OCSP_response_status(resp) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
		why = "the responder's answer is an error, fetch it again";
	else if ((basic = OCSP_response_get1_basic(resp)) == NULL)
		why = "no OCSP response of the basic kind, fetch it again";
	else if (p.leaf == NULL || p.issuer == NULL)
		why = conf_ocsp_other;
	else
		why = basic_fault(basic, &p, until_r);
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(resp);
	pair_free(&p);
	ERR_clear_error();
	return why;
}

/* --- those of a listener -----------------------------------------------------
 */

int
conf_ocsp_read(const char *path, size_t max, char **data_r, size_t *len_r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r = fd < 0 ? -errno : fd_read_all(fd, max, data_r, len_r);

	fd_close(&fd);
	return r;
}

/* What is wrong with it for each of the certificates; NULL: it is one's. */
static const char *
fault_for_all(const struct conf_listener *l, struct slice der)
{
	const char *why, *worst = conf_ocsp_other;
	char path[CONF_TEXT_MAX], *pem;
	uint64_t until;
	size_t len;

	for (size_t i = 0; conf_path_at(&l->certificate, i, path); i++) {
		if (conf_ocsp_read(path, PEM_BYTES_MAX, &pem, &len) != 0)
			continue; /* told as a fault of the certificate */
		why = conf_ocsp_fault(der, (struct slice){pem, len}, &until);
		free(pem);
		if (why == NULL)
			return NULL;
		if (why != conf_ocsp_other)
			worst = why;
	}
	return worst;
}

void
check_ocsp(struct check *k, size_t i)
{
	const struct conf_listener *l = &k->c->listener[i];
	char text[128], path[CONF_TEXT_MAX], why[128], *der;
	const char *fault;
	struct spot s;
	size_t len;
	int r;

	check_listener_spot(k, i, "certificate_ocsp", text, sizeof(text), &s);
	if (!l->tls && l->certificate_ocsp.s[0] != '\0')
		check_fault(&s, "",
			    "set, but tls is not, add tls = true or remove it");
	for (size_t n = 0;
	     l->tls && conf_path_at(&l->certificate_ocsp, n, path); n++) {
		r = conf_ocsp_read(path, CONF_OCSP_BYTES_MAX, &der, &len);
		if (r != 0) {
			snprintf(why, sizeof(why),
				 "nothing is stapled, it cannot be read: %s, "
				 "correct the path or its mode",
				 strerror(-r));
			check_warn(&s, path, why);
			continue;
		}
		fault = fault_for_all(l, (struct slice){der, len});
		free(der);
		if (fault != NULL) {
			char line[300];

			snprintf(line, sizeof(line), "not stapled, %s", fault);
			check_warn(&s, path, line);
		}
	}
}
