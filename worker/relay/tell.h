/*
 * tell: events about requests that could not be carried out.
 */
#ifndef RMS_TELL_H
#define RMS_TELL_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/relay/reason.h"

struct client;
struct relay;

/* Events of one kind a second: a flood of them stays a flood of replies. */
#define TELL_EVENTS_MAX 20
struct tell_limit {
	uint64_t second;
	unsigned told;
};
/* May one more be told in this second? */
bool tell_may(struct tell_limit *l);

/*
 * The same for what anybody can cause: some of each address, so that one which
 * fails as fast as it can does not keep the master from hearing of others.
 */
#define TELL_PEERS	   64
#define TELL_PEER_MAX	   4
#define TELL_PEERS_ALL_MAX 100
struct tell_peers {
	uint64_t second;
	unsigned told, of[TELL_PEERS];
};
/* peer: a keyed hash of its address. */
bool tell_may_of(struct tell_peers *l, uint64_t peer);

/*
 * Tells the master that a limit was reached (event 2110): the first time in a
 * minute for each reason, with how many there were since the last.  account
 * may be NULL.
 */
void tell_limit(struct relay *w, enum reason why, const char *address,
		const char *account);
/* The same as another event. */
void tell_limited(struct relay *w, uint32_t event, enum reason why,
		  const char *address, const char *account);

/*
 * Tells the master when why is somebody's fault but the client's: event 2104
 * when the keeper has too much to do, 2109 when winbind has, else 3000 with
 * whose fault it is and what would do.  c->x is the request; detail may be
 * NULL.  Limited, so that a failing cloud does not fill the channel; the access
 * log has them all.
 */
void tell_failure(struct client *c, enum reason why, const char *detail);

#endif
