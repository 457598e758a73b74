/*
 * way: where the cloud is, and how one gets there: the tenant's URL, the web
 * proxy, the issuers to trust.  What of it is new ends the pool and every
 * session: w->cloud_epoch grows.
 */
#ifndef RMS_WAY_H
#define RMS_WAY_H

#include "shm/base/bug.h"

struct relay;

/* A new configuration.  0, or -errno after a line, with all of the old one
 * still in force. */
MUST_USE int way_set(struct relay *w);

/*
 * Other addresses in w->tv: they are of the way in use, of the one that was
 * configured meanwhile (it is used from now on), or of neither (then there
 * are none).
 */
void way_on_addresses(struct relay *w);

#endif
