/*
 * budget: how many events one process may cause.
 *
 * A relay that was taken over can make up as many accounts and failures as it
 * likes; each would be a line on the disk.  So a process has a store of
 * BUDGET_MAX events that fills again with BUDGET_PER_S: room for the accounts
 * that all come at once after a start, and a bound of about ten megabytes an
 * hour for a liar.  What goes beyond is counted and told as a number.
 *
 * It belongs to the slot, not to the process: starting anew gives no more.
 */
#ifndef RMS_BUDGET_H
#define RMS_BUDGET_H

#include <stdbool.h>

#include "shm/base/bug.h"

#define BUDGET_MAX   100
#define BUDGET_PER_S 5
/* Between two events that tell how many were held back. */
#define BUDGET_TELL_NS UINT64_C(60000000000)

/* All zero is a full one. */
struct budget {
	uint64_t spent_ns; /* in time that it takes to fill again */
	uint64_t at_ns;	   /* when that was so */
	uint64_t held;	   /* not told yet that they were held back */
	uint64_t told_ns;  /* when that was told; 0: never */
};

/* May one more be told now?  False: it is counted as held back. */
bool budget_take(struct budget *b, uint64_t mono_ns);

/*
 * How many were held back since the last call that gave a number: one comes
 * with the first, then once in BUDGET_TELL_NS.  0: nothing to tell.
 */
uint64_t budget_held(struct budget *b, uint64_t mono_ns);

#endif
