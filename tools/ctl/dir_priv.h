/*
 * dir_priv: what the parts of dir share; nobody else includes it.
 *
 *	dir.c		its life, and which domain it has
 *	dir_conn.c	the way to a server, with Kerberos and TLS
 *	dir_search.c	one search, the values of an entry, errors as lines
 *	dir_find.c	who is behind a name, who is in a group
 */
#ifndef RMS_CTL_DIR_PRIV_H
#define RMS_CTL_DIR_PRIV_H

#include <ldap.h>

#include "tools/ctl/dir.h"
#include "tools/ctl/dircreds.h"

#define DIR_URIS_MAX 2048

struct dir {
	LDAP *ld;
	struct ldap_conncb on_connect;
	bool connected; /* over TCP */
	char uris[DIR_URIS_MAX];
	const char *cacert;
	int timeout_s;
	struct dircreds creds;
	char host[256];
	char base[DIR_DN_MAX];	 /* the domain's DN */
	char config[DIR_DN_MAX]; /* of the forest's configuration */
	char domain[256];
	char netbios[256];
};

/* Writes the line of an error, DIR_ERR_MAX bytes, and returns e. */
PRINTF(3, 4) int dir_fail(char *err, int e, const char *fmt, ...);
/* The same of a code of libldap; `what` was asked.  -errno. */
int dir_ldap_fail(struct dir *d, int code, const char *what, char *err);

/* Are its servers asked by ldaps://? */
bool dir_is_tls(const struct dir *d);
/*
 * Connects and authenticates: d->ld is set, also when that failed, and
 * d->creds.  0 or -errno with a line.
 */
MUST_USE int dir_conn_open(struct dir *d, const struct dir_options *o,
			   char *err);

/*
 * Searches; limit 0: none of ours.  What came before a limit is a result, too.
 * *res_r is the caller's (ldap_msgfree), NULL on failure: -ENOENT without a
 * line when base is not there, else -errno with one.
 */
MUST_USE int dir_search(struct dir *d, const char *base, int scope,
			const char *filter, const char *const *attrs,
			LDAPControl **controls, int limit, LDAPMessage **res_r,
			char *err);
/* An entry's first value as text; 0, -ENOENT, -EINVAL for one that is none, or
 * -ENAMETOOLONG; dst is "" then. */
int dir_value_text(struct dir *d, LDAPMessage *e, const char *attr, char *dst,
		   size_t size);
/*
 * A domain of the forest by an attribute of its crossRef object: two others
 * of its attributes, into out, 256 bytes each.  0, -ENOENT without a line, or
 * -errno with one.
 */
MUST_USE int dir_cross_ref(struct dir *d, const char *attr, const char *value,
			   const char *want[2], char *out[2], char *err);

#endif
