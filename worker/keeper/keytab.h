/*
 * keytab: the keys that tickets are opened with, in memory only.
 *
 * The bytes of the keytab come through a descriptor that the master opened.
 * They are checked, given to krb5 once as a memfd, and copied to a MEMORY
 * keytab, so no later accept touches a file.  A struct keytab never changes:
 * a reload makes another, and the old one stays when that fails.
 */
#ifndef RMS_KEYTAB_H
#define RMS_KEYTAB_H

#include <gssapi/gssapi.h>
#include <krb5/krb5.h>
#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/identity.h"
#include "worker/apreq.h"

struct keytab;

/*
 * Reads fd, which stays the caller's.  NULL with one line in why: what, and
 * what would do.
 */
MUST_USE struct keytab *keytab_load(int fd, char *why, size_t why_size);
/* Wipes the keys. */
void keytab_free(struct keytab **kt);

/* Acceptor credentials, SPNEGO and Kerberos only; borrowed. */
gss_cred_id_t keytab_cred(const struct keytab *kt);
size_t keytab_entries(const struct keytab *kt);
/* "principal kvno enctype\n" for each entry; a last line "..." when out is
 * too small for all. */
void keytab_text(const struct keytab *kt, char *out, size_t size);
/*
 * What came and what went between two keytabs (old NULL: all of it came), in
 * words, cut when out is too small.  False, and out "", when both hold the same
 * principals, versions and types.
 */
bool keytab_diff(const struct keytab *old, const struct keytab *now, char *out,
		 size_t size);
/* Is there a key for a service of HTTP? */
bool keytab_has_http(const struct keytab *kt);

/* What the keytab has of what a ticket needs. */
struct keytab_match {
	bool realm;	      /* any key of the ticket's realm */
	bool principal;	      /* any key of the service */
	bool kvno;	      /* of the service with the ticket's version */
	bool enctype;	      /* of the service with the ticket's type */
	bool exact;	      /* with both */
	uint32_t newest_kvno; /* of the service; 0 none */
};
void keytab_match(const struct keytab *kt, const struct apreq *req,
		  struct keytab_match *m_r);

/*
 * Why the ticket of req is not accepted, asked of krb5 itself, because GSSAPI
 * does not hand out its error through SPNEGO.  The code, 0 when krb5 finds no
 * fault; its words in why.
 */
krb5_error_code keytab_try(const struct keytab *kt, const struct apreq *req,
			   char *why, size_t why_size);

/* What is in a ticket that was refused. */
struct keytab_ticket {
	bool opens;   /* a key opens it; else the rest is empty */
	bool pac_bad; /* krb5 cannot read its PAC */
	/* Whom the KDC issued it to, "" unknown.  Who sent it may be another.
	 */
	char client[IDENTITY_PRINCIPAL_MAX];
};
void keytab_open(const struct keytab *kt, const struct apreq *req,
		 struct keytab_ticket *t_r);

#endif
