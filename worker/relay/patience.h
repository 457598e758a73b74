/*
 * patience: how long to wait for a peer that is slow.
 *
 * A pause alone does not do: one byte within each pause holds a connection
 * for ever.  So there are three bounds, and the first of them counts:
 *
 *	pause	since anything came
 *	rate	all the time that was spent waiting for this peer in this way
 *		is at most the pause, and what the bytes may take at the
 *		slowest rate
 *	total	the request as a whole, from the first byte of its head,
 *		whatever it waits for
 */
#ifndef RMS_PATIENCE_H
#define RMS_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

struct patience {
	uint64_t pause_ms;
	uint64_t rate;	   /* bytes a second; 0: no bound */
	uint64_t bytes;	   /* that have come or gone so far */
	uint64_t spent_ms; /* waiting for them until now */
	uint64_t total_ms; /* 0: no bound */
	uint64_t age_ms;   /* of the request */
};

/* ms from now until patience is over: 1 at the least.  *total_r, which may be
 * NULL: it is the total that ends it. */
uint64_t patience_ms(const struct patience *p, bool *total_r);

#endif
