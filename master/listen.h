/*
 * listen: the listening sockets, one for each listener and relay slot.
 *
 * Made by the master, once, and held until the listener leaves the
 * configuration or the connector stops: a relay that dies leaves its queue of
 * connections to its successor.  The sockets of one listener share address
 * and port (SO_REUSEPORT), so the kernel spreads connections over the slots.
 *
 * A relay that was taken over has its sockets as we have them.  It cannot
 * attach a program to them (SO_LOCK_FILTER), and what it shut down is made
 * anew for its successor.
 */
#ifndef RMS_LISTEN_H
#define RMS_LISTEN_H

#include "conf/conf.h"
#include "shm/base/bug.h"

struct listen;

/*
 * Opens what conf says for `slots` relays.  Sockets of `old` (may be NULL)
 * that stand on the same address and port are used again (duplicated: old
 * stays whole until the caller frees it).  All or nothing: 0, or -errno with
 * a line in err (-EADDRINUSE also when somebody else shares the port; without
 * old it waits three seconds for that to end).
 */
MUST_USE int listen_open(struct listen **l_r, const struct conf *conf,
			 unsigned slots, const struct listen *old, char *err,
			 size_t err_size);
/* Closes our copies; the sockets live on in the relays that have them. */
void listen_free(struct listen **l);

size_t listen_count(const struct listen *l);
/*
 * The socket for a relay that is being started or reloaded.  One that does not
 * listen any more is replaced; -1 when that fails, which is logged.  Borrowed.
 */
int listen_fd(struct listen *l, size_t listener, unsigned slot);

#endif
