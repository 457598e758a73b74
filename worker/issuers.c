/*
 * Purpose: pinned issuers, and words for a certificate that is refused.
 *
 * Runs in: relay, cloud agent.
 * Trusts:  nobody: names in certificates are any bytes.
 * Touches: nothing.
 * Failure: an issuer that cannot be read matches nothing.
 */
#include "worker/issuers.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "shm/base/log.h"
#include "shm/base/str.h"

#define PIN_PREFIX "sha256:"

/* ---- matching -------------------------------------------------------- */

static bool
issuer_has_name(X509 *cert, int nid, struct slice want)
{
	const X509_NAME *name = X509_get_subject_name(cert);
	int at = -1;

	while ((at = X509_NAME_get_index_by_NID(name, nid, at)) >= 0) {
		const ASN1_STRING *s =
		    X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
		unsigned char *utf8 = NULL;
		int n = ASN1_STRING_to_UTF8(&utf8, s);
		bool same =
		    n >= 0 &&
		    slice_ieq((struct slice){(char *)utf8, (size_t)n}, want);

		OPENSSL_free(utf8);
		if (same)
			return true;
	}
	return false;
}

static bool
issuer_has_key(X509 *cert, struct slice hex)
{
	unsigned char *der = NULL, md[SHA256_DIGEST_LENGTH];
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
	char text[2 * SHA256_DIGEST_LENGTH + 1];

	if (n <= 0)
		return false;
	SHA256(der, (size_t)n, md);
	OPENSSL_free(der);
	for (size_t i = 0; i < sizeof(md); i++)
		snprintf(text + 2 * i, 3, "%02x", md[i]);
	return slice_iis(hex, text);
}

static bool
issuer_is(X509 *cert, struct slice entry)
{
	size_t n = sizeof(PIN_PREFIX) - 1;

	if (entry.len > n && slice_iis((struct slice){entry.p, n}, PIN_PREFIX))
		return issuer_has_key(
		    cert, (struct slice){entry.p + n, entry.len - n});
	return issuer_has_name(cert, NID_organizationName, entry) ||
	       issuer_has_name(cert, NID_commonName, entry);
}

static bool
issuer_listed(const char *list, X509 *cert)
{
	for (const char *p = list; *p != '\0';) {
		struct slice e;

		p += strspn(p, "; ");
		e = (struct slice){p, strcspn(p, ";")};
		p += e.len;
		while (e.len > 0 && e.p[e.len - 1] == ' ')
			e.len--;
		if (e.len > 0 && issuer_is(cert, e))
			return true;
	}
	return false;
}

bool
issuers_allow(const char *list, X509_STORE_CTX *store)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);

	if (list[0] == '\0')
		return true;
	for (int i = 1; i < sk_X509_num(chain); i++)
		if (issuer_listed(list, sk_X509_value(chain, i)))
			return true;
	return false;
}

/* ---- words ----------------------------------------------------------- */

static void
issuers_line(const X509_NAME *name, char *text, size_t size)
{
	X509_NAME_oneline(name, text, (int)size);
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
			*text = '?';
}

void
issuers_name(const X509 *cert, char *text, size_t size)
{
	issuers_line(X509_get_issuer_name(cert), text, size);
}

/* Errors that say "this issuer is not one of ours". */
static bool
issuers_unknown(int error)
{
	return error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
	       error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	       error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
	       error == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
	       error == X509_V_ERR_APPLICATION_VERIFICATION;
}

static bool
issuers_is_for(X509 *leaf, const char *host)
{
	return X509_check_host(leaf, host, 0, 0, NULL) == 1 ||
	       X509_check_ip_asc(leaf, host, 0) == 1;
}

bool
issuers_explain(const char *list, const char *seen, const char *host,
		X509_STORE_CTX *store, char *text, size_t size)
{
	int error = X509_STORE_CTX_get_error(store);
	X509 *leaf = X509_STORE_CTX_get0_cert(store);
	X509 *at = X509_STORE_CTX_get_current_cert(store);
	char subject[160] = "?", issuer[160] = "?";
	const char *why = X509_verify_cert_error_string(error);
	bool strange = issuers_unknown(error);

	/* the leaf's issuer is who inspects; any other fault is the fault of
	 * the certificate that was looked at */
	if (strange || at == NULL)
		at = leaf;
	if (at != NULL) {
		issuers_line(X509_get_subject_name(at), subject,
			     sizeof(subject));
		issuers_line(X509_get_issuer_name(at), issuer, sizeof(issuer));
	}
	if (error == X509_V_ERR_APPLICATION_VERIFICATION)
		why = "the issuer is none of cloud_issuers";
	if (!strange) {
		snprintf(text, size, "%s (certificate of %s, issued by %s)",
			 why, subject, issuer);
		return false;
	}
	snprintf(text, size,
		 "%s (certificate of %s); issuer found: %s; issuer expected: "
		 "%.200s",
		 why, subject, issuer,
		 list[0] != '\0'   ? list
		 : seen[0] != '\0' ? seen
				   : "one of cloud_ca_file");
	return leaf != NULL && issuers_is_for(leaf, host);
}
