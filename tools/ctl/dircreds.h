/*
 * dircreds: the Kerberos ticket that the directory is asked with: the
 * operator's own, or one got with a keytab.
 */
#ifndef RMS_CTL_DIRCREDS_H
#define RMS_CTL_DIRCREDS_H

#include "shm/base/bug.h"

#define DIRCREDS_ERR_MAX 512

struct dircreds {
	char who[512];	 /* the principal */
	char realm[256]; /* its realm */
};

/*
 * Finds the ticket of the environment, or with keytab (NULL: without) gets one
 * into a cache in this process's memory, which is its environment's from then
 * on.  principal (may be NULL) names the account when the keytab holds keys
 * for services only: a directory gives tickets to accounts.  0 or -errno with
 * a line in err.
 */
MUST_USE int dircreds_take(struct dircreds *d_r, const char *keytab,
			   const char *principal, char err[DIRCREDS_ERR_MAX]);
/* The KDCs of krb5.conf for a realm as "host host ...", "" none.  An Active
 * Directory's KDCs are its directory servers. */
void dircreds_kdcs(const char *realm, char hosts_r[1024]);

#endif
