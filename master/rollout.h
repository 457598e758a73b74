/*
 * rollout: is the newest set in force in every process?
 *
 * A set goes out to all children at once.  Each says READY, REFUSED, or
 * nothing: it is slow, stuck, or does not run.  A rollout waits for all of
 * them, but no longer than its owner wants, and tells the outcome once.
 */
#ifndef RMS_ROLLOUT_H
#define RMS_ROLLOUT_H

#include "conf/conf_file.h"
#include "shm/base/bug.h"

struct loop;
struct rollout;
struct supervise;

/*
 * wrong has a line for each process that does not have it in force,
 * "relay 0: what, why"; none: all have it.  Borrowed during the call.
 */
typedef void rollout_done(void *arg, uint64_t set,
			  const struct conf_errors *wrong);

/* supervise is borrowed.  NULL when out of memory. */
MUST_USE struct rollout *rollout_new(struct loop *l, struct supervise *s,
				     uint64_t wait_ms, rollout_done *done,
				     void *arg);
void rollout_free(struct rollout **r);

/* A set with this number was sent to all; one that is under way is forgotten:
 * who has the newer one has its changes too.  done() comes later. */
void rollout_begin(struct rollout *r, uint64_t set);
/* A process said READY or REFUSED, or the stop has begun. */
void rollout_look(struct rollout *r);

#endif
