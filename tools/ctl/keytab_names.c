/*
 * Purpose: the names that the listeners' certificates give the connector.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody: a file that is no certificate is told.
 * Touches: the certificates, only read.
 * Failure: a line in `unread`.
 */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "tools/ctl/keytab.h"

#include "shm/base/log.h"

static void
add_name(json_t *names, const ASN1_STRING *s)
{
	const char *p = (const char *)ASN1_STRING_get0_data(s);
	int len = ASN1_STRING_length(s);
	const json_t *o;
	size_t i;

	/* Of a wildcard the real names are not known. */
	if (len <= 0 || p[0] == '*' || memchr(p, '\0', (size_t)len) != NULL)
		return;
	json_array_foreach(names, i,
			   o) if (json_string_length(o) == (size_t)len &&
				  strncasecmp(json_string_value(o), p,
					      (size_t)len) == 0) return;
	json_array_append_new(names, json_stringn(p, (size_t)len));
}

static void
add_names(json_t *names, X509 *cert)
{
	GENERAL_NAMES *list =
	    X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(list, i);

		if (n->type == GEN_DNS)
			add_name(names, n->d.dNSName);
	}
	GENERAL_NAMES_free(list);
}

static void
read_certificate(json_t *facts, const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *cert = f == NULL ? NULL : PEM_read_X509(f, NULL, NULL, NULL);
	char why[600];

	if (cert != NULL) {
		add_names(json_object_get(facts, "names"), cert);
	} else {
		snprintf(why, sizeof(why), "%s: %s", path,
			 f == NULL ? strerror(errno) : "not a certificate");
		json_array_append_new(json_object_get(facts, "unread"),
				      json_string(why));
	}
	X509_free(cert);
	if (f != NULL)
		fclose(f);
}

void
keytab_ask_certificates(json_t *facts)
{
	const json_t *o;
	size_t i;

	json_object_set_new(facts, "names", json_array());
	json_object_set_new(facts, "unread", json_array());
	json_array_foreach(json_object_get(facts, "certificates"), i,
			   o) if (json_is_string(o))
	    read_certificate(facts, json_string_value(o));
}
