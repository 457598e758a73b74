/*
 * admit: whose turn it is.  Limits of connections, of pace and of requests
 * under way, and the queue of those that wait for one of them to end.
 *
 * A request that authorize() has allowed is in one place:
 *
 *	NONE	 not admitted yet, or out again
 *	ACCOUNT	 waits: its account has account_requests_max others
 *	READY	 waits: the relay has cloud_requests_max others
 *	RUNNING	 on its way to the cloud and back
 *
 * READY has two queues, Exchange's before all others.  Others may have seven
 * eighths of the places to run in, and of the room to wait in (queue_max), but
 * one less than all at the most, where there are two or more; so mail runs and
 * waits even while a crawl has all that it may, however long that takes.
 *
 * Of one account only account_requests_max are ever READY or RUNNING.  What
 * waits in ACCOUNT takes no room from READY: each account may have queue_max
 * there, and connections_max bounds them all.  When its time comes it gets
 * READY also when that is full: it was let in to wait.
 */
#ifndef RMS_ADMIT_H
#define RMS_ADMIT_H

#include <stdbool.h>
#include <sys/socket.h>

#include "shm/base/bug.h"

struct admit;
struct client;
struct relay;

enum admit_place { PLACE_NONE, PLACE_ACCOUNT, PLACE_READY, PLACE_RUNNING };

/* Before the sandbox closes.  NULL without memory. */
MUST_USE struct admit *admit_new(struct relay *w);

/* May one more connection come from this address?  Then c holds its place
 * until admit_gone(); else the caller closes it.  from NULL: a balancer's,
 * whose client admit_source() is asked about when it is known. */
MUST_USE bool admit_connection(struct client *c,
			       const struct sockaddr_storage *from);
MUST_USE bool admit_source(struct client *c,
			   const struct sockaddr_storage *from);
/* The connection has ended. */
void admit_gone(struct client *c);

/*
 * May the request of c go to the cloud?  true: at once.  false: it waits in
 * CLIENT_QUEUE, and forward_admitted() follows; or it has been refused.
 */
MUST_USE bool admit_request(struct client *c);
/* The request is over, or need not run any more: its place is free.  Nothing
 * when it has none. */
void admit_leave(struct client *c);

/* The configuration is new: who has waited for a limit that is higher now waits
 * no longer. */
void admit_on_conf(struct relay *w);

/* Once a second: meters that nothing holds go, and memory is looked at. */
void admit_sweep(struct relay *w);

#endif
