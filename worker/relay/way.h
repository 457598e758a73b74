/*
 * way: where the cloud is, and how one gets there: the tenant's URL, the web
 * proxy, the issuers to trust.  What of it is new ends the pool and every
 * session: w->cloud_epoch grows.
 */
#ifndef RMS_WAY_H
#define RMS_WAY_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/token.h"

struct relay;

/* What the cloud agent has published of one way. */
struct way_known {
	bool any; /* something: else all is 0 */
	struct token_addr addr[TOKEN_ADDRS_MAX];
	uint64_t bad[TOKEN_ADDRS_MAX]; /* as in struct token_health */
	uint64_t addr_serial;
	uint32_t naddr;
	char proxy_basic[TOKEN_BASIC_MAX]; /* the way's proxy's, no other's */
};

/* A new configuration.  0, or -errno after a line, with all of the old one
 * still in force. */
MUST_USE int way_set(struct relay *w);

/*
 * w->tv was read anew.  What it has of addresses and of a proxy's password is
 * of the way in use; or of the one that was configured meanwhile, which is
 * used from now on; or of neither, for relay and cloud agent learn of a
 * configuration one after the other.  Then what was known of the way in use
 * takes its place in w->tv, so that requests go on and no proxy gets another's
 * password: "another" is any other name, port or scheme.  There are no
 * addresses when nothing was known.
 */
void way_on_published(struct relay *w);

#endif
