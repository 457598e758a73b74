/*
 * conf_file: reads rms-connector.conf (libconfuse).  Master and rmsctl only;
 * the children get a view.
 *
 * A bad file is refused whole.  Every error is one line,
 * "file:line: what, why, what would do".
 */
#ifndef RMS_CONF_FILE_H
#define RMS_CONF_FILE_H

#include "conf/conf.h"

struct conf_errors {
	char text[16][768]; /* the first ones, whole lines */
	size_t n;	    /* how many there were, may be more than kept */
	/* What will not do for long, or for nobody who looks; likewise. */
	char warn[CONF_LISTENERS_MAX][768];
	size_t nwarn; /* those kept */
};

/*
 * Parses path into *c_r (settings of the organisation at their defaults).
 * 0; else -errno (-ENOENT, -EACCES, -EINVAL ...) with at least one error and
 * *c_r not to be used.
 */
MUST_USE int conf_file_load(const char *path, struct conf *c_r,
			    struct conf_errors *e_r);

/* The same from memory; `path` is only for messages.  What the fuzzer calls. */
MUST_USE int conf_file_parse(const char *path, const char *text,
			     struct conf *c_r, struct conf_errors *e_r);

/*
 * Checks what a parser cannot see, as the process that will use it: at least
 * one listener, no two on one address and port; with tls a certificate that
 * parses (a warning when it has expired or will within days) with issuers in
 * order, a key that parses, belongs to it and is not accessible to group or
 * others; further certificates for channel binding that parse; a keytab that is
 * readable, well-formed, not empty and not accessible to group or others;
 * cloud_ca_file readable with at least one certificate; krb5_config readable;
 * user and group that exist; directories that can be made or written; logs that
 * are regular files or can be made. 0 or -EINVAL with the errors (a file:line
 * is given where a line is at fault).
 */
MUST_USE int conf_file_check(const char *path, const struct conf *c,
			     struct conf_errors *e_r);

/* Of tls_ticket_secret_file. */
#define CONF_TICKET_SECRET_MIN 32
#define CONF_TICKET_SECRET_MAX 4096

/* NULL when the first certificate of a PEM text is of the private key in the
 * other; else "why, what would do". */
const char *conf_pair_fault(struct slice chain, struct slice key);

/* NULL when a file that relays get holds no private key, as it must not; else
 * "why, what would do". */
const char *conf_public_fault(struct slice pem);

#define CONF_OCSP_BYTES_MAX 65536

/* A file of certificate_ocsp or certificate.  0 or -errno. */
MUST_USE int conf_ocsp_read(const char *path, size_t max, char **data_r,
			    size_t *len_r);
/*
 * NULL when der is an OCSP response that says of the first certificate of
 * chain (PEM, its issuer behind it) that it is good now, signed by who may say
 * so; until_r is its end, as time(2) counts.  Else "why, what would do":
 * conf_ocsp_other when it is about another certificate.
 */
const char *conf_ocsp_fault(struct slice der, struct slice chain,
			    uint64_t *until_r);
extern const char conf_ocsp_other[];

/* --help of rms-connectord: every directive with default and text. */
void conf_print_help(FILE *f);
/* A commented sample file that parses. */
void conf_print_sample(FILE *f);

#endif
