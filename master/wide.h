/*
 * wide: the well-known groups that no server's rights should hang on: those
 * that nearly everybody is in, and those of the administrators and domain
 * controllers, which no connector needs (MS-DTYP 2.4.2.4).  By SID and RID,
 * never by name: names are translated and can be given to anything.
 */
#ifndef RMS_WIDE_H
#define RMS_WIDE_H

#include <stdbool.h>

#include "shm/base/str.h"

struct wide_group {
	const char *sid;  /* or the RID */
	const char *name; /* in English */
	bool everybody;	  /* nearly every account of a domain is in it */
};

/*
 * NULL when the subject is no such group.  The subject is in the store's one
 * form of it: a SID has other ways of writing (S-1-0x1-0).
 */
const struct wide_group *wide_group(struct slice subject);

#endif
