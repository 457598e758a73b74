/*
 * publish: the token segment, written.
 *
 * The value is edited in place and made visible whole by publish_write(),
 * only when something in it is others now.
 */
#ifndef RMS_PUBLISH_H
#define RMS_PUBLISH_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/token.h"
#include "worker/cloud/addr_set.h"

struct publish;

/*
 * Maps the segment (fd stays the caller's) and takes what was published
 * last, by whomever.  NULL with a reason in *why_r.
 */
MUST_USE struct publish *publish_new(int fd, const char **why_r);
/* Wipes our copies; what is published stays. */
void publish_free(struct publish **p);

/* The value to come: read it, change it. */
struct token_value *publish_value(struct publish *p);

/*
 * Addresses of host as the tenant's.  Another host than before forgets the
 * old addresses.  addrs may be empty.
 */
void publish_addrs(struct publish *p, const char *host,
		   const struct addr_set *addrs, bool failed);

/* True when it differed from what was published, and is published now. */
bool publish_write(struct publish *p);

#endif
