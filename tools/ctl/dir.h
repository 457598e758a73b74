/*
 * dir: asks an Active Directory who is behind a name (MS-ADTS), over LDAP
 * (RFC 4511) with Kerberos.
 *
 * Nothing travels or is believed in clear: on ldap:// the Kerberos session
 * seals every message (at least 56 bits, in fact AES), on ldaps:// TLS does and
 * the server's certificate is verified; both ends prove who they are.  No
 * referral is followed, no alias, no configuration file of libldap read.
 * Every wait is bounded by timeout_s.
 *
 * Errors are one line: what, why, what would do.
 */
#ifndef RMS_CTL_DIR_H
#define RMS_CTL_DIR_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "tools/ctl/dirname.h"

#define DIR_ERR_MAX	1024
#define DIR_DN_MAX	1024
#define DIR_TIMEOUT_S	10
#define DIR_FOUND_MAX	10 /* candidates that are listed */
#define DIR_MEMBERS_MAX 10000

struct dir_options {
	const char *server;    /* ldap[s]://host[:port]; NULL: looked up */
	const char *keytab;    /* NULL: the ticket of the environment */
	const char *principal; /* with a keytab; may be NULL */
	const char *cacert;    /* PEM for ldaps; NULL: the system's */
	int timeout_s;
};

enum dir_kind {
	DIR_USER,
	DIR_COMPUTER,
	DIR_SERVICE, /* a managed service account */
	DIR_GROUP,
	DIR_FOREIGN, /* stands for an account of another forest */
};

enum dir_scope { DIR_GLOBAL, DIR_UNIVERSAL, DIR_DOMAIN_LOCAL, DIR_BUILTIN };

struct dir_found {
	enum dir_kind kind;
	enum dir_scope scope; /* of a group */
	bool distribution;    /* a group that is in no ticket */
	bool disabled;	      /* an account that can get no ticket */
	char sid[DIRSID_MAX];
	char dn[DIR_DN_MAX];
	char sam[DIRNAME_MAX];
};

struct dir;

/* Connects and authenticates.  0 or -errno with a line in err. */
MUST_USE int dir_open(struct dir **d_r, const struct dir_options *o,
		      char err[DIR_ERR_MAX]);
void dir_close(struct dir **d);

/* The server that answered, "dc1.contoso.test"; its domain, "contoso.test",
 * and the domain's short name, "CONTOSO" ("" unknown). */
const char *dir_host(const struct dir *d);
const char *dir_domain(const struct dir *d);
const char *dir_netbios(const struct dir *d);

/*
 * All that have this name, at most DIR_FOUND_MAX.  The number of them, 1 when
 * it is not ambiguous; -ENOENT when there is none, or -errno, with a line.
 */
MUST_USE int dir_find(struct dir *d, const struct dirname *n,
		      struct dir_found found_r[DIR_FOUND_MAX],
		      char err[DIR_ERR_MAX]);
/*
 * How many accounts are in the group, nested ones included; counting stops
 * above DIR_MEMBERS_MAX.  0 or -errno with a line.
 */
MUST_USE int dir_members(struct dir *d, const struct dir_found *group,
			 size_t *n_r, char err[DIR_ERR_MAX]);

#endif
